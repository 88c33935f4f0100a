//! The D-Bus door: `org.keepalived.Vrrp1` on the machine's system bus, on a thread of its own.
//!
//! It shows what [`crate::observe::dbus`] makes of the configuration and of the states that the observer has been told,
//! so that a property always agrees with the last signal; nobody is asked for it. The bus may be absent, slow or gone at
//! any time: the door waits and comes back, and nobody waits for the door ([`super::peer`]). A reload switches it off and on.

mod bus;

use super::peer::{self, Inbox, PATIENCE, Peer, RETRY_MAX, RETRY_MIN};
use super::socket::{PrintKind, Question, Reply, Request};
use crate::observe::dbus::signals::{self, Beginning, Signal};
use crate::observe::dbus::{Act, Answer, Objects, SERVICE, Wrong, path};
use crate::observe::{Context, Observer, Telling, Wishes};
use crate::spec::Dbus;
use crate::vrrp::io::Event;
use bus::{Bus, Heard};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// The observer's end.
pub struct Teller {
    questions: mpsc::Sender<Question>,
    objects: Arc<Mutex<Objects>>,
    door: Option<Peer<Dbus, Signal>>,
    /// Something is configured already: what comes next is a reload.
    begun: bool,
}

impl Teller {
    /// No thread is made before D-Bus is configured.
    pub fn new(questions: mpsc::Sender<Question>) -> Teller {
        Teller { questions, objects: Arc::default(), door: None, begun: false }
    }

    /// Has a signal sent.
    fn send(&mut self, signal: Signal) {
        let Some(door) = self.door.as_mut().filter(|door| door.wanted().enabled) else { return };
        if let Some(dropped) = door.tell(signal) {
            tracing::warn!(target: "vrrp", "{dropped} D-Bus signals were dropped: the bus does not take them");
        }
    }

    fn start(&self, wanted: &Dbus) -> io::Result<Peer<Dbus, Signal>> {
        let (questions, objects) = (self.questions.clone(), self.objects.clone());
        Peer::start("dbus", "D-Bus", wanted.clone(), move |told| {
            Door { told, questions, objects, complaint: String::new() }.serve()
        })
    }
}

fn lock(objects: &Mutex<Objects>) -> MutexGuard<'_, Objects> {
    objects.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Observer for Teller {
    fn event(&mut self, event: &Event, cx: &Context<'_>, _: &mut Wishes) {
        if self.door.is_some()
            && let Event::Became { instance, to, .. } = event
            && let Some(one) = cx.instance(*instance)
        {
            lock(&self.objects).became(&path(cx.spec, one), &one.name, *to);
        }
    }

    fn told(&mut self, telling: &Telling<'_>, cx: &Context<'_>, _: &mut Wishes) {
        if self.door.is_some()
            && let Some(signal) = signals::of_telling(telling, cx)
        {
            self.send(signal);
        }
    }

    fn reconfigured(&mut self, cx: &Context<'_>) {
        let wanted = &cx.spec.daemon.dbus;
        let is_shown = wanted.enabled || self.door.is_some();
        *lock(&self.objects) = if is_shown { Objects::of(cx.spec, |id| cx.role(id)) } else { Objects::default() };
        match &self.door {
            Some(door) => {
                let was_on = door.wanted().enabled;
                // The same is no reason to connect again.
                if *door.wanted() != *wanted {
                    door.want(wanted.clone());
                }
                if self.begun && was_on {
                    let reloaded = signals::of_daemon(&lock(&self.objects), "VrrpReloaded");
                    self.send(reloaded);
                }
            }
            None if wanted.enabled => match self.start(wanted) {
                Ok(door) => self.door = Some(door),
                Err(error) => tracing::warn!(target: "vrrp", "No D-Bus: {error}"),
            },
            None => {}
        }
        self.begun = true;
    }

    fn stopped(&mut self, _: &Context<'_>, _: &mut Wishes) {
        let stopped = signals::of_daemon(&lock(&self.objects), "VrrpStopped");
        self.send(stopped);
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if let Some(door) = self.door.take() {
            door.last_words();
        }
    }
}

/// The door's end.
struct Door {
    told: Inbox<Dbus, Signal>,
    questions: mpsc::Sender<Question>,
    objects: Arc<Mutex<Objects>>,
    /// What was said last about a bus that is not there: it is said once.
    complaint: String,
}

/// Why a session ended.
enum End {
    /// The daemon stops.
    Stopped,
    /// Another configuration.
    Reconfigured,
    Lost(String),
}

impl Door {
    async fn serve(mut self) {
        let mut retry = RETRY_MIN;
        // Whoever starts to listen is told that the daemon has begun, once for each time that D-Bus is switched on.
        let mut announced = false;
        loop {
            let on = self.told.wanted.borrow_and_update().clone();
            if !on.enabled {
                announced = false;
                if !self.told.changed().await {
                    return;
                }
                continue;
            }
            match self.session(&on, &mut announced, &mut retry).await {
                End::Stopped => return,
                End::Reconfigured => retry = RETRY_MIN,
                End::Lost(error) => {
                    if error != self.complaint {
                        tracing::warn!(target: "vrrp", "No D-Bus for {}: {error}; it is tried again every {} s at most", name(&on), RETRY_MAX.as_secs());
                        self.complaint = error;
                    }
                    match self.told.changed_within(retry).await {
                        Some(true) => retry = RETRY_MIN,
                        Some(false) => return,
                        None => retry = (retry * 2).min(RETRY_MAX),
                    }
                }
            }
        }
    }

    /// From the connection to its end.
    async fn session(&mut self, on: &Dbus, announced: &mut bool, retry: &mut Duration) -> End {
        let mut bus = tokio::select! {
            connected = timeout(PATIENCE, Bus::connect(name(on))) => match connected {
                Ok(Ok(bus)) => bus,
                Ok(Err(error)) => return End::Lost(error.to_string()),
                Err(_) => return End::Lost(format!("it does not answer within {} s", PATIENCE.as_secs())),
            },
            changed = self.told.changed() => return if changed { End::Reconfigured } else { End::Stopped },
        };
        match self.speak(&mut bus, on, announced, retry).await {
            Ok(end) => end,
            Err(error) => End::Lost(error.to_string()),
        }
    }

    async fn speak(
        &mut self,
        bus: &mut Bus,
        on: &Dbus,
        announced: &mut bool,
        retry: &mut Duration,
    ) -> zbus::Result<End> {
        let mut ours = false;
        let mut beginning = Beginning::default();
        if bus.waits_for_its_name() {
            tracing::warn!(target: "vrrp", "{} belongs to another program on D-Bus: waiting until it is given up", name(on));
        }
        loop {
            tokio::select! {
                // What has happened is told before what is configured, and both before what is asked.
                biased;
                signal = self.told.news.recv() => match signal {
                    // Nobody listens to a name that is not there.
                    Some(signal) if ours && !beginning.has(&signal) => bus.signal(&signal).await?,
                    Some(_) => {}
                    None => return Ok(End::Stopped),
                },
                changed = self.told.wanted.changed() => {
                    if changed.is_err() {
                        continue;
                    }
                    if ours && !self.told.wanted.borrow().enabled {
                        let stopped = signals::of_daemon(&lock(&self.objects), "VrrpStopped");
                        bus.signal(&stopped).await?;
                    }
                    return Ok(End::Reconfigured);
                }
                heard = bus.hear() => match heard? {
                    Heard::NameIsOurs => {
                        ours = true;
                        *retry = RETRY_MIN;
                        self.complaint.clear();
                        tracing::info!(target: "vrrp", "D-Bus: {} is ours", name(on));
                        let said = self.beginning(announced);
                        for signal in &said {
                            bus.signal(signal).await?;
                        }
                        beginning = Beginning::new(said);
                    }
                    Heard::NameIsLost => {
                        ours = false;
                        tracing::warn!(target: "vrrp", "D-Bus: {} was taken away", name(on));
                    }
                    Heard::Call(call) => {
                        let answer = call.question(|question| lock(&self.objects).answer(question));
                        let answer = match answer {
                            Answer::Do(act) => self.act(act).await,
                            answer => answer,
                        };
                        bus.reply(&call, answer).await?;
                    }
                    Heard::Other => {}
                },
            }
        }
    }

    /// What those hear first who waited for the name. States of before are in it, so what waits is not told again.
    fn beginning(&mut self, announced: &mut bool) -> Vec<Signal> {
        let objects = lock(&self.objects);
        while self.told.news.try_recv().is_ok() {}
        let first = (!std::mem::replace(announced, true)).then(|| signals::of_daemon(&objects, "VrrpStarted"));
        first.into_iter().chain(signals::of_all(&objects)).collect()
    }

    /// Has the daemon do it.
    async fn act(&self, act: Act) -> Answer {
        let request = match act {
            Act::MachineId => return bus::machine_id(),
            Act::PrintData => {
                tracing::info!(target: "vrrp", "Printing VRRP data on DBus request");
                Request::Print { what: PrintKind::Data }
            }
            Act::PrintStats => {
                tracing::info!(target: "vrrp", "Printing VRRP stats on DBus request");
                Request::Print { what: PrintKind::Stats }
            }
            Act::PrintStatsClear => {
                tracing::info!(target: "vrrp", "Printing and clearing VRRP stats on DBus request");
                Request::Print { what: PrintKind::StatsClear }
            }
            Act::ReloadConfig => {
                tracing::info!(target: "vrrp", "Reloading on DBus request");
                Request::Reload
            }
            Act::SendGarp(instance) => {
                tracing::info!(target: "vrrp", "Sending garps on {instance} on DBus request");
                Request::Announce { instance: Some(instance.into()) }
            }
        };
        let failed = |why: &str| Answer::Wrong(Wrong::Failed, why.to_owned());
        // As with keepalived, how a reload ends is told by its signal, and it may take longer than callers wait.
        let reply = if request == Request::Reload {
            peer::send(&self.questions, request).await.map(|_| None)
        } else {
            peer::ask(&self.questions, request).await.map(Some)
        };
        match reply {
            Some(Some(Reply::Refused { reason, .. })) => failed(&reason),
            Some(_) => Answer::Done,
            None => failed("the daemon is stopping, or too busy"),
        }
    }
}

fn name(on: &Dbus) -> &str {
    on.service_name.as_deref().unwrap_or(SERVICE)
}

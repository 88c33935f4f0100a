//! Who is told what happens: log, notify programs, FIFOs, mail; and how the state is written down: keepalived's dumps,
//! JSON, metrics.
//!
//! An [`Observer`] sees the stream of [`Event`]s and nothing else of the engine; it never changes what the engine does.
//! What has to be done for it by others (programs to start, mail to send) it puts into [`Wishes`].

pub mod balance;
pub mod bfd;
pub mod calendar;
pub mod changes;
#[cfg(feature = "dbus")]
pub mod dbus;
pub mod describe;
pub mod dump;
pub mod fifo;
pub mod history;
pub mod json;
pub mod log;
pub mod mail;
pub mod metrics;
mod notify;
#[cfg(feature = "snmp")]
pub mod snmp;
pub mod tally;
pub mod telling;
pub mod words;

pub use fifo::{Fifos, KeptFifo};
pub use history::History;
pub use notify::Notifier;
pub use tally::Tally;
pub use telling::Telling;

use crate::spec::balance::LvsSpec;
use crate::spec::{GroupId, InstanceId, InstanceSpec, Run, ScriptId, Spec};
use crate::vrrp::io::{Event, Role, Tracker};
use crate::vrrp::snapshot::Snapshot;
use crate::wire::Priority;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Something that wants to know what happens.
pub trait Observer {
    fn event(&mut self, event: &Event, cx: &Context<'_>, wishes: &mut Wishes) {
        let _ = (event, cx, wishes);
    }
    /// What of an event is told outside, as keepalived tells it: see [`Telling`] and [`notify::Gate`].
    fn told(&mut self, telling: &Telling<'_>, cx: &Context<'_>, wishes: &mut Wishes) {
        let _ = (telling, cx, wishes);
    }
    /// What happens to virtual servers. Observers that are about VRRP alone take no notice.
    fn balance(&mut self, event: &crate::balance::io::Event, cx: &Context<'_>, wishes: &mut Wishes) {
        let _ = (event, cx, wishes);
    }
    /// Identifiers from here on belong to `cx.spec`.
    fn reconfigured(&mut self, cx: &Context<'_>) {
        let _ = cx;
    }
    /// The engine has stopped: the last thing to be told.
    fn stopped(&mut self, cx: &Context<'_>, wishes: &mut Wishes) {
        let _ = (cx, wishes);
    }
    /// This process becomes another program at once: descriptors that are to stay open are made to, and named.
    fn hand_over(&mut self, kept: &mut Vec<KeptFifo>) {
        let _ = kept;
    }
}

/// What an observer may look at beside the event.
pub struct Context<'a> {
    pub spec: &'a Arc<Spec>,
    /// When the event happened: microseconds since 1970.
    pub unix_micros: u64,
    former: Option<&'a Former>,
    /// Effective priority of each instance of `spec`.
    priorities: &'a [Priority],
    roles: &'a [Role],
}

impl Context<'_> {
    /// The configuration of an instance.
    pub fn instance(&self, id: InstanceId) -> Option<&InstanceSpec> {
        self.spec.instances.get(id.index())
    }
    /// Name of an instance; a number of no instance has a question mark.
    pub fn name(&self, id: InstanceId) -> &str {
        self.instance(id).map_or("?", |instance| &instance.name)
    }
    /// An instance that a reload removes, or has just removed.
    pub fn deleted(&self, name: &str) -> Option<&InstanceSpec> {
        let in_force = self.spec.instances.iter().find(|instance| *instance.name == *name);
        let former = || self.former.and_then(|former| former.deleted.iter().find(|gone| *gone.name == *name));
        in_force.or_else(former)
    }
    /// The names of all instances, with those that a reload removes or has just removed.
    fn instances(&self) -> impl Iterator<Item = &str> {
        let former = self.former.into_iter().flat_map(|former| &former.deleted);
        self.spec.instances.iter().chain(former).map(|instance| &*instance.name)
    }
    /// Names of virtual and real servers that the configuration has, or the one before had: see [`balance::story::names`].
    fn servers(&self) -> BTreeSet<String> {
        let specs = self.former.map(|former| &former.balance).into_iter().chain(std::iter::once(&self.spec.balance));
        specs.flat_map(|spec| balance::story::names(spec)).collect()
    }
    /// The name of a check script; a question mark if there is no such.
    pub fn script_name(&self, id: ScriptId) -> &str {
        self.spec.scripts.get(id.index()).map_or("?", |script| &script.name)
    }
    /// Kind and name of what is tracked.
    pub fn tracker(&self, tracker: Tracker) -> (&'static str, &str) {
        let spec = self.spec;
        match tracker {
            Tracker::Script(id) => ("script", self.script_name(id)),
            Tracker::File(id) => ("file", spec.files.get(id.index()).map_or("?", |file| &file.name)),
            Tracker::Process(id) => ("process", spec.processes.get(id.index()).map_or("?", |process| &process.name)),
            Tracker::Bfd(id) => ("bfd", spec.bfds.get(id.index()).map_or("?", |session| &session.name)),
        }
    }
    /// Whether virtual servers were on show over SNMP before the last reload: what it took away is told all the same.
    #[cfg(feature = "snmp")]
    fn had_servers_on_show(&self) -> bool {
        self.former.is_some_and(|former| former.had_servers_on_show)
    }
    /// The name of a sync group; empty if there is no such.
    pub fn group_name(&self, id: GroupId) -> &str {
        self.spec.groups.get(id.index()).map_or("?", |group| &group.name)
    }
    /// The priority that an instance has at the event.
    pub fn priority(&self, id: InstanceId) -> Priority {
        self.priorities.get(id.index()).copied().unwrap_or(Priority::LEAVING)
    }
    /// The role that an instance has at the event.
    pub fn role(&self, id: InstanceId) -> Role {
        self.roles.get(id.index()).copied().unwrap_or(Role::Init)
    }
}

/// What observers want done.
#[derive(Debug, Default)]
pub struct Wishes {
    pub runs: Vec<NotifyRun>,
    pub mails: Vec<mail::Message>,
}

/// A notify program to start.
#[derive(Clone, PartialEq, Debug)]
pub struct NotifyRun {
    pub run: Run,
    /// Appended to its arguments.
    pub arguments: Vec<String>,
    /// The instance, group or server that it is about.
    pub of: String,
    /// What happened to that, in a word: `MASTER`, `UP`.
    pub event: &'static str,
    /// It is killed after a second (STOP notifications); others may run as long as they like.
    pub limited: bool,
}

/// What the last reload took away. The rest of the Spec before it is nobody's any more, and as large as the present one.
struct Former {
    deleted: Vec<InstanceSpec>,
    balance: Arc<LvsSpec>,
    #[cfg(feature = "snmp")]
    had_servers_on_show: bool,
}

impl Former {
    fn new(old: &Spec, new: &Spec) -> Former {
        let kept: BTreeSet<&str> = new.instances.iter().map(|instance| &*instance.name).collect();
        Former {
            deleted: old.instances.iter().filter(|instance| !kept.contains(&*instance.name)).cloned().collect(),
            balance: if old.balance == new.balance { &new.balance } else { &old.balance }.clone(),
            #[cfg(feature = "snmp")]
            had_servers_on_show: old.has_servers_on_show(),
        }
    }
}

/// All observers, and what they need to know between events.
pub struct Hub {
    observers: Vec<Box<dyn Observer + Send>>,
    gate: notify::Gate,
    spec: Arc<Spec>,
    unix_micros: u64,
    former: Option<Former>,
    priorities: Vec<Priority>,
    roles: Vec<Role>,
}

impl Hub {
    /// keepalived's order: scripts, FIFOs, mail; the log before them all.
    pub fn new(observers: Vec<Box<dyn Observer + Send>>) -> Hub {
        Hub {
            observers,
            gate: notify::Gate::default(),
            spec: Arc::default(),
            unix_micros: 0,
            former: None,
            priorities: Vec::new(),
            roles: Vec::new(),
        }
    }

    /// The configuration in force.
    pub fn spec(&self) -> &Arc<Spec> {
        &self.spec
    }

    /// Identifiers from here on belong to `spec`; `snapshot` is the state right after the change.
    pub fn reconfigure(&mut self, spec: Arc<Spec>, snapshot: &Snapshot) {
        self.former = Some(Former::new(&self.spec, &spec));
        self.spec = spec;
        self.priorities = snapshot.instances.iter().map(|view| view.effective_priority).collect();
        self.roles = snapshot.instances.iter().map(|view| view.state).collect();
        self.gate.reconfigured(&self.spec);
        self.tell(|observer, cx| observer.reconfigured(cx));
    }

    /// `unix_micros`: when it happened.
    pub fn event(&mut self, event: &Event, unix_micros: u64, wishes: &mut Wishes) {
        self.unix_micros = unix_micros;
        if let Event::PriorityChanged { instance, to, .. } = event
            && let Some(priority) = self.priorities.get_mut(instance.index())
        {
            *priority = *to;
        }
        if let Event::Became { instance, to, .. } = event
            && let Some(role) = self.roles.get_mut(instance.index())
        {
            *role = *to;
        }
        let mut gate = std::mem::take(&mut self.gate);
        let telling = Telling::of(event).filter(|telling| gate.open(telling, &self.context()));
        self.gate = gate;
        self.tell(|observer, cx| {
            observer.event(event, cx, wishes);
            if let Some(telling) = &telling {
                observer.told(telling, cx, wishes);
            }
        });
    }

    /// What happened to a virtual server, and when.
    pub fn balance(&mut self, event: &crate::balance::io::Event, unix_micros: u64, wishes: &mut Wishes) {
        self.unix_micros = unix_micros;
        self.tell(|observer, cx| observer.balance(event, cx, wishes));
    }

    /// The daemon ends: what every observer does last.
    pub fn stopped(&mut self, wishes: &mut Wishes) {
        self.tell(|observer, cx| observer.stopped(cx, wishes));
    }

    /// See [`Observer::hand_over`].
    pub fn hand_over(&mut self) -> Vec<KeptFifo> {
        let mut kept = Vec::new();
        for observer in &mut self.observers {
            observer.hand_over(&mut kept);
        }
        kept
    }

    /// For those who look at events without being an [`Observer`].
    pub fn context(&self) -> Context<'_> {
        Context {
            spec: &self.spec,
            unix_micros: self.unix_micros,
            former: self.former.as_ref(),
            priorities: &self.priorities,
            roles: &self.roles,
        }
    }

    fn tell(&mut self, mut say: impl FnMut(&mut dyn Observer, &Context<'_>)) {
        let cx = Context {
            spec: &self.spec,
            unix_micros: self.unix_micros,
            former: self.former.as_ref(),
            priorities: &self.priorities,
            roles: &self.roles,
        };
        for observer in &mut self.observers {
            say(observer.as_mut(), &cx);
        }
    }
}

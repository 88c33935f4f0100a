//! The rehearsal: start, wait until the address answers, break what was asked, see who takes over, mend it, see who
//! has the address then.
//!
//! It judges by what the client got, not by what the daemons say of themselves.

use super::Audience;
use super::Failure;
use super::Trouble;
use super::backends::Ailing;
use super::backends::machine::RealServers;
use super::balance::{Known, SEEN};
use super::client::{self, Answer};
use super::expect::{Damage, holders};
use super::net::{Cable, Net};
use super::plan::{Checks, Plan};
use super::server::Machine;
use super::verdict::{Gap, ServerStep, Standing, Step, Verdict};
use super::web;
use super::words::{Order, Who, Word};
use crate::spec::backend::Health;
use crate::spec::{Command, TieTarget};
use nix::sys::signal::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;

/// What reaches the rehearsal.
#[derive(Debug)]
pub(super) enum Fact {
    Said(usize, Word),
    Gone(usize),
    Asked(Instant),
    Answered(Answer),
    /// At a virtual server, by position in [`Plan::asked`].
    Served(usize, Answer),
}

/// No daemon takes longer than this to say a first word, also on an emulated machine.
const COMES_UP: Duration = Duration::from_secs(60);
/// A holder counts when it has answered for so long without anybody between.
const STEADY: Duration = Duration::from_millis(1500);

/// A lab that is built ([`Stage::build`](super::stage::Stage::build)). When it is dropped everything in it ends.
pub struct Rehearsal {
    pub(super) plan: Plan,
    pub(super) machines: Vec<Machine>,
    /// In the order of the plan's.
    pub(super) gateways: Vec<Machine>,
    pub(super) switch: Net,
    #[allow(dead_code, reason = "held for as long as the client lives there")]
    pub(super) client: Net,
    pub(super) facts: UnboundedReceiver<Fact>,
    pub(super) audience: Box<dyn Audience>,
    pub(super) answers: Vec<Answer>,
    pub(super) daemon: PathBuf,
    pub(super) webs: Vec<web::Web>,
    pub(super) damage: Damage,
    /// When a daemon last told a state, or an address came or went.
    pub(super) changed: Instant,
    pub(super) real: RealServers,
    /// Real servers that something was done to.
    pub(super) ailing: Ailing,
    /// What each daemon has said of its real servers.
    pub(super) known: Vec<Known>,
    /// Daemons that nobody listens to any more.
    pub(super) unheard: BTreeSet<usize>,
    pub(super) served: Vec<(usize, Answer)>,
}

impl Rehearsal {
    /// The whole play: start, failure of whoever holds the address, recovery.
    ///
    /// # Errors
    /// The lab itself went wrong; a rehearsal with a bad end is a [`Verdict`].
    pub async fn play(&mut self, fail: Option<&Failure>) -> Result<Verdict, Trouble> {
        let names: Vec<String> = self.machines.iter().map(|m| m.name.clone()).collect();
        let mut verdict = Verdict { names, address: self.plan.target.ip().to_string(), ..Verdict::default() };
        self.start().await?;
        let started = self.settle(None).await?;
        let holder = started.holder;
        let good = started.good();
        verdict.start = Some(started);
        let sick = match (fail, holder.filter(|_| good)) {
            (Some(how), Some(at)) => self.meant(at, how)?,
            _ => None,
        };
        if let Some((who, _)) = sick {
            verdict.servers.push(self.settle_servers(who).await?);
        }
        self.stand(&mut verdict).await?;
        if !verdict.servers.iter().all(ServerStep::good) {
            return Ok(verdict);
        }
        if let (Some(how), Some(at), true) = (fail, holder, good) {
            verdict.failed_server = at;
            let moment = Instant::now();
            verdict.deed = Some(match sick {
                Some((who, health)) => self.ail(who, health).await?,
                None => self.fail(at, how).await?,
            });
            if let Some((who, _)) = sick {
                verdict.servers.push(self.settle_servers(who).await?);
            }
            let mut step = self.settle(holder).await?;
            step.after = step.after.map(|a| a + step.start.saturating_duration_since(moment));
            let after = step.holder;
            // The last requests of the step must have had their time to fail.
            self.pass(Duration::from_millis(1200)).await?;
            let over = Instant::now();
            verdict.takeover = Some((step, self.gap(moment, over)));
            self.stand(&mut verdict).await?;
            let mended = Instant::now();
            match sick {
                Some((who, _)) => {
                    self.ail(who, Health::Up).await?;
                    verdict.servers.push(self.settle_servers(who).await?);
                }
                None => self.mend(at, how).await?,
            }
            // Whoever was paused while it was master comes back as one: nobody has to be preempted.
            let step = self.settle(after.filter(|_| *how != Failure::Pause)).await?;
            self.pass(Duration::from_millis(1200)).await?;
            verdict.recovery = Some((step, self.gap(mended, Instant::now())));
            self.stand(&mut verdict).await?;
        }
        Ok(verdict)
    }

    /// Notes where everything stands.
    async fn stand(&mut self, verdict: &mut Verdict) -> Result<(), Trouble> {
        verdict.standings.push(self.standings().await?);
        verdict.seats.push(self.server_standings());
        if self.plan.checks == Checks::Balanced && verdict.start.as_ref().is_some_and(Step::good) {
            // What was asked while things still moved has had its answer, or will have none.
            self.pass(SEEN).await?;
            verdict.misled.extend(self.misled());
        }
        Ok(())
    }

    /// Where every instance stands, once nobody says anything new.
    ///
    /// # Errors
    /// The lab itself went wrong.
    pub async fn standings(&mut self) -> Result<Vec<Standing>, Trouble> {
        let (calm, end) = (self.plan.calm().to_std(), Instant::now() + self.plan.patience().to_std());
        while self.changed.elapsed() < calm && Instant::now() < end {
            self.pass(Duration::from_millis(20)).await?;
        }
        let mut all = Vec::new();
        for (at, (machine, server)) in self.machines.iter().zip(&self.plan.servers).enumerate() {
            let powered = self.damage.dark != Some(at);
            for instance in &server.spec.instances {
                let claimed = instance.claim.addresses.iter().map(|a| a.address);
                let mut addresses: Vec<IpAddr> = claimed.filter(|a| powered && machine.addresses.contains(a)).collect();
                addresses.sort_unstable();
                addresses.dedup();
                all.push(Standing {
                    server: machine.name.clone(),
                    instance: instance.name.to_string(),
                    state: machine.states.get(&*instance.name).cloned(),
                    addresses,
                });
            }
        }
        Ok(all)
    }

    /// The servers, each with the pid of its agent's first half, for those who want to look inside.
    pub fn servers(&self) -> impl Iterator<Item = (&str, Option<u32>)> {
        self.machines.iter().map(|machine| (machine.name.as_str(), machine.pid()))
    }

    /// Web servers and daemons up, agents ready.
    ///
    /// # Errors
    /// A daemon or an agent ended, or was not ready in time.
    pub async fn start(&mut self) -> Result<(), Trouble> {
        let mut ready = 0;
        while ready < self.machines.len() + self.gateways.len() {
            match self.facts.recv().await {
                Some(fact @ (Fact::Said(at, Word::Trouble { .. }) | Fact::Gone(at))) if at >= self.machines.len() => {
                    self.of_gateway(at - self.machines.len(), &fact)?;
                }
                Some(Fact::Said(_, Word::Ready)) => ready += 1,
                Some(Fact::Said(at, Word::Trouble { text })) => {
                    return Err(Trouble::new(format!("{}: {text}", self.machines[at].name)));
                }
                Some(Fact::Gone(at)) => {
                    return Err(Trouble::new(format!("the agent of {} ended", self.machines[at].name)));
                }
                Some(_) => {}
                None => return Err(Trouble::new("the agents are gone")),
            }
        }
        self.start_gateways().await?;
        for at in 0..self.machines.len() {
            self.start_web(at).await?;
        }
        self.pass(Duration::from_millis(300)).await?;
        for at in 0..self.machines.len() {
            self.start_daemon(at).await?;
        }
        let what = format!(
            "{} and {} are started on every server",
            self.daemon_name(),
            self.webs.first().map_or("", |w| w.name)
        );
        self.audience.act(Instant::now(), "lab", &what);
        // How long a program takes to come up says nothing of the configurations, and counts for none of them.
        let end = Instant::now() + COMES_UP;
        while Instant::now() < end && !self.all_speak() {
            self.pass(Duration::from_millis(20)).await?;
        }
        Ok(())
    }

    /// Whether every daemon has said of an instance in which state it begins.
    fn all_speak(&self) -> bool {
        let mut all = self.machines.iter().zip(&self.plan.servers);
        all.all(|(machine, server)| !machine.states.is_empty() || server.spec.instances.is_empty())
    }

    fn daemon_name(&self) -> String {
        self.daemon.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
    }

    async fn start_web(&mut self, at: usize) -> Result<(), Trouble> {
        let web = &self.webs[at];
        if let Some((path, text)) = &web.file {
            self.machines[at].order(&Order::Write { path: path.clone(), text: text.clone() }).await?;
        }
        let start = Order::Start { who: Who::Web, argv: web.argv.clone(), environment: BTreeMap::new() };
        self.machines[at].order(&start).await
    }

    async fn start_daemon(&mut self, at: usize) -> Result<(), Trouble> {
        let argv = ["-n", "-l", "-D", "-G", "-f", "/etc/keepalived/keepalived.conf"].map(str::to_owned);
        let alone = (self.plan.checks == Checks::Left).then(|| "-P".to_owned());
        let argv = std::iter::once(self.daemon.to_string_lossy().into_owned()).chain(argv).chain(alone).collect();
        self.machines[at].order(&Order::Start { who: Who::Daemon, argv, environment: BTreeMap::new() }).await?;
        self.listen_to(at).await
    }

    /// Waits until one of the right servers answers steadily; where `before` may keep the address, for as long as a
    /// takeover by somebody else could take. Returns who, and how the step went.
    ///
    /// # Errors
    /// An agent ended.
    pub async fn settle(&mut self, before: Option<usize>) -> Result<Step, Trouble> {
        let right = holders(&self.plan, &self.damage, before);
        let patience = self.plan.patience().to_std();
        let start = Instant::now();
        let from = self.answers.len();
        let keeps = before.is_some_and(|b| right.contains(&b));
        let watch = if keeps { self.plan.takeover().to_std() } else { Duration::ZERO };
        let mut holder = None;
        while start.elapsed() < patience {
            self.pass(Duration::from_millis(20)).await?;
            if let Some(steady) = self.steady(start) {
                holder = Some(steady);
                if right.contains(&steady) && start.elapsed() >= watch {
                    break;
                }
            }
        }
        let first = holder.and_then(|h| self.first_by(from, h, start));
        Ok(Step { holder, right, after: first.map(|at| at.saturating_duration_since(start)), start })
    }

    /// Who has given every answer of the last [`STEADY`], since `start` at the earliest.
    fn steady(&self, start: Instant) -> Option<usize> {
        let since = Instant::now().checked_sub(STEADY)?;
        if since < start {
            return None;
        }
        let recent: Vec<&Answer> = self.answers.iter().rev().take(500).filter(|a| a.sent >= since).collect();
        let by = recent.first()?.by.as_deref()?;
        let enough = recent.len() >= (STEADY.as_millis() / client::PACE.as_millis() / 4) as usize;
        (enough && recent.iter().all(|a| a.by.as_deref() == Some(by))).then(|| self.number(by)).flatten()
    }

    fn first_by(&self, from: usize, server: usize, start: Instant) -> Option<Instant> {
        let fresh = self.answers.get(from..)?.iter().filter(|a| a.sent >= start);
        fresh.filter(|a| a.by.as_deref().and_then(|b| self.number(b)) == Some(server)).map(|a| a.done).min()
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.machines.iter().position(|m| m.name == name)
    }

    /// The longest time without an answer between two moments.
    pub fn gap(&self, from: Instant, to: Instant) -> Gap {
        let window = || self.answers.iter().filter(|a| a.sent >= from && a.sent < to);
        let failed = window().filter(|a| a.by.is_none()).count();
        let mut good: Vec<Instant> = window().filter(|a| a.by.is_some()).map(|a| a.done).collect();
        good.sort();
        // The last answer before the window counts as its beginning: silence may already have begun there.
        let edges = std::iter::once(from).chain(good.iter().copied()).chain(good.is_empty().then_some(to));
        let edges: Vec<Instant> = edges.collect();
        let longest = edges.windows(2).map(|w| w[1].saturating_duration_since(w[0])).max().unwrap_or_default();
        // As long as answers come at the pace of the requests there is no gap.
        let longest = if failed == 0 { Duration::ZERO } else { longest };
        Gap { longest, failed, requests: window().count() }
    }

    /// Lets time pass and takes in what happens.
    ///
    /// # Errors
    /// An agent ended.
    pub async fn pass(&mut self, length: Duration) -> Result<(), Trouble> {
        let end = tokio::time::Instant::now() + length;
        while let Ok(fact) = tokio::time::timeout_at(end, self.facts.recv()).await {
            match fact {
                Some(fact) => self.take(fact)?,
                None => return Err(Trouble::new("the lab is gone")),
            }
        }
        self.follow().await
    }

    fn take(&mut self, fact: Fact) -> Result<(), Trouble> {
        let now = Instant::now();
        self.audience.passes(now);
        if let Fact::Said(at, _) | Fact::Gone(at) = &fact
            && let Some(number) = at.checked_sub(self.machines.len())
        {
            return self.of_gateway(number, &fact);
        }
        match fact {
            Fact::Asked(at) => self.audience.asked(at),
            Fact::Answered(answer) => {
                self.audience.answer(&answer);
                self.answers.push(answer);
            }
            Fact::Served(number, answer) => {
                if let Some(asked) = self.plan.asked.get(number) {
                    self.audience.served(&asked.to_string(), &answer);
                }
                self.served.push((number, answer));
            }
            Fact::Said(at, Word::Line { who: Who::Watch, text }) => self.hear_events(at, &text),
            Fact::Said(at, Word::Ended { who: Who::Watch, .. }) => drop(self.unheard.insert(at)),
            Fact::Said(at, Word::Line { who, text }) => {
                let machine = &mut self.machines[at];
                if let Some((instance, state)) = machine.hear(who, &text) {
                    self.changed = now;
                    self.audience.state(now, &machine.name, &instance, &state);
                }
            }
            Fact::Said(at, Word::Address { address, present }) => {
                let ours = self.plan.virtual_addresses(at).contains(&address);
                let machine = &mut self.machines[at];
                let news = if present { machine.addresses.insert(address) } else { machine.addresses.remove(&address) };
                if ours && news {
                    self.changed = now;
                    self.audience.address(now, &machine.name, address, present);
                }
            }
            Fact::Said(at, Word::Ended { who, code, signal }) => {
                let machine = &mut self.machines[at];
                machine.running.remove(&who);
                if who == Who::Daemon {
                    machine.states.clear();
                    self.known[at] = Known::default();
                    self.changed = now;
                }
                let how = match (code, signal) {
                    (Some(code), _) => format!("with exit code {code}"),
                    (_, Some(signal)) => format!("by signal {signal}"),
                    _ => String::new(),
                };
                let name = machine.name.clone();
                let expected = self.damage.out.contains(&at) || self.damage.failing.iter().any(|(s, _)| *s == at);
                let what = if who == Who::Daemon { self.daemon_name() } else { self.webs[at].name.to_owned() };
                self.audience.note(now, &name, &format!("{what} has ended {how}"));
                if who == Who::Daemon && !expected {
                    let log = self.machines[at].log.iter().map(|l| format!("  {l}")).collect::<Vec<_>>().join("\n");
                    return Err(Trouble::new(format!("the daemon of {name} ended {how}"))
                        .help(format!("its last words:\n{log}")));
                }
            }
            Fact::Said(at, Word::Trouble { text }) => {
                let name = self.machines[at].name.clone();
                self.audience.note(now, &name, &text);
            }
            Fact::Said(_, Word::Ready) => {}
            Fact::Gone(at) => {
                return Err(Trouble::new(format!("the agent of {} ended", self.machines[at].name)));
            }
        }
        Ok(())
    }

    /// Breaks what was asked on the server `at`. What was done comes back in words.
    ///
    /// # Errors
    /// There is nothing of the kind to break on that server.
    pub async fn fail(&mut self, at: usize, how: &Failure) -> Result<String, Trouble> {
        let name = self.machines[at].name.clone();
        let gateway = match how {
            Failure::Path(cut, session) => Some(self.path(at, session.as_deref(), *cut, true).await?),
            Failure::Frozen(session) => Some(self.freeze(at, session.as_deref(), true).await?),
            Failure::Kill
            | Failure::Crash
            | Failure::Pause
            | Failure::Stop
            | Failure::Link(_)
            | Failure::Script(_)
            | Failure::Server(_) => None,
        };
        if let Some(what) = gateway {
            self.audience.act(Instant::now(), &name, &what);
            return Ok(format!("on {name}: {what}"));
        }
        let script = match how {
            Failure::Script(wanted) => Some(self.script(at, wanted.as_deref())?),
            _ => None,
        };
        let cables = self.cables(at, how)?;
        match (script, how) {
            (Some(script), _) => drop(self.damage.failing.insert((at, script))),
            (None, Failure::Link(Some(interface))) => drop(self.damage.unplugged.insert((at, interface.clone()))),
            (None, _) => drop(self.damage.out.insert(at)),
        }
        self.damage.dark = (*how == Failure::Crash).then_some(at);
        let what = match how {
            Failure::Crash => "power is lost: everything is killed, the cable is dead".to_owned(),
            Failure::Kill => format!("{} is killed (SIGKILL), the server goes on", self.daemon_name()),
            Failure::Pause => format!("{} is paused (SIGSTOP)", self.daemon_name()),
            Failure::Stop => format!("{} is stopped (SIGTERM)", self.daemon_name()),
            Failure::Link(None) => "the cables are pulled".to_owned(),
            Failure::Link(Some(interface)) => format!("the cable of {interface} is pulled"),
            Failure::Path(..) | Failure::Frozen(_) | Failure::Server(_) | Failure::Script(_) => {
                let spec = script.and_then(|s| self.plan.servers[at].spec.scripts.get(s));
                let name = spec.map_or("", |s| &*s.name);
                match self.asks_the_web(at, script) {
                    true => format!("{} is stopped, which {name} checks", self.webs[at].name),
                    false => format!("{name} is made to fail"),
                }
            }
        };
        self.audience.act(Instant::now(), &name, &what);
        match how {
            Failure::Crash => {
                self.carrier(&cables, false).await?;
                self.machines[at].signal(Who::Daemon, Signal::SIGKILL).await?;
                self.machines[at].signal(Who::Web, Signal::SIGKILL).await?;
            }
            Failure::Kill => self.machines[at].signal(Who::Daemon, Signal::SIGKILL).await?,
            Failure::Pause => self.machines[at].signal(Who::Daemon, Signal::SIGSTOP).await?,
            Failure::Stop => self.machines[at].signal(Who::Daemon, Signal::SIGTERM).await?,
            Failure::Link(_) => self.carrier(&cables, false).await?,
            Failure::Script(_) if self.asks_the_web(at, script) => {
                self.machines[at].signal(Who::Web, Signal::SIGTERM).await?;
            }
            Failure::Script(_) => {
                let path = self.program(at, script)?;
                self.machines[at].order(&Order::Break { path }).await?;
            }
            // Done above, or by who knows of real servers.
            Failure::Path(..) | Failure::Frozen(_) | Failure::Server(_) => {}
        }
        Ok(format!("on {name}: {what}"))
    }

    /// Undoes [`Rehearsal::fail`].
    ///
    /// # Errors
    /// What was broken cannot be put back.
    pub async fn mend(&mut self, at: usize, how: &Failure) -> Result<(), Trouble> {
        let name = self.machines[at].name.clone();
        let failing = self.damage.failing.iter().next().map(|(_, script)| *script);
        self.damage = Damage::default();
        let cables = self.cables(at, how)?;
        match how {
            Failure::Crash => {
                self.audience.act(Instant::now(), &name, "power is back, everything starts");
                // What a machine that was off cannot have.
                let addresses = self.plan.virtual_addresses(at);
                self.machines[at].net.forget(&addresses).await?;
                self.carrier(&cables, true).await?;
                self.start_web(at).await?;
                self.start_daemon(at).await
            }
            Failure::Kill | Failure::Stop => {
                let what = format!("{} is started again", self.daemon_name());
                self.audience.act(Instant::now(), &name, &what);
                self.start_daemon(at).await
            }
            Failure::Pause => {
                let what = format!("{} goes on (SIGCONT)", self.daemon_name());
                self.audience.act(Instant::now(), &name, &what);
                self.machines[at].signal(Who::Daemon, Signal::SIGCONT).await
            }
            Failure::Link(_) => {
                let what = if cables.len() == 1 { "the cable is" } else { "the cables are" };
                self.audience.act(Instant::now(), &name, &format!("{what} plugged in again"));
                self.carrier(&cables, true).await
            }
            Failure::Script(_) if self.asks_the_web(at, failing) => {
                let what = format!("{} is started again", self.webs[at].name);
                self.audience.act(Instant::now(), &name, &what);
                self.start_web(at).await
            }
            Failure::Path(cut, session) => {
                let what = self.path(at, session.as_deref(), *cut, false).await?;
                self.audience.act(Instant::now(), &name, &what);
                Ok(())
            }
            Failure::Frozen(session) => {
                let what = self.freeze(at, session.as_deref(), false).await?;
                self.audience.act(Instant::now(), &name, &what);
                Ok(())
            }
            Failure::Server(_) => Ok(()),
            Failure::Script(_) => {
                self.audience.act(Instant::now(), &name, "the check works again");
                let path = self.program(at, failing)?;
                self.machines[at].order(&Order::Mend { path }).await
            }
        }
    }

    async fn carrier(&self, cables: &[Cable], on: bool) -> Result<(), Trouble> {
        for cable in cables {
            self.switch.carrier(cable, on).await?;
        }
        Ok(())
    }

    /// The cables of a server that a failure concerns: one interface's, or all.
    fn cables(&self, at: usize, how: &Failure) -> Result<Vec<Cable>, Trouble> {
        let Failure::Link(Some(wanted)) = how else { return Ok(self.machines[at].cables.clone()) };
        let names: Vec<&str> = self.plan.ports[at].iter().map(|(s, _)| self.plan.segments[*s].as_str()).collect();
        let found = names.iter().position(|name| name == wanted).and_then(|p| self.machines[at].cables.get(p));
        let name = &self.machines[at].name;
        found.cloned().map(|cable| vec![cable]).ok_or_else(|| {
            Trouble::new(format!("{name} has no interface {wanted}")).help(format!("there are: {}", names.join(", ")))
        })
    }

    /// The script to fail: by name, else the first that the instance is tied to.
    fn script(&self, at: usize, wanted: Option<&str>) -> Result<usize, Trouble> {
        let scripts = &self.plan.servers[at].spec.scripts;
        if let Some(wanted) = wanted {
            return scripts.iter().position(|s| &*s.name == wanted).ok_or_else(|| {
                let names: Vec<&str> = scripts.iter().map(|s| &*s.name).collect();
                Trouble::new(format!("there is no vrrp_script {wanted}"))
                    .help(format!("there are: {}", names.join(", ")))
            });
        }
        let tied = self.plan.instance(at).and_then(|i| {
            i.ties.iter().find_map(|tie| match tie.on {
                TieTarget::Script(id) => Some(id.index()),
                _ => None,
            })
        });
        tied.ok_or_else(|| Trouble::new("the instance tracks no script").help("--fail kill, crash, stop or link work"))
    }

    /// Does the check look at the web server? Then that is what fails, as it would in life.
    fn asks_the_web(&self, at: usize, script: Option<usize>) -> bool {
        let Some(script) = script.and_then(|s| self.plan.servers[at].spec.scripts.get(s)) else { return false };
        let line = script.run.line();
        let file = line.split_whitespace().next().and_then(|path| path.rsplit('/').next());
        let directory = self.plan.servers[at].config.parent();
        let body = directory.zip(file).and_then(|(d, f)| std::fs::read_to_string(d.join(f)).ok()).unwrap_or_default();
        ["nginx", "http", "/80", ":80", "curl", "wget"].iter().any(|mark| line.contains(mark) || body.contains(mark))
    }

    fn program(&self, at: usize, script: Option<usize>) -> Result<PathBuf, Trouble> {
        let script = script.and_then(|s| self.plan.servers[at].spec.scripts.get(s));
        match script.map(|s| &s.run.command) {
            Some(Command::Exec { path, .. }) => Ok(PathBuf::from(&**path)),
            _ => Err(Trouble::new("a check that is a shell command line cannot be made to fail")
                .help("put it into a file of its own")),
        }
    }
}

//! What each act of a scenario does to a world.

use super::node::News;
use super::scenario::{Act, Edit, Mood, Scenario};
use super::world::World;
use crate::balance::io as balance;
use crate::spec::balance::Endpoint;
use crate::spec::{FileId, ProcessId, Spec};
use crate::time::{Interval, Time};
use crate::vrrp::io::{Command, Input, LinkFact, TrackValue, Tracker};
use std::sync::Arc;

impl World<'_> {
    pub(super) fn act(&mut self, position: usize) {
        let Some((_, act)) = self.scenario.acts.get(position).cloned() else { return };
        let now = self.now;
        self.chronicle.moment(now, &self.nodes);
        self.chronicle.done(&act.to_string());
        self.oracle.disturbed(&act, now);
        let node = act.node().and_then(|name| self.find(name));
        match node {
            Some(node) => self.chronicle.say(now, node, &format!("» {act}")),
            None => self.chronicle.tell(now, &format!("» {act}")),
        }
        match (act, node) {
            (Act::Start(_), Some(node)) => self.start(node),
            (Act::Kill(_), Some(node)) => {
                self.end_life(node);
                self.forget(node, false);
            }
            (Act::Crash(_), Some(node)) => {
                self.end_life(node);
                self.forget(node, true);
                if let Some(n) = self.nodes.get_mut(node) {
                    n.post.table.clear();
                }
            }
            (Act::Stop(_), Some(node)) if self.nodes.get(node).is_some_and(|n| n.paused) => {
                if let Some(n) = self.nodes.get_mut(node) {
                    n.terminate = true;
                }
            }
            (Act::Stop(_), Some(node)) => {
                self.stop_sessions(node);
                self.tell_now(node, Input::Command(Command::Stop { release: true }));
                self.stop_balance(node);
                self.end_life(node);
            }
            (Act::Pause(_), Some(node)) => {
                if let Some(n) = self.nodes.get_mut(node).filter(|n| n.router.is_some()) {
                    n.paused = true;
                    n.wake = None;
                }
            }
            (Act::Resume(_), Some(node)) => self.resume(node),
            (Act::Link { interface, up, .. }, Some(node)) => self.link(node, &interface, up),
            (Act::Path { session, way, .. }, Some(node)) => self.set_path(node, session, way),
            (Act::Script { script, conduct, .. }, Some(node)) => {
                let Some(n) = self.nodes.get_mut(node) else { return };
                let position = n.spec.scripts.iter().position(|s| s.name == script);
                if let Some(slot) = position.and_then(|p| n.conduct.get_mut(p)) {
                    *slot = conduct;
                }
            }
            (Act::File { file, value, .. }, Some(node)) => {
                let Some(n) = self.nodes.get_mut(node) else { return };
                let Some(position) = n.spec.files.iter().position(|f| f.name == file) else { return };
                if let Some(slot) = n.files.get_mut(position) {
                    *slot = value;
                }
                self.tell(node, News::Tracked(Tracker::File(FileId(position as u32)), TrackValue::Number(value)));
                let (tracker, value) = (balance::Tracker::File(file), balance::TrackValue::Number(i64::from(value)));
                self.tell_director(node, balance::Input::Tracked { tracker, value });
            }
            (Act::Process { process, count, .. }, Some(node)) => {
                let Some(n) = self.nodes.get_mut(node) else { return };
                let Some(position) = n.spec.processes.iter().position(|p| p.name == process) else { return };
                if let Some(slot) = n.processes.get_mut(position) {
                    *slot = count;
                }
                let tracker = Tracker::Process(ProcessId(position as u32));
                self.tell(node, News::Tracked(tracker, TrackValue::Count(count)));
            }
            (Act::Netlink { mood, .. }, Some(node)) => {
                if let Some(n) = self.nodes.get_mut(node) {
                    n.kernel.mood = mood;
                }
            }
            (Act::Clock { forward, by, .. }, Some(node)) => {
                let Some(n) = self.nodes.get_mut(node) else { return };
                n.clock.step(forward, by, &n.spec, now);
                let wall = n.wall(now);
                if n.awake() {
                    self.tell_now(node, Input::WallClock(wall));
                }
            }
            (Act::Late { by, .. }, Some(node)) => {
                if let Some(n) = self.nodes.get_mut(node) {
                    n.late = by;
                }
            }
            (Act::Reload { edits, .. }, Some(node)) => self.reload(node, &edits),
            (Act::Steal { address, .. }, Some(node)) => self.steal(node, address),
            (Act::Drain(_), Some(node)) => self.command(node, Command::Drain { instance: None }),
            (Act::Undrain(_), Some(node)) => self.command(node, Command::Undrain { instance: None }),
            (Act::Failover(_), Some(node)) => self.command(node, Command::Failover { instance: None }),
            (Act::Server { server, health }, _) => self.backends.set(server, health),
            (act, _) => self.act_on_lan(act),
        }
        self.chronicle.holders(now, &self.nodes);
    }

    fn act_on_lan(&mut self, act: Act) {
        let segment = |world: &Self, name: &Option<Box<str>>| name.as_ref().and_then(|s| world.lan.find(s));
        match act {
            Act::Cut { from, to, both, segment: on } => {
                let on = segment(self, &on);
                let (Some(from), Some(to)) = (self.find(&from), self.find(&to)) else { return };
                self.lan.cut(from, to, on);
                if both {
                    self.lan.cut(to, from, on);
                }
            }
            Act::Mend { from, to, both, segment: on } => {
                let on = segment(self, &on);
                let (Some(from), Some(to)) = (self.find(&from), self.find(&to)) else { return };
                self.lan.mend(from, to, on);
                if both {
                    self.lan.mend(to, from, on);
                }
            }
            Act::Partition(parts) => {
                let part = |name: &str| parts.iter().position(|part| part.iter().any(|n| **n == *name));
                let rest = parts.len();
                self.lan.partition(self.nodes.iter().map(|n| part(&n.name).unwrap_or(rest)).collect(), rest);
            }
            Act::Heal => self.lan.heal(),
            Act::Lan(settings) => self.lan.settings = settings,
            _ => {}
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|n| *n.name == *name)
    }

    fn command(&mut self, node: usize, command: Command) {
        if self.nodes.get(node).is_some_and(|n| n.awake()) {
            self.tell_now(node, Input::Command(command));
        }
    }

    /// What was asked of the kernel is void; with `power` gone, so is what it holds.
    fn forget(&mut self, node: usize, power: bool) {
        let Some(n) = self.nodes.get_mut(node) else { return };
        n.epoch += 1;
        n.kernel.forget();
        if power {
            n.kernel.clear();
        }
    }

    /// SIGCONT: what waited comes in at once, in its order.
    fn resume(&mut self, node: usize) {
        let now = self.now;
        let Some(n) = self.nodes.get_mut(node).filter(|n| n.paused) else { return };
        n.paused = false;
        n.deadline = None;
        if let Some(router) = n.router.as_mut()
            && let Some((since, _)) = router.deadline().filter(|(at, _)| *at <= now)
        {
            router.handle(Input::Slept { since }, now);
        }
        self.oracle.resumed(node, now);
        let inbox = std::mem::take(&mut n.inbox);
        let Some(n) = self.nodes.get(node) else { return };
        let wall = n.wall(now);
        // As the driver does: datagrams count from when they arrived, then comes what is due, and then all other news.
        let (datagrams, others): (Vec<_>, Vec<_>) =
            inbox.into_iter().partition(|(_, news)| matches!(news, News::Datagram { .. }));
        for (at, news) in datagrams {
            self.tell_late(node, news.input(), at);
        }
        self.tell_now(node, Input::Tick);
        self.tell_now(node, Input::WallClock(wall));
        // Sessions have a thread of their own: what their packets change is told after the adverts that were waiting, and,
        // since they are old, before what both hear of links.
        self.resume_sessions(node);
        for (_, news) in others {
            self.tell(node, news);
        }
        if self.nodes.get(node).is_some_and(|n| n.terminate) {
            self.stop_sessions(node);
            self.tell_now(node, Input::Command(Command::Stop { release: true }));
            self.stop_balance(node);
            self.end_life(node);
        }
    }

    fn link(&mut self, node: usize, interface: &str, up: bool) {
        let Some(n) = self.nodes.get_mut(node) else { return };
        let Some(index) = n.kernel.index(interface) else { return };
        let mut facts = Vec::new();
        for link in &mut n.kernel.links {
            if (link.index == index || link.lower == index) && link.running != up {
                link.running = up;
                facts.push(LinkFact::Changed(link.clone()));
            }
        }
        for fact in facts {
            self.tell(node, News::Link(fact));
        }
    }
}

impl Act {
    /// The node that an act is done to, if it is one.
    pub fn node(&self) -> Option<&str> {
        match self {
            Act::Kill(node) | Act::Crash(node) | Act::Start(node) | Act::Stop(node) | Act::Pause(node) => Some(node),
            Act::Resume(node) | Act::Drain(node) | Act::Undrain(node) | Act::Failover(node) => Some(node),
            Act::Link { node, .. } | Act::Path { node, .. } | Act::Script { node, .. } => Some(node),
            Act::File { node, .. } => Some(node),
            Act::Process { node, .. } | Act::Netlink { node, .. } | Act::Clock { node, .. } => Some(node),
            Act::Late { node, .. } | Act::Reload { node, .. } | Act::Steal { node, .. } => Some(node),
            Act::Cut { .. } | Act::Mend { .. } | Act::Partition(_) | Act::Heal | Act::Lan(_) => None,
            Act::Server { .. } => None,
        }
    }

    /// How long after the act what it began still changes things by itself.
    pub(super) fn aftermath(&self) -> Interval {
        match self {
            Act::Netlink { mood: Mood::Well, .. } => Interval::from_secs(1),
            _ => Interval::ZERO,
        }
    }
}

/// Every name in a scenario must be somebody's.
pub(super) fn check_names(specs: &[(String, Arc<Spec>)], scenario: &Scenario) -> Result<(), String> {
    let names = || specs.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(", ");
    let spec = |name: &str| {
        let found = specs.iter().find(|(n, _)| n == name).map(|(_, spec)| &**spec);
        found.ok_or_else(|| format!("no node is named {name}; there are: {}", names()))
    };
    let one_of = |what: &str, name: &str, list: Vec<&str>| match list.contains(&name) {
        true => Ok(()),
        false => Err(format!("no {what} is named {name}; there are: {}", list.join(", "))),
    };
    for (_, ends) in &scenario.segments {
        ends.iter().try_for_each(|(node, _)| spec(node).map(|_| ()))?;
    }
    scenario.absent.iter().try_for_each(|node| spec(node).map(|_| ()))?;
    for (at, act) in &scenario.acts {
        let wrong = |problem: String| format!("at {}s {act}: {problem}", *at - Time::ZERO);
        let check = || -> Result<(), String> {
            if let Some(node) = act.node() {
                let spec = spec(node)?;
                match act {
                    Act::Script { script, .. } => {
                        one_of("script", script, spec.scripts.iter().map(|s| &*s.name).collect())?;
                    }
                    Act::File { file, .. } => one_of("file", file, spec.files.iter().map(|f| &*f.name).collect())?,
                    Act::Process { process, .. } => {
                        one_of("process", process, spec.processes.iter().map(|p| &*p.name).collect())?;
                    }
                    Act::Path { session, way, .. } => {
                        one_of("BFD session", session, spec.sessions.iter().map(|s| &*s.name).collect())?;
                        super::bfd::far::check_way(specs, node, session, *way)?;
                    }
                    Act::Link { interface, .. } => {
                        let all = super::lan::interfaces(spec);
                        one_of("interface", interface, all.iter().map(|n| &**n).collect())?;
                    }
                    Act::Reload { edits, .. } => edits.iter().try_for_each(|edit| {
                        let (Edit::Priority { instance, .. }
                        | Edit::Preempt { instance, .. }
                        | Edit::Add { instance, .. }
                        | Edit::Remove { instance, .. }
                        | Edit::Gone { instance }
                        | Edit::Back { instance }) = edit;
                        one_of("instance", instance, spec.instances.iter().map(|i| &*i.name).collect())
                    })?,
                    _ => {}
                }
            }
            match act {
                Act::Cut { from, to, .. } | Act::Mend { from, to, .. } => {
                    spec(from)?;
                    spec(to)?;
                }
                Act::Server { server, .. } => {
                    let services = specs.iter().flat_map(|(_, spec)| &spec.balance.services);
                    let mut servers = services.flat_map(|service| &service.servers).map(|own| own.endpoint);
                    let same = |own: Endpoint| {
                        own.address == server.address && (server.port.is_none() || own.port == server.port)
                    };
                    if !servers.any(same) {
                        return Err(format!("there is no real_server {server}"));
                    }
                }
                Act::Partition(parts) => parts.iter().flatten().try_for_each(|node| spec(node).map(|_| ()))?,
                _ => {}
            }
            Ok(())
        };
        check().map_err(wrong)?;
    }
    Ok(())
}

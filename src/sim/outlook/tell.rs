//! The plays in sentences, one a line: who holds what, what each failure does, what a return does.

use super::failure::Failure;
use super::{Change, Player, Router, Scene, masters, view};
use crate::config::pair::{Member, advertised};
use crate::spec::{and_more, first_few};
use crate::time::Interval;
use crate::vrrp::io::Role;
use crate::wire::Priority;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Addresses that are named before the rest is counted.
const NAMED: usize = 2;

impl<'a> Player<'_, 'a> {
    pub(super) fn tell(&self, scenes: &[Scene], left_out: usize) -> Vec<String> {
        let mut lines = Vec::new();
        self.holders(&mut lines);
        for server in 0..self.specs.len() {
            let own: Vec<&Scene> = scenes.iter().filter(|scene| scene.server == server).collect();
            let holds = self.routers.iter().any(|router| router.masters.contains(&server));
            if own.is_empty() {
                continue;
            }
            if holds || own.iter().any(|scene| is_ending(scene) && !scene.changes.is_empty()) {
                self.endings(&own, &mut lines);
            }
            for scene in own.iter().filter(|scene| !is_ending(scene)) {
                // Between two servers it is the same cut, from whichever side one looks.
                let told = !holds && scene.failure == Failure::Cut && self.specs.len() == 2;
                let silent = !holds && scene.changes.is_empty() || told;
                // An interface that carries nothing is not worth a line.
                let idle_link =
                    matches!(scene.failure, Failure::Link(_)) && scene.changes.is_empty() && !self.concerns(scene);
                if !silent && !idle_link {
                    lines.push(format!(
                        "if {}, {}{}.",
                        scene.failure.words(self.name(server)),
                        self.effect(scene, false),
                        without(scene)
                    ));
                }
            }
            if !holds {
                let count = own.iter().filter(|scene| scene.changes.is_empty()).count();
                let else_ = if own.iter().all(|scene| scene.changes.is_empty()) { "" } else { "else " };
                lines.push(format!(
                    "whatever {else_}fails on {}, nothing moves ({count} failures played).",
                    self.name(server)
                ));
            }
            self.returns(&own, &mut lines);
        }
        if left_out > 0 {
            lines.push(format!(
                "{left_out} more failures were not played through, as that would take too long: `vipctl simulate` plays any of them."
            ));
        }
        lines
    }

    fn name(&self, server: usize) -> &str {
        self.servers.name(server)
    }

    pub(super) fn names(&self, list: &[usize]) -> String {
        list.iter().map(|server| self.name(*server)).collect::<Vec<_>>().join(" and ")
    }

    /// Is the interface one that an instance of the server lives on?
    fn concerns(&self, scene: &Scene) -> bool {
        let Failure::Link(name) = &scene.failure else { return true };
        let on = |m: &Member<'a>| m.instance.interface.as_ref().is_some_and(|own| own.as_str() == &**name);
        self.routers.iter().flat_map(|router| &router.members).any(|m| m.server == scene.server && on(m))
    }

    /// Who is master of what; routers of which the same is to be said in one sentence.
    fn holders(&self, lines: &mut Vec<String>) {
        let mut said: Vec<(String, Vec<usize>)> = Vec::new();
        for (number, router) in self.routers.iter().enumerate() {
            let sentence = self.holding(router);
            match said.iter_mut().find(|(known, _)| *known == sentence) {
                Some((_, numbers)) => numbers.push(number),
                None => said.push((sentence, vec![number])),
            }
        }
        for (sentence, numbers) in said {
            lines.push(sentence.replace('\u{1}', &self.what(&numbers)));
        }
    }

    /// The sentence with a mark where the addresses come.
    fn holding(&self, router: &Router<'a>) -> String {
        let never = router.members.iter().find_map(|m| Some((m, m.instance.config_fault.as_ref()?)));
        let unable =
            never.map_or(String::new(), |(m, why)| format!(" {} can never hold it: {why}.", self.name(m.server)));
        let [master] = router.masters.as_slice() else {
            return match router.masters.as_slice() {
                [] => format!("nobody holds \u{1}{}.{unable}", self.nobody(router)),
                several => {
                    let both = if several.len() == 2 { "both" } else { "all" };
                    format!("{} {both} hold \u{1}: {}.{unable}", self.names(several), self.split(router))
                }
            };
        };
        let priority = |m: &Member<'a>| view(m, &self.calm.standings).map(|view| view.effective_priority);
        let own = router.members.iter().find(|m| m.server == *master).and_then(priority);
        let mut others: Vec<_> = router
            .members
            .iter()
            .filter(|m| m.server != *master && m.instance.config_fault.is_none())
            .filter_map(|m| Some((priority(m)?, m)))
            .collect();
        others.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
        let by = match (own, others.first()) {
            (_, None) => return format!("{} holds \u{1}; nobody else does.{unable}", self.name(*master)),
            (Some(own), Some((best, _))) if own == *best => {
                let alike: Vec<&Member<'a>> = others.iter().filter(|(p, _)| *p == own).map(|(_, m)| *m).collect();
                self.draw(router, *master, own, &alike)
            }
            (Some(own), Some((best, m))) if own > *best => {
                let rest: Vec<String> = others
                    .iter()
                    .skip(1)
                    .map(|(priority, m)| format!("{priority} of {}", self.name(m.server)))
                    .collect();
                let rest = if rest.is_empty() { String::new() } else { format!(" and {}", rest.join(" and ")) };
                let lets = |m: &Member<'a>| m.server == *master && !m.instance.preempt && own != Priority::OWNER;
                let first = match router.members.iter().any(lets) {
                    true => "; with nopreempt another that is master first stays it",
                    false => "",
                };
                format!("priority {own} against {best} of {}{rest}{first}", self.name(m.server))
            }
            (own, Some((best, m))) => {
                let own = own.map_or("?".to_owned(), |own| own.to_string());
                format!("priority {own}, although {} has {best}: it was first", self.name(m.server))
            }
        };
        format!("{} holds \u{1} ({by}).{unable}", self.name(*master))
    }

    /// Who of servers with one priority is master.
    fn draw(&self, router: &Router<'a>, master: usize, priority: Priority, alike: &[&Member<'a>]) -> String {
        let own = router.members.iter().find(|m| m.server == master).and_then(|m| m.instance.source);
        let theirs: Option<Vec<IpAddr>> = alike.iter().map(|m| m.instance.source).collect();
        let names: Vec<usize> = alike.iter().map(|m| m.server).collect();
        let names = self.names(&names);
        let rule = match (own, theirs) {
            (Some(own), Some(theirs)) if theirs.iter().all(|other| own > *other) => {
                format!("if they start together, by its greater address {own}, otherwise whoever was first")
            }
            (Some(_), Some(_)) => "it was first".to_owned(),
            _ => format!(
                "whoever was first keeps it, and if they start together the greater interface address wins, which these \
                 files do not say: it may as well be {}",
                names.replace(" and ", " or ")
            ),
        };
        format!("priority {priority}, as {names}; {rule}")
    }

    /// Why nobody is master.
    fn nobody(&self, router: &Router<'a>) -> String {
        let fault = router.members.iter().find_map(|m| {
            let view = view(m, &self.calm.standings)?;
            let fault = view.faults.first().filter(|_| view.state == Role::Fault)?;
            Some(format!(": on {} {}", self.name(m.server), crate::observe::words::fault(fault)))
        });
        fault.unwrap_or_default()
    }

    /// Death and an orderly stop in one sentence.
    fn endings(&self, own: &[&Scene], lines: &mut Vec<String>) {
        let of = |failure: &Failure| own.iter().copied().find(|scene| scene.failure == *failure);
        let (crash, stop) = (of(&Failure::Crash), of(&Failure::Stop));
        let Some(crash) = crash else { return };
        let same = |stop: &&Scene| {
            let ends = |scene: &Scene| -> Vec<(usize, BTreeSet<Vec<usize>>)> {
                scene.changes.iter().map(|change| (change.router, outcomes(change).cloned().collect())).collect()
            };
            ends(crash) == ends(stop) && one_time(&stop.changes).is_some() && !stop.changes.is_empty()
        };
        let server = self.name(crash.server);
        match stop.filter(same).and_then(|stop| one_time(&stop.changes)) {
            Some(time) => lines.push(format!(
                "if {server} dies, {}{}; if it is stopped, {}.",
                self.effect(crash, true),
                without(crash),
                later(time, "")
            )),
            None => {
                lines.push(format!("if {server} dies, {}{}.", self.effect(crash, true), without(crash)));
                if let Some(stop) = stop {
                    lines.push(format!("if {server} is stopped, {}.", self.effect(stop, false)));
                }
            }
        }
    }

    /// What a failure did, routers with the same fate together.
    fn effect(&self, scene: &Scene, ending: bool) -> String {
        if scene.changes.is_empty() {
            return match self.because(scene).filter(|_| !ending) {
                Some(why) => format!("nothing moves: {why}"),
                None => "nothing moves".into(),
            };
        }
        let held: Vec<usize> =
            (0..).zip(self.routers).filter(|(_, r)| r.masters.contains(&scene.server)).map(|(n, _)| n).collect();
        let mut fates: Vec<(String, Vec<usize>)> = Vec::new();
        for change in &scene.changes {
            let Some(router) = self.routers.get(change.router) else { continue };
            let fate = self.fate(router, change, scene.failure.is_silence());
            match fates.iter_mut().find(|(known, _)| *known == fate) {
                Some((_, numbers)) => numbers.push(change.router),
                None => fates.push((fate, vec![change.router])),
            }
        }
        let lost: Vec<usize> = fates.iter().flat_map(|(_, numbers)| numbers.clone()).collect();
        let mut parts: Vec<String> = fates
            .iter()
            .map(|(fate, numbers)| {
                let all = *numbers == held && self.routers.len() == held.len();
                fate.replace(
                    " \u{1}",
                    &if all && fate.contains(" takes over ") {
                        String::new()
                    } else {
                        format!(" {}", self.what(numbers))
                    },
                )
            })
            .collect();
        let kept: Vec<usize> = held.iter().copied().filter(|number| !lost.contains(number)).collect();
        if !kept.is_empty() && !ending {
            parts.push(format!("{} keeps {}", self.name(scene.server), self.what(&kept)));
        }
        let split = |change: &&Change| change.after.len() > 1;
        // Servers that have never heard each other will not do so when the failure is over.
        let before = |change: &Change| self.routers.get(change.router).is_some_and(|r| r.masters.len() > 1);
        if scene.changes.iter().filter(split).any(|change| !before(change)) {
            parts.push("two servers hold it until they hear each other again".into());
        } else if let Some(change) = scene.changes.iter().find(split) {
            parts.push(format!("{} hold it then", self.names(&change.after)));
        }
        parts.join("; ")
    }

    /// What became of one router, with a mark where its addresses come.
    fn fate(&self, router: &Router<'a>, change: &Change, bound: bool) -> String {
        let grouped = router.members.iter().any(|m| m.instance.group.is_some());
        // Of two sync groups that become MASTER at one moment both may yield, and wait once more.
        let bound = bound && (change.or.is_empty() || !grouped);
        let time =
            change.took.map_or(String::new(), |took| format!(" {}", later(took, if bound { "at most " } else { "" })));
        if !change.or.is_empty() {
            return self.draw_of(router, change, &time);
        }
        let new: Vec<usize> = change.after.iter().copied().filter(|server| !router.masters.contains(server)).collect();
        let stay: Vec<usize> = change.after.iter().copied().filter(|server| router.masters.contains(server)).collect();
        match (new.as_slice(), stay.as_slice()) {
            ([], []) => "nobody holds \u{1} any longer".to_owned(),
            ([], stay) => format!("only {} holds \u{1}", self.names(stay)),
            (new, []) => format!("{} takes over \u{1}{time}{}", self.names(new), self.missing(router, new)),
            (new, _) => format!("{} takes \u{1} too{}", self.names(new), time.replacen(' ', ", ", 1)),
        }
    }

    /// What became of one router, where a millisecond decides.
    fn draw_of(&self, router: &Router<'a>, change: &Change, time: &str) -> String {
        let new = |after: &Vec<usize>| -> Vec<usize> {
            after.iter().copied().filter(|server| !router.masters.contains(server)).collect()
        };
        let all: BTreeSet<Vec<usize>> = outcomes(change).map(new).collect();
        let names: Vec<String> =
            all.iter().map(|new| if new.is_empty() { "nobody".to_owned() } else { self.names(new) }).collect();
        let kept = outcomes(change).flatten().any(|server| router.masters.contains(server));
        let takes = if kept { "takes \u{1} too," } else { "takes over \u{1}" };
        let missing: Vec<usize> = all.into_iter().flatten().collect();
        let missing = if kept { String::new() } else { self.missing(router, &missing) };
        format!(
            "{} {takes}{time}{missing} (a draw: to the millisecond they wait equally long, and whoever is first has it)",
            names.join(" or ")
        )
    }

    /// Addresses that the old master had, and the new one has not in its file.
    fn missing(&self, router: &Router<'a>, new: &[usize]) -> String {
        let of = |servers: &[usize]| -> BTreeSet<IpAddr> {
            let members = router.members.iter().filter(|m| servers.contains(&m.server));
            members.flat_map(|m| m.instance.claim.addresses.iter().map(|address| address.address)).collect()
        };
        let (before, after) = (of(&router.masters), of(new));
        let lost: Vec<String> = before.difference(&after).map(IpAddr::to_string).collect();
        if lost.is_empty() {
            return String::new();
        }
        format!(", without {}, which nobody holds then", first_few(&lost, NAMED, " and "))
    }

    /// What happens when a server that died comes back.
    fn returns(&self, own: &[&Scene], lines: &mut Vec<String>) {
        let Some(scene) = own.iter().find(|scene| scene.failure == Failure::Crash) else { return };
        let Some((returned, standings)) = &scene.course.back else { return };
        let server = self.name(scene.server);
        let mut fates: Vec<(String, Vec<usize>)> = Vec::new();
        for change in &scene.changes {
            let Some(router) = self.routers.get(change.router) else { continue };
            let now = masters(&router.members, standings);
            let Some(member) = router.members.iter().find(|m| m.server == scene.server) else { continue };
            let fate = if now.contains(&scene.server) {
                let turn =
                    scene.course.turns.iter().rev().find(|turn| {
                        (turn.node, turn.instance) == (scene.server, member.place) && turn.to == Role::Master
                    });
                let time = turn.map_or(String::new(), |turn| format!(" {}", later(turn.at.since(*returned), "")));
                match now.len() {
                    1 => format!("it takes \u{1} back{time}"),
                    _ => format!("it takes \u{1}{time}, and {} hold it", self.names(&now)),
                }
            } else if now.is_empty() {
                "nobody holds \u{1}".to_owned()
            } else {
                let why = if member.instance.preempt { "" } else { " (nopreempt)" };
                match now.len() {
                    _ if !change.or.is_empty() => format!("whoever took \u{1} keeps it{why}"),
                    1 => format!("{} keeps \u{1}{why}", self.names(&now)),
                    _ => format!("{} keep \u{1}{why}", self.names(&now)),
                }
            };
            match fates.iter_mut().find(|(known, _)| *known == fate) {
                Some((_, numbers)) => numbers.push(change.router),
                None => fates.push((fate, vec![change.router])),
            }
        }
        let parts: Vec<String> =
            fates.iter().map(|(fate, numbers)| fate.replace('\u{1}', &self.what(numbers))).collect();
        if !parts.is_empty() {
            lines.push(format!("when {server} comes back, {}.", parts.join("; ")));
        }
    }

    /// "10.0.0.10", "10.0.0.10 and 10.0.1.10", "10.0.0.10 and 5 more", or instances without addresses by name.
    fn what(&self, routers: &[usize]) -> String {
        let members = routers.iter().filter_map(|number| self.routers.get(*number)).filter_map(|router| {
            router.members.iter().find(|m| router.masters.contains(&m.server)).or(router.members.first())
        });
        let mut names: Vec<String> = Vec::new();
        let mut count = 0;
        for member in members {
            let mut addresses = advertised(member.instance).peekable();
            if addresses.peek().is_none() {
                names.push(member.instance.name.to_string());
            }
            names.extend(addresses.map(|address| address.to_string()));
            count += member.instance.claim.addresses.len().max(1);
        }
        match (names.as_slice(), count) {
            ([first], 1) => first.clone(),
            (list, count) if list.len() == count && count <= NAMED => list.join(" and "),
            ([first, ..], count) => and_more(first.clone(), count.saturating_sub(1)),
            ([], _) => "nothing".into(),
        }
    }
}

/// What the same failure would come to without BFD, if that is something else.
fn without(scene: &Scene) -> String {
    let Some(bare) = scene.without.as_ref().filter(|_| !scene.changes.is_empty()) else { return String::new() };
    let first = |changes: &[Change]| changes.iter().find_map(|change| change.took).map(seconds);
    match (first(bare), first(&scene.changes)) {
        _ if bare.is_empty() => "; without BFD nothing moves".into(),
        (Some(time), Some(own)) if time != own => format!("; without BFD {time} later"),
        _ => String::new(),
    }
}

/// All that a change may come to.
fn outcomes(change: &Change) -> impl Iterator<Item = &Vec<usize>> {
    change.or.iter().chain([&change.after])
}

/// The daemon or its machine is gone.
fn is_ending(scene: &Scene) -> bool {
    matches!(scene.failure, Failure::Crash | Failure::Stop)
}

/// The time of all changes, if it is one to the digits that are shown.
fn one_time(changes: &[Change]) -> Option<Interval> {
    let first = changes.first()?.took?;
    changes.iter().all(|change| change.took.is_some_and(|took| seconds(took) == seconds(first))).then_some(first)
}

/// Enough digits to compare, no more: "3.6 s", "0.61 s", "12 s".
/// "3.6 s later", with what stands in front of it, or "at once".
fn later(interval: Interval, bound: &str) -> String {
    if interval < Interval::from_millis(1) { "at once".into() } else { format!("{bound}{} later", seconds(interval)) }
}

fn seconds(interval: Interval) -> String {
    let s = interval.as_secs_f64();
    let places = match s {
        s if s >= 10.0 => 0,
        s if s >= 1.0 => 1,
        s if s >= 0.1 => 2,
        _ => 3,
    };
    format!("{s:.places$} s")
}

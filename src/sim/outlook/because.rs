//! Why nothing moved, and which trackers are there for nothing: read from the engines' own views after a play.

use super::failure::Failure;
use super::play;
use super::{Player, Router, Scene, masters, view};
use crate::config::pair::{Finding, Member, Place};
use crate::config::report::Level;
use crate::observe::words;
use crate::spec::Tie;
use crate::vrrp::io::Role;
use crate::vrrp::snapshot::InstanceView;
use std::net::IpAddr;

/// The rule of [`Player::held_twice`].
pub(super) const HELD_TWICE: &str = "held-twice";

impl<'a> Player<'_, 'a> {
    /// Why a failure of a master moved nothing: about the first router that it holds and that the failure concerns.
    pub(super) fn because(&self, scene: &Scene) -> Option<String> {
        let held = self.routers.iter().filter(|router| router.masters.contains(&scene.server));
        let own = |router: &&Router<'a>| {
            router.members.iter().any(|m| m.server == scene.server && self.ties(m, &scene.failure).next().is_some())
        };
        let mut held = held.peekable();
        held.peek()?;
        let all: Vec<&Router<'a>> = held.collect();
        match all.iter().copied().find(|router| own(router)) {
            Some(router) => self.stays(router, scene),
            None => Some(self.unconcerned(scene)),
        }
    }

    /// Ties of a member to what fails.
    fn ties<'m>(&'m self, member: &'m Member<'a>, failure: &'m Failure) -> impl Iterator<Item = &'a Tie> + 'm {
        let spec = self.servers.spec(member.server);
        member.instance.ties.iter().filter(move |tie| spec.is_some_and(|spec| failure.is_tied(&tie.on, spec)))
    }

    /// No instance that holds something looks at it.
    fn unconcerned(&self, scene: &Scene) -> String {
        let server = self.servers.name(scene.server);
        let held = self.routers.iter().filter(|router| router.masters.contains(&scene.server));
        // Who is cut off from nobody that it heard has not lost anything.
        let split = held.clone().any(|router| router.masters.len() > 1);
        let member = held.flat_map(|router| &router.members).find(|m| m.server == scene.server);
        let group = member.and_then(|m| m.instance.group).zip(self.servers.spec(scene.server));
        let group = group.and_then(|(id, spec)| spec.groups.get(id.index()));
        match (&scene.failure, group) {
            (Failure::Cut, _) if split => "several servers hold it already".into(),
            (Failure::Cut, _) => "no other server could take over".into(),
            (Failure::Link(_), _) => format!("no instance that {server} is master of depends on it"),
            (_, Some(group)) if !group.tracking_weight => {
                format!("no weight of a member counts in sync group {} without sync_group_tracking_weight", group.name)
            }
            _ if member.is_some_and(|m| m.instance.priority == crate::wire::Priority::OWNER) => {
                "no weight counts for the address owner (priority 255)".into()
            }
            _ => format!("no instance that {server} is master of tracks it"),
        }
    }

    /// A tracked thing failed, and the master stays.
    fn stays(&self, router: &Router<'a>, scene: &Scene) -> Option<String> {
        let own = router.members.iter().find(|m| m.server == scene.server)?;
        let now = view(own, &scene.course.after)?;
        let before = view(own, &self.calm.standings)?;
        let (mine, server) = (now.effective_priority, self.servers.name(own.server));
        // Who would take over: the best of the others that could.
        let others = router.members.iter().filter(|m| m.server != own.server);
        let able = others.filter_map(|m| Some((m, view(m, &scene.course.after)?)));
        let best = able.filter(|(_, view)| view.state == Role::Backup).max_by_key(|(_, view)| view.effective_priority);
        let Some((rival, theirs)) = best else { return Some("no other server could take over".into()) };
        let name = self.servers.name(rival.server);
        Some(if !theirs.held_back_by.is_empty() {
            self.held(rival, theirs, scene)
        } else if mine == before.effective_priority {
            format!("the priority of {} on {server} stays {mine}", own.instance.name)
        } else if mine > theirs.effective_priority {
            format!("{server} still has priority {mine}, {name} {}", theirs.effective_priority)
        } else if mine == theirs.effective_priority {
            format!("{server} then has the same priority as {name}, {mine}, and whoever is master stays it")
        } else if !rival.instance.preempt {
            format!("{name} has nopreempt and leaves a master with a lower priority ({mine}) alone")
        } else {
            format!("{name} with priority {} does not take over from {mine}", theirs.effective_priority)
        })
    }

    /// The other server is ready, and its sync group is not.
    fn held(&self, rival: &Member<'a>, theirs: &InstanceView, scene: &Scene) -> String {
        let snapshot = scene.course.after.get(rival.server).and_then(Option::as_ref);
        let holders: Vec<String> = theirs
            .held_back_by
            .iter()
            .map(|name| {
                let view = snapshot.and_then(|s| s.instances.iter().find(|view| view.name == *name));
                match view.map(|view| (view.effective_priority, view.master.as_ref())) {
                    Some((own, Some(master))) => format!("{name} ({own} against {} of its master)", master.priority),
                    _ => name.to_string(),
                }
            })
            .collect();
        format!(
            "the sync group moves as a whole, and on {} it is held back by {}",
            self.servers.name(rival.server),
            holders.join(" and ")
        )
    }

    /// Why two servers are master of the same router from the start.
    pub(super) fn split(&self, router: &Router<'a>) -> String {
        let masters = || router.members.iter().filter(|m| router.masters.contains(&m.server));
        for member in masters() {
            let Some(Some(snapshot)) = self.calm.standings.get(member.server) else { continue };
            let Some(own) = view(member, &self.calm.standings) else { continue };
            let name = self.servers.name(member.server);
            // The model's addresses say nothing to an operator; a third server that is heard as it should be is none of the two.
            let other = |address: IpAddr| {
                let from =
                    |m: &&Member<'a>| view(m, &self.calm.standings).is_some_and(|view| view.source == Some(address));
                let other = masters().filter(|m| m.server != member.server).find(from)?;
                Some(self.servers.name(other.server))
            };
            let mut refused = own.refused_speakers.iter().filter(|s| s.current);
            if let Some((other, why)) = refused.find_map(|s| Some((other(s.address)?, s.why))) {
                return format!("{name} refuses the adverts of {other}: {}", words::refusal(why));
            }
            let mut strangers =
                snapshot.strangers.iter().filter(|s| s.current && s.instance.as_ref() == Some(&own.name));
            if let Some((other, theirs)) = strangers.find_map(|s| Some((other(s.address)?, s.vrid?))) {
                return format!("their VRIDs differ ({} on {name}, {theirs} on {other})", own.vrid);
            }
        }
        "they do not hear each other".into()
    }

    /// A warning for each tracker of a master that fails and moves nothing of what is tied to it.
    pub(super) fn findings(&self, scenes: &[Scene]) -> Vec<Finding> {
        let mut found: Vec<Finding> = self.routers.iter().filter_map(|router| self.held_twice(router)).collect();
        let tracked = |scene: &&Scene| !matches!(scene.failure, Failure::Crash | Failure::Stop | Failure::Cut);
        for scene in scenes.iter().filter(tracked) {
            for (number, router) in self.routers.iter().enumerate() {
                let moved = scene.changes.iter().any(|change| change.router == number);
                let Some(own) = router.members.iter().find(|m| m.server == scene.server) else { continue };
                // A reverse tie is meant to raise or keep the priority.
                let tied = self.ties(own, &scene.failure).any(|tie| !tie.reverse);
                let held = router.masters.as_slice() == [scene.server];
                if moved || !tied || !held || router.members.len() < 2 || self.is_draw(router) {
                    continue;
                }
                found.extend(self.idle(router, own, scene));
            }
        }
        found
    }

    /// Several are master while nothing has failed.
    fn held_twice(&self, router: &Router<'a>) -> Option<Finding> {
        let [_, _, ..] = router.masters.as_slice() else { return None };
        let name = &router.members.first()?.instance.name;
        let file = |m: &Member<'_>| self.files.get(m.server).cloned().unwrap_or_default();
        let place = |m: &Member<'_>| Place { file: file(m), instance: Some(m.instance.name.clone()) };
        let members = router.members.iter().filter(|m| router.masters.contains(&m.server));
        Some(Finding {
            level: Level::Error,
            rule: HELD_TWICE,
            places: members.map(place).collect(),
            message: format!(
                "{name}: {} are master at the same time: {}",
                self.names(&router.masters),
                self.split(router)
            ),
            help: Some("each must hear and take the adverts of the other: the same settings on both".into()),
        })
    }

    /// Equal priorities: who was first stays, and no weight is meant to say otherwise.
    fn is_draw(&self, router: &Router<'a>) -> bool {
        let mut all: Vec<_> = router
            .members
            .iter()
            .filter_map(|m| view(m, &self.calm.standings))
            .map(|view| std::cmp::Reverse(view.effective_priority))
            .collect();
        all.sort_unstable();
        matches!(all.as_slice(), [a, b, ..] if a == b)
    }

    fn idle(&self, router: &Router<'a>, own: &Member<'a>, scene: &Scene) -> Option<Finding> {
        let why = self.stays(router, scene)?;
        let left = view(own, &scene.course.after)?.effective_priority;
        let others = router.members.iter().filter(|m| m.server != own.server);
        let able = others.filter_map(|m| Some((m, view(m, &scene.course.after)?)));
        let (rival, theirs) = able.max_by_key(|(_, view)| view.effective_priority)?;
        let (server, name) = (self.servers.name(own.server), self.servers.name(rival.server));
        let stubborn = !rival.instance.preempt && left < theirs.effective_priority && theirs.held_back_by.is_empty();
        let together = !stubborn && self.together(router, own, scene);
        let also = if together { "; only together with others it is enough" } else { "" };
        let was = view(own, &self.calm.standings)?.effective_priority;
        let gap = i32::from(was.0) - i32::from(theirs.effective_priority.0);
        let help = match (stubborn, theirs.held_back_by.is_empty()) {
            (true, _) => format!("use weight 0 (a fault) on {server}, or drop nopreempt on {name}"),
            (_, false) => "track it on the sync group itself, or on every member".to_owned(),
            // An owner's priority counts no weight.
            _ if own.instance.priority.0 == 255 => {
                format!("use weight 0 (a fault), or a priority below 255 on {server}: an owner's counts no weight")
            }
            _ if !rival.instance.preempt => format!(
                "use weight 0 (a fault) on {server}, or drop nopreempt on {name} and use a weight of more than {gap} on \
                 all servers"
            ),
            _ => format!("a weight of more than {gap} on all servers (or 0: a fault) makes {name} take over"),
        };
        let place = |m: &Member<'a>| Place {
            file: self.files.get(m.server).cloned().unwrap_or_default(),
            instance: Some(m.instance.name.clone()),
        };
        Some(Finding {
            level: if together { Level::Note } else { Level::Warning },
            rule: if stubborn { "weight-nopreempt" } else { "weight-idle" },
            places: vec![place(own), place(rival)],
            message: format!("{}: if {}, nothing moves: {why}{also}", own.instance.name, scene.failure.words(server)),
            help: Some(help),
        })
    }

    /// Would it move if everything that this instance tracks failed at once?
    fn together(&self, router: &Router<'a>, own: &Member<'a>, scene: &Scene) -> bool {
        let Some(spec) = self.servers.spec(own.server) else { return false };
        let all = Failure::all(spec);
        let tied: Vec<&Failure> =
            all.iter().filter(|failure| self.ties(own, failure).any(|tie| tie.weight != 0 && !tie.reverse)).collect();
        if tied.len() < 2 || !tied.contains(&&scene.failure) {
            return false;
        }
        let course = play::play(self.specs, self.calm, own.server, &tied);
        course.is_ok_and(|course| masters(&router.members, &course.after) != router.masters)
    }
}

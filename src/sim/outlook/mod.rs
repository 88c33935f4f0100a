//! What will happen with these servers: every single failure of each is played through with the engine, and what happened
//! is told, who took over after how long, or why nothing moved.
//!
//! Nothing is computed here that the engine computes: who is master stands in its snapshots, times are those of its turns.
//! Each play is the same world up to the failure, so all is deterministic. A failure comes right after an advert, and a
//! script's right after a run, where it takes longest; a time that silence alone decides is a bound ("at most"), others are
//! those of the play. What would take too long with many instances is left out, and said.

mod because;
mod draws;
mod failure;
mod play;
pub mod servers;
mod tell;

pub use failure::Failure;

use crate::config::pair::{Finding, Member, Servers, routers};
use crate::config::report::Level;
use crate::sim::bounds::Bounds;
use crate::sim::scenario::Scenario;
use crate::spec::{Spec, Tie, TieTarget};
use crate::time::Interval;
use crate::vrrp::io::Role;
use crate::vrrp::snapshot::InstanceView;
use play::{Calm, Course, Standings};
use std::sync::Arc;

/// Adverts that all plays together may cost: about half a second of a slow machine.
const BUDGET: u64 = 150_000;

/// What came of all plays.
#[derive(Clone, Debug, Default)]
pub struct Outlook {
    /// In sentences, one a line.
    pub lines: Vec<String>,
    /// Trackers that fail and move nothing, and addresses that several hold.
    pub findings: Vec<Finding>,
    pub plays: Vec<Played>,
    /// Failures that were not played, since there are too many.
    pub left_out: usize,
}

/// One failure and what it led to.
#[derive(Clone, Debug)]
pub struct Played {
    pub server: String,
    pub failure: Failure,
    /// What `vipctl simulate --scenario` plays.
    pub scenario: Scenario,
    pub moves: Vec<Move>,
}

/// A virtual router that has other masters after a failure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Move {
    /// Instance on the first server that has it.
    pub instance: Box<str>,
    pub before: Vec<String>,
    pub after: Vec<String>,
    /// Who may as well be master afterwards, where a millisecond decides: each possibility but `after`.
    pub or: Vec<Vec<String>>,
    /// From the failure (where silence tells of it: from the last advert) until the new master took over.
    pub took: Option<Interval>,
}

/// A virtual router, as the players see it.
pub(super) struct Router<'a> {
    pub members: Vec<Member<'a>>,
    /// Servers that are its master before anything fails.
    pub masters: Vec<usize>,
}

impl Outlook {
    /// What the plays found that is not among these findings of the files: where a difference between two files is named
    /// already, two masters follow from it and are no mistake of their own.
    pub fn findings_beside(&self, known: &[Finding]) -> Vec<Finding> {
        let named = |found: &Finding| {
            known
                .iter()
                .any(|other| other.level == Level::Error && found.places.iter().any(|at| other.places.contains(at)))
        };
        self.findings.iter().filter(|found| found.rule != because::HELD_TWICE || !named(found)).cloned().collect()
    }
}

/// Plays everything through. The names are what servers are called in sentences; `files` what their findings point at.
pub fn outlook(named: &[(String, Spec)], files: &[String]) -> Outlook {
    let specs: Vec<(String, Arc<Spec>)> =
        named.iter().map(|(name, spec)| (name.clone(), Arc::new(spec.clone()))).collect();
    let list: Vec<(String, &Spec)> = named.iter().map(|(name, spec)| (name.clone(), spec)).collect();
    let servers = Servers::new(&list);
    let plain: Vec<&Spec> = named.iter().map(|(_, spec)| spec).collect();
    let bounds = Bounds::of(&plain, &Scenario::default());
    let settle = Interval::from_secs(bounds.settle.as_micros().div_ceil(1_000_000) + 1);
    let each = adverts_a_second(&plain);
    if (settle.as_micros() / 1_000_000).saturating_mul(each) > BUDGET {
        let count: usize = plain.iter().map(|spec| spec.instances.len()).sum();
        let what = format!("{count} instances, and {settle} s until all has settled");
        let lines = vec![format!(
            "Nothing was played through, as that would take too long ({what}): `vipctl simulate` plays one failure."
        )];
        let left_out = plain.iter().map(|spec| Failure::all(spec).len()).sum();
        return Outlook { lines, left_out, ..Outlook::default() };
    }
    let Ok(calm) = play::calm(&specs, settle) else { return Outlook::default() };
    let routers: Vec<Router<'_>> = routers(&servers)
        .into_iter()
        .flat_map(|members| apart(members, &servers))
        .map(|members| {
            let masters = masters(&members, &calm.standings);
            Router { members, masters }
        })
        .collect();
    let bare = bare(&specs).and_then(|specs| Some(Bare { calm: play::calm(&specs, settle).ok()?, specs }));
    let (calm, bare) = (&calm, bare.as_ref());
    let mut player = Player { specs: &specs, servers: &servers, files, routers: &routers, calm, bare, spent: 0 };
    player.all()
}

/// Members that take each other for another installation's are each a virtual router of their own.
fn apart<'a>(members: Vec<Member<'a>>, servers: &Servers<'a>) -> Vec<Vec<Member<'a>>> {
    let mut parts: Vec<Vec<Member<'a>>> = Vec::new();
    for member in members {
        let strange = |other: &Member<'a>| servers.ignores(*other, member) && servers.ignores(member, *other);
        let (own, others): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| !part.iter().all(strange));
        let mut together: Vec<Member<'a>> = own.into_iter().flatten().chain([member]).collect();
        together.sort_by_key(|member| (member.server, member.place));
        parts = others.into_iter().chain([together]).collect();
    }
    parts.sort_by_key(|part| part.first().map(|member| (member.server, member.place)));
    parts
}

/// The same servers without BFD, and their calm.
struct Bare {
    calm: Calm,
    specs: Vec<(String, Arc<Spec>)>,
}

/// The servers without what is tied to BFD sessions; `None` if nothing is.
fn bare(specs: &play::Specs) -> Option<Vec<(String, Arc<Spec>)>> {
    let tied = |tie: &Tie| matches!(tie.on, TieTarget::Bfd(_));
    specs.iter().flat_map(|(_, spec)| &spec.instances).flat_map(|own| &own.ties).find(|tie| tied(tie))?;
    let without = |(name, spec): &(String, Arc<Spec>)| {
        let mut spec = Spec::clone(spec);
        spec.instances.iter_mut().for_each(|own| own.ties.retain(|tie| !tied(tie)));
        spec.groups.iter_mut().for_each(|group| group.ties.retain(|tie| !tied(tie)));
        spec.sessions.clear();
        (name.clone(), Arc::new(spec))
    };
    Some(specs.iter().map(without).collect())
}

/// Adverts of all servers in a second, packets of sessions, and runs of scripts, about.
fn adverts_a_second(specs: &[&Spec]) -> u64 {
    let second = |spec: &&Spec| -> u64 {
        let each = spec.instances.iter().map(|i| 1_000_000 / i.interval.as_micros().clamp(10_000, 1_000_000));
        // A packet costs less than an advert, and the peer sends as many.
        let packets = spec.sessions.iter().map(|s| 1_000_000 / s.min_tx.as_micros().clamp(1_000, 1_000_000));
        each.sum::<u64>() + packets.sum::<u64>() / 2 + spec.scripts.len() as u64
    };
    specs.iter().map(second).sum::<u64>().max(1)
}

/// Servers whose instance of this router is MASTER.
fn masters(members: &[Member<'_>], standings: &Standings) -> Vec<usize> {
    let master = |member: &&Member<'_>| view(member, standings).is_some_and(|view| view.state == Role::Master);
    members.iter().filter(master).map(|member| member.server).collect()
}

/// The instance of a member at some moment; `None` where no daemon runs.
pub(super) fn view<'s>(member: &Member<'_>, standings: &'s Standings) -> Option<&'s InstanceView> {
    let snapshot = standings.get(member.server)?.as_ref()?;
    // An engine's snapshot has the instances in the order of its Spec.
    snapshot.instances.get(member.place).map(Arc::as_ref).filter(|view| view.name == member.instance.name)
}

pub(super) struct Player<'p, 'a> {
    pub specs: &'p play::Specs,
    pub servers: &'p Servers<'a>,
    pub files: &'p [String],
    pub routers: &'p [Router<'a>],
    pub calm: &'p Calm,
    /// The same servers without BFD, and their calm, where BFD is tracked at all.
    bare: Option<&'p Bare>,
    spent: u64,
}

/// A failure, how it went, and what became of each router: (router, masters afterwards, time).
pub(super) struct Scene {
    pub server: usize,
    pub failure: Failure,
    pub course: Course,
    pub changes: Vec<Change>,
    /// What the same failure leads to without BFD, where it was played.
    pub without: Option<Vec<Change>>,
}

pub(super) struct Change {
    pub router: usize,
    pub after: Vec<usize>,
    /// What it may as well come to, where a millisecond decides.
    pub or: Vec<Vec<usize>>,
    pub took: Option<Interval>,
}

impl Player<'_, '_> {
    fn all(&mut self) -> Outlook {
        let mut out = Outlook::default();
        let mut scenes: Vec<Scene> = Vec::new();
        // What the first failures of all servers come to matters more than the tenth script of the first.
        let mut queue: Vec<(usize, usize, Failure)> = Vec::new();
        for (server, (_, spec)) in self.specs.iter().enumerate() {
            queue.extend(Failure::all(spec).into_iter().enumerate().map(|(rank, failure)| (rank, server, failure)));
        }
        queue.sort_by_key(|(rank, server, _)| (*rank, *server));
        for (_, server, failure) in queue {
            match self.scene(server, &failure) {
                Some(scene) => scenes.push(scene),
                None => out.left_out += 1,
            }
        }
        scenes.sort_by_key(|scene| scene.server);
        out.plays = scenes.iter().map(|scene| self.played(scene)).collect();
        out.lines = self.tell(&scenes, out.left_out);
        out.findings = self.findings(&scenes);
        out
    }

    /// Adverts of a play, about.
    fn cost(&self, failure: &Failure) -> u64 {
        let phases = if failure.end("").is_some() { 3 } else { 2 };
        let plain: Vec<&Spec> = self.specs.iter().map(|(_, spec)| &**spec).collect();
        (self.calm.settle.as_micros() / 1_000_000 * phases).saturating_mul(adverts_a_second(&plain))
    }

    /// `None` where the budget is spent, or the failure cannot be played. The first is always played.
    fn scene(&mut self, server: usize, failure: &Failure) -> Option<Scene> {
        let cost = self.cost(failure);
        if self.spent > 0 && self.spent + cost > BUDGET {
            return None;
        }
        self.spent += cost;
        let course = play::play(self.specs, self.calm, server, &[failure]).ok()?;
        let changes = self.changes(failure, &course, self.calm);
        let compared = matches!(failure, Failure::Crash | Failure::Cut | Failure::Path(_));
        // The path of a session that does not run is not there.
        let same = if matches!(failure, Failure::Path(_)) { None } else { Some(failure) };
        let without = self.bare.filter(|_| compared).and_then(|Bare { calm, specs }| {
            let Some(failure) = same else { return Some(Vec::new()) };
            let course = play::play(specs, calm, server, &[failure]).ok()?;
            Some(self.changes(failure, &course, calm))
        });
        let changes = self.with_draws(server, failure, changes);
        Some(Scene { server, failure: failure.clone(), course, changes, without })
    }

    /// Routers that have other masters afterwards than in that calm.
    fn changes(&self, failure: &Failure, course: &Course, calm: &Calm) -> Vec<Change> {
        let mut changes = Vec::new();
        for (number, router) in self.routers.iter().enumerate() {
            let before = masters(&router.members, &calm.standings);
            let after = masters(&router.members, &course.after);
            if after == before {
                continue;
            }
            let newcomer = router.members.iter().find(|m| after.contains(&m.server) && !before.contains(&m.server));
            let old = router.members.iter().find(|m| before.contains(&m.server)).filter(|_| failure.is_silence());
            let turn = newcomer.and_then(|m| Some((m, self.became_master(m, course)?)));
            let took = turn.map(|(m, at)| match old.and_then(|old| self.patience(m, old.server, course, calm)) {
                Some((ends, longest)) => longest + at.since(ends),
                None => at.since(course.at),
            });
            changes.push(Change { router: number, after, or: Vec::new(), took });
        }
        changes
    }

    /// When the patience of a member with a silent master ends, and how long it is where the last advert came just before the
    /// failure. Members of a sync group wait for each other: the latest of them counts, and the longest, which need not be the same.
    fn patience(
        &self,
        member: &Member<'_>,
        silent: usize,
        course: &Course,
        calm: &Calm,
    ) -> Option<(crate::time::Time, Interval)> {
        let together = |m: &&Member<'_>| {
            m.server == member.server
                && (m.place == member.place || m.instance.group.is_some() && m.instance.group == member.instance.group)
        };
        let waits = |router: &Router<'_>| {
            let master = router.members.iter().find(|m| m.server == silent)?;
            let master = view(master, &calm.standings).filter(|view| view.state == Role::Master)?;
            let own = view(router.members.iter().find(together)?, &calm.standings)?;
            let patience = own.master_down;
            // Who is ready, and held back by the others only, waits for nothing.
            if own.wanted == Role::Master {
                return None;
            }
            Some((play::advert_before(master, course.at)? + patience, patience))
        };
        let all: Vec<_> = self.routers.iter().filter_map(waits).collect();
        Some((all.iter().map(|(ends, _)| *ends).max()?, all.iter().map(|(_, patience)| *patience).max()?))
    }

    /// When a member became MASTER for the last time between the failure and the return.
    fn became_master(&self, member: &Member<'_>, course: &Course) -> Option<crate::time::Time> {
        let end = course.back.as_ref().map(|(at, _)| *at);
        let mine = course.turns.iter().filter(|turn| {
            (turn.node, turn.instance) == (member.server, member.place)
                && turn.to == Role::Master
                && turn.at >= course.at
                && end.is_none_or(|end| turn.at < end)
        });
        mine.map(|turn| turn.at).max()
    }

    fn played(&self, scene: &Scene) -> Played {
        let names = |list: &[usize]| list.iter().map(|server| self.servers.name(*server).to_owned()).collect();
        let moves = scene.changes.iter().filter_map(|change| {
            let router = self.routers.get(change.router)?;
            Some(Move {
                instance: router.members.first()?.instance.name.clone(),
                before: names(&router.masters),
                after: names(&change.after),
                or: change.or.iter().map(|after| names(after)).collect(),
                took: change.took,
            })
        });
        Played {
            server: self.servers.name(scene.server).to_owned(),
            failure: scene.failure.clone(),
            scenario: scene.course.scenario.clone(),
            moves: moves.collect(),
        }
    }
}

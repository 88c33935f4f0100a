//! One failure played through: the same world up to the failure each time, and who was master of what before, after, and
//! after the return.

use super::failure::Failure;
use crate::sim::balance::direct;
use crate::sim::report::Turn;
use crate::sim::router::real;
use crate::sim::scenario::{Act, Scenario};
use crate::sim::world::World;
use crate::spec::Spec;
use crate::time::{Interval, Time};
use crate::vrrp::io::Role;
use crate::vrrp::snapshot::{InstanceView, Snapshot};
use std::collections::BTreeSet;
use std::sync::Arc;

/// After an advert or a run of a script, so that the failure comes at the moment at which it takes longest to be noticed.
const JUST_AFTER: Interval = Interval::from_millis(1);
/// The model's scripts take up to 15 ms.
const RUN_OVER: Interval = Interval::from_millis(30);

pub(super) type Specs = [(String, Arc<Spec>)];

/// All servers at one moment; `None`: no daemon runs.
pub(super) type Standings = Vec<Option<Snapshot>>;

/// What happened in one run.
pub(in crate::sim) struct Course {
    pub at: Time,
    /// As soon as the failure may have had all its consequences.
    pub after: Standings,
    /// The same for the return, and when it came.
    pub back: Option<(Time, Standings)>,
    pub turns: Vec<Turn>,
    pub scenario: Scenario,
}

/// The world before anything fails.
pub(in crate::sim) struct Calm {
    pub standings: Standings,
    pub settle: Interval,
}

/// Plays the start. `settle`: after that nothing moves by itself.
pub(super) fn calm(specs: &Specs, settle: Interval) -> Result<Calm, String> {
    let scenario = Scenario { run: settle + Interval::from_secs(1), ..Scenario::default() };
    let mut world = World::new(specs, &scenario, &real, &direct, false)?;
    world.watch_turns();
    let standings = until(&mut world, Time::ZERO + settle);
    Ok(Calm { standings, settle })
}

/// Plays some failures of one server together.
pub(super) fn play(specs: &Specs, calm: &Calm, server: usize, failures: &[&Failure]) -> Result<Course, String> {
    play_with(specs, calm, server, failures, &BTreeSet::new())
}

/// The same, with servers that hear the one that fails a little later than the others do: a draw that one of them has won goes
/// to another then.
pub(super) fn play_with(
    specs: &Specs,
    calm: &Calm,
    server: usize,
    failures: &[&Failure],
    late: &BTreeSet<usize>,
) -> Result<Course, String> {
    let name = specs.get(server).map_or("", |(name, _)| name.as_str());
    let at = moment(calm, server, failures, specs);
    let (settle, mut scenario) = (calm.settle, Scenario::default());
    scenario.acts = failures.iter().map(|failure| (at, failure.begin(name))).collect();
    let settled = at + settle;
    let returns: Vec<Act> = failures.iter().filter_map(|failure| failure.end(name)).collect();
    let returned = settled + Interval::from_millis(100);
    scenario.run = settled + Interval::from_secs(1) - Time::ZERO;
    if !returns.is_empty() {
        scenario.acts.extend(returns.iter().map(|act| (returned, act.clone())));
        scenario.run = returned + settle + Interval::from_secs(1) - Time::ZERO;
    }
    let mut world = World::new(specs, &scenario, &real, &direct, false)?;
    world.watch_turns();
    if !late.is_empty() {
        // The last advert of each of its instances has to be one that comes later.
        let longest = specs.iter().flat_map(|(_, spec)| &spec.instances).map(|own| own.interval).max();
        let before = Time::ZERO + at.since(Time::ZERO).less(longest.unwrap_or_default() + JUST_AFTER);
        until(&mut world, before);
        late.iter().for_each(|other| world.lan.slow(server, *other));
    }
    let after = until(&mut world, settled);
    let back = (!returns.is_empty()).then(|| (returned, until(&mut world, returned + settle)));
    Ok(Course { at, after, back, turns: world.turns(), scenario })
}

/// Steps to the first event that is not before `to`, or to the end.
fn until(world: &mut World<'_>, to: Time) -> Standings {
    while world.next_at().is_some_and(|next| next < to) && world.step() {}
    world.standings_at(to)
}

/// When the failure comes: right after an advert of the server's, or after a run of the script.
fn moment(calm: &Calm, server: usize, failures: &[&Failure], specs: &Specs) -> Time {
    let settled = Time::ZERO + calm.settle;
    let Some(Some(snapshot)) = calm.standings.get(server) else { return settled };
    if let [Failure::Script(name)] = failures {
        let view = snapshot.scripts.iter().find(|script| script.name == *name);
        let spec = specs.get(server).and_then(|(_, spec)| spec.scripts.iter().find(|script| script.name == *name));
        if let (Some(started), Some(spec)) = (view.and_then(|view| view.last_started), spec) {
            return following(started, spec.interval, settled) + RUN_OVER;
        }
    }
    let master = snapshot.instances.iter().find(|view| view.state == Role::Master);
    master
        .and_then(|view| last_advert(view))
        .map_or(settled, |(last, interval)| following(last, interval, settled) + JUST_AFTER)
}

/// When a master spoke last, and how often it does.
fn last_advert(view: &InstanceView) -> Option<(Time, Interval)> {
    let next = view.next.as_ref()?.at;
    let last = Time::ZERO + next.since(Time::ZERO).less(view.interval);
    Some((last, view.interval))
}

/// The first of `start`, `start + step`, … that is not before `after`.
fn following(start: Time, step: Interval, after: Time) -> Time {
    let step = step.max(Interval::from_millis(1));
    let gone = after.since(start).as_micros().div_ceil(step.as_micros());
    start + step.times(gone)
}

/// When the advert before `at` of this master, as it was in the calm, was sent.
pub(super) fn advert_before(view: &InstanceView, at: Time) -> Option<Time> {
    let (last, interval) = last_advert(view)?;
    let steps = at.since(last).as_micros().checked_div(interval.as_micros().max(1))?;
    Some(last + interval.times(steps))
}

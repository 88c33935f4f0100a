//! The simulator: many real engines, one clock, and around them a modelled LAN, kernel and set of scripts.
//!
//! Two kinds of people use it. An operator plays a failure through before it happens (`vipctl simulate`): [`run`] takes
//! the [`Spec`]s of the servers and a [`Scenario`] and gives a [`Report`]. The tests throw thousands of random worlds
//! ([`weather`]) at the engine and let the [`oracle`](Law) judge; a world that breaks a law is made smaller ([`shrink`])
//! and printed as configurations and scenario that `vipctl simulate` replays.
//!
//! It never opens a socket, a file or a clock. What a run does depends on specs, scenario and seed, and on nothing else.

mod acts;
pub mod balance;
pub mod bfd;
mod bounds;
pub mod build;
mod circles;
mod clocks;
mod findings;
mod handover;
mod kernel;
mod lan;
mod law;
mod node;
mod oracle;
pub mod outlook;
pub mod pcap;
mod reach;
mod rehearse;
mod reloads;
mod report;
mod router;
mod said;
mod scenario;
mod shrink;
pub mod weather;
mod wording;
mod world;

pub use crate::random::Random;
pub use crate::spec::backend::Health;
pub use bounds::Bounds;
pub use law::{Law, Violation};
pub use outlook::{Outlook, outlook};
pub use rehearse::rehearse;
pub use report::{Entry, Moment, Owner, Report, ServerStanding, Standing};
pub use router::{Make, Router, real};
pub use scenario::{Act, Conduct, Edit, LanSettings, Mood, Scenario, ScenarioError, Way, interval};
pub use shrink::shrink;
pub use world::World;

use crate::spec::Spec;
use std::sync::Arc;

/// Plays a scenario with one real engine for each of `specs` (name of the server, its configuration).
///
/// `seed`, if given, takes the place of the scenario's own. Errors: the scenario names something that is not there.
pub fn run(specs: Vec<(String, Spec)>, scenario: &Scenario, seed: Option<u64>) -> Result<Report, String> {
    let specs: Vec<_> = specs.into_iter().map(|(name, spec)| (name, Arc::new(spec))).collect();
    let mut scenario = scenario.clone();
    scenario.seed = seed.unwrap_or(scenario.seed);
    play(&specs, &scenario, &real, true)
}

/// [`run`] with engines of one's own and, when `record` is false, without timeline and pcap.
///
/// # Errors
/// As [`run`].
pub fn play(
    specs: &[(String, Arc<Spec>)],
    scenario: &Scenario,
    make: &Make<'_>,
    record: bool,
) -> Result<Report, String> {
    play_with(specs, scenario, make, &balance::direct, record)
}

/// [`play`] with balancers of one's own.
///
/// # Errors
/// As [`run`].
pub fn play_with(
    specs: &[(String, Arc<Spec>)],
    scenario: &Scenario,
    make: &Make<'_>,
    direct: &balance::Direct<'_>,
    record: bool,
) -> Result<Report, String> {
    let mut world = World::new(specs, scenario, make, direct, record)?;
    world.play();
    let report = world.report();
    let findings = [findings::findings(specs), findings::split(&report.owners)].concat();
    Ok(Report { findings, ..report })
}

//! Random worlds: configurations and bad days out of one seed.
//!
//! A world is first a [`plan`] of plain values; from the plan come both the [`Spec`]s that the engines get ([`specs`]) and
//! the keepalived.conf texts that say the same ([`text`]), so that a broken law can be replayed from files. What happens
//! to it stands in [`days`].

mod days;
mod plan;
mod servers;
mod specs;
mod text;

use super::scenario::Scenario;
use crate::random::Random;
use crate::spec::Spec;
use plan::{Plan, name};
use std::sync::Arc;

/// Everything about a random world.
#[derive(Clone, Debug)]
pub struct Weather {
    pub specs: Vec<(String, Arc<Spec>)>,
    pub scenario: Scenario,
    plan: Plan,
}

/// The world of this seed.
pub fn world(seed: u64) -> Weather {
    let mut random = Random::new(seed ^ 0x0005_EED0_FBAD_DA75);
    let mut plan = plan::plan(&mut random);
    // A stream of its own: the worlds that were known before stay what they were.
    let mut chance = Random::new(seed ^ 0x0BFD_0BFD_0BFD);
    plan::session(&mut chance, &mut plan);
    plan.servers = servers::servers(seed, &plan);
    let specs: Vec<(String, Arc<Spec>)> =
        (0..plan.nodes.len()).map(|node| (name(node).to_string(), Arc::new(specs::spec(&plan, node)))).collect();
    let scenario = days::scenario(&mut random, &plan, &specs, seed);
    Weather { specs, scenario, plan }
}

impl Weather {
    /// The configurations, a file a node: (name, text).
    pub fn configurations(&self) -> Vec<(String, String)> {
        (0..self.plan.nodes.len()).map(|node| (name(node).to_string(), text::text(&self.plan, node))).collect()
    }
}

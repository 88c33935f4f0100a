//! What instances depend on and do not own: readings, links, scripts, the wall clock. Views show them beside the instance.
//!
//! [`Surroundings::change`] is the only way to one of them, and every change must answer whether anything is different. So no
//! view can go on being shown after what it was made of has changed: there is no number to be raised by hand.

use super::io::{Link, Wall};
use super::links::Links;
use super::script::Monitor;
use super::track::Board;
use crate::spec::{IfName, Spec};
use crate::time::Time;
use std::collections::BTreeSet;
use std::ops::Deref;

/// Everything around the instances. To be read it is its [`Facts`].
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    facts: Facts,
    version: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// What files, processes and BFD sessions say.
    pub(super) board: Board,
    pub(super) links: Links,
    /// By number, as in the Spec.
    pub(super) scripts: Vec<Monitor>,
    pub(super) wall: Wall,
}

/// Says whether a change made a difference to what views show.
pub(super) trait Difference {
    fn is_any(&self) -> bool;
}

/// There is one.
pub(super) struct Different;

impl Difference for Different {
    fn is_any(&self) -> bool {
        true
    }
}

impl Difference for bool {
    fn is_any(&self) -> bool {
        *self
    }
}

/// The interfaces about which something is different.
impl Difference for BTreeSet<IfName> {
    fn is_any(&self) -> bool {
        !self.is_empty()
    }
}

impl Surroundings {
    /// Before anything but links is known.
    pub(super) fn new(spec: &Spec, links: Vec<Link>, now: Time) -> Surroundings {
        let facts = Facts {
            board: Board::new(spec),
            links: Links::new(links),
            scripts: spec.scripts.iter().map(|script| Monitor::new(script, now, false)).collect(),
            wall: Wall::default(),
        };
        Surroundings { facts, version: 0 }
    }

    /// Lets `act` change the facts and answer what is different.
    pub(super) fn change<D: Difference>(&mut self, act: impl FnOnce(&mut Facts) -> D) -> D {
        let difference = act(&mut self.facts);
        self.version += u64::from(difference.is_any());
        difference
    }

    /// A number that grows with every difference: what was shown under another one is out of date.
    pub(super) fn version(&self) -> u64 {
        self.version
    }
}

impl Deref for Surroundings {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

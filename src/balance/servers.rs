//! The servers of one service, and what they come to together.
//!
//! The sums are kept: a service may have thousands of servers, and they may fail one after the other. A server that is lent
//! to be changed ([`Servers::lend`]) is counted by what it is when somebody asks, and there is no other way to change one.

use super::io::Count;
use super::server::Server;
use std::ops::Deref;

/// The servers of one service, in the order of the configuration. Reads as a slice.
#[derive(Clone, Debug, Default)]
pub(super) struct Servers {
    all: Vec<Server>,
    /// Of all, as they were when the one that is lent was lent.
    sums: Sums,
    /// The position of the one that was lent last, and what it counted for.
    lent: Option<(usize, Sums)>,
}

/// What servers count for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Sums {
    up: u32,
    weight: u64,
    refused: u32,
}

impl Sums {
    fn of(server: &Server) -> Sums {
        Sums { up: u32::from(server.alive()), weight: server.counts(), refused: u32::from(!server.refused.is_empty()) }
    }

    fn plus(self, other: Sums) -> Sums {
        Sums { up: self.up + other.up, weight: self.weight + other.weight, refused: self.refused + other.refused }
    }

    fn less(self, other: Sums) -> Sums {
        Sums { up: self.up - other.up, weight: self.weight - other.weight, refused: self.refused - other.refused }
    }
}

impl Deref for Servers {
    type Target = [Server];
    fn deref(&self) -> &[Server] {
        &self.all
    }
}

impl IntoIterator for Servers {
    type Item = Server;
    type IntoIter = std::vec::IntoIter<Server>;
    fn into_iter(self) -> Self::IntoIter {
        self.all.into_iter()
    }
}

impl<'a> IntoIterator for &'a Servers {
    type Item = &'a Server;
    type IntoIter = std::slice::Iter<'a, Server>;
    fn into_iter(self) -> Self::IntoIter {
        self.all.iter()
    }
}

impl Servers {
    pub(super) fn push(&mut self, server: Server) {
        (self.sums, self.lent) = (self.sums().plus(Sums::of(&server)), None);
        self.all.push(server);
    }

    /// One of them, to be changed.
    pub(super) fn lend(&mut self, at: usize) -> Option<&mut Server> {
        let sums = self.sums();
        let server = self.all.get_mut(at)?;
        (self.sums, self.lent) = (sums, Some((at, Sums::of(server))));
        Some(server)
    }

    /// How many count, of how many.
    pub(super) fn count(&self) -> Count {
        Count { up: self.sums().up, all: self.all.len() as u32 }
    }

    /// What those weigh together that count.
    pub(super) fn weight(&self) -> u64 {
        self.sums().weight
    }

    /// Whether the kernel has refused any of them.
    pub(super) fn has_refused(&self) -> bool {
        self.sums().refused > 0
    }

    fn sums(&self) -> Sums {
        let lent = self.lent.and_then(|(at, before)| Some((self.all.get(at)?, before)));
        let sums = lent.map_or(self.sums, |(server, before)| self.sums.less(before).plus(Sums::of(server)));
        debug_assert_eq!(sums, self.all.iter().map(Sums::of).fold(Sums::default(), Sums::plus));
        sums
    }
}

//! TCP_CHECK: a connection that comes about is all (keepalived check_tcp.c). Nothing is sent; it is closed at once.

use super::{Dialogue, Heard, Patience, Step, Transcript, gave_up};
use crate::balance::io::{Finding, Stage};
use crate::time::Time;

/// A TCP_CHECK: the connection is all.
#[derive(Debug)]
pub struct Tcp {
    patience: Patience,
}

impl Tcp {
    /// Waits so long for the connection.
    pub fn new(patience: Patience) -> Tcp {
        Tcp { patience }
    }
}

impl Dialogue for Tcp {
    fn next(&mut self, now: Time, heard: Heard<'_>, _: &mut Transcript) -> Step {
        match heard {
            Heard::Begin => Step::Connect { until: self.patience.stage_from(now) },
            Heard::Connected => Step::Done(Finding::Good),
            other => gave_up(other, Stage::Connect),
        }
    }
}

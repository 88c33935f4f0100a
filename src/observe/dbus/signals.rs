//! Signals, made of what happens: `VrrpStatusChange` of an instance, and `VrrpStarted`, `VrrpReloaded`, `VrrpStopped` of the
//! daemon.

use super::{GENERAL, INSTANCE, Objects, path};
use crate::observe::notify::{Told, deleted_word};
use crate::observe::{Context, Telling};
use crate::vrrp::io::Role;

/// State numbers that only signals have.
const DELETED: u32 = 97;
const STOP: u32 = 98;

/// A signal, addressed to nobody in particular.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signal {
    pub path: String,
    pub interface: &'static str,
    pub member: &'static str,
    /// The one value that some have.
    pub state: Option<u32>,
}

fn status(path: String, state: u32) -> Signal {
    Signal { path, interface: INSTANCE, member: "VrrpStatusChange", state: Some(state) }
}

/// `VrrpStarted`, `VrrpReloaded`, `VrrpStopped`.
pub fn of_daemon(objects: &Objects, member: &'static str) -> Signal {
    Signal { path: objects.general.to_string(), interface: GENERAL, member, state: None }
}

/// The present state of every instance that has one, for those who begin to listen.
pub fn of_all(objects: &Objects) -> Vec<Signal> {
    let known = objects.instances.iter().filter(|(_, instance)| instance.role != Role::Init);
    known.map(|(path, instance)| status(path.to_string(), instance.role as u32)).collect()
}

/// What those who began to listen have been told, until the next word about each path.
///
/// A state is in [`Objects`] a moment before its signal is sent. Who is told of all states in that moment would hear it
/// once more with the signal.
#[derive(Default, Debug)]
pub struct Beginning(Vec<Signal>);

impl Beginning {
    /// `said`: what they were told to begin with, a signal for each path.
    pub fn new(said: Vec<Signal>) -> Beginning {
        Beginning(said)
    }

    /// Whether this signal only repeats what was said of its path to begin with. To be asked of each signal, in order.
    pub fn has(&mut self, signal: &Signal) -> bool {
        let Some(at) = self.0.iter().position(|said| said.path == signal.path) else { return false };
        self.0.swap_remove(at) == *signal
    }
}

/// `None`: D-Bus is not told of this.
pub fn of_telling(telling: &Telling<'_>, cx: &Context<'_>) -> Option<Signal> {
    match *telling {
        Telling::Instance { id, to, .. } if to != Role::Init => {
            Some(status(path(cx.spec, cx.instance(id)?), to as u32))
        }
        Telling::Stopped(id) => Some(status(path(cx.spec, cx.instance(id)?), STOP)),
        Telling::Deleted { name, was } => {
            let one = cx.deleted(name)?;
            let state = match deleted_word(&one.notify, was)? {
                Told::Deleted => DELETED,
                _ => Role::Fault as u32,
            };
            Some(status(path(cx.spec, one), state))
        }
        Telling::Instance { .. }
        | Telling::Group { .. }
        | Telling::Priority { .. }
        | Telling::HeardLower(_)
        | Telling::Refused { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_to_begin_with_is_not_repeated_and_what_follows_is_told() {
        let (a, b) = (|state| status("/a".into(), state), |state| status("/b".into(), state));
        let mut beginning = Beginning::new(vec![a(1), b(1)]);
        let news = [a(1), a(2), b(2), b(1), a(1), a(STOP)];
        let told: Vec<Signal> = news.into_iter().filter(|signal| !beginning.has(signal)).collect();
        assert_eq!(told, [a(2), b(2), b(1), a(1), a(STOP)]);
    }
}

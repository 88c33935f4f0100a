//! One batch of steps: what the claims wish for next, asked of the kernel together, and what came of each.
//!
//! Batches shrink when the kernel is slow with them (IPv6 addresses on an interface that has thousands): nothing else is done
//! meanwhile.

use super::FromKernel;
use super::NetlinkError;
use super::address;
use super::channel::{LARGEST_BATCH, Request};
use super::claims::{Owner, State, Step};
use super::route;
use super::thread::Thread;
use crate::kernel::reconcile::{Item, Key};
use crate::vrrp::io::LinkFact;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage as Message;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A batch is to take about this long: the time for which an announcement may have to wait.
const BATCH_TIME: Duration = Duration::from_millis(4);
const SMALLEST_BATCH: usize = 8;
pub(super) const FIRST_BATCH: usize = 64;

/// What came of a batch, for each owner: positions in its claim.
#[derive(Default)]
struct Outcomes {
    ready: BTreeMap<Owner, Vec<u32>>,
    /// Of what is put back the engine has not lost sight: it is announced as [`LinkFact::Healed`].
    back: BTreeMap<Owner, Vec<u32>>,
    /// Those of `back`, and those that are not usable yet.
    healed: BTreeMap<Owner, Vec<u32>>,
    /// The first reason of each.
    failures: BTreeMap<Owner, String>,
}

impl Thread {
    /// One batch of steps and what came of it.
    pub(super) fn step(&mut self) {
        let steps = self.claims.next(self.batch);
        if steps.is_empty() {
            return;
        }
        let requests = steps.iter().map(|(step, item)| request(step, item)).collect();
        let begun = Instant::now();
        let going = steps.iter().filter_map(|(step, item)| match (step, item) {
            (Step::Remove { .. }, Item::Address(message)) => Some(address::AddressKey::of(message)),
            _ => None,
        });
        let promoting = self.promote_secondaries(going.collect());
        let answers = self.channel.batch(requests);
        self.end_promoting(&promoting);
        self.pace(begun.elapsed());
        let mut outcomes = Outcomes::default();
        for ((step, item), answer) in steps.into_iter().zip(answers) {
            match step {
                Step::Remove { item, .. } => self.removed(&item, answer),
                Step::Add { key, heal } => self.added(key, heal, &item, answer, &mut outcomes),
            }
        }
        self.tell_outcomes(outcomes);
    }

    /// Carries out everything that is queued.
    pub(super) fn flush(&mut self) {
        while !self.claims.idle() {
            self.step();
        }
    }

    /// Sizes the next batch by how long the last one took.
    fn pace(&mut self, took: Duration) {
        if took > BATCH_TIME {
            self.batch = (self.batch / 2).max(SMALLEST_BATCH);
        } else if took < BATCH_TIME / 2 {
            self.batch = (self.batch * 2).min(LARGEST_BATCH);
        }
    }

    fn removed(&mut self, item: &Item, answer: Result<(), NetlinkError>) {
        if let Err(e) = answer
            && !is_gone(&e)
        {
            self.trouble(None, format!("{} cannot be removed: {e}", describe(item)));
        }
    }

    fn added(&mut self, key: Key, heal: bool, item: &Item, answer: Result<(), NetlinkError>, outcomes: &mut Outcomes) {
        match answer {
            Ok(()) => {
                let state = first_state(item);
                for (owner, position) in self.claims.set_state(&key, state) {
                    let there = position.filter(|_| state == State::Present);
                    if !heal {
                        outcomes.ready.entry(owner).or_default().extend(there);
                    } else {
                        outcomes.back.entry(owner).or_default().extend(there);
                        outcomes.healed.entry(owner).or_default().extend(position);
                        if position.is_none() {
                            self.trouble(owner, format!("{} was removed by another program; put back", describe(item)));
                        }
                    }
                }
            }
            Err(e) if is_there(&e) => {
                if heal {
                    self.claims.not_a_heal(&key);
                }
                for (owner, position) in self.claims.set_state(&key, State::Present) {
                    outcomes.ready.entry(owner).or_default().extend(position);
                }
            }
            Err(e) => {
                // The news of an interface's end is on the way, and says what is lacking.
                let ended = matches!(&key, Key::Address(address) if is_gone(&e) && !self.is_known(address.index));
                for (owner, _) in self.claims.set_state(&key, State::Absent) {
                    if !ended {
                        outcomes.failures.entry(owner).or_insert_with(|| format!("{}: {e}", describe(item)));
                    }
                }
            }
        }
    }

    fn tell_outcomes(&mut self, outcomes: Outcomes) {
        for (owner, positions) in outcomes.ready {
            self.arrived(owner, positions);
        }
        for (owner, positions) in outcomes.back {
            let news = self.claims.report(owner, Some(positions));
            self.tell(news, false);
        }
        for (owner, mut positions) in outcomes.healed {
            positions.sort_unstable();
            if let (Some(instance), Some(first), Some(last)) = (owner, positions.first(), positions.last()) {
                let addresses = *first..last.saturating_add(1);
                self.report(FromKernel::Link(LinkFact::Healed { instance, addresses }));
            }
        }
        for (owner, reason) in outcomes.failures {
            self.fail(owner, reason);
        }
    }
}

fn request(step: &Step, item: &Item) -> Request<Message> {
    match (step, item) {
        (Step::Add { .. }, Item::Address(message)) => {
            Request { message: Message::NewAddress(message.clone()), flags: NLM_F_CREATE | NLM_F_EXCL }
        }
        (Step::Add { .. }, Item::Route(message, insert)) => {
            Request { message: Message::NewRoute(message.clone()), flags: route::insert_flags(*insert) }
        }
        (Step::Add { .. }, Item::Rule(message)) => {
            Request { message: Message::NewRule(message.clone()), flags: NLM_F_CREATE | NLM_F_EXCL }
        }
        (Step::Remove { .. }, Item::Address(message)) => {
            let key = address::AddressKey::of(message);
            Request { message: Message::DelAddress(address::removal(&key)), flags: 0 }
        }
        (Step::Remove { .. }, Item::Route(message, _)) => {
            Request { message: Message::DelRoute(route::removal(message)), flags: 0 }
        }
        (Step::Remove { .. }, Item::Rule(message)) => Request { message: Message::DelRule(message.clone()), flags: 0 },
    }
}

/// Where an item stands when the kernel has taken it: an IPv6 address with duplicate address detection is not usable yet.
fn first_state(item: &Item) -> State {
    use netlink_packet_route::address::AddressHeaderFlags;
    match item {
        Item::Address(message)
            if message.header.family == netlink_packet_route::AddressFamily::Inet6
                && !message.header.flags.contains(AddressHeaderFlags::Nodad) =>
        {
            State::Tentative
        }
        _ => State::Present,
    }
}

pub(super) fn is_gone(error: &NetlinkError) -> bool {
    const GONE: [i32; 5] = [libc::ENOENT, libc::EADDRNOTAVAIL, libc::ESRCH, libc::ENODEV, libc::ENXIO];
    matches!(error, NetlinkError::Refused { errno, .. } if GONE.contains(errno))
}

fn is_there(error: &NetlinkError) -> bool {
    matches!(error, NetlinkError::Refused { errno: libc::EEXIST, .. })
}

/// In words, for messages.
pub(super) fn describe(item: &Item) -> String {
    describe_key(&item.key())
}

pub(super) fn describe_key(key: &Key) -> String {
    match key {
        Key::Address(key) => format!("address {}/{}", key.address, key.prefix),
        Key::Route(key) if key.length == 0 => format!("default route in table {}", key.table),
        Key::Route(key) => format!("route {}/{} in table {}", key.destination, key.length, key.table),
        Key::Rule(key) => format!("rule with preference {}", key.priority),
    }
}

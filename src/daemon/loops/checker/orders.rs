//! What waits for the keeper of the kernel's table, in its order.
//!
//! The kernel may not answer for a while, or never, and the checks go on meanwhile: so what waits is bounded by what there
//! is, not by how often it changed. Pictures that follow each other are one entry, with the last one of each service; of the
//! wishes of another kind only the last one waits, at its own place; a look that nobody waits for any more is forgotten.
//! Nothing overtakes anything.

use crate::balance::io::{Action, Picture, ServiceKey, Traffic, Version};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

/// What services are to hold from now on; `None` for one that goes.
pub type Changes = BTreeMap<ServiceKey, Option<(Version, Arc<Picture>)>>;

/// One entry.
pub enum Order {
    Change(Changes),
    /// Marks, flush, time-outs, the sync daemon.
    Other(Action),
    /// Open the table; answered with the error number if there is none.
    Open(oneshot::Sender<Option<i32>>),
    /// The first wishes are all there: now the table is made.
    Begin,
    Look(oneshot::Sender<Option<Arc<Traffic>>>),
    Finish(oneshot::Sender<()>),
}

/// Shared by who orders and who carries out; cheap to clone.
#[derive(Clone, Default)]
pub struct Orders(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    more: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Order>,
    /// Since when the keeper has been about something.
    under_way: Option<Instant>,
    /// Since when something waits that is the next to be begun.
    waits: Option<Instant>,
    closed: bool,
}

impl Orders {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts orders behind those that wait. For all of them the keeper is woken once.
    pub fn put(&self, orders: impl IntoIterator<Item = Order>) {
        let mut state = self.state();
        orders.into_iter().for_each(|order| state.put(order));
        drop(state);
        self.0.more.notify_one();
    }

    /// The next one, once there is one; `None` when there will be none. Cancel-safe.
    pub async fn next(&self) -> Option<Order> {
        loop {
            let more = self.0.more.notified();
            {
                let mut state = self.state();
                if state.closed {
                    return None;
                }
                if let Some(order) = state.waiting.pop_front() {
                    state.waits = (!state.waiting.is_empty()).then(Instant::now);
                    return Some(order);
                }
            }
            more.await;
        }
    }

    /// Nothing of what waits is carried out any more.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.waiting.clear();
        state.waits = None;
        drop(state);
        self.0.more.notify_one();
    }

    /// The keeper is about something, or no longer.
    pub fn set_under_way(&self, under_way: bool) {
        self.state().under_way = under_way.then(Instant::now);
    }

    /// For how long the keeper has been about something, or has not begun what waits.
    pub fn busy_for(&self) -> Option<Duration> {
        let state = self.state();
        state.under_way.or(state.waits).map(|since| since.elapsed())
    }
}

impl Order {
    /// A wish of the balancer; one that is not for the table is given back.
    pub fn of(wish: Action) -> Result<Order, Action> {
        let change = |service, picture| Order::Change(BTreeMap::from([(service, picture)]));
        match wish {
            Action::Serve { service, version, picture } => Ok(change(service, Some((version, picture)))),
            Action::Withdraw(service) => Ok(change(service, None)),
            Action::Marks(_) | Action::Flush | Action::Timeouts(_) | Action::SyncDaemon(_) => Ok(Order::Other(wish)),
            Action::Probe { .. } | Action::Abandon(_) | Action::Report(_) => Err(wish),
        }
    }
}

impl State {
    fn put(&mut self, order: Order) {
        if self.closed {
            return;
        }
        self.waits.get_or_insert_with(Instant::now);
        match &order {
            Order::Look(_) => self.forget(|known| matches!(known, Order::Look(answer) if answer.is_closed())),
            Order::Other(later) if !matches!(later, Action::Flush) => {
                self.forget(|known| matches!(known, Order::Other(known) if same_kind(known, later)));
            }
            _ => {}
        }
        self.push(order);
    }

    /// Behind what waits, or into the last entry where both are one.
    fn push(&mut self, order: Order) {
        match (self.waiting.back_mut(), order) {
            (Some(Order::Change(known)), Order::Change(later)) => known.extend(later),
            (Some(Order::Other(Action::Flush)), Order::Other(Action::Flush)) => {}
            (_, order) => self.waiting.push_back(order),
        }
    }

    /// Takes out what is of no use any more; what stood on both sides of it comes together.
    fn forget(&mut self, is_past: impl Fn(&Order) -> bool) {
        for order in std::mem::take(&mut self.waiting) {
            if !is_past(&order) {
                self.push(order);
            }
        }
    }
}

fn same_kind(one: &Action, other: &Action) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::spec::balance::{Protocol, SchedulerFlags, Timeouts};

    fn service(port: u16) -> ServiceKey {
        ServiceKey::Address { protocol: Protocol::Tcp, address: "10.0.0.1".parse().unwrap(), port }
    }

    fn serve(port: u16, version: u64) -> Action {
        let picture = Picture {
            scheduler: "rr".into(),
            flags: SchedulerFlags::default(),
            persistence: None,
            destinations: BTreeMap::new(),
        };
        Action::Serve { service: service(port), version: Version(version), picture: Arc::new(picture) }
    }

    /// What waits, in words: the services of a change with their versions, or what else it is.
    fn waits(orders: &Orders) -> Vec<String> {
        let state = orders.state();
        let of = |order: &Order| match order {
            Order::Change(changes) => {
                let of = |(key, what): (&ServiceKey, &Option<(Version, Arc<Picture>)>)| match (key, what) {
                    (ServiceKey::Address { port, .. }, Some((version, _))) => format!("{port}={}", version.0),
                    (ServiceKey::Address { port, .. }, None) => format!("{port} goes"),
                    (ServiceKey::Mark { .. }, _) => String::new(),
                };
                changes.iter().map(of).collect::<Vec<_>>().join(" ")
            }
            Order::Other(Action::Timeouts(timeouts)) => format!("timeouts {:?}", timeouts.and_then(|t| t.tcp)),
            Order::Other(_) => "flush".into(),
            Order::Open(_) => "open".into(),
            Order::Begin => "begin".into(),
            Order::Look(_) => "look".into(),
            Order::Finish(_) => "finish".into(),
        };
        state.waiting.iter().map(of).collect()
    }

    #[test]
    fn pictures_that_follow_each_other_are_one_entry_and_nothing_overtakes_a_flush() {
        let orders = Orders::default();
        for wish in [serve(80, 1), serve(81, 1), serve(80, 2), Action::Withdraw(service(81)), Action::Flush] {
            orders.put(Order::of(wish));
        }
        orders.put(Order::of(serve(80, 3)));
        orders.put([Order::Begin]);
        orders.put(Order::of(serve(80, 4)));
        assert_eq!(waits(&orders), ["80=2 81 goes", "flush", "80=3", "begin", "80=4"]);
    }

    #[test]
    fn what_waits_for_a_kernel_that_never_answers_is_bounded() {
        let orders = Orders::default();
        for round in 0..1000 {
            orders.put(Order::of(serve(80 + u16::try_from(round % 7).unwrap(), round)));
            // Somebody asks, and does not wait.
            drop(orders.put_look());
        }
        assert!(waits(&orders).len() <= 3, "{:?}", waits(&orders));
        let answer = orders.put_look();
        orders.put(Order::of(serve(80, 1000)));
        assert_eq!(waits(&orders).len(), 3, "who still waits is answered in its turn");
        drop(answer);
        let seconds = |tcp| Action::Timeouts(Some(Timeouts { tcp: Some(tcp), tcp_fin: None, udp: None }));
        orders.put(Order::of(seconds(1)));
        orders.put(Order::of(seconds(2)));
        assert_eq!(waits(&orders).last().unwrap(), "timeouts Some(2)");
    }

    #[test]
    fn nothing_is_carried_out_after_the_end() {
        let orders = Orders::default();
        orders.put(Order::of(serve(80, 1)));
        orders.close();
        orders.put(Order::of(serve(80, 2)));
        assert!(waits(&orders).is_empty());
    }

    impl Orders {
        fn put_look(&self) -> oneshot::Receiver<Option<Arc<Traffic>>> {
            let (answer, answered) = oneshot::channel();
            self.put([Order::Look(answer)]);
            answered
        }
    }

    #[test]
    fn what_waits_is_bounded_however_often_kinds_take_turns() {
        let orders = Orders::default();
        for version in 0..1000 {
            orders.put(Order::of(serve(80, version)));
            orders
                .put(Order::of(Action::Timeouts(Some(Timeouts { tcp: Some(version as u32), ..Timeouts::default() }))));
        }
        assert_eq!(orders.state().waiting.len(), 2);
        assert_eq!(waits(&orders)[0], "80=999");
    }
}

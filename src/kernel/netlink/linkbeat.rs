//! Carrier by asking (`linkbeat_interfaces`, `linkbeat_use_polling`), for drivers that do not tell when it comes or goes.
//!
//! Once a second each interface is asked in the manner that was configured, or in the first that answers: the registers
//! of the PHY (MII), the driver (ETHTOOL), the flags (IOCTL). What is learned replaces IFF_RUNNING in the picture of
//! the links; nothing else knows that it was asked for.

use super::FromKernel;
use super::thread::Thread;
use crate::kernel::carrier;
use crate::spec::{BeatMethod, IfName};
use crate::vrrp::io::LinkFact;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// As keepalived has it.
const PERIOD: Duration = Duration::from_secs(1);

/// When to ask next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Linkbeat {
    due: Option<Instant>,
}

impl Linkbeat {
    /// `None`: nothing is polled.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }
}

impl Thread {
    /// Asks all interfaces that are to be asked, and tells what has changed.
    pub(super) fn poll_carriers(&mut self) {
        let asked = &self.spec.linkbeat;
        self.linkbeat.due = (!asked.is_empty()).then(|| Instant::now() + PERIOD);
        let found: BTreeMap<IfName, bool> = asked
            .iter()
            .filter_map(|beat| Some((beat.interface.clone(), running(beat.interface.as_str(), beat.method)?)))
            .collect();
        for link in self.links.believe(found) {
            self.report(FromKernel::Link(LinkFact::Changed(link)));
        }
    }
}

/// Has the interface carrier? `None` when it cannot be asked, being gone: the kernel tells that.
fn running(name: &str, method: Option<BeatMethod>) -> Option<bool> {
    let ask = |method| match method {
        BeatMethod::Mii => carrier::by_mii(name),
        BeatMethod::Ethtool => carrier::by_ethtool(name),
        BeatMethod::Ioctl => carrier::by_flags(name),
    };
    // A driver that cannot be asked in the manner wanted is asked as all can be.
    let order = match method {
        Some(method) => [method, BeatMethod::Ethtool, BeatMethod::Ioctl],
        None => [BeatMethod::Mii, BeatMethod::Ethtool, BeatMethod::Ioctl],
    };
    order.into_iter().find_map(|method| ask(method).ok())
}

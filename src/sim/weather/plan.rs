//! What a random world is, in plain values: who stands where, tracks what and speaks how.

use super::servers::Servers;
use crate::random::Random;
use crate::spec::HmacMode;
use crate::time::Interval;
use crate::wire::{Family, Version};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub routers: Vec<RouterPlan>,
    pub grouped: bool,
    pub nodes: Vec<NodePlan>,
    pub session: Option<SessionPlan>,
    pub servers: Option<Servers>,
}

/// Two nodes have a BFD session with each other, or every node has one with the gateway.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionPlan {
    pub interval: Interval,
    pub multiplier: u8,
    pub gateway: bool,
}

impl SessionPlan {
    /// Who the session of a node is with.
    pub(super) fn neighbor(&self, node: usize) -> IpAddr {
        end(if self.gateway { 253 } else { 1 - node.min(1) })
    }

    /// The roughest LAN of these worlds cannot make it fall: whoever tracks a session that falls by itself is never calm.
    fn is_steady(&self) -> bool {
        self.multiplier >= 3 && self.interval >= Interval::from_millis(100)
    }
}

/// The name of that session on every node.
pub(super) const SESSION: &str = "peer";

/// What all nodes agree on.
#[derive(Clone, Debug)]
pub(super) struct RouterPlan {
    pub vrid: u8,
    pub segment: u8,
    pub version: Version,
    pub unicast: bool,
    pub seal: Option<Seal>,
    pub addresses: Vec<IpAddr>,
}

/// How adverts are authenticated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seal {
    Password,
    Header,
    /// `auth_hmac`. A window of seconds is time-based protection, none is monotonic.
    Trailer {
        window: Option<u64>,
        mode: HmacMode,
    },
}

/// The key of worlds with `auth_hmac`.
pub(super) const KEY: &str = "0123456789abcdef0123456789abcdef";

/// The password of worlds that have one.
pub(super) const PASSWORD: &str = "s3cret";

#[derive(Clone, Debug)]
pub(super) struct NodePlan {
    /// Sorted by kind, as a configuration lists them; the session is the last.
    pub trackers: Vec<TrackerPlan>,
    pub startup: u64,
    /// Interface, and how long it has to be down, or up, before that counts.
    pub delays: Vec<(String, Interval, Interval)>,
    pub instances: Vec<InstancePlan>,
}

/// Something that is tracked, and by whom.
#[derive(Clone, Debug)]
pub(super) struct TrackerPlan {
    pub name: String,
    pub kind: Kind,
    pub weight: i32,
    pub reverse: bool,
    /// Tracked by the sync group, and through it by all; else by these instances.
    pub by_group: bool,
    pub by: Vec<bool>,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Kind {
    /// One beside those that instances are on; its name is the tracker's.
    Interface,
    Script {
        rise: u32,
        fall: u32,
        interval: Interval,
        timeout: Interval,
    },
    File,
    /// The session of the plan.
    Session,
    Process {
        quorum: u32,
        most: Option<u32>,
        terminate: Interval,
        fork: Interval,
    },
}

#[derive(Clone, Debug)]
pub(super) struct InstancePlan {
    pub version: Version,
    pub priority: u8,
    pub interval: Interval,
    pub preempt: bool,
    pub preempt_delay: u64,
    pub down_adverts: u32,
    pub no_advert: bool,
    pub send_advert: bool,
    pub garp_delay: u64,
    pub garp_refresh: u64,
    pub vmac: Option<Vmac>,
}

/// A virtual MAC, and which interface adverts go through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Vmac {
    Own,
    Base,
}

pub(super) fn name(node: usize) -> &'static str {
    ["a", "b", "c", "d", "e", "f", "g", "h", "i"].get(node).copied().unwrap_or("z")
}

/// Where a node's adverts of a router come from when that is written down.
pub(super) fn source(node: usize, router: &RouterPlan) -> IpAddr {
    match router.addresses.first().map_or(Family::V4, Family::of) {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(10, 77, router.segment, node as u8 + 1)),
        Family::V6 => IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, u16::from(router.segment), 0, 0, 0, node as u16 + 1)),
    }
}

/// The end of a BFD session on this node.
pub(super) fn end(node: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 78, 0, node as u8 + 1))
}

pub(super) fn plan(random: &mut Random) -> Plan {
    let count = match random.below(20) {
        0..=10 => 2,
        11..=15 => 3,
        16..=17 => 4,
        18 => random.within(5, 6) as usize,
        _ => random.within(7, 9) as usize,
    };
    let routers: Vec<RouterPlan> =
        (0..if count > 4 { 1 } else { random.within(1, 3) }).map(|number| router(random, number)).collect();
    let grouped = routers.len() > 1 && random.one_in(2);
    let usual = match random.below(4) {
        0 => Interval::from_millis(200),
        1 => Interval::from_millis(500),
        _ => Interval::from_secs(1),
    };
    let nopreempt = random.one_in(4);
    let nodes = (0..count).map(|_| node(random, &routers, grouped, usual, nopreempt)).collect();
    Plan { routers, grouped, nodes, session: None, servers: None }
}

fn router(random: &mut Random, number: u64) -> RouterPlan {
    let six = random.one_in(4);
    let version = if six || random.one_in(2) { Version::V3 } else { Version::V2 };
    let address = |n: u64| match six {
        true => IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, number as u16 + 1, 0, 0x100 + n as u16)),
        false => IpAddr::V4(Ipv4Addr::new(198, 51, 100, (number * 16 + n + 1) as u8)),
    };
    let seal = match version {
        _ if random.one_in(8) => {
            let mode = match random.below(6) {
                0 => HmacMode::Permissive,
                1 => HmacMode::ReceiveOnly,
                _ => HmacMode::Enforce,
            };
            Some(Seal::Trailer { window: (!random.one_in(4)).then(|| random.within(1, 8)), mode })
        }
        Version::V2 if random.one_in(3) => Some(if random.one_in(3) { Seal::Header } else { Seal::Password }),
        _ => None,
    };
    RouterPlan {
        vrid: (51 + number) as u8,
        segment: random.below(2) as u8,
        version,
        unicast: random.one_in(3),
        seal,
        addresses: (0..random.within(1, 3)).map(address).collect(),
    }
}

fn node(random: &mut Random, routers: &[RouterPlan], grouped: bool, usual: Interval, nopreempt: bool) -> NodePlan {
    let rank = match random.below(20) {
        0 => 255,
        // So that there are some who are equal.
        1..=5 => 100,
        _ => random.within(1, 254) as u8,
    };
    let instances: Vec<InstancePlan> = routers
        .iter()
        .map(|router| {
            let rank = if grouped || random.one_in(2) { rank } else { random.within(1, 254) as u8 };
            let version = match router.version {
                Version::V3 if router.addresses.iter().all(IpAddr::is_ipv4) && random.one_in(25) => Version::V2,
                version => version,
            };
            let own = |random: &mut Random| Interval::from_millis(100 * random.within(1, 15));
            let interval = match version {
                Version::V2 => Interval::from_secs(1),
                Version::V3 if random.one_in(5) => own(random),
                Version::V3 => usual,
            };
            let preempt = rank == 255 || !(nopreempt && random.one_in(2));
            InstancePlan {
                version,
                priority: rank,
                interval,
                preempt,
                preempt_delay: if preempt && rank != 255 && random.one_in(8) { random.within(1, 4) } else { 0 },
                down_adverts: if random.one_in(6) { random.within(1, 5) as u32 } else { 3 },
                no_advert: random.one_in(8),
                send_advert: random.one_in(8),
                garp_delay: random.within(0, 3),
                garp_refresh: if random.one_in(6) { random.within(1, 5) } else { 0 },
                vmac: (!router.unicast && random.one_in(6))
                    .then(|| if random.one_in(2) { Vmac::Own } else { Vmac::Base }),
            }
        })
        .collect();
    let owner = instances.iter().any(|instance| instance.priority == 255);
    let trackers = trackers(random, routers.len(), grouped, owner);
    let delays = if random.one_in(6) { delays(random, routers, &instances) } else { Vec::new() };
    NodePlan { trackers, startup: if random.one_in(12) { random.within(1, 4) } else { 0 }, delays, instances }
}

/// Delays no longer than instances on the interface can bear: longer ones are cut.
fn delays(
    random: &mut Random,
    routers: &[RouterPlan],
    instances: &[InstancePlan],
) -> Vec<(String, Interval, Interval)> {
    let mut all = Vec::new();
    for segment in 0..2 {
        let here = routers.iter().zip(instances).filter(|(router, _)| router.segment == segment);
        let bear = |(_, i): (_, &InstancePlan)| {
            i.interval.times(u64::from(i.down_adverts - 1)).less(i.interval.scaled(1, 200))
        };
        let Some(most) = here.map(bear).min().filter(|most| *most > Interval::from_millis(1)) else { continue };
        let delay = |random: &mut Random| random.interval(Interval::from_millis(1), most);
        all.push((format!("eth{segment}"), delay(random), delay(random)));
    }
    all
}

/// The session of a world, if it has one, and who tracks it.
pub(super) fn session(random: &mut Random, plan: &mut Plan) {
    let pair = plan.nodes.len() == 2 && random.one_in(2);
    if !pair && !random.one_in(3) {
        return;
    }
    let interval = Interval::from_millis(random.within(10, 400));
    let session = SessionPlan { interval, multiplier: random.within(1, 6) as u8, gateway: !pair };
    plan.session = Some(session);
    for node in plan.nodes.iter_mut().filter(|_| session.is_steady()) {
        if random.one_in(4) {
            continue;
        }
        let owner = node.instances.iter().any(|instance| instance.priority == 255);
        let by_group = plan.grouped && random.one_in(2);
        let weighted = !owner && (by_group || !plan.grouped) && random.one_in(2);
        let weight = if weighted { random.within(1, 100) as i32 - 50 } else { 0 };
        let (some, first) = (random.one_in(3), random.below(node.instances.len() as u64) as usize);
        let by = (0..node.instances.len()).map(|position| !some || position == first || random.one_in(2)).collect();
        let reverse = weight != 0 && random.one_in(6);
        node.trackers.push(TrackerPlan { name: SESSION.into(), kind: Kind::Session, weight, reverse, by_group, by });
    }
}

/// What a node tracks: nothing, or a few things of any kind.
fn trackers(random: &mut Random, instances: usize, grouped: bool, owner: bool) -> Vec<TrackerPlan> {
    let delay = |random: &mut Random| match random.one_in(2) {
        true => Interval::ZERO,
        false => random.interval(Interval::from_millis(1), Interval::from_secs(2)),
    };
    let weighted = random.one_in(2);
    let mut all = Vec::new();
    let mut add = |random: &mut Random, name: String, kind: Kind| {
        let by_group = grouped && random.one_in(2);
        let some = random.one_in(3);
        // The weights of single members of a group are not taken.
        let weight = match (weighted && (by_group || !grouped), &kind) {
            (false, _) => 0,
            // The priority of an owner does not move, and what would move it is not tracked.
            (true, kind) if owner && !matches!(kind, Kind::Process { .. }) => 0,
            (true, Kind::File) => random.within(1, 6) as i32 - 3,
            (true, _) => random.within(1, 100) as i32 - 50,
        };
        let first = random.below(instances as u64) as usize;
        let by = (0..instances).map(|position| !some || position == first || random.one_in(2)).collect();
        all.push(TrackerPlan { name, kind, weight, reverse: weight != 0 && random.one_in(6), by_group, by });
    };
    if random.one_in(5) {
        add(random, "eth2".into(), Kind::Interface);
    }
    for number in 0..random.below(3).saturating_sub(if random.one_in(2) { 1 } else { 0 }) {
        let interval = Interval::from_millis(500 * random.within(1, 4));
        let timeout = if random.one_in(2) { interval } else { Interval::from_millis(100 * random.within(1, 40)) };
        let (rise, fall) = (random.within(1, 3) as u32, random.within(1, 3) as u32);
        add(random, format!("check{number}"), Kind::Script { rise, fall, interval, timeout });
    }
    if random.one_in(5) {
        add(random, "switch".into(), Kind::File);
    }
    if random.one_in(5) {
        let quorum = random.within(1, 2) as u32;
        let most = random.one_in(3).then(|| quorum + random.below(2) as u32);
        let kind = Kind::Process { quorum, most, terminate: delay(random), fork: delay(random) };
        add(random, "haproxy".into(), kind);
    }
    all
}

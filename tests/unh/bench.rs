//! A router under test, alone on a bench, and two of them in the simulator.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use vipd::sim::{Scenario, build, run};
use vipd::spec::{Auth, InstanceId, InstanceSpec, Spec};
use vipd::time::{Interval, Time};
use vipd::vrrp::Engine;
use vipd::vrrp::io::{Action, Event, Input, Outcome, Refusal, Role, RxMeta, Transmit};
use vipd::wire::advert::{self, Saying};
use vipd::wire::checksum::ChecksumRule;
use vipd::wire::{Family, PROTOCOL_VRRP, Priority, Version, frames};

pub const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
pub const LOWER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 5);
pub const HIGHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 20);
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
pub const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
pub const ONLY: InstanceId = InstanceId(0);
pub const VERSIONS: [Version; 2] = [Version::V2, Version::V3];

/// A router under test, alone on a bench.
pub struct Bench {
    pub engine: Engine,
    pub now: Time,
    pub spec: InstanceSpec,
}

/// What came out of the router in one step.
#[derive(Default, Debug)]
pub struct Seen {
    pub adverts: Vec<Transmit>,
    pub owned: bool,
    pub disowned: bool,
    pub announced: usize,
    pub refused: Vec<Refusal>,
}

impl Seen {
    pub fn priorities(&self) -> Vec<u8> {
        self.adverts.iter().map(|a| read(a).priority.0).collect()
    }
}

pub fn read(transmit: &Transmit) -> advert::Head {
    advert::Head::read(frames::ipv4(&transmit.bytes).unwrap().payload).unwrap()
}

pub fn instance(version: Version, priority: u8) -> InstanceSpec {
    let mut spec = build::instance("UNH", 7, priority, &[VIP]);
    spec.version = version;
    spec
}

impl Bench {
    pub fn new(spec: InstanceSpec) -> (Bench, Seen) {
        let link = build::link(2, "eth0", &[&OWN.to_string()]);
        let now = Time::from_micros(1_000_000);
        let engine = Engine::new(Arc::new(build::spec(vec![spec.clone()])), vec![link], now);
        let mut bench = Bench { engine, now, spec };
        let seen = bench.drain();
        (bench, seen)
    }

    pub fn role(&self) -> Role {
        self.engine.snapshot(self.now).instances[0].state
    }

    pub fn deadline(&self) -> Interval {
        self.engine.snapshot(self.now).instances[0].next.as_ref().unwrap().at - self.now
    }

    pub fn drain(&mut self) -> Seen {
        let mut seen = Seen::default();
        while let Some(action) = self.engine.poll() {
            match action {
                Action::Transmit(transmit) => seen.adverts.push(transmit),
                Action::Own(id, claim) => {
                    seen.owned = true;
                    let addresses = 0..claim.addresses.len() as u32;
                    for outcome in [Outcome::Ready { addresses, announced: false }, Outcome::Complete] {
                        self.engine.handle(Input::Applied { instance: id, outcome }, self.now);
                    }
                }
                Action::Disown(_) => seen.disowned = true,
                Action::Announce(announce) => seen.announced += announce.addresses.len(),
                Action::Report(Event::Refused { why, .. }) => seen.refused.push(why),
                _ => {}
            }
        }
        seen
    }

    pub fn after(&mut self, time: Interval) -> Seen {
        let until = self.now + time;
        let mut all = Seen::default();
        loop {
            let next = self.engine.deadline().map(|(at, _)| at).filter(|at| *at <= until);
            self.now = next.unwrap_or(until);
            self.engine.handle(Input::Tick, self.now);
            let seen = self.drain();
            all.adverts.extend(seen.adverts);
            all.owned |= seen.owned;
            all.disowned |= seen.disowned;
            all.announced += seen.announced;
            all.refused.extend(seen.refused);
            if next.is_none() {
                return all;
            }
        }
    }

    pub fn hear(&mut self, from: Ipv4Addr, ttl: u8, bytes: &[u8]) -> Seen {
        let meta = RxMeta { ifindex: 2, source: from.into(), destination: GROUP.into(), ttl: Some(ttl) };
        self.engine.handle(Input::Datagram { meta, bytes }, self.now);
        self.drain()
    }

    /// A right advert of another router.
    pub fn advert(&mut self, from: Ipv4Addr, priority: u8) -> Seen {
        let bytes = other(&self.spec, from, priority, |_| ());
        self.hear(from, 255, &bytes)
    }

    /// What a router of this configuration has to wait for.
    pub fn down(&self) -> Interval {
        self.spec.interval.times(3) + skew(self.spec.version, self.spec.priority.0)
    }

    pub fn go_master(&mut self) -> Seen {
        let down = self.down();
        let seen = self.after(down);
        assert_eq!(self.role(), Role::Master);
        seen
    }
}

/// (256 − priority) / 256: of a second (version 2), of the interval of one second used here (version 3).
pub fn skew(_: Version, priority: u8) -> Interval {
    Interval::from_micros(1_000_000 * (256 - u64::from(priority)) / 256)
}

/// An advert with something changed before the checksum is made.
pub fn other(spec: &InstanceSpec, from: Ipv4Addr, priority: u8, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let (auth_type, password) = match &spec.auth {
        Auth::Pass(word) => (advert::AUTH_PASS, *word),
        _ => (0, [0; 8]),
    };
    let saying = Saying {
        family: Family::V4,
        version: spec.version,
        vrid: spec.vrid,
        priority: Priority(priority),
        interval: spec.interval,
        auth_type,
        password,
        addresses: &[VIP],
    };
    let mut body = Vec::new();
    saying.emit(None, &mut body);
    change(&mut body);
    let rule = match spec.version {
        Version::V2 => ChecksumRule::Plain,
        Version::V3 => ChecksumRule::pseudo(from.into(), GROUP.into()),
    };
    let sum = rule.over(&body).to_be_bytes();
    body[6..8].copy_from_slice(&sum);
    let mut datagram = frames::ipv4_header(from, GROUP, PROTOCOL_VRRP, 255, 1, body.len()).to_vec();
    datagram.extend_from_slice(&body);
    datagram
}

pub fn two(change: impl Fn(usize, &mut Spec)) -> Vec<(String, Spec)> {
    let node = |(number, (name, priority)): (usize, (&str, u8))| {
        let mut spec = build::spec(vec![build::instance("V1", 1, priority, &[VIP])]);
        change(number, &mut spec);
        (name.to_string(), spec)
    };
    [("a", 200), ("b", 100)].into_iter().enumerate().map(node).collect()
}

/// Who has an address at the end of a scenario; no law may be broken on the way.
pub fn holders(specs: Vec<(String, Spec)>, scenario: &str) -> Vec<(String, Vec<String>)> {
    let report = run(specs, &scenario.parse::<Scenario>().unwrap(), None).unwrap();
    assert_eq!(report.violations, vec![], "{report}");
    let names = |names: &[Box<str>]| names.iter().map(|n| n.to_string()).collect();
    report.owners.iter().map(|owner| (owner.address.to_string(), names(&owner.holders))).collect()
}

pub fn on(address: &str, node: &str) -> (String, Vec<String>) {
    (address.to_string(), vec![node.to_string()])
}

//! The 22 cases of the UNH-IOL VRRP operations suite (revision 2.5), by number. The suite names what to look at; what is
//! right is taken from RFC 3768 §6.4 and §7, and for version 3 from RFC 9568 §6.4 and §7. Where keepalived knowingly does
//! otherwise, the case says so and holds vipd to keepalived.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use vipd::engine::Engine;
use vipd::engine::io::{Action, Command, Event, Input, Link, LinkAddress, Outcome, Refusal, Role, RxMeta, Transmit};
use vipd::engine::spec::{Auth, IfName, InstanceId, InstanceSpec, Spec};
use vipd::sim::{Scenario, build, run};
use vipd::time::{Interval, Time};
use vipd::wire::advert::{self, Saying};
use vipd::wire::checksum::ChecksumRule;
use vipd::wire::{Family, PROTOCOL_VRRP, Priority, Version, Vrid, frames};

const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const LOWER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 5);
const HIGHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 20);
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
const ONLY: InstanceId = InstanceId(0);
const VERSIONS: [Version; 2] = [Version::V2, Version::V3];

/// A router under test, alone on a bench.
struct Bench {
    engine: Engine,
    now: Time,
    spec: InstanceSpec,
}

/// What came out of the router in one step.
#[derive(Default, Debug)]
struct Seen {
    adverts: Vec<Transmit>,
    owned: bool,
    disowned: bool,
    announced: usize,
    refused: Vec<Refusal>,
}

impl Seen {
    fn priorities(&self) -> Vec<u8> {
        self.adverts.iter().map(|a| read(a).priority.0).collect()
    }
}

fn read(transmit: &Transmit) -> advert::Head {
    advert::Head::read(frames::ipv4(&transmit.bytes).unwrap().payload).unwrap()
}

fn instance(version: Version, priority: u8) -> InstanceSpec {
    let mut spec = build::instance("UNH", 7, priority, &[VIP]);
    spec.version = version;
    spec
}

impl Bench {
    fn new(spec: InstanceSpec) -> (Bench, Seen) {
        let address = LinkAddress { address: OWN.into(), prefix: 24, usable: true, secondary: false };
        let link = Link {
            index: 2,
            name: IfName::new("eth0").unwrap(),
            running: true,
            up: true,
            mtu: 1500,
            mac: Some([2, 0, 0, 0, 0, 10]),
            loopback: false,
            multicast: true,
            arp: true,
            master: 0,
            lower: 0,
            kind: "".into(),
            addresses: vec![address],
        };
        let now = Time::from_micros(1_000_000);
        let engine = Engine::new(Arc::new(build::spec(vec![spec.clone()])), vec![link], now);
        let mut bench = Bench { engine, now, spec };
        let seen = bench.drain();
        (bench, seen)
    }

    fn role(&self) -> Role {
        self.engine.snapshot(self.now).instances[0].state
    }

    fn deadline(&self) -> Interval {
        self.engine.snapshot(self.now).instances[0].next.as_ref().unwrap().at - self.now
    }

    fn drain(&mut self) -> Seen {
        let mut seen = Seen::default();
        while let Some(action) = self.engine.poll() {
            match action {
                Action::Transmit(transmit) => seen.adverts.push(transmit),
                Action::Own(id, claim) => {
                    seen.owned = true;
                    let addresses = 0..claim.addresses.len() as u32;
                    for outcome in [Outcome::Ready { addresses }, Outcome::Complete] {
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

    fn after(&mut self, time: Interval) -> Seen {
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

    fn hear(&mut self, from: Ipv4Addr, ttl: u8, bytes: &[u8]) -> Seen {
        let meta = RxMeta { ifindex: 2, source: from.into(), destination: GROUP.into(), ttl: Some(ttl) };
        self.engine.handle(Input::Datagram { meta, bytes }, self.now);
        self.drain()
    }

    /// A right advert of another router.
    fn advert(&mut self, from: Ipv4Addr, priority: u8) -> Seen {
        let bytes = other(&self.spec, from, priority, |_| ());
        self.hear(from, 255, &bytes)
    }

    /// What a router of this configuration has to wait for.
    fn down(&self) -> Interval {
        self.spec.interval.times(3) + skew(self.spec.version, self.spec.priority.0)
    }

    fn go_master(&mut self) -> Seen {
        let down = self.down();
        let seen = self.after(down);
        assert_eq!(self.role(), Role::Master);
        seen
    }
}

/// (256 − priority) / 256: of a second (version 2), of the interval of one second used here (version 3).
fn skew(_: Version, priority: u8) -> Interval {
    Interval::from_micros(1_000_000 * (256 - u64::from(priority)) / 256)
}

/// An advert with something changed before the checksum is made.
fn other(spec: &InstanceSpec, from: Ipv4Addr, priority: u8, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
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

fn two(change: impl Fn(usize, &mut Spec)) -> Vec<(String, Spec)> {
    let node = |(number, (name, priority)): (usize, (&str, u8))| {
        let mut spec = build::spec(vec![build::instance("V1", 1, priority, &[VIP])]);
        change(number, &mut spec);
        (name.to_string(), spec)
    };
    [("a", 200), ("b", 100)].into_iter().enumerate().map(node).collect()
}

/// Who has an address at the end of a scenario; no law may be broken on the way.
fn holders(specs: Vec<(String, Spec)>, scenario: &str) -> Vec<(String, Vec<String>)> {
    let report = run(specs, &scenario.parse::<Scenario>().unwrap(), None).unwrap();
    assert_eq!(report.violations, vec![], "{report}");
    let names = |names: &[Box<str>]| names.iter().map(|n| n.to_string()).collect();
    report.owners.iter().map(|owner| (owner.address.to_string(), names(&owner.holders))).collect()
}

fn on(address: &str, node: &str) -> (String, Vec<String>) {
    (address.to_string(), vec![node.to_string()])
}

#[test]
fn case_1_1_basic_interoperability() {
    let plain = || two(|_, _| ());
    assert_eq!(holders(plain(), "run 20s"), [on("192.0.2.100", "a")]);
    assert_eq!(holders(plain(), "run 30s\nat 10s crash a"), [on("192.0.2.100", "b")]);
    assert_eq!(holders(plain(), "run 30s\nat 10s link a eth0 down"), [on("192.0.2.100", "b")]);
    assert_eq!(holders(plain(), "run 60s\nat 10s crash a\nat 30s start a"), [on("192.0.2.100", "a")]);
}

#[test]
fn case_1_2_advanced_interoperability() {
    // Two virtual routers, each server master of one, and both together when the other fails.
    let second: IpAddr = "192.0.2.101".parse().unwrap();
    let shared = || two(|node, spec| spec.instances.push(build::instance("V2", 2, [100, 200][node], &[second])));
    assert_eq!(holders(shared(), "run 20s"), [on("192.0.2.100", "a"), on("192.0.2.101", "b")]);
    assert_eq!(holders(shared(), "run 30s\nat 10s crash a"), [on("192.0.2.100", "b"), on("192.0.2.101", "b")]);
    assert_eq!(holders(shared(), "run 30s\nat 10s stop b"), [on("192.0.2.100", "a"), on("192.0.2.101", "a")]);
    let back = "run 60s\nat 10s crash a\nat 25s start a";
    assert_eq!(holders(shared(), back), [on("192.0.2.100", "a"), on("192.0.2.101", "b")]);
}

#[test]
fn case_2_1_the_initialize_state() {
    for version in VERSIONS {
        let (mut owner, seen) = Bench::new(instance(version, 255));
        assert_eq!(owner.role(), Role::Master);
        assert_eq!(seen.priorities(), [255], "an owner says so at once");
        assert!(seen.owned && seen.announced > 0, "and announces its address");
        assert_eq!(owner.deadline(), Interval::from_secs(1));
        assert_eq!(owner.after(Interval::from_secs(3)).priorities(), [255; 3]);
        let (other, seen) = Bench::new(instance(version, 100));
        assert_eq!(other.role(), Role::Backup);
        assert!(seen.adverts.is_empty() && !seen.owned);
        assert_eq!(other.deadline(), other.down());
    }
}

#[test]
fn case_2_2_packet_reception_in_the_backup_state() {
    // No ARP reply, no forwarding, nothing accepted for the virtual address: a backup does not have it at all.
    for version in VERSIONS {
        let (mut backup, _) = Bench::new(instance(version, 100));
        for _ in 0..10 {
            let heard = backup.advert(HIGHER, 200);
            let waited = backup.after(Interval::from_secs(1));
            for seen in [heard, waited] {
                assert!(!seen.owned && seen.announced == 0 && seen.adverts.is_empty(), "{seen:?}");
            }
            assert_eq!(backup.role(), Role::Backup);
        }
    }
}

#[test]
fn case_2_3_master_down_in_the_backup_state() {
    for version in VERSIONS {
        let (mut backup, _) = Bench::new(instance(version, 100));
        let almost = backup.down().less(Interval::from_micros(1));
        let silent = backup.after(almost);
        assert!(silent.adverts.is_empty() && backup.role() == Role::Backup);
        let seen = backup.after(Interval::from_micros(1));
        assert_eq!(backup.role(), Role::Master);
        assert_eq!(seen.priorities(), [100]);
        assert!(seen.owned && seen.announced > 0);
        assert_eq!(backup.deadline(), Interval::from_secs(1));
    }
}

#[test]
fn case_2_4_advertisement_reception_in_the_backup_state() {
    for version in VERSIONS {
        // Priority 0: the timer becomes the skew.
        let (mut backup, _) = Bench::new(instance(version, 100));
        backup.advert(HIGHER, 200);
        backup.advert(HIGHER, 0);
        assert_eq!(backup.deadline(), skew(version, 100));
        // Equal or higher: the whole timer again.
        for priority in [100, 101, 255] {
            let (mut backup, _) = Bench::new(instance(version, 100));
            backup.after(Interval::from_millis(2_500));
            backup.advert(LOWER, priority);
            assert_eq!(backup.deadline(), backup.down(), "{priority}");
        }
        // Lower, with preemption: discarded, the timer goes on.
        let (mut backup, _) = Bench::new(instance(version, 100));
        backup.after(Interval::from_secs(1));
        let left = backup.deadline();
        backup.advert(HIGHER, 99);
        assert_eq!(backup.deadline(), left);
        // Lower, without preemption: the whole timer again.
        let mut patient = instance(version, 100);
        patient.preempt = false;
        let (mut backup, _) = Bench::new(patient);
        backup.after(Interval::from_secs(1));
        backup.advert(HIGHER, 99);
        assert_eq!(backup.deadline(), backup.down());
    }
}

#[test]
fn case_2_5_packet_reception_in_the_master_state() {
    // Answering ARP, forwarding and accepting follow from having the address; announcements tell whose it is.
    for version in VERSIONS {
        let (mut router, _) = Bench::new(instance(version, 100));
        let seen = router.go_master();
        assert!(seen.owned);
        assert_eq!(seen.announced, router.spec.garp.repeat as usize);
        let view = &router.engine.snapshot(router.now).instances[0];
        assert!(view.owned, "the kernel has the whole claim");
    }
}

#[test]
fn case_2_6_shutdown_event_in_the_master_state() {
    for version in VERSIONS {
        let (mut master, _) = Bench::new(instance(version, 100));
        master.go_master();
        let stop = Input::Command(Command::Stop { release: true });
        master.engine.handle(stop.clone(), master.now);
        let seen = master.drain();
        assert_eq!(seen.priorities(), [0]);
        assert!(seen.disowned);
        assert!(master.after(Interval::from_secs(10)).adverts.is_empty());
        let (mut backup, _) = Bench::new(instance(version, 100));
        backup.engine.handle(stop, backup.now);
        assert!(backup.drain().adverts.is_empty(), "a backup has nothing to take back");
    }
}

#[test]
fn case_2_7_advertisement_reception_in_the_master_state() {
    for version in VERSIONS {
        let master = || {
            let (mut master, _) = Bench::new(instance(version, 100));
            master.go_master();
            master
        };
        // Priority 0: an advert at once.
        let mut router = master();
        assert_eq!(router.advert(HIGHER, 0).priorities(), [100]);
        assert_eq!(router.role(), Role::Master);
        // Higher; or equal from a higher address.
        for (from, priority) in [(LOWER, 101), (HIGHER, 255), (HIGHER, 100)] {
            let mut router = master();
            let seen = router.advert(from, priority);
            assert_eq!(router.role(), Role::Backup, "{from} {priority}");
            assert!(seen.disowned && seen.adverts.is_empty());
            assert_eq!(router.deadline(), router.down());
        }
        // Lower; or equal from a lower address. The RFC discards it; keepalived speaks up at once, and so do we.
        for (from, priority) in [(HIGHER, 99), (LOWER, 1), (LOWER, 100)] {
            let mut router = master();
            assert_eq!(router.advert(from, priority).priorities(), [100], "{from} {priority}");
            assert_eq!(router.role(), Role::Master);
            let mut quiet = instance(version, 100);
            quiet.lower_prio_no_advert = true;
            let (mut router, _) = Bench::new(quiet);
            router.go_master();
            assert!(router.advert(from, priority).adverts.is_empty());
        }
    }
}

#[test]
fn case_3_1_advertisement_interval() {
    for (version, interval) in [
        (Version::V2, Interval::from_secs(1)),
        (Version::V2, Interval::from_secs(255)),
        (Version::V3, Interval::from_millis(10)),
        (Version::V3, Interval::from_millis(40_950)),
    ] {
        let mut spec = instance(version, 255);
        spec.interval = interval;
        let (mut owner, first) = Bench::new(spec);
        assert_eq!(first.adverts.len(), 1);
        for _ in 0..20 {
            assert!(owner.after(interval.less(Interval::from_micros(1))).adverts.is_empty());
            let seen = owner.after(Interval::from_micros(1));
            assert_eq!(seen.adverts.len(), 1, "v{version} {interval}");
            let bytes = seen.adverts[0].bytes.clone();
            let said = advert::parse(frames::ipv4(&bytes).unwrap().payload, Family::V4).unwrap().interval;
            assert_eq!(said, interval);
        }
    }
}

#[test]
fn case_3_2_skew_time() {
    for version in VERSIONS {
        for priority in [1, 2, 50, 100, 128, 200, 253, 254] {
            let (mut backup, _) = Bench::new(instance(version, priority));
            backup.advert(HIGHER, 0);
            assert_eq!(backup.deadline(), skew(version, priority), "v{version} {priority}");
            backup.after(skew(version, priority).less(Interval::from_micros(1)));
            assert_eq!(backup.role(), Role::Backup);
            backup.after(Interval::from_micros(1));
            assert_eq!(backup.role(), Role::Master);
        }
    }
}

#[test]
fn case_3_3_master_down_interval() {
    for version in VERSIONS {
        for (priority, seconds) in [(1, 1), (100, 1), (254, 1), (100, 5), (100, 30)] {
            let mut spec = instance(version, priority);
            spec.interval = Interval::from_secs(seconds);
            let (mut backup, _) = Bench::new(spec);
            backup.advert(HIGHER, 255);
            // Version 2 skews by a share of a second, version 3 by a share of the interval.
            let share = if version == Version::V2 { 1 } else { seconds };
            let skew = Interval::from_micros(1_000_000 * share * (256 - u64::from(priority)) / 256);
            let expected = Interval::from_secs(3 * seconds) + skew;
            assert_eq!(backup.deadline(), expected, "v{version} {priority} {seconds}s");
        }
    }
}

#[test]
fn case_3_4_preempt_mode() {
    let with = |preempt: bool, priority: u8| {
        two(move |node, spec| {
            let instance = &mut spec.instances[0];
            // The configuration never says nopreempt of an owner: the language clears it (semantics of keepalived, too).
            instance.preempt = preempt || (node == 0 && priority == 255);
            if node == 0 {
                instance.priority = Priority(priority);
            }
        })
    };
    let late = "run 60s\nabsent a\nat 20s start a";
    assert_eq!(holders(with(true, 200), late), [on("192.0.2.100", "a")]);
    assert_eq!(holders(with(false, 200), late), [on("192.0.2.100", "b")]);
    // The owner of the addresses preempts whatever the mode says.
    assert_eq!(holders(with(false, 255), late), [on("192.0.2.100", "a")]);
}

/// A datagram that must be refused: the router counts it and takes over as if it had not come.
fn refused(spec: InstanceSpec, from: Ipv4Addr, ttl: u8, bytes: &[u8], why: Refusal) {
    let (mut backup, _) = Bench::new(spec);
    backup.after(Interval::from_secs(1));
    let left = backup.deadline();
    let seen = backup.hear(from, ttl, bytes);
    let snapshot = backup.engine.snapshot(backup.now);
    let counted = snapshot.instances[0].counters.refused.get(&why).or(snapshot.refused.get(&why));
    assert_eq!(counted, Some(&1), "not counted as {why:?}: {:?} {:?}", seen.refused, snapshot.refused);
    assert_eq!(snapshot.instances[0].counters.advert_rcvd, 0);
    assert_eq!(backup.deadline(), left, "{why:?} moved the timer");
    backup.after(left);
    assert_eq!(backup.role(), Role::Master, "{why:?}");
    // A master is not moved by it either.
    let seen = backup.hear(from, ttl, bytes);
    assert!(seen.adverts.is_empty() && backup.role() == Role::Master, "{why:?}");
}

#[test]
fn case_4_1_reception_of_invalid_ttl() {
    for version in VERSIONS {
        let spec = instance(version, 100);
        for ttl in [0, 1, 64, 254] {
            let mut bytes = other(&spec, HIGHER, 200, |_| ());
            bytes[8] = ttl;
            refused(spec.clone(), HIGHER, ttl, &bytes, Refusal::Ttl);
        }
    }
}

#[test]
fn case_4_2_reception_of_invalid_version() {
    for version in VERSIONS {
        let spec = instance(version, 100);
        for number in [0, 1, 4, 15, 5 - version.number()] {
            let bytes = other(&spec, HIGHER, 200, |body| body[0] = number << 4 | 1);
            let (mut backup, _) = Bench::new(spec.clone());
            backup.after(Interval::from_secs(1));
            let left = backup.deadline();
            backup.hear(HIGHER, 255, &bytes);
            assert_eq!(backup.deadline(), left, "version {number} was taken");
            let snapshot = backup.engine.snapshot(backup.now);
            assert_eq!(snapshot.instances[0].counters.advert_rcvd, 0);
            let all = snapshot.instances[0].counters.refused.values().chain(snapshot.refused.values());
            assert_eq!(all.sum::<u64>(), 1, "version {number} was not counted");
        }
    }
}

#[test]
fn case_4_3_reception_of_invalid_length() {
    for version in VERSIONS {
        let spec = instance(version, 100);
        let whole = other(&spec, HIGHER, 200, |_| ());
        refused(spec.clone(), HIGHER, 255, &whole[..whole.len() - 1], Refusal::Length);
        // The count says three addresses, the packet has one.
        let bytes = other(&spec, HIGHER, 200, |body| body[3] = 3);
        refused(spec.clone(), HIGHER, 255, &bytes, Refusal::Length);
        // Too short for a VRRP header: not even the VRID is there.
        let (mut backup, _) = Bench::new(spec);
        let left = backup.deadline();
        for length in 0..28 {
            backup.hear(HIGHER, 255, &whole[..length]);
        }
        assert_eq!(backup.deadline(), left);
        let snapshot = backup.engine.snapshot(backup.now);
        let counted: u64 = snapshot.refused.values().chain(snapshot.instances[0].counters.refused.values()).sum();
        assert_eq!(counted, 28, "{snapshot:?}");
    }
}

#[test]
fn case_4_4_reception_of_invalid_checksum() {
    for version in VERSIONS {
        let spec = instance(version, 100);
        let mut bytes = other(&spec, HIGHER, 200, |_| ());
        bytes[27] ^= 1;
        refused(spec, HIGHER, 255, &bytes, Refusal::Checksum);
    }
}

#[test]
fn case_4_5_reception_of_invalid_vrid() {
    for version in VERSIONS {
        let spec = instance(version, 100);
        for vrid in [6, 8, 255] {
            let bytes = other(&spec, HIGHER, 200, |body| body[1] = vrid);
            refused(spec.clone(), HIGHER, 255, &bytes, Refusal::UnknownVrid);
        }
    }
    assert_eq!(Vrid::new(0), None);
}

#[test]
fn case_4_6_reception_of_invalid_authentication() {
    let none = instance(Version::V2, 100);
    let mut pass = none.clone();
    pass.auth = Auth::Pass(*b"s3cret\0\0");
    let of_kind = |kind: u8| other(&none, HIGHER, 200, move |body| body[4] = kind);
    refused(none.clone(), HIGHER, 255, &of_kind(1), Refusal::AuthTypeMismatch);
    refused(none.clone(), HIGHER, 255, &of_kind(3), Refusal::AuthTypeInvalid);
    refused(pass.clone(), HIGHER, 255, &of_kind(0), Refusal::AuthTypeMismatch);
    let wrong = other(&pass, HIGHER, 200, |body| body[12] ^= 1);
    refused(pass.clone(), HIGHER, 255, &wrong, Refusal::AuthFailure);
    let (mut backup, _) = Bench::new(pass);
    backup.advert(HIGHER, 200);
    assert_eq!(backup.engine.snapshot(backup.now).instances[0].counters.advert_rcvd, 1, "the right one is taken");
}

#[test]
fn case_4_7_reception_of_invalid_advertisement_interval() {
    let second = instance(Version::V2, 100);
    let bytes = other(&second, HIGHER, 200, |body| body[5] = 2);
    refused(second, HIGHER, 255, &bytes, Refusal::AdvertInterval);
    // Version 3 does not refuse another interval, it learns it (RFC 9568 §6.4.2); none at all would be madness.
    let spec = instance(Version::V3, 100);
    let (mut backup, _) = Bench::new(spec.clone());
    let bytes = other(&spec, HIGHER, 200, |body| body[4..6].copy_from_slice(&200_u16.to_be_bytes()));
    backup.hear(HIGHER, 255, &bytes);
    let skewed = Interval::from_micros(2_000_000 * 156 / 256);
    assert_eq!(backup.deadline(), Interval::from_secs(6) + skewed);
    let bytes = other(&spec, HIGHER, 200, |body| body[4..6].copy_from_slice(&[0, 0]));
    refused(spec, HIGHER, 255, &bytes, Refusal::AdvertInterval);
}

#[test]
fn case_4_8_reception_of_unknown_type() {
    for version in VERSIONS {
        let spec = instance(version, 100);
        for kind in [0, 2, 15] {
            let bytes = other(&spec, HIGHER, 200, |body| body[0] = version.number() << 4 | kind);
            refused(spec.clone(), HIGHER, 255, &bytes, Refusal::Type);
        }
    }
}

#[test]
fn case_4_9_proper_transmission() {
    for version in VERSIONS {
        let (mut router, _) = Bench::new(instance(version, 100));
        let seen = router.go_master();
        let [transmit] = &seen.adverts[..] else { panic!("{seen:?}") };
        assert_eq!((transmit.instance, transmit.ifindex), (ONLY, 2));
        assert_eq!((transmit.source, transmit.destination), (OWN.into(), GROUP.into()));
        let ip = frames::ipv4(&transmit.bytes).unwrap();
        assert_eq!((ip.source, ip.destination, ip.ttl, ip.protocol), (OWN, GROUP, 255, PROTOCOL_VRRP));
        assert_eq!(ip.total_length, transmit.bytes.len());
        let said = advert::parse(ip.payload, Family::V4).unwrap();
        assert_eq!((said.version, said.kind), (version, 1));
        assert_eq!((said.vrid, said.priority), (Vrid::new(7).unwrap(), Priority(100)));
        assert_eq!(said.interval, Interval::from_secs(1));
        assert_eq!(said.addresses.iter().collect::<Vec<_>>(), [VIP]);
        let rule = match version {
            Version::V2 => ChecksumRule::Plain,
            Version::V3 => ChecksumRule::pseudo(OWN.into(), GROUP.into()),
        };
        assert!(rule.holds(said.body));
        assert!(said.surplus.is_empty());
        assert_eq!(said.password, (version == Version::V2).then_some([0; 8]));
    }
}

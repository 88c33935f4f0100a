//! IPVS without a kernel: the bytes of its messages against those that were captured from keepalived, and the plan
//! against a model of the kernel's table.

#![allow(clippy::unwrap_used)]

use netlink_packet_core::{Emitable, ParseableParametrized};
use netlink_packet_generic::GenlHeader;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use vipd::balance::io::{Destination, Picture, ServiceKey};
use vipd::kernel::ipvs::dump::{Seen, SeenService};
use vipd::kernel::ipvs::message::{
    Daemon, DestinationKey, Message, SeenDestination, Service, SyncRole, Timeouts, command,
};
use vipd::kernel::ipvs::plan::{Op, Rules, normal, plan};
use vipd::spec::balance::{
    Forwarding, Granularity, Method, Persistence, Protocol, SchedulerFlags, TunnelChecksum, TunnelKind,
};
use vipd::wire::Family;

// ---- messages

fn bytes(message: &Message) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}
fn parsed(command: u8, bytes: &[u8]) -> Message {
    Message::parse_with_param(bytes, GenlHeader { cmd: command, version: 1 }).unwrap()
}
/// Attributes written as the captures write them: `1{1=0200 2=0600} 2{…}`, numbers and hex values.
fn shown(bytes: &[u8], nested: bool) -> String {
    let mut words = Vec::new();
    let mut rest = bytes;
    while let [l0, l1, k0, k1, ..] = *rest {
        let (length, kind) = (u16::from_le_bytes([l0, l1]) as usize, u16::from_le_bytes([k0, k1]) & 0x3fff);
        let value = &rest[4..length];
        words.push(if nested {
            format!("{kind}{{{}}}", shown(value, false))
        } else {
            format!("{kind}={}", value.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        });
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    words.join(" ")
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}
fn tcp(at: &str, port: u16) -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::Tcp, address: address(at), port }
}
fn service(scheduler: &str) -> Service {
    Service { scheduler: scheduler.into(), flags: SchedulerFlags::default(), persistence: None }
}
fn persistent(scheduler: &str, timeout: u32, granularity: Granularity, engine: Option<&str>) -> Service {
    let persistence = Some(Persistence { timeout, granularity, engine: engine.map(Into::into) });
    Service { persistence, ..service(scheduler) }
}
fn way(method: Method, tunnel: TunnelKind, checksum: TunnelChecksum) -> Forwarding {
    Forwarding { method, tunnel, checksum }
}
fn server(weight: u32, forwarding: Forwarding, upper: u32, lower: u32) -> Destination {
    Destination { weight, forwarding, upper_threshold: upper, lower_threshold: lower }
}
const NAT: Forwarding = Forwarding { method: Method::Nat, tunnel: TunnelKind::Ipip, checksum: TunnelChecksum::None };

/// Captured from keepalived; in a little-endian machine's order.
#[test]
#[cfg(target_endian = "little")]
fn requests_are_keepalived_s_bytes() {
    let one = |message: Message, nested: bool| (message.command(), shown(&bytes(&message), nested));
    let golden = |message: Message, expected: &str| {
        assert_eq!(one(message, expected.contains('{')).1, expected);
    };
    golden(Message::set_timeouts(Timeouts { tcp: 7200, tcp_fin: 120, udp: 300 }), "4=201c0000 5=78000000 6=2c010000");
    golden(Message::delete_daemon(SyncRole::Master, 0), "3{1=01000000 3=00000000}");
    golden(Message::delete_daemon(SyncRole::Backup, 0), "3{1=02000000 3=00000000}");
    let daemon = Daemon { interface: "dummy0".into(), id: 5, longest: None, port: None, ttl: None, group: None };
    golden(Message::new_daemon(SyncRole::Master, &daemon), "3{1=01000000 2=64756d6d793000 3=05000000}");
    golden(Message::new_daemon(SyncRole::Backup, &daemon), "3{1=02000000 2=64756d6d793000 3=05000000}");
    golden(
        Message::new_service(tcp("10.0.0.1", 80), &service("rr")),
        "1{1=0200 2=0600 3=0a000001000000000000000000000000 4=0050 6=727200 7=00000000ffffffff 8=00000000 9=ffffffff}",
    );
    golden(
        Message::new_service(tcp("10.0.0.1", 82), &persistent("wrr", 300, Granularity::Mask(0xffff_ff00), None)),
        "1{1=0200 2=0600 3=0a000001000000000000000000000000 4=0052 6=77727200 7=01000000ffffffff 8=2c010000 9=ffffff00}",
    );
    golden(
        Message::new_service(ServiceKey::Mark { family: Family::V4, mark: 7 }, &service("wlc")),
        "1{1=0200 5=07000000 6=776c6300 7=00000000ffffffff 8=00000000 9=ffffffff}",
    );
    let mut port_too = persistent("sh", 360, Granularity::Prefix(64), None);
    port_too.flags.flags[1] = true;
    golden(
        Message::new_service(tcp("2001:db8::1", 80), &port_too),
        "1{1=0a00 2=0600 3=20010db8000000000000000000000001 4=0050 6=736800 7=11000000ffffffff 8=68010000 9=40000000}",
    );
    golden(
        Message::new_service(
            ServiceKey::Address { protocol: Protocol::Udp, address: address("10.0.0.1"), port: 5060 },
            &persistent("rr", 60, Granularity::Host, Some("sip")),
        ),
        "1{1=0200 2=1100 3=0a000001000000000000000000000000 4=13c4 6=727200 11=73697000 7=01000000ffffffff 8=3c000000 9=ffffffff}",
    );
    // Of the service only the name, which is all that the kernel reads of it here; the destination to the letter.
    let name = "1{1=0200 2=0600 3=0a000001000000000000000000000000 4=0050}";
    let destination = |port, target: Destination, expected: &str| {
        let key = (address("10.1.0.2"), port);
        golden(
            Message::new_destination(tcp("10.0.0.1", 80), key, &target),
            &format!("{name} 2{{11=0200 1=0a010002000000000000000000000000 {expected}}}"),
        );
    };
    destination(8080, server(3, NAT, 0, 0), "2=1f90 3=00000000 4=03000000 5=00000000 6=00000000");
    let gue = way(Method::Tunnel, TunnelKind::Gue(6080), TunnelChecksum::Checksum);
    destination(
        83,
        server(1, gue, 100, 50),
        "2=0053 3=02000000 4=01000000 13=01 14=17c0 15=0100 5=64000000 6=32000000",
    );
    let gre = way(Method::Tunnel, TunnelKind::Gre, TunnelChecksum::None);
    destination(83, server(1, gre, 0, 0), "2=0053 3=02000000 4=01000000 13=02 15=0000 5=00000000 6=00000000");
    let ipip = way(Method::Tunnel, TunnelKind::Ipip, TunnelChecksum::None);
    destination(83, server(1, ipip, 0, 0), "2=0053 3=02000000 4=01000000 13=00 5=00000000 6=00000000");
    assert_eq!(
        shown(&bytes(&Message::delete_destination(tcp("10.0.0.1", 80), (address("10.1.0.2"), 8080))), true),
        format!("{name} 2{{11=0200 1=0a010002000000000000000000000000 2=1f90}}")
    );
    let numbers = [
        (Message::get_timeouts().command(), 13),
        (Message::set_timeouts(Timeouts::default()).command(), 12),
        (Message::get_info().command(), 15),
        (Message::flush().command(), 17),
        (Message::get_services().command(), 4),
        (Message::get_daemons().command(), 11),
        (Message::new_service(tcp("::1", 1), &service("rr")).command(), 1),
        (Message::set_service(tcp("::1", 1), &service("rr")).command(), 2),
        (Message::delete_service(tcp("::1", 1)).command(), 3),
        (Message::new_destination(tcp("::1", 1), (address("::1"), 1), &server(1, NAT, 0, 0)).command(), 5),
        (Message::set_destination(tcp("::1", 1), (address("::1"), 1), &server(1, NAT, 0, 0)).command(), 6),
        (Message::delete_destination(tcp("::1", 1), (address("::1"), 1)).command(), 7),
        (Message::get_destinations(tcp("::1", 1)).command(), 8),
    ];
    for (ours, theirs) in numbers {
        assert_eq!(ours, theirs);
    }
}

#[test]
fn counters_are_read_from_the_wide_set_and_from_the_narrow_one() {
    let attribute = |kind: u16, value: &[u8]| {
        let mut bytes = u16::try_from(value.len() + 4).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let wide: Vec<u8> = (1..=10).flat_map(|kind| attribute(kind, &(u64::from(kind) << 33).to_ne_bytes())).collect();
    let narrow: Vec<u8> = (1..=10)
        .flat_map(|kind: u16| match kind {
            4 | 5 => attribute(kind, &(u64::from(kind) + 100).to_ne_bytes()),
            _ => attribute(kind, &(u32::from(kind) + 100).to_ne_bytes()),
        })
        .collect();
    let short: Vec<u8> = (1..=9).flat_map(|kind| attribute(kind, &1u64.to_ne_bytes())).collect();
    let read = |sets: &[Vec<u8>]| {
        let mut inside = bytes(&Message::new_service(tcp("10.0.0.1", 80), &service("rr")));
        inside.drain(..4);
        inside.extend(sets.concat());
        parsed(command::NEW_SERVICE, &attribute(1, &inside)).service().unwrap().2
    };
    let stats = read(&[attribute(10, &narrow), attribute(12, &wide)]);
    assert_eq!((stats.connections, stats.byte_rate_out), (1 << 33, 10 << 33));
    let stats = read(&[attribute(10, &narrow)]);
    assert_eq!((stats.packets_in, stats.bytes_in, stats.byte_rate_out), (102, 104, 110));
    let stats = read(&[attribute(10, &narrow), attribute(12, &short)]);
    assert_eq!(stats.connections, 101, "a set that lacks a member is none");
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (1u8..6).prop_map(|n| IpAddr::from([10, 0, 0, n])),
        (1u16..6).prop_map(|n| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n])),
    ]
}
fn any_key() -> impl Strategy<Value = ServiceKey> {
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)];
    let family = prop_oneof![Just(Family::V4), Just(Family::V6)];
    prop_oneof![
        (protocol, any_address(), 0u16..3).prop_map(|(protocol, address, port)| ServiceKey::Address {
            protocol,
            address,
            port
        }),
        (family, 1u32..4).prop_map(|(family, mark)| ServiceKey::Mark { family, mark }),
    ]
}
fn any_forwarding() -> impl Strategy<Value = Forwarding> {
    let method = prop_oneof![Just(Method::Nat), Just(Method::Direct), Just(Method::Tunnel)];
    let tunnel = prop_oneof![Just(TunnelKind::Ipip), any::<u16>().prop_map(TunnelKind::Gue), Just(TunnelKind::Gre)];
    let sum = prop_oneof![Just(TunnelChecksum::None), Just(TunnelChecksum::Checksum), Just(TunnelChecksum::Remote)];
    (method, tunnel, sum).prop_map(|(method, tunnel, checksum)| Forwarding { method, tunnel, checksum })
}
fn any_picture() -> impl Strategy<Value = Picture> {
    let granularity = prop_oneof![
        Just(Granularity::Host),
        (0u32..=32).prop_map(|bits| Granularity::Mask(u32::MAX.checked_shl(32 - bits).unwrap_or(0))),
        (1u8..=128).prop_map(Granularity::Prefix),
    ];
    let persistence =
        (1u32..400, granularity, proptest::option::of(Just("sip"))).prop_map(|(timeout, granularity, engine)| {
            Persistence { timeout, granularity, engine: engine.map(Into::into) }
        });
    let weight = prop_oneof![Just(0u32), 1u32..5, Just(u32::MAX)];
    let destination = (weight, any_forwarding(), 0u32..5, 0u32..5)
        .prop_map(|(weight, forwarding, upper, lower)| server(weight, forwarding, upper.max(lower), lower));
    (
        prop_oneof![Just("rr"), Just("wlc"), Just("mh")],
        any::<(bool, [bool; 3])>(),
        proptest::option::of(persistence),
        proptest::collection::btree_map((any_address(), 0u16..3), destination, 0..5),
    )
        .prop_map(|(scheduler, (one_packet, flags), persistence, destinations)| Picture {
            scheduler: scheduler.into(),
            flags: SchedulerFlags { one_packet, flags },
            persistence,
            destinations,
        })
}

proptest! {
    #[test]
    fn a_service_is_read_as_it_was_written(key in any_key(), picture in any_picture()) {
        let service = Service::of(key, &picture);
        let message = Message::new_service(key, &service);
        let read = parsed(message.command(), &bytes(&message)).service();
        prop_assert_eq!(read.map(|(key, service, _)| (key, service)), Some((key, service)));
    }

    #[test]
    fn a_destination_is_read_as_it_was_written(key in any_key(), picture in any_picture()) {
        for (place, destination) in &picture.destinations {
            let message = Message::set_destination(key, *place, destination);
            let read = parsed(message.command(), &bytes(&message)).destination(key);
            prop_assert_eq!(read.map(|(place, seen)| (place, seen.destination)), Some((*place, normal(destination))));
        }
    }

    #[test]
    fn a_synchronisation_is_read_as_it_was_written(
        id in any::<u8>(), longest in any::<Option<u16>>(), port in any::<Option<u16>>(), ttl in any::<Option<u8>>(),
        group in proptest::option::of(any_address()), master in any::<bool>(),
    ) {
        let daemon = Daemon { interface: "eth0".into(), id, longest, port, ttl, group };
        let role = if master { SyncRole::Master } else { SyncRole::Backup };
        let message = Message::new_daemon(role, &daemon);
        let read = parsed(message.command(), &bytes(&message)).daemon();
        prop_assert_eq!(read, Some((role, daemon)));
    }

    /// Cut, and with a byte changed: nothing panics, and what is read is read whole.
    #[test]
    fn broken_answers_are_no_answers(
        key in any_key(), picture in any_picture(), cut in any::<prop::sample::Index>(), bit in any::<(prop::sample::Index, u8)>(),
    ) {
        let mut messages = vec![Message::new_service(key, &Service::of(key, &picture))];
        messages.extend(picture.destinations.iter().map(|(place, target)| Message::new_destination(key, *place, target)));
        for message in messages {
            let mut bytes = bytes(&message);
            bytes[bit.0.index(message.buffer_len())] ^= bit.1;
            bytes.truncate(cut.index(message.buffer_len()) + 1);
            let read = parsed(message.command(), &bytes);
            let _ = (read.service(), read.destination(key), read.daemon(), read.timeouts(), read.info());
        }
    }
}

// ---- the plan

/// The kernel's table as it behaves, with the identity of each service and destination: what is deleted and made again
/// has lost its connections.
#[derive(Clone, Debug, Default)]
struct Model {
    seen: Seen,
    made: BTreeMap<(ServiceKey, Option<DestinationKey>), u64>,
    count: u64,
}
impl Model {
    fn holding(tables: &BTreeMap<ServiceKey, Picture>) -> Model {
        let mut model = Model::default();
        let wanted = plan(tables, &model.seen, Rules::default());
        for step in &wanted {
            model.carry_out(step).unwrap();
        }
        model
    }

    fn make(&mut self, key: ServiceKey, place: Option<DestinationKey>) {
        self.count += 1;
        self.made.insert((key, place), self.count);
    }

    /// What the kernel answers: an error number, or nothing.
    fn carry_out(&mut self, step: &Op) -> Result<(), i32> {
        let key = step.service();
        let there = self.seen.services.contains_key(&key);
        match step {
            Op::NewService(..) if there => Err(libc::EEXIST),
            Op::NewService(_, service) => {
                self.seen.services.insert(key, SeenService { service: service.clone(), ..SeenService::default() });
                self.make(key, None);
                Ok(())
            }
            _ if !there => Err(libc::ESRCH),
            Op::SetService(_, service) => {
                self.seen.services.get_mut(&key).unwrap().service = service.clone();
                Ok(())
            }
            Op::DeleteService(_) => {
                self.seen.services.remove(&key);
                self.made.retain(|(service, _), _| *service != key);
                Ok(())
            }
            Op::NewDestination(_, place, destination) | Op::SetDestination(_, place, destination) => {
                if destination.lower_threshold > destination.upper_threshold || destination.weight > i32::MAX as u32 {
                    return Err(libc::ERANGE);
                }
                let known = self.seen.services[&key].destinations.contains_key(place);
                match (matches!(step, Op::NewDestination(..)), known) {
                    (true, true) => return Err(libc::EEXIST),
                    (false, false) => return Err(libc::ENOENT),
                    (true, false) => self.make(key, Some(*place)),
                    (false, true) => {}
                }
                let seen = SeenDestination { destination: *destination, ..SeenDestination::default() };
                self.seen.services.get_mut(&key).unwrap().destinations.insert(*place, seen);
                Ok(())
            }
            Op::DeleteDestination(_, place) => {
                self.made.remove(&(key, Some(*place)));
                let gone = self.seen.services.get_mut(&key).unwrap().destinations.remove(place);
                gone.map(drop).ok_or(libc::ENOENT)
            }
        }
    }

    fn serves(&self, key: &ServiceKey) -> bool {
        let service = self.seen.services.get(key);
        service.is_some_and(|service| service.destinations.values().any(|seen| seen.destination.weight > 0))
    }
}

fn any_table() -> impl Strategy<Value = BTreeMap<ServiceKey, Picture>> {
    proptest::collection::btree_map(any_key(), any_picture(), 0..5)
}

/// As the kernel can hold it.
fn whole(picture: &Picture, key: ServiceKey) -> SeenService {
    let destinations = picture
        .destinations
        .iter()
        .map(|(place, target)| (*place, SeenDestination { destination: normal(target), ..SeenDestination::default() }))
        .collect();
    SeenService { service: Service::of(key, picture), destinations, ..SeenService::default() }
}

proptest! {
    #[test]
    fn a_plan_leads_to_what_is_wanted_and_loses_nothing_on_the_way(
        before in any_table(), wanted in any_table(), ours in proptest::collection::btree_set(any_key(), 0..4), flush in any::<bool>(),
    ) {
        let mut model = Model::holding(&before);
        let start = model.clone();
        let rules = Rules { before: Some(&ours), adopt: true, everything: flush, ..Rules::default() };
        let steps = plan(&wanted, &model.seen, rules);
        for step in &steps {
            prop_assert_eq!(model.carry_out(step), Ok(()), "{:?}", step);
            for key in wanted.keys() {
                let after = wanted[key].destinations.values().any(|target| target.weight > 0);
                prop_assert!(!(start.serves(key) && after) || model.serves(key), "{:?} has no server after {:?}", key, step);
            }
        }
        let mut expected: BTreeMap<_, _> = wanted.iter().map(|(key, picture)| (*key, whole(picture, *key))).collect();
        for (key, service) in &start.seen.services {
            if !flush && !ours.contains(key) {
                expected.entry(*key).or_insert_with(|| service.clone());
            }
        }
        prop_assert_eq!(&model.seen.services, &expected);
        for (key, service) in &start.seen.services {
            if expected.contains_key(key) {
                prop_assert_eq!(start.made.get(&(*key, None)), model.made.get(&(*key, None)), "{:?} was made again", key);
            }
            for place in service.destinations.keys() {
                if expected.get(key).is_some_and(|service| service.destinations.contains_key(place)) {
                    let name = (*key, Some(*place));
                    prop_assert_eq!(start.made.get(&name), model.made.get(&name), "{:?} was made again", name);
                }
            }
        }
        // What is right needs nothing.
        prop_assert_eq!(plan(&wanted, &model.seen, rules), vec![]);
    }

    /// Not even half a plan, as a killed process leaves it, keeps the next one from what it wants.
    #[test]
    fn half_a_plan_is_no_obstacle(before in any_table(), wanted in any_table(), stop in any::<prop::sample::Index>()) {
        let mut model = Model::holding(&before);
        let ours: BTreeSet<ServiceKey> = before.keys().copied().collect();
        let rules = Rules { before: Some(&ours), adopt: true, ..Rules::default() };
        let steps = plan(&wanted, &model.seen, rules);
        for step in steps.iter().take(stop.index(steps.len() + 1)) {
            model.carry_out(step).unwrap();
        }
        for step in plan(&wanted, &model.seen, rules) {
            prop_assert_eq!(model.carry_out(&step), Ok(()));
        }
        let expected: BTreeMap<_, _> = wanted.iter().map(|(key, picture)| (*key, whole(picture, *key))).collect();
        prop_assert_eq!(&model.seen.services, &expected);
    }

    /// What is noted of a step is what the kernel made of it.
    #[test]
    fn a_note_is_what_was_done(before in any_table(), wanted in any_table()) {
        let mut model = Model::holding(&before);
        let mut noted = model.seen.clone();
        let rules = Rules { adopt: true, everything: true, ..Rules::default() };
        for step in plan(&wanted, &model.seen, rules) {
            model.carry_out(&step).unwrap();
            step.note(&mut noted);
        }
        prop_assert_eq!(noted, model.seen);
    }
}

#[test]
fn what_another_program_put_into_our_service_stays_after_the_start() {
    let key = tcp("10.0.0.1", 80);
    let picture = |places: &[&str]| Picture {
        scheduler: "rr".into(),
        flags: SchedulerFlags::default(),
        persistence: None,
        destinations: places.iter().map(|place| ((address(place), 80), server(1, NAT, 0, 0))).collect(),
    };
    let wanted = BTreeMap::from([(key, picture(&["10.1.0.2"]))]);
    let held = Model::holding(&BTreeMap::from([(key, picture(&["10.1.0.2", "10.1.0.3"]))])).seen;
    let seen = Model::holding(&BTreeMap::from([(key, picture(&["10.1.0.2", "10.1.0.3", "10.1.0.4"]))])).seen;
    let rules = Rules { held: Some(&held), ..Rules::default() };
    assert_eq!(plan(&wanted, &seen, rules), [Op::DeleteDestination(key, (address("10.1.0.3"), 80))]);
    let both =
        [Op::DeleteDestination(key, (address("10.1.0.3"), 80)), Op::DeleteDestination(key, (address("10.1.0.4"), 80))];
    assert_eq!(plan(&wanted, &seen, Rules { adopt: true, ..Rules::default() }), both);
}

#[test]
fn a_destination_that_the_kernel_calls_its_own_is_not_set_for_ever() {
    let key = tcp("10.0.0.1", 80);
    let place = (address("127.0.0.1"), 80);
    let direct = way(Method::Direct, TunnelKind::Ipip, TunnelChecksum::None);
    let picture = Picture {
        scheduler: "rr".into(),
        flags: SchedulerFlags::default(),
        persistence: None,
        destinations: BTreeMap::from([(place, server(1, direct, 0, 0))]),
    };
    let mut seen = Model::holding(&BTreeMap::from([(key, picture.clone())])).seen;
    let there = seen.services.get_mut(&key).unwrap().destinations.get_mut(&place).unwrap();
    there.other_method = true;
    there.destination.forwarding = NAT;
    let wanted = BTreeMap::from([(key, picture)]);
    assert_eq!(plan(&wanted, &seen, Rules::default()), []);
    seen.services.get_mut(&key).unwrap().destinations.get_mut(&place).unwrap().destination.weight = 2;
    assert_eq!(plan(&wanted, &seen, Rules::default()).len(), 1);
}

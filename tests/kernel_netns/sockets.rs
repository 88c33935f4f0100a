//! Adverts between two namespaces: what is sent arrives whole, with TTL, interface and destination.

use crate::ground::{Pair, open_all, ready, within};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use vipd::kernel::clock;
use vipd::kernel::namespace;
use vipd::kernel::socket::{SocketSettings, Sockets, heard};
use vipd::kernel::wait::Bell;
use vipd::lab::wire;
use vipd::spec::InstanceId;
use vipd::vrrp::io::{Port, RxMeta, Transmit};
use vipd::wire::{Family, PROTOCOL_VRRP, frames};

const VRRP_V3: [u8; 12] = [0x31, 51, 100, 1, 0, 100, 0, 0, 10, 0, 0, 100];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn port(family: Family, ifindex: u32, group: Option<&str>, local: Option<&str>) -> Port {
    let (group, local) = (group.map(ip), local.map(ip));
    Port { family, ifindex: Some(ifindex), group, local, protocol: PROTOCOL_VRRP }
}

fn datagram(source: Ipv4Addr, destination: Ipv4Addr, ttl: u8, payload: &[u8]) -> Arc<[u8]> {
    let mut bytes = frames::ipv4_header(source, destination, PROTOCOL_VRRP, ttl, 7, payload.len()).to_vec();
    bytes.extend_from_slice(payload);
    bytes.into()
}

/// A pair with an address at each end, and the number of each end's interface.
fn ends(addresses: [IpAddr; 2], prefix: u8) -> (Pair, [u32; 2]) {
    let pair = Pair::new();
    let sides = [&pair.here, &pair.there];
    for (side, address) in sides.into_iter().zip(addresses) {
        wire::add_address(side, "eth0", address, prefix).unwrap();
    }
    let indices = sides.map(|side| wire::index(side, "eth0").unwrap());
    (pair, indices)
}

/// Sockets of the namespace that the test is in, with `ports` open.
fn hearing(ports: Vec<(Port, Vec<InstanceId>)>) -> Sockets {
    let mut sockets = Sockets::new(SocketSettings::default(), Bell::new().unwrap()).unwrap();
    let failed = open_all(&mut sockets, ports);
    assert!(failed.is_empty(), "{failed:?}");
    sockets
}

/// Opens sockets in a namespace and sends from there, on a thread of its own.
fn send_from(namespace: &str, ports: Vec<Port>, transmits: Vec<Transmit>) {
    namespace::inside(namespace, || {
        let mut sockets = Sockets::new(SocketSettings::default(), Bell::new()?)?;
        let ports = ports.into_iter().map(|port| (port, vec![InstanceId(0)])).collect();
        assert!(open_all(&mut sockets, ports).is_empty());
        transmits.iter().try_for_each(|transmit| sockets.send(transmit))
    })
    .unwrap();
}

/// Waits until `count` datagrams are there, and answers what is.
fn hear(sockets: &mut Sockets, count: usize) -> Vec<(Vec<u8>, RxMeta)> {
    let (mut heard, mut all) = (heard(), Vec::new());
    let end = clock::now() + crate::ground::PATIENCE.into();
    while all.len() < count {
        assert!(clock::now() < end, "{all:?} instead of {count} datagrams");
        sockets.wait(end).unwrap();
        sockets.receive(&mut heard, 1_000, true);
        all.extend(heard.in_order().map(|arrival| (arrival.bytes.to_vec(), arrival.meta)));
    }
    all
}

#[test]
fn ipv4_multicast_arrives_with_ttl_interface_and_destination() {
    if !ready("ipv4_multicast") {
        return;
    }
    let (pair, [here, there]) = ends([ip("192.0.2.1"), ip("192.0.2.2")], 24);
    within(&pair.here, async || {
        let mut sockets = hearing(vec![(port(Family::V4, here, Some("224.0.0.18"), None), vec![InstanceId(0)])]);
        let (source, group) = (Ipv4Addr::new(192, 0, 2, 2), Ipv4Addr::new(224, 0, 0, 18));
        let transmit = |ttl, payload: &[u8]| Transmit {
            instance: InstanceId(0),
            ifindex: there,
            source: source.into(),
            destination: group.into(),
            ttl: Some(ttl),
            bytes: datagram(source, group, ttl, payload),
        };
        let mut foreign = VRRP_V3;
        foreign[0] = 0x11;
        // Also what is wrong arrives, in order: it is the engine that counts it by its reason.
        let sent =
            vec![transmit(255, &foreign), transmit(255, &VRRP_V3[..4]), transmit(255, &VRRP_V3), transmit(9, &VRRP_V3)];
        send_from(&pair.there, vec![port(Family::V4, there, Some("224.0.0.18"), None)], sent);

        let heard = hear(&mut sockets, 4);
        let payloads: Vec<&[u8]> = heard.iter().map(|(bytes, _)| &bytes[20..]).collect();
        assert_eq!(payloads, [&foreign[..], &VRRP_V3[..4], &VRRP_V3, &VRRP_V3]);
        let expected = RxMeta { ifindex: here, source: source.into(), destination: group.into(), ttl: Some(255) };
        assert_eq!(heard[2].1, expected);
        assert_eq!(heard[3].1.ttl, Some(9));
    });
}

#[test]
fn ipv6_multicast_arrives_with_its_checksum_made_and_checked_by_the_kernel() {
    if !ready("ipv6_multicast") {
        return;
    }
    let (pair, [here, there]) = ends([ip("fe80::1"), ip("fe80::2")], 64);
    within(&pair.here, async || {
        let mut sockets = hearing(vec![(port(Family::V6, here, Some("ff02::12"), None), vec![InstanceId(0)])]);
        let transmit = Transmit {
            instance: InstanceId(0),
            ifindex: there,
            source: ip("fe80::2"),
            destination: ip("ff02::12"),
            ttl: Some(255),
            bytes: VRRP_V3.to_vec().into(),
        };
        send_from(&pair.there, vec![port(Family::V6, there, Some("ff02::12"), None)], vec![transmit]);
        let heard = hear(&mut sockets, 1);
        let (bytes, meta) = &heard[0];
        assert_eq!(&bytes[..6], &VRRP_V3[..6]);
        assert_ne!(&bytes[6..8], &[0, 0], "the kernel fills the checksum");
        assert_eq!(bytes.len(), VRRP_V3.len());
        let expected = RxMeta { ifindex: here, source: ip("fe80::2"), destination: ip("ff02::12"), ttl: Some(255) };
        assert_eq!(*meta, expected);
    });
}

#[test]
fn unicast_is_told_once_by_the_socket_bound_to_its_destination() {
    if !ready("unicast") {
        return;
    }
    let (pair, [here, there]) = ends([ip("192.0.2.1"), ip("192.0.2.2")], 24);
    within(&pair.here, async || {
        let mut sockets = hearing(vec![
            (port(Family::V4, here, Some("224.0.0.18"), None), vec![InstanceId(0)]),
            (port(Family::V4, here, None, Some("192.0.2.1")), vec![InstanceId(1)]),
            // An address that is not there yet: bound all the same.
            (port(Family::V4, here, None, Some("192.0.2.77")), vec![InstanceId(2)]),
        ]);
        assert_eq!(sockets.len(), 3);
        let (source, to) = (Ipv4Addr::new(192, 0, 2, 2), Ipv4Addr::new(192, 0, 2, 1));
        let transmit = |ttl| Transmit {
            instance: InstanceId(0),
            ifindex: there,
            source: source.into(),
            destination: to.into(),
            ttl: Some(ttl),
            bytes: datagram(source, to, ttl, &VRRP_V3),
        };
        let from = vec![port(Family::V4, there, None, Some("192.0.2.2"))];
        send_from(&pair.there, from, vec![transmit(64), transmit(65)]);
        let heard = hear(&mut sockets, 2);
        let told: Vec<_> = heard.iter().map(|(_, meta)| (meta.destination, meta.ttl)).collect();
        assert_eq!(told, [(to.into(), Some(64)), (to.into(), Some(65))], "none again through another socket");
        // What is gone is closed, what stays is kept.
        assert!(
            open_all(&mut sockets, vec![(port(Family::V4, here, None, Some("192.0.2.1")), vec![InstanceId(1)])])
                .is_empty()
        );
        assert_eq!(sockets.len(), 1);
    });
}

#[test]
fn ports_that_cannot_be_opened_are_named_and_tried_again() {
    if !ready("ports_that_cannot_be_opened") {
        return;
    }
    let pair = Pair::new();
    let here = wire::index(&pair.here, "eth0").unwrap();
    within(&pair.here, async || {
        let mut sockets = Sockets::new(SocketSettings::default(), Bell::new().unwrap()).unwrap();
        let good = port(Family::V4, here, Some("224.0.0.18"), None);
        let bad = port(Family::V4, here + 1000, Some("224.0.0.18"), None);
        for _ in 0..2 {
            let failed =
                open_all(&mut sockets, vec![(bad.clone(), vec![InstanceId(0)]), (good.clone(), vec![InstanceId(1)])]);
            assert_eq!(failed.len(), 1);
            assert_eq!(failed[0].0, bad);
            assert_eq!(sockets.len(), 1);
        }
    });
}

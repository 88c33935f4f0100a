//! Who may speak: every check of a received advert, its counter, and that a refused advert changes nothing.

use crate::harness::*;
use std::sync::Arc;
use vipd::spec::*;
use vipd::time::{Interval, Time};
use vipd::vrrp::io::*;
use vipd::vrrp::overhear::Bystander;
use vipd::vrrp::snapshot::Counters;
use vipd::wire::checksum::ChecksumRule;
use vipd::wire::{Version, Vrid, frames};

/// What `voice` says, with a checksum by `rule`.
fn summed(voice: &Voice, rule: ChecksumRule) -> Vec<u8> {
    let mut packet = voice.packet();
    packet[6..8].fill(0);
    let sum = rule.over(&packet).to_be_bytes();
    packet[6..8].copy_from_slice(&sum);
    packet
}

/// Everything that an advert could have changed, counters apart.
fn standing(bench: &Bench) -> (Role, Interval, Option<(Time, Wake)>, String) {
    let view = bench.view(0);
    (view.state, view.master_interval, bench.engine.deadline(), format!("{:?}", view.master))
}

/// Gives `bytes` to a backup and to a master of `spec`, and wants them refused.
fn refused(what: &str, of: &InstanceSpec, meta: RxMeta, bytes: &[u8], why: Refusal, counter: fn(&Counters) -> u64) {
    for master in [false, true] {
        let mut bench = Bench::new(spec(vec![of.clone()]));
        if master {
            bench.until(at(4000));
            assert_eq!(bench.role(0), Role::Master);
        }
        bench.take();
        let before = standing(&bench);
        bench.hear_bytes(meta, bytes);
        assert_eq!(standing(&bench), before, "{what}, master {master}");
        let counters = bench.view(0).counters;
        assert_eq!(counters.refused.get(&why), Some(&1), "{what}: {:?}", counters.refused);
        assert_eq!(counter(&counters), 1, "{what}");
        let actions = bench.take();
        assert!(
            matches!(&actions[..], [Action::Report(Event::Refused { instance: Some(InstanceId(0)), why: told, .. })] if *told == why),
            "{what}: {actions:?}"
        );
        // Told once only.
        bench.hear_bytes(meta, bytes);
        assert_eq!(bench.take(), [], "{what}");
        assert_eq!(bench.view(0).counters.refused[&why], 2, "{what}");
    }
}

fn uncounted(_: &Counters) -> u64 {
    1
}

#[test]
fn every_check_in_turn() {
    let three = instance(1, 100);
    let two = v2(1, 100);
    let pass = InstanceSpec { auth: Auth::Pass(*b"secret\0\0"), ..v2(1, 100) };
    let good = |of: &InstanceSpec| Voice::of(of, "10.0.0.2", 200);
    let with = |of: &InstanceSpec, change: &dyn Fn(&mut Voice)| {
        let mut voice = good(of);
        change(&mut voice);
        voice
    };
    let table: Vec<(&str, &InstanceSpec, Voice, Refusal, fn(&Counters) -> u64)> = vec![
        ("TTL", &three, with(&three, &|v| v.ttl = 254), Refusal::Ttl, |c| c.ip_ttl_err),
        ("version 2 at 3", &three, with(&three, &|v| v.version = Version::V2), Refusal::Version, uncounted),
        ("version 3 at 2", &two, with(&two, &|v| v.version = Version::V3), Refusal::Version, uncounted),
        ("auth type 3", &two, with(&two, &|v| v.auth_type = 3), Refusal::AuthTypeInvalid, |c| c.invalid_authtype),
        ("PASS at none", &two, with(&two, &|v| v.auth_type = 1), Refusal::AuthTypeMismatch, |c| c.authtype_mismatch),
        ("none at PASS", &pass, good(&pass), Refusal::AuthTypeMismatch, |c| c.authtype_mismatch),
        (
            "wrong password",
            &pass,
            with(&pass, &|v| (v.auth_type, v.password) = (1, *b"secrets\0")),
            Refusal::AuthFailure,
            |c| c.auth_failure,
        ),
        ("interval", &two, with(&two, &|v| v.interval = ms(2000)), Refusal::AdvertInterval, |c| c.advert_interval_err),
        ("no interval", &three, with(&three, &|v| v.interval = ms(0)), Refusal::AdvertInterval, |c| {
            c.advert_interval_err
        }),
        ("unicast", &three, with(&three, &|v| v.to = ip("10.0.0.1")), Refusal::Destination, |c| c.addr_list_err),
    ];
    for (what, of, voice, why, counter) in &table {
        refused(what, of, voice.meta(), &voice.datagram(), *why, *counter);
    }
    for of in [&three, &two] {
        let voice = good(of);
        let mut wrong = voice.packet();
        wrong[6] ^= 1;
        refused("checksum", of, voice.meta(), &voice.wrap(&wrong), Refusal::Checksum, uncounted);
        let mut short = voice.packet();
        short.truncate(short.len() - 1);
        refused("short", of, voice.meta(), &voice.wrap(&short), Refusal::Length, |c| c.packet_len_err);
        let mut long = voice.packet();
        long.extend_from_slice(&[0; 4]);
        refused("long", of, voice.meta(), &voice.wrap(&long), Refusal::Length, |c| c.packet_len_err);
        let mut kind = voice.packet();
        kind[0] = kind[0] & 0xF0 | 2;
        refused("type", of, voice.meta(), &voice.wrap(&kind), Refusal::Type, |c| c.invalid_type_rcvd);
        let mut version = voice.packet();
        version[0] = 0x41;
        refused("version 4", of, voice.meta(), &voice.wrap(&version), Refusal::Version, uncounted);
        let mut total = voice.datagram();
        total[3] += 4;
        refused("total length", of, voice.meta(), &total, Refusal::Length, |c| c.packet_len_err);
    }
    let owner = InstanceSpec { owner_ignore_adverts: true, ..instance(1, 255) };
    let mut bench = Bench::new(spec(vec![owner.clone()]));
    bench.hear(&Voice::of(&owner, "10.0.0.2", 255));
    assert_eq!((bench.role(0), bench.view(0).counters.refused[&Refusal::OwnerIgnores]), (Role::Master, 1));
}

#[test]
fn ethernet_padding_is_not_an_error() {
    // IPv4 20 + 8 + 4 = 32 for version 3 with one address: a frame is filled up by 14; two VLAN tags leave 6.
    for (padding, accepted) in [(14, 1), (10, 1), (6, 1), (2, 1), (12, 0), (4, 0), (1, 0)] {
        let mut bench = Bench::new(spec(vec![instance(1, 100)]));
        let voice = Voice::of(&instance(1, 100), "10.0.0.2", 200);
        let mut bytes = voice.datagram();
        bytes.extend(std::iter::repeat_n(0, padding));
        bench.hear_bytes(voice.meta(), &bytes);
        assert_eq!(bench.view(0).counters.advert_rcvd, accepted, "{padding} bytes of padding");
    }
}

#[test]
fn strays_are_counted_and_told_with_measure() {
    let mut all = spec(vec![instance(1, 100)]);
    all.log_unknown_vrids = true;
    let mut bench = Bench::new(all);
    bench.take();
    let voice = Voice { addresses: vec![ip("10.0.0.99")], ..Voice::of(&instance(9, 100), "10.0.0.2", 200) };
    for _ in 0..5 {
        bench.hear(&voice);
    }
    bench.hear_bytes(voice.meta(), &[]);
    bench.hear_bytes(voice.meta(), &[0x45; 19]);
    let told: Vec<_> = events(&bench.take());
    let of = |why, vrid| Event::Refused { instance: None, from: voice.from, ifindex: ETH0, vrid, why };
    assert_eq!(told, [of(Refusal::UnknownVrid, Vrid::new(9)), of(Refusal::Truncated, None)]);
    let refused = bench.engine.snapshot(bench.now).refused;
    assert_eq!((refused[&Refusal::UnknownVrid], refused[&Refusal::Truncated]), (5, 2));
    // Another interface has another VRID 1.
    let mut elsewhere = Voice::of(&instance(1, 100), "10.1.0.2", 200);
    elsewhere.ifindex = ETH1;
    bench.hear(&elsewhere);
    assert_eq!(bench.view(0).counters, Counters::default());
}

#[test]
fn address_lists_are_compared_and_the_advert_still_counts() {
    let of = InstanceSpec { claim: claim(&["10.0.0.100", "10.0.0.101"]), ..instance(1, 100) };
    let lists: [(&[&str], u64); 5] = [
        (&["10.0.0.100", "10.0.0.101"], 0),
        (&["10.0.0.101", "10.0.0.100"], 0),
        (&["10.0.0.100"], 1),
        (&["10.0.0.100", "10.0.0.102"], 1),
        (&["10.0.0.100", "10.0.0.101", "10.0.0.102"], 1),
    ];
    for (list, errors) in lists {
        let mut bench = Bench::new(spec(vec![of.clone()]));
        bench.take();
        let mut voice = Voice::of(&of, "10.0.0.2", 200);
        voice.addresses = list.iter().map(|text| ip(text)).collect();
        bench.hear(&voice);
        bench.hear(&voice);
        let counters = bench.view(0).counters;
        assert_eq!((counters.advert_rcvd, counters.addr_list_err), (2, errors * 2), "{list:?}");
        assert_eq!(bench.take().len() as u64, errors, "told once");
    }
    // With skip_check_adv_addr a known sender's addresses are not looked at, their number still is.
    let skipping = InstanceSpec { skip_check_adv_addr: true, ..of.clone() };
    let mut bench = Bench::new(spec(vec![skipping.clone()]));
    let mut voice = Voice::of(&skipping, "10.0.0.2", 200);
    voice.addresses = vec![ip("10.0.0.100"), ip("10.0.0.102")];
    bench.hear(&voice);
    bench.hear(&voice);
    assert_eq!(bench.view(0).counters.addr_list_err, 1);
    voice.from = ip("10.0.0.3");
    bench.hear(&voice);
    assert_eq!(bench.view(0).counters.addr_list_err, 2);
}

/// Two installations on one segment that happen to have one VRID: each keeps its own addresses, as with keepalived 2.2.7.
#[test]
fn an_advert_of_another_installation_does_not_count() {
    let two = InstanceSpec { claim: claim(&["10.0.0.100", "10.0.0.101"]), ..v2(1, 100) };
    let six = InstanceSpec { claim: claim(&["fe80::100", "2001:db8::100"]), ..v6(1, 100) };
    let three = InstanceSpec { claim: two.claim.clone(), ..instance(1, 100) };
    let stubborn = InstanceSpec { preempt: false, ..two.clone() };
    let foreign: &[&str] = &["10.0.0.102", "10.0.0.103"];
    for (of, from, list) in [
        (&two, "10.0.0.2", foreign),
        (&two, "10.0.0.2", &["10.0.0.102"]),
        (&three, "10.0.0.2", foreign),
        (&stubborn, "10.0.0.2", foreign),
        (&six, "fe80::2", &["fe80::102", "2001:db8::102"]),
    ] {
        for priority in [0, 50, 200, 255] {
            let mut voice = Voice::of(of, from, priority);
            voice.addresses = list.iter().map(|text| ip(text)).collect();
            refused("foreign", of, voice.meta(), &voice.datagram(), Refusal::Foreign, |c| c.addr_list_err);
        }
    }
}

/// Where both being MASTER could put one thing on two servers, or nothing can be said, the advert counts as ever.
#[test]
fn an_advert_that_may_be_of_the_same_installation_counts() {
    let foreign = || vec![ip("10.0.0.102")];
    let of = v2(1, 100);
    let mut hidden = (*claim(&["10.0.0.100", "10.0.0.110"])).clone();
    hidden.advertised = 1;
    let skipping = InstanceSpec { skip_check_adv_addr: true, ..of.clone() };
    let crossed = InstanceSpec { vrid: vrid(2), claim: claim(&["10.0.0.102"]), ..of.clone() };
    let rows: Vec<(&str, Spec, Vec<std::net::IpAddr>)> = vec![
        ("one in common", spec(vec![of.clone()]), vec![ip("10.0.0.102"), ip("10.0.0.100")]),
        ("no list", spec(vec![of.clone()]), Vec::new()),
        ("no list here", spec(vec![InstanceSpec { claim: claim(&[]), ..of.clone() }]), foreign()),
        ("excluded", spec(vec![InstanceSpec { claim: std::sync::Arc::new(hidden), ..of.clone() }]), foreign()),
        ("another instance's", spec(vec![of.clone(), crossed]), foreign()),
    ];
    for (what, all, list) in rows {
        let mut bench = Bench::new(all);
        let mut voice = Voice::of(&of, "10.0.0.2", 200);
        voice.addresses = list;
        bench.hear(&voice);
        assert_eq!(bench.view(0).counters.refused, std::collections::BTreeMap::new(), "{what}");
        assert_eq!(bench.view(0).master.unwrap().address, Some(ip("10.0.0.2")), "{what}");
    }
    // One hardware address on two ports; an ipvlan has that of the interface below it.
    let vmac = VirtualLink::Vmac {
        name: None,
        prefix: "".into(),
        mac: [0, 0, 0x5e, 0, 1, 1],
        netlink_notify: false,
        group: None,
    };
    let ipvlan =
        VirtualLink::Ipvlan { name: None, prefix: "".into(), address: None, mode: IpvlanMode::default(), group: None };
    for (link, apart) in [(vmac, false), (ipvlan, true)] {
        let through = InstanceSpec { virtual_link: Some(link), ..of.clone() };
        assert_eq!(through.is_foreign(foreign().into_iter(), |_| false), apart);
    }
    let mut lines = (*of.claim).clone();
    lines.addresses[0].use_vmac = true;
    let on_vmac = InstanceSpec { claim: std::sync::Arc::new(lines), ..of.clone() };
    assert!(!on_vmac.is_foreign(foreign().into_iter(), |_| false), "an address on a VMAC of its own");
    let named = unicast(1, 100, &["10.0.0.2"]);
    assert!(!named.is_foreign(foreign().into_iter(), |_| false), "a server that is named here");
    // Who is MASTER already is not looked at with skip_check_adv_addr, however long its list has become.
    let mut bench = Bench::new(spec(vec![skipping.clone()]));
    let mut voice = Voice::of(&skipping, "10.0.0.2", 200);
    bench.hear(&voice);
    for list in [foreign(), vec![ip("10.0.0.102"), ip("10.0.0.103")]] {
        voice.addresses = list;
        for _ in 0..6 {
            bench.wait(ms(1000));
            bench.hear(&voice);
        }
        assert_eq!(bench.role(0), Role::Backup);
    }
    voice.from = ip("10.0.0.3");
    bench.hear(&voice);
    assert_eq!(bench.view(0).counters.refused[&Refusal::Foreign], 1);
}

/// Lists are replaced on one server after the other: nobody becomes MASTER in between.
#[test]
fn a_master_that_was_followed_is_followed_whatever_its_list_has_become() {
    let of = v2(1, 100);
    let changed = InstanceSpec { claim: claim(&["10.0.0.102"]), ..of.clone() };
    // The master is reloaded first, or this one.
    for own_first in [false, true] {
        let mut bench = Bench::new(spec(vec![of.clone()]));
        let mut voice = Voice::of(&of, "10.0.0.2", 200);
        bench.hear(&voice);
        if own_first {
            bench.reload(spec(vec![changed.clone()]));
        } else {
            voice.addresses = vec![ip("10.0.0.102")];
        }
        for _ in 0..6 {
            bench.wait(ms(1000));
            bench.hear(&voice);
        }
        assert_eq!(bench.role(0), Role::Backup, "{own_first}");
        assert!(bench.view(0).master.unwrap().addresses_differ, "{own_first}");
        // Of somebody else nothing is known.
        let theirs = Voice { addresses: vec![ip("10.0.0.110")], ..Voice::of(&of, "10.0.0.3", 250) };
        bench.hear(&theirs);
        assert_eq!(bench.view(0).counters.refused[&Refusal::Foreign], 1, "{own_first}");
    }
    // So says whoever looks on from beside.
    let mut bystander = Bystander::new(Arc::new(spec(vec![of.clone()])));
    let mut judge = |voice: &Voice| {
        let verdict = bystander.judge(None, voice.meta(), &voice.wrap(&voice.packet()), 0);
        (verdict.refused, verdict.addresses_differ)
    };
    let mut voice = Voice::of(&of, "10.0.0.2", 200);
    assert_eq!(judge(&voice), (None, false));
    voice.addresses = vec![ip("10.0.0.102")];
    assert_eq!(judge(&voice), (None, true));
    voice.from = ip("10.0.0.3");
    assert_eq!(judge(&voice), (Some(Refusal::Foreign), false));
}

#[test]
fn both_checksums_of_version_3_are_taken() {
    let of = instance(1, 100);
    let peer = unicast(1, 100, &["10.0.0.2"]);
    let never =
        InstanceSpec { checksum: Checksum { old_unicast: OldUnicast::Never, ..Checksum::default() }, ..peer.clone() };
    let rules = |voice: &Voice| {
        [
            ("plain", ChecksumRule::Plain),
            ("pseudo", ChecksumRule::pseudo(voice.from, voice.to)),
            ("old", ChecksumRule::old_unicast(voice.from)),
        ]
    };
    for (label, of, old_is_taken) in [("multicast", &of, true), ("unicast", &peer, true), ("never", &never, false)] {
        let voice = Voice::of(of, "10.0.0.2", 200);
        for (rule_label, rule) in rules(&voice) {
            let packet = summed(&voice, rule);
            let mut bench = Bench::new(spec(vec![of.clone()]));
            bench.hear_bytes(voice.meta(), &voice.wrap(&packet));
            let taken = u64::from(rule_label != "old" || old_is_taken);
            assert_eq!(bench.view(0).counters.advert_rcvd, taken, "{label} {rule_label}");
        }
    }
}

#[test]
fn an_old_peer_is_answered_in_its_own_way() {
    let mut of = unicast(1, 100, &["10.0.0.2", "10.0.0.3"]);
    of.source = Some(ip("10.0.0.1"));
    let voice = Voice::of(&of, "10.0.0.2", 200);
    let mut packet = voice.packet();
    packet[6..8].fill(0);
    let sum = ChecksumRule::old_unicast(voice.from).over(&packet).to_be_bytes();
    packet[6..8].copy_from_slice(&sum);
    let mut bench = Bench::new(spec(vec![of]));
    bench.hear_bytes(voice.meta(), &voice.wrap(&packet));
    bench.wait(ms(4000));
    let mut seen = 0;
    for action in bench.take() {
        let Action::Transmit(sent) = action else { continue };
        let payload = frames::ipv4(&sent.bytes).unwrap().payload;
        let old = sent.destination == ip("10.0.0.2");
        let rule = if old {
            ChecksumRule::old_unicast(sent.source)
        } else {
            ChecksumRule::pseudo(sent.source, sent.destination)
        };
        assert!(rule.holds(payload), "to {}", sent.destination);
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn version_3_without_pseudo_header_when_asked() {
    let of = InstanceSpec { checksum: Checksum { v3_as_v2: true, ..Checksum::default() }, ..instance(1, 100) };
    let mut bench = Bench::new(spec(vec![of]));
    bench.until(at(4000));
    let sent =
        bench.take().into_iter().find_map(|action| if let Action::Transmit(t) = action { Some(t) } else { None });
    assert!(ChecksumRule::Plain.holds(frames::ipv4(&sent.unwrap().bytes).unwrap().payload));
}

#[test]
fn unicast_peers_and_their_ttl() {
    let mut of = unicast(1, 100, &["10.0.0.2", "10.0.0.3"]);
    let rcvd = |of: &InstanceSpec, from: &str, ttl: u8| {
        let mut bench = Bench::new(spec(vec![of.clone()]));
        let mut voice = Voice::of(of, from, 200);
        voice.ttl = ttl;
        bench.wait(ms(1000));
        let before = bench.engine.deadline();
        bench.hear(&voice);
        let counters = bench.view(0).counters;
        let accepted = bench.engine.deadline() != before;
        (accepted, counters.ip_ttl_err, counters.refused.get(&Refusal::UnknownPeer).copied().unwrap_or(0))
    };
    // Without checking anybody may speak, with any TTL.
    assert_eq!(rcvd(&of, "10.0.0.9", 3), (true, 0, 0));
    if let Transport::Unicast { peers, check_source, .. } = &mut of.transport {
        *check_source = true;
        (peers[0].min_ttl, peers[0].max_ttl) = (250, 254);
    }
    assert_eq!(rcvd(&of, "10.0.0.9", 255), (false, 0, 1));
    assert_eq!(rcvd(&of, "10.0.0.2", 252), (true, 0, 0));
    assert_eq!(rcvd(&of, "10.0.0.2", 255), (false, 1, 0));
    assert_eq!(rcvd(&of, "10.0.0.2", 249), (false, 1, 0));
    assert_eq!(rcvd(&of, "10.0.0.3", 1), (true, 0, 0));
}

/// Every server has the list of all.
#[test]
fn an_own_address_among_the_peers_is_nobody() {
    let of = unicast(1, 100, &["10.0.0.1", "10.0.0.2"]);
    let mut bench = Bench::as_master(spec(vec![of.clone()]));
    bench.wait(ms(1000));
    let to = bench.take().into_iter().filter_map(|action| match action {
        Action::Transmit(sent) => Some(sent.destination),
        _ => None,
    });
    assert_eq!(to.collect::<Vec<_>>(), [ip("10.0.0.2")]);
    // By way of another own address: sent before something changed, and as a goodbye.
    for (priority, peer) in [(100, "10.0.0.3"), (200, "10.0.0.3"), (0, "10.0.0.3")] {
        let of = unicast(1, 100, &[peer, "10.0.0.2"]);
        let mut bench = Bench::as_master(spec(vec![of.clone()]));
        let own = Voice { to: ip(peer), ..Voice::of(&of, "10.0.0.1", priority) };
        for _ in 0..20 {
            bench.hear(&own);
            bench.wait(ms(1000));
        }
        let said = words(&bench.take());
        assert!(
            said.iter().all(|word| word == "advert 100" || word.starts_with("announce")),
            "{priority} to {peer}: {said:?}"
        );
        assert_eq!((bench.role(0), bench.view(0).counters.advert_rcvd), (Role::Master, 0));
    }
    let other = unicast(1, 100, &["10.0.0.3", "10.0.0.2"]);
    let mut bench = Bench::new(spec(vec![other.clone()]));
    bench.wait(ms(1000));
    let before = bench.engine.deadline();
    bench.hear(&Voice { to: ip("10.0.0.3"), ..Voice::of(&other, "10.0.0.1", 0) });
    assert_eq!(bench.engine.deadline(), before);
    // Nothing is sent from an address to itself: somebody else has this server's address, and that is worth a word.
    for peers in [&["10.0.0.2"][..], &["10.0.0.1", "10.0.0.2"]] {
        let of = unicast(1, 100, peers);
        let mut bench = Bench::as_master(spec(vec![of.clone()]));
        bench.hear(&Voice { to: ip("10.0.0.1"), ..Voice::of(&of, "10.0.0.1", 100) });
        assert!(words(&bench.take()).contains(&"RivalMaster".to_owned()), "{peers:?}");
    }
}

#[test]
fn one_vrid_several_instances_told_apart() {
    let all = vec![
        instance(1, 100),
        unicast(1, 100, &["10.0.0.2"]),
        unicast(1, 100, &["10.0.0.3"]),
        InstanceSpec { transport: Transport::Multicast { group: ip("224.0.0.77") }, ..instance(1, 100) },
    ];
    let mut bench = Bench::new(spec(all.clone()));
    let heard = |bench: &Bench| -> Vec<u64> { (0..4).map(|index| bench.view(index).counters.advert_rcvd).collect() };
    bench.hear(&Voice::of(&all[0], "10.0.0.2", 200));
    assert_eq!(heard(&bench), [1, 0, 0, 0]);
    bench.hear(&Voice::of(&all[1], "10.0.0.2", 200));
    bench.hear(&Voice::of(&all[2], "10.0.0.3", 200));
    bench.hear(&Voice::of(&all[3], "10.0.0.3", 200));
    assert_eq!(heard(&bench), [1, 1, 1, 1]);
}

#[test]
fn unicast_without_an_interface() {
    let mut of = unicast(1, 100, &["10.0.0.2"]);
    (of.interface, of.source) = (None, Some(ip("192.0.2.1")));
    let mut bench = Bench::on(spec(vec![of.clone()]), vec![link(77, "eth7", &["192.0.2.1"])]);
    let ports = bench.engine.ports();
    assert_eq!((ports[0].0.ifindex, ports[0].0.local), (None, Some(ip("192.0.2.1"))));
    let mut voice = Voice::of(&of, "10.0.0.2", 50);
    voice.ifindex = 77;
    bench.hear(&voice);
    assert_eq!(bench.view(0).counters.advert_rcvd, 1);
    bench.until(at(4000));
    assert_eq!(bench.role(0), Role::Master);
}

#[test]
fn the_old_style_sums_over_the_configured_group() {
    let group = "239.1.2.3".parse().unwrap();
    let mut of = unicast(1, 100, &["10.0.0.2"]);
    of.source = Some(ip("10.0.0.1"));
    of.checksum.old_group = Some(group);
    let own = ChecksumRule::Pseudo { source: ip("10.0.0.2"), destination: group.into() };
    for (rule, taken) in [(own, 1), (ChecksumRule::old_unicast(ip("10.0.0.2")), 0)] {
        let voice = Voice::of(&of, "10.0.0.2", 50);
        let packet = summed(&voice, rule);
        let mut bench = Bench::new(spec(vec![of.clone()]));
        bench.hear_bytes(voice.meta(), &voice.wrap(&packet));
        assert_eq!(bench.view(0).counters.advert_rcvd, taken, "{rule:?}");
        bench.wait(ms(4000));
        let sent = bench.take().into_iter().find_map(|a| if let Action::Transmit(t) = a { Some(t) } else { None });
        let sent = sent.unwrap();
        let answered = ChecksumRule::Pseudo { source: sent.source, destination: group.into() };
        let holds = answered.holds(frames::ipv4(&sent.bytes).unwrap().payload);
        assert_eq!(holds, taken == 1, "answered in kind");
    }
}

/// With `v3_checksum_as_v2` keepalived looks at no checksum at all.
#[test]
fn v3_checksum_as_v2_takes_either_sum_and_no_other() {
    let of = InstanceSpec { checksum: Checksum { v3_as_v2: true, ..Checksum::default() }, ..instance(1, 100) };
    let voice = Voice::of(&of, "10.0.0.2", 200);
    let pseudo = ChecksumRule::pseudo(voice.from, voice.to);
    for (rule, flaw, taken) in [(ChecksumRule::Plain, 0, 1), (pseudo, 0, 1), (ChecksumRule::Plain, 1, 0)] {
        let mut packet = voice.packet();
        packet[6..8].fill(0);
        let sum = (rule.over(&packet) ^ flaw).to_be_bytes();
        packet[6..8].copy_from_slice(&sum);
        let mut bench = Bench::new(spec(vec![of.clone()]));
        bench.hear_bytes(voice.meta(), &voice.wrap(&packet));
        assert_eq!(bench.view(0).counters.advert_rcvd, taken, "{rule:?} {flaw}");
    }
}

//! Interfaces that come, go, flap, are renamed and made anew; source addresses; virtual links.

use crate::harness::*;
use vipd::spec::*;
use vipd::time::Interval;
use vipd::vrrp::io::*;
use vipd::wire::Family;

fn gone(index: u32, text: &str, prefix: u8) -> Input<'static> {
    Input::Link(LinkFact::AddressGone { index, address: ip(text), prefix })
}

#[test]
fn a_link_goes_down_and_up_again() {
    let mut bench = Bench::as_master(spec(vec![instance(1, 100)]));
    let mut eth0 = links()[0].clone();
    eth0.running = false;
    bench.give(Input::Link(LinkFact::Changed(eth0.clone())));
    assert_eq!(words(&bench.take()), ["LinkChanged", "advert 0", "disown 0", "FAULT"]);
    assert_eq!(bench.engine.deadline(), None);
    eth0.running = true;
    bench.give(Input::Link(LinkFact::Changed(eth0)));
    assert_eq!(words(&bench.take()), ["LinkChanged", "BACKUP"]);
    assert_eq!(bench.view(0).next.unwrap().at, bench.now + Interval::from_micros(3_609_375));
    assert_eq!(bench.view(0).why, Cause::Recovered);
}

#[test]
fn a_dump_is_the_whole_truth() {
    let mut bench = Bench::as_master(spec(vec![instance(1, 100)]));
    bench.give(Input::Link(LinkFact::Dump(Vec::new())));
    assert_eq!(bench.view(0).faults, [Fault::InterfaceMissing(name("eth0"))]);
    bench.give(Input::Link(LinkFact::Dump(links())));
    assert_eq!(bench.role(0), Role::Backup);
    bench.take();
    bench.give(Input::Link(LinkFact::Dump(links())));
    assert_eq!(bench.take(), []);
}

#[test]
fn absent_late_renamed_and_made_anew() {
    let mut bench = Bench::on(spec(vec![instance(1, 100)]), Vec::new());
    assert_eq!(bench.view(0).faults, [Fault::InterfaceMissing(name("eth0"))]);
    assert!(bench.engine.ports().is_empty());
    bench.give(Input::Link(LinkFact::Changed(link(9, "eth9", &[]))));
    assert_eq!(bench.role(0), Role::Fault);
    // Renamed to what is wanted; its address comes later.
    bench.give(Input::Link(LinkFact::Changed(link(9, "eth0", &[]))));
    assert_eq!(bench.view(0).faults, [Fault::NoSourceAddress]);
    bench.give(Input::Link(LinkFact::Address { index: 9, address: address("10.0.0.1", 24) }));
    assert_eq!(bench.role(0), Role::Backup);
    assert_eq!(bench.engine.ports()[0].0.ifindex, Some(9));
    bench.wait(ms(4000));
    assert_eq!(bench.role(0), Role::Master);
    bench.take();
    // Made anew under another index, without its going having been told.
    bench.give(Input::Link(LinkFact::Changed(link(12, "eth0", &["10.0.0.1"]))));
    let mut voice = Voice::of(&instance(1, 100), "10.0.0.2", 200);
    voice.ifindex = 9;
    bench.hear(&voice);
    assert_eq!(bench.view(0).counters.advert_rcvd, 0);
    voice.ifindex = 12;
    bench.hear(&voice);
    assert_eq!(bench.view(0).counters.advert_rcvd, 1);
    // Renamed away.
    bench.give(Input::Link(LinkFact::Changed(link(12, "other", &[]))));
    assert_eq!(bench.view(0).faults, [Fault::InterfaceMissing(name("eth0"))]);
}

#[test]
fn the_source_address() {
    let mut bench = Bench::on(spec(vec![instance(1, 100)]), vec![link(ETH0, "eth0", &["10.0.0.1", "10.0.0.7"])]);
    let source = |bench: &Bench| bench.view(0).source;
    assert_eq!(source(&bench), Some(ip("10.0.0.1")));
    bench.wait(ms(4000));
    // Our own virtual address is nobody's source, before or after.
    bench.give(Input::Link(LinkFact::Address { index: ETH0, address: address("10.0.0.100", 32) }));
    bench.give(gone(ETH0, "10.0.0.1", 24));
    assert_eq!((source(&bench), bench.role(0)), (Some(ip("10.0.0.7")), Role::Master));
    bench.take();
    bench.wait(ms(1000));
    let from = bench
        .take()
        .into_iter()
        .find_map(|action| if let Action::Transmit(t) = action { Some(t.source) } else { None });
    assert_eq!(from, Some(ip("10.0.0.7")));
    bench.give(gone(ETH0, "10.0.0.7", 24));
    assert_eq!(bench.view(0).faults, [Fault::NoSourceAddress]);
    bench.give(Input::Link(LinkFact::Address { index: ETH0, address: address("10.0.0.8", 24) }));
    assert_eq!((source(&bench), bench.role(0)), (Some(ip("10.0.0.8")), Role::Backup));
}

/// keepalived looks for its source before it sets static addresses; the kernel lists those of link scope first.
#[test]
fn a_static_address_of_the_configuration_is_the_last_choice_of_a_source() {
    let with_static = || {
        let mut of = spec(vec![instance(1, 100)]);
        of.statics.addresses.push(VirtualAddress::plain(ip("192.0.2.16"), 32));
        of
    };
    let bench = Bench::on(with_static(), vec![link(ETH0, "eth0", &["192.0.2.16", "10.0.0.1"])]);
    assert_eq!(bench.view(0).source, Some(ip("10.0.0.1")));
    let bench = Bench::on(with_static(), vec![link(ETH0, "eth0", &["192.0.2.16"])]);
    assert_eq!(bench.view(0).source, Some(ip("192.0.2.16")), "where there is no other");
}

#[test]
fn an_owner_s_virtual_address_is_its_source() {
    let mut owner = instance(1, 255);
    owner.claim = claim(&["10.0.0.1"]);
    let bench = Bench::on(spec(vec![owner]), vec![link(ETH0, "eth0", &["10.0.0.1"])]);
    assert_eq!((bench.role(0), bench.view(0).source), (Role::Master, Some(ip("10.0.0.1"))));
}

#[test]
fn an_address_that_somebody_else_has_as_well_is_no_source() {
    let mut eth0 = link(ETH0, "eth0", &["2001:db8::1", "fe80::1"]);
    eth0.addresses[1].usable = false;
    let mut bench = Bench::on(spec(vec![v6(1, 100)]), vec![eth0]);
    assert_eq!(bench.view(0).faults, [Fault::NoSourceAddress], "and a global one does not do");
    bench.give(Input::Link(LinkFact::Address { index: ETH0, address: address("fe80::1", 64) }));
    assert_eq!((bench.role(0), bench.view(0).source), (Role::Backup, Some(ip("fe80::1"))));
}

fn tentative(text: &str, prefix: u8) -> LinkAddress {
    LinkAddress { usable: false, tentative: true, ..address(text, prefix) }
}

/// keepalived knows no tentative addresses: at a start of the machine it is a backup before the kernel has come to an end with
/// them, and no notify program hears of a fault.
#[test]
fn a_backup_waits_for_its_tentative_address_before_it_takes_over() {
    let mut eth0 = link(ETH0, "eth0", &["2001:db8::1"]);
    eth0.addresses.push(tentative("fe80::1", 64));
    let mut bench = Bench::on(spec(vec![v6(1, 100)]), vec![eth0.clone()]);
    assert_eq!((bench.role(0), bench.view(0).source), (Role::Backup, Some(ip("fe80::1"))));
    bench.until(at(9_000));
    assert_eq!(bench.role(0), Role::Backup, "whoever cannot speak is no master");
    bench.give(Input::Link(LinkFact::Address { index: ETH0, address: address("fe80::1", 64) }));
    bench.until(at(9_001));
    assert_eq!(bench.role(0), Role::Master, "its patience had ended");

    // Somebody else has the address.
    let mut bench = Bench::on(spec(vec![v6(1, 100)]), vec![eth0.clone()]);
    let failed = LinkAddress { tentative: false, ..tentative("fe80::1", 64) };
    bench.give(Input::Link(LinkFact::Address { index: ETH0, address: failed }));
    assert_eq!(bench.view(0).faults, [Fault::NoSourceAddress]);

    // An owner speaks at once, from what it owns.
    let bench = Bench::on(spec(vec![v6(1, 255)]), vec![eth0.clone()]);
    assert_eq!((bench.role(0), bench.view(0).source), (Role::Master, Some(ip("fe80::100"))));

    // A usable one is better, wherever it stands in the list.
    eth0.addresses.push(address("fe80::2", 64));
    let bench = Bench::on(spec(vec![v6(1, 100)]), vec![eth0]);
    assert_eq!((bench.role(0), bench.view(0).source), (Role::Backup, Some(ip("fe80::2"))));
}

#[test]
fn a_tracked_source_has_to_be_somewhere() {
    let mut of = instance(1, 100);
    (of.source, of.track_source) = (Some(ip("10.1.0.1")), true);
    let mut bench = Bench::new(spec(vec![of.clone()]));
    assert_eq!(bench.role(0), Role::Backup);
    bench.give(gone(ETH1, "10.1.0.1", 24));
    assert_eq!(bench.view(0).faults, [Fault::SourceAbsent(ip("10.1.0.1"))]);
    bench.give(Input::Link(LinkFact::Address { index: ETH0, address: address("10.1.0.1", 24) }));
    assert_eq!(bench.role(0), Role::Backup);
}

#[test]
fn a_source_that_is_on_no_interface_is_a_fault_until_it_is_there() {
    for transport in [unicast(1, 100, &["10.0.0.2"]).transport, instance(1, 100).transport] {
        let mut of = instance(1, 100);
        (of.source, of.transport) = (Some(ip("10.0.0.77")), transport);
        let mut bench = Bench::new(spec(vec![of]));
        let absent = [Fault::SourceAbsent(ip("10.0.0.77"))];
        assert_eq!(bench.view(0).faults, absent);
        bench.wait(ms(10_000));
        assert_eq!(bench.role(0), Role::Fault);
        bench.give(Input::Link(LinkFact::Address { index: ETH0, address: address("10.0.0.77", 24) }));
        assert_eq!((bench.role(0), bench.view(0).source), (Role::Backup, Some(ip("10.0.0.77"))));
        bench.wait(ms(4_000));
        assert_eq!(bench.role(0), Role::Master);
        bench.take();
        bench.give(gone(ETH0, "10.0.0.77", 24));
        assert_eq!(bench.view(0).faults, absent);
        assert_eq!(said(&bench.take()), [0], "it says so from the address that it had");
    }
}

/// A unicast socket is bound to it. 2.2.7 is in FAULT as well, and never comes out of it.
#[test]
fn a_unicast_source_that_is_tentative_is_a_fault_until_it_is_usable() {
    let mut of = unicast(1, 100, &["2001:db8::2"]);
    (of.family, of.source, of.claim) = (Family::V6, Some(ip("2001:db8::1")), claim(&["2001:db8::100"]));
    let mut eth0 = link(ETH0, "eth0", &["fe80::1"]);
    eth0.addresses.push(tentative("2001:db8::1", 64));
    let mut bench = Bench::on(spec(vec![of]), vec![eth0]);
    bench.wait(ms(10_000));
    assert_eq!(bench.view(0).faults, [Fault::SourceAbsent(ip("2001:db8::1"))]);
    bench.give(Input::Link(LinkFact::Address { index: ETH0, address: address("2001:db8::1", 64) }));
    assert_eq!((bench.role(0), bench.view(0).source), (Role::Backup, Some(ip("2001:db8::1"))));
}

/// It comes and goes with mastership: that it is away says nothing.
#[test]
fn a_source_that_is_virtual_here_is_not_missed() {
    let mut of = instance(1, 100);
    of.source = Some(ip("10.0.0.100"));
    assert_eq!(Bench::new(spec(vec![of])).role(0), Role::Backup);
}

/// In FAULT it gives its only address up, which must not be what holds it there.
#[test]
fn an_owner_comes_back_without_any_other_address() {
    let mut owner = instance(1, 255);
    (owner.claim, owner.ties) = (claim(&["10.0.0.1"]), vec![tie(TieTarget::Interface(name("eth1")), 0)]);
    let mut bench = Bench::on(spec(vec![owner]), vec![link(ETH0, "eth0", &["10.0.0.1"]), link(ETH1, "eth1", &[])]);
    assert_eq!(bench.role(0), Role::Master);
    let mut eth1 = link(ETH1, "eth1", &[]);
    eth1.running = false;
    bench.give(Input::Link(LinkFact::Changed(eth1.clone())));
    assert_eq!(bench.role(0), Role::Fault);
    bench.give(gone(ETH0, "10.0.0.1", 24));
    eth1.running = true;
    bench.give(Input::Link(LinkFact::Changed(eth1)));
    assert_eq!(bench.view(0).faults, []);
    bench.wait(ms(4_000));
    assert_eq!((bench.role(0), bench.view(0).source), (Role::Master, Some(ip("10.0.0.1"))));
}

#[test]
fn what_is_not_tracked_does_not_matter() {
    let down = |label: &str, index| {
        let mut it = link(index, label, &[]);
        it.running = false;
        Input::Link(LinkFact::Changed(it))
    };
    let mut bench = Bench::new(spec(vec![InstanceSpec { track_primary: false, ..instance(1, 100) }]));
    bench.give(down("eth0", ETH0));
    assert_eq!(bench.role(0), Role::Backup);
    // Interfaces of addresses are watched, unless told not to be.
    for (no_track, wanted) in [(false, Role::Fault), (true, Role::Backup)] {
        let mut of = instance(1, 100);
        let mut elsewhere = VirtualAddress::plain(ip("10.1.0.100"), 24);
        (elsewhere.interface, elsewhere.no_track) = (Some(name("eth1")), no_track);
        of.claim = std::sync::Arc::new(Claim { addresses: vec![elsewhere], advertised: 1, ..Claim::default() });
        let mut bench = Bench::new(spec(vec![of]));
        bench.give(down("eth1", ETH1));
        assert_eq!(bench.role(0), wanted, "no_track {no_track}");
    }
}

#[test]
fn debounce() {
    let mut of = spec(vec![instance(1, 100)]);
    of.debounce = vec![Debounce { interface: name("eth0"), down: ms(500), up: ms(800) }];
    let mut bench = Bench::as_master(of.clone());
    let flip = |bench: &mut Bench, running| {
        let mut eth0 = links()[0].clone();
        eth0.running = running;
        bench.give(Input::Link(LinkFact::Changed(eth0)));
    };
    flip(&mut bench, false);
    bench.wait(ms(400));
    flip(&mut bench, true);
    bench.wait(ms(2000));
    assert_eq!(bench.role(0), Role::Master, "a blink is nothing");
    flip(&mut bench, false);
    bench.wait(ms(499));
    assert_eq!(bench.role(0), Role::Master);
    bench.wait(ms(1));
    assert_eq!(bench.role(0), Role::Fault);
    flip(&mut bench, true);
    bench.wait(ms(799));
    assert_eq!(bench.role(0), Role::Fault);
    bench.wait(ms(1));
    assert_eq!(bench.role(0), Role::Backup);
    // A delay that would outlast the backup is cut: two intervals less 1/256.
    of.debounce[0].down = ms(60_000);
    let mut bench = Bench::as_master(of);
    flip(&mut bench, false);
    bench.wait(Interval::from_micros(1_996_094));
    assert_eq!(bench.role(0), Role::Fault);
}

/// Something else about the link is told while its delay runs: the delay goes on.
#[test]
fn further_news_of_a_link_does_not_lengthen_its_delay() {
    let debounce = vec![Debounce { interface: name("eth0"), down: ms(500), up: ms(800) }];
    let mut bench = Bench::new(Spec { debounce, ..spec(vec![instance(1, 100)]) });
    let down = Link { running: false, ..link(ETH0, "eth0", &[]) };
    bench.give(Input::Link(LinkFact::Changed(down.clone())));
    bench.wait(ms(300));
    bench.give(Input::Link(LinkFact::Changed(Link { mtu: 1400, ..down })));
    bench.wait(ms(199));
    assert_eq!(bench.role(0), Role::Backup);
    bench.wait(ms(1));
    assert_eq!(bench.role(0), Role::Fault);
}

fn vmac(mac: [u8; 6]) -> VirtualLink {
    VirtualLink::Vmac { name: None, prefix: "vrrp".into(), mac, netlink_notify: false, group: None }
}

#[test]
fn a_vmac_is_another_link() {
    let mac = [0, 0, 0x5E, 0, 1, 7];
    let of = InstanceSpec { virtual_link: Some(vmac(mac)), ..instance(7, 100) };
    let mut bench = Bench::new(spec(vec![of.clone()]));
    assert_eq!(bench.view(0).faults, [Fault::InterfaceMissing(name("vrrp.7"))]);
    let mut own = link(20, "vrrp1.7", &[]);
    (own.kind, own.lower, own.mac) = ("macvlan".into(), ETH0, Some(mac));
    bench.give(Input::Link(LinkFact::Changed(own.clone())));
    assert_eq!(bench.role(0), Role::Backup, "known by parent and address, whatever its name");
    assert_eq!(bench.view(0).link.as_deref(), Some("vrrp1.7"));
    assert_eq!(bench.engine.ports()[0].0.ifindex, Some(20));
    bench.wait(ms(4000));
    let sent =
        bench.take().into_iter().find_map(|action| if let Action::Transmit(t) = action { Some(t) } else { None });
    let sent = sent.unwrap();
    assert_eq!((sent.ifindex, sent.source), (20, ip("10.0.0.1")));
    let mut voice = Voice::of(&of, "10.0.0.2", 10);
    for ifindex in [20, ETH0] {
        voice.ifindex = ifindex;
        bench.hear(&voice);
    }
    assert_eq!(bench.view(0).counters.advert_rcvd, 2);
    let mut eth0 = links()[0].clone();
    eth0.running = false;
    bench.give(Input::Link(LinkFact::Changed(eth0.clone())));
    assert_eq!(bench.view(0).faults, [Fault::BaseInterfaceDown(name("eth0"))]);
    own.running = false;
    bench.give(Input::Link(LinkFact::Changed(own)));
    // The cause comes first.
    assert_eq!(bench.view(0).faults, [Fault::BaseInterfaceDown(name("eth0")), Fault::InterfaceDown(name("vrrp1.7"))]);
    // Adverts through the parent, addresses on the VMAC.
    let mut bench = Bench::on(
        spec(vec![InstanceSpec { transmit_base: true, ..of }]),
        vec![
            links()[0].clone(),
            Link { kind: "macvlan".into(), lower: ETH0, mac: Some(mac), ..link(20, "vrrp.7", &[]) },
        ],
    );
    bench.until(at(4000));
    let sent = bench
        .take()
        .into_iter()
        .find_map(|action| if let Action::Transmit(t) = action { Some(t.ifindex) } else { None });
    assert_eq!((sent, bench.view(0).ifindex), (Some(ETH0), 20));
}

#[test]
fn a_duplicate_vrid_that_comes_about_later() {
    let other = InstanceSpec { interface: Some(name("eth1")), ..instance(1, 100) };
    let mut bench = Bench::new(spec(vec![instance(1, 100), other]));
    assert_eq!(bench.roles(), [Role::Backup, Role::Backup]);
    // Both names in turn for one link cannot be; one VRID twice on a link can, by configuration.
    let twice = Bench::new(spec(vec![instance(1, 100), instance(1, 90)]));
    assert_eq!(twice.view(1).faults, [Fault::DuplicateVrid]);
    assert_eq!(twice.role(0), Role::Backup);
    bench.take();
}

#[test]
fn a_config_fault_is_for_ever() {
    let mut bench = Bench::new(spec(vec![InstanceSpec { config_fault: Some("no peer".into()), ..instance(1, 100) }]));
    bench.wait(ms(60_000));
    assert_eq!(bench.view(0).faults, [Fault::Config("no peer".into())]);
}

#[test]
fn an_ipvlan_is_known_by_the_name_that_it_was_given() {
    let ipvlan = VirtualLink::Ipvlan {
        name: None,
        prefix: "vrrp".into(),
        address: Some((ip("10.0.0.7"), 24)),
        mode: IpvlanMode::Bridge,
        group: None,
    };
    let of = InstanceSpec { virtual_link: Some(ipvlan), ..instance(7, 100) };
    for (label, known) in [("vrrp.7", true), ("vrrp12.7", true), ("vrrp.8", false), ("other.7", false)] {
        let mut bench = Bench::new(spec(vec![of.clone()]));
        let mut own = link(20, label, &[]);
        (own.kind, own.lower) = ("ipvlan".into(), ETH0);
        bench.give(Input::Link(LinkFact::Changed(own)));
        assert_eq!(bench.role(0) == Role::Backup, known, "{label}");
    }
    let long = |label: &str| VirtualLink::is_given_name("a-long-prefix-x", vrid(51), &name(label));
    assert!(long("a-long-prefi.51") && long("a-long-pref1.51"));
    assert!(!long("a-long.51") && !long("b-long-prefi.51"));
}

#[test]
fn a_delay_that_a_reload_took_away_holds_nobody() {
    let of = spec(vec![instance(1, 100)]);
    let debounce = vec![Debounce { interface: name("eth0"), down: ms(100), up: ms(60_000) }];
    let mut bench = Bench::new(Spec { debounce, ..of.clone() });
    bench.give(Input::Link(LinkFact::Changed(Link { running: false, ..links()[0].clone() })));
    bench.wait(ms(200));
    assert_eq!(bench.role(0), Role::Fault);
    bench.give(Input::Link(LinkFact::Dump(links())));
    bench.reload(of);
    bench.give(Input::Link(LinkFact::Dump(links())));
    assert_eq!(bench.role(0), Role::Backup);
}

#[test]
fn a_router_that_lost_its_address_says_goodbye_from_it() {
    let lost = Input::Link(LinkFact::AddressGone { index: ETH0, address: ip("10.0.0.1"), prefix: 24 });
    let mut bench = Bench::as_master(spec(vec![instance(1, 100)]));
    bench.give(lost);
    let actions = bench.take();
    let goodbye = actions.iter().find_map(|a| if let Action::Transmit(t) = a { Some(t) } else { None }).unwrap();
    assert_eq!((priority_of(goodbye), goodbye.source), (0, ip("10.0.0.1")));
    assert_eq!(bench.role(0), Role::Fault);
    // A unicast router keeps the socket for it.
    let mut bench = Bench::as_master(spec(vec![unicast(1, 100, &["10.0.0.2"])]));
    let ports = bench.engine.ports();
    bench.give(Input::Link(LinkFact::AddressGone { index: ETH0, address: ip("10.0.0.1"), prefix: 24 }));
    assert_eq!(said(&bench.take()), [0]);
    assert_eq!(bench.engine.ports(), ports);
    // IPv6 has no way to: the kernel makes the header.
    let mut bench = Bench::as_master(spec(vec![v6(1, 100)]));
    bench.give(Input::Link(LinkFact::AddressGone { index: ETH0, address: ip("fe80::1"), prefix: 64 }));
    assert_eq!(said(&bench.take()), [0; 0]);
}

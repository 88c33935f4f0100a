//! Claims: what is wanted appears, what others remove comes back, what an earlier run left goes.

use crate::ground::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use vipd::kernel::netlink::{FromKernel, Settings, ToKernel};
use vipd::lab::wire;
use vipd::spec::*;
use vipd::vrrp::io::{LinkFact, Outcome};
use vipd::wire::Family;

fn is_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

fn many(count: u32) -> Claim {
    let v4 = (0..count).map(|n| VirtualAddress::plain(IpAddr::V4(Ipv4Addr::from(0x0a00_0001 + n)), 32));
    let v6 = (0..count).map(|n| {
        let address = Ipv6Addr::from((0x2001_0db8_u128 << 96) + 1 + u128::from(n));
        VirtualAddress::plain(IpAddr::V6(address), 128)
    });
    Claim { addresses: v4.chain(v6).collect(), ..Claim::default() }
}

#[test]
fn a_thousand_addresses_of_each_family_come_and_go() {
    if !ready("a_thousand_addresses") {
        return;
    }
    let pair = Pair::new();
    let claim = Arc::new(many(1000));
    within(&pair.here, async || {
        let mut running = Running::configured(spec(vec![instance(Family::V4, (*claim).clone())])).await;
        running.own(&claim).await;
        let mut ready = vec![false; 2000];
        for report in &running.log {
            if let FromKernel::Applied { outcome: Outcome::Ready { addresses, .. }, .. } = report {
                addresses.clone().for_each(|at| ready[at as usize] = true);
            }
        }
        assert!(ready.iter().all(|ready| *ready), "each address is told to be ready before completion is");
        let there = addresses(&pair.here, "eth0");
        assert_eq!(there.len(), 2000);
        assert!(claim.addresses.iter().all(|address| there.contains(&address.address)));
        running.kernel.order(ToKernel::Disown(InstanceId(0)));
        // Orders are carried out in turn: when the next is answered, the first is done.
        let log = running.stop().await;
        assert!(addresses(&pair.here, "eth0").is_empty());
        assert!(
            !log.iter().any(|r| matches!(r, FromKernel::Trouble(_) | FromKernel::Link(LinkFact::Healed { .. }))),
            "{log:#?}"
        );
    });
}

/// `vrrp_netlink_cmd_rcv_bufs`: no more is asked for at once than the answers to it have room for.
#[test]
fn a_small_command_buffer_loses_no_answer() {
    if !ready("a_small_command_buffer") {
        return;
    }
    let pair = Pair::new();
    let claim = Arc::new(many(10));
    within(&pair.here, async || {
        let mut settings = Settings::default();
        settings.buffers.command = Some(2304);
        let mut running = Running::start(settings);
        running.configure(spec(vec![instance(Family::V4, (*claim).clone())]), Vec::new()).await;
        running.own(&claim).await;
        assert_eq!(addresses(&pair.here, "eth0").len(), 20);
        let log = running.stop().await;
        assert!(!log.iter().any(|r| matches!(r, FromKernel::Trouble(_))), "{log:#?}");
    });
}

#[test]
fn a_changed_claim_moves_only_what_changed() {
    if !ready("a_changed_claim") {
        return;
    }
    let pair = Pair::new();
    let first = Arc::new(Claim { addresses: vec![v4("10.0.0.1", 32), v4("10.0.0.2", 32)], ..Claim::default() });
    let second = Arc::new(Claim { addresses: vec![v4("10.0.0.2", 32), v4("10.0.0.3", 32)], ..Claim::default() });
    within(&pair.here, async || {
        let mut running = Running::configured(spec(vec![instance(Family::V4, (*first).clone())])).await;
        running.own(&first).await;
        running.log.clear();
        running.own(&second).await;
        let gone = |address: &str| {
            let address: IpAddr = address.parse().unwrap();
            running
                .log
                .iter()
                .any(|r| matches!(r, FromKernel::Link(LinkFact::AddressGone { address: a, .. }) if *a == address))
        };
        assert!(!gone("10.0.0.2"));
        let mut there = addresses(&pair.here, "eth0");
        there.sort();
        assert_eq!(there, second.addresses.iter().map(|a| a.address).collect::<Vec<_>>());
        running.stop().await;
    });
}

#[test]
fn a_deleted_address_comes_back_and_is_told() {
    if !ready("a_deleted_address") {
        return;
    }
    let pair = Pair::new();
    let mut left_alone = v4("10.0.0.9", 32);
    left_alone.no_track = true;
    let claim = Arc::new(Claim {
        addresses: vec![v4("10.0.0.1", 24), v4("10.0.0.2", 24), v4("2001:db8::5", 64), left_alone],
        ..Claim::default()
    });
    within(&pair.here, async || {
        let mut running = Running::configured(spec(vec![instance(Family::V4, (*claim).clone())])).await;
        running.own(&claim).await;
        wire::remove_address(&pair.here, "eth0", "10.0.0.9".parse().unwrap(), 32).unwrap();
        for (position, address) in [(2, "2001:db8::5"), (1, "10.0.0.2")] {
            let prefix = claim.addresses[position as usize].prefix;
            wire::remove_address(&pair.here, "eth0", address.parse().unwrap(), prefix).unwrap();
            let healed = running.until(|r| matches!(r, FromKernel::Link(LinkFact::Healed { .. }))).await;
            match healed {
                FromKernel::Link(LinkFact::Healed { instance, addresses }) => {
                    assert_eq!((instance, addresses), (InstanceId(0), position..position + 1));
                }
                _ => unreachable!(),
            }
            assert!(addresses(&pair.here, "eth0").contains(&address.parse().unwrap()));
        }
        // The first of a subnet takes the others of that subnet with it: all come back.
        wire::remove_address(&pair.here, "eth0", "10.0.0.1".parse().unwrap(), 24).unwrap();
        running
            .until(|r| matches!(r, FromKernel::Link(LinkFact::Healed { addresses, .. }) if addresses.contains(&0)))
            .await;
        running.stop().await;
    });
}

#[test]
fn a_fight_for_an_address_is_given_a_rest_and_taken_up_again() {
    if !ready("a_fight") {
        return;
    }
    let pair = Pair::new();
    let claim = Arc::new(Claim { addresses: vec![v4("10.0.0.1", 32)], ..Claim::default() });
    let address: IpAddr = "10.0.0.1".parse().unwrap();
    within(&pair.here, async || {
        let mut running = Running::configured(spec(vec![instance(Family::V4, (*claim).clone())])).await;
        running.own(&claim).await;
        let here = pair.here.clone();
        let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let fight = over.clone();
        let foe = std::thread::spawn(move || {
            while !fight.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = wire::remove_address(&here, "eth0", address, 32);
            }
        });
        let fought = |r: &FromKernel| matches!(r, FromKernel::Applied { outcome: Outcome::Failed { .. }, .. });
        running.until(fought).await;
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        foe.join().unwrap();
        assert!(running.healed() >= 20);
        running.until(|r| matches!(r, FromKernel::Applied { outcome: Outcome::Complete, .. })).await;
        assert_eq!(addresses(&pair.here, "eth0"), [address]);
        running.stop().await;
    });
}

#[test]
fn lost_events_lead_to_a_dump_and_the_right_state() {
    if !ready("lost_events") {
        return;
    }
    let pair = Pair::new();
    let claim = Arc::new(many(20));
    within(&pair.here, async || {
        let mut settings = Settings::default();
        settings.buffers.monitor = Some(2304);
        let mut running = Running::start(settings);
        running.configure(spec(vec![instance(Family::V4, (*claim).clone())]), Vec::new()).await;
        running.own(&claim).await;
        running.log.clear();
        // Somebody else claims 2,000 addresses, 128 to a request, and then removes ours.
        let foreign = (0..2000).map(|n| VirtualAddress::plain(IpAddr::V4(Ipv4Addr::from(0xac10_0001 + n)), 32));
        let foreign = Arc::new(Claim { addresses: foreign.collect(), ..Claim::default() });
        let mut other = Running::configured(spec(vec![instance(Family::V4, (*foreign).clone())])).await;
        other.own(&foreign).await;
        for address in &claim.addresses[..20] {
            let _ = wire::remove_address(&pair.here, "eth0", address.address, 32);
        }
        let there = eventually(|| Some(addresses(&pair.here, "eth0")).filter(|there| there.len() == 2040)).await;
        assert!(claim.addresses.iter().all(|address| there.contains(&address.address)));
        // What the engine is told adds up to the same.
        let mut told = std::collections::BTreeSet::new();
        let mut dumps = 0;
        while told.len() < 2040 {
            match running.until(|r| matches!(r, FromKernel::Link(_))).await {
                FromKernel::Link(LinkFact::Dump(links)) => {
                    dumps += 1;
                    let addresses = links.iter().filter(|link| link.name.as_str() == "eth0").flat_map(|l| &l.addresses);
                    told = addresses.filter(|a| !is_local(&a.address)).map(|a| a.address).collect();
                }
                FromKernel::Link(LinkFact::Address { address, .. }) if !is_local(&address.address) => {
                    told.insert(address.address);
                }
                FromKernel::Link(LinkFact::AddressGone { address, .. }) => {
                    told.remove(&address);
                }
                _ => {}
            }
        }
        assert!(dumps > 0, "the buffer was meant to be too small");
        assert_eq!(told, there.into_iter().collect());
        other.kernel.join();
        running.stop().await;
        assert_eq!(addresses(&pair.here, "eth0").len(), 2000);
    });
}

#[test]
fn what_a_dead_run_left_is_removed_at_the_start_and_only_that() {
    if !ready("leftovers") {
        return;
    }
    let pair = Pair::new();
    let claim = Claim { addresses: vec![v4("10.0.0.1", 32), v4("2001:db8::5", 64)], ..Claim::default() };
    for address in &claim.addresses {
        wire::add_address(&pair.here, "eth0", address.address, address.prefix).unwrap();
    }
    wire::add_address(&pair.here, "eth0", "192.0.2.1".parse().unwrap(), 24).unwrap();
    within(&pair.here, async || {
        let wanted = spec(vec![instance(Family::V4, claim.clone())]);
        let running = Running::configured(wanted).await;
        assert_eq!(addresses(&pair.here, "eth0"), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(running.troubles().len(), 2, "{:?}", running.troubles());
        running.stop().await;
    });
}

#[test]
fn a_reload_carries_claims_over_and_withdraws_those_of_lost_instances() {
    if !ready("a_reload") {
        return;
    }
    let pair = Pair::new();
    let a = Arc::new(Claim { addresses: vec![v4("10.0.0.1", 32)], ..Claim::default() });
    let b = Arc::new(Claim { addresses: vec![v4("10.0.0.2", 32)], ..Claim::default() });
    within(&pair.here, async || {
        let both = spec(vec![instance(Family::V4, (*a).clone()), instance(Family::V4, (*b).clone())]);
        let mut running = Running::configured(both).await;
        running.own(&a).await;
        running.kernel.order(ToKernel::Own(InstanceId(1), b.clone()));
        running
            .until(|r| matches!(r, FromKernel::Applied { instance: InstanceId(1), outcome: Outcome::Complete }))
            .await;
        running.log.clear();
        // The first is gone, the second is the first.
        running.configure(spec(vec![instance(Family::V4, (*b).clone())]), vec![(InstanceId(1), InstanceId(0))]).await;
        assert_eq!(addresses(&pair.here, "eth0"), [b.addresses[0].address]);
        let went = |r: &FromKernel| matches!(r, FromKernel::Link(LinkFact::AddressGone { address, .. }) if *address == b.addresses[0].address);
        assert!(!running.log.iter().any(went));
        wire::remove_address(&pair.here, "eth0", b.addresses[0].address, 32).unwrap();
        running.until(|r| matches!(r, FromKernel::Link(LinkFact::Healed { instance: InstanceId(0), .. }))).await;
        running.stop().await;
        assert!(addresses(&pair.here, "eth0").is_empty());
    });
}

#[test]
fn an_interface_that_is_missing_is_named_and_waited_for() {
    if !ready("a_missing_interface") {
        return;
    }
    let pair = Pair::new();
    let mut elsewhere = v4("10.0.0.1", 32);
    elsewhere.interface = Some(name("eth7"));
    let claim = Arc::new(Claim { addresses: vec![v4("10.0.0.2", 32), elsewhere], ..Claim::default() });
    within(&pair.here, async || {
        let mut running = Running::configured(spec(vec![instance(Family::V4, (*claim).clone())])).await;
        running.kernel.order(ToKernel::Own(InstanceId(0), claim.clone()));
        let failed = running.until(|r| matches!(r, FromKernel::Applied { outcome: Outcome::Failed { .. }, .. })).await;
        assert!(format!("{failed:?}").contains("eth7"), "{failed:?}");
        wire::cable(&pair.here, "eth7", &pair.there, "eth7", None).unwrap();
        running.until(|r| matches!(r, FromKernel::Applied { outcome: Outcome::Complete, .. })).await;
        assert_eq!(addresses(&pair.here, "eth7").len(), 1);
        // It goes and comes again.
        wire::remove_link(&pair.there, "eth7").unwrap();
        running.until(|r| matches!(r, FromKernel::Link(LinkFact::Gone { .. }))).await;
        wire::cable(&pair.here, "eth7", &pair.there, "eth7", None).unwrap();
        running.until(|r| matches!(r, FromKernel::Applied { outcome: Outcome::Complete, .. })).await;
        assert_eq!(addresses(&pair.here, "eth7").len(), 1);
        running.stop().await;
    });
}

#[test]
fn ipv6_addresses_come_back_with_their_interface() {
    if !ready("ipv6_with_its_interface") {
        return;
    }
    let pair = Pair::new();
    let claim = Arc::new(Claim { addresses: vec![v4("10.0.0.2", 32), v4("2001:db8::5", 64)], ..Claim::default() });
    within(&pair.here, async || {
        let mut running = Running::configured(spec(vec![instance(Family::V6, (*claim).clone())])).await;
        running.own(&claim).await;
        wire::set_up(&pair.here, "eth0", false).unwrap();
        running.until(|r| matches!(r, FromKernel::Link(LinkFact::Changed(link)) if !link.up)).await;
        assert_eq!(running.healed(), 0, "what the kernel takes with the interface is no theft");
        wire::set_up(&pair.here, "eth0", true).unwrap();
        running.until(|r| matches!(r, FromKernel::Applied { outcome: Outcome::Complete, .. })).await;
        assert_eq!(addresses(&pair.here, "eth0").len(), 2);
        running.stop().await;
    });
}

#[test]
fn an_address_with_duplicate_detection_is_ready_only_when_it_has_passed() {
    if !ready("duplicate_detection") {
        return;
    }
    let pair = Pair::new();
    let mut slow = v4("2001:db8::5", 64);
    slow.dad = true;
    let claim = Arc::new(Claim { addresses: vec![slow], ..Claim::default() });
    within(&pair.here, async || {
        let mut running = Running::configured(spec(vec![instance(Family::V6, (*claim).clone())])).await;
        running.own(&claim).await;
        let position = |wanted: &dyn Fn(&FromKernel) -> bool| running.log.iter().position(wanted).unwrap();
        let usable = position(
            &|r| matches!(r, FromKernel::Link(LinkFact::Address { address, .. }) if address.usable && address.prefix == 64 && !is_local(&address.address)),
        );
        let tentative =
            position(&|r| matches!(r, FromKernel::Link(LinkFact::Address { address, .. }) if !address.usable));
        let told = position(&|r| matches!(r, FromKernel::Applied { outcome: Outcome::Ready { .. }, .. }));
        assert!(tentative < usable && usable < told);
        running.stop().await;
    });
}

/// An instance whose number is another one since a reload is spoken of by the new number only behind `Configured`: before that
/// the engine knows the old numbers, and would take it for another instance.
#[test]
fn nothing_is_said_under_new_numbers_before_the_engine_knows_them() {
    if !ready("new_numbers") {
        return;
    }
    let pair = Pair::new();
    let claim = Arc::new(Claim { addresses: vec![v4("10.9.0.77", 32), v4("10.9.0.78", 32)], ..Claim::default() });
    within(&pair.here, async || {
        let other = InstanceSpec {
            name: "VI_2".into(),
            vrid: vipd::wire::Vrid::new(52).unwrap(),
            ..instance(Family::V4, Claim::default())
        };
        let own = instance(Family::V4, (*claim).clone());
        let mut running = Running::configured(spec(vec![own.clone(), other.clone()])).await;
        running.own(&claim).await;
        running.log.clear();
        running
            .configure(spec(vec![other, own]), vec![(InstanceId(0), InstanceId(1)), (InstanceId(1), InstanceId(0))])
            .await;
        let applied = |log: &[FromKernel]| -> Vec<InstanceId> {
            let of = |report: &FromKernel| match report {
                FromKernel::Applied { instance, .. } => Some(*instance),
                _ => None,
            };
            log.iter().filter_map(of).collect()
        };
        assert_eq!(applied(&running.log), [], "{:#?}", running.log);
        let said =
            running.until(|report| matches!(report, FromKernel::Applied { outcome: Outcome::Complete, .. })).await;
        assert!(matches!(said, FromKernel::Applied { instance: InstanceId(1), .. }), "{said:?}");
        let numbers = applied(&running.log);
        assert!(numbers.iter().all(|number| *number == InstanceId(1)), "{numbers:?}");
        running.stop().await;
    });
}

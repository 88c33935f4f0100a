//! Gratuitous ARP and neighbour advertisements: blocks, delays, refresh, spacing.

use crate::harness::*;
use std::sync::Arc;
use vipd::spec::*;
use vipd::time::Time;
use vipd::vrrp::io::{Command, *};

/// Times (ms since mastership) and ranges of all announcements up to `to` ms after mastership.
fn timeline(bench: &mut Bench, to: u64) -> Vec<(u64, u32)> {
    bench.until(at(4000));
    let start = bench.view(0).since;
    assert_eq!(bench.role(0), Role::Master);
    bench.until(start + ms(to));
    let mut list = Vec::new();
    for (time, action) in bench.log.drain(..) {
        if let Action::Announce(announce) = action {
            list.extend(announce.addresses.map(|position| (time.since(start).as_millis(), position)));
        }
    }
    list
}

#[test]
fn first_and_second_block_in_rounds() {
    let garp = Garp { repeat: 3, delay: ms(2000), ..Garp::default() };
    let mut bench =
        Bench::new(spec(vec![InstanceSpec { garp, claim: claim(&["10.0.0.100", "10.0.0.101"]), ..instance(1, 100) }]));
    let list = timeline(&mut bench, 60_000);
    let block = |time| [(time, 0), (time, 1)].repeat(3);
    assert_eq!(list, [block(0), block(2000)].concat());
    assert_eq!(bench.view(0).counters.garps_sent, 12);
    // No second block, no block at all.
    for (repeat, delay, wanted) in [(3, 0, 3), (0, 0, 0), (0, 1000, 0)] {
        let garp = Garp { repeat, delay: ms(delay), ..Garp::default() };
        let mut bench = Bench::new(spec(vec![InstanceSpec { garp, ..instance(1, 100) }]));
        assert_eq!(timeline(&mut bench, 60_000).len(), wanted, "repeat {repeat} delay {delay}");
    }
}

#[test]
fn refresh_begins_after_delay_and_period() {
    let garp = Garp { repeat: 1, delay: ms(500), refresh: ms(3000), refresh_repeat: 2, ..Garp::default() };
    let mut bench = Bench::new(spec(vec![InstanceSpec { garp, ..instance(1, 100) }]));
    let list: Vec<u64> = timeline(&mut bench, 10_000).into_iter().map(|(time, _)| time).collect();
    assert_eq!(list, [0, 500, 3500, 3500, 6500, 6500, 9500, 9500]);
}

#[test]
fn after_a_lower_rival_at_once_and_once_more() {
    let garp = Garp { lower_prio_repeat: 2, lower_prio_delay: ms(1500), delay: ms(0), ..Garp::default() };
    let of = InstanceSpec { garp, ..instance(1, 100) };
    let mut bench = Bench::as_master(spec(vec![of.clone()]));
    let start = bench.now;
    bench.hear(&Voice::of(&of, "10.0.0.2", 50));
    bench.wait(ms(10_000));
    let times: Vec<u64> = bench
        .log
        .drain(..)
        .filter(|(_, a)| matches!(a, Action::Announce(_)))
        .map(|(t, _)| t.since(start).as_millis())
        .collect();
    assert_eq!(times, [0, 0, 1500, 1500]);
    // Strict: none.
    let garp = Garp { lower_prio_repeat: 0, lower_prio_delay: ms(0), ..Garp::default() };
    let of = InstanceSpec { garp, ..instance(1, 100) };
    let mut bench = Bench::as_master(spec(vec![of.clone()]));
    bench.hear(&Voice::of(&of, "10.0.0.2", 50));
    assert!(announced(&bench.take()).is_empty());
}

#[test]
fn leaving_mastership_ends_everything() {
    let garp = Garp { refresh: ms(1000), ..Garp::default() };
    let of = InstanceSpec { garp, ..instance(1, 100) };
    let mut bench = Bench::as_master(spec(vec![of.clone()]));
    bench.hear(&Voice::of(&of, "10.0.0.2", 200));
    bench.take();
    for _ in 0..20 {
        bench.wait(ms(1000));
        bench.hear(&Voice::of(&of, "10.0.0.2", 200));
    }
    assert!(announced(&bench.take()).is_empty());
    // What the kernel says late is not announced either.
    bench.give(Input::Applied {
        instance: InstanceId(0),
        outcome: Outcome::Ready { addresses: 0..1, announced: false },
    });
    bench.give(Input::Command(Command::Announce { instance: None }));
    assert!(announced(&bench.take()).is_empty());
}

fn paced(pacing: Vec<Pacing>, instances: Vec<InstanceSpec>) -> Spec {
    Spec { pacing, ..spec(instances) }
}

#[test]
fn spaced_on_an_interface_in_rounds() {
    let garp = Garp { repeat: 2, delay: ms(0), ..Garp::default() };
    let of = InstanceSpec { garp, claim: claim(&["10.0.0.100", "10.0.0.101", "10.0.0.102"]), ..instance(1, 100) };
    let all = Pacing { interfaces: Vec::new(), garp: ms(100), gna: ms(0) };
    let list = timeline(&mut Bench::new(paced(vec![all.clone()], vec![of.clone()])), 5000);
    assert_eq!(list, [(0, 0), (100, 1), (200, 2), (300, 0), (400, 1), (500, 2)]);
    // An interface of its own group goes by that.
    let own = Pacing { interfaces: vec![name("eth0")], garp: ms(10), gna: ms(0) };
    let list = timeline(&mut Bench::new(paced(vec![own, all.clone()], vec![of.clone()])), 5000);
    assert_eq!(list[5], (50, 2));
    // Neighbour advertisements have a line of their own, here without spacing.
    let mixed = InstanceSpec { claim: claim(&["10.0.0.100", "fe80::100"]), ..of };
    let mut list = timeline(&mut Bench::new(paced(vec![all], vec![mixed])), 5000);
    list.sort_unstable();
    assert_eq!(list, [(0, 0), (0, 1), (0, 1), (100, 0)]);
}

#[test]
fn a_shared_line_and_its_end() {
    let garp = Garp { repeat: 3, delay: ms(0), ..Garp::default() };
    let group = Pacing { interfaces: vec![name("eth0"), name("eth1")], garp: ms(50), gna: ms(0) };
    let one = InstanceSpec { garp, ..instance(1, 100) };
    let two = InstanceSpec { garp, interface: Some(name("eth1")), ..instance(2, 100) };
    let mut bench = Bench::new(paced(vec![group], vec![one.clone(), two]));
    bench.until(at(3700));
    let mut shared: Vec<(Time, u32)> = Vec::new();
    let mut last = None;
    let mut collect = |bench: &mut Bench| {
        for (time, action) in bench.log.drain(..) {
            let Action::Announce(announce) = action else { continue };
            assert!(last.is_none_or(|last: Time| time.since(last) >= ms(50)), "spaced over both interfaces");
            last = Some(time);
            shared.push((time, announce.instance.0));
        }
    };
    collect(&mut bench);
    // One of them yields: its part of the line is dropped.
    bench.hear(&Voice::of(&one, "10.0.0.2", 200));
    let yielded = bench.now;
    bench.wait(ms(2000));
    collect(&mut bench);
    assert!(shared.iter().all(|(time, who)| *who == 1 || *time <= yielded));
    assert_eq!(shared.iter().filter(|(_, who)| *who == 1).count(), 3);
}

#[test]
fn no_more_than_the_block_is_ever_waiting() {
    let garp = Garp { repeat: 5, delay: ms(0), lower_prio_delay: ms(0), ..Garp::default() };
    let of = InstanceSpec { garp, ..instance(1, 100) };
    let all = Pacing { interfaces: Vec::new(), garp: ms(1000), gna: ms(0) };
    let mut bench = Bench::as_master(paced(vec![all], vec![of.clone()]));
    for _ in 0..20 {
        bench.hear(&Voice::of(&of, "10.0.0.2", 50));
    }
    bench.take();
    bench.wait(ms(30_000));
    assert!(announced(&bench.take()).len() <= 5);
}

#[test]
fn vmac_refresh_speaks_once_an_interface() {
    let garp = Garp { repeat: 0, delay: ms(0), extra: ms(1000), extra_all: true, ..Garp::default() };
    let mut addresses: Vec<_> =
        ["10.0.0.100", "10.1.0.100", "10.1.0.101"].iter().map(|a| VirtualAddress::plain(ip(a), 24)).collect();
    addresses[1].interface = Some(name("eth1"));
    addresses[2].interface = Some(name("eth1"));
    let all = Arc::new(Claim { advertised: 3, addresses: addresses.clone(), ..Claim::default() });
    let mut bench = Bench::new(spec(vec![InstanceSpec { garp, claim: all, ..instance(1, 100) }]));
    assert_eq!(timeline(&mut bench, 2500), [(1000, 1), (2000, 1)]);
    // Without `all` only those on a VMAC of their own.
    addresses[2].use_vmac = true;
    let own = Arc::new(Claim { advertised: 3, addresses, ..Claim::default() });
    let garp = Garp { extra_all: false, ..garp };
    let mut bench = Bench::new(spec(vec![InstanceSpec { garp, claim: own, ..instance(1, 100) }]));
    assert_eq!(timeline(&mut bench, 1500), [(1000, 2)]);
}

#[test]
fn a_long_list_is_announced_as_it_arrives() {
    let many: Vec<String> = (0..600).map(|n| format!("10.9.{}.{}", n / 250, n % 250 + 1)).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut bench = Bench::new(spec(vec![InstanceSpec { claim: claim(&many), ..instance(1, 100) }]));
    bench.kernel = false;
    bench.until(at(4000));
    bench.take();
    for start in [0, 128, 256, 384, 512] {
        bench.wait(ms(1));
        let range = start..(start + 128).min(600);
        bench.give(Input::Applied {
            instance: InstanceId(0),
            outcome: Outcome::Ready { addresses: range.clone(), announced: false },
        });
        assert_eq!(announced(&bench.take()), [range]);
    }
    bench.give(Input::Applied { instance: InstanceId(0), outcome: Outcome::Complete });
    let rest = announced(&bench.take());
    assert_eq!(rest.iter().map(|range| range.len()).sum::<usize>(), 4 * 600);
}

#[test]
fn what_was_announced_as_it_came_is_announced_once_less() {
    let mut bench =
        Bench::new(spec(vec![InstanceSpec { claim: claim(&["10.0.0.100", "10.0.0.101"]), ..instance(1, 100) }]));
    bench.kernel = false;
    bench.until(at(4000));
    bench.take();
    let ready = |addresses| Outcome::Ready { addresses, announced: true };
    for outcome in [ready(0..1), ready(1..2), Outcome::Complete] {
        bench.give(Input::Applied { instance: InstanceId(0), outcome });
    }
    assert_eq!(announced(&bench.take()), [0..2, 0..2, 0..2, 0..2]);
    let snapshot = bench.engine.snapshot(bench.now);
    assert_eq!(snapshot.instances[0].counters.garps_sent, 10);
}

#[test]
fn a_unicast_router_that_is_back_announces_itself() {
    let of = unicast(1, 100, &["10.0.0.2"]);
    let own = |actions: &[Action]| -> Vec<(u32, std::net::IpAddr)> {
        let one = |action: &Action| match action {
            Action::AnnounceSource { ifindex, address, .. } => Some((*ifindex, *address)),
            _ => None,
        };
        actions.iter().filter_map(one).collect()
    };
    for (of, wanted) in [(of, vec![(ETH0, ip("10.0.0.1"))]), (instance(1, 100), Vec::new())] {
        let mut bench = Bench::new(spec(vec![of]));
        assert_eq!(own(&bench.take()), [], "it has not been away");
        for running in [false, true] {
            let eth0 = Link { running, ..links()[0].clone() };
            bench.give(Input::Link(LinkFact::Changed(eth0)));
        }
        assert_eq!(own(&bench.take()), wanted);
    }
}

#[test]
fn a_reload_announces_again_where_caches_are_refreshed() {
    for (refresh, rounds) in [(0, 0), (60_000, 3)] {
        let garp = Garp { repeat: 3, delay: ms(0), refresh: ms(refresh), ..Garp::default() };
        let of = InstanceSpec { garp, ..instance(1, 100) };
        let mut bench = Bench::as_master(spec(vec![of.clone()]));
        bench.reload(spec(vec![of.clone()]));
        assert_eq!(announced(&bench.take()), [], "nothing has changed");
        bench.reload(spec(vec![InstanceSpec { debug: 1, ..of }]));
        assert_eq!(announced(&bench.take()).len(), rounds, "refresh {refresh}");
    }
}

#[test]
fn a_reload_announces_again_for_those_that_changed_only() {
    let garp = Garp { repeat: 3, delay: ms(0), refresh: ms(60_000), ..Garp::default() };
    let with = |id: u8, debug: u8| InstanceSpec { garp, debug, ..instance(id, 100) };
    let mut bench = Bench::as_master(spec(vec![with(1, 0), with(2, 0)]));
    bench.reload(spec(vec![with(1, 0), with(2, 1)]));
    let who = |action: &Action| if let Action::Announce(a) = action { Some(a.instance) } else { None };
    assert_eq!(bench.take().iter().filter_map(who).collect::<Vec<_>>(), [InstanceId(1); 3]);
}

/// Both what waits for its turn on a spaced interface and the second block.
#[test]
fn what_is_still_to_be_announced_outlives_a_reload() {
    let garp = Garp { repeat: 2, delay: ms(3000), ..Garp::default() };
    let of = InstanceSpec { garp, claim: claim(&["10.0.0.100", "10.0.0.101"]), ..instance(1, 100) };
    let all = Pacing { interfaces: Vec::new(), garp: ms(100), gna: ms(0) };
    let before = paced(vec![all.clone()], vec![of.clone()]);
    let after = paced(vec![all], vec![InstanceSpec { debug: 1, ..of }]);
    let mut bench = Bench::new(before);
    // Master since 3.609 s: one half of the first block is out.
    bench.until(at(3760));
    bench.reload(after);
    let list = timeline(&mut bench, 10_000);
    let block = |from| [(from, 0), (from + 100, 1), (from + 200, 0), (from + 300, 1)];
    assert_eq!(list, [block(0), block(3000)].concat());
}

#[test]
fn a_block_that_a_reload_comes_into_is_finished() {
    let of = InstanceSpec { claim: claim(&["10.0.0.100", "10.0.0.101"]), ..instance(1, 100) };
    let mut bench = Bench::new(spec(vec![of.clone()]));
    bench.kernel = false;
    bench.until(at(4000));
    let told = |outcome| Input::Applied { instance: InstanceId(0), outcome };
    bench.give(told(Outcome::Ready { addresses: 0..1, announced: false }));
    bench.reload(spec(vec![InstanceSpec { debug: 1, ..of }]));
    bench.give(told(Outcome::Ready { addresses: 1..2, announced: false }));
    assert_eq!(announced(&bench.take()), [0..1, 1..2]);
    bench.give(told(Outcome::Complete));
    assert_eq!(announced(&bench.take()), vec![0..2; 4]);
}

#[test]
fn after_the_last_of_many_lower_rivals_once_more() {
    let own = InstanceSpec {
        garp: Garp { delay: ms(0), lower_prio_repeat: 1, lower_prio_delay: ms(2000), ..Garp::default() },
        ..instance(1, 100)
    };
    let mut bench = Bench::as_master(spec(vec![own.clone()]));
    let began = bench.now;
    for wait in [0, 500, 1000] {
        bench.until(began + ms(wait));
        bench.hear(&Voice::of(&own, "10.0.0.2", 50));
    }
    assert_eq!(announced(&bench.take()).len(), 3);
    bench.until(began + ms(10_000));
    let log: Vec<u64> = std::mem::take(&mut bench.log)
        .into_iter()
        .filter(|(_, action)| matches!(action, Action::Announce(_)))
        .map(|(time, _)| time.since(began).as_micros() / 1000)
        .collect();
    assert_eq!(log, [2000, 3000]);
}

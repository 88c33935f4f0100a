//! What a stranger can make a master say has an end: adverts can be forged, and none of them is to cost one of ours.

use crate::harness::*;
use vipd::vrrp::io::*;

#[test]
fn a_flood_of_worse_adverts_is_answered_a_few_times_in_each_interval() {
    let of = instance(1, 100);
    let mut bench = Bench::as_master(spec(vec![of.clone()]));
    let begun = bench.now;
    for n in 0..10_000_u32 {
        let voice = Voice::of(&of, &format!("10.0.{}.{}", n % 200 + 1, n % 100 + 2), 50);
        bench.hear(&voice);
        bench.wait(vipd::time::Interval::from_micros(500));
    }
    let seconds = bench.now.since(begun).as_secs();
    let actions = bench.take();
    let (adverts, lines) = (said(&actions).len() as u64, events(&actions).len() as u64);
    assert!((2 * seconds..=7 * seconds).contains(&adverts), "{adverts} adverts in {seconds} s");
    assert!(lines <= 7 * seconds + 20, "{lines} events in {seconds} s");
    assert_eq!(bench.role(0), Role::Master);
}

#[test]
fn each_of_a_few_rivals_is_answered() {
    let of = instance(1, 100);
    let mut bench = Bench::as_master(spec(vec![of.clone()]));
    for n in 2..=4 {
        bench.hear(&Voice::of(&of, &format!("10.0.0.{n}"), 50));
    }
    assert_eq!(said(&bench.take()), [100, 100, 100]);
}

#[test]
fn goodbyes_of_strangers_have_an_end_too() {
    let of = instance(1, 100);
    let mut bench = Bench::as_master(spec(vec![of.clone()]));
    (0..1000).for_each(|_| bench.hear(&Voice::of(&of, "10.0.0.2", 0)));
    assert_eq!(said(&bench.take()).len(), 5);
}

/// The old checksum is remembered of peers only, so that nobody can fill the memory.
#[test]
fn the_old_checksum_of_a_stranger_is_not_remembered() {
    let mut of = unicast(1, 100, &["10.0.0.2"]);
    of.source = Some(ip("10.0.0.1"));
    let mut bench = Bench::new(spec(vec![of.clone()]));
    for from in ["10.0.0.3", "10.0.0.2"] {
        let voice = Voice::of(&of, from, 50);
        let mut packet = voice.packet();
        packet[6..8].fill(0);
        let sum = vipd::wire::checksum::ChecksumRule::old_unicast(ip(from)).over(&packet).to_be_bytes();
        packet[6..8].copy_from_slice(&sum);
        bench.hear_bytes(voice.meta(), &voice.wrap(&packet));
    }
    assert_eq!(bench.view(0).counters.advert_rcvd, 2);
}

/// A complaint is made once more when another router is heard, and other routers are easily made up.
#[test]
fn a_flood_of_other_addresses_or_intervals_from_many_senders_is_complained_of_now_and_then() {
    for (of, odd) in [(v2(1, 100), "addresses"), (instance(1, 100), "addresses"), (instance(1, 100), "interval")] {
        let mut bench = Bench::new(spec(vec![of.clone()]));
        bench.hear(&Voice::of(&of, "10.0.0.2", 150));
        let begun = bench.now;
        bench.take();
        for n in 0..10_000_u32 {
            let voice = Voice::of(&of, &format!("10.0.{}.{}", n % 200 + 1, n % 100 + 2), 150);
            bench.hear(&match odd {
                "addresses" => Voice { addresses: vec![ip(&format!("10.9.0.{}", n % 250 + 1))], ..voice },
                _ => Voice { interval: ms(500 + u64::from(n % 100)), ..voice },
            });
            bench.wait(vipd::time::Interval::from_micros(500));
        }
        let seconds = bench.now.since(begun).as_secs();
        let lines = events(&bench.take()).len() as u64;
        assert!(lines <= 2 * seconds, "{odd}: {lines} events in {seconds} s");
    }
}

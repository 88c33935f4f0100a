//! What an advert costs: 255 virtual routers on each of 16 links, a second of their adverts through one engine, as
//! backup (4,080 heard) and as master (4,080 sent); and the codec alone.
//!
//! `cargo bench --bench engine`. A second of adverts must cost far less than a second.

use divan::Bencher;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use vipd::kernel::memory;
use vipd::sim::{build, weather};
use vipd::spec::{IfName, Spec};
use vipd::time::{Interval, Time};
use vipd::vrrp::Engine;
use vipd::vrrp::io::{Action, Input, Link, RxMeta};
use vipd::wire::advert::{self, Saying};
use vipd::wire::checksum::ChecksumRule;
use vipd::wire::{Family, Priority, Version, Vrid, frames};

const LINKS: u32 = 16;
const VRIDS: u8 = 255;
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

fn main() {
    divan::main();
}

fn spec(priority: u8) -> Arc<Spec> {
    let instances = (0..LINKS).flat_map(|link| {
        (1..=VRIDS).map(move |vrid| {
            let address = IpAddr::V4(Ipv4Addr::new(198, 18, link as u8, vrid));
            let mut instance = build::instance(&format!("V{link}-{vrid}"), vrid, priority, &[address]);
            instance.interface = IfName::new(&format!("eth{link}"));
            instance.version = Version::V3;
            instance
        })
    });
    Arc::new(build::spec(instances.collect()))
}

fn links() -> Vec<Link> {
    let link = |n: u32| build::link(n + 2, &format!("eth{n}"), &[&format!("10.0.{n}.1")]);
    (0..LINKS).map(link).collect()
}

/// One advert of another router for each virtual router.
fn adverts() -> Vec<(RxMeta, Vec<u8>)> {
    let mut all = Vec::new();
    for link in 0..LINKS {
        let source = Ipv4Addr::new(10, 0, link as u8, 2);
        for vrid in 1..=VRIDS {
            let saying = Saying {
                family: Family::V4,
                version: Version::V3,
                vrid: Vrid::new(vrid).expect("1..=255"),
                priority: Priority(200),
                interval: Interval::from_secs(1),
                auth_type: 0,
                password: [0; 8],
                addresses: &[IpAddr::V4(Ipv4Addr::new(198, 18, link as u8, vrid))],
            };
            let mut bytes = frames::ipv4_header(source, GROUP, 112, 255, 1, 12).to_vec();
            saying.emit(Some(ChecksumRule::pseudo(source.into(), GROUP.into())), &mut bytes);
            let meta = RxMeta { ifindex: link + 2, source: source.into(), destination: GROUP.into(), ttl: Some(255) };
            all.push((meta, bytes));
        }
    }
    all
}

fn drain(engine: &mut Engine) -> usize {
    let mut sent = 0;
    while let Some(action) = engine.poll() {
        sent += usize::from(matches!(action, Action::Transmit(_)));
    }
    sent
}

/// 4,080 backups hear their masters once.
#[divan::bench]
fn a_second_of_4080_backups(bencher: Bencher) {
    let mut engine = Engine::new(spec(100), links(), Time::ZERO);
    drain(&mut engine);
    let adverts = adverts();
    let mut now = Time::ZERO;
    bencher.bench_local(|| {
        now += Interval::from_secs(1);
        for (meta, bytes) in &adverts {
            engine.handle(Input::Datagram { meta: *meta, bytes }, now);
        }
        assert_eq!(drain(&mut engine), 0, "a backup that hears its master is silent");
    });
}

/// 4,080 masters send once.
#[divan::bench]
fn a_second_of_4080_masters(bencher: Bencher) {
    let mut engine = Engine::new(spec(200), links(), Time::ZERO);
    let mut now = Time::ZERO + Interval::from_secs(10);
    engine.handle(Input::Tick, now);
    drain(&mut engine);
    bencher.bench_local(|| {
        now += Interval::from_secs(1);
        engine.handle(Input::Tick, now);
        let sent = drain(&mut engine);
        assert_eq!(sent, (LINKS * u32::from(VRIDS)) as usize);
    });
}

#[divan::bench]
fn start_of_4080_instances(bencher: Bencher) {
    let (spec, links) = (spec(100), links());
    bencher.bench_local(|| Engine::new(spec.clone(), links.clone(), Time::ZERO));
}

#[divan::bench]
fn reload_of_4080_instances_unchanged(bencher: Bencher) {
    let spec = spec(100);
    let mut engine = Engine::new(spec.clone(), links(), Time::ZERO);
    drain(&mut engine);
    bencher.bench_local(|| {
        engine.reload(spec.clone(), Time::ZERO);
        drain(&mut engine)
    });
}

/// What a scrape of the metrics or `vipctl status` costs the engine thread.
#[divan::bench]
fn snapshot_of_4080_masters(bencher: Bencher) {
    let mut engine = Engine::new(spec(200), links(), Time::ZERO);
    let now = Time::ZERO + Interval::from_secs(10);
    engine.handle(Input::Tick, now);
    drain(&mut engine);
    bencher.bench_local(|| engine.snapshot(now));
}

/// How long who asks for memory waits while freed memory is given back, at worst ("slowest"): what an advert could be late by. It
/// asks for so much that the allocator's lock is taken each time, which an advert does not.
#[divan::bench(args = [255, 4_080], sample_count = 20_000, sample_size = 1)]
fn memory_beside_give_back(bencher: Bencher, routers: usize) {
    let mut spec = Spec::clone(&spec(200));
    spec.instances.truncate(routers);
    let spec = Arc::new(spec);
    let mut engine = Engine::new(spec.clone(), links(), Time::ZERO);
    // What a reload leaves in this thread's part of the allocator.
    for _ in 0..3 {
        engine.reload(Arc::new(Spec::clone(&spec)), Time::ZERO);
        drop(engine.snapshot(Time::ZERO));
        drain(&mut engine);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let other = std::thread::spawn({
        let stop = stop.clone();
        move || {
            while !stop.load(Ordering::Relaxed) {
                memory::give_back();
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    });
    bencher.bench_local(|| divan::black_box(Vec::<u8>::with_capacity(2_000)));
    stop.store(true, Ordering::Relaxed);
    let _ = other.join();
    drop(engine);
}

#[divan::bench]
fn parse_one_advert(bencher: Bencher) {
    let (_, bytes) = adverts().swap_remove(0);
    bencher.bench_local(|| {
        let ip = frames::ipv4(divan::black_box(&bytes)).expect("a header");
        advert::parse(ip.payload, Family::V4).expect("an advert").priority
    });
}

#[divan::bench(args = [1, 20, 255])]
fn emit_one_advert(bencher: Bencher, count: u8) {
    let addresses: Vec<IpAddr> = (0..count).map(|n| IpAddr::V4(Ipv4Addr::new(198, 18, 0, n))).collect();
    let rule = ChecksumRule::pseudo(Ipv4Addr::new(10, 0, 0, 1).into(), GROUP.into());
    let mut out = Vec::with_capacity(2_048);
    bencher.bench_local(|| {
        out.clear();
        let saying = Saying {
            family: Family::V4,
            version: Version::V3,
            vrid: Vrid::new(1).expect("1"),
            priority: Priority(100),
            interval: Interval::from_secs(1),
            auth_type: 0,
            password: [0; 8],
            addresses: divan::black_box(&addresses),
        };
        saying.emit(Some(rule), &mut out);
        out.len()
    });
}

/// A whole random world of a minute or so, as the sweeps play them.
#[divan::bench]
fn one_random_world(bencher: Bencher) {
    let mut seed = 0;
    bencher.bench_local(|| {
        seed += 1;
        let world = weather::world(seed % 100);
        vipd::sim::play(&world.specs, &world.scenario, &vipd::sim::real, false)
    });
}

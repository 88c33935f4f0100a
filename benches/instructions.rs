//! How many instructions an advert costs, and a real server at the start: counted by valgrind, so that a growth is seen on a machine that has other things
//! to do, where a time would say nothing.
//!
//! ```text
//! cargo bench --bench instructions              counts, beside the kept figures; ends with 1 if one has grown by more than 3 %,
//!                                               with 2 if there are none yet, or nothing could be counted
//! cargo bench --bench instructions -- --keep    writes the kept figures, benches/instructions.kept
//! cargo bench --bench instructions -- hear      only those whose name contains the word
//! ```
//! Only what is measured is counted: this program runs itself under callgrind, which is switched on and off by the
//! function [`vipd_counted`]. Figures of another compiler are others; the first line of the kept ones says whose they are.
//! The last column is by what power the whole grows with the number of virtual routers: 1 is linear.

#![allow(clippy::unwrap_used)]

use netlink_packet_core::Emitable;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::Arc;
use vipd::balance::Balancer;
use vipd::balance::io::{self as balance, Beginning, Picture, ServiceKey};
use vipd::config::Env;
use vipd::config::load;
use vipd::config::system::TableSystem;
use vipd::config::text::expand::TextEnv;
use vipd::config::text::source::MapLoader;
use vipd::kernel::ipvs::dump::Seen;
use vipd::kernel::ipvs::plan::{Op, Rules, plan};
use vipd::sim::build;
use vipd::spec::balance::LvsSpec;
use vipd::spec::{IfName, Spec};
use vipd::time::{Interval, Time};
use vipd::vrrp::Engine;
use vipd::vrrp::io::{Action, Input, Link, RxMeta};
use vipd::wire::advert::Saying;
use vipd::wire::checksum::ChecksumRule;
use vipd::wire::{Family, Priority, Version, Vrid, frames};

const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.kept");
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// Virtual routers that one link has room for.
const A_LINK: u32 = 255;
/// Growth that is no accident, in percent.
const TOLERATED: f64 = 3.0;

/// (name, numbers of virtual routers or of real servers, what is counted)
type Scenario = (&'static str, &'static [u32], fn(u32) -> (u32, Box<dyn FnMut()>));

const SCENARIOS: [Scenario; 8] = [
    ("send an advert", &[1, 255, 4_080], send),
    ("hear an advert", &[1, 255, 4_080], hear),
    ("take over", &[1, 255, 4_080], take_over),
    ("reload, unchanged", &[255, 4_080], reload),
    ("snapshot", &[255, 4_080], snapshot),
    ("read the configuration", &[255, 4_080], read),
    ("begin to balance", &[1_000], balance),
    ("make the requests", &[1_000], requests),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench" && word != "--test").collect();
    if let [flag, name, count] = words.as_slice()
        && flag == "--one"
    {
        let (_, _, make) = SCENARIOS.iter().find(|(known, ..)| known == name).unwrap();
        let (units, mut act) = make(count.parse().unwrap());
        vipd_counted(&mut *act);
        println!("{units}");
        return;
    }
    let keep = words.iter().any(|word| word == "--keep");
    let chosen: Vec<&String> = words.iter().filter(|word| !word.starts_with("--")).collect();
    let before = std::fs::read_to_string(KEPT).unwrap_or_default();
    println!(
        "{:24} {:>8} {:>14} {:>10} {:>8} {:>7}",
        "for each of them", "of them", "instructions", "kept", "change", "power"
    );
    let mut lines = vec![format!("# {}; cargo bench --bench instructions -- --keep", compiler())];
    let (mut grown, mut compared) = (false, false);
    for (name, counts, _) in SCENARIOS.iter().filter(|(name, ..)| chosen.iter().all(|word| name.contains(&***word))) {
        let mut last: Option<(u32, f64)> = None;
        for count in *counts {
            let Some((whole, units)) = counted(name, *count) else {
                eprintln!("not counted: valgrind is not there, or does not run here");
                std::process::exit(2);
            };
            let each = whole / f64::from(units);
            let line = format!("{name} | {count} | ");
            let kept = before.lines().find_map(|known| known.strip_prefix(&line)?.parse::<f64>().ok());
            let change = kept.map(|kept| (each / kept - 1.0) * 100.0);
            let power = last.map(|(n, before)| (whole / before).ln() / (f64::from(*count) / f64::from(n)).ln());
            compared |= change.is_some();
            grown |= change.is_some_and(|change| change > TOLERATED);
            println!(
                "{name:24} {count:>8} {each:>14.0} {:>10} {:>8} {:>7}",
                kept.map_or("-".into(), |kept| format!("{kept:.0}")),
                change.map_or("-".into(), |change| format!("{change:+.1} %")),
                power.map_or("-".into(), |power| format!("{power:.2}")),
            );
            lines.push(format!("{line}{each:.0}"));
            last = Some((*count, whole));
        }
    }
    if keep && chosen.is_empty() {
        std::fs::write(KEPT, lines.join("\n") + "\n").unwrap();
    } else if grown {
        println!("grown by more than {TOLERATED} %");
        std::process::exit(1);
    } else if !keep && !compared {
        eprintln!("nothing was compared: {KEPT} has no figure for what was counted; `--keep` writes all of them");
        std::process::exit(2);
    }
}

/// Instructions of one scenario, and how many units it had.
fn counted(name: &str, count: u32) -> Option<(f64, u32)> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=vipd_counted")
        .arg(std::env::current_exe().ok()?)
        .args(["--one", name, &count.to_string()])
        .output()
        .ok()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let whole = told.lines().find_map(|line| line.split("Collected :").nth(1))?.trim().parse().ok()?;
    let units = String::from_utf8_lossy(&output.stdout).trim().parse().ok()?;
    Some((whole, units))
}

/// The one function that callgrind is to see.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "Rust" fn vipd_counted(act: &mut dyn FnMut()) {
    act();
}

fn compiler() -> String {
    let version = Command::new("rustc").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&version).trim().to_owned()
}

/// So many virtual routers, [`A_LINK`] to a link.
fn spec(routers: u32, priority: u8) -> Arc<Spec> {
    let instances = (0..routers).map(|n| {
        let mut instance = build::instance(&format!("V{n}"), vrid(n), priority, &[IpAddr::V4(address(n))]);
        instance.interface = IfName::new(&format!("eth{}", n / A_LINK));
        instance.version = Version::V3;
        instance
    });
    Arc::new(build::spec(instances.collect()))
}

fn vrid(n: u32) -> u8 {
    (n % A_LINK + 1) as u8
}

fn address(n: u32) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, (n / A_LINK) as u8, vrid(n))
}

fn links(routers: u32) -> Vec<Link> {
    let link = |n: u32| build::link(n + 2, &format!("eth{n}"), &[&format!("10.0.{n}.1")]);
    (0..routers.div_ceil(A_LINK)).map(link).collect()
}

/// An advert of another server for each virtual router.
fn adverts(routers: u32) -> Vec<(RxMeta, Vec<u8>)> {
    let one = |n: u32| {
        let source = Ipv4Addr::new(10, 0, (n / A_LINK) as u8, 2);
        let saying = Saying {
            family: Family::V4,
            version: Version::V3,
            vrid: Vrid::new(vrid(n)).unwrap(),
            priority: Priority(200),
            interval: Interval::from_secs(1),
            auth_type: 0,
            password: [0; 8],
            addresses: &[IpAddr::V4(address(n))],
        };
        let mut bytes = frames::ipv4_header(source, GROUP, 112, 255, 1, 12).to_vec();
        saying.emit(Some(ChecksumRule::pseudo(source.into(), GROUP.into())), &mut bytes);
        let meta = RxMeta { ifindex: n / A_LINK + 2, source: source.into(), destination: GROUP.into(), ttl: Some(255) };
        (meta, bytes)
    };
    (0..routers).map(one).collect()
}

/// Takes everything that the engine wishes; answers how many adverts were among it.
fn drain(engine: &mut Engine) -> usize {
    std::iter::from_fn(|| engine.poll()).filter(|action| matches!(action, Action::Transmit(_))).count()
}

/// Seconds of adverts that are counted: enough for what happens now and then.
const SECONDS: u32 = 5;

fn masters(routers: u32) -> (Engine, Time) {
    let mut engine = Engine::new(spec(routers, 200), links(routers), Time::ZERO);
    // Past the second round of announcements.
    let now = Time::ZERO + Interval::from_secs(20);
    engine.handle(Input::Tick, now);
    drain(&mut engine);
    (engine, now)
}

fn backups(routers: u32) -> Engine {
    let mut engine = Engine::new(spec(routers, 100), links(routers), Time::ZERO);
    drain(&mut engine);
    engine
}

fn send(routers: u32) -> (u32, Box<dyn FnMut()>) {
    let (mut engine, mut now) = masters(routers);
    let act = move || {
        for _ in 0..SECONDS {
            now += Interval::from_secs(1);
            engine.handle(Input::Tick, now);
            assert_eq!(drain(&mut engine), routers as usize);
        }
    };
    (routers * SECONDS, Box::new(act))
}

fn hear(routers: u32) -> (u32, Box<dyn FnMut()>) {
    let (mut engine, adverts, mut now) = (backups(routers), adverts(routers), Time::ZERO);
    let mut a_second = move || {
        now += Interval::from_secs(1);
        for (meta, bytes) in &adverts {
            engine.handle(Input::Datagram { meta: *meta, bytes }, now);
        }
        assert_eq!(drain(&mut engine), 0, "who hears a master is silent");
    };
    // The first one tells who the master is.
    a_second();
    (routers * SECONDS, Box::new(move || (0..SECONDS).for_each(|_| a_second())))
}

/// The master is silent: an advert, a claim and what is told of it, for each.
fn take_over(routers: u32) -> (u32, Box<dyn FnMut()>) {
    let mut engine = backups(routers);
    let act = move || {
        engine.handle(Input::Tick, Time::ZERO + Interval::from_millis(3_900));
        assert_eq!(drain(&mut engine), routers as usize);
    };
    (routers, Box::new(act))
}

fn reload(routers: u32) -> (u32, Box<dyn FnMut()>) {
    let (mut engine, now) = masters(routers);
    let spec = spec(routers, 200);
    let act = move || {
        engine.reload(spec.clone(), now);
        assert_eq!(drain(&mut engine), 0, "nothing is different");
    };
    (routers, Box::new(act))
}

fn snapshot(routers: u32) -> (u32, Box<dyn FnMut()>) {
    let (engine, now) = masters(routers);
    (routers, Box::new(move || assert_eq!(engine.snapshot(now).instances.len(), routers as usize)))
}

fn read(routers: u32) -> (u32, Box<dyn FnMut()>) {
    const MAIN: &str = "/etc/keepalived/keepalived.conf";
    let mut text = String::from("global_defs {\n    router_id bench\n}\n");
    for n in 0..routers {
        text.push_str(&format!(
            "vrrp_instance V{n} {{\n    interface eth{}\n    virtual_router_id {}\n    priority 100\n    \
             virtual_ipaddress {{\n        {}/32\n    }}\n}}\n",
            n / A_LINK,
            vrid(n),
            address(n)
        ));
    }
    let act = move || {
        let (files, system) = (MapLoader::default().with(MAIN, text.as_str()), TableSystem::anywhere());
        let env = Env { text: TextEnv::default(), system: &system };
        let (spec, diagnostics) = load(MAIN, &env, &files);
        assert_eq!(spec.unwrap().instances.len(), routers as usize, "{:?}", diagnostics.list.first());
        // A complaint has the whole text searched for secrets, which is not what is counted here.
        assert!(diagnostics.list.is_empty(), "{:?}", diagnostics.list.first());
    };
    (routers, Box::new(act))
}

/// A hundred real servers to a virtual one, as docs/performance.md measures the start.
fn balanced(servers: u32) -> Arc<LvsSpec> {
    const MAIN: &str = "/etc/keepalived/keepalived.conf";
    let mut text = String::new();
    for n in 0..servers.div_ceil(100) {
        text.push_str(&format!("virtual_server 10.0.0.{n} 80 {{\nlb_algo rr\nlb_kind NAT\nprotocol TCP\n"));
        for server in 0..100 {
            text.push_str(&format!("real_server 10.1.0.{server} {} {{\nTCP_CHECK {{\n}}\n}}\n", 8000 + n));
        }
        text.push_str("}\n");
    }
    let (files, system) = (MapLoader::default().with(MAIN, text.as_str()), TableSystem::anywhere());
    let (spec, diagnostics) = load(MAIN, &Env { text: TextEnv::default(), system: &system }, &files);
    spec.unwrap_or_else(|| panic!("{:?}", diagnostics.list.first())).balance.clone()
}

/// What is wished of the kernel's table at the start.
fn pictures(spec: Arc<LvsSpec>) -> BTreeMap<ServiceKey, Arc<Picture>> {
    let mut balancer = Balancer::begin(spec, Beginning::default(), 1, Time::ZERO);
    let served = |action| match action {
        balance::Action::Serve { service, picture, .. } => Some((service, picture)),
        _ => None,
    };
    std::iter::from_fn(|| balancer.poll()).filter_map(served).collect()
}

fn balance(servers: u32) -> (u32, Box<dyn FnMut()>) {
    let spec = balanced(servers);
    (servers, Box::new(move || assert_eq!(pictures(spec.clone()).len() as u32, servers / 100)))
}

/// From what is wanted of an empty table to the bytes.
fn requests(servers: u32) -> (u32, Box<dyn FnMut()>) {
    let wanted = pictures(balanced(servers));
    let mut bytes = vec![0; 4096];
    let act = move || {
        let steps = plan(&wanted, &Seen::default(), Rules::default());
        assert_eq!(steps.len() as u32, servers + servers / 100);
        for message in steps.iter().map(Op::message) {
            message.emit(&mut bytes[..message.buffer_len()]);
        }
    };
    (servers, Box::new(act))
}

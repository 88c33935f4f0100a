//! Random worlds: configurations and bad days out of one seed.
//!
//! A world is first a plan of plain values; from the plan come both the [`Spec`]s that the engines get and the
//! keepalived.conf texts that say the same, so that a broken law can be replayed from files.

use super::bounds::Bounds;
use super::build;
use super::random::Random;
use super::scenario::{Act, Conduct, Edit, LanSettings, Mood, Scenario};
use crate::engine::spec::{Auth, FileSpec, GroupId, GroupSpec, IfName, InstanceId, ScriptId, Spec, Tie, TieTarget};
use crate::time::{Interval, Time};
use crate::wire::{Family, Version};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Everything about a random world.
#[derive(Clone, Debug)]
pub struct Weather {
    pub specs: Vec<(String, Arc<Spec>)>,
    pub scenario: Scenario,
    plan: Plan,
}

#[derive(Clone, Debug)]
struct Plan {
    routers: Vec<RouterPlan>,
    grouped: bool,
    nodes: Vec<NodePlan>,
}

/// What all nodes agree on.
#[derive(Clone, Debug)]
struct RouterPlan {
    vrid: u8,
    segment: u8,
    version: Version,
    unicast: bool,
    password: Option<(bool, &'static str)>,
    addresses: Vec<IpAddr>,
}

#[derive(Clone, Debug)]
struct NodePlan {
    scripts: Vec<ScriptPlan>,
    file: Option<i32>,
    startup: u64,
    instances: Vec<InstancePlan>,
}

#[derive(Clone, Debug)]
struct ScriptPlan {
    rise: u32,
    fall: u32,
    weight: i32,
    interval: Interval,
}

#[derive(Clone, Debug)]
struct InstancePlan {
    version: Version,
    priority: u8,
    interval: Interval,
    preempt: bool,
    preempt_delay: u64,
    down_adverts: u32,
    no_advert: bool,
    send_advert: bool,
    garp_delay: u64,
    garp_refresh: u64,
    file_weight: i32,
}

/// The world of this seed.
pub fn world(seed: u64) -> Weather {
    let mut random = Random::new(seed ^ 0x0005_EED0_FBAD_DA75);
    let plan = plan(&mut random);
    let specs: Vec<(String, Arc<Spec>)> =
        (0..plan.nodes.len()).map(|node| (name(node).to_string(), Arc::new(spec(&plan, node)))).collect();
    let scenario = scenario(&mut random, &plan, &specs, seed);
    Weather { specs, scenario, plan }
}

fn name(node: usize) -> &'static str {
    ["a", "b", "c", "d", "e", "f", "g", "h", "i"].get(node).copied().unwrap_or("z")
}

fn plan(random: &mut Random) -> Plan {
    let count = match random.below(20) {
        0..=10 => 2,
        11..=15 => 3,
        16..=17 => 4,
        18 => random.within(5, 6) as usize,
        _ => random.within(7, 9) as usize,
    };
    let routers: Vec<RouterPlan> = (0..if count > 4 { 1 } else { random.within(1, 3) })
        .map(|number| {
            let six = random.one_in(4);
            let version = if six || random.one_in(2) { Version::V3 } else { Version::V2 };
            let address = |n: u64| match six {
                true => IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, number as u16 + 1, 0, 0x100 + n as u16)),
                false => IpAddr::V4(Ipv4Addr::new(198, 51, 100, (number * 16 + n + 1) as u8)),
            };
            RouterPlan {
                vrid: (51 + number) as u8,
                segment: random.below(2) as u8,
                version,
                unicast: random.one_in(3),
                password: (version == Version::V2 && random.one_in(3)).then_some((random.one_in(3), "s3cret")),
                addresses: (0..random.within(1, 3)).map(address).collect(),
            }
        })
        .collect();
    let grouped = routers.len() > 1 && random.one_in(2);
    let usual = match random.below(4) {
        0 => Interval::from_millis(200),
        1 => Interval::from_millis(500),
        _ => Interval::from_secs(1),
    };
    let nopreempt = random.one_in(4);
    let nodes = (0..count).map(|_| node(random, &routers, grouped, usual, nopreempt)).collect();
    Plan { routers, grouped, nodes }
}

fn node(random: &mut Random, routers: &[RouterPlan], grouped: bool, usual: Interval, nopreempt: bool) -> NodePlan {
    let weighted = !grouped && random.one_in(2);
    let scripts = (0..random.below(3).saturating_sub(if random.one_in(2) { 1 } else { 0 }))
        .map(|_| ScriptPlan {
            rise: random.within(1, 3) as u32,
            fall: random.within(1, 3) as u32,
            weight: if weighted { random.within(1, 100) as i32 - 50 } else { 0 },
            interval: Interval::from_millis(500 * random.within(1, 4)),
        })
        .collect();
    let rank = if random.one_in(20) { 255 } else { random.within(1, 254) as u8 };
    let instances = routers
        .iter()
        .map(|router| {
            let rank = if grouped || random.one_in(2) { rank } else { random.within(1, 254) as u8 };
            let version = match router.version {
                Version::V3 if router.addresses.iter().all(IpAddr::is_ipv4) && random.one_in(25) => Version::V2,
                version => version,
            };
            let own = |random: &mut Random| Interval::from_millis(100 * random.within(1, 15));
            let interval = match version {
                Version::V2 => Interval::from_secs(1),
                Version::V3 if random.one_in(5) => own(random),
                Version::V3 => usual,
            };
            let preempt = rank == 255 || !(nopreempt && random.one_in(2));
            InstancePlan {
                version,
                priority: rank,
                interval,
                preempt,
                preempt_delay: if preempt && random.one_in(8) { random.within(1, 4) } else { 0 },
                down_adverts: if random.one_in(6) { random.within(1, 5) as u32 } else { 3 },
                no_advert: random.one_in(8),
                send_advert: random.one_in(8),
                garp_delay: random.within(0, 3),
                garp_refresh: if random.one_in(6) { random.within(1, 5) } else { 0 },
                file_weight: if weighted { random.within(1, 6) as i32 - 3 } else { 0 },
            }
        })
        .collect();
    NodePlan {
        scripts,
        file: random.one_in(5).then_some(0),
        startup: if random.one_in(12) { random.within(1, 4) } else { 0 },
        instances,
    }
}

fn source(plan: &Plan, node: usize, router: &RouterPlan) -> IpAddr {
    let _ = plan;
    match router.addresses.first().map_or(Family::V4, Family::of) {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(10, 77, router.segment, node as u8 + 1)),
        Family::V6 => IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, u16::from(router.segment), 0, 0, 0, node as u16 + 1)),
    }
}

fn spec(plan: &Plan, node: usize) -> Spec {
    let Some(own) = plan.nodes.get(node) else { return Spec::default() };
    let mut spec = Spec { startup_delay: Interval::from_secs(own.startup), ..Spec::default() };
    for (number, script) in own.scripts.iter().enumerate() {
        let mut made = build::script(&format!("check{number}"), script.interval, script.rise, script.fall);
        made.weight = script.weight;
        spec.scripts.push(made);
    }
    if own.file.is_some() {
        let (name, path) = ("switch".into(), format!("/run/{}.switch", self::name(node)).into());
        spec.files.push(FileSpec { name, path, weight: 0, reverse: false, init: None });
    }
    for (number, (router, plans)) in plan.routers.iter().zip(&own.instances).enumerate() {
        let mut made = build::instance(&format!("V{}", router.vrid), router.vrid, plans.priority, &router.addresses);
        made.version = plans.version;
        made.interface = IfName::new(&format!("eth{}", router.segment));
        made.interval = plans.interval;
        made.preempt = plans.preempt;
        made.preempt_delay = Interval::from_secs(plans.preempt_delay);
        made.down_adverts = plans.down_adverts;
        made.lower_prio_no_advert = plans.no_advert;
        made.higher_prio_send_advert = plans.send_advert;
        made.garp.delay = Interval::from_secs(plans.garp_delay);
        made.garp.refresh = Interval::from_secs(plans.garp_refresh);
        made.garp.lower_prio_delay = made.garp.delay;
        if let Some((header, word)) = router.password {
            let mut key = [0; 8];
            key.iter_mut().zip(word.bytes()).for_each(|(slot, byte)| *slot = byte);
            made.auth = match (plans.version, header) {
                (Version::V3, _) => Auth::None,
                (Version::V2, true) => Auth::Ah(key),
                (Version::V2, false) => Auth::Pass(key),
            };
        }
        if router.unicast {
            let others = (0..plan.nodes.len()).filter(|other| *other != node).map(|other| source(plan, other, router));
            made.transport = build::peers(others);
            made.source = Some(source(plan, node, router));
        }
        for (script, plans) in own.scripts.iter().enumerate() {
            let on = TieTarget::Script(ScriptId(script as u32));
            made.ties.push(Tie { on, weight: plans.weight, reverse: false, from_group: plan.grouped });
        }
        if own.file.is_some() {
            let on = TieTarget::File(crate::engine::spec::FileId(0));
            made.ties.push(Tie { on, weight: plans.file_weight, reverse: false, from_group: false });
        }
        made.group = plan.grouped.then_some(GroupId(0));
        let _ = number;
        spec.instances.push(made);
    }
    if plan.grouped {
        let members = (0..spec.instances.len()).map(|i| InstanceId(i as u32)).collect();
        spec.groups.push(GroupSpec { name: "G".into(), members, ..GroupSpec::default() });
    }
    spec
}

impl Weather {
    /// The configurations, a file a node: (name, text).
    pub fn configurations(&self) -> Vec<(String, String)> {
        (0..self.plan.nodes.len()).map(|node| (name(node).to_string(), text(&self.plan, node))).collect()
    }
}

fn text(plan: &Plan, node: usize) -> String {
    let mut out = String::new();
    let Some(own) = plan.nodes.get(node) else { return out };
    if own.startup > 0 {
        let _ = writeln!(out, "global_defs {{\n    vrrp_startup_delay {}\n}}", own.startup);
    }
    for (number, script) in own.scripts.iter().enumerate() {
        let ScriptPlan { rise, fall, weight, interval } = script;
        let _ = writeln!(
            out,
            "vrrp_script check{number} {{\n    script \"/bin/true\"\n    interval {interval}\n    timeout {interval}\n    \
             rise {rise}\n    fall {fall}\n    weight {weight}\n}}"
        );
    }
    if own.file.is_some() {
        let _ = writeln!(out, "track_file switch {{\n    file /run/{}.switch\n    weight 0\n}}", name(node));
    }
    for (router, plans) in plan.routers.iter().zip(&own.instances) {
        let _ = write!(out, "{}", Block { plan, own, node, router, plans });
    }
    if plan.grouped {
        let _ = writeln!(out, "vrrp_sync_group G {{\n    group {{");
        plan.routers.iter().for_each(|router| {
            let _ = writeln!(out, "        V{}", router.vrid);
        });
        let _ = writeln!(out, "    }}\n}}");
    }
    out
}

/// One `vrrp_instance` as text.
struct Block<'a> {
    plan: &'a Plan,
    own: &'a NodePlan,
    node: usize,
    router: &'a RouterPlan,
    plans: &'a InstancePlan,
}

impl std::fmt::Display for Block<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Block { plan, own, node, router, plans } = *self;
        writeln!(f, "vrrp_instance V{} {{", router.vrid)?;
        writeln!(f, "    version {}", plans.version)?;
        writeln!(f, "    interface eth{}", router.segment)?;
        writeln!(f, "    virtual_router_id {}", router.vrid)?;
        writeln!(f, "    priority {}", plans.priority)?;
        writeln!(f, "    advert_int {}", plans.interval)?;
        if !plans.preempt {
            writeln!(f, "    nopreempt")?;
        }
        if plans.preempt_delay > 0 {
            writeln!(f, "    preempt_delay {}", plans.preempt_delay)?;
        }
        if plans.down_adverts != 3 {
            writeln!(f, "    down_timer_adverts {}", plans.down_adverts)?;
        }
        writeln!(f, "    lower_prio_no_advert {}", plans.no_advert)?;
        writeln!(f, "    higher_prio_send_advert {}", plans.send_advert)?;
        writeln!(f, "    garp_master_delay {}", plans.garp_delay)?;
        writeln!(f, "    garp_master_refresh {}", plans.garp_refresh)?;
        if router.unicast {
            writeln!(f, "    unicast_src_ip {}\n    unicast_peer {{", source(plan, node, router))?;
            for other in (0..plan.nodes.len()).filter(|other| *other != node) {
                writeln!(f, "        {}", source(plan, other, router))?;
            }
            writeln!(f, "    }}")?;
        }
        if let (Some((header, word)), Version::V2) = (router.password, plans.version) {
            let kind = if header { "AH" } else { "PASS" };
            writeln!(f, "    authentication {{\n        auth_type {kind}\n        auth_pass {word}\n    }}")?;
        }
        writeln!(f, "    virtual_ipaddress {{")?;
        router.addresses.iter().try_for_each(|address| writeln!(f, "        {address}"))?;
        writeln!(f, "    }}")?;
        if !own.scripts.is_empty() {
            writeln!(f, "    track_script {{")?;
            (0..own.scripts.len()).try_for_each(|n| writeln!(f, "        check{n}"))?;
            writeln!(f, "    }}")?;
        }
        if own.file.is_some() {
            writeln!(f, "    track_file {{\n        switch weight {}\n    }}", plans.file_weight)?;
        }
        writeln!(f, "}}")
    }
}

fn scenario(random: &mut Random, plan: &Plan, specs: &[(String, Arc<Spec>)], seed: u64) -> Scenario {
    let mut scenario = Scenario { seed, ..Scenario::default() };
    let slow = if random.one_in(5) { Interval::from_millis(20) } else { Interval::from_micros(800) };
    scenario.lan = LanSettings { latency: (Interval::from_micros(50), slow), ..LanSettings::default() };
    if random.one_in(4) {
        scenario.lan.duplicate = 20_000;
    }
    let mut at = Interval::ZERO;
    let mut until = Interval::ZERO;
    for _ in 0..random.within(1, 7) {
        at += if random.one_in(4) {
            random.interval(Interval::ZERO, Interval::from_millis(400))
        } else {
            random.interval(Interval::from_millis(100), Interval::from_secs(7))
        };
        let lasts = if random.one_in(3) {
            random.interval(Interval::from_millis(1), Interval::from_secs(1))
        } else {
            random.interval(Interval::from_millis(500), Interval::from_secs(9))
        };
        let (begin, end, always) = trouble(random, plan, &scenario);
        scenario.acts.push((Time::ZERO + at, begin));
        until = until.max(at);
        let undo = always || !random.one_in(7);
        if let (Some(end), true) = (end, undo) {
            scenario.acts.push((Time::ZERO + at + lasts, end));
            until = until.max(at + lasts);
        }
    }
    scenario.acts.sort_by_key(|(at, _)| *at);
    if random.one_in(6) {
        let node: Box<str> = name(random.below(plan.nodes.len() as u64) as usize).into();
        scenario.absent.push(node.clone());
        scenario.acts.push((Time::ZERO + until, Act::Start(node)));
    }
    let plain: Vec<&Spec> = specs.iter().map(|(_, spec)| &**spec).collect();
    let bounds = Bounds::of(&plain, &scenario);
    scenario.run = until + Interval::from_secs(1) + bounds.settle + Interval::from_millis(1_500);
    scenario
}

/// Something bad, its end if it has one, and whether it must end for the laws to be asked.
fn trouble(random: &mut Random, plan: &Plan, scenario: &Scenario) -> (Act, Option<Act>, bool) {
    let count = plan.nodes.len() as u64;
    let first = random.below(count) as usize;
    let other = (first + 1 + random.below(count - 1) as usize) % plan.nodes.len();
    let node: Box<str> = name(first).into();
    let own = plan.nodes.get(first);
    let scripts = own.map_or(0, |n| n.scripts.len()) as u64;
    let router = plan.routers.get(random.below(plan.routers.len() as u64) as usize);
    let instance: Box<str> = router.map_or("V51".into(), |r| format!("V{}", r.vrid).into());
    let interface: Box<str> = router.map_or("eth0".into(), |r| format!("eth{}", r.segment).into());
    let address = router.and_then(|r| r.addresses.first()).copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    match random.below(20) {
        0 => (Act::Kill(node.clone()), Some(Act::Start(node)), false),
        1 => (Act::Crash(node.clone()), Some(Act::Start(node)), false),
        2 | 3 => (Act::Stop(node.clone()), Some(Act::Start(node)), false),
        4 => (Act::Pause(node.clone()), Some(Act::Resume(node)), false),
        5 | 6 => {
            let link = |up| Act::Link { node: node.clone(), interface: interface.clone(), up };
            (link(false), Some(link(true)), false)
        }
        7 | 8 => {
            let (from, to, both): (Box<str>, Box<str>, bool) = (node, name(other).into(), random.one_in(2));
            let cut = Act::Cut { from: from.clone(), to: to.clone(), both, segment: None };
            (cut, Some(Act::Mend { from, to, both, segment: None }), false)
        }
        9 => {
            let part = (0..plan.nodes.len()).filter(|_| random.one_in(2)).map(|n| name(n).into()).collect();
            (Act::Partition(vec![part]), Some(Act::Heal), false)
        }
        10 => {
            let loss = random.within(10_000, 300_000) as u32;
            (Act::Lan(LanSettings { loss, ..scenario.lan }), Some(Act::Lan(scenario.lan)), true)
        }
        11 | 12 if scripts > 0 => {
            let script: Box<str> = format!("check{}", random.below(scripts)).into();
            let conduct = match random.below(6) {
                0 => Conduct::Hang,
                1 => Conduct::Stubborn,
                2 => Conduct::Flap,
                3 => Conduct::Missing,
                _ => Conduct::Fail,
            };
            let act = |conduct| Act::Script { node: node.clone(), script: script.clone(), conduct };
            (act(conduct), Some(act(Conduct::Succeed)), conduct == Conduct::Flap)
        }
        13 if own.is_some_and(|n| n.file.is_some()) => {
            let value = random.within(1, 40) as i32 - 20;
            let act = |value| Act::File { node: node.clone(), file: "switch".into(), value };
            (act(value), Some(act(0)), false)
        }
        14 => {
            let slow = Mood::Slow(random.interval(Interval::from_millis(5), Interval::from_millis(800)));
            let mood = if random.one_in(2) { Mood::Failing } else { slow };
            let act = |mood| Act::Netlink { node: node.clone(), mood };
            (act(mood), Some(act(Mood::Well)), true)
        }
        15 => {
            let by = random.interval(Interval::from_millis(1), Interval::from_secs(100_000));
            (Act::Clock { node, forward: random.one_in(2), by }, None, false)
        }
        16 => {
            let late = |by| Act::Late { node: node.clone(), by };
            (
                late(random.interval(Interval::from_millis(1), Interval::from_millis(30))),
                Some(late(Interval::ZERO)),
                false,
            )
        }
        17 => {
            let edits = match random.below(4) {
                0 => Vec::new(),
                1 if !plan.grouped => vec![Edit::Priority { instance, priority: random.within(1, 254) as u8 }],
                2 => vec![Edit::Add { instance, address: another(address) }],
                _ => vec![Edit::Remove { instance, address }],
            };
            (Act::Reload { node, edits }, None, false)
        }
        18 => (Act::Steal { node, address }, None, false),
        _ if random.one_in(2) => (Act::Drain(node.clone()), Some(Act::Undrain(node)), false),
        _ => (Act::Failover(node), None, false),
    }
}

fn another(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(a) => {
            let [w, x, _, z] = a.octets();
            IpAddr::V4(Ipv4Addr::new(w, x, 101, z))
        }
        IpAddr::V6(a) => {
            let [a, b, c, d, e, f, _, h] = a.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, 1, h))
        }
    }
}

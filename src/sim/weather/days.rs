//! Bad days: what happens to a random world, when, and when it ends.

use super::plan::{Kind, Plan, SESSION, SessionPlan, TrackerPlan, name};
use crate::random::Random;
use crate::sim::bounds::Bounds;
use crate::sim::clocks;
use crate::sim::scenario::{Act, Conduct, Edit, LanSettings, Mood, Scenario, Way};
use crate::spec::Spec;
use crate::time::{Interval, Time};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

pub(super) fn scenario(random: &mut Random, plan: &Plan, specs: &[(String, Arc<Spec>)], seed: u64) -> Scenario {
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
    if let Some(session) = plan.session {
        until = until.max(paths(seed, plan, session, &mut scenario));
    }
    if let Some(servers) = &plan.servers {
        until = until.max(super::servers::trouble(seed, servers, &mut scenario));
    }
    let plain: Vec<&Spec> = specs.iter().map(|(_, spec)| &**spec).collect();
    let bounds = Bounds::of(&plain, &scenario);
    let steps = scenario.acts.iter().any(|(_, act)| matches!(act, Act::Clock { .. }));
    let clocks = plain.iter().filter(|_| steps).map(|spec| clocks::longest(spec)).max().unwrap_or_default();
    scenario.run =
        until + clocks + Interval::from_secs(1) + bounds.settle.max(bounds.servers) + Interval::from_millis(1_500);
    scenario
}

/// Something bad, its end if it has one, and whether it must end for the laws to be asked.
fn trouble(random: &mut Random, plan: &Plan, scenario: &Scenario) -> (Act, Option<Act>, bool) {
    let count = plan.nodes.len() as u64;
    let first = random.below(count) as usize;
    let other = (first + 1 + random.below(count - 1) as usize) % plan.nodes.len();
    let node: Box<str> = name(first).into();
    let own = plan.nodes.get(first).map_or(&[][..], |own| &own.trackers);
    // The session's days are drawn apart: what happens otherwise stays what it was before there were sessions.
    let others = own.iter().position(|tracker| tracker.kind == Kind::Session).unwrap_or(own.len());
    let tracker = own.get(..others).and_then(|own| random.pick(own));
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
        11..=13 if tracker.is_some() => track(random, node, tracker),
        14 => {
            let slow = Mood::Slow(random.interval(Interval::from_millis(5), Interval::from_millis(800)));
            let mood = if random.one_in(2) { Mood::Failing } else { slow };
            let act = |mood| Act::Netlink { node: node.clone(), mood };
            (act(mood), Some(act(Mood::Well)), true)
        }
        15 => {
            // Most steps are of the size of the windows of auth_hmac, where they matter most.
            let most = if random.one_in(4) { 100_000 } else { 12 };
            let by = random.interval(Interval::from_millis(1), Interval::from_secs(most));
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
            if random.one_in(3) {
                // An instance is taken out, and put back later.
                let reload = |edit| Act::Reload { node: node.clone(), edits: vec![edit] };
                let gone = reload(Edit::Gone { instance: instance.clone() });
                return (gone, Some(reload(Edit::Back { instance })), false);
            }
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

/// What is tracked says something else for a while.
fn track(random: &mut Random, node: Box<str>, tracker: Option<&TrackerPlan>) -> (Act, Option<Act>, bool) {
    let Some(TrackerPlan { name, kind, .. }) = tracker else { return (Act::Heal, None, false) };
    let name: Box<str> = name.as_str().into();
    match kind {
        Kind::Interface => {
            let act = |up| Act::Link { node: node.clone(), interface: name.clone(), up };
            (act(false), Some(act(true)), false)
        }
        // See `paths`.
        Kind::Session => (Act::Heal, None, false),
        Kind::Script { .. } => {
            let conduct = match random.below(6) {
                0 => Conduct::Hang,
                1 => Conduct::Stubborn,
                2 => Conduct::Flap,
                3 => Conduct::Missing,
                _ => Conduct::Fail,
            };
            let act = |conduct| Act::Script { node: node.clone(), script: name.clone(), conduct };
            (act(conduct), Some(act(Conduct::Succeed)), conduct == Conduct::Flap)
        }
        Kind::File => {
            let act = |value| Act::File { node: node.clone(), file: name.clone(), value };
            (act(random.within(1, 40) as i32 - 20), Some(act(0)), false)
        }
        Kind::Process { quorum, .. } => {
            let act = |count| Act::Process { node: node.clone(), process: name.clone(), count };
            (act(random.below(4) as u32), Some(act(*quorum)), false)
        }
    }
}

/// Bad times of the paths that sessions watch, beside what else happens; gives when the last of it ends.
fn paths(seed: u64, plan: &Plan, session: SessionPlan, scenario: &mut Scenario) -> Interval {
    let mut random = Random::new(seed ^ 0x000B_FDDA_7500);
    let mut until = Interval::ZERO;
    for _ in 0..random.within(0, 3) {
        let node: Box<str> = name(random.below(plan.nodes.len() as u64) as usize).into();
        let at = random.interval(Interval::ZERO, Interval::from_secs(15));
        let lasts = random.interval(Interval::from_millis(10), Interval::from_secs(9));
        let bad = match random.below(5) {
            0 => Way::Down,
            1 => Way::Deaf,
            2 => Way::Mute,
            _ if session.gateway => Way::Frozen,
            _ => Way::Down,
        };
        let act = |way| Act::Path { node: node.clone(), session: SESSION.into(), way };
        scenario.acts.push((Time::ZERO + at, act(bad)));
        if !random.one_in(5) {
            scenario.acts.push((Time::ZERO + at + lasts, act(Way::Up)));
        }
        until = until.max(at + lasts);
    }
    scenario.acts.sort_by_key(|(at, _)| *at);
    until
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

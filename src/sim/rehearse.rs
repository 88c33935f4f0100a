//! From one word ("kill") to a scenario: the master fails in that way once everything has settled, and recovers later.

use super::bounds::Bounds;
use super::lan::interfaces;
use super::scenario::{Act, Conduct, Scenario, Way};
use crate::spec::backend::{self, Health};
use crate::spec::{ScriptSpec, Spec, Tie};
use crate::time::{Interval, Time};
use crate::wire::Family;
use std::net::IpAddr;

const WORDS: &str = "kill, stop, crash, pause, link[:INTERFACE], path[:SESSION], deaf[:SESSION], mute[:SESSION], frozen[:SESSION], script[:NAME], cut, server[:ADDRESS[:PORT]][=HOW], each optionally with @NODE";

/// A scenario for `--fail`: `kill`, `stop`, `crash`, `pause`, `link[:INTERFACE]`, `path[:SESSION]` (of a BFD
/// session; without a name the first that is tracked), `script[:NAME]`, `cut` or
/// `server[:ADDRESS[:PORT]][=HOW]` (a real server, by its address or its snmp_name, without one the first; it refuses, or is
/// what HOW says: `refuse`, `503`, `slow` (later than any check waits), `hang`, `dead`, `flap`), with `@NODE` behind it if another server is meant than the one that holds the first address. Times follow from the
/// configurations: the failure comes when the election must be over, recovery when the takeover must be.
///
/// # Errors
/// `fail` is none of these, or names something that is not configured: a sentence.
pub fn rehearse(fail: &str, specs: &[(String, Spec)]) -> Result<Scenario, String> {
    let (rest, at_node) = fail.split_once('@').map_or((fail, None), |(rest, node)| (rest, Some(node)));
    let (word, argument) = match rest.split_once(':') {
        Some((word, argument)) => (word, Some(argument)),
        None if rest.starts_with("server=") => ("server", rest.strip_prefix("server")),
        None => (rest, None),
    };
    let (name, spec) = match at_node {
        Some(node) => specs.iter().find(|(name, _)| name == node).ok_or_else(|| format!("no node is named {node}"))?,
        None => master(specs)?.or_else(|| primary(specs)).ok_or("there is no configuration")?,
    };
    let node: Box<str> = name.as_str().into();
    let (begin, end) = match word {
        "kill" => (vec![Act::Kill(node.clone())], vec![Act::Start(node)]),
        "stop" => (vec![Act::Stop(node.clone())], vec![Act::Start(node)]),
        "crash" => (vec![Act::Crash(node.clone())], vec![Act::Start(node)]),
        "pause" => (vec![Act::Pause(node.clone())], vec![Act::Resume(node)]),
        "link" => {
            let all = interfaces(spec);
            let wanted = match argument {
                Some(one) if !all.iter().any(|name| **name == *one) => {
                    return Err(format!("{name} has no interface {one} in its configuration"));
                }
                Some(one) => vec![one.into()],
                None => all.into_iter().collect::<Vec<Box<str>>>(),
            };
            let link = |up| wanted.iter().map(|i| Act::Link { node: node.clone(), interface: i.clone(), up }).collect();
            (link(false), link(true))
        }
        "path" | "deaf" | "mute" | "frozen" => {
            let of_tie = |tie: &Tie| tie.on.bfd(spec).map(|bfd| bfd.name.clone());
            let tracked = || spec.instances.iter().flat_map(|i| &i.ties).find_map(of_tie);
            let session = match argument {
                Some(session) => session.into(),
                None => tracked().ok_or_else(|| format!("{name} tracks no BFD session"))?,
            };
            let bad = match word {
                "deaf" => Way::Deaf,
                "mute" => Way::Mute,
                "frozen" => Way::Frozen,
                _ => Way::Down,
            };
            let act = |way| vec![Act::Path { node: node.clone(), session: session.clone(), way }];
            (act(bad), act(Way::Up))
        }
        "script" => {
            let wanted = match argument {
                Some(name) => spec.scripts.iter().find(|s| *s.name == *name),
                None => tracked(spec).or(spec.scripts.first()),
            };
            let script = wanted.ok_or_else(|| match argument {
                Some(script) => format!("{name} has no vrrp_script {script}"),
                None => format!("{name} has no vrrp_script"),
            })?;
            let act = |conduct| vec![Act::Script { node: node.clone(), script: script.name.clone(), conduct }];
            (act(Conduct::Fail), act(Conduct::by_nature(&script.run)))
        }
        "server" => {
            let (server, health) = backend::chosen(name, spec, argument.unwrap_or_default())?;
            (vec![Act::Server { server, health }], vec![Act::Server { server, health: Health::Up }])
        }
        "cut" => (vec![Act::Partition(vec![vec![node]])], vec![Act::Heal]),
        other => return Err(format!("{other} is none of: {WORDS}")),
    };
    let mut scenario = Scenario::default();
    for (number, acts) in [begin, end].into_iter().enumerate() {
        scenario.acts.extend(acts.into_iter().map(|act| (Time::from_micros(number as u64), act)));
    }
    let mut settle = settle(specs, &scenario);
    if word == "server" {
        let plain: Vec<&Spec> = specs.iter().map(|(_, spec)| spec).collect();
        let servers = Bounds::of(&plain, &scenario).servers.as_micros().div_ceil(1_000_000) + 1;
        settle = settle.max(Interval::from_secs(servers));
    }
    for (at, _) in &mut scenario.acts {
        *at = Time::ZERO + settle.times(at.as_micros() + 1);
    }
    scenario.run = settle.times(3);
    Ok(scenario)
}

/// Whole seconds after which nothing may move any more.
fn settle(specs: &[(String, Spec)], scenario: &Scenario) -> Interval {
    let plain: Vec<&Spec> = specs.iter().map(|(_, spec)| spec).collect();
    Interval::from_secs(Bounds::of(&plain, scenario).settle.as_micros().div_ceil(1_000_000) + 1)
}

/// The script whose failure concerns the first instance that tracks one.
fn tracked(spec: &Spec) -> Option<&ScriptSpec> {
    spec.instances.iter().flat_map(|i| &i.ties).find_map(|tie| tie.on.script(spec))
}

/// The server that holds the first address that a client could ask, IPv4 before IPv6, when all has settled.
fn master(specs: &[(String, Spec)]) -> Result<Option<&(String, Spec)>, String> {
    let all = specs.iter().flat_map(|(_, spec)| &spec.instances).flat_map(|i| &i.claim.addresses).map(|a| a.address);
    let local = |a: &IpAddr| matches!(a, IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80);
    let Some(address) = all.filter(|a| !local(a)).min_by_key(Family::of) else { return Ok(None) };
    let mut calm = Scenario::default();
    calm.run = settle(specs, &calm);
    let report = super::run(specs.to_vec(), &calm, None)?;
    let held = report.owners.iter().find(|owner| owner.address == address);
    let holder = held.and_then(|owner| owner.holders.first());
    Ok(holder.and_then(|holder| specs.iter().find(|(name, _)| *name == **holder)))
}

/// The server that is meant to be master: highest priority in its first instance, the first named if equal.
fn primary(specs: &[(String, Spec)]) -> Option<&(String, Spec)> {
    let rank = |spec: &Spec| spec.instances.first().map(|i| i.priority);
    specs.iter().rev().max_by_key(|(_, spec)| rank(spec))
}

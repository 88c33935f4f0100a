//! From one word ("kill") to a scenario: the primary fails in that way once everything has settled, and recovers later.

use super::bounds::Bounds;
use super::lan::interfaces;
use super::scenario::{Act, Conduct, Scenario};
use crate::engine::spec::Spec;
use crate::time::{Interval, Time};

const WORDS: &str = "kill, stop, crash, pause, link[:INTERFACE], script[:NAME], cut, each optionally with @NODE";

/// A scenario for `--fail`: `kill`, `stop`, `crash`, `pause`, `link[:INTERFACE]`, `script[:NAME]` or `cut`, with
/// `@NODE` behind it if another server than the one with the highest priority is meant. Times follow from the
/// configurations: the failure comes when the election must be over, recovery when the takeover must be.
pub fn rehearse(fail: &str, specs: &[(String, Spec)]) -> Result<Scenario, String> {
    let (rest, at_node) = fail.split_once('@').map_or((fail, None), |(rest, node)| (rest, Some(node)));
    let (word, argument) = rest.split_once(':').map_or((rest, None), |(word, argument)| (word, Some(argument)));
    let (name, spec) = match at_node {
        Some(node) => specs.iter().find(|(name, _)| name == node).ok_or_else(|| format!("no node is named {node}"))?,
        None => primary(specs).ok_or("there is no configuration")?,
    };
    let node: Box<str> = name.as_str().into();
    let (begin, end) = match word {
        "kill" => (Act::Kill(node.clone()), Act::Start(node)),
        "stop" => (Act::Stop(node.clone()), Act::Start(node)),
        "crash" => (Act::Crash(node.clone()), Act::Start(node)),
        "pause" => (Act::Pause(node.clone()), Act::Resume(node)),
        "link" => {
            let first = spec.instances.iter().find_map(|i| i.interface.as_ref()).map(|n| n.as_str());
            let interface: Box<str> = argument.or(first).unwrap_or("eth0").into();
            if !interfaces(spec).contains(&interface) {
                return Err(format!("{name} has no interface {interface} in its configuration"));
            }
            let link = |up| Act::Link { node: node.clone(), interface: interface.clone(), up };
            (link(false), link(true))
        }
        "script" => {
            let first = spec.scripts.first().map(|s| &*s.name);
            let script: Box<str> = argument.or(first).ok_or_else(|| format!("{name} has no vrrp_script"))?.into();
            let conduct = |conduct| Act::Script { node: node.clone(), script: script.clone(), conduct };
            (conduct(Conduct::Fail), conduct(Conduct::Succeed))
        }
        "cut" => (Act::Partition(vec![vec![node]]), Act::Heal),
        other => return Err(format!("{other} is none of: {WORDS}")),
    };
    let mut scenario = Scenario { acts: vec![(Time::ZERO, begin), (Time::ZERO, end)], ..Scenario::default() };
    let plain: Vec<&Spec> = specs.iter().map(|(_, spec)| spec).collect();
    let settle = Bounds::of(&plain, &scenario).settle.as_micros().div_ceil(1_000_000) + 1;
    for (number, (at, _)) in scenario.acts.iter_mut().enumerate() {
        *at = Time::ZERO + Interval::from_secs(settle * (number as u64 + 1));
    }
    scenario.run = Interval::from_secs(settle * 3);
    Ok(scenario)
}

/// The server that is meant to be master: highest priority in its first instance, the first named if equal.
fn primary(specs: &[(String, Spec)]) -> Option<&(String, Spec)> {
    let rank = |spec: &Spec| spec.instances.first().map(|i| i.priority);
    specs.iter().rev().max_by_key(|(_, spec)| rank(spec))
}

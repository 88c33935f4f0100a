//! What a release leaves to the next: every will under `tests/golden/wills` was written by the release it is named after,
//! and must be inherited for good: a new release that took an address off a server at its upgrade would be an outage.

use super::harness::*;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use vipd::config::text::{expand::TextEnv, source::MapLoader};
use vipd::config::{Env, load, system::TableSystem};
use vipd::spec::{InstanceId, ScriptId, Spec};
use vipd::vrrp::Engine;
use vipd::vrrp::handover::Handover;
use vipd::vrrp::io::*;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/wills"))
}

fn configured(text: &str) -> Spec {
    let env = Env { text: TextEnv::default(), system: &TableSystem::anywhere() };
    let (spec, diagnostics) = load("/k.conf", &env, &MapLoader::default().with("/k.conf", text));
    spec.unwrap_or_else(|| panic!("{:?}", diagnostics.list))
}

fn links() -> Vec<Link> {
    let mut links = super::harness::links();
    links.push(Link { running: false, ..link(4, "eth2", &["10.2.0.1"]) });
    links
}

/// Five minutes of a life: masters alone and in a group, a backup that hears its master, one without carrier.
fn lived(text: &str) -> Bench {
    let mut bench = Bench::on(configured(text), links());
    bench.exits(ScriptId(0), Exit::Code(0));
    let fourth = bench.engine.spec().instances[3].clone();
    let better = Voice::of(&fourth, "10.0.0.9", 200);
    for second in 1..300 {
        bench.until(at(second * 1_000));
        bench.exits(ScriptId(0), Exit::Code(0));
        bench.hear(&better);
    }
    bench
}

/// Every stored will with the configuration that stood beside it: (name, spec, the engine's part).
fn wills() -> Vec<(String, Spec, Value)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "json") {
            let text = std::fs::read_to_string(path.with_extension("conf")).unwrap();
            let whole: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let part = whole.get("handover").or(whole.get("legacy")).unwrap().clone();
            found.push((path.file_stem().unwrap().to_string_lossy().into_owned(), configured(&text), part));
        }
    }
    assert!(!found.is_empty(), "no will is stored: nothing is tested");
    found
}

/// Roles after inheriting, and for whom addresses are wished.
fn inherit(spec: &Spec, part: &Value) -> (Vec<Role>, Vec<InstanceId>) {
    let handover: Handover = serde_json::from_value(part.clone()).unwrap();
    let world = Beginning { links: links(), ..Beginning::default() };
    let mut bench = Bench::of(Engine::inherit(Arc::new(spec.clone()), world, &handover, at(299_500)));
    let owned = bench.take().into_iter().filter_map(|action| match action {
        Action::Own(id, _) => Some(id),
        _ => None,
    });
    let owned = owned.collect();
    (bench.roles(), owned)
}

fn masters(roles: &[Role]) -> Vec<InstanceId> {
    (0..).map(InstanceId).zip(roles).filter(|(_, role)| **role == Role::Master).map(|(id, _)| id).collect()
}

#[test]
fn every_stored_will_is_inherited_with_all_addresses() {
    for (name, spec, part) in wills() {
        let (roles, owned) = inherit(&spec, &part);
        let was = part["instances"].as_array().unwrap().iter();
        let was: Vec<_> = was.map(|instance| instance["state"].get("Master").is_some()).collect();
        assert!(was.iter().filter(|master| **master).count() >= 4, "{name}: too few masters to be a test");
        let is: Vec<_> = roles.iter().map(|role| *role == Role::Master).collect();
        assert_eq!(is, was, "{name}");
        assert_eq!(owned, masters(&roles), "{name}: not all addresses are wished for");
        // Who follows a master (lvs_sync_daemon) is told of it by the will: nobody becomes master over it.
        let named: Vec<_> = serde_json::from_value::<Handover>(part.clone()).unwrap().masters().collect();
        let of = |id: &InstanceId| spec.instances[id.index()].name.clone();
        assert_eq!(named, masters(&roles).iter().map(of).collect::<Vec<_>>(), "{name}");
    }
}

/// An upgrade is nobody's news, and `status` goes on to say since when.
#[test]
fn who_was_in_fault_is_in_fault_and_nobody_is_told_again() {
    let mut faulty = instance(2, 100);
    faulty.interface = Some(name("eth2"));
    for (spec, others) in [
        (spec(vec![faulty.clone()]), Vec::new()),
        (grouped(vec![faulty.clone(), instance(1, 100)]), vec![Fault::Group(faulty.name.clone())]),
    ] {
        let mut before = Bench::on(spec.clone(), links());
        before.until(at(10_000));
        let left = serde_json::to_value(before.engine.hand_over()).unwrap();
        let left: Handover = serde_json::from_value(left).unwrap();
        let world = Beginning { links: links(), ..Beginning::default() };
        let mut after = Bench::of(Engine::inherit(Arc::new(spec.clone()), world, &left, at(10_000)));
        after.until(at(20_000));
        assert_eq!(events(&after.take()), [], "{:?}", after.roles());
        for index in 0..spec.instances.len() {
            let (was, is) = (before.view(index), after.view(index));
            assert_eq!((is.state, is.since, &is.why), (Role::Fault, was.since, &was.why));
        }
        assert_eq!(after.view(0).faults, [Fault::InterfaceDown(name("eth2"))]);
        assert!(others.is_empty() || after.view(1).faults == others);
        // It recovers as always.
        after.give(Input::Link(LinkFact::Changed(link(4, "eth2", &["10.2.0.1"]))));
        assert_eq!(after.view(0).state, Role::Backup);
        assert_eq!(after.view(0).why, Cause::Recovered);
    }
}

/// A program that did not look at the list in an advert followed another installation's master as well.
#[test]
fn whom_an_earlier_program_followed_is_looked_at_again() {
    let of = v2(1, 100);
    let voice = Voice { addresses: vec![ip("10.0.0.110")], ..Voice::of(&of, "10.0.0.2", 200) };
    for earlier in [false, true] {
        let mut before = Bench::new(spec(vec![of.clone()]));
        before.hear(&Voice::of(&of, "10.0.0.2", 200));
        let mut left = serde_json::to_value(before.engine.hand_over()).unwrap();
        if earlier {
            left["instances"][0].as_object_mut().unwrap().remove("followed").unwrap();
        }
        let left: Handover = serde_json::from_value(left).unwrap();
        let world = Beginning { links: links(), ..Beginning::default() };
        let mut after = Bench::of(Engine::inherit(Arc::new(spec(vec![of.clone()])), world, &left, before.now));
        after.now = before.now;
        after.hear(&voice);
        let refused = after.view(0).counters.refused.get(&Refusal::Foreign).copied().unwrap_or(0);
        assert_eq!(refused, u64::from(earlier));
    }
}

/// Every place of a value, as the keys and positions that lead to it.
fn places(value: &Value, at: &mut Vec<String>, all: &mut Vec<Vec<String>>) {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (key, value) in below {
        at.push(key);
        all.push(at.clone());
        places(value, at, all);
        at.pop();
    }
}

fn parent<'a>(value: &'a mut Value, place: &[String]) -> &'a mut Value {
    place[..place.len() - 1].iter().fold(value, |value, key| match value {
        Value::Object(map) => map.get_mut(key).unwrap(),
        Value::Array(list) => &mut list[key.parse::<usize>().unwrap()],
        _ => unreachable!("a path leads through maps and lists"),
    })
}

/// What another release might have written: one field missing, one of another type, one more than is known.
#[test]
fn a_will_of_another_release_costs_no_address_but_that_of_an_entry_without_name_or_state() {
    for (name, spec, part) in wills() {
        let (whole, _) = inherit(&spec, &part);
        let mut all = Vec::new();
        places(&part, &mut Vec::new(), &mut all);
        for place in &all {
            let path: Vec<&str> = place.iter().map(String::as_str).collect();
            // Without these an entry says nothing.
            let of_nobody = matches!(
                path[..],
                ["instances"] | ["instances", _] | ["instances", _, "name" | "vrid" | "family" | "state"]
            );
            // Beside the name of a state nothing can stand.
            let of_a_state = matches!(path[..], ["instances", _, "state", "Master" | "Backup"]);
            for change in ["gone", "another type", "one more"] {
                let mut changed = part.clone();
                let last = place.last().unwrap();
                match (parent(&mut changed, place), change) {
                    (Value::Object(map), "gone") => drop(map.remove(last)),
                    (Value::Object(map), "another type") => {
                        drop(map.insert(last.clone(), serde_json::json!({"v": [1]})))
                    }
                    (Value::Object(map), _) => drop(map.insert("of_a_later_release".into(), serde_json::json!([{}]))),
                    (Value::Array(list), "another type") => list[last.parse::<usize>().unwrap()] = Value::Bool(true),
                    _ => continue,
                }
                let (roles, owned) = inherit(&spec, &changed);
                if of_a_state || of_nobody && change != "one more" {
                    // The others at least are not touched by it.
                    if let ["instances", index, ..] = path[..] {
                        let index: usize = index.parse().unwrap();
                        let own_group = spec.instances[index].group;
                        for other in (0..whole.len()).filter(|other| *other != index) {
                            if own_group.is_none() || spec.instances[other].group != own_group {
                                assert_eq!(roles[other], whole[other], "{name}: {path:?} {change}");
                            }
                        }
                    }
                    continue;
                }
                assert_eq!(masters(&roles), masters(&whole), "{name}: {path:?} {change}");
                assert_eq!(owned, masters(&whole), "{name}: {path:?} {change}");
            }
        }
    }
}

/// `VIPD_WILL=NAME` writes the will of this release, for the last commit before it.
#[test]
#[ignore = "writes a golden"]
fn write_the_will_of_this_release() {
    let name = std::env::var("VIPD_WILL").expect("VIPD_WILL names the release");
    let text = std::fs::read_to_string(folder().join(format!("{name}.conf"))).unwrap();
    let part = serde_json::to_value(lived(&text).engine.hand_over()).unwrap();
    let will = serde_json::json!({ "version": 1, "handover": part, "programs": [], "fifos": [], "history": {} });
    std::fs::write(folder().join(name + ".json"), serde_json::to_vec_pretty(&will).unwrap()).unwrap();
}

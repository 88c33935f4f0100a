//! Reloads between random configurations: the laws of going over.
//!
//! What is drawn are the hard cases: addresses that move between instances, instances that are renamed, come, go, change
//! interface, VRID, manner of transport or family, get or lose a VMAC, become owners, speak another version, with another
//! seal or interval, and join, leave and swap sync groups; scripts that come, go and change places.

use crate::harness::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use vipd::spec::*;
use vipd::time::Time;
use vipd::vrrp::io::*;
use vipd::vrrp::reload::continued;
use vipd::wire::{Priority, Version};

const VMAC: [u8; 5] = [0, 0, 0x5e, 0, 1];
const PLACES: u8 = 6;

/// One instance as drawn.
#[derive(Clone, Debug)]
struct Draft {
    /// VRID, interface and manner of transport.
    place: u8,
    name: u8,
    /// Which of the common addresses it wants; whoever comes first has them.
    addresses: u8,
    priority: u8,
    version_2: bool,
    seal: u8,
    slow: bool,
    script: u8,
    group: u8,
    vmac: bool,
    refresh: bool,
}

fn draft() -> impl Strategy<Value = Draft> {
    let what = (0..PLACES, 0_u8..3, any::<u8>(), prop::sample::select(vec![90_u8, 120, 255]));
    let how = (any::<bool>(), 0_u8..3, any::<bool>(), 0_u8..4, 0_u8..4, any::<bool>(), any::<bool>());
    (what, how).prop_map(|((place, name, addresses, priority), how)| {
        let (version_2, seal, slow, script, group, vmac, refresh) = how;
        Draft { place, name, addresses, priority, version_2, seal, slow, script, group, vmac, refresh }
    })
}

fn drafts() -> impl Strategy<Value = Vec<Draft>> {
    prop::collection::vec(draft(), 1..6)
}

/// The second configuration: mostly the first one with some lines changed, else another one altogether.
fn pair() -> impl Strategy<Value = (Vec<Draft>, Vec<Draft>)> {
    let near =
        (drafts(), prop::collection::vec((any::<prop::sample::Index>(), draft(), 0_u8..11), 0..4), any::<bool>());
    let near = near.prop_map(|(one, changes, turned)| {
        let mut other = one.clone();
        for (at, from, field) in changes {
            let to = &mut other[at.index(one.len())];
            match field {
                0 => to.place = from.place,
                1 => to.name = from.name,
                2 => to.addresses = from.addresses,
                3 => to.priority = from.priority,
                4 => to.version_2 = from.version_2,
                5 => to.seal = from.seal,
                6 => to.slow = from.slow,
                7 => to.script = from.script,
                8 => to.group = from.group,
                9 => to.vmac = from.vmac,
                _ => to.refresh = from.refresh,
            }
        }
        if turned {
            other.reverse();
        }
        (one, other)
    });
    prop_oneof![3 => near, 1 => (drafts(), drafts())]
}

fn make(drafts: &[Draft]) -> Spec {
    let mut of = Spec::default();
    let (mut places, mut names, mut taken) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut members: BTreeMap<u8, Vec<InstanceId>> = BTreeMap::new();
    let mut scripts: Vec<u8> = Vec::new();
    for draft in drafts {
        if !places.insert(draft.place) {
            continue;
        }
        let base = match draft.place {
            0 => instance(1, draft.priority),
            1 => instance(2, draft.priority),
            2 => InstanceSpec { interface: Some(name("eth1")), ..instance(1, draft.priority) },
            3 => unicast(3, draft.priority, &["10.0.0.2"]),
            4 => InstanceSpec {
                transport: Transport::Multicast { group: ip("224.0.0.77") },
                ..instance(3, draft.priority)
            },
            _ => v6(1, draft.priority),
        };
        let six = draft.place == 5;
        let own = if six { format!("fe80::1:{}", draft.place) } else { format!("10.0.1.{}", draft.place) };
        let mut addresses = vec![own];
        let wanted = (0..8).filter(|bit| draft.addresses & (1 << bit) != 0 && taken.insert((six, *bit)));
        addresses.extend(wanted.map(|bit| if six { format!("fe80::2:{bit}") } else { format!("10.0.2.{bit}") }));
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let mut name = format!("N{}", draft.name);
        while !names.insert(name.clone()) {
            name.push('x');
        }
        let id = InstanceId(of.instances.len() as u32);
        let mut ties = Vec::new();
        if draft.script > 0 {
            let at = scripts.iter().position(|script| *script == draft.script).unwrap_or_else(|| {
                scripts.push(draft.script);
                scripts.len() - 1
            });
            let weight = if draft.script == 1 || draft.priority == 255 { 0 } else { 20 };
            ties.push(tie(TieTarget::Script(ScriptId(at as u32)), weight));
        }
        let group = (draft.group > 0).then(|| {
            members.entry(draft.group).or_default().push(id);
            draft.group
        });
        let version_2 = draft.version_2 && !six;
        let virtual_link = (draft.vmac && draft.place < 2).then(|| VirtualLink::Vmac {
            name: None,
            prefix: "vrrp".into(),
            mac: [VMAC[0], VMAC[1], VMAC[2], VMAC[3], VMAC[4], base.vrid.get()],
            netlink_notify: false,
            group: None,
        });
        of.instances.push(InstanceSpec {
            name: name.into(),
            version: if version_2 { Version::V2 } else { Version::V3 },
            auth: match draft.seal {
                1 if version_2 => Auth::Pass(*b"password"),
                2 if version_2 => Auth::Ah(*b"password"),
                2 => Auth::Hmac(HmacAuth {
                    keys: vec![(1, Box::from(*b"0123456789abcdef"))],
                    active: 1,
                    mode: HmacMode::Enforce,
                    replay: Replay::Monotonic,
                }),
                _ => Auth::None,
            },
            interval: ms(if draft.slow { 2000 } else { 1000 }),
            claim: claim(&addresses),
            garp: Garp { refresh: ms(if draft.refresh { 1500 } else { 0 }), ..Garp::default() },
            ties,
            virtual_link,
            group: group.map(|group| GroupId(u32::from(group))),
            ..base
        });
    }
    of.scripts = scripts.iter().map(|number| script(&format!("s{number}"))).collect();
    for (number, members) in members {
        let id = GroupId(of.groups.len() as u32);
        for member in &members {
            of.instances[member.index()].group = Some(id);
        }
        let owner = |id: &InstanceId| of.instances[id.index()].priority == Priority::OWNER;
        let starts_as_master = members.iter().all(owner);
        if !starts_as_master {
            members.iter().for_each(|id| of.instances[id.index()].wants_master = false);
        }
        of.groups.push(GroupSpec {
            name: format!("G{number}").into(),
            members,
            starts_as_master,
            ..GroupSpec::default()
        });
    }
    of
}

/// The usual links, and the VMACs that anybody may want.
fn ground() -> Vec<Link> {
    let vmac = |index: u32, id: u8| Link {
        mac: Some([VMAC[0], VMAC[1], VMAC[2], VMAC[3], VMAC[4], id]),
        lower: ETH0,
        kind: "macvlan".into(),
        ..link(index, &format!("vrrp.{id}"), &[])
    };
    links().into_iter().chain([vmac(11, 1), vmac(12, 2)]).collect()
}

struct Play {
    bench: Bench,
    /// What the kernel was told to hold.
    held: BTreeMap<u32, Arc<Claim>>,
}

impl Play {
    fn new(of: Spec) -> Play {
        let bench = Bench::on(of, ground());
        let mut play = Play { bench, held: BTreeMap::new() };
        play.settle();
        play
    }

    /// Takes note of what came out, and has every script succeed at once.
    fn settle(&mut self) -> Vec<Action> {
        let mut all = Vec::new();
        while !self.bench.log.is_empty() {
            for (_, action) in std::mem::take(&mut self.bench.log) {
                match &action {
                    Action::Own(id, claim) => drop(self.held.insert(id.0, claim.clone())),
                    Action::Disown(id) => assert!(self.held.remove(&id.0).is_some(), "{id:?} was not held"),
                    Action::RunScript(script, _) => self.bench.exits(*script, Exit::Code(0)),
                    _ => {}
                }
                all.push(action);
            }
        }
        all
    }

    /// Lets time pass in small steps.
    fn run(&mut self, by: u64) {
        let end = self.bench.now + ms(by);
        while self.bench.now < end {
            self.bench.until((self.bench.now + ms(50)).min(end));
            self.settle();
        }
    }

    fn laws(&self) {
        let of = self.bench.engine.spec();
        let snapshot = self.bench.engine.snapshot(self.bench.now);
        for ((id, view), own) in (0_u32..).zip(&snapshot.instances).zip(&of.instances) {
            assert_eq!(view.state == Role::Fault, !view.faults.is_empty(), "{}: {:?}", view.name, view.faults);
            let held = self.held.get(&id);
            assert_eq!(
                held.is_some(),
                view.state == Role::Master,
                "{} is {} and holds {held:?}",
                view.name,
                view.state
            );
            assert!(held.is_none_or(|held| *held == own.claim), "{} holds what it had before", view.name);
        }
        assert!(self.held.keys().all(|id| (*id as usize) < of.instances.len()), "nobody holds what nobody owns");
        for group in &of.groups {
            let roles: BTreeSet<Role> = group.members.iter().map(|id| snapshot.instances[id.index()].state).collect();
            assert_eq!(roles.len(), 1, "{} is of one mind", group.name);
        }
        assert!(self.bench.engine.deadline().is_none_or(|(due, _)| due > self.bench.now));
    }

    fn go_over(&mut self, to: &Spec) {
        let from = self.bench.engine.spec().clone();
        let before = self.bench.engine.snapshot(self.bench.now);
        let pairs = continued(&from, to);
        let next = |play: &Play, id: InstanceId| play.bench.view(id.index()).next.map(|next| next.at);
        let due: Vec<Option<Time>> = pairs.iter().map(|(old, _)| next(self, *old)).collect();
        let now = self.bench.now;
        self.bench.reload(to.clone());
        let actions = self.settle();
        self.laws();
        let after = self.bench.engine.snapshot(now);

        // Whoever is gone says so, and nobody else.
        let gone: Vec<usize> =
            (0..from.instances.len()).filter(|at| !pairs.iter().any(|(old, _)| old.index() == *at)).collect();
        let deleted = events(&actions).iter().filter(|event| matches!(event, Event::Deleted { .. })).count();
        assert_eq!(deleted, gone.len());
        let left = gone.iter().filter(|at| before.instances[**at].state == Role::Master).count();
        let faulted = pairs.iter().filter(|(old, new)| {
            before.instances[old.index()].state == Role::Master && after.instances[new.index()].state == Role::Fault
        });
        assert_eq!(said(&actions).iter().filter(|priority| **priority == 0).count(), left + faulted.count());

        for ((old, new), due) in pairs.iter().zip(due) {
            let (was, is) = (&before.instances[old.index()], &after.instances[new.index()]);
            let (one, other) = (&from.instances[old.index()], &to.instances[new.index()]);
            let group = other.group.and_then(|group| to.groups.get(group.index()));
            // Everybody of its group was a master before.
            let fellows = group.is_none_or(|group| {
                group.members.iter().all(|member| {
                    pairs.iter().any(|(old, new)| new == member && before.instances[old.index()].state == Role::Master)
                })
            });
            if was.state == Role::Master && fellows && is.state != Role::Fault {
                assert_eq!(is.state, Role::Master, "{} stays what it is", other.name);
                assert_eq!(is.counters.become_master, was.counters.become_master);
                assert_eq!((is.since, &is.why), (was.since, &was.why));
                let (due, next) = (due.unwrap(), next(self, *new).unwrap());
                if one.interval == other.interval {
                    assert_eq!(next, due, "{} keeps its cadence", other.name);
                } else {
                    assert_eq!(next, now + other.interval, "{} begins a new cadence at once", other.name);
                }
                // What is in both never leaves: it is not announced again, except by those who refresh.
                let fresh = other.claim.addresses.iter().filter(|a| !one.claim.addresses.contains(a)).count() as u64;
                let sent = is.counters.garps_sent - was.counters.garps_sent;
                if other.garp.refresh.is_zero() {
                    assert_eq!(sent, fresh * 5, "{}: {fresh} new addresses", other.name);
                }
            }
            // A higher priority alone makes the patience shorter.
            let patient = other.priority <= one.priority && is.effective_priority <= was.effective_priority;
            if was.state == Role::Backup && is.state != Role::Fault && group.is_none() && patient {
                assert_eq!(is.state, Role::Backup, "{} does not rise by a reload", other.name);
                assert_eq!(is.master, was.master);
            }
        }
        // The same once more is nothing.
        let (deadline, snapshot) = (self.bench.engine.deadline(), self.bench.engine.snapshot(now));
        self.bench.reload(to.clone());
        assert_eq!(self.bench.log, []);
        assert_eq!((self.bench.engine.deadline(), self.bench.engine.snapshot(now)), (deadline, snapshot));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn going_over_is_not_seen_beyond_the_difference(
        (one, other) in pair(), first in 0_u64..12_000, second in 0_u64..12_000, rival in any::<bool>(), cut in any::<bool>()
    ) {
        let (one, other) = (make(&one), make(&other));
        let mut play = Play::new(one.clone());
        play.laws();
        play.run(first);
        if rival {
            let own = one.instances[0].clone();
            if own.auth == Auth::None && own.interface == Some(name("eth0")) {
                play.bench.hear(&Voice::of(&own, if own.family == vipd::wire::Family::V4 { "10.0.0.2" } else { "fe80::2" }, 254));
                play.settle();
            }
        }
        let mut eth1 = links()[1].clone();
        if cut {
            eth1.running = false;
            play.bench.give(Input::Link(LinkFact::Changed(eth1.clone())));
            play.settle();
        }
        play.laws();
        play.go_over(&other);
        play.run(second);
        if cut {
            eth1.running = true;
            play.bench.give(Input::Link(LinkFact::Changed(eth1)));
            play.settle();
        }
        play.laws();
        // Alone on the wire everybody is master in the end, whatever it comes from.
        play.run(20_000);
        prop_assert!(play.bench.roles().iter().all(|role| *role == Role::Master), "{:?}", play.bench.engine.snapshot(play.bench.now));
        // Masters all: back, and nobody who is in both yields.
        play.go_over(&one);
        play.run(20_000);
        prop_assert!(play.bench.roles().iter().all(|role| *role == Role::Master), "{:?}", play.bench.engine.snapshot(play.bench.now));
        play.laws();
    }
}

//! A plan as the [`Spec`] of each node: what the configuration of [`super::text`] has to come to.

use super::plan::{KEY, Kind, NodePlan, PASSWORD, Plan, RouterPlan, SESSION, Seal, TrackerPlan, Vmac, end, source};
use crate::sim::build;
use crate::spec::bfd::Session;
use crate::spec::{
    Auth, BfdId, BfdSpec, Debounce, FileId, FileSpec, GroupId, GroupSpec, HmacAuth, IfName, InstanceId, InstanceSpec,
    ParamMatch, ProcessId, ProcessSpec, Replay, ScriptId, Spec, Tie, TieTarget, VirtualLink,
};
use crate::time::Interval;
use crate::wire::{Family, Version};
use std::sync::Arc;

pub(super) fn spec(plan: &Plan, node: usize) -> Spec {
    let Some(own) = plan.nodes.get(node) else { return Spec::default() };
    let mut spec = Spec { startup_delay: Interval::from_secs(own.startup), ..Spec::default() };
    for (name, down, up) in &own.delays {
        spec.debounce.extend(IfName::new(name).map(|interface| Debounce { interface, down: *down, up: *up }));
    }
    if let Some(servers) = &plan.servers {
        spec.balance = servers.spec.clone();
    }
    let targets = trackers(own, super::name(node), &mut spec);
    let of_group = own.trackers.iter().zip(&targets).filter(|(tracker, _)| tracker.by_group);
    let owner_in_group = plan.grouped && own.instances.iter().any(|i| i.priority == 255);
    let of_group: Vec<Tie> = of_group
        .filter_map(|(tracker, on)| {
            let weight = if owner_in_group { 0 } else { tracker.weight };
            Some(Tie { on: on.clone()?, weight, reverse: tracker.reverse, from_group: true, asked: Some(weight) })
        })
        .collect();
    for position in 0..plan.routers.len() {
        let Some(mut made) = instance(plan, node, position) else { continue };
        made.ties = own.trackers.iter().zip(&targets).filter_map(|(t, on)| tie(t, on.clone()?, position)).collect();
        made.ties.extend(of_group.iter().cloned());
        spec.instances.push(made);
    }
    if let Some(session) = plan.session {
        let made = Session {
            min_rx: session.interval,
            min_tx: session.interval,
            multiplier: session.multiplier,
            ..crate::sim::bfd::plain(SESSION, end(node), session.neighbor(node))
        };
        spec.bfds.push(BfdSpec { name: made.name.clone(), weight: 0, reverse: false });
        spec.sessions.push(made);
    }
    if plan.grouped {
        let members = (0..spec.instances.len()).map(|i| InstanceId(i as u32)).collect();
        spec.groups.push(GroupSpec { name: "G".into(), members, ties: of_group, ..GroupSpec::default() });
    }
    spec
}

/// Puts the trackers of a node into its Spec; gives the target of each.
fn trackers(own: &NodePlan, node: &str, spec: &mut Spec) -> Vec<Option<TieTarget>> {
    let mut target = |tracker: &TrackerPlan| {
        let name: Box<str> = tracker.name.as_str().into();
        Some(match &tracker.kind {
            Kind::Interface => TieTarget::Interface(IfName::new(&tracker.name)?),
            Kind::Script { rise, fall, interval, timeout } => {
                let mut made = build::script(&tracker.name, *interval, *rise, *fall);
                made.timeout = *timeout;
                spec.scripts.push(made);
                TieTarget::Script(ScriptId(spec.scripts.len() as u32 - 1))
            }
            Kind::File => {
                let path = format!("/run/{node}.{name}").into();
                spec.files.push(FileSpec { name, path, weight: 0, reverse: false, init: None });
                TieTarget::File(FileId(spec.files.len() as u32 - 1))
            }
            Kind::Session => TieTarget::Bfd(BfdId(0)),
            Kind::Process { quorum, most, terminate, fork } => {
                spec.processes.push(ProcessSpec {
                    process: name.clone(),
                    name,
                    params: Vec::new(),
                    param_match: ParamMatch::None,
                    weight: 0,
                    reverse: false,
                    quorum: *quorum,
                    quorum_max: *most,
                    terminate_delay: *terminate,
                    fork_delay: *fork,
                    full_command: false,
                });
                TieTarget::Process(ProcessId(spec.processes.len() as u32 - 1))
            }
        })
    };
    own.trackers.iter().map(&mut target).collect()
}

/// The tie of an instance itself.
fn tie(tracker: &TrackerPlan, on: TieTarget, position: usize) -> Option<Tie> {
    let here = !tracker.by_group && tracker.by.get(position) == Some(&true);
    here.then_some(Tie {
        on,
        weight: tracker.weight,
        reverse: tracker.reverse,
        from_group: false,
        asked: Some(tracker.weight),
    })
}

fn instance(plan: &Plan, node: usize, position: usize) -> Option<InstanceSpec> {
    let (router, plans) = plan.routers.get(position).zip(plan.nodes.get(node)?.instances.get(position))?;
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
    // Nobody is to choose a virtual address as the source of something of his own.
    let six = Arc::make_mut(&mut made.claim).addresses.iter_mut().filter(|a| a.address.is_ipv6());
    six.for_each(|address| address.preferred_lifetime = Some(0));
    made.auth = auth(router, plans.version);
    if router.unicast {
        let others = (0..plan.nodes.len()).filter(|other| *other != node).map(|other| source(other, router));
        made.transport = build::peers(others);
        made.source = Some(source(node, router));
    }
    if let Some(vmac) = plans.vmac {
        let kind = if made.family == Family::V4 { 1 } else { 2 };
        made.virtual_link = Some(VirtualLink::Vmac {
            name: None,
            prefix: "vrrp".into(),
            mac: [0, 0, 0x5e, 0, kind, router.vrid],
            netlink_notify: false,
            group: None,
        });
        made.transmit_base = vmac == Vmac::Base;
    }
    made.group = plan.grouped.then_some(GroupId(0));
    Some(made)
}

fn auth(router: &RouterPlan, version: Version) -> Auth {
    let mut key = [0; 8];
    key.iter_mut().zip(PASSWORD.bytes()).for_each(|(slot, byte)| *slot = byte);
    match (router.seal, version) {
        (Some(Seal::Header), Version::V2) => Auth::Ah(key),
        (Some(Seal::Password), Version::V2) => Auth::Pass(key),
        (Some(Seal::Trailer { window, mode }), _) => {
            let replay =
                window.map_or(Replay::Monotonic, |window| Replay::Time { window: Interval::from_secs(window) });
            Auth::Hmac(HmacAuth { keys: vec![(1, KEY.as_bytes().into())], active: 1, mode, replay })
        }
        _ => Auth::None,
    }
}

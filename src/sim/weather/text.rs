//! A plan as the keepalived.conf of each node, for replaying it and for people.

use super::plan::{
    InstancePlan, KEY, Kind, NodePlan, PASSWORD, Plan, RouterPlan, SESSION, Seal, TrackerPlan, Vmac, end, source,
};
use crate::spec::HmacMode;
use crate::wire::Version;
use std::fmt::{self, Display, Formatter, Write as _};

pub(super) fn text(plan: &Plan, node: usize) -> String {
    let mut out = String::new();
    let Some(own) = plan.nodes.get(node) else { return out };
    if own.startup > 0 {
        let _ = writeln!(out, "global_defs {{\n    vrrp_startup_delay {}\n}}", own.startup);
    }
    if !own.delays.is_empty() {
        let lines: String = own.delays.iter().map(|(name, down, up)| format!("    {name} {down} {up}\n")).collect();
        let _ = writeln!(out, "interface_up_down_delays {{\n{lines}}}");
    }
    if let Some(session) = plan.session {
        let (source, neighbor, ms) = (end(node), session.neighbor(node), session.interval.as_millis());
        let multiplier = session.multiplier;
        let _ = writeln!(
            out,
            "bfd_instance {SESSION} {{\n    source_ip {source}\n    neighbor_ip {neighbor}\n    min_rx {ms}\n    min_tx {ms}\n    \
             multiplier {multiplier}\n}}"
        );
    }
    if let Some(servers) = &plan.servers {
        out += &servers.text;
    }
    for tracker in &own.trackers {
        let _ = write!(out, "{}", Definition { tracker, node: super::name(node) });
    }
    for (position, (router, plans)) in plan.routers.iter().zip(&own.instances).enumerate() {
        let _ = write!(out, "{}", Block { plan, own, node, position, router, plans });
    }
    if plan.grouped {
        let _ = writeln!(out, "vrrp_sync_group G {{\n    group {{");
        plan.routers.iter().for_each(|router| {
            let _ = writeln!(out, "        V{}", router.vrid);
        });
        let _ = writeln!(out, "    }}\n{}}}", Tracked(own, &|tracker| tracker.by_group));
    }
    out
}

/// The block that defines a tracker.
struct Definition<'a> {
    tracker: &'a TrackerPlan,
    node: &'a str,
}

impl Display for Definition<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (TrackerPlan { name, kind, .. }, node) = (self.tracker, self.node);
        match kind {
            Kind::Interface | Kind::Session => Ok(()),
            Kind::Script { rise, fall, interval, timeout } => writeln!(
                f,
                "vrrp_script {name} {{\n    script \"/bin/true\"\n    interval {interval}\n    timeout {timeout}\n    \
                 rise {rise}\n    fall {fall}\n}}"
            ),
            Kind::File => writeln!(f, "track_file {name} {{\n    file /run/{node}.{name}\n    weight 0\n}}"),
            Kind::Process { quorum, most, terminate, fork } => {
                writeln!(f, "vrrp_track_process {name} {{\n    process {name}\n    quorum {quorum}")?;
                most.map_or(Ok(()), |most| writeln!(f, "    quorum_max {most}"))?;
                for (word, delay) in [("terminate_delay", terminate), ("fork_delay", fork)] {
                    if !delay.is_zero() {
                        writeln!(f, "    {word} {delay}")?;
                    }
                }
                writeln!(f, "}}")
            }
        }
    }
}

/// The blocks in which an instance or a group names what it tracks.
struct Tracked<'a>(&'a NodePlan, &'a dyn Fn(&TrackerPlan) -> bool);

impl Display for Tracked<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let word = |kind: &Kind| match kind {
            Kind::Interface => "track_interface",
            Kind::Script { .. } => "track_script",
            Kind::File => "track_file",
            Kind::Session => "track_bfd",
            Kind::Process { .. } => "track_process",
        };
        let mut open = "";
        for tracker in self.0.trackers.iter().filter(|tracker| self.1(tracker)) {
            let TrackerPlan { name, kind, weight, reverse, .. } = tracker;
            if open != word(kind) {
                if !open.is_empty() {
                    writeln!(f, "    }}")?;
                }
                open = word(kind);
                writeln!(f, "    {open} {{")?;
            }
            writeln!(f, "        {name} weight {weight}{}", if *reverse { " reverse" } else { "" })?;
        }
        if open.is_empty() { Ok(()) } else { writeln!(f, "    }}") }
    }
}

/// One `vrrp_instance` as text.
struct Block<'a> {
    plan: &'a Plan,
    own: &'a NodePlan,
    node: usize,
    position: usize,
    router: &'a RouterPlan,
    plans: &'a InstancePlan,
}

impl Display for Block<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Block { plan, own, node, position, router, plans } = *self;
        writeln!(f, "vrrp_instance V{} {{", router.vrid)?;
        writeln!(f, "    version {}", plans.version)?;
        writeln!(f, "    interface eth{}", router.segment)?;
        if let Some(vmac) = plans.vmac {
            writeln!(f, "    use_vmac{}", if vmac == Vmac::Base { "\n    vmac_xmit_base" } else { "" })?;
        }
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
            writeln!(f, "    unicast_src_ip {}\n    unicast_peer {{", source(node, router))?;
            for other in (0..plan.nodes.len()).filter(|other| *other != node) {
                writeln!(f, "        {}", source(other, router))?;
            }
            writeln!(f, "    }}")?;
        }
        match (router.seal, plans.version) {
            (Some(Seal::Trailer { window, mode }), _) => {
                writeln!(f, "    auth_hmac {{\n        key 1 {KEY}\n        active_key 1")?;
                match window {
                    Some(window) => writeln!(f, "        anti_replay time\n        time_window {window}")?,
                    None => writeln!(f, "        anti_replay monotonic")?,
                }
                let mode = match mode {
                    HmacMode::Enforce => "enforce",
                    HmacMode::Permissive => "permissive",
                    HmacMode::ReceiveOnly => "receive-only",
                };
                writeln!(f, "        mode {mode}\n    }}")?;
            }
            (Some(seal), Version::V2) => {
                let kind = if seal == Seal::Header { "AH" } else { "PASS" };
                writeln!(f, "    authentication {{\n        auth_type {kind}\n        auth_pass {PASSWORD}\n    }}")?;
            }
            _ => {}
        }
        writeln!(f, "    virtual_ipaddress {{")?;
        router.addresses.iter().try_for_each(|address| writeln!(f, "        {address}"))?;
        writeln!(f, "    }}")?;
        let own_tracker = |tracker: &TrackerPlan| !tracker.by_group && tracker.by.get(position) == Some(&true);
        write!(f, "{}", Tracked(own, &own_tracker))?;
        writeln!(f, "}}")
    }
}

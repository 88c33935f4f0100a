//! One instance in `keepalived.data`, label by label in keepalived's order.

use super::Page;
use super::enabled;
use super::put;
use super::truth;
use super::yes;
use crate::observe::calendar::Local;
use crate::observe::describe;
use crate::spec::{
    Auth, HmacMode, InstanceId, InstanceSpec, IpvlanMode, Notify, OldUnicast, Replay, Run, Spec, Tie, TieTarget,
    Transport, VirtualLink,
};
use crate::spec::{MASK, VirtualAddress};
use crate::time::Time;
use crate::vrrp::io::{Fault, Role};
use crate::vrrp::snapshot::{InstanceView, MasterView, Snapshot};
use crate::wire::{Family, Priority, Version};
use std::net::IpAddr;

pub(super) fn instance(
    page: &mut Page,
    spec: &Spec,
    now: &Snapshot,
    index: usize,
    one: &InstanceSpec,
    view: &InstanceView,
) {
    put!(page, 1, "VRRP Instance = {}", one.name);
    put!(page, 3, "VRRP Version = {}", one.version);
    if let Some(group) = one.group.and_then(|group| spec.groups.get(group.index())) {
        put!(page, 3, "Sync group = {}", group.name);
    }
    if one.family == Family::V6 {
        put!(page, 3, "Using Native IPv6");
    }
    state(page, now, one, view);
    links(page, spec, index, one, view);
    adverts(page, now, one, view);
    authentication(page, one);
    owned(page, spec, now, index, one, view);
    ties(page, spec, &one.ties);
    notifications(page, &one.notify);
}

fn state(page: &mut Page, now: &Snapshot, one: &InstanceSpec, view: &InstanceView) {
    put!(page, 3, "State = {}", view.state);
    match view.state {
        Role::Backup => {
            let heard = view.master.as_ref().filter(|m: &&MasterView| !m.ourselves);
            let address = heard.and_then(|m| m.address);
            put!(page, 3, "Master router = {}", address.map_or("(none)".to_owned(), |a: IpAddr| a.to_string()));
            put!(page, 3, "Master priority = {}", heard.map_or(0, |m| m.priority.0));
            if one.version == Version::V3 {
                put!(page, 3, "Master advert interval = {} milli-sec", view.master_interval.as_millis());
            }
        }
        Role::Master if one.priority == Priority::OWNER => put!(page, 3, "Rogue master counter = 0"),
        _ => {}
    }
    if matches!(one.transport, Transport::Unicast { .. }) {
        put!(page, 3, "Flags:");
        put!(page, 5, "Using unicast");
    } else if flagged(one) {
        put!(page, 3, "Flags:");
    } else {
        put!(page, 3, "Flags: none");
    }
    put!(page, 3, "Wantstate = {}", view.wanted);
    put!(page, 3, "Number of config faults = {}", view.faults.iter().filter(|f| matches!(f, Fault::Config(_))).count());
    let trackers = view.faults.iter().filter(|f| matches!(f, Fault::Tracker(_))).count();
    put!(page, 3, "Number of tracker faults = {trackers}");
    // An interface that is not there has no address either, which is one fault here and two there.
    let missing = view.faults.iter().any(|fault| matches!(fault, Fault::InterfaceMissing(_))) && view.source.is_none();
    let has = |word: &&str| {
        view.faults.iter().any(|fault| fault_word(fault) == Some(word)) || (missing && *word == NO_SOURCE)
    };
    let words: Vec<&str> = FAULT_WORDS.into_iter().filter(has).collect();
    if words.is_empty() {
        put!(page, 3, "Flags of interface faults - (none)");
    } else {
        put!(page, 3, "Flags of interface faults:");
        for word in words {
            put!(page, 5, "{word}");
        }
    }
    if view.faults.contains(&Fault::DuplicateVrid) {
        put!(page, 3, "Duplicate VRID");
    }
    let pending = view.faults.iter().filter(|f| matches!(f, Fault::Pending(_))).count();
    put!(page, 3, "Number of track scripts init = {pending}");
    put!(page, 3, "Last transition = {}", moment(view.since_unix_micros));
    match view.next.as_ref().filter(|_| matches!(view.state, Role::Backup | Role::Master)) {
        Some(next) => put!(page, 3, "Read timeout = {}", moment(wall(now, next.at))),
        None => put!(page, 3, "Read timeout = DISABLED"),
    }
    put!(page, 3, "Master down timer = {} usecs", view.master_down.as_micros());
}

/// Whether keepalived would have any bit set: it writes a heading for all of them, and names only those of unicast.
fn flagged(one: &InstanceSpec) -> bool {
    !one.preempt
        || !one.track_primary
        || one.skip_check_adv_addr
        || one.promote_secondaries
        || one.virtual_link.is_some()
        || one.source.is_some()
        || one.checksum.v3_as_v2
}

/// Faults are flags there, told in this order.
const FAULT_WORDS: [&str; 6] =
    ["unspecified", "i/f down", "base i/f down", "duplicate VRID", NO_SOURCE, "config error"];
const NO_SOURCE: &str = "no source IP address";

fn fault_word(fault: &Fault) -> Option<&'static str> {
    Some(match fault {
        Fault::InterfaceMissing(_) | Fault::InterfaceDown(_) => "i/f down",
        Fault::BaseInterfaceDown(_) => "base i/f down",
        Fault::DuplicateVrid => "duplicate VRID",
        Fault::NoSourceAddress | Fault::SourceAbsent(_) => NO_SOURCE,
        // keepalived has no such fault.
        Fault::NoSocket(_) | Fault::CannotSend(_) => "unspecified",
        Fault::Config(_) => "config error",
        Fault::Tracker(_) => "unspecified",
        Fault::Pending(_) | Fault::Group(_) => return None,
    })
}

fn links(page: &mut Page, spec: &Spec, index: usize, one: &InstanceSpec, view: &InstanceView) {
    let up = truth(!view.faults.iter().any(|f| matches!(f, Fault::InterfaceMissing(_) | Fault::InterfaceDown(_))));
    let link = view.link.as_deref().unwrap_or("");
    match &one.virtual_link {
        Some(VirtualLink::Vmac { netlink_notify, group, .. }) => {
            put!(page, 3, "Use VMAC, i/f name {link}, is_up = {up}, xmit_base = {}", truth(one.transmit_base));
            if *netlink_notify {
                put!(page, 5, "Force netlink update for base interface");
            }
            if let Some(group) = group {
                put!(page, 5, "Interface group {group}");
            }
        }
        Some(VirtualLink::Ipvlan { address, mode, group, .. }) => {
            let kind = match mode {
                IpvlanMode::Bridge => "bridge",
                IpvlanMode::Private => "private",
                IpvlanMode::Vepa => "vepa",
            };
            let address = address.map_or(String::new(), |(a, prefix)| format!(", i/f address = {a}/{prefix}"));
            put!(page, 3, "Use IPVLAN, i/f {link}, is_up = {up}{address}, type {kind}");
            if let Some(group) = group {
                put!(page, 5, "Interface group {group}");
            }
        }
        None => {}
    }
    let base = one.interface.as_ref().map(|name| name.as_str());
    match (&one.virtual_link, base) {
        (Some(virtual_link), Some(base)) => {
            let kind = if matches!(virtual_link, VirtualLink::Vmac { .. }) { "vmac" } else { "ipvlan" };
            let through = if one.transmit_base { ", xmit base i/f" } else { "" };
            put!(page, 3, "Interface = {link}, {kind} on {base}{through}");
        }
        (_, Some(base)) => put!(page, 3, "Interface = {base}"),
        (_, None) => put!(page, 3, "Interface = not configured"),
    }
    let _ = (spec, index);
    if let Some(vrf) = &one.vrf {
        put!(page, 3, "VRF = {vrf}");
    }
}

fn adverts(page: &mut Page, now: &Snapshot, one: &InstanceSpec, view: &InstanceView) {
    for (on, text) in [
        (!one.track_primary, "VRRP interface tracking disabled"),
        (one.skip_check_adv_addr, "Skip checking advert IP addresses"),
        (one.strict, "Enforcing strict VRRP compliance"),
    ] {
        if on {
            put!(page, 3, "{text}");
        }
    }
    let source = view.source.map_or("(none)".to_owned(), |source| source.to_string());
    let configured = if one.source.is_some() { " (from configuration)" } else { "" };
    put!(page, 3, "Using src_ip = {source}{configured}");
    if let Transport::Multicast { group } = &one.transport {
        match one.family {
            Family::V4 => put!(page, 3, "Multicast address {group}"),
            Family::V6 => put!(page, 3, "Multicast address {group}, ifindex {}", view.ifindex),
        }
    }
    let garp = &one.garp;
    put!(page, 3, "Gratuitous ARP delay = {}", garp.delay.as_secs());
    put!(page, 3, "Gratuitous ARP repeat = {}", garp.repeat);
    put!(page, 3, "Gratuitous ARP refresh = {}", garp.refresh.as_secs());
    put!(page, 3, "Gratuitous ARP refresh repeat = {}", garp.refresh_repeat);
    put!(page, 3, "Gratuitous ARP lower priority delay = {}", garp.lower_prio_delay.as_secs());
    put!(page, 3, "Gratuitous ARP lower priority repeat = {}", garp.lower_prio_repeat);
    put!(page, 3, "Down timer adverts = {}", one.down_adverts);
    if !garp.extra.is_zero() {
        let where_to = if garp.extra_all { "i/f" } else { "VMAC" };
        put!(page, 3, "Gratuitous ARP for each secondary {where_to} = {}", garp.extra.as_secs());
    }
    put!(page, 3, "Send advert after receive lower priority advert = {}", truth(!one.lower_prio_no_advert));
    put!(page, 3, "Send advert after receive higher priority advert = {}", truth(one.higher_prio_send_advert));
    if one.priority == Priority::OWNER {
        put!(page, 3, "Address owner ignores received adverts = {}", truth(one.owner_ignore_adverts));
    }
    put!(page, 3, "Virtual Router ID = {}", one.vrid);
    put!(page, 3, "Priority = {}", view.base_priority);
    put!(page, 3, "Effective priority = {}", view.effective_priority);
    put!(page, 3, "Total priority = {}", view.total_priority);
    if !one.preempt {
        let heard = view.master.as_ref().filter(|master| !master.ourselves);
        put!(page, 3, "Highest other priority = {}", heard.map_or(0, |master| master.priority.0));
    }
    match one.version {
        Version::V2 => put!(page, 3, "Advert interval = {} sec", one.interval.as_secs()),
        Version::V3 => put!(page, 3, "Advert interval = {} milli-sec", one.interval.as_millis()),
    }
    let sent = view.last_advert_sent.map_or(0, |at| wall(now, at));
    put!(page, 3, "Last advert sent = {}.{:06}", sent / 1_000_000, sent % 1_000_000);
    put!(page, 3, "Accept = {}", enabled(one.accept));
    put!(page, 3, "Preempt = {}", enabled(one.preempt));
    if !one.preempt_delay.is_zero() {
        put!(page, 3, "Preempt delay = {} secs", describe::short(one.preempt_delay.as_secs_f64()));
    }
    put!(page, 3, "Promote_secondaries = {}", enabled(one.promote_secondaries));
}

fn authentication(page: &mut Page, one: &InstanceSpec) {
    match &one.auth {
        Auth::Pass(_) => {
            put!(page, 3, "Authentication type = SIMPLE_PASSWORD");
            put!(page, 3, "Password = {MASK}");
        }
        Auth::Ah(_) => put!(page, 3, "Authentication type = IPSEC_AH"),
        Auth::None | Auth::Hmac(_) if one.version == Version::V2 => put!(page, 3, "Authentication type = none"),
        Auth::None | Auth::Hmac(_) => {}
    }
    if let Auth::Hmac(hmac) = &one.auth {
        put!(page, 3, "Authentication extension = HMAC-SHA256-128");
        put!(page, 5, "Keys = {}, active key id = {}", hmac.keys.len(), hmac.active);
        let mode = match hmac.mode {
            HmacMode::Enforce => "enforce",
            HmacMode::Permissive => "permissive",
            HmacMode::ReceiveOnly => "receive-only",
        };
        put!(page, 5, "Mode = {mode}");
        match hmac.replay {
            Replay::Time { window } => put!(page, 5, "Anti replay = time, window = {} sec", window.as_secs()),
            Replay::Monotonic => put!(page, 5, "Anti replay = monotonic"),
            Replay::Off => put!(page, 5, "Anti replay = off"),
        }
    }
    if one.version == Version::V3 && one.family == Family::V4 {
        put!(page, 3, "VRRPv3 uses VRRPv2 checksum = {}", enabled(one.checksum.v3_as_v2));
    }
    if let Some(bytes) = one.rx_buffer {
        put!(page, 3, "Kernel rx buffer size = {bytes}");
    }
    if one.debug != 0 {
        put!(page, 3, "Debug level = {}", one.debug);
    }
}

fn owned(page: &mut Page, spec: &Spec, now: &Snapshot, index: usize, one: &InstanceSpec, view: &InstanceView) {
    let claim = &one.claim;
    let interface = describe::interface(spec, index, view.link.as_deref());
    let line = |(position, item): (u32, &VirtualAddress)| {
        describe::virtual_address(one, item, &interface, now.has_set(view, position, item.address))
    };
    let lines: Vec<String> = (0..).zip(&claim.addresses).map(line).collect();
    let (vips, evips) = lines.split_at(claim.advertised.min(lines.len()));
    if !vips.is_empty() {
        put!(page, 3, "Virtual IP ({}):", vips.len());
        for line in vips {
            put!(page, 5, "{line}");
        }
    }
    if !evips.is_empty() {
        put!(page, 3, "Virtual IP Excluded :");
        for line in evips {
            put!(page, 5, "{line}");
        }
    }
    if let Transport::Unicast { peers, ttl, check_source } = &one.transport {
        if let Some(ttl) = ttl.or((one.family == Family::V4).then_some(255)) {
            put!(page, 3, "Unicast TTL = {ttl}");
        }
        put!(page, 3, "Check unicast src : {}", yes(*check_source));
        put!(page, 3, "Unicast Peer :");
        for peer in peers {
            put!(page, 5, "{} min_ttl {} max_ttl {}", peer.address, peer.min_ttl, peer.max_ttl);
        }
        let old = match one.checksum.old_unicast {
            OldUnicast::Auto => "no",
            OldUnicast::Always => "config",
            OldUnicast::Never => "never",
        };
        put!(page, 3, "Unicast checksum compatibility = {old}");
    }
    let id = InstanceId(u32::try_from(index).unwrap_or(u32::MAX));
    let port = now.ports.iter().find(|port| port.instances.contains(&id));
    let fd = port.and_then(|port| port.descriptor).unwrap_or(-1);
    put!(page, 3, "fd_in {fd}, fd_out {fd}");
    if !claim.routes.is_empty() {
        put!(page, 3, "Virtual Routes :");
        for item in &claim.routes {
            put!(page, 5, "{}", describe::route(item));
        }
    }
    if !claim.rules.is_empty() {
        put!(page, 3, "Virtual Rules :");
        for item in &claim.rules {
            put!(page, 5, "{}", describe::rule(item));
        }
    }
}

pub(super) fn ties(page: &mut Page, spec: &Spec, ties: &[Tie]) {
    for (kind, title) in ["interfaces", "scripts", "files", "processes", "BFDs"].into_iter().enumerate() {
        let list: Vec<(String, &Tie)> = ties
            .iter()
            .filter(|tie| !tie.from_group && tie.asked.is_some())
            .map(|tie| (target(spec, &tie.on), tie))
            .filter(|((of, _), _)| *of == kind)
            .map(|((_, name), tie)| (name, tie))
            .collect();
        if !list.is_empty() {
            put!(page, 3, "Tracked {title} :");
        }
        let comma = match kind {
            0 | 1 => "",
            4 => ":",
            _ => ",",
        };
        for (name, tie) in list {
            let weight = tie.asked.unwrap_or(tie.weight);
            put!(page, 5, "{name}{comma} weight {weight}{}", if tie.reverse { " reverse" } else { "" });
        }
    }
}

/// Which section a tracked thing stands in, and its name.
fn target(spec: &Spec, on: &TieTarget) -> (usize, String) {
    let section = match on {
        TieTarget::Interface(_) => 0,
        TieTarget::Script(_) => 1,
        TieTarget::File(_) => 2,
        TieTarget::Process(_) => 3,
        TieTarget::Bfd(_) => 4,
    };
    (section, on.name(spec).unwrap_or("?").to_owned())
}

fn notifications(page: &mut Page, notify: &Notify) {
    put!(page, 3, "Using smtp notification = {}", yes(notify.mail));
    put!(page, 3, "Notify deleted = {}", if notify.tell_deleted { "Deleted" } else { "Fault" });
    programs(page, notify);
    put!(page, 3, "Notify priority changes = {}", truth(notify.priority_changes));
}

pub(super) fn programs(page: &mut Page, notify: &Notify) {
    let all: [(&str, &Option<Box<Run>>); 7] = [
        ("Backup", &notify.backup),
        ("Master", &notify.master),
        ("Fault", &notify.fault),
        ("Stop", &notify.stop),
        ("Deleted", &notify.deleted),
        ("Generic", &notify.any),
        ("Master rx lower pri", &notify.master_rx_lower_pri),
    ];
    for (label, run) in all {
        let Some(run) = run else { continue };
        put!(page, 3, "{label} state transition script = {}, uid:gid {}:{}", describe::command(run), run.uid, run.gid);
    }
}

/// A point of the monotonic clock on the wall clock, in microseconds since the epoch.
fn wall(now: &Snapshot, at: Time) -> u64 {
    if at >= now.now {
        now.unix_micros.saturating_add(at.since(now.now).as_micros())
    } else {
        now.unix_micros.saturating_sub(now.now.since(at).as_micros())
    }
}

/// `1795215445.229559 (Fri Nov 20 22:57:25.229559 2026)`.
fn moment(unix_micros: u64) -> String {
    let (seconds, micros) = (unix_micros / 1_000_000, unix_micros % 1_000_000);
    let text = Local::at(i64::try_from(seconds).unwrap_or(0)).ctime();
    let (before, year) = text.rsplit_once(' ').unwrap_or((&text, ""));
    format!("{seconds}.{micros:06} ({before}.{micros:06} {year})")
}

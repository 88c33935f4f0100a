//! One instance: what holds after defaults, strict mode and the rules between its keywords.
//!
//! The order of the rules is keepalived's (`vrrp_complete_instance`), since one repair can make the next one needless.
//! A rule either repairs, with a complaint, or ends everything: then the configuration cannot be run. Rules about its
//! interface and the other routers are in `reach`, those about what it owns in `owned`.

use super::auth::authentication;
use super::owned::{Announcing, addresses, announcements, virtual_link};
use super::reach::{fits_interface, transport, without_peers};
use crate::config::line::address::{Seal, most_addresses};
use crate::config::report::{Class, Diagnostic};
use crate::config::table::block::{Cx, Set};
use crate::config::text::source::Span;
use crate::config::vrrp::instance::Instance;
use crate::config::vrrp::instance::read::{Wanted, says_unicast};
use crate::config::vrrp::tracker::Named;
use crate::spec::*;
use crate::time::Interval;
use crate::wire::{Family, Priority, Version, Vrid};
use std::net::IpAddr;
use std::sync::Arc;

/// What is known of an instance beside its block.
pub struct Surroundings<'a> {
    pub group: Option<GroupId>,
    /// The sync group's `notify_priority_changes`.
    pub group_priority_changes: Option<bool>,
    pub notify: &'a mut Notify,
    /// What global_defs say of announcements.
    pub announcing: &'a Announcing,
    /// `nftables` is needed although nobody asked for it.
    pub firewall: &'a mut bool,
}

/// By which rules an instance is judged.
#[derive(Clone, Copy)]
pub struct Rules {
    pub family: Family,
    pub version: Version,
    pub strict: bool,
}

/// How an instance begins.
pub struct Standing {
    /// As written, 0 included; 255 is the owner's.
    pub priority: u32,
    pub wants_master: bool,
}

/// A complaint about an instance, with its cure: at the setting if there is one, else at the instance's name.
pub(crate) fn say(
    cx: &mut Cx<'_>,
    own: &Named<Instance>,
    span: Option<Span>,
    message: impl std::fmt::Display,
    cure: impl Into<String>,
) {
    cx.mistake(span.unwrap_or(own.span), format!("{}: {message}", own.name), cure);
}

/// What an instance cannot be without; false if it lacks that, and then nothing is run.
pub fn has_the_least(own: &Named<Instance>, cx: &mut Cx<'_>) -> bool {
    let settings = &own.settings;
    if settings.vrid.is_none() {
        // A line that is wrong has been complained about.
        if settings.vrid_line.is_none() {
            let class = cx.class_without(&["virtual_router_id"], (own.span, own.close));
            let message = format!("{} has no virtual_router_id", own.name);
            cx.push(Diagnostic::new(class, own.span, message).help("write `virtual_router_id N`, 1 to 255"));
        }
        return false;
    }
    if settings.interface.is_none() {
        if says_unicast(settings).is_none() {
            // An interface line that is wrong has been complained about.
            if settings.interface_line.is_none() {
                let class = cx.class_without(&["interface"], (own.span, own.close));
                let message = format!("{} has no interface", own.name);
                cx.push(Diagnostic::new(class, own.span, message).help("write `interface IFNAME`"));
            }
            return false;
        }
        if let Some(vmac) = &settings.vmac {
            say(
                cx,
                own,
                vmac.span,
                "a VMAC cannot be made without an interface",
                "write `interface IFNAME`, or remove use_vmac",
            );
            return false;
        }
    }
    true
}

/// The instance, resolved; `None` ends everything.
pub fn complete(own: &mut Named<Instance>, around: Surroundings<'_>, cx: &mut Cx<'_>) -> Option<InstanceSpec> {
    let family = own.settings.family.unwrap_or(Family::V4);
    let vrid = Vrid::new(own.settings.vrid.or(0) as u8)?;
    let strict = own.settings.strict.or(cx.global.strict());
    let version = version(own, family, strict, cx);
    let rules = Rules { family, version, strict };
    let mut standing = standing(own, strict, cx);
    let interval = own.settings.advert_int();
    let auth = authentication(own, rules, &mut standing, interval, cx);
    let Standing { priority, wants_master } = standing;
    let owner = priority == 255;
    let priority = priority.clamp(1, 255);

    let unicast = !own.settings.peers.is_empty();
    let mut config_fault = if unicast { None } else { without_peers(own, cx) };
    let link = own.settings.interface.as_ref().and_then(|name| cx.env.system.interface(name.value.as_str()));
    if !fits_interface(own, link.as_ref(), rules, &mut config_fault, cx) {
        return None;
    }
    let limit = most_addresses(link.as_ref().map_or(1500, |link| link.mtu), family, seal(version, family, &auth));
    own.settings.addresses.fit(limit, &mut cx.diagnostics.list);

    let (preempt, preempt_delay) = preemption(own, owner, wants_master, strict, cx);
    let down_adverts = missed_adverts(own, strict, cx);
    let timer_expired_backup = late_backup(own, preempt, cx);
    let accept = accepts(own, owner, rules, cx);
    *around.firewall |= !accept || own.settings.vmac.is_some();
    let transport = transport(own, family, cx);
    let garp = announcements(own, around.announcing, strict, cx);
    let (lower_prio_no_advert, higher_prio_send_advert) = other_masters(own, strict, cx);
    let owner_ignore_adverts = owner_ignores(own, owner, strict, cx);

    around.notify.mail =
        own.settings.smtp_alert.otherwise(&cx.global.smtp_alert_vrrp).otherwise(&cx.global.smtp_alert).or(false);
    around.notify.priority_changes = own
        .settings
        .notify_priority_changes
        .value()
        .or(around.group_priority_changes)
        .unwrap_or(cx.global.notify_priority_changes());
    let interval = rounded(own, interval, version, cx);
    let (virtual_link, transmit_base, promote) = virtual_link(own, vrid, rules, &mut config_fault, cx);
    let addresses = addresses(own, family, cx);
    if !may_advertise(own, addresses.1, rules, cx) {
        return None;
    }
    let claim = Claim {
        addresses: addresses.0,
        advertised: addresses.1,
        routes: std::mem::take(&mut own.settings.routes),
        rules: std::mem::take(&mut own.settings.rules),
        deny: !accept && !owner,
    };
    let settings = &own.settings;
    Some(InstanceSpec {
        name: own.name.clone(),
        vrid,
        family,
        version,
        interface: settings.interface.value(),
        vrf: settings.vrf.value(),
        virtual_link,
        transmit_base,
        priority: Priority(priority as u8),
        wants_master,
        interval,
        down_adverts,
        preempt,
        preempt_delay,
        accept: accept || owner,
        strict,
        source: settings.source.value(),
        track_source: settings.track_source.is_some() && settings.source.is_some(),
        transport,
        auth,
        checksum: Checksum {
            v3_as_v2: settings.v3_checksum_as_v2.or(cx.global.v3_checksum_as_v2.is_some()),
            old_unicast: settings.old_checksum.or(OldUnicast::Auto),
            old_group: cx.global.mcast_group4.as_ref().and_then(|set| match set.value {
                IpAddr::V4(group) => Some(group),
                IpAddr::V6(_) => None,
            }),
        },
        skip_check_adv_addr: settings.skip_check_adv_addr.or(cx.global.skip_check_adv_addr()),
        lower_prio_no_advert,
        higher_prio_send_advert,
        owner_ignore_adverts,
        timer_expired_backup,
        track_primary: settings.dont_track_primary.is_none(),
        promote_secondaries: promote,
        claim: Arc::new(claim),
        garp,
        ties: Vec::new(),
        group: around.group,
        notify: std::mem::take(around.notify),
        config_fault,
        debug: settings.debug() as u8,
        rx_buffer: settings.rx_buffer.value().filter(|bytes| *bytes > 0),
    })
}

/// What an advert carries beside the addresses.
fn seal(version: Version, family: Family, auth: &Auth) -> Seal {
    match (version, auth) {
        (Version::V2, Auth::Ah(_)) if family == Family::V4 => Seal::V2Ah,
        (Version::V2, Auth::Hmac(_)) if family == Family::V4 => Seal::V2Hmac,
        (Version::V2, _) if family == Family::V4 => Seal::V2,
        (_, Auth::Hmac(_)) => Seal::Hmac,
        _ => Seal::Bare,
    }
}

/// After how many missed adverts a backup takes over (`down_timer_adverts`).
fn missed_adverts(own: &Named<Instance>, strict: bool, cx: &mut Cx<'_>) -> u32 {
    let adverts = own.settings.down_timer_adverts.or(cx.global.down_timer_adverts());
    if strict && adverts != 3 {
        let message = "strict mode wants down_timer_adverts 3, which is used";
        say(cx, own, own.settings.down_timer_adverts.span(), message, "remove the line");
        return 3;
    }
    adverts
}

/// The priority of a router that takes over from a stalled master (`timer_expired_backup`).
fn late_backup(own: &Named<Instance>, preempt: bool, cx: &mut Cx<'_>) -> Option<u8> {
    let set = own.settings.timer_expired;
    if preempt && set.is_some() {
        let message = "`timer_expired_backup` needs nopreempt; ignored";
        say(cx, own, set.span(), message, "write `nopreempt`, or remove the line");
        return None;
    }
    set.value().map(|priority| priority as u8)
}

/// Whether packets to the virtual addresses are accepted, `owner` apart.
fn accepts(own: &Named<Instance>, owner: bool, rules: Rules, cx: &mut Cx<'_>) -> bool {
    let accept = own.settings.accept.or(owner || !rules.strict);
    if accept && !owner && rules.strict && rules.version == Version::V2 {
        let message = "RFC 3768 has no accept mode, and strict mode is on; `accept` is ignored";
        say(cx, own, own.settings.accept.span(), message, "remove `accept`, or write `version 3`");
        return false;
    }
    accept
}

/// An instance without a virtual address: a complaint, and false where nothing can be run with it.
fn may_advertise(own: &mut Named<Instance>, count: usize, rules: Rules, cx: &mut Cx<'_>) -> bool {
    if own.settings.no_vips.is_some() && rules.strict {
        let span = own.settings.no_vips.span().unwrap_or(own.span);
        let message = format!("{}: strict mode does not allow no_virtual_ipaddress", own.name);
        cx.push(Diagnostic::new(Class::Warning, span, message).help("add a virtual_ipaddress block"));
        own.settings.no_vips = Set::default();
    }
    if own.settings.no_vips.is_some() || count > 0 {
        return true;
    }
    let message = format!("{} has no virtual address", own.name);
    let complaint = |class| {
        Diagnostic::new(class, own.span, message).help("add a virtual_ipaddress block, or no_virtual_ipaddress")
    };
    // Where a list was wrong, that has been said.
    let told = cx.class_without(&["virtual_ipaddress"], (own.span, own.close)) == Class::Follows;
    if rules.version == Version::V3 || rules.strict {
        if !told {
            cx.push(complaint(Class::General).label("VRRPv3 and strict mode need at least one"));
        }
        return false;
    }
    // So has that there is no interface for any of them.
    if own.settings.interface.is_some() && !told {
        cx.push(complaint(Class::Warning));
    }
    true
}

fn version(own: &Named<Instance>, family: Family, strict: bool, cx: &mut Cx<'_>) -> Version {
    match (family, own.settings.version.value()) {
        (Family::V6, Some(2)) if strict => {
            say(
                cx,
                own,
                own.settings.version.span(),
                "IPv6 needs VRRP version 3, and strict mode is on; 3 is used",
                "write `version 3`, or remove the line",
            );
            Version::V3
        }
        (_, Some(2)) => Version::V2,
        (_, Some(_)) | (Family::V6, None) => Version::V3,
        (Family::V4, None) if cx.global.version() == 3 => Version::V3,
        (Family::V4, None) => Version::V2,
    }
}

fn standing(own: &Named<Instance>, strict: bool, cx: &mut Cx<'_>) -> Standing {
    let wanted = own.settings.state.value();
    let priority = own.settings.priority.or(if wanted == Some(Wanted::Master) { 255 } else { 100 });
    let owner = priority == 255;
    let wants_master = wanted.map_or(owner, |wanted| wanted == Wanted::Master);
    if strict && wanted.is_some() && wants_master != owner {
        let message = "in strict mode, state MASTER and priority 255 go together; the priority decides";
        // Priority 255 is no cure: who has it is never counted down by what it tracks.
        let cure = if owner {
            "write `state MASTER`, or a priority below 255"
        } else {
            "write `state BACKUP`: of those that are there, the one with the highest priority becomes master all the same"
        };
        say(cx, own, own.settings.state.span(), message, cure);
        return Standing { priority, wants_master: owner };
    }
    Standing { priority, wants_master }
}

fn preemption(
    own: &Named<Instance>,
    owner: bool,
    wants_master: bool,
    strict: bool,
    cx: &mut Cx<'_>,
) -> (bool, Interval) {
    let mut preempt = !own.settings.nopreempt();
    let mut delay = own.settings.preempt_delay();
    let (no, late) = (own.settings.nopreempt.span(), own.settings.preempt_delay.span());
    if !preempt && owner {
        say(
            cx,
            own,
            no,
            "`nopreempt` does not go with priority 255; ignored",
            "remove `nopreempt`, or write a priority below 255",
        );
        preempt = true;
    }
    if wants_master {
        if !preempt {
            say(
                cx,
                own,
                no,
                "`nopreempt` does not go with state MASTER; ignored",
                "write `state BACKUP`, also on the router with the highest priority",
            );
            preempt = true;
        }
        if !delay.is_zero() {
            say(
                cx,
                own,
                late,
                "`preempt_delay` does not go with state MASTER; ignored",
                "write `state BACKUP`, also on the router with the highest priority",
            );
            delay = Interval::ZERO;
        }
    }
    if !delay.is_zero() && strict {
        say(cx, own, late, "`preempt_delay` does not go with strict mode; ignored", "remove `preempt_delay`");
        delay = Interval::ZERO;
    }
    if !delay.is_zero() && !preempt {
        say(
            cx,
            own,
            late,
            "`preempt_delay` has no meaning with nopreempt; ignored",
            "remove `preempt_delay` or `nopreempt`",
        );
        delay = Interval::ZERO;
    }
    (preempt, delay)
}

fn other_masters(own: &Named<Instance>, strict: bool, cx: &mut Cx<'_>) -> (bool, bool) {
    let settings = &own.settings;
    let mut silent = settings.lower_prio_no_advert.value();
    if strict && silent == Some(false) {
        say(
            cx,
            own,
            settings.lower_prio_no_advert.span(),
            "strict mode sends no advert at a lower priority: it is on",
            "remove the line",
        );
        silent = Some(true);
    }
    let mut last = settings.higher_prio_send_advert.value();
    if strict && last == Some(true) {
        say(
            cx,
            own,
            settings.higher_prio_send_advert.span(),
            "strict mode sends no advert at a higher priority: it is off",
            "remove the line",
        );
        last = Some(false);
    }
    let silent_default = strict || cx.global.lower_prio_no_advert();
    let last_default = !strict && cx.global.higher_prio_send_advert();
    (silent.unwrap_or(silent_default), last.unwrap_or(last_default))
}

fn owner_ignores(own: &Named<Instance>, owner: bool, strict: bool, cx: &mut Cx<'_>) -> bool {
    let set = &own.settings.owner_ignore_adverts;
    match (set.value(), owner) {
        (Some(true), false) => {
            say(cx, own, set.span(), "`owner_ignore_adverts` is for priority 255; ignored", "remove the line");
            false
        }
        (Some(false), true) => {
            say(
                cx,
                own,
                set.span(),
                "priority 255 ignores adverts when owner_ignore_adverts is written: it is on",
                "remove the line to have adverts heard",
            );
            true
        }
        (Some(value), _) => value,
        (None, true) => strict || cx.global.owner_ignore_adverts(),
        (None, false) => false,
    }
}

/// VRRPv2 counts whole seconds up to 255, VRRPv3 hundredths up to 40.95.
fn rounded(own: &Named<Instance>, interval: Interval, version: Version, cx: &mut Cx<'_>) -> Interval {
    let (unit, most, what) = match version {
        Version::V2 => (1_000_000, 255, "VRRP version 2 counts whole seconds"),
        Version::V3 => (10_000, 4095, "VRRP version 3 counts hundredths of a second"),
    };
    let given = interval.as_micros();
    let used = Interval::from_micros((given + unit / 2) / unit * unit);
    let used = used.max(Interval::from_micros(unit)).min(Interval::from_micros(most * unit));
    if used != interval {
        let message =
            format!("{what}, at most {}: advert_int {interval} is taken as {used}", Interval::from_micros(most * unit));
        say(
            cx,
            own,
            own.settings.advert_int.span(),
            message,
            format!("write `advert_int {used}`, on all routers alike"),
        );
    }
    used
}

//! What an instance owns while it is master, and how it announces that: virtual link, addresses, gratuitous ARPs.

use super::instance::{Rules, say};
use crate::config::global::Global;
use crate::config::report::Diagnostic;
use crate::config::table::block::Cx;
use crate::config::vrrp::instance::Instance;
use crate::config::vrrp::instance::read::says_unicast;
use crate::config::vrrp::tracker::Named;
use crate::spec::*;
use crate::time::Interval;
use crate::wire::{Family, Vrid};

/// What global_defs say of announcements, seconds and counts.
pub struct Announcing {
    pub delay: u32,
    pub repeat: u32,
    pub refresh: u32,
    pub refresh_repeat: u32,
    pub lower_delay: u32,
    pub lower_repeat: u32,
}

impl Announcing {
    /// `vrrp_min_garp` takes the place of what is left at its default, or given as if it were.
    pub fn of(global: &Global) -> Announcing {
        let (few, standard) = (global.min_garp(), Global::default());
        let or = |value: u32, default: u32, fewer: u32| if few && value == default { fewer } else { value };
        let delay = or(global.garp_delay(), standard.garp_delay(), 0);
        let repeat = or(global.garp_repeat(), standard.garp_repeat(), 1);
        Announcing {
            delay,
            repeat,
            refresh: global.garp_refresh(),
            refresh_repeat: global.garp_refresh_repeat(),
            lower_delay: global.garp_lower_delay.or(delay),
            lower_repeat: global.garp_lower_repeat.or(repeat),
        }
    }
}

/// What an instance says of announcements, and what global_defs say for `all`.
pub fn announcements(own: &Named<Instance>, all: &Announcing, strict: bool, cx: &mut Cx<'_>) -> Garp {
    let (settings, global) = (&own.settings, &cx.global);
    let seconds = |s: u32| Interval::from_secs(u64::from(s));
    let mut garp = Garp {
        repeat: settings.garp_repeat.or(all.repeat),
        delay: seconds(settings.garp_delay.or(all.delay)),
        refresh: seconds(settings.garp_refresh.or(all.refresh)),
        refresh_repeat: settings.garp_refresh_repeat.or(all.refresh_repeat),
        lower_prio_repeat: settings.garp_lower_repeat.or(if strict { 0 } else { all.lower_repeat }),
        lower_prio_delay: seconds(settings.garp_lower_delay.or(if strict { 0 } else { all.lower_delay })),
        extra: Interval::ZERO,
        extra_all: settings.garp_extra.all,
    };
    match settings.garp_extra.seconds.value() {
        Some(own) => garp.extra = seconds(own),
        None => {
            garp.extra = seconds(global.garp_extra.period());
            garp.extra_all |= global.garp_extra.all;
        }
    }
    let vmac_addresses = |a: &VirtualAddress| a.use_vmac || settings.vmac_addr.is_some();
    let addresses = settings.addresses.advertised.iter().chain(&settings.addresses.excluded);
    let elsewhere = |a: &VirtualAddress| a.interface.is_some() && a.interface != settings.interface.value();
    let (mut extra_vmac, mut extra_link) = (false, false);
    for (address, _) in addresses {
        let other = elsewhere(address) || own.settings.family.is_some_and(|f| f != Family::of(&address.address));
        extra_vmac |= other && vmac_addresses(address);
        extra_link |= elsewhere(address);
    }
    if !(extra_vmac || (extra_link && garp.extra_all)) {
        garp.extra = Interval::ZERO;
    }
    if strict && garp.lower_prio_repeat != 0 {
        say(
            cx,
            own,
            settings.garp_lower_repeat.span(),
            "strict mode repeats no announcements: garp_lower_prio_repeat is 0",
            "remove the line",
        );
        garp.lower_prio_repeat = 0;
    }
    if strict && !garp.lower_prio_delay.is_zero() {
        say(
            cx,
            own,
            settings.garp_lower_delay.span(),
            "strict mode repeats no announcements: garp_lower_prio_delay is 0",
            "remove the line",
        );
        garp.lower_prio_delay = Interval::ZERO;
    }
    garp
}

/// The interface to be made, whether adverts go below it, and promote_secondaries.
pub fn virtual_link(
    own: &mut Named<Instance>,
    vrid: Vrid,
    rules: Rules,
    fault: &mut Option<Box<str>>,
    cx: &mut Cx<'_>,
) -> (Option<VirtualLink>, bool, bool) {
    let mut base = own.settings.xmit_base;
    let mut promote = own.settings.promote_secondaries;
    if let Some(set) = base.take_if(|_| rules.strict && own.settings.vmac.is_some() && own.settings.ipvlan.is_none()) {
        say(
            cx,
            own,
            Some(set.span),
            "`vmac_xmit_base` does not go with strict mode; ignored",
            "remove `vmac_xmit_base`",
        );
    }
    let link = ipvlan(own, rules.family, fault, cx).or_else(|| vmac(own, rules.family, vrid, cx));
    if let Some(set) = promote.take_if(|_| link.is_some()) {
        say(
            cx,
            own,
            Some(set.span),
            "`promote_secondaries` is always set on a VMAC; ignored",
            "remove `promote_secondaries`",
        );
    }
    let unicast_on_ipvlan = own.settings.ipvlan.is_some() && says_unicast(&own.settings).is_some();
    if let Some(set) = base.take_if(|_| own.settings.vmac.is_none() && !unicast_on_ipvlan) {
        say(
            cx,
            own,
            Some(set.span),
            "`vmac_xmit_base` needs use_vmac; ignored",
            "write `use_vmac`, or remove `vmac_xmit_base`",
        );
    }
    (link, base.is_some(), promote.is_some())
}

fn ipvlan(own: &Named<Instance>, family: Family, fault: &mut Option<Box<str>>, cx: &mut Cx<'_>) -> Option<VirtualLink> {
    let line = own.settings.ipvlan.as_ref()?;
    match line.address {
        None if family == Family::V4 => {
            let class = cx.class_without(&["use_ipvlan"], (own.span, own.close));
            let message = "an IPv4 ipvlan needs an address of its own; the instance stays in FAULT";
            let complaint = Diagnostic::new(class, line.span.unwrap_or(own.span), format!("{}: {message}", own.name));
            cx.push(complaint.help("write it behind use_ipvlan: `use_ipvlan ADDRESS/PREFIX`"));
            *fault = Some("IPv4 ipvlan without an address".into());
        }
        Some((address, _)) if Family::of(&address) != family => {
            say(
                cx,
                own,
                line.span,
                "the ipvlan's address is of another family; the instance stays in FAULT",
                "write an address of the same family behind use_ipvlan",
            );
            *fault = Some("address of the ipvlan is of another family".into());
        }
        _ => {}
    }
    let (prefix, mode) = (cx.global.vmac_prefix(), line.mode.unwrap_or_default());
    Some(VirtualLink::Ipvlan { name: line.name.value(), prefix, address: line.address, mode, group: line.group })
}

/// Its MAC address is the virtual router's (RFC 5798 §7.3), or what is written.
fn vmac(own: &Named<Instance>, family: Family, vrid: Vrid, cx: &Cx<'_>) -> Option<VirtualLink> {
    let line = own.settings.vmac.as_ref()?;
    let kind = if family == Family::V4 { 1 } else { 2 };
    let mac = match line.mac {
        Some((mac, false)) => mac,
        Some(([a, b, c, d, e, _], true)) => [a, b, c, d, e, vrid.get()],
        None => [0, 0, 0x5e, 0, kind, vrid.get()],
    };
    let (prefix, netlink_notify, group) = (cx.global.vmac_prefix(), line.netlink_notify, line.group);
    Some(VirtualLink::Vmac { name: line.name.value(), prefix, mac, netlink_notify, group })
}

/// All addresses, and how many of them stand in the advert.
pub fn addresses(own: &mut Named<Instance>, family: Family, cx: &mut Cx<'_>) -> (Vec<VirtualAddress>, usize) {
    let collected = std::mem::take(&mut own.settings.addresses);
    let interface = own.settings.interface.value();
    let (vmac, vmac_addr) = (own.settings.vmac.is_some(), own.settings.vmac_addr.is_some());
    let mut all = Vec::with_capacity(collected.advertised.len() + collected.excluded.len());
    let mut advertised = 0;
    let listed =
        collected.advertised.into_iter().map(|a| (a, true)).chain(collected.excluded.into_iter().map(|a| (a, false)));
    for ((mut address, span), in_advert) in listed {
        let here = address.interface.is_none() || address.interface == interface;
        let same_family = Family::of(&address.address) == family;
        if address.use_vmac {
            if here && vmac && same_family {
                say(
                    cx,
                    own,
                    Some(span),
                    "`use_vmac` on the address says what use_vmac of the instance says already",
                    "remove `use_vmac` behind the address",
                );
                address.use_vmac = false;
            } else if (!here || !same_family) && vmac_addr {
                say(
                    cx,
                    own,
                    Some(span),
                    "`use_vmac` on the address says what use_vmac_addr says already",
                    "remove `use_vmac` behind the address",
                );
            }
        } else if vmac_addr && (!here || !same_family) {
            address.use_vmac = true;
        }
        if here {
            address.interface = None;
        }
        if address.interface.is_none() && interface.is_none() {
            let class = cx.class_without(&["interface"], (own.span, own.close));
            let message = format!("{}: there is no interface for {}; it is left out", own.name, address.address);
            let cure = "write `interface IFNAME` in the instance, or `dev IFNAME` behind the address";
            cx.push(Diagnostic::new(class, span, message).help(cure));
            continue;
        }
        advertised += usize::from(in_advert);
        all.push(address);
    }
    (all, advertised)
}

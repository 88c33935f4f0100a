//! Interfaces that the daemon makes for an instance: the VMAC, a private macvlan with the virtual router's MAC
//! address (RFC 9568 §7.3), and the ipvlan.
//!
//! Made when a configuration is taken or when their parent appears, removed when no configuration wants them. An
//! existing private macvlan with the right parent and MAC is taken over, whatever its name: it is what an earlier run
//! left.

use super::NetlinkError;
use super::channel::Channel;
use super::links::{Known, Links};
use crate::kernel::sysctl::{Sysctls, path, read};
use crate::spec::{IfName, InstanceSpec, IpvlanMode, VMAC_PREFIX, VirtualLink};
use crate::vrrp::io::Link;
use crate::wire::{Family, Vrid};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoIpVlan, InfoKind, InfoMacVlan, IpVlanFlags, IpVlanMode,
    LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

/// What `ip link` shows as the alias of an interface that was made here: by this an earlier run's are known.
pub const ALIAS: &str = "VRRP (vipd)";

/// Was it made by a daemon as this one, or by keepalived? By its alias; or a private macvlan with a virtual router's MAC
/// address (RFC 9568 §7.3) that bears a name of the form `PREFIX.VRID`.
pub fn is_ours(known: &Known) -> bool {
    let of_router = match known.link.mac {
        Some([0, 0, 0x5e, 0, 1 | 2, vrid]) => {
            let tail = known.link.name.as_str().rsplit_once('.').and_then(|(_, tail)| tail.parse::<u8>().ok());
            tail == Some(vrid)
        }
        _ => false,
    };
    known.ours || (&*known.link.kind == "macvlan" && known.private && of_router)
}

/// An interface that an instance wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    pub parent: IfName,
    pub kind: Kind,
    /// As configured.
    pub name: Option<IfName>,
    pub prefix: Box<str>,
    pub vrid: Vrid,
    pub family: Family,
    /// Addresses of the other family may live on it too.
    pub both_families: bool,
    pub group: Option<u32>,
    /// `netlink_notify_msg`: the kernel is made to tell of the parent when it is made or removed.
    pub notify: bool,
    /// Adverts leave by it, so an IPv6 one needs a link-local address.
    pub speaks: bool,
    /// The source address that is configured, if it is a link-local one.
    pub source: Option<Ipv6Addr>,
}

/// What kind of virtual link is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    Vmac { mac: [u8; 6] },
    Ipvlan { mode: IpvlanMode, address: Option<(IpAddr, u8)> },
}

/// What the instance itself wants; `None` if it lives on its interface.
pub fn wanted(instance: &InstanceSpec) -> Option<Wanted> {
    let parent = instance.interface.clone()?;
    let other = |a: &crate::spec::VirtualAddress| Family::of(&a.address) != instance.family;
    let base = Wanted {
        parent,
        kind: Kind::Vmac { mac: [0; 6] },
        name: None,
        prefix: VMAC_PREFIX.into(),
        vrid: instance.vrid,
        family: instance.family,
        both_families: instance.claim.addresses.iter().any(|a| other(a) && a.use_vmac),
        group: None,
        notify: false,
        speaks: !instance.transmit_base,
        source: match instance.source {
            Some(IpAddr::V6(address)) if address.is_unicast_link_local() => Some(address),
            _ => None,
        },
    };
    Some(match instance.virtual_link.clone()? {
        VirtualLink::Vmac { name, prefix, mac, group, netlink_notify: notify } => {
            Wanted { kind: Kind::Vmac { mac }, name, prefix, group, notify, ..base }
        }
        VirtualLink::Ipvlan { name, prefix, address, mode, group } => {
            Wanted { kind: Kind::Ipvlan { mode, address }, name, prefix, group, ..base }
        }
    })
}

/// What an address with `use_vmac` of its own wants: a VMAC on the interface that it names.
pub fn wanted_by_address(instance: &InstanceSpec, parent: &IfName, family: Family, prefix: Option<&str>) -> Wanted {
    let fifth = if family == Family::V4 { 1 } else { 2 };
    Wanted {
        parent: parent.clone(),
        kind: Kind::Vmac { mac: [0, 0, 0x5e, 0, fifth, instance.vrid.get()] },
        name: None,
        prefix: prefix.unwrap_or(VMAC_PREFIX).into(),
        vrid: instance.vrid,
        family,
        both_families: false,
        group: None,
        notify: false,
        speaks: false,
        source: None,
    }
}

/// What came of [`ensure`].
#[derive(Debug)]
pub struct Made {
    pub name: IfName,
    /// False: it was there and has been taken over as it was.
    pub new: bool,
    /// The name that was configured could not be had, or a setting.
    pub note: Option<String>,
}

/// Makes the interface, or takes over the one that is there. `taken` are names given to others in this configuration.
///
/// # Errors
/// The parent is missing (ENODEV), or the kernel refuses.
pub fn ensure(
    wanted: &Wanted,
    links: &Links,
    taken: &BTreeSet<IfName>,
    channel: &mut Channel,
    sysctls: &mut Sysctls,
) -> Result<Made, NetlinkError> {
    let missing =
        || NetlinkError::Refused { errno: libc::ENODEV, words: format!("no interface {}", wanted.parent).into() };
    let parent = links.named(&wanted.parent).ok_or_else(missing)?;
    let mut note = None;
    let found = links.known().find(|known| !taken.contains(&known.link.name) && fits(known, wanted, parent));
    let (name, new) = match found {
        Some(known) => match wanted.name.as_ref().filter(|name| **name != known.link.name) {
            Some(name) if links.named(name).is_none() && !taken.contains(name) => {
                rename(&known.link, name, channel)?;
                (name.clone(), true)
            }
            Some(name) => {
                note = Some(format!("{} is already there as {}", name, known.link.name));
                (known.link.name.clone(), false)
            }
            None => (known.link.name.clone(), false),
        },
        None => {
            let name = match &wanted.name {
                Some(name) => match links.named(name) {
                    // It keeps what is on it, and changes its address under the same name.
                    Some(old) if !taken.contains(name) && may_change_mac(old, wanted, parent) => {
                        change_mac(old.link.index, wanted, channel)?;
                        let refused = prepare(wanted, parent, name, sysctls, channel);
                        return Ok(Made { name: name.clone(), new: true, note: note.or(refused) });
                    }
                    // A macvlan that an earlier run left with other settings: made again.
                    Some(old) if &*old.link.kind == "macvlan" && !taken.contains(name) => {
                        remove(old.link.index, channel)?;
                        name.clone()
                    }
                    None if !taken.contains(name) => name.clone(),
                    _ => {
                        note = Some(format!("the name {name} belongs to another interface"));
                        free_name(wanted, links, taken)
                    }
                },
                None => free_name(wanted, links, taken),
            };
            create(wanted, parent, &name, channel)?;
            (name, true)
        }
    };
    let refused = prepare(wanted, parent, &name, sysctls, channel);
    let vrf = links.get(parent.link.master).is_some_and(|master| master.vrf_table.is_some());
    set_up(&name, wanted, parent, vrf, channel)?;
    Ok(Made { name, new, note: note.or(refused) })
}

/// Whether an interface is there that [`ensure`] would take over.
pub fn is_there(wanted: &Wanted, links: &Links) -> bool {
    links.named(&wanted.parent).is_some_and(|parent| links.known().any(|known| fits(known, wanted, parent)))
}

/// # Errors
/// What the kernel says; an interface that is gone already is none.
pub fn remove(index: u32, channel: &mut Channel) -> Result<(), NetlinkError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    match channel.request(RouteNetlinkMessage::DelLink(message), 0) {
        Err(NetlinkError::Refused { errno: libc::ENODEV, .. }) => Ok(()),
        other => other,
    }
}

/// Makes the kernel tell everybody of an interface, by giving it the group that it has: some drivers change to promiscuous
/// mode for a macvlan without a word (`netlink_notify_msg`).
///
/// # Errors
/// No such interface.
pub fn tell_of(index: u32, group: u32, channel: &mut Channel) -> Result<(), NetlinkError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::Group(group));
    channel.request(RouteNetlinkMessage::SetLink(message), 0)
}

/// fe80::/64 with the modified EUI-64 of a MAC address (RFC 4291 appendix A).
pub fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// The link-local addresses of an interface.
pub fn link_locals(known: &Known) -> impl Iterator<Item = Ipv6Addr> {
    known.link.addresses.iter().filter_map(|address| match address.address {
        IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
        _ => None,
    })
}

/// What an IPv6 VMAC speaks from, as keepalived chooses it: the configured source, the parent's address, or one made of
/// the parent's MAC address. A `virtual_address`, which the parent may have at this moment, is nobody's own.
pub fn speaking_address(
    wanted: &Wanted,
    parent: &Known,
    virtual_address: impl Fn(&Ipv6Addr) -> bool,
) -> Option<Ipv6Addr> {
    let of_parent = || link_locals(parent).find(|address| !virtual_address(address));
    wanted.source.or_else(of_parent).or_else(|| parent.link.mac.map(link_local))
}

fn fits(known: &Known, wanted: &Wanted, parent: &Known) -> bool {
    if known.link.lower != parent.link.index {
        return false;
    }
    match &wanted.kind {
        Kind::Vmac { mac } => &*known.link.kind == "macvlan" && known.private && known.link.mac == Some(*mac),
        // ipvlans all have the parent's MAC: only the name tells them apart.
        Kind::Ipvlan { .. } => {
            &*known.link.kind == "ipvlan"
                && match &wanted.name {
                    Some(name) => known.link.name == *name,
                    None => VirtualLink::is_given_name(&wanted.prefix, wanted.vrid, &known.link.name),
                }
        }
    }
}

/// `vrrp.VRID`; if that is taken `vrrpN.VRID` with N = 1, 2, …, for IPv6 6 first.
fn free_name(wanted: &Wanted, links: &Links, taken: &BTreeSet<IfName>) -> IfName {
    let numbers = std::iter::once(None).chain(
        (wanted.family == Family::V6)
            .then_some(6)
            .into_iter()
            .chain((1..u32::MAX).filter(|n| wanted.family == Family::V4 || *n != 6))
            .map(Some),
    );
    for number in numbers {
        let tail = format!("{}.{}", number.map(|n| n.to_string()).unwrap_or_default(), wanted.vrid);
        let room = 15usize.saturating_sub(tail.len());
        let front: String = wanted.prefix.chars().take(room).collect();
        if let Some(name) = IfName::new(&format!("{front}{tail}"))
            && links.named(&name).is_none()
            && !taken.contains(&name)
        {
            return name;
        }
    }
    wanted.parent.clone()
}

/// Gives an interface another name. Kernels before 6.2 rename only what is down: its IPv4 addresses stay meanwhile, and
/// what went is put back when it is up again.
fn rename(link: &Link, name: &IfName, channel: &mut Channel) -> Result<(), NetlinkError> {
    let with = |attributes: Vec<LinkAttribute>, up: Option<bool>| {
        let mut message = LinkMessage::default();
        message.header.index = link.index;
        message.attributes = attributes;
        if let Some(up) = up {
            message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
            message.header.change_mask = LinkFlags::Up;
        }
        RouteNetlinkMessage::SetLink(message)
    };
    let named = || vec![LinkAttribute::IfName(name.as_str().to_owned())];
    match channel.request(with(named(), None), 0) {
        Err(NetlinkError::Refused { errno: libc::EBUSY, .. }) => {}
        other => return other,
    }
    channel.request(with(Vec::new(), Some(false)), 0)?;
    let renamed = channel.request(with(named(), None), 0);
    channel.request(with(Vec::new(), Some(link.up)), 0)?;
    renamed
}

/// Is it the VMAC that is wanted but for its address?
fn may_change_mac(old: &Known, wanted: &Wanted, parent: &Known) -> bool {
    let vmac = matches!(wanted.kind, Kind::Vmac { .. });
    vmac && &*old.link.kind == "macvlan" && old.private && old.link.lower == parent.link.index
}

fn change_mac(index: u32, wanted: &Wanted, channel: &mut Channel) -> Result<(), NetlinkError> {
    let Kind::Vmac { mac } = &wanted.kind else { return Ok(()) };
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::Address(mac.to_vec()));
    channel.request(RouteNetlinkMessage::SetLink(message), 0)
}

fn create(wanted: &Wanted, parent: &Known, name: &IfName, channel: &mut Channel) -> Result<(), NetlinkError> {
    let mut message = LinkMessage::default();
    let attributes = &mut message.attributes;
    attributes.push(LinkAttribute::IfName(name.as_str().to_owned()));
    attributes.push(LinkAttribute::Link(parent.link.index));
    match &wanted.kind {
        Kind::Vmac { mac } => {
            attributes.push(LinkAttribute::Address(mac.to_vec()));
            attributes.push(LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::MacVlan),
                LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Private)])),
            ]));
        }
        Kind::Ipvlan { mode, .. } => {
            let flags = match mode {
                IpvlanMode::Bridge => IpVlanFlags::empty(),
                IpvlanMode::Private => IpVlanFlags::Private,
                IpvlanMode::Vepa => IpVlanFlags::Vepa,
            };
            attributes.push(LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::IpVlan),
                LinkInfo::Data(InfoData::IpVlan(vec![InfoIpVlan::Mode(IpVlanMode::L2), InfoIpVlan::Flags(flags)])),
            ]));
        }
    }
    channel.request(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// No addresses of the kernel's own making, then group, VRF, our mark and up.
fn set_up(
    name: &IfName,
    wanted: &Wanted,
    parent: &Known,
    vrf: bool,
    channel: &mut Channel,
) -> Result<(), NetlinkError> {
    let named = |attributes: Vec<LinkAttribute>| {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.as_str().to_owned()));
        message.attributes.extend(attributes);
        message
    };
    let silent =
        LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)])]);
    // Refused where IPv6 is off altogether, and then not needed.
    let _ = channel.request(RouteNetlinkMessage::SetLink(named(vec![silent])), 0);
    let group = wanted.group.unwrap_or(parent.group);
    if group != 0 {
        channel.request(RouteNetlinkMessage::SetLink(named(vec![LinkAttribute::Group(group)])), 0)?;
    }
    if vrf {
        // A parent in a VRF takes its VMAC along; a parent in a bridge or bond does not.
        let _ = channel
            .request(RouteNetlinkMessage::SetLink(named(vec![LinkAttribute::Controller(parent.link.master)])), 0);
    }
    // The kernel reads no alias when it makes an interface.
    let mut up = named(vec![LinkAttribute::IfAlias(ALIAS.to_owned())]);
    up.header.flags = LinkFlags::Up;
    up.header.change_mask = LinkFlags::Up;
    channel.request(RouteNetlinkMessage::SetLink(up), 0)
}

/// Settings of the VMAC and of its parent, so that the parent does not answer for the VMAC's addresses, nor with its own
/// MAC address. Says which the kernel refuses.
fn prepare(
    wanted: &Wanted,
    parent: &Known,
    name: &IfName,
    sysctls: &mut Sysctls,
    channel: &mut Channel,
) -> Option<String> {
    if matches!(wanted.kind, Kind::Ipvlan { .. }) {
        return None;
    }
    let four = wanted.family == Family::V4 || wanted.both_families;
    if four {
        // Raises every interface's own value first, this one's too.
        lower_global_rp_filter(sysctls, channel);
    }
    // Where 1 of `all` stays, only 2 outdoes it: with 1 the kernel answers no ARP request that comes to a VMAC.
    let strict = read(&path("ipv4", "all", "rp_filter")).is_some_and(|value| value == "1");
    let own = [
        ("arp_ignore", "1"),
        ("accept_local", "1"),
        ("rp_filter", if strict { "2" } else { "0" }),
        ("promote_secondaries", "1"),
    ];
    let mut refused = None;
    for (setting, value) in own.into_iter().take(if four { own.len() } else { 1 }) {
        if let Err(e) = Sysctls::set_for_good(&path("ipv4", name.as_str(), setting), value, channel) {
            refused.get_or_insert(format!("{setting} cannot be set on {name}: {e}"));
        }
    }
    for setting in ["arp_ignore", "arp_filter"].into_iter().filter(|_| four) {
        let link = &parent.link.name;
        if let Err(e) = sysctls.set(&path("ipv4", link.as_str(), setting), "1", channel) {
            refused.get_or_insert(format!("{setting} cannot be set on {link}: {e}"));
        }
    }
    // Not by netlink: where /proc/sys is read-only they stay, on an interface that gets no address of the kernel's own making.
    let six: &[(&str, &str)] = if wanted.family == Family::V4 && !wanted.both_families {
        &[("disable_ipv6", "1")]
    } else {
        &[("disable_ipv6", "0"), ("accept_ra", "0")]
    };
    for (setting, value) in six {
        let _ = Sysctls::set_for_good(&path("ipv6", name.as_str(), setting), value, channel);
    }
    refused
}

/// The kernel takes the larger of `all` and the interface's own value, so a VMAC's 0 counts only when `all` is 0; what
/// `all` asked for is given to each interface instead.
fn lower_global_rp_filter(sysctls: &mut Sysctls, channel: &mut Channel) {
    let all = path("ipv4", "all", "rp_filter");
    let Some(value) = read(&all).and_then(|value| value.parse::<u8>().ok()).filter(|value| *value != 0) else { return };
    if std::fs::OpenOptions::new().write(true).open(&all).is_err() {
        return;
    }
    let Ok(folder) = std::fs::read_dir("/proc/sys/net/ipv4/conf") else { return };
    for entry in folder.flatten() {
        let Ok(link) = entry.file_name().into_string() else { continue };
        let setting = path("ipv4", &link, "rp_filter");
        let now = read(&setting).and_then(|value| value.parse::<u8>().ok()).unwrap_or(0);
        if link != "all" && now < value {
            let _ = sysctls.set(&setting, &value.to_string(), channel);
        }
    }
    let _ = sysctls.set(&all, "0", channel);
}

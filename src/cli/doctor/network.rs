//! Interfaces and those who believe that they own them: networkd, NetworkManager, sysctls.

use super::Asked;
use super::Case;
use super::Finding;
use super::Weight;
use super::balance;
use crate::spec::VirtualLink;
use crate::wire::Family;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Every interface that the configuration names is there, is up, and can do what is asked of it.
pub fn interfaces(case: &Case<'_>, found: &mut Vec<Finding>) {
    let present = case.machine.links();
    let made: Vec<&str> = case.instances().iter().filter_map(made_by_us).collect();
    let mut names = case.interfaces();
    for instance in case.instances() {
        names.extend(instance.ties.iter().filter_map(|tie| tie.on.interface().cloned()));
    }
    let mut good = Vec::new();
    for name in &names {
        let name = name.as_str();
        if made.contains(&name) {
            continue;
        }
        if !present.iter().any(|p| p == name) {
            let candidates = present.iter().filter(|p| *p != "lo");
            let nearest = candidates.min_by_key(|p| strsim::damerau_levenshtein(p, name));
            let finding = Finding::new(Weight::Problem, "interface", format!("interface {name} does not exist"));
            let runs = matches!(case.asked, Asked::Answers(_)) || case.spec.dynamic_interfaces;
            let finding = finding.why(match runs {
                true => "its instances stay in FAULT until it appears",
                false => "the daemon does not start without it, unless `dynamic_interfaces` stands in global_defs",
            });
            found.push(match nearest {
                Some(near) => finding.cure(format!("there is {near}; `ip -br link` shows all")),
                None => finding.cure("`ip -br link` shows what there is"),
            });
            continue;
        }
        match case.machine.link_state(name).as_deref() {
            Some("down") => found.push(
                Finding::new(Weight::Problem, "interface", format!("interface {name} is down"))
                    .why("its instances are in FAULT")
                    .cure(format!("ip link set {name} up")),
            ),
            Some("lowerlayerdown") => found.push(
                Finding::new(Weight::Problem, "interface", format!("interface {name} has no carrier below it"))
                    .cure("look at the interface that it is made on"),
            ),
            _ => good.push(name),
        }
    }
    let speaks =
        |name: &str| case.instances().iter().filter_map(|own| own.interface.as_ref()).any(|own| own.as_str() == name);
    for name in good.iter().filter(|name| speaks(name)) {
        let Some(above) = port_of(case, name) else { continue };
        found.push(
            Finding::new(Weight::Problem, "interface", format!("interface {name} is a port of {above}"))
                .why(format!("what arrives there goes to {above}: an instance on {name} hears no other server, and becomes MASTER beside it"))
                .cure(format!("`interface {above}`, with the addresses of {name} moved there")),
        );
    }
    if !good.is_empty() {
        found.push(Finding::new(Weight::Good, "interface", format!("{} there and up", good.join(", "))));
    }
}

/// The bridge, bond or switch that takes what arrives on this interface. Whoever listens to the interface itself by an address hears
/// nothing then; one of a VRF does.
pub(super) fn port_of(case: &Case<'_>, name: &str) -> Option<String> {
    let shown = case.machine.run(&["ip", "-o", "-d", "link", "show", "dev", name]).filter(|ran| ran.ok)?;
    let words: Vec<&str> = shown.stdout.split_whitespace().collect();
    let is_port = words.iter().any(|word| word.ends_with("_slave") && *word != "vrf_slave");
    let above = words.windows(2).find_map(|pair| match pair {
        ["master", above] => Some((*above).to_owned()),
        _ => None,
    });
    above.filter(|_| is_port)
}

/// Name of a VMAC or ipvlan that the daemon makes itself.
fn made_by_us(instance: &crate::spec::InstanceSpec) -> Option<&str> {
    match instance.virtual_link.as_ref()? {
        VirtualLink::Vmac { name, .. } | VirtualLink::Ipvlan { name, .. } => name.as_ref().map(|n| n.as_str()),
    }
}

/// systemd-networkd takes foreign addresses off an interface when it (re)starts or reconfigures it.
pub fn networkd(case: &Case<'_>, found: &mut Vec<Finding>) {
    if !case.machine.exists("/run/systemd/netif/links") {
        return;
    }
    for name in case.interfaces() {
        let name = name.as_str();
        let Some(index) = case.machine.link_index(name) else { continue };
        let Some(link) = case.machine.read(&format!("/run/systemd/netif/links/{}", index)) else { continue };
        if setting(&link, None, "ADMIN_STATE").is_none_or(|state| state == "unmanaged") {
            continue;
        }
        let Some(file) = setting(&link, None, "NETWORK_FILE") else { continue };
        let keep = kept(case, &file);
        let unit = file.rsplit('/').next().unwrap_or(&file);
        match keep.as_deref() {
            Some("yes" | "true" | "1" | "on" | "static") => found.push(Finding::new(
                Weight::Good,
                "networkd",
                format!("systemd-networkd keeps addresses of others on {name} (KeepConfiguration in {unit})"),
            )),
            _ => found.push(
                Finding::new(
                    Weight::Warning,
                    "networkd",
                    format!("systemd-networkd manages {name} without KeepConfiguration ({unit})"),
                )
                .why("it takes virtual addresses away when it is restarted or reconfigures the link; vipd puts them back, with a gap")
                .cure(format!(
                    "mkdir -p /etc/systemd/network/{unit}.d\n\
                     printf '[Network]\\nKeepConfiguration=yes\\n' > /etc/systemd/network/{unit}.d/vipd.conf\n\
                     networkctl reload"
                )),
            ),
        }
    }
    let rules = case.instances().iter().any(|i| !i.claim.rules.is_empty());
    let routes = case.instances().iter().any(|i| !i.claim.routes.is_empty());
    for (used, key, thing) in
        [(rules, "ManageForeignRoutingPolicyRules", "virtual_rules"), (routes, "ManageForeignRoutes", "virtual_routes")]
    {
        if used && global(case, key).is_none_or(|value| !matches!(value.as_str(), "no" | "false" | "0" | "off")) {
            found.push(
                Finding::new(
                    Weight::Warning,
                    "networkd",
                    format!("systemd-networkd removes {thing} of others ({key})"),
                )
                .why("they vanish when it is restarted")
                .cure(format!(
                    "mkdir -p /etc/systemd/networkd.conf.d\n\
                         printf '[Network]\\n{key}=no\\n' > /etc/systemd/networkd.conf.d/vipd-{}.conf\n\
                         systemctl restart systemd-networkd",
                    thing.trim_start_matches("virtual_")
                )),
            );
        }
    }
}

/// `KeepConfiguration` of a .network file and its drop-ins, the last one to say it.
fn kept(case: &Case<'_>, file: &str) -> Option<String> {
    let unit = file.rsplit('/').next()?;
    let mut value = case.machine.read(file).and_then(|text| setting(&text, Some("Network"), "KeepConfiguration"));
    let mut dropins: Vec<(String, String)> = Vec::new();
    for directory in ["/usr/lib/systemd/network", "/run/systemd/network", "/etc/systemd/network"] {
        let place = format!("{directory}/{unit}.d");
        for name in case.machine.list(&place).into_iter().filter(|n| n.ends_with(".conf")) {
            dropins.retain(|(known, _)| *known != name);
            dropins.push((name.clone(), format!("{place}/{name}")));
        }
    }
    dropins.sort();
    for (_, path) in dropins {
        let said = case.machine.read(&path).and_then(|text| setting(&text, Some("Network"), "KeepConfiguration"));
        value = said.or(value);
    }
    value.map(|v| v.to_ascii_lowercase())
}

fn global(case: &Case<'_>, key: &str) -> Option<String> {
    let mut value = case.machine.read("/etc/systemd/networkd.conf").and_then(|t| setting(&t, Some("Network"), key));
    for directory in
        ["/usr/lib/systemd/networkd.conf.d", "/run/systemd/networkd.conf.d", "/etc/systemd/networkd.conf.d"]
    {
        for name in case.machine.list(directory) {
            let text = case.machine.read(&format!("{directory}/{name}")).unwrap_or_default();
            value = setting(&text, Some("Network"), key).or(value);
        }
    }
    value.map(|v| v.to_ascii_lowercase())
}

/// The last `KEY=value` of an ini-like text, in a section or in any.
fn setting(text: &str, section: Option<&str>, key: &str) -> Option<String> {
    let (mut here, mut value) = (section.is_none(), None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            here = section.is_none_or(|wanted| wanted == name);
        } else if let Some((k, v)) = line.split_once('=')
            && here
            && k.trim() == key
        {
            value = Some(v.trim().to_owned());
        }
    }
    value
}

/// NetworkManager sets an interface's addresses again on every `nmcli connection up`.
pub fn network_manager(case: &Case<'_>, found: &mut Vec<Finding>) {
    if !case.machine.exists("/run/NetworkManager") {
        return;
    }
    for name in case.interfaces() {
        let name = name.as_str();
        let Some(index) = case.machine.link_index(name) else { continue };
        let Some(state) = case.machine.read(&format!("/run/NetworkManager/devices/{}", index)) else { continue };
        let managed = setting(&state, Some("device"), "managed");
        if managed.as_deref() == Some("false") || setting(&state, Some("device"), "connection-uuid").is_none() {
            continue;
        }
        found.push(
            Finding::new(Weight::Note, "networkmanager", format!("NetworkManager manages {name}"))
                .why("`nmcli connection up` and `reapply` take virtual addresses away; vipd puts them back, with a gap")
                .cure(format!(
                    "leave {name} to another tool:\n\
                     printf '[keyfile]\\nunmanaged-devices=interface-name:{name}\\n' > /etc/NetworkManager/conf.d/vipd.conf\n\
                     systemctl reload NetworkManager"
                )),
        );
    }
    if case.instances().iter().any(|i| i.virtual_link.is_some()) {
        let conf: String = ["/etc/NetworkManager/conf.d", "/usr/lib/NetworkManager/conf.d"]
            .iter()
            .flat_map(|d| case.machine.list(d).into_iter().map(move |n| format!("{d}/{n}")))
            .filter_map(|path| case.machine.read(&path))
            .collect();
        if !conf.contains("interface-name:vrrp") {
            found.push(
                Finding::new(Weight::Warning, "networkmanager", "NetworkManager may take hold of VMAC interfaces")
                    .why("it would set them down or configure them when they appear")
                    .cure(
                        "printf '[keyfile]\\nunmanaged-devices=interface-name:vrrp*\\n' > \
                         /etc/NetworkManager/conf.d/vipd-vmac.conf\nsystemctl reload NetworkManager",
                    ),
            );
        }
    }
}

/// IPv6 addresses cannot be set on an interface with IPv6 switched off.
pub fn ipv6_switched_off(case: &Case<'_>, found: &mut Vec<Finding>) {
    for instance in case.instances() {
        for address in &instance.claim.addresses {
            if Family::of(&address.address) == Family::V4 {
                continue;
            }
            let Some(name) = address.interface.as_ref().or(instance.interface.as_ref()) else { continue };
            if case.sysctl(&format!("net/ipv6/conf/{name}/disable_ipv6")) == Some(1) {
                let what = format!("IPv6 is switched off on {name}, and {} shall be there", address.address);
                let finding = Finding::new(Weight::Problem, "ipv6", what);
                let finding = finding.cure(format!("sysctl -w net.ipv6.conf.{name}.disable_ipv6=0"));
                if !found.contains(&finding) {
                    found.push(finding);
                }
            }
        }
    }
}

/// A strict reverse path filter drops what comes in on a VMAC for an address of the interface below, and the reverse.
pub fn reverse_path(case: &Case<'_>, found: &mut Vec<Finding>) {
    for instance in case.instances().iter().filter(|i| i.virtual_link.is_some() && i.family == Family::V4) {
        let Some(base) = &instance.interface else { continue };
        let all = case.sysctl("net/ipv4/conf/all/rp_filter").unwrap_or(0);
        let own = case.sysctl(&format!("net/ipv4/conf/{base}/rp_filter")).unwrap_or(0);
        // The kernel takes the larger of the two.
        if all.max(own) == 1 {
            let key = if all == 1 { "all".to_owned() } else { base.to_string() };
            found.push(
                Finding::new(
                    Weight::Problem,
                    "rp_filter",
                    format!("{}: strict reverse path filter with a VMAC on {base}", instance.name),
                )
                .why("adverts or answers of clients are dropped, since they take another way in than out")
                .cure(format!("sysctl -w net.ipv4.conf.{key}.rp_filter=2   # and in /etc/sysctl.d")),
            );
        }
    }
}

/// The interface below a VMAC must not answer ARP requests for the VMAC's addresses with its own hardware address.
pub fn arp_with_vmac(case: &Case<'_>, found: &mut Vec<Finding>) {
    for instance in case.instances().iter().filter(|i| i.virtual_link.is_some() && i.family == Family::V4) {
        let Some(base) = &instance.interface else { continue };
        let of = |key: &str| {
            let all = case.sysctl(&format!("net/ipv4/conf/all/{key}")).unwrap_or(0);
            all.max(case.sysctl(&format!("net/ipv4/conf/{base}/{key}")).unwrap_or(0))
        };
        if of("arp_ignore") == 0 && of("arp_filter") == 0 {
            found.push(
                Finding::new(
                    Weight::Warning,
                    "arp",
                    format!("{}: {base} may answer ARP requests for the addresses on its VMAC", instance.name),
                )
                .why("clients then learn the hardware address of the server instead of the virtual one")
                .cure(format!("sysctl -w net.ipv4.conf.{base}.arp_ignore=1   # and in /etc/sysctl.d")),
            );
        }
    }
}

/// The network of a virtual address is on another interface than the one that it comes to: two names were crossed, or the file is
/// another server's.
pub fn in_another_network(case: &Case<'_>, found: &mut Vec<Finding>) {
    let Some(shown) = case.machine.run(&["ip", "-o", "address", "show"]) else { return };
    let claimed: BTreeSet<IpAddr> =
        case.instances().iter().flat_map(|own| &own.claim.addresses).map(|own| own.address).collect();
    // `2: eth0    inet 10.0.0.12/24 brd …`
    let networks: Vec<(&str, IpAddr, u8)> = shown
        .stdout
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (name, _, network) = (words.next()?, words.next()?, words.next()?);
            let (address, length) = network.split_once('/')?;
            Some((name, address.parse().ok()?, length.parse().ok()?))
        })
        .filter(|(_, address, _)| !claimed.contains(address))
        .collect();
    for own in case.instances() {
        let Some(interface) = &own.interface else { continue };
        for address in own.claim.addresses.iter().filter(|one| one.interface.is_none()) {
            let has = |(name, network, length): &&(&str, IpAddr, u8)| {
                *name != "lo" && *length > 0 && is_in(address.address, *network, *length)
            };
            let mut there = networks.iter().filter(has).peekable();
            let Some((name, network, length)) = there.peek().copied() else { continue };
            if there.any(|(name, ..)| *name == interface.as_str()) {
                continue;
            }
            found.push(
                Finding::new(
                    Weight::Warning,
                    "network",
                    format!(
                        "{}: {} comes to {interface}, and its network is on {name} ({network}/{length})",
                        own.name, address.address
                    ),
                )
                .why("clients look for it there, and the other servers probably speak there: then both become MASTER")
                .cure(format!(
                    "is `interface {interface}` right on this server? If it is meant so: `{}/{} dev {name}`",
                    address.address, address.prefix
                )),
            );
            break;
        }
    }
}

/// Whether an address is in the network of another one.
fn is_in(address: IpAddr, network: IpAddr, length: u8) -> bool {
    let same = |a: u128, b: u128, bits: u32| {
        let left = bits.saturating_sub(u32::from(length));
        a.checked_shr(left).unwrap_or(0) == b.checked_shr(left).unwrap_or(0)
    };
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(u32::from(a).into(), u32::from(b).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => !b.is_unicast_link_local() && same(a.into(), b.into(), 128),
        _ => false,
    }
}

/// A virtual address that is on the interface while no daemon runs is configured there by somebody else.
pub fn already_there(case: &Case<'_>, found: &mut Vec<Finding>) {
    if super::services::daemon_runs(case) {
        return;
    }
    let present = case.machine.addresses();
    for instance in case.instances() {
        for address in &instance.claim.addresses {
            // A director that is a real server as well has it on its loopback all the time.
            let other = |name: &str| !(balance::is_for_server(name) && balance::is_without_nat(case, address.address));
            if let Some((name, _)) = present.iter().find(|(name, a)| *a == address.address && other(name)) {
                found.push(
                    Finding::new(
                        Weight::Problem,
                        "address",
                        format!("{} is on {name} although no daemon runs", address.address),
                    )
                    .why("when the other server is master, two machines answer for it")
                    .cure(format!(
                        "take it out of the network configuration; ip address del {}/{} dev {name}",
                        address.address, address.prefix
                    )),
                );
            }
        }
    }
}

//! Which addresses are on which interfaces now, asked of the kernel once and not watched.
//!
//! For people's questions (`vipctl status`, `vipctl doctor`), never for the protocol: what the engine goes by is the
//! netlink thread's. The call may wait for the kernel's routing lock, so it belongs on no thread that must not wait.

use nix::net::if_::InterfaceFlags;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The interfaces of the calling thread's network namespace, and whether each is up and has what it needs to carry packets.
pub fn links() -> BTreeMap<String, bool> {
    let Ok(list) = nix::ifaddrs::getifaddrs() else { return BTreeMap::new() };
    let runs = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    list.map(|entry| (entry.interface_name, entry.flags.contains(runs))).collect()
}

/// (interface, address) of everything configured in the calling thread's network namespace; `None` if the kernel does not
/// say, for lack of a descriptor or of memory: whoever is told nothing must not take everything for missing.
pub fn present() -> Option<Vec<(String, IpAddr)>> {
    let list = nix::ifaddrs::getifaddrs().ok()?;
    let addresses = list.filter_map(|entry| {
        let storage = entry.address?;
        let address = match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
            (Some(v4), _) => IpAddr::V4(v4.ip()),
            (_, Some(v6)) => IpAddr::V6(v6.ip()),
            _ => return None,
        };
        Some((entry.interface_name, address))
    });
    Some(addresses.collect())
}

/// The hardware addresses of Ethernet interfaces in the calling thread's network namespace.
pub fn hardware() -> BTreeMap<String, [u8; 6]> {
    let Ok(list) = nix::ifaddrs::getifaddrs() else { return BTreeMap::new() };
    list.filter_map(|entry| Some((entry.interface_name, entry.address?.as_link_addr()?.addr()?))).collect()
}

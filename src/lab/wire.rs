//! Namespaces joined by veth pairs and a bridge in a further namespace.
//!
//! Every name that is made here begins with the lab's own prefix; nothing is touched that does not.

use crate::kernel::namespace;
use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::{LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth};
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

/// Runs netlink requests inside a namespace.
///
/// # Errors
/// The namespace cannot be entered, or the kernel refuses.
pub fn netlink<T, F>(namespace: &str, work: impl FnOnce(rtnetlink::Handle) -> F + Send) -> io::Result<T>
where
    T: Send,
    F: Future<Output = Result<T, rtnetlink::Error>>,
{
    namespace::inside(namespace, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection()?;
            let task = tokio::spawn(connection);
            let done = work(handle).await.map_err(in_words);
            task.abort();
            done
        })
    })
}

/// The kernel's errno as an io::Error, with what was asked.
fn in_words(error: rtnetlink::Error) -> io::Error {
    match &error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other.to_string()),
    }
}

/// A bridge, up, in a namespace. Multicast is flooded: snooping needs a querier that a lab has not.
///
/// # Errors
/// What the kernel says.
pub fn bridge(namespace: &str, name: &str) -> io::Result<()> {
    let name = name.to_owned();
    netlink(namespace, async |handle| {
        handle.link().add(LinkBridge::new(&name).up().mcast_snooping(false).build()).execute().await
    })
}

/// A veth pair: `here` in the namespace `namespace`, its other end `there` in the namespace `other`, enslaved to
/// `bridge` if given. The end in `namespace` stays down until [`up`].
///
/// # Errors
/// What the kernel says.
pub fn cable(namespace: &str, here: &str, other: &str, there: &str, bridge: Option<&str>) -> io::Result<()> {
    // Made in the other namespace under a name of its own and moved: names need be unique in neither by themselves.
    let target = File::open(namespace::path(namespace))?;
    let moving = format!("t{}", there);
    let moving: String = moving.chars().take(15).collect();
    netlink(other, async |handle| {
        handle.link().add(LinkVeth::new(there, &moving).build()).execute().await?;
        let message =
            LinkMessageBuilder::<LinkUnspec>::default().name(moving.clone()).setns_by_fd(target.as_raw_fd()).build();
        handle.link().change(message).execute().await?;
        let end = index_of(&handle, there).await?;
        let mut message = LinkMessageBuilder::<LinkUnspec>::default().index(end).up();
        if let Some(bridge) = bridge {
            message = message.controller(index_of(&handle, bridge).await?);
        }
        handle.link().change(message.build()).execute().await
    })?;
    netlink(namespace, async |handle| {
        let index = index_of(&handle, &moving).await?;
        let message = LinkMessageBuilder::<LinkUnspec>::default().index(index).name(here.to_owned()).build();
        handle.link().change(message).execute().await
    })
}

/// Sets an interface up or down.
///
/// # Errors
/// No such interface.
pub fn set_up(namespace: &str, name: &str, up: bool) -> io::Result<()> {
    netlink(namespace, async |handle| {
        let index = index_of(&handle, name).await?;
        let message = LinkMessageBuilder::<LinkUnspec>::default().index(index);
        let message = if up { message.up() } else { message.down() };
        handle.link().change(message.build()).execute().await
    })
}

/// Puts an address on an interface. An IPv6 one is usable at once.
///
/// # Errors
/// No such interface; an address that is there already.
pub fn add_address(namespace: &str, name: &str, address: IpAddr, prefix: u8) -> io::Result<()> {
    netlink(namespace, async |handle| {
        let index = index_of(&handle, name).await?;
        let mut request = handle.address().add(index, address, prefix);
        if address.is_ipv6() {
            request.message_mut().header.flags |= rtnetlink::packet_route::address::AddressHeaderFlags::Nodad;
        }
        request.execute().await
    })
}

/// Takes an address away.
///
/// # Errors
/// No such interface or address.
pub fn remove_address(namespace: &str, name: &str, address: IpAddr, prefix: u8) -> io::Result<()> {
    netlink(namespace, async |handle| {
        let index = index_of(&handle, name).await?;
        let mut message = rtnetlink::packet_route::address::AddressMessage::default();
        message.header.family = match address {
            IpAddr::V4(_) => rtnetlink::packet_route::AddressFamily::Inet,
            IpAddr::V6(_) => rtnetlink::packet_route::AddressFamily::Inet6,
        };
        message.header.prefix_len = prefix;
        message.header.index = index;
        message.attributes.push(rtnetlink::packet_route::address::AddressAttribute::Local(address));
        message.attributes.push(rtnetlink::packet_route::address::AddressAttribute::Address(address));
        handle.address().del(message).execute().await
    })
}

/// Removes an interface.
///
/// # Errors
/// No such interface.
pub fn remove_link(namespace: &str, name: &str) -> io::Result<()> {
    netlink(namespace, async |handle| {
        let index = index_of(&handle, name).await?;
        handle.link().del(index).execute().await
    })
}

/// The index of an interface.
///
/// # Errors
/// No such interface.
pub fn index(namespace: &str, name: &str) -> io::Result<u32> {
    netlink(namespace, async |handle| index_of(&handle, name).await)
}

/// All addresses of an interface with their prefix lengths.
///
/// # Errors
/// No such interface.
pub fn addresses(namespace: &str, name: &str) -> io::Result<Vec<(IpAddr, u8)>> {
    use rtnetlink::packet_route::address::AddressAttribute;
    netlink(namespace, async |handle| {
        let index = index_of(&handle, name).await?;
        let messages: Vec<_> = handle.address().get().set_link_index_filter(index).execute().try_collect().await?;
        Ok(messages
            .into_iter()
            .filter_map(|message| {
                let attribute = |local: bool| {
                    message.attributes.iter().find_map(|attribute| match attribute {
                        AddressAttribute::Local(address) if local => Some(*address),
                        AddressAttribute::Address(address) if !local => Some(*address),
                        _ => None,
                    })
                };
                Some((attribute(true).or(attribute(false))?, message.header.prefix_len))
            })
            .collect())
    })
}

async fn index_of(handle: &rtnetlink::Handle, name: &str) -> Result<u32, rtnetlink::Error> {
    let mut found = handle.link().get().match_name(name.to_owned()).execute();
    match found.try_next().await? {
        Some(message) => Ok(message.header.index),
        None => Err(rtnetlink::Error::RequestFailed),
    }
}

/// The MAC address of an interface.
///
/// # Errors
/// No such interface.
pub fn mac(namespace: &str, name: &str) -> io::Result<Option<[u8; 6]>> {
    netlink(namespace, async |handle| {
        let mut found = handle.link().get().match_name(name.to_owned()).execute();
        let message = found.try_next().await?;
        Ok(message.into_iter().flat_map(|message| message.attributes).find_map(|attribute| match attribute {
            LinkAttribute::Address(bytes) => <[u8; 6]>::try_from(bytes).ok(),
            _ => None,
        }))
    })
}

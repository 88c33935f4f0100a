//! What the kernel tells of its own accord: links, addresses, routes, rules that came, changed or went.
//!
//! Listens only. When the kernel had to drop messages ([`Heard::Lost`]) nothing that was heard before can be trusted;
//! the owner then takes a fresh dump.

use super::NetlinkError;
use super::Settings;
use super::channel::{Messages, borrow};
use crate::kernel::buffer;
use crate::kernel::readiness::{Owning, readable};
use netlink_packet_core::NetlinkDeserializable;
use netlink_packet_route::RouteNetlinkMessage;
use nix::sys::socket::{MsgFlags, recv};
use std::io;
use std::os::fd::AsRawFd;
use tokio::io::unix::AsyncFd;

const GROUP_LINK: u32 = 1;
const GROUP_IPV4_ADDRESS: u32 = 5;
const GROUP_IPV4_ROUTE: u32 = 7;
const GROUP_IPV4_RULE: u32 = 8;
const GROUP_IPV6_ADDRESS: u32 = 9;
const GROUP_IPV6_ROUTE: u32 = 11;
const GROUP_IPV6_RULE: u32 = 19;
/// Room for some ten thousand address events: what a bulk change by somebody else makes while this thread is busy.
const RECEIVE_BUFFER: u32 = 8 << 20;
const READ: usize = 1 << 16;

/// What one look at the socket gave.
#[derive(Debug)]
pub enum Heard {
    Messages(Vec<RouteNetlinkMessage>),
    /// The kernel dropped messages.
    Lost,
    Nothing,
}

/// The event socket.
#[derive(Debug)]
pub struct Watch {
    socket: AsyncFd<netlink_sys::Socket>,
    buffer: Vec<u8>,
    routes: bool,
    rules: bool,
}

// SAFETY: a netlink-sys socket keeps its descriptor until it is dropped and never changes it.
unsafe impl Owning for netlink_sys::Socket {}

impl Watch {
    /// Listens to links and addresses. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The socket cannot be opened or the groups not be joined.
    pub fn open(settings: &Settings) -> Result<Watch, NetlinkError> {
        let mut socket = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        let configured = settings.buffers.monitor;
        let force = configured.is_none() || settings.buffers.monitor_force;
        buffer::set(&borrow(&socket), configured.unwrap_or(RECEIVE_BUFFER), force);
        for group in [GROUP_LINK, GROUP_IPV4_ADDRESS, GROUP_IPV6_ADDRESS] {
            socket.add_membership(group)?;
        }
        Ok(Watch { socket: readable(socket)?, buffer: vec![0; READ], routes: false, rules: false })
    }

    /// Listens to routes and rules as well, or no longer does. Routes are many on some machines: they are listened to
    /// only while a tracked one is configured.
    ///
    /// # Errors
    /// The groups cannot be joined.
    pub fn follow(&mut self, routes: bool, rules: bool) -> Result<(), NetlinkError> {
        let socket = self.socket.get_ref();
        let set = |group: u32, on: bool| if on { socket.add_membership(group) } else { socket.drop_membership(group) };
        if routes != self.routes {
            set(GROUP_IPV4_ROUTE, routes)?;
            set(GROUP_IPV6_ROUTE, routes)?;
            self.routes = routes;
        }
        if rules != self.rules {
            set(GROUP_IPV4_RULE, rules)?;
            set(GROUP_IPV6_RULE, rules)?;
            self.rules = rules;
        }
        Ok(())
    }

    /// Waits until there is something to hear. Cancel-safe.
    ///
    /// # Errors
    /// Only if the runtime is shutting down.
    pub async fn readable(&mut self) -> io::Result<()> {
        // Readiness is forgotten only when a read finds nothing, in `hear`.
        let mut guard = self.socket.readable().await?;
        let mut probe = [0u8; 1];
        match recv(guard.get_inner().as_raw_fd(), &mut probe, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
            Err(nix::Error::EAGAIN) => guard.clear_ready(),
            // The overrun is reported once by whichever call comes first; a peek must not swallow it.
            Err(nix::Error::ENOBUFS) => return Err(io::Error::from_raw_os_error(libc::ENOBUFS)),
            _ => {}
        }
        Ok(())
    }

    /// Reads one buffer of what is there; never waits.
    pub fn hear(&mut self) -> Heard {
        match recv(self.socket.get_ref().as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => {
                let bytes = self.buffer.get(..length).unwrap_or_default();
                let messages = Messages::new(bytes)
                    .filter_map(|(header, payload)| RouteNetlinkMessage::deserialize(&header, payload).ok())
                    .collect();
                Heard::Messages(messages)
            }
            Err(nix::Error::ENOBUFS) => Heard::Lost,
            Err(_) => Heard::Nothing,
        }
    }

    /// Bytes that may be queued, with the kernel's bookkeeping.
    pub fn room(&self) -> usize {
        buffer::size(&borrow(self.socket.get_ref()))
    }

    /// Throws away what is queued: before a dump that is newer than all of it.
    pub fn forget(&mut self) {
        loop {
            match recv(self.socket.get_ref().as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(_) | Err(nix::Error::ENOBUFS | nix::Error::EINTR) => {}
                Err(_) => return,
            }
        }
    }
}

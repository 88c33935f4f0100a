//! Hears when another program removes our tables, or something in them: `nft flush ruleset`, a firewall that is reloaded.
//!
//! It only listens; the tables are made again by [`super::Firewall`].

use crate::kernel::buffer;
use crate::kernel::netlink::channel::{Messages, borrow};
use crate::kernel::readiness::readable;
use nix::sys::socket::{MsgFlags, recv};
use std::io;
use std::os::fd::AsRawFd;
use tokio::io::unix::AsyncFd;

/// NFNLGRP_NFTABLES.
const GROUP: u32 = 7;
/// NFNL_SUBSYS_NFTABLES in the high byte; of the low one what removes: table, chain, rule, set, element.
const SUBSYSTEM: u16 = 10;
const REMOVES: [u16; 5] = [2, 5, 8, 11, 14];
const READ: usize = 1 << 16;
/// Our own changes are told here too, and a claim of thousands of addresses is as many elements in one transaction.
const RECEIVE_BUFFER: u32 = 16 << 20;

/// The listening socket.
#[derive(Debug)]
pub struct Guard {
    socket: AsyncFd<netlink_sys::Socket>,
    buffer: Vec<u8>,
}

impl Guard {
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The socket cannot be opened, or the group not be joined.
    pub fn open() -> io::Result<Guard> {
        let mut socket = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        buffer::force(&borrow(&socket), RECEIVE_BUFFER);
        socket.add_membership(GROUP)?;
        Ok(Guard { socket: readable(socket)?, buffer: vec![0; READ] })
    }

    /// Waits until somebody else than the socket `own` has removed something of `tables` (family, name). Cancel-safe.
    pub async fn disturbed(&mut self, own: u32, tables: &[(u8, String)]) {
        let Guard { socket, buffer } = self;
        loop {
            let Ok(mut guard) = socket.readable().await else { return std::future::pending().await };
            if look(guard.get_inner(), buffer, own, tables) != Look::Nothing {
                return;
            }
            guard.clear_ready();
        }
    }

    /// As [`Guard::disturbed`], of what has been told up to now.
    pub fn is_disturbed(&mut self, own: u32, tables: &[(u8, String)]) -> bool {
        look(self.socket.get_ref(), &mut self.buffer, own, tables) != Look::Nothing
    }

    /// As [`Guard::is_disturbed`], just after a transaction of our own: what was lost was of that.
    pub fn is_disturbed_beside_ours(&mut self, own: u32, tables: &[(u8, String)]) -> bool {
        loop {
            match look(self.socket.get_ref(), &mut self.buffer, own, tables) {
                Look::Nothing => return false,
                Look::Removed => return true,
                Look::Lost => {}
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Nothing,
    Removed,
    /// Messages have been lost, and what was removed may have been in them.
    Lost,
}

/// Reads up to the first message that counts, or all that there is.
fn look(socket: &netlink_sys::Socket, buffer: &mut [u8], own: u32, tables: &[(u8, String)]) -> Look {
    loop {
        match recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => {
                let bytes = buffer.get(..length).unwrap_or_default();
                if Messages::new(bytes)
                    .any(|(header, payload)| header.port_number != own && removes(header.message_type, payload, tables))
                {
                    return Look::Removed;
                }
            }
            Err(nix::Error::ENOBUFS) => return Look::Lost,
            Err(nix::Error::EINTR) => {}
            Err(_) => return Look::Nothing,
        }
    }
}

/// A message begins with the family; the table's name is attribute 1 of each kind that counts.
fn removes(kind: u16, payload: &[u8], tables: &[(u8, String)]) -> bool {
    const HEADER: usize = 4;
    const TABLE: u16 = 1;
    if kind >> 8 != SUBSYSTEM || !REMOVES.contains(&(kind & 0xff)) {
        return false;
    }
    let Some(family) = payload.first() else { return false };
    let attributes = netlink_packet_core::NlasIterator::new(payload.get(HEADER..).unwrap_or_default());
    let name = attributes.flatten().find(|attribute| attribute.kind() == TABLE);
    name.is_some_and(|name| {
        let name = String::from_utf8_lossy(name.value());
        tables.iter().any(|(of, table)| of == family && *table == name.trim_end_matches('\0'))
    })
}

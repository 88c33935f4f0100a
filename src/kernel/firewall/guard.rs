//! Hears when another program removes our tables, or something in them: `nft flush ruleset`, a firewall that is reloaded.
//!
//! It only listens; the tables are made again by [`super::Firewall`].

use crate::kernel::netlink::channel::Messages;
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
        socket.add_membership(GROUP)?;
        Ok(Guard { socket: readable(socket)?, buffer: vec![0; READ] })
    }

    /// Waits until somebody else than the socket `own` has removed something of `tables` (family, name). Cancel-safe.
    pub async fn disturbed(&mut self, own: u32, tables: &[(u8, String)]) {
        loop {
            let Ok(mut guard) = self.socket.readable().await else { return std::future::pending().await };
            match recv(guard.get_inner().as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => {
                    let bytes = self.buffer.get(..length).unwrap_or_default();
                    if Messages::new(bytes).any(|(header, payload)| {
                        header.port_number != own && removes(header.message_type, payload, tables)
                    }) {
                        return;
                    }
                }
                // Something was lost: it may have been ours.
                Err(nix::Error::ENOBUFS) => return,
                Err(nix::Error::EINTR) => {}
                Err(_) => guard.clear_ready(),
            }
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

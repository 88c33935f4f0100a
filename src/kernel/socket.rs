//! Raw VRRP sockets: one per distinct [`Port`], owned by the engine thread, never blocking.

use crate::engine::io::{Port, RxMeta, Transmit};
use crate::engine::spec::{InstanceId, RxBuffer};
use std::io;

/// All sockets of the daemon.
#[derive(Debug, Default)]
pub struct Sockets {
    settings: SocketSettings,
}

/// What `global_defs` says about sockets.
#[derive(Clone, Copy, Debug, Default)]
pub struct SocketSettings {
    /// `vrrp_rx_bufs_policy`.
    pub rx_buffer: RxBuffer,
    /// `disable_local_igmp`: groups are not joined; somebody else does it.
    pub disable_local_igmp: bool,
}

impl Sockets {
    pub fn new(settings: SocketSettings) -> Sockets {
        Sockets { settings }
    }

    /// Opens what is new, closes what is gone, keeps the rest (with what is queued in it). Must be called inside the
    /// tokio runtime that will receive. Answers the ports that could not be opened; those are tried again at the next call.
    pub fn sync(&mut self, ports: Vec<(Port, Vec<InstanceId>)>) -> Vec<(Port, io::Error)> {
        let _ = (ports, self.settings);
        Vec::new()
    }

    /// Sends one datagram through the socket of its instance; never waits.
    ///
    /// # Errors
    /// `NotConnected` if the instance has no socket; otherwise what sendmsg(2) answers.
    pub fn send(&mut self, transmit: &Transmit) -> io::Result<()> {
        let _ = transmit;
        Err(io::ErrorKind::NotConnected.into())
    }

    /// Waits until some socket has something. Cancel-safe. Waits for ever without sockets.
    ///
    /// # Errors
    /// Only if the runtime is shutting down.
    pub async fn readable(&mut self) -> io::Result<()> {
        std::future::pending().await
    }

    /// The next datagram that is already there, taking the sockets in turn; `None` when all are empty. IPv4: the packet
    /// from its IP header on; IPv6: the payload.
    ///
    /// # Errors
    /// A socket error (network down …); it concerns one socket, go on with the next call.
    pub fn try_recv(&mut self, buf: &mut [u8]) -> io::Result<Option<(usize, RxMeta)>> {
        let _ = buf;
        Ok(None)
    }

    /// [`Sockets::readable`] and [`Sockets::try_recv`] in one. Cancel-safe.
    ///
    /// # Errors
    /// As [`Sockets::try_recv`].
    pub async fn recv(&mut self, buf: &mut [u8]) -> io::Result<(usize, RxMeta)> {
        loop {
            if let Some(got) = self.try_recv(buf)? {
                return Ok(got);
            }
            self.readable().await?;
        }
    }
}

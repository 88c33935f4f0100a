//! Asks a network who has an IPv4 address, as a client would, and hears every machine that answers: `vipctl doctor` finds
//! with it that two have the same one. The daemon does not use it.
//!
//! Two ARP requests an address, and whatever answers within some time. Nobody's cache changes by a request whose sender is an
//! address that this machine has already, or none (an ARP probe, RFC 5227 §1.1). Both are sent, for some answer only to their
//! own network, and a machine that has the sender's address itself answers to a probe alone.

use super::overhear;
use crate::wire::frames::{self, ARP_FRAME};
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Machines that are heard at most: more than that is a flood.
const MOST: usize = 256;

/// An answer: the address, and the hardware address of the machine that says it has it.
pub type Answer = (Ipv4Addr, [u8; 6]);

/// Asks on one interface for all of these addresses. `own`: the hardware address and the address to ask from; the latter may
/// be unspecified. Each pair is in the answer once, in the order in which they came.
///
/// # Errors
/// No such interface, no CAP_NET_RAW, the interface is down.
pub fn ask(
    interface: &str,
    own: ([u8; 6], Ipv4Addr),
    addresses: &[Ipv4Addr],
    patience: Duration,
) -> io::Result<Vec<Answer>> {
    let index = nix::net::if_::if_nametoindex(interface)?;
    let index = libc::c_int::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?;
    // Protocol 0: nothing comes before it is bound.
    let socket = socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::RAW.cloexec(), None)?;
    overhear::bind(&socket, libc::ETH_P_ARP, index)?;
    for address in addresses {
        if own.1 != *address && !own.1.is_unspecified() {
            socket.send(&frames::arp_request(own.0, own.1, *address))?;
        }
        socket.send(&frames::arp_request(own.0, Ipv4Addr::UNSPECIFIED, *address))?;
    }
    let (mut answers, end) = (Vec::new(), Instant::now() + patience);
    let mut buffer = [0; 2 * ARP_FRAME];
    while answers.len() < MOST {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let length = match (&socket).read(&mut buffer) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => continue,
            Err(error) => return Err(error),
        };
        if let Some(answer) = buffer.get(..length).and_then(frames::arp_sender)
            && addresses.contains(&answer.0)
            && !answers.contains(&answer)
        {
            answers.push(answer);
        }
    }
    Ok(answers)
}

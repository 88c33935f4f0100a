//! Whether an interface has carrier, in the three ways in which Linux can be asked.
//!
//! Asks only, never waits and changes nothing. Each answers an error where the driver has no answer.

use super::interface_request;
use std::io;
use std::os::fd::AsRawFd;

const SIOCETHTOOL: libc::c_int = 0x8946;
const SIOCGMIIPHY: libc::c_int = 0x8947;
const SIOCGMIIREG: libc::c_int = 0x8948;
/// ETHTOOL_GLINK of linux/ethtool.h.
const GET_LINK: u32 = 0x0a;
/// The PHY's status register and its bit for an established link (IEEE 802.3 clause 22.2.4.2).
const STATUS_REGISTER: u16 = 1;
const LINK_ESTABLISHED: u16 = 1 << 2;

nix::ioctl_readwrite_bad!(ask_ethtool, SIOCETHTOOL, libc::ifreq);
nix::ioctl_readwrite_bad!(ask_phy, SIOCGMIIPHY, libc::ifreq);
nix::ioctl_readwrite_bad!(ask_register, SIOCGMIIREG, libc::ifreq);
nix::ioctl_readwrite_bad!(ask_flags, libc::SIOCGIFFLAGS, libc::ifreq);

/// struct ethtool_value.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// struct mii_ioctl_data, which lies in the request itself.
#[repr(C)]
#[derive(Clone, Copy)]
struct Register {
    phy: u16,
    number: u16,
    value_in: u16,
    value_out: u16,
}

/// What the PHY says.
///
/// # Errors
/// No such interface, or one without a PHY that can be read.
pub fn by_mii(name: &str) -> io::Result<bool> {
    let (socket, mut request) = interface_request(name)?;
    // SAFETY: the kernel reads the zero-terminated name and fills the four numbers at the start of ifr_ifru, which is
    // larger than they are; `Register` is those numbers, valid for every bit pattern.
    unsafe {
        ask_phy(socket.as_raw_fd(), &mut request)?;
        let numbers = std::ptr::from_mut(&mut request.ifr_ifru).cast::<Register>();
        let mut register = numbers.read_unaligned();
        register.number = STATUS_REGISTER;
        numbers.write_unaligned(register);
        // Latched low: a break since the last look is told as well.
        ask_register(socket.as_raw_fd(), &mut request)?;
        let numbers = std::ptr::from_ref(&request.ifr_ifru).cast::<Register>();
        Ok(numbers.read_unaligned().value_out & LINK_ESTABLISHED != 0)
    }
}

/// What the driver says.
///
/// # Errors
/// No such interface, or a driver that does not say.
pub fn by_ethtool(name: &str) -> io::Result<bool> {
    let (socket, mut request) = interface_request(name)?;
    let mut value = Value { command: GET_LINK, data: 0 };
    request.ifr_ifru.ifru_data = std::ptr::from_mut(&mut value).cast();
    // SAFETY: ETHTOOL_GLINK reads and writes the `Value` behind ifru_data, which lives until the call has returned.
    unsafe { ask_ethtool(socket.as_raw_fd(), &mut request) }?;
    Ok(value.data != 0)
}

/// What the interface's flags say: IFF_RUNNING.
///
/// # Errors
/// No such interface.
pub fn by_flags(name: &str) -> io::Result<bool> {
    let (socket, mut request) = interface_request(name)?;
    // SAFETY: SIOCGIFFLAGS reads the zero-terminated name and fills ifru_flags.
    let flags = unsafe {
        ask_flags(socket.as_raw_fd(), &mut request)?;
        request.ifr_ifru.ifru_flags
    };
    Ok(libc::c_int::from(flags) & libc::IFF_RUNNING != 0)
}

//! Adverts made byte by byte from RFC 3768 and RFC 9568, not by vipd, and put on a wire as they are.

use std::os::fd::AsRawFd;

/// RFC 1071.
pub fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut total: u32 = words.sum();
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

/// An advert as an Ethernet frame, right in every field. All who are on the wire take the frame, wherever the advert goes.
#[derive(Clone)]
pub struct Crafted {
    pub version: u8,
    pub vrid: u8,
    pub priority: u8,
    pub source: [u8; 4],
    pub destination: [u8; 4],
    pub address: [u8; 4],
    /// Seconds.
    pub interval: u8,
    /// Of version 2: type and data.
    pub auth: (u8, [u8; 8]),
    pub ttl: u8,
    /// The checksum is a wrong one.
    pub spoilt: bool,
    /// IEEE 802.1Q.
    pub vlan: Option<u16>,
}

impl Crafted {
    pub fn new(version: u8, vrid: u8, source: [u8; 4], address: [u8; 4]) -> Crafted {
        let (priority, interval, auth, ttl, destination) = (50, 1, (0, [0; 8]), 255, [224, 0, 0, 18]);
        Crafted {
            version,
            vrid,
            priority,
            source,
            destination,
            address,
            interval,
            auth,
            ttl,
            spoilt: false,
            vlan: None,
        }
    }

    pub fn frame(&self) -> Vec<u8> {
        let seconds = u16::from(self.interval);
        let [fifth, sixth] =
            if self.version == 2 { [self.auth.0, self.interval] } else { (seconds * 100).to_be_bytes() };
        let mut advert = vec![self.version << 4 | 1, self.vrid, self.priority, 1, fifth, sixth, 0, 0];
        advert.extend(self.address);
        let mut summed = advert.clone();
        if self.version == 2 {
            // The data is part of the sum (RFC 3768 §5.3.8 sums the whole VRRP message).
            advert.extend(self.auth.1);
            summed = advert.clone();
        } else {
            let pseudo =
                [&self.source[..], &self.destination, &[0, 112], &(advert.len() as u16).to_be_bytes()].concat();
            summed.splice(0..0, pseudo);
        }
        let checksum = sum(&summed) ^ u16::from(self.spoilt);
        advert[6..8].copy_from_slice(&checksum.to_be_bytes());
        let length = (20 + advert.len()) as u16;
        let mut head = vec![0x45, 0xc0, (length >> 8) as u8, length as u8, 0, 1, 0, 0, self.ttl, 112, 0, 0];
        head.extend(self.source);
        head.extend(self.destination);
        let checksum = sum(&head);
        head[10..12].copy_from_slice(&checksum.to_be_bytes());
        let mut ethernet = vec![0x01, 0x00, 0x5e, 0, 0, 0x12, 2, 0, 0, 0, 0, 9];
        if let Some(vlan) = self.vlan {
            ethernet.extend([0x81, 0x00]);
            ethernet.extend(vlan.to_be_bytes());
        }
        ethernet.extend([0x08, 0x00]);
        [ethernet, head, advert].concat()
    }
}

/// Puts a frame on the wire at an interface of the calling thread's namespace.
pub fn put(interface: &str, frame: &[u8]) {
    let socket = socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::RAW, None).unwrap();
    // SAFETY: an all-zero sockaddr_ll is a valid one to be written over.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_ifindex = nix::net::if_::if_nametoindex(interface).unwrap() as i32;
    let length = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: both pointers are valid for the lengths beside them, and the call keeps neither.
    let sent = unsafe {
        libc::sendto(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0, (&raw const to).cast(), length)
    };
    assert_eq!(sent, frame.len() as isize, "{}", std::io::Error::last_os_error());
}

//! A capture file as a series of frames: pcap and pcapng, as tcpdump, dumpcap and Wireshark write them, and `vipctl
//! simulate --pcap`.

use super::super::Trouble;
use crate::wire::link::Framing;
use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};
use std::fs::File;
use std::path::Path;

/// Longer than any block that a capture of VRRP needs.
const BUFFER: usize = 1 << 20;

/// A frame of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    /// Microseconds since 1970; 0 where the file does not say.
    pub(super) unix_micros: u64,
    pub(super) framing: Framing,
    pub(super) bytes: &'a [u8],
}

/// Of an interface of a pcapng file.
struct Interface {
    framing: Option<Framing>,
    /// Units of time in a second.
    units: u64,
    /// Seconds.
    offset: i64,
}

/// Hands every frame on whose link can be read, in the order of the file. Of a file that breaks off, what stands before that.
///
/// # Errors
/// No file, no capture, or one of a kind of link that cannot be read here.
pub(super) fn read(path: &Path, mut hand_on: impl FnMut(Frame<'_>)) -> Result<(), Trouble> {
    let name = path.display();
    let file = File::open(path).map_err(|e| Trouble::new(format!("{name}: {e}")))?;
    let not_one = |why: &str| {
        let help = "a file of `tcpdump -w FILE` or `dumpcap -w FILE` is one";
        Trouble::new(format!("{name}: {why}")).help(help)
    };
    let mut reader = create_reader(BUFFER, file).map_err(|_| not_one("this is no pcap and no pcapng file"))?;
    let (mut of_file, mut interfaces): (Option<(Framing, bool)>, Vec<Interface>) = (None, Vec::new());
    let (mut readable, mut unread) = (0_u64, 0_u64);
    loop {
        let used = match reader.next() {
            Ok((used, block)) => {
                match block {
                    PcapBlockOwned::LegacyHeader(head) => {
                        of_file = framing(head.network).map(|framing| (framing, head.is_nanosecond_precision()));
                    }
                    PcapBlockOwned::Legacy(block) => match of_file {
                        Some((framing, nanoseconds)) => {
                            let part = u64::from(block.ts_usec) / if nanoseconds { 1000 } else { 1 };
                            let unix_micros = u64::from(block.ts_sec) * 1_000_000 + part;
                            hand_on(Frame { unix_micros, framing, bytes: block.data });
                            readable += 1;
                        }
                        None => unread += 1,
                    },
                    PcapBlockOwned::NG(Block::SectionHeader(_)) => interfaces.clear(),
                    PcapBlockOwned::NG(Block::InterfaceDescription(head)) => interfaces.push(Interface {
                        framing: framing(head.linktype),
                        units: head.ts_resolution().filter(|units| *units > 0).unwrap_or(1_000_000),
                        offset: head.ts_offset(),
                    }),
                    PcapBlockOwned::NG(Block::EnhancedPacket(block)) => {
                        let interface = usize::try_from(block.if_id).ok().and_then(|at| interfaces.get(at));
                        match interface.and_then(|interface| Some((interface.framing?, interface))) {
                            Some((framing, interface)) => {
                                let ticks = u64::from(block.ts_high) << 32 | u64::from(block.ts_low);
                                let unix_micros = micros(ticks, interface);
                                hand_on(Frame { unix_micros, framing, bytes: block.packet_data() });
                                readable += 1;
                            }
                            None => unread += 1,
                        }
                    }
                    // Packets without a time, statistics, names.
                    PcapBlockOwned::NG(_) => {}
                }
                used
            }
            Err(PcapError::Eof | PcapError::UnexpectedEof) => break,
            Err(PcapError::Incomplete(_)) => {
                if reader.reader_exhausted() || reader.refill().is_err() {
                    break;
                }
                continue;
            }
            Err(_) => break,
        };
        reader.consume(used);
    }
    if readable == 0 && unread > 0 {
        return Err(not_one("its frames are neither Ethernet, nor Linux cooked, nor plain IP"));
    }
    Ok(())
}

fn micros(ticks: u64, interface: &Interface) -> u64 {
    let units = u128::from(interface.units);
    let micros = u128::from(ticks) * 1_000_000 / units.max(1);
    let offset = i128::from(interface.offset) * 1_000_000;
    u64::try_from(i128::try_from(micros).unwrap_or(i128::MAX).saturating_add(offset)).unwrap_or(0)
}

fn framing(link: Linktype) -> Option<Framing> {
    match link {
        Linktype::ETHERNET => Some(Framing::Ethernet),
        Linktype::LINUX_SLL => Some(Framing::Cooked),
        Linktype::LINUX_SLL2 => Some(Framing::Cooked2),
        Linktype::RAW | Linktype::IPV4 | Linktype::IPV6 => Some(Framing::Ip),
        _ => None,
    }
}

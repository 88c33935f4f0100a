//! AgentX PDUs (RFC 2741 §5, §6): bytes to requests and answers to bytes; total functions.
//!
//! Only what a subagent needs. The registry's crate is not used because its octet strings are text: an address or a
//! hardware address is none, and could not be sent.

use crate::observe::snmp::Value;

/// Fixed part of every PDU.
pub const HEADER: usize = 20;
/// A master agent that announces more than this is not believed: no request is as long.
pub const PAYLOAD_MAX: usize = 1 << 20;
/// At most so many numbers has an object identifier (RFC 2578 §3.5).
const SUB_IDS: usize = 128;
/// Objects of one request; longer ones are not understood.
const BINDINGS_MAX: usize = 4_096;

const NON_DEFAULT_CONTEXT: u8 = 1 << 3;
const NETWORK_BYTE_ORDER: u8 = 1 << 4;
/// `1.3.6.1.N` is written as the one byte N.
const INTERNET: [u32; 4] = [1, 3, 6, 1];

/// What a PDU asks or answers (RFC 2741 §6.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Open = 1,
    Close = 2,
    Register = 3,
    Get = 5,
    GetNext = 6,
    GetBulk = 7,
    TestSet = 8,
    CommitSet = 9,
    UndoSet = 10,
    CleanupSet = 11,
    Notify = 12,
    Ping = 13,
    AddAgentCaps = 16,
    Response = 18,
}

impl Kind {
    fn of(number: u8) -> Option<Kind> {
        use Kind::*;
        let all = [
            Open,
            Close,
            Register,
            Get,
            GetNext,
            GetBulk,
            TestSet,
            CommitSet,
            UndoSet,
            CleanupSet,
            Notify,
            Ping,
            AddAgentCaps,
            Response,
        ];
        all.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// What stands in front of every PDU (RFC 2741 §6.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    pub kind: Kind,
    pub flags: u8,
    pub session: u32,
    pub transaction: u32,
    pub packet: u32,
    /// Bytes that follow.
    pub length: u32,
}

impl Header {
    /// `None`: no header of AgentX version 1, of a kind that a subagent never gets, or of a PDU beyond [`PAYLOAD_MAX`].
    pub fn read(bytes: &[u8]) -> Option<Header> {
        let mut from = Reader { bytes, network: bytes.get(2)? & NETWORK_BYTE_ORDER != 0 };
        let [version, kind, flags, _] = from.four()?;
        let (session, transaction, packet, length) = (from.u32()?, from.u32()?, from.u32()?, from.u32()?);
        let kind = Kind::of(kind).filter(|_| version == 1 && length as usize <= PAYLOAD_MAX)?;
        Some(Header { kind, flags, session, transaction, packet, length })
    }
}

/// What stands in a PDU of the master.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    Get(Vec<Range>),
    GetNext(Vec<Range>),
    GetBulk {
        once: usize,
        repetitions: usize,
        ranges: Vec<Range>,
    },
    TestSet(Vec<(Vec<u32>, Written)>),
    /// `uptime`: the master's sysUpTime, hundredths of a second.
    Response {
        uptime: u32,
        error: u16,
    },
    /// CommitSet, UndoSet, CleanupSet, Close and what else has no content for us.
    Nothing,
}

/// From where to where is searched; an empty end is no end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Range {
    pub start: Vec<u32>,
    pub include: bool,
    pub end: Vec<u32>,
}

/// A value that a manager sends: only integers can be written here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    Integer(i32),
    AnotherType,
}

/// Reads a whole PDU. `None`: it is malformed.
pub fn read(bytes: &[u8]) -> Option<(Header, Body)> {
    let header = Header::read(bytes)?;
    let payload = bytes.get(HEADER..HEADER + header.length as usize)?;
    let mut from = Reader { bytes: payload, network: header.flags & NETWORK_BYTE_ORDER != 0 };
    let of_context = matches!(header.kind, Kind::Get | Kind::GetNext | Kind::GetBulk | Kind::TestSet);
    if of_context && header.flags & NON_DEFAULT_CONTEXT != 0 {
        from.octets()?;
    }
    let body = match header.kind {
        Kind::Get => Body::Get(from.ranges()?),
        Kind::GetNext => Body::GetNext(from.ranges()?),
        Kind::GetBulk => {
            let (once, repetitions) = (from.u16()?.into(), from.u16()?.into());
            Body::GetBulk { once, repetitions, ranges: from.ranges()? }
        }
        Kind::TestSet => {
            let mut writes = Vec::new();
            while !from.bytes.is_empty() && writes.len() < BINDINGS_MAX {
                writes.push(from.binding()?);
            }
            Body::TestSet(writes)
        }
        Kind::Response => Body::Response { uptime: from.u32()?, error: from.u16()? },
        _ => Body::Nothing,
    };
    Some((header, body))
}

struct Reader<'a> {
    bytes: &'a [u8],
    network: bool,
}

impl Reader<'_> {
    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(taken)
    }
    fn four(&mut self) -> Option<[u8; 4]> {
        self.take(4)?.try_into().ok()
    }
    fn u16(&mut self) -> Option<u16> {
        let network = self.network;
        let two = self.take(2)?.try_into().ok()?;
        Some(if network { u16::from_be_bytes(two) } else { u16::from_le_bytes(two) })
    }
    fn u32(&mut self) -> Option<u32> {
        let network = self.network;
        let four = self.four()?;
        Some(if network { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) })
    }
    /// The identifier, and whether it is itself included in a search.
    fn oid(&mut self) -> Option<(Vec<u32>, bool)> {
        let [count, prefix, include, _] = self.four()?;
        let mut oid = if prefix == 0 { Vec::new() } else { [INTERNET.as_slice(), &[prefix.into()]].concat() };
        for _ in 0..count {
            oid.push(self.u32()?);
        }
        (oid.len() <= SUB_IDS + INTERNET.len() + 1).then_some((oid, include != 0))
    }
    fn octets(&mut self) -> Option<()> {
        let length = self.u32()? as usize;
        self.take(length.checked_next_multiple_of(4)?)?;
        Some(())
    }
    fn ranges(&mut self) -> Option<Vec<Range>> {
        let mut ranges = Vec::new();
        while !self.bytes.is_empty() && ranges.len() < BINDINGS_MAX {
            let ((start, include), (end, _)) = (self.oid()?, self.oid()?);
            ranges.push(Range { start, include, end });
        }
        Some(ranges)
    }
    fn binding(&mut self) -> Option<(Vec<u32>, Written)> {
        let (kind, _) = (self.u16()?, self.u16()?);
        let (oid, _) = self.oid()?;
        let value = match kind {
            2 => Written::Integer(self.u32()? as i32),
            65..=67 => self.u32().map(|_| Written::AnotherType)?,
            70 => self.take(8).map(|_| Written::AnotherType)?,
            6 => self.oid().map(|_| Written::AnotherType)?,
            4 | 64 | 68 => self.octets().map(|()| Written::AnotherType)?,
            5 | 128..=130 => Written::AnotherType,
            _ => return None,
        };
        Some((oid, value))
    }
}

/// What is found under a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    Value(Value),
    NoSuchObject,
    NoSuchInstance,
    EndOfMibView,
}

/// Writes a PDU in network byte order, or in that of the request which it answers.
pub struct Writer {
    bytes: Vec<u8>,
    network: bool,
}

impl Writer {
    /// A PDU of our own.
    pub fn of(kind: Kind, session: u32, transaction: u32, packet: u32) -> Writer {
        let mut writer = Writer { bytes: vec![1, kind as u8, NETWORK_BYTE_ORDER, 0], network: true };
        for number in [session, transaction, packet, 0] {
            writer.u32(number);
        }
        writer
    }

    /// The answer to a request: an error has its status and the position of the object that it is about, from 1.
    pub fn answer(to: &Header, error: Option<(u16, u16)>) -> Writer {
        let flags = to.flags & NETWORK_BYTE_ORDER;
        let mut writer = Writer { bytes: vec![1, Kind::Response as u8, flags, 0], network: flags != 0 };
        // sysUpTime is the master's to know.
        for number in [to.session, to.transaction, to.packet, 0, 0] {
            writer.u32(number);
        }
        let (status, position) = error.unwrap_or((0, 0));
        writer.u16(status);
        writer.u16(position);
        writer
    }

    pub(crate) fn u8s(&mut self, bytes: [u8; 4]) -> &mut Writer {
        self.bytes.extend(bytes);
        self
    }
    fn u16(&mut self, number: u16) {
        self.bytes.extend(if self.network { number.to_be_bytes() } else { number.to_le_bytes() });
    }
    pub(crate) fn u32(&mut self, number: u32) -> &mut Writer {
        self.bytes.extend(if self.network { number.to_be_bytes() } else { number.to_le_bytes() });
        self
    }
    /// At most [`SUB_IDS`] numbers; what is beyond them cannot be said and is cut.
    pub fn oid(&mut self, oid: &[u32]) -> &mut Writer {
        let oid = oid.get(..SUB_IDS).unwrap_or(oid);
        self.u8s([oid.len() as u8, 0, 0, 0]);
        for number in oid {
            self.u32(*number);
        }
        self
    }
    pub(crate) fn octets(&mut self, octets: &[u8]) -> &mut Writer {
        self.u32(octets.len() as u32);
        self.bytes.extend(octets);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }
    pub(crate) fn binding(&mut self, oid: &[u32], found: &Found) -> &mut Writer {
        let kind = match found {
            Found::Value(Value::Integer(_)) => 2,
            Found::Value(Value::Octets(_)) => 4,
            Found::Value(Value::Oid(_)) => 6,
            Found::Value(Value::Address(_)) => 64,
            Found::Value(Value::Counter32(_)) => 65,
            Found::Value(Value::Unsigned(_)) => 66,
            Found::Value(Value::Ticks(_)) => 67,
            Found::Value(Value::Counter64(_)) => 70,
            Found::NoSuchObject => 128,
            Found::NoSuchInstance => 129,
            Found::EndOfMibView => 130,
        };
        self.u16(kind);
        self.u16(0);
        self.oid(oid);
        match found {
            Found::Value(Value::Integer(number)) => self.u32(*number as u32),
            Found::Value(Value::Octets(octets)) => self.octets(octets),
            Found::Value(Value::Oid(oid)) => self.oid(oid),
            Found::Value(Value::Address(address)) => self.octets(&address.octets()),
            Found::Value(Value::Counter32(number) | Value::Unsigned(number) | Value::Ticks(number)) => {
                self.u32(*number)
            }
            Found::Value(Value::Counter64(number)) => {
                let network = self.network;
                self.bytes.extend(if network { number.to_be_bytes() } else { number.to_le_bytes() });
                self
            }
            Found::NoSuchObject | Found::NoSuchInstance | Found::EndOfMibView => self,
        }
    }

    /// The whole PDU.
    pub fn done(mut self) -> Vec<u8> {
        let length = self.bytes.len().saturating_sub(HEADER) as u32;
        let length = if self.network { length.to_be_bytes() } else { length.to_le_bytes() };
        if let Some(place) = self.bytes.get_mut(HEADER - 4..HEADER) {
            place.copy_from_slice(&length);
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 2741 §5.1: 1.3.6.1.2 is a prefix, the rest follows; §6.2.5 has the Get PDU.
    #[test]
    fn a_request_of_the_master_is_read() {
        let bytes = [
            1, 5, 0x10, 0, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 24, // header: Get, session 7, 24 bytes
            2, 2, 1, 0, 0, 0, 0, 1, 0, 0, 0, 68, // start 1.3.6.1.2.1.68, included
            1, 2, 0, 0, 0, 0, 0, 2, // end 1.3.6.1.2.2
            0, 0, 0, 0, // a start that is null, without its end
        ];
        assert_eq!(read(&bytes), None, "half a range");
        let mut whole = bytes[..40].to_vec();
        whole[19] = 20;
        let (header, body) = read(&whole).unwrap();
        assert_eq!((header.session, header.transaction, header.packet), (7, 8, 9));
        let range = Range { start: vec![1, 3, 6, 1, 2, 1, 68], include: true, end: vec![1, 3, 6, 1, 2, 2] };
        assert_eq!(body, Body::Get(vec![range]));
    }

    /// A master that has been up for longer than 49.7 days, whose hundredths of seconds times ten do not fit 32 bits.
    #[test]
    fn an_old_master_is_understood() {
        let mut writer = Writer::of(Kind::Response, 1, 2, 3);
        writer.u32(u32::MAX).u32(0);
        let bytes = writer.done();
        assert_eq!(read(&bytes).map(|(_, body)| body), Some(Body::Response { uptime: u32::MAX, error: 0 }));
    }

    #[test]
    fn octets_that_are_no_text_are_sent() {
        let mut writer = Writer::of(Kind::Notify, 1, 2, 3);
        writer.binding(&[1, 3], &Found::Value(Value::Octets(vec![0xca, 0x0f, 0xff])));
        let bytes = writer.done();
        assert_eq!(bytes[16..20], 24_u32.to_be_bytes());
        assert_eq!(bytes[20..], [0, 4, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 3, 0xca, 0x0f, 0xff, 0]);
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0_u8..20) {
            let _ = read(&bytes);
            let mut framed = vec![1, kind, bytes.first().copied().unwrap_or(0) & 0x1f, 0];
            framed.extend([0; 12]);
            let length = bytes.len() as u32;
            let network = framed[2] & NETWORK_BYTE_ORDER != 0;
            framed.extend(if network { length.to_be_bytes() } else { length.to_le_bytes() });
            framed.extend(&bytes);
            let _ = read(&framed);
        }
    }
}

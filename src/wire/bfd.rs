//! A BFD control packet (RFC 5880 §4.1): 24 bytes, and what the bytes alone can be refused for.
//!
//! [`Packet::parse`] is total: any bytes give a packet or a [`Malformed`], and nothing is read beyond what was received.
//! What needs a session to be judged (who may speak, TTL, discriminators that are not ours) is the engine's
//! ([`crate::bfd`]). Authentication sections are not understood; a packet that announces one is refused, never taken as
//! one without.
//!
//! Two checks that some programs make are not made, because the RFC does not ask for them: bytes behind the packet are
//! allowed (§6.8.6 compares the length field with what was received, not for equality), and a diagnostic that is
//! reserved today may be assigned tomorrow.

use std::fmt;

/// UDP port of single-hop sessions (RFC 5881 §4).
pub const PORT: u16 = 3784;
/// UDP port of multihop sessions (RFC 5883 §5).
pub const MULTIHOP_PORT: u16 = 4784;
/// Bytes of a control packet without authentication.
pub const LENGTH: usize = 24;
/// Source ports are taken from here to 65535 (RFC 5881 §4).
pub const FIRST_SOURCE_PORT: u16 = 49_152;

/// State of a session, numbered as on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub enum State {
    AdminDown = 0,
    Down = 1,
    Init = 2,
    Up = 3,
}

impl State {
    /// In the order of their numbers (RFC 5880 §4.1).
    pub const ALL: [State; 4] = [State::AdminDown, State::Down, State::Init, State::Up];

    /// What the two bits of a packet say; its other bits are ignored.
    pub const fn of(bits: u8) -> State {
        match bits & 3 {
            0 => State::AdminDown,
            1 => State::Down,
            2 => State::Init,
            _ => State::Up,
        }
    }

    /// As RFC 5880 writes it.
    pub const fn word(self) -> &'static str {
        match self {
            State::AdminDown => "AdminDown",
            State::Down => "Down",
            State::Init => "Init",
            State::Up => "Up",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a session changed its state last, 0..=31.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Diag(u8);

impl Diag {
    /// No diagnostic (RFC 5880 §4.1).
    pub const NONE: Diag = Diag(0);
    /// The detection time passed.
    pub const EXPIRED: Diag = Diag(1);
    pub(crate) const NEIGHBOR_DOWN: Diag = Diag(3);
    /// The path is known to be down.
    pub const PATH_DOWN: Diag = Diag(5);
    /// An operator has taken the session down.
    pub const ADMIN_DOWN: Diag = Diag(7);

    /// Only the lower five bits count.
    pub const fn of(bits: u8) -> Diag {
        Diag(bits & 31)
    }
    /// As a packet has it.
    pub const fn number(self) -> u8 {
        self.0
    }
    /// As keepalived writes it.
    pub const fn word(self) -> &'static str {
        match self.0 {
            0 => "No Diagnostic",
            1 => "Control Detection Time Expired",
            2 => "Echo Function Failed",
            3 => "Neighbor Signaled Session Down",
            4 => "Forwarding Plane Reset",
            5 => "Path Down",
            6 => "Concatenated Path Down",
            7 => "Administratively Down",
            8 => "Reverse Concatenated Path Down",
            9 => "Mis-connectivity Defect",
            _ => "Reserved",
        }
    }
}

impl fmt::Display for Diag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
impl fmt::Debug for Diag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.word())
    }
}

/// Everything that a control packet says. Intervals are in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    pub diag: Diag,
    pub state: State,
    pub poll: bool,
    pub is_final: bool,
    /// C: the sender's BFD lives apart from its control plane.
    pub independent: bool,
    pub demand: bool,
    /// Never 0.
    pub multiplier: u8,
    /// Never 0.
    pub my_discriminator: u32,
    /// 0: the sender has not heard us yet.
    pub your_discriminator: u32,
    pub min_tx: u32,
    pub min_rx: u32,
    pub min_echo_rx: u32,
}

/// Why bytes are no control packet that can be taken (RFC 5880 §6.8.6, in its order).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    #[error("{0} bytes are too few")]
    Short(usize),
    #[error("version {0}")]
    Version(u8),
    #[error("the length field says {field}, and {received} bytes came")]
    Length { field: u8, received: usize },
    #[error("the detection multiplier is 0")]
    Multiplier,
    #[error("the multipoint bit is set")]
    Multipoint,
    #[error("the sender's discriminator is 0")]
    MyDiscriminator,
    #[error("our discriminator is 0 in state {0}")]
    YourDiscriminator(State),
    #[error("poll and final are both set")]
    PollAndFinal,
    #[error("it is authenticated")]
    Authenticated,
}

const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const INDEPENDENT: u8 = 0x08;
const AUTHENTICATED: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

impl Packet {
    /// Reads the payload of a UDP datagram.
    ///
    /// # Errors
    /// [`Malformed`], the first that applies.
    pub fn parse(bytes: &[u8]) -> Result<Packet, Malformed> {
        let Some((head, _)) = bytes.split_first_chunk::<LENGTH>() else { return Err(Malformed::Short(bytes.len())) };
        let [first, flags, multiplier, length, rest @ ..] = *head;
        let (words, _) = rest.as_chunks::<4>();
        let word = |at: usize| words.get(at).map_or(0, |word| u32::from_be_bytes(*word));
        if first >> 5 != 1 {
            return Err(Malformed::Version(first >> 5));
        }
        if usize::from(length) < LENGTH || usize::from(length) > bytes.len() {
            return Err(Malformed::Length { field: length, received: bytes.len() });
        }
        if multiplier == 0 {
            return Err(Malformed::Multiplier);
        }
        if flags & MULTIPOINT != 0 {
            return Err(Malformed::Multipoint);
        }
        let packet = Packet {
            diag: Diag::of(first),
            state: State::of(flags >> 6),
            poll: flags & POLL != 0,
            is_final: flags & FINAL != 0,
            independent: flags & INDEPENDENT != 0,
            demand: flags & DEMAND != 0,
            multiplier,
            my_discriminator: word(0),
            your_discriminator: word(1),
            min_tx: word(2),
            min_rx: word(3),
            min_echo_rx: word(4),
        };
        if packet.my_discriminator == 0 {
            return Err(Malformed::MyDiscriminator);
        }
        if packet.your_discriminator == 0 && matches!(packet.state, State::Init | State::Up) {
            return Err(Malformed::YourDiscriminator(packet.state));
        }
        if packet.poll && packet.is_final {
            return Err(Malformed::PollAndFinal);
        }
        if flags & AUTHENTICATED != 0 {
            return Err(Malformed::Authenticated);
        }
        Ok(packet)
    }

    /// The packet as it is sent: version 1, without authentication.
    pub fn emit(&self) -> [u8; LENGTH] {
        let mut flags = (self.state as u8) << 6;
        for (set, bit) in
            [(self.poll, POLL), (self.is_final, FINAL), (self.independent, INDEPENDENT), (self.demand, DEMAND)]
        {
            if set {
                flags |= bit;
            }
        }
        let mut bytes = [0; LENGTH];
        let words = [self.my_discriminator, self.your_discriminator, self.min_tx, self.min_rx, self.min_echo_rx];
        let (head, tail) = bytes.split_at_mut(4);
        head.copy_from_slice(&[1 << 5 | self.diag.number(), flags, self.multiplier, LENGTH as u8]);
        for (place, word) in tail.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

//! Bytes: packets of keepalived and FRR as they were captured, every refusal by its smallest packet, and that whatever is
//! taken is sent again as the same bytes.

use proptest::prelude::*;
use vipd::bfd::io::State;
use vipd::wire::bfd::{Diag, Malformed, Packet};

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap()).collect()
}

/// keepalived 2.4.3 and FRR 8.4.4 on a wire: (payload, state, diag, P, F, mult, my, your, min tx, min rx, echo).
#[test]
fn captured_packets_are_read_and_made() {
    use State::{AdminDown, Down, Init, Up};
    type Row = (&'static str, State, u8, bool, bool, u8, u32, u32, [u32; 3]);
    let rows: &[Row] = &[
        (
            "20400518a9cab86100000000000f42400000271000000000",
            Down,
            0,
            false,
            false,
            5,
            0xa9ca_b861,
            0,
            [1_000_000, 10_000, 0],
        ),
        (
            "20800518a9cab861bbbfc938000f42400000271000000000",
            Init,
            0,
            false,
            false,
            5,
            0xa9ca_b861,
            0xbbbf_c938,
            [1_000_000, 10_000, 0],
        ),
        (
            "20e00518bbbfc938a9cab861000027100000271000000000",
            Up,
            0,
            true,
            false,
            5,
            0xbbbf_c938,
            0xa9ca_b861,
            [10_000, 10_000, 0],
        ),
        (
            "20d00518a9cab861bbbfc938000027100000271000000000",
            Up,
            0,
            false,
            true,
            5,
            0xa9ca_b861,
            0xbbbf_c938,
            [10_000, 10_000, 0],
        ),
        (
            "20c00518a9cab861bbbfc938000027100000271000000000",
            Up,
            0,
            false,
            false,
            5,
            0xa9ca_b861,
            0xbbbf_c938,
            [10_000, 10_000, 0],
        ),
        (
            "21400418996b93b300000000000f42400000c35000000000",
            Down,
            1,
            false,
            false,
            4,
            0x996b_93b3,
            0,
            [1_000_000, 50_000, 0],
        ),
        (
            "234005185a0558e0431256af000f42400000271000000000",
            Down,
            3,
            false,
            false,
            5,
            0x5a05_58e0,
            0x4312_56af,
            [1_000_000, 10_000, 0],
        ),
        (
            "20e005187989f4ec0a1e4fe20001117000009c4000000000",
            Up,
            0,
            true,
            false,
            5,
            0x7989_f4ec,
            0x0a1e_4fe2,
            [70_000, 40_000, 0],
        ),
        (
            "20800318431256af4596a1a5000f4240000f42400000c350",
            Init,
            0,
            false,
            false,
            3,
            0x4312_56af,
            0x4596_a1a5,
            [1_000_000, 1_000_000, 50_000],
        ),
        (
            "20e00318431256af4596a1a5000493e0000493e00000c350",
            Up,
            0,
            true,
            false,
            3,
            0x4312_56af,
            0x4596_a1a5,
            [300_000, 300_000, 50_000],
        ),
        (
            "20000318431256af4596a1a5000493e0000493e00000c350",
            AdminDown,
            0,
            false,
            false,
            3,
            0x4312_56af,
            0x4596_a1a5,
            [300_000, 300_000, 50_000],
        ),
    ];
    for (hex, state, diag, poll, is_final, multiplier, my, your, [min_tx, min_rx, min_echo_rx]) in rows {
        let packet = Packet {
            diag: Diag::of(*diag),
            state: *state,
            poll: *poll,
            is_final: *is_final,
            independent: false,
            demand: false,
            multiplier: *multiplier,
            my_discriminator: *my,
            your_discriminator: *your,
            min_tx: *min_tx,
            min_rx: *min_rx,
            min_echo_rx: *min_echo_rx,
        };
        assert_eq!(Packet::parse(&bytes(hex)), Ok(packet), "{hex}");
        assert_eq!(packet.emit().to_vec(), bytes(hex), "{hex}");
    }
}

/// tests/golden/bfd: Debian's keepalived 2.2.7 (10.9.9.1) and FRR 8.4.4 (10.9.9.2), from the start to the end of keepalived.
#[test]
fn a_capture_of_keepalived_and_frr_is_read_and_made() {
    let capture = include_bytes!("../golden/bfd/sent.pcap");
    let word = |at: usize| u32::from_le_bytes(capture[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!(word(0), 0xa1b2_c3d4, "a pcap file of this byte order");
    let mut seen = std::collections::BTreeSet::new();
    let mut at = 24;
    while at < capture.len() {
        let frame = &capture[at + 16..at + 16 + word(at + 8)];
        at += 16 + word(at + 8);
        // Ethernet, IPv4 without options or IPv6, UDP.
        let (from, payload) = match frame[12..14] {
            [0x08, 0x00] => (frame[29], &frame[42..]),
            _ => (frame[37], &frame[62..]),
        };
        let packet = Packet::parse(payload).unwrap();
        assert_eq!(&packet.emit()[..], payload);
        seen.insert((from, packet.state, packet.poll, packet.is_final, packet.diag.number()));
    }
    use State::{Down, Init, Up};
    for expected in [
        (1, Down, false, false, 0),
        (2, Init, false, false, 0),
        (1, Up, true, false, 0),
        (1, Up, false, true, 0),
        (2, Up, true, false, 0),
        (2, Up, false, true, 0),
        (2, Down, false, false, 1),
    ] {
        assert!(seen.contains(&expected), "{expected:?} in {seen:?}");
    }
}

#[test]
fn every_refusal_has_its_packet() {
    let good = bytes("20c00518a9cab861bbbfc938000027100000271000000000");
    let with = |changes: &[(usize, u8)]| {
        let mut bytes = good.clone();
        for (at, byte) in changes {
            bytes[*at] = *byte;
        }
        Packet::parse(&bytes).unwrap_err()
    };
    assert_eq!(Packet::parse(&good[..23]), Err(Malformed::Short(23)));
    assert_eq!(with(&[(0, 0x00)]), Malformed::Version(0));
    assert_eq!(with(&[(3, 25)]), Malformed::Length { field: 25, received: 24 });
    assert_eq!(with(&[(3, 23)]), Malformed::Length { field: 23, received: 24 });
    assert_eq!(with(&[(2, 0)]), Malformed::Multiplier);
    assert_eq!(with(&[(1, 0xc1)]), Malformed::Multipoint);
    assert_eq!(with(&[(4, 0), (5, 0), (6, 0), (7, 0)]), Malformed::MyDiscriminator);
    let your = [(8, 0), (9, 0), (10, 0), (11, 0)];
    assert_eq!(with(&your), Malformed::YourDiscriminator(State::Up));
    assert_eq!(with(&[&[(1, 0x80)][..], &your].concat()), Malformed::YourDiscriminator(State::Init));
    assert_eq!(with(&[(1, 0xf0)]), Malformed::PollAndFinal);
    assert_eq!(with(&[(1, 0xc4)]), Malformed::Authenticated);
}

/// RFC 5880 allows what keepalived refuses: bytes behind the packet, and diagnostics that were assigned later.
#[test]
fn the_rfc_is_taken_at_its_word() {
    let mut long = bytes("20c00518a9cab861bbbfc938000027100000271000000000");
    long.extend([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert!(Packet::parse(&long).is_ok());
    let mut diag = long.clone();
    diag[0] = 1 << 5 | 9;
    assert_eq!(Packet::parse(&diag).unwrap().diag.word(), "Mis-connectivity Defect");
}

proptest! {
    #[test]
    fn what_is_taken_is_sent_as_the_same_bytes(mut bytes in proptest::collection::vec(any::<u8>(), 0..60), usual in any::<bool>()) {
        if usual && bytes.len() >= 24 {
            (bytes[0], bytes[3]) = (bytes[0] & 31 | 32, 24);
            bytes[1] &= !5;
        }
        if let Ok(packet) = Packet::parse(&bytes) {
            let mut emitted = packet.emit();
            emitted[3] = bytes[3];
            prop_assert_eq!(&emitted[..], &bytes[..24]);
        }
    }
}

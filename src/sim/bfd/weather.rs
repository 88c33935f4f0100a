//! Random lives of two servers with a session between them: [`storm`] makes one out of a seed, plays it and answers with
//! the laws that did not hold. The same seed gives the same life.

use super::duo::{Duo, Make, Path};
use super::watch::{Law, Violation};
use crate::bfd::io::{RxMeta, State};
use crate::random::Random;
use crate::spec::bfd::Session;
use crate::time::Interval;
use crate::wire::bfd::{Diag, Packet};
use std::net::{IpAddr, Ipv4Addr};

/// How rough it is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Things that happen.
    pub acts: u32,
    pub clocks: bool,
}

impl Default for Weather {
    fn default() -> Self {
        Weather { acts: 12, clocks: true }
    }
}

const ADDRESSES: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2))];

/// A session with keepalived's defaults between two addresses.
pub fn plain(name: &str, source: IpAddr, neighbor: IpAddr) -> Session {
    Session {
        name: name.into(),
        source: Some(source),
        neighbor,
        interface: None,
        min_rx: Interval::from_millis(10),
        min_tx: Interval::from_millis(10),
        idle_tx: Interval::from_secs(1),
        multiplier: 5,
        passive: false,
        ttl: 255,
        ttl_base: 255,
        max_hops: Some(0),
        multihop: false,
        for_vrrp: true,
        for_checkers: true,
    }
}

fn session(side: usize, random: &mut Random) -> Session {
    let millis =
        |random: &mut Random| Interval::from_millis(*random.pick(&[3, 10, 10, 25, 50, 300, 1500]).unwrap_or(&10));
    let (mine, theirs) = if side == 0 { (ADDRESSES[0], ADDRESSES[1]) } else { (ADDRESSES[1], ADDRESSES[0]) };
    Session {
        min_rx: millis(random),
        min_tx: millis(random),
        idle_tx: Interval::from_millis(random.within(1000, 1400)),
        multiplier: *random.pick(&[1, 2, 3, 5, 5, 40]).unwrap_or(&5),
        passive: random.one_in(6),
        ..plain("s", mine, theirs)
    }
}

fn path(random: &mut Random) -> Path {
    let low = Interval::from_micros(random.within(20, 2_000));
    let high = low + Interval::from_micros(random.below(*random.clone().pick(&[10, 500, 20_000]).unwrap_or(&10)));
    let seldom = |random: &mut Random| if random.one_in(2) { 0 } else { random.below(200_000) as u32 };
    Path { delay: (low, high), loss: seldom(random), duplicate: seldom(random), cut: false, hops: 0 }
}

/// Plays one life. The answer is empty when every law held.
pub fn storm(seed: u64, weather: Weather, make: &Make<'_>) -> Vec<(usize, Violation)> {
    let mut random = Random::new(seed);
    let specs = [vec![session(0, &mut random)], vec![session(1, &mut random)]];
    let mut duo = Duo::new(specs, ADDRESSES, random.number(), make);
    if weather.clocks && random.one_in(3) {
        duo.set_fast(0, random.within(0, 20_000) as i64 - 10_000);
    }
    for side in 0..2 {
        duo.paths[side] = path(&mut random);
    }
    duo.run(random.interval(Interval::ZERO, Interval::from_secs(4)));
    for _ in 0..weather.acts {
        act(&mut duo, &mut random);
        duo.run(random.interval(Interval::from_millis(1), Interval::from_secs(3)));
        if !duo.violations().is_empty() {
            return duo.violations();
        }
    }
    if random.one_in(3) {
        rest(&mut duo, random.below(2) as usize);
    }
    calm(&mut duo);
    duo.violations()
}

fn act(duo: &mut Duo<'_>, random: &mut Random) {
    let side = random.below(2) as usize;
    match random.below(11) {
        0 => duo.paths[side].cut = true,
        1 | 2 => duo.paths[side].cut = false,
        3 => duo.paths[side] = path(random),
        4 => {
            duo.stop_process(side);
            duo.run(random.interval(Interval::from_millis(1), Interval::from_millis(700)));
            duo.resume_process(side);
        }
        5 => duo.restart(side),
        6 => duo.command(side, true),
        7 => duo.command(side, false),
        8 => {
            let same = duo.sides[side].specs.clone();
            duo.reload(side, same);
        }
        9 => {
            let mut other = session(side, random);
            other.passive = duo.sides[side].specs.first().is_some_and(|spec| spec.passive);
            duo.reload(side, vec![other]);
        }
        _ => forge(duo, side, random),
    }
}

/// A packet of somebody else, or of the peer's address with something wrong in it.
fn forge(duo: &mut Duo<'_>, to: usize, random: &mut Random) {
    let view = duo.sides[to].engine.snapshot(duo.now);
    let Some(view) = view.sessions.first() else { return };
    if random.one_in(3) && view.peer_discriminator != 0 {
        return ask_for_quiet(duo, to, random);
    }
    let packet = Packet {
        diag: Diag::of(random.below(32) as u8),
        state: *random.pick(&State::ALL).unwrap_or(&State::Down),
        poll: random.one_in(2),
        is_final: random.one_in(4),
        independent: random.one_in(2),
        demand: random.one_in(3),
        multiplier: random.below(4) as u8,
        my_discriminator: random.below(3) as u32,
        your_discriminator: if random.one_in(2) { view.discriminator } else { random.below(2) as u32 },
        min_tx: random.below(2_000_000) as u32,
        min_rx: random.below(3) as u32 * 100_000,
        min_echo_rx: 0,
    };
    let mut bytes = packet.emit().to_vec();
    if random.one_in(4) {
        let at = random.below(bytes.len() as u64) as usize;
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << random.below(8);
        }
    }
    bytes.truncate(if random.one_in(5) { random.below(25) as usize } else { 24 });
    let meta = RxMeta {
        source: if random.one_in(3) { IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9)) } else { view.neighbor },
        destination: view.source,
        ifindex: 1,
        ttl: *random.pick(&[Some(255), Some(255), Some(254), None]).unwrap_or(&None),
        multihop: random.one_in(5),
        cut: random.one_in(10),
    };
    let at = duo.now + Interval::from_micros(1);
    duo.fly(to, at, meta, bytes);
}

/// The peer itself wants no periodic packets for a while.
fn ask_for_quiet(duo: &mut Duo<'_>, to: usize, random: &mut Random) {
    let view = duo.sides[to].engine.snapshot(duo.now);
    let Some(view) = view.sessions.first() else { return };
    let demand = random.one_in(2);
    let packet = Packet {
        diag: Diag::NONE,
        state: State::Up,
        poll: random.one_in(3),
        is_final: false,
        independent: false,
        demand,
        multiplier: 200,
        my_discriminator: view.peer_discriminator,
        your_discriminator: view.discriminator,
        min_tx: 100_000,
        min_rx: if demand { 10_000 } else { 0 },
        min_echo_rx: 0,
    };
    let ttl = Some(255);
    let meta = RxMeta { source: view.neighbor, destination: view.source, ifindex: 1, ttl, multihop: false, cut: false };
    // Its ordinary packets would take the wish back.
    let path = std::mem::replace(&mut duo.paths[1 - to], Path { cut: true, ..Path::default() });
    duo.fly(to, duo.now + Interval::from_micros(1), meta, packet.emit().to_vec());
    duo.run(random.interval(Interval::from_millis(1), Interval::from_millis(900)));
    duo.paths[1 - to] = path;
}

/// Everything works but one direction: both ends come to rest, neither of them up.
fn rest(duo: &mut Duo<'_>, dead: usize) {
    for side in 0..2 {
        duo.paths[side] = Path { cut: side == dead, ..Path::default() };
        duo.resume_process(side);
        duo.command(side, false);
    }
    duo.run(settling(duo));
    let before = duo.sides[0].changes + duo.sides[1].changes;
    duo.run(Interval::from_secs(20));
    if !duo.violations().is_empty() {
        return;
    }
    if duo.sides[0].changes + duo.sides[1].changes != before {
        duo.wrong(Law::Rests, "a session swings although only one direction is dead".into());
    } else if (0..2).any(|side| duo.state(side) == Some(State::Up)) {
        duo.wrong(Law::Rests, "a session is up over a path that is dead in one direction".into());
    }
}

/// So long may it take until what was before is over: the detection time of what is left, then some idle intervals.
fn settling(duo: &Duo<'_>) -> Interval {
    let longest = |side: usize| {
        let view = duo.sides[side].engine.snapshot(duo.now);
        view.sessions.iter().map(|view| view.detection_time).max().unwrap_or_default()
    };
    let leftovers = longest(0).max(longest(1));
    let idle = duo.sides.iter().flat_map(|side| &side.specs).map(|spec| spec.idle_tx).max().unwrap_or_default();
    // A session that came up over what was left may have to fall once more before it comes up for good.
    leftovers.times(2) + idle.times(5)
}

/// All is well again: both ends have to come up, and to stay up.
fn calm(duo: &mut Duo<'_>) {
    for side in 0..2 {
        duo.paths[side] = Path::default();
        duo.resume_process(side);
        duo.command(side, false);
    }
    if duo.sides.iter().all(|side| side.specs.iter().all(|spec| spec.passive)) {
        return;
    }
    duo.run(settling(duo));
    if !duo.violations().is_empty() {
        return;
    }
    if !duo.both_up() {
        let text = format!("{:?} and {:?} over a good path", duo.state(0), duo.state(1));
        return duo.wrong(Law::ComesUp, text);
    }
    // With multiplier 1 a packet that is drawn late and delayed is a loss: only more have to bear it.
    let before = duo.sides[0].changes + duo.sides[1].changes;
    duo.run(Interval::from_secs(20));
    if duo.violations().is_empty() && duo.sides[0].changes + duo.sides[1].changes != before {
        duo.wrong(Law::ComesUp, "a session fell over a good path".into());
    }
}

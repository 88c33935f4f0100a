//! One engine under the hand of a test: facts in by name, packets out as packets.

use std::net::{IpAddr, Ipv4Addr};
use vipd::bfd::Engine;
use vipd::bfd::io::{Action, Beginning, Event, Input, Level, RxMeta, SessionId, State};
use vipd::bfd::snapshot::SessionView;
use vipd::sim::bfd::plain;
use vipd::spec::bfd::Session;
use vipd::time::{Interval, Time};
use vipd::wire::bfd::{Diag, Packet};

pub const US: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 9, 1));
pub const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 9, 2));
pub const START: Time = Time::from_micros(5_000_000);

pub fn ms(millis: u64) -> Interval {
    Interval::from_millis(millis)
}

/// keepalived's defaults between the two addresses.
pub fn defaults() -> Session {
    plain("S", US, PEER)
}

/// An engine, and what it said.
pub struct Bench {
    pub engine: Engine,
    pub now: Time,
    pub sent: Vec<(Time, Packet)>,
    pub events: Vec<Event>,
    pub wishes: Vec<Action>,
}

/// A packet that a peer in `state` sends, for the session that it answers.
pub fn says(state: State) -> Packet {
    Packet {
        diag: Diag::NONE,
        state,
        poll: false,
        is_final: false,
        independent: false,
        demand: false,
        multiplier: 5,
        my_discriminator: 0x77,
        your_discriminator: 0,
        min_tx: if state == State::Up { 10_000 } else { 1_000_000 },
        min_rx: 10_000,
        min_echo_rx: 0,
    }
}

pub fn meta() -> RxMeta {
    RxMeta { source: PEER, destination: Some(US), ifindex: 1, ttl: Some(255), multihop: false, cut: false }
}

impl Bench {
    pub fn new(spec: Session) -> Bench {
        Bench::of(vec![spec])
    }

    pub fn of(specs: Vec<Session>) -> Bench {
        let world = Beginning { seed: 7, links: None, now: START };
        let mut bench =
            Bench { engine: Engine::begin(&specs, world), now: START, sent: vec![], events: vec![], wishes: vec![] };
        bench.settle();
        bench
    }

    pub fn settle(&mut self) {
        while let Some(action) = self.engine.poll() {
            match &action {
                Action::Open(id, _) => {
                    self.engine.handle(Input::Opened { session: *id, outcome: Ok(49_152) }, self.now);
                }
                Action::Send(_, bytes) => self.sent.push((self.now, Packet::parse(bytes).unwrap())),
                Action::Report(event) => self.events.push(event.clone()),
                _ => {}
            }
            self.wishes.push(action);
        }
    }

    pub fn tell(&mut self, input: Input<'_>) {
        self.engine.handle(input, self.now);
        self.settle();
    }

    pub fn hear_from(&mut self, meta: RxMeta, packet: Packet) {
        self.tell(Input::Packet { meta, bytes: &packet.emit() });
    }

    /// The peer says something to us, by our discriminator.
    pub fn hear(&mut self, packet: Packet) {
        let your_discriminator = self.view().discriminator;
        self.hear_from(meta(), Packet { your_discriminator, ..packet });
    }

    /// Serves every deadline up to then, at its time.
    pub fn run(&mut self, length: Interval) {
        let end = self.now + length;
        while let Some(due) = self.engine.deadline().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.tell(Input::Tick);
        }
        self.now = end;
        self.tell(Input::Tick);
    }

    /// The same with a peer that is well and up: it speaks every 8 ms.
    pub fn run_with_peer(&mut self, length: Interval, packet: Packet) {
        let end = self.now + length;
        while self.now < end {
            self.run(ms(8));
            self.hear(packet);
        }
    }

    /// Comes up the usual way; the peer's final included.
    pub fn bring_up(&mut self) {
        self.hear_from(meta(), says(State::Down));
        self.hear(says(State::Init));
        assert_eq!(self.view().state, State::Up);
        self.hear(Packet { is_final: true, ..says(State::Up) });
        self.sent.clear();
        self.events.clear();
        self.wishes.clear();
    }

    pub fn view(&self) -> SessionView {
        self.engine.snapshot(self.now).sessions[0].clone()
    }

    pub fn level(&self) -> Level {
        self.view().level
    }

    pub fn id(&self) -> SessionId {
        self.engine.find("S").unwrap()
    }

    pub fn states(&self) -> Vec<State> {
        let to = |event: &Event| match event {
            Event::Became { to, .. } => Some(*to),
            _ => None,
        };
        self.events.iter().filter_map(to).collect()
    }
}

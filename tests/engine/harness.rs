//! A bench for one engine: specs made by hand, a clock that stands still until told, and everything that came out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use vipd::spec::*;
use vipd::time::{Interval, Time};
use vipd::vrrp::Engine;
use vipd::vrrp::io::*;
use vipd::vrrp::snapshot::InstanceView;
use vipd::wire::advert::{Saying, parse};
use vipd::wire::checksum::ChecksumRule;
use vipd::wire::{Family, PROTOCOL_VRRP, Priority, Version, Vrid, frames};

pub const ETH0: u32 = 2;
pub const ETH1: u32 = 3;

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
pub fn name(text: &str) -> IfName {
    IfName::new(text).unwrap()
}
pub fn ms(ms: u64) -> Interval {
    Interval::from_millis(ms)
}
pub fn at(ms: u64) -> Time {
    Time::from_micros(ms * 1_000)
}
pub fn vrid(id: u8) -> Vrid {
    Vrid::new(id).unwrap()
}

/// A usable address with its prefix.
pub fn address(text: &str, prefix: u8) -> LinkAddress {
    LinkAddress { address: ip(text), prefix, usable: true, tentative: false, secondary: false }
}

pub use vipd::sim::build::link;

/// The two links that most tests use.
pub fn links() -> Vec<Link> {
    vec![link(ETH0, "eth0", &["10.0.0.1", "fe80::1"]), link(ETH1, "eth1", &["10.1.0.1", "fe80::2"])]
}

/// VRRPv3 over IPv4 on eth0, one address, one second, keepalived's defaults otherwise.
pub fn instance(id: u8, priority: u8) -> InstanceSpec {
    InstanceSpec {
        name: format!("VI_{id}").into(),
        vrid: vrid(id),
        version: Version::V3,
        priority: Priority(priority),
        wants_master: priority == 255,
        claim: claim(&["10.0.0.100"]),
        ..InstanceSpec::plain()
    }
}

pub fn v2(id: u8, priority: u8) -> InstanceSpec {
    InstanceSpec { version: Version::V2, ..instance(id, priority) }
}

pub fn v6(id: u8, priority: u8) -> InstanceSpec {
    InstanceSpec {
        family: Family::V6,
        transport: Transport::Multicast { group: ip("ff02::12") },
        claim: claim(&["fe80::100"]),
        ..instance(id, priority)
    }
}

pub fn unicast(id: u8, priority: u8, peers: &[&str]) -> InstanceSpec {
    let peers = peers.iter().map(|text| Peer { address: ip(text), min_ttl: 0, max_ttl: 255 }).collect();
    InstanceSpec { transport: Transport::Unicast { peers, ttl: None, check_source: false }, ..instance(id, priority) }
}

pub fn claim(addresses: &[&str]) -> Arc<Claim> {
    let addresses: Vec<_> = addresses
        .iter()
        .map(|text| VirtualAddress::plain(ip(text), if text.contains(':') { 128 } else { 32 }))
        .collect();
    Arc::new(Claim { advertised: addresses.len(), addresses, ..Claim::default() })
}

pub fn spec(instances: Vec<InstanceSpec>) -> Spec {
    Spec { instances, ..Spec::default() }
}

/// All instances in one sync group.
pub fn grouped(mut instances: Vec<InstanceSpec>) -> Spec {
    let members: Vec<InstanceId> = (0..instances.len() as u32).map(InstanceId).collect();
    instances.iter_mut().for_each(|instance| instance.group = Some(GroupId(0)));
    let starts_as_master = instances.iter().all(|instance| instance.priority.0 == 255 && instance.wants_master);
    let group = GroupSpec { name: "VG".into(), members, starts_as_master, ..GroupSpec::default() };
    Spec { groups: vec![group], ..spec(instances) }
}

pub fn script(label: &str) -> ScriptSpec {
    ScriptSpec {
        name: label.into(),
        run: Run { command: vipd::spec::Command::Shell(label.into()), uid: 0, gid: 0, groups: None },
        insecure: false,
        ..vipd::sim::build::script(label, ms(1000), 1, 1)
    }
}

pub fn tie(on: TieTarget, weight: i32) -> Tie {
    Tie { on, weight, reverse: false, from_group: false, asked: Some(weight) }
}

/// What another router says. Bytes of a whole datagram as the engine gets it.
#[derive(Clone)]
pub struct Voice {
    pub from: IpAddr,
    pub to: IpAddr,
    pub ifindex: u32,
    pub ttl: u8,
    pub version: Version,
    pub vrid: u8,
    pub priority: u8,
    pub interval: Interval,
    pub auth_type: u8,
    pub password: [u8; 8],
    pub addresses: Vec<IpAddr>,
}

impl Voice {
    /// The same instance on another router.
    pub fn of(spec: &InstanceSpec, from: &str, priority: u8) -> Voice {
        let to = match &spec.transport {
            Transport::Multicast { group } => *group,
            Transport::Unicast { .. } => ip(if spec.family == Family::V4 { "10.0.0.1" } else { "fe80::1" }),
        };
        Voice {
            from: ip(from),
            to,
            ifindex: ETH0,
            ttl: 255,
            version: spec.version,
            vrid: spec.vrid.get(),
            priority,
            interval: spec.interval,
            auth_type: 0,
            password: [0; 8],
            addresses: spec.claim.addresses.iter().take(spec.claim.advertised).map(|a| a.address).collect(),
        }
    }

    /// The VRRP packet alone.
    pub fn packet(&self) -> Vec<u8> {
        let saying = Saying {
            family: Family::of(&self.from),
            version: self.version,
            vrid: vrid(self.vrid),
            priority: Priority(self.priority),
            interval: self.interval,
            auth_type: self.auth_type,
            password: self.password,
            addresses: &self.addresses,
        };
        let rule = match (self.from, self.version) {
            (IpAddr::V6(_), _) => None,
            (_, Version::V2) => Some(ChecksumRule::Plain),
            (_, Version::V3) => Some(ChecksumRule::pseudo(self.from, self.to)),
        };
        let mut bytes = Vec::new();
        saying.emit(rule, &mut bytes);
        bytes
    }

    pub fn datagram(&self) -> Vec<u8> {
        self.wrap(&self.packet())
    }

    /// Puts the IP header in front of a VRRP packet.
    pub fn wrap(&self, packet: &[u8]) -> Vec<u8> {
        let (IpAddr::V4(from), IpAddr::V4(to)) = (self.from, self.to) else { return packet.to_vec() };
        let mut bytes = frames::ipv4_header(from, to, PROTOCOL_VRRP, self.ttl, 7, packet.len()).to_vec();
        bytes.extend_from_slice(packet);
        bytes
    }

    pub fn meta(&self) -> RxMeta {
        RxMeta { ifindex: self.ifindex, source: self.from, destination: self.to, ttl: Some(self.ttl) }
    }
}

/// One engine and all that it has asked for.
pub struct Bench {
    pub engine: Engine,
    pub now: Time,
    /// What came out since it was last taken, with the time.
    pub log: Vec<(Time, Action)>,
    /// Answer every `Own` with `Ready` and `Complete` at once.
    pub kernel: bool,
    /// Answer every `RunScript` with `ScriptStarted` at once.
    pub starts: bool,
    /// The last run of each script.
    pub runs: BTreeMap<ScriptId, Attempt>,
}

impl Bench {
    pub fn new(spec: Spec) -> Bench {
        Bench::on(spec, links())
    }

    pub fn on(spec: Spec, links: Vec<Link>) -> Bench {
        Bench::of(Engine::new(Arc::new(spec), links, Time::ZERO))
    }

    pub fn of(engine: Engine) -> Bench {
        let mut bench = Bench::untold(engine);
        bench.drain();
        bench
    }

    /// On a machine that is too busy to start a program, until it is told that it has.
    pub fn busy(spec: Spec) -> Bench {
        let mut bench = Bench::untold(Engine::new(Arc::new(spec), links(), Time::ZERO));
        bench.starts = false;
        bench.drain();
        bench
    }

    fn untold(engine: Engine) -> Bench {
        Bench { engine, now: Time::ZERO, log: Vec::new(), kernel: true, starts: true, runs: BTreeMap::new() }
    }

    fn drain(&mut self) {
        while let Some(action) = self.engine.poll() {
            let owned = match &action {
                Action::Own(id, claim) if self.kernel => Some((*id, claim.addresses.len() as u32)),
                _ => None,
            };
            if let Action::RunScript(script, attempt) = action {
                self.runs.insert(script, attempt);
                if self.starts {
                    self.engine.handle(Input::ScriptStarted { attempt }, self.now);
                }
            }
            self.log.push((self.now, action));
            if let Some((instance, count)) = owned {
                let ready = Outcome::Ready { addresses: 0..count, announced: false };
                self.engine.handle(Input::Applied { instance, outcome: ready }, self.now);
                self.engine.handle(Input::Applied { instance, outcome: Outcome::Complete }, self.now);
            }
        }
    }

    /// The last run of a script ends.
    pub fn exits(&mut self, script: ScriptId, exit: Exit) {
        let attempt = self.runs.get(&script).copied().unwrap_or_default();
        self.give(Input::ScriptExited { attempt, exit });
    }

    pub fn give(&mut self, input: Input<'_>) {
        self.engine.handle(input, self.now);
        self.drain();
    }

    /// Lets time pass, stopping at every deadline. Checks that deadlines advance.
    pub fn until(&mut self, to: Time) {
        while let Some((due, _)) = self.engine.deadline().filter(|(due, _)| *due <= to) {
            self.now = self.now.max(due);
            self.give(Input::Tick);
            if let Some((next, wake)) = self.engine.deadline() {
                assert!(next > due, "{wake:?} is due at {next:?} after {due:?} was served");
            }
        }
        self.now = to;
    }

    pub fn wait(&mut self, by: Interval) {
        self.until(self.now + by);
    }

    pub fn hear(&mut self, voice: &Voice) {
        let bytes = voice.datagram();
        self.give(Input::Datagram { meta: voice.meta(), bytes: &bytes });
    }

    pub fn hear_bytes(&mut self, meta: RxMeta, bytes: &[u8]) {
        self.give(Input::Datagram { meta, bytes });
    }

    pub fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.log).into_iter().map(|(_, action)| action).collect()
    }

    pub fn view(&self, index: usize) -> InstanceView {
        (*self.engine.snapshot(self.now).instances[index]).clone()
    }

    pub fn role(&self, index: usize) -> Role {
        self.view(index).state
    }

    pub fn roles(&self) -> Vec<Role> {
        self.engine.snapshot(self.now).instances.iter().map(|view| view.state).collect()
    }

    pub fn reload(&mut self, spec: Spec) {
        self.engine.reload(Arc::new(spec), self.now);
        self.drain();
    }

    /// One that has waited its down timer out.
    pub fn as_master(spec: Spec) -> Bench {
        let mut bench = Bench::new(spec);
        bench.until(at(4000));
        assert!(bench.roles().iter().all(|role| *role == Role::Master), "{:?}", bench.roles());
        bench.take();
        bench
    }
}

/// Priorities of the adverts among actions.
pub fn said(actions: &[Action]) -> Vec<u8> {
    actions
        .iter()
        .filter_map(|action| if let Action::Transmit(t) = action { Some(priority_of(t)) } else { None })
        .collect()
}

pub fn priority_of(transmit: &Transmit) -> u8 {
    let payload = match transmit.source {
        IpAddr::V4(_) => {
            let ip = frames::ipv4(&transmit.bytes).unwrap();
            let head = if ip.protocol == PROTOCOL_VRRP { 0 } else { vipd::wire::auth::AH_HEAD };
            &ip.payload[head..]
        }
        IpAddr::V6(_) => &transmit.bytes,
    };
    parse(payload, Family::of(&transmit.source)).unwrap().priority.0
}

pub fn announced(actions: &[Action]) -> Vec<Range<u32>> {
    let range = |action: &Action| if let Action::Announce(a) = action { Some(a.addresses.clone()) } else { None };
    actions.iter().filter_map(range).collect()
}

pub fn events(actions: &[Action]) -> Vec<Event> {
    actions
        .iter()
        .filter_map(|action| if let Action::Report(event) = action { Some(event.clone()) } else { None })
        .collect()
}

/// A short word for each action, for comparing order.
pub fn words(actions: &[Action]) -> Vec<String> {
    let word = |action: &Action| match action {
        Action::Transmit(t) => format!("advert {}", priority_of(t)),
        Action::Own(id, _) => format!("own {}", id.0),
        Action::Disown(id) => format!("disown {}", id.0),
        Action::Announce(a) => format!("announce {:?}", a.addresses),
        Action::AnnounceSource { address, .. } => format!("announce {address}"),
        Action::RunScript(id, _) => format!("run {}", id.0),
        Action::KillScript(id, _, signal) => format!("{signal:?} {}", id.0),
        Action::AbandonScript(id, _) => format!("abandon {}", id.0),
        Action::Report(Event::Became { to, .. }) => format!("{to}"),
        Action::Report(Event::GroupBecame { to, .. }) => format!("group {to}"),
        Action::Report(other) => {
            let text = format!("{other:?}");
            text.split([' ', '{']).next().unwrap_or_default().to_owned()
        }
    };
    actions.iter().map(word).collect()
}

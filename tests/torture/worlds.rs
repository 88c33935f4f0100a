//! Worlds of two or three servers and an auditor: after every few random acts the addresses are where the rules want
//! them, and nowhere else.
//!
//! A world is who sits in which seat and how they talk: vipd or keepalived, IPv4 or IPv6, multicast or unicast, on an
//! interface or a VMAC, one segment or two in a sync group. Acts: kill, stop, start, unplug, plug, a cable that flaps,
//! reload, pause, and an address that another program removes. Whoever does not run after a kill may keep its
//! addresses, and does not count; whoever was stopped in order may keep nothing.
//!
//! A keepalived that is the only one to be wrong is told apart and counted ([`World::settle`]): its faults are not ours.

use super::conf::{Auth, Conf, Tongue};
use super::lab::{Kind, Lab, ip, skip, until};
use std::net::IpAddr;
use std::time::Duration;

/// Who and how.
struct Shape {
    name: &'static str,
    kinds: &'static [Kind],
    tongue: Tongue,
    vmac: bool,
    segments: usize,
}

const FOUR: Tongue = Tongue { version: 3, six: false, unicast: false, auth: Auth::None };
const SIX: Tongue = Tongue { six: true, ..FOUR };
const FOUR_BY_PEERS: Tongue = Tongue { unicast: true, ..FOUR };
const SIX_BY_PEERS: Tongue = Tongue { unicast: true, ..SIX };
use Kind::{Keepalived as K, Vipd as V};

const WORLDS: [Shape; 12] = [
    Shape { name: "vipd", kinds: &[V, V], tongue: FOUR, vmac: false, segments: 1 },
    Shape { name: "vipd over keepalived", kinds: &[V, K], tongue: FOUR, vmac: false, segments: 1 },
    Shape { name: "keepalived over vipd", kinds: &[K, V], tongue: FOUR, vmac: false, segments: 1 },
    Shape { name: "IPv6", kinds: &[V, V], tongue: SIX, vmac: false, segments: 1 },
    Shape { name: "IPv6 over keepalived", kinds: &[V, K], tongue: SIX, vmac: false, segments: 1 },
    Shape { name: "VMAC", kinds: &[V, V], tongue: FOUR, vmac: true, segments: 1 },
    Shape { name: "VMAC IPv6", kinds: &[V, V], tongue: SIX, vmac: true, segments: 1 },
    Shape { name: "VMAC under keepalived", kinds: &[K, V], tongue: FOUR, vmac: true, segments: 1 },
    Shape { name: "three by unicast", kinds: &[V, V, V], tongue: FOUR_BY_PEERS, vmac: false, segments: 1 },
    Shape { name: "three mixed by unicast IPv6", kinds: &[V, K, V], tongue: SIX_BY_PEERS, vmac: false, segments: 1 },
    Shape { name: "sync group", kinds: &[V, V, V], tongue: FOUR, vmac: false, segments: 2 },
    Shape { name: "sync group with keepalived", kinds: &[V, K], tongue: FOUR, vmac: false, segments: 2 },
];

/// xorshift: a sequence that its seed repeats.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Kill,
    Stop,
    Start,
    Unplug(usize),
    Plug(usize),
    Flap(usize),
    Reload,
    Pause,
    /// An address of a segment is removed by another program, where it is.
    Steal(usize),
}

struct World {
    shape: &'static Shape,
    lab: Lab,
    plugged: Vec<Vec<bool>>,
    /// Stopped in order: may have kept nothing.
    stopped: Vec<bool>,
    /// Reloads alternate between two files, so that there is something to change.
    written: Vec<u32>,
    history: Vec<(usize, Act)>,
    /// What keepalived alone did wrong.
    theirs: Vec<String>,
}

/// What a run of a world came to.
struct Outcome {
    name: &'static str,
    acts: usize,
    with_keepalived: bool,
    theirs: Vec<String>,
}

impl World {
    fn new(shape: &'static Shape) -> World {
        let nodes = shape.kinds.len();
        let mut world = World {
            shape,
            lab: Lab::new(shape.kinds, shape.segments),
            plugged: vec![vec![true; shape.segments]; nodes],
            stopped: vec![false; nodes],
            written: vec![0; nodes],
            history: Vec::new(),
            theirs: Vec::new(),
        };
        for node in (0..nodes).rev() {
            world.configure(node);
            world.lab.start(node);
        }
        world
    }

    fn configure(&self, node: usize) {
        let Shape { tongue, kinds, vmac, segments, .. } = self.shape;
        let priority = 150 - 25 * node as u8;
        let conf = Conf { segments: *segments, ..Conf::new(*tongue, node, kinds.len(), priority) };
        let conf = if *vmac { conf.on_vmac() } else { conf };
        self.lab.configure(node, &conf.inside(&format!("garp_master_delay {}", 1 + self.written[node] % 2)).text());
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.shape.tongue.addresses(self.shape.segments)
    }

    fn runs(&self, node: usize) -> bool {
        self.lab.nodes[node].child.is_some()
    }

    /// Up to the point from which signals are heard: before its program begins, a process dies of any.
    fn listening(&self, node: usize) {
        let pid = self.lab.nodes[node].child.as_ref().unwrap().id().to_string();
        let read = || std::fs::read_to_string(self.lab.file(node, "pid")).unwrap_or_default();
        until("a pid file", || read().trim() == pid).unwrap();
        if self.lab.nodes[node].kind == Kind::Keepalived {
            let child = || std::fs::read_to_string(self.lab.file(node, "vrrp.pid")).is_ok_and(|pid| !pid.is_empty());
            until("a pid file of the child", child).unwrap();
        }
    }

    /// To the whole process group: keepalived is two processes.
    fn to_all(&self, node: usize, signal: i32) {
        let Some(child) = &self.lab.nodes[node].child else { return };
        // SAFETY: a signal to a process group that this test started.
        unsafe { libc::kill(-(child.id() as i32), signal) };
    }

    fn act(&mut self, node: usize, act: Act) {
        self.history.push((node, act));
        match act {
            Act::Kill => {
                self.lab.signal(node, libc::SIGKILL);
                self.stopped[node] = false;
            }
            Act::Stop => {
                self.listening(node);
                self.lab.signal(node, libc::SIGTERM);
                self.stopped[node] = true;
            }
            Act::Start => {
                self.stopped[node] = false;
                self.lab.start(node);
            }
            Act::Unplug(segment) | Act::Plug(segment) => {
                self.plugged[node][segment] = matches!(act, Act::Plug(_));
                self.lab.cable(node, segment, self.plugged[node][segment]);
            }
            Act::Flap(segment) => {
                for _ in 0..3 {
                    self.lab.cable(node, segment, false);
                    self.lab.cable(node, segment, true);
                }
                self.plugged[node][segment] = true;
            }
            Act::Reload => {
                self.listening(node);
                self.written[node] += 1;
                self.configure(node);
                self.lab.signal(node, libc::SIGHUP);
            }
            Act::Pause => {
                self.to_all(node, libc::SIGSTOP);
                // Long enough for another to take over: the patience is below 0.8 s.
                std::thread::sleep(Duration::from_millis(1_000));
                self.to_all(node, libc::SIGCONT);
            }
            Act::Steal(segment) => {
                let vip = self.addresses()[segment];
                let on = self.lab.addresses(node).into_iter().find(|(_, address)| *address == vip);
                if let Some((link, _)) = on {
                    let length = if vip.is_ipv6() { 64 } else { 24 };
                    // It may have gone meanwhile.
                    let _ =
                        ip(&self.lab.nodes[node].namespace, &["addr", "del", &format!("{vip}/{length}"), "dev", &link]);
                }
            }
        }
    }

    fn choose(&self, dice: &mut Dice) -> (usize, Act) {
        let node = dice.below(self.shape.kinds.len());
        let segment = dice.below(self.shape.segments);
        let plugged = self.plugged[node][segment];
        if !self.runs(node) {
            let act = if !plugged && dice.below(3) == 0 { Act::Plug(segment) } else { Act::Start };
            return (node, act);
        }
        let act = match dice.below(14) {
            0..=2 => Act::Kill,
            3..=4 => Act::Stop,
            5..=7 if plugged => Act::Unplug(segment),
            5..=7 => Act::Plug(segment),
            8 => Act::Flap(segment),
            9..=10 => Act::Reload,
            11 => Act::Pause,
            _ => Act::Steal(segment),
        };
        (node, act)
    }

    /// The nodes that are not as they must be, if `wanted` is to have the addresses.
    fn wrong(&self, wanted: Option<usize>) -> Vec<usize> {
        let vips = self.addresses();
        let right = |node: usize| {
            if !self.runs(node) && !self.stopped[node] {
                return true;
            }
            let there = self.lab.addresses(node);
            vips.iter().all(|vip| there.iter().any(|(_, address)| address == vip) == (wanted == Some(node)))
        };
        (0..self.shape.kinds.len()).filter(|node| !right(*node)).collect()
    }

    /// The addresses are with the preferred one of those that can have them, and with no other. `Err` is our fault.
    fn settle(&mut self) -> Result<(), String> {
        let able = |node: &usize| self.runs(*node) && self.plugged[*node].iter().all(|plugged| *plugged);
        let wanted = (0..self.shape.kinds.len()).find(able);
        // What a killed daemon has left looks right until the next one has started: only what stays is settled.
        let mut in_a_row = 0;
        let stays = || {
            in_a_row = if self.wrong(wanted).is_empty() { in_a_row + 1 } else { 0 };
            in_a_row == 6
        };
        let Err(text) = until(&format!("the addresses with {wanted:?} of the running ones"), stays) else {
            return Ok(());
        };
        let wrong = self.wrong(wanted);
        let last: Vec<_> = self.history.iter().rev().take(8).rev().collect();
        let text = format!("{}: {text}; wrong: {wrong:?}\n{last:?}\n{}", self.shape.name, self.lab.describe());
        if !wrong.is_empty() && wrong.iter().all(|node| self.shape.kinds[*node] == Kind::Keepalived) {
            // Every vipd does what it must: go on without the state that keepalived is in.
            self.theirs.push(text);
            for node in wrong {
                if self.runs(node) {
                    self.act(node, Act::Kill);
                    self.act(node, Act::Start);
                }
                self.stopped[node] = false;
            }
            return Ok(());
        }
        Err(text)
    }

    /// The yardstick: an auditor that does not see this one sees nothing.
    fn sees_a_doubled_address(&self) -> Result<(), String> {
        let (vip, space) = (self.addresses()[0], &self.lab.nodes[1].namespace);
        let address = format!("{vip}/{}", if vip.is_ipv6() { 128 } else { 32 });
        ip(space, &["addr", "add", &address, "dev", "lo"])?;
        let seen = self.wrong(Some(0));
        ip(space, &["addr", "del", &address, "dev", "lo"])?;
        if seen == [1] { Ok(()) } else { Err(format!("{}: the auditor is blind: {seen:?}", self.shape.name)) }
    }

    fn play(shape: &'static Shape, total: usize, seed: u64) -> Result<Outcome, String> {
        let mut dice = Dice(seed | 1);
        let mut world = World::new(shape);
        let mut done = 0;
        let says = |text| format!("seed {seed}: {text}");
        world.settle().map_err(says)?;
        world.sees_a_doubled_address()?;
        while done < total {
            // Up to three acts in a row before anything can settle.
            for _ in 0..=dice.below(3) {
                let (node, act) = world.choose(&mut dice);
                world.act(node, act);
                done += 1;
            }
            world.settle().map_err(|text| format!("seed {seed}, act {done}: {text}"))?;
        }
        for node in 0..shape.kinds.len() {
            (0..shape.segments).for_each(|segment| world.act(node, Act::Plug(segment)));
            if !world.runs(node) {
                world.act(node, Act::Start);
            }
        }
        world.settle().map_err(says)?;
        for node in 0..shape.kinds.len() {
            world.act(node, Act::Stop);
        }
        world.settle().map_err(says)?;
        for (node, kind) in shape.kinds.iter().enumerate() {
            let links = ip(&world.lab.nodes[node].namespace, &["link"])?;
            if *kind == Kind::Vipd && links.contains("vrrp") {
                return Err(format!("seed {seed}, {}: node {node} left an interface: {links}", shape.name));
            }
            let log = std::fs::read_to_string(world.lab.file(node, "log")).unwrap_or_default();
            if log.contains("panicked") {
                return Err(format!("seed {seed}, {}: {log}", shape.name));
            }
        }
        let with_keepalived = shape.kinds.contains(&Kind::Keepalived);
        Ok(Outcome { name: shape.name, acts: done, with_keepalived, theirs: std::mem::take(&mut world.theirs) })
    }
}

/// `VIPD_TORTURE` acts all together, `VIPD_TORTURE_WORLD` for those worlds whose name contains it.
#[test]
fn random_acts_leave_the_addresses_on_exactly_one_server() {
    if skip(&["ip", "keepalived"]) {
        return;
    }
    let seed = std::env::var("VIPD_TORTURE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x5eed_u64);
    let only = std::env::var("VIPD_TORTURE_WORLD").unwrap_or_default();
    let worlds: Vec<&'static Shape> = WORLDS.iter().filter(|shape| shape.name.contains(&only)).collect();
    let each = super::count(150).div_ceil(worlds.len().max(1));
    let results: Vec<Result<Outcome, String>> = std::thread::scope(|scope| {
        let run = |(at, shape): (usize, &&'static Shape)| {
            let (shape, seed) = (*shape, seed.wrapping_add((at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            scope.spawn(move || World::play(shape, each, seed))
        };
        let runs: Vec<_> = worlds.iter().enumerate().map(run).collect();
        runs.into_iter().map(|run| run.join().unwrap_or_else(|_| Err("a world panicked".into()))).collect()
    });
    let (mut acts, mut beside) = (0, 0);
    for outcome in results.iter().flatten() {
        println!(
            "{:28} {:4} acts, keepalived alone was wrong {} times",
            outcome.name,
            outcome.acts,
            outcome.theirs.len()
        );
        outcome.theirs.iter().for_each(|text| println!("keepalived: {text}"));
        acts += outcome.acts;
        beside += if outcome.with_keepalived { outcome.acts } else { 0 };
    }
    println!("{acts} acts, {beside} of them with keepalived in a seat, seed {seed}");
    let wrong: Vec<&String> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert!(
        wrong.is_empty(),
        "{} worlds went wrong\n\n{}",
        wrong.len(),
        wrong.iter().map(|s| s.as_str()).collect::<Vec<_>>().join("\n\n")
    );
}

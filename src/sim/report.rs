//! What a run looked like: a timeline that people read, who holds which address at the end, how long each was with
//! nobody, which laws were broken, and a pcap.

use super::law::Violation;
use super::node::Node;
use super::pcap::Pcap;
use crate::observe::words;
use crate::spec::{InstanceId, Spec};
use crate::time::{Interval, Time};
use crate::vrrp::io::{Event, Role};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// A line of the timeline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub at: Time,
    /// `None`: it concerns nobody alone.
    pub node: Option<Box<str>>,
    pub text: String,
}

/// One virtual address over a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    pub address: IpAddr,
    /// Nodes that have it on an interface at the end.
    pub holders: Vec<Box<str>>,
    /// Times in which nobody had it, after it was first taken.
    pub gaps: Vec<(Time, Interval)>,
    /// Times in which several had it.
    pub doubles: Vec<(Time, Interval)>,
}

impl Owner {
    pub(crate) fn longest_gap(&self) -> Interval {
        self.gaps.iter().map(|(_, gap)| *gap).max().unwrap_or_default()
    }
    /// How long an address was on two servers at most.
    pub fn longest_double(&self) -> Interval {
        self.doubles.iter().map(|(_, double)| *double).max().unwrap_or_default()
    }
}

/// Where one instance of one server stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    pub server: Box<str>,
    pub instance: Box<str>,
    /// `None`: no daemon runs there.
    pub state: Option<Role>,
    /// Virtual addresses of the instance that are on the server, in order.
    pub addresses: Vec<IpAddr>,
}

/// Where one real server of one director stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerStanding {
    pub server: Box<str>,
    /// The virtual server, and the real one, in keepalived's words.
    pub service: Box<str>,
    pub real: Box<str>,
    /// None of its checks is bad.
    pub good: bool,
    /// It gets connections.
    pub serves: bool,
}

/// Where everybody stands just before something is done to them, or at the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moment {
    pub at: Time,
    /// What was done last; "start" if nothing was.
    pub after: String,
    pub standings: Vec<Standing>,
    pub servers: Vec<ServerStanding>,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// One for each time at which something is done, and one for the end.
    pub moments: Vec<Moment>,
    pub timeline: Vec<Entry>,
    pub owners: Vec<Owner>,
    pub violations: Vec<Violation>,
    /// What is wrong with the configurations themselves: laws that were broken may be because of that.
    pub findings: Vec<String>,
    /// A pcap file.
    pub pcap: Vec<u8>,
    /// How often the laws about a calm world were looked at.
    pub checks: u64,
    /// Time that was simulated.
    pub length: Interval,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.timeline.iter().filter_map(|e| e.node.as_ref()).map(|n| n.len()).max().unwrap_or(0);
        for entry in &self.timeline {
            let at = (entry.at - Time::ZERO).as_secs_f64();
            writeln!(f, "{at:>12.6}  {:<width$}  {}", entry.node.as_deref().unwrap_or(""), entry.text)?;
        }
        for owner in &self.owners {
            let holders = if owner.holders.is_empty() { "nobody".into() } else { owner.holders.join(", ") };
            write!(f, "{} is on {holders}", owner.address)?;
            match owner.gaps.len() {
                0 => writeln!(f, "; it was never lost")?,
                n => writeln!(f, "; lost {n} times, {}s at the longest", owner.longest_gap())?,
            }
        }
        self.findings.iter().try_for_each(|finding| writeln!(f, "finding: {finding}"))?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "BROKEN: {violation}"))
    }
}

/// Keeps what a [`Report`] is made of while a world runs.
pub(super) struct Chronicle {
    /// Random worlds by the thousand are not written down.
    pub record: bool,
    names: Vec<Box<str>>,
    entries: Vec<Entry>,
    pub pcap: Recorder,
    holders: BTreeMap<IpAddr, Vec<usize>>,
    lost: BTreeMap<IpAddr, Time>,
    gaps: BTreeMap<IpAddr, Vec<(Time, Interval)>>,
    /// Since when several have it.
    doubled: BTreeMap<IpAddr, Time>,
    doubles: BTreeMap<IpAddr, Vec<(Time, Interval)>>,
    moments: Vec<Moment>,
    after: String,
    /// Changes of state, if they are asked for.
    pub turns: Option<Vec<Turn>>,
}

/// An instance entered a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Turn {
    pub at: Time,
    pub node: usize,
    pub instance: usize,
    pub to: Role,
}

/// A [`Pcap`] that may be off.
#[derive(Default)]
pub(super) struct Recorder {
    on: bool,
    file: Pcap,
}

impl Recorder {
    pub(crate) fn datagram(
        &mut self,
        at: Time,
        mac: [u8; 6],
        source: IpAddr,
        destination: IpAddr,
        hops: u8,
        bytes: &[u8],
    ) {
        if self.on {
            self.file.datagram(at, mac, source, destination, hops, bytes);
        }
    }
    pub(crate) fn announcement(&mut self, at: Time, mac: [u8; 6], address: IpAddr) {
        if self.on {
            self.file.announcement(at, mac, address);
        }
    }
}

impl Chronicle {
    pub(crate) fn new(nodes: &[Node]) -> Chronicle {
        Chronicle {
            record: false,
            names: nodes.iter().map(|node| node.name.clone()).collect(),
            entries: Vec::new(),
            pcap: Recorder::default(),
            holders: BTreeMap::new(),
            lost: BTreeMap::new(),
            gaps: BTreeMap::new(),
            doubled: BTreeMap::new(),
            doubles: BTreeMap::new(),
            moments: Vec::new(),
            after: "start".into(),
            turns: None,
        }
    }

    /// Notes where everybody stands, unless something was already done at this time.
    pub fn moment(&mut self, at: Time, nodes: &[Node]) {
        if self.record && self.moments.last().is_none_or(|moment| moment.at < at) {
            let standings = nodes.iter().flat_map(|node| node.standings(at)).collect();
            let servers = nodes.iter().flat_map(|node| node.server_standings(at)).collect();
            self.moments.push(Moment { at, after: std::mem::take(&mut self.after), standings, servers });
        }
    }

    /// Something is done.
    pub fn done(&mut self, act: &str) {
        if self.record {
            let comma = if self.after.is_empty() { "" } else { ", " };
            self.after += &format!("{comma}{act}");
        }
    }

    pub(crate) fn turn_on(&mut self) {
        self.record = true;
        self.pcap.on = true;
    }

    pub(crate) fn say(&mut self, at: Time, node: usize, text: &str) {
        if self.record {
            self.entries.push(Entry { at, node: self.names.get(node).cloned(), text: text.into() });
        }
    }

    pub(crate) fn tell(&mut self, at: Time, text: &str) {
        if self.record {
            self.entries.push(Entry { at, node: None, text: text.into() });
        }
    }

    pub(crate) fn event(&mut self, at: Time, node: usize, spec: &Spec, event: &Event) {
        if let (Some(turns), Event::Became { instance, to, .. }) = (&mut self.turns, event) {
            turns.push(Turn { at, node, instance: instance.index(), to: *to });
        }
        if self.record
            && let Some(text) = sentence(spec, event)
        {
            self.say(at, node, &text);
        }
    }

    /// Notes who has which address after something changed.
    pub fn holders(&mut self, at: Time, nodes: &[Node]) {
        if !self.record {
            return;
        }
        let mut present: BTreeMap<IpAddr, Vec<usize>> = self.holders.keys().map(|a| (*a, Vec::new())).collect();
        for (number, node) in nodes.iter().enumerate() {
            node.kernel.held.keys().for_each(|address| present.entry(*address).or_default().push(number));
        }
        for (address, who) in &present {
            let before = self.holders.get(address);
            if before == Some(who) {
                continue;
            }
            if who.is_empty() {
                self.lost.insert(*address, at);
            } else if let Some(since) = self.lost.remove(address) {
                self.gaps.entry(*address).or_default().push((since, at - since));
            }
            if who.len() > 1 {
                self.doubled.entry(*address).or_insert(at);
            } else if let Some(since) = self.doubled.remove(address) {
                self.doubles.entry(*address).or_default().push((since, at - since));
            }
            let names: Vec<&str> = who.iter().filter_map(|n| self.names.get(*n)).map(|n| &**n).collect();
            let text = match names.as_slice() {
                [] => format!("{address} is on no server"),
                [one] => format!("{address} is on {one}"),
                many => format!("{address} is on {}", many.join(" and ")),
            };
            self.entries.push(Entry { at, node: None, text });
        }
        self.holders = present;
    }

    pub(crate) fn report(mut self, end: Time, violations: Vec<Violation>, checks: u64) -> Report {
        for (address, since) in std::mem::take(&mut self.lost) {
            self.gaps.entry(address).or_default().push((since, end - since));
        }
        for (address, since) in std::mem::take(&mut self.doubled) {
            self.doubles.entry(address).or_default().push((since, end - since));
        }
        let name = |n: &usize| self.names.get(*n).cloned();
        let owners = self.holders.iter().map(|(address, who)| Owner {
            address: *address,
            holders: who.iter().filter_map(name).collect(),
            gaps: self.gaps.get(address).cloned().unwrap_or_default(),
            doubles: self.doubles.get(address).cloned().unwrap_or_default(),
        });
        Report {
            owners: owners.collect(),
            moments: self.moments,
            timeline: self.entries,
            violations,
            findings: Vec::new(),
            pcap: self.pcap.file.bytes().to_vec(),
            checks,
            length: end - Time::ZERO,
        }
    }
}

/// An event as a person would tell it; `None` for what only counters need.
fn sentence(spec: &Spec, event: &Event) -> Option<String> {
    let name = |id: &InstanceId| spec.instances.get(id.index()).map_or("?".into(), |i| i.name.clone());
    let script = |id: &crate::spec::ScriptId| spec.scripts.get(id.index()).map_or("?".into(), |s| s.name.clone());
    Some(match event {
        Event::Became { instance, from, to, why } => {
            format!("{}: {from} → {to}, {}", name(instance), words::cause(why, |id| name(&id).into()))
        }
        Event::GroupBecame { group, from, to } => {
            let group = spec.groups.get(group.index()).map_or("?", |g| &g.name);
            format!("group {group}: {from} → {to}")
        }
        Event::PriorityChanged { instance, from, to } => format!("{}: priority {from} → {to}", name(instance)),
        Event::HeardLower { instance, from, priority } => {
            format!("{}: heard a lower priority, {priority} from {from}", name(instance))
        }
        Event::WillPreempt { instance, from, priority } => {
            format!("{}: will take over from {from}, priority {priority}", name(instance))
        }
        Event::IntervalLearned { instance, from, theirs } => {
            format!("{}: interval {theirs}s learned from {from}", name(instance))
        }
        Event::ClockDiffers { instance, from, by, window } => {
            format!("{}: the clock of {from} differs by {by}s of {window}s", name(instance))
        }
        Event::RivalMaster { instance, from, priority } => {
            format!("{}: another master, {from} with priority {priority}", name(instance))
        }
        Event::RivalStays { instance, from, priority } => {
            format!("{}: two masters, {from} with priority {priority} does not yield", name(instance))
        }
        Event::RivalSilent { instance, from } => format!("{}: the other master, {from}, is silent", name(instance)),
        Event::ScriptChanged { script: id, good, exit } => {
            format!("script {}: {}, {}", script(id), if *good { "good" } else { "bad" }, words::exit(*exit))
        }
        Event::ScriptTimedOut { script: id } => format!("script {} timed out", script(id)),
        Event::ScriptOverrun { script: id } => format!("script {} still runs when it is due again", script(id)),
        Event::FaultsChanged { instance, faults } => format!("{}: {}", name(instance), words::faults(faults)),
        Event::Healed { instance, .. } => format!("{}: addresses put back", name(instance)),
        Event::ClaimFailed { instance, reason } => format!("{}: claim failed, {reason}", name(instance)),
        Event::Swept { instance, item, .. } => format!("{}: removed {item}", name(instance)),
        Event::SendFailed { instance, to, reason } => {
            format!("{}: cannot send to {to}, {reason}", name(instance))
        }
        Event::LinkChanged { name, running } => format!("{name} is {}", if *running { "up" } else { "down" }),
        Event::Deleted { name, was } => format!("{name}: removed, was {was}"),
        Event::Stopped { instance } => format!("{}: stopped", name(instance)),
        Event::ReloadRefused { reason } => format!("reload refused: {reason}"),
        Event::Reloaded => "reloaded".into(),
        Event::Slept { by } => words::slept(*by),
        Event::Replaced { instance, from, priority } => {
            format!("{}: {}", name(instance), words::replaced(*from, *priority))
        }
        Event::Refused { .. }
        | Event::AddressListDiffers { .. }
        | Event::TrackerChanged { .. }
        | Event::Late { .. } => return None,
    })
}

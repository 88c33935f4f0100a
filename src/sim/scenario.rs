//! What is done to a world, as a text that people write and read: one line an act.
//!
//! ```text
//! # the primary dies, comes back, and the cable is pulled
//! run 60s
//! seed 7
//! segment office a.eth0 b.ens3
//! lan latency 100us..1ms
//! at 10s   kill a
//! at 30s   start a
//! at 40s   link a eth0 down
//! ```
//!
//! The text and [`Scenario`] say the same: `to_string` of what was parsed parses to the same value, so a failing
//! random world can be handed to `vipctl simulate` as it stands. This file knows words and times only; names are
//! looked up by the world.

use crate::spec::Run;
use crate::spec::backend::{Health, endpoint};
use crate::spec::balance::Endpoint;
use crate::time::{Interval, Time};

/// A wire by name, and what hangs on it: (node, interface). `N` is a node's name, or its position in a world.
pub type Segment<N> = (Box<str>, Vec<(N, Box<str>)>);

/// A run: how long, on what LAN, and what happens when.
#[derive(Clone, PartialEq, Debug)]
pub struct Scenario {
    /// Length of the run.
    pub run: Interval,
    pub seed: u64,
    /// Which interfaces share a wire, by `node.interface`; interfaces not named here are joined by name.
    pub segments: Vec<Segment<Box<str>>>,
    pub lan: LanSettings,
    /// Nodes that are not started at 0.
    pub absent: Vec<Box<str>>,
    pub acts: Vec<(Time, Act)>,
}

impl Default for Scenario {
    fn default() -> Self {
        Scenario {
            run: Interval::from_secs(30),
            seed: 1,
            segments: Vec::new(),
            lan: LanSettings::default(),
            absent: Vec::new(),
            acts: Vec::new(),
        }
    }
}

/// What the wire does to datagrams. Parts are parts in a million.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LanSettings {
    /// Drawn for each datagram and receiver: a range wider than the gap between datagrams reorders them.
    pub latency: (Interval, Interval),
    pub loss: u32,
    pub duplicate: u32,
}

impl Default for LanSettings {
    fn default() -> Self {
        LanSettings { latency: (Interval::from_micros(100), Interval::from_micros(300)), loss: 0, duplicate: 0 }
    }
}

/// One thing that happens to the world.
#[derive(Clone, PartialEq, Debug)]
pub enum Act {
    /// SIGKILL of the daemon: what it had put on interfaces stays there.
    Kill(Box<str>),
    /// The machine loses power.
    Crash(Box<str>),
    /// Starts the daemon (and the machine, if it was off); its first doing is to clear what an earlier life left.
    Start(Box<str>),
    /// SIGTERM.
    Stop(Box<str>),
    /// SIGSTOP: nothing is read, nothing is sent, addresses stay.
    Pause(Box<str>),
    /// SIGCONT.
    Resume(Box<str>),
    Link {
        node: Box<str>,
        interface: Box<str>,
        up: bool,
    },
    /// What becomes of the packets of a BFD session of this node; adverts do not go that way.
    Path {
        node: Box<str>,
        session: Box<str>,
        way: Way,
    },
    /// Datagrams from one node do not reach another; `both` ways or one.
    Cut {
        from: Box<str>,
        to: Box<str>,
        both: bool,
        segment: Option<Box<str>>,
    },
    Mend {
        from: Box<str>,
        to: Box<str>,
        both: bool,
        segment: Option<Box<str>>,
    },
    /// Only nodes of the same part hear each other; nodes not named are a part of their own together.
    Partition(Vec<Vec<Box<str>>>),
    /// All cuts and partitions end.
    Heal,
    Lan(LanSettings),
    Script {
        node: Box<str>,
        script: Box<str>,
        conduct: Conduct,
    },
    /// Number in a tracked file.
    File {
        node: Box<str>,
        file: Box<str>,
        value: i32,
    },
    /// How many matching processes run.
    Process {
        node: Box<str>,
        process: Box<str>,
        count: u32,
    },
    Netlink {
        node: Box<str>,
        mood: Mood,
    },
    /// The wall clock jumps; the monotonic clock does not.
    Clock {
        node: Box<str>,
        forward: bool,
        by: Interval,
    },
    /// Wake-ups come late by up to this much.
    Late {
        node: Box<str>,
        by: Interval,
    },
    /// SIGHUP, with these changes of the configuration; none is a reload of the same files.
    Reload {
        node: Box<str>,
        edits: Vec<Edit>,
    },
    /// Another program removes a virtual address.
    Steal {
        node: Box<str>,
        address: std::net::IpAddr,
    },
    Drain(Box<str>),
    Undrain(Box<str>),
    Failover(Box<str>),
    /// A real server, of whoever has it, behaves like this from here on.
    Server {
        server: Endpoint,
        health: Health,
    },
}

/// How a modelled script behaves when it is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Conduct {
    #[default]
    Succeed,
    Fail,
    /// Runs until it is killed.
    Hang,
    /// Runs until SIGKILL.
    Stubborn,
    /// Succeeds and fails in turn.
    Flap,
    /// Cannot be started.
    Missing,
}

impl Conduct {
    /// What a script does as long as nothing is done to it.
    pub fn by_nature(run: &Run) -> Conduct {
        if run.always_fails() { Conduct::Fail } else { Conduct::Succeed }
    }
}

/// How the way between the two ends of a BFD session is, seen from the node that is named.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Way {
    #[default]
    Up,
    /// Nothing gets through, in either direction.
    Down,
    /// The node hears nothing any more, and is heard.
    Deaf,
    /// The node is heard no more, and hears.
    Mute,
    /// The gateway at the other end stands still, for everybody who has a session with it; what it is sent waits.
    Frozen,
}

/// How the modelled kernel answers requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mood {
    #[default]
    Well,
    /// Each request takes this long.
    Slow(Interval),
    /// Each request is refused.
    Failing,
}

/// A change of the configuration in a reload.
#[derive(Clone, PartialEq, Debug)]
pub enum Edit {
    Priority {
        instance: Box<str>,
        priority: u8,
    },
    Preempt {
        instance: Box<str>,
        preempt: bool,
    },
    /// Advertised at the end of the list.
    Add {
        instance: Box<str>,
        address: std::net::IpAddr,
    },
    Remove {
        instance: Box<str>,
        address: std::net::IpAddr,
    },
    /// The instance is taken out.
    Gone {
        instance: Box<str>,
    },
    /// An instance that was taken out is there again, as it stood in the files.
    Back {
        instance: Box<str>,
    },
}

/// Why a scenario text cannot be used: line number from 1, and what is wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ScenarioError {
    pub line: usize,
    pub problem: String,
}

const ACTS: &str = "kill, crash, start, stop, pause, resume, link, path, cut, mend, partition, heal, lan, script, file, \
                    process, netlink, clock, late, reload, steal, drain, undrain, failover, server";

impl std::str::FromStr for Scenario {
    type Err = ScenarioError;

    fn from_str(text: &str) -> Result<Self, ScenarioError> {
        let mut scenario = Scenario::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = Words(line.split_whitespace());
            read_line(&mut scenario, &mut words).map_err(|problem| ScenarioError { line: number + 1, problem })?;
        }
        scenario.acts.sort_by_key(|(at, _)| *at);
        Ok(scenario)
    }
}

struct Words<'a>(std::str::SplitWhitespace<'a>);

impl<'a> Words<'a> {
    fn next(&mut self, what: &str) -> Result<&'a str, String> {
        self.0.next().ok_or_else(|| format!("{what} is missing"))
    }
    fn name(&mut self, what: &str) -> Result<Box<str>, String> {
        self.next(what).map(Into::into)
    }
    fn number<T: std::str::FromStr>(&mut self, what: &str) -> Result<T, String> {
        let word = self.next(what)?;
        word.parse().map_err(|_| format!("{what}: {word} cannot be used"))
    }
    fn end(&mut self) -> Result<(), String> {
        self.0.next().map_or(Ok(()), |word| Err(format!("{word} is one word too many")))
    }
}

fn read_line(scenario: &mut Scenario, words: &mut Words<'_>) -> Result<(), String> {
    let Some(first) = words.0.next() else { return Ok(()) };
    match first {
        "run" => scenario.run = interval(words.next("length")?)?,
        "seed" => scenario.seed = words.number("seed")?,
        "absent" => scenario.absent.extend(words.0.by_ref().map(Box::from)),
        "lan" => scenario.lan = lan(words, scenario.lan)?,
        "segment" => {
            let name = words.name("name of the segment")?;
            let mut ends = Vec::new();
            for word in words.0.by_ref() {
                let (node, interface) = word.split_once('.').ok_or_else(|| format!("{word} is not NODE.INTERFACE"))?;
                ends.push((node.into(), interface.into()));
            }
            scenario.segments.push((name, ends));
        }
        "at" => {
            let at = Time::ZERO + interval(words.next("time")?)?;
            let act = act(words, scenario.lan)?;
            scenario.acts.push((at, act));
        }
        other => return Err(format!("{other} is none of: run, seed, absent, lan, segment, at")),
    }
    words.end()
}

fn act(words: &mut Words<'_>, settings: LanSettings) -> Result<Act, String> {
    let verb = words.next("what happens")?;
    let node = |words: &mut Words<'_>| words.name("name of the node");
    Ok(match verb {
        "kill" => Act::Kill(node(words)?),
        "crash" => Act::Crash(node(words)?),
        "start" => Act::Start(node(words)?),
        "stop" => Act::Stop(node(words)?),
        "pause" => Act::Pause(node(words)?),
        "resume" => Act::Resume(node(words)?),
        "drain" => Act::Drain(node(words)?),
        "undrain" => Act::Undrain(node(words)?),
        "failover" => Act::Failover(node(words)?),
        "heal" => Act::Heal,
        "lan" => Act::Lan(lan(words, settings)?),
        "link" => Act::Link { node: node(words)?, interface: words.name("interface")?, up: up_or_down(words)? },
        "path" => Act::Path { node: node(words)?, session: words.name("BFD session")?, way: way(words)? },
        "cut" | "mend" => {
            let from = node(words)?;
            let (both, to) = match words.next("name of the other node")? {
                "->" => (false, words.name("name of the other node")?),
                name => (true, name.into()),
            };
            let segment = match words.0.next() {
                None => None,
                Some("on") => Some(words.name("segment")?),
                Some(other) => return Err(format!("{other}: expected on SEGMENT or nothing")),
            };
            if verb == "cut" { Act::Cut { from, to, both, segment } } else { Act::Mend { from, to, both, segment } }
        }
        "partition" => {
            let mut parts = vec![Vec::new()];
            for word in words.0.by_ref() {
                match (word, parts.last_mut()) {
                    ("|", _) => parts.push(Vec::new()),
                    (name, Some(part)) => part.push(name.into()),
                    (_, None) => {}
                }
            }
            Act::Partition(parts)
        }
        "script" => Act::Script { node: node(words)?, script: words.name("script")?, conduct: conduct(words)? },
        "file" => Act::File { node: node(words)?, file: words.name("file")?, value: words.number("value")? },
        "process" => {
            Act::Process { node: node(words)?, process: words.name("process")?, count: words.number("count")? }
        }
        "netlink" => Act::Netlink { node: node(words)?, mood: mood(words)? },
        "clock" => {
            let node = node(words)?;
            let step = words.next("step")?;
            let (forward, length) = match (step.strip_prefix('+'), step.strip_prefix('-')) {
                (Some(length), _) => (true, length),
                (_, Some(length)) => (false, length),
                _ => return Err(format!("{step} begins with neither + nor -")),
            };
            Act::Clock { node, forward, by: interval(length)? }
        }
        "late" => Act::Late { node: node(words)?, by: interval(words.next("how late")?)? },
        "server" => Act::Server { server: endpoint(words.next("address of the server")?)?, health: health(words)? },
        "steal" => Act::Steal { node: node(words)?, address: words.number("address")? },
        "reload" => {
            let node = node(words)?;
            let mut edits = Vec::new();
            while let Some(instance) = words.0.next() {
                edits.push(edit(instance.into(), words)?);
            }
            Act::Reload { node, edits }
        }
        other => return Err(format!("{other} is none of: {ACTS}")),
    })
}

/// How a check script behaves.
fn conduct(words: &mut Words<'_>) -> Result<Conduct, String> {
    Ok(match words.next("ok, fail, hang, stubborn, flap or missing")? {
        "ok" => Conduct::Succeed,
        "fail" => Conduct::Fail,
        "hang" => Conduct::Hang,
        "stubborn" => Conduct::Stubborn,
        "flap" => Conduct::Flap,
        "missing" => Conduct::Missing,
        other => return Err(format!("{other} is none of: ok, fail, hang, stubborn, flap, missing")),
    })
}

/// How the kernel takes requests.
fn mood(words: &mut Words<'_>) -> Result<Mood, String> {
    Ok(match words.next("ok, slow or fail")? {
        "ok" => Mood::Well,
        "fail" => Mood::Failing,
        "slow" => Mood::Slow(interval(words.next("how slow")?)?),
        other => return Err(format!("{other} is none of: ok, slow TIME, fail")),
    })
}

/// How a real server behaves.
fn health(words: &mut Words<'_>) -> Result<Health, String> {
    Ok(match words.next("up, refuse, 503, slow, hang, dead or flap")? {
        "up" => Health::Up,
        "refuse" => Health::Refuse,
        "503" => Health::Error,
        "slow" => Health::Slow(interval(words.next("how slow")?)?),
        "hang" => Health::Hang,
        "dead" => Health::Dead,
        "flap" => Health::Flap,
        other => return Err(format!("{other} is none of: up, refuse, 503, slow TIME, hang, dead, flap")),
    })
}

/// How the path of a BFD session is.
fn way(words: &mut Words<'_>) -> Result<Way, String> {
    Ok(match words.next("up, down, deaf, mute or frozen")? {
        "up" => Way::Up,
        "down" => Way::Down,
        "deaf" => Way::Deaf,
        "mute" => Way::Mute,
        "frozen" => Way::Frozen,
        other => return Err(format!("{other} is none of: up, down, deaf, mute, frozen")),
    })
}

fn up_or_down(words: &mut Words<'_>) -> Result<bool, String> {
    match words.next("up or down")? {
        "up" => Ok(true),
        "down" => Ok(false),
        other => Err(format!("{other} is neither up nor down")),
    }
}

fn edit(instance: Box<str>, words: &mut Words<'_>) -> Result<Edit, String> {
    Ok(match words.next("priority, preempt, nopreempt, add, remove, gone or back")? {
        "priority" => Edit::Priority { instance, priority: words.number("priority")? },
        "preempt" => Edit::Preempt { instance, preempt: true },
        "nopreempt" => Edit::Preempt { instance, preempt: false },
        "add" => Edit::Add { instance, address: words.number("address")? },
        "remove" => Edit::Remove { instance, address: words.number("address")? },
        "gone" => Edit::Gone { instance },
        "back" => Edit::Back { instance },
        other => return Err(format!("{other} is none of: priority, preempt, nopreempt, add, remove, gone, back")),
    })
}

fn lan(words: &mut Words<'_>, mut settings: LanSettings) -> Result<LanSettings, String> {
    while let Some(word) = words.0.next() {
        match word {
            "latency" => {
                let range = words.next("latency")?;
                let (low, high) = range.split_once("..").unwrap_or((range, range));
                settings.latency = (interval(low)?, interval(high)?);
            }
            "loss" => settings.loss = parts(words.next("loss")?)?,
            "duplicate" => settings.duplicate = parts(words.next("duplicate")?)?,
            other => return Err(format!("{other} is none of: latency, loss, duplicate")),
        }
    }
    Ok(settings)
}

/// `5%`, `0.25%`: parts in a million.
fn parts(word: &str) -> Result<u32, String> {
    let wrong = || format!("{word} is not a share such as 5%");
    let share: f64 = word.strip_suffix('%').ok_or_else(wrong)?.parse().map_err(|_| wrong())?;
    if (0.0..=100.0).contains(&share) { Ok((share * 10_000.0).round() as u32) } else { Err(wrong()) }
}

/// `10s`, `1.5s`, `250ms`, `100us`; a bare number is seconds.
///
/// # Errors
/// It is no time: a sentence that names the forms.
pub fn interval(word: &str) -> Result<Interval, String> {
    let wrong = || format!("{word} is not a time such as 10s, 250ms or 100us");
    let (digits, unit) = match () {
        () if word.ends_with("us") => (word.trim_end_matches("us"), 1.0),
        () if word.ends_with("ms") => (word.trim_end_matches("ms"), 1e3),
        () => (word.strip_suffix('s').unwrap_or(word), 1e6),
    };
    let length: f64 = digits.parse().map_err(|_| wrong())?;
    if (0.0..1e9).contains(&length) { Ok(Interval::from_micros((length * unit).round() as u64)) } else { Err(wrong()) }
}

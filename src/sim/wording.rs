//! A scenario as the text that reads as itself: the other direction of [`scenario`](super::scenario). Written for replay
//! and for people; nothing is decided here.

use super::scenario::{Act, Conduct, Edit, LanSettings, Mood, Scenario, Way};
use crate::spec::backend::Health;
use crate::time::Time;
use std::fmt;

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "run {}s", self.run)?;
        writeln!(f, "seed {}", self.seed)?;
        for (name, ends) in &self.segments {
            write!(f, "segment {name}")?;
            for (node, interface) in ends {
                write!(f, " {node}.{interface}")?;
            }
            writeln!(f)?;
        }
        writeln!(f, "lan {}", self.lan)?;
        if !self.absent.is_empty() {
            writeln!(f, "absent {}", self.absent.join(" "))?;
        }
        for (at, act) in &self.acts {
            writeln!(f, "at {}s {act}", *at - Time::ZERO)?;
        }
        Ok(())
    }
}

impl fmt::Display for LanSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |parts: u32| f64::from(parts) / 10_000.0;
        write!(f, "latency {}s..{}s", self.latency.0, self.latency.1)?;
        write!(f, " loss {}% duplicate {}%", share(self.loss), share(self.duplicate))
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = |both: bool| if both { "" } else { "-> " };
        let on = |segment: &Option<Box<str>>| segment.as_ref().map(|s| format!(" on {s}")).unwrap_or_default();
        match self {
            Act::Kill(node) => write!(f, "kill {node}"),
            Act::Crash(node) => write!(f, "crash {node}"),
            Act::Start(node) => write!(f, "start {node}"),
            Act::Stop(node) => write!(f, "stop {node}"),
            Act::Pause(node) => write!(f, "pause {node}"),
            Act::Resume(node) => write!(f, "resume {node}"),
            Act::Drain(node) => write!(f, "drain {node}"),
            Act::Undrain(node) => write!(f, "undrain {node}"),
            Act::Failover(node) => write!(f, "failover {node}"),
            Act::Link { node, interface, up } => {
                write!(f, "link {node} {interface} {}", if *up { "up" } else { "down" })
            }
            Act::Path { node, session, way } => {
                let way = match way {
                    Way::Up => "up",
                    Way::Down => "down",
                    Way::Deaf => "deaf",
                    Way::Mute => "mute",
                    Way::Frozen => "frozen",
                };
                write!(f, "path {node} {session} {way}")
            }
            Act::Cut { from, to, both, segment } => write!(f, "cut {from} {}{to}{}", way(*both), on(segment)),
            Act::Mend { from, to, both, segment } => write!(f, "mend {from} {}{to}{}", way(*both), on(segment)),
            Act::Partition(parts) => {
                let parts: Vec<String> = parts.iter().map(|part| part.join(" ")).collect();
                write!(f, "partition {}", parts.join(" | "))
            }
            Act::Heal => f.write_str("heal"),
            Act::Lan(settings) => write!(f, "lan {settings}"),
            Act::Script { node, script, conduct } => {
                let conduct = match conduct {
                    Conduct::Succeed => "ok",
                    Conduct::Fail => "fail",
                    Conduct::Hang => "hang",
                    Conduct::Stubborn => "stubborn",
                    Conduct::Flap => "flap",
                    Conduct::Missing => "missing",
                };
                write!(f, "script {node} {script} {conduct}")
            }
            Act::File { node, file, value } => write!(f, "file {node} {file} {value}"),
            Act::Process { node, process, count } => write!(f, "process {node} {process} {count}"),
            Act::Netlink { node, mood } => match mood {
                Mood::Well => write!(f, "netlink {node} ok"),
                Mood::Failing => write!(f, "netlink {node} fail"),
                Mood::Slow(by) => write!(f, "netlink {node} slow {by}s"),
            },
            Act::Clock { node, forward, by } => write!(f, "clock {node} {}{by}s", if *forward { '+' } else { '-' }),
            Act::Late { node, by } => write!(f, "late {node} {by}s"),
            Act::Server { server, health } => {
                let health = match health {
                    Health::Up => "up".to_owned(),
                    Health::Refuse => "refuse".to_owned(),
                    Health::Error => "503".to_owned(),
                    Health::Slow(by) => format!("slow {by}s"),
                    Health::Hang => "hang".to_owned(),
                    Health::Dead => "dead".to_owned(),
                    Health::Flap => "flap".to_owned(),
                };
                write!(f, "server {server} {health}")
            }
            Act::Steal { node, address } => write!(f, "steal {node} {address}"),
            Act::Reload { node, edits } => {
                write!(f, "reload {node}")?;
                edits.iter().try_for_each(|edit| write!(f, " {edit}"))
            }
        }
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Edit::Priority { instance, priority } => write!(f, "{instance} priority {priority}"),
            Edit::Preempt { instance, preempt: true } => write!(f, "{instance} preempt"),
            Edit::Preempt { instance, preempt: false } => write!(f, "{instance} nopreempt"),
            Edit::Add { instance, address } => write!(f, "{instance} add {address}"),
            Edit::Gone { instance } => write!(f, "{instance} gone"),
            Edit::Back { instance } => write!(f, "{instance} back"),
            Edit::Remove { instance, address } => write!(f, "{instance} remove {address}"),
        }
    }
}

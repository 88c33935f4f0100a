//! Every single thing that can fail on a server, as acts of a scenario and as words.

use crate::sim::lan::interfaces;
use crate::sim::scenario::{Act, Conduct, Way};
use crate::spec::{Spec, TieTarget};

/// One failure of one server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Power is gone.
    Crash,
    /// SIGTERM.
    Stop,
    /// The switch lets nothing through, and every link stays up.
    Cut,
    /// Nothing gets through any more to the peer of a BFD session.
    Path(Box<str>),
    /// An interface goes down.
    Link(Box<str>),
    Script(Box<str>),
    /// The number in a tracked file at which it does most harm.
    File(Box<str>, i32),
    /// No process of the kind runs.
    Process(Box<str>),
}

impl Failure {
    /// Everything that can fail on a server with this configuration, what concerns most first.
    pub(super) fn all(spec: &Spec) -> Vec<Failure> {
        let mut all = vec![Failure::Crash, Failure::Stop, Failure::Cut];
        let tracked = |name: &str| {
            let tied = |on: &TieTarget| matches!(on, TieTarget::Bfd(id) if spec.bfds.get(id.index()).is_some_and(|bfd| *bfd.name == *name));
            spec.instances.iter().flat_map(|i| &i.ties).any(|tie| tied(&tie.on))
        };
        let sessions = spec.sessions.iter().filter(|session| tracked(&session.name));
        all.extend(sessions.map(|session| Failure::Path(session.name.clone())));
        all.extend(interfaces(spec).into_iter().map(Failure::Link));
        all.extend(spec.scripts.iter().map(|script| Failure::Script(script.name.clone())));
        for (position, file) in spec.files.iter().enumerate() {
            let tied = |on: &TieTarget| matches!(on, TieTarget::File(id) if id.index() == position);
            let mut ties = spec.instances.iter().flat_map(|i| &i.ties).filter(|tie| tied(&tie.on));
            // A number times the weight is added to the priority; without a weight any number but 0 is a fault.
            let worst = ties.next().map_or(1, |tie| match (tie.weight, tie.reverse) {
                (0, _) => 1,
                (weight, reverse) if (weight > 0) != reverse => -254,
                _ => 254,
            });
            all.push(Failure::File(file.name.clone(), worst));
        }
        all.extend(spec.processes.iter().map(|process| Failure::Process(process.name.clone())));
        all
    }

    /// What makes it happen on `node`.
    pub(super) fn begin(&self, node: &str) -> Act {
        let node: Box<str> = node.into();
        match self {
            Failure::Crash => Act::Crash(node),
            Failure::Stop => Act::Stop(node),
            Failure::Cut => Act::Partition(vec![vec![node]]),
            Failure::Path(session) => Act::Path { node, session: session.clone(), way: Way::Down },
            Failure::Link(interface) => Act::Link { node, interface: interface.clone(), up: false },
            Failure::Script(script) => Act::Script { node, script: script.clone(), conduct: Conduct::Fail },
            Failure::File(file, value) => Act::File { node, file: file.clone(), value: *value },
            Failure::Process(process) => Act::Process { node, process: process.clone(), count: 0 },
        }
    }

    /// What ends it, where the return is worth a word of its own.
    pub(super) fn end(&self, node: &str) -> Option<Act> {
        match self {
            Failure::Crash => Some(Act::Start(node.into())),
            Failure::Cut => Some(Act::Heal),
            Failure::Stop
            | Failure::Path(_)
            | Failure::Link(_)
            | Failure::Script(_)
            | Failure::File(..)
            | Failure::Process(_) => None,
        }
    }

    /// As `--fail` of `vipctl simulate` takes it; `None` where only a scenario says it.
    pub fn option(&self, node: &str) -> Option<String> {
        match self {
            Failure::Crash => Some(format!("crash@{node}")),
            Failure::Stop => Some(format!("stop@{node}")),
            Failure::Cut => Some(format!("cut@{node}")),
            Failure::Path(session) => Some(format!("path:{session}@{node}")),
            Failure::Link(interface) => Some(format!("link:{interface}@{node}")),
            Failure::Script(script) => Some(format!("script:{script}@{node}")),
            Failure::File(..) | Failure::Process(_) => None,
        }
    }

    /// The condition of a sentence that begins with "if".
    pub(super) fn words(&self, node: &str) -> String {
        match self {
            Failure::Crash => format!("{node} dies"),
            Failure::Stop => format!("{node} is stopped"),
            Failure::Cut => format!("{node} is cut off while its links stay up"),
            Failure::Path(session) => format!("the path of BFD session {session} dies on {node}"),
            Failure::Link(interface) => format!("{interface} goes down on {node}"),
            Failure::Script(script) => format!("{script} fails on {node}"),
            Failure::File(file, value) => format!("file {file} says {value} on {node}"),
            Failure::Process(process) => format!("process {process} ends on {node}"),
        }
    }

    /// Only silence tells the others.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Failure::Crash | Failure::Cut)
    }

    /// The tie that stands for it, if an instance has one.
    pub(super) fn is_tied(&self, on: &TieTarget, spec: &Spec) -> bool {
        match (self, on) {
            (Failure::Path(name), TieTarget::Bfd(id)) => spec.bfds.get(id.index()).is_some_and(|bfd| bfd.name == *name),
            (Failure::Link(name), TieTarget::Interface(tied)) => tied.as_str() == &**name,
            (Failure::Script(name), TieTarget::Script(id)) => {
                spec.scripts.get(id.index()).is_some_and(|script| script.name == *name)
            }
            (Failure::File(name, _), TieTarget::File(id)) => {
                spec.files.get(id.index()).is_some_and(|file| file.name == *name)
            }
            (Failure::Process(name), TieTarget::Process(id)) => {
                spec.processes.get(id.index()).is_some_and(|process| process.name == *name)
            }
            _ => false,
        }
    }
}

//! What can make a router less wanted: scripts, interfaces, files, processes, BFD sessions, and how much each counts.

use super::BfdId;
use super::FileId;
use super::IfName;
use super::ProcessId;
use super::Run;
use super::ScriptId;
use super::Spec;
use crate::time::Interval;

/// A tracked thing tied to one instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tie {
    pub on: TieTarget,
    /// 0: bad means FAULT. Positive: added when good. Negative: subtracted when bad. Files: multiplier of the value.
    pub weight: i32,
    pub reverse: bool,
    /// Came from the sync group.
    pub from_group: bool,
    /// The weight that was asked for, which dumps show; an interface that an address, route or rule needs as well has 0.
    /// `None`: nobody asked, only such an item needs the interface.
    pub asked: Option<i32>,
}

/// What a tie ties to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum TieTarget {
    Interface(IfName),
    Script(ScriptId),
    File(FileId),
    Process(ProcessId),
    Bfd(BfdId),
}

impl TieTarget {
    /// What it is called in the configuration; `None` where the Spec has no such tracker.
    pub fn name<'s>(&'s self, spec: &'s Spec) -> Option<&'s str> {
        match self {
            TieTarget::Interface(name) => Some(name.as_str()),
            TieTarget::Script(_) => self.script(spec).map(|script| &*script.name),
            TieTarget::File(id) => spec.files.get(id.index()).map(|file| &*file.name),
            TieTarget::Process(_) => self.process(spec).map(|process| &*process.name),
            TieTarget::Bfd(_) => self.bfd(spec).map(|bfd| &*bfd.name),
        }
    }

    /// What kind of tracker it is, in one word.
    pub fn kind(&self) -> &'static str {
        match self {
            TieTarget::Interface(_) => "interface",
            TieTarget::Script(_) => "script",
            TieTarget::File(_) => "file",
            TieTarget::Process(_) => "process",
            TieTarget::Bfd(_) => "bfd",
        }
    }

    /// The interface, if it is one.
    pub fn interface(&self) -> Option<&IfName> {
        if let TieTarget::Interface(name) = self { Some(name) } else { None }
    }

    /// The script, if it is one.
    pub fn script<'s>(&self, spec: &'s Spec) -> Option<&'s ScriptSpec> {
        if let TieTarget::Script(id) = self { spec.scripts.get(id.index()) } else { None }
    }

    /// The process, if it is one.
    pub fn process<'s>(&self, spec: &'s Spec) -> Option<&'s ProcessSpec> {
        if let TieTarget::Process(id) = self { spec.processes.get(id.index()) } else { None }
    }

    /// The BFD session, if it is one.
    pub fn bfd<'s>(&self, spec: &'s Spec) -> Option<&'s BfdSpec> {
        if let TieTarget::Bfd(id) = self { spec.bfds.get(id.index()) } else { None }
    }
}

/// `vrrp_script`.
#[derive(Clone, PartialEq, Debug)]
pub struct ScriptSpec {
    pub name: Box<str>,
    pub run: Run,
    /// From start to start.
    pub interval: Interval,
    /// A run that takes longer is ended and counts as a failure.
    pub timeout: Interval,
    /// The script's own weight, for ties that give none.
    pub weight: i32,
    pub reverse: bool,
    /// Successes in a row that make it good, 1..=2³¹−1.
    pub rise: u32,
    /// Failures in a row that make it bad, 1..=2³¹−1.
    pub fall: u32,
    /// Bad until it has risen, instead of unknown until the first result.
    pub init_fail: bool,
    /// Runs although script security would refuse it (`enable_script_security` off).
    pub insecure: bool,
}

/// `track_file`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileSpec {
    pub name: Box<str>,
    pub path: Box<str>,
    pub weight: i32,
    pub reverse: bool,
    /// `init_file`: value to create the file with, and whether to overwrite an existing one.
    pub init: Option<(i32, bool)>,
}

/// `vrrp_track_process`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProcessSpec {
    pub name: Box<str>,
    pub process: Box<str>,
    pub params: Vec<Box<str>>,
    pub param_match: ParamMatch,
    pub weight: i32,
    pub reverse: bool,
    /// Fewer of them are a failure; 1..=65535.
    pub quorum: u32,
    /// `None` is unlimited.
    pub quorum_max: Option<u32>,
    /// A failure counts only when it has lasted so long.
    pub terminate_delay: Interval,
    /// A recovery counts only when it has lasted so long.
    pub fork_delay: Interval,
    pub full_command: bool,
}

/// How the arguments of a process are compared (`param_match`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ParamMatch {
    /// Parameters are not compared.
    #[default]
    None,
    Exact,
    Partial,
    Initial,
}

/// `bfd_instance` as a tracker: its name and weight. The session of that name is in [`Spec::sessions`](super::Spec), if
/// it can run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BfdSpec {
    pub name: Box<str>,
    pub weight: i32,
    pub reverse: bool,
}

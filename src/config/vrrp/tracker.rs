//! What can be tracked: `vrrp_script`, `vrrp_track_process`, `track_file`, and the lists that tie them to instances.

use crate::config::line::List;
use crate::config::line::lists::{Tracked, track_line};
use crate::config::report::{Class, Diagnostic};
use crate::config::security::{SetScript, UserLine, last_script, must_user};
use crate::config::system::FileKind;
use crate::config::table::block::{Block, Cx, Repeat, Set, by, first, flag, must};
use crate::config::table::values::{PATH, Value, decimal, int, timer, uint};
use crate::config::text::source::Span;
use crate::config::text::tree::Node;
use crate::spec::ParamMatch;
use crate::time::Interval;
use rustc_hash::FxHashMap;

/// A block with a name.
#[derive(Clone, Debug)]
pub struct Named<T> {
    pub name: Box<str>,
    /// Where the name stands.
    pub span: Span,
    /// Where the block ends.
    pub close: Option<Span>,
    /// Boxed: a configuration may hold thousands, which must not be moved each time the list grows.
    pub settings: Box<T>,
}

/// Reads the body of a named block; an unnamed block stops reading (exit code 2).
pub fn named<T: Block>(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Named<T>> {
    let Some(name) = node.args.first().copied() else {
        cx.abort(node, "a name");
        return None;
    };
    let mut settings = Box::<T>::default();
    cx.block = Some(node.span);
    cx.name = name.text.into();
    crate::config::table::block::read_block(&mut *settings, node.body.as_deref().unwrap_or_default(), cx);
    Some(Named { name: name.text.into(), span: name.span, close: node.close, settings })
}

/// A name and where it stands, or nothing, with a complaint, unless there is exactly one.
pub fn only_name<'s>(node: &Node<'s>, cx: &mut Cx<'_>) -> Option<crate::config::text::tree::Word<'s>> {
    match node.args.as_slice() {
        [name] => Some(*name),
        [] => {
            cx.mistake(
                node.span,
                format!("`{}` has no name; the block is skipped", node.keyword.text),
                format!("write `{} NAME {{`", node.keyword.text),
            );
            None
        }
        // Of the bracket in the place of its `{` is said there.
        [_, _] if node.spilt => None,
        [_, extra, ..] => {
            cx.mistake(
                extra.span,
                format!("`{}` takes one name; the block is skipped", node.keyword.text),
                format!("write `{} NAME {{`, with the name in quotes if it has blanks", node.keyword.text),
            );
            None
        }
    }
}

/// A weight, and whether its sign is turned round.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Weight {
    pub weight: i32,
    pub reverse: bool,
}

/// A line of a `track_*` list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TieLine {
    pub name: Box<str>,
    pub span: Span,
    /// `None`: the tracked thing's own.
    pub weight: Option<i32>,
    pub reverse: Option<bool>,
}

/// The `track_*` lists of an instance or a group.
#[derive(Clone, Debug, Default)]
pub struct Ties {
    pub interfaces: Vec<TieLine>,
    pub scripts: Vec<TieLine>,
    pub files: Vec<TieLine>,
    pub processes: Vec<TieLine>,
    pub bfds: Vec<TieLine>,
}

/// Names under which trackers are remembered in [`Cx::names`].
pub const fn kind_of(tracked: Tracked) -> &'static str {
    match tracked {
        Tracked::Interface => "interface",
        Tracked::Script => "vrrp_script",
        Tracked::File => "track_file",
        Tracked::Process => "vrrp_track_process",
        Tracked::Bfd => "bfd_instance",
    }
}

fn ties(list: &mut Vec<TieLine>, tracked: Tracked, node: &Node<'_>, cx: &mut Cx<'_>) {
    let mut listed: FxHashMap<Box<str>, Span> = list.iter().map(|tie| (tie.name.clone(), tie.span)).collect();
    for line in node.body.iter().flatten() {
        let name = line.keyword;
        let known = match tracked {
            Tracked::Interface => cx.line(List::Virtual, tracked.form(), |cx| cx.interface(&name)).is_some(),
            _ => cx.defined(kind_of(tracked), name.text),
        };
        if !known {
            if tracked != Tracked::Interface {
                let kind = kind_of(tracked);
                let message = format!("there is no {kind} `{}` before this line; it is not tracked", name.text);
                let class = if cx.is_lost(kind, name.text) { Class::Follows } else { Class::General };
                let mut complaint = Diagnostic::new(class, name.span, message).label("unknown here");
                complaint = match cx.nearest(kind, name.text) {
                    Some(near) => complaint.help(format!("did you mean `{near}`?")),
                    None => complaint.help(format!("define `{kind} {}` above the block that tracks it", name.text)),
                };
                cx.push(complaint);
            }
            continue;
        }
        if let Some(first) = listed.get(name.text) {
            let message = format!("{} `{}` is listed twice; the first one holds", tracked.keyword(), name.text);
            let complaint = Diagnostic::new(Class::General, name.span, message).related(*first, "first here");
            cx.push(complaint.help("keep one of the two lines"));
            continue;
        }
        if let Some(tie) = cx.line(List::Virtual, tracked.form(), |cx| track_line(line, tracked, cx)) {
            let (weight, reverse) = (tie.weight, tie.reverse);
            listed.insert(name.text.into(), name.span);
            list.push(TieLine { name: name.text.into(), span: name.span, weight, reverse });
        }
    }
}
pub(crate) fn track_interface(field: &mut Option<Box<Ties>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    ties(&mut field.get_or_insert_default().interfaces, Tracked::Interface, node, cx);
}
pub(crate) fn track_script(field: &mut Option<Box<Ties>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    ties(&mut field.get_or_insert_default().scripts, Tracked::Script, node, cx);
}
pub(crate) fn track_files(field: &mut Option<Box<Ties>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    ties(&mut field.get_or_insert_default().files, Tracked::File, node, cx);
}
pub(crate) fn track_process(field: &mut Option<Box<Ties>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    ties(&mut field.get_or_insert_default().processes, Tracked::Process, node, cx);
}
pub(crate) fn track_bfd(field: &mut Option<Box<Ties>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    ties(&mut field.get_or_insert_default().bfds, Tracked::Bfd, node, cx);
}

block! {
    /// Health script, run again and again.
    "vrrp_script" => ScriptBlock {
        /// Command to run; one quoted string holds command and arguments.
        "script" => script: SetScript = last_script(), default "required";
        /// Seconds from start to start.
        "interval" => interval: Set<Interval> = by("TIMER[0.001..4294] 3 decimals", Repeat::LastWins, script_time), default(Interval::from_secs(1), "1");
        /// Seconds before a run is ended and counts as failed.
        "timeout" => timeout: Set<Interval> = by("TIMER[0.001..4294] 3 decimals", Repeat::LastWins, script_time), default "interval";
        /// 0: failure is a fault; else the change of priority.
        "weight" => weight: Set<Weight> = by("INT[-253..253] [reverse]", Repeat::LastWins, script_weight), default(Weight::default(), "0");
        /// Successes in a row that make it good.
        "rise" => rise: Set<u32> = must(uint(1, 2_147_483_647)).or(1), default(1);
        /// Failures in a row that make it bad.
        "fall" => fall: Set<u32> = must(uint(1, 2_147_483_647)).or(1), default(1);
        /// User running the script.
        "user" => user: Set<UserLine> = must_user(), default "script_user";
        /// Bad until the first success.
        "init_fail" => init_fail: Set<()> = flag(), default "off";
    }
}

fn script_time(field: &mut Set<Interval>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let kind = timer(0, 4_294_000_000).decimals(3);
    let Some(word) = node.args.first().copied() else { return cx.abort(node, &kind.expected()) };
    let Some(mut value) = kind.take(word, node.keyword.text, cx) else { return };
    if value.is_zero() {
        // A number rounded to nothing has been complained about already.
        if word.text.split_once('.').is_none_or(|(_, part)| part.len() <= 3) {
            cx.error(word.span, format!("`{}` must be more than 0; 1 is used", node.keyword.text));
        }
        value = Interval::from_secs(1);
    }
    *field = Set::at(value, word.span);
}

/// `INT [reverse]`: `None` after a complaint about the number.
fn weight(node: &Node<'_>, most: i32, cx: &mut Cx<'_>) -> Option<Weight> {
    let number = node.args.first().copied()?;
    let weight = int(-most, most).take(number, node.keyword.text, cx);
    let reverse = match node.args.get(1) {
        None => false,
        Some(w) if w.text == "reverse" => true,
        Some(w) => {
            let message = format!("`{}` has no option `{}`", node.keyword.text, w.text);
            cx.push(Diagnostic::new(Class::General, w.span, message).label("expected reverse or nothing"));
            false
        }
    };
    weight.map(|weight| Weight { weight, reverse })
}

fn script_weight(field: &mut Set<Weight>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(number) = node.args.first().copied() else { return cx.abort(node, "a whole number from -253 to 253") };
    let value = weight(node, 253, cx).or_else(|| {
        // keepalived stores a number that is out of range all the same.
        let weight = decimal(number.text, true).and_then(|n| i32::try_from(n).ok())?;
        Some(Weight { weight, reverse: node.args.get(1).is_some_and(|w| w.text == "reverse") })
    });
    if let Some(value) = value {
        *field = Set::at(value, number.span);
    }
}

/// `vrrp_script NAME`: without a command it is removed.
pub fn read_script(list: &mut Vec<Named<ScriptBlock>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(block) = named::<ScriptBlock>(node, cx) else { return };
    if cx.aborted {
        return;
    }
    // A name that is defined but not usable is complained about once, not wherever it is tracked.
    let new = node.args.first().is_some_and(|name| cx.define("vrrp_script", *name));
    if block.settings.script.is_none() {
        let message = format!("vrrp_script `{}` has no script and is removed", block.name);
        return cx.lacks(&["script"], block.span, block.close, message, "write `script COMMAND` in it");
    }
    if let Some(user) = block.settings.user.as_ref()
        && crate::config::security::account(cx.env.system, &user.value, false).is_err()
    {
        // The user has been complained about where it stands.
        return;
    }
    if new {
        list.push(block);
    }
}

block! {
    /// How many processes of a kind run.
    "vrrp_track_process" => ProcessBlock {
        /// Name or path of the process, and arguments to compare.
        "process" => process: Set<Vec<Box<str>>> = by("STR [ARG...]", Repeat::FirstKept, process), default "required";
        /// How arguments are compared.
        "param_match" => param_match: Set<ParamMatch> = by("[initial or partial]", Repeat::LastWins, param_match), default "exact if there are arguments";
        /// 0: a lost quorum is a fault; else the change of priority.
        "weight" => weight: Set<Weight> = by("INT[-254..254] [reverse]", Repeat::FirstKept, process_weight), default(Weight::default(), "0");
        /// Fewest processes wanted.
        "quorum" => quorum: Set<u32> = must(uint(1, 65_535)), default(1);
        /// Most processes wanted; 0 means that none may run.
        "quorum_max" => quorum_max: Set<u32> = must(uint(0, 65_535)), default "unlimited";
        /// Seconds after losing the quorum before that counts.
        "terminate_delay" => terminate_delay: Set<Interval> = must(timer(1, 3_600_000_000)), default(Interval::ZERO, "0");
        /// Seconds after gaining the quorum before that counts.
        "fork_delay" => fork_delay: Set<Interval> = must(timer(1, 3_600_000_000)), default(Interval::ZERO, "0");
        /// Compare the command line, not the process name.
        "full_command" => full_command: Set<()> = flag(), default "off";
    }
    whole {
        /// Both delays at once.
        "delay" => by("TIMER[0.000001..3600]", Repeat::LastWins, both_delays), default "0";
    }
}

fn process(field: &mut Set<Vec<Box<str>>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(word) = node.args.first() else { return cx.abort(node, "the name of a process") };
    if let Some(first) = field.as_ref() {
        return cx.again(node.span, "process", first.span, "the first one holds");
    }
    let value = node.args.iter().map(|w| w.text.into()).collect();
    *field = Set::at(value, word.span);
}

fn param_match(field: &mut Set<ParamMatch>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let value = match node.args.first() {
        None => ParamMatch::Exact,
        Some(w) if w.text == "initial" => ParamMatch::Initial,
        Some(w) if w.text == "partial" => ParamMatch::Partial,
        Some(w) => {
            let message = format!("`param_match` cannot be `{}` and is ignored", w.text);
            return cx
                .push(Diagnostic::new(Class::General, w.span, message).label("expected initial, partial or nothing"));
        }
    };
    *field = Set::at(value, node.span);
}

fn process_weight(field: &mut Set<Weight>, node: &Node<'_>, cx: &mut Cx<'_>) {
    if node.args.is_empty() {
        return cx.missing(node, "a whole number from -254 to 254");
    }
    if let Some(first) = field.as_ref().filter(|f| f.value.weight != 0) {
        return cx.again(node.span, "weight", first.span, "the first one holds");
    }
    if let Some(value) = weight(node, 254, cx) {
        *field = Set::at(value, node.span);
    }
}

fn both_delays(block: &mut ProcessBlock, node: &Node<'_>, cx: &mut Cx<'_>) {
    let kind = timer(1, 3_600_000_000);
    let Some(word) = node.args.first().copied() else { return cx.abort(node, &kind.expected()) };
    if let Some(value) = kind.take(word, "delay", cx) {
        let both = Set::at(value, word.span);
        (block.terminate_delay, block.fork_delay) = (both, both);
    }
}

/// `vrrp_track_process NAME`: without a process it is removed.
pub fn read_process(list: &mut Vec<Named<ProcessBlock>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(mut block) = named::<ProcessBlock>(node, cx) else { return };
    if cx.aborted {
        return;
    }
    let new = node.args.first().is_some_and(|name| cx.define("vrrp_track_process", *name));
    let settings = &mut block.settings;
    if settings.process.is_none() {
        let message = format!("vrrp_track_process `{}` has no process and is removed", block.name);
        return cx.lacks(&["process"], block.span, block.close, message, "write `process NAME` in it");
    }
    if let (Some(least), Some(most)) = (*settings.quorum, *settings.quorum_max)
        && least.value > most.value
    {
        // Whichever came second is ignored.
        let least_second = least.span.start > most.span.start;
        let (second, first) = if least_second { (least.span, most.span) } else { (most.span, least.span) };
        let message = format!("quorum {} is above quorum_max {}; the second one is ignored", least.value, most.value);
        let complaint = Diagnostic::new(Class::General, second, message).related(first, "this one holds");
        cx.push(complaint.help("write a quorum that is not above quorum_max"));
        if least_second {
            settings.quorum = Set::default();
        } else {
            settings.quorum_max = Set::default();
        }
    }
    if new {
        list.push(block);
    }
}

/// The weight of a file without one, and of one whose weight is no number.
const FILE_WEIGHT: Weight = Weight { weight: 1, reverse: false };

block! {
    /// A file that holds a number.
    "track_file" => FileBlock {
        /// The file.
        "file" => file: Set<Box<str>> = first(PATH), default "required";
        /// Multiplier of the number; 0: any number but 0 is a fault.
        "weight" => weight: Set<Weight> = by("INT[-254..254] [reverse]", Repeat::FirstKept, file_weight), default(FILE_WEIGHT, "1");
        /// Create the file at start with this number.
        "init_file" => init: Set<(i32, bool)> = by("[INT] [overwrite]", Repeat::LastWins, init_file), default "not created";
    }
}

fn file_weight(field: &mut Set<Weight>, node: &Node<'_>, cx: &mut Cx<'_>) {
    if node.args.is_empty() {
        return cx.missing(node, "a whole number from -254 to 254");
    }
    if let Some(first) = field.as_ref().filter(|f| f.value.weight != 1) {
        return cx.again(node.span, "weight", first.span, "the first one holds");
    }
    let value = weight(node, 254, cx).unwrap_or(FILE_WEIGHT);
    *field = Set::at(value, node.span);
}

fn init_file(field: &mut Set<(i32, bool)>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let (mut value, mut overwrite) = (0, false);
    for w in &node.args {
        let text = w.text.trim_start();
        if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            match decimal(text, true).and_then(|n| i32::try_from(n).ok()) {
                Some(n) => {
                    value = n;
                    if !(-254..=254).contains(&n) {
                        let message = format!("`init_file`: {n} is more than any weight can express");
                        cx.push(
                            Diagnostic::new(Class::General, w.span, message)
                                .label("expected -254 to 254")
                                .help("for example `init_file 0`"),
                        );
                    }
                }
                None => cx.error(w.span, format!("`init_file`: `{text}` is no number; 0 is used")),
            }
        } else if text == "overwrite" {
            overwrite = true;
        } else {
            let message = format!("`init_file` has no option `{text}`");
            cx.push(
                Diagnostic::new(Class::General, w.span, message)
                    .label("expected a number, or overwrite")
                    .help("for example `init_file 0 overwrite`"),
            );
        }
    }
    *field = Set::at((value, overwrite), node.span);
}

/// `track_file NAME`: without a file, or in a directory that is not there, it is removed.
pub fn read_file(list: &mut Vec<Named<FileBlock>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(block) = named::<FileBlock>(node, cx) else { return };
    if cx.aborted {
        return;
    }
    let new = node.args.first().is_some_and(|name| cx.define("track_file", *name));
    let Some(file) = block.settings.file.as_ref() else {
        let message = format!("track_file `{}` has no file and is removed", block.name);
        return cx.lacks(&["file"], block.span, block.close, message, "write `file PATH` in it");
    };
    let directory = match file.value.rfind('/') {
        Some(0) => "/",
        Some(at) => file.value.get(..at).unwrap_or("/"),
        None => ".",
    };
    let kind = |path: &str| crate::config::security::stat(cx.env.system, path).map(|stat| stat.kind);
    // A name without a directory is looked for where the daemon runs, and not before.
    let wrong = if directory == "." {
        None
    } else if !kind(directory).is_some_and(FileKind::is_directory) {
        Some(format!("there is no directory `{directory}`"))
    } else if kind(&file.value) == Some(FileKind::Directory) {
        Some(format!("`{}` is a directory", file.value))
    } else if !cx.env.system.tells_changes(directory) {
        Some(format!("the kernel does not tell of changes in `{directory}`"))
    } else {
        None
    };
    if let Some(wrong) = wrong {
        let message = format!("track_file `{}` is removed: {wrong}", block.name);
        let complaint = Diagnostic::new(Class::General, file.span, message)
            .help("name a file on a disk or in /run, in a directory that is there; a vrrp_script can read any other");
        return cx.push(complaint.ends_at(block.close));
    }
    if new {
        list.push(block);
    }
}

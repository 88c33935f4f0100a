//! What is tracked: the definitions of scripts, files, processes and sessions, and who uses them with which weight.

use super::{KEEPALIVED, Row, Seen, Tree, rows};
use crate::observe::describe::command;
use crate::spec::{Command, ParamMatch, Spec, Tie, TieTarget};
use crate::vrrp::snapshot::TrackerView;

/// Number of the instances' table, of the groups' table, and the column that the name stands in.
struct Use {
    instances: u32,
    groups: u32,
    name: u32,
    of: fn(&TieTarget) -> bool,
}

const USES: [Use; 5] = [
    Use { instances: 4, groups: 14, name: 1, of: |on| matches!(on, TieTarget::Interface(_)) },
    Use { instances: 5, groups: 15, name: 2, of: |on| matches!(on, TieTarget::Script(_)) },
    Use { instances: 12, groups: 16, name: 2, of: |on| matches!(on, TieTarget::File(_)) },
    Use { instances: 17, groups: 19, name: 2, of: |on| matches!(on, TieTarget::Bfd(_)) },
    Use { instances: 20, groups: 22, name: 2, of: |on| matches!(on, TieTarget::Process(_)) },
];

pub(super) fn fill(tree: &mut Tree, seen: &Seen<'_>) {
    let spec = seen.spec;
    for kind in &USES {
        let table = [KEEPALIVED, &[2, kind.instances]].concat();
        for (index, one) in rows(&spec.instances) {
            let own = one.ties.iter().filter(|tie| !tie.from_group && tie.asked.is_some());
            uses(tree, &table, index, kind, own, spec);
        }
        let table = [KEEPALIVED, &[2, kind.groups]].concat();
        for (index, group) in rows(&spec.groups) {
            uses(tree, &table, index, kind, group.ties.iter(), spec);
        }
    }
    scripts(tree, seen);
    files(tree, seen);
    sessions(tree, seen);
    processes(tree, seen);
}

fn uses<'a>(tree: &mut Tree, table: &[u32], owner: u32, kind: &Use, ties: impl Iterator<Item = &'a Tie>, spec: &Spec) {
    for (position, tie) in (1..).zip(ties.filter(|tie| (kind.of)(&tie.on))) {
        Row::new(tree, table, &[owner, position])
            .text(kind.name, tie.on.name(spec).unwrap_or(""))
            .integer(kind.name + 1, tie.weight)
            .truth(kind.name + 2, tie.reverse);
    }
}

fn scripts(tree: &mut Tree, seen: &Seen<'_>) {
    let table = [KEEPALIVED, &[2, 9]].concat();
    for (index, (script, view)) in rows(seen.spec.scripts.iter().zip(&seen.now.scripts)) {
        let result = match view.good {
            None if script.init_fail => 5,
            None => 1,
            Some(true) => 3,
            Some(false) => 2,
        };
        let path = match &script.run.command {
            Command::Exec { path, .. } => path,
            Command::Shell(line) => line,
        };
        Row::new(tree, &table, &[index])
            .text(2, &script.name)
            .text(3, command(&script.run))
            .unsigned(11, script.interval.as_micros())
            .integer(4, script.interval.as_secs() as i64)
            .integer(5, script.weight)
            .integer(6, result)
            .unsigned(7, script.rise)
            .unsigned(8, script.fall)
            .truth(9, script.reverse)
            .text(10, path)
            .unsigned(12, script.timeout.as_micros());
    }
}

fn tracker<'a>(seen: &'a Seen<'_>, kind: &str, name: &str) -> Option<&'a TrackerView> {
    seen.now.trackers.iter().find(|view| view.kind == kind && *view.name == *name)
}

fn files(tree: &mut Tree, seen: &Seen<'_>) {
    let table = [KEEPALIVED, &[2, 13]].concat();
    for (index, file) in rows(&seen.spec.files) {
        let value = tracker(seen, "file", &file.name).and_then(|view| view.value).unwrap_or(0);
        Row::new(tree, &table, &[index])
            .text(2, &file.name)
            .text(3, &file.path)
            .integer(4, value)
            .integer(5, file.weight)
            .truth(6, file.reverse);
    }
}

fn sessions(tree: &mut Tree, seen: &Seen<'_>) {
    let table = [KEEPALIVED, &[2, 18]].concat();
    for (index, bfd) in rows(&seen.spec.bfds) {
        let up = tracker(seen, "bfd", &bfd.name).and_then(|view| view.good) == Some(true);
        Row::new(tree, &table, &[index])
            .text(2, &bfd.name)
            .integer(3, u8::from(up))
            .integer(4, bfd.weight)
            .truth(5, bfd.reverse);
    }
}

fn processes(tree: &mut Tree, seen: &Seen<'_>) {
    let table = [KEEPALIVED, &[2, 21]].concat();
    for (index, process) in rows(&seen.spec.processes) {
        let view = tracker(seen, "process", &process.name);
        let how = match process.param_match {
            ParamMatch::None => 0,
            ParamMatch::Exact => 1,
            ParamMatch::Partial => 2,
            ParamMatch::Initial => 3,
        };
        Row::new(tree, &table, &[index])
            .text(2, &process.name)
            .text(3, &process.process)
            .text(4, process.params.join(" "))
            .integer(5, how)
            .integer(6, process.weight)
            .truth(7, process.reverse)
            .unsigned(8, process.quorum)
            // Without a limit keepalived shows -1.
            .integer(9, process.quorum_max.map_or(-1, i64::from))
            .unsigned(10, process.fork_delay.as_micros())
            .unsigned(11, process.terminate_delay.as_micros())
            .truth(12, process.full_command)
            .integer(13, view.and_then(|view| view.value).unwrap_or(0))
            .truth(14, view.and_then(|view| view.good) == Some(true));
    }
}

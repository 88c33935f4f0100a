//! SIGHUP: another configuration for a daemon that goes on working.
//!
//! The files are read on a thread of their own, since they may be long and name hosts. A configuration that is worse than
//! the one that runs is refused, with its diagnostics in the log, and so is one that changes what only a restart can
//! change. While one reload is under way a further wish is remembered and carried out afterwards.

use super::options::Options;
use super::reading;
use crate::config::report::{Class, Diagnostic, Diagnostics, Level};
use crate::kernel::aside;
use crate::spec::Spec;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::oneshot;

/// A configuration that has been read.
#[derive(Debug)]
pub struct Read {
    pub spec: Option<Spec>,
    pub diagnostics: Diagnostics,
    /// How long it took.
    pub took: std::time::Duration,
}

/// Reads on another thread; `marker` exists while it does (`reload_file`). The reports go to the file `check`, if there
/// is one (`reload_check_config`).
pub fn read_aside(options: Arc<Options>, marker: Option<PathBuf>, check: Option<Box<str>>) -> oneshot::Receiver<Read> {
    aside::ask(format!("the configuration {}", options.config.display()), move || {
        let begun = std::time::Instant::now();
        let marker = marker.map(Marker::set);
        let (spec, diagnostics) = reading::read_telling(&options);
        drop(marker);
        let took = begun.elapsed();
        if let Some(path) = check {
            reading::save_report(&path, &reading::plain(&diagnostics));
        }
        Read { spec, diagnostics, took }
    })
}

/// The file that says "configuration files are being read"; gone when dropped.
#[derive(Debug)]
pub struct Marker(PathBuf);

impl Marker {
    pub(crate) fn set(path: PathBuf) -> Marker {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        // A FIFO would be waited for.
        let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
        let mut file = std::fs::OpenOptions::new();
        if file.write(true).create(true).truncate(true).custom_flags(flags).open(&path).is_ok() {
            let _ = std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644));
        }
        Marker(path)
    }
}

impl Drop for Marker {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// `reload_file`: the path given, or the pid file with `.reload` for `.pid`.
pub fn marker_path(spec: &Spec, pid_file: &Path) -> Option<PathBuf> {
    match spec.daemon.reload_file.as_deref()? {
        "" => Some(pid_file.with_extension("reload")),
        path => Some(path.into()),
    }
}

/// Mistakes by which two readings are compared: wording and class, not the place, which moves when lines are added.
pub fn mistakes(diagnostics: &Diagnostics) -> BTreeSet<(Class, String)> {
    diagnostics.list.iter().filter(|d| spoils(d)).map(|d| (d.class, d.message.clone())).collect()
}

/// What makes a configuration worse: not warnings, and not that script security is off or that others can read a key. Nor addresses
/// that adverts cannot name: nothing is lost with them, and where an interface carries less than at the start, the reload is what
/// lets the instance speak again.
fn spoils(diagnostic: &Diagnostic) -> bool {
    diagnostic.class.level() == Level::Error
        && !matches!(diagnostic.class, Class::FileNotFound | Class::Security | Class::Crowded)
}

/// Why the running configuration must go on, if it must.
pub fn refuse(running: &Spec, known: &BTreeSet<(Class, String)>, read: &Read) -> Option<String> {
    let Some(new) = &read.spec else {
        let first = read.diagnostics.first(|d| d.class.level() == Level::Error && d.class != Class::Security);
        let first = first.map(|message| format!("; its first mistake: {message}"));
        return Some(format!("the configuration cannot be used{}", first.unwrap_or_default()));
    };
    if running.daemon.reload_check.is_some() && read.diagnostics.exit_code() != 0 {
        return Some(format!("the check of the configuration gives {}", read.diagnostics.exit_code()));
    }
    let added = mistakes(&read.diagnostics).difference(known).count();
    if added > 0 {
        return Some(format!("the configuration has {added} new mistake{}", if added == 1 { "" } else { "s" }));
    }
    let (old, new) = (&running.daemon, &new.daemon);
    let fixed = [
        ("net_namespace", old.net_namespace == new.net_namespace),
        ("instance", old.instance == new.instance),
        ("the nftables table", same_table(old.nftables.table.as_deref(), new.nftables.table.as_deref())),
        ("disable_local_igmp", old.disable_local_igmp == new.disable_local_igmp),
    ];
    let changed: Vec<&str> = fixed.iter().filter(|(_, same)| !same).map(|(name, _)| *name).collect();
    (!changed.is_empty()).then(|| format!("{} cannot change without a restart", changed.join(" and ")))
}

/// Would going over to `read` change anything? A virtual link that has no name in the file has got one here.
pub fn changes(running: &Spec, read: &Spec) -> bool {
    let mut read = read.clone();
    for (new, old) in read.instances.iter_mut().zip(&running.instances).filter(|(new, old)| new.name == old.name) {
        if let (Some(new), Some(old)) = (&mut new.virtual_link, &old.virtual_link) {
            new.called_as(old);
        }
    }
    read != *running
}

/// The table named `keepalived` may come and go: it is the one that the first VMAC or `no_accept` brings along.
fn same_table(old: Option<&str>, new: Option<&str>) -> bool {
    old == new || [old, new].iter().all(|table| matches!(table, None | Some("keepalived")))
}

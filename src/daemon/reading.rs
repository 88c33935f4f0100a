//! Reading the configuration: from the command line's wishes to a [`Spec`] and its diagnostics, and how these are shown.

use super::options::{Options, Parts};
use crate::config::Env;
use crate::config::report::{Class, Diagnostics, Style};
use crate::config::text::expand::{self, TextEnv};
use crate::config::{Subsystems, load, load_for, load_what_runs};
use crate::kernel::clock;
use crate::kernel::files::OsLoader;
use crate::kernel::system::LinuxSystem;
use crate::kernel::threads;
use crate::observe::words;
use crate::spec::Spec;
use crate::spec::balance::{LvsSettings, LvsSpec};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

/// A configuration is read in milliseconds.
const LONG: Duration = Duration::from_secs(3);

/// Reads the configuration that `options` name, on this machine, as it is: what the subsystems that run read of it.
pub fn read(options: &Options) -> (Option<Spec>, Diagnostics) {
    let Parts { vrrp, checkers, bfd, all } = options.parts;
    let run = Subsystems { vrrp, checkers, bfd };
    let load = if all { load_for } else { load_what_runs };
    let system = LinuxSystem::new();
    let env = Env { text: text_environment(options), system: &system };
    let loaded = load(&options.config.to_string_lossy(), run, &env, &OsLoader);
    (loaded.spec, loaded.diagnostics)
}

fn text_environment(options: &Options) -> TextEnv {
    TextEnv {
        config_id: config_id(options),
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        random_seed: clock::wall().unix_micros,
        strict_includes: options.all_config,
        working_directory: std::env::current_dir().unwrap_or_default(),
    }
}

/// `config_save_dir`: the configuration in one piece, includes and definitions carried out, as
/// `keepalived.conf.PID.NUMBER`. The directory is made if it is not there, as keepalived does.
pub fn save(directory: &str, number: u32, options: &Options) {
    let mut unheard = Diagnostics::default();
    let root = options.config.to_string_lossy();
    let text = expand::read(&root, &text_environment(options), &OsLoader, &mut unheard);
    if let Err(error) = std::fs::create_dir(directory)
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return tracing::warn!(target: "parent", "Unable to create {directory}: {}", words::os(&error));
    }
    let path = Path::new(directory).join(format!("keepalived.conf.{}.{number}", std::process::id()));
    // It holds passwords, whatever `umask` leaves to others, and whatever another user has put there before under a name that is
    // easily guessed: an open file, a link, a FIFO.
    if let Err(error) = super::dumps::replace_with_mode(&path, text.buffer().as_bytes(), 0o600) {
        tracing::warn!(target: "parent", "Unable to write {}: {}", path.display(), words::os(&error));
    }
}

/// As [`read`], and says so where that takes long: a script or an include may be on a file system that does not answer, and from
/// outside nothing else would be seen than that nothing happens.
pub fn read_telling(options: &Options) -> (Option<Spec>, Diagnostics) {
    let (end, ended) = std::sync::mpsc::sync_channel::<()>(0);
    let path = options.config.display().to_string();
    let told = threads::start("aside", move || {
        if ended.recv_timeout(LONG) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!(
                target: "parent",
                "{path} is still being read: a file system or a name server that it needs does not answer"
            );
        }
    });
    let read = read(options);
    drop((end, told));
    read
}

/// `-i`, or the host name up to the first dot.
pub fn config_id(options: &Options) -> String {
    options.config_id.clone().unwrap_or_else(|| {
        let host = nix::unistd::gethostname().unwrap_or_default();
        let host = host.to_string_lossy();
        host.split('.').next().unwrap_or("").to_owned()
    })
}

/// What is left of a configuration when parts of the daemon are switched off (`-P`, `-C`, `-B`, `-s`), for as long as it runs:
/// gathered by another thread than the one that read it, out of whose part of the allocator it would not come otherwise.
pub fn within(mut spec: Spec, options: &Options) -> Spec {
    if let Some(namespace) = &options.namespace {
        if let Some(configured) = spec.daemon.net_namespace.as_deref().filter(|configured| *configured != namespace) {
            tracing::info!(
                target: "parent",
                "Overriding config net_namespace '{configured}' with command line namespace '{namespace}'"
            );
        }
        spec.daemon.net_namespace = Some(namespace.as_str().into());
    }
    if options.snmp && !cfg!(feature = "snmp") {
        tracing::warn!(target: "parent", "-x has no effect: vipd was built without SNMP");
    }
    if options.snmp {
        let on = &mut spec.daemon.snmp;
        (on.vrrp, on.checker, on.rfcv2, on.rfcv3) = (true, true, true, true);
    }
    if let Some(socket) = &options.snmp_socket {
        spec.daemon.snmp.socket = Some(socket.as_str().into());
    }
    of_parts(spec, options.parts).gathered()
}

/// What belongs to the subsystems that run.
fn of_parts(mut spec: Spec, parts: Parts) -> Spec {
    if !parts.vrrp {
        let Spec { daemon, balance, files, sessions, .. } = spec;
        spec = Spec { daemon, balance, files, sessions, ..Spec::default() };
        // Whom it is to follow is not here.
        let own = Arc::make_mut(&mut spec.balance);
        own.settings.sync_daemon.take_if(|sync| sync.instance.is_some());
    }
    if !parts.checkers {
        // One that follows an instance belongs to VRRP.
        let LvsSettings { sync_daemon, namespace, netlink_buffer, .. } = spec.balance.settings.clone();
        let sync_daemon = sync_daemon.filter(|sync| sync.instance.is_some());
        let settings = LvsSettings { sync_daemon, namespace, netlink_buffer, ..LvsSettings::default() };
        spec.balance = Arc::new(LvsSpec { settings, ..LvsSpec::default() });
    }
    spec
}

/// Exit code of a daemon that cannot use its configuration: 2 when an argument is missing or the whole makes no sense, 6
/// when a file is not there.
pub fn exit_code(diagnostics: &Diagnostics) -> u8 {
    match diagnostics.worst() {
        None | Some(Class::FileNotFound | Class::Include) => 6,
        Some(class) if !class.is_mistake() => 6,
        _ => 2,
    }
}

/// The reports, one a line, without colour: for logs.
pub fn plain(diagnostics: &Diagnostics) -> String {
    diagnostics.show(Style::Plain)
}

/// `reload_check_config`'s file. Nobody is waited for who should read a FIFO.
pub fn save_report(path: &str, report: &str) {
    let mut file = std::fs::OpenOptions::new();
    let file = file.write(true).create(true).truncate(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path);
    if let Err(error) = file.and_then(|mut file| file.write_all(report.as_bytes())) {
        tracing::warn!(target: "parent", "Unable to write {path}: {}", words::os(&error));
    }
}

/// `-t`: reads, shows the reports on stderr or appends them to a file, and answers the exit code.
pub fn test(options: &Options, file: Option<&Path>) -> u8 {
    let output = file.map(|path| {
        std::fs::OpenOptions::new().append(true).create(true).mode(0o644).custom_flags(libc::O_NOFOLLOW).open(path)
    });
    let mut output: Box<dyn Write> = match output {
        None => Box::new(std::io::stderr()),
        Some(Ok(file)) => Box::new(file),
        Some(Err(error)) => {
            eprintln!("Unable to open config-test log file {} - {error}", file.unwrap_or(Path::new("")).display());
            return 1;
        }
    };
    let system = LinuxSystem::new();
    let env = Env { text: text_environment(options), system: &system };
    // All of it, whatever `-P`, `-C` and `-B` say, as keepalived's test does.
    let (spec, diagnostics) = load(&options.config.to_string_lossy(), &env, &OsLoader);
    let style = if file.is_none() && std::io::stderr().is_terminal() {
        Style::Full { colour: std::env::var_os("NO_COLOR").is_none() }
    } else {
        Style::Plain
    };
    let _ = output.write_all(diagnostics.show(style).as_bytes());
    // keepalived enters the namespace before it reads the rest and ends a test with 0 when there is none; pipelines that
    // check a server's file on another machine count on that. What is wrong has been said all the same.
    let namespace = spec.as_ref().and_then(|spec| spec.daemon.net_namespace.clone());
    // The process ends here: taking a large configuration apart would be time for nothing.
    std::mem::forget(spec);
    if let Some(name) = namespace.filter(|name| !crate::kernel::namespace::path(name).exists()) {
        let _ = writeln!(
            output,
            "note: network namespace `{name}` does not exist here: the exit code is 0, as keepalived's"
        );
        return 0;
    }
    diagnostics.exit_code()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::spec::IfName;
    use crate::spec::balance::SyncDaemon;

    /// With -C there is nobody whom it could follow; with -P it follows as ever, and there are no virtual servers.
    #[test]
    fn the_sync_daemon_goes_with_the_subsystem_that_it_belongs_to() {
        let runs = |instance: Option<&str>, vrrp, checkers| {
            let sync = SyncDaemon {
                interface: IfName::new("eth0").unwrap(),
                instance: instance.map(Into::into),
                id: None,
                max_length: None,
                port: None,
                ttl: None,
                group: None,
            };
            let settings = LvsSettings { sync_daemon: Some(sync), ..LvsSettings::default() };
            let spec = Spec { balance: Arc::new(LvsSpec { settings, ..LvsSpec::default() }), ..Spec::default() };
            of_parts(spec, Parts { vrrp, checkers, bfd: true, all: false }).balance.settings.sync_daemon.is_some()
        };
        let ways = [(true, true), (false, true), (true, false)];
        assert_eq!(ways.map(|(vrrp, checkers)| runs(Some("VI"), vrrp, checkers)), [true, false, true]);
        assert_eq!(ways.map(|(vrrp, checkers)| runs(None, vrrp, checkers)), [true, true, false]);
    }
}

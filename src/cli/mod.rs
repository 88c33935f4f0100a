//! The two command lines: keepalived's flags for vipd, one verb a file for vipctl, and what each verb shows.
//!
//! This layer prints and never decides: what it shows comes from [`crate::config`], [`crate::sim`], [`crate::lab`] or
//! over the control socket of a running daemon. Every verb is a function from its arguments to an exit code; exit codes
//! are 0 for yes, 1 for no (a check that failed, a rehearsal that went wrong), 2 for "could not be asked".

pub mod alarms;
pub mod args;
pub mod check;
mod client;
mod clock;
pub mod doctor;
mod ending;
pub mod explain;
pub mod explain_server;
pub mod files;
pub mod fmt;
pub mod genhash;
mod handover;
pub mod keywords;
pub mod lab;
pub mod listen;
pub mod manual;
pub mod paint;
mod probe;
mod remote;
mod screen;
mod sealed;
pub mod servers;
mod simulate;
mod standing;
pub mod status;
mod steer;
mod table;
pub mod view;
pub mod vipd;
mod watch;

use crate::daemon::doors::socket::{Request, ServerWish};
use args::{ColourChoice, Verb, Vipctl};
use clap::Parser;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

pub use crate::lab::Trouble;

/// What a verb comes to: its exit code, or why there is none.
pub type Outcome = Result<ExitCode, Trouble>;

/// Whether the program was started by this name: vipctl and genhash are links to the daemon's program.
fn is_called(args: &[OsString], name: &str) -> bool {
    args.first().and_then(|program| Path::new(program).file_name()) == Some(OsStr::new(name))
}

/// The whole of vipctl.
pub fn vipctl() -> ExitCode {
    let args = match Vipctl::try_parse() {
        Ok(args) => args,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { 2 } else { 0 });
        }
    };
    paint::choose(match args.colour {
        ColourChoice::Auto => None,
        ColourChoice::Always => Some(true),
        ColourChoice::Never => Some(false),
    });
    match run(args.verb) {
        Ok(code) => code,
        Err(trouble) => {
            eprintln!(
                "{} {}",
                paint::Paint::stderr().bad("vipctl:"),
                crate::observe::words::unnumbered(&trouble.to_string())
            );
            if let Some(help) = &trouble.help {
                eprintln!("        {help}");
            }
            ExitCode::from(2)
        }
    }
}

fn run(verb: Verb) -> Outcome {
    match verb {
        Verb::Status(args) => steer::status(&args),
        Verb::IsMaster(args) => steer::is_master(&args),
        Verb::Watch(args) => watch::run(&args),
        Verb::Listen(args) => listen::run(&args),
        Verb::History(args) => steer::history(&args),
        Verb::Explain(args) => steer::explain(&args),
        Verb::Bfd(args) => steer::bfd(args),
        Verb::Drain(args) => handover::drain(&args),
        Verb::Undrain(which) => steer::each(which, |instance| Request::Undrain { instance }),
        Verb::Failover(which) => handover::failover(&which),
        Verb::Announce(which) => steer::each(which, |instance| Request::Announce { instance }),
        Verb::Reload(daemon) => steer::ask(&daemon, &Request::Reload),
        Verb::Upgrade(args) => steer::upgrade(args),
        Verb::Metrics(daemon) => steer::ask(&daemon, &Request::Metrics { format: Default::default() }),
        Verb::Servers(args) => servers::show(&args),
        Verb::DrainServer(args) => servers::wish_for(&args, ServerWish::Drain),
        Verb::UndrainServer(args) => servers::wish_for(&args, ServerWish::Undrain),
        Verb::WeighServer(args) => servers::weigh(&args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Probe(args) => probe::run(&args),
        Verb::Keywords(args) => keywords::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Simulate(args) => simulate::run(&args),
        Verb::Lab(args) => lab::run(&args),
        Verb::LabNode(args) => Ok(crate::lab::agent::run(&args.plan)?),
        Verb::LabWeb { name } => Ok(crate::lab::web::serve(&name)?),
        Verb::Man { page } => manual::man(page),
        Verb::Completions { shell, program } => manual::completions(shell, program),
        Verb::Fmt(args) => fmt::run(&args),
    }
}

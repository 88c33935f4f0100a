//! `vipctl doctor`: what on this machine makes virtual addresses vanish or failovers fail, each with its cure.
//!
//! A check is a function from the configuration and the machine to findings. It changes nothing, and it says only what
//! it has seen: where it could not look, it says that. The machine is asked through [`Machine`], so that every check
//! can be tried against a made-up one.

mod balance;
mod bfd;
mod elsewhere;
mod firewall;
mod machine;
mod network;
mod overheard;
mod ruleset;
mod running;
mod services;

pub use elsewhere::Question;
pub use machine::{Machine, Mounted, Ran};
pub use overheard::Overheard;
pub use running::Asked;

use super::Outcome;
use super::args::Doctor;
use super::client::Client;
use super::files::{Where, load};
use super::paint::Paint;
use super::steer;
use crate::config::report::{Class, Diagnostics, Level};
use crate::daemon::doors::socket::{Reply, Request};
use crate::observe::words;
use crate::spec::{IfName, InstanceSpec, Spec};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

/// How much a finding matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Looked at and found good.
    Good,
    /// Worth knowing.
    Note,
    /// Can lose an address or a failover one day.
    Warning,
    /// Will.
    Problem,
}

/// What one check found.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Finding {
    pub weight: Weight,
    /// Which check: a stable word for scripts.
    pub check: &'static str,
    pub what: String,
    /// What follows from it for the virtual addresses.
    pub why: Option<String>,
    /// What to do, ready to be typed.
    pub cure: Option<String>,
}

impl Finding {
    /// Without a reason and a cure yet. `check` is the name of the check that found it.
    pub fn new(weight: Weight, check: &'static str, what: impl Into<String>) -> Finding {
        Finding { weight, check, what: what.into(), why: None, cure: None }
    }
    /// The same, with what follows from it.
    pub fn why(mut self, text: impl Into<String>) -> Finding {
        self.why = Some(text.into());
        self
    }
    /// The same, with what to type.
    pub fn cure(mut self, text: impl Into<String>) -> Finding {
        self.cure = Some(text.into());
        self
    }
}

/// What the checks look at.
pub struct Case<'a> {
    pub spec: &'a Spec,
    pub machine: &'a dyn Machine,
    /// What the daemon here said, asked once.
    pub asked: Asked,
}

impl Case<'_> {
    /// Every interface that an instance sends from or puts addresses on.
    pub fn interfaces(&self) -> BTreeSet<IfName> {
        let mut names = BTreeSet::new();
        for instance in &self.spec.instances {
            names.extend(instance.interface.clone());
            names.extend(instance.claim.addresses.iter().filter_map(|a| a.interface.clone()));
        }
        names
    }
    /// The instances of the configuration; none if it cannot be used.
    pub fn instances(&self) -> &[InstanceSpec] {
        &self.spec.instances
    }
    /// A number under /proc/sys.
    pub fn sysctl(&self, name: &str) -> Option<i64> {
        self.machine.read(&format!("/proc/sys/{name}"))?.trim().parse().ok()
    }
}

type Check = fn(&Case<'_>, &mut Vec<Finding>);

/// All checks, in the order in which they are shown.
const CHECKS: &[Check] = &[
    services::configuration_is_used,
    running::what_it_says,
    overheard::masters_that_are_not_heard,
    elsewhere::addresses_that_another_has,
    running::descriptors,
    services::other_daemon,
    network::interfaces,
    running::sources,
    network::networkd,
    network::network_manager,
    network::ipv6_switched_off,
    network::reverse_path,
    network::arp_with_vmac,
    network::already_there,
    network::in_another_network,
    firewall::vrrp_may_pass,
    bfd::may_pass,
    bfd::port_is_free,
    balance::forwarding,
    balance::conntrack,
    balance::gone_servers,
    balance::arp,
    services::nonlocal_bind,
    services::clock,
    services::modules,
    services::confinement,
];

/// Runs every check.
pub fn examine(spec: &Spec, machine: &dyn Machine) -> Vec<Finding> {
    let case = Case { spec, machine, asked: machine.ask() };
    let mut findings = Vec::new();
    for check in CHECKS {
        check(&case, &mut findings);
    }
    findings
}

pub(crate) fn run(args: &Doctor) -> Outcome {
    let file = &file_of(args);
    let machine = Mounted::new(args.root.clone(), args.daemon.control.clone());
    let mut findings = Vec::new();
    // Without a file that can be used, what the daemon says and how the machine is still counts.
    let spec = match load(file, None, Where::Here) {
        Ok((spec, diagnostics)) => {
            findings.push(configuration(&file.display().to_string(), spec.is_some(), &diagnostics));
            findings.extend(script_security(&diagnostics));
            match spec {
                Some(spec) => spec,
                // What keeps it from starting may be the machine, such as an interface that is not there: taken for a
                // configuration of another machine it can still be held against this one.
                None => load(file, None, Where::Anywhere)?.0.unwrap_or_default(),
            }
        }
        Err(trouble) => {
            let what = words::unnumbered(&trouble.what).into_owned();
            let finding = Finding::new(Weight::Problem, "configuration", what);
            findings
                .push(finding.why("the daemon would not start without it").cure("name the file: vipctl doctor FILE"));
            Spec::default()
        }
    };
    findings.extend(examine(&spec, &machine));
    let worst = findings.iter().map(|f| f.weight).max().unwrap_or(Weight::Good);
    if args.json {
        steer::print(&steer::pretty(serde_json::json!({ "findings": findings })))?;
    } else {
        steer::print(&render(&findings, Paint::stdout()))?;
    }
    Ok(if worst >= Weight::Warning { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// The file to look at the machine with.
fn file_of(args: &Doctor) -> PathBuf {
    let usual = || PathBuf::from("/etc/keepalived/keepalived.conf");
    let running = || {
        let here = args.root.is_none() && !usual().exists();
        match here.then(|| Client::connect(&args.daemon).and_then(|mut client| client.ask(&Request::Hello)))? {
            Ok(Reply::Hello { config, .. }) => Some(config),
            _ => None,
        }
    };
    args.file.clone().or_else(running).unwrap_or_else(usual)
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn configuration(file: &str, usable: bool, diagnostics: &Diagnostics) -> Finding {
    let errors = diagnostics.list.iter().filter(|d| d.class.level() == Level::Error).count();
    let warnings = diagnostics.list.iter().filter(|d| d.class.level() == Level::Warning).count();
    let say = |weight, what: String| Finding::new(weight, "configuration", what).cure(format!("vipctl check {file}"));
    // Scripts without script security run all the same.
    let only_security = diagnostics.list.iter().all(|d| d.class.level() != Level::Error || d.class == Class::Security);
    match (errors, warnings) {
        (0, 0) if !usable => say(Weight::Problem, format!("{file} cannot be used: the daemon would not start with it")),
        (n, _) if !usable => {
            say(Weight::Problem, format!("{file}: {}: the daemon would not start with it", counted(n, "error")))
        }
        (0, 0) => Finding::new(Weight::Good, "configuration", format!("{file} has no mistakes")),
        (0, n) => say(Weight::Note, format!("{file}: {}", counted(n, "warning"))),
        (n, _) if only_security => say(Weight::Warning, format!("{file}: {}", counted(n, "error"))),
        (n, _) => say(Weight::Problem, format!("{file}: {}", counted(n, "error"))),
    }
}

/// Scripts that would not run: the most frequent reason for "it does not fail over". What others can read or change is said as
/// well, and runs.
fn script_security(diagnostics: &Diagnostics) -> Vec<Finding> {
    let findings = diagnostics.list.iter().filter_map(|d| {
        let path = d.message.split('`').nth(1).unwrap_or("SCRIPT");
        if d.class == Class::Security {
            let finding = Finding::new(Weight::Warning, "script-security", d.message.clone()).cure(d.help.clone()?);
            return Some(match d.message.contains("script security") {
                true => finding.why("they run, and so would one that others than root can change"),
                false => finding,
            });
        }
        let cure = if d.message.contains("belongs to uid") || d.message.contains("can be written by others") {
            format!("chown root:root {path}; chmod go-w {path}")
        } else if d.message.contains("cannot be executed by uid") {
            format!("chmod a+rx {path}")
        } else if d.message.contains("does not exist or cannot be reached") {
            format!("install it: ls -l {path}")
        } else {
            return None;
        };
        let finding = Finding::new(Weight::Problem, "script-security", d.message.clone());
        Some(finding.why("the script does not run, so what it checks or notifies does not happen").cure(cure))
    });
    findings.collect()
}

/// For people: problems first, what is good in one line each at the end.
pub fn render(findings: &[Finding], paint: Paint) -> String {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|f| std::cmp::Reverse(f.weight));
    let mut out = String::new();
    for finding in &sorted {
        let mark = match finding.weight {
            Weight::Problem => paint.bad("problem"),
            Weight::Warning => paint.careful("warning"),
            Weight::Note => paint.name("note   "),
            Weight::Good => paint.good("good   "),
        };
        out += &format!("{mark}  {}\n", finding.what);
        if let Some(why) = &finding.why {
            out += &format!("         {why}\n");
        }
        if let Some(cure) = &finding.cure {
            let mut label = "cure: ";
            for line in cure.lines() {
                out += &format!("         {}{line}\n", paint.dim(label));
                label = "      ";
            }
        }
    }
    let count = |weight| findings.iter().filter(|f| f.weight == weight).count();
    let (problems, warnings) = (count(Weight::Problem), count(Weight::Warning));
    out += &match (problems, warnings) {
        (0, 0) => "\nNothing stands in the way of a failover.\n".to_owned(),
        _ => format!("\n{}, {}.\n", counted(problems, "problem"), counted(warnings, "warning")),
    };
    out
}

//! `vipctl drain` and `vipctl failover`: hand over, wait, and say who took over after how long. When nobody did, it is taken
//! back, and the exit code says so.

use super::Outcome;
use super::args::{Daemon, Drain, Which};
use super::client::{Client, unexpected};
use super::ending::{Held, died_of};
use super::steer::print;
use super::view::{Instance, Snapshot, span};
use crate::daemon::doors::socket::{Reply, Request};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Between two looks at the daemon.
const LOOK: Duration = Duration::from_millis(50);
/// Beyond the time that the protocol takes: a busy machine, many addresses.
const MORE: f64 = 3.0;

/// Hand over and stay behind.
///
/// # Errors
/// The daemon cannot be asked, or knows no such instance.
pub fn drain(args: &Drain) -> Outcome {
    let Which { instance, daemon } = &args.which;
    let request = Request::Drain { instance: instance.clone(), keep: args.keep };
    let how = if args.keep { "; it stays drained over restarts and reboots, until `vipctl undrain`" } else { "" };
    hand_over(daemon, instance.as_deref(), &request, how)
}

/// Hand over once.
///
/// # Errors
/// As [`drain`].
pub fn failover(which: &Which) -> Outcome {
    let request = Request::Failover { instance: which.instance.clone() };
    hand_over(&which.daemon, which.instance.as_deref(), &request, "")
}

/// Where one master that handed over has come to.
enum Fate {
    Waiting,
    TakenBy(String),
    /// It is MASTER again, or nobody was heard for too long.
    Nobody,
}

fn hand_over(daemon: &Daemon, name: Option<&str>, request: &Request, how: &str) -> Outcome {
    let mut client = Client::connect_on(daemon)?;
    let (_, before) = client.status()?;
    let concerned = concerned(&before, name);
    let masters: Vec<Instance> = concerned.iter().filter(|i| is_open(i)).map(|i| (*i).clone()).collect();
    let drained_before: Vec<String> = concerned.iter().filter(|i| i.drained).map(|i| i.name.clone()).collect();
    // Whoever loses patience while it waits wants to have it as it was.
    let signals = Held::new()?;
    match client.ask_on(request)? {
        Reply::Done { .. } => {}
        other => return Err(unexpected(&other)),
    }
    if masters.is_empty() {
        let then = match request {
            Request::Drain { keep: false, .. } => {
                "; it stays backup while another router lives, until `vipctl undrain`"
            }
            _ => how,
        };
        return print(&format!("nothing to hand over: {}{then}\n", standing(&concerned)));
    }
    let begun = Instant::now();
    // Its own patience ends after two of its intervals; then the protocol's whole down timer at most.
    let limit = masters.iter().map(|i| i.master_down.max(3.0 * i.interval)).fold(0.0, f64::max) + MORE;
    let mut open: Vec<&Instance> = masters.iter().collect();
    let (mut out, mut failed) = (String::new(), Vec::new());
    let mut ended = None;
    while !open.is_empty() {
        let late = begun.elapsed().as_secs_f64() > limit;
        let (_, now) = client.status()?;
        open.retain(|was| match fate(was, &now, late) {
            Fate::Waiting => true,
            Fate::TakenBy(address) => {
                let took = span(begun.elapsed().as_secs_f64());
                out += &format!("{}: {address} took over after {took}{how}\n", was.name);
                false
            }
            Fate::Nobody => {
                failed.push(was.name.clone());
                false
            }
        });
        if !open.is_empty() {
            ended = signals.within(LOOK);
        }
        if ended.is_some() {
            failed.extend(open.drain(..).map(|i| i.name.clone()));
        }
    }
    print(&out)?;
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let took = span(begun.elapsed().as_secs_f64());
    for name in &failed {
        let then = if !matches!(request, Request::Drain { .. }) {
            if ended.is_some() { "it takes it back when nobody does" } else { "it is master here again" }
        } else if !drained_before.contains(name) {
            client.ask_on(&Request::Undrain { instance: Some(name.clone()) })?;
            "it is taken back"
        } else if client.status()?.1.instances.iter().any(|i| i.name == *name && i.drained) {
            "it stays drained, as before"
        } else {
            "it has been taken back"
        };
        eprintln!("vipctl: nobody took {name} over within {took}: {then}");
    }
    if let Some(signal) = ended {
        return Ok(died_of(signal));
    }
    eprintln!("        is another server of it running? `vipctl status` there; `vipctl explain` here");
    Ok(ExitCode::FAILURE)
}

/// One instance and the rest of its group, or all.
fn concerned<'s>(snapshot: &'s Snapshot, name: Option<&str>) -> Vec<&'s Instance> {
    let Some(name) = name else { return snapshot.instances.iter().collect() };
    let group = snapshot.groups.iter().find(|group| group.members.iter().any(|member| member == name));
    let group = group.or_else(|| snapshot.group(name));
    let wanted = |i: &&Instance| i.name == name || group.is_some_and(|group| group.members.contains(&i.name));
    snapshot.instances.iter().filter(wanted).collect()
}

/// Somebody is to take it over, and nobody has yet: MASTER, or drained by another hand-over that still waits.
fn is_open(i: &Instance) -> bool {
    i.state == "MASTER" || (i.state == "BACKUP" && i.drained && taker(i).is_none())
}

/// The other server that speaks for it since it was given up.
fn taker(is: &Instance) -> Option<String> {
    let master = is.master.as_ref().filter(|master| !master.ourselves && !master.silent)?;
    master.last_heard.filter(|at| *at >= is.since)?;
    Some(master.address.clone().unwrap_or_else(|| "another server".into()))
}

fn fate(was: &Instance, now: &Snapshot, late: bool) -> Fate {
    let Some(is) = now.instances.iter().find(|i| i.name == was.name) else { return Fate::Nobody };
    if is.state == "MASTER" {
        // Still, or again.
        return if is.since > was.since || late { Fate::Nobody } else { Fate::Waiting };
    }
    match taker(is) {
        Some(address) => Fate::TakenBy(address),
        None if late => Fate::Nobody,
        None => Fate::Waiting,
    }
}

/// "VI_1 is BACKUP, 10.0.0.2 is master", of the first few.
fn standing(concerned: &[&Instance]) -> String {
    let one = |i: &&Instance| match i.master.as_ref().and_then(|master| master.address.as_deref()) {
        Some(address) => format!("{} is {}, {address} is master", i.name, i.state),
        None => format!("{} is {}", i.name, i.state),
    };
    concerned.iter().take(4).map(one).collect::<Vec<_>>().join("; ")
}

//! One server of the lab, from the inside: `vipctl lab-node PLAN`.
//!
//! The first half enters the network namespace and leaves the machine's mounts, host name and processes behind; the
//! second half is process 1 of what is then a machine of its own: /etc/keepalived holds the files of the rehearsal,
//! owned by root as they would be installed, /run is empty, `pgrep` sees only this server. It starts and signals
//! programs as it is told and tells what they say. When its stdin ends it ends, and the kernel ends everything inside.

use super::Trouble;
use super::place;
use super::web;
use super::words::{NodePlan, Order, Who, Word};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, sethostname};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Runs the agent until its stdin ends.
///
/// # Errors
/// The plan cannot be read, or the node cannot be made.
pub fn run(plan: &str) -> Result<ExitCode, Trouble> {
    let plan: NodePlan = serde_json::from_str(plan).map_err(|e| Trouble::new(format!("the plan of the node: {e}")))?;
    if plan.inside { inside(&plan) } else { outside(plan) }
}

/// First half: into the namespaces, then start the second half as their process 1.
fn outside(mut plan: NodePlan) -> Result<ExitCode, Trouble> {
    let netns = std::fs::File::open(&plan.netns)
        .map_err(|e| Trouble::new(format!("network namespace {}: {e}", plan.netns.display())))?;
    setns(netns, CloneFlags::CLONE_NEWNET)
        .map_err(|e| Trouble::new(format!("cannot enter the network namespace: {e}")))?;
    let private =
        CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC;
    unshare(private).map_err(|e| Trouble::new(format!("cannot make namespaces: {e}")))?;
    plan.inside = true;
    let text = serde_json::to_string(&plan).map_err(|e| Trouble::new(e.to_string()))?;
    let status = command(web::OWN).arg("lab-node").arg(text).status()?;
    Ok(ExitCode::from(status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1)))
}

/// Second half: process 1.
fn inside(plan: &NodePlan) -> Result<ExitCode, Trouble> {
    furnish(plan)?;
    let house = Arc::new(Mutex::new(House::default()));
    std::thread::spawn({
        let house = Arc::clone(&house);
        move || reap(&house)
    });
    super::addresses::watch(|address, present| tell(&Word::Address { address, present }))?;
    tell(&Word::Ready);
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        match serde_json::from_str::<Order>(&line) {
            Ok(order) => {
                if let Err(trouble) = carry_out(order, &house) {
                    tell(&Word::Trouble { text: trouble.what });
                }
            }
            Err(e) => tell(&Word::Trouble { text: format!("an order is not understood: {e}") }),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The mounts and the name of a machine of its own.
fn furnish(plan: &NodePlan) -> Result<(), Trouble> {
    let wrong = |what: &'static str| move |e: nix::Error| Trouble::new(format!("{what}: {e}"));
    sethostname(&plan.name).map_err(wrong("host name"))?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(wrong("private mounts"))?;
    // What the lab needs from the machine's own /run is read before that is hidden.
    let config = std::fs::read(&plan.config).map_err(|e| Trouble::new(format!("{}: {e}", plan.config.display())))?;
    let beside: Vec<_> = plan.beside.iter().map(|directory| place::gather(directory)).collect();
    let installed = place::gather(Path::new("/etc/keepalived"));
    let places: Vec<_> = plan.places.iter().map(|(from, to)| (place::gather(from), to)).collect();
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>).map_err(wrong("/proc"))?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755")).map_err(wrong("/run"))?;
    std::fs::create_dir_all("/run/lab/tmp")?;
    std::fs::create_dir_all("/run/lock")?;
    let mut keepalived = installed;
    beside.into_iter().for_each(|files| keepalived.extend(files));
    keepalived.insert("keepalived.conf".into(), place::File { mode: 0o644, bytes: config });
    place::furnish(Path::new("/etc/keepalived"), &keepalived)?;
    for (files, to) in places {
        place::furnish(to, &files)?;
    }
    std::fs::write("/run/lab/fail", "#!/bin/sh\nexit 1\n")?;
    std::fs::set_permissions("/run/lab/fail", std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(())
}

/// Everything that runs, by pid.
#[derive(Default)]
struct House {
    running: BTreeMap<i32, Who>,
}

fn lock(house: &Mutex<House>) -> MutexGuard<'_, House> {
    house.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn carry_out(order: Order, house: &Mutex<House>) -> Result<(), Trouble> {
    match order {
        Order::Start { who, argv, environment } => start(who, &argv, &environment, house),
        Order::Signal { who, signal } => {
            let signal = Signal::try_from(signal).map_err(|e| Trouble::new(format!("signal: {e}")))?;
            for (pid, _) in lock(house).running.iter().filter(|(_, w)| **w == who) {
                let _ = killpg(Pid::from_raw(*pid), signal);
            }
            Ok(())
        }
        Order::Write { path, text } => Ok(std::fs::write(path, text)?),
        Order::Break { path } => {
            let real = path.canonicalize()?;
            mount(Some("/run/lab/fail"), &real, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .map_err(|e| Trouble::new(format!("{}: {e}", real.display())))
        }
        Order::Mend { path } => {
            let real: PathBuf = path.canonicalize()?;
            umount2(&real, MntFlags::MNT_DETACH).map_err(|e| Trouble::new(format!("{}: {e}", real.display())))
        }
    }
}

/// This program knows the lab's verbs only by vipctl's name.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    if program == web::OWN {
        command.arg0("vipctl");
    }
    command
}

fn start(
    who: Who,
    argv: &[String],
    environment: &BTreeMap<String, String>,
    house: &Mutex<House>,
) -> Result<(), Trouble> {
    let Some((program, rest)) = argv.split_first() else { return Err(Trouble::new("nothing to start")) };
    // Held over the start: the thread that reaps must not take the end of a program that is not in the list yet.
    let mut house = lock(house);
    let mut child = command(program)
        .args(rest)
        .envs(environment)
        .env("TMPDIR", "/run/lab/tmp")
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| Trouble::new(format!("{program} cannot be started: {e}")))?;
    if let Ok(pid) = i32::try_from(child.id()) {
        house.running.insert(pid, who);
    }
    if let Some(out) = child.stdout.take() {
        std::thread::spawn(move || lines(who, out));
    }
    if let Some(err) = child.stderr.take() {
        std::thread::spawn(move || lines(who, err));
    }
    Ok(())
}

fn lines(who: Who, from: impl Read) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        tell(&Word::Line { who, text: String::from_utf8_lossy(&line).trim_end().to_owned() });
        line.clear();
    }
}

/// Process 1 reaps: its own children and every orphan of theirs.
fn reap(house: &Mutex<House>) {
    loop {
        let ended = {
            let mut house = lock(house);
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => Some((house.running.remove(&pid.as_raw()), Some(code), None)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    Some((house.running.remove(&pid.as_raw()), None, Some(signal as i32)))
                }
                _ => None,
            }
        };
        match ended {
            Some((Some(who), code, signal)) => tell(&Word::Ended { who, code, signal }),
            Some((None, ..)) => {}
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn tell(word: &Word) {
    let Ok(mut line) = serde_json::to_vec(word) else { return };
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    // When nobody listens the stdin has ended too, and with it this process.
    let _ = out.write_all(&line).and_then(|()| out.flush());
}

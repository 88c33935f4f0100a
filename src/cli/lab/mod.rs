//! `vipctl lab`: the real daemon in network namespaces, a client, a failure, a recovery, and a verdict.
//!
//! Reads the arguments and the configurations, and prints; the lab itself is [`crate::lab`].

mod timeline;
mod verdict;

use super::Outcome;
use super::Trouble;
use super::args::Lab;
use super::files::{Where, load};
use super::paint::Paint;
use super::steer;
use crate::kernel::ipvs::Ipvs;
use crate::lab::Audience as _;
use crate::lab::plan::{Checks, Plan, Server};
use crate::lab::rehearsal::Rehearsal;
use crate::lab::stage::Stage;
use crate::lab::verdict::Verdict;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use timeline::Timeline;

pub(crate) fn run(args: &Lab) -> Outcome {
    if !nix::unistd::geteuid().is_root() {
        return Err(Trouble::new("the lab makes network namespaces, and that needs root").help(
            "run it with sudo, or inside `unshare --user --map-root-user`, which suffices where scripts run as root",
        ));
    }
    let plan = Plan::new(servers(&args.files)?)?;
    let daemon = daemon(args)?;
    if let Some(directory) = &args.logs {
        std::fs::create_dir_all(directory)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let verdict = runtime.block_on(async {
        tokio::select! {
            verdict = rehearse(args, plan, daemon) => verdict,
            _ = tokio::signal::ctrl_c() => Err(Trouble::new("interrupted")),
        }
    })?;
    if args.json {
        steer::print(&steer::json_line(verdict::json(&verdict)))?;
    } else {
        let paint = Paint::stdout();
        let end = if verdict.good() {
            paint.good("The rehearsal went well.")
        } else {
            paint.bad("The rehearsal went wrong.")
        };
        steer::print(&format!("\n{}{end}\n", verdict::sentences(&verdict)))?;
    }
    Ok(if verdict.good() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

async fn rehearse(args: &Lab, plan: Plan, daemon: PathBuf) -> Result<Verdict, Trouble> {
    let mut timeline = Timeline::new(args.json, plan.servers.iter().map(|s| s.name.len()));
    let plan = balancing(plan, &daemon, &mut timeline).await;
    let vipctl = PathBuf::from("/proc/self/exe");
    let stage = Stage { plan, daemon, vipctl, logs: args.logs.clone() };
    let mut lab = stage.build(Box::new(timeline)).await?;
    let verdict = lab.play(args.fail.as_ref()).await?;
    if args.hold {
        hold(&mut lab).await?;
    }
    Ok(verdict)
}

/// What this kernel and this daemon can do with virtual servers, and says so.
async fn balancing(mut plan: Plan, daemon: &Path, timeline: &mut Timeline) -> Plan {
    if plan.checks == Checks::Left {
        return plan;
    }
    let mut say = |text: &str| timeline.note(Instant::now(), "lab", text);
    // What it finds of its servers is asked of the daemon itself, and only vipd answers.
    if daemon.file_name().is_none_or(|name| name != "vipd") {
        say(
            "virtual servers are left out (-P): which real servers are good is asked of vipd, and this is another daemon",
        );
        plan.checks = Checks::Left;
        return plan;
    }
    if !Ipvs::is_there().await {
        say(
            "this kernel has no IPVS and balances nothing: the director itself answers the client. The checks of real servers \
             are real, and it is told who would get the traffic",
        );
    } else if !plan.balance() {
        say(
            "virtual servers are left out (-P): every port of the virtual address is balanced, so the client could not tell the \
             directors apart",
        );
        plan.checks = Checks::Left;
        return plan;
    } else {
        say(
            "this kernel balances: the client asks the virtual servers too, and every real server answers with its name",
        );
    }
    plan.farm.notes.iter().for_each(|note| say(note));
    plan
}

/// Keeps the lab until Ctrl-C.
async fn hold(lab: &mut Rehearsal) -> Result<(), Trouble> {
    for (name, pid) in lab.servers() {
        let Some(pid) = pid else { continue };
        println!("{name}: nsenter --target $(pgrep -P {pid}) --net --mount --pid --uts");
    }
    println!("Ctrl-C ends the lab.");
    loop {
        lab.pass(Duration::from_secs(3600)).await?;
    }
}

/// Reads the configurations: files as they are given; of a directory every configuration in it or in its
/// subdirectories that has a VRRP instance, the highest priority first.
fn servers(files: &[PathBuf]) -> Result<Vec<Server>, Trouble> {
    let mut found = Vec::new();
    for path in files {
        let inside = if path.is_dir() { configurations(path) } else { vec![path.clone()] };
        let mut some = Vec::new();
        for config in inside {
            let config = config.canonicalize().map_err(|e| Trouble::new(format!("{}: {e}", config.display())))?;
            let (spec, diagnostics) = load(&config, None, Where::Anywhere)?;
            let Some(spec) = spec else {
                let first = diagnostics.list.first().map(|d| d.message.clone()).unwrap_or_default();
                return Err(Trouble::new(format!("{}: {first}", config.display()))
                    .help(format!("vipctl check {}", config.display())));
            };
            if !path.is_dir() || !spec.instances.is_empty() {
                some.push(Server { name: String::new(), config, spec });
            }
        }
        if path.is_dir() {
            some.sort_by_key(|s| std::cmp::Reverse(s.spec.instances.first().map(|i| i.priority)));
        }
        found.extend(some);
    }
    if found.is_empty() {
        return Err(Trouble::new("no configuration with a VRRP instance was found"));
    }
    name(&mut found);
    Ok(found)
}

/// `*.conf` in a directory and one level below that speak of an instance.
fn configurations(directory: &Path) -> Vec<PathBuf> {
    let list = |d: &Path| -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> =
            std::fs::read_dir(d).map(|l| l.flatten().map(|e| e.path()).collect()).unwrap_or_default();
        all.sort();
        all
    };
    let mut found = Vec::new();
    for path in list(directory) {
        let deeper = if path.is_dir() { list(&path) } else { vec![path] };
        found.extend(deeper.into_iter().filter(|p| p.extension().is_some_and(|e| e == "conf")));
    }
    found.retain(|p| {
        std::fs::read_to_string(p).is_ok_and(|text| text.contains("vrrp_instance") || text.contains("include"))
    });
    found
}

/// A server is called like its file, or like the directory where the file is called keepalived.conf.
fn name(servers: &mut [Server]) {
    let mut taken: Vec<String> = Vec::new();
    for server in servers {
        let stem = |p: &Path| p.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let mut name = stem(&server.config);
        if name == "keepalived" {
            name = server.config.parent().map(stem).unwrap_or(name);
        }
        let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(60).collect();
        let mut unique = plain.clone();
        let mut number = 2;
        while taken.contains(&unique) {
            unique = format!("{plain}-{number}");
            number += 1;
        }
        taken.push(unique.clone());
        server.name = unique;
    }
}

/// The daemon to run: as given, or vipd beside this program; with --build it is built first.
fn daemon(args: &Lab) -> Result<PathBuf, Trouble> {
    let beside = std::env::current_exe()?.with_file_name("vipd");
    if args.build && args.daemon.is_none() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = std::process::Command::new(cargo);
        build.args(["build", "--quiet", "--locked", "--bin", "vipd"]);
        if beside.parent().is_some_and(|d| d.ends_with("release")) {
            build.arg("--release");
        }
        if !build.status().is_ok_and(|s| s.success()) {
            return Err(Trouble::new("vipd could not be built"));
        }
    }
    let path = match &args.daemon {
        Some(path) if path.components().count() == 1 => search(path).unwrap_or_else(|| path.clone()),
        Some(path) => path.clone(),
        None if beside.is_file() => beside,
        None => search(Path::new("vipd")).unwrap_or(beside),
    };
    path.canonicalize().map_err(|e| {
        Trouble::new(format!("the daemon {}: {e}", path.display())).help("--daemon PATH says which program to run")
    })
}

fn search(name: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).collect::<Vec<_>>();
    places.into_iter().map(|d| d.join(name)).find(|p| p.is_file())
}

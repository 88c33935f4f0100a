//! `vipctl lab`: the real daemon in network namespaces, a client, a failure, a recovery, and a verdict.
//!
//! Each server is a machine of its own as far as programs can see: network, processes, host name, /etc/keepalived, /run
//! ([`agent`]). The address plan comes out of the configurations ([`plan`]), and so does who should hold the address
//! ([`expect`]); the verdict is by what the client got ([`rehearsal`]). Nothing outlives the rehearsal.

mod addresses;
pub mod agent;
mod client;
pub mod expect;
mod place;
pub mod plan;
mod rehearsal;
mod server;
mod timeline;
mod verdict;
pub mod web;
mod wires;
mod words;

use super::args::Lab;
use super::files::{Where, load};
use super::paint::Paint;
use super::{Outcome, Trouble, steer};
use expect::Damage;
use plan::{Plan, Server};
use rehearsal::Rehearsal;
use server::Machine;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use timeline::Timeline;
use verdict::Verdict;
use wires::Net;
use words::NodePlan;

pub fn run(args: &Lab) -> Outcome {
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
        steer::print(&format!("{}\n", verdict.json()))?;
    } else {
        let paint = Paint::stdout();
        let end = if verdict.good() {
            paint.good("The rehearsal went well.")
        } else {
            paint.bad("The rehearsal went wrong.")
        };
        steer::print(&format!("\n{}{end}\n", verdict.sentences()))?;
    }
    Ok(if verdict.good() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

async fn rehearse(args: &Lab, plan: Plan, daemon: PathBuf) -> Result<Verdict, Trouble> {
    let (mut lab, client) = build(args, plan, daemon).await?;
    let names: Vec<String> = lab.machines.iter().map(|m| m.name.clone()).collect();
    let mut verdict = Verdict { names, address: lab.plan.target.ip().to_string(), ..Verdict::default() };
    lab.start().await?;
    let started = lab.settle(None).await?;
    let holder = started.holder;
    let good = started.good();
    verdict.start = Some(started);
    if let (Some(how), Some(at), true) = (&args.fail, holder, good) {
        verdict.failed_server = at;
        let moment = Instant::now();
        verdict.deed = Some(lab.fail(at, how).await?);
        let mut step = lab.settle(holder).await?;
        step.after = step.after.map(|a| a + step.start.saturating_duration_since(moment));
        let after = step.holder;
        // The last requests of the step must have had their time to fail.
        lab.pass(Duration::from_millis(1200)).await?;
        let mended = Instant::now();
        verdict.takeover = Some((step, lab.gap(moment, mended)));
        lab.mend(at, how).await?;
        let step = lab.settle(after).await?;
        lab.pass(Duration::from_millis(1200)).await?;
        verdict.recovery = Some((step, lab.gap(mended, Instant::now())));
    }
    if args.hold {
        hold(&mut lab).await?;
    }
    drop(client);
    Ok(verdict)
}

/// Keeps the lab until Ctrl-C.
async fn hold(lab: &mut Rehearsal) -> Result<(), Trouble> {
    for machine in &lab.machines {
        let Some(pid) = machine.pid() else { continue };
        println!("{}: nsenter --target $(pgrep -P {pid}) --net --mount --pid --uts", machine.name);
    }
    println!("Ctrl-C ends the lab.");
    loop {
        lab.pass(Duration::from_secs(3600)).await?;
    }
}

/// The program of an example that starts a server's services in the lab, instead of a web server; called with the
/// server's name, it stays while they run.
fn services(directory: &Path) -> Option<PathBuf> {
    let inside = PathBuf::from("/etc/keepalived/lab-services");
    beside(directory).iter().any(|d| d.join("lab-services").is_file()).then_some(inside)
}

/// Where the files of a server's /etc/keepalived are: what all servers have in `common`, then its own.
fn beside(directory: &Path) -> Vec<PathBuf> {
    vec![directory.with_file_name("common"), directory.join("common"), directory.to_path_buf()]
}

/// Makes the namespaces, the cables, the agents and the client. What comes back second keeps the client's place alive.
async fn build(args: &Lab, plan: Plan, daemon: PathBuf) -> Result<(Rehearsal, Net), Trouble> {
    let (tell, facts) = tokio::sync::mpsc::unbounded_channel();
    let switch = Net::new().await?;
    let mut bridges = Vec::new();
    for number in 0..plan.segments.len() {
        bridges.push(switch.bridge(&format!("br{number}")).await?);
    }
    let mut machines = Vec::new();
    let mut webs = Vec::new();
    for (at, server) in plan.servers.iter().enumerate() {
        let net = Net::new().await?;
        let mut cables = Vec::new();
        for (segment, own) in &plan.ports[at] {
            let port = format!("p{at}s{segment}");
            cables.push(switch.plug(bridges[*segment], &net, &plan.segments[*segment], own, &port).await?);
        }
        let directory = server.config.parent().map(Path::to_path_buf).unwrap_or_default();
        let site = web::site_beside(&directory).and_then(|path| std::fs::read_to_string(path).ok());
        let pages = directory.join("www");
        let places = site.as_deref().and_then(web::root_of).filter(|_| pages.is_dir()).map(|root| (pages, root));
        webs.push(web::plan(&server.name, site.as_deref(), services(&directory)));
        let node = NodePlan {
            name: server.name.clone(),
            netns: net.path(),
            config: server.config.clone(),
            beside: beside(&directory),
            places: places.into_iter().collect(),
            inside: false,
        };
        let log = args.logs.as_ref().map(|directory| directory.join(format!("{}.log", server.name)));
        machines.push(Machine::start(at, net, cables, &node, log, tell.clone())?);
    }
    let client = Net::new().await?;
    for (segment, own) in &plan.client {
        switch.plug(bridges[*segment], &client, &format!("client{segment}"), own, &format!("pcs{segment}")).await?;
    }
    client::start(client.door()?, plan.target, tell)?;
    let timeline = Timeline::new(args.json, machines.iter().map(|m| m.name.len()));
    let answers = Vec::new();
    let damage = Damage::default();
    Ok((Rehearsal { plan, machines, switch, facts, timeline, answers, daemon, webs, damage }, client))
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

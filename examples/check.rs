//! `keepalived -t -f FILE` with this language: prints the diagnostics and ends with the exit code.
//!
//! A bench tool for comparing with keepalived over many files; the daemon's own `-t` is the real thing.

use std::collections::BTreeMap;
use std::process::ExitCode;
use vipd::config::Env;
use vipd::config::load;
use vipd::config::text::expand::TextEnv;
use vipd::kernel::{files::OsLoader, system::LinuxSystem};

fn main() -> ExitCode {
    let mut root = "/etc/keepalived/keepalived.conf".to_owned();
    let system = LinuxSystem::new();
    let host = nix::unistd::gethostname().ok().and_then(|h| h.into_string().ok()).unwrap_or_default();
    let mut text = TextEnv {
        config_id: host.split('.').next().unwrap_or("").to_owned(),
        environment: std::env::vars().collect::<BTreeMap<_, _>>(),
        random_seed: 1,
        ..TextEnv::default()
    };
    let mut spec = false;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-f" => root = args.next().unwrap_or_default(),
            "-i" => text.config_id = args.next().unwrap_or_default(),
            "-e" => text.strict_includes = true,
            "--spec" => spec = true,
            _ => {}
        }
    }
    let env = Env { text, system: &system };
    let before = std::time::Instant::now();
    let (found, diagnostics) = load(&root, &env, &OsLoader);
    let took = before.elapsed();
    for d in &diagnostics.list {
        let place = d.span.map(|span| {
            let (span, _) = diagnostics.sources.resolve(span);
            let (line, column) = diagnostics.sources.position(span);
            let name = diagnostics.sources.get(span.file).map_or("?".into(), |s| s.name.clone());
            format!("{name}:{line}:{column}: ")
        });
        let label = d.label.as_ref().map_or(String::new(), |l| format!(" ({l})"));
        println!("{}{:?}: {}{label}", place.unwrap_or_default(), d.class, d.message);
        for (span, text) in &d.related {
            let (span, _) = diagnostics.sources.resolve(*span);
            println!("   related line {}: {text}", diagnostics.sources.position(span).0);
        }
    }
    if spec {
        println!("{found:#?}");
    }
    eprintln!("exit {} {} in {took:?}", diagnostics.exit_code(), if found.is_some() { "runs" } else { "does not run" });
    ExitCode::from(diagnostics.exit_code())
}

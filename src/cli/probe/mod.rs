//! `vipctl probe`: makes the checks of a configuration once each, beside any daemon, and shows what was said.
//!
//! The checks are those that the daemon makes ([`crate::probe`]), from this machine, with source, mark and interface as
//! configured; all pages of HTTP_GET and SSL_GET one after the other without a pause. Nothing follows from what is found: no
//! table is changed, nobody is notified. What follows a file or a BFD session is named and not asked.

mod program;
mod show;

use super::args::Probe as Args;
use super::files::{Where, load};
use super::paint::Paint;
use super::{Outcome, Trouble, steer};
use crate::balance::io::{Attempt, Finding};
use crate::config::report::Style;
use crate::kernel::probes::{self, Manner, Prober};
use crate::probe::{Plan, Transcript};
use crate::spec::balance::{Checker, CheckerKind, LvsSpec, RealServer, VirtualServer};
use crate::time::Interval;
use std::process::ExitCode;

/// Descriptors for other ends than probes: standard streams, the runtime, programs.
const OTHERS: usize = 64;

/// One check and what came of it.
#[derive(Debug)]
struct Asked<'a> {
    service: &'a VirtualServer,
    server: &'a RealServer,
    checker: &'a Checker,
    /// `None`: there is nothing to ask.
    outcome: Option<Heard>,
}

#[derive(Debug)]
struct Heard {
    finding: Finding,
    took: Interval,
    /// Where it ended, for checks with several pages.
    page: usize,
    transcript: Transcript,
}

/// Exit code 0: everything that was asked is good. 1: something is bad. 2: something could not be asked.
pub fn run(args: &Args) -> Outcome {
    let (spec, diagnostics) = load(&args.file, args.config_id.as_deref(), Where::Here)?;
    eprint!("{}", diagnostics.show(Style::Full { colour: Paint::stderr().on() }));
    let file = args.file.display();
    let Some(spec) = spec else {
        return Err(Trouble::new(format!("{file} cannot be run, so there is nothing to probe")));
    };
    let mut all = chosen(&spec.balance, args.server.as_deref());
    if all.is_empty() {
        return Err(Trouble::new(match &args.server {
            Some(server) => format!("no server {server} with checks in {file}"),
            None => format!("no real_server with checks in {file}"),
        }));
    }
    let tls = probes::tls(spec.balance.tls.as_ref()).map_err(|why| Trouble::new(format!("SSL: {why}")))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Trouble::new(format!("no runtime: {error}")))?;
    runtime.block_on(async {
        let prober = Prober::new(probes::make_room(OTHERS));
        let asking = all.iter_mut().map(|asked| async {
            asked.outcome = ask(&prober, asked.checker, &tls).await;
        });
        futures_util::future::join_all(asking).await;
    });
    let text = if args.json { show::json(&all) } else { show::text(&all, Paint::stdout()) };
    steer::print(&text)?;
    let any = |wanted: fn(&Finding) -> bool| {
        all.iter().filter_map(|asked| asked.outcome.as_ref()).any(|heard| wanted(&heard.finding))
    };
    let bad = any(|finding| matches!(finding, Finding::Bad(_)));
    let not_made = any(|finding| matches!(finding, Finding::NotMade(_)));
    Ok(ExitCode::from(if not_made { 2 } else { u8::from(bad) }))
}

async fn ask(prober: &Prober, checker: &Checker, tls: &crate::probe::tls::Client) -> Option<Heard> {
    if let CheckerKind::Misc { run, timeout, dynamic } = &checker.kind {
        return Some(program::run(run.as_ref()?, *timeout, *dynamic).await);
    }
    let plan = Plan::new(checker, tls)?;
    let report = prober.probe(&plan, Attempt::default(), Manner { page: None, transcript: true }).await;
    let probes::Report { finding, took, page, transcript, .. } = report;
    Some(Heard { finding, took, page, transcript })
}

/// The checks of all servers, or of those that `name` means: address and port, an address, or a virtual server.
fn chosen<'a>(spec: &'a LvsSpec, name: Option<&str>) -> Vec<Asked<'a>> {
    let mut all = Vec::new();
    for service in &spec.services {
        for server in &service.servers {
            let endpoint = server.endpoint;
            let meant = name.is_none_or(|name| {
                [endpoint.to_string(), endpoint.address.to_string(), service.target.to_string()]
                    .contains(&name.to_owned())
            });
            if meant {
                all.extend(server.checkers.iter().map(|checker| Asked { service, server, checker, outcome: None }));
            }
        }
    }
    all
}

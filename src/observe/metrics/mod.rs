//! Metrics for Prometheus: what the daemon knows of itself as a page of numbers with names and labels.
//!
//! A pure function of what was copied for it ([`Sources`]): a scrape never touches an engine. The page comes in two forms,
//! Prometheus' text format 0.0.4 and OpenMetrics 1.0 ([`Format`]); `page` knows how they differ, and nobody else does.
//! `vrrp`, `bfd`, `balance` and `daemon` hold the families of vipd's own names, which begin with `vipd_`; `exporters` the names that the
//! two public exporters for keepalived gave to the same numbers ([`Names`]). Every family is declared even when it has no
//! sample, so that a page also says what there could be.

mod balance;
mod bfd;
mod daemon;
mod exporters;
mod page;
mod vrrp;

use super::tally::Counts;
use crate::balance::io::Traffic;
use crate::balance::snapshot::Snapshot as Services;
use crate::bfd::snapshot::Snapshot as Sessions;
use crate::spec::Spec;
use crate::vrrp::snapshot::Snapshot;
use page::Page;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Content type of Prometheus' text format.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Content type of OpenMetrics.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How the page is written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Prometheus' text format 0.0.4: what everything reads that reads metrics at all.
    #[default]
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// What a client that sent this `Accept` gets (RFC 9110 §12.5.1): OpenMetrics only if it names it, and prefers it to
    /// plain text or likes both as much.
    pub fn accepted(accept: &str) -> Format {
        let (mut open, mut text) = (0.0_f32, 0.0_f32);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.trim().parse().ok());
            let quality: f32 = quality.filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0);
            match &*kind {
                "application/openmetrics-text" => open = open.max(quality),
                "text/plain" | "text/*" | "*/*" => text = text.max(quality),
                _ => {}
            }
        }
        if open > 0.0 && open >= text { Format::OpenMetrics } else { Format::Text }
    }

    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Format::Text => TEXT,
            Format::OpenMetrics => OPENMETRICS,
        }
    }
}

/// Whose names the page has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Names {
    /// vipd's own.
    #[default]
    Vipd,
    /// Those of mehdy/keepalived-exporter and of gen2brain/keepalived_exporter, which have only `keepalived_up` in common.
    Exporters,
    /// Both.
    Both,
}

impl Names {
    /// The format for a client that would take `wanted`. The exporters have counters without `_total`, which OpenMetrics
    /// forbids; they too answer everybody with text.
    #[must_use]
    pub fn format(self, wanted: Format) -> Format {
        if self == Names::Vipd { wanted } else { Format::Text }
    }
}

/// Upper bounds of the buckets of lateness, microseconds.
pub const LATENESS_BOUNDS: [u64; 10] = [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000];

/// How punctual a loop has been since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lateness {
    pub sum_us: u64,
    pub max_us: u64,
    /// Deadlines by lateness: not later than the bound and later than the one before; the last is for what was later still.
    pub buckets: [u64; LATENESS_BOUNDS.len() + 1],
}

/// What the kernel says of this process. `None`: /proc did not say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time, seconds.
    pub cpu_seconds: Option<f64>,
    /// When the process was started, seconds since 1970.
    pub started: Option<f64>,
    pub resident_bytes: Option<u64>,
    pub virtual_bytes: Option<u64>,
    pub open_descriptors: Option<u64>,
    pub most_descriptors: Option<u64>,
}

/// What the process knows of itself.
#[derive(Clone, Debug, Default)]
pub struct Process {
    pub engine: Lateness,
    pub bfd: Lateness,
    pub log_lines_lost: u64,
    pub counts: Counts,
    pub usage: Usage,
}

/// Everything that a page is made of.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    pub spec: &'a Spec,
    pub snapshot: &'a Snapshot,
    pub sessions: Option<&'a Sessions>,
    pub services: Option<&'a Services>,
    /// What the kernel counts of them; `None` where it could not be asked.
    pub traffic: Option<&'a Traffic>,
    /// (interface, address) of everything on this machine; `None` if the kernel did not say.
    pub present: Option<&'a [(String, IpAddr)]>,
    pub process: &'a Process,
}

/// The page. With the exporters' names it is in [`Format::Text`] whatever was asked for.
pub fn text(sources: &Sources<'_>, names: Names, format: Format) -> String {
    let mut page = Page::new(names.format(format));
    if names != Names::Exporters {
        daemon::about(&mut page, sources);
        vrrp::families(&mut page, sources);
        daemon::families(&mut page, sources.process, sources.snapshot.now);
        if let Some(sessions) = sources.sessions.filter(|sessions| !sessions.sessions.is_empty()) {
            bfd::families(&mut page, sessions, &sources.process.bfd);
        }
        if let Some(services) = sources.services.filter(|services| !services.services.is_empty()) {
            balance::families(&mut page, services, sources.traffic);
        }
    }
    if names != Names::Vipd {
        exporters::families(&mut page, sources);
    }
    page.end()
}

//! Families of BFD sessions; only where sessions are configured.

use super::Lateness;
use super::page::{Labels, Micros, Page};
use crate::bfd::snapshot::{SessionView, Snapshot};
use std::fmt::Display;

pub(super) fn families(page: &mut Page, snapshot: &Snapshot, late: &Lateness) {
    let rows: Vec<(&SessionView, Labels)> = snapshot
        .sessions
        .iter()
        .map(|view| (view, Labels::new(&[("session", &view.name), ("neighbor", &view.neighbor)])))
        .collect();
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&SessionView) -> Box<dyn Display>| {
        page.gauge(name, help);
        for (view, labels) in &rows {
            page.sample(labels, value(view));
        }
    };
    gauge("vipd_bfd_state", "State of the session: 0 AdminDown, 1 Down, 2 Init, 3 Up.", &|view| {
        Box::new(view.state as u8)
    });
    gauge("vipd_bfd_up", "1 while trackers take the session for up.", &|view| Box::new(u8::from(view.level.up)));
    gauge(
        "vipd_bfd_detection_seconds",
        "Silence after which the peer is taken for dead; 0 before its first packet.",
        &|view| Box::new(Micros(view.detection_time.as_micros())),
    );
    let mut counter = |name: &str, help: &str, value: &dyn Fn(&SessionView) -> u64| {
        page.counter(name, help);
        for (view, labels) in &rows {
            page.sample(labels, value(view));
        }
    };
    counter("vipd_bfd_ups_total", "Times that the session came up.", &|view| view.counters.ups);
    counter("vipd_bfd_downs_total", "Times that the session left Up.", &|view| view.counters.downs);
    counter("vipd_bfd_sent_total", "Control packets sent.", &|view| view.counters.sent);
    counter("vipd_bfd_received_total", "Control packets received and taken.", &|view| view.counters.received);
    page.counter(
        "vipd_bfd_refused_total",
        "Control packets refused, by reason; those of no session have an empty session.",
    );
    for view in &snapshot.sessions {
        for (why, count) in &view.counters.refused {
            page.sample(&Labels::new(&[("session", &view.name), ("reason", &why.word())]), count);
        }
    }
    for (why, count) in &snapshot.refused {
        page.sample(&Labels::new(&[("session", &""), ("reason", &why.word())]), count);
    }
    page.lateness("vipd_bfd_lateness_seconds", "Time between a deadline of BFD and the moment it was acted on.", late);
    page.gauge("vipd_bfd_lateness_max_seconds", "Greatest lateness of BFD since the start of the program.");
    page.only(Some(Micros(late.max_us)));
}

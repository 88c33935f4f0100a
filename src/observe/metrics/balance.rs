//! Families of virtual servers and their real servers; only where virtual servers are configured.

use super::page::{Labels, Page};
use crate::balance::snapshot::{ServerView, ServiceView, Snapshot};
use std::collections::BTreeSet;
use std::fmt::Display;

pub(super) fn families(page: &mut Page, snapshot: &Snapshot) {
    let services = services(snapshot);
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&ServiceView) -> Box<dyn Display>| {
        page.gauge(name, help);
        for (view, labels) in &services {
            page.sample(labels, value(view));
        }
    };
    gauge("vipd_virtual_server_quorum_met", "1 while enough real servers of the virtual server are up.", &|view| {
        Box::new(u8::from(view.quorum))
    });
    gauge("vipd_virtual_server_weight", "What the real servers that count weigh together.", &|view| {
        Box::new(view.weight)
    });
    gauge("vipd_virtual_server_sorry", "1 while the sorry server serves in place of the real servers.", &|view| {
        Box::new(u8::from(view.sorry.is_some()))
    });
    let servers = servers(&services);
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&ServerView) -> Box<dyn Display>| {
        page.gauge(name, help);
        for (view, labels) in &servers {
            page.sample(labels, value(view));
        }
    };
    gauge("vipd_real_server_up", "1 while the checks of the real server are good and the kernel takes it.", &|view| {
        Box::new(u8::from(view.up))
    });
    gauge(
        "vipd_real_server_weight",
        "Weight of the real server: the configured one, or what an operator set, and what its checks add.",
        &|view| Box::new(view.weight),
    );
    gauge(
        "vipd_real_server_drained",
        "1 while an operator keeps new connections from the real server (vipctl drain-server).",
        &|view| Box::new(u8::from(view.drained)),
    );
    gauge("vipd_real_server_failed_checks", "How many checks of the real server are bad.", &|view| {
        Box::new(view.failed)
    });
}

/// Each once: two samples with the same labels would spoil the page.
fn services(snapshot: &Snapshot) -> Vec<(&ServiceView, Labels)> {
    let mut known = BTreeSet::new();
    let once = snapshot.services.iter().filter(|view| known.insert((&view.info.text, view.info.protocol)));
    let labels =
        |view: &ServiceView| Labels::new(&[("virtual_server", &view.info.text), ("protocol", &view.info.protocol)]);
    once.map(|view| (view, labels(view))).collect()
}

fn servers<'a>(services: &[(&'a ServiceView, Labels)]) -> Vec<(&'a ServerView, Labels)> {
    let mut found = Vec::new();
    for (service, labels) in services {
        let mut known = BTreeSet::new();
        for view in service.servers.iter().filter(|view| known.insert(&view.info.text)) {
            found.push((view, labels.and(&[("real_server", &view.info.text)])));
        }
    }
    found
}

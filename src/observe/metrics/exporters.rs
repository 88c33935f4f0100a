//! The same numbers under the names that the two public exporters for keepalived gave them, so that dashboards and alerts
//! made for them go on working: mehdy/keepalived-exporter 1.x and gen2brain/keepalived_exporter.
//!
//! Names, labels and values are theirs, oddities included, apart from two mistakes: gen2brain's `ip_ttl_err` shows the
//! count of another error, and mehdy takes a broadcast address for an interface. What is about the exporter's own program
//! (`keepalived_exporter_…`) has no counterpart here.

use super::Sources;
use super::page::{Labels, Page};
use crate::observe::{describe, json};
use crate::vrrp::snapshot::InstanceView;
use std::collections::BTreeSet;

/// (keepalived's name, mehdy's name).
const MEHDY: [(&str, &str); 14] = [
    ("advert_rcvd", "keepalived_advertisements_received_total"),
    ("advert_sent", "keepalived_advertisements_sent_total"),
    ("become_master", "keepalived_become_master_total"),
    ("release_master", "keepalived_release_master_total"),
    ("packet_len_err", "keepalived_packet_length_errors_total"),
    ("advert_interval_err", "keepalived_advertisements_interval_errors_total"),
    ("ip_ttl_err", "keepalived_ip_ttl_errors_total"),
    ("invalid_type_rcvd", "keepalived_invalid_type_received_total"),
    ("addr_list_err", "keepalived_address_list_errors_total"),
    ("invalid_authtype", "keepalived_authentication_invalid_total"),
    ("authtype_mismatch", "keepalived_authentication_mismatch_total"),
    ("auth_failure", "keepalived_authentication_failure_total"),
    ("pri_zero_rcvd", "keepalived_priority_zero_received_total"),
    ("pri_zero_sent", "keepalived_priority_zero_sent_total"),
];

pub(super) fn families(page: &mut Page, sources: &Sources<'_>) {
    page.gauge("keepalived_up", "1: the daemon answers.");
    page.only(Some(1));
    mehdy(page, sources);
    gen2brain(page, sources);
}

fn number(view: &InstanceView, name: &str) -> u64 {
    json::numbers(&view.counters).iter().find(|(known, _)| *known == name).map_or(0, |(_, value)| *value)
}

/// The interface as keepalived's JSON names it.
fn link(view: &InstanceView) -> &str {
    view.link.as_deref().or(view.interface.as_deref()).unwrap_or("")
}

fn mehdy(page: &mut Page, sources: &Sources<'_>) {
    let views = &sources.snapshot.instances;
    let common =
        |view: &InstanceView| Labels::new(&[("iname", &view.name), ("intf", &link(view)), ("vrid", &view.vrid)]);
    for (name, theirs) in MEHDY {
        page.foreign_counter(theirs, &format!("Counter {name} of keepalived's JSON."));
        for view in views {
            page.sample(&common(view), number(view, name));
        }
    }
    page.foreign_counter("keepalived_gratuitous_arp_delay_total", "garp_master_delay in seconds; not a counter.");
    for (view, of) in views.iter().zip(&sources.spec.instances) {
        page.sample(&common(view), of.garp.delay.as_secs());
    }
    for excluded in [false, true] {
        let name = if excluded { "keepalived_vrrp_excluded_state" } else { "keepalived_vrrp_state" };
        page.gauge(name, "State for each virtual address: 0 INIT, 1 BACKUP, 2 MASTER, 3 FAULT.");
        for (index, (view, of)) in views.iter().zip(&sources.spec.instances).enumerate() {
            let interface = describe::interface(sources.spec, index, view.link.as_deref());
            let advertised = of.claim.advertised.min(of.claim.addresses.len());
            let (vips, evips) = of.claim.addresses.split_at(advertised);
            // It reads the address and the interface in keepalived's line.
            let line = |item| describe::address(item, &interface, view.owned);
            let mut pairs: BTreeSet<(String, String)> = BTreeSet::new();
            for line in if excluded { evips } else { vips }.iter().map(line) {
                let mut words = line.split(' ');
                let (address, link) = (words.next(), words.skip_while(|word| *word != "dev").nth(1));
                if let (Some(address), Some(link)) = (address, link) {
                    pairs.insert((address.to_owned(), link.to_owned()));
                }
            }
            if pairs.is_empty() && !excluded {
                pairs.insert((String::new(), link(view).to_owned()));
            }
            for (address, link) in pairs {
                let labels = [("iname", &view.name as &dyn std::fmt::Display), ("intf", &link)];
                let labels = Labels::new(&labels).and(&[("vrid", &view.vrid), ("ip_address", &address)]);
                page.sample(&labels, view.state as u8);
            }
        }
    }
    page.gauge("keepalived_script_status", "1: the track script is good.");
    for script in &sources.snapshot.scripts {
        page.sample(&Labels::new(&[("name", &script.name)]), u8::from(script.good.unwrap_or(false)));
    }
    page.gauge("keepalived_script_state", "0: the track script is idle, 1: it is running.");
    for script in &sources.snapshot.scripts {
        page.sample(&Labels::new(&[("name", &script.name)]), u8::from(script.running));
    }
}

fn gen2brain(page: &mut Page, sources: &Sources<'_>) {
    for (name, _) in MEHDY {
        page.foreign_counter(&format!("keepalived_vrrp_{name}"), &format!("Counter {name} of keepalived's JSON."));
        for view in &sources.snapshot.instances {
            let labels = Labels::new(&[("name", &view.name), ("intf", &link(view))]);
            page.sample(&labels.and(&[("vrid", &view.vrid), ("state", &view.state)]), number(view, name));
        }
    }
}

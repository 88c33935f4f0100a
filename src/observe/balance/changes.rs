//! What a reload changed of virtual servers, in sentences by name.

use super::story::server_name;
use crate::balance::io as balance;
use crate::spec::balance::{LvsSpec, RealServer, VirtualServer};
use std::collections::BTreeMap;

/// One sentence for everything that is different; empty if nothing is.
pub fn between(old: &LvsSpec, new: &LvsSpec) -> Vec<String> {
    let (before, now) = (services(old), services(new));
    let mut said: Vec<String> = Vec::new();
    said.extend(before.keys().filter(|name| !now.contains_key(*name)).map(|name| format!("{name} is gone")));
    for (name, (own, servers)) in &now {
        let Some((was, had)) = before.get(name) else {
            said.push(format!("{name} is new"));
            continue;
        };
        said.extend(
            had.keys().filter(|server| !servers.contains_key(*server)).map(|server| format!("{server} is gone")),
        );
        for (server, real) in servers {
            match had.get(server) {
                None => said.push(format!("{server} is new")),
                Some(was) => said.extend(of_server(server, was, real)),
            }
        }
        if bare(was) != bare(own) {
            said.push(format!("{name}: settings changed"));
        }
    }
    for group in &new.groups {
        let was = old.groups.iter().find(|was| was.name == group.name);
        if was.is_some_and(|was| was.entries != group.entries) {
            said.push(format!("virtual_server_group {} changed", group.name));
        }
    }
    if old.settings != new.settings || old.tls != new.tls {
        said.push("settings of load balancing changed".into());
    }
    said
}

type Servers<'s> = BTreeMap<String, &'s RealServer>;

/// By name; of two that are called alike the first.
fn services(spec: &LvsSpec) -> BTreeMap<String, (&VirtualServer, Servers<'_>)> {
    let mut found = BTreeMap::new();
    for (info, own) in balance::services_of(spec).iter().zip(&spec.services) {
        let servers = || own.servers.iter().map(|real| (server_name(&balance::server_of(real, info)), real)).collect();
        found.entry(info.text.to_string()).or_insert_with(|| (own, servers()));
    }
    found
}

fn of_server(name: &str, was: &RealServer, now: &RealServer) -> Option<String> {
    let mut parts = Vec::new();
    if was.weight != now.weight {
        parts.push(format!("weight {} → {}", was.weight, now.weight));
    }
    if was.checkers != now.checkers {
        parts.push("checks changed".to_owned());
    }
    if parts.is_empty() && was != now {
        parts.push("settings changed".to_owned());
    }
    (!parts.is_empty()).then(|| format!("{name}: {}", parts.join(", ")))
}

/// Without its servers, of which more is said.
fn bare(own: &VirtualServer) -> VirtualServer {
    VirtualServer { servers: Vec::new(), ..own.clone() }
}

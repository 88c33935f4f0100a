//! May BFD pass, and is its port free? Asked only where sessions are configured.

use super::Case;
use super::Finding;
use super::Weight;
use super::firewall::{self, Chain, words};
use crate::wire::bfd::{MULTIHOP_PORT, PORT};

/// Packets come in as UDP to port 3784 or 4784.
pub fn may_pass(case: &Case<'_>, found: &mut Vec<Finding>) {
    let sessions = &case.spec.sessions;
    let ports = [(PORT, sessions.iter().any(|s| !s.multihop)), (MULTIHOP_PORT, sessions.iter().any(|s| s.multihop))];
    let chains = firewall::chains(case, found);
    for (port, _) in ports.into_iter().filter(|(_, wanted)| *wanted) {
        let neighbors: Vec<String> = sessions.iter().map(|session| session.neighbor.to_string()).collect();
        for chain in &chains {
            if let Some(what) = dropped(chain, port, &neighbors) {
                let cure = if chain.insert.starts_with("nft ") {
                    format!("{} udp dport {port} accept", chain.insert)
                } else {
                    format!("{} -p udp --dport {port} -j ACCEPT", chain.insert)
                };
                found.push(
                    Finding::new(Weight::Problem, "firewall", format!("{}: {what}", chain.name))
                        .why("BFD sessions never come up: what tracks them counts the path as dead")
                        .cure(format!("{cure}   # and in the file that the firewall is loaded from")),
                );
            }
        }
    }
}

/// Is UDP to `port` dropped by this chain? The first rule that decides is the one; what cannot be decided accepts.
fn dropped(chain: &Chain, port: u16, neighbors: &[String]) -> Option<String> {
    let number = port.to_string();
    for rule in &chain.rules {
        let all: Vec<&str> = words(rule).collect();
        let verdict = |list: &[&str]| all.iter().any(|word| list.contains(word));
        let about = all.iter().any(|word| *word == number || neighbors.iter().any(|n| n == word));
        let drops = verdict(&["drop", "DROP", "reject", "REJECT"]);
        if about && verdict(&["accept", "ACCEPT", "jump", "goto", "return", "RETURN"]) {
            return None;
        }
        if about && drops && all.contains(&number.as_str()) {
            return Some(format!("BFD (UDP port {port}) is dropped: {}", rule.trim()));
        }
        let any_udp = all.contains(&"udp")
            && !all.iter().any(|word| matches!(*word, "dport" | "--dport" | "sport" | "--sport" | "--dports"));
        if any_udp && verdict(&["accept", "ACCEPT"]) {
            return None;
        }
        if firewall::unconditional_drop(rule) {
            return Some(format!("drops what it does not know, and no rule accepts BFD (UDP port {port})"));
        }
    }
    chain.drops_by_default.then(|| format!("drops what it does not know, and no rule accepts BFD (UDP port {port})"))
}

/// Another program that speaks BFD has the port.
pub fn port_is_free(case: &Case<'_>, found: &mut Vec<Finding>) {
    if case.spec.sessions.is_empty() {
        return;
    }
    let pids = case.machine.list("/proc").into_iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    for pid in pids {
        let name = case.machine.read(&format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
        if matches!(name.as_str(), "bfdd" | "bird" | "bird6" | "holo-bfd" | "holod") {
            found.push(
                Finding::new(
                    Weight::Problem,
                    "bfd",
                    format!("{name} (pid {pid}) runs here and may have the port of BFD"),
                )
                .why("a port belongs to one program: sessions of vipd then do not run, and say who has it")
                .cure(format!("stop {name}'s BFD, or let it have the sessions and track them by a script")),
            );
        }
    }
}

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

/// Another program has a port of BFD.
pub fn port_is_free(case: &Case<'_>, found: &mut Vec<Finding>) {
    let sessions = &case.spec.sessions;
    for (port, multihop) in [(PORT, false), (MULTIHOP_PORT, true)] {
        let sockets = sockets_at(case, port);
        if sockets.is_empty() || !sessions.iter().any(|session| session.multihop == multihop) {
            continue;
        }
        let holders = holders(case, &sockets);
        // keepalived's own sessions end with it.
        if holders.iter().any(|(_, name)| matches!(name.as_str(), "vipd" | "keepalived")) {
            continue;
        }
        let (who, cure) = match holders.first() {
            Some((pid, name)) => (
                format!("{name} (pid {pid})"),
                format!("stop {name}'s BFD, or let it have the sessions and track them by a script"),
            ),
            // Only root may look.
            None => ("a program".to_owned(), format!("ss -ulpn sport = :{port}   # as root, says which")),
        };
        found.push(
            Finding::new(Weight::Problem, "bfd", format!("{who} has UDP port {port}, which BFD sessions need"))
                .why("a port belongs to one program: sessions of vipd then do not run, and say who has it")
                .cure(cure),
        );
    }
}

/// Inodes of the UDP sockets at a port, in this network namespace.
fn sockets_at(case: &Case<'_>, port: u16) -> Vec<String> {
    let end = format!(":{port:04X}");
    let tables = ["/proc/net/udp", "/proc/net/udp6"].map(|path| case.machine.read(path).unwrap_or_default());
    let inode = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(1)?.ends_with(&end).then(|| words.get(9).map(|inode| (*inode).to_owned()))?
    };
    tables.iter().flat_map(|table| table.lines().filter_map(inode)).collect()
}

/// The programs that have these sockets open: (pid, name). Descriptors of others are root's to see.
fn holders(case: &Case<'_>, inodes: &[String]) -> Vec<(String, String)> {
    let wanted: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let pids = case.machine.list("/proc").into_iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    let has = |pid: &String| {
        let files = case.machine.list(&format!("/proc/{pid}/fd"));
        files.iter().filter_map(|fd| case.machine.link(&format!("/proc/{pid}/fd/{fd}"))).any(|to| wanted.contains(&to))
    };
    // By the file: a daemon may call its process as it likes.
    let name = |pid: &String| {
        let file = case.machine.link(&format!("/proc/{pid}/exe")).unwrap_or_default();
        file.trim_end_matches(" (deleted)").rsplit('/').next().unwrap_or_default().to_owned()
    };
    pids.filter(has).map(|pid| (pid.clone(), name(&pid))).collect()
}

//! The daemon that runs here: whether it answers, what it says is wrong, and whether it has what it needs.

use super::Case;
use super::Finding;
use super::Weight;
use crate::cli::alarms;
use crate::cli::view::Snapshot;
use crate::wire::Family;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What came of asking the daemon.
#[derive(Debug)]
pub enum Asked {
    /// Another machine's files are looked at.
    NotHere,
    /// Nobody listens.
    Nobody,
    Answers(Box<Snapshot>),
    /// It may not be asked, or it is not clear which of several is meant; the sentence, and what helps.
    NotAllowed(String, Option<String>),
    /// Somebody listens and does not answer.
    Trouble(String, Option<String>),
}

/// Descriptors that a daemon needs besides its sockets: netlink, programs, clients, files.
const OTHERS: usize = 64;
/// Tenths of the limit that may be in use.
const TENTHS: usize = 8;

/// Everything that the daemon itself says is wrong.
pub fn what_it_says(case: &Case<'_>, found: &mut Vec<Finding>) {
    match &case.asked {
        Asked::NotHere => {}
        Asked::Nobody => match super::services::of_name(case, "vipd").first() {
            Some(pid) => found.push(
                Finding::new(
                    Weight::Warning,
                    "daemon",
                    format!("vipd runs (pid {pid}), but it has no control socket here"),
                )
                .why("neither vipctl nor this check can ask it")
                .cure("look for \"No control socket\" in its log; --control names a socket in another place"),
            ),
            None => {
                found.push(Finding::new(Weight::Note, "daemon", "no vipd runs here: only the machine was looked at"))
            }
        },
        Asked::NotAllowed(what, help) => {
            let finding = Finding::new(Weight::Note, "daemon", format!("the daemon was not asked: {what}"));
            found.push(match help {
                Some(help) => finding.cure(help.clone()),
                None => finding,
            });
        }
        Asked::Trouble(what, help) => {
            let finding = Finding::new(Weight::Problem, "daemon", what.clone())
                .why("the other servers take its addresses over, and as long as it stands still they are here too");
            found.push(match help {
                Some(help) => finding.cure(help.clone()),
                None => finding,
            });
        }
        Asked::Answers(snapshot) => {
            let before = found.len();
            for instance in &snapshot.instances {
                for alarm in alarms::of(snapshot, instance) {
                    let weight = match alarm.kind {
                        "drained" | "vrid-shared" => Weight::Warning,
                        _ => Weight::Problem,
                    };
                    let mut finding = Finding::new(weight, alarm.kind, format!("{}: {}", instance.name, alarm.what));
                    (finding.why, finding.cure) = (alarm.why, alarm.cure);
                    found.push(finding);
                }
            }
            for script in &snapshot.scripts {
                let Some(what) = alarms::script(script) else { continue };
                found.push(
                    Finding::new(Weight::Problem, "script", what)
                        .why("what tracks it has a lower priority or is in FAULT")
                        .cure(format!(
                            "run the check of {} by hand as its user and look at the exit code",
                            script.name
                        )),
                );
            }
            for alarm in alarms::of_notifications(snapshot) {
                let mut finding = Finding::new(Weight::Problem, alarm.kind, alarm.what);
                (finding.why, finding.cure) = (alarm.why, alarm.cure);
                found.push(finding);
            }
            if let Some(what) = alarms::reload(snapshot) {
                found.push(
                    Finding::new(Weight::Problem, "reload", what)
                        .why("the daemon runs with the configuration before it, and a restart would read the new one")
                        .cure("vipctl check"),
                );
            }
            if found.len() == before {
                let count = snapshot.instances.len();
                let its = if count == 1 { "instance".to_owned() } else { format!("{count} instances") };
                let what = format!("the daemon (pid {}) answers and sees nothing wrong with its {its}", snapshot.pid);
                found.push(Finding::new(Weight::Good, "daemon", what));
            }
        }
    }
}

/// What an instance speaks from has to be here, and may not be virtual itself.
pub fn sources(case: &Case<'_>, found: &mut Vec<Finding>) {
    let present = case.machine.addresses();
    if present.is_empty() {
        return;
    }
    let claimed: BTreeSet<IpAddr> =
        case.instances().iter().flat_map(|i| &i.claim.addresses).map(|address| address.address).collect();
    let mut bare = BTreeSet::new();
    for instance in case.instances() {
        if let Some(source) = instance.source {
            if !present.iter().any(|(_, address)| *address == source) {
                found.push(
                    Finding::new(Weight::Problem, "source", format!("{}: {source}, which it is to send from, is not on this machine", instance.name))
                        .why("it can send nothing: without its adverts another server takes the addresses, or both hold them")
                        .cure("correct unicast_src_ip or mcast_src_ip, or set the address; `ip -br address` shows what there is"),
                );
            }
            continue;
        }
        let Some(name) = instance.interface.as_ref().map(|name| name.as_str()) else { continue };
        let there = case.machine.links().iter().any(|link| link == name);
        let own = |(on, address): &(String, IpAddr)| {
            on == name && Family::of(address) == instance.family && !claimed.contains(address)
        };
        if there && !present.iter().any(own) && bare.insert((name.to_owned(), instance.family)) {
            let only: Vec<String> = present
                .iter()
                .filter(|(on, address)| on == name && Family::of(address) == instance.family)
                .map(|(_, address)| address.to_string())
                .collect();
            let what = match only.as_slice() {
                [] => format!("{name} has no {} address", instance.family),
                list => format!("{name} has no {} address of its own: {} is virtual", instance.family, list.join(", ")),
            };
            found.push(
                Finding::new(Weight::Problem, "own-address", what)
                    .why("there is nothing to send adverts from; and when the other server is MASTER, this one loses its only address")
                    .cure(format!("give {name} another address that is not in the configuration of vipd")),
            );
        }
    }
}

/// Sockets, programs and clients need descriptors.
pub fn descriptors(case: &Case<'_>, found: &mut Vec<Finding>) {
    for pid in super::services::of_name(case, "vipd") {
        let limits = case.machine.read(&format!("/proc/{pid}/limits")).unwrap_or_default();
        let line = limits.lines().find(|line| line.starts_with("Max open files"));
        let mut numbers =
            line.into_iter().flat_map(|line| line.split_whitespace()).filter_map(|w| w.parse::<usize>().ok());
        let (Some(soft), hard) = (numbers.next(), numbers.next()) else { continue };
        let used = case.machine.list(&format!("/proc/{pid}/fd")).len();
        let needed = 2 * case.instances().len() + OTHERS;
        if hard.is_some_and(|hard| hard < needed) || used * 10 > soft * TENTHS {
            found.push(
                Finding::new(
                    Weight::Problem,
                    "descriptors",
                    format!("vipd (pid {pid}) has {used} descriptors open and may have {soft}; this configuration needs about {needed}"),
                )
                .why("an instance without a socket neither hears nor speaks, and scripts cannot be started")
                .cure("mkdir -p /etc/systemd/system/vipd.service.d\nprintf '[Service]\\nLimitNOFILE=65536\\n' > /etc/systemd/system/vipd.service.d/limit.conf\nsystemctl daemon-reload && systemctl restart vipd"),
            );
        }
    }
}

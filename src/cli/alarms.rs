//! What is wrong with an instance now, as the daemon sees it: the same sentences for `status`, `explain` and `doctor`.
//!
//! Read from a snapshot alone. A sentence is here when an operator should act on it; what is only worth knowing (a rival
//! of yesterday, a priority) is said by the verb itself.

use super::view::{self, Address, Instance, Snapshot, Speaker, span};
use crate::observe::tally::LONG;
use crate::spec::first_few;
use crate::vrrp::io::Exit;

/// How long an address may take to come or go before it is called missing or left over, in seconds.
const MOVING: f64 = 2.0;

/// Something that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alarm {
    /// Kind of trouble: a stable word for scripts.
    pub kind: &'static str,
    pub what: String,
    /// What follows from it for the virtual addresses.
    pub why: Option<String>,
    pub cure: Option<String>,
}

impl Alarm {
    fn new(kind: &'static str, what: impl Into<String>) -> Alarm {
        Alarm { kind, what: what.into(), why: None, cure: None }
    }
    fn why(mut self, text: impl Into<String>) -> Alarm {
        self.why = Some(text.into());
        self
    }
    fn cure(mut self, text: impl Into<String>) -> Alarm {
        self.cure = Some(text.into());
        self
    }
}

/// Everything that is wrong with a daemon, in sentences.
pub fn of_daemon(snapshot: &Snapshot) -> Vec<String> {
    let mut found = Vec::new();
    for instance in &snapshot.instances {
        found.extend(of(snapshot, instance).into_iter().map(|alarm| format!("{}: {}", instance.name, alarm.what)));
    }
    found.extend(snapshot.scripts.iter().filter_map(script));
    found.extend(reload(snapshot));
    found.extend(of_notifications(snapshot).into_iter().map(|alarm| alarm.what));
    found
}

/// That a check script fails.
pub fn script(script: &view::Script) -> Option<String> {
    let how = || script.last_exit.as_ref().map_or("has not run".to_owned(), view::exit);
    let last = script.last_exit.as_ref().and_then(|exit| serde_json::from_value::<Exit>(exit.clone()).ok());
    (script.good == Some(false)).then(|| match last {
        Some(Exit::Code(0)) => {
            format!(
                "the check {} counts as failed until it has been good `rise` times: its last run was good",
                script.name
            )
        }
        _ => format!("the check {} fails: {}", script.name, how()),
    })
}

/// Notify programs that do not end, and FIFOs that nobody reads.
pub fn of_notifications(snapshot: &Snapshot) -> Vec<Alarm> {
    let mut found = hanging(snapshot, |_| true);
    for view::FullFifo { path, lost } in &snapshot.notify.full_fifos {
        let lines = if *lost == 1 { "line was" } else { "lines were" };
        found.push(
            Alarm::new(
                "fifo-full",
                format!("the notify FIFO {path} is full, and {lost} {lines} lost: nobody reads it"),
            )
            .why("whoever acts upon its lines does not hear of changes")
            .cure(format!("start or mend its reader; `fuser -v {path}` shows who has it open")),
        );
    }
    found
}

/// Notify programs that do not end, of those instances, groups and servers that are wanted; each program once.
pub fn hanging(snapshot: &Snapshot, is_wanted: impl Fn(&str) -> bool) -> Vec<Alarm> {
    let notify = &snapshot.notify;
    let mut hang: Vec<(&view::Underway, usize)> = Vec::new();
    for run in notify.running.iter().filter(|run| snapshot.ago(run.since) >= LONG.as_secs_f64() && is_wanted(&run.of)) {
        match hang.iter_mut().find(|(first, _)| first.program == run.program) {
            Some((_, more)) => *more += 1,
            None => hang.push((run, 0)),
        }
    }
    let mut found = Vec::new();
    for (run, more) in hang {
        let view::Underway { of, event, program, pid, since } = run;
        let since = span(snapshot.ago(*since));
        let more = if more == 0 { String::new() } else { format!("; so do {more} more of it") };
        let waiting = match notify.waiting {
            0 => "it is left alone, and others run beside it: only what it was to do is missing".to_owned(),
            1 => "it is left alone; another one waits for its turn".to_owned(),
            count => format!("it is left alone; {count} others wait for their turn"),
        };
        found.push(
            Alarm::new(
                "notify-hangs",
                format!("the notify program {program} of {of} ({event}) has been running for {since} and does not end (pid {pid}){more}"),
            )
            .why(waiting)
            .cure(format!("see what it waits for (`ps -o pid,stat,wchan,args -g {pid}`), then end it: `kill {pid}`")),
        );
    }
    found
}

/// That the last reload was refused.
pub fn reload(snapshot: &Snapshot) -> Option<String> {
    let refused = snapshot.reload.as_ref().filter(|reload| !reload.accepted);
    refused.map(|reload| format!("the last reload was refused: {}", reload.message))
}

/// Everything that is wrong with one instance; its name is not in the sentences.
pub fn of(snapshot: &Snapshot, instance: &Instance) -> Vec<Alarm> {
    let mut found = Vec::new();
    rivals(snapshot, instance, &mut found);
    owners(instance, &mut found);
    other_addresses(instance, &mut found);
    refused(snapshot, instance, &mut found);
    for fault in &instance.faults {
        let alarm = Alarm::new("fault", format!("in FAULT: {}", view::fault(fault)));
        let alarm = alarm.why(match view::is_configured(fault) {
            true => "it takes no address until the file is corrected and read again",
            false => "it takes no address until that is gone, and returns by itself then",
        });
        found.push(match view::cure(fault) {
            Some(cure) => alarm.cure(cure),
            None => alarm,
        });
    }
    if !instance.held_back_by.is_empty() {
        found.push(held(snapshot, instance));
    }
    if instance.drained {
        found.push(
            Alarm::new("drained", "drained by an operator: it hands over to any other router that lives")
                .cure(format!("vipctl undrain {}", instance.name)),
        );
    }
    addresses(snapshot, instance, &mut found);
    if let Some(reason) = &instance.lacking {
        found.push(
            Alarm::new("refused-by-kernel", format!("MASTER, but the kernel does not take all that it owns: {reason}"))
                .why("what stands behind a route or rule that is not there cannot be reached")
                .cure("mend what the kernel names, here or in the file; vipd tries again by itself"),
        );
    }
    found
}

fn rivals(snapshot: &Snapshot, instance: &Instance, found: &mut Vec<Alarm>) {
    for rival in instance.rivals_now() {
        let since = span(snapshot.ago(rival.first_heard));
        let address = &rival.address;
        let (why, cure) = match rival.is_peer {
            Some(false) => (
                format!(
                    "{address} is not in unicast_peer of {} here, so no advert of this server goes there; clients reach now one \
                     server, now the other",
                    instance.name
                ),
                format!(
                    "add {address} to unicast_peer here; if it is a second address of a server that is there already, \
                     set unicast_src_ip on that server"
                ),
            ),
            _ => (
                "it does not hear this server or refuses its adverts; clients reach now one server, now the other"
                    .into(),
                format!("on {address}: `vipctl explain` says whose adverts it refuses; look at firewalls on both"),
            ),
        };
        found.push(
            Alarm::new(
                "two-masters",
                format!(
                    "two masters: {} speaks as MASTER too, with priority {}, for {since} ({} adverts, the last {} ago)",
                    rival.address,
                    rival.priority,
                    rival.count,
                    span(snapshot.ago(rival.last_heard))
                ),
            )
            .why(why)
            .cure(cure),
        );
    }
}

/// Two address owners: neither gives way for long, and the one that does keeps the address at its next start.
fn owners(instance: &Instance, found: &mut Vec<Alarm>) {
    let owner = |master: &&view::Master| master.priority == 255 && !master.ourselves && !master.silent;
    let Some(master) = instance.master.as_ref().filter(owner).filter(|_| instance.base_priority == 255) else { return };
    let address = master.address.as_deref().unwrap_or("another router");
    found.push(
        Alarm::new(
            "two-owners",
            format!("{address}, which is master, has priority 255 too: there may be one address owner"),
        )
        .why("each start or loss of an advert makes both of them master")
        .cure("priority 255 on one server, and less on all others"),
    );
}

/// The two servers have other lists of addresses.
fn other_addresses(instance: &Instance, found: &mut Vec<Alarm>) {
    let Some(master) = instance.master.as_ref().filter(|master| master.addresses_differ && !master.silent) else {
        return;
    };
    let address = master.address.as_deref().unwrap_or("another router");
    found.push(
        Alarm::new(
            "addresses-differ",
            format!("{address}, which is master, speaks for other addresses than are configured here"),
        )
        .why("when this server takes over, some addresses are gone and others come")
        .cure(format!(
            "the same virtual_ipaddress on all servers: `vipctl check` with both files names what differs; if {address} is \
             none of them, another virtual_router_id here"
        )),
    );
}

fn refused(snapshot: &Snapshot, instance: &Instance, found: &mut Vec<Alarm>) {
    let strangers = snapshot.strangers.iter().filter(|s| s.current && s.instance.as_deref() == Some(&instance.name));
    for speaker in instance.refused_now().chain(strangers) {
        let heard = format!("{} adverts, the last {} ago", speaker.count, span(snapshot.ago(speaker.last_heard)));
        if view::is_foreign(&speaker.why) {
            found.push(vrid_shared(instance, &speaker.address, &heard));
            continue;
        }
        let (why, cure) = view::refusal(&speaker.why);
        let elsewhere = speaker.instance.is_some() && speaker.vrid == Some(instance.vrid);
        let what = match speaker.vrid.filter(|_| speaker.instance.is_some()) {
            Some(theirs) if elsewhere => format!(
                "{} speaks for its addresses with VRID {theirs}, but not where {} is ({heard})",
                speaker.address,
                instance.interface.as_deref().unwrap_or("this instance")
            ),
            Some(theirs) => format!(
                "{} speaks for its addresses with VRID {theirs}, here it is {} ({heard})",
                speaker.address, instance.vrid
            ),
            None => format!("adverts of {} are refused: {why} ({heard})", speaker.address),
        };
        let follows = match instance.state.as_str() {
            "MASTER" => "each of the two takes itself for the only MASTER: both hold the addresses",
            "BACKUP" => "it is as if that router were dead: this server takes the addresses although it has them",
            _ => "that router does not count here",
        };
        let alarm = Alarm::new("refused", what).why(follows);
        found.push(match cure {
            _ if elsewhere => alarm.cure("an `interface` in the same network on all servers of a virtual address"),
            Some(cure) => alarm.cure(cure),
            None => alarm,
        });
    }
}

/// Another installation uses the VRID: nothing is lost as long as neither gets an address of the other.
fn vrid_shared(instance: &Instance, sender: &str, heard: &str) -> Alarm {
    let vrid = &instance.vrid;
    Alarm::new(
        "vrid-shared",
        format!("another installation uses VRID {vrid} with other addresses: {sender} speaks for it ({heard})"),
    )
    .why("their adverts do not count here, and each has its own addresses; keepalived from 2.4 on takes them for its own, and yields")
    .cure(format!(
        "give one of the two another virtual_router_id (`vipctl listen` names free ones); if {sender} is a server of this one, \
         the same virtual_ipaddress on all servers"
    ))
}

/// Refused senders that concern no instance in particular are no alarm: other clusters may use the same network.
pub fn foreign(snapshot: &Snapshot) -> impl Iterator<Item = &Speaker> {
    snapshot.strangers.iter().filter(|s| s.current && s.instance.is_none())
}

fn held(snapshot: &Snapshot, instance: &Instance) -> Alarm {
    let group = snapshot.groups.iter().find(|g| g.members.contains(&instance.name)).map_or("", |g| g.name.as_str());
    let members: Vec<String> = instance
        .held_back_by
        .iter()
        .map(|name| {
            let member = snapshot.instances.iter().find(|i| i.name == *name);
            match member.and_then(|member| member.master.as_ref()).filter(|m| !m.ourselves && !m.silent) {
                Some(master) => format!(
                    "{name}, which hears a master ({}, priority {})",
                    master.address.as_deref().unwrap_or("?"),
                    master.priority
                ),
                None => format!("{name}, whose down timer runs"),
            }
        })
        .collect();
    Alarm::new(
        "group-held",
        format!("ready to become MASTER, but group {group} is held back by {}", members.join(" and ")),
    )
    .why("a sync group moves as a whole: as long as that member stays BACKUP, nobody may hold these addresses")
    .cure("stop the other server's daemon, or mend what keeps its instances in different states")
}

fn addresses(snapshot: &Snapshot, instance: &Instance, found: &mut Vec<Alarm>) {
    if snapshot.ago(instance.since) < MOVING {
        return;
    }
    let master = instance.state == "MASTER";
    let odd: Vec<&Address> = instance.addresses.iter().filter(|a| a.is_here() == Some(!master)).collect();
    let Some(first) = odd.first() else { return };
    let names = first_few(odd.iter().map(|a| a.address.as_str()), 4, ", ");
    let place = first.on.as_ref().and_then(|on| on.first()).map_or(first.interface.as_str(), String::as_str);
    found.push(if master {
        Alarm::new("address-missing", format!("MASTER, but not on this server: {names}"))
            .why("nobody answers for it")
            .cure("the log says what the kernel refused; `vipctl doctor` looks at the machine")
    } else {
        Alarm::new("address-here", format!("{names} here although {}: on {place}", instance.state))
            .why("two servers answer for it while another one is MASTER")
            .cure(format!(
                "ip address del {}/{} dev {place}; see that nothing else configures it",
                first.address, first.prefix
            ))
    });
}

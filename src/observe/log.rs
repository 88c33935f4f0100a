//! The sentences of the log. State changes read as keepalived writes them, because people and programs grep for them;
//! what keepalived does not say is said in the same tone.
//!
//! [`sentences`] is pure; [`Log`] decides what has been said already: a refusal is logged once an instance and kind until
//! something changes there, so that a misconfigured neighbour costs a line and not a line a second.

use super::Context;
use super::Observer;
use super::Wishes;
use super::words;
use crate::spec::{InstanceId, InstanceSpec, first_few};
use crate::vrrp::io::{Cause, Event, Exit, Refusal, Role};
use crate::wire::{Priority, Vrid};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use tracing::Level;

/// Logs a line of one target, which must be known at compile time; behind it the fields that say what it is about.
macro_rules! say {
    ($target:literal, $level:expr, $text:expr $(, $field:ident)*) => {
        match $level {
            tracing::Level::ERROR => tracing::error!(target: $target, $($field,)* "{}", $text),
            tracing::Level::WARN => tracing::warn!(target: $target, $($field,)* "{}", $text),
            tracing::Level::INFO => tracing::info!(target: $target, $($field,)* "{}", $text),
            _ => tracing::debug!(target: $target, $($field,)* "{}", $text),
        }
    };
}
pub(crate) use say;

/// Writes events to the log.
#[derive(Debug, Default)]
pub struct Log {
    said: HashSet<Said>,
    /// What each track script was last said to be: good or not, and its exit code.
    scripts: HashMap<Box<str>, (Option<bool>, i32)>,
}

/// What a refusal is about: repeated, it is not news.
#[derive(PartialEq, Eq, Hash, Debug)]
struct Said {
    instance: Option<InstanceId>,
    stranger: Option<(u32, Option<Vrid>)>,
    why: Refusal,
}

impl Observer for Log {
    fn event(&mut self, event: &Event, cx: &Context<'_>, _: &mut Wishes) {
        match event {
            Event::Became { instance, .. } => self.said.retain(|said| said.instance != Some(*instance)),
            Event::Refused { instance, ifindex, vrid, why, .. } => {
                let stranger = instance.is_none().then_some((*ifindex, *vrid));
                if !self.said.insert(Said { instance: *instance, stranger, why: *why }) {
                    return;
                }
            }
            Event::ScriptChanged { script, good, exit } => {
                let (returning, changed) = self.script(cx.script_name(*script), *good, *exit);
                if let Some(line) = returning {
                    say!("vrrp", Level::INFO, line);
                }
                if !changed {
                    return;
                }
            }
            // It has failed already: each further run would cost a line.
            Event::ScriptTimedOut { script } => {
                if matches!(self.scripts.get(cx.script_name(*script)), Some((Some(false), _))) {
                    return;
                }
            }
            Event::GroupBecame { .. }
            | Event::PriorityChanged { .. }
            | Event::HeardLower { .. }
            | Event::WillPreempt { .. }
            | Event::AddressListDiffers { .. }
            | Event::IntervalLearned { .. }
            | Event::ClockDiffers { .. }
            | Event::RivalMaster { .. }
            | Event::RivalStays { .. }
            | Event::RivalSilent { .. }
            | Event::ScriptOverrun { .. }
            | Event::FaultsChanged { .. }
            | Event::Healed { .. }
            | Event::ClaimFailed { .. }
            | Event::TrackerChanged { .. }
            | Event::LinkChanged { .. }
            | Event::Deleted { .. }
            | Event::Stopped { .. }
            | Event::Slept { .. }
            | Event::Replaced { .. }
            | Event::Late { .. }
            | Event::Swept { .. }
            | Event::SendFailed { .. }
            | Event::ReloadRefused { .. }
            | Event::Reloaded => {}
        }
        let fields = Fields::of(event, cx);
        let state = fields.state.map(|state| state.to_string());
        let (instance, state, reason) = (fields.instance, state.as_deref(), fields.reason.as_deref());
        for (level, text) in sentences(event, cx) {
            say!("vrrp", level, text, instance, state, reason);
        }
    }

    fn balance(&mut self, event: &crate::balance::io::Event, _: &Context<'_>, _: &mut Wishes) {
        for (level, text) in super::balance::sentences(event) {
            say!("checker", level, text);
        }
    }

    fn reconfigured(&mut self, cx: &Context<'_>) {
        self.said.clear();
        let scripts: HashSet<&str> = cx.spec.scripts.iter().map(|script| &*script.name).collect();
        self.scripts.retain(|name, _| scripts.contains(&**name));
    }
}

impl Log {
    /// The line about another exit code, if it is another, and whether the script has become good or bad: with `rise` and
    /// `fall` the first comes before the second.
    fn script(&mut self, name: &str, good: bool, exit: Exit) -> (Option<String>, bool) {
        let (was_good, was_code) = self.scripts.entry(name.into()).or_default();
        let returning = match exit {
            Exit::Code(code) if code != *was_code => {
                *was_code = code;
                Some(format!("Script `{name}` now returning {code}"))
            }
            _ => None,
        };
        (returning, was_good.replace(good) != Some(good))
    }
}

/// What a line is about, for programs: journald and `--log-format json` keep it apart from the sentence.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fields<'a> {
    /// Name of the VRRP instance.
    pub instance: Option<&'a str>,
    /// Its new state, of a change of state.
    pub state: Option<Role>,
    /// Why, as a stable word: the name of a [`Cause`] or of a [`Refusal`].
    pub reason: Option<String>,
}

impl<'a> Fields<'a> {
    /// What the lines about an event are about.
    pub fn of(event: &'a Event, cx: &'a Context<'_>) -> Fields<'a> {
        let about = |id: &InstanceId| Fields { instance: Some(cx.name(*id)), ..Fields::default() };
        match event {
            Event::Became { instance, to, why, .. } => {
                Fields { state: Some(*to), reason: word(why), ..about(instance) }
            }
            Event::Refused { instance, why, .. } => {
                Fields { reason: word(why), ..instance.as_ref().map(about).unwrap_or_default() }
            }
            Event::Deleted { name, was: _ } => Fields { instance: Some(&**name), ..Fields::default() },
            Event::PriorityChanged { instance, .. }
            | Event::HeardLower { instance, .. }
            | Event::WillPreempt { instance, .. }
            | Event::AddressListDiffers { instance, .. }
            | Event::IntervalLearned { instance, .. }
            | Event::ClockDiffers { instance, .. }
            | Event::RivalMaster { instance, .. }
            | Event::RivalStays { instance, .. }
            | Event::RivalSilent { instance, .. }
            | Event::Replaced { instance, .. }
            | Event::FaultsChanged { instance, .. }
            | Event::Healed { instance, .. }
            | Event::ClaimFailed { instance, .. }
            | Event::Stopped { instance }
            | Event::SendFailed { instance, .. }
            | Event::Swept { instance, .. } => about(instance),
            Event::GroupBecame { .. }
            | Event::ScriptChanged { .. }
            | Event::ScriptTimedOut { .. }
            | Event::ScriptOverrun { .. }
            | Event::TrackerChanged { .. }
            | Event::LinkChanged { .. }
            | Event::Slept { .. }
            | Event::Late { .. }
            | Event::ReloadRefused { .. }
            | Event::Reloaded => Fields::default(),
        }
    }
}

/// The name of a variant, as JSON has it.
fn word(variant: &impl serde::Serialize) -> Option<String> {
    match serde_json::to_value(variant).ok()? {
        serde_json::Value::String(name) => Some(name),
        serde_json::Value::Object(of) => of.into_iter().next().map(|(name, _)| name),
        _ => None,
    }
}

/// What is to be said about an event.
pub fn sentences(event: &Event, cx: &Context<'_>) -> Vec<(Level, String)> {
    let info = |text: String| vec![(Level::INFO, text)];
    let warn = |text: String| vec![(Level::WARN, text)];
    let detail = |text: String| vec![(Level::DEBUG, text)];
    match event {
        Event::Became { instance, from, to, why } => became(cx, *instance, *from, *to, why),
        Event::GroupBecame { group, from, to } => {
            let text = format!("VRRP_Group({}) Syncing instances to {to} state", cx.group_name(*group));
            // At the start all are BACKUP: nobody had to be brought there.
            if (*from, *to) == (Role::Init, Role::Backup) { detail(text) } else { info(text) }
        }
        Event::PriorityChanged { instance, from, to } => {
            info(format!("({}) Changing effective priority from {from} to {to}", cx.name(*instance)))
        }
        Event::HeardLower { instance, from, priority } => info(format!(
            "({}) Received advert from {from} with lower priority {priority}, ours {}{}",
            cx.name(*instance),
            cx.priority(*instance),
            if cx.instance(*instance).is_some_and(|i| i.lower_prio_no_advert) { "" } else { ", forcing new election" }
        )),
        Event::WillPreempt { instance, from, priority } => detail(format!(
            "({}) received lower priority ({priority}) advert from {from} - discarding",
            cx.name(*instance)
        )),
        Event::Refused { instance, from, ifindex, vrid, why } => refused(cx, *instance, from, *ifindex, *vrid, *why),
        Event::AddressListDiffers { instance, from } => {
            warn(format!("({}) the addresses in the advert of {from} are not ours", cx.name(*instance)))
        }
        Event::IntervalLearned { instance, from, theirs } => info(format!(
            "({}) advertisement interval updated to {}ms by master {from}",
            cx.name(*instance),
            theirs.as_millis()
        )),
        Event::ClockDiffers { instance, from, by, window } => warn(format!(
            "({}) the clock of {from} differs by {}s; adverts are refused beyond {}s",
            cx.name(*instance),
            by.as_secs(),
            window.as_secs()
        )),
        Event::RivalMaster { instance, priority, .. } if *priority != Priority::OWNER => warn(format!(
            "({}) WARNING - equal priority advert received from remote host with our IP address.",
            cx.name(*instance)
        )),
        Event::RivalMaster { instance, from, priority } => warn(format!(
            "({}) CONFIGURATION ERROR: {from} also claims to be the address owner (priority {priority}), please resolve",
            cx.name(*instance)
        )),
        Event::RivalStays { instance, from, priority } => warn(format!(
            "({}) two masters: {from} speaks as MASTER with priority {priority} and does not yield to ours, {}",
            cx.name(*instance),
            cx.priority(*instance)
        )),
        Event::RivalSilent { instance, from } => {
            info(format!("({}) the other master, {from}, is not heard any longer", cx.name(*instance)))
        }
        Event::ScriptChanged { script, good, exit } => info(script_changed(cx.script_name(*script), *good, *exit)),
        Event::ScriptTimedOut { script } => info(format!("VRRP_Script({}) timed_out", cx.script_name(*script))),
        Event::ScriptOverrun { script } => {
            detail(format!("Track script {} is already running, expect idle - skipping run", cx.script_name(*script)))
        }
        Event::FaultsChanged { instance, faults } => match cx.role(*instance) {
            Role::Fault if !faults.is_empty() => {
                detail(format!("({}) faults: {}", cx.name(*instance), words::faults(faults)))
            }
            _ => Vec::new(),
        },
        Event::Healed { instance, addresses } => warn(healed(cx, *instance, addresses)),
        Event::ClaimFailed { instance, reason } => {
            warn(format!("({}) cannot set what it owns: {reason}", cx.name(*instance)))
        }
        Event::TrackerChanged { tracker, value } => {
            let (kind, name) = cx.tracker(*tracker);
            detail(format!("{kind} {name}: {}", words::track_value(*value)))
        }
        Event::LinkChanged { name, running } => {
            info(format!("Netlink reports {name} {}", if *running { "up" } else { "down" }))
        }
        Event::Deleted { name, was } => {
            info(format!("({name}) is not in the configuration any longer, was in {was} state"))
        }
        Event::Stopped { instance } => stopped(cx, *instance),
        Event::Slept { by } => warn(words::slept(*by)),
        Event::Replaced { instance, from, priority } => {
            warn(format!("({}) {}", cx.name(*instance), words::replaced(*from, *priority)))
        }
        Event::Late { by } => {
            warn(format!("VRRP thread timer expired {}.{:06} seconds ago", by.as_secs(), by.as_micros() % 1_000_000))
        }
        Event::SendFailed { instance, to, reason } => {
            warn(format!("({}) send advert error: {reason} (to {to})", cx.name(*instance)))
        }
        Event::Swept { instance, item, role } => {
            let name = cx.name(*instance);
            warn(format!("({name}) removed {item}: another program put it there, and {name} is {role}"))
        }
        Event::ReloadRefused { reason } => warn(format!("Reload refused, the running configuration goes on: {reason}")),
        Event::Reloaded => info("Configuration reloaded".into()),
    }
}

fn script_changed(name: &str, good: bool, exit: Exit) -> String {
    match (good, exit) {
        (true, _) => format!("VRRP_Script({name}) succeeded"),
        (false, Exit::Code(0)) => {
            format!("VRRP_Script({name}) succeeded, and counts as failed until it has `rise` times in a row")
        }
        (false, Exit::Code(code)) => format!("VRRP_Script({name}) failed (exited with status {code})"),
        (false, Exit::Signal(signal)) => format!("VRRP_Script({name}) failed (due to signal {signal})"),
        (false, Exit::NotRun) => format!("VRRP_Script({name}) failed (it could not be started)"),
    }
}

/// `addresses`: positions in the instance's claim.
fn healed(cx: &Context<'_>, id: InstanceId, addresses: &Range<u32>) -> String {
    let claim = cx.instance(id).map(|instance| &instance.claim);
    let range = addresses.start as usize..addresses.end as usize;
    let gone = claim.and_then(|claim| claim.addresses.get(range)).unwrap_or_default();
    let names = first_few(gone.iter().map(|a| format!("{}/{}", a.address, a.prefix)), 4, " ");
    format!("({}) {names} removed by another program, put back", cx.name(id))
}

fn stopped(cx: &Context<'_>, id: InstanceId) -> Vec<(Level, String)> {
    let name = cx.name(id);
    let mut lines = Vec::new();
    if cx.role(id) == Role::Master {
        lines.push((Level::DEBUG, format!("({name}) sent 0 priority")));
        lines.extend(removing(cx, id));
    }
    lines.push((Level::DEBUG, format!("({name}) Stopped")));
    lines
}

fn became(cx: &Context<'_>, id: InstanceId, from: Role, to: Role, why: &Cause) -> Vec<(Level, String)> {
    let (name, ours) = (cx.name(id), cx.priority(id));
    let mut out = Vec::new();
    let reason = match why {
        Cause::Outranked { by, priority } if from == Role::Master && *priority > ours => Some((
            Level::INFO,
            format!("Master received advert from {by} with higher priority {priority}, ours {ours}"),
        )),
        Cause::Outranked { by, priority } if from == Role::Master => Some((
            Level::INFO,
            format!("Master received advert from {by} with same priority {priority} but higher IP address than ours"),
        )),
        Cause::MasterLeft => {
            out.push((Level::INFO, format!("({name}) Backup received priority 0 advertisement")));
            Some((Level::DEBUG, "Receive advertisement timeout".into()))
        }
        Cause::MasterSilent => Some((Level::DEBUG, "Receive advertisement timeout".into())),
        Cause::Faulted(faults) if !faults.is_empty() => {
            Some((Level::INFO, format!("entering FAULT state ({})", words::faults(faults))))
        }
        Cause::Group { led_by } => Some((Level::DEBUG, format!("follows {} in its sync group", cx.name(*led_by)))),
        Cause::Stalled => Some((Level::WARN, "was stalled for longer than the other routers wait".into())),
        Cause::Drained => Some((Level::INFO, "hands over: drained by the operator".into())),
        Cause::Failover => Some((Level::INFO, "hands over: asked to by the operator".into())),
        Cause::Start
        | Cause::Owner
        | Cause::Preempts { .. }
        | Cause::Outranked { .. }
        | Cause::Faulted(_)
        | Cause::Recovered
        | Cause::NobodyTookOver
        | Cause::Stopping => None,
    };
    if let Some((level, text)) = reason {
        out.push((level, format!("({name}) {text}")));
    }
    let init = if *why == Cause::Start || from == Role::Init { " (init)" } else { "" };
    match to {
        Role::Master => out.push((Level::INFO, format!("({name}) Entering MASTER STATE"))),
        Role::Backup => out.push((Level::INFO, format!("({name}) Entering BACKUP STATE{init}"))),
        Role::Fault => out.push((Level::INFO, format!("({name}) Entering FAULT STATE{init}"))),
        Role::Init => {}
    }
    match (from, to) {
        (_, Role::Master) => out.extend(setting(cx, id)),
        (Role::Master, _) => {
            // Who was outranked leaves without a word.
            if !matches!(why, Cause::Outranked { .. }) {
                out.push((Level::DEBUG, format!("({name}) sent 0 priority")));
            }
            out.extend(removing(cx, id));
        }
        _ => {}
    }
    out
}

/// What a new master sets, a line a kind, in keepalived's words and order.
fn setting(cx: &Context<'_>, id: InstanceId) -> impl Iterator<Item = (Level, String)> {
    let [rules, routes, vips, excluded] = kinds_owned(cx, id);
    said(cx, id, "setting", [vips, excluded, routes, rules])
}

/// What is taken away from one that is master no longer.
fn removing(cx: &Context<'_>, id: InstanceId) -> impl Iterator<Item = (Level, String)> {
    said(cx, id, "removing", kinds_owned(cx, id))
}

fn said(
    cx: &Context<'_>,
    id: InstanceId,
    verb: &'static str,
    kinds: [Option<&'static str>; 4],
) -> impl Iterator<Item = (Level, String)> {
    let name = cx.name(id).to_owned();
    kinds.into_iter().flatten().map(move |kind| (Level::DEBUG, format!("({name}) {verb} {kind}")))
}

fn kinds_owned(cx: &Context<'_>, id: InstanceId) -> [Option<&'static str>; 4] {
    let Some(claim) = cx.instance(id).map(|instance| &instance.claim) else { return [None; 4] };
    [
        (!claim.rules.is_empty()).then_some("Virtual Rules"),
        (!claim.routes.is_empty()).then_some("Virtual Routes"),
        (claim.advertised > 0).then_some("VIPs."),
        (claim.addresses.len() > claim.advertised).then_some("E-VIPs."),
    ]
}

fn refused(
    cx: &Context<'_>,
    instance: Option<InstanceId>,
    from: &std::net::IpAddr,
    ifindex: u32,
    vrid: Option<Vrid>,
    why: Refusal,
) -> Vec<(Level, String)> {
    // These tell the operator nothing.
    if matches!(why, Refusal::NotListening | Refusal::OwnerIgnores) {
        return Vec::new();
    }
    let words = words::refusal(why);
    match (instance, vrid) {
        (Some(id), Some(theirs)) if why == Refusal::UnknownVrid => {
            let apart = match cx.instance(id) {
                // The right number in the wrong network.
                Some(InstanceSpec { vrid, interface: Some(name), .. }) if *vrid == theirs => {
                    format!(", but not where {name} is")
                }
                Some(instance) => format!(", ours is {}", instance.vrid),
                None => String::new(),
            };
            let name = cx.name(id);
            vec![(Level::WARN, format!("({name}) {from} speaks for our addresses with VRID {theirs}{apart}"))]
        }
        (Some(id), _) => vec![(Level::WARN, format!("({}) advert from {from} refused: {words}", cx.name(id)))],
        (None, Some(vrid)) if why == Refusal::UnknownVrid => {
            let level = if cx.spec.log_unknown_vrids { Level::INFO } else { Level::DEBUG };
            vec![(
                level,
                format!("Unknown VRID({vrid}) received on interface index {ifindex} from {from}. ignoring..."),
            )]
        }
        (None, _) => {
            vec![(Level::DEBUG, format!("datagram from {from} on interface index {ifindex} refused: {words}"))]
        }
    }
}

//! Who is tied to what: the trackers of instances and groups, with the weights that hold in the end.
//!
//! Weights and sync groups do not go together: members of a group fault together, so one member must not change its
//! priority alone, and an address owner has a priority that is not its own to change. What gives way, and with which
//! complaint, is keepalived's choice (`vrrp_complete_instance`, `sync_group_tracking_init`).

use crate::config::report::{Class, Diagnostic};
use crate::config::table::block::Cx;
use crate::config::text::source::Span;
use crate::config::vrrp::tracker::{Named, TieLine, Ties, Weight};
use crate::spec::*;
use rustc_hash::FxHashMap;

/// Trackers by name, with their own weight.
#[derive(Debug, Default)]
pub struct Trackers {
    /// `None`: removed, and what follows it with it.
    pub scripts: FxHashMap<Box<str>, Option<(ScriptId, Weight)>>,
    pub files: FxHashMap<Box<str>, (FileId, Weight)>,
    pub processes: FxHashMap<Box<str>, (ProcessId, Weight)>,
    pub bfds: FxHashMap<Box<str>, (BfdId, Weight)>,
}

/// The trackers of a group become those of each member: so many make no sense, and would fill the memory.
const MOST_TIES: usize = 1_000_000;

/// A tie and the line that made it.
struct Draft {
    tie: Tie,
    name: Box<str>,
    span: Span,
}

fn weighed(line: &TieLine, own: Weight) -> Weight {
    Weight { weight: line.weight.unwrap_or(own.weight), reverse: line.reverse.unwrap_or(own.reverse) }
}

impl Trackers {
    fn drafts(&self, ties: Option<&Ties>, from_group: bool) -> Vec<Draft> {
        let mut drafts = Vec::new();
        let Some(ties) = ties else { return drafts };
        let mut add = |line: &TieLine, found: Option<(TieTarget, Weight)>| {
            // What was removed has been noted.
            let Some((on, own)) = found else { return };
            let Weight { weight, reverse } = weighed(line, own);
            let tie = Tie { on, weight, reverse, from_group, asked: Some(weight) };
            drafts.push(Draft { tie, name: line.name.clone(), span: line.span });
        };
        for line in &ties.interfaces {
            add(line, IfName::new(&line.name).map(|name| (TieTarget::Interface(name), Weight::default())));
        }
        for line in &ties.scripts {
            let found = self.scripts.get(&line.name).copied().flatten();
            add(line, found.map(|(id, own)| (TieTarget::Script(id), own)));
        }
        for line in &ties.files {
            add(line, self.files.get(&line.name).map(|(id, own)| (TieTarget::File(*id), *own)));
        }
        for line in &ties.processes {
            add(line, self.processes.get(&line.name).map(|(id, own)| (TieTarget::Process(*id), *own)));
        }
        for line in &ties.bfds {
            add(line, self.bfds.get(&line.name).map(|(id, own)| (TieTarget::Bfd(*id), *own)));
        }
        drafts
    }

    /// The ties of an instance itself, which stands at `place` (its head and end). `unweighted`: it is in a group without
    /// sync_group_tracking_weight.
    pub fn of_instance(
        &self,
        ties: Option<&Ties>,
        place: (Span, Option<Span>),
        spec: &InstanceSpec,
        unweighted: bool,
        cx: &mut Cx<'_>,
    ) -> Vec<Tie> {
        let owner = spec.priority.0 == 255;
        let why = if unweighted { "its sync group has no sync_group_tracking_weight" } else { "its priority is 255" };
        let mut kept: Vec<Tie> = Vec::new();
        for Draft { mut tie, name, span } in self.drafts(ties, false) {
            if matches!(&tie.on, TieTarget::Interface(name) if Some(name) == spec.interface.as_ref()) {
                cx.mistake(
                    span,
                    format!("{}: {name} is its own interface, which is tracked anyhow; ignored", spec.name),
                    "remove it from track_interface",
                );
                continue;
            }
            if tie.weight != 0 && (unweighted || owner) {
                let say = |cx: &mut Cx<'_>, outcome: &str| {
                    let cure = if unweighted {
                        "write `sync_group_tracking_weight` in the sync group, or `weight 0` here"
                    } else {
                        "write a priority below 255, or `weight 0` here"
                    };
                    // A priority that could not be read has been complained about.
                    let class = if unweighted { Class::General } else { cx.class_without(&["priority"], place) };
                    let message =
                        format!("{}: {name} cannot count {} here, since {why}; {outcome}", spec.name, tie.weight);
                    cx.push(Diagnostic::new(class, span, message).help(cure));
                };
                match &tie.on {
                    TieTarget::Process(_) => {}
                    TieTarget::Interface(_) if unweighted => {
                        say(cx, "its loss is a fault instead");
                        (tie.weight, tie.asked) = (0, Some(0));
                    }
                    TieTarget::File(_) if tie.weight == 1 => {
                        say(cx, "a number other than 0 is a fault instead");
                        (tie.weight, tie.asked) = (0, Some(0));
                    }
                    TieTarget::Interface(_) | TieTarget::Script(_) | TieTarget::File(_) | TieTarget::Bfd(_) => {
                        say(cx, "it is not tracked");
                        continue;
                    }
                }
            }
            kept.push(tie);
        }
        watch_claim(spec, &mut kept);
        kept
    }

    /// Adds the trackers of a group to its members; gives back the group's own.
    pub fn of_group(
        &self,
        group: &Named<crate::config::vrrp::group::SyncGroup>,
        members: &[InstanceId],
        instances: &mut [InstanceSpec],
        cx: &mut Cx<'_>,
    ) -> Vec<Tie> {
        let owner = members.iter().any(|id| instances.get(id.index()).is_some_and(|i| i.priority.0 == 255));
        let mut ties = Vec::new();
        let drafts = self.drafts(group.settings.ties.as_deref(), true);
        if drafts.is_empty() {
            return ties;
        }
        if drafts.len().saturating_mul(members.len()) > MOST_TIES {
            let message = format!(
                "{}: {} trackers for each of {} members are more than {MOST_TIES} together; the group tracks nothing",
                group.name,
                drafts.len(),
                members.len()
            );
            cx.mistake(group.span, message, "track less, or make several groups");
            return ties;
        }
        let mut known: Vec<_> =
            members.iter().map(|id| instances.get(id.index()).map(|i| places(&i.ties)).unwrap_or_default()).collect();
        for Draft { mut tie, name, span } in drafts {
            if owner && tie.weight != 0 {
                cx.mistake(
                    span,
                    format!(
                        "{}: {name} cannot count {}, since a member has priority 255; its loss is a fault instead",
                        group.name, tie.weight
                    ),
                    "write `weight 0`, or give the member a priority below 255",
                );
                (tie.weight, tie.asked) = (0, Some(0));
            }
            for (id, places) in members.iter().zip(&mut known) {
                if let Some(member) = instances.get_mut(id.index()) {
                    add_to_member(&tie, member, places, (&name, span), cx);
                }
            }
            ties.push(tie);
        }
        ties
    }
}

/// The group's weight takes the place of the member's, unless that is 0.
fn add_to_member(
    tie: &Tie,
    member: &mut InstanceSpec,
    places: &mut FxHashMap<TieTarget, usize>,
    (name, span): (&str, Span),
    cx: &mut Cx<'_>,
) {
    let own_interface = matches!(&tie.on, TieTarget::Interface(i) if Some(i) == member.interface.as_ref());
    let Some(there) = places.get(&tie.on).and_then(|at| member.ties.get_mut(*at)) else {
        if own_interface && member.track_primary {
            cx.mistake(
                span,
                format!("{name} is the own interface of {}, which is tracked anyhow", member.name),
                "remove it from track_interface of the group",
            );
            return;
        }
        places.insert(tie.on.clone(), member.ties.len());
        return member.ties.push(tie.clone());
    };
    let message = format!("{} and its sync group both track {name}; ", member.name);
    let outcome = if there.weight == 0 { "the instance's 0 holds" } else { "the group's weight holds" };
    if matches!(tie.on, TieTarget::Interface(_)) {
        cx.mistake(span, message + outcome, "track it in one of the two places");
    } else {
        cx.note(span, message + outcome);
    }
    if there.weight != 0 {
        there.weight = tie.weight;
        if !matches!(tie.on, TieTarget::Process(_)) {
            there.reverse = tie.reverse;
        }
    }
}

/// Interfaces of addresses, routes and rules are watched: without them the claim cannot be kept.
fn watch_claim(spec: &InstanceSpec, ties: &mut Vec<Tie>) {
    let needed = spec.needed_interfaces();
    if needed.is_empty() {
        return;
    }
    let places = places(ties);
    for name in needed {
        let on = TieTarget::Interface(name.clone());
        match places.get(&on).and_then(|at| ties.get_mut(*at)) {
            Some(tie) => tie.weight = 0,
            None => ties.push(implied(on)),
        }
    }
}

/// Without it there is a fault, though nobody asked for it to be tracked.
fn implied(on: TieTarget) -> Tie {
    Tie { on, weight: 0, reverse: false, from_group: false, asked: None }
}

/// Where each thing stands in a list of ties; nothing is in it twice.
fn places(ties: &[Tie]) -> FxHashMap<TieTarget, usize> {
    ties.iter().enumerate().map(|(at, tie)| (tie.on.clone(), at)).collect()
}

/// Without this interface it is a fault, whatever weight it had.
fn watch(name: &IfName, ties: &mut Vec<Tie>) {
    let on = TieTarget::Interface(name.clone());
    match ties.iter_mut().find(|tie| tie.on == on) {
        Some(tie) => tie.weight = 0,
        None => ties.push(implied(on)),
    }
}

/// `track_group` of a static address, route or rule: the instances of that group need its interface as they need their
/// own (`static_track_group_init`). That of a rule is the one that it matches packets from.
pub fn watch_statics(spec: &mut Spec) {
    let Statics { addresses, routes, rules, groups } = &spec.statics;
    let tracked = |group: &Option<Box<str>>, no_track: bool| group.clone().filter(|_| !no_track);
    let of_addresses = addresses.iter().map(|a| (tracked(&a.track_group, a.no_track), &a.interface));
    let of_routes = routes.iter().map(|r| (tracked(&r.track_group, r.no_track), &r.interface));
    let of_rules = rules.iter().map(|r| (tracked(&r.track_group, r.no_track), &r.iif));
    for (group, interface) in of_addresses.chain(of_routes).chain(of_rules) {
        let (Some(group), Some(interface)) = (group, interface) else { continue };
        let members = groups.iter().filter(|(name, _)| *name == group).flat_map(|(_, members)| members);
        for member in members {
            let Some(instance) = spec.instances.get_mut(member.index()) else { continue };
            if instance.interface.as_ref() != Some(interface) || !instance.track_primary {
                watch(interface, &mut instance.ties);
            }
        }
    }
}

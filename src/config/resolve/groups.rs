//! Sync groups: which instances are in which, and what is wrong with a list of members.

use crate::config::report::{Class, Diagnostic};
use crate::config::table::block::Cx;
use crate::config::text::source::Span;
use crate::config::top::Top;
use crate::config::vrrp::group::SyncGroup;
use crate::config::vrrp::instance::Instance;
use crate::config::vrrp::instance::read::Wanted;
use crate::config::vrrp::tracker::Named;
use crate::spec::{GroupId, GroupSpec, InstanceId, InstanceSpec, Notify, Spec};
use rustc_hash::FxHashMap;

/// The instances by their names, where groups name any.
pub(super) fn ids(top: &Top) -> FxHashMap<Box<str>, InstanceId> {
    if top.sync_groups.is_empty() && top.track_groups.is_empty() {
        return FxHashMap::default();
    }
    top.instances.iter().enumerate().map(|(at, own)| (own.name.clone(), InstanceId(at as u32))).collect()
}

/// Which instance is in which group, and which block each group came from.
pub(super) struct Membership {
    /// By instance.
    pub(super) of: Vec<Option<GroupId>>,
    /// By group: the position of its block.
    pub(super) blocks: Vec<usize>,
}

/// Puts the groups into the Spec, without ties. One that has no member is left out.
pub(super) fn groups(
    top: &mut Top,
    ids: &FxHashMap<Box<str>, InstanceId>,
    notifies: Vec<Notify>,
    spec: &mut Spec,
    cx: &mut Cx<'_>,
) -> Membership {
    let mut membership = Membership { of: vec![None; top.instances.len()], blocks: Vec::new() };
    // Without an instance nobody has looked at the programs of groups.
    let notifies = notifies.into_iter().chain(std::iter::repeat_with(Notify::default));
    for (at, (group, notify)) in top.sync_groups.iter().zip(notifies).enumerate() {
        let id = GroupId(spec.groups.len() as u32);
        let (members, all_owners) = members(group, id, &top.instances, ids, &mut membership, cx);
        if members.is_empty() {
            cx.push(
                Diagnostic::new(
                    Class::General,
                    group.span,
                    format!("none of the members of {} exists; it is removed", group.name),
                )
                .help("list the names of vrrp_instance blocks, or remove the group"),
            );
            continue;
        }
        if members.len() == 1 {
            cx.push(
                Diagnostic::new(Class::General, group.span, format!("{} has only one member", group.name))
                    .help("remove the group, or list the instance that is to move with it"),
            );
        }
        membership.blocks.push(at);
        spec.groups.push(GroupSpec {
            name: group.name.clone(),
            members,
            starts_as_master: all_owners,
            tracking_weight: group.settings.tracking_weight.is_some(),
            notify,
            ties: Vec::new(),
        });
    }
    membership
}

/// The members of a group, which are in it from here on, and whether all of them are owners.
fn members(
    group: &Named<SyncGroup>,
    id: GroupId,
    instances: &[Named<Instance>],
    ids: &FxHashMap<Box<str>, InstanceId>,
    membership: &mut Membership,
    cx: &mut Cx<'_>,
) -> (Vec<InstanceId>, bool) {
    let mut members = Vec::new();
    let (mut all_owners, mut said) = (true, false);
    for (name, span) in group.settings.members.iter().flat_map(|(names, _)| names) {
        let Some(&member) = ids.get(name) else {
            no_such_member(group, name, *span, cx);
            continue;
        };
        let (Some(slot), Some(own)) = (membership.of.get_mut(member.index()), instances.get(member.index())) else {
            continue;
        };
        if slot.is_some() {
            cx.mistake(
                *span,
                format!("`{name}` is in a sync group already; {} goes without it", group.name),
                "list it in one group only",
            );
            continue;
        }
        *slot = Some(id);
        let state = own.settings.state.value();
        // Only what is written counts here, as with keepalived: `state MASTER` without a priority is an owner whose
        // group begins as BACKUP and takes over after an interval.
        let owner = state == Some(Wanted::Master) && own.settings.priority.value() == Some(255);
        if !members.is_empty() && all_owners && state == Some(Wanted::Backup) && !said {
            said = true;
            cx.mistake(
                *span,
                format!("{} has members with priority 255 and others; they cannot be master together", group.name),
                "put instances with priority 255 into a group of their own",
            );
        }
        all_owners &= owner;
        members.push(member);
    }
    (members, all_owners)
}

fn no_such_member(group: &Named<SyncGroup>, name: &str, span: Span, cx: &mut Cx<'_>) {
    let message = format!("there is no vrrp_instance `{name}`; {} goes without it", group.name);
    let help = match cx.nearest("vrrp_instance", name) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "correct the name, or remove it from the group".to_owned(),
    };
    cx.push(Diagnostic::new(Class::General, span, message).help(help));
}

/// If one member cannot start as master, none does.
pub(super) fn settle_start(group: &GroupSpec, instances: &mut [InstanceSpec]) {
    let mut members = group.members.iter().filter_map(|id| instances.get(id.index()));
    let backup = members.any(|i| !i.wants_master || i.priority.0 != 255);
    if backup {
        for id in &group.members {
            if let Some(member) = instances.get_mut(id.index()) {
                member.wants_master = false;
            }
        }
    }
}

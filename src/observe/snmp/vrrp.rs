//! Sync groups and instances of KEEPALIVED-MIB.

use super::{KEEPALIVED, Row, Seen, Tree, Value, rows, state};
use crate::observe::describe::command;
use crate::spec::{Auth, InstanceSpec, Notify, Run, Spec, TieTarget, Transport};
use crate::vrrp::io::Role;
use crate::vrrp::snapshot::InstanceView;
use crate::wire::Version;

pub(super) fn fill(tree: &mut Tree, seen: &Seen<'_>) {
    groups(tree, seen);
    let table = [KEEPALIVED, &[2, 3]].concat();
    for (index, (one, view)) in rows(seen.spec.instances.iter().zip(&seen.now.instances)) {
        instance(&mut Row::new(tree, &table, &[index]), seen.spec, one, view);
    }
}

fn script(run: Option<&Run>) -> Option<Value> {
    run.map(|run| Value::text(command(run)))
}

fn has_a_program(notify: &Notify) -> bool {
    let own = [&notify.master, &notify.backup, &notify.fault, &notify.stop, &notify.deleted, &notify.any];
    own.iter().any(|run| run.is_some()) || notify.master_rx_lower_pri.is_some()
}

fn groups(tree: &mut Tree, seen: &Seen<'_>) {
    let (table, members) = ([KEEPALIVED, &[2, 1]].concat(), [KEEPALIVED, &[2, 2]].concat());
    for (index, (group, view)) in rows(seen.spec.groups.iter().zip(&seen.now.groups)) {
        let notify = &group.notify;
        Row::new(tree, &table, &[index])
            .text(2, &group.name)
            .integer(3, state(view.state))
            .truth(4, notify.mail)
            .truth(5, has_a_program(notify))
            .maybe(6, script(notify.master.as_deref()))
            .maybe(7, script(notify.backup.as_deref()))
            .maybe(8, script(notify.fault.as_deref()))
            .maybe(9, script(notify.any.as_deref()))
            .truth(10, group.tracking_weight)
            .maybe(11, script(notify.stop.as_deref()));
        for (member, name) in rows(&view.members) {
            Row::new(tree, &members, &[index, member]).text(2, name);
        }
    }
}

fn instance(row: &mut Row<'_>, spec: &Spec, one: &InstanceSpec, view: &InstanceView) {
    let notify = &one.notify;
    let group = one.group.and_then(|group| spec.groups.get(group.index()));
    let initial = if one.wants_master { Role::Master } else { Role::Backup };
    let tracks = one.ties.iter().any(|tie| tie.asked.is_some() && matches!(tie.on, TieTarget::Interface(_)));
    let interval = match one.version {
        Version::V2 => one.interval.as_micros() / 1_000_000,
        Version::V3 => one.interval.as_micros() / 10_000,
    };
    row.text(2, &one.name)
        .unsigned(3, one.vrid.get())
        .integer(4, state(view.state))
        .integer(5, state(initial))
        .integer(6, state(view.wanted))
        .integer(7, one.priority.0)
        .integer(8, view.effective_priority.0)
        .integer(9, if view.owned { 1 } else { 2 })
        .maybe(10, view.link.as_ref().or(view.interface.as_ref()).map(Value::text))
        .truth(11, tracks)
        .unsigned(12, interval)
        .integer(13, if one.preempt { 1 } else { 2 })
        .unsigned(14, one.preempt_delay.as_secs())
        .integer(
            15,
            match one.auth {
                Auth::None | Auth::Hmac(_) => 0,
                Auth::Pass(_) => 1,
                Auth::Ah(_) => 2,
            },
        );
    let sync = spec.daemon.shown.sync_daemon.as_ref();
    let sync = sync.filter(|(_, instance)| instance.as_deref() == Some(&one.name));
    row.truth(16, sync.is_some())
        .maybe(17, sync.map(|(interface, _)| Value::text(interface.as_str())))
        .maybe(18, group.map(|group| Value::text(&group.name)))
        .unsigned(19, one.garp.delay.as_secs())
        .truth(20, notify.mail)
        .truth(21, has_a_program(notify))
        .maybe(22, script(notify.master.as_deref()))
        .maybe(23, script(notify.backup.as_deref()))
        .maybe(24, script(notify.fault.as_deref()))
        .maybe(25, script(notify.stop.as_deref()))
        .maybe(26, script(notify.any.as_deref()))
        .integer(
            27,
            if one.version == Version::V2 {
                0
            } else if one.accept {
                1
            } else {
                2
            },
        )
        .truth(28, one.promote_secondaries)
        .truth(29, one.interface.as_ref().is_some_and(|name| spec.linkbeat.iter().any(|beat| beat.interface == *name)))
        .integer(30, if one.version == Version::V2 { 2 } else { 3 })
        .maybe(31, script(notify.master_rx_lower_pri.as_deref()))
        .maybe(32, script(notify.deleted.as_deref()))
        .truth(33, notify.tell_deleted);
    if let Transport::Multicast { group } = &one.transport {
        row.set(34, Value::address_type(Some(group))).set(35, Value::address(*group));
    }
    row.truth(36, one.checksum.v3_as_v2);
}

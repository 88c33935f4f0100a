//! The scalars of KEEPALIVED-MIB's global branch.

use super::{KEEPALIVED, Row, Seen, Tree, Value, rows};
use std::net::IpAddr;

pub(super) fn fill(tree: &mut Tree, seen: &Seen<'_>) {
    let (daemon, shown) = (&seen.spec.daemon, &seen.spec.daemon.shown);
    let mail = &daemon.mail;
    let base = [KEEPALIVED, &[1]].concat();
    let mut put = |tail: &[u32], value: Value| tree.set(&base, &[tail, &[0]].concat(), value);
    put(&[1], Value::text(seen.version));
    put(&[2], Value::text(&daemon.router_id));
    // A server that was given by name is resolved when mail is sent: its address is not known here.
    let server = mail.server.as_deref().and_then(|server| server.parse::<IpAddr>().ok());
    put(&[3, 1], Value::address_type(server.as_ref()));
    put(&[3, 2], server.map_or_else(|| Value::Octets(vec![0; 4]), Value::address));
    let there = mail.server.is_some();
    put(&[3, 3], Value::Unsigned(if there { mail.timeout_secs } else { 0 }));
    if let Some(from) = &mail.from {
        put(&[3, 4], Value::text(from));
    }
    put(&[3, 6], Value::Unsigned(if there { mail.port.into() } else { 0 }));
    put(&[3, 7], Value::truth(!mail.no_faults));
    for (column, alert) in (8..).zip(shown.smtp_alert) {
        put(&[3, column], Value::Integer(alert.map_or(3, |on| if on { 1 } else { 2 })));
    }
    put(&[4], Value::truth(daemon.snmp.traps));
    put(&[5], Value::Integer(if daemon.snmp.polled_carrier { 2 } else { 1 }));
    put(&[6], Value::truth(shown.lvs_flush));
    put(&[7], Value::Integer(1));
    put(&[8], Value::text(daemon.net_namespace.as_deref().unwrap_or("")));
    put(&[9], Value::truth(daemon.dbus.enabled));
    put(&[10], Value::truth(seen.spec.dynamic_interfaces));
    put(&[11], Value::Integer(shown.lvs_flush_on_stop.map_or(2, |only_services| if only_services { 3 } else { 1 })));
    put(&[12], Value::truth(shown.v3_checksum_as_v2));
    let recipients = [KEEPALIVED, &[1, 3, 5]].concat();
    for (index, to) in rows(&mail.to) {
        Row::new(tree, &recipients, &[index]).text(2, to);
    }
}

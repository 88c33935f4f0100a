//! The branch of KEEPALIVED-MIB about virtual servers: groups, virtual servers, real servers, the synchronisation daemon and
//! time-outs.
//!
//! Statistics come from a look at the kernel's table; where there was none their columns are left out.

use super::{KEEPALIVED, Row, Tree, Value, rows};
use crate::balance::io::{DestinationTraffic, Stats, Traffic};
use crate::balance::snapshot::{ServerView, ServiceView, Snapshot};
use crate::observe::describe;
use crate::spec::Run;
use crate::spec::balance::{
    Defaults, Endpoint, Forwarding, Granularity, GroupEntry, LvsSettings, LvsSpec, Method, Protocol, RealServer,
    ServerGroup, SorryServer, Target, TunnelChecksum, TunnelKind, VirtualServer,
};
use crate::time::Interval;
use crate::wire::Family;

/// Virtual servers at one moment, and what the kernel had counted, each look as old as its interval allows.
#[derive(Clone, Copy, Debug)]
pub struct Servers<'a> {
    pub snapshot: &'a Snapshot,
    /// For virtual servers.
    pub of_services: Option<&'a Traffic>,
    /// For real servers.
    pub of_servers: Option<&'a Traffic>,
}

pub(super) fn fill(tree: &mut Tree, servers: &Servers<'_>) {
    let spec = &servers.snapshot.spec;
    groups(tree, &spec.groups);
    let table = [KEEPALIVED, &[3, 3]].concat();
    for (index, (view, own)) in rows(servers.snapshot.services.iter().zip(&spec.services)) {
        service(&mut Row::new(tree, &table, &[index]), view, own);
        let stats = servers.of_services.map(|traffic| traffic.service(&view.keys).unwrap_or_default());
        if let Some(stats) = stats {
            service_stats(&mut Row::new(tree, &table, &[index]), &stats);
        }
        real_servers(tree, index, servers, view, own);
    }
    scalars(tree, &spec.settings);
}

fn groups(tree: &mut Tree, groups: &[ServerGroup]) {
    let (table, members) = ([KEEPALIVED, &[3, 1]].concat(), [KEEPALIVED, &[3, 2]].concat());
    for (index, group) in rows(groups) {
        Row::new(tree, &table, &[index]).text(2, &group.name);
        let is_mark = |entry: &&GroupEntry| matches!(entry, GroupEntry::Mark { .. });
        let marks = group.entries.iter().filter(is_mark);
        let addresses = group.entries.iter().filter(|entry| !is_mark(entry));
        for (member, entry) in rows(marks.chain(addresses)) {
            let mut row = Row::new(tree, &members, &[index, member]);
            match entry {
                GroupEntry::Mark { mark, .. } => {
                    row.integer(2, 1).unsigned(3, *mark);
                }
                GroupEntry::Range { first, last, port } => {
                    row.integer(2, if first == last { 2 } else { 3 }).set(4, Value::address_type(Some(first)));
                    match first == last {
                        true => row.set(5, Value::address(*first)),
                        false => row.set(6, Value::address(*first)).set(7, Value::address(*last)),
                    };
                    row.unsigned(8, port.unwrap_or(0));
                }
            }
        }
    }
}

/// `virtualServerType` and what tells the service apart, as rows and notifications have it: by column.
pub(super) fn identity(own: &VirtualServer) -> Vec<(u32, Value)> {
    match &own.target {
        Target::Mark(mark) => vec![(2, Value::Integer(1)), (4, Value::Unsigned(*mark))],
        Target::Address(Endpoint { address, port }) => vec![
            (2, Value::Integer(2)),
            (5, Value::address_type(Some(address))),
            (6, Value::address(*address)),
            (7, Value::Unsigned(port.unwrap_or(0).into())),
        ],
        Target::Group(name) => vec![(2, Value::Integer(3)), (3, Value::text(name))],
    }
}

/// tcp 1, udp 2, sctp 3, none 4.
pub(super) fn protocol(own: &VirtualServer) -> i32 {
    match own.protocol {
        Some(Protocol::Tcp) => 1,
        Some(Protocol::Udp) => 2,
        Some(Protocol::Sctp) => 3,
        None => 4,
    }
}

fn algorithm(scheduler: &str) -> i32 {
    const ALL: [&str; 14] =
        ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos"];
    ALL.iter().position(|known| *known == scheduler).map_or(99, |at| at as i32 + 1)
}

const fn method(forwarding: Forwarding) -> i32 {
    match forwarding.method {
        Method::Nat => 1,
        Method::Direct => 2,
        Method::Tunnel => 3,
    }
}

/// The type, port and checksum of a tunnel in three columns from `column` on.
fn tunnel(row: &mut Row<'_>, column: u32, forwarding: Forwarding) {
    if forwarding.method != Method::Tunnel {
        return;
    }
    let kind = match forwarding.tunnel {
        TunnelKind::Ipip => 1,
        TunnelKind::Gue(_) => 2,
        TunnelKind::Gre => 3,
    };
    row.integer(column, kind);
    if let TunnelKind::Gue(port) = forwarding.tunnel {
        row.unsigned(column + 1, port);
    }
    if forwarding.tunnel != TunnelKind::Ipip {
        let checksum = match forwarding.checksum {
            TunnelChecksum::None => 1,
            TunnelChecksum::Checksum => 2,
            TunnelChecksum::Remote => 3,
        };
        row.integer(column + 2, checksum);
    }
}

fn micros(interval: Interval) -> u64 {
    interval.as_micros()
}

fn service(row: &mut Row<'_>, view: &ServiceView, own: &VirtualServer) {
    for (column, value) in identity(own) {
        row.set(column, value);
    }
    let family = own.family.map(|family| if family == Family::V4 { 1 } else { 2 });
    if !matches!(own.target, Target::Address(_)) {
        row.integer(5, family.unwrap_or(0));
    }
    if !matches!(own.target, Target::Mark(_)) {
        row.integer(8, protocol(own));
    }
    row.integer(9, algorithm(own.scheduler));
    if own.shown.forwarding {
        row.integer(10, method(own.forwarding));
        tunnel(row, 68, own.forwarding);
    }
    let serves = view.refused.len() < view.keys.len();
    row.integer(11, if serves { 1 } else { 2 });
    let defaults = &own.shown.defaults;
    row.maybe(12, defaults.virtual_host.as_ref().map(Value::text));
    persistence(row, own);
    row.unsigned(16, defaults.delay_loop.as_secs()).truth(17, own.ha_suspend);
    row.truth(18, own.shown.alpha).truth(19, own.omega);
    let up = view.servers.iter().filter(|server| server.up).count();
    row.unsigned(20, view.servers.len() as u64).unsigned(21, up as u64).unsigned(22, own.quorum);
    row.integer(23, if view.quorum { 1 } else { 2 });
    scripts(row, [24, 72], own.quorum_up.as_ref());
    scripts(row, [25, 73], own.quorum_down.as_ref());
    row.unsigned(26, own.hysteresis);
    let [first, second, third] = own.flags.flags;
    row.truth(37, own.flags.one_packet).truth(52, false);
    row.truth(53, first).truth(54, second).truth(55, third).truth(62, first).truth(63, second);
    row.integer(56, if own.shown.inhibit { 2 } else { 1 });
    row.unsigned(57, defaults.retry.unwrap_or(0));
    let (pause, warmup) = (defaults.delay_before_retry.unwrap_or_default(), defaults.warmup.unwrap_or_default());
    row.unsigned(58, pause.as_secs()).unsigned(59, warmup.as_secs());
    row.integer(60, own.shown.weight).truth(61, own.mail);
    row.unsigned(64, micros(defaults.delay_loop)).unsigned(65, micros(pause)).unsigned(66, micros(warmup));
    row.unsigned(67, micros(defaults.connect_timeout));
    row.maybe(71, own.snmp_name.as_ref().map(Value::text));
}

/// Of addresses the granularity of their family; marks and groups show both, as keepalived's do.
fn persistence(row: &mut Row<'_>, own: &VirtualServer) {
    row.truth(13, own.persistence.is_some());
    row.maybe(14, own.persistence.as_ref().map(|persistence| Value::Unsigned(persistence.timeout)));
    let granularity = own.persistence.as_ref().map_or(Granularity::Host, |persistence| persistence.granularity);
    let addressed = matches!(own.target, Target::Address(_));
    if !addressed || own.family == Some(Family::V4) {
        let mask = if let Granularity::Mask(mask) = granularity { mask } else { u32::MAX };
        row.set(15, Value::Octets(mask.to_be_bytes().to_vec()));
    }
    if !addressed || own.family == Some(Family::V6) {
        let prefix = if let Granularity::Prefix(prefix) = granularity { prefix } else { 128 };
        row.unsigned(51, prefix);
    }
}

/// The command line in one column, the program alone in another.
fn scripts(row: &mut Row<'_>, [command, path]: [u32; 2], run: Option<&Run>) {
    if let Some(run) = run {
        row.text(command, describe::command(run)).text(path, run.program());
    }
}

/// A gauge of the old columns: the low half of a wide one.
fn gauge(row: &mut Row<'_>, column: u32, count: u64) {
    row.set(column, Value::Unsigned(count as u32));
}

fn rates(stats: &Stats) -> [u64; 5] {
    [stats.connection_rate, stats.packet_rate_in, stats.packet_rate_out, stats.byte_rate_in, stats.byte_rate_out]
}

/// The columns that both tables have: `at` the first of the old counters without connections, of the old rates, of the wide
/// counters, of the halves of rates and of the wide rates.
fn counted(row: &mut Row<'_>, stats: &Stats, at: [u32; 5]) {
    let [counters, old, wide, halves, whole] = at;
    row.set(counters, Value::counter(stats.packets_in)).set(counters + 1, Value::counter(stats.packets_out));
    row.set(counters + 2, Value::Counter64(stats.bytes_in)).set(counters + 3, Value::Counter64(stats.bytes_out));
    for (number, rate) in (0..).zip(rates(stats)) {
        gauge(row, old + number, rate);
        gauge(row, halves + 2 * number, rate);
        gauge(row, halves + 2 * number + 1, rate >> 32);
        row.set(whole + number, Value::Counter64(rate));
    }
    for (column, count) in (wide..).zip([stats.connections, stats.packets_in, stats.packets_out]) {
        row.set(column, Value::Counter64(count));
    }
}

fn service_stats(row: &mut Row<'_>, stats: &Stats) {
    gauge(row, 27, stats.connections);
    counted(row, stats, [28, 32, 38, 41, 74]);
}

fn real_servers(tree: &mut Tree, index: u32, servers: &Servers<'_>, view: &ServiceView, own: &VirtualServer) {
    let table = [KEEPALIVED, &[3, 4]].concat();
    let stats = |endpoint, forwarding| {
        servers.of_servers.map(|traffic| traffic.server(&view.keys, endpoint, forwarding).unwrap_or_default())
    };
    let first = first_row(own);
    if let Some(sorry) = &own.sorry {
        let mut row = Row::new(tree, &table, &[index, 1]);
        sorry_server(&mut row, sorry);
        if let Some(stats) = stats(sorry.endpoint, sorry.forwarding) {
            server_stats(&mut row, &stats);
        }
    }
    for (number, (server, real)) in (first..).zip(view.servers.iter().zip(&own.servers)) {
        let mut row = Row::new(tree, &table, &[index, number]);
        real_server(&mut row, server, real);
        if let Some(stats) = stats(real.endpoint, real.forwarding) {
            server_stats(&mut row, &stats);
        }
    }
}

/// Which real server of which virtual server has these rows of realServerTable.
pub fn server_at(spec: &LvsSpec, service: u32, server: u32) -> Option<(usize, &RealServer)> {
    let at = (service as usize).checked_sub(1)?;
    let own = spec.services.get(at)?;
    let number = server.checked_sub(first_row(own))?;
    Some((at, own.servers.get(number as usize)?))
}

/// The row of the first real server: the sorry server comes before it.
pub(super) fn first_row(own: &VirtualServer) -> u32 {
    1 + u32::from(own.sorry.is_some())
}

fn place(row: &mut Row<'_>, endpoint: Endpoint, forwarding: Forwarding) {
    let Endpoint { address, port } = endpoint;
    row.set(3, Value::address_type(Some(&address))).set(4, Value::address(address));
    row.unsigned(5, port.unwrap_or(0)).integer(40, method(forwarding));
    tunnel(row, 52, forwarding);
}

fn sorry_server(row: &mut Row<'_>, sorry: &SorryServer) {
    row.integer(2, 2);
    place(row, sorry.endpoint, sorry.forwarding);
    row.truth(42, false).truth(47, false);
    for column in (43..=46).chain(48..=51) {
        row.unsigned(column, 0_u32);
    }
}

fn real_server(row: &mut Row<'_>, view: &ServerView, own: &RealServer) {
    row.integer(2, 1).integer(6, if view.up { 1 } else { 2 });
    place(row, own.endpoint, own.forwarding);
    row.integer(7, view.weight.clamp(0, i64::from(i32::MAX)));
    let limit = |connections: u32| (connections > 0).then_some(Value::Unsigned(connections));
    row.maybe(8, limit(own.upper_threshold)).maybe(9, limit(own.lower_threshold));
    row.integer(10, if own.inhibit { 2 } else { 1 });
    scripts(row, [11, 56], own.notify_up.as_ref());
    scripts(row, [12, 57], own.notify_down.as_ref());
    row.unsigned(13, view.failed as u64);
    let Defaults { delay_loop, retry, delay_before_retry, warmup, connect_timeout, virtual_host } = &own.shown;
    let (pause, warmup) = (delay_before_retry.unwrap_or_default(), warmup.unwrap_or_default());
    row.maybe(41, virtual_host.as_ref().map(Value::text)).truth(42, own.alpha);
    row.unsigned(43, retry.unwrap_or(0)).unsigned(44, pause.as_secs()).unsigned(45, warmup.as_secs());
    row.unsigned(46, delay_loop.as_secs()).truth(47, own.mail);
    row.unsigned(48, micros(pause)).unsigned(49, micros(warmup)).unsigned(50, micros(*delay_loop));
    row.unsigned(51, micros(*connect_timeout));
    row.maybe(55, own.snmp_name.as_ref().map(Value::text));
    row.unsigned(63, view.checks.iter().filter(|check| !check.ran).count() as u64);
}

fn server_stats(row: &mut Row<'_>, seen: &DestinationTraffic) {
    gauge(row, 14, seen.stats.connections);
    row.unsigned(15, seen.active).unsigned(16, seen.inactive).unsigned(17, seen.persistent);
    counted(row, &seen.stats, [18, 22, 27, 30, 58]);
}

fn scalars(tree: &mut Tree, settings: &LvsSettings) {
    let base = [KEEPALIVED, &[3]].concat();
    let mut put = |tail: &[u32], value: Value| tree.set(&base, &[tail, &[0]].concat(), value);
    let daemon = settings.sync_daemon.as_ref();
    put(&[6, 1], Value::truth(daemon.is_some()));
    if let Some(daemon) = daemon {
        put(&[6, 2], Value::text(daemon.interface.as_str()));
        if let Some(instance) = &daemon.instance {
            put(&[6, 3], Value::text(instance));
        }
        put(&[6, 4], Value::Integer(daemon.id.unwrap_or(0).into()));
        put(&[6, 5], Value::Integer(daemon.max_length.unwrap_or(0).into()));
        put(&[6, 6], Value::Integer(daemon.port.unwrap_or(0).into()));
        put(&[6, 7], Value::Integer(daemon.ttl.unwrap_or(0).into()));
        if let Some(group) = daemon.group {
            put(&[6, 8], Value::address_type(Some(&group)));
            put(&[6, 9], Value::address(group));
        }
    }
    let timeouts = [settings.timeouts.tcp, settings.timeouts.tcp_fin, settings.timeouts.udp];
    for (column, seconds) in (1..).zip(timeouts) {
        if let Some(seconds) = seconds.filter(|seconds| *seconds > 0) {
            put(&[7, column], Value::Integer(i32::try_from(seconds).unwrap_or(i32::MAX)));
        }
    }
}

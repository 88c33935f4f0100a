//! VRRP-MIB (RFC 2787) and VRRPV3-MIB (RFC 6527), filled as keepalived fills them.
//!
//! RFC 2787 shows version 2 over IPv4. RFC 6527 shows version 3, and version 2 too, as keepalived does when it is built
//! with both. An instance without addresses in its adverts is in neither. Rows are named by the interface below, also
//! where a VMAC carries the addresses.

use super::{RFC2787, RFC6527, Row, Seen, Tree, Value};
use crate::spec::{Auth, InstanceSpec, Spec};
use crate::vrrp::io::{Cause, Refusal, Role};
use crate::vrrp::snapshot::{Counters, InstanceView};
use crate::wire::{Family, Version};
use std::net::{IpAddr, Ipv4Addr};

/// An instance that has a row, and the row's interface and VRID.
struct Shown<'a> {
    one: &'a InstanceSpec,
    view: &'a InstanceView,
    index: Vec<u32>,
}

fn shown<'a>(seen: &Seen<'a>, wanted: impl Fn(&InstanceSpec) -> bool) -> Vec<Shown<'a>> {
    let pairs = seen.spec.instances.iter().zip(&seen.now.instances);
    let with_row = pairs.filter(|(one, _)| one.claim.advertised > 0 && wanted(one));
    with_row
        .map(|(one, view)| {
            let interface = seen.index_of(view.interface.as_deref()).unwrap_or(0);
            Shown { one, view, index: vec![interface, one.vrid.get().into()] }
        })
        .collect()
}

/// Which instances VRRP-MIB has rows for.
pub(super) fn in_2787(one: &InstanceSpec) -> bool {
    one.version == Version::V2 && one.family == Family::V4
}

/// initialize 1, backup 2, master 3, in both MIBs.
const fn oper_state(role: Role) -> i32 {
    match role {
        Role::Init | Role::Fault => 1,
        Role::Backup => 2,
        Role::Master => 3,
    }
}

/// 00-00-5E-00-01-VRID or …-02-VRID (RFC 9568 §7.3), unless another MAC is configured.
fn virtual_mac(one: &InstanceSpec) -> Vec<u8> {
    one.virtual_mac().to_vec()
}

fn runs(view: &InstanceView) -> bool {
    matches!(view.state, Role::Backup | Role::Master)
}

fn master_v4(view: &InstanceView) -> Ipv4Addr {
    match view.master.as_ref().and_then(|master| master.address) {
        Some(IpAddr::V4(address)) => address,
        _ => Ipv4Addr::UNSPECIFIED,
    }
}

/// Sum over all instances that have a row, and what belongs to none.
fn sum(seen: &Seen<'_>, rows: &[Shown<'_>], why: Refusal) -> u64 {
    let of = |counters: &Counters| counters.refused.get(&why).copied().unwrap_or(0);
    let stray = seen.now.refused.get(&why).copied().unwrap_or(0);
    rows.iter().map(|row| of(&row.view.counters)).sum::<u64>() + stray
}

pub(super) fn fill_2787(tree: &mut Tree, seen: &Seen<'_>) {
    let rows = shown(seen, in_2787);
    tree.set(RFC2787, &[1, 1, 0], Value::Integer(2));
    tree.set(RFC2787, &[1, 2, 0], Value::truth(seen.spec.daemon.snmp.traps));
    let (operations, statistics) = ([RFC2787, &[1, 3]].concat(), [RFC2787, &[2, 4]].concat());
    for Shown { one, view, index } in &rows {
        let primary = match view.source {
            Some(IpAddr::V4(address)) => address,
            _ => Ipv4Addr::UNSPECIFIED,
        };
        let auth = match one.auth {
            Auth::None | Auth::Hmac(_) => 1,
            Auth::Pass(_) => 2,
            Auth::Ah(_) => 3,
        };
        Row::new(tree, &operations, index)
            .set(2, Value::Octets(virtual_mac(one)))
            .integer(3, oper_state(view.state))
            .integer(4, 1)
            .integer(5, one.priority.0)
            .integer(6, one.claim.advertised as i64)
            .set(7, Value::Address(master_v4(view)))
            .set(8, Value::Address(primary))
            .integer(9, auth)
            .integer(11, one.interval.as_secs() as i64)
            .truth(12, one.preempt)
            .set(13, Value::Ticks(if runs(view) { seen.sys_uptime(view.since) } else { 0 }))
            .integer(14, 1)
            .integer(15, 1);
        for item in one.claim.addresses.iter().take(one.claim.advertised) {
            if let IpAddr::V4(address) = item.address {
                let tail: Vec<u32> = address.octets().map(u32::from).to_vec();
                tree.set(RFC2787, &[&[1, 4, 1, 2], index.as_slice(), &tail].concat(), Value::Integer(1));
            }
        }
        let counters = &view.counters;
        let mut row = Row::new(tree, &statistics, index);
        let columns = [
            counters.become_master,
            counters.advert_rcvd,
            counters.advert_interval_err,
            counters.auth_failure,
            counters.ip_ttl_err,
            counters.pri_zero_rcvd,
            counters.pri_zero_sent,
            counters.invalid_type_rcvd,
            counters.addr_list_err,
            counters.invalid_authtype,
            counters.authtype_mismatch,
            counters.packet_len_err,
        ];
        for (column, count) in (1..).zip(columns) {
            row.set(column, Value::counter(count));
        }
    }
    for (column, why) in [(1, Refusal::Checksum), (2, Refusal::Version), (3, Refusal::UnknownVrid)] {
        tree.set(RFC2787, &[2, column, 0], Value::counter(sum(seen, &rows, why)));
    }
}

/// Why a router became master (vrrpv3StatisticsNewMasterReason); `None` where it is none.
pub(super) const fn reason(role: Role, why: &Cause) -> i32 {
    match (role, why) {
        (Role::Master, Cause::MasterLeft) => 1,
        (Role::Master, Cause::Preempts { .. } | Cause::Owner) => 2,
        (Role::Master, _) => 3,
        _ => 0,
    }
}

/// vrrpv3StatisticsProtoErrReason of a refused packet; `None` for what the MIB has no number for.
pub(super) const fn protocol_error(why: Refusal) -> Option<i32> {
    match why {
        Refusal::Ttl => Some(1),
        Refusal::Version => Some(2),
        Refusal::Checksum => Some(3),
        Refusal::UnknownVrid => Some(4),
        _ => None,
    }
}

fn address_type(family: Family) -> u32 {
    match family {
        Family::V4 => 1,
        Family::V6 => 2,
    }
}

pub(super) fn fill_6527(tree: &mut Tree, seen: &Seen<'_>) {
    let rows = shown(seen, |_| true);
    let operations = [RFC6527, &[1, 1, 1]].concat();
    let statistics = [RFC6527, &[1, 2, 5]].concat();
    for Shown { one, view, index } in &rows {
        let index = [index.as_slice(), &[address_type(one.family)]].concat();
        let own = view.source.map(Value::address);
        let master = view.master.as_ref().and_then(|master| master.address).map(Value::address);
        let nobody = || Value::Octets(vec![0; if one.family == Family::V4 { 4 } else { 16 }]);
        let up = if runs(view) { seen.now.now.since(view.since).as_micros() / 10_000 } else { 0 };
        Row::new(tree, &operations, &index)
            .set(3, master.unwrap_or_else(nobody))
            .set(4, own.unwrap_or_else(nobody))
            .set(5, Value::Octets(virtual_mac(one)))
            .integer(6, oper_state(view.state))
            .unsigned(7, one.priority.0)
            .integer(8, one.claim.advertised as i64)
            .integer(9, one.interval.as_centis() as i64)
            .truth(10, one.preempt)
            .truth(11, one.version == Version::V2 || one.accept)
            .set(12, Value::Ticks(up as u32))
            .integer(13, 1);
        for item in one.claim.addresses.iter().take(one.claim.advertised) {
            let bytes: Vec<u32> = match item.address {
                IpAddr::V4(address) => address.octets().map(u32::from).to_vec(),
                IpAddr::V6(address) => address.octets().map(u32::from).to_vec(),
            };
            tree.set(RFC6527, &[&[1, 1, 2, 1, 2], index.as_slice(), &bytes].concat(), Value::Integer(1));
        }
        let counters = &view.counters;
        let wide = |count: u64| Value::Counter64(count);
        let errors = view.refused_speakers.iter();
        let errors = errors.filter_map(|speaker| Some((speaker.last_heard, protocol_error(speaker.why)?)));
        let last_error = errors.max_by_key(|(at, _)| *at).map_or(0, |(_, error)| error);
        Row::new(tree, &statistics, &index)
            .set(1, Value::counter(counters.become_master))
            .integer(2, reason(view.state, &view.why))
            .set(3, wide(counters.advert_rcvd))
            .set(4, wide(counters.advert_interval_err))
            .set(5, wide(counters.ip_ttl_err))
            .integer(6, last_error)
            .set(7, wide(counters.pri_zero_rcvd))
            .set(8, wide(counters.pri_zero_sent))
            .set(9, wide(counters.invalid_type_rcvd))
            .set(10, wide(counters.addr_list_err))
            .set(11, wide(counters.packet_len_err))
            .set(12, Value::Ticks(0))
            .unsigned(13, one.interval.as_millis());
    }
    for (column, why) in [(1, Refusal::Checksum), (2, Refusal::Version), (3, Refusal::UnknownVrid)] {
        tree.set(RFC6527, &[1, 2, column, 0], Value::Counter64(sum(seen, &rows, why)));
    }
    tree.set(RFC6527, &[1, 2, 4, 0], Value::Ticks(0));
}

/// Whether a MIB's notifications are about this instance: it has a row there.
pub(super) fn has_row(spec: &Spec, one: &InstanceSpec, of_2787: bool) -> bool {
    let on = if of_2787 { spec.daemon.snmp.rfcv2 } else { spec.daemon.snmp.rfcv3 };
    on && one.claim.advertised > 0 && (!of_2787 || in_2787(one))
}

/// The index of an instance's row: interface, VRID, and in RFC 6527 the type of its addresses.
pub(super) fn row_index(interface: u32, one: &InstanceSpec, of_2787: bool) -> Vec<u32> {
    let mut index = vec![interface, one.vrid.get().into()];
    if !of_2787 {
        index.push(address_type(one.family));
    }
    index
}

//! Notifications: what keepalived tells a trap sink, with its objects in its order.
//!
//! Columns carry the index of their row, as SMI wants it; keepalived leaves it out in its own MIB. The private MIB comes
//! first, then RFC 2787's, then RFC 6527's.

use super::check;
use super::rfc::{has_row, protocol_error, reason, row_index};
use super::{KEEPALIVED, RFC2787, RFC6527, Value};
use crate::balance::io as balance;
use crate::balance::io::{Count, ServerInfo, ServiceInfo};
use crate::observe::Context;
use crate::observe::telling::Telling;
use crate::spec::balance::{Endpoint, LvsSpec, VirtualServer};
use crate::spec::{GroupId, InstanceId, InstanceSpec};
use crate::vrrp::io::{Cause, Refusal, Role};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

/// One notification: its identifier, and its objects in order (sysUpTime and snmpTrapOID are the door's).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trap {
    pub oid: Vec<u32>,
    pub objects: Vec<(Vec<u32>, Value)>,
}

/// States beyond [`Role`] that only notifications have.
const SHUTDOWN: i32 = 5;
const DELETED: i32 = 6;
/// What the quorum of a virtual server is said to be; the last only in notifications.
const QUORUM_MET: i32 = 1;
const QUORUM_NOT_MET: i32 = 2;
const QUORUM_SHUTDOWN: i32 = 3;

/// Interfaces and source addresses of the instances, by name: the last snapshot's.
#[derive(Clone, Debug, Default)]
pub struct Places(HashMap<Box<str>, (u32, Option<IpAddr>)>);

impl Places {
    pub(crate) fn of(seen: &super::Seen<'_>) -> Places {
        let place = |view: &std::sync::Arc<crate::vrrp::snapshot::InstanceView>| {
            let interface = seen.index_of(view.interface.as_deref()).unwrap_or(0);
            (view.name.clone(), (interface, view.source))
        };
        Places(seen.now.instances.iter().map(place).collect())
    }

    fn get(&self, one: &InstanceSpec) -> (u32, Option<IpAddr>) {
        self.0.get(&one.name).copied().unwrap_or((0, None))
    }
}

/// Where virtual servers stand in the configuration, by name: in the one in force, and in the one before it.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    now: HashMap<Box<str>, usize>,
    former: HashMap<Box<str>, usize>,
}

impl Rows {
    /// To be made again after each reload.
    pub fn of(cx: &Context<'_>) -> Rows {
        let places = |spec: &LvsSpec| {
            balance::services_of(spec).into_iter().enumerate().map(|(at, own)| (own.text.clone(), at)).collect()
        };
        let former = cx.former.map(|spec| places(&spec.balance)).unwrap_or_default();
        Rows { now: places(&cx.spec.balance), former }
    }

    /// A virtual server by its name: its row, 0 if a reload has taken it away, and what it is.
    fn service<'c>(&self, cx: &Context<'c>, service: &ServiceInfo) -> Option<(u32, &'c VirtualServer)> {
        if let Some(at) = self.now.get(&service.text) {
            return Some((*at as u32 + 1, cx.spec.balance.services.get(*at)?));
        }
        Some((0, cx.former?.balance.services.get(*self.former.get(&service.text)?)?))
    }
}

/// What is told outside, as notifications: keepalived gates them together with notify programs, FIFOs and mail. Nothing unless `enable_traps` and one of the MIBs are on.
pub fn of_telling(telling: Telling<'_>, cx: &Context<'_>, places: &Places) -> Vec<Trap> {
    if !cx.spec.daemon.snmp.traps {
        return Vec::new();
    }
    match telling {
        Telling::Instance { id, to, why } => became(cx, places, id, to, why),
        Telling::Group { id, to } if to != Role::Init => group_trap(cx, id, to as i32).into_iter().collect(),
        Telling::Stopped(id) => {
            cx.instance(id).and_then(|one| instance_trap(cx, row_of(id), one, SHUTDOWN)).into_iter().collect()
        }
        Telling::Deleted { name, .. } => {
            let one = cx.deleted(name).filter(|one| one.notify.tell_deleted);
            // Its row is gone: 0 stands for it.
            one.and_then(|one| instance_trap(cx, 0, one, DELETED)).into_iter().collect()
        }
        Telling::Refused { id, from, why } => refused(cx, places, id, from, why),
        Telling::Group { .. } | Telling::Priority { .. } | Telling::HeardLower(_) => Vec::new(),
    }
}

/// What happened to a virtual server, for a manager. Without the branch on show there is no agent of keepalived's that could
/// tell it.
pub fn of_servers(event: &balance::Event, cx: &Context<'_>, rows: &Rows) -> Vec<Trap> {
    if !cx.spec.daemon.snmp.traps || !(cx.spec.has_servers_on_show() || cx.had_servers_on_show()) {
        return Vec::new();
    }
    let of_server = |server: &ServerInfo, up, count| server_trap(cx, rows, server, up, count).into_iter().collect();
    let of_quorum =
        |service: &ServiceInfo, status, count| quorum_trap(cx, rows, service, status, count).into_iter().collect();
    match event {
        balance::Event::ServerUp { server, count, .. } => of_server(server, true, *count),
        balance::Event::ServerDown { server, count, .. } => of_server(server, false, *count),
        balance::Event::ServerConfirmed { server, up, count } => of_server(server, *up, *count),
        balance::Event::ServerRemoved { server, present: true, count, .. }
        | balance::Event::ServerStopped { server, alive: true, present: true, count, .. } => {
            of_server(server, false, *count)
        }
        balance::Event::QuorumGained { service, count, .. } => of_quorum(service, QUORUM_MET, *count),
        balance::Event::QuorumLost { service, count, .. }
        | balance::Event::ServiceRemoved { service, had: true, count } => of_quorum(service, QUORUM_NOT_MET, *count),
        balance::Event::ServiceStopped { service, count, .. } => of_quorum(service, QUORUM_SHUTDOWN, *count),
        balance::Event::ServerRemoved { present: false, .. }
        | balance::Event::ServerStopped { .. }
        | balance::Event::ServiceRemoved { had: false, .. }
        | balance::Event::Probed { .. }
        | balance::Event::NotMade { .. }
        | balance::Event::FileFault { .. }
        | balance::Event::CheckChanged { .. }
        | balance::Event::WeightChanged { .. }
        | balance::Event::SorryAdded { .. }
        | balance::Event::SorryRemoved { .. }
        | balance::Event::Checker { .. }
        | balance::Event::ServiceRefused { .. }
        | balance::Event::Restored { .. }
        | balance::Event::Commanded { .. }
        | balance::Event::ServiceRemoving { .. }
        | balance::Event::EntryChanged { .. }
        | balance::Event::GroupCut { .. }
        | balance::Event::Reloaded => Vec::new(),
    }
}

/// What tells a virtual server apart, and its protocol.
fn identified(row: u32, own: &VirtualServer) -> Vec<(Vec<u32>, Value)> {
    let column = |number: u32| [KEEPALIVED, &[3, 3, 1, number, row]].concat();
    let mut objects: Vec<_> = check::identity(own).into_iter().map(|(number, value)| (column(number), value)).collect();
    objects.push((column(8), Value::Integer(check::protocol(own))));
    objects
}

fn server_trap(cx: &Context<'_>, rows: &Rows, server: &ServerInfo, up: bool, count: Count) -> Option<Trap> {
    let (row, own) = rows.service(cx, &server.service)?;
    let at = own.servers.iter().position(|real| real.endpoint == server.endpoint).filter(|_| row > 0);
    let place = at.map_or(0, |at| check::first_row(own) + at as u32);
    let column = |number: u32| [KEEPALIVED, &[3, 4, 1, number, row, place]].concat();
    let of_service = |number: u32| [KEEPALIVED, &[3, 3, 1, number, row]].concat();
    let Endpoint { address, port } = server.endpoint;
    let mut objects = vec![
        (column(3), Value::address_type(Some(&address))),
        (column(4), Value::address(address)),
        (column(5), Value::Unsigned(port.unwrap_or(0).into())),
        (column(6), Value::Integer(if up { 1 } else { 2 })),
    ];
    objects.extend(identified(row, own));
    objects.push((of_service(21), Value::Unsigned(count.up)));
    objects.push((of_service(20), Value::Unsigned(count.all)));
    objects.push(router_id(cx));
    Some(Trap { oid: [KEEPALIVED, &[3, 5, 0, 1]].concat(), objects })
}

fn quorum_trap(cx: &Context<'_>, rows: &Rows, service: &ServiceInfo, status: i32, count: Count) -> Option<Trap> {
    let (row, own) = rows.service(cx, service)?;
    let column = |number: u32| [KEEPALIVED, &[3, 3, 1, number, row]].concat();
    let mut objects = identified(row, own);
    objects.push((column(23), Value::Integer(status)));
    objects.push((column(22), Value::Unsigned(own.quorum)));
    objects.push((column(21), Value::Unsigned(count.up)));
    objects.push((column(20), Value::Unsigned(count.all)));
    objects.push(router_id(cx));
    Some(Trap { oid: [KEEPALIVED, &[3, 5, 0, 2]].concat(), objects })
}

/// The last words: every group.
pub fn of_the_end(cx: &Context<'_>) -> Vec<Trap> {
    let groups = (0..cx.spec.groups.len() as u32).map(GroupId);
    let on = cx.spec.daemon.snmp.traps;
    groups.filter(|_| on).filter_map(|group| group_trap(cx, group, SHUTDOWN)).collect()
}

const fn row_of(id: InstanceId) -> u32 {
    id.0 + 1
}

fn router_id(cx: &Context<'_>) -> (Vec<u32>, Value) {
    ([KEEPALIVED, &[1, 2, 0]].concat(), Value::text(&cx.spec.daemon.router_id))
}

fn group_trap(cx: &Context<'_>, id: GroupId, state: i32) -> Option<Trap> {
    let group = cx.spec.groups.get(id.index()).filter(|_| cx.spec.daemon.snmp.vrrp)?;
    let column = |number: u32| [KEEPALIVED, &[2, 1, 1, number, id.0 + 1]].concat();
    let objects = vec![(column(2), Value::text(&group.name)), (column(3), Value::Integer(state)), router_id(cx)];
    Some(Trap { oid: [KEEPALIVED, &[2, 10, 0, 1]].concat(), objects })
}

fn instance_trap(cx: &Context<'_>, row: u32, one: &InstanceSpec, state: i32) -> Option<Trap> {
    if !cx.spec.daemon.snmp.vrrp {
        return None;
    }
    let initial = if one.wants_master { Role::Master } else { Role::Backup };
    let column = |number: u32| [KEEPALIVED, &[2, 3, 1, number, row]].concat();
    let objects = vec![
        (column(2), Value::text(&one.name)),
        (column(4), Value::Integer(state)),
        (column(5), Value::Integer(initial as i32)),
        router_id(cx),
    ];
    Some(Trap { oid: [KEEPALIVED, &[2, 10, 0, 2]].concat(), objects })
}

fn v4(address: Option<IpAddr>) -> Value {
    match address {
        Some(IpAddr::V4(address)) => Value::Address(address),
        _ => Value::Address(Ipv4Addr::UNSPECIFIED),
    }
}

fn became(cx: &Context<'_>, places: &Places, id: InstanceId, to: Role, why: &Cause) -> Vec<Trap> {
    let Some(one) = cx.instance(id).filter(|_| to != Role::Init) else { return Vec::new() };
    let mut traps: Vec<Trap> = instance_trap(cx, row_of(id), one, to as i32).into_iter().collect();
    if to != Role::Master {
        return traps;
    }
    let (interface, source) = places.get(one);
    if has_row(cx.spec, one, true) {
        let index = row_index(interface, one, true);
        let objects = vec![([RFC2787, &[1, 3, 1, 7], &index].concat(), v4(source))];
        traps.push(Trap { oid: [RFC2787, &[0, 1]].concat(), objects });
    }
    if has_row(cx.spec, one, false) {
        let index = row_index(interface, one, false);
        let address = source.map_or_else(|| Value::Octets(Vec::new()), Value::address);
        let objects = vec![
            ([RFC6527, &[1, 1, 1, 1, 3], &index].concat(), address),
            ([RFC6527, &[1, 2, 5, 1, 2], &index].concat(), Value::Integer(reason(to, why))),
        ];
        traps.push(Trap { oid: [RFC6527, &[0, 1]].concat(), objects });
    }
    traps
}

fn refused(cx: &Context<'_>, places: &Places, id: InstanceId, from: IpAddr, why: Refusal) -> Vec<Trap> {
    let Some(one) = cx.instance(id) else { return Vec::new() };
    let (interface, _) = places.get(one);
    let mut traps = Vec::new();
    let kind = match why {
        Refusal::AuthTypeInvalid => Some(1),
        Refusal::AuthTypeMismatch => Some(2),
        Refusal::AuthFailure => Some(3),
        Refusal::Truncated
        | Refusal::UnknownVrid
        | Refusal::NotListening
        | Refusal::Length
        | Refusal::Ttl
        | Refusal::Version
        | Refusal::Type
        | Refusal::Checksum
        | Refusal::AuthExtMissing
        | Refusal::AuthExtMalformed
        | Refusal::AuthExtUnknownKey
        | Refusal::AuthExtInvalidHmac
        | Refusal::AuthExtStale
        | Refusal::AuthExtReplay
        | Refusal::AdvertInterval
        | Refusal::Destination
        | Refusal::UnknownPeer
        | Refusal::OwnerIgnores
        | Refusal::Foreign => None,
    };
    if let Some(kind) = kind.filter(|_| has_row(cx.spec, one, true)) {
        // vrrpTrapPacketSrc and vrrpTrapAuthErrorType are scalars.
        let objects = vec![
            ([RFC2787, &[1, 5, 0]].concat(), v4(Some(from))),
            ([RFC2787, &[1, 6, 0]].concat(), Value::Integer(kind)),
        ];
        traps.push(Trap { oid: [RFC2787, &[0, 2]].concat(), objects });
    }
    if let Some(error) = protocol_error(why).filter(|_| has_row(cx.spec, one, false)) {
        let index = row_index(interface, one, false);
        let objects = vec![([RFC6527, &[1, 2, 5, 1, 6], &index].concat(), Value::Integer(error))];
        traps.push(Trap { oid: [RFC6527, &[0, 2]].concat(), objects });
    }
    traps
}

//! Our side of an AgentX session as a dialogue: PDUs of the master agent in, bytes for it out. No socket, no clock.

use super::pdu::{Body, Found, Header, Kind, Range, Writer, Written};
use crate::observe::snmp::traps::Trap;
use crate::observe::snmp::{KEEPALIVED, Tree, Value};

/// Objects in one answer to GETBULK: more are asked for in another request.
const BULK_MAX: usize = 2_048;
/// Seconds that the master should wait for an answer.
const PATIENCE: u8 = 5;
/// Usual priority of a registration (RFC 2741 §6.2.3).
const PRIORITY: u8 = 127;
/// reasonShutdown (RFC 2741 §6.2.2).
const SHUTDOWN: u8 = 5;
const SNMP_TRAP_OID: &[u32] = &[1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0];
/// Columns of vrrpInstanceTable that MAX-ACCESS lets be written.
const BASE_PRIORITY: u32 = 7;
const PREEMPT: u32 = 13;
const ACCEPT: u32 = 27;
/// The column of realServerTable that may be written.
const WEIGHT: u32 = 7;

/// Error status of a SET (RFC 3416 §3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetError {
    NoAccess = 6,
    WrongType = 7,
    WrongValue = 10,
    CommitFailed = 14,
    UndoFailed = 15,
    NotWritable = 17,
}

/// A value that a manager writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Write {
    /// `vrrpInstanceBasePriority` of the instance with this number from 1 on; 1..=255.
    Priority { row: u32, priority: u8 },
    /// `vrrpInstancePreempt`.
    Preempt { row: u32, preempt: bool },
    /// `realServerWeight`: rows of the virtual server and of the server; 0..=2³¹−1.
    Weight { service: u32, server: u32, weight: u32 },
}

/// Counts our packets, and remembers the SET under way.
#[derive(Debug, Default)]
pub struct Session {
    id: u32,
    packet: u32,
    /// What was tested, with its transaction.
    pending: Option<(u32, Vec<Write>)>,
}

impl Session {
    fn begin(&mut self, kind: Kind) -> Writer {
        self.packet = self.packet.wrapping_add(1);
        Writer::of(kind, self.id, 0, self.packet)
    }

    /// The first words. The answer to them has the session's number ([`Session::opened`]).
    pub fn open(&mut self, description: &str) -> Vec<u8> {
        *self = Session::default();
        let mut open = self.begin(Kind::Open);
        open.u8s([PATIENCE, 0, 0, 0]).oid(&[]).octets(description.as_bytes());
        open.done()
    }

    /// The master has opened the session with this number.
    pub fn opened(&mut self, session: u32) {
        self.id = session;
    }

    /// Answers for everything under `region` are ours.
    pub fn register(&mut self, region: &[u32]) -> Vec<u8> {
        let mut register = self.begin(Kind::Register);
        register.u8s([PATIENCE, PRIORITY, 0, 0]).oid(region);
        register.done()
    }

    /// A row of sysORTable.
    pub fn describe(&mut self, region: &[u32], description: &str) -> Vec<u8> {
        let mut capability = self.begin(Kind::AddAgentCaps);
        capability.oid(region).octets(description.as_bytes());
        capability.done()
    }

    /// The PDU that asks whether the master is still there.
    pub fn ping(&mut self) -> Vec<u8> {
        self.begin(Kind::Ping).done()
    }

    /// The PDU that ends the session in order.
    pub fn close(&mut self) -> Vec<u8> {
        let mut close = self.begin(Kind::Close);
        close.u8s([SHUTDOWN, 0, 0, 0]);
        close.done()
    }

    /// A notification; the master puts sysUpTime in front.
    pub fn notify(&mut self, trap: &Trap) -> Vec<u8> {
        let mut notify = self.begin(Kind::Notify);
        notify.binding(SNMP_TRAP_OID, &Found::Value(Value::Oid(trap.oid.clone())));
        for (oid, value) in &trap.objects {
            notify.binding(oid, &Found::Value(value.clone()));
        }
        notify.done()
    }

    /// Answers a question from `tree`; `None` for what asks nothing of it.
    pub fn answer(&mut self, header: &Header, body: &Body, tree: &Tree) -> Option<Vec<u8>> {
        let found: Vec<(Vec<u32>, Found)> = match body {
            Body::Get(ranges) => ranges.iter().map(|range| get(tree, range)).collect(),
            Body::GetNext(ranges) => ranges.iter().map(|range| get_next(tree, range)).collect(),
            Body::GetBulk { once, repetitions, ranges } => bulk(tree, *once, *repetitions, ranges),
            Body::TestSet(writes) => {
                let (error, tested) = test(tree, writes);
                self.pending = error.is_none().then_some((header.transaction, tested));
                let error = error.map(|(error, position)| (error as u16, position));
                return Some(Writer::answer(header, error).done());
            }
            Body::Response { .. } | Body::Nothing => return None,
        };
        let mut answer = Writer::answer(header, None);
        for (oid, found) in &found {
            answer.binding(oid, found);
        }
        Some(answer.done())
    }

    /// What was tested in this transaction: it is to be written now. `None` if that is not known any more, or never was.
    pub fn writes(&mut self, transaction: u32) -> Option<Vec<Write>> {
        self.pending.take().filter(|(tested, _)| *tested == transaction).map(|(_, writes)| writes)
    }

    /// The SET under way will not be made.
    pub fn forget(&mut self) {
        self.pending = None;
    }
}

/// The answer to UndoSet.
pub fn undone(header: &Header, done: bool) -> Vec<u8> {
    Writer::answer(header, (!done).then_some((SetError::UndoFailed as u16, 0))).done()
}

/// The answer to CommitSet.
pub fn committed(header: &Header, done: bool) -> Vec<u8> {
    Writer::answer(header, (!done).then_some((SetError::CommitFailed as u16, 1))).done()
}

fn get(tree: &Tree, range: &Range) -> (Vec<u32>, Found) {
    let found = match tree.get(&range.start) {
        Some(value) => Found::Value(value.clone()),
        None if tree.knows_object(&range.start) => Found::NoSuchInstance,
        None => Found::NoSuchObject,
    };
    (range.start.clone(), found)
}

fn get_next(tree: &Tree, range: &Range) -> (Vec<u32>, Found) {
    match tree.next(&range.start, range.include, &range.end) {
        Some((oid, value)) => (oid.to_vec(), Found::Value(value.clone())),
        None => (range.start.clone(), Found::EndOfMibView),
    }
}

/// RFC 2741 §7.2.3.3.
fn bulk(tree: &Tree, once: usize, repetitions: usize, ranges: &[Range]) -> Vec<(Vec<u32>, Found)> {
    let (single, repeated) = ranges.split_at(once.min(ranges.len()));
    let mut found: Vec<_> = single.iter().map(|range| get_next(tree, range)).collect();
    let mut at = repeated.to_vec();
    for _ in 0..repetitions {
        if at.is_empty() || found.len() + at.len() > BULK_MAX {
            break;
        }
        let mut ended = true;
        for range in &mut at {
            let next = get_next(tree, range);
            ended &= next.1 == Found::EndOfMibView;
            (range.start, range.include) = (next.0.clone(), false);
            found.push(next);
        }
        if ended {
            break;
        }
    }
    found
}

/// The first object that must not be written so, from 1; and what is written if there is none.
fn test(tree: &Tree, writes: &[(Vec<u32>, Written)]) -> (Option<(SetError, u16)>, Vec<Write>) {
    let mut tested = Vec::new();
    for (position, (oid, value)) in (1..).zip(writes) {
        match write(tree, oid, *value) {
            Ok(one) => tested.push(one),
            Err(error) => return (Some((error, position)), Vec::new()),
        }
    }
    (None, tested)
}

fn write(tree: &Tree, oid: &[u32], value: Written) -> Result<Write, SetError> {
    let servers = [KEEPALIVED, &[3, 4, 1]].concat();
    if let Some([WEIGHT, service, server]) = oid.strip_prefix(servers.as_slice())
        && tree.get(oid).is_some()
    {
        return match value {
            Written::AnotherType => Err(SetError::WrongType),
            Written::Integer(number) => {
                let weight = u32::try_from(number).map_err(|_| SetError::WrongValue)?;
                Ok(Write::Weight { service: *service, server: *server, weight })
            }
        };
    }
    let instances = [KEEPALIVED, &[2, 3, 1]].concat();
    let Some([column, row]) = oid.strip_prefix(instances.as_slice()) else { return Err(SetError::NotWritable) };
    if tree.get(oid).is_none() {
        return Err(SetError::NotWritable);
    }
    match (*column, value) {
        (ACCEPT, _) => Err(SetError::NoAccess),
        (BASE_PRIORITY | PREEMPT, Written::AnotherType) => Err(SetError::WrongType),
        (BASE_PRIORITY, Written::Integer(number)) => {
            let priority = u8::try_from(number).ok().filter(|priority| *priority > 0).ok_or(SetError::WrongValue)?;
            Ok(Write::Priority { row: *row, priority })
        }
        (PREEMPT, Written::Integer(number @ (1 | 2))) => Ok(Write::Preempt { row: *row, preempt: number == 1 }),
        (PREEMPT, Written::Integer(_)) => Err(SetError::WrongValue),
        _ => Err(SetError::NotWritable),
    }
}

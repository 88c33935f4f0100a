//! What the kernel did not do, and what was not as it had been left, in words.
//!
//! A refusal has two: the line that keepalived logs, to the letter (its numbers are those of an older interface, its
//! folding of error numbers a library's), and a plain reason.

use super::channel::Failure;
use super::dump::Seen;
use super::message::DestinationKey;
use super::plan::Op;
use crate::balance::io::{NO_IPVS, ServiceKey};
use crate::wire::Family;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::IpAddr;

/// A step that the kernel did not carry out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// `None` is the flush of the whole table.
    step: Option<Op>,
    pub failure: Failure,
}

impl Refusal {
    pub(super) fn of(step: Op, failure: Failure) -> Refusal {
        Refusal { step: Some(step), failure }
    }
    pub(super) fn flush(failure: Failure) -> Refusal {
        Refusal { step: None, failure }
    }

    /// Whose it is; of the flush, a service of no address.
    pub fn service(&self) -> ServiceKey {
        const NONE: ServiceKey = ServiceKey::Mark { family: Family::V4, mark: 0 };
        self.step.as_ref().map_or(NONE, Op::service)
    }

    /// The destination; `None` if the service itself was refused, and with it all of them.
    pub fn destination(&self) -> Option<DestinationKey> {
        self.step.as_ref().and_then(Op::destination)
    }

    /// It is something that should have gone.
    pub fn is_removal(&self) -> bool {
        matches!(self.step, None | Some(Op::DeleteService(_) | Op::DeleteDestination(..)))
    }

    /// The table has gone with its module.
    pub fn is_unloaded(&self) -> bool {
        self.failure == Failure::Unloaded
    }

    /// The kernel's error number; ETIMEDOUT if it did not answer, [`NO_IPVS`] if it has no table any more.
    pub fn errno(&self) -> i32 {
        match self.failure {
            Failure::Refused(errno) => errno,
            Failure::Unloaded => NO_IPVS,
            Failure::Unknown => libc::ETIMEDOUT,
        }
    }

    /// keepalived's log line: `IPVS cmd NAME(N) error: TEXT(ERRNO) (SERVICE[ -> DESTINATION])`.
    pub fn line(&self) -> String {
        let (name, number) = match &self.step {
            Some(Op::NewService(..)) => ("ADD", 1154),
            Some(Op::SetService(..)) => ("EDIT", 1155),
            Some(Op::DeleteService(_)) => ("DEL", 1156),
            None => ("FLUSH", 1157),
            Some(Op::NewDestination(..)) => ("ADDDEST", 1159),
            Some(Op::DeleteDestination(..)) => ("DELDEST", 1160),
            Some(Op::SetDestination(..)) => ("EDITDEST", 1161),
        };
        let (errno, text) = (folded(self.errno()), self.text(self.errno()));
        let place = match (&self.step, self.destination()) {
            (None, _) => String::new(),
            (Some(step), None) => format!(" ({})", service_words(step.service())),
            (Some(step), Some((address, port))) => {
                format!(" ({} -> {address}:{port})", service_words(step.service()))
            }
        };
        format!("IPVS cmd IP_VS_SO_SET_{name}({number}) error: {text}({errno}){place}")
    }

    fn text(&self, errno: i32) -> String {
        let missing = errno == libc::ESRCH || errno == libc::ENOENT;
        match (&self.step, errno) {
            (Some(Op::NewService(..)), libc::EEXIST) => "Service already exists".into(),
            (Some(Op::NewDestination(..)), libc::EEXIST) => "Destination already exists".into(),
            (Some(Op::NewService(..) | Op::SetService(..)), _) if missing => {
                "Scheduler or persistence engine not found".into()
            }
            (Some(Op::DeleteDestination(..)), _) if missing => "No such destination".into(),
            (_, _) if missing => "No such file or directory".into(),
            (_, libc::EPERM) => "Permission denied (you must be root)".into(),
            (_, libc::EINVAL) => "Invalid operation.  Possibly wrong module version, address not unicast, ...".into(),
            (_, libc::ENOMEM) => "Memory allocation problem".into(),
            (_, libc::EOPNOTSUPP) => "Operation not supported with IPv6".into(),
            (_, libc::EAFNOSUPPORT) => "Operation not supported with specified address family".into(),
            _ => system_text(errno),
        }
    }
}

/// The step failed, why, and what that means: `adding 10.1.0.2:80 to 10.0.0.1:tcp:80 was refused: …`.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(step) = &self.step else {
            return write!(f, "emptying the kernel's table of virtual servers failed: {}", self.reason());
        };
        let service = service_words(step.service());
        match step {
            Op::NewService(..) => write!(f, "virtual server {service} cannot be put into the kernel's table"),
            Op::SetService(..) => write!(f, "virtual server {service} cannot be changed"),
            Op::DeleteService(_) => write!(f, "virtual server {service} cannot be removed"),
            Op::NewDestination(_, place, _) => {
                write!(f, "real server {} cannot be put into {service}", place_words(*place))
            }
            Op::SetDestination(_, place, _) => {
                write!(f, "real server {} of {service} cannot be changed", place_words(*place))
            }
            Op::DeleteDestination(_, place) => {
                write!(f, "real server {} of {service} cannot be removed", place_words(*place))
            }
        }?;
        write!(f, ": {}", self.reason())
    }
}

impl Refusal {
    fn reason(&self) -> String {
        let errno = match self.failure {
            Failure::Refused(errno) => errno,
            Failure::Unloaded => return "the module ip_vs was unloaded".into(),
            Failure::Unknown => return "the kernel did not answer".into(),
        };
        match (&self.step, errno) {
            (Some(Op::NewService(_, service) | Op::SetService(_, service)), libc::ENOENT) => match &service.persistence
            {
                Some(persistence) if persistence.engine.is_some() => {
                    format!("no scheduler `{}`, or no such persistence engine, in this kernel", service.scheduler)
                }
                _ => format!("no scheduler `{}` in this kernel", service.scheduler),
            },
            (Some(Op::NewDestination(..) | Op::SetDestination(..)), libc::ERANGE) => {
                "the lower threshold is above the upper one".into()
            }
            (Some(Op::NewDestination(..) | Op::SetDestination(..)), libc::EINVAL) => {
                "the address is not one that can be served, or not of the service's family and not tunnelled".into()
            }
            (_, libc::EPERM) => "CAP_NET_ADMIN is needed".into(),
            _ => system_text(errno),
        }
    }
}

/// Something of ours that was not as it had been left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Correction {
    pub service: ServiceKey,
    pub destination: Option<DestinationKey>,
    pub what: Found,
    /// It is put right; else the kernel refused that.
    pub done: bool,
}
/// In what way it was not as it had been left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// Another program took it out.
    Missing,
    /// Another program changed it.
    Changed,
    /// An earlier process left it, and it is not wanted.
    Leftover,
    /// An earlier process left it otherwise than it is wanted.
    Outdated,
}

impl Correction {
    /// What a step at the start puts right; nothing if it only puts in what is new.
    pub(super) fn leftover(step: &Op) -> Option<Correction> {
        let what = match step {
            Op::NewService(..) | Op::NewDestination(..) => return None,
            Op::SetService(..) | Op::SetDestination(..) => Found::Outdated,
            Op::DeleteService(_) | Op::DeleteDestination(..) => Found::Leftover,
        };
        Some(Correction { service: step.service(), destination: step.destination(), what, done: true })
    }

    /// Which of them the kernel refused: of a service that it refused, all.
    pub(super) fn deny(all: &mut [Correction], refused: &[Refusal]) {
        if refused.is_empty() {
            return;
        }
        let refused: BTreeSet<_> = refused.iter().map(|refusal| (refusal.service(), refusal.destination())).collect();
        for one in all {
            let asked = [None, one.destination];
            one.done = !asked.iter().any(|destination| refused.contains(&(one.service, *destination)));
        }
    }

    /// What the steps of a comparison put right. What we had not put in before was not taken out, but refused or late; and
    /// of a service that is missing its servers are not told one by one.
    pub(super) fn list(steps: &[Op], held: &Seen) -> Vec<Correction> {
        let missing: BTreeSet<ServiceKey> =
            steps.iter().filter(|step| matches!(step, Op::NewService(..))).map(Op::service).collect();
        let one = |step: &Op| {
            let service = held.services.get(&step.service())?;
            let what = match step {
                Op::NewService(..) => Found::Missing,
                Op::NewDestination(key, place, _)
                    if service.destinations.contains_key(place) && !missing.contains(key) =>
                {
                    Found::Missing
                }
                Op::NewDestination(..) => return None,
                Op::SetService(_, wanted) if service.service == *wanted => Found::Changed,
                Op::SetDestination(_, place, wanted)
                    if service.destinations.get(place).is_some_and(|held| held.destination == *wanted) =>
                {
                    Found::Changed
                }
                Op::SetService(..) | Op::SetDestination(..) => return None,
                Op::DeleteService(_) | Op::DeleteDestination(..) => Found::Leftover,
            };
            Some(Correction { service: step.service(), destination: step.destination(), what, done: true })
        };
        steps.iter().filter_map(one).collect()
    }
}

impl fmt::Display for Correction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let service = service_words(self.service);
        let subject = match self.destination {
            None => format!("virtual server {service}"),
            Some(place) => format!("real server {} of {service}", place_words(place)),
        };
        f.write_str(&subject)?;
        f.write_str(match self.what {
            Found::Missing => " was removed from the kernel's table by another program; ",
            Found::Changed => " was changed in the kernel's table by another program; ",
            Found::Leftover | Found::Outdated => " was left in the kernel's table by an earlier process; ",
        })?;
        f.write_str(match (self.done, self.what) {
            (false, _) => "the kernel refuses to have that put right",
            (true, Found::Missing) => "it is put back",
            (true, Found::Leftover) => "it is removed",
            (true, Found::Changed | Found::Outdated) => "it is set right",
        })
    }
}

/// A service as keepalived writes it in these lines: `ADDRESS:PROTOCOL:PORT`, without brackets, or `Fwm MARK[ inet6]`.
pub fn service_words(key: ServiceKey) -> String {
    match key {
        ServiceKey::Address { protocol, address, port } => {
            format!("{address}:{protocol}:{port}")
        }
        ServiceKey::Mark { family: Family::V4, mark } => format!("Fwm {mark}"),
        ServiceKey::Mark { family: Family::V6, mark } => format!("Fwm {mark} inet6"),
    }
}

fn place_words((address, port): DestinationKey) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{address}]:{port}"),
    }
}

/// As the library folds them that keepalived asks the kernel through; an unknown one stays what it is, not EPERM.
fn folded(errno: i32) -> i32 {
    match errno {
        libc::EADDRINUSE => libc::EEXIST,
        libc::ESRCH => libc::ENOENT,
        libc::ENOPROTOOPT | libc::EFAULT => libc::EINVAL,
        libc::ENOBUFS => libc::ENOMEM,
        other => other,
    }
}

/// The system's words without the number that the library appends.
fn system_text(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kernel::ipvs::message::{SeenDestination, Service};
    use crate::spec::balance::Protocol;

    #[test]
    fn a_refusal_is_logged_as_keepalived_logs_it() {
        let service = ServiceKey::Address { protocol: Protocol::Udp, address: "10.0.0.1".parse().unwrap(), port: 5060 };
        let place = ("10.1.0.3".parse().unwrap(), 5060);
        let step = Op::NewDestination(service, place, SeenDestination::default().destination);
        let refusal = Refusal::of(step.clone(), Failure::Refused(libc::ERANGE));
        assert_eq!(
            refusal.line(),
            "IPVS cmd IP_VS_SO_SET_ADDDEST(1159) error: Numerical result out of range(34) (10.0.0.1:udp:5060 -> 10.1.0.3:5060)"
        );
        assert_eq!(
            Refusal::of(step, Failure::Refused(libc::EEXIST)).line(),
            "IPVS cmd IP_VS_SO_SET_ADDDEST(1159) error: Destination already exists(17) (10.0.0.1:udp:5060 -> 10.1.0.3:5060)"
        );
        let mark = ServiceKey::Mark { family: Family::V6, mark: 11 };
        let step = Op::DeleteService(mark);
        assert_eq!(
            Refusal::of(step, Failure::Refused(libc::ESRCH)).line(),
            "IPVS cmd IP_VS_SO_SET_DEL(1156) error: No such file or directory(2) (Fwm 11 inet6)"
        );
    }

    #[test]
    fn a_refusal_names_the_thing_and_the_reason() {
        let service =
            ServiceKey::Address { protocol: Protocol::Tcp, address: "2001:db8::1".parse().unwrap(), port: 80 };
        let place = ("2001:db8:1::2".parse().unwrap(), 8080);
        let step = Op::NewDestination(service, place, SeenDestination::default().destination);
        assert_eq!(
            Refusal::of(step, Failure::Refused(libc::ERANGE)).to_string(),
            "real server [2001:db8:1::2]:8080 cannot be put into 2001:db8::1:tcp:80: the lower threshold is above the upper one"
        );
        let flush = Refusal::flush(Failure::Unknown);
        assert_eq!(
            flush.to_string(),
            "emptying the kernel's table of virtual servers failed: the kernel did not answer"
        );
    }
    #[test]
    fn what_could_not_be_put_right_is_not_said_to_be() {
        let service = ServiceKey::Address { protocol: Protocol::Tcp, address: "10.0.0.1".parse().unwrap(), port: 80 };
        let place = |last: u8| (IpAddr::from([10, 1, 0, last]), 80);
        let missing = |destination| Correction { service, destination, what: Found::Missing, done: true };
        let mut all = [missing(Some(place(2))), missing(Some(place(3)))];
        Correction::deny(&mut all, &[]);
        assert!(all.iter().all(|one| one.done));
        let step = Op::NewDestination(service, place(3), SeenDestination::default().destination);
        Correction::deny(&mut all, &[Refusal::of(step, Failure::Refused(libc::ENOMEM))]);
        let said = all.each_ref().map(ToString::to_string);
        assert!(said[0].ends_with(
            "10.1.0.2:80 of 10.0.0.1:tcp:80 was removed from the kernel's table by another program; it is put back"
        ));
        assert!(said[1].ends_with("another program; the kernel refuses to have that put right"), "{}", said[1]);
        // Of a service that is refused nothing is put right.
        let step = Op::NewService(service, Service::of(service, &crate::balance::io::Picture::default()));
        Correction::deny(&mut all, &[Refusal::of(step, Failure::Unloaded)]);
        assert!(all.iter().all(|one| !one.done));
    }
}

//! What virtual and real servers are called: in logs, FIFO lines and mails as keepalived calls them, and in the hand-over
//! and over a reload by what makes them the same.

use super::io::{ServerInfo, ServiceInfo, SorryInfo};
use crate::spec::balance::{Checker, CheckerKind, Endpoint, GroupEntry, LvsSpec, RealServer, Target, VirtualServer};
use crate::wire::Family;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

/// `[10.1.0.2]:tcp:8080`; no port is 0.
pub(super) fn of_endpoint(endpoint: Endpoint, protocol: &str) -> Box<str> {
    // Each of thousands of servers is named at a start, so what nearly all are called does without the machinery of formatting,
    // which takes three times as long.
    let mut text = String::with_capacity("[255.255.255.255]:sctp:65535".len());
    text.push('[');
    match endpoint.address {
        IpAddr::V4(address) => {
            for (octet, point) in address.octets().into_iter().zip(["", ".", ".", "."]) {
                text.push_str(point);
                push_number(&mut text, octet.into());
            }
        }
        IpAddr::V6(address) => {
            let _ = write!(text, "{address}");
        }
    }
    text.push_str("]:");
    text.push_str(protocol);
    text.push(':');
    push_number(&mut text, endpoint.port.unwrap_or(0));
    text.into()
}

fn push_number(text: &mut String, number: u16) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    text.extend(char::from_digit(u32::from(number % 10), 10));
}

fn protocol(service: &VirtualServer) -> &'static str {
    use crate::spec::balance::Protocol::{Sctp, Tcp, Udp};
    match service.protocol {
        Some(Tcp) => "tcp",
        Some(Udp) => "udp",
        Some(Sctp) => "sctp",
        None => "none",
    }
}

/// Names of every service of a configuration, in its order: for people, and what makes it the same over a reload.
///
/// Services of one group are told apart by protocol and then by their order, so that two which change places keep their
/// states (keepalived counts all of a group, and swaps them).
pub(super) fn of_services(spec: &LvsSpec) -> Vec<(Arc<ServiceInfo>, Box<str>)> {
    let mut counted: HashMap<&str, u32> = HashMap::new();
    let mut alike: HashMap<(&str, &'static str), u32> = HashMap::new();
    spec.services
        .iter()
        .map(|service| {
            let word = protocol(service);
            let family = match service.family {
                Some(Family::V4) => "4",
                Some(Family::V6) => "6",
                None => "46",
            };
            let (text, identity, group) = match &service.target {
                Target::Address(endpoint) => {
                    let text = of_endpoint(*endpoint, word);
                    (text.clone(), text, None)
                }
                Target::Mark(mark) => (format!("FWM {mark}").into(), format!("FWM {mark} {family}").into(), None),
                Target::Group(name) => {
                    let number = counted.entry(name).or_default();
                    let text: Box<str> = format!("[{name}]:{number}").into();
                    *number += 1;
                    let number = alike.entry((name, word)).or_default();
                    let identity: Box<str> = format!("group {name} {word} {number}").into();
                    *number += 1;
                    (text, identity, Some(name.clone()))
                }
            };
            let sorry = service.sorry.as_ref();
            let info = ServiceInfo {
                text,
                protocol: word,
                group,
                quorum: service.quorum,
                hysteresis: service.hysteresis,
                omega: service.omega,
                mail: service.mail,
                quorum_up: service.quorum_up.clone(),
                quorum_down: service.quorum_down.clone(),
                sorry: sorry.map(|sorry| SorryInfo { text: of_endpoint(sorry.endpoint, word), inhibit: sorry.inhibit }),
            };
            (Arc::new(info), identity)
        })
        .collect()
}

pub(super) fn of_server(server: &RealServer, service: &Arc<ServiceInfo>) -> Arc<ServerInfo> {
    Arc::new(ServerInfo {
        service: service.clone(),
        text: of_endpoint(server.endpoint, service.protocol),
        endpoint: server.endpoint,
        inhibit: server.inhibit,
        mail: server.mail,
        notify_up: server.notify_up.clone(),
        notify_down: server.notify_down.clone(),
    })
}

/// What makes a check the same over a reload: keepalived's comparison (`compare_check` of each kind), and the payload and
/// reply of UDP_CHECK, which it forgets. When it is made does not count, nor what it logs.
pub(super) fn identity(checker: &Checker) -> Box<str> {
    let mut text = String::new();
    if let Some(c) = &checker.connection {
        let _ = write!(text, "{} {:?} {:?} {:?} {} {} ", c.to, c.from, c.from_port, c.interface, c.timeout, c.mark);
    }
    let _ = match &checker.kind {
        CheckerKind::Tcp => write!(text, "TCP"),
        CheckerKind::Ping => write!(text, "PING"),
        CheckerKind::Udp { .. } => write!(text, "{:?}", checker.kind),
        CheckerKind::Smtp { helo } => write!(text, "SMTP {helo}"),
        CheckerKind::Dns { record, name } => write!(text, "DNS {record} {name}"),
        CheckerKind::Misc { run, dynamic, .. } => write!(text, "MISC {dynamic} {run:?}"),
        CheckerKind::File { file, .. } => write!(text, "FILE {file}"),
        CheckerKind::Bfd { session } => write!(text, "BFD {session}"),
        CheckerKind::Http(http) => {
            let _ = write!(text, "HTTP {} {:?}", http.tls, http.server_name);
            for page in &http.pages {
                let (path, digest, status) = (&page.path, page.digest, &page.status);
                let _ = write!(text, " {path} {digest:?} {status:?} {:?} {:?}", page.virtual_host, page.pattern);
            }
            Ok(())
        }
    };
    text.into()
}

/// An entry of a group as keepalived's log has it: `[10.0.0.1]:tcp:80-10.0.0.3`, `[10.0.0.9]:tcp:82`, and a mark.
pub(super) fn of_entry(entry: &GroupEntry, protocol: &str, added: bool) -> Box<str> {
    match entry {
        GroupEntry::Range { first, last, port } => {
            let begin = of_endpoint(Endpoint { address: *first, port: *port }, protocol);
            if first == last { begin } else { format!("{begin}-{last}").into() }
        }
        GroupEntry::Mark { mark, .. } if added => format!("FWM {mark}").into(),
        GroupEntry::Mark { mark, .. } => mark.to_string().into(),
    }
}

/// The address after this one; none after the last of its family.
pub(super) fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_add(1).map(|next| IpAddr::V4(next.into())),
        IpAddr::V6(v6) => u128::from(v6).checked_add(1).map(|next| IpAddr::V6(next.into())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_endpoint_is_called_as_its_parts_are_written() {
        let addresses =
            ["0.0.0.0", "1.10.100.9", "255.255.255.255", "192.0.2.200", "::", "2001:db8::1", "::ffff:1.2.3.4"];
        for address in addresses.map(|text| text.parse::<IpAddr>().unwrap()) {
            for port in
                [None, Some(1), Some(9), Some(10), Some(80), Some(101), Some(9_999), Some(10_000), Some(u16::MAX)]
            {
                let written = format!("[{address}]:tcp:{}", port.unwrap_or(0));
                assert_eq!(*of_endpoint(Endpoint { address, port }, "tcp"), *written);
            }
        }
    }
}

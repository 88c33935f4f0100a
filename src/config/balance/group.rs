//! `virtual_server_group`: addresses, ranges and firewall marks that make one service.

use super::shared::endpoint;
use crate::config::line::unsigned_in;
use crate::config::report::{Class, Diagnostic};
use crate::config::table::block::Cx;
use crate::config::table::values::ip_address;
use crate::config::text::tree::Node;
use crate::spec::balance::{Endpoint, GroupEntry, ServerGroup};
use crate::wire::Family;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

impl ServerGroup {
    /// Which families its entries have: IPv4, IPv6, and whether a mark leaves it open.
    pub fn families(&self) -> (bool, bool, bool) {
        let mut found = (false, false, false);
        for entry in &self.entries {
            let family = match entry {
                GroupEntry::Range { first, .. } => Some(Family::of(first)),
                GroupEntry::Mark { family, .. } => *family,
            };
            match family {
                Some(Family::V4) => found.0 = true,
                Some(Family::V6) => found.1 = true,
                None => found.2 = true,
            }
        }
        found
    }
    /// The first of the entries that are addresses.
    pub fn addresses(&self) -> impl Iterator<Item = Endpoint> + '_ {
        self.entries.iter().filter_map(|entry| match entry {
            GroupEntry::Range { first, port, .. } => Some(Endpoint { address: *first, port: *port }),
            GroupEntry::Mark { .. } => None,
        })
    }
    pub(crate) fn has_marks(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry, GroupEntry::Mark { .. }))
    }
}

/// Reads a `virtual_server_group` block.
pub fn group(groups: &mut Vec<ServerGroup>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(name) = node.args.first() else { return cx.abort(node, "a name") };
    let lines = node.body.as_deref().unwrap_or_default();
    let entries = lines.iter().filter_map(|line| entry(line, cx)).collect();
    let group = ServerGroup { name: name.text.into(), entries };
    if cx.aborted {
        return;
    }
    if group.entries.is_empty() {
        return cx.error_of(
            node,
            format!("virtual_server_group {} has no usable entry and is left out", name.text),
            "write one `ADDRESS PORT` or `fwmark N` a line",
        );
    }
    if group.families() == (true, true, true) {
        let message = format!(
            "virtual_server_group {} is left out: IPv4, IPv6 and a mark without family cannot be in one group",
            name.text
        );
        return cx.error_of(node, message, "write `fwmark N inet` or `fwmark N inet6`, or make a group of each family");
    }
    groups.push(group);
}

/// One line: `fwmark N [inet|inet6]`, or ADDR, ADDR/MASK, ADDR-LAST, ADDR-ADDR, each with or without a port.
fn entry(line: &Node<'_>, cx: &mut Cx<'_>) -> Option<GroupEntry> {
    let first = line.keyword;
    let found = match first.text {
        "fwmark" => {
            if line.args.is_empty() {
                cx.abort(line, "a firewall mark");
                return None;
            }
            mark(line)
        }
        _ => range(line),
    };
    match found {
        Ok(entry) => Some(entry),
        Err((class, problem)) => {
            let complaint = Diagnostic::new(class, line.span, format!("{problem}; the entry is left out"));
            cx.push(
                complaint.help("write `ADDRESS PORT`, `ADDRESS-LAST PORT`, `NETWORK/PREFIX PORT` or `fwmark N inet`"),
            );
            None
        }
    }
}

type Problem = (Class, String);
fn wrong(text: impl Into<String>) -> Problem {
    (Class::General, text.into())
}

fn mark(line: &Node<'_>) -> Result<GroupEntry, Problem> {
    let number = line.args.first().map_or("", |word| word.text);
    let mark = unsigned_in(number, 0, u64::from(u32::MAX));
    let mark = mark.ok_or_else(|| wrong(format!("`{number}` is no firewall mark")))? as u32;
    if mark == 0 {
        return Err((Class::Note, "0 is the mark of packets that have none".to_owned()));
    }
    let family = match line.args.get(1).map(|word| word.text) {
        None => None,
        Some("inet") => Some(Family::V4),
        Some("inet6") => Some(Family::V6),
        Some(other) => return Err(wrong(format!("`{other}` is no family: expected inet or inet6"))),
    };
    Ok(GroupEntry::Mark { mark, family })
}

fn range(line: &Node<'_>) -> Result<GroupEntry, Problem> {
    let text = line.keyword.text;
    let Endpoint { address: first, port } = endpoint(line.keyword, line.args.first()).map_err(wrong)?;
    let last = if let Some((_, mask)) = text.split_once('/') {
        masked(first, mask).map_err(wrong)?
    } else if let Some((_, end)) = text.split_once('-') {
        range_end(first, end)?
    } else {
        first
    };
    Ok(GroupEntry::Range { first, last, port })
}

/// Last address of a network; its host bits must be zero.
fn masked(first: IpAddr, mask: &str) -> Result<IpAddr, String> {
    let most = if first.is_ipv4() { 32 } else { 128 };
    let length =
        unsigned_in(mask, 1, most).ok_or_else(|| format!("`/{mask}` is no prefix length: expected 1 to {most}"))?;
    let busy = || "the address has bits beyond its prefix".to_owned();
    match first {
        IpAddr::V4(address) => {
            let host = u32::MAX.checked_shr(length as u32).unwrap_or(0);
            let bits = u32::from(address);
            if bits & host != 0 { Err(busy()) } else { Ok(Ipv4Addr::from(bits | host).into()) }
        }
        IpAddr::V6(address) => {
            let host = u128::MAX.checked_shr(length as u32).unwrap_or(0);
            let bits = u128::from(address);
            if bits & host != 0 { Err(busy()) } else { Ok(Ipv6Addr::from(bits | host).into()) }
        }
    }
}

/// End of a range: a whole address, or its last octet (IPv6: last 16 bits, hexadecimal).
fn range_end(first: IpAddr, end: &str) -> Result<IpAddr, Problem> {
    let whole = if first.is_ipv4() { end.contains('.') } else { end.contains(':') };
    if whole {
        let last = ip_address(end).filter(|last| last.is_ipv4() == first.is_ipv4());
        let last = last.ok_or_else(|| wrong(format!("`{end}` cannot end the range")))?;
        return if last < first { Err(wrong(format!("the range ends at {last}, below {first}"))) } else { Ok(last) };
    }
    let bad = || (Class::InvalidNumber, format!("`{end}` cannot end the range"));
    let (last, below) = match first {
        IpAddr::V4(address) => {
            let octet = end.parse::<u8>().map_err(|_| bad())?;
            let [a, b, c, start] = address.octets();
            (IpAddr::from([a, b, c, octet]), start >= octet)
        }
        IpAddr::V6(address) => {
            let group = u16::from_str_radix(end, 16).map_err(|_| bad())?;
            let mut groups = address.segments();
            let start = std::mem::replace(&mut groups[7], group);
            (IpAddr::from(groups), start >= group)
        }
    };
    if below { Err(wrong(format!("the range ends at {last}, not above {first}"))) } else { Ok(last) }
}

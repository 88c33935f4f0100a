//! `encap …` of a route or next hop: the lightweight tunnels `ip`, `ip6`, `mpls`, `ila`.
//!
//! A mistake here costs the tunnel, not the route.

use crate::config::line::{LineCx, Words, any_base, ip, unsigned, wrong};
use crate::config::text::tree::Word;
use crate::spec::Encap;
use std::net::IpAddr;

/// Most labels that keepalived stacks.
const MOST_LABELS: usize = 16;

/// Reads what follows `encap`; `None` if it cannot be used.
pub fn encap(keyword: &Word<'_>, words: &mut Words<'_, '_>, cx: &mut LineCx<'_>) -> Option<Encap> {
    let Some(kind) = words.next() else {
        cx.say(keyword, "`encap` has no type", "expected ip, ip6, mpls or ila");
        return None;
    };
    match kind.text {
        "ip" => tunnel(kind, words, false, cx),
        "ip6" => tunnel(kind, words, true, cx),
        "mpls" => {
            let labels = argument(kind, words, cx)?;
            let parts: Option<Vec<u32>> = labels.text.split('/').map(label).collect();
            let parts = parts.filter(|parts| parts.len() <= MOST_LABELS);
            if parts.is_none() {
                let message = format!("`{}` is no label stack; the tunnel is left out", labels.text);
                cx.say(labels, message, "expected LABEL[/LABEL…], each 0 to 1048575, at most 16");
            }
            parts.map(|labels| Encap::Mpls { labels })
        }
        "ila" => {
            let word = argument(kind, words, cx)?;
            let found = locator(word.text);
            if found.is_none() {
                let message = format!("`{}` is no ILA locator; the tunnel is left out", word.text);
                cx.say(word, message, "expected four groups of hexadecimal digits");
            }
            found.map(|locator| Encap::Ila { locator })
        }
        other => {
            cx.say(kind, format!("`{other}` is no type of tunnel; it is left out"), "expected ip, ip6, mpls or ila");
            None
        }
    }
}

fn argument<'n, 's>(kind: &Word<'_>, words: &mut Words<'n, 's>, cx: &mut LineCx<'_>) -> Option<&'n Word<'s>> {
    let word = words.next();
    if word.is_none() {
        cx.say(kind, format!("`encap {}` has no value; the tunnel is left out", kind.text), "a value must follow");
    }
    word
}

fn label(text: &str) -> Option<u32> {
    any_base(text).and_then(|n| u32::try_from(n).ok()).filter(|n| *n < 1 << 20)
}

fn locator(text: &str) -> Option<u64> {
    let groups: Vec<&str> = text.split(':').collect();
    if groups.len() != 4 {
        return None;
    }
    groups.iter().try_fold(0u64, |sum, group| {
        let clean = (1..=4).contains(&group.len()) && group.bytes().all(|b| b.is_ascii_hexdigit());
        u64::from_str_radix(group, 16).ok().filter(|_| clean).map(|n| sum << 16 | n)
    })
}

/// `id N dst A [src A] [tos|tc T] [ttl|hoplimit N] [flags N]`; `dst` or `id` is needed.
fn tunnel(kind: &Word<'_>, words: &mut Words<'_, '_>, six: bool, cx: &mut LineCx<'_>) -> Option<Encap> {
    let (mut id, mut destination, mut source, mut tos, mut ttl, mut flags) = (None, None, None, 0, 0, 0);
    let right = |address: &IpAddr| address.is_ipv6() == six;
    while words.left() >= 2 {
        let Some(word) = words.peek() else { break };
        let known = match word.text {
            "id" | "dst" | "src" | "flags" => true,
            "tos" | "ttl" => !six,
            "tc" | "hoplimit" => six,
            _ => false,
        };
        if !known {
            break;
        }
        words.next();
        let Some(value) = words.next() else { break };
        let text = value.text;
        let small = unsigned(text).and_then(|n| u8::try_from(n).ok());
        let done = match word.text {
            "id" => unsigned(text).map(|n| id = Some(n)),
            "dst" => ip(text).filter(right).map(|a| destination = Some(a)),
            "src" => ip(text).filter(right).map(|a| source = Some(a)),
            "tos" | "tc" => cx.names.dsfield(text).map(|n| tos = n),
            "ttl" | "hoplimit" => small.map(|n| ttl = n),
            _ => unsigned(text).and_then(|n| u16::try_from(n).ok()).map(|n| flags = n),
        };
        if done.is_none() {
            let message = format!("`{text}` is no {} of an {} tunnel; the tunnel is left out", word.text, kind.text);
            cx.say(
                value,
                message,
                if six { "IPv6 addresses and plain numbers" } else { "IPv4 addresses and plain numbers" },
            );
            return None;
        }
    }
    if destination.is_none() && id.is_none() {
        cx.push(wrong(kind.span, format!("`encap {}` needs `dst` or `id`; the tunnel is left out", kind.text)));
        return None;
    }
    Some(if six {
        Encap::Ip6 { id, destination, source, tc: tos, hoplimit: ttl, flags }
    } else {
        Encap::Ip { id, destination, source, tos, ttl, flags }
    })
}

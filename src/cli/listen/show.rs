//! What `vipctl listen` prints: for people a block a virtual router, for programs one object.

use super::super::paint::Paint;
use super::super::table::Table;
use super::Learned;
use crate::listen::{Authentication, Router, Speaker, Stray, Sum};
use crate::observe::words::{self, span};
use crate::spec::first_few;
use crate::vrrp::io::Refusal;
use crate::wire::Family;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Addresses shown of one virtual router; more are counted.
const ADDRESSES: usize = 8;

pub(super) fn text(learned: &Learned, paint: Paint) -> String {
    let mut out = String::new();
    if learned.census.is_empty() {
        out += &format!("No VRRP was heard on {}.\n", learned.place);
        out += &paint.dim(
            "A master sends one advert each interval, 1 s by default, to 224.0.0.18 or ff02::12. If one runs elsewhere, \
             something between drops IP protocol 112 or multicast: a firewall on the sender, a switch, a cloud network. \
             Unicast between two others is not heard here.\n",
        );
        return out;
    }
    for router in learned.census.routers() {
        out += &block(learned, router, paint);
        out.push('\n');
    }
    for stray in learned.census.strays() {
        out += &format!("{}\n", paint.careful(&stray_words(stray)));
    }
    for (vlan, family) in nets(learned) {
        out += &format!("VRIDs on {}: {}\n", net(learned, vlan, family), vrids(learned, vlan, family));
    }
    if learned.census.speakers().all(|speaker| speaker.own) && !learned.census.is_empty() {
        out += &paint.careful("Only this machine itself was heard.\n");
    }
    out
}

fn block(learned: &Learned, router: Router, paint: Paint) -> String {
    let speakers: Vec<&Speaker> = learned.census.speakers().filter(|speaker| speaker.router == router).collect();
    let vlan = router.vlan.map_or_else(String::new, |vlan| format!(", VLAN {vlan}"));
    let mut out = format!("{}\n", paint.strong(&format!("VRID {}, {}{vlan}", router.vrid, router.family)));
    let mut table = Table::new(&[
        "  SPEAKER",
        "MAC",
        "VERSION",
        "PRIORITY",
        "INTERVAL",
        "TTL",
        "AUTHENTICATION",
        "CHECKSUM",
        "HEARD",
    ]);
    let now = learned.now.at;
    for speaker in &speakers {
        let whose = if speaker.own { " (this machine)" } else { "" };
        let ago = format!("{} ago", span(now.since(speaker.last.at).as_secs_f64()));
        let heard = match (speaker.priority.0, speaker.is_silent(now)) {
            (0, _) => paint.dim(&format!("left {ago}")),
            (_, true) => paint.dim(&format!("silent, last {ago}")),
            _ => ago,
        };
        table.row([
            format!("  {}{whose}", speaker.address),
            speaker.mac.map_or_else(String::new, words::mac),
            speaker.version.to_string(),
            speaker.priority.to_string(),
            interval(speaker),
            if speaker.ttl == 255 { "255".into() } else { paint.careful(&speaker.ttl.to_string()) },
            authentication(speaker.authentication),
            if speaker.sum == Sum::Wrong { paint.bad(sum(speaker.sum)) } else { sum(speaker.sum).to_owned() },
            heard,
        ]);
    }
    out += &table.render(paint);
    out += &addresses(&speakers);
    for speaker in speakers.iter().filter(|speaker| !speaker.destination.is_multicast()) {
        out += &format!("  {} speaks unicast to {}\n", speaker.address, speaker.destination);
    }
    out += &rivals(&learned.census.installations(router, now), router, paint);
    for speaker in &speakers {
        out += &verdict(learned, speaker, paint);
    }
    out
}

/// Who goes on speaking beside others: masters of one installation, and installations beside each other.
fn rivals(installations: &[Vec<&Speaker>], router: Router, paint: Paint) -> String {
    let mut out = String::new();
    let count = |number: usize| if number == 2 { "two".to_owned() } else { number.to_string() };
    for masters in installations.iter().filter(|masters| masters.len() > 1) {
        let all = if masters.len() == 2 { "both" } else { "all" };
        let names: Vec<String> = masters.iter().map(|speaker| speaker.address.to_string()).collect();
        let text = format!("{} masters: {} {all} go on speaking for it", count(names.len()), names.join(" and "));
        out += &format!("  {}\n", paint.bad(&text));
    }
    if installations.len() > 1 {
        let of = |one: &Vec<&Speaker>| first_few(one.iter().map(|speaker| speaker.address), 4, " and ");
        let names = installations.iter().map(of).collect::<Vec<_>>().join("; ");
        let text = format!(
            "{} installations have VRID {}, for their addresses have nothing in common: {names}",
            count(installations.len()),
            router.vrid
        );
        out += &format!("  {}\n", paint.bad(&text));
        let cure = "give each its own virtual_router_id: with use_vmac or addresses that no advert names they disturb each other";
        out += &format!("    {}\n", paint.dim(cure));
    }
    out
}

/// One line if all speak for the same addresses, else one each.
fn addresses(speakers: &[&Speaker]) -> String {
    let sets: BTreeSet<BTreeSet<String>> =
        speakers.iter().map(|s| s.addresses.iter().map(ToString::to_string).collect()).collect();
    let list = |speaker: &Speaker| {
        let mut names: Vec<String> = speaker.addresses.iter().take(ADDRESSES).map(ToString::to_string).collect();
        if let Some(more) = speaker.addresses.len().checked_sub(ADDRESSES).filter(|more| *more > 0) {
            names.push(format!("and {more} more"));
        }
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    match (sets.len(), speakers.first()) {
        (1, Some(first)) => format!("  addresses: {}\n", list(first)),
        _ => speakers.iter().map(|s| format!("  addresses of {}: {}\n", s.address, list(s))).collect(),
    }
}

fn verdict(learned: &Learned, speaker: &Speaker, paint: Paint) -> String {
    let Some(judge) = &learned.judge else { return String::new() };
    let Some(verdict) = judge.verdicts.get(&super::whom(speaker)) else { return String::new() };
    let name = verdict.instance.and_then(|id| judge.spec.instances.get(id.index())).map(|i| i.name.to_string());
    let (file, who) = (&judge.file, speaker.address);
    match (name, verdict.refused) {
        (Some(name), Some(why)) => {
            let mut out =
                format!("  {}\n", paint.bad(&format!("{file} refuses {who} ({name}): {}", words::refusal(why))));
            if let Some(cure) = words::refusal_cure(why) {
                out += &format!("    {}\n", paint.dim(cure));
            }
            out
        }
        (Some(name), None) if verdict.addresses_differ => {
            let text = format!("{file} takes {who} ({name}), but has other addresses");
            format!("  {}\n", paint.careful(&text))
        }
        (Some(name), None) => format!("  {file} takes {who} ({name})\n"),
        (None, why) => {
            let why = words::refusal(why.unwrap_or(Refusal::UnknownVrid));
            format!("  {}\n", paint.dim(&format!("{file} does not mind {who}: {why}")))
        }
    }
}

fn nets(learned: &Learned) -> BTreeSet<(Option<u16>, Family)> {
    learned.census.routers().into_iter().map(|router| (router.vlan, router.family)).collect()
}

fn net(learned: &Learned, vlan: Option<u16>, family: Family) -> String {
    let vlan = vlan.map_or_else(String::new, |vlan| format!(", VLAN {vlan}"));
    format!("{}{vlan}, {family}", learned.place)
}

fn taken(learned: &Learned, vlan: Option<u16>, family: Family) -> Vec<u8> {
    let of_net = |router: &Router| router.vlan == vlan && router.family == family;
    learned.census.routers().into_iter().filter(of_net).map(|router| router.vrid.get()).collect()
}

fn vrids(learned: &Learned, vlan: Option<u16>, family: Family) -> String {
    let taken: Vec<String> = taken(learned, vlan, family).iter().map(ToString::to_string).collect();
    let range = |(first, last): (u8, u8)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    let free: Vec<String> = learned.census.free(vlan, family).into_iter().map(range).collect();
    let free = if free.is_empty() { "none".to_owned() } else { free.join(", ") };
    format!("taken {}; free {free}", taken.join(", "))
}

fn interval(speaker: &Speaker) -> String {
    let measured = speaker.measured().map_or_else(String::new, |m| format!(", measured {:.2}", m.as_secs_f64()));
    format!("{} s{measured}", speaker.interval)
}

fn authentication(kind: Authentication) -> String {
    match kind {
        Authentication::None => "none".into(),
        Authentication::Password => "password".into(),
        Authentication::Ah => "AH".into(),
        Authentication::Hmac { key } => format!("HMAC, key {key}"),
        Authentication::Unknown(kind) => format!("unknown type {kind}"),
    }
}

fn sum(sum: Sum) -> &'static str {
    match sum {
        Sum::Packet => "packet",
        Sum::PseudoHeader => "pseudo header",
        Sum::OldUnicast => "old unicast",
        Sum::Wrong => "wrong",
    }
}

fn stray_words(stray: &Stray) -> String {
    let from = stray.source.map_or_else(String::new, |source| format!(" of {source}"));
    let times = if stray.count == 1 { "1 datagram".to_owned() } else { format!("{} datagrams", stray.count) };
    format!("{times}{from} cannot be read: {}", words::refusal(stray.why.into()))
}

/// One object: `speakers`, `routers` (with `two_masters`, and `installations` where there are several), `vrids`, `unreadable`.
pub(super) fn json(learned: &Learned) -> String {
    let now = learned.now.at;
    let routers: Vec<Value> = learned
        .census
        .routers()
        .into_iter()
        .map(|router| {
            let installations = learned.census.installations(router, now);
            let addresses = |one: &Vec<&Speaker>| one.iter().map(|speaker| speaker.address).collect::<Vec<_>>();
            let masters: Vec<_> = installations.iter().filter(|one| one.len() > 1).flat_map(addresses).collect();
            let shared: Vec<_> = installations.iter().filter(|_| installations.len() > 1).map(addresses).collect();
            json!({
                "vlan": router.vlan, "family": router.family, "vrid": router.vrid, "two_masters": masters,
                "installations": shared,
            })
        })
        .collect();
    let vrids: Vec<Value> = nets(learned)
        .into_iter()
        .map(|(vlan, family)| {
            let free = learned.census.free(vlan, family);
            json!({ "vlan": vlan, "family": family, "taken": taken(learned, vlan, family), "free": free })
        })
        .collect();
    let unreadable: Vec<Value> = learned
        .census
        .strays()
        .iter()
        .map(|stray| json!({ "address": stray.source, "count": stray.count, "why": Refusal::from(stray.why) }))
        .collect();
    let whole = json!({
        "place": learned.place,
        "unix_micros": learned.now.unix_micros,
        "routers": routers,
        "speakers": learned.census.speakers().map(|speaker| speaker_json(learned, speaker)).collect::<Vec<_>>(),
        "vrids": vrids,
        "unreadable": unreadable,
    });
    crate::cli::steer::pretty(whole)
}

fn speaker_json(learned: &Learned, speaker: &Speaker) -> Value {
    let now = learned.now.at;
    let kind = match speaker.authentication {
        Authentication::None => json!({ "kind": "none" }),
        Authentication::Password => json!({ "kind": "password" }),
        Authentication::Ah => json!({ "kind": "ah" }),
        Authentication::Hmac { key } => json!({ "kind": "hmac", "key": key }),
        Authentication::Unknown(number) => json!({ "kind": "unknown", "type": number }),
    };
    let checksum = match speaker.sum {
        Sum::Packet => "packet",
        Sum::PseudoHeader => "pseudo_header",
        Sum::OldUnicast => "old_unicast",
        Sum::Wrong => "wrong",
    };
    let mut value = json!({
        "vlan": speaker.router.vlan,
        "family": speaker.router.family,
        "vrid": speaker.router.vrid,
        "version": speaker.version,
        "address": speaker.address,
        "mac": speaker.mac.map(words::mac),
        "destination": speaker.destination,
        "ttl": speaker.ttl,
        "priority": speaker.priority,
        "interval_seconds": speaker.interval.as_secs_f64(),
        "measured_seconds": speaker.measured().map(|m| m.as_secs_f64()),
        "authentication": kind,
        "checksum": checksum,
        "addresses": speaker.addresses,
        "this_machine": speaker.own,
        "adverts": speaker.adverts,
        "first_unix_micros": speaker.first.unix_micros,
        "last_unix_micros": speaker.last.unix_micros,
        "silent": speaker.is_silent(now),
    });
    let judged = learned.judge.as_ref().and_then(|judge| Some((judge, judge.verdicts.get(&super::whom(speaker))?)));
    if let Some((judge, verdict)) = judged {
        let instance = verdict.instance.and_then(|id| judge.spec.instances.get(id.index())).map(|i| i.name.to_string());
        value["verdict"] = json!({
            "config": judge.file,
            "instance": instance,
            "refused": verdict.refused,
            "why": verdict.refused.map(words::refusal),
            "addresses_differ": verdict.addresses_differ,
        });
    }
    value
}

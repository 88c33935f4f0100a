//! What will happen, in sentences: who holds the addresses, what takes them away, how long that takes.
//!
//! Times are the engine's: [`election::skew`] after a farewell, [`election::master_down`] after silence. They count from
//! the last advert that the backup heard.

use super::Member;
use super::Servers;
use super::advertised;
use super::names;
use super::routers;
use super::trackers::{Priorities, label, priority, script};
use crate::spec::{Auth, Spec, Transport};
use crate::time::Interval;
use crate::vrrp::election;
use crate::wire::Priority;

/// What will happen with these servers, one sentence a line.
pub fn outlook(servers: &[(String, &Spec)]) -> Vec<String> {
    let servers = Servers::new(servers);
    let mut lines = Vec::new();
    for router in routers(&servers) {
        Story { router: &router, servers: &servers }.tell(&mut lines);
    }
    lines
}

struct Story<'s, 'a> {
    router: &'s [Member<'a>],
    servers: &'s Servers<'a>,
}

impl<'a> Story<'_, 'a> {
    fn tell(&self, lines: &mut Vec<String>) {
        let mut order: Vec<Member<'a>> = Vec::new();
        for member in self.router {
            match &member.instance.config_fault {
                Some(why) => lines.push(format!("{} can never hold {}: {why}.", self.who(member), self.what(member))),
                None => order.push(*member),
            }
        }
        // The greater address wins a tie, where it is known.
        order.sort_by_key(|m| std::cmp::Reverse((priority(m.instance), m.instance.source)));
        let Some((holder, backups)) = order.split_first() else { return };
        let own = priority(holder.instance);
        let Some(next) = backups.first() else {
            lines.push(format!("{} holds {}; nobody else does.", self.who(holder), self.what(holder)));
            return;
        };
        if let Some(why) = self.deaf(holder, next) {
            lines.push(format!("{} and {} both hold {}: {why}.", self.who(holder), self.who(next), self.what(holder)));
            return;
        }
        let theirs = priority(next.instance);
        let by = match own == theirs {
            true if holder.instance.source.is_none() || next.instance.source.is_none() => {
                format!("both have priority {own}; who was first stays")
            }
            true => format!("both have priority {own}; its address is greater"),
            false => format!("priority {own} against {theirs} of {}", self.who(next)),
        };
        lines.push(format!("{} holds {} ({by}).", self.who(holder), self.what(holder)));

        let silence = self.silence(holder, next);
        let farewell = election::skew(next.instance.version, theirs, holder.instance.interval);
        lines.push(format!(
            "if {} dies or is cut off, {} takes over at most {} later; if it is stopped, {} later.",
            self.who(holder),
            self.who(next),
            seconds(silence),
            seconds(farewell)
        ));
        self.trackers(holder, next, silence, farewell, lines);
        self.comes_back(holder, next, lines);
    }

    /// Silence ends when the last advert heard is too old.
    fn silence(&self, holder: &Member<'a>, next: &Member<'a>) -> Interval {
        let own = next.instance;
        election::master_down(own.version, priority(own), holder.instance.interval, own.down_adverts)
    }

    fn trackers(
        &self,
        holder: &Member<'a>,
        next: &Member<'a>,
        silence: Interval,
        farewell: Interval,
        lines: &mut Vec<String>,
    ) {
        let Some(spec) = self.servers.spec(holder.server) else { return };
        if holder.instance.priority == Priority::OWNER {
            return;
        }
        let (priorities, theirs) = (Priorities::of(holder.instance), priority(next.instance));
        for tie in &holder.instance.ties {
            let what = match script(tie, spec) {
                Some(script) => {
                    let runs = u64::from(script.fall.max(1));
                    let noticed = script.interval.times(runs) + script.timeout;
                    format!("{} (noticed within {})", script.name, seconds(noticed))
                }
                None => label(tie, spec),
            };
            let fails = match (tie.weight, tie.reverse) {
                (0, true) => continue,
                (0, false) => Some(farewell),
                _ => {
                    let left = priorities.without(tie);
                    let moves = left < theirs && next.instance.preempt;
                    moves.then_some(silence)
                }
            };
            if matches!(tie.on, crate::spec::TieTarget::File(_)) && tie.weight != 0 {
                let least = i32::from(priorities.well.0) - i32::from(theirs.0);
                lines.push(format!(
                    "if the number in {what} on {} lowers its priority by more than {least}, {} takes over at most {} later.",
                    self.who(holder),
                    self.who(next),
                    seconds(silence)
                ));
                continue;
            }
            lines.push(match fails {
                Some(time) => format!(
                    "if {what} fails on {}, {} takes over {}{} later.",
                    self.who(holder),
                    self.who(next),
                    if tie.weight == 0 { "" } else { "at most " },
                    seconds(time)
                ),
                None => format!("if {what} fails on {}, nothing moves.", self.who(holder)),
            });
        }
    }

    fn comes_back(&self, holder: &Member<'a>, next: &Member<'a>, lines: &mut Vec<String>) {
        let own = holder.instance;
        if priority(own) == priority(next.instance) {
            lines.push(format!(
                "when {} comes back, {} keeps {}.",
                self.who(holder),
                self.who(next),
                self.what(holder)
            ));
        } else if !own.preempt {
            lines.push(format!(
                "when {} comes back, {} keeps {} (nopreempt).",
                self.who(holder),
                self.who(next),
                self.what(holder)
            ));
        } else {
            let patience = election::master_down(own.version, priority(own), next.instance.interval, own.down_adverts);
            lines.push(format!(
                "when {} comes back, it takes {} back {} later.",
                self.who(holder),
                self.what(holder),
                seconds(own.preempt_delay + patience)
            ));
        }
    }

    /// Why two of them do not hear each other.
    fn deaf(&self, a: &Member<'a>, b: &Member<'a>) -> Option<&'static str> {
        let (x, y) = (a.instance, b.instance);
        if x.vrid != y.vrid {
            return Some("their VRIDs differ");
        }
        if x.version != y.version {
            return Some("their versions differ");
        }
        if x.version == crate::wire::Version::V2 && x.interval != y.interval {
            return Some("their advert_int differs");
        }
        match (&x.auth, &y.auth) {
            // Keys and modes of auth_hmac are compare()'s; here only what can never fit.
            (Auth::Hmac(_), _) | (_, Auth::Hmac(_)) => {}
            (one, other) if one != other => return Some("their authentication differs"),
            _ => {}
        }
        match (&x.transport, &y.transport) {
            (Transport::Multicast { group: one }, Transport::Multicast { group: other }) if one == other => {}
            (Transport::Unicast { .. }, Transport::Unicast { .. }) => {
                if y.source.is_some() && !names(x, y) {
                    return Some("the one does not send to the other");
                }
            }
            _ => return Some("they do not send to each other"),
        }
        None
    }

    fn who(&self, member: &Member<'_>) -> &str {
        self.servers.name(member.server)
    }

    /// "10.0.0.10", "10.0.0.10 and 2 more", or the instance's name.
    fn what(&self, member: &Member<'_>) -> String {
        let mut addresses = advertised(member.instance);
        match (addresses.next(), member.instance.claim.addresses.len()) {
            (Some(first), 1) => first.to_string(),
            (Some(first), n) => format!("{first} and {} more", n.saturating_sub(1)),
            (None, _) => member.instance.name.to_string(),
        }
    }
}

/// Enough digits to compare, no more: "3.6 s", "0.61 s", "12 s".
fn seconds(interval: Interval) -> String {
    let s = interval.as_secs_f64();
    let places = match s {
        s if s >= 10.0 => 0,
        s if s >= 1.0 => 1,
        s if s >= 0.1 => 2,
        _ => 3,
    };
    format!("{s:.places$} s")
}

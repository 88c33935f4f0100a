//! The laws about virtual servers, for one node. Their bounds are derived in `docs/bounds.md`.

use super::backends::Backends;
use crate::balance::snapshot::{ServerView, ServiceView};
use crate::sim::bounds::Bounds;
use crate::sim::law::Law;
use crate::sim::node::Node;
use crate::sim::scenario::Mood;
use crate::spec::backend::{Truth, bound, together};
use crate::spec::balance::VirtualServer;
use crate::time::{Interval, Time};
use std::collections::BTreeMap;

/// Between two looks: less than any bound by far.
const EVERY: Interval = Interval::from_millis(100);

/// Since when what is true of a server has been so, and the balancer could find it out.
#[derive(Clone, Debug, Default)]
pub(in crate::sim) struct Watch {
    looked: Time,
    /// The daemon began, went on, or had a table that refused or was slow.
    hindered: Time,
    since: BTreeMap<(usize, usize), (Truth, Time)>,
}

impl Watch {
    pub(super) fn begun(now: Time) -> Watch {
        Watch { hindered: now, ..Watch::default() }
    }

    /// The law that is broken, if one is.
    pub(super) fn look(
        &mut self,
        node: &Node,
        backends: &Backends,
        bounds: &Bounds,
        now: Time,
    ) -> Option<(Law, String)> {
        if node.paused || node.kernel.mood != Mood::Well {
            self.hindered = now;
        }
        if now.since(self.looked) < EVERY || node.paused {
            return None;
        }
        self.looked = now;
        let snapshot = node.post.director.as_ref()?.snapshot(now);
        let spec = &node.spec.balance;
        for (position, (view, own)) in snapshot.services.iter().zip(&spec.services).enumerate() {
            if let Some(text) = quorum(view, own) {
                return Some((Law::QuorumAgrees, format!("{} {}: {text}", node.name, view.info.text)));
            }
            if let Some(text) = self.table(node, view, own, now) {
                return Some((Law::TableFollows, format!("{} {}: {text}", node.name, view.info.text)));
            }
            for (number, (server, real)) in view.servers.iter().zip(&own.servers).enumerate() {
                let truths = || real.checkers.iter().map(|checker| backends.truth(spec, checker));
                let truth = together(truths());
                let entry = self.since.entry((position, number)).or_insert((truth, now));
                if entry.0 != truth || !view.enabled {
                    *entry = (truth, now);
                }
                let lasts = now.since(entry.1.max(self.hindered));
                // What was refused is tried again within a minute.
                let bound = bound(real, bounds.late) + bounds.refusal;
                if lasts <= bound {
                    continue;
                }
                let at = |what: &str| {
                    format!("{} {} is {what} for {lasts}s: {}", node.name, server.info.text, shown(server))
                };
                match truth {
                    Truth::Bad if server.up => return Some((Law::ServerOut, at("bad and in"))),
                    Truth::Good if !server.up => return Some((Law::ServerIn, at("good and out"))),
                    Truth::Good | Truth::Bad | Truth::Unclear => {}
                }
            }
        }
        None
    }

    /// The kernel's table has what the state says, once it had the time.
    fn table(&self, node: &Node, view: &ServiceView, own: &VirtualServer, now: Time) -> Option<String> {
        if node.post.open > 0 || now.since(self.hindered) < Interval::from_secs(2) {
            return None;
        }
        for key in &view.keys {
            let Some(picture) = node.post.table.get(key) else { return Some(format!("{key} is not in the table")) };
            let weight = |endpoint, forwarding| {
                let at = crate::balance::service::in_kernel(key, endpoint, forwarding);
                picture.destinations.get(&at).map(|destination| destination.weight)
            };
            let serves = own.sorry.as_ref().map(|sorry| (sorry, weight(sorry.endpoint, sorry.forwarding)));
            for (server, real) in view.servers.iter().zip(&own.servers) {
                if server.refused.is_some() || own.sorry.as_ref().is_some_and(|sorry| sorry.endpoint == real.endpoint) {
                    continue;
                }
                let wanted = server.weight.clamp(0, i64::from(i32::MAX)) as u32;
                let held = weight(real.endpoint, real.forwarding);
                let right = match (server.up && (view.quorum || own.sorry.is_none()), real.inhibit) {
                    (true, _) => Some(wanted),
                    (false, true) => Some(0),
                    (false, false) => None,
                };
                // Where the kernel refused what was to serve, what served before is left in until it is tried again.
                let left = view.retry.is_some() && right.is_none_or(|weight| weight == 0);
                if held != right && !left {
                    return Some(format!("{} has {held:?} where {right:?} is right", server.info.text));
                }
            }
            if let Some((sorry, held)) = serves {
                let right = match (view.quorum, sorry.inhibit) {
                    (false, _) => Some(1),
                    (true, true) => Some(0),
                    (true, false) => None,
                };
                let twin = own.servers.iter().any(|real| real.endpoint == sorry.endpoint);
                // A sorry server that the kernel refused is wished for once more within a minute.
                let refused = held.is_none() && view.retry.is_some();
                if held != right && !twin && !refused {
                    return Some(format!("the sorry server has {held:?} where {right:?} is right"));
                }
            }
        }
        None
    }
}

fn shown(server: &ServerView) -> String {
    let checks: Vec<String> = server
        .checks
        .iter()
        .map(|check| format!("{} last {:?} due {:?}", if check.up { "good" } else { "bad" }, check.last, check.due))
        .collect();
    checks.join("; ")
}

/// What the rule of quorum and hysteresis forbids, and a sorry server that does not go with it.
fn quorum(view: &ServiceView, own: &VirtualServer) -> Option<String> {
    let up = view.servers.iter().filter(|server| server.up);
    let weight: u64 = up.map(|server| server.weight.clamp(0, i64::from(i32::MAX)) as u64).sum();
    let (quorum, hysteresis) = (u64::from(own.quorum), u64::from(own.hysteresis));
    let wrong = match view.quorum {
        true => weight == 0 || weight + hysteresis < quorum,
        false => weight > 0 && weight >= quorum + hysteresis,
    };
    if wrong {
        let has = if view.quorum { "has" } else { "has not" };
        return Some(format!("{has} its quorum {quorum}±{hysteresis} with weight {weight}"));
    }
    let sorry = !view.quorum && own.sorry.is_some();
    (view.sorry.is_some() != sorry).then(|| format!("quorum {}, sorry server {:?}", view.quorum, view.sorry))
}

//! Trackers of a virtual router whose haste moves addresses for nothing. Which of them move nothing at all is not computed
//! but played through, in [`crate::sim::outlook`].

use super::Finding;
use super::Member;
use super::Servers;
use crate::config::report::Level;
use crate::spec::{ScriptSpec, Spec, Tie};
use crate::time::Interval;

/// The script of a tie, if it is one.
fn script<'s>(tie: &Tie, spec: &'s Spec) -> Option<&'s ScriptSpec> {
    tie.on.script(spec)
}

/// Rules about the trackers of one router.
pub(super) fn check(router: &[Member<'_>], servers: &Servers<'_>, out: &mut Vec<Finding>) {
    for member in router {
        let Some(spec) = servers.spec(member.server) else { continue };
        for tie in &member.instance.ties {
            hasty(*member, tie, spec, servers, out);
        }
    }
}

/// A script of which one slow or unlucky run is enough.
fn hasty(member: Member<'_>, tie: &Tie, spec: &Spec, servers: &Servers<'_>, out: &mut Vec<Finding>) {
    let Some(script) = script(tie, spec) else { return };
    if script.fall <= 1 && script.timeout <= Interval::from_secs(1) {
        out.push(Finding {
            level: Level::Note,
            rule: "script-hasty",
            places: vec![servers.place(member)],
            message: format!(
                "{}: one run of {} slower than {} s on {} counts as a failure and moves the addresses",
                member.instance.name,
                script.name,
                script.timeout,
                servers.name(member.server)
            ),
            help: Some("set `fall 2` or a longer `timeout` for the script".into()),
        });
    }
}

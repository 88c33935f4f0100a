//! Programs that a configuration names: scripts of trackers and notify programs, as [`Run`]s, and what is said of those that cannot run.
//!
//! Whether one may run is [`Guard`]'s to say; here stands what follows from its answer.

use crate::config::report::{Class, Diagnostic};
use crate::config::security::{Danger, Guard, ScriptLine, SetScript};
use crate::config::table::block::Cx;
use crate::config::vrrp::group::SyncGroup;
use crate::config::vrrp::instance::Instance;
use crate::config::vrrp::tracker::{Named, ScriptBlock, Weight};
use crate::spec::{Notify, Run, ScriptSpec};

/// A notify script; one that cannot run is left out, which keepalived only logs.
pub fn notify(line: Option<&ScriptLine>, what: &str, guard: &mut Guard<'_>, cx: &mut Cx<'_>) -> Option<Box<Run>> {
    left_out_script(line, what, |guard| guard.class_of_missing_user(), guard, cx)
}

/// What to do about a program without a user.
pub const NO_USER: &str = "name a user of this machine with `script_user USER` in global_defs, or behind the command";

/// The same for a command line that names one: mostly that word is an argument, and the quotes are missing.
pub fn no_such_user(line: &ScriptLine) -> String {
    let Some(user) = &line.user else { return NO_USER.into() };
    let words = line.argv.join(" ");
    format!("if `{0}` is an argument, write `\"{words} {0}\"`; if it is a user, make it or name another one", user.user)
}

/// A script that is left out if it cannot run. `no_user` is the class of the complaint that its user does not exist.
pub fn left_out_script(
    line: Option<&ScriptLine>,
    what: &str,
    no_user: impl FnOnce(&mut Guard<'_>) -> Class,
    guard: &mut Guard<'_>,
    cx: &mut Cx<'_>,
) -> Option<Box<Run>> {
    let line = line?;
    let account = match guard.account_of(line.user.as_ref()) {
        Ok(account) => account,
        Err(reason) => {
            // What is wrong with `script_user` has been said there, for all that it concerns.
            let told = line.user.is_none() && cx.spoilt("script_user");
            let class = match no_user(guard) {
                class if class.is_mistake() => class,
                _ if told => Class::Follows,
                _ => Class::NotRun,
            };
            cx.push(
                Diagnostic::new(class, line.span, format!("{what} will not run: {reason}")).help(no_such_user(line)),
            );
            return None;
        }
    };
    match guard.check(&line.argv, &account, line.span) {
        Ok((run, _)) => Some(Box::new(run)),
        Err(danger) => {
            cx.push(
                Diagnostic::new(Class::NotRun, line.span, format!("{what} will not run: {}", danger.reason()))
                    .help(danger.cure()),
            );
            None
        }
    }
}

/// The command line of a setting.
fn line_of(set: &SetScript) -> Option<&ScriptLine> {
    set.as_ref().map(|set| &set.value)
}

pub(super) fn instance_notify(own: &Named<Instance>, guard: &mut Guard<'_>, cx: &mut Cx<'_>) -> Notify {
    let s = &own.settings;
    let deleted = s.notify_deleted.as_ref().and_then(|set| set.value.as_deref());
    Notify {
        backup: notify(line_of(&s.notify_backup), "notify_backup", guard, cx),
        master: notify(line_of(&s.notify_master), "notify_master", guard, cx),
        fault: notify(line_of(&s.notify_fault), "notify_fault", guard, cx),
        stop: notify(line_of(&s.notify_stop), "notify_stop", guard, cx),
        deleted: notify(deleted, "notify_deleted", guard, cx),
        any: notify(line_of(&s.notify), "notify", guard, cx),
        master_rx_lower_pri: notify(line_of(&s.notify_rx_lower), "notify_master_rx_lower_pri", guard, cx),
        tell_deleted: s.notify_deleted.is_some(),
        // Settled with the defaults.
        mail: false,
        priority_changes: false,
    }
}

pub(super) fn group_notify(group: &Named<SyncGroup>, guard: &mut Guard<'_>, cx: &mut Cx<'_>) -> Notify {
    let s = &group.settings;
    Notify {
        backup: notify(line_of(&s.notify_backup), "notify_backup", guard, cx),
        master: notify(line_of(&s.notify_master), "notify_master", guard, cx),
        fault: notify(line_of(&s.notify_fault), "notify_fault", guard, cx),
        stop: notify(line_of(&s.notify_stop), "notify_stop", guard, cx),
        any: notify(line_of(&s.notify), "notify", guard, cx),
        mail: s.smtp_alert.otherwise(&cx.global.smtp_alert_vrrp).otherwise(&cx.global.smtp_alert).or(false),
        priority_changes: s.notify_priority_changes.or(cx.global.notify_priority_changes()),
        ..Notify::default()
    }
}

/// A script that is tracked, with the weight that its block says; `None` where it cannot run, which has been said then.
pub(super) fn script(
    block: &Named<ScriptBlock>,
    guard: &mut Guard<'_>,
    cx: &mut Cx<'_>,
) -> Option<(ScriptSpec, Weight)> {
    let s = &block.settings;
    let line = &s.script.as_ref()?.value;
    let user = s.user.get();
    let refuse = |reason: &str, cure: &str, class: Class, cx: &mut Cx<'_>| {
        let message = format!("vrrp_script {} is not run and not tracked: {reason}", block.name);
        cx.push(Diagnostic::new(class, line.span, message).help(cure).ends_at(block.close));
        None
    };
    let account = match guard.account_of(user) {
        Ok(account) => account,
        Err(reason) => {
            let told = cx.told(&reason) || (user.is_none() && cx.spoilt("script_user"));
            return refuse(&reason, &no_such_user(line), if told { Class::Follows } else { Class::General }, cx);
        }
    };
    let (run, insecure) = match guard.check(&line.argv, &account, line.span) {
        Ok(checked) => checked,
        // keepalived says this in its log only.
        Err(danger @ Danger::NotExecutable(_)) => return refuse(danger.reason(), danger.cure(), Class::NotRun, cx),
        Err(danger) => return refuse(danger.reason(), danger.cure(), Class::General, cx),
    };
    let interval = s.interval();
    let weight = s.weight();
    let spec = ScriptSpec {
        name: block.name.clone(),
        run,
        interval,
        timeout: s.timeout.or(interval),
        weight: weight.weight,
        reverse: weight.reverse,
        rise: s.rise(),
        fall: s.fall(),
        init_fail: s.init_fail.is_some(),
        insecure,
    };
    Some((spec, weight))
}

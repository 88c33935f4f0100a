//! How an instance's adverts are authenticated: `authentication` and `auth_hmac`, after strict mode and the rules between
//! them and the rest of the instance.

use super::instance::{Rules, Standing, say};
use crate::config::report::{Class, Diagnostic};
use crate::config::table::block::Cx;
use crate::config::vrrp::instance::read::AuthKind;
use crate::config::vrrp::instance::{Hmac, Instance};
use crate::config::vrrp::tracker::Named;
use crate::spec::*;
use crate::time::Interval;
use crate::wire::{Family, Version};

/// What adverts are to carry. With AH an instance below priority 255 does not begin as master.
pub fn authentication(
    own: &Named<Instance>,
    rules: Rules,
    standing: &mut Standing,
    interval: Interval,
    cx: &mut Cx<'_>,
) -> Auth {
    let settings = &own.settings;
    let kind = permitted(own, rules, standing, cx);
    if let Some(hmac) = &settings.hmac {
        if kind.is_some() {
            say(
                cx,
                own,
                settings.auth.kind.span(),
                "auth_hmac takes the place of authentication, which is ignored",
                "remove the authentication block",
            );
        }
        return sealing(own, hmac, rules.strict, interval, cx);
    }
    let mut key = [0; 8];
    key.iter_mut().zip(password(own).bytes()).for_each(|(to, from)| *to = from);
    match kind {
        None => Auth::None,
        Some(AuthKind::Pass) => Auth::Pass(key),
        Some(AuthKind::Ah) => Auth::Ah(key),
    }
}

/// Empty without one.
fn password(own: &Named<Instance>) -> &str {
    own.settings.auth.pass.get().map_or("", |pass| pass)
}

/// The `auth_type` that is written, if it may be used.
fn permitted(own: &Named<Instance>, rules: Rules, standing: &mut Standing, cx: &mut Cx<'_>) -> Option<AuthKind> {
    let kind = own.settings.auth.kind.value()?;
    let refusal = match kind {
        _ if rules.strict => "strict mode allows no authentication; it is ignored",
        _ if rules.version == Version::V3 => "VRRP version 3 has no authentication; it is ignored",
        _ if password(own).is_empty() => "authentication needs auth_pass; it is ignored",
        AuthKind::Ah if rules.family == Family::V6 => "AH is not defined for IPv6; it is ignored",
        AuthKind::Ah if standing.wants_master && standing.priority != 255 => {
            say(
                cx,
                own,
                own.settings.state.span(),
                "state MASTER does not go with AH; BACKUP is used",
                "write `state BACKUP`",
            );
            standing.wants_master = false;
            return Some(kind);
        }
        AuthKind::Pass | AuthKind::Ah => return Some(kind),
    };
    refuse(own, rules, refusal, cx);
    None
}

/// Complains about a block `authentication` that is ignored.
fn refuse(own: &Named<Instance>, rules: Rules, refusal: &str, cx: &mut Cx<'_>) {
    let span = own.settings.auth.kind.span();
    let lacking = password(own).is_empty() && !rules.strict && rules.version == Version::V2;
    let mut class = if lacking { cx.class_without(&["auth_pass"], (own.span, own.close)) } else { Class::General };
    // `auth_type PASS auth_pass WORD` in one line: the rest of it has been noted.
    let rest = |d: &&mut Diagnostic| {
        d.class == Class::Note
            && span.zip(d.span).is_some_and(|(kind, rest)| (kind.end..kind.end + 2).contains(&rest.start))
    };
    if let Some(told) = cx.diagnostics.list.iter_mut().find(rest).filter(|_| lacking) {
        told.class = Class::General;
        told.message = format!("{}: the password is not read, and authentication is ignored", own.name);
        told.help = Some("write each setting on a line of its own".to_owned());
        class = Class::Follows;
    }
    let cure = if lacking { "write `auth_pass PASSWORD` in it" } else { "remove the authentication block" };
    cx.push(Diagnostic::new(class, span.unwrap_or(own.span), format!("{}: {refusal}", own.name)).help(cure));
}

/// What a block `auth_hmac` comes to: none, where the key that is to be used is not there.
fn sealing(own: &Named<Instance>, hmac: &Hmac, strict: bool, interval: Interval, cx: &mut Cx<'_>) -> Auth {
    let active = hmac.active.or(0);
    if !hmac.keys.iter().any(|key| u32::from(key.id) == active) {
        // A key that cannot be used has been complained about.
        if !hmac.refused {
            let class = cx.class_without(&["key", "active_key"], (own.span, own.close));
            let message = format!("{}: auth_hmac is off: active_key names no key that is there", own.name);
            let at = hmac.active.span().or(hmac.opened).unwrap_or(own.span);
            cx.push(Diagnostic::new(class, at, message).help("write `key N KEY` and `active_key N` with the same N"));
        }
        return Auth::None;
    }
    let mut mode = hmac.mode();
    if strict && mode != HmacMode::Enforce {
        say(
            cx,
            own,
            hmac.mode.span(),
            "in strict mode, auth_hmac has mode enforce, which is used",
            "write `mode enforce`, or remove the line",
        );
        mode = HmacMode::Enforce;
    }
    let replay = if hmac.by_time() {
        let derived = (3 * interval.as_secs()).clamp(5, 300);
        Replay::Time { window: Interval::from_secs(hmac.window.map_or(derived, |set| u64::from(set.value))) }
    } else {
        Replay::Monotonic
    };
    let keys = hmac.keys.iter().map(|key| (key.id, key.bytes.clone())).collect();
    Auth::Hmac(HmacAuth { keys, active: active as u8, mode, replay })
}

//! BFD sessions in words: log lines as keepalived writes them, sentences for `vipctl`, JSON for `watch` and `history`, and
//! keepalived_bfd.data. What a session is stands in [`crate::bfd::snapshot`]; nothing here asks the engine.

use crate::bfd::io::{Cause, Event, Hold, State};
use crate::bfd::snapshot::{SessionView, Snapshot};
use crate::time::{Interval, Time};
use serde_json::{Value, json};
use std::fmt::Write;
use std::net::IpAddr;
use tracing::Level;

/// The lines of an event; most have one. keepalived's texts where it has one. What is said at `DEBUG` is said with `-D`.
pub fn log(event: &Event) -> Vec<(Level, String)> {
    const WARN: Level = Level::WARN;
    const INFO: Level = Level::INFO;
    const DEBUG: Level = Level::DEBUG;
    match event {
        Event::Became { name, from, to, diag, peer_diag, why, own_delay } => {
            let mut lines = Vec::new();
            let loud = |important: bool| if important { WARN } else { DEBUG };
            if let Cause::Expired { detection_us } = why {
                lines.push((loud(*from == State::Up), format!("({name}) Expired after {} ms", detection_us / 1000)));
            }
            match to {
                State::Down => lines.push((
                    loud(*from == State::Up),
                    format!(
                        "({name}) Entering Down state (Local diagnostic - {diag}, Remote diagnostic - {peer_diag}): {why}"
                    ),
                )),
                State::Init => lines.push((DEBUG, format!("({name}) Entering Init state"))),
                State::Up | State::AdminDown => lines.push((INFO, format!("({name}) Entering {to} state"))),
            }
            if *from == State::Up && *to == State::Down && !own_delay.is_zero() {
                let text = format!("({name}) vipd itself was woken {} ms late before that", millis(*own_delay));
                lines.push((WARN, text));
            }
            lines
        }
        Event::LevelChanged { name, level } => {
            let held = match level.held {
                Some(Hold::Peer) => " (kept: the peer has shut the session down)",
                Some(Hold::Operator) => " (kept: the session is shut down here)",
                None => "",
            };
            vec![(DEBUG, format!("({name}) Trackers read {}{held}", if level.up { "up" } else { "down" }))]
        }
        Event::DetectionTime { name, is, was } => {
            let blank = " ".repeat(name.len() + 3);
            let (is, was) = (is.as_micros(), was.as_micros());
            vec![(INFO, format!("{blank} Detection time is {is} us (was {was} us)"))]
        }
        Event::PollStarted { name } => vec![(DEBUG, format!("({name}) Starting poll sequence"))],
        Event::PollEnded { name } => vec![(DEBUG, format!("({name}) Poll sequence answered"))],
        Event::Refused { session, from, why, ttl } => {
            let whose = session.as_ref().map(|name| format!("({name}) ")).unwrap_or_default();
            let ttl = ttl.map(|ttl| format!(", TTL {ttl}")).unwrap_or_default();
            vec![(INFO, format!("{whose}Discarding packet from {from}{ttl}: it {}", why.sentence()))]
        }
        Event::LowTtl { name, ttl } => vec![(
            WARN,
            format!(
                "({name}) The peer sends hop limit {ttl} where RFC 5881 asks for 255: packets from farther away cannot be told \
                 from its own; set `hoplimit 255` on both servers"
            ),
        )],
        Event::Blocked { name, by } => vec![(WARN, format!("({name}) Cannot run: {by}"))],
        Event::Unblocked { name } => vec![(INFO, format!("({name}) Can run again"))],
        Event::SendFailed { name, reason } => vec![(WARN, format!("({name}) Error sending packet: {reason}"))],
        Event::SendsAgain { name } => vec![(INFO, format!("({name}) Sends packets again"))],
        Event::Added { name } => vec![(DEBUG, format!("({name}) Session begins"))],
        Event::Renamed { from, to } => vec![(INFO, format!("({from}) is called {to} from here on"))],
        Event::Removed { name } => vec![(INFO, format!("({name}) Session removed"))],
    }
}

/// The session that an event is about, if it is one that people ask about later.
pub fn subject(event: &Event) -> Option<&str> {
    match event {
        Event::Became { name, .. }
        | Event::LevelChanged { name, .. }
        | Event::LowTtl { name, .. }
        | Event::Blocked { name, .. }
        | Event::Unblocked { name }
        | Event::SendFailed { name, .. }
        | Event::SendsAgain { name }
        | Event::Removed { name } => Some(name),
        Event::Renamed { to, .. } => Some(to),
        Event::Refused { session, .. } => session.as_deref(),
        // What the changes above follow from, or what comes with each start.
        Event::DetectionTime { .. } | Event::PollStarted { .. } | Event::PollEnded { .. } | Event::Added { .. } => None,
    }
}

/// As `vipctl watch --json` shows it.
pub fn json(event: &Event) -> Value {
    let kind = match event {
        Event::Became { .. } => "bfd_became",
        Event::LevelChanged { .. } => "bfd_level_changed",
        Event::DetectionTime { .. } => "bfd_detection_time",
        Event::PollStarted { .. } => "bfd_poll_started",
        Event::PollEnded { .. } => "bfd_poll_ended",
        Event::Refused { .. } => "bfd_refused",
        Event::LowTtl { .. } => "bfd_low_ttl",
        Event::Blocked { .. } => "bfd_blocked",
        Event::Unblocked { .. } => "bfd_unblocked",
        Event::SendFailed { .. } => "bfd_send_failed",
        Event::SendsAgain { .. } => "bfd_sends_again",
        Event::Added { .. } => "bfd_added",
        Event::Renamed { .. } => "bfd_renamed",
        Event::Removed { .. } => "bfd_removed",
    };
    let lines: Vec<String> = log(event).into_iter().map(|(_, text)| text.trim_start().to_owned()).collect();
    let mut value = json!({ "kind": kind, "text": lines.join("; ") });
    if let (Some(fields), Some(session)) = (value.as_object_mut(), subject(event)) {
        fields.insert("session".into(), session.into());
    }
    if let (Some(fields), Event::Became { from, to, why, own_delay, .. }) = (value.as_object_mut(), event) {
        fields.insert("from".into(), from.word().into());
        fields.insert("to".into(), to.word().into());
        fields.insert("why".into(), why.to_string().into());
        fields.insert("own_delay".into(), own_delay.as_secs_f64().into());
    }
    value
}

fn millis(interval: Interval) -> String {
    let (whole, part) = (interval.as_micros() / 1000, interval.as_micros() % 1000);
    if part == 0 { whole.to_string() } else { format!("{whole}.{part:03}").trim_end_matches('0').to_owned() }
}

fn ago(now: Time, at: Time) -> String {
    let since = now.since(at);
    match since.as_secs() {
        0 => format!("{} ms ago", since.as_millis()),
        secs @ 1..=119 => format!("{secs} s ago"),
        secs @ 120..=7199 => format!("{} min ago", secs / 60),
        secs => format!("{} h ago", secs / 3600),
    }
}

/// What keeps a session from being up, or why it is up, in one sentence.
pub fn reason(view: &SessionView, now: Time) -> String {
    if let Some(obstacle) = &view.obstacle {
        return obstacle.to_string();
    }
    let refused = view.counters.refused.iter().max_by_key(|(_, count)| **count);
    match (view.state, view.last_heard) {
        (State::Up | State::AdminDown, _) => view.why.to_string(),
        (_, None) => match refused {
            Some((why, count)) => format!("{count} packets were refused, most of them because each {}", why.sentence()),
            None if view.passive => "it is passive, and the peer has not spoken yet".into(),
            None => "no packet has come from the peer".into(),
        },
        (State::Init, Some(_)) => "the peer is heard, but does not hear us".into(),
        (State::Down, Some(at)) => format!("{}; last heard {}", view.why, ago(now, at)),
    }
}

/// `vipctl bfd`: one line a session, or everything about one of them.
pub fn text(snapshot: &Snapshot, name: Option<&str>) -> Option<String> {
    let mut page = String::new();
    let named = |view: &&SessionView| name.is_none_or(|name| *view.name == *name);
    let views: Vec<&SessionView> = snapshot.sessions.iter().filter(named).collect();
    if name.is_some() {
        whole(&mut page, snapshot, views.first()?);
        return Some(page);
    }
    if views.is_empty() {
        page.push_str("no BFD session is configured\n");
    }
    let width = |of: fn(&SessionView) -> usize| views.iter().map(|view| of(view)).max().unwrap_or(0);
    let names = width(|view| view.name.len());
    let peers = width(|view| view.neighbor.to_string().len());
    for view in &views {
        let level = match (view.level.up, view.level.held) {
            (_, None) => String::new(),
            (true, Some(_)) => " (counts as up)".into(),
            (false, Some(_)) => " (counts as down)".into(),
        };
        let _ = writeln!(
            page,
            "{:names$}  {:peers$}  {:9}{level}  {}, {}",
            view.name,
            view.neighbor.to_string(),
            view.state.word(),
            ago(snapshot.now, view.since),
            reason(view, snapshot.now)
        );
    }
    for (why, count) in &snapshot.refused {
        let _ = writeln!(page, "{count} packets belong to no session: each {}", why.sentence());
    }
    Some(page)
}

fn whole(page: &mut String, snapshot: &Snapshot, view: &SessionView) {
    let now = snapshot.now;
    let mut line = |label: &str, text: String| {
        let _ = writeln!(page, "  {label:22} {text}");
    };
    let kind = if view.multihop { "multihop" } else { "single hop" };
    let passive = if view.passive { ", passive" } else { "" };
    line("session", format!("{} ({kind}{passive})", view.name));
    line("state", format!("{}, {}: {}", view.state, ago(now, view.since), reason(view, now)));
    let level = match (view.level.up, view.level.held) {
        (up, None) => if up { "up" } else { "down" }.to_owned(),
        (up, Some(hold)) => format!(
            "{}, kept from before, since {}",
            if up { "up" } else { "down" },
            match hold {
                Hold::Peer => "the peer has shut the session down",
                Hold::Operator => "it is shut down here",
            }
        ),
    };
    line("trackers read", level);
    let source = view.source.map_or("chosen by routing".to_owned(), |source| source.to_string());
    let port = view.source_port.map_or(String::new(), |port| format!(", port {port}"));
    line("from", format!("{source}{port}"));
    let interface = view.interface.as_ref().map_or(String::new(), |name| format!(" through {name}"));
    line("to", format!("{}{interface}", view.neighbor));
    line("diagnostics", format!("ours: {}; the peer's: {}", view.diag, view.peer_diag));
    line("the peer's state", view.peer_state.to_string());
    line("discriminators", format!("ours {:#x}, the peer's {:#x}", view.discriminator, view.peer_discriminator));
    let sent = match view.tx_interval {
        Some(interval) => {
            format!("every {} ms at most, {} ms drawn for the next", millis(interval), millis(view.drawn))
        }
        None => "no periodic packets".into(),
    };
    line("sends", sent);
    line("expects", format!("every {} ms at most", millis(view.rx_interval)));
    line(
        "detection time",
        format!("{} ms here, {} ms at the peer", millis(view.detection_time), millis(view.peer_detection_time)),
    );
    line(
        "configured here",
        format!(
            "min_tx {} ms, min_rx {} ms, idle_tx {} ms, multiplier {}",
            millis(view.min_tx),
            millis(view.min_rx),
            millis(view.idle_tx),
            view.multiplier
        ),
    );
    line(
        "the peer says",
        format!(
            "min_tx {} ms, min_rx {} ms, multiplier {}{}",
            millis(view.peer_min_tx),
            millis(view.peer_min_rx),
            view.peer_multiplier,
            if view.peer_demand { ", demand" } else { "" }
        ),
    );
    let heard = view.last_heard.map_or("never".to_owned(), |at| ago(now, at));
    let ttl = view.last_ttl.map_or(String::new(), |ttl| format!(", TTL {ttl}"));
    line("last heard", format!("{heard}{ttl} (at least {} is taken)", view.least_ttl));
    let counters = &view.counters;
    line(
        "packets",
        format!("{} sent, {} taken, {} could not be sent", counters.sent, counters.received, counters.send_failures),
    );
    line("came up, went down", format!("{} times, {} times", counters.ups, counters.downs));
    for (why, count) in &counters.refused {
        line("refused", format!("{count}: each {}", why.sentence()));
    }
    if let Some(trouble) = &view.send_trouble {
        line("cannot send", trouble.to_string());
    }
    line("own lateness", format!("{} ms at worst lately", millis(snapshot.own_delay)));
}

/// keepalived_bfd.data, after the global definitions: keepalived's labels in its order.
pub fn dump(snapshot: &Snapshot, unix_micros: u64, ctime: impl Fn(u64) -> String) -> String {
    let mut page = String::from("------< BFD Data >------\n");
    let [single, multi] = &snapshot.listening;
    let first = |list: &Vec<i32>| list.first().copied().unwrap_or(-1);
    let _ = writeln!(page, " fd_in = {}", first(single));
    if !multi.is_empty() {
        let _ = writeln!(page, " multihop fd_in = {}", first(multi));
    }
    page.push_str(" thread_in = 0x(nil)\n------< BFD Topology >------\n");
    for view in &snapshot.sessions {
        session_dump(&mut page, snapshot.now, view, unix_micros, &ctime);
    }
    page
}

fn session_dump(page: &mut String, now: Time, view: &SessionView, unix_micros: u64, ctime: &impl Fn(u64) -> String) {
    let _ = writeln!(page, " BFD Instance = {}", view.name);
    let mut put = |text: String| {
        let _ = writeln!(page, "   {text}");
    };
    let yes = |is: bool| if is { "Yes" } else { "No" };
    let us = |interval: Interval| interval.as_micros();
    put(format!("Neighbor IP = {}", view.neighbor));
    if let Some(source) = view.source {
        put(format!("Source IP = {source}"));
    }
    put(format!("Required min RX interval = {} us", us(view.min_rx)));
    put(format!("Desired min TX interval = {} us", us(view.min_tx)));
    put(format!("Desired idle TX interval = {} us", us(view.idle_tx)));
    put(format!("Detection multiplier = {}", view.multiplier));
    put(format!("{} = {}", if matches!(view.neighbor, IpAddr::V4(_)) { "TTL" } else { "hoplimit" }, view.ttl));
    put(format!("max_hops = {}", view.max_hops.map_or(-1, i32::from)));
    put(format!("passive = {}", view.passive));
    put(format!("send event to VRRP process = {}", yes(view.for_vrrp)));
    put(format!("send event to checker process = {}", yes(view.for_checkers)));
    put(format!("fd_out {}", view.descriptor.unwrap_or(-1)));
    let sands = |at: Option<Time>| match at {
        Some(at) => format!("{}", at.since(now).as_micros()),
        None => "[disabled]".into(),
    };
    put("thread_open_fd_out 0x(nil)".into());
    put("thread_out 0x(nil)".into());
    put(format!("sands_out = {}", sands(view.send_at)));
    put("thread_exp 0x(nil)".into());
    put(format!("sands_exp = {}", sands(view.silent_at)));
    put("thread_rst 0x(nil)".into());
    put("sands_rst = [disabled]".into());
    put(format!("send error = {}", view.send_trouble.is_some()));
    put(format!("local state = {}", view.state));
    put(format!("remote state = {}", view.peer_state));
    put(format!("local discriminator = {:#x}", view.discriminator));
    put(format!("remote discriminator = {:#x}", view.peer_discriminator));
    put(format!("local diag = {}", view.diag));
    put(format!("remote diag = {}", view.peer_diag));
    put(format!("remote min tx intv = {} us", us(view.peer_min_tx)));
    put(format!("remote min rx intv = {} us", us(view.peer_min_rx)));
    put("local demand = 0".into());
    put(format!("remote demand = {}", u8::from(view.peer_demand)));
    put(format!("remote detect multiplier = {}", view.peer_multiplier));
    put(format!("{}poll, !final", if view.polling { "" } else { "!" }));
    put(format!("local tx intv = {} us", us(view.tx_interval.unwrap_or_default())));
    put(format!("remote tx intv = {} us", us(view.rx_interval)));
    put(format!("local detection time = {} us", us(view.detection_time)));
    put(format!("remote detection time = {} us", us(view.peer_detection_time)));
    let seen = match view.last_heard {
        Some(at) => {
            let unix = unix_micros.saturating_sub(now.since(at).as_micros());
            let (seconds, micros) = (unix / 1_000_000, unix % 1_000_000);
            format!("{seconds}.{micros:06} ({}.{micros:06})", ctime(seconds))
        }
        None => "[never]".into(),
    };
    put(format!("last seen = {seen}"));
}

//! What happens to virtual servers as people ask for it later: one sentence an event with its reason, under the name of what
//! it happened to, and the JSON of `vipctl watch` and `vipctl history`.
//!
//! The log says it in keepalived's words ([`super::sentences`]), which do not say why.

use super::reasons;
use super::sentences;
use crate::balance::io as balance;
use crate::balance::io::{Activity, Event, ServerInfo, ServiceInfo, ServiceKey};
use crate::spec::balance::LvsSpec;
use serde_json::{Value, json};

/// Every name of a configuration: of its virtual servers, and of their real servers.
pub fn names(spec: &LvsSpec) -> impl Iterator<Item = String> {
    balance::services_of(spec).into_iter().zip(&spec.services).flat_map(|(service, own)| {
        let servers: Vec<String> =
            own.servers.iter().map(|real| server_name(&balance::server_of(real, &service))).collect();
        std::iter::once(service.text.to_string()).chain(servers)
    })
}

/// Stands between a virtual server and its real server in a name. No name of an instance or a group has it.
const OF: &str = " -> ";

/// The name of a real server among all: `[10.0.0.1]:tcp:80 -> [10.1.0.2]:tcp:8080`.
pub fn server_name(server: &ServerInfo) -> String {
    format!("{}{OF}{}", server.service.text, server.text)
}

/// Whether a name is one of [`server_name`], or a virtual server's.
pub fn is_server(name: &str) -> bool {
    name.starts_with('[') || name.starts_with("FWM ")
}

/// Whether `wanted`, as somebody wrote it, means what is called `name`: a virtual server, or a real server of one as in
/// [`server_name`]. Taken are keepalived's text of either, `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]:PORT`, the name of a group
/// and `fwmark N`.
pub fn is_called(name: &str, wanted: &str) -> bool {
    let (service, server) = name.split_once(OF).map_or((name, None), |(service, server)| (service, Some(server)));
    name == wanted || means(service, wanted) || server.is_some_and(|server| means(server, wanted))
}

/// The same for one text of keepalived's.
pub fn means(text: &str, wanted: &str) -> bool {
    if text == wanted {
        return true;
    }
    if let Some(mark) = text.strip_prefix("FWM ") {
        return wanted.strip_prefix("fwmark ").or(wanted.strip_prefix("FWM ")) == Some(mark);
    }
    let Some((inside, rest)) = text.strip_prefix('[').and_then(|text| text.split_once("]:")) else { return false };
    let port = rest.split_once(':').map_or("", |(_, port)| port);
    let plain = wanted.strip_prefix('[').and_then(|wanted| wanted.strip_suffix(']')).unwrap_or(wanted);
    plain == inside || wanted == format!("[{inside}]:{port}") || wanted == format!("{inside}:{port}")
}

/// The name under which an event is remembered, and its sentence. `None`: it changes nothing that anybody asks for later,
/// or what it changed has an event of its own.
pub fn story(event: &Event) -> Option<(String, String)> {
    let of_service = |service: &ServiceInfo, text: String| Some((service.text.to_string(), text));
    match event {
        Event::ServerUp { server, why, .. } => told(server, &format!("is in: {}", reasons::why(why))),
        Event::ServerDown { server, why, .. } => told(server, &format!("is out: {}", reasons::why(why))),
        Event::CheckChanged { check, symptom, good, up, moved: false } => {
            let state = if *up { "it stays in" } else { "it stays out" };
            let word = if *good { "one check less is bad" } else { "one check more is bad" };
            told(&check.server, &format!("has {word} ({}); {state}", reasons::found(check, symptom.as_ref())))
        }
        Event::WeightChanged { server, from, to, why, .. } => {
            told(server, &format!("weighs {to} instead of {from}: {}", reasons::weighing(why)))
        }
        Event::QuorumGained { service, weight, sorry, .. } => {
            let reason = reasons::quorum(service, *weight, true);
            let sorry = sorry_words(service, *sorry, "goes out");
            of_service(service, format!("{} has its quorum: {reason}{sorry}", service.text))
        }
        Event::QuorumLost { service, weight, begin, sorry, .. } => {
            let reason = reasons::quorum(service, *weight, false);
            let has = if *begin { "begins without its quorum" } else { "has lost its quorum" };
            let sorry = sorry_words(service, *sorry, "serves");
            of_service(service, format!("{} {has}: {reason}{sorry}", service.text))
        }
        Event::SorryAdded { service } => {
            let sorry = sorry_words(service, true, "serves");
            of_service(service, format!("{} is in the kernel's table{sorry}", service.text))
        }
        Event::SorryRemoved { service, sorry, .. } => {
            of_service(service, format!("the sorry server {sorry} of {} goes out: by a reload", service.text))
        }
        Event::Commanded { server, .. } => Some((server_name(server), log_words(event))),
        Event::ServerRemoved { server, .. } => told(server, "is gone: a reload took it away"),
        Event::ServiceRemoved { service, .. } => {
            of_service(service, format!("{} is gone: a reload took it away", service.text))
        }
        Event::ServiceRefused { service, of, error, .. } => {
            Some((name_of(service, of.as_deref()), super::service_refused(service, *error)))
        }
        Event::Restored { service, of, .. } => Some((name_of(service, of.as_deref()), log_words(event))),
        Event::Checker { check, activity } => {
            let of = &check.server.service;
            let text = match activity {
                Activity::Activating => format!("the checks of {} are made", of.text),
                Activity::Deactivating | Activity::Suspending => {
                    format!("the checks of {} are not made: its address is not here (ha_suspend)", of.text)
                }
            };
            of_service(of, text)
        }
        Event::CheckChanged { moved: true, .. }
        | Event::Probed { .. }
        | Event::NotMade { .. }
        | Event::FileFault { .. }
        | Event::ServerConfirmed { .. }
        | Event::ServiceRemoving { .. }
        | Event::EntryChanged { .. }
        | Event::GroupCut { .. }
        | Event::Reloaded
        | Event::ServerStopped { .. }
        | Event::ServiceStopped { .. } => None,
    }
}

fn told(server: &ServerInfo, what: &str) -> Option<(String, String)> {
    Some((server_name(server), format!("{} of {} {what}", server.text, server.service.text)))
}

fn sorry_words(service: &ServiceInfo, moved: bool, what: &str) -> String {
    let sorry = service.sorry.as_ref().filter(|_| moved);
    sorry.map_or_else(String::new, |sorry| format!("; the sorry server {} {what}", sorry.text))
}

fn name_of(service: &ServiceKey, of: Option<&ServiceInfo>) -> String {
    of.map_or_else(|| service.to_string(), |of| of.text.to_string())
}

fn log_words(event: &Event) -> String {
    sentences(event).into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("; ")
}

/// As `vipctl watch --json` shows it; `None` where there is nothing to say.
pub fn json(event: &Event) -> Option<Value> {
    let text = story(event).map_or_else(|| log_words(event), |(_, text)| text);
    if text.is_empty() {
        return None;
    }
    let mut value = fields(event);
    value.as_object_mut()?.insert("text".into(), text.into());
    Some(value)
}

fn fields(event: &Event) -> Value {
    let of_server = |kind: &str, server: &ServerInfo| json!({ "kind": kind, "virtual_server": server.service.text, "real_server": server.text });
    let of_service = |kind: &str, service: &ServiceInfo| json!({ "kind": kind, "virtual_server": service.text });
    let of_key = |kind: &str, key: &ServiceKey, of: Option<&ServiceInfo>| json!({ "kind": kind, "virtual_server": of.map(|of| &of.text), "service": key.to_string() });
    let with = |mut value: Value, more: Value| {
        if let (Value::Object(fields), Value::Object(more)) = (&mut value, more) {
            fields.extend(more);
        }
        value
    };
    match event {
        Event::Probed { check, .. } => {
            with(of_server("check_made", &check.server), json!({ "check": check.checker.kind.keyword() }))
        }
        Event::NotMade { check, .. } => {
            with(of_server("check_not_made", &check.server), json!({ "check": check.checker.kind.keyword() }))
        }
        Event::FileFault { check, fault } => with(of_server("file_fault", &check.server), json!({ "fault": fault })),
        Event::CheckChanged { check, good, up, .. } => with(
            of_server("check_changed", &check.server),
            json!({ "check": check.checker.kind.keyword(), "good": good, "up": up }),
        ),
        Event::ServerUp { server, why, .. } => {
            with(of_server("server_up", server), json!({ "why": reasons::why(why) }))
        }
        Event::ServerDown { server, why, .. } => {
            with(of_server("server_down", server), json!({ "why": reasons::why(why) }))
        }
        Event::ServerConfirmed { server, up, .. } => with(of_server("server_confirmed", server), json!({ "up": up })),
        Event::WeightChanged { server, from, to, why, .. } => with(
            of_server("server_weight_changed", server),
            json!({ "from": from, "to": to, "why": reasons::weighing(why) }),
        ),
        Event::QuorumGained { service, weight, sorry, .. } => {
            with(of_service("quorum_gained", service), json!({ "weight": weight, "sorry_server": sorry }))
        }
        Event::QuorumLost { service, weight, sorry, .. } => {
            with(of_service("quorum_lost", service), json!({ "weight": weight, "sorry_server": sorry }))
        }
        Event::SorryAdded { service } => {
            let sorry = service.sorry.as_ref().map(|own| &own.text);
            with(of_service("sorry_server_added", service), json!({ "sorry_server": sorry }))
        }
        Event::SorryRemoved { service, sorry, .. } => {
            with(of_service("sorry_server_removed", service), json!({ "sorry_server": sorry }))
        }
        Event::Checker { check, activity } => {
            with(of_service("checks", &check.server.service), json!({ "made": *activity == Activity::Activating }))
        }
        Event::ServiceRefused { service, of, .. } => of_key("service_refused", service, of.as_deref()),
        Event::Restored { service, of, .. } => of_key("restored", service, of.as_deref()),
        Event::Commanded { server, weight } => with(of_server("server_commanded", server), json!({ "weight": weight })),
        Event::ServerRemoved { server, .. } => of_server("server_removed", server),
        Event::ServiceRemoved { service, .. } => of_service("service_removed", service),
        Event::ServiceRemoving { service } => of_service("service_removing", service),
        Event::EntryChanged { group, entry, added } => {
            json!({ "kind": "group_entry_changed", "group": group, "entry": entry, "added": added })
        }
        Event::GroupCut { group, .. } => json!({ "kind": "group_cut", "group": group }),
        Event::Reloaded => json!({ "kind": "servers_reloaded" }),
        Event::ServerStopped { server, .. } => of_server("server_stopped", server),
        Event::ServiceStopped { service, .. } => of_service("service_stopped", service),
    }
}

#[cfg(test)]
mod tests {
    use super::is_called;

    #[test]
    fn servers_are_found_by_what_people_write() {
        let name = "[10.0.0.1]:tcp:80 -> [2001:db8::2]:tcp:8080";
        for wanted in ["10.0.0.1", "10.0.0.1:80", "[10.0.0.1]:tcp:80", "2001:db8::2", "[2001:db8::2]:8080", name] {
            assert!(is_called(name, wanted), "{wanted}");
        }
        for wanted in ["10.0.0.1:8080", "10.0.0.11", "", "2001:db8::", "VI_1"] {
            assert!(!is_called(name, wanted), "{wanted}");
        }
        assert!(is_called("[WEB]:0", "WEB") && is_called("FWM 7", "fwmark 7") && !is_called("FWM 7", "7"));
    }
}

//! JSON: keepalived's dump, field by field and number by number as its readers know it, and events for `vipctl watch`.

use super::Context;
use super::describe;
use super::log::sentences;
use super::words;
use crate::spec::{Auth, InstanceSpec, MASK, ParamMatch, ProcessSpec, Run, Spec, TieTarget, VirtualAddress};
use crate::vrrp::io::{Event, TrackValue};
use crate::vrrp::snapshot::{Counters, InstanceView, Snapshot};
use serde_json::{Value, json};

/// The whole dump, one line with its end. Version 1 is an array of instances, version 2 an object.
pub fn dump(spec: &Spec, snapshot: &Snapshot) -> String {
    let instances: Vec<String> = spec
        .instances
        .iter()
        .enumerate()
        .zip(&snapshot.instances)
        .map(|((index, instance), view)| one(spec, snapshot, index, instance, view))
        .collect();
    let instances = format!("[{}]", instances.join(","));
    if spec.daemon.dump.json_version < 2 {
        return instances + "\n";
    }
    let processes: Vec<String> = spec.processes.iter().map(|process| tracked_process(process, snapshot)).collect();
    if processes.is_empty() {
        return format!("{{\"vrrp\":{instances}}}\n");
    }
    format!("{{\"vrrp\":{instances},\"track_process\":[{}]}}\n", processes.join(","))
}

/// A JSON object under construction, in the order in which fields are added.
struct Object(String);

impl Object {
    fn new() -> Object {
        Object(String::from("{"))
    }
    fn raw(&mut self, name: &str, value: &str) -> &mut Object {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&format!("\"{name}\":{value}"));
        self
    }
    fn number(&mut self, name: &str, value: impl std::fmt::Display) -> &mut Object {
        self.raw(name, &value.to_string())
    }
    fn flag(&mut self, name: &str, value: bool) -> &mut Object {
        self.number(name, u8::from(value))
    }
    fn truth(&mut self, name: &str, value: bool) -> &mut Object {
        self.raw(name, if value { "true" } else { "false" })
    }
    fn float(&mut self, name: &str, value: f64) -> &mut Object {
        self.raw(name, &describe::short(value))
    }
    fn text(&mut self, name: &str, value: &str) -> &mut Object {
        self.raw(name, &quoted(value))
    }
    /// Left out when empty.
    fn list(&mut self, name: &str, values: Vec<String>) -> &mut Object {
        if values.is_empty() {
            return self;
        }
        let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        self.raw(name, &format!("[{}]", values.join(",")))
    }
    fn program(&mut self, name: &str, run: Option<&Run>) -> &mut Object {
        match run {
            Some(run) => self.text(name, &describe::command(run)),
            None => self,
        }
    }
    fn end(&mut self) -> String {
        std::mem::take(&mut self.0) + "}"
    }
}

/// keepalived writes `/` as `\/`.
fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('/', "\\/")
}

fn one(spec: &Spec, now: &Snapshot, index: usize, instance: &InstanceSpec, view: &InstanceView) -> String {
    let mut data = Object::new();
    let interface = describe::interface(spec, index, view.link.as_deref());
    let own_link = instance.virtual_link.is_some();
    let link = view.link.as_deref().or(view.interface.as_deref());
    data.text("iname", &instance.name)
        .flag("dont_track_primary", !instance.track_primary)
        .flag("skip_check_adv_addr", instance.skip_check_adv_addr)
        .flag("strict_mode", instance.strict)
        .text("vmac_ifname", if own_link { view.link.as_deref().unwrap_or("") } else { "" });
    if let Some(link) = link {
        data.text("ifp_ifname", link);
    }
    let heard = view.master.as_ref().filter(|master| !master.ourselves);
    data.number("master_priority", heard.map_or(0, |master| master.priority.0))
        .raw(
            "last_transition",
            &format!("{}.{:06}", view.since_unix_micros / 1_000_000, view.since_unix_micros % 1_000_000),
        )
        .float("garp_delay", instance.garp.delay.as_secs_f64())
        .number("garp_refresh", instance.garp.refresh.as_secs())
        .number("garp_rep", instance.garp.repeat)
        .number("garp_refresh_rep", instance.garp.refresh_repeat)
        .number("garp_lower_prio_delay", instance.garp.lower_prio_delay.as_secs())
        .number("garp_lower_prio_rep", instance.garp.lower_prio_repeat)
        .flag("lower_prio_no_advert", instance.lower_prio_no_advert)
        .flag("higher_prio_send_advert", instance.higher_prio_send_advert)
        .number("vrid", instance.vrid)
        .number("base_priority", view.base_priority)
        .number("effective_priority", view.effective_priority)
        .truth("vipset", view.owned)
        .truth("promote_secondaries", instance.promote_secondaries)
        .float("adver_int", instance.interval.as_secs_f64())
        .float("master_adver_int", view.master_interval.as_secs_f64())
        .flag("accept", instance.accept)
        .truth("nopreempt", !instance.preempt)
        .number("preempt_delay", instance.preempt_delay.as_secs())
        .number("state", view.state as u8)
        .number("wantstate", view.wanted as u8)
        .number("version", instance.version)
        .truth("smtp_alert", instance.notify.mail)
        .truth("notify_deleted", instance.notify.tell_deleted);
    let notify = &instance.notify;
    data.program("script_backup", notify.backup.as_deref())
        .program("script_master", notify.master.as_deref())
        .program("script_fault", notify.fault.as_deref())
        .program("script_stop", notify.stop.as_deref())
        .program("script_deleted", notify.deleted.as_deref())
        .program("script", notify.any.as_deref())
        .program("script_master_rx_lower_pri", notify.master_rx_lower_pri.as_deref());
    let claim = &instance.claim;
    let line = |(position, item): (u32, &VirtualAddress)| {
        describe::virtual_address(instance, item, &interface, now.has_set(view, position, item.address))
    };
    let addresses: Vec<String> = (0..).zip(&claim.addresses).map(line).collect();
    let (vips, evips) = addresses.split_at(claim.advertised.min(addresses.len()));
    data.list("vips", vips.to_vec())
        .list("evips", evips.to_vec())
        .list("vroutes", claim.routes.iter().map(describe::route).collect())
        .list("vrules", claim.rules.iter().map(describe::rule).collect());
    let ties = |pick: &dyn Fn(&TieTarget) -> Option<String>| {
        instance
            .ties
            .iter()
            .filter(|tie| !tie.from_group && tie.asked.is_some())
            .filter_map(|tie| pick(&tie.on))
            .collect::<Vec<_>>()
    };
    data.list("track_ifp", ties(&|on| on.interface().map(ToString::to_string)));
    data.list("track_script", ties(&|on| on.script(spec).map(|script| describe::command(&script.run))));
    data.list("track_process", ties(&|on| on.process(spec).map(|process| process.name.to_string())));
    let kind = match instance.auth {
        Auth::None | Auth::Hmac(_) => 0,
        Auth::Pass(_) => 1,
        Auth::Ah(_) => 2,
    };
    data.number("auth_type", kind);
    if kind != 0 {
        data.text("auth_data", MASK);
    }
    Object::new().raw("data", &data.end()).raw("stats", &counters(&view.counters)).end()
}

fn counters(counters: &Counters) -> String {
    let mut out = Object::new();
    for (name, value) in numbers(counters) {
        out.number(name, value);
    }
    out.end()
}

/// Counters by keepalived's names and in its order; metrics use the same.
pub fn numbers(c: &Counters) -> [(&'static str, u64); 20] {
    [
        ("advert_rcvd", c.advert_rcvd),
        ("advert_sent", c.advert_sent),
        ("become_master", c.become_master),
        ("release_master", c.release_master),
        ("packet_len_err", c.packet_len_err),
        ("advert_interval_err", c.advert_interval_err),
        ("ip_ttl_err", c.ip_ttl_err),
        ("invalid_type_rcvd", c.invalid_type_rcvd),
        ("addr_list_err", c.addr_list_err),
        ("invalid_authtype", c.invalid_authtype),
        ("authtype_mismatch", c.authtype_mismatch),
        ("auth_failure", c.auth_failure),
        ("auth_ext_missing", c.auth_ext_missing),
        ("auth_ext_malformed", c.auth_ext_malformed),
        ("auth_ext_unknown_key", c.auth_ext_unknown_key),
        ("auth_ext_invalid_hmac", c.auth_ext_invalid_hmac),
        ("auth_ext_stale", c.auth_ext_stale),
        ("auth_ext_replay", c.auth_ext_replay),
        ("pri_zero_rcvd", c.pri_zero_rcvd),
        ("pri_zero_sent", c.pri_zero_sent),
    ]
}

fn tracked_process(process: &ProcessSpec, snapshot: &Snapshot) -> String {
    let view = snapshot.trackers.iter().find(|view| view.kind == "process" && view.name == process.name);
    let mut out = Object::new();
    out.text("process", &process.name);
    if !process.params.is_empty() {
        out.text("parameters", &process.params.join(" "));
    }
    let matching = match process.param_match {
        ParamMatch::None => "none",
        ParamMatch::Exact => "exact",
        ParamMatch::Partial => "partial",
        ParamMatch::Initial => "initial",
    };
    out.text("param_match", matching).number("min_processes", process.quorum);
    if let Some(most) = process.quorum_max {
        out.number("max_processes", most);
    }
    let weight = i64::from(process.weight);
    out.number("current_processes", view.and_then(|view| view.value).unwrap_or(0))
        .truth("have_quorum", view.and_then(|view| view.good).unwrap_or(false))
        .number("weight", if process.reverse { -weight } else { weight })
        .float("terminate_delay", process.terminate_delay.as_secs_f64())
        .float("fork_delay", process.fork_delay.as_secs_f64())
        .truth("fork_delay_timer_running", false)
        .truth("terminate_delay_timer_running", false)
        .truth("full_command", process.full_command);
    out.end()
}

/// An event with names in place of identifiers, and its sentence.
pub fn event(event: &Event, cx: &Context<'_>) -> Value {
    let text: Vec<String> = sentences(event, cx).into_iter().map(|(_, text)| text).collect();
    let mut value = fields(event, cx);
    if let Some(object) = value.as_object_mut() {
        object.insert("text".into(), words::unnumbered(&text.join("; ")).into());
    }
    value
}

fn fields(event: &Event, cx: &Context<'_>) -> Value {
    let name = |id| cx.name(id);
    match event {
        Event::Became { instance, from, to, why } => {
            json!({"kind": "became", "instance": name(*instance), "from": from, "to": to, "why": why,
                   "priority": cx.priority(*instance)})
        }
        Event::GroupBecame { group, from, to } => {
            json!({"kind": "group_became", "group": cx.group_name(*group), "from": from, "to": to})
        }
        Event::PriorityChanged { instance, from, to } => {
            json!({"kind": "priority_changed", "instance": name(*instance), "from": from, "to": to})
        }
        Event::HeardLower { instance, from, priority } => {
            json!({"kind": "heard_lower", "instance": name(*instance), "from": from, "priority": priority})
        }
        Event::WillPreempt { instance, from, priority } => {
            json!({"kind": "will_preempt", "instance": name(*instance), "from": from, "priority": priority})
        }
        Event::Refused { instance, from, ifindex, vrid, why } => {
            json!({"kind": "refused", "instance": instance.map(name), "from": from, "ifindex": ifindex,
                   "vrid": vrid, "why": why})
        }
        Event::AddressListDiffers { instance, from } => {
            json!({"kind": "address_list_differs", "instance": name(*instance), "from": from})
        }
        Event::IntervalLearned { instance, from, theirs } => {
            json!({"kind": "interval_learned", "instance": name(*instance), "from": from, "theirs": theirs})
        }
        Event::ClockDiffers { instance, from, by, window } => {
            json!({"kind": "clock_differs", "instance": name(*instance), "from": from, "by": by, "window": window})
        }
        Event::RivalMaster { instance, from, priority } => {
            json!({"kind": "rival_master", "instance": name(*instance), "from": from, "priority": priority})
        }
        Event::RivalStays { instance, from, priority } => {
            json!({"kind": "rival_stays", "instance": name(*instance), "from": from, "priority": priority})
        }
        Event::RivalSilent { instance, from } => {
            json!({"kind": "rival_silent", "instance": name(*instance), "from": from})
        }
        Event::ScriptChanged { script, good, exit } => {
            json!({"kind": "script_changed", "script": cx.script_name(*script), "good": good, "exit": exit})
        }
        Event::ScriptTimedOut { script } => {
            json!({"kind": "script_timed_out", "script": cx.script_name(*script)})
        }
        Event::ScriptOverrun { script } => {
            json!({"kind": "script_overrun", "script": cx.script_name(*script)})
        }
        Event::FaultsChanged { instance, faults } => {
            json!({"kind": "faults_changed", "instance": name(*instance), "faults": faults})
        }
        Event::Healed { instance, addresses } => {
            json!({"kind": "healed", "instance": name(*instance), "from": addresses.start, "to": addresses.end})
        }
        Event::ClaimFailed { instance, reason } => {
            json!({"kind": "claim_failed", "instance": name(*instance), "reason": reason})
        }
        Event::TrackerChanged { tracker, value } => {
            let (kind, name) = cx.tracker(*tracker);
            let value = match value {
                TrackValue::Number(number) => json!(number),
                TrackValue::Count(count) => json!(count),
                TrackValue::Up(up) => json!(up),
            };
            json!({"kind": "tracker_changed", "tracker": kind, "name": name, "value": value})
        }
        Event::LinkChanged { name, running } => json!({"kind": "link_changed", "link": name, "running": running}),
        Event::Deleted { name, was } => json!({"kind": "deleted", "instance": name, "was": was}),
        Event::Stopped { instance } => json!({"kind": "stopped", "instance": name(*instance)}),
        Event::Slept { by } => json!({"kind": "slept", "by": by}),
        Event::Replaced { instance, from, priority } => {
            json!({"kind": "replaced", "instance": name(*instance), "from": from, "priority": priority})
        }
        Event::Late { by } => json!({"kind": "late", "by": by}),
        Event::Swept { instance, item, role } => {
            json!({"kind": "swept", "instance": name(*instance), "item": item, "state": role})
        }
        Event::SendFailed { instance, to, reason } => {
            json!({"kind": "send_failed", "instance": name(*instance), "to": to, "reason": reason})
        }
        Event::ReloadRefused { reason } => json!({"kind": "reload_refused", "reason": reason}),
        Event::Reloaded => json!({"kind": "reloaded"}),
    }
}

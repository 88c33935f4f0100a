//! `vipctl servers`: every virtual server with its real servers, why each is in or out, and what the kernel counts.

use super::Outcome;
use super::Trouble;
use super::args::{DrainServer, Servers, WeighServer};
use super::client::{Client, unexpected};
use super::paint::Paint;
use super::table::Table;
use super::view::span;
use crate::daemon::doors::socket::{Reply, Request, ServerWish};
use serde_json::Value;

pub(crate) fn show(args: &Servers) -> Outcome {
    let servers = match Client::connect(&args.daemon)?.ask(&Request::Servers)? {
        Reply::Servers { servers } => servers,
        other => return Err(unexpected(&other)),
    };
    let all = self::list(&servers, "services").to_vec();
    let named =
        |service: &Value| args.service.as_ref().is_none_or(|name| word(service, "name").contains(name.as_str()));
    let chosen: Vec<Value> = all.iter().filter(|service| named(service)).cloned().collect();
    if let (true, Some(name)) = (chosen.is_empty(), &args.service) {
        let names: Vec<String> = all.iter().map(|service| word(service, "name")).collect();
        let trouble = Trouble::new(format!("there is no virtual server `{name}`"));
        return Err(if names.is_empty() { trouble } else { trouble.help(format!("there are: {}", names.join(", "))) });
    }
    if args.json {
        let mut servers = servers;
        if let Some(fields) = servers.as_object_mut() {
            fields.insert("services".into(), chosen.into());
        }
        return super::steer::print(&super::steer::pretty(servers));
    }
    let ipvs = servers.get("ipvs").and_then(Value::as_bool).unwrap_or(false);
    super::steer::print(&render(&chosen, ipvs, crate::kernel::clock::wall().unix_micros, Paint::stdout()))
}

/// What a running daemon says of its virtual servers; none where it checks no servers.
///
/// # Errors
/// It cannot be asked.
pub fn known(client: &mut Client) -> Result<Vec<Value>, Trouble> {
    match client.ask_whether(&Request::Servers)? {
        Reply::Servers { servers } => Ok(list(&servers, "services").to_vec()),
        Reply::Refused { .. } => Ok(Vec::new()),
        other => Err(unexpected(&other)),
    }
}

pub(crate) fn list<'v>(of: &'v Value, key: &str) -> &'v [Value] {
    of.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

pub(crate) fn word(of: &Value, key: &str) -> String {
    match of.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

pub(crate) fn yes(of: &Value, key: &str) -> bool {
    of.get(key).and_then(Value::as_bool).unwrap_or(false)
}

pub(crate) fn number(of: &Value, key: &str) -> Option<u64> {
    of.get(key).and_then(Value::as_u64)
}

/// The whole answer, ready to be printed. `now`: microseconds since 1970.
pub fn render(services: &[Value], ipvs: bool, now: u64, paint: Paint) -> String {
    let mut text = String::new();
    // Without a virtual server nobody has asked for the table.
    if !ipvs && !services.is_empty() {
        text += &paint.bad("The kernel's table cannot be read: nothing is balanced. See the log.\n");
    }
    if services.is_empty() {
        text += "no virtual server is configured\n";
    }
    for service in services {
        let met = yes(service, "quorum_met");
        let state = if met { paint.good("quorum met") } else { paint.bad("quorum not met") };
        let since = age(service, now);
        text += &format!(
            "{}  {state} ({} of {}) for {since}\n",
            paint.strong(&word(service, "name")),
            word(service, "weight"),
            word(service, "quorum"),
        );
        if yes(service, "sorry_server_serves") {
            text +=
                &format!("  {}\n", paint.bad(&format!("the sorry server {} serves", word(service, "sorry_server"))));
        }
        if !yes(service, "checked") {
            text += "  its address is not here: the checks are suspended (ha_suspend)\n";
        }
        for refused in service.get("refused").and_then(Value::as_array).into_iter().flatten() {
            let line = format!("the kernel refuses {}: {}", word(refused, "service"), word(refused, "reason"));
            text += &format!("  {}\n", paint.bad(&line));
        }
        let mut table = Table::new(&["  server", "state", "for", "weight", "active", "conn/s", "why"]);
        for server in service.get("servers").and_then(Value::as_array).into_iter().flatten() {
            table.row(row(server, now, paint));
        }
        text += &table.render(paint);
        text.push('\n');
    }
    text
}

fn age(of: &Value, now: u64) -> String {
    span(now.saturating_sub(number(of, "since_unix_micros").unwrap_or(now)) as f64 / 1e6)
}

fn row(server: &Value, now: u64, paint: Paint) -> Vec<String> {
    let state = match (yes(server, "drained"), yes(server, "up")) {
        (true, _) => paint.bad("drained"),
        (false, true) => paint.good("up"),
        (false, false) => paint.bad("down"),
    };
    let (weight, base) = (word(server, "weight"), word(server, "base_weight"));
    let parts: Vec<String> = server
        .get("checks")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|check| check.get("weight_part").and_then(Value::as_i64).unwrap_or(0) != 0)
        .map(|check| format!("{} {}", word(check, "weight_part"), word(check, "kind")))
        .collect();
    let weight = match (weight == base, parts.is_empty()) {
        (true, _) => weight,
        (false, true) => format!("{weight} (set; {base} configured)"),
        (false, false) => format!("{weight} ({base} {})", parts.join(" ")),
    };
    let latency = server.get("checks").and_then(Value::as_array).into_iter().flatten().find_map(|check| {
        let took = number(check, "took_us")?;
        Some(format!("; last check {} ms", took / 1_000))
    });
    vec![
        format!("  {}", word(server, "name")),
        state,
        age(server, now),
        weight,
        number(server, "active_connections").map_or("-".into(), |n| n.to_string()),
        number(server, "connections_per_second").map_or("-".into(), |n| n.to_string()),
        word(server, "why") + &latency.unwrap_or_default(),
    ]
}

pub(crate) fn weigh(args: &WeighServer) -> Outcome {
    wish_for(&args.server, ServerWish::Weigh { weight: args.weight })
}

/// Asks the daemon to do that with one real server.
pub(crate) fn wish_for(args: &DrainServer, wish: ServerWish) -> Outcome {
    let (address, port) = args.endpoint().map_err(Trouble::new)?;
    let request = Request::Server { service: args.service.clone(), address, port, wish };
    match Client::connect(&args.daemon)?.ask(&request)? {
        Reply::Done { message } => super::steer::print(&(message + "\n")),
        Reply::Refused { reason, .. } => Err(Trouble::new(reason)),
        other => Err(unexpected(&other)),
    }
}

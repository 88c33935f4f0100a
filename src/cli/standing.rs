//! Where every instance stands, as JSON: one form for `vipctl lab` and `vipctl simulate`, so that what was played can be
//! held against what was calculated.

use serde_json::{Value, json};
use std::net::IpAddr;

/// What a rehearsal consists of.
pub const MOMENTS: [&str; 3] = ["start", "failure", "recovery"];

/// One instance on one server; without a state where no daemon runs.
pub fn row(server: &str, instance: &str, state: Option<&str>, addresses: &[IpAddr]) -> Value {
    json!({ "server": server, "instance": instance, "state": state, "addresses": addresses })
}

/// One real server on one director: whether its checks are good, and whether it is in the pool (or would be).
pub fn seat(server: &str, service: &str, real: &str, good: bool, serves: bool) -> Value {
    json!({ "server": server, "virtual_server": service, "real_server": real, "good": good, "serves": serves })
}

/// All of them at one moment.
pub fn moment(after: &str, rows: impl Iterator<Item = Value>, seats: impl Iterator<Item = Value>) -> Value {
    json!({ "after": after, "instances": rows.collect::<Vec<_>>(), "real_servers": seats.collect::<Vec<_>>() })
}

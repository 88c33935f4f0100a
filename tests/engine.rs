//! The engine at unit level: one instance or a few, facts in by hand, actions out.
#![allow(clippy::unwrap_used, clippy::type_complexity, clippy::single_range_in_vec_init)]

#[path = "engine/announcing.rs"]
mod announcing;
#[path = "engine/golden.rs"]
mod golden;
#[path = "engine/groups.rs"]
mod groups;
#[path = "engine/handing_over.rs"]
mod handing_over;
#[path = "engine/harness.rs"]
mod harness;
#[path = "engine/hearing.rs"]
mod hearing;
#[path = "engine/laws.rs"]
mod laws;
#[path = "engine/links.rs"]
mod links;
#[path = "engine/protocol.rs"]
mod protocol;
#[path = "engine/reload_pairs.rs"]
mod reload_pairs;
#[path = "engine/reloading.rs"]
mod reloading;
#[path = "engine/rules.rs"]
mod rules;
#[path = "engine/sealing.rs"]
mod sealing;
#[path = "engine/speakers.rs"]
mod speakers;
#[path = "engine/strangers.rs"]
mod strangers;
#[path = "engine/tracking.rs"]
mod tracking;
#[path = "engine/voice.rs"]
mod voice;

//! A configuration turned into an engine and its snapshot, without a machine.

use std::sync::Arc;
use vipd::config::Env;
use vipd::config::load;
use vipd::config::system::TableSystem;
use vipd::config::text::expand::TextEnv;
use vipd::config::text::source::MapLoader;
use vipd::spec::Spec;
use vipd::time::Time;
use vipd::vrrp::Engine;
use vipd::vrrp::io::{Action, Input, Wall};

pub const GOLDEN_CONF: &str = include_str!("golden/keepalived.conf");

/// What a configuration comes to on a machine that has everything it names.
pub fn spec(text: &str) -> Arc<Spec> {
    let system = TableSystem::anywhere();
    let files = MapLoader::default().with("/keepalived.conf", text);
    let env = Env { text: TextEnv::default(), system: &system };
    let (spec, diagnostics) = load("/keepalived.conf", &env, &files);
    Arc::new(spec.unwrap_or_else(|| panic!("{:?}", diagnostics.list)))
}

pub use vipd::sim::build::link;

/// An engine on eth0 and eth1 that has lived for `seconds` without hearing anybody.
pub fn engine(spec: &Arc<Spec>, seconds: u64) -> (Engine, Time) {
    let links = vec![link(2, "eth0", &["10.9.0.1/24", "fe80::1/64"]), link(3, "eth1", &[])];
    let start = Time::from_micros(1_000_000);
    let mut engine = Engine::new(spec.clone(), links, start);
    engine.handle(Input::WallClock(Wall { at: start, unix_micros: 1_795_215_445_229_559 }), start);
    // Scripts are started, and never end.
    let carry_out = |engine: &mut Engine, now: Time| {
        while let Some(action) = engine.poll() {
            if let Action::RunScript(_, attempt) = action {
                engine.handle(Input::ScriptStarted { attempt }, now);
            }
        }
    };
    let mut now = start;
    carry_out(&mut engine, now);
    while let Some((at, _)) = engine.deadline().filter(|(at, _)| *at <= Time::from_micros((1 + seconds) * 1_000_000)) {
        now = at;
        engine.handle(Input::Tick, now);
        carry_out(&mut engine, now);
    }
    (engine, now)
}

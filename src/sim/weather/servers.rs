//! Virtual servers of a random world: all of its nodes balance the same, and now and then a backend is not well.

use super::plan::Plan;
use crate::config::Env;
use crate::config::system::TableSystem;
use crate::config::text::expand::TextEnv;
use crate::config::text::source::MapLoader;
use crate::random::Random;
use crate::sim::scenario::{Act, Scenario};
use crate::spec::backend::Health;
use crate::spec::balance::{Endpoint, LvsSpec};
use crate::time::{Interval, Time};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// What all nodes balance.
#[derive(Clone, Debug)]
pub(in crate::sim::weather) struct Servers {
    /// As it stands in every configuration.
    pub text: String,
    pub spec: Arc<LvsSpec>,
    backends: Vec<Endpoint>,
}

/// One world in three has virtual servers. Decided apart from the rest, which stays as it is without them.
pub(super) fn servers(seed: u64, plan: &Plan) -> Option<Servers> {
    let mut random = Random::new(seed ^ 0x5E7_0F5E_74E7);
    if !random.one_in(3) {
        return None;
    }
    let address = plan.routers.iter().flat_map(|router| &router.addresses).find(|address| address.is_ipv4());
    let address = address.copied().unwrap_or(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 200)));
    let count = random.within(1, 4) as u8;
    let backends: Vec<Endpoint> =
        (1..=count).map(|n| Endpoint { address: Ipv4Addr::new(10, 9, 0, n).into(), port: Some(8080) }).collect();
    let mut text = String::new();
    for port in 80..80 + random.within(1, 2) {
        let _ = write!(text, "{}", service(&mut random, address, port as u16, &backends));
    }
    let files = MapLoader::default().with("/k.conf", text.clone());
    let system = TableSystem::anywhere();
    let env = Env { text: TextEnv::default(), system: &system };
    let spec = crate::config::load_all("/k.conf", &env, &files).lvs;
    Some(Servers { text, spec, backends })
}

fn service(random: &mut Random, address: IpAddr, port: u16, backends: &[Endpoint]) -> String {
    let mut out = format!("virtual_server {address} {port} {{\n    lb_algo rr\n    lb_kind NAT\n    protocol TCP\n");
    let mut line = |text: String| {
        let _ = writeln!(out, "    {text}");
    };
    line(format!("delay_loop {}", random.within(1, 3)));
    line(format!("warmup {}", random.below(3)));
    line(format!("connect_timeout {}", random.within(1, 2)));
    if random.one_in(2) {
        line(format!("retry {}", random.within(1, 3)));
        line(format!("delay_before_retry {}", random.within(1, 2)));
    }
    for word in ["alpha", "omega", "inhibit_on_failure", "ha_suspend"] {
        if random.one_in(3) {
            line(word.into());
        }
    }
    if random.one_in(2) {
        line(format!("quorum {}", random.within(1, 4)));
        line(format!("hysteresis {}", random.below(3)));
    }
    if random.one_in(2) {
        line("sorry_server 10.9.0.99 80".into());
        if random.one_in(2) {
            line("sorry_server_inhibit".into());
        }
    }
    for backend in backends {
        let check = match random.below(4) {
            0 => "HTTP_GET {\n            url {\n                path /\n            }\n        }".to_owned(),
            1 => {
                let page = |path: &str| format!("            url {{\n                path {path}\n            }}\n");
                format!("HTTP_GET {{\n{}{}            fast_recovery\n        }}", page("/"), page("/health"))
            }
            2 => format!("MISC_CHECK {{\n            misc_path \"/bin/check {} {port}\"\n        }}", backend.address),
            _ => "TCP_CHECK {\n        }".to_owned(),
        };
        let weight = random.within(1, 3);
        line(format!("real_server {} 8080 {{\n        weight {weight}\n        {check}\n    }}", backend.address));
    }
    out.push_str("}\n");
    out
}

/// Bad times of backends, behind what else happens; gives when the last of it ends.
pub(super) fn trouble(seed: u64, servers: &Servers, scenario: &mut Scenario) -> Interval {
    let mut random = Random::new(seed ^ 0x00BA_D5E7);
    let mut until = Interval::ZERO;
    for _ in 0..random.within(1, 4) {
        let at = random.interval(Interval::ZERO, Interval::from_secs(15));
        let lasts = random.interval(Interval::from_millis(100), Interval::from_secs(20));
        let Some(server) = random.pick(&servers.backends).copied() else { continue };
        let health = match random.below(6) {
            0 => Health::Error,
            1 => Health::Slow(random.interval(Interval::from_millis(10), Interval::from_secs(3))),
            2 => Health::Hang,
            3 => Health::Flap,
            4 => Health::Dead,
            _ => Health::Refuse,
        };
        let act = |health| Act::Server { server, health };
        scenario.acts.push((Time::ZERO + at, act(health)));
        if !random.one_in(4) {
            scenario.acts.push((Time::ZERO + at + lasts, act(Health::Up)));
        }
        until = until.max(at + lasts);
    }
    scenario.acts.sort_by_key(|(at, _)| *at);
    until
}

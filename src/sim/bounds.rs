//! How long things may take, from the settings of everybody involved. The derivation stands in `docs/bounds.md`; this
//! file is its arithmetic, and the oracle holds every run to it.

use super::kernel::Kernel;
use super::scenario::{Act, Conduct, Mood, Scenario};
use super::world::WAKE;
use crate::spec::{Auth, Spec};
use crate::time::Interval;
use crate::wire::Version;

/// The bounds of a world.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bounds {
    /// After the last disturbance, until every connected set of healthy routers has exactly one master (T).
    pub settle: Interval,
    /// How long a virtual address may be on two healthy routers that hear each other (B).
    pub overlap: Interval,
    /// The longest advert interval of anybody.
    pub interval: Interval,
    /// Longest time from sending to having heard.
    pub arrival: Interval,
    /// How late an advert may be against its cadence, by the model's own wake-ups.
    pub late: Interval,
    /// After the last disturbance, until every real server is in or out as it ought to be.
    pub servers: Interval,
    /// How much longer that takes where the kernel's table refuses: until it is asked again.
    pub refusal: Interval,
}

impl Bounds {
    /// How long things may take by the timers of these configurations and the delays of the scenario.
    pub fn of(specs: &[&Spec], scenario: &Scenario) -> Bounds {
        let mut latency = scenario.lan.latency.1;
        let mut late = WAKE;
        let mut hangs = false;
        let mut refusal = Interval::ZERO;
        for (_, act) in &scenario.acts {
            match act {
                Act::Lan(settings) => latency = latency.max(settings.latency.1),
                Act::Late { by, .. } => late = late.max(*by),
                Act::Netlink { mood: Mood::Failing, .. } => refusal = Interval::from_secs(61),
                Act::Script { conduct: Conduct::Hang | Conduct::Stubborn, .. } => hangs = true,
                _ => {}
            }
        }
        // A duplicate takes up to three times as long as an original.
        let arrival = latency.times(3) + late;
        let instances = || specs.iter().flat_map(|spec| &spec.instances);
        let longest = |of: &mut dyn FnMut(&Spec) -> Interval| specs.iter().map(|s| of(s)).max().unwrap_or_default();
        let interval = instances().map(|i| i.interval).max().unwrap_or_default();
        let adverts = instances().map(|i| i.down_adverts).max().unwrap_or(3);
        let skew = instances()
            .map(|i| if i.version == Version::V2 { Interval::from_secs(1) } else { interval })
            .max()
            .unwrap_or_default();
        let down = interval.times(u64::from(adverts)) + skew + arrival;
        let requests = specs.iter().map(|spec| spec.instances.len()).max().unwrap_or(1) as u64;
        let addresses = instances().map(|i| i.claim.addresses.len()).max().unwrap_or(0) as u64;
        let kernel = Kernel::patience(requests.saturating_mul(2), addresses);
        let scripts = longest(&mut |spec| {
            let one = |s: &crate::spec::ScriptSpec| {
                let ladder = if hangs { s.timeout + Interval::from_millis(2_200) } else { Interval::from_millis(20) };
                (s.interval + ladder + late).times(u64::from(s.rise.max(s.fall)) + 1)
            };
            spec.scripts.iter().map(one).max().unwrap_or_default()
        });
        let processes = longest(&mut |spec| {
            spec.processes.iter().map(|p| p.terminate_delay.max(p.fork_delay)).max().unwrap_or_default()
        });
        let sessions =
            longest(&mut |spec| spec.sessions.iter().map(super::bfd::seat::settling).max().unwrap_or_default());
        let debounce = longest(&mut |spec| spec.debounce.iter().map(|d| d.down.max(d.up)).max().unwrap_or_default());
        let startup = longest(&mut |spec| spec.startup_delay);
        let preempt = instances().map(|i| i.preempt_delay).max().unwrap_or_default();
        let grouped = specs.iter().any(|spec| !spec.groups.is_empty());
        // AH: a restarted router counts from 0 and is taken for a replay until it has heard where the other stands.
        let sealed = instances().any(|i| matches!(i.auth, Auth::Ah(_)));
        let overlap = interval.times(if sealed { 2 } else { 1 }) + arrival.times(if sealed { 2 } else { 1 }) + kernel;
        let servers = specs.iter().flat_map(|spec| &spec.balance.services).flat_map(|service| &service.servers);
        let servers = servers.map(|server| crate::spec::backend::bound(server, late)).max();
        Bounds {
            servers: servers.unwrap_or_default(),
            refusal,
            settle: startup
                + debounce
                + scripts.max(processes)
                + sessions
                + preempt
                + down.times(if grouped { 4 } else { 2 })
                + overlap.times(2),
            overlap,
            arrival,
            interval,
            late,
        }
    }
}

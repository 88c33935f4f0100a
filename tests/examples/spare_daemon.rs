//! conf-examples/master-spare-daemon: notify scripts start and stop the scheduler, the arbiter sees one at work.

use super::client::seconds;
use super::ground::{stays, until};
use super::machine::{Machine, Switch};
use super::readme::Readme;
use std::time::Duration;

/// What the arbiter heard: seconds since the epoch, and who worked.
struct Round {
    at: f64,
    host: String,
}

struct Watch<'a> {
    arbiter: &'a Machine,
    servers: [&'a Machine; 2],
    /// Who should have worked so far, in order.
    expected: Vec<String>,
}

impl Watch<'_> {
    fn rounds(&self) -> Vec<Round> {
        let text = self.arbiter.read("/run/arbiter/rounds");
        let rounds = text.lines().filter_map(|l| l.split_once(' '));
        rounds.map(|(at, host)| Round { at: at.parse().unwrap(), host: host.into() }).collect()
    }

    /// Waits until `server` works, steadily and in the right mode, and the other one waits if it is alive. Since the
    /// last call nobody else has worked but the one before it, then this one: no to and fro.
    fn works(&mut self, server: &Machine, other_lives: bool) {
        let other = *self.servers.iter().find(|s| s.name != server.name).unwrap();
        until(&format!("{} works", server.name), &self.servers, || {
            self.rounds().iter().rev().take(10).filter(|r| r.host == server.name).count() == 10
        });
        until(&format!("{} is in normal mode, the other one waits", server.name), &self.servers, || {
            mode(server) == "normal" && (!other_lives || mode(other) == "spare")
        });
        if self.expected.last() != Some(&server.name) {
            self.expected.push(server.name.clone());
        }
        let mut seen: Vec<String> = self.rounds().into_iter().map(|r| r.host).collect();
        seen.dedup();
        assert_eq!(seen, self.expected, "exactly one scheduler works at any time");
    }

    /// The longest time without work since then.
    fn gap(&self, since: f64) -> String {
        let rounds = self.rounds();
        let first = rounds.iter().rposition(|r| r.at < since).unwrap_or(0);
        let gap = rounds[first..].windows(2).map(|w| w[1].at - w[0].at).fold(0.0, f64::max);
        seconds(Duration::from_secs_f64(gap))
    }
}

/// The mode of the scheduler that lives on a server.
fn mode(server: &Machine) -> String {
    server
        .must("pid=$(cat /run/scheduler/pid 2>/dev/null); [ -z \"$pid\" ] || tr '\\0' ' ' </proc/$pid/cmdline 2>/dev/null || :")
        .split_whitespace()
        .find(|w| ["normal", "spare"].contains(w))
        .unwrap_or("none")
        .to_owned()
}

fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64()
}

pub fn play() {
    let readme = Readme::of("master-spare-daemon");
    let switch = Switch::new("spare-daemon");
    let arbiter = switch.server("arbiter", "10.2.0.13", None);
    readme.install(&arbiter);
    arbiter.systemctl("enable --now arbiter");
    let primary = switch.server("primary", "10.2.0.11", None);
    let spare = switch.server("spare", "10.2.0.12", None);
    let servers = [&primary, &spare];
    for server in servers {
        readme.install(server);
        server.systemctl("enable --now scheduler-spare");
        until("the scheduler waits", &servers, || mode(server) == "spare");
        server.systemctl("enable --now keepalived.service");
    }
    let mut watch = Watch { arbiter: &arbiter, servers, expected: Vec::new() };
    watch.works(&primary, true);

    let since = now();
    primary.power_off();
    watch.works(&spare, false);
    readme.measured("the primary loses power", watch.gap(since));
    let since = now();
    primary.power_on();
    primary.systemctl("start scheduler-spare keepalived");
    watch.works(&primary, true);
    readme.measured("the primary comes back", watch.gap(since));

    // The working process dies. The spare works, until the primary's scheduler lives again and it takes over.
    let since = now();
    primary.must("kill -9 -- -$(cat /run/unit-scheduler.pid)");
    watch.works(&spare, false);
    readme.measured("the scheduler on the primary dies", watch.gap(since));
    assert!(primary.log().contains("Entering FAULT STATE"), "{}", primary.log());
    watch.works(&primary, true);

    let since = now();
    primary.systemctl("stop keepalived");
    watch.works(&spare, true);
    readme.measured("the daemon on the primary is stopped", watch.gap(since));
    let since = now();
    primary.systemctl("start keepalived");
    watch.works(&primary, true);
    readme.measured("the daemon on the primary is started again", watch.gap(since));

    let since = now();
    spare.power_off();
    stays("the primary has the address", Duration::from_secs(4), || primary.has("10.2.0.100"));
    watch.works(&primary, false);
    readme.measured("the spare loses power", watch.gap(since));
    let since = now();
    spare.power_on();
    spare.systemctl("start scheduler-spare keepalived");
    until("the spare is backup", &servers, || {
        // The daemon may not have begun yet.
        String::from_utf8_lossy(&spare.run(concat!(env!("CARGO_BIN_EXE_vipctl"), " status")).stdout).contains("BACKUP")
    });
    stays("the spare waits", Duration::from_secs(3), || mode(&spare) == "spare" && !spare.has("10.2.0.100"));
    watch.works(&primary, true);
    readme.measured("the spare comes back", watch.gap(since));
    readme.finish();
}

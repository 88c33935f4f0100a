//! conf-examples/bfd-to-the-router: two balancers, and a router that is FRR.

use super::client::seconds;
use super::ground::{stays, until};
use super::machine::{Machine, Switch};
use super::readme::Readme;
use std::time::{Duration, Instant};

const ADDRESS: &str = "10.5.0.100";

pub fn play() {
    let readme = Readme::of("bfd-to-the-router");
    let switch = Switch::new("router");
    let router = switch.server("router", "10.5.0.254", None);
    let a = switch.server("balancer-a", "10.5.0.11", None);
    let b = switch.server("balancer-b", "10.5.0.12", None);
    let all = [&a, &b];
    readme.install(&router);
    router.must("mkdir -p /run/frr && chown frr:frr /run/frr && chown -R frr:frr /etc/frr");
    router.must("/usr/lib/frr/zebra -d >/dev/null 2>&1 </dev/null");
    router.must("/usr/lib/frr/bfdd -d -f /etc/frr/frr.conf >/dev/null 2>&1 </dev/null");
    for server in all {
        readme.install(server);
        server.systemctl("enable --now keepalived.service");
    }
    let up = |server: &Machine| {
        // A daemon that is starting does not answer yet.
        let told = server.run(&format!("{} bfd --json", env!("CARGO_BIN_EXE_vipctl"))).stdout;
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap_or_default();
        told["sessions"][0]["state"] == "Up"
    };
    let holds = |server: &Machine, other: &Machine| server.has(ADDRESS) && !other.has(ADDRESS);
    until("both sessions are up, and balancer-a has the address", &all, || up(&a) && up(&b) && holds(&a, &b));

    // Only what the router sends to balancer-a: the adverts of the two pass as before.
    let since = Instant::now();
    router.must("ip route add blackhole 10.5.0.11/32");
    until("balancer-b has it", &all, || holds(&b, &a));
    readme.measured("balancer-a loses the way to the router", seconds(since.elapsed()));
    assert!(a.vipctl("status").contains("nothing was heard from the peer"), "{}", a.vipctl("status"));
    let since = Instant::now();
    router.must("ip route del blackhole 10.5.0.11/32");
    until("balancer-a has it again", &all, || holds(&a, &b));
    readme.measured("the way is good again", seconds(since.elapsed()));

    until("both sessions are up", &all, || up(&a) && up(&b));
    router.must("kill -STOP $(cat /run/frr/bfdd.pid)");
    until("both have lost the router", &all, || !up(&a) && !up(&b));
    stays("nothing moves", Duration::from_secs(3), || holds(&a, &b));
    readme.measured("the router stands still", "nothing moves");
    router.must("kill -CONT $(cat /run/frr/bfdd.pid)");
    until("both sessions are up again", &all, || up(&a) && up(&b) && holds(&a, &b));

    let since = Instant::now();
    a.power_off();
    until("balancer-b has it", &[&b], || b.has(ADDRESS));
    readme.measured("balancer-a loses power", seconds(since.elapsed()));
    readme.finish();
}

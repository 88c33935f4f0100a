//! conf-examples/gateway-conntrackd: two addresses that move together, and what the notify script asks of conntrackd.
//!
//! conntrackd is the real one, on both gateways with the example's files; before it stands a line that writes down what it
//! is asked for. That a connection through the gateways lives on would need a firewall that keeps state, and is not tried.

use super::client::seconds;
use super::ground::until;
use super::machine::{Machine, Switch};
use super::readme::Readme;
use std::time::Instant;

const ADDRESSES: [(&str, &str); 2] = [("eth0", "10.5.0.1"), ("eth1", "10.5.1.1")];
const WRITES_DOWN: &str = "#!/bin/sh\nprintf '%s\\n' \"$1\" >>/run/asked\nexec /usr/sbin/conntrackd \"$@\"\n";

/// Waits until these are the last things that conntrackd was asked for, and begins a fresh page.
fn asked(gateway: &Machine, last: &[&str], all: &[&Machine]) {
    until(&format!("{} has asked for {last:?}", gateway.name), all, || {
        let text = gateway.read("/run/asked");
        text.lines().collect::<Vec<_>>().ends_with(last)
    });
    gateway.must("rm -f /run/asked");
}

fn begin(gateway: &Machine) {
    gateway.must("mkdir -p /run/lock; (setsid /usr/sbin/conntrackd -C /etc/conntrackd/conntrackd.conf >/run/conntrackd.log 2>&1 </dev/null &)");
    gateway.must(
        "for _ in $(seq 600); do [ -S /run/conntrackd.ctl ] && exit; sleep 0.05; done; cat /run/conntrackd.log; exit 1",
    );
}

pub fn play() {
    let readme = Readme::of("gateway-conntrackd");
    let (outside, inside, beside) =
        (Switch::new("gateways-outside"), Switch::new("gateways-inside"), Switch::new("gateways-beside"));
    let gateways = [1, 2].map(|n| {
        let gateway = outside.server(&format!("gw{n}"), &format!("10.5.0.1{n}"), None);
        let cable = inside.also(&gateway, "eth1", &format!("10.5.1.1{n}/24"));
        beside.also(&gateway, "eth2", &format!("10.5.2.1{n}/24"));
        readme.install(&gateway);
        gateway.write("/usr/local/sbin/conntrackd", WRITES_DOWN, 0o755);
        begin(&gateway);
        (gateway, cable)
    });
    let [(gw1, cable), (gw2, _)] = &gateways;
    let all = [gw1, gw2];
    for gateway in all {
        gateway.systemctl("enable --now keepalived.service");
    }
    let has = |gateway: &Machine| ADDRESSES.map(|(link, address)| gateway.has_on(link, address));
    // Both addresses are here and the script is through; how long that took.
    let moved = |to: &Machine, since: Instant| {
        until(&format!("{} has both addresses", to.name), &all, || has(to) == [true, true]);
        asked(to, &["-c", "-f", "-R", "-B"], &all);
        seconds(since.elapsed())
    };
    let alone = |holder: &Machine, other: &Machine| {
        until("the other one has neither", &all, || has(holder) == [true, true] && has(other) == [false, false]);
    };
    moved(gw1, Instant::now());
    alone(gw1, gw2);
    asked(gw2, &["-t", "-n"], &all);
    // The two conntrackd have found each other.
    until("both are connected", &all, || gw2.must("/usr/sbin/conntrackd -s link").contains("RUNNING"));

    let start = Instant::now();
    gw1.power_off();
    inside.plug_in(cable, false);
    readme.measured("gw1 loses power", moved(gw2, start));
    let start = Instant::now();
    gw1.power_on();
    gw1.must("ip addr flush dev eth1; ip addr add 10.5.1.11/24 dev eth1; ip addr add 10.5.2.11/24 dev eth2 || :");
    inside.plug_in(cable, true);
    begin(gw1);
    gw1.systemctl("start keepalived");
    readme.measured("gw1 comes back", moved(gw1, start));
    alone(gw1, gw2);
    asked(gw2, &["-t", "-n"], &all);

    let start = Instant::now();
    inside.plug_in(cable, false);
    readme.measured("gw1's cable inside is pulled", moved(gw2, start));
    alone(gw2, gw1);
    asked(gw1, &["-t"], &all);
    let start = Instant::now();
    inside.plug_in(cable, true);
    readme.measured("the cable is plugged in again", moved(gw1, start));
    alone(gw1, gw2);

    gw2.must("rm -f /run/asked");
    let start = Instant::now();
    gw1.systemctl("stop keepalived");
    readme.measured("the daemon on gw1 is stopped", moved(gw2, start));
    asked(gw1, &["-t"], &all);
    for gateway in all {
        assert!(!gateway.read("/run/syslog").contains(" failed with "), "{}", gateway.read("/run/syslog"));
    }
    readme.finish();
}

//! conf-examples/nginx-pair: nginx, check script, notify script, mail.

use super::client::Client;
use super::ground::{stays, until};
use super::machine::{Machine, Switch};
use super::mailbox::Mailbox;
use super::readme::Readme;
use std::time::{Duration, Instant};

const ADDRESS: &str = "10.0.0.10";

pub fn play() {
    let readme = Readme::of("nginx-pair");
    let switch = Switch::new("nginx-pair");
    let primary = switch.server("primary", "10.0.0.11", None);
    let secondary = switch.server("secondary", "10.0.0.12", None);
    let customer = switch.plain("customer", "10.0.0.200");
    let post = switch.plain("post", "10.0.0.25");
    let mailbox = Mailbox::open(&post);
    let all = [&primary, &secondary];
    for server in all {
        readme.install(server);
        server.systemctl("start nginx");
        server.systemctl("enable --now keepalived.service");
    }
    let client = Client::http(&customer, "10.0.0.10:80", "/");
    let answers = |server: &Machine| {
        until(&format!("{} answers steadily, alone with the address", server.name), &all, || {
            client.steadily_by(&server.name) && all.iter().all(|s| s.has(ADDRESS) == (s.name == server.name))
        });
    };
    answers(&primary);
    mailbox.told(
        &all,
        "keepalived@nginx-primary.example.org",
        "[nginx-primary] VRRP Instance VI_1 - Entering MASTER state",
    );
    let explained = secondary.vipctl("explain VI_1");
    assert!(explained.contains("100 is less than the master's 150"), "{explained}");

    // The power is lost, and comes back.
    let start = Instant::now();
    primary.power_off();
    answers_without(&client, &secondary, &all, &primary);
    readme.measured("the primary loses power", client.since(start).measured());
    mailbox.told(
        &all,
        "keepalived@nginx-secondary.example.org",
        "[nginx-secondary] VRRP Instance VI_1 - Entering MASTER state",
    );
    mailbox.told(&all, "ops@example.org", "=> VRRP Instance is now owning VRRP VIPs <=");
    let start = Instant::now();
    primary.power_on();
    primary.systemctl("start nginx keepalived");
    answers(&primary);
    readme.measured("the primary comes back", client.since(start).measured());
    mailbox.told(&all, "ops@example.org", "[nginx-secondary] VRRP Instance VI_1 - Entering BACKUP state");

    // The web server dies: the check script sees it.
    let start = Instant::now();
    primary.must("kill -9 -- -$(cat /run/unit-nginx.pid); rm /run/unit-nginx.pid");
    answers(&secondary);
    readme.measured("nginx on the primary stops answering", client.since(start).measured());
    let explained = primary.vipctl("explain VI_1");
    assert!(explained.contains("150 - 60 (chk_nginx"), "{explained}");
    assert!(explained.contains("if chk_nginx were good, 150 would be more than the master's 100"), "{explained}");
    until("the notify script was told", &all, || {
        primary.read("/run/syslog").contains("keepalived-notify: INSTANCE VI_1 is BACKUP with priority")
    });
    let start = Instant::now();
    primary.systemctl("start nginx");
    answers(&primary);
    readme.measured("nginx on the primary answers again", client.since(start).measured());

    // The daemon dies: both have the address until it is started again.
    let start = Instant::now();
    primary.must("kill -9 -- -$(cat /run/unit-keepalived.pid); rm /run/unit-keepalived.pid");
    until("the secondary takes the address", &all, || secondary.has(ADDRESS));
    assert!(primary.has(ADDRESS), "a killed daemon takes nothing off");
    primary.systemctl("start keepalived");
    answers(&primary);
    readme.measured("vipd on the primary is killed", client.since(start).measured());

    let start = Instant::now();
    primary.systemctl("stop keepalived");
    answers(&secondary);
    readme.measured("vipd on the primary is stopped", client.since(start).measured());
    mailbox.told(&all, "ops@example.org", "[nginx-primary] VRRP Instance VI_1 - Stopping");
    primary.systemctl("start keepalived");
    answers(&primary);

    let start = Instant::now();
    primary.cable(false);
    answers(&secondary);
    readme.measured("the primary's cable is pulled", client.since(start).measured());
    let explained = primary.vipctl("explain VI_1");
    assert!(explained.contains("VI_1 is FAULT") && explained.contains("eth0"), "{explained}");
    primary.cable(true);
    answers(&primary);

    // Neither answers: the priorities keep their order.
    for server in all {
        server.systemctl("stop nginx");
    }
    until("both checks fail", &all, || all.iter().all(|s| s.vipctl("status").contains("chk_nginx fails")));
    // Where one check fails long before the other it may have been with the secondary for a moment.
    let is_primarys = || primary.has(ADDRESS) && !secondary.has(ADDRESS);
    until("the primary has the address", &all, is_primarys);
    stays("the primary has the address", Duration::from_secs(5), is_primarys);
    for server in all {
        server.systemctl("start nginx");
    }
    answers(&primary);
    readme.measured("nginx answers on neither server", "the address did not move");
    until("both checks are good", &all, || all.iter().all(|s| !s.vipctl("status").contains("chk_nginx fails")));

    // Asked for by hand.
    let start = Instant::now();
    let said = primary.vipctl("failover VI_1");
    until(&format!("the secondary answers after: {said}"), &all, || {
        client.since(start).servers().contains(&"secondary")
    });
    answers(&primary);
    readme.measured("`vipctl failover VI_1` on the primary", client.since(start).measured());
    let log = primary.log();
    assert!(log.contains("(VI_1) Entering BACKUP STATE"), "{log}");
    readme.finish();
}

/// The one without power keeps what its kernel has; clients cannot reach it.
fn answers_without(client: &Client, server: &Machine, all: &[&Machine], dead: &Machine) {
    until(&format!("{} answers steadily while {} is dead", server.name, dead.name), all, || {
        client.steadily_by(&server.name) && server.has(ADDRESS)
    });
}

//! conf-examples/kubernetes-api: HAProxy before API servers on two hosts, and the script that asks through it.

use super::client::Client;
use super::ground::{stays, until};
use super::machine::{Machine, Switch};
use super::readme::Readme;
use std::time::{Duration, Instant};

const ADDRESS: &str = "10.4.0.100";

pub fn play() {
    let readme = Readme::of("kubernetes-api");
    let switch = Switch::new("kubernetes-api");
    let cp1 = switch.server("cp1", "10.4.0.11", None);
    let cp2 = switch.server("cp2", "10.4.0.12", None);
    let customer = switch.plain("customer", "10.4.0.250");
    let all = [&cp1, &cp2];
    for host in all {
        readme.install(host);
        host.systemctl("enable --now stub-apiserver haproxy");
    }
    for host in all {
        until("an API server is reached", &all, || host.run("/etc/keepalived/check_apiserver.sh").status.success());
        host.systemctl("enable --now keepalived.service");
    }
    let client = Client::https(&customer, "10.4.0.100:8443", "/livez");
    // HAProxy spreads connections over both, so it is asked who has the address, and that every answer is good.
    let served = |host: &Machine, dead: bool| {
        until(&format!("{} has the address, and the API answers", host.name), &all, || {
            let seen = client.since(Instant::now() - Duration::from_secs(2));
            let good = seen.answers.len() >= 5 && seen.answers.iter().all(|answer| answer.text.is_ok());
            good && host.has(ADDRESS)
                && (dead || all.iter().all(|other| other.has(ADDRESS) == (other.name == host.name)))
        });
    };
    served(&cp1, false);

    let start = Instant::now();
    cp1.power_off();
    served(&cp2, true);
    readme.measured("cp1 loses power", client.since(start).measured());
    let start = Instant::now();
    cp1.power_on();
    cp1.systemctl("start stub-apiserver haproxy keepalived");
    served(&cp1, false);
    readme.measured("cp1 comes back", client.since(start).measured());
    let good = || all.iter().all(|host| !host.vipctl("status").contains("check_apiserver fails"));
    until("both checks are good", &all, good);

    let start = Instant::now();
    cp1.systemctl("stop stub-apiserver");
    until("HAProxy has left it out", &all, || {
        let seen = client.since(Instant::now() - Duration::from_secs(3));
        seen.servers() == ["cp2"] && seen.answers.len() > 5 && seen.refused == 0
    });
    stays("the address does not move", Duration::from_secs(4), || cp1.has(ADDRESS) && !cp2.has(ADDRESS));
    readme.measured("the API server on cp1 stops", client.since(start).measured());
    cp1.systemctl("start stub-apiserver");
    until("both answer", &all, || client.since(Instant::now() - Duration::from_secs(2)).servers().contains(&"cp1"));

    let start = Instant::now();
    cp1.systemctl("stop haproxy");
    served(&cp2, false);
    readme.measured("HAProxy on cp1 stops", client.since(start).measured());
    let explained = cp1.vipctl("explain VI_API");
    assert!(explained.contains("110 - 20 (check_apiserver"), "{explained}");
    let start = Instant::now();
    cp1.systemctl("start haproxy");
    served(&cp1, false);
    readme.measured("HAProxy on cp1 runs again", client.since(start).measured());

    let start = Instant::now();
    cp1.systemctl("stop keepalived");
    served(&cp2, false);
    readme.measured("the daemon on cp1 is stopped", client.since(start).measured());
    readme.finish();
}

//! conf-examples/unicast-cloud: signed unicast adverts, and a notify script that asks a cloud's API.

use super::client::seconds;
use super::ground::{stays, until};
use super::machine::{Machine, Switch};
use super::readme::Readme;
use std::time::{Duration, Instant};

const ADDRESS: &str = "10.4.0.100";

pub fn play() {
    let readme = Readme::of("unicast-cloud");
    let switch = Switch::new("cloud");
    let api = switch.server("api", "10.4.0.5", None);
    readme.install(&api);
    api.systemctl("enable --now stub-cloud-api");
    let a = switch.server("cloud-a", "10.4.0.11", None);
    let b = switch.server("cloud-b", "10.4.0.12", None);
    let all = [&a, &b];
    for server in all {
        readme.install(server);
        server.systemctl("enable --now keepalived.service");
    }
    // As somebody outside sees it: the API is asked, not the files behind it.
    let owner = || {
        let asked = "curl -fs -m 10 -H 'Authorization: Bearer change-me' http://10.4.0.5:8080/addresses/eip-1 || :";
        api.must(asked).trim().to_owned()
    };
    let mood = |mood: &str| api.write("/run/cloud/mood", mood, 0o644);
    let settles = |server: &Machine| {
        until(&format!("{} has both addresses", server.name), &all, || server.has(ADDRESS) && owner() == server.name);
    };
    let started = |since: Instant| seconds(since.elapsed());
    settles(&a);
    assert_eq!(
        api.must("curl -s -o /dev/null -w '%{http_code}' http://10.4.0.5:8080/addresses/eip-1"),
        "401",
        "the stub looks at the token"
    );

    let since = Instant::now();
    a.power_off();
    settles(&b);
    readme.measured("cloud-a loses power", started(since));
    let since = Instant::now();
    a.power_on();
    a.systemctl("start keepalived");
    settles(&a);
    readme.measured("cloud-a comes back", started(since));
    until("cloud-b has given the private address up", &all, || !b.has(ADDRESS));

    let since = Instant::now();
    a.systemctl("stop keepalived");
    settles(&b);
    readme.measured("the daemon on cloud-a is stopped", started(since));
    a.systemctl("start keepalived");
    settles(&a);

    // A slow API: the request takes effect late, and the script waits for it.
    mood("slow 3");
    let since = Instant::now();
    a.systemctl("stop keepalived");
    until("the slow API has bound it", &all, || api.read("/run/cloud/eip-1").trim() == "cloud-b");
    readme.measured("the API is slow (3 s an answer)", started(since));
    until("the script knows", &all, || {
        b.read("/run/syslog").lines().filter(|l| l.contains("is bound to")).count() >= 3
    });
    mood("ok");
    a.systemctl("start keepalived");
    settles(&a);

    // A failing one: asked again and again.
    mood("failing");
    let since = Instant::now();
    a.systemctl("stop keepalived");
    until("the private address has moved", &all, || b.has(ADDRESS));
    std::thread::sleep(Duration::from_secs(4).saturating_sub(since.elapsed()));
    let asked_again = || b.read("/run/syslog").contains("did not bind eip-1 to cloud-b (request 2)");
    until("it is asked again", &all, asked_again);
    assert_eq!(api.read("/run/cloud/eip-1").trim(), "cloud-a", "a failing API moves nothing");
    mood("ok");
    settles(&b);
    readme.measured("the API fails for 4 s", started(since));
    a.systemctl("start keepalived");
    settles(&a);

    // Master and back while the API fails: only the one that is master in the end may have it.
    mood("failing");
    a.systemctl("stop keepalived");
    until("cloud-b tries", &all, || b.has(ADDRESS));
    a.systemctl("start keepalived");
    until("cloud-a is master again", &all, || a.has(ADDRESS) && !b.has(ADDRESS));
    until("cloud-b has given up", &all, || b.read("/run/syslog").contains("cloud-b is not master any more"));
    mood("ok");
    settles(&a);
    stays("it is cloud-a's", Duration::from_secs(5), || owner() == "cloud-a");
    readme.measured("the API fails and the address goes back meanwhile", "the other server did not ask again");

    stranger(&readme, &switch, &all, &owner);
    readme.finish();
}

/// Somebody in the same network, with a perfect configuration but for the key, and the highest priority that there is.
fn stranger(readme: &Readme, switch: &Switch, all: &[&Machine; 2], owner: &impl Fn() -> String) {
    let [a, b] = *all;
    b.systemctl("stop keepalived");
    b.power_off();
    // In cloud-b's place: with its address, since adverts of others than the peer are not even looked at.
    let thief = switch.server("thief", "10.4.0.12", None);
    readme_of_b(readme, &thief);
    let conf = thief.read("/etc/keepalived/keepalived.conf");
    let hmac = conf.find("    auth_hmac {").unwrap();
    let end = hmac + conf[hmac..].find("    }\n").unwrap() + "    }\n".len();
    let conf = format!("{}{}", &conf[..hmac], &conf[end..]).replace("priority 100", "priority 254");
    thief.write("/etc/keepalived/keepalived.conf", &conf, 0o644);
    thief.systemctl("start keepalived");
    until("the stranger sends adverts", all, || thief.has(ADDRESS));
    stays("cloud-a is master", Duration::from_secs(5), || a.has(ADDRESS) && owner() == "cloud-a");
    until("the refusals are counted", all, || {
        let told: serde_json::Value = serde_json::from_str(&a.vipctl("status --json")).unwrap();
        count(&told["instances"][0]["counters"]["refused"].to_string()) >= 3
    });
    readme.measured("a stranger sends adverts that are not signed", "nothing moves");
}

fn readme_of_b(readme: &Readme, thief: &Machine) {
    let text = std::fs::read_to_string(readme.directory.join("cloud-b.conf")).unwrap();
    thief.write("/etc/keepalived/keepalived.conf", &text, 0o644);
    thief.write("/etc/keepalived/move-elastic-ip", "#!/bin/sh\n", 0o755);
}

/// All of them, of whatever kind.
fn count(refused: &str) -> u64 {
    refused.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u64>().ok()).sum()
}

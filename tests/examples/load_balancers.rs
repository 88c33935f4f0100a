//! conf-examples/curator-load-balancers: TLS at the balancer, nodes that share a database and a file system.

use super::client::Client;
use super::ground::{stays, until};
use super::machine::{Machine, Switch};
use super::readme::Readme;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const ADDRESS: &str = "10.3.0.100";

pub fn play() {
    let readme = Readme::of("curator-load-balancers");
    let switch = Switch::new("load-balancers");
    // What all nodes mount.
    let shared = std::env::temp_dir().join(format!("vipd-examples-shared-{}", std::process::id()));
    std::fs::create_dir_all(&shared).unwrap();
    let storage = switch.server("storage", "10.3.0.30", Some(&shared));
    readme.install(&storage);
    storage.systemctl("enable --now curator-database");
    let nodes: Vec<Machine> = (1..=3)
        .map(|n| {
            let node = switch.server(&format!("node{n}"), &format!("10.3.0.2{n}"), Some(&shared));
            readme.install(&node);
            node.systemctl("enable --now curator-node");
            node
        })
        .collect();
    let lb1 = switch.server("lb1", "10.3.0.11", None);
    let lb2 = switch.server("lb2", "10.3.0.12", None);
    let all = [&lb1, &lb2];
    for balancer in all {
        readme.install(balancer);
        balancer.must(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=curator \
             -keyout /etc/nginx/curator.key -out /etc/nginx/curator.pem",
        );
        // `nginx -s reload` of register-node looks for the pid file of Debian's nginx.conf.
        balancer.systemctl("enable --now nginx");
        until("nginx ends TLS", &all, || balancer.run("/etc/keepalived/chk_balancer").status.success());
        balancer.systemctl("enable --now keepalived.service");
    }
    let customer = switch.plain("customer", "10.3.0.200");
    let client = Client::https(&customer, ADDRESS, "/");
    let answers = |balancer: &Machine| {
        until(&format!("{} answers steadily", balancer.name), &all, || {
            client.steadily_by(&balancer.name) && balancer.has(ADDRESS)
        });
    };
    let asked =
        |since: Instant| -> BTreeSet<String> { client.since(since).bodies().into_iter().map(str::to_owned).collect() };
    let expected = |numbers: &[u8]| -> BTreeSet<String> { numbers.iter().map(|n| format!("node node{n}")).collect() };
    answers(&lb1);
    let plain = customer.must(&format!("curl -s -o /dev/null -w '%{{http_code}} %{{redirect_url}}' http://{ADDRESS}/"));
    assert_eq!(plain, format!("301 https://{ADDRESS}/"), "without TLS nothing is answered");
    share(&customer, &nodes[..2]);

    let start = Instant::now();
    lb1.power_off();
    answers(&lb2);
    readme.measured("lb1 loses power", client.since(start).measured());
    let start = Instant::now();
    lb1.power_on();
    lb1.systemctl("start nginx keepalived");
    answers(&lb1);
    readme.measured("lb1 comes back", client.since(start).measured());

    let start = Instant::now();
    lb1.must("kill -9 -- -$(cat /run/unit-nginx.pid); rm /run/unit-nginx.pid");
    answers(&lb2);
    readme.measured("nginx on lb1 stops answering over TLS", client.since(start).measured());
    until("the notify script was told", &all, || lb1.read("/run/syslog").contains("INSTANCE CURATOR is BACKUP"));
    let start = Instant::now();
    lb1.systemctl("start nginx");
    answers(&lb1);
    readme.measured("nginx on lb1 answers again", client.since(start).measured());

    // A node dies, as one without power does: it does not even refuse.
    let start = Instant::now();
    nodes[1].power_off();
    // Long enough for what is measured.
    std::thread::sleep(Duration::from_secs(4));
    let late = Instant::now();
    until("the other node is asked", &all, || asked(late) == expected(&[1]));
    readme.measured("a node dies", client.since(start).measured());
    assert!(lb1.has(ADDRESS));
    let start = Instant::now();
    nodes[1].power_on();
    nodes[1].systemctl("start curator-node");
    until("the node is asked again", &all, || asked(start) == expected(&[1, 2]));
    readme.measured("the node comes back", client.since(start).measured());

    // The README's two lines, on both balancers.
    let text = std::fs::read_to_string(readme.directory.join("README.md")).unwrap();
    let typed = |verb: &str| text.lines().map(str::trim).find(|l| l.starts_with(verb)).unwrap().to_owned();
    let start = Instant::now();
    for balancer in [&lb2, &lb1] {
        balancer.must(&typed("register-node"));
    }
    until("the new node is asked", &all, || asked(start).contains("node node3"));
    let seen = client.since(start);
    assert_eq!(seen.refused, 0, "a client lost a request: {seen:?}");
    readme.measured("a node is registered", seen.measured());
    let start = Instant::now();
    for balancer in [&lb2, &lb1] {
        balancer.must(&typed("remove-node"));
    }
    until("only the other two are asked", &all, || asked(Instant::now() - Duration::from_secs(1)) == expected(&[2, 3]));
    let late = Instant::now();
    stays("the removed one is not asked", Duration::from_secs(1), || !asked(late).contains("node node1"));
    let seen = client.since(start);
    assert_eq!(seen.refused, 0, "a client lost a request: {seen:?}");
    readme.measured("a node is removed", seen.measured());
    share(&customer, &nodes[1..]);

    // What is shared and not doubled is not saved by a second balancer, and no address must move for it.
    let line = format!("curl -sk -m 30 -o /dev/null -w '%{{http_code}}' https://{ADDRESS}/items || :");
    let status = || customer.must(&line);
    let start = Instant::now();
    storage.systemctl("stop curator-database");
    until("items cannot be told", &all, || status().starts_with('5'));
    stays("the address is where it was", Duration::from_secs(3), || lb1.has(ADDRESS) && !lb2.has(ADDRESS));
    storage.systemctl("start curator-database");
    until("items are told again", &all, || status() == "200");
    let seen = client.since(start);
    assert_eq!(seen.refused, 0, "what does not need the database is answered");
    readme.measured("the database is away", "the address did not move");
    readme.finish();
    std::fs::remove_dir_all(&shared).unwrap();
}

/// An item that is put in through the balancer is the same on every node.
fn share(customer: &Machine, nodes: &[Machine]) {
    let number = customer.must(&format!("curl -fsk --data-binary 'an item' https://{ADDRESS}/items"));
    let line = format!("{} an item an item", number.trim());
    for node in nodes {
        let items = customer.must(&format!("curl -fs http://{}:8080/items", node.own()));
        assert!(items.lines().any(|l| l == line), "{}: {items}", node.name);
    }
}

//! The kernel's table of virtual servers itself, in network namespaces: what is asked for is what `ipvsadm` lists.
//!
//! Needs root, ipvsadm, nft and a kernel with IPVS; without them nothing is tested, which is said, and is a failure with
//! `VIPD_REQUIRE_IPVS=1` (as in the whole-machine test, which runs this program).

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use vipd::balance::io::{Destination, MarkElement, Marks, Picture, ServiceKey, Sync};
use vipd::kernel::ipvs::channel::Trouble;
use vipd::kernel::ipvs::marks::MarkTables;
use vipd::kernel::ipvs::message::SyncRole;
use vipd::kernel::ipvs::{Ipvs, Settings};
use vipd::kernel::namespace;
use vipd::spec::IfName;
use vipd::spec::balance::{
    Forwarding, Granularity, MarkSettings, Method, Persistence, Protocol, SchedulerFlags, SyncDaemon, Timeouts,
    TunnelChecksum, TunnelKind,
};
use vipd::wire::Family;

// ---- a namespace for each test

struct Place {
    name: String,
}
impl Place {
    /// `None`: no IPVS here.
    fn new(name: &str) -> Option<Place> {
        let name = format!("vipd-ipvs-{name}-{}", std::process::id());
        if nix::unistd::geteuid().is_root() && namespace::create(&name).is_ok() {
            let place = Place { name };
            let mut link = Command::new("ip");
            link.args(["-n", &place.name, "link", "add", "net0", "type", "dummy"]);
            if !link.output().unwrap().status.success() {
                println!("not tested: no dummy links");
                assert!(std::env::var_os("VIPD_REQUIRE_IPVS").is_none(), "there is no dummy link");
                return None;
            }
            place.run("ip", &["link", "set", "net0", "multicast", "on", "up"]);
            place.run("ip", &["address", "add", "10.1.0.1/24", "dev", "net0"]);
            place.run("ip", &["address", "add", "2001:db8:1::1/64", "dev", "net0", "nodad"]);
            match runtime(Ipvs::open(place.settings())) {
                Ok(_) => return Some(place),
                Err(trouble) => println!("not tested: {trouble}"),
            }
        } else {
            println!("not tested: not root");
        }
        assert!(std::env::var_os("VIPD_REQUIRE_IPVS").is_none(), "there is no IPVS");
        None
    }

    fn settings(&self) -> Settings {
        Settings { namespace: Some(self.name.as_str().into()), record: None, buffer: (0, false) }
    }

    fn record(&self) -> PathBuf {
        std::env::temp_dir().join(&self.name)
    }
    fn recorded(&self) -> Settings {
        Settings { record: Some(self.record()), ..self.settings() }
    }

    fn run(&self, program: &str, words: &[&str]) -> String {
        let output = Command::new("ip").args(["netns", "exec", &self.name, program]).args(words).output().unwrap();
        assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn table(&self) -> Vec<String> {
        self.run("ipvsadm", &["-S", "-n"]).lines().map(|line| line.trim_end().to_owned()).collect()
    }
}
impl Drop for Place {
    fn drop(&mut self) {
        let _ = namespace::delete(&self.name);
        let _ = std::fs::remove_file(self.record());
    }
}

/// As the checker's thread has one.
fn runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

// ---- what is wanted

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
fn address(protocol: Protocol, at: &str, port: u16) -> ServiceKey {
    ServiceKey::Address { protocol, address: ip(at), port }
}
fn tcp(port: u16) -> ServiceKey {
    address(Protocol::Tcp, "10.0.0.1", port)
}
const fn way(method: Method, tunnel: TunnelKind, checksum: TunnelChecksum) -> Forwarding {
    Forwarding { method, tunnel, checksum }
}
const NAT: Forwarding = way(Method::Nat, TunnelKind::Ipip, TunnelChecksum::None);
const DIRECT: Forwarding = way(Method::Direct, TunnelKind::Ipip, TunnelChecksum::None);
const IPIP: Forwarding = way(Method::Tunnel, TunnelKind::Ipip, TunnelChecksum::None);
const GRE: Forwarding = way(Method::Tunnel, TunnelKind::Gre, TunnelChecksum::None);

fn picture(scheduler: &str, servers: &[(&str, u16, Forwarding, u32)]) -> Picture {
    let server = |weight, forwarding| Destination { weight, forwarding, upper_threshold: 0, lower_threshold: 0 };
    Picture {
        scheduler: scheduler.into(),
        flags: SchedulerFlags::default(),
        persistence: None,
        destinations: servers.iter().map(|(at, port, way, weight)| ((ip(at), *port), server(*weight, *way))).collect(),
    }
}
fn persistent(picture: Picture, timeout: u32, granularity: Granularity, engine: Option<&str>) -> Picture {
    Picture { persistence: Some(Persistence { timeout, granularity, engine: engine.map(Into::into) }), ..picture }
}
fn flagged(picture: Picture, one_packet: bool, flags: [bool; 3]) -> Picture {
    Picture { flags: SchedulerFlags { one_packet, flags }, ..picture }
}
type Table = BTreeMap<ServiceKey, Arc<Picture>>;
fn table(services: Vec<(ServiceKey, Picture)>) -> Table {
    services.into_iter().map(|(key, picture)| (key, Arc::new(picture))).collect()
}
/// Starts with that table and answers the Ipvs; nothing may be refused.
async fn started(settings: Settings, wanted: Table) -> Ipvs {
    let mut ipvs = Ipvs::open(settings).await.unwrap();
    let compared = ipvs.start(wanted, false).await.unwrap();
    assert_eq!(compared.refused, []);
    ipvs
}

/// Configurations and lists as they were captured from keepalived.
#[test]
fn services_of_every_kind_are_listed_as_keepalived_s() {
    let Some(place) = Place::new("kinds") else { return };
    let mut mh = flagged(
        picture(
            "mh",
            &[
                ("10.1.0.2", 83, way(Method::Tunnel, TunnelKind::Gue(6080), TunnelChecksum::Checksum), 1),
                ("10.1.0.3", 83, GRE, 1),
                ("10.1.0.4", 83, IPIP, 1),
                ("10.1.0.5", 83, DIRECT, 1),
            ],
        ),
        false,
        [true, true, false],
    );
    let first = mh.destinations.get_mut(&(ip("10.1.0.2"), 83)).unwrap();
    (first.upper_threshold, first.lower_threshold) = (100, 50);
    let mark = |mark, family| ServiceKey::Mark { family, mark };
    let wanted = table(vec![
        (tcp(80), picture("rr", &[("10.1.0.2", 8080, NAT, 3), ("10.1.0.3", 8080, NAT, 1)])),
        (tcp(81), picture("rr", &[("10.1.0.2", 81, DIRECT, 3), ("10.1.0.3", 81, DIRECT, 1)])),
        (tcp(82), persistent(picture("wrr", &[("10.1.0.2", 8080, NAT, 0)]), 300, Granularity::Mask(0xffff_ff00), None)),
        (tcp(83), mh),
        (tcp(0), persistent(picture("rr", &[("10.1.0.2", 0, NAT, 1)]), 360, Granularity::Host, None)),
        (mark(7, Family::V4), picture("wlc", &[("10.1.0.2", 80, NAT, 1)])),
        (mark(8, Family::V4), persistent(picture("wlc", &[("10.1.0.2", 0, DIRECT, 1)]), 360, Granularity::Host, None)),
        (mark(11, Family::V6), picture("rr", &[("2001:db8:1::2", 8080, NAT, 1), ("2001:db8:1::2", 8081, NAT, 1)])),
        (
            address(Protocol::Udp, "10.0.0.1", 53),
            flagged(picture("wlc", &[("10.1.0.2", 53, NAT, 1)]), true, [false; 3]),
        ),
        (
            address(Protocol::Udp, "10.0.0.1", 5060),
            persistent(picture("rr", &[("10.1.0.2", 5060, NAT, 1)]), 60, Granularity::Host, Some("sip")),
        ),
        (
            address(Protocol::Sctp, "10.0.0.1", 84),
            flagged(picture("sh", &[("10.1.0.2", 84, NAT, 1)]), false, [true, false, false]),
        ),
        (
            address(Protocol::Tcp, "2001:db8::1", 80),
            persistent(
                flagged(picture("sh", &[("2001:db8:1::2", 80, NAT, 1)]), false, [false, true, false]),
                360,
                Granularity::Prefix(64),
                None,
            ),
        ),
        // Of the other family, which only a tunnel can carry.
        (address(Protocol::Tcp, "2001:db8::1", 81), picture("rr", &[("10.1.0.6", 81, IPIP, 1)])),
    ]);
    runtime(async {
        let mut ipvs = started(place.settings(), wanted.clone()).await;
        let listed = place.table();
        assert_eq!(
            listed,
            [
                "-A -t 10.0.0.1:0 -s rr -p 360",
                "-a -t 10.0.0.1:0 -r 10.1.0.2:0 -m -w 1",
                "-A -t 10.0.0.1:80 -s rr",
                "-a -t 10.0.0.1:80 -r 10.1.0.2:8080 -m -w 3",
                "-a -t 10.0.0.1:80 -r 10.1.0.3:8080 -m -w 1",
                "-A -t 10.0.0.1:81 -s rr",
                "-a -t 10.0.0.1:81 -r 10.1.0.2:81 -g -w 3",
                "-a -t 10.0.0.1:81 -r 10.1.0.3:81 -g -w 1",
                "-A -t 10.0.0.1:82 -s wrr -p 300 -M 255.255.255.0",
                "-a -t 10.0.0.1:82 -r 10.1.0.2:8080 -m -w 0",
                "-A -t 10.0.0.1:83 -s mh -b mh-fallback,mh-port",
                "-a -t 10.0.0.1:83 -r 10.1.0.2:83 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
                "-a -t 10.0.0.1:83 -r 10.1.0.3:83 -i -w 1 --tun-type gre --tun-nocsum",
                "-a -t 10.0.0.1:83 -r 10.1.0.4:83 -i -w 1 --tun-type ipip",
                "-a -t 10.0.0.1:83 -r 10.1.0.5:83 -g -w 1",
                "-A -u 10.0.0.1:53 -s wlc -o",
                "-a -u 10.0.0.1:53 -r 10.1.0.2:53 -m -w 1",
                "-A -u 10.0.0.1:5060 -s rr -p 60 --pe sip",
                "-a -u 10.0.0.1:5060 -r 10.1.0.2:5060 -m -w 1",
                "-A --sctp-service 10.0.0.1:84 -s sh -b sh-fallback",
                "-a --sctp-service 10.0.0.1:84 -r 10.1.0.2:84 -m -w 1",
                "-A -t [2001:db8::1]:80 -s sh -p 360 -M 64 -b sh-port",
                "-a -t [2001:db8::1]:80 -r [2001:db8:1::2]:80 -m -w 1",
                "-A -t [2001:db8::1]:81 -s rr",
                "-a -t [2001:db8::1]:81 -r 10.1.0.6:81 -i -w 1 --tun-type ipip",
                "-A -f 7 -s wlc",
                "-a -f 7 -r 10.1.0.2:80 -m -w 1",
                "-A -f 8 -s wlc -p 360",
                "-a -f 8 -r 10.1.0.2:0 -g -w 1",
                "-A -f 11 -6 -s rr",
                "-a -f 11 -6 -r [2001:db8:1::2]:8080 -m -w 1",
                "-a -f 11 -6 -r [2001:db8:1::2]:8081 -m -w 1",
            ]
        );
        assert!(place.run("ipvsadm", &["-Ln", "--thresholds"]).contains("100        50"));
        // What is there is what is wanted: nothing to do, now and for another process.
        let compared = ipvs.compare().await.unwrap();
        assert_eq!((compared.corrected, compared.refused), (vec![], vec![]));
        let mut other = Ipvs::open(place.settings()).await.unwrap();
        assert_eq!(other.start(wanted.clone(), false).await.unwrap().corrected, []);
        let applied = other.apply(wanted.keys().map(|key| (*key, None))).await;
        assert!(applied.iter().all(|applied| applied.refused.is_empty()));
        assert_eq!(place.table(), [""; 0]);
    });
}

#[test]
fn what_a_killed_process_left_is_set_right_in_its_place_and_the_foreign_is_left_alone() {
    let Some(place) = Place::new("crash") else { return };
    runtime(async {
        let wanted = table(vec![
            (tcp(80), picture("rr", &[("10.1.0.2", 8080, NAT, 1), ("10.1.0.3", 8080, NAT, 1)])),
            (tcp(81), picture("rr", &[("10.1.0.2", 81, NAT, 1)])),
        ]);
        let mut killed = started(place.recorded(), wanted).await;
        killed.set_timeouts(Some(Timeouts { tcp: Some(7200), ..Timeouts::default() })).await.unwrap();
        drop(killed);
        place.run("ipvsadm", &["-A", "-t", "10.0.0.3:1", "-s", "rr"]);
        place.run("ipvsadm", &["-a", "-t", "10.0.0.3:1", "-r", "10.1.0.7:1", "-m"]);
        let identity = |place: &Place| place.run("ipvsadm", &["-Ln", "--timeout"]);
        assert_eq!(identity(&place).trim(), "Timeout (tcp tcpfin udp): 7200 120 300");

        let wanted = table(vec![(tcp(80), picture("wrr", &[("10.1.0.2", 8080, NAT, 9), ("10.1.0.4", 8080, NAT, 1)]))]);
        let mut next = Ipvs::open(place.recorded()).await.unwrap();
        let compared = next.start(wanted, false).await.unwrap();
        assert_eq!(compared.refused, []);
        let said: Vec<String> = compared.corrected.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "virtual server 10.0.0.1:tcp:80 was left in the kernel's table by an earlier process; it is set right",
                "real server 10.1.0.2:8080 of 10.0.0.1:tcp:80 was left in the kernel's table by an earlier process; it is set right",
                "real server 10.1.0.3:8080 of 10.0.0.1:tcp:80 was left in the kernel's table by an earlier process; it is removed",
                "virtual server 10.0.0.1:tcp:81 was left in the kernel's table by an earlier process; it is removed",
            ]
        );
        assert_eq!(
            place.table(),
            [
                "-A -t 10.0.0.1:80 -s wrr",
                "-a -t 10.0.0.1:80 -r 10.1.0.2:8080 -m -w 9",
                "-a -t 10.0.0.1:80 -r 10.1.0.4:8080 -m -w 1",
                "-A -t 10.0.0.3:1 -s rr",
                "-a -t 10.0.0.3:1 -r 10.1.0.7:1 -m -w 1",
            ]
        );
        // The time-outs that the killed one had found.
        next.set_timeouts(None).await.unwrap();
        assert_eq!(identity(&place).trim(), "Timeout (tcp tcpfin udp): 900 120 300");
        assert!(place.record().exists());
        let _ = next.apply([(tcp(80), None)]).await;
        assert_eq!(place.table().len(), 2);
        assert!(!place.record().exists(), "with the last service the record goes");

        // `lvs_flush`: everything that is not wanted goes.
        let wanted = table(vec![(tcp(80), picture("rr", &[("10.1.0.2", 8080, NAT, 1)]))]);
        let mut all = Ipvs::open(place.recorded()).await.unwrap();
        all.start(wanted, true).await.unwrap();
        assert_eq!(place.table(), ["-A -t 10.0.0.1:80 -s rr", "-a -t 10.0.0.1:80 -r 10.1.0.2:8080 -m -w 1"]);
        all.flush().await.unwrap();
        assert_eq!(place.table(), [""; 0]);
    });
}

#[test]
fn what_another_program_takes_out_is_put_back_and_what_it_adds_stays() {
    let Some(place) = Place::new("others") else { return };
    runtime(async {
        let servers = [("10.1.0.2", 80, NAT, 1), ("10.1.0.3", 80, NAT, 2)];
        let wanted = table(vec![(tcp(80), picture("rr", &servers)), (tcp(81), picture("rr", &servers))]);
        let mut ipvs = started(place.settings(), wanted.clone()).await;
        let whole = place.table();
        place.run("ipvsadm", &["-d", "-t", "10.0.0.1:80", "-r", "10.1.0.2:80"]);
        place.run("ipvsadm", &["-e", "-t", "10.0.0.1:80", "-r", "10.1.0.3:80", "-m", "-w", "7"]);
        place.run("ipvsadm", &["-a", "-t", "10.0.0.1:80", "-r", "10.1.0.9:80", "-m"]);
        place.run("ipvsadm", &["-D", "-t", "10.0.0.1:81"]);
        place.run("ipvsadm", &["-A", "-t", "10.0.0.3:1", "-s", "rr"]);
        let compared = ipvs.compare().await.unwrap();
        assert_eq!(compared.refused, []);
        let said: Vec<String> = compared.corrected.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "real server 10.1.0.3:80 of 10.0.0.1:tcp:80 was changed in the kernel's table by another program; it is set right",
                "real server 10.1.0.2:80 of 10.0.0.1:tcp:80 was removed from the kernel's table by another program; it is put back",
                "virtual server 10.0.0.1:tcp:81 was removed from the kernel's table by another program; it is put back",
            ]
        );
        let mut expected = whole.clone();
        expected.insert(3, "-a -t 10.0.0.1:80 -r 10.1.0.9:80 -m -w 1".into());
        expected.push("-A -t 10.0.0.3:1 -s rr".into());
        assert_eq!(place.table(), expected);
        assert_eq!(ipvs.compare().await.unwrap().corrected, []);

        // Between two comparisons, when a picture changes: the kernel says that the table is another one.
        place.run("ipvsadm", &["-D", "-t", "10.0.0.1:80"]);
        let changed = Arc::new(picture("rr", &[("10.1.0.2", 80, NAT, 5), ("10.1.0.4", 80, NAT, 1)]));
        let applied = ipvs.apply([(tcp(80), Some(changed))]).await;
        assert!(applied.iter().all(|applied| applied.refused.is_empty()), "{applied:?}");
        place.run("ipvsadm", &["-a", "-t", "10.0.0.1:81", "-r", "10.1.0.5:80", "-m", "-w", "3"]);
        let added = Arc::new(picture("rr", &[("10.1.0.5", 80, NAT, 5)]));
        let applied = ipvs.apply([(tcp(81), Some(added))]).await;
        assert!(applied.iter().all(|applied| applied.refused.is_empty()), "{applied:?}");
        assert_eq!(
            place.table(),
            [
                "-A -t 10.0.0.1:80 -s rr",
                "-a -t 10.0.0.1:80 -r 10.1.0.2:80 -m -w 5",
                "-a -t 10.0.0.1:80 -r 10.1.0.4:80 -m -w 1",
                "-A -t 10.0.0.1:81 -s rr",
                "-a -t 10.0.0.1:81 -r 10.1.0.5:80 -m -w 5",
                "-A -t 10.0.0.3:1 -s rr",
            ]
        );
    });
}

#[test]
fn what_the_kernel_refuses_is_told_for_the_server_and_the_rest_is_done() {
    let Some(place) = Place::new("refused") else { return };
    runtime(async {
        let mut odd = picture("rr", &[("10.1.0.2", 80, NAT, 1), ("224.0.0.5", 80, NAT, 1), ("10.1.0.3", 80, NAT, 1)]);
        odd.destinations.get_mut(&(ip("10.1.0.3"), 80)).unwrap().lower_threshold = 5;
        let mut ipvs = Ipvs::open(place.settings()).await.unwrap();
        let wanted = table(vec![(tcp(80), odd), (tcp(81), picture("nosuch", &[("10.1.0.2", 80, NAT, 1)]))]);
        let compared = ipvs.start(wanted.clone(), false).await.unwrap();
        let lines: Vec<String> = compared.refused.iter().map(|refusal| refusal.line()).collect();
        assert_eq!(
            lines,
            [
                "IPVS cmd IP_VS_SO_SET_ADDDEST(1159) error: Numerical result out of range(34) (10.0.0.1:tcp:80 -> 10.1.0.3:80)",
                "IPVS cmd IP_VS_SO_SET_ADDDEST(1159) error: Invalid operation.  Possibly wrong module version, address not unicast, ...(22) (10.0.0.1:tcp:80 -> 224.0.0.5:80)",
                "IPVS cmd IP_VS_SO_SET_ADD(1154) error: Scheduler or persistence engine not found(2) (10.0.0.1:tcp:81)",
            ]
        );
        assert_eq!(place.table(), ["-A -t 10.0.0.1:80 -s rr", "-a -t 10.0.0.1:80 -r 10.1.0.2:80 -m -w 1"]);
        // Each change tries again, and says what it got.
        let applied = ipvs.apply(wanted.iter().map(|(key, picture)| (*key, Some(picture.clone())))).await;
        let outcomes: Vec<_> = applied.iter().map(|applied| applied.outcome()).collect();
        assert_eq!(outcomes[0].service, None);
        assert_eq!(outcomes[0].refused, [((ip("10.1.0.3"), 80), libc::ERANGE), ((ip("224.0.0.5"), 80), libc::EINVAL)]);
        assert_eq!((outcomes[1].service, outcomes[1].refused.len()), (Some(libc::ENOENT), 0));
        assert_eq!(ipvs.compare().await.unwrap().corrected, [], "what never was there was not taken away");
    });
}

#[test]
fn what_serves_stays_while_what_was_to_come_in_is_refused() {
    let Some(place) = Place::new("hold") else { return };
    runtime(async {
        let mut ipvs = Ipvs::open(place.settings()).await.unwrap();
        let sorry = table(vec![(tcp(80), picture("rr", &[("10.1.0.9", 80, NAT, 1)]))]);
        ipvs.start(sorry, false).await.unwrap();
        let refused = table(vec![(tcp(80), picture("rr", &[("224.0.0.5", 80, NAT, 1)]))]);
        let applied = ipvs.apply(refused.iter().map(|(key, picture)| (*key, Some(picture.clone())))).await;
        assert_eq!(applied[0].outcome().refused, [((ip("224.0.0.5"), 80), libc::EINVAL)]);
        assert_eq!(place.table(), ["-A -t 10.0.0.1:80 -s rr", "-a -t 10.0.0.1:80 -r 10.1.0.9:80 -m -w 1"]);
        // Nobody wants it in any more: not for ever.
        ipvs.compare().await.unwrap();
        assert_eq!(place.table(), ["-A -t 10.0.0.1:80 -s rr"]);
    });
}

#[test]
fn who_has_no_permission_is_told_so() {
    let Some(place) = Place::new("permission") else { return };
    let (settings, nowhere) =
        (place.settings(), Settings { namespace: Some("no-such-namespace".into()), ..place.settings() });
    assert!(matches!(runtime(Ipvs::open(nowhere)), Err(Trouble::Namespace { .. })));
    let name = place.name.clone();
    let outcome = std::thread::spawn(move || {
        namespace::enter(&name).unwrap();
        caps::clear(None, caps::CapSet::Effective).unwrap();
        runtime(Ipvs::open(Settings { namespace: None, ..settings })).map(drop)
    });
    assert!(matches!(outcome.join().unwrap(), Err(Trouble::NotPermitted)));
}

#[test]
fn the_synchronisation_follows_the_role_and_is_not_started_twice() {
    let Some(place) = Place::new("sync") else { return };
    let settings = SyncDaemon {
        interface: IfName::new("net0").unwrap(),
        instance: None,
        id: Some(5),
        max_length: None,
        port: None,
        ttl: None,
        group: None,
    };
    let both = |master, backup| Sync { master, backup, settings: settings.clone() };
    let shown = |place: &Place| place.run("ipvsadm", &["-Ln", "--daemon"]);
    const MASTER: &str = "master sync daemon (mcast=net0, syncid=5, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)\n";
    let backup = MASTER.replace("master", "backup");
    runtime(async {
        let mut ipvs = Ipvs::open(place.settings()).await.unwrap();
        ipvs.synchronise(Some(&both(true, true))).await.unwrap();
        assert_eq!(shown(&place), format!("{MASTER}{backup}"));
        ipvs.synchronise(Some(&both(true, true))).await.unwrap();
        ipvs.synchronise(Some(&both(false, true))).await.unwrap();
        assert_eq!(shown(&place), backup);
        // Left by a killed process, as it is wanted: adopted.
        let mut next = Ipvs::open(place.settings()).await.unwrap();
        next.synchronise(Some(&both(true, false))).await.unwrap();
        assert_eq!(shown(&place), format!("{MASTER}{backup}"), "a role that was not wanted before is not ours to end");
        let mut other = both(true, true);
        other.settings.id = Some(9);
        other.settings.ttl = Some(3);
        next.synchronise(Some(&other)).await.unwrap();
        assert_eq!(
            shown(&place),
            format!("{MASTER}{backup}").replace("syncid=5", "syncid=9").replace("ttl=1", "ttl=3")
        );
        assert_eq!(
            next.daemons().await.unwrap().keys().copied().collect::<Vec<_>>(),
            [SyncRole::Master, SyncRole::Backup]
        );
        next.synchronise(None).await.unwrap();
        assert_eq!(shown(&place), "");
        other.settings.interface = IfName::new("nosuch0").unwrap();
        assert!(matches!(next.synchronise(Some(&other)).await, Err(Trouble::Refused(libc::ENODEV))));
    });
}

/// A thousand servers: put in, changed, taken out in batches, none lost.
#[test]
fn a_thousand_servers_in_batches() {
    let Some(place) = Place::new("many") else { return };
    let servers: Vec<String> = (0..100).map(|n| format!("10.2.0.{}", n + 1)).collect();
    let all = |weight| {
        let list: Vec<_> = servers.iter().map(|at| (at.as_str(), 80, NAT, weight)).collect();
        table((1..=10).map(|port| (tcp(port), picture("wlc", &list))).collect())
    };
    runtime(async {
        let began = std::time::Instant::now();
        let mut ipvs = started(place.settings(), all(1)).await;
        println!("1,000 servers of 10 services put in: {:?}", began.elapsed());
        assert_eq!(place.table().len(), 1010);
        let began = std::time::Instant::now();
        let compared = ipvs.compare().await.unwrap();
        println!("compared: {:?}", began.elapsed());
        assert_eq!((compared.corrected.len(), compared.refused.len()), (0, 0));
        let applied = ipvs.apply(all(2).into_iter().map(|(key, picture)| (key, Some(picture)))).await;
        assert!(applied.iter().all(|applied| applied.refused.is_empty()));
        assert_eq!(place.table().iter().filter(|line| line.ends_with("-w 2")).count(), 1000);
        let seen = ipvs.seen().await.unwrap();
        assert_eq!(seen.services.values().map(|service| service.destinations.len()).sum::<usize>(), 1000);
        let _ = ipvs.apply(all(2).into_keys().map(|key| (key, None))).await;
        assert_eq!(place.table().len(), 0);
    });
}

#[test]
fn marks_are_in_the_ruleset_as_keepalived_s_and_gone_after() {
    let Some(place) = Place::new("marks") else { return };
    let settings = MarkSettings { table: "keepalived_ipvs".into(), priority: -1, start: 1000, counters: false };
    let element = |protocol, first: &str, last: &str, port, mark| MarkElement {
        protocol,
        first: ip(first),
        last: ip(last),
        port,
        mark,
    };
    let marks = |elements| Marks { settings: settings.clone(), elements };
    let mut elements = Vec::new();
    for (protocol, mark) in [(Protocol::Tcp, 1000), (Protocol::Udp, 1001)] {
        elements.push(element(protocol, "10.0.0.1", "10.0.0.3", Some(90), mark));
        elements.push(element(protocol, "10.0.0.9", "10.0.0.9", Some(91), mark));
    }
    // As `nft list ruleset` showed it of keepalived's table.
    const LISTED: &str = "\
table ip keepalived_ipvs {
	map tcp_map {
		type ipv4_addr . inet_service : mark
		flags interval
		elements = { 10.0.0.1-10.0.0.3 . 90 : 0x000003e8,
			     10.0.0.9 . 91 : 0x000003e8 }
	}

	map udp_map {
		type ipv4_addr . inet_service : mark
		flags interval
		elements = { 10.0.0.1-10.0.0.3 . 90 : 0x000003e9,
			     10.0.0.9 . 91 : 0x000003e9 }
	}

	chain in {
		type filter hook input priority filter - 1; policy accept;
		meta mark set ip daddr . tcp dport map @tcp_map return
		meta mark set ip daddr . udp dport map @udp_map return
	}
}
";
    namespace::inside(&place.name, || {
        let list = || String::from_utf8(Command::new("nft").args(["list", "ruleset"]).output().unwrap().stdout).unwrap();
        let mut tables = MarkTables::default();
        // A killed process's, with a rule too many.
        tables.hold(Some(&marks(elements.clone()))).unwrap();
        let rule = "meta mark set ip daddr . tcp dport map @tcp_map return";
        let rule: Vec<&str> = ["add", "rule", "ip", "keepalived_ipvs", "in"].into_iter().chain(rule.split(' ')).collect();
        assert!(Command::new("nft").args(rule).status().unwrap().success());
        let mut tables = MarkTables::default();
        tables.clear(&settings);
        assert_eq!(list(), "");
        tables.hold(Some(&marks(elements.clone()))).unwrap();
        assert_eq!(list(), LISTED);
        // Entries come and go; one without a port has a map of its own, asked after the other.
        elements[1].first = ip("10.0.0.8");
        elements.push(element(Protocol::Tcp, "10.0.0.1", "10.0.0.1", None, 1000));
        elements.push(element(Protocol::Tcp, "2001:db8::1", "2001:db8::1:0", Some(90), 1000));
        tables.hold(Some(&marks(elements.clone()))).unwrap();
        let listed = list();
        for part in [
            "10.0.0.8/31 . 91 : 0x000003e8",
            "10.0.0.1 . 0-65535 : 0x000003e8",
            "map @tcp_map return\n\t\tmeta mark set ip daddr . tcp dport map @tcp_all_ports_map return\n\t\tmeta mark set ip daddr . udp",
            "2001:db8::1-2001:db8::1:0 . 90 : 0x000003e8",
            "meta mark set ip6 daddr . tcp dport map @tcp_map return",
        ] {
            assert!(listed.contains(part), "no {part:?} in\n{listed}");
        }
        elements.pop();
        elements.remove(0);
        tables.hold(Some(&marks(elements.clone()))).unwrap();
        let listed = list();
        assert!(!listed.contains("ip6") && !listed.contains("10.0.0.1-10.0.0.3 . 90 : 0x000003e8"), "{listed}");
        tables.hold(None).unwrap();
        assert_eq!(list(), "");
        // With counters, of rules and elements.
        let counted = Marks { settings: MarkSettings { counters: true, ..settings.clone() }, elements };
        tables.hold(Some(&counted)).unwrap();
        // Three rules and four elements.
        assert_eq!(list().matches("counter packets 0 bytes 0").count(), 7, "{}", list());
        tables.hold(None).unwrap();
        assert_eq!(list(), "");
        Ok(())
    })
    .unwrap();
}

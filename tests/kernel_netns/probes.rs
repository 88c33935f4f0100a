//! Checks of real servers between two namespaces: link-local addresses, interfaces, marks, missing routes, and replies from
//! where they should not come from.

use super::ground::{PATIENCE, Pair, ready, within};
use socket2::{Domain, Protocol, Socket, Type};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use vipd::balance::io::{Attempt, Finding, Stage, Symptom};
use vipd::kernel::namespace;
use vipd::kernel::probes::{Manner, Prober, tls};
use vipd::lab::wire;
use vipd::probe::Plan;
use vipd::spec::IfName;
use vipd::spec::balance::{Checker, CheckerKind, Connection, Endpoint, Timing};
use vipd::time::Interval;

fn ip(place: &str, words: &str) {
    let status = Command::new("ip").args(["-n", place]).args(words.split(' ')).status().unwrap();
    assert!(status.success(), "ip -n {place} {words}");
}

/// The pair, with 10.9.0.1 here and 10.9.0.2, 10.9.0.3 there.
fn addressed() -> Pair {
    let pair = Pair::new();
    ip(&pair.here, "address add 10.9.0.1/24 dev eth0");
    ip(&pair.there, "address add 10.9.0.2/24 dev eth0");
    ip(&pair.there, "address add 10.9.0.3/24 dev eth0");
    pair
}

fn check(kind: CheckerKind, to: IpAddr, port: u16, change: impl FnOnce(&mut Connection)) -> Checker {
    let second = Interval::from_secs(1);
    let mut connection = Connection {
        to: Endpoint { address: to, port: Some(port) },
        from: None,
        from_port: None,
        interface: None,
        timeout: Interval::from_secs(30),
        mark: 0,
    };
    change(&mut connection);
    let timing = Timing { retry: 0, delay_before_retry: second, warmup: second, delay_loop: second };
    Checker { kind, alpha: false, log_all_failures: false, timing: Some(timing), connection: Some(connection) }
}

/// What the check finds from here.
fn finding(pair: &Pair, check: &Checker) -> Finding {
    let plan = Plan::new(check, &tls(None).unwrap()).unwrap();
    thread::scope(|scope| {
        let work = scope.spawn(|| {
            within(&pair.here, async || Prober::default().probe(&plan, Attempt(1), Manner::default()).await.finding)
        });
        work.join().unwrap()
    })
}

/// A listener there; its port.
fn listening(pair: &Pair, at: &str) -> u16 {
    let (tell, told) = mpsc::channel();
    let (place, at) = (pair.there.clone(), at.to_owned());
    thread::spawn(move || {
        namespace::enter(&place).unwrap();
        let listener = TcpListener::bind(at).unwrap();
        tell.send(listener.local_addr().unwrap().port()).unwrap();
        listener.incoming().for_each(drop);
    });
    told.recv().unwrap()
}

#[test]
fn a_link_local_server_is_behind_its_interface() {
    if !ready("a_link_local_server_is_behind_its_interface") {
        return;
    }
    let pair = Pair::new();
    let there = wire::addresses(&pair.there, "eth0").unwrap();
    let to = there.iter().map(|(address, _)| *address).find(IpAddr::is_ipv6).unwrap();
    let port = listening(&pair, "[::]:0");
    let through = |name: &'static str| move |c: &mut Connection| c.interface = IfName::new(name);
    let begun = std::time::Instant::now();
    let found = loop {
        // Our own link-local address is of no use before the kernel has looked for a duplicate.
        match finding(&pair, &check(CheckerKind::Tcp, to, port, through("eth0"))) {
            Finding::NotMade(libc::EADDRNOTAVAIL) if begun.elapsed() < PATIENCE => {
                thread::sleep(std::time::Duration::from_millis(50));
            }
            other => break other,
        }
    };
    assert_eq!(found, Finding::Good);
    assert_eq!(finding(&pair, &check(CheckerKind::Ping, to, port, through("eth0"))), Finding::Good);
    // Through the loopback interface, and through none, it is not there.
    for change in [through("lo"), through("")] {
        let found = finding(&pair, &check(CheckerKind::Tcp, to, port, change));
        assert!(!matches!(found, Finding::Good), "{found:?}");
    }
}

#[test]
fn marks_and_routes_decide_where_a_probe_goes() {
    if !ready("marks_and_routes_decide_where_a_probe_goes") {
        return;
    }
    let pair = addressed();
    let port = listening(&pair, "10.9.0.2:0");
    let to: IpAddr = "10.9.0.2".parse().unwrap();
    ip(&pair.here, "rule add fwmark 7 unreachable");
    for kind in [CheckerKind::Tcp, CheckerKind::Ping] {
        assert_eq!(finding(&pair, &check(kind.clone(), to, port, |_| {})), Finding::Good, "{kind:?}");
        let marked = finding(&pair, &check(kind.clone(), to, port, |c| c.mark = 7));
        assert_eq!(marked, Finding::Bad(Symptom::Unreachable(libc::ENETUNREACH)), "{kind:?}");
        let nowhere = finding(&pair, &check(kind.clone(), "198.51.100.1".parse().unwrap(), port, |_| {}));
        assert_eq!(nowhere, Finding::Bad(Symptom::Unreachable(libc::ENETUNREACH)), "{kind:?}");
    }
}

/// Answers echo requests there from this address, which need not be the one that was asked.
fn answering_from(pair: &Pair, from: &str) {
    let (tell, told) = mpsc::channel();
    let (place, from) = (pair.there.clone(), from.parse::<IpAddr>().unwrap());
    thread::spawn(move || {
        namespace::enter(&place).unwrap();
        let open = || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
        let (ear, mouth) = (open(), open());
        mouth.bind(&SocketAddr::new(from, 0).into()).unwrap();
        tell.send(()).unwrap();
        let mut buffer = [MaybeUninit::uninit(); 2000];
        while let Ok((length, peer)) = ear.recv_from(&mut buffer) {
            // SAFETY: the kernel has written so many bytes.
            let packet: Vec<u8> = buffer[..length].iter().map(|byte| unsafe { byte.assume_init() }).collect();
            let mut reply = packet[20..].to_vec();
            if reply[0] == 8 {
                (reply[0], reply[2], reply[3]) = (0, 0, 0);
                let sum = vipd::wire::checksum::internet(&reply).to_be_bytes();
                reply[2..4].copy_from_slice(&sum);
                mouth.send_to(&reply, &peer).unwrap();
            }
        }
    });
    told.recv().unwrap();
}

#[test]
fn an_echo_reply_from_elsewhere_is_none() {
    if !ready("an_echo_reply_from_elsewhere_is_none") {
        return;
    }
    let pair = addressed();
    // The kernel over there is silent: only the program answers.
    namespace::inside(&pair.there, || std::fs::write("/proc/sys/net/ipv4/icmp_echo_ignore_all", "1")).unwrap();
    let to: IpAddr = "10.9.0.2".parse().unwrap();
    answering_from(&pair, "10.9.0.3");
    let soon = check(CheckerKind::Ping, to, 0, |c| c.timeout = Interval::from_secs(1));
    assert_eq!(finding(&pair, &soon), Finding::Bad(Symptom::TimedOut(Stage::Answer)));
    answering_from(&pair, "10.9.0.2");
    assert_eq!(finding(&pair, &check(CheckerKind::Ping, to, 0, |_| {})), Finding::Good);
}

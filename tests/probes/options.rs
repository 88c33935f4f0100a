//! What a configuration says of connections: source, port, interface, mark; and what is wrong on this machine.

use super::stage::*;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::mpsc;
use vipd::balance::io::{Attempt, Finding, Symptom};
use vipd::kernel::probes::{Manner, Prober};
use vipd::spec::IfName;
use vipd::spec::balance::{Checker, CheckerKind, Connection};

fn with(mut check: Checker, change: impl FnOnce(&mut Connection)) -> Checker {
    change(check.connection.as_mut().unwrap());
    check
}

/// A server that tells who comes.
fn doorman(place: &str) -> (SocketAddr, mpsc::Receiver<SocketAddr>) {
    let (tell, told) = mpsc::channel();
    let address = server_at(place, move |stream: TcpStream| {
        let _ = tell.send(stream.peer_addr().unwrap());
    });
    (address, told)
}

#[test]
fn a_probe_comes_from_where_it_is_told() {
    let (address, told) = doorman("127.0.0.1:0");
    let source: IpAddr = "127.0.0.5".parse().unwrap();
    let bound = with(check(CheckerKind::Tcp, address), |c| c.from = Some(source));
    assert_eq!(finding(&bound), Finding::Good);
    assert_eq!(told.recv().unwrap().ip(), source);

    // The same port each time, though the connection of the last check may still be remembered.
    let (free, hold) = nobody(socket2::Type::STREAM);
    drop(hold);
    let bound = with(check(CheckerKind::Tcp, address), |c| {
        c.from = Some(source);
        c.from_port = Some(free.port());
    });
    assert_eq!(finding(&bound), Finding::Good);
    assert_eq!(told.recv().unwrap(), SocketAddr::new(source, free.port()));
}

#[test]
fn version_6_too() {
    let (address, told) = doorman("[::1]:0");
    let bound = with(check(CheckerKind::Tcp, address), |c| c.from = Some("::1".parse().unwrap()));
    assert_eq!(finding(&bound), Finding::Good);
    assert!(told.recv().unwrap().is_ipv6());
}

#[test]
fn an_interface_and_a_mark() {
    let (address, _told) = doorman("127.0.0.1:0");
    let through = with(check(CheckerKind::Tcp, address), |c| c.interface = IfName::new("lo"));
    assert_eq!(finding(&through), Finding::Good);
    let marked = with(check(CheckerKind::Tcp, address), |c| c.mark = 7);
    match finding(&marked) {
        Finding::NotMade(libc::EPERM) => eprintln!("no permission to set marks: not tried"),
        finding => assert_eq!(finding, Finding::Good),
    }
}

#[test]
fn what_is_wrong_on_this_machine_is_not_the_server_s_fault() {
    let (address, _told) = doorman("127.0.0.1:0");
    let elsewhere = |kind| with(check(kind, address), |c| c.from = Some("192.0.2.77".parse().unwrap()));
    for kind in [CheckerKind::Tcp, smtp(), http(vec![page("/")]), dns()] {
        assert_eq!(finding(&elsewhere(kind.clone())), Finding::NotMade(libc::EADDRNOTAVAIL), "{kind:?}");
    }
    // As keepalived, which makes an exception of UDP_CHECK.
    assert_eq!(finding(&elsewhere(udp(None))), Finding::Bad(Symptom::Unreachable(libc::EADDRNOTAVAIL)));
    let through = with(check(CheckerKind::Tcp, address), |c| c.interface = IfName::new("nosuch0"));
    assert_eq!(finding(&through), Finding::NotMade(libc::ENODEV));
    let local =
        with(check(CheckerKind::Tcp, "[fe80::1]:80".parse().unwrap()), |c| c.interface = IfName::new("nosuch0"));
    assert_eq!(finding(&local), Finding::NotMade(libc::ENODEV));
}

#[test]
fn a_probe_that_is_given_up_closes_its_connection() {
    let (tell, told) = mpsc::channel();
    let address = server(move |mut stream| {
        tell.send("came").unwrap();
        let mut bytes = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut bytes);
        tell.send("went").unwrap();
    });
    let plan = plan(&check(smtp(), address));
    run(async {
        let prober = Prober::default();
        let mut probe = Box::pin(prober.probe(&plan, Attempt(1), Manner::default()));
        let came = tokio::task::spawn_blocking({
            let told = std::sync::Arc::new(std::sync::Mutex::new(told));
            let wait = told.clone();
            move || {
                assert_eq!(wait.lock().unwrap().recv().unwrap(), "came");
                told
            }
        });
        let told = tokio::select! {
            told = came => told.unwrap(),
            report = &mut probe => panic!("{report:?}"),
        };
        // All of its descriptors are closed in what is started meanwhile.
        for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
            let is_socket =
                std::fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"));
            let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", entry.file_name().display()));
            let (true, Ok(info)) = (is_socket, info) else { continue };
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:\t")).unwrap();
            assert!(i64::from_str_radix(flags, 8).unwrap() & i64::from(libc::O_CLOEXEC) != 0, "{info}");
        }
        drop(probe);
        assert_eq!(told.lock().unwrap().recv().unwrap(), "went");
    });
}

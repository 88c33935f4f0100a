//! Servers that nobody wants: slow, endless, rude. None of them may hold up a check of another one, take memory, or panic.

use super::stage::*;
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::thread::sleep;
use std::time::Duration;
use vipd::balance::io::{Attempt, Finding, Stage, Symptom};
use vipd::kernel::probes::{Manner, Prober};
use vipd::spec::balance::{Checker, CheckerKind};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

/// After the request: the beginning, and then this over and over, until it cannot be sent.
fn endless(beginning: &'static [u8], piece: &'static [u8], pause: Duration) -> SocketAddr {
    server(move |mut stream| {
        heard(&mut stream);
        let mut going = stream.write_all(beginning).is_ok();
        while going {
            going = stream.write_all(piece).is_ok();
            sleep(pause);
        }
    })
}

fn silent() -> SocketAddr {
    server(|stream: TcpStream| {
        sleep(Duration::from_secs(3600));
        drop(stream);
    })
}

/// One that greets, and then says yes to everything.
fn greeting(text: &'static [u8]) -> SocketAddr {
    server(move |mut stream| {
        let mut words = [0; 100];
        let _ = stream.write_all(text);
        while matches!(stream.read(&mut words), Ok(1..)) {
            let _ = stream.write_all(b"250 yes\r\n");
        }
    })
}

fn greeting_of_many() -> SocketAddr {
    greeting(b"220-welcome\r\n".repeat(10_000).leak())
}

fn late(stage: Stage) -> Finding {
    Finding::Bad(Symptom::TimedOut(stage))
}

/// What the server does, the check of it, and the finding.
fn rogues() -> Vec<(&'static str, Checker, Finding)> {
    const LOT: &[u8] = &[b'x'; 1 << 16];
    let now = Duration::ZERO;
    let slow = Duration::from_millis(50);
    let brief = Duration::from_millis(1);
    let web = || http(vec![page("/")]);
    let searched = || http(vec![matching("/", "nothing of the kind")]);
    let closed = |stage| Finding::Bad(Symptom::Closed(stage));
    let rst = |after: &'static [u8]| {
        server(move |mut stream: TcpStream| {
            heard(&mut stream);
            let _ = stream.write_all(after);
            // Closing with nothing to linger for is a reset.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        })
    };
    let alert: &[u8] = &[21, 3, 3, 0, 2, 2, 40];
    let no_suite = "no cipher suite in common (RSA key exchange, CBC and DHE suites are not supported), or a certificate is \
                    wanted of us";
    vec![
        ("says nothing", soon(web(), silent()), late(Stage::Answer)),
        ("says nothing to a hello", soon(https(vec![page("/")]), silent()), late(Stage::Tls)),
        ("greets nobody", soon(smtp(), silent()), late(Stage::Answer)),
        (
            "sends a header byte by byte",
            soon(web(), endless(b"HTTP/1.1 200 OK\r\nX:", b"x", slow)),
            late(Stage::Answer),
        ),
        ("sends a body byte by byte", soon(web(), endless(OK, b"x", slow)), late(Stage::Answer)),
        ("sends for ever", soon(web(), endless(OK, LOT, brief)), late(Stage::Answer)),
        ("sends for ever to a regex", soon(searched(), endless(OK, LOT, brief)), late(Stage::Answer)),
        (
            "sends garbage",
            check(web(), endless(b"", b"\x00\xff\x7f", now)),
            Finding::Bad(Symptom::Malformed("not HTTP".into())),
        ),
        (
            "has a header without end",
            check(web(), endless(b"HTTP/1.1 200 OK\r\nX: ", LOT, now)),
            Finding::Bad(Symptom::TooLong(65_536)),
        ),
        ("resets at once", check(web(), rst(b"")), closed(Stage::Answer)),
        (
            "resets in the middle",
            check(web(), rst(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhe")),
            closed(Stage::Answer),
        ),
        ("closes at once", check(web(), answering(b"")), closed(Stage::Answer)),
        (
            "answers a hello with an alert",
            check(https(vec![page("/")]), server(move |mut stream| drop(stream.write_all(alert)))),
            Finding::Bad(Symptom::Tls(no_suite.into())),
        ),
        (
            "speaks plainly to a hello",
            check(
                https(vec![page("/")]),
                server(|mut stream| drop(stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n"))),
            ),
            Finding::Bad(Symptom::Tls("what the server sends is not TLS".into())),
        ),
        ("closes in the hello", check(https(vec![page("/")]), server(drop)), closed(Stage::Tls)),
        (
            "greets for ever",
            check(smtp(), server(|mut stream| while stream.write_all(LOT).is_ok() {})),
            Finding::Bad(Symptom::TooLong(4096)),
        ),
        (
            "greets with lines for ever",
            check(smtp(), server(|mut stream| while stream.write_all(b"220-hello\r\n").is_ok() {})),
            Finding::Bad(Symptom::TooLong(16 * 1024)),
        ),
        (
            "answers with another id",
            soon(
                dns(),
                datagrams(|question, socket, from| {
                    let mut answer = question.to_vec();
                    answer[0] ^= 1;
                    answer[2] |= 0x80;
                    for _ in 0..100 {
                        let _ = socket.send_to(&answer, from);
                    }
                }),
            ),
            late(Stage::Answer),
        ),
        (
            "answers from elsewhere",
            soon(
                dns(),
                datagrams(|question, _, from| {
                    let mut answer = question.to_vec();
                    answer[2] |= 0x80;
                    let _ = UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&answer, from);
                }),
            ),
            late(Stage::Answer),
        ),
        (
            "sends interim answers for ever",
            check(web(), endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", now)),
            Finding::Bad(Symptom::Status(100)),
        ),
        (
            "answers as HTTP/0.9",
            check(web(), answering(b"<html>hello</html>")),
            Finding::Bad(Symptom::Malformed("not HTTP".into())),
        ),
        (
            "sends elsewhere and back again",
            check(web(), answering(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")),
            Finding::Bad(Symptom::Status(302)),
        ),
        (
            "has a chunk of nonsense",
            check(web(), answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n")),
            Finding::Bad(Symptom::Malformed("a chunk without a size".into())),
        ),
        (
            "has a chunk of more bytes than there are numbers",
            check(
                web(),
                answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n"),
            ),
            Finding::Bad(Symptom::Malformed("a chunk without a size".into())),
        ),
        (
            "has a size without an end",
            check(web(), endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0", now)),
            Finding::Bad(Symptom::Malformed("a chunk's size has no end".into())),
        ),
        // keepalived takes what has come, and so do we: the length is told in the transcript.
        (
            "announces more than it sends",
            check(web(), answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhe")),
            Finding::Good,
        ),
        (
            "announces less than it sends",
            check(web(), endless(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", LOT, now)),
            Finding::Good,
        ),
        (
            "announces a length that is none",
            check(web(), answering(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello")),
            Finding::Good,
        ),
        (
            "packs its body",
            check(searched(), answering(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00\xff\x00")),
            Finding::Bad(Symptom::Pattern),
        ),
        (
            "has zeros in its header",
            check(web(), answering(b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\x00\x00: c\r\n\r\nhello")),
            Finding::Good,
        ),
        ("has zeros in its greeting", check(smtp(), greeting(b"220 \x00\x01\xff hello\r\n")), Finding::Good),
        (
            "greets byte by byte",
            soon(
                smtp(),
                server(move |mut stream| {
                    while stream.write_all(b"2").is_ok() {
                        sleep(slow);
                    }
                }),
            ),
            late(Stage::Answer),
        ),
        ("greets in ten thousand lines", check(smtp(), greeting_of_many()), Finding::Bad(Symptom::TooLong(16 * 1024))),
        (
            "greets without a number",
            check(smtp(), greeting(b"hello\r\n")),
            Finding::Bad(Symptom::Malformed("a line without a reply code".into())),
        ),
        // Only the header counts, as with keepalived: what is behind it is not read.
        (
            "answers with a name that points to itself",
            check(
                dns(),
                datagrams(|question, socket, from| {
                    let mut answer = question.to_vec();
                    answer[2] |= 0x80;
                    answer[7] = 1;
                    answer.extend([0xc0, question.len() as u8, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 1, 2, 3, 4]);
                    let _ = socket.send_to(&answer, from);
                }),
            ),
            Finding::Good,
        ),
        (
            "answers with the longest datagram",
            check(udp(Some(&[])), datagrams(|_, socket, from| drop(socket.send_to(&[b'x'; 60_000], from)))),
            Finding::Bad(Symptom::TooLong(60_000)),
        ),
    ]
}

fn peak_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn nobody_holds_up_the_others() {
    let before = peak_kilobytes();
    let good = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let rogues = rogues();
    run(async {
        let prober = Prober::default();
        let plans: Vec<_> = rogues.iter().map(|(_, check, _)| plan(check)).collect();
        let bad = futures_util::future::join_all(
            plans.iter().map(|plan| prober.probe(plan, Attempt(1), Manner { page: None, transcript: true })),
        );
        let plan = plan(&check(http(vec![page("/")]), good));
        let checks = async {
            let mut done = 0;
            for attempt in 0..50 {
                let report = prober.probe(&plan, Attempt(attempt), Manner::default()).await;
                assert_eq!((report.attempt, report.finding), (Attempt(attempt), Finding::Good));
                done += 1;
            }
            done
        };
        let (bad, done) = tokio::join!(bad, checks);
        assert_eq!(done, 50);
        for ((what, _, finding), report) in rogues.iter().zip(bad) {
            assert_eq!(report.finding, *finding, "one that {what}: {:?}", report.transcript);
        }
    });
    let grown = peak_kilobytes().saturating_sub(before);
    assert!(grown < 60_000, "{grown} kB more");
}

#[test]
fn a_hundred_megabytes_pass_through() {
    let before = peak_kilobytes();
    let address = server(|mut stream| {
        heard(&mut stream);
        let _ = stream.write_all(OK);
        for _ in 0..1600 {
            let _ = stream.write_all(&[b'x'; 1 << 16]);
        }
        let _ = stream.write_all(b"end");
    });
    let report = report(&check(http(vec![matching("/", "xend$")]), address));
    assert_eq!(report.finding, Finding::Good, "{:?}", report.transcript);
    let grown = peak_kilobytes().saturating_sub(before);
    assert!(grown < 60_000, "{grown} kB more");
}

#[test]
fn who_waits_for_a_slot_waits_his_turn_and_not_for_ever() {
    let good = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    run(async {
        let prober = Prober::new(2);
        let silent = silent();
        // Longer than anybody who lives takes, on any machine.
        let mut hung = soon(smtp(), silent);
        hung.connection.as_mut().unwrap().timeout = vipd::time::Interval::from_secs(3);
        let hung = plan(&hung);
        // One that has no time at all: it waits no longer than it could take.
        let mut short = check(http(vec![page("/")]), good);
        short.timing.as_mut().unwrap().delay_loop = vipd::time::Interval::from_millis(1);
        short.connection.as_mut().unwrap().timeout = vipd::time::Interval::from_millis(1);
        let (short, long) = (plan(&short), plan(&check(http(vec![page("/")]), good)));
        let hung = futures_util::future::join_all((0..2).map(|n| prober.probe(&hung, Attempt(n), Manner::default())));
        let (hung, short, long) = tokio::join!(
            hung,
            prober.probe(&short, Attempt(8), Manner::default()),
            prober.probe(&long, Attempt(9), Manner::default())
        );
        assert!(hung.iter().all(|report| report.finding == late(Stage::Answer)), "{hung:?}");
        assert_eq!(short.finding, Finding::NotMade(libc::EAGAIN));
        assert_eq!(long.finding, Finding::Good);
        // The time in the queue is not the server's.
        assert!(long.took < hung[0].took, "{:?} {:?}", long.took, hung[0].took);
    });
}

#[test]
fn a_thousand_that_hang_hold_up_nobody() {
    // A listener whose queue is full drops further connections, as a dead server does.
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let dead = listener.local_addr().unwrap().as_socket().unwrap();
    let _filling: Vec<_> = (0..3)
        .map(|_| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&dead.into());
            socket
        })
        .collect();
    let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 4096, 4096);
    let good = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let mut dying = check(CheckerKind::Tcp, dead);
    dying.connection.as_mut().unwrap().timeout = vipd::time::Interval::from_secs(3);
    run(async {
        let prober = Prober::default();
        let plan_of_dead = plan(&dying);
        let hung = futures_util::future::join_all(
            (0..1000).map(|n| prober.probe(&plan_of_dead, Attempt(n), Manner::default())),
        );
        let plan = plan(&check(http(vec![page("/")]), good));
        let checks = async {
            for attempt in 0..20 {
                let report = prober.probe(&plan, Attempt(attempt), Manner::default()).await;
                assert_eq!(report.finding, Finding::Good);
            }
            vipd::kernel::clock::now()
        };
        let (hung, checked) = tokio::join!(async { (hung.await, vipd::kernel::clock::now()) }, checks);
        assert!(hung.0.iter().all(|report| report.finding == late(Stage::Connect)), "{:?}", hung.0[0]);
        assert!(checked < hung.1, "checks of a server that lives were done after the last of those that hang");
    });
}

//! Servers that are well, and servers that are down.

use super::stage::*;
use socket2::Type;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command};
use vipd::balance::io::{Finding, Stage, Symptom};
use vipd::probe::Said;
use vipd::spec::balance::{CheckerKind, Page};

#[test]
fn a_port_that_is_open_or_not() {
    let open = server(drop);
    let (closed, _hold) = nobody(Type::STREAM);
    assert_eq!(finding(&check(CheckerKind::Tcp, open)), Finding::Good);
    for kind in [CheckerKind::Tcp, smtp(), http(vec![page("/")]), https(vec![page("/")])] {
        assert_eq!(finding(&check(kind, closed)), Finding::Bad(Symptom::Refused));
    }
}

#[test]
fn a_tcp_check_sends_nothing_and_ends_in_order() {
    let (tell, told) = std::sync::mpsc::channel();
    let open = server(move |mut stream| {
        let mut bytes = Vec::new();
        // A reset would be an error.
        tell.send(std::io::Read::read_to_end(&mut stream, &mut bytes).map(|_| bytes).unwrap()).unwrap();
    });
    assert_eq!(finding(&check(CheckerKind::Tcp, open)), Finding::Good);
    assert_eq!(told.recv().unwrap(), b"");
}

/// nginx with a folder of pages; ends with the value.
struct Nginx {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Nginx {
    /// `None`, and said so, where nginx is not installed.
    fn start() -> Option<Nginx> {
        let folder = std::env::temp_dir().join(format!("vipd-probes-nginx-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("pages")).unwrap();
        std::fs::write(folder.join("pages/hello"), "hello\n").unwrap();
        std::fs::write(folder.join("pages/large"), "x".repeat(3_000_000) + "end").unwrap();
        for _ in 0..10 {
            // The port may be another's when nginx comes to it; then another one.
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let text = format!(
                "daemon off; master_process off; pid {0}/pid; error_log {0}/error;\nevents {{}}\nhttp {{ access_log off; \
                 client_body_temp_path {0}/a; proxy_temp_path {0}/b; fastcgi_temp_path {0}/c; uwsgi_temp_path {0}/d; \
                 scgi_temp_path {0}/e;\n server {{ listen 127.0.0.1:{port}; root {0}/pages; location /sick {{ return 503; }} \
                 location /moved {{ return 302 /hello; }} location /empty {{ return 204; }} }} }}\n",
                folder.display()
            );
            std::fs::write(folder.join("conf"), text).unwrap();
            let mut child =
                match Command::new("nginx").arg("-c").arg(folder.join("conf")).arg("-p").arg(&folder).spawn() {
                    Ok(child) => child,
                    Err(error) => {
                        assert!(std::env::var_os("VIPD_REQUIRE_NETNS").is_none(), "nginx is not installed");
                        eprintln!("nginx is not installed ({error}): not tried");
                        return None;
                    }
                };
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            loop {
                if std::net::TcpStream::connect(address).is_ok() {
                    return Some(Nginx { child, folder, address });
                }
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
        panic!("nginx does not start: {}", std::fs::read_to_string(folder.join("error")).unwrap());
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn pages_of_nginx() {
    let Some(nginx) = Nginx::start() else { return };
    let hello = |digit| Page { digest: Some([digit; 16]), ..page("/hello") };
    let md5 = 0xb194_6ac9_2492_d234_7c62_35b4_d261_1184_u128.to_be_bytes();
    let status = |code| Finding::Bad(Symptom::Status(code));
    for (pages, finding) in [
        (vec![page("/hello")], Finding::Good),
        (vec![Page { digest: Some(md5), ..page("/hello") }], Finding::Good),
        (vec![hello(0)], Finding::Bad(Symptom::Digest(md5))),
        (vec![matching("/hello", "^hel+o$")], Finding::Good),
        (vec![matching("/hello", "goodbye")], Finding::Bad(Symptom::Pattern)),
        (vec![matching("/large", "^x{5}.*xend$")], Finding::Bad(Symptom::TooLong(256 * 1024))),
        (vec![matching("/large", "xend$")], Finding::Good),
        (vec![page("/empty")], Finding::Good),
        (vec![page("/sick")], status(503)),
        (vec![page("/moved")], status(302)),
        (vec![page("/nowhere")], status(404)),
        (vec![Page { status: vec![(200, 200), (404, 404)], ..page("/nowhere") }], Finding::Good),
        (vec![page("/hello"), page("/empty"), page("/sick"), page("/hello")], status(503)),
    ] {
        let report = report(&check(http(pages.clone()), nginx.address));
        assert_eq!(report.finding, finding, "{pages:?}: {:?}", report.transcript);
        let at = pages.iter().position(|page| &*page.path == "/sick").unwrap_or(pages.len() - 1);
        assert_eq!(report.page, at);
    }
}

#[test]
fn a_transcript_tells_what_was_said() {
    let address = answering(b"HTTP/1.0 200 OK\r\nServer: test\r\nContent-Length: 5\r\n\r\nhello");
    let report = report(&check(http(vec![page("/x")]), address));
    let said: Vec<String> = report
        .transcript
        .utterances()
        .iter()
        .map(|utterance| match &utterance.said {
            Said::Sent(text) => format!("> {text}"),
            Said::Received(text) => format!("< {text}"),
            Said::Note(text) => format!("- {}", text.split(" from ").next().unwrap()),
        })
        .collect();
    assert_eq!(
        said,
        [
            format!("- connected to {address}"),
            format!("> GET /x HTTP/1.0\nUser-Agent: KeepAliveClient\nHost: {address}"),
            "< HTTP/1.0 200 OK\nServer: test\nContent-Length: 5".into(),
            "< body of 5 bytes".into(),
        ]
    );
}

/// A mail server that knows what it is asked.
fn mail(greeting: &'static str, hello: &'static str) -> SocketAddr {
    server(move |mut stream| {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        stream.write_all(greeting.as_bytes()).unwrap();
        if lines.next().is_some_and(|line| line.unwrap() == "HELO smtpchecker.keepalived.org") {
            stream.write_all(hello.as_bytes()).unwrap();
        }
        if lines.next().is_some_and(|line| line.is_ok_and(|line| line == "QUIT")) {
            stream.write_all(b"221 bye\r\n").unwrap();
        }
    })
}

#[test]
fn mail_servers() {
    for (greeting, hello, finding) in [
        ("220 mail\r\n", "250 mail\r\n", Finding::Good),
        ("220-mail\r\n220 ready\r\n", "250-mail\r\n250 SIZE\r\n", Finding::Good),
        ("220\r\n", "250\r\n", Finding::Good),
        ("554 go away\r\n", "", Finding::Bad(Symptom::Answer(554))),
        ("220 mail\r\n", "501 who?\r\n", Finding::Bad(Symptom::Answer(501))),
        ("SSH-2.0-x\r\n", "", Finding::Bad(Symptom::Malformed("a line without a reply code".into()))),
    ] {
        assert_eq!(super::stage::finding(&check(smtp(), mail(greeting, hello))), finding, "{greeting:?} {hello:?}");
    }
}

/// A UDP port that nobody has: one that was just given back, of an address at which nothing else here is opened.
fn unbound() -> SocketAddr {
    let place = SocketAddr::from(([127, 0, 7, 7], 0));
    std::net::UdpSocket::bind(place).unwrap().local_addr().unwrap()
}

/// A name server that answers with this RCODE.
fn names(rcode: u8) -> SocketAddr {
    datagrams(move |question, socket, from| {
        let mut answer = question.to_vec();
        answer[2] |= 0x80;
        answer[3] = 0x80 | rcode;
        socket.send_to(&answer, from).unwrap();
    })
}

#[test]
fn name_servers() {
    let closed = unbound();
    assert_eq!(finding(&check(dns(), names(0))), Finding::Good);
    assert_eq!(finding(&check(dns(), names(3))), Finding::Bad(Symptom::Answer(3)));
    assert_eq!(finding(&check(dns(), closed)), Finding::Bad(Symptom::Refused));
    let silent = datagrams(|_, _, _| {});
    assert_eq!(finding(&soon(dns(), silent)), Finding::Bad(Symptom::TimedOut(Stage::Answer)));
}

#[test]
fn datagrams_and_replies() {
    let closed = unbound();
    let echo = datagrams(|bytes, socket, from| {
        socket.send_to(bytes, from).unwrap();
    });
    let silent = datagrams(|_, _, _| {});
    let late = Finding::Bad(Symptom::TimedOut(Stage::Answer));
    for (kind, to, finding) in [
        (udp(None), closed, Finding::Bad(Symptom::Refused)),
        (udp(None), echo, Finding::Good),
        (udp(None), silent, Finding::Good),
        (udp(Some(&[])), echo, Finding::Good),
        (udp(Some(&[])), silent, late),
        (udp(Some(&[(b'k', 0xff), (0, 0xf), (0x0e, 0x0f)])), echo, Finding::Bad(Symptom::Pattern)),
        (udp(Some(&[(b'k', 0xff), (0, 0), (b'e', 0x0f)])), echo, Finding::Good),
    ] {
        // Who answers may be slow on a loaded machine.
        let patience = if to == silent { soon } else { check };
        assert_eq!(super::stage::finding(&patience(kind.clone(), to)), finding, "{kind:?} {to}");
    }
}

#[test]
fn pings() {
    // Needs root, or the machine's sysctl.
    let (v4, v6) = (SocketAddr::from(([127, 0, 0, 1], 9)), "[::1]:9".parse().unwrap());
    for to in [v4, v6] {
        let report = report(&check(CheckerKind::Ping, to));
        match report.finding {
            Finding::NotMade(libc::EACCES | libc::EPERM) => eprintln!("no ICMP socket here: not tried"),
            finding => assert_eq!(finding, Finding::Good, "{to} {:?}", report.transcript),
        }
    }
}

/// An ICMP message about the datagram that came from `prober` to `server`, as a router on the way would send it.
fn icmp_about(kind: u8, code: u8, prober: SocketAddr, server: SocketAddr) -> bool {
    let Ok(raw) = socket2::Socket::new(socket2::Domain::IPV4, Type::RAW, Some(socket2::Protocol::ICMPV4)) else {
        return false;
    };
    let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
    message.extend([0x45, 0, 0, 60, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
    message.extend(prober.port().to_be_bytes());
    message.extend(server.port().to_be_bytes());
    message.extend([0, 40, 0, 0]);
    let sum = vipd::wire::checksum::internet(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    raw.send_to(&message, &SocketAddr::from(([127, 0, 0, 1], 0)).into()).is_ok()
}

#[test]
fn icmp_errors_count_by_their_kind() {
    for (kind, code, finding) in [
        // Time exceeded: nothing is known of the server, whose reply comes later.
        (11, 0, Finding::Good),
        (3, 1, Finding::Bad(Symptom::Unreachable(libc::EHOSTUNREACH))),
        (3, 13, Finding::Bad(Symptom::Unreachable(libc::EHOSTUNREACH))),
        (3, 3, Finding::Bad(Symptom::Refused)),
    ] {
        let allowed = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
        let may = allowed.clone();
        let server = datagrams(move |bytes, socket, prober| {
            may.store(
                icmp_about(kind, code, prober, socket.local_addr().unwrap()),
                std::sync::atomic::Ordering::SeqCst,
            );
            std::thread::sleep(std::time::Duration::from_millis(100));
            socket.send_to(bytes, prober).unwrap();
        });
        let seen = super::stage::finding(&check(udp(Some(&[(b'k', 0xff)])), server));
        if !allowed.load(std::sync::atomic::Ordering::SeqCst) {
            eprintln!("no raw sockets here: not tried");
            return;
        }
        assert_eq!(seen, finding, "type {kind} code {code}");
    }
}

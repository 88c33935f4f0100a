//! What the tests share: checks from a few words, a runtime, servers.

use socket2::{Domain, Socket, Type};
use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use vipd::balance::io::{Attempt, Finding};
use vipd::kernel::probes::{Manner, Prober, Report, tls};
use vipd::probe::Plan;
use vipd::spec::balance::{
    Checker, CheckerKind, Connection, Endpoint, Http, HttpProtocol, Page, Pattern, Timing, TlsFiles,
};
use vipd::time::Interval;

pub fn page(path: &str) -> Page {
    Page {
        path: path.into(),
        virtual_host: None,
        digest: None,
        status: vec![(200, 299)],
        pattern: None,
        tls_compliant: false,
    }
}

pub fn matching(path: &str, text: &str) -> Page {
    let pattern = Pattern { text: text.into(), ..Pattern::default() };
    Page { pattern: Some(pattern), ..page(path) }
}

pub fn http(pages: Vec<Page>) -> CheckerKind {
    let protocol = HttpProtocol::V10;
    CheckerKind::Http(Http { tls: false, protocol, server_name: None, fast_recovery: false, pages })
}

pub fn https(pages: Vec<Page>) -> CheckerKind {
    let protocol = HttpProtocol::V11;
    CheckerKind::Http(Http { tls: true, protocol, server_name: None, fast_recovery: false, pages })
}

pub fn smtp() -> CheckerKind {
    CheckerKind::Smtp { helo: "smtpchecker.keepalived.org".into() }
}

pub fn udp(reply: Option<&[(u8, u8)]>) -> CheckerKind {
    CheckerKind::Udp { payload: [].into(), reply: reply.map(Into::into), shortest: 0, longest: 255 }
}

pub fn dns() -> CheckerKind {
    CheckerKind::Dns { record: "A", name: "www.example.com".into() }
}

/// Long enough for a loaded machine; who is silent on purpose gets [`soon`].
pub fn check(kind: CheckerKind, to: SocketAddr) -> Checker {
    let timing = Timing {
        retry: 1,
        delay_before_retry: Interval::from_secs(1),
        warmup: Interval::from_secs(1),
        delay_loop: Interval::from_secs(60),
    };
    let connection = Connection {
        to: Endpoint { address: to.ip(), port: Some(to.port()) },
        from: None,
        from_port: None,
        interface: None,
        timeout: Interval::from_secs(30),
        mark: 0,
    };
    Checker { kind, alpha: false, log_all_failures: false, timing: Some(timing), connection: Some(connection) }
}

/// The same, with little patience: 300 ms for each stage, 900 ms for all.
pub fn soon(kind: CheckerKind, to: SocketAddr) -> Checker {
    let mut check = check(kind, to);
    check.connection.as_mut().unwrap().timeout = Interval::from_millis(300);
    check.timing.as_mut().unwrap().delay_loop = Interval::from_millis(500);
    check
}

pub fn plan(check: &Checker) -> Plan {
    plan_with(check, None)
}

pub fn plan_with(check: &Checker, files: Option<&TlsFiles>) -> Plan {
    Plan::new(check, &tls(files).unwrap()).unwrap()
}

pub const SPOKEN: Manner = Manner { page: None, transcript: true };

pub fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

pub fn report(check: &Checker) -> Report {
    run(async { Prober::default().probe(&plan(check), Attempt(1), SPOKEN).await })
}

pub fn finding(check: &Checker) -> Finding {
    report(check).finding
}

/// A server: what it does with each connection.
pub fn server(serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    server_at("127.0.0.1:0", serve)
}

pub fn server_at(place: &str, serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind(place).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Up to the empty line of a request.
pub fn heard(stream: &mut TcpStream) -> Vec<u8> {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        request.extend(byte);
    }
    request
}

/// Hears a request and gives the same answer each time.
pub fn answering(answer: &'static [u8]) -> SocketAddr {
    server(move |mut stream| {
        heard(&mut stream);
        let _ = stream.write_all(answer);
    })
}

/// A port that nobody listens at, and that nobody gets while the socket lives.
pub fn nobody(kind: Type) -> (SocketAddr, Socket) {
    let socket = Socket::new(Domain::IPV4, kind, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    (socket.local_addr().unwrap().as_socket().unwrap(), socket)
}

/// A UDP server: what it answers to a datagram, if anything.
pub fn datagrams(answer: impl Fn(&[u8], &UdpSocket, SocketAddr) + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2000];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            answer(&buffer[..length], &socket, from);
        }
    });
    address
}

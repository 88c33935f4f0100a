//! What servers may say to a check: any bytes, in any pieces. No dialogue panics, each ends, and what it finds does not
//! depend on how the bytes were cut.

use std::sync::OnceLock;
use vipd::balance::io::Finding;
use vipd::probe::{Dialogue, Failure, Heard, Numbers, Plan, Step, Transcript, tls};
use vipd::spec::balance::{Checker, CheckerKind, Connection, Endpoint, Http, HttpProtocol, Page, Pattern, Timing};
use vipd::time::{Interval, Time};

const NUMBERS: Numbers = Numbers { id: 0x4142, sequence: 0x4344 };
/// A dialogue that asks for more steps than this and one a piece goes round in circles.
const STEPS: usize = 64;

fn plan(kind: CheckerKind, address: &str) -> Plan {
    let seconds = Interval::from_secs;
    let timing = Timing { retry: 0, delay_before_retry: seconds(1), warmup: seconds(1), delay_loop: seconds(60) };
    let connection = Connection {
        to: Endpoint { address: address.parse().expect("an address"), port: Some(80) },
        from: None,
        from_port: None,
        interface: None,
        timeout: seconds(5),
        mark: 0,
    };
    let checker =
        Checker { kind, alpha: false, log_all_failures: false, timing: Some(timing), connection: Some(connection) };
    static CLIENT: OnceLock<tls::Client> = OnceLock::new();
    let tls = CLIENT.get_or_init(|| tls::Client::new(None).expect("TLS without a certificate of our own"));
    Plan::new(&checker, tls).expect("a check that opens connections")
}

/// What is found when the server says these pieces, one a wait, and then `last`.
fn play<'a>(dialogue: &mut dyn Dialogue, pieces: impl IntoIterator<Item = &'a [u8]>, last: Heard<'a>) -> Finding {
    let (mut pieces, mut talk) = (pieces.into_iter(), Transcript::kept());
    let (mut steps, mut said, mut now) = (0, 0, Time::from_micros(1));
    let mut heard = Heard::Begin;
    loop {
        steps += 1;
        assert!(steps <= STEPS + 3 * said, "no end after {steps} steps");
        now += Interval::from_micros(1);
        heard = match dialogue.next(now, heard, &mut talk) {
            Step::Done(finding) => {
                assert!(talk.utterances().len() <= 64);
                return finding;
            }
            Step::Connect { until } => {
                assert!(until > now);
                Heard::Connected
            }
            Step::Send { bytes, until } => {
                assert!(until > now && !bytes.is_empty());
                Heard::Sent
            }
            Step::Listen { until } => {
                assert!(until > now);
                match pieces.next() {
                    Some(piece) => {
                        said += 1;
                        Heard::Bytes(piece)
                    }
                    None => last,
                }
            }
        };
    }
}

fn is_good(finding: &Finding) -> bool {
    matches!(finding, Finding::Good)
}

/// Whole, and in pieces of this size: the same verdict.
fn both_ways(plan: &Plan, stream: &[u8], size: u8) {
    if stream.is_empty() {
        return;
    }
    let ask = |size| play(plan.begin(NUMBERS).as_mut(), stream.chunks(size), Heard::Ended);
    let (whole, cut) = (ask(stream.len()), ask(usize::from(size).max(1)));
    assert_eq!(is_good(&whole), is_good(&cut), "{whole:?} and {cut:?} by pieces of {size}");
    play(plan.begin(NUMBERS).as_mut(), stream.chunks(usize::from(size).max(1)), Heard::Failed(Failure::Reset));
}

const PATTERNS: &[(&str, &[&str])] = &[
    ("hel+o$", &[]),
    ("^a.*b", &["dotall"]),
    (r"(?<=ab)c\b", &["caseless"]),
    (r"(\w+) \1", &[]),
    ("[ä-ü]{2}", &["utf", "ucp"]),
    ("^x$", &["multiline"]),
    ("(?i)<title>[^<]*ok[^<]*</title>", &[]),
    (r"a(?!b)", &["no_start_optimize"]),
];

fn pattern(choice: u8) -> Pattern {
    let (text, options) = PATTERNS[usize::from(choice) % PATTERNS.len()];
    Pattern {
        text: text.into(),
        options: options.iter().map(|word| (*word).into()).collect(),
        must_not_match: choice & 0x40 != 0,
        first_offset: u64::from(choice >> 3 & 3),
        last_offset: None,
        stack: None,
    }
}

fn web(tls: bool, pages: Vec<Page>) -> CheckerKind {
    let protocol = HttpProtocol::V11;
    CheckerKind::Http(Http { tls, protocol, server_name: None, fast_recovery: false, pages })
}

fn page(digest: bool, pattern: Option<Pattern>) -> Page {
    Page {
        path: "/".into(),
        virtual_host: None,
        digest: digest.then_some([7; 16]),
        status: vec![(200, 299), (404, 404)],
        pattern,
        tls_compliant: true,
    }
}

/// HTTP: what is wanted, size of the pieces, the stream; also asked for two pages.
pub fn http(data: &[u8]) {
    let [choice, size, stream @ ..] = data else { return };
    let wanted = page(choice & 1 != 0, (choice & 2 != 0).then(|| pattern(choice >> 2)));
    both_ways(&plan(web(false, vec![wanted.clone()]), "192.0.2.1"), stream, *size);
    let twice = plan(web(false, vec![wanted.clone(), wanted]), "192.0.2.1");
    let pieces = stream.chunks(usize::from(*size).max(1));
    play(twice.begin(NUMBERS).as_mut(), pieces, Heard::Ended);
}

/// A body before a pattern: which, size of the pieces, the body. Slowly, so that each piece is looked at.
pub fn regex(data: &[u8]) {
    let [choice, size, body @ ..] = data else { return };
    let mut stream = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    // More than the least piece that is looked at before the end.
    for _ in 0..8192usize.checked_div(body.len()).unwrap_or(0) {
        stream.extend(body);
    }
    both_ways(
        &plan(web(false, vec![page(false, Some(pattern(*choice)))]), "192.0.2.1"),
        &stream,
        size.saturating_mul(8),
    );
}

/// A TLS server's first words.
pub fn tls(data: &[u8]) {
    let [size, stream @ ..] = data else { return };
    let plan = plan(web(true, vec![page(false, None)]), "192.0.2.1");
    let finding = play(plan.begin(NUMBERS).as_mut(), stream.chunks(usize::from(*size).max(1)), Heard::Ended);
    assert!(!is_good(&finding), "a handshake without a key");
}

/// SMTP: size of the pieces, the stream.
pub fn smtp(data: &[u8]) {
    let [size, stream @ ..] = data else { return };
    let plan = plan(CheckerKind::Smtp { helo: "node1".into() }, "192.0.2.1");
    play(plan.begin(NUMBERS).as_mut(), stream.chunks(usize::from(*size).max(1)), Heard::Ended);
    play(plan.begin(NUMBERS).as_mut(), stream.split_inclusive(|byte| *byte == b'\n'), Heard::TimedOut);
}

/// DNS, UDP and ICMP: which check, then datagrams with 0x1e between them.
pub fn datagrams(data: &[u8]) {
    let [choice, stream @ ..] = data else { return };
    let said = || stream.split(|byte| *byte == 0x1e);
    let (kind, address) = match choice % 4 {
        0 => (CheckerKind::Dns { record: "A", name: "www.example.com".into() }, "192.0.2.1"),
        1 => {
            let reply: Option<Box<[(u8, u8)]>> = (choice & 4 != 0).then(|| [(b'a', 0xff), (0, 0xf0)].into());
            (CheckerKind::Udp { payload: [].into(), reply, shortest: 1, longest: 20 }, "192.0.2.1")
        }
        2 => (CheckerKind::Ping, "192.0.2.1"),
        _ => (CheckerKind::Ping, "2001:db8::1"),
    };
    let last = if choice & 8 == 0 { Heard::TimedOut } else { Heard::Failed(Failure::Refused) };
    play(plan(kind, address).begin(NUMBERS).as_mut(), said(), last);
}

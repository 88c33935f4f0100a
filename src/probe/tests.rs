//! Each dialogue against a script of what happens, with the requests that keepalived 2.4.3 was seen to send.

use super::*;
use crate::spec::balance::{Endpoint, Http, HttpProtocol, Page, Timing};

const NUMBERS: Numbers = Numbers { id: 0xbeef, sequence: 1 };

pub(crate) fn checker(kind: CheckerKind, to: &str, port: u16) -> Checker {
    Checker {
        kind,
        alpha: false,
        log_all_failures: false,
        timing: Some(Timing {
            retry: 1,
            delay_before_retry: Interval::from_secs(1),
            warmup: Interval::from_secs(60),
            delay_loop: Interval::from_secs(60),
        }),
        connection: Some(Connection {
            to: Endpoint { address: to.parse().unwrap(), port: Some(port) },
            from: None,
            from_port: None,
            interface: None,
            timeout: Interval::from_secs(5),
            mark: 0,
        }),
    }
}

fn plan(kind: CheckerKind, to: &str, port: u16) -> Plan {
    Plan::new(&checker(kind, to, port), &tls::Client::new(None).unwrap()).unwrap()
}

fn page(path: &str, host: Option<&str>) -> Page {
    Page {
        path: path.into(),
        virtual_host: host.map(Into::into),
        digest: None,
        status: vec![(200, 299)],
        pattern: None,
        tls_compliant: false,
    }
}

fn web(protocol: HttpProtocol, pages: Vec<Page>) -> CheckerKind {
    CheckerKind::Http(Http { tls: false, protocol, server_name: None, fast_recovery: false, pages })
}

/// A dialogue and its time.
struct Talk {
    dialogue: Box<dyn Dialogue>,
    now: Time,
    transcript: Transcript,
}

impl Talk {
    fn with(plan: &Plan) -> Talk {
        let mut talk =
            Talk { dialogue: plan.begin(NUMBERS), now: Time::from_micros(1), transcript: Transcript::kept() };
        assert_eq!(talk.hear(Heard::Begin), Step::Connect { until: talk.after(5) });
        talk
    }
    fn hear(&mut self, heard: Heard<'_>) -> Step {
        self.dialogue.next(self.now, heard, &mut self.transcript)
    }
    fn after(&self, seconds: u64) -> Time {
        self.now + Interval::from_secs(seconds)
    }
    /// The bytes that are sent.
    fn sends(&mut self, heard: Heard<'_>) -> Vec<u8> {
        match self.hear(heard) {
            Step::Send { bytes, .. } => bytes,
            other => panic!("{heard:?}: {other:?}"),
        }
    }
    fn listens(&mut self, heard: Heard<'_>) -> Time {
        match self.hear(heard) {
            Step::Listen { until } => until,
            other => panic!("{heard:?}: {other:?}"),
        }
    }
    fn finds(&mut self, heard: Heard<'_>) -> Finding {
        match self.hear(heard) {
            Step::Done(finding) => finding,
            other => panic!("{heard:?}: {other:?}"),
        }
    }
    fn wait(&mut self, seconds: u64) {
        self.now = self.after(seconds);
    }
}

fn bad(symptom: Symptom) -> Finding {
    Finding::Bad(symptom)
}

#[test]
fn every_check_fails_by_what_happened_to_its_connection() {
    let udp = CheckerKind::Udp { payload: [].into(), reply: None, shortest: 0, longest: 255 };
    let dns = CheckerKind::Dns { record: "A", name: "x".into() };
    let smtp = CheckerKind::Smtp { helo: "x".into() };
    for kind in [CheckerKind::Tcp, CheckerKind::Ping, smtp, dns, web(HttpProtocol::V10, vec![page("/", None)]), udp] {
        let plan = plan(kind.clone(), "192.0.2.1", 80);
        for (failure, finding) in [
            (Failure::Refused, bad(Symptom::Refused)),
            (Failure::Unreachable(113), bad(Symptom::Unreachable(113))),
            (Failure::Local(99), Finding::NotMade(99)),
        ] {
            // For UDP_CHECK keepalived makes no difference.
            let local = matches!((&kind, failure), (CheckerKind::Udp { .. }, Failure::Local(_)));
            let finding = if local { bad(Symptom::Unreachable(99)) } else { finding };
            assert_eq!(Talk::with(&plan).finds(Heard::Failed(failure)), finding, "{kind:?}");
        }
    }
    let mut talk = Talk::with(&plan(CheckerKind::Tcp, "192.0.2.1", 80));
    assert_eq!(talk.finds(Heard::TimedOut), bad(Symptom::TimedOut(Stage::Connect)));
}

#[test]
fn tcp_needs_a_connection_and_nothing_else() {
    assert_eq!(Talk::with(&plan(CheckerKind::Tcp, "192.0.2.1", 80)).finds(Heard::Connected), Finding::Good);
}

#[test]
fn http_requests_are_keepalived_s() {
    use HttpProtocol::{V10, V10Close, V11};
    for (protocol, to, port, path, host, request) in [
        (
            V10,
            "10.1.0.2",
            8000,
            "/",
            Some("vs.example"),
            "GET / HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: vs.example\r\n\r\n",
        ),
        (
            V10,
            "10.1.0.2",
            8000,
            "/first",
            None,
            "GET /first HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: 10.1.0.2:8000\r\n\r\n",
        ),
        (
            V10,
            "2001:db8:1::2",
            8080,
            "/v6",
            None,
            "GET /v6 HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: [2001:db8:1::2]:8080\r\n\r\n",
        ),
        (
            V11,
            "10.1.0.2",
            8000,
            "/v11",
            Some("chk.example"),
            "GET /v11 HTTP/1.1\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\nHost: chk.example\r\n\r\n",
        ),
        (
            V10Close,
            "10.1.0.2",
            8000,
            "/v10C?a=b",
            Some("url.example"),
            "GET /v10C?a=b HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\nHost: url.example\r\n\r\n",
        ),
    ] {
        let mut talk = Talk::with(&plan(web(protocol, vec![page(path, host)]), to, port));
        assert_eq!(String::from_utf8(talk.sends(Heard::Connected)).unwrap(), request);
    }
}

#[test]
fn http_asks_page_after_page_each_over_its_own_connection() {
    let pages = vec![page("/a", None), page("/b", None), page("/c", None)];
    let plan = plan(web(HttpProtocol::V10, pages), "10.1.0.2", 80);
    let mut talk = Talk::with(&plan);
    for path in ["/a", "/b"] {
        assert!(talk.sends(Heard::Connected).starts_with(format!("GET {path} ").as_bytes()));
        talk.listens(Heard::Sent);
        let step = talk.hear(Heard::Bytes(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(step, Step::Connect { until: talk.after(5) });
    }
    assert_eq!(talk.dialogue.page(), 2);
    talk.sends(Heard::Connected);
    talk.listens(Heard::Sent);
    talk.listens(Heard::Bytes(b"HTTP/1.0 200 OK\r\n\r\nx"));
    assert_eq!(talk.finds(Heard::Ended), Finding::Good);

    // One page alone; the first that is bad ends an attempt at all.
    let mut transcript = Transcript::default();
    let mut second = plan.begin_page(NUMBERS, 1);
    second.next(Time::ZERO, Heard::Begin, &mut transcript);
    second.next(Time::ZERO, Heard::Connected, &mut transcript);
    second.next(Time::ZERO, Heard::Sent, &mut transcript);
    let step = second.next(Time::ZERO, Heard::Bytes(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"), &mut transcript);
    assert_eq!((step, second.page()), (Step::Done(Finding::Good), 1));
    let mut talk = Talk::with(&plan);
    talk.sends(Heard::Connected);
    talk.listens(Heard::Sent);
    let finding = talk.finds(Heard::Bytes(b"HTTP/1.0 503 No\r\n\r\nx"));
    assert_eq!((finding, talk.dialogue.page()), (bad(Symptom::Status(503)), 0));
}

#[test]
fn http_waits_for_each_piece_and_not_for_ever() {
    let mut talk = Talk::with(&plan(web(HttpProtocol::V10, vec![page("/", None)]), "10.1.0.2", 80));
    let end = talk.after(60);
    talk.wait(4);
    talk.sends(Heard::Connected);
    assert_eq!(talk.listens(Heard::Sent), talk.after(5));
    talk.wait(4);
    assert_eq!(talk.listens(Heard::Bytes(b"HTTP/1.0 200 OK\r\n\r\n")), talk.after(5));
    let mut until = talk.now;
    while talk.now < end {
        until = match talk.hear(Heard::Bytes(b"x")) {
            Step::Listen { until } => until,
            other => panic!("{other:?} at {:?}", talk.now),
        };
        talk.wait(4);
    }
    assert_eq!(until, end);
    assert_eq!(talk.finds(Heard::Bytes(b"x")), bad(Symptom::TimedOut(Stage::Answer)));
}

#[test]
fn a_regex_that_does_not_compile_is_told() {
    let wrong = crate::spec::balance::Pattern { text: "a(b".into(), ..Default::default() };
    let kind = web(HttpProtocol::V10, vec![Page { pattern: Some(wrong), ..page("/x", None) }]);
    let mut dialogue = plan(kind, "10.1.0.2", 80).begin(NUMBERS);
    let step = dialogue.next(Time::ZERO, Heard::Begin, &mut Transcript::default());
    let words = "the regex of /x is wrong: missing closing parenthesis, at offset 3";
    assert_eq!(step, Step::Done(bad(Symptom::Malformed(words.into()))));
}

fn smtp() -> Talk {
    let plan = plan(CheckerKind::Smtp { helo: "smtpchecker.keepalived.org".into() }, "10.1.0.2", 25);
    let mut talk = Talk::with(&plan);
    assert_eq!(talk.listens(Heard::Connected), talk.after(5));
    talk
}

#[test]
fn smtp_says_keepalived_s_words() {
    let mut talk = smtp();
    assert_eq!(talk.sends(Heard::Bytes(b"220 mail ESMTP\r\n")), b"HELO smtpchecker.keepalived.org\r\n");
    assert_eq!(talk.listens(Heard::Sent), talk.after(5));
    assert_eq!(talk.sends(Heard::Bytes(b"250 mail\r\n")), b"QUIT\r\n");
    talk.listens(Heard::Sent);
    assert_eq!(talk.finds(Heard::Bytes(b"500 what?\r\n")), Finding::Good);
}

#[test]
fn smtp_reads_replies_of_several_lines_and_in_pieces() {
    let mut talk = smtp();
    talk.listens(Heard::Bytes(b"220-mail ES"));
    talk.listens(Heard::Bytes(b"MTP\r\n220-no"));
    talk.listens(Heard::Bytes(b"tice\r\n22"));
    assert_eq!(talk.sends(Heard::Bytes(b"0\r\n")), b"HELO smtpchecker.keepalived.org\r\n");
    talk.listens(Heard::Sent);
    assert_eq!(talk.sends(Heard::Bytes(b"250-mail\r\n250 SIZE\n")), b"QUIT\r\n");
}

#[test]
fn smtp_failures() {
    assert_eq!(smtp().finds(Heard::Bytes(b"554 no\r\n")), bad(Symptom::Answer(554)));
    assert_eq!(smtp().finds(Heard::Bytes(b"421-busy\r\n421 later\r\n")), bad(Symptom::Answer(421)));
    for odd in [&b"hello\r\n"[..], b"\r\n", b"22\r\n", b"2200 x\r\n", b"\xff\xfe\xfd\n"] {
        assert!(matches!(smtp().finds(Heard::Bytes(odd)), Finding::Bad(Symptom::Malformed(_))), "{odd:?}");
    }
    assert!(matches!(smtp().finds(Heard::Bytes(&[b'x'; 5000])), Finding::Bad(Symptom::TooLong(_))));
    assert!(matches!(smtp().finds(Heard::Bytes(&b"220-x\r\n".repeat(3000))), Finding::Bad(Symptom::TooLong(_))));
    assert_eq!(smtp().finds(Heard::Ended), bad(Symptom::Closed(Stage::Answer)));
    let mut talk = smtp();
    talk.sends(Heard::Bytes(b"220 x\r\n"));
    talk.listens(Heard::Sent);
    assert_eq!(talk.finds(Heard::Bytes(b"501 x\r\n")), bad(Symptom::Answer(501)));
    // A byte now and then is not enough for ever.
    let mut talk = smtp();
    for _ in 0..14 {
        talk.wait(4);
        talk.listens(Heard::Bytes(b"2"));
    }
    talk.wait(4);
    assert_eq!(talk.finds(Heard::Bytes(b"2")), bad(Symptom::TimedOut(Stage::Answer)));
}

/// Hexadecimal digits, blanks between them.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|two| two[0] << 4 | two[1]).collect()
}

#[test]
fn dns_questions_are_keepalived_s() {
    for (record, name, question) in [
        ("A", "www.example.com", "beef 0100 0001 0000 0000 0000 03 777777 07 6578616d706c65 03 636f6d 00 0001 0001"),
        ("A", "www.example.com.", "beef 0100 0001 0000 0000 0000 03 777777 07 6578616d706c65 03 636f6d 00 0001 0001"),
        ("SOA", ".", "beef 0100 0001 0000 0000 0000 00 0006 0001"),
        ("SOA", "", "beef 0100 0001 0000 0000 0000 00 0006 0001"),
        // keepalived refuses a first label of one letter.
        ("MX", "a.b", "beef 0100 0001 0000 0000 0000 01 61 01 62 00 000f 0001"),
        ("NS", ".", "beef 0100 0001 0000 0000 0000 00 0002 0001"),
        ("CNAME", ".", "beef 0100 0001 0000 0000 0000 00 0005 0001"),
        ("TXT", ".", "beef 0100 0001 0000 0000 0000 00 0010 0001"),
        ("AAAA", ".", "beef 0100 0001 0000 0000 0000 00 001c 0001"),
        ("RRSIG", ".", "beef 0100 0001 0000 0000 0000 00 002e 0001"),
        ("DNSKEY", ".", "beef 0100 0001 0000 0000 0000 00 0030 0001"),
    ] {
        let mut talk = Talk::with(&plan(CheckerKind::Dns { record, name: name.into() }, "10.1.0.2", 53));
        assert_eq!(talk.sends(Heard::Connected), hex(question), "{record} {name}");
    }
    let long = CheckerKind::Dns { record: "A", name: "x".repeat(64).into() };
    let mut dialogue = plan(long, "10.1.0.2", 53).begin(NUMBERS);
    let step = dialogue.next(Time::ZERO, Heard::Begin, &mut Transcript::default());
    assert!(matches!(step, Step::Done(Finding::Bad(Symptom::Malformed(_)))), "{step:?}");
}

#[test]
fn dns_takes_the_answer_to_its_question_only() {
    let mut talk = Talk::with(&plan(CheckerKind::Dns { record: "A", name: "x".into() }, "10.1.0.2", 53));
    talk.sends(Heard::Connected);
    let until = talk.listens(Heard::Sent);
    assert_eq!(until, talk.after(5));
    talk.wait(1);
    for other in ["", "beef", "dead 8180 0001 0000 0000 0000", "beef 0100 0001 0000 0000 0000", "beef 8180 0001 00"] {
        assert_eq!(talk.listens(Heard::Bytes(&hex(other))), until, "{other}");
    }
    assert_eq!(talk.finds(Heard::Bytes(&hex("beef 8183 0001 0000 0000 0000"))), bad(Symptom::Answer(3)));
    let mut talk = Talk::with(&plan(CheckerKind::Dns { record: "A", name: "x".into() }, "10.1.0.2", 53));
    talk.sends(Heard::Connected);
    talk.listens(Heard::Sent);
    assert_eq!(talk.finds(Heard::Bytes(&hex("beef 8380 0001 0000 0000 0000"))), Finding::Good);
    let mut talk = Talk::with(&plan(CheckerKind::Dns { record: "A", name: "x".into() }, "10.1.0.2", 53));
    talk.sends(Heard::Connected);
    talk.listens(Heard::Sent);
    assert_eq!(talk.finds(Heard::TimedOut), bad(Symptom::TimedOut(Stage::Answer)));
}

fn udp(reply: Option<&[(u8, u8)]>, shortest: u16, longest: u16, heard: Heard<'_>) -> Finding {
    let kind = CheckerKind::Udp { payload: [].into(), reply: reply.map(Into::into), shortest, longest };
    let mut talk = Talk::with(&plan(kind, "10.1.0.2", 99));
    assert_eq!(talk.sends(Heard::Connected), b"keepalived check - keepalived ch");
    assert_eq!(talk.listens(Heard::Sent), talk.after(5));
    talk.finds(heard)
}

#[test]
fn udp_replies() {
    let pattern: &[(u8, u8)] = &[(1, 0xff), (0, 0), (3, 0xff)];
    for (reply, shortest, longest, heard, finding) in [
        (None, 0, 255, Heard::TimedOut, Finding::Good),
        (None, 0, 255, Heard::Bytes(b"anything"), Finding::Good),
        (None, 0, 255, Heard::Failed(Failure::Refused), bad(Symptom::Refused)),
        (Some(pattern), 0, 255, Heard::TimedOut, bad(Symptom::TimedOut(Stage::Answer))),
        (Some(pattern), 0, 255, Heard::Bytes(&[1, 2, 3]), Finding::Good),
        (Some(pattern), 0, 255, Heard::Bytes(&[1, 2, 3, 4]), Finding::Good),
        (Some(pattern), 0, 255, Heard::Bytes(&[1, 2, 4]), bad(Symptom::Pattern)),
        (Some(pattern), 0, 255, Heard::Bytes(&[]), bad(Symptom::Pattern)),
        (Some(pattern), 0, 255, Heard::Bytes(&[1, 2]), bad(Symptom::Pattern)),
        (Some(pattern), 0, 3, Heard::Bytes(&[1, 2, 3, 4]), bad(Symptom::TooLong(4))),
        (Some(&[]), 0, 255, Heard::Bytes(&[]), Finding::Good),
        (Some(&[]), 0, 2, Heard::Bytes(&[1, 2, 3]), bad(Symptom::TooLong(3))),
    ] {
        assert_eq!(udp(reply, shortest, longest, heard), finding, "{reply:?} {shortest} {longest} {heard:?}");
    }
    let short = udp(Some(&[]), 2, 255, Heard::Bytes(&[1]));
    assert!(matches!(short, Finding::Bad(Symptom::Malformed(_))), "{short:?}");
    let kind = CheckerKind::Udp { payload: [1, 2].into(), reply: None, shortest: 0, longest: 255 };
    assert_eq!(Talk::with(&plan(kind, "10.1.0.2", 99)).sends(Heard::Connected), [1, 2]);
}

#[test]
fn pings_are_keepalived_s() {
    let filler = "keepalived check - ".repeat(7);
    for (to, kind, reply_kind) in [("10.1.0.2", 8u8, 0u8), ("2001:db8::2", 128, 129)] {
        let mut talk = Talk::with(&plan(CheckerKind::Ping, to, 98));
        let request = talk.sends(Heard::Connected);
        assert_eq!((request.len(), request[0], request[1]), (8 + 128, kind, 0));
        assert_eq!(request[4..8], [0xbe, 0xef, 0, 1]);
        assert_eq!(request[8..], filler.as_bytes()[..128]);
        if kind == 8 {
            // A sum over a packet with its right checksum is zero (RFC 1071).
            assert_eq!(crate::wire::checksum::internet(&request), 0);
        }
        let until = talk.listens(Heard::Sent);
        let mut reply = request;
        assert_eq!(talk.listens(Heard::Bytes(&reply)), until, "our own request is no reply");
        reply[0] = reply_kind;
        for (at, value) in [(0, 3), (1, 1), (5, 0), (7, 2)] {
            let mut other = reply.clone();
            other[at] = value;
            assert_eq!(talk.listens(Heard::Bytes(&other)), until);
        }
        assert_eq!(talk.listens(Heard::Bytes(&reply[..7])), until);
        assert_eq!(talk.finds(Heard::Bytes(&reply)), Finding::Good);
    }
}

#[test]
fn a_transcript_has_no_secrets_and_no_bodies() {
    let plan = plan(web(HttpProtocol::V10, vec![page("/x?token=hush", None)]), "10.1.0.2", 80);
    let mut talk = Talk::with(&plan);
    talk.sends(Heard::Connected);
    talk.listens(Heard::Sent);
    let answer = b"HTTP/1.0 200 OK\r\nSet-Cookie: id=hush\r\nX-Auth-Token: hush\r\nServer: s\r\n\r\nhush";
    talk.listens(Heard::Bytes(answer));
    talk.finds(Heard::Ended);
    let said = format!("{:?}", talk.transcript);
    assert!(!said.contains("hush"), "{said}");
    assert!(
        said.contains("GET /x?… HTTP/1.0") && said.contains("Server: s") && said.contains("body of 4 bytes"),
        "{said}"
    );
}

#[test]
fn a_transcript_is_bounded() {
    let mut talk = Transcript::kept();
    for _ in 0..1000 {
        talk.note(Time::ZERO, || "ü".repeat(1000));
    }
    assert_eq!((talk.utterances().len(), talk.dropped()), (64, 936));
    let longest = talk.utterances().iter().map(|u| format!("{:?}", u.said).len()).max();
    assert!(longest < Some(400), "{longest:?}");
}

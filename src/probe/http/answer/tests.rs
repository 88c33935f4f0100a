use super::*;

fn digest_of(body: &[u8]) -> [u8; 16] {
    Md5::digest(body).into()
}

fn rules(status: &[(u16, u16)], digest: Option<[u8; 16]>, pattern: Option<(&str, bool)>) -> Arc<Rules> {
    let pattern = pattern.map(|(text, must_not_match)| Wanted {
        regex: Regex::new(text, &[], None).unwrap().into(),
        first: 0,
        last: None,
        must_not_match,
    });
    Arc::new(Rules { status: status.into(), digest, pattern })
}

fn plain() -> Arc<Rules> {
    rules(&[(200, 299)], None, None)
}

/// The verdict on these bytes in pieces of one size, and whether it took the end of the stream.
fn judge(rules: &Arc<Rules>, bytes: &[u8], size: usize) -> (Finding, bool) {
    let (mut answer, mut talk) = (Answer::new(rules.clone()), Transcript::kept());
    for piece in bytes.chunks(size) {
        if let Progress::Whole(finding) = answer.take(piece, Time::ZERO, &mut talk) {
            return (finding, false);
        }
    }
    match answer.end(Time::ZERO, &mut talk) {
        Progress::Whole(finding) => (finding, true),
        Progress::More => panic!("an end is no end: {answer:?}"),
    }
}

fn verdict(rules: &Arc<Rules>, bytes: &[u8]) -> Finding {
    let (whole, ended) = judge(rules, bytes, usize::MAX);
    for size in [1, 2, 3, 7, 100] {
        assert_eq!(judge(rules, bytes, size), (whole.clone(), ended), "pieces of {size}: {}", bytes.escape_ascii());
    }
    whole
}

/// The results of keepalived 2.4.3, as seen, and what differs in docs/differences.md.
#[test]
fn answers_are_judged_as_by_keepalived() {
    let hello = rules(&[(200, 299)], Some(digest_of(b"hello\n")), None);
    let (good, closed) = (Finding::Good, Finding::Bad(Symptom::Closed(Stage::Answer)));
    let status = |code| Finding::Bad(Symptom::Status(code));
    let odd = |what: &str| Finding::Bad(Symptom::Malformed(what.into()));
    for (rules, bytes, finding) in [
        (&hello, &b"HTTP/1.0 200 OK\r\n\r\nhello\n"[..], good.clone()),
        (&hello, b"HTTP/1.0 200 OK\r\n\r\nhallo\n", Finding::Bad(Symptom::Digest(digest_of(b"hallo\n")))),
        (&hello, b"HTTP/1.1 200 \r\n\r\nhello\n", good.clone()),
        (&hello, b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nhello\n", good.clone()),
        (&plain(), b"HTTP/1.0 204 No Content\r\n\r\n", good.clone()),
        (&rules(&[(200, 200), (404, 404)], None, None), b"HTTP/1.0 404 Not Found\r\n\r\nx", good.clone()),
        (&plain(), b"HTTP/1.0 404 Not Found\r\n\r\nx", status(404)),
        (&plain(), b"HTTP/1.0 302 Found\r\nLocation: /x\r\n\r\n", status(302)),
        (&plain(), b"", closed.clone()),
        (&plain(), b"HTTP/1.0 200 OK\r\n", odd("no end of the HTTP header")),
        (&plain(), b"HTTP/1.0 200 OK\nX: y\n\nhello\n", odd("no end of the HTTP header")),
        (&plain(), b"\x15\x03\x01\x00\x02\x02\x28", odd("not HTTP")),
        (&plain(), b"<html>", odd("not HTTP")),
        (&plain(), b"\r\nHTTP/1.0 200 OK\r\n\r\n", odd("not HTTP")),
    ] {
        assert_eq!(verdict(rules, bytes), finding, "{}", bytes.escape_ascii());
    }
    let third = rules(&[(200, 299)], Some(digest_of(b"hel")), None);
    assert_eq!(judge(&third, b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nhello\n", 1000), (good, false));
}

#[test]
fn a_status_line_without_a_reason_is_one() {
    assert_eq!(verdict(&plain(), b"HTTP/1.1 200\r\n\r\n"), Finding::Good);
    assert_eq!(verdict(&plain(), b"HTTP/1.1 503\r\n\r\n"), Finding::Bad(Symptom::Status(503)));
}

#[test]
fn an_answer_ends_where_it_says() {
    for bytes in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length : 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nhel\r\n3;x=y\r\nlo\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\nZ: \r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
    ] {
        verdict(&plain(), bytes);
        assert_eq!(judge(&plain(), bytes, 5), (Finding::Good, false), "{}", bytes.escape_ascii());
    }
    assert_eq!(
        judge(&plain(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhe", 9),
        (Finding::Good, true)
    );
    assert_eq!(verdict(&plain(), b"HTTP/1.1 103 Early Hints\r\n\r\n"), Finding::Bad(Symptom::Status(103)));
}

#[test]
fn a_digest_is_of_the_body_with_or_without_chunk_sizes() {
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n3\r\nlo\n\r\n0\r\n\r\n";
    let raw = b"3\r\nhel\r\n3\r\nlo\n\r\n0\r\n\r\n";
    assert_eq!(verdict(&rules(&[(200, 299)], Some(digest_of(b"hello\n")), None), answer), Finding::Good);
    assert_eq!(verdict(&rules(&[(200, 299)], Some(digest_of(raw)), None), answer), Finding::Good);
    let wrong = verdict(&rules(&[(200, 299)], Some([0; 16]), None), answer);
    assert_eq!(wrong, Finding::Bad(Symptom::Digest(digest_of(b"hello\n"))));
}

#[test]
fn a_pattern_sees_the_body_and_nothing_else() {
    let answer =
        b"HTTP/1.1 200 OK\r\nX: secret\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n3\r\nlo\n\r\n0\r\n\r\n";
    let with = |text, not| verdict(&rules(&[(200, 299)], None, Some((text, not))), answer);
    assert_eq!(with("^hello$", false), Finding::Good);
    assert_eq!(with("^hello$", true), Finding::Bad(Symptom::Pattern));
    for absent in ["HTTP", "secret", "hel\r", "^3"] {
        assert_eq!(with(absent, false), Finding::Bad(Symptom::Pattern), "{absent}");
        assert_eq!(with(absent, true), Finding::Good, "{absent}");
    }
}

#[test]
fn broken_chunks_are_told() {
    for body in ["x\r\n", "-1\r\n", "3\r\nhello\r\n", "\r\n", "fffffffffffffffff\r\n"] {
        let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert!(matches!(verdict(&plain(), bytes.as_bytes()), Finding::Bad(Symptom::Malformed(_))), "{body:?}");
    }
    let endless = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;{}", "x".repeat(5000));
    assert!(matches!(judge(&plain(), endless.as_bytes(), 100).0, Finding::Bad(Symptom::Malformed(_))));
}

#[test]
fn a_header_has_an_end() {
    let mut huge = b"HTTP/1.1 200 OK\r\n".to_vec();
    for n in 0..900 {
        huge.extend(format!("X-{n}: {}\r\n", "y".repeat(50)).bytes());
    }
    let mut fits = huge.clone();
    fits.extend(b"\r\n");
    assert!(fits.len() > 50_000);
    assert_eq!(judge(&plain(), &fits, 1000).0, Finding::Good);
    huge.extend(vec![b'x'; LONGEST_HEAD]);
    assert_eq!(judge(&plain(), &huge, 1000), (Finding::Bad(Symptom::TooLong(LONGEST_HEAD as u64)), false));
    let lines = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a:b\r\n".repeat(2000));
    assert!(matches!(judge(&plain(), lines.as_bytes(), 9999).0, Finding::Bad(Symptom::Malformed(_))));
}

#[test]
fn a_body_is_not_held_and_has_an_end() {
    let mut answer = Answer::new(plain());
    let (now, mut talk) = (Time::ZERO, Transcript::default());
    assert_eq!(answer.take(b"HTTP/1.1 200 OK\r\n\r\n", now, &mut talk), Progress::More);
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..256 {
        assert_eq!(answer.take(&piece, now, &mut talk), Progress::More);
    }
    assert_eq!(answer.take(b"x", now, &mut talk), bad(Symptom::TooLong(LARGEST_BODY)));
}

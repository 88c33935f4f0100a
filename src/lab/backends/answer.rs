//! What a real server of the lab says: bytes for bytes, no socket.

use super::plan::Talk;
use crate::spec::balance::{Page, Pattern};
use simple_dns::{Packet, PacketFlag};

/// A request is no longer.
pub(super) const LONGEST: usize = 16 * 1024;

/// Is the head of a request whole?
pub(super) fn is_whole(request: &[u8]) -> bool {
    request.windows(4).any(|four| four == b"\r\n\r\n") || request.windows(2).any(|two| two == b"\n\n")
}

/// The page that was asked for, with the server's name in front; `broken`: 503 instead.
pub(super) fn http(name: &str, talk: &Talk, request: &[u8], broken: bool) -> Vec<u8> {
    let head = String::from_utf8_lossy(request);
    let path = head.split_whitespace().nth(1).unwrap_or("/");
    let host = head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case("host").then(|| value.trim().to_owned())
    });
    let fits = |page: &&Page| *page.path == *path;
    let of_host = |page: &&Page| page.virtual_host.as_deref() == host.as_deref();
    let page = talk.pages.iter().filter(fits).find(of_host).or_else(|| talk.pages.iter().find(fits));
    let status = if broken { 503 } else { page.map_or(200, status) };
    let mut body = format!("{name}\n");
    if let Some(pattern) = page.and_then(|page| page.pattern.as_ref()).filter(|own| !own.must_not_match) {
        body += &sample(pattern);
    }
    let length = body.len();
    format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nX-Served-By: {name}\r\nConnection: close\r\n\r\n{body}",
        if status < 400 { "OK" } else { "as it was wished" }
    )
    .into_bytes()
}

/// A status that the check takes: 200 if it may be.
fn status(page: &Page) -> u16 {
    let good = |status: u16| page.status.iter().any(|(first, last)| (*first..=*last).contains(&status));
    match page.status.first() {
        Some((first, _)) if !good(200) => *first,
        _ => 200,
    }
}

/// A text that simple patterns match: each thing once, the first of several, what is optional left out. The body is filled up
/// to where the search begins.
fn sample(pattern: &Pattern) -> String {
    let mut text = String::new();
    let mut rest = pattern.text.chars().peekable();
    let mut last = 0;
    while let Some(sign) = rest.next() {
        let before = text.len();
        match sign {
            '^' | '$' | '(' | ')' | '+' => continue,
            '.' => text.push('x'),
            '*' | '?' => {
                text.truncate(last);
                continue;
            }
            '|' => {
                rest.by_ref().find(|sign| *sign == ')');
                continue;
            }
            '{' => {
                rest.by_ref().find(|sign| *sign == '}');
                continue;
            }
            '[' => {
                text.extend(rest.next());
                rest.by_ref().find(|sign| *sign == ']');
            }
            '\\' => match rest.next() {
                Some('d') => text.push('0'),
                Some('w') => text.push('a'),
                Some('s') => text.push(' '),
                Some('b') | None => continue,
                Some(sign) => text.push(sign),
            },
            sign => text.push(sign),
        }
        last = before;
    }
    let offset = usize::try_from(pattern.first_offset).unwrap_or(0).min(LONGEST);
    format!("{}{text}\n", " ".repeat(offset))
}

/// What a mail server says to a line, and whether it ends the connection then.
pub(super) fn smtp(name: &str, line: &str) -> (String, bool) {
    let word = line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    match word.as_str() {
        "HELO" | "EHLO" | "NOOP" | "RSET" => (format!("250 {name}\r\n"), false),
        "QUIT" => (format!("221 {name} closes\r\n"), true),
        _ => (format!("502 {name} knows only HELO and QUIT\r\n"), true),
    }
}

/// The first line of a mail server.
pub(super) fn greeting(name: &str) -> String {
    format!("220 {name} ESMTP\r\n")
}

/// The answer to a datagram: a name server's, the reply that a check expects, or the name.
pub(super) fn datagram(name: &str, talk: &Talk, asked: &[u8]) -> Vec<u8> {
    if talk.dns
        && let Ok(mut packet) = Packet::parse(asked)
    {
        packet.set_flags(PacketFlag::RESPONSE | PacketFlag::RECURSION_DESIRED | PacketFlag::RECURSION_AVAILABLE);
        if let Ok(bytes) = packet.build_bytes_vec() {
            return bytes;
        }
    }
    let expected = talk.replies.iter().find(|(payload, _)| **payload == *asked);
    expected.map_or_else(|| format!("{name}\n").into_bytes(), |(_, reply)| reply.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern { text: text.into(), ..Pattern::default() }
    }

    #[test]
    fn a_simple_pattern_has_a_text_that_it_matches() {
        for (text, made) in [
            ("OK", "OK\n"),
            ("^status: (up|fine)$", "status: up\n"),
            (r"v\d+\.\d{1,3}", "v0.0\n"),
            ("colou?r [a-z]+.*", "color a\n"),
        ] {
            assert_eq!(sample(&pattern(text)), made, "{text}");
        }
        let later = Pattern { first_offset: 3, ..pattern("x") };
        assert_eq!(sample(&later), "   x\n");
    }

    #[test]
    fn a_name_server_gives_the_question_back_and_a_mail_server_its_name() {
        let mut question = Packet::new_query(0x1234);
        question.set_flags(PacketFlag::RECURSION_DESIRED);
        let asked = question.build_bytes_vec().unwrap();
        let talk = Talk { dns: true, ..Talk::default() };
        let answer = datagram("one", &talk, &asked);
        assert_eq!((&answer[..2], answer[2] & 0x80, answer[3] & 0x0f), (&asked[..2], 0x80, 0));
        assert_eq!(datagram("one", &talk, b"who"), b"one\n");
        assert_eq!(smtp("one", "HELO me"), ("250 one\r\n".into(), false));
        assert!(smtp("one", "QUIT").1 && smtp("one", "DATA").1);
    }
}

//! One HTTP answer, in pieces of any size: header, body, verdict (RFC 9112 §4 to §7; keepalived check_http.c).
//!
//! The body goes by: into the digest, through the pattern's window, and away. It ends with the stream, with the last
//! chunk, or after `Content-Length` bytes; a stream that ends before that is told and no failure, as in keepalived. The
//! order of the tests is keepalived's: a header at all, status, digest, pattern.

use crate::balance::io::{Finding, Stage, Symptom};
use crate::probe::pattern::{Outcome, Regex, Search};
use crate::probe::transcript::{self, Transcript};
use crate::time::Time;
use md5::{Digest, Md5};
use std::sync::Arc;

/// Longest header, in bytes. keepalived has room for 4095.
const LONGEST_HEAD: usize = 64 * 1024;
/// Most lines of a header.
const MOST_LINES: usize = 1024;
/// Longest line between two chunks, in bytes.
const LONGEST_CHUNK_LINE: usize = 4096;
/// Longest trailer behind the last chunk, in bytes.
const LONGEST_TRAILER: usize = 64 * 1024;
/// Largest body, in bytes. Time ends most of them before.
const LARGEST_BODY: u64 = 256 * 1024 * 1024;
/// What every answer begins with.
const BEGINNING: &[u8] = b"HTTP/";
/// Interim answers (RFC 9110 §15.2) before the one that counts.
const MOST_INTERIM: u32 = 16;

/// What makes an answer good.
#[derive(Debug)]
pub struct Rules {
    pub status: Box<[(u16, u16)]>,
    pub digest: Option<[u8; 16]>,
    pub pattern: Option<Wanted>,
}

/// A pattern that the body must match, or must not.
#[derive(Debug)]
pub struct Wanted {
    pub regex: Arc<Regex>,
    pub first: u64,
    pub last: Option<u64>,
    pub must_not_match: bool,
}

impl Rules {
    fn accepts(&self, status: u16) -> bool {
        self.status.iter().any(|(first, last)| (*first..=*last).contains(&status))
    }
}

/// How far an answer has been read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    More,
    Whole(Finding),
}

fn bad(symptom: Symptom) -> Progress {
    Progress::Whole(Finding::Bad(symptom))
}

fn malformed(what: &str) -> Progress {
    bad(Symptom::Malformed(what.into()))
}

/// How the end of the body is known.
#[derive(Debug)]
enum Body {
    /// By the end of the stream.
    ToEnd,
    /// By so many bytes that are still to come.
    Length(u64),
    Chunks(Chunk),
}

#[derive(Debug)]
enum Chunk {
    /// In the line with its size.
    Size(Vec<u8>),
    /// So many bytes are still to come.
    Data(u64),
    /// In the line end behind the data, of which so many bytes have come.
    DataEnd(u8),
    /// In a trailer line of so many bytes up to now; bytes of all trailer lines.
    Trailer { line: usize, all: usize, last: u8 },
}

/// An HTTP answer as it is read: status, then the body without its chunks.
#[derive(Debug)]
pub struct Answer {
    rules: Arc<Rules>,
    head: Vec<u8>,
    interim: u32,
    /// Status of the last interim answer.
    interim_status: Option<u16>,
    /// `None`: the header is not whole.
    body: Option<Body>,
    announced: Option<u64>,
    received: u64,
    /// Of the body as it came over the wire, which is what genhash sums.
    raw: Option<Md5>,
    /// Of the body without the chunks' sizes.
    decoded: Option<Md5>,
    search: Option<Search>,
}

impl Answer {
    /// Nothing has come yet.
    pub fn new(rules: Arc<Rules>) -> Answer {
        let search = rules.pattern.as_ref().map(|wanted| Search::new(wanted.regex.clone(), wanted.first, wanted.last));
        Answer {
            raw: rules.digest.map(|_| Md5::new()),
            decoded: None,
            search,
            rules,
            head: Vec::new(),
            interim: 0,
            interim_status: None,
            body: None,
            announced: None,
            received: 0,
        }
    }

    /// The next piece of the stream.
    pub fn take(&mut self, bytes: &[u8], now: Time, talk: &mut Transcript) -> Progress {
        if self.body.is_some() {
            return self.take_body(bytes, now, talk);
        }
        let mut rest = bytes.to_vec();
        while self.body.is_none() {
            let from = self.head.len().saturating_sub(3);
            self.head.append(&mut rest);
            let Some(end) = self.head.get(from..).and_then(end_of_head).map(|at| at + from) else {
                return self.unfinished();
            };
            if end > LONGEST_HEAD {
                return bad(Symptom::TooLong(LONGEST_HEAD as u64));
            }
            rest = self.head.split_off(end);
            let head = std::mem::take(&mut self.head);
            talk.received(now, || transcript::head(&head));
            match self.read_head(&head) {
                Progress::More => {}
                whole => return whole,
            }
        }
        self.take_body(&rest, now, talk)
    }

    /// The stream has ended.
    pub fn end(&mut self, now: Time, talk: &mut Transcript) -> Progress {
        match (&self.body, self.interim_status) {
            (Some(_), _) => self.judge(now, talk),
            (None, Some(status)) if self.head.is_empty() => bad(Symptom::Status(status)),
            (None, _) if self.head.is_empty() => bad(Symptom::Closed(Stage::Answer)),
            (None, _) => malformed("no end of the HTTP header"),
        }
    }

    /// A header that is not whole yet: can it still become one?
    fn unfinished(&self) -> Progress {
        if self.head.len() > LONGEST_HEAD {
            return bad(Symptom::TooLong(LONGEST_HEAD as u64));
        }
        let both = self.head.len().min(BEGINNING.len());
        if self.head.get(..both) != BEGINNING.get(..both) {
            return malformed("not HTTP");
        }
        Progress::More
    }

    fn read_head(&mut self, head: &[u8]) -> Progress {
        // The library skips empty lines before it.
        if !head.starts_with(BEGINNING) {
            return malformed("not HTTP");
        }
        // The library refuses a whole header for one zero in a line that nobody asks for; keepalived does not mind it.
        let head: Vec<u8> = head.iter().map(|byte| if *byte == 0 { b'?' } else { *byte }).collect();
        let mut lines = vec![httparse::EMPTY_HEADER; MOST_LINES];
        let mut response = httparse::Response::new(&mut lines);
        let mut config = httparse::ParserConfig::default();
        config
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .ignore_invalid_headers_in_responses(true);
        let parsed = config.parse_response(&mut response, &head);
        match parsed {
            Err(httparse::Error::TooManyHeaders) => return malformed("too many HTTP header lines"),
            Err(_) => return malformed("not HTTP"),
            Ok(_) => {}
        }
        let Some(status) = response.code else { return malformed("no HTTP status") };
        if !self.rules.accepts(status) {
            // 101 is final: what follows it is no HTTP.
            if (100..200).contains(&status) && status != 101 && self.interim < MOST_INTERIM {
                self.interim += 1;
                self.interim_status = Some(status);
                return Progress::More;
            }
            return bad(Symptom::Status(status));
        }
        let value = |name: &str| {
            let mut found = response.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
            found.next_back().and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
        };
        let chunked = value("Transfer-Encoding")
            .and_then(|codings| codings.rsplit(',').next())
            .is_some_and(|last| last.trim().eq_ignore_ascii_case("chunked"));
        // A length that is no number is none, as in keepalived.
        let length = value("Content-Length").and_then(|text| text.parse::<u64>().ok());
        self.body = Some(match length {
            // These have no body, whatever they say (RFC 9112 §6.3).
            _ if status < 200 || status == 204 || status == 304 => Body::Length(0),
            _ if chunked => {
                self.decoded = self.raw.as_ref().map(|_| Md5::new());
                Body::Chunks(Chunk::Size(Vec::new()))
            }
            Some(length) => {
                self.announced = Some(length);
                Body::Length(length)
            }
            None => Body::ToEnd,
        });
        Progress::More
    }

    fn take_body(&mut self, bytes: &[u8], now: Time, talk: &mut Transcript) -> Progress {
        self.received = self.received.saturating_add(bytes.len() as u64);
        if self.received > LARGEST_BODY {
            return bad(Symptom::TooLong(LARGEST_BODY));
        }
        let whole = match self.body.take() {
            None => return Progress::More,
            Some(Body::ToEnd) => {
                self.body = Some(Body::ToEnd);
                self.sum_raw(bytes);
                self.pass(bytes);
                false
            }
            Some(Body::Length(left)) => {
                let mine = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let (piece, surplus) = bytes.split_at(mine);
                self.received = self.received.saturating_sub(surplus.len() as u64);
                self.sum_raw(piece);
                self.pass(piece);
                let left = left - mine as u64;
                self.body = Some(Body::Length(left));
                left == 0
            }
            Some(Body::Chunks(mut chunk)) => {
                let walked = self.walk(&mut chunk, bytes);
                self.body = Some(Body::Chunks(chunk));
                match walked {
                    Ok(whole) => whole,
                    Err(what) => return malformed(what),
                }
            }
        };
        if whole { self.judge(now, talk) } else { self.pattern_so_far() }
    }

    /// Goes through chunks; `true` when the last one has ended.
    fn walk(&mut self, chunk: &mut Chunk, mut bytes: &[u8]) -> Result<bool, &'static str> {
        while let Some(first) = bytes.first() {
            match chunk {
                Chunk::Size(line) => {
                    line.push(*first);
                    let end = *first == b'\n';
                    self.sum_raw(bytes.get(..1).unwrap_or_default());
                    bytes = bytes.get(1..).unwrap_or_default();
                    if line.len() > LONGEST_CHUNK_LINE {
                        return Err("a chunk's size has no end");
                    }
                    if end {
                        let size = match httparse::parse_chunk_size(line) {
                            Ok(httparse::Status::Complete((_, size)))
                                if line.first().is_some_and(u8::is_ascii_hexdigit) =>
                            {
                                size
                            }
                            _ => return Err("a chunk without a size"),
                        };
                        *chunk =
                            if size == 0 { Chunk::Trailer { line: 0, all: 0, last: 0 } } else { Chunk::Data(size) };
                    }
                }
                Chunk::Data(left) => {
                    let mine = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    let (piece, rest) = bytes.split_at(mine);
                    bytes = rest;
                    *left -= mine as u64;
                    if *left == 0 {
                        *chunk = Chunk::DataEnd(0);
                    }
                    self.sum_raw(piece);
                    if let Some(decoded) = &mut self.decoded {
                        decoded.update(piece);
                    }
                    self.pass(piece);
                }
                Chunk::DataEnd(come) => {
                    let wanted = if *come == 0 { b'\r' } else { b'\n' };
                    if *first != wanted {
                        return Err("a chunk is longer than its size");
                    }
                    *come += 1;
                    if *come == 2 {
                        *chunk = Chunk::Size(Vec::new());
                    }
                    self.sum_raw(bytes.get(..1).unwrap_or_default());
                    bytes = bytes.get(1..).unwrap_or_default();
                }
                Chunk::Trailer { line, all, last } => {
                    self.sum_raw(bytes.get(..1).unwrap_or_default());
                    bytes = bytes.get(1..).unwrap_or_default();
                    *all += 1;
                    if *all > LONGEST_TRAILER {
                        return Err("the trailer has no end");
                    }
                    if *first == b'\n' {
                        if *line == 0 || (*line == 1 && *last == b'\r') {
                            return Ok(true);
                        }
                        *line = 0;
                    } else {
                        *line += 1;
                    }
                    *last = *first;
                }
            }
        }
        Ok(false)
    }

    fn sum_raw(&mut self, bytes: &[u8]) {
        if let Some(raw) = &mut self.raw {
            raw.update(bytes);
        }
    }

    /// Bytes of the body go by the pattern.
    fn pass(&mut self, bytes: &[u8]) {
        if let Some(search) = &mut self.search {
            search.take(bytes);
        }
    }

    /// Some patterns are judged before the body is whole: one that must not match and does, one that cannot be decided.
    fn pattern_so_far(&mut self) -> Progress {
        let must_not_match = self.rules.pattern.as_ref().is_some_and(|wanted| wanted.must_not_match);
        match self.search.as_mut().and_then(|search| search.take(&[])) {
            Some(Outcome::Found) if must_not_match => bad(Symptom::Pattern),
            Some(Outcome::TooLong) => bad(Symptom::TooLong(crate::probe::pattern::WINDOW as u64)),
            Some(Outcome::GaveUp(why)) => malformed(&format!("the regex gives up: {why}")),
            _ => Progress::More,
        }
    }

    /// The answer is whole, or there will not be more of it.
    fn judge(&mut self, now: Time, talk: &mut Transcript) -> Progress {
        talk.received(now, || format!("body of {} bytes", self.received));
        if let Some(announced) = self.announced.filter(|announced| *announced != self.received) {
            let received = self.received;
            talk.note(now, || format!("content_length ({announced}) does not match received bytes ({received})"));
        }
        let sums = [self.raw.take(), self.decoded.take()].map(|sum| sum.map(|sum| <[u8; 16]>::from(sum.finalize())));
        if let (Some(wanted), [Some(raw), decoded]) = (self.rules.digest, sums)
            && raw != wanted
            && decoded != Some(wanted)
        {
            return bad(Symptom::Digest(decoded.unwrap_or(raw)));
        }
        let Some(wanted) = &self.rules.pattern else { return Progress::Whole(Finding::Good) };
        match self.search.as_mut().map_or(Outcome::NotFound, Search::finish) {
            Outcome::TooLong => bad(Symptom::TooLong(crate::probe::pattern::WINDOW as u64)),
            Outcome::GaveUp(why) => malformed(&format!("the regex gives up: {why}")),
            outcome if (outcome == Outcome::Found) == wanted.must_not_match => bad(Symptom::Pattern),
            _ => Progress::Whole(Finding::Good),
        }
    }
}

/// Bytes up to and with the empty line.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

#[cfg(test)]
mod tests;

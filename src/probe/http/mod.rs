//! HTTP_GET and SSL_GET: pages that must answer, one connection a page (keepalived check_http.c).
//!
//! [`Site`] is what the configuration wants, with the request's bytes made and the patterns compiled; [`Visit`] is one
//! attempt. A request is keepalived's, byte for byte. The answer is [`answer`]'s business.
//!
//! Times are keepalived's: the connection and the TLS handshake together have `connect_timeout`, so have the first byte
//! of the answer and each further piece; with TLS all further pieces together. A page as a whole has [`Patience::whole`].

mod answer;

use super::pattern::Regex;
use super::transcript::{self, Transcript};
use super::{Dialogue, Failure, Heard, Patience, Step, bad, gave_up, malformed, tls};
use crate::balance::io::{Finding, Stage, Symptom};
use crate::spec::balance::{Connection, Http, HttpProtocol, Page, shown_path};
use crate::time::Time;
use answer::{Answer, Progress, Rules};
use std::sync::Arc;

/// The pages of a check, prepared.
#[derive(Debug)]
pub struct Site {
    pages: Vec<Prepared>,
    tls: Option<tls::Client>,
}

#[derive(Debug)]
struct Prepared {
    path: Box<str>,
    request: Vec<u8>,
    /// Name in the TLS hello.
    name: Option<Box<str>>,
    /// A close_notify is sent at the end.
    tls_compliant: bool,
    /// Or why the page cannot be judged.
    rules: Result<Arc<Rules>, Box<str>>,
}

/// The request for a page, as keepalived makes it: the order of the lines is what a server may answer by.
pub fn request(path: &str, protocol: HttpProtocol, host: &str) -> String {
    let version = if protocol == HttpProtocol::V11 { "1.1" } else { "1.0" };
    let close = if protocol == HttpProtocol::V10 { "" } else { "Connection: close\r\n" };
    format!("GET {path} HTTP/{version}\r\nUser-Agent: KeepAliveClient\r\n{close}Host: {host}\r\n\r\n")
}

impl Site {
    pub(crate) fn new(http: &Http, connection: &Connection, client: &tls::Client) -> Site {
        let port = connection.to.port.unwrap_or(0);
        let here = std::net::SocketAddr::new(connection.to.address, port).to_string();
        let prepare = |page: &Page| {
            let host = page.virtual_host.as_deref();
            let name = match http.server_name.as_deref() {
                // As asked for by `enable_sni`: the name that the Host line has.
                Some("") => host,
                given => given,
            };
            Prepared {
                path: page.path.clone(),
                request: request(&page.path, http.protocol, host.unwrap_or(&here)).into_bytes(),
                name: name.map(Into::into),
                tls_compliant: page.tls_compliant,
                rules: rules(page).map(Arc::new),
            }
        };
        Site { pages: http.pages.iter().map(prepare).collect(), tls: http.tls.then(|| client.clone()) }
    }

    pub(crate) fn pages(&self) -> usize {
        self.pages.len()
    }
}

fn rules(page: &Page) -> Result<Rules, Box<str>> {
    let pattern = match &page.pattern {
        None => None,
        Some(pattern) => {
            let regex = Regex::new(&pattern.text, &pattern.options, pattern.stack)
                .map_err(|why| format!("the regex of {} is wrong: {why}", shown_path(&page.path)))?;
            Some(answer::Wanted {
                regex: regex.into(),
                first: pattern.first_offset,
                last: pattern.last_offset,
                must_not_match: pattern.must_not_match,
            })
        }
    };
    Ok(Rules { status: page.status.clone().into(), digest: page.digest, pattern })
}

/// Where the visit of a page is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Connecting,
    Handshake,
    Asking,
    /// Nothing of the answer has come.
    Waiting,
    Reading,
    /// The verdict is there; the TLS session ends in order.
    Parting,
}

/// One attempt.
#[derive(Debug)]
pub struct Visit {
    site: Arc<Site>,
    page: usize,
    end_page: usize,
    patience: Patience,
    at: At,
    /// End of the stage.
    until: Time,
    /// End of the page.
    end: Time,
    session: Option<tls::Session>,
    answer: Option<Answer>,
    verdict: Option<Finding>,
}

impl Visit {
    /// The pages from `first` on, and before `end`.
    pub fn new(site: Arc<Site>, first: usize, end: usize, patience: Patience) -> Visit {
        let end_page = end.min(site.pages());
        Visit {
            site,
            page: first,
            end_page,
            patience,
            at: At::Connecting,
            until: Time::ZERO,
            end: Time::ZERO,
            session: None,
            answer: None,
            verdict: None,
        }
    }

    fn stage(&self) -> Stage {
        match self.at {
            At::Connecting => Stage::Connect,
            At::Handshake => Stage::Tls,
            At::Asking => Stage::Send,
            At::Waiting | At::Reading | At::Parting => Stage::Answer,
        }
    }

    fn begin(&mut self, now: Time) -> Step {
        let Some(page) = self.site.pages.get(self.page).filter(|_| self.page < self.end_page) else {
            // Without pages the configuration has no such check; a page that is none was asked for.
            return malformed("there is no such page");
        };
        let rules = match &page.rules {
            Ok(rules) => rules.clone(),
            Err(why) => return malformed(why.clone()),
        };
        self.answer = Some(Answer::new(rules));
        self.session = match self.site.tls.as_ref().map(|client| client.session(page.name.as_deref())) {
            None => None,
            Some(Ok(session)) => Some(session),
            Some(Err(why)) => return bad(Symptom::Tls(why)),
        };
        self.verdict = None;
        self.at = At::Connecting;
        self.until = self.patience.stage_from(now);
        self.end = now + self.patience.whole;
        Step::Connect { until: self.until }
    }

    fn send(&self, bytes: Vec<u8>) -> Step {
        if bytes.is_empty() { self.listen() } else { Step::Send { bytes, until: self.until.min(self.end) } }
    }

    fn listen(&self) -> Step {
        Step::Listen { until: self.until.min(self.end) }
    }

    fn ask(&mut self, now: Time, talk: &mut Transcript) -> Step {
        let Some(page) = self.site.pages.get(self.page) else { return malformed("there is no such page") };
        let mut bytes = page.request.clone();
        talk.sent(now, || transcript::head(&page.request));
        if let Some(session) = &mut self.session {
            talk.note(now, || session.agreed());
            session.say(&bytes);
            bytes = session.output();
        }
        self.at = At::Asking;
        self.until = self.patience.stage_from(now);
        self.send(bytes)
    }

    /// Cipher text or plain text has come.
    fn hear(&mut self, now: Time, bytes: &[u8], talk: &mut Transcript) -> Step {
        let Some(answer) = &mut self.answer else { return malformed("the check lost its thread") };
        let mut progress = Progress::More;
        let mut heard = false;
        let mut output = Vec::new();
        match &mut self.session {
            None => {
                heard = true;
                progress = answer.take(bytes, now, talk);
            }
            Some(session) => {
                let took = session.take(bytes, |plain| {
                    heard = true;
                    if progress == Progress::More {
                        progress = answer.take(plain, now, talk);
                    }
                });
                output = session.output();
                // What was said before it broke may be enough.
                if progress == Progress::More {
                    if let Err(why) = took {
                        return bad(Symptom::Tls(why));
                    }
                    if self.at == At::Handshake {
                        let pending = session.is_handshaking();
                        if !pending {
                            let step = self.ask(now, talk);
                            return joined(output, step);
                        }
                        return if now >= self.until { bad(Symptom::TimedOut(Stage::Tls)) } else { self.send(output) };
                    }
                    if session.has_ended() {
                        progress = answer.end(now, talk);
                    }
                }
            }
        }
        if let Progress::Whole(finding) = progress {
            return self.judged(now, finding, talk);
        }
        if now >= self.end || (self.session.is_some() && self.at == At::Reading && now >= self.until) {
            return bad(Symptom::TimedOut(Stage::Answer));
        }
        if heard {
            // Over TLS the whole rest has one time, else each piece has its own.
            if self.at == At::Waiting || self.session.is_none() {
                self.until = self.patience.stage_from(now);
            }
            self.at = At::Reading;
        }
        self.send(output)
    }

    /// The page is judged: part in order, go on to the next page, or be done.
    fn judged(&mut self, now: Time, finding: Finding, talk: &mut Transcript) -> Step {
        let compliant = self.site.pages.get(self.page).is_some_and(|page| page.tls_compliant);
        self.answer = None;
        if let Some(session) = self.session.as_mut().filter(|_| compliant) {
            session.close();
            let bytes = session.output();
            self.at = At::Parting;
            self.verdict = Some(finding);
            return Step::Send { bytes, until: self.patience.stage_from(now).min(self.end) };
        }
        self.part(now, finding, talk)
    }

    fn part(&mut self, now: Time, finding: Finding, talk: &mut Transcript) -> Step {
        let next = self.page.saturating_add(1);
        if finding != Finding::Good || next >= self.end_page {
            return Step::Done(finding);
        }
        if let Some(page) = self.site.pages.get(self.page) {
            talk.note(now, || format!("{} is good", shown_path(&page.path)));
        }
        self.page = next;
        self.begin(now)
    }
}

/// What was in line first goes first.
fn joined(mut first: Vec<u8>, step: Step) -> Step {
    match step {
        Step::Send { bytes, until } => {
            first.extend(bytes);
            Step::Send { bytes: first, until }
        }
        other => other,
    }
}

impl Dialogue for Visit {
    fn next(&mut self, now: Time, heard: Heard<'_>, talk: &mut Transcript) -> Step {
        if self.at == At::Parting {
            let verdict = self.verdict.take().unwrap_or(Finding::Good);
            return self.part(now, verdict, talk);
        }
        match heard {
            Heard::Begin => self.begin(now),
            Heard::Connected if self.session.is_some() => {
                self.at = At::Handshake;
                let hello = self.session.as_mut().map(tls::Session::output).unwrap_or_default();
                self.send(hello)
            }
            Heard::Connected => self.ask(now, talk),
            Heard::Sent => {
                if self.at == At::Asking {
                    self.at = At::Waiting;
                    self.until = self.patience.stage_from(now);
                }
                self.listen()
            }
            Heard::Bytes(bytes) => self.hear(now, bytes, talk),
            Heard::Ended if self.at == At::Waiting || self.at == At::Reading => {
                let Some(answer) = &mut self.answer else { return malformed("the check lost its thread") };
                match answer.end(now, talk) {
                    Progress::Whole(finding) => self.judged(now, finding, talk),
                    Progress::More => bad(Symptom::Closed(Stage::Answer)),
                }
            }
            // A server that resets the connection when the hello is not to its taste.
            Heard::Failed(Failure::Reset) if self.at == At::Handshake => bad(Symptom::Closed(Stage::Tls)),
            other => gave_up(other, self.stage()),
        }
    }

    fn page(&self) -> usize {
        self.page
    }
}

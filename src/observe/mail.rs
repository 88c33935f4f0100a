//! Mail about state changes, in keepalived's words.
//!
//! The dialogue is plain SMTP (RFC 5321) with HELO, without TLS and without retry, over one connection a message; every
//! reply must be the expected one, or the message is given up with QUIT; a server that has fallen silent is left without
//! a word. [`Mailer`] decides what is sent, [`send`] sends
//! it; the latter is awaited on the services thread and may take as long as `smtp_connect_timeout` a step.

use super::Context;
use super::Observer;
use super::Wishes;
use super::calendar::Local;
use super::notify::{Told, deleted_word};
use super::telling::Telling;
use crate::spec::Mail;
use std::collections::HashMap;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

const SMTP_PORT: u16 = 25;
const DEFAULT_TIMEOUT_SECS: u32 = 30;
/// keepalived's buffers, less their terminator: what is longer is cut.
const SUBJECT_MAX: usize = 255;
const BODY_MAX: usize = 511;
/// A reply line longer than this is no reply (RFC 5321 §4.5.3.1.5 allows 512).
const REPLY_MAX: u64 = 4_096;

/// One mail, with where and how to send it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    pub settings: Mail,
    pub subject: String,
    pub body: String,
}

/// Wishes for mail about instances and groups.
#[derive(Debug, Default)]
pub struct Mailer {
    /// What the last mail about an instance (true) or group said.
    last: HashMap<(bool, Box<str>), Told>,
}

impl Told {
    fn subject(self) -> &'static str {
        match self {
            Told::Master => "Entering MASTER state",
            Told::Backup => "Entering BACKUP state",
            Told::Fault => "Entering FAULT state",
            Told::Stop => "Stopping",
            Told::Deleted => "Deleted",
        }
    }
    fn instance_body(self) -> &'static str {
        match self {
            Told::Master => "=> VRRP Instance is now owning VRRP VIPs <=",
            Told::Backup | Told::Fault => "=> VRRP Instance is no longer owning VRRP VIPs <=",
            Told::Stop => "=> VRRP Instance stopping <=",
            Told::Deleted => "=> VRRP Deleted at reload <=",
        }
    }
    fn group_body(self) -> &'static str {
        match self {
            Told::Master => "=> All VRRP group instances are now in MASTER state <=",
            Told::Backup => "=> All VRRP group instances are now in BACKUP state <=",
            Told::Fault => "=> All VRRP group instances are now in FAULT state <=",
            Told::Stop | Told::Deleted => "=> All VRRP group instances are now stopping <=",
        }
    }
}

impl Mailer {
    fn instance(&mut self, cx: &Context<'_>, name: &str, wanted: bool, told: Told, wishes: &mut Wishes) {
        self.mail(cx, true, name, wanted, told, wishes);
    }

    fn mail(&mut self, cx: &Context<'_>, instance: bool, name: &str, wanted: bool, told: Told, wishes: &mut Wishes) {
        let settings = &cx.spec.daemon.mail;
        if !wanted
            || settings.server.is_none()
            || settings.to.is_empty()
            || (settings.no_faults && told == Told::Fault)
            || self.last.get(&(instance, name.into())) == Some(&told)
        {
            return;
        }
        self.last.insert((instance, name.into()), told);
        let (what, body) = if instance { ("Instance", told.instance_body()) } else { ("Group", told.group_body()) };
        wishes.mails.push(Message {
            settings: settings.clone(),
            subject: format!("[{}] VRRP {what} {name} - {}", cx.spec.daemon.router_id, told.subject()),
            body: body.to_owned(),
        });
    }
}

impl Observer for Mailer {
    fn told(&mut self, telling: &Telling<'_>, cx: &Context<'_>, wishes: &mut Wishes) {
        match *telling {
            Telling::Instance { id, to, .. } => {
                let Some(told) = Told::of(to) else { return };
                let wanted = cx.instance(id).is_some_and(|i| i.notify.mail);
                self.instance(cx, cx.name(id), wanted, told, wishes);
            }
            Telling::Group { id, to } => {
                let Some(told) = Told::of(to) else { return };
                let wanted = cx.spec.groups.get(id.index()).is_some_and(|g| g.notify.mail);
                self.mail(cx, false, cx.group_name(id), wanted, told, wishes);
            }
            Telling::Stopped(id) => {
                let wanted = cx.instance(id).is_some_and(|i| i.notify.mail);
                self.instance(cx, cx.name(id), wanted, Told::Stop, wishes);
            }
            Telling::Deleted { name, was } => {
                let Some(gone) = cx.deleted(name) else {
                    return;
                };
                if let Some(told) = deleted_word(&gone.notify, was) {
                    self.instance(cx, name, gone.notify.mail, told, wishes);
                }
                self.last.remove(&(true, name.into()));
            }
            Telling::Priority { .. } | Telling::HeardLower(_) | Telling::Refused { .. } => {}
        }
    }

    fn balance(&mut self, event: &crate::balance::io::Event, cx: &Context<'_>, wishes: &mut Wishes) {
        let quiet = cx.spec.balance.settings.no_checker_emails;
        let daemon = &cx.spec.daemon;
        wishes.mails.extend(super::balance::mail(event, &daemon.router_id, &daemon.mail, quiet));
    }

    fn reconfigured(&mut self, cx: &Context<'_>) {
        let there = |name: &str| cx.spec.groups.iter().any(|group| *group.name == *name);
        self.last.retain(|(instance, name), _| *instance || there(name));
    }

    fn stopped(&mut self, cx: &Context<'_>, wishes: &mut Wishes) {
        for group in &cx.spec.groups {
            self.mail(cx, false, &group.name, group.notify.mail, Told::Stop, wishes);
        }
    }
}

/// The whole message as it goes over the wire, before its final dot.
pub fn text(message: &Message, from: &str, now: &Local) -> String {
    let to: Vec<&str> = message.settings.to.iter().map(|to| &**to).collect();
    format!(
        "Date: {}\r\nFrom: {from}\r\nSubject: {}\r\nX-Mailer: Keepalived\r\nTo: {}\r\n\r\n{}\r\n",
        now.mail(),
        cut(&message.subject, SUBJECT_MAX),
        to.join(",\r\n "),
        stuffed(cut(&message.body, BODY_MAX)),
    )
}

/// A line that begins with a dot would end the message early (RFC 5321 §4.5.2).
fn stuffed(body: &str) -> String {
    body.lines()
        .map(|line| if line.starts_with('.') { format!(".{line}") } else { line.to_owned() })
        .collect::<Vec<_>>()
        .join("\r\n")
}

fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or("")
}

/// Sends one message. Waits `smtp_connect_timeout` at most for the connection and for each reply.
///
/// # Errors
/// In words, with the server's reply if that was the reason.
pub async fn send(message: &Message) -> io::Result<()> {
    let settings = &message.settings;
    let Some(server) = settings.server.as_deref() else { return Ok(()) };
    let port = if settings.port == 0 { SMTP_PORT } else { settings.port };
    let seconds = if settings.timeout_secs == 0 { DEFAULT_TIMEOUT_SECS } else { settings.timeout_secs };
    let limit = Duration::from_secs(u64::from(seconds));
    let host = host_name();
    let from = settings.from.as_deref().map_or_else(|| format!("{}@{host}", login_name()), str::to_owned);

    let stream = within(limit, TcpStream::connect((server, port))).await?;
    let mut talk = Talk { stream: BufReader::new(stream), limit };
    let done = talk.deliver(message, settings.helo.as_deref().unwrap_or(&host), &from).await;
    if done.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
        // An answer to QUIT would be waited for as long again.
        return done;
    }
    let bye = talk.say("QUIT\r\n", 221).await;
    done.and(bye)
}

async fn within<T>(limit: Duration, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", limit.as_secs()));
    timeout(limit, step).await.unwrap_or_else(|_| Err(late()))
}

struct Talk {
    stream: BufReader<TcpStream>,
    limit: Duration,
}

impl Talk {
    async fn deliver(&mut self, message: &Message, helo: &str, from: &str) -> io::Result<()> {
        self.expect(220).await?;
        self.say(&format!("HELO {helo}\r\n"), 250).await?;
        self.say(&format!("MAIL FROM:{}\r\n", envelope(from)), 250).await?;
        for to in &message.settings.to {
            self.say(&format!("RCPT TO:{}\r\n", envelope(to)), 250).await?;
        }
        self.say("DATA\r\n", 354).await?;
        self.say(&format!("{}.\r\n", text(message, from, &Local::now())), 250).await
    }

    async fn say(&mut self, line: &str, expected: u16) -> io::Result<()> {
        within(self.limit, self.stream.write_all(line.as_bytes())).await?;
        self.expect(expected).await
    }

    /// One reply, which may have several lines (`250-…`).
    async fn expect(&mut self, code: u16) -> io::Result<()> {
        loop {
            let mut line = Vec::new();
            let mut limited = tokio::io::AsyncReadExt::take(&mut self.stream, REPLY_MAX);
            let got = within(self.limit, limited.read_until(b'\n', &mut line)).await?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = String::from_utf8_lossy(&line);
            if line.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            if line.get(..3).and_then(|digits| digits.parse().ok()) == Some(code) {
                return Ok(());
            }
            return Err(io::Error::other(format!("expected {code}, the server answers {}", line.trim_end())));
        }
    }
}

/// `Name <a@b>` → `<a@b>`, `a@b` → `<a@b>`.
fn envelope(address: &str) -> String {
    match address.rfind('<') {
        Some(at) if address.ends_with('>') => address.get(at..).unwrap_or(address).to_owned(),
        _ => format!("<{address}>"),
    }
}

/// What this machine calls itself.
pub(super) fn host_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "localhost".into())
}

fn login_name() -> String {
    let uid = nix::unistd::geteuid();
    nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

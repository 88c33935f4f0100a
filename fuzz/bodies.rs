//! What the fuzz targets do with their bytes. The targets call it, and so does the test that replays the corpus, so a
//! finding once made stays a test without a fuzzer.

#![allow(dead_code)]

#[path = "dialogues.rs"]
mod dialogues;

pub use dialogues::{datagrams, http, regex, smtp, tls};

use netlink_packet_core::{Emitable, ParseableParametrized};
use netlink_packet_generic::GenlHeader;
use vipd::balance::io::ServiceKey;
use vipd::bfd::Engine;
use vipd::bfd::io::{Action, Beginning, Input, RxMeta};
use vipd::config;
use vipd::config::Env;
use vipd::config::pair;
use vipd::config::report::{Diagnostics, Style};
use vipd::config::system::TableSystem;
use vipd::config::text::expand::{TextEnv, read};
use vipd::config::text::lexer::{Escapes, shell_words, words};
use vipd::config::text::source::{MapLoader, Sources, Span};
use vipd::kernel::ipvs::message::Message;
use vipd::kernel::ipvs::plan::normal;
use vipd::sim::bfd::plain;
use vipd::spec::bfd::Session;
use vipd::time::{Interval, Time};
use vipd::wire::Family;
use vipd::wire::advert;
use vipd::wire::bfd::Packet;

const MAIN: &str = "/etc/keepalived/keepalived.conf";

/// Between the files of an input.
const NEXT_FILE: u8 = 0x1e;

fn files(data: &[u8]) -> MapLoader {
    let mut files = MapLoader::default();
    for (at, text) in data.split(|byte| *byte == NEXT_FILE).enumerate() {
        let name = if at == 0 { MAIN.to_string() } else { format!("/etc/keepalived/{at}.conf") };
        files = files.with(name, text);
    }
    files
}

fn environment() -> TextEnv {
    TextEnv {
        config_id: "node1".into(),
        environment: [("SITE".to_string(), "north".to_string())].into(),
        random_seed: 1,
        ..TextEnv::default()
    }
}

/// A place lies in its file, at the start and end of characters.
fn check(sources: &Sources, span: Span) {
    let (span, related) = sources.resolve(span);
    for span in std::iter::once(span).chain(related.into_iter().map(|(span, _)| span)) {
        let source = sources.get(span.file).expect("a complaint points into a file");
        assert!(
            source.text.get(span.start as usize..span.end as usize).is_some(),
            "{span:?} in {} bytes",
            source.text.len()
        );
    }
}

fn check_all(diagnostics: &Diagnostics) {
    for diagnostic in &diagnostics.list {
        for span in diagnostic.span.into_iter().chain(diagnostic.related.iter().map(|(span, _)| *span)) {
            check(&diagnostics.sources, span);
        }
    }
    for style in [Style::Full { colour: true }, Style::Plain, Style::Json] {
        let shown = diagnostics.show(style);
        assert!(diagnostics.list.is_empty() || !shown.is_empty());
    }
}

/// File → Spec, all of it: no panic, and every complaint points into a file. What comes out is then compared as `vipctl
/// check` compares servers: with what a second file of the input says, else with itself.
pub fn config(data: &[u8]) {
    let system = TableSystem::anywhere();
    let env = Env { text: environment(), system: &system };
    let files = files(data);
    let loaded = config::load_all(MAIN, &env, &files);
    check_all(&loaded.diagnostics);
    let (other, diagnostics) = config::load("/etc/keepalived/1.conf", &env, &files);
    check_all(&diagnostics);
    let Some(spec) = &loaded.spec else { return };
    let servers = [("a.conf".to_owned(), spec), ("b.conf".to_owned(), other.as_ref().unwrap_or(spec))];
    for finding in pair::compare(&servers) {
        assert!(!finding.message.is_empty() && !finding.places.is_empty());
    }
}

/// Every line as the language will see it: its words, and the words of its shell-like reading.
type Meaning = Vec<(Vec<(String, bool)>, Option<Vec<String>>)>;

fn meaning(file: &[u8]) -> (Meaning, u8) {
    let mut diagnostics = Diagnostics::default();
    let text = read(MAIN, &environment(), &MapLoader::default().with(MAIN, file), &mut diagnostics);
    let mut lines = Vec::new();
    if text.exhausted {
        // How far the reader comes depends on the size of the file.
        return (lines, diagnostics.exit_code());
    }
    for line in text.lines() {
        let mut found = Vec::new();
        words(line, 0, &mut found);
        if !found.is_empty() {
            let commands = shell_words(line, Escapes::Kept).ok().map(|read| read.words);
            lines.push((found.iter().map(|w| (w.text.to_string(), w.quoted)).collect(), commands));
        }
    }
    (lines, diagnostics.exit_code())
}

/// The formatter settles at once and changes no meaning.
pub fn fmt(data: &[u8]) {
    let once = config::text::fmt::format(data);
    assert_eq!(config::text::fmt::format(&once), once, "not settled at once");
    assert_eq!(meaning(&once), meaning(data));
}

/// Advert: no panic, whatever the bytes.
pub fn advert(data: &[u8]) {
    for family in [Family::V4, Family::V6] {
        if let Ok(advert) = advert::parse(data, family) {
            assert!(format!("{advert:?}").len() > 8);
        }
    }
}

/// An answer of the kernel's IPVS family: the first byte is the command, the rest its attributes. No panic, and what is
/// read of a service can be written and is read again as the same.
pub fn ipvs(data: &[u8]) {
    let Some((cmd, rest)) = data.split_first() else { return };
    let parse = |bytes: &[u8]| Message::parse_with_param(bytes, GenlHeader { cmd: *cmd, version: 1 });
    let Ok(message) = parse(rest) else { return };
    let _ = (message.daemon(), message.timeouts(), message.info());
    let bytes = |message: &Message| {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        bytes
    };
    let name = ServiceKey::Mark { family: Family::V4, mark: 1 };
    if let Some((key, service, _)) = message.service() {
        let again = parse(&bytes(&Message::new_service(key, &service))).expect("what was written is read");
        // The kernel's names are short, and a longer one is cut.
        if service.scheduler.len() < 16 && service.persistence.as_ref().is_none_or(|it| it.engine.is_none()) {
            assert_eq!(again.service().map(|(key, service, _)| (key, service)), Some((key, service)));
        }
    }
    if let Some((place, seen)) = message.destination(name) {
        let message = Message::new_destination(name, place, &seen.destination);
        let again = parse(&bytes(&message)).expect("what was written is read");
        let read = again.destination(name).map(|(place, seen)| (place, seen.destination));
        assert_eq!(read, Some((place, normal(&seen.destination))));
    }
}

/// Packets against the engine of BFD sessions. Each packet begins with a byte of who sends it (its low bits: right neighbour,
/// right port, TTL 255, our discriminator is put in), one of how many milliseconds pass before, and one of its length. No
/// panic, what is sent can be read, and answers are no more than packets and time allow.
pub fn bfd(data: &[u8]) {
    let (us, peer) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let session = Session { multiplier: 3, for_checkers: false, ..plain("s", us, peer) };
    let mut now = Time::from_micros(1_000_000);
    let mut engine = Engine::begin(&[session], Beginning { seed: 1, links: None, now });
    let (mut told, mut sent) = (0_u64, 0_u64);
    let mut settle = |engine: &mut Engine, now: Time| {
        while let Some(action) = engine.poll() {
            match action {
                Action::Open(session, _) => engine.handle(Input::Opened { session, outcome: Ok(49_152) }, now),
                Action::Send(_, bytes) => {
                    sent += 1;
                    let packet = Packet::parse(&bytes).expect("what is sent can be read");
                    assert_eq!(packet.emit(), bytes);
                }
                _ => {}
            }
        }
        sent
    };
    settle(&mut engine, now);
    let mut rest = data;
    while let [who, pause, length, tail @ ..] = rest {
        let (bytes, next) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = next;
        let mut bytes = bytes.to_vec();
        if who & 8 != 0
            && let (Some(place), Some(view)) = (bytes.get_mut(8..12), engine.snapshot(now).sessions.first())
        {
            place.copy_from_slice(&view.discriminator.to_be_bytes());
        }
        now += Interval::from_millis(u64::from(*pause));
        let meta = RxMeta {
            source: if who & 1 != 0 { peer } else { [10, 0, 0, 9].into() },
            destination: Some(us),
            ifindex: 1,
            ttl: Some(if who & 4 != 0 { 255 } else { 254 }),
            multihop: who & 2 == 0,
            cut: who & 16 != 0,
        };
        engine.handle(Input::Packet { meta, bytes: &bytes }, now);
        told += 1;
        // Two a packet (its final, a change), and one for each 750 µs of the fastest schedule.
        let most = told * 3 + now.since(Time::ZERO).as_micros() / 750;
        assert!(settle(&mut engine, now) <= most);
        assert!(engine.deadline().is_none_or(|due| due > now));
    }
}

//! What keepalived's checks say, byte for byte: tests/golden/probes/said was written by Debian's keepalived in a virtual
//! machine, with the configuration beside it. Each dialogue is told what keepalived's was told, and must say the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use vipd::balance::io::Finding;
use vipd::config::system::TableSystem;
use vipd::config::text::expand::TextEnv;
use vipd::config::text::source::{Found, Loader};
use vipd::config::{Env, load_all};
use vipd::probe::{Heard, Numbers, Plan, Step, Transcript, Transport, tls};
use vipd::spec::balance::{Checker, CheckerKind};
use vipd::time::Time;

#[derive(Clone, PartialEq, Eq, Debug)]
enum Line {
    Check(Vec<u8>),
    Server(Vec<u8>),
    /// In the hello.
    Name(String),
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/probes")
}

/// What was said, by the port of the real server.
fn said() -> BTreeMap<u16, Vec<Line>> {
    let mut all: BTreeMap<u16, Vec<Line>> = BTreeMap::new();
    let text = std::fs::read_to_string(folder().join("said")).unwrap();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let (port, way, digits) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let bytes =
            (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect();
        all.entry(port.parse().unwrap()).or_default().push(match way {
            ">" => Line::Check(bytes),
            "<" => Line::Server(bytes),
            _ => Line::Name(String::from_utf8(bytes).unwrap()),
        });
    }
    all
}

struct Golden;
impl Loader for Golden {
    fn read(&self, path: &Path) -> Found {
        std::fs::read(folder().join(path.file_name().unwrap())).map_or(Found::Missing, Found::Text)
    }
    fn glob(&self, _: &str) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// Numbers that keepalived chose: the kernel's, or random ones.
fn numbers(checker: &Checker, first: &[u8]) -> Numbers {
    let at = |from: usize| first.get(from..from + 2).map_or(0, |two| u16::from_be_bytes([two[0], two[1]]));
    match checker.kind {
        CheckerKind::Ping => Numbers { id: at(4), sequence: at(6) },
        _ => Numbers { id: at(0), sequence: 0 },
    }
}

fn plain(checker: &Checker) -> Checker {
    let mut checker = checker.clone();
    if let CheckerKind::Http(http) = &mut checker.kind {
        http.tls = false;
    }
    checker
}

fn replay(checker: &Checker, lines: &[Line]) {
    let client = tls::Client::new(None).unwrap();
    let first = lines.iter().find_map(|line| if let Line::Check(bytes) = line { Some(bytes.clone()) } else { None });
    // Inside TLS the bytes are those that go without it.
    let plan = Plan::new(&plain(checker), &client).unwrap();
    let mut dialogue = plan.begin(numbers(checker, &first.unwrap_or_default()));
    let (now, mut talk) = (Time::from_micros(1), Transcript::default());
    let mut step = dialogue.next(now, Heard::Begin, &mut talk);
    assert!(matches!(step, Step::Connect { .. }));
    step = dialogue.next(now, Heard::Connected, &mut talk);
    for line in lines {
        step = match line {
            Line::Check(bytes) if bytes.is_empty() => step,
            Line::Check(bytes) => {
                let mut bytes = bytes.clone();
                if plan.connection().to.address.is_ipv6() && plan.transport() == Transport::Echo {
                    // The kernel's: it needs the addresses.
                    bytes[2..4].fill(0);
                }
                match step {
                    Step::Send { bytes: ours, .. } => {
                        assert_eq!(ours.escape_ascii().to_string(), bytes.escape_ascii().to_string())
                    }
                    other => panic!("{other:?} instead of {}", bytes.escape_ascii()),
                }
                dialogue.next(now, Heard::Sent, &mut talk)
            }
            Line::Server(bytes) => {
                assert!(matches!(step, Step::Listen { .. }), "{step:?}");
                dialogue.next(now, Heard::Bytes(bytes), &mut talk)
            }
            Line::Name(name) => {
                let CheckerKind::Http(http) = &checker.kind else { panic!("a name in {:?}", checker.kind) };
                let page = &http.pages[0];
                let ours = match http.server_name.as_deref() {
                    Some("") => page.virtual_host.as_deref(),
                    other => other,
                };
                assert_eq!(ours, Some(name.as_str()));
                step
            }
        };
    }
    if let Step::Listen { .. } = step {
        step = dialogue.next(now, Heard::Ended, &mut talk);
    }
    assert_eq!(step, Step::Done(Finding::Good));
}

#[test]
fn every_check_says_what_keepalived_says() {
    let system = TableSystem::anywhere();
    let loaded = load_all("/keepalived.conf", &Env { text: TextEnv::default(), system: &system }, &Golden);
    assert_eq!(loaded.diagnostics.exit_code(), 0, "{:?}", loaded.diagnostics.list);
    let said = said();
    let mut played = 0;
    for server in loaded.lvs.services.iter().flat_map(|service| &service.servers) {
        let port = server.endpoint.port.unwrap();
        let lines = said.get(&port).unwrap_or_else(|| panic!("keepalived said nothing to {}", server.endpoint));
        for checker in &server.checkers {
            println!("{}: {:?}", server.endpoint, checker.kind);
            replay(checker, lines);
            played += 1;
        }
    }
    assert_eq!(played, said.len(), "each server of the capture has its check");
}

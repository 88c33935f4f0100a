//! The scenarios that tests/vm/lvs plays on a whole machine, once more without one: the balancer in virtual time, the plan
//! of the kernel's table on a model of it, and servers that answer as the steps say, against the same goldens, which were
//! recorded from Debian's keepalived.
//!
//! What only a machine can show is passed over: who answers a client, what `ipvsadm` says besides, what probes send.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vipd::balance::Balancer;
use vipd::balance::io::*;
use vipd::config::system::TableSystem;
use vipd::config::text::expand::TextEnv;
use vipd::config::text::source::MapLoader;
use vipd::config::{Env, load_all};
use vipd::daemon::reload::mistakes;
use vipd::kernel::ipvs::dump::Seen;
use vipd::kernel::ipvs::plan::{Rules, plan};
use vipd::observe;
use vipd::spec::balance::{CheckerKind, Granularity, LvsSpec, Method, Protocol, TunnelChecksum, TunnelKind};
use vipd::spec::{Command as Program, Spec};
use vipd::time::{Interval, Time};
use vipd::wire::Family;

const DIRECTORY: &str = "/var/tmp/lvs/x";
const VIPS: [&str; 5] = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1", "2001:db8::2"];
/// Scenarios whose steps need more than this model has, with the reason.
const PASSED_OVER: [(&str, &str); 3] = [
    ("fill-killed", "here the table changes at one moment, in the middle of which nobody is killed"),
    ("sync-roles", "nobody here plays VRRP: what the thread does is shown by the machine"),
    ("sync-no-checkers", "without checkers there is no balancer to play"),
];

struct Scenario {
    name: String,
    options: BTreeSet<String>,
    steps: Vec<String>,
    configs: BTreeMap<String, Vec<String>>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn scenarios() -> Vec<Scenario> {
    let text = std::fs::read_to_string(root().join("vm/lvs/scenarios")).unwrap();
    let mut found: Vec<Scenario> = Vec::new();
    let mut config = String::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(title) = line.strip_prefix("=== ") {
            config = "a".into();
            found.push(Scenario {
                name: title.split(": ").next().unwrap().into(),
                options: BTreeSet::new(),
                steps: Vec::new(),
                configs: BTreeMap::from([(config.clone(), Vec::new())]),
            });
            continue;
        }
        let Some(current) = found.last_mut() else { continue };
        if let Some(name) = line.strip_prefix("--- ") {
            config = name.trim().into();
        } else if let Some(steps) = line.strip_prefix("> ") {
            current.steps.extend(steps.split(" ; ").map(|step| step.trim().to_owned()));
        } else if let Some(options) = line.strip_prefix("+ ") {
            current.options.extend(options.split_whitespace().map(str::to_owned));
        } else {
            current.configs.entry(config.clone()).or_default().push(line.to_owned());
        }
    }
    found
}

/// The short forms, as `expand` in tests/vm/lvs/play has them.
fn expand(line: &str) -> Vec<String> {
    const TIMES: [&str; 5] = ["delay_loop 1", "warmup 0", "retry 1", "delay_before_retry 1", "connect_timeout 2"];
    let words: Vec<&str> = line.split_whitespace().collect();
    let owned = |lines: &[&str]| -> Vec<String> { lines.iter().map(|line| (*line).to_owned()).collect() };
    match words.as_slice() {
        ["TIMES"] => owned(&TIMES),
        [word @ ("RS" | "SILENT"), address, port, ..] => {
            let mut lines = vec![format!("real_server {address} {port} {{")];
            if *word == "RS" {
                lines.push(format!("notify_up NOTE({address} {port} up)"));
                lines.push(format!("notify_down NOTE({address} {port} down)"));
            }
            for part in line.split(" | ").skip(1).map(str::trim) {
                lines.extend(match part {
                    "tcp" => owned(&["TCP_CHECK {", "}"]),
                    "ping" => owned(&["PING_CHECK {", "}"]),
                    "udp" => owned(&["UDP_CHECK {", "}"]),
                    "http" => owned(&["HTTP_GET {", "url {", "path /", "status_code 200", "}", "}"]),
                    other => vec![other.to_owned()],
                });
            }
            lines.push("}".into());
            lines
        }
        _ => vec![line.to_owned()],
    }
}

fn config_text(lines: &[String]) -> String {
    let (mut global, mut rest) = (Vec::new(), Vec::new());
    for line in lines {
        match line.trim().strip_prefix('@') {
            Some(setting) => global.push(setting.to_owned()),
            None => rest.extend(expand(line)),
        }
    }
    let text = format!(
        "global_defs {{\nrouter_id lvs\nscript_user root\nsmtp_server 127.0.0.1\nnotification_email {{\nroot@localhost\n}}\n\
         lvs_notify_fifo {DIRECTORY}/fifo\n{}\n}}\n{}\n",
        global.join("\n"),
        rest.join("\n")
    );
    let text = text.replace("@DIR@", DIRECTORY);
    let mut parts = text.split("NOTE(");
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let (words, after) = part.split_once(')').unwrap();
        out += &format!("\"/opt/lvs/note {DIRECTORY}/notes {words}\"{after}");
    }
    out
}

/// The world of one scenario.
type Mistakes = BTreeSet<(vipd::config::report::Class, String)>;

struct World<'a> {
    scenario: &'a Scenario,
    now: Time,
    balancer: Option<Balancer>,
    spec: Arc<Spec>,
    mistakes: Mistakes,
    /// The kernel's table, and the services that this daemon or one before it put in.
    seen: Seen,
    ours: BTreeSet<ServiceKey>,
    wanted: BTreeMap<ServiceKey, Arc<Picture>>,
    /// Serves and withdrawals are collected until the daemon has begun.
    beginning: bool,
    flush: bool,
    /// The table stays at the end.
    keep: bool,
    listening: BTreeMap<(IpAddr, u16), (String, Vec<String>)>,
    absent: BTreeSet<IpAddr>,
    files: BTreeMap<String, String>,
    here: BTreeSet<IpAddr>,
    fifo: Vec<String>,
    notes: Vec<String>,
    mails: Vec<String>,
}

impl World<'_> {
    fn load(&self, which: &str) -> (Arc<vipd::spec::balance::LvsSpec>, Arc<Spec>, Mistakes) {
        let system = TableSystem::anywhere();
        let env = Env { text: TextEnv::default(), system: &system };
        let loaded = load_all(
            "/k.conf",
            &env,
            &MapLoader::default().with("/k.conf", config_text(&self.scenario.configs[which])),
        );
        let spec = loaded.spec.unwrap_or_else(|| panic!("{}: {which} is refused", self.scenario.name));
        (loaded.lvs, Arc::new(spec), mistakes(&loaded.diagnostics))
    }

    fn trackers(&self, spec: &LvsSpec) -> Vec<(Tracker, TrackValue)> {
        let checks = spec.services.iter().flat_map(|service| &service.servers).flat_map(|server| &server.checkers);
        let files = checks.filter_map(|check| match &check.kind {
            CheckerKind::File { file, .. } => Some(file.clone()),
            _ => None,
        });
        files.map(|file| (Tracker::File(file), TrackValue::Number(self.number("track")))).collect()
    }

    fn number(&self, file: &str) -> i64 {
        self.files.get(file).and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// What a balancer begins with.
    fn world(&self, lvs: &LvsSpec) -> Beginning {
        let addresses = self.here.iter().map(|address| (1, *address)).collect();
        let masters = if self.scenario.options.contains("vrrp") { ["VI_1".into()].into() } else { BTreeSet::new() };
        let trackers = self.trackers(lvs).into_iter().collect();
        Beginning { addresses, trackers, masters, no_table: None }
    }

    /// Carries out what a balancer that has just begun wishes.
    fn settle(&mut self) {
        self.drain();
        self.beginning = false;
        self.begun();
        self.drain();
    }

    fn step(&mut self, step: &str) {
        let words: Vec<&str> = step.split_whitespace().collect();
        let place = |address: &str, port: &str| (address.parse::<IpAddr>().unwrap(), port.parse::<u16>().unwrap());
        let rest = |from: usize| words.iter().skip(from).map(|word| (*word).to_owned()).collect::<Vec<_>>();
        match words.as_slice() {
            ["start", which, options @ ..] => {
                self.keep = options.contains(&"-I");
                let (lvs, spec, mistakes) = self.load(which);
                (self.spec, self.mistakes) = (spec, mistakes);
                let world = self.world(&lvs);
                self.beginning = true;
                self.balancer = Some(Balancer::begin(lvs, world, 7, self.now));
                self.settle();
            }
            ["reload", which] => {
                let (lvs, spec, mistakes) = self.load(which);
                // As the daemon: what is worse than before is refused, and the running one goes on.
                if mistakes.difference(&self.mistakes).next().is_some() {
                    return;
                }
                let trackers = self.trackers(&lvs);
                (self.spec, self.mistakes) = (spec, mistakes);
                let now = self.now;
                self.balancer.as_mut().unwrap().reload(lvs, trackers, now);
                self.drain();
            }
            ["upgrade"] => {
                let left = self.balancer.take().unwrap().hand_over();
                let (lvs, now) = (self.spec.balance.clone(), self.now);
                let world = self.world(&lvs);
                self.beginning = true;
                self.balancer = Some(Balancer::inherit(lvs, world, &left, 7, now));
                self.settle();
            }
            ["stop"] => {
                let keep = self.keep;
                self.tell(Input::Command(Command::Stop { keep }));
                self.balancer = None;
                if !keep {
                    self.ours.clear();
                }
                self.wanted.clear();
            }
            ["kill"] => {
                self.balancer = None;
                self.wanted.clear();
            }
            ["listen" | "change", kind, address, port, ..] => {
                self.listening.insert(place(address, port), ((*kind).to_owned(), rest(4)));
            }
            ["close", address, port] => {
                self.listening.remove(&place(address, port));
            }
            ["write", file, ..] => {
                self.files.insert((*file).to_owned(), rest(2).join(" "));
                self.tracked(file);
            }
            ["remove", file] => {
                self.files.remove(*file);
                self.tracked(file);
            }
            ["ip" | "sip", "address", verb, address, ..] => {
                let address: IpAddr = address.split('/').next().unwrap().parse().unwrap();
                let here = *verb == "add";
                if words[0] == "ip" {
                    self.tell(Input::Address { interface: 1, address, here });
                    if here {
                        self.here.insert(address)
                    } else {
                        self.here.remove(&address)
                    };
                } else if here {
                    self.absent.remove(&address);
                } else {
                    self.absent.insert(address);
                }
            }
            ["ipvsadm", "-A", "-t", at, "-s", scheduler] => {
                let (address, port) = at.rsplit_once(':').unwrap();
                let (address, port) = place(address, port);
                let key = ServiceKey::Address { protocol: Protocol::Tcp, address, port };
                let picture = Picture { scheduler: (*scheduler).into(), ..Picture::default() };
                let steps = plan(&BTreeMap::from([(key, picture)]), &Seen::default(), Rules::default());
                steps.iter().for_each(|step| step.note(&mut self.seen));
            }
            ["at-vip" | "run" | "show" | "counters" | "ask" | "wait" | "load" | "unload", ..] => {}
            other => panic!("no such step: {other:?}"),
        }
    }

    fn tracked(&mut self, file: &str) {
        let (lvs, value) = match &self.balancer {
            Some(balancer) if file == "track" => (balancer.spec().clone(), TrackValue::Number(self.number(file))),
            _ => return,
        };
        for (tracker, _) in self.trackers(&lvs) {
            self.tell(Input::Tracked { tracker, value });
        }
    }

    fn tell(&mut self, input: Input) {
        let now = self.now;
        if let Some(balancer) = &mut self.balancer {
            balancer.handle(input, now);
        }
        self.drain();
    }

    fn run(&mut self, seconds: u64) {
        let end = self.now + Interval::from_secs(seconds);
        while let Some(at) = self.balancer.as_ref().and_then(Balancer::deadline).filter(|at| *at <= end) {
            self.now = at;
            self.tell(Input::Tick);
        }
        self.now = end;
        self.tell(Input::Tick);
    }

    fn drain(&mut self) {
        while let Some(action) = self.balancer.as_mut().and_then(Balancer::poll) {
            self.carry(action);
        }
    }

    /// The daemon's first look at the table.
    fn begun(&mut self) {
        let rules = Rules { before: Some(&self.ours), adopt: true, everything: self.flush, held: None };
        let steps = plan(&self.wanted, &self.seen, rules);
        steps.iter().for_each(|step| step.note(&mut self.seen));
        self.flush = false;
        self.ours = self.wanted.keys().copied().collect();
    }

    fn carry(&mut self, action: Action) {
        let now = self.now;
        match action {
            Action::Probe { attempt, probe, .. } => {
                let finding = self.finding(&probe);
                // Not at once: an answer takes its time.
                let later = now + Interval::from_millis(1);
                self.now = later;
                self.balancer.as_mut().unwrap().handle(Input::Probed { attempt, finding }, later);
            }
            Action::Abandon(_) | Action::Marks(_) | Action::SyncDaemon(_) | Action::Timeouts(_) => {}
            Action::Serve { service, version, picture } => {
                self.wanted.insert(service, picture.clone());
                self.ours.insert(service);
                if !self.beginning {
                    let mut held = Seen::default();
                    held.services.extend(self.seen.services.get(&service).map(|seen| (service, seen.clone())));
                    let rules = Rules { held: Some(&held), ..Rules::default() };
                    let steps = plan(&BTreeMap::from([(service, picture)]), &held, rules);
                    steps.iter().for_each(|step| step.note(&mut self.seen));
                }
                let outcome = Outcome::default();
                self.balancer.as_mut().unwrap().handle(Input::Applied { service, version, outcome }, now);
            }
            Action::Withdraw(service) => {
                self.wanted.remove(&service);
                self.ours.remove(&service);
                self.seen.services.remove(&service);
            }
            Action::Flush if self.beginning => self.flush = true,
            Action::Flush => self.seen = Seen::default(),
            Action::Report(event) => {
                self.fifo.extend(observe::balance::line(&event).map(|line| line.trim_end_matches('\n').to_owned()));
                if let Some(run) = observe::balance::run(&event) {
                    let Program::Exec { argv, .. } = &run.run.command else { panic!("{run:?}") };
                    self.notes.push(argv.iter().skip(2).map(AsRef::as_ref).collect::<Vec<&str>>().join(" "));
                }
                let daemon = &self.spec.daemon;
                let mail = observe::balance::mail(&event, &daemon.router_id, &daemon.mail, false);
                self.mails.extend(mail.map(|mail| {
                    let text = format!("{} / {}", mail.subject, mail.body);
                    text.replace("HTTP/SSL request failed", "HTTP request failed")
                }));
            }
        }
    }

    fn finding(&self, probe: &Probe) -> Finding {
        let to = probe.connection().map(|connection| (connection.to.address, connection.to.port.unwrap_or(0)));
        let open = to.and_then(|to| self.listening.get(&to));
        let bad = |symptom| Finding::Bad(symptom);
        let Some((kind, words)) = open else {
            return match probe.kind() {
                CheckerKind::Ping if !to.is_some_and(|(address, _)| self.absent.contains(&address)) => Finding::Good,
                CheckerKind::Ping => bad(Symptom::TimedOut(Stage::Answer)),
                CheckerKind::Misc { .. } => match self.number("code") {
                    0 => Finding::Good,
                    code => bad(Symptom::Exit(code as i32)),
                },
                _ => bad(Symptom::Refused),
            };
        };
        match probe.kind() {
            CheckerKind::Http(http) => {
                if http.tls && kind != "https" {
                    return bad(Symptom::TimedOut(Stage::Tls));
                }
                let status: u16 = words[0].parse().unwrap();
                let body = if words.len() > 1 { words[1..].join(" ") } else { "hello".into() } + "\n";
                let page = &http.pages[probe.page];
                let accepted = if page.status.is_empty() { vec![(200, 299)] } else { page.status.clone() };
                if !accepted.iter().any(|(first, last)| (*first..=*last).contains(&status)) {
                    return bad(Symptom::Status(status));
                }
                // md5 of "hello\n".
                if page.digest.is_some() && body != "hello\n" {
                    return bad(Symptom::Digest([0; 16]));
                }
                match &page.pattern {
                    Some(_) if !body.contains("well") => bad(Symptom::Pattern),
                    _ => Finding::Good,
                }
            }
            CheckerKind::Smtp { .. } if !words.is_empty() => bad(Symptom::Answer(554)),
            CheckerKind::Dns { .. } => match words[0].parse().unwrap() {
                0 => Finding::Good,
                code => bad(Symptom::Answer(code)),
            },
            CheckerKind::Udp { reply: Some(reply), .. } => {
                let Some(text) = words.first() else { return bad(Symptom::TimedOut(Stage::Answer)) };
                let bytes = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap());
                let same = bytes.zip(reply).all(|(byte, (wanted, mask))| (byte ^ wanted) & mask == 0);
                if same { Finding::Good } else { bad(Symptom::Pattern) }
            }
            _ => Finding::Good,
        }
    }

    /// As `ipvsadm -S -n` has it.
    fn table(&self) -> Vec<String> {
        let rank = |key: &ServiceKey| match key {
            ServiceKey::Address { protocol, address, port } => {
                (false, address.is_ipv6(), *protocol as u32, Some(*address), u32::from(*port))
            }
            ServiceKey::Mark { family, mark } => (true, *family == Family::V6, 0, None, *mark),
        };
        let mut services: Vec<_> = self.seen.services.iter().collect();
        services.sort_by_key(|(key, _)| rank(key));
        let at = |address: IpAddr, port: u16| match address {
            IpAddr::V4(address) => format!("{address}:{port}"),
            IpAddr::V6(address) => format!("[{address}]:{port}"),
        };
        let mut lines = Vec::new();
        for (key, seen) in services {
            let name = match key {
                ServiceKey::Address { protocol, address, port } => {
                    let option = match protocol {
                        Protocol::Tcp => "-t",
                        Protocol::Udp => "-u",
                        Protocol::Sctp => "--sctp-service",
                    };
                    format!("{option} {}", at(*address, *port))
                }
                ServiceKey::Mark { family: Family::V4, mark } => format!("-f {mark}"),
                ServiceKey::Mark { family: Family::V6, mark } => format!("-f {mark} -6"),
            };
            let service = &seen.service;
            let mut line = format!("-A {name} -s {}", service.scheduler);
            if let Some(persistence) = &service.persistence {
                line += &format!(" -p {}", persistence.timeout);
                match persistence.granularity {
                    Granularity::Host => {}
                    Granularity::Mask(mask) => line += &format!(" -M {}", std::net::Ipv4Addr::from(mask)),
                    Granularity::Prefix(prefix) => line += &format!(" -M {prefix}"),
                }
                line += &persistence.engine.as_ref().map(|engine| format!(" --pe {engine}")).unwrap_or_default();
            }
            if service.flags.one_packet {
                line += " -o";
            }
            let kind = &*service.scheduler;
            let words = [format!("{kind}-fallback"), format!("{kind}-port"), "flag-3".to_owned()];
            let flags: Vec<String> =
                words.into_iter().zip(service.flags.flags).filter(|(_, set)| *set).map(|(word, _)| word).collect();
            if !flags.is_empty() {
                line += &format!(" -b {}", flags.join(","));
            }
            lines.push(line);
            for ((address, port), seen) in &seen.destinations {
                let own = seen.destination;
                let way = match own.forwarding.method {
                    Method::Nat => "-m",
                    Method::Direct => "-g",
                    Method::Tunnel => "-i",
                };
                let mut line = format!("-a {name} -r {} {way} -w {}", at(*address, *port), own.weight);
                if own.forwarding.method == Method::Tunnel {
                    let sum = match own.forwarding.checksum {
                        TunnelChecksum::None => "--tun-nocsum",
                        TunnelChecksum::Checksum => "--tun-csum",
                        TunnelChecksum::Remote => "--tun-remcsum",
                    };
                    line += &match own.forwarding.tunnel {
                        TunnelKind::Ipip => " --tun-type ipip".to_owned(),
                        TunnelKind::Gue(port) => format!(" --tun-type gue --tun-port {port} {sum}"),
                        TunnelKind::Gre => format!(" --tun-type gre {sum}"),
                    };
                }
                lines.push(line);
            }
        }
        lines
    }
}

/// The steps of a golden, without what only a machine can show; vipd's own, where it has one.
fn golden(name: &str) -> Vec<(String, BTreeMap<&'static str, Vec<String>>)> {
    let folder = root().join("golden/lvs");
    let own = folder.join(format!("{name}.vipd.txt"));
    let path = if own.exists() { own } else { folder.join(format!("{name}.txt")) };
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut steps: Vec<(String, BTreeMap<&'static str, Vec<String>>)> = Vec::new();
    for line in text.lines() {
        if let Some(step) = line.strip_prefix("> ") {
            steps.push((step.to_owned(), BTreeMap::new()));
        }
        for kind in ["table", "fifo", "notes", "mail"] {
            if let (Some(text), Some((_, found))) = (line.strip_prefix(&format!("{kind}: ")), steps.last_mut()) {
                found.entry(kind).or_default().push(text.to_owned());
            }
        }
    }
    steps.retain(|(step, _)| step != "probes");
    steps
}

fn play(scenario: &Scenario) -> Vec<String> {
    let novip = scenario.options.contains("novip");
    let mut world = World {
        scenario,
        now: Time::from_micros(1_000_000_000),
        balancer: None,
        spec: Arc::default(),
        mistakes: Mistakes::new(),
        seen: Seen::default(),
        ours: BTreeSet::new(),
        wanted: BTreeMap::new(),
        beginning: false,
        flush: false,
        keep: false,
        listening: BTreeMap::new(),
        absent: BTreeSet::new(),
        files: BTreeMap::new(),
        here: VIPS.iter().filter(|_| !novip).map(|address| address.parse().unwrap()).collect(),
        fifo: Vec::new(),
        notes: Vec::new(),
        mails: Vec::new(),
    };
    let golden = golden(&scenario.name);
    let mut wrong = Vec::new();
    if golden.iter().map(|(step, _)| step).ne(&scenario.steps) {
        return vec![format!("{}: the golden is of other steps", scenario.name)];
    }
    for (step, expected) in &golden {
        world.step(step);
        world.run(12);
        let mut fifo = std::mem::take(&mut world.fifo);
        let (mut notes, mut mail) = (std::mem::take(&mut world.notes), std::mem::take(&mut world.mails));
        notes.sort();
        mail.sort();
        if scenario.options.contains("unordered") {
            fifo.sort();
        }
        let found = BTreeMap::from([("table", world.table()), ("fifo", fifo), ("notes", notes), ("mail", mail)]);
        for (kind, found) in found {
            let none = Vec::new();
            let expected = expected.get(kind).unwrap_or(&none);
            if found != *expected {
                wrong.push(format!("{}: {step}: {kind}\n  expected {expected:#?}\n  found {found:#?}", scenario.name));
            }
        }
        if !wrong.is_empty() {
            break;
        }
    }
    wrong
}

#[test]
fn every_scenario_comes_out_as_with_keepalived() {
    let all = scenarios();
    assert!(all.len() >= 60, "{}", all.len());
    let played = all.iter().filter(|scenario| PASSED_OVER.iter().all(|(name, _)| *name != scenario.name));
    let wrong: Vec<String> = played.flat_map(play).collect();
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

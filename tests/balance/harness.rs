//! A balancer, and around it a clock, a kernel that takes what it is asked to (or not), and servers that answer as told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use vipd::balance::Balancer;
use vipd::balance::io::*;
use vipd::config::system::TableSystem;
use vipd::config::text::expand::TextEnv;
use vipd::config::text::source::MapLoader;
use vipd::config::{Env, load_all};
use vipd::observe;
use vipd::spec::balance::{CheckerKind, LvsSpec};
use vipd::time::{Interval, Time};

/// What a keepalived.conf comes to.
pub fn spec(text: &str) -> Arc<LvsSpec> {
    let system = TableSystem::anywhere();
    let env = Env { text: TextEnv::default(), system: &system };
    load_all("/k.conf", &env, &MapLoader::default().with("/k.conf", text)).lvs
}

/// The same with everything in it.
pub fn whole(text: &str) -> vipd::spec::Spec {
    let system = TableSystem::anywhere();
    let env = Env { text: TextEnv::default(), system: &system };
    let loaded = load_all("/k.conf", &env, &MapLoader::default().with("/k.conf", text));
    loaded.spec.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics.list))
}

/// `10.0.0.1 80`, TCP, rr, NAT, warmup 0, with `inside` in it.
pub fn service(inside: &str) -> String {
    format!("virtual_server 10.0.0.1 80 {{\n lb_algo rr\n lb_kind NAT\n protocol TCP\n warmup 0\n {inside}\n}}\n")
}

/// `10.1.0.LAST 8080` with this in it.
pub fn server(last: u8, inside: &str) -> String {
    format!("real_server 10.1.0.{last} 8080 {{\n {inside}\n }}\n")
}

pub const TCP: &str = "TCP_CHECK {\n }";

pub fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub struct Bench {
    pub balancer: Balancer,
    pub now: Time,
    pub log: Vec<String>,
    pub fifo: Vec<String>,
    pub mails: Vec<String>,
    pub events: Vec<Event>,
    /// What the kernel holds.
    pub table: BTreeMap<ServiceKey, Arc<Picture>>,
    /// How often each service was wished for.
    pub served: u64,
    pub actions: Vec<String>,
    /// Attempts that nobody answers.
    pub open: BTreeMap<Attempt, Probe>,
    pub abandoned: BTreeSet<Attempt>,
    /// When each attempt was wished for.
    pub asked: Vec<(Time, Probe)>,
    /// Servers that are bad, by their last octet (and what is found), and programs' exit codes.
    pub bad: BTreeMap<u8, Symptom>,
    pub exit: Option<i32>,
    /// Nothing is answered.
    pub silent: bool,
    /// Destinations that the kernel refuses, by the last octet.
    pub refuses: BTreeSet<u8>,
    /// Answers of the kernel wait until [`Bench::confirm`].
    pub slow_kernel: bool,
    pub waiting: Vec<(ServiceKey, Version, Arc<Picture>)>,
    pub quiet: bool,
}

pub fn settings() -> vipd::spec::Mail {
    vipd::spec::Mail { server: Some("127.0.0.1".into()), to: vec!["a@b".into()], ..vipd::spec::Mail::default() }
}

impl Bench {
    pub fn new(text: &str) -> Bench {
        Bench::with(text, |_| {})
    }

    pub fn with(text: &str, prepare: impl FnOnce(&mut Bench)) -> Bench {
        Bench::of(spec(text), Beginning::default(), prepare)
    }

    pub fn of(spec: Arc<LvsSpec>, world: Beginning, prepare: impl FnOnce(&mut Bench)) -> Bench {
        let now = Time::from_micros(1_000_000_000);
        let balancer = Balancer::begin(spec, world, 7, now);
        Bench::around(balancer, now, prepare)
    }

    pub fn around(balancer: Balancer, now: Time, prepare: impl FnOnce(&mut Bench)) -> Bench {
        let mut bench = Bench {
            balancer,
            now,
            log: Vec::new(),
            fifo: Vec::new(),
            mails: Vec::new(),
            events: Vec::new(),
            table: BTreeMap::new(),
            served: 0,
            actions: Vec::new(),
            open: BTreeMap::new(),
            abandoned: BTreeSet::new(),
            asked: Vec::new(),
            bad: BTreeMap::new(),
            exit: None,
            silent: false,
            refuses: BTreeSet::new(),
            slow_kernel: false,
            waiting: Vec::new(),
            quiet: false,
        };
        prepare(&mut bench);
        bench.drain();
        bench
    }

    pub fn tell(&mut self, input: Input) {
        self.balancer.handle(input, self.now);
        self.drain();
    }

    /// Runs for this many milliseconds.
    pub fn run(&mut self, millis: u64) {
        let end = self.now + Interval::from_millis(millis);
        while let Some(at) = self.balancer.deadline().filter(|at| *at <= end) {
            assert!(at >= self.now, "a deadline lies in the past");
            self.now = at;
            self.tell(Input::Tick);
            let next = self.balancer.deadline();
            assert!(next.is_none_or(|next| next > at), "told {at:?}, and wants to be woken at {next:?}");
        }
        self.now = end;
        self.tell(Input::Tick);
    }

    pub fn reload(&mut self, text: &str) {
        self.balancer.reload(spec(text), Vec::new(), self.now);
        self.drain();
    }

    pub fn drain(&mut self) {
        for count in 0.. {
            assert!(count < 100_000, "it never stops answering");
            let Some(action) = self.balancer.poll() else { break };
            self.carry(action);
        }
    }

    fn finding(&self, probe: &Probe) -> Finding {
        let code = self.exit.filter(|_| matches!(probe.kind(), CheckerKind::Misc { .. }));
        if let Some(code) = code {
            return match code {
                0 => Finding::Good,
                code if code < 0 => Finding::Bad(Symptom::Signal(-code)),
                code => Finding::Bad(Symptom::Exit(code)),
            };
        }
        let last = probe.connection().map_or(0, |connection| octet(connection.to.address));
        self.bad.get(&last).map_or(Finding::Good, |symptom| Finding::Bad(symptom.clone()))
    }

    fn carry(&mut self, action: Action) {
        match action {
            Action::Probe { attempt, probe, .. } => {
                self.asked.push((self.now, probe.clone()));
                if self.silent {
                    self.open.insert(attempt, probe);
                } else {
                    let finding = self.finding(&probe);
                    self.balancer.handle(Input::Probed { attempt, finding }, self.now);
                }
            }
            Action::Abandon(attempt) => {
                assert!(self.open.remove(&attempt).is_some(), "{attempt:?} is not under way");
                self.abandoned.insert(attempt);
            }
            Action::Serve { service, version, picture } => {
                self.served += 1;
                self.actions.push(format!("serve {service}"));
                self.waiting.push((service, version, picture));
                if !self.slow_kernel {
                    self.confirm();
                }
            }
            Action::Withdraw(service) => {
                self.actions.push(format!("withdraw {service}"));
                assert!(self.table.remove(&service).is_some(), "{service} is not there");
            }
            Action::Report(event) => {
                self.log.extend(observe::balance::sentences(&event).into_iter().map(|(_, text)| text));
                self.fifo.extend(observe::balance::line(&event).map(|line| line.trim_end_matches('\n').to_owned()));
                let mail = observe::balance::mail(&event, "X", &settings(), self.quiet);
                self.mails.extend(mail.map(|mail| format!("{} / {}", mail.subject, mail.body)));
                self.events.push(event);
            }
            Action::Marks(marks) => {
                let count = marks.map_or(0, |marks| marks.elements.len());
                self.actions.push(format!("{count} marks"));
            }
            Action::Flush => {
                self.actions.push("flush".into());
                self.table.clear();
            }
            Action::SyncDaemon(sync) => {
                let text = sync.map_or("no sync".into(), |s| format!("sync master {} backup {}", s.master, s.backup));
                self.actions.push(text);
            }
            Action::Timeouts(timeouts) => self.actions.push(format!("timeouts {:?}", timeouts.map(|t| t.tcp))),
        }
    }

    /// The kernel answers.
    pub fn confirm(&mut self) {
        for (service, version, picture) in std::mem::take(&mut self.waiting) {
            let refused: Vec<_> = picture
                .destinations
                .keys()
                .filter(|(address, _)| self.refuses.contains(&octet(*address)))
                .map(|place| (*place, 34))
                .collect();
            let mut held = (*picture).clone();
            held.destinations.retain(|place, _| refused.iter().all(|(other, _)| other != place));
            self.table.insert(service, Arc::new(held));
            let outcome = Outcome { service: None, refused };
            self.balancer.handle(Input::Applied { service, version, outcome }, self.now);
        }
    }

    /// The log since the last look.
    pub fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    pub fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.fifo)
    }

    pub fn done(&mut self) -> Vec<String> {
        std::mem::take(&mut self.actions)
    }

    /// `2:8080=1 9:80=0`: destinations of the first service by last octet, port and weight.
    pub fn held(&self) -> String {
        let picture = self.table.values().next();
        picture.map(|picture| shown(picture)).unwrap_or_default()
    }
}

pub fn octet(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(v4) => v4.octets()[3],
        IpAddr::V6(v6) => v6.octets()[15],
    }
}

pub fn shown(picture: &Picture) -> String {
    let one =
        |((address, port), own): (&(IpAddr, u16), &Destination)| format!("{}:{port}={}", octet(*address), own.weight);
    picture.destinations.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// The lines, with `R2` for `[10.1.0.2]:tcp:8080`, `S` for the sorry server at .9 and `V` for the service.
pub fn short(lines: Vec<String>) -> Vec<String> {
    let one = |line: String| {
        let line = line.replace("[10.0.0.1]:tcp:80", "V").replace("[10.1.0.9]:tcp:80", "S");
        (2..9).fold(line, |line, n| line.replace(&format!("[10.1.0.{n}]:tcp:8080"), &format!("R{n}")))
    };
    lines.into_iter().map(one).collect()
}

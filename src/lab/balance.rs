//! Virtual servers in a rehearsal: what each director's daemon says of its real servers, who would get the traffic, and the
//! failure of a real server.
//!
//! The daemon's own stream of events is read (`vipctl watch --json`, on the server itself): a server is good while none of its
//! checks is bad, whether the kernel can balance or not. What must come of a failure is [`crate::spec::backend`]'s to say.

use super::backends::Ailing;
use super::client::Answer;
use super::plan::Checks;
use super::rehearsal::Rehearsal;
use super::verdict::{Judged, ServerStanding, ServerStep};
use super::words::{Order, Who};
use super::{Failure, Trouble};
use crate::balance::quorum;
use crate::spec::backend::{Health, Truth, bound, chosen, together};
use crate::spec::balance::{Checker, CheckerKind, Endpoint, LvsSpec, Protocol, RealServer, Target, VirtualServer};
use crate::time::Interval;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Wake-ups of a busy machine, for the bound of a check.
const LATE: Interval = Interval::from_millis(500);
/// What a step may take beyond that.
const SLACK: Duration = Duration::from_secs(5);
/// The client's answers are looked at over so long, but for the last second: those requests may still be answered.
const WINDOW: Duration = Duration::from_millis(1500);
const OPEN: Duration = Duration::from_millis(1000);
/// After so long everything that is looked at was asked since.
pub(super) const SEEN: Duration = Duration::from_millis(2600);

/// What a director has said of its real servers; by position in its configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    services: Vec<Service>,
}

#[derive(Clone, Debug)]
struct Service {
    /// As the daemon calls it: `[192.0.2.100]:tcp:80`.
    name: String,
    quorum: bool,
    servers: Vec<Real>,
}

#[derive(Clone, Debug)]
struct Real {
    name: String,
    /// How many of its checks are bad.
    failed: i64,
    why: String,
    weight: u64,
    changed: Instant,
}

/// A real server turned good or bad.
pub(super) struct Turn {
    service: usize,
    server: usize,
}

impl Known {
    /// Takes a line of the stream in; who turned. After a snapshot that is whoever is bad.
    fn hear(&mut self, spec: &LvsSpec, line: &str, now: Instant) -> Vec<Turn> {
        let Ok(said) = serde_json::from_str::<Value>(line) else { return Vec::new() };
        let mut turns = Vec::new();
        if let Some(all) = said.pointer("/status/servers/services").and_then(Value::as_array) {
            self.services = all.iter().map(|service| whole(service, now)).collect();
            let bad = |(at, service): (usize, &Service)| -> Vec<Turn> {
                let bad = service.servers.iter().enumerate().filter(|(_, real)| real.failed > 0);
                bad.map(|(server, _)| Turn { service: at, server }).collect()
            };
            turns = self.services.iter().enumerate().flat_map(bad).collect();
        }
        // A check that takes its server in or out has the server's event, and no other.
        let turned = |event: &&Value| match event["kind"].as_str() {
            Some("check_changed") => event["good"].as_bool(),
            Some("server_up") => Some(true),
            Some("server_down") => Some(false),
            _ => None,
        };
        if let Some((event, good)) = said.get("event").and_then(|event| Some((event, turned(&event)?))) {
            let word = |key: &str| event[key].as_str().unwrap_or_default();
            for (service, own) in
                self.services.iter_mut().enumerate().filter(|(_, own)| own.name == word("virtual_server"))
            {
                let Some(server) = own.servers.iter().position(|real| real.name == word("real_server")) else {
                    continue;
                };
                let real = &mut own.servers[server];
                let was = real.failed > 0;
                real.failed = (real.failed + if good { -1 } else { 1 }).max(0);
                let text = word("text");
                let inside =
                    text.split_once(" (").and_then(|(_, rest)| rest.rsplit_once(')')).map(|(inside, _)| inside);
                real.why = event["why"].as_str().or(inside).unwrap_or(text).to_owned();
                if was != (real.failed > 0) {
                    real.changed = now;
                    turns.push(Turn { service, server });
                }
            }
        }
        for (service, own) in self.services.iter_mut().zip(&spec.services) {
            let alive = service.servers.iter().filter(|real| real.failed == 0).map(|real| real.weight).sum();
            service.quorum = quorum::judge(alive, own.quorum, own.hysteresis, service.quorum);
        }
        turns
    }

    /// Who gets the connections of a service, as the configuration writes them.
    fn serving(&self, at: usize, own: &VirtualServer) -> Vec<String> {
        let Some(service) = self.services.get(at) else { return Vec::new() };
        match &own.sorry {
            Some(sorry) if !service.quorum => vec![sorry.endpoint.to_string()],
            _ => {
                let good =
                    service.servers.iter().zip(&own.servers).filter(|(real, _)| real.failed == 0 && real.weight > 0);
                good.map(|(_, real)| real.endpoint.to_string()).collect()
            }
        }
    }
}

fn whole(service: &Value, now: Instant) -> Service {
    let name = |of: &Value| of["name"].as_str().unwrap_or_default().to_owned();
    let server = |server: &Value| {
        let checks = server["checks"].as_array().map(Vec::as_slice).unwrap_or_default();
        let bad = checks.iter().find(|check| check["up"] == false);
        let why = bad.map(|check| {
            let found = check["found"].as_str().unwrap_or("it has not been good yet");
            format!("{}: {found}", check["kind"].as_str().unwrap_or_default())
        });
        Real {
            name: name(server),
            failed: server["failed_checks"].as_i64().unwrap_or(0),
            why: why.unwrap_or_default(),
            weight: server["weight"].as_u64().unwrap_or(0),
            changed: now,
        }
    };
    let servers = service["servers"].as_array().map(Vec::as_slice).unwrap_or_default();
    Service { name: name(service), quorum: false, servers: servers.iter().map(server).collect() }
}

/// What must become of a real server while those of `ailing` are as they are.
fn truth(ailing: &Ailing, real: &RealServer) -> Truth {
    let of = |checker: &Checker| match (&checker.kind, &checker.connection) {
        // Programs do what they do; nobody can make a page up that has a digest.
        (CheckerKind::Misc { .. }, _) => Truth::Unclear,
        (CheckerKind::Http(http), _) if http.pages.iter().any(|page| page.digest.is_some()) => Truth::Unclear,
        (_, Some(connection)) => {
            let to = connection.to;
            let at = |port| ailing.get(&Endpoint { port, ..to }).copied();
            at(to.port).or_else(|| at(None)).unwrap_or_default().truth(checker)
        }
        (_, None) => Health::Up.truth(checker),
    };
    together(real.checkers.iter().map(of))
}

impl Rehearsal {
    /// Begins to listen to what a daemon says of its servers, or goes on.
    pub(super) async fn listen_to(&mut self, at: usize) -> Result<(), Trouble> {
        if self.plan.checks == Checks::Left || !self.plan.servers[at].balances() {
            return Ok(());
        }
        let argv = [super::web::OWN, "watch", "--json"].map(str::to_owned).into();
        // Whatever socket the user of the lab asks otherwise, here it is the server's own.
        let environment = BTreeMap::from([("VIPD_CONTROL".to_owned(), String::new())]);
        self.machines[at].order(&Order::Start { who: Who::Watch, argv, environment }).await
    }

    /// A line of a daemon's stream of events.
    pub(super) fn hear_events(&mut self, at: usize, line: &str) {
        let now = Instant::now();
        let spec = &self.plan.servers[at].spec.balance;
        let turns = self.known[at].hear(spec, line, now);
        let (known, name) = (&self.known[at], &self.machines[at].name);
        let mut touched = BTreeSet::new();
        for Turn { service, server } in turns {
            let Some(of) = known.services.get(service) else { continue };
            let Some(real) = of.servers.get(server) else { continue };
            let (word, why) = (if real.failed > 0 { "is out" } else { "is in" }, &real.why);
            let why = if why.is_empty() { String::new() } else { format!(": {why}") };
            self.audience.server(
                now,
                name,
                &of.name,
                &real.name,
                real.failed == 0,
                &format!("{} of {} {word}{why}", real.name, of.name),
            );
            touched.insert(service);
        }
        self.changed = if touched.is_empty() { self.changed } else { now };
        for at in touched {
            let (Some(of), Some(own)) = (known.services.get(at), spec.services.get(at)) else { continue };
            let all = known.serving(at, own);
            let who = if all.is_empty() { "nobody".to_owned() } else { all.join(", ") };
            let would = if self.plan.checks == Checks::Balanced { "goes" } else { "would go" };
            self.audience.note(now, name, &format!("what asks {} {would} to {who}", of.name));
        }
    }

    /// Where every real server stands on every director.
    pub(super) fn server_standings(&self) -> Vec<ServerStanding> {
        let mut all = Vec::new();
        for ((machine, known), server) in self.machines.iter().zip(&self.known).zip(&self.plan.servers) {
            for (at, (service, own)) in known.services.iter().zip(&server.spec.balance.services).enumerate() {
                let serving = known.serving(at, own);
                for (real, configured) in service.servers.iter().zip(&own.servers) {
                    all.push(ServerStanding {
                        server: machine.name.clone(),
                        service: service.name.clone(),
                        real: real.name.clone(),
                        good: real.failed == 0,
                        serves: serving.contains(&configured.endpoint.to_string()),
                    });
                }
            }
        }
        all
    }

    /// The real server that a failure is about, by the configuration of the server `at`; `None`: it is about something else.
    pub(super) fn meant(&self, at: usize, how: &Failure) -> Result<Option<(Endpoint, Health)>, Trouble> {
        let Failure::Server(argument) = how else { return Ok(None) };
        let server = &self.plan.servers[at];
        let found = chosen(&server.name, &server.spec, argument).map_err(Trouble::new)?;
        if self.plan.checks == Checks::Left {
            return Err(Trouble::new("virtual servers are left out here, so none of their servers can fail"));
        }
        Ok(Some(found))
    }

    /// Makes a real server fail, or well again. What was done comes back in words.
    pub(super) async fn ail(&mut self, at: Endpoint, health: Health) -> Result<String, Trouble> {
        self.real.set(&self.plan, at, health).await?;
        self.ailing.insert(at, health);
        let how = match health {
            Health::Up => "is well again".to_owned(),
            Health::Refuse => "refuses connections".to_owned(),
            Health::Error => "answers 503".to_owned(),
            Health::Slow(by) => format!("answers {by} s late"),
            Health::Hang => "takes connections and says nothing".to_owned(),
            Health::Dead => "has lost its power".to_owned(),
            Health::Flap => "is up and down in turn".to_owned(),
        };
        let what = format!("real server {at} {how}");
        self.audience.act(Instant::now(), "lab", &what);
        Ok(what)
    }

    /// Waits until every real server is where its checks must bring it, as long as they may take. `who`: of whom the step
    /// tells; where nothing must change of it, that is watched for as long.
    pub(super) async fn settle_servers(&mut self, who: Endpoint) -> Result<ServerStep, Trouble> {
        let reals =
            self.plan.servers.iter().flat_map(|s| &s.spec.balance.services).flat_map(|service| &service.servers);
        let longest = reals.map(|real| bound(real, LATE)).max().unwrap_or_default().to_std();
        let (start, from) = (Instant::now(), self.judged(who));
        let must_move = from.iter().any(|row| row.right == Some(false));
        let healthy = self.ailing.values().all(|health| *health == Health::Up);
        loop {
            self.pass(Duration::from_millis(20)).await?;
            let rows = self.judged(who);
            let unmoved = !must_move && !healthy && start.elapsed() < longest;
            let settled =
                !rows.is_empty() && rows.iter().all(|row| row.right != Some(false)) && self.others_are_right();
            if (settled && !unmoved) || start.elapsed() > longest + SLACK {
                let mut step = ServerStep { rows, answers: BTreeMap::new() };
                for row in &mut step.rows {
                    row.after = row.changed.checked_duration_since(start).filter(|_| must_move);
                }
                // The client sees what there is now.
                self.pass(SEEN).await?;
                step.answers = self.answers_of_services();
                return Ok(step);
            }
        }
    }

    /// Everything about one real server, on every director that checks it.
    fn judged(&self, who: Endpoint) -> Vec<Judged> {
        let mut rows = Vec::new();
        self.each(|director, service, real, name, own, expected| {
            let is = real.endpoint.address == who.address && (who.port.is_none() || real.endpoint.port == who.port);
            if is {
                rows.push(Judged {
                    director: director.to_owned(),
                    service: service.to_owned(),
                    real: name.to_owned(),
                    good: own.failed == 0,
                    right: expected.map(|good| good == (own.failed == 0)),
                    why: own.why.clone(),
                    changed: own.changed,
                    after: None,
                });
            }
        });
        rows
    }

    fn others_are_right(&self) -> bool {
        let mut right = true;
        self.each(|_, _, _, _, own, expected| right &= expected.is_none_or(|good| good == (own.failed == 0)));
        right
    }

    /// Every real server of every director, and whether it must be good; `None`: nobody can say.
    fn each(&self, mut see: impl FnMut(&str, &str, &RealServer, &str, &Real, Option<bool>)) {
        for (at, (known, server)) in self.known.iter().zip(&self.plan.servers).enumerate() {
            for (service, own) in known.services.iter().zip(&server.spec.balance.services) {
                let here = match &own.target {
                    Target::Address(end) => self.machines[at].addresses.contains(&end.address),
                    Target::Mark(_) | Target::Group(_) => false,
                };
                for (real, configured) in service.servers.iter().zip(&own.servers) {
                    let expected = match truth(&self.ailing, configured) {
                        _ if own.ha_suspend && !here => None,
                        Truth::Good => Some(true),
                        Truth::Bad => Some(false),
                        Truth::Unclear => None,
                    };
                    see(&self.machines[at].name, &service.name, configured, &real.name, real, expected);
                }
            }
        }
    }

    /// What is to be done between facts: daemons that nobody listens to are listened to, and answers find the way back.
    pub(super) async fn follow(&mut self) -> Result<(), Trouble> {
        for at in std::mem::take(&mut self.unheard) {
            if self.machines[at].running.contains(&Who::Daemon) {
                self.listen_to(at).await?;
            }
        }
        let target = self.plan.target.ip();
        let holder = self.machines.iter().position(|machine| machine.addresses.contains(&target));
        match holder.filter(|_| self.plan.checks == Checks::Balanced) {
            Some(holder) => self.real.answer_through(&self.plan, holder).await,
            None => Ok(()),
        }
    }

    /// Virtual servers at which the client was answered by somebody who should not serve, or by nobody although somebody
    /// should; by what the director with the address knows.
    pub(super) fn misled(&self) -> Vec<String> {
        let flaps = self.ailing.values().any(|health| *health == Health::Flap);
        let mut found = Vec::new();
        for (text, by) in self.answers_of_services().into_iter().filter(|_| !flaps) {
            let Some(asked) = self.plan.asked.iter().find(|asked| asked.to_string() == text) else { continue };
            let Some(at) = self.machines.iter().position(|own| own.addresses.contains(&asked.at.ip())) else {
                continue;
            };
            let is = |own: &VirtualServer| {
                own.target == Target::Address(Endpoint { address: asked.at.ip(), port: Some(asked.at.port()) })
                    && (own.protocol == Some(Protocol::Udp)) == asked.udp
            };
            let services = &self.plan.servers[at].spec.balance.services;
            let Some(number) = services.iter().position(is) else { continue };
            let serving = self.known[at].serving(number, &services[number]);
            let strangers: Vec<&str> =
                by.keys().flatten().map(String::as_str).filter(|name| !serving.iter().any(|own| own == name)).collect();
            if !strangers.is_empty() {
                found.push(format!("{text} was answered by {}, not by {}", strangers.join(", "), serving.join(", ")));
            } else if !serving.is_empty() && by.keys().flatten().next().is_none() {
                found.push(format!("{text} was answered by nobody, not by {}", serving.join(", ")));
            }
        }
        found
    }

    /// Who answered the client at each virtual server lately, and how often nobody did.
    fn answers_of_services(&self) -> BTreeMap<String, BTreeMap<Option<String>, usize>> {
        let mut all: BTreeMap<String, BTreeMap<Option<String>, usize>> = BTreeMap::new();
        let now = Instant::now();
        // The last requests have not had their time to fail.
        let recent = |answer: &Answer| {
            let age = now.saturating_duration_since(answer.sent);
            age < WINDOW + OPEN && age > OPEN
        };
        for (number, answer) in self.served.iter().rev().take(4000).filter(|(_, answer)| recent(answer)) {
            let Some(asked) = self.plan.asked.get(*number) else { continue };
            *all.entry(asked.to_string()).or_default().entry(answer.by.clone()).or_default() += 1;
        }
        all
    }
}

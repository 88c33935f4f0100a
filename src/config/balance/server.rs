//! `virtual_server` and `real_server`: their keywords, and what is settled while they are read.
//!
//! Order counts in this language: a real server takes the forwarding that its service has when the server's block opens,
//! and scheduler flags look at the scheduler named so far. What does not depend on order is left to `resolve`.

use super::checkers::{self, Draft};
use super::http;
use super::shared::{UNLIMITED_US, endpoint, forwarding};
use crate::config::line::unsigned_in;
use crate::config::security::{SetScript, must_script};
use crate::config::table::block::{Cx, Repeat, Set, Setting, block_by, by, flag, last, must, read_block, toggle};
use crate::config::table::values::{LONGEST_US, STR, decimal, inet_aton, one_of, text_up_to, timer, uint};
use crate::config::text::source::Span;
use crate::config::text::tree::Node;
use crate::spec::balance::{Endpoint, Forwarding, Granularity, Method, Protocol, SchedulerFlags, Target};
use crate::time::Interval;
use crate::wire::Family;

/// Seconds of `persistence_timeout` without a number.
pub const PERSISTENCE_TIMEOUT: u32 = 360;
/// Longest IPVS timeout: 31 days.
const LONGEST_PERSISTENCE: i64 = 2_678_400;
/// Largest IPVS weight.
const WEIGHT: u32 = 2_147_483_647;

const SCHEDULERS: &[(&str, &str)] = &[
    ("rr", "rr"),
    ("wrr", "wrr"),
    ("lc", "lc"),
    ("wlc", "wlc"),
    ("lblc", "lblc"),
    ("sh", "sh"),
    ("mh", "mh"),
    ("dh", "dh"),
    ("fo", "fo"),
    ("ovf", "ovf"),
    ("lblcr", "lblcr"),
    ("sed", "sed"),
    ("nq", "nq"),
    ("twos", "twos"),
];
const PROTOCOLS: &[(&str, Protocol)] = &[("TCP", Protocol::Tcp), ("UDP", Protocol::Udp), ("SCTP", Protocol::Sctp)];

block! {
    /// One load-balanced service.
    "virtual_server" => Service {
        /// Default of the checkers: further failures before a server is down.
        "retry" => retry: Set<u32> = must(uint(1, u32::MAX)), default "the checker's";
        /// Default of the checkers: seconds from a failure to the next try.
        "delay_before_retry" => delay_before_retry: Set<Interval> = must(timer(0, UNLIMITED_US)), default "the checker's";
        /// Default of the checkers: the first check comes at a random time within so many seconds.
        "warmup" => warmup: Set<Interval> = must(timer(0, UNLIMITED_US)), default "delay_loop";
        /// Default of the checkers: seconds for a connection to come about.
        "connect_timeout" => connect_timeout: Set<Interval> = must(timer(1, LONGEST_US)), default(Interval::from_secs(5), "5");
        /// Default of the checkers: seconds between checks.
        "delay_loop" => delay_loop: Set<Interval> = must(timer(1, UNLIMITED_US)), default(Interval::from_secs(60), "60");
        /// Default of the servers: a failed one gets weight 0 instead of being removed.
        "inhibit_on_failure" => inhibit: Set<()> = flag(), default "off";
        /// Scheduler of connections.
        "lb_algo" => scheduler: Set<&'static str> = must(one_of(SCHEDULERS)), default("wlc", "wlc, with an error");
        /// Packets are scheduled one by one; UDP only.
        "ops" => ops: Set<()> = flag(), default "off";
        /// First flag of the scheduler.
        "flag-1" => flag_1: Set<()> = flag(), default "off";
        /// Second flag of the scheduler.
        "flag-2" => flag_2: Set<()> = flag(), default "off";
        /// Third flag of the scheduler.
        "flag-3" => flag_3: Set<()> = flag(), default "off";
        /// How packets reach the servers.
        "lb_kind" => forwarding: Option<Forwarding> = by(FORWARDING, Repeat::LastWins, lb_kind), default "NAT, with an error";
        /// Persistence engine of IPVS: sip.
        "persistence_engine" => engine: Set<Box<str>> = must(text_up_to(16));
        /// Seconds for which a client comes back to its server.
        "persistence_timeout" => persistence: Set<u32> =
            by("[UINT[1..2678400]]", Repeat::LastWins, persistence_timeout), default "off; bare: 360";
        /// Transport protocol.
        "protocol" => protocol: Set<Protocol> = must(one_of(PROTOCOLS).any_case()), default "UDP, with an error";
        /// Servers are checked only while the service's address is on this machine.
        "ha_suspend" => ha_suspend: Set<()> = flag(), default "off";
        /// Mail when the quorum is won or lost.
        "smtp_alert" => mail: Set<bool> = toggle(), default "smtp_alert_checker, else smtp_alert, else off";
        /// Default Host header of HTTP checks.
        "virtualhost" => virtual_host: Set<Box<str>> = last(STR).replaced();
        /// Name in the SNMP table.
        "snmp_name" => snmp_name: Set<Box<str>> = by("STR", Repeat::Replaced, snmp_name);
        /// Default of the servers: down until the first success.
        "alpha" => alpha: Set<()> = flag(), default "off";
        /// notify_down and quorum_down run at stop too.
        "omega" => omega: Set<()> = flag(), default "off";
        /// Runs when the quorum is won.
        "quorum_up" => quorum_up: SetScript = must_script();
        /// Runs when the quorum is lost.
        "quorum_down" => quorum_down: SetScript = must_script();
        /// Sum of weights that must be alive.
        "quorum" => quorum: Set<u32> = must(uint(1, u32::MAX)).or(1), default(1);
        /// Margin around the quorum.
        "hysteresis" => hysteresis: Set<u32> = must(uint(0, u32::MAX)), default(0);
        /// Default weight of the servers.
        "weight" => weight: Set<u32> = must(uint(1, WEIGHT)), default(1);
        /// Who answers when the quorum is lost.
        "sorry_server" => sorry: Option<Sorry> = by("IPADDR [PORT]", Repeat::LastWins, sorry_server);
    }
    also {
        /// The same as lb_algo.
        "lvs_sched" => scheduler: Set<&'static str> = must(one_of(SCHEDULERS)), default "wlc, with an error";
        /// The same as lb_kind.
        "lvs_method" => forwarding: Option<Forwarding> =
            by(FORWARDING, Repeat::LastWins, lb_kind), default "NAT, with an error";
        /// Weight 0 for the sorry server instead of removal.
        "sorry_server_inhibit" => sorry: Option<Sorry> = by("none", Repeat::Flag, sorry_inhibit), default "off";
        /// How packets reach the sorry server.
        "sorry_server_lvs_method" => sorry: Option<Sorry> =
            by(FORWARDING, Repeat::LastWins, sorry_forwarding), default "virtual_server's";
    }
    whole {
        /// Address family of a service by firewall mark.
        "ip_family" => by::<Service>("inet or inet6", Repeat::LastWins, ip_family), default "from the addresses";
        /// Obsolete flag; a complaint unless the scheduler is sh or mh.
        "hashed" => by::<Service>("none", Repeat::Flag, hashing), default "off";
        /// The sh scheduler looks at ports too.
        "sh-port" => by::<Service>("none", Repeat::Flag, hashing), default "off";
        /// The sh scheduler falls back when a server is unavailable.
        "sh-fallback" => by::<Service>("none", Repeat::Flag, hashing), default "off";
        /// The mh scheduler looks at ports too.
        "mh-port" => by::<Service>("none", Repeat::Flag, hashing), default "off";
        /// The mh scheduler falls back when a server is unavailable.
        "mh-fallback" => by::<Service>("none", Repeat::Flag, hashing), default "off";
        /// Clients that count as one: an IPv4 mask or an IPv6 prefix length.
        "persistence_granularity" =>
            by::<Service>("IPADDR mask (v4) or UINT[1..128] (v6)", Repeat::LastWins, granularity), default "host";
        /// One backend.
        "real_server" => block_by::<Service>(
            "virtual_server/real_server", "IPADDR [PORT] BLOCK", Repeat::Accumulates, real_server);
    }
    rest {
        /// What the service takes; set by the line that opens the block.
        target: Option<Target>;
        /// Family as far as it is known.
        family: Option<Family>;
        /// `persistence_granularity`.
        mask: Option<Granularity>;
        /// Backends in order.
        servers: Vec<Server>;
        /// The line that opens the block.
        at: Option<Span>;
        /// Where its block ends.
        close: Option<Span>;
    }
}

const FORWARDING: &str = "(NAT or DR or TUN) [type ipip or gue or gre] [port UINT] [csum or nocsum or remcsum]";

/// `sorry_server` and what is said about it.
#[derive(Clone, Debug)]
pub struct Sorry {
    pub endpoint: Endpoint,
    pub inhibit: bool,
    /// `None`: the service's.
    pub forwarding: Option<Forwarding>,
    pub at: Span,
}

block! {
    /// One backend of a service.
    "virtual_server/real_server" => Server {
        /// Weight at start.
        "weight" => weight: Set<u32> = must(uint(0, WEIGHT)), default "virtual_server's";
        /// How packets reach this server.
        "lvs_method" => forwarding: Option<Forwarding> = by(FORWARDING, Repeat::LastWins, lb_kind), default "virtual_server's";
        /// Connections above which no new ones come; 0 is no limit.
        "uthreshold" => upper: Set<u32> = must(uint(0, u32::MAX)), default(0);
        /// Connections below which new ones come again.
        "lthreshold" => lower: Set<u32> = must(uint(0, u32::MAX)), default(0);
        /// Weight 0 on failure instead of removal.
        "inhibit_on_failure" => inhibit: Set<bool> = toggle(), default "virtual_server's";
        /// Runs when the server comes up.
        "notify_up" => notify_up: SetScript = must_script();
        /// Runs when the server goes down.
        "notify_down" => notify_down: SetScript = must_script();
        /// Down until the first success.
        "alpha" => alpha: Set<bool> = toggle(), default "virtual_server's";
        /// Default of the checkers: further failures before the server is down.
        "retry" => retry: Set<u32> = must(uint(1, u32::MAX)), default "virtual_server's";
        /// Default of the checkers: seconds from a failure to the next try.
        "delay_before_retry" => delay_before_retry: Set<Interval> =
            must(timer(0, UNLIMITED_US)), default "virtual_server's";
        /// Default of the checkers: the first check comes at a random time within so many seconds.
        "warmup" => warmup: Set<Interval> = must(timer(0, UNLIMITED_US)), default "virtual_server's";
        /// Default of the checkers: seconds for a connection to come about.
        "connect_timeout" => connect_timeout: Set<Interval> = must(timer(1, LONGEST_US)), default "virtual_server's";
        /// Default of the checkers: seconds between checks.
        "delay_loop" => delay_loop: Set<Interval> = must(timer(1, UNLIMITED_US)), default "virtual_server's";
        /// Mail when the server comes up or goes down.
        "smtp_alert" => mail: Set<bool> = toggle(), default "smtp_alert_checker, else smtp_alert, else on";
        /// Default Host header of HTTP checks.
        "virtualhost" => virtual_host: Set<Box<str>> = last(STR).replaced(), default "virtual_server's";
        /// Name in the SNMP table.
        "snmp_name" => snmp_name: Set<Box<str>> = by("STR", Repeat::Replaced, snmp_name);
    }
    whole {
        /// Runs a program.
        "MISC_CHECK" => check("virtual_server/real_server/MISC_CHECK", |s, n, cx| s.check(n, cx, checkers::misc));
        /// Greets a mail server.
        "SMTP_CHECK" => check("virtual_server/real_server/SMTP_CHECK", |s, n, cx| s.check(n, cx, checkers::smtp));
        /// Opens a TCP connection.
        "TCP_CHECK" => check("virtual_server/real_server/TCP_CHECK", |s, n, cx| s.check(n, cx, checkers::tcp));
        /// Sends an ICMP echo request.
        "PING_CHECK" => check("virtual_server/real_server/PING_CHECK", |s, n, cx| s.check(n, cx, checkers::ping));
        /// Sends a datagram.
        "UDP_CHECK" => check("virtual_server/real_server/UDP_CHECK", |s, n, cx| s.check(n, cx, checkers::udp));
        /// Fetches pages over HTTP.
        "HTTP_GET" => check("virtual_server/real_server/HTTP_GET", |s, n, cx| s.check(n, cx, http::http_get));
        /// Fetches pages over HTTPS.
        "SSL_GET" => check("virtual_server/real_server/SSL_GET", |s, n, cx| s.check(n, cx, http::ssl_get));
        /// Asks a name server.
        "DNS_CHECK" => check("virtual_server/real_server/DNS_CHECK", |s, n, cx| s.check(n, cx, checkers::dns));
        /// Follows a track_file.
        "FILE_CHECK" => check("virtual_server/real_server/FILE_CHECK", |s, n, cx| s.check(n, cx, checkers::file));
        /// Follows a BFD session.
        "BFD_CHECK" => check("virtual_server/real_server/BFD_CHECK", |s, n, cx| s.check(n, cx, checkers::bfd));
    }
    rest {
        /// Address and port; set by the line that opens the block.
        endpoint: Option<Endpoint>;
        /// Checks in order.
        drafts: Vec<Draft>;
        /// The line that opens the block.
        at: Option<Span>;
    }
}

type Check = fn(&Node<'_>, Endpoint, &mut Vec<Draft>, &mut Cx<'_>);

/// The entry of a checker.
const fn check(
    path: &'static str,
    read: fn(&mut Server, &Node<'_>, &mut Cx<'_>),
) -> crate::config::table::block::By<Server> {
    block_by(path, "BLOCK", Repeat::Accumulates, read)
}

impl Server {
    fn check(&mut self, node: &Node<'_>, cx: &mut Cx<'_>, read: Check) {
        if let Some(endpoint) = self.endpoint {
            // Most servers have one check, and there may be thousands of servers.
            if self.drafts.is_empty() {
                self.drafts.reserve_exact(1);
            }
            read(node, endpoint, &mut self.drafts, cx);
        }
    }
}

/// The line that opens a service: what it takes. `None`, with a complaint, skips the block.
pub fn target(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Target> {
    let Some(first) = node.args.first().copied() else {
        cx.abort(node, "an address, `fwmark N` or `group NAME`");
        return None;
    };
    let second = node.args.get(1);
    let found = match (first.text, second) {
        ("group", Some(name)) => Ok(Target::Group(name.text.into())),
        ("group", None) => Err("`group` names no group".to_owned()),
        ("fwmark", Some(mark)) => match unsigned_in(mark.text, 0, u64::from(u32::MAX)) {
            // keepalived complains too, and makes a service of an address that nobody has.
            Some(0) => Err("0 is the mark of packets that have none".to_owned()),
            Some(mark) => Ok(Target::Mark(mark as u32)),
            None => Err(format!("`{}` is no firewall mark", mark.text)),
        },
        ("fwmark", None) => Err("`fwmark` has no number".to_owned()),
        _ => endpoint(first, second).map(|endpoint| {
            cx.unread(first);
            Target::Address(endpoint)
        }),
    };
    found
        .map_err(|problem| {
            cx.mistake(
                node.span,
                format!("{problem}; the whole virtual_server is left out"),
                "write `virtual_server ADDRESS PORT {`, `virtual_server fwmark N {` or `virtual_server group NAME {`",
            )
        })
        .ok()
}

fn lb_kind(field: &mut Option<Forwarding>, node: &Node<'_>, cx: &mut Cx<'_>) {
    *field = forwarding(*field, node, cx);
}

fn snmp_name(field: &mut Set<Box<str>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let (Some(word), None) = (node.args.first(), node.args.get(1)) else {
        return cx.error(node.span, "`snmp_name` takes one word; it is ignored");
    };
    if let Some(first) = field.as_ref() {
        cx.again(node.span, "snmp_name", first.span, "this one holds");
    }
    *field = Set::at(word.text.into(), word.span);
}

fn ip_family(service: &mut Service, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(word) = node.args.first() else { return cx.abort(node, "inet or inet6") };
    let family = match word.text {
        "inet" => Family::V4,
        "inet6" => Family::V6,
        other => return cx.error(word.span, format!("`{other}` is no address family: expected inet or inet6")),
    };
    if let Some(known) = service.family.filter(|known| *known != family) {
        return cx.error(word.span, format!("`ip_family` is ignored: the service is {known}"));
    }
    service.family = Some(family);
}

fn hashing(service: &mut Service, node: &Node<'_>, cx: &mut Cx<'_>) {
    let keyword = node.keyword.text;
    let flag = Set::at((), node.span);
    match (service.scheduler.value(), keyword) {
        (Some("sh"), "sh-fallback") | (Some("mh"), "mh-fallback") => service.flag_1 = flag,
        (Some("sh"), "sh-port") | (Some("mh"), "mh-port") => service.flag_2 = flag,
        (Some("sh" | "mh"), _) => {}
        _ => cx.mistake(
            node.span,
            format!("`{keyword}` is ignored: it needs `lb_algo sh` or `lb_algo mh` above it"),
            format!("write `lb_algo sh` or `lb_algo mh` above it, or remove `{keyword}`"),
        ),
    }
}

impl Service {
    pub(crate) fn scheduler_flags(&self) -> SchedulerFlags {
        let flags = [self.flag_1.is_some(), self.flag_2.is_some(), self.flag_3.is_some()];
        SchedulerFlags { one_packet: self.ops.is_some(), flags }
    }
}

fn persistence_timeout(field: &mut Set<u32>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(word) = node.args.first() else {
        *field = Set::at(PERSISTENCE_TIMEOUT, node.span);
        return;
    };
    match decimal(word.text, false).filter(|n| (1..=LONGEST_PERSISTENCE).contains(n)) {
        Some(seconds) => *field = Set::at(seconds as u32, word.span),
        None if decimal(word.text, false) == Some(0) => cx.mistake(
            word.span,
            "persistence_timeout `0` is ignored",
            "remove the line: without it nothing is persistent, and any number makes it so",
        ),
        None => cx.error(
            word.span,
            format!("persistence_timeout `{}` is ignored: expected 1 to {LONGEST_PERSISTENCE} seconds", word.text),
        ),
    }
}

fn granularity(service: &mut Service, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(word) = node.args.first() else { return cx.abort(node, "a mask or a prefix length") };
    let guess = if word.text.contains('.') { Family::V4 } else { Family::V6 };
    let family = service.family.unwrap_or(guess);
    let found = match family {
        Family::V6 => unsigned_in(word.text, 1, 128).map(|n| Granularity::Prefix(n as u8)),
        Family::V4 => inet_aton(word.text).map(Granularity::Mask),
    };
    let Some(found) = found else {
        let expected = if family == Family::V4 { "a mask such as 255.255.255.0" } else { "1 to 128" };
        return cx.error(word.span, format!("persistence_granularity `{}` is ignored: expected {expected}", word.text));
    };
    service.mask = Some(found);
    service.family.get_or_insert(family);
    service.persistence.get_or_insert(Setting { value: PERSISTENCE_TIMEOUT, span: word.span });
}

fn sorry_server(field: &mut Option<Sorry>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(first) = node.args.first().copied() else { return cx.abort(node, "an address") };
    match endpoint(first, node.args.get(1)) {
        Ok(endpoint) => {
            cx.unread(first);
            *field = Some(Sorry { endpoint, inhibit: false, forwarding: None, at: node.span });
        }
        Err(problem) => cx.error(node.span, format!("{problem}; the sorry server is left out")),
    }
}
const NO_SORRY_SERVER: &str = "write `sorry_server ADDRESS PORT` above it, or remove the line";
fn sorry_inhibit(field: &mut Option<Sorry>, node: &Node<'_>, cx: &mut Cx<'_>) {
    match field {
        Some(sorry) => sorry.inhibit = true,
        None => cx.mistake(
            node.span,
            "`sorry_server_inhibit` is ignored: there is no sorry_server above it",
            NO_SORRY_SERVER,
        ),
    }
}
fn sorry_forwarding(field: &mut Option<Sorry>, node: &Node<'_>, cx: &mut Cx<'_>) {
    match field {
        Some(sorry) => sorry.forwarding = forwarding(sorry.forwarding, node, cx),
        None => cx.mistake(
            node.span,
            "`sorry_server_lvs_method` is ignored: there is no sorry_server above it",
            NO_SORRY_SERVER,
        ),
    }
}

fn real_server(service: &mut Service, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(first) = node.args.first().copied() else { return cx.abort(node, "an address") };
    let endpoint = match endpoint(first, node.args.get(1)) {
        Ok(endpoint) => endpoint,
        Err(problem) => {
            return cx.mistake(
                node.span,
                format!("{problem}; this real_server is left out"),
                "write `real_server ADDRESS PORT {`",
            );
        }
    };
    cx.unread(first);
    let mut server =
        Server { endpoint: Some(endpoint), forwarding: service.forwarding, at: Some(node.span), ..Server::default() };
    read_block(&mut server, node.body.as_deref().unwrap_or_default(), cx);
    // A tunnel may end in the other family; everything else may not.
    if server.forwarding.is_none_or(|f| f.method != Method::Tunnel) {
        let family = Family::of(&endpoint.address);
        let expected = *service.family.get_or_insert(family);
        if expected != family {
            return cx.error_of(
                node,
                format!("real_server {endpoint} is left out: the service is {expected}"),
                "name a server of the same family, or write `lb_kind TUN`",
            );
        }
    }
    service.servers.push(server);
}

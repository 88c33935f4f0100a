//! The checkers of a real server, except the HTTP ones: their keywords and what each makes of them.
//!
//! A checker's block is read into its settings and turned into a [`Draft`] at once, since keepalived complains at the end
//! of the block and drops a checker that cannot work. Defaults that come from the servers above are filled in later, by
//! `resolve`.

use super::shared::{ConnectionSettings, TimingSettings, UNLIMITED_US, bind_to, checker, connect_ip, hex, within};
use crate::config::line::signed_in;
use crate::config::security::{ScriptLine, SetScript, UserLine, last_script, user};
use crate::config::table::block::{Cx, Repeat, Set, block_by, by, flag, last, must, read_block, toggle};
use crate::config::table::values::{IFNAME, LONGEST_US, STR, one_of, timer, uint};
use crate::config::text::source::Span;
use crate::config::text::tree::Node;
use crate::spec::balance::{CheckerKind, Endpoint};
use crate::time::Interval;
use std::net::IpAddr;

/// A checker as far as its own block says it.
#[derive(Clone, Debug)]
pub struct Draft {
    pub kind: CheckerKind,
    pub at: Span,
    pub timing: Option<TimingSettings>,
    pub connection: Option<ConnectionSettings>,
    /// Default of `retry`.
    pub retry: u32,
    /// Default of `delay_before_retry`; `None` is the delay of the loop.
    pub pause: Option<Interval>,
    pub alpha: Set<bool>,
    pub log_all_failures: bool,
    /// What a MISC_CHECK runs.
    pub command: Option<Box<Command>>,
    /// The end of the block.
    pub close: Option<Span>,
}

/// A command line and who runs it.
#[derive(Clone, Debug)]
pub struct Command {
    pub line: ScriptLine,
    pub user: Option<UserLine>,
}

impl Draft {
    /// A check of this kind, named at `at`; nothing is said of its time and its way.
    pub fn new(kind: CheckerKind, at: Span) -> Self {
        Draft {
            kind,
            at,
            timing: None,
            connection: None,
            retry: 1,
            pause: Some(Interval::from_secs(1)),
            alpha: Set::default(),
            log_all_failures: false,
            command: None,
            close: None,
        }
    }
    /// The same, with what its block says of its time.
    pub fn timed(mut self, timing: TimingSettings) -> Self {
        self.alpha = timing.alpha;
        self.log_all_failures = timing.logs_all_failures();
        self.timing = Some(timing);
        self
    }
    /// The same, with what its block says of its connection.
    pub fn connected(mut self, connection: ConnectionSettings) -> Self {
        self.connection = Some(connection);
        self
    }
}

checker! {
    connected
    /// Opens a TCP connection.
    "virtual_server/real_server/TCP_CHECK" => Tcp {} also {}
}
checker! {
    connected
    /// Sends an ICMP echo request.
    "virtual_server/real_server/PING_CHECK" => Ping {} also {}
}
checker! {
    connected
    /// Sends a datagram.
    "virtual_server/real_server/UDP_CHECK" => Udp {
        /// Content of the datagram.
        "payload" => payload: Option<Box<[u8]>> = by("HEX...", Repeat::LastWins, payload), default "empty";
        /// A reply must come; with hexadecimal digits, this one (`x` is any digit).
        "require_reply" => reply: Option<Box<[(u8, u8)]>> = by("[HEX...]", Repeat::LastWins, require_reply), default "off";
        /// Shortest reply that counts.
        "min_reply_length" => shortest: Set<u32> = must(uint(0, 65535)), default(0);
        /// Longest reply that counts.
        "max_reply_length" => longest: Set<u32> = must(uint(0, 65535)), default(255);
    } also {}
}
checker! {
    connected
    /// Greets a mail server.
    "virtual_server/real_server/SMTP_CHECK" => Smtp {
        /// Name given in HELO.
        "helo_name" => helo: Set<Box<str>> = last(STR).replaced(), default("smtpchecker.keepalived.org".into(), "smtpchecker.keepalived.org");
        /// A further target, as a check of its own.
        "host" => hosts: Vec<(SmtpHost, Ends)> =
            block_by("virtual_server/real_server/SMTP_CHECK/host", "BLOCK", Repeat::Accumulates, smtp_host),
            renamed "write several SMTP_CHECK";
    } also {}
}
checker! {
    connected
    /// A further target of SMTP_CHECK.
    "virtual_server/real_server/SMTP_CHECK/host" => SmtpHost {} also {}
}
checker! {
    connected
    /// Asks a name server.
    "virtual_server/real_server/DNS_CHECK" => Dns {
        /// Record type asked for.
        "type" => record: Set<&'static str> = must(one_of(RECORDS).any_case()), default("SOA", "SOA");
        /// Name asked for.
        "name" => query: Set<Box<str>> = by("STR", Repeat::FirstKept, dns_name), default(".".into(), "the root");
    } also {}
}
checker! {
    timed
    /// Runs a program: exit code 0 is good.
    "virtual_server/real_server/MISC_CHECK" => Misc {
        /// Command line.
        "misc_path" => path: SetScript = last_script(), default "required";
        /// Seconds after which the program is killed.
        "misc_timeout" => timeout: Set<u32> = must(uint(0, 4294)), default "virtual_server's delay_loop";
        /// Exit codes 2 to 255 set the server's weight to the code less 2.
        "misc_dynamic" => dynamic: Set<()> = flag(), default "off";
        /// User and group that the program runs as.
        "user" => user: Set<UserLine> = user(), default "script_user";
    } also {}
}

block! {
    /// Follows a track_file: its value times the weight is added to the server's weight.
    "virtual_server/real_server/FILE_CHECK" => File {
        /// The file to follow.
        "track_file" => file: FileName = by("NAME", Repeat::LastWins, track_file), default "required";
        /// What the file's value is multiplied with.
        "weight" => weight: Option<(i32, bool)> =
            by("INT[-2147483647..2147483647] [reverse or noreverse]", Repeat::LastWins, file_weight),
            default "track_file's";
    }
}

block! {
    /// Follows a BFD session.
    "virtual_server/real_server/BFD_CHECK" => Bfd {
        /// The session to follow.
        "name" => session: BfdName = by("NAME", Repeat::FirstKept, bfd_name), default "required";
        /// The server is down until the session is up.
        "alpha" => alpha: Set<bool> = toggle(), default "real_server's";
    }
}

const RECORDS: &[(&str, &str)] = &[
    ("A", "A"),
    ("NS", "NS"),
    ("CNAME", "CNAME"),
    ("SOA", "SOA"),
    ("MX", "MX"),
    ("TXT", "TXT"),
    ("AAAA", "AAAA"),
    ("RRSIG", "RRSIG"),
    ("DNSKEY", "DNSKEY"),
];

/// The file of a FILE_CHECK, or the name that no file has, which is complained about at the end of the block.
#[derive(Clone, Debug, Default)]
pub struct FileName {
    name: Set<Box<str>>,
    unknown: Set<Box<str>>,
}

/// The session of a BFD_CHECK, or that its name was wrong, which costs the checker.
#[derive(Clone, Debug, Default)]
pub struct BfdName {
    name: Set<Box<str>>,
    spoilt: bool,
}

fn body<'n, 's>(node: &'n Node<'s>) -> &'n [Node<'s>] {
    node.body.as_deref().unwrap_or_default()
}

/// Where a check begins and ends.
pub type Ends = (Span, Option<Span>);

pub(crate) fn ends(check: &Node<'_>) -> Ends {
    (check.span, check.close)
}

/// A link-local target needs `bind_if`: the same address may be behind every interface. False costs the checker.
pub fn reachable(connection: &ConnectionSettings, server: Endpoint, (at, close): Ends, cx: &mut Cx<'_>) -> bool {
    let to = connection.unusual.connect_ip.or(server.address);
    let link_local = matches!(to, IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80);
    if link_local && connection.unusual.interface.is_none() {
        cx.block_error(
            at,
            close,
            format!("a check of link-local {to} needs `bind_if`; it is left out"),
            "write `bind_if IFNAME` in the check",
        );
        return false;
    }
    true
}

/// TCP_CHECK
pub fn tcp(node: &Node<'_>, server: Endpoint, out: &mut Vec<Draft>, cx: &mut Cx<'_>) {
    let mut own = Tcp { connection: ConnectionSettings::to(server.address), ..Tcp::default() };
    read_block(&mut own, body(node), cx);
    if reachable(&own.connection, server, ends(node), cx) {
        out.push(Draft::new(CheckerKind::Tcp, node.span).timed(own.timing).connected(own.connection));
    }
}

/// PING_CHECK
pub fn ping(node: &Node<'_>, server: Endpoint, out: &mut Vec<Draft>, cx: &mut Cx<'_>) {
    let mut own = Ping { connection: ConnectionSettings::to(server.address), ..Ping::default() };
    read_block(&mut own, body(node), cx);
    if reachable(&own.connection, server, ends(node), cx) {
        out.push(Draft::new(CheckerKind::Ping, node.span).timed(own.timing).connected(own.connection));
    }
}

/// UDP_CHECK
pub fn udp(node: &Node<'_>, server: Endpoint, out: &mut Vec<Draft>, cx: &mut Cx<'_>) {
    let mut own = Udp { connection: ConnectionSettings::to(server.address), ..Udp::default() };
    read_block(&mut own, body(node), cx);
    if !reachable(&own.connection, server, ends(node), cx) {
        return;
    }
    let (shortest, longest) = (own.shortest() as u16, own.longest() as u16);
    if shortest > longest {
        let at = own.shortest.span().or(own.longest.span()).unwrap_or(node.span);
        let message =
            format!("min_reply_length {shortest} is above max_reply_length {longest}: the check always fails");
        cx.block_error(at, node.close, message, "lower min_reply_length, or raise max_reply_length");
    }
    let kind = CheckerKind::Udp { payload: own.payload.unwrap_or_default(), reply: own.reply, shortest, longest };
    out.push(Draft::new(kind, node.span).timed(own.timing).connected(own.connection));
}

fn payload(field: &mut Option<Box<[u8]>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    match hex(&node.args, false) {
        Some(bytes) => *field = Some(bytes.iter().map(|(byte, _)| *byte).collect()),
        None => cx.error(node.span, "`payload` is ignored: expected hexadecimal digits"),
    }
}
fn require_reply(field: &mut Option<Box<[(u8, u8)]>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let any = field.get_or_insert_default();
    if node.args.is_empty() {
        return;
    }
    match hex(&node.args, true) {
        Some(bytes) => *any = bytes,
        None => cx.error(node.span, "any reply will do: `require_reply` expects hexadecimal digits or `x`"),
    }
}

/// SMTP_CHECK: a check of the server, and one of each `host`. Where there are hosts and the block says nothing of its own
/// connection, only the hosts are checked.
pub fn smtp(node: &Node<'_>, server: Endpoint, out: &mut Vec<Draft>, cx: &mut Cx<'_>) {
    let mut own = Smtp::default();
    read_block(&mut own, body(node), cx);
    let kind = CheckerKind::Smtp { helo: own.helo() };
    let checks_itself = own.hosts.is_empty() || own.connection.says_anything();
    let hosts = own.hosts.iter().map(|(host, at)| {
        let timeout = host.connection.timeout.otherwise(&own.connection.timeout);
        let connection = ConnectionSettings { timeout, ..host.connection.clone() };
        (connection, host.timing.otherwise(&own.timing), *at)
    });
    let itself = checks_itself.then(|| (own.connection.clone(), own.timing.clone(), ends(node)));
    for (connection, timing, at) in itself.into_iter().chain(hosts) {
        if reachable(&connection, server, at, cx) {
            out.push(Draft::new(kind.clone(), at.0).timed(timing).connected(connection));
        }
    }
}
fn smtp_host(hosts: &mut Vec<(SmtpHost, Ends)>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let mut own = SmtpHost::default();
    read_block(&mut own, body(node), cx);
    hosts.push((own, ends(node)));
}

/// DNS_CHECK
pub fn dns(node: &Node<'_>, server: Endpoint, out: &mut Vec<Draft>, cx: &mut Cx<'_>) {
    let mut own = Dns { connection: ConnectionSettings::to(server.address), ..Dns::default() };
    read_block(&mut own, body(node), cx);
    if reachable(&own.connection, server, ends(node), cx) {
        let name = own.query();
        let kind = CheckerKind::Dns { record: own.record(), name };
        let draft = Draft::new(kind, node.span).timed(own.timing).connected(own.connection);
        out.push(Draft { retry: 3, pause: None, ..draft });
    }
}
fn dns_name(field: &mut Set<Box<str>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    if let Some(first) = field.span() {
        return cx.again(node.span, "name", first, "the first one holds");
    }
    let Some(word) = node.args.first() else { return cx.abort(node, "a name") };
    let name = word.text.strip_suffix('.').unwrap_or(word.text);
    if !name.is_empty() && name.split('.').any(str::is_empty) {
        return cx.error(word.span, format!("`{}` has an empty label and is ignored", word.text));
    }
    *field = Set::at(word.text.into(), word.span);
}

/// MISC_CHECK
pub fn misc(node: &Node<'_>, _: Endpoint, out: &mut Vec<Draft>, cx: &mut Cx<'_>) {
    let mut own = Misc::default();
    read_block(&mut own, body(node), cx);
    let Some(path) = own.path else {
        return cx.lacks(
            &["misc_path"],
            node.span,
            node.close,
            "MISC_CHECK has no misc_path; it is left out",
            "write `misc_path COMMAND` in it",
        );
    };
    // The user has a line of its own: further words of this one are not read.
    let line = ScriptLine { user: None, ..path.value };
    let command = Command { line, user: own.user.value() };
    let timeout = own.timeout.map(|seconds| Interval::from_secs(u64::from(seconds.value)));
    // The command becomes a program to run when users and paths are looked at, in `resolve`.
    let kind = CheckerKind::Misc { run: None, timeout: timeout.unwrap_or_default(), dynamic: own.dynamic.is_some() };
    let draft = Draft::new(kind, node.span).timed(own.timing);
    out.push(Draft { retry: 0, command: Some(command.into()), close: node.close, ..draft });
}

/// FILE_CHECK
pub fn file(node: &Node<'_>, _: Endpoint, out: &mut Vec<Draft>, cx: &mut Cx<'_>) {
    let mut own = File::default();
    read_block(&mut own, body(node), cx);
    let Some(file) = own.file.name.given() else {
        return match own.file.unknown.given() {
            Some(name) => unknown(&name.value, "track_file", name.span, node.close, cx),
            None => cx.lacks(
                &["track_file"],
                node.span,
                node.close,
                "FILE_CHECK has no track_file; it is left out",
                "write `track_file NAME` in it, the name of a track_file block above",
            ),
        };
    };
    let (weight, reverse) = own.weight.map_or((None, false), |(weight, reverse)| (Some(weight), reverse));
    out.push(Draft::new(CheckerKind::File { file: file.value, weight, reverse }, node.span));
}
fn track_file(field: &mut FileName, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(word) = node.args.first() else { return cx.abort(node, "the name of a track_file") };
    if !cx.defined("track_file", word.text) {
        field.unknown = Set::at(word.text.into(), word.span);
        return;
    }
    field.name = Set::at(word.text.into(), word.span);
}
/// A checker of something that does not exist is left out.
fn unknown(name: &str, kind: &str, at: Span, close: Option<Span>, cx: &mut Cx<'_>) {
    let hint = cx.nearest(kind, name);
    let hint = hint.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
    cx.block_error(
        at,
        close,
        format!("there is no {kind} `{name}` above this line{hint}"),
        format!("define it with a {kind} block above the virtual_server"),
    );
}
fn file_weight(field: &mut Option<(i32, bool)>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let most = i64::from(i32::MAX);
    let Some(word) = node.args.first() else { return cx.error(node.span, "`weight` has no value and is ignored") };
    let Some(weight) = signed_in(word.text, -most, most) else {
        return cx.mistake(
            word.span,
            format!("weight `{}` is ignored: expected -{most} to {most}", word.text),
            "for example `weight 1`",
        );
    };
    let reverse = match node.args.get(1).map(|word| (word.text, word.span)) {
        None | Some(("noreverse", _)) => false,
        Some(("reverse", _)) => true,
        Some((other, span)) => {
            return cx.mistake(
                span,
                format!("`{other}` cannot follow a weight: expected reverse or noreverse"),
                format!("remove `{other}`, or write `reverse` in its place"),
            );
        }
    };
    *field = Some((weight as i32, reverse));
}

/// BFD_CHECK
pub fn bfd(node: &Node<'_>, _: Endpoint, out: &mut Vec<Draft>, cx: &mut Cx<'_>) {
    let mut own = Bfd::default();
    read_block(&mut own, body(node), cx);
    let Some(session) = own.session.name.given().filter(|_| !own.session.spoilt) else {
        if !own.session.spoilt {
            cx.lacks(
                &["name"],
                node.span,
                node.close,
                "BFD_CHECK has no name; it is left out",
                "write `name NAME` in it, the name of a bfd_instance block above",
            );
        }
        return;
    };
    let twice = out.iter().any(|d| matches!(&d.kind, CheckerKind::Bfd { session: known } if *known == session.value));
    if twice {
        return cx
            .error(session.span, format!("this server follows `{}` already; the check is left out", session.value));
    }
    let draft = Draft::new(CheckerKind::Bfd { session: session.value }, node.span);
    out.push(Draft { alpha: own.alpha, ..draft });
}
fn bfd_name(field: &mut BfdName, node: &Node<'_>, cx: &mut Cx<'_>) {
    let (Some(word), None) = (node.args.first(), node.args.get(1)) else {
        field.spoilt = true;
        return cx.mistake(
            node.span,
            "`name` takes one word; the check is left out",
            "write `name` and the name of a bfd_instance, or a name in quotes",
        );
    };
    if let Some(first) = field.name.span() {
        field.spoilt = true;
        return cx.again(node.span, "name", first, "the check is left out");
    }
    if !cx.defined(crate::config::bfd::FOR_CHECKERS, word.text) {
        field.spoilt = true;
        return unknown(word.text, "bfd_instance", word.span, None, cx);
    }
    field.name = Set::at(word.text.into(), word.span);
}

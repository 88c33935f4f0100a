//! Keywords of `global_defs` with a grammar of their own.
//!
//! Each function reads one line into its field, exactly as keepalived takes it: what is kept when something is wrong is
//! part of the language.

use crate::config::report::{Class, Diagnostic};
use crate::config::security::UserLine;
use crate::config::table::block::{Cx, Set};
use crate::config::table::values::{GROUP6, IFNAME, Value, decimal, int, ip_address, leading, uint};
use crate::config::text::tree::{Node, Word};
use crate::spec::IfName;
use crate::spec::balance::{SyncDaemon, Timeouts};
use std::net::IpAddr;

/// `smtp_server`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SmtpServer {
    /// As given: an address or a host name.
    pub host: Box<str>,
    pub port: u16,
}

/// A FIFO and who owns it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FifoLine {
    pub path: Box<str>,
    pub user: Option<UserLine>,
}

/// `vrrp_garp_extra_if`, `garp_extra_if`: `all` is remembered even when the time is bad.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GarpExtra {
    pub all: bool,
    pub seconds: Set<u32>,
}

impl GarpExtra {
    /// Seconds between two announcements; 0, the default, is off.
    pub fn period(&self) -> u32 {
        self.seconds.or(0)
    }
}

/// `vrrp_rx_bufs_policy`: what has been said so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RxPolicy {
    pub mtu: bool,
    pub advert: bool,
    pub bytes: Option<u32>,
}

fn set<T>(field: &mut Set<T>, value: T, node: &Node<'_>) {
    *field = Set::at(value, node.args.first().map_or(node.span, |w| w.span));
}

/// Reads a word of a kind; complains under the keyword's name.
fn word<V: Value>(kind: V, word: Word<'_>, node: &Node<'_>, cx: &mut Cx<'_>) -> Option<V::Out> {
    kind.take(word, node.keyword.text, cx)
}

pub(crate) fn smtp_server(field: &mut Set<SmtpServer>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(host) = node.args.first() else { return cx.abort(node, "an address or a host name") };
    let port = match node.args.get(1) {
        None => Some(25),
        Some(port) => port.text.parse::<u16>().ok().filter(|p| *p > 0).or(match port.text {
            "smtp" => Some(25),
            "submission" => Some(587),
            _ => None,
        }),
    };
    let known = ip_address(host.text).is_some() || cx.env.system.resolve(host.text).is_some();
    let (Some(port), true) = (port, known) else {
        let message = format!("`smtp_server`: there is no `{}`", host.text);
        return cx.push(
            Diagnostic::new(Class::General, host.span, message)
                .label("expected an address, or a name that can be looked up")
                .help("write a mail relay that can be looked up here, or its address: `smtp_server 192.0.2.25 25`"),
        );
    };
    set(field, SmtpServer { host: host.text.into(), port }, node);
}

pub(crate) fn smtp_timeout(field: &mut Set<u32>, node: &Node<'_>, cx: &mut Cx<'_>) {
    at_least(field, node, cx, 4294);
}

/// A number that should be 1 or more: 0 is an error and taken as 1.
pub fn at_least_one(field: &mut Set<u32>, node: &Node<'_>, cx: &mut Cx<'_>) {
    at_least(field, node, cx, u32::MAX);
}

fn at_least(field: &mut Set<u32>, node: &Node<'_>, cx: &mut Cx<'_>, max: u32) {
    let Some(first) = node.args.first().copied() else { return cx.abort(node, "a whole number, 1 or more") };
    if leading(first.text, false) == Some(0) {
        let message = format!("`{}` cannot be `{}`; 1 is used", node.keyword.text, first.text);
        cx.push(Diagnostic::new(Class::General, first.span, message).label("expected 1 or more"));
        set(field, 1, node);
    } else if let Some(n) = word(uint(1, max), first, node, cx) {
        set(field, n, node);
    }
}

/// The only name that keepalived complains after if more words follow it.
pub fn email_from(field: &mut Set<Box<str>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(address) = node.args.first() else { return cx.missing(node, "USER@HOST") };
    if let Some(more) = node.args.get(1) {
        cx.mistake(
            more.span,
            "`notification_email_from` takes one address; the rest is ignored",
            format!("write `notification_email_from {}`", address.text),
        );
    }
    set(field, address.text.into(), node);
}

pub(crate) fn emails(field: &mut Vec<Box<str>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let lines = node.body.as_deref().unwrap_or_default();
    if lines.is_empty() {
        cx.error_of(node, "`notification_email` holds no address", "write one address a line in it");
    }
    field.extend(lines.iter().flat_map(|line| line.words()).map(|w| w.text.into()));
}

pub(crate) fn dynamic_interfaces(field: &mut Set<bool>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let mut changes = field.as_ref().is_some_and(|f| f.value);
    match node.args.first() {
        None => {}
        Some(w) if w.text == "allow_if_changes" => changes = true,
        Some(w) => {
            let message = format!("`dynamic_interfaces` has no option `{}`; it is on all the same", w.text);
            cx.push(Diagnostic::new(Class::General, w.span, message).label("expected allow_if_changes or nothing"));
        }
    }
    set(field, changes, node);
}

pub(crate) fn default_interface(field: &mut Set<IfName>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(first) = node.args.first().copied() else { return cx.missing(node, "an interface name") };
    if let Some(name) = word(IFNAME, first, node, cx) {
        set(field, name, node);
    }
}

pub(crate) fn lvs_timeouts(field: &mut Set<Timeouts>, node: &Node<'_>, cx: &mut Cx<'_>) {
    if node.args.len() < 2 {
        return cx.missing(node, "tcp SECONDS, tcpfin SECONDS or udp SECONDS");
    }
    let mut words = node.args.iter().copied();
    while let Some(which) = words.next() {
        if !matches!(which.text, "tcp" | "tcpfin" | "udp") {
            let message = format!("`lvs_timeouts` has no option `{}`", which.text);
            cx.push(Diagnostic::new(Class::General, which.span, message).label("expected tcp, tcpfin or udp"));
            continue;
        }
        match words.next() {
            None => cx.error(which.span, format!("`lvs_timeouts {}` has no value", which.text)),
            Some(value) => {
                if let Some(seconds) = word(uint(0, 2_678_400), value, node, cx) {
                    let mut all = field.or(Timeouts::default());
                    match which.text {
                        "tcp" => all.tcp = Some(seconds),
                        "tcpfin" => all.tcp_fin = Some(seconds),
                        _ => all.udp = Some(seconds),
                    }
                    set(field, all, node);
                }
            }
        }
    }
}

pub(crate) fn lvs_flush_on_stop(field: &mut Set<bool>, node: &Node<'_>, cx: &mut Cx<'_>) {
    match node.args.first() {
        Some(w) if w.text != "VS" => {
            let message = format!("`{}` cannot be `{}`", node.keyword.text, w.text);
            cx.push(Diagnostic::new(Class::General, w.span, message).label("expected VS or nothing"));
        }
        only_vs => set(field, only_vs.is_some(), node),
    }
}

pub(crate) fn lvs_sync_daemon(field: &mut Set<SyncDaemon>, node: &Node<'_>, cx: &mut Cx<'_>) {
    if let Some(first) = field.as_ref() {
        return cx.again(node.span, "lvs_sync_daemon", first.span, "the first one holds");
    }
    let Some(first) = node.args.first().copied() else { return cx.missing(node, "an interface name") };
    let Some(interface) = word(IFNAME, first, node, cx) else { return };
    let mut daemon =
        SyncDaemon { interface, instance: None, id: None, max_length: None, port: None, ttl: None, group: None };
    let mut at = 1;
    while let Some(option) = node.args.get(at).copied() {
        let value = node.args.get(at + 1).copied();
        let ranged = |min, max, cx: &mut Cx<'_>| match value {
            None => {
                cx.error(option.span, format!("`lvs_sync_daemon {}` has no value", option.text));
                None
            }
            Some(w) => word(uint(min, max), w, node, cx),
        };
        let mut pair = true;
        match option.text {
            "inst" => match (value, &daemon.instance) {
                (None, _) => return cx.abort(node, "the name of an instance after inst"),
                (Some(name), None) => daemon.instance = Some(name.text.into()),
                (Some(name), Some(_)) => cx.error(name.span, "`lvs_sync_daemon` names two instances"),
            },
            "id" => daemon.id = ranged(0, 255, cx).map_or(daemon.id, |id| u8::try_from(id).ok()),
            "maxlen" => {
                daemon.max_length = ranged(1, 65_507, cx).map_or(daemon.max_length, |most| u16::try_from(most).ok());
            }
            "port" => daemon.port = ranged(1, 65_535, cx).map_or(daemon.port, |port| u16::try_from(port).ok()),
            "ttl" => daemon.ttl = ranged(1, 255, cx).map_or(daemon.ttl, |ttl| u8::try_from(ttl).ok()),
            "group" => match value {
                None => cx.error(option.span, "`lvs_sync_daemon group` has no value"),
                Some(w) => {
                    daemon.group = word(crate::config::table::values::GROUP, w, node, cx).or(daemon.group);
                }
            },
            name if at == 1 => {
                daemon.instance = Some(name.into());
                pair = false;
            }
            _ if at == 2 => {
                pair = false;
                if let Some(id) = word(uint(0, 255), option, node, cx) {
                    daemon.id = u8::try_from(id).ok();
                    cx.mistake(
                        option.span,
                        "write `id` before the id of `lvs_sync_daemon`",
                        format!("write `id {}` in its place", option.text),
                    );
                }
            }
            other => {
                pair = false;
                cx.error(option.span, format!("`lvs_sync_daemon` has no option `{other}`"));
            }
        }
        at += if pair { 2 } else { 1 };
    }
    set(field, daemon, node);
}

pub(crate) fn mcast_group6(field: &mut Set<IpAddr>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(first) = node.args.first().copied() else { return cx.abort(node, &GROUP6.expected()) };
    let Some(group) = word(GROUP6, first, node, cx) else { return };
    if let IpAddr::V6(v6) = group
        && v6.segments()[0] & 0xff0f != 0xff02
    {
        let message = format!("`vrrp_mcast_group6`: {group} reaches further than the link");
        cx.push(Diagnostic::new(Class::Warning, first.span, message).label("expected an address in ff02::/16"));
    }
    set(field, group, node);
}

pub(crate) fn global_garp_extra(field: &mut GarpExtra, node: &Node<'_>, cx: &mut Cx<'_>) {
    garp_extra(field, node, cx, 1);
}

/// `[all] SECONDS`, from `min`.
pub fn garp_extra(field: &mut GarpExtra, node: &Node<'_>, cx: &mut Cx<'_>, min: u32) {
    let mut seconds = Set::default();
    for w in node.args.iter().copied() {
        if w.text == "all" {
            field.all = true;
            continue;
        }
        let Some(value) = word(uint(min, 86_400), w, node, cx) else { return };
        seconds = Set::at(value, w.span);
    }
    if seconds.is_some() {
        field.seconds = seconds;
    } else {
        cx.missing(node, "seconds, with or without `all` in front");
    }
}

pub(crate) fn iptables(field: &mut Set<()>, node: &Node<'_>, _cx: &mut Cx<'_>) {
    set(field, (), node);
}

pub(crate) fn ipsets(field: &mut Set<()>, node: &Node<'_>, _cx: &mut Cx<'_>) {
    set(field, (), node);
}

pub(crate) fn nftables(field: &mut Set<Box<str>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    if let Some(first) = field.as_ref() {
        return cx.again(node.span, node.keyword.text, first.span, "the first one holds");
    }
    let default = if node.keyword.text == "nftables" { "keepalived" } else { "keepalived_ipvs" };
    let name = node.args.first().map_or(default, |w| w.text);
    // keepalived's limit: the kernel's NFT_TABLE_MAXNAMELEN of 256, less a terminator and one byte.
    if name.is_empty() || name.len() > 254 {
        let span = node.args.first().map_or(node.span, |w| w.span);
        return cx.push(
            Diagnostic::new(
                Class::General,
                span,
                format!("`{}`: this cannot be the name of a table", node.keyword.text),
            )
            .label("expected 1 to 254 bytes"),
        );
    }
    set(field, name.into(), node);
}

pub(crate) fn rt_priority(field: &mut Set<u8>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(first) = node.args.first().copied() else { return cx.missing(node, "a whole number from 1 to 99") };
    // What is out of range is brought into it, and of a word like `5x` the number is used.
    let outside = leading(first.text, true).and_then(|n| i32::try_from(n).ok()).filter(|n| !(1..=99).contains(n));
    if let Some(given) = outside {
        let used = given.clamp(1, 99) as u8;
        let message = format!("`{}` cannot be `{}`; {used} is used", node.keyword.text, first.text);
        cx.push(Diagnostic::new(Class::General, first.span, message).label("expected 1 to 99"));
        set(field, used, node);
    } else if let Some(given) = word(int(1, 99), first, node, cx) {
        set(field, given as u8, node);
    }
}

pub(crate) fn cpu_affinity(field: &mut Set<Vec<u32>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    if node.args.is_empty() {
        return cx.missing(node, "numbers of CPUs");
    }
    let last = cx.env.system.cpus().saturating_sub(1);
    let mut cpus = Vec::new();
    for w in node.args.iter().copied() {
        let Some(cpu) = word(uint(0, last), w, node, cx) else {
            *field = Set::default();
            return;
        };
        cpus.push(cpu);
    }
    set(field, cpus, node);
}

pub(crate) fn fifo(field: &mut Set<FifoLine>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(path) = node.args.first() else { return cx.missing(node, "the path of a FIFO") };
    if let Some(first) = field.as_ref() {
        return cx.again(node.span, node.keyword.text, first.span, "the first one holds");
    }
    let user = node.args.get(1).map(|user| UserLine {
        user: user.text.into(),
        group: node.args.get(2).map(|g| g.text.into()),
        span: user.span,
    });
    if let Some(line) = &user
        && let Err(problem) = crate::config::security::account(cx.env.system, line, false)
    {
        return cx.note(line.span, format!("`{}` is ignored: {problem}", node.keyword.text));
    }
    set(field, FifoLine { path: path.text.into(), user }, node);
}

pub(crate) fn snmp_socket(field: &mut Set<Box<str>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let [only] = node.args.as_slice() else {
        return match node.args.get(1) {
            Some(extra) => cx.error(extra.span, "`snmp_socket` takes one argument and is ignored"),
            None => cx.missing(node, "the address of the AgentX master"),
        };
    };
    match field.span() {
        Some(first) => cx.again(node.span, "snmp_socket", first, "the first one holds"),
        None => set(field, only.text.into(), node),
    }
}

pub(crate) fn rx_policy(field: &mut RxPolicy, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(first) = node.args.first().copied() else { return cx.missing(node, "MTU, ADVERT or a number of bytes") };
    for w in node.args.iter() {
        if w.text.eq_ignore_ascii_case("MTU") {
            field.mtu = true;
        } else if w.text.eq_ignore_ascii_case("ADVERT") {
            field.advert = true;
        } else {
            // keepalived reads the number from the first word whichever word was no policy.
            match decimal(first.text, false).and_then(|n| u32::try_from(n).ok()) {
                Some(bytes) => field.bytes = Some(bytes),
                None => cx.push(
                    Diagnostic::new(
                        Class::InvalidNumber,
                        w.span,
                        format!("`vrrp_rx_bufs_policy` cannot be `{}`", w.text),
                    )
                    .label("expected MTU, ADVERT or a number of bytes"),
                ),
            }
        }
    }
    if field.bytes.is_some() && (field.mtu || field.advert) {
        cx.error(node.span, "`vrrp_rx_bufs_policy` has both a size and a policy; the size holds");
        (field.mtu, field.advert) = (false, false);
    } else if field.mtu && field.advert {
        cx.error(node.span, "`vrrp_rx_bufs_policy` has both MTU and ADVERT; MTU holds");
        field.advert = false;
    }
}

pub(crate) fn rx_multiplier(field: &mut Set<u32>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let [only] = node.args.as_slice() else {
        return match node.args.get(1) {
            Some(extra) => cx.error(extra.span, "`vrrp_rx_bufs_multiplier` takes one argument and is ignored"),
            None => cx.missing(node, "a whole number, 1 or more"),
        };
    };
    if let Some(n) = word(uint(1, u32::MAX).exact(), *only, node, cx) {
        set(field, n, node);
    }
}

/// A mask as a C number, or bits by name: `IRUSR|IWUSR`.
pub fn umask(field: &mut Set<u32>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(first) = node.args.first().copied() else { return cx.abort(node, "a file mode mask") };
    if first.text.starts_with(|c: char| c.is_ascii_digit()) {
        if let Some(extra) = node.args.get(1) {
            return cx.error(extra.span, "`umask` takes one number and is ignored");
        }
        return match c_number(first.text).filter(|n| *n <= 0o777) {
            Some(mask) => set(field, mask, node),
            None => cx.push(
                Diagnostic::new(Class::General, first.span, format!("`umask` cannot be `{}`", first.text))
                    .label("expected 0 to 0777"),
            ),
        };
    }
    let text: String = node.args.iter().map(|w| w.text).collect();
    let mut mask = 0;
    for name in text.split('|') {
        let bits = match name {
            "IRUSR" => 0o400,
            "IWUSR" => 0o200,
            "IXUSR" => 0o100,
            "IRWXU" => 0o700,
            "IRGRP" => 0o040,
            "IWGRP" => 0o020,
            "IXGRP" => 0o010,
            "IRWXG" => 0o070,
            "IROTH" => 0o004,
            "IWOTH" => 0o002,
            "IXOTH" => 0o001,
            "IRWXO" => 0o007,
            other => return cx.error(first.span, format!("`umask`: there is no mode bit `{other}`")),
        };
        mask |= bits;
    }
    set(field, mask, node);
}

/// A number as C's strtol with base 0 reads it: 0x hexadecimal, 0 octal, else decimal.
fn c_number(text: &str) -> Option<u32> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u32::from_str_radix(hex, 16).ok();
    }
    match text.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => u32::from_str_radix(octal, 8).ok(),
        _ => text.parse().ok(),
    }
}

/// One argument that is not empty.
pub fn exactly_one(field: &mut Set<Box<str>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    match node.args.as_slice() {
        [only] if !only.text.is_empty() => set(field, only.text.into(), node),
        [] => cx.missing(node, "one argument"),
        [only] => cx.error(only.span, format!("`{}` is empty and is ignored", node.keyword.text)),
        [_, extra, ..] => cx.error(extra.span, format!("`{}` takes one argument and is ignored", node.keyword.text)),
    }
}

/// The text level acts on this keyword; here its words are checked.
pub fn include_check(field: &mut Set<()>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let mut signed = true;
    for (at, w) in node.args.iter().enumerate() {
        let name = w.text.trim_start_matches(['+', '-']);
        let is_signed = name.len() < w.text.len();
        if !matches!(name, "read" | "match" | "wildcard_match" | "brace_match") {
            let message = format!("`include_check` has no option `{}`", w.text);
            cx.push(
                Diagnostic::new(Class::General, w.span, message)
                    .label("expected read, match, wildcard_match or brace_match, with + or - in front or without"),
            );
        } else if at > 0 && !is_signed && !signed {
            cx.error(w.span, "only the first word of `include_check` may stand without + or -");
        }
        signed = is_signed;
    }
    set(field, (), node);
}

/// A directory for copies of the configuration.
pub fn config_save_dir(field: &mut Set<Box<str>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(dir) = node.args.first() else { return cx.abort(node, "a directory") };
    let is_directory =
        |path: &str| crate::config::security::stat(cx.env.system, path).map(|stat| stat.kind.is_directory());
    let above = match dir.text.trim_end_matches('/').rsplit_once('/') {
        Some(("", _)) => "/",
        Some((above, _)) => above,
        None => ".",
    };
    // One that is not there is made; the directories above it are not.
    let usable = is_directory(dir.text).unwrap_or_else(|| is_directory(above) == Some(true));
    let name = dir.text.rsplit('/').next().unwrap_or_default();
    if dir.text.is_empty() || name.len() > 255 || !usable {
        return cx.error(dir.span, format!("`config_save_dir`: `{}` is no directory and cannot be made", dir.text));
    }
    set(field, dir.text.into(), node);
}

/// Exactly one number of bytes.
pub fn bytes(field: &mut Set<u32>, node: &Node<'_>, cx: &mut Cx<'_>) {
    match node.args.as_slice() {
        [only] => {
            if let Some(n) = word(uint(0, u32::MAX).exact(), *only, node, cx) {
                set(field, n, node);
            }
        }
        [] => cx.missing(node, "a number of bytes"),
        [_, extra, ..] => cx.error(extra.span, format!("`{}` takes one argument and is ignored", node.keyword.text)),
    }
}

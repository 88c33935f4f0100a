//! What several LVS blocks have in common: when a check is made, how it connects, endpoints, forwarding, hexadecimal.
//!
//! The keywords that all checkers share are written once, in [`checker!`]; each checker's table gets them from there. So
//! `vipctl keywords`, hints and shapes see them in every checker, and a change reaches all.

use crate::config::line::unsigned_in;
use crate::config::table::block::{Cx, Facts, Reader, Set};
use crate::config::table::values::{ip_address, without_range};
use crate::config::text::tree::{Node, Word};
use crate::spec::IfName;
use crate::spec::balance::{Endpoint, Forwarding, Method, TunnelChecksum, TunnelKind};
use crate::time::Interval;
use crate::wire::Family;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};

/// Longest time where keepalived sets no limit of its own, microseconds.
pub const UNLIMITED_US: u64 = 18_446_744_073_709_000_000;

/// A reader for a part of a field.
pub struct Within<F: 'static, G: 'static, R> {
    part: fn(&mut F) -> &mut G,
    reader: R,
}
/// Reads into a part of the field.
pub const fn within<F, G, R: Reader<G>>(part: fn(&mut F) -> &mut G, reader: R) -> Within<F, G, R> {
    Within { part, reader }
}
impl<F, G, R: Reader<G>> Reader<F> for Within<F, G, R> {
    fn read(&self, field: &mut F, node: &Node<'_>, cx: &mut Cx<'_>) {
        self.reader.read((self.part)(field), node, cx);
    }
    fn facts(&self) -> Facts {
        self.reader.facts()
    }
}

/// When a check is made, as far as the configuration says so.
#[derive(Clone, Debug, Default)]
pub struct TimingSettings {
    pub retry: Set<u32>,
    pub delay_before_retry: Set<Interval>,
    pub warmup: Set<Interval>,
    pub delay_loop: Set<Interval>,
    pub alpha: Set<bool>,
    pub log_all_failures: Set<bool>,
}

impl TimingSettings {
    /// `checker_log_all_failures` switches it on for every check.
    pub fn logs_all_failures(&self) -> bool {
        self.log_all_failures.or(false)
    }
    /// What is said here, and what `outer` says of the rest.
    pub fn otherwise(&self, outer: &TimingSettings) -> TimingSettings {
        TimingSettings {
            retry: self.retry.otherwise(&outer.retry),
            delay_before_retry: self.delay_before_retry.otherwise(&outer.delay_before_retry),
            warmup: self.warmup.otherwise(&outer.warmup),
            delay_loop: self.delay_loop.otherwise(&outer.delay_loop),
            alpha: self.alpha.otherwise(&outer.alpha),
            log_all_failures: self.log_all_failures.otherwise(&outer.log_all_failures),
        }
    }
}

/// How a check connects, as far as the configuration says so.
#[derive(Clone, Debug, Default)]
pub struct ConnectionSettings {
    /// The real server's address, which is probed without `connect_ip`.
    pub server: Option<IpAddr>,
    pub connect_port: Set<u32>,
    pub timeout: Set<Interval>,
    pub unusual: Unusually,
}

/// What few checks say of their connection.
#[derive(Clone, Debug)]
pub struct Unusual {
    pub connect_ip: Set<IpAddr>,
    pub bind_ip: Set<IpAddr>,
    pub bind_port: Set<u32>,
    pub interface: Set<IfName>,
    pub mark: Set<u32>,
}

/// [`Unusual`], with room for it only where something of it is said: there may be thousands of checks.
#[derive(Clone, Debug, Default)]
pub struct Unusually(Option<Box<Unusual>>);

static USUAL: Unusual =
    Unusual { connect_ip: Set::NONE, bind_ip: Set::NONE, bind_port: Set::NONE, interface: Set::NONE, mark: Set::NONE };

impl Deref for Unusually {
    type Target = Unusual;

    fn deref(&self) -> &Unusual {
        self.0.as_deref().unwrap_or(&USUAL)
    }
}

impl DerefMut for Unusually {
    fn deref_mut(&mut self) -> &mut Unusual {
        self.0.get_or_insert_with(|| USUAL.clone().into())
    }
}

/// Defines the table of one checker: its own keywords and those that it shares with the others. `timed` has the keywords
/// of time, `connected` those of the connection as well.
macro_rules! checker {
    (timed $(#[doc = $about:literal])+ $path:literal => $name:ident { $($own:tt)* } also { $($also:tt)* }) => {
        block! {
            $(#[doc = $about])+
            $path => $name {
                $($own)*
                /// Further failures in a row before the server is taken for down.
                "retry" => timing: TimingSettings = within(|t: &mut TimingSettings| &mut t.retry, must(uint(0, u32::MAX))),
                    default "real_server's, else 1 (MISC_CHECK 0, DNS_CHECK 3)";
            }
            also {
                $($also)*
                /// Seconds from a failure to the next try.
                "delay_before_retry" => timing: TimingSettings =
                    within(|t: &mut TimingSettings| &mut t.delay_before_retry, must(timer(0, UNLIMITED_US))),
                    default "real_server's, else 1 (HTTP_GET and SSL_GET 3, DNS_CHECK delay_loop)";
                /// The first check comes at a random time within so many seconds.
                "warmup" => timing: TimingSettings =
                    within(|t: &mut TimingSettings| &mut t.warmup, must(timer(0, UNLIMITED_US))),
                    default "real_server's, else delay_loop";
                /// Seconds between checks.
                "delay_loop" => timing: TimingSettings =
                    within(|t: &mut TimingSettings| &mut t.delay_loop, must(timer(1, UNLIMITED_US))),
                    default "real_server's";
                /// The server is down until the first success.
                "alpha" => timing: TimingSettings = within(|t: &mut TimingSettings| &mut t.alpha, toggle()),
                    default "real_server's";
                /// Every failed try is logged, not only changes.
                "log_all_failures" => timing: TimingSettings =
                    within(|t: &mut TimingSettings| &mut t.log_all_failures, toggle()), default "off";
            }
        }
    };
    (connected $(#[doc = $about:literal])+ $path:literal => $name:ident { $($own:tt)* } also { $($also:tt)* }) => {
        checker! {
            timed $(#[doc = $about])+ $path => $name {
                $($own)*
                /// Address that is probed.
                "connect_ip" => connection: ConnectionSettings = by("IPADDR", Repeat::LastWins, connect_ip),
                    default "real_server's address";
            }
            also {
                $($also)*
                /// Port that is probed.
                "connect_port" => connection: ConnectionSettings =
                    within(|c: &mut ConnectionSettings| &mut c.connect_port, must(uint(1, 65535))),
                    default "real_server's port";
                /// Source address of the probe.
                "bindto" => connection: ConnectionSettings = by("IPADDR", Repeat::LastWins, bind_to),
                    default "kernel's choice";
                /// Source port of the probe.
                "bind_port" => connection: ConnectionSettings =
                    within(|c: &mut ConnectionSettings| &mut c.unusual.bind_port, must(uint(1, 65535))), default "kernel's choice";
                /// Interface that the probe goes through; needed for link-local addresses.
                "bind_if" => connection: ConnectionSettings =
                    within(|c: &mut ConnectionSettings| &mut c.unusual.interface, must(IFNAME));
                /// Seconds after which a connection that does not come about has failed.
                "connect_timeout" => connection: ConnectionSettings =
                    within(|c: &mut ConnectionSettings| &mut c.timeout, must(timer(1, LONGEST_US))),
                    default "real_server's";
                /// Mark that the probe's packets carry for the firewall.
                "fwmark" => connection: ConnectionSettings =
                    within(|c: &mut ConnectionSettings| &mut c.unusual.mark, must(uint(0, u32::MAX))), default "0";
            }
        }
    };
}
pub(super) use checker;

impl ConnectionSettings {
    /// The connection of a check of this server that says nothing about it.
    pub fn to(server: IpAddr) -> Self {
        ConnectionSettings { server: Some(server), ..Self::default() }
    }
    /// Whether the configuration says anything of it.
    pub fn says_anything(&self) -> bool {
        let Self { server: _, connect_port, timeout, unusual } = self;
        connect_port.is_some() || timeout.is_some() || unusual.says_anything()
    }
}

impl Unusual {
    fn says_anything(&self) -> bool {
        let Self { connect_ip, bind_ip, bind_port, interface, mark } = self;
        connect_ip.is_some() || bind_ip.is_some() || bind_port.is_some() || interface.is_some() || mark.is_some()
    }
}

/// `connect_ip`: of the same family as `bindto`, if that came first.
pub fn connect_ip(connection: &mut ConnectionSettings, node: &Node<'_>, cx: &mut Cx<'_>) {
    let other = connection.unusual.bind_ip.value();
    end(&mut connection.unusual.connect_ip, other, "bindto", node, cx);
}
/// `bindto`: of the same family as what is probed, as far as that has been said above.
pub fn bind_to(connection: &mut ConnectionSettings, node: &Node<'_>, cx: &mut Cx<'_>) {
    let (other, name) = match connection.unusual.connect_ip.as_ref() {
        Some(set) => (Some(set.value), "connect_ip"),
        None => (connection.server, "the real server"),
    };
    end(&mut connection.unusual.bind_ip, other, name, node, cx);
}
fn end(field: &mut Set<IpAddr>, other: Option<IpAddr>, name: &str, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(word) = node.args.first() else { return cx.abort(node, "an address") };
    let Some(address) = ip_address(without_range(word.text)) else {
        return cx.error(word.span, format!("`{}` cannot be `{}` and is ignored", node.keyword.text, word.text));
    };
    if let Some(other) = other.filter(|other| Family::of(other) != Family::of(&address)) {
        let message = format!("`{}` {address} is ignored: {name} {other} is of the other family", node.keyword.text);
        let family = if other.is_ipv4() { "an IPv4" } else { "an IPv6" };
        return cx.mistake(word.span, message, format!("write {family} address, or remove the line"));
    }
    cx.unread(*word);
    *field = Set::at(address, word.span);
}

/// `IPADDR [PORT]`; port 0 is no port. What cannot be read is in `Err`, in words.
pub fn endpoint(address: Word<'_>, port: Option<&Word<'_>>) -> Result<Endpoint, String> {
    let ip = ip_address(without_range(address.text)).ok_or_else(|| format!("`{}` is no address", address.text))?;
    let port = match port {
        Some(word) if !word.text.bytes().all(|b| b == b'0') => {
            let number = unsigned_in(word.text, 1, 65535).and_then(|n| u16::try_from(n).ok());
            Some(number.ok_or_else(|| format!("`{}` is no port", word.text))?)
        }
        _ => None,
    };
    Ok(Endpoint { address: ip, port })
}

/// `NAT|DR|TUN [type ipip|gue|gre] [port N] [csum|nocsum|remcsum]` onto what held before; `None` without an argument.
///
/// The method counts even if the options behind it are wrong; then the tunnel stays as it was.
pub fn forwarding(before: Option<Forwarding>, node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Forwarding> {
    let Some(word) = node.args.first() else {
        cx.abort(node, "NAT, DR or TUN");
        return before;
    };
    let method = match word.text {
        "NAT" => Method::Nat,
        "DR" => Method::Direct,
        "TUN" => Method::Tunnel,
        other => {
            let meant = other.to_ascii_uppercase();
            let (hint, cure) = match meant.as_str() {
                "NAT" | "DR" | "TUN" => (String::new(), format!("write `{} {meant}`", node.keyword.text)),
                _ => (": expected NAT, DR or TUN".to_owned(), format!("for example `{} NAT`", node.keyword.text)),
            };
            cx.mistake(word.span, format!("`{other}` is no way of forwarding and is ignored{hint}"), cure);
            return before;
        }
    };
    let old = before.unwrap_or(Forwarding { method, tunnel: TunnelKind::Ipip, checksum: TunnelChecksum::None });
    match tunnel(node) {
        Ok((tunnel, checksum)) => Some(Forwarding { method, tunnel, checksum }),
        Err((span, message)) => {
            cx.error(span, message);
            Some(Forwarding { method, ..old })
        }
    }
}

type Misread = (crate::config::text::source::Span, String);

fn tunnel(node: &Node<'_>) -> Result<(TunnelKind, TunnelChecksum), Misread> {
    let (mut kind, mut port, mut checksum) = ("ipip", None, TunnelChecksum::None);
    let mut words = node.args.iter().skip(1);
    while let Some(word) = words.next() {
        match word.text {
            "type" => match words.next() {
                Some(value) if matches!(value.text, "ipip" | "gue" | "gre") => kind = value.text,
                Some(value) => {
                    return Err((
                        value.span,
                        format!("`{}` is no type of tunnel: expected ipip, gue or gre", value.text),
                    ));
                }
                None => return Err((word.span, "`type` has no value: expected ipip, gue or gre".into())),
            },
            "port" => {
                let value = words.next().ok_or((word.span, "`port` has no value: expected 1 to 65535".to_owned()))?;
                let number = unsigned_in(value.text, 1, 65535).and_then(|n| u16::try_from(n).ok());
                let wrong = (value.span, format!("`{}` is no port: expected 1 to 65535", value.text));
                port = Some(number.ok_or(wrong)?);
            }
            "csum" => checksum = TunnelChecksum::Checksum,
            "nocsum" => checksum = TunnelChecksum::None,
            "remcsum" => checksum = TunnelChecksum::Remote,
            other => return Err((word.span, format!("`{other}` is no option of a tunnel"))),
        }
    }
    let kind = match (kind, port) {
        ("gue", Some(port)) => TunnelKind::Gue(port),
        ("gue", None) => return Err((node.span, "a gue tunnel needs `port N`".into())),
        (_, Some(_)) => return Err((node.span, "only a gue tunnel has a port".into())),
        ("gre", None) => TunnelKind::Gre,
        _ => TunnelKind::Ipip,
    };
    match (kind, checksum) {
        (TunnelKind::Ipip, TunnelChecksum::Checksum | TunnelChecksum::Remote) => {
            Err((node.span, "an ipip tunnel has no checksum".into()))
        }
        (TunnelKind::Gre, TunnelChecksum::Remote) => Err((node.span, "a gre tunnel has no remote checksum".into())),
        _ => Ok((kind, checksum)),
    }
}

/// Hexadecimal bytes, blanks between them allowed; with `wild`, `x` stands for any digit. Each byte comes with the mask
/// of the bits that are given.
pub fn hex(words: &[Word<'_>], wild: bool) -> Option<Box<[(u8, u8)]>> {
    let digit = |c: char| match c {
        'x' | 'X' if wild => Some((0, 0)),
        _ => c.to_digit(16).map(|n| (n as u8, 0xf)),
    };
    let mut bytes = Vec::new();
    for part in words.iter().flat_map(|word| word.text.split([' ', '\t'])).filter(|part| !part.is_empty()) {
        let mut digits = part.chars();
        while let Some(first) = digits.next() {
            let (high, high_mask) = digit(first)?;
            bytes.push(match digits.next() {
                Some(second) => {
                    let (low, low_mask) = digit(second)?;
                    (high << 4 | low, high_mask << 4 | low_mask)
                }
                None => (high, 0xf0 | high_mask),
            });
        }
    }
    (!bytes.is_empty()).then(|| bytes.into())
}

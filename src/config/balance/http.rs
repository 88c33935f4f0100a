//! HTTP_GET and SSL_GET: pages that must answer, with a status, a digest or a pattern.

use super::checkers::{Draft, ends, reachable};
use super::shared::{ConnectionSettings, TimingSettings, UNLIMITED_US, bind_to, checker, connect_ip, within};
use crate::config::line::unsigned;
use crate::config::report::Class;
use crate::config::table::block::{Cx, Repeat, Set, block_by, by, flag, last, must, read_block, toggle};
use crate::config::table::values::{IFNAME, LONGEST_US, STR, one_of, timer, uint};
use crate::config::text::lexer::{Escapes, shell_words};
use crate::config::text::tree::Node;
use crate::spec::balance::{CheckerKind, Endpoint, Http, HttpProtocol, Page, Pattern};
use crate::time::Interval;

/// Status codes that are read at all.
const STATUS: std::ops::RangeInclusive<u64> = 100..=599;

/// What HTTP_GET and SSL_GET have in common beside the keywords of every checker.
macro_rules! web_checker {
    ($(#[doc = $about:literal])+ $path:literal, $url:literal, $page:ty => $name:ident { $($own:tt)* }) => {
        checker! {
            connected $(#[doc = $about])+ $path => $name {
                $($own)*
                /// Host header.
                "virtualhost" => virtual_host: Set<Box<str>> = last(STR).replaced(), default "real_server's, else virtual_server's";
                /// Version in the request line; C adds `Connection: close`.
                "http_protocol" => protocol: Set<HttpProtocol> = last(one_of(PROTOCOLS)), default(HttpProtocol::V10, "1.0");
                /// The server name is sent in the TLS hello.
                "enable_sni" => sni: Set<bool> = toggle(), default "off";
                /// Server name in the TLS hello, which it switches on.
                "sni_name" => sni_name: Set<Box<str>> = by("[STR]", Repeat::Replaced, sni_name), default "virtualhost";
                /// After a failure only the page that failed is tried, and quickly.
                "fast_recovery" => fast_recovery: Set<bool> = toggle(), default(false, "off");
                /// One page.
                "url" => pages: Vec<Page> = block_by($url, "BLOCK", Repeat::Accumulates, url::<$page>);
            } also {
                /// Old spelling of retry.
                "nb_get_retry" => timing: TimingSettings =
                    within(|t: &mut TimingSettings| &mut t.retry, must(uint(0, u32::MAX))), deprecated "write `retry`";
            }
        }
    };
}
web_checker! {
    /// Fetches pages over HTTP.
    "virtual_server/real_server/HTTP_GET", "virtual_server/real_server/HTTP_GET/url", Url => HttpGet {}
}
web_checker! {
    /// Fetches pages over HTTPS.
    "virtual_server/real_server/SSL_GET", "virtual_server/real_server/SSL_GET/url", TlsUrl => SslGet {
        /// TLS is ended in order (close_notify), for all pages.
        "tls_compliant" => tls_compliant: Set<bool> = toggle(), default(false, "off");
    }
}

macro_rules! url_block {
    ($(#[doc = $about:literal])+ $path:literal => $name:ident { $($own:tt)* }) => {
        block! {
            $(#[doc = $about])+
            $path => $name {
                $($own)*
                /// Path that is asked for.
                "path" => path: Set<Box<str>> = must(STR).replaced(), default "required";
                /// MD5 of the body that is expected, as 32 hexadecimal digits.
                "digest" => digest: Set<[u8; 16]> = by("HEX32", Repeat::FirstKept, digest);
                /// Status codes that are good: N or N-M.
                "status_code" => status: Vec<(u16, u16)> =
                    by("(UINT or UINT-UINT)..., each 100..599", Repeat::Accumulates, status_code), default "200-299";
                /// Host header for this page.
                "virtualhost" => virtual_host: Set<Box<str>> = last(STR).replaced(), default "the checker's";
                /// The body must match (PCRE2).
                "regex" => regex: Set<Box<str>> = by("STR", Repeat::Replaced, regex);
                /// The body must not match.
                "regex_no_match" => no_match: Set<()> = flag(), default "off";
                /// PCRE2 compile options.
                "regex_options" => options: Vec<Box<str>> = by("WORD...", Repeat::Accumulates, regex_options);
                /// The match starts here at the earliest.
                "regex_min_offset" => min_offset: Option<u64> = by("UINT", Repeat::LastWins, offset), default "0";
                /// The match starts here at the latest.
                "regex_max_offset" => max_offset: Option<u64> = by("UINT", Repeat::LastWins, offset), default "unlimited";
                /// First and largest stack of the PCRE2 machine.
                "regex_stack" => stack: Option<(u64, u64)> = by("UINT UINT", Repeat::LastWins, regex_stack);
            }
        }
        impl From<$name> for Settings {
            fn from(own: $name) -> Settings {
                let tls_compliant = own.tls();
                let $name { path, digest, status, virtual_host, regex, no_match, options, min_offset, max_offset, stack, .. } = own;
                Settings {
                    path, digest, status, virtual_host, regex, options, min_offset, max_offset, stack, tls_compliant,
                    no_match: no_match.is_some(),
                }
            }
        }
    };
}
url_block! {
    /// One page of HTTP_GET.
    "virtual_server/real_server/HTTP_GET/url" => Url {}
}
url_block! {
    /// One page of SSL_GET.
    "virtual_server/real_server/SSL_GET/url" => TlsUrl {
        /// TLS is ended in order (close_notify).
        "tls_compliant" => tls_compliant: Set<bool> = toggle(), default "the checker's";
    }
}
impl Url {
    fn tls(&self) -> Option<bool> {
        None
    }
}
impl TlsUrl {
    fn tls(&self) -> Option<bool> {
        self.tls_compliant.value()
    }
}

/// A page's settings, whichever block they come from.
struct Settings {
    path: Set<Box<str>>,
    digest: Set<[u8; 16]>,
    status: Vec<(u16, u16)>,
    virtual_host: Set<Box<str>>,
    regex: Set<Box<str>>,
    no_match: bool,
    options: Vec<Box<str>>,
    min_offset: Option<u64>,
    max_offset: Option<u64>,
    stack: Option<(u64, u64)>,
    tls_compliant: Option<bool>,
}

const PROTOCOLS: &[(&str, HttpProtocol)] = &[
    ("1.0", HttpProtocol::V10),
    ("1.0C", HttpProtocol::V10Close),
    ("1.0c", HttpProtocol::V10Close),
    ("1.1", HttpProtocol::V11),
];

/// HTTP_GET
pub fn http_get(node: &Node<'_>, server: Endpoint, out: &mut Vec<Draft>, cx: &mut Cx<'_>) {
    let mut own = HttpGet { connection: ConnectionSettings::to(server.address), ..HttpGet::default() };
    read_block(&mut own, node.body.as_deref().unwrap_or_default(), cx);
    let common = Common {
        tls: false,
        protocol: own.protocol(),
        sni: own.sni.value(),
        fast_recovery: own.fast_recovery(),
        tls_compliant: false,
        virtual_host: own.virtual_host,
        sni_name: own.sni_name,
        pages: own.pages,
    };
    let draft = draft(common, &own.connection, node, server, cx);
    out.extend(draft.map(|draft| draft.timed(own.timing).connected(own.connection)));
}

/// SSL_GET
pub fn ssl_get(node: &Node<'_>, server: Endpoint, out: &mut Vec<Draft>, cx: &mut Cx<'_>) {
    let mut own = SslGet { connection: ConnectionSettings::to(server.address), ..SslGet::default() };
    read_block(&mut own, node.body.as_deref().unwrap_or_default(), cx);
    let common = Common {
        tls: true,
        protocol: own.protocol(),
        sni: own.sni.value(),
        fast_recovery: own.fast_recovery(),
        tls_compliant: own.tls_compliant(),
        virtual_host: own.virtual_host,
        sni_name: own.sni_name,
        pages: own.pages,
    };
    let draft = draft(common, &own.connection, node, server, cx);
    out.extend(draft.map(|draft| draft.timed(own.timing).connected(own.connection)));
}

/// What HTTP_GET and SSL_GET have in common.
struct Common {
    tls: bool,
    virtual_host: Set<Box<str>>,
    protocol: HttpProtocol,
    sni: Option<bool>,
    sni_name: Set<Box<str>>,
    fast_recovery: bool,
    pages: Vec<Page>,
    tls_compliant: bool,
}

/// The check that a block describes; `None`, with a complaint, where it asks for nothing or reaches nobody.
fn draft(
    common: Common,
    connection: &ConnectionSettings,
    node: &Node<'_>,
    server: Endpoint,
    cx: &mut Cx<'_>,
) -> Option<Draft> {
    let mut pages = common.pages;
    if pages.is_empty() {
        // A url without a path has been complained about.
        let tried = node.body.iter().flatten().any(|line| line.keyword.text == "url" && line.body.is_some());
        let class = if tried { Class::Note } else { cx.class_without(&["url"], ends(node)) };
        cx.left_out(
            class,
            ends(node),
            "the check has no url with a path; it is left out",
            "write `url {`, with a line `path /` in it",
        );
        return None;
    }
    if !reachable(connection, server, ends(node), cx) {
        return None;
    }
    let host = common.virtual_host.value();
    for page in &mut pages {
        page.virtual_host = page.virtual_host.take().or_else(|| host.clone());
        page.tls_compliant |= common.tls_compliant;
    }
    let named = common.sni_name.value();
    let server_name = if common.sni.unwrap_or(named.is_some()) { Some(named.unwrap_or_default()) } else { None };
    let (tls, protocol, fast_recovery) = (common.tls, common.protocol, common.fast_recovery);
    let kind = CheckerKind::Http(Http { tls, protocol, server_name, fast_recovery, pages });
    Some(Draft { pause: Some(Interval::from_secs(3)), ..Draft::new(kind, node.span) })
}

fn sni_name(field: &mut Set<Box<str>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let value = node.args.first().map_or("", |word| word.text);
    if let Some(first) = field.as_ref() {
        let kept = if value.is_empty() { "the first one holds" } else { "this one holds" };
        cx.again(node.span, "sni_name", first.span, kept);
        if value.is_empty() {
            return;
        }
    }
    *field = Set::at(value.into(), node.span);
}

fn url<B>(pages: &mut Vec<Page>, node: &Node<'_>, cx: &mut Cx<'_>)
where
    B: crate::config::table::block::Block + Into<Settings>,
{
    let mut own = B::default();
    read_block(&mut own, node.body.as_deref().unwrap_or_default(), cx);
    let own: Settings = own.into();
    let Some(path) = own.path.given() else {
        return cx.lacks(
            &["path"],
            node.span,
            node.close,
            "the url has no path; it is left out",
            "write `path /` in it",
        );
    };
    if own.regex.is_none() && (own.no_match || own.min_offset.is_some() || own.max_offset.is_some()) {
        cx.note(node.span, "options of a regex without `regex` have no effect");
    }
    let pattern = own.regex.given().map(|regex| {
        if let Some(fault) = fault_of(&regex.value) {
            cx.note(regex.span, format!("`{}` does not look like a regular expression: {fault}", regex.value));
        }
        Pattern {
            text: regex.value,
            options: own.options,
            must_not_match: own.no_match,
            first_offset: own.min_offset.unwrap_or(0),
            last_offset: own.max_offset,
            stack: own.stack,
        }
    });
    pages.push(Page {
        path: path.value,
        virtual_host: own.virtual_host.value(),
        digest: own.digest.value(),
        status: if own.status.is_empty() { vec![(200, 299)] } else { own.status },
        pattern,
        tls_compliant: own.tls_compliant.unwrap_or(false),
    });
}

fn digest(field: &mut Set<[u8; 16]>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(word) = node.args.first() else { return cx.abort(node, "32 hexadecimal digits") };
    if let Some(first) = field.as_ref() {
        return cx.again(node.span, "digest", first.span, "the first one holds");
    }
    let text = word.text;
    if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        let message = format!(
            "digest `{text}` is ignored: expected 32 hexadecimal digits, found {} characters",
            text.chars().count()
        );
        let cure = "write the digits that `genhash -s ADDRESS -p PORT -u /PATH` prints";
        return cx.mistake(word.span, message, cure);
    }
    let mut value = [0; 16];
    for (at, byte) in value.iter_mut().enumerate() {
        *byte = text.get(2 * at..2 * at + 2).and_then(|two| u8::from_str_radix(two, 16).ok()).unwrap_or_default();
    }
    *field = Set::at(value, word.span);
}

fn status_code(field: &mut Vec<(u16, u16)>, node: &Node<'_>, cx: &mut Cx<'_>) {
    for word in &node.args {
        let (first, last) = word.text.split_once('-').unwrap_or((word.text, word.text));
        match (unsigned(first), unsigned(last)) {
            (Some(first), Some(last)) if STATUS.contains(&first) && STATUS.contains(&last) && first <= last => {
                field.push((first as u16, last as u16));
            }
            _ => cx.mistake(
                word.span,
                format!("status `{}` is ignored: expected N or N-M, 100 to 599", word.text),
                "for example `status_code 200` or `status_code 200-299`",
            ),
        }
    }
}

fn regex(field: &mut Set<Box<str>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let read = shell_words(node.raw, Escapes::Resolved).map(|read| read.words);
    let Ok([pattern]) = read.as_deref() else {
        return cx.mistake(
            node.span,
            "`regex` takes one pattern, in quotes if it has blanks; it is ignored",
            "for example `regex \"all is well\"`",
        );
    };
    if let Some(first) = field.as_ref() {
        cx.again(node.span, "regex", first.span, "this one holds");
    }
    // `\\d` is meant, as a rule, and the class is lost without a word.
    let lone = node.raw.replace(r"\\", "");
    if [r"\d", r"\D", r"\w", r"\W", r"\s", r"\S"].iter().any(|class| lone.contains(class)) {
        cx.note(
            node.span,
            format!("`regex` looks for `{pattern}`: what a backslash stands before is read without it; write two"),
        );
    }
    *field = Set::at(pattern.as_str().into(), node.span);
}

fn regex_options(field: &mut Vec<Box<str>>, node: &Node<'_>, _: &mut Cx<'_>) {
    field.extend(node.args.iter().map(|word| word.text.into()));
}

fn offset(field: &mut Option<u64>, node: &Node<'_>, cx: &mut Cx<'_>) {
    match (node.args.first().and_then(|word| unsigned(word.text)), node.args.len()) {
        (Some(value), 1) => *field = Some(value),
        _ => cx.note(node.span, format!("`{}` takes one number; it is ignored", node.keyword.text)),
    }
}

fn regex_stack(field: &mut Option<(u64, u64)>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let number = |at: usize| node.args.get(at).and_then(|word| unsigned(word.text));
    match (number(0), number(1), node.args.len()) {
        (Some(first), Some(most), 2) if first <= most => *field = Some((first, most)),
        _ => cx.note(node.span, "`regex_stack` takes a first and a largest size; it is ignored"),
    }
}

/// What is plainly wrong with a pattern: brackets, a trailing backslash, a repetition of nothing. The real compiler is
/// PCRE2's, whose judgement keepalived only logs.
fn fault_of(pattern: &str) -> Option<&'static str> {
    let mut open = 0usize;
    let mut class = false;
    let mut class_start = false;
    let mut repeatable = false;
    let mut characters = pattern.chars().peekable();
    while let Some(c) = characters.next() {
        let start = std::mem::take(&mut class_start);
        match c {
            '\\' => {
                if characters.next().is_none() {
                    return Some("it ends in a backslash");
                }
                repeatable = true;
            }
            ']' if class && !start => {
                class = false;
                repeatable = true;
            }
            '^' if class && start => class_start = true,
            _ if class => {}
            '[' => {
                class = true;
                class_start = true;
            }
            '(' => {
                open += 1;
                repeatable = false;
                if matches!(characters.peek(), Some('?' | '*')) {
                    characters.next();
                }
            }
            ')' => {
                let Some(left) = open.checked_sub(1) else { return Some("a `)` has no `(`") };
                open = left;
                repeatable = true;
            }
            '*' | '+' | '?' if !repeatable => return Some("a repetition follows nothing"),
            '|' => repeatable = false,
            _ => repeatable = true,
        }
    }
    match (class, open) {
        (true, _) => Some("a `[` is not closed"),
        (_, 1..) => Some("a `(` is not closed"),
        _ => None,
    }
}

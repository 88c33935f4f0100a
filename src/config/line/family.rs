//! What route and rule lines share: their family as it becomes known, networks, tables, and complaints that cost the line.
//!
//! keepalived swallows the word after `inet` and `inet6` unread. Here it is read; that the line means something else to
//! keepalived is complained about, since the other server of a pair may be one.

use crate::config::line::{LineCx, Words, address_and_prefix, ip, unsigned_in, wrong};
use crate::config::report::{Class, Diagnostic};
use crate::config::table::block::nearest;
use crate::config::text::source::Span;
use crate::config::text::tree::Word;
use crate::spec::Prefix;
use crate::wire::Family;

/// The family of a line as it becomes known, and what settled it.
#[derive(Clone, Copy, Default)]
pub(crate) struct LineFamily {
    known: Option<(Family, Span)>,
}

impl LineFamily {
    /// Notes a family; a different one before is a mistake that costs the line.
    pub(crate) fn settle(&mut self, family: Family, at: Span, cx: &mut LineCx<'_>) -> Option<()> {
        match self.known {
            Some((known, first)) if known != family => {
                cx.push(
                    wrong(at, "IPv4 and IPv6 in one line; it is left out")
                        .label(format!("this is {family}"))
                        .related(first, format!("this makes it {known}")),
                );
                None
            }
            Some(_) => Some(()),
            None => {
                self.known = Some((family, at));
                Some(())
            }
        }
    }
    pub(crate) fn get(&self) -> Option<Family> {
        self.known.map(|(family, _)| family)
    }
    pub(crate) fn or_v4(&self) -> Family {
        self.get().unwrap_or(Family::V4)
    }
    fn at(&self) -> Option<Span> {
        self.known.map(|(_, span)| span)
    }

    /// `inet` or `inet6`. An unknown word that follows is the dummy that people put there for keepalived.
    pub(crate) fn word(
        &mut self,
        word: &Word<'_>,
        words: &mut Words<'_, '_>,
        known: impl Fn(&str) -> bool,
        cx: &mut LineCx<'_>,
    ) -> Option<()> {
        let family = if word.text == "inet6" { Family::V6 } else { Family::V4 };
        self.settle(family, word.span, cx)?;
        let Some(next) = words.peek() else { return Some(()) };
        let address = matches!(next.text, "default" | "any" | "all" | "default6") || prefix_shape(next.text);
        if !address && !known(next.text) {
            words.next();
            cx.push(Diagnostic::new(Class::Note, next.span, format!("`{}` after {} is skipped", next.text, word.text)));
        } else {
            cx.push(
                wrong(next.span, format!("keepalived skips the word after `{}` unread", word.text))
                    .label("read here, lost on a keepalived")
                    .help(format!("leave `{}` out: addresses tell the family", word.text)),
            );
        }
        Some(())
    }
}

fn prefix_shape(text: &str) -> bool {
    ip(text.split('/').next().unwrap_or(text)).is_some()
}

/// A destination or source: `default`, `any`, `all` (no family of their own), `default6`, or ADDRESS[/PREFIX].
pub(crate) enum Network {
    Everything(Option<Family>),
    Prefix(Prefix),
}

/// Reads a network; `None`, with nothing said, if it is none.
pub(crate) fn network(word: &Word<'_>, cx: &mut LineCx<'_>) -> Option<Network> {
    match word.text {
        "default" | "any" | "all" => Some(Network::Everything(None)),
        "default6" => {
            let complaint = Diagnostic::new(Class::Note, word.span, "default6 is an old spelling");
            cx.push(complaint.help("write ::/0"));
            Some(Network::Everything(Some(Family::V6)))
        }
        _ => address_and_prefix(word, cx).map(|(address, length)| Network::Prefix(Prefix { address, length })),
    }
}

/// Takes a network into a line: settles the family. `default` must come before anything that fixes the family.
pub(crate) fn place(
    network: Network,
    word: &Word<'_>,
    family: &mut LineFamily,
    cx: &mut LineCx<'_>,
) -> Option<Option<Prefix>> {
    match network {
        Network::Prefix(prefix) => {
            family.settle(Family::of(&prefix.address), word.span, cx)?;
            Some(Some(prefix))
        }
        Network::Everything(Some(own)) => family.settle(own, word.span, cx).map(|()| None),
        Network::Everything(None) => match family.at() {
            Some(first) => {
                let message =
                    format!("`{}` stands after a word that fixes the family; the line is left out", word.text);
                let all = if family.get() == Some(Family::V6) { "::/0" } else { "0.0.0.0/0" };
                cx.push(
                    wrong(word.span, message)
                        .label("it has no family of its own")
                        .related(first, "this fixes it")
                        .help(format!("write {all}, or put `{}` first", word.text)),
                );
                None
            }
            None => Some(None),
        },
    }
}

/// A word that is nothing known.
pub(crate) fn unknown(
    word: &Word<'_>,
    known: impl Iterator<Item = &'static str>,
    what: &str,
    label: &str,
) -> Diagnostic {
    let complaint =
        wrong(word.span, format!("`{}` is no word of {what}; the line is left out", word.text)).label(label);
    match nearest(word.text, known) {
        Some(meant) => complaint.help(format!("did you mean `{meant}`?")),
        None => complaint,
    }
}

/// `found`, or a complaint that costs the line.
pub(crate) fn need<T>(found: Option<T>, word: &Word<'_>, what: &str, label: &str, cx: &mut LineCx<'_>) -> Option<T> {
    if found.is_none() {
        cx.say(word, format!("`{}` is not {what}; the line is left out", word.text), label);
    }
    found
}

pub(crate) fn number(word: &Word<'_>, most: u32, what: &str, cx: &mut LineCx<'_>) -> Option<u32> {
    let found = unsigned_in(word.text, 0, u64::from(most)).map(|n| n as u32);
    need(found, word, &format!("a value for {what}"), &format!("expected 0 to {most}"), cx)
}

pub(crate) fn table(word: &Word<'_>, cx: &mut LineCx<'_>) -> Option<u32> {
    let found = cx.names.table(word.text);
    if found.is_none() {
        let meant = nearest(word.text, cx.names.table_names()).map(str::to_owned);
        let mut complaint =
            wrong(word.span, format!("there is no routing table `{}`; the line is left out", word.text))
                .label("expected a number or a name of rt_tables");
        if let Some(meant) = meant {
            complaint = complaint.help(format!("did you mean `{meant}`?"));
        }
        cx.push(complaint);
    }
    found
}

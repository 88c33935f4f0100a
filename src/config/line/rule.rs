//! Rule lines: `virtual_rules` and `static_rules`.
//!
//! Like the arguments of `ip rule`, in any order; an action is needed. A mistake costs the line unless it is said
//! otherwise (keepalived 2.4.3, vrrp_iprule.c). Without a preference a rule gets one from 16384 downward, counted apart
//! for the families by [`Preferences`], with a complaint each time.

use super::family::{LineFamily, need, network, place, table, unknown};
use crate::config::line::{LineCx, List, Words, any_base, realms, unsigned, unsigned_in, wrong};
use crate::config::text::source::Span;
use crate::config::text::tree::{Node, Word};
use crate::spec::{PROTOCOL_KEEPALIVED, Prefix, Rule, RuleAction};
use crate::wire::Family;

/// How a rule line is written, for those whose line is wrong.
pub const FORM: &str = "from ADDRESS/PREFIX table NUMBER preference NUMBER …";

/// Preferences for rules that name none.
#[derive(Clone, Copy, Debug)]
pub struct Preferences {
    v4: u32,
    v6: u32,
}
impl Default for Preferences {
    fn default() -> Self {
        Preferences { v4: 16384, v6: 16384 }
    }
}
impl Preferences {
    fn take(&mut self, family: Family) -> u32 {
        let counter = if family == Family::V4 { &mut self.v4 } else { &mut self.v6 };
        let own = *counter;
        *counter = counter.saturating_sub(1);
        own
    }
}

/// A rule line as far as it has been read.
struct Draft<'l> {
    new: Rule,
    family: LineFamily,
    action: Option<(RuleAction, Word<'l>)>,
    priority: Option<u32>,
    protocol: Option<(u8, Span)>,
    group_at: Option<Span>,
    /// A word that only a rule with a table may have.
    table_only: Option<Word<'l>>,
}

/// `None` costs the line.
type Step = Option<()>;

/// Reads what follows a word.
type Reader = for<'l> fn(&mut Draft<'l>, &Word<'l>, &mut Words<'_, 'l>, &mut LineCx<'_>) -> Step;

/// The words of a rule line, each with its reader.
static WORDS: [(&str, Reader); 36] = [
    ("inet", |draft, word, words, cx| draft.family.word(word, words, is_word, cx)),
    ("inet6", |draft, word, words, cx| draft.family.word(word, words, is_word, cx)),
    ("from", |draft, word, words, cx| {
        draft.new.from = prefix(draft, word, words, cx)?;
        Some(())
    }),
    ("to", |draft, word, words, cx| {
        draft.new.to = prefix(draft, word, words, cx)?;
        Some(())
    }),
    ("table", lookup),
    ("lookup", lookup),
    ("not", |draft, _, _, _| on(&mut draft.new.invert)),
    ("preference", preference),
    ("order", preference),
    ("priority", preference),
    ("tos", dsfield),
    ("dsfield", dsfield),
    ("fwmark", |draft, word, words, cx| {
        let value = words.value(word, cx)?;
        draft.new.fwmark = Some(need(mark(value.text), value, "a mark", "expected MARK or MARK/MASK", cx)?);
        Some(())
    }),
    ("realms", |draft, word, words, cx| {
        let value = words.value(word, cx)?;
        let found = realms(value.text, cx.names);
        draft.new.realms = Some(need(found, value, "a realm", "expected REALM or FROM/TO", cx)?);
        draft.family.settle(Family::V4, word.span, cx)?;
        draft.table_only = Some(*word);
        Some(())
    }),
    ("suppress_prefixlength", suppress_prefix),
    ("sup_pl", suppress_prefix),
    ("suppress_ifgroup", suppress_group),
    ("sup_group", suppress_group),
    ("dev", incoming),
    ("iif", incoming),
    ("oif", |draft, word, words, cx| {
        let value = words.value(word, cx)?;
        draft.new.oif = Some(cx.interface(value)?);
        Some(())
    }),
    ("tunnel-id", |draft, word, words, cx| {
        let value = words.value(word, cx)?;
        draft.new.tunnel_id = Some(need(unsigned(value.text), value, "a tunnel id", "expected a number", cx)?);
        Some(())
    }),
    ("uidrange", |draft, word, words, cx| {
        let value = words.value(word, cx)?;
        let found = range::<u32>(value.text);
        draft.new.uid_range = Some(need(found, value, "a range of user ids", "expected FIRST-LAST", cx)?);
        Some(())
    }),
    ("l3mdev", |draft, word, _, cx| act(&mut draft.action, RuleAction::L3mdev, word, cx)),
    ("protocol", |draft, word, words, cx| {
        let value = words.value(word, cx)?;
        match unsigned_in(value.text, 0, 255) {
            Some(number) => draft.protocol = Some((number as u8, value.span)),
            None => cx.say(value, format!("protocol `{}` is ignored", value.text), "expected 0 to 255"),
        }
        Some(())
    }),
    ("ipproto", |draft, word, words, cx| {
        let value = words.value(word, cx)?;
        match cx.names.ip_protocol(value.text) {
            Some(found) => draft.new.ip_proto = Some(found),
            None => {
                let message = format!("`{}` is no IP protocol; it is ignored", value.text);
                cx.say(value, message, "expected a number or a name");
            }
        }
        Some(())
    }),
    ("sport", |draft, word, words, cx| ports(&mut draft.new.sport, word, words, cx)),
    ("dport", |draft, word, words, cx| ports(&mut draft.new.dport, word, words, cx)),
    ("type", |draft, word, words, cx| {
        let value = *words.value(word, cx)?;
        named_action(&value, words, &mut draft.action, cx)
    }),
    ("blackhole", action),
    ("unreachable", action),
    ("prohibit", action),
    ("goto", action),
    ("nop", action),
    ("no_track", |draft, _, _, _| on(&mut draft.new.no_track)),
    ("track_group", |draft, word, words, cx| {
        let value = words.value(word, cx)?;
        if draft.new.track_group.is_some() {
            cx.say(value, "a second track_group; the rest of the line is not read", "second group");
            words.skip_rest();
            return Some(());
        }
        draft.new.track_group = cx.track_group(value);
        draft.group_at = Some(word.span);
        Some(())
    }),
];

fn is_word(text: &str) -> bool {
    WORDS.iter().any(|(name, _)| *name == text)
}

fn on(flag: &mut bool) -> Step {
    *flag = true;
    Some(())
}

fn prefix(
    draft: &mut Draft<'_>,
    word: &Word<'_>,
    words: &mut Words<'_, '_>,
    cx: &mut LineCx<'_>,
) -> Option<Option<Prefix>> {
    let value = words.value(word, cx)?;
    let found = network(value, cx);
    let found = need(found, value, "a prefix", "expected ADDRESS[/PREFIX], default, any or all", cx)?;
    place(found, value, &mut draft.family, cx)
}

fn lookup<'l>(draft: &mut Draft<'l>, word: &Word<'l>, words: &mut Words<'_, 'l>, cx: &mut LineCx<'_>) -> Step {
    let value = words.value(word, cx)?;
    let number = table(value, cx)?;
    let number = need((number != 0).then_some(number), value, "a table for rules", "expected 1 or more", cx)?;
    act(&mut draft.action, RuleAction::Table(number), word, cx)
}

fn preference<'l>(draft: &mut Draft<'l>, word: &Word<'l>, words: &mut Words<'_, 'l>, cx: &mut LineCx<'_>) -> Step {
    let value = words.value(word, cx)?;
    let found = any_base(value.text).and_then(|n| u32::try_from(n).ok());
    draft.priority = Some(need(found, value, "a preference", "expected 0 to 4294967295", cx)?);
    Some(())
}

fn dsfield<'l>(draft: &mut Draft<'l>, word: &Word<'l>, words: &mut Words<'_, 'l>, cx: &mut LineCx<'_>) -> Step {
    let value = words.value(word, cx)?;
    let found = cx.names.dsfield(value.text);
    draft.new.tos = need(found, value, "a DS field", "expected 0 to 255 or a name of rt_dsfield", cx)?;
    Some(())
}

fn suppress_prefix<'l>(draft: &mut Draft<'l>, word: &Word<'l>, words: &mut Words<'_, 'l>, cx: &mut LineCx<'_>) -> Step {
    let value = words.value(word, cx)?;
    let found = unsigned_in(value.text, 0, i32::MAX as u64).map(|n| n as u32);
    draft.new.suppress_prefixlength = Some(need(found, value, "a prefix length", "expected a number", cx)?);
    draft.table_only = Some(*word);
    Some(())
}

fn suppress_group<'l>(draft: &mut Draft<'l>, word: &Word<'l>, words: &mut Words<'_, 'l>, cx: &mut LineCx<'_>) -> Step {
    let value = words.value(word, cx)?;
    let found = cx.names.group(value.text);
    draft.new.suppress_ifgroup = Some(need(found, value, "an interface group", "expected a number or a name", cx)?);
    draft.table_only = Some(*word);
    Some(())
}

fn incoming<'l>(draft: &mut Draft<'l>, word: &Word<'l>, words: &mut Words<'_, 'l>, cx: &mut LineCx<'_>) -> Step {
    let value = words.value(word, cx)?;
    draft.new.iif = Some(cx.interface(value)?);
    Some(())
}

fn ports(field: &mut Option<(u16, u16)>, word: &Word<'_>, words: &mut Words<'_, '_>, cx: &mut LineCx<'_>) -> Step {
    let value = words.value(word, cx)?;
    if let Some(ports) = range::<u16>(value.text) {
        *field = Some(ports);
        return Some(());
    }
    let mut complaint =
        wrong(value.span, format!("{} `{}` is ignored", word.text, value.text)).label("expected FIRST-LAST");
    if let Some(port) = unsigned_in(value.text, 1, 65535) {
        complaint = complaint.help(format!("write {port}-{port}"));
    }
    cx.push(complaint);
    Some(())
}

fn action<'l>(draft: &mut Draft<'l>, word: &Word<'l>, words: &mut Words<'_, 'l>, cx: &mut LineCx<'_>) -> Step {
    named_action(word, words, &mut draft.action, cx)
}

/// Reads one rule line; `None` if it cannot be used.
pub fn rule(node: &Node<'_>, preferences: &mut Preferences, cx: &mut LineCx<'_>) -> Option<Rule> {
    let mut draft = Draft {
        new: Rule::plain(),
        family: LineFamily::default(),
        action: None,
        priority: None,
        protocol: None,
        group_at: None,
        table_only: None,
    };
    let mut words = Words::of(node);
    while let Some(word) = words.next() {
        // Only statics are in a group; elsewhere the word is none.
        let here = word.text != "track_group" || cx.list == List::Static;
        let read =
            WORDS.iter().find(|(name, _)| *name == word.text && here).map_or(action as Reader, |(_, read)| *read);
        read(&mut draft, word, &mut words, cx)?;
    }
    finish(draft, node, preferences, cx)
}

/// What follows from several words together.
fn finish(draft: Draft<'_>, node: &Node<'_>, preferences: &mut Preferences, cx: &mut LineCx<'_>) -> Option<Rule> {
    let Draft { mut new, family, action, priority, protocol, group_at, table_only } = draft;
    let Some((action, action_word)) = action else {
        cx.push(
            wrong(node.span, "a rule needs an action; the line is left out")
                .help("add `table N`, or blackhole, goto …"),
        );
        return None;
    };
    new.action = action;
    if let RuleAction::Goto(target) = action
        && priority.is_none_or(|own| own >= target)
    {
        let message = match priority {
            Some(own) => format!("goto {target} leads back from preference {own}; the line is left out"),
            None => format!("goto {target} needs a preference below {target}; the line is left out"),
        };
        cx.push(wrong(action_word.span, message).label("a jump can only go forward"));
        return None;
    }
    if let Some(word) = table_only
        && !matches!(action, RuleAction::Table(_) | RuleAction::L3mdev)
    {
        cx.push(
            wrong(word.span, format!("`{}` needs a table; the line is left out", word.text))
                .related(action_word.span, "this is the action"),
        );
        return None;
    }
    match protocol {
        Some((number, at)) if number != PROTOCOL_KEEPALIVED && !new.no_track => cx.push(
            wrong(at, format!("a watched rule has protocol {PROTOCOL_KEEPALIVED}, not {number}"))
                .help("add `no_track` to keep the protocol, or leave it out"),
        ),
        Some((number, _)) => new.protocol = number,
        None => {}
    }
    if new.track_group.is_some() && new.iif.is_none() {
        new.track_group = None;
        if let Some(at) = group_at {
            cx.push(wrong(at, "track_group of a rule without `dev` is ignored"));
        }
    }
    new.family = family.or_v4();
    new.priority = priority.unwrap_or_else(|| {
        let own = preferences.take(new.family);
        cx.push(
            wrong(node.span, format!("the rule has no preference; {own} is used"))
                .help("add `preference N`: rules without one depend on their order in the file"),
        );
        own
    });
    Some(new)
}

/// Sets the action; a second one costs the line.
fn act<'s>(
    action: &mut Option<(RuleAction, Word<'s>)>,
    new: RuleAction,
    word: &Word<'s>,
    cx: &mut LineCx<'_>,
) -> Option<()> {
    if let Some((_, first)) = action {
        cx.push(
            wrong(word.span, "a rule has one action; the line is left out")
                .label("second")
                .related(first.span, "first"),
        );
        return None;
    }
    *action = Some((new, *word));
    Some(())
}

fn named_action<'s>(
    word: &Word<'s>,
    words: &mut Words<'_, 's>,
    action: &mut Option<(RuleAction, Word<'s>)>,
    cx: &mut LineCx<'_>,
) -> Option<()> {
    let new = match (word.text, cx.names.route_type(word.text)) {
        ("goto", _) => {
            let value = words.value(word, cx)?;
            let target = unsigned(value.text).and_then(|n| u32::try_from(n).ok());
            RuleAction::Goto(need(target, value, "a preference", "expected 0 to 4294967295", cx)?)
        }
        ("nop", _) => RuleAction::Nop,
        (_, Some(6)) => RuleAction::Blackhole,
        (_, Some(7)) => RuleAction::Unreachable,
        (_, Some(8)) => RuleAction::Prohibit,
        (text, Some(_)) => {
            cx.say(
                word,
                format!("`{text}` is no action of a rule; the line is left out"),
                "expected blackhole, unreachable or prohibit",
            );
            return None;
        }
        (_, None) => {
            cx.push(unknown(word, WORDS.iter().map(|(name, _)| *name), "a rule", "expected a word of `ip rule`"));
            return None;
        }
    };
    act(action, new, word, cx)
}

/// `MARK[/MASK]`, any base; without a mask all bits.
fn mark(text: &str) -> Option<(u32, u32)> {
    let read = |text: &str| any_base(text).and_then(|n| u32::try_from(n).ok());
    match text.split_once('/') {
        Some((mark, mask)) if !mask.starts_with([' ', '\t']) => Some((read(mark)?, read(mask)?)),
        Some(_) => None,
        None => Some((read(text)?, u32::MAX)),
    }
}

/// `A-B`; no single number.
fn range<N: TryFrom<u64>>(text: &str) -> Option<(N, N)> {
    let (first, last) = text.split_once('-')?;
    Some((N::try_from(unsigned(first)?).ok()?, N::try_from(unsigned(last)?).ok()?))
}

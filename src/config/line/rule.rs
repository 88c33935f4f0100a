//! Rule lines: `virtual_rules` and `static_rules`.
//!
//! Like the arguments of `ip rule`, in any order; an action is needed. A mistake costs the line unless it is said
//! otherwise (keepalived 2.4.3, vrrp_iprule.c). Without a preference a rule gets one from 16384 downward, counted apart
//! for the families by [`Preferences`], with a complaint each time.

use super::family::{LineFamily, PROTOCOL_KEEPALIVED, need, network, place, table, unknown};
use crate::config::line::{LineCx, List, Words, any_base, realms, unsigned, unsigned_in, wrong};
use crate::config::text::tree::{Node, Word};
use crate::spec::{Rule, RuleAction};
use crate::wire::Family;

const WORDS: [&str; 37] = [
    "from",
    "to",
    "table",
    "lookup",
    "not",
    "preference",
    "order",
    "priority",
    "tos",
    "dsfield",
    "fwmark",
    "realms",
    "suppress_prefixlength",
    "sup_pl",
    "suppress_ifgroup",
    "sup_group",
    "dev",
    "iif",
    "oif",
    "tunnel-id",
    "uidrange",
    "l3mdev",
    "protocol",
    "ipproto",
    "sport",
    "dport",
    "type",
    "blackhole",
    "unreachable",
    "prohibit",
    "goto",
    "nop",
    "no_track",
    "track_group",
    "inet",
    "inet6",
    "pref",
];

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

/// Reads one rule line; `None` if it cannot be used.
pub fn rule(node: &Node<'_>, preferences: &mut Preferences, cx: &mut LineCx<'_>) -> Option<Rule> {
    let mut new = Rule {
        family: Family::V4,
        action: RuleAction::Nop,
        from: None,
        to: None,
        invert: false,
        priority: 0,
        tos: 0,
        fwmark: None,
        realms: None,
        suppress_prefixlength: None,
        suppress_ifgroup: None,
        iif: None,
        oif: None,
        tunnel_id: None,
        uid_range: None,
        protocol: PROTOCOL_KEEPALIVED,
        ip_proto: None,
        sport: None,
        dport: None,
        no_track: false,
        track_group: None,
    };
    let mut family = LineFamily::default();
    let mut action: Option<(RuleAction, Word<'_>)> = None;
    let (mut priority, mut protocol, mut group_at, mut table_only) = (None, None, None, None);
    let mut words = Words::of(node);

    while let Some(word) = words.next() {
        match word.text {
            "inet" | "inet6" => family.word(word, &mut words, |text| WORDS.contains(&text), cx)?,
            "from" | "to" => {
                let value = words.value(word, cx)?;
                let found = network(value, cx);
                let found = need(found, value, "a prefix", "expected ADDRESS[/PREFIX], default, any or all", cx)?;
                let prefix = place(found, value, &mut family, cx)?;
                *(if word.text == "from" { &mut new.from } else { &mut new.to }) = prefix;
            }
            "table" | "lookup" => {
                let value = words.value(word, cx)?;
                let number = table(value, cx)?;
                let number =
                    need((number != 0).then_some(number), value, "a table for rules", "expected 1 or more", cx)?;
                act(&mut action, RuleAction::Table(number), word, cx)?;
            }
            "not" => new.invert = true,
            "preference" | "order" | "priority" => {
                let value = words.value(word, cx)?;
                let found = any_base(value.text).and_then(|n| u32::try_from(n).ok());
                priority = Some(need(found, value, "a preference", "expected 0 to 4294967295", cx)?);
            }
            "tos" | "dsfield" => {
                let value = words.value(word, cx)?;
                let found = cx.names.dsfield(value.text);
                new.tos = need(found, value, "a DS field", "expected 0 to 255 or a name of rt_dsfield", cx)?;
            }
            "fwmark" => {
                let value = words.value(word, cx)?;
                new.fwmark = Some(need(mark(value.text), value, "a mark", "expected MARK or MARK/MASK", cx)?);
            }
            "realms" => {
                let value = words.value(word, cx)?;
                let found = realms(value.text, cx.names);
                new.realms = Some(need(found, value, "a realm", "expected REALM or FROM/TO", cx)?);
                family.settle(Family::V4, word.span, cx)?;
                table_only = Some(word);
            }
            "suppress_prefixlength" | "sup_pl" => {
                let value = words.value(word, cx)?;
                let found = unsigned_in(value.text, 0, i32::MAX as u64).map(|n| n as u32);
                new.suppress_prefixlength = Some(need(found, value, "a prefix length", "expected a number", cx)?);
                table_only = Some(word);
            }
            "suppress_ifgroup" | "sup_group" => {
                let value = words.value(word, cx)?;
                let found = cx.names.group(value.text);
                new.suppress_ifgroup =
                    Some(need(found, value, "an interface group", "expected a number or a name", cx)?);
                table_only = Some(word);
            }
            "dev" | "iif" => {
                let value = words.value(word, cx)?;
                new.iif = Some(cx.interface(value)?);
            }
            "oif" => {
                let value = words.value(word, cx)?;
                new.oif = Some(cx.interface(value)?);
            }
            "tunnel-id" => {
                let value = words.value(word, cx)?;
                let found = unsigned(value.text);
                new.tunnel_id = Some(need(found, value, "a tunnel id", "expected a number", cx)?);
            }
            "uidrange" => {
                let value = words.value(word, cx)?;
                new.uid_range =
                    Some(need(range::<u32>(value.text), value, "a range of user ids", "expected FIRST-LAST", cx)?);
            }
            "l3mdev" => act(&mut action, RuleAction::L3mdev, word, cx)?,
            "protocol" => {
                let value = words.value(word, cx)?;
                match unsigned_in(value.text, 0, 255) {
                    Some(number) => protocol = Some((number as u8, value.span)),
                    None => cx.say(value, format!("protocol '{}' is ignored", value.text), "expected 0 to 255"),
                }
            }
            "ipproto" => {
                let value = words.value(word, cx)?;
                new.ip_proto = cx.names.ip_protocol(value.text).or(new.ip_proto);
                if cx.names.ip_protocol(value.text).is_none() {
                    cx.say(
                        value,
                        format!("'{}' is no IP protocol; it is ignored", value.text),
                        "expected a number or a name",
                    );
                }
            }
            "sport" | "dport" => {
                let value = words.value(word, cx)?;
                match range::<u16>(value.text) {
                    Some(ports) if word.text == "sport" => new.sport = Some(ports),
                    Some(ports) => new.dport = Some(ports),
                    None => {
                        let single = unsigned_in(value.text, 1, 65535);
                        let mut complaint = wrong(value.span, format!("{} '{}' is ignored", word.text, value.text))
                            .label("expected FIRST-LAST");
                        if let Some(port) = single {
                            complaint = complaint.help(format!("write {port}-{port}"));
                        }
                        cx.push(complaint);
                    }
                }
            }
            "no_track" => new.no_track = true,
            "track_group" if cx.list == List::Static => {
                let value = words.value(word, cx)?;
                if new.track_group.is_some() {
                    cx.say(value, "a second track_group; the rest of the line is not read", "second group");
                    break;
                }
                new.track_group = cx.track_group(value);
                group_at = Some(word.span);
            }
            "type" => {
                let value = words.value(word, cx)?;
                named_action(value, &mut words, &mut action, cx)?;
            }
            _ => named_action(word, &mut words, &mut action, cx)?,
        }
    }

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
                format!("'{text}' is no action of a rule; the line is left out"),
                "expected blackhole, unreachable or prohibit",
            );
            return None;
        }
        (_, None) => {
            cx.push(unknown(word, &WORDS, "a rule", "expected a word of `ip rule`"));
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

//! The rules of nftables, as `nft -j list ruleset` tells them. Rules are put into words again, nft's own where it has them,
//! since an operator looks for them in the file that they come from. Counters and comments select nothing and are left out:
//! a rule that has `drop` in its comment only drops nothing.
//!
//! What iptables-nft has set through its own extensions nft cannot tell: it names the extension (`xt`), not what is asked of it.

use super::machine::{Machine, Ran};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Why the rules are not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unread {
    /// nft is not installed, or only root may ask it.
    NotAllowed,
    /// This nft was built without JSON, or says what it says in another shape.
    NoJson,
}

/// Chains by table (`inet filter`) and name, rules in their order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Ruleset {
    tables: BTreeMap<String, BTreeMap<String, Chain>>,
}

/// One chain of a table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Chain {
    /// `filter` or `nat`, with the hook: `input`, `prerouting`, …; `None` for a chain that only others jump to.
    pub(super) hook: Option<(String, String)>,
    pub(super) drops_by_default: bool,
    /// In nft's words.
    pub(super) rules: Vec<String>,
}

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Entry>,
}

/// An object of the listing; of what else there is (tables, sets, counters) nothing is asked.
#[derive(Deserialize)]
struct Entry {
    chain: Option<ChainSaid>,
    rule: Option<RuleSaid>,
}

#[derive(Deserialize)]
struct ChainSaid {
    family: String,
    table: String,
    name: String,
    r#type: Option<String>,
    hook: Option<String>,
    policy: Option<String>,
}

#[derive(Deserialize)]
struct RuleSaid {
    family: String,
    table: String,
    chain: String,
    #[serde(default)]
    expr: Vec<Value>,
}

impl Ruleset {
    /// Asks nft.
    pub(super) fn of(machine: &dyn Machine) -> Result<Ruleset, Unread> {
        let ran = machine.run(&["nft", "-j", "list", "ruleset"]).ok_or(Unread::NotAllowed)?;
        Ruleset::said(&ran)
    }

    fn said(ran: &Ran) -> Result<Ruleset, Unread> {
        if !ran.ok {
            let unknown =
                ["JSON", "invalid option", "unrecognized option"].iter().any(|word| ran.stderr.contains(word));
            return Err(if unknown { Unread::NoJson } else { Unread::NotAllowed });
        }
        Ruleset::parse(&ran.stdout).ok_or(Unread::NoJson)
    }

    fn parse(json: &str) -> Option<Ruleset> {
        let listing: Listing = serde_json::from_str(json).ok()?;
        let mut all = Ruleset::default();
        for entry in listing.nftables {
            if let Some(said) = entry.chain {
                let chain = all.chain(&said.family, &said.table, &said.name);
                chain.hook = said.r#type.zip(said.hook);
                chain.drops_by_default = said.policy.as_deref() == Some("drop");
            }
            if let Some(said) = entry.rule {
                let words: Vec<String> = said.expr.iter().map(statement).filter(|text| !text.is_empty()).collect();
                all.chain(&said.family, &said.table, &said.chain).rules.push(words.join(" "));
            }
        }
        Some(all)
    }

    fn chain(&mut self, family: &str, table: &str, name: &str) -> &mut Chain {
        self.tables.entry(format!("{family} {table}")).or_default().entry(name.to_owned()).or_default()
    }

    /// (table with its family, its chains by name), in alphabetical order.
    pub(super) fn tables(&self) -> impl Iterator<Item = (&str, &BTreeMap<String, Chain>)> {
        self.tables.iter().map(|(table, chains)| (table.as_str(), chains))
    }

    /// Has iptables-nft set something in this table (`ip filter`) that nft cannot put into words?
    pub(super) fn is_of_iptables(&self, table: &str) -> bool {
        let rules = self.tables.get(table).into_iter().flat_map(BTreeMap::values).flat_map(|chain| &chain.rules);
        rules.into_iter().any(|rule| rule.split(' ').any(|word| word == "xt"))
    }
}

/// A statement of a rule, in words; empty for what neither selects nor decides.
fn statement(said: &Value) -> String {
    let Some((kind, of)) = said.as_object().and_then(|object| object.iter().next()) else { return value(said) };
    match kind.as_str() {
        "counter" | "log" => String::new(),
        "match" => {
            let (left, right) = (value(&of["left"]), value(&of["right"]));
            match of["op"].as_str() {
                None | Some("==" | "in") => format!("{left} {right}"),
                Some(operator) => format!("{left} {operator} {right}"),
            }
        }
        "vmap" => format!("{} vmap {}", value(&of["key"]), value(&of["data"])),
        "jump" | "goto" => format!("{kind} {}", value(&of["target"])),
        "snat" | "dnat" if !of["addr"].is_null() => format!("{kind} to {}", value(&of["addr"])),
        "xt" if of["name"] == "comment" => "xt".to_owned(),
        "xt" => format!("xt {}", value(&of["name"])).trim_end().to_owned(),
        // accept, drop, reject, return, masquerade, and what limits or marks: its name is enough.
        other => other.to_owned(),
    }
}

/// What is compared, or what with.
fn value(said: &Value) -> String {
    let list = |items: &[Value], between: &str| items.iter().map(value).collect::<Vec<_>>().join(between);
    let (kind, of) = match said {
        Value::Null => return String::new(),
        Value::String(word) => return word.clone(),
        Value::Array(items) => return list(items, ","),
        Value::Object(object) => match object.iter().next() {
            Some(of) => of,
            None => return String::new(),
        },
        plain => return plain.to_string(),
    };
    let items = of.as_array().map(Vec::as_slice).unwrap_or_default();
    match kind.as_str() {
        "meta" => match of["key"].as_str().unwrap_or_default() {
            key @ ("iif" | "iifname" | "oif" | "oifname") => key.to_owned(),
            key => format!("meta {key}"),
        },
        "payload" if of["field"].is_string() => format!("{} {}", value(&of["protocol"]), value(&of["field"])),
        "payload" => format!("@{},{},{}", value(&of["base"]), value(&of["offset"]), value(&of["len"])),
        "ct" => format!("ct {}", value(&of["key"])),
        "fib" => format!("fib {} {}", value(&of["flags"]), value(&of["result"])),
        "prefix" => format!("{}/{}", value(&of["addr"]), value(&of["len"])),
        "range" => list(items, "-"),
        "concat" => list(items, " . "),
        "elem" => value(&of["val"]),
        "set" => {
            // An element of a verdict map is a pair of what is looked for and what is done.
            let element = |item: &Value| match item.as_array().map(Vec::as_slice) {
                Some([key, verdict]) => format!("{} : {}", value(key), statement(verdict)),
                _ => value(item),
            };
            match of.as_array() {
                Some(items) => format!("{{ {} }}", items.iter().map(element).collect::<Vec<_>>().join(", ")),
                None => value(of),
            }
        }
        "&" | "|" | "^" | "<<" | ">>" => list(items, &format!(" {kind} ")),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIXED: &str = include_str!("../../../tests/golden/nft/mixed.json");
    const OF_IPTABLES: &str = include_str!("../../../tests/golden/nft/iptables.json");

    /// Both are what one nft said of one ruleset, as JSON and as text: rules have the words of the text.
    #[test]
    fn rules_are_said_as_nft_says_them() {
        let all = Ruleset::parse(MIXED).unwrap();
        let text = include_str!("../../../tests/golden/nft/mixed.txt");
        // Quotes round names are nft's alone.
        let said: Vec<String> = text.lines().map(|line| line.trim().replace('"', "")).collect();
        // What is said otherwise: nft's text, and ours.
        let otherwise = [
            ("ip saddr @peers meta l4proto vrrp accept comment drop vrrp", "ip saddr @peers meta l4proto vrrp accept"),
            ("ip protocol vrrp counter packets 0 bytes 0 drop", "ip protocol vrrp drop"),
            ("udp dport 3784 limit rate 5/second burst 3 packets accept", "udp dport 3784 limit accept"),
            ("meta mark & 0x000000ff == 0x00000001 accept", "meta mark & 255 1 accept"),
            ("@nh,0,8 0x45 drop", "@nh,0,8 69 drop"),
            ("ip saddr != 10.0.0.0/24 reject with icmp port-unreachable", "ip saddr != 10.0.0.0/24 reject"),
            ("log prefix x  counter packets 0 bytes 0 drop", "drop"),
        ];
        let mut seen = 0;
        for (table, chains) in all.tables() {
            for rule in chains.values().flat_map(|chain| &chain.rules) {
                seen += 1;
                let known = otherwise.iter().find(|(_, ours)| ours == rule).map_or(rule.as_str(), |(text, _)| text);
                assert!(said.iter().any(|line| line == known), "{table}: {rule}");
            }
        }
        assert_eq!(seen, 28);
        let input = &all.tables["inet filter"]["input"];
        assert_eq!(input.hook, Some(("filter".into(), "input".into())));
        assert!(input.drops_by_default && !all.tables["inet filter"]["out"].drops_by_default);
        assert_eq!(all.tables["inet filter"]["allowed"].hook, None);
        assert!(!all.is_of_iptables("inet filter") && !all.is_of_iptables("ip filter"));
    }

    #[test]
    fn rules_of_iptables_are_known_by_their_extensions() {
        let all = Ruleset::parse(OF_IPTABLES).unwrap();
        assert!(all.is_of_iptables("ip filter") && !all.is_of_iptables("ip6 filter"));
        assert_eq!(all.tables["ip filter"]["INPUT"].rules[2], "iifname eth0 meta l4proto vrrp xt drop");
    }

    #[test]
    fn an_nft_that_cannot_or_may_not() {
        let failed = |stderr: &str| Ran { ok: false, stderr: stderr.to_owned(), ..Ran::default() };
        assert_eq!(Ruleset::said(&failed("JSON support not compiled-in\n")), Err(Unread::NoJson));
        assert_eq!(Ruleset::said(&failed("nft: invalid option -- 'j'\n")), Err(Unread::NoJson));
        let not_root = "Operation not permitted (you must be root)\n";
        assert_eq!(Ruleset::said(&failed(not_root)), Err(Unread::NotAllowed));
        let text = Ran { ok: true, stdout: "table ip filter {\n}\n".into(), ..Ran::default() };
        assert_eq!(Ruleset::said(&text), Err(Unread::NoJson));
        // Shapes that a later nft may bring are no reason to give up on the rest.
        let odd =
            r#"{"nftables":[{"rule":{"family":"ip","table":"t","chain":"c","expr":[7,{"new":[{}]},{"match":{}}]}}]}"#;
        assert_eq!(Ruleset::parse(odd).unwrap().tables["ip t"]["c"].rules.len(), 1);
    }
}

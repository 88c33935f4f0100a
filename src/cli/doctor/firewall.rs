//! May VRRP pass? A verdict is given only on what is plainly there. Rules of nftables come as JSON (`ruleset.rs`), those of
//! iptables as the text that is its only form; both are words here.
//!
//! Chains that others jump to are read in the place of the jump, as ufw and firewalld need it. What cannot be decided
//! from the words of a rule counts as accepting: a doctor who cries wolf is not asked again.

use super::Case;
use super::Finding;
use super::Weight;
use super::ruleset::{self, Ruleset, Unread};
use crate::spec::{Auth, Transport};
use std::collections::BTreeMap;

/// Adverts come in as IP protocol 112 to 224.0.0.18 or ff02::12, or from the unicast peers, and go out alike.
pub fn vrrp_may_pass(case: &Case<'_>, found: &mut Vec<Finding>) {
    if case.instances().is_empty() {
        return;
    }
    let marks = Marks::of(case);
    let all = look(case, BESIDE_VRRP, found);
    for chain in all.iter().flatten() {
        judge(chain, &marks, found);
    }
    if all.is_none() {
        found.push(
            Finding::new(Weight::Note, "firewall", "the firewall could not be looked at")
                .cure("run as root, with nft or iptables installed"),
        );
    } else if !found.iter().any(|f| f.check == "firewall") {
        found.push(Finding::new(Weight::Good, "firewall", "no rule here drops VRRP (IP protocol 112)"));
    }
}

/// Every chain that packets of BFD come in through.
pub(super) fn chains(case: &Case<'_>, found: &mut Vec<Finding>) -> Vec<Chain> {
    if case.spec.sessions.is_empty() {
        return Vec::new();
    }
    let mut chains = look(case, BESIDE_UDP, found).unwrap_or_default();
    // What goes out is asked of the other server.
    chains.retain(|chain| !chain.goes_out);
    chains
}

/// The chains that hook into what comes in or goes out; `None` where no firewall could be asked. `others` are the protocols
/// whose rules do not concern what is asked for.
fn look(case: &Case<'_>, others: &[&str], found: &mut Vec<Finding>) -> Option<Vec<Chain>> {
    let rules = Ruleset::of(case.machine);
    if rules == Err(Unread::NoJson) {
        note_no_json(found);
    }
    let mut chains = rules.as_ref().ok().map(|_| Vec::new());
    let mut also = |program: &str| {
        let ran = case.machine.run(&[program, "-S"]).filter(|ran| ran.ok)?;
        chains.get_or_insert_default().extend(iptables_chains(&ran.stdout, program, others));
        Some(())
    };
    for program in ["iptables-legacy", "ip6tables-legacy"] {
        also(program);
    }
    if let Ok(rules) = &rules {
        // What iptables-nft has set it can say better than nft can.
        let managed = [("ip filter", "iptables-nft"), ("ip6 filter", "ip6tables-nft")];
        let told: Vec<&str> = managed
            .into_iter()
            .filter(|(table, program)| rules.is_of_iptables(table) && also(program).is_some())
            .map(|(table, _)| table)
            .collect();
        let tables = rules.tables().filter(|(table, _)| !told.contains(table));
        chains.get_or_insert_default().extend(tables.flat_map(|(table, chains)| nft_chains(table, chains, others)));
    }
    chains
}

/// Says once that this nft cannot be asked.
pub(super) fn note_no_json(found: &mut Vec<Finding>) {
    let what = "this nft does not speak JSON: rules of nftables were not looked at";
    if !found.iter().any(|known| known.what == what) {
        found.push(
            Finding::new(Weight::Note, "firewall", what)
                .cure("install an nft with JSON (`nft -V` says `json: yes`), or read `nft list ruleset` yourself"),
        );
    }
}

/// Words that concern adverts.
struct Marks {
    /// Of which one stands in a rule about VRRP.
    adverts: Vec<String>,
    interfaces: Vec<String>,
    /// The IP protocol that the adverts come in.
    protocol: &'static str,
}

impl Marks {
    fn of(case: &Case<'_>) -> Marks {
        let mut adverts: Vec<String> = ["vrrp", "112"].map(str::to_owned).into();
        let mut protocol = "112";
        for instance in case.instances() {
            if matches!(instance.auth, Auth::Ah(_)) {
                adverts.extend(["ah".to_owned(), "51".to_owned()]);
                protocol = "51";
            }
            match &instance.transport {
                Transport::Multicast { group } => {
                    adverts.extend(["224.0.0.0", "ff02::12", "multicast", "MULTICAST"].map(str::to_owned));
                    adverts.push(group.to_string());
                }
                Transport::Unicast { peers, .. } => adverts.extend(peers.iter().map(|p| p.address.to_string())),
            }
        }
        Marks { adverts, interfaces: case.interfaces().iter().map(ToString::to_string).collect(), protocol }
    }
}

/// A chain that everything into or out of this machine goes through, with the chains that it jumps to in their places.
pub(super) struct Chain {
    /// For people.
    pub(super) name: String,
    pub(super) drops_by_default: bool,
    pub(super) rules: Vec<String>,
    /// The beginning of a command that puts a rule before all others.
    pub(super) insert: String,
    /// Packets of this machine's own go through it, and not what comes in.
    pub(super) goes_out: bool,
    /// What ends it.
    accept: fn(&str) -> String,
}

fn judge(chain: &Chain, marks: &Marks, found: &mut Vec<Finding>) {
    let drops = |rule: &str| words(rule).any(|w| matches!(w, "drop" | "DROP" | "reject" | "REJECT"));
    let accepts =
        |rule: &str| words(rule).any(|w| matches!(w, "accept" | "ACCEPT" | "jump" | "goto" | "return" | "RETURN"));
    let cure = format!(
        "{} {}   # and in the file that the firewall is loaded from",
        chain.insert,
        (chain.accept)(marks.protocol)
    );
    let problem = |what: String| {
        Finding::new(Weight::Problem, "firewall", what)
            .why("the servers do not hear each other: both become master")
            .cure(format!("{cure}\n# firewalld: firewall-cmd --permanent --add-protocol=vrrp && firewall-cmd --reload"))
    };
    // The first rule that decides for adverts is the one.
    for rule in &chain.rules {
        let about = words(rule).any(|w| marks.adverts.iter().any(|m| m == w));
        if (about && accepts(rule)) || lets_all_in(rule, marks) {
            return;
        }
        if (about && drops(rule)) || unconditional_drop(rule) {
            found.push(problem(if about {
                format!("{}: VRRP is dropped: {}", chain.name, rule.trim())
            } else {
                format!("{}: drops what it does not know, and no rule accepts VRRP", chain.name)
            }));
            return;
        }
    }
    if chain.drops_by_default {
        found.push(problem(format!("{}: drops what it does not know, and no rule accepts VRRP", chain.name)));
    }
}

pub(super) fn words(rule: &str) -> impl Iterator<Item = &str> {
    rule.split(|c: char| c.is_whitespace() || matches!(c, ',' | '{' | '}' | '/' | ';' | '"')).filter(|w| !w.is_empty())
}

/// Words that say what is done, how it is counted, or which chain it is in, and select nothing.
fn selects_nothing(word: &str) -> bool {
    let noise = ["-A", "-j", "-m", "comment", "--comment", "counter", "packets", "bytes", "INPUT", "OUTPUT"];
    noise.contains(&word) || word.bytes().all(|b| b.is_ascii_digit())
}

pub(super) fn unconditional_drop(rule: &str) -> bool {
    let mut rest = words(rule).filter(|w| !selects_nothing(w));
    matches!(rest.next(), Some("drop" | "DROP" | "reject" | "REJECT"))
}

/// Accepts whatever comes in on an instance's interface, or from some addresses, whatever protocol it is.
fn lets_all_in(rule: &str, marks: &Marks) -> bool {
    let mut accepts = false;
    let mut source = false;
    for word in words(rule).filter(|w| !selects_nothing(w)) {
        match word {
            "accept" | "ACCEPT" => accepts = true,
            "iif" | "iifname" | "oif" | "oifname" | "-i" | "-o" | "ip" | "ip6" => {}
            "saddr" | "-s" | "daddr" | "-d" => source = true,
            name if marks.interfaces.iter().any(|i| i == name) => {}
            // An address or a set of them: whether the peers are in it cannot be seen from here.
            other if source && (other.contains(['.', ':']) || other.starts_with('@')) => {}
            _ => return false,
        }
    }
    accepts
}

/// Protocols whose rules do not concern adverts, or UDP.
const BESIDE_VRRP: &[&str] = &["tcp", "udp", "icmp", "icmpv6", "ipv6-icmp"];
const BESIDE_UDP: &[&str] = &["tcp", "icmp", "icmpv6", "ipv6-icmp"];

type Rules = BTreeMap<String, Vec<String>>;

/// The rules of a chain, those of the chains that it jumps to among them.
fn unfolded(chains: &Rules, name: &str, others: &[&str], depth: usize) -> Vec<String> {
    let mut rules = Vec::new();
    for rule in chains.get(name).into_iter().flatten() {
        let mut rest = words(rule).skip_while(|w| !matches!(*w, "jump" | "goto" | "-j" | "-g"));
        let target = rest.nth(1).filter(|target| chains.contains_key(*target));
        // What only some other protocol is led to is not asked.
        let other = words(rule).any(|w| others.contains(&w));
        match target {
            Some(_) if other => {}
            // A chain without a verdict of its own comes back here: its rules are what counts, not the jump.
            Some(target) if depth < 8 => rules.extend(unfolded(chains, target, others, depth + 1)),
            _ => rules.push(rule.clone()),
        }
    }
    rules
}

/// Chains of a table of nftables that filter what comes in or goes out.
fn nft_chains(table: &str, all: &BTreeMap<String, ruleset::Chain>, others: &[&str]) -> Vec<Chain> {
    let rules: Rules = all.iter().map(|(name, chain)| (name.clone(), chain.rules.clone())).collect();
    let whole = |(name, chain): (&String, &ruleset::Chain)| {
        let (kind, hook) = chain.hook.as_ref()?;
        let filters = kind == "filter" && matches!(hook.as_str(), "input" | "prerouting" | "output");
        filters.then(|| Chain {
            rules: unfolded(&rules, name, others, 0),
            name: format!("nftables {table} {name}"),
            drops_by_default: chain.drops_by_default,
            insert: format!("nft insert rule {table} {name}"),
            goes_out: hook == "output",
            accept: |protocol| format!("meta l4proto {protocol} accept"),
        })
    };
    all.iter().filter_map(whole).collect()
}

/// The INPUT and OUTPUT chains of `iptables -S`.
fn iptables_chains(text: &str, program: &str, others: &[&str]) -> Vec<Chain> {
    let mut chains = Rules::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("-N ").or_else(|| line.strip_prefix("-P ")?.split(' ').next()) {
            chains.entry(name.trim().to_owned()).or_default();
        } else if let Some(name) = line.strip_prefix("-A ").and_then(|rest| rest.split(' ').next()) {
            chains.entry(name.to_owned()).or_default().push(line.to_owned());
        }
    }
    let whole = |name: &str| Chain {
        rules: unfolded(&chains, name, others, 0),
        drops_by_default: text.lines().any(|l| l == format!("-P {name} DROP")),
        insert: format!("{program} -I {name}"),
        goes_out: name == "OUTPUT",
        accept: |protocol| format!("-p {protocol} -j ACCEPT"),
        name: format!("{program} {name}"),
    };
    ["INPUT", "OUTPUT"].into_iter().map(whole).collect()
}

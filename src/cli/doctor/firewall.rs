//! May VRRP pass? Rules are read as text: a verdict is given only on what is plainly there.

use super::{Case, Finding, Weight};
use crate::engine::spec::{Auth, Transport};

/// Adverts come in as IP protocol 112 to 224.0.0.18 or ff02::12, or from the unicast peers.
pub fn vrrp_may_pass(case: &Case<'_>, found: &mut Vec<Finding>) {
    if case.instances().is_empty() {
        return;
    }
    let marks = marks(case);
    let mut looked = false;
    if let Some(ran) = case.machine.run(&["nft", "list", "ruleset"]).filter(|r| r.ok) {
        looked = true;
        for chain in nft_input_chains(&ran.stdout) {
            judge(&chain, &marks, "nftables", found);
        }
    }
    for program in ["iptables-legacy", "ip6tables-legacy"] {
        if let Some(ran) = case.machine.run(&[program, "-S"]).filter(|r| r.ok) {
            looked = true;
            if let Some(chain) = iptables_input(&ran.stdout) {
                judge(&chain, &marks, program, found);
            }
        }
    }
    if !looked {
        found.push(
            Finding::new(Weight::Note, "firewall", "the firewall could not be looked at")
                .cure("run as root, with nft or iptables installed"),
        );
    } else if !found.iter().any(|f| f.check == "firewall") {
        found.push(Finding::new(Weight::Good, "firewall", "no rule here drops VRRP (IP protocol 112)"));
    }
}

/// Words of which one must stand in an accepting rule.
fn marks(case: &Case<'_>) -> Vec<String> {
    let mut marks: Vec<String> = ["vrrp", "112", "224.0.0.18", "224.0.0.0", "ff02::12"].map(str::to_owned).into();
    for instance in case.instances() {
        if matches!(instance.auth, Auth::Ah(_)) {
            marks.extend(["ah".to_owned(), "51".to_owned()]);
        }
        match &instance.transport {
            Transport::Multicast { group } => marks.push(group.to_string()),
            Transport::Unicast { peers, .. } => marks.extend(peers.iter().map(|p| p.address.to_string())),
        }
    }
    marks
}

/// A chain that everything for this machine goes through.
struct Chain {
    name: String,
    drops_by_default: bool,
    rules: Vec<String>,
}

fn judge(chain: &Chain, marks: &[String], program: &str, found: &mut Vec<Finding>) {
    let about = |rule: &String| words(rule).any(|w| marks.iter().any(|m| m == w));
    let drops = |rule: &str| words(rule).any(|w| matches!(w, "drop" | "DROP" | "reject" | "REJECT"));
    let accepts = |rule: &str| words(rule).any(|w| matches!(w, "accept" | "ACCEPT" | "jump" | "goto" | "-j"));
    let named: Vec<&String> = chain.rules.iter().filter(|r| about(r)).collect();
    // The first rule that speaks of VRRP decides.
    match named.first() {
        Some(rule) if drops(rule) => found.push(
            Finding::new(
                Weight::Problem,
                "firewall",
                format!("{program} {}: VRRP is dropped: {}", chain.name, rule.trim()),
            )
            .why("the servers do not hear each other: both become master")
            .cure("take the rule out, or put an accepting one for the other servers before it"),
        ),
        Some(rule) if accepts(rule) => {}
        _ if chain.drops_by_default || chain.rules.last().is_some_and(|r| unconditional_drop(r)) => found.push(
            Finding::new(
                Weight::Problem,
                "firewall",
                format!("{program} {}: drops what it does not know, and no rule accepts VRRP", chain.name),
            )
            .why("the servers do not hear each other: both become master")
            .cure(cure(program)),
        ),
        _ => {}
    }
}

fn cure(program: &str) -> String {
    let rule = match program {
        "nftables" => {
            "nft insert rule inet filter input meta l4proto vrrp accept   # with the names of your table and chain"
        }
        "ip6tables-legacy" => "ip6tables-legacy -I INPUT -p vrrp -j ACCEPT",
        _ => "iptables-legacy -I INPUT -p vrrp -j ACCEPT",
    };
    format!("{rule}\nfirewalld: firewall-cmd --permanent --add-protocol=vrrp && firewall-cmd --reload")
}

fn words(rule: &str) -> impl Iterator<Item = &str> {
    rule.split(|c: char| c.is_whitespace() || matches!(c, ',' | '{' | '}' | '/' | ';')).filter(|w| !w.is_empty())
}

fn unconditional_drop(rule: &str) -> bool {
    let rest: Vec<&str> = words(rule).filter(|w| !matches!(*w, "-A" | "INPUT" | "-j" | "counter")).collect();
    matches!(rest.as_slice(), ["drop" | "DROP" | "reject" | "REJECT", ..])
}

/// Chains of `nft list ruleset` that hook into input.
fn nft_input_chains(text: &str) -> Vec<Chain> {
    let mut chains = Vec::new();
    let (mut table, mut open): (String, Option<(Chain, bool)>) = (String::new(), None);
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("table ") {
            table = rest.trim_end_matches('{').trim().to_owned();
        } else if let Some(rest) = line.strip_prefix("chain ") {
            let name = format!("{table} {}", rest.trim_end_matches('{').trim());
            open = Some((Chain { name, drops_by_default: false, rules: Vec::new() }, false));
        } else if line == "}" {
            if let Some((chain, true)) = open.take() {
                chains.push(chain);
            }
        } else if let Some((chain, is_input)) = &mut open {
            if line.starts_with("type ") {
                *is_input = line.contains("hook input");
                chain.drops_by_default = line.contains("policy drop");
            } else {
                chain.rules.push(line.to_owned());
            }
        }
    }
    chains
}

/// The INPUT chain of `iptables -S`.
fn iptables_input(text: &str) -> Option<Chain> {
    let rules: Vec<String> = text.lines().filter(|l| l.starts_with("-A INPUT ")).map(str::to_owned).collect();
    let drops_by_default = text.lines().any(|l| l == "-P INPUT DROP");
    (drops_by_default || !rules.is_empty()).then(|| Chain { name: "INPUT".into(), drops_by_default, rules })
}

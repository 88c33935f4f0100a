//! What `vipctl check` says will happen is what `vipctl simulate` plays: over generated pairs and threes, each failure of the
//! outlook is played once more by the way that `--fail` takes, with moments of its own, and with the laws looked at. Both must
//! name the same masters after the failure and after the return, and the outlook's time must fit the gap that was seen.
//!
//! Every run plays the first few; `VIPD_PAIRS=1000 cargo test --release --test outlook` plays as many as one likes.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::net::IpAddr;
use vipd::config::system::TableSystem;
use vipd::config::text::expand::TextEnv;
use vipd::config::text::source::MapLoader;
use vipd::config::{Env, load};
use vipd::sim::outlook::{Failure, Played};
use vipd::sim::{Report, outlook, rehearse, run};
use vipd::spec::Spec;
use vipd::time::{Interval, Time};
use vipd::vrrp::io::Role;

/// Played in every run.
const FEW: usize = 25;
/// Latency, wake-ups and the kernel's work.
const SMALL: Interval = Interval::from_millis(60);

fn spec(text: &str) -> Spec {
    let system = TableSystem::anywhere();
    let env = Env { text: TextEnv::default(), system: &system };
    load("/k.conf", &env, &MapLoader::default().with("/k.conf", text))
        .0
        .unwrap_or_else(|| panic!("not usable:\n{text}"))
}

/// xorshift: a sequence that its seed repeats.
struct Dice(u64);
impl Dice {
    fn of(number: usize) -> Dice {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1).wrapping_mul(0x00ff_51af_d7ed_558c));
        (0..8).for_each(|_| _ = dice.below(2));
        dice
    }
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    fn of_list<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

/// What few installations have: BFD, VMACs, other intervals, trackers of a group.
struct Rare {
    /// BFD sessions cost the model more than all else: few have one, which speaks seldom.
    bfd: bool,
    /// The server that waits at its start.
    late: Option<usize>,
    /// Each server says another interval.
    unequal: bool,
    /// Lines inside the group, and inside each instance.
    group: String,
    lines: Vec<String>,
    /// How each instance tracks the file, where not as usual.
    files: Vec<&'static str>,
}

impl Rare {
    fn of(number: usize, instances: usize, grouped: bool) -> Rare {
        let mut dice = Dice::of(number + 1_000_000);
        let late = dice.one_in(6).then(|| dice.below(2));
        let unequal = dice.one_in(5);
        let bfd = dice.one_in(3);
        let group = match dice.below(6) {
            0 if grouped => " track_script {\n  chk\n }\n",
            1 if grouped && bfd => " track_bfd {\n  gw\n }\n",
            2 if grouped => " track_interface {\n  eth8\n }\n",
            3 if grouped => " track_file {\n  file\n }\n",
            _ => "",
        };
        let mut line = || {
            let session = dice.of_list(&["", "", "", "gw", "gw weight -60", "gw weight 30", "gw weight 40 reverse"]);
            let session = if bfd { session } else { "" };
            let vmac = dice.of_list(&["", "", "", " use_vmac\n"]);
            let held = dice.of_list(&["", "", "", " dont_track_primary\n", " lower_prio_no_advert true\n"]);
            format!(" track_bfd {{\n  {session}\n }}\n{vmac}{held}")
        };
        let lines = (0..instances).map(|_| line()).collect();
        let files = (0..instances)
            .map(|_| match dice.below(8) {
                0 => "file weight -2",
                1 => "file weight 50",
                2 => "file weight 30 reverse",
                3 => "file weight 0",
                _ => "",
            })
            .collect();
        Rare { bfd, late, unequal, group: group.to_owned(), lines, files }
    }
}

/// What is odd about an installation: what is wrong in it, or never twice alike.
#[derive(Default)]
struct Odd {
    /// All servers have one priority.
    equal: bool,
    /// The second instance speaks IPv6.
    six: bool,
    /// The last server says another VRID of the first instance, another password, other peers, or has no sync group.
    vrid: bool,
    password: bool,
    deaf: bool,
    loose: bool,
    /// `state MASTER` beside nopreempt, and nopreempt beside 255.
    stubborn: bool,
    /// A line of the global block, and one outside it.
    global: &'static str,
    delays: &'static str,
}

impl Odd {
    fn of(number: usize) -> Odd {
        let mut dice = Dice::of(number + 2_000_000);
        let (global, delays) = match dice.below(5) {
            3 => ("", "interface_up_down_delays {\n eth1 1 1\n}\n"),
            4 => (" vrrp_startup_delay 3\n", ""),
            _ => ("", ""),
        };
        let odd = Odd {
            equal: dice.one_in(6),
            six: dice.one_in(6),
            stubborn: dice.one_in(6),
            global,
            delays,
            ..Odd::default()
        };
        match dice.below(16) {
            0 => Odd { vrid: true, ..odd },
            1 => Odd { password: true, ..odd },
            2 => Odd { deaf: true, ..odd },
            3 => Odd { loose: true, ..odd },
            _ => odd,
        }
    }
}

/// More servers, and what only some of them say of how they speak.
struct Wide {
    four: bool,
    /// The last server speaks the other version, or (version 2) authenticates in another way.
    version: bool,
    stranger: bool,
    /// `AH`, `PASS`, or nothing; with version 3 a signature in place of both.
    auth: &'static str,
    /// Lines inside each instance.
    lines: &'static str,
    /// With unicast the last server has no peers.
    lonely: bool,
}

impl Wide {
    fn of(number: usize) -> Wide {
        let mut dice = Dice::of(number + 3_000_000);
        let four = dice.one_in(8);
        let auth = ["", "", "AH", "PASS"][dice.below(4)];
        let lines = [
            "",
            "",
            " garp_master_delay 1\n garp_master_repeat 2\n",
            " garp_lower_prio_delay 1\n garp_master_refresh 3\n",
            " unicast_fault_no_peer\n",
            " higher_prio_send_advert true\n",
        ][dice.below(6)];
        let wide = Wide { four, version: false, stranger: false, auth, lines, lonely: false };
        match dice.below(16) {
            0 => Wide { version: true, ..wide },
            1 => Wide { stranger: true, ..wide },
            2 => Wide { lonely: true, ..wide },
            _ => wide,
        }
    }

    /// How an instance authenticates.
    fn authentication(&self, version: usize, last: bool) -> String {
        let kind = match self.auth {
            "" => return String::new(),
            "AH" if self.stranger && last => "PASS",
            _ if self.stranger && last => "AH",
            kind => kind,
        };
        match version {
            2 => format!(" authentication {{\n  auth_type {kind}\n  auth_pass word\n }}\n"),
            _ => {
                let end = if self.stranger && last { "0" } else { "f" };
                format!(" auth_hmac {{\n  key 1 0123456789abcdef0123456789abcde{end}\n  active_key 1\n }}\n")
            }
        }
    }
}

/// Servers of one installation: two to four, one or two instances, with everything that decides who takes over.
fn servers(number: usize) -> Vec<(String, String)> {
    let mut dice = Dice::of(number);
    let wide = Wide::of(number);
    let count = if dice.one_in(5) { 3 } else { 2 };
    let count = if wide.four { 4 } else { count };
    let instances = 1 + dice.below(2);
    let grouped = instances == 2 && dice.one_in(2);
    let weighted = dice.one_in(2);
    let version = 2 + dice.below(2);
    let advert = if version == 2 { "1" } else { dice.of_list(&["1", "0.1", "0.5"]) };
    let unicast = dice.one_in(4);
    let ties: Vec<[&str; 4]> = (0..instances)
        .map(|_| {
            [
                dice.of_list(&["", "", "chk", "chk weight -60", "chk weight -10", "chk weight 30"]),
                dice.of_list(&["", "", "", "other weight -25"]),
                dice.of_list(&["", "", "", "eth9", "eth9 weight -60"]),
                dice.of_list(&["", "", "", "file weight 1", "file"]),
            ]
        })
        .collect();
    let hold = [dice.of_list(&["", "", "", "nopreempt", "preempt_delay 7"]), ""];
    let hold = [hold[0], if dice.one_in(2) { hold[0] } else { "" }];
    let steps = 10 + dice.below(6) * 10;
    let more: Vec<[&str; 3]> = (0..instances)
        .map(|_| {
            [
                dice.of_list(&["", "", "prog", "prog weight -40", "prog weight 20 reverse"]),
                dice.of_list(&["", "", "chk weight -60 reverse", "chk weight 40 reverse"]),
                dice.of_list(&["", "", "", "down_timer_adverts 2", "accept", "no_accept", "down_timer_adverts 5"]),
            ]
        })
        .collect();
    // Who is best for the second instance; one that owns its addresses; what only the first server says.
    let (crossed, owner, lonely) = (dice.one_in(3), dice.one_in(6), dice.one_in(4));
    let starts = dice.of_list(&["", "", "first", "all"]);
    let (rare, odd) = (Rare::of(number, instances, grouped), Odd::of(number));
    // IPv6 needs version 3, and passwords version 2.
    let six = odd.six && version == 3 && !unicast;
    let mut all = Vec::new();
    for at in 0..count {
        let delay = if rare.late == Some(at) { " vrrp_startup_delay 6\n" } else { odd.global };
        let last = at == count - 1;
        let mut text = format!("global_defs {{\n script_user root\n{delay}}}\n{}", odd.delays);
        if rare.bfd {
            text += "bfd_instance gw {\n neighbor_ip 10.0.9.254\n min_tx 300\n min_rx 300\n multiplier 3\n}\n";
        }
        text += "vrrp_script chk {\n script /usr/bin/true\n interval 1\n timeout 2\n fall 2\n rise 1\n}\n";
        text += "vrrp_script other {\n script /usr/bin/true\n interval 2\n fall 1\n rise 1\n}\n";
        text += "vrrp_track_file file {\n file /etc/passwd\n}\nvrrp_track_process prog {\n process haproxy\n}\n";
        if grouped && !(odd.loose && last) {
            let tracking = if weighted { "sync_group_tracking_weight\n" } else { "" };
            text += &format!("vrrp_sync_group G {{\n group {{\n V1\n V2\n }}\n {tracking}{}}}\n", rare.group);
        }
        for n in 1..=instances {
            let place = if crossed && n == 2 { count - 1 - at } else { at };
            let priority = match (owner && place == 0, odd.equal) {
                (true, _) => 255,
                (false, true) => 100,
                (false, false) => 180 - place * steps,
            };
            let hold = if (priority == 255 && !odd.stubborn) || (lonely && at > 0) { "" } else { hold[n - 1] };
            let vrid = if odd.vrid && last && n == 1 { 9 } else { n };
            text +=
                &format!("vrrp_instance V{n} {{\n interface eth{n}\n virtual_router_id {vrid}\n priority {priority}\n");
            // IPv6 has no version 2.
            let version = if wide.version && last && !(six && n == 2) { 5 - version } else { version };
            if version == 3 || !odd.password {
                text += &wide.authentication(version, last);
            }
            text += wide.lines;
            if version == 2 && odd.password {
                let word = if last { "other" } else { "word" };
                text += &format!(" authentication {{\n  auth_type PASS\n  auth_pass {word}\n }}\n");
            }
            let own = if version == 3 && rare.unequal { ["1", "0.5", "0.2", "0.7"][at] } else { advert };
            // Version 2 counts whole seconds.
            let own = if version == 2 { "1" } else { own };
            text += &format!(" version {version}\n advert_int {own}\n {hold}\n");
            text += &rare.lines[n - 1];
            let [program, turned, word] = if lonely && at > 0 { [""; 3] } else { more[n - 1] };
            let word = if word.contains("accept") && version == 2 { "" } else { word };
            text += &format!(" {word}\n");
            if (hold.is_empty() || odd.stubborn) && (starts == "all" || (starts == "first" && at == 0)) {
                text += " state MASTER\n";
            }
            if unicast {
                let peers: Vec<String> = (0..count)
                    .filter(|o| *o != at && !(odd.deaf && last && *o == 0) && !(wide.lonely && last))
                    .map(|o| format!("  10.0.{n}.{}\n", o + 1))
                    .collect();
                text += &format!(" unicast_src_ip 10.0.{n}.{}\n unicast_peer {{\n{} }}\n", at + 1, peers.concat());
            }
            let [script, other, interface, file] = ties[n - 1];
            let file = if rare.files[n - 1].is_empty() { file } else { rare.files[n - 1] };
            text += &format!(
                " track_script {{\n  {}\n  {other}\n }}\n track_interface {{\n  {interface}\n }}\n",
                if turned.is_empty() { script } else { turned }
            );
            text += &format!(" track_process {{\n  {program}\n }}\n");
            let addresses = match six && n == 2 {
                true => "  fe80::64/64\n  2001:db8::64/64\n".to_owned(),
                false => format!("  10.0.{n}.100/24\n"),
            };
            text += &format!(" track_file {{\n  {file}\n }}\n virtual_ipaddress {{\n{addresses} }}\n}}\n");
        }
        all.push((["a", "b", "c", "d"][at].to_owned(), text));
    }
    all
}

/// Masters of an instance at one moment of a report.
fn masters(report: &Report, moment: usize, instance: &str) -> BTreeSet<String> {
    let rows = &report.moments[moment].standings;
    let of = rows.iter().filter(|row| *row.instance == *instance && row.state == Some(Role::Master));
    of.map(|row| row.server.to_string()).collect()
}

/// Since when a server has had an address without a break, of a moment between two others.
fn came(report: &Report, server: &str, address: IpAddr, from: Time, to: Time) -> Option<Time> {
    let mut since = None;
    let mark = format!("{address} is on ");
    let within = report.timeline.iter().filter(|entry| entry.at >= from && entry.at < to);
    for (at, holders) in within.filter_map(|entry| Some((entry.at, entry.text.strip_prefix(&mark)?))) {
        let has = holders.split(" and ").any(|holder| holder == server);
        since = if has { since.or(Some(at)) } else { None };
    }
    since
}

/// What the two ways disagree about.
fn disagreement(named: &[(String, Spec)], played: &Played) -> Option<String> {
    let scenario = match played.failure.option(&played.server) {
        Some(option) => rehearse(&option, named).unwrap(),
        // What `--fail` has no word for: the outlook's own scenario, by way of its text.
        None => played.scenario.to_string().parse().unwrap(),
    };
    let report = run(named.to_vec(), &scenario, None).unwrap();
    if let Some(broken) = report.violations.first() {
        return Some(format!("a law is broken: {broken}"));
    }
    let (failed, _) = scenario.acts[0];
    for instance in named[0].1.instances.iter() {
        let before = masters(&report, 0, &instance.name);
        let after = masters(&report, 1, &instance.name);
        let told = played.moves.iter().find(|m| m.instance == instance.name);
        let set = |names: &Vec<String>| names.iter().cloned().collect::<BTreeSet<_>>();
        let said = told.map_or(vec![before.clone()], |m| m.or.iter().chain([&m.after]).map(set).collect());
        if !said.contains(&after) {
            return Some(format!("{}: simulate has {after:?}, the outlook {said:?}", instance.name));
        }
        let drawn = said.len() > 1;
        if let Some(told) = told.filter(|told| told.before.iter().cloned().collect::<BTreeSet<_>>() != before) {
            return Some(format!("{}: before it simulate has {before:?}, not {:?}", instance.name, told.before));
        }
        // Of a death the address tells: since when its new holder has it, less what is left of the time that the outlook counts.
        let (Some(took), Failure::Crash) = (told.and_then(|m| m.took), &played.failure) else { continue };
        let address = instance.claim.addresses[0].address;
        let returns = scenario.acts.last().map_or(failed, |(at, _)| *at);
        let newcomers: Vec<&String> = after.difference(&before).collect();
        let seen = newcomers.iter().filter_map(|server| came(&report, server, address, failed, returns)).max();
        // A server outside the group may have it until the group takes it.
        let grouped = named.iter().filter(|(_, spec)| !spec.groups.is_empty()).count();
        let loose = grouped > 0 && grouped < named.len();
        let fits = seen.is_some_and(|at| {
            let waited = at.since(failed);
            // Of two groups that become master at one moment both yield, in one play and not in another.
            let most = drawn && grouped > 0 || waited <= took + SMALL;
            most && (loose || drawn && grouped > 0 || waited + instance.interval + SMALL >= took)
        });
        if !fits {
            let waited = seen.map(|at| at.since(failed));
            return Some(format!(
                "{}: {newcomers:?} had {address} after {waited:?}, the outlook says {took}",
                instance.name
            ));
        }
    }
    None
}

#[test]
fn the_outlook_is_what_simulate_plays() {
    let count = std::env::var("VIPD_PAIRS").ok().map_or(FEW, |n| n.parse().unwrap());
    let (mut plays, mut moves, mut wrong) = (0, 0, Vec::new());
    for number in 0..count {
        let texts = servers(number);
        let named: Vec<(String, Spec)> = texts.iter().map(|(name, text)| (name.clone(), spec(text))).collect();
        let files: Vec<String> = texts.iter().map(|(name, _)| format!("{name}.conf")).collect();
        let told = outlook(&named, &files);
        // Three fast servers with everything cost more than the budget: what is left out is said.
        let said =
            told.lines.iter().any(|line| line.contains(&format!("{} more failures were not played", told.left_out)));
        assert!(told.left_out == 0 || said, "installation {number}: {:?}", told.lines);
        plays += told.plays.len();
        moves += told.plays.iter().filter(|played| !played.moves.is_empty()).count();
        for played in &told.plays {
            if let Some(why) = disagreement(&named, played) {
                let (server, failure) = (&played.server, &played.failure);
                println!("{number}: {failure:?} of {server}: {why}");
                wrong.push(format!("{number}: {failure:?} of {server}: {why}\n{}", told.lines.join("\n")));
            }
        }
    }
    println!("{count} installations, {plays} failures, {moves} of them move something");
    assert!(moves > count && moves < plays, "{moves} of {plays}");
    assert!(wrong.is_empty(), "{} of {plays} disagree:\n{}", wrong.len(), wrong[..wrong.len().min(3)].join("\n---\n"));
}

/// The same text twice: nothing in it depends on a clock or on chance.
#[test]
fn the_outlook_is_always_the_same() {
    let texts = servers(7);
    let named: Vec<(String, Spec)> = texts.iter().map(|(name, text)| (name.clone(), spec(text))).collect();
    assert_eq!(outlook(&named, &[]).lines, outlook(&named, &[]).lines);
}

/// An owner is back at once, and no weight is recommended where none counts.
#[test]
fn an_owner_is_told_of_as_one() {
    let text = |priority: u8| {
        format!(
            "vrrp_track_process prog {{\n process haproxy\n weight 10\n}}\nvrrp_instance V {{\n interface eth1\n \
             virtual_router_id 1\n priority {priority}\n track_process {{\n  prog\n }}\n virtual_ipaddress {{\n  \
             10.0.1.100/24\n }}\n}}\n"
        )
    };
    let named = [("a".to_owned(), spec(&text(255))), ("b".to_owned(), spec(&text(100)))];
    let told = outlook(&named, &["a.conf".into(), "b.conf".into()]);
    let lines = told.lines.join("\n");
    assert!(lines.contains("when a comes back, it takes 10.0.1.100 back at once"), "{lines}");
    let helps: Vec<&str> = told.findings.iter().filter_map(|finding| finding.help.as_deref()).collect();
    assert!(helps.iter().any(|help| help.contains("an owner's counts no weight")), "{helps:?}");
    assert!(!helps.iter().any(|help| help.contains("a weight of more than")), "{helps:?}");
}

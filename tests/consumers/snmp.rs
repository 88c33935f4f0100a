//! SNMP as managers use it: Debian's snmpd and tools, the keepalived that is installed and vipd with the same file, walk
//! against walk and notification against notification. What differs stands in [`DIFFERS`], with its reason.

use super::ground::{Daemon, Ground, ip, ready};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const MIBS: [&str; 3] = [".1.3.6.1.4.1.9586.100.5", ".1.3.6.1.2.1.68", ".1.3.6.1.2.1.207"];
const INSTANCES: &str = ".1.3.6.1.4.1.9586.100.5.2.3.1";
const AGENT: &str = "127.0.0.1:1161";

/// Objects that are not as Debian's keepalived 2.2.7 gives them: how they begin, how they end, why.
const DIFFERS: [(&str, &str, &str); 21] = [
    (".1.3.6.1.4.1.9586.100.5.1.1.0", "", "the version"),
    (".1.3.6.1.4.1.9586.100.5.1.12.0", "", "came with 2.3"),
    (".1.3.6.1.4.1.9586.100.5.2.3.1.36.", "", "came with 2.3"),
    (".1.3.6.1.4.1.9586.100.5.2.9.1.1", "", "columns 10 to 12 came with 2.3"),
    (".1.3.6.1.4.1.9586.100.5.2.6.1.7.", "", "the VMAC has another index in each run"),
    (".1.3.6.1.4.1.9586.100.5.2.6.1.11.", "", "keepalived: right for the first instance only"),
    (".1.3.6.1.4.1.9586.100.5.2.7.1.14.0.", "", "static routes that the kernel refused are not known as such"),
    (".1.3.6.1.4.1.9586.100.5.2.7.1.20.", "", "keepalived: the word was given, not its value"),
    (".1.3.6.1.4.1.9586.100.5.2.8.1.3", "", "columns 33 to 38 stand in the MIB; keepalived does not register them"),
    (".1.3.6.1.4.1.9586.100.5.2.12.1.3.", "", "keepalived: the file's weight, not that of this use"),
    (".1.3.6.1.4.1.9586.100.5.2.16.1.", "", "as above, for groups"),
    (".1.3.6.1.4.1.9586.100.5.2.17.1.3.", "", "as above, for sessions"),
    (".1.3.6.1.4.1.9586.100.5.2.19.1.3.", "", "as above, for sessions and groups"),
    (".1.3.6.1.4.1.9586.100.5.2.20.1.", "", "as above, for processes"),
    (".1.3.6.1.4.1.9586.100.5.2.22.1.3.", "", "as above, for processes and groups"),
    (".1.3.6.1.4.1.9586.100.5.2.21.1.5.", "", "keepalived: partial and initial are swapped against the MIB"),
    (".1.3.6.1.2.1.68.1.3.1.7.", "", "keepalived: not its own address while it is master"),
    (".1.3.6.1.2.1.68.1.3.1.2.", "", "keepalived: the interface's MAC, not the virtual router's"),
    (".1.3.6.1.2.1.68.", ".54", "2.2.7 has no row for an instance with a VMAC and unicast"),
    (".1.3.6.1.2.1.68.1.3.1.13.", "", "keepalived: when it was configured, not when it left INIT"),
    (".1.3.6.1.2.1.207.1.1.1.1.", "", "columns 5 and 12: as in VRRP-MIB"),
];

pub(super) struct Tools {
    namespace: String,
    directory: PathBuf,
    running: Vec<Child>,
}

impl Tools {
    fn run(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, program]).current_dir(&self.directory).stdin(Stdio::null());
        command
    }

    pub(super) fn start(ground: &Ground) -> Tools {
        let mut tools =
            Tools { namespace: ground.name.clone(), directory: ground.directory.clone(), running: Vec::new() };
        let agentx = ground.directory.join("agentx");
        let snmpd = format!(
            "master agentx\nagentxsocket {}\nagentxtimeout 10\nagentaddress udp:{AGENT}\nrwcommunity public\ntrap2sink 127.0.0.1:1162 public\n",
            agentx.display()
        );
        ground.write("snmpd.conf", &snmpd);
        ground.write("trapd.conf", "disableAuthorization yes\n");
        let trapd = ["-C", "-c", "trapd.conf", "-m", "", "-On", "-f", "-Lf", "traps", "udp:127.0.0.1:1162"];
        tools.spawn("snmptrapd", &trapd);
        // What is told before the sink listens is lost, and nobody says it again.
        tools.until("the sink", |directory| {
            std::fs::read_to_string(directory.join("traps")).is_ok_and(|text| text.contains("NET-SNMP version"))
        });
        tools.snmpd();
        tools.until("the master agent", |directory| directory.join("agentx").exists());
        // The socket has its name before anybody can connect to it, and keepalived's next attempt comes 15 s later: what it
        // tells before that is lost. snmpd answers once it listens everywhere.
        tools.until("an answer", |_| tools.ask("snmpget", &[".1.3.6.1.2.1.1.3.0"]).contains("Timeticks"));
        tools
    }

    fn until(&self, what: &str, is: impl Fn(&Path) -> bool) {
        let begun = std::time::Instant::now();
        while !is(&self.directory) {
            assert!(begun.elapsed() < super::ground::PATIENCE, "{what} is not there");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    fn spawn(&mut self, program: &str, arguments: &[&str]) {
        let child = self.run(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.running.push(child);
    }

    fn snmpd(&mut self) {
        self.spawn("snmpd", &["-C", "-c", "snmpd.conf", "-m", "", "-f", "-Lf", "snmpd.log"]);
    }

    /// Ends the program that was started last.
    fn end_the_last(&mut self) {
        if let Some(mut child) = self.running.pop() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// From now on nobody listens where notifications go.
    pub(super) fn end_the_sink(&mut self) {
        let mut sink = self.running.remove(0);
        sink.kill().unwrap();
        sink.wait().unwrap();
    }

    pub(super) fn ask(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = self.run(program);
        command.args(["-m", "", "-On", "-v2c", "-c", "public", "-t", "20", "-r", "1", AGENT]).args(arguments);
        let out = command.output().unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
    }

    pub(super) fn walk(&self, program: &str) -> BTreeMap<String, String> {
        let text: String = MIBS.iter().map(|mib| self.ask(program, &[mib])).collect();
        let line = |line: &str| line.split_once(" = ").map(|(oid, value)| (oid.to_owned(), value.trim().to_owned()));
        // A value of several lines goes on without a name.
        text.lines().filter_map(line).filter(|(_, value)| !value.starts_with("No ")).collect()
    }

    pub(super) fn states(&self) -> Vec<String> {
        let text = self.ask("snmpwalk", &[&format!("{INSTANCES}.4")]);
        text.lines().filter_map(|line| line.split_once("INTEGER: ").map(|(_, state)| state.to_owned())).collect()
    }

    /// Waits until the sink has written all that the agent said. Its rows are gone once the master agent has read to the end
    /// of that, and the sink hears in order.
    fn hear_the_last(&self) {
        const MARK: &str = ".1.3.6.1.4.1.8072.9999.9999";
        self.until("the end of the agent's rows", |_| self.states().is_empty());
        let mark = ["-v2c", "-c", "public", "-m", "", "127.0.0.1:1162", "", MARK];
        assert!(self.run("snmptrap").args(mark).status().unwrap().success());
        self.until("the mark behind the last notification", |directory| {
            std::fs::read_to_string(directory.join("traps")).is_ok_and(|text| text.contains(MARK))
        });
    }

    /// Notifications since the last call: identifier and values, without the indices of columns and the master's own.
    fn traps(&self) -> BTreeMap<String, u32> {
        let path = self.directory.join("traps");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let mut found = BTreeMap::new();
        for line in text.lines().filter(|line| line.starts_with(".1.3.6.1.2.1.1.3.0 ")) {
            let mut values = line.split('\t').skip(1).map(|bind| bind.split_once(" = ").unwrap().1.trim());
            let oid = values.next().unwrap_or_default();
            // Tables of the interface's address and the reason are compared by the walk.
            if oid.contains(".9586.100.5.") {
                *found.entry(format!("{oid} {}", values.collect::<Vec<_>>().join(" "))).or_default() += 1;
            } else if MIBS.iter().any(|mib| oid.contains(mib)) {
                *found.entry(oid.to_owned()).or_default() += 1;
            }
        }
        found
    }
}

impl Drop for Tools {
    fn drop(&mut self) {
        while !self.running.is_empty() {
            self.end_the_last();
        }
    }
}

fn ground() -> Ground {
    let ground = Ground::new();
    // The indices and hardware addresses of every run are the same.
    ip(&format!("-n {} link del eth0", ground.name));
    let mac = "address 02:00:00:00:00:0";
    ip(&format!("-n {} link add eth0 index 3 {mac}3 type veth peer name far index 5 {mac}5", ground.name));
    for link in ["eth0", "far"] {
        ip(&format!("-n {} link set {link} up", ground.name));
    }
    for (address, link) in [("10.0.0.1/24", "eth0"), ("fd00::1/64", "eth0"), ("10.1.1.1/24", "far")] {
        let nodad = if address.contains(':') { "nodad" } else { "" };
        ip(&format!("-n {} addr add {address} dev {link} {nodad}", ground.name));
    }
    ip(&format!("-n {} link set lo up", ground.name));
    ground.wait_for_carrier();
    ground.wait_for_link_local(&["eth0", "far"]);
    ground.write("level", "12\n");
    ground
}

fn configuration(ground: &Ground) -> String {
    include_str!("snmp/k.conf").replace("TMP", &ground.directory.display().to_string())
}

pub(super) fn tools_are_there() -> bool {
    let there = ["snmpd", "snmptrapd", "snmpwalk", "snmpbulkwalk"]
        .iter()
        .all(|name| ["/usr/sbin", "/usr/bin"].iter().any(|directory| Path::new(directory).join(name).exists()));
    assert!(there || std::env::var("VIPD_REQUIRE_NETNS").as_deref() != Ok("1"), "needs snmpd, snmptrapd and snmp");
    if !there {
        eprintln!("skipped: needs snmpd, snmptrapd and snmp");
    }
    there
}

/// vrrpTrapAuthFailure of RFC 2787, vrrpv3ProtoError of RFC 6527, and their two words about a new master.
const AUTH_FAILURE: &str = ".1.3.6.1.2.1.68.0.2";
const PROTO_ERROR: &str = ".1.3.6.1.2.1.207.0.2";
const NEW_MASTERS: [&str; 2] = [".1.3.6.1.2.1.68.0.1", ".1.3.6.1.2.1.207.0.1"];

/// One without a password, one with another password; one with a wrong checksum, one that has come through a router.
fn refused_adverts(ground: &Ground) {
    use super::crafted::{Crafted, put};
    let of = |version, vrid, address| Crafted { interval: 2, ..Crafted::new(version, vrid, [10, 0, 0, 9], address) };
    let (first, second) = (of(2, 51, [10, 0, 0, 10]), of(3, 52, [10, 0, 0, 20]));
    let bare = first.frame();
    let wrong = Crafted { auth: (1, *b"onyx\0\0\0\0"), ..first }.frame();
    let spoilt = Crafted { spoilt: true, ..second.clone() }.frame();
    let routed = Crafted { ttl: 254, ..second }.frame();
    ground.inside(|| [bare, wrong, spoilt, routed].iter().for_each(|frame| put("far", frame)));
}

/// One daemon from its start to its end: what is there once all four are master and what was told.
fn life(program: &Path) -> (BTreeMap<String, String>, BTreeMap<String, u32>) {
    let ground = ground();
    let tools = Tools::start(&ground);
    ground.configure(&configuration(&ground));
    let daemon = ground.start_program(program, "-P -D");
    let settled = |walk: &BTreeMap<String, String>| {
        let scripts = [("1", "INTEGER: 3"), ("2", "INTEGER: 2")];
        let script = |(row, state): (&str, &str)| {
            walk.get(&format!(".1.3.6.1.4.1.9586.100.5.2.9.1.6.{row}")).is_some_and(|found| found == state)
        };
        (1..=4).all(|row| walk.get(&format!("{INSTANCES}.4.{row}")).is_some_and(|state| state == "INTEGER: 2"))
            && scripts.into_iter().all(script)
            && walk.get(&format!("{INSTANCES}.9.4")).is_some_and(|set| set == "INTEGER: 1")
    };
    daemon.wait_for("four masters over SNMP", || settled(&tools.walk("snmpbulkwalk")));
    let mut walk = tools.walk("snmpwalk");
    for value in walk.values_mut() {
        *value = value.replace(&ground.directory.display().to_string(), "");
    }
    refused_adverts(&ground);
    let told =
        |oid: &str| tools.traps().iter().filter(|(trap, _)| trap.ends_with(oid)).map(|(_, count)| *count).sum::<u32>();
    daemon.wait_for("notifications of refused adverts", || told(AUTH_FAILURE) >= 2 && told(PROTO_ERROR) >= 2);
    assert_eq!(daemon.stop().code(), Some(0));
    tools.hear_the_last();
    (walk, tools.traps())
}

#[test]
fn a_manager_sees_what_keepalived_shows() {
    if !ready() || !tools_are_there() {
        return;
    }
    let original = Path::new("/usr/sbin/keepalived");
    if !original.exists() {
        assert!(std::env::var("VIPD_REQUIRE_NETNS").as_deref() != Ok("1"), "needs keepalived");
        eprintln!("skipped: needs keepalived");
        return;
    }
    let (theirs, their_traps) = life(original);
    let (ours, our_traps) = life(Path::new(env!("CARGO_BIN_EXE_vipd")));
    assert!(theirs.len() > 600, "only {} objects of keepalived", theirs.len());
    let mut needed = BTreeSet::new();
    let mut wrong = Vec::new();
    let names: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    for oid in names {
        let (mine, other) = (ours.get(oid), theirs.get(oid));
        if mine == other {
            continue;
        }
        match DIFFERS.iter().position(|(front, end, _)| oid.starts_with(front) && oid.ends_with(end)) {
            Some(position) => drop(needed.insert(position)),
            None => wrong.push(format!("{oid}: keepalived {other:?}, vipd {mine:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The VMAC's index, and whether the kernel refused a static route, may happen to agree.
    let by_chance = [4, 6];
    let idle: Vec<_> = (0..DIFFERS.len()).filter(|n| !needed.contains(n) && !by_chance.contains(n)).collect();
    assert!(idle.is_empty(), "nothing needs {:?}", idle.iter().map(|n| DIFFERS[*n]).collect::<Vec<_>>());
    assert_eq!(our_traps, their_traps);
    for oid in NEW_MASTERS.iter().chain(&[AUTH_FAILURE, PROTO_ERROR]) {
        assert!(our_traps.keys().any(|trap| trap.ends_with(oid)), "{oid} is not among {our_traps:#?}");
    }
}

/// What is knowingly shown otherwise and needs a configuration of its own: no mail relay, adverts that come from another address than
/// the interface's first, programs that cannot be run, a file that only a check of a server reads.
#[test]
fn a_manager_sees_otherwise_what_keepalived_shows_wrongly() {
    let original = Path::new("/usr/sbin/keepalived");
    if !ready() || !tools_are_there() || !original.exists() {
        return;
    }
    let walk = |program: &Path| {
        let ground = ground();
        ip(&format!("-n {} addr add 10.0.0.2/24 dev eth0", ground.name));
        let tools = Tools::start(&ground);
        ground.configure(&include_str!("snmp/otherwise.conf").replace("TMP", &ground.directory.display().to_string()));
        let daemon = ground.start_program(program, "-P -D");
        daemon.wait_for("the master over SNMP", || tools.states() == ["2"]);
        let mut walk = tools.walk("snmpwalk");
        assert_eq!(daemon.stop().code(), Some(0));
        let here = ground.directory.display().to_string();
        walk.values_mut().for_each(|value| *value = value.replace(&here, ""));
        walk
    };
    let (theirs, ours) = (walk(original), walk(Path::new(env!("CARGO_BIN_EXE_vipd"))));
    let names: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let is_known = |oid: &str| DIFFERS.iter().any(|(front, end, _)| oid.starts_with(front) && oid.ends_with(end));
    let other = names.into_iter().filter(|oid| !is_known(oid) && ours.get(*oid) != theirs.get(*oid));
    let value = |walk: &BTreeMap<String, String>, oid: &String| walk.get(oid).cloned().unwrap_or_default();
    let found: Vec<_> = other.map(|oid| (oid.as_str(), value(&theirs, oid), value(&ours, oid))).collect();
    let own = |column: &str| format!(".1.3.6.1.4.1.9586.100.5.{column}");
    let (none, yes, no) = ("", "INTEGER: 1", "INTEGER: 2");
    let expected = [
        (".1.3.6.1.2.1.68.1.3.1.8.3.51".to_owned(), "IpAddress: 10.0.0.1", "IpAddress: 10.0.0.2"),
        (own("1.3.1.0"), "INTEGER: 2", "INTEGER: 0"),
        (own("2.1.1.5.1"), yes, no),
        (own("2.13.1.2.1"), none, "STRING: \"level\""),
        (own("2.13.1.3.1"), none, "STRING: \"/level\""),
        (own("2.13.1.4.1"), none, "INTEGER: 12"),
        (own("2.13.1.5.1"), none, "INTEGER: 1"),
        (own("2.13.1.6.1"), none, "INTEGER: 2"),
        (own("2.3.1.21.1"), yes, no),
    ];
    let expected: Vec<_> =
        expected.iter().map(|(oid, theirs, ours)| (oid.as_str(), (*theirs).to_owned(), (*ours).to_owned())).collect();
    assert_eq!(found, expected);
}

/// Whoever was to be told is gone: snmpd sends into nothing, and vipd neither waits nor stops answering.
#[test]
fn a_trap_sink_that_is_gone_is_missed_by_nobody() {
    if !ready() || !tools_are_there() {
        return;
    }
    let ground = ground();
    let mut tools = Tools::start(&ground);
    ground.configure(&configuration(&ground));
    let daemon = ground.start("-P -D");
    four_masters(&tools, &daemon);
    tools.end_the_sink();
    let files = || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    let before = files();
    let became = || {
        let status = daemon.ask("{\"request\":\"status\"}");
        status["status"]["instances"][2]["counters"]["become_master"].as_u64().unwrap()
    };
    for _ in 0..2 {
        let was = became();
        daemon.ask("{\"request\":\"failover\",\"instance\":\"V3\"}");
        daemon.wait_for("V3 to be master again", || became() > was);
        four_masters(&tools, &daemon);
    }
    assert!(files() <= before, "descriptors: {before}, then {}", files());
    assert!(!daemon.log_text().contains("SNMP notifications were dropped"), "{}", daemon.log_text());
    assert_eq!(daemon.stop().code(), Some(0));
}

fn four_masters(tools: &Tools, daemon: &Daemon) {
    daemon.wait_for("four masters over SNMP", || tools.states() == ["2", "2", "2", "2"]);
}

#[test]
fn a_manager_sets_priority_and_preemption() {
    if !ready() || !tools_are_there() {
        return;
    }
    let ground = ground();
    let tools = Tools::start(&ground);
    ground.configure(&configuration(&ground));
    let daemon = ground.start("-P -D");
    four_masters(&tools, &daemon);
    let set =
        |column: &str, kind: &str, value: &str| tools.ask("snmpset", &[&format!("{INSTANCES}.{column}"), kind, value]);
    assert!(set("7.1", "i", "100").contains("INTEGER: 100"));
    daemon.wait_for_log("(V1) base priority changed from 110 to 100 via SNMP.");
    daemon.wait_for("an effective priority ten lower", || {
        tools.ask("snmpget", &[&format!("{INSTANCES}.8.1")]).contains("INTEGER: 10\n")
    });
    assert!(set("13.1", "i", "2").contains("INTEGER: 2"));
    daemon.wait_for_log("(V1) preemption disabled with SNMP");
    // Several objects of one request come together, of one instance and of two; with one that is wrong none does.
    daemon.wait_for("both at once", || {
        let (priority, preempt, other) =
            (format!("{INSTANCES}.7.1"), format!("{INSTANCES}.13.1"), format!("{INSTANCES}.7.2"));
        let said = tools.ask("snmpset", &[&priority, "i", "101", &preempt, "i", "1", &other, "i", "99"]);
        // The change before may still be on its way, which is a reason to ask again.
        assert!(said.contains("INTEGER: 101") || said.contains("commitFailed"), "{said}");
        said.contains("INTEGER: 101") && said.contains("INTEGER: 99")
    });
    daemon.wait_for_log("(V1) preemption enabled with SNMP");
    let half = tools.ask("snmpset", &[&format!("{INSTANCES}.7.1"), "i", "102", &format!("{INSTANCES}.7.2"), "i", "0"]);
    assert!(half.contains("wrongValue"), "{half}");
    assert!(tools.ask("snmpget", &[&format!("{INSTANCES}.7.1")]).contains("INTEGER: 101"));
    // Nobody has left his state for it.
    assert_eq!(tools.states(), ["2", "2", "2", "2"]);
    let refused = [
        ("7.1", "i", "0", "wrongValue"),
        ("7.1", "i", "256", "wrongValue"),
        ("7.1", "i", "300", "wrongValue"),
        ("7.1", "i", "-1", "wrongValue"),
        ("7.1", "u", "100", "wrongType"),
        ("7.1", "s", "abc", "wrongType"),
        ("7.9", "i", "100", "notWritable"),
        ("13.1", "i", "3", "wrongValue"),
        ("27.2", "i", "2", "noAccess"),
        ("28.1", "i", "1", "notWritable"),
        ("2.1", "s", "foo", "notWritable"),
    ];
    for (column, kind, value, error) in refused {
        let answer = set(column, kind, value);
        assert!(answer.contains(error), "{column} {kind} {value}: {answer}");
    }
    // A reload takes the file's word.
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_log("Reload complete");
    daemon.wait_for("the file's priority", || {
        tools.ask("snmpget", &[&format!("{INSTANCES}.7.1")]).contains("INTEGER: 110")
    });
}

#[test]
fn snmpd_may_come_and_go_and_a_reload_switches_it_off() {
    if !ready() || !tools_are_there() {
        return;
    }
    let ground = ground();
    let mut tools = Tools::start(&ground);
    let with = configuration(&ground);
    ground.configure(&with);
    let daemon = ground.start("-P -D");
    four_masters(&tools, &daemon);
    tools.end_the_last();
    daemon.wait_for_log("No AgentX master at");
    tools.snmpd();
    four_masters(&tools, &daemon);
    let without: String =
        with.lines().filter(|line| !line.contains("enable_snmp")).map(|line| line.to_owned() + "\n").collect();
    ground.configure(&without);
    daemon.signal(libc::SIGHUP);
    daemon.wait_for("no answer any more", || tools.states().is_empty());
    ground.configure(&with);
    daemon.signal(libc::SIGHUP);
    four_masters(&tools, &daemon);
    // A master agent that is frozen holds up nothing: adverts and the stop go on.
    let frozen = tools.running.last().unwrap().id();
    // `ip netns exec` has become snmpd.
    unsafe { libc::kill(frozen as i32, libc::SIGSTOP) };
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(daemon.ask("{\"request\":\"status\"}")["status"]["instances"][0]["state"], "MASTER");
    assert_eq!(daemon.stop().code(), Some(0));
    unsafe { libc::kill(frozen as i32, libc::SIGCONT) };
}

/// The rows are compared with keepalived's in `tests/balance/shown.rs`; here they go through snmpd, and a weight is written.
#[test]
fn a_manager_walks_virtual_servers_and_weighs_one() {
    if !ready() || !tools_are_there() {
        return;
    }
    let ground = ground();
    let tools = Tools::start(&ground);
    let server = "real_server 10.1.1.1 9 {\n  weight 5\n  TCP_CHECK {\n   connect_timeout 1\n  }\n }\n";
    let service = format!(
        "virtual_server 10.0.0.1 80 {{\n delay_loop 1\n protocol TCP\n lb_algo rr\n lb_kind NAT\n {server}}}\n"
    );
    let with =
        configuration(&ground).replacen("enable_snmp_keepalived", "enable_snmp_keepalived\n enable_snmp_checker", 1)
            + &service;
    ground.configure(&with);
    let daemon = ground.start("-D");
    const SERVERS: &str = ".1.3.6.1.4.1.9586.100.5.3.4.1";
    let get = |column: &str| tools.ask("snmpget", &[&format!("{SERVERS}.{column}")]);
    daemon.wait_for("the failed check over SNMP", || {
        get("13.1.1").contains("Gauge32: 1\n") && get("6.1.1").contains("INTEGER: 2\n")
    });
    let walked = tools.walk("snmpbulkwalk");
    assert_eq!(walked.get(&format!("{SERVERS}.4.1.1")).map(String::as_str), Some("Hex-STRING: 0A 01 01 01"));
    assert_eq!(walked.get(".1.3.6.1.4.1.9586.100.5.3.3.1.22.1").map(String::as_str), Some("Gauge32: 1"));
    assert!(walked.contains_key(".1.3.6.1.4.1.9586.100.5.1.2.0"), "the global branch is there too");
    let set = |kind: &str, value: &str| tools.ask("snmpset", &[&format!("{SERVERS}.7.1.1"), kind, value]);
    for (kind, value, error) in [("i", "-1", "wrongValue"), ("s", "x", "wrongType")] {
        assert!(set(kind, value).contains(error), "{kind} {value}");
    }
    assert!(tools.ask("snmpset", &[&format!("{SERVERS}.6.1.1"), "i", "1"]).contains("notWritable"));
    assert!(set("i", "300").contains("INTEGER: 300"));
    daemon.wait_for_log("service [10.1.1.1]:tcp:9 of VS [10.0.0.1]:tcp:80 is given weight 300 by an operator");
    daemon.wait_for("the weight that was written", || get("7.1.1").contains("INTEGER: 300\n"));
    // The dump of the checker is there as well, for who reads files.
    let path = ground.directory.join("keepalived_check.data");
    daemon.signal(libc::SIGUSR1);
    daemon.wait_for("the checker's dump", || path.exists());
    assert!(std::fs::read_to_string(&path).unwrap().contains("RIP = 10.1.1.1, RPORT = 9, WEIGHT = 5 EFF WEIGHT = 300"));
    // Without a virtual server there is nobody to ask.
    ground.configure(&configuration(&ground));
    daemon.signal(libc::SIGHUP);
    daemon.wait_for("no row any more", || !tools.walk("snmpbulkwalk").keys().any(|oid| oid.starts_with(SERVERS)));
}

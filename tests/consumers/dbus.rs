//! D-Bus as other programs use it: a bus of the test's own, Debian's keepalived and vipd with the same file, description
//! against description, answer against answer, signal against signal.

use super::ground::{Daemon, Ground, PATIENCE, instance, ip, ready};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ORIGINAL: &str = "/usr/sbin/keepalived";
const NAME: &str = "org.keepalived.Vrrp1";
const ROOT: &str = "/org/keepalived/Vrrp1";
const ONE: &str = "/org/keepalived/Vrrp1/Instance/eth0/51/IPv4";
/// Instances that become master, by path.
const MASTERS: [&str; 6] =
    ["eth0/51/IPv4", "eth_1_2/52/IPv6", "eth0/53/IPv4", "eth0/54/IPv4", "eth0/56/IPv4", "eth0/57/IPv4"];

/// Path below [`ROOT`], interface and method, arguments as dbus-send takes them.
const CALLS: [(&str, &str, &str); 42] = [
    ("/Instance/eth0/51/IPv4", "org.freedesktop.DBus.Properties.GetAll", "string:org.keepalived.Vrrp1.Instance"),
    ("/Instance/eth0/51/IPv4", "org.freedesktop.DBus.Properties.GetAll", "string:"),
    ("/Instance/eth0/51/IPv4", "org.freedesktop.DBus.Properties.GetAll", "string:foo.bar"),
    ("/Instance/eth0/51/IPv4", "org.freedesktop.DBus.Properties.GetAll", "uint32:1"),
    ("/Instance/eth0/51/IPv4", "org.freedesktop.DBus.Properties.GetAll", ""),
    (
        "/Instance/eth0/51/IPv4",
        "org.freedesktop.DBus.Properties.Get",
        "string:org.keepalived.Vrrp1.Instance string:Name",
    ),
    (
        "/Instance/eth0/51/IPv4",
        "org.freedesktop.DBus.Properties.Get",
        "string:org.keepalived.Vrrp1.Instance string:State",
    ),
    (
        "/Instance/eth0/51/IPv4",
        "org.freedesktop.DBus.Properties.Get",
        "string:org.keepalived.Vrrp1.Instance string:Nope",
    ),
    ("/Instance/eth0/51/IPv4", "org.freedesktop.DBus.Properties.Get", "string:foo.bar string:Name"),
    ("/Instance/eth0/51/IPv4", "org.freedesktop.DBus.Properties.Get", "string:x"),
    (
        "/Instance/eth0/51/IPv4",
        "org.freedesktop.DBus.Properties.Set",
        "string:org.keepalived.Vrrp1.Instance string:Name variant:string:x",
    ),
    (
        "/Instance/eth0/51/IPv4",
        "org.freedesktop.DBus.Properties.Set",
        "string:org.keepalived.Vrrp1.Instance string:Nope variant:string:x",
    ),
    ("/Instance/eth0/51/IPv4", "org.freedesktop.DBus.Properties.Set", "string:foo.bar string:Name variant:string:x"),
    ("/Instance/eth0/51/IPv4", "org.freedesktop.DBus.Properties.Nope", "string:x"),
    ("/Instance/eth0/51/IPv4", "org.freedesktop.DBus.Peer.Ping", ""),
    ("/Instance/eth0/51/IPv4", "org.freedesktop.DBus.Peer.GetMachineId", ""),
    ("/Instance/eth0/51/IPv4", "org.keepalived.Vrrp1.Instance.SendGarp", ""),
    ("/Instance/eth0/51/IPv4", "org.keepalived.Vrrp1.Instance.SendGarp", "string:a"),
    ("/Instance/eth0/51/IPv4", "org.keepalived.Vrrp1.Instance.Nope", ""),
    ("/Instance/eth0/51/IPv4", "org.keepalived.Vrrp1.Vrrp.PrintData", ""),
    ("/Instance/eth0/51/IPv4", "foo.bar.Nope", ""),
    ("/Instance/eth0/51/IPv6", "org.keepalived.Vrrp1.Instance.SendGarp", ""),
    ("/Instance/eth0/99/IPv4", "org.freedesktop.DBus.Properties.GetAll", "string:org.keepalived.Vrrp1.Instance"),
    ("/Instance/eth0/99/IPv4", "org.freedesktop.DBus.Peer.Ping", ""),
    ("/Instance/eth0/99/IPv4", "org.freedesktop.DBus.Peer.Nope", ""),
    ("/Instance/eth0/99/IPv4", "org.freedesktop.DBus.Introspectable.Introspect", "string:a"),
    ("/Instance/eth_1_2/52/IPv6", "org.freedesktop.DBus.Properties.GetAll", "string:org.keepalived.Vrrp1.Instance"),
    ("/Instance/eth0/53/IPv4", "org.freedesktop.DBus.Properties.GetAll", "string:org.keepalived.Vrrp1.Instance"),
    ("/Instance/eth9/55/IPv4", "org.freedesktop.DBus.Properties.GetAll", "string:org.keepalived.Vrrp1.Instance"),
    ("/Instance/eth9/55/IPv4", "org.keepalived.Vrrp1.Instance.SendGarp", ""),
    ("", "org.keepalived.Vrrp1.Vrrp.PrintData", ""),
    ("", "org.freedesktop.DBus.Properties.GetAll", "string:org.keepalived.Vrrp1.Vrrp"),
    ("/Vrrp", "org.keepalived.Vrrp1.Vrrp.PrintData", ""),
    ("/Vrrp", "org.keepalived.Vrrp1.Vrrp.PrintStats", ""),
    ("/Vrrp", "org.keepalived.Vrrp1.Vrrp.PrintStatsClear", ""),
    ("/Vrrp", "org.keepalived.Vrrp1.Vrrp.PrintData", "string:a"),
    ("/Vrrp", "org.keepalived.Vrrp1.Vrrp.Nope", ""),
    ("/Vrrp", "org.keepalived.Vrrp1.Instance.SendGarp", ""),
    ("/Vrrp", "org.freedesktop.DBus.Properties.GetAll", "string:org.keepalived.Vrrp1.Vrrp"),
    ("/Vrrp", "org.freedesktop.DBus.Properties.Get", "string:org.keepalived.Vrrp1.Vrrp string:Name"),
    ("/Vrrp", "org.keepalived.Vrrp1.Vrrp.CreateInstance", "string:N string:eth0 uint32:60 uint32:2"),
    ("/Vrrp", "org.keepalived.Vrrp1.Vrrp.DestroyInstance", "string:N"),
];

struct Bus {
    directory: PathBuf,
    daemon: Option<Child>,
    monitor: Option<Child>,
}

impl Bus {
    /// A bus of the test's own, and somebody who writes down what is said there.
    fn start(ground: &Ground) -> Bus {
        let conf = include_str!("dbus/bus.conf").replace("TMP", &ground.directory.display().to_string());
        ground.write("bus.conf", &conf);
        let mut bus = Bus { directory: ground.directory.clone(), daemon: None, monitor: None };
        bus.open();
        bus
    }

    fn address(&self) -> String {
        format!("unix:path={}/bus", self.directory.display())
    }

    fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", self.address()).stdin(Stdio::null());
        command
    }

    fn open(&mut self) {
        let _ = fs::remove_file(self.directory.join("bus"));
        let conf = format!("--config-file={}/bus.conf", self.directory.display());
        let quiet = Stdio::null;
        let mut daemon = self.tool("dbus-daemon");
        self.daemon = Some(daemon.args([&conf, "--nofork", "--nopidfile"]).stderr(quiet()).spawn().unwrap());
        self.until("the bus", || {
            self.tool("busctl").args(["--system", "list"]).stdout(quiet()).stderr(quiet()).status().unwrap().success()
        });
        let signals = fs::File::create(self.directory.join("signals")).unwrap();
        let rule = "type='signal',path_namespace='/org/keepalived'";
        self.monitor = Some(self.tool("dbus-monitor").args(["--system", rule]).stdout(signals).spawn().unwrap());
        self.until("somebody who listens", || self.heard().contains("member=NameLost"));
    }

    fn until(&self, what: &str, is: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is() {
            assert!(begun.elapsed() < PATIENCE, "{what} is not there");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn close(&mut self) {
        for child in [&mut self.monitor, &mut self.daemon] {
            if let Some(mut child) = child.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }

    fn freeze(&self, frozen: bool) {
        let number = if frozen { libc::SIGSTOP } else { libc::SIGCONT };
        // SAFETY: kill takes no pointers; the process is our child.
        assert_eq!(unsafe { libc::kill(self.daemon.as_ref().unwrap().id() as i32, number) }, 0);
    }

    fn heard(&self) -> String {
        fs::read_to_string(self.directory.join("signals")).unwrap_or_default()
    }

    /// What was said on each path, in order: the signal and its value.
    fn signals(&self) -> BTreeMap<String, Vec<String>> {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut last = None;
        for line in self.heard().lines() {
            let field = |name: &str| line.split(name).nth(1)?.split(';').next();
            if let (Some(path), Some(member)) = (field(" path="), line.split("member=").nth(1))
                && path.starts_with(ROOT)
            {
                found.entry(path.to_owned()).or_default().push(member.to_owned());
                last = Some(path.to_owned());
            } else if let (Some(value), Some(path)) = (line.trim().strip_prefix("uint32 "), &last) {
                *found.get_mut(path).unwrap().last_mut().unwrap() += &format!(" {value}");
            } else {
                last = None;
            }
        }
        found
    }

    fn call(&self, path: &str, method: &str, arguments: &str) -> String {
        let mut command = self.tool("dbus-send");
        command.args([
            "--system",
            "--print-reply=literal",
            "--reply-timeout=30000",
            &format!("--dest={NAME}"),
            path,
            method,
        ]);
        let out = command.args(arguments.split_whitespace()).output().unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
    }

    fn paths(&self, name: &str) -> Vec<String> {
        let out = self.tool("busctl").args(["--system", "tree", "--list", name]).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        text.lines().filter(|line| line.starts_with('/')).map(str::to_owned).collect()
    }

    fn state(&self, below: &str) -> String {
        let path = format!("{ROOT}/Instance/{below}");
        let arguments = ["--system", "get-property", NAME, &path, "org.keepalived.Vrrp1.Instance", "State"];
        let out = self.tool("busctl").args(arguments).output().unwrap();
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.close();
    }
}

/// A description without what says nothing: space, comments, the order of what stands below, `<a></a>` for `<a/>`.
fn plain(description: &str) -> Vec<String> {
    let mut text = description.to_owned();
    for tag in ["arg", "method", "signal", "property"] {
        text = text.lines().map(str::trim).filter(|line| !line.starts_with("<!--")).collect::<Vec<_>>().join("\n");
        text = text.replace(&format!(">\n</{tag}>"), "/>");
    }
    let is_node = |line: &&str| line.starts_with("<node name");
    let mut nodes: Vec<&str> = text.lines().filter(is_node).collect();
    nodes.sort_unstable();
    text.lines().filter(|line| !is_node(line)).chain(nodes).map(str::to_owned).collect()
}

fn tools_are_there() -> bool {
    let there = ["dbus-daemon", "dbus-monitor", "dbus-send", "busctl"]
        .iter()
        .all(|name| Path::new("/usr/bin").join(name).exists());
    assert!(
        there || std::env::var("VIPD_REQUIRE_NETNS").as_deref() != Ok("1"),
        "needs dbus-daemon, dbus-bin and systemd"
    );
    if !there {
        eprintln!("skipped: needs dbus-daemon, dbus-bin and systemd");
    }
    ready() && there
}

fn start(ground: &Ground, bus: &Bus, flags: &str) -> Daemon {
    ground.start_with_environment(flags, &[("DBUS_SYSTEM_BUS_ADDRESS", &bus.address())])
}

/// What a daemon is on the bus from its start to its end.
#[derive(PartialEq, Debug)]
struct Life {
    descriptions: BTreeMap<String, Vec<String>>,
    answers: Vec<(String, String)>,
    signals: BTreeMap<String, Vec<String>>,
}

fn life(program: &str) -> Life {
    let ground = Ground::new();
    ip(&format!("-n {} link add eth-1.2 type veth peer name far2", ground.name));
    for link in ["eth-1.2", "far2"] {
        ip(&format!("-n {} link set {link} up", ground.name));
    }
    ip(&format!("-n {} addr add fd00::1/64 dev eth-1.2 nodad", ground.name));
    ground.wait_for_carrier();
    ground.wait_for_link_local(&["eth-1.2"]);
    let bus = Bus::start(&ground);
    let conf = include_str!("dbus/k.conf");
    ground.configure(conf);
    let line = format!("DBUS_SYSTEM_BUS_ADDRESS={} exec {program} \"$@\"", bus.address());
    let daemon = ground.start_program(&ground.program("on-the-bus", &line), "-P");
    daemon.wait_for("masters on the bus", || MASTERS.iter().all(|below| bus.state(below) == "(us) 2 \"Master\""));
    let mut paths = bus.paths(NAME);
    paths.extend(["/nope".to_owned(), format!("{ROOT}/Nope")]);
    let introspect = |path: String| {
        let text = bus.call(&path, "org.freedesktop.DBus.Introspectable.Introspect", "");
        (path, plain(&text))
    };
    let descriptions = paths.into_iter().map(introspect).collect();
    let call = |(below, method, arguments): (&str, &str, &str)| {
        (format!("{below} {method} {arguments}"), bus.call(&format!("{ROOT}{below}"), method, arguments))
    };
    let answers = CALLS.into_iter().map(call).collect();
    for file in ["keepalived.data", "keepalived.stats"] {
        daemon.wait_for(file, || ground.directory.join(file).exists());
    }
    // One that is told of as deleted, one as faulty, and a new one.
    let mut blocks: Vec<&str> = conf.split_inclusive("\n}\n").collect();
    blocks.retain(|block| !block.starts_with("vrrp_instance GONE") && !block.starts_with("vrrp_instance VM"));
    ground.configure(&(blocks.concat() + &instance("NEW", 61, "10.9.0.61/24")));
    assert_eq!(bus.call(&format!("{ROOT}/Vrrp"), "org.keepalived.Vrrp1.Vrrp.ReloadConfig", ""), "");
    daemon.wait_for("a new master on the bus", || bus.state("eth0/61/IPv4") == "(us) 2 \"Master\"");
    assert!(daemon.stop().success());
    bus.until("the last signal", || bus.heard().contains("VrrpStopped"));
    Life { descriptions, answers, signals: bus.signals() }
}

#[test]
fn a_program_on_the_bus_sees_what_keepalived_shows() {
    if !tools_are_there() {
        return;
    }
    if !Path::new(ORIGINAL).exists() {
        assert!(std::env::var("VIPD_REQUIRE_NETNS").as_deref() != Ok("1"), "needs keepalived");
        eprintln!("skipped: needs keepalived");
        return;
    }
    let (mut theirs, ours) = (life(ORIGINAL), life(env!("CARGO_BIN_EXE_vipd")));
    // keepalived's thread for D-Bus also tells of INIT where it is on the bus before the first state is known.
    for said in theirs.signals.values_mut() {
        let init = said.first().is_some_and(|first| first == "VrrpStatusChange 0");
        said.drain(..usize::from(init));
        // It may tell of a state once more, where it comes to be on the bus in that moment.
        said.dedup();
    }
    assert!(theirs.descriptions.len() > 24, "only {} paths", theirs.descriptions.len());
    assert_eq!(theirs.signals.len(), 9, "{:#?}", theirs.signals);
    assert_eq!(ours.descriptions, theirs.descriptions);
    for (mine, other) in ours.answers.iter().zip(&theirs.answers) {
        assert_eq!(mine, other);
    }
    assert_eq!(ours.signals, theirs.signals);
}

#[test]
fn the_bus_may_come_and_go_and_a_reload_switches_it_off() {
    if !tools_are_there() {
        return;
    }
    let ground = Ground::new();
    let mut bus = Bus { directory: ground.directory.clone(), daemon: None, monitor: None };
    let with = format!("global_defs {{\n enable_dbus\n}}\n{}", instance("VI_1", 51, "10.9.0.51/24"));
    ground.configure(&with);
    let daemon = start(&ground, &bus, "");
    daemon.wait_for_log("No D-Bus for org.keepalived.Vrrp1: ");
    daemon.wait_for_address(&ground, "10.9.0.51", true);
    bus = Bus::start(&ground);
    let master = |bus: &Bus| bus.state("eth0/51/IPv4") == "(us) 2 \"Master\"";
    daemon.wait_for("the name", || master(&bus));
    // Who waited for the name hears what is; the daemon itself began before.
    bus.until("the state", || bus.signals().get(ONE).is_some_and(|said| *said == ["VrrpStatusChange 2"]));
    bus.close();
    daemon.wait_for("a word about the lost bus", || daemon.log_text().matches("No D-Bus for").count() > 1);
    bus.open();
    daemon.wait_for("the name again", || master(&bus));
    bus.until("the state", || bus.signals().get(ONE).is_some_and(|said| *said == ["VrrpStatusChange 2"]));
    assert!(!bus.heard().contains("VrrpStarted"), "it has begun before");
    ground.configure(&with.replace("enable_dbus", "vrrp_version 3"));
    daemon.signal(libc::SIGHUP);
    daemon.wait_for("no name", || bus.paths(NAME).is_empty());
    bus.until("a goodbye", || bus.heard().contains("VrrpStopped"));
    // Other names, and an instance that has no interface.
    let parts = "instance blue-1\nglobal_defs {\n enable_dbus\n dbus_service_name org.example.VRF7\n dbus_no_interface_name no-eth\n}\n";
    let unicast = "vrrp_instance NOIF {\n unicast_src_ip 10.9.0.1\n unicast_peer {\n  10.9.0.2\n }\n virtual_router_id 54\n virtual_ipaddress {\n  10.9.0.54/24 dev eth0\n }\n}\n";
    let other = Ground::new();
    let elsewhere = Bus::start(&other);
    other.configure(&format!("{parts}{unicast}"));
    let named = start(&other, &elsewhere, "");
    let path = "/org/keepalived/Vrrp1/blue_1/Instance/no_eth/54/IPv4".to_owned();
    named.wait_for("another name", || elsewhere.paths("org.example.VRF7").contains(&path));
    assert_eq!(named.stop().code(), Some(0));
    ground.configure(&with);
    daemon.signal(libc::SIGHUP);
    daemon.wait_for("the name once more", || master(&bus));
    let general = format!("{ROOT}/Vrrp");
    bus.until("both words", || bus.signals().get(&general).is_some_and(|said| *said == ["VrrpStopped", "VrrpStarted"]));
    assert_eq!(daemon.stop().code(), Some(0));
}

/// One accepts and never says a word, the other stops in the middle.
#[test]
fn a_bus_that_never_answers_holds_up_nothing() {
    if !tools_are_there() {
        return;
    }
    let ground = Ground::new();
    let silent = UnixListener::bind(ground.directory.join("bus")).unwrap();
    let mut bus = Bus { directory: ground.directory.clone(), daemon: None, monitor: None };
    ground.configure(&format!("global_defs {{\n enable_dbus\n}}\n{}", instance("VI_1", 51, "10.9.0.51/24")));
    let daemon = start(&ground, &bus, "");
    let (_held, _) = silent.accept().unwrap();
    daemon.wait_for_address(&ground, "10.9.0.51", true);
    daemon.wait_for_log("it does not answer within 5 s");
    assert_eq!(daemon.ask("{\"request\":\"status\"}")["status"]["instances"][0]["state"], "MASTER");
    drop(silent);
    bus = Bus::start(&ground);
    daemon.wait_for("the name", || bus.state("eth0/51/IPv4") == "(us) 2 \"Master\"");
    bus.freeze(true);
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_log("Reload complete");
    assert_eq!(daemon.ask("{\"request\":\"status\"}")["status"]["instances"][0]["state"], "MASTER");
    assert_eq!(daemon.stop().code(), Some(0));
    bus.freeze(false);
}

/// The second waits, says so once, and has the name when the first gives it up.
#[test]
fn of_two_daemons_that_want_one_name_the_second_waits() {
    if !tools_are_there() {
        return;
    }
    let (first, second) = (Ground::new(), Ground::new());
    let bus = Bus::start(&first);
    for (ground, vrid) in [(&first, 51), (&second, 52)] {
        let address = format!("10.9.0.{vrid}/24");
        ground.configure(&format!("global_defs {{\n enable_dbus\n}}\n{}", instance("VI_1", vrid, &address)));
    }
    let master = |below: &str| bus.state(below) == "(us) 2 \"Master\"";
    let one = start(&first, &bus, "");
    one.wait_for("the name", || master("eth0/51/IPv4"));
    let other = start(&second, &bus, "");
    other.wait_for_log("org.keepalived.Vrrp1 belongs to another program on D-Bus: waiting until it is given up");
    other.wait_for_address(&second, "10.9.0.52", true);
    assert!(master("eth0/51/IPv4") && bus.state("eth0/52/IPv4").is_empty(), "the first one has lost its name");
    assert_eq!(one.stop().code(), Some(0));
    other.wait_for("the name", || master("eth0/52/IPv4"));
    other.wait_for_log("D-Bus: org.keepalived.Vrrp1 is ours");
    let path = format!("{ROOT}/Instance/eth0/52/IPv4");
    bus.until("its state", || bus.signals().get(&path).is_some_and(|said| *said == ["VrrpStatusChange 2"]));
    assert_eq!(other.log_text().matches("belongs to another program").count(), 1);
    assert_eq!(other.stop().code(), Some(0));
}

/// danos/vyatta-vrrp: properties of an instance, PrintData into a file, the signals of a life; played with either program.
pub(super) fn vyatta_asks_over_the_bus() {
    assert!(tools_are_there(), "needs dbus-daemon, dbus-bin and systemd");
    let ground = Ground::new();
    let bus = Bus::start(&ground);
    ground.configure(&format!("global_defs {{\n enable_dbus\n}}\n{}", instance("VI_1", 51, "10.9.0.51/24")));
    let line = format!("DBUS_SYSTEM_BUS_ADDRESS={} exec {} \"$@\"", bus.address(), super::program(&ground).display());
    let daemon = ground.start_program(&ground.program("on-the-bus", &line), "-P");
    daemon.wait_for("a master on the bus", || bus.state("eth0/51/IPv4") == "(us) 2 \"Master\"");
    let all = bus.call(ONE, "org.freedesktop.DBus.Properties.GetAll", "string:org.keepalived.Vrrp1.Instance");
    assert!(all.contains("VI_1") && all.contains("Master"), "{all}");
    assert_eq!(bus.call(&format!("{ROOT}/Vrrp"), "org.keepalived.Vrrp1.Vrrp.PrintData", ""), "");
    daemon.wait_for("the data", || ground.directory.join("keepalived.data").exists());
    assert!(daemon.stop().success());
    bus.until("the last signal", || bus.heard().contains("VrrpStopped"));
    let said = bus.signals();
    assert_eq!(
        said.get(ONE).and_then(|said| said.last()).map(String::as_str),
        Some("VrrpStatusChange 98"),
        "{said:#?}"
    );
}

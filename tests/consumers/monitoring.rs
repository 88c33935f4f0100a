//! Prometheus and those who ask as it does: a real one that scrapes a real pair through a failover, a crowd at a unix
//! socket, and what docs/monitoring.md tells people to type.

use super::CONF;
use super::ground::{Daemon, Ground, PATIENCE, ip, ready};
use super::settled;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn installed(program: &str) -> bool {
    let there = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    assert!(there || std::env::var("VIPD_REQUIRE_NETNS").as_deref() != Ok("1"), "needs {program}");
    if !there {
        eprintln!("skipped: needs {program}");
    }
    there
}

fn page(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut whole = String::new();
    stream.read_to_string(&mut whole).unwrap();
    whole
}

#[test]
fn a_hundred_scrapers_at_once_and_one_that_never_reads_are_served_over_a_unix_socket() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure(CONF);
    let socket = ground.directory.join("metrics.sock");
    // What a killed daemon left behind gives way.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let daemon = ground.start(&format!("--metrics unix:{} --metrics-names both", socket.display()));
    settled(&ground, &daemon);
    let mut mute = UnixStream::connect(&socket).unwrap();
    mute.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let _idle: Vec<UnixStream> = (0..20).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    std::thread::scope(|scope| {
        let askers: Vec<_> = (0..100).map(|_| scope.spawn(|| page(&socket))).collect();
        for asker in askers {
            let whole = asker.join().unwrap();
            assert!(whole.starts_with("HTTP/1.1 200 OK\r\n"), "{whole}");
            for sample in [
                "vipd_vrrp_address_held{vrrp_instance=\"VI/1\",interface=\"eth0\",vrid=\"51\",family=\"IPv4\",address=\"10.9.0.100\"} 1",
                "keepalived_vrrp_state{iname=\"VI/1\",intf=\"eth0\",vrid=\"51\",ip_address=\"10.9.0.100/24\"} 2",
                "keepalived_script_status{name=\"bad\"} 0",
            ] {
                assert!(whole.lines().any(|line| line == sample), "no {sample} in {whole}");
            }
        }
    });
    // What only a daemon knows.
    let whole = page(&socket);
    for name in [
        "process_start_time_seconds ",
        "process_open_fds ",
        "process_resident_memory_bytes ",
        "process_cpu_seconds_total ",
    ] {
        let value = whole.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
        assert!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{name}{value}");
    }
    let runs = |name: &str| {
        let line = format!("vipd_script_duration_seconds_count{{script=\"{name}\"}} ");
        whole.lines().find_map(|found| found.strip_prefix(&line)).unwrap().parse::<u64>().unwrap()
    };
    assert!(runs("good") > 0 && runs("bad") > 0);
    let master = "vipd_vrrp_transitions_total{vrrp_instance=\"VI/1\",interface=\"eth0\",vrid=\"51\",family=\"IPv4\",to=\"master\"} 1";
    assert!(whole.contains(master), "{whole}");
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!socket.exists(), "the socket's file stays behind");
}

/// Lines of code of docs/monitoring.md with this in them.
fn typed(part: &str) -> String {
    let text = std::fs::read_to_string(root().join("docs/monitoring.md")).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("    ") && line.contains(part)).collect();
    assert_eq!(lines.len(), 1, "{part} in {lines:?}");
    lines[0].trim().to_owned()
}

/// Types a line on the server of this daemon, as root.
fn shell(ground: &Ground, daemon: &Daemon, line: &str) -> Output {
    let line = line.replace("sudo ", "").replace("vipctl ", concat!(env!("CARGO_BIN_EXE_vipctl"), " "));
    Command::new("ip")
        .args(["netns", "exec", &ground.name, "bash", "-c", &line])
        .env("VIPD_CONTROL", daemon.path("/run/vipd/control.sock"))
        .current_dir(&ground.directory)
        .output()
        .unwrap()
}

#[test]
fn what_the_page_about_monitoring_tells_to_type_works() {
    if !ready() || !installed("promtool") {
        return;
    }
    let ground = Ground::new();
    ground.configure(CONF);
    let socket = ground.directory.join("metrics.sock");
    let daemon = ground.start(&format!("--metrics unix:{}", socket.display()));
    settled(&ground, &daemon);
    let out = shell(&ground, &daemon, &typed("| promtool check metrics"));
    assert!(out.status.success() && out.stdout.is_empty() && out.stderr.is_empty(), "{out:?}");
    // node_exporter has numbers of its own process under the same names, and takes none twice.
    let collector = typed("vipd.prom.new").replace("/var/lib/prometheus/node-exporter/", "");
    assert!(shell(&ground, &daemon, &collector).status.success(), "{collector}");
    let written = std::fs::read_to_string(ground.directory.join("vipd.prom")).unwrap();
    assert!(written.contains("\nvipd_vrrp_state{") && !written.contains("process_"), "{written}");
    // Nagios: 0 is fine, 1 a warning, 2 critical.
    let nagios = typed("command[check_vip_master]=").split_once('=').unwrap().1.replace("VI_1", "VI/1");
    assert_eq!(shell(&ground, &daemon, &nagios).status.code(), Some(0), "{nagios}");
    let other = nagios.replace("VI/1", "VI_2");
    assert_eq!(shell(&ground, &daemon, &other).status.code(), Some(1), "{other}");
    // Zabbix takes what is printed.
    let zabbix = typed("UserParameter=vipd.master").split_once(',').unwrap().1.replace("\"$1\"", "VI/1");
    assert_eq!(shell(&ground, &daemon, &zabbix).stdout, b"0\n", "{zabbix}");
    let curl = typed("curl --unix-socket").replace("/run/vipd/metrics.sock", &socket.display().to_string());
    let out = shell(&ground, &daemon, &curl);
    assert!(String::from_utf8_lossy(&out.stdout).contains("vipd_vrrp_state{"), "{curl}: {out:?}");
}

struct Prometheus {
    child: Child,
    namespace: String,
    log: PathBuf,
}

impl Prometheus {
    /// With the kit's own configuration and rules; only names and times are others.
    fn start(ground: &Ground) -> Prometheus {
        let kit = root().join("packaging/prometheus");
        let conf = std::fs::read_to_string(kit.join("prometheus.yml")).unwrap();
        let conf =
            conf.replace("lb1:", "10.9.0.1:").replace("lb2:", "10.9.0.2:").replace("15s", "1s").replace("5s", "1s");
        ground.write("prometheus.yml", &conf);
        std::fs::copy(kit.join("rules.yml"), ground.directory.join("rules.yml")).unwrap();
        let log = ground.directory.join("prometheus.log");
        let child = Command::new("ip")
            .args(["netns", "exec", &ground.name, "prometheus", "--web.listen-address=127.0.0.1:9090"])
            .arg(format!("--config.file={}", ground.directory.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", ground.directory.join("tsdb").display()))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Prometheus { child, namespace: ground.name.clone(), log }
    }

    fn asked(&self, query: &str) -> String {
        let out = Command::new("ip")
            .args(["netns", "exec", &self.namespace, "promtool", "query", "instant", "http://127.0.0.1:9090", query])
            .output()
            .unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// Waits until an answer to the query has all of these in it.
    fn wait_for(&self, query: &str, parts: &[&str]) {
        let begun = Instant::now();
        loop {
            let answer = self.asked(query);
            if parts.iter().all(|part| answer.contains(part)) {
                return;
            }
            let log = || std::fs::read_to_string(&self.log).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE * 2, "{query}: no {parts:?} in {answer}\n{}", log());
            std::thread::sleep(Duration::from_millis(300));
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_real_prometheus_sees_a_failover_of_a_real_pair() {
    if !ready() || !installed("prometheus") || !installed("promtool") {
        return;
    }
    let (first, second) = (Ground::new(), Ground::new());
    // One wire: the far end of the first server's is the second server's eth0.
    ip(&format!("-n {} link del eth0", second.name));
    ip(&format!("-n {} link set far netns {}", first.name, second.name));
    ip(&format!("-n {} link set far name eth0", second.name));
    ip(&format!("-n {} link set eth0 up", second.name));
    ip(&format!("-n {} addr add 10.9.0.2/24 dev eth0", second.name));
    first.wait_for_carrier();
    second.wait_for_carrier();
    for (ground, priority) in [(&first, 150), (&second, 100)] {
        ground.configure(&format!(
            "vrrp_instance VI_1 {{\n interface eth0\n virtual_router_id 51\n priority {priority}\n advert_int 1\n \
             virtual_ipaddress {{\n  10.9.0.100/24\n }}\n}}\n"
        ));
    }
    // As docs/monitoring.md has it.
    let flags = typed("DAEMON_ARGS=");
    let flags = flags.split('"').nth(1).unwrap();
    assert!(flags.starts_with("--metrics "), "{flags}");
    let [one, two] = [&first, &second].map(|ground| ground.start(flags));
    one.wait_for_address(&first, "10.9.0.100/24", true);
    let prometheus = Prometheus::start(&first);
    prometheus.wait_for("count(up{job=\"vipd\"} == 1)", &["=> 2 "]);
    prometheus.wait_for("sum by (address) (vipd_vrrp_address_held)", &["10.9.0.100", "=> 1 "]);
    prometheus.wait_for("vipd_vrrp_address_held == 1", &["instance=\"10.9.0.1:9650\"", "vrrp_instance=\"VI_1\""]);
    prometheus.wait_for("vipd_vrrp_state == 1", &["instance=\"10.9.0.2:9650\""]);
    // Both see the same MASTER.
    prometheus.wait_for("count by (master) (vipd_vrrp_master_info)", &["master=\"10.9.0.1\"", "=> 2 "]);

    assert_eq!(one.stop().code(), Some(0));
    prometheus.wait_for("vipd_vrrp_address_held == 1", &["instance=\"10.9.0.2:9650\""]);
    prometheus.wait_for("vipd_vrrp_transitions_total{to=\"master\"}", &["instance=\"10.9.0.2:9650\"", "=> 1 "]);
    prometheus.wait_for("ALERTS{alertname=\"VipdDown\"}", &["instance=\"10.9.0.1:9650\""]);
    assert!(!prometheus.asked("vipd_vrrp_state").contains("exported_instance"), "a label is named as Prometheus' own");
    let said = std::fs::read_to_string(&prometheus.log).unwrap();
    assert!(!said.contains("level=error"), "{said}");
    assert_eq!(two.stop().code(), Some(0));
}

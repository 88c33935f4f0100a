//! Faults of machines whose root is a directory here (`vipctl doctor --root`), or that are made up: what concerns the
//! whole machine and cannot be made in a namespace. And the drop-in files of the package, put where they say.

use super::Complaint;
use super::complaints;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use vipd::cli::doctor::{Machine, Ran, Weight, examine};
use vipd::spec::{Auth, Spec};

struct Root {
    directory: PathBuf,
    conf: String,
}

impl Root {
    /// Another machine's root, with eth0 up and one instance on it.
    fn new(name: &str, more: &str) -> Root {
        let directory = std::env::temp_dir().join(format!("vipd-doctor-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        let conf = format!(
            "vrrp_instance VI_1 {{\n    interface eth0\n    virtual_router_id 51\n    priority 100\n    {more}\n    \
             virtual_ipaddress {{\n        10.0.0.10/24\n    }}\n}}\n"
        );
        let root = Root { directory, conf };
        root.file("sys/class/net/eth0/operstate", "up\n").file("sys/class/net/eth0/ifindex", "2\n");
        root.file("proc/sys/net/ipv4/conf/eth0/arp_ignore", "1\n");
        root
    }
    fn file(&self, path: &str, text: &str) -> &Root {
        let path = self.directory.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }
    fn doctor(&self, also_notes: bool) -> Vec<Complaint> {
        let conf = self.directory.join("keepalived.conf");
        std::fs::write(&conf, &self.conf).unwrap();
        let ran = Command::new(env!("CARGO_BIN_EXE_vipctl"))
            .args(["doctor", "--json", "--root"])
            .arg(&self.directory)
            .arg(&conf)
            .output()
            .unwrap();
        let mut found = complaints(&String::from_utf8_lossy(&ran.stdout), also_notes);
        // The configuration is read on this machine, which may have no eth0; commands are not run on a mounted root.
        found.retain(|c| !matches!(c.check.as_str(), "configuration" | "firewall"));
        found
    }
    fn only(&self, check: &str, also_notes: bool) -> Complaint {
        let seen = self.doctor(also_notes);
        assert!(seen.len() == 1 && seen[0].check == check, "{check} alone is expected: {seen:#?}");
        seen[0].clone()
    }
    /// Types a cure, with the paths of this root and without the programs that would reload what does not run.
    fn typed(&self, cure: &str) {
        let root = self.directory.display().to_string();
        let files = cure.lines().filter(|l| l.starts_with("mkdir") || l.starts_with("printf"));
        for line in files {
            let line = line.replace("/etc/", &format!("{root}/etc/"));
            assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success(), "{line}");
        }
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn packaged(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/examples").join(path)).unwrap()
}

fn networkd(name: &str, unit: &str) -> Root {
    let root = Root::new(name, "");
    root.file("run/systemd/netif/links/2", &format!("ADMIN_STATE=configured\nNETWORK_FILE={unit}\n"));
    root.file(unit, "[Match]\nName=eth0\n[Network]\nDHCP=yes\n");
    root
}

#[test]
fn networkd_without_keep_configuration() {
    let root = networkd("networkd", "/etc/systemd/network/10-eth0.network");
    let finding = root.only("networkd", false);
    root.typed(&finding.cure);
    assert!(root.doctor(false).is_empty());
}

/// The package's drop-ins, at the places that they and the documentation name.
#[test]
fn drop_ins_of_the_package() {
    let dropin = packaged("systemd-networkd/50-keep-virtual-addresses.conf");
    assert!(dropin.contains("/etc/systemd/network/10-eth0.network.d/"));
    let root = networkd("dropin", "/etc/systemd/network/10-eth0.network");
    root.only("networkd", false);
    root.file("/etc/systemd/network/10-eth0.network.d/50-keep-virtual-addresses.conf", &dropin);
    assert!(root.doctor(false).is_empty());

    // netplan's files are networkd's; its README's lines are the cure for them.
    let root = networkd("netplan", "/run/systemd/network/10-netplan-eth0.network");
    root.only("networkd", false);
    let lines: Vec<String> = packaged("netplan/README").lines().map(|l| l.trim().to_owned()).collect();
    root.typed(&lines.join("\n"));
    assert!(root.doctor(false).is_empty());

    let mut root = networkd("routes", "/etc/systemd/network/10-eth0.network");
    root.conf = root.conf.replace(
        "virtual_ipaddress",
        "virtual_routes {\n        10.9.0.0/16 via 10.0.0.1\n    }\n    virtual_ipaddress",
    );
    root.file("/etc/systemd/network/10-eth0.network.d/50.conf", &dropin);
    let finding = root.only("networkd", false);
    assert!(finding.what.contains("ManageForeignRoutes"), "{finding:#?}");
    root.file("/etc/systemd/networkd.conf.d/vipd.conf", &packaged("systemd-networkd/networkd-routes-and-rules.conf"));
    assert!(root.doctor(false).is_empty());
}

#[test]
fn network_manager_and_vmacs() {
    let root = Root::new("nm", "use_vmac");
    root.file("run/NetworkManager/devices/1", "").file("sys/module/macvlan/refcnt", "0\n");
    let finding = root.only("networkmanager", false);
    assert!(finding.what.contains("VMAC"), "{finding:#?}");
    root.file("/etc/NetworkManager/conf.d/90-vipd-NetworkManager.conf", &packaged("90-vipd-NetworkManager.conf"));
    assert!(root.doctor(false).is_empty());
}

#[test]
fn network_manager_and_the_interface() {
    let root = Root::new("nm-eth0", "");
    root.file("run/NetworkManager/devices/2", "[device]\nmanaged=true\nconnection-uuid=c0ffee\n");
    let finding = root.only("networkmanager", true);
    root.file("etc/NetworkManager/conf.d/README", "");
    root.typed(&finding.cure);
    // What NetworkManager writes when it has read that file.
    root.file("run/NetworkManager/devices/2", "[device]\nmanaged=false\n");
    assert!(root.doctor(true).is_empty());
    let written = std::fs::read_to_string(root.directory.join("etc/NetworkManager/conf.d/vipd.conf")).unwrap();
    assert!(written.contains("unmanaged-devices=interface-name:eth0"), "{written}");
}

#[test]
fn a_kernel_without_the_module() {
    let root = Root::new("module", "use_vmac");
    root.file("lib/modules/6.1.0-cloud/modules.builtin", "kernel/net/ipv4/tcp.ko\n");
    root.file("lib/modules/6.1.0-cloud/modules.dep", "kernel/drivers/net/veth.ko:\n");
    let finding = root.only("module", false);
    assert!(finding.what.contains("macvlan") && finding.cure.contains("modprobe macvlan"), "{finding:#?}");
    // The generic kernel has it.
    root.file("lib/modules/6.1.0-cloud/modules.dep", "kernel/drivers/net/macvlan.ko:\n");
    assert!(root.doctor(false).is_empty());
}

#[test]
fn apparmor_and_selinux() {
    let root = Root::new("confined", "notify /etc/keepalived/notify");
    let mine = |root: &Root| {
        let mut seen = root.doctor(true);
        seen.retain(|c| matches!(c.check.as_str(), "apparmor" | "selinux"));
        seen
    };
    root.file("sys/kernel/security/apparmor/profiles", "/usr/sbin/vipd (enforce)\n");
    let seen = mine(&root);
    assert!(seen.len() == 1 && seen[0].check == "apparmor" && seen[0].cure.contains("aa-complain"), "{seen:#?}");
    root.file("sys/kernel/security/apparmor/profiles", "/usr/sbin/vipd (complain)\n");
    assert!(mine(&root).is_empty());
}

/// A machine of which only the clock is known.
struct Clock(Option<bool>);

impl Machine for Clock {
    fn read(&self, path: &str) -> Option<String> {
        (path == "/sys/fs/selinux/enforce").then(|| "1\n".to_owned())
    }
    fn exists(&self, _: &str) -> bool {
        false
    }
    fn list(&self, path: &str) -> Vec<String> {
        if path == "/sys/class/net" { vec!["eth0".into()] } else { Vec::new() }
    }
    fn run(&self, _: &[&str]) -> Option<Ran> {
        None
    }
    fn addresses(&self) -> Vec<(String, IpAddr)> {
        Vec::new()
    }
    fn clock_synchronised(&self) -> Option<bool> {
        self.0
    }
    fn kernel(&self) -> String {
        String::new()
    }
}

pub fn spec(conf: &str) -> Arc<Spec> {
    static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = std::env::temp_dir().join(format!("vipd-doctor-{}-spec-{number}.conf", std::process::id()));
    std::fs::write(&name, conf).unwrap();
    let (spec, _) = vipd::cli::files::load(&name, None, vipd::cli::files::Where::Anywhere).unwrap();
    std::fs::remove_file(&name).unwrap();
    Arc::new(spec.unwrap())
}

/// The kernel's own word is asked; to set it would change the clock of the machine that runs the test.
#[test]
fn a_clock_that_is_not_synchronised() {
    let conf =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("conf-examples/unicast-cloud/cloud-a.conf"));
    let spec = spec(&conf.unwrap());
    assert!(matches!(spec.instances[0].auth, Auth::Hmac(_)));
    let clock = |state: Option<bool>| {
        let found = examine(&spec, &Clock(state));
        found.into_iter().find(|f| f.check == "clock").unwrap()
    };
    let fault = clock(Some(false));
    assert_eq!(fault.weight, Weight::Problem);
    assert!(fault.cure.unwrap().contains("timedatectl"));
    assert_eq!(clock(Some(true)).weight, Weight::Good);
    assert_eq!(clock(None).weight, Weight::Note);
    // The same machine is an enforcing SELinux, and the configuration runs a script.
    let seen = examine(&spec, &Clock(None));
    let selinux = seen.iter().find(|f| f.check == "selinux").unwrap();
    assert!(selinux.cure.as_deref().unwrap().contains("keepalived_unconfined_script_exec_t"));
}

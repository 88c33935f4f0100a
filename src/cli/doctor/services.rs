//! The rest of the machine: other daemons, services on the virtual address, clock, kernel modules, confinement.

use super::Case;
use super::Finding;
use super::Weight;
use super::running::Asked;
use crate::cli::view;
use crate::spec::{Auth, Replay, VirtualLink};
use crate::wire::Family;

/// There is something to do.
pub fn configuration_is_used(case: &Case<'_>, found: &mut Vec<Finding>) {
    if case.instances().is_empty() {
        found.push(Finding::new(Weight::Note, "configuration", "no vrrp_instance: no address is kept by this machine"));
    }
    let told = |name: &str| match &case.asked {
        Asked::Answers(snapshot) => {
            snapshot.instances.iter().any(|i| &*i.name == name && i.faults.iter().any(view::is_configured))
        }
        Asked::NotHere | Asked::Nobody | Asked::NotAllowed(..) | Asked::Trouble(..) => false,
    };
    for instance in case.instances().iter().filter(|i| i.config_fault.is_some() && !told(&i.name)) {
        let reason = instance.config_fault.as_deref().unwrap_or_default();
        found.push(
            Finding::new(
                Weight::Problem,
                "configuration",
                format!("{} can never leave FAULT: {reason}", instance.name),
            )
            .cure("correct the configuration; see `vipctl check`"),
        );
    }
}

/// Names and pids of processes that speak VRRP.
fn daemons(case: &Case<'_>) -> Vec<(String, String)> {
    let pids = case.machine.list("/proc").into_iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    let here = case.machine.link("/proc/self/ns/net");
    pids.filter_map(|pid| {
        let name = case.machine.read(&format!("/proc/{pid}/comm"))?.trim().to_owned();
        let speaks = matches!(name.as_str(), "vipd" | "keepalived" | "ucarp" | "vrrpd");
        // In another network namespace (a container, a lab) are other addresses.
        let elsewhere =
            || case.machine.link(&format!("/proc/{pid}/ns/net")).is_some_and(|ns| here.as_ref() != Some(&ns));
        (speaks && !is_zombie(case, &pid) && !elsewhere()).then_some((name, pid))
    })
    .collect()
}

/// It has ended, and nobody has asked how.
fn is_zombie(case: &Case<'_>, pid: &str) -> bool {
    let stat = case.machine.read(&format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which may hold anything, in brackets.
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}

/// Pids of the daemons of this name that run here.
pub(super) fn of_name(case: &Case<'_>, name: &str) -> Vec<String> {
    daemons(case).into_iter().filter(|(own, _)| own == name).map(|(_, pid)| pid).collect()
}

/// Also one that `process_name` calls otherwise: it listens.
pub(super) fn daemon_runs(case: &Case<'_>) -> bool {
    !matches!(case.asked, Asked::NotHere | Asked::Nobody) || !daemons(case).is_empty()
}

/// Two daemons for the same addresses take them from each other.
pub fn other_daemon(case: &Case<'_>, found: &mut Vec<Finding>) {
    let running = daemons(case);
    let keepalived: Vec<&str> = running.iter().filter(|(n, _)| n == "keepalived").map(|(_, p)| p.as_str()).collect();
    let ours = running.iter().any(|(name, _)| name == "vipd");
    if ours && !keepalived.is_empty() {
        found.push(
            Finding::new(
                Weight::Problem,
                "daemon",
                format!("keepalived runs beside vipd (pid {})", keepalived.join(", ")),
            )
            .why("with the same configuration each takes the other's addresses for its own")
            .cure("systemctl stop keepalived; kill what is left"),
        );
    }
}

/// A service that binds to a virtual address cannot start while the address is on the other server.
pub fn nonlocal_bind(case: &Case<'_>, found: &mut Vec<Finding>) {
    let mut texts: Vec<(String, String)> = Vec::new();
    for directory in ["/etc/nginx/conf.d", "/etc/nginx/sites-enabled", "/etc/haproxy", "/etc/apache2/sites-enabled"] {
        for name in case.machine.list(directory) {
            let path = format!("{directory}/{name}");
            texts.extend(case.machine.read(&path).map(|text| (path, text)));
        }
    }
    for path in ["/etc/nginx/nginx.conf", "/etc/apache2/ports.conf"] {
        texts.extend(case.machine.read(path).map(|text| (path.to_owned(), text)));
    }
    let mut binds = Vec::new();
    for instance in case.instances() {
        for address in &instance.claim.addresses {
            let key = match Family::of(&address.address) {
                Family::V4 => "net/ipv4/ip_nonlocal_bind",
                Family::V6 => "net/ipv6/ip_nonlocal_bind",
            };
            if case.sysctl(key) != Some(0) {
                continue;
            }
            let shown = address.address.to_string();
            let user = texts.iter().find(|(_, text)| text.lines().any(|line| listens_on(line, &shown)));
            if let Some((path, _)) = user {
                binds.push((path.clone(), shown, key.replace('/', ".")));
            }
        }
    }
    for (path, address, key) in binds {
        found.push(
            Finding::new(Weight::Warning, "nonlocal-bind", format!("{path} listens on {address}"))
                .why("the service cannot start while another server holds the address, so it is missing after a failover")
                .cure(format!("sysctl -w {key}=1   # and in /etc/sysctl.d; or listen on all addresses")),
        );
    }
}

fn listens_on(line: &str, address: &str) -> bool {
    let line = line.trim();
    let statement = ["listen ", "bind ", "Listen "].iter().any(|word| line.starts_with(word));
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '.');
    statement
        && line.match_indices(address).any(|(at, _)| {
            let before = line.get(..at).unwrap_or_default();
            let after = line.get(at + address.len()..).unwrap_or_default();
            !before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '.') && ends(after)
        })
}

/// `auth_hmac` with time-based replay protection refuses adverts of a server whose clock is off.
pub fn clock(case: &Case<'_>, found: &mut Vec<Finding>) {
    let window = case.instances().iter().find_map(|i| match &i.auth {
        Auth::Hmac(hmac) => match hmac.replay {
            Replay::Time { window } => Some((i.name.clone(), window)),
            _ => None,
        },
        _ => None,
    });
    let Some((name, window)) = window else { return };
    match case.machine.clock_synchronised() {
        Some(true) => found.push(Finding::new(Weight::Good, "clock", "the clock is synchronised, as auth_hmac needs")),
        Some(false) => found.push(
            Finding::new(Weight::Problem, "clock", format!("{name} uses auth_hmac, and the clock is not synchronised"))
                .why(format!("a server whose clock is off by more than {window} s is not believed: both become master"))
                .cure(
                    "apt install systemd-timesyncd (or chrony); `timedatectl` must say: System clock synchronized: yes",
                ),
        ),
        None => found.push(Finding::new(Weight::Note, "clock", "auth_hmac needs synchronised clocks; could not look")),
    }
}

/// Kernel modules that the configuration needs.
pub fn modules(case: &Case<'_>, found: &mut Vec<Finding>) {
    let instances = case.instances();
    let mut needed: Vec<(String, String)> = super::balance::modules(case);
    let mut need = |module: &str, keyword: &str| needed.push((module.to_owned(), keyword.to_owned()));
    if instances.iter().any(|i| matches!(i.virtual_link, Some(VirtualLink::Vmac { .. }))) {
        need("macvlan", "use_vmac");
    }
    if instances.iter().any(|i| matches!(i.virtual_link, Some(VirtualLink::Ipvlan { .. }))) {
        need("ipvlan", "use_ipvlan");
    }
    if instances.iter().any(|i| !i.accept || i.claim.deny) {
        need("nf_tables", "no_accept");
    }
    if instances.iter().any(|i| i.vrf.is_some()) {
        need("vrf", "vrf");
    }
    let release = case.machine.kernel();
    let directory = format!("/lib/modules/{release}");
    let builtin = case.machine.read(&format!("{directory}/modules.builtin"));
    let loadable = case.machine.read(&format!("{directory}/modules.dep"));
    for (module, keyword) in needed {
        if case.machine.exists(&format!("/sys/module/{module}")) {
            continue;
        }
        let file = format!("/{module}.ko");
        let listed = |text: &Option<String>| text.as_ref().is_some_and(|t| t.contains(&file));
        if listed(&builtin) || listed(&loadable) {
            continue;
        }
        if builtin.is_none() && loadable.is_none() {
            let what = format!("{keyword} needs the kernel module {module}; {directory} is not there to look at");
            found.push(Finding::new(Weight::Note, "module", what).cure(format!("modprobe {module}")));
        } else {
            let finding =
                Finding::new(Weight::Problem, "module", format!("{keyword} needs the kernel module {module}"));
            found.push(finding.why(format!("kernel {release} does not have it")).cure(format!(
                "modprobe {module}; cloud kernels leave it out: install the distribution's generic kernel"
            )));
        }
    }
}

/// AppArmor and SELinux stop scripts without a word in the daemon's own log.
pub fn confinement(case: &Case<'_>, found: &mut Vec<Finding>) {
    let notified =
        |n: &crate::spec::Notify| [&n.backup, &n.master, &n.fault, &n.stop, &n.any].iter().any(|run| run.is_some());
    let scripts = !case.spec.scripts.is_empty()
        || case.instances().iter().any(|i| notified(&i.notify))
        || case.spec.groups.iter().any(|g| notified(&g.notify));
    if let Some(profiles) = case.machine.read("/sys/kernel/security/apparmor/profiles") {
        let hits = profiles.lines().filter(|l| l.contains("keepalived") || l.contains("vipd"));
        for profile in hits.filter(|l| l.ends_with("(enforce)")) {
            found.push(
                Finding::new(Weight::Note, "apparmor", format!("an AppArmor profile confines the daemon: {profile}"))
                    .why(
                        "scripts and files that it does not name are refused; `journalctl -k | grep DENIED` shows them",
                    )
                    .cure("add the scripts to the profile, or aa-complain it"),
            );
        }
    }
    if scripts && case.machine.read("/sys/fs/selinux/enforce").is_some_and(|text| text.trim() == "1") {
        found.push(
            Finding::new(Weight::Note, "selinux", "SELinux is enforcing, and the configuration runs scripts")
                .why("a script without the right label is refused; `ausearch -m avc -c keepalived` shows it")
                .cure("semanage fcontext -a -t keepalived_unconfined_script_exec_t SCRIPT && restorecon SCRIPT"),
        );
    }
}

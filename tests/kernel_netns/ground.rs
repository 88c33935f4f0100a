//! What the tests stand on: a pair of namespaces joined by a veth, the kernel thread in one of them, specs.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use vipd::kernel::namespace;
use vipd::kernel::netlink::{FromKernel, Kernel, Settings, ToKernel};
use vipd::kernel::socket::{self, Sockets};
use vipd::lab::wire;
use vipd::spec::*;
use vipd::time::Time;
use vipd::vrrp::io::{LinkFact, Outcome, Port};
use vipd::wire::{Family, Version, Vrid};

/// May namespaces be made here? Otherwise the reason is printed and the test is over.
pub fn ready(test: &str) -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var_os("VIPD_REQUIRE_NETNS").is_none(), "{test} needs root");
    eprintln!("{test}: skipped, network namespaces need root");
    false
}

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A program to be run. Another process writes it: a descriptor open for writing here would be inherited by whatever
/// another test starts at that moment, and a program that is open for writing cannot be executed.
pub fn install(from: &std::path::Path, to: &std::path::Path) {
    let done = std::process::Command::new("install").args(["-m", "755"]).arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

/// Two namespaces with a cable between their `eth0`; gone with the value.
pub struct Pair {
    pub here: String,
    pub there: String,
}

impl Pair {
    pub fn new() -> Pair {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = format!("vipdk{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let pair = Pair { here: format!("{number}a"), there: format!("{number}b") };
        namespace::create(&pair.here).unwrap();
        namespace::create(&pair.there).unwrap();
        wire::cable(&pair.here, "eth0", &pair.there, "eth0", None).unwrap();
        wire::set_up(&pair.here, "eth0", true).unwrap();
        wire::set_up(&pair.there, "eth0", true).unwrap();
        // The kernel tells of the carrier in its own time, and gives link-local addresses only then.
        for name in [&pair.here, &pair.there] {
            let begun = std::time::Instant::now();
            while !wire::addresses(name, "eth0").unwrap().iter().any(|(address, _)| address.is_ipv6()) {
                assert!(begun.elapsed() < PATIENCE, "no link-local address in {name}");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        pair
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = namespace::delete(&self.here);
        let _ = namespace::delete(&self.there);
    }
}

/// Runs `work` on the calling thread, inside a namespace, in a runtime as the daemon's.
pub fn within<T>(name: &str, work: impl AsyncFnOnce() -> T) -> T {
    namespace::enter(name).unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work())
}

/// The kernel thread and what it says, with a limit on patience (not a timing assertion: a hang must end).
pub struct Running {
    pub kernel: Kernel,
    pub reports: UnboundedReceiver<FromKernel>,
    pub log: Vec<FromKernel>,
}

impl Running {
    pub fn start(settings: Settings) -> Running {
        let (kernel, reports) = Kernel::start(settings).unwrap();
        Running { kernel, reports, log: Vec::new() }
    }

    pub async fn configured(spec: Spec) -> Running {
        let mut running = Running::start(Settings::default());
        running.configure(spec, Vec::new()).await;
        running
    }

    pub async fn configure(&mut self, spec: Spec, carried: Vec<(InstanceId, InstanceId)>) -> Vec<(InstanceId, IfName)> {
        self.kernel.order(ToKernel::Configure { spec: Arc::new(spec), carried });
        match self.until(|r| matches!(r, FromKernel::Configured { .. })).await {
            FromKernel::Configured { links, troubles, .. } => {
                assert!(troubles.is_empty(), "{troubles:?}");
                links
            }
            _ => unreachable!(),
        }
    }

    pub async fn own(&mut self, claim: &Arc<Claim>) {
        self.kernel.order(ToKernel::Own(InstanceId(0), claim.clone()));
        self.until(|r| matches!(r, FromKernel::Applied { outcome: Outcome::Complete, .. })).await;
    }

    /// The next report that `wanted` likes; all are kept in the log.
    pub async fn until(&mut self, wanted: impl Fn(&FromKernel) -> bool) -> FromKernel {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.reports.recv()).await;
            let report = match next {
                Ok(Some(report)) => report,
                other => panic!("{other:?} instead of a report; before: {:#?}", self.tail()),
            };
            self.log.push(report.clone());
            if wanted(&report) {
                return report;
            }
        }
    }

    fn tail(&self) -> &[FromKernel] {
        &self.log[self.log.len().saturating_sub(12)..]
    }

    pub async fn stop(mut self) -> Vec<FromKernel> {
        self.kernel.order(ToKernel::Stop { release: true });
        self.until(|r| matches!(r, FromKernel::Stopped)).await;
        self.kernel.join();
        self.log
    }

    pub fn troubles(&self) -> Vec<String> {
        let texts = self.log.iter().filter_map(|r| match r {
            FromKernel::Trouble(trouble) => Some(trouble.text.to_string()),
            _ => None,
        });
        texts.collect()
    }

    pub fn healed(&self) -> usize {
        self.log.iter().filter(|r| matches!(r, FromKernel::Link(LinkFact::Healed { .. }))).count()
    }
}

/// Opens what is called for, as the kernel thread would, and closes what is not; answers what could not be opened.
pub fn open_all(sockets: &mut Sockets, ports: Vec<(Port, Vec<InstanceId>)>) -> Vec<(Port, String)> {
    let mut failed = Vec::new();
    for opening in sockets.want(&ports, |_| None, Time::ZERO).open {
        let outcome = socket::open(&opening, &sockets.settings()).map(Arc::new);
        failed.extend(outcome.as_ref().err().map(|error| (opening.port.clone(), error.to_string())));
        assert!(sockets.answer(opening, outcome.map_err(|error| error.to_string().into())).is_none());
    }
    failed
}

pub fn name(name: &str) -> IfName {
    IfName::new(name).unwrap()
}

pub fn v4(text: &str, prefix: u8) -> VirtualAddress {
    VirtualAddress::plain(text.parse().unwrap(), prefix)
}

pub fn instance(family: Family, claim: Claim) -> InstanceSpec {
    InstanceSpec {
        name: "VI_1".into(),
        vrid: Vrid::new(51).unwrap(),
        family,
        version: Version::V3,
        interface: IfName::new("eth0"),
        claim: Arc::new(claim),
        ..InstanceSpec::plain()
    }
}

pub fn spec(instances: Vec<InstanceSpec>) -> Spec {
    Spec { instances, ..Spec::default() }
}

/// Runs a program inside a namespace and answers what it prints.
pub fn output(namespace: &str, program: &[&str]) -> String {
    let mut command = std::process::Command::new("ip");
    let output = command.args(["netns", "exec", namespace]).args(program).output().unwrap();
    assert!(output.status.success(), "{program:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The addresses on an interface of a namespace, without link-local ones.
pub fn addresses(namespace: &str, link: &str) -> Vec<IpAddr> {
    let found = wire::addresses(namespace, link).unwrap();
    let local = |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    found.into_iter().map(|(address, _)| address).filter(|address| !local(address)).collect()
}

/// Waits for something that nobody announces.
pub async fn eventually<T>(look: impl Fn() -> Option<T>) -> T {
    let begun = std::time::Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(found) = look() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("what was waited for did not come about");
}

//! What only a master has goes when the instance is none: whenever it appears, at each configuration, and what an earlier
//! run left whatever its configuration was.

use crate::ground::*;
use std::net::IpAddr;
use std::sync::Arc;
use vipd::kernel::netlink::{FromKernel, ToKernel};
use vipd::kernel::socket::{SocketSettings, Sockets};
use vipd::kernel::wait::Bell;
use vipd::lab::wire;
use vipd::spec::*;
use vipd::vrrp::io::{LinkFact, Port};
use vipd::wire::{Family, Priority};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn there(pair: &Pair, address: &str) -> bool {
    addresses(&pair.here, "eth0").contains(&ip(address))
}

fn claim() -> Claim {
    // The second one is excluded from adverts, and no less a master's own.
    Claim { addresses: vec![v4("10.0.0.1", 24), v4("2001:db8::5", 64)], advertised: 1, ..Claim::default() }
}

fn swept(report: &FromKernel) -> bool {
    matches!(report, FromKernel::Link(LinkFact::Swept { .. }))
}

#[test]
fn what_appears_while_nobody_is_master_goes_at_once() {
    if !ready("what_appears") {
        return;
    }
    let pair = Pair::new();
    within(&pair.here, async || {
        let mut running = Running::configured(spec(vec![instance(Family::V4, claim())])).await;
        for (address, prefix) in [("10.0.0.1", 24), ("2001:db8::5", 64)] {
            wire::add_address(&pair.here, "eth0", ip(address), prefix).unwrap();
            let told = running.until(swept).await;
            assert!(format!("{told:?}").contains(&format!("address {address}/{prefix} from eth0")), "{told:?}");
            assert!(!there(&pair, address));
        }
        // Another prefix is another address, and a stranger is nobody's business.
        wire::add_address(&pair.here, "eth0", ip("10.0.0.1"), 32).unwrap();
        wire::add_address(&pair.here, "eth0", ip("10.0.0.9"), 24).unwrap();
        let claim = Arc::new(claim());
        running.own(&claim).await;
        assert!(there(&pair, "2001:db8::5") && there(&pair, "10.0.0.9"));
        let log = running.stop().await;
        assert_eq!(log.iter().filter(|report| swept(report)).count(), 2);
    });
}

#[test]
fn what_is_there_goes_with_the_configuration_that_brings_its_instance() {
    if !ready("what_is_there") {
        return;
    }
    let pair = Pair::new();
    let first = Claim { addresses: vec![v4("10.0.0.7", 24)], ..Claim::default() };
    within(&pair.here, async || {
        let mut running = Running::configured(spec(vec![instance(Family::V4, first.clone())])).await;
        let owned = Arc::new(first.clone());
        running.own(&owned).await;
        wire::add_address(&pair.here, "eth0", ip("10.0.0.1"), 24).unwrap();
        wire::add_address(&pair.here, "eth0", ip("2001:db8::5"), 64).unwrap();
        let both = spec(vec![instance(Family::V4, first), instance(Family::V4, claim())]);
        running.configure(both, vec![(InstanceId(0), InstanceId(0))]).await;
        assert!(!there(&pair, "10.0.0.1") && !there(&pair, "2001:db8::5"));
        assert!(there(&pair, "10.0.0.7"), "a master's stays");
        running.stop().await;
    });
}

#[test]
fn an_address_that_another_instance_owns_or_speaks_from_stays() {
    if !ready("an_address_that_another") {
        return;
    }
    let pair = Pair::new();
    within(&pair.here, async || {
        wire::add_address(&pair.here, "eth0", ip("10.0.0.2"), 24).unwrap();
        let shared = Claim { addresses: vec![v4("10.0.0.1", 24), v4("10.0.0.2", 24)], ..Claim::default() };
        let mut speaks = instance(Family::V4, Claim::default());
        speaks.source = Some(ip("10.0.0.2"));
        // An owner's addresses are the machine's.
        let own = Claim { addresses: vec![v4("10.0.0.3", 24)], ..Claim::default() };
        let owner = InstanceSpec { priority: Priority::OWNER, ..instance(Family::V4, own) };
        wire::add_address(&pair.here, "eth0", ip("10.0.0.3"), 24).unwrap();
        let all = vec![instance(Family::V4, claim()), instance(Family::V4, shared), speaks, owner];
        let mut running = Running::configured(spec(all)).await;
        assert!(there(&pair, "10.0.0.2") && there(&pair, "10.0.0.3"));
        running.own(&Arc::new(claim())).await;
        let all = running.stop().await;
        assert!(!all.iter().any(swept), "{all:#?}");
    });
}

#[test]
fn who_puts_it_back_for_ever_is_left_alone_for_a_while() {
    if !ready("who_puts_it_back") {
        return;
    }
    let pair = Pair::new();
    within(&pair.here, async || {
        let mut running = Running::configured(spec(vec![instance(Family::V4, claim())])).await;
        let here = pair.here.clone();
        let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let fight = over.clone();
        let foe = std::thread::spawn(move || {
            while !fight.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = wire::add_address(&here, "eth0", ip("10.0.0.1"), 24);
            }
        });
        let tired =
            |r: &FromKernel| matches!(r, FromKernel::Trouble(trouble) if trouble.text.contains("left alone for 1 s"));
        running.until(tired).await;
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        foe.join().unwrap();
        assert!(running.log.iter().filter(|report| swept(report)).count() >= 20);
        eventually(|| (!there(&pair, "10.0.0.1")).then_some(())).await;
        running.stop().await;
    });
}

/// Another file, another table, another instance: it goes all the same, by what marks it.
#[test]
fn what_a_killed_run_left_goes_whatever_its_configuration_was() {
    if !ready("what_a_killed_run_left") {
        return;
    }
    let pair = Pair::new();
    let mut of = instance(Family::V4, Claim { addresses: vec![v4("10.0.0.1", 24)], deny: true, ..Claim::default() });
    of.virtual_link = Some(VirtualLink::Vmac {
        name: None,
        prefix: "vrrp".into(),
        mac: [0, 0, 0x5e, 0, 1, 51],
        netlink_notify: false,
        group: None,
    });
    within(&pair.here, async || {
        let owned = of.claim.clone();
        let mut killed = Running::configured(spec(vec![of.clone()])).await;
        killed.own(&owned).await;
        // A kernel thread whose orders are dropped ends and leaves everything as it is.
        killed.kernel.join();
        for line in ["route add 10.77.0.0/16 dev eth0 proto 18", "rule add from 10.66.0.1 table 100 pref 999 proto 18"]
        {
            output(&pair.here, &[&["ip"], &line.split(' ').collect::<Vec<_>>()[..]].concat());
        }
        output(&pair.here, &["ip", "rule", "add", "from", "10.66.0.2", "table", "100", "pref", "998"]);
        let nft = || output(&pair.here, &["nft", "list", "tables"]);
        assert!(nft().contains("keepalived"), "{}", nft());
        let other = Claim { addresses: vec![v4("10.0.0.2", 24)], ..Claim::default() };

        // Whoever else speaks VRRP here may be the one that these belong to.
        let mut sockets = Sockets::new(SocketSettings::default(), Bell::new().unwrap()).unwrap();
        let eth0 = Some(wire::index(&pair.here, "eth0").unwrap());
        let (group, local) = (Some(ip("224.0.0.18")), None);
        let port = Port { family: Family::V4, ifindex: eth0, group, local, protocol: 112 };
        assert!(open_all(&mut sockets, vec![(port, vec![InstanceId(0)])]).is_empty());
        let removals = |log: &[FromKernel]| {
            let text = |report: &FromKernel| match report {
                FromKernel::Trouble(trouble) if trouble.text.contains("10.0.0.2") => Some(trouble.text.clone()),
                _ => None,
            };
            log.iter().filter_map(text).collect::<Vec<_>>().join("; ")
        };
        let add = || wire::add_address(&pair.here, "eth0", ip("10.0.0.2"), 24).unwrap();
        add();
        let careful = Running::configured(spec(vec![instance(Family::V4, other.clone())])).await;
        assert!(wire::index(&pair.here, "vrrp.51").is_ok());
        let said = removals(&careful.stop().await);
        assert!(said.contains("Another program here speaks VRRP") && !said.contains("earlier run"), "{said}");
        drop(sockets);

        add();
        let alone = Running::configured(spec(vec![instance(Family::V4, other)])).await;
        assert!(wire::index(&pair.here, "vrrp.51").is_err());
        assert!(!nft().contains("keepalived"), "{}", nft());
        assert!(!output(&pair.here, &["ip", "route"]).contains("10.77."));
        let rules = output(&pair.here, &["ip", "rule"]);
        assert!(!rules.contains("10.66.0.1") && rules.contains("10.66.0.2"), "{rules}");
        let said = removals(&alone.stop().await);
        assert!(said.contains("left by an earlier run"), "{said}");
    });
}

#[test]
fn firewall_tables_that_are_flushed_come_back() {
    if !ready("firewall_tables") {
        return;
    }
    let pair = Pair::new();
    let claim = Claim { addresses: vec![v4("10.0.0.1", 24)], deny: true, ..Claim::default() };
    within(&pair.here, async || {
        let mut running = Running::configured(spec(vec![instance(Family::V4, claim.clone())])).await;
        running.own(&Arc::new(claim)).await;
        let whole = || output(&pair.here, &["nft", "list", "ruleset"]).contains("elements = { 10.0.0.1 }");
        for command in [&["nft", "flush", "ruleset"][..], &["nft", "flush", "set", "ip", "keepalived", "vips"]] {
            eventually(|| whole().then_some(())).await;
            output(&pair.here, command);
        }
        eventually(|| whole().then_some(())).await;
        running.kernel.order(ToKernel::Disown(InstanceId(0)));
        let log = running.stop().await;
        let said = |r: &&FromKernel| matches!(r, FromKernel::Trouble(trouble) if trouble.text.contains("made again"));
        assert_eq!(log.iter().filter(said).count(), 1, "said once");
    });
}

#[test]
fn a_vmac_that_is_to_have_another_name_or_address_keeps_what_is_on_it() {
    if !ready("a_vmac_that_is_to_have_another_name") {
        return;
    }
    let pair = Pair::new();
    let of = |label: Option<&str>, mac: [u8; 6]| {
        let mut of = instance(Family::V4, Claim { addresses: vec![v4("10.0.0.1", 24)], ..Claim::default() });
        of.virtual_link = Some(VirtualLink::Vmac {
            name: label.map(name),
            prefix: "vrrp".into(),
            mac,
            netlink_notify: false,
            group: None,
        });
        spec(vec![of])
    };
    let router = [0, 0, 0x5e, 0, 1, 51];
    within(&pair.here, async || {
        let mut running = Running::configured(of(None, router)).await;
        let claim = Arc::new(Claim { addresses: vec![v4("10.0.0.1", 24)], ..Claim::default() });
        running.own(&claim).await;
        let index = wire::index(&pair.here, "vrrp.51").unwrap();
        running.log.clear();
        let own = [2, 0, 0x5e, 0, 1, 0x33];
        for mac in [router, own] {
            running.configure(of(Some("vrx"), mac), vec![(InstanceId(0), InstanceId(0))]).await;
            assert_eq!(wire::index(&pair.here, "vrx").unwrap(), index);
            assert_eq!(wire::mac(&pair.here, "vrx").unwrap(), Some(mac));
            assert!(wire::index(&pair.here, "vrrp.51").is_err());
            assert_eq!(addresses(&pair.here, "vrx"), [ip("10.0.0.1")]);
        }
        let went = |r: &FromKernel| matches!(r, FromKernel::Link(LinkFact::AddressGone { .. }));
        assert!(!running.log.iter().any(went), "{:#?}", running.log);
        running.stop().await;
        assert!(wire::index(&pair.here, "vrx").is_err());
    });
}

fn own_vmac(mac: [u8; 6], label: &str) -> Option<VirtualLink> {
    Some(VirtualLink::Vmac { name: Some(name(label)), prefix: "vrrp".into(), mac, netlink_notify: false, group: None })
}

/// Neither its name nor its MAC address says whose a VMAC is, nor the name of a table; and settings have no mark at all.
#[test]
fn leftovers_under_names_of_an_operators_own_go_and_settings_are_put_back() {
    if !ready("leftovers_under_names") {
        return;
    }
    let pair = Pair::new();
    let record = std::env::temp_dir().join(format!("{}.sysctl", pair.here));
    let settings = || vipd::kernel::netlink::Settings { sysctl_record: Some(record.clone()), ..Default::default() };
    let mut of = instance(Family::V4, Claim { addresses: vec![v4("10.0.0.1", 24)], deny: true, ..Claim::default() });
    of.virtual_link = own_vmac([2, 0, 0, 0, 0, 0x11], "own0");
    within(&pair.here, async || {
        let arp = || output(&pair.here, &["cat", "/proc/sys/net/ipv4/conf/eth0/arp_ignore"]).trim().to_owned();
        let before = arp();
        let owned = of.claim.clone();
        let mut wanted = spec(vec![of]);
        wanted.daemon.nftables.table = Some("mytable".into());
        let mut killed = Running::start(settings());
        killed.configure(wanted, Vec::new()).await;
        killed.own(&owned).await;
        killed.kernel.join();
        assert_eq!(arp(), "1");
        // Alike, and not ours: somebody's own chain is in it.
        for line in ["add table ip theirs", "add set ip theirs vips { type ipv4_addr; }", "add chain ip theirs mine"] {
            output(&pair.here, &["nft", line]);
        }
        output(&pair.here, &["ip", "link", "add", "mine0", "link", "eth0", "type", "macvlan", "mode", "private"]);
        let tables = || output(&pair.here, &["nft", "list", "tables"]);
        assert!(tables().contains("mytable"), "{}", tables());
        assert!(wire::index(&pair.here, "own0").is_ok());

        let other = Claim { addresses: vec![v4("10.0.0.2", 24)], ..Claim::default() };
        let mut next = Running::start(settings());
        next.configure(spec(vec![instance(Family::V4, other)]), Vec::new()).await;
        assert!(wire::index(&pair.here, "own0").is_err(), "{:?}", next.troubles());
        assert!(wire::index(&pair.here, "mine0").is_ok());
        assert!(!tables().contains("mytable") && tables().contains("theirs"), "{}", tables());
        assert_eq!(arp(), before);
        assert!(!record.exists());
        next.stop().await;
    });
}

/// What an instance gives up in the reload that takes it away was put there by nobody else.
#[test]
fn what_a_reload_takes_away_is_not_called_another_programs() {
    if !ready("what_a_reload_takes_away") {
        return;
    }
    let pair = Pair::new();
    within(&pair.here, async || {
        let mut running = Running::configured(spec(vec![instance(Family::V4, claim())])).await;
        running.own(&Arc::new(claim())).await;
        let next = InstanceSpec { name: "W".into(), ..instance(Family::V4, claim()) };
        running.configure(spec(vec![next]), Vec::new()).await;
        assert!(!there(&pair, "10.0.0.1"));
        let log = running.stop().await;
        assert!(!log.iter().any(swept), "{log:#?}");
    });
}

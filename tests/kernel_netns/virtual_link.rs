//! VMACs and ipvlans, the firewall that goes with them, and announcements.

use crate::ground::*;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use vipd::kernel::namespace;
use vipd::kernel::netlink::{FromKernel, ToKernel};
use vipd::kernel::socket::{SocketSettings, Sockets};
use vipd::kernel::wait::Bell;
use vipd::lab::observer::{Observer, What};
use vipd::lab::wire;
use vipd::spec::*;
use vipd::time::Interval;
use vipd::vrrp::io::{Announce, LinkFact, Outcome, Port};
use vipd::wire::Family;

fn vmac(family: Family) -> VirtualLink {
    let fifth = if family == Family::V4 { 1 } else { 2 };
    VirtualLink::Vmac {
        name: None,
        prefix: "vrrp".into(),
        mac: [0, 0, 0x5e, 0, fifth, 51],
        netlink_notify: false,
        group: None,
    }
}

fn on_vmac(family: Family, claim: Claim) -> InstanceSpec {
    InstanceSpec { virtual_link: Some(vmac(family)), ..instance(family, claim) }
}

fn sysctl(namespace: &str, path: &str) -> String {
    output(namespace, &["cat", &format!("/proc/sys/net/{path}")]).trim().to_owned()
}

#[test]
fn a_vmac_is_made_carries_the_addresses_and_goes() {
    if !ready("a_vmac") {
        return;
    }
    let pair = Pair::new();
    let claim = Arc::new(Claim { addresses: vec![v4("10.0.0.1", 24)], ..Claim::default() });
    within(&pair.here, async || {
        let before = sysctl(&pair.here, "ipv4/conf/eth0/arp_ignore");
        let six = Claim { addresses: vec![v4("2001:db8::1", 64)], ..Claim::default() };
        let wanted = spec(vec![on_vmac(Family::V4, (*claim).clone()), on_vmac(Family::V6, six)]);
        let mut running = Running::start(Default::default());
        let links = running.configure(wanted.clone(), Vec::new()).await;
        // The second is for IPv6: 6 is tried first.
        assert_eq!(links, [(InstanceId(0), name("vrrp.51")), (InstanceId(1), name("vrrp6.51"))]);
        running.own(&claim).await;
        assert_eq!(addresses(&pair.here, "vrrp.51"), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert!(addresses(&pair.here, "eth0").is_empty());
        assert_eq!(wire::mac(&pair.here, "vrrp.51").unwrap(), Some([0, 0, 0x5e, 0, 1, 51]));
        assert_eq!(wire::mac(&pair.here, "vrrp6.51").unwrap(), Some([0, 0, 0x5e, 0, 2, 51]));
        let shown = output(&pair.here, &["ip", "-d", "link", "show", "vrrp.51"]);
        assert!(shown.contains("macvlan mode private") && shown.contains("addrgenmode none"), "{shown}");
        // The IPv6 one has the parent's link-local address to speak with, and no other.
        let local = |link| -> Vec<IpAddr> {
            wire::addresses(&pair.here, link).unwrap().into_iter().map(|(a, _)| a).filter(IpAddr::is_ipv6).collect()
        };
        assert_eq!(local("vrrp6.51"), local("eth0"));
        for (path, value) in [
            ("ipv4/conf/vrrp.51/rp_filter", "0"),
            ("ipv4/conf/vrrp.51/accept_local", "1"),
            ("ipv4/conf/vrrp.51/arp_ignore", "1"),
            ("ipv4/conf/vrrp.51/promote_secondaries", "1"),
            ("ipv6/conf/vrrp.51/disable_ipv6", "1"),
            ("ipv6/conf/vrrp6.51/disable_ipv6", "0"),
            ("ipv4/conf/eth0/arp_ignore", "1"),
            ("ipv4/conf/eth0/arp_filter", "1"),
        ] {
            assert_eq!(sysctl(&pair.here, path), value, "{path}");
        }
        // A reload keeps both; the names stay.
        let carried = vec![(InstanceId(0), InstanceId(0)), (InstanceId(1), InstanceId(1))];
        assert_eq!(running.configure(wanted, carried).await, links);
        assert_eq!(addresses(&pair.here, "vrrp.51").len(), 1);
        // Removed by somebody, it is made again with all that was on it, and the engine is told.
        let old = wire::index(&pair.here, "vrrp.51").unwrap();
        wire::remove_link(&pair.here, "vrrp.51").unwrap();
        running
            .until(|r| match r {
                FromKernel::Link(LinkFact::Dump(links)) => {
                    links.iter().any(|l| l.name.as_str() == "vrrp.51" && l.index != old)
                }
                _ => false,
            })
            .await;
        running.until(|r| matches!(r, FromKernel::Applied { outcome: Outcome::Complete, .. })).await;
        assert_eq!(addresses(&pair.here, "vrrp.51").len(), 1);
        // How it came into being is no news on top of that: whatever is told of it from there on is as it is.
        let marker = v4("192.0.2.77", 32).address;
        wire::add_address(&pair.here, "eth0", marker, 32).unwrap();
        let told_of_marker = |report: &FromKernel| matches!(report, FromKernel::Link(LinkFact::Address { address, .. }) if address.address == marker);
        let begun = running.log.len();
        running.until(told_of_marker).await;
        let made = running.log[..begun].iter().rposition(|r| matches!(r, FromKernel::Link(LinkFact::Dump(_)))).unwrap();
        let states = running.log[made..].iter().filter_map(|r| match r {
            FromKernel::Link(LinkFact::Changed(link)) if link.name.as_str() == "vrrp.51" => {
                Some(link.up && link.running)
            }
            _ => None,
        });
        assert!(states.into_iter().all(|up| up), "{:#?}", &running.log[made..]);
        // A reload that wants the second only: the first goes, and what was set for it on the parent.
        let six = Claim { addresses: vec![v4("2001:db8::1", 64)], ..Claim::default() };
        let links = running.configure(spec(vec![on_vmac(Family::V6, six)]), vec![(InstanceId(1), InstanceId(0))]).await;
        assert_eq!(links, [(InstanceId(0), name("vrrp6.51"))]);
        // Not before the router on it has said goodbye.
        assert!(wire::index(&pair.here, "vrrp.51").is_ok());
        running.kernel.order(ToKernel::Tidy);
        running.configure(Spec::default(), Vec::new()).await;
        assert!(wire::index(&pair.here, "vrrp.51").is_err());
        assert_eq!(sysctl(&pair.here, "ipv4/conf/eth0/arp_ignore"), before);
        running.stop().await;
        assert!(wire::index(&pair.here, "vrrp.51").is_err());
        assert!(wire::index(&pair.here, "vrrp6.51").is_err());
        assert_eq!(sysctl(&pair.here, "ipv4/conf/eth0/arp_ignore"), before);
    });
}

/// As it is in most containers. Without these settings the parent answers for the virtual address with its own MAC address.
#[test]
fn a_vmac_is_as_it_should_be_where_proc_sys_is_read_only() {
    if !ready("a_vmac_is_as_it_should_be") {
        return;
    }
    let pair = Pair::new();
    let all = "/proc/sys/net/ipv4/conf/all/rp_filter";
    namespace::inside(&pair.here, || std::fs::write(all, "1")).unwrap();
    let work = async || {
        let settings = [
            ("eth0/arp_ignore", "1"),
            ("eth0/arp_filter", "1"),
            ("eth0/promote_secondaries", "1"),
            ("vrrp.51/arp_ignore", "1"),
            ("vrrp.51/accept_local", "1"),
            // That of `all` cannot be lowered.
            ("vrrp.51/rp_filter", "2"),
            ("vrrp.51/promote_secondaries", "1"),
        ];
        let shown = |setting: &str| sysctl(&pair.here, &format!("ipv4/conf/{setting}"));
        let of_parent = || settings.iter().filter(|(setting, _)| setting.starts_with("eth0")).map(|(s, _)| shown(s));
        let before: Vec<String> = of_parent().collect();
        let claim = || Claim { addresses: vec![v4("10.0.0.1", 24)], ..Claim::default() };
        let promoting =
            InstanceSpec { name: "P".into(), promote_secondaries: true, ..instance(Family::V4, Claim::default()) };
        let mut running = Running::start(Default::default());
        running.configure(spec(vec![on_vmac(Family::V4, claim()), promoting]), Vec::new()).await;
        for (setting, value) in settings {
            assert_eq!(shown(setting), value, "{setting}");
        }
        running.stop().await;
        assert_eq!(of_parent().collect::<Vec<_>>(), before);
        assert_eq!(before[0], "0");
    };
    // The mounts are those of a thread of its own.
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            namespace::enter(&pair.here).unwrap();
            namespace::private_mounts().unwrap();
            for options in [["--bind", "/proc/sys"], ["-o", "remount,bind,ro"]] {
                let mount = std::process::Command::new("mount").args(options).arg("/proc/sys").status().unwrap();
                assert!(mount.success());
            }
            assert!(std::fs::write(all, "1").is_err());
            within(&pair.here, work);
        });
        done.join().unwrap();
    });
}

#[test]
fn a_vmac_of_a_dead_run_is_taken_over_with_its_name() {
    if !ready("a_vmac_of_a_dead_run") {
        return;
    }
    let pair = Pair::new();
    output(
        &pair.here,
        &[
            "ip",
            "link",
            "add",
            "link",
            "eth0",
            "name",
            "old.51",
            "address",
            "00:00:5e:00:01:33",
            "type",
            "macvlan",
            "mode",
            "private",
        ],
    );
    let index = wire::index(&pair.here, "old.51").unwrap();
    // Another device has the name that would be chosen for the next.
    output(&pair.here, &["ip", "link", "add", "vrrp.52", "type", "veth", "peer", "name", "other"]);
    within(&pair.here, async || {
        let mut other = on_vmac(Family::V4, Claim::default());
        other.vrid = vipd::wire::Vrid::new(52).unwrap();
        if let Some(VirtualLink::Vmac { mac, .. }) = &mut other.virtual_link {
            mac[5] = 52;
        }
        let mut running = Running::start(Default::default());
        let links = running.configure(spec(vec![on_vmac(Family::V4, Claim::default()), other]), Vec::new()).await;
        assert_eq!(links, [(InstanceId(0), name("old.51")), (InstanceId(1), name("vrrp1.52"))]);
        assert_eq!(wire::index(&pair.here, "old.51").unwrap(), index);
        running.stop().await;
        assert!(wire::index(&pair.here, "old.51").is_err());
        assert!(wire::index(&pair.here, "vrrp.52").is_ok());
    });
}

#[test]
fn an_ipvlan_is_made_with_its_address() {
    if !ready("an_ipvlan") {
        return;
    }
    let pair = Pair::new();
    let probe = ["netns", "exec", &pair.here, "ip", "link", "add", "link", "eth0", "name", "probe", "type", "ipvlan"];
    if !std::process::Command::new("ip").args(probe).output().unwrap().status.success() {
        eprintln!("an_ipvlan: skipped, this kernel has none");
        return;
    }
    wire::remove_link(&pair.here, "probe").unwrap();
    within(&pair.here, async || {
        let address = "10.9.0.1".parse().unwrap();
        let link = VirtualLink::Ipvlan {
            name: Some(name("ipv1")),
            prefix: "vrrp".into(),
            address: Some((address, 24)),
            mode: IpvlanMode::Private,
            group: Some(7),
        };
        let wanted = InstanceSpec { virtual_link: Some(link), ..instance(Family::V4, Claim::default()) };
        let mut running = Running::start(Default::default());
        let links = running.configure(spec(vec![wanted]), Vec::new()).await;
        assert_eq!(links, [(InstanceId(0), name("ipv1"))]);
        assert_eq!(addresses(&pair.here, "ipv1"), [address]);
        let shown = output(&pair.here, &["ip", "-d", "link", "show", "ipv1"]);
        assert!(shown.contains("ipvlan mode l2 private") && shown.contains("group 7"), "{shown}");
        running.stop().await;
        assert!(wire::index(&pair.here, "ipv1").is_err());
    });
}

#[test]
fn ipvlans_without_a_name_keep_the_ones_that_they_were_given() {
    if !ready("ipvlan_names") {
        return;
    }
    let pair = Pair::new();
    let probe = ["netns", "exec", &pair.here, "ip", "link", "add", "link", "eth0", "name", "probe", "type", "ipvlan"];
    if !std::process::Command::new("ip").args(probe).output().unwrap().status.success() {
        eprintln!("ipvlan_names: skipped, this kernel has none");
        return;
    }
    wire::remove_link(&pair.here, "probe").unwrap();
    output(&pair.here, &["ip", "link", "add", "vrrp.51", "type", "veth", "peer", "name", "other"]);
    within(&pair.here, async || {
        let ipvlan = |family| {
            let link = VirtualLink::Ipvlan {
                name: None,
                prefix: "vrrp".into(),
                address: None,
                mode: IpvlanMode::Bridge,
                group: None,
            };
            InstanceSpec { virtual_link: Some(link), ..instance(family, Claim::default()) }
        };
        let (four, six) = (ipvlan(Family::V4), ipvlan(Family::V6));
        let mut running = Running::start(Default::default());
        let links = running.configure(spec(vec![four.clone(), six.clone()]), Vec::new()).await;
        assert_eq!(links, [(InstanceId(0), name("vrrp1.51")), (InstanceId(1), name("vrrp6.51"))]);
        let index = |label: &str| wire::index(&pair.here, label).unwrap();
        let before = (index("vrrp1.51"), index("vrrp6.51"));
        // The other order: each has what it had.
        let turned = vec![(InstanceId(0), InstanceId(1)), (InstanceId(1), InstanceId(0))];
        let links = running.configure(spec(vec![six, four]), turned).await;
        assert_eq!(links, [(InstanceId(0), name("vrrp6.51")), (InstanceId(1), name("vrrp1.51"))]);
        assert_eq!(before, (index("vrrp1.51"), index("vrrp6.51")));
        running.stop().await;
        assert!(wire::index(&pair.here, "vrrp1.51").is_err() && wire::index(&pair.here, "vrrp.51").is_ok());
    });
}

/// Without a first announcement of its own accord.
fn only_when_told(of: InstanceSpec) -> InstanceSpec {
    InstanceSpec { garp: Garp { repeat: 0, ..of.garp }, ..of }
}

#[test]
fn what_comes_is_announced_once_before_anybody_asks() {
    if !ready("announced_at_once") {
        return;
    }
    let pair = Pair::new();
    let claim = Arc::new(Claim { addresses: vec![v4("10.0.0.1", 24), v4("10.0.0.2", 24)], ..Claim::default() });
    let spaced = Pacing { garp: Interval::from_secs(1), ..Pacing::default() };
    for (pacing, at_once) in [(Vec::new(), true), (vec![spaced], false)] {
        within(&pair.here, async || {
            let mut observer = Observer::new(&pair.there, "eth0").unwrap();
            let spec = Spec { pacing, ..spec(vec![instance(Family::V4, (*claim).clone())]) };
            let mut running = Running::configured(spec).await;
            running.own(&claim).await;
            let told = |report: &FromKernel| match report {
                FromKernel::Applied { outcome: Outcome::Ready { announced, .. }, .. } => Some(*announced),
                _ => None,
            };
            assert_eq!(running.log.iter().find_map(told), Some(at_once));
            // Of each one what came by itself, and the one that is asked for at the end.
            running.kernel.order(ToKernel::Announce(Announce {
                instance: InstanceId(0),
                addresses: 0..2,
                begins: true,
            }));
            let each = 1 + usize::from(at_once);
            let mut seen: Vec<IpAddr> = Vec::new();
            while seen.len() < 2 * each {
                if let What::GratuitousArp { address } = observer.next(PATIENCE).unwrap().expect("an announcement").what
                {
                    seen.push(IpAddr::V4(address));
                }
            }
            let addresses = claim.addresses.iter().map(|address| address.address).cycle();
            assert_eq!(seen, addresses.take(2 * each).collect::<Vec<_>>());
            running.stop().await;
        });
    }
}

#[test]
fn what_is_claimed_is_announced_with_the_address_of_its_link() {
    if !ready("announcements") {
        return;
    }
    let pair = Pair::new();
    let claim = Arc::new(Claim {
        addresses: vec![v4("10.0.0.1", 24), v4("10.0.0.2", 24), v4("10.0.0.3", 24), v4("2001:db8::1", 64)],
        ..Claim::default()
    });
    within(&pair.here, async || {
        let mut observer = Observer::new(&pair.there, "eth0").unwrap();
        let mut running = Running::start(Default::default());
        running.configure(spec(vec![only_when_told(on_vmac(Family::V4, (*claim).clone()))]), Vec::new()).await;
        running.own(&claim).await;
        running.kernel.order(ToKernel::Announce(Announce { instance: InstanceId(0), addresses: 1..4, begins: true }));
        let parent = wire::mac(&pair.here, "eth0").unwrap().unwrap();
        let virtual_mac = [0, 0, 0x5e, 0, 1, 51];
        let mut wanted: BTreeSet<(IpAddr, [u8; 6])> = BTreeSet::from([
            ("10.0.0.2".parse().unwrap(), virtual_mac),
            ("10.0.0.3".parse().unwrap(), virtual_mac),
            // Of the other family: on the interface itself, with its own MAC address.
            ("2001:db8::1".parse().unwrap(), parent),
        ]);
        while !wanted.is_empty() {
            let seen = observer.next(PATIENCE).unwrap().expect("an announcement");
            let address = match seen.what {
                What::GratuitousArp { address } => IpAddr::V4(address),
                What::NeighbourAdvertisement { address } => IpAddr::V6(address),
                What::Advert { .. } => continue,
            };
            assert_ne!(address, claim.addresses[0].address, "was not asked for");
            wanted.remove(&(address, seen.mac));
            assert!(!seen.at.is_zero());
        }
        running.stop().await;
    });
}

/// keepalived says nothing there, and nothing is wrong with it.
#[test]
fn an_interface_without_arp_announces_nothing() {
    if !ready("no_arp") {
        return;
    }
    let pair = Pair::new();
    let claim = Arc::new(Claim { addresses: vec![v4("10.0.0.1", 24), v4("10.0.0.2", 24)], ..Claim::default() });
    within(&pair.here, async || {
        let mut observer = Observer::new(&pair.there, "eth0").unwrap();
        let mut running = Running::start(Default::default());
        running.configure(spec(vec![only_when_told(instance(Family::V4, (*claim).clone()))]), Vec::new()).await;
        running.own(&claim).await;
        for (word, arp, addresses) in [("off", false, 0..1), ("on", true, 1..2)] {
            output(&pair.here, &["ip", "link", "set", "eth0", "arp", word]);
            running.until(|r| matches!(r, FromKernel::Link(LinkFact::Changed(link)) if link.arp == arp)).await;
            running.kernel.order(ToKernel::Announce(Announce { instance: InstanceId(0), addresses, begins: true }));
        }
        // The second one is heard, and nothing came before it.
        let first = loop {
            match observer.next(PATIENCE).unwrap().expect("an announcement").what {
                What::GratuitousArp { address } => break address,
                _ => continue,
            }
        };
        assert_eq!(IpAddr::V4(first), claim.addresses[1].address);
        assert_eq!(running.troubles(), [""; 0]);
        running.stop().await;
    });
}

#[test]
fn packets_to_denied_addresses_are_dropped_while_owned() {
    if !ready("denied_addresses") {
        return;
    }
    let pair = Pair::new();
    wire::add_address(&pair.there, "eth0", "10.0.0.9".parse().unwrap(), 24).unwrap();
    wire::add_address(&pair.there, "eth0", "2001:db8::9".parse().unwrap(), 64).unwrap();
    // A connection that is refused has been answered; one that is dropped has not.
    let answers = |address: &str| {
        let to = std::net::SocketAddr::new(address.parse().unwrap(), 9);
        let tried = namespace::inside(&pair.there, || {
            Ok(std::net::TcpStream::connect_timeout(&to, Duration::from_millis(700)).map_err(|e| e.kind()))
        });
        matches!(tried.unwrap(), Err(std::io::ErrorKind::ConnectionRefused))
    };
    // Neighbours on a link that has just come up find each other at the second or third try.
    let in_the_end = |address: &str| (0..20).any(|_| answers(address));
    let open = Arc::new(Claim { addresses: vec![v4("10.0.0.1", 24), v4("2001:db8::1", 64)], ..Claim::default() });
    let denied = Arc::new(Claim { deny: true, ..(*open).clone() });
    within(&pair.here, async || {
        let mut running = Running::configured(spec(vec![instance(Family::V4, (*open).clone())])).await;
        running.own(&open).await;
        assert!(in_the_end("10.0.0.1") && in_the_end("2001:db8::1"));
        running.own(&denied).await;
        // Told complete before the firewall is asked? The next order is answered after it.
        running.own(&denied).await;
        assert!(running.troubles().is_empty(), "{:?}", running.troubles());
        assert!(!answers("10.0.0.1") && !answers("2001:db8::1"));
        running.own(&open).await;
        running.own(&open).await;
        assert!(in_the_end("10.0.0.1") && in_the_end("2001:db8::1"));
        running.stop().await;
    });
}

#[test]
fn no_group_membership_leaves_by_the_vmac() {
    if !ready("group_membership") {
        return;
    }
    let pair = Pair::new();
    let heard = namespace::inside(&pair.there, || {
        let ip = i32::from((libc::ETH_P_IP as u16).to_be());
        socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::RAW, Some(ip.into()))
    })
    .unwrap();
    within(&pair.here, async || {
        let mut running = Running::start(Default::default());
        running.configure(spec(vec![on_vmac(Family::V4, Claim::default())]), Vec::new()).await;
        assert!(running.troubles().is_empty(), "{:?}", running.troubles());
        let table = output(&pair.here, &["nft", "list", "table", "ip", "keepalived"]);
        assert!(table.contains("elements = { \"vrrp.51\" : \"eth0\" }"), "{table}");
        // Joining the group sends a report: by the parent, with the parent's address.
        let mut sockets = Sockets::new(SocketSettings::default(), Bell::new().unwrap()).unwrap();
        let port = Port {
            family: Family::V4,
            ifindex: Some(wire::index(&pair.here, "vrrp.51").unwrap()),
            group: Some("224.0.0.18".parse().unwrap()),
            local: None,
            protocol: 112,
        };
        assert!(open_all(&mut sockets, vec![(port, vec![InstanceId(0)])]).is_empty());
        let parent = wire::mac(&pair.here, "eth0").unwrap().unwrap();
        heard.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut by_parent = false;
        let mut frame = [std::mem::MaybeUninit::new(0u8); 256];
        while !by_parent {
            let length = heard.recv(&mut frame).expect("a membership report");
            // SAFETY: all of it is initialised above.
            let frame: Vec<u8> = frame[..length].iter().map(|byte| unsafe { byte.assume_init() }).collect();
            // An IGMPv3 report that names the group (records begin at 14 + 24 + 8).
            if frame[23] == 2 && frame.windows(4).any(|w| w == [224, 0, 0, 18]) {
                assert_eq!(frame[6..12], parent, "the virtual MAC address was shown to the switches");
                by_parent = true;
            }
        }
        running.stop().await;
        let tables = output(&pair.here, &["nft", "list", "tables"]);
        assert!(!tables.contains("keepalived"), "{tables}");
    });
}

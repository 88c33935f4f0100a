//! What `no_accept` does to link-local addresses, when the firewall opens, and carrier that is asked for.

use crate::ground::*;
use std::net::{IpAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;
use vipd::kernel::namespace;
use vipd::kernel::netlink::{FromKernel, ToKernel};
use vipd::lab::observer::{Observer, What};
use vipd::lab::wire;
use vipd::spec::*;
use vipd::vrrp::io::{LinkFact, Outcome};
use vipd::wire::Family;

fn table(pair: &Pair) -> String {
    output(&pair.here, &["nft", "list", "table", "ip6", "keepalived"])
}

/// Does somebody on the other side get an answer from a link-local address? A refusal is an answer.
fn answers(pair: &Pair, address: &str) -> bool {
    let scope = wire::index(&pair.there, "eth0").unwrap();
    let to = SocketAddrV6::new(address.parse().unwrap(), 9, 0, scope);
    let tried = namespace::inside(&pair.there, || {
        Ok(std::net::TcpStream::connect_timeout(&to.into(), Duration::from_millis(700)).map_err(|e| e.kind()))
    });
    matches!(tried.unwrap(), Err(std::io::ErrorKind::ConnectionRefused))
}

#[test]
fn a_denied_link_local_address_is_denied_on_its_own_interface() {
    if !ready("denied_link_local") {
        return;
    }
    // Each in a thread of its own: who has entered a namespace stays there.
    let cases = [(false, false, false), (true, false, true), (true, true, false)];
    let runs = cases.map(|case| std::thread::spawn(move || denied_link_local(case)));
    for run in runs {
        run.join().unwrap();
    }
}

fn denied_link_local((by_name, ifindex, counters): (bool, bool, bool)) {
    {
        let pair = Pair::new();
        let open = Arc::new(Claim { addresses: vec![v4("fe80::77", 64)], ..Claim::default() });
        let denied = Arc::new(Claim { deny: true, ..(*open).clone() });
        within(&pair.here, async || {
            let of = InstanceSpec { track_primary: !by_name, ..instance(Family::V6, (*open).clone()) };
            let mut wanted = spec(vec![of]);
            wanted.daemon.nftables =
                Nftables { table: Some("keepalived".into()), priority: Some(-77), counters, ifindex };
            let mut running = Running::configured(wanted).await;
            running.own(&open).await;
            // Until duplicate address detection has ended on the other side.
            eventually(|| answers(&pair, "fe80::77").then_some(())).await;
            running.own(&denied).await;
            running.own(&denied).await;
            assert!(running.troubles().is_empty(), "{:?}", running.troubles());
            let shown = table(&pair);
            let set = |name: &str| {
                let from = shown.split_once(&format!("set {name} {{")).unwrap().1;
                from.split("\n\t}").next().unwrap().contains("fe80::77")
            };
            let held = (set("vips_link_local"), set("vips_link_local_name"));
            assert_eq!(held, (!by_name || ifindex, by_name && !ifindex), "{shown}");
            assert!(shown.contains("jump in_link_local") && shown.contains("jump out_link_local"), "{shown}");
            assert!(shown.contains("priority -77") || shown.contains("filter - 77"), "{shown}");
            assert_eq!(shown.contains("counter packets"), counters, "{shown}");
            assert!(!answers(&pair, "fe80::77"), "{shown}");
            // The interface's own address is not concerned, nor is finding the denied one.
            let own = wire::addresses(&pair.here, "eth0").unwrap();
            let own = own.iter().map(|(a, _)| a.to_string()).find(|a| a.starts_with("fe80") && a != "fe80::77");
            eventually(|| answers(&pair, own.as_ref().unwrap()).then_some(())).await;
            running.stop().await;
        });
    }
}

#[test]
fn the_firewall_opens_when_the_addresses_are_gone() {
    if !ready("firewall_order") {
        return;
    }
    let pair = Pair::new();
    let many = (0..1500).map(|n| v4(&format!("2001:db8::{:x}", n + 16), 64)).collect();
    let claim = Arc::new(Claim { addresses: many, deny: true, ..Claim::default() });
    within(&pair.here, async || {
        let mut running = Running::configured(spec(vec![instance(Family::V6, (*claim).clone())])).await;
        running.own(&claim).await;
        running.kernel.order(ToKernel::Disown(InstanceId(0)));
        let mut looked = 0;
        loop {
            // The set first: what it holds no more must be gone already.
            let open = !table(&pair).contains("2001:db8::10,");
            let left = addresses(&pair.here, "eth0").len();
            assert!(!open || left == 0, "{left} addresses are there and are answered");
            looked += 1;
            if open {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert!(looked < 5000, "it never opens");
        }
        running.stop().await;
    });
}

/// Of two owners of a denied address the one that goes does not open it for the other.
#[test]
fn an_address_that_another_instance_still_owns_stays_denied() {
    if !ready("still_owns") {
        return;
    }
    let pair = Pair::new();
    let many = (0..300).map(|n| v4(&format!("2001:db8::{:x}", n + 16), 64)).collect();
    let claim = Arc::new(Claim { addresses: many, deny: true, ..Claim::default() });
    let shared = Arc::new(Claim { addresses: vec![v4("2001:db8::10", 64)], deny: true, ..Claim::default() });
    within(&pair.here, async || {
        let both = vec![instance(Family::V6, (*claim).clone()), instance(Family::V6, (*shared).clone())];
        let mut running = Running::configured(spec(both)).await;
        running.own(&claim).await;
        running.kernel.order(ToKernel::Own(InstanceId(1), shared));
        running.kernel.order(ToKernel::Disown(InstanceId(0)));
        eventually(|| (addresses(&pair.here, "eth0").len() == 1).then_some(())).await;
        eventually(|| (!table(&pair).contains("2001:db8::11")).then_some(())).await;
        assert!(table(&pair).contains("2001:db8::10"), "{}", table(&pair));
        running.kernel.order(ToKernel::Disown(InstanceId(1)));
        eventually(|| (!table(&pair).contains("2001:db8::10")).then_some(())).await;
        running.stop().await;
    });
}

/// Thousands of addresses on their way keep nobody from seeing that the firewall is gone.
#[test]
fn a_table_that_is_flushed_comes_back_while_addresses_are_on_their_way() {
    if !ready("flushed_while") {
        return;
    }
    let pair = Pair::new();
    let many = (0..4000).map(|n| v4(&format!("2001:db8::{:x}", n + 16), 64)).collect();
    let claim = Arc::new(Claim { addresses: many, deny: true, ..Claim::default() });
    within(&pair.here, async || {
        let mut running = Running::configured(spec(vec![instance(Family::V6, (*claim).clone())])).await;
        running.kernel.order(ToKernel::Own(InstanceId(0), claim));
        running.until(|r| matches!(r, FromKernel::Applied { outcome: Outcome::Ready { .. }, .. })).await;
        // Its own thousands of elements are no other program's doing.
        assert!(running.troubles().is_empty(), "{:?}", running.troubles());
        output(&pair.here, &["nft", "flush", "ruleset"]);
        let whole = |r: &FromKernel| matches!(r, FromKernel::Applied { outcome: Outcome::Complete, .. });
        let again = |r: &FromKernel| matches!(r, FromKernel::Trouble(trouble) if trouble.text.contains("made again"));
        let mut early = Vec::new();
        while let Ok(report) = running.reports.try_recv() {
            early.push(report);
        }
        if !early.iter().any(again) {
            let first = running.until(|r| whole(r) || again(r)).await;
            // A machine on which all of them were there before the flush shows nothing.
            assert!(again(&first) || early.iter().any(whole), "the table came back only after the last address");
        }
        assert!(table(&pair).contains("2001:db8::10,"));
        running.stop().await;
    });
}

/// A VMAC that a reload brings carries a denied link-local address only when the firewall knows of it there.
#[test]
fn an_address_comes_to_a_new_vmac_behind_the_firewall() {
    if !ready("behind_the_firewall") {
        return;
    }
    let pair = Pair::new();
    let mut all = vec![v4("fe80::77", 64)];
    all.extend((0..1500).map(|n| v4(&format!("2001:db8::{:x}", n + 16), 64)));
    let claim = Arc::new(Claim { addresses: all, deny: true, ..Claim::default() });
    let with = |virtual_link| InstanceSpec { virtual_link, ..instance(Family::V6, (*claim).clone()) };
    within(&pair.here, async || {
        let mut running = Running::configured(spec(vec![with(None)])).await;
        running.own(&claim).await;
        let vmac = VirtualLink::Vmac {
            name: IfName::new("vx"),
            prefix: "vrrp".into(),
            mac: [0, 0, 0x5e, 0, 2, 51],
            netlink_notify: false,
            group: None,
        };
        let wanted = Arc::new(spec(vec![with(Some(vmac))]));
        let carried = vec![(InstanceId(0), InstanceId(0))];
        running.kernel.order(ToKernel::Configure { spec: wanted, carried });
        let there = || {
            let found = wire::index(&pair.here, "vx").and_then(|_| wire::addresses(&pair.here, "vx"));
            found.is_ok_and(|all| all.iter().any(|(address, _)| address.to_string() == "fe80::77"))
        };
        eventually(|| there().then_some(())).await;
        let index = wire::index(&pair.here, "vx").unwrap();
        let shown = table(&pair);
        assert!(shown.contains("fe80::77 . \"vx\"") || shown.contains(&format!("fe80::77 . {index}")), "{shown}");
        running.until(|r| matches!(r, FromKernel::Configured { .. })).await;
        running.stop().await;
    });
}

#[test]
fn the_own_address_is_announced() {
    if !ready("own_address") {
        return;
    }
    let pair = Pair::new();
    wire::add_address(&pair.here, "eth0", "10.0.0.5".parse().unwrap(), 24).unwrap();
    within(&pair.here, async || {
        let mut observer = Observer::new(&pair.there, "eth0").unwrap();
        let running = Running::configured(spec(vec![instance(Family::V4, Claim::default())])).await;
        let ifindex = wire::index(&pair.here, "eth0").unwrap();
        let own: IpAddr = "10.0.0.5".parse().unwrap();
        running.kernel.order(ToKernel::AnnounceSource { ifindex, address: own });
        loop {
            let seen = observer.next(PATIENCE).unwrap().expect("an announcement");
            if matches!(seen.what, What::GratuitousArp { address } if IpAddr::V4(address) == own) {
                assert_eq!(Some(seen.mac), wire::mac(&pair.here, "eth0").unwrap());
                break;
            }
        }
        running.stop().await;
    });
}

#[test]
fn carrier_is_asked_for_where_that_is_wanted() {
    if !ready("carrier") {
        return;
    }
    let pair = Pair::new();
    within(&pair.here, async || {
        let with = |method: Option<Option<BeatMethod>>| {
            let linkbeat = method.map(|method| Beat { interface: name("eth0"), method }).into_iter().collect();
            Spec { linkbeat, ..spec(vec![instance(Family::V4, Claim::default())]) }
        };
        let running_as = |wanted: bool| {
            move |report: &FromKernel| match report {
                FromKernel::Link(LinkFact::Changed(link)) => link.name.as_str() == "eth0" && link.running == wanted,
                FromKernel::Link(LinkFact::Dump(links)) => {
                    links.iter().any(|link| link.name.as_str() == "eth0" && link.running == wanted)
                }
                _ => false,
            }
        };
        let mut running = Running::start(Default::default());
        running.configure(with(None), Vec::new()).await;
        // Dormant: it has carrier, but the flags do not say so.
        output(&pair.here, &["ip", "link", "set", "eth0", "mode", "dormant"]);
        output(&pair.here, &["ip", "link", "set", "eth0", "state", "dormant"]);
        running.until(running_as(false)).await;
        let same = vec![(InstanceId(0), InstanceId(0))];
        // MII cannot be asked on this kind of interface: the driver is.
        for method in [Some(BeatMethod::Ethtool), Some(BeatMethod::Mii), None] {
            running.log.clear();
            running.configure(with(Some(method)), same.clone()).await;
            assert!(running.log.iter().any(running_as(true)), "{method:?}: {:#?}", running.log);
        }
        running.log.clear();
        running.configure(with(Some(Some(BeatMethod::Ioctl))), same.clone()).await;
        assert!(running.log.iter().any(running_as(false)), "{:#?}", running.log);
        running.configure(with(Some(Some(BeatMethod::Ethtool))), same).await;
        wire::set_up(&pair.there, "eth0", false).unwrap();
        running.until(running_as(false)).await;
        wire::set_up(&pair.there, "eth0", true).unwrap();
        running.until(running_as(true)).await;
        running.stop().await;
    });
}

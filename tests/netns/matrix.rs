//! Every way of talking × where the address lives × who is master × every way of failing, against keepalived and FRR.
//! One lab for each row; the failures follow each other in it, so a cell also shows that the way back works.
//!
//! Two witnesses decide about a cell, neither of them a daemon: the kernels of both ends (who has the address, and on
//! which interface) and the observer in the bridge (who speaks, who announced the address, from which MAC address).

use super::conf::{Auth, Conf, Tongue, VRID};
use super::lab::{Kind, Lab, ip, skip, until};
use super::seen::{self, Seen};
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

const FAILURES: [&str; 6] = ["start", "priority", "link down", "other link down", "stop", "kill"];

/// Labs at once: they mostly wait.
const AT_ONCE: usize = 40;

/// Where a virtual address lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Interface,
    Vmac,
    /// Two segments, an instance on each, both in one sync group: what happens to one happens to both.
    Group,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Place::Interface => "interface",
            Place::Vmac => "VMAC",
            Place::Group => "sync group",
        })
    }
}

/// What a row is about.
#[derive(Clone, Copy)]
struct Case {
    tongue: Tongue,
    place: Place,
    master: Kind,
    backup: Kind,
}

impl Case {
    fn segments(&self) -> usize {
        if self.place == Place::Group { 2 } else { 1 }
    }

    fn text(&self, node: usize, priority: u8) -> String {
        let conf = Conf { segments: self.segments(), ..Conf::new(self.tongue, node, 2, priority) };
        if self.place == Place::Vmac { conf.on_vmac() } else { conf }.text()
    }

    fn makes_sense(&self, failure: &str) -> bool {
        let frr_changes = failure == "priority" && self.master == Kind::Frr;
        !frr_changes && (failure != "other link down" || self.place == Place::Group)
    }

    /// Both witnesses say that this node is master, and since the moment given has announced what it has.
    fn is_master(&self, lab: &Lab, node: usize, from: Instant) -> Result<(), String> {
        let other = 1 - node;
        let addresses = self.tongue.addresses(self.segments());
        let wrong = |text: String| format!("{text}\n{}", lab.describe());
        // FRR's addresses stay on its macvlan whatever it does; there the observer is the only witness.
        let frr = |node: usize| lab.nodes[node].kind == Kind::Frr;
        let dead = lab.nodes[other].child.is_none();
        let kernel = || {
            let (here, there) = (lab.addresses(node), lab.addresses(other));
            addresses.iter().all(|vip| {
                let on = |(name, address): &(String, IpAddr)| {
                    address == vip && (name.starts_with("vrrp") == (self.place == Place::Vmac))
                };
                (frr(node) || here.iter().any(on)) && (frr(other) || dead || !there.iter().any(|(_, a)| a == vip))
            })
        };
        until(&format!("{addresses:?} on node {node} alone"), kernel).map_err(wrong)?;
        for (vrid, vip) in (VRID..).zip(&addresses) {
            // A VMAC speaks from the virtual MAC address, unless adverts leave by its parent.
            let virtual_mac = seen::virtual_mac(self.tongue.six, vrid);
            let speaks = self.place == Place::Vmac && !self.tongue.unicast || frr(node);
            let announces = self.place == Place::Vmac;
            until(&format!("the observer sees only node {node} speak for {vrid}"), || {
                let said = |frame| match seen::read(&frame)? {
                    (mac, Seen::Advert { vrid: of, .. }) if of == vrid => Some((frame.node, mac)),
                    _ => None,
                };
                let all: Vec<_> = lab.since(from).into_iter().filter_map(said).collect();
                let last = all.iter().rev().take(2);
                last.len() == 2 && last.clone().all(|(who, mac)| *who == node && (*mac == virtual_mac) == speaks)
            })
            .map_err(wrong)?;
            if frr(node) {
                // It says nothing more after its cable was out: its own affair.
                continue;
            }
            until(&format!("the observer sees node {node} announce {vip}"), || {
                lab.since(from).iter().filter(|frame| frame.node == node).any(|frame| {
                    seen::read(frame).is_some_and(|(mac, what)| {
                        what == Seen::Announcement(*vip) && (mac == virtual_mac) == announces
                    })
                })
            })
            .map_err(wrong)?;
        }
        Ok(())
    }

    fn start(&self, lab: &mut Lab, node: usize) {
        match lab.nodes[node].kind {
            Kind::Frr => {
                let mac = seen::virtual_mac(self.tongue.six, VRID).map(|byte| format!("{byte:02x}")).join(":");
                let priority = [200, 100][node];
                lab.start_frr(node, self.tongue.six, &self.tongue.address().to_string(), &mac, priority);
            }
            _ => lab.start(node),
        }
    }

    /// The failures one after the other; the first that goes wrong ends the row.
    fn play(self) -> Row {
        let mut lab = Lab::new(&[self.master, self.backup], self.segments());
        let configure = |lab: &Lab, node: usize, priority: u8| lab.configure(node, &self.text(node, priority));
        configure(&lab, 0, 150);
        configure(&lab, 1, 100);
        let mut from = Instant::now();
        self.start(&mut lab, 1);
        self.start(&mut lab, 0);
        let mut cells = Vec::new();
        for failure in FAILURES {
            if !self.makes_sense(failure) {
                cells.push(None);
                continue;
            }
            let mut cell = || -> Result<(), String> {
                if failure != "start" {
                    from = Instant::now();
                    match failure {
                        "priority" => {
                            configure(&lab, 0, 50);
                            lab.signal(0, libc::SIGHUP);
                        }
                        "link down" => lab.cable(0, 0, false),
                        "other link down" => lab.cable(0, 1, false),
                        "stop" => lab.signal(0, libc::SIGTERM),
                        _ => lab.signal(0, libc::SIGKILL),
                    }
                    self.is_master(&lab, 1, from)?;
                    if failure == "stop" && self.master != Kind::Frr && !lab.cut_its_child_short(0) {
                        self.left_nothing(&lab)?;
                    }
                    from = Instant::now();
                    match failure {
                        "priority" => {
                            configure(&lab, 0, 150);
                            lab.signal(0, libc::SIGHUP);
                        }
                        "link down" => lab.cable(0, 0, true),
                        "other link down" => lab.cable(0, 1, true),
                        _ => self.start(&mut lab, 0),
                    }
                }
                self.is_master(&lab, 0, from)
            };
            let result = cell();
            let failed = result.is_err();
            let whose = format!("{} | {} | {} → {}", self.tongue, self.place, self.master, self.backup);
            cells.push(Some(result.map_err(|text| format!("{whose} | {failure}: {text}"))));
            if failed {
                break;
            }
        }
        Row { case: self, cells }
    }

    fn left_nothing(&self, lab: &Lab) -> Result<(), String> {
        for vip in self.tongue.addresses(self.segments()) {
            if lab.has(0, vip) {
                return Err(format!("{vip} was left behind\n{}", lab.describe()));
            }
        }
        let links = ip(&lab.nodes[0].namespace, &["link"])?;
        if links.contains("vrrp") { Err(format!("an interface was left behind: {links}")) } else { Ok(()) }
    }
}

struct Row {
    case: Case,
    /// What went wrong, if anything, in the order of [`FAILURES`]; `None` where a failure makes no sense.
    cells: Vec<Option<Result<(), String>>>,
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "# Beside keepalived and FRR\n\n\
         Written by `VIPD_INTEROP=write cargo test --test netns matrix`, from a run; not by hand. Each line is a pair of \
         servers, vipd in one seat and Debian's keepalived 2.2.7 or FRR's vrrpd in the other.\n\n\
         A cell is *yes* when the virtual address went to the other server and came back, each time until it was on that \
         running server alone. Two witnesses say so, and no daemon: the kernels of both servers (on the right interface, \
         and nothing left behind by a stop), and an observer in the bridge between them, who must see the new master \
         alone speak and announce the address, from the virtual MAC address where there is a VMAC. A sync group is an \
         instance on each of two segments: when either cable is pulled, both addresses move. FRR keeps its addresses on \
         its macvlan in every state and does not announce them after its cable was out, so there the only witness is who \
         speaks.\n\n\
         | version | family | way | authentication | address on | master | backup |",
    );
    FAILURES.iter().for_each(|failure| text += &format!(" {failure} |"));
    text += "\n|---|---|---|---|---|---|---|";
    FAILURES.iter().for_each(|_| text += "---|");
    for row in rows {
        let Case { tongue, place, master, backup } = row.case;
        text += &format!("\n| {tongue} | {place} | {master} | {backup} |");
        for position in 0..FAILURES.len() {
            text += match row.cells.get(position) {
                Some(Some(Ok(()))) => " yes |",
                Some(Some(Err(_))) => " **no** |",
                Some(None) => "  |",
                None => " – |",
            };
        }
    }
    text + "\n"
}

/// Plays rows, some at once, and gives them in the order asked for.
fn play(wanted: &[Case]) -> Vec<Row> {
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    // Those that take longest first: version 2 knows only whole seconds.
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|at| wanted.get(*at).map(|case| (case.tongue.version, case.place != Place::Group)));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(at) = order.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                    let row = wanted[*at].play();
                    rows.lock().unwrap().push((*at, row));
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by_key(|(position, _)| *position);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn expect_all(rows: &[Row]) {
    let cells = rows.iter().flat_map(|row| &row.cells).flatten();
    let wrong: Vec<&str> = cells.filter_map(|cell| cell.as_ref().err()).map(|e| &**e).collect();
    assert!(wrong.is_empty(), "{} cells are red\n\n{}", wrong.len(), wrong.join("\n\n"));
}

/// Every tongue in every place, with both in both seats.
fn cases(one: Kind, other: Kind) -> Vec<Case> {
    let mut cases = Vec::new();
    for place in [Place::Interface, Place::Vmac, Place::Group] {
        // Passwords have nothing to do with where an address lives: they are played through on an interface and a VMAC.
        let tongues = Tongue::all().into_iter().filter(|t| place != Place::Group || t.auth == Auth::None);
        for tongue in tongues {
            cases.push(Case { tongue, place, master: one, backup: other });
            if one != other {
                cases.push(Case { tongue, place, master: other, backup: one });
            }
        }
    }
    cases
}

#[test]
fn matrix_beside_keepalived() {
    if skip(&["ip", "keepalived"]) {
        return;
    }
    let mut wanted = cases(Kind::Vipd, Kind::Keepalived);
    if skip(&["vrrpd", "zebra"]) {
        println!("without the rows of FRR");
    } else {
        for six in [false, true] {
            let tongue = Tongue { six, ..Tongue::V3 };
            let place = Place::Interface;
            wanted.push(Case { tongue, place, master: Kind::Frr, backup: Kind::Vipd });
            wanted.push(Case { tongue, place, master: Kind::Vipd, backup: Kind::Frr });
        }
    }
    if let Ok(filter) = std::env::var("VIPD_INTEROP_ONLY") {
        let name = |case: &Case| format!("{} | {} | {} | {}", case.tongue, case.place, case.master, case.backup);
        wanted.retain(|case| name(case).contains(&filter));
    }
    let rows = play(&wanted);
    let table = table(&rows);
    println!("{table}");
    if std::env::var("VIPD_INTEROP").is_ok_and(|how| how == "write") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/interop.md");
        // The part about BFD is written by another test.
        let before = std::fs::read_to_string(path).unwrap_or_default();
        let bfd = before.split_once("## BFD\n").map(|(_, rest)| format!("\n## BFD\n{rest}")).unwrap_or_default();
        std::fs::write(path, format!("{table}{bfd}")).unwrap();
    }
    expect_all(&rows);
}

#[test]
fn vipd_beside_vipd() {
    if skip(&["ip"]) {
        return;
    }
    let all = cases(Kind::Vipd, Kind::Vipd).into_iter();
    let plain = |case: &Case| case.tongue.version == 3 || case.tongue.auth == Auth::Ah && !case.tongue.unicast;
    expect_all(&play(&all.filter(plain).collect::<Vec<_>>()));
}

/// Two keepalived: shows that the harness itself is right.
#[test]
#[ignore = "tests the harness, not vipd"]
fn keepalived_beside_keepalived() {
    if skip(&["ip", "keepalived"]) {
        return;
    }
    let rows = play(&cases(Kind::Keepalived, Kind::Keepalived));
    println!("{}", table(&rows));
    expect_all(&rows);
}

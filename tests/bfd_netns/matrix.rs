//! The interop matrix: every way of configuring a session, with each program in the other seat, through every failure.

use crate::ground::{Kind, Pair, frr, ip, skip};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Pairs that are played at the same time.
const AT_ONCE: usize = 4;

/// How a session is configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    V4,
    /// Without `hoplimit` on vipd's side; FRR takes 255 only.
    V6,
    V6Hoplimit,
    /// Detection times differ by direction.
    Unequal,
    WePassive,
    PeerPassive,
    Multihop,
    /// A single-hop session over a router, which takes a TTL of one less.
    Hops,
    LinkLocal,
}

impl Way {
    fn word(self) -> &'static str {
        match self {
            Way::V4 => "IPv4",
            Way::V6 => "IPv6",
            Way::V6Hoplimit => "IPv6, hoplimit 255",
            Way::Unequal => "unequal intervals and multipliers",
            Way::WePassive => "vipd passive",
            Way::PeerPassive => "the peer passive",
            Way::Multihop => "multihop over a router",
            Way::Hops => "max_hops 1 over a router",
            Way::LinkLocal => "IPv6 link-local",
        }
    }

    fn six(self) -> bool {
        matches!(self, Way::V6 | Way::V6Hoplimit)
    }

    fn routed(self) -> bool {
        matches!(self, Way::Multihop | Way::Hops)
    }
}

const COLUMNS: [&str; 14] = [
    "up",
    "cut both ways",
    "cut one way",
    "cut the other way",
    "10 % loss",
    "stopped",
    "40 ms",
    "200 ms",
    "intervals",
    "multiplier",
    "reload",
    "TERM",
    "KILL",
    "shutdown",
];

struct Case {
    way: Way,
    peer: Kind,
}

struct Row {
    case: Case,
    cells: Vec<Option<Result<(), String>>>,
}

/// 60 ms × 5: short enough to be BFD, long enough for a busy machine.
const PLAIN: &str = " min_rx 60\n min_tx 60\n multiplier 5";
const FRR_PLAIN: &str = "  detect-multiplier 5\n  receive-interval 60\n  transmit-interval 60\n";

impl Case {
    fn pair(&self) -> Pair {
        let mut pair = Pair::new([Kind::Vipd, self.peer], self.way.routed());
        let six = self.way.six();
        let ours = match self.way {
            Way::V6Hoplimit => format!("{PLAIN}\n hoplimit 255"),
            Way::Unequal => " min_rx 80\n min_tx 70\n multiplier 4".into(),
            Way::WePassive => format!("{PLAIN}\n passive"),
            Way::Multihop => format!("{PLAIN}\n multihop\n max_hops 3"),
            Way::Hops => format!("{PLAIN}\n max_hops 1"),
            _ => PLAIN.to_owned(),
        };
        if self.way == Way::LinkLocal {
            for side in 0..2 {
                let n = &pair.nodes[side].namespace;
                ip(&format!("-n {n} addr add fe80::{}/64 dev eth0 nodad", side + 1)).unwrap();
                pair.configure(
                    side,
                    &format!("bfd_instance S {{\n neighbor_ip fe80::{}%eth0\n{PLAIN}\n}}\n", 2 - side),
                );
            }
        } else {
            pair.configure(0, &pair.session(0, six, &ours));
        }
        match self.peer {
            Kind::Frr => {
                let (options, lines) = match self.way {
                    Way::Unequal => {
                        ("", "  detect-multiplier 7\n  receive-interval 100\n  transmit-interval 90\n".into())
                    }
                    Way::PeerPassive => ("", format!("{FRR_PLAIN}  passive-mode\n")),
                    Way::Multihop => ("multihop", format!("{FRR_PLAIN}  minimum-ttl 250\n")),
                    _ => ("", FRR_PLAIN.to_owned()),
                };
                let conf = frr(&pair, 1, six, options, &lines);
                let local = format!("bfd\n {}\n{lines} !\n!\n", self.peer_line(&pair));
                pair.configure(1, if self.way == Way::LinkLocal { &local } else { &conf });
            }
            Kind::Vipd if self.way == Way::LinkLocal => {}
            Kind::Keepalived | Kind::Vipd => {
                let theirs = match self.way {
                    Way::V6Hoplimit => format!("{PLAIN}\n hoplimit 255"),
                    Way::Unequal => " min_rx 100\n min_tx 90\n multiplier 7".into(),
                    Way::PeerPassive => format!("{PLAIN}\n passive"),
                    Way::Multihop => format!("{PLAIN}\n multihop\n max_hops 3"),
                    Way::Hops => format!("{PLAIN}\n max_hops 1"),
                    _ => PLAIN.to_owned(),
                };
                pair.configure(1, &pair.session(1, six, &theirs));
            }
        }
        pair.start(0);
        pair.start(1);
        pair
    }

    /// How FRR names the session.
    fn peer_line(&self, pair: &Pair) -> String {
        let (other, own) = match self.way {
            Way::LinkLocal => ("fe80::1".to_owned(), "fe80::2".to_owned()),
            way if way.six() => ("fd00:9::1".to_owned(), "fd00:9::2".to_owned()),
            _ => (pair.address(0), pair.address(1)),
        };
        let kind = if self.way == Way::Multihop { "multihop " } else { "" };
        let interface = if self.way == Way::LinkLocal { " interface eth0" } else { "" };
        format!("peer {other} {kind}local-address {own}{interface}")
    }

    fn play(self) -> Row {
        let mut pair = self.pair();
        let mut cells = vec![Some(pair.both(true))];
        for column in 1..COLUMNS.len() {
            let whole = cells.iter().flatten().all(Result::is_ok);
            cells.push(if whole { self.cell(&mut pair, column) } else { None });
        }
        Row { case: self, cells }
    }

    fn cell(&self, pair: &mut Pair, column: usize) -> Option<Result<(), String>> {
        Some(match column {
            1 => self.cut(pair, [true, true]),
            2 => self.cut(pair, [true, false]),
            3 => self.cut(pair, [false, true]),
            4 => self.rough(pair),
            5 => self.stopped(pair),
            6 => self.stalls(pair, 40),
            7 => self.stalls(pair, 200),
            8 => self.intervals(pair),
            9 => self.multiplier(pair),
            10 => self.reload(pair),
            11 => self.ended(pair, libc::SIGTERM),
            12 => self.ended(pair, libc::SIGKILL),
            // Only vipd's own end has a shutdown in keepalived's language.
            _ => return Some(self.shutdown(pair)),
        })
    }

    /// Neither side may go on counting on the other; both come back.
    fn cut(&self, pair: &Pair, from: [bool; 2]) -> Result<(), String> {
        let before = self.falls(pair);
        pair.cut(from);
        let fell = pair.both(false);
        pair.cut([false, false]);
        fell?;
        pair.both(true)?;
        let after = self.falls(pair);
        let grew = after.0 > before.0 && after.1 >= before.1.map(|downs| downs + 1);
        if grew { Ok(()) } else { Err(format!("a fall that nobody counted: {before:?} became {after:?}")) }
    }

    /// The session may fall, and is up when the path is good again.
    fn rough(&self, pair: &Pair) -> Result<(), String> {
        for side in 0..2 {
            pair.receives(side, "numgen random mod 100 < 10 drop");
        }
        let heard = || pair.session_of(0).and_then(|session| session["counters"]["received"].as_u64()).unwrap_or(0);
        let before = heard();
        let went_on = pair.until("packets over a path that loses", || heard() > before + 50);
        for side in 0..2 {
            pair.receives(side, "");
        }
        went_on?;
        pair.both(true)
    }

    fn stopped(&self, pair: &Pair) -> Result<(), String> {
        pair.signal(1, libc::SIGSTOP);
        let fell = pair.until("vipd notices that the peer stands still", || !pair.up(0));
        pair.signal(1, libc::SIGCONT);
        fell?;
        pair.both(true)
    }

    fn falls(&self, pair: &Pair) -> (u64, Option<u64>) {
        let own = pair.session_of(0).and_then(|session| session["counters"]["downs"].as_u64()).unwrap_or(u64::MAX);
        (own, (self.peer == Kind::Frr).then(|| pair.frr_downs(1)))
    }

    /// What takes nobody down, by vipd's counter and FRR's. A machine that is busy with other things may stand still for
    /// longer than the detection time by itself, so three attempts are made.
    fn keeps(&self, pair: &Pair, mut act: impl FnMut() -> Result<(), String>) -> Result<(), String> {
        let mut last = String::new();
        for _ in 0..3 {
            pair.both(true)?;
            let before = self.falls(pair);
            act()?;
            pair.both(true)?;
            let after = self.falls(pair);
            if before == after {
                return Ok(());
            }
            last = format!("{before:?} became {after:?}");
        }
        Err(last)
    }

    /// Either side stands still for less than the detection time.
    fn stalls(&self, pair: &Pair, millis: u64) -> Result<(), String> {
        self.keeps(pair, || {
            for side in [1, 0] {
                pair.signal(side, libc::SIGSTOP);
                std::thread::sleep(Duration::from_millis(millis));
                pair.signal(side, libc::SIGCONT);
                std::thread::sleep(Duration::from_millis(500));
            }
            Ok(())
        })
    }

    /// Another line in a vipd's file, a reload, and what has to be seen of it; then the old one.
    fn changed(&self, pair: &Pair, word: &str, value: &str, seen: impl Fn() -> bool) -> Result<(), String> {
        let path = pair.nodes[0].directory.join("keepalived.conf");
        let old = std::fs::read_to_string(&path).unwrap();
        let line = |line: &str| {
            if line.trim_start().starts_with(word) { format!(" {word} {value}") } else { line.to_owned() }
        };
        pair.configure(0, &old.lines().map(line).collect::<Vec<_>>().join("\n"));
        let reloaded = pair.ask(0, r#"{"request":"reload"}"#).filter(|answer| answer["reply"] == "done");
        let seen = pair.until(&format!("{word} {value} on both sides"), seen);
        pair.configure(0, &old);
        let back = pair.ask(0, r#"{"request":"reload"}"#);
        reloaded.ok_or("the reload was refused")?;
        seen?;
        back.ok_or("no answer")?;
        Ok(())
    }

    /// What the peer knows of vipd's settings; keepalived says it in its dump.
    fn peer_knows(&self, pair: &Pair, frr: (&str, u64), keepalived: &str, vipd: (&str, serde_json::Value)) -> bool {
        match self.peer {
            Kind::Frr => pair.frr(1, "show bfd peers json")[frr.0] == frr.1,
            Kind::Vipd => pair.session_of(1).is_some_and(|session| session[vipd.0] == vipd.1),
            Kind::Keepalived => {
                let path = pair.nodes[1].directory.join("keepalived_bfd.data");
                let _ = std::fs::remove_file(&path);
                pair.signal(1, libc::SIGUSR1);
                std::thread::sleep(Duration::from_millis(200));
                std::fs::read_to_string(path).is_ok_and(|text| text.contains(keepalived))
            }
        }
    }

    /// A longer interval while the session is up: a poll that the peer answers, and no fall. FRR changes its own as well.
    fn intervals(&self, pair: &Pair) -> Result<(), String> {
        let polled = || {
            let own =
                pair.session_of(0).is_some_and(|session| session["min_tx"] == 0.11 && session["polling"] == false);
            own && self.peer_knows(
                pair,
                ("remote-transmit-interval", 110),
                "remote min tx intv = 110000 us",
                ("peer_min_tx", 0.11.into()),
            )
        };
        let polls = || pair.log(0).matches("Poll sequence answered").count();
        let before = polls();
        self.keeps(pair, || self.changed(pair, "min_tx", "110", polled))?;
        pair.until("the peer's answers", || polls() > before)?;
        if self.peer == Kind::Frr {
            let peer = self.peer_line(pair);
            let set = |line: &str| pair.vtysh(1, &["configure terminal", "bfd", &peer, line]);
            self.keeps(pair, || {
                set("transmit-interval 130");
                let is_known = || pair.session_of(0).is_some_and(|session| session["peer_min_tx"] == 0.13);
                let known = pair.until("FRR's interval", is_known);
                set(if self.way == Way::Unequal { "transmit-interval 90" } else { "transmit-interval 60" });
                known
            })
            .map_err(|text| format!("FRR's interval: {text}"))?;
        }
        Ok(())
    }

    /// Another multiplier needs no poll.
    fn multiplier(&self, pair: &Pair) -> Result<(), String> {
        let polls = || pair.log(0).matches("Starting poll sequence").count();
        let known = || {
            let words = ("remote-detect-multiplier", 9);
            self.peer_knows(pair, words, "remote detect multiplier = 9", ("peer_multiplier", 9.into()))
        };
        // Of the attempt in which nobody fell: a session that comes up polls.
        let mut begun = 0;
        self.keeps(pair, || {
            let before = polls();
            self.changed(pair, "multiplier", "9", known)?;
            begun = polls() - before;
            Ok(())
        })?;
        if begun == 0 { Ok(()) } else { Err("another multiplier began a poll".into()) }
    }

    /// The session stays. keepalived is not reloaded with it, as it stops its protocol meanwhile, and longer than a detection
    /// time where a machine is busy.
    fn reload(&self, pair: &Pair) -> Result<(), String> {
        self.keeps(pair, || {
            let reloads = |side: usize| pair.log(side).matches("Reload complete").count();
            let sides: &[usize] = if self.peer == Kind::Vipd { &[0, 1] } else { &[0] };
            let before: Vec<usize> = sides.iter().map(|side| reloads(*side)).collect();
            sides.iter().for_each(|side| pair.signal(*side, libc::SIGHUP));
            pair.until("the reload", || sides.iter().zip(&before).all(|(side, before)| reloads(*side) > *before))
        })
    }

    /// The peer ends, and comes back; then vipd does.
    fn ended(&self, pair: &mut Pair, signal: i32) -> Result<(), String> {
        for side in [1, 0] {
            pair.end(side, signal);
            pair.until("the other side notices", || !pair.up(1 - side))?;
            pair.start(side);
            pair.both(true)?;
        }
        Ok(())
    }

    fn shutdown(&self, pair: &Pair) -> Result<(), String> {
        let ask = |down: bool| pair.ask(0, &format!(r#"{{"request":"bfd_shutdown","session":"S","down":{down}}}"#));
        ask(true).ok_or("no answer")?;
        let fell = pair.until("the peer's session is down", || !pair.up(1));
        let level = pair.session_of(0).map(|session| session["level"].clone()).unwrap_or_default();
        ask(false).ok_or("no answer")?;
        fell?;
        if level["up"] != true || level["held"] != "operator" {
            return Err(format!("trackers read {level}"));
        }
        pair.both(true)?;
        if self.peer == Kind::Frr {
            let peer = self.peer_line(pair);
            let frr = |line: &str| pair.vtysh(1, &["configure terminal", "bfd", &peer, line]);
            frr("shutdown");
            let held = || {
                pair.session_of(0)
                    .is_some_and(|s| s["state"] == "Down" && s["level"]["held"] == "peer" && s["level"]["up"] == true)
            };
            let kept = pair.until("the peer's shutdown is known and the level kept", held);
            std::thread::sleep(Duration::from_secs(1));
            let still = held();
            frr("no shutdown");
            kept?;
            if !still {
                return Err("the level was not kept while the peer was shut down".into());
            }
            pair.both(true)?;
        }
        if self.peer == Kind::Vipd {
            let other =
                |down: bool| pair.ask(1, &format!(r#"{{"request":"bfd_shutdown","session":"S","down":{down}}}"#));
            other(true).ok_or("no answer")?;
            let kept = pair.until("the peer's shutdown is known and the level kept", || {
                pair.session_of(0)
                    .is_some_and(|s| s["state"] == "Down" && s["level"]["held"] == "peer" && s["level"]["up"] == true)
            });
            other(false).ok_or("no answer")?;
            kept?;
            pair.both(true)?;
        }
        Ok(())
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = format!("| session | peer | {} |\n|{}\n", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len() + 2));
    for row in rows {
        let cells: Vec<&str> = row
            .cells
            .iter()
            .map(|cell| match cell {
                Some(Ok(())) => "yes",
                Some(Err(_)) => "**no**",
                None => "",
            })
            .collect();
        text += &format!("| {} | {} | {} |\n", row.case.way.word(), row.case.peer, cells.join(" | "));
    }
    text
}

const MARK: &str = "## BFD\n";
const EXPLAINED: &str = "
Written by `VIPD_INTEROP=write cargo test --test bfd_netns matrix`, from a run; not by hand. vipd in one seat; vipd, Debian's \
keepalived 2.2.7 (which knows no `multihop`) or FRR's bfdd in the other; 60 ms × 5 unless the row says otherwise.

A cell is *yes* when what had to happen was seen by both: the session comes up; a cut of the path in both directions, or in \
one, takes it down on both sides, is counted by both, and it comes back; it is up again after a path that lost every tenth packet; a peer that is stopped is noticed by vipd, and the session comes back; each \
side stands still (SIGSTOP) for 40 ms and for 200 ms, within the detection time, and nobody falls; a longer `min_tx` in a reload of \
vipd's is polled for and answered without a fall, and FRR's `transmit-interval` too; another multiplier is known to the peer without a \
poll; a reload of vipd (and of a vipd in the \
other seat) takes nothing down, by vipd's counter and FRR's; each side ends, in order and killed, and comes back; `shutdown` of a session on vipd's side, and on \
FRR's or the other vipd's, is known on the other side, and trackers keep what they read meanwhile. Witnesses are vipd's status, `show bfd peers json` \
and its counters, and keepalived's log.

";

#[test]
fn matrix() {
    if skip(&["ip", "nft", "keepalived"]) {
        return;
    }
    let mut wanted = Vec::new();
    let plain = [Way::V4, Way::V6, Way::V6Hoplimit, Way::Unequal, Way::WePassive, Way::PeerPassive];
    wanted.extend(plain.map(|way| Case { way, peer: Kind::Keepalived }));
    if !skip(&["bfdd", "zebra", "vtysh"]) {
        wanted.extend(plain.map(|way| Case { way, peer: Kind::Frr }));
        wanted.extend([Way::Multihop, Way::LinkLocal].map(|way| Case { way, peer: Kind::Frr }));
    }
    wanted.push(Case { way: Way::Hops, peer: Kind::Keepalived });
    let own =
        [Way::V4, Way::V6, Way::V6Hoplimit, Way::Unequal, Way::WePassive, Way::PeerPassive, Way::Multihop, Way::Hops];
    wanted.extend(own.into_iter().chain([Way::LinkLocal]).map(|way| Case { way, peer: Kind::Vipd }));
    if let Ok(filter) = std::env::var("VIPD_INTEROP_ONLY") {
        wanted.retain(|case| format!("{} | {}", case.way.word(), case.peer).contains(&filter));
    }
    let (next, rows, count) = (AtomicUsize::new(0), Mutex::new(Vec::new()), wanted.len());
    let wanted = Mutex::new(wanted.into_iter().map(Some).collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        return;
                    }
                    let case = wanted.lock().unwrap()[at].take().unwrap();
                    let row = case.play();
                    rows.lock().unwrap().push((at, row));
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by_key(|(at, _)| *at);
    let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
    let table = table(&rows);
    println!("{table}");
    if std::env::var("VIPD_INTEROP").is_ok_and(|how| how == "write") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/interop.md");
        let text = std::fs::read_to_string(path).unwrap();
        let before = text.split(MARK).next().unwrap_or_default().trim_end();
        std::fs::write(path, format!("{before}\n\n{MARK}{EXPLAINED}{table}")).unwrap();
    }
    let wrong: Vec<String> = rows
        .iter()
        .flat_map(|row| row.cells.iter().zip(COLUMNS).map(move |(cell, column)| (row, cell, column)))
        .filter_map(|(row, cell, column)| match cell {
            Some(Err(text)) => Some(format!("{} | {} | {column}: {text}", row.case.way.word(), row.case.peer)),
            _ => None,
        })
        .collect();
    assert!(wrong.is_empty(), "{} cells are red\n\n{}", wrong.len(), wrong.join("\n\n"));
}

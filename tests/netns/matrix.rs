//! Every way of talking × who is master × every way of failing, against keepalived. One lab for each of the first two;
//! the failures follow each other in it, so a cell also shows that the way back works.

use super::conf::{Auth, Conf, Tongue};
use super::lab::{Kind, Lab, skip};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const FAILURES: [&str; 5] = ["start", "priority", "link down", "stop", "kill"];

/// Labs at once: they mostly wait.
const AT_ONCE: usize = 12;

struct Row {
    tongue: Tongue,
    master: Kind,
    backup: Kind,
    /// What went wrong, if anything, in the order of [`FAILURES`].
    cells: Vec<Result<(), String>>,
}

/// The five failures one after the other; the first that goes wrong ends the row.
fn row(tongue: Tongue, master: Kind, backup: Kind) -> Row {
    let mut lab = Lab::new(&[master, backup], 1);
    let vip = tongue.address();
    let configure =
        |lab: &Lab, node: usize, priority: u8| lab.configure(node, &Conf::new(tongue, node, 2, priority).text());
    configure(&lab, 0, 150);
    configure(&lab, 1, 100);
    lab.start(1);
    lab.start(0);
    let mut cells = Vec::new();
    for failure in FAILURES {
        let mut cell = || -> Result<(), String> {
            match failure {
                "start" => {}
                "priority" => {
                    configure(&lab, 0, 50);
                    lab.signal(0, libc::SIGHUP);
                    lab.only(1, vip)?;
                    configure(&lab, 0, 150);
                    lab.signal(0, libc::SIGHUP);
                }
                "link down" => {
                    lab.cable(0, 0, false);
                    lab.only(1, vip)?;
                    lab.cable(0, 0, true);
                }
                "stop" => {
                    lab.signal(0, libc::SIGTERM);
                    lab.only(1, vip)?;
                    if lab.has(0, vip) {
                        return Err(format!("{vip} was left behind\n{}", lab.describe()));
                    }
                    lab.start(0);
                }
                _ => {
                    lab.signal(0, libc::SIGKILL);
                    lab.only(1, vip)?;
                    lab.start(0);
                }
            }
            lab.only(0, vip).map(|_| ())
        };
        let result = cell();
        let failed = result.is_err();
        cells.push(result.map_err(|text| format!("{tongue} | {master} → {backup} | {failure}: {text}")));
        if failed {
            break;
        }
    }
    Row { tongue, master, backup, cells }
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "# Beside keepalived\n\n\
         Written by `VIPD_INTEROP=write cargo test --test netns matrix`, from a run; not by hand. Each line is a pair of \
         servers on one LAN, vipd in one seat and Debian's keepalived 2.2.7 in the other. A cell is *yes* when the \
         virtual address went to the other server and came back, each time until it was on that running server alone.\n\n| version | family | way | authentication | master | backup |",
    );
    FAILURES.iter().for_each(|failure| text += &format!(" {failure} |"));
    text += "\n|---|---|---|---|---|---|";
    FAILURES.iter().for_each(|_| text += "---|");
    for row in rows {
        text += &format!("\n| {} | {} | {} |", row.tongue, row.master, row.backup);
        for position in 0..FAILURES.len() {
            text += match row.cells.get(position) {
                Some(Ok(())) => " yes |",
                Some(Err(_)) => " **no** |",
                None => " – |",
            };
        }
    }
    text + "\n"
}

/// Plays rows, some at once, and gives them in the order asked for.
fn play(wanted: &[(Tongue, Kind, Kind)]) -> Vec<Row> {
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let position = next.fetch_add(1, Ordering::Relaxed);
                    let Some((tongue, master, backup)) = wanted.get(position) else { return };
                    let row = row(*tongue, *master, *backup);
                    rows.lock().unwrap().push((position, row));
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by_key(|(position, _)| *position);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn expect_all(rows: &[Row]) {
    let wrong: Vec<&str> = rows.iter().flat_map(|r| &r.cells).filter_map(|c| c.as_ref().err()).map(|e| &**e).collect();
    assert!(wrong.is_empty(), "{} cells are red\n\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn matrix_beside_keepalived() {
    if skip(&["ip", "keepalived"]) {
        return;
    }
    let seats = [(Kind::Vipd, Kind::Keepalived), (Kind::Keepalived, Kind::Vipd)];
    let wanted: Vec<_> = Tongue::all().into_iter().flat_map(|t| seats.map(|(m, b)| (t, m, b))).collect();
    let rows = play(&wanted);
    let table = table(&rows);
    println!("{table}");
    if std::env::var("VIPD_INTEROP").is_ok_and(|how| how == "write") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/interop.md");
        std::fs::write(path, &table).unwrap();
    }
    expect_all(&rows);
}

#[test]
fn vipd_beside_vipd() {
    if skip(&["ip"]) {
        return;
    }
    let tongues = [Tongue::V2, Tongue::V3, Tongue { unicast: true, ..Tongue::V3 }, Tongue { six: true, ..Tongue::V3 }];
    let ah = Tongue { auth: Auth::Ah, ..Tongue::V2 };
    let wanted: Vec<_> = tongues.into_iter().chain([ah]).map(|t| (t, Kind::Vipd, Kind::Vipd)).collect();
    expect_all(&play(&wanted));
}

/// Two keepalived: shows that the harness itself is right.
#[test]
#[ignore = "tests the harness, not vipd"]
fn keepalived_beside_keepalived() {
    if skip(&["ip", "keepalived"]) {
        return;
    }
    let wanted: Vec<_> = Tongue::all().into_iter().map(|t| (t, Kind::Keepalived, Kind::Keepalived)).collect();
    let rows = play(&wanted);
    println!("{}", table(&rows));
    expect_all(&rows);
}

//! The tables as documents have them: docs/performance.md whole, README.md with what a user cares about.
//!
//! Both stand between two comments there, which are all that is known of the documents' text.

use crate::growth::{FAMILIES, power};
use crate::{Line, shown, spread};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- figures of `cargo bench --bench takeover -- --write` -->";
const END: &str = "<!-- end of the figures -->";

/// (row, figure, in a user's words)
const USERS: [(&str, &str, &str); 8] = [
    ("crash:1:1:0.1", "first advert late, ms", "first advert after a crash, ms past the RFC's deadline"),
    ("crash:1:1:0.1", "all addresses announced, ms", "its address announced, ms past it"),
    (
        "graceful:255:4:1",
        "all addresses announced, ms",
        "1,020 addresses of 255 instances announced after an orderly stop, ms",
    ),
    ("cpu:255:1:0.1", "processor for an advert, master, µs", "processor for an advert of 255 instances, master, µs"),
    ("cpu:255:1:0.1", "processor for an advert, backup, µs", "the same, backup, µs"),
    (
        "heal",
        "an address removed by another program is back, ms",
        "an address deleted by another program is back after, ms",
    ),
    (
        "reload:255:4:0.1",
        "longest silence of a virtual router, ms",
        "longest silence over reloads of 255 instances at 100 ms, ms",
    ),
    ("test:5000", "-t, with `ip netns exec`, ms", "`-t` on 5,000 instances, ms"),
];

pub fn head(names: &[&str]) -> String {
    let rule = "---|".repeat(names.len());
    format!("| row | figure | {} | kernel | load |\n|---|---|{rule}---|---|", names.join(" | "))
}

pub fn row(line: &Line) -> String {
    let cells: Vec<String> = line.cells.iter().map(|cell| spread(cell.clone())).collect();
    let kernel = if line.kernel.is_empty() { String::new() } else { spread(line.kernel.clone()) };
    format!("| `{}` | {} | {} | {kernel} | {} |", line.row, line.figure, cells.join(" | "), line.load)
}

/// What grows by which power, each family with its rows.
pub fn growth(names: &[&str], lines: &[Line]) -> String {
    let rule = "---|".repeat(names.len());
    let mut text = format!("| what | n | {} | kernel |\n|---|---|{rule}---|\n", names.join(" | "));
    for family in &FAMILIES {
        let mut points: Vec<Vec<(usize, f64)>> = vec![Vec::new(); names.len() + 1];
        for (n, row) in family.rows {
            let Some(line) = lines.iter().find(|line| line.row == row && line.figure == family.figure) else {
                continue;
            };
            let all = line.cells.iter().chain(std::iter::once(&line.kernel));
            let middles: Vec<Option<f64>> = all.map(|cell| middle(cell)).collect();
            for (points, middle) in points.iter_mut().zip(&middles) {
                points.extend(middle.map(|middle| (n, middle)));
            }
            let cells: Vec<String> = middles.into_iter().map(|cell| cell.map_or("-".into(), shown)).collect();
            let _ = writeln!(text, "| {} (`{row}`) | {n} | {} |", family.what, cells.join(" | "));
        }
        let powers = points.iter().map(|points| power(points).map_or("-".into(), |power| format!("n^{power:.2}")));
        let _ = writeln!(text, "| grows by | | {} |", powers.collect::<Vec<_>>().join(" | "));
    }
    text
}

fn middle(cell: &[f64]) -> Option<f64> {
    let mut sorted = cell.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

const DOCUMENTS: [&str; 2] = ["docs/performance.md", "README.md"];

/// Copies of the documents, to try writing in.
pub fn copies() -> PathBuf {
    let folder = std::env::temp_dir().join("vipdbench.documents");
    std::fs::create_dir_all(folder.join("docs")).unwrap();
    for document in DOCUMENTS {
        std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(document), folder.join(document)).unwrap();
    }
    folder
}

/// Puts both tables into the documents below `root`.
pub fn write(root: &Path, names: &[&str], lines: &[Line], of: &str) {
    let [performance, readme] = DOCUMENTS.map(|document| root.join(document));
    let rows: Vec<String> = lines.iter().map(row).collect();
    let whole = format!(
        "{of}\n\n{}\n{}\n\nBeyond keepalived's size:\n\n{}",
        head(names),
        rows.join("\n"),
        growth(names, lines)
    );
    replace(&performance, &whole);
    let mut users =
        format!("{of}\n\n| what | {} | row |\n|---|{}---|\n", names.join(" | "), "---|".repeat(names.len()));
    for (row, figure, words) in USERS {
        let Some(line) = lines.iter().find(|line| line.row == row && line.figure == figure) else {
            println!("README.md goes without `{row}`, {figure}: no result");
            continue;
        };
        let cells: Vec<String> = line.cells.iter().map(|cell| spread(cell.clone())).collect();
        let _ = writeln!(users, "| {words} | {} | `{row}` |", cells.join(" | "));
    }
    replace(&readme, &users);
}

fn replace(file: &Path, table: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = parts else {
        println!("{} has no place for figures: {BEGIN}", file.display());
        return;
    };
    std::fs::write(file, format!("{before}{BEGIN}\n{}\n{END}{after}", table.trim_end())).unwrap();
    println!("{} is written", file.display());
}

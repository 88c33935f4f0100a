//! An example's README as the test reads it: which file goes where, which rehearsals it promises, and the table of
//! failures, whose last column is what was measured.
//!
//! `VIPD_EXAMPLES=write cargo test --test examples` writes that column anew. What happens is asserted; how long it took
//! is only written down.

use super::machine::Machine;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

pub struct Readme {
    pub directory: PathBuf,
    text: String,
    measured: Mutex<BTreeMap<String, String>>,
}

impl Readme {
    pub fn of(example: &str) -> Readme {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf-examples").join(example);
        let text = std::fs::read_to_string(directory.join("README.md")).unwrap();
        Readme { directory, text, measured: Mutex::default() }
    }

    /// Rows of the table whose first heading is `heading`, cell by cell.
    fn table(&self, heading: &str) -> Vec<Vec<String>> {
        let start = format!("| {heading} |");
        let mut lines = self.text.lines().skip_while(|l| !l.starts_with(&start));
        assert!(lines.next().is_some(), "{}: no table of {heading}", self.directory.display());
        lines.skip(1).take_while(|l| l.starts_with('|')).map(cells).collect()
    }

    /// Puts the files onto a server as the README's first table says: `file | goes to | on`.
    pub fn install(&self, machine: &Machine) {
        let mut count = 0;
        for row in self.table("file") {
            let [files, place, servers] = &row[..] else { panic!("three cells: {row:?}") };
            if !words(servers).iter().any(|s| s == &machine.name) {
                continue;
            }
            let mode = place.split_once("mode ").map_or(0o644, |(_, m)| u32::from_str_radix(&m[..3], 8).unwrap());
            let place = words(place).remove(0);
            for file in words(files) {
                let from = self.directory.join(&file);
                let plain = file.rsplit('/').find(|part| !part.is_empty()).unwrap();
                if from.is_dir() {
                    for entry in std::fs::read_dir(&from).unwrap().flatten() {
                        let name = entry.file_name().into_string().unwrap();
                        machine.write(&format!("{place}{name}"), &std::fs::read_to_string(entry.path()).unwrap(), mode);
                    }
                } else {
                    let to = if place.ends_with('/') { format!("{place}{plain}") } else { place.clone() };
                    let text = std::fs::read_to_string(&from).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
                    machine.write(&to, &text, mode);
                }
                count += 1;
            }
        }
        assert!(count > 0, "{}: nothing is for {}", self.directory.display(), machine.name);
    }

    /// The rehearsals that the README tells: everything behind `vipctl lab`.
    pub fn rehearsals(&self) -> Vec<Vec<String>> {
        let lines = self.text.lines().filter_map(|l| l.trim().strip_prefix("vipctl lab "));
        lines.map(|l| l.split('#').next().unwrap().split_whitespace().map(str::to_owned).collect()).collect()
    }

    /// A row of the table of failures was played through.
    pub fn measured(&self, what: &str, measured: impl Into<String>) {
        let measured = measured.into();
        println!("{}: {what}: {measured}", self.directory.file_name().unwrap().to_string_lossy());
        assert!(
            self.table("what fails").iter().any(|row| row[0] == what),
            "{}: no row {what:?}",
            self.directory.display()
        );
        assert!(self.measured.lock().unwrap().insert(what.into(), measured).is_none(), "{what}: measured twice");
    }

    /// Every row of the table was played through; the measured column is written if that is wished.
    pub fn finish(&self) {
        let measured = self.measured.lock().unwrap();
        let rows = self.table("what fails");
        let missing: Vec<&String> =
            rows.iter().map(|row| &row[0]).filter(|what| !measured.contains_key(*what)).collect();
        assert!(missing.is_empty(), "{}: never played through: {missing:?}", self.directory.display());
        if std::env::var_os("VIPD_EXAMPLES").is_none_or(|v| v != "write") {
            return;
        }
        let text: Vec<String> = self
            .text
            .lines()
            .map(|line| match measured.get(cells(line).first().map_or("", String::as_str)) {
                Some(value) => {
                    let mut row = cells(line);
                    *row.last_mut().unwrap() = value.clone();
                    format!("| {} |", row.join(" | "))
                }
                None => line.to_owned(),
            })
            .collect();
        std::fs::write(self.directory.join("README.md"), text.join("\n") + "\n").unwrap();
    }
}

fn cells(line: &str) -> Vec<String> {
    line.trim().trim_matches('|').split('|').map(|c| c.trim().to_owned()).collect()
}

/// What stands in backticks.
fn words(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

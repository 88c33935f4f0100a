//! Columns: as wide as their widest cell, colour not counted.

use super::paint::Paint;

/// A table for people: columns as wide as their widest cell.
#[derive(Debug)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these heads, and no rows.
    pub fn new(head: &[&str]) -> Table {
        Table { head: head.iter().map(|h| (*h).to_owned()).collect(), rows: Vec::new() }
    }
    /// A further row, a cell a column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
    /// As text, with an LF behind each line.
    pub fn render(&self, paint: Paint) -> String {
        let columns = self.rows.iter().map(Vec::len).chain([self.head.len()]).max().unwrap_or(0);
        let width = |at: usize| {
            let cells = self.rows.iter().filter_map(|r| r.get(at)).chain(self.head.get(at));
            cells.map(|c| visible(c)).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let head: Vec<String> = self.head.iter().map(|h| paint.dim(h)).collect();
        std::iter::once(&head).chain(&self.rows).map(|row| line(row, &widths)).collect()
    }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let mut out = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        out += cell;
        out.extend(std::iter::repeat_n(' ', width.saturating_sub(visible(cell)) + 2));
    }
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
    out
}

/// Characters that are seen: escape sequences (`ESC [ … m`) take no room.
fn visible(text: &str) -> usize {
    let mut count = 0;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\x1b' {
            chars.by_ref().find(|c| *c == 'm');
        } else {
            count += 1;
        }
    }
    count
}

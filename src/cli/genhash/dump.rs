//! The hexadecimal rows of genhash's `-v`: sixteen bytes a row, decimal offsets, as scripts know them from keepalived.

use std::io::Write;

const ROW: usize = 16;

pub(crate) fn title(out: &mut impl Write, text: &str) {
    // Who reads this may have gone.
    let _ = writeln!(out, "-----------------------[{text}]-----------------------");
}

/// Bytes that come in pieces, shown in whole rows.
#[derive(Debug, Default)]
pub struct Rows {
    offset: usize,
    rest: Vec<u8>,
}

impl Rows {
    /// Prints the whole lines that these bytes complete.
    pub fn add(&mut self, out: &mut impl Write, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let whole = self.rest.len() - self.rest.len() % ROW;
        for row in self.rest[..whole].chunks(ROW) {
            show(out, self.offset, row);
            self.offset = self.offset.saturating_add(ROW);
        }
        self.rest.drain(..whole);
    }

    /// The last row, which may be short.
    pub fn end(&mut self, out: &mut impl Write) {
        if !self.rest.is_empty() {
            show(out, self.offset, &self.rest);
            self.rest.clear();
        }
    }
}

fn show(out: &mut impl Write, offset: usize, row: &[u8]) {
    let mut line = format!("{offset:04}  ");
    for at in 0..ROW {
        if at == ROW / 2 {
            line += "- ";
        }
        match row.get(at) {
            Some(byte) => line += &format!("{byte:02x} "),
            None => line += "   ",
        }
    }
    line += "  ";
    for at in 0..ROW {
        line.push(match row.get(at) {
            Some(byte) if byte.is_ascii_graphic() || *byte == b' ' => char::from(*byte),
            Some(_) => '.',
            None => ' ',
        });
    }
    let _ = writeln!(out, "{line}");
}

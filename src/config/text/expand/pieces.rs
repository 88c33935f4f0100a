//! The expanded text, piece by piece.
//!
//! Lines are kept as they stand in a file, and split at their braces only in a table beside them: what is copied in long runs needs
//! but one entry in the table of places.

use super::line::is_blank;

/// Where a piece stands, in bytes.
pub(crate) type Bounds = (u32, u32);

/// The pieces of a text, each with the place where it begins.
#[derive(Clone)]
pub(crate) struct Pieces<'s> {
    buffer: &'s str,
    left: std::slice::Iter<'s, Bounds>,
    at: usize,
}

impl<'s> Pieces<'s> {
    /// Of a text whose lines have been [`split`].
    pub fn of(buffer: &'s str, bounds: &'s [Bounds]) -> Pieces<'s> {
        Pieces { buffer, left: bounds.iter(), at: 0 }
    }

    /// How much has been read, in bytes.
    pub fn position(&self) -> usize {
        self.at
    }
}

impl<'s> Iterator for Pieces<'s> {
    type Item = (&'s str, u32);
    fn next(&mut self) -> Option<(&'s str, u32)> {
        let (start, end) = *self.left.next()?;
        self.at = end as usize;
        Some((self.buffer.get(start as usize..self.at)?, start))
    }
}

/// The pieces of one line, counted from `base`: trimmed, not empty; a brace that is not in quotes stands alone.
pub(crate) fn split(line: &str, base: u32) -> impl Iterator<Item = (&str, Bounds)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = line.get(at..)?;
        let text = rest.trim_start_matches(is_blank);
        let start = at + rest.len() - text.len();
        let mut quoted = false;
        let brace = text.bytes().position(|byte| {
            quoted ^= byte == b'"';
            !quoted && matches!(byte, b'{' | b'}')
        });
        let len = brace.map_or(text.len(), |brace| brace.max(1));
        at = start + len;
        let piece = text.get(..len)?.trim_end_matches(is_blank);
        let bounds = (base + start as u32, base + (start + piece.len()) as u32);
        (!piece.is_empty()).then_some((piece, bounds))
    })
}

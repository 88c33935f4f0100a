//! Characters that nobody sees or that look like others: they come with text that was copied from a web page, and no
//! complaint about them can be understood without their names.

use super::{Class, Diagnostic, Diagnostics};
use crate::config::text::source::{FileId, Span};

/// What is named, in the order of their code points, with what is to be done about it.
const NAMED: [(char, &str, &str); 22] = [
    ('\u{a0}', "a no-break space", BLANK),
    ('\u{ab}', "a typographic quote", QUOTE),
    ('\u{ad}', "a soft hyphen", REMOVE),
    ('\u{bb}', "a typographic quote", QUOTE),
    ('\u{2002}', "an en space", BLANK),
    ('\u{2003}', "an em space", BLANK),
    ('\u{2009}', "a thin space", BLANK),
    ('\u{200b}', "a zero-width space", REMOVE),
    ('\u{200c}', "a zero-width non-joiner", REMOVE),
    ('\u{200d}', "a zero-width joiner", REMOVE),
    ('\u{2013}', "a dash", DASH),
    ('\u{2014}', "a dash", DASH),
    ('\u{2018}', "a typographic quote", QUOTE),
    ('\u{2019}', "a typographic quote", QUOTE),
    ('\u{201c}', "a typographic quote", QUOTE),
    ('\u{201d}', "a typographic quote", QUOTE),
    ('\u{201e}', "a typographic quote", QUOTE),
    ('\u{202f}', "a narrow no-break space", BLANK),
    ('\u{2060}', "a word joiner", REMOVE),
    ('\u{2212}', "a minus sign of mathematics", DASH),
    ('\u{3000}', "an ideographic space", BLANK),
    ('\u{feff}', "a byte order mark", MARK),
];
const BLANK: &str = "replace it by an ordinary blank";
const REMOVE: &str = "remove it, or type the line anew";
const QUOTE: &str = "write a plain `\"` in its place";
const DASH: &str = "write a plain `-` in its place";
const MARK: &str = "save the file without it";

fn named(c: char) -> Option<&'static (char, &'static str, &'static str)> {
    NAMED.binary_search_by_key(&c, |known| known.0).ok().and_then(|at| NAMED.get(at))
}

/// `c` as `<U+00A0>`, if it cannot be seen.
pub fn unseen(c: char) -> Option<String> {
    named(c).filter(|known| ![QUOTE, DASH].contains(&known.2)).map(|_| format!("<U+{:04X}>", u32::from(c)))
}

/// Letters of other alphabets that look like one of ours, in the order of their code points, and which.
const LOOK_ALIKE: [(char, char); 24] = [
    ('\u{391}', 'A'),
    ('\u{392}', 'B'),
    ('\u{395}', 'E'),
    ('\u{39f}', 'O'),
    ('\u{3bf}', 'o'),
    ('\u{410}', 'A'),
    ('\u{412}', 'B'),
    ('\u{415}', 'E'),
    ('\u{41a}', 'K'),
    ('\u{41c}', 'M'),
    ('\u{41d}', 'H'),
    ('\u{41e}', 'O'),
    ('\u{420}', 'P'),
    ('\u{421}', 'C'),
    ('\u{422}', 'T'),
    ('\u{425}', 'X'),
    ('\u{430}', 'a'),
    ('\u{435}', 'e'),
    ('\u{43e}', 'o'),
    ('\u{440}', 'p'),
    ('\u{441}', 'c'),
    ('\u{443}', 'y'),
    ('\u{445}', 'x'),
    ('\u{456}', 'i'),
];

/// Why nobody sees what is wrong with a keyword: one of its letters only looks like ours.
pub fn look_alike(keyword: &str) -> Option<String> {
    let like = |c: char| LOOK_ALIKE.binary_search_by_key(&c, |known| known.0).ok().and_then(|at| LOOK_ALIKE.get(at));
    let (c, latin) = keyword.chars().find_map(like)?;
    Some(format!("Its `{c}` (U+{:04X}) only looks like `{latin}`: type that in its place", u32::from(*c)))
}

/// Says of each line of the expanded text that holds such a character which it is: as the cure of what has been complained of
/// in that line, else as a note.
pub fn name_all(text: &str, diagnostics: &mut Diagnostics) {
    if text.is_ascii() {
        return;
    }
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let at = start;
        start += line.len();
        let Some((offset, (c, name, cure))) = line.char_indices().find_map(|(at, c)| Some((at, named(c)?))) else {
            continue;
        };
        let here = at as u32..start as u32;
        let inside = |d: &&mut Diagnostic| {
            d.class != Class::Security && d.span.is_some_and(|s| s.file == FileId::EXPANDED && here.contains(&s.start))
        };
        let sentence = format!("there is {name} (U+{:04X}) in this line: {cure}", u32::from(*c));
        match diagnostics.list.iter_mut().find(inside) {
            Some(complaint) => complaint.help = Some(sentence),
            None => {
                let from = (at + offset) as u32;
                let span = Span { file: FileId::EXPANDED, start: from, end: from + c.len_utf8() as u32 };
                let message = format!("{name} (U+{:04X}) is part of a word here", u32::from(*c));
                diagnostics.push(Diagnostic::new(Class::Note, span, message).help(*cure));
            }
        }
    }
}

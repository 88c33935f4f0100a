//! What a line that nobody understands was meant to be: the nearest keyword, and signs that other programs' files have.
//!
//! Only words are compared here. What follows from a guess is a cure in a complaint, never a setting.

use crate::config::text::tree::{Node, undefined};

/// The candidate nearest to `word`, if it is near enough to be a slip of the keyboard.
pub fn nearest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .filter(|c| c.len().abs_diff(word.len()) <= limit && letters_apart(word, c) <= limit)
        .map(|c| (strsim::damerau_levenshtein(word, c), c))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, c)| c)
}

/// Different letters of one word that the other one lacks, no more than there are edits between them (0 where the words are not
/// ASCII): told in a hundredth of the time, and too many for nearly every pair.
fn letters_apart(a: &str, b: &str) -> usize {
    if !a.is_ascii() || !b.is_ascii() {
        return 0;
    }
    let letters = |word: &str| word.bytes().fold(0_u128, |all, byte| all | 1 << (byte & 0x7f));
    let (a, b) = (letters(a), letters(b));
    (a & !b).count_ones().max((b & !a).count_ones()) as usize
}

/// The keyword of `names` that a line may begin with: in other letters, with a blank or a hyphen where `_` belongs, with `=`
/// or `:` glued to it, or misspelt.
pub fn keyword<'c>(node: &Node<'_>, names: &[&'c str]) -> Option<&'c str> {
    let word = node.keyword.text;
    // Whoever meant a comment wants none of what stands in it.
    if is_foreign_comment(word) {
        return None;
    }
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let glued = plain(word.split(['=', ':']).next().unwrap_or(word));
    let joined = node.args.first().map(|next| plain(&format!("{word}_{}", next.text)));
    let same = |meant: &str| names.iter().copied().find(|name| *name == meant);
    // Behind signs, numbers of lines or invisible blanks that came with it from elsewhere.
    let inner = word.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).find_map(&same);
    let behind = || {
        let signs = !word.chars().any(|c| c.is_alphabetic());
        node.args.first().filter(|_| signs).and_then(|next| same(next.text))
    };
    joined
        .and_then(|joined| same(&joined))
        .or_else(|| same(&glued))
        .or(inner)
        .or_else(behind)
        .or_else(|| nearest(word, names.iter().copied()))
        .or_else(|| nearest(&glued, names.iter().copied()))
}

/// The cure of a first word that comes from another kind of file, or out of old or half-remembered examples.
pub fn foreign(word: &str) -> Option<&'static str> {
    let ends = |sign: char| word.len() >= 7 && word.chars().all(|c| c == sign);
    match word {
        _ if is_foreign_comment(word) => Some("a comment begins with `#` or `!` and ends with its line"),
        _ if ends('<') || ends('>') || ends('=') => {
            Some("a merge conflict was left in this file: keep one of its two versions, and remove the markers")
        }
        "nat_mask" | "net_mask" => Some("remove the line: keepalived has no such keyword, and balances without it"),
        "vrrp_server" => Some("write `virtual_server ADDRESS PORT {`: a virtual server is nothing of VRRP"),
        "script_security" => Some("write `enable_script_security`"),
        _ if is_of_page(word) => Some("it belongs to the page that the text was copied from: remove the line"),
        _ => None,
    }
}

/// Whether a first word begins a comment in other programs' files.
fn is_foreign_comment(word: &str) -> bool {
    ["/*", "*/", "//", "--"].iter().any(|sign| word.starts_with(sign))
}

/// Whether a first word is what web pages and chats put around a text: a fence, a tag.
pub fn is_of_page(word: &str) -> bool {
    word.starts_with("```") || word.starts_with("~~~") || (word.starts_with('<') && word.contains('>'))
}

/// The cure of a value that has a sign or a unit which belongs to other kinds of files; `in_seconds`: the keyword takes
/// seconds.
pub fn plain_value(node: &Node<'_>, in_seconds: bool) -> Option<String> {
    let keyword = node.keyword.text;
    let first = node.args.first().filter(|word| !word.quoted)?.text;
    if let "=" | ":" = first {
        let value = node.args.get(1).map_or("VALUE", |word| word.text);
        return Some(format!("write `{keyword} {value}`, without `{first}`"));
    }
    if let Some(cure) = undefined(first) {
        return Some(cure);
    }
    let value = first.trim_start_matches('=').trim_end_matches([';', ',']);
    if value.len() < first.len() && !value.is_empty() {
        let sign = if first.starts_with('=') { "=" } else { first.get(first.len() - 1..)? };
        return Some(format!("write `{keyword} {value}`, without `{sign}`"));
    }
    let digits = first.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, unit) = (first.get(..digits)?, first.get(digits..)?);
    let scale = match unit.to_ascii_lowercase().as_str() {
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "ms" | "msec" | "msecs" => 0.001,
        "us" | "usec" => 0.000_001,
        "m" | "min" | "minutes" => 60.0,
        "%" => 1.0,
        _ => return None,
    };
    let amount: f64 = number.parse().ok()?;
    if !in_seconds {
        return Some(format!("write `{keyword} {number}`: a number stands without a unit"));
    }
    let seconds = format!("{:.6}", amount * scale);
    let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
    Some(format!("write `{keyword} {seconds}`: seconds, without a unit"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whoever is left out for its letters is too far away.
        #[test]
        fn no_nearest_word_is_left_out_for_its_letters(a in "[a-dé]{0,9}", b in "[a-dé]{0,9}") {
            prop_assert!(letters_apart(&a, &b) <= strsim::damerau_levenshtein(&a, &b), "{a} {b}");
        }
    }
}

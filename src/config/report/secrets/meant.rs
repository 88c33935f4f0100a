//! Keywords of secrets, and of their blocks, as they are found whatever has happened to them: letters lost, doubled, changed or
//! exchanged, signs, blanks, line ends, sequences and includes in their middle.
//!
//! Only letters and digits count, in the order of the text. What comes within two changes of a keyword is taken for it. Nothing is
//! known of lines, blocks or definitions here.

/// What is looked for, by its letters alone: the keywords whose argument is secret first, then the beginnings of the blocks that
/// hold some. All have as many letters, so that one word of the processor follows the four of them.
const LOOKED_FOR: [&[u8; LETTERS]; 4] = [b"authpass", b"password", b"authhmac", b"authenti"];
const LETTERS: usize = 8;
/// How many of [`LOOKED_FOR`] have a secret behind them.
const SECRET: usize = 2;
/// Letters lost, added or changed.
const CHANGES: usize = 2;

/// The bits of the first letters, and of the last ones.
const FIRST: u32 = 0x0101_0101;
const LAST: u32 = 0x8080_8080;

/// Where keywords end in a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Meant {
    /// Of secrets, in order.
    pub(super) secrets: Vec<usize>,
    /// Of their blocks, in order.
    pub(super) blocks: Vec<usize>,
}

/// The nearest end so far of a keyword that is being passed: with how many changes, and where.
type Nearest = Option<(usize, usize)>;

impl Meant {
    pub(super) fn find(text: &str) -> Meant {
        // As Wu and Manber search with errors: bit n of `rows[k]` says that the first n + 1 letters are behind us, with k changes.
        let mut rows = [0_u32; CHANGES + 1];
        for (changes, row) in rows.iter_mut().enumerate().skip(1) {
            *row = (0..changes).fold(0, |row, bit| row | FIRST << bit);
        }
        let begins = |row: u32| (row << 1) | FIRST;
        let mut found = Meant::default();
        let mut nearest: [Nearest; LOOKED_FOR.len()] = [None; LOOKED_FOR.len()];
        let mut passed = 0;
        for (at, c) in text.char_indices() {
            if at < passed {
                continue;
            }
            passed = at + foreign(text.get(at..).unwrap_or_default());
            if passed > at || !c.is_alphanumeric() {
                continue;
            }
            let here = PLACES.get(c.to_ascii_lowercase() as usize).copied().unwrap_or(0);
            let (mut above, mut above_now) = (0, 0);
            for (changes, row) in rows.iter_mut().enumerate() {
                let mut now = begins(*row) & here;
                if changes > 0 {
                    // One too many, another one, one too few.
                    now |= above | begins(above) | begins(above_now);
                }
                (above, above_now) = (*row, now);
                *row = now;
            }
            // What ends here with fewer changes ends here with more as well.
            if rows.last().is_none_or(|row| row & LAST == 0) && nearest.iter().all(Option::is_none) {
                continue;
            }
            for (number, nearest) in nearest.iter_mut().enumerate() {
                let bit = LAST & (0xff << (number * LETTERS));
                match rows.iter().position(|row| row & bit != 0) {
                    Some(changes) if nearest.is_none_or(|(fewest, _)| changes < fewest) => {
                        *nearest = Some((changes, at + c.len_utf8()));
                    }
                    Some(_) => {}
                    None => found.take(number, nearest.take(), text),
                }
            }
        }
        for (number, nearest) in nearest.into_iter().enumerate() {
            found.take(number, nearest, text);
        }
        found.secrets.sort_unstable();
        // Of two in one word, as in `auth_password`, the later one ends the keyword.
        let ends = std::mem::take(&mut found.secrets);
        let goes_on = |at: usize, next: usize| {
            next > at
                && next - at < LETTERS - CHANGES
                && text.get(at..next).is_some_and(|between| between.chars().all(char::is_alphanumeric))
        };
        let nexts = ends.iter().skip(1).copied().chain([usize::MAX]);
        found.secrets =
            ends.iter().copied().zip(nexts).filter(|(at, next)| !goes_on(*at, *next)).map(|(at, _)| at).collect();
        found.blocks.sort_unstable();
        found
    }

    fn take(&mut self, number: usize, nearest: Nearest, text: &str) {
        let Some((changes, end)) = nearest else { return };
        // The letters that its word has left are its own, if they are no more than what is wrong with it.
        let rest = text.get(end..).unwrap_or_default();
        let left = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        let end = if left <= changes { end + left } else { end };
        if number < SECRET { self.secrets.push(end) } else { self.blocks.push(end) }
    }
}

/// The bits of the places that a letter has in what is looked for.
const PLACES: [u32; 128] = {
    let mut places = [0; 128];
    let mut place = 0;
    while place < LOOKED_FOR.len() * LETTERS {
        places[LOOKED_FOR[place / LETTERS][place % LETTERS] as usize] |= 1 << place;
        place += 1;
    }
    places
};

/// How many bytes the text begins with that the language takes out of it: a sequence, `include`.
fn foreign(text: &str) -> usize {
    if !matches!(text.as_bytes().first(), Some(b'~' | b'i')) {
        return 0;
    }
    let sequence = |name: &str| text.starts_with(name).then_some(name.len());
    match sequence("~SEQ(") {
        Some(open) => text.lines().next().and_then(|line| line.find(')')).map_or(open, |close| close + 1),
        None => sequence("~LST(").or_else(|| sequence("include")).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(text: &str) -> Vec<&str> {
        Meant::find(text).secrets.into_iter().map(|end| &text[end..]).collect()
    }

    #[test]
    fn a_keyword_is_found_whatever_stands_in_it() {
        for text in [
            "auth_pass x",
            "Auth-Pass x",
            "au = th_apss x",
            "auth_ @^a pass x",
            "pa~SEQ(i,2) sword x",
            ",passwor x",
            "auth_painclude y\nss x",
            "FILE atuh_pass x",
            "aut\\\nh_p\\\nass x",
            "auth_passs x",
            "pa$ss wo]rd x",
            "passwd x",
            "auth_password x",
        ] {
            assert!(behind(text).iter().any(|rest| rest.trim_start_matches('s') == " x"), "{text}: {:?}", behind(text));
        }
    }

    #[test]
    fn other_words_are_none() {
        for text in ["passive 77", "auth_type PASS", "notify_backup /bypass", "path /etc/ssl/ca.pem", "compass assword"]
        {
            assert!(behind(text).iter().all(|rest| rest.is_empty()), "{text}: {:?}", behind(text));
        }
    }

    #[test]
    fn its_block_is_found() {
        for text in ["authen!tica = tion {", "auth_h\nmac {", "authentication {", "auht_hmac{"] {
            assert!(!Meant::find(text).blocks.is_empty(), "{text}");
        }
        assert_eq!(Meant::find("auth_type PASS\nauth_pass x"), Meant { secrets: vec![24], blocks: vec![] });
    }
}

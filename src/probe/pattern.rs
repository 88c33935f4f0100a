//! `regex`: PCRE2 over a body that comes in pieces, of which only a window is held.
//!
//! While the body comes, PCRE2 is asked for a partial match ("hard": what depends on bytes to come is not decided yet);
//! of the body is kept what the partial match began with, and as much before it as the pattern can look behind. At the
//! end the rest is matched for good, so `$` and look-ahead work there. A pattern that wants more than [`WINDOW`] at once
//! gives up, and so does one that tries too long: neither can hold up other checks.
//!
//! This is the only unsafe code beside the kernel's: PCRE2 is a C library. Its crate with a safe face has neither partial
//! matches nor limits; a pointer of the library never leaves this file.

use pcre2_sys::{
    PCRE2_ALLOW_EMPTY_CLASS, PCRE2_ALT_BSUX, PCRE2_ALT_CIRCUMFLEX, PCRE2_ALT_VERBNAMES, PCRE2_AUTO_CALLOUT,
    PCRE2_CASELESS, PCRE2_DOLLAR_ENDONLY, PCRE2_DOTALL, PCRE2_DUPNAMES, PCRE2_ERROR_NOMATCH, PCRE2_ERROR_PARTIAL,
    PCRE2_EXTENDED, PCRE2_FIRSTLINE, PCRE2_INFO_ALLOPTIONS, PCRE2_INFO_MAXLOOKBEHIND, PCRE2_JIT_COMPLETE,
    PCRE2_JIT_PARTIAL_HARD, PCRE2_MATCH_INVALID_UTF, PCRE2_MATCH_UNSET_BACKREF, PCRE2_MULTILINE,
    PCRE2_NEVER_BACKSLASH_C, PCRE2_NEVER_UCP, PCRE2_NEVER_UTF, PCRE2_NO_AUTO_CAPTURE, PCRE2_NO_AUTO_POSSESS,
    PCRE2_NO_DOTSTAR_ANCHOR, PCRE2_NO_START_OPTIMIZE, PCRE2_NOTEOL, PCRE2_PARTIAL_HARD, PCRE2_UCP, PCRE2_UNGREEDY,
    PCRE2_USE_OFFSET_LIMIT, PCRE2_UTF, pcre2_code_8, pcre2_code_free_8, pcre2_compile_8, pcre2_get_error_message_8,
    pcre2_get_ovector_pointer_8, pcre2_jit_compile_8, pcre2_jit_stack_8, pcre2_jit_stack_assign_8,
    pcre2_jit_stack_create_8, pcre2_jit_stack_free_8, pcre2_match_8, pcre2_match_context_8,
    pcre2_match_context_create_8, pcre2_match_context_free_8, pcre2_match_data_8,
    pcre2_match_data_create_from_pattern_8, pcre2_match_data_free_8, pcre2_pattern_info_8, pcre2_set_heap_limit_8,
    pcre2_set_match_limit_8,
};
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// Most bytes of a body that are held for one pattern.
pub const WINDOW: usize = 256 * 1024;
/// Fewest new bytes for which the pattern is tried again before the end.
const PIECE: usize = 4096;
/// How often PCRE2 may try within one match. A million is some tens of milliseconds.
const TRIES: u32 = 1_000_000;
/// Most memory for one match, in KiB.
const HEAP: u32 = 8 * 1024;
/// First and largest stack of compiled patterns, in bytes, unless `regex_stack` says otherwise.
const STACK: (usize, usize) = (32 * 1024, 512 * 1024);
/// No stack is larger, whatever `regex_stack` says.
const LARGEST_STACK: u64 = 16 * 1024 * 1024;

/// The words of `regex_options`; others are passed over, as keepalived does.
const OPTIONS: &[(&str, u32)] = &[
    ("allow_empty_class", PCRE2_ALLOW_EMPTY_CLASS),
    ("alt_bsux", PCRE2_ALT_BSUX),
    ("alt_circumflex", PCRE2_ALT_CIRCUMFLEX),
    ("alt_verbnames", PCRE2_ALT_VERBNAMES),
    ("auto_callout", PCRE2_AUTO_CALLOUT),
    ("caseless", PCRE2_CASELESS),
    ("dollar_endonly", PCRE2_DOLLAR_ENDONLY),
    ("dotall", PCRE2_DOTALL),
    ("dupnames", PCRE2_DUPNAMES),
    ("extended", PCRE2_EXTENDED),
    ("firstline", PCRE2_FIRSTLINE),
    ("match_unset_backref", PCRE2_MATCH_UNSET_BACKREF),
    ("multiline", PCRE2_MULTILINE),
    ("never_backslash_c", PCRE2_NEVER_BACKSLASH_C),
    ("never_ucp", PCRE2_NEVER_UCP),
    ("never_utf", PCRE2_NEVER_UTF),
    ("no_auto_capture", PCRE2_NO_AUTO_CAPTURE),
    ("no_auto_possess", PCRE2_NO_AUTO_POSSESS),
    ("no_dotstar_anchor", PCRE2_NO_DOTSTAR_ANCHOR),
    ("no_start_optimize", PCRE2_NO_START_OPTIMIZE),
    ("ucp", PCRE2_UCP),
    ("ungreedy", PCRE2_UNGREEDY),
    ("use_offset_limit", PCRE2_USE_OFFSET_LIMIT),
    ("utf", PCRE2_UTF),
];

/// A compiled pattern.
#[derive(Debug)]
pub struct Regex {
    code: NonNull<pcre2_code_8>,
    utf: bool,
    /// Bytes before a match that may count.
    look_behind: usize,
    stack: (usize, usize),
}
// SAFETY: a compiled pattern is not written to after `jit_compile` (pcre2api, "Multithreading").
unsafe impl Send for Regex {}
// SAFETY: as above; everything that a match writes to is in `Matcher`.
unsafe impl Sync for Regex {}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: made by pcre2_compile, freed here only.
        unsafe { pcre2_code_free_8(self.code.as_ptr()) };
    }
}

fn compile(text: &str, options: u32) -> Result<NonNull<pcre2_code_8>, Box<str>> {
    let (mut error, mut offset) = (0, 0);
    // SAFETY: pointer and length are one string's; the two results are written before it returns.
    let code = unsafe {
        pcre2_compile_8(text.as_ptr(), text.len(), options, &raw mut error, &raw mut offset, ptr::null_mut())
    };
    NonNull::new(code).ok_or_else(|| format!("{}, at offset {offset}", message(error)).into())
}

/// PCRE2's words for an error.
fn message(error: i32) -> String {
    let mut buffer = [0u8; 256];
    // SAFETY: pointer and length are the buffer's; it is terminated by a zero, or a negative number comes back.
    let length = unsafe { pcre2_get_error_message_8(error, buffer.as_mut_ptr(), buffer.len()) };
    let text = usize::try_from(length).ok().and_then(|length| buffer.get(..length)).unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

fn info(code: NonNull<pcre2_code_8>, what: u32) -> u32 {
    let mut value = 0u32;
    // SAFETY: both of the things that are asked for here are of 32 bits.
    unsafe { pcre2_pattern_info_8(code.as_ptr(), what, (&raw mut value).cast::<c_void>()) };
    value
}

impl Regex {
    /// `stack`: first and largest size in bytes, for compiled patterns.
    ///
    /// # Errors
    /// PCRE2's words and the place in the pattern.
    pub fn new(text: &str, options: &[Box<str>], stack: Option<(u64, u64)>) -> Result<Regex, Box<str>> {
        let known = |word: &str| OPTIONS.iter().find(|(name, _)| *name == word).map_or(0, |(_, option)| *option);
        let mut options = options.iter().fold(0, |all, word| all | known(word));
        let mut code = compile(text, options)?;
        let utf = info(code, PCRE2_INFO_ALLOPTIONS) & PCRE2_UTF != 0;
        if utf {
            // A body is whatever the server sends: bytes that are no UTF-8 match nothing, and are no error.
            options |= PCRE2_UTF | PCRE2_MATCH_INVALID_UTF;
            // SAFETY: made just now, known to nobody else.
            unsafe { pcre2_code_free_8(code.as_ptr()) };
            code = compile(text, options)?;
        }
        // SAFETY: the code is ours alone. Where there is no JIT compiler the interpreter does it.
        unsafe { pcre2_jit_compile_8(code.as_ptr(), PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD) };
        let characters = info(code, PCRE2_INFO_MAXLOOKBEHIND).max(1) as usize;
        // There must be room for the rest of a match beside it.
        let look_behind = (if utf { characters * 4 } else { characters }).min(WINDOW / 2);
        let size = |bytes: u64| usize::try_from(bytes.clamp(1024, LARGEST_STACK)).unwrap_or(STACK.0);
        let stack = stack.map_or(STACK, |(first, most)| (size(first), size(most)));
        Ok(Regex { code, utf, look_behind, stack })
    }
}

/// What a match writes to; made when the first piece of a body is there.
#[derive(Debug)]
struct Matcher {
    data: NonNull<pcre2_match_data_8>,
    context: NonNull<pcre2_match_context_8>,
    stack: *mut pcre2_jit_stack_8,
}
// SAFETY: its memory is its own.
unsafe impl Send for Matcher {}

impl Drop for Matcher {
    fn drop(&mut self) {
        // SAFETY: all three were made in `new` and are freed here only; a null stack is allowed.
        unsafe {
            pcre2_match_data_free_8(self.data.as_ptr());
            pcre2_match_context_free_8(self.context.as_ptr());
            pcre2_jit_stack_free_8(self.stack);
        }
    }
}

impl Matcher {
    /// `None` without memory.
    fn new(regex: &Regex) -> Option<Matcher> {
        // SAFETY: plain constructors; null stands for the C library's allocator.
        unsafe {
            let data = NonNull::new(pcre2_match_data_create_from_pattern_8(regex.code.as_ptr(), ptr::null_mut()))?;
            let Some(context) = NonNull::new(pcre2_match_context_create_8(ptr::null_mut())) else {
                pcre2_match_data_free_8(data.as_ptr());
                return None;
            };
            pcre2_set_match_limit_8(context.as_ptr(), TRIES);
            pcre2_set_heap_limit_8(context.as_ptr(), HEAP);
            let stack = pcre2_jit_stack_create_8(regex.stack.0, regex.stack.1, ptr::null_mut());
            if !stack.is_null() {
                pcre2_jit_stack_assign_8(context.as_ptr(), None, stack.cast());
            }
            Some(Matcher { data, context, stack })
        }
    }

    /// PCRE2's result, and where the match or the partial match begins.
    fn run(&mut self, regex: &Regex, subject: &[u8], from: usize, options: u32) -> (i32, usize) {
        // SAFETY: pointer and length are the subject's and `from` is within it; the vector of offsets has room for one
        // pair at the least, and PCRE2 has written its first number when there was a match or a partial one.
        unsafe {
            let result = pcre2_match_8(
                regex.code.as_ptr(),
                subject.as_ptr(),
                subject.len(),
                from.min(subject.len()),
                options,
                self.data.as_ptr(),
                self.context.as_ptr(),
            );
            let found = result >= 0 || result == PCRE2_ERROR_PARTIAL;
            let start = if found { *pcre2_get_ovector_pointer_8(self.data.as_ptr()) } else { 0 };
            (result, start.min(subject.len()))
        }
    }
}

/// How a search ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Found,
    NotFound,
    /// A match would need more than [`WINDOW`] bytes at once.
    TooLong,
    /// PCRE2 gave up; its words.
    GaveUp(Box<str>),
}

/// A search through one body.
#[derive(Debug)]
pub struct Search {
    regex: Arc<Regex>,
    /// First and last offset in the body at which a match may begin.
    within: (u64, u64),
    matcher: Option<Matcher>,
    window: Vec<u8>,
    /// Offset of the window in the body.
    offset: u64,
    /// Where in the window the search goes on.
    from: usize,
    /// As much of the window as has been searched.
    seen: usize,
    outcome: Option<Outcome>,
}

impl Search {
    /// A first offset behind the last one: neither counts, as in keepalived.
    pub fn new(regex: Arc<Regex>, first: u64, last: Option<u64>) -> Search {
        let last = last.unwrap_or(u64::MAX);
        let within = if first > last { (0, u64::MAX) } else { (first, last) };
        Search { regex, within, matcher: None, window: Vec::new(), offset: 0, from: 0, seen: 0, outcome: None }
    }

    /// Takes the next piece of the body; what is known already stays known.
    pub fn take(&mut self, mut bytes: &[u8]) -> Option<&Outcome> {
        while self.outcome.is_none() && !bytes.is_empty() {
            let room = WINDOW.saturating_sub(self.window.len());
            let (piece, rest) = bytes.split_at(room.min(bytes.len()));
            bytes = rest;
            self.window.extend_from_slice(piece);
            let fresh = self.window.len() - self.seen;
            // Twice as much each time: a partial match that grows and grows is not begun again for every byte.
            if fresh >= PIECE.max(self.seen - self.from.min(self.seen)) || self.window.len() >= WINDOW {
                self.search(false);
            }
        }
        self.outcome.as_ref()
    }

    /// The body is whole.
    pub fn finish(&mut self) -> Outcome {
        if self.outcome.is_none() {
            self.search(true);
        }
        self.outcome.clone().unwrap_or(Outcome::NotFound)
    }

    fn search(&mut self, last: bool) {
        let (first_offset, last_offset) = self.within;
        let skip = usize::try_from(first_offset.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        self.from = self.from.max(skip.min(self.window.len()));
        if self.offset.saturating_add(self.from as u64) > last_offset
            || (last && first_offset > self.offset.saturating_add(self.window.len() as u64))
        {
            self.outcome = Some(Outcome::NotFound);
            return;
        }
        // A character that has not come whole yet is not for this time.
        let held = if last || !self.regex.utf { 0 } else { unfinished(&self.window) };
        let subject = self.window.get(..self.window.len() - held).unwrap_or_default();
        if self.regex.utf {
            while self.from > 0 && subject.get(self.from).is_some_and(|byte| byte & 0xc0 == 0x80) {
                self.from -= 1;
            }
        }
        self.from = self.from.min(subject.len());
        if self.matcher.is_none() {
            self.matcher = Matcher::new(&self.regex);
        }
        let Some(matcher) = &mut self.matcher else {
            self.outcome = Some(Outcome::GaveUp("no memory".into()));
            return;
        };
        let options = if last { 0 } else { PCRE2_PARTIAL_HARD };
        let (mut result, mut start) = matcher.run(&self.regex, subject, self.from, options);
        let full = result == PCRE2_ERROR_PARTIAL
            && self.window.len() >= WINDOW
            && unneeded(&self.regex, &self.window, start) == 0;
        if full {
            // Greedy repetitions reach for the end; there may be enough of it already.
            (result, start) = matcher.run(&self.regex, subject, self.from, PCRE2_NOTEOL);
        }
        self.seen = subject.len();
        match result {
            0.. => {
                let within = self.offset.saturating_add(start as u64) <= last_offset;
                self.outcome = Some(if within { Outcome::Found } else { Outcome::NotFound });
            }
            PCRE2_ERROR_NOMATCH if full => self.outcome = Some(Outcome::TooLong),
            PCRE2_ERROR_NOMATCH if last => self.outcome = Some(Outcome::NotFound),
            PCRE2_ERROR_NOMATCH => self.keep_from(self.seen),
            PCRE2_ERROR_PARTIAL => self.keep_from(start),
            error => self.outcome = Some(Outcome::GaveUp(message(error).into())),
        }
    }

    /// Forgets what no match can need that begins at `start` or later.
    fn keep_from(&mut self, start: usize) {
        let unneeded = unneeded(&self.regex, &self.window, start);
        self.window.drain(..unneeded);
        self.offset = self.offset.saturating_add(unneeded as u64);
        self.from = start - unneeded;
        self.seen -= unneeded.min(self.seen);
    }
}

/// How much of a window no match can need that begins at `start` or later. It is not cut inside a character, as far as
/// there are characters: of bytes that are no text a character has four at most.
fn unneeded(regex: &Regex, window: &[u8], start: usize) -> usize {
    let most = start.saturating_sub(regex.look_behind).min(window.len());
    let inside = |at: usize| regex.utf && window.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    (most.saturating_sub(3)..=most).rev().find(|at| !inside(*at)).unwrap_or(most)
}

/// Bytes at the end that begin a UTF-8 character and do not end it: 0 to 3.
fn unfinished(bytes: &[u8]) -> usize {
    for (back, byte) in bytes.iter().rev().take(3).enumerate() {
        let needs = match byte {
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            _ => 1,
        };
        return if back + 1 < needs { back + 1 } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_in(pattern: &str, options: &[&str], body: &[u8], size: usize) -> Outcome {
        find_within(pattern, options, body, size, 0, None)
    }
    fn find_within(
        pattern: &str,
        options: &[&str],
        body: &[u8],
        size: usize,
        first: u64,
        last: Option<u64>,
    ) -> Outcome {
        let options: Vec<Box<str>> = options.iter().map(|word| (*word).into()).collect();
        let regex = Arc::new(Regex::new(pattern, &options, None).unwrap());
        let mut search = Search::new(regex, first, last);
        for piece in body.chunks(size) {
            search.take(piece);
            // As a body that comes slowly: nothing waits for more.
            if size < PIECE && search.outcome.is_none() && search.seen < search.window.len() {
                search.search(false);
            }
        }
        search.finish()
    }

    /// (pattern, options, body, found)
    const CASES: &[(&str, &[&str], &str, bool)] = &[
        ("hel+o", &[], "say hello\n", true),
        ("^hello", &[], "hello\n", true),
        ("^hello", &[], "say hello\n", false),
        ("^hello", &["multiline"], "say\nhello\n", true),
        ("hello$", &[], "say hello", true),
        ("hello$", &[], "say hello\n", true),
        ("hello$", &["dollar_endonly"], "say hello\n", false),
        (r"hello\z", &[], "say hello!", false),
        ("hello(?!\n)", &[], "hello\nhello", true),
        ("(?<=say )hello", &[], "I say hello", true),
        ("(?<!say )hello", &[], "I say hello", false),
        (r"\bhello\b", &[], "xhello hellox hello", true),
        (r"\bhello\b", &[], "xhello hellox", false),
        ("HELLO", &["caseless"], "say hello", true),
        ("say.*hello", &[], "say\nhello", false),
        ("say.*hello", &["dotall"], "say\nhello", true),
        ("h e l l o", &["extended"], "hello", true),
        (r"(\w+) \1", &[], "say hello hello say", true),
        ("gr.n", &["utf"], "Übung grün", true),
        ("gr.n", &[], "Übung grün", false),
        ("gr..n", &[], "Übung grün", true),
        ("(*UTF)gr.n$", &[], "grün", true),
        ("ü{3}", &["utf", "nonsense"], "xüüü", true),
        ("", &[], "", true),
        ("x?$", &[], "abc", true),
        ("^$", &[], "", true),
        ("^$", &[], "abc", false),
    ];

    #[test]
    fn a_match_does_not_depend_on_the_pieces() {
        for (pattern, options, body, found) in CASES {
            let outcome = if *found { Outcome::Found } else { Outcome::NotFound };
            for size in [1, 2, 3, 5, 1000] {
                let seen = find_in(pattern, options, body.as_bytes(), size);
                assert_eq!(seen, outcome, "{pattern:?} {options:?} in {body:?}, pieces of {size}");
            }
        }
    }

    #[test]
    fn offsets_count_from_the_start_of_the_body() {
        let body = b"one two one two";
        for size in [1, 4, 100] {
            let at = |first, last| find_within("two", &[], body, size, first, last);
            assert_eq!(at(0, Some(3)), Outcome::NotFound);
            assert_eq!(at(0, Some(4)), Outcome::Found);
            assert_eq!(at(5, Some(11)), Outcome::NotFound);
            assert_eq!(at(5, Some(12)), Outcome::Found);
            assert_eq!(at(13, None), Outcome::NotFound);
            assert_eq!(at(1000, None), Outcome::NotFound);
            // The wrong way round, neither counts.
            assert_eq!(at(9, Some(8)), Outcome::Found);
            assert_eq!(find_within("(?<=one )two", &[], body, size, 5, None), Outcome::Found);
        }
    }

    #[test]
    fn a_long_body_is_searched_through_a_window() {
        let mut body = vec![b'x'; 5 * WINDOW];
        body.extend(b"needle");
        for size in [1000, 1 << 16, body.len()] {
            assert_eq!(find_in("ne+dle$", &[], &body, size), Outcome::Found);
            assert_eq!(find_in("nee+dlf", &[], &body, size), Outcome::NotFound);
        }
        // What is held at once has an end, and what is there by then may do.
        assert_eq!(find_in("x.*needle", &["dotall"], &body, 1 << 16), Outcome::TooLong);
        let mut early = b"xneedle".to_vec();
        early.extend(vec![b'y'; 2 * WINDOW]);
        assert_eq!(find_in("x.*needle", &["dotall"], &early, 1 << 16), Outcome::Found);
        let regex = Arc::new(Regex::new("x.*needle", &["dotall".into()], None).unwrap());
        let mut search = Search::new(regex, 0, None);
        for piece in body.chunks(77_777) {
            search.take(piece);
            assert!(search.window.len() <= WINDOW);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_no_error() {
        let body = b"\xff\xfe\x80gr\xc3\xbcn\xf0\x9f";
        for size in [1, 2, 100] {
            assert_eq!(find_in("gr.n", &["utf"], body, size), Outcome::Found);
            assert_eq!(find_in("grin", &["utf"], body, size), Outcome::NotFound);
        }
    }

    #[test]
    fn a_full_window_always_moves_on() {
        let mut long = "あabx".as_bytes().to_vec();
        long.resize(2 * WINDOW, b'z');
        assert_eq!(find_in("x.*needle", &["utf", "dotall"], &long, PIECE), Outcome::TooLong);
        let no_text = vec![0xbf; 2 * WINDOW];
        assert_eq!(find_in("needle", &["utf"], &no_text, PIECE), Outcome::NotFound);
        let far = format!("(?<!{})needle", "y".repeat(30_000));
        assert_eq!(find_in(&far, &["utf"], &no_text, PIECE), Outcome::NotFound);
    }

    #[test]
    fn a_pattern_that_tries_for_ever_gives_up() {
        let mut body = vec![b'a'; 2000];
        body.push(b'!');
        for pattern in ["(a+)+$", "(a|aa)+$", "(?:a*)*b$", "(.*)*(.*)*(.*)*=$"] {
            let outcome = find_in(pattern, &["no_auto_possess", "no_start_optimize"], &body, 10_000);
            assert!(matches!(outcome, Outcome::GaveUp(_)), "{pattern}: {outcome:?}");
        }
        assert!(matches!(find_in("(*NO_JIT)(a+)+$", &[], &body, 10_000), Outcome::GaveUp(_)));
        // A pattern cannot grant itself more.
        assert!(matches!(find_in("(*LIMIT_MATCH=4000000000)(a+)+$", &[], &body, 10_000), Outcome::GaveUp(_)));
    }

    #[test]
    fn a_wrong_pattern_is_told_with_its_place() {
        let told = Regex::new("a(b", &[], None).unwrap_err();
        assert_eq!(&*told, "missing closing parenthesis, at offset 3");
        assert!(Regex::new("\\", &[], None).is_err());
    }

    #[test]
    fn patterns_are_compiled_to_machine_code() {
        let (regex, mut size) = (Regex::new("a+b", &[], None).unwrap(), 0usize);
        // SAFETY: the size is of the type that is asked for.
        unsafe {
            let what = pcre2_sys::PCRE2_INFO_JITSIZE;
            pcre2_pattern_info_8(regex.code.as_ptr(), what, (&raw mut size).cast::<c_void>());
        }
        assert!(cfg!(not(any(target_arch = "x86_64", target_arch = "aarch64"))) || size > 0);
    }
}

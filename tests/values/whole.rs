//! A file that has every block and no mistake, and how it is read with one line in it that may be one.

use vipd::config::Env;
use vipd::config::load;
use vipd::config::report::{Class, Diagnostics};
use vipd::config::system::TableSystem;
use vipd::config::text::expand::TextEnv;
use vipd::config::text::source::MapLoader;

const FILE: &str = "/etc/keepalived/keepalived.conf";

/// `@` marks where the lines of a block begin, with its path.
pub const WHOLE: &str = include_str!("whole.conf");

/// The file with one line in one block instead of the good line of the same keyword, so that what the block cannot do
/// without is there in that form, and nowhere else; the number of that line comes too.
pub fn file(block: &str, keyword: &str, line: &str) -> (String, u32) {
    let (mut text, mut number, mut at, mut inside) = (String::new(), 0, 0, None);
    let mut depth = 0i32;
    for good in WHOLE.lines() {
        if let Some(path) = good.strip_prefix('@') {
            if path == block {
                inside = Some(depth);
                text += &format!("{line}\n");
                number += 1;
                at = number;
            }
            continue;
        }
        let replaced = inside == Some(depth) && good.split_whitespace().next() == Some(keyword) && !good.ends_with('{');
        depth += i32::from(good.ends_with('{')) - i32::from(good.trim() == "}");
        if inside.is_some_and(|outer| depth < outer) {
            inside = None;
        }
        if !replaced {
            text += &format!("{good}\n");
            number += 1;
        }
    }
    (text, at)
}

/// What is said about a file on a machine: line (0 for the file as a whole), class, words.
pub struct Judged {
    pub exit_code: u8,
    pub said: Vec<(u32, Class, String)>,
}

pub fn judge(text: &str, system: &TableSystem) -> Judged {
    let files = MapLoader::default().with(FILE, text.to_owned());
    let env = Env { text: TextEnv::default(), system };
    let (_, diagnostics) = load(FILE, &env, &files);
    let Diagnostics { list, sources, .. } = &diagnostics;
    let place = |span: vipd::config::text::source::Span| sources.position(span).0;
    let said = list.iter().map(|c| (c.span.map_or(0, place), c.class, c.message.to_string())).collect();
    Judged { exit_code: diagnostics.exit_code(), said }
}

//! Colour, where a person looks at it: words for meaning (good, bad, dim), never escape codes at the call.

use std::io::IsTerminal;
use std::sync::OnceLock;

static CHOICE: OnceLock<Option<bool>> = OnceLock::new();

/// Settles `--colour`; `None` leaves it to the terminal.
pub fn choose(choice: Option<bool>) {
    let _ = CHOICE.set(choice);
}

/// Paints for one output stream.
#[derive(Clone, Copy, Debug)]
pub struct Paint(bool);

impl Paint {
    pub fn stdout() -> Paint {
        Paint(wanted(std::io::stdout().is_terminal()))
    }
    pub fn stderr() -> Paint {
        Paint(wanted(std::io::stderr().is_terminal()))
    }
    pub const fn plain() -> Paint {
        Paint(false)
    }
    pub const fn on(self) -> bool {
        self.0
    }

    pub fn good(self, text: &str) -> String {
        self.code("32", text)
    }
    pub fn bad(self, text: &str) -> String {
        self.code("1;31", text)
    }
    pub fn careful(self, text: &str) -> String {
        self.code("33", text)
    }
    pub fn strong(self, text: &str) -> String {
        self.code("1", text)
    }
    pub fn dim(self, text: &str) -> String {
        self.code("2", text)
    }
    pub fn name(self, text: &str) -> String {
        self.code("36", text)
    }
    /// A state, in the colour it has everywhere.
    pub fn state(self, word: &str) -> String {
        match word {
            "MASTER" => self.code("1;32", word),
            "BACKUP" => self.code("36", word),
            "FAULT" => self.code("1;31", word),
            _ => self.dim(word),
        }
    }

    fn code(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn wanted(terminal: bool) -> bool {
    match CHOICE.get().copied().flatten() {
        Some(choice) => choice,
        None => terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
    }
}

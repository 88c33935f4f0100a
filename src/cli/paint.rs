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
    /// For what goes to standard output: coloured if that is a terminal.
    pub fn stdout() -> Paint {
        Paint(wanted(std::io::stdout().is_terminal()))
    }
    /// For what goes to standard error: coloured if that is a terminal.
    pub fn stderr() -> Paint {
        Paint(wanted(std::io::stderr().is_terminal()))
    }
    /// Without colours.
    pub const fn plain() -> Paint {
        Paint(false)
    }
    /// Whether it colours.
    pub const fn on(self) -> bool {
        self.0
    }

    /// As it should be: green.
    pub fn good(self, text: &str) -> String {
        self.code("32", text)
    }
    /// A fault: red.
    pub fn bad(self, text: &str) -> String {
        self.code("1;31", text)
    }
    /// Worth a look: yellow.
    pub fn careful(self, text: &str) -> String {
        self.code("33", text)
    }
    pub(crate) fn strong(self, text: &str) -> String {
        self.code("1", text)
    }
    pub(crate) fn dim(self, text: &str) -> String {
        self.code("2", text)
    }
    /// A name: bold.
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

//! Who is told what: programs to run and how a run is known and ends, FIFOs to write, mail to send.

/// A program to run, with everything decided: arguments split, user looked up.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Run {
    pub command: Command,
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups; `None` drops all but `gid`.
    pub groups: Option<Vec<u32>>,
}

/// What is executed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Command {
    /// Executed directly: path and argument vector (argv\[0\] included).
    Exec { path: Box<str>, argv: Vec<Box<str>> },
    /// A command line for `sh -c` (redirections, files without a recognised format).
    Shell(Box<str>),
}

/// Number of one run of a program or of one probe. It grows, and is never used again while the process (and who
/// inherits from it) lives: what is told of a run that was given up can never count for the next one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Attempt(pub u64);

impl Attempt {
    /// The number behind this one, which becomes the last that was used.
    pub fn advance(&mut self) -> Attempt {
        self.0 += 1;
        *self
    }
}

/// How a run ended.
///
/// Written down as `{"code":0}`, `{"signal":9}`, `"not_run"`; the other spellings are those of wills before 0.1.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    #[serde(alias = "Code")]
    Code(i32),
    #[serde(alias = "Signal")]
    Signal(i32),
    /// It could not be started at all.
    #[serde(alias = "NotRun")]
    NotRun,
}

impl Run {
    /// The command line as a person would write it.
    pub fn line(&self) -> String {
        match &self.command {
            Command::Exec { argv, .. } => argv.join(" "),
            Command::Shell(line) => line.to_string(),
        }
    }

    /// The program alone, for sentences: its arguments may hold a password.
    pub fn program(&self) -> &str {
        match &self.command {
            Command::Exec { path, .. } => path,
            Command::Shell(line) => line.split_whitespace().next().unwrap_or("sh"),
        }
    }

    /// The same with one argument more, as the readers of FIFOs get the path.
    pub fn with_argument(mut self, argument: &str) -> Run {
        match &mut self.command {
            Command::Exec { argv, .. } => argv.push(argument.into()),
            Command::Shell(line) => *line = format!("{line} '{argument}'").into(),
        }
        self
    }

    /// Is this `false`, which fails by its nature and stands as a placeholder in many a configuration?
    pub fn always_fails(&self) -> bool {
        matches!(&self.command, Command::Exec { path, .. } if path.rsplit('/').next() == Some("false"))
    }
}

/// Notifications of one instance or group. Boxed: most of thousands of instances have none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Notify {
    pub master: Option<Box<Run>>,
    pub backup: Option<Box<Run>>,
    pub fault: Option<Box<Run>>,
    pub stop: Option<Box<Run>>,
    pub deleted: Option<Box<Run>>,
    pub any: Option<Box<Run>>,
    pub master_rx_lower_pri: Option<Box<Run>>,
    /// `notify_deleted` was given: removal on reload is DELETED, else FAULT.
    pub tell_deleted: bool,
    pub mail: bool,
    /// Priority changes are written to the FIFO.
    pub priority_changes: bool,
}

/// A named pipe that receives one line an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fifo {
    pub path: Box<str>,
    pub uid: u32,
    pub gid: u32,
    /// The program that reads it; its last argument is the path already.
    pub reader: Option<Run>,
}

/// Mail settings; mail is sent only with a server and at least one recipient.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mail {
    pub server: Option<Box<str>>,
    pub port: u16,
    pub from: Option<Box<str>>,
    pub to: Vec<Box<str>>,
    pub helo: Option<Box<str>>,
    pub timeout_secs: u32,
    /// `no_email_faults`.
    pub no_faults: bool,
}

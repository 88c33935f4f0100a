//! Scripts: reading their lines, finding their users, and whether it is safe to run them.
//!
//! A script that runs as root must not be replaceable by others: every directory and every link on its way and the file
//! itself must be root's and not writable by others. The way is walked as the kernel walks it, through links: `/bin` is one
//! on every Debian since 12. keepalived 2.4.3 refuses any path with a link in the middle; 2.2.7 looks only at the file that
//! the links lead to. All questions go through [`System`]; nothing is executed here.

use super::report::{Class, Diagnostic};
use super::system::{FileKind, Stat, System};
use crate::config::global::Global;
use crate::config::table::block::{Body, Cx, Facts, Reader, Repeat, Set, Setting, lost_to_quote};
use crate::config::text::lexer::{self, Escapes};
use crate::config::text::source::Span;
use crate::config::text::tree::Node;
use crate::spec::{Command, Run};

/// A user, and a group that may begin with `:`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserLine {
    pub user: Box<str>,
    pub group: Option<Box<str>>,
    pub span: Span,
}

/// A script option: command line, and who runs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScriptLine {
    /// The command's arguments; at least one.
    pub argv: Vec<Box<str>>,
    pub user: Option<UserLine>,
    pub span: Span,
}

/// A script option of a block. Boxed: hardly any of the places for one is taken.
pub type SetScript = Option<Box<Setting<ScriptLine>>>;

/// A user found: ids and supplementary groups.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
    pub groups: Option<Vec<u32>>,
}

/// Reads `SCRIPT [USER [GROUP]]`; the first one is kept.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    abort: bool,
    repeat: Repeat,
    /// Class of the complaint about a command of no words.
    empty: Class,
}
/// A script; a second one is an error, a missing argument too.
pub const fn script() -> Script {
    Script { abort: false, repeat: Repeat::FirstKept, empty: Class::Note }
}
/// A script that the parent runs: keepalived tells it of these, and only of these, if the command is empty.
pub const fn parent_script() -> Script {
    Script { empty: Class::General, ..script() }
}
/// A script; a second one is an error; without an argument reading stops (exit code 2).
pub const fn must_script() -> Script {
    Script { abort: true, ..script() }
}
/// A script; the last one wins.
pub const fn last_script() -> Script {
    Script { repeat: Repeat::LastWins, ..script() }
}
impl Reader<SetScript> for Script {
    fn read(&self, field: &mut SetScript, node: &Node<'_>, cx: &mut Cx<'_>) {
        // A command that the first reader has lost to a quote may be one to the other.
        if node.args.is_empty() && !lost_to_quote(node) {
            return if self.abort { cx.abort(node, "a command") } else { cx.missing(node, "a command") };
        }
        if let Some(first) = field
            && self.repeat == Repeat::FirstKept
        {
            return cx.again(node.span, node.keyword.text, first.span, "the first one holds");
        }
        if let Some(value) = script_line(node, self.empty, cx) {
            *field = Some(Box::new(Setting { value, span: node.raw_span }));
        }
    }
    fn facts(&self) -> Facts {
        Facts { arguments: "SCRIPT [USER [GROUP]]".into(), repeat: self.repeat, body: Body::None }
    }
}

/// Reads the line of a script option again, by the rules for commands.
pub fn script_line(node: &Node<'_>, empty: Class, cx: &mut Cx<'_>) -> Option<ScriptLine> {
    let span = node.raw_span;
    let (argv, mut names) = match command(cx.env.system, node.raw) {
        Ok(CommandLine { argv, names, ends_open }) => {
            // One in a line whose quotes do not pair up has been complained about, and 2.2.7 knows of no other kind.
            if ends_open && lexer::quotes_pair(node.raw) && lexer::words(node.raw, 0, &mut Vec::new()).is_some() {
                cx.push(
                    Diagnostic::new(Class::Quote, span, "the last quote of this command is never closed")
                        .help("remove it"),
                );
            }
            (argv, names.into_iter())
        }
        // Of the quote has been complained.
        Err(_) if lost_to_quote(node) => {
            cx.missing(node, "a command");
            return None;
        }
        Err(problem) => {
            let message = format!("`{}` is ignored: {}", node.keyword.text, problem.message);
            cx.mistake(span, message, "write the second quote, or the character behind the backslash");
            return None;
        }
    };
    if argv.is_empty() {
        if lost_to_quote(node) {
            cx.missing(node, "a command");
            return None;
        }
        cx.push(Diagnostic::new(empty, span, format!("`{}` is ignored: the command is empty", node.keyword.text)));
        return None;
    }
    let argv = argv.into_iter().map(String::into_boxed_str).collect();
    let user = names.next().map(|user| UserLine { user: user.into(), group: names.next().map(Into::into), span });
    Some(ScriptLine { argv, user, span })
}

/// The line of a script option, read twice.
struct CommandLine {
    argv: Vec<String>,
    /// The user and the group.
    names: Vec<String>,
    /// A double quote at the end of the line or of the command is closed by nothing else.
    ends_open: bool,
}

/// The line as 2.2.7 reads it. Where that cannot be read, or names no file that is there, the line as later ones read it, if they
/// would find theirs: they keep the escapes, and so the blanks in a name, for the reading of the command.
fn command(system: &dyn System, line: &str) -> Result<CommandLine, lexer::Unreadable> {
    let there = |read: &CommandLine| read.argv.first().is_some_and(|path| stat(system, path).is_some());
    let read = read_twice(line, Escapes::Resolved);
    if read.as_ref().is_ok_and(there) || !line.contains('\\') {
        return read;
    }
    read_twice(line, Escapes::Kept).ok().filter(there).map_or(read, Ok)
}

fn read_twice(line: &str, escapes: Escapes) -> Result<CommandLine, lexer::Unreadable> {
    let first = lexer::shell_words(line, escapes)?;
    let mut words = first.words.into_iter();
    let command = words.next().unwrap_or_default();
    let second = lexer::shell_words(&command, Escapes::Resolved)?;
    let ends_open = [first.open, second.open].contains(&Some('"'));
    Ok(CommandLine { argv: second.words, names: words.collect(), ends_open })
}

/// Reads `USER [GROUP]`.
#[derive(Clone, Copy, Debug)]
pub struct User {
    abort: bool,
}
/// A user with or without a group; a missing argument is an error.
pub const fn user() -> User {
    User { abort: false }
}
/// A user with or without a group; without an argument reading stops (exit code 2).
pub const fn must_user() -> User {
    User { abort: true }
}
impl Reader<Set<UserLine>> for User {
    fn read(&self, field: &mut Set<UserLine>, node: &Node<'_>, cx: &mut Cx<'_>) {
        let Some(name) = node.args.first() else {
            let expected = "a user, with or without a group";
            return if self.abort { cx.abort(node, expected) } else { cx.missing(node, expected) };
        };
        let group = node.args.get(1).map(|g| g.text.into());
        let line = UserLine { user: name.text.into(), group, span: name.span };
        if let Err(problem) = account(cx.env.system, &line, false) {
            cx.push(
                Diagnostic::new(Class::General, name.span, format!("`{}`: {problem}", node.keyword.text))
                    .help("make the user (`useradd --system NAME`) or name one that is there; until then its scripts are left out"),
            );
        }
        *field = Set::at(line, name.span);
    }
    fn facts(&self) -> Facts {
        Facts { arguments: "USER [GROUP]".into(), repeat: Repeat::LastWins, body: Body::None }
    }
}

/// Looks a user up. `:GROUP` asks for the supplementary groups of the user as well, `:` alone for those only.
///
/// # Errors
/// There is no such user or group: a sentence for a complaint.
pub fn account(system: &dyn System, line: &UserLine, supplementary: bool) -> Result<Account, String> {
    let user = system.user(&line.user).ok_or_else(|| format!("there is no user `{}`", line.user))?;
    let mut supplementary = supplementary;
    let mut group = line.group.as_deref();
    if let Some(rest) = group.and_then(|g| g.strip_prefix(':')) {
        supplementary = true;
        group = (!rest.is_empty()).then_some(rest);
    }
    let gid = match group {
        Some(name) => system.group(name).ok_or_else(|| format!("there is no group `{name}`"))?,
        None => user.gid,
    };
    let groups = supplementary.then(|| system.groups_of(&user.name, user.gid));
    Ok(Account { uid: user.uid, gid, groups })
}

/// `stat`: links are followed.
pub fn stat(system: &dyn System, path: &str) -> Option<Stat> {
    system.lstat(&real_path(system, path)?)
}

/// The path without links, `.` and `..`; `None` if a part of it does not exist.
pub fn real_path(system: &dyn System, path: &str) -> Option<String> {
    way(system, path).map(|(real, _)| real)
}

/// A part of a path, with what is there.
type Step = (String, Stat);

/// Most links on a way, as in Linux.
const MOST_LINKS: u32 = 40;

/// Where a path leads, and every directory, link and file that the kernel looks at on the way, in its order: whoever may
/// change one of them decides what the path means. `None` if a part of it does not exist.
fn way(system: &dyn System, path: &str) -> Option<(String, Vec<Step>)> {
    let mut done = String::from("/");
    let mut steps = vec![(done.clone(), system.lstat("/")?)];
    let mut left: Vec<String> = path.rsplit('/').map(str::to_owned).collect();
    let mut links = 0;
    while let Some(part) = left.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                done.truncate(done.rfind('/').unwrap_or(0).max(1));
                continue;
            }
            _ => {}
        }
        let next = if done == "/" { format!("/{part}") } else { format!("{done}/{part}") };
        let stat = system.lstat(&next)?;
        steps.push((next.clone(), stat));
        if stat.kind == FileKind::Link {
            links += 1;
            if links > MOST_LINKS {
                return None;
            }
            let target = system.read_link(&next)?;
            if target.starts_with('/') {
                done = "/".into();
            }
            left.extend(target.rsplit('/').map(str::to_owned));
        } else if !stat.kind.is_directory() && left.iter().any(|p| !p.is_empty()) {
            return None;
        } else {
            done = next;
        }
    }
    Some((done, steps))
}

/// Why others than root could change where a way leads at this step, if they could.
fn open_to((_, stat): &Step) -> Option<String> {
    // Anybody may write into a sticky directory, but only root may move what is root's there. A link's own mode
    // says nothing: who may change it is whoever may write into its directory, which is a step of its own.
    let sticky = stat.kind == FileKind::Directory && stat.mode & 0o1000 != 0;
    let open = (stat.gid != 0 && stat.mode & 0o020 != 0) || stat.mode & 0o002 != 0;
    if stat.uid != 0 {
        return Some(format!("belongs to uid {}", stat.uid));
    }
    (open && !sticky && stat.kind != FileKind::Link).then(|| "can be written by others".into())
}

/// A complaint about a script whose first line names an interpreter that is not there. The kernel answers as if the script
/// itself were missing.
fn headless(system: &dyn System, path: &str, span: Span) -> Option<Diagnostic> {
    let head = system.head(path);
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    let interpreter = line.trim_start_matches([' ', '\t']).split([' ', '\t']).next()?;
    let message = if line.ends_with('\r') {
        format!(
            "`{path}` cannot be executed: its first line ends in a carriage return, which is taken as part of a name"
        )
    } else if interpreter.starts_with('/') && way(system, interpreter).is_none() {
        format!("`{path}` cannot be executed: its first line names `{interpreter}`, which is not there")
    } else {
        return None;
    };
    let cure = if line.ends_with('\r') {
        format!("sed -i 's/\\r$//' {path}")
    } else {
        "install that program, or correct the first line of the script".into()
    };
    Some(Diagnostic::new(Class::NotRun, span, message).help(cure))
}

/// A path without `//`, `/./` and `/../`; links stay.
fn clean_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Why a script is not run, or not safely.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Danger {
    /// Nothing is there, or it cannot be looked at.
    NotFound(String),
    /// A directory, a FIFO or a device is there.
    NoFile(String),
    /// It is there; it must not run.
    Inhibited(String),
    /// It is there and its user may not execute it.
    NotExecutable(String),
}
impl Danger {
    /// What to do about it.
    pub fn cure(&self) -> &'static str {
        match self {
            Danger::NotFound(_) => "correct the path, or put the program there",
            Danger::NoFile(_) => "name the file of a program",
            Danger::Inhibited(_) => {
                "make it root's and not writable by others (chown root, chmod go-w), or run it as another user"
            }
            Danger::NotExecutable(_) => "chmod +x, or run it as a user who may execute it",
        }
    }
    pub(crate) fn reason(&self) -> &str {
        let (Danger::NotFound(reason)
        | Danger::NoFile(reason)
        | Danger::Inhibited(reason)
        | Danger::NotExecutable(reason)) = self;
        reason
    }
}

/// Decides over scripts, and remembers what must be said once about all of them.
pub struct Guard<'a> {
    system: &'a dyn System,
    /// `enable_script_security`.
    pub enabled: bool,
    pub use_symlinks: bool,
    pub supplementary: bool,
    /// `script_user`.
    pub script_user: Option<UserLine>,
    default: Option<Result<Account, String>>,
    /// Script security wants a user of its own for whoever names none.
    must_be_named: bool,
    /// There is no default user although script security wants one, and that has not been said.
    default_failed: bool,
    /// A script is configured: where. With security off this is a complaint.
    pub first_script: Option<Span>,
    /// The first script that others could change: why.
    pub first_insecure: Option<(Span, String)>,
    /// Scripts that are there, may run, and cannot: what their first line asks for is not there.
    headless: Vec<Diagnostic>,
}

impl<'a> Guard<'a> {
    /// As `global_defs` want it.
    pub fn of(global: &Global, system: &'a dyn System) -> Self {
        Guard {
            system,
            enabled: global.script_security.is_some(),
            use_symlinks: global.use_symlink_paths(),
            supplementary: global.set_supplementary_groups(),
            script_user: global.script_user.value(),
            default: None,
            must_be_named: true,
            default_failed: false,
            first_script: None,
            first_insecure: None,
            headless: Vec::new(),
        }
    }

    /// Who runs scripts that name nobody: `script_user`, else `keepalived_script`, else this process's user.
    fn default_account(&mut self) -> Result<Account, String> {
        if self.default.is_none() {
            let found = match &self.script_user {
                Some(line) => account(self.system, line, self.supplementary),
                None => {
                    let span = Span { file: crate::config::text::source::FileId::FIRST, start: 0, end: 0 };
                    let line = UserLine { user: "keepalived_script".into(), group: None, span };
                    match account(self.system, &line, self.supplementary) {
                        Ok(found) => Ok(found),
                        Err(_) if self.enabled && self.must_be_named => {
                            self.default_failed = true;
                            Err("with enable_script_security, scripts need script_user or a user keepalived_script"
                                .into())
                        }
                        Err(_) => {
                            let (uid, gid) = self.system.identity();
                            Ok(Account { uid, gid, groups: None })
                        }
                    }
                }
            };
            self.default = Some(found);
        }
        self.default.clone().unwrap_or_else(|| Err("no user".into()))
    }

    /// `ask`, where `script_user` may not count and a user need not be named.
    pub fn with_default<T>(&mut self, named: bool, must_be_named: bool, ask: impl FnOnce(&mut Self) -> T) -> T {
        if named && must_be_named {
            return ask(self);
        }
        let user = if named { None } else { self.script_user.take() };
        let default = self.default.take();
        self.must_be_named = must_be_named;
        let answer = ask(self);
        self.must_be_named = true;
        self.default = default;
        self.script_user = self.script_user.take().or(user);
        answer
    }

    /// Class of a complaint about a missing user: that there is no default user is an error, once.
    pub fn class_of_missing_user(&mut self) -> Class {
        if std::mem::take(&mut self.default_failed) { Class::General } else { Class::Note }
    }

    /// Who runs this script. `Err` says why nobody can.
    pub fn account_of(&mut self, user: Option<&UserLine>) -> Result<Account, String> {
        match user {
            Some(line) => account(self.system, line, self.supplementary),
            None => self.default_account(),
        }
    }

    /// May it run? The [`Run`] has everything decided; the flag says that others could change the script.
    ///
    /// # Errors
    /// It is not there, is no program, or others could change it and script security is on.
    pub fn check(&mut self, argv: &[Box<str>], by: &Account, span: Span) -> Result<(Run, bool), Danger> {
        let run = |command| Run { command, uid: by.uid, gid: by.gid, groups: by.groups.clone() };
        let name: &str = argv.first().map_or("", |a| a);
        if let Some(rest) = name.strip_prefix('<')
            && rest.trim_start_matches([' ', '\t']).starts_with('/')
        {
            return Ok((run(Command::Shell(name.into())), false));
        }
        let given = if name.contains('/') { name.to_owned() } else { self.search(name, by)? };
        let (real, steps) = way(self.system, &given)
            .ok_or_else(|| Danger::NotFound(format!("`{given}` does not exist or cannot be reached")))?;
        let stat =
            self.system.lstat(&real).ok_or_else(|| Danger::NotFound(format!("`{given}` cannot be looked at")))?;
        let given = if self.use_symlinks || real != given { clean_path(&given) } else { given };
        self.first_script.get_or_insert(span);
        let mut insecure = false;
        let executable = self.system.executable(&real, by.uid, by.gid);
        if executable && !stat.kind.is_file() {
            return Err(Danger::NoFile(format!("`{given}` is no file")));
        }
        let set_id = (stat.uid == 0 && stat.mode & 0o4100 == 0o4100) || (stat.gid == 0 && stat.mode & 0o2010 == 0o2010);
        if executable && (by.uid == 0 || by.gid == 0 || set_id) {
            insecure |= self.judge(&steps, span)?;
        }
        if !executable {
            return Err(Danger::NotExecutable(format!(
                "`{given}` cannot be executed by uid {} gid {}",
                by.uid, by.gid
            )));
        }
        if stat.kind == FileKind::Regular
            && let Some(complaint) = headless(self.system, &real, span)
            && !self.headless.iter().any(|said| said.message == complaint.message)
        {
            self.headless.push(complaint);
        }
        let path = if self.use_symlinks { given.clone() } else { self.beside(&real, &given).unwrap_or(real) };
        let mut argv = argv.to_vec();
        if let Some(first) = argv.first_mut() {
            *first = given.into();
        }
        Ok((run(Command::Exec { path: path.into(), argv }), insecure))
    }

    /// The name by which a script is run that a link leads to: a link of that name beside the file, if there is one. One file with
    /// several names finds out by them what it is to do. keepalived 2.2.7 runs it so; 2.3.1 and later run the file.
    fn beside(&self, real: &str, given: &str) -> Option<String> {
        let (directory, _) = real.rsplit_once('/')?;
        let name = given.rsplit('/').next()?;
        let link = format!("{directory}/{name}");
        let (end, steps) = way(self.system, &link).filter(|_| link != real)?;
        (end == real && steps.iter().all(|step| open_to(step).is_none())).then_some(link)
    }

    /// Looks a name without a slash up in `PATH`, as a shell would.
    fn search(&self, name: &str, by: &Account) -> Result<String, Danger> {
        let path = self.system.search_path();
        path.split(':')
            .filter(|dir| !dir.is_empty())
            .map(|dir| format!("{}/{name}", dir.trim_end_matches('/')))
            .find(|candidate| {
                stat(self.system, candidate).is_some_and(|s| s.kind.is_file())
                    && self.system.executable(candidate, by.uid, by.gid)
            })
            .ok_or_else(|| Danger::NotFound(format!("there is no command `{name}` in PATH")))
    }

    /// Looks at each step of a way. True: others could change what is executed, and security is off.
    fn judge(&mut self, steps: &[Step], span: Span) -> Result<bool, Danger> {
        for step in steps {
            if let Some(who) = open_to(step) {
                let reason = format!("`{}` {who}, and the script would run as root", step.0);
                if self.enabled {
                    return Err(Danger::Inhibited(reason));
                }
                self.first_insecure.get_or_insert((span, reason));
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What is said at the end: scripts that cannot run for what they begin with, and the one complaint about scripts without
    /// script security, exit code 6.
    pub fn settle(&mut self, cx: &mut Cx<'_>) {
        for complaint in self.headless.drain(..) {
            cx.push(complaint);
        }
        let Some(span) = self.first_script.filter(|_| !self.enabled) else { return };
        if cx.stands_for("global_defs", Class::Security) || cx.stands_for("enable_script_security", Class::Security) {
            return;
        }
        let mut complaint =
            Diagnostic::new(Class::Security, span, "scripts are configured, but script security is off").help(
                match self.script_user {
                    Some(_) => "put `enable_script_security` into global_defs",
                    None => "put `enable_script_security` and `script_user USER` into global_defs",
                },
            );
        if let Some((span, reason)) = &self.first_insecure {
            complaint = complaint.related(*span, reason.clone());
        }
        cx.push(complaint);
    }
}

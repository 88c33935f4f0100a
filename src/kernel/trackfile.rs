//! Tracked files: inotify on their directories, and the number in them.
//!
//! The directory is watched, not the file: editors and `mv` put a new file in the place of the old one. A symbolic link
//! is followed at the start, and once more when what it leads to goes; while it leads nowhere, each second. A directory that is taken
//! away is looked for at once and then each second. Whatever touches a file system is done aside, a file at a time: one whose file system does not answer
//! keeps nobody waiting, neither the others nor whoever asks how things stand.

use super::aside::aside;
use crate::spec::{FileId, FileSpec};
use futures_util::StreamExt;
use inotify::{EventMask, EventStream, Inotify, WatchDescriptor, WatchMask, Watches};
use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

/// As much of a file as is looked at.
const LONGEST: u64 = 127;
/// When too much is done aside already, or a folder is gone, when to try again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Watches all tracked files.
#[derive(Debug)]
pub struct FileWatch {
    stream: EventStream<Vec<u8>>,
    watches: Watches,
    folders: HashMap<WatchDescriptor, PathBuf>,
    files: Vec<Tracked>,
    /// The last slot that was given away.
    slots: u64,
    /// When what had to wait is tried next.
    next_try: Instant,
    news: VecDeque<(FileId, i32)>,
    looked: mpsc::UnboundedReceiver<(u64, Looked)>,
    tell: mpsc::UnboundedSender<(u64, Looked)>,
}

#[derive(Debug)]
struct Tracked {
    /// By which what was done aside finds back, also over a reload.
    slot: u64,
    id: FileId,
    spec: FileSpec,
    /// Folder and name; `None` before it has been looked at.
    place: Option<(PathBuf, OsString)>,
    value: Option<i32>,
    /// It is a link that leads nowhere: what it is to lead to appears in a folder that is not watched.
    dangling: bool,
    failed: Option<io::Error>,
    /// What is being done aside, and whether it is to be done once more.
    looking: Option<Look>,
    again: Option<Look>,
}

impl Tracked {
    fn is_to_be_tried(&self) -> bool {
        self.looking.is_none() && (self.again.is_some() || self.dangling)
    }
}

/// What is done aside for one file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Look {
    Read,
    /// Its folder was taken away: finding it again, watching it, reading it. What an operator has written into a new one stays.
    Return,
    /// Everything: finding its place, watching it, giving it its first value, reading it.
    Whole,
}

/// What came of it.
#[derive(Debug)]
enum Looked {
    Read(Option<i32>),
    Whole(io::Result<Found>),
}

#[derive(Debug)]
struct Found {
    folder: PathBuf,
    name: OsString,
    watch: WatchDescriptor,
    value: Option<i32>,
    dangling: bool,
}

/// How things stand with the files.
#[derive(Debug, Default)]
pub struct Standing {
    pub values: Vec<(FileId, i32)>,
    /// They cannot be watched.
    pub failed: Vec<(FileId, io::Error)>,
    /// Their file systems have not answered: what they say is told as soon as it is known.
    pub silent: Vec<FileId>,
}

impl FileWatch {
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// inotify cannot be opened.
    pub fn new() -> io::Result<FileWatch> {
        let inotify = Inotify::init()?;
        let watches = inotify.watches();
        let stream = inotify.into_event_stream(vec![0; 4096])?;
        let (tell, looked) = mpsc::unbounded_channel();
        Ok(FileWatch {
            stream,
            watches,
            folders: HashMap::new(),
            files: Vec::new(),
            slots: 0,
            next_try: Instant::now(),
            news: VecDeque::new(),
            looked,
            tell,
        })
    }

    /// Creates the files that want an initial value, watches these files and no others, and answers how things stand
    /// when all have been looked at, or after `limit`.
    pub async fn configure(&mut self, files: &[FileSpec], limit: Duration) -> Standing {
        let mut before = std::mem::take(&mut self.files);
        for (id, spec) in (0u32..).map(FileId).zip(files) {
            // What is under way for a file goes on: a file system that does not answer is not asked once a reload.
            let same = before.iter().position(|file| file.spec.path == spec.path);
            let mut file = match same.map(|at| before.swap_remove(at)) {
                // Looking at all of it includes what was to be tried later.
                Some(file) => {
                    let again = file.again.filter(|_| file.looking.is_some());
                    Tracked { id, spec: spec.clone(), failed: None, again, ..file }
                }
                None => {
                    self.slots += 1;
                    let (slot, spec) = (self.slots, spec.clone());
                    let (value, failed, looking, again) = (None, None, None, None);
                    Tracked { slot, id, spec, place: None, value, dangling: false, failed, looking, again }
                }
            };
            self.start(&mut file, Look::Whole);
            self.files.push(file);
        }
        self.news.clear();
        let deadline = Instant::now() + limit;
        while self.files.iter().any(|file| file.looking.is_some() || file.again.is_some()) {
            match timeout_at(deadline, self.looked.recv()).await {
                Ok(Some((slot, looked))) => self.take_looked(slot, looked),
                Ok(None) | Err(_) => break,
            }
        }
        // What was found out up to here is in the answer.
        self.news.clear();
        self.unwatch_others();
        let mut standing = Standing::default();
        for file in &mut self.files {
            standing.values.extend(file.value.map(|value| (file.id, value)));
            if let Some(error) = file.failed.take() {
                standing.failed.push((file.id, error));
            } else if file.looking.is_some() || file.again.is_some() {
                standing.silent.push(file.id);
            }
        }
        standing
    }

    /// What each file says, as far as it is known.
    pub fn values(&self) -> Vec<(FileId, i32)> {
        self.files.iter().filter_map(|file| Some((file.id, file.value?))).collect()
    }

    /// The next value that was written and differs from the last. Cancel-safe. Waits for ever without files.
    pub async fn next(&mut self) -> (FileId, i32) {
        loop {
            if let Some(news) = self.news.pop_front() {
                return news;
            }
            tokio::select! {
                Some((slot, looked)) = self.looked.recv() => self.take_looked(slot, looked),
                () = sleep_until(self.next_try), if self.files.iter().any(Tracked::is_to_be_tried) => {
                    self.next_try = Instant::now() + TRY_AGAIN;
                    self.start_postponed(true);
                }
                Some(event) = self.stream.next() => if let Ok(event) = event {
                    self.take(&event);
                },
            }
        }
    }

    fn take(&mut self, event: &inotify::Event<OsString>) {
        let lost = event.mask.contains(EventMask::Q_OVERFLOW);
        let folder = self.folders.get(&event.wd).cloned();
        let folder_gone = event.mask.intersects(EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED);
        let mut files = std::mem::take(&mut self.files);
        for file in &mut files {
            let Some((own, name)) = &file.place else {
                // Its folder is watched already, perhaps, and nobody knows it yet.
                if file.looking.is_some() {
                    file.again = file.again.max(Some(if folder_gone { Look::Return } else { Look::Read }));
                }
                continue;
            };
            let here = folder.as_ref() == Some(own);
            if here && folder_gone {
                // A service that is started once more makes its folder of /run again: until then there is no file. A link may
                // lead elsewhere by now, as that of a Kubernetes ConfigMap does.
                file.place = None;
                self.start(file, Look::Return);
            } else if lost || (here && event.name.as_ref() == Some(name)) {
                // A file that went may be there again already: the truth counts, not the event. Where links were followed they
                // are followed once more: nothing there would be said of a place that is no longer meant.
                let went = event.mask.intersects(EventMask::DELETE | EventMask::MOVED_FROM);
                let linked = own.join(name) != Path::new(&*file.spec.path);
                // What is made may be a link, as that of a key that comes back to a ConfigMap.
                let made = event.mask.intersects(EventMask::CREATE | EventMask::MOVED_TO);
                self.start(file, if made || (went && linked) { Look::Return } else { Look::Read });
            }
        }
        self.files = files;
        if folder_gone && self.folders.remove(&event.wd).is_some() {
            // One that was moved is still watched.
            let _ = self.watches.remove(event.wd.clone());
        }
    }

    /// Has a file looked at, or once more if that is being done.
    fn start(&self, file: &mut Tracked, what: Look) {
        if file.looking.is_some() {
            file.again = file.again.max(Some(what));
            return;
        }
        file.looking = Some(what);
        let (slot, tell) = (file.slot, self.tell.clone());
        let words = format!("the tracked file {}", file.spec.path);
        let begun = match (what, &file.place) {
            (Look::Read, Some(_)) => {
                let path = PathBuf::from(&*file.spec.path);
                aside(words, move || drop(tell.send((slot, Looked::Read(read(&path))))))
            }
            _ => {
                let (mut spec, watches) = (file.spec.clone(), self.watches.clone());
                if what == Look::Return {
                    spec.init = None;
                }
                aside(words, move || drop(tell.send((slot, Looked::Whole(find(&spec, watches))))))
            }
        };
        match begun {
            Ok(()) => {}
            // Nobody else would look for a folder that is gone.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy || what == Look::Return => {
                (file.looking, file.again) = (None, Some(what));
            }
            Err(error) => (file.looking, file.failed) = (None, Some(error)),
        }
    }

    /// Those for which there was no room, and if it is time for that, those whose folders were gone.
    fn start_postponed(&mut self, returns: bool) {
        let mut files = std::mem::take(&mut self.files);
        for file in files.iter_mut().filter(|file| file.looking.is_none()) {
            if returns && file.dangling {
                file.again = file.again.max(Some(Look::Return));
            }
            if let Some(what) = file.again.take_if(|what| returns || *what != Look::Return) {
                self.start(file, what);
            }
        }
        self.files = files;
    }

    fn take_looked(&mut self, slot: u64, looked: Looked) {
        let mut files = std::mem::take(&mut self.files);
        let known = files.iter_mut().find(|file| file.slot == slot);
        match (known, looked) {
            // A file that a reload took away.
            (None, _) => {}
            (Some(file), looked) => {
                let (what, next) = (file.looking.take(), file.again.take());
                let nowhere = matches!(looked, Looked::Whole(Err(_)));
                let value = match looked {
                    // Its folder went meanwhile: it is no longer known whether this was the place.
                    Looked::Read(_) if next == Some(Look::Return) => None,
                    Looked::Read(value) => value,
                    Looked::Whole(Ok(Found { folder, name, watch, value, dangling })) => {
                        file.dangling = dangling;
                        self.folders.insert(watch, folder.clone());
                        file.place = Some((folder, name));
                        // What stood in it before counts as nothing.
                        value.or(file.value).or(Some(0))
                    }
                    Looked::Whole(Err(_)) if what == Some(Look::Return) => {
                        file.again = what;
                        Some(0)
                    }
                    Looked::Whole(Err(error)) => {
                        file.failed = Some(error);
                        None
                    }
                };
                if let Some(value) = value {
                    self.say(file, value);
                }
                // What was found out is older than the reason for looking once more; what has no place is not read.
                if let Some(next) = next.filter(|next| !nowhere || Some(*next) >= what) {
                    file.again = None;
                    self.start(file, next);
                }
            }
        }
        self.files = files;
        self.start_postponed(false);
    }

    fn say(&mut self, file: &mut Tracked, value: i32) {
        if file.value.replace(value) != Some(value) {
            self.news.push_back((file.id, value));
        }
    }

    fn unwatch_others(&mut self) {
        let files = &self.files;
        let used =
            |folder: &PathBuf| files.iter().any(|file| file.place.as_ref().is_some_and(|(own, _)| own == folder));
        let gone: Vec<WatchDescriptor> =
            self.folders.iter().filter(|(_, folder)| !used(folder)).map(|(watch, _)| watch.clone()).collect();
        for watch in gone {
            self.folders.remove(&watch);
            let _ = self.watches.remove(watch);
        }
    }
}

/// All that is done for a file at the start, aside.
fn find(spec: &FileSpec, mut watches: Watches) -> io::Result<Found> {
    let mask = WatchMask::CLOSE_WRITE
        | WatchMask::CREATE
        | WatchMask::MOVED_TO
        | WatchMask::MOVED_FROM
        | WatchMask::DELETE
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::ONLYDIR;
    let (folder, name) = place(Path::new(&*spec.path))?;
    let watch = watches.add(&folder, mask)?;
    let path = folder.join(&name);
    initialise(spec, &path)?;
    let value = read(Path::new(&*spec.path));
    let dangling = fs::symlink_metadata(&*spec.path).is_ok() && fs::metadata(&*spec.path).is_err();
    Ok(Found { folder, name, watch, value, dangling })
}

/// The number in the file; 0 if there is none; `None` if it is no 32-bit number and the old one stays. By the path that was
/// configured: where it leads through a link, that is followed now, and not where it led when it was found.
fn read(path: &Path) -> Option<i32> {
    let mut bytes = Vec::new();
    // Not to be kept waiting by a pipe without a writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    if let Ok(file) = file {
        let _ = file.take(LONGEST).read_to_end(&mut bytes);
    }
    number(&bytes)
}

/// Directory and name of a file, symbolic links followed as far as they lead.
fn place(path: &Path) -> io::Result<(PathBuf, OsString)> {
    let real = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(_) => {
            let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
            let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
            fs::canonicalize(folder)?.join(name)
        }
    };
    let folder = real.parent().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    let name = real.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    Ok((folder, name))
}

fn initialise(file: &FileSpec, path: &Path) -> io::Result<()> {
    let Some((value, overwrite)) = file.init else { return Ok(()) };
    if path.exists() && !overwrite {
        return Ok(());
    }
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path)?;
    writeln!(file, "{value}")
}

/// As C's strtol with base 0 reads it: leading blanks, a sign, 0x for hexadecimal, 0 for octal, anything behind
/// ignored. No digits is 0. `None` outside 32 bits.
pub fn number(bytes: &[u8]) -> Option<i32> {
    let text = bytes.trim_ascii_start();
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let is_hexadecimal = |rest: &[u8]| rest.first().is_some_and(u8::is_ascii_hexdigit);
    let (base, digits) = match digits {
        [b'0', b'x' | b'X', rest @ ..] if is_hexadecimal(rest) => (16, rest),
        [b'0', rest @ ..] => (8, rest),
        rest => (10, rest),
    };
    let mut value = 0i64;
    for digit in digits.iter().map_while(|byte| char::from(*byte).to_digit(base)) {
        value = value.saturating_mul(base.into()).saturating_add(digit.into());
    }
    i32::try_from(if negative { -value } else { value }).ok()
}

//! Tracked files: inotify on their directories, and the number in them.
//!
//! The directory is watched, not the file: editors and `mv` put a new file in the place of the old one. A symbolic link
//! is followed once, at the start.

use crate::spec::{FileId, FileSpec};
use futures_util::StreamExt;
use inotify::{EventMask, EventStream, Inotify, WatchDescriptor, WatchMask};
use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// As much of a file as is looked at.
const LONGEST: u64 = 127;

/// Watches all tracked files. Lives on the services thread.
#[derive(Debug)]
pub struct FileWatch {
    stream: EventStream<Vec<u8>>,
    folders: HashMap<WatchDescriptor, PathBuf>,
    files: Vec<Tracked>,
    news: VecDeque<(FileId, i32)>,
}

#[derive(Debug)]
struct Tracked {
    id: FileId,
    folder: PathBuf,
    name: OsString,
    value: i32,
}

impl FileWatch {
    /// Creates the files that want an initial value and starts to watch. Also answers the first value of each file.
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// inotify cannot be opened. A directory that cannot be watched is in the third part.
    #[allow(clippy::type_complexity)]
    pub fn new(files: &[FileSpec]) -> io::Result<(FileWatch, Vec<(FileId, i32)>, Vec<(FileId, io::Error)>)> {
        let inotify = Inotify::init()?;
        let mut watches = inotify.watches();
        let mask = WatchMask::CLOSE_WRITE
            | WatchMask::MOVED_TO
            | WatchMask::MOVED_FROM
            | WatchMask::DELETE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        let (mut tracked, mut failed, mut folders) = (Vec::new(), Vec::new(), HashMap::new());
        for (number, file) in (0u32..).zip(files) {
            let id = FileId(number);
            let prepared = place(Path::new(&*file.path)).and_then(|(folder, name)| {
                let watch = watches.add(&folder, mask)?;
                folders.insert(watch, folder.clone());
                initialise(file, &folder.join(&name))?;
                Ok(Tracked { id, folder, name, value: 0 })
            });
            match prepared {
                Ok(mut file) => {
                    file.value = file.read().unwrap_or(0);
                    tracked.push(file);
                }
                Err(error) => failed.push((id, error)),
            }
        }
        let values = tracked.iter().map(|file| (file.id, file.value)).collect();
        let stream = inotify.into_event_stream(vec![0; 4096])?;
        Ok((FileWatch { stream, folders, files: tracked, news: VecDeque::new() }, values, failed))
    }

    /// The next value that was written and differs from the last. Cancel-safe. Waits for ever without files.
    pub async fn next(&mut self) -> (FileId, i32) {
        loop {
            if let Some(news) = self.news.pop_front() {
                return news;
            }
            match self.stream.next().await {
                Some(Ok(event)) => self.take(&event),
                Some(Err(_)) => {}
                None => return std::future::pending().await,
            }
        }
    }

    fn take(&mut self, event: &inotify::Event<OsString>) {
        let lost = event.mask.contains(EventMask::Q_OVERFLOW);
        let folder = self.folders.get(&event.wd).cloned();
        let folder_gone = event.mask.intersects(EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED);
        let gone = folder_gone || event.mask.intersects(EventMask::DELETE | EventMask::MOVED_FROM);
        for file in &mut self.files {
            let here = folder.as_ref() == Some(&file.folder);
            let concerned = lost || (here && (folder_gone || event.name.as_ref() == Some(&file.name)));
            if !concerned {
                continue;
            }
            // A file that is read again after it went may be there again already: the truth counts, not the event.
            let value = if gone && folder_gone { Some(0) } else { file.read() };
            if let Some(value) = value
                && value != file.value
            {
                file.value = value;
                self.news.push_back((file.id, value));
            }
        }
    }
}

impl Tracked {
    /// The number in the file; 0 if there is none; `None` if it is no 32-bit number and the old one stays.
    fn read(&self) -> Option<i32> {
        let mut bytes = Vec::new();
        // Not to be kept waiting by a pipe without a writer.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(self.folder.join(&self.name));
        if let Ok(file) = file {
            let _ = file.take(LONGEST).read_to_end(&mut bytes);
        }
        number(&bytes)
    }
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

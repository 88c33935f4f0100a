//! One file that log lines are appended to (`-g`).
//!
//! What cannot be written is counted, and a line says so where it is missing once there is room again. Opening never waits
//! (for the reader of a FIFO), a line that was cut by a full disk is ended before the next one, and a file that was moved or
//! removed meanwhile, as logrotate does, is made again. It only answers what is to be told of this: whoever owns the sinks tells it.

use crate::observe::words;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often the path is looked at, and tried where it could not be opened.
const LOOK: Duration = Duration::from_secs(1);

/// The file, open if it could be.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: Option<File>,
    looked: Instant,
    /// Lines that could not be written since the last one that was.
    missing: u64,
    why: String,
    /// The last thing in it is no whole line.
    cut: bool,
}

impl LogFile {
    pub(super) fn open(path: PathBuf) -> LogFile {
        let mut log = LogFile { path, file: None, looked: Instant::now(), missing: 0, why: String::new(), cut: false };
        log.reopen();
        log
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a line and its end. `about` makes the line that says that so many are missing here, and why.
    ///
    /// # Errors
    /// Why this line is missing, if it is the first one.
    ///
    /// The answer is how many were missing before it.
    pub(super) fn write(&mut self, line: &str, about: impl FnOnce(&str) -> String) -> Result<u64, Option<String>> {
        if self.looked.elapsed() >= LOOK && !self.is_in_place() {
            self.reopen();
        }
        let before = self.missing;
        let gap = (before > 0).then(|| format!("{}\n", about(&words::lines_missing(before, &self.why))));
        let written = self.append(&format!("{}{line}\n", gap.unwrap_or_default()));
        match written {
            Ok(()) => {
                self.missing = 0;
                Ok(before)
            }
            Err(why) => {
                self.missing += 1;
                self.why = why;
                Err((before == 0).then(|| self.why.clone()))
            }
        }
    }

    fn append(&mut self, text: &str) -> Result<(), String> {
        let Some(file) = &mut self.file else { return Err(self.why.clone()) };
        let text = if self.cut { format!("\n{text}") } else { text.to_owned() };
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(0) => return Err(words::os(&io::Error::from(io::ErrorKind::WriteZero))),
                Ok(count) => {
                    rest = rest.get(count..).unwrap_or_default();
                    self.cut = !rest.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(words::os(&error)),
            }
        }
        Ok(())
    }

    /// Whether the open file is what stands at the path.
    fn is_in_place(&mut self) -> bool {
        self.looked = Instant::now();
        let Some(Ok(open)) = self.file.as_ref().map(File::metadata) else { return false };
        std::fs::metadata(&self.path).is_ok_and(|there| (there.dev(), there.ino()) == (open.dev(), open.ino()))
    }

    /// What is open stays so if nothing else can be opened.
    fn reopen(&mut self) {
        let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
        match OpenOptions::new().append(true).create(true).custom_flags(flags).open(&self.path) {
            Ok(file) => (self.file, self.cut) = (Some(file), false),
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
                self.why = "it is a FIFO that nobody reads, or a socket".into();
            }
            Err(error) => self.why = words::os(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn place(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("logfile-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    fn write(log: &mut LogFile, line: &str) -> Result<u64, Option<String>> {
        log.looked = Instant::now().checked_sub(LOOK).unwrap();
        log.write(line, str::to_owned)
    }

    #[test]
    fn lines_that_find_no_room_are_counted_and_one_says_so_where_they_are_missing() {
        let path = place("full");
        let mut log = LogFile::open(path.clone());
        write(&mut log, "one").unwrap();
        // A device that is always full stands for the disk.
        let good = log.file.replace(OpenOptions::new().write(true).open("/dev/full").unwrap());
        log.cut = true;
        log.looked = Instant::now();
        assert_eq!(log.write("two", str::to_owned), Err(Some("No space left on device".into())));
        assert_eq!(log.write("three", str::to_owned), Err(None));
        log.file = good;
        assert_eq!(log.write("four", str::to_owned), Ok(2));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "one\n\nlines missing here: 2. No space left on device\nfour\n");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_again() {
        let (path, old) = (place("moved"), place("moved.1"));
        let mut log = LogFile::open(path.clone());
        write(&mut log, "one").unwrap();
        std::fs::rename(&path, &old).unwrap();
        write(&mut log, "two").unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        // There is nothing better than what is open.
        write(&mut log, "three").unwrap();
        std::fs::remove_dir(&path).unwrap();
        write(&mut log, "four").unwrap();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "four\n");
        for path in [path, old] {
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn a_fifo_that_nobody_reads_is_not_waited_for() {
        let path = place("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR).unwrap();
        let mut log = LogFile::open(path.clone());
        assert_eq!(write(&mut log, "one"), Err(Some("it is a FIFO that nobody reads, or a socket".into())));
        let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        assert_eq!(write(&mut log, "two"), Ok(1));
        drop(reader);
        std::fs::remove_file(path).unwrap();
    }
}

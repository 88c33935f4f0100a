//! Words that children leave for the daemon: why a program could not be executed.
//!
//! They stand in memory that both have, whether the child has a copy of everything else or not. So there is no pipe for each
//! program, with two descriptors, and nobody to be woken when it was executed.

use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicI32, Ordering};

const PAGE: usize = 4096;

/// A place for one number, which is one child's until it has been reaped.
#[derive(Clone, Debug)]
pub struct Note(&'static AtomicI32);

impl Note {
    /// The child's part.
    pub(super) fn write(&self, error: i32) {
        self.0.store(error, Ordering::Release);
    }
}

/// Those that are nobody's. Memory for them is never given back.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<&'static AtomicI32>);

impl Notes {
    /// An empty one.
    ///
    /// # Errors
    /// No memory.
    pub(super) fn blank(&mut self) -> io::Result<Note> {
        if self.0.is_empty() {
            self.0 = page()?;
        }
        let word = self.0.pop().ok_or(io::ErrorKind::OutOfMemory)?;
        word.store(0, Ordering::Release);
        Ok(Note(word))
    }

    /// What was written, if anything was. To be called when nobody can write any more.
    pub(super) fn read(&mut self, note: Note) -> Option<i32> {
        self.0.push(note.0);
        Some(note.0.load(Ordering::Acquire)).filter(|error| *error != 0)
    }
}

fn page() -> io::Result<Vec<&'static AtomicI32>> {
    use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
    let length = NonZeroUsize::new(PAGE).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: new memory, which overlaps nothing.
    let page =
        unsafe { mmap_anonymous(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED)? };
    let words = page.cast::<AtomicI32>();
    let count = PAGE / size_of::<AtomicI32>();
    // SAFETY: it is never unmapped, as large as said, aligned to a page, and zero, which is a value.
    Ok(unsafe { std::slice::from_raw_parts(words.as_ptr(), count) }.iter().collect())
}

//! Children that share the daemon's memory until they execute their program.
//!
//! fork(2) copies the tables of all memory that the daemon has, and every page that either side writes before exec; for a
//! daemon of some megabytes and a dozen threads that is half of what a script costs. vfork(2) copies nothing and stops the
//! thread that calls it until exec, which on a dead file system is for ever. A [`Guest`] copies nothing and stops nobody: it
//! runs beside the daemon on a stack of its own, and what it reads stays where it is until the kernel says that it has left.
//!
//! A guest may do system calls only, none of which writes what the daemon reads: no allocation, no lock, and no call of the C
//! library that fails and says so in `errno`, which is that of the thread it came from. It must not change its user: until exec
//! it could be traced by that user, and with it the daemon; and the kernel takes the daemon's right to dump its core.
//!
//! There are [`ROOMS`] at once. Where all are taken, the oldest guest is given [`A_MOMENT`], which is longer than an exec
//! takes; if that is in vain, nobody is waited for until a room is free, and the caller copies its memory after all.
//!
//! Two that were started one after the other run beside each other, and the second one may execute its program first. Where the
//! order means something, as with notifications of FAULT and BACKUP that follow each other, they come in turn.

use super::process::lacks_descriptors;
use rustix::thread::futex;
use std::ffi::{c_int, c_void};
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// So many guests at once.
const ROOMS: usize = 16;
/// How long a room is waited for.
const A_MOMENT: Duration = Duration::from_millis(2);
/// How long one that comes in its turn waits for the one before it: also where that one has to wait for a processor.
const A_TURN: Duration = Duration::from_millis(10);
/// Bytes of a stack: a guest does little. Below it is a page that nobody may touch: who goes beyond ends, and nobody else.
const STACK: usize = 32 * 1024;

/// What a guest does. It never comes back.
pub(super) trait Errand {
    /// # Safety
    /// Only in a child that has its own descriptors and handlers.
    unsafe fn run(&self) -> !;
}

/// All rooms, by the time at which they were taken.
#[derive(Debug)]
pub(super) struct Guests<E> {
    rooms: Vec<Box<Room<E>>>,
    /// The one that was taken longest ago.
    oldest: usize,
    /// It was waited for a room, and none became free.
    in_vain: bool,
    /// Where the one is that came in its turn last.
    last: Option<usize>,
    /// How long the next one waits for it.
    turn: Duration,
}

#[derive(Debug)]
struct Room<E> {
    /// 1 from before the guest is there; the kernel makes it 0 when the guest has left (CLONE_CHILD_CLEARTID).
    taken: AtomicU32,
    /// The stack and the page below it.
    ground: NonNull<c_void>,
    length: NonZeroUsize,
    errand: Option<E>,
}

impl<E> Room<E> {
    fn new() -> io::Result<Room<E>> {
        use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect};
        // SAFETY: it asks for a number.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(STACK).max(1);
        let length = NonZeroUsize::new(page + STACK.next_multiple_of(page)).ok_or(io::ErrorKind::InvalidInput)?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_STACK | MapFlags::MAP_NORESERVE;
        // SAFETY: new memory, which overlaps nothing.
        let ground = unsafe { mmap_anonymous(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags)? };
        // SAFETY: its lowest page, which nobody has yet.
        unsafe { mprotect(ground, page, ProtFlags::PROT_NONE)? };
        Ok(Room { taken: AtomicU32::new(0), ground, length, errand: None })
    }

    fn is_free(&self) -> bool {
        self.taken.load(Ordering::Acquire) == 0
    }

    /// Waits until it is free; true if it is.
    fn wait(&self, until: Instant) -> bool {
        while !self.is_free() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let left = futex::Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
            // The kernel wakes without the flag for waiters of one process.
            let _ = futex::wait(&self.taken, futex::Flags::empty(), 1, Some(&left));
        }
        true
    }
}

impl<E> Drop for Room<E> {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` as long as this, and nobody is in it: see [`Guests`]'s drop.
        let _ = unsafe { nix::sys::mman::munmap(self.ground, self.length.get()) };
    }
}

impl<E> Drop for Guests<E> {
    /// A room with a guest in it stays, with all that the guest reads.
    fn drop(&mut self) {
        self.rooms.drain(..).filter(|room| !room.is_free()).for_each(std::mem::forget);
    }
}

impl<E: Errand> Guests<E> {
    pub(super) const fn new() -> Guests<E> {
        Guests { rooms: Vec::new(), oldest: 0, in_vain: false, last: None, turn: A_TURN }
    }

    /// Starts a child with `errand`: its pid and pidfd; the errand comes back where there is no room, or no descriptor to watch it
    /// by. To be called with all signals blocked.
    ///
    /// # Errors
    /// Those of clone(2), and no memory for a stack.
    pub(super) fn start(&mut self, errand: E, in_turn: bool) -> Result<io::Result<(i32, c_int)>, E> {
        if let Some(before) = self.last.take_if(|_| in_turn).and_then(|at| self.rooms.get(at)) {
            before.wait(Instant::now() + self.turn);
        }
        let at = match self.free() {
            Ok(Some(at)) => at,
            Ok(None) => return Err(errand),
            Err(error) => return Ok(Err(error)),
        };
        let Some(room) = self.rooms.get_mut(at) else { return Err(errand) };
        self.oldest = (at + 1) % ROOMS;
        self.last = Some(at).filter(|_| in_turn).or(self.last.filter(|last| *last != at));
        // What the guest before has read, which is gone.
        let errand = room.errand.insert(errand);
        room.taken.store(1, Ordering::Release);
        let mut pidfd: c_int = -1;
        let flags = libc::CLONE_VM | libc::CLONE_PIDFD | libc::CLONE_CHILD_CLEARTID | libc::SIGCHLD;
        // SAFETY: the stack is this guest's alone, and so are room and errand until `taken` is 0: nobody writes to them and the
        // box does not move. `pidfd` outlives the call.
        let pid = unsafe {
            let top = room.ground.as_ptr().byte_add(room.length.get());
            let no_tls = std::ptr::null_mut::<c_void>();
            libc::clone(
                come_in::<E>,
                top,
                flags,
                std::ptr::from_mut(errand).cast(),
                &raw mut pidfd,
                no_tls,
                room.taken.as_ptr(),
            )
        };
        if pid < 0 {
            let error = io::Error::last_os_error();
            room.taken.store(0, Ordering::Release);
            let errand = room.errand.take().filter(|_| lacks_descriptors(&error));
            return errand.map_or(Ok(Err(error)), Err);
        }
        Ok(Ok((pid, pidfd)))
    }

    /// A room that nobody is in.
    fn free(&mut self) -> io::Result<Option<usize>> {
        let order = (0..ROOMS).map(|further| (self.oldest + further) % ROOMS);
        let found =
            order.filter(|at| *at < self.rooms.len()).find(|at| self.rooms.get(*at).is_some_and(|r| r.is_free()));
        if found.is_some() {
            self.in_vain = false;
            return Ok(found);
        }
        if self.rooms.len() < ROOMS {
            self.rooms.push(Box::new(Room::new()?));
            return Ok(Some(self.rooms.len() - 1));
        }
        if !self.in_vain
            && let Some(room) = self.rooms.get(self.oldest)
        {
            if room.wait(Instant::now() + A_MOMENT) {
                return Ok(Some(self.oldest));
            }
            self.in_vain = true;
        }
        Ok(None)
    }
}

extern "C" fn come_in<E: Errand>(errand: *mut c_void) -> c_int {
    // SAFETY: `start` gave it, and leaves it alone as long as this child is here.
    unsafe { (*errand.cast::<E>()).run() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::os::fd::{FromRawFd, OwnedFd};

    /// Never executes anything, as on a file system that does not answer.
    #[derive(Debug)]
    struct Hang;

    impl Errand for Hang {
        unsafe fn run(&self) -> ! {
            loop {
                // SAFETY: it takes nothing.
                unsafe { libc::pause() };
            }
        }
    }

    fn end(pid: i32) {
        // SAFETY: numbers only; it is our child, and not reaped.
        unsafe {
            libc::kill(pid, libc::SIGKILL);
            libc::waitpid(pid, std::ptr::null_mut(), 0);
        }
    }

    /// Takes its time before it leaves.
    #[derive(Debug)]
    struct Slow;

    impl Errand for Slow {
        unsafe fn run(&self) -> ! {
            let time = libc::timespec { tv_sec: 0, tv_nsec: 200_000_000 };
            // SAFETY: system calls with what is on the stack.
            unsafe {
                libc::nanosleep(&raw const time, std::ptr::null_mut());
                libc::_exit(0)
            }
        }
    }

    #[test]
    fn who_comes_in_his_turn_waits_for_the_one_before_him_and_for_nobody_else() {
        let mut guests = Guests::new();
        guests.turn = Duration::from_secs(60);
        let mut all = Vec::new();
        let mut come = |guests: &mut Guests<Slow>, in_turn| {
            let (pid, pidfd) = guests.start(Slow, in_turn).unwrap().unwrap();
            // SAFETY: it was made for us.
            drop(unsafe { OwnedFd::from_raw_fd(pidfd) });
            all.push(pid);
        };
        come(&mut guests, true);
        come(&mut guests, false);
        assert_eq!(guests.rooms.len(), 2, "one that may overtake waits for nobody");
        come(&mut guests, true);
        assert_eq!(guests.rooms.len(), 2, "the room of the first one, which has left");
        all.into_iter().for_each(end);
    }

    #[test]
    fn who_stays_keeps_his_room_and_nobody_waits_for_him_twice() {
        let mut guests = Guests::new();
        let come = |guests: &mut Guests<Hang>| {
            guests.start(Hang, false).ok().map(|started| {
                let (pid, pidfd) = started.unwrap();
                // SAFETY: it was made for us.
                drop(unsafe { OwnedFd::from_raw_fd(pidfd) });
                pid
            })
        };
        let mut here: Vec<i32> = (0..ROOMS).map(|_| come(&mut guests).unwrap()).collect();
        assert_eq!(come(&mut guests), None, "all rooms are taken");
        assert!(guests.in_vain);
        assert_eq!(come(&mut guests), None);
        end(here.remove(5));
        here.push(come(&mut guests).unwrap());
        assert!(!guests.in_vain);
        here.into_iter().for_each(end);
        assert!(guests.rooms.iter().all(|room| room.is_free()), "the kernel says that they have left");
    }
}

//! What the allocator takes at a time, and what it gives back.

use crate::spec::Daemon;

/// May memory be given back while this daemon serves? Not where it is locked, or where a thread has real-time priority or may
/// get it: such a thread waits for nobody.
pub fn may_give_back(daemon: &Daemon) -> bool {
    let threads = [&daemon.bfd, &daemon.checker];
    let realtime = daemon.rt_priority.is_some()
        || daemon.max_auto_priority.is_some()
        || threads.iter().any(|thread| thread.rt_priority.is_some());
    !daemon.no_swap && !realtime
}

/// Has the allocator take memory a megabyte at a time, once, before there are threads. By itself it makes the memory of
/// every thread but the first accessible page by page, with a system call for each: 1,700 of them at the start with a
/// thousand real servers. Less than the 2 MiB at which the kernel would give a huge page to a thread that needs little.
pub fn take_much_at_once() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a number of the allocator's.
    unsafe {
        libc::mallopt(libc::M_TOP_PAD, 1 << 20);
    }
}

/// Gives back to the system what has been freed. Reading a configuration takes many times what comes out of it, and of
/// two configurations of a reload one is left over; the allocator keeps the room, of every thread by itself, for ever.
///
/// The program's own text stays: most of it is for the start only, but who takes over must not wait for pages of it, and
/// where memory is short the kernel takes back by itself what comes from a file.
///
/// Each thread's part of the allocator is locked while it is looked through: a thread that asks for memory then waits for some
/// tens of microseconds (`cargo bench --bench engine -- memory_beside` prints how many).
/// A daemon with locked memory or real-time priority does not call this (see [`may_give_back`]).
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it touches free memory only, under the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_back_is_there_when_it_is_used() {
        let kept: Vec<u64> = (0..100_000).collect();
        give_back();
        assert_eq!(kept.iter().sum::<u64>(), 4_999_950_000);
    }
}

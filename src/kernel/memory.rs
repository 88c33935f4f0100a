//! What the allocator takes at a time; and memory that nobody will need: what it keeps for later, and pages of the program
//! that only the start used.

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
/// Of the program's own text most is for the start, for reloads and for `vipctl`, which is the same file: it is let go as
/// well, and what is used comes back from the page cache, page by page.
///
/// Each thread's part of the allocator is locked while it is looked through: a thread that asks for memory then waits for some
/// tens of microseconds (`cargo bench --bench engine -- memory_beside` prints how many), and meets some page faults afterwards.
/// Who has asked for locked memory or for real-time priority is not to wait even so long, and has not asked to save:
/// such a daemon does not call this.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it touches free memory only, under the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    for (from, length) in own_constants(&maps) {
        // SAFETY: the range is mapped from a file, privately and without the right to write, so that every page of it can be
        // read from there again. A range that is locked in memory is refused, which is as it should be.
        unsafe {
            libc::madvise(from as *mut libc::c_void, length, libc::MADV_DONTNEED);
        }
    }
}

/// Start and length of the executable parts of the program itself and of the one that begins with its ELF header (constants and
/// tables for unwinding), from a text as /proc/self/smaps: those of the file that is mapped first. The program writes to neither;
/// what was changed by relocation is in other parts. One of which a page is this process's own is left alone: a debugger has set
/// a breakpoint there.
fn own_constants(smaps: &str) -> Vec<(usize, usize)> {
    let mut own = None;
    let mut found = Vec::new();
    let mut last = None;
    for line in smaps.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["Anonymous:", amount, "kB"] => found.extend(last.take().filter(|_| *amount == "0")),
            [range, rights, offset, _, _, path] => {
                let constant = *rights == "r-xp" || (*rights == "r--p" && offset.bytes().all(|digit| digit == b'0'));
                let is_own = *own.get_or_insert((*path).to_owned()) == **path;
                last = bounds(range).filter(|_| constant && is_own);
            }
            [first, ..] if first.contains('-') => last = None,
            _ => {}
        }
    }
    found
}

fn bounds(range: &str) -> Option<(usize, usize)> {
    let (from, to) = range.split_once('-')?;
    let (from, to) = (usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?);
    Some((from, to.checked_sub(from)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_never_written_to_is_let_go() {
        let part = |header: &str, own: u32| format!("{header}\nRss:  512 kB\nAnonymous:  {own} kB\nVmFlags: rd ex\n");
        let text = "55d0a0100000-55d0a0180000 r-xp 00100000 fe:00 77   /usr/sbin/vipd";
        let maps = |own| {
            [
                part("55d0a0000000-55d0a0100000 r--p 00000000 fe:00 77   /usr/sbin/vipd", 0),
                part(text, own),
                part("55d0a0180000-55d0a0188000 r--p 00180000 fe:00 77   /usr/sbin/vipd", 0),
                part("55d0a0188000-55d0a0190000 rw-p 00188000 fe:00 77   /usr/sbin/vipd", 0),
                part("55d0a1000000-55d0a1100000 rw-p 00000000 00:00 0    [heap]", 0),
                part("7f0000000000-7f0000100000 r-xp 00000000 fe:00 78   /usr/lib/libc.so.6", 0),
                part("7f0000200000-7f0000300000 r-xp 00000000 00:00 0", 0),
            ]
            .concat()
        };
        assert_eq!(own_constants(&maps(0)), [(0x55d0_a000_0000, 0x10_0000), (0x55d0_a010_0000, 0x8_0000)]);
        // A breakpoint.
        assert_eq!(own_constants(&maps(4)), [(0x55d0_a000_0000, 0x10_0000)]);
        assert!(own_constants("").is_empty());
    }

    #[test]
    fn what_was_given_back_is_there_when_it_is_used() {
        let kept: Vec<u64> = (0..100_000).collect();
        give_back();
        assert_eq!(kept.iter().sum::<u64>(), 4_999_950_000);
    }
}

//! What the allocator keeps for later, and nobody will need.

/// Gives back to the system what has been freed. Reading a configuration takes many times what comes out of it, and of
/// two configurations of a reload one is left over; the allocator keeps the room, of every thread by itself, for ever.
///
/// Each thread's part is locked while it is looked through: to be called when nothing is in a hurry.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it touches free memory only, under the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

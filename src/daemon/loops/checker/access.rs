//! How far the keeper has come with the kernel's table: four states, and what may be done in which.
//!
//! What an earlier run left in the table is looked at before anything is written to it: what is changed without that, nobody
//! would know to be left over. So [`Access::writable`] gives the table only when it has been looked at, and there is no other way
//! to write to it.

/// A table `T`, or why there is none.
#[derive(Debug, Default)]
pub(super) enum Access<T> {
    /// The kernel has not been asked, or what it had is lost.
    #[default]
    Unknown,
    /// It has none, or does not let us: an error number.
    Absent(i32),
    /// It is open; what an earlier run left has not been looked at.
    Opened(T),
    /// It is ours to change.
    Looked(T),
}

impl<T> Access<T> {
    /// Why there is none, if the last attempt to open it failed.
    pub(super) fn absent(&self) -> Option<i32> {
        match self {
            Access::Absent(error) => Some(*error),
            Access::Unknown | Access::Opened(_) | Access::Looked(_) => None,
        }
    }

    /// The table to be looked at, changed where it must be for that, and read.
    pub(super) fn look_at(&mut self) -> Option<&mut T> {
        match self {
            Access::Opened(table) | Access::Looked(table) => Some(table),
            Access::Unknown | Access::Absent(_) => None,
        }
    }

    /// The table to be changed; none before it has been looked at.
    pub(super) fn writable(&mut self) -> Option<&mut T> {
        match self {
            Access::Looked(table) => Some(table),
            Access::Unknown | Access::Absent(_) | Access::Opened(_) => None,
        }
    }

    /// What an earlier run left has been looked at, and is taken over or gone.
    pub(super) fn looked(&mut self) {
        *self = match std::mem::take(self) {
            Access::Opened(table) => Access::Looked(table),
            other => other,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::Access;

    #[test]
    fn nothing_is_written_before_what_is_left_has_been_looked_at() {
        let mut access: Access<Vec<&str>> = Access::default();
        assert!(access.writable().is_none() && access.look_at().is_none());
        // Looking at nothing opens nothing.
        access.looked();
        assert!(access.look_at().is_none());
        access = Access::Absent(2);
        access.looked();
        assert_eq!(access.absent(), Some(2));
        assert!(access.writable().is_none() && access.look_at().is_none());
        access = Access::Opened(vec!["left over"]);
        assert!(access.writable().is_none() && access.absent().is_none());
        assert_eq!(access.look_at().map(|table| table.len()), Some(1));
        access.looked();
        assert_eq!(access.writable().map(|table| table.len()), Some(1));
        // What was lost must be looked at once more.
        access = Access::Opened(Vec::new());
        assert!(access.writable().is_none());
    }
}

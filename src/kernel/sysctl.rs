//! Network settings under /proc/sys/net: set while the daemon runs, restored when it ends.
//!
//! A setting is restored only if it still has the value that was set: what the administrator changed meanwhile is his.

use std::collections::BTreeMap;
use std::io;

/// What was changed, and what it was before.
#[derive(Debug, Default)]
pub struct Sysctls {
    changed: BTreeMap<String, Changed>,
}

#[derive(Debug)]
struct Changed {
    before: String,
    set: String,
}

/// `family` is "ipv4" or "ipv6"; `link` an interface, "all" or "default".
pub fn path(family: &str, link: &str, name: &str) -> String {
    format!("/proc/sys/net/{family}/conf/{link}/{name}")
}

/// The present value, without the newline.
pub fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

impl Sysctls {
    /// Sets a value and remembers the one before, once. Nothing happens if it is right already.
    ///
    /// # Errors
    /// No such setting, or no permission (a read-only /proc/sys in a container).
    pub fn set(&mut self, path: &str, value: &str) -> io::Result<()> {
        let before = std::fs::read_to_string(path)?.trim().to_owned();
        if before == value {
            return Ok(());
        }
        std::fs::write(path, value)?;
        let changed = self.changed.entry(path.to_owned()).or_insert(Changed { before, set: value.to_owned() });
        value.clone_into(&mut changed.set);
        Ok(())
    }

    /// Sets a value that will not be restored: of an interface that we made and will remove.
    ///
    /// # Errors
    /// As [`Sysctls::set`].
    pub fn set_for_good(path: &str, value: &str) -> io::Result<()> {
        if read(path).as_deref() == Some(value) { Ok(()) } else { std::fs::write(path, value) }
    }

    /// Puts back what is in the way of `keep` only: everything whose path `keep` does not want.
    pub fn restore_except(&mut self, keep: impl Fn(&str) -> bool) {
        self.changed.retain(|path, changed| {
            if keep(path) {
                return true;
            }
            if read(path).as_deref() == Some(changed.set.as_str()) {
                let _ = std::fs::write(path, &changed.before);
            }
            false
        });
    }

    /// Puts everything back.
    pub fn restore(&mut self) {
        self.restore_except(|_| false);
    }
}

//! Network settings under /proc/sys/net: set while the daemon runs, restored when it ends.
//!
//! A setting is restored only if it still has the value that was set: what the administrator changed meanwhile is his.
//!
//! What was changed also stands in a small file under /run, for the process after a killed one, and for the heir of an
//! upgrade: a setting of an interface that has no VMAC any more would otherwise stay for ever. A file that cannot be read, or
//! not be written, is no record.
//!
//! In most containers /proc/sys is read-only, and the kernel takes IPv4 settings of an interface by netlink all the same.

use super::netlink::channel::Channel;
use netlink_packet_core::{DefaultNla, Emitable, NLA_F_NESTED};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{AfSpecInet, AfSpecUnspec, LinkAttribute, LinkMessage};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What was changed, and what it was before.
#[derive(Debug, Default)]
pub struct Sysctls {
    changed: BTreeMap<String, Changed>,
    /// Where it is written down, and whether that is to be written once more.
    record: Option<PathBuf>,
    stale: bool,
}

/// First line of the record; each other one is a path below /proc/sys/net/, the value that was set and the one before.
const HEAD: &str = "vipd sysctl 1";
const ROOT: &str = "/proc/sys/net/";

#[derive(PartialEq, Eq, Debug)]
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

/// Sets a value, by netlink where /proc/sys does not take it, and remembers nothing.
///
/// # Errors
/// No such setting, or no permission.
pub fn write(path: &str, value: &str, channel: &mut Channel) -> io::Result<()> {
    let Err(refused) = fs::write(path, value) else { return Ok(()) };
    let Some(message) = by_netlink(path, value) else { return Err(refused) };
    channel.request(RouteNetlinkMessage::SetLink(message), 0).map_err(|_| refused)
}

/// IFLA_INET_CONF of linux/if_link.h.
const INET_CONF: u16 = 1;

/// The request that sets an IPv4 setting of an interface. What is of all interfaces, or of IPv6, has none.
fn by_netlink(path: &str, value: &str) -> Option<LinkMessage> {
    let mut parts = path.strip_prefix(ROOT)?.strip_prefix("ipv4/conf/")?.split('/');
    let (link, setting) = (parts.next()?, parts.next()?);
    // Numbers of IPV4_DEVCONF_… in linux/ip.h.
    let number = match setting {
        "rp_filter" => 8,
        "arp_filter" => 13,
        "arp_ignore" => 19,
        "promote_secondaries" => 20,
        "accept_local" => 23,
        _ => return None,
    };
    let value: u32 = value.parse().ok()?;
    let one = DefaultNla::new(number, value.to_ne_bytes().to_vec());
    let mut bytes = vec![0; one.buffer_len()];
    one.emit(&mut bytes);
    let inet = AfSpecInet::Other(DefaultNla::new(INET_CONF | NLA_F_NESTED, bytes));
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(link.to_owned()));
    message.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![inet])]));
    Some(message)
}

impl Sysctls {
    /// Takes over what the process before this one has changed and not put back, from its record, which this one goes on
    /// with. What has another value by now is passed over.
    pub fn recorded(record: Option<PathBuf>) -> Sysctls {
        let text = record.as_deref().and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        let mut changed = from_text(&text);
        changed.retain(|path, changed| read(path).as_deref() == Some(changed.set.as_str()));
        Sysctls { changed, record, stale: false }
    }

    /// Brings the record up to date. To be called when a number of settings have been made or put back.
    pub fn keep(&mut self) {
        if let Some(file) = self.record.as_deref().filter(|_| std::mem::take(&mut self.stale)) {
            let _ = store(&self.changed, file);
        }
    }

    /// Sets a value and remembers the one before, once. Nothing happens if it is right already.
    ///
    /// # Errors
    /// As [`write`].
    pub fn set(&mut self, path: &str, value: &str, channel: &mut Channel) -> io::Result<()> {
        let before = std::fs::read_to_string(path)?.trim().to_owned();
        if before == value {
            return Ok(());
        }
        write(path, value, channel)?;
        let changed = self.changed.entry(path.to_owned()).or_insert(Changed { before, set: value.to_owned() });
        value.clone_into(&mut changed.set);
        self.stale = true;
        Ok(())
    }

    /// Sets a value that will not be restored: of an interface that we made and will remove.
    ///
    /// # Errors
    /// As [`write`].
    pub fn set_for_good(path: &str, value: &str, channel: &mut Channel) -> io::Result<()> {
        if read(path).as_deref() == Some(value) { Ok(()) } else { write(path, value, channel) }
    }

    /// Puts back what is in the way of `keep` only: everything whose path `keep` does not want.
    pub fn restore_except(&mut self, keep: impl Fn(&str) -> bool, channel: &mut Channel) {
        let stale = &mut self.stale;
        self.changed.retain(|path, changed| {
            if keep(path) {
                return true;
            }
            *stale = true;
            if read(path).as_deref() == Some(changed.set.as_str()) {
                let _ = write(path, &changed.before, channel);
            }
            false
        });
    }

    /// Puts everything back, and takes the record away.
    pub fn restore(&mut self, channel: &mut Channel) {
        self.restore_except(|_| false, channel);
        self.keep();
    }
}

fn from_text(text: &str) -> BTreeMap<String, Changed> {
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) {
        return BTreeMap::new();
    }
    let changed = lines.filter_map(|line| {
        let mut words = line.split(' ');
        let (path, set, before) = (words.next()?, words.next()?, words.next()?);
        let below = !path.is_empty() && path.split('/').all(|part| !part.is_empty() && part != "..");
        below.then(|| (format!("{ROOT}{path}"), Changed { before: before.to_owned(), set: set.to_owned() }))
    });
    changed.collect()
}

/// Replaces the file whole; without any change it goes.
fn store(changed: &BTreeMap<String, Changed>, file: &Path) -> io::Result<()> {
    if changed.is_empty() {
        return fs::remove_file(file);
    }
    let mut text = format!("{HEAD}\n");
    for (path, Changed { before, set }) in changed {
        if let Some(path) = path.strip_prefix(ROOT) {
            text.push_str(&format!("{path} {set} {before}\n"));
        }
    }
    if let Some(folder) = file.parent() {
        fs::DirBuilder::new().recursive(true).create(folder)?;
    }
    let fresh = file.with_extension("sysctl.new");
    fs::write(&fresh, text)?;
    fs::rename(&fresh, file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_nothing_else_is_one() {
        let folder = std::env::temp_dir().join(format!("vipd-sysctl-{}", std::process::id()));
        let file = folder.join("keepalived.sysctl");
        let of = |before: &str, set: &str| Changed { before: before.to_owned(), set: set.to_owned() };
        let changed = BTreeMap::from([
            (path("ipv4", "eth0.5", "arp_ignore"), of("0", "1")),
            (path("ipv4", "all", "rp_filter"), of("2", "0")),
        ]);
        store(&changed, &file).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(from_text(&text), changed);
        store(&BTreeMap::new(), &file).unwrap();
        assert!(!file.exists());
        assert!(from_text("something\nipv4/conf/eth0/arp_ignore 1 0\n").is_empty());
        for end in 0..text.len() {
            let part = from_text(&text[..end]);
            assert!(part.len() <= changed.len());
        }
        let outside = format!("{HEAD}\n../../kernel/core_pattern x y\n/etc/passwd x y\nipv4/conf/eth0/arp_filter 1\n");
        assert!(from_text(&outside).is_empty());
        fs::remove_dir_all(&folder).unwrap();
    }
}

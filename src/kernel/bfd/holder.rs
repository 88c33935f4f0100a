//! Who has a UDP port: the answer to "cannot listen, address already in use". Reads all of /proc, so it is never called
//! from a thread that has anything else to do.

use std::fs;

/// `NAME (PID)` of a process that listens at a UDP port of this network namespace; `None` if it cannot be seen.
pub fn holder(port: u16) -> Option<String> {
    let inodes: Vec<String> = ["/proc/self/net/udp", "/proc/self/net/udp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|text| inodes(&text, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    for entry in fs::read_dir("/proc").ok()?.filter_map(Result::ok) {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(descriptors) = fs::read_dir(entry.path().join("fd")) else { continue };
        let has = descriptors
            .filter_map(Result::ok)
            .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
            .any(|link| inodes.iter().any(|inode| link.as_os_str() == inode.as_str()));
        if has {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(format!("{} ({pid})", name.trim_end()));
        }
    }
    None
}

/// Inodes of the sockets bound to a port, out of /proc/net/udp.
fn inodes(text: &str, port: u16) -> Vec<String> {
    let end = format!(":{port:04X}");
    // sl local_address rem_address st queues timer retransmits uid timeout inode
    let of_line = |line: &str| {
        let mut words = line.split_whitespace();
        words.nth(1).filter(|local| local.ends_with(&end))?;
        words.nth(7).map(str::to_owned)
    };
    text.lines().skip(1).filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inodes_of_a_port() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n  \
                    123: 00000000:0EC8 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 24417 2 0000000000000000 0\n  \
                    124: 00000000:12B0 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 24418 2 0000000000000000 0\n";
        assert_eq!(inodes(text, 3784), ["24417"]);
        assert_eq!(inodes(text, 4784), ["24418"]);
        assert!(inodes(text, 53).is_empty());
    }
}

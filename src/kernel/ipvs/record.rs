//! What this process has put into the kernel, kept in a small file under /run, so that the process after a crash knows
//! what is its own.
//!
//! A killed daemon leaves its services in the kernel's table. Those that are still wanted are adopted where they stand;
//! those that are no longer wanted could as well be somebody else's, and only this record tells. It is written before the
//! kernel is asked, so it may name what never came to be, never the other way round. It also keeps the kernel's time-outs
//! as they were before they were set, to be restored at the end. A file that cannot be read is no record.

use super::message::Timeouts;
use crate::balance::io::ServiceKey;
use crate::spec::balance::Protocol;
use crate::wire::Family;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

/// First line of the file.
const HEAD: &str = "vipd ipvs 1";

/// What this daemon has put into the kernel's table and into its settings.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record {
    pub services: BTreeSet<ServiceKey>,
    /// As the kernel had them.
    pub timeouts: Option<Timeouts>,
}

impl Record {
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{HEAD}\n");
        for service in &self.services {
            let _ = match service {
                ServiceKey::Address { protocol, address, port } => {
                    writeln!(text, "service {protocol} {address} {port}")
                }
                ServiceKey::Mark { family: Family::V4, mark } => writeln!(text, "mark inet {mark}"),
                ServiceKey::Mark { family: Family::V6, mark } => writeln!(text, "mark inet6 {mark}"),
            };
        }
        if let Some(Timeouts { tcp, tcp_fin, udp }) = self.timeouts {
            let _ = writeln!(text, "timeouts {tcp} {tcp_fin} {udp}");
        }
        text
    }

    /// Lines of another version are passed over.
    pub fn from_text(text: &str) -> Record {
        let mut record = Record::default();
        let mut lines = text.lines();
        if lines.next() != Some(HEAD) {
            return record;
        }
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["timeouts", tcp, tcp_fin, udp] => {
                    if let (Ok(tcp), Ok(tcp_fin), Ok(udp)) = (tcp.parse(), tcp_fin.parse(), udp.parse()) {
                        record.timeouts = Some(Timeouts { tcp, tcp_fin, udp });
                    }
                }
                _ => record.services.extend(service(&words)),
            }
        }
        record
    }

    /// What an earlier process left; nothing if there is no such file.
    pub fn load(file: &Path) -> Record {
        fs::read(file).map(|bytes| Record::from_text(&String::from_utf8_lossy(&bytes))).unwrap_or_default()
    }

    /// Replaces the file whole; an empty record removes it.
    ///
    /// # Errors
    /// Those of writing a file beside it and renaming it.
    pub fn store(&self, file: &Path) -> io::Result<()> {
        if *self == Record::default() {
            return match fs::remove_file(file) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            };
        }
        let fresh = file.with_extension("new");
        fs::write(&fresh, self.to_text())?;
        fs::rename(&fresh, file)
    }
}

fn service(words: &[&str]) -> Option<ServiceKey> {
    match words {
        ["service", protocol, address, port] => Some(ServiceKey::Address {
            protocol: protocol_named(protocol)?,
            address: address.parse().ok()?,
            port: port.parse().ok()?,
        }),
        ["mark", family, mark] => {
            let family = match *family {
                "inet" => Family::V4,
                "inet6" => Family::V6,
                _ => return None,
            };
            Some(ServiceKey::Mark { family, mark: mark.parse().ok()? })
        }
        _ => None,
    }
}

fn protocol_named(word: &str) -> Option<Protocol> {
    [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter().find(|protocol| protocol.to_string() == word)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn record() -> Record {
        let address =
            |protocol, address: &str, port| ServiceKey::Address { protocol, address: address.parse().unwrap(), port };
        Record {
            services: [
                address(Protocol::Tcp, "10.0.0.1", 80),
                address(Protocol::Sctp, "2001:db8::1", 0),
                ServiceKey::Mark { family: Family::V4, mark: 7 },
                ServiceKey::Mark { family: Family::V6, mark: u32::MAX },
            ]
            .into(),
            timeouts: Some(Timeouts { tcp: 900, tcp_fin: 120, udp: 300 }),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        assert_eq!(Record::from_text(&record().to_text()), record());
    }

    #[test]
    fn a_foreign_or_half_written_file_is_no_record_and_foreign_lines_are_passed_over() {
        assert_eq!(Record::from_text("something\nservice tcp 10.0.0.1 80\n"), Record::default());
        let text = record().to_text();
        for end in 0..text.len() {
            let part = Record::from_text(&text[..end]);
            assert!(part.services.is_subset(&record().services) || end > 0);
        }
        assert_eq!(Record::from_text(&format!("{text}weather fine\nservice tcp nowhere 80\n")), record());
    }

    #[test]
    fn an_empty_record_leaves_no_file() {
        let folder = std::env::temp_dir().join(format!("vipd-record-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("ipvs");
        record().store(&file).unwrap();
        assert_eq!(Record::load(&file), record());
        Record::default().store(&file).unwrap();
        assert!(!file.exists());
        Record::default().store(&file).unwrap();
        assert_eq!(Record::load(&file), Record::default());
        fs::remove_dir_all(&folder).unwrap();
    }
}

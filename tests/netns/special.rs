//! IPv6 on VMACs beside keepalived, and `auth_hmac` between two daemons.

use super::conf::{Conf, Tongue};
use super::lab::{Frame, Kind, Lab, skip, until};
use super::single::in_all_seats;
use std::time::Instant;
use vipd::wire::{Family, Priority, advert};

type Outcome = Result<(), String>;

const SIX: Tongue = Tongue { six: true, ..Tongue::V3 };

/// An IPv6 advert in a frame: source MAC address, source address, priority.
fn advert_in(frame: &Frame) -> Option<([u8; 6], [u8; 16], Priority)> {
    let bytes = &frame.bytes;
    if bytes.get(12..14)? != [0x86, 0xdd] || *bytes.get(20)? != 112 {
        return None;
    }
    let priority = advert::parse(bytes.get(54..)?, Family::V6).ok()?.priority;
    Some((bytes.get(6..12)?.try_into().ok()?, bytes.get(22..38)?.try_into().ok()?, priority))
}

fn on_vmac(master: Kind, backup: Kind, by_parent: bool) -> Outcome {
    let vip = SIX.address();
    let mut lab = Lab::new(&[master, backup], 1);
    for (node, priority) in [(0, 150), (1, 100)] {
        let conf = Conf::new(SIX, node, 2, priority).inside("use_vmac");
        let conf = if by_parent { conf.inside("vmac_xmit_base") } else { conf };
        lab.configure(node, &conf.text());
        lab.start(node);
    }
    let case = |lab: &mut Lab| -> Outcome {
        lab.only(0, vip)?;
        let from = Instant::now();
        lab.signal(0, libc::SIGTERM);
        lab.only(1, vip)?;
        for node in [0, 1] {
            if node == 0 {
                lab.start(0);
                lab.only(0, vip)?;
            }
        }
        for node in [0_u8, 1] {
            let number = node + 1;
            let parent = [2, 0, 0, 0, 0, number];
            let of_parent = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number];
            // The VMAC has its parent's address besides its own.
            let wanted = (if by_parent { parent } else { [0, 0, 0x5e, 0, 2, 51] }, of_parent);
            until("an advert of each", || {
                lab.since(from).iter().any(|f| f.node == usize::from(node) && advert_in(f).is_some())
            })?;
            for frame in lab.since(from).iter().filter(|frame| frame.node == usize::from(node)) {
                let Some((mac, source, _)) = advert_in(frame) else { continue };
                if (mac, source) != wanted {
                    return Err(format!("{mac:02x?} {source:02x?} instead of {wanted:02x?}"));
                }
            }
        }
        Ok(())
    };
    case(&mut lab).map_err(|text| format!("{text}\n{}", lab.describe()))
}

#[test]
fn six_on_a_vmac_speaks_with_its_own_address() {
    in_all_seats(|master, backup| on_vmac(master, backup, false));
}

#[test]
fn six_on_a_vmac_speaks_by_the_parent_if_told() {
    in_all_seats(|master, backup| on_vmac(master, backup, true));
}

/// Keys from files, exchanged one server after the other under a running pair.
#[test]
fn sealed_adverts_and_an_exchange_of_keys() {
    if skip(&["ip"]) {
        return;
    }
    let vip = Tongue::V3.address();
    let mut lab = Lab::new(&[Kind::Vipd, Kind::Vipd], 1);
    let text = |lab: &Lab, node: usize, keys: &[u8], active: u8| {
        let mut block = "auth_hmac {\n".to_owned();
        for key in keys {
            let file = lab.file(node, &format!("key{key}"));
            std::fs::write(&file, format!("{key:02x}").repeat(32)).unwrap();
            // A secret that others can read is no secret, and is refused.
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
            block += &format!("        key {key} file:{}\n", file.display());
        }
        block += &format!("        active_key {active}\n        mode enforce\n    }}");
        Conf::new(Tongue::V3, node, 2, [150, 100][node]).slow(1).inside(&block).text()
    };
    for node in [0, 1] {
        lab.configure(node, &text(&lab, node, &[1], 1));
        lab.start(node);
    }
    let key_in = |frame: &Frame| {
        let trailer = frame.bytes.get(14 + 20 + 12..14 + 20 + 12 + 28)?;
        (frame.bytes.get(23) == Some(&112)).then_some((frame.node, trailer[0], trailer[1]))
    };
    let mut case = || -> Outcome {
        lab.only(0, vip)?;
        let from = Instant::now();
        for (keys, active) in [(vec![1, 2], 1), (vec![1, 2], 2), (vec![2], 2)] {
            for node in [1, 0] {
                lab.configure(node, &text(&lab, node, &keys, active));
                let at = Instant::now();
                lab.signal(node, libc::SIGHUP);
                // Longer than a backup that does not know the key would wait for a master.
                until("adverts under the new keys", || {
                    let seen = lab.since(at);
                    let good =
                        |frame: &&Frame| key_in(frame).is_some_and(|(_, kind, key)| kind == 1 && keys.contains(&key));
                    let current = |frame: &&Frame| key_in(frame).is_some_and(|(_, _, key)| key == active);
                    let good = seen.iter().filter(good).count() >= 5;
                    good && (node == 1 || seen.iter().filter(current).count() >= 4)
                })?;
            }
        }
        let others: Vec<_> = lab.since(from).iter().filter_map(key_in).filter(|(node, ..)| *node != 0).collect();
        if !others.is_empty() {
            return Err(format!("the backup spoke: {others:?}"));
        }
        lab.only(0, vip)?;
        // The other does not know this one: it is heard no more.
        lab.configure(1, &text(&lab, 1, &[3], 3));
        lab.signal(1, libc::SIGHUP);
        until("two masters", || lab.has(0, vip) && lab.has(1, vip)).map(|_| ())
    };
    let result = case();
    assert!(result.is_ok(), "{}\n{}", result.unwrap_err(), lab.describe());
}

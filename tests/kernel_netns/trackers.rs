//! Tracked files and processes.

use crate::ground::{PATIENCE, Pair, install, ready};
use std::path::PathBuf;
use vipd::kernel::trackfile::{FileWatch, Standing, number};
use vipd::kernel::trackprocess::{ProcessWatch, Seen};
use vipd::spec::*;
use vipd::time::Interval;

#[test]
fn numbers_are_read_as_c_reads_them() {
    let cases: [(&[u8], Option<i32>); 13] = [
        (b"", Some(0)),
        (b"\n", Some(0)),
        (b"12\n", Some(12)),
        (b"  -7 rest", Some(-7)),
        (b"+5", Some(5)),
        (b"0x1fZ", Some(31)),
        (b"0x", Some(0)),
        (b"010", Some(8)),
        (b"09", Some(0)),
        (b"text", Some(0)),
        (b"2147483647", Some(i32::MAX)),
        (b"-2147483648", Some(i32::MIN)),
        (b"2147483648", None),
    ];
    for (text, expected) in cases {
        assert_eq!(number(text), expected, "{}", String::from_utf8_lossy(text));
    }
}

fn file(path: &str, init: Option<(i32, bool)>) -> FileSpec {
    FileSpec { name: "f".into(), path: path.into(), weight: 1, reverse: false, init }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("an event")
}

#[test]
fn files_tell_what_is_written_moved_and_deleted() {
    let folder: PathBuf = std::env::temp_dir().join(format!("vipdk-files-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    std::fs::write(path("there"), "4\n").unwrap();
    std::fs::write(path("kept"), "9\n").unwrap();
    std::os::unix::fs::symlink(path("there"), path("link")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let specs = [
            file(&path("there"), None),
            file(&path("missing"), None),
            file(&path("made"), Some((3, false))),
            file(&path("kept"), Some((3, false))),
            file(&path("link"), None),
            file("/nonexistent/folder/file", None),
        ];
        let mut watch = FileWatch::new().unwrap();
        let Standing { values, failed, silent } = watch.configure(&specs, PATIENCE).await;
        assert_eq!(silent, []);
        let expected = [(0, 4), (1, 0), (2, 3), (3, 9), (4, 4)].map(|(id, value)| (FileId(id), value));
        assert_eq!(values, expected);
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].0, FileId(5));

        std::fs::write(path("missing"), "-20 comment\n").unwrap();
        assert_eq!(within(watch.next()).await, (FileId(1), -20));
        // Outside 32 bits: the old value stays; a new file moved into place counts.
        std::fs::write(path("missing"), "99999999999\n").unwrap();
        std::fs::write(path("new"), "0x10\n").unwrap();
        std::fs::rename(path("new"), path("missing")).unwrap();
        assert_eq!(within(watch.next()).await, (FileId(1), 16));
        // A file and the link to it are two trackers of one.
        std::fs::write(path("there"), "5\n").unwrap();
        let mut both = [within(watch.next()).await, within(watch.next()).await];
        both.sort();
        assert_eq!(both, [(FileId(0), 5), (FileId(4), 5)]);
        std::fs::remove_file(path("made")).unwrap();
        assert_eq!(within(watch.next()).await, (FileId(2), 0));
        std::fs::rename(path("kept"), path("elsewhere")).unwrap();
        assert_eq!(within(watch.next()).await, (FileId(3), 0));
    });
    std::fs::remove_dir_all(&folder).unwrap();
}

/// As systemd does with the RuntimeDirectory= of a service that is started once more.
#[test]
fn a_folder_that_is_made_again_is_watched_again() {
    let folder: PathBuf = std::env::temp_dir().join(format!("vipdk-folder-{}", std::process::id()));
    let path = folder.join("file").to_str().unwrap().to_owned();
    let put = |value: &str| {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&path, value).unwrap();
    };
    put("-60\n");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut watch = FileWatch::new().unwrap();
        // What the file is given at the start is not put in the place of what somebody has written since.
        let standing = watch.configure(&[file(&path, Some((-60, true)))], PATIENCE).await;
        assert_eq!(standing.values, [(FileId(0), -60)]);
        for round in 1..=3 {
            std::fs::remove_dir_all(&folder).unwrap();
            assert_eq!(within(watch.next()).await, (FileId(0), 0));
            put(&format!("{round}\n"));
            assert_eq!(within(watch.next()).await, (FileId(0), round));
            std::fs::write(&path, "50\n").unwrap();
            assert_eq!(within(watch.next()).await, (FileId(0), 50));
        }
        // Moved away, it is no longer the file that is meant.
        let elsewhere = folder.with_extension("moved");
        std::fs::rename(&folder, &elsewhere).unwrap();
        assert_eq!(within(watch.next()).await, (FileId(0), 0));
        std::fs::write(elsewhere.join("file"), "70\n").unwrap();
        put("71\n");
        assert_eq!(within(watch.next()).await, (FileId(0), 71));
        std::fs::remove_dir_all(&elsewhere).unwrap();
        // A reload in between.
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(within(watch.next()).await, (FileId(0), 0));
        put("72\n");
        let standing = watch.configure(&[file(&path, None)], PATIENCE).await;
        assert_eq!((standing.values, standing.silent), (vec![(FileId(0), 72)], vec![]));
    });
    std::fs::remove_dir_all(&folder).unwrap();
}

/// As Kubernetes replaces what stands in the volume of a ConfigMap: `..data` leads to another folder, and the old one is removed.
#[test]
fn a_link_that_is_swapped_is_followed_and_never_says_nothing() {
    let volume: PathBuf = std::env::temp_dir().join(format!("vipdk-swap-{}", std::process::id()));
    let lead = |to: &str| {
        std::os::unix::fs::symlink(to, volume.join("..data_tmp")).unwrap();
        std::fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    };
    let fill = |folder: &str, value: i32| {
        // Never half written: that would be a 0 of its own.
        let folder = volume.join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("new"), format!("{value}\n")).unwrap();
        std::fs::rename(folder.join("new"), folder.join("val")).unwrap();
    };
    fill("..0", 1);
    lead("..0");
    std::os::unix::fs::symlink("..data/val", volume.join("val")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut watch = FileWatch::new().unwrap();
        let standing = watch.configure(&[file(volume.join("val").to_str().unwrap(), None)], PATIENCE).await;
        assert_eq!(standing.values, [(FileId(0), 1)]);
        for round in 1..=6 {
            let (old, new) = (format!("..{}", round - 1), format!("..{round}"));
            fill(&new, 20 * round);
            lead(&new);
            // Removed, or moved out of the way.
            if round % 2 == 0 {
                std::fs::remove_dir_all(volume.join(&old)).unwrap();
            } else {
                std::fs::rename(volume.join(&old), volume.join(format!("{old}.old"))).unwrap();
            }
            assert_eq!(within(watch.next()).await, (FileId(0), 20 * round));
            fill(&new, 20 * round + 1);
            assert_eq!(within(watch.next()).await, (FileId(0), 20 * round + 1));
        }
        // Without one in its place it is gone, until the key comes back: the link to it stays meanwhile, or goes as well.
        for (round, link_goes) in [(7, false), (8, true)] {
            std::fs::create_dir(volume.join(format!("..{round}.without"))).unwrap();
            lead(&format!("..{round}.without"));
            std::fs::remove_dir_all(volume.join(format!("..{}", round - 1))).unwrap();
            assert_eq!(within(watch.next()).await, (FileId(0), 0));
            if link_goes {
                std::fs::remove_file(volume.join("val")).unwrap();
            }
            fill(&format!("..{round}"), round);
            lead(&format!("..{round}"));
            if link_goes {
                std::os::unix::fs::symlink("..data/val", volume.join("val")).unwrap();
            }
            assert_eq!(within(watch.next()).await, (FileId(0), round));
            fill(&format!("..{round}"), 100 * round);
            assert_eq!(within(watch.next()).await, (FileId(0), 100 * round));
        }
    });
    std::fs::remove_dir_all(&volume).unwrap();
}

fn process(name: &str, params: &[&str], param_match: ParamMatch) -> ProcessSpec {
    ProcessSpec {
        name: name.into(),
        process: name.into(),
        params: params.iter().map(|p| (*p).into()).collect(),
        param_match,
        weight: 0,
        reverse: false,
        quorum: 1,
        quorum_max: None,
        terminate_delay: Interval::ZERO,
        fork_delay: Interval::ZERO,
        full_command: false,
    }
}

#[test]
fn processes_match_by_name_or_by_words() {
    let seen = |words: &[&str]| Seen {
        comm: b"haproxy".to_vec(),
        words: words.iter().map(|w| w.as_bytes().to_vec()).collect(),
    };
    let haproxy = seen(&["/usr/sbin/haproxy", "-Ws", "-f", "/etc/haproxy.cfg"]);
    assert!(haproxy.fits(&process("haproxy", &[], ParamMatch::None)));
    assert!(!haproxy.fits(&process("nginx", &[], ParamMatch::None)));
    let by_words = |params: &[&str], how| haproxy.fits(&process("/usr/sbin/haproxy", params, how));
    assert!(by_words(&["-Ws", "-f", "/etc/haproxy.cfg"], ParamMatch::Exact));
    assert!(!by_words(&["-Ws"], ParamMatch::Exact));
    assert!(by_words(&["-Ws", "-f"], ParamMatch::Initial));
    assert!(!by_words(&["-Ws", "-"], ParamMatch::Initial));
    assert!(by_words(&["-Ws", "-"], ParamMatch::Partial));
    assert!(!by_words(&["-f"], ParamMatch::Partial));
    // The kernel keeps 15 bytes of a name.
    let long = Seen { comm: b"a-very-long-pro".to_vec(), words: Vec::new() };
    assert!(long.fits(&process("a-very-long-program-name", &[], ParamMatch::None)));
}

#[test]
fn processes_are_counted_as_they_come_and_go() {
    if !ready("processes_are_counted") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        count_two(&format!("vk{}", std::process::id())).await;
    });
}

/// The kernel tells of processes in the first network namespace only; in all others they are counted.
#[test]
fn processes_are_counted_in_a_namespace_too() {
    if !ready("processes_are_counted_in_a_namespace") {
        return;
    }
    let pair = Pair::new();
    crate::ground::within(&pair.here, async || {
        let why = count_two(&format!("vn{}", std::process::id())).await;
        assert!(why.is_some(), "there are events in this namespace");
    });
}

/// Two processes of one name come and go. Answers why the kernel does not tell of them, if it does not.
async fn count_two(name: &str) -> Option<std::io::Error> {
    let mut watch = ProcessWatch::open(&Default::default());
    let program = std::env::temp_dir().join(name);
    install("/bin/sleep".as_ref(), &program);
    let start = || std::process::Command::new(&program).arg("1000").spawn().unwrap();
    let mut first = start();
    // exec has happened when spawn returns.
    assert_eq!(watch.configure(&[process(name, &[], ParamMatch::None)]), [(ProcessId(0), 1)]);
    let mut second = start();
    assert_eq!(within(watch.next()).await, (ProcessId(0), 2));
    first.kill().unwrap();
    assert_eq!(within(watch.next()).await, (ProcessId(0), 1), "a zombie does not count");
    second.kill().unwrap();
    assert_eq!(within(watch.next()).await, (ProcessId(0), 0));
    first.wait().unwrap();
    second.wait().unwrap();
    std::fs::remove_file(&program).unwrap();
    watch.without_events()
}

/// `process_monitor_rcv_bufs`, and beyond the machine's limit by `…_force`: asked of the kernel.
#[test]
fn the_size_of_the_buffer_reaches_the_connector() {
    if !ready("the_size_of_the_buffer") {
        return;
    }
    let limit: u32 = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse().unwrap();
    for (bytes, force, wanted) in [(30_000, false, 60_000), (limit + 4444, true, 2 * (limit + 4444))] {
        let buffers = NetlinkBuffers { process: Some(bytes), process_force: force, ..Default::default() };
        let mut watch = ProcessWatch::open(&buffers);
        if watch.without_events().is_some() {
            return println!("skipped: no process connector");
        }
        let sizes: Vec<u32> = std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
            .filter_map(|number| {
                let mut size = 0_u32;
                let mut length = size_of_val(&size) as libc::socklen_t;
                let to = (&raw mut size).cast();
                // SAFETY: the answer has room for the length given; a number that is no socket is refused.
                let done = unsafe { libc::getsockopt(number, libc::SOL_SOCKET, libc::SO_RCVBUF, to, &mut length) };
                (done == 0).then_some(size)
            })
            .collect();
        assert!(sizes.contains(&wanted), "{wanted} is not among {sizes:?}");
        drop(watch);
    }
}

//! Scheduling of the engine thread, and what its children do not inherit; namespaces that leave nothing behind.

use crate::ground::{Pair, ready};
use vipd::kernel::{namespace, privilege};
use vipd::spec::Daemon;

/// Real-time priority and policy, out of a line of /proc/…/stat.
fn scheduling(stat: &str) -> (u32, u32) {
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[37].parse().unwrap(), fields[38].parse().unwrap())
}

#[test]
fn the_engine_thread_is_real_time_and_its_children_are_not() {
    if !ready("real_time") {
        return;
    }
    // On a thread of its own: everything set here goes with it.
    std::thread::spawn(|| {
        let daemon = Daemon {
            rt_priority: Some(5),
            cpu_affinity: vec![0],
            rlimit_rttime_us: Some(60_000_000),
            ..Daemon::default()
        };
        let failures = privilege::engine_thread(&daemon);
        assert!(failures.is_empty(), "{failures:?}");
        let own = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        assert_eq!(scheduling(&own), (5, 2), "SCHED_RR");
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        assert!(status.contains("Cpus_allowed_list:\t0\n"));
        assert_eq!(privilege::raise_realtime(6).unwrap(), 6);
        assert_eq!(privilege::raise_realtime(6).unwrap(), 6);
        assert_eq!(privilege::raise_realtime(3).unwrap(), 6, "never lowered");
        // Half a minute of running without a pause is counted, and nothing more: no hard limit.
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max realtime timeout")).unwrap();
        let words: Vec<&str> = line.split_whitespace().skip(3).collect();
        assert_eq!(words[..2], ["30000000", "unlimited"], "{line}");
        let child = std::process::Command::new("cat").arg("/proc/self/stat").output().unwrap();
        assert_eq!(scheduling(&String::from_utf8(child.stdout).unwrap()), (0, 0));
    })
    .join()
    .unwrap();
    assert!(privilege::missing_capabilities().is_empty());
}

/// How long the calling thread wants to run at a time, in nanoseconds; 0 before Linux 6.12.
fn turn() -> u64 {
    // SAFETY: plain data, for which all zeroes is a value; the call fills it, and 0 is the calling thread.
    unsafe {
        let mut now: libc::sched_attr = std::mem::zeroed();
        let size = size_of::<libc::sched_attr>() as libc::c_uint;
        assert_eq!(libc::syscall(libc::SYS_sched_getattr, 0, &raw mut now, size, 0), 0);
        now.sched_runtime
    }
}

#[test]
fn a_punctual_thread_without_real_time_asks_for_short_turns_and_keeps_its_nice_value() {
    if !ready("short_turns") {
        return;
    }
    if turn() == 0 {
        eprintln!("skipped: needs Linux 6.12");
        return;
    }
    std::thread::spawn(|| {
        let failures = privilege::engine_thread(&Daemon { nice: Some(-3), ..Daemon::default() });
        assert!(failures.is_empty(), "{failures:?}");
        assert_eq!(turn(), 100_000);
        // SAFETY: numbers only; 0 is the calling thread.
        assert_eq!(unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }, -3);
    })
    .join()
    .unwrap();
}

#[test]
fn a_processor_that_is_not_there_is_a_failure_with_a_name() {
    std::thread::spawn(|| {
        let daemon = Daemon { cpu_affinity: vec![900], ..Daemon::default() };
        let failures = privilege::engine_thread(&daemon);
        assert_eq!(failures.len(), 1);
        assert_eq!(failures[0].0, "CPU affinity");
    })
    .join()
    .unwrap();
}

#[test]
fn namespaces_come_and_go_and_leave_nothing() {
    if !ready("namespaces") {
        return;
    }
    let pair = Pair::new();
    let names = [pair.here.clone(), pair.there.clone()];
    assert!(names.iter().all(|name| namespace::list().contains(name)));
    assert_eq!(namespace::create(&names[0]).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    let links = namespace::inside(&names[0], || Ok(nix::net::if_::if_nameindex()?.iter().count())).unwrap();
    assert!(links >= 2, "lo and eth0");
    drop(pair);
    assert!(!names.iter().any(|name| namespace::list().contains(name)));
    assert_eq!(namespace::enter(&names[0]).unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

//! A panic in a thread of the daemon, which must not happen and may all the same: docs/architecture.md says what follows.
//!
//! The daemon has no way to be asked for one. The test is its debugger: it stops a thread at the beginning of a function
//! and lets it go on in the function of the standard library that `unwrap` ends in.

use crate::ground::{Daemon, Ground, PATIENCE, instance, ready, vipd};
use libc::{c_long, c_void, pid_t};
use std::path::PathBuf;

const BREAKPOINT: u64 = 0xcc;

/// The traced thread. All requests must come from the thread that attached.
struct Debugger {
    thread: pid_t,
    base: u64,
}

impl Debugger {
    /// The daemon's thread of that name.
    fn attach(daemon: &Daemon, name: &str) -> Debugger {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
        let mut tasks = tasks.map(|task| task.unwrap().path());
        // A thread that is done may go between the two looks.
        let named = |path: &PathBuf| std::fs::read_to_string(path.join("comm")).unwrap_or_default().trim() == name;
        let path = tasks.find(named).unwrap_or_else(|| panic!("no thread {name}"));
        let thread = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", daemon.pid())).unwrap();
        let first = maps.lines().find(|line| line.ends_with(vipd())).unwrap();
        let base = u64::from_str_radix(first.split('-').next().unwrap(), 16).unwrap();
        let debugger = Debugger { thread, base };
        debugger.request(libc::PTRACE_ATTACH, 0, 0);
        debugger.wait();
        debugger
    }

    fn request(&self, request: libc::c_uint, address: u64, data: u64) -> c_long {
        // SAFETY: none of the requests made here writes to this process's memory, except GETREGS, whose caller hands in
        // its own registers.
        let answer = unsafe { libc::ptrace(request, self.thread, address as *mut c_void, data as *mut c_void) };
        let error = std::io::Error::last_os_error();
        assert!(answer != -1 || request == libc::PTRACE_PEEKTEXT, "ptrace {request}: {error}");
        answer
    }

    /// The signal that the thread has stopped for.
    fn wait(&self) -> i32 {
        let mut status = 0;
        let begun = std::time::Instant::now();
        let waited = loop {
            // SAFETY: `status` outlives the call.
            match unsafe { libc::waitpid(self.thread, &mut status, libc::__WALL | libc::WNOHANG) } {
                0 if begun.elapsed() < PATIENCE => std::thread::sleep(std::time::Duration::from_millis(5)),
                waited => break waited,
            }
        };
        assert!(waited == self.thread && libc::WIFSTOPPED(status), "{waited} {status:#x}");
        libc::WSTOPSIG(status)
    }

    fn write(&self, address: u64, word: u64) {
        self.request(libc::PTRACE_POKETEXT, address, word);
    }

    /// Lets the thread panic as soon as it comes to `function`, which `meanwhile` brings it to.
    fn panic_in(self, function: &str, meanwhile: impl FnOnce()) {
        let at = self.base + symbol(function);
        let code = self.request(libc::PTRACE_PEEKTEXT, at, 0) as u64;
        self.write(at, code & !0xff | BREAKPOINT);
        self.request(libc::PTRACE_CONT, 0, 0);
        meanwhile();
        loop {
            match self.wait() {
                libc::SIGTRAP => break,
                other => self.request(libc::PTRACE_CONT, 0, other as u64),
            };
        }
        self.write(at, code);
        // What `#[track_caller]` hands over, where nobody looks once the program runs: in its own ELF header.
        let (location, text) = (self.base + 16, self.base + 40);
        for (place, word) in [text, 8, 1 | 1 << 32].into_iter().enumerate() {
            self.write(location + 8 * place as u64, word);
        }
        self.write(text, u64::from_le_bytes(*b"debugger"));
        // SAFETY: plain numbers, for which all zeroes is a value.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        self.request(libc::PTRACE_GETREGS, 0, &raw mut registers as u64);
        registers.rip = self.base + symbol("4core6option13unwrap_failed");
        registers.rdi = location;
        self.request(libc::PTRACE_SETREGS, 0, &raw mut registers as u64);
        self.request(libc::PTRACE_DETACH, 0, 0);
    }
}

/// Where in the program file the function stands whose mangled name ends in this, or in this and its hash: a closure inside it
/// has more words.
fn symbol(name: &str) -> u64 {
    let file = std::fs::read(vipd()).unwrap();
    let number =
        |at: usize, bytes: usize| file[at..at + bytes].iter().rev().fold(0, |n: usize, b| n << 8 | usize::from(*b));
    // ELF64: the table of sections, of these the one with symbols (type 2), and the section with their names.
    let section = |index: usize| number(40, 8) + index * number(58, 2);
    let table = (0..number(60, 2)).map(section).find(|at| number(at + 4, 4) == 2).expect("symbols");
    let names = number(section(number(table + 40, 4)) + 24, 8);
    let (start, size) = (number(table + 24, 8), number(table + 32, 8));
    let mut found = (start..start + size).step_by(24).filter(|entry| {
        let of_name = &file[names + number(*entry, 4)..];
        let end = of_name.iter().position(|byte| *byte == 0).unwrap();
        let is_function = number(entry + 4, 1) & 15 == 2;
        let mangled = String::from_utf8_lossy(&of_name[..end]);
        is_function && mangled.split_once(name).is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with("17h"))
    });
    let entry = found.next().unwrap_or_else(|| panic!("no function {name}"));
    number(entry + 8, 8) as u64
}

fn alone() -> Ground {
    let ground = Ground::new();
    ground.configure(&instance("A", 1, "10.9.0.10/24"));
    ground
}

#[test]
fn a_panic_of_the_engine_is_a_beginning_anew_in_the_same_process() {
    if !ready() {
        return;
    }
    let ground = alone();
    let daemon = ground.start("");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    Debugger::attach(&daemon, "engine").panic_in("4vrrp6Engine6handle", || {});
    daemon.wait_for_log("Thread engine panicked at debugger:1:1: ");
    daemon.wait_for_log("The engine thread panicked");
    daemon.wait_for_log("Beginning anew in 0 s");
    daemon.wait_for("the next life", || daemon.log_text().matches("Startup complete").count() == 2);
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    assert_eq!(daemon.ask(r#"{"request":"hello"}"#)["pid"], daemon.pid());
    daemon.advertises();
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!ground.has("10.9.0.10/24"));
}

/// After an engine that was lost the daemon waits longer each time before it begins anew: the environment says how often it
/// has.
#[test]
fn sigterm_ends_the_wait_before_a_new_beginning() {
    if !ready() {
        return;
    }
    let ground = alone();
    let daemon = ground.start_with_environment("", &[("VIPD_RESPAWNS", "6")]);
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    Debugger::attach(&daemon, "engine").panic_in("4vrrp6Engine6handle", || {});
    daemon.wait_for_log("Beginning anew in 32 s");
    daemon.signal(libc::SIGTERM);
    daemon.wait_for_log("Stopped Keepalived");
    assert_eq!(daemon.log_text().matches("Starting Keepalived").count(), 1, "{}", daemon.log_text());
    assert_eq!(daemon.end().code(), Some(0));
}

#[test]
fn a_panic_of_the_engine_is_the_end_where_nothing_is_to_begin_anew() {
    if !ready() {
        return;
    }
    let ground = alone();
    let daemon = ground.start("--dont-respawn");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    Debugger::attach(&daemon, "engine").panic_in("4vrrp6Engine6handle", || {});
    daemon.wait_for_log("The engine has ended unexpectedly: everything is given up. Exiting");
    daemon.wait_for_log("The engine thread panicked");
    assert_eq!(daemon.end().code(), Some(70));
    assert!(!ground.has("10.9.0.10/24"), "whoever is not there holds nothing");
}

#[test]
fn panics_of_the_services_are_survived_and_in_the_end_obeyed() {
    if !ready() {
        return;
    }
    let ground = alone();
    let daemon = ground.start("");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    // Nobody waits for the answer: the thread that would give it is stopped.
    let failover = || crate::ground::say(&mut daemon.control(), r#"{"request":"failover"}"#);
    for count in 1..=5 {
        Debugger::attach(&daemon, "services").panic_in("7observe3Hub5event", failover);
        let line = "The services thread panicked and goes on";
        daemon.wait_for(line, || daemon.log_text().matches(line).count() == count);
        daemon.advertises();
        daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    }
    Debugger::attach(&daemon, "services").panic_in("7observe3Hub5event", failover);
    daemon.wait_for_log("The services thread panicked: stopping in order");
    assert_eq!(daemon.end().code(), Some(70));
    assert!(!ground.has("10.9.0.10/24"));
}

//! Programs: as another user, in a group of their own, ended with all their children.

use crate::ground::{PATIENCE, eventually, install, ready};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use vipd::kernel::process::Whom;
use vipd::kernel::programs::{Client, Job, Limit, Notice, Programs, Room};
use vipd::spec::{Attempt, Command, Exit, Run};
use vipd::vrrp::io::KillSignal;

/// A directory that another user may write to; gone with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("vipdk-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        Folder(path)
    }
    fn script(&self, name: &str, text: &str) -> String {
        let (source, path) = (self.0.join(format!("{name}.text")), self.0.join(name));
        std::fs::write(&source, text).unwrap();
        install(&source, &path);
        path.to_str().unwrap().to_owned()
    }
    fn text(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.0.join(name)).ok().filter(|text| text.ends_with('\n'))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn exec(path: &str, arguments: &[&str]) -> Run {
    let argv = std::iter::once(path).chain(arguments.iter().copied()).map(Into::into).collect();
    Run { command: Command::Exec { path: path.into(), argv }, uid: 65534, gid: 65533, groups: Some(vec![65533, 7]) }
}

/// As the user that the tests run as: a guest in this process's memory until exec.
fn as_ourselves(run: Run) -> Run {
    Run { uid: 0, gid: 0, groups: Some(vec![0, 7]), ..run }
}

/// A client, and what it is told.
struct Asker {
    client: Client,
    notices: UnboundedReceiver<(Attempt, Notice)>,
    last: Attempt,
}

impl Asker {
    fn new(programs: &Programs, room: Room) -> Asker {
        let (tell, notices) = unbounded_channel();
        let client = programs.handle().client(room, move |attempt, notice| tell.send((attempt, notice)).unwrap());
        Asker { client, notices, last: Attempt::default() }
    }

    fn start(&mut self, job: Job) -> Attempt {
        let attempt = self.last.advance();
        self.client.start(attempt, job);
        attempt
    }

    fn start_run(&mut self, run: &Run, extra: &[&str]) -> Attempt {
        let extra = extra.iter().map(ToString::to_string).collect();
        self.start(Job { extra, ..Job::new(run.clone()) })
    }

    /// The next notice that is not the start of a program.
    async fn end(&mut self) -> (Attempt, Notice) {
        loop {
            let (attempt, notice) = self.notices.recv().await.unwrap();
            if !matches!(notice, Notice::Started(_)) {
                return (attempt, notice);
            }
        }
    }

    /// Runs one and answers how it ended.
    async fn run(&mut self, run: &Run, extra: &[&str]) -> Notice {
        let attempt = self.start_run(run, extra);
        let (of, notice) = self.end().await;
        assert_eq!(of, attempt);
        notice
    }
}

/// Has `work` talk with programs that are attended to beside it.
fn run_with<T>(room: Room, work: impl AsyncFnOnce(&mut Asker) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut programs = Programs::new().unwrap();
        let mut asker = Asker::new(&programs, room);
        let attend = async {
            loop {
                programs.attend().await;
            }
        };
        tokio::select! {
            done = tokio::time::timeout(2 * PATIENCE, work(&mut asker)) => done.unwrap(),
            () = attend => unreachable!(),
        }
    })
}

fn run<T>(work: impl AsyncFnOnce(&mut Asker) -> T) -> T {
    run_with(Room::BY_CONFIGURATION, work)
}

fn shell(line: &str) -> Run {
    Run { command: Command::Shell(line.into()), ..exec("", &[]) }
}

#[test]
fn a_script_runs_as_its_user_with_its_groups_and_arguments_and_nothing_of_the_daemon() {
    if !ready("a_script_runs_as_its_user") {
        return;
    }
    let folder = Folder::new("user");
    let script = folder.script(
        "show",
        "#!/bin/sh\ncd ${0%/*}\n{ id -u; id -g; id -G; echo \"$1|$3\"; ls -l /proc/$$/fd | grep -cF \"$2\"; \
         grep -E 'SigBlk|SigIgn' /proc/self/status; echo \"$LD_PRELOAD$IFSX\"; \
         test $(ps -o pgid= -p $$) -eq $$ && echo leader; } > out.tmp\nmv out.tmp out\nexit 3\n",
    );
    // An inheritable descriptor, which the script must not see.
    let (_keep, leak) = nix::unistd::pipe().unwrap();
    let pipe = std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&leak))).unwrap();
    let other = exec(&script, &["a b"]);
    for (run_as, ids) in [(as_ourselves(other.clone()), ["0", "0", "0 7"]), (other, ["65534", "65533", "65533 7"])] {
        let notice = run(async |asker| asker.run(&run_as, &[pipe.to_str().unwrap(), "it's"]).await);
        assert_eq!(notice, Notice::Exited(Exit::Code(3)));
        let text = folder.text("out").unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..3], ids);
        assert_eq!(lines[3], "a b|it's");
        assert_eq!(lines[4].trim(), "0", "the daemon's pipe");
        assert!(lines[5].ends_with("0000000000000000"), "{text}");
        // The first 31: whoever runs the tests may ignore a real-time signal.
        let ignored = u64::from_str_radix(lines[6].split_whitespace().last().unwrap(), 16).unwrap();
        assert_eq!(ignored & 0x7fff_ffff, 0, "{text}");
        assert_eq!(lines[8], "leader");
        std::fs::remove_file(folder.0.join("out")).unwrap();
    }
    drop(leak);
}

#[test]
fn a_program_that_cannot_be_started_did_not_run() {
    if !ready("a_program_that_cannot_be_started") {
        return;
    }
    run(async |asker| {
        for whose in [as_ourselves, |run| run] {
            assert_eq!(asker.run(&whose(exec("/nonexistent/check", &[])), &[]).await, Notice::NotRun(libc::ENOENT));
            assert_eq!(asker.run(&whose(exec("/etc/passwd", &[])), &[]).await, Notice::NotRun(libc::EACCES));
            assert_eq!(asker.run(&whose(exec("/bin/true", &["a\0b"])), &[]).await, Notice::NotRun(libc::EINVAL));
            // What one has left to be read is not read of the next.
            assert_eq!(asker.run(&whose(exec("/bin/true", &[])), &[]).await, Notice::Exited(Exit::Code(0)));
        }
        for (line, extra, exit) in [
            ("exit 7", &[][..], Exit::Code(7)),
            ("test x =", &["x"], Exit::Code(0)),
            ("/nonexistent/check", &[], Exit::Code(127)),
            ("kill -9 $$", &[], Exit::Signal(9)),
            ("kill -40 $$", &[], Exit::Signal(40)),
        ] {
            assert_eq!(asker.run(&shell(line), extra).await, Notice::Exited(exit), "{line}");
        }
    });
}

#[test]
fn a_text_without_an_interpreter_line_is_run_by_the_shell() {
    if !ready("a_text_without_an_interpreter_line") {
        return;
    }
    let folder = Folder::new("plain");
    let script = folder.script("plain", "test \"$1\" = \"it's\" && exit 5\n");
    for whose in [as_ourselves, |run| run] {
        let notice = run(async |asker| asker.run(&whose(exec(&script, &["it's"])), &[]).await);
        assert_eq!(notice, Notice::Exited(Exit::Code(5)));
    }
}

/// As with each change of a Kubernetes ConfigMap: the folder that the link led to when the configuration was read is gone.
#[test]
fn a_link_that_is_turned_is_followed_when_nothing_is_where_it_led() {
    if !ready("a_link_that_is_turned") {
        return;
    }
    let folder = Folder::new("turned");
    let place = |name: &str| folder.0.join(name);
    let lead = |to: &str| {
        std::os::unix::fs::symlink(to, place("new")).unwrap();
        std::fs::rename(place("new"), place("data")).unwrap();
    };
    for (number, begins) in [(1, "#!/bin/sh\n"), (2, "#!/bin/sh\n"), (3, "")] {
        std::fs::create_dir(place(&number.to_string())).unwrap();
        folder.script(&format!("{number}/check"), &format!("{begins}exit {number}\n"));
    }
    lead("1");
    let written = place("data/check").to_str().unwrap().to_owned();
    for whose in [as_ourselves, |run| run] {
        let mut of = whose(exec(&written, &[]));
        let Command::Exec { path, .. } = &mut of.command else { unreachable!() };
        *path = place("1/check").to_str().unwrap().into();
        run(async |asker| {
            for (to, exit) in [("2", 1), ("3", 1)] {
                lead(to);
                assert_eq!(asker.run(&of, &[]).await, Notice::Exited(Exit::Code(exit)), "what it led to is there");
            }
            std::fs::rename(place("1"), place("gone")).unwrap();
            for to in [2, 3] {
                lead(&to.to_string());
                assert_eq!(asker.run(&of, &[]).await, Notice::Exited(Exit::Code(to)));
            }
            lead("nowhere");
            assert_eq!(asker.run(&of, &[]).await, Notice::NotRun(libc::ENOENT));
            std::fs::rename(place("gone"), place("1")).unwrap();
        });
    }
}

#[test]
fn a_killed_script_takes_its_children_with_it() {
    if !ready("a_killed_script") {
        return;
    }
    let folder = Folder::new("group");
    // The child does not listen to TERM; it goes when its leader has gone.
    let script = folder
        .script("stubborn", "#!/bin/sh\ncd ${0%/*}\n(trap '' TERM; sleep 1000; sleep 1000) &\necho $! > child\nwait\n");
    let child = run(async |asker| {
        let attempt = asker.start_run(&exec(&script, &[]), &[]);
        let child = eventually(|| folder.text("child")).await;
        asker.client.kill(attempt, KillSignal::Term);
        assert_eq!(asker.end().await, (attempt, Notice::Exited(Exit::Signal(15))));
        // Signals to what has ended hit nobody.
        asker.client.kill(attempt, KillSignal::Kill);
        child.trim().to_owned()
    });
    run(async |_| {
        // Re-parented and reaped by others: gone or a zombie.
        eventually(|| match std::fs::read_to_string(format!("/proc/{child}/stat")) {
            Err(_) => Some(()),
            Ok(stat) => stat.contains(") Z").then_some(()),
        })
        .await;
    });
}

#[test]
fn many_at_once_are_all_told() {
    if !ready("many_at_once") {
        return;
    }
    run(async |asker| {
        let whose = |n: i32| if n % 5 > 0 { as_ourselves } else { |run| run };
        let mut open: std::collections::BTreeSet<_> =
            (0..50).map(|n| asker.start_run(&whose(n)(shell(&format!("exit {n}"))), &[])).collect();
        let mut codes = Vec::new();
        while !open.is_empty() {
            let (attempt, notice) = asker.end().await;
            assert!(open.remove(&attempt));
            codes.push(notice);
        }
        codes.sort_by_key(|notice| format!("{notice:?}"));
        let mut expected: Vec<Notice> = (0..50).map(|code| Notice::Exited(Exit::Code(code))).collect();
        expected.sort_by_key(|notice| format!("{notice:?}"));
        assert_eq!(codes, expected);
    });
}

fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

#[test]
fn what_was_given_up_is_ended_by_force_and_never_told_of() {
    if !ready("what_was_given_up") {
        return;
    }
    let folder = Folder::new("given-up");
    let script =
        folder.script("deaf", "#!/bin/sh\ncd ${0%/*}\ntrap '' TERM\necho $$ > pid\nwhile :; do sleep 0.05; done\n");
    run(async |asker| {
        let deaf = asker.start_run(&exec(&script, &[]), &[]);
        let pid = eventually(|| folder.text("pid")).await;
        asker.client.abandon(deaf, Duration::from_millis(100));
        eventually(|| (!lives(&pid)).then_some(())).await;
        // The next notice is the next run's.
        assert_eq!(asker.run(&shell("exit 4"), &[]).await, Notice::Exited(Exit::Code(4)));
    });
}

#[test]
fn a_limit_is_term_and_then_kill() {
    if !ready("a_limit") {
        return;
    }
    run(async |asker| {
        let millis = Duration::from_millis;
        let limit = Some(Limit { after: millis(50), then: PATIENCE });
        let attempt = asker.start(Job { limit, ..Job::new(shell("exec sleep 1000")) });
        assert_eq!(asker.end().await, (attempt, Notice::Exited(Exit::Signal(15))));
        // A shell that has not come to its first word when TERM comes does not ignore it: then it gets more time.
        let ends = [50, 500, 5_000, 30_000].map(millis);
        for after in ends {
            let limit = Some(Limit { after, then: millis(50) });
            let deaf = shell("trap '' TERM; while :; do sleep 0.01; done");
            let attempt = asker.start(Job { limit, ..Job::new(deaf) });
            match asker.end().await {
                (of, Notice::Exited(Exit::Signal(9))) if of == attempt => return,
                (of, Notice::Exited(Exit::Signal(15))) if of == attempt => {}
                other => panic!("{other:?}"),
            }
        }
        panic!("TERM ended what ignores it, after {ends:?}");
    });
}

/// A run that waits for its turn for longer than its limit has all of it once it begins, as keepalived counts from the fork.
#[test]
fn a_limit_counts_from_the_process() {
    if !ready("a_limit_counts_from_the_process") {
        return;
    }
    run_with(Room { running: 1, waiting: 1, counts: None }, async |asker| {
        let first = asker.start(Job::new(shell("exec sleep 3")));
        let limit = Some(Limit { after: Duration::from_secs(2), then: PATIENCE });
        let second = asker.start(Job { limit, ..Job::new(shell("exec sleep 0.1")) });
        assert_eq!(asker.end().await, (first, Notice::Exited(Exit::Code(0))));
        assert_eq!(asker.end().await, (second, Notice::Exited(Exit::Code(0))));
    });
}

/// TERM for itself leaves what it has started, KILL takes all.
#[test]
fn a_signal_can_be_for_the_program_alone() {
    if !ready("a_signal_can_be") {
        return;
    }
    let folder = Folder::new("itself");
    let script = folder.script(
        "reader",
        "#!/bin/sh\ncd ${0%/*}\ntrap 'echo once >> told; exit 3' TERM\nsleep 1000 &\necho $! > child\nwait\n",
    );
    run(async |asker| {
        let attempt = asker.start(Job { whom: Whom::Itself, ..Job::new(exec(&script, &[])) });
        let child = eventually(|| folder.text("child")).await;
        asker.client.kill(attempt, KillSignal::Term);
        assert_eq!(asker.end().await, (attempt, Notice::Exited(Exit::Code(3))));
        assert_eq!(folder.text("told").unwrap(), "once\n");
        assert!(lives(&child), "its group is its own business");
        // SAFETY: takes numbers only; it is what the script has left behind.
        unsafe { libc::kill(child.trim().parse().unwrap(), libc::SIGKILL) };
    });
}

#[test]
fn there_is_room_for_so_many_and_the_others_take_turns() {
    if !ready("there_is_room") {
        return;
    }
    let folder = Folder::new("room");
    let script = folder
        .script("one", "#!/bin/sh\ncd ${0%/*}\necho >> begun.$1\nuntil [ -e go ]; do sleep 0.02; done\nexit $1\n");
    run_with(Room { running: 2, waiting: 3, counts: None }, async |asker| {
        let started: Vec<Attempt> = (1..=6).map(|n| asker.start_run(&exec(&script, &[&n.to_string()]), &[])).collect();
        // Of four that have to wait the first has no room.
        assert_eq!(asker.end().await, (started[2], Notice::NotRun(libc::EAGAIN)));
        eventually(|| Some(folder.text("begun.1")?.len() + folder.text("begun.2")?.len())).await;
        assert_eq!(folder.text("begun.4"), None);
        // One that still waits is signalled: it ends as if it had been there.
        asker.client.kill(started[3], KillSignal::Term);
        assert_eq!(asker.end().await, (started[3], Notice::Exited(Exit::Signal(15))));
        std::fs::write(folder.0.join("go"), "").unwrap();
        let mut ended = Vec::new();
        for _ in 0..4 {
            ended.push(asker.end().await);
        }
        ended.sort_by_key(|(attempt, _)| *attempt);
        let expected = [(0, 1), (1, 2), (4, 5), (5, 6)].map(|(at, n)| (started[at], Notice::Exited(Exit::Code(n))));
        assert_eq!(ended, expected);
    });
}

/// keepalived runs all of them beside each other, so one that hangs may not keep others back for ever.
#[test]
fn a_run_that_takes_long_takes_nobodys_turn() {
    if !ready("a_run_that_takes_long") {
        return;
    }
    let room = Room { running: 1, waiting: 4, counts: Some(Duration::from_millis(100)) };
    run_with(room, async |asker| {
        let hangs = asker.start(Job::new(shell("exec sleep 1000")));
        for _ in 0..2 {
            let next = asker.start(Job::new(shell("exit 3")));
            assert_eq!(asker.end().await, (next, Notice::Exited(Exit::Code(3))));
        }
        asker.client.kill(hangs, KillSignal::Kill);
        assert_eq!(asker.end().await, (hangs, Notice::Exited(Exit::Signal(9))));
    });
}

#[test]
fn its_descriptors_lead_nowhere_and_its_words_on_2_where_they_were_sent() {
    if !ready("its_descriptors") {
        return;
    }
    let folder = Folder::new("descriptors");
    let script = folder.script(
        "show",
        "#!/bin/sh\ncd ${0%/*}\nreadlink /proc/$$/fd/* > out.tmp\nmv out.tmp out\necho nobody\necho somebody >&2\n",
    );
    let (listen, speak) = std::io::pipe().unwrap();
    run(async |asker| {
        assert_eq!(asker.run(&exec(&script, &[]), &[]).await, Notice::Exited(Exit::Code(0)));
        let text = folder.text("out").unwrap();
        let leads: Vec<&str> = text.lines().filter(|lead| !lead.contains("-descriptors/")).collect();
        assert_eq!(leads, ["/dev/null"; 2], "{text}");
        asker.start(Job { stderr: Some(speak.into()), ..Job::new(exec(&script, &[])) });
        asker.end().await;
    });
    assert_eq!(std::io::read_to_string(listen).unwrap(), "somebody\n");
}

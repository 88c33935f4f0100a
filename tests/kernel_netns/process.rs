//! Programs: as another user, in a group of their own, ended with all their children.

use crate::ground::{PATIENCE, eventually, install, ready};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use vipd::kernel::process::{Ended, Processes};
use vipd::spec::{Command, Run};
use vipd::vrrp::io::{Exit, KillSignal};

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

fn run<T>(work: impl AsyncFnOnce(&mut Processes) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut processes = Processes::new();
        tokio::time::timeout(2 * PATIENCE, work(&mut processes)).await.unwrap()
    })
}

async fn ended(processes: &mut Processes, run: &Run, extra: &[&str]) -> Ended {
    let id = processes.spawn(run, extra);
    let ended = processes.ended().await;
    assert_eq!(ended.id, id);
    assert_eq!(processes.running(), 0);
    ended
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
    let exit =
        run(async |processes| ended(processes, &exec(&script, &["a b"]), &[pipe.to_str().unwrap(), "it's"]).await.exit);
    drop(leak);
    assert_eq!(exit, Exit::Code(3));
    let text = folder.text("out").unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "65534");
    assert_eq!(lines[1], "65533");
    assert_eq!(lines[2], "65533 7");
    assert_eq!(lines[3], "a b|it's");
    assert_eq!(lines[4].trim(), "0", "the daemon's pipe");
    assert!(lines[5].ends_with("0000000000000000"), "{text}");
    // The first 31: whoever runs the tests may ignore a real-time signal.
    let ignored = u64::from_str_radix(lines[6].split_whitespace().last().unwrap(), 16).unwrap();
    assert_eq!(ignored & 0x7fff_ffff, 0, "{text}");
    assert_eq!(lines[8], "leader");
}

#[test]
fn a_program_that_cannot_be_started_did_not_run() {
    if !ready("a_program_that_cannot_be_started") {
        return;
    }
    run(async |processes| {
        let gone = ended(processes, &exec("/nonexistent/check", &[]), &[]).await;
        assert_eq!(gone.exit, Exit::NotRun);
        assert!(gone.error.unwrap().contains("/nonexistent/check"));
        let shell = |line: &str| Run { command: Command::Shell(line.into()), ..exec("", &[]) };
        assert_eq!(ended(processes, &shell("exit 7"), &[]).await.exit, Exit::Code(7));
        assert_eq!(ended(processes, &shell("test x ="), &["x"]).await.exit, Exit::Code(0));
        assert_eq!(ended(processes, &shell("/nonexistent/check"), &[]).await.exit, Exit::Code(127));
        assert_eq!(ended(processes, &shell("kill -9 $$"), &[]).await.exit, Exit::Signal(9));
    });
}

#[test]
fn a_text_without_an_interpreter_line_is_run_by_the_shell() {
    if !ready("a_text_without_an_interpreter_line") {
        return;
    }
    let folder = Folder::new("plain");
    let script = folder.script("plain", "test \"$1\" = \"it's\" && exit 5\n");
    let exit = run(async |processes| ended(processes, &exec(&script, &["it's"]), &[]).await.exit);
    assert_eq!(exit, Exit::Code(5));
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
    let child = run(async |processes| {
        let id = processes.spawn(&exec(&script, &[]), &[]);
        let child = eventually(|| folder.text("child")).await;
        processes.kill(id, KillSignal::Term);
        let ended = processes.ended().await;
        assert_eq!(ended.exit, Exit::Signal(15));
        // Signals to what has ended hit nobody.
        processes.kill(id, KillSignal::Kill);
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
    run(async |processes| {
        let mut open: std::collections::BTreeSet<_> = (0..50)
            .map(|n| {
                processes.spawn(&Run { command: Command::Shell(format!("exit {n}").into()), ..exec("", &[]) }, &[])
            })
            .collect();
        let mut codes = Vec::new();
        while !open.is_empty() {
            let ended = processes.ended().await;
            assert!(open.remove(&ended.id));
            codes.push(ended.exit);
        }
        codes.sort_by_key(|exit| format!("{exit:?}"));
        let mut expected: Vec<Exit> = (0..50).map(Exit::Code).collect();
        expected.sort_by_key(|exit| format!("{exit:?}"));
        assert_eq!(codes, expected);
    });
}

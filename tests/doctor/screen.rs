//! The screen of `vipctl watch`, on a terminal that the test plays: 80 columns, 24 lines, keys, and what they do to a
//! running pair.

use super::broken::{Pair, conf, says};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Generous: what does not come in this time does not come.
const LIMIT: Duration = Duration::from_secs(60);

struct Terminal {
    keys: File,
    screen: Arc<Mutex<vt100::Parser>>,
    child: Child,
}

impl Terminal {
    fn start(pair: &Pair) -> Terminal {
        let size = nix::pty::Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = nix::pty::openpty(Some(&size), None).unwrap();
        let slave = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut command = pair.primary.command(env!("CARGO_BIN_EXE_vipctl"));
        let child =
            command.arg("watch").env("TERM", "xterm").stdin(slave()).stdout(slave()).stderr(slave()).spawn().unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(24.try_into().unwrap(), 80.try_into().unwrap(), 0)));
        let (mut output, shown) = (File::from(pty.master.try_clone().unwrap()), screen.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Ends with an error when the program has gone.
            while let Ok(length) = output.read(&mut buffer) {
                shown.lock().unwrap().process(&buffer[..length]);
            }
        });
        Terminal { keys: File::from(pty.master), screen, child }
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn shows(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        while !holds(&self.text()) {
            assert!(begun.elapsed() < LIMIT, "no {what} on\n{}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_screen_shows_a_pair_and_steers_it() {
    let Some(pair) = Pair::new("screen") else { return };
    pair.start(&conf(150, ""), &conf(100, ""));
    says(&pair.primary, "is-master VI_1", &["VI_1 is MASTER"]);
    says(&pair.secondary, "status", &["BACKUP", "10.0.0.11, priority 150"]);
    let mut terminal = Terminal::start(&pair);
    terminal.shows("master", |text| text.contains("> VI_1") && text.contains("1 MASTER") && text.contains("held"));
    assert!(terminal.screen.lock().unwrap().screen().alternate_screen());
    terminal.shows("log", |text| text.contains("Entering MASTER STATE"));
    // Asked, and not meant.
    terminal.press("d");
    terminal.shows("question", |text| text.contains("Drain VI_1"));
    terminal.press("n");
    terminal.shows("no", |text| text.contains("nothing was done") && text.contains("1 MASTER"));
    terminal.press("dy");
    terminal.shows("drain", |text| text.contains("BACKUP drained") && text.contains("drained by an operator"));
    terminal.press("u");
    terminal.shows("question", |text| text.contains("End the drain of VI_1"));
    terminal.press("y");
    terminal.shows("master again", |text| text.contains("1 MASTER"));
    terminal.press("e");
    terminal.shows("explanation", |text| text.contains("any other key: back") && text.contains("priority"));
    terminal.press("x");
    pair.primary.systemctl("stop keepalived");
    terminal.shows("loss", |text| text.contains("Waiting for the daemon to come back"));
    pair.primary.systemctl("start keepalived");
    terminal.shows("return", |text| text.contains("vipd (pid") && text.contains("1 MASTER"));
    terminal.press("q");
    let code = terminal.child.wait().unwrap();
    assert!(code.success(), "{code}");
    terminal.shows("the screen from before", |text| !text.contains("VI_1"));
    assert!(!terminal.screen.lock().unwrap().screen().alternate_screen());

    // A signal ends it, and leaves no raw terminal behind.
    let mut terminal = Terminal::start(&pair);
    terminal.shows("master", |text| text.contains("> VI_1"));
    // Who enters the namespaces of a machine waits for its child, and ends with its code.
    let entering = terminal.child.id();
    let children = std::fs::read_to_string(format!("/proc/{entering}/task/{entering}/children")).unwrap();
    let pid = nix::unistd::Pid::from_raw(children.trim().parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let code = terminal.child.wait().unwrap();
    assert_eq!(code.code(), Some(128 + 15), "{code}");
    terminal.shows("the screen from before", |text| !text.contains("VI_1"));
    assert!(!terminal.screen.lock().unwrap().screen().alternate_screen());
    let settings = nix::sys::termios::tcgetattr(&terminal.keys).unwrap();
    assert!(settings.local_flags.contains(nix::sys::termios::LocalFlags::ICANON));
}

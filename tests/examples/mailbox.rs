//! A mail server (RFC 5321) that keeps every message: what the daemons send is read from here.

use super::ground::until;
use super::machine::Machine;
use nix::sched::{CloneFlags, setns};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub struct Mailbox {
    /// Envelope and text of each, line by line.
    mails: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Mailbox {
    /// Listens on port 25 of the machine for as long as the test runs.
    pub fn open(machine: &Machine) -> Mailbox {
        let mails: Arc<Mutex<Vec<Vec<String>>>> = Arc::default();
        let (kept, door) = (Arc::clone(&mails), machine.door());
        let (ready, is_ready) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            setns(door, CloneFlags::CLONE_NEWNET).unwrap();
            let listener = TcpListener::bind("0.0.0.0:25").unwrap();
            ready.send(()).unwrap();
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || {
                    if let Ok(Some(mail)) = receive(stream) {
                        kept.lock().unwrap().push(mail);
                    }
                });
            }
        });
        is_ready.recv().unwrap();
        Mailbox { mails }
    }

    /// Waits for a mail that speaks of both.
    pub fn told(&self, machines: &[&Machine], who: &str, what: &str) {
        until(&format!("a mail with {who} and {what}; there are {:#?}", self.mails.lock().unwrap()), machines, || {
            let mails = self.mails.lock().unwrap();
            mails.iter().any(|m| m.iter().any(|l| l.contains(who)) && m.iter().any(|l| l.contains(what)))
        });
    }
}

/// One dialogue; the message if it got to its end.
fn receive(stream: TcpStream) -> std::io::Result<Option<Vec<String>>> {
    let mut say = stream.try_clone()?;
    say.write_all(b"220 post.example.org\r\n")?;
    let (mut lines, mut in_data, mut whole) = (Vec::new(), false, None);
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let verb = line.split([' ', ':']).next().unwrap_or("").to_ascii_uppercase();
        lines.push(line.clone());
        let reply = match (in_data, verb.as_str()) {
            (true, _) if line == "." => {
                in_data = false;
                whole = Some(lines.clone());
                "250 kept"
            }
            (true, _) => continue,
            (_, "HELO" | "EHLO" | "MAIL" | "RCPT") => "250 ok",
            (_, "DATA") => {
                in_data = true;
                "354 go on"
            }
            (_, "QUIT") => {
                say.write_all(b"221 bye\r\n")?;
                break;
            }
            _ => "500 what?",
        };
        say.write_all(format!("{reply}\r\n").as_bytes())?;
    }
    Ok(whole)
}

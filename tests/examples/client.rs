//! A client that keeps asking one address and notes every answer and every failure, until it is dropped.

use super::machine::Machine;
use nix::sched::{CloneFlags, setns};
use std::io::{Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// From the end of a request to the next one.
const PACE: Duration = Duration::from_millis(20);

#[derive(Clone, Debug)]
pub struct Answer {
    begun: Instant,
    pub at: Instant,
    pub text: Result<Text, Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Whoever has the address said no: a closed port, a connection cut, an error of the server.
    Refused,
    /// Nothing came in time: nobody has the address, or somebody has and his processors were busy.
    Late,
}

#[derive(Clone, Debug)]
pub struct Text {
    /// The header X-Served-By.
    pub by: String,
    pub body: String,
}

pub struct Client {
    answers: Arc<Mutex<Vec<Answer>>>,
    ended: Arc<AtomicBool>,
}

/// What became of the requests since a moment.
#[derive(Clone, Debug)]
pub struct Seen {
    pub answers: Vec<Answer>,
    /// The longest time without an answer.
    pub gap: Duration,
    /// Requests that failed whatever the time was. Where nothing may be lost a test holds this to nought, and that no
    /// address moved; late ones may be the testing machine's own.
    pub refused: usize,
    late: usize,
}

impl Client {
    /// Asks `http://ADDRESS/PATH` from the place of `machine`.
    pub fn http(machine: &Machine, address: &str, path: &str) -> Client {
        let address: SocketAddr = address.parse().unwrap();
        let path = path.to_owned();
        Client::start(machine, move || http(address, &path))
    }

    /// Asks `https://ADDRESS/PATH` with curl, which accepts every certificate.
    pub fn https(machine: &Machine, address: &str, path: &str) -> Client {
        let url = format!("https://{address}{path}");
        Client::start(machine, move || {
            let arguments = ["-sk", "-i", "--http1.1", "--connect-timeout", "0.3", "-m", "1.5"];
            let ran = Command::new("curl").args(arguments).arg(&url).output().unwrap();
            match ran.status.code() {
                Some(0) => text(&String::from_utf8_lossy(&ran.stdout)).ok_or(Failure::Refused),
                // CURLE_OPERATION_TIMEDOUT
                Some(28) => Err(Failure::Late),
                _ => Err(Failure::Refused),
            }
        })
    }

    fn start(machine: &Machine, ask: impl Fn() -> Result<Text, Failure> + Send + 'static) -> Client {
        let answers = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let (notes, end, door) = (Arc::clone(&answers), Arc::clone(&ended), machine.door());
        std::thread::spawn(move || {
            setns(door, CloneFlags::CLONE_NEWNET).unwrap();
            while !end.load(Ordering::Relaxed) {
                let (begun, text) = (Instant::now(), ask());
                notes.lock().unwrap().push(Answer { begun, at: Instant::now(), text });
                std::thread::sleep(PACE);
            }
        });
        Client { answers, ended }
    }

    /// The same server has given every answer of the last second, and the last three however long that took.
    pub fn steadily_by(&self, server: &str) -> bool {
        let since = Instant::now() - Duration::from_secs(1);
        let answers = self.answers.lock().unwrap();
        let by = |a: &&Answer| a.text.as_ref().is_ok_and(|t| t.by == server);
        let in_a_row: Vec<&Answer> = answers.iter().rev().take_while(by).collect();
        // Where machines are busy a request may take long; one that has been on its way for longer is none.
        let fresh = in_a_row.first().is_some_and(|last| last.at.elapsed() < Duration::from_secs(3));
        fresh && in_a_row.len() >= 3 && in_a_row.last().is_some_and(|first| first.begun <= since)
    }

    pub fn since(&self, from: Instant) -> Seen {
        let answers = self.answers.lock().unwrap();
        // A request that was on its way already may have failed by what was before.
        let first = answers.iter().position(|a| a.begun >= from).unwrap_or(answers.len());
        // The last good answer before counts: silence may have begun with it.
        let before = answers[..first].iter().rev().find(|a| a.text.is_ok()).map(|a| a.at);
        let seen = answers[first..].to_vec();
        let good: Vec<Instant> =
            before.into_iter().chain(seen.iter().filter(|a| a.text.is_ok()).map(|a| a.at)).collect();
        let gap = good.windows(2).map(|w| w[1] - w[0]).max().unwrap_or_default();
        let failed = |how| seen.iter().filter(|a| a.text.as_ref().is_err_and(|f| *f == how)).count();
        let (refused, late) = (failed(Failure::Refused), failed(Failure::Late));
        Seen { answers: seen, gap, refused, late }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

impl Seen {
    /// For the table.
    pub fn measured(&self) -> String {
        if self.refused + self.late == 0 { "no request lost".into() } else { seconds(self.gap) }
    }
    pub fn bodies(&self) -> Vec<&str> {
        self.answers.iter().filter_map(|a| a.text.as_ref().ok()).map(|t| t.body.trim()).collect()
    }
    pub fn servers(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self.answers.iter().filter_map(|a| a.text.as_ref().ok()).map(|t| &*t.by).collect();
        all.dedup();
        all
    }
}

pub fn seconds(length: Duration) -> String {
    if length < Duration::from_millis(100) {
        "less than 0.1 s".into()
    } else {
        format!("{:.1} s", length.as_secs_f64())
    }
}

fn http(address: SocketAddr, path: &str) -> Result<Text, Failure> {
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(200))?;
        stream.set_read_timeout(Some(Duration::from_millis(1000)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: example\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    match ask() {
        Ok(answer) => text(&String::from_utf8_lossy(&answer)).ok_or(Failure::Refused),
        Err(why) => Err(failure(&why)),
    }
}

fn failure(why: &Error) -> Failure {
    match why.kind() {
        // Without an owner of the address nobody answers ARP: the kernel says so after its own time.
        ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::HostUnreachable => Failure::Late,
        _ => Failure::Refused,
    }
}

/// A response with status 200.
fn text(answer: &str) -> Option<Text> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    (lines.next()?.split_whitespace().nth(1)? == "200").then_some(())?;
    let by = lines.find_map(|l| l.to_ascii_lowercase().strip_prefix("x-served-by:").map(|v| v.trim().to_owned()));
    Some(Text { by: by.unwrap_or_default(), body: body.to_owned() })
}

//! A file system that stops answering, as a dead NFS server does: a FUSE server in this process with a few files in one
//! folder. While it is dead, whoever opens a file of it waits.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const ALIVE: u8 = 0;
/// Requests are taken and not answered: whoever waits cannot even be killed.
const MUTE: u8 = 1;
/// Requests are not taken: whoever waits can be killed.
const DEAF: u8 = 2;
const OVER: u8 = 3;

pub struct DeadMount {
    pub path: PathBuf,
    state: State,
    /// Requests that were taken while it was mute.
    waiting: Arc<Mutex<Vec<Request>>>,
    server: Option<JoinHandle<()>>,
}

/// How it does; for whoever is to make it answer later.
#[derive(Clone)]
pub struct State(Arc<AtomicU8>);

impl State {
    /// It answers again, also what it was asked meanwhile.
    pub fn answers(&self) {
        self.0.store(ALIVE, Ordering::SeqCst);
    }
}

/// (name, mode, text)
pub type Files = Vec<(&'static str, u32, String)>;

/// Is there FUSE here? Otherwise the test says so and is over.
pub fn there() -> bool {
    let there = Path::new("/dev/fuse").exists();
    if !there {
        eprintln!("skipped: needs /dev/fuse");
    }
    there
}

impl DeadMount {
    pub fn new(path: PathBuf, files: Files) -> DeadMount {
        std::fs::create_dir(&path).unwrap();
        let device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let options = format!("fd={},rootmode=40755,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        let none: Option<&str> = None;
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("dead"), &path, Some("fuse"), flags, Some(options.as_str())).unwrap_or_else(|e| {
            panic!("{e}: {none:?}");
        });
        let state = Arc::new(AtomicU8::new(ALIVE));
        let waiting: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (of, queue) = (state.clone(), waiting.clone());
        let server = std::thread::spawn(move || serve(device, &files, &of, &queue));
        DeadMount { path, state: State(state), waiting, server: Some(server) }
    }

    pub fn file(&self, name: &str) -> String {
        self.path.join(name).to_str().unwrap().to_owned()
    }

    pub fn mute(&self) {
        self.state.0.store(MUTE, Ordering::SeqCst);
    }

    /// Does anybody wait for an answer?
    #[allow(dead_code)]
    pub fn is_waited_for(&self) -> bool {
        !self.waiting.lock().unwrap().is_empty()
    }

    #[allow(dead_code)]
    pub fn deaf(&self) {
        self.state.0.store(DEAF, Ordering::SeqCst);
    }

    pub fn answers(&self) {
        self.state.answers();
    }

    #[allow(dead_code)]
    pub fn state(&self) -> State {
        self.state.clone()
    }
}

impl Drop for DeadMount {
    fn drop(&mut self) {
        self.state.0.store(OVER, Ordering::SeqCst);
        let _ = nix::mount::umount2(&self.path, nix::mount::MntFlags::MNT_DETACH);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

struct Request {
    opcode: u32,
    unique: u64,
    node: u64,
    body: Vec<u8>,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Until the mount is over; dropping the device then ends every wait.
fn serve(mut device: File, files: &Files, state: &AtomicU8, waiting: &Mutex<Vec<Request>>) {
    let mut buffer = vec![0u8; 1 << 18];
    loop {
        let now = state.load(Ordering::SeqCst);
        if now == OVER {
            return;
        }
        if now == ALIVE {
            for request in std::mem::take(&mut *waiting.lock().unwrap()) {
                answer(&mut device, files, &request);
            }
        }
        let ready = {
            use std::os::fd::AsFd;
            let mut one = [nix::poll::PollFd::new(device.as_fd(), nix::poll::PollFlags::POLLIN)];
            nix::poll::poll(&mut one, 10u16).unwrap_or(0) > 0
        };
        if now == DEAF {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        }
        if !ready {
            continue;
        }
        let Ok(length) = device.read(&mut buffer) else { return };
        let bytes = &buffer[..length];
        let request = Request {
            opcode: word(bytes, 4),
            unique: long(bytes, 8),
            node: long(bytes, 16),
            body: bytes[40..].to_vec(),
        };
        // Opening and reading wait; names and attributes are known to the kernel anyway.
        if [14, 15].contains(&request.opcode) && state.load(Ordering::SeqCst) != ALIVE {
            waiting.lock().unwrap().push(request);
        } else {
            answer(&mut device, files, &request);
        }
    }
}

fn attributes(node: u64, files: &Files) -> Vec<u8> {
    let (mode, size) = match files.get((node as usize).wrapping_sub(2)) {
        Some((_, mode, text)) => (libc::S_IFREG | mode, text.len() as u64),
        None => (libc::S_IFDIR | 0o755, 0),
    };
    let mut out = Vec::new();
    for number in [node, size, 1, 0, 0, 0] {
        out.extend_from_slice(&number.to_ne_bytes());
    }
    for number in [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0] {
        out.extend_from_slice(&number.to_ne_bytes());
    }
    out
}

fn answer(device: &mut File, files: &Files, request: &Request) {
    let file = |node: u64| files.get((node as usize).wrapping_sub(2));
    let result: Result<Vec<u8>, i32> = match request.opcode {
        // LOOKUP
        1 => {
            let name = request.body.split(|b| *b == 0).next().unwrap_or_default();
            match files.iter().position(|(known, ..)| known.as_bytes() == name) {
                Some(at) => {
                    let node = at as u64 + 2;
                    let mut out = Vec::new();
                    for number in [node, 0, 1, 1, 0] {
                        out.extend_from_slice(&u64::to_ne_bytes(number));
                    }
                    out.extend_from_slice(&attributes(node, files));
                    Ok(out)
                }
                None => Err(libc::ENOENT),
            }
        }
        // FORGET, INTERRUPT, BATCH_FORGET want no answer.
        2 | 36 | 42 => return,
        // GETATTR
        3 => {
            let mut out = vec![0; 16];
            out[0] = 1;
            out.extend_from_slice(&attributes(request.node, files));
            Ok(out)
        }
        // OPEN: nothing is kept in the page cache.
        14 => {
            let mut out = vec![0; 16];
            out[8] = 1;
            Ok(out)
        }
        // OPENDIR
        27 => Ok(vec![0; 16]),
        // READ
        15 => {
            let (from, most) = (long(&request.body, 8) as usize, word(&request.body, 16) as usize);
            let text = file(request.node).map_or(&b""[..], |(_, _, text)| text.as_bytes());
            Ok(text.iter().skip(from).take(most).copied().collect())
        }
        // READDIR: nobody lists it.
        28 => Ok(Vec::new()),
        // RELEASE, FLUSH, RELEASEDIR
        18 | 25 | 29 => Ok(Vec::new()),
        // INIT
        26 => {
            let mut out = Vec::new();
            for number in [7u32, 31, 0, 0, 0, 1 << 16, 1, 0] {
                out.extend_from_slice(&number.to_ne_bytes());
            }
            out.resize(64, 0);
            Ok(out)
        }
        _ => Err(libc::ENOSYS),
    };
    let (error, body) = match result {
        Ok(body) => (0, body),
        Err(error) => (-error, Vec::new()),
    };
    let mut reply = Vec::new();
    reply.extend_from_slice(&(16 + body.len() as u32).to_ne_bytes());
    reply.extend_from_slice(&error.to_ne_bytes());
    reply.extend_from_slice(&request.unique.to_ne_bytes());
    reply.extend_from_slice(&body);
    // Whoever asked may be gone.
    let _ = device.write(&reply);
}

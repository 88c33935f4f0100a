//! TLS for genhash, spoken by the program `openssl s_client` over a connection that is ours.
//!
//! The connection stays ours because the firewall mark and the patience are set on it; the program reaches it through a
//! socket file in a directory of our own. Like keepalived it takes any certificate: what is measured is a page, not an
//! identity. What OpenSSL can talk to, this can.

use socket2::Socket;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

/// What the server says, decrypted.
#[derive(Debug)]
pub struct Answer {
    program: Child,
    text: ChildStdout,
    _place: Place,
}

impl Answer {
    /// What stands behind a failure: mostly a handshake that did not come about.
    pub fn why(mut self, trouble: &str) -> String {
        let failed = self.program.wait().is_ok_and(|status| !status.success());
        if failed { "SSL handshake/communication error".into() } else { trouble.into() }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.text.read(buffer)
    }
}

/// A directory that nobody else may enter, for the socket file.
#[derive(Debug)]
struct Place(PathBuf);

impl Place {
    fn new() -> io::Result<Place> {
        let path = std::env::temp_dir().join(format!("genhash-{}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Place(path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Sends the request over `server` and gives what comes back. `name` is said in the handshake.
pub fn ask(server: Socket, name: Option<&str>, request: Vec<u8>) -> Result<Answer, String> {
    let failed = |error: io::Error| format!("Cannot prepare for TLS: {error}");
    let place = Place::new().map_err(failed)?;
    let door = place.0.join("server");
    let listener = UnixListener::bind(&door).map_err(failed)?;
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-nocommands", "-unix"]).arg(&door);
    match name {
        Some(name) => command.args(["-servername", name]),
        None => command.arg("-noservername"),
    };
    let mut program =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                "-S needs the program openssl: apt install openssl".to_owned()
            } else {
                failed(error)
            }
        })?;
    let (Some(mut input), Some(text)) = (program.stdin.take(), program.stdout.take()) else {
        return Err("openssl has no input or no output".into());
    };
    // One end of the request: the program reads on until the server is done.
    thread::spawn(move || {
        let _ = input.write_all(&request);
        // An open input: some versions end with it.
        thread::park();
    });
    thread::spawn(move || {
        if let Ok((inner, _)) = listener.accept() {
            relay(server, inner);
        }
    });
    Ok(Answer { program, text, _place: place })
}

/// Carries bytes both ways until the server or the program is done.
fn relay(server: Socket, inner: UnixStream) {
    let (Ok(mut to_server), Ok(mut from_inner)) = (server.try_clone(), inner.try_clone()) else { return };
    thread::spawn(move || {
        let _ = io::copy(&mut from_inner, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let (mut from_server, mut to_inner) = (server, inner);
    // With the server's silence the patience of its socket ends, and with that the program's input.
    let _ = io::copy(&mut from_server, &mut to_inner);
    let _ = to_inner.shutdown(Shutdown::Both);
}

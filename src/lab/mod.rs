//! Network namespaces joined by wires: the ground under `vipctl lab` and under the tests that need a real kernel.
//!
//! Two storeys. Below are [`wire`] and [`observer`]: named namespaces, cables, and an eye on what goes over them, for
//! tests that bring their own programs. Above is the [`rehearsal`]: servers that are machines of their own as far as
//! programs can see ([`agent`]), on an address plan that comes out of the configurations ([`plan`]), with a client that
//! asks, a failure, a recovery and a [`verdict`] by what the client got. Everything is made and taken down by netlink and
//! system calls alone, without a shell, and nothing outlives the process that made it.
//!
//! It reads no configuration and prints nothing: it is given [`Spec`](crate::spec::Spec)s, and an [`Audience`]
//! that is told what happens.

mod addresses;
pub mod agent;
pub mod backends;
mod balance;
pub mod client;
pub mod expect;
pub mod gateway;
pub mod net;
pub mod observer;
mod place;
pub mod plan;
pub mod rehearsal;
mod server;
pub mod stage;
pub mod verdict;
pub mod web;
pub mod wire;
mod words;

use std::net::IpAddr;
use std::time::Instant;

/// Why what was asked for could not be done, in words for the user.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Trouble {
    pub what: String,
    /// The cure, if one is known.
    pub help: Option<String>,
}

impl Trouble {
    /// Without a cure yet.
    pub fn new(what: impl Into<String>) -> Self {
        Trouble { what: what.into(), help: None }
    }
    /// The same, with what to do.
    pub fn help(mut self, cure: impl Into<String>) -> Self {
        self.help = Some(cure.into());
        self
    }
}

impl From<std::io::Error> for Trouble {
    fn from(e: std::io::Error) -> Self {
        Trouble::new(e.to_string())
    }
}

/// How a server fails.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// SIGKILL to the daemon: the addresses stay behind.
    Kill,
    /// The power is gone: everything on the server is killed, its cable is dead.
    Crash,
    /// SIGSTOP: the daemon is there and does nothing.
    Pause,
    /// SIGTERM.
    Stop,
    /// Its cables are pulled; or only that of one interface.
    Link(Option<String>),
    /// The way to a gateway is cut: by the name of its BFD session, else the first one that an instance tracks.
    Path(Cut, Option<String>),
    /// That gateway stands still, for everybody.
    Frozen(Option<String>),
    /// A check script fails; by name, else the first one that an instance tracks.
    Script(Option<String>),
    /// A real server of a virtual server fails: `[ADDRESS[:PORT] or NAME][=HOW]`, as [`chosen`](crate::spec::backend::chosen)
    /// reads it.
    Server(String),
}

/// What is lost on a way that is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// Everything.
    Both,
    /// What the gateway sends: the server hears nothing.
    Deaf,
    /// What the server sends: it is not heard.
    Mute,
}

impl Cut {
    /// Nothing reaches the server.
    pub(super) const fn deafens(self) -> bool {
        matches!(self, Cut::Both | Cut::Deaf)
    }
    /// Nothing of the server arrives.
    pub(super) const fn mutes(self) -> bool {
        matches!(self, Cut::Both | Cut::Mute)
    }
}

impl std::str::FromStr for Failure {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "kill" => Ok(Failure::Kill),
            "crash" => Ok(Failure::Crash),
            "pause" => Ok(Failure::Pause),
            "stop" => Ok(Failure::Stop),
            "link" => Ok(Failure::Link(None)),
            "path" => Ok(Failure::Path(Cut::Both, None)),
            "deaf" => Ok(Failure::Path(Cut::Deaf, None)),
            "mute" => Ok(Failure::Path(Cut::Mute, None)),
            "frozen" => Ok(Failure::Frozen(None)),
            "script" => Ok(Failure::Script(None)),
            "server" => Ok(Failure::Server(String::new())),
            _ if text.starts_with("server=") => Ok(Failure::Server(text["server".len()..].into())),
            _ => match text.split_once(':') {
                Some(("script", name)) if !name.is_empty() => Ok(Failure::Script(Some(name.into()))),
                Some(("path", name)) if !name.is_empty() => Ok(Failure::Path(Cut::Both, Some(name.into()))),
                Some(("deaf", name)) if !name.is_empty() => Ok(Failure::Path(Cut::Deaf, Some(name.into()))),
                Some(("mute", name)) if !name.is_empty() => Ok(Failure::Path(Cut::Mute, Some(name.into()))),
                Some(("server", which)) if !which.is_empty() => Ok(Failure::Server(which.into())),
                Some(("frozen", name)) if !name.is_empty() => Ok(Failure::Frozen(Some(name.into()))),
                Some(("link", name)) if !name.is_empty() => Ok(Failure::Link(Some(name.into()))),
                _ => Err("expected crash, kill, pause, stop, link, link:INTERFACE, script, script:NAME, \
                          server[:ADDRESS[:PORT]][=refuse, 503, slow, hang, dead or flap], or path, deaf, mute or frozen, each \
                          optionally with :SESSION"
                    .into()),
            },
        }
    }
}

/// Whoever watches a rehearsal. Every method may be left out; `()` watches nothing.
pub trait Audience {
    /// A server's daemon says that an instance entered a state.
    fn state(&mut self, _at: Instant, _server: &str, _instance: &str, _state: &str) {}
    /// A virtual address came to a server, or went.
    fn address(&mut self, _at: Instant, _server: &str, _address: IpAddr, _present: bool) {}
    /// Something worth knowing about a server.
    fn note(&mut self, _at: Instant, _server: &str, _text: &str) {}
    /// The rehearsal did something to a server.
    fn act(&mut self, _at: Instant, _server: &str, _text: &str) {}
    /// A director takes a real server out, or puts it in; `text` says it with the reason.
    fn server(&mut self, at: Instant, director: &str, _service: &str, _real: &str, _good: bool, text: &str) {
        self.note(at, director, text);
    }
    /// A request at a virtual server has an answer, or will not have one.
    fn served(&mut self, _service: &str, _answer: &client::Answer) {}
    /// The client has sent a request.
    fn asked(&mut self, _at: Instant) {}
    /// A request has an answer, or will not have one.
    fn answer(&mut self, _answer: &client::Answer) {}
    /// Time passes.
    fn passes(&mut self, _now: Instant) {}
}

impl Audience for () {}

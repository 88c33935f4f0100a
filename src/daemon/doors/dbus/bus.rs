//! A connection to the system bus: messages in and out, as values of [`crate::observe::dbus`].

use crate::daemon::doors::peer::PATIENCE;
use crate::observe::dbus::signals::Signal;
use crate::observe::dbus::{Answer, Call, Property, Wrong};
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::str::FromStr;
use tokio::net::UnixStream;
use tokio::time::timeout;
use zbus::address::Transport;
use zbus::address::transport::UnixSocket;
use zbus::message::{Flags, Type};
use zbus::{Address, Connection, Message, MessageStream, Structure, Variant};

const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";
/// The bus itself.
const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";
/// Answer to RequestName: somebody else has it, and we are next.
const IN_QUEUE: u32 = 2;
/// Without flags: nobody may take the name from us, and we wait for it, as keepalived does.
const NO_FLAGS: u32 = 0;
/// Where the number of the machine stands (D-Bus specification, "UUIDs").
const MACHINE_ID: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/// A connection that has asked for its name.
pub struct Bus {
    connection: Connection,
    messages: MessageStream,
    name: String,
    waits: bool,
}

/// A message that means something here.
pub enum Heard {
    NameIsOurs,
    NameIsLost,
    Call(Called),
    Other,
}

/// Somebody's call.
pub struct Called(Message);

impl Called {
    /// Puts the call before `judge`. What has no path or method is not a call, which the library makes sure of.
    pub fn question(&self, judge: impl FnOnce(&Call<'_>) -> Answer) -> Answer {
        let (header, body) = (self.0.header(), self.0.body());
        let values: Option<Structure<'_>> = (!body.is_empty()).then(|| body.deserialize().ok()).flatten();
        let texts: Vec<&str> = values
            .iter()
            .flat_map(|values| values.fields())
            .filter_map(|value| if let Variant::Str(text) = value { Some(text.as_str()) } else { None })
            .collect();
        judge(&Call {
            path: header.path().map_or("", |path| path.as_str()),
            interface: header.interface().map(|interface| interface.as_str()),
            member: header.member().map_or("", |member| member.as_str()),
            signature: &body.signature().to_string_no_parens(),
            texts: &texts,
        })
    }
}

impl Bus {
    /// Connects to the system bus (`DBUS_SYSTEM_BUS_ADDRESS`, or the usual place) and asks for `name`.
    ///
    /// # Errors
    /// No bus is there, it does not take us, or it does not let us have the name.
    pub async fn connect(name: &str) -> zbus::Result<Bus> {
        let stream = open().await?;
        let connection = zbus::connection::Builder::unix_stream(stream).build().await?;
        // Before the name is asked for: the first call may come with it.
        let messages = MessageStream::from(&connection);
        let answer = connection.call_method(Some(BUS), BUS_PATH, Some(BUS), "RequestName", &(name, NO_FLAGS)).await?;
        let waits = answer.body().deserialize::<u32>()? == IN_QUEUE;
        Ok(Bus { connection, messages, name: name.to_owned(), waits })
    }

    /// Another program has the name.
    pub fn waits_for_its_name(&self) -> bool {
        self.waits
    }

    /// The next message. May be given up at any await.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn hear(&mut self) -> zbus::Result<Heard> {
        let hung_up = || io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up");
        let message = self.messages.next().await.ok_or_else(hung_up)??;
        let header = message.header();
        let of_the_bus = || header.sender().is_some_and(|sender| sender.as_str() == BUS);
        let heard = match (message.message_type(), header.member().map(|member| member.as_str())) {
            (Type::MethodCall, _) => {
                drop(header);
                return Ok(Heard::Call(Called(message)));
            }
            (Type::Signal, Some("NameAcquired")) if of_the_bus() => Heard::NameIsOurs,
            (Type::Signal, Some("NameLost")) if of_the_bus() => Heard::NameIsLost,
            _ => return Ok(Heard::Other),
        };
        // The connection's own number is given by the same signal.
        let of: String = message.body().deserialize()?;
        Ok(if of == self.name { heard } else { Heard::Other })
    }

    /// Sends a signal to whoever listens.
    ///
    /// # Errors
    /// The connection is lost, or the bus does not read.
    pub async fn signal(&self, signal: &Signal) -> zbus::Result<()> {
        let message = Message::signal(signal.path.as_str(), signal.interface, signal.member);
        let message = match signal.state {
            Some(state) => message.build(&(state,)),
            None => message.build(&()),
        }?;
        self.send(&message).await
    }

    /// Answers a call, unless its sender does not want to know.
    ///
    /// # Errors
    /// The connection is lost, or the bus does not read.
    pub async fn reply(&self, call: &Called, answer: Answer) -> zbus::Result<()> {
        let header = call.0.header();
        if header.primary().flags().contains(Flags::NO_REPLY_EXPECTED) {
            return Ok(());
        }
        let reply = Message::method_return(&header);
        let message = match answer {
            Answer::Done => reply.build(&()),
            Answer::Text(text) => reply.build(&(text,)),
            Answer::Property(property) => reply.build(&(value(&property)?,)),
            Answer::Properties(all) => {
                let values = all.iter().map(|(name, property)| Ok((*name, value(property)?)));
                reply.build(&(values.collect::<zbus::Result<BTreeMap<&str, Variant<'_>>>>()?,))
            }
            Answer::Wrong(wrong, text) => Message::error(&header, wrong.name()).build(&(text,)),
            // Whoever answers has done it before.
            Answer::Do(_) => Message::error(&header, Wrong::Failed.name()).build(&()),
        }?;
        self.send(&message).await
    }

    /// A bus that does not take a message within the time is given up: what was written of it cannot be taken back.
    async fn send(&self, message: &Message) -> zbus::Result<()> {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "it does not read");
        timeout(PATIENCE, self.connection.send(message)).await.map_err(|_| late())?
    }
}

/// The value of a property: a structure, as keepalived makes it.
fn value(property: &Property) -> zbus::Result<Variant<'static>> {
    let structure = match property {
        Property::Name(name) => Structure::builder().add_field(name.to_string()).build(),
        Property::State(number, word) => Structure::builder().add_field(*number).add_field((*word).to_owned()).build(),
    }?;
    Ok(Variant::Structure(structure))
}

/// Where the system bus listens, connected. The library would connect on a thread that nobody could call back.
async fn open() -> zbus::Result<std::os::unix::net::UnixStream> {
    let list = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_else(|_| SYSTEM_BUS.to_owned());
    let mut failed = zbus::Error::Address("there is no address".into());
    for address in list.split(';').filter(|address| !address.is_empty()) {
        let opened = match place(&Address::from_str(address)?) {
            Some(place) => UnixStream::connect(place).await.and_then(UnixStream::into_std),
            None => Err(io::Error::new(io::ErrorKind::Unsupported, "only buses of this machine are used")),
        };
        match opened {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = io::Error::new(error.kind(), format!("{address}: {error}")).into(),
        }
    }
    Err(failed)
}

/// The path of a socket; an abstract one has a NUL in front.
fn place(address: &Address) -> Option<PathBuf> {
    let Transport::Unix(unix) = address.transport() else { return None };
    match unix.path() {
        UnixSocket::File(path) => Some(path.clone()),
        UnixSocket::Abstract(name) => Some(OsStr::from_bytes(&[b"\0", name.as_bytes()].concat()).into()),
        _ => None,
    }
}

/// The number of this machine, or that it has none.
pub fn machine_id() -> Answer {
    let id = MACHINE_ID.iter().find_map(|path| std::fs::read_to_string(path).ok());
    match id {
        Some(id) => Answer::Text(id.trim_end().to_owned()),
        None => Answer::Wrong(Wrong::Failed, "this machine has no number".into()),
    }
}

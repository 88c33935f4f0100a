//! What programs see on D-Bus: the objects of `org.keepalived.Vrrp1`, as keepalived publishes them.
//!
//! [`Objects`] is the picture of one moment, made of a [`Spec`] and the states of its instances; [`Objects::answer`] is a
//! pure function from a call to what is to be said or done. [`signals`] makes signals of events. Nothing here has a
//! connection; `daemon/doors/dbus` has it, and does what an answer asks for.
//!
//! Names, types, numbers and errors are those that Debian's keepalived 2.2.7 has on a bus (docs/differences.md lists what
//! is not so): `Name` is described as `s` and comes as `(s)`, and clients read it so.

mod introspection;
pub mod signals;

use crate::spec::{InstanceId, InstanceSpec, Spec};
use crate::vrrp::io::Role;
use crate::wire::Family;
use std::collections::BTreeMap;

/// `dbus_service_name` where none is configured.
pub const SERVICE: &str = "org.keepalived.Vrrp1";
/// Every object stands below this path.
const ROOT: &str = "/org/keepalived/Vrrp1";
/// Interface of the daemon as a whole.
pub const GENERAL: &str = "org.keepalived.Vrrp1.Vrrp";
/// Interface of one virtual router.
pub const INSTANCE: &str = "org.keepalived.Vrrp1.Instance";
const INTROSPECTABLE: &str = "org.freedesktop.DBus.Introspectable";
const PEER: &str = "org.freedesktop.DBus.Peer";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// Stands in a path for the interface of an instance without one.
const NO_INTERFACE: &str = "none";

/// One virtual router on the bus.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Instance {
    name: Box<str>,
    role: Role,
}

/// All objects of one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Objects {
    /// Path of the daemon's object.
    general: Box<str>,
    /// By path. Of several with one path (multicast and unicast beside each other) the first is shown, as keepalived
    /// publishes it.
    instances: BTreeMap<Box<str>, Instance>,
}

/// A method call, taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub path: &'a str,
    /// May be left out, by the specification of D-Bus.
    pub interface: Option<&'a str>,
    pub member: &'a str,
    /// Types of the arguments, without parentheses.
    pub signature: &'a str,
    /// The arguments that are strings, in order.
    pub texts: &'a [&'a str],
}

/// A property's value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Property {
    /// `(s)`.
    Name(Box<str>),
    /// `(us)`: number and word.
    State(u32, &'static str),
}

/// What a call is answered with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// No values.
    Done,
    Text(String),
    /// `v`.
    Property(Property),
    /// `a{sv}`.
    Properties(Vec<(&'static str, Property)>),
    Wrong(Wrong, String),
    /// This is to be done first.
    Do(Act),
}

/// Errors of D-Bus that calls meet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    UnknownMethod,
    InvalidArgs,
    /// It could not be done.
    Failed,
}

impl Wrong {
    /// As it goes over the bus.
    pub const fn name(self) -> &'static str {
        match self {
            Wrong::UnknownMethod => "org.freedesktop.DBus.Error.UnknownMethod",
            Wrong::InvalidArgs => "org.freedesktop.DBus.Error.InvalidArgs",
            Wrong::Failed => "org.freedesktop.DBus.Error.Failed",
        }
    }
}

/// What a method asks the daemon for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    PrintData,
    PrintStats,
    PrintStatsClear,
    ReloadConfig,
    /// The name of the instance.
    SendGarp(Box<str>),
    /// The number of this machine, of which the bus's library is asked.
    MachineId,
}

/// The word of `State`.
const fn word(role: Role) -> &'static str {
    match role {
        Role::Init => "Init",
        Role::Backup => "Backup",
        Role::Master => "Master",
        Role::Fault => "Fault",
    }
}

/// Paths have letters, digits and underscores.
fn element(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// [`ROOT`] with the network namespace and the instance name of the configuration.
fn root(spec: &Spec) -> String {
    let parts = [&spec.daemon.net_namespace, &spec.daemon.instance];
    parts.into_iter().flatten().fold(ROOT.to_owned(), |path, part| path + "/" + &element(part))
}

/// Path of an instance's object. That of a VMAC is named after the interface below it.
pub fn path(spec: &Spec, one: &InstanceSpec) -> String {
    let interface = match &one.interface {
        Some(name) => name.as_str(),
        None => spec.daemon.dbus.no_interface.as_deref().unwrap_or(NO_INTERFACE),
    };
    let family = match one.family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    format!("{}/Instance/{}/{}/{family}", root(spec), element(interface), one.vrid.get())
}

impl Objects {
    /// The objects of `spec`, whose instances have the states that `role` tells.
    pub fn of(spec: &Spec, role: impl Fn(InstanceId) -> Role) -> Objects {
        let mut instances = BTreeMap::new();
        for (id, one) in (0..).map(InstanceId).zip(&spec.instances) {
            let instance = Instance { name: one.name.clone(), role: role(id) };
            instances.entry(path(spec, one).into()).or_insert(instance);
        }
        Objects { general: (root(spec) + "/Vrrp").into(), instances }
    }

    /// The instance at `path` has another state.
    pub fn became(&mut self, path: &str, name: &str, role: Role) {
        if let Some(instance) = self.instances.get_mut(path).filter(|instance| *instance.name == *name) {
            instance.role = role;
        }
    }

    /// Every path, in order.
    fn paths(&self) -> impl Iterator<Item = &str> {
        [&*self.general].into_iter().chain(self.instances.keys().map(|path| &**path))
    }

    /// What is said, or done, about a call.
    pub fn answer(&self, call: &Call<'_>) -> Answer {
        // These are for every path, also those between objects.
        match (call.interface.unwrap_or_default(), call.member, call.signature) {
            (INTROSPECTABLE | "", "Introspect", "") => return Answer::Text(introspection::of(self, call.path)),
            (PEER | "", "Ping", "") => return Answer::Done,
            (PEER | "", "GetMachineId", "") => return Answer::Do(Act::MachineId),
            _ => {}
        }
        let instance = self.instances.get(call.path);
        let own = match instance {
            Some(_) => INSTANCE,
            None if call.path == &*self.general => GENERAL,
            None => {
                return Answer::Wrong(Wrong::UnknownMethod, format!("Object does not exist at path “{}”", call.path));
            }
        };
        let interface = call.interface.unwrap_or(match call.member {
            "Get" | "GetAll" | "Set" => PROPERTIES,
            _ => own,
        });
        match interface {
            PROPERTIES => properties(own, instance, call),
            of if of == own => method(instance, call),
            other => no_interface(other, call.path),
        }
    }
}

fn no_interface(interface: &str, path: &str) -> Answer {
    Answer::Wrong(Wrong::UnknownMethod, format!("No such interface “{interface}” on object at path {path}"))
}

/// A method of the object's own interface.
fn method(instance: Option<&Instance>, call: &Call<'_>) -> Answer {
    let act = match (instance, call.member) {
        (Some(instance), "SendGarp") => Act::SendGarp(instance.name.clone()),
        (None, "PrintData") => Act::PrintData,
        (None, "PrintStats") => Act::PrintStats,
        (None, "PrintStatsClear") => Act::PrintStatsClear,
        (None, "ReloadConfig") => Act::ReloadConfig,
        (_, other) => return Answer::Wrong(Wrong::UnknownMethod, format!("No such method “{other}”")),
    };
    if call.signature.is_empty() {
        return Answer::Do(act);
    }
    let text = format!("Type of message, “({})”, does not match expected type “()”", call.signature);
    Answer::Wrong(Wrong::InvalidArgs, text)
}

/// A name as an error repeats it: no name on D-Bus is longer.
fn shown(name: &str) -> &str {
    const LONGEST: usize = 255;
    name.char_indices().nth(LONGEST).map_or(name, |(end, _)| name.get(..end).unwrap_or_default())
}

fn properties(own: &str, instance: Option<&Instance>, call: &Call<'_>) -> Answer {
    let (of, name) = match (call.member, call.signature, call.texts) {
        ("Get", "ss", [of, name]) | ("Set", "ssv", [of, name, ..]) => (*of, Some(*name)),
        ("GetAll", "s", [of]) => (*of, None),
        _ => return no_interface(PROPERTIES, call.path),
    };
    if of != own {
        return Answer::Wrong(Wrong::InvalidArgs, format!("No such interface “{}”", shown(of)));
    }
    let all: Vec<(&'static str, Property)> = instance.map_or_else(Vec::new, |instance| {
        let state = Property::State(instance.role as u32, word(instance.role));
        vec![("Name", Property::Name(instance.name.clone())), ("State", state)]
    });
    let Some(name) = name else { return Answer::Properties(all) };
    match all.into_iter().find(|(known, _)| *known == name) {
        None => Answer::Wrong(Wrong::InvalidArgs, format!("No such property “{}”", shown(name))),
        Some(_) if call.member == "Set" => {
            Answer::Wrong(Wrong::InvalidArgs, format!("Property “{name}” is not writable"))
        }
        Some((_, value)) => Answer::Property(value),
    }
}

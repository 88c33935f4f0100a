//! What the daemon is told to be: an immutable value that [`crate::config`] makes out of text and nothing else.
//!
//! Every reference is an index into one of [`Spec`]'s lists (`InstanceId(3)` is `instances[3]`), every default and
//! every rule between keywords is already applied: a reader of a `Spec` never asks "was it set?". A `Spec` is replaced
//! as a whole on reload; nothing changes in place.

pub mod backend;
pub mod balance;
pub mod bfd;
mod claim;
mod daemon;
mod few;
mod instance;
mod notify;
mod shown;
mod track;

pub use claim::*;
pub use daemon::*;
pub use few::*;
pub use instance::*;
pub use notify::*;
pub use shown::*;
pub use track::*;

use crate::time::Interval;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::sync::Arc;

/// What stands in the place of a secret wherever something is shown; its length says nothing.
pub const MASK: &str = "********";

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);
        impl $name {
            /// As a position in the list of the [`Spec`].
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}
ids! {
    /// Position in [`Spec::instances`].
    InstanceId,
    /// Position in [`Spec::groups`].
    GroupId,
    /// Position in [`Spec::scripts`].
    ScriptId,
    /// Position in [`Spec::files`].
    FileId,
    /// Position in [`Spec::processes`].
    ProcessId,
    /// Position in [`Spec::bfds`].
    BfdId,
}

/// Longest name of an interface, in bytes.
const IF_NAME: usize = 15;

/// Name of a network interface, 1..=15 bytes. Held in place: there are thousands of them, and each place that knows an
/// instance has one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfName {
    /// Zeros follow the name.
    bytes: [u8; IF_NAME],
    length: NonZeroU8,
}
impl IfName {
    /// `None` when empty or longer than the kernel's 15 bytes.
    pub fn new(name: &str) -> Option<IfName> {
        let length = NonZeroU8::new(u8::try_from(name.len()).ok()?)?;
        let mut bytes = [0; IF_NAME];
        bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        Some(IfName { bytes, length })
    }
    /// As text.
    pub fn as_str(&self) -> &str {
        let name = self.bytes.get(..usize::from(self.length.get()));
        name.and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default()
    }
}
impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl fmt::Debug for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl serde::Serialize for IfName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
impl<'de> serde::Deserialize<'de> for IfName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<IfName, D::Error> {
        let name = std::borrow::Cow::<str>::deserialize(deserializer)?;
        IfName::new(&name).ok_or_else(|| serde::de::Error::custom("no name of an interface has this length"))
    }
}

/// Everything a keepalived.conf says, resolved.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Spec {
    pub instances: Vec<InstanceSpec>,
    pub groups: Vec<GroupSpec>,
    pub scripts: Vec<ScriptSpec>,
    pub files: Vec<FileSpec>,
    pub processes: Vec<ProcessSpec>,
    /// What may be tracked, by name.
    pub bfds: Vec<BfdSpec>,
    /// The BFD sessions that can run.
    pub sessions: Vec<bfd::Session>,
    pub statics: Statics,
    /// `garp_group`s and `vrrp_garp_interval`: how far announcements on one interface are spaced.
    pub pacing: Vec<Pacing>,
    /// `interface_up_down_delays`.
    pub debounce: Vec<Debounce>,
    /// `linkbeat_interfaces`: interfaces whose carrier is polled.
    pub linkbeat: Vec<Beat>,
    /// `vrrp_startup_delay` / `vrrp_delay_after_boot`, the latter already reduced by the uptime: the larger.
    pub startup_delay: Interval,
    /// `dynamic_interfaces`: an interface may be absent.
    pub dynamic_interfaces: bool,
    /// `dynamic_interfaces allow_if_changes`.
    pub allow_if_changes: bool,
    /// `log_unknown_vrids`.
    pub log_unknown_vrids: bool,
    /// What concerns the process, not the protocol.
    pub daemon: Daemon,
    /// Virtual servers.
    pub balance: Arc<balance::LvsSpec>,
}
impl Spec {
    /// Has any of its instances this virtual address?
    pub fn claims(&self, address: &IpAddr) -> bool {
        self.instances.iter().flat_map(|own| &own.claim.addresses).any(|own| own.address == *address)
    }

    /// Whether the first announcement of an address of this instance waits for nothing but the address: it is not spaced, and
    /// there is to be one.
    pub fn announces_at_once(&self, instance: InstanceId) -> bool {
        self.pacing.is_empty() && self.instances.get(instance.index()).is_some_and(|spec| spec.garp.repeat > 0)
    }

    /// The same in memory of its own. As it was read it stands scattered among all that reading it took, and a page is not given
    /// back as long as one word of it is used.
    pub fn gathered(&self) -> Spec {
        let mut spec = self.clone();
        for instance in &mut spec.instances {
            instance.claim = Arc::new(Claim::clone(&instance.claim));
        }
        spec.balance = Arc::new(balance::LvsSpec::clone(&spec.balance));
        spec
    }

    /// Whether virtual servers are shown over SNMP: keepalived has no checker process, and so no agent, without any.
    pub fn has_servers_on_show(&self) -> bool {
        self.daemon.snmp.checker && !self.balance.services.is_empty()
    }
}

/// `garp_interval` and `gna_interval` for a set of interfaces; an empty set is the global default, per interface.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pacing {
    pub interfaces: Vec<IfName>,
    pub garp: Interval,
    pub gna: Interval,
}

impl Pacing {
    /// Whether it spaces anything.
    pub fn is_anything(&self) -> bool {
        !self.garp.is_zero() || !self.gna.is_zero()
    }
}

/// One line of `linkbeat_interfaces`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Beat {
    pub interface: IfName,
    /// `None`: the first that the driver answers.
    pub method: Option<BeatMethod>,
}

/// How carrier is asked for: the PHY, the driver, the interface's flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BeatMethod {
    Mii,
    Ethtool,
    Ioctl,
}

/// One line of `interface_up_down_delays`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Debounce {
    pub interface: IfName,
    pub down: Interval,
    pub up: Interval,
}

/// `vrrp_sync_group`: instances that change state together.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct GroupSpec {
    pub name: Box<str>,
    /// At least one.
    pub members: Vec<InstanceId>,
    /// Every member has `state MASTER` and `priority 255` written out: the group starts as MASTER.
    pub starts_as_master: bool,
    /// `sync_group_tracking_weight`.
    pub tracking_weight: bool,
    pub notify: Notify,
    /// Trackers of the group itself, for display; they are already among the members' ties.
    pub ties: Vec<Tie>,
}

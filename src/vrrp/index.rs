//! Tables that follow from a Spec: which instances an interface or a tracker concerns, whose announcements are spaced, and
//! which instances a received advert may be for.
//!
//! Rebuilt on every reload; only the receive table changes in between, when an instance finds itself on another link.

use super::garp::Lanes;
use super::io::Tracker;
use crate::spec::{IfName, InstanceId, Spec, TieTarget};
use crate::wire::{Family, Priority, Vrid};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;

/// Mixes one 64-bit key; the keys are small numbers of our own making, so nobody can aim at collisions.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_u64(&mut self, key: u64) {
        let mixed = (self.0 ^ key).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 29);
    }
}

/// Interface index, family and VRID of an advert as one number.
fn receive_key(ifindex: u32, family: Family, vrid: u8) -> u64 {
    let six = match family {
        Family::V4 => 0,
        Family::V6 => 1,
    };
    u64::from(ifindex) << 16 | six << 8 | u64::from(vrid)
}

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    receive: HashMap<u64, Vec<InstanceId>, BuildHasherDefault<Mix>>,
    interfaces: BTreeMap<IfName, Vec<InstanceId>>,
    /// Concerned by whatever changes about any interface.
    anywhere: Vec<InstanceId>,
    scripts: Vec<Vec<InstanceId>>,
    files: Vec<Vec<InstanceId>>,
    processes: Vec<Vec<InstanceId>>,
    bfds: Vec<Vec<InstanceId>>,
    /// For each instance whose announcements are spaced: the lane of each address.
    lanes: BTreeMap<InstanceId, Vec<Option<u32>>>,
    /// Addresses that are virtual here and so are nobody's own.
    pub(super) claimed: BTreeSet<IpAddr>,
    /// Addresses that this configuration sets for good: an instance speaks from them only where there is no other.
    pub(super) statics: BTreeSet<IpAddr>,
    /// Addresses whose presence is somebody's business although they may be claimed (`track_src_ip`).
    minded: BTreeSet<IpAddr>,
    running: BTreeMap<IfName, bool>,
}

impl Index {
    pub(super) fn new(spec: &Spec, lanes: &mut Lanes) -> Index {
        let mut index = Index {
            scripts: vec![Vec::new(); spec.scripts.len()],
            files: vec![Vec::new(); spec.files.len()],
            processes: vec![Vec::new(); spec.processes.len()],
            bfds: vec![Vec::new(); spec.bfds.len()],
            ..Index::default()
        };
        for (position, instance) in spec.instances.iter().enumerate() {
            let id = InstanceId(position as u32);
            let mut names: BTreeSet<&IfName> = instance.needed_interfaces();
            names.extend(instance.interface.iter().chain(instance.vrf.iter()));
            for tie in &instance.ties {
                let list = match &tie.on {
                    TieTarget::Interface(name) => {
                        names.insert(name);
                        None
                    }
                    TieTarget::Script(id) => index.scripts.get_mut(id.index()),
                    TieTarget::File(id) => index.files.get_mut(id.index()),
                    TieTarget::Process(id) => index.processes.get_mut(id.index()),
                    TieTarget::Bfd(id) => index.bfds.get_mut(id.index()),
                };
                if let Some(list) = list.filter(|list| !list.contains(&id)) {
                    list.push(id);
                }
            }
            for name in names {
                index.interfaces.entry(name.clone()).or_default().push(id);
            }
            index.minded.extend(instance.source.filter(|_| instance.track_source));
            if instance.virtual_link.is_some() || instance.source.is_some() {
                index.anywhere.push(id);
            }
            // An owner's virtual addresses are its real ones.
            if instance.priority != Priority::OWNER {
                index.claimed.extend(instance.claim.addresses.iter().map(|a| a.address));
            }
            index.pace(spec, id, lanes);
        }
        index.statics.extend(spec.statics.addresses.iter().map(|item| item.address));
        index
    }

    /// Finds the lanes of an instance's addresses.
    fn pace(&mut self, spec: &Spec, id: InstanceId, lanes: &mut Lanes) {
        let Some(instance) = spec.instances.get(id.index()) else { return };
        if spec.pacing.is_empty() {
            return;
        }
        let lane = |address: &crate::spec::VirtualAddress, lanes: &mut Lanes| {
            let name = address.interface.as_ref().or(instance.interface.as_ref())?;
            let named = spec.pacing.iter().position(|pacing| pacing.interfaces.contains(name));
            let chosen = named.or_else(|| spec.pacing.iter().position(|pacing| pacing.interfaces.is_empty()))?;
            let pacing = spec.pacing.get(chosen)?;
            let six = address.address.is_ipv6();
            let spacing = if six { pacing.gna } else { pacing.garp };
            // A group shares one line; the global default is a line for each interface.
            let own = pacing.interfaces.is_empty().then(|| name.clone());
            (!spacing.is_zero()).then(|| lanes.lane((chosen, own, six), spacing))
        };
        let of_addresses: Vec<Option<u32>> = instance.claim.addresses.iter().map(|a| lane(a, lanes)).collect();
        if of_addresses.iter().any(Option::is_some) {
            self.lanes.insert(id, of_addresses);
        }
    }

    /// Is the coming and going of this address nobody's business? So it is with a virtual address: a take-over of a
    /// thousand of them must not make everybody look at the links a thousand times.
    pub(super) fn is_passing(&self, address: IpAddr) -> bool {
        self.claimed.contains(&address) && !self.minded.contains(&address)
    }

    pub(super) fn is_paced(&self, id: InstanceId) -> bool {
        self.lanes.contains_key(&id)
    }

    pub(super) fn lane(&self, id: InstanceId, position: u32) -> Option<u32> {
        self.lanes.get(&id).and_then(|of| of.get(position as usize)).copied().flatten()
    }

    /// The instances that are tied to a tracker.
    pub(super) fn of_tracker(&self, tracker: Tracker) -> impl Iterator<Item = InstanceId> + '_ {
        let list = match tracker {
            Tracker::Script(id) => self.scripts.get(id.index()),
            Tracker::File(id) => self.files.get(id.index()),
            Tracker::Process(id) => self.processes.get(id.index()),
            Tracker::Bfd(id) => self.bfds.get(id.index()),
        };
        list.into_iter().flatten().copied()
    }

    /// The instances that an interface concerns.
    pub(super) fn of_interface(&self, name: &IfName) -> impl Iterator<Item = InstanceId> + '_ {
        self.interfaces.get(name).into_iter().flatten().chain(&self.anywhere).copied()
    }

    /// Is any instance concerned by this interface by name?
    pub(super) fn knows(&self, name: &IfName) -> bool {
        self.interfaces.contains_key(name)
    }

    /// Notes what is believed of an interface that somebody is concerned by; true when that is different from before.
    pub(super) fn note_running(&mut self, name: &IfName, running: bool) -> bool {
        self.knows(name) && self.running.insert(name.clone(), running) == Some(!running)
    }

    /// The instance hears what comes in through this interface; 0 is any.
    pub(super) fn hear(&mut self, ifindex: u32, family: Family, vrid: Vrid, id: InstanceId) {
        let list = self.receive.entry(receive_key(ifindex, family, vrid.get())).or_default();
        if let Err(place) = list.binary_search(&id) {
            list.insert(place, id);
        }
    }

    /// The instance hears nothing from this interface any more.
    pub(super) fn unhear(&mut self, ifindex: u32, family: Family, vrid: Vrid, id: InstanceId) {
        let key = receive_key(ifindex, family, vrid.get());
        if let Some(list) = self.receive.get_mut(&key) {
            list.retain(|other| *other != id);
            if list.is_empty() {
                self.receive.remove(&key);
            }
        }
    }

    /// Who may be meant by an advert: first by the interface it came in through, else those that listen anywhere.
    pub(super) fn hearers(&self, ifindex: u32, family: Family, vrid: u8) -> &[InstanceId] {
        let list = self.receive.get(&receive_key(ifindex, family, vrid));
        list.or_else(|| self.receive.get(&receive_key(0, family, vrid))).map(Vec::as_slice).unwrap_or_default()
    }
}

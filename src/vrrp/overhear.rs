//! What a configuration would say to the adverts on a wire, for whoever looks on from beside.
//!
//! The verdict is the engine's own: the same search for the instance that is meant, the same [`admit`](super::admit), the
//! same comparison of addresses as for an advert that comes in. What the daemon knows and a file does not say is taken to be
//! favourable: every instance listens, and who was never heard before has replayed nothing.

use super::admit::{self, Datagram, Listener, ReplayTable};
use super::io::{Refusal, Role, RxMeta};
use super::receive::{self, List};
use crate::spec::{IfName, InstanceId, Spec};
use crate::wire::advert::Head;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// What would become of an advert.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The instance that it is for, if there is one.
    pub instance: Option<InstanceId>,
    /// Why it would not be taken.
    pub refused: Option<Refusal>,
    /// It would be taken, although it speaks for other addresses than this instance: both sides log that.
    pub addresses_differ: bool,
}

/// What adverts have taught of an instance.
#[derive(Clone, Debug, Default)]
struct Learned {
    ah: u32,
    replay: ReplayTable,
    /// Whose advert was taken last.
    followed: Option<IpAddr>,
}

/// Somebody with a configuration who listens and says nothing.
#[derive(Clone, Debug)]
pub struct Bystander {
    spec: Arc<Spec>,
    /// Of each instance what adverts have taught so far.
    heard: Vec<Learned>,
    /// Every virtual address of the configuration.
    claimed: BTreeSet<IpAddr>,
}

impl Bystander {
    /// Judges adverts as a router with this configuration would.
    pub fn new(spec: Arc<Spec>) -> Bystander {
        let heard = vec![Learned::default(); spec.instances.len()];
        let claims = spec.instances.iter().flat_map(|own| &own.claim.addresses);
        let claimed = claims.map(|own| own.address).collect();
        Bystander { spec, heard, claimed }
    }

    /// Judges a datagram as [`super::io::Input::Datagram`] has it. `interface`: where it came in; without, every interface
    /// of the configuration is taken to be there. `unix_micros`: the wall clock, for `auth_hmac`.
    pub fn judge(&mut self, interface: Option<&IfName>, meta: RxMeta, bytes: &[u8], unix_micros: u64) -> Verdict {
        let refused = |instance, why| Verdict { instance, refused: Some(why), addresses_differ: false };
        let datagram = match Datagram::open(meta, bytes) {
            Ok(datagram) => datagram,
            Err(malformed) => return refused(None, malformed.into()),
        };
        let Some(head) = Head::read(datagram.payload) else { return refused(None, Refusal::Truncated) };
        let candidates: Vec<InstanceId> = (0..)
            .map(InstanceId)
            .zip(&self.spec.instances)
            .filter(|(_, spec)| spec.family == datagram.family && spec.vrid.get() == head.vrid)
            .filter(|(_, spec)| match (interface, &spec.interface) {
                (Some(here), Some(configured)) => here == configured,
                _ => true,
            })
            .map(|(id, _)| id)
            .collect();
        let Some(id) = receive::addressee(&self.spec, &candidates, &datagram) else {
            return refused(None, Refusal::UnknownVrid);
        };
        let Some((spec, learned)) = self.spec.instances.get(id.index()).zip(self.heard.get_mut(id.index())) else {
            return refused(None, Refusal::UnknownVrid);
        };
        let listener = Listener {
            spec,
            role: Role::Backup,
            deaf: false,
            priority: spec.priority,
            ah_heard: learned.ah,
            replay: &learned.replay,
            unix_micros,
        };
        let admitted = match admit::admit(&listener, &datagram) {
            Ok(admitted) => admitted,
            Err(why) => return refused(Some(id), why),
        };
        if let Err(why) = admit::admit_source(spec, &datagram.meta) {
            return refused(Some(id), why);
        }
        let list = receive::list_of(spec, &admitted.advert, |address| self.claimed.contains(address));
        // Who was followed so far is, whatever its list has become.
        let from = datagram.meta.source;
        if list == List::Foreign && learned.followed != Some(from) {
            return refused(Some(id), Refusal::Foreign);
        }
        learned.followed = Some(from);
        if let Some(sequence) = admitted.ah_sequence {
            learned.ah = sequence;
        }
        if let Some(sequence) = admitted.hmac_sequence {
            learned.replay.accept(spec, from, sequence);
        }
        Verdict { instance: Some(id), refused: None, addresses_differ: list != List::Agrees }
    }
}

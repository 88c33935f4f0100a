//! From a datagram to the instance that it is for. What belongs to nobody is counted here; everything else is the
//! instance's to judge.

use super::Engine;
use super::admit::{self, Admitted, Datagram, Listener};
use super::garp::Rounds;
use super::instance::{Aftermath, Instance};
use super::io::{Action, Event, Refusal, Role, RxMeta};
use super::snapshot::Counters;
use super::state::Complaint;
use super::transmit::is_group;
use crate::spec::{InstanceId, InstanceSpec, Spec, Transport};
use crate::time::Interval;
use crate::wire::Vrid;
use crate::wire::advert::{self, Advert, Head};
use std::net::IpAddr;

/// Stray datagrams of one kind are told about at most this often.
const STRAYS_TOLD_EVERY: Interval = Interval::from_secs(1);

impl Engine {
    /// A datagram came in.
    pub(super) fn receive(&mut self, meta: RxMeta, bytes: &[u8]) {
        let datagram = match Datagram::open(meta, bytes) {
            Ok(datagram) => datagram,
            Err(malformed) => return self.stray(malformed.into(), &meta, None),
        };
        let Some(head) = Head::read(datagram.payload) else { return self.stray(Refusal::Truncated, &meta, None) };
        let Some(id) = self.addressee(&datagram, head.vrid) else {
            return self.stranger(&datagram, head.vrid);
        };
        let Some((instance, spec)) = self.instances.get(id.index()).zip(self.spec.instances.get(id.index())) else {
            return;
        };
        if is_echo(spec, instance, &datagram.meta) {
            return;
        }
        let listener = Listener {
            spec,
            role: instance.role(),
            deaf: self.now < self.not_before,
            priority: instance.priority(),
            ah_heard: instance.sender.ah_heard,
            replay: &instance.replay,
            unix_micros: self.around.wall.unix(self.now),
        };
        let (from, ifindex) = (datagram.meta.source, datagram.meta.ifindex);
        let admitted = admit::admit(&listener, &datagram).map(|admitted| {
            let list = compare(instance, spec, &admitted, from, |address| self.index.claimed.contains(address));
            (admitted, list)
        });
        let aftermath = match admitted {
            Err(why) => self.with(id, |instance, cx| {
                instance.on_refusal(why, from, ifindex, cx);
                Aftermath::Nothing
            }),
            Ok((admitted, list)) => self.with(id, |instance, cx| {
                instance.counters.advert_rcvd += 1;
                if let Err(why) = admit::admit_source(cx.spec, &datagram.meta) {
                    instance.on_refusal(why, from, ifindex, cx);
                    return Aftermath::Nothing;
                }
                if list == List::Foreign {
                    instance.on_refusal(Refusal::Foreign, from, ifindex, cx);
                    return Aftermath::Nothing;
                }
                instance.meet(from, cx);
                instance.addresses_differ = list == List::Differs;
                if instance.addresses_differ {
                    instance.counters.addr_list_err += 1;
                    if instance.complain(Complaint::AddressList) {
                        cx.out.push_back(Action::Report(Event::AddressListDiffers { instance: id, from }));
                    }
                }
                instance.on_advert(&admitted, from, cx)
            }),
        };
        if aftermath == Some(Aftermath::HeardLower) {
            self.lower_heard(id);
        }
    }

    /// The instance that a datagram is for, among those that hear its interface.
    fn addressee(&self, datagram: &Datagram<'_>, vrid: u8) -> Option<InstanceId> {
        addressee(&self.spec, self.index.hearers(datagram.meta.ifindex, datagram.family, vrid), datagram)
    }

    /// An advert with a VRID of nobody here. Usually it is another cluster's. If it speaks for an address that is virtual
    /// here, two servers believe that they own it, and the instance with this address is told of.
    fn stranger(&mut self, datagram: &Datagram<'_>, vrid: u8) {
        let (meta, vrid, why) = (datagram.meta, Vrid::new(vrid), Refusal::UnknownVrid);
        let advert = advert::parse(datagram.payload, datagram.family).ok();
        let names = || advert.iter().flat_map(|advert| advert.addresses.iter());
        // Two interfaces in one network, or two that have just changed their names: an advert of this server comes in beside the
        // instance that it is of.
        if names().any(|name| self.index.claimed.contains(&name)) && self.around.links.has_address(meta.source) {
            return self.stray(why, &meta, vrid);
        }
        let new = self.strangers.refused(meta.source, why, vrid, meta.ifindex, names(), self.now);
        let due = self.told_clash.is_none_or(|last| self.now.since(last) >= STRAYS_TOLD_EVERY);
        let clash = names().find(|name| new && due && self.index.claimed.contains(name));
        let Some(clash) = clash else { return self.stray(why, &meta, vrid) };
        *self.refused.entry(why).or_default() += 1;
        self.told_clash = Some(self.now);
        let claims = |spec: &InstanceSpec| spec.claim.addresses.iter().any(|own| own.address == clash);
        let instance = (0..).map(InstanceId).zip(&self.spec.instances).find(|(_, spec)| claims(spec)).map(|(id, _)| id);
        let (from, ifindex) = (meta.source, meta.ifindex);
        self.out.push_back(Action::Report(Event::Refused { instance, from, ifindex, vrid, why }));
    }

    /// A datagram that belongs to nobody.
    fn stray(&mut self, why: Refusal, meta: &RxMeta, vrid: Option<Vrid>) {
        *self.refused.entry(why).or_default() += 1;
        let wanted = why != Refusal::UnknownVrid || self.spec.log_unknown_vrids;
        let due = self.told.get(&why).is_none_or(|last| self.now.since(*last) >= STRAYS_TOLD_EVERY);
        if wanted && due {
            self.told.insert(why, self.now);
            let (from, ifindex) = (meta.source, meta.ifindex);
            self.out.push_back(Action::Report(Event::Refused { instance: None, from, ifindex, vrid, why }));
        }
    }

    /// Somebody worse spoke as master, which may have led the LAN astray: about this instance, and, since the other side
    /// has a group as well, about all of the group.
    fn lower_heard(&mut self, id: InstanceId) {
        let group = self.spec.instances.get(id.index()).and_then(|spec| spec.group);
        let group = group.and_then(|group| self.spec.groups.get(group.index()));
        let members = group.map_or_else(|| vec![id], |group| group.members.clone());
        for member in members {
            let rounds = self.with(member, |instance, cx| match instance.is_master() {
                true => instance.plan.lower_heard(&cx.spec.garp, cx.now),
                false => Rounds::default(),
            });
            self.announce(member, &rounds.unwrap_or_default());
        }
    }
}

/// Who of `candidates` is meant. Several instances may have one VRID on one interface: they differ by unicast and multicast,
/// by group, or by peers.
pub(super) fn addressee(spec: &Spec, candidates: &[InstanceId], datagram: &Datagram<'_>) -> Option<InstanceId> {
    if candidates.len() <= 1 {
        return candidates.first().copied();
    }
    let to = datagram.meta.destination;
    let fits = |spec: &InstanceSpec| match &spec.transport {
        Transport::Multicast { group } if *group == to => 3,
        Transport::Unicast { peers, .. } if !is_group(&to) => {
            match peers.iter().any(|p| p.address == datagram.meta.source) {
                true => 3,
                false => 1,
            }
        }
        Transport::Multicast { .. } if is_group(&to) => 1,
        _ => 0,
    };
    let rank = |id: &InstanceId| spec.instances.get(id.index()).map_or(0, fits);
    // The first among the best.
    let best = candidates.iter().map(rank).max()?;
    candidates.iter().find(|id| rank(id) == best).copied()
}

/// Is it an advert of this instance itself, sent to another own address that stands among the peers? Many write the same list
/// into every server's file. What was said a moment ago must not outrank, alarm or answer what is so now.
///
/// The interface does not tell: the kernel names the one that an advert was sent by, also where it came back over `lo`. But
/// nothing is ever sent to the address that it comes from (`Sender::send`): an advert from there to there is another machine's,
/// which has this server's address.
fn is_echo(spec: &InstanceSpec, instance: &Instance, meta: &RxMeta) -> bool {
    let Transport::Unicast { peers, .. } = &spec.transport else { return false };
    instance.binding.source == Some(meta.source)
        && meta.destination != meta.source
        && peers.iter().any(|peer| peer.address == meta.destination)
}

/// What the list of addresses in an advert is to an instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum List {
    /// Its own, in whatever order, or not to be looked at.
    Agrees,
    /// Another one: that is said, and the advert counts.
    Differs,
    /// Another installation's: the advert does not count.
    Foreign,
}

/// Compares the addresses in an advert with those of the instance. With `skip_check_adv_addr` a backup looks at them only when
/// the sender is another than the last; their number it counts all the same.
///
/// Whose advert counted last is of the same installation, whatever its list has become: a list is replaced on one server after
/// the other, and nobody is to become MASTER in between.
fn compare(
    instance: &Instance,
    spec: &InstanceSpec,
    admitted: &Admitted<'_>,
    from: IpAddr,
    claimed: impl Fn(&IpAddr) -> bool,
) -> List {
    let known = instance.followed && instance.last_heard.is_some_and(|last| last.from == from);
    if !(spec.skip_check_adv_addr && known && instance.role() == Role::Backup) {
        return match list_of(spec, &admitted.advert, claimed) {
            List::Foreign if known => List::Differs,
            list => list,
        };
    }
    if admitted.advert.addresses.len() == spec.advertised().count() { List::Agrees } else { List::Differs }
}

/// What an advert's list is to an instance that looks at it. `claimed`: every virtual address of this server.
pub(super) fn list_of(spec: &InstanceSpec, advert: &Advert<'_>, claimed: impl Fn(&IpAddr) -> bool) -> List {
    let (ours, theirs) = (|| spec.advertised(), advert.addresses);
    let same = theirs.len() == ours().count()
        && (theirs.iter().eq(ours()) || ours().all(|own| theirs.iter().any(|other| other == own)));
    match same {
        true => List::Agrees,
        false if spec.is_foreign(theirs.iter(), claimed) => List::Foreign,
        false => List::Differs,
    }
}

impl Counters {
    /// Counts a refusal, by its own name and under the counter that keepalived has for it, if it has one.
    pub(super) fn count(&mut self, why: Refusal) {
        *self.refused.entry(why).or_default() += 1;
        let counter = match why {
            Refusal::Length => &mut self.packet_len_err,
            Refusal::Ttl => &mut self.ip_ttl_err,
            Refusal::Type => &mut self.invalid_type_rcvd,
            Refusal::AuthTypeInvalid => &mut self.invalid_authtype,
            Refusal::AuthTypeMismatch => &mut self.authtype_mismatch,
            Refusal::AuthFailure => &mut self.auth_failure,
            Refusal::AuthExtMissing => &mut self.auth_ext_missing,
            Refusal::AuthExtMalformed => &mut self.auth_ext_malformed,
            Refusal::AuthExtUnknownKey => &mut self.auth_ext_unknown_key,
            Refusal::AuthExtInvalidHmac => &mut self.auth_ext_invalid_hmac,
            Refusal::AuthExtStale => &mut self.auth_ext_stale,
            Refusal::AuthExtReplay => &mut self.auth_ext_replay,
            Refusal::AdvertInterval => &mut self.advert_interval_err,
            Refusal::Destination | Refusal::Foreign => &mut self.addr_list_err,
            Refusal::Truncated
            | Refusal::UnknownVrid
            | Refusal::NotListening
            | Refusal::Version
            | Refusal::Checksum
            | Refusal::UnknownPeer
            | Refusal::OwnerIgnores => return,
        };
        *counter += 1;
    }
}

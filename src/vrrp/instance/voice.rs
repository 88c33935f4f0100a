//! Can a virtual router hear and speak? What its socket has become, which destinations its datagrams do not reach, and
//! what follows from that: who cannot, is in FAULT and never MASTER.
//!
//! A router that is refused by its own machine (a firewall drops what it sends: EPERM) is MASTER to itself and nobody to
//! the others, who elect another one. It is given as much time as they have patience, then it gives up. In FAULT it sends
//! no advert, so it could not know when it may speak again; it sends a datagram for VRID 0 instead, which no router has
//! (RFC 9568 §5.2.3) and nobody acts on, and leaves FAULT when that one goes out.

use super::super::io::{Event, Fault, SendFailure, SocketState};
use super::super::state::State;
use super::{Cx, Instance};
use crate::spec::{InstanceSpec, Transport};
use crate::time::{Interval, Time};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Between two datagrams that find out whether it may speak again; longer where the down timer is.
const PROBE: Interval = Interval::from_secs(1);

/// What is known of a router's ears and voice.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Voice {
    socket: SocketState,
    /// Destinations that the last datagram was not sent to.
    failing: BTreeMap<IpAddr, Failing>,
    lost: Option<Lost>,
}

#[derive(Clone, Debug)]
struct Failing {
    since: Time,
    failure: SendFailure,
}

/// It has been mute for too long.
#[derive(Clone, Debug)]
struct Lost {
    reason: Box<str>,
    probe_at: Time,
}

impl Voice {
    /// `opening`: its socket is yet to be opened.
    pub(super) fn new(opening: bool) -> Voice {
        Voice { socket: if opening { SocketState::Opening } else { SocketState::Open }, ..Voice::default() }
    }

    /// Its socket is asked for and not there yet.
    pub(super) fn is_opening(&self) -> bool {
        self.socket == SocketState::Opening
    }

    /// What of this holds it in FAULT.
    pub(in super::super) fn fault(&self) -> Option<Fault> {
        match (&self.socket, &self.lost) {
            (SocketState::Refused { reason }, _) => Some(Fault::NoSocket(reason.clone())),
            (_, Some(lost)) => Some(Fault::CannotSend(lost.reason.clone())),
            _ => None,
        }
    }

    /// When it tries next whether it may speak again.
    pub(super) fn probe_at(&self) -> Option<Time> {
        self.lost.as_ref().map(|lost| lost.probe_at)
    }

    /// Forgets destinations that are none any more.
    pub(super) fn reloaded(&mut self, spec: &InstanceSpec) {
        self.failing.retain(|to, _| is_destination(spec, *to));
        if self.failing.is_empty() {
            self.lost = None;
        }
    }

    /// Since when this machine has let nothing out to anybody, and why.
    fn mute(&self, spec: &InstanceSpec, source: Option<IpAddr>) -> Option<(Time, &str)> {
        let refused = |to: &IpAddr| self.failing.get(to).filter(|failing| failing.failure.ours);
        // Nothing is collected on the way: this is asked with every advert.
        let last = match &spec.transport {
            Transport::Multicast { group } => refused(group)?,
            Transport::Unicast { peers, .. } => {
                let mut last: Option<&Failing> = None;
                // Nothing is sent to an own address, so nothing can fail there.
                for peer in peers.iter().filter(|peer| Some(peer.address) != source) {
                    let failing = refused(&peer.address)?;
                    last = last.filter(|last| last.since > failing.since).or(Some(failing));
                }
                last?
            }
        };
        Some((last.since, &last.failure.reason))
    }
}

impl Instance {
    /// Its socket is another, or there is none. True: its faults have to be recomputed.
    pub(in super::super) fn on_socket(&mut self, state: SocketState, cx: &mut Cx<'_>) -> bool {
        let opened = self.voice.is_opening() && state == SocketState::Open;
        if opened && let State::Backup(backup) = &mut self.state {
            // The silence until now was its own.
            backup.since = backup.since.max(cx.now);
        }
        let changed = self.voice.socket != state;
        self.voice.socket = state;
        changed
    }

    /// Datagrams to a destination fail, or work again. True: its faults have to be recomputed.
    pub(in super::super) fn on_sent(&mut self, to: IpAddr, failure: Option<SendFailure>, cx: &mut Cx<'_>) -> bool {
        let Some(failure) = failure.filter(|_| is_destination(cx.spec, to)) else {
            self.voice.failing.remove(&to);
            return self.voice.lost.take().is_some();
        };
        let since = self.voice.failing.get(&to).map_or(cx.now, |failing| failing.since);
        if !self.voice.failing.contains_key(&to) {
            cx.report(Event::SendFailed { instance: cx.id, to, reason: failure.reason.clone() });
        }
        self.voice.failing.insert(to, Failing { since, failure });
        false
    }

    /// When a master that is mute gives up: others have lost their patience by then.
    pub(super) fn mute_at(&self, spec: &InstanceSpec) -> Option<Time> {
        let (since, _) = self.voice.mute(spec, self.binding.source).filter(|_| self.voice.lost.is_none())?;
        Some(since.max(self.since) + self.master_down(spec))
    }

    /// It has been mute for too long: this is a fault from here on.
    pub(super) fn falls_silent(&mut self, cx: &Cx<'_>) -> bool {
        let probe_at = cx.now + self.between_probes(cx.spec);
        let reason = self.voice.mute(cx.spec, self.binding.source).map(|(_, reason)| reason.into());
        self.voice.lost = reason.map(|reason| Lost { reason, probe_at });
        true
    }

    /// Finds out whether it may speak again, without saying anything that somebody would act on.
    pub(super) fn probe(&mut self, cx: &mut Cx<'_>) {
        let next = cx.now + self.between_probes(cx.spec);
        if let Some(lost) = &mut self.voice.lost {
            lost.probe_at = next;
        }
        if let Some(source) = self.binding.source.filter(|_| self.binding.can_send) {
            let speaker = self.speaker(self.priority(), source, cx);
            self.sender.probe(&speaker, cx.out);
        }
    }

    fn between_probes(&self, spec: &InstanceSpec) -> Interval {
        self.master_down(spec).max(PROBE)
    }
}

/// Are its adverts sent there?
fn is_destination(spec: &InstanceSpec, to: IpAddr) -> bool {
    match &spec.transport {
        Transport::Multicast { group } => *group == to,
        Transport::Unicast { peers, .. } => peers.iter().any(|peer| peer.address == to),
    }
}

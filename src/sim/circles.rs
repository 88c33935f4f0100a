//! Which instances of which nodes are one virtual router: same wire, same VRID, same language. Instances that cannot
//! understand each other (version, v2 interval, authentication) are different circles, and no law speaks of them together.

use super::law::Law;
use super::node::Node;
use super::reach::heeds;
use super::world::World;
use crate::spec::{Auth, InstanceId, Transport};
use crate::time::Interval;
use crate::vrrp::io::Role;
use crate::vrrp::snapshot::{InstanceView, Snapshot};
use crate::wire::{Family, Version, Vrid};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// An instance of a node.
type Member = (usize, InstanceId);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Key {
    segment: usize,
    family: Family,
    vrid: Vrid,
    version: Version,
    /// v2 refuses another interval; v3 learns it.
    interval: Option<Interval>,
    auth: Vec<u8>,
    /// `None` is unicast.
    group: Option<IpAddr>,
}

#[derive(Default, Debug)]
pub(super) struct Circles(BTreeMap<Key, Vec<Member>>);

impl Circles {
    pub(crate) fn of(nodes: &[Node]) -> Circles {
        let mut circles: BTreeMap<Key, Vec<Member>> = BTreeMap::new();
        for (number, node) in nodes.iter().enumerate() {
            for position in 0..node.spec.instances.len() {
                let member = (number, InstanceId(position as u32));
                if let Some(key) = key(node, member.1) {
                    circles.entry(key).or_default().push(member);
                }
            }
        }
        Circles(circles)
    }

    pub(crate) fn lists(&self) -> impl Iterator<Item = &Vec<Member>> {
        self.0.values()
    }

    /// Nodes that can be this virtual router together with a member.
    fn nodes(&self, member: Member) -> Vec<usize> {
        let circle = self.0.values().find(|members| members.contains(&member));
        circle.into_iter().flatten().map(|(node, _)| *node).collect()
    }

    pub(crate) fn same(&self, x: Member, y: Member) -> bool {
        self.0.values().any(|members| members.contains(&x) && members.contains(&y))
    }
}

fn key(node: &Node, instance: InstanceId) -> Option<Key> {
    let spec = node.spec.instances.get(instance.index())?;
    let segment = node.interface_of(instance).and_then(|index| node.wire(index))?;
    let auth = match &spec.auth {
        Auth::None => Vec::new(),
        Auth::Pass(word) => [&[1], &word[..]].concat(),
        Auth::Ah(word) => [&[2], &word[..]].concat(),
        // In words, for the mode and the like; they have no keys.
        Auth::Hmac(hmac) => {
            let keys = hmac.keys.iter().flat_map(|(id, key)| std::iter::once(*id).chain(key.iter().copied()));
            format!("{hmac:?}").into_bytes().into_iter().chain(keys).collect()
        }
    };
    Some(Key {
        segment,
        family: spec.family,
        vrid: spec.vrid,
        version: spec.version,
        interval: (spec.version == Version::V2).then_some(spec.interval),
        auth,
        group: match &spec.transport {
            Transport::Multicast { group } => Some(*group),
            Transport::Unicast { .. } => None,
        },
    })
}

/// The members of an instance's sync group, itself among them; none where it is in no group.
fn fellows<'w>(world: &'w World<'_>, member: Member) -> impl Iterator<Item = Member> + 'w {
    let node = world.nodes.get(member.0);
    let group = node.and_then(|n| n.spec.groups.iter().find(|g| g.members.contains(&member.1)));
    group.into_iter().flat_map(move |group| group.members.iter().map(move |instance| (member.0, *instance)))
}

/// Keys of all members of an instance's sync group: equal on every node, or groups pull in different directions.
fn ties(world: &World<'_>, member: Member) -> Vec<Key> {
    let Some(node) = world.nodes.get(member.0) else { return Vec::new() };
    let mut keys: Vec<Key> = fellows(world, member).filter_map(|fellow| key(node, fellow.1)).collect();
    keys.sort();
    keys
}

/// One master in each connected set of healthy members, and, where everybody preempts, a best one.
pub(super) fn judge(
    circles: &Circles,
    members: &[Member],
    world: &World<'_>,
    snapshots: &[Option<Snapshot>],
) -> Result<(), (Law, String)> {
    let scene = Scene { world, snapshots };
    let here: Vec<Member> = members.iter().copied().filter(|m| scene.view(*m).is_some()).collect();
    let groups: Vec<Vec<Key>> = here.iter().map(|m| ties(world, *m)).collect();
    if groups.iter().any(|keys| groups.first() != Some(keys)) {
        return Ok(());
    }
    // A group whose members have different partners may have to wait for ever.
    let partners = |m: &Member| {
        let mut all = fellows(world, *m).map(|fellow| circles.nodes(fellow));
        let first = all.next();
        all.all(|nodes| Some(&nodes) == first.as_ref())
    };
    if !here.iter().all(partners) {
        return Ok(());
    }
    let grouped = groups.first().is_some_and(|keys| !keys.is_empty());
    let mut left = here.clone();
    while let Some(first) = left.first().copied() {
        let (part, clear) = scene.part(first, &here);
        left.retain(|m| !part.contains(m));
        if clear && scene.is_clique(&part, &here) {
            scene.judge(&part, grouped)?;
        }
    }
    Ok(())
}

/// What is judged: the wires, and what each node says of itself.
struct Scene<'a, 'w> {
    world: &'a World<'w>,
    snapshots: &'a [Option<Snapshot>],
}

impl Scene<'_, '_> {
    fn view(&self, member: Member) -> Option<&InstanceView> {
        self.snapshots.get(member.0)?.as_ref()?.instances.get(member.1.index()).map(Arc::as_ref)
    }

    fn is_faulty(&self, member: Member) -> bool {
        self.view(member).is_some_and(|view| view.state == Role::Fault)
    }

    /// The healthy members of `here` that are connected with `first`, itself in front; false: there is one of which that cannot be said.
    fn part(&self, first: Member, here: &[Member]) -> (Vec<Member>, bool) {
        let mut part = vec![first];
        let mut clear = true;
        for other in here.iter().copied().filter(|other| *other != first) {
            if self.is_faulty(first) || self.is_faulty(other) {
                continue;
            }
            match self.hear_each_other(first, other) {
                Some(true) => part.push(other),
                Some(false) => {}
                None => clear = false,
            }
        }
        (part, clear)
    }

    /// Members of a group go together: a router that is heard on one wire must be heard on all. `None`: they hear each other on some
    /// wires, or one way only.
    fn hear_each_other(&self, x: Member, y: Member) -> Option<bool> {
        let world = self.world;
        let own = |m: Member| -> Vec<Member> {
            let fellows: Vec<Member> = fellows(world, m).collect();
            if fellows.is_empty() { vec![m] } else { fellows }
        };
        let theirs = own(y);
        let mut answers = own(x).into_iter().map(|mine| {
            let twin = theirs.iter().copied().find(|theirs| {
                world.nodes.get(x.0).zip(world.nodes.get(y.0)).is_some_and(|(a, b)| key(a, mine.1) == key(b, theirs.1))
            });
            twin.map_or((false, false), |twin| (heeds(world, mine, twin), heeds(world, twin, mine)))
        });
        let first = answers.next()?;
        (answers.all(|answer| answer == first) && first.0 == first.1).then_some(first.0)
    }

    /// Everybody in the part hears everybody else in it, and nobody outside hears or is heard; what does not count is not heard.
    fn is_clique(&self, part: &[Member], all: &[Member]) -> bool {
        let world = self.world;
        let inside = |m: &Member| part.contains(m);
        part.iter().all(|x| {
            all.iter().filter(|y| *y != x && !self.is_faulty(**y) && !self.is_faulty(*x)).all(|y| {
                match (heeds(world, *x, *y), heeds(world, *y, *x)) {
                    (true, true) => inside(y),
                    (false, false) => !inside(y),
                    _ => false,
                }
            })
        })
    }

    /// The laws of members that all hear each other.
    fn judge(&self, part: &[Member], grouped: bool) -> Result<(), (Law, String)> {
        let world = self.world;
        let healthy: Vec<(Member, &InstanceView)> =
            part.iter().filter(|m| !self.is_faulty(**m)).filter_map(|m| self.view(*m).map(|v| (*m, v))).collect();
        let masters: Vec<_> = healthy.iter().filter(|(_, v)| v.state == Role::Master).collect();
        let describe = || {
            let one = |(m, v): &(Member, &InstanceView)| {
                let name = world.nodes.get(m.0).map_or("?", |n| &n.name);
                format!("{name} {} {} priority {} {:?}", v.name, v.state, v.effective_priority, v.faults)
            };
            healthy.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        if !healthy.is_empty() && masters.len() != 1 {
            return Err((Law::OneMaster, format!("{} masters among {}", masters.len(), describe())));
        }
        let preempting = |m: Member| {
            let spec = world.nodes.get(m.0).and_then(|n| n.spec.instances.get(m.1.index()));
            spec.is_some_and(|i| i.preempt)
        };
        let fair = !grouped && part.iter().all(|m| preempting(*m)) && healthy.iter().all(|(_, v)| !v.drained);
        let best = healthy.iter().map(|(_, v)| v.effective_priority).max();
        let rules = masters.first().map(|(_, v)| v.effective_priority);
        if fair && best > rules {
            return Err((Law::BestMaster, format!("the master is not the best of {}", describe())));
        }
        Ok(())
    }
}

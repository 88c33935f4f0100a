//! Differences between the members of a virtual router, and routers in each other's way.

use super::CROWD;
use super::Finding;
use super::Member;
use super::Place;
use super::Servers;
use super::advertised;
use super::names;
use super::same_network;
use crate::config::report::Level;
use crate::spec::{Auth, GroupId, HmacMode, IfName, InstanceSpec, Transport, VirtualLink, first_few};
use crate::wire::{Priority, Version};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

/// Rules within one router.
pub(super) fn check(router: &[Member<'_>], servers: &Servers<'_>, out: &mut Vec<Finding>) {
    if let [only] = router {
        return alone(*only, servers, out);
    }
    let cx = Cx { router, servers };
    cx.identity(out);
    cx.intervals(out);
    cx.authentication(out);
    cx.transport(out);
    cx.addresses(out);
    cx.priorities(out);
    cx.preemption(out);
    cx.packets(out);
}

fn alone(member: Member<'_>, servers: &Servers<'_>, out: &mut Vec<Finding>) {
    if servers.count() < 2 {
        return;
    }
    let own = member.instance;
    out.push(Finding {
        level: Level::Warning,
        rule: "no-counterpart",
        places: vec![servers.place(member)],
        message: format!(
            "{} (VRID {}, {}) is on {} only: nobody takes over from it",
            own.name,
            own.vrid,
            own.family,
            servers.name(member.server)
        ),
        help: Some("give the other server an instance with this VRID and these addresses".into()),
    });
}

struct Cx<'c, 'a> {
    router: &'c [Member<'a>],
    servers: &'c Servers<'a>,
}

impl<'a> Cx<'_, 'a> {
    fn finding(&self, level: Level, rule: &'static str, message: String, help: &str) -> Finding {
        let places = self.router.iter().map(|member| self.servers.place(*member)).collect();
        let help = (!help.is_empty()).then(|| help.to_owned());
        Finding { level, rule, places, message, help }
    }
    /// "51 on primary, 52 on secondary"; `None` if all are the same.
    fn differ(&self, what: impl Fn(&InstanceSpec) -> String) -> Option<String> {
        let mut values: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for member in self.router {
            values.entry(what(member.instance)).or_default().push(self.servers.name(member.server));
        }
        let list: Vec<String> =
            values.iter().map(|(value, where_)| format!("{value} on {}", where_.join(" and "))).collect();
        (list.len() > 1).then(|| list.join(", "))
    }
    fn name(&self) -> &str {
        self.router.first().map_or("", |member| &member.instance.name)
    }
    /// All two different members, each pair once.
    fn pairs(&self) -> impl Iterator<Item = (Member<'a>, Member<'a>)> + '_ {
        self.router.iter().enumerate().flat_map(|(n, a)| self.router.iter().skip(n + 1).map(|b| (*a, *b)))
    }

    fn identity(&self, out: &mut Vec<Finding>) {
        if let Some(list) = self.differ(|i| i.vrid.to_string()) {
            let message = format!("{}: virtual_router_id differs: {list}; both will be master", self.name());
            out.push(self.finding(Level::Error, "vrid-differs", message, "use the same virtual_router_id everywhere"));
        }
        if let Some(list) = self.differ(|i| format!("version {}", i.version)) {
            let message = format!(
                "{}: the protocol differs: {list}; they drop each other's adverts, both will be master",
                self.name()
            );
            out.push(self.finding(Level::Error, "version-differs", message, "set the same vrrp_version everywhere"));
        }
        let link = |i: &InstanceSpec| if i.virtual_link.is_some() { "a virtual MAC" } else { "the interface's MAC" };
        if let Some(list) = self.differ(|i| link(i).to_owned()) {
            let message = format!("{}: {list}; hosts must learn a new MAC at each takeover", self.name());
            out.push(self.finding(Level::Note, "mac-differs", message, "set use_vmac on all servers or on none"));
        }
        self.deaf_below(out);
        self.interfaces(out);
    }

    /// A kernel gives what comes from the hardware address of a VMAC to its own VMAC with that address alone: whoever listens below
    /// it does not hear who speaks through his.
    fn deaf_below(&self, out: &mut Vec<Finding>) {
        let mac = |m: &Member<'_>| match m.instance.virtual_link {
            Some(VirtualLink::Vmac { mac, .. }) if matches!(m.instance.transport, Transport::Multicast { .. }) => {
                Some(mac)
            }
            _ => None,
        };
        for (a, b) in self.pairs().flat_map(|(a, b)| [(a, b), (b, a)]) {
            if a.instance.transmit_base || !b.instance.transmit_base || mac(&a).is_none() || mac(&a) != mac(&b) {
                continue;
            }
            let (speaker, listener) = (self.servers.name(a.server), self.servers.name(b.server));
            let message = format!(
                "{}: {listener} has vmac_xmit_base and {speaker} has not: {listener} never hears {speaker}, and takes the addresses \
                 too whenever {speaker} is master",
                self.name()
            );
            let places = vec![self.servers.place(b), self.servers.place(a)];
            let help = "set vmac_xmit_base on all servers or on none";
            out.push(Finding { places, ..self.finding(Level::Error, "xmit-base-differs", message, help) });
        }
    }

    /// Servers may call their interfaces as they like; where each has the other's name too, they are probably crossed.
    fn interfaces(&self, out: &mut Vec<Finding>) {
        let Some(list) = self.differ(|i| i.interface.as_ref().map_or("none".to_owned(), ToString::to_string)) else {
            return;
        };
        let has = |server: usize, name: &IfName| {
            let instances = self.servers.spec(server).into_iter().flat_map(|spec| &spec.instances);
            instances.filter_map(|own| own.interface.as_ref()).any(|own| own == name)
        };
        let crossed = self.pairs().any(|(a, b)| match (&a.instance.interface, &b.instance.interface) {
            (Some(ours), Some(theirs)) => ours != theirs && has(a.server, theirs) && has(b.server, ours),
            _ => false,
        });
        let level = if crossed { Level::Warning } else { Level::Note };
        let what = if crossed { "both have both: are they crossed?" } else { "right where both are in one network" };
        let message = format!("{}: interface differs: {list}; {what}", self.name());
        let help = "where they are not in one network the servers do not hear each other, and both will be master";
        out.push(self.finding(level, "interface-differs", message, help));
    }

    fn intervals(&self, out: &mut Vec<Finding>) {
        let versions: BTreeSet<u8> = self.router.iter().map(|m| m.instance.version.number()).collect();
        if let Some(list) = self.differ(|i| format!("{} s", i.interval)) {
            let (level, follows) = match versions.first() {
                Some(2) => (Level::Error, "VRRPv2 drops adverts with another interval, both will be master"),
                _ => (
                    Level::Warning,
                    "the backup follows the master's, so the time of a takeover depends on who is master",
                ),
            };
            let message = format!("{}: advert_int differs: {list}; {follows}", self.name());
            out.push(self.finding(level, "interval-differs", message, "set the same advert_int everywhere"));
        }
        if let Some(list) = self.differ(|i| format!("{}", i.down_adverts)) {
            let message =
                format!("{}: down_timer_adverts differs: {list}; takeovers take different times", self.name());
            out.push(self.finding(
                Level::Note,
                "patience-differs",
                message,
                "set the same down_timer_adverts everywhere",
            ));
        }
        for member in self.router.iter().filter(|m| m.instance.down_adverts == 1) {
            let message = format!(
                "{}: one lost advert makes {} take over, although the master lives",
                self.name(),
                self.servers.name(member.server)
            );
            let help = "set down_timer_adverts to 2 or more (default 3)";
            let places = vec![self.servers.place(*member)];
            out.push(Finding { places, ..self.finding(Level::Warning, "impatient", message, help) });
        }
    }

    fn authentication(&self, out: &mut Vec<Finding>) {
        let kind = |auth: &Auth| match auth {
            Auth::None => "none",
            Auth::Pass(_) => "PASS",
            Auth::Ah(_) => "AH",
            Auth::Hmac(_) => "auth_hmac",
        };
        for (a, b) in self.pairs() {
            let problem = match (&a.instance.auth, &b.instance.auth) {
                (Auth::None, Auth::None) => None,
                (Auth::Pass(x), Auth::Pass(y)) if x == y => None,
                (Auth::Ah(x), Auth::Ah(y)) if x == y => None,
                (Auth::Pass(_), Auth::Pass(_)) | (Auth::Ah(_), Auth::Ah(_)) => Some("auth_pass differs".to_owned()),
                (Auth::Hmac(x), Auth::Hmac(y)) => {
                    let lacks = |keys: &[(u8, Box<[u8]>)], id: u8, key: &[(u8, Box<[u8]>)]| {
                        let sent = key.iter().find(|(known, _)| *known == id);
                        keys.iter().find(|(known, _)| *known == id) != sent
                    };
                    let receives = |mode: HmacMode| mode != HmacMode::ReceiveOnly;
                    let lost = (receives(x.mode) && lacks(&y.keys, x.active, &x.keys))
                        || (receives(y.mode) && lacks(&x.keys, y.active, &y.keys));
                    lost.then(|| "the key that one sends with is not the other's".to_owned())
                }
                (Auth::Hmac(hmac), Auth::None) | (Auth::None, Auth::Hmac(hmac)) if hmac.mode != HmacMode::Enforce => {
                    None
                }
                (x, y) => Some(format!("auth_type differs ({} and {})", kind(x), kind(y))),
            };
            if let Some(problem) = problem {
                let message = format!("{}: {problem}; adverts are refused, both will be master", self.name());
                let help = "use the same authentication on all servers";
                let places = vec![self.servers.place(a), self.servers.place(b)];
                out.push(Finding { places, ..self.finding(Level::Error, "authentication-differs", message, help) });
            }
        }
    }

    fn transport(&self, out: &mut Vec<Finding>) {
        let unicast = |i: &InstanceSpec| matches!(i.transport, Transport::Unicast { .. });
        let way = |i: &InstanceSpec| if unicast(i) { "unicast".to_owned() } else { "multicast".to_owned() };
        if let Some(list) = self.differ(way) {
            let message = format!("{}: {list}; they do not hear each other, both will be master", self.name());
            let help = "give every server a unicast_peer block, or none";
            return out.push(self.finding(Level::Error, "transport-differs", message, help));
        }
        let group = |i: &InstanceSpec| match &i.transport {
            Transport::Multicast { group } => group.to_string(),
            Transport::Unicast { .. } => String::new(),
        };
        if let Some(list) = self.differ(group) {
            let message = format!("{}: the multicast group differs: {list}; both will be master", self.name());
            out.push(self.finding(Level::Error, "multicast-group-differs", message, "use the same group everywhere"));
        }
        for (a, b) in self.pairs() {
            if !self.one_address_twice(a, b, out) {
                self.peers(a, b, out);
                self.peers(b, a, out);
            }
        }
    }

    /// A file that was copied to the other server as it is: both speak from one address, or both to one.
    fn one_address_twice(&self, a: Member<'a>, b: Member<'a>, out: &mut Vec<Finding>) -> bool {
        let (one, other) = (self.servers.name(a.server), self.servers.name(b.server));
        let places = vec![self.servers.place(a), self.servers.place(b)];
        let alone = |m: Member<'a>| match &m.instance.transport {
            Transport::Unicast { peers, .. } if m.instance.source.is_none() => match peers.as_slice() {
                [peer] => Some(peer.address),
                _ => None,
            },
            _ => None,
        };
        if let Some(source) = a.instance.source.filter(|own| b.instance.source == Some(*own)) {
            let keyword = match a.instance.transport {
                Transport::Unicast { .. } => "unicast_src_ip",
                Transport::Multicast { .. } => "mcast_src_ip",
            };
            let message = format!(
                "{}: {one} and {other} both are to speak from {source}, which one server only can have: the other is in FAULT, \
                 and under keepalived nobody hears it",
                self.name()
            );
            let help = format!("write each server's own address as {keyword}");
            out.push(Finding { places, ..self.finding(Level::Error, "source-twice", message, &help) });
            return true;
        }
        // Servers without a source of their own, each with one peer.
        match (alone(a), alone(b)) {
            (Some(x), Some(y)) if x == y && self.router.len() == 2 => {
                let message = format!(
                    "{}: {one} and {other} both have {x} as their only unicast_peer: the server with that address speaks to \
                     itself, the other never hears it, and both will be master",
                    self.name()
                );
                let help = "name in unicast_peer of each server the address of the other";
                out.push(Finding { places, ..self.finding(Level::Error, "peer-itself", message, help) });
                true
            }
            _ => false,
        }
    }

    /// Does `a` send to `b`?
    fn peers(&self, a: Member<'a>, b: Member<'a>, out: &mut Vec<Finding>) {
        let Transport::Unicast { peers, .. } = &a.instance.transport else { return };
        let (from, to) = (self.servers.name(a.server), self.servers.name(b.server));
        let places = vec![self.servers.place(a), self.servers.place(b)];
        let Some(source) = b.instance.source else {
            // With two servers and one peer there is nothing to mistake.
            let plain = self.router.len() == 2 && peers.len() == 1;
            if !plain || peers.iter().any(|peer| Some(peer.address) == a.instance.source) {
                let message =
                    format!("{}: {to} has no unicast_src_ip, so {from}'s unicast_peer cannot be checked", self.name());
                let help = "set unicast_src_ip on every server";
                out.push(Finding { places, ..self.finding(Level::Note, "source-unknown", message, help) });
            }
            return;
        };
        if !names(a.instance, b.instance) {
            let message = format!(
                "{}: {from} does not have {to}'s address {source} among its unicast_peer, so {to} never hears {from}: whenever {from} is master, {to} takes the addresses too",
                self.name()
            );
            let help = format!("add {source} to unicast_peer of {}", a.instance.name);
            out.push(Finding { places, ..self.finding(Level::Error, "peer-missing", message, &help) });
        }
    }

    fn addresses(&self, out: &mut Vec<Finding>) {
        for (a, b) in self.pairs() {
            let lists = |m: Member<'a>| -> (BTreeSet<IpAddr>, BTreeSet<IpAddr>) {
                let claim = &m.instance.claim;
                let rest = claim.addresses.iter().skip(claim.advertised).map(|address| address.address);
                (advertised(m.instance).collect(), rest.collect())
            };
            let ((vips_a, rest_a), (vips_b, rest_b)) = (lists(a), lists(b));
            let places = vec![self.servers.place(a), self.servers.place(b)];
            let mut parts = Vec::new();
            for (one, other, member) in [(&vips_a, &vips_b, a), (&vips_b, &vips_a, b)] {
                let missing: Vec<String> = one.difference(other).map(IpAddr::to_string).collect();
                if !missing.is_empty() {
                    parts.push(format!("{} on {} only", shorten(&missing), self.servers.name(member.server)));
                }
            }
            if !parts.is_empty() {
                let message =
                    format!("{}: virtual_ipaddress differs: {}{}", self.name(), parts.join(", "), self.ignored(a, b));
                let help = "list the same addresses on every server; what is on one only does not move";
                let places = places.clone();
                out.push(Finding { places, ..self.finding(Level::Error, "addresses-differ", message, help) });
            }
            let stray: Vec<String> = rest_a.symmetric_difference(&rest_b).map(IpAddr::to_string).collect();
            if !stray.is_empty() {
                let message = format!(
                    "{}: virtual_ipaddress_excluded differs: {} on one server only",
                    self.name(),
                    shorten(&stray)
                );
                let help = "list the same addresses on every server; what is on one only does not move";
                out.push(Finding {
                    places: places.clone(),
                    ..self.finding(Level::Warning, "excluded-differ", message, help)
                });
            }
            let theirs = &b.instance.claim.addresses;
            // Backwards, so that the first of several stays.
            let twins: HashMap<IpAddr, u8> = theirs.iter().rev().map(|other| (other.address, other.prefix)).collect();
            for one in &a.instance.claim.addresses {
                if let Some(&prefix) = twins.get(&one.address).filter(|prefix| **prefix != one.prefix) {
                    let message = format!(
                        "{}: {} is /{} on {} and /{} on {}: routes change with each takeover",
                        self.name(),
                        one.address,
                        one.prefix,
                        self.servers.name(a.server),
                        prefix,
                        self.servers.name(b.server)
                    );
                    let places = places.clone();
                    let help = "use the same prefix length";
                    out.push(Finding { places, ..self.finding(Level::Warning, "prefix-differs", message, help) });
                }
            }
            let (routes, rules) = (a.instance.claim.routes.len(), a.instance.claim.rules.len());
            if routes != b.instance.claim.routes.len() || rules != b.instance.claim.rules.len() {
                let message = format!(
                    "{}: the servers do not have the same number of virtual_routes or virtual_rules",
                    self.name()
                );
                out.push(Finding { places, ..self.finding(Level::Note, "routes-differ", message, "") });
            }
        }
    }

    /// What follows where the lists have nothing in common.
    fn ignored(&self, a: Member<'a>, b: Member<'a>) -> String {
        let (one, other) = (self.servers.name(a.server), self.servers.name(b.server));
        match (self.servers.ignores(a, b), self.servers.ignores(b, a)) {
            (true, true) => "; with nothing in common each takes the other for another installation with the same \
                             virtual_router_id and ignores its adverts: both are master, each of its own addresses"
                .to_owned(),
            (true, false) => format!("; {one} has nothing of what {other} names, and ignores its adverts"),
            (false, true) => format!("; {other} has nothing of what {one} names, and ignores its adverts"),
            (false, false) => String::new(),
        }
    }

    fn priorities(&self, out: &mut Vec<Finding>) {
        for (a, b) in self.pairs().filter(|(a, b)| a.instance.priority == b.instance.priority) {
            let (one, other) = (self.servers.name(a.server), self.servers.name(b.server));
            let places = vec![self.servers.place(a), self.servers.place(b)];
            let priority = a.instance.priority;
            if priority == Priority::OWNER {
                let message = format!(
                    "{}: {one} and {other} both own the addresses (priority 255): each takes them whenever it starts, and \
                     both have them until the one with the lower interface address gives in",
                    self.name()
                );
                let help = "only one server may have priority 255";
                out.push(Finding { places, ..self.finding(Level::Error, "two-owners", message, help) });
                continue;
            }
            let winner = match (a.instance.source, b.instance.source) {
                (Some(x), Some(y)) if x > y => format!("{one} wins by its greater address {x}"),
                (Some(x), Some(y)) if x < y => format!("{other} wins by its greater address {y}"),
                _ => "the one with the greater interface address wins".to_owned(),
            };
            let message = format!(
                "{}: {one} and {other} both have priority {priority}: if both are master, {winner}; otherwise who came first stays",
                self.name()
            );
            let help = "give them different priorities, the preferred server the higher one";
            out.push(Finding { places, ..self.finding(Level::Warning, "equal-priority", message, help) });
        }
    }

    fn preemption(&self, out: &mut Vec<Finding>) {
        // An owner counts as one that has `state MASTER`, and two of them are told of by themselves.
        let owner = |m: &&Member<'a>| m.instance.priority == Priority::OWNER;
        let masters: Vec<&Member<'a>> = self.router.iter().filter(|m| m.instance.wants_master).collect();
        if masters.len() > 1 && masters.iter().copied().filter(owner).count() < 2 {
            let names: Vec<&str> = masters.iter().map(|m| self.servers.name(m.server)).collect();
            let counts = if masters.iter().copied().any(|m| owner(&m)) { " (priority 255 counts as it)" } else { "" };
            let message = format!(
                "{}: {} have `state MASTER`{counts}: `state` chooses nobody, the priority does, and `nopreempt` is void with it",
                self.name(),
                names.join(" and ")
            );
            out.push(self.finding(
                Level::Warning,
                "two-masters",
                message,
                "write `state BACKUP` on all but the preferred one",
            ));
        }
        let Some(best) = self.router.iter().max_by_key(|m| m.instance.priority) else { return };
        let patient = self.router.iter().find(|m| !m.instance.preempt && m.server != best.server);
        if let Some(patient) = patient.filter(|p| best.instance.preempt && p.instance.priority < best.instance.priority)
        {
            let (strong, weak) = (self.servers.name(best.server), self.servers.name(patient.server));
            let owner = best.instance.priority == Priority::OWNER;
            let cause = match best.instance.wants_master {
                _ if owner => " (an address owner, priority 255, cannot be patient)",
                true => " (with `state MASTER` it cannot be patient)",
                false => "",
            };
            let message = format!(
                "{}: {weak} has nopreempt and the lower priority, where it changes nothing: {strong} takes back what {weak} holds{cause}",
                self.name()
            );
            let below = if owner { "a priority below 255, " } else { "" };
            let help = format!(
                "put {below}`nopreempt` and `state BACKUP` on {strong} if the addresses shall stay where they are"
            );
            out.push(self.finding(Level::Warning, "nopreempt-idle", message, &help));
        }
    }

    fn packets(&self, out: &mut Vec<Finding>) {
        if let Some(list) = self.differ(|i| if i.accept { "accepted".into() } else { "dropped".into() }) {
            let message = format!("{}: packets to the virtual addresses are {list}", self.name());
            out.push(self.finding(
                Level::Note,
                "accept-differs",
                message,
                "set `accept` or `no_accept` alike everywhere",
            ));
        }
        let v3 = self.router.iter().all(|m| m.instance.version == Version::V3);
        if v3 && let Some(list) = self.differ(|i| if i.checksum.v3_as_v2 { "without".into() } else { "with".into() }) {
            let message = format!(
                "{}: checksums are made {list} the pseudo header; adverts of one kind may be refused",
                self.name()
            );
            out.push(self.finding(
                Level::Warning,
                "checksum-differs",
                message,
                "set v3_checksum_as_v2 alike everywhere",
            ));
        }
    }
}

/// So many names stand in one sentence.
const NAMED: usize = 3;

fn shorten(list: &[String]) -> String {
    first_few(list, NAMED, ", ")
}

/// Instances that move together on one server must do so on all: told once for all members of a group.
pub(super) fn groups(routers: &[Vec<Member<'_>>], servers: &Servers<'_>, out: &mut Vec<Finding>) {
    // By server and group: the virtual routers in it, in order.
    let mut together: HashMap<(usize, GroupId), Vec<usize>> = HashMap::new();
    for (at, router) in routers.iter().enumerate() {
        for member in router {
            if let Some(group) = member.instance.group {
                together.entry((member.server, group)).or_default().push(at);
            }
        }
    }
    let mut told = HashSet::new();
    for router in routers {
        let groups: Vec<_> = router.iter().map(|member| member.instance.group.map(|id| (member.server, id))).collect();
        if !told.insert(groups.clone()) {
            continue;
        }
        let mut sets = groups.iter().map(|group| group.and_then(|group| together.get(&group)));
        let first = sets.next();
        if sets.all(|set| Some(set) == first) {
            continue;
        }
        let cx = Cx { router, servers };
        let message = format!("{}: its vrrp_sync_group does not have the same members on all servers", cx.name());
        let help = "instances that move together on one server must move together on all";
        out.push(cx.finding(Level::Warning, "group-differs", message, help));
    }
}

/// A sync group of which one server is the better one in some members and another server in others.
pub(super) fn crossed(routers: &[Vec<Member<'_>>], servers: &Servers<'_>, out: &mut Vec<Finding>) {
    // By the two groups: a router of which the first server is the better one, and one of which the second is.
    type Better<'a> = [Option<Member<'a>>; 2];
    let mut seen: HashMap<[(usize, GroupId); 2], Better<'_>> = HashMap::new();
    for router in routers {
        let cx = Cx { router, servers };
        for (a, b) in cx.pairs() {
            let (Some(x), Some(y)) = (a.instance.group, b.instance.group) else { continue };
            let (mine, theirs) = (a.instance.priority, b.instance.priority);
            if mine == theirs {
                continue;
            }
            let better = seen.entry([(a.server, x), (b.server, y)]).or_default();
            let known = better.iter().all(Option::is_some);
            let [of_a, of_b] = better;
            let slot = if mine > theirs { of_a } else { of_b };
            slot.get_or_insert(a);
            if let ([Some(first), Some(second)], false) = (*better, known) {
                let name = servers.spec(a.server).and_then(|spec| spec.groups.get(x.index()));
                let name = name.map_or("", |group| &group.name);
                let message = format!(
                    "vrrp_sync_group {name}: {} has the higher priority for {} and {} for {}; the group moves as a whole, so \
                     neither takes it from the other: the server that was first keeps it, and if both become MASTER at one \
                     moment, both yield and nobody holds it for another down timer",
                    servers.name(a.server),
                    first.instance.name,
                    servers.name(b.server),
                    second.instance.name
                );
                out.push(Finding {
                    level: Level::Warning,
                    rule: "group-crossed",
                    places: vec![servers.place(first), servers.place(second)],
                    message,
                    help: Some("give one server the higher priority for every member of the group".into()),
                });
            }
        }
    }
}

/// Rules between routers: one identifier for two of them on one segment.
pub(super) fn across(routers: &[Vec<Member<'_>>], servers: &Servers<'_>, out: &mut Vec<Finding>) {
    let mut by_id: BTreeMap<(crate::wire::Family, u8), Vec<(usize, Member<'_>)>> = BTreeMap::new();
    for (at, router) in routers.iter().enumerate() {
        for member in router {
            by_id.entry((member.instance.family, member.instance.vrid.get())).or_default().push((at, *member));
        }
    }
    for ((_, id), members) in by_id.into_iter().filter(|(_, members)| members.len() <= CROWD) {
        let mut told = BTreeSet::new();
        for (n, (router_a, a)) in members.iter().enumerate() {
            for (router_b, b) in members.iter().skip(n + 1) {
                if router_a == router_b || a.server == b.server || told.contains(&(*router_a, *router_b)) {
                    continue;
                }
                if hears(a.instance, b.instance) {
                    told.insert((*router_a, *router_b));
                    out.push(twice(id, *a, *b, servers));
                }
            }
        }
    }
}

/// Would adverts of one reach the other? Multicast in one group, and the same network or interface.
fn hears(a: &InstanceSpec, b: &InstanceSpec) -> bool {
    let (Transport::Multicast { group: x }, Transport::Multicast { group: y }) = (&a.transport, &b.transport) else {
        return false;
    };
    x == y && (same_network(a, b) || (a.interface.is_some() && a.interface == b.interface))
}

fn twice(id: u8, a: Member<'_>, b: Member<'_>, servers: &Servers<'_>) -> Finding {
    let places: Vec<Place> = vec![servers.place(a), servers.place(b)];
    let apart = servers.ignores(a, b) && servers.ignores(b, a);
    let (level, follows) = match apart {
        true => (Level::Warning, "each has to leave the other's adverts alone, which keepalived from 2.4 on does not"),
        false => (Level::Error, "they fight"),
    };
    Finding {
        level,
        rule: "vrid-twice",
        places,
        message: format!(
            "VRID {id} is {} on {} and {} on {}, with different addresses: if they are on one segment, {follows}",
            a.instance.name,
            servers.name(a.server),
            b.instance.name,
            servers.name(b.server)
        ),
        help: Some("give each virtual router of a segment its own virtual_router_id".into()),
    }
}

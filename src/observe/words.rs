//! Causes, faults, refusals, exits and symptoms as sentences: the one place where they are written, for the log, `vipctl`,
//! mail, JSON and the simulator.
//!
//! Every function is a `match` without a wildcard arm, so that a new variant asks for its sentence here and nowhere else.
//! A sentence has no capital at its beginning and no full stop: it stands behind a colon, in brackets or in a table.

use crate::balance::io::{Finding, NO_IPVS, NO_NAMESPACE, Stage, Symptom};
use crate::spec::InstanceId;
use crate::time::Interval;
use crate::vrrp::io::{Cause, Exit, Fault, Refusal, TrackValue};
use crate::wire::Priority;
use nix::errno::Errno;
use std::borrow::Cow;
use std::net::IpAddr;

/// Why a virtual router is in its state. `name`: what an instance is called.
pub fn cause(why: &Cause, name: impl Fn(InstanceId) -> String) -> String {
    match why {
        Cause::Start => "the daemon has just started".into(),
        Cause::MasterSilent => "no advert came from a master in time".into(),
        Cause::MasterLeft => "the master said that it leaves (priority 0)".into(),
        Cause::Owner => "it owns the addresses (priority 255)".into(),
        Cause::Preempts { over, priority } => {
            format!("it took over from {over}, whose priority is only {priority}")
        }
        Cause::Outranked { by, priority } if priority.0 == 0 => format!("{by} was heard"),
        Cause::Outranked { by, priority } => format!("{by} has the better claim (priority {priority})"),
        Cause::Faulted(list) if list.is_empty() => "a fault".into(),
        Cause::Faulted(list) => faults(list),
        Cause::Recovered => "its faults are gone".into(),
        Cause::Group { led_by } => format!("its sync group went along with {}", name(*led_by)),
        Cause::Stalled => "this process was stalled for longer than a backup waits".into(),
        Cause::Drained => "it was drained by an operator".into(),
        Cause::Failover => "an operator asked for a failover".into(),
        Cause::NobodyTookOver => "it had handed over, and nobody took over".into(),
        Cause::Stopping => "the daemon is stopping".into(),
    }
}

/// That the daemon did not run, and what may have come of it.
pub fn slept(by: Interval) -> String {
    format!("Did not run for {}: another router may have taken over meanwhile", span(by.as_secs_f64()))
}

/// That another router was MASTER meanwhile.
pub fn replaced(by: IpAddr, priority: Priority) -> String {
    format!("{by}, priority {priority}, was MASTER while this daemon did not run")
}

/// What keeps an instance in FAULT.
pub fn fault(fault: &Fault) -> String {
    match fault {
        Fault::InterfaceMissing(name) => format!("interface {name} does not exist"),
        Fault::InterfaceDown(name) => format!("interface {name} down"),
        Fault::BaseInterfaceDown(name) => format!("base interface {name} down"),
        Fault::NoSourceAddress => "the interface has no address to speak from".into(),
        Fault::SourceAbsent(address) => format!("its source address {address} is on no interface"),
        Fault::NoSocket(why) => format!("no socket: {}", unnumbered(why)),
        Fault::CannotSend(why) => format!("this machine does not let its adverts out: {}", unnumbered(why)),
        Fault::Tracker(name) => format!("tracked {name} fails"),
        Fault::Pending(name) => format!("{name} has not reported yet"),
        Fault::DuplicateVrid => "another instance here has the same VRID on the same link".into(),
        Fault::Config(why) => format!("configuration: {why}"),
        Fault::Group(name) => format!("{name} of the same sync group is in FAULT"),
    }
}

/// Several faults in a row.
pub fn faults(list: &[Fault]) -> String {
    list.iter().map(fault).collect::<Vec<_>>().join(", ")
}

/// What to do about a fault, where there is something that can be said of all of its kind.
pub fn cure(fault: &Fault) -> Option<String> {
    match fault {
        Fault::InterfaceMissing(name) => {
            Some(format!("`ip link` shows the interfaces that there are; the configuration names {name}"))
        }
        Fault::InterfaceDown(name) | Fault::BaseInterfaceDown(name) => {
            Some(format!("`ip link set {name} up`, or look at the cable, the bond or the switch"))
        }
        Fault::NoSourceAddress => Some(
            "IPv4: give the interface an address that is not virtual; IPv6: a link-local one (fe80::…), which disable_ipv6 or \
             addr_gen_mode may keep away; or set mcast_src_ip or unicast_src_ip"
                .into(),
        ),
        Fault::SourceAbsent(address) => {
            Some(format!("put {address} on an interface (`ip address`), or correct mcast_src_ip or unicast_src_ip"))
        }
        Fault::NoSocket(_) => {
            Some("raise the limit of open files (LimitNOFILE=) or give CAP_NET_RAW; it is tried every second".into())
        }
        Fault::CannotSend(why) => Some(send_cure(why).into()),
        Fault::Tracker(name) => Some(format!("run the check of {name} by hand as its user and look at the exit code")),
        Fault::Pending(name) => Some(format!("wait for the first run of {name} to end")),
        Fault::DuplicateVrid => Some("give one of the two instances another virtual_router_id".into()),
        Fault::Config(_) => Some("`vipctl check` shows the line".into()),
        Fault::Group(name) => Some(format!("`vipctl explain {name}` says what is wrong with it")),
    }
}

/// A hardware address.
pub fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

/// What helps where the kernel refuses to send, by the number in what it says.
fn send_cure(why: &str) -> &'static str {
    let number = why.rsplit_once("(os error ").and_then(|(_, rest)| rest.strip_suffix(')')?.parse().ok());
    match number.map(Errno::from_raw) {
        Some(Errno::EMSGSIZE) => {
            "raise the interface's MTU; or put addresses into virtual_ipaddress_excluded, which adverts do not name; or reload, which \
             takes those that do not fit for such, on all servers"
        }
        Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH) => {
            "there is no way there: `ip route get` with the address that the log names, `ip route`, `ip neighbour`"
        }
        Some(Errno::ENOBUFS | Errno::ENOMEM) => {
            "its queue is full or there is no memory: `ip -s link`, `tc -s qdisc`, the log of the kernel"
        }
        _ => "let IP protocol 112 out of this machine: `nft list ruleset`, `iptables -S OUTPUT`",
    }
}

/// Why an advert was not taken. The subject of each is the advert or whoever sent it.
pub fn refusal(why: Refusal) -> &'static str {
    match why {
        Refusal::Truncated => "shorter than a VRRP packet",
        Refusal::UnknownVrid => "no instance here has this VRID",
        Refusal::NotListening => "the instance is not listening",
        Refusal::Length => "its length does not fit its contents",
        Refusal::Ttl => "its TTL is not 255, so it may come from another network",
        Refusal::Version => "it speaks another VRRP version than this instance",
        Refusal::Type => "it is not an advertisement",
        Refusal::Checksum => "its checksum is wrong",
        Refusal::AuthTypeInvalid => "its authentication type is unknown",
        Refusal::AuthTypeMismatch => "it is authenticated in another way than configured here",
        Refusal::AuthFailure => "its password or key is not ours",
        Refusal::AuthExtMissing => "it has no authentication extension",
        Refusal::AuthExtMalformed => "its authentication extension cannot be read",
        Refusal::AuthExtUnknownKey => "it is signed with a key id that is not configured here",
        Refusal::AuthExtInvalidHmac => "its signature is wrong",
        Refusal::AuthExtStale => "it is older than the replay window allows; are the clocks right?",
        Refusal::AuthExtReplay => "it has been heard before",
        Refusal::AdvertInterval => "its advertisement interval is not ours",
        Refusal::Destination => "it is multicast where unicast is configured, or the reverse",
        Refusal::UnknownPeer => "its sender is not one of the unicast peers, or outside their TTL range",
        Refusal::OwnerIgnores => "the address owner ignores adverts",
        Refusal::Foreign => {
            "it is another installation's with the same virtual_router_id: none of its addresses is configured here"
        }
    }
}

/// What to do about adverts that are refused for this reason.
pub fn refusal_cure(why: Refusal) -> Option<&'static str> {
    match why {
        Refusal::UnknownVrid => Some("the same virtual_router_id on all servers of a virtual address"),
        Refusal::Ttl => Some(
            "where the sender has a unicast_ttl, 255 there, or min_ttl here in unicast_peer; else the servers must be on one link",
        ),
        Refusal::Version => Some("the same vrrp_version on all servers"),
        Refusal::Checksum => Some("`checksum_compatibility never` or `auto` beside an old keepalived with unicast"),
        Refusal::AuthTypeInvalid | Refusal::AuthTypeMismatch | Refusal::AuthExtMissing | Refusal::AuthExtMalformed => {
            Some("the same authentication or auth_hmac block on all servers")
        }
        Refusal::AuthFailure => Some("the same auth_pass on all servers"),
        Refusal::AuthExtUnknownKey => Some("bring the key to all servers first, then make it the active_key"),
        Refusal::AuthExtInvalidHmac => Some("the same auth_hmac key on all servers"),
        Refusal::AuthExtStale => Some("synchronise the clocks of all servers"),
        Refusal::AdvertInterval => Some("the same advert_int on all servers"),
        Refusal::Destination => Some("unicast_peer on all servers or on none"),
        Refusal::UnknownPeer => Some("complete unicast_peer, or drop check_unicast_src"),
        Refusal::Foreign => Some(
            "another virtual_router_id for one of the two installations; if they are one, the same virtual_ipaddress on all servers",
        ),
        Refusal::Truncated
        | Refusal::NotListening
        | Refusal::Length
        | Refusal::Type
        | Refusal::AuthExtReplay
        | Refusal::OwnerIgnores => None,
    }
}

/// How a run of a program ended.
pub fn exit(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(signal) => format!("ended by signal {signal}"),
        Exit::NotRun => "could not be started".into(),
    }
}

/// What a tracker that is not a script says.
pub fn track_value(value: TrackValue) -> String {
    match value {
        TrackValue::Number(number) => number.to_string(),
        TrackValue::Count(1) => "1 process".into(),
        TrackValue::Count(count) => format!("{count} processes"),
        TrackValue::Up(true) => "up".into(),
        TrackValue::Up(false) => "down".into(),
    }
}

/// What a check of a real server found.
pub fn finding(finding: &Finding) -> String {
    match finding {
        Finding::Good => "good".into(),
        Finding::Weighted(code) => format!("good, with exit code {code}"),
        Finding::Bad(why) => symptom(why),
        Finding::NotMade(error) => format!("the check could not be made on this machine: {}", errno(*error)),
    }
}

/// Why the check of a real server failed.
pub fn symptom(symptom: &Symptom) -> String {
    match symptom {
        Symptom::Refused => "the connection was refused".into(),
        Symptom::TimedOut(at) => format!("no answer in time while {}", stage(*at)),
        Symptom::Unreachable(error) => format!("it cannot be reached: {}", errno(*error)),
        Symptom::Closed(at) => format!("the connection ended while {}", stage(*at)),
        Symptom::Tls(why) => format!("TLS failed: {why}"),
        Symptom::Status(code) => format!("it answered with status {code}"),
        Symptom::Digest(digest) => {
            let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("the digest of its answer is {digits}")
        }
        Symptom::Pattern => "its answer does not fit the pattern".into(),
        Symptom::Malformed(why) => format!("its answer is not understood: {why}"),
        Symptom::TooLong(bytes) => format!("its answer is longer than {bytes} bytes"),
        Symptom::Answer(code) => format!("it answered no (code {code})"),
        Symptom::Exit(code) => format!("the program ended with exit code {code}"),
        Symptom::Signal(signal) => format!("the program was ended by signal {signal}"),
        Symptom::NotRun(error) => format!("the program could not be started: {}", errno(*error)),
        Symptom::File(number) => format!("the tracked file says {number}"),
        Symptom::SessionDown => "the BFD session is not up".into(),
    }
}

/// How far a check came, as what it was doing.
pub fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Connect => "connecting",
        Stage::Tls => "negotiating TLS",
        Stage::Send => "sending the request",
        Stage::Answer => "waiting for the whole answer",
        Stage::Program => "running the program",
    }
}

/// Why the kernel has not got a virtual server or one of its servers.
pub fn refused(number: i32) -> String {
    // Of a table that is there this is about what the service names.
    const ENOENT: i32 = 2;
    match number {
        NO_IPVS => "there is no IPVS in it (module ip_vs)".into(),
        NO_NAMESPACE => "the network namespace of its table cannot be entered".into(),
        ENOENT => "it has no such scheduler or persistence engine".into(),
        other => errno(other),
    }
}

/// The kernel's words for an error number.
pub fn errno(number: i32) -> String {
    os(&std::io::Error::from_raw_os_error(number))
}

/// What an error says, without the number that Rust puts behind it.
pub fn os(error: &std::io::Error) -> String {
    unnumbered(&error.to_string()).into_owned()
}

/// A sentence without the ` (os error 22)` that Rust puts behind what the kernel says.
pub fn unnumbered(text: &str) -> Cow<'_, str> {
    const NUMBER: &str = " (os error ";
    let Some((before, rest)) = text.split_once(NUMBER) else { return Cow::Borrowed(text) };
    let behind = rest.split_once(')').map_or("", |(_, behind)| behind);
    Cow::Owned(format!("{before}{}", unnumbered(behind)))
}

/// What stands in a log file in the place of lines that could not be written.
pub fn lines_missing(count: u64, why: &str) -> String {
    format!("lines missing here: {count}. {why}")
}

/// A length of time for people: `0.35 s`, `12 s`, `2 min 5 s`, `3 h 12 min`, `9 days 4 h`.
pub fn span(seconds: f64) -> String {
    let whole = if seconds.is_finite() && seconds > 0.0 { seconds as u64 } else { 0 };
    match whole {
        0..=9 => {
            let text = format!("{seconds:.2}");
            format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
        }
        10..=59 => format!("{whole} s"),
        60..=3599 => format!("{} min {} s", whole / 60, whole % 60),
        3600..=86_399 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} days {} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Priority;

    #[test]
    fn a_preempting_master_is_explained_in_a_whole_sentence() {
        let over = std::net::IpAddr::from([10, 0, 0, 2]);
        let words = cause(&Cause::Preempts { over, priority: Priority(100) }, |_| String::new());
        assert_eq!(words, "it took over from 10.0.0.2, whose priority is only 100");
        assert_eq!(
            cause(&Cause::Group { led_by: InstanceId(1) }, |id| format!("V{}", id.0)),
            "its sync group went along with V1"
        );
    }

    #[test]
    fn no_sentence_has_the_number_of_an_error() {
        let said = "route cannot be removed: Invalid argument (os error 22) (Invalid dsfield); then Busy (os error 16)";
        assert_eq!(unnumbered(said), "route cannot be removed: Invalid argument (Invalid dsfield); then Busy");
        assert_eq!(unnumbered("all is well (os error"), "all is well (os error");
        assert_eq!(unnumbered("cut (os error 2"), "cut");
    }

    #[test]
    fn errors_of_the_kernel_have_their_own_words() {
        assert_eq!(symptom(&Symptom::Unreachable(113)), "it cannot be reached: No route to host");
    }
}

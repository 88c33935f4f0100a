//! Who cannot hear or speak is in FAULT, with the reason, and never MASTER.

use crate::harness::*;
use vipd::spec::InstanceId;
use vipd::time::Time;
use vipd::vrrp::Engine;
use vipd::vrrp::io::*;

const VI_1: InstanceId = InstanceId(0);

fn socket(state: SocketState) -> Input<'static> {
    Input::Socket { instance: VI_1, state }
}

fn refused(reason: &str) -> Input<'static> {
    socket(SocketState::Refused { reason: reason.into() })
}

fn sent(to: &str, failure: Option<(&str, bool)>) -> Input<'static> {
    let failure = failure.map(|(reason, ours)| SendFailure { reason: reason.into(), ours });
    Input::Sent { instance: VI_1, destination: ip(to), failure }
}

fn opening(spec: vipd::spec::Spec) -> Bench {
    let beginning = Beginning { links: links(), opening: true, ..Beginning::default() };
    Bench::of(Engine::begin(spec.into(), beginning, Time::ZERO))
}

#[test]
fn nobody_begins_before_its_socket_is_there() {
    let mut bench = opening(spec(vec![instance(1, 100)]));
    bench.wait(ms(60_000));
    assert_eq!(bench.role(0), Role::Init);
    assert!(bench.take().is_empty());
    bench.give(socket(SocketState::Open));
    assert_eq!(bench.role(0), Role::Backup);
    bench.wait(ms(3_600));
    assert_eq!(bench.role(0), Role::Backup, "the silence before was its own");
    bench.wait(ms(100));
    assert_eq!(bench.role(0), Role::Master);
}

#[test]
fn an_owner_does_not_begin_without_a_socket_either() {
    let mut bench = opening(spec(vec![instance(1, 255)]));
    assert_eq!(bench.role(0), Role::Init);
    bench.give(refused("Too many open files"));
    assert_eq!(bench.view(0).faults, [Fault::NoSocket("Too many open files".into())]);
    assert!(!bench.take().iter().any(|action| matches!(action, Action::Own(..) | Action::Transmit(_))));
    bench.give(socket(SocketState::Open));
    bench.wait(ms(4_000));
    assert_eq!(bench.role(0), Role::Master);
}

#[test]
fn without_a_socket_there_is_no_mastership_and_with_one_there_is_again() {
    let mut bench = Bench::as_master(spec(vec![instance(1, 100)]));
    bench.give(refused("Operation not permitted"));
    assert_eq!(bench.view(0).faults, [Fault::NoSocket("Operation not permitted".into())]);
    assert!(words(&bench.take()).contains(&"disown 0".to_owned()));
    bench.wait(ms(60_000));
    assert_eq!(bench.role(0), Role::Fault);
    bench.give(socket(SocketState::Open));
    assert_eq!(bench.role(0), Role::Backup);
}

/// A reload or a new address calls for another socket: that takes a moment, and the master stays.
#[test]
fn a_master_keeps_its_state_while_its_socket_is_opened_and_a_backup_waits() {
    let mut bench = Bench::as_master(spec(vec![instance(1, 100)]));
    bench.give(socket(SocketState::Opening));
    bench.wait(ms(900));
    assert_eq!(bench.role(0), Role::Master);
    let mut bench = Bench::new(spec(vec![instance(1, 100)]));
    bench.give(socket(SocketState::Opening));
    bench.wait(ms(60_000));
    assert_eq!(bench.role(0), Role::Backup, "it hears nothing, so it does not know that nobody speaks");
    bench.give(socket(SocketState::Open));
    bench.wait(ms(4_000));
    assert_eq!(bench.role(0), Role::Master);
}

#[test]
fn who_is_not_let_out_gives_up_when_the_others_have_lost_their_patience() {
    let mut bench = Bench::as_master(spec(vec![instance(1, 100)]));
    bench.give(sent("224.0.0.18", Some(("Operation not permitted", true))));
    assert!(events(&bench.take()).contains(&Event::SendFailed {
        instance: VI_1,
        to: ip("224.0.0.18"),
        reason: "Operation not permitted".into()
    }));
    bench.wait(ms(3_500));
    assert_eq!(bench.role(0), Role::Master);
    bench.wait(ms(200));
    assert_eq!(bench.view(0).faults, [Fault::CannotSend("Operation not permitted".into())]);
    // Nothing leads from here to MASTER but a datagram that may go out.
    assert_eq!(bench.view(0).next.unwrap().what, "find out whether it may send again".into());
    assert!(words(&bench.take()).contains(&"disown 0".to_owned()));
    // It finds out whether it may speak without being anybody's master.
    bench.wait(ms(20_000));
    let probes = bench.take();
    assert!(probes.iter().all(|action| matches!(action, Action::Transmit(_))), "{probes:?}");
    let vrids: Vec<u8> = probes
        .iter()
        .filter_map(|action| if let Action::Transmit(t) = action { Some(t.bytes[21]) } else { None })
        .collect();
    assert!(vrids.len() >= 2 && vrids.iter().all(|vrid| *vrid == 0), "{vrids:?}");
    bench.give(sent("224.0.0.18", None));
    assert_eq!(bench.role(0), Role::Backup);
    bench.wait(ms(4_000));
    assert_eq!(bench.role(0), Role::Master);
}

#[test]
fn an_own_address_among_the_peers_is_nobody_who_is_reached() {
    let mut bench = Bench::as_master(spec(vec![unicast(1, 100, &["10.0.0.1", "10.0.0.2"])]));
    bench.give(sent("10.0.0.2", Some(("Operation not permitted", true))));
    bench.wait(ms(4_000));
    assert_eq!(bench.view(0).faults, [Fault::CannotSend("Operation not permitted".into())]);
}

#[test]
fn a_firewall_that_opens_in_time_costs_nothing() {
    let mut bench = Bench::as_master(spec(vec![instance(1, 100)]));
    bench.give(sent("224.0.0.18", Some(("Operation not permitted", true))));
    bench.wait(ms(3_000));
    bench.give(sent("224.0.0.18", None));
    bench.wait(ms(60_000));
    assert_eq!(bench.role(0), Role::Master);
}

#[test]
fn one_peer_of_several_that_cannot_be_reached_is_told_and_no_fault() {
    let mut bench = Bench::as_master(spec(vec![unicast(1, 100, &["10.0.0.2", "10.0.0.3"])]));
    bench.give(sent("10.0.0.2", Some(("Operation not permitted", true))));
    bench.wait(ms(60_000));
    assert_eq!(bench.role(0), Role::Master);
    let told =
        |bench: &mut Bench| events(&bench.take()).iter().filter(|e| matches!(e, Event::SendFailed { .. })).count();
    assert_eq!(told(&mut bench), 1);
    bench.give(sent("10.0.0.3", Some(("Operation not permitted", true))));
    assert_eq!(told(&mut bench), 1, "each of them is told");
    bench.wait(ms(4_000));
    assert_eq!(bench.role(0), Role::Fault);
}

/// No route, a dead gateway: that is the network's doing, and another router may be just as alone.
#[test]
fn a_network_that_leads_nowhere_is_no_fault() {
    let mut bench = Bench::as_master(spec(vec![unicast(1, 100, &["10.0.0.2"])]));
    bench.give(sent("10.0.0.2", Some(("Network is unreachable", false))));
    bench.wait(ms(60_000));
    assert_eq!(bench.role(0), Role::Master);
}

#[test]
fn who_cannot_speak_holds_its_group() {
    let mut bench = Bench::as_master(grouped(vec![instance(1, 100), instance(2, 100)]));
    bench.give(refused("No such device"));
    assert_eq!(bench.roles(), [Role::Fault, Role::Fault]);
    assert_eq!(bench.view(1).faults, [Fault::Group("VI_1".into())]);
}

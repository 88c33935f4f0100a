//! Who is told what, in which order and in which words.

use crate::ground::{engine, spec};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use vipd::observe::history::MOST;
use vipd::observe::log::sentences;
use vipd::observe::telling::Telling;
use vipd::observe::{Context, History, Hub, Notifier, Observer, Wishes, fifo, mail::Mailer, snmp};
use vipd::spec::{GroupId, IfName, InstanceId, ScriptId, Spec};
use vipd::vrrp::io::{Cause, Event, Exit, Fault, Refusal, Role};
use vipd::wire::{Priority, Vrid};

const CONF: &str = r#"
global_defs {
  router_id r
  script_user root
  enable_script_security
  notification_email { admin@example.org }
  smtp_server 127.0.0.1
}
vrrp_script chk { script "/bin/check" interval 1 }
vrrp_sync_group G {
  group { A B }
  notify_master "/bin/group-master"
  notify "/bin/group-any"
}
vrrp_instance A {
  interface eth0
  virtual_router_id 1
  priority 150
  virtual_ipaddress { 10.9.0.10 }
  notify_master "/bin/a-master"
  notify "/bin/a-any with words"
  notify_stop "/bin/a-stop"
  track_script { chk weight 0 }
  notify_master_rx_lower_pri "/bin/a-lower"
  notify_priority_changes true
  smtp_alert
}
vrrp_instance B {
  interface eth0
  virtual_router_id 2
  virtual_ipaddress { 10.9.0.11 }
  notify "/bin/b-any"
}
"#;

/// A hub on the configuration, with one more observer that writes down FIFO lines and log sentences.
fn hub() -> (Hub, Arc<Mutex<Vec<String>>>, Arc<Spec>) {
    hub_of(CONF)
}

fn hub_of(conf: &str) -> (Hub, Arc<Mutex<Vec<String>>>, Arc<Spec>) {
    struct Lines(Arc<Mutex<Vec<String>>>);
    impl Observer for Lines {
        fn event(&mut self, event: &Event, cx: &Context<'_>, _: &mut Wishes) {
            let mut lines = self.0.lock().unwrap();
            lines.extend(Telling::of(event).and_then(|telling| fifo::line(&telling, cx)));
            lines.extend(sentences(event, cx).into_iter().map(|(_, text)| text));
        }
    }
    let lines = Arc::new(Mutex::new(Vec::new()));
    let spec = spec(conf);
    let observers: Vec<Box<dyn Observer + Send>> =
        vec![Box::new(Notifier), Box::new(Lines(lines.clone())), Box::new(Mailer::default())];
    let mut hub = Hub::new(observers);
    let (engine, now) = engine(&spec, 0);
    hub.reconfigure(spec.clone(), &engine.snapshot(now));
    (hub, lines, spec)
}

fn became(instance: u32, from: Role, to: Role, why: Cause) -> Event {
    Event::Became { instance: InstanceId(instance), from, to, why }
}

fn runs(hub: &mut Hub, event: &Event) -> Vec<String> {
    let mut wishes = Wishes::default();
    hub.event(event, 0, &mut wishes);
    words(&wishes)
}

fn words(wishes: &Wishes) -> Vec<String> {
    wishes.runs.iter().map(|run| format!("{} {}", run.run.line(), run.arguments.join(" ")).trim_end().into()).collect()
}

#[test]
fn the_specific_program_comes_before_the_generic_one() {
    let (mut hub, ..) = hub();
    let told = runs(&mut hub, &became(0, Role::Backup, Role::Master, Cause::MasterSilent));
    assert_eq!(told, ["/bin/a-master", "/bin/a-any with words INSTANCE A MASTER 150"]);
    let told = runs(&mut hub, &became(0, Role::Master, Role::Fault, Cause::Faulted(vec![Fault::NoSourceAddress])));
    assert_eq!(told, ["/bin/a-any with words INSTANCE A FAULT 150"]);
}

#[test]
fn the_priority_told_is_the_effective_one() {
    let (mut hub, lines, _) = hub();
    let change = Event::PriorityChanged { instance: InstanceId(0), from: Priority(150), to: Priority(40) };
    assert!(runs(&mut hub, &change).is_empty(), "programs are not told of priorities");
    assert_eq!(
        lines.lock().unwrap().as_slice(),
        ["INSTANCE \"A\" BACKUP_PRIORITY 40\n", "(A) Changing effective priority from 150 to 40"]
    );
    let told = runs(&mut hub, &became(0, Role::Backup, Role::Master, Cause::MasterLeft));
    assert_eq!(told[1], "/bin/a-any with words INSTANCE A MASTER 40");
}

#[test]
fn a_group_speaks_with_priority_0_and_for_members_that_are_where_it_is() {
    let (mut hub, ..) = hub();
    assert_eq!(
        runs(&mut hub, &became(1, Role::Backup, Role::Master, Cause::MasterSilent)),
        ["/bin/b-any INSTANCE B MASTER 100"]
    );
    let group = Event::GroupBecame { group: GroupId(0), from: Role::Backup, to: Role::Master };
    assert_eq!(runs(&mut hub, &group), ["/bin/group-master", "/bin/group-any GROUP G MASTER 0"]);
    // B has told before and its group is MASTER already: silence.
    assert!(runs(&mut hub, &became(1, Role::Backup, Role::Master, Cause::Group { led_by: InstanceId(0) })).is_empty());
}

#[test]
fn members_whose_state_a_reload_changes_are_told_of_although_their_group_comes_first() {
    let (mut hub, _, spec) = hub();
    runs(&mut hub, &became(1, Role::Backup, Role::Master, Cause::MasterSilent));
    let (engine, now) = engine(&spec, 0);
    hub.reconfigure(spec, &engine.snapshot(now));
    let group = Event::GroupBecame { group: GroupId(0), from: Role::Init, to: Role::Backup };
    assert_eq!(runs(&mut hub, &group), ["/bin/group-any GROUP G BACKUP 0"]);
    let follows = became(1, Role::Master, Role::Backup, Cause::Group { led_by: InstanceId(0) });
    assert_eq!(runs(&mut hub, &follows), ["/bin/b-any INSTANCE B BACKUP 100"]);
    assert!(runs(&mut hub, &follows).is_empty(), "from then on the group speaks for it again");
}

#[test]
fn at_the_end_everybody_gets_stop_with_a_time_limit() {
    let (mut hub, ..) = hub();
    let mut wishes = Wishes::default();
    for instance in 0..2 {
        hub.event(&Event::Stopped { instance: InstanceId(instance) }, 0, &mut wishes);
    }
    hub.stopped(&mut wishes);
    assert_eq!(
        words(&wishes),
        [
            "/bin/a-stop",
            "/bin/a-any with words INSTANCE A STOP 150",
            "/bin/b-any INSTANCE B STOP 100",
            "/bin/group-any GROUP G STOP 0",
        ]
    );
    assert!(wishes.runs.iter().all(|run| run.limited));
}

#[test]
fn a_deleted_instance_is_told_fault_unless_it_asked_for_deleted() {
    let (mut hub, ..) = hub();
    let gone = Event::Deleted { name: "A".into(), was: Role::Master };
    assert_eq!(runs(&mut hub, &gone), ["/bin/a-any with words INSTANCE A FAULT 150"]);
    let gone = Event::Deleted { name: "A".into(), was: Role::Fault };
    assert!(runs(&mut hub, &gone).is_empty());
}

#[test]
fn a_lower_master_is_told_by_its_own_program() {
    let (mut hub, lines, _) = hub();
    let from: IpAddr = "10.9.0.2".parse().unwrap();
    let heard = Event::HeardLower { instance: InstanceId(0), from, priority: Priority(90) };
    assert_eq!(runs(&mut hub, &heard), ["/bin/a-lower"]);
    assert_eq!(lines.lock().unwrap()[0], "INSTANCE \"A\" MASTER_RX_LOWER_PRI 150\n");
}

#[test]
fn log_lines_are_the_ones_that_people_grep_for() {
    let (mut hub, lines, _) = hub();
    let by: IpAddr = "10.9.0.2".parse().unwrap();
    let down = vec![Fault::InterfaceDown(IfName::new("eth0").unwrap())];
    let events = [
        became(0, Role::Init, Role::Backup, Cause::Start),
        became(0, Role::Backup, Role::Master, Cause::MasterLeft),
        became(0, Role::Master, Role::Backup, Cause::Outranked { by, priority: Priority(200) }),
        became(0, Role::Backup, Role::Fault, Cause::Faulted(down)),
        Event::ScriptChanged { script: ScriptId(0), good: false, exit: Exit::Code(1) },
        Event::ScriptChanged { script: ScriptId(0), good: true, exit: Exit::Code(0) },
        Event::GroupBecame { group: GroupId(0), from: Role::Backup, to: Role::Fault },
        Event::Healed { instance: InstanceId(0), addresses: 0..1 },
    ];
    for event in &events {
        hub.event(event, 0, &mut Wishes::default());
    }
    let lines = lines.lock().unwrap();
    let log: Vec<&str> = lines.iter().map(String::as_str).filter(|line| !line.ends_with('\n')).collect();
    assert_eq!(
        log,
        [
            "(A) Entering BACKUP STATE (init)",
            "(A) Backup received priority 0 advertisement",
            "(A) Receive advertisement timeout",
            "(A) Entering MASTER STATE",
            "(A) setting VIPs.",
            "(A) Master received advert from 10.9.0.2 with higher priority 200, ours 150",
            "(A) Entering BACKUP STATE",
            "(A) removing VIPs.",
            "(A) entering FAULT state (interface eth0 down)",
            "(A) Entering FAULT STATE",
            "VRRP_Script(chk) failed (exited with status 1)",
            "VRRP_Script(chk) succeeded",
            "VRRP_Group(G) Syncing instances to FAULT state",
            "(A) 10.9.0.10/32 removed by another program, put back",
        ]
    );
}

#[test]
fn what_is_set_and_removed_is_told_by_its_kind_in_keepaliveds_order() {
    let owned = "virtual_ipaddress { 10.9.0.11 }\n  virtual_ipaddress_excluded { 10.9.0.12 }\n  \
                 virtual_routes { 10.8.0.0/24 dev eth0 }\n  virtual_rules { from 10.9.0.11 lookup 7 priority 9 }";
    let (mut hub, lines, _) = hub_of(&CONF.replace("virtual_ipaddress { 10.9.0.11 }", owned));
    hub.event(&became(1, Role::Backup, Role::Master, Cause::MasterSilent), 0, &mut Wishes::default());
    hub.event(&Event::Stopped { instance: InstanceId(1) }, 0, &mut Wishes::default());
    let lines = lines.lock().unwrap();
    let of_kinds: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("(B) "))
        .filter(|line| line.starts_with("setting") || line.starts_with("removing"))
        .collect();
    assert_eq!(
        of_kinds,
        [
            "setting VIPs.",
            "setting E-VIPs.",
            "setting Virtual Routes",
            "setting Virtual Rules",
            "removing Virtual Rules",
            "removing Virtual Routes",
            "removing VIPs.",
            "removing E-VIPs.",
        ]
    );
}

#[test]
fn every_refusal_has_words() {
    let (hub, ..) = hub();
    let from: IpAddr = "10.9.0.9".parse().unwrap();
    for why in [Refusal::Checksum, Refusal::Ttl, Refusal::AuthFailure, Refusal::Version, Refusal::AuthExtStale] {
        let event = Event::Refused { instance: Some(InstanceId(0)), from, ifindex: 2, vrid: None, why };
        let said = sentences(&event, &hub.context());
        assert!(said[0].1.starts_with("(A) advert from 10.9.0.9 refused: "), "{said:?}");
    }
    for (theirs, apart) in [(7, "ours is 1"), (1, "but not where eth0 is")] {
        let (instance, why) = (Some(InstanceId(0)), Refusal::UnknownVrid);
        let event = Event::Refused { instance, from, ifindex: 2, vrid: Vrid::new(theirs), why };
        let said = sentences(&event, &hub.context());
        let words = format!("(A) 10.9.0.9 speaks for our addresses with VRID {theirs}, {apart}");
        assert_eq!(said[0].1, words);
    }
}

/// keepalived's gate (`send_instance_notifies`) stands before scripts, FIFOs, SNMP and mail alike.
#[test]
fn a_manager_is_not_told_of_members_that_are_where_their_group_is() {
    #[derive(Default, Clone)]
    struct Traps(Arc<Mutex<Vec<Vec<u32>>>>);
    impl Observer for Traps {
        fn told(&mut self, telling: &Telling<'_>, cx: &Context<'_>, _: &mut Wishes) {
            let traps = snmp::traps::of_telling(*telling, cx, &snmp::traps::Places::default());
            let last = |trap: &snmp::traps::Trap| trap.oid[snmp::KEEPALIVED.len()..].to_vec();
            self.0.lock().unwrap().extend(traps.iter().map(last));
        }
    }
    let spec = spec(&CONF.replace("router_id r", "router_id r\n enable_snmp_vrrp\n enable_traps"));
    let traps = Traps::default();
    let mut hub = Hub::new(vec![Box::new(traps.clone())]);
    let (engine, now) = engine(&spec, 0);
    hub.reconfigure(spec.clone(), &engine.snapshot(now));
    let mut tell = |event: &Event| {
        hub.event(event, 0, &mut Wishes::default());
        std::mem::take(&mut *traps.0.lock().unwrap())
    };
    const GROUP: &[u32] = &[2, 10, 0, 1];
    const INSTANCE: &[u32] = &[2, 10, 0, 2];
    assert_eq!(tell(&became(0, Role::Backup, Role::Master, Cause::MasterSilent)), [INSTANCE]);
    let group = |from, to| Event::GroupBecame { group: GroupId(0), from, to };
    assert_eq!(tell(&group(Role::Backup, Role::Master)), [GROUP]);
    assert_eq!(tell(&group(Role::Master, Role::Backup)), [GROUP]);
    assert!(tell(&became(0, Role::Master, Role::Backup, Cause::Drained)).is_empty(), "its group has spoken");
}

#[test]
fn mail_is_sent_once_a_state() {
    let (mut hub, ..) = hub();
    let mut mails = |event: &Event| {
        let mut wishes = Wishes::default();
        hub.event(event, 0, &mut wishes);
        wishes.mails.iter().map(|mail| mail.subject.clone()).collect::<Vec<_>>()
    };
    let master = became(0, Role::Backup, Role::Master, Cause::MasterSilent);
    assert_eq!(mails(&master), ["[r] VRRP Instance A - Entering MASTER state"]);
    assert!(mails(&master).is_empty());
    assert!(mails(&became(1, Role::Backup, Role::Master, Cause::MasterSilent)).is_empty(), "B has no smtp_alert");
}

#[test]
fn a_history_has_the_last_changes_of_each_name_and_no_more() {
    let history = History::default();
    let mut hub = Hub::new(vec![Box::new(history.clone())]);
    let with = |text: &str| {
        let spec = spec(text);
        let (engine, now) = engine(&spec, 0);
        (spec, engine.snapshot(now))
    };
    let (both, snapshot) = with(CONF);
    hub.reconfigure(both.clone(), &snapshot);
    let tell = |hub: &mut Hub, event: &Event, at| hub.event(event, at, &mut Wishes::default());
    tell(&mut hub, &became(1, Role::Init, Role::Backup, Cause::Start), 5);
    for at in 10..10 + 2 * MOST as u64 {
        tell(&mut hub, &became(0, Role::Backup, Role::Master, Cause::MasterSilent), at);
        tell(&mut hub, &Event::LinkChanged { name: IfName::new("eth0").unwrap(), running: true }, at);
    }
    let times = |name| history.of_name(name).unwrap().iter().map(|moment| moment.unix_micros).collect::<Vec<_>>();
    let kept: Vec<u64> = (10 + MOST as u64..10 + 2 * MOST as u64).collect();
    assert_eq!(times(Some("A")), kept);
    assert_eq!(times(Some("B")), [5]);
    assert_eq!(times(None), [&[5], kept.as_slice()].concat());
    assert_eq!(history.of_name(Some("A")).unwrap()[0].event["to"], "MASTER");
    assert!(history.of_name(Some("C")).is_none());

    // A name stays for one configuration without it, so that it can be asked what a reload took away.
    let (one, snapshot) =
        with(&CONF.replace("group { A B }", "group { A D }").replace("vrrp_instance B", "vrrp_instance D"));
    hub.reconfigure(one.clone(), &snapshot);
    assert_eq!(times(Some("B")), [5]);
    hub.reconfigure(one, &snapshot);
    assert!(history.of_name(Some("B")).is_none());
    assert_eq!(times(Some("A")), kept);
    // What one program of the process hands to the next.
    assert_eq!(History::of(history.record()).of_name(None), history.of_name(None));
}

#[test]
fn a_history_is_in_order_although_the_clock_was_set_back() {
    let history = History::default();
    let mut hub = Hub::new(vec![Box::new(history.clone())]);
    let spec = spec(CONF);
    let (engine, now) = engine(&spec, 0);
    hub.reconfigure(spec.clone(), &engine.snapshot(now));
    let tell = |hub: &mut Hub, instance, at| {
        hub.event(&became(instance, Role::Init, Role::Backup, Cause::Start), at, &mut Wishes::default());
    };
    tell(&mut hub, 0, 1_000);
    tell(&mut hub, 1, 5);
    let times = |history: &History| -> Vec<u64> {
        history.of_name(None).unwrap().iter().map(|moment| moment.unix_micros).collect()
    };
    assert_eq!(times(&history), [1_000, 5]);
    // The next program counts on.
    let heir = History::of(history.record());
    heir.note("A", 3, serde_json::Value::Null);
    assert_eq!(times(&heir), [1_000, 5, 3]);
}

//! Services as they will run: defaults from the servers above, and the rules between keywords.
//!
//! keepalived checks these after it has read everything (check_data.c, `validate_check_config`), and repairs what it can;
//! so the same complaints and the same repairs are here, each said once.

use super::Lvs;
use super::checkers::Draft;
use super::server::{PERSISTENCE_TIMEOUT, Server, Service, Sorry};
use super::shared::{ConnectionSettings, TimingSettings};
use crate::config::report::{Class, Diagnostic};
use crate::config::security::{Guard, ScriptLine, SetScript, UserLine};
use crate::config::table::block::{Cx, Set};
use crate::config::text::source::Span;
use crate::config::vrrp::instance::Instance;
use crate::config::vrrp::tracker::Named;
use crate::spec::balance::{
    Checker, CheckerKind, Connection, Defaults, Endpoint, FlushOnStop, Forwarding, Granularity, LvsSettings, LvsSpec,
    MarkSettings, Method, Persistence, Protocol, RealServer, ServerGroup, ShownService, SorryServer, SyncDaemon,
    Target, Timeouts, Timing, TunnelChecksum, TunnelKind, VirtualServer,
};
use crate::spec::{Fifo, Run, Spec};
use crate::wire::Family;
use rustc_hash::FxHashMap;

/// `smtp_alert_checker` and `smtp_alert` of `global_defs`.
#[derive(Clone, Copy, Debug, Default)]
pub struct MailDefault {
    pub checker: Option<bool>,
    pub all: Option<bool>,
}
impl MailDefault {
    fn or(self, otherwise: bool) -> bool {
        self.checker.or(self.all).unwrap_or(otherwise)
    }
}

const NAT: Forwarding = Forwarding { method: Method::Nat, tunnel: TunnelKind::Ipip, checksum: TunnelChecksum::None };

/// What was read, resolved. Mistakes leave out what they concern and nothing else.
///
/// `vrrp` has the `track_file`s, whose weight holds where a FILE_CHECK gives none, and the instance of the sync daemon.
pub fn resolve(lvs: Lvs, vrrp: Option<&Spec>, cx: &mut Cx<'_>) -> LvsSpec {
    let Lvs { tls, groups, services } = lvs;

    let mail = MailDefault { checker: cx.global.smtp_alert_checker.value(), all: cx.global.smtp_alert.value() };
    let mut guard = Guard::of(&cx.global, cx.env.system);
    let mut services: Vec<VirtualServer> =
        services.into_iter().filter_map(|s| service(s, &groups, mail, &mut guard, cx)).collect();
    let log_all = cx.global.checker_log_all();
    for checker in services.iter_mut().flat_map(|s| &mut s.servers).flat_map(|server| &mut server.checkers) {
        checker.log_all_failures |= log_all;
        if let CheckerKind::File { file, weight, reverse } = &mut checker.kind
            && let (None, Some(own)) = (&weight, vrrp.and_then(|spec| spec.files.iter().find(|own| own.name == *file)))
        {
            (*weight, *reverse) = (Some(own.weight), own.reverse);
        }
    }
    let mut settings = settings(cx);
    settings.sync_daemon = sync_daemon(vrrp, cx);
    if !services.is_empty() {
        settings.fifo = fifo(&mut guard, cx);
        if let Some(reader) = cx.global.fifo_script.clone()
            && let Ok(account) = guard.account_of(reader.value.user.as_ref())
        {
            // Whether it can run is the business of who starts it; here only safety counts.
            let _ = guard.check(&reader.value.argv, &account, reader.value.span);
        }
    }
    // VRRP's scripts are judged by a guard of their own; that script security is off is said once.
    if !cx.diagnostics.list.iter().any(|d| d.class == Class::Security) {
        guard.settle(cx);
    }
    LvsSpec { settings, tls: tls.map(Into::into), groups, services }
}

/// `lvs_sync_daemon_interface` of the first instance that has it, as the `lvs_sync_daemon` that it is an old spelling of.
pub fn sync_daemon_of_instance(instances: &[Named<Instance>], cx: &mut Cx<'_>) {
    for own in instances {
        let Some(set) = own.settings.lvs_sync.clone().given() else { continue };
        if let Some(first) = cx.global.lvs_sync_daemon.span() {
            // keepalived complains of the old spelling already, so the exit code stays.
            let message = "`lvs_sync_daemon_interface` is ignored: the interface of the sync daemon is given already";
            let note = Diagnostic::new(Class::Note, set.span, message).related(first, "first given here");
            cx.push(note.help("keep one of the two"));
            continue;
        }
        let daemon = SyncDaemon {
            interface: set.value,
            instance: Some(own.name.clone()),
            // Debian's 2.2.7 gives this spelling 0 and not the VRID; a peer with another id takes none of our connections.
            id: Some(0),
            max_length: None,
            port: None,
            ttl: None,
            group: None,
        };
        cx.global.lvs_sync_daemon = Set::at(daemon, set.span);
    }
}

/// The sync daemon with the id of its instance. One of an instance that is not there follows nobody and is left out.
fn sync_daemon(vrrp: Option<&Spec>, cx: &mut Cx<'_>) -> Option<SyncDaemon> {
    let set = cx.global.lvs_sync_daemon.clone().given()?;
    let mut daemon = set.value;
    if let Some(name) = &daemon.instance {
        let Some(own) = vrrp.and_then(|spec| spec.instances.iter().find(|own| own.name == *name)) else {
            let message = format!("the sync daemon is not started: there is no vrrp_instance `{name}`");
            let note = Diagnostic::new(Class::Note, set.span, message);
            cx.push(note.help("name an instance that is there, or none: then both of its threads run"));
            return None;
        };
        daemon.id = daemon.id.or(Some(own.vrid.get()));
    }
    Some(daemon)
}

/// What `global_defs` say, but for the FIFO and the sync daemon.
fn settings(cx: &Cx<'_>) -> LvsSettings {
    let global = &cx.global;
    let marks = global.nftables_ipvs.as_ref().map(|table| MarkSettings {
        table: table.value.clone(),
        priority: global.nftables_ipvs_priority(),
        start: global.nftables_fwmark(),
        counters: global.nftables_counters.is_some(),
    });
    LvsSettings {
        namespace: None,
        flush: global.lvs_flush.is_some(),
        flush_on_stop: match global.lvs_flush_on_stop.value() {
            None => FlushOnStop::Each,
            Some(true) => FlushOnStop::Services,
            Some(false) => FlushOnStop::All,
        },
        timeouts: global.lvs_timeouts.or(Timeouts::default()),
        sync_daemon: None,
        marks,
        init_notifies: global.rs_init_notifies(),
        no_checker_emails: global.no_checker_emails(),
        share_checks: global.share_checks(),
        fifo: None,
        seed: global.random_seed.value(),
        netlink_buffer: (global.lvs_netlink_cmd(), global.lvs_netlink_cmd_force()),
    }
}

/// `lvs_notify_fifo` with its reader, whose last argument is the path.
fn fifo(guard: &mut Guard<'_>, cx: &mut Cx<'_>) -> Option<Fifo> {
    let reader = cx.global.lvs_fifo_script.clone().and_then(|reader| {
        let account = guard.account_of(reader.value.user.as_ref()).ok()?;
        guard.check(&reader.value.argv, &account, reader.value.span).ok().map(|(run, _)| run)
    });
    let line = cx.global.lvs_fifo.as_ref()?;
    let path = line.value.path.clone();
    let account = guard.account_of(line.value.user.as_ref()).ok()?;
    let reader = reader.map(|run| run.with_argument(&path));
    Some(Fifo { reader, path, uid: account.uid, gid: account.gid })
}

fn service(
    own: Service,
    groups: &[ServerGroup],
    mail: MailDefault,
    guard: &mut Guard<'_>,
    cx: &mut Cx<'_>,
) -> Option<VirtualServer> {
    let (Some(target), Some(at)) = (own.target.clone(), own.at) else { return None };
    let group = match &target {
        Target::Group(name) => {
            let found = groups.iter().find(|group| group.name == *name);
            if found.is_none() {
                cx.note(at, format!("there is no virtual_server_group {name}; this virtual_server is left out"));
            }
            Some(found?)
        }
        _ => None,
    };
    let family = match group {
        Some(group) => group_family(group, own.family, at, cx)?,
        None => own.family,
    };
    let marked = group.map_or(matches!(target, Target::Mark(_)), ServerGroup::has_marks);
    let addressed = group.map_or(matches!(target, Target::Address(_)), |group| group.addresses().next().is_some());

    if marked && let Some(suspend) = own.ha_suspend.as_ref() {
        cx.mistake(
            suspend.span,
            format!("`ha_suspend` has no effect: {target} has firewall marks"),
            "remove `ha_suspend`, or name the service by its address",
        );
    }
    let protocol = protocol(&own, &target, marked, addressed, at, cx);
    let mut flags = own.scheduler_flags();
    if let Some(ops) = own.ops.as_ref()
        && addressed
        && protocol != Some(Protocol::Udp)
    {
        cx.mistake(ops.span, format!("`ops` is ignored: {target} is not UDP"), "remove `ops`, or write `protocol UDP`");
        flags.one_packet = false;
    }
    let persistence = persistence(&own, &target, group, at, cx);
    let forwarding = scheduling(&own, &target, at, cx);
    let mut servers = real_servers(&own, forwarding, mail, guard, cx);
    let mut sorry = own.sorry.as_ref().map(|sorry| (sorry_server(sorry, forwarding, &servers, cx), sorry.at));

    let (quorum, hysteresis) = quorum(&own, &target, &servers, at, cx);
    ports(&target, group, &mut servers, sorry.as_mut(), cx);
    let servers: Vec<RealServer> = servers
        .into_iter()
        .map(|(mut server, _)| {
            let default = server.endpoint;
            for connection in server.checkers.iter_mut().filter_map(|checker| checker.connection.as_mut()) {
                connection.to.port = connection.to.port.or(default.port);
            }
            server
        })
        .collect();

    Some(VirtualServer {
        family,
        protocol,
        scheduler: own.scheduler(),
        flags,
        forwarding,
        persistence,
        ha_suspend: own.ha_suspend.is_some() && !marked,
        mail: own.mail.or(mail.or(false)),
        snmp_name: own.snmp_name.value(),
        omega: own.omega.is_some(),
        quorum,
        hysteresis,
        quorum_up: run(&own.quorum_up, guard, cx),
        quorum_down: run(&own.quorum_down, guard, cx),
        sorry: sorry.map(|(sorry, _)| sorry),
        servers,
        target,
        shown: ShownService {
            defaults: defaults(&own),
            alpha: own.alpha.is_some(),
            inhibit: own.inhibit.is_some(),
            weight: own.weight(),
            forwarding: own.forwarding.is_some(),
        },
    })
}

/// Says so where `lb_algo` or `lb_kind` is left out; how packets are forwarded where a server does not say otherwise.
fn scheduling(own: &Service, target: &Target, at: Span, cx: &mut Cx<'_>) -> Forwarding {
    if own.scheduler.is_none() {
        let class = cx.class_without(&["lb_algo", "lvs_sched"], (at, own.close));
        let message = format!("virtual_server {target} has no lb_algo; wlc is used");
        cx.push(Diagnostic::new(class, at, message).help("write `lb_algo wlc`"));
    }
    let needed = own.servers.iter().any(|s| s.forwarding.is_none())
        || own.sorry.as_ref().is_some_and(|sorry| sorry.forwarding.is_none());
    if own.forwarding.is_none() && needed {
        let class = cx.class_without(&["lb_kind", "lvs_method"], (at, own.close));
        let message = format!("virtual_server {target} has no lb_kind; NAT is used");
        cx.push(Diagnostic::new(class, at, message).help("write `lb_kind NAT`, `lb_kind DR` or `lb_kind TUN`"));
    }
    own.forwarding.unwrap_or(NAT)
}

/// The real servers in the order of the file, each with its line; of two with one address and port the first.
fn real_servers(
    own: &Service,
    forwarding: Forwarding,
    mail: MailDefault,
    guard: &mut Guard<'_>,
    cx: &mut Cx<'_>,
) -> Vec<(RealServer, Span)> {
    let mut seen: FxHashMap<Endpoint, Span> = FxHashMap::default();
    seen.reserve(own.servers.len());
    let mut servers = Vec::with_capacity(own.servers.len());
    for server in &own.servers {
        let (Some(endpoint), Some(at)) = (server.endpoint, server.at) else { continue };
        if let Some(first) = seen.get(&endpoint) {
            cx.again(at, &format!("real_server {endpoint}"), *first, "the second is left out");
            continue;
        }
        seen.insert(endpoint, at);
        servers.push((real_server(server, own, forwarding, mail, guard, cx), at));
    }
    servers
}

/// The family of a service by group; `None` when they do not go together, which costs the service.
fn group_family(group: &ServerGroup, own: Option<Family>, at: Span, cx: &mut Cx<'_>) -> Option<Option<Family>> {
    let (v4, v6, open) = group.families();
    let of_group = match (v4, v6) {
        (true, false) => Some(Family::V4),
        (false, true) => Some(Family::V6),
        _ => None,
    };
    let clash = match (own, of_group) {
        (Some(own), Some(group)) => own != group,
        (Some(_), None) => v4 && v6,
        _ => false,
    };
    if clash {
        cx.note(
            at,
            format!("the family of virtual_server_group {} does not fit; this virtual_server is left out", group.name),
        );
        return None;
    }
    if own.or(of_group).is_none() && open {
        cx.note(at, format!("nothing tells the family of virtual_server_group {}; it is IPv4", group.name));
        return Some(Some(Family::V4));
    }
    Some(own.or(of_group))
}

fn protocol(
    own: &Service,
    target: &Target,
    marked: bool,
    addressed: bool,
    at: Span,
    cx: &mut Cx<'_>,
) -> Option<Protocol> {
    match (own.protocol.as_ref(), addressed) {
        (None, true) => {
            let class = cx.class_without(&["protocol"], (at, own.close));
            let message = format!("virtual_server {target} has no protocol; UDP is used");
            cx.push(Diagnostic::new(class, at, message).help("write `protocol TCP` or `protocol UDP`"));
            Some(Protocol::Udp)
        }
        (Some(protocol), false) if marked => {
            cx.mistake(
                protocol.span,
                format!("`protocol` is ignored: {target} takes what is marked"),
                "remove the line",
            );
            None
        }
        (protocol, _) => protocol.map(|set| set.value),
    }
}

fn persistence(
    own: &Service,
    target: &Target,
    group: Option<&ServerGroup>,
    at: Span,
    cx: &mut Cx<'_>,
) -> Option<Persistence> {
    let portless = match (target, group) {
        (Target::Address(endpoint), _) => endpoint.port.is_none(),
        (_, Some(group)) => group.addresses().any(|endpoint| endpoint.port.is_none()),
        _ => false,
    };
    let mut timeout = own.persistence.value();
    if portless && timeout.is_none() {
        cx.mistake(
            at,
            format!(
                "virtual_server {target} takes every port, which needs persistence; {PERSISTENCE_TIMEOUT} s are used"
            ),
            "write `persistence_timeout SECONDS`, or name a port",
        );
        timeout = Some(PERSISTENCE_TIMEOUT);
    }
    let granularity = own.mask.unwrap_or(Granularity::Host);
    timeout.map(|timeout| Persistence { timeout, granularity, engine: own.engine.value() })
}

fn sorry_server(sorry: &Sorry, forwarding: Forwarding, servers: &[(RealServer, Span)], cx: &mut Cx<'_>) -> SorryServer {
    let mut inhibit = sorry.inhibit;
    if let Some((twin, _)) = servers.iter().find(|(server, _)| server.endpoint == sorry.endpoint)
        && twin.inhibit != inhibit
    {
        inhibit = twin.inhibit;
        let message = format!(
            "sorry_server {} is a real_server as well, whose inhibit_on_failure is {}; that holds for both",
            sorry.endpoint,
            if inhibit { "on" } else { "off" }
        );
        cx.mistake(sorry.at, message, "write inhibit_on_failure and sorry_server_inhibit alike");
    }
    SorryServer { endpoint: sorry.endpoint, forwarding: sorry.forwarding.unwrap_or(forwarding), inhibit }
}

/// A quorum above the sum of all weights could never be reached.
fn quorum(own: &Service, target: &Target, servers: &[(RealServer, Span)], at: Span, cx: &mut Cx<'_>) -> (u32, u32) {
    let sum: u64 = servers.iter().map(|(server, _)| u64::from(server.weight)).sum();
    let sum = u32::try_from(sum).unwrap_or(u32::MAX);
    let mut quorum = own.quorum();
    let mut hysteresis = own.hysteresis();
    if quorum > sum {
        let place = own.quorum.span().unwrap_or(at);
        cx.mistake(
            place,
            format!("quorum {quorum} of {target} can never be reached: all weights together are {sum}, which is used"),
            "lower the quorum, or raise the weights of the servers",
        );
        quorum = sum;
    }
    if hysteresis >= quorum && hysteresis > 0 {
        let place = own.hysteresis.span().unwrap_or(at);
        let used = quorum.saturating_sub(1);
        cx.mistake(
            place,
            format!("hysteresis {hysteresis} of {target} is not below its quorum {quorum}; {used} is used"),
            "write a hysteresis below the quorum",
        );
        hysteresis = used;
    }
    (quorum, hysteresis)
}

/// Only NAT can change a port; with firewall marks there is none to change.
fn ports(
    target: &Target,
    group: Option<&ServerGroup>,
    servers: &mut [(RealServer, Span)],
    sorry: Option<&mut (SorryServer, Span)>,
    cx: &mut Cx<'_>,
) {
    let ends =
        servers.iter_mut().map(|(server, at)| (&mut server.endpoint, server.forwarding.method, *at, "real_server"));
    let sorry =
        sorry.into_iter().map(|(sorry, at)| (&mut sorry.endpoint, sorry.forwarding.method, *at, "sorry_server"));
    for (endpoint, method, at, what) in ends.chain(sorry) {
        let nat = method == Method::Nat;
        match (target, group) {
            (Target::Address(service), _) => match endpoint.port {
                None if what == "real_server" || !nat => endpoint.port = service.port,
                Some(_) if !nat && endpoint.port != service.port => {
                    let port = service.port.map_or("every port".to_owned(), |port| format!("port {port}"));
                    cx.mistake(
                        at,
                        format!("{what} {endpoint} must have the service's port without NAT; {port} is used"),
                        format!("write {port}, or use `lb_kind NAT`"),
                    );
                    endpoint.port = service.port;
                }
                _ => {}
            },
            (Target::Mark(_), _) if !nat && endpoint.port.is_some() => {
                let message =
                    format!("the port of {what} {endpoint} is ignored: {target} has none and there is no NAT");
                cx.mistake(at, message, "remove the port, or use `lb_kind NAT`");
                endpoint.port = None;
            }
            (Target::Group(_), Some(group)) if !nat && endpoint.port.is_some() => {
                if group.has_marks() {
                    cx.mistake(
                        at,
                        format!("the port of {what} {endpoint} is ignored for the marks of {target}"),
                        "remove the port, or use `lb_kind NAT`",
                    );
                } else if group.addresses().any(|entry| entry.port != endpoint.port) {
                    cx.mistake(
                        at,
                        format!("{what} {endpoint} and the addresses of {target} have different ports"),
                        "write the same port, or use `lb_kind NAT`",
                    );
                }
            }
            _ => {}
        }
    }
}

fn real_server(
    own: &Server,
    service: &Service,
    forwarding: Forwarding,
    mail: MailDefault,
    guard: &mut Guard<'_>,
    cx: &mut Cx<'_>,
) -> RealServer {
    let endpoint = own.endpoint.unwrap_or(Endpoint { address: std::net::Ipv4Addr::UNSPECIFIED.into(), port: None });
    let alpha = own.alpha.or(service.alpha.is_some());
    let of_service = defaults(service);
    let above = Above {
        alpha,
        defaults: Defaults {
            delay_loop: own.delay_loop.or(of_service.delay_loop),
            retry: own.retry.value().or(of_service.retry),
            delay_before_retry: own.delay_before_retry.value().or(of_service.delay_before_retry),
            warmup: own.warmup.value().or(of_service.warmup),
            connect_timeout: own.connect_timeout.or(of_service.connect_timeout),
            virtual_host: own.virtual_host.value().or(of_service.virtual_host),
        },
        endpoint,
    };
    // As many as there are at most: what a vector grows by would be most of a large configuration's memory.
    let mut checkers = Vec::with_capacity(own.drafts.len());
    checkers.extend(own.drafts.iter().filter_map(|draft| checker(draft, &above, guard, cx)));
    RealServer {
        endpoint,
        weight: own.weight.or(service.weight()),
        forwarding: own.forwarding.unwrap_or(forwarding),
        upper_threshold: own.upper(),
        lower_threshold: own.lower(),
        inhibit: own.inhibit.or(service.inhibit.is_some()),
        alpha,
        mail: own.mail.or(mail.or(true)),
        snmp_name: own.snmp_name.value(),
        notify_up: run(&own.notify_up, guard, cx),
        notify_down: run(&own.notify_down, guard, cx),
        checkers,
        // A host of the service is shown with the service.
        shown: Defaults { virtual_host: own.virtual_host.value(), ..above.defaults },
    }
}

/// What a service says for its servers' checks.
fn defaults(service: &Service) -> Defaults {
    Defaults {
        delay_loop: service.delay_loop(),
        retry: service.retry.value(),
        delay_before_retry: service.delay_before_retry.value(),
        warmup: service.warmup.value(),
        connect_timeout: service.connect_timeout(),
        virtual_host: service.virtual_host.value(),
    }
}

/// What a checker inherits.
struct Above {
    alpha: bool,
    defaults: Defaults,
    endpoint: Endpoint,
}

fn checker(draft: &Draft, above: &Above, guard: &mut Guard<'_>, cx: &mut Cx<'_>) -> Option<Checker> {
    let timing = draft.timing.as_ref().map(|own| timing(own, draft, above));
    let mut kind = draft.kind.clone();
    match &mut kind {
        CheckerKind::Misc { run: slot, timeout, .. } => {
            let command = draft.command.as_ref()?;
            *slot = Some(program(&command.line, command.user.as_ref(), draft.close, guard, cx)?);
            if timeout.is_zero() {
                *timeout = above.defaults.delay_loop;
            }
        }
        CheckerKind::Http(http) => {
            for page in &mut http.pages {
                page.virtual_host = page.virtual_host.take().or_else(|| above.defaults.virtual_host.clone());
            }
        }
        CheckerKind::Tcp
        | CheckerKind::Ping
        | CheckerKind::Udp { .. }
        | CheckerKind::Smtp { .. }
        | CheckerKind::Dns { .. }
        | CheckerKind::File { .. }
        | CheckerKind::Bfd { .. } => {}
    }
    Some(Checker {
        kind,
        alpha: draft.alpha.or(above.alpha),
        log_all_failures: draft.log_all_failures,
        timing,
        connection: draft.connection.as_ref().map(|own| connection(own, above)),
    })
}

fn timing(own: &TimingSettings, draft: &Draft, above: &Above) -> Timing {
    let above = &above.defaults;
    let delay_loop = own.delay_loop.or(above.delay_loop);
    let pause = above.delay_before_retry.or(draft.pause).unwrap_or(delay_loop);
    Timing {
        retry: own.retry.or(above.retry.unwrap_or(draft.retry)),
        delay_before_retry: own.delay_before_retry.or(pause),
        warmup: own.warmup.or(above.warmup.unwrap_or(delay_loop)),
        delay_loop,
    }
}

fn connection(own: &ConnectionSettings, above: &Above) -> Connection {
    let port = |set: &Set<u32>| set.as_ref().and_then(|port| u16::try_from(port.value).ok());
    Connection {
        to: Endpoint { address: own.unusual.connect_ip.or(above.endpoint.address), port: port(&own.connect_port) },
        from: own.unusual.bind_ip.value(),
        from_port: port(&own.unusual.bind_port),
        interface: own.unusual.interface.value(),
        timeout: own.timeout.or(above.defaults.connect_timeout),
        mark: own.unusual.mark.or(0),
    }
}

fn run(script: &SetScript, guard: &mut Guard<'_>, cx: &mut Cx<'_>) -> Option<Run> {
    program(&script.as_ref()?.value, None, None, guard, cx)
}

/// A program that may run; what may not is left out with a note, as keepalived only logs it.
fn program(
    line: &ScriptLine,
    user: Option<&UserLine>,
    close: Option<Span>,
    guard: &mut Guard<'_>,
    cx: &mut Cx<'_>,
) -> Option<Run> {
    let account = match guard.account_of(user.or(line.user.as_ref())) {
        Ok(account) => account,
        Err(problem) => {
            // keepalived takes it to heart for checks, and once for all scripts when there is no default user to be found;
            // otherwise it only logs. What is wrong with `script_user` itself has been said at that line.
            let check = close.is_some();
            let no_default = line.user.is_none() && user.is_none() && guard.script_user.is_none();
            let told = cx.told(&problem) || (no_default && cx.spoilt("script_user"));
            let class = if told {
                Class::Follows
            } else if check || no_default {
                Class::General
            } else {
                Class::Note
            };
            let complaint = Diagnostic::new(class, line.span, format!("the script is left out: {problem}"))
                .help(crate::config::resolve::no_such_user(line));
            cx.push(match close {
                Some(close) => complaint.related(close, "the check ends here"),
                None => complaint,
            });
            return None;
        }
    };
    match guard.check(&line.argv, &account, line.span) {
        Ok((run, _)) => Some(run),
        Err(danger) => {
            let message = format!("the script will not run: {}", danger.reason());
            cx.push(Diagnostic::new(Class::NotRun, line.span, message).help(danger.cure()));
            None
        }
    }
}

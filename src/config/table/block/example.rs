//! How a keyword is written, out of its entry: the cure that a complaint about its line gives when it knows no better one.

/// Lines that people would write, by their keyword, where the kind of the argument says too little. In the order of bytes.
const LINES: &[&str] = &[
    "config_save_dir /run/keepalived",
    "dynamic_interfaces allow_if_changes",
    "garp_extra_if 60",
    "include_check read match",
    "init_file 0 overwrite",
    "lb_kind DR",
    "lvs_sync_daemon eth0 inst VI_1 id 51",
    "lvs_timeouts tcp 7200 tcpfin 120 udp 300",
    "nftables keepalived",
    "notification_email_from keepalived@example.com",
    "notify /etc/keepalived/notify.sh",
    "notify_backup \"/etc/keepalived/notify.sh backup\"",
    "notify_deleted \"/etc/keepalived/notify.sh deleted\"",
    "notify_down \"/etc/keepalived/server.sh down\"",
    "notify_fault \"/etc/keepalived/notify.sh fault\"",
    "notify_fifo_script /etc/keepalived/reader.sh",
    "notify_master \"/etc/keepalived/notify.sh master\"",
    "notify_master_rx_lower_pri \"/etc/keepalived/notify.sh rival\"",
    "notify_stop \"/etc/keepalived/notify.sh stop\"",
    "notify_up \"/etc/keepalived/server.sh up\"",
    "payload 70 69 6e 67",
    "persistence_granularity 255.255.255.0",
    "quorum_down \"/etc/keepalived/quorum.sh down\"",
    "quorum_up \"/etc/keepalived/quorum.sh up\"",
    "regex \"all is well\"",
    "reload_time_file /etc/keepalived/reload.time",
    "require_reply 6f 6b",
    "shutdown_script /etc/keepalived/stop.sh",
    "snmp_name web",
    "snmp_socket unix:/var/agentx/master",
    "sorry_server 192.0.2.1 80",
    "startup_script /etc/keepalived/start.sh",
    // Who wrote another word than these two would have a second MASTER by the other one.
    "state BACKUP",
    "status_code 200-299",
    "umask 0177",
    "use_ipvlan 192.0.2.1/24",
    "use_vmac vrrp51",
    "vrrp_garp_extra_if 60",
    "vrrp_mcast_group4 224.0.0.18",
    "vrrp_mcast_group6 ff02::12",
];

/// `for example …` with a value that would do, or the form of the line where no value can be guessed.
///
/// `arguments` is the kind of value as [`Facts`](super::Facts) have it, `default` as the entry has it; a default that is
/// a value of that kind makes the example.
pub fn example(keyword: &str, arguments: &str, default: &str) -> String {
    if let Ok(at) = LINES.binary_search_by_key(&keyword, |line| line.split(' ').next().unwrap_or_default()) {
        return LINES.get(at).map_or_else(String::new, |line| format!("for example `{line}`"));
    }
    if let Some(longest) = arguments.strip_prefix("STR[<=").and_then(|rest| rest.strip_suffix(']')) {
        return match keyword {
            "auth_pass" => format!("write a word of at most {longest} bytes, the same one on all servers"),
            _ => format!("write a word of at most {longest} bytes behind `{keyword}`"),
        };
    }
    match value(arguments, default) {
        Some(value) if value.is_empty() => format!("write `{keyword}` alone"),
        Some(value) => format!("for example `{keyword} {value}`"),
        None => format!("write `{keyword} {}`", form(arguments)),
    }
}

/// The arguments as one would write them, not as the listing has them: `STR[<=8]` is a word, a block is opened.
fn form(arguments: &str) -> String {
    let words = arguments.split(' ').map(|word| match word.split('[').next().unwrap_or(word) {
        "STR" => "NAME",
        "BLOCK" => "{",
        _ if word.starts_with("STR[") => "NAME",
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

fn value(arguments: &str, default: &str) -> Option<String> {
    let arguments = arguments.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(arguments);
    // What follows a semicolon in a default are exceptions.
    let default = default.split([';', ',', ' ']).next().unwrap_or_default();
    let (kind, range) = match arguments.split_once('[') {
        Some((kind, range)) => (kind, range.split(']').next()),
        None => (arguments.split(' ').next().unwrap_or_default(), None),
    };
    // A default need not be among what may be written.
    let (least, most) = range.and_then(|range| range.split_once("..")).unwrap_or(("", ""));
    let within =
        |value: f64| !(least.parse().is_ok_and(|l: f64| value < l) || most.parse().is_ok_and(|m: f64| value > m));
    let number = |text: &str| text.parse().is_ok_and(within);
    match kind {
        "none" => Some(String::new()),
        "BOOL" => Some("on".to_owned()),
        _ if arguments.contains(" or ") && !arguments.contains(['(', '[', '.']) => {
            arguments.split(' ').next().filter(|first| !first.is_empty()).map(str::to_owned)
        }
        "UINT" | "INT" | "TIMER" | "DECIMAL" if number(default) => Some(default.to_owned()),
        "UINT" | "INT" | "TIMER" | "DECIMAL" => {
            let least = range?.split("..").next()?;
            let usual = if least.starts_with('-') || kind == "TIMER" { "1" } else { least };
            Some(usual.to_owned())
        }
        "IPADDR" | "IPADDR(mcast)" | "IPADDR(v4 mcast)" | "IPADDR(v6 mcast)" => {
            let mcast = arguments.contains("mcast");
            let v6 = arguments.contains("v6");
            Some(
                if v6 {
                    "ff02::12"
                } else if mcast {
                    "224.0.0.18"
                } else {
                    "192.0.2.1"
                }
                .to_owned(),
            )
        }
        "IFNAME" => Some("eth0".to_owned()),
        _ => None,
    }
}

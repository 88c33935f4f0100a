//! Families of the daemon itself: version, configuration, programs and mail, punctuality, and what the process uses, by the
//! names that every Prometheus client gives to that.

use super::page::{Labels, Micros, Page};
use super::{Process, Sources};
use crate::time::Time;

pub(super) fn about(page: &mut Page, sources: &Sources<'_>) {
    page.info("vipd_build_info", "Version of the daemon, and the router_id of its configuration.");
    let router = &sources.spec.daemon.router_id;
    page.sample(&Labels::new(&[("version", &env!("CARGO_PKG_VERSION")), ("router_id", router)]), 1);
}

pub(super) fn families(page: &mut Page, process: &Process, now: Time) {
    let counts = &process.counts;
    page.gauge(
        "vipd_config_last_reload_successful",
        "0 if the last reload was refused: the configuration before it is in force.",
    );
    page.only(Some(u8::from(!counts.last_reload_refused)));
    page.gauge(
        "vipd_config_last_reload_success_timestamp_seconds",
        "When the configuration that is in force came into force, Unix time.",
    );
    page.only((counts.in_force_unix_micros > 0).then_some(Micros(counts.in_force_unix_micros)));
    page.counter("vipd_config_reloads_total", "Reloads since the start of the program, by outcome.");
    page.sample(&Labels::new(&[("outcome", &"accepted")]), counts.reloads);
    page.sample(&Labels::new(&[("outcome", &"refused")]), counts.reloads_refused);
    page.counter(
        "vipd_notify_runs_total",
        "Notify programs that have ended, by outcome; failed: not started, another exit code than 0, or a signal.",
    );
    outcomes(page, counts.notifies, counts.notifies_failed);
    page.gauge("vipd_notify_running", "Notify programs that run at present.");
    page.only(Some(counts.underway.len()));
    page.gauge("vipd_notify_waiting", "Notify programs that wait until others have ended.");
    page.only(Some(counts.waiting));
    let oldest = counts.underway.values().map(|one| one.since).min();
    page.gauge(
        "vipd_notify_longest_seconds",
        "For how long the notify program that began first has been running; 0: none runs.",
    );
    page.only(Some(Micros(oldest.map_or(0, |since| now.since(since).as_micros()))));
    page.counter(
        "vipd_notify_fifo_lines_lost_total",
        "Lines that found no room in a notify FIFO, which nobody reads then.",
    );
    page.only(Some(counts.fifo_lines_lost));
    page.counter("vipd_mails_total", "Mails about changes of state, by outcome; failed: the server did not take it.");
    outcomes(page, counts.mails, counts.mails_failed);
    page.counter("vipd_log_lines_lost_total", "Log lines that did not fit into the queue.");
    page.only(Some(process.log_lines_lost));
    page.lateness(
        "vipd_engine_lateness_seconds",
        "Time between a deadline of VRRP and the moment it was acted on.",
        &process.engine,
    );
    page.gauge("vipd_engine_lateness_max_seconds", "Greatest lateness of VRRP since the start of the program.");
    page.only(Some(Micros(process.engine.max_us)));
    usage(page, process);
}

fn outcomes(page: &mut Page, ok: u64, failed: u64) {
    page.sample(&Labels::new(&[("outcome", &"ok")]), ok);
    page.sample(&Labels::new(&[("outcome", &"failed")]), failed);
}

fn usage(page: &mut Page, process: &Process) {
    let usage = &process.usage;
    page.counter("process_cpu_seconds_total", "User and system CPU time spent in seconds.");
    page.only(usage.cpu_seconds);
    page.gauge(
        "process_start_time_seconds",
        "When the process was started, Unix time; `vipctl upgrade` does not change it.",
    );
    page.only(usage.started);
    page.gauge("process_resident_memory_bytes", "Resident memory size.");
    page.only(usage.resident_bytes);
    page.gauge("process_virtual_memory_bytes", "Virtual memory size.");
    page.only(usage.virtual_bytes);
    page.gauge("process_open_fds", "Number of open file descriptors.");
    page.only(usage.open_descriptors);
    page.gauge("process_max_fds", "Maximum number of open file descriptors.");
    page.only(usage.most_descriptors);
}

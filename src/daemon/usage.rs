//! What the kernel says of this process, from /proc/self: for metrics, and only when somebody asks.

use crate::observe::metrics::Usage;
use crate::spec::Spec;
use crate::vrrp::most_ports;
use nix::unistd::{SysconfVar, sysconf};

/// Reads it now: three small files and a directory. Whatever cannot be read is left out.
pub fn now() -> Usage {
    let mut usage = Usage {
        open_descriptors: open_descriptors().map(|count| count as u64),
        most_descriptors: nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
            .ok()
            .map(|(soft, _)| soft),
        ..Usage::default()
    };
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return usage };
    // proc_pid_stat(5): the name stands in brackets and may have blanks; the field behind it is the third.
    let Some((_, rest)) = stat.rsplit_once(')') else { return usage };
    let field = |number: usize| rest.split_whitespace().nth(number - 3).and_then(|word| word.parse::<u64>().ok());
    let constant = |name| sysconf(name).ok().flatten().and_then(|value| u64::try_from(value).ok());
    if let Some(ticks) = constant(SysconfVar::CLK_TCK).filter(|ticks| *ticks > 0) {
        let seconds = |count: u64| count as f64 / ticks as f64;
        usage.cpu_seconds = field(14).zip(field(15)).map(|(user, system)| seconds(user.saturating_add(system)));
        usage.started = field(22).zip(booted()).map(|(since, booted)| booted as f64 + seconds(since));
    }
    usage.virtual_bytes = field(23);
    usage.resident_bytes =
        field(24).zip(constant(SysconfVar::PAGE_SIZE)).map(|(pages, size)| pages.saturating_mul(size));
    usage
}

/// When the machine started, seconds since 1970.
fn booted() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")).and_then(|word| word.trim().parse().ok())
}

/// How many descriptors instances and check scripts may come to hold: one for each socket, and two for each run of a program.
pub fn wanted_descriptors(spec: &Spec) -> usize {
    most_ports(spec) + 2 * spec.scripts.len()
}

/// How many descriptors this process has open, with the one that it takes to look.
pub fn open_descriptors() -> Option<usize> {
    std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count)
}

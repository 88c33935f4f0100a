//! Bad days for real daemons: killed, stopped, paused, unplugged and told to reload in any order; interfaces that are
//! renamed, deleted and made again under them; thousands of strangers' addresses; programs that hang; a syslog daemon
//! that does not read; a full disk; hundreds of reloads; damaged adverts; a lock of the kernel that others keep.
//!
//! Needs root, iproute2 and keepalived, like the other namespace tests. Counts are short by default. `VIPD_TORTURE=1000`
//! makes that many random acts and reloads, `VIPD_TORTURE_SEED=n` repeats a sequence, `VIPD_TORTURE_WORLD=IPv6` plays only
//! those worlds. Nothing is timed: states are awaited.
#![allow(clippy::unwrap_used)]

#[path = "torture/adverts.rs"]
mod adverts;
#[path = "torture/buffers.rs"]
mod buffers;
#[path = "netns/conf.rs"]
#[allow(dead_code)]
mod conf;
#[path = "netns/crafted.rs"]
#[allow(dead_code)]
mod crafted;
#[path = "daemon_netns/dead_mount.rs"]
mod dead_mount;
#[path = "daemon_netns/ground.rs"]
#[allow(dead_code)]
mod ground;
#[path = "netns/lab.rs"]
#[allow(dead_code)]
mod lab;
#[path = "torture/pair.rs"]
mod pair;
#[path = "netns/peers.rs"]
#[allow(dead_code)]
mod peers;
#[path = "torture/rtnl.rs"]
mod rtnl;
#[path = "torture/surroundings.rs"]
mod surroundings;
#[path = "torture/worlds.rs"]
mod worlds;

/// How many random acts or reloads.
fn count(default: usize) -> usize {
    std::env::var("VIPD_TORTURE").ok().and_then(|word| word.parse().ok()).unwrap_or(default)
}

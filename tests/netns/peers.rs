//! The programs that play against each other in namespaces, and what they need.

use std::path::Path;
use std::process::Command;

/// Which program sits in a seat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Vipd,
    Keepalived,
    /// zebra with vrrpd or bfdd.
    Frr,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Vipd => "vipd",
            Kind::Keepalived => "keepalived",
            Kind::Frr => "FRR",
        })
    }
}

/// Why namespace tests cannot run here, if they cannot. With `VIPD_REQUIRE_NETNS` set, that is a failure.
pub fn skip(needs: &[&str]) -> bool {
    let missing = if !nix::unistd::geteuid().is_root() {
        Some("no root".to_string())
    } else {
        let known = |program: &str| {
            let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin:/usr/lib/frr";
            path.split(':').any(|dir| Path::new(dir).join(program).exists())
        };
        let list = || Command::new("ip").args(["netns", "list"]).output();
        let made = || list().is_ok_and(|output| output.status.success());
        needs.iter().find(|p| !known(p)).map(|p| format!("no {p}")).or_else(|| (!made()).then(|| "no ip netns".into()))
    };
    let Some(missing) = missing else { return false };
    assert!(std::env::var_os("VIPD_REQUIRE_NETNS").is_none(), "namespace tests are required, and there is {missing}");
    println!("skipped: {missing}");
    true
}

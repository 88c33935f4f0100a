//! The examples of conf-examples/ with the real programs, in machines made of namespaces.
//!
//! Each example has a world of its own (`nginx_pair`, …) that installs the files as its README says, plays every row of
//! the README's table of failures through and measures it. Beside that, everything that a README tells to type is typed:
//! the checks, and the rehearsals with `vipctl lab`.
//!
//! Without root the worlds are skipped and say so; with VIPD_REQUIRE_NETNS=1 a skipped one is a failed one.
//! `VIPD_EXAMPLES=write` writes what was measured into the READMEs.

#![allow(clippy::unwrap_used)]

mod client;
mod cloud;
mod gateways;
mod ground;
mod kubernetes_api;
mod load_balancers;
mod machine;
mod mailbox;
mod nginx_pair;
mod readme;
mod rehearsals;
mod router;
mod spare_daemon;
mod three_hosts;

use ground::World;

const WORLDS: &[World] = &[
    World { name: "nginx_pair", programs: &["nginx", "perl"], play: nginx_pair::play },
    World { name: "three_hosts", programs: &["nginx", "haproxy", "perl"], play: three_hosts::play },
    World { name: "load_balancers", programs: &["nginx", "curl", "openssl", "perl"], play: load_balancers::play },
    World { name: "spare_daemon", programs: &["perl"], play: spare_daemon::play },
    World { name: "cloud", programs: &["curl", "perl"], play: cloud::play },
    World {
        name: "kubernetes_api",
        programs: &["nginx", "haproxy", "curl", "openssl", "perl"],
        play: kubernetes_api::play,
    },
    World { name: "gateways", programs: &["conntrackd", "perl"], play: gateways::play },
    World { name: "rehearsals_of_nginx_pair", programs: &[], play: || rehearsals::rehearse("nginx-pair") },
    World {
        name: "rehearsals_of_three_hosts",
        programs: &["nginx", "haproxy", "perl"],
        play: || rehearsals::rehearse("haproxy-nginx-three-hosts"),
    },
    World {
        name: "rehearsals_of_load_balancers",
        programs: &["nginx", "curl", "openssl"],
        play: || rehearsals::rehearse("curator-load-balancers"),
    },
    World {
        name: "rehearsals_of_spare_daemon",
        programs: &["nginx"],
        play: || rehearsals::rehearse("master-spare-daemon"),
    },
    World { name: "rehearsals_of_cloud", programs: &["nginx"], play: || rehearsals::rehearse("unicast-cloud") },
    World { name: "router", programs: &["vtysh", "perl"], play: router::play },
    World { name: "rehearsals_of_router", programs: &["nginx"], play: || rehearsals::rehearse("bfd-to-the-router") },
    World {
        name: "rehearsals_of_kubernetes_api",
        programs: &["nginx", "haproxy", "curl", "openssl"],
        play: || rehearsals::rehearse("kubernetes-api"),
    },
    World { name: "rehearsals_of_gateways", programs: &[], play: || rehearsals::rehearse("gateway-conntrackd") },
];

#[test]
fn nginx_pair() {
    ground::play("nginx_pair");
}

#[test]
fn three_hosts() {
    ground::play("three_hosts");
}

#[test]
fn load_balancers() {
    ground::play("load_balancers");
}

#[test]
fn spare_daemon() {
    ground::play("spare_daemon");
}

#[test]
fn cloud() {
    ground::play("cloud");
}

#[test]
fn rehearsals_of_nginx_pair() {
    ground::play("rehearsals_of_nginx_pair");
}

#[test]
fn rehearsals_of_three_hosts() {
    ground::play("rehearsals_of_three_hosts");
}

#[test]
fn rehearsals_of_load_balancers() {
    ground::play("rehearsals_of_load_balancers");
}

#[test]
fn rehearsals_of_spare_daemon() {
    ground::play("rehearsals_of_spare_daemon");
}

#[test]
fn rehearsals_of_cloud() {
    ground::play("rehearsals_of_cloud");
}

#[test]
fn router() {
    ground::play("router");
}

#[test]
fn rehearsals_of_router() {
    ground::play("rehearsals_of_router");
}

#[test]
fn kubernetes_api() {
    ground::play("kubernetes_api");
}

#[test]
fn gateways() {
    ground::play("gateways");
}

#[test]
fn rehearsals_of_kubernetes_api() {
    ground::play("rehearsals_of_kubernetes_api");
}

#[test]
fn rehearsals_of_gateways() {
    ground::play("rehearsals_of_gateways");
}

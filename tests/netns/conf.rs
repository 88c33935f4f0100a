//! keepalived.conf texts for the seats of a lab: the same words for vipd and for keepalived.

use std::fmt::Write as _;
use std::net::IpAddr;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Auth {
    None,
    Pass,
    Ah,
}

/// How two servers talk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tongue {
    pub version: u8,
    pub six: bool,
    pub unicast: bool,
    pub auth: Auth,
}

impl Tongue {
    pub const V2: Tongue = Tongue { version: 2, six: false, unicast: false, auth: Auth::None };
    pub const V3: Tongue = Tongue { version: 3, six: false, unicast: false, auth: Auth::None };

    /// Every combination that the protocol has.
    pub fn all() -> Vec<Tongue> {
        let mut all = Vec::new();
        for (version, six) in [(2, false), (2, true), (3, false), (3, true)] {
            for unicast in [false, true] {
                for auth in [Auth::None, Auth::Pass, Auth::Ah] {
                    // Authentication left VRRP with version 3, and IPv6 never had the field.
                    if auth == Auth::None || (version == 2 && !six) {
                        all.push(Tongue { version, six, unicast, auth });
                    }
                }
            }
        }
        all
    }

    pub fn address(&self) -> IpAddr {
        if self.six { "2001:db8::100" } else { "192.0.2.100" }.parse().unwrap()
    }
}

impl std::fmt::Display for Tongue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let family = if self.six { "IPv6" } else { "IPv4" };
        let way = if self.unicast { "unicast" } else { "multicast" };
        let auth = match self.auth {
            Auth::None => "none",
            Auth::Pass => "PASS",
            Auth::Ah => "AH",
        };
        write!(f, "v{} | {family} | {way} | {auth}", self.version)
    }
}

/// One server's file; further lines can be put into the instance and in front of it.
#[derive(Clone, Debug)]
pub struct Conf {
    pub tongue: Tongue,
    pub priority: u8,
    /// Last byte of this server's address, and of all servers.
    pub host: u8,
    pub hosts: Vec<u8>,
    pub before: String,
    pub inside: String,
}

impl Conf {
    pub fn new(tongue: Tongue, node: usize, nodes: usize, priority: u8) -> Conf {
        let hosts = (1..=nodes as u8).collect();
        Conf { tongue, priority, host: node as u8 + 1, hosts, before: String::new(), inside: String::new() }
    }

    pub fn inside(mut self, line: &str) -> Conf {
        self.inside += &format!("    {line}\n");
        self
    }

    pub fn before(mut self, text: &str) -> Conf {
        self.before += text;
        self
    }

    /// A script that fails while `file` exists.
    pub fn script(self, name: &str, file: &std::path::Path, weight: i32) -> Conf {
        let text = format!(
            "vrrp_script {name} {{\n    script \"/usr/bin/test ! -e {}\"\n    interval 1\n    weight {weight}\n    \
             user root\n}}\n",
            file.display()
        );
        self.before(&text).inside(&format!("track_script {{\n        {name}\n    }}"))
    }

    pub fn text(&self) -> String {
        let Conf { tongue, priority, .. } = self;
        let mut out =
            format!("global_defs {{\n    vrrp_garp_master_delay 1\n    script_user root\n}}\n{}", self.before);
        let interval = if tongue.version == 2 { "1" } else { "0.2" };
        let _ = writeln!(out, "vrrp_instance V1 {{\n    interface eth0\n    virtual_router_id 51");
        let _ = writeln!(out, "    version {}\n    priority {priority}\n    advert_int {interval}", tongue.version);
        let own = |host: u8| if tongue.six { format!("fe80::{host}") } else { format!("192.0.2.{host}") };
        if tongue.unicast {
            let _ = writeln!(out, "    unicast_src_ip {}\n    unicast_peer {{", own(self.host));
            for host in self.hosts.iter().filter(|host| **host != self.host) {
                let _ = writeln!(out, "        {}", own(*host));
            }
            let _ = writeln!(out, "    }}");
        }
        let auth = match tongue.auth {
            Auth::None => None,
            Auth::Pass => Some("PASS"),
            Auth::Ah => Some("AH"),
        };
        if let Some(auth) = auth {
            let _ = writeln!(out, "    authentication {{\n        auth_type {auth}\n        auth_pass s3cret\n    }}");
        }
        let prefix = if tongue.six { 64 } else { 24 };
        let low = if tongue.six { "        fe80::100/64\n" } else { "" };
        let _ = write!(out, "{}", self.inside);
        let _ = writeln!(out, "    virtual_ipaddress {{\n{low}        {}/{prefix}\n    }}\n}}", tongue.address());
        out
    }
}

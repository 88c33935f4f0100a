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
    #[allow(dead_code)]
    pub const V2: Tongue = Tongue { version: 2, six: false, unicast: false, auth: Auth::None };
    pub const V3: Tongue = Tongue { version: 3, six: false, unicast: false, auth: Auth::None };

    /// Every combination that the protocol has.
    #[allow(dead_code)]
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
        self.addresses(1)[0]
    }

    /// The virtual address of each segment.
    pub fn addresses(&self, segments: usize) -> Vec<IpAddr> {
        let all = if self.six { ["2001:db8::100", "2001:db8:1::100"] } else { ["192.0.2.100", "198.51.100.100"] };
        all.iter().take(segments).map(|address| address.parse().unwrap()).collect()
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

/// VRID of the instance on the first segment; the one on the second has the next.
pub const VRID: u8 = 51;

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
    /// Seconds from advert to advert, if not as usual.
    pub slow: Option<u8>,
    /// With two, an instance on each and a sync group of both.
    pub segments: usize,
}

impl Conf {
    pub fn new(tongue: Tongue, node: usize, nodes: usize, priority: u8) -> Conf {
        let hosts = (1..=nodes as u8).collect();
        let (before, inside) = (String::new(), String::new());
        Conf { tongue, priority, host: node as u8 + 1, hosts, before, inside, slow: None, segments: 1 }
    }

    pub fn inside(mut self, line: &str) -> Conf {
        self.inside += &format!("    {line}\n");
        self
    }

    /// On a VMAC. Adverts to peers go by the parent: from the virtual MAC address nothing would come back.
    pub fn on_vmac(self) -> Conf {
        let unicast = self.tongue.unicast;
        let conf = self.inside("use_vmac");
        if unicast { conf.inside("vmac_xmit_base") } else { conf }
    }

    /// Adverts so rarely that no stall of the machine looks like a dead master: for cases in which nobody may take over,
    /// and those that a wrong takeover would end for good.
    #[allow(dead_code)]
    pub fn slow(mut self, seconds: u8) -> Conf {
        self.slow = Some(seconds);
        self
    }

    #[allow(dead_code)]
    pub fn before(mut self, text: &str) -> Conf {
        self.before += text;
        self
    }

    /// A script that fails while `file` exists.
    #[allow(dead_code)]
    pub fn script(self, name: &str, file: &std::path::Path, weight: i32) -> Conf {
        let text = format!(
            "vrrp_script {name} {{\n    script \"/usr/bin/test ! -e {}\"\n    interval 1\n    timeout 60\n    \
             weight {weight}\n    user root\n}}\n",
            file.display()
        );
        self.before(&text).inside(&format!("track_script {{\n        {name}\n    }}"))
    }

    pub fn text(&self) -> String {
        let mut out =
            format!("global_defs {{\n    vrrp_garp_master_delay 1\n    script_user root\n}}\n{}", self.before);
        (0..self.segments).for_each(|segment| self.instance(segment, &mut out));
        if self.segments > 1 {
            out += "vrrp_sync_group G {\n    group {\n        V1\n        V2\n    }\n}\n";
        }
        out
    }

    fn instance(&self, segment: usize, out: &mut String) {
        let Conf { tongue, priority, .. } = self;
        let usual = if tongue.version == 2 { "1" } else { "0.2" };
        let interval = self.slow.map_or_else(|| usual.to_owned(), |seconds| seconds.to_string());
        let vrid = usize::from(VRID) + segment;
        let name = segment + 1;
        let _ = writeln!(out, "vrrp_instance V{name} {{\n    interface eth{segment}\n    virtual_router_id {vrid}");
        let _ = writeln!(out, "    version {}\n    priority {priority}\n    advert_int {interval}", tongue.version);
        let nets = if tongue.six { ["fe80::", "fe80::1:"] } else { ["192.0.2.", "198.51.100."] };
        let own = |host: u8| format!("{}{host}", nets[segment]);
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
        let low = if tongue.six { format!("        {}100/64\n", nets[segment]) } else { String::new() };
        let vip = tongue.addresses(2)[segment];
        let _ = write!(out, "{}", self.inside);
        let _ = writeln!(out, "    virtual_ipaddress {{\n{low}        {vip}/{prefix}\n    }}\n}}");
    }
}

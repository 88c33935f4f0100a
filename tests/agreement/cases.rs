//! Makes the cases: number in, configurations and a failure out, always the same.
//!
//! What a case is about goes round ([`KINDS`]); version, family, transport, number of servers and failure are diced with
//! the case's number as the seed. Nothing is made whose outcome hangs on who is faster by a few milliseconds: equal
//! priorities come with a later start of the others, and where nobody would take an address back that a stall of the
//! machine had moved, adverts come slowly.

pub const COUNT: usize = 50;
pub const KINDS: [&str; 10] =
    ["preempt", "two addresses", "nopreempt", "equal", "owner", "weight", "fault", "group", "interface", "vmac"];

pub struct Case {
    pub kind: &'static str,
    /// All of it in words.
    pub what: String,
    /// Names and configurations, the highest base priority first.
    pub servers: Vec<(String, String)>,
    /// Instances on every server.
    pub instances: usize,
    /// Real servers of a server.
    pub reals: usize,
    pub fail: String,
    /// Adverts come slowly, and so does everything else.
    pub slow: bool,
    /// A client can tell who is master. Not so where the kernel of a dead daemon goes on using the same hardware address.
    pub visible: bool,
}

/// xorshift: a sequence that its seed repeats.
struct Dice(u64);

impl Dice {
    fn one_of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

/// What all servers of a case have in common.
struct Shape {
    number: usize,
    kind: &'static str,
    v2: bool,
    six: bool,
    unicast: bool,
    servers: usize,
    advert: &'static str,
    preempt: bool,
    weight: i32,
    hopeless: bool,
}

pub fn case(number: usize) -> Case {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1).wrapping_mul(0x00ff_51af_d7ed_558c));
    (0..8).for_each(|_| _ = dice.below(2));
    let kind = KINDS[number % KINDS.len()];
    let v2 = number.is_multiple_of(3);
    let slow = matches!(kind, "nopreempt" | "equal");
    let hopeless = kind == "fault" && dice.below(3) == 0;
    let shape = Shape {
        number,
        kind,
        v2,
        six: !v2 && dice.below(2) == 0,
        unicast: dice.below(3) == 0,
        // Of two equal backups either may be the next master; where one is hopeless another two are needed.
        servers: if hopeless || number % 8 == 7 && kind != "equal" { 3 } else { 2 },
        advert: if v2 || slow { "1" } else { dice.one_of(&["0.1", "0.15", "0.2"]) },
        preempt: kind != "nopreempt",
        weight: [40, -40, 5, -5][dice.below(4)],
        hopeless,
    };
    let common = ["crash", "kill", "stop", "pause", "link"];
    let fail = match kind {
        // After a pause two equal masters are there at once, and the higher source address decides between them.
        "equal" => dice.one_of(&["crash", "kill", "stop", "link"]),
        "weight" => dice.one_of(&["script", "script:check", "script", "stop"]),
        "fault" => dice.one_of(&["script", "script:check", "crash", "link"]),
        "group" => dice.one_of(&["link:eth1", "link", "crash", "kill", "stop", "script"]),
        "interface" => dice.one_of(&["link:eth1", "link:eth1", "link"]),
        _ => dice.one_of(&common),
    };
    let servers = (0..shape.servers).map(|at| (["a", "b", "c"][at].to_owned(), shape.configuration(at))).collect();
    let what = format!(
        "{kind}, {} over {}, {}, {} servers, advert_int {}, weight {}, hopeless: {}",
        if v2 { "VRRPv2" } else { "VRRPv3" },
        if shape.six { "IPv6" } else { "IPv4" },
        if shape.unicast { "unicast" } else { "multicast" },
        shape.servers,
        shape.advert,
        shape.weight,
        shape.hopeless,
    );
    Case {
        kind,
        what,
        servers,
        instances: if kind == "group" { 2 } else { 1 },
        reals: 0,
        slow: shape.advert == "1",
        visible: kind != "vmac" || !matches!(fail, "kill" | "pause"),
        fail: fail.to_owned(),
    }
}

impl Shape {
    fn configuration(&self, at: usize) -> String {
        let mut text = String::from("global_defs {\n    script_user root\n");
        if self.kind == "equal" && at > 0 {
            text += &format!("    vrrp_startup_delay {}\n", at * 2);
        }
        text += "}\n";
        if matches!(self.kind, "weight" | "fault" | "group") {
            let program = if self.hopeless && at == 0 { "/usr/bin/false" } else { "/usr/bin/true" };
            text += &format!(
                "vrrp_script check {{\n    script {program}\n    interval 1\n    timeout 4\n    fall 2\n    rise 1\n}}\n"
            );
        }
        if self.kind == "group" {
            text += "vrrp_sync_group both {\n    group {\n        V1\n        V2\n    }\n}\n";
        }
        let instances = if self.kind == "group" { 2 } else { 1 };
        (1..=instances).for_each(|instance| text += &self.instance(at, instance));
        text
    }

    fn priority(&self, at: usize) -> usize {
        match self.kind {
            "equal" => 100,
            "owner" if at == 0 => 255,
            _ => 150 - at * 20 - (self.number % 5) * 2,
        }
    }

    fn instance(&self, at: usize, instance: usize) -> String {
        let interface = if instance == 1 { "eth0" } else { "eth1" };
        let vrid = 10 + self.number * 2 + instance;
        let state = if self.kind == "owner" && at == 0 { "MASTER" } else { "BACKUP" };
        let mut text = format!("vrrp_instance V{instance} {{\n    state {state}\n    interface {interface}\n");
        text += &format!("    virtual_router_id {vrid}\n    priority {}\n", self.priority(at));
        text += &format!("    advert_int {}\n", self.advert);
        text += &format!("    version {}\n", if self.v2 { 2 } else { 3 });
        if !self.preempt {
            text += "    nopreempt\n";
        }
        if self.unicast {
            text += &format!("    unicast_src_ip {}\n    unicast_peer {{\n", self.own(at, instance));
            for other in (0..self.servers).filter(|other| *other != at) {
                text += &format!("        {}\n", self.own(other, instance));
            }
            text += "    }\n";
        }
        if self.kind == "vmac" {
            text += &format!("    use_vmac vr{vrid}\n");
            text += if self.number % 4 == 1 { "    vmac_xmit_base\n" } else { "" };
        }
        match self.kind {
            "weight" if at == 0 || self.weight > 0 => {
                text += &format!("    track_script {{\n        check weight {}\n    }}\n", self.weight);
            }
            "fault" | "group" => text += "    track_script {\n        check\n    }\n",
            "interface" if self.weight > 0 => text += "    track_interface {\n        eth1\n    }\n",
            "interface" => {
                text += &format!("    track_interface {{\n        eth1 weight {}\n    }}\n", self.weight);
            }
            _ => {}
        }
        text += "    virtual_ipaddress {\n";
        for address in self.addresses(instance) {
            text += &format!("        {address}\n");
        }
        text + "    }\n}\n"
    }

    /// A server's own address, which the lab and the simulation give it because the configurations name it.
    fn own(&self, at: usize, instance: usize) -> String {
        if self.six { format!("fd00:{instance}::{}", at + 1) } else { format!("10.0.{instance}.{}", at + 1) }
    }

    fn addresses(&self, instance: usize) -> Vec<String> {
        let more = if self.kind == "two addresses" { 3 } else { 1 };
        let local = self.six && self.number % 4 == 1;
        let first = local.then(|| format!("fe80::{instance}:1/64"));
        let one = |n| match self.six {
            true => format!("fd00:{instance}::1:{n}/64"),
            false => format!("10.0.{instance}.{}/24", 50 + n),
        };
        first.into_iter().chain((1..=more).map(one)).collect()
    }
}

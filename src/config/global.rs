//! `global_defs`.

use super::block::{Set, flag, last, must, toggle};
use super::values::{STR, uint};

block! {
    /// Global settings; several blocks accumulate.
    "global_defs" => Global {
        /// Name used in mail subjects.
        "router_id" => router_id: Set<Box<str>> = last(STR), default "host name";
        /// Default strict RFC compliance of instances.
        "vrrp_strict" => strict: Set<bool> = toggle(), default "off";
        /// Seconds before the second burst of gratuitous ARP after becoming master; 0 is none.
        "vrrp_garp_master_delay" => garp_delay: Set<u32> = must(uint(0, 4294)), default "5";
        /// An interface may be absent.
        "log_unknown_vrids" => log_unknown_vrids: Set<()> = flag(), default "off";
    }
}

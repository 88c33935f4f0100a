//! The 22 cases of the UNH-IOL VRRP operations suite (revision 2.5), by number. The suite names what to look at; what is
//! right is taken from RFC 3768 §6.4 and §7, and for version 3 from RFC 9568 §6.4 and §7. Where keepalived knowingly does
//! otherwise, the case says so and holds vipd to keepalived.

#![allow(clippy::unwrap_used)]

mod bench;
mod packets;
mod states;
mod timers;

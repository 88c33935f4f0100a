//! The blocks of VRRP: instances, sync groups and what they track.

pub mod group;
pub mod instance;
pub mod tracker;

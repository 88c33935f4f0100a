//! The two command lines.

pub mod vipd;

//! The `block!` table: a keyword is one entry, and from it come reading, complaints, listings and the manual page.

#[macro_use]
pub mod block;
pub mod keywords;
pub mod values;

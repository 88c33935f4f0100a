//! Every keyword of the language with values that it may and may not have.

#![allow(clippy::unwrap_used)]

mod one_mistake;
mod verdicts;
mod whole;

//! BFD sessions: packets, the engine, its laws in random lives, and deliberate defects that the laws have to notice.

#![allow(clippy::unwrap_used)]

mod flaws;
mod ground;
mod handing_over;
mod laws;
mod packets;
mod sessions;
mod worlds;

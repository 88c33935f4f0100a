//! Checks over real sockets: servers of this test's own on the loopback interface, nginx, `openssl s_server`.
//!
//! `plain` has what servers do that are well or down, `options` what a configuration says of connections, `hostile` the
//! servers that nobody wants, `tls` handshakes, `golden` the bytes of keepalived, `command` vipctl probe.

#![allow(clippy::unwrap_used)]

mod command;
mod golden;
mod hostile;
mod options;
mod plain;
mod stage;
mod tls;

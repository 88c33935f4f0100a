//! Network namespaces: entering one (`net_namespace`), and a private mount namespace with it.

use std::io;

/// Moves the calling thread into the network namespace `/run/netns/NAME`. Threads started later follow; earlier ones do
/// not, so the daemon calls this before it starts any.
///
/// # Errors
/// The namespace does not exist or may not be entered.
pub fn enter(name: &str) -> io::Result<()> {
    let _ = name;
    Err(io::ErrorKind::Unsupported.into())
}

/// Gives the process a private mount namespace and bind-mounts `/run/keepalived/NAME` over `/run/keepalived`, as
/// keepalived does with `net_namespace` (semantics: files are found outside at `/run/keepalived/NAME/`).
///
/// # Errors
/// Those of unshare(2), mkdir(2), mount(2).
pub fn private_run_directory(name: &str) -> io::Result<()> {
    let _ = name;
    Err(io::ErrorKind::Unsupported.into())
}

//! Network namespaces under /run/netns, as `ip netns` keeps them: entering one (`net_namespace`), making and removing
//! them (the lab and the tests), and a private mount namespace for the files of a daemon that lives in one.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

const FOLDER: &str = "/run/netns";

/// Where the namespace `name` is mounted.
pub fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// Moves the calling thread into the network namespace `/run/netns/NAME`. Threads started later follow; earlier ones do
/// not, so the daemon calls this before it starts any.
///
/// # Errors
/// The namespace does not exist or may not be entered.
pub fn enter(name: &str) -> io::Result<()> {
    let file = File::open(path(name))?;
    setns(file, CloneFlags::CLONE_NEWNET)?;
    Ok(())
}

/// Gives the process a private mount namespace and bind-mounts `/run/keepalived/NAME` over `/run/keepalived`, as
/// keepalived does with `net_namespace`: the files are found outside at `/run/keepalived/NAME/`.
///
/// # Errors
/// Those of unshare(2), mkdir(2), mount(2). Must be called while the process has a single thread.
pub fn private_run_directory(name: &str) -> io::Result<()> {
    let shown = Path::new("/run/keepalived");
    let real = shown.join(name);
    fs::create_dir_all(&real)?;
    private_mounts()?;
    mount(Some(&real), shown, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    Ok(())
}

/// Gives the calling process a mount namespace of its own from which nothing leaks back.
///
/// # Errors
/// Those of unshare(2) and mount(2); `InvalidInput` in a process with more than one thread.
pub fn private_mounts() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)?;
    Ok(())
}

/// Makes a network namespace that stays when the caller is gone, and brings its loopback interface up.
///
/// # Errors
/// `AlreadyExists`, or no permission.
pub fn create(name: &str) -> io::Result<()> {
    fs::create_dir_all(FOLDER)?;
    let file = path(name);
    File::create_new(&file)?;
    let made = on_own_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let own = format!("/proc/self/task/{}/ns/net", nix::unistd::gettid());
        mount(Some(own.as_str()), &file, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        super::bring_up("lo")
    });
    if made.is_err() {
        let _ = umount2(&file, MntFlags::MNT_DETACH);
        let _ = fs::remove_file(&file);
    }
    made
}

/// Removes a namespace; its interfaces go when the last process has left it.
///
/// # Errors
/// `NotFound`, or no permission.
pub fn delete(name: &str) -> io::Result<()> {
    let file = path(name);
    match umount2(&file, MntFlags::MNT_DETACH) {
        // A file without a mount: left half-made.
        Ok(()) | Err(nix::Error::EINVAL) => {}
        Err(e) => return Err(e.into()),
    }
    fs::remove_file(&file)
}

/// The names of all namespaces.
pub fn list() -> Vec<String> {
    let Ok(folder) = fs::read_dir(FOLDER) else { return Vec::new() };
    folder.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Runs `work` on a thread of its own inside the namespace and answers what it gives. What it opens stays inside.
///
/// # Errors
/// The namespace cannot be entered, or `work` fails or panics.
pub fn inside<T: Send>(name: &str, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    on_own_thread(|| {
        enter(name)?;
        work()
    })
}

fn on_own_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("namespace".into()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace panicked")))
    })
}

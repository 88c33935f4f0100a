//! Named pipes: one line an event, for programs that listen all the time.
//!
//! A plain file in the place of one is appended to: there are people who use it as a log, and 2.2.7 writes there too.
//!
//! Opened for reading and writing and without blocking, so that a missing reader neither stops us nor gives EPIPE; what
//! does not fit into the pipe is lost, as with keepalived. A pipe that we made is removed at the end. The programs that
//! read them are started by the daemon ([`Fifos::readers`]).

use super::Context;
use super::Observer;
use super::Wishes;
use super::notify::{Told, deleted_word};
use super::tally::Tally;
use super::telling::Telling;
use super::words;
use crate::spec::{Fifo, Run, Spec};
use crate::vrrp::io::Role;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// `notify_fifo`, `vrrp_notify_fifo` and `lvs_notify_fifo`.
#[derive(Debug, Default)]
pub struct Fifos {
    pipes: Vec<Pipe>,
    /// The one that the program before this one had.
    inherited: Vec<Pipe>,
    /// Effective priority is repeated after a reload (`fifo_write_vrrp_states_on_reload`).
    started: bool,
    /// Which of them are full stands there.
    tally: Tally,
}

/// A pipe that stays open while its daemon becomes another program.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeptFifo {
    path: PathBuf,
    fd: RawFd,
    ours: bool,
}

#[derive(Debug)]
struct Pipe {
    path: PathBuf,
    file: File,
    ours: bool,
    hears: Hears,
}

/// What is written into a pipe.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Hears {
    vrrp: bool,
    balance: bool,
}

impl Fifos {
    /// Goes on with the pipes that the program before us held, as far as the configuration still names them.
    ///
    /// # Safety
    /// The descriptors in `kept` must belong to nobody else in this process.
    pub unsafe fn inheriting(kept: Vec<KeptFifo>, tally: Tally) -> Fifos {
        // SAFETY: passed on to the caller.
        let take = |kept: KeptFifo| unsafe { Pipe::take(kept) };
        let inherited = kept.into_iter().filter_map(take).collect();
        Fifos { pipes: Vec::new(), inherited, started: false, tally }
    }

    /// The programs that read the pipes of `spec`, each with the path that it reads. One whose pipe could not be made has
    /// nothing to read; one whose pipe is there and cannot be opened by us may still have another use for it.
    pub fn readers(spec: &Spec) -> Vec<(Run, String)> {
        let there = |fifo: &Fifo| std::fs::symlink_metadata(&*fifo.path).is_ok();
        let fifos = distinct(spec).into_iter().map(|(fifo, _)| fifo).filter(|fifo| there(fifo));
        fifos.filter_map(|fifo| Some((fifo.reader.clone()?, fifo.path.to_string()))).collect()
    }

    /// Closes and removes the pipes of the last configuration and makes those of `spec`, in keepalived's order: the
    /// global one first. Must be called before [`Fifos::readers`] are started.
    fn open(&mut self, spec: &Spec) {
        self.close();
        let mut inherited = std::mem::take(&mut self.inherited);
        for (fifo, hears) in distinct(spec) {
            if let Some(place) = inherited.iter().position(|pipe| pipe.path == Path::new(&*fifo.path)) {
                self.pipes.push(Pipe { hears, ..inherited.swap_remove(place) });
                continue;
            }
            match Pipe::open(fifo) {
                Ok(pipe) => self.pipes.push(Pipe { hears, ..pipe }),
                Err(error) => {
                    tracing::warn!(target: "vrrp", "Unable to open notify fifo {}: {}", fifo.path, words::os(&error))
                }
            }
        }
        inherited.into_iter().for_each(Pipe::remove);
    }

    fn close(&mut self) {
        for pipe in self.pipes.drain(..) {
            self.tally.fifo_line(&pipe.path.to_string_lossy(), 0);
            pipe.remove();
        }
    }

    fn write(&mut self, line: &str) {
        self.write_to(line, |hears| hears.vrrp);
    }

    fn write_to(&mut self, line: &str, who: impl Fn(Hears) -> bool) {
        for pipe in self.pipes.iter_mut().filter(|pipe| who(pipe.hears)) {
            match pipe.file.write(line.as_bytes()) {
                Ok(_) => {
                    let lost = self.tally.fifo_line(&pipe.path.to_string_lossy(), 0);
                    if lost > 0 {
                        let lines = if lost == 1 { "line" } else { "lines" };
                        tracing::info!(
                            target: "vrrp",
                            "notify fifo {} is read again; {lost} {lines} found no room and were lost",
                            pipe.path.display()
                        );
                    }
                }
                // Once until there is room again.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.tally.fifo_line(&pipe.path.to_string_lossy(), 1) == 0 {
                        tracing::warn!(
                            target: "vrrp",
                            "notify fifo {} is full: nobody reads it, and its lines are lost until somebody does",
                            pipe.path.display()
                        );
                    }
                }
                Err(error) => {
                    tracing::warn!(target: "vrrp", "notify fifo {} write error: {}", pipe.path.display(), words::os(&error));
                }
            }
        }
    }

    /// Groups come first, as everywhere.
    fn write_states(&mut self, cx: &Context<'_>) {
        for group in &cx.spec.groups {
            let mut roles = group.members.iter().map(|id| cx.role(*id));
            let first = roles.next().filter(|first| roles.all(|role| role == *first));
            if let Some(told) = first.and_then(Told::of) {
                self.write(&group_line(&group.name, told.word()));
            }
        }
        for (index, instance) in cx.spec.instances.iter().enumerate() {
            let id = crate::spec::InstanceId(index as u32);
            if let Some(told) = Told::of(cx.role(id)) {
                self.write(&instance_line(&instance.name, told.word(), cx.priority(id).0));
            }
        }
    }
}

/// `notify_fifo`, `vrrp_notify_fifo`, `lvs_notify_fifo`, each with what goes into it. A second pipe of the same name is
/// the first one.
fn distinct(spec: &Spec) -> Vec<(&Fifo, Hears)> {
    let balance = &spec.balance;
    let both = Hears { vrrp: true, balance: !balance.services.is_empty() };
    let all = [
        (spec.daemon.fifo.as_ref(), both),
        (spec.daemon.vrrp_fifo.as_ref(), Hears { vrrp: true, balance: false }),
        (balance.settings.fifo.as_ref(), Hears { vrrp: false, balance: true }),
    ];
    let mut out: Vec<(&Fifo, Hears)> = Vec::new();
    for (fifo, hears) in all.into_iter().filter_map(|(fifo, hears)| Some((fifo?, hears))) {
        match out.iter_mut().find(|(other, _)| other.path == fifo.path) {
            Some((_, known)) => {
                *known = Hears { vrrp: known.vrrp || hears.vrrp, balance: known.balance || hears.balance };
            }
            None => out.push((fifo, hears)),
        }
    }
    out
}

/// The line of an instance.
pub fn instance_line(name: &str, state: &str, priority: u8) -> String {
    format!("INSTANCE \"{name}\" {state} {priority}\n")
}

/// The line of a sync group, whose priority is always 0.
pub fn group_line(name: &str, state: &str) -> String {
    format!("GROUP \"{name}\" {state} 0\n")
}

/// The line or nothing that is put into the pipes, if [`super::notify::Gate`] lets it through.
pub fn line(telling: &Telling<'_>, cx: &Context<'_>) -> Option<String> {
    match *telling {
        Telling::Instance { id, to, .. } => Some(instance_line(cx.name(id), Told::of(to)?.word(), cx.priority(id).0)),
        Telling::Group { id, to } => Some(group_line(cx.group_name(id), Told::of(to)?.word())),
        Telling::HeardLower(id) => Some(instance_line(cx.name(id), "MASTER_RX_LOWER_PRI", cx.priority(id).0)),
        Telling::Priority { id, to } => {
            cx.instance(id).filter(|i| i.notify.priority_changes)?;
            let word = match cx.role(id) {
                Role::Master => "MASTER_PRIORITY",
                _ => "BACKUP_PRIORITY",
            };
            Some(instance_line(cx.name(id), word, to.0))
        }
        Telling::Stopped(id) => Some(instance_line(cx.name(id), "STOP", cx.priority(id).0)),
        Telling::Deleted { name, was } => {
            let instance = cx.deleted(name)?;
            Some(instance_line(name, deleted_word(&instance.notify, was)?.word(), instance.priority.0))
        }
        Telling::Refused { .. } => None,
    }
}

impl Observer for Fifos {
    fn told(&mut self, telling: &Telling<'_>, cx: &Context<'_>, _: &mut Wishes) {
        if let Some(line) = line(telling, cx).filter(|_| !self.pipes.is_empty()) {
            self.write(&line);
        }
    }

    fn balance(&mut self, event: &crate::balance::io::Event, _: &Context<'_>, _: &mut Wishes) {
        if let Some(line) = super::balance::line(event).filter(|_| !self.pipes.is_empty()) {
            self.write_to(&line, |hears| hears.balance);
        }
    }

    fn reconfigured(&mut self, cx: &Context<'_>) {
        self.open(cx.spec);
        if std::mem::replace(&mut self.started, true) && cx.spec.daemon.fifo_states_on_reload {
            self.write_states(cx);
        }
    }

    fn hand_over(&mut self, kept: &mut Vec<KeptFifo>) {
        for pipe in &self.pipes {
            if rustix::io::fcntl_setfd(&pipe.file, rustix::io::FdFlags::empty()).is_ok() {
                kept.push(KeptFifo { path: pipe.path.clone(), fd: pipe.file.as_raw_fd(), ours: pipe.ours });
            }
        }
    }

    fn stopped(&mut self, cx: &Context<'_>, _: &mut Wishes) {
        for group in &cx.spec.groups {
            self.write(&group_line(&group.name, "STOP"));
        }
    }
}

impl Drop for Fifos {
    fn drop(&mut self) {
        self.close();
    }
}

impl Pipe {
    /// `None` if the descriptor is not the FIFO that now stands at the path.
    ///
    /// # Safety
    /// The descriptor must belong to nobody else in this process.
    unsafe fn take(kept: KeptFifo) -> Option<Pipe> {
        // SAFETY: the caller's promise.
        let file = File::from(unsafe { OwnedFd::from_raw_fd(kept.fd) });
        let (open, there) = (file.metadata().ok()?, std::fs::symlink_metadata(&kept.path).ok()?);
        let same =
            (there.is_file() || there.file_type().is_fifo()) && (open.dev(), open.ino()) == (there.dev(), there.ino());
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::CLOEXEC).ok()?;
        same.then_some(Pipe { path: kept.path, file, ours: kept.ours, hears: Hears::default() })
    }

    fn remove(self) {
        if self.ours {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    fn open(fifo: &Fifo) -> io::Result<Pipe> {
        let path = Path::new(&*fifo.path);
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o644);
        let ours = match nix::unistd::mkfifo(path, mode) {
            Ok(()) => true,
            Err(nix::errno::Errno::EEXIST) => false,
            Err(error) => return Err(error.into()),
        };
        // Appending makes no difference to a FIFO, and writes over nothing in a file.
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(path)?;
        let meta = file.metadata()?;
        let expected = [fifo.uid, nix::unistd::geteuid().as_raw()];
        if meta.is_file() {
            // Whoever may write into the folder could have put another name of any file here.
            if meta.nlink() != 1 || !expected.contains(&meta.uid()) {
                return Err(io::Error::other("it is a file of another user or with another name, and not a FIFO"));
            }
            tracing::warn!(
                target: "vrrp",
                "notify fifo {} is a file and not a FIFO: lines are appended to it, and it grows. Remove it, and a FIFO is made",
                path.display()
            );
        } else if !ours && !meta.file_type().is_fifo() {
            return Err(io::Error::other("it exists and is not a FIFO"));
        }
        // An application may have made it for itself to read, as with 2.2.7.
        if !ours && !meta.is_file() && !expected.contains(&meta.uid()) {
            tracing::info!(
                target: "vrrp",
                "notify fifo {} belongs to uid {}, who can read what is written there",
                path.display(),
                meta.uid()
            );
        }
        if ours {
            std::os::unix::fs::fchown(&file, Some(fifo.uid), Some(fifo.gid))?;
        }
        Ok(Pipe { path: path.to_owned(), file, ours, hears: Hears::default() })
    }
}

//! What systemd is told (sd_notify), and its watchdog. Without systemd all of it does nothing.

use crate::daemon::answers::LastReload;
use crate::daemon::loops::bfd;
use crate::daemon::loops::checker;
use crate::daemon::loops::vrrp::ToEngine;
use crate::observe::Context;
use crate::spec::{InstanceId, first_few};
use crate::vrrp::io::Role;
use sd_notify::NotifyState;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// The configuration is in force, or the one before it goes on because the last reload was refused.
pub fn ready(now: &Context<'_>, last: Option<&LastReload>) {
    let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&status(now, last))]);
}

/// An instance has changed its state: `systemctl status` shows it.
pub fn changed(now: &Context<'_>, last: Option<&LastReload>) {
    if std::env::var_os("NOTIFY_SOCKET").is_some() {
        let _ = sd_notify::notify(&[NotifyState::Status(&status(now, last))]);
    }
}

/// How many instances are in which state, which of them are in FAULT, and what became of the last reload if it was refused.
fn status(now: &Context<'_>, last: Option<&LastReload>) -> String {
    let roles: Vec<Role> = (0..now.spec.instances.len()).map(|at| now.role(InstanceId(at as u32))).collect();
    let mut parts = Vec::new();
    for (role, word) in [(Role::Master, "MASTER"), (Role::Backup, "BACKUP"), (Role::Fault, "FAULT")] {
        let count = roles.iter().filter(|other| **other == role).count();
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    let mut status = format!("{} VRRP instances", roles.len());
    if !parts.is_empty() {
        status += &format!(": {}", parts.join(", "));
    }
    let faulty = now.spec.instances.iter().zip(&roles).filter(|(_, role)| **role == Role::Fault);
    let faulty: Vec<&str> = faulty.map(|(instance, _)| &*instance.name).collect();
    if !faulty.is_empty() {
        status += &format!(" ({})", first_few(faulty.into_iter(), 4, ", "));
    }
    if let Some(refused) = last.filter(|reload| !reload.accepted) {
        status += &format!("; the last reload was refused, the configuration before it goes on: {}", refused.message);
    }
    status
}

/// Another configuration is being read; `Type=notify-reload` wants to know since when.
pub fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    states.extend(NotifyState::monotonic_usec_now().ok());
    let _ = sd_notify::notify(&states);
}

pub(crate) fn stopping() {
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
}

/// Tells systemd that the engine is alive, as long as it answers.
#[derive(Debug)]
pub struct Watchdog {
    every: Duration,
    next: Instant,
    /// The engine, the bfd thread and the checker thread have been asked.
    asked: Option<[oneshot::Receiver<()>; 3]>,
}

impl Watchdog {
    /// `None` when the unit has no `WatchdogSec=`.
    pub fn from_environment() -> Option<Watchdog> {
        let every = sd_notify::watchdog_enabled()? / 3;
        Some(Watchdog { every, next: Instant::now(), asked: None })
    }

    /// Waits until it is time, asks the three, and reports when they have answered. A bfd or checker thread that has ended
    /// is no reason to end everything: VRRP goes on without. Cancel-safe.
    pub async fn due(&mut self, engine: &mpsc::UnboundedSender<ToEngine>, bfd: &bfd::Door, checker: &checker::Door) {
        sleep_until(self.next).await;
        let [of_engine, of_bfd, of_checker] = match &mut self.asked {
            Some(asked) => asked,
            None => {
                let ((answer, of_engine), (from_bfd, of_bfd)) = (oneshot::channel(), oneshot::channel());
                let (from_checker, of_checker) = oneshot::channel();
                let _ = engine.send(ToEngine::Ping(answer));
                bfd.send(bfd::ToBfd::Ping(from_bfd));
                checker.send(checker::ToChecker::Ping(from_checker));
                self.asked.insert([of_engine, of_bfd, of_checker])
            }
        };
        // Asked again after it has answered, a channel would panic: whoever is cancelled in between keeps its place.
        for beside in [of_bfd, of_checker] {
            if !beside.is_terminated() {
                let _ = beside.await;
            }
        }
        if of_engine.await.is_ok() {
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        }
        self.asked = None;
        self.next = Instant::now() + self.every;
    }
}

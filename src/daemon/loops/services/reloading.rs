//! Reload as the services thread sees it: one at a time, read aside, refused or handed to the engine, and what follows
//! when a Spec has come into force.
//!
//! It decides nothing about a configuration: [`reload::refuse`] says whether it may be used, the engine goes over.

use super::Phase;
use super::Services;
use crate::balance::io as balance;
use crate::daemon::answers::LastReload;
use crate::daemon::doors::socket::Reply;
use crate::daemon::dumps;
use crate::daemon::loops::bfd;
use crate::daemon::loops::checker;
use crate::daemon::loops::vrrp::{FromEngine, ToEngine};
use crate::daemon::reading;
use crate::daemon::reload::{self, Read};
use crate::daemon::schedule::Schedule;
use crate::daemon::systemd;
use crate::daemon::trackers;
use crate::kernel::{clock, memory};
use crate::observe::changes;
use crate::spec::Spec;
use crate::vrrp::io::{Event, Role};
use crate::vrrp::snapshot::Snapshot;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// After this the other threads have gone over to a new Spec as well, and the old one is free.
const GONE_OVER: Duration = Duration::from_secs(1);

impl Services {
    pub(super) fn reload(&mut self, asker: Option<oneshot::Sender<Reply>>) {
        self.askers.extend(asker);
        if self.is_reloading() || self.phase == Phase::Starting {
            self.again = true;
            return;
        }
        if self.phase != Phase::Running {
            return self.tell_all_that_it_stops();
        }
        tracing::info!(target: "parent", "Reloading ...");
        systemd::reloading();
        let marker = reload::marker_path(self.parts.hub.spec(), &self.parts.pid_file);
        let check = self.parts.hub.spec().daemon.reload_check.clone();
        self.reading = Some(reload::read_aside(self.parts.options.clone(), marker, check));
    }

    /// Has the engine go over to another Spec, as soon as it is known what its files and processes say.
    pub(super) fn go_over(&mut self, spec: Arc<Spec>) {
        self.save_states("pre");
        // Sessions first: VRRP goes over with what they say under their new names.
        let (answer, levels) = oneshot::channel();
        self.parts.bfd.send(bfd::ToBfd::Reload(spec.clone(), answer));
        let (trackers, engine) = (self.parts.trackers.clone(), self.parts.engine.clone());
        let checker = self.parts.checker.clone();
        self.answers.spawn(async move {
            let mut readings = trackers.configure(spec.clone()).await;
            checker.send(checker::ToChecker::Reload(spec.clone(), trackers::of_files(&spec, &readings)));
            let levels = levels.await.unwrap_or_default();
            readings.extend(trackers::of_sessions(&spec, levels.iter().map(|(name, up)| (&**name, *up))));
            let _ = engine.send(ToEngine::Reload(spec, readings));
        });
    }

    /// A configuration is being read, or on its way to the engine.
    pub(super) fn is_reloading(&self) -> bool {
        self.reading.is_some() || self.on_its_way.is_some()
    }

    pub(super) fn read(&mut self, read: Read) {
        let running = self.parts.hub.spec().clone();
        let report = reading::plain(&read.diagnostics);
        for line in report.lines() {
            tracing::warn!(target: "parent", "{line}");
        }
        if let Some(reason) = reload::refuse(&running, &self.parts.mistakes, &read) {
            self.reload_refused(&reason, (!report.is_empty()).then_some(report));
            return;
        }
        tracing::debug!(target: "parent", "The configuration was read in {:?}", read.took);
        self.on_its_way = Some(reload::mistakes(&read.diagnostics));
        if let Some(spec) = read.spec {
            let spec = Arc::new(reading::within(spec, &self.parts.options));
            self.go_over(spec);
        }
    }

    pub(super) fn reload_refused(&mut self, reason: &str, diagnostics: Option<String>) {
        let event = Event::ReloadRefused { reason: reason.into() };
        self.told(FromEngine::Event(event, clock::now()));
        self.note_reload(false, reason);
        self.tell_askers(&Reply::Refused { reason: reason.to_owned(), diagnostics });
        systemd::ready(&self.parts.hub.context(), self.last_reload.as_ref());
        if std::mem::take(&mut self.again) {
            self.reload(None);
        }
    }

    /// For `status`, for systemd, for metrics and, when it was accepted, for history, which hears of a refusal by itself.
    fn note_reload(&mut self, accepted: bool, message: &str) {
        let unix_micros = clock::wall().unix_micros;
        if accepted {
            self.parts.history.reloaded(unix_micros, message);
            self.parts.tally.in_force(unix_micros, true);
        } else {
            self.parts.tally.reload_refused();
        }
        self.last_reload = Some(LastReload { unix_micros, accepted, message: message.to_owned() });
    }

    pub(super) fn tell_askers(&mut self, reply: &Reply) {
        for asker in self.askers.drain(..) {
            let _ = asker.send(reply.clone());
        }
    }

    /// A Spec is in force: the first, or another one after a reload.
    pub(super) fn in_force(&mut self, spec: Arc<Spec>, snapshot: &Snapshot) {
        let before = self.parts.hub.spec().clone();
        self.parts.hub.reconfigure(spec.clone(), snapshot);
        // Nothing becomes master that an upgrade has handed on, or that has only another name.
        let masters = snapshot.instances.iter().map(|view| view.state == Role::Master);
        let roles = spec.instances.iter().map(|own| own.name.clone()).zip(masters).collect();
        self.parts.checker.send(checker::ToChecker::Fact(balance::Input::Roles(roles)));
        if self.read == 0 && self.phase != Phase::Starting {
            // It was told to stop before it began.
            return;
        }
        self.notifications.readers(&spec);
        if self.phase == Phase::Starting {
            self.phase = Phase::Running;
            self.parts.tally.in_force(clock::wall().unix_micros, false);
            tracing::info!(target: "parent", "Startup complete");
        } else if let Some(mistakes) = self.on_its_way.take() {
            // What fell or rose while the reload was prepared is newer than what it was prepared with.
            self.parts.trackers.repeat();
            self.parts.bfd.send(bfd::ToBfd::Repeat);
            self.parts.mistakes = mistakes;
            tracing::info!(target: "parent", "Reload complete");
            let changed = changes::line(&changes::between(&before, &spec));
            tracing::info!(target: "parent", "Reloaded: {changed}");
            self.note_reload(true, &changed);
            self.tell_askers(&Reply::Done { message: changed });
            self.save_states("post");
        }
        systemd::ready(&self.parts.hub.context(), self.last_reload.as_ref());
        self.keep(&spec, snapshot);
        if memory::may_give_back(&spec.daemon) {
            self.answers.spawn(async {
                tokio::time::sleep(GONE_OVER).await;
                memory::give_back();
            });
        }
        self.leave();
        if std::mem::take(&mut self.again) {
            self.reload(None);
        }
    }

    /// `config_save_dir`: the state of every part as it is now, before (`pre`) or after (`post`) the reload that is under way.
    fn save_states(&mut self, when: &'static str) {
        let (spec, number) = (self.parts.hub.spec().clone(), self.read);
        let Some(directory) = spec.daemon.config_save_dir.clone() else { return };
        let state = self.snapshot();
        let sessions = self.has_bfd().then(|| self.sessions());
        let servers = self.has_checker().then(|| self.services());
        let writer = self.parts.writer.clone();
        self.answers.spawn(async move {
            let state = state.await.ok();
            let sessions = match sessions {
                Some(sessions) => sessions.await.ok(),
                None => None,
            };
            let servers = match servers {
                Some(servers) => servers.await.ok(),
                None => None,
            };
            super::write(&writer, "states in config_save_dir", move || {
                let vrrp = state.map(|state| ("vrrp", dumps::text(dumps::Kind::Data, &spec, &state)));
                let bfd = sessions.map(|sessions| ("bfd", dumps::bfd(&spec, &sessions)));
                let check = servers.map(|servers| ("check", dumps::check(&spec, &servers)));
                for (part, text) in [vrrp, bfd, check].into_iter().flatten() {
                    dumps::save(&directory, number, part, when, &text);
                }
            });
        });
    }

    /// What is written down or watched because of a configuration that has come into force.
    fn keep(&mut self, spec: &Arc<Spec>, snapshot: &Snapshot) {
        let daemon = &spec.daemon;
        self.schedule = daemon.reload_time_file.as_deref().map(|path| Schedule::new(path, daemon.reload_repeat));
        if let Some(directory) = &daemon.config_save_dir {
            let (directory, number, options) = (directory.clone(), self.read, self.parts.options.clone());
            super::write(&self.parts.writer, "the configuration in config_save_dir", move || {
                reading::save(&directory, number, &options);
            });
        }
        self.read += 1;
        if self.parts.options.dump {
            for line in dumps::text(dumps::Kind::Data, spec, snapshot).lines() {
                tracing::info!(target: "vrrp", "{line}");
            }
        }
    }
}

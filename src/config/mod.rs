//! Text → [`Spec`](crate::spec::Spec), with diagnostics; no kernel, no daemon, files only through
//! [`source::Loader`], the machine only through [`system::System`].
//!
//! The way of a configuration: `expand` makes plain lines out of files, `tree` makes nodes out of lines, the tables of
//! `block` make settings out of nodes, `resolve` makes the [`Spec`] out of settings. Each step complains into one
//! [`Diagnostics`] and goes on with what it understood.

#[macro_use]
pub mod table;
pub mod balance;
pub mod bfd;
pub mod global;
pub mod line;
pub mod pair;
pub mod report;
pub mod resolve;
pub mod security;
pub mod system;
pub mod text;
pub mod top;
pub mod vrrp;

use crate::spec::Spec;
use crate::spec::balance::LvsSpec;
use report::{Class, Diagnostics, Secrets, odd, template};
use std::sync::Arc;
use system::System;
use table::block::Cx;
use text::expand::Text;
use text::source::Loader;
use text::tree::Nodes;

/// What a configuration depends on beside its files.
pub struct Env<'a> {
    /// What the text level wants to know: config id, environment variables, seed, strict includes.
    pub text: text::expand::TextEnv,
    pub system: &'a dyn System,
}

/// For which subsystems a configuration is read. keepalived has a process for each: what only others read may be as wrong as
/// it will, and ends nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subsystems {
    pub vrrp: bool,
    /// Virtual servers and their checks.
    pub checkers: bool,
    pub bfd: bool,
}

impl Subsystems {
    /// As `-t` reads it.
    pub const ALL: Subsystems = Subsystems { vrrp: true, checkers: true, bfd: true };
}

/// Everything that a configuration says.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// What VRRP is told; `None` exactly when keepalived 2.4.3 would not start with it: an argument that it cannot do
    /// without is missing, an include that must not fail failed, the main file is not there, or the settings together
    /// cannot be run. Mere mistakes leave a `Spec` of what was understood.
    pub spec: Option<Spec>,
    /// What load balancing is told: the same as in `spec`, and there even when VRRP cannot be run.
    pub lvs: Arc<LvsSpec>,
    /// BFD sessions that could run.
    pub sessions: Vec<crate::spec::bfd::Session>,
    pub diagnostics: Diagnostics,
}

/// Reads a configuration. [`Diagnostics::exit_code`] is the exit code of `keepalived -t`; when the [`Spec`] is `None`
/// is said at [`Loaded::spec`].
pub fn load(root: &str, env: &Env<'_>, files: &dyn Loader) -> (Option<Spec>, Diagnostics) {
    let loaded = load_all(root, env, files);
    (loaded.spec, loaded.diagnostics)
}

/// Reads a configuration with everything in it.
pub fn load_all(root: &str, env: &Env<'_>, files: &dyn Loader) -> Loaded {
    load_for(root, Subsystems::ALL, env, files)
}

/// Reads what concerns `subsystems`; the rest is passed over unread.
pub fn load_for(root: &str, subsystems: Subsystems, env: &Env<'_>, files: &dyn Loader) -> Loaded {
    load_with(root, |_| subsystems, env, files)
}

/// As [`load_for`], but without a subsystem that has nothing to run, for which keepalived starts no process.
pub fn load_what_runs(root: &str, subsystems: Subsystems, env: &Env<'_>, files: &dyn Loader) -> Loaded {
    let run = |nodes: &Nodes<'_, '_>| Subsystems {
        vrrp: subsystems.vrrp && nodes.has_line_of(top::RUN_BY_VRRP),
        checkers: subsystems.checkers && nodes.has_line_of(&["virtual_server"]),
        ..subsystems
    };
    load_with(root, run, env, files)
}

fn load_with(
    root: &str,
    subsystems: impl Fn(&Nodes<'_, '_>) -> Subsystems,
    env: &Env<'_>,
    files: &dyn Loader,
) -> Loaded {
    let mut diagnostics = Diagnostics::default();
    let text = text::expand::read(root, &env.text, files, &mut diagnostics);
    let mut loaded = understand(&text, subsystems, env, files, diagnostics);
    template::fold(text.buffer(), &mut loaded.diagnostics);
    template::name_placeholders(text.buffer(), &mut loaded.diagnostics);
    odd::name_all(text.buffer(), &mut loaded.diagnostics);
    if !loaded.diagnostics.list.is_empty() {
        loaded.diagnostics.secrets = Secrets::find(&loaded.diagnostics.sources.files, text.buffer());
    }
    loaded
}

/// From the expanded text on.
fn understand(
    text: &Text,
    subsystems: impl Fn(&Nodes<'_, '_>) -> Subsystems,
    env: &Env<'_>,
    files: &dyn Loader,
    diagnostics: Diagnostics,
) -> Loaded {
    let mut loaded = Loaded { diagnostics, ..Loaded::default() };
    let diagnostics = &mut loaded.diagnostics;
    let include_failed = diagnostics.list.iter().any(|d| d.class == Class::Include);
    let mut cx = Cx::new(env, line::names::Names::customary(), diagnostics);
    let mut nodes = Nodes::new(text, &table::keywords::Language);
    cx.subsystems = subsystems(&nodes);
    let mut top = top::read(&mut nodes, files, &mut cx);
    // Where reading stopped, braces and quotes are looked at all the same.
    while nodes.next(cx.diagnostics).is_some() {}
    if cx.aborted || include_failed || text.root_missing {
        return loaded;
    }
    let lvs = std::mem::take(&mut top.lvs);
    let namespace = top.net_namespace_ipvs.value().filter(|name| !name.is_empty());
    loaded.sessions = top.bfd.usable.iter().map(|(_, session)| session.clone()).collect();
    balance::resolve::sync_daemon_of_instance(&top.instances, &mut cx);
    loaded.spec = resolve::resolve(top, &mut cx);
    let mut lvs = balance::resolve::resolve(lvs, loaded.spec.as_ref(), &mut cx);
    lvs.settings.namespace = namespace;
    loaded.lvs = Arc::new(lvs);
    if let Some(spec) = &mut loaded.spec {
        spec.daemon.virtual_servers = loaded.lvs.services.len() as u32;
        spec.balance = loaded.lvs.clone();
    }
    loaded
}

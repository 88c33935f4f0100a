//! What the worlds share: whether they can be played here, waiting for a state, and running all of them at once.
//!
//! A world mostly waits for timers, so all of them run side by side from the first test on that asks for one: the tests
//! then wait for theirs. Without this the two processors of a small machine would play two worlds at a time.

use super::machine::Machine;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{LazyLock, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A state must be there within this, or the world has gone wrong: far more than any timer in the examples.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until something is so; how long that took.
pub fn until(what: &str, machines: &[&Machine], so: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !so() {
        if start.elapsed() > PATIENCE {
            let logs: Vec<String> = machines
                .iter()
                .map(|m| {
                    let log = m.log();
                    let last: Vec<&str> = log.lines().rev().take(25).collect();
                    let last: Vec<&str> = last.into_iter().rev().collect();
                    format!("--- {}: {}\n{}", m.name, m.must("ip -br addr"), last.join("\n"))
                })
                .collect();
            panic!("not seen: {what}\n{}", logs.join("\n"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    start.elapsed()
}

/// Something stays so for a while.
pub fn stays(what: &str, length: Duration, so: impl Fn() -> bool) {
    let end = Instant::now() + length;
    while Instant::now() < end {
        assert!(so(), "it should stay so: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What keeps the worlds from being played here, if anything does.
pub fn missing(programs: &[&str]) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("not root".into());
    }
    let places = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let there = |name: &&&str| places.iter().any(|d| Path::new(d).join(name).is_file());
    let absent: Vec<&&str> = programs.iter().filter(|p| !there(p)).collect();
    (!absent.is_empty()).then(|| format!("not installed: {absent:?}"))
}

pub struct World {
    pub name: &'static str,
    pub programs: &'static [&'static str],
    pub play: fn(),
}

static PLAYING: LazyLock<Mutex<BTreeMap<&'static str, JoinHandle<()>>>> = LazyLock::new(|| {
    let filters: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wanted = |w: &&World| filters.is_empty() || filters.iter().any(|f| w.name.contains(f.as_str()));
    let start = |w: &World| (w.name, std::thread::Builder::new().name(w.name.into()).spawn(w.play).unwrap());
    Mutex::new(super::WORLDS.iter().filter(wanted).filter(|w| missing(w.programs).is_none()).map(start).collect())
});

/// Plays a world, or joins it where it plays already. Without root or its programs it is skipped, which is a failure
/// with VIPD_REQUIRE_NETNS=1.
pub fn play(name: &str) {
    let world = super::WORLDS.iter().find(|w| w.name == name).unwrap();
    if let Some(why) = missing(world.programs) {
        assert!(std::env::var_os("VIPD_REQUIRE_NETNS").is_none(), "{name}: {why}");
        eprintln!("skipped: {name}: {why}");
        return;
    }
    let playing = PLAYING.lock().unwrap().remove(name);
    match playing.map(JoinHandle::join) {
        Some(Ok(())) => {}
        // Its own words went to the output of whichever test began the worlds.
        Some(Err(panic)) => match panic.downcast_ref::<String>() {
            Some(words) => panic!("{words}"),
            None => std::panic::resume_unwind(panic),
        },
        None => (world.play)(),
    }
}

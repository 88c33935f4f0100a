//! The steady path asks the allocator for nothing: counted, not timed.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "engine/harness.rs"]
mod harness;

use harness::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use vipd::config::system::TableSystem;
use vipd::config::text::expand::TextEnv;
use vipd::config::text::source::MapLoader;
use vipd::config::{Env, load};
use vipd::time::Time;
use vipd::vrrp::Engine;
use vipd::vrrp::io::*;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is passed on to the system allocator unchanged; counting touches only a thread-local cell.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn counted(act: impl FnOnce()) -> u64 {
    let before = COUNT.with(Cell::get);
    act();
    COUNT.with(Cell::get) - before
}

fn drain(engine: &mut Engine) -> usize {
    std::iter::from_fn(|| engine.poll()).filter(|action| matches!(action, Action::Transmit(_))).count()
}

#[test]
fn a_backup_that_hears_its_master_allocates_nothing() {
    for of in [v2(1, 100), instance(1, 100), unicast(1, 100, &["10.0.0.2"])] {
        let voice = Voice::of(&of, "10.0.0.2", 200);
        let (meta, bytes) = (voice.meta(), voice.datagram());
        let mut engine = Engine::new(Arc::new(spec(vec![of])), links(), Time::ZERO);
        let mut now = Time::ZERO;
        let mut hear = |engine: &mut Engine| {
            now += ms(1000);
            engine.handle(Input::Datagram { meta, bytes: &bytes }, now);
        };
        hear(&mut engine);
        drain(&mut engine);
        assert_eq!(counted(|| (0..1000).for_each(|_| hear(&mut engine))), 0);
        assert_eq!(drain(&mut engine), 0);
        assert_eq!(engine.snapshot(Time::ZERO).instances[0].counters.advert_rcvd, 1001);
    }
}

#[test]
fn a_master_that_sends_allocates_nothing() {
    // AH and two unicast peers as well: what was sent is gone by the time of the next, so its bytes are written again.
    let ah = vipd::spec::InstanceSpec { auth: vipd::spec::Auth::Ah(*b"12345678"), ..v2(1, 100) };
    for (of, copies) in
        [(instance(1, 100), 1), (v2(1, 100), 1), (ah, 1), (unicast(1, 100, &["10.0.0.2", "10.0.0.3"]), 2)]
    {
        let mut engine = Engine::new(Arc::new(spec(vec![of])), links(), Time::ZERO);
        // Past the second block of announcements, which is not the steady path.
        while let Some((due, _)) = engine.deadline().filter(|(due, _)| *due < at(20_000)) {
            engine.handle(Input::Tick, due);
            drain(&mut engine);
        }
        let mut sent = 0;
        let mut allocated = 0;
        for _ in 0..1000 {
            let (due, _) = engine.deadline().unwrap();
            allocated += counted(|| {
                engine.handle(Input::Tick, due);
                sent += drain(&mut engine);
            });
        }
        assert_eq!((sent, allocated), (1000 * copies, 0));
    }
}

/// What its lines may hold is written out only of a line that somebody complains about: twelve for each server, which has six
/// lines of its own, its check and what the table is to hold.
#[test]
fn a_configuration_of_many_servers_is_read_with_few_allocations() {
    let system = TableSystem::anywhere();
    let read = |servers: usize| {
        let one = |n: usize| {
            format!(
                "real_server 10.1.{}.{} 80 {{\nTCP_CHECK {{\nconnect_timeout 2\nretry 1\ndelay_before_retry 1\n}}\n}}\n",
                n / 250,
                n % 250
            )
        };
        let servers: String = (0..servers).map(one).collect();
        let text = format!("virtual_server 10.0.0.1 80 {{\nlb_algo rr\nlb_kind NAT\nprotocol TCP\n{servers}}}\n");
        let files = MapLoader::default().with("/k.conf", text);
        let env = Env { text: TextEnv::default(), system: &system };
        counted(|| assert!(load("/k.conf", &env, &files).1.list.is_empty()))
    };
    let (few, many) = (read(500), read(1_500));
    assert!(many - few < 12 * 1_000, "{few} for 500 servers, {many} for 1500");
}

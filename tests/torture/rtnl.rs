//! RTNL is the kernel's one lock for everything that changes the network, in all namespaces. Another program may hold it
//! for as long as its own change takes, and adverts must go on meanwhile: joining a multicast group, leaving it and
//! closing a socket that is in one would wait for it.

use super::dead_mount::{DeadMount, there};
use super::ground::{Daemon, Ground, instance, ip, ready};
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Of the adverts of every instance here.
const INTERVAL: Duration = Duration::from_millis(100);
/// All namespaces share RTNL, so nobody keeps it for longer, whatever becomes of a test.
const LONGEST_HOLD: Duration = Duration::from_secs(20);

/// Times at which adverts of a virtual router arrived at the other end of the cable: the kernel's, in nanoseconds.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<u64>>>);

impl Heard {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// By how much the latest of them came later than `interval` after the one before.
    fn latest(&self, interval: Duration) -> Duration {
        let times = self.0.lock().unwrap();
        let gap = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or(0);
        Duration::from_nanos(gap).saturating_sub(interval)
    }
}

/// Hears on `far` until the other end is closed.
struct Listener {
    heard: Heard,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    fn new(ground: &Ground, vrid: u8) -> Listener {
        let (socket, far) = ground.inside(|| {
            let everything = Some(socket2::Protocol::from(i32::from((libc::ETH_P_IP as u16).to_be())));
            let socket = socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::RAW, everything).unwrap();
            nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::ReceiveTimestampns, &true).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            (socket, nix::net::if_::if_nametoindex("far").unwrap() as usize)
        });
        let (heard, over) = (Heard::default(), Arc::new(AtomicBool::new(false)));
        let (times, until) = (heard.clone(), over.clone());
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::SeqCst) {
                if let Some(at) = advert(&socket, far, vrid) {
                    times.0.lock().unwrap().push(at);
                }
            }
        });
        Listener { heard, over, thread: Some(thread) }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// When the next frame came, if it is an advert of this virtual router that came in on `far`.
fn advert(socket: &socket2::Socket, far: usize, vrid: u8) -> Option<u64> {
    use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg};
    let mut bytes = [0; 256];
    let mut space = nix::cmsg_space!(nix::sys::time::TimeSpec);
    let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
    let message = recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty()).ok()?;
    let (length, from) = (message.bytes, message.address?);
    let at = message.cmsgs().ok()?.find_map(|one| match one {
        ControlMessageOwned::ScmTimestampns(at) => Some(at.tv_sec() as u64 * 1_000_000_000 + at.tv_nsec() as u64),
        _ => None,
    })?;
    let packet = &bytes[..length];
    let is_vrrp = packet.get(23) == Some(&112) && packet.get(35) == Some(&vrid);
    (from.ifindex() == far && is_vrrp).then_some(at)
}

/// Holds RTNL from when it is made until it is dropped. An ethtool request that reads its last words under the lock has
/// them in a file that does not answer.
struct Hold<'a> {
    words: &'a DeadMount,
    holder: Option<JoinHandle<()>>,
    over: Arc<AtomicBool>,
}

impl<'a> Hold<'a> {
    fn prepared(ground: &Ground) -> DeadMount {
        DeadMount::new(ground.directory.join("words"), vec![("words", 0o644, "\0".repeat(4096))])
    }

    fn new(ground: &Ground, words: &'a DeadMount) -> Hold<'a> {
        let file = File::open(words.file("words")).unwrap();
        let socket = ground.inside(|| std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        words.mute();
        let holder = std::thread::spawn(move || refused_request(&socket, &file));
        let over = Arc::new(AtomicBool::new(false));
        let (state, until) = (words.state(), over.clone());
        std::thread::spawn(move || {
            let begun = Instant::now();
            while begun.elapsed() < LONGEST_HOLD && !until.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
            }
            if !until.load(Ordering::SeqCst) {
                state.answers();
            }
        });
        let begun = Instant::now();
        while !words.is_waited_for() {
            assert!(begun.elapsed() < LONGEST_HOLD, "RTNL is not held");
            std::thread::sleep(Duration::from_millis(1));
        }
        Hold { words, holder: Some(holder), over }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        self.words.answers();
        let _ = self.holder.take().map(JoinHandle::join);
    }
}

/// An ethtool request that lies across two pages. The kernel takes RTNL when it has its first word, in the first page, and
/// reads the rest then, out of the file.
fn refused_request(socket: &impl AsRawFd, file: &File) {
    const SIOCETHTOOL: libc::c_ulong = 0x8946;
    const ETHTOOL_GSTRINGS: u32 = 0x1b;
    const PAGE: usize = 4096;
    // SAFETY: a fresh mapping of two pages, of which the second is then replaced by the file's first, for reading; the
    // request's first word is written into the first page.
    let (request, pages) = unsafe {
        let (read, write) = (libc::PROT_READ, libc::PROT_WRITE);
        let fresh = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let pages = libc::mmap(std::ptr::null_mut(), 2 * PAGE, read | write, fresh, -1, 0);
        assert_ne!(pages, libc::MAP_FAILED);
        let second = pages.byte_add(PAGE);
        let fixed = libc::MAP_PRIVATE | libc::MAP_FIXED;
        assert_ne!(libc::mmap(second, PAGE, read, fixed, file.as_raw_fd(), 0), libc::MAP_FAILED);
        let request = second.cast::<u32>().sub(1);
        request.write(ETHTOOL_GSTRINGS);
        (request, pages)
    };
    // SAFETY: all zero is a valid request, whose fields are set below.
    let mut of: libc::ifreq = unsafe { std::mem::zeroed() };
    of.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
    of.ifr_ifru.ifru_data = request.cast();
    // SAFETY: the request and the mapping live through the call. That the request is refused in the end is all the same.
    unsafe {
        libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut of);
        libc::munmap(pages, 2 * PAGE);
    }
}

/// Joins VRRP's group in the namespace, as every socket that is to hear it must.
fn joins(ground: &Ground) -> JoinHandle<()> {
    let socket = ground.inside(|| std::net::UdpSocket::bind("0.0.0.0:0").unwrap());
    std::thread::spawn(move || {
        socket.join_multicast_v4(&Ipv4Addr::new(224, 0, 0, 18), &Ipv4Addr::new(10, 9, 0, 1)).unwrap();
    })
}

/// Names of the daemon's threads that wait for the kernel and can not be woken.
fn waiting(daemon: &Daemon) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap().flatten();
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
    stats
        .filter_map(|stat| {
            let (before, after) = stat.rsplit_once(") ")?;
            after.starts_with('D').then(|| before.split_once('(').unwrap().1.to_owned())
        })
        .collect()
}

/// The addresses of an interface.
fn on(ground: &Ground, link: &str) -> String {
    ip(&format!("-n {} -o addr show dev {link}", ground.name))
}

/// A reload has sockets opened and closed while RTNL is held: the kernel thread waits for it, and nobody else.
#[test]
fn adverts_go_on_while_a_reload_waits_for_rtnl() {
    if !ready() || !there() {
        return;
    }
    let ground = Ground::new();
    let held = Hold::prepared(&ground);
    // The configuration is read before RTNL is held, as to list interfaces takes it too: a reload goes over when it knows
    // what tracked files say, and this one does not say it.
    let level = DeadMount::new(ground.directory.join("dead"), vec![("level", 0o644, "0\n".into())]);
    let text = |more: &str| {
        let own = instance("A", 1, "10.9.0.10/24");
        let tracked = own.replace("priority 200", "priority 200\n track_file {\n  level weight 0\n }");
        format!("track_file level {{\n file {}\n}}\n{tracked}{more}", level.file("level"))
    };
    for line in ["link add other type veth peer name beyond", "link set beyond up", "link set other up"] {
        ip(&format!("-n {} {line}", ground.name));
    }
    ip(&format!("-n {} addr add 10.9.1.1/24 dev other", ground.name));
    ground.configure(&text(""));
    let daemon = ground.start("");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    let listener = Listener::new(&ground, 1);
    let go_on = |what: &str| {
        let before = listener.heard.count();
        daemon.wait_for(what, || listener.heard.count() > before + 5);
    };
    go_on("adverts");
    // One that joins a group on an interface where nobody has, and one that leaves it.
    let another = instance("B", 2, "10.9.1.20/24").replace("eth0", "other");
    for (more, there) in [(another.as_str(), true), ("", false)] {
        ground.configure(&text(more));
        level.mute();
        daemon.signal(libc::SIGHUP);
        daemon.wait_for("the configuration to be read", || level.is_waited_for());
        let hold = Hold::new(&ground, &held);
        let join = joins(&ground);
        level.answers();
        daemon.wait_for("the kernel thread to wait", || waiting(&daemon).iter().any(|name| name == "kernel"));
        go_on("adverts while the kernel thread waits for RTNL");
        assert!(waiting(&daemon).iter().any(|name| name == "kernel"), "{}", daemon.log_text());
        assert!(!join.is_finished(), "RTNL is not held");
        drop(hold);
        join.join().unwrap();
        daemon.wait_for("the reload to be whole", || on(&ground, "other").contains(" 10.9.1.20/24") == there);
    }
    assert_eq!(daemon.log_text().matches("(A) Entering").count(), 2, "{}", daemon.log_text());
    println!("RTNL held: {} adverts, the latest {:?} late", listener.heard.count(), listener.heard.latest(INTERVAL));
    assert_eq!(daemon.stop().code(), Some(0));
}

/// Adds and removes links in another namespace until told to end. To remove a group of them is one change, for which RTNL
/// is held as long as it takes.
fn storm(links: usize, over: Arc<AtomicBool>) -> JoinHandle<usize> {
    std::thread::spawn(move || {
        let space = format!("rtnl_{}", std::process::id());
        ip(&format!("netns add {space}"));
        let batch = std::env::temp_dir().join(format!("{space}.batch"));
        let line = |n: usize| format!("link add a{n} group 7 type veth peer name b{n} group 7\n");
        std::fs::write(&batch, (0..links).map(line).collect::<String>()).unwrap();
        let mut rounds = 0;
        while !over.load(Ordering::SeqCst) {
            ip(&format!("-n {space} -batch {}", batch.display()));
            ip(&format!("-n {space} link del group 7"));
            rounds += 1;
        }
        std::fs::remove_file(batch).unwrap();
        ip(&format!("netns del {space}"));
        rounds
    })
}

/// Thousands of links come and go elsewhere, while an interface appears here and a reload adds an instance.
#[test]
fn adverts_go_on_while_links_come_and_go_by_the_thousand() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let globals = "global_defs {\n dynamic_interfaces\n}\n";
    let first = instance("A", 1, "10.9.0.10/24");
    let late = instance("L", 3, "10.9.1.30/24").replace("eth0", "late");
    ground.configure(&format!("{globals}{first}{late}"));
    let daemon = ground.start("");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    let listener = Listener::new(&ground, 1);
    let over = Arc::new(AtomicBool::new(false));
    let storm = storm(super::count(500), over.clone());
    for round in 0..2_u8 {
        let before = listener.heard.count();
        ip(&format!("-n {} link add late type veth peer name beyond", ground.name));
        for line in ["link set beyond up", "addr add 10.9.1.1/24 dev late", "link set late up"] {
            ip(&format!("-n {} {line}", ground.name));
        }
        daemon.wait_for("an instance on what appeared", || on(&ground, "late").contains(" 10.9.1.30/24"));
        let more = instance("M", 10 + round, &format!("10.9.0.{}/24", 40 + round));
        ground.configure(&format!("{globals}{first}{late}{more}"));
        daemon.signal(libc::SIGHUP);
        daemon.wait_for_address(&ground, &format!("10.9.0.{}/24", 40 + round), true);
        ip(&format!("-n {} link del late", ground.name));
        daemon.wait_for("adverts", || listener.heard.count() > before + 5);
    }
    over.store(true, Ordering::SeqCst);
    let rounds = storm.join().unwrap();
    assert_eq!(daemon.log_text().matches("(A) Entering").count(), 2, "{}", daemon.log_text());
    println!(
        "links came and went {rounds} times: {} adverts, the latest {:?} late",
        listener.heard.count(),
        listener.heard.latest(INTERVAL)
    );
    assert!(rounds > 0);
    assert_eq!(daemon.stop().code(), Some(0));
}

//! What the kernel takes by itself: the same work, done by a client that does nothing else.

use crate::lan::{Lan, SERVERS, server};
use crate::work::{self, Hogs};
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::process::Command;
use std::time::{Duration, Instant};
use vipd::kernel::{namespace, privilege};
use vipd::spec::ThreadSpec;
use vipd::wire::PROTOCOL_VRRP;
use vipd::wire::frames::{TTL, ipv4_header};

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// Milliseconds that `ip -batch` takes to add so many addresses.
pub fn addresses(count: usize) -> f64 {
    let _lan = Lan::new(1);
    let mut text = String::new();
    for n in 0..count {
        let _ = writeln!(text, "addr add 10.0.{}.{}/32 dev eth0", 64 + n / 250, 1 + n % 250);
    }
    let file = std::env::temp_dir().join("vipdbench.batch");
    std::fs::write(&file, &text).unwrap();
    let begun = Instant::now();
    let done = Command::new("ip").args(["-n", SERVERS[0], "-batch"]).arg(&file).status();
    if done.is_ok_and(|status| status.success()) { begun.elapsed().as_secs_f64() * 1e3 } else { f64::NAN }
}

/// Microseconds of processor for an advert: of a loop that sleeps and sends it, and of one that waits for it in `recv`.
pub fn adverts(interval: f64) -> io::Result<[f64; 2]> {
    const TIME: f64 = 8.0;
    let _lan = Lan::new(1);
    let count = (TIME / interval) as u32;
    let [IpAddr::V4(source), IpAddr::V4(receiver)] = [server(0), server(1)] else {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    };
    std::thread::scope(|scope| {
        let receiving = scope.spawn(|| namespace::inside(SERVERS[1], || receive(receiver, count)));
        // It is to listen first.
        std::thread::sleep(Duration::from_millis(200));
        let sent = namespace::inside(SERVERS[0], || send(source, Duration::from_secs_f64(interval), count))?;
        let received = receiving.join().map_err(|_| io::Error::from(io::ErrorKind::Other))??;
        Ok([sent, received])
    })
}

/// Gaps between the adverts of such a loop beside so many processes that count, by the names of [`work::cadence`]'s figures.
pub fn cadence(interval: f64, hogs: usize, time: Duration, real_time: Option<u8>) -> Vec<(&'static str, Vec<f64>)> {
    // What comes over a longer time is the machine's, and in the daemons' figures.
    let time = time.min(Duration::from_secs(60));
    let mut lan = Lan::new(1);
    let IpAddr::V4(source) = server(0) else { return Vec::new() };
    let _beside = Hogs::begin(hogs);
    let figures = std::thread::scope(|scope| {
        scope.spawn(|| {
            namespace::inside(SERVERS[0], || {
                privilege::thread(&ThreadSpec { rt_priority: real_time, ..ThreadSpec::default() });
                send(source, Duration::from_secs_f64(interval), (time.as_secs_f64() / interval) as u32)
            })
        });
        work::adverts(&mut lan, time).1
    });
    let gaps = figures.into_iter().filter(|figure| figure.what.starts_with("gap"));
    gaps.map(|figure| (figure.what, figure.of)).collect()
}

fn socket() -> io::Result<socket2::Socket> {
    let protocol = Some(socket2::Protocol::from(i32::from(PROTOCOL_VRRP)));
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::RAW, protocol)?;
    socket.bind_device(Some(b"eth0"))?;
    Ok(socket)
}

fn send(source: Ipv4Addr, interval: Duration, count: u32) -> io::Result<f64> {
    let socket = socket()?;
    socket.set_header_included_v4(true)?;
    socket.set_multicast_if_v4(&source)?;
    socket.set_multicast_loop_v4(false)?;
    let advert = [0x31, 1, 200, 1, 0, 1, 0, 0, 10, 0, 64, 1];
    let packet = [&ipv4_header(source, GROUP, PROTOCOL_VRRP, TTL, 1, advert.len())[..], &advert].concat();
    let to = SocketAddrV4::new(GROUP, 0).into();
    nix::sys::prctl::set_timerslack(1)?;
    let (before, mut due) = (busy()?, Instant::now());
    for _ in 0..count {
        due += interval;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        socket.send_to(&packet, &to)?;
    }
    Ok((busy()? - before) / f64::from(count))
}

fn receive(own: Ipv4Addr, count: u32) -> io::Result<f64> {
    let socket = socket()?;
    socket.join_multicast_v4(&GROUP, &own)?;
    // Who waits for ever for a lost one keeps the whole table waiting.
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut room = [std::mem::MaybeUninit::uninit(); 1500];
    let before = busy()?;
    for _ in 0..count {
        socket.recv(&mut room)?;
    }
    Ok((busy()? - before) / f64::from(count))
}

/// Microseconds of processor that this thread has had.
fn busy() -> io::Result<f64> {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos: Option<f64> = line.split_whitespace().next().and_then(|figure| figure.parse().ok());
    nanos.map(|nanos| nanos / 1e3).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

//! genhash beside keepalived's own, both asking the same server: plain and with TLS.
//!
//! The server is this test's, on the loopback interface; with TLS it is `openssl s_server`. Where keepalived or openssl
//! is not installed the comparison is left out and said so; what genhash itself must give is asserted in any case.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

/// Answers everybody with the same bytes.
fn server(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 1000];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer);
        }
    });
    port
}

fn ours(port: u16, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vipd"))
        .arg0("genhash")
        .args(["-s", "127.0.0.1", "-p", &port.to_string(), "-u", "/page"])
        .args(more)
        .output()
        .unwrap()
}

/// Of the keepalived that is installed, unless that is this program in its place.
fn theirs(port: u16, more: &[&str]) -> Option<Output> {
    let version = Command::new("keepalived").arg("-v").output().ok()?;
    if String::from_utf8_lossy(&version.stderr).contains("vipd") {
        return None;
    }
    let output = Command::new("genhash")
        .args(["-s", "127.0.0.1", "-p", &port.to_string(), "-u", "/page"])
        .args(more)
        .output()
        .ok()?;
    Some(output)
}

fn text(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    // How long it took is another time each time.
    out.lines().filter(|line| !line.starts_with("Global response time")).map(|line| format!("{line}\n")).collect()
}

fn compare(port: u16, more: &[&str]) {
    match theirs(port, more) {
        Some(theirs) => assert_eq!(text(&ours(port, more)), text(&theirs), "{more:?}"),
        None => eprintln!("keepalived's genhash is not installed: not compared"),
    }
}

#[test]
fn the_sum_of_a_page() {
    let port = server(b"HTTP/1.1 200 OK\r\nServer: test\r\n\r\nhello\n");
    let output = ours(port, &[]);
    assert_eq!((output.status.code(), text(&output)), (Some(0), "b1946ac92492d2347c6235b4d2611184\n".into()));
    for more in [&[][..], &["-v"], &["-P", "1.1"], &["-V", "www.example.org", "-v"], &["-m", "0", "-t", "5"]] {
        compare(port, more);
    }
}

#[test]
fn an_empty_page_and_one_of_odd_bytes() {
    let empty = server(b"HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(text(&ours(empty, &[])), "d41d8cd98f00b204e9800998ecf8427e\n");
    let odd = server(b"HTTP/1.1 200 OK\r\n\r\nx\0y\xff\n\r\n\r\nz");
    for more in [&[][..], &["-v"]] {
        compare(empty, more);
        compare(odd, more);
    }
}

#[test]
fn without_a_sum_the_exit_code_says_so() {
    // Bound and not listening: nobody else can have the port meanwhile.
    let nobody = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    nobody.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let output = ours(nobody.local_addr().unwrap().as_socket().unwrap().port(), &[]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("Connection failed"), "{output:?}");
    let silent = server(b"");
    let output = ours(silent, &[]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no data received"), "{output:?}");
}

/// `openssl s_server`, once it answers; `None` if it ends.
fn tls_server(directory: &Path) -> Option<(u16, Child)> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Command::new("openssl")
        .args("s_server -HTTP -quiet -key key -cert certificate -accept".split(' '))
        .arg(port.to_string())
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        if server.try_wait().unwrap().is_some() {
            return None;
        }
        thread::sleep(std::time::Duration::from_millis(20));
    }
    Some((port, server))
}

#[test]
fn with_tls() {
    let directory = std::env::temp_dir().join(format!("vipd-genhash-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("page"), "HTTP/1.0 200 OK\r\n\r\nhello\n").unwrap();
    let made = Command::new("openssl")
        .args("req -x509 -newkey rsa:2048 -nodes -keyout key -out certificate -days 2 -subj /CN=test".split(' '))
        .current_dir(&directory)
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("VIPD_REQUIRE_NETNS").is_none(), "openssl is not installed");
        eprintln!("openssl is not installed: TLS is not tried");
        return;
    }
    // The port that was free may be another's when openssl comes to it; then it ends, and has another try.
    let (port, mut server) = (0..10).find_map(|_| tls_server(&directory)).expect("a server");
    let output = ours(port, &["-S"]);
    let named = ours(port, &["-S", "-I", "-V", "www.example.org"]);
    compare(port, &["-S", "-v"]);
    server.kill().unwrap();
    server.wait().unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    for output in [output, named] {
        assert_eq!((output.status.code(), text(&output)), (Some(0), "b1946ac92492d2347c6235b4d2611184\n".into()));
    }
    // A server that does not speak it.
    let plain = self::server(b"HTTP/1.1 200 OK\r\n\r\nhello\n");
    let output = ours(plain, &["-S"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(why, "SSL handshake/communication error: what the server sends is not TLS\n");
}

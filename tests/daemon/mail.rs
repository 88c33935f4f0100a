//! The SMTP dialogue, against a server that is played here.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use vipd::observe::mail::{Message, send};
use vipd::spec::Mail;

/// Answers each command with the reply that belongs to it, or with `refuse` to the command that begins with `at`.
fn serve(listener: &TcpListener, at: &str, refuse: &str) -> Vec<String> {
    let (stream, _) = listener.accept().unwrap();
    let mut say = stream.try_clone().unwrap();
    let mut said = Vec::new();
    let put = |stream: &mut TcpStream, line: &str| stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    put(&mut say, "220-a long greeting");
    put(&mut say, "220 host");
    let mut in_data = false;
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        said.push(line.clone());
        let reply = match line.as_str() {
            "." if in_data => {
                in_data = false;
                "250 queued"
            }
            _ if in_data => continue,
            line if !at.is_empty() && line.starts_with(at) => refuse,
            "DATA" => {
                in_data = true;
                "354 go on"
            }
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        put(&mut say, reply);
        if line == "QUIT" {
            break;
        }
    }
    said
}

fn message(port: u16) -> Message {
    let settings = Mail {
        server: Some("127.0.0.1".into()),
        port,
        from: Some("Keepalived <k@example.org>".into()),
        to: vec!["a@example.org".into(), "B <b@example.org>".into()],
        helo: Some("here".into()),
        timeout_secs: 90,
        no_faults: false,
    };
    Message { settings, subject: "[r] VRRP Instance A - Entering MASTER state".into(), body: ".body".into() }
}

fn run(at: &'static str, refuse: &'static str) -> (Vec<String>, std::io::Result<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || serve(&listener, at, refuse));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runtime.block_on(send(&message(port)));
    (server.join().unwrap(), result)
}

#[test]
fn a_message_is_delivered() {
    let (said, result) = run("", "");
    result.unwrap();
    assert_eq!(
        said[..5],
        ["HELO here", "MAIL FROM:<k@example.org>", "RCPT TO:<a@example.org>", "RCPT TO:<b@example.org>", "DATA"]
    );
    let headers: Vec<&str> = said[5..].iter().map(|line| line.split(':').next().unwrap()).take(4).collect();
    assert_eq!(headers, ["Date", "From", "Subject", "X-Mailer"]);
    assert!(said.contains(&"Subject: [r] VRRP Instance A - Entering MASTER state".into()));
    assert!(said.contains(&"To: a@example.org,".into()) && said.contains(&" B <b@example.org>".into()));
    assert!(said.contains(&"..body".into()), "a dot at the beginning of a line is doubled");
    assert_eq!(said.last().unwrap(), "QUIT");
}

#[test]
fn a_refusal_ends_the_dialogue_and_is_told() {
    let (said, result) = run("RCPT", "550 nobody here");
    assert!(result.unwrap_err().to_string().contains("550 nobody here"));
    assert_eq!(said.last().unwrap(), "QUIT");
    assert!(!said.contains(&"DATA".into()));
}

use super::*;

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

fn question(line: &str) -> Question {
    read(words(line)).unwrap().unwrap()
}

#[test]
fn asked_for_by_name_or_by_flag() {
    assert_eq!(asked(&words("/usr/bin/genhash -s x")), Some(words("-s x")));
    assert_eq!(asked(&words("vipd --genhash -s x")), Some(words("-s x")));
    assert_eq!(asked(&words("vipd -T -s x")), Some(words("-s x")));
    assert_eq!(asked(&words("vipd --gen -s x")), Some(words("-s x")));
    assert_eq!(asked(&words("vipd -n")), None);
    assert_eq!(asked(&[]), None);
}

#[test]
fn a_wrong_command_line_is_named() {
    for (line, complaint) in [
        ("-s localhost -p 80 -u /", "server should be an IP, not localhost"),
        ("-s 127.0.0.1 -p x80 -u /", "invalid port number 'x80'"),
        ("-s 127.0.0.1 -p 0 -u /", "invalid port number '0'"),
        ("-s 127.0.0.1 -p 80 -u / -P 2", "invalid HTTP protocol version '2'"),
        ("-s 127.0.0.1 -p 80 -u / -m x", "invalid fwmark 'x'"),
        ("-s 127.0.0.1 -p 80 -u / -t 0", "invalid timeout '0'"),
    ] {
        assert_eq!(read(words(line)).unwrap_err(), complaint);
    }
    assert!(read(words("-s 127.0.0.1 -p 80")).unwrap_err().contains("--url"));
    assert!(read(words("-h")).unwrap().is_none());
}

/// As captured from keepalived 2.2.7.
#[test]
fn requests_are_keepalived_s() {
    for (line, request) in [
        ("-s 127.0.0.1 -p 80 -u /", "GET / HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: 127.0.0.1:80\r\n\r\n"),
        (
            "-s 127.0.0.1 -p 80 -u / -P 1.1 -V v.example",
            "GET / HTTP/1.1\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\nHost: v.example\r\n\r\n",
        ),
        (
            "-s ::1 -p 8080 -u /x -P 1.0c",
            "GET /x HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\nHost: [::1]:8080\r\n\r\n",
        ),
    ] {
        assert_eq!(question(line).request(), request);
    }
}

#[test]
fn the_name_is_said_in_the_handshake_only_when_asked_for() {
    assert_eq!(question("-s ::1 -p 1 -u / -V v").tls, None);
    assert_eq!(question("-S -s ::1 -p 1 -u / -V v").tls, Some(None));
    assert_eq!(question("-S -I -s ::1 -p 1 -u / -V v").tls, Some(Some("v".into())));
}

/// Comes in pieces of any size.
struct Pieces<'a>(&'a [u8], usize);
impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.1.min(self.0.len()).min(buffer.len());
        buffer[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

/// As keepalived 2.2.7 shows it.
const SHOWN: &str = "\
-----------------------[    HTTP Header Buffer    ]-----------------------
0000  48 54 54 50 2f 31 2e 30 - 20 32 30 30 20 4f 4b 0d   HTTP/1.0 200 OK.
0016  0a 0d 0a                -                           ...             
-----------------------[ HTTP Header Ascii Buffer ]-----------------------
HTTP/1.0 200 OK\r
\r

-----------------------[        HTML Buffer        ]-----------------------
0000  61 62 63 64 65 66 67 68 -                           abcdefgh        

-----------------------[    HTML hash resulting    ]-----------------------
0000  e8 dc 40 81 b1 34 34 b4 - 51 89 a7 20 b7 7b 68 18   ..@..44.Q.. .{h.
-----------------------[ HTML hash final resulting ]-----------------------
e8dc4081b13434b45189a720b77b6818
";

#[test]
fn what_is_shown_does_not_depend_on_the_pieces() {
    for size in 1..30 {
        let mut out = Vec::new();
        sum(&mut Pieces(b"HTTP/1.0 200 OK\r\n\r\nabcdefgh", size), true, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), SHOWN);
    }
}

#[test]
fn without_a_header_there_is_no_sum() {
    for answer in [&b""[..], b"abc", b"HTTP/1.0 200 OK\nX: y\n\nabc"] {
        let trouble = sum(&mut Pieces(answer, 7), false, &mut Vec::new()).unwrap_err();
        assert_eq!(trouble, "no data received from remote webserver");
    }
}

#[test]
fn an_endless_header_is_given_up() {
    struct Endless;
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            buffer.fill(b'x');
            Ok(buffer.len())
        }
    }
    assert!(sum(&mut Endless, false, &mut Vec::new()).is_err());
}

//! What servers may say to checks, made at random out of what they do say: headers, chunks, replies, records, and bytes that
//! are none of it. The properties are those of the fuzz targets: no panic, an end, the same verdict however it is cut.

#![allow(clippy::unwrap_used)]

#[path = "../fuzz/dialogues.rs"]
mod dialogues;

use proptest::prelude::*;

const HTTP: &[&[u8]] = &[
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 404 Not Found\r\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\n",
    b"HTTP/1.1 204\r\n",
    b"HTTP/1.1 503 No\r\n\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b" folded\r\n",
    b"Odd\x01Name : x\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"5\r\nhello\r\n",
    b"5;a=b\r\n",
    b"0\r\n\r\n",
    b"0\r\nA: b\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"hello hello",
    b"<title>it is OK</title>",
    b"ab",
    b"abC d",
    b"\xc3\xa4\xc3\xb6",
    b"\xc3",
];
const SMTP: &[&[u8]] = &[
    b"220 mail\r\n",
    b"220-mail\r\n",
    b"250 mail\n",
    b"250-x\r\n",
    b"221",
    b" bye\r\n",
    b"\r\n",
    b"\r",
    b"554 no\r\n",
    b"22",
];
const DATAGRAMS: &[&[u8]] = &[
    b"\x1e",
    b"AB\x81\x80\0\x01\0\0\0\0\0\0",
    b"AB\x81\x83\0\x01\0\0\0\0\0\0",
    b"AB\x01\0\0\x01\0\0\0\0\0\0",
    b"\0\0\0\0ABCD",
    b"\x81\0\0\0ABCD",
    b"\x08\0\0\0ABCD",
    b"a\x10",
    b"aaaaaaaaaaaaaaaaaaaaaaaaaa",
];
const TLS: &[&[u8]] = &[
    b"\x15\x03\x03\0\x02\x02\x28",
    b"\x15\x03\x03\0\x02\x01\0",
    b"\x16\x03\x03\0\x2e\x02\0\0\x2a\x03\x03",
    b"RRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRR",
    b"\0\x13\x01\0\0\x02\0\0",
    b"\0\xc0\x2f\0\0\0",
    b"\x17\x03\x03\0\x05hello",
    b"\x14\x03\x03\0\x01\x01",
    b"\x16\x03\x03\x40\x00",
    b"HTTP/1.0 400\r\n\r\n",
];

/// The bytes that choose, and then parts in a row, with some of other bytes between them.
fn said(choices: usize, parts: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        8 => proptest::sample::select(parts).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
    ];
    let stream = proptest::collection::vec(part, 0..24).prop_map(|parts| parts.concat());
    (proptest::collection::vec(any::<u8>(), choices), stream).prop_map(|(mut all, stream)| {
        all.extend(stream);
        all
    })
}

proptest! {
    #[test]
    fn http(data in said(2, HTTP)) {
        dialogues::http(&data);
    }

    #[test]
    fn regex(data in said(2, HTTP)) {
        dialogues::regex(&data);
    }

    #[test]
    fn smtp(data in said(1, SMTP)) {
        dialogues::smtp(&data);
    }

    #[test]
    fn datagrams(data in said(1, DATAGRAMS)) {
        dialogues::datagrams(&data);
    }

    #[test]
    fn tls(data in said(1, TLS)) {
        dialogues::tls(&data);
    }
}

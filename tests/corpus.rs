//! Replays what the fuzzer has kept: every input of fuzz/corpus goes through its target once more.

#![allow(clippy::unwrap_used)]

#[path = "../fuzz/bodies.rs"]
mod bodies;

use std::path::Path;

fn replay(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let data = std::fs::read(&path).unwrap();
        // The name of the input that fails is in the captured output.
        println!("{}", path.display());
        body(&data);
        count += 1;
    }
    assert!(count > 0, "the corpus of {target} is there");
}

#[test]
fn config() {
    replay("config", bodies::config);
}

#[test]
fn fmt() {
    replay("fmt", bodies::fmt);
}

#[test]
fn advert() {
    replay("advert", bodies::advert);
}

#[test]
fn ipvs() {
    replay("ipvs", bodies::ipvs);
}

#[test]
fn http() {
    replay("http", bodies::http);
}

#[test]
fn smtp() {
    replay("smtp", bodies::smtp);
}

#[test]
fn datagrams() {
    replay("datagrams", bodies::datagrams);
}

#[test]
fn tls() {
    replay("tls", bodies::tls);
}

#[test]
fn regex() {
    replay("regex", bodies::regex);
}

#[test]
fn bfd() {
    replay("bfd", bodies::bfd);
}

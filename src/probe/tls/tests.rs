//! The words and the edges that need no server; handshakes with real servers are in tests/probes.

use super::*;

#[test]
fn a_name_that_cannot_stand_in_the_hello_is_left_out() {
    let client = Client::new(None).unwrap();
    let named = |name: Option<&str>| {
        let hello = client.session(name).unwrap().output();
        hello.windows(11).any(|part| part == b"www.example")
    };
    assert!(named(Some("www.example")));
    assert!(named(Some("www.example:8443")));
    for name in [None, Some(""), Some("192.0.2.1"), Some("2001:db8::1"), Some("no name"), Some("-www.example:x")] {
        assert!(!named(name), "{name:?}");
        assert!(client.session(name).is_ok(), "{name:?}");
    }
}

#[test]
fn what_is_not_tls_is_told_so() {
    for garbage in [&b"HTTP/1.0 400 Bad Request\r\n\r\n"[..], b"220 mail ESMTP\r\n", &[0; 100], &[0xff; 20_000]] {
        let mut session = Client::new(None).unwrap().session(None).unwrap();
        let why = session.take(garbage, |_| panic!("no plain text")).unwrap_err();
        assert_eq!(&*why, "what the server sends is not TLS");
    }
}

#[test]
fn alerts_have_words() {
    for (alert, words) in [
        (70, "the server speaks TLS 1.1 or older only, which is not supported"),
        (40, "no cipher suite in common"),
        (112, "the server does not know the name in the hello"),
        (80, "the server ended the handshake with the alert InternalError"),
    ] {
        let mut session = Client::new(None).unwrap().session(None).unwrap();
        let why = session.take(&[21, 3, 3, 0, 2, 2, alert], |_| {}).unwrap_err();
        assert!(why.starts_with(words) && why.len() <= 200, "{why}");
    }
}

#[test]
fn an_identity_that_is_none_is_told_without_its_content() {
    for (certificate, key, words) in [
        ("", "", "there is no certificate in PEM form"),
        ("hush", "", "there is no certificate in PEM form"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "hush", "the key cannot be read"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nhush\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "the key is encrypted, and there is no `password`",
        ),
    ] {
        let why = Identity::new(certificate.as_bytes(), key.as_bytes(), None).unwrap_err();
        assert!(why.starts_with(words) && !why.contains("hush"), "{why}");
    }
}

#[test]
fn an_old_encryption_of_a_key_is_refused_with_a_cure() {
    let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let key = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n";
    let why = Identity::new(certificate.as_bytes(), key.as_bytes(), Some("hush")).unwrap_err();
    assert!(why.contains("`openssl pkcs8 -topk8") && !why.contains("hush"), "{why}");
}

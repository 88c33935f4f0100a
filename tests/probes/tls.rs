//! Handshakes with `openssl s_server`: certificates that nobody should trust, versions and suites that are not spoken here.

use super::stage::*;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use vipd::balance::io::{Finding, Symptom};
use vipd::kernel::probes::{self, Prober};
use vipd::spec::balance::{CheckerKind, TlsFiles};

/// A folder with keys and certificates; goes with the value.
struct Vault(PathBuf);

impl Drop for Vault {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Vault {
    /// `None`, and said so, where openssl is not installed.
    fn new(name: &str) -> Option<Vault> {
        if !Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success()) {
            assert!(std::env::var_os("VIPD_REQUIRE_NETNS").is_none(), "openssl is not installed");
            eprintln!("openssl is not installed: not tried");
            return None;
        }
        let folder = std::env::temp_dir().join(format!("vipd-probes-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("page"), "HTTP/1.0 200 OK\r\n\r\nhello\n").unwrap();
        Some(Vault(folder))
    }

    fn openssl(&self, words: &str) {
        let output = Command::new("openssl").args(words.split(' ')).current_dir(&self.0).output().unwrap();
        assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A certificate of version 3 for a new key; `more` says what is special.
    fn certificate(&self, key: &str, name: &str, more: &str) {
        let words = format!("req -x509 -nodes -keyout {name}.key -out {name}.crt -subj /CN=test {more} -newkey {key}");
        self.openssl(words.trim());
    }

    fn path(&self, name: &str) -> Box<str> {
        self.0.join(name).to_string_lossy().into()
    }
}

/// `openssl s_server` with these words, once it listens; ends with the value.
struct Server(Child, SocketAddr);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(folder: &Path, certificate: &str, more: &str) -> Server {
    for _ in 0..10 {
        // The port may be another's when openssl comes to it; then another one.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let words = format!("s_server -HTTP -quiet -key {certificate}.key -cert {certificate}.crt {more}");
        let mut child = Command::new("openssl")
            .args(words.split_whitespace())
            .args(["-accept", &address.to_string()])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while child.try_wait().unwrap().is_none() {
            if TcpStream::connect(address).is_ok() {
                return Server(child, address);
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    panic!("openssl s_server {certificate} {more} does not start");
}

#[test]
fn any_certificate_will_do() {
    let Some(vault) = Vault::new("certificates") else { return };
    vault.certificate("rsa:2048", "self-signed", "-days 2");
    vault.certificate("ec -pkeyopt ec_paramgen_curve:P-256", "p256", "-days 2");
    vault.certificate("ec -pkeyopt ec_paramgen_curve:P-384", "p384", "-days 2");
    vault.certificate("ed25519", "ed25519", "-days 2");
    vault.certificate("rsa:1024", "short", "-days 2");
    vault.certificate("rsa:2048", "other-name", "-days 2 -addext subjectAltName=DNS:other.example");
    // Signed by an unknown authority, expired; and version 1, which has no extensions at all.
    vault.openssl("req -new -nodes -newkey rsa:2048 -keyout expired.key -out expired.csr -subj /CN=expired");
    fs::write(vault.0.join("index"), "").unwrap();
    fs::write(vault.0.join("serial"), "01\n").unwrap();
    let policy = "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n";
    fs::write(vault.0.join("ca.conf"), policy).unwrap();
    vault.openssl(
        "ca -batch -notext -config ca.conf -cert self-signed.crt -keyfile self-signed.key -in expired.csr -out expired.crt \
         -startdate 20200101000000Z -enddate 20200201000000Z",
    );
    vault.openssl("req -new -nodes -newkey rsa:2048 -keyout v1.key -out v1.csr -subj /CN=v1");
    vault.openssl("x509 -req -in v1.csr -signkey v1.key -out v1.crt -days 2");
    let shown =
        Command::new("openssl").args(["x509", "-noout", "-text", "-in", "v1.crt"]).current_dir(&vault.0).output();
    assert!(String::from_utf8_lossy(&shown.unwrap().stdout).contains("Version: 1 "), "it is of version 1");
    for certificate in ["self-signed", "p256", "p384", "ed25519", "short", "other-name", "expired", "v1"] {
        // OpenSSL itself shows no keys below 2048 bits unless it is told to.
        for version in ["-tls1_2", "-tls1_3"] {
            let server = serve(&vault.0, certificate, &format!("{version} -cipher DEFAULT@SECLEVEL=0"));
            let report = report(&check(https(vec![matching("/page", "^hello$")]), server.1));
            assert_eq!(report.finding, Finding::Good, "{certificate} {version}: {:?}", report.transcript);
        }
    }
}

#[test]
fn what_is_not_spoken_is_named() {
    let Some(vault) = Vault::new("versions") else { return };
    vault.certificate("rsa:2048", "rsa", "-days 2");
    for (more, words) in [
        ("-tls1_1 -cipher DEFAULT@SECLEVEL=0", "the server speaks TLS 1.1 or older only"),
        ("-tls1 -cipher DEFAULT@SECLEVEL=0", "the server speaks TLS 1.1 or older only"),
        ("-tls1_2 -cipher AES128-GCM-SHA256", "no cipher suite in common (RSA key exchange"),
        ("-tls1_2 -cipher ECDHE-RSA-AES128-SHA", "no cipher suite in common"),
    ] {
        let server = serve(&vault.0, "rsa", more);
        match finding(&check(https(vec![page("/page")]), server.1)) {
            Finding::Bad(Symptom::Tls(why)) => assert!(why.starts_with(words), "{more}: {why}"),
            other => panic!("{more}: {other:?}"),
        }
    }
}

fn named(name: Option<&str>, host: Option<&str>, to: SocketAddr) -> Finding {
    let mut page = page("/page");
    page.virtual_host = host.map(Into::into);
    page.tls_compliant = true;
    let CheckerKind::Http(mut http) = https(vec![page]) else { panic!() };
    http.server_name = name.map(Into::into);
    finding(&check(CheckerKind::Http(http), to))
}

#[test]
fn the_name_in_the_hello() {
    let Some(vault) = Vault::new("names") else { return };
    vault.certificate("rsa:2048", "rsa", "-days 2");
    // The server refuses every name but its own.
    let server = serve(&vault.0, "rsa", "-servername right.example -servername_fatal -cert2 rsa.crt -key2 rsa.key");
    let unknown = Finding::Bad(Symptom::Tls("the server does not know the name in the hello".into()));
    for (name, host, finding) in [
        (None, Some("wrong.example"), Finding::Good),
        (Some(""), None, Finding::Good),
        (Some(""), Some("right.example"), Finding::Good),
        (Some(""), Some("wrong.example"), unknown.clone()),
        (Some("right.example"), Some("wrong.example"), Finding::Good),
        (Some("wrong.example"), Some("right.example"), unknown),
    ] {
        assert_eq!(named(name, host, server.1), finding, "{name:?} {host:?}");
    }
}

#[test]
fn a_certificate_of_our_own() {
    let Some(vault) = Vault::new("client") else { return };
    vault.certificate("rsa:2048", "rsa", "-days 2");
    vault.certificate("rsa:2048", "ours", "-days 2");
    vault.openssl("pkcs8 -topk8 -in ours.key -out ours.encrypted -passout pass:hush -v2 aes-256-cbc");
    let server = serve(&vault.0, "rsa", "-Verify 1");
    let with = |files: &TlsFiles| {
        let plan = plan_with(&check(https(vec![page("/page")]), server.1), Some(files));
        run(async { Prober::default().probe(&plan, vipd::balance::io::Attempt(1), SPOKEN).await }).finding
    };
    let ours = TlsFiles {
        certificate: Some(vault.path("ours.crt")),
        key: Some(vault.path("ours.key")),
        ..TlsFiles::default()
    };
    assert_eq!(with(&ours), Finding::Good);
    let encrypted = TlsFiles { key: Some(vault.path("ours.encrypted")), password: Some("hush".into()), ..ours.clone() };
    assert_eq!(with(&encrypted), Finding::Good);
    // Without one the server ends it.
    match finding(&check(https(vec![page("/page")]), server.1)) {
        Finding::Bad(Symptom::Tls(why)) => assert!(why.contains("certificate"), "{why}"),
        other => panic!("{other:?}"),
    }
    let wrong = TlsFiles { password: Some("wrong-hush".into()), ..encrypted.clone() };
    let why = probes::tls(Some(&wrong)).unwrap_err();
    assert!(why.contains("is `password` right?") && !why.contains("hush"), "{why}");
    let why = probes::tls(Some(&TlsFiles { password: None, ..encrypted })).unwrap_err();
    assert!(why.contains("there is no `password`"), "{why}");
    let missing = TlsFiles { certificate: Some(vault.path("nosuch")), ..ours };
    assert!(probes::tls(Some(&missing)).unwrap_err().contains("No such file"));
}

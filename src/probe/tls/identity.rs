//! `SSL`: the certificate and key that a check shows to a server that asks for them.

use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A chain of certificates, the own one first, and its key.
#[derive(Debug)]
pub struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// A key that is encrypted as its PEM label says (RFC 7468 §11).
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

impl Identity {
    /// Both in PEM; the two can be the same file. Keys are PKCS#8, PKCS#1 or SEC1; with a password they must be
    /// PKCS#8 (`BEGIN ENCRYPTED PRIVATE KEY`).
    ///
    /// # Errors
    /// What is wrong with which of them, without a word of their content.
    pub fn new(certificate: &[u8], key: &[u8], password: Option<&str>) -> Result<Identity, Box<str>> {
        let chain = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("the certificate cannot be read: {error}"))?;
        if chain.is_empty() {
            return Err("there is no certificate in PEM form".into());
        }
        let text = std::str::from_utf8(key).map_err(|_| "the key is not in PEM form")?;
        let key = if text.contains(ENCRYPTED) {
            decrypted(text, password)?
        } else if text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err("the key is encrypted in OpenSSL's old way, which is not supported: convert it with \
                        `openssl pkcs8 -topk8 -in OLD -out NEW`"
                .into());
        } else {
            PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("the key cannot be read: {error}"))?
        };
        Ok(Identity { chain, key })
    }
}

fn decrypted(text: &str, password: Option<&str>) -> Result<PrivateKeyDer<'static>, Box<str>> {
    let password = password.ok_or("the key is encrypted, and there is no `password`")?;
    let from = text.find("-----BEGIN ENCRYPTED").unwrap_or(0);
    let text = text.get(from..).unwrap_or(text);
    let (_, document) = SecretDocument::from_pem(text).map_err(|_| "the encrypted key cannot be read")?;
    let encrypted =
        EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| "the encrypted key cannot be read")?;
    let plain = encrypted.decrypt(password).map_err(|_| "the key cannot be decrypted: is `password` right?")?;
    Ok(PrivatePkcs8KeyDer::from(plain.as_bytes().to_vec()).into())
}

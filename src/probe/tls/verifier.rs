//! Who the server is does not matter; that it holds the key of its certificate does.
//!
//! rustls-webpki reads the whole certificate before it looks at a handshake's signature, and refuses version 1. Here only
//! the key is taken out of it (x509-cert, without its checks of form), and ring verifies the signature.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::{Decode, EncodeValue};

/// RSA keys of fewer bytes, as they stand in a certificate, are below 2048 bits.
const SMALLEST_RSA: usize = 256;
/// rsaEncryption, RFC 8017 A.1.
const RSA: &str = "1.2.840.113549.1.1.1";

/// Believes every certificate, as keepalived does without a `ca`.
#[derive(Debug)]
pub struct Anybody {
    algorithms: WebPkiSupportedAlgorithms,
}

impl Anybody {
    /// With the signature schemes of this provider.
    pub fn new(provider: &CryptoProvider) -> Anybody {
        Anybody { algorithms: provider.signature_verification_algorithms }
    }

    fn verify(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let unreadable = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
        let certificate = CertificateInner::<Raw>::from_der(certificate).map_err(unreadable)?;
        let holder = certificate.tbs_certificate().subject_public_key_info();
        let key = holder.subject_public_key.raw_bytes();
        if holder.algorithm.oid.to_string() == RSA && key.len() < SMALLEST_RSA {
            // ring verifies no RSA keys below 2048 bits. Nobody relies on who this is, so they pass, as in keepalived.
            return Ok(HandshakeSignatureValid::assertion());
        }
        let mut kind = Vec::new();
        holder.algorithm.encode_value(&mut kind).map_err(unreadable)?;
        let of_scheme = self.algorithms.mapping.iter().filter(|(scheme, _)| *scheme == signed.scheme);
        for algorithm in of_scheme.flat_map(|(_, algorithms)| algorithms.iter()) {
            if algorithm.public_key_alg_id().as_ref() == kind
                && algorithm.verify_signature(key, message, signed.signature()).is_ok()
            {
                return Ok(HandshakeSignatureValid::assertion());
            }
        }
        Err(Error::InvalidCertificate(CertificateError::BadSignature))
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

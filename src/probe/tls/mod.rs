//! TLS for checks: rustls with ring, without sockets. Any certificate will do.
//!
//! keepalived verifies no server's certificate, whatever `ca` says: a check asks whether a server works, not who it is. So
//! self-signed, expired and version 1 certificates pass here too. What is still verified is that the server holds the key
//! of the certificate that it shows ([`verifier`]). Versions 1.2 and 1.3 are spoken, key exchange by (EC)DHE; what a server
//! wants beyond that is said in the words of the failure ([`words`]).

mod identity;
mod verifier;
mod words;

pub use identity::Identity;
pub use words::words;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// What all TLS checks of a configuration have in common; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    named: Arc<ClientConfig>,
    nameless: Arc<ClientConfig>,
}

impl Client {
    /// `identity`: what is shown to a server that asks for a certificate.
    ///
    /// # Errors
    /// Certificate or key cannot be used; the words name neither key nor password.
    pub fn new(identity: Option<Identity>) -> Result<Client, Box<str>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(verifier::Anybody::new(&provider));
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| words(&error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut named = match identity {
            None => builder.with_no_client_auth(),
            Some(Identity { chain, key }) => {
                builder.with_client_auth_cert(chain, key).map_err(|error| words(&error))?
            }
        };
        // Each attempt is a whole handshake: a server that cannot make one any more is no good.
        named.resumption = Resumption::disabled();
        let mut nameless = named.clone();
        nameless.enable_sni = false;
        Ok(Client { named: named.into(), nameless: nameless.into() })
    }

    /// A session that has not begun. A name that cannot stand in the hello (an address, an empty one) is left out; so is
    /// a port behind it.
    ///
    /// # Errors
    /// The library refuses its own configuration.
    pub fn session(&self, name: Option<&str>) -> Result<Session, Box<str>> {
        let host = name.map(|name| match name.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => name,
        });
        let host = host.and_then(|host| ServerName::try_from(host.to_owned()).ok());
        let (config, host) = match host {
            Some(host @ ServerName::DnsName(_)) => (&self.named, host),
            _ => (&self.nameless, ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED))),
        };
        let connection = ClientConnection::new(config.clone(), host).map_err(|error| words(&error))?;
        Ok(Session { connection: connection.into(), ended: false })
    }

    /// For those that have a socket and want a stream (genhash).
    ///
    /// # Errors
    /// As [`Client::session`].
    pub fn stream<S: Read + Write>(
        &self,
        name: Option<&str>,
        socket: S,
    ) -> Result<rustls::StreamOwned<ClientConnection, S>, Box<str>> {
        Ok(rustls::StreamOwned::new(*self.session(name)?.connection, socket))
    }
}

/// One connection's TLS: cipher text in, plain text out, and the other way round.
#[derive(Debug)]
pub struct Session {
    connection: Box<ClientConnection>,
    ended: bool,
}

impl Session {
    /// Takes what came over the wire and hands plain text on.
    ///
    /// # Errors
    /// The library's words: an alert, a breach of the protocol, a wrong signature.
    pub fn take(&mut self, mut bytes: &[u8], mut plain: impl FnMut(&[u8])) -> Result<(), Box<str>> {
        let mut buffer = [0; 4096];
        while !bytes.is_empty() && !self.ended {
            match self.connection.read_tls(&mut bytes) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return Err(error.to_string().into()),
            }
            // What was said before it broke may be enough.
            let state = self.connection.process_new_packets();
            loop {
                match self.connection.reader().read(&mut buffer) {
                    Ok(0) => break,
                    Ok(length) => plain(buffer.get(..length).unwrap_or_default()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) if state.is_err() => break,
                    Err(error) => return Err(error.to_string().into()),
                }
            }
            self.ended = state.map_err(|error| words(&error))?.peer_has_closed();
        }
        Ok(())
    }

    /// What has to go over the wire.
    pub fn output(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.connection.wants_write() {
            if self.connection.write_tls(&mut bytes).unwrap_or(0) == 0 {
                break;
            }
        }
        bytes
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// The server has said that it is done (close_notify).
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Puts plain text in line for [`Session::output`].
    pub fn say(&mut self, text: &[u8]) {
        // Into memory, without a limit set: it cannot fail, and if it did the request would not go out.
        let _ = self.connection.writer().write_all(text);
    }

    /// Puts a close_notify in line.
    pub fn close(&mut self) {
        self.connection.send_close_notify();
    }

    /// Version and cipher suite, for people.
    pub fn agreed(&self) -> String {
        let version = match self.connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "TLS",
        };
        let suite = self.connection.negotiated_cipher_suite().map(|suite| format!(", {:?}", suite.suite()));
        format!("{version}{}", suite.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;

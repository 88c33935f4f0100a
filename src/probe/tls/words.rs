//! What the TLS library complains about, in words that help: what a server wants that is not spoken here is named.

use rustls::{AlertDescription, Error, PeerIncompatible};

/// Longest sentence, in bytes.
const LONGEST: usize = 200;

/// At most [`LONGEST`] bytes, without anything of the connection's content.
pub fn words(error: &Error) -> Box<str> {
    let text = match error {
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        )
        | Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            "the server speaks TLS 1.1 or older only, which is not supported".into()
        }
        Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity)
        | Error::PeerIncompatible(
            PeerIncompatible::NoCipherSuitesInCommon
            | PeerIncompatible::NoKxGroupsInCommon
            | PeerIncompatible::NamedGroupsExtensionRequired,
        ) => "no cipher suite in common (RSA key exchange, CBC and DHE suites are not supported), or a certificate is \
              wanted of us"
            .into(),
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "the server does not know the name in the hello".into()
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server wants a certificate: give one in the block SSL".into()
        }
        Error::AlertReceived(alert) => format!("the server ended the handshake with the alert {alert:?}"),
        Error::InvalidMessage(_) => "what the server sends is not TLS".into(),
        other => other.to_string(),
    };
    let end = (0..=LONGEST.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default().into()
}

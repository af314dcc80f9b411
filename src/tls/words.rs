//! What a refused handshake means, in words, for the person at the sender's side (RFC 8446 §6).

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

/// What TLS said, if the error comes from TLS: the peer's alert, or our own judgement of its certificate.
pub fn in_words(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return of_rustls(error);
        }
        // An I/O error keeps what it was made of where `source` does not lead.
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .map(|inner| inner as &(dyn Error + 'static));
        cause = inner.or_else(|| error.source());
    }
    None
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever rustls adds is told in its own words"
)]
fn of_rustls(error: &rustls::Error) -> Option<String> {
    if let rustls::Error::AlertReceived(alert) = error {
        return Some(of_alert(*alert));
    }
    let rustls::Error::InvalidCertificate(objection) = error else {
        return None;
    };
    let what = match objection {
        CertificateError::UnknownIssuer => {
            "the CA that is trusted here did not issue the receiver's certificate; name the one that did with --ca"
        }
        CertificateError::NotValidForNameContext { expected, .. } => {
            return Some(format!(
                "the receiver's certificate does not bear the name {}; call it by a name that it bears, or issue another with --server NAME",
                expected.to_str()
            ));
        }
        CertificateError::NotValidForName => {
            "the receiver's certificate does not bear the host's name; call it by a name that it bears, or issue another with --server NAME"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the receiver's certificate has expired; issue another"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the receiver's certificate is not valid yet; look at the clocks"
        }
        other => {
            return Some(format!(
                "the receiver's certificate is not accepted here: {other:?}"
            ));
        }
    };
    Some(what.to_owned())
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever rustls adds is told in its own words"
)]
fn of_alert(alert: AlertDescription) -> String {
    let (name, meaning) = match alert {
        AlertDescription::CertificateRequired => (
            "certificate required",
            "no client certificate was shown; name one with --cert and --key",
        ),
        AlertDescription::CertificateExpired => (
            "certificate expired",
            "the client's certificate, or one above it, has ended or not begun; issue another",
        ),
        AlertDescription::CertificateRevoked => (
            "certificate revoked",
            "the client's certificate was revoked, or its bearer was cut off (at the receiver: countersign cutoff --list); issue another, or let it in again",
        ),
        AlertDescription::CertificateUnknown => (
            "certificate unknown",
            "the receiver does not accept the client's certificate; its log and `countersign refusals list` tell why",
        ),
        AlertDescription::UnknownCA => (
            "unknown CA",
            "the receiver trusts no CA that issued the client's certificate; its CA belongs under tls.client_ca",
        ),
        AlertDescription::BadCertificate => (
            "bad certificate",
            "the client's certificate cannot be read, or its signature does not hold",
        ),
        AlertDescription::UnsupportedCertificate => (
            "unsupported certificate",
            "the client's certificate is not made for this use (key usage, extended key usage, version)",
        ),
        AlertDescription::DecryptError => (
            "decrypt error",
            "a signature does not hold: certificate and key may not belong together, or the certificate's CA has a new key and its new certificate is not under tls.client_ca yet",
        ),
        AlertDescription::ProtocolVersion => (
            "protocol version",
            "there is no common version of TLS; the receiver may take 1.3 alone (tls.min_version)",
        ),
        AlertDescription::HandshakeFailure => {
            ("handshake failure", "there are no common parameters of TLS")
        }
        AlertDescription::NoApplicationProtocol => {
            ("no application protocol", "the receiver speaks no HTTP/1.1")
        }
        AlertDescription::UnrecognisedName => (
            "unrecognised name",
            "the receiver does not go by that host's name",
        ),
        AlertDescription::AccessDenied => (
            "access denied",
            "the client's certificate is good, and the receiver does not let it in",
        ),
        AlertDescription::InternalError => {
            ("internal error", "the receiver failed; its log tells why")
        }
        other => {
            return format!("the receiver refused the connection with the TLS alert {other:?}");
        }
    };
    format!("the receiver refused the connection with the TLS alert \"{name}\": {meaning}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_a_receivers_certificate_lacks_is_told() {
        let objection =
            rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                expected: "hooks.example.com".try_into().unwrap(),
                presented: Vec::new(),
            });
        let words = in_words(&objection).unwrap();
        assert!(words.contains("the name hooks.example.com;"), "{words}");
    }

    #[test]
    fn an_alert_is_found_however_deep_it_lies() {
        let alert = rustls::Error::AlertReceived(AlertDescription::UnknownCA);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, alert));
        let words = in_words(&wrapped).unwrap();
        assert!(words.contains("\"unknown CA\""), "{words}");
        assert_eq!(in_words(&io::Error::other("else")), None);
    }
}

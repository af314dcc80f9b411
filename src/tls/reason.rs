//! Why a handshake was refused.

/// Why a handshake was refused. The names are those of metrics, logs and records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandshakeReason {
    /// The client presented no certificate.
    NoCertificate,
    /// A certificate of the chain, or its anchor, has ended.
    Expired,
    /// A certificate of the chain, or its anchor, has not begun.
    NotYetValid,
    /// No configured anchor issued it.
    UnknownIssuer,
    /// A CRL names it, or the operator cut it off.
    Revoked,
    /// No CRL that counts tells.
    RevocationUnknown,
    /// A signature of the chain, or the handshake's own, does not hold.
    BadSignature,
    /// A certificate's keyUsage, basicConstraints or name constraints forbid this use.
    WrongKeyUsage,
    /// The extended key usage does not allow a TLS client.
    WrongExtendedKeyUsage,
    /// A certificate of a form that is not accepted.
    UnsupportedCertificate,
    /// No common version of TLS.
    ProtocolVersion,
    /// No common cipher suite, group, signature scheme or application protocol.
    NoCommonParameters,
    /// The handshake took too long.
    Timeout,
    /// The first bytes were not TLS.
    NotTls,
    /// The peer went away.
    Closed,
    /// The peer broke the protocol.
    Malformed,
}

impl HandshakeReason {
    /// Every reason.
    pub const ALL: [Self; 16] = [
        Self::NoCertificate,
        Self::Expired,
        Self::NotYetValid,
        Self::UnknownIssuer,
        Self::Revoked,
        Self::RevocationUnknown,
        Self::BadSignature,
        Self::WrongKeyUsage,
        Self::WrongExtendedKeyUsage,
        Self::UnsupportedCertificate,
        Self::ProtocolVersion,
        Self::NoCommonParameters,
        Self::Timeout,
        Self::NotTls,
        Self::Closed,
        Self::Malformed,
    ];

    /// The name, as users see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoCertificate => "no-certificate",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::UnknownIssuer => "unknown-issuer",
            Self::Revoked => "revoked",
            Self::RevocationUnknown => "revocation-unknown",
            Self::BadSignature => "bad-signature",
            Self::WrongKeyUsage => "wrong-key-usage",
            Self::WrongExtendedKeyUsage => "wrong-extended-key-usage",
            Self::UnsupportedCertificate => "unsupported-certificate",
            Self::ProtocolVersion => "protocol-version",
            Self::NoCommonParameters => "no-common-parameters",
            Self::Timeout => "timeout",
            Self::NotTls => "not-tls",
            Self::Closed => "closed",
            Self::Malformed => "malformed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HandshakeReason;

    /// No wildcard: a reason that is new does not compile until it has its place here, and so in [`HandshakeReason::ALL`].
    fn place(reason: HandshakeReason) -> usize {
        match reason {
            HandshakeReason::NoCertificate => 0,
            HandshakeReason::Expired => 1,
            HandshakeReason::NotYetValid => 2,
            HandshakeReason::UnknownIssuer => 3,
            HandshakeReason::Revoked => 4,
            HandshakeReason::RevocationUnknown => 5,
            HandshakeReason::BadSignature => 6,
            HandshakeReason::WrongKeyUsage => 7,
            HandshakeReason::WrongExtendedKeyUsage => 8,
            HandshakeReason::UnsupportedCertificate => 9,
            HandshakeReason::ProtocolVersion => 10,
            HandshakeReason::NoCommonParameters => 11,
            HandshakeReason::Timeout => 12,
            HandshakeReason::NotTls => 13,
            HandshakeReason::Closed => 14,
            HandshakeReason::Malformed => 15,
        }
    }

    #[test]
    fn every_reason_is_among_all() {
        assert_eq!(
            HandshakeReason::ALL.map(place),
            std::array::from_fn(|at| at)
        );
    }
}

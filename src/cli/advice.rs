//! What the operator, or the sender, does about a refusal.

use crate::tls::Flaw;

/// What the operator, or the sender, does about it.
pub(super) fn remedy(reason: &str, detail: &str) -> &'static str {
    if let Some(flaw) = Flaw::told_by(reason, detail) {
        return of_the_flaw(flaw);
    }
    match reason {
        "no-certificate" => "the sender must present its client certificate",
        "expired" => "the sender needs a new certificate: countersign certs issue, or its own CA",
        "not-yet-valid" => "wait, or put the clocks right, the sender's CA's or this machine's",
        "unknown-issuer" => {
            "if its CA is to be trusted, add it to tls.client_ca, or the intermediate that is missing to tls.intermediates"
        }
        "revoked" => {
            "if that was meant, nothing; else countersign cutoff --list shows what is cut off, and a CRL's own entries are for its CA to undo by a new certificate"
        }
        "revocation-unknown" => "put the CA's newest CRL where tls.crls names it",
        "bad-signature" => of_the_flaw(Flaw::ForeignKey),
        "wrong-key-usage" | "wrong-extended-key-usage" | "unsupported-certificate" => {
            of_the_flaw(Flaw::LeafKeyUsage)
        }
        "protocol-version" => "the sender must speak TLS 1.3, or set tls.min_version = \"1.2\"",
        "unknown-producer" => {
            "compare the subject with the producer's, and the path with its path; if it is cut off, countersign cutoff --lift"
        }
        "pin-mismatch" => "if the new key is the sender's, add its pin, which certs inspect prints",
        "account-mismatch" => "another customer of the provider delivers here, or account is wrong",
        "certificate-no-longer-valid" => {
            "the certificate ended, or trust was withdrawn, while the connection was open: renew it"
        }
        "signature-missing" => "the sender must sign, by the scheme that profile names",
        "signature-malformed" => "look whether profile is the one that the sender signs by",
        "signature-mismatch" => {
            "look whether both sides have the same secret, and whether something changes the body on the way"
        }
        "timestamp-outside-tolerance" => {
            "put the sender's clock right, or this machine's if it is everybody; or it was a replay"
        }
        _ => "the detail tells what there is to know",
    }
}

/// What is done about a certificate, or a chain, that was not taken. No wildcard: a new flaw does not compile until its advice is chosen.
fn of_the_flaw(flaw: Flaw) -> &'static str {
    match flaw {
        Flaw::HandshakeSignature => {
            "the sender signs with another key than that of its certificate: it must name the certificate and the key that belong together"
        }
        Flaw::ForeignKey => {
            "if its CA was renewed with a new key under the same name, add that CA to tls.client_ca; else the certificate is not what its CA signed: have it issued anew"
        }
        Flaw::LeafKeyUsage | Flaw::LeafExtendedKeyUsage | Flaw::LeafAnyExtendedKeyUsage => {
            "have the certificate issued anew for TLS clients (digitalSignature, clientAuth)"
        }
        Flaw::LeafIsCa => {
            "the sender shows its CA's certificate: it needs one of its own that is no CA's (CA:FALSE, digitalSignature, clientAuth)"
        }
        Flaw::LeafKey => {
            "have the certificate issued anew with a key and a signature that count: ECDSA P-256, or RSA of 2048 to 8192 bits, with SHA-256"
        }
        Flaw::LeafVersion1 | Flaw::LeafVersion1Below => {
            "have the certificate issued anew with extensions (version 3), or by a trust anchor itself with tls.accept_v1_leaf = true"
        }
        Flaw::LeafVersion1Constrained | Flaw::LeafVersion2 => {
            "have the certificate issued anew with extensions (version 3)"
        }
        Flaw::LeafUnreadable => {
            "the certificate is broken, or not as RFC 5280 wants it: have it issued anew, with other software if that does not help"
        }
        Flaw::LeafNames => {
            "the fault is its CA's, or the leaf's names': have the leaf issued for names that the CA's nameConstraints permit, or by another CA"
        }
        Flaw::IssuerIsNoCa
        | Flaw::IssuerVersion1
        | Flaw::IssuerKeyUsage
        | Flaw::IssuerExtendedKeyUsage => {
            "the fault is its CA's, not the leaf's: have the CA's certificate issued anew (CA:TRUE, keyCertSign, no extendedKeyUsage or clientAuth in it), or have another CA issue the leaf"
        }
        Flaw::IssuerPathLen | Flaw::IssuerPathLenSelfIssued | Flaw::ChainPathLen => {
            "the fault is its CA's, not the leaf's: have a CA higher up issue the leaf, or have that CA's certificate issued anew with a greater pathLenConstraint"
        }
        Flaw::IssuerDirectoryNames => {
            "the fault is its CA's, not the leaf's: have the CA's certificate issued anew without nameConstraints on directory names, or add a CA below it that has none to tls.client_ca"
        }
        Flaw::AnchorExtension => {
            "the fault is its CA's, not the leaf's: have the CA's certificate issued anew without that extension, or have another CA issue the leaf"
        }
        Flaw::WeakSignature => {
            "have the certificate that the detail names first issued anew with a signature that counts, by a CA whose key does: ECDSA P-256, or RSA of 2048 to 8192 bits, with SHA-256"
        }
        Flaw::Namesakes => {
            "the sender must send its own chain alone, one certificate of each CA; or add the intermediate that is meant to tls.intermediates"
        }
        Flaw::ChainDate => {
            "have the certificate with that date, the leaf or one above it, issued anew with dates from 1970 on"
        }
        Flaw::ChainExtension => {
            "have the certificate that has it, the leaf or one above it, issued anew without the critical extension that is not understood"
        }
        Flaw::ChainDepth => {
            "more than six intermediates are not followed: have a CA nearer to the trust anchor issue the leaf, or add one of the intermediates to tls.client_ca"
        }
        Flaw::Chain => {
            "the leaf, or a certificate above it, is not as RFC 5280 wants it, which the detail names: have that one issued anew; or the chain asks for more checks than are made: send a shorter one"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_gets_the_advice_of_its_own_cause() {
        let (key, extended) = ("wrong-key-usage", "wrong-extended-key-usage");
        let (unsupported, signature) = ("unsupported-certificate", "bad-signature");
        for (reason, detail, expected) in [
            (
                signature,
                "the handshake was not signed by the certificate's key",
                "belong together",
            ),
            (
                signature,
                "CN=a was not signed by the key of CN=CA that is configured: that CA has a new key and certificate, which is to be added, or the certificate is not what it signed",
                "renewed with a new key",
            ),
            (
                key,
                "the issuer CN=Sub allows a shorter path only (pathLenConstraint)",
                "a CA higher up",
            ),
            (
                key,
                "an issuer of the chain may not issue for the leaf's names (nameConstraints)",
                "names that the CA's nameConstraints permit",
            ),
            (
                key,
                "the keyUsage of the issuer CN=Sub lacks keyCertSign",
                "CA:TRUE",
            ),
            (
                key,
                "the issuer CN=Sub is not a CA (basicConstraints)",
                "CA:TRUE",
            ),
            (
                extended,
                "the extendedKeyUsage of the issuer CN=Sub lacks clientAuth",
                "CA:TRUE",
            ),
            (
                key,
                "the leaf is a CA's certificate (basicConstraints), which no client may show",
                "one of its own",
            ),
            (
                key,
                "the leaf's keyUsage lacks digitalSignature",
                "for TLS clients",
            ),
            (
                unsupported,
                "the leaf's key is RSA 1024: too short",
                "ECDSA P-256",
            ),
            (
                unsupported,
                "the leaf's key is RSA 16384: too long",
                "2048 to 8192 bits",
            ),
            (
                unsupported,
                "the leaf's key is Ed448 (unsupported): not one of RSA and others",
                "ECDSA P-256",
            ),
            (
                unsupported,
                "the leaf's key is unsupported: not one of RSA and others",
                "ECDSA P-256",
            ),
            (
                unsupported,
                "the leaf is of X.509 version 1, and tls.accept_v1_leaf is false",
                "accept_v1_leaf = true",
            ),
            (
                unsupported,
                "the trust anchor limits names (nameConstraints), to which a leaf of X.509 version 1 cannot be held",
                "extensions (version 3)",
            ),
            (
                unsupported,
                "the leaf is of X.509 version 2, which nobody uses",
                "extensions (version 3)",
            ),
            (
                unsupported,
                "the leaf cannot be decoded: the DER ends early",
                "other software",
            ),
            (
                unsupported,
                "the issuer CN=Sub has nameConstraints on directory names, which are not evaluated: nothing below it is taken; have it issued anew without them, or put an unconstrained CA below it under tls.client_ca",
                "without nameConstraints",
            ),
            (
                unsupported,
                "the signature of CN=a under CN=CA is too weak, or of an unknown kind (the issuer's key: RSA 1024)",
                "by a CA whose key",
            ),
            (
                unsupported,
                "more than 3 of the certificates that were sent have the subject CN=CA: no more are looked at, and those lead to no trust anchor",
                "its own chain alone",
            ),
            (
                unsupported,
                "one of the chain's certificates has a date before 1970, or one that cannot be read",
                "dates from 1970 on",
            ),
            (
                unsupported,
                "the chain does not hold: UnsupportedCriticalExtension",
                "without the critical extension",
            ),
            (
                unsupported,
                "the chain does not hold: MaximumPathDepthExceeded",
                "nearer to the trust anchor",
            ),
            (
                unsupported,
                "the chain does not hold: BadDer",
                "which the detail names",
            ),
            // A name is the peer's, and chooses no advice.
            (
                key,
                "the issuer CN=(pathLenConstraint) is not a CA (basicConstraints)",
                "CA:TRUE",
            ),
            // What versions before kept, and what tells no cause.
            (
                key,
                "the chain does not hold: PathLenConstraintViolated",
                "a CA higher up",
            ),
            (
                key,
                "the chain does not hold: NameConstraintViolation",
                "names that the CA's nameConstraints permit",
            ),
            (
                signature,
                "CN=a was not signed by the key of CN=CA",
                "renewed with a new key",
            ),
            (unsupported, "", "for TLS clients"),
        ] {
            let advice = remedy(reason, detail);
            assert!(advice.contains(expected), "{detail}: {advice}");
        }
    }
}

//! The flaws for which a certificate, or its chain, is not taken.
//!
//! Each is one row: the reason that it counts under, and its words, with `{}` for what is named in them. By its row a flaw is told, and by its
//! row it is known again in what was kept of a refusal, so nobody searches a text for words that stand elsewhere. A new one is
//! a new row; `cli/advice.rs` does not compile until it says what is to be done about it.

use std::cmp::Reverse;
use std::fmt::Display;

use super::reason::HandshakeReason;

/// What is named in a flaw's words.
const NAME: &str = "{}";

macro_rules! flaws {
    ($($flaw:ident: $reason:ident, $words:literal $(, formerly $former:literal)?;)*) => {
        /// Why a certificate, or its chain, is not taken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Flaw {
            $(#[doc = $words] $flaw,)*
        }

        impl Flaw {
            /// Every flaw. What was cut off before it tells two apart is taken for the first.
            pub const ALL: &[Self] = &[$(Self::$flaw),*];

            /// The reason that it counts under.
            pub fn reason(self) -> HandshakeReason {
                match self {
                    $(Self::$flaw => HandshakeReason::$reason,)*
                }
            }

            /// Its words, and then those that versions before had for it.
            fn forms(self) -> &'static [&'static str] {
                match self {
                    $(Self::$flaw => &[$words $(, $former)?],)*
                }
            }
        }
    };
}

flaws! {
    HandshakeSignature: BadSignature, "the handshake was not signed by the certificate's key";

    LeafUnreadable: UnsupportedCertificate, "the leaf cannot be decoded: {}";
    LeafVersion1: UnsupportedCertificate, "the leaf is of X.509 version 1, and tls.accept_v1_leaf is false";
    LeafVersion1Constrained: UnsupportedCertificate, "the trust anchor limits names (nameConstraints), to which a leaf of X.509 version 1 cannot be held";
    LeafVersion1Below: UnsupportedCertificate, "a leaf of X.509 version 1 must be signed by a trust anchor itself, not by an intermediate";
    LeafVersion2: UnsupportedCertificate, "the leaf is of X.509 version 2, which nobody uses";
    LeafIsCa: WrongKeyUsage, "the leaf is a CA's certificate (basicConstraints), which no client may show";
    LeafKeyUsage: WrongKeyUsage, "the leaf's keyUsage lacks digitalSignature";
    LeafExtendedKeyUsage: WrongExtendedKeyUsage, "the leaf's extendedKeyUsage lacks clientAuth";
    LeafAnyExtendedKeyUsage: WrongExtendedKeyUsage, "the leaf's extendedKeyUsage lacks clientAuth, for which anyExtendedKeyUsage does not stand";
    LeafKey: UnsupportedCertificate, "the leaf's key is {}: {}";
    LeafNames: WrongKeyUsage, "an issuer of the chain may not issue for the leaf's names (nameConstraints)", formerly "the chain does not hold: NameConstraintViolation";

    IssuerIsNoCa: WrongKeyUsage, "the issuer {} is not a CA (basicConstraints)";
    IssuerVersion1: UnsupportedCertificate, "the issuer {} is of X.509 version 1, and no trust anchor";
    IssuerKeyUsage: WrongKeyUsage, "the keyUsage of the issuer {} lacks keyCertSign";
    IssuerExtendedKeyUsage: WrongExtendedKeyUsage, "the extendedKeyUsage of the issuer {} lacks clientAuth";
    IssuerPathLen: WrongKeyUsage, "the issuer {} allows a shorter path only (pathLenConstraint)";
    IssuerPathLenSelfIssued: WrongKeyUsage, "the issuer {} allows a shorter path only (pathLenConstraint): what a CA issued to itself counts here";
    IssuerDirectoryNames: UnsupportedCertificate, "the issuer {} has nameConstraints on directory names, which are not evaluated: nothing below it is taken; have it issued anew without them, or put an unconstrained CA below it under tls.client_ca";
    AnchorExtension: UnsupportedCertificate, "the trust anchor {} has a critical extension that is not understood";

    ForeignKey: BadSignature, "{} was not signed by the key of {} that is configured: that CA has a new key and certificate, which is to be added, or the certificate is not what it signed";
    WeakSignature: UnsupportedCertificate, "the signature of {} under {} is too weak, or of an unknown kind (the issuer's key: {})";
    Namesakes: UnsupportedCertificate, "more than {} of the certificates that were sent have the subject {}: no more are looked at, and those lead to no trust anchor";

    // What webpki alone finds, and does not say of whom.
    ChainPathLen: WrongKeyUsage, "an issuer of the chain allows a shorter path only (pathLenConstraint)", formerly "the chain does not hold: PathLenConstraintViolated";
    ChainDate: UnsupportedCertificate, "one of the chain's certificates has a date before 1970, or one that cannot be read";
    ChainExtension: UnsupportedCertificate, "the chain does not hold: UnsupportedCriticalExtension";
    ChainDepth: UnsupportedCertificate, "the chain does not hold: MaximumPathDepthExceeded";
    Chain: UnsupportedCertificate, "the chain does not hold: {}";
}

impl Flaw {
    /// Its words, with these names in their places.
    pub(super) fn words(self, names: &[&dyn Display]) -> String {
        let form = self.forms().first().copied().unwrap_or_default();
        let mut pieces = form.split(NAME);
        debug_assert_eq!(pieces.clone().count(), names.len() + 1, "{form}");
        let mut words = pieces.next().unwrap_or_default().to_owned();
        for (name, piece) in names.iter().zip(pieces) {
            words += &name.to_string();
            words += piece;
        }
        words
    }

    /// The flaw that was told, by what was kept: its reason, and its words, which were cut off where they were long.
    pub fn told_by(reason: &str, detail: &str) -> Option<Self> {
        let of_the_reason = Self::ALL
            .iter()
            .filter(|flaw| flaw.reason().as_str() == reason);
        let alike = of_the_reason.flat_map(|flaw| {
            let forms = flaw.forms().iter();
            forms.map(move |form| (likeness(form, detail), *flaw))
        });
        alike
            .filter(|(likeness, _)| *likeness > 0)
            .min_by_key(|(likeness, _)| Reverse(*likeness))
            .map(|(_, flaw)| flaw)
    }
}

/// How many bytes of `detail` are those before the first name of `form`, and those after its last one as far as they go. Names are the peer's:
/// no words in them count.
fn likeness(form: &str, detail: &str) -> usize {
    let Some(((head, _), (_, tail))) = form.split_once(NAME).zip(form.rsplit_once(NAME)) else {
        return if form == detail { form.len() } else { 0 };
    };
    let kept = detail.strip_suffix('…').unwrap_or(detail);
    let Some(rest) = kept.strip_prefix(head) else {
        return 0;
    };
    let mut beginnings = (0..=tail.len()).rev().filter_map(|end| tail.get(..end));
    let shown = beginnings.find(|beginning| rest.ends_with(beginning));
    head.len() + shown.map_or(0, str::len)
}

#[cfg(test)]
mod tests {
    use super::super::{CONSTRAINS_DIRECTORY_NAMES, CONSTRAINS_DIRECTORY_NAMES_MEND};
    use super::*;

    /// What is told of a flaw that has these names in it.
    fn told(flaw: Flaw, names: [&str; 3]) -> String {
        let places = flaw.forms()[0].matches(NAME).count();
        let names = names.each_ref().map(|name| name as &dyn Display);
        flaw.words(&names[..places])
    }

    fn known(flaw: Flaw, detail: &str) -> Option<Flaw> {
        Flaw::told_by(flaw.reason().as_str(), detail)
    }

    #[test]
    fn every_flaw_is_known_by_what_is_told_of_it() {
        for &flaw in Flaw::ALL {
            let detail = told(flaw, ["CN=a", "CN=CA", "RSA 1024"]);
            assert_eq!(known(flaw, &detail), Some(flaw), "{detail}");
        }
    }

    #[test]
    fn no_name_makes_one_flaw_another() {
        for &other in Flaw::ALL {
            let words = told(other, ["CN=b"; 3]);
            for &flaw in Flaw::ALL {
                let detail = told(flaw, [&words; 3]);
                assert_eq!(known(flaw, &detail), Some(flaw), "{detail}");
            }
        }
    }

    #[test]
    fn what_was_cut_off_behind_its_names_is_known_by_the_words_that_are_left() {
        let name = format!("CN={}", "a".repeat(60));
        for &flaw in Flaw::ALL {
            let whole = told(flaw, [&name; 3]);
            let mut kept: String = whole.chars().take(256).collect();
            if kept != whole {
                kept.push('…');
            }
            assert_eq!(known(flaw, &kept), Some(flaw), "{kept}");
        }
    }

    #[test]
    fn of_a_detail_that_ends_within_the_name_the_first_flaw_that_begins_so_is_meant() {
        let detail = format!("the issuer CN={}…", "a".repeat(240));
        for (reason, expected) in [
            ("wrong-key-usage", Some(Flaw::IssuerIsNoCa)),
            ("unsupported-certificate", Some(Flaw::IssuerVersion1)),
            ("expired", None),
        ] {
            assert_eq!(Flaw::told_by(reason, &detail), expected);
        }
    }

    #[test]
    fn a_ca_that_constrains_directory_names_is_told_alike_everywhere() {
        let said = format!("{CONSTRAINS_DIRECTORY_NAMES}; {CONSTRAINS_DIRECTORY_NAMES_MEND}");
        let detail = told(Flaw::IssuerDirectoryNames, ["CN=CA"; 3]);
        assert_eq!(detail, format!("the issuer CN=CA {said}"));
    }
}

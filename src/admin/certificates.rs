//! What the operator is told of each certificate, revocation list, secret and shadow mark: one object, whatever it is of.

use serde::{Serialize, Serializer};

use crate::identity::ShadowMark;
use crate::store::{Millis, ReadFailure};
use crate::x509::Certificate;

/// A list of these, or why it cannot be had.
pub type Certificates = Result<Vec<CertificateView>, ReadFailure>;

/// One line of `certs list`, and one item of `/api/certificates`.
#[derive(Clone, Debug, Serialize)]
pub struct CertificateView {
    /// What it is, with what only such a one has.
    #[serde(flatten)]
    pub role: Role,
    /// RFC 4514. A revocation list and a secret have none.
    pub subject: Option<String>,
    /// RFC 4514. A secret has none.
    pub issuer: Option<String>,
    /// Lower-case hex.
    pub serial: Option<String>,
    /// Of the DER, lower-case hex.
    pub sha256: Option<String>,
    /// Of the SubjectPublicKeyInfo, lower-case hex.
    pub spki_sha256: Option<String>,
    /// The first moment of its validity.
    pub not_before: Option<Millis>,
    /// The last one.
    pub not_after: Option<Millis>,
    /// The producer whose it is, if it is one's.
    pub producer: Option<String>,
    /// That producer's tenant.
    pub tenant_id: Option<String>,
    /// When a delivery last came with it.
    pub last_seen: Option<Millis>,
    /// What is to be known of it.
    pub note: Option<String>,
}

/// What something is for.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Role {
    /// The receiver's own leaf.
    Server,
    /// What clients' certificates chain to.
    TrustAnchor,
    /// What is between the two.
    Intermediate,
    /// A revocation list; its validity is from this update to the next.
    Crl,
    /// A leaf that was seen.
    Client {
        /// The subject of the anchor that it last chained to.
        anchor_subject: Option<String>,
        /// The SHA-256 of that anchor.
        anchor_sha256: Option<String>,
        /// Whether a list that counts names it.
        revoked: bool,
    },
    /// A secret that verified a delivery.
    Secret {
        /// Its reference, never its value.
        secret: String,
    },
    /// What is marked `shadow = true`, and one subject that met it.
    Shadow(Box<ShadowView>),
}

/// What a mark would have decided.
#[derive(Clone, Debug, Serialize)]
pub struct ShadowView {
    /// What is marked.
    #[serde(serialize_with = "by_name")]
    pub mark: ShadowMark,
    /// The pin, if it is one.
    pub pin: Option<String>,
    /// The reference of the secret, if it is one.
    pub secret: Option<String>,
    /// The subject that met it; null while none has.
    pub met_by: Option<String>,
    /// Where that last came from.
    pub address: Option<String>,
    /// When it was first met.
    pub first_seen: Option<Millis>,
    /// How often it would have accepted.
    pub would_accept: u64,
    /// How many of these were refused.
    pub of_these_refused: u64,
    /// How often it would have refused.
    pub would_refuse: u64,
}

fn by_name<S: Serializer>(mark: &ShadowMark, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(mark.as_str())
}

impl CertificateView {
    /// A role of which nothing else is known.
    pub fn of(role: Role) -> Self {
        Self {
            role,
            subject: None,
            issuer: None,
            serial: None,
            sha256: None,
            spki_sha256: None,
            not_before: None,
            not_after: None,
            producer: None,
            tenant_id: None,
            last_seen: None,
            note: None,
        }
    }

    /// With all that a certificate says of itself.
    pub fn read_from(self, certificate: &Certificate) -> Self {
        Self {
            subject: Some(certificate.subject().to_string()),
            issuer: Some(certificate.issuer().to_string()),
            serial: Some(certificate.serial().to_string()),
            sha256: Some(certificate.sha256().to_string()),
            spki_sha256: Some(certificate.spki().hex()),
            not_before: Some(Millis(certificate.validity().not_before)),
            not_after: Some(Millis(certificate.validity().not_after)),
            ..self
        }
    }

    /// Who or what it is, for a person: its subject, or what there is in the place of one.
    pub fn whose(&self) -> Option<&str> {
        let (secret, pin) = match &self.role {
            Role::Secret { secret } => (Some(&**secret), None),
            Role::Shadow(met) => (met.secret.as_deref(), met.pin.as_deref()),
            Role::Server
            | Role::TrustAnchor
            | Role::Intermediate
            | Role::Crl
            | Role::Client { .. } => (None, None),
        };
        let subject = self.subject.as_deref();
        subject.or(secret).or(pin).or(self.issuer.as_deref())
    }
}

impl Role {
    /// The name, as it is printed; of a shadow mark, what is marked as well.
    pub fn name(&self) -> String {
        let name = match self {
            Self::Server => "server",
            Self::TrustAnchor => "trust_anchor",
            Self::Intermediate => "intermediate",
            Self::Crl => "crl",
            Self::Client { .. } => "client",
            Self::Secret { .. } => "secret",
            Self::Shadow(met) => return format!("shadow {}", met.mark.as_str()),
        };
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What every object has, and what those of this role have more.
    #[track_caller]
    fn check(role: Role, name: &str, more: Value) {
        let mut expected = json!({
            "subject": "CN=a", "issuer": null, "serial": null, "sha256": null, "spki_sha256": null, "not_before": null,
            "not_after": null, "producer": null, "tenant_id": null, "last_seen": null, "note": null,
        });
        let Value::Object(more) = more else {
            panic!("an object");
        };
        expected.as_object_mut().unwrap().extend(more);
        let view = CertificateView {
            subject: Some("CN=a".to_owned()),
            ..CertificateView::of(role)
        };
        assert_eq!(serde_json::to_value(&view).unwrap(), expected);
        assert_eq!(view.role.name(), name);
    }

    #[test]
    fn every_object_has_the_same_keys_and_those_of_its_role() {
        for (role, name) in [
            (Role::Server, "server"),
            (Role::TrustAnchor, "trust_anchor"),
            (Role::Intermediate, "intermediate"),
            (Role::Crl, "crl"),
        ] {
            check(role, name, json!({ "role": name }));
        }
        check(
            Role::Client {
                anchor_subject: None,
                anchor_sha256: Some("aa".to_owned()),
                revoked: false,
            },
            "client",
            json!({ "role": "client", "anchor_subject": null, "anchor_sha256": "aa", "revoked": false }),
        );
        let secret = "file:a.secret".to_owned();
        check(
            Role::Secret { secret },
            "secret",
            json!({ "role": "secret", "secret": "file:a.secret" }),
        );
        let met = ShadowView {
            mark: ShadowMark::Pin,
            pin: Some("bb".to_owned()),
            secret: None,
            met_by: None,
            address: None,
            first_seen: None,
            would_accept: 3,
            of_these_refused: 1,
            would_refuse: 2,
        };
        check(
            Role::Shadow(Box::new(met)),
            "shadow pin",
            json!({
                "role": "shadow", "mark": "pin", "pin": "bb", "secret": null, "met_by": null, "address": null, "first_seen": null,
                "would_accept": 3, "of_these_refused": 1, "would_refuse": 2,
            }),
        );
    }
}

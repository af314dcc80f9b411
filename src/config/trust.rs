//! What `[tls]` means, and whom we trust.

use std::sync::Arc;

use jiff::Timestamp;

use crate::tls::{
    CrlExpired, CrlMissing, MinVersion, Resumption, ServerIdentity, Trust, TrustFault, TrustParts,
    TrustPolicy, V1Leaf, bar_of_anchor,
};
use crate::x509::{Certificate, DistinguishedName, RevocationList};

use super::client_cas::{warn_of_an_anchors_bar, warn_of_an_intermediates_constraints};
use super::context::Context;
use super::crls::{
    revocation_lists, tell_of_lists_that_forgot, warn_of_a_list_that_is_not_named,
    warn_of_missing_lists, warn_of_old_lists,
};
use super::ends::{has_ended, warn_of_an_issuers_end};
use super::fault::Findings;
use super::file;
use super::found::{Found, certificates};
use super::key::KeyPath;
use super::server_identity;

/// Gate 1's part of a configuration.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// Our certificate and its key.
    pub identity: ServerIdentity,
    /// Whom we trust.
    pub trust: Arc<Trust>,
    /// The lowest version of TLS.
    pub min_version: MinVersion,
    /// Whether sessions are resumed.
    pub resumption: Resumption,
}

pub(super) fn tls(
    shape: &file::Tls,
    serving: Option<&Trust>,
    context: &mut Context<'_>,
    now: Timestamp,
) -> Option<TlsSettings> {
    let at = KeyPath::of(&["tls"]);
    let identity = server_identity::load(shape, &at, context, now);
    let authorities = Authorities::load(shape, &at, context);
    authorities.warn(now, &mut context.findings);
    let policy = policy(shape);
    let trust = authorities.trust(policy, &mut context.findings);
    authorities.warn_of_lists(policy, trust.as_ref(), now, &mut context.findings);
    if let (Some(trust), Some(serving)) = (&trust, serving) {
        let lists = &authorities.crls;
        tell_of_lists_that_forgot(lists, trust, serving, now, &mut context.findings);
    }
    Some(TlsSettings {
        identity: identity?,
        trust: Arc::new(trust?),
        min_version: match shape.min_version {
            file::MinVersion::Tls12 => MinVersion::Tls12,
            file::MinVersion::Tls13 => MinVersion::Tls13,
        },
        resumption: if shape.resumption {
            Resumption::Tickets
        } else {
            Resumption::Off
        },
    })
}

fn policy(shape: &file::Tls) -> TrustPolicy {
    TrustPolicy {
        v1_leaf: if shape.accept_v1_leaf {
            V1Leaf::Accept
        } else {
            V1Leaf::Refuse
        },
        crl_expired: match shape.crl_expired {
            file::CrlExpired::Refuse => CrlExpired::Refuse,
            file::CrlExpired::Warn => CrlExpired::Warn,
        },
        crl_missing: match shape.crl_missing {
            file::CrlMissing::Allow => CrlMissing::Allow,
            file::CrlMissing::Refuse => CrlMissing::Refuse,
        },
    }
}

/// Who vouches for clients, and what they revoked, as far as it could be read.
struct Authorities {
    anchors: Vec<Found<Certificate>>,
    shadow_anchors: Vec<Found<Certificate>>,
    intermediates: Vec<Found<Certificate>>,
    crls: Vec<Found<RevocationList>>,
}

impl Authorities {
    fn load(shape: &file::Tls, at: &KeyPath, context: &mut Context<'_>) -> Self {
        let (mut anchors, shadow_anchors) = client_cas(shape, &at.key("client_ca"), context);
        let intermediates = intermediates(shape, &at.key("intermediates"), context);
        let key = at.key("crls");
        let crls = shape.crls.iter().enumerate();
        let crls = crls
            .flat_map(|(index, path)| revocation_lists(path, &key.index(index), context))
            .collect();
        warn_of_a_list_that_is_not_named(&anchors, &shape.crls, &key, context);
        once_each(&mut anchors);
        Self {
            anchors,
            shadow_anchors,
            intermediates,
            crls,
        }
    }

    /// Warns of what each certificate says of itself.
    fn warn(&self, now: Timestamp, findings: &mut Findings) {
        let none_left = self
            .anchors
            .iter()
            .all(|anchor| has_ended(anchor, now) || bar_of_anchor(&anchor.what).is_some());
        for found in &self.anchors {
            warn_of_an_issuers_end(found, none_left, now, findings);
            warn_of_an_anchors_bar(found, none_left, findings);
        }
        for found in &self.shadow_anchors {
            warn_of_an_issuers_end(found, false, now, findings);
            warn_of_an_anchors_bar(found, false, findings);
        }
        for found in &self.intermediates {
            warn_of_an_issuers_end(found, false, now, findings);
            warn_of_an_intermediates_constraints(found, findings);
        }
    }

    fn warn_of_lists(
        &self,
        policy: TrustPolicy,
        trust: Option<&Trust>,
        now: Timestamp,
        findings: &mut Findings,
    ) {
        warn_of_old_lists(&self.crls, policy, trust, now, findings);
        if let Some(trust) = trust
            && policy.crl_missing == CrlMissing::Refuse
        {
            let issuers = self.anchors.iter().chain(&self.intermediates);
            warn_of_missing_lists(issuers, trust, now, findings);
        }
    }

    fn trust(&self, policy: TrustPolicy, findings: &mut Findings) -> Option<Trust> {
        let of_these = |anchors: Vec<Certificate>| TrustParts {
            anchors,
            policy,
            ..TrustParts::default()
        };
        if !self.shadow_anchors.is_empty() {
            // On their own first, so that a fault names the right one.
            let parts = of_these(all(&self.shadow_anchors));
            for fault in Trust::build(parts).err().into_iter().flatten() {
                tell(&fault, &self.shadow_anchors, &[], findings);
            }
        }
        if findings.any_within(&KeyPath::of(&["tls"])) || self.anchors.is_empty() {
            // What could not be read would be told of again as a CA that is missing; the rest is still looked at.
            for found in &self.anchors {
                let parts = of_these(vec![found.what.clone()]);
                for fault in Trust::build(parts).err().into_iter().flatten() {
                    tell(&fault, std::slice::from_ref(found), &[], findings);
                }
            }
            return None;
        }
        let parts = TrustParts {
            shadow_anchors: all(&self.shadow_anchors),
            intermediates: all(&self.intermediates),
            crls: all(&self.crls),
            ..of_these(all(&self.anchors))
        };
        match Trust::build(parts) {
            Ok(trust) => Some(trust),
            Err(faults) => {
                for fault in faults {
                    tell(&fault, &self.anchors, &self.crls, findings);
                }
                None
            }
        }
    }
}

fn all<T: Clone>(found: &[Found<T>]) -> Vec<T> {
    found.iter().map(|found| found.what.clone()).collect()
}

/// The CAs that decide, and those that only watch.
fn client_cas(
    shape: &file::Tls,
    key: &KeyPath,
    context: &mut Context<'_>,
) -> (Vec<Found<Certificate>>, Vec<Found<Certificate>>) {
    let (mut anchors, mut shadow_anchors) = (Vec::new(), Vec::new());
    if shape.client_ca.iter().all(|ca| ca.shadow) {
        let mend = "write client_ca = [\"certs/ca.crt\"]: only its certificates are let in";
        let what = "no CA is trusted, so no client could be let in";
        context.findings.missing(key, what, mend);
    }
    for (index, ca) in shape.client_ca.iter().enumerate() {
        let found = certificates(&ca.text, &key.index(index), context);
        if ca.shadow {
            shadow_anchors.extend(found);
        } else {
            anchors.extend(found);
        }
    }
    once_each(&mut shadow_anchors);
    (anchors, shadow_anchors)
}

fn intermediates(
    shape: &file::Tls,
    key: &KeyPath,
    context: &mut Context<'_>,
) -> Vec<Found<Certificate>> {
    let mut intermediates = Vec::new();
    for (index, path) in shape.intermediates.iter().enumerate() {
        intermediates.extend(certificates(path, &key.index(index), context));
    }
    // What signs a CA's lists for it need not be a CA's (RFC 5280 §4.2.1.3).
    let signs_lists = |one: &Certificate| one.key_usage().is_some_and(|usage| usage.crl_sign());
    for found in &intermediates {
        if !found.what.is_ca() && !signs_lists(&found.what) {
            not_a_ca(found, found.what.subject(), &mut context.findings);
        }
    }
    intermediates
}

fn tell(
    fault: &TrustFault,
    anchors: &[Found<Certificate>],
    crls: &[Found<RevocationList>],
    findings: &mut Findings,
) {
    match fault {
        TrustFault::NoAnchor => {}
        TrustFault::NotACa { subject, anchor } => {
            if let Some(found) = anchors.get(*anchor) {
                not_a_ca(found, subject, findings);
            }
        }
        TrustFault::Unusable {
            subject,
            anchor,
            detail,
        } => {
            if let Some(found) = anchors.get(*anchor) {
                let file = found.file.display();
                let what = format!("{subject} in {file} cannot be a trust anchor: {detail}");
                findings.fault(
                    &found.key,
                    what,
                    "ask the CA for a certificate of the usual form",
                );
            }
        }
        TrustFault::ForeignCrl { issuer, crl } => {
            if let Some(found) = crls.get(*crl) {
                let file = found.file.display();
                let what =
                    format!("no CA that is configured here signed the CRL of {issuer} in {file}");
                let mend = "take it out, or name its CA in tls.client_ca or tls.intermediates";
                findings.fault(&found.key, what, mend);
            }
        }
        TrustFault::UnusableCrl {
            issuer,
            crl,
            detail,
        } => {
            if let Some(found) = crls.get(*crl) {
                let file = found.file.display();
                let what = format!("the CRL of {issuer} in {file} cannot be used: {detail}");
                findings.fault(&found.key, what, "ask the CA for a full and direct CRL");
            }
        }
    }
}

fn not_a_ca<T>(found: &Found<T>, subject: &DistinguishedName, findings: &mut Findings) {
    let what = format!(
        "{} holds {subject}, which is not a CA's certificate",
        found.file.display()
    );
    let mend = "name the certificate of the CA that issues your producers' certificates";
    findings.fault(&found.key, what, mend);
}

/// The same certificate in two files is one.
fn once_each(found: &mut Vec<Found<Certificate>>) {
    let mut seen = std::collections::HashSet::new();
    found.retain(|found| seen.insert(*found.what.sha256()));
}

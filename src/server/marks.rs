//! What is marked `shadow = true`, and what it would have decided so far: so that a change is proven before it is made.

use crate::admin::{CertificateView, Role, ShadowView};
use crate::config::Snapshot;
use crate::identity::{Force, ShadowMark};
use crate::store::ShadowSeen;
use crate::x509::Certificate;

/// One configured mark.
struct Mark<'a> {
    mark: ShadowMark,
    /// As the tallies name it.
    what: String,
    tenant: Option<&'a str>,
    producer: Option<&'a str>,
    anchor: Option<&'a Certificate>,
    secret: Option<&'a str>,
}

/// Every mark of the configuration, with a line for each subject that met it, or one line if none did.
pub(super) fn marks(snapshot: &Snapshot, seen: &[ShadowSeen]) -> Vec<CertificateView> {
    let mut lines = Vec::new();
    for mark in configured(snapshot) {
        let met: Vec<_> = seen.iter().filter(|tally| mark.is(tally)).collect();
        if met.is_empty() {
            lines.push(mark.line(None));
        }
        lines.extend(met.into_iter().map(|tally| mark.line(Some(tally))));
    }
    lines
}

/// The tallies of what is still marked.
pub fn still_marked(snapshot: &Snapshot, mut seen: Vec<ShadowSeen>) -> Vec<ShadowSeen> {
    let marks = configured(snapshot);
    seen.retain(|tally| marks.iter().any(|mark| mark.is(tally)));
    seen
}

fn configured(snapshot: &Snapshot) -> Vec<Mark<'_>> {
    let of_ca = |anchor| Mark {
        mark: ShadowMark::ClientCa,
        what: Certificate::sha256(anchor).to_string(),
        tenant: None,
        producer: None,
        anchor: Some(anchor),
        secret: None,
    };
    let mut marks: Vec<_> = snapshot
        .trust()
        .shadow_anchors()
        .iter()
        .map(of_ca)
        .collect();
    for producer in snapshot.directory().producers() {
        let of = |mark, what: String, secret| Mark {
            mark,
            what,
            tenant: Some(producer.tenant.as_str()),
            producer: Some(&producer.name),
            anchor: None,
            secret,
        };
        if producer.force == Force::Shadow {
            let name = producer.name.to_string();
            marks.push(of(ShadowMark::Producer, name, None));
        }
        let pins = producer.shadow_pins.iter();
        marks.extend(pins.map(|pin| of(ShadowMark::Pin, pin.to_string(), None)));
        let verifier = snapshot.verifier(producer.id);
        let secrets = verifier
            .into_iter()
            .flat_map(|verifier| verifier.shadow_secrets());
        marks
            .extend(secrets.map(|secret| of(ShadowMark::Secret, secret.to_string(), Some(secret))));
    }
    marks
}

impl Mark<'_> {
    fn is(&self, tally: &ShadowSeen) -> bool {
        // A CA is everybody's: whom the subject names is no part of the mark.
        let is_of_its_producer = self.anchor.is_some()
            || (tally.tenant_id.as_deref(), tally.producer.as_deref())
                == (self.tenant, self.producer);
        is_of(self.mark, tally) && tally.what == self.what && is_of_its_producer
    }

    fn line(&self, tally: Option<&ShadowSeen>) -> CertificateView {
        let of = |configured: Option<&str>, named: Option<&String>| {
            configured.map(str::to_owned).or_else(|| named.cloned())
        };
        let met = ShadowView {
            mark: self.mark,
            pin: (self.mark == ShadowMark::Pin).then(|| self.what.clone()),
            secret: self.secret.map(str::to_owned),
            met_by: tally.map(|tally| tally.subject.clone()),
            address: tally.map(|tally| tally.address.clone()),
            first_seen: tally.map(|tally| tally.first_seen),
            would_accept: tally.map_or(0, |tally| tally.accept.saturating_add(tally.agree)),
            of_these_refused: tally.map_or(0, |tally| tally.accept),
            would_refuse: tally.map_or(0, |tally| tally.refuse),
        };
        let view = CertificateView {
            producer: of(
                self.producer,
                tally.and_then(|tally| tally.producer.as_ref()),
            ),
            tenant_id: of(
                self.tenant,
                tally.and_then(|tally| tally.tenant_id.as_ref()),
            ),
            last_seen: tally.map(|tally| tally.last_seen),
            note: Some(tally.map_or_else(|| "nothing has met it yet".to_owned(), in_words)),
            ..CertificateView::of(Role::Shadow(Box::new(met)))
        };
        match self.anchor {
            Some(anchor) => view.read_from(anchor),
            None => view,
        }
    }
}

fn is_of(mark: ShadowMark, tally: &ShadowSeen) -> bool {
    tally.mark.parse() == Ok(mark)
}

/// What a tally says, in words.
pub fn in_words(tally: &ShadowSeen) -> String {
    let things = if is_of(ShadowMark::ClientCa, tally) {
        "handshakes"
    } else {
        "deliveries"
    };
    let mut parts = Vec::new();
    if tally.accept > 0 {
        let count = tally.accept;
        parts.push(format!(
            "would have accepted {things} that were refused: {count}"
        ));
    }
    if tally.agree > 0 {
        let count = tally.agree;
        parts.push(format!(
            "would have accepted {things} that were accepted: {count}"
        ));
    }
    if tally.refuse > 0 {
        let count = tally.refuse;
        parts.push(format!("by itself would have refused {things}: {count}"));
    }
    format!("{} ({})", parts.join(", "), tally.subject)
}

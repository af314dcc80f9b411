//! `countersign why` for a person: what is known, sentence by sentence.

use jiff::Timestamp;

use super::known::{Certificate, Known, Refused, Sender};
use super::output::say;
use crate::config::Snapshot;
use crate::server::{in_words, of_another};
use crate::store::ShadowSeen;
use crate::text::printable;

/// Groups of refusals that are told of one sender, at most.
const REFUSALS_MAX: usize = 10;
const DAY_SECONDS: i64 = 86_400;

/// Prints what is known.
pub(super) fn tell(sender: &Sender<'_>, snapshot: &Snapshot, now: Timestamp) {
    for producer in &sender.producers {
        tell_producer(producer, snapshot, now);
    }
    if sender.producers.is_empty() {
        say(&format!(
            "No producer has the subject {}: whoever presents it is refused.",
            printable(sender.who)
        ));
        tell_refusals(&sender.refusals);
        tell_shadows(&sender.shadows, snapshot);
    }
}

fn tell_producer(known: &Known<'_>, snapshot: &Snapshot, now: Timestamp) {
    say(&format!(
        "{} of {} has the subject {} and delivers to {}{}.",
        known.producer,
        known.tenant_id,
        printable(&known.subject),
        match known.paths.as_slice() {
            [] => "no path at all".to_owned(),
            paths => paths.join(", "),
        },
        match known.pins {
            0 => String::new(),
            pins => format!(", with one of {pins} pinned keys"),
        }
    ));
    if known.shadow {
        say(
            "It is marked shadow = true, so it decides nothing and its deliveries are refused: take the mark away to let it in.",
        );
    }
    for cut in &known.cut_offs {
        say(&format!(
            "{} is cut off since {:.0}: countersign cutoff --lift lets it in again.",
            cut.who, cut.since.0
        ));
    }
    if known.certificates.is_empty() {
        say("No delivery of it was ever accepted.");
    }
    for certificate in &known.certificates {
        tell_certificate(certificate, now);
    }
    for secret in &known.secrets {
        let doubt = of_another(snapshot, secret).map_or_else(String::new, |why| format!("; {why}"));
        say(&format!(
            "Its secret {} last verified a delivery at {:.0}{doubt}.",
            printable(&secret.secret),
            secret.last_used.0
        ));
    }
    tell_shadows(&known.shadows, snapshot);
    if known.refusals.is_empty() {
        say("Nothing of it was turned away.");
    } else {
        tell_refusals(&known.refusals);
    }
}

fn tell_certificate(certificate: &Certificate<'_>, now: Timestamp) {
    let leaf = certificate.seen;
    say(&format!(
        "Its certificate {} (from {}) was first seen at {:.0} and last at {:.0}, and {}.",
        leaf.serial,
        leaf.anchor_subject
            .as_deref()
            .map_or_else(|| printable(&leaf.issuer), printable),
        leaf.first_seen.0,
        leaf.last_seen.0,
        end(leaf.not_after.0, now),
    ));
    if certificate.revoked {
        say(&format!(
            "  It is revoked: a CRL of {} names it. Its successor must be another certificate.",
            printable(&leaf.issuer)
        ));
    }
    for cut in &certificate.cut_offs {
        say(&format!(
            "  It is cut off by {} since {:.0}: countersign cutoff --{} ... --lift lets it in again.",
            cut.who, cut.since.0, cut.kind
        ));
    }
}

fn end(not_after: Timestamp, now: Timestamp) -> String {
    let days = (not_after.as_second() - now.as_second()).div_euclid(DAY_SECONDS);
    if not_after < now {
        format!("ended at {not_after:.0}")
    } else {
        format!("ends at {not_after:.0}, in {days} days")
    }
}

/// What marks with `shadow = true` would have decided.
fn tell_shadows(shadows: &[&ShadowSeen], snapshot: &Snapshot) {
    for tally in shadows {
        let anchors = snapshot.trust().shadow_anchors();
        let anchor = anchors
            .iter()
            .find(|anchor| anchor.sha256().to_string() == tally.what);
        let which = anchor.map_or_else(|| tally.what.clone(), |one| one.subject().to_string());
        say(&format!(
            "The {} {}, which only watches (shadow = true), {}, last at {:.0}.",
            match tally.mark.as_str() {
                "client_ca" => "CA",
                other => other,
            },
            printable(&which),
            printable(&in_words(tally)),
            tally.last_seen.0
        ));
    }
}

fn tell_refusals(refused: &[Refused<'_>]) {
    for Refused {
        refusal,
        what_to_do,
    } in refused.iter().take(REFUSALS_MAX)
    {
        let times = if refusal.count == 1 {
            "once".to_owned()
        } else {
            format!("{} times", refusal.count)
        };
        say(&format!(
            "It was refused {times} with {} ({}) from {}, first at {:.0}, last at {:.0}{}.",
            refusal.reason,
            refusal.gate,
            refusal.address,
            refusal.first_seen.0,
            refusal.last_seen.0,
            refusal
                .detail
                .as_deref()
                .map(|detail| format!(": {}", printable(detail)))
                .unwrap_or_default(),
        ));
        say(&format!("  What to do: {what_to_do}."));
    }
    if refused.len() > REFUSALS_MAX {
        say(&format!(
            "{} more groups: countersign refusals list.",
            refused.len() - REFUSALS_MAX
        ));
    }
}

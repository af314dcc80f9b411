//! Every certificate that matters here, and how long each still holds.

use std::collections::HashMap;
use std::error::Error;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::admin::Unreadable;
use crate::config::Snapshot;
use crate::store::{LeafSeen, Store};
use crate::telemetry::Meters;
use crate::x509::Leaf;

/// Days before an end at which it is said once more.
const DAYS: [i64; 6] = [28, 14, 7, 3, 1, 0];
const DAY_SECONDS: i64 = 86_400;
/// How often ends are looked at.
const LOOK_SECONDS: i64 = 60;

/// The server's leaf, the anchors, and every client leaf that was seen.
pub(super) async fn list(snapshot: &Snapshot, store: &Store) -> Result<Vec<Value>, Unreadable> {
    let seen = store.views().leaves_seen().await.map_err(|failure| {
        let cause = failure
            .source()
            .map(|cause| format!(": {cause}"))
            .unwrap_or_default();
        Unreadable {
            detail: format!("{failure}{cause}"),
        }
    })?;
    let mut all = vec![ours("server", snapshot.tls().identity.leaf(), None)];
    for anchor in snapshot.trust().anchors() {
        let sha256 = anchor.sha256().to_string();
        let used = seen
            .iter()
            .filter(|leaf| leaf.anchor_sha256.as_deref() == Some(&sha256));
        all.push(ours(
            "trust_anchor",
            anchor,
            used.map(|leaf| leaf.last_seen.0).max(),
        ));
    }
    all.extend(seen.iter().map(client));
    Ok(all)
}

fn ours(role: &str, leaf: &Leaf, last_seen: Option<Timestamp>) -> Value {
    json!({
        "role": role,
        "subject": leaf.subject().to_string(),
        "issuer": leaf.issuer().to_string(),
        "serial": leaf.serial().to_string(),
        "sha256": leaf.sha256().to_string(),
        "spki_sha256": leaf.spki().hex(),
        "not_before": format!("{:.3}", leaf.validity().not_before),
        "not_after": format!("{:.3}", leaf.validity().not_after),
        "producer": null,
        "tenant_id": null,
        "last_seen": last_seen.map(|time| format!("{time:.3}")),
    })
}

fn client(leaf: &LeafSeen) -> Value {
    json!({
        "role": "client",
        "subject": leaf.subject,
        "issuer": leaf.issuer,
        "serial": leaf.serial,
        "sha256": leaf.sha256,
        "spki_sha256": leaf.spki_sha256,
        "not_before": leaf.not_before,
        "not_after": leaf.not_after,
        "producer": leaf.producer,
        "tenant_id": leaf.tenant_id,
        "last_seen": leaf.last_seen,
        "anchor_subject": leaf.anchor_subject,
        "anchor_sha256": leaf.anchor_sha256,
    })
}

/// Which ends have been warned of, and how near they were.
#[derive(Default)]
pub(super) struct Warnings {
    looked: i64,
    said: HashMap<String, i64>,
}

impl Warnings {
    /// Tells the metrics when each certificate ends, and the log once for each of the days before.
    pub(super) async fn look(
        &mut self,
        snapshot: &Snapshot,
        store: &Store,
        meters: &Meters,
        now: Timestamp,
    ) {
        if now.as_second() - self.looked < LOOK_SECONDS {
            return;
        }
        self.looked = now.as_second();
        self.one(meters, "server", snapshot.tls().identity.leaf(), now);
        for anchor in snapshot.trust().anchors() {
            self.one(meters, "trust_anchor", anchor, now);
        }
        for crl in snapshot.trust().crls() {
            if let Some(end) = crl.next_update() {
                meters.crl_ends(crl.issuer().to_string(), end.as_second());
                self.warn(
                    &format!("crl {}", crl.issuer()),
                    "crl",
                    &crl.issuer().to_string(),
                    end,
                    now,
                );
            }
        }
        // The newest leaf of a producer is the one that counts, also if it has not called since.
        let Ok(seen) = store.views().leaves_seen().await else {
            return;
        };
        let mut newest: HashMap<(&str, &str), &LeafSeen> = HashMap::new();
        for leaf in &seen {
            let entry = newest
                .entry((&leaf.tenant_id, &leaf.producer))
                .or_insert(leaf);
            if leaf.not_after.0 > entry.not_after.0 {
                *entry = leaf;
            }
        }
        for leaf in newest.into_values() {
            let end = leaf.not_after.0;
            meters.certificate_ends(
                "client",
                leaf.subject.clone(),
                leaf.serial.clone(),
                leaf.producer.clone(),
                end.as_second(),
            );
            let whose = format!("{} of {}", leaf.producer, leaf.tenant_id);
            self.warn(&leaf.sha256, "client", &whose, end, now);
        }
    }

    fn one(&mut self, meters: &Meters, role: &'static str, leaf: &Leaf, now: Timestamp) {
        let end = leaf.validity().not_after;
        let (subject, serial) = (leaf.subject().to_string(), leaf.serial().to_string());
        meters.certificate_ends(
            role,
            subject.clone(),
            serial,
            String::new(),
            end.as_second(),
        );
        self.warn(&leaf.sha256().to_string(), role, &subject, end, now);
    }

    fn warn(&mut self, which: &str, role: &str, whose: &str, end: Timestamp, now: Timestamp) {
        let left = (end.as_second() - now.as_second()).div_euclid(DAY_SECONDS);
        let Some(mark) = DAYS.into_iter().rev().find(|days| left <= *days) else {
            return;
        };
        if self.said.get(which).is_some_and(|said| *said <= mark) {
            return;
        }
        self.said.insert(which.to_owned(), mark);
        let days_left = left.max(0);
        if left < 0 {
            tracing::error!(role, whose, ended = %format!("{end:.0}"), "a certificate has ended");
        } else {
            tracing::warn!(role, whose, days_left, ends = %format!("{end:.0}"), "a certificate ends soon");
        }
    }
}

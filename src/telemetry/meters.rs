//! Every metric, by name.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};

use super::described::{Described, Kind, describe_all};
use super::ends::{CertificateEnd, CrlEnd};
use crate::identity::IdentityRefusal;
use crate::inbox::{BATCH_METRIC, COMMIT_METRIC, EVENTS_METRIC, InboxFailure};
use crate::payments::Unreadable;
use crate::refusals::Gate;
use crate::tls::{HandshakeReason, LimitReached};

/// Upper bounds of the buckets of durations, seconds.
pub(super) const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0,
];

/// Upper bounds of the buckets of batch sizes, events.
pub(super) const EVENTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

const REFUSALS: &str = "countersign_refusals_total";
const RESPONSES: &str = "countersign_responses_total";
const REQUEST: &str = "countersign_request_seconds";
const STORE_WAIT: &str = "countersign_store_wait_seconds";
const FAILURES: &str = "countersign_failures_total";
const UNMAPPED: &str = "countersign_unmapped_events_total";
const UNREAD: &str = "countersign_unread_values_total";
const CLOSED_AT_LIMIT: &str = "countersign_connections_closed_total";
const CONNECTIONS: &str = "countersign_connections";
const SHADOW: &str = "countersign_shadow_verdicts_total";
const READY: &str = "countersign_ready";
const RELOADS: &str = "countersign_reloads_total";
const RELOAD_FAILING_SINCE: &str = "countersign_reload_failing_since_seconds";
const STORE_BYTES: &str = "countersign_store_bytes";
const STORE_FREE: &str = "countersign_store_free_bytes";
const PRUNED: &str = "countersign_pruned_total";
const PRUNED_BYTES: &str = "countersign_pruned_bytes_total";
const PRUNE_FAILURES: &str = "countersign_prune_failures_total";
const LOG_LINES_LOST: &str = "countersign_log_lines_lost_total";
const BUILD: &str = "countersign_build_info";

/// What each metric says.
const TABLE: &[Described] = &[
    (
        Kind::Counter,
        Unit::Count,
        EVENTS_METRIC,
        "Events that passed the signature, by tenant, producer and receipt (accepted, duplicate, conflict, quarantined)",
    ),
    (
        Kind::Histogram,
        Unit::Count,
        BATCH_METRIC,
        "Events in one transaction that has any",
    ),
    (
        Kind::Histogram,
        Unit::Seconds,
        COMMIT_METRIC,
        "One transaction of events, from its begin to its durable commit",
    ),
    (
        Kind::Counter,
        Unit::Count,
        REFUSALS,
        "What was turned away, by gate (handshake, identity, signature), reason, and tenant and producer claimed (\"\" if none)",
    ),
    (
        Kind::Counter,
        Unit::Count,
        RESPONSES,
        "Answers on the providers' side, by status",
    ),
    (
        Kind::Histogram,
        Unit::Seconds,
        REQUEST,
        "From a request's head to its answer",
    ),
    (
        Kind::Histogram,
        Unit::Seconds,
        STORE_WAIT,
        "From the signature's check to the durable commit",
    ),
    (
        Kind::Counter,
        Unit::Count,
        FAILURES,
        "Deliveries answered 503, by cause (the store's queue_full, timed_out, unavailable, commit, row, shutting_down; request_timeout; overloaded: no room for more deliveries; defect)",
    ),
    (
        Kind::Counter,
        Unit::Count,
        UNMAPPED,
        "New events that speak of no payment, by tenant, producer and the provider's event type (\"other\" after the first 100)",
    ),
    (
        Kind::Counter,
        Unit::Count,
        UNREAD,
        "Values of new events that stand where the mapping says and cannot be read, by tenant, producer and field (status, currency, amount, amount_refunded)",
    ),
    (
        Kind::Counter,
        Unit::Count,
        CLOSED_AT_LIMIT,
        "Connections closed before a handshake, by the limit they met",
    ),
    (
        Kind::Gauge,
        Unit::Count,
        CONNECTIONS,
        "Live connections that passed the handshake",
    ),
    (
        Kind::Counter,
        Unit::Count,
        SHADOW,
        "What marks with shadow = true would have done, by mark, verdict (accept: what was refused; agree: what was accepted as well; refuse), tenant (\"\" for a CA) and producer",
    ),
    (
        Kind::Gauge,
        Unit::Count,
        READY,
        "1 while deliveries can be made durable, else 0",
    ),
    (
        Kind::Counter,
        Unit::Count,
        RELOADS,
        "Reloads, by outcome (done, refused)",
    ),
    (
        Kind::Gauge,
        Unit::Seconds,
        RELOAD_FAILING_SINCE,
        "Unix time since when reloads are refused; 0 while the last one held",
    ),
    (
        Kind::Gauge,
        Unit::Bytes,
        STORE_BYTES,
        "What the store takes on disk, by part (file and log; of a PostgreSQL bodies and rest)",
    ),
    (
        Kind::Gauge,
        Unit::Bytes,
        STORE_FREE,
        "Of an embedded store's file, what is empty and used again before the file grows",
    ),
    (
        Kind::Counter,
        Unit::Count,
        PRUNED,
        "What was pruned for its age, by kind (bodies, events, keys)",
    ),
    (
        Kind::Counter,
        Unit::Bytes,
        PRUNED_BYTES,
        "What the bodies and headers that went were long",
    ),
    (
        Kind::Counter,
        Unit::Count,
        PRUNE_FAILURES,
        "Passes of pruning that failed",
    ),
    (
        Kind::Counter,
        Unit::Count,
        LOG_LINES_LOST,
        "Log lines that standard error did not take",
    ),
    (
        Kind::Gauge,
        Unit::Count,
        BUILD,
        "1, with the version as a label",
    ),
];

pub(super) fn describe() {
    describe_all(TABLE);
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    begin_at_zero();
}

/// The cause of a failure that took longer than a request may.
pub const REQUEST_TIMEOUT: &str = "request_timeout";
/// The cause of one for which too many bodies are held.
pub const OVERLOADED: &str = "overloaded";
/// The cause of one that must not be.
pub const DEFECT: &str = "defect";

/// A series that begins with its first event has no rate then: the burst that matters would raise no alarm. What producers claim is not
/// bounded, so of refusals only those that may name none begin here.
fn begin_at_zero() {
    let causes = [REQUEST_TIMEOUT, OVERLOADED, DEFECT];
    for cause in InboxFailure::NAMES.into_iter().chain(causes) {
        counter!(FAILURES, "cause" => cause).increment(0);
    }
    for limit in LimitReached::ALL {
        counter!(CLOSED_AT_LIMIT, "limit" => limit.as_str()).increment(0);
    }
    counter!(PRUNE_FAILURES).increment(0);
    counter!(LOG_LINES_LOST).increment(0);
    for reason in HandshakeReason::ALL {
        begin_refusals(Gate::Handshake, reason.as_str());
    }
    for reason in IdentityRefusal::NAMES_OF_NOBODY {
        begin_refusals(Gate::Identity, reason);
    }
}

/// Those that name nobody.
fn begin_refusals(gate: Gate, reason: &'static str) {
    counter!(REFUSALS, "gate" => gate.as_str(), "reason" => reason, "tenant" => "", "producer" => "")
        .increment(0);
}

/// A log line could not be written.
pub(super) fn log_line_lost() {
    counter!(LOG_LINES_LOST).increment(1);
}

/// Whose waiting a histogram tells.
#[derive(Clone, Copy, Debug)]
pub enum Wait {
    /// The whole request.
    Request,
    /// The store alone.
    Store,
}

/// The metrics that no producer owns, with handles for the hot path.
pub struct Meters {
    /// By status, from 100 on: resolved at its first use.
    responses: Box<[OnceLock<Counter>]>,
    request: Histogram,
    store_wait: Histogram,
    connections: Gauge,
    ready: Gauge,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            responses: (100..600).map(|_status| OnceLock::new()).collect(),
            request: histogram!(REQUEST),
            store_wait: histogram!(STORE_WAIT),
            connections: gauge!(CONNECTIONS),
            ready: gauge!(READY),
        }
    }
}

impl Meters {
    /// Someone waited `seconds`.
    pub fn waited(&self, who: Wait, seconds: f64) {
        match who {
            Wait::Request => self.request.record(seconds),
            Wait::Store => self.store_wait.record(seconds),
        }
    }

    /// So many connections are live.
    pub fn connections(&self, live: usize) {
        self.connections
            .set(f64::from(u32::try_from(live).unwrap_or(u32::MAX)));
    }

    /// Whether deliveries can be made durable.
    pub fn ready(&self, ready: bool) {
        self.ready.set(f64::from(u8::from(ready)));
    }

    /// An answer of this status was given.
    pub fn responded(&self, status: u16) {
        let resolve = || counter!(RESPONSES, "status" => status.to_string());
        if let Some(counter) = self.responses.get(usize::from(status).wrapping_sub(100)) {
            counter.get_or_init(resolve).increment(1);
        }
    }

    /// A part of the store takes so much on disk.
    pub fn store_bytes(&self, part: &'static str, bytes: u64) {
        gauge!(STORE_BYTES, "part" => part).set(as_float(bytes));
    }

    /// So much of the store's file is empty.
    pub fn store_free(&self, bytes: u64) {
        gauge!(STORE_FREE).set(as_float(bytes));
    }

    /// So many had had their time, and went.
    pub fn pruned(&self, kind: &'static str, count: u64) {
        counter!(PRUNED, "kind" => kind).increment(count);
    }

    /// What went was so long.
    pub fn pruned_bytes(&self, bytes: u64) {
        counter!(PRUNED_BYTES).increment(bytes);
    }

    /// A pass of pruning was broken off.
    pub fn prune_failed(&self) {
        counter!(PRUNE_FAILURES).increment(1);
    }

    /// A delivery met a failure of ours.
    pub fn failed(&self, cause: &'static str) {
        counter!(FAILURES, "cause" => cause).increment(1);
    }

    /// Something was turned away.
    pub fn refused(&self, gate: &'static str, reason: &'static str, tenant: &str, producer: &str) {
        counter!(
            REFUSALS,
            "gate" => gate,
            "reason" => reason,
            "tenant" => tenant.to_owned(),
            "producer" => producer.to_owned()
        )
        .increment(1);
    }

    /// A connection was closed before its handshake.
    pub fn closed_at_limit(&self, limit: &'static str) {
        counter!(CLOSED_AT_LIMIT, "limit" => limit).increment(1);
    }

    /// A mark that only watches met something.
    pub fn shadow(&self, mark: &'static str, would: &'static str, tenant: &str, producer: &str) {
        counter!(
            SHADOW,
            "mark" => mark,
            "would" => would,
            "tenant" => tenant.to_owned(),
            "producer" => producer.to_owned()
        )
        .increment(1);
    }

    /// A reload was done (`None`), or is refused since this Unix time.
    pub fn reloaded(&self, failing_since: Option<i64>) {
        let outcome = if failing_since.is_some() {
            "refused"
        } else {
            "done"
        };
        counter!(RELOADS, "outcome" => outcome).increment(1);
        #[expect(
            clippy::cast_precision_loss,
            reason = "Unix seconds are far below 2^52"
        )]
        gauge!(RELOAD_FAILING_SINCE).set(failing_since.unwrap_or(0) as f64);
    }

    /// When the certificates of a role end; those that were told before end for nobody.
    pub fn certificates_end(&self, role: &'static str, ends: Vec<CertificateEnd>) {
        super::ends::ends().replace_certificates(role, ends);
    }

    /// When the CRLs end; those that were told before end for nobody.
    pub fn crls_end(&self, ends: Vec<CrlEnd>) {
        super::ends::ends().replace_crls(ends);
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a float; a store has fewer than 2^52 bytes"
)]
fn as_float(bytes: u64) -> f64 {
    bytes as f64
}

/// What is counted for one producer, with its labels resolved once.
#[derive(Clone)]
pub struct ProducerMeters {
    /// Events that were new.
    pub accepted: Counter,
    /// Events that had come before.
    pub duplicate: Counter,
    /// Events whose id had come with another body.
    pub conflict: Counter,
    /// Bodies that are no JSON object.
    pub quarantined: Counter,
    /// Readable events that went to the spool.
    pub spooled: Counter,
    unread: [(&'static str, Counter); Unreadable::FIELDS.len()],
    unmapped: Arc<UnmappedTypes>,
}

impl ProducerMeters {
    /// The counters of `producer`, a producer of `tenant`.
    pub fn new(tenant: &str, producer: &str) -> Self {
        let of = |receipt: &'static str| counter!(EVENTS_METRIC, "tenant" => tenant.to_owned(), "producer" => producer.to_owned(), "receipt" => receipt);
        Self {
            accepted: of("accepted"),
            duplicate: of("duplicate"),
            conflict: of("conflict"),
            quarantined: of("quarantined"),
            spooled: counter!(super::backlog::SPOOLED, "tenant" => tenant.to_owned(), "producer" => producer.to_owned()),
            unread: Unreadable::FIELDS.map(|field| (field, counter!(UNREAD, "tenant" => tenant.to_owned(), "producer" => producer.to_owned(), "field" => field))),
            unmapped: UnmappedTypes::of(tenant, producer),
        }
    }

    /// A value of a new event could not be read: that of this field, out of [`Unreadable::FIELDS`].
    pub fn unread(&self, field: &'static str) {
        for (_, counter) in self.unread.iter().filter(|(name, _)| *name == field) {
            counter.increment(1);
        }
    }

    /// A new event of this type speaks of no payment. The type is a sender's text: the first types each have a series, all
    /// later ones share `other`.
    pub fn unmapped(&self, kind: Option<&str>) {
        self.unmapped.count(kind.unwrap_or_default());
    }
}

/// Types of one producer that have a series of their own, at most.
const TYPES_MAX: usize = 100;
/// Characters of a type that its label shows, at most.
const TYPE_CHARS_MAX: usize = 100;

/// By tenant and producer.
type ByProducer = HashMap<(String, String), Arc<UnmappedTypes>>;

/// The series of one producer's unmapped types. They last as long as the process, as the series themselves do: a reload
/// must not make room for another hundred.
struct UnmappedTypes {
    tenant: String,
    producer: String,
    counters: Mutex<HashMap<Box<str>, Counter>>,
    other: OnceLock<Counter>,
}

impl UnmappedTypes {
    fn of(tenant: &str, producer: &str) -> Arc<Self> {
        static ALL: LazyLock<Mutex<ByProducer>> = LazyLock::new(Mutex::default);
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        let own = all
            .entry((tenant.to_owned(), producer.to_owned()))
            .or_insert_with(|| Arc::new(Self::new(tenant, producer)));
        Arc::clone(own)
    }

    fn new(tenant: &str, producer: &str) -> Self {
        Self {
            tenant: tenant.to_owned(),
            producer: producer.to_owned(),
            counters: Mutex::default(),
            other: OnceLock::new(),
        }
    }

    fn series(tenant: &str, producer: &str, kind: String) -> Counter {
        counter!(UNMAPPED, "tenant" => tenant.to_owned(), "producer" => producer.to_owned(), "type" => kind)
    }

    fn count(&self, kind: &str) {
        let end = kind.char_indices().nth(TYPE_CHARS_MAX);
        let kind = end.and_then(|(end, _)| kind.get(..end)).unwrap_or(kind);
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = counters.get(kind) {
            counter.increment(1);
        } else if counters.len() < TYPES_MAX {
            let counter = Self::series(&self.tenant, &self.producer, kind.to_owned());
            counter.increment(1);
            counters.insert(kind.into(), counter);
        } else {
            let series = || Self::series(&self.tenant, &self.producer, "other".to_owned());
            self.other.get_or_init(series).increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn a_refusal_that_names_its_producer_always_has_no_series_without_one() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, begin_at_zero);
        let text = recorder.handle().render();
        let of_a_gate = |gate: &str| {
            let begun = format!("{REFUSALS}{{gate=\"{gate}\",reason=\"");
            let reasons = text.lines().filter_map(|line| line.strip_prefix(&begun));
            let mut reasons: Vec<_> = reasons.filter_map(|line| line.split('"').next()).collect();
            reasons.sort_unstable();
            reasons
        };
        assert_eq!(of_a_gate("handshake").len(), 16, "{text}");
        assert_eq!(
            of_a_gate("identity"),
            ["certificate-no-longer-valid", "unknown-producer"]
        );
        assert!(of_a_gate("signature").is_empty(), "{text}");
    }

    #[test]
    fn a_sender_that_invents_types_makes_no_more_than_a_hundred_series() {
        let meters = ProducerMeters::new("tenant-42", "inventive");
        for number in 0..1000 {
            meters.unmapped(Some(&format!("type-{number}-{}", "ü".repeat(300))));
        }
        // A reload makes the meters anew, but not the room.
        ProducerMeters::new("tenant-42", "inventive").unmapped(Some("one more"));
        let kept = meters.unmapped.counters.lock().unwrap();
        assert_eq!(kept.len(), TYPES_MAX);
        assert!(
            kept.keys()
                .all(|kind| kind.chars().count() <= TYPE_CHARS_MAX)
        );
        assert!(!kept.contains_key("one more"));
    }
}

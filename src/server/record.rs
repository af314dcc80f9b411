//! Where refusals go: the book, a counter, and a log line that a flood can't multiply.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::claimed::Claimed;
use super::current::LiveCurrent;
use super::line_bound::LineBound;
use super::shadow::ShadowTally;
use crate::refusals::{Book, ClaimedProducer, Gate, Refusal, kept};
use crate::telemetry::Meters;
use crate::tls::{HandshakeRefusal, LimitReached, Observer, PeerCertificates, mend_of_open_files};
use crate::x509::Certificate;

/// Lines about refusals that may be logged at once, and how long until one more: each tells of another sender, or another fault.
const REFUSALS: (u32, Duration) = (200, Duration::from_millis(50));
/// The same of deliveries that could not be kept, most of which tell of one outage.
const FAILURES: (u32, Duration) = (20, Duration::from_millis(500));
/// And of connections that cannot be accepted, and of those that are closed at a limit.
const UNACCEPTED: (u32, Duration) = (1, Duration::from_secs(10));
/// How long after a failure the receiver is not ready, unless a delivery is kept before: a probe may still succeed where deliveries do
/// not fit.
const JUST: Duration = Duration::from_secs(5);

/// Records what was turned away at gates 1 to 3.
pub(super) struct Recorder {
    live: Arc<LiveCurrent>,
    book: Arc<Book>,
    meters: Meters,
    shadow: ShadowTally,
    refusal_lines: LineBound,
    /// Our own failures have lines of their own: strangers must not silence them.
    failure_lines: LineBound,
    /// Nor those about senders that are let in.
    sender_lines: LineBound,
    unaccepted_lines: LineBound,
    limit_lines: LineBound,
    last_failure: LastFailure,
}

/// When a delivery could last not be kept, if none was kept since. The clock is one that nobody sets back.
struct LastFailure {
    epoch: Instant,
    /// Milliseconds since the epoch, and one; 0 for none.
    millis: AtomicU64,
}

impl LastFailure {
    fn none(epoch: Instant) -> Self {
        Self {
            epoch,
            millis: AtomicU64::new(0),
        }
    }

    fn note(&self, now: Instant) {
        let millis = now.saturating_duration_since(self.epoch).as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        self.millis
            .store(millis.saturating_add(1), Ordering::Relaxed);
    }

    fn forget(&self) {
        // Nearly always there is none, and a load leaves the line shared among the cores.
        if self.millis.load(Ordering::Relaxed) != 0 {
            self.millis.store(0, Ordering::Relaxed);
        }
    }

    fn is_recent(&self, now: Instant) -> bool {
        let Some(millis) = self.millis.load(Ordering::Relaxed).checked_sub(1) else {
            return false;
        };
        let failed = Duration::from_millis(millis);
        now.saturating_duration_since(self.epoch)
            .saturating_sub(failed)
            < JUST
    }
}

/// Why something was turned away.
pub(super) struct Told {
    pub(super) gate: Gate,
    pub(super) reason: &'static str,
    pub(super) detail: String,
}

impl Recorder {
    pub(super) fn new(live: Arc<LiveCurrent>, book: Arc<Book>, shadow: ShadowTally) -> Self {
        let now = Instant::now();
        let bound = |(at_once, every)| LineBound::new(at_once, every, now);
        Self {
            live,
            book,
            meters: Meters::default(),
            shadow,
            refusal_lines: bound(REFUSALS),
            failure_lines: bound(FAILURES),
            sender_lines: bound(REFUSALS),
            unaccepted_lines: bound(UNACCEPTED),
            limit_lines: bound(UNACCEPTED),
            last_failure: LastFailure::none(now),
        }
    }

    /// Records the refusal of a peer whose certificates held at the handshake.
    pub(super) fn of_peer(
        &self,
        told: Told,
        peer: &PeerCertificates,
        claimed: Claimed<'_>,
        now: Timestamp,
    ) {
        let leaf = peer.leaf();
        self.record(
            Refusal {
                gate: told.gate,
                reason: told.reason,
                subject: Some(leaf.subject().to_string()),
                issuer: Some(leaf.issuer().to_string()),
                serial: Some(leaf.serial().to_string()),
                address: peer.address().ip(),
                server_name: peer.server_name().map(str::to_owned),
                producer: None,
                detail: Some(told.detail),
                at: now,
            },
            claimed,
        );
    }

    /// Notes that a delivery could not be kept, for no fault of its sender.
    pub(super) fn failed_at(&self, now: Instant) {
        self.last_failure.note(now);
    }

    /// Notes that a delivery was kept: what failed before says no more of the next.
    pub(super) fn kept(&self) {
        self.last_failure.forget();
    }

    /// Whether a delivery could not be kept a moment ago, and none was kept since.
    pub(super) fn has_just_failed(&self, now: Instant) -> bool {
        self.last_failure.is_recent(now)
    }

    /// Whether a line about a failure of ours may be logged now, and how many were not since the last one.
    pub(super) fn may_log_failure(&self) -> Option<u64> {
        self.failure_lines.take(Instant::now())
    }

    /// The same of a line about what a sender that was let in did.
    pub(super) fn may_log_of_sender(&self) -> Option<u64> {
        self.sender_lines.take(Instant::now())
    }

    fn record(&self, refusal: Refusal, claimed: Claimed<'_>) {
        let (tenant, name) = (claimed.tenant(), claimed.name());
        self.meters
            .refused(refusal.gate.as_str(), refusal.reason, tenant, name);
        if let Some(suppressed) = self.refusal_lines.take(Instant::now()) {
            let text = |text: &Option<String>| text.as_deref().map(kept).unwrap_or_default();
            tracing::warn!(
                gate = refusal.gate.as_str(),
                reason = refusal.reason,
                subject = &*text(&refusal.subject),
                issuer = &*text(&refusal.issuer),
                serial = &*text(&refusal.serial),
                address = %refusal.address,
                server_name = &*text(&refusal.server_name),
                producer = name,
                detail = &*text(&refusal.detail),
                suppressed,
                "refused"
            );
        }
        let producer = claimed.producer.map(|producer| ClaimedProducer {
            tenant_id: producer.tenant.as_str().into(),
            name: (&*producer.name).into(),
        });
        self.book.record(Refusal {
            producer,
            ..refusal
        });
    }
}

impl Observer for Recorder {
    fn refused(&self, refusal: HandshakeRefusal) {
        let current = self.live.load();
        let who = refusal.claimed.as_ref();
        let directory = current.snapshot.directory();
        let claimed = who.map_or_else(Claimed::default, |who| Claimed::by(&who.subject, directory));
        let now = Timestamp::now();
        self.shadow.refused_handshake(&refusal, claimed, now);
        self.record(
            Refusal {
                gate: Gate::Handshake,
                reason: refusal.reason.as_str(),
                subject: who.map(|who| who.subject.to_string()),
                issuer: who.map(|who| who.issuer.to_string()),
                serial: who.map(|who| who.serial.to_string()),
                address: refusal.address.ip(),
                server_name: refusal.server_name,
                producer: None,
                detail: Some(refusal.detail),
                at: now,
            },
            claimed,
        );
    }

    fn watched(&self, peer: &PeerCertificates, shadow: Option<&Certificate>) {
        let current = self.live.load();
        self.shadow
            .opened_handshake(&current.snapshot, peer, shadow, Timestamp::now());
    }

    fn closed_at_limit(&self, limit: LimitReached, address: SocketAddr) {
        self.meters.closed_at_limit(limit.as_str());
        // Nothing else tells an operator why a sender that is in order is not let in.
        if let Some(suppressed) = self.limit_lines.take(Instant::now()) {
            let mend = match limit {
                LimitReached::ConnectionsPerIp => {
                    "raise server.limits.connections_per_ip if this is no flood; a load balancer that speaks the PROXY protocol belongs in server.trusted_proxies"
                }
                LimitReached::Connections | LimitReached::Handshakes => {
                    "raise server.limits.connections if this is no flood"
                }
            };
            let limit = limit.as_str();
            tracing::warn!(limit, address = %address.ip(), mend, suppressed, "connections are closed at a limit");
        }
    }

    fn accept_failed(&self, error: &io::Error) {
        if let Some(suppressed) = self.unaccepted_lines.take(Instant::now()) {
            let mend = mend_of_open_files(error);
            tracing::error!(%error, mend, suppressed, "connections cannot be accepted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_recent_for_a_while_and_until_a_delivery_is_kept() {
        let epoch = Instant::now();
        let at = |millis| epoch + Duration::from_millis(millis);
        let last = LastFailure::none(epoch);
        assert!(!last.is_recent(at(0)));
        last.note(at(0));
        assert!(last.is_recent(at(0)));
        assert!(last.is_recent(at(4_999)));
        assert!(!last.is_recent(at(5_000)));
        last.note(at(7_000));
        assert!(last.is_recent(at(7_001)));
        last.forget();
        assert!(!last.is_recent(at(7_001)));
    }
}

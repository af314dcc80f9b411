//! What all requests share: today's configuration, the inbox, and where refusals and figures go.

use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::HeaderValue;
use jiff::Timestamp;

use super::answer::Answer;
use super::claimed::Claimed;
use super::clock_doubt::ClockDoubt;
use super::current::{Current, LiveCurrent};
use super::delivery_memory::DeliveryMemory;
use super::record::{Recorder, Told};
use super::shadow::ShadowTally;
use crate::identity::{Identified, IdentityRefusal};
use crate::inbox::InboxFailure;
use crate::refusals::Gate;
use crate::signature::{SignatureRefusal, VerifiedDelivery};
use crate::store::Seen;
use crate::telemetry::{DEFECT, Meters};
use crate::tls::PeerCertificates;

/// Which leaf and which secret came in which second, as one number.
fn mix(leaf: [u8; 32], secret: Option<&Arc<str>>, now: Timestamp) -> u64 {
    let mut hasher = DefaultHasher::new();
    (leaf, secret, now.as_second()).hash(&mut hasher);
    hasher.finish()
}

/// What all requests share.
pub(super) struct Receiver<I> {
    pub(super) live: Arc<LiveCurrent>,
    pub(super) inbox: Arc<I>,
    pub(super) meters: Meters,
    pub(super) recorder: Arc<Recorder>,
    pub(super) seen: Arc<Seen>,
    pub(super) shadow: ShadowTally,
    pub(super) delivery_memory: DeliveryMemory,
    pub(super) clock: ClockDoubt,
    requests: AtomicU64,
    process: u32,
}

impl<I> Receiver<I> {
    pub(super) fn new(
        live: Arc<LiveCurrent>,
        inbox: Arc<I>,
        recorder: Arc<Recorder>,
        seen: Arc<Seen>,
        shadow: ShadowTally,
    ) -> Self {
        // Ids need to differ between processes and restarts, not to be secret.
        let started = Timestamp::now().as_nanosecond();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the low bits are what differs"
        )]
        let process = (started >> 8) as u32 ^ std::process::id();
        Self {
            live,
            inbox,
            meters: Meters::default(),
            recorder,
            seen,
            shadow,
            delivery_memory: DeliveryMemory::default(),
            clock: ClockDoubt::new(Instant::now()),
            requests: AtomicU64::new(0),
            process,
        }
    }

    pub(super) fn current(&self) -> Arc<Current> {
        self.live.load()
    }

    /// A new `X-Request-Id`; what a sender calls its request is not ours to repeat.
    pub(super) fn request_id(&self) -> HeaderValue {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:08x}-{number:x}", self.process);
        HeaderValue::from_str(&id).unwrap_or_else(|_never| HeaderValue::from_static("-"))
    }

    /// Records a refusal at gate 2, and gives its answer.
    pub(super) fn refuse_identity(
        &self,
        current: &Current,
        peer: &PeerCertificates,
        refusal: &IdentityRefusal,
        now: Timestamp,
    ) -> Answer {
        let answer = Answer::from(refusal);
        let claimed = match refusal {
            IdentityRefusal::PinMismatch { producer, .. }
            | IdentityRefusal::CutOff { producer } => Claimed::from(&**producer),
            // Where several have this subject, the path was none of theirs: it is not told whose it was to be.
            IdentityRefusal::CertificateNoLongerValid { .. }
            | IdentityRefusal::UnknownProducer { .. } => {
                Claimed::by(peer.leaf().subject(), current.snapshot.directory())
            }
        };
        let told = Told {
            gate: Gate::Identity,
            reason: answer.name(),
            detail: refusal.to_string(),
        };
        self.recorder.of_peer(told, peer, claimed, now);
        answer
    }

    /// Records a refusal at gate 3, and gives its answer.
    pub(super) fn refuse_signature(
        &self,
        from: &Identified,
        refusal: &SignatureRefusal,
        now: Timestamp,
    ) -> Answer {
        let answer = Answer::from(refusal);
        if let SignatureRefusal::TimestampOutsideTolerance { sent, .. } = refusal {
            self.clock.refused(from.producer(), *sent, now);
        }
        let gate = match refusal {
            SignatureRefusal::AccountMismatch => Gate::Identity,
            SignatureRefusal::Missing { .. }
            | SignatureRefusal::Malformed { .. }
            | SignatureRefusal::Mismatch { .. }
            | SignatureRefusal::TimestampOutsideTolerance { .. } => Gate::Signature,
        };
        let told = Told {
            gate,
            reason: answer.name(),
            detail: refusal.to_string(),
        };
        self.recorder
            .of_peer(told, from.peer(), Claimed::from(&**from.producer()), now);
        answer
    }

    /// Notes which certificate and which secret are in use.
    pub(super) fn note(&self, current: &Current, delivery: &VerifiedDelivery<'_>, now: Timestamp) {
        let from = delivery.from();
        let producer = from.producer();
        // To the second is exact enough, and spares every other request the lock.
        let noted = mix(from.peer().leaf().sha256().0, delivery.secret(), now);
        let last = current.noted.get(producer.id.0);
        if last.is_some_and(|last| last.swap(noted, Ordering::Relaxed) == noted) {
            return;
        }
        self.seen.note_leaf(
            &producer.tenant,
            &producer.name,
            from.peer().leaf(),
            from.peer().anchor(),
            now,
        );
        if let Some(secret) = delivery.secret() {
            self.seen
                .note_secret(&producer.tenant, &producer.name, secret, now);
        }
    }

    /// Counts a failure of ours on its way to the sender.
    pub(super) fn fail(&self, cause: &'static str, answer: Answer) -> Answer {
        self.meters.failed(cause);
        answer
    }

    /// What must not be has been met: the sender comes again.
    pub(super) fn defect(&self) -> Answer {
        self.fail(DEFECT, Answer::failed_within())
    }

    /// Logs a failure with its causes, as often as the log's bound allows.
    pub(super) fn log_failure(&self, failure: &InboxFailure) {
        match failure {
            InboxFailure::QueueFull | InboxFailure::ShuttingDown => {}
            InboxFailure::TimedOut { .. }
            | InboxFailure::Unavailable { .. }
            | InboxFailure::Commit { .. }
            | InboxFailure::Row { .. } => self.recorder.failed_at(Instant::now()),
        }
        if let Some(suppressed) = self.recorder.may_log_failure() {
            tracing::error!(
                error = failure as &dyn Error,
                suppressed,
                "a delivery could not be kept; answered 503"
            );
        }
    }
}

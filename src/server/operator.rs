//! What the operator may ask and demand: readiness, a reload, the certificates in use.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::certificates;
use super::current::{Current, LiveCurrent};
use super::ends::Warnings;
use super::record::Recorder;
use crate::admin::{Certificates, Guard, OK, Operator, Readiness, Reloaded, SPOOLING};
use crate::config::{Config, Reloader, Watch};
use crate::store::{Store, StoreFault, Takes};
use crate::telemetry::{self, Exporter, Meters, SpoolFigures};
use crate::text::chain;
use crate::tls::{Acceptor, PeerCertificates};

/// How long the pulse waits for what the store knows of certificates.
const LOOK_MAX: Duration = Duration::from_secs(3);
/// For how long it is taken for true what the store said last. A beat takes a second, and a question its 5 s at most.
const STALE_AFTER: Duration = Duration::from_secs(10);

/// The operator's desk.
pub(super) struct Desk {
    reloader: Reloader,
    live: Arc<LiveCurrent>,
    acceptor: Acceptor,
    store: Arc<Store>,
    meters: Meters,
    recorder: Arc<Recorder>,
    guard: Arc<Guard>,
    draining: AtomicBool,
    found: Mutex<Found>,
}

/// What the store said when it was last asked.
#[derive(Clone)]
struct Found {
    takes: Result<Takes, String>,
    /// What is wrong with its file.
    fault: Option<String>,
    at: Instant,
    /// Whether a delivery could not be kept a moment before.
    after_failure: bool,
}

impl Found {
    /// Why nobody may go by it at `now` any more.
    fn is_stale(&self, now: Instant) -> Option<String> {
        let age = now.saturating_duration_since(self.at);
        (age > STALE_AFTER).then(|| {
            format!(
                "the store has not said for {} s whether it takes deliveries",
                age.as_secs()
            )
        })
    }
}

/// What is wrong with the place of the store's file. A file system that hangs takes a thread with it, which must be none that others
/// are served by.
async fn looked(look: impl FnOnce() -> Result<(), StoreFault> + Send + 'static) -> Option<String> {
    match tokio::task::spawn_blocking(look).await {
        Ok(Ok(())) => None,
        Ok(Err(fault)) => Some(fault.in_full()),
        Err(ended) => Some(chain(&ended)),
    }
}

impl Desk {
    pub(super) fn new(
        reloader: Reloader,
        live: Arc<LiveCurrent>,
        acceptor: Acceptor,
        store: Arc<Store>,
        recorder: Arc<Recorder>,
        guard: Arc<Guard>,
    ) -> Self {
        Self {
            reloader,
            live,
            acceptor,
            store,
            meters: Meters::default(),
            recorder,
            guard,
            draining: AtomicBool::new(false),
            found: Mutex::new(Found {
                takes: Err("the store has not answered yet".to_owned()),
                fault: None,
                at: Instant::now(),
                after_failure: false,
            }),
        }
    }

    /// From now on `/readyz` says no, so that a load balancer sends new connections elsewhere.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Watches every file that the configuration names.
    pub(super) fn watch(&self) -> Watch {
        self.reloader.watch()
    }

    /// Reads everything again and swaps it in whole, or leaves what serves as it was. Gives the keys that count only after a restart.
    pub(super) async fn reload_at(&self, now: Timestamp) -> Reloaded {
        let mut reviews = Vec::new();
        let take_up = |config: Config| reviews.push(self.take_up(&config, now));
        let outcome = self.reloader.reload(now, take_up).await;
        let failing_since = self.reloader.status().failing_since;
        self.meters
            .reloaded(failing_since.map(Timestamp::as_second));
        if let Err(faults) = &outcome {
            for fault in faults {
                tracing::error!("reload refused, the configuration before it serves on: {fault}");
            }
        }
        // Whoever asked for the reload may rely on it: connections that lost their trust have been told.
        for review in reviews {
            let _told = review.await;
        }
        outcome
    }

    /// Lets a configuration serve, and begins the look at all connections that it asks for.
    fn take_up(&self, config: &Config, now: Timestamp) -> JoinHandle<()> {
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        self.acceptor.reconfigure(
            config.server.connections.clone(),
            config.server.trusted_proxies.clone(),
        );
        self.store.renew_password(&config.store.url);
        self.guard.renew(&config.admin);
        let current = Arc::new(Current::new(Arc::clone(&config.snapshot)));
        self.live.swap(Arc::clone(&current));
        let connections = self.acceptor.connections().clone();
        tokio::spawn(async move {
            let trust = Arc::clone(current.snapshot.trust());
            let may_stay = move |peer: &PeerCertificates| {
                current.snapshot.directory().may_deliver(peer.leaf())
            };
            let closed = connections.review(trust, now, may_stay).await;
            tracing::info!(connections_closed = closed, "reloaded");
        })
    }

    /// Keeps an eye on the store and on what ends, until it is dropped.
    pub(super) async fn pulse(self: Arc<Self>, every: Duration, exporter: Exporter) {
        let mut beat = tokio::time::interval(every);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut warnings = Warnings::default();
        let mut asking = None;
        let mut was_well = false;
        loop {
            beat.tick().await;
            let asked = asking.get_or_insert_with(|| Box::pin(self.ask()));
            // A store that is slow to answer must not hold up what else is looked after, nor what is known of deliveries meanwhile.
            if let Ok((takes, fault)) = tokio::time::timeout(every, asked).await {
                asking = None;
                let now = Instant::now();
                *self.found() = Found {
                    takes,
                    fault,
                    at: now,
                    after_failure: self.recorder.has_just_failed(now),
                };
            }
            let takes = self.takes(Instant::now());
            match (&takes, was_well) {
                (Err(failure), true) => tracing::error!(%failure, "the store takes no deliveries"),
                (Ok(_), false) => tracing::info!("the store takes deliveries"),
                (Err(_), false) | (Ok(_), true) => {}
            }
            was_well = takes.is_ok();
            self.tell_what_waits();
            self.meters.connections(self.acceptor.connections().count());
            exporter.fold();
            let current = self.live.load();
            self.close_what_was_withdrawn(&current, Timestamp::now())
                .await;
            let look = warnings.look(
                &current.snapshot,
                &self.store,
                &self.meters,
                Timestamp::now(),
            );
            // A disk that hangs ends no reading. What is cut off is told at the next look: it awaits nothing but that reading.
            let _in_time = tokio::time::timeout(LOOK_MAX, look).await;
        }
    }

    /// What the store says, and what is wrong with its file. It ends with the slower of the two.
    fn ask(&self) -> impl Future<Output = (Result<Takes, String>, Option<String>)> + Send + use<> {
        let store = Arc::clone(&self.store);
        async move {
            let takes = store.ready().await;
            let fault = looked(move || store.expect_in_place()).await;
            (takes.map_err(|failure| chain(&failure)), fault)
        }
    }

    fn tell_what_waits(&self) {
        let (deliveries, bytes) = self.store.queued();
        telemetry::queued(deliveries, bytes);
        if let Some(backlog) = self.store.backlog() {
            telemetry::spool(SpoolFigures {
                spooling: backlog.database_away_since.is_some(),
                waiting: backlog.waiting,
                aside: backlog.aside,
                bytes: backlog.bytes,
                oldest_seconds: backlog.oldest_age.as_secs_f64(),
            });
        }
    }

    /// Closes connections whose handshake ended while trust was withdrawn.
    async fn close_what_was_withdrawn(&self, current: &Current, now: Timestamp) {
        let trust = current.snapshot.trust();
        let connections = self.acceptor.connections();
        if !connections.any_unknown(trust) {
            return;
        }
        let closed = connections.review(Arc::clone(trust), now, |_| true).await;
        if closed > 0 {
            tracing::info!(
                connections_closed = closed,
                "what their handshakes proved was withdrawn meanwhile"
            );
        }
    }

    /// Whether a delivery would be kept now, and where. What became of the last one counts at once; the store was asked, and its file looked
    /// at, a moment ago.
    fn takes(&self, now: Instant) -> Result<Takes, String> {
        let takes = self.judged(now);
        // So that the metric does not contradict what was just told.
        self.meters
            .ready(takes.is_ok() && !self.draining.load(Ordering::Relaxed));
        takes
    }

    fn judged(&self, now: Instant) -> Result<Takes, String> {
        let found = self.found().clone();
        if let Some(stale) = found.is_stale(now) {
            return Err(stale);
        }
        // It says more than a failure that comes of it.
        if let Some(fault) = found.fault {
            return Err(fault);
        }
        // A failure is forgotten before its time only when a delivery was kept.
        let kept_since = found.after_failure && !self.recorder.has_just_failed(found.at);
        let takes = match found.takes {
            Err(_) if kept_since => self.keeping(),
            Err(failure) => return Err(failure),
            Ok(takes) => takes,
        };
        if self.recorder.has_just_failed(now) {
            return Err("deliveries could not be kept a moment ago; see the log".to_owned());
        }
        Ok(takes)
    }

    /// Where what is kept goes.
    fn keeping(&self) -> Takes {
        let backlog = self.store.backlog();
        match backlog.and_then(|backlog| backlog.database_away_since) {
            Some(_) => Takes::Spool,
            None => Takes::Database,
        }
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Operator for Desk {
    fn readiness(&self) -> Readiness {
        let draining = self.draining.load(Ordering::Relaxed);
        let found = self.takes(Instant::now());
        let status = self.reloader.status();
        let faults: Vec<String> = status.faults.iter().map(ToString::to_string).collect();
        Readiness {
            ready: found.is_ok() && !draining,
            stopping: draining,
            store: match found {
                Ok(Takes::Database) => OK.to_owned(),
                Ok(Takes::Spool) => SPOOLING.to_owned(),
                Err(failure) => failure,
            },
            spool: self.store.backlog(),
            reload: if faults.is_empty() {
                OK.to_owned()
            } else {
                faults.join("\n")
            },
            reload_failing_since: status.failing_since.map(|since| format!("{since:.3}")),
        }
    }

    fn reload(&self) -> Pin<Box<dyn Future<Output = Reloaded> + Send + '_>> {
        Box::pin(self.reload_at(Timestamp::now()))
    }

    fn certificates(&self) -> Pin<Box<dyn Future<Output = Certificates> + Send + '_>> {
        Box::pin(async move {
            let snapshot = Arc::clone(&self.live.load().snapshot);
            certificates::certificates(&snapshot, self.store.views(), Timestamp::now()).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_store_said_long_ago_is_nothing_to_go_by() {
        let found = Found {
            takes: Ok(Takes::Database),
            fault: None,
            at: Instant::now(),
            after_failure: false,
        };
        assert_eq!(found.is_stale(found.at + STALE_AFTER), None);
        let later = found.at + STALE_AFTER + Duration::from_secs(1);
        let told = found.is_stale(later).unwrap();
        assert!(told.contains("not said for 11 s"), "{told}");
    }

    #[tokio::test]
    async fn a_file_system_that_hangs_holds_up_nobody_else() {
        let (answer, hangs) = std::sync::mpsc::sync_channel(1);
        let look = move || {
            hangs
                .recv_timeout(Duration::from_secs(20))
                .unwrap_or(Ok(()))
        };
        let mut looking = Box::pin(looked(look));
        let others = Duration::from_millis(1);
        let still = tokio::time::timeout(others, &mut looking).await;
        assert!(still.is_err(), "the others were held up");
        let path = "countersign.db".into();
        answer.send(Err(StoreFault::Displaced { path })).unwrap();
        let told = looking.await.unwrap();
        assert!(told.contains("countersign.db"), "{told}");
    }
}

//! What serves at this moment.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::config::{Live, Snapshot};
use crate::identity::ProducerId;
use crate::telemetry::ProducerMeters;
use crate::tls::{CurrentTrust, ServerConfig, Trust};

/// The configuration that serves, and what is counted for its producers.
pub(super) struct Current {
    pub(super) snapshot: Arc<Snapshot>,
    /// What was noted last of each producer: leaf, secret and second, mixed.
    pub(super) noted: Vec<AtomicU64>,
    meters: Vec<ProducerMeters>,
}

impl Current {
    pub(super) fn new(snapshot: Arc<Snapshot>) -> Self {
        let producers = snapshot.directory().producers();
        let meters = producers
            .iter()
            .map(|one| ProducerMeters::new(one.tenant.as_str(), &one.name))
            .collect();
        let noted = producers.iter().map(|_one| AtomicU64::new(0)).collect();
        Self {
            snapshot,
            noted,
            meters,
        }
    }

    pub(super) fn meters(&self, producer: ProducerId) -> Option<&ProducerMeters> {
        self.meters.get(producer.0)
    }
}

/// The configuration that serves, swapped whole by a reload.
pub(super) type LiveCurrent = Live<Current>;

impl CurrentTrust for LiveCurrent {
    fn trust(&self) -> Arc<Trust> {
        Arc::clone(self.load().snapshot.trust())
    }

    fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(self.load().snapshot.server_config())
    }
}

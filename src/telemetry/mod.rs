//! What the operator sees from outside: log lines, and every metric's name, unit and meaning.
//!
//! Logs go to standard error, so that what a command prints stays clean. A value that came from the wire is logged with
//! its control characters escaped; a secret never gets here. Label values are bounded in number: producers and tenants come
//! from the configuration, reasons and outcomes from our own enums, subjects and serial numbers from certificates that are configured or in
//! use. One is a sender's text, the type of an event that speaks of no payment: of each producer the first hundred have a series.

mod backlog;
mod described;
mod ends;
mod log;
mod meters;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::inbox::BATCH_METRIC;

pub use backlog::{SpoolFigures, queued, spool};
pub use ends::{CertificateEnd, CrlEnd};
pub use log::{Log, LogFormat, fault_of_filter, log_to_stderr};
pub use meters::{DEFECT, Meters, OVERLOADED, ProducerMeters, REQUEST_TIMEOUT, Wait};

/// Where metrics are gathered, and how they are printed.
#[derive(Clone)]
pub struct Exporter(PrometheusHandle);

/// The recorder could not be installed.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be recorded")]
pub struct ExporterFailure {
    #[from]
    source: metrics_exporter_prometheus::BuildError,
}

impl Exporter {
    /// Installs the process-wide recorder and describes every metric.
    pub fn install() -> Result<Self, ExporterFailure> {
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), meters::SECONDS)?
            .set_buckets_for_metric(Matcher::Full(BATCH_METRIC.into()), meters::EVENTS)?
            .install_recorder()?;
        meters::describe();
        described::describe_all(backlog::TABLE);
        Ok(Self(handle))
    }

    /// The exposition in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut text = self.0.render();
        ends::ends().render(&mut text);
        text
    }

    /// Folds what histograms have gathered since the last call; to be called every few seconds, or they grow.
    pub fn fold(&self) {
        self.0.run_upkeep();
    }
}

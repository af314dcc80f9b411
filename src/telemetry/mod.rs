//! What the operator sees from outside: log lines, and every metric's name, unit and meaning.
//!
//! Logs go to standard error, so that what a command prints stays clean. A value that came from the wire is logged with
//! its control characters escaped; a secret never gets here. Label values are bounded in number: producers and tenants come
//! from the configuration, reasons and outcomes from our own enums, subjects and serial numbers from certificates that are configured or in
//! use. One is a sender's text, the type of an event that speaks of no payment: of each producer the first hundred have a series.

mod backlog;
mod ends;
mod meters;

use std::io::{self, IsTerminal, Write};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::inbox::BATCH_METRIC;

pub use backlog::{SpoolFigures, queued, spool};
pub use ends::{CertificateEnd, CrlEnd};
pub use meters::{Meters, ProducerMeters, Wait};

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends log lines to standard error. `filter` has the form of `tracing`'s directives (`info`,
/// `countersign=debug`); a second call changes nothing.
pub fn log_to_stderr(filter: &str, format: LogFormat) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_invalid| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| OneLine(io::stderr()))
        // They would go to standard error as well, and panic where that can not be written to.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal());
    // A test may have set a subscriber already: the first one stays.
    let _already_set = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}

/// Writes each event, which comes whole, as one line: a database's own words have several, and whoever reads the log line by line
/// would take them for events. One that can not be written (a full disk, a reader that went away) is counted, and is nobody's failure.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let (line, end) = match event.strip_suffix(b"\n") {
            Some(line) => (line, &b"\n"[..]),
            None => (event, &b""[..]),
        };
        let mut whole = Vec::with_capacity(event.len());
        for byte in line {
            match byte {
                b'\n' => whole.extend_from_slice(b"\\n"),
                b'\r' => whole.extend_from_slice(b"\\r"),
                other => whole.push(*other),
            }
        }
        whole.extend_from_slice(end);
        if self.0.write_all(&whole).is_err() {
            meters::log_line_lost();
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // What could not be written was counted.
        let _lost = self.0.flush();
        Ok(())
    }
}

/// What is wrong with a text that is to be a filter of log lines; nothing if it can be one.
pub fn fault_of_filter(filter: &str) -> Option<String> {
    let mut directives = filter.split(',').filter(|directive| !directive.is_empty());
    directives.find_map(fault_of_directive).or_else(|| {
        let fault = EnvFilter::try_new(filter).err()?;
        Some(fault.to_string())
    })
}

/// The filter itself takes any word that is no level for a target, of which it then lets everything through, and nothing else.
fn fault_of_directive(directive: &str) -> Option<String> {
    if directive.contains('[') {
        // Of a span, which has a form of its own.
        return None;
    }
    let (target, level) = match directive.rsplit_once('=') {
        Some((target, level)) => (target, level),
        None => ("", directive),
    };
    if level.is_empty() || level.parse::<LevelFilter>().is_err() {
        return Some(format!("{level:?} is no level"));
    }
    let of_a_target = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ':');
    (!target.chars().all(of_a_target)).then(|| format!("{target:?} is no target"))
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Where metrics are gathered, and how they are printed.
#[derive(Clone)]
pub struct Exporter(PrometheusHandle);

/// The recorder could not be installed.
#[derive(Debug, thiserror::Error)]
#[error("metrics can not be recorded")]
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
        backlog::describe();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_an_error_says() {
        let mut log = OneLine(Vec::new());
        for event in ["first\n", "ERROR: a\nDETAIL: b\r\n\n"] {
            log.write_all(event.as_bytes()).unwrap();
        }
        let written = String::from_utf8(log.0).unwrap();
        assert_eq!(written, "first\nERROR: a\\nDETAIL: b\\r\\n\n");
    }

    /// As standard error is when its disk is full.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    #[test]
    fn an_event_that_can_not_be_written_is_nobodys_failure() {
        let mut log = OneLine(Full);
        log.write_all(b"an event\n").unwrap();
        log.flush().unwrap();
    }
}

//! `countersign check`: every fault of configuration, certificates, secrets and store, at once.

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::faults::{MEND_STORE, fault_of_listening, key_of};
use super::output::{self, Outcome, Table, json_line, say};
use super::runtime::on_this_thread;
use crate::config::{
    Config, ConfigFile, Environment, Fault, Forsaken, StoreSettings, Warning, Weight,
};
use crate::server::ListenFailure;
use crate::store::{Filter, ReadFailure, StoreFault, Url, Views, look, look_ahead};

/// Check configuration, certificates, secrets and store, and print every fault
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Print JSON Lines
    #[arg(long)]
    json: bool,
}

/// One line of the table.
#[derive(Debug, Serialize)]
struct Finding {
    level: &'static str,
    file: String,
    line: Option<usize>,
    key: String,
    what: String,
    mend: String,
}

impl Finding {
    fn of(fault: Fault) -> Self {
        Self {
            level: "fault",
            file: fault.file.to_string(),
            line: fault.line,
            key: fault.key,
            what: fault.what,
            mend: fault.mend,
        }
    }

    fn weighed(warning: Warning) -> Self {
        Self {
            level: match warning.weight {
                Weight::Unwise => "warning",
                Weight::Refuses => "fault",
            },
            file: warning.file.to_string(),
            line: warning.line,
            key: warning.key,
            what: warning.what,
            mend: warning.mend,
        }
    }

    fn warning(fault: Fault) -> Self {
        Self {
            level: "warning",
            ..Self::of(fault)
        }
    }
}

impl Check {
    pub(super) fn run(self, place: &ConfigFile, environment: &Environment) -> Outcome {
        let mut findings = Vec::new();
        let review = Config::review(place, environment, Timestamp::now());
        findings.extend(review.faults.into_iter().map(Finding::of));
        if let Some(config) = &review.config {
            let unheard = ListenFailure::foreseen(config);
            let faults = unheard
                .iter()
                .map(|failure| fault_of_listening(failure, place, environment));
            // It may be checked elsewhere than it will serve, and what a service manager listens on is not bound at all.
            findings.extend(faults.map(Finding::warning));
        }
        findings.extend(review.warnings.into_iter().map(Finding::weighed));
        if let Some(store) = review.store {
            if let Err(trouble) = look_into(&store.url) {
                let mend = trouble.mend.unwrap_or_else(|| MEND_STORE.to_owned());
                let fault = Config::fault_of(place, environment, trouble.key, trouble.what, mend);
                findings.push(Finding::of(fault));
            }
            if let Some((what, mend)) = look_ahead(&store.url) {
                let key = &["store", "url"];
                let fault = Config::fault_of(place, environment, key, what, mend.to_owned());
                findings.push(Finding::warning(fault));
            }
            findings.extend(look_at_spools(&store, place, environment));
        }
        self.print(&findings, place);
        if findings.iter().any(|finding| finding.level == "fault") {
            Outcome::Failed
        } else {
            Outcome::Done
        }
    }

    fn print(&self, findings: &[Finding], place: &ConfigFile) {
        if self.json {
            findings.iter().for_each(json_line);
            return;
        }
        let faults = findings
            .iter()
            .filter(|finding| finding.level == "fault")
            .count();
        if !findings.is_empty() {
            let mut table = Table::new(["LEVEL", "WHERE", "KEY", "WHAT", "MEND"]);
            for finding in findings {
                let line = finding
                    .line
                    .map(|line| format!(":{line}"))
                    .unwrap_or_default();
                table.row([
                    finding.level.to_owned(),
                    format!("{}{line}", finding.file),
                    finding.key.clone(),
                    finding.what.clone(),
                    finding.mend.clone(),
                ]);
            }
            table.print();
            say("");
        }
        let warnings = findings.len() - faults;
        say(&format!(
            "{}: {}, {}",
            place.path().display(),
            counted(faults, "fault"),
            counted(warnings, "warning")
        ));
    }
}

/// The spool that is named must be there or can be made; one that nobody names must be empty.
fn look_at_spools(
    store: &StoreSettings,
    place: &ConfigFile,
    environment: &Environment,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(fault) = store.spool.as_ref().and_then(|spool| spool.look().err()) {
        let what = fault.what_with_causes();
        let mend = fault.mend().unwrap_or_else(|| MEND_STORE.to_owned());
        let fault = Config::fault_of(place, environment, key_of(&fault), what, mend);
        findings.push(Finding::of(fault));
    }
    if let Some(warning) = store.forsaken() {
        let (what, mend) = (warning.what(), Forsaken::MEND.to_owned());
        let fault = Config::fault_of(place, environment, &["store", "spool"], what, mend);
        findings.push(Finding::warning(fault));
    }
    findings
}

/// What is wrong with a store.
struct Trouble {
    key: &'static [&'static str],
    what: String,
    mend: Option<String>,
}

impl Trouble {
    fn of(fault: &StoreFault) -> Self {
        let (what, mend) = (fault.what_with_causes(), fault.mend());
        let key = key_of(fault);
        Self { key, what, mend }
    }

    fn otherwise(error: &dyn std::error::Error) -> Self {
        Self {
            key: &["store", "url"],
            what: output::chain(error),
            mend: None,
        }
    }
}

fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Whether the store can be read and written. One that is not there yet will be made, if it can be.
fn look_into(url: &Url) -> Result<(), Trouble> {
    let runtime = on_this_thread().map_err(|error| Trouble::otherwise(&error))?;
    runtime.block_on(async {
        look(url).await.map_err(|fault| Trouble::of(&fault))?;
        if let Url::Sqlite(path) = url
            && !path.exists()
        {
            return Ok(());
        }
        let views = Views::open(url).map_err(|fault| Trouble::of(&fault))?;
        let filter = Filter {
            limit: 1,
            ..Filter::default()
        };
        match views.events(filter).await {
            // The start brings it up to date.
            Ok(_)
            | Err(ReadFailure::Store(StoreFault::Older { .. } | StoreFault::NoStore { .. })) => {
                Ok(())
            }
            Err(ReadFailure::Store(fault)) => Err(Trouble::of(&fault)),
            Err(failure) => Err(Trouble {
                mend: failure.mend(),
                ..Trouble::otherwise(&failure)
            }),
        }
    })
}

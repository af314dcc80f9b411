//! `countersign check`: every fault of configuration, certificates, secrets and store, at once.

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::output::{self, Outcome, Table, json_line, say};
use crate::config::{Config, ConfigFile, Environment, StoreSettings, Weight};
use crate::store::{Filter, ReadFailure, StoreFault, Url, Views};

/// What to do where the store itself does not say.
pub(super) const MEND_STORE: &str = "mend the store, or name another";

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

impl Check {
    pub(super) fn run(self, place: &ConfigFile, environment: &Environment) -> Outcome {
        let mut findings = Vec::new();
        match Config::load(place, environment, Timestamp::now()) {
            Ok(config) => {
                for warning in config.warnings {
                    findings.push(Finding {
                        level: match warning.weight {
                            Weight::Unwise => "warning",
                            Weight::Refuses => "fault",
                        },
                        file: warning.file.to_string(),
                        line: warning.line,
                        key: warning.key,
                        what: warning.what,
                        mend: warning.mend,
                    });
                }
            }
            Err(faults) => {
                for fault in faults {
                    findings.push(Finding {
                        level: "fault",
                        file: fault.file.to_string(),
                        line: fault.line,
                        key: fault.key,
                        what: fault.what,
                        mend: fault.mend,
                    });
                }
            }
        }
        if let Ok(store) = Config::load_store(place, environment)
            && let Err((what, mend)) = look_into(&store.url)
        {
            let mend = mend.unwrap_or_else(|| MEND_STORE.to_owned());
            let fault = Config::fault_of_store(place, environment, what, mend);
            findings.push(Finding {
                level: "fault",
                file: fault.file.to_string(),
                line: fault.line,
                key: fault.key,
                what: fault.what,
                mend: fault.mend,
            });
        }
        if let Ok(store) = Config::load_store(place, environment) {
            findings.extend(look_at_spools(&store, place));
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
fn look_at_spools(store: &StoreSettings, place: &ConfigFile) -> Vec<Finding> {
    let finding = |level, what, mend: &str| Finding {
        level,
        file: place.path().display().to_string(),
        line: None,
        key: "store.spool".to_owned(),
        what,
        mend: mend.to_owned(),
    };
    let mut findings = Vec::new();
    if let Some(fault) = store.spool.as_ref().and_then(|spool| spool.look().err()) {
        let (what, mend) = output::what_and_mend(&fault);
        let mend = mend.unwrap_or_else(|| MEND_STORE.to_owned());
        findings.push(finding("fault", what, &mend));
    }
    if let Some(warning) = store.forsaken() {
        let (what, mend) = warning.split_once("; ").unwrap_or((&warning, ""));
        findings.push(finding("warning", what.to_owned(), mend));
    }
    findings
}

fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Whether the store can be read. One that is not there yet will be made, if its directory is there.
fn look_into(url: &Url) -> Result<(), (String, Option<String>)> {
    if let Url::Sqlite(path) = url
        && !path.exists()
    {
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        return match directory {
            Some(directory) if !directory.is_dir() => Err((
                format!("the directory {} does not exist", directory.display()),
                Some(format!("make it: mkdir -p {}", directory.display())),
            )),
            Some(_) | None => Ok(()),
        };
    }
    let views = match Views::open(url) {
        Ok(views) => views,
        Err(fault) => return Err(output::what_and_mend(&fault)),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| (error.to_string(), None))?;
    let filter = Filter {
        limit: 1,
        ..Filter::default()
    };
    match runtime.block_on(views.events(filter)) {
        // The start brings it up to date.
        Ok(_) | Err(ReadFailure::Store(StoreFault::Older { .. })) => Ok(()),
        Err(failure) => Err(output::what_and_mend(&failure)),
    }
}

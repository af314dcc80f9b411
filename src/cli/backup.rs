//! `countersign backup`: a copy of the embedded store, while the receiver goes on.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::output::{Outcome, complain, failed, json_line, say};
use super::{of_store, progress, unusable};
use crate::config::{Config, ConfigFile, Environment};
use crate::store::{BackupFailure, back_up};

/// Copy the SQLite store to a file, while the receiver writes to it
#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The file to make; it must not be there yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub(super) fn run(self, place: &ConfigFile, environment: &Environment) -> Outcome {
        let store = match Config::load_store(place, environment) {
            Ok(store) => store,
            Err(faults) => return unusable(&faults),
        };
        let bar = progress::bar("{bar:40} {pos}/{len} pages  {eta} left");
        let copied = back_up(&store.url, &self.out, &mut |copied, all| {
            bar.set_length(all);
            bar.set_position(copied);
        });
        bar.finish_and_clear();
        match copied {
            Ok(copied) => {
                let file = self.out.display().to_string();
                if self.json {
                    json_line(&json!({ "file": file, "bytes": copied.bytes }));
                } else {
                    say(&format!(
                        "{file}: {} bytes, checked; put it in the store's place to go back to it",
                        copied.bytes
                    ));
                }
                Outcome::Done
            }
            Err(BackupFailure::Store(fault)) => of_store(&fault),
            Err(failure @ (BackupFailure::NotOffered { .. } | BackupFailure::Taken { .. })) => {
                complain(&format!("countersign: {failure}"));
                Outcome::Unusable
            }
            Err(
                failure @ (BackupFailure::Output { .. }
                | BackupFailure::Copy(_)
                | BackupFailure::Unsound { .. }),
            ) => failed(&failure),
        }
    }
}

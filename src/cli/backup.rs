//! `countersign backup`: a copy of the embedded store, while the receiver goes on.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::interrupt::Interruptible;
use super::output::{Outcome, complain, failed, json_line, say};
use super::{of_store, progress, unusable};
use crate::config::{Config, ConfigFile, Environment};
use crate::store::{BackupFailure, PartFile, back_up};

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
        let interruptible = match Interruptible::listen() {
            Ok(interruptible) => interruptible,
            Err(error) => return failed(&error),
        };
        let bar = progress::bar("{bar:40} {pos}/{len} pages  {eta} left");
        let (shown, out) = (bar.clone(), self.out.clone());
        let copied = interruptible.run(move |stop| {
            back_up(&store.url, &out, &mut |copied, all| {
                shown.set_length(all);
                shown.set_position(copied);
                if stop.is_wanted() {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })
        });
        bar.finish_and_clear();
        let copied = match copied {
            Ok(Some(copied)) => copied,
            Ok(None) => {
                // A check of the copy that goes on does not do it itself.
                PartFile::of(&self.out).discard();
                Err(BackupFailure::Interrupted)
            }
            Err(error) => return failed(&error),
        };
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
                | BackupFailure::Copy { .. }
                | BackupFailure::NoDirectory { .. }
                | BackupFailure::NoRoom { .. }
                | BackupFailure::Interrupted),
            ) => failed(&failure),
        }
    }
}

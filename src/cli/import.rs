//! `countersign import`: an export put into the configured store, and compared with it row by row.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;

use super::interrupt::Interruptible;
use super::output::{Outcome, Table, chain, complain, failed, json_line, say};
use super::runtime::on_this_thread;
use super::{of_store, progress, unusable};
use crate::config::{Config, ConfigFile, Environment};
use crate::store::{
    ImportFailure, ImportMode, Imported, TransferFault, Url, check_export, import, import_file,
};
use crate::text::printable;

/// Bytes that are read at once.
const BLOCK: usize = 256 << 10;
/// What the progress is called while rows are written.
const IMPORTING: &str = "importing";

/// Put an export into the configured store, and compare every row with it
#[derive(Debug, Args)]
pub(super) struct ImportArguments {
    /// What countersign export wrote; - is standard input, which cannot be checked before it is written
    file: PathBuf,
    /// Compare the store with the export, and write nothing
    #[arg(long)]
    verify_only: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl ImportArguments {
    pub(super) fn run(self, place: &ConfigFile, environment: &Environment) -> Outcome {
        let store = match Config::load_store(place, environment) {
            Ok(store) => store,
            Err(faults) => return unusable(&faults),
        };
        let mode = if self.verify_only {
            ImportMode::Compare
        } else {
            ImportMode::Write
        };
        let bar = progress::bar("{msg} {bar:40} {bytes}/{total_bytes}  {eta} left");
        let (file, shown) = (self.file.clone(), bar.clone());
        let imported = Interruptible::listen().and_then(|interruptible| {
            interruptible.run(move |_stop| read(&file, &store.url, mode, &shown))
        });
        bar.finish_and_clear();
        match imported {
            Ok(Some(Ok(imported))) => {
                self.print(&imported);
                if imported.is_equal() {
                    Outcome::Done
                } else {
                    Outcome::Failed
                }
            }
            Ok(Some(Err(failure))) => end_with(&self.file, &failure),
            Ok(None) => {
                complain(&format!(
                    "countersign: {}: interrupted; {}",
                    self.file.display(),
                    if self.verify_only {
                        "nothing was written"
                    } else {
                        "what was written so far stays; import the same again: what is there is compared, and what is missing is written"
                    }
                ));
                Outcome::Failed
            }
            Err(error) => failed(&error),
        }
    }

    fn print(&self, imported: &Imported) {
        if self.json {
            json_line(&json!({ "equal": imported.is_equal(), "rows": imported }));
            return;
        }
        let mut table = Table::new(["", "READ", "THERE", "WRITTEN", "MISSING", "DIFFERENT"]);
        for (kind, tally) in imported.kinds() {
            let [read, there, written, missing, different] = [
                tally.read,
                tally.there,
                tally.written,
                tally.missing,
                tally.different,
            ]
            .map(|count| count.to_string());
            table.row([kind.to_owned(), read, there, written, missing, different]);
        }
        table.print();
        say("");
        for difference in &imported.differences {
            say(&format!(
                "line {}: {} is there and differs: {}",
                difference.line,
                printable(&difference.row),
                difference.fields.join(", ")
            ));
        }
        let (mut missing, mut different, mut written) = (0_u64, 0_u64, 0_u64);
        for (_, tally) in imported.kinds() {
            missing = missing.saturating_add(tally.missing);
            different = different.saturating_add(tally.different);
            written = written.saturating_add(tally.written);
        }
        say(&match (different, missing, written) {
            (0, 0, _) => {
                "every row of the export was read back from the store, and is equal".to_owned()
            }
            (0, missing, _) => format!("not in the store: {missing}; nothing was written"),
            (different, missing, 0) => format!(
                "there, and different, and left as they are: {different}; not in the store: {missing}; nothing was written"
            ),
            (different, missing, written) => format!(
                "there, and different, and left as they are: {different}; not in the store: {missing}; written before the first \
                 difference was met: {written}, among them payments, it may be, without their events: put a backup of the store \
                 in its place, and import from a file, of which all is compared before anything is written"
            ),
        });
    }
}

/// Reads the export at `path` into the store at `url`, or compares the two.
fn read(
    path: &Path,
    url: &Url,
    mode: ImportMode,
    bar: &ProgressBar,
) -> Result<Imported, ImportFailure> {
    let mut input = open(path, bar)?;
    let writes_at_once = matches!(input, Input::Once(_)) && mode == ImportMode::Write;
    bar.set_message(if writes_at_once {
        IMPORTING
    } else {
        "comparing"
    });
    bar.set_position(0);
    let mut told = |bytes, _rows| {
        if bytes < bar.position() {
            bar.set_message(IMPORTING);
        }
        bar.set_position(bytes);
    };
    let runtime = on_this_thread().map_err(TransferFault::Input)?;
    runtime.block_on(async {
        match &mut input {
            Input::File(file) if mode == ImportMode::Write => {
                import_file(url, file, &mut told).await
            }
            Input::File(file) => import(url, mode, file, &mut told).await,
            Input::Once(input) => import(url, mode, &mut **input, &mut told).await,
        }
    })
}

/// An export that was opened.
enum Input {
    /// It can be read twice.
    File(BufReader<File>),
    /// A pipe or a device.
    Once(Box<dyn BufRead + Send>),
}

/// Opens the export; a file is read to its end first, so that nothing is written of one that is at fault.
fn open(path: &Path, bar: &ProgressBar) -> Result<Input, ImportFailure> {
    if path == Path::new("-") {
        let input = BufReader::with_capacity(BLOCK, io::stdin());
        return Ok(Input::Once(Box::new(input)));
    }
    let input = |error| ImportFailure::Export(TransferFault::Input(error));
    let mut file = File::open(path).map_err(input)?;
    if let Ok(metadata) = file.metadata()
        && !metadata.is_file()
    {
        return Ok(Input::Once(Box::new(BufReader::with_capacity(BLOCK, file))));
    }
    if let Ok(metadata) = file.metadata() {
        bar.set_length(metadata.len());
    }
    bar.set_message("checking");
    let mut told = |bytes, _rows| bar.set_position(bytes);
    check_export(&mut BufReader::with_capacity(BLOCK, &file), &mut told)?;
    file.rewind().map_err(input)?;
    Ok(Input::File(BufReader::with_capacity(BLOCK, file)))
}

fn end_with(file: &Path, failure: &ImportFailure) -> Outcome {
    match failure {
        ImportFailure::Store(fault) => of_store(fault),
        ImportFailure::Export(fault) => {
            complain(&format!(
                "countersign: {}: {}",
                file.display(),
                chain(fault)
            ));
            match fault {
                TransferFault::Newer { .. } | TransferFault::NotAnExport => Outcome::Unusable,
                TransferFault::Input(_)
                | TransferFault::TooLong { .. }
                | TransferFault::Unreadable { .. }
                | TransferFault::Unsound { .. }
                | TransferFault::OutOfPlace { .. }
                | TransferFault::CutOff { .. }
                | TransferFault::Altered { .. }
                | TransferFault::Surplus { .. } => Outcome::Failed,
            }
        }
        ImportFailure::Statement { .. }
        | ImportFailure::Away { .. }
        | ImportFailure::Dangling { .. }
        | ImportFailure::NotKept { .. } => failed(failure),
    }
}

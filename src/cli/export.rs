//! `countersign export`: the store as JSON Lines, to a file or to standard output.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::interrupt::{Interruptible, Stop};
use super::output::{Outcome, chain, complain, failed, json_line, say};
use super::runtime::on_this_thread;
use super::{of_store, progress, unusable};
use crate::config::{Config, ConfigFile, Environment};
use crate::store::{Export, ExportFailure, Part, PartFile, TransferFault, Url};

/// How long a reader of standard output may take nothing. The store's log grows while an export waits.
const STALLED: Duration = Duration::from_secs(300);
/// Bytes that are handed on at once.
const BLOCK: usize = 256 << 10;
/// Blocks that wait for the reader of standard output, at most.
const BLOCKS_MAX: usize = 8;

/// Write the whole store as JSON Lines, to be imported into another one
#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// The file to make; FILE.part until it is whole. Standard output without it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Go on with the FILE.part that an interrupted export left
    #[arg(long, requires = "out")]
    resume: bool,
    /// Only this tenant's
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// Print one JSON object: the file, and how many rows it has
    #[arg(long, requires = "out")]
    json: bool,
}

/// Why there is no whole file.
#[derive(Debug, thiserror::Error)]
enum FileFailure {
    #[error(transparent)]
    Export(#[from] ExportFailure),
    #[error("{}: the export ends here; once what stopped it is mended, go on with --resume", path.display())]
    Stopped {
        path: PathBuf,
        source: ExportFailure,
    },
    #[error("{}: {fault}", path.display())]
    Part { path: PathBuf, fault: TransferFault },
    #[error("{}: this file already exists; name another, or remove it", path.display())]
    Taken { path: PathBuf },
    #[error("{}: an interrupted export left this file; go on with it: --resume; or remove it", path.display())]
    Left { path: PathBuf },
    #[error("{}: there is no interrupted export to go on with; leave --resume out", path.display())]
    NoPart { path: PathBuf },
    #[error("{}: interrupted; what was written so far stays there; go on with it: --resume; or remove it", path.display())]
    Interrupted { path: PathBuf },
    #[error("{}: interrupted before anything was written", path.display())]
    InterruptedAtOnce { path: PathBuf },
    #[error("{}: the export could not be written", path.display())]
    Output { path: PathBuf, source: io::Error },
}

impl ExportArguments {
    pub(super) fn run(self, place: &ConfigFile, environment: &Environment) -> Outcome {
        let store = match Config::load_store(place, environment) {
            Ok(store) => store,
            Err(faults) => return unusable(&faults),
        };
        let export = Export {
            tenant: self.tenant,
        };
        // Looked at before the store is: what is moved meanwhile would be seen in neither.
        let forsaken = store.forsaken().map(|forsaken| forsaken.to_string());
        let behind: Vec<String> = store.behind().into_iter().chain(forsaken).collect();
        let outcome = match &self.out {
            None => to_standard_output(&export, &store.url),
            Some(out) => to_file(&export, &store.url, out, self.resume),
        };
        for warning in behind.iter().filter(|_| outcome.is_ok()) {
            complain(&format!("countersign: NOT IN THIS EXPORT: {warning}"));
        }
        match outcome {
            Ok(rows) => {
                let file = self.out.as_ref().map(|out| out.display().to_string());
                match file {
                    Some(file) if self.json => json_line(&json!({ "file": file, "rows": rows })),
                    Some(file) => say(&format!("{file}: {rows} rows")),
                    None => {}
                }
                Outcome::Done
            }
            Err(FileFailure::Export(ExportFailure::Store(fault))) => of_store(&fault),
            Err(
                failure @ (FileFailure::Taken { .. }
                | FileFailure::Left { .. }
                | FileFailure::NoPart { .. }
                | FileFailure::Part {
                    fault: TransferFault::Newer { .. } | TransferFault::NotAnExport,
                    ..
                }),
            ) => {
                complain(&format!("countersign: {}", chain(&failure)));
                Outcome::Unusable
            }
            Err(
                failure @ (FileFailure::Export(_)
                | FileFailure::Stopped { .. }
                | FileFailure::Part { .. }
                | FileFailure::Interrupted { .. }
                | FileFailure::InterruptedAtOnce { .. }
                | FileFailure::Output { .. }),
            ) => failed(&failure),
        }
    }
}

fn write(
    export: &Export,
    url: &Url,
    part: Option<Part>,
    out: &mut (dyn Write + Send),
) -> Result<u64, ExportFailure> {
    let runtime = on_this_thread().map_err(ExportFailure::Output)?;
    let bar = progress::bar("{bar:40} {pos}/{len} rows  {eta} left");
    let mut told = |rows, about| {
        if let Some(about) = about {
            bar.set_length(u64::max(about, rows));
        }
        bar.set_position(rows);
    };
    let exported = runtime.block_on(export.run(url, part, out, &mut told));
    bar.finish_and_clear();
    exported.map(|exported| exported.rows.total())
}

fn to_file(export: &Export, url: &Url, out: &Path, resume: bool) -> Result<u64, FileFailure> {
    let file_of = PartFile::of(out);
    let failed = |source| FileFailure::Output {
        path: out.into(),
        source,
    };
    if file_of.is_taken().map_err(failed)? {
        return Err(FileFailure::Taken { path: out.into() });
    }
    // What comes while a part is read is heard once the writing begins.
    let interruptible = Interruptible::listen().map_err(failed)?;
    let (file, part) = if resume {
        take_up(&file_of)?
    } else {
        (make(&file_of)?, None)
    };
    let rows = match part {
        Some(part) if part.whole => part.rows(),
        part => {
            let (export, url) = (export.clone(), url.clone());
            let copy = file.try_clone().map_err(failed)?;
            let whole = interruptible.run(move |stop| {
                let mut out = Stoppable {
                    out: BufWriter::with_capacity(BLOCK, copy),
                    stop: stop.clone(),
                };
                // What is buffered is in the file before anybody is told: it is dropped here.
                write(&export, &url, part, &mut out)
            });
            let is_empty = file.metadata().is_ok_and(|metadata| metadata.len() == 0);
            let written = match whole.map_err(failed)? {
                Some(written) if is_empty => written.map_err(FileFailure::from),
                Some(written) => written.map_err(|failure| stopped(file_of.path(), failure)),
                None if is_empty => Err(FileFailure::InterruptedAtOnce { path: out.into() }),
                None => Err(FileFailure::Interrupted {
                    path: file_of.path().into(),
                }),
            };
            if written.is_err() && is_empty {
                // Nothing of it is worth going on with.
                file_of.discard();
            }
            written?
        }
    };
    file_of.finish(&file).map_err(failed)?;
    Ok(rows)
}

/// A file that takes nothing more once it is told to stop.
struct Stoppable {
    out: BufWriter<File>,
    stop: Stop,
}

impl Write for Stoppable {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.is_wanted() {
            return Err(io::Error::other("interrupted"));
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Tells what another attempt may go on from.
fn stopped(part: &Path, failure: ExportFailure) -> FileFailure {
    match failure {
        source @ (ExportFailure::Statement { .. } | ExportFailure::Output(_)) => {
            FileFailure::Stopped {
                path: part.into(),
                source,
            }
        }
        other @ (ExportFailure::Store(_)
        | ExportFailure::Damaged { .. }
        | ExportFailure::NoTenant { .. }
        | ExportFailure::NotTheSame { .. }) => other.into(),
    }
}

fn make(part: &PartFile) -> Result<File, FileFailure> {
    let path = part.path();
    part.make().map_err(|source| {
        let path = path.into();
        if source.kind() == io::ErrorKind::AlreadyExists {
            return FileFailure::Left { path };
        }
        FileFailure::Output { path, source }
    })
}

/// The part, cut off where it goes on.
fn take_up(part: &PartFile) -> Result<(File, Option<Part>), FileFailure> {
    let path = part.path();
    let failed = |source: io::Error| {
        let path = path.into();
        if source.kind() == io::ErrorKind::NotFound {
            return FileFailure::NoPart { path };
        }
        FileFailure::Output { path, source }
    };
    let mut file = part.take_up().map_err(failed)?;
    let part = match Part::read(&mut BufReader::with_capacity(BLOCK, &file)) {
        Ok(part) => Some(part),
        // Not even its first line was written.
        Err(TransferFault::CutOff { line: 0 }) => None,
        Err(fault) => {
            return Err(FileFailure::Part {
                path: path.into(),
                fault,
            });
        }
    };
    let bytes = part.as_ref().map_or(0, |part| part.bytes);
    file.set_len(bytes).map_err(failed)?;
    file.seek(SeekFrom::Start(bytes)).map_err(failed)?;
    Ok((file, part))
}

fn to_standard_output(export: &Export, url: &Url) -> Result<u64, FileFailure> {
    let (blocks, waiting) = sync_channel(BLOCKS_MAX);
    let writer = thread::spawn(move || hand_on(&waiting));
    let mut out = BufWriter::with_capacity(
        BLOCK,
        Patient {
            blocks: blocks.clone(),
        },
    );
    let written = write(export, url, None, &mut out);
    drop((out, blocks));
    let stalled = |failure: &ExportFailure| matches!(failure, ExportFailure::Output(error) if error.kind() == io::ErrorKind::TimedOut);
    if let Err(failure) = written.as_ref()
        && stalled(failure)
    {
        // The thread waits for the same reader, and ends with the process.
        return written.map_err(FileFailure::Export);
    }
    match writer.join() {
        Ok(Ok(())) => written.map_err(FileFailure::Export),
        // What the system said tells more than that nobody takes blocks any more.
        Ok(Err(source)) => Err(ExportFailure::Output(source).into()),
        Err(_panicked) => Err(ExportFailure::Output(io::ErrorKind::BrokenPipe.into()).into()),
    }
}

fn hand_on(waiting: &Receiver<Vec<u8>>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    while let Ok(block) = waiting.recv() {
        out.write_all(&block)?;
    }
    out.flush()
}

/// Standard output, whose reader may take its time, but not for ever.
struct Patient {
    blocks: SyncSender<Vec<u8>>,
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut block = bytes.to_vec();
        let began = Instant::now();
        loop {
            match self.blocks.try_send(block) {
                Ok(()) => return Ok(bytes.len()),
                Err(TrySendError::Disconnected(_)) => {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                Err(TrySendError::Full(_)) if began.elapsed() > STALLED => {
                    let what = "the reader of standard output took nothing for five minutes";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, what));
                }
                Err(TrySendError::Full(back)) => {
                    block = back;
                    thread::sleep(Duration::from_millis(2));
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

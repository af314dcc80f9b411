//! What SQLite's errors mean: its own words name neither the file nor a mend.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::place::room_beside;
use crate::store::StoreFault;

/// Bytes of a log's index, the least: where there is no room for it, SQLite calls that an I/O error.
const INDEX_BYTES: u64 = 32 << 10;

/// What an error means before the store serves.
pub(in crate::store) fn fault(path: &Path, error: rusqlite::Error) -> StoreFault {
    let code = error.sqlite_error_code();
    if let Some(fault) = of_disk(path, code, || error.to_string()) {
        return fault;
    }
    let path: PathBuf = path.into();
    match code {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreFault::Locked { path },
        code if is_damage(code) => StoreFault::Damaged {
            path,
            source: error.into(),
        },
        Some(_) | None => StoreFault::Unopenable {
            path,
            source: error.into(),
        },
    }
}

/// What an error of the disk on which the file lies means, if it is one.
pub(super) fn of_disk(
    path: &Path,
    code: Option<ErrorCode>,
    told: impl FnOnce() -> String,
) -> Option<StoreFault> {
    let bytes = || room_beside(path);
    let is_full = match code {
        Some(ErrorCode::DiskFull) => true,
        Some(ErrorCode::SystemIoFailure) => bytes().is_some_and(|bytes| bytes < INDEX_BYTES),
        Some(_) | None => return None,
    };
    let path = path.into();
    Some(if is_full {
        let bytes = bytes();
        StoreFault::NoRoom { path, bytes }
    } else {
        let source = io::Error::other(told());
        StoreFault::DiskFails { path, source }
    })
}

/// What a statement found of the file: that it is damaged. Any other error comes back as it is.
pub(in crate::store) fn damage(
    path: &Path,
    source: Box<dyn Error + Send + Sync>,
) -> Result<StoreFault, Box<dyn Error + Send + Sync>> {
    let first: &(dyn Error + 'static) = &*source;
    let mut causes = std::iter::successors(Some(first), |&error| error.source());
    let error = causes.find_map(|error| error.downcast_ref::<rusqlite::Error>());
    if is_damage(error.and_then(rusqlite::Error::sqlite_error_code)) {
        let path = path.into();
        return Ok(StoreFault::Damaged { path, source });
    }
    Err(source)
}

fn is_damage(code: Option<ErrorCode>) -> bool {
    matches!(
        code,
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
    )
}

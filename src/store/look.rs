//! What a start would find, for `countersign check`: whether a store can be written. Nothing is made and nothing is changed.

use std::fs::OpenOptions;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::postgres::address::Target;
use super::postgres::session::{Purpose, Session};
use super::sqlite;
use super::{StoreFault, Url};

/// Finds what would keep a receiver from writing here.
pub async fn look(url: &Url) -> Result<(), StoreFault> {
    match url {
        Url::Sqlite(path) => look_at_file(path),
        Url::Postgres(address) => {
            let target = Target::load(address)?;
            let session = Session::open(&target, Purpose::Look).await;
            let looked = session.map(drop);
            looked.map_err(|failure| failure.into_fault(&target.place))
        }
    }
}

/// A file that is there must be ours to write, and so must its directory: SQLite makes its companions (`-wal`, `-shm`) beside it.
pub(super) fn look_at_file(path: &Path) -> Result<(), StoreFault> {
    let directory = sqlite::file::directory_of(path)?;
    let unopenable = |what: String| StoreFault::Unopenable {
        path: path.into(),
        source: what.into(),
    };
    let rights = Access::WRITE_OK | Access::EXEC_OK;
    accessat(CWD, directory, rights, AtFlags::EACCESS).map_err(|error| {
        let directory = directory.display();
        unopenable(format!("nothing can be made in {directory}: {error}"))
    })?;
    let found = sqlite::place::found(path)?;
    if found.as_ref().is_some_and(|found| found.is_dir()) {
        return Err(StoreFault::IsDirectory { path: path.into() });
    }
    sqlite::place::refuse_a_log_alone(path)?;
    if found.is_some() {
        // Nothing is written, so not even the file's time changes.
        let opened = OpenOptions::new().read(true).write(true).open(path);
        opened.map_err(|error| sqlite::place::unseen(path, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::postgres::tests::server::{execute, fresh_database};
    use super::*;

    #[tokio::test]
    async fn a_database_in_which_nothing_can_be_made_or_written_is_told_before_the_start() {
        let Some(text) = fresh_database() else {
            return;
        };
        let url: Url = text.parse().unwrap();
        look(&url).await.unwrap();
        let database = text
            .rsplit('/')
            .next()
            .and_then(|name| name.split('?').next());
        let database = database.unwrap();
        let role = format!("{database}_app");
        execute(&text, &format!("CREATE ROLE {role} LOGIN"));
        let joint = if text.contains('?') { '&' } else { '?' };
        let as_role: Url = format!("{text}{joint}user={role}").parse().unwrap();
        let fault = look(&as_role).await.unwrap_err().to_string();
        let mend = format!("GRANT CREATE ON DATABASE \"{database}\" TO \"{role}\"");
        assert!(fault.contains(&mend), "{fault}");
        execute(
            &text,
            &format!("GRANT CREATE ON DATABASE {database} TO {role}"),
        );
        look(&as_role).await.unwrap();
        let read_only = format!("ALTER DATABASE {database} SET default_transaction_read_only = on");
        execute(&text, &read_only);
        let StoreFault::Unreachable { source, .. } = look(&url).await.unwrap_err() else {
            panic!("another fault");
        };
        assert!(source.to_string().contains("takes no writes"), "{source}");
    }

    #[tokio::test]
    async fn a_look_makes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data.db");
        look(&Url::Sqlite(path.clone())).await.unwrap();
        assert!(!path.exists());
        let log = directory.path().join("data.db-wal");
        std::fs::write(&log, "what is left").unwrap();
        let fault = look(&Url::Sqlite(path.clone())).await.unwrap_err();
        assert!(matches!(fault, StoreFault::LogAlone { .. }), "{fault}");
        let below = Url::Sqlite(path.join("data.db"));
        let fault = look(&below).await.unwrap_err();
        assert!(matches!(fault, StoreFault::NoDirectory { .. }), "{fault}");
        let fault = look(&Url::Sqlite(directory.path().into()))
            .await
            .unwrap_err();
        assert!(matches!(fault, StoreFault::IsDirectory { .. }), "{fault}");
    }
}

//! What a start would find, for `countersign check`: whether a store can be written. Nothing is made and nothing is changed.

use std::fs::OpenOptions;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::postgres::address::Target;
use super::postgres::session::{Purpose, Session};
use super::sqlite;
use super::{StoreFault, Url};

/// Bytes below which a disk counts as full: SQLite's log and its index grow by some pages with the shortest delivery.
const ROOM_LEAST: u64 = 128 << 10;
/// Bytes below which some deliveries find no room: the longest, by default, takes as many.
const ROOM_ENOUGH: u64 = 1 << 20;

/// Finds what would keep a receiver from writing here.
pub async fn look(url: &Url) -> Result<(), StoreFault> {
    match url {
        Url::Sqlite(path) => {
            look_at_file(path)?;
            look_for_room(path, sqlite::place::room_beside(path))
        }
        Url::Postgres(address) => {
            let target = Target::load(address)?;
            let session = Session::open(&target, Purpose::Look).await;
            let looked = session.map(drop);
            looked.map_err(|failure| failure.into_fault(&target.place))
        }
    }
}

/// What is to be known of a store that can still be written: its disk is nearly full. In words, and the mend.
pub fn look_ahead(url: &Url) -> Option<(String, &'static str)> {
    let Url::Sqlite(path) = url else {
        return None;
    };
    warn_of_room(path, sqlite::place::room_beside(path)?)
}

fn warn_of_room(path: &Path, bytes: u64) -> Option<(String, &'static str)> {
    let is_little = (ROOM_LEAST..ROOM_ENOUGH).contains(&bytes);
    is_little.then(|| {
        let path = path.display();
        let what = format!(
            "{path}: its disk is nearly full ({bytes} bytes are left): short deliveries are taken, long ones are not"
        );
        (what, "make room on that disk, or give it more")
    })
}

/// A disk that is full takes no delivery.
fn look_for_room(path: &Path, room: Option<u64>) -> Result<(), StoreFault> {
    match room {
        Some(bytes) if bytes < ROOM_LEAST => Err(StoreFault::NoRoom {
            path: path.into(),
            bytes: Some(bytes),
        }),
        Some(_) | None => Ok(()),
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
    use crate::inbox::{Inbox, Limits, Receipt};
    use crate::store::Store;
    use crate::store::fixtures::{accept, payment_event, with_body};

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
        let opened = Store::open(&as_role, Limits::default()).await;
        assert_eq!(opened.unwrap_err().to_string(), fault);
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

    /// What a role is told until it lacks nothing, each time after what was told was done.
    async fn told_until_it_lacks_nothing(text: &str, as_role: &Url) -> Vec<String> {
        let mut told = Vec::new();
        while let Err(fault) = look(as_role).await {
            assert!(matches!(fault, StoreFault::Rights { .. }), "{fault}");
            let opened = Store::open(as_role, Limits::default()).await;
            let refused = opened.unwrap_err();
            assert_eq!(refused.to_string(), fault.to_string());
            let fault = fault.to_string();
            let mend = fault.rsplit_once("say: ").unwrap().1.to_owned();
            assert!(!told.contains(&mend), "{mend} was of no use");
            execute(text, &mend);
            told.push(mend);
        }
        told
    }

    #[tokio::test]
    async fn a_role_that_may_not_use_a_schema_that_is_there_is_told_each_right_that_it_lacks() {
        let Some(text) = fresh_database() else {
            return;
        };
        Store::migrate(&text.parse().unwrap()).await.unwrap();
        let name = text.rsplit('/').next().unwrap();
        let role = format!("{}_app", name.split('?').next().unwrap());
        execute(&text, &format!("CREATE ROLE {role} LOGIN"));
        let joint = if text.contains('?') { '&' } else { '?' };
        let as_role: Url = format!("{text}{joint}user={role}").parse().unwrap();
        let told = told_until_it_lacks_nothing(&text, &as_role).await;
        let usage = format!("GRANT USAGE ON SCHEMA countersign TO \"{role}\"");
        assert!(told.contains(&usage), "{told:?}");
        let store = Store::open(&as_role, Limits::default()).await.unwrap();
        let payment = payment_event("evt_1", "pay_1", "succeeded", 5);
        assert_eq!(accept(&store, payment.clone()).await, Receipt::Accepted);
        let other = with_body(payment.clone(), "another");
        let many = vec![
            payment,
            other,
            payment_event("evt_2", "pay_1", "pending", 4),
        ];
        assert_eq!(
            store.accept(many).await.unwrap(),
            [Receipt::Duplicate, Receipt::Conflict, Receipt::Accepted]
        );
        store.ready().await.unwrap();
        store.close().await;
        // To read alone is not enough, nor is it to write to some of it.
        for (taken, mend) in [
            (
                "INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA countersign",
                "GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA countersign TO",
            ),
            (
                "INSERT ON countersign.tenants",
                "GRANT INSERT ON ALL TABLES IN SCHEMA countersign TO",
            ),
            (
                "SELECT ON countersign.migrations",
                "GRANT SELECT ON ALL TABLES IN SCHEMA countersign TO",
            ),
        ] {
            execute(&text, &format!("REVOKE {taken} FROM {role}"));
            let told = told_until_it_lacks_nothing(&text, &as_role).await;
            assert_eq!(told, [format!("{mend} \"{role}\"")]);
        }
        let revoked = "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA countersign FROM PUBLIC";
        execute(&text, revoked);
        let told = told_until_it_lacks_nothing(&text, &as_role).await;
        let mend = "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA countersign TO";
        assert_eq!(told, [format!("{mend} \"{role}\"")]);
    }

    #[test]
    fn a_disk_that_takes_no_delivery_is_told_with_what_is_left_of_it() {
        let path = Path::new("data.db");
        let full = |room| look_for_room(path, room).map_err(|fault| fault.to_string());
        for room in [None, Some(ROOM_LEAST), Some(u64::MAX)] {
            assert_eq!(full(room), Ok(()));
        }
        for room in [0, 4096, ROOM_LEAST - 1] {
            let told = full(Some(room)).unwrap_err();
            let what = format!("data.db: its disk is full ({room} bytes are left); make room");
            assert!(told.starts_with(&what), "{told}");
            assert_eq!(warn_of_room(path, room), None, "it is a fault already");
        }
        for room in [ROOM_LEAST, ROOM_ENOUGH - 1] {
            let (told, _mend) = warn_of_room(path, room).unwrap();
            let what = format!("data.db: its disk is nearly full ({room} bytes are left): ");
            assert!(told.starts_with(&what), "{told}");
        }
        assert_eq!(warn_of_room(path, ROOM_ENOUGH), None);
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

//! A schema that goes while receivers write to it, or that another host lacks: it is not made anew in its place.

use super::mute_tests::address;
use super::tests::server::{Ending, Postgres};
use crate::inbox::{Inbox, Limits, Receipt};
use crate::store::fixtures::{accept, event};
use crate::store::look::look;
use crate::store::views::Filter;
use crate::store::{ReadFailure, Store, StoreFault, Url, Views};

/// A database becomes one that is read only, as that of a standby is.
pub(super) const READ_ONLY: &str = "ALTER DATABASE inbox SET default_transaction_read_only = on";

#[tokio::test]
async fn a_schema_that_went_is_not_made_anew_and_one_that_is_back_is_used() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let url = address(&server, "inbox");
    let store = Store::open(&url, Limits::default()).await.unwrap();
    assert_eq!(accept(&store, event("evt_1")).await, Receipt::Accepted);
    server.psql("inbox", "ALTER SCHEMA countersign RENAME TO away");
    for _ in 0..3 {
        let failure = store.accept(vec![event("evt_2")]).await.unwrap_err();
        assert_eq!(failure.name(), "unavailable", "{failure:?}");
    }
    let made = "SELECT count(*) FROM pg_namespace WHERE nspname = 'countersign'";
    assert_eq!(server.psql("inbox", made).trim(), "0");
    server.psql("inbox", "ALTER SCHEMA away RENAME TO countersign");
    assert_eq!(accept(&store, event("evt_1")).await, Receipt::Duplicate);
    assert_eq!(accept(&store, event("evt_2")).await, Receipt::Accepted);
    // Whoever starts without one makes it.
    store.close().await;
    server.psql("inbox", "DROP SCHEMA countersign CASCADE");
    let store = Store::open(&url, Limits::default()).await.unwrap();
    assert_eq!(accept(&store, event("evt_1")).await, Receipt::Accepted);
}

/// How many schemas of ours a server has in its database.
pub(super) fn schemas(server: &Postgres) -> String {
    let made = "SELECT count(*) FROM pg_namespace WHERE nspname = 'countersign'";
    server.psql("inbox", made).trim().to_owned()
}

/// What an address may ask of its hosts: nothing, or that the driver passes over those that take no writes.
pub(super) const ASKED_OF_HOSTS: [&str; 2] = ["", "&target_session_attrs=read-write"];

/// The address of both, in this order.
pub(super) fn both(one: &Postgres, other: &Postgres) -> Url {
    hosts(&[one, other], "")
}

/// The address of these, in this order.
pub(super) fn hosts(servers: &[&Postgres], asked: &str) -> Url {
    let ports: Vec<u16> = servers.iter().map(|server| server.port()).collect();
    at_ports(&ports, asked)
}

/// The address of hosts of this machine, by their ports.
pub(super) fn at_ports(ports: &[u16], asked: &str) -> Url {
    let named: Vec<String> = ports
        .iter()
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();
    let (hosts, access) = (
        named.join(","),
        super::address::Access {
            connect_timeout: std::time::Duration::from_secs(1),
            patience: std::time::Duration::from_millis(100),
            ..Default::default()
        },
    );
    let text = format!("postgres://postgres@{hosts}/inbox?sslmode=disable{asked}");
    text.parse::<Url>().unwrap().with_access(access)
}

/// An error and its causes, as the log and the operator's page tell them.
fn told(failure: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(failure), |error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}

#[tokio::test]
async fn another_host_that_is_empty_is_not_given_a_second_ledger() {
    for asked in ASKED_OF_HOSTS {
        let (Some(mut primary), Some(empty)) = (Postgres::start(&[]), Postgres::start(&[])) else {
            return;
        };
        let url = hosts(&[&primary, &empty], asked);
        primary.create_database("inbox");
        empty.create_database("inbox");
        let store = Store::open(&url, Limits::default()).await.unwrap();
        assert_eq!(accept(&store, event("evt_1")).await, Receipt::Accepted);
        primary.stop(Ending::Fast);
        // The first may be told of the session that was cut.
        let _cut = store.accept(vec![event("evt_2")]).await;
        for _ in 0..3 {
            let failure = store.accept(vec![event("evt_2")]).await.unwrap_err();
            assert_eq!(failure.name(), "unavailable", "{failure:?}");
            let told = told(&failure);
            let host = format!("127.0.0.1:{} takes writes, but", empty.port());
            assert!(told.contains(&host), "{told}");
            assert!(told.contains("take that host out of store.url"), "{told}");
        }
        assert!(store.ready().await.is_err());
        assert_eq!(schemas(&empty), "0");
        primary.start_again();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while store.ready().await.is_err() {
            assert!(std::time::Instant::now() < deadline);
        }
        assert_eq!(accept(&store, event("evt_1")).await, Receipt::Duplicate);
    }
}

#[tokio::test]
async fn an_empty_host_that_stands_before_the_one_with_the_ledger_is_passed_over() {
    for asked in ASKED_OF_HOSTS {
        let (Some(empty), Some(primary)) = (Postgres::start(&[]), Postgres::start(&[])) else {
            return;
        };
        let url = hosts(&[&empty, &primary], asked);
        empty.create_database("inbox");
        Store::migrate(&address(&primary, "inbox")).await.unwrap();
        let store = Store::open(&url, Limits::default()).await.unwrap();
        assert_eq!(accept(&store, event("evt_1")).await, Receipt::Accepted);
        assert_eq!(schemas(&empty), "0");
        // A reader finds it as well.
        let kept = store.views().events_by_id(None, "evt_1").await.unwrap();
        assert_eq!(kept.len(), 1);
        store.close().await;
        // Where it is to be read only, an empty host beside it is not written to, not even by the first start.
        primary.psql("postgres", READ_ONLY);
        let store = Store::open(&url, Limits::default()).await.unwrap();
        let failure = store.accept(vec![event("evt_2")]).await.unwrap_err();
        assert_eq!(failure.name(), "unavailable", "{failure:?}");
        // To begin anew is no way out while the other has it: both are named, and so it is told before the start.
        let (host, holder) = (empty.port(), primary.port());
        let advice = format!(
            "127.0.0.1:{host} takes writes, but the schema countersign is not there: 127.0.0.1:{holder} has it, and takes none; \
             let that one take them, take 127.0.0.1:{host} out of store.url, or take 127.0.0.1:{holder} out"
        );
        assert!(told(&failure).contains(&advice), "{}", told(&failure));
        let fault = look(&url).await.unwrap_err();
        assert!(told(&fault).contains(&advice), "{}", told(&fault));
        let fault = Store::migrate(&url).await.unwrap_err();
        assert!(told(&fault).contains(&advice), "{}", told(&fault));
        assert_eq!(schemas(&empty), "0");
    }
}

#[tokio::test]
async fn what_a_standby_has_counts_when_its_primary_is_gone() {
    for asked in ASKED_OF_HOSTS {
        let (Some(empty), Some(mut primary)) = (Postgres::start(&[]), Postgres::start(&[])) else {
            return;
        };
        empty.create_database("inbox");
        let alone = address(&primary, "inbox");
        let standby = primary.synchronous_standby();
        let store = Store::open(&alone, Limits::default()).await.unwrap();
        assert_eq!(accept(&store, event("evt_1")).await, Receipt::Accepted);
        store.close().await;
        primary.stop(Ending::Killed);
        let url = hosts(&[&empty, &standby, &primary], asked);
        let store = Store::open(&url, Limits::default()).await.unwrap();
        let failure = store.accept(vec![event("evt_1")]).await.unwrap_err();
        let holder = format!("127.0.0.1:{} has it, and takes none", standby.port());
        assert!(told(&failure).contains(&holder), "{}", told(&failure));
        assert_eq!(schemas(&empty), "0");
        // A reader of a standby that is ruled out is not told to make a store.
        let listed = Views::open(&url).unwrap().events(Filter::default()).await;
        match listed {
            Ok(page) => assert_eq!((page.items.len(), asked), (1, "")),
            Err(failure) => {
                assert!(told(&failure).contains(&holder), "{}", told(&failure));
                assert_eq!(asked, ASKED_OF_HOSTS[1]);
            }
        }
    }
}

#[tokio::test]
async fn a_reader_passes_over_a_standby_that_lags() {
    let (Some(standby), Some(mut primary)) = (Postgres::start(&[]), Postgres::start(&[])) else {
        return;
    };
    let behind = address(&standby, "inbox");
    Store::migrate(&address(&primary, "inbox")).await.unwrap();
    let url = both(&standby, &primary);
    let read = async |url: &Url| Views::open(url).unwrap().events(Filter::default()).await;
    let is_none = |fault: &StoreFault| matches!(fault, StoreFault::NoStore { .. });
    let is_older = |fault: &StoreFault| matches!(fault, StoreFault::Older { .. });
    let older = "CREATE SCHEMA countersign; CREATE TABLE countersign.migrations (number bigint, serves_from bigint);
         INSERT INTO countersign.migrations VALUES (1, 1)";
    for (lag, is_told) in [
        ("SELECT 1", &is_none as &dyn Fn(&StoreFault) -> bool),
        (older, &is_older),
    ] {
        let writable = "ALTER DATABASE inbox RESET default_transaction_read_only";
        standby.psql("postgres", writable);
        standby.psql("inbox", lag);
        standby.psql("postgres", READ_ONLY);
        assert_eq!(read(&url).await.unwrap().items.len(), 0);
        let alone = read(&behind).await;
        assert!(
            matches!(&alone, Err(ReadFailure::Store(fault)) if is_told(fault)),
            "{alone:?}"
        );
        // Nobody knows what the other one has.
        primary.stop(Ending::Fast);
        for url in [&url, &both(&primary, &standby)] {
            let failure = read(url).await;
            assert!(
                matches!(
                    failure,
                    Err(ReadFailure::Store(StoreFault::Unreachable { .. }))
                ),
                "{failure:?}"
            );
        }
        primary.start_again();
    }
}

//! A database that holds a session up: by a lock of somebody else's, or by no answer at all.

use std::time::Duration;

use super::fixtures::event;
use super::postgres_address::{Access, Target};
use super::postgres_tests::server::Postgres;
use super::{Store, Url};
use crate::inbox::{Inbox, InboxFailure, Limits};

/// In the place of what makes partitions: the statement is sent, and no answer comes.
pub(super) const MUTE: &str = "CREATE OR REPLACE FUNCTION countersign.make_partitions_1(days int) RETURNS int LANGUAGE plpgsql
    SET statement_timeout = 0 AS 'BEGIN
        LOOP BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END'";
const TALKING: &str =
    "CREATE OR REPLACE FUNCTION countersign.make_partitions_1(days int) RETURNS int LANGUAGE sql
    SET statement_timeout FROM CURRENT AS 'SELECT 0'";

pub(super) fn address(server: &Postgres, name: &str) -> Url {
    let access = Access {
        connect_timeout: Duration::from_secs(1),
        statement_timeout: Duration::from_secs(1),
        patience: Duration::from_millis(100),
        ..Access::default()
    };
    let url: Url = server.create_database(name).parse().unwrap();
    url.with_access(access)
}

pub(super) fn target(url: &Url) -> Target {
    let Url::Postgres(address) = url else {
        panic!("no PostgreSQL");
    };
    Target::load(address).unwrap()
}

async fn open(url: &Url) -> Store {
    Store::open(url, Limits::default()).await.unwrap()
}

#[tokio::test]
async fn a_session_that_gets_no_answer_is_given_up_and_holds_up_no_close() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let url = address(&server, "inbox");
    open(&url).await.close().await;
    server.psql("inbox", MUTE);
    let store = open(&url).await;
    for _ in 0..2 {
        let failure = store.accept(vec![event("evt_1")]).await.unwrap_err();
        let away = matches!(failure, InboxFailure::Unavailable { .. });
        assert!(away, "{failure:?}");
    }
    store.close().await;
    let store = open(&url).await;
    server.psql("inbox", TALKING);
    while let Err(failure) = store.accept(vec![event("evt_1")]).await {
        let away = matches!(failure, InboxFailure::Unavailable { .. });
        assert!(away, "{failure:?}");
    }
    store.close().await;
}

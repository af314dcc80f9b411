//! A schema that goes while receivers write to it: it is not made anew in its place.

use super::mute_tests::address;
use super::tests::server::Postgres;
use crate::inbox::{Inbox, Limits, Receipt};
use crate::store::Store;
use crate::store::fixtures::{accept, event};

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

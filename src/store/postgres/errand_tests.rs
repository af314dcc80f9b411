//! What is written to PostgreSQL beside the deliveries: whole, or not at all.

use std::sync::Arc;

use super::mute_tests::address;
use super::tests::server::Postgres;
use crate::identity::Would;
use crate::inbox::Limits;
use crate::refusals::Book;
use crate::store::Store;
use crate::store::fixtures::at;
use crate::store::suite::{all, met, refusal};

#[tokio::test]
async fn an_errand_that_fails_at_its_end_counts_nothing_twice() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let url = address(&server, "inbox");
    let store = Arc::new(Store::open(&url, Limits::default()).await.unwrap());
    let book = Book::default();
    book.record(refusal("CN=a", 10));
    store.shadows().note(&met("CN=a", Would::Accept), at(10));
    server.psql("inbox", "ALTER TABLE countersign.shadows RENAME TO away");
    store.flush(&book).await.unwrap_err();
    server.psql("inbox", "ALTER TABLE countersign.away RENAME TO shadows");
    store.flush(&book).await.unwrap();
    let refused = store.views().refusals(all()).await.unwrap().items;
    assert_eq!(refused.iter().map(|row| row.count).collect::<Vec<_>>(), [1]);
    let seen = store.views().shadows_seen().await.unwrap();
    assert_eq!(seen.iter().map(|row| row.accept).collect::<Vec<_>>(), [1]);
}

//! An import into a store that has another state of what the export holds.

use std::io::Cursor;

use super::tests::{export, moves, put, rows};
use crate::inbox::Inbox;
use crate::refusals::Book;
use crate::store::fixtures::{Place, accept, event, leaf, payment_event, received};
use crate::store::{ImportFailure, Imported, import_file};

/// More than two batches of payments.
const PAYMENTS: usize = 600;

async fn put_file(place: &Place, export: &[u8]) -> Result<Imported, ImportFailure> {
    import_file(&place.url, &mut Cursor::new(export), &mut |_, _| {}).await
}

/// Of each kind, what was written, is missing and differs.
fn sums(imported: &Imported) -> (u64, u64, u64) {
    imported.kinds().iter().fold((0, 0, 0), |sums, (_, kind)| {
        (
            sums.0 + kind.written,
            sums.1 + kind.missing,
            sums.2 + kind.different,
        )
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_file_nothing_is_written_where_a_row_differs() {
    for (from, to) in moves() {
        let store = from.open().await;
        let delivery = |number| {
            payment_event(
                &format!("evt_{number}"),
                &format!("pay_{number}"),
                "succeeded",
                5,
            )
        };
        store
            .accept((0..PAYMENTS).map(delivery).collect())
            .await
            .unwrap();
        let whole = export(&from.url).await;
        // Another state of the payment that comes last: all others would have been written before it.
        let last = rows(&whole)
            .lines()
            .rfind(|line| line.contains("\"row\":\"payment\""))
            .and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let last = last.unwrap()["payment_id"].as_str().unwrap().to_owned();
        let there = to.open().await;
        accept(&there, payment_event("evt_other", &last, "pending", 6)).await;
        let before = export(&to.url).await;
        let stopped = put_file(&to, &whole).await.unwrap();
        let (written, missing, different) = sums(&stopped);
        assert_eq!((written, different), (0, 1), "{stopped:?}");
        assert_eq!(stopped.events.missing, PAYMENTS as u64);
        assert!(missing > PAYMENTS as u64);
        assert_eq!(rows(&export(&to.url).await), rows(&before));
        // What can be read once is written as it comes.
        let stopped = put(&to.url, &whole).await.unwrap();
        let (written, _, different) = sums(&stopped);
        assert!(written > 0 && different == 1, "{stopped:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_written_whole_and_found_again() {
    for (from, to) in moves() {
        accept(&from.open().await, event("evt_1")).await;
        let whole = export(&from.url).await;
        for written in [1, 0] {
            let imported = put_file(&to, &whole).await.unwrap();
            assert!(imported.is_equal(), "{imported:?}");
            assert_eq!(
                (imported.events.read, imported.events.written),
                (1, written)
            );
        }
        assert_eq!(rows(&export(&to.url).await), rows(&whole));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leafs_anchor_that_either_side_knows_stays_known() {
    for (from_knows, first, second) in [(false, 100, 200), (true, 100, 200), (true, 200, 100)] {
        for (from, to) in moves() {
            for (place, id, time, knows) in [
                (&to, "evt_1", first, !from_knows),
                (&from, "evt_2", second, from_knows),
            ] {
                let store = place.open().await;
                let kept = received(event(id), time);
                accept(&store, kept.clone()).await;
                if knows {
                    let (tenant, producer) = (&kept.key.tenant, &kept.key.producer);
                    store
                        .seen()
                        .note_leaf(tenant, producer, &kept.leaf, &leaf(), kept.received_at);
                    store.flush(&Book::default()).await.unwrap();
                }
            }
            let imported = put(&to.url, &export(&from.url).await).await.unwrap();
            let joined = export(&to.url).await;
            let known = format!("\"anchor_sha256\":\"{}\"", leaf().sha256());
            assert!(rows(&joined).contains(&known), "{imported:?}");
        }
    }
}

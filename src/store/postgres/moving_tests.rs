//! How far a run of a spool was moved, and which of its events are there already.

use std::collections::HashSet;

use super::batch::Prepared;
use super::moving::{Moving, forget_old_marks, move_batch};
use super::mute_tests::target;
use super::session::{Purpose, Session};
use super::tests::server::fresh_database;
use crate::inbox::{Event, Limits, Receipt};
use crate::store::fixtures::{accept, event, of_tenant, received, with_body};
use crate::store::{Store, Url};

fn moving(position: i64, uncertain: bool, event: Event) -> Moving {
    let prepared = Prepared::prepare(event);
    Moving {
        position,
        uncertain,
        prepared,
    }
}

/// A store on a database of its own, and a session there.
async fn opened() -> Option<(Store, Session)> {
    let url: Url = fresh_database()?.parse().unwrap();
    let store = Store::open(&url, Limits::default()).await.unwrap();
    let session = Session::open(&target(&url), Purpose::Write).await.unwrap();
    Some((store, session))
}

#[tokio::test]
async fn each_run_of_a_spool_and_each_tenant_has_a_mark_of_its_own() {
    let Some((_store, mut session)) = opened().await else {
        return;
    };
    let mut names = HashSet::new();
    let all = [
        ("tenant-42", &b"one"[..]),
        ("tenant-42", b"another"),
        ("tenant-43", b"one"),
    ];
    // All are under way before any of them goes on; the farthest goes first.
    for positions in [[1, 1, 1], [9, 5, 3]] {
        for ((tenant, run), position) in all.into_iter().zip(positions) {
            let id = format!("evt_{position}_{}", String::from_utf8_lossy(run));
            let event = of_tenant(event(&id), tenant, "p");
            let batch = [moving(position, false, event)];
            for expected in [1, 0] {
                let moved = move_batch(&mut session, &mut names, run, &batch).await;
                assert_eq!(moved.unwrap().len(), expected, "{tenant} {id}");
            }
        }
    }
}

/// Its spool may have been offline all the while.
#[tokio::test]
async fn a_mark_is_kept_for_thirty_days_after_the_last_move() {
    let Some((_store, mut session)) = opened().await else {
        return;
    };
    let mut names = HashSet::new();
    let batch = [moving(1, false, event("evt_1"))];
    for (run, days) in [(&b"old"[..], 31), (b"young", 29)] {
        let moved = move_batch(&mut session, &mut names, run, &batch).await;
        assert_eq!(moved.unwrap().len(), 1);
        let aged = format!(
            "UPDATE countersign.spools SET moved_at = moved_at - {days} * 86400000000 WHERE spool_id = '{}'",
            String::from_utf8_lossy(run)
        );
        session.client.batch_execute(&aged).await.unwrap();
    }
    forget_old_marks(&session.client).await.unwrap();
    for (run, expected) in [(&b"old"[..], 1), (b"young", 0)] {
        let moved = move_batch(&mut session, &mut names, run, &batch).await;
        assert_eq!(moved.unwrap().len(), expected);
    }
}

#[tokio::test]
async fn what_came_at_the_same_moment_is_not_taken_for_an_uncertain_event() {
    let Some((store, mut session)) = opened().await else {
        return;
    };
    let of = |tenant, id, body| {
        let event = received(with_body(event(id), body), 100);
        of_tenant(event, tenant, "p")
    };
    let kept = of("tenant-42", "evt_1", "{}");
    assert_eq!(accept(&store, kept.clone()).await, Receipt::Accepted);
    let mut names = HashSet::new();
    let cases = [
        // It is there.
        (kept, Receipt::Accepted),
        (of("tenant-42", "evt_2", "{}"), Receipt::Accepted),
        (of("tenant-42", "evt_1", "{\"a\":1}"), Receipt::Conflict),
        (of("tenant-43", "evt_1", "{}"), Receipt::Accepted),
    ];
    for (position, (event, expected)) in (1..).zip(cases) {
        let batch = [moving(position, true, event)];
        let moved = move_batch(&mut session, &mut names, b"run", &batch)
            .await
            .unwrap();
        let receipts: Vec<Receipt> = moved.into_iter().map(|(_, receipt)| receipt).collect();
        assert_eq!(receipts, [expected], "{position}");
    }
    let kept = store.views().events(crate::store::suite::all()).await;
    let kept = kept.unwrap().items;
    assert_eq!(kept.len(), 4);
    assert!(kept.iter().all(|event| event.duplicates == 0));
}

//! A store that changed between the two halves of an export: rows of two moments are never joined.

use std::collections::HashMap;

use rusqlite::Connection;

use super::tests::{export, filled, session};
use crate::inbox::Inbox;
use crate::store::fixtures::*;
use crate::store::{Export, ExportFailure, Keep, Part, Pruner, Retention, Store};

/// What may happen to a store meanwhile.
enum Change {
    /// An event comes, or comes once more.
    Comes(&'static str, i64),
    /// Something beside the receiver does this: an import, a replay, a pruning.
    Statement(&'static str),
}

async fn run(place: &Place, sql: &str) {
    match session(&place.url).await {
        None => {
            let connection = Connection::open(place.file()).unwrap();
            assert_ne!(
                connection
                    .execute(&sql.replace("SCHEMA", "main"), [])
                    .unwrap(),
                0
            );
        }
        Some(session) => {
            let sql = sql.replace("SCHEMA", "countersign");
            assert_ne!(session.client.execute(&sql, &[]).await.unwrap(), 0);
        }
    }
}

async fn change(place: &Place, store: &Store, change: &Change) {
    match change {
        Change::Comes(id, second) => {
            let event = payment_event(id, "pay_new", "pending", 1);
            accept(store, received(event, *second)).await;
        }
        Change::Statement(sql) => run(place, sql).await,
    }
}

async fn resume(place: &Place, whole: &[u8]) -> Result<Vec<u8>, ExportFailure> {
    let part = Part::read(&mut &whole[..whole.len() / 2]).unwrap();
    let mut out = whole[..usize::try_from(part.bytes).unwrap()].to_vec();
    Export::default()
        .run(&place.url, Some(part), &mut out, &mut |_, _| {})
        .await
        .map(|_| out)
}

fn places() -> impl Iterator<Item = Place> {
    [Some(Place::sqlite()), Place::postgres()]
        .into_iter()
        .flatten()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_of_a_store_that_changed_in_any_way_is_not_gone_on_with() {
    for place in places() {
        let store = filled(&place, 3).await;
        accept(&store, received(event("evt_last"), 1_800_000_000)).await;
        for happened in [
            // From the spool of another receiver, or by an import.
            Change::Comes("evt_between", 1_790_000_500),
            // A duplicate is counted.
            Change::Comes("evt_between", 1_790_000_600),
            Change::Statement(
                "UPDATE SCHEMA.payments SET changed_at = changed_at + 1 WHERE payment_id = 'pay_new'",
            ),
            Change::Statement(
                "UPDATE SCHEMA.events SET named_payment_id = 'pay_2' WHERE event_id = 'evt_last'",
            ),
            // Of the same length.
            Change::Statement(
                "UPDATE SCHEMA.events SET named_payment_id = 'pay_3' WHERE event_id = 'evt_last'",
            ),
            Change::Statement(
                "UPDATE SCHEMA.events SET fetch_needed = true WHERE event_id = 'evt_last'",
            ),
            Change::Statement(
                "UPDATE SCHEMA.events SET amount_minor = 5 WHERE event_id = 'evt_last'",
            ),
            // The same values, in other columns.
            Change::Statement(
                "UPDATE SCHEMA.events SET amount_minor = NULL, amount_refunded_minor = 5 WHERE event_id = 'evt_last'",
            ),
            Change::Statement("DELETE FROM SCHEMA.events WHERE received_at < 0"),
        ] {
            let whole = export(&place.url).await;
            assert!(resume(&place, &whole).await.unwrap() == whole);
            change(&place, &store, &happened).await;
            let resumed = resume(&place, &whole).await;
            let refused = matches!(resumed, Err(ExportFailure::NotTheSame { .. }));
            assert!(refused, "{:?}", resumed.map(|_| ()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_an_earlier_version_wrote_is_begun_anew() {
    for place in places() {
        filled(&place, 3).await;
        let whole = String::from_utf8(export(&place.url).await).unwrap();
        let former = whole.replacen(",\"extent_form\":2", "", 1);
        assert_ne!(former, whole);
        let failure = resume(&place, former.as_bytes())
            .await
            .unwrap_err()
            .to_string();
        assert!(failure.contains("another version"), "{failure}");
        assert!(failure.contains("begin anew"), "{failure}");
    }
}

/// Of two tenants, what came at one moment, and what did long ago, which is forgotten.
async fn at_one_moment(place: &Place) -> Store {
    let store = place.open().await;
    for second in [1_770_000_000, 1_790_000_000] {
        for tenant in ["a-tenant", "z-tenant"] {
            let together = (0..4).map(|number| {
                let (id, payment) = (format!("evt_{second}_{number}"), format!("pay_{number}"));
                let event = payment_event(&id, &payment, "pending", second);
                of_tenant(received(event, second), tenant, "p")
            });
            store.accept(together.collect()).await.unwrap();
        }
    }
    let keep = Keep {
        events_days: Some(100),
        ..Keep::default()
    };
    let retention = Retention::new(keep, HashMap::new());
    let now = at(1_790_000_000 + 2 * DAY_SECONDS);
    let pruned = store.prune(&mut Pruner::default(), &retention, now).await;
    assert_eq!(pruned.unwrap().total().events, 8);
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_goes_on_amid_what_came_at_one_moment() {
    for place in places() {
        drop(at_one_moment(&place).await);
        let whole = export(&place.url).await;
        let ends = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let ends: Vec<usize> = ends.map(|(at, _)| at + 1).collect();
        assert!(ends.len() > 24, "{}", ends.len());
        for cut in &ends[..ends.len() - 1] {
            let part = Part::read(&mut &whole[..*cut]).unwrap();
            let mut out = whole[..usize::try_from(part.bytes).unwrap()].to_vec();
            Export::default()
                .run(&place.url, Some(part), &mut out, &mut |_, _| {})
                .await
                .unwrap();
            assert!(out == whole, "cut at {cut} of {}", whole.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_tenants_export_goes_on_whatever_comes_to_another() {
    for place in places() {
        let store = at_one_moment(&place).await;
        let tenant = Export {
            tenant: Some("a-tenant".to_owned()),
        };
        let mut whole = Vec::new();
        tenant
            .run(&place.url, None, &mut whole, &mut |_, _| {})
            .await
            .unwrap();
        let part = Part::read(&mut &whole[..whole.len() / 2]).unwrap();
        let mut out = whole[..usize::try_from(part.bytes).unwrap()].to_vec();
        let event = payment_event("evt_late", "pay_0", "succeeded", 1_790_000_100);
        accept(&store, of_tenant(event, "z-tenant", "p")).await;
        tenant
            .run(&place.url, Some(part), &mut out, &mut |_, _| {})
            .await
            .unwrap();
        assert!(out == whole);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_tenants_export_is_not_gone_on_with_where_anything_of_it_changed() {
    for place in places() {
        let store = at_one_moment(&place).await;
        for (id, second) in [("evt_mine", 1_790_000_050), ("evt_older", 1_790_000_040)] {
            let event = payment_event(id, "pay_mine", "pending", second);
            let event = received(event, 1_790_000_060);
            accept(&store, of_tenant(event, "a-tenant", "p")).await;
        }
        let tenant = Export {
            tenant: Some("a-tenant".to_owned()),
        };
        let mut changes = vec![
            "UPDATE SCHEMA.payments SET changed_at = changed_at + 1 WHERE payment_id = 'pay_mine'",
            "UPDATE SCHEMA.events SET fetch_needed = true WHERE event_id = 'evt_mine'",
        ];
        if session(&place.url).await.is_some() {
            changes.extend([
                "DELETE FROM SCHEMA.superseded WHERE tenant_id = 'a-tenant'",
                "DELETE FROM SCHEMA.bodies WHERE tenant_id = 'a-tenant'",
            ]);
        }
        for change in changes {
            let mut whole = Vec::new();
            tenant
                .run(&place.url, None, &mut whole, &mut |_, _| {})
                .await
                .unwrap();
            let go_on = async || {
                let part = Part::read(&mut &whole[..whole.len() / 2]).unwrap();
                let mut out = whole[..usize::try_from(part.bytes).unwrap()].to_vec();
                tenant
                    .run(&place.url, Some(part), &mut out, &mut |_, _| {})
                    .await
                    .map(|_| out)
            };
            assert!(go_on().await.unwrap() == whole, "{change}");
            run(&place, change).await;
            let resumed = go_on().await;
            let refused = matches!(resumed, Err(ExportFailure::NotTheSame { .. }));
            assert!(refused, "{change}");
        }
    }
}

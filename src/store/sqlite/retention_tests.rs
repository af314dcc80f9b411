//! What pruning does to a SQLite file alone: how it looks, how much it takes at once, and where it begins.

use rusqlite::Connection;

use super::retention::{Going, beginning, look, take};
use crate::inbox::{Inbox, Limits, Receipt};
use crate::store::fixtures::*;
use crate::store::retention::keep::DAY_US;
use crate::store::{Filter, Store};

async fn with_events(place: &Place, count: i64, body: usize) -> Store {
    let store = place.open().await;
    for number in 0..count {
        let event = with_body(event(&format!("evt_{number}")), vec![b'x'; body]);
        accept(&store, received(event, number)).await;
    }
    store
}

#[tokio::test]
async fn a_step_is_bounded_by_rows_and_by_bytes() {
    let place = Place::sqlite();
    let store = with_events(&place, 12, 1 << 20).await;
    let connection = Connection::open(place.file()).unwrap();
    let mut from = beginning(Going::Bodies);
    let mut steps = Vec::new();
    loop {
        let found = look(&connection, 1, Going::Bodies, DAY_US, from).unwrap();
        steps.push(found.step.events.len());
        from = found.position;
        if found.ended {
            break;
        }
    }
    assert_eq!(steps, [3, 3, 3, 3]);
    let rows: Vec<_> = (0..900)
        .map(|number| received(event(&format!("small_{number}")), 100))
        .collect();
    for rows in rows.chunks(100) {
        store.accept(rows.to_vec()).await.unwrap();
    }
    let found = look(&connection, 1, Going::Bodies, DAY_US, from).unwrap();
    assert_eq!((found.step.events.len(), found.ended), (400, false));
}

#[tokio::test]
async fn what_has_changed_since_it_was_looked_for_stays() {
    let place = Place::sqlite();
    let _store = with_events(&place, 3, 10).await;
    let connection = Connection::open(place.file()).unwrap();
    let begin = beginning(Going::Events);
    let mut found = look(&connection, 1, Going::Events, 2_000_000, begin).unwrap();
    assert_eq!(found.step.events.len(), 2);
    // A number that another event has by now, and one that was forgotten meanwhile.
    found.step.events.push((3, 10));
    assert_eq!(take(&connection, &found.step).unwrap().events, 2);
    let again = take(&connection, &found.step).unwrap();
    assert_eq!((again.events, again.bodies), (0, 0));
}

#[test]
fn nothing_is_looked_for_by_reading_everything() {
    let connection = Connection::open_in_memory().unwrap();
    for step in crate::store::migrations::SQLITE {
        connection.execute_batch(step.sql).unwrap();
    }
    let plan = |sql: &str| -> String {
        let mut statement = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        let count = statement.parameter_count();
        let rows = statement.query_map(rusqlite::params_from_iter(vec![1; count]), |row| {
            row.get::<_, String>(3)
        });
        rows.unwrap()
            .collect::<Result<Vec<_>, _>>()
            .unwrap()
            .join("\n")
    };
    for going in [Going::Bodies, Going::Events, Going::Keys] {
        let told = plan(super::retention::oldest(going));
        assert!(told.contains("events_by_time (tenant=?"), "{told}");
        assert!(!told.contains("TEMP B-TREE"), "{told}");
        assert!(!told.contains("SCAN e"), "{told}");
    }
    let aside = plan(
        "SELECT event FROM events WHERE tenant = ?1 AND event_id = ?2 AND verdict IN (1, 2) ORDER BY event LIMIT 100",
    );
    assert!(
        aside.contains("events_aside (tenant=? AND event_id=?)"),
        "{aside}"
    );
}

#[tokio::test]
async fn a_store_of_the_first_schema_is_brought_up_to_date() {
    let place = Place::sqlite();
    let connection = Connection::open(place.file()).unwrap();
    connection
        .execute_batch(crate::store::migrations::SQLITE[0].sql)
        .unwrap();
    connection
        .execute_batch("PRAGMA application_id = 1129531214; PRAGMA user_version = 1")
        .unwrap();
    drop(connection);
    let store = Store::open(&place.url, Limits::default()).await.unwrap();
    assert_eq!(accept(&store, event("evt_1")).await, Receipt::Accepted);
    let kept = store.views().events(Filter::default()).await.unwrap();
    assert_eq!(kept.items.len(), 1);
}

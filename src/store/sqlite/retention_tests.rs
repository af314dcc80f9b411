//! What pruning does to a SQLite file alone: how it looks, how much it takes at once, and where it begins.

use rusqlite::Connection;

use super::retention::{Going, Step, beginning, count, look, take, witness};
use crate::inbox::{Inbox, Limits, Receipt};
use crate::store::fixtures::*;
use crate::store::retention::keep::{Cutoffs, DAY_US};
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
async fn a_body_that_is_longer_than_a_step_goes_all_the_same() {
    let place = Place::sqlite();
    let _store = with_events(&place, 2, 5 << 20).await;
    let connection = Connection::open(place.file()).unwrap();
    let begin = beginning(Going::Bodies);
    let found = look(&connection, 1, Going::Bodies, DAY_US, begin).unwrap();
    assert_eq!((found.step.events.len(), found.ended), (1, false));
    assert_eq!(found.position, (0, 1));
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

/// What was received before this has had its time.
const BEFORE: i64 = 100_000_000;

/// Events by number: kept ones of the first tenant (1 to 3, 9) and of another (4), forgotten ones of the first (5 to 7, 10) and of the
/// other (8).
async fn on_both_sides(place: &Place) -> Connection {
    let store = place.open().await;
    let seconds = [99, 100, 101, 99, 99, 100, 101, 99, 98, 98];
    for (number, second) in (1..).zip(seconds) {
        let event = received(event(&format!("evt_{number}")), second);
        let event = match number {
            4 | 8 => of_tenant(event, "other", "p"),
            _ => event,
        };
        accept(&store, event).await;
    }
    let connection = Connection::open(place.file()).unwrap();
    for (tenant, events) in [
        (1, vec![(5, 0), (6, 0), (7, 0), (10, 0)]),
        (2, vec![(8, 0)]),
    ] {
        let (going, before) = (Going::Events, i64::MAX);
        let forget = Step {
            tenant,
            going,
            before,
            events,
        };
        take(&connection, &forget).unwrap();
    }
    connection
}

fn numbers(connection: &Connection, of: &str) -> Vec<i64> {
    let mut select = connection
        .prepare(&format!("SELECT event FROM {of} ORDER BY event"))
        .unwrap();
    let numbers = select.query_map([], |row| row.get(0)).unwrap();
    numbers.collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn a_step_takes_of_what_it_names_only_what_has_had_its_time() {
    type Left<'a> = [&'a [i64]; 3];
    let expected: [(Going, [u64; 3], Left<'_>); 4] = [
        (
            Going::Bodies,
            [1, 0, 0],
            [&[1, 2, 3, 4, 9], &[5, 6, 7, 8, 10], &[2, 3, 4, 9]],
        ),
        (
            Going::Events,
            [1, 1, 0],
            [&[2, 3, 4, 9], &[1, 5, 6, 7, 8, 10], &[2, 3, 4, 9]],
        ),
        (
            Going::EventsAndKeys,
            [1, 1, 1],
            [&[2, 3, 4, 9], &[5, 6, 7, 8, 10], &[2, 3, 4, 9]],
        ),
        (
            Going::Keys,
            [0, 0, 1],
            [&[1, 2, 3, 4, 9], &[6, 7, 8, 10], &[1, 2, 3, 4, 9]],
        ),
    ];
    for (going, gone, left) in expected {
        let place = Place::sqlite();
        let connection = on_both_sides(&place).await;
        let step = Step {
            tenant: 1,
            going,
            before: BEFORE,
            events: (1..=8).map(|number| (number, 10)).collect(),
        };
        let tally = take(&connection, &step).unwrap();
        assert_eq!([tally.bodies, tally.events, tally.keys], gone, "{going:?}");
        let found = [
            numbers(&connection, "events WHERE received_at >= 0"),
            numbers(&connection, "events WHERE received_at < 0"),
            numbers(&connection, "bodies"),
        ];
        assert_eq!(found, left, "{going:?}");
    }
}

#[tokio::test]
async fn what_has_had_its_time_is_found_oldest_first_and_counted() {
    let place = Place::sqlite();
    let connection = on_both_sides(&place).await;
    let found = |going, from| {
        let found = look(&connection, 1, going, BEFORE, from).unwrap();
        let events = found.step.events.iter().map(|(number, _)| *number);
        events.collect::<Vec<_>>()
    };
    for (going, first, second) in [
        (Going::Bodies, 9, 1),
        (Going::Events, 9, 1),
        (Going::EventsAndKeys, 9, 1),
        (Going::Keys, 10, 5),
    ] {
        assert_eq!(found(going, beginning(going)), [first, second], "{going:?}");
        assert_eq!(found(going, (98_000_000, first)), [second], "{going:?}");
    }
    let cutoffs = Cutoffs {
        bodies: Some(BEFORE),
        events: Some(BEFORE),
        keys: Some(BEFORE),
    };
    let counted = |tenant| {
        let tally = count(&connection, tenant, cutoffs).unwrap();
        [tally.bodies, tally.events, tally.keys]
    };
    assert_eq!((counted(1), counted(2)), ([2, 2, 4], [1, 1, 2]));
}

#[tokio::test]
async fn no_event_that_came_later_bears_witness_not_even_a_forgotten_one() {
    let expected = [None, Some(98), Some(100), Some(101)];
    let expected = expected.map(|at| at.map(|second| second * 1_000_000));
    for kept in ["true", "received_at >= 0", "received_at < 0"] {
        let place = Place::sqlite();
        let connection = on_both_sides(&place).await;
        let others = format!("DELETE FROM events WHERE NOT {kept}");
        connection.execute_batch(&others).unwrap();
        let told =
            [97, 98, 100, 200].map(|second| witness(&connection, second * 1_000_000).unwrap());
        assert_eq!(told, expected, "{kept}");
    }
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

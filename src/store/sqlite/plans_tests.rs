//! What SQLite's plans cost, wherever in a store they begin.

use rusqlite::{Connection, StatementStatus, ToSql, params};

use super::retention::{Going, beginning, oldest};
use super::{engine, replay};
use crate::inbox::Inbox as _;
use crate::store::fixtures::{Place, event, received};

/// How many steps SQLite's machine takes for a page of ten.
fn steps(connection: &Connection, sql: &str, parameters: &[&dyn ToSql]) -> i32 {
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map(parameters, |_| Ok(())).unwrap();
    assert_eq!(rows.count(), 10);
    statement.get_status(StatementStatus::VmStep)
}

#[tokio::test]
async fn a_page_costs_as_much_wherever_it_begins() {
    let place = Place::sqlite();
    let store = place.open().await;
    let events = (0..2000).map(|number| received(event(&format!("evt_{number}")), number));
    store.accept(events.collect()).await.unwrap();
    let connection = engine::open_to_read(&place.file()).unwrap();
    let late = (1_980_000_000_i64, i64::MIN);
    let page = |from: (i64, i64)| {
        let all = params![1, from.0, from.1, 0, i64::MAX, None::<&str>, 10];
        steps(&connection, replay::EVENTS, all)
    };
    let (first, last) = (page((0, i64::MIN)), page(late));
    assert!(last <= first * 2, "{last} steps for {first}");
    for going in [Going::Bodies, Going::Events] {
        let page = |from: (i64, i64)| {
            let all = params![1, i64::MAX, from.0, from.1, 10];
            steps(&connection, oldest(going), all)
        };
        let (first, last) = (page(beginning(going)), page(late));
        assert!(last <= first * 2, "{going:?}: {last} steps for {first}");
    }
}

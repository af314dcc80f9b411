//! What SQLite does with a statement that is used again.

use rusqlite::{Connection, StatementStatus, params};

use super::engine;
use crate::store::fixtures::Place;

/// How often SQLite prepared anew what reads events by this condition on two parameters.
fn prepared_anew(connection: &Connection, condition: &str) -> i32 {
    let mut statement = connection
        .prepare(&format!("SELECT count(*) FROM events WHERE {condition}"))
        .unwrap();
    for number in 0..100_i64 {
        let found: i64 = statement
            .query_row(params![number, number], |row| row.get(0))
            .unwrap();
        assert_eq!(found, 0);
    }
    statement.get_status(StatementStatus::RePrepare)
}

#[test]
fn a_statement_is_not_prepared_anew_for_what_is_bound_to_it() {
    let place = Place::sqlite();
    let writing = engine::open(&place.file()).unwrap();
    let reading = engine::open_to_read(&place.file()).unwrap();
    for connection in [writing, reading] {
        for condition in [
            "tenant = ?1 AND key = ?2",
            "tenant = ?1 AND payment = ?2",
            "tenant = ?1 AND received_at >= ?2",
        ] {
            assert_eq!(prepared_anew(&connection, condition), 0, "{condition}");
        }
    }
}

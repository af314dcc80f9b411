//! The columns of a statement by their names, for statements of which many rows are read.
//!
//! SQLite is asked for its names once for each statement: a row that looks them up itself asks for all of them at each column,
//! which costs more than reading it.

use rusqlite::types::{FromSql, ValueRef};
use rusqlite::{Error, Row, Statement};

/// The names of a statement's columns, in their places.
#[derive(Debug)]
pub(super) struct Columns(Vec<Box<str>>);

/// A row whose columns have names.
pub(super) struct NamedRow<'a> {
    columns: &'a Columns,
    row: &'a Row<'a>,
}

impl Columns {
    pub(super) fn of(statement: &Statement<'_>) -> Self {
        Self(statement.column_names().map(Box::from).collect())
    }

    /// A row of this statement.
    pub(super) fn name<'a>(&'a self, row: &'a Row<'a>) -> NamedRow<'a> {
        NamedRow { columns: self, row }
    }
}

impl NamedRow<'_> {
    pub(super) fn get<T: FromSql>(&self, name: &str) -> rusqlite::Result<T> {
        self.row.get(self.place(name)?)
    }

    pub(super) fn get_ref(&self, name: &str) -> rusqlite::Result<ValueRef<'_>> {
        self.row.get_ref(self.place(name)?)
    }

    /// Where it is, for errors that say so.
    pub(super) fn place(&self, name: &str) -> rusqlite::Result<usize> {
        let place = self.columns.0.iter().position(|column| **column == *name);
        place.ok_or_else(|| Error::InvalidColumnName(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn a_column_is_read_wherever_it_stands_and_one_that_is_not_there_is_told() {
        let connection = Connection::open_in_memory().unwrap();
        for sql in ["SELECT 1 AS one, 2 AS two", "SELECT 2 AS two, 1 AS one"] {
            let mut statement = connection.prepare(sql).unwrap();
            let columns = Columns::of(&statement);
            let read = statement.query_row([], |row| {
                let row = columns.name(row);
                Ok((
                    row.get::<i64>("one")?,
                    row.get::<i64>("two")?,
                    row.place("three"),
                ))
            });
            let (one, two, three) = read.unwrap();
            assert_eq!((one, two), (1, 2));
            assert!(matches!(three, Err(Error::InvalidColumnName(name)) if name == "three"));
        }
    }
}

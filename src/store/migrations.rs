//! The schema's steps, embedded from `migrations/`. A step that was released is never changed: another follows it.

/// One step: schema `number` is what the store has once it was taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Migration {
    pub(super) number: i64,
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
    /// The oldest program that can use a store once this step was taken, by the newest schema that it knows. Only where
    /// several receivers share a store: while it is upgraded, the old ones go on (expand first, contract a version later).
    pub(super) serves_from: i64,
}

/// The embedded store's, in order.
pub(super) const SQLITE: &[Migration] = &[
    Migration {
        number: 1,
        name: "0001_inbox_and_ledger.sql",
        sql: include_str!("../../migrations/sqlite/0001_inbox_and_ledger.sql"),
        serves_from: 1,
    },
    Migration {
        number: 2,
        name: "0002_retention.sql",
        sql: include_str!("../../migrations/sqlite/0002_retention.sql"),
        serves_from: 2,
    },
    Migration {
        number: 3,
        name: "0003_shadows.sql",
        sql: include_str!("../../migrations/sqlite/0003_shadows.sql"),
        serves_from: 2,
    },
    Migration {
        number: 4,
        name: "0004_fetch_needed.sql",
        sql: include_str!("../../migrations/sqlite/0004_fetch_needed.sql"),
        serves_from: 2,
    },
];

/// The spool's, in order.
pub(super) const SPOOL: &[Migration] = &[Migration {
    number: 1,
    name: "0001_spool.sql",
    sql: include_str!("../../migrations/spool/0001_spool.sql"),
    serves_from: 1,
}];

/// PostgreSQL's, in order.
pub(super) const POSTGRES: &[Migration] = &[
    Migration {
        number: 1,
        name: "0001_inbox_and_ledger.sql",
        sql: include_str!("../../migrations/postgres/0001_inbox_and_ledger.sql"),
        serves_from: 1,
    },
    Migration {
        number: 2,
        name: "0002_commit.sql",
        sql: include_str!("../../migrations/postgres/0002_commit.sql"),
        serves_from: 2,
    },
    Migration {
        number: 3,
        name: "0003_retention.sql",
        sql: include_str!("../../migrations/postgres/0003_retention.sql"),
        serves_from: 2,
    },
    Migration {
        number: 4,
        name: "0004_spools.sql",
        sql: include_str!("../../migrations/postgres/0004_spools.sql"),
        serves_from: 2,
    },
    Migration {
        number: 5,
        name: "0005_shadows.sql",
        sql: include_str!("../../migrations/postgres/0005_shadows.sql"),
        serves_from: 2,
    },
    Migration {
        number: 6,
        name: "0006_fetch_needed.sql",
        sql: include_str!("../../migrations/postgres/0006_fetch_needed.sql"),
        serves_from: 2,
    },
    Migration {
        number: 7,
        name: "0007_commit_plain.sql",
        sql: include_str!("../../migrations/postgres/0007_commit_plain.sql"),
        serves_from: 2,
    },
    Migration {
        number: 8,
        name: "0008_partitions.sql",
        sql: include_str!("../../migrations/postgres/0008_partitions.sql"),
        serves_from: 2,
    },
    Migration {
        number: 9,
        name: "0009_commit_many.sql",
        sql: include_str!("../../migrations/postgres/0009_commit_many.sql"),
        serves_from: 2,
    },
    Migration {
        number: 10,
        name: "0010_commit_by_place.sql",
        sql: include_str!("../../migrations/postgres/0010_commit_by_place.sql"),
        serves_from: 2,
    },
    Migration {
        number: 11,
        name: "0011_came_again.sql",
        sql: include_str!("../../migrations/postgres/0011_came_again.sql"),
        serves_from: 2,
    },
];

/// The newest schema that this program knows.
pub(super) fn known(migrations: &[Migration]) -> i64 {
    migrations.last().map_or(0, |last| last.number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::HISTORY_MAX;

    #[test]
    fn a_payment_knows_as_many_events_in_the_database_as_it_does_here() {
        let mut bounds = 0;
        for step in POSTGRES {
            for (at, slice) in step.sql.match_indices("[:") {
                let (before, rest) = (&step.sql[..at], &step.sql[at + slice.len()..]);
                if before.trim_end_matches(')').ends_with("history") {
                    let (bound, _) = rest.split_once(']').unwrap();
                    assert_eq!(bound.parse(), Ok(HISTORY_MAX), "{}", step.name);
                    bounds += 1;
                }
            }
        }
        assert!(bounds > 0, "no step says how many a payment knows");
    }

    #[test]
    fn the_steps_are_numbered_as_their_files_are() {
        for steps in [SQLITE, SPOOL, POSTGRES] {
            for (index, step) in steps.iter().enumerate() {
                assert_eq!(step.number, index as i64 + 1);
                assert!(
                    step.name.starts_with(&format!("{:04}_", step.number)),
                    "{}",
                    step.name
                );
                assert!(step.serves_from <= step.number);
            }
        }
    }
}

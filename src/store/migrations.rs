//! The schema's steps, embedded from `migrations/`. A step that was released is never changed: another follows it.

/// One step: schema `number` is what the store has once it was taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Migration {
    pub(super) number: i64,
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
}

/// The embedded store's, in order.
pub(super) const SQLITE: &[Migration] = &[Migration {
    number: 1,
    name: "0001_inbox_and_ledger.sql",
    sql: include_str!("../../migrations/sqlite/0001_inbox_and_ledger.sql"),
}];

/// The newest schema that this program knows.
pub(super) fn known(migrations: &[Migration]) -> i64 {
    migrations.last().map_or(0, |last| last.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_are_numbered_as_their_files_are() {
        for (index, step) in SQLITE.iter().enumerate() {
            assert_eq!(step.number, index as i64 + 1);
            assert!(
                step.name.starts_with(&format!("{:04}_", step.number)),
                "{}",
                step.name
            );
        }
    }
}

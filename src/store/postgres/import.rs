//! PostgreSQL as an import sees it: rows found by their names, and rows written as they were, a batch in one transaction.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::address::{Address, Target};
use super::batch::{durably, payment_key};
use super::bodies::Wanted;
use super::import_write as written;
use super::import_write::Refused;
use super::rows::{
    BY_INDEX, EVENT, EVENT_PARTS, LEAF, PAYMENT, REFUSAL, SECRET, SHADOW, came_with, event,
    forgotten, leaf, merge_refusals, payment, producer, refusal, secret, shadow,
};
use super::session::{Purpose, Session, TookTooLong, ends_the_session};
use super::text::hold;
use crate::store::HISTORY_MAX;
use crate::store::retention::keep::DAY_US;
use crate::store::transfer::importing::{ImportFailure, ImportMode};
use crate::store::transfer::lines::Line;
use crate::store::transfer::record::{EventRecord, Record};

/// Days for which an import makes a partition, at most; the default one takes the others.
const DAYS_MAX: usize = 1100;

/// A session, and the days for which it has looked after a partition.
pub(in crate::store) struct PostgresShelf {
    session: Session,
    target: Target,
    days: BTreeSet<i64>,
    /// Whether a partition could not be had for somebody who holds the table.
    held_up: bool,
}

impl PostgresShelf {
    pub(in crate::store) async fn open(
        address: &Address,
        mode: ImportMode,
    ) -> Result<Self, ImportFailure> {
        let target = Target::load(address)?;
        let purpose = match mode {
            ImportMode::Write => Purpose::Write,
            ImportMode::Compare => Purpose::Read,
        };
        let session = Session::open(&target, purpose)
            .await
            .map_err(|failure| failure.into_fault(&target.place))?;
        Ok(Self {
            session,
            target,
            days: BTreeSet::new(),
            held_up: false,
        })
    }

    fn client(&self) -> &Client {
        &self.session.client
    }

    /// Ten times what a batch of deliveries may take: nobody waits for an import. Where no answer comes, the server must not go on, with
    /// its locks.
    async fn limited<T>(
        &self,
        work: impl Future<Output = Result<T, ImportFailure>>,
    ) -> Result<T, ImportFailure> {
        let limit = self.target.access.statement_timeout.saturating_mul(10);
        match timeout(limit, work).await {
            Ok(done) => done.map_err(away),
            Err(_elapsed) => {
                self.session.stop().await;
                Err(ImportFailure::Away {
                    source: TookTooLong(limit).into(),
                })
            }
        }
    }

    pub(in crate::store) async fn find(
        &self,
        lines: &[Line],
    ) -> Result<Vec<Option<Record>>, ImportFailure> {
        self.limited(async {
            let begin = format!("BEGIN READ ONLY; {BY_INDEX}");
            let client = self.client();
            client
                .batch_execute(&begin)
                .await
                .map_err(ImportFailure::statement)?;
            let found = find(client, lines).await?;
            client
                .batch_execute("COMMIT")
                .await
                .map_err(ImportFailure::statement)?;
            Ok(found)
        })
        .await
    }

    pub(in crate::store) async fn write(&mut self, lines: &[Line]) -> Result<(), ImportFailure> {
        self.look_after_days(lines).await?;
        self.limited(write(self.client(), lines)).await
    }

    /// Makes the partitions that the bodies of these events would have had, had they been received here: they are dropped
    /// day by day. What cannot be made now is no loss, for the default partition takes the rows. A new one locks its parent, and
    /// behind whoever waits for that lock all deliveries wait: so it is hardly waited for, and not at all after it was in vain.
    async fn look_after_days(&mut self, lines: &[Line]) -> Result<(), ImportFailure> {
        let days: BTreeSet<i64> = lines
            .iter()
            .filter_map(|line| match &line.record {
                Record::Event(row) if row.headers.is_some() => {
                    Some(row.received_at.0.div_euclid(DAY_US))
                }
                Record::Event(_)
                | Record::Forgotten(_)
                | Record::Producer(_)
                | Record::Secret(_)
                | Record::Leaf(_)
                | Record::Payment(_)
                | Record::Refusal(_)
                | Record::Shadow(_) => None,
            })
            .collect();
        for day in days {
            if self.held_up {
                break;
            }
            if self.days.len() >= DAYS_MAX || !self.days.insert(day) {
                continue;
            }
            let (from, to) = (
                day.saturating_mul(DAY_US),
                day.saturating_add(1).saturating_mul(DAY_US),
            );
            let Ok(time) = Timestamp::from_microsecond(from) else {
                continue;
            };
            // As long as for those of the days to come. It waits for no standby: the rows that go there do, and come behind it.
            let limit = self.target.access.connect_timeout;
            let sql = format!(
                "BEGIN; SET LOCAL lock_timeout = '50ms'; SET LOCAL statement_timeout = '{}'; SET LOCAL synchronous_commit = off;
                 CREATE TABLE IF NOT EXISTS countersign.bodies_{} PARTITION OF countersign.bodies
                     FOR VALUES FROM ({from}) TO ({to}); COMMIT",
                (limit / 2).as_millis(),
                time.strftime("%Y%m%d")
            );
            let making = async {
                let Err(error) = self.client().batch_execute(&sql).await else {
                    return Ok(false);
                };
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "no partition could be made for a day"
                );
                let rolled_back = self.client().batch_execute("ROLLBACK").await;
                rolled_back.map_err(ImportFailure::statement)?;
                let held = [SqlState::LOCK_NOT_AVAILABLE, SqlState::QUERY_CANCELED];
                Ok(error.code().is_some_and(|code| held.contains(code)))
            };
            self.held_up = self.limited(making).await?;
        }
        Ok(())
    }
}

/// Tells a statement that was refused from a session that ended under it.
fn away(failure: ImportFailure) -> ImportFailure {
    if let ImportFailure::Statement { source } = failure {
        if source.downcast_ref().is_some_and(ends_the_session) {
            return ImportFailure::Away { source };
        }
        return ImportFailure::Statement { source };
    }
    failure
}

/// The rows in these rows' places. The number of its line's place is the last column of each.
async fn find(client: &Client, lines: &[Line]) -> Result<Vec<Option<Record>>, ImportFailure> {
    let Some(first) = lines.first() else {
        return Ok(Vec::new());
    };
    let identities: Vec<_> = lines.iter().map(|line| line.record.identity()).collect();
    let tenants: Vec<&str> = identities.iter().map(|(tenant, _, _)| *tenant).collect();
    let producers: Vec<_> = identities.iter().map(|(_, name, _)| hold(name)).collect();
    let names: Vec<_> = lines.iter().map(|line| own_name(&line.record)).collect();
    let keys: Vec<Vec<u8>> = lines
        .iter()
        .map(|line| {
            if let Record::Payment(row) = &line.record {
                return payment_key(&row.tenant_id, &row.payment_id).to_vec();
            }
            line.record.identity().2.to_vec()
        })
        .collect();
    let meant = "FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) WITH ORDINALITY AS m (tenant_id, producer, name, key, i)";
    let of = |object: &str| format!("{meant} JOIN countersign.{object}");
    let sql = match &first.record {
        Record::Producer(_) => format!(
            "SELECT p.tenant_id, p.name, m.i AS place {} p ON p.tenant_id = m.tenant_id AND p.name = m.producer",
            of("producers")
        ),
        Record::Secret(_) => format!(
            "SELECT {SECRET}, m.i AS place {} s ON s.tenant_id = m.tenant_id AND s.producer = m.producer AND s.reference = m.name",
            of("secrets")
        ),
        Record::Leaf(_) => format!(
            "SELECT {LEAF}, m.i AS place {} l ON l.tenant_id = m.tenant_id AND l.producer = m.producer AND l.sha256 = m.key",
            of("leaves")
        ),
        Record::Payment(_) => format!(
            "SELECT {PAYMENT}, m.i AS place {} p ON p.tenant_id = m.tenant_id AND p.key = m.key",
            of("payments")
        ),
        // An event that its payment does not know is not what it was.
        Record::Event(_) | Record::Forgotten(_) => format!(
            "SELECT {EVENT}, m.i AS place {} e ON e.tenant_id = m.tenant_id AND e.key = m.key {EVENT_PARTS}
             LEFT JOIN countersign.payments p ON p.tenant_id = e.tenant_id AND p.key = e.payment_key
                 AND (e.key = ANY (p.history) OR cardinality(p.history) >= {HISTORY_MAX})",
            of("events")
        ),
        Record::Refusal(_) => return find_refusals(client, &keys).await,
        Record::Shadow(_) => format!(
            "SELECT {SHADOW}, m.i AS place {} w ON w.tenant_id = m.tenant_id AND w.key = m.key",
            of("shadows")
        ),
    };
    let rows = client
        .query_typed(
            &sql,
            &[
                (&tenants, Type::TEXT_ARRAY),
                (&producers, Type::TEXT_ARRAY),
                (&names, Type::TEXT_ARRAY),
                (&keys, Type::BYTEA_ARRAY),
            ],
        )
        .await
        .map_err(ImportFailure::statement)?;
    let mut found = vec![None; lines.len()];
    for row in &rows {
        let record = read(&first.record, row)?;
        let place: i64 = row.try_get("place").map_err(ImportFailure::statement)?;
        let place = usize::try_from(place)
            .ok()
            .and_then(|place| place.checked_sub(1));
        if let Some(slot) = place.and_then(|place| found.get_mut(place)) {
            *slot = Some(record);
        }
    }
    with_bodies(client, &mut found).await?;
    Ok(found)
}

/// Gives the events among these rows what came with them.
async fn with_bodies(client: &Client, found: &mut [Option<Record>]) -> Result<(), ImportFailure> {
    let mut events: Vec<&mut EventRecord> = found
        .iter_mut()
        .filter_map(|record| match record {
            Some(Record::Event(event)) => Some(&mut **event),
            Some(_) | None => None,
        })
        .collect();
    if events.is_empty() {
        return Ok(());
    }
    let mut wanted = Wanted::default();
    for event in &events {
        wanted.push(&event.tenant_id, event.received_at.0, &event.key.0);
    }
    let sql = Wanted::sql("b.headers, b.body");
    let rows = client.query_typed(&sql, &wanted.parameters()).await;
    let rows = rows.map_err(ImportFailure::statement)?;
    let placed = wanted.placed(rows).map_err(ImportFailure::statement)?;
    for (event, row) in events.iter_mut().zip(placed) {
        if let Some(row) = row {
            came_with(event, &row).map_err(ImportFailure::statement)?;
        }
    }
    Ok(())
}

fn own_name(record: &Record) -> Option<std::borrow::Cow<'_, str>> {
    match record {
        Record::Secret(row) => Some(hold(&row.secret)),
        Record::Producer(_)
        | Record::Leaf(_)
        | Record::Payment(_)
        | Record::Event(_)
        | Record::Forgotten(_)
        | Record::Refusal(_)
        | Record::Shadow(_) => None,
    }
}

fn read(like: &Record, row: &Row) -> Result<Record, ImportFailure> {
    match like {
        Record::Producer(_) => producer(row).map_err(ImportFailure::statement),
        Record::Secret(_) => secret(row).map_err(ImportFailure::statement),
        Record::Leaf(_) => leaf(row).map_err(ImportFailure::statement),
        Record::Payment(_) => payment(row).map_err(ImportFailure::statement),
        Record::Refusal(_) => refusal(row)
            .map(Record::Refusal)
            .map_err(ImportFailure::statement),
        Record::Shadow(_) => shadow(row).map_err(ImportFailure::statement),
        Record::Event(_) | Record::Forgotten(_) => {
            if let Some(forgotten) = forgotten(row).map_err(ImportFailure::statement)? {
                return Ok(Record::Forgotten(forgotten));
            }
            let read = event(row).map_err(ImportFailure::statement)?;
            Ok(Record::Event(Box::new(read)))
        }
    }
}

/// The groups by key alone, whatever tenants their rows are put down to.
async fn find_refusals(
    client: &Client,
    keys: &[Vec<u8>],
) -> Result<Vec<Option<Record>>, ImportFailure> {
    let sql = format!(
        "SELECT {REFUSAL} FROM countersign.refusals WHERE key = ANY ($1) ORDER BY last_seen DESC, key, tenant_id"
    );
    let rows = client
        .query_typed(&sql, &[(&keys, Type::BYTEA_ARRAY)])
        .await
        .map_err(ImportFailure::statement)?;
    let mut groups = Vec::with_capacity(rows.len());
    for row in &rows {
        groups.push(refusal(row).map_err(ImportFailure::statement)?);
    }
    let mut found: HashMap<Vec<u8>, Record> = merge_refusals(groups)
        .into_iter()
        .map(|group| (group.key.0.to_vec(), Record::Refusal(group)))
        .collect();
    Ok(keys.iter().map(|key| found.remove(key)).collect())
}

/// Writes the rows in one transaction, durably.
async fn write(client: &Client, lines: &[Line]) -> Result<(), ImportFailure> {
    let begin = format!("BEGIN; {BY_INDEX}; SELECT {}", durably!());
    client
        .batch_execute(&begin)
        .await
        .map_err(ImportFailure::statement)?;
    let done = match written::rows(client, lines).await {
        Ok(()) => client.batch_execute("COMMIT").await.map_err(Refused::from),
        Err(refused) => Err(refused),
    };
    done.map_err(|refused| match refused {
        Refused::Statement(error) => ImportFailure::statement(error),
        Refused::Dangling { place, what } => match lines.get(place) {
            Some(line) => ImportFailure::dangling(line, what),
            None => ImportFailure::statement(format!("a {what} is missing")),
        },
    })
}

//! The embedded store as rows of an export, and single rows of it as an import compares them.

use std::path::Path;

use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::columns::{Columns, NamedRow};
use super::engine;
use crate::payments::Effect;
use crate::store::migrations::{SQLITE, known};
use crate::store::row::{FORGOTTEN, Verdict, payment_key};
use crate::store::transfer::record::{
    EventRecord, ForgottenRecord, Hex, Kind, LeafRecord, Micros, PaymentRecord, ProducerRecord,
    Record, RefusalRecord, SecretRecord, ShadowRecord,
};
use crate::store::transfer::writing::{ExportFailure, Position, Writing};

/// A connection with a transaction that has begun to read: all that it sees is of one moment. The receiver goes on
/// meanwhile, and its log grows by what it writes.
pub(in crate::store) struct Source {
    connection: Connection,
    tenants: Vec<(i64, String)>,
    tenant: Option<String>,
}

/// A tenant, and the time and number of the last of its rows that is done.
type Left = (i64, (i64, i64));

const PRODUCER: &str = "SELECT t.tenant_id, p.name AS producer
    FROM producers p LEFT JOIN tenants t ON t.tenant = p.tenant";
const SECRET: &str = "SELECT t.tenant_id, p.name AS producer, s.reference, s.first_used, s.last_used
    FROM secrets s LEFT JOIN producers p ON p.producer = s.producer LEFT JOIN tenants t ON t.tenant = s.tenant";
const LEAF: &str = "SELECT t.tenant_id, p.name AS producer, l.sha256, l.subject, l.issuer, l.serial, l.spki_sha256,
        l.not_before, l.not_after, l.anchor_subject, l.anchor_sha256, l.first_seen, l.last_seen
    FROM leaves l LEFT JOIN producers p ON p.producer = l.producer LEFT JOIN tenants t ON t.tenant = l.tenant";
const PAYMENT: &str = "SELECT t.tenant_id, y.payment_id, y.status, y.amount_minor, y.amount_refunded_minor, y.currency,
        y.occurred_at, y.last_event_id, y.events, y.changed_at, y.state
    FROM payments y LEFT JOIN tenants t ON t.tenant = y.tenant";
const EVENT: &str = "SELECT t.tenant_id, p.name AS producer, e.event_id, e.key, e.kind, e.verdict, e.effect, e.duplicates,
        e.occurred_at, e.received_at, e.body_sha256, s.reference AS secret, l.sha256 AS leaf_sha256, y.payment_id,
        e.named_payment_id, e.status, e.amount_minor, e.amount_refunded_minor, e.currency, b.headers, b.body, e.fetch_needed
    FROM events e LEFT JOIN tenants t ON t.tenant = e.tenant LEFT JOIN producers p ON p.producer = e.producer
        LEFT JOIN leaves l ON l.leaf = e.leaf LEFT JOIN secrets s ON s.secret = e.secret
        LEFT JOIN payments y ON y.payment = e.payment LEFT JOIN bodies b ON b.event = e.event";
const REFUSAL: &str = "SELECT key, gate, reason, subject, issuer, serial, address, server_name, tenant_id, producer, detail,
        first_seen, last_seen, count FROM refusals";
const SHADOW: &str = "SELECT key, mark, what, tenant_id, producer, subject, address, accept, agree, refuse, first_seen, last_seen
    FROM shadows";

impl Source {
    pub(in crate::store) fn open(path: &Path, tenant: Option<&str>) -> Result<Self, ExportFailure> {
        let connection = engine::open_to_read(path)?;
        connection
            .execute_batch("BEGIN")
            .map_err(ExportFailure::statement)?;
        let tenants = connection
            .prepare("SELECT tenant, tenant_id FROM tenants WHERE ?1 IS NULL OR tenant_id = ?1 ORDER BY tenant_id")
            .and_then(|mut found| {
                found
                    .query_map([tenant], |row| Ok((row.get("tenant")?, row.get("tenant_id")?)))?
                    .collect::<rusqlite::Result<Vec<(i64, String)>>>()
            })
            .map_err(ExportFailure::statement)?;
        match tenant {
            Some(tenant_id) if tenants.is_empty() => Err(ExportFailure::NoTenant {
                tenant_id: tenant_id.to_owned(),
            }),
            Some(_) | None => Ok(Self {
                connection,
                tenants,
                tenant: tenant.map(str::to_owned),
            }),
        }
    }

    #[expect(
        clippy::unused_self,
        reason = "an opened file has the schema that this program knows"
    )]
    pub(in crate::store) fn schema(&self) -> i64 {
        known(SQLITE)
    }

    /// Of every payment and event, and of the oldest body of each tenant: bodies never change, and go in the order in which they
    /// came. All rows are read for it once, but without what is long.
    pub(in crate::store) fn extent(&self) -> Result<Hex<32>, ExportFailure> {
        let mut hash = Sha256::new();
        for (tenant, tenant_id) in &self.tenants {
            hash.update(tenant_id.len().to_be_bytes());
            hash.update(tenant_id);
            for sql in [
                "SELECT * FROM payments WHERE tenant = ?1 ORDER BY changed_at, payment",
                "SELECT * FROM events WHERE tenant = ?1 ORDER BY received_at, event",
                "SELECT e.event FROM events e WHERE tenant = ?1 AND received_at >= 0
                     AND EXISTS (SELECT 1 FROM bodies b WHERE b.event = e.event) ORDER BY received_at, event LIMIT 1",
            ] {
                self.digest(sql, *tenant, &mut hash)
                    .map_err(ExportFailure::statement)?;
            }
        }
        Ok(Hex(hash.finalize().into()))
    }

    fn digest(&self, sql: &str, tenant: i64, hash: &mut Sha256) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query([tenant])?;
        let mut read: u64 = 0;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                match row.get_ref(column)? {
                    ValueRef::Null => hash.update([0]),
                    ValueRef::Integer(number) => {
                        hash.update([1]);
                        hash.update(number.to_be_bytes());
                    }
                    ValueRef::Real(number) => {
                        hash.update([2]);
                        hash.update(number.to_be_bytes());
                    }
                    ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                        hash.update([3]);
                        hash.update(bytes.len().to_be_bytes());
                        hash.update(bytes);
                    }
                }
            }
            read = read.saturating_add(1);
        }
        hash.update(read.to_be_bytes());
        Ok(())
    }

    /// About how many rows there are.
    pub(in crate::store) fn about(&self) -> Result<Option<u64>, ExportFailure> {
        let rows: i64 = self
            .connection
            .query_row(
                "SELECT ifnull((SELECT max(event) FROM events), 0) + ifnull((SELECT max(payment) FROM payments), 0)",
                [],
                |row| row.get(0),
            )
            .map_err(ExportFailure::statement)?;
        Ok(u64::try_from(rows).ok())
    }

    /// Whether a shadow mark was met.
    pub(in crate::store) fn has_shadows(&self) -> Result<bool, ExportFailure> {
        let sql = "SELECT EXISTS (SELECT 1 FROM shadows WHERE ?1 IS NULL OR tenant_id = ?1)";
        self.connection
            .query_row(sql, params![self.tenant], |row| row.get(0))
            .map_err(ExportFailure::statement)
    }

    /// Writes every row after that position.
    pub(in crate::store) fn write(
        self,
        after: &Position,
        writing: &mut Writing<'_>,
    ) -> Result<(), ExportFailure> {
        if *after == Position::Beginning {
            for (table, order, read) in [
                (
                    PRODUCER,
                    "p.name",
                    producer as fn(&NamedRow<'_>) -> rusqlite::Result<Record>,
                ),
                (SECRET, "p.name, s.reference", secret),
                (LEAF, "p.name, l.sha256", leaf),
            ] {
                let sql = format!("{table} WHERE t.tenant = ?1 ORDER BY {order}");
                for (tenant, _) in &self.tenants {
                    self.each(&sql, params![tenant], read, writing)?;
                }
            }
        }
        // Where the rows of a kind begin that nothing was written of yet: below zero is what is forgotten.
        let payments = (i64::MIN, i64::MIN);
        let events = (0, i64::MIN);
        let forgotten = (-1, i64::MIN);
        let begun = match after {
            Position::Beginning | Position::Payment { .. } => Kind::Payments,
            Position::Event { .. } => Kind::Events,
            Position::Forgotten { .. } => Kind::Forgotten,
        };
        let beginning = Position::Beginning;
        let after = |kind| if kind == begun { after } else { &beginning };
        if begun <= Kind::Payments {
            let sql = format!(
                "{PAYMENT} WHERE y.tenant = ?1 AND (y.changed_at, y.payment) > (?2, ?3) ORDER BY y.changed_at, y.payment"
            );
            for (tenant, from) in self.from(after(Kind::Payments), payments)? {
                self.each(&sql, params![tenant, from.0, from.1], payment, writing)?;
            }
        }
        if begun <= Kind::Events {
            let sql = format!(
                "{EVENT} WHERE e.tenant = ?1 AND (e.received_at, e.event) > (?2, ?3) ORDER BY e.received_at, e.event"
            );
            for (tenant, from) in self.from(after(Kind::Events), events)? {
                self.each(&sql, params![tenant, from.0, from.1], event, writing)?;
            }
        }
        // The oldest first as well, which here have the greatest times.
        let sql = format!(
            "{EVENT} WHERE e.tenant = ?1 AND e.received_at <= ?2 AND (e.received_at < ?2 OR e.event > ?3)
             ORDER BY e.received_at DESC, e.event"
        );
        for (tenant, from) in self.from(after(Kind::Forgotten), forgotten)? {
            self.each(&sql, params![tenant, from.0, from.1], event, writing)?;
        }
        let sql =
            format!("{REFUSAL} WHERE ?1 IS NULL OR tenant_id = ?1 ORDER BY last_seen, refusal");
        self.each(&sql, params![self.tenant], refusal, writing)?;
        let sql = format!("{SHADOW} WHERE ?1 IS NULL OR tenant_id = ?1 ORDER BY last_seen, key");
        self.each(&sql, params![self.tenant], shadow, writing)
    }

    /// The tenants that are left, and where each one's rows begin.
    fn from(&self, after: &Position, first: (i64, i64)) -> Result<Vec<Left>, ExportFailure> {
        let (done, time, key, sql) = match after {
            Position::Beginning => {
                let all = self.tenants.iter();
                return Ok(all.map(|(tenant, _)| (*tenant, first)).collect());
            }
            Position::Payment {
                tenant_id,
                changed_at,
                payment_id,
            } => (
                tenant_id,
                *changed_at,
                payment_key(payment_id),
                "SELECT payment FROM payments WHERE tenant = ?1 AND key = ?2 AND changed_at = ?3",
            ),
            Position::Event {
                tenant_id,
                received_at,
                key,
            } => (
                tenant_id,
                *received_at,
                *key,
                "SELECT event FROM events WHERE tenant = ?1 AND key = ?2 AND received_at = ?3",
            ),
            Position::Forgotten {
                tenant_id,
                received_at,
                key,
            } => (
                tenant_id,
                !*received_at,
                *key,
                "SELECT event FROM events WHERE tenant = ?1 AND key = ?2 AND received_at = ?3",
            ),
        };
        let mut left = Vec::new();
        for (tenant, tenant_id) in self.tenants.iter().filter(|(_, id)| id >= done) {
            if tenant_id != done {
                left.push((*tenant, first));
                continue;
            }
            let number: Option<i64> = self
                .connection
                .query_row(sql, params![tenant, key, time], |row| row.get(0))
                .optional()
                .map_err(ExportFailure::statement)?;
            let what = "the store has not the last row of the part";
            let number = number.ok_or(ExportFailure::NotTheSame { what })?;
            left.push((*tenant, (time, number)));
        }
        Ok(left)
    }

    /// Writes the rows of a statement, one after another as it finds them.
    fn each(
        &self,
        sql: &str,
        parameters: &[&dyn rusqlite::ToSql],
        read: fn(&NamedRow<'_>) -> rusqlite::Result<Record>,
        writing: &mut Writing<'_>,
    ) -> Result<(), ExportFailure> {
        let mut statement = self
            .connection
            .prepare_cached(sql)
            .map_err(ExportFailure::statement)?;
        let columns = Columns::of(&statement);
        let mut rows = statement
            .query(parameters)
            .map_err(ExportFailure::statement)?;
        while let Some(row) = rows.next().map_err(ExportFailure::statement)? {
            let record = read(&columns.name(row)).map_err(ExportFailure::statement)?;
            writing.write(&record)?;
        }
        Ok(())
    }
}

/// The row that the store has in this one's place.
pub(super) fn find(connection: &Connection, record: &Record) -> rusqlite::Result<Option<Record>> {
    const OF_PRODUCER: &str = "t.tenant_id = ?1 AND p.name = ?2";
    let one = |sql: String,
               parameters: &[&dyn rusqlite::ToSql],
               read: fn(&NamedRow<'_>) -> rusqlite::Result<Record>| {
        let mut statement = connection.prepare_cached(&sql)?;
        let columns = Columns::of(&statement);
        statement
            .query_row(parameters, |row| read(&columns.name(row)))
            .optional()
    };
    match record {
        Record::Producer(row) => one(
            format!("{PRODUCER} WHERE {OF_PRODUCER}"),
            params![row.tenant_id, row.producer],
            producer,
        ),
        Record::Secret(row) => one(
            format!("{SECRET} WHERE {OF_PRODUCER} AND s.reference = ?3"),
            params![row.tenant_id, row.producer, row.secret],
            secret,
        ),
        Record::Leaf(row) => one(
            format!("{LEAF} WHERE {OF_PRODUCER} AND l.sha256 = ?3"),
            params![row.tenant_id, row.producer, row.sha256.0],
            leaf,
        ),
        Record::Payment(row) => one(
            format!(
                "{PAYMENT} WHERE y.tenant = (SELECT tenant FROM tenants WHERE tenant_id = ?1) AND y.key = ?2"
            ),
            params![row.tenant_id, payment_key(&row.payment_id)],
            payment,
        ),
        Record::Event(_) | Record::Forgotten(_) => one(
            format!(
                "{EVENT} WHERE e.tenant = (SELECT tenant FROM tenants WHERE tenant_id = ?1) AND e.key = ?2"
            ),
            params![record.identity().0, record.identity().2],
            event,
        ),
        Record::Refusal(row) => one(
            format!("{REFUSAL} WHERE key = ?1"),
            params![row.key.0],
            refusal,
        ),
        Record::Shadow(row) => one(
            format!("{SHADOW} WHERE key = ?1"),
            params![row.key.0],
            shadow,
        ),
    }
}

fn producer(row: &NamedRow<'_>) -> rusqlite::Result<Record> {
    Ok(Record::Producer(ProducerRecord {
        tenant_id: row.get("tenant_id")?,
        producer: row.get("producer")?,
    }))
}

fn secret(row: &NamedRow<'_>) -> rusqlite::Result<Record> {
    Ok(Record::Secret(SecretRecord {
        tenant_id: row.get("tenant_id")?,
        producer: row.get("producer")?,
        secret: row.get("reference")?,
        first_used: Micros(row.get("first_used")?),
        last_used: Micros(row.get("last_used")?),
    }))
}

fn leaf(row: &NamedRow<'_>) -> rusqlite::Result<Record> {
    Ok(Record::Leaf(LeafRecord {
        tenant_id: row.get("tenant_id")?,
        producer: row.get("producer")?,
        sha256: Hex(row.get("sha256")?),
        subject: row.get("subject")?,
        issuer: row.get("issuer")?,
        serial: row.get("serial")?,
        spki_sha256: Hex(row.get("spki_sha256")?),
        not_before: Micros(row.get("not_before")?),
        not_after: Micros(row.get("not_after")?),
        anchor_subject: row.get("anchor_subject")?,
        anchor_sha256: row.get::<Option<[u8; 32]>>("anchor_sha256")?.map(Hex),
        first_seen: Micros(row.get("first_seen")?),
        last_seen: Micros(row.get("last_seen")?),
    }))
}

fn payment(row: &NamedRow<'_>) -> rusqlite::Result<Record> {
    let state = row.get_ref("state")?.as_str()?;
    Ok(Record::Payment(PaymentRecord {
        tenant_id: row.get("tenant_id")?,
        payment_id: row.get("payment_id")?,
        status: row.get("status")?,
        amount_minor: row.get("amount_minor")?,
        amount_refunded_minor: row.get("amount_refunded_minor")?,
        currency: row.get("currency")?,
        occurred_at: row.get::<Option<i64>>("occurred_at")?.map(Micros),
        last_event_id: row.get("last_event_id")?,
        events: row.get("events")?,
        changed_at: Micros(row.get("changed_at")?),
        // What is no JSON is no state either, and the row says so when it is checked.
        state: serde_json::from_str(state).unwrap_or_default(),
    }))
}

fn event(row: &NamedRow<'_>) -> rusqlite::Result<Record> {
    let verdict: i64 = row.get("verdict")?;
    if verdict == FORGOTTEN {
        return Ok(Record::Forgotten(ForgottenRecord {
            tenant_id: row.get("tenant_id")?,
            key: Hex(row.get("key")?),
            body_sha256: Hex(row.get("body_sha256")?),
            duplicates: row.get("duplicates")?,
            received_at: Micros(!row.get::<i64>("received_at")?),
        }));
    }
    let out_of_range = |column: &str, number| match row.place(column) {
        Ok(place) => rusqlite::Error::IntegralValueOutOfRange(place, number),
        Err(error) => error,
    };
    let verdict = Verdict::of_number(verdict).ok_or_else(|| out_of_range("verdict", verdict))?;
    let effect: Option<i64> = row.get("effect")?;
    let effect = match effect {
        None => None,
        Some(0) => Some(Effect::Applied),
        Some(1) => Some(Effect::Superseded),
        Some(2) => Some(Effect::Unmapped),
        Some(other) => return Err(out_of_range("effect", other)),
    };
    let mut event = EventRecord {
        tenant_id: row.get("tenant_id")?,
        producer: row.get("producer")?,
        event_id: row.get("event_id")?,
        key: Hex(row.get("key")?),
        kind: row.get("kind")?,
        verdict,
        effect,
        duplicates: row.get("duplicates")?,
        occurred_at: row.get::<Option<i64>>("occurred_at")?.map(Micros),
        received_at: Micros(row.get("received_at")?),
        body_sha256: Hex(row.get("body_sha256")?),
        secret: row.get("secret")?,
        leaf_sha256: Hex(row.get("leaf_sha256")?),
        payment_id: row.get("payment_id")?,
        named_payment_id: row.get("named_payment_id")?,
        status: row.get("status")?,
        amount_minor: row.get("amount_minor")?,
        amount_refunded_minor: row.get("amount_refunded_minor")?,
        currency: row.get("currency")?,
        fetch_needed: row.get("fetch_needed")?,
        headers: None,
        body: None,
        body_base64: None,
    };
    if let (Some(headers), Some(body)) =
        (row.get_ref("headers")?.as_str_or_null()?, row.get("body")?)
    {
        let place = row.place("headers")?;
        let headers = serde_json::from_str(headers).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(place, Type::Text, error.into())
        })?;
        event.keep(headers, body);
    }
    Ok(Record::Event(Box::new(event)))
}

fn refusal(row: &NamedRow<'_>) -> rusqlite::Result<Record> {
    Ok(Record::Refusal(RefusalRecord {
        key: Hex(row.get("key")?),
        gate: row.get("gate")?,
        reason: row.get("reason")?,
        subject: row.get("subject")?,
        issuer: row.get("issuer")?,
        serial: row.get("serial")?,
        address: row.get("address")?,
        server_name: row.get("server_name")?,
        tenant_id: row.get("tenant_id")?,
        producer: row.get("producer")?,
        detail: row.get("detail")?,
        first_seen: Micros(row.get("first_seen")?),
        last_seen: Micros(row.get("last_seen")?),
        count: row.get("count")?,
    }))
}

fn shadow(row: &NamedRow<'_>) -> rusqlite::Result<Record> {
    // Empty stands for nobody's.
    let named = |column: &str| -> rusqlite::Result<Option<String>> {
        let text: String = row.get(column)?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    };
    Ok(Record::Shadow(ShadowRecord {
        key: Hex(row.get("key")?),
        mark: row.get("mark")?,
        what: row.get("what")?,
        tenant_id: named("tenant_id")?,
        producer: named("producer")?,
        subject: row.get("subject")?,
        address: row.get("address")?,
        accept: row.get("accept")?,
        agree: row.get("agree")?,
        refuse: row.get("refuse")?,
        first_seen: Micros(row.get("first_seen")?),
        last_seen: Micros(row.get("last_seen")?),
    }))
}

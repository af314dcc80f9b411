//! PostgreSQL as rows of an export. One transaction sees one moment; its answers come in pages, for the driver holds an
//! answer whole; and bodies in portions, for they may be long.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::address::{Address, Target};
use super::batch::payment_key;
use super::bodies::Wanted;
use super::rows::{
    self, BY_INDEX, EVENT, EVENT_PARTS, LEAF, PAYMENT, REFUSAL, SHADOW, came_with, event,
    forgotten, leaf, merge_refusals, payment, producer, refusal, secret, shadow,
};
use super::session::{Purpose, Session};
use super::text::give_back;
use crate::store::migrations::{POSTGRES, known};
use crate::store::transfer::record::{EventRecord, Hex, Kind, Record};
use crate::store::transfer::writing::{ExportFailure, Position, Writing};

/// Rows of one answer.
const PAGE: i64 = 200;
/// Bytes of bodies and headers that are asked for at once, unless one is longer.
const PORTION: i64 = 4 << 20;
/// Groups of refusals, and tallies of shadow marks: what the receivers keep, and what they are about to let go.
const GROUPS_MAX: i64 = 100_000;

/// How long the server may take over the extent. Nobody waits for it.
const EXTENT_MAX: Duration = Duration::from_secs(3600);
/// Sums of hashes of whole rows, which do not hang on the order in which they are read.
const EXTENT: &str = "SELECT
    (SELECT ROW(count(*), sum(hashtextextended(p::text, 0)))::text FROM countersign.payments p
        WHERE $1::text IS NULL OR p.tenant_id = $1),
    (SELECT ROW(count(*), sum(hashtextextended(e::text, 0)))::text FROM countersign.events e
        WHERE $1::text IS NULL OR e.tenant_id = $1),
    (SELECT ROW(count(*), sum(hashtextextended(s::text, 0)))::text FROM countersign.superseded s
        WHERE $1::text IS NULL OR s.tenant_id = $1),
    (SELECT ROW(array_agg((SELECT min(b.received_at) FROM countersign.bodies b WHERE b.tenant_id = t.tenant_id)
        ORDER BY t.tenant_id))::text FROM countersign.tenants t WHERE $1::text IS NULL OR t.tenant_id = $1)";

type Parameters<'a> = &'a [(&'a (dyn ToSql + Sync), Type)];

/// A session with a transaction that sees one moment.
pub(in crate::store) struct Source {
    session: Session,
    target: Target,
    tenants: Vec<String>,
    tenant: Option<String>,
}

impl Source {
    pub(in crate::store) async fn open(
        address: &Address,
        tenant: Option<&str>,
    ) -> Result<Self, ExportFailure> {
        let target = Target::load(address)?;
        let session = Session::open(&target, Purpose::Read)
            .await
            .map_err(|failure| failure.into_fault(&target.place))?;
        let mut source = Self {
            session,
            target,
            tenants: Vec::new(),
            tenant: tenant.map(str::to_owned),
        };
        source
            .client()
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
            .map_err(ExportFailure::statement)?;
        let rows = source
            .ask(
                "SELECT tenant_id FROM countersign.tenants WHERE $1::text IS NULL OR tenant_id = $1 ORDER BY tenant_id",
                &[(&tenant, Type::TEXT)],
            )
            .await?;
        for row in &rows {
            source
                .tenants
                .push(row.try_get(0).map_err(ExportFailure::statement)?);
        }
        match tenant {
            Some(tenant_id) if rows.is_empty() => Err(ExportFailure::NoTenant {
                tenant_id: tenant_id.to_owned(),
            }),
            Some(_) | None => Ok(source),
        }
    }

    fn client(&self) -> &Client {
        &self.session.client
    }

    async fn ask(&self, sql: &str, parameters: Parameters<'_>) -> Result<Vec<Row>, ExportFailure> {
        // Ten times the time of a reading: nobody waits for an export, and its pages are long.
        let limit = self.target.access.statement_timeout.saturating_mul(10);
        self.ask_within(limit, sql, parameters).await
    }

    async fn ask_within(
        &self,
        limit: Duration,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, ExportFailure> {
        match timeout(limit, self.client().query_typed(sql, parameters)).await {
            Ok(rows) => rows.map_err(ExportFailure::statement),
            Err(elapsed) => Err(ExportFailure::statement(elapsed)),
        }
    }

    #[expect(
        clippy::unused_self,
        reason = "a reader has a database of this program's schema"
    )]
    pub(in crate::store) fn schema(&self) -> i64 {
        known(POSTGRES)
    }

    /// Of every payment and event, and of the oldest body of each tenant: bodies never change, and go in the order in which they
    /// came. All rows are read for it once, but without what is long.
    pub(in crate::store) async fn extent(&self) -> Result<Hex<32>, ExportFailure> {
        let rows = self
            .ask_within(EXTENT_MAX, EXTENT, &[(&self.tenant, Type::TEXT)])
            .await?;
        let mut hash = Sha256::new();
        for tenant in &self.tenants {
            hash.update(tenant.len().to_be_bytes());
            hash.update(tenant);
        }
        for row in &rows {
            for column in 0..row.len() {
                let of_rows: String = row.try_get(column).map_err(ExportFailure::statement)?;
                hash.update(of_rows.len().to_be_bytes());
                hash.update(of_rows);
            }
        }
        Ok(Hex(hash.finalize().into()))
    }

    /// About how many rows there are, by the planner's own statistics.
    pub(in crate::store) async fn about(&self) -> Result<Option<u64>, ExportFailure> {
        let sql = "SELECT sum(reltuples)::bigint FROM pg_class
            WHERE oid IN ('countersign.events'::regclass, 'countersign.payments'::regclass) HAVING min(reltuples) >= 0";
        let rows = self.ask(sql, &[]).await?;
        match rows.first() {
            Some(row) => {
                let about: i64 = row.try_get(0).map_err(ExportFailure::statement)?;
                Ok(u64::try_from(about).ok())
            }
            None => Ok(None),
        }
    }

    /// Whether a shadow mark was met.
    pub(in crate::store) async fn has_shadows(&self) -> Result<bool, ExportFailure> {
        let sql = "SELECT EXISTS (SELECT 1 FROM countersign.shadows WHERE $1::text IS NULL OR tenant_id = $1)";
        let rows = self.ask(sql, &[(&self.tenant, Type::TEXT)]).await?;
        let exist = rows.first().map(|row| row.try_get(0)).transpose();
        Ok(exist.map_err(ExportFailure::statement)?.unwrap_or(false))
    }

    /// Writes every row after that position.
    pub(in crate::store) async fn write(
        self,
        after: &Position,
        writing: &mut Writing<'_>,
    ) -> Result<(), ExportFailure> {
        self.client()
            .batch_execute(BY_INDEX)
            .await
            .map_err(ExportFailure::statement)?;
        if *after == Position::Beginning {
            for tenant in &self.tenants {
                self.producers(tenant, writing).await?;
            }
            for tenant in &self.tenants {
                self.secrets(tenant, writing).await?;
            }
            for tenant in &self.tenants {
                self.leaves(tenant, writing).await?;
            }
        }
        let (begun, done, time, key) = match after {
            Position::Beginning => (Kind::Payments, "", 0, Vec::new()),
            Position::Payment {
                tenant_id,
                changed_at,
                payment_id,
            } => {
                let key = payment_key(tenant_id, payment_id).to_vec();
                (Kind::Payments, tenant_id.as_str(), *changed_at, key)
            }
            Position::Event {
                tenant_id,
                received_at,
                key,
            } => (Kind::Events, tenant_id.as_str(), *received_at, key.to_vec()),
            Position::Forgotten {
                tenant_id,
                received_at,
                key,
            } => (
                Kind::Forgotten,
                tenant_id.as_str(),
                !*received_at,
                key.to_vec(),
            ),
        };
        let from = |kind, tenant: &str, first| {
            if kind != begun || tenant > done {
                return Some((first, Vec::new()));
            }
            (tenant == done).then(|| (time, key.clone()))
        };
        if begun <= Kind::Payments {
            for tenant in &self.tenants {
                if let Some(from) = from(Kind::Payments, tenant, i64::MIN) {
                    self.payments(tenant, from, writing).await?;
                }
            }
        }
        // Below zero is what is forgotten.
        if begun <= Kind::Events {
            for tenant in &self.tenants {
                if let Some(from) = from(Kind::Events, tenant, 0) {
                    self.events(tenant, from, writing).await?;
                }
            }
        }
        for tenant in &self.tenants {
            if let Some(from) = from(Kind::Forgotten, tenant, -1) {
                self.forgotten(tenant, from, writing).await?;
            }
        }
        self.refusals(writing).await?;
        self.shadows(writing).await
    }

    async fn producers(
        &self,
        tenant: &str,
        writing: &mut Writing<'_>,
    ) -> Result<(), ExportFailure> {
        let sql = "SELECT tenant_id, name FROM countersign.producers WHERE tenant_id = $1 AND name > $2 ORDER BY name LIMIT $3";
        let mut last = String::new();
        loop {
            let page = [
                (&tenant as &(dyn ToSql + Sync), Type::TEXT),
                (&last, Type::TEXT),
                (&PAGE, Type::INT8),
            ];
            let rows = self.ask(sql, &page).await?;
            for row in &rows {
                let record = producer(row).map_err(ExportFailure::statement)?;
                writing.write(&record)?;
            }
            let Some(row) = full(&rows) else {
                return Ok(());
            };
            last = row.try_get("name").map_err(ExportFailure::statement)?;
        }
    }

    async fn secrets(&self, tenant: &str, writing: &mut Writing<'_>) -> Result<(), ExportFailure> {
        let sql = format!(
            "SELECT {} FROM countersign.secrets s WHERE tenant_id = $1 AND (producer, reference) > ($2, $3)
             ORDER BY producer, reference LIMIT $4",
            rows::SECRET
        );
        let mut last = (String::new(), String::new());
        loop {
            let page = [
                (&tenant as &(dyn ToSql + Sync), Type::TEXT),
                (&last.0, Type::TEXT),
                (&last.1, Type::TEXT),
                (&PAGE, Type::INT8),
            ];
            let rows = self.ask(&sql, &page).await?;
            for row in &rows {
                writing.write(&secret(row).map_err(ExportFailure::statement)?)?;
            }
            let Some(row) = full(&rows) else {
                return Ok(());
            };
            last = (
                row.try_get("producer").map_err(ExportFailure::statement)?,
                row.try_get("reference").map_err(ExportFailure::statement)?,
            );
        }
    }

    async fn leaves(&self, tenant: &str, writing: &mut Writing<'_>) -> Result<(), ExportFailure> {
        let sql = format!(
            "SELECT {LEAF} FROM countersign.leaves l WHERE tenant_id = $1 AND (producer, sha256) > ($2, $3)
             ORDER BY producer, sha256 LIMIT $4"
        );
        let mut last = (String::new(), Vec::<u8>::new());
        loop {
            let page = [
                (&tenant as &(dyn ToSql + Sync), Type::TEXT),
                (&last.0, Type::TEXT),
                (&last.1, Type::BYTEA),
                (&PAGE, Type::INT8),
            ];
            let rows = self.ask(&sql, &page).await?;
            for row in &rows {
                writing.write(&leaf(row).map_err(ExportFailure::statement)?)?;
            }
            let Some(row) = full(&rows) else {
                return Ok(());
            };
            last = (
                row.try_get("producer").map_err(ExportFailure::statement)?,
                row.try_get("sha256").map_err(ExportFailure::statement)?,
            );
        }
    }

    async fn payments(
        &self,
        tenant: &str,
        mut last: (i64, Vec<u8>),
        writing: &mut Writing<'_>,
    ) -> Result<(), ExportFailure> {
        let sql = format!(
            "SELECT {PAYMENT} FROM countersign.payments p WHERE tenant_id = $1 AND (changed_at, key) > ($2, $3)
             ORDER BY changed_at, key LIMIT $4"
        );
        loop {
            let rows = self.page(&sql, tenant, &last).await?;
            for row in &rows {
                let record = payment(row).map_err(|error| {
                    let id = row.try_get("payment_id").map(give_back).unwrap_or_default();
                    ExportFailure::damaged(format!("payment {id} of {tenant}"), error)
                })?;
                writing.write(&record)?;
            }
            let Some(row) = full(&rows) else {
                return Ok(());
            };
            last = (
                row.try_get("changed_at")
                    .map_err(ExportFailure::statement)?,
                row.try_get("key").map_err(ExportFailure::statement)?,
            );
        }
    }

    async fn events(
        &self,
        tenant: &str,
        mut last: (i64, Vec<u8>),
        writing: &mut Writing<'_>,
    ) -> Result<(), ExportFailure> {
        let sql = format!(
            "SELECT {EVENT} FROM countersign.events e {EVENT_PARTS}
             LEFT JOIN countersign.payments p ON p.tenant_id = e.tenant_id AND p.key = e.payment_key
             WHERE e.tenant_id = $1 AND (e.received_at, e.key) > ($2, $3) ORDER BY e.received_at, e.key LIMIT $4"
        );
        loop {
            let rows = self.page(&sql, tenant, &last).await?;
            let is_last = full(&rows).is_none();
            let events = rows
                .iter()
                .map(|row| event(row).map_err(ExportFailure::statement))
                .collect::<Result<Vec<_>, _>>()?;
            drop(rows);
            if let Some(event) = events.last() {
                last = (event.received_at.0, event.key.0.to_vec());
            }
            let lengths = self.lengths(&events).await?;
            let mut portion: Vec<EventRecord> = Vec::new();
            let mut bytes = 0_i64;
            for (event, length) in events.into_iter().zip(lengths) {
                portion.push(event);
                bytes = bytes.saturating_add(length);
                if bytes >= PORTION {
                    self.with_bodies(std::mem::take(&mut portion), writing)
                        .await?;
                    bytes = 0;
                }
            }
            self.with_bodies(portion, writing).await?;
            if is_last {
                return Ok(());
            }
        }
    }

    /// The oldest first as well, which here have the greatest times.
    async fn forgotten(
        &self,
        tenant: &str,
        mut last: (i64, Vec<u8>),
        writing: &mut Writing<'_>,
    ) -> Result<(), ExportFailure> {
        let sql = format!(
            "SELECT {EVENT} FROM countersign.events e {EVENT_PARTS}
             LEFT JOIN countersign.payments p ON p.tenant_id = e.tenant_id AND p.key = e.payment_key
             WHERE e.tenant_id = $1 AND e.received_at <= $2 AND (e.received_at < $2 OR e.key > $3)
             ORDER BY e.received_at DESC, e.key LIMIT $4"
        );
        loop {
            let rows = self.page(&sql, tenant, &last).await?;
            for row in &rows {
                let Some(row) = forgotten(row).map_err(ExportFailure::statement)? else {
                    let name = format!("an event of {tenant}");
                    return Err(ExportFailure::damaged(name, "its time is below zero"));
                };
                last = (!row.received_at.0, row.key.0.to_vec());
                writing.write(&Record::Forgotten(row))?;
            }
            if full(&rows).is_none() {
                return Ok(());
            }
        }
    }

    /// Writes these events, once what came with them is read as well.
    async fn with_bodies(
        &self,
        events: Vec<EventRecord>,
        writing: &mut Writing<'_>,
    ) -> Result<(), ExportFailure> {
        let came = self.came("b.headers, b.body", &events).await?;
        for (mut event, row) in events.into_iter().zip(came) {
            if let Some(row) = row {
                came_with(&mut event, &row).map_err(ExportFailure::statement)?;
            }
            writing.write(&Record::Event(Box::new(event)))?;
        }
        Ok(())
    }

    /// How long what came with each of these events is.
    async fn lengths(&self, events: &[EventRecord]) -> Result<Vec<i64>, ExportFailure> {
        let bytes = "octet_length(b.headers)::bigint + octet_length(b.body) AS bytes";
        let came = self.came(bytes, events).await?;
        came.into_iter()
            .map(|row| row.map_or(Ok(0), |row| row.try_get("bytes")))
            .collect::<Result<_, _>>()
            .map_err(ExportFailure::statement)
    }

    /// These columns of what came with each of these events.
    async fn came(
        &self,
        columns: &str,
        events: &[EventRecord],
    ) -> Result<Vec<Option<Row>>, ExportFailure> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let mut wanted = Wanted::default();
        for event in events {
            wanted.push(&event.tenant_id, event.received_at.0, &event.key.0);
        }
        let rows = self
            .ask(&Wanted::sql(columns), &wanted.parameters())
            .await?;
        wanted.placed(rows).map_err(ExportFailure::statement)
    }

    async fn page(
        &self,
        sql: &str,
        tenant: &str,
        last: &(i64, Vec<u8>),
    ) -> Result<Vec<Row>, ExportFailure> {
        let page = [
            (&tenant as &(dyn ToSql + Sync), Type::TEXT),
            (&last.0, Type::INT8),
            (&last.1, Type::BYTEA),
            (&PAGE, Type::INT8),
        ];
        self.ask(sql, &page).await
    }

    /// There are few: the receivers keep the table small.
    async fn refusals(&self, writing: &mut Writing<'_>) -> Result<(), ExportFailure> {
        let sql = format!(
            "SELECT {REFUSAL} FROM countersign.refusals ORDER BY last_seen DESC, key, tenant_id LIMIT $1"
        );
        let rows = self.ask(&sql, &[(&GROUPS_MAX, Type::INT8)]).await?;
        let mut groups = Vec::with_capacity(rows.len());
        for row in &rows {
            groups.push(refusal(row).map_err(ExportFailure::statement)?);
        }
        let mut groups = merge_refusals(groups);
        groups.sort_by_key(|group| (group.last_seen, group.key));
        let wanted = |tenant: &Option<String>| self.tenant.is_none() || *tenant == self.tenant;
        for group in groups.into_iter().filter(|group| wanted(&group.tenant_id)) {
            writing.write(&Record::Refusal(group))?;
        }
        Ok(())
    }

    /// There are few as well.
    async fn shadows(&self, writing: &mut Writing<'_>) -> Result<(), ExportFailure> {
        let sql = format!(
            "SELECT {SHADOW} FROM countersign.shadows w WHERE $1::text IS NULL OR tenant_id = $1
             ORDER BY last_seen, key LIMIT $2"
        );
        let parameters = [
            (&self.tenant as &(dyn ToSql + Sync), Type::TEXT),
            (&GROUPS_MAX, Type::INT8),
        ];
        for row in &self.ask(&sql, &parameters).await? {
            writing.write(&shadow(row).map_err(ExportFailure::statement)?)?;
        }
        Ok(())
    }
}

/// The last row of a page that may have another behind it.
fn full(rows: &[Row]) -> Option<&Row> {
    rows.last()
        .filter(|_| i64::try_from(rows.len()).is_ok_and(|rows| rows >= PAGE))
}

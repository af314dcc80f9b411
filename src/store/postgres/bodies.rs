//! What came with events, read apart from their rows.
//!
//! Bodies stand in a partition for each day. A join with events can leave out none of them before it runs: the planner then
//! has a plan for every day that is kept, for each page anew. So events are read first, and with the bounds of their times
//! what came with them, which concerns the days of those alone.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row};

/// Events, by what their bodies are found by.
#[derive(Default)]
pub(super) struct Wanted {
    tenants: Vec<String>,
    times: Vec<i64>,
    keys: Vec<Vec<u8>>,
    from: i64,
    to: i64,
}

impl Wanted {
    pub(super) fn push(&mut self, tenant: &str, received_at: i64, key: &[u8]) {
        if self.times.is_empty() {
            (self.from, self.to) = (received_at, received_at);
        }
        self.from = self.from.min(received_at);
        self.to = self.to.max(received_at);
        self.tenants.push(tenant.to_owned());
        self.times.push(received_at);
        self.keys.push(key.to_vec());
    }

    /// The statement for these columns of `b`. A row's `place` tells the number of its event, from 1.
    pub(super) fn sql(columns: &str) -> String {
        format!(
            "SELECT m.i AS place, {columns}
             FROM unnest($1::text[], $2::int8[], $3::bytea[]) WITH ORDINALITY AS m (tenant_id, received_at, key, i)
             JOIN countersign.bodies b ON b.tenant_id = m.tenant_id AND b.received_at = m.received_at AND b.key = m.key
             WHERE b.received_at BETWEEN $4 AND $5"
        )
    }

    pub(super) fn parameters(&self) -> [(&(dyn ToSql + Sync), Type); 5] {
        [
            (&self.tenants, Type::TEXT_ARRAY),
            (&self.times, Type::INT8_ARRAY),
            (&self.keys, Type::BYTEA_ARRAY),
            (&self.from, Type::INT8),
            (&self.to, Type::INT8),
        ]
    }

    /// The rows, each in its event's place.
    pub(super) fn placed(&self, rows: Vec<Row>) -> Result<Vec<Option<Row>>, Error> {
        let mut placed: Vec<Option<Row>> = self.times.iter().map(|_| None).collect();
        for row in rows {
            let place: i64 = row.try_get("place")?;
            let place = usize::try_from(place)
                .ok()
                .and_then(|place| place.checked_sub(1));
            if let Some(slot) = place.and_then(|place| placed.get_mut(place)) {
                *slot = Some(row);
            }
        }
        Ok(placed)
    }
}

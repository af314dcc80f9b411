//! What shadow marks would have decided, in PostgreSQL.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Row};

use super::read::text;
use super::text::hold;
use crate::store::shadows::{ShadowTally, Shadows};
use crate::store::views::{ShadowSeen, count, millis};

const TALLIES_MAX: i64 = Shadows::TALLIES_MAX as i64;

/// Adds tallies to those that are kept; all receivers name one by the same key.
pub(super) async fn keep(client: &Client, tallies: &[ShadowTally]) -> Result<(), Error> {
    let texts = |of: fn(&ShadowTally) -> &str| -> Vec<_> {
        tallies.iter().map(|tally| hold(of(tally))).collect()
    };
    let numbers = |of: fn(&ShadowTally) -> u64| -> Vec<i64> {
        let number = |tally| i64::try_from(of(tally)).unwrap_or(i64::MAX);
        tallies.iter().map(number).collect()
    };
    let times = |of: fn(&ShadowTally) -> i64| -> Vec<i64> { tallies.iter().map(of).collect() };
    let keys: Vec<&[u8]> = tallies.iter().map(|tally| tally.key.as_slice()).collect();
    let addresses: Vec<_> = tallies
        .iter()
        .map(|tally| tally.address.to_canonical().to_string())
        .collect();
    client
        .execute_typed(
            "INSERT INTO countersign.shadows AS s (tenant_id, key, mark, what, producer, subject, address, accept, agree, refuse,
                 first_seen, last_seen)
             SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                 $8::int8[], $9::int8[], $10::int8[], $11::int8[], $12::int8[]) AS row (tenant_id, key)
             ORDER BY tenant_id COLLATE \"C\", key
             ON CONFLICT (tenant_id, key) DO UPDATE SET address = excluded.address, accept = s.accept + excluded.accept,
                 agree = s.agree + excluded.agree, refuse = s.refuse + excluded.refuse,
                 first_seen = least(s.first_seen, excluded.first_seen), last_seen = greatest(s.last_seen, excluded.last_seen)",
            &[
                (&texts(|tally| &tally.tenant), Type::TEXT_ARRAY),
                (&keys, Type::BYTEA_ARRAY),
                (&texts(|tally| tally.mark.as_str()), Type::TEXT_ARRAY),
                (&texts(|tally| &tally.what), Type::TEXT_ARRAY),
                (&texts(|tally| &tally.producer), Type::TEXT_ARRAY),
                (&texts(|tally| &tally.subject), Type::TEXT_ARRAY),
                (&addresses, Type::TEXT_ARRAY),
                (&numbers(|tally| tally.counts.accept), Type::INT8_ARRAY),
                (&numbers(|tally| tally.counts.agree), Type::INT8_ARRAY),
                (&numbers(|tally| tally.counts.refuse), Type::INT8_ARRAY),
                (&times(|tally| tally.first.as_microsecond()), Type::INT8_ARRAY),
                (&times(|tally| tally.last.as_microsecond()), Type::INT8_ARRAY),
            ],
        )
        .await?;
    client
        .execute_typed(
            "WITH surplus AS (
                 SELECT tenant_id, key FROM countersign.shadows ORDER BY last_seen, key
                 LIMIT greatest(0, (SELECT count(*) FROM countersign.shadows) - $1) FOR UPDATE SKIP LOCKED
             )
             DELETE FROM countersign.shadows s USING surplus o WHERE s.tenant_id = o.tenant_id AND s.key = o.key",
            &[(&TALLIES_MAX, Type::INT8)],
        )
        .await
        .map(drop)
}

/// All tallies, the latest first.
pub(in crate::store) async fn read(client: &Client) -> Result<Vec<ShadowSeen>, Error> {
    let rows = client
        .query_typed(
            "SELECT mark, what, tenant_id, producer, subject, address, accept, agree, refuse, first_seen, last_seen
             FROM countersign.shadows ORDER BY last_seen DESC, key LIMIT $1",
            &[(&TALLIES_MAX, Type::INT8)],
        )
        .await?;
    let view = |row: &Row| {
        let named =
            |column| text(row, column).map(|text| Some(text).filter(|text| !text.is_empty()));
        Ok(ShadowSeen {
            mark: text(row, "mark")?,
            what: text(row, "what")?,
            tenant_id: named("tenant_id")?,
            producer: named("producer")?,
            subject: text(row, "subject")?,
            address: text(row, "address")?,
            accept: count(row.try_get("accept")?),
            agree: count(row.try_get("agree")?),
            refuse: count(row.try_get("refuse")?),
            first_seen: millis(row.try_get("first_seen")?),
            last_seen: millis(row.try_get("last_seen")?),
        })
    };
    rows.iter().map(view).collect()
}

//! A batch of deliveries, as the arguments of the one statement that writes it, and its answer as receipts.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};
use tokio_postgres::types::{ToSql, Type};

use super::text::{hold, recency};
use crate::inbox::{Event, Receipt, Standing};
use crate::payments::{Claim, Status};
use crate::store::row::{Row, Verdict, half};

/// What is acknowledged must be on disk, whatever the server's or the role's default is, and a stronger one stays: so in SQL, for the
/// transaction in which it stands.
macro_rules! durably {
    () => {
        "set_config('synchronous_commit',
            CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true)"
    };
}
pub(super) use durably;

/// Writes a batch in which each event stands once, no two speak of one payment, and of none is more to be fetched.
const COMMIT_PLAIN: &str = concat!(
    "SELECT answered, known, conflicting, ",
    durably!(),
    " FROM countersign.commit_plain_4($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
        $20, $21, $22)"
);

/// Writes any batch.
const COMMIT: &str = concat!(
    "SELECT answered, known, conflicting, ",
    durably!(),
    " FROM countersign.commit_4($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
        $21, $22, $23, $24, $25, $26, $27)"
);

/// An event made ready for PostgreSQL.
#[derive(Debug)]
pub(in crate::store) struct Prepared {
    pub(in crate::store) row: Row,
    /// What it is kept by if it stands aside, and for a quarantined event what it stands beside.
    other_key: [u8; 16],
    /// Of the payment and its tenant.
    payment_key: Option<[u8; 16]>,
    recency: Option<String>,
}

impl Prepared {
    pub(in crate::store) fn prepare(event: Event) -> Self {
        let own_key = event.key.digest();
        let row = Row::prepare(event);
        let other_key = match row.standing {
            Standing::Readable => row.conflict_key(),
            Standing::Quarantined => own_key,
        };
        let claim = row.claim.as_ref().map(|claim| &claim.claim);
        let recency = claim.map(|claim| recency(claim.key()));
        let payment_key = claim.map(|claim| payment_key(row.tenant.as_str(), claim.payment_id()));
        Self {
            row,
            other_key,
            payment_key,
            recency,
        }
    }

    pub(super) fn other_key(&self) -> &[u8] {
        &self.other_key
    }

    pub(super) fn bytes(&self) -> usize {
        self.row
            .bytes()
            .saturating_add(self.recency.as_ref().map_or(0, String::len))
    }
}

/// What a payment is found by. Unlike in the embedded store it begins with the tenant: where a batch is joined with what
/// it wrote, the key alone is compared.
pub(super) fn payment_key(tenant: &str, payment_id: &str) -> [u8; 16] {
    half(
        Sha256::new()
            .chain_update((tenant.len() as u64).to_be_bytes())
            .chain_update(tenant)
            .chain_update(payment_id),
    )
}

/// The distinct events of a batch, in the order in which they are written, and where each delivery's events are among them.
#[derive(Debug)]
pub(super) struct Folded<'a> {
    groups: Vec<Group<'a>>,
    deliveries: Vec<Vec<Place>>,
}

/// What came once or several times, with one body.
#[derive(Debug)]
struct Group<'a> {
    event: &'a Prepared,
    /// The place in the order of arrival of the first copy.
    arrival: i32,
    /// When its other copies were received, microseconds.
    again: Vec<i64>,
    /// Whether it is the first body that came with its key.
    lead: bool,
}

impl<'a> Group<'a> {
    fn row(&self) -> &'a Row {
        &self.event.row
    }

    fn claim(&self) -> Option<&'a Claim> {
        let claim = self.row().claim.as_ref();
        claim.map(|claim| &claim.claim)
    }
}

/// A column of the batch.
fn each<'a, T>(groups: &[Group<'a>], value: impl FnMut(&Group<'a>) -> T) -> Vec<T> {
    groups.iter().map(value).collect()
}

#[derive(Clone, Copy, Debug)]
struct Place {
    group: usize,
    coming: Coming,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coming {
    First,
    Again,
}

/// What the database says of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) new: bool,
    pub(super) conflicts: bool,
}

impl<'a> Folded<'a> {
    pub(super) fn fold(batch: &'a [Vec<Prepared>]) -> Self {
        Self::fold_all(batch.iter().map(Vec::as_slice))
    }

    pub(super) fn fold_all(batch: impl ExactSizeIterator<Item = &'a [Prepared]>) -> Self {
        let mut groups: Vec<Group<'a>> = Vec::new();
        let mut by_body: HashMap<([u8; 16], [u8; 32]), usize> = HashMap::new();
        let mut keys: HashSet<[u8; 16]> = HashSet::new();
        let mut deliveries = Vec::with_capacity(batch.len());
        for delivery in batch {
            let mut places = Vec::with_capacity(delivery.len());
            for event in delivery {
                let identity = (event.row.key, event.row.body_sha256);
                let place = match by_body.get(&identity) {
                    Some(&group) => {
                        if let Some(group) = groups.get_mut(group) {
                            group.again.push(event.row.received_at);
                        }
                        Place {
                            group,
                            coming: Coming::Again,
                        }
                    }
                    None => {
                        let arrival = i32::try_from(groups.len()).unwrap_or(i32::MAX);
                        let lead = keys.insert(event.row.key);
                        by_body.insert(identity, groups.len());
                        groups.push(Group {
                            event,
                            arrival,
                            again: Vec::new(),
                            lead,
                        });
                        Place {
                            group: groups.len().saturating_sub(1),
                            coming: Coming::First,
                        }
                    }
                };
                places.push(place);
            }
            deliveries.push(places);
        }
        let mut folded = Self { groups, deliveries };
        folded.sort();
        folded
    }

    /// By tenant and key: in this order the statement takes its locks.
    fn sort(&mut self) {
        let mut order: Vec<usize> = (0..self.groups.len()).collect();
        let rank = |group: &Group<'_>| {
            (
                group.event.row.tenant.clone(),
                group.event.row.key,
                group.arrival,
            )
        };
        order.sort_by_cached_key(|&index| self.groups.get(index).map(rank));
        let mut places = vec![0; order.len()];
        for (new, &old) in order.iter().enumerate() {
            if let Some(place) = places.get_mut(old) {
                *place = new;
            }
        }
        self.groups.sort_by_cached_key(rank);
        for place in self.deliveries.iter_mut().flatten() {
            place.group = places.get(place.group).copied().unwrap_or(usize::MAX);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Each delivery's receipts, once the answers are there, in the order of the groups.
    pub(super) fn receipts(&self, answers: &[Answer]) -> Option<Vec<Vec<Receipt>>> {
        let receipt = |place: &Place| {
            let answer = answers.get(place.group)?;
            let event = self.groups.get(place.group)?.event;
            Some(match (event.row.standing, place.coming) {
                (Standing::Quarantined, Coming::First | Coming::Again) => Receipt::Quarantined,
                (Standing::Readable, Coming::Again) => Receipt::Duplicate,
                (Standing::Readable, Coming::First) if !answer.new => Receipt::Duplicate,
                (Standing::Readable, Coming::First) if answer.conflicts => Receipt::Conflict,
                (Standing::Readable, Coming::First) => Receipt::Accepted,
            })
        };
        self.deliveries
            .iter()
            .map(|places| places.iter().map(receipt).collect())
            .collect()
    }

    /// The answers in the order of the groups, from the places of those that are not plainly new. `None` where the database
    /// answered for another number of groups.
    pub(super) fn answers(
        &self,
        answered: i64,
        known: &[i64],
        conflicting: &[i64],
    ) -> Option<Vec<Answer>> {
        if usize::try_from(answered) != Ok(self.groups.len()) {
            return None;
        }
        let plain = Answer {
            new: true,
            conflicts: false,
        };
        let mut answers = vec![plain; self.groups.len()];
        let index = |ordinal: i64| usize::try_from(ordinal).ok()?.checked_sub(1);
        for &ordinal in known {
            answers.get_mut(index(ordinal)?)?.new = false;
        }
        for &ordinal in conflicting {
            answers.get_mut(index(ordinal)?)?.conflicts = true;
        }
        Some(answers)
    }

    /// The arguments of the statement.
    pub(super) fn columns(&self) -> Columns<'_> {
        let mut payments = HashSet::with_capacity(self.groups.len());
        let belongs_to_another = |group: &Group<'_>| {
            let payment = group.event.payment_key;
            let shares_it = payment.is_some_and(|payment| !payments.insert(payment));
            !group.lead || !group.again.is_empty() || shares_it
        };
        let crowded = self.groups.iter().any(belongs_to_another);
        let mut columns = Columns::of(&self.groups, crowded);
        if columns.is_plain() {
            columns.order_payments();
        }
        columns
    }
}

/// The batch, turned on its side: an array for each column.
#[derive(Debug)]
pub(super) struct Columns<'a> {
    arrival: Vec<i32>,
    lead: Vec<bool>,
    tenant: Vec<&'a str>,
    key: Vec<&'a [u8]>,
    other_key: Vec<&'a [u8]>,
    received_at: Vec<i64>,
    occurred_at: Vec<Option<i64>>,
    copies: Vec<i64>,
    verdict: Vec<i16>,
    producer: Vec<Held<'a>>,
    event_id: Vec<Held<'a>>,
    kind: Vec<Option<Held<'a>>>,
    body_sha256: Vec<&'a [u8]>,
    secret: Vec<Option<Held<'a>>>,
    leaf_sha256: Vec<&'a [u8]>,
    payment_key: Vec<Option<&'a [u8]>>,
    payment_id: Vec<Option<Held<'a>>>,
    recency: Vec<Option<&'a str>>,
    status: Vec<Option<&'static str>>,
    amount_minor: Vec<Option<i64>>,
    amount_refunded_minor: Vec<Option<i64>>,
    currency: Vec<Option<String>>,
    headers: Vec<&'a str>,
    body: Vec<&'a [u8]>,
    fetch_needed: Vec<bool>,
    /// Of the events that stand in it several times, when all but the first were received, and of each event the place of the first of
    /// these, from 1 on.
    again_at: Vec<i64>,
    again_from: Vec<i32>,
    /// Of a plain batch: the places of those that speak of a payment, from 1 on, by the payments' tenants and keys, as it takes its locks.
    by_payment: Vec<i32>,
    /// Some event came twice, or another of its payment with it.
    crowded: bool,
}

type Held<'a> = std::borrow::Cow<'a, str>;

impl<'a> Columns<'a> {
    fn of(groups: &[Group<'a>], crowded: bool) -> Self {
        let mut again_at = Vec::new();
        let again_from = each(groups, |group| {
            let from = again_at.len().saturating_add(1);
            again_at.extend(&group.again);
            i32::try_from(from).unwrap_or(i32::MAX)
        });
        Self {
            arrival: each(groups, |group| group.arrival),
            lead: each(groups, |group| group.lead),
            tenant: each(groups, |group| group.row().tenant.as_str()),
            key: each(groups, |group| group.row().key.as_slice()),
            other_key: each(groups, |group| group.event.other_key()),
            received_at: each(groups, |group| group.row().received_at),
            occurred_at: each(groups, |group| group.row().occurred_at),
            copies: each(groups, |group| {
                i64::try_from(group.again.len()).map_or(i64::MAX, |again| again.saturating_add(1))
            }),
            verdict: each(groups, |group| {
                let verdict = match group.row().standing {
                    Standing::Readable => Verdict::Accepted,
                    Standing::Quarantined => Verdict::Quarantined,
                };
                i16::try_from(verdict.number()).unwrap_or_default()
            }),
            producer: each(groups, |group| hold(&group.row().producer)),
            event_id: each(groups, |group| hold(&group.row().event_id)),
            kind: each(groups, |group| group.row().kind.as_deref().map(hold)),
            body_sha256: each(groups, |group| group.row().body_sha256.as_slice()),
            secret: each(groups, |group| group.row().secret.as_deref().map(hold)),
            leaf_sha256: each(groups, |group| group.row().leaf.sha256().0.as_slice()),
            payment_key: each(groups, |group| {
                group.event.payment_key.as_ref().map(<[u8; 16]>::as_slice)
            }),
            payment_id: each(groups, |group| {
                let claimed = group.claim().map(Claim::payment_id);
                claimed
                    .or(group.row().named_payment_id.as_deref())
                    .map(hold)
            }),
            recency: each(groups, |group| group.event.recency.as_deref()),
            status: each(groups, |group| group.claim()?.status().map(Status::as_str)),
            amount_minor: each(groups, |group| group.claim()?.amount_minor()),
            amount_refunded_minor: each(groups, |group| group.claim()?.amount_refunded_minor()),
            currency: each(groups, |group| {
                Some(group.claim()?.currency()?.code().to_owned())
            }),
            headers: each(groups, |group| group.row().headers.as_str()),
            body: each(groups, |group| &*group.row().body),
            fetch_needed: each(groups, |group| group.row().fetch_needed),
            again_at,
            again_from,
            by_payment: Vec::new(),
            crowded,
        }
    }

    /// Whether nothing of it belongs together, and of nothing more is to be fetched.
    fn is_plain(&self) -> bool {
        !self.crowded && !self.fetch_needed.contains(&true)
    }

    fn order_payments(&mut self) {
        let places = self.tenant.iter().zip(&self.payment_key).zip(1_i32..);
        let mut of_payments: Vec<_> = places
            .filter_map(|((tenant, payment), place)| Some((*tenant, (*payment)?, place)))
            .collect();
        of_payments.sort_unstable();
        self.by_payment = of_payments.into_iter().map(|(.., place)| place).collect();
    }

    /// The statement that writes the batch, and its arguments. Folding what belongs together costs: a batch with nothing of the kind
    /// does not ask for it.
    pub(super) fn statement(&self) -> (&'static str, Vec<(&(dyn ToSql + Sync), Type)>) {
        if self.is_plain() {
            let mut parameters = self.common();
            parameters.push((&self.by_payment, Type::INT4_ARRAY));
            (COMMIT_PLAIN, parameters)
        } else {
            (COMMIT, self.all())
        }
    }

    /// What both statements take.
    fn common(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        vec![
            (&self.tenant, Type::TEXT_ARRAY),
            (&self.key, Type::BYTEA_ARRAY),
            (&self.other_key, Type::BYTEA_ARRAY),
            (&self.received_at, Type::INT8_ARRAY),
            (&self.occurred_at, Type::INT8_ARRAY),
            (&self.verdict, Type::INT2_ARRAY),
            (&self.producer, Type::TEXT_ARRAY),
            (&self.event_id, Type::TEXT_ARRAY),
            (&self.kind, Type::TEXT_ARRAY),
            (&self.body_sha256, Type::BYTEA_ARRAY),
            (&self.secret, Type::TEXT_ARRAY),
            (&self.leaf_sha256, Type::BYTEA_ARRAY),
            (&self.payment_key, Type::BYTEA_ARRAY),
            (&self.payment_id, Type::TEXT_ARRAY),
            (&self.recency, Type::TEXT_ARRAY),
            (&self.status, Type::TEXT_ARRAY),
            (&self.amount_minor, Type::INT8_ARRAY),
            (&self.amount_refunded_minor, Type::INT8_ARRAY),
            (&self.currency, Type::TEXT_ARRAY),
            (&self.headers, Type::TEXT_ARRAY),
            (&self.body, Type::BYTEA_ARRAY),
        ]
    }

    fn all(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        let mut parameters: Vec<(&(dyn ToSql + Sync), Type)> = vec![
            (&self.arrival, Type::INT4_ARRAY),
            (&self.lead, Type::BOOL_ARRAY),
        ];
        parameters.extend(self.common());
        // As commit_4 has it, the copies stand before the verdict.
        parameters.insert(7, (&self.copies, Type::INT8_ARRAY));
        parameters.push((&self.fetch_needed, Type::BOOL_ARRAY));
        parameters.push((&self.again_at, Type::INT8_ARRAY));
        parameters.push((&self.again_from, Type::INT4_ARRAY));
        parameters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixtures::{event, payment_event, with_body};

    #[test]
    fn what_belongs_together_makes_no_plain_batch() {
        let one = || payment_event("evt_1", "pay_1", "succeeded", 1);
        for (other, is_plain) in [
            (payment_event("evt_2", "pay_2", "succeeded", 1), true),
            (payment_event("evt_2", "pay_1", "succeeded", 1), false),
            (one(), false),
            (with_body(event("evt_1"), "another"), false),
        ] {
            let batch = [one(), other].map(|event| vec![Prepared::prepare(event)]);
            assert_eq!(Folded::fold(&batch).columns().is_plain(), is_plain);
        }
    }

    #[test]
    fn a_plain_batch_takes_its_locks_on_payments_in_their_order() {
        let payment = |number: usize| match number % 4 {
            0 => event(&format!("evt_{number}")),
            _ => payment_event(
                &format!("evt_{number}"),
                &format!("pay_{number}"),
                "succeeded",
                1,
            ),
        };
        let batch: Vec<_> = (0..40)
            .map(|number| vec![Prepared::prepare(payment(number))])
            .collect();
        let folded = Folded::fold(&batch);
        let columns = folded.columns();
        assert!(columns.is_plain());
        let key = |place: &i32| columns.payment_key[*place as usize - 1].unwrap();
        let keys: Vec<_> = columns.by_payment.iter().map(key).collect();
        assert_eq!(keys.len(), 30);
        assert!(keys.is_sorted());
        assert!(!columns.payment_key.iter().flatten().is_sorted());
    }
}

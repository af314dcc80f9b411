//! What `[store.retention]` and `[tenants.retention]` mean: for how long what is kept, tenant by tenant.

use std::collections::HashMap;

use crate::store::{Keep, Retention};

use super::fault::Findings;
use super::file::{File, StoreRetention, TenantRetention};
use super::key::KeyPath;

/// About a hundred years: more is a slip of the pen.
const DAYS_MAX: i64 = 36_500;

/// A tenant's own keys count before the store's, each by itself. 0 is for ever, as is a key that nobody wrote.
pub(super) fn retention(shape: &File, findings: &mut Findings) -> Option<Retention> {
    let at = KeyPath::of(&["store", "retention"]);
    let StoreRetention {
        bodies_days,
        events_days,
        dedupe_days,
    } = shape.store.retention;
    let own = TenantRetention {
        bodies_days: Some(bodies_days),
        events_days: Some(events_days),
        dedupe_days: Some(dedupe_days),
    };
    let own = read(&own, &at, findings);
    let store = own.map(|own| {
        let keep = own.over(Keep::default());
        judge(own, keep, &at, None, findings);
        keep
    });
    let mut tenants = HashMap::new();
    for (index, tenant) in shape.tenants.iter().enumerate() {
        let at = KeyPath::of(&["tenants"]).index(index).key("retention");
        let own = read(&tenant.retention, &at, findings);
        let Some((own, store)) = own.zip(store) else {
            continue;
        };
        let keep = own.over(store);
        if own != Written::default() {
            judge(own, keep, &at, Some(store), findings);
        }
        tenants.insert(tenant.id.as_str().into(), keep);
    }
    Some(Retention::new(store?, tenants))
}

/// What one table says: `None` where it says nothing, `Some(None)` for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Written {
    bodies: Option<Option<u32>>,
    events: Option<Option<u32>>,
    dedupe: Option<Option<u32>>,
}

impl Written {
    fn over(self, below: Keep) -> Keep {
        Keep {
            bodies_days: self.bodies.unwrap_or(below.bodies_days),
            events_days: self.events.unwrap_or(below.events_days),
            dedupe_days: self.dedupe.unwrap_or(below.dedupe_days),
        }
    }
}

fn read(shape: &TenantRetention, at: &KeyPath, findings: &mut Findings) -> Option<Written> {
    let mut days = |key: &str, written: Option<i64>| match written {
        None => Some(None),
        Some(0) => Some(Some(None)),
        Some(days) => match u32::try_from(days) {
            Ok(number) if days <= DAYS_MAX => Some(Some(Some(number))),
            Ok(_) | Err(_) => {
                let mend = format!("write whole days up to {DAYS_MAX}, or 0 for ever");
                findings.fault(&at.key(key), format!("{days} is out of range"), mend);
                None
            }
        },
    };
    let bodies = days("bodies_days", shape.bodies_days);
    let events = days("events_days", shape.events_days);
    let dedupe = days("dedupe_days", shape.dedupe_days);
    Some(Written {
        bodies: bodies?,
        events: events?,
        dedupe: dedupe?,
    })
}

/// Tells what contradicts itself, at a key that this table writes.
fn judge(own: Written, keep: Keep, at: &KeyPath, store: Option<Keep>, findings: &mut Findings) {
    if let (Some(bodies), Some(events)) = (keep.bodies_days, keep.events_days)
        && bodies > events
    {
        if own.bodies.is_some() {
            findings.fault(
                &at.key("bodies_days"),
                format!("a body cannot outlive its event, which goes after {events} days"),
                format!("write {events} or less, or make events_days longer"),
            );
        } else if store.is_some() {
            findings.fault(
                &at.key("events_days"),
                format!("store.retention.bodies_days = {bodies} counts here too, and a body cannot outlive its event"),
                format!("write bodies_days = {events} or less beside it"),
            );
        }
    }
    if let Some(Some(dedupe)) = own.dedupe {
        match keep.events_days {
            None => findings.warn(
                &at.key("dedupe_days"),
                "counts for nothing while events are kept for ever",
                "write events_days too, or take it out",
            ),
            Some(events) if dedupe < events => findings.warn(
                &at.key("dedupe_days"),
                format!("an event is recognised for as long as it is kept, which is {events} days"),
                format!("write {events} or more, or take it out to recognise events for ever"),
            ),
            Some(_) => {}
        }
    }
}

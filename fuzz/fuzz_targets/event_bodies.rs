//! Event bodies: the first byte chooses a profile, the rest are bodies with NUL between them. Whatever they tell, the ledger ends the
//! same in either order.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use countersign::payments::{Claim, Payment};
use countersign::signature::{Profile, Request, builtin};
use http::{HeaderMap, Method};
use libfuzzer_sys::fuzz_target;

/// Bodies of one input, at most.
const BODIES_MAX: usize = 8;

static PROFILES: LazyLock<Vec<&'static Arc<Profile>>> =
    LazyLock::new(|| builtin().iter().collect());

fuzz_target!(|input: &[u8]| {
    let Some((choice, rest)) = input.split_first() else {
        return;
    };
    let profile = PROFILES[usize::from(*choice) % PROFILES.len()];
    let headers = HeaderMap::new();
    let request = Request {
        method: &Method::POST,
        path_and_query: "/",
        headers: &headers,
    };
    let producer = Arc::from("producer");
    let mut ids = BTreeSet::new();
    let mut claims = Vec::new();
    for body in rest.split(|byte| *byte == 0).take(BODIES_MAX) {
        let body = Bytes::copy_from_slice(body);
        let Ok(items) = profile.items(&body) else {
            continue;
        };
        for item in items {
            let Ok(facts) = profile.facts(&item, &request) else {
                continue;
            };
            let Ok(payment) = facts.payment else { continue };
            let id = facts.event_id.unwrap_or_else(|| format!("{item:?}"));
            // The inbox knows an id that comes again, and the ledger never sees it.
            if ids.insert(id.clone())
                && let Ok(claim) = Claim::read(&payment, facts.occurred_at, &id, &producer)
            {
                claims.push(claim);
            }
        }
    }
    let forth = ledger(claims.iter());
    let back = ledger(claims.iter().rev());
    assert_eq!(forth, back);
    for (id, kept) in &forth {
        let read = Payment::decode(id, kept).expect("what we write, we read");
        assert_eq!(read.encode(), *kept);
    }
});

fn ledger<'a>(claims: impl Iterator<Item = &'a Claim>) -> BTreeMap<&'a str, String> {
    let mut payments: BTreeMap<&str, Payment> = BTreeMap::new();
    for claim in claims {
        payments
            .entry(claim.payment_id())
            .and_modify(|payment| {
                payment.apply(claim);
            })
            .or_insert_with(|| Payment::new(claim));
    }
    payments
        .into_iter()
        .map(|(id, payment)| (id, payment.encode()))
        .collect()
}

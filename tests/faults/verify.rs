//! What a receiver has kept, held against what was sent.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{Model, Receiver, Sent, Told, eventually_ok};

/// How long the store may take until its lists are to be had, and whole.
const PATIENCE: Duration = Duration::from_secs(30);

/// One body of one event: all that its senders know of it.
struct Known<'a> {
    told: &'a Told,
    attempts: u64,
    acknowledged: u64,
}

/// Every acknowledged event is there exactly once, nothing is there that was never sent, each was counted as often as it
/// came, and the ledger is the model's of the accepted ones. Returns how often something was kept and the sender was not
/// told so.
#[track_caller]
pub(crate) fn verify(receiver: &Receiver, sent: &[Sent]) -> u64 {
    eventually_ok(PATIENCE, || judge(receiver, sent))
}

/// The same, as it stands.
pub(crate) fn judge(receiver: &Receiver, sent: &[Sent]) -> Result<u64, String> {
    let mut known: HashMap<(String, String), Known<'_>> = HashMap::new();
    for one in sent {
        let sha256 = hex::encode(Sha256::digest(&one.body));
        let entry = known.entry((one.told.id.clone(), sha256)).or_insert(Known {
            told: &one.told,
            attempts: 0,
            acknowledged: 0,
        });
        entry.attempts += one.attempts;
        entry.acknowledged += one.acknowledged;
    }

    let mut untold = 0;
    let mut found = HashSet::new();
    let mut accepted: HashMap<&str, (&Told, String)> = HashMap::new();
    for event in list(receiver, "events")? {
        let key = (text(&event, "event_id"), text(&event, "body_sha256"));
        let Some((known_key, told)) = known.get_key_value(&key) else {
            return Err(format!("never sent: {event}"));
        };
        if !found.insert(known_key) {
            return Err(format!("kept twice: {event}"));
        }
        // Where no answer was lost, the bounds are one number.
        let times = 1 + event["duplicates"].as_u64().unwrap_or(u64::MAX - 1);
        if !(told.acknowledged..=told.attempts).contains(&times) {
            return Err(format!(
                "acknowledged {} times of {}, and counted {times} times: {event}",
                told.acknowledged, told.attempts
            ));
        }
        untold += times - told.acknowledged;
        match text(&event, "verdict").as_str() {
            "accepted" => {
                let effect = text(&event, "effect");
                if (effect == "unmapped") != told.told.payment.is_none() {
                    return Err(format!("of {:?} was kept {event}", told.told));
                }
                if seconds(&event["occurred_at"]) != told.told.occurred_at {
                    return Err(format!("another time: {event}"));
                }
                if accepted
                    .insert(&told.told.id, (told.told, effect))
                    .is_some()
                {
                    return Err(format!("accepted with two bodies: {event}"));
                }
            }
            "conflict" => {}
            other => return Err(format!("{other}: {event}")),
        }
    }
    for (key, told) in &known {
        if told.acknowledged > 0 && !found.contains(key) {
            return Err(format!("acknowledged and lost: {:?}", told.told));
        }
        if found.contains(key) && !accepted.contains_key(key.0.as_str()) {
            return Err(format!("a conflict with nothing: {:?}", told.told));
        }
    }

    let model = Model::of(accepted.values().map(|(told, _)| *told));
    let ledger: BTreeMap<String, Value> = list(receiver, "payments")?
        .iter()
        .map(|payment| {
            let state = json!([
                payment["status"],
                payment["amount_minor"],
                payment["amount_refunded_minor"],
                payment["currency"],
                seconds(&payment["occurred_at"]),
                payment["last_event_id"],
                payment["events"],
            ]);
            (text(payment, "payment_id"), state)
        })
        .collect();
    let expected = model.payments();
    let names: BTreeSet<&String> = ledger.keys().chain(expected.keys()).collect();
    for name in names {
        let (is, should) = (ledger.get(name), expected.get(name));
        if is != should {
            return Err(format!("the ledger has {name} as {is:?}, not {should:?}"));
        }
    }
    for latest in model.latest() {
        let effect = &accepted[latest.id.as_str()].1;
        if effect != "applied" {
            return Err(format!("{effect}, and yet the latest word: {latest:?}"));
        }
    }
    Ok(untold)
}

/// All that there is, or why it cannot be told now.
fn list(receiver: &Receiver, what: &str) -> Result<Vec<Value>, String> {
    let output = receiver.countersign(&[what, "list", "--json", "--limit", "0"]);
    if output.code == Some(0) {
        Ok(output.json_lines())
    } else {
        Err(format!("{what} list: {output:?}"))
    }
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

fn seconds(value: &Value) -> i64 {
    let time: Timestamp = value.as_str().unwrap_or_default().parse().unwrap();
    time.as_second()
}

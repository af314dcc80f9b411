//! What comes after a payment, of every built-in profile: refunds, disputes, and what only looks like them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::profiles_tests::{at, facts, filled, samples, stated};
use super::{Claim, Payment, Status};
use crate::signature::{Facts, Profile, builtin};

/// What is told of each type that the table lists, so many seconds later: by its own sample, or by the one whose beginning is longest.
fn told(profile: &Profile, seconds: i64) -> Vec<(String, Facts)> {
    let samples = samples(profile);
    let event = profile.descriptor().event.clone().unwrap_or_default();
    let table = event.status.unwrap_or_default();
    let keys = table.keys().cloned();
    // Where a header bears the type, what the body says stands behind it.
    let topics = samples.keys().filter_map(|name| name.split_once(' '));
    let topics: BTreeSet<_> = topics.map(|(topic, _)| topic.to_owned()).collect();
    let of_topics = |key: String| topics.iter().map(move |topic| format!("{topic} {key}"));
    let of_topics: Vec<_> = keys.clone().flat_map(of_topics).collect();
    let mut all = Vec::new();
    for kind in samples.keys().cloned().chain(keys).chain(of_topics) {
        let begins = |name: &String| kind.strip_prefix(name.strip_suffix('*')?).map(str::len);
        let serving = samples
            .iter()
            .filter(|(name, _)| **name == kind || begins(name).is_some());
        let best = serving.min_by_key(|(name, _)| begins(name).map_or(0, |rest| rest + 1));
        let Some((name, sample)) = best.filter(|_| !kind.ends_with('*')) else {
            continue;
        };
        let rest = name
            .strip_suffix('*')
            .and_then(|begins| kind.strip_prefix(begins));
        let sample = sample.replace("$REST", rest.unwrap_or_default());
        let body = filled(
            &sample,
            &kind,
            &format!("id-{seconds}"),
            "pay-1",
            at(seconds),
        );
        all.push((kind, facts(profile, body)));
    }
    all
}

pub(super) fn claimed(facts: &Facts, id: &str) -> Option<Claim> {
    let payment = facts.payment.as_ref().ok()?;
    Claim::read(payment, facts.occurred_at, id, &Arc::from("p")).ok()
}

/// Whether a delivery has a time of its own, which stands for that of an event without one.
fn signs_a_time(profile: &Profile) -> bool {
    let descriptor = profile.descriptor();
    let each = descriptor.signature.iter().any(|it| it.each.is_some());
    descriptor.timestamp.is_some() && !each
}

/// The claims of a profile's samples: those of a payment that went well, and of what came a second later.
fn first_and_later(profile: &Profile) -> (Vec<Claim>, Vec<(String, Claim)>) {
    let first = told(profile, 0).into_iter();
    let first = first.filter_map(|(_, facts)| claimed(&facts, "a"));
    let paid = [Status::Captured, Status::Succeeded].map(Some);
    let first = first.filter(|claim| paid.contains(&claim.status()));
    let later = told(profile, 1).into_iter();
    let later = later.filter_map(|(name, facts)| Some((name, claimed(&facts, "b")?)));
    let later = later.filter(|(_, claim)| claim.status() > Some(Status::Succeeded));
    (first.collect(), later.collect())
}

#[test]
fn what_comes_after_a_payment_shows_in_whatever_order_it_arrives() {
    let mut pairs = 0;
    for profile in builtin().iter() {
        let (first, later) = first_and_later(profile);
        for (name, then) in &later {
            for paid in &first {
                let name = format!("{} {name}", profile.name());
                // An order and a subscription's invoice are two (Lemon Squeezy).
                if then.payment_id() != paid.payment_id() {
                    continue;
                }
                let mut forth = Payment::new(paid);
                forth.apply(then);
                let mut back = Payment::new(then);
                back.apply(paid);
                assert_eq!(forth, back, "{name}");
                assert_eq!(forth.status(), then.status(), "{name}");
                // What was stated before would stand beside a refund that does not state how much.
                let is_refund = forth.status() <= Some(Status::Refunded);
                assert!(
                    !is_refund || forth.amount_refunded_minor() != Some(0),
                    "{name}"
                );
                pairs += 1;
            }
        }
    }
    assert!(pairs > 100, "{pairs}");
}

#[test]
fn no_sample_gives_back_more_than_was_paid() {
    for profile in builtin().iter() {
        let (first, later) = first_and_later(profile);
        let all = later.iter().map(|(_, claim)| claim).chain(&first);
        for claim in all {
            let name = profile.name();
            if let Some(refunded) = claim.amount_refunded_minor() {
                let paid = claim.amount_minor().or_else(|| first[0].amount_minor());
                assert!(paid >= Some(refunded), "{name}: {}", stated(claim));
            }
            if claim.status() == Some(Status::Succeeded) {
                assert!(claim.amount_refunded_minor().unwrap_or_default() == 0);
            }
        }
    }
}

#[test]
fn where_some_events_have_a_time_those_that_come_later_have_one_too() {
    for profile in builtin().iter().filter(|profile| !signs_a_time(profile)) {
        let all = told(profile, 0);
        if all.iter().all(|(_, facts)| facts.occurred_at.is_none()) {
            continue;
        }
        for (name, facts) in all {
            let later =
                claimed(&facts, "a").is_some_and(|it| it.status() > Some(Status::Succeeded));
            assert!(
                !later || facts.occurred_at.is_some(),
                "{} {name}",
                profile.name()
            );
        }
    }
}

/// What one profile makes of a body: its claim, or why there is none and whether, and by which id, it is to be fetched.
#[track_caller]
pub(super) fn check(name: &str, body: &str, expected: &str) {
    let facts = facts(builtin().get(name).unwrap(), body.to_owned());
    let mut found = match (&facts.payment, claimed(&facts, "a")) {
        (_, Some(claim)) => stated(&claim),
        (Ok(_), None) => "nothing".to_owned(),
        (Err(reason), None) => reason.to_string(),
    };
    if facts.fetch.is_needed() {
        let reference = facts.fetch.reference().unwrap_or("-");
        found = format!("{found}, fetch {reference}");
    }
    assert_eq!(found, expected, "{name} {body}");
}

pub(super) const UNLISTED: &str = "the profile's table lacks this type";

#[test]
fn stripes_authorization_that_was_let_go_is_no_refund() {
    let charge = |amounts: &str| {
        format!(
            r#"{{"type":"charge.refunded","created":1,"data":{{"object":{{"id":"ch","payment_intent":"p","amount":2000,"currency":"usd",{amounts}}}}}}}"#
        )
    };
    for (amounts, expected) in [
        (
            r#""captured":false,"refunded":true,"amount_captured":0,"amount_refunded":2000"#,
            "p canceled 2000/- USD",
        ),
        (
            r#""captured":false,"refunded":true,"amount_captured":null,"amount_refunded":2000"#,
            "p canceled 2000/- USD",
        ),
        (
            r#""captured":false,"refunded":false,"amount_captured":0,"amount_refunded":500"#,
            "names no payment, fetch -",
        ),
        (
            r#""captured":true,"refunded":false,"amount_captured":1500,"amount_refunded":500"#,
            "names no payment, fetch -",
        ),
        (
            r#""captured":true,"refunded":true,"amount_captured":1500,"amount_refunded":2000"#,
            "p refunded 2000/- USD, fetch -",
        ),
        (
            r#""captured":true,"refunded":false,"amount_captured":2000,"amount_refunded":500"#,
            "p partially_refunded 2000/500 USD",
        ),
        (
            r#""captured":true,"refunded":true,"amount_captured":2000,"amount_refunded":2000"#,
            "p refunded 2000/2000 USD",
        ),
        (
            r#""refunded":true,"amount_refunded":2000"#,
            "p refunded 2000/2000 USD",
        ),
    ] {
        check("stripe", &charge(amounts), expected);
    }
    let captured =
        charge(r#""captured":true,"refunded":false,"amount_captured":1500,"amount_refunded":500"#);
    let captured = captured.replace("charge.refunded", "charge.captured");
    check("stripe", &captured, "p captured 2000/- USD");
    let whole =
        charge(r#""captured":true,"refunded":false,"amount_captured":2000,"amount_refunded":0"#);
    for (kind, expected) in [
        ("succeeded", "p succeeded 2000/0 USD"),
        ("captured", "p captured 2000/0 USD"),
    ] {
        check(
            "stripe",
            &whole.replace("charge.refunded", &format!("charge.{kind}")),
            expected,
        );
    }
    let failed = r#"{"type":"refund.failed","created":1,"data":{"object":{"id":"re","payment_intent":"p","amount":5,"currency":"usd","status":"failed"}}}"#;
    check("stripe", failed, &format!("{UNLISTED}, fetch p"));
    let pending = failed
        .replace("refund.failed", "refund.updated")
        .replace(r#""failed""#, r#""pending""#);
    check("stripe", &pending, UNLISTED);
}

#[test]
fn squares_amount_holds_the_tip() {
    let payment = |refunded: &str| {
        format!(
            r#"{{"type":"payment.updated","created_at":"2026-11-27T08:00:00Z","data":{{"object":{{"payment":{{"id":"p","amount_money":{{"amount":1000,"currency":"USD"}},"tip_money":{{"amount":200,"currency":"USD"}},"total_money":{{"amount":1200,"currency":"USD"}},"refunded_money":{{"amount":{refunded},"currency":"USD"}},"status":"COMPLETED"}}}}}}}}"#
        )
    };
    check("square", &payment("0"), "p succeeded 1200/0 USD");
    check(
        "square",
        &payment("1000"),
        "p partially_refunded 1200/1000 USD",
    );
    check("square", &payment("1200"), "p refunded 1200/1200 USD");
    let without_total = |refunded: &str| payment(refunded).replace("total_money", "other_money");
    check(
        "square",
        &without_total("400"),
        "p partially_refunded 1000/400 USD",
    );
    check("square", &without_total("1000"), "p refunded 1000/1000 USD");
}

#[test]
fn paystacks_refund_without_a_time_is_not_hidden_and_francs_are_counted_in_hundredths() {
    check(
        "paystack",
        r#"{"event":"refund.processed","data":{"status":"processed","transaction_reference":"p","refund_reference":"1","amount":"5000","currency":"NGN"}}"#,
        "fetch needed: has no time, and others of its profile have, fetch p",
    );
    check(
        "paystack",
        r#"{"event":"refund.processed","data":{"status":"processed","transaction_reference":"p","amount":"5000","paid_at":"2026-11-27T09:00:00Z","currency":"NGN"}}"#,
        "p refunded -/- -",
    );
    check(
        "paystack",
        r#"{"event":"charge.success","data":{"reference":"p","amount":1000000,"paid_at":"2026-11-27T08:10:19.000Z","currency":"XOF"}}"#,
        "p succeeded 10000/- XOF",
    );
}

#[test]
fn of_polars_refund_with_tax_no_amount_is_told() {
    let order = |tax: u8| {
        format!(
            r#"{{"type":"order.refunded","data":{{"id":"p","status":"refunded","total_amount":1200,"refunded_amount":1000,"tax_amount":{tax},"refunded_tax_amount":{tax},"currency":"usd"}}}}"#
        )
    };
    check("polar", &order(200), "p refunded 1200/- USD");
    check("polar", &order(0), "p refunded 1200/1000 USD");
}

#[test]
fn a_refund_that_is_a_transaction_of_its_own_is_no_payment() {
    let transaction = |kind: &str| {
        format!(
            "<notification><timestamp>2026-11-27T08:00:00Z</timestamp><kind>transaction_settled</kind><subject><transaction><id>t</id>\
             <type>{kind}</type><amount>1.00</amount><currency-iso-code>USD</currency-iso-code></transaction></subject></notification>"
        )
    };
    check(
        "braintree",
        &transaction("credit"),
        "names no payment, fetch -",
    );
    check("braintree", &transaction("sale"), "t succeeded 100/- USD");
    let of_authorize = |kind: &str, code: u8| {
        format!(
            r#"{{"notificationId":"n","eventType":"net.authorize.payment.{kind}.created","eventDate":"2026-11-27T08:00:00Z","payload":{{"responseCode":{code},"authAmount":40.0,"id":"t"}}}}"#
        )
    };
    for (kind, code, expected) in [
        ("refund", 1, &*format!("{UNLISTED}, fetch -")),
        ("authcapture", 1, "t succeeded -/- -"),
        ("authcapture", 4, "t pending -/- -"),
        ("authorization", 2, "t failed -/- -"),
        ("void", 3, "names no payment, fetch -"),
    ] {
        check("authorize-net", &of_authorize(kind, code), expected);
    }
}

#[test]
fn what_failed_at_vipps_changes_nothing() {
    let event = |success: bool| {
        format!(
            r#"{{"reference":"p","name":"CAPTURED","amount":{{"currency":"NOK","value":5}},"timestamp":"2026-11-27T08:00:00Z","success":{success}}}"#
        )
    };
    check("vipps", &event(true), "p captured -/- -");
    check("vipps", &event(false), "names no payment");
}

#[test]
fn shopifys_dispute_ends_at_its_end() {
    let dispute = |status: &str, finalized: &str| {
        let body = format!(
            r#"{{"id":1,"order_id":7,"type":"chargeback","status":"{status}","initiated_at":"2026-11-21T10:00:00Z","evidence_sent_on":null,"finalized_on":{finalized}}}"#
        );
        let facts = facts(builtin().get("shopify").unwrap(), body);
        claimed(&facts, "a").map(|claim| claim.key().occurred_at().unwrap().to_string())
    };
    let begun = dispute("needs_response", "null");
    assert_eq!(begun.as_deref(), Some("2026-11-21T10:00:00Z"));
    let ended = dispute("lost", r#""2026-11-25T10:00:00Z""#);
    assert_eq!(ended.as_deref(), Some("2026-11-25T10:00:00Z"));
    assert_eq!(dispute("lost", "null"), None);
    // A day is no moment.
    assert_eq!(dispute("won", r#""2026-11-25""#), None);
}

#[test]
fn woocommerces_refunds_are_summed() {
    let order = |refunds: &str| {
        format!(
            r#"{{"id":7,"status":"processing","currency":"USD","date_modified_gmt":"2026-11-27T08:00:00","total":"29.35","refunds":[{refunds}]}}"#
        )
    };
    for (refunds, expected) in [
        ("", "7 succeeded 2935/0 USD"),
        (r#"{"total":"-9.00"}"#, "7 partially_refunded 2935/900 USD"),
        (
            r#"{"total":"-9.00"},{"total":"-20.35"}"#,
            "7 refunded 2935/2935 USD",
        ),
        (r#"{"total":"-0.00"}"#, "7 succeeded 2935/0 USD"),
        (r#"{"total":"9.00"}"#, "7 - 2935/- USD"),
        (r#"{"total":"-9.00"},{"total":"?"}"#, "7 - 2935/- USD"),
    ] {
        check("woocommerce", &order(refunds), expected);
    }
}

#[test]
fn a_delivery_of_btcpay_that_comes_again_is_the_same_event() {
    let id = |delivery: &str, original: &str| {
        let body = format!(
            r#"{{"deliveryId":"{delivery}","originalDeliveryId":{original},"type":"InvoiceSettled","timestamp":1,"invoiceId":"p"}}"#
        );
        facts(builtin().get("btcpay").unwrap(), body).event_id
    };
    assert_eq!(id("d1", r#""d1""#), id("d2", r#""d1""#));
    assert_eq!(id("d1", "null").as_deref(), Some("d1"));
}

#[test]
fn mollies_payments_are_told_and_its_refunds_are_fetched() {
    let event = |kind: &str, entity: &str| {
        format!(
            r#"{{"resource":"event","id":"e","type":"{kind}","entityId":"p","createdAt":"2026-11-27T08:00:00Z","_embedded":{{"entity":{{{entity}"amount":{{"value":"10.00","currency":"EUR"}}}}}}}}"#
        )
    };
    for (kind, expected) in [
        ("payment.paid", "p succeeded 1000/- EUR"),
        ("payment.authorized", "p authorized 1000/- EUR"),
        ("payment.failed", "p failed 1000/- EUR"),
        ("payment.canceled", "p canceled 1000/- EUR"),
        ("payment.expired", "p canceled 1000/- EUR"),
    ] {
        check("mollie", &event(kind, ""), expected);
    }
    let refunded = event("refund.refunded", r#""paymentId":"tr_1","#);
    check("mollie", &refunded, &format!("{UNLISTED}, fetch tr_1"));
}

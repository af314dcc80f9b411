//! Every built-in profile, from its samples to the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, Method};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{Claim, Payment, Status};
use crate::signature::{BodyFormat, Facts, NoPayment, Profile, Request, builtin};

const NOW: i64 = 1_790_000_000;

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW + seconds).unwrap()
}

/// A sample with its places filled in.
pub(super) fn filled(sample: &str, kind: &str, id: &str, payment: &str, at: Timestamp) -> String {
    sample
        .replace("$ID", id)
        .replace("$TYPE", kind)
        .replace("$REST", "example")
        .replace("$PAYMENT", payment)
        .replace("$UNIX_MS", &at.as_millisecond().to_string())
        .replace("$UNIX", &at.as_second().to_string())
        .replace("$RFC3339", &at.to_string())
        .replace("$DATE_TIME", &at.strftime("%Y-%m-%d.%H:%M:%S").to_string())
        .replace("$DIGITS", &at.strftime("%Y%m%d%H%M%S").to_string())
        .replace("$AMOUNT_MINOR", "1999")
        .replace("$AMOUNT_MAJOR", "19.99")
        .replace("$CURRENCY", "BRL")
}

pub(super) fn facts(profile: &Profile, body: String) -> Facts {
    let headers = HeaderMap::from_iter(
        [
            ("webhook-id", "msg_1"),
            ("x-request-id", "req_1"),
            ("x-github-event", "ping"),
            ("x-shopify-topic", "orders/paid"),
            ("x-wc-webhook-topic", "order.updated"),
        ]
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())),
    );
    let request = Request {
        method: &Method::POST,
        path_and_query: "/hooks",
        headers: &headers,
    };
    let event = profile.descriptor().event.clone().unwrap_or_default();
    let body = match event.format.unwrap_or_default() {
        BodyFormat::Json | BodyFormat::JsonOrForm | BodyFormat::Form => body,
        BodyFormat::FormXml => {
            let base64 = base64::engine::general_purpose::URL_SAFE.encode(body);
            let base64 = base64
                .replace('-', "%2B")
                .replace('_', "%2F")
                .replace('=', "%3D");
            format!("{}={base64}", event.field.unwrap())
        }
    };
    let items = profile.items(&Bytes::from(body)).unwrap();
    assert_eq!(items.len(), 1, "{}", profile.name());
    profile.facts(&items[0], &request).unwrap()
}

pub(super) fn samples(profile: &Profile) -> BTreeMap<String, String> {
    profile.descriptor().samples.clone().unwrap_or_default()
}

/// `PAYMENT STATUS AMOUNT/REFUNDED CURRENCY`, with `-` for what it does not state.
pub(super) fn stated(claim: &Claim) -> String {
    let amount = |amount: Option<i64>| amount.map_or("-".to_owned(), |amount| amount.to_string());
    format!(
        "{} {} {}/{} {}",
        claim.payment_id(),
        claim.status().map_or("-", Status::as_str),
        amount(claim.amount_minor()),
        amount(claim.amount_refunded_minor()),
        claim
            .currency()
            .map_or("-".to_owned(), |currency| currency.to_string()),
    )
}

/// What each sample comes to: `TYPE=status amount/refunded`, or why it makes no claim.
fn told(name: &str) -> String {
    let profile = builtin().get(name).unwrap();
    let mut told = Vec::new();
    for (kind, sample) in samples(profile) {
        let any = kind.ends_with('*');
        let typed = if any { "example.type" } else { &kind };
        let facts = facts(profile, filled(&sample, typed, "id-1", "pay-1", at(0)));
        assert!(facts.event_type.is_some(), "{name} {kind}");
        if let Some(time) = facts.occurred_at {
            assert_eq!(time, at(0), "{name} {kind}");
        }
        if any {
            continue;
        }
        let outcome = match &facts.payment {
            Err(NoPayment::NotMapped) => "not mapped".to_owned(),
            Err(reason) => reason.to_string(),
            Ok(payment) => {
                let claim = Claim::read(payment, Some(at(0)), "id-1", &Arc::from("p")).unwrap();
                assert_eq!(claim.unreadable(), [], "{name} {kind}");
                assert!(
                    claim.payment_id().ends_with("pay-1"),
                    "{name} {kind}: {}",
                    claim.payment_id()
                );
                let stated = stated(&claim);
                stated.split_once(' ').unwrap().1.to_owned()
            }
        };
        let kind = facts.event_type.unwrap();
        told.push(format!("{kind}: {outcome}"));
    }
    told.join("; ")
}

#[rustfmt::skip]
const TOLD: &[(&str, &str)] = &[
    ("adyen-classic", "AUTHORISATION: authorized 1999/- BRL"),
    ("adyen-platform", "balancePlatform.transfer.updated: succeeded 1999/- BRL"),
    ("airwallex", "payment_intent.succeeded: succeeded 1999/- BRL; refund.succeeded: refunded -/- -"),
    ("authorize-net", "net.authorize.payment.authcapture.created: succeeded -/- -"),
    ("bluesnap", "CHARGE: succeeded 1999/- BRL; CHARGEBACK_STATUS_CHANGED: disputed -/- -; RECURRING: succeeded 1999/- BRL"),
    ("braintree", "dispute_opened: disputed -/- -; transaction_settled: succeeded 1999/- BRL"),
    ("btcpay", "InvoiceSettled: succeeded -/- -"),
    ("cashfree", "DISPUTE_CLOSED: dispute_won -/- -; PAYMENT_SUCCESS_WEBHOOK: succeeded 1999/- BRL; REFUND_STATUS_WEBHOOK: refunded -/- -"),
    ("checkout-com", "payment_approved: authorized 1999/- BRL; payment_refunded: refunded 1999/1999 BRL"),
    ("coinbase-commerce", "charge:confirmed: succeeded 1999/- BRL"),
    ("cryptopay", "Invoice.completed: succeeded 1999/- BRL"),
    ("dodo", "payment.succeeded: succeeded 1999/- BRL; refund.succeeded: refunded -/- -"),
    ("dwolla", "customer_transfer_completed: succeeded -/- -"),
    ("flutterwave-v4", "charge.completed: succeeded 1999/- BRL; refund.completed: refunded -/- -"),
    ("gocardless", "payments.confirmed: succeeded -/- -; payments.failed: failed -/- -"),
    ("iatapay", "payment.SETTLED: succeeded 1999/- BRL"),
    ("lemon-squeezy", "order_created: succeeded 1999/0 BRL; order_refunded: refunded 1999/1999 BRL; subscription_payment_refunded: refunded 1999/1999 BRL"),
    ("mercado-pago", "payment.updated: fetch needed: the signature does not cover the body"),
    ("modern-treasury", "payment_order.completed: succeeded 1999/- BRL"),
    ("mollie", "dispute.resolved: dispute_won -/- -; payment-link.paid: succeeded 1999/- BRL"),
    ("monei", "payment.succeeded: succeeded 1999/- BRL"),
    ("moneyhash", "intent.processed: succeeded 1999/- BRL"),
    ("nmi", "transaction.sale.success: succeeded 1999/- BRL"),
    ("noon", "Sale: succeeded -/- -"),
    ("nuvei", "DMN: succeeded 1999/- BRL"),
    ("paddle", "adjustment.updated: refunded -/- -; transaction.completed: succeeded 1999/- BRL"),
    ("paystack", "charge.dispute.resolve: dispute_won -/- -; charge.success: succeeded 1999/- BRL; refund.processed: fetch needed: has no time, and others of its profile have"),
    ("payu-emea", "order COMPLETED: succeeded 1999/- BRL"),
    ("pix", "pix: succeeded 1999/- BRL"),
    ("polar", "order.created: pending 1999/0 BRL; order.paid: succeeded 1999/0 BRL; order.refunded: refunded 1999/1999 BRL"),
    ("rapyd", "PAYMENT_COMPLETED: succeeded 1999/- BRL; PAYMENT_DISPUTE_UPDATED: dispute_won -/- -"),
    ("ppro-hmac", "PAYMENT_CHARGE_CAPTURE_SUCCEEDED: captured -/- -; PAYMENT_CHARGE_VOID_SUCCEEDED: canceled -/- -"),
    ("ppro", "PAYMENT_CHARGE_CAPTURE_SUCCEEDED: captured -/- -; PAYMENT_CHARGE_VOID_SUCCEEDED: canceled -/- -"),
    ("razorpay", "payment.captured: captured 1999/0 BRL; refund.processed: refunded 1999/1999 BRL"),
    ("recurly", "payment.succeeded: succeeded -/- -"),
    ("revolut", "ORDER_COMPLETED: succeeded -/- -"),
    ("shopify", "orders/paid: succeeded -/- -; orders/paid: succeeded 1999/- BRL"),
    ("square", "payment.updated: succeeded 1999/- BRL; refund.updated: the profile's table lacks this type"),
    ("standard-webhooks", "payment.succeeded: succeeded 1999/- BRL"),
    ("stripe", "charge.dispute.closed: dispute_won -/- -; charge.dispute.created: disputed -/- -; charge.dispute.funds_reinstated: dispute_won -/- -; charge.refunded: refunded 1999/1999 BRL; checkout.session.completed: succeeded 1999/- BRL; payment_intent.succeeded: succeeded 1999/- BRL; refund.failed: the profile's table lacks this type"),
    ("svix", "payment.succeeded: succeeded 1999/- BRL"),
    ("timestamped", "partially_refunded: partially_refunded 1999/500 BRL; payment.partially_refunded: partially_refunded 1999/500 BRL; payment.refunded: refunded 1999/1999 BRL; payment.succeeded: succeeded 1999/0 BRL; refunded: refunded 1999/1999 BRL"),
    ("vipps", "AUTHORIZED: authorized 1999/- BRL"),
    ("volt", "payment.RECEIVED: succeeded 1999/- BRL; payment.REFUND_CONFIRMED: refunded -/- -"),
    ("wise", "transfers#state-change: succeeded -/- -"),
    ("woocommerce", "order.updated: succeeded 1999/- BRL"),
    ("worldline-direct", "payment.captured: succeeded 1999/- BRL"),
    ("worldpay-access", "authorized: authorized 1999/- BRL"),
    ("zen", "AUTHORIZED: authorized 1999/- BRL; PENDING: pending 1999/- BRL; TRT_PURCHASE: succeeded 1999/- BRL"),
];

#[test]
fn every_sample_of_every_profile_is_told_as_expected() {
    for profile in builtin().iter() {
        let told = told(profile.name());
        match TOLD.iter().find(|(name, _)| *name == profile.name()) {
            Some((name, expected)) => assert_eq!(told, *expected, "{name}"),
            None => assert!(told.ends_with(": not mapped"), "{}: {told}", profile.name()),
        }
    }
    assert!(TOLD.iter().all(|(name, _)| builtin().get(name).is_some()));
}

/// What one profile makes of a body.
#[track_caller]
fn check(name: &str, body: &str, expected: &str) {
    let facts = facts(builtin().get(name).unwrap(), body.to_owned());
    let found = match &facts.payment {
        Err(reason) => reason.to_string(),
        Ok(payment) => match Claim::read(payment, Some(at(0)), "id-1", &Arc::from("p")) {
            Err(reason) => reason.to_string(),
            Ok(claim) => stated(&claim),
        },
    };
    assert_eq!(found, expected, "{name} {body}");
}

#[test]
fn timestamped_takes_the_status_from_the_body_or_else_from_the_type() {
    let check = |body, expected| check("timestamped", body, expected);
    check(r#"{"event":"payment.succeeded"}"#, "names no payment");
    check(
        r#"{"event":"payment.refunded","data":{"payment_id":"p"}}"#,
        "p refunded -/- -",
    );
    check(
        r#"{"type":"payment.failed","data":{"payment_id":"p","status":"captured"}}"#,
        "p captured -/- -",
    );
    check(
        r#"{"type":"payment.failed","data":{"payment_id":"p","status":"odd"}}"#,
        "p failed -/- -",
    );
    check(
        r#"{"type":"payment.updated","data":{"payment_id":"p","amount_refunded":5}}"#,
        "p - -/5 -",
    );
    check(
        r#"{"type":"payment.updated","data":{"payment_id":"p"}}"#,
        "states neither a status, nor an amount, nor a currency",
    );
    check(
        r#"{"type":"payment.updated","data":{"payment_id":"p","amount":1.5}}"#,
        "states nothing that can be read",
    );
    check(
        r#"{"type":"mandate.created","data":{"mandate_id":"m"}}"#,
        "names no payment",
    );
    check(
        r#"{"type":"payment.succeeded","data":[]}"#,
        "names no payment",
    );
}

#[test]
fn a_refund_is_partial_where_the_body_says_so() {
    check(
        "stripe",
        r#"{"type":"charge.refunded","data":{"object":{"payment_intent":"p","amount":9,"amount_refunded":4,"refunded":false,"currency":"eur"}}}"#,
        "p partially_refunded 9/4 EUR",
    );
    check(
        "checkout-com",
        r#"{"type":"payment_refunded","created_on":"2026-09-21T14:13:20Z","data":{"id":"p","amount":4,"currency":"EUR","balances":{"total_refunded":4,"available_to_refund":5}}}"#,
        "p partially_refunded -/4 EUR",
    );
    check(
        "checkout-com",
        r#"{"type":"payment_refunded","created_on":"2026-09-21T14:13:20Z","data":{"id":"p","amount":4,"currency":"EUR"}}"#,
        "p refunded -/- -",
    );
    check(
        "razorpay",
        r#"{"event":"refund.processed","created_at":1790000000,"payload":{"payment":{"entity":{"id":"p","amount":9,"amount_refunded":4,"currency":"INR","refund_status":"partial"}}}}"#,
        "p partially_refunded 9/4 INR",
    );
    let square = |refunded: u8| {
        format!(
            r#"{{"type":"payment.updated","created_at":"2026-09-21T14:13:20Z","data":{{"object":{{"payment":{{"id":"p","status":"COMPLETED","total_money":{{"amount":9,"currency":"USD"}},"refunded_money":{{"amount":{refunded},"currency":"USD"}}}}}}}}}}"#
        )
    };
    check(
        "square",
        &square(0).replace(":9,", ":0,"),
        "p succeeded 0/0 USD",
    );
    check("square", &square(0), "p succeeded 9/0 USD");
    check("square", &square(4), "p partially_refunded 9/4 USD");
    check("square", &square(9), "p refunded 9/9 USD");
    for (refunds, expected) in [
        (&[("9.00", "NAO_REALIZADO")][..], "p succeeded 900/0 BRL"),
        (&[("4.00", "DEVOLVIDO")], "p partially_refunded 900/400 BRL"),
        (&[("9.0", "DEVOLVIDO")], "p refunded 900/900 BRL"),
        (
            &[("9.00", "NAO_REALIZADO"), ("9.00", "DEVOLVIDO")],
            "p refunded 900/900 BRL",
        ),
        (
            &[("4.50", "DEVOLVIDO"), ("4.50", "DEVOLVIDO")],
            "p refunded 900/900 BRL",
        ),
        (
            &[("4.00", "DEVOLVIDO"), ("5.00", "EM_PROCESSAMENTO")],
            "p partially_refunded 900/400 BRL",
        ),
        (&[("nine", "DEVOLVIDO")], "p - 900/- BRL"),
    ] {
        check("pix", &pix(refunds), expected);
    }
    check(
        "paddle",
        r#"{"event_type":"adjustment.created","occurred_at":"2026-09-21T14:13:20Z","data":{"id":"adj_1","action":"refund","transaction_id":"p","type":"partial","status":"approved","currency_code":"EUR"}}"#,
        "p partially_refunded -/- -",
    );
}

/// A Pix of nine reais with these refunds, each an hour after the one before.
fn pix(refunds: &[(&str, &str)]) -> String {
    let refund = |(at, (amount, status)): (usize, &(&str, &str))| {
        format!(
            r#"{{"id":"D{at}","valor":"{amount}","status":"{status}","horario":{{"solicitacao":"2026-09-22T{at:02}:13:20Z"}}}}"#
        )
    };
    let refunds: Vec<_> = refunds.iter().enumerate().map(refund).collect();
    format!(
        r#"{{"pix":[{{"endToEndId":"E1","txid":"p","valor":"9.00","horario":"2026-09-21T14:13:20Z","devolucoes":[{}]}}]}}"#,
        refunds.join(",")
    )
}

#[test]
fn every_change_of_a_pix_is_an_event_of_its_own_at_its_own_time() {
    let told = |body: String| {
        let facts = facts(builtin().get("pix").unwrap(), body);
        (facts.event_id.unwrap(), facts.occurred_at.unwrap())
    };
    let (plain, paid_at) = told(pix(&[]));
    assert_eq!(plain, "E1");
    let mut ids = BTreeSet::from([plain]);
    let mut before = paid_at;
    let refunds = [("1.00", "DEVOLVIDO"); 9];
    for count in 1..=refunds.len() {
        let (id, at) = told(pix(&refunds[..count]));
        assert!(id.starts_with("E1:") && ids.insert(id), "{count}");
        assert!(at > before, "{count}");
        before = at;
    }
    let changed = told(pix(&[("1.00", "EM_PROCESSAMENTO")])).0;
    assert!(ids.insert(changed));
    assert_eq!(told(pix(&refunds)), told(pix(&refunds)));
    // Where both have one time, the id decides.
    let counted = |status| told(pix(&[("1.00", "DEVOLVIDO"), ("1.00", status)])).0;
    assert!(counted("DEVOLVIDO") > counted("EM_PROCESSAMENTO"));
}

#[test]
fn what_the_type_alone_does_not_say_stands_elsewhere_in_the_body() {
    let adyen = |code: &str, success: &str| {
        format!(
            r#"{{"notificationItems":[{{"NotificationRequestItem":{{"pspReference":"m","originalReference":"p","merchantAccountCode":"a","amount":{{"value":500,"currency":"IDR"}},"eventCode":"{code}","success":"{success}"}}}}]}}"#
        )
    };
    check(
        "adyen-classic",
        &adyen("CAPTURE", "true"),
        "p captured -/- -",
    );
    check(
        "adyen-classic",
        &adyen("CAPTURE", "false"),
        "p failed -/- -",
    );
    // Adyen counts rupiah in whole ones, ISO 4217 in hundredths.
    check(
        "adyen-classic",
        &adyen("AUTHORISATION", "true"),
        "p authorized 50000/- IDR",
    );
    for (code, success) in [("REFUND", "false"), ("CANCEL_OR_REFUND", "true")] {
        check(
            "adyen-classic",
            &adyen(code, success),
            "the profile's table lacks this type",
        );
    }
    let charge = |captured: bool| {
        format!(
            r#"{{"type":"charge.succeeded","data":{{"object":{{"id":"ch_1","payment_intent":null,"amount":50000,"captured":{captured},"currency":"isk"}}}}}}"#
        )
    };
    check("stripe", &charge(true), "ch_1 succeeded 500/- ISK");
    check("stripe", &charge(false), "ch_1 authorized 500/- ISK");
    check(
        "stripe",
        r#"{"type":"checkout.session.expired","data":{"object":{"id":"cs_1","payment_intent":null}}}"#,
        "names no payment",
    );
    check(
        "stripe",
        r#"{"type":"charge.dispute.closed","data":{"object":{"id":"dp_1","charge":"p","status":"lost"}}}"#,
        "p dispute_lost -/- -",
    );
    check(
        "shopify",
        r#"{"id":1,"order_id":7,"kind":"refund","status":"success","amount":"1.00","currency":"EUR"}"#,
        "the profile's table lacks this type",
    );
    check(
        "shopify",
        r#"{"id":1,"order_id":7,"type":"chargeback","status":"lost","amount":"1.00","currency":"EUR","finalized_on":"2026-09-21T14:13:20Z"}"#,
        "7 dispute_lost -/- -",
    );
    let order = |paid: &str, cancelled: &str| {
        format!(r#"{{"id":7,"financial_status":"{paid}","cancelled_at":{cancelled}}}"#)
    };
    for (paid, cancelled, expected) in [
        ("authorized", "\"2026-09-21T14:13:20Z\"", "7 canceled -/- -"),
        ("authorized", "null", "7 authorized -/- -"),
        ("paid", "\"2026-09-21T14:13:20Z\"", "7 succeeded -/- -"),
    ] {
        check("shopify", &order(paid, cancelled), expected);
    }
    check(
        "gocardless",
        r#"{"events":[{"id":"EV1","resource_type":"mandates","action":"active","links":{"mandate":"MD1"}}]}"#,
        "the profile's table lacks this type",
    );
    check(
        "paystack",
        r#"{"event":"charge.dispute.resolve","data":{"resolvedAt":"2026-09-21T14:13:20Z","resolution":"declined","transaction":{"reference":"p"}}}"#,
        "p dispute_won -/- -",
    );
    check(
        "cashfree",
        r#"{"type":"REFUND_STATUS_WEBHOOK","data":{"refund":{"cf_payment_id":7,"refund_status":"PENDING"}}}"#,
        "the profile's table lacks this type",
    );
}

/// One event of a profile: which of its samples, for which of its types, when, and of which payment.
type Drawn = (Index, Index, i64, u8);

/// Reads it as the inbox would: its own time, or else that of its receipt, which keeps to the event.
fn drawn(
    profile: &Profile,
    number: usize,
    (sample, kind, seconds, payment): Drawn,
) -> Option<Claim> {
    let samples: Vec<_> = samples(profile).into_iter().collect();
    let (name, body) = sample.get(&samples);
    let table: Vec<_> = profile
        .descriptor()
        .event
        .clone()?
        .status?
        .into_keys()
        .collect();
    let kind = if name == "*" { kind.get(&table) } else { name };
    let body = filled(
        body,
        kind,
        &format!("id-{number}"),
        &format!("pay-{payment}"),
        at(seconds),
    );
    let facts = facts(profile, body);
    // One id is one event: the inbox sees to it, and here every header is the same.
    let id = format!("{}-{number}", facts.event_id.as_deref().unwrap_or("hash"));
    Claim::read(
        &facts.payment.ok()?,
        facts.occurred_at,
        &id,
        &Arc::from("p"),
    )
    .ok()
}

type Row = (
    Option<Status>,
    Option<i64>,
    Option<i64>,
    Option<String>,
    String,
    u64,
);

/// The plainest ledger: sort all events of a payment, and let each overwrite what it states.
fn model(claims: &[Claim]) -> BTreeMap<String, Row> {
    let mut sorted: Vec<_> = claims.iter().collect();
    sorted.sort_by_key(|claim| {
        let key = claim.key();
        (
            key.occurred_at(),
            claim.status().map_or(0, Status::rank),
            key.event_id().to_owned(),
        )
    });
    let mut rows = BTreeMap::<String, Row>::new();
    for claim in sorted {
        let row = rows.entry(claim.payment_id().to_owned()).or_default();
        row.0 = claim.status().or(row.0);
        row.1 = claim.amount_minor().or(row.1);
        row.2 = claim.amount_refunded_minor().or(row.2);
        row.3 = claim
            .currency()
            .map(|currency| currency.to_string())
            .or(row.3.take());
        row.4 = claim.key().event_id().to_owned();
        row.5 += 1;
    }
    rows
}

fn ledger(claims: &[Claim]) -> BTreeMap<String, Row> {
    let mut payments = BTreeMap::<String, Payment>::new();
    for claim in claims {
        match payments.entry(claim.payment_id().to_owned()) {
            std::collections::btree_map::Entry::Occupied(mut known) => {
                known.get_mut().apply(claim);
            }
            std::collections::btree_map::Entry::Vacant(new) => {
                new.insert(Payment::new(claim));
            }
        }
    }
    let row = |payment: Payment| {
        (
            payment.status(),
            payment.amount_minor(),
            payment.amount_refunded_minor(),
            payment.currency().map(|currency| currency.to_string()),
            payment.last_event_id().to_owned(),
            payment.events(),
        )
    };
    payments
        .into_iter()
        .map(|(id, payment)| (id, row(payment)))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn the_ledger_of_every_profile_is_the_models_in_any_order(
        (drawn_events, order) in proptest::collection::vec((any::<Index>(), any::<Index>(), 0..4_i64, 0..3_u8), 1..24)
            .prop_flat_map(|events| {
                let order = Just((0..events.len()).collect::<Vec<_>>()).prop_shuffle();
                (Just(events), order)
            }),
    ) {
        for profile in builtin().iter() {
            let all: Vec<_> = drawn_events
                .iter()
                .enumerate()
                .map(|(number, event)| drawn(profile, number, *event))
                .collect();
            let shuffled: Vec<_> = order.iter().filter_map(|index| all[*index].clone()).collect();
            prop_assert_eq!(ledger(&shuffled), model(&shuffled), "{}", profile.name());
        }
    }
}

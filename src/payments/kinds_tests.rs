//! Of what kind an event is, by provider: which one speaks of a payment, which of something else that looks like one, and of which
//! payment it speaks.

use super::Payment;
use super::later_tests::{UNLISTED, check, claimed};
use super::profiles_tests::facts;
use crate::signature::{Facts, builtin};

const ANOTHER_KIND: &str = "fetch needed: it is none of those that event.only names";

fn read(name: &str, body: &str) -> Facts {
    facts(builtin().get(name).unwrap(), body.to_owned())
}

#[test]
fn a_pix_that_was_sent_is_no_payment_and_its_states_are_no_conflicts() {
    let pix = |rest: &str| {
        format!(
            r#"{{"pix":[{{"endToEndId":"E1","chave":"k","valor":"19.99","horario":"2026-11-27T08:00:00Z"{rest}}}]}}"#
        )
    };
    check("pix", &pix(r#","txid":"p""#), "p succeeded 1999/- BRL");
    let sent = |status: &str| pix(&format!(r#","tipo":"SOLICITACAO","status":"{status}""#));
    for status in ["EM_PROCESSAMENTO", "REALIZADO", "NAO_REALIZADO"] {
        check("pix", &sent(status), UNLISTED);
    }
    check("pix", &pix(r#","tipo":"SOLICITACAO""#), UNLISTED);
    let id = |body: String| read("pix", &body).event_id;
    assert_ne!(id(sent("EM_PROCESSAMENTO")), id(sent("REALIZADO")));
    assert_eq!(id(pix("")).as_deref(), Some("E1"));
}

#[test]
fn of_nuveis_transactions_a_sale_is_a_payment() {
    let form = |kind: &str| {
        format!(
            "type=DMN{kind}&PPP_TransactionID=p&totalAmount=19.99&currency=EUR&Status=APPROVED&responseTimeStamp=2026-11-27.08:00:00&productId=1"
        )
    };
    check(
        "nuvei",
        &form("&transactionType=Sale"),
        "p succeeded 1999/- EUR",
    );
    check("nuvei", &form(""), "p succeeded 1999/- EUR");
    for other in ["Void", "Credit", "Auth", "sale"] {
        let body = form(&format!("&transactionType={other}"));
        check("nuvei", &body, &format!("{ANOTHER_KIND}, fetch p"));
        // What is signed of it may be what is signed of the sale, whose id it must not take.
        assert_ne!(
            read("nuvei", &body).event_id,
            read("nuvei", &form("")).event_id
        );
    }
}

#[test]
fn of_zens_notifications_a_purchase_is_a_payment() {
    let body = |kind: &str| {
        format!(
            r#"{{{kind}"transactionId":"t","merchantTransactionId":"p","amount":"19.99","currency":"EUR","status":"ACCEPTED","hash":""}}"#
        )
    };
    check(
        "zen",
        &body(r#""type":"TRT_PURCHASE","#),
        "p succeeded 1999/- EUR",
    );
    check("zen", &body(""), "p succeeded 1999/- EUR");
    let refund = body(r#""type":"TRT_REFUND","#);
    check("zen", &refund, &format!("{ANOTHER_KIND}, fetch p"));
    assert_ne!(
        read("zen", &refund).event_id,
        read("zen", &body("")).event_id
    );
}

#[test]
fn of_moneyhashs_intents_a_payment_is_one() {
    let body = |kind: &str, intent: &str| {
        format!(
            r#"{{"type":"intent.{kind}"{intent},"data":{{"intent_id":"p","intent":{{"amount":19.99,"amount_currency":"EUR"}}}}}}"#
        )
    };
    let payment = r#","intent_type":"PAYMENT""#;
    check(
        "moneyhash",
        &body("processed", payment),
        "p succeeded 1999/- EUR",
    );
    check(
        "moneyhash",
        &body("processed", ""),
        "p succeeded 1999/- EUR",
    );
    check(
        "moneyhash",
        &body("closed", payment),
        "p canceled 1999/- EUR",
    );
    let payout = body("processed", r#","intent_type":"PAYOUT""#);
    check("moneyhash", &payout, &format!("{ANOTHER_KIND}, fetch p"));
}

#[test]
fn what_worldline_does_with_a_payment_is_of_that_payment() {
    let body = |kind: &str, id: &str| {
        format!(
            r#"{{"id":"e","type":"payment.{kind}","created":"2026-11-27T08:00:00Z","payment":{{"id":"{id}","paymentOutput":{{"amountOfMoney":{{"amount":1999,"currencyCode":"EUR"}}}}}}}}"#
        )
    };
    for (kind, id, expected) in [
        (
            "captured",
            "3254564310_0",
            "3254564310 succeeded 1999/- EUR",
        ),
        ("refunded", "3254564310_1", "3254564310 refunded -/- -"),
        ("chargebacked", "3254564310_2", "3254564310 disputed -/- -"),
        ("cancelled", "3254564310_0", "3254564310 canceled -/- -"),
        (
            "captured",
            "000000123410000595980000100001",
            "000000123410000595980000100001 succeeded 1999/- EUR",
        ),
        ("captured", "pay_1", "pay_1 succeeded 1999/- EUR"),
        ("captured", "1_2_3", "1_2_3 succeeded 1999/- EUR"),
        ("captured", "1_", "1_ succeeded 1999/- EUR"),
        // What is done later may be done with a part of it, as one capture of several.
        ("captured", "3254564310_1", "3254564310 succeeded -/- -"),
        ("capture_requested", "3254564310_12", UNLISTED),
        (
            "capture_requested",
            "3254564310_0",
            "3254564310 authorized 1999/- EUR",
        ),
        ("captured", "3254564310_00", "3254564310 succeeded -/- -"),
    ] {
        check("worldline-direct", &body(kind, id), expected);
    }
}

#[test]
fn nmis_refund_names_itself() {
    let body = |kind: &str| {
        format!(
            r#"{{"event_id":"e","event_type":"transaction.{kind}.success","event_body":{{"transaction_id":"t","action":{{"date":"20261127080000"}}}}}}"#
        )
    };
    check("nmi", &body("refund"), &format!("{UNLISTED}, fetch -"));
    check("nmi", &body("void"), "t canceled -/- -");
}

#[test]
fn rapyds_dispute_is_won_or_lost_by_its_status() {
    let body = |kind: &str, status: &str| {
        format!(
            r#"{{"id":"e","type":"PAYMENT_DISPUTE_{kind}","data":{{"id":"d","original_transaction_id":"p","amount":5,"currency":"EUR","status":"{status}"}},"created_at":1790000000}}"#
        )
    };
    check("rapyd", &body("CREATED", "ACT"), "p disputed -/- -");
    check("rapyd", &body("UPDATED", "WIN"), "p dispute_won -/- -");
    check("rapyd", &body("UPDATED", "LOS"), "p dispute_lost -/- -");
    check("rapyd", &body("UPDATED", "RVW"), UNLISTED);
}

#[test]
fn revoluts_dispute_names_no_order() {
    let body = r#"{"event":"DISPUTE_ACTION_REQUIRED","dispute_id":"d"}"#;
    check("revolut", body, &format!("{UNLISTED}, fetch -"));
    check(
        "revolut",
        r#"{"event":"ORDER_FAILED","order_id":"p"}"#,
        "p failed -/- -",
    );
}

#[test]
fn without_a_time_a_failure_at_volt_is_not_hidden_by_what_came_before() {
    let claim = |status: &str, id: &str| {
        let body = format!(r#"{{"payment":"p","status":"{status}"}}"#);
        claimed(&read("volt", &body), id).unwrap()
    };
    for last in ["FAILED", "NOT_RECEIVED", "RECEIVED"] {
        let (completed, last) = (claim("COMPLETED", "a"), claim(last, "b"));
        let mut forth = Payment::new(&completed);
        forth.apply(&last);
        let mut back = Payment::new(&last);
        back.apply(&completed);
        assert_eq!(forth, back);
        assert_eq!(forth.status(), last.status());
    }
}

#[test]
fn no_event_is_ordered_by_when_an_attempt_was_signed() {
    for profile in builtin().iter() {
        let descriptor = profile.descriptor();
        let Some(event) = &descriptor.event else {
            continue;
        };
        let has_a_time = event.occurred_at.is_some() || descriptor.timestamp.is_none();
        if event.payment_id.is_some() && !has_a_time {
            assert!(event.signed_time.is_some(), "{}", profile.name());
        }
    }
}

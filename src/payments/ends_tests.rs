//! What ends a payment or a dispute, and what only seems to: the rest of an authorization that is let go, a request that was
//! taken before anybody was asked, a dispute that somebody may yet decide.

use super::later_tests::{UNLISTED, check, claimed};
use super::profiles_tests::facts;
use super::{Payment, Status};
use crate::signature::builtin;

fn fetched(id: &str) -> String {
    format!("{UNLISTED}, fetch {id}")
}

#[test]
fn what_checkout_com_lets_go_after_a_part_was_captured_cancels_nothing() {
    let voided = |balances: &str| {
        format!(
            r#"{{"id":"e","type":"payment_voided","created_on":"2026-11-27T08:00:00Z","data":{{"id":"p","amount":1500,"currency":"EUR"{balances}}}}}"#
        )
    };
    check("checkout-com", &voided(""), "p canceled -/- -");
    let balances = |captured: u16| {
        format!(
            r#","balances":{{"total_authorized":2000,"total_voided":1500,"total_captured":{captured},"total_refunded":0}}"#
        )
    };
    check("checkout-com", &voided(&balances(0)), "p canceled -/0 EUR");
    check("checkout-com", &voided(&balances(500)), &fetched("p"));
}

#[test]
fn what_vipps_lets_go_may_be_what_was_left_of_a_capture() {
    let event = |name: &str| {
        format!(
            r#"{{"msn":"1","reference":"p","name":"{name}","amount":{{"currency":"NOK","value":500}},"timestamp":"2026-11-27T08:00:00Z","success":true}}"#
        )
    };
    check("vipps", &event("CANCELLED"), &fetched("p"));
    // Before anything was authorized the names are others.
    for name in ["TERMINATED", "ABORTED", "EXPIRED"] {
        check("vipps", &event(name), "p canceled 500/- NOK");
    }
}

#[test]
fn that_rapyd_took_a_request_pays_nothing() {
    let event = |kind: &str, rest: &str| {
        format!(
            r#"{{"id":"e","type":"{kind}","data":{{"id":"p","amount":0,"original_amount":19.99,"currency_code":"USD",{rest}}},"created_at":1790000000}}"#
        )
    };
    for (rest, expected) in [
        (r#""status":"ACT""#, "p pending 1999/- USD"),
        (
            r#""status":"ACT","next_action":"pending_confirmation""#,
            "p pending 1999/- USD",
        ),
        (
            r#""status":"ACT","next_action":"3d_verification""#,
            "p requires_action 1999/- USD",
        ),
        (
            r#""status":"ACT","next_action":"pending_capture""#,
            "p authorized 1999/- USD",
        ),
        (
            r#""status":"CLO","next_action":"not_applicable""#,
            "p succeeded 1999/- USD",
        ),
    ] {
        check("rapyd", &event("PAYMENT_SUCCEEDED", rest), expected);
    }
    // Both often bear the same second.
    let claim = |body: String, id: &str| {
        claimed(&facts(builtin().get("rapyd").unwrap(), body), id).unwrap()
    };
    let mut payment = Payment::new(&claim(event("PAYMENT_FAILED", r#""status":"ERR""#), "a"));
    payment.apply(&claim(event("PAYMENT_SUCCEEDED", r#""status":"ACT""#), "b"));
    assert_eq!(payment.status(), Some(Status::Failed));
}

#[test]
fn what_razorpay_gives_back_because_it_was_never_captured_is_no_refund() {
    let refunded = |captured: bool| {
        format!(
            r#"{{"event":"refund.processed","created_at":1790000000,"payload":{{"refund":{{"entity":{{"id":"r","payment_id":"p","amount":500}}}},"payment":{{"entity":{{"id":"p","amount":500,"currency":"INR","status":"refunded","amount_refunded":500,"refund_status":"full","captured":{captured}}}}}}}}}"#
        )
    };
    check("razorpay", &refunded(false), "p canceled 500/- INR");
    check("razorpay", &refunded(true), "p refunded 500/500 INR");
    let closed = refunded(true).replace("refund.processed", "payment.dispute.closed");
    check("razorpay", &closed, &fetched("p"));
}

#[test]
fn airwallexs_disputes_and_refunds_are_told_under_their_newer_names() {
    let event = |kind: &str, stage: &str| {
        format!(
            r#"{{"id":"e","name":"{kind}","data":{{"object":{{"id":"dst","payment_intent_id":"p","amount":19.99,"currency":"USD","stage":"{stage}"}}}},"created_at":"2026-11-27T08:00:00+0000"}}"#
        )
    };
    for (kind, expected) in [
        ("requires_response", "p disputed -/- -"),
        ("challenged", "p disputed -/- -"),
        ("pending_decision", "p disputed -/- -"),
        ("pending_closure", "p disputed -/- -"),
        ("accepted", "p dispute_lost -/- -"),
        ("expired", "p dispute_lost -/- -"),
        ("lost", "p dispute_lost -/- -"),
        ("won", "p dispute_won -/- -"),
        ("reversed", "p dispute_won -/- -"),
    ] {
        let kind = format!("payment_dispute.{kind}");
        check("airwallex", &event(&kind, "CHARGEBACK"), expected);
    }
    for kind in ["payment_dispute.accepted", "payment_dispute.expired"] {
        check("airwallex", &event(kind, "RFI"), &fetched("p"));
    }
    check(
        "airwallex",
        &event("refund.settled", ""),
        "p refunded -/- -",
    );
}

#[test]
fn stripes_dispute_that_is_decided_stays_so_whatever_is_told_of_it() {
    let told = |kind: &str, status: &str, expected| {
        let body = format!(
            r#"{{"type":"charge.dispute.{kind}","created":1,"data":{{"object":{{"id":"dp","charge":"ch","payment_intent":"p","amount":5,"currency":"usd","status":"{status}"}}}}}}"#
        );
        check("stripe", &body, expected);
    };
    for kind in ["created", "funds_withdrawn", "updated", "closed"] {
        told(kind, "lost", "p dispute_lost -/- -");
    }
    for status in ["won", "warning_closed", "prevented"] {
        for kind in ["updated", "closed"] {
            told(kind, status, "p dispute_won -/- -");
        }
    }
    for kind in ["created", "funds_withdrawn", "updated"] {
        told(kind, "needs_response", "p disputed -/- -");
    }
}

#[test]
fn paystacks_dispute_has_its_time_in_either_spelling() {
    let dispute = |times: &str| {
        format!(
            r#"{{"event":"charge.dispute.create","data":{{"id":1,"refund_amount":500,"currency":"NGN","status":"awaiting-merchant-feedback","resolution":null,"transaction":{{"reference":"p","amount":500,"paid_at":"2026-11-20T08:00:00Z"}},"resolvedAt":null{times}}}}}"#
        )
    };
    let time = r#""2026-11-27T08:00:00.000Z""#;
    for times in [
        format!(r#","created_at":{time},"updated_at":{time}"#),
        format!(r#","createdAt":{time},"updatedAt":{time}"#),
    ] {
        check("paystack", &dispute(&times), "p disputed -/- -");
    }
    let none = "fetch needed: has no time, and others of its profile have, fetch p";
    check("paystack", &dispute(""), none);
}

#[test]
fn an_order_of_shopifys_that_is_paid_in_part_is_not_paid() {
    let order = r#"{"id":7,"total_price":"20.00","currency":"EUR","financial_status":"partially_paid","updated_at":"2026-11-27T08:00:00Z"}"#;
    check("shopify", order, &fetched("7"));
}

#[test]
fn mollies_chargebacks_are_disputes() {
    let event = |kind: &str| {
        format!(
            r#"{{"resource":"event","id":"e","type":"{kind}","entityId":"chb","createdAt":"2026-11-27T08:00:00Z","_embedded":{{"entity":{{"resource":"chargeback","id":"chb","paymentId":"p","amount":{{"value":"10.00","currency":"EUR"}}}}}}}}"#
        )
    };
    check("mollie", &event("chargeback.received"), "p disputed -/- -");
    check(
        "mollie",
        &event("chargeback.reversed"),
        "p dispute_won -/- -",
    );
}

#[test]
fn what_worldpay_pays_out_is_no_payment() {
    let event = |class: &str| {
        format!(
            r#"{{"eventId":"e","eventTimestamp":"2026-11-27T08:00:00.407","eventDetails":{{"classification":"{class}","transactionReference":"p","type":"refused","amount":{{"value":500,"currencyCode":"EUR"}}}}}}"#
        )
    };
    check("worldpay-access", &event("payout"), "names no payment");
    check("worldpay-access", &event("payment"), "p failed 500/- EUR");
}

#[test]
fn worldlines_capture_that_waits_has_not_happened_and_its_notice_of_a_chargeback_is_one() {
    let event = |kind: &str| {
        format!(
            r#"{{"apiVersion":"v1","id":"e","created":"2026-11-27T08:00:00Z","merchantId":"m","type":"{kind}","payment":{{"id":"77_0","paymentOutput":{{"amountOfMoney":{{"amount":500,"currencyCode":"EUR"}}}}}}}}"#
        )
    };
    for (kind, expected) in [
        ("capture_requested", "77 authorized 500/- EUR"),
        ("captured", "77 succeeded 500/- EUR"),
        ("chargeback_notification", "77 disputed -/- -"),
        ("reversed", &*fetched("77")),
    ] {
        check(
            "worldline-direct",
            &event(&format!("payment.{kind}")),
            expected,
        );
    }
    let refund = r#"{"id":"e","created":"2026-11-27T08:00:00Z","type":"refund.refunded","refund":{"id":"r"}}"#;
    check("worldline-direct", refund, &fetched("-"));
}

#[test]
fn what_may_have_given_back_is_to_be_fetched() {
    let body = r#"{"type":"AUTO_REFUND_STATUS_WEBHOOK","event_time":"2026-11-27T08:00:00+05:30","data":{"auto_refund":{"order_id":"o","cf_payment_id":"p","refund_status":"SUCCESS","refund_amount":1.0}}}"#;
    check("cashfree", body, &fetched("p"));
    for kind in ["voided", "refunded"] {
        let body = format!(
            r#"{{"id":"i","object_type":"payment","event_type":"{kind}","event_time":"2026-11-27T08:00:00Z","uuid":"u"}}"#
        );
        check("recurly", &body, &fetched("u"));
    }
    for kind in ["refund.created", "chargeback.created"] {
        let body = format!(
            r#"{{"type":"{kind}","timestamp":1790000000000,"data":{{"id":"rfd","amount":5,"currency":"NGN","status":"succeeded"}}}}"#
        );
        check("flutterwave-v4", &body, &fetched("-"));
    }
}

#[test]
fn what_worldline_cancels_later_may_be_a_part() {
    let cancelled = |id: &str| {
        format!(
            r#"{{"id":"e","created":"2026-11-27T08:00:00Z","merchantId":"m","type":"payment.cancelled","payment":{{"id":"{id}","paymentOutput":{{"amountOfMoney":{{"amount":500,"currencyCode":"EUR"}}}}}}}}"#
        )
    };
    check("worldline-direct", &cancelled("77_0"), "77 canceled -/- -");
    check("worldline-direct", &cancelled("77"), "77 canceled -/- -");
    check("worldline-direct", &cancelled("77_2"), &fetched("77"));
}

#[test]
fn what_worldpay_cancels_may_be_a_part() {
    let event = |kind: &str| {
        format!(
            r#"{{"eventId":"e","eventTimestamp":"2026-11-27T08:00:00Z","eventDetails":{{"classification":"payment","transactionReference":"p","type":"{kind}","amount":{{"value":500,"currencyCode":"EUR"}}}}}}"#
        )
    };
    check(
        "worldpay-access",
        &event("authorized"),
        "p authorized 500/- EUR",
    );
    for kind in ["cancelled", "cancelledByCustomer"] {
        check("worldpay-access", &event(kind), "p canceled -/- -, fetch -");
    }
}

#[test]
fn an_order_of_revoluts_may_be_a_refund() {
    let body = r#"{"event":"ORDER_COMPLETED","order_id":"o"}"#;
    check("revolut", body, "o succeeded -/- -, fetch -");
}

#[test]
fn a_transfer_of_dwollas_does_not_say_who_pays() {
    let body = r#"{"id":"e","resourceId":"t","topic":"customer_transfer_completed","timestamp":"2026-11-27T08:00:00Z"}"#;
    check("dwolla", body, "t succeeded -/- -, fetch -");
}

#[test]
fn one_refund_of_adyens_that_failed_leaves_others() {
    for kind in ["REFUND_FAILED", "REFUNDED_REVERSED"] {
        let item = format!(
            r#"{{"eventCode":"{kind}","eventDate":"2026-11-27T08:00:00Z","merchantAccountCode":"m","originalReference":"p","pspReference":"r","amount":{{"value":500,"currency":"EUR"}},"success":"true"}}"#
        );
        check("adyen-classic", &item, "p captured -/- -, fetch -");
    }
}

//! Whose status an event tells: the payment's, or only that of an attempt, a leg, a payout, a share, a settlement or a
//! refund, which must neither become a payment of its own nor hide what became of the payment.

use super::later_tests::{UNLISTED, check};
use super::profiles_tests::facts;
use crate::signature::builtin;

const NAMELESS: &str = "names no payment";

/// What the table lacks, and is to be fetched by this id.
fn fetched(id: &str) -> String {
    format!("{UNLISTED}, fetch {id}")
}

fn airwallex(kind: &str) -> String {
    format!(
        r#"{{"id":"e","name":"{kind}","data":{{"object":{{"id":"att","payment_intent_id":"p","amount":19.99,"currency":"EUR"}}}},"created_at":"2026-11-27T08:00:00+0000"}}"#
    )
}

fn adyen(code: &str) -> String {
    format!(
        r#"{{"notificationItems":[{{"NotificationRequestItem":{{"pspReference":"m","originalReference":"p","merchantAccountCode":"a","eventDate":"2026-11-27T08:00:00Z","amount":{{"value":500,"currency":"EUR"}},"eventCode":"{code}","success":"true"}}}}]}}"#
    )
}

fn checkout(kind: &str, rest: &str) -> String {
    format!(
        r#"{{"id":"e","type":"{kind}","created_on":"2026-11-27T08:00:00Z","data":{{"amount":500,"currency":"EUR",{rest}}}}}"#
    )
}

#[test]
fn what_becomes_of_an_attempt_is_not_what_becomes_of_airwallexs_payment() {
    // Another attempt may have paid, and the money reaches a wallet long after: it may have been given back by then.
    for kind in [
        "capture_requested",
        "expired",
        "cancelled",
        "settled",
        "paid",
    ] {
        let kind = format!("payment_attempt.{kind}");
        check("airwallex", &airwallex(&kind), UNLISTED);
    }
    let told = |kind: &str, expected| check("airwallex", &airwallex(kind), expected);
    told("payment_attempt.authorized", "p authorized 1999/- EUR");
    told("payment_intent.pending", "p pending 1999/- EUR");
    told("refund.settled", "p refunded -/- -");
    told("refund.succeeded", "p refunded -/- -");
}

#[test]
fn where_airwallex_states_no_time_of_the_event_that_of_the_change_is_taken() {
    let body = airwallex("refund.succeeded")
        .replace("created_at", "sent_at")
        .replace(
            r#""id":"att""#,
            r#""id":"att","updated_at":"2026-11-27T08:00:00+0000""#,
        );
    let facts = facts(builtin().get("airwallex").unwrap(), body);
    let occurred_at = facts.occurred_at.map(|at| at.to_string());
    assert_eq!(occurred_at.as_deref(), Some("2026-11-27T08:00:00Z"));
}

#[test]
fn a_late_failure_that_was_settled_does_not_hide_what_was_collected_since() {
    let told = |action: &str, expected| {
        let body = format!(
            r#"{{"events":[{{"id":"EV","created_at":"2026-11-27T08:00:00Z","resource_type":"payments","action":"{action}","links":{{"payment":"p"}}}}]}}"#
        );
        check("gocardless", &body, expected);
    };
    told("late_failure_settled", UNLISTED);
    told("failed", "p failed -/- -");
    told("resubmission_requested", "p pending -/- -");
}

#[test]
fn the_bank_leg_of_dwollas_transfer_is_no_payment_beside_it() {
    let told = |topic: &str, expected| {
        let body = format!(
            r#"{{"id":"e","resourceId":"p","topic":"{topic}","timestamp":"2026-11-27T08:00:00Z"}}"#
        );
        check("dwolla", &body, expected);
    };
    for state in ["created", "completed", "failed", "cancelled"] {
        told(&format!("customer_bank_transfer_{state}"), UNLISTED);
    }
    told("customer_transfer_completed", "p succeeded -/- -, fetch -");
}

#[test]
fn of_adyens_transfers_those_that_come_in_from_a_bank_are_payments() {
    let transfer = |category: &str, direction: &str, kind: &str| {
        format!(
            r#"{{"type":"balancePlatform.transfer.updated","timestamp":"2026-11-27T08:00:00Z","data":{{"id":"p","category":"{category}","direction":"{direction}","type":"{kind}","status":"booked","amount":{{"value":1999,"currency":"EUR"}}}}}}"#
        )
    };
    for (category, direction, kind, expected) in [
        ("bank", "incoming", "bankTransfer", "p succeeded 1999/- EUR"),
        ("bank", "outgoing", "bankTransfer", NAMELESS),
        ("bank", "incoming", "bankDirectDebit", NAMELESS),
        ("issuedCard", "outgoing", "payment", NAMELESS),
        ("platformPayment", "incoming", "capture", NAMELESS),
        ("platformPayment", "outgoing", "refund", NAMELESS),
        ("internal", "incoming", "internalTransfer", NAMELESS),
        ("topUp", "incoming", "payment", NAMELESS),
    ] {
        let body = transfer(category, direction, kind);
        check("adyen-platform", &body, expected);
    }
}

#[test]
fn checkouts_payout_is_no_payment() {
    for (kind, expected) in [
        ("payment_approved", "p authorized 500/- EUR"),
        ("payment_declined", "p failed 500/- EUR"),
        ("payment_pending", "p pending 500/- EUR"),
    ] {
        let body =
            |other: &str| checkout(kind, &format!(r#""id":"p","{other}":{{"type":"card"}}"#));
        check("checkout-com", &body("source"), expected);
        check("checkout-com", &body("destination"), NAMELESS);
    }
}

#[test]
fn a_subscriptions_first_invoice_at_lemon_squeezy_is_paid_with_its_order() {
    let invoice = |kind: &str, reason: &str| {
        format!(
            r#"{{"meta":{{"event_name":"subscription_payment_{kind}"}},"data":{{"type":"subscription-invoices","id":"1","attributes":{{"billing_reason":"{reason}","currency":"USD","total":999,"status":"paid","updated_at":"2026-11-27T08:00:00Z"}}}}}}"#
        )
    };
    for (kind, reason, expected) in [
        ("success", "initial", NAMELESS),
        (
            "success",
            "renewal",
            "subscription-invoices:1 succeeded 999/- USD",
        ),
        (
            "recovered",
            "updated",
            "subscription-invoices:1 succeeded 999/- USD",
        ),
        ("refunded", "initial", "names no payment, fetch -"),
        (
            "refunded",
            "renewal",
            "subscription-invoices:1 refunded 999/- USD",
        ),
    ] {
        check("lemon-squeezy", &invoice(kind, reason), expected);
    }
}

#[test]
fn dodos_partial_refund_that_failed_gave_nothing_back() {
    let refund = |kind: &str, partial: bool| {
        format!(
            r#"{{"type":"refund.{kind}","timestamp":"2026-11-27T08:00:00Z","data":{{"payment_id":"p","refund_id":"r","amount":500,"currency":"USD","is_partial":{partial}}}}}"#
        )
    };
    for (kind, partial, expected) in [
        ("failed", true, UNLISTED),
        ("failed", false, UNLISTED),
        ("succeeded", true, "p partially_refunded -/- -"),
        ("succeeded", false, "p refunded -/- -"),
    ] {
        check("dodo", &refund(kind, partial), expected);
    }
}

#[test]
fn dodos_dispute_that_expired_was_not_decided() {
    let told = |kind: &str, expected: &str| {
        let body = format!(
            r#"{{"type":"dispute.{kind}","timestamp":"2026-11-27T08:00:00Z","data":{{"payment_id":"p","dispute_id":"d","amount":"500","currency":"USD"}}}}"#
        );
        check("dodo", &body, expected);
    };
    told("expired", &fetched("p"));
    told("lost", "p dispute_lost -/- -");
}

#[test]
fn what_belongs_to_a_payment_is_not_taken_for_it_by_the_common_form() {
    for profile in ["standard-webhooks", "svix"] {
        let told = |kind: &str, expected: &str| {
            let body = format!(
                r#"{{"type":"{kind}","timestamp":"2026-11-27T08:00:00Z","data":{{"payment_id":"p","amount":500,"currency":"EUR","status":"succeeded"}}}}"#
            );
            check(profile, &body, expected);
        };
        for kind in [
            "refund.created",
            "dispute.closed",
            "chargeback.received",
            "payout.paid",
            "transfer.completed",
        ] {
            told(kind, "names no payment, fetch -");
        }
        for kind in ["payment.updated", "refunded", "disputed", "invoice.paid"] {
            told(kind, "p succeeded 500/- EUR");
        }
    }
}

#[test]
fn what_expired_at_adyen_may_have_been_captured_in_part() {
    check("adyen-classic", &adyen("EXPIRE"), &fetched("p"));
    check("adyen-classic", &adyen("OFFER_CLOSED"), "p canceled -/- -");
}

#[test]
fn an_amount_that_was_changed_later_is_fetched() {
    let adjusted = adyen("AUTHORISATION_ADJUSTMENT");
    check("adyen-classic", &adjusted, &fetched("p"));
    let incremented = checkout("payment_authorization_incremented", r#""id":"p""#);
    check("checkout-com", &incremented, &fetched("p"));
}

#[test]
fn what_expired_at_btcpay_may_have_been_paid_in_part_or_later() {
    let told = |kind: &str, rest: &str, expected: &str| {
        let body =
            format!(r#"{{"deliveryId":"d","type":"{kind}","timestamp":1,"invoiceId":"p",{rest}}}"#);
        check("btcpay", &body, expected);
    };
    told(
        "InvoiceExpired",
        r#""partiallyPaid":false"#,
        "p canceled -/- -",
    );
    told("InvoiceExpired", r#""partiallyPaid":true"#, &fetched("p"));
    for kind in ["InvoiceReceivedPayment", "InvoicePaymentSettled"] {
        told(kind, r#""afterExpiration":false"#, UNLISTED);
        told(kind, r#""afterExpiration":true"#, &fetched("p"));
    }
}

#[test]
fn a_charge_at_coinbase_that_failed_or_was_resolved_may_have_been_paid_in_part() {
    let told = |kind: &str, payments: &str, expected: &str| {
        let body = format!(
            r#"{{"id":"1","event":{{"id":"e","type":"charge:{kind}","created_at":"2026-11-27T08:00:00Z","data":{{"code":"p","pricing":{{"local":{{"amount":"5.00","currency":"USD"}}}},"payments":[{payments}]}}}}}}"#
        );
        check("coinbase-commerce", &body, expected);
    };
    let paid = r#"{"status":"CONFIRMED","value":{"local":{"amount":"4.00","currency":"USD"}}}"#;
    told("failed", "", "p failed 500/- USD");
    told("failed", paid, &fetched("p"));
    told("resolved", paid, "p succeeded 500/- USD, fetch -");
    told("confirmed", paid, "p succeeded 500/- USD");
}

#[test]
fn a_refund_at_cryptopay_may_be_the_merchants() {
    let told = |status: &str, expected: &str| {
        let body = format!(
            r#"{{"type":"Invoice","event":"status_changed","data":{{"id":"p","status":"{status}","price_amount":"5.00","price_currency":"EUR"}}}}"#
        );
        check("cryptopay", &body, expected);
    };
    told("refunded", &fetched("p"));
    told("completed", "p succeeded 500/- EUR");
}

#[test]
fn what_authorize_net_let_through_may_be_an_authorization() {
    let body = |kind: &str| {
        format!(
            r#"{{"notificationId":"n","eventType":"net.authorize.payment.fraud.{kind}","eventDate":"2026-11-27T08:00:00Z","payload":{{"responseCode":1,"id":"t"}}}}"#
        )
    };
    check("authorize-net", &body("approved"), &fetched("t"));
    check("authorize-net", &body("declined"), "t failed -/- -");
}

#[test]
fn iatapays_refund_is_one_when_it_is_settled() {
    let refund = |status: &str| {
        format!(
            r#"{{"status":"{status}","iataPaymentId":"p","iataRefundId":"r","amount":5.0,"currency":"EUR"}}"#
        )
    };
    check("iatapay", &refund("AUTHORIZED"), NAMELESS);
    for status in ["SETTLED", "CLEARED"] {
        check("iatapay", &refund(status), "p refunded -/- -");
    }
}

#[test]
fn what_a_buyer_pays_later_at_braintree_is_a_payment_too() {
    let funded = "<notification><timestamp>2026-11-27T08:00:00Z</timestamp><kind>local_payment_funded</kind><subject><local-payment-funded>\
                  <payment-id>p</payment-id><transaction><id>t</id><amount>5.00</amount><currency-iso-code>EUR</currency-iso-code></transaction>\
                  </local-payment-funded></subject></notification>";
    check("braintree", funded, "p succeeded 500/- EUR");
}

#[test]
fn what_volt_received_and_gave_back_names_the_payment() {
    let received = r#"{"paymentId":"p","timestamp":"2026-11-27T08:00:00+00:00","currency":"GBP","amount":1234567,"status":"RECEIVED","reference":"r"}"#;
    check("volt", received, "p succeeded 1234567/- GBP");
    let not_received = r#"{"payment":"p","reference":"r","amount":1234567,"status":"NOT_RECEIVED","currency":"GBP","timestamp":"2026-11-27T08:00:00+00:00"}"#;
    check("volt", not_received, "p failed 1234567/- GBP");
    let completed = r#"{"payment":"p","reference":"r","amount":1000,"status":"COMPLETED","detailedStatus":"COMPLETED"}"#;
    check("volt", completed, "p pending -/- -");
    for name in ["payment", "paymentId"] {
        let refund = |status: &str| {
            format!(
                r#"{{"refund":"f","{name}":"p","status":"{status}","amount":100,"currency":"GBP","timestamp":"2026-11-27T08:00:00+00:00"}}"#
            )
        };
        check("volt", &refund("REFUND_CONFIRMED"), "p refunded -/- -");
        check("volt", &refund("REFUND_FAILED"), UNLISTED);
    }
}

#[test]
fn of_the_charges_of_a_subscription_at_braintree_the_latest_was_made_now() {
    let charge = |id: &str, amount: &str| {
        format!(
            "<transaction><id>{id}</id><amount>{amount}</amount><currency-iso-code>EUR</currency-iso-code></transaction>"
        )
    };
    let told = |result: &str, charges: &str| {
        format!(
            "<notification><timestamp>2026-11-27T08:00:00Z</timestamp><kind>subscription_charged_{result}</kind><subject><subscription>\
             <id>s</id><transactions type=\"array\">{charges}</transactions></subscription></subject></notification>"
        )
    };
    let (latest, before) = (charge("latest", "5.00"), charge("before", "7.00"));
    let several = format!("{latest}{before}{before}");
    for charges in [&latest, &several] {
        check(
            "braintree",
            &told("successfully", charges),
            "latest succeeded 500/- EUR",
        );
        check(
            "braintree",
            &told("unsuccessfully", charges),
            "latest failed 500/- EUR",
        );
    }
    check("braintree", &told("successfully", ""), "names no payment");
}

#[test]
fn adyens_disputes_end() {
    for (code, expected) in [
        ("DISPUTE_OPENED_WITH_CHARGEBACK", "p disputed -/- -"),
        ("PREARBITRATION_OPEN", "p disputed -/- -"),
        ("SCHEME_ARBITRATION", "p disputed -/- -"),
        ("ISSUER_RESPONSE_TIMEFRAME_EXPIRED", "p dispute_won -/- -"),
        ("PREARBITRATION_ISSUER_WITHDRAWN", "p dispute_won -/- -"),
        ("SCHEME_ARBITRATION_WON", "p dispute_won -/- -"),
        ("SCHEME_ARBITRATION_LOST", "p dispute_lost -/- -"),
        ("DISPUTE_DEFENSE_PERIOD_ENDED", &fetched("p")),
    ] {
        check("adyen-classic", &adyen(code), expected);
    }
}

#[test]
fn checkouts_disputes_end() {
    for (kind, expected) in [
        ("dispute_resolved", &*fetched("p")),
        ("dispute_arbitration_won", "p dispute_won -/- -"),
        ("dispute_arbitration_lost", "p dispute_lost -/- -"),
    ] {
        let body = checkout(kind, r#""id":"dsp","payment_id":"p""#);
        check("checkout-com", &body, expected);
    }
}

#[test]
fn bluesnaps_disputes_end() {
    let told = |kind: &str, status: &str, expected| {
        let body =
            format!("transactionType={kind}&referenceNumber=p&reversalRefNum=r&cbStatus={status}");
        check("bluesnap", &body, expected);
    };
    told("CHARGEBACK", "New", "p disputed -/- -");
    told("CHARGEBACK", "Completed_Lost", "p dispute_lost -/- -");
    let changed = |status: &str, expected| told("CHARGEBACK_STATUS_CHANGED", status, expected);
    changed("Working", "p disputed -/- -");
    changed("Completed_Won", "p dispute_won -/- -");
    changed("COMPLETED_LOST", "p dispute_lost -/- -");
    changed("Closed", &fetched("p"));
}

#[test]
fn a_trial_that_begins_at_bluesnap_is_no_payment() {
    let body = |kind: &str| format!("transactionType={kind}&referenceNumber=p");
    check("bluesnap", &body("AUTH_ONLY"), UNLISTED);
    let single = body("AUTH_ONLY_SINGLE_CHARGE");
    check("bluesnap", &single, "p authorized -/- -");
}

#[test]
fn a_charge_that_failed_at_bluesnap_is_told_in_three_words() {
    for kind in ["DECLINE", "CC_CHARGE_FAILED", "FRAUD_DECLINE"] {
        let body = format!("transactionType={kind}&referenceNumber=p");
        check("bluesnap", &body, "p failed -/- -");
    }
}

#[test]
fn cashfrees_disputes_begin_and_end() {
    let told = |kind: &str, status: &str, expected| {
        let body = format!(
            r#"{{"data":{{"dispute":{{"dispute_id":"d","dispute_amount":3,"dispute_status":"{status}"}},"order_details":{{"order_id":"o","cf_payment_id":7,"payment_amount":9,"payment_currency":"INR"}}}},"event_time":"2026-11-27T13:30:00+05:30","type":"DISPUTE_{kind}"}}"#
        );
        check("cashfree", &body, expected);
    };
    told("CREATED", "CHARGEBACK_CREATED", "7 disputed -/- -");
    told(
        "UPDATED",
        "PRE_ARBITRATION_UNDER_REVIEW",
        "7 disputed -/- -",
    );
    told(
        "UPDATED",
        "CHARGEBACK_MERCHANT_LOST",
        "7 dispute_lost -/- -",
    );
    let closed = |status: &str, expected| told("CLOSED", status, expected);
    closed("CHARGEBACK_MERCHANT_WON", "7 dispute_won -/- -");
    closed("ARBITRATION_INSUFFICIENT_EVIDENCE", "7 dispute_lost -/- -");
    closed("RETRIEVAL_MERCHANT_LOST", UNLISTED);
}

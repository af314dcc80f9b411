//! Bodies as providers and their libraries publish them, shortened and with values of our own: what is read of each.

use super::later_tests::{UNLISTED, check};

#[test]
fn nmis_sale_has_its_amount_and_a_check_is_paid_when_it_settles() {
    let event = |kind: &str, by: &str, action: &str| {
        format!(
            r#"{{"event_id":"9b31-1","event_type":"transaction.{kind}","event_body":{{"merchant":{{"id":"1234","name":"Test Account"}},"features":{{"is_test_mode":true}},"transaction_id":"p","transaction_type":"{by}","condition":"pendingsettlement","currency":"USD","tax":"0.08","requested_amount":"54.04","action":{{"amount":"{action}","action_type":"sale","date":"20260921141320","success":"1","response_code":"100"}}}}}}"#
        )
    };
    let check = |kind, by, action, expected| check("nmi", &event(kind, by, action), expected);
    check("sale.success", "cc", "54.04", "p succeeded 5404/- USD");
    check("auth.success", "cc", "54.04", "p authorized 5404/- USD");
    // One of several captures.
    check("capture.success", "cc", "9.00", "p captured -/- -");
    check("sale.success", "ck", "54.04", "p pending 5404/- USD");
    for (kind, expected) in [
        ("check.status.settle", "p succeeded -/- -, fetch -"),
        ("check.status.return", "p failed -/- -, fetch -"),
        ("check.status.latereturn", "p failed -/- -, fetch -"),
    ] {
        check(kind, "ck", "54.04", expected);
    }
}

#[test]
fn flutterwaves_refund_names_its_charge() {
    let refund = |status: &str| {
        format!(
            r#"{{"webhook_id":"wbk_2","timestamp":1790000000856,"type":"refund.completed","data":{{"id":"rfd_1","amount_refunded":50.5,"meta":{{}},"reason":"duplicate","status":"{status}","charge_id":"p","created_datetime":"2026-09-21T14:13:20.000Z"}}}}"#
        )
    };
    let check = |body: &str, expected| check("flutterwave-v4", body, expected);
    check(
        r#"{"webhook_id":"wbk_1","timestamp":1790000000856,"type":"charge.completed","data":{"id":"p","amount":200,"currency":"GHS","description":null,"meta":{},"status":"succeeded"}}"#,
        "p succeeded 20000/- GHS",
    );
    check(&refund("succeeded"), "p refunded -/- -");
    check(&refund("failed"), UNLISTED);
}

#[test]
fn modern_treasurys_payment_order_is_denied_or_drafted_anew() {
    let check = |event: &str, expected| {
        let body = format!(
            r#"{{"event":"{event}","data":{{"amount":123100,"created_at":"2026-09-21T14:13:18Z","currency":"USD","direction":"debit","effective_date":"2026-09-22","id":"p","metadata":{{}},"object":"payment_order","receiving_account":{{"id":"a","object":"external_account","updated_at":"2026-09-01T22:51:04Z"}},"reconciliation_status":"unreconciled","type":"ach","updated_at":"2026-09-21T14:13:20Z"}}}}"#
        );
        check("modern-treasury", &body, expected);
    };
    check("begin_processing", "p pending 123100/- USD");
    check("finish_processing", "p pending 123100/- USD");
    check("completed", "p succeeded 123100/- USD");
    check("denied", "p failed 123100/- USD");
    check("redrafted", "p pending 123100/- USD");
    for kind in ["acknowledged", "confirmed", "reconciled", "reversed"] {
        check(kind, UNLISTED);
    }
}

#[test]
fn rapyds_refund_without_a_time_is_not_put_at_the_beginning_of_all_time() {
    let refund = r#"{"id":"c73cd65e-1","token":"wh_1","type":"REFUND_COMPLETED","data":{"id":"refund_1","amount":87.36,"payment":"p","currency":"ILS","reason":"Direct Refund","status":"Completed","created_at":1768959,"updated_at":1768960},"attempts":[],"trigger_operation_id":"t","status":"","created_at":0,"next_attempt_at":0,"uri":""}"#;
    let profile = crate::signature::builtin().get("rapyd").unwrap();
    let facts = super::profiles_tests::facts(profile, refund.to_owned());
    assert_eq!(facts.occurred_at, None);
    check("rapyd", refund, "p refunded -/- -");
    check(
        "rapyd",
        r#"{"id":"wh_2","type":"PAYMENT_COMPLETED","data":{"id":"p","paid":true,"amount":1.0,"status":"CLO","captured":true,"created_at":1711008868,"currency_code":"EUR","original_amount":1.0},"trigger_operation_id":"t","status":"NEW","created_at":1711008868}"#,
        "p succeeded 100/- EUR",
    );
}

#[test]
fn what_failed_at_rapyd_was_not_of_nothing() {
    check(
        "rapyd",
        r#"{"id":"wh_3","type":"PAYMENT_FAILED","data":{"id":"p","paid":false,"amount":0.0,"status":"ERR","currency_code":"ISK","failure_code":"65","created_at":1790000000},"trigger_operation_id":"t","status":"NEW","created_at":1790000000}"#,
        "p failed -/- ISK",
    );
}

#[test]
fn of_what_monei_tells_a_subscription_is_no_payment() {
    let check = |body: &str, expected| check("monei", body, expected);
    let event = |kind: &str, object: &str| {
        format!(
            r#"{{"id":"evt_1","type":"{kind}","accountId":"a","livemode":false,"objectType":"charge","createdAt":1790000000,"object":{object}}}"#
        )
    };
    let payment = r#"{"id":"p","amount":110,"currency":"EUR","orderId":"o","accountId":"a","livemode":false,"status":"SUCCEEDED","createdAt":1790000000,"updatedAt":1790000002}"#;
    check(&event("charge.succeeded", payment), "p succeeded 110/- EUR");
    check(payment, "p succeeded 110/- EUR");
    let subscription = r#"{"id":"s","amount":110,"currency":"EUR","accountId":"a","livemode":false,"status":"CANCELED","interval":"month","intervalCount":1,"createdAt":1790000000,"updatedAt":1790000002}"#;
    check(
        &event("subscription.canceled", subscription),
        "names no payment",
    );
    check(subscription, "names no payment");
}

#[test]
fn a_subscription_of_woocommerces_is_no_order() {
    let order = r#""id":727,"parent_id":0,"status":"on-hold","currency":"USD","total":"14.00","date_modified_gmt":"2026-09-21T14:13:20","refunds":[]"#;
    let check =
        |more: &str, expected| check("woocommerce", &format!("{{{order}{more}}}"), expected);
    check("", "727 pending 1400/0 USD");
    check(
        r#","billing_period":"month","billing_interval":"1","next_payment_date":"2026-10-21T14:13:20""#,
        "names no payment",
    );
}

#[test]
fn wises_test_notification_is_no_transfer() {
    let check = |id: u32, expected| {
        let body = format!(
            r#"{{"data":{{"resource":{{"id":{id},"profile_id":222,"account_id":333,"type":"transfer"}},"current_state":"processing","previous_state":"incoming_payment_waiting","occurred_at":"2026-09-21T14:13:20Z"}},"subscription_id":"39f2","event_type":"transfers#state-change","schema_version":"2.0.0","sent_at":"2026-09-21T14:13:20Z"}}"#
        );
        check("wise", &body, expected);
    };
    check(111, "111 authorized -/- -");
    check(0, "names no payment");
}

#[test]
fn authorize_net_paid_what_it_calls_approved_alone() {
    let check = |kind: &str, code: u8, expected| {
        let body = format!(
            r#"{{"notificationId":"182c-1","eventType":"net.authorize.payment.{kind}","eventDate":"2026-09-21T14:13:20.7722007Z","webhookId":"849e-1","payload":{{"responseCode":{code},"authCode":"Z3PV5H","avsResponse":"Y","authAmount":0.0,"invoiceNumber":"33","entityName":"transaction","id":"p"}}}}"#
        );
        check("authorize-net", &body, expected);
    };
    check("authcapture.created", 1, "p succeeded -/- -");
    check("authorization.created", 1, "p authorized -/- -");
    check("priorAuthCapture.created", 1, "p captured -/- -");
    check("void.created", 1, "p canceled -/- -");
    check("fraud.held", 4, "p pending -/- -");
    for kind in [
        "authcapture.created",
        "authorization.created",
        "capture.created",
        "void.created",
    ] {
        check(kind, 0, "names no payment, fetch -");
    }
}

#[test]
fn adyens_items_are_known_by_the_payment_that_they_change() {
    let item = |kind: &str, original: &str, success: bool| {
        format!(
            r#"{{"additionalData":{{"hmacSignature":""}},"amount":{{"currency":"EUR","value":1500}},"eventCode":"{kind}","eventDate":"2026-09-21T16:13:20+02:00","merchantAccountCode":"TestMerchant","merchantReference":"order-1","originalReference":"{original}","paymentMethod":"visa","pspReference":"q","reason":"","success":"{success}"}}"#
        )
    };
    let check = |body: &str, expected| check("adyen-classic", body, expected);
    check(&item("AUTHORISATION", "", true), "q authorized 1500/- EUR");
    for (kind, expected) in [
        ("CAPTURE", "p captured -/- -"),
        ("REFUND", "p refunded -/- -"),
        ("CHARGEBACK", "p disputed -/- -"),
        ("CANCELLATION", "p canceled -/- -"),
    ] {
        check(&item(kind, "p", true), expected);
    }
    check(&item("CAPTURE", "p", false), "p failed -/- -");
    check(&item("REFUND", "p", false), UNLISTED);
    check(&item("REPORT_AVAILABLE", "", true), UNLISTED);
}

#[test]
fn what_bluesnap_took_up_by_ach_is_not_paid_yet() {
    let check = |kind: &str, expected: &str| {
        let body = format!(
            "transactionType={kind}&referenceNumber=p&invoiceChargeAmount=29.99&invoiceChargeCurrency=USD&merchantTransactionId=m&accountId=7&transactionDate=09%2F21%2F2026+02%3A13+PM"
        );
        check("bluesnap", &body, expected);
    };
    check("CHARGE_PENDING", "p pending 2999/- USD");
    check("CHARGE", "p succeeded 2999/- USD");
    check("CANCELLATION_REFUND", &format!("{UNLISTED}, fetch p"));
    check("CANCELLATION", UNLISTED);
}

#[test]
fn iata_pays_refund_that_names_itself_alone_is_to_be_fetched() {
    let check = |status: &str, more: &str, expected: &str| {
        let body = format!(
            r#"{{"status":"{status}","merchantPaymentId":"m","amount":5.0,"currency":"EUR"{more}}}"#
        );
        check("iatapay", &body, expected);
    };
    let refund = r#","iataRefundId":"r","merchantRefundId":"m""#;
    check("SETTLED", refund, "names no payment, fetch -");
    check("CREATED", refund, "names no payment");
    let payment = r#","iataPaymentId":"p""#;
    check("SETTLED", payment, "p succeeded 500/- EUR");
    for status in ["UNEXPECTED SETTLED", "TOBEINVESTIGATED"] {
        check(status, payment, &format!("{UNLISTED}, fetch p"));
    }
}

#[test]
fn ppros_charge_is_told_from_its_beginning_to_its_end() {
    for profile in ["ppro", "ppro-hmac"] {
        let check = |kind: &str, status: &str, expected: &str| {
            let body = format!(
                r#"{{"specversion":"1.0.2","source":"https://www.ppro.com","datacontenttype":"application/json","id":"DBmK-1","type":"{kind}","subject":"p","time":"2026-09-21T14:13:20.123Z","data":{{"paymentChargeId":"p","paymentChargeStatus":"{status}","paymentMethod":"IDEAL","merchantId":"merch-1","paymentSessionId":"sess_1","amount":{{"value":1000,"currency":"EUR"}}}}}}"#
            );
            check(profile, &body, expected);
        };
        let charge = |kind: &str, status: &str, expected: &str| {
            check(&format!("PAYMENT_CHARGE_{kind}"), status, expected);
        };
        let action = "p requires_action 1000/- EUR";
        charge("AUTHENTICATION_PENDING", "AUTHENTICATION_PENDING", action);
        let authorized = "p authorized 1000/- EUR";
        charge("AUTHORIZATION_SUCCEEDED", "CAPTURE_PENDING", authorized);
        charge(
            "AUTHORIZATION_SUCCEEDED",
            "CAPTURED",
            "p captured 1000/- EUR",
        );
        charge("AUTHORIZATION_FAILED", "FAILED", "p failed 1000/- EUR");
        // One of several.
        charge("CAPTURE_SUCCEEDED", "CAPTURED", "p captured -/- -");
        charge("REFUND_SUCCEEDED", "CAPTURED", "p refunded -/- -");
        charge("REFUND_PENDING", "REFUND_PROCESSING", UNLISTED);
        let fetched = format!("{UNLISTED}, fetch p");
        charge("REFUND_FAILED", "CAPTURED", &fetched);
        charge("VOID_SUCCEEDED", "VOIDED", "p canceled -/- -");
        charge("VOID_SUCCEEDED", "CAPTURED", &fetched);
        charge("DISCARDED", "DISCARDED", "p canceled -/- -");
        check("CHARGEBACK_SUCCEEDED", "", "p disputed -/- -");
        check("FUNDS_STATE_CHANGED", "CAPTURED", UNLISTED);
    }
}

#[test]
fn worldpays_refund_that_was_sent_is_to_be_fetched() {
    let check = |kind: &str, expected: &str| {
        let body = format!(
            r#"{{"eventId":"bb55-1","eventTimestamp":"2026-09-21T14:13:20.407","eventDetails":{{"classification":"payment","downstreamReference":"3378","transactionReference":"p","type":"{kind}","date":"2026-09-20","reference":"12345","amount":{{"value":100,"currencyCode":"EUR"}},"_links":{{"payment":{{"href":""}}}}}}}}"#
        );
        check("worldpay-access", &body, expected);
    };
    for kind in ["sentForRefund", "refundFailed"] {
        check(kind, &format!("{UNLISTED}, fetch p"));
    }
    check("refunded", "p refunded -/- -");
    check("sentForSettlement", "p captured -/- -");
}

#[test]
fn an_ach_payment_at_recurly_is_pending_first() {
    let check = |kind: &str, expected| {
        let body = format!(
            r#"{{"id":"rafhdbbf41mc","object_type":"payment","site_id":"s","event_type":"{kind}","event_time":"2026-09-21T14:13:20Z","uuid":"p"}}"#
        );
        check("recurly", &body, expected);
    };
    check("scheduled", "p pending -/- -");
    check("processing", "p pending -/- -");
    check("authorized", "p authorized -/- -");
    check("succeeded", "p succeeded -/- -");
    check("fraud_info_updated", UNLISTED);
}

#[test]
fn an_event_of_dwollas_may_have_its_time_as_created_alone() {
    let body = r#"{"id":"4a42-1","topic":"customer_transfer_completed","created":"2026-09-21T14:13:20.323Z","resourceId":"p"}"#;
    let profile = crate::signature::builtin().get("dwolla").unwrap();
    let facts = super::profiles_tests::facts(profile, body.to_owned());
    let created: jiff::Timestamp = "2026-09-21T14:13:20.323Z".parse().unwrap();
    assert_eq!(facts.occurred_at, Some(created));
}

#[test]
fn a_payment_of_cashfrees_is_the_same_by_text_and_by_number() {
    let check = |body: &str, expected: &str| check("cashfree", body, expected);
    check(
        r#"{"data":{"order":{"order_id":"order_OFR_2","order_amount":2,"order_currency":"INR","order_tags":null},"payment":{"cf_payment_id":"789727431","payment_status":"SUCCESS","payment_amount":170.00,"payment_currency":"INR","payment_time":"2026-09-21T19:43:20+05:30","auth_id":null}},"event_time":"2026-09-21T19:43:20+05:30","type":"PAYMENT_SUCCESS_WEBHOOK"}"#,
        "789727431 succeeded 17000/- INR",
    );
    check(
        r#"{"data":{"refund":{"cf_refund_id":11325632,"cf_payment_id":789727431,"refund_id":"r","order_id":"o","refund_amount":2.00,"refund_currency":"INR","refund_type":"MERCHANT_INITIATED","refund_status":"SUCCESS","refund_splits":[{"merchantVendorId":"v","amount":1,"percentage":null}],"metadata":null}},"event_time":"2026-09-21T19:43:28+05:30","type":"REFUND_STATUS_WEBHOOK"}"#,
        "789727431 refunded -/- -",
    );
    let fetched = format!("{UNLISTED}, fetch 7");
    check(
        r#"{"data":{"auto_refund":{"order_id":"o","refund_type":"PAYMENT_AUTO_REFUND","refund_status":"SUCCESS","refund_amount":100,"refund_currency":"INR","cf_payment_id":"7","cf_refund_id":"r"}},"event_time":"2026-09-21T19:43:28+05:30","type":"AUTO_REFUND_STATUS_WEBHOOK"}"#,
        &fetched,
    );
}

#[test]
fn a_transaction_of_adyens_platform_is_no_transfer() {
    let transaction = r#"{"data":{"id":"EVJN1","amount":{"value":-10000,"currency":"EUR"},"status":"booked","transfer":{"categoryData":{"priority":"regular","type":"bank"},"id":"3JNC","reference":"r"},"creationDate":"2026-09-21T16:13:20+02:00","balancePlatform":"YOUR_BALANCE_PLATFORM"},"environment":"test","timestamp":"2026-09-21T16:13:20+02:00","type":"balancePlatform.transaction.created"}"#;
    check("adyen-platform", transaction, UNLISTED);
}

#[test]
fn dodos_refund_may_be_a_part() {
    let check = |body: &str, expected| check("dodo", body, expected);
    let refund = |partial: bool| {
        format!(
            r#"{{"business_id":"b","type":"refund.succeeded","timestamp":"2026-09-21T14:13:20Z","data":{{"payload_type":"Refund","business_id":"b","payment_id":"p","refund_id":"r","amount":123,"currency":"AED","is_partial":{partial},"status":"succeeded","created_at":"2026-09-21T14:13:18Z"}}}}"#
        )
    };
    check(&refund(true), "p partially_refunded -/- -");
    check(&refund(false), "p refunded -/- -");
    check(
        r#"{"business_id":"b","type":"dispute.opened","timestamp":"2026-09-21T14:13:20Z","data":{"payload_type":"Dispute","amount":"123","business_id":"b","currency":"AED","dispute_id":"d","dispute_stage":"pre_dispute","dispute_status":"dispute_opened","payment_id":"p"}}"#,
        "p disputed -/- -",
    );
}

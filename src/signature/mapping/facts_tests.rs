//! What a mapping takes from a body, and what it leaves.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::around::Around;
use super::compiled::Mapping;
use super::facts::{Facts, NoPayment};
use super::place::{Covered, Read};
use crate::signature::body::document::NotAnObject;
use crate::signature::body::json::{ListPointer, Pointer};
use crate::signature::profile::descriptor::{Coverage, EventDescriptor};
use crate::signature::template::Value;

fn compile(event: &str, covered: &Covered) -> Result<Mapping, Vec<String>> {
    let event: EventDescriptor = toml::from_str(event).unwrap();
    let each = event
        .each
        .as_deref()
        .map(|each| ListPointer::parse(each).unwrap());
    let mut faults = Vec::new();
    let mapping = Mapping::compile(&event, each, covered, &mut |key, fault| {
        faults.push(format!("{key}: {}", fault.what))
    });
    if faults.is_empty() {
        Ok(mapping)
    } else {
        Err(faults)
    }
}

fn whole_body() -> Covered {
    let id = HeaderName::from_static("webhook-id");
    Covered::new(
        Coverage::Body,
        &[&Value::Body, &Value::Id],
        Vec::new(),
        vec![id],
        Read::Json,
    )
}

fn mapping(event: &str) -> Mapping {
    compile(event, &whole_body()).unwrap()
}

fn facts(mapping: &Mapping, body: &str) -> Facts {
    let headers = HeaderMap::from_iter([
        (
            HeaderName::from_static("webhook-id"),
            HeaderValue::from_static("msg_1"),
        ),
        (
            HeaderName::from_static("x-topic"),
            HeaderValue::from_static("orders/paid"),
        ),
    ]);
    mapping
        .facts(
            body.as_bytes(),
            Around {
                headers: &headers,
                query: "data.id=7",
            },
        )
        .unwrap()
}

const ACME: &str = r#"
    id = "/id"
    type = "/type"
    occurred_at = "/created"
    account = "/account"
    payment_id = ["/data/intent", "/data/id"]
    amount = "/data/amount"
    amount_refunded = "/data/refunded"
    currency = "/data/currency"
    minor_digits = { ISK = 2 }
    [status]
    "paid" = "succeeded"
    "refund" = "refunded"
    [[when]]
    type = "refund"
    equals = { "/data/full" = "false" }
    status = "partially_refunded"
    amount = []
    [[when]]
    type = "transfer.*"
    payment_id = "{/data/from}:{/data/to}"
    amount_unit = "major"
    status = "captured"
"#;

#[test]
fn facts_are_texts_as_they_stand_in_the_body() {
    let body = r#"{"id":"evt_1","type":"paid","created":1790000000,"account":"acct_1",
        "data":{"id":"p1","amount":1999.00,"refunded":"0","currency":"eur"}}"#;
    let facts = facts(&mapping(ACME), body);
    assert_eq!(facts.event_id.as_deref(), Some("evt_1"));
    assert_eq!(facts.event_type.as_deref(), Some("paid"));
    assert_eq!(facts.occurred_at.unwrap().as_second(), 1_790_000_000);
    assert_eq!(facts.account.as_deref(), Some("acct_1"));
    let payment = facts.payment.unwrap();
    assert_eq!(payment.payment_id, "p1");
    assert_eq!(payment.status.as_deref(), Some("succeeded"));
    assert_eq!(payment.amount.as_deref(), Some("1999.00"));
    assert_eq!(payment.amount_refunded.as_deref(), Some("0"));
    assert_eq!(payment.currency.as_deref(), Some("eur"));
    assert_eq!(payment.minor_digits, None);
}

#[track_caller]
fn check_payment(body: &str, expected: Result<(&str, Option<&str>, Option<&str>), NoPayment>) {
    let payment = facts(&mapping(ACME), body).payment;
    let found = payment.as_ref().map_err(|reason| *reason).map(|payment| {
        (
            payment.payment_id.as_str(),
            payment.status.as_deref(),
            payment.amount.as_deref(),
        )
    });
    assert_eq!(found, expected, "{body}");
}

#[test]
fn a_type_may_have_places_of_its_own() {
    check_payment(
        r#"{"type":"refund","data":{"id":"p","full":true,"amount":5}}"#,
        Ok(("p", Some("refunded"), Some("5"))),
    );
    check_payment(
        r#"{"type":"refund","data":{"id":"p","full":false,"amount":5}}"#,
        Ok(("p", Some("partially_refunded"), None)),
    );
    check_payment(
        r#"{"type":"transfer.done","data":{"from":"a","to":2}}"#,
        Ok(("a:2", Some("captured"), None)),
    );
}

#[test]
fn what_was_refunded_may_be_compared_with_what_was_paid() {
    let acme = mapping(
        "payment_id = '/id'\ntype = '/type'\n[status]\npaid = 'succeeded'\n\
         [[when]]\nsame = ['/refunded', '/amount']\nstatus = 'refunded'\n\
         [[when]]\npresent = '/refunded'\nstatus = 'partially_refunded'",
    );
    let status = |body: &str| facts(&acme, body).payment.unwrap().status.unwrap();
    assert_eq!(status(r#"{"type":"paid","id":1,"amount":5}"#), "succeeded");
    assert_eq!(
        status(r#"{"type":"paid","id":1,"amount":5,"refunded":5}"#),
        "refunded"
    );
    assert_eq!(
        status(r#"{"type":"paid","id":1,"amount":5,"refunded":4}"#),
        "partially_refunded"
    );
}

#[test]
fn what_makes_no_claim_says_why() {
    check_payment(
        r#"{"type":"charge","data":{"id":"p"}}"#,
        Err(NoPayment::TypeNotMapped),
    );
    check_payment(r#"{"data":{"id":"p"}}"#, Err(NoPayment::TypeNotMapped));
    check_payment(
        r#"{"type":"paid","data":{"id":""}}"#,
        Err(NoPayment::NoPaymentId),
    );
    check_payment(
        r#"{"type":"paid","data":{"id":null}}"#,
        Err(NoPayment::NoPaymentId),
    );
    check_payment(
        r#"{"type":"paid","data":{"id":{"x":1}}}"#,
        Err(NoPayment::NoPaymentId),
    );
    check_payment(
        r#"{"type":"paid","data":{"id":"a\nb"}}"#,
        Err(NoPayment::NoPaymentId),
    );
    check_payment(
        r#"{"type":"paid","data":{"id":"p","id":"q"}}"#,
        Err(NoPayment::RepeatedKey),
    );
    check_payment(
        &format!(r#"{{"type":"paid","data":{{"id":"{}"}}}}"#, "x".repeat(513)),
        Err(NoPayment::NoPaymentId),
    );
    check_payment(
        r#"{"type":"paid","data":{"intent":"","id":"q"}}"#,
        Ok(("q", Some("succeeded"), None)),
    );
}

#[test]
fn an_unlisted_type_may_still_state_amounts() {
    let lenient = format!("unlisted = 'mapped'\n{ACME}");
    let payment = facts(
        &mapping(&lenient),
        r#"{"type":"x","data":{"id":"p","amount":1}}"#,
    )
    .payment
    .unwrap();
    assert_eq!(
        (payment.status, payment.amount.as_deref()),
        (None, Some("1"))
    );
}

#[test]
fn a_provider_may_count_a_currency_otherwise() {
    let body = r#"{"type":"paid","data":{"id":"p","amount":50000,"currency":"isk"}}"#;
    assert_eq!(
        facts(&mapping(ACME), body).payment.unwrap().minor_digits,
        Some(2)
    );
}

#[test]
fn without_a_table_the_status_must_be_canonical() {
    let plain = mapping("payment_id = '/id'\nstatus_by = ['/status', '/old']\namount = '/a'");
    let status = |body: &str| facts(&plain, body).payment.unwrap().status;
    assert_eq!(
        status(r#"{"id":1,"status":"refunded"}"#).as_deref(),
        Some("refunded")
    );
    assert_eq!(
        status(r#"{"id":1,"status":"paid","old":"failed"}"#).as_deref(),
        Some("failed")
    );
    assert_eq!(status(r#"{"id":1,"status":"paid","a":1}"#), None);
}

#[test]
fn a_signed_header_may_be_an_id_and_an_unsigned_one_only_a_label() {
    let told = facts(&mapping("id = '{id}'\ntype = '{header:x-topic}'"), "{}");
    assert_eq!(told.event_id.as_deref(), Some("msg_1"));
    assert_eq!(told.event_type.as_deref(), Some("orders/paid"));
    assert_eq!(told.payment, Err(NoPayment::NotMapped));
    for event in [
        "id = '{header:x-topic}'",
        "account = '{header:x-topic}'",
        "payment_id = '{query:data.id}'\nstatus_by = '/s'",
        "occurred_at = '{header:x-at}'",
        "type = '{header:x-topic}'\npayment_id = '/id'\n[status]\n'orders/paid' = 'succeeded'",
        "payment_id = '/id'\ntype = '{header:x-topic}'\nstatus_by = '/s'\n[[when]]\ntype = 'a'",
    ] {
        let faults = compile(event, &whole_body()).unwrap_err();
        assert_eq!(faults.len(), 1, "{event}: {faults:?}");
        assert!(faults[0].contains("does not cover"), "{faults:?}");
    }
}

#[test]
fn where_fields_are_signed_nothing_else_becomes_money() {
    let fields = ["/psp", "/amount"].map(|pointer| Value::Json(Pointer::parse(pointer).unwrap()));
    let covered = Covered::new(
        Coverage::Fields,
        &[&fields[0], &fields[1]],
        Vec::new(),
        Vec::new(),
        Read::Json,
    );
    let event = "payment_id = '/psp'\namount = '/amount'\noccurred_at = '/date'\ntype = '/reason'\nstatus_by = '/psp'";
    assert!(compile(event, &covered).is_ok());
    assert!(compile("id = '/date'", &covered).is_err());
    assert!(
        compile(
            "payment_id = '/psp'\namount = '/other'\nstatus_by = '/psp'",
            &covered
        )
        .is_err()
    );
    let reference = Covered::new(Coverage::Reference, &[], Vec::new(), Vec::new(), Read::Json);
    let told = facts(
        &compile("type = '/type'\noccurred_at = '/at'", &reference).unwrap(),
        r#"{"type":"payment"}"#,
    );
    assert_eq!(told.payment, Err(NoPayment::FetchNeeded));
    assert!(compile("payment_id = '/id'", &reference).is_err());
}

#[test]
fn impossible_mappings_are_told() {
    for (event, expected) in [
        ("id = 'id'", "names no place"),
        ("id = '{/id'", "brace"),
        ("id = '/a~2'", "\"~\""),
        ("id = '{type}'", "outside status_by"),
        ("id = '{body}'", "no value"),
        ("[status]\na = 'paid'", "no canonical status"),
        ("unlisted = 'mapped'", "no table"),
        ("[[when]]\nstatus = 'failed'", "every event"),
        ("field = 'payload'", "no form field"),
        ("format = 'form-xml'", "is missing"),
        ("[minor_digits]\nEURO = 2", "no currency"),
        ("[only]\n'/kind' = []", "no event fits"),
        ("[[when]]\nequals = { '/kind' = [] }", "no event fits"),
        ("id = '{/id|first_number:}'", "no mark"),
    ] {
        let faults = compile(event, &whole_body()).unwrap_err();
        assert!(
            faults.iter().any(|fault| fault.contains(expected)),
            "{event}: {faults:?}"
        );
    }
}

#[test]
fn what_is_no_object_is_told_apart() {
    let json = mapping("id = '/id'");
    let headers = HeaderMap::new();
    let around = Around {
        headers: &headers,
        query: "",
    };
    let read = |body: &[u8]| json.facts(body, around).map(|facts| facts.event_id);
    assert_eq!(read(b" {\"id\":7}\n"), Ok(Some("7".to_owned())));
    assert_eq!(read(b"[]"), Err(NotAnObject::NoObject));
    assert_eq!(read(b"\"{\""), Err(NotAnObject::NoObject));
    let broken: [&[u8]; 8] = [
        b"",
        b"{",
        b"{}x",
        b"{\"a\":\xff}",
        b"{\"a\":\"\xff\"}",
        b"{'a':1}",
        b"id=7",
        b"\xef\xbb\xbf{}",
    ];
    for body in broken {
        assert_eq!(read(body), Err(NotAnObject::NotJson), "{body:?}");
    }
    let deep = format!(
        "{{\"x\":{}1{},\"id\":7}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert_eq!(read(deep.as_bytes()), Ok(Some("7".to_owned())));
}

#[test]
fn a_batch_of_too_many_elements_is_told_with_how_many_it_may_have() {
    let batch = mapping("each = '/events/*'\nid = '/id'");
    let body = format!("{{\"events\":[{}0]}}", "0,".repeat(4096));
    let fault = batch.items(&Bytes::from(body)).unwrap_err();
    assert_eq!(fault, NotAnObject::TooMany);
    assert!(fault.to_string().contains("more than 4096 elements"));
}

#[test]
fn a_batch_is_its_elements_as_slices_of_the_body() {
    let batch = mapping("each = '/events/*'\nid = '/id'");
    let items = |body: &'static str| batch.items(&Bytes::from_static(body.as_bytes())).unwrap();
    assert_eq!(
        items(r#"{"events":[{"id":1}, {"id":2} ,3]}"#),
        [r#"{"id":1}"#, r#"{"id":2}"#, "3"]
    );
    assert_eq!(items(r#"{"events":[]}"#), [r#"{"events":[]}"#]);
    assert_eq!(items(r#"{"id":1}"#), [r#"{"id":1}"#]);
    assert_eq!(
        batch.items(&Bytes::from_static(b"{")),
        Err(NotAnObject::NotJson)
    );
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(body: Vec<u8>, text in "[{}\":,0-9a-z\\[\\]]{0,40}") {
        let headers = HeaderMap::new();
        for format in ["", "format = 'form'\n", "format = 'form-xml'\nfield = 'a'\n"] {
            let mapping = mapping(&format!("{format}{ACME}"));
            for body in [&body[..], text.as_bytes()] {
                let _ = mapping.facts(body, Around { headers: &headers, query: "" });
            }
        }
    }
}

#[test]
fn a_currency_is_a_field_of_its_own_unless_a_rule_leaves_out_the_amount() {
    let bare = r#"{"id":"e","type":"paid","data":{"id":"p","currency":"JPY"}}"#;
    let payment = facts(&mapping(ACME), bare).payment.unwrap();
    assert_eq!(payment.currency.as_deref(), Some("JPY"));
    let rule = "[[when]]\ntype = \"paid\"\namount = []\n";
    let ruled = mapping(&format!("{ACME}\n{rule}"));
    for (amounts, expected) in [
        ("", None),
        (r#","amount":1999"#, None),
        (r#","amount":1999,"refunded":5"#, Some("JPY")),
    ] {
        let body =
            format!(r#"{{"id":"e","type":"paid","data":{{"id":"p","currency":"JPY"{amounts}}}}}"#);
        let payment = facts(&ruled, &body).payment.unwrap();
        assert_eq!(payment.currency.as_deref(), expected, "{amounts}");
    }
}

#[test]
fn a_dispute_in_another_currency_leaves_the_payments_amount_what_it_is() {
    let told = |profile: &str, body: &str| {
        let profile = crate::signature::builtin().get(profile).unwrap();
        let request = crate::signature::Request {
            method: &http::Method::POST,
            path_and_query: "/",
            headers: &HeaderMap::new(),
        };
        profile
            .facts(body.as_bytes(), &request)
            .unwrap()
            .payment
            .unwrap()
    };
    for (profile, body) in [
        (
            "stripe",
            r#"{"id":"e","type":"charge.dispute.created","created":1790000000,"data":{"object":{"payment_intent":"p","amount":215000,"currency":"jpy"}}}"#,
        ),
        (
            "dodo",
            r#"{"type":"dispute.opened","data":{"payment_id":"p","amount":"215000","currency":"JPY"}}"#,
        ),
        (
            "airwallex",
            r#"{"name":"refund.succeeded","created_at":1790000000,"data":{"object":{"payment_intent_id":"p","amount":"2150.00","currency":"USD"}}}"#,
        ),
    ] {
        let payment = told(profile, body);
        assert!(payment.status.is_some(), "{profile}");
        assert_eq!(
            (payment.amount, payment.currency),
            (None, None),
            "{profile}"
        );
    }
}

#[test]
fn a_sum_that_cannot_be_read_claims_nothing() {
    let text = "id = '/id'\ntype = '/type'\npayment_id = '/id'\namount = '/amount'\namount_unit = 'major'\ncurrency = '/currency'\n\
                refunds = { each = '/refunds/*', amount = '/value' }\n[status]\n\"paid\" = \"succeeded\"\n";
    let mapping = mapping(text);
    for (amount, refunds, expected) in [
        (
            "\"100\"",
            &["\"1e1\""][..],
            (Some("partially_refunded"), Some("10")),
        ),
        ("1e2", &["50.00", "5e1"], (Some("refunded"), Some("100"))),
        ("100", &["-5"], (None, None)),
        ("100", &["10", "null"], (None, None)),
        ("100", &["0.00", "0"], (Some("succeeded"), Some("0"))),
        ("\"?\"", &["10"], (None, Some("10"))),
        ("null", &["10"], (None, Some("10"))),
        ("100", &[], (Some("succeeded"), Some("0"))),
    ] {
        let elements: Vec<_> = refunds
            .iter()
            .map(|value| format!("{{\"value\":{value}}}"))
            .collect();
        let body = format!(
            r#"{{"id":"e","type":"paid","amount":{amount},"currency":"EUR","refunds":[{}]}}"#,
            elements.join(",")
        );
        let payment = facts(&mapping, &body).payment.unwrap();
        let told = (
            payment.status.as_deref(),
            payment.amount_refunded.as_deref(),
        );
        assert_eq!(told, expected, "{body}");
    }
}

#[test]
fn each_state_of_a_list_of_refunds_is_an_event_of_its_own() {
    let text = "id = '/id'\ntype = '/type'\npayment_id = '/id'\namount = '/amount'\namount_unit = 'major'\ncurrency = '/currency'\n\
                refunds = { each = '/refunds/*', amount = '/value' }\n[status]\n\"paid\" = \"succeeded\"\n";
    let mapping = mapping(text);
    let id = |refunds: &str| {
        let body = format!(
            r#"{{"id":"e","type":"paid","amount":9,"currency":"EUR","refunds":[{refunds}]}}"#
        );
        facts(&mapping, &body).event_id.unwrap()
    };
    let first = id(r#"{"value":1},{"value":22}"#);
    assert_eq!(first, id(r#"{"value":1},{"value":22}"#));
    assert_ne!(first, id(r#"{"value":2},{"value":22}"#));
    assert_ne!(first, id(r#"{"value":22},{"value":1}"#));
    // The later sorts behind the one of which it has more.
    assert!(first > id(r#"{"value":9}"#));
}

#[test]
fn a_list_in_which_no_refund_counts_any_more_takes_back_what_was_refunded() {
    let text = "id = '/id'\ntype = '/type'\npayment_id = '/id'\namount = '/amount'\ncurrency = '/currency'\n\
                refunds = { each = '/refunds/*', amount = '/value', equals = { '/state' = 'done' } }\n\
                [status]\n\"paid\" = \"succeeded\"\n\"refunded\" = \"refunded\"\n";
    let mapping = mapping(text);
    for (kind, refunds, expected) in [
        (
            "paid",
            r#"{"value":4,"state":"done"}"#,
            (Some("partially_refunded"), Some("4")),
        ),
        (
            "paid",
            r#"{"value":4,"state":"failed"}"#,
            (Some("succeeded"), Some("0")),
        ),
        // The body says otherwise elsewhere.
        (
            "refunded",
            r#"{"value":4,"state":"failed"}"#,
            (Some("refunded"), None),
        ),
        ("refunded", "", (Some("refunded"), None)),
    ] {
        let body = format!(
            r#"{{"id":"e","type":"{kind}","amount":9,"currency":"EUR","refunds":[{refunds}]}}"#
        );
        let payment = facts(&mapping, &body).payment.unwrap();
        let told = (
            payment.status.as_deref(),
            payment.amount_refunded.as_deref(),
        );
        assert_eq!(told, expected, "{body}");
    }
}

#[test]
fn what_comes_after_a_payment_is_not_hidden_for_want_of_a_time() {
    let profile = |content: &str, time: &str, occurred_at: &str| {
        let text = format!(
            "[signature]\nfrom = {{ header = ['x-sig'] }}\ncontent = '{content}'\n{time}\n\
             [event]\ntype = '/type'\npayment_id = '/pay'\n{occurred_at}\n\
             [event.status]\n'new' = 'pending'\n'paid' = 'succeeded'\n'refund' = 'refunded'\n'dispute' = 'disputed'"
        );
        let descriptor = toml::from_str(&text).unwrap();
        crate::signature::Profile::compile("own", &descriptor).unwrap()
    };
    let told = |profile: &crate::signature::Profile, kind: &str, at: &str| {
        let request = crate::signature::Request {
            method: &http::Method::POST,
            path_and_query: "/",
            headers: &HeaderMap::new(),
        };
        let body = format!(r#"{{"type":"{kind}","pay":"p1","at":{at}}}"#);
        profile.facts(body.as_bytes(), &request).unwrap()
    };
    let own = profile("{body}", "", "occurred_at = '/at'");
    for kind in ["refund", "dispute"] {
        let facts = told(&own, kind, "null");
        assert_eq!(facts.payment, Err(NoPayment::NoTime), "{kind}");
        assert_eq!(facts.fetch.reference(), Some("p1"), "{kind}");
        assert!(told(&own, kind, "1790000000").payment.is_ok(), "{kind}");
    }
    for kind in ["new", "paid"] {
        let facts = told(&own, kind, "null");
        assert!(facts.payment.is_ok() && !facts.fetch.is_needed(), "{kind}");
    }
    // The signed time stands for its own; and among events of which none has a time, the rank of the status decides.
    let time = "[timestamp]\nfrom = { header = ['x-time'] }";
    for other in [
        profile("{timestamp}.{body}", time, "occurred_at = '/at'"),
        profile("{body}", "", ""),
    ] {
        assert!(told(&other, "refund", "null").payment.is_ok());
    }
}

//! What the store holds, as a person reads it: each value stands under its head, and is the one that programs read.

use serde_json::Value;

use crate::{Receiver, SECOND_TENANT, event, eventually, peers::Output, receiver::Changes};

/// The cells of a table's first row: each begins where its head does.
fn first_row(table: &Output, heads: &[&str]) -> Vec<String> {
    let mut lines = table.stdout.lines();
    let (head, row) = (lines.next().unwrap(), lines.next().unwrap());
    let mut from = 0;
    let begins = heads.iter().map(|name| {
        let begin = from + head[from..].find(name).unwrap();
        from = begin + name.len();
        begin
    });
    let begins: Vec<usize> = begins.collect();
    let ends = begins[1..].iter().copied().chain([row.len()]);
    let cell = |(&begin, end): (&usize, usize)| row[begin..end.min(row.len())].trim().to_owned();
    begins.iter().zip(ends).map(cell).collect()
}

fn as_text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        // Of a time, the seconds.
        Value::String(text) => match text.split_once('.') {
            Some((time, rest)) if rest.ends_with('Z') => format!("{time}Z"),
            Some(_) | None => text.clone(),
        },
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[test]
fn each_value_of_a_list_stands_under_its_head() {
    let receiver = Receiver::start();
    let mut producer = receiver.producer();
    for _ in 0..3 {
        assert_eq!(producer.deliver(&event("evt_1")).status, 204);
    }
    let url = receiver.url();
    let send = [
        "send",
        "--tamper",
        "signature",
        "--times",
        "2",
        "--url",
        &url,
    ];
    assert_eq!(receiver.countersign(&send).code, Some(1));
    eventually(std::time::Duration::from_secs(60), || {
        let listed = receiver.countersign(&["refusals", "list", "--json"]);
        let refused = listed.json_lines();
        refused
            .first()
            .is_some_and(|one| one["count"] == 2)
            .then_some(())
    });
    for (list, columns) in [
        (
            "events",
            [
                ("RECEIVED", "received_at"),
                ("TENANT", "tenant_id"),
                ("PRODUCER", "producer"),
                ("EVENT", "event_id"),
                ("TYPE", "type"),
                ("PAYMENT", "payment_id"),
                ("VERDICT", "verdict"),
                ("EFFECT", "effect"),
                ("AGAIN", "duplicates"),
            ],
        ),
        (
            "payments",
            [
                ("TENANT", "tenant_id"),
                ("PAYMENT", "payment_id"),
                ("STATUS", "status"),
                ("AMOUNT (MINOR)", "amount_minor"),
                ("REFUNDED (MINOR)", "amount_refunded_minor"),
                ("CURRENCY", "currency"),
                ("OCCURRED", "occurred_at"),
                ("LAST EVENT", "last_event_id"),
                ("EVENTS", "events"),
            ],
        ),
        (
            "refusals",
            [
                ("LAST SEEN", "last_seen"),
                ("SINCE", "first_seen"),
                ("COUNT", "count"),
                ("GATE", "gate"),
                ("REASON", "reason"),
                ("PRODUCER", "producer"),
                ("SUBJECT", "subject"),
                ("ADDRESS", "address"),
                ("DETAIL", "detail"),
            ],
        ),
    ] {
        let object = receiver
            .countersign(&[list, "list", "--json"])
            .json_lines()
            .remove(0);
        let expected = columns.map(|(_, key)| as_text(&object[key]));
        let table = receiver.countersign(&[list, "list"]);
        assert_eq!(
            first_row(&table, &columns.map(|(head, _)| head)),
            expected,
            "{table:?}"
        );
    }
}

#[test]
fn a_payment_of_two_tenants_is_shown_for_the_one_that_is_asked_for() {
    let receiver = Receiver::with(&Changes {
        more: SECOND_TENANT,
        ..Changes::default()
    });
    let show = |more: &[&str]| {
        let command = ["payments", "show", "pay_evt_1", "--json"];
        receiver.countersign(&[&command, more].concat())
    };
    let mut producer = receiver.producer();
    for (path, told) in [
        ("/webhooks/payments", ""),
        ("/webhooks/seven", "2 tenants have a payment"),
    ] {
        producer.path = path.to_owned();
        assert_eq!(producer.deliver(&event("evt_1")).status, 204);
        let shown = show(&[]);
        assert_eq!((shown.code, shown.json_lines().len()), (Some(0), 1));
        assert_eq!(
            shown.stderr.contains("choose with --tenant"),
            !told.is_empty()
        );
        assert!(shown.stderr.contains(told), "{shown:?}");
    }
    for tenant in ["tenant-42", "tenant-7"] {
        let shown = show(&["--tenant", tenant]);
        assert_eq!(shown.json_lines()[0]["tenant_id"], tenant);
        assert_eq!(shown.stderr, "");
    }
    let none = show(&["--tenant", "nobody"]);
    assert_eq!((none.code, none.stdout.as_str()), (Some(1), ""));
    assert!(none.stderr.contains("there is no payment \"pay_evt_1\""));
}

//! The figures that operators look at, and alert on.

use std::time::Duration;

use crate::{Leaf, Receiver, event, eventually, receiver::Changes};

const SECONDS_10: Duration = Duration::from_secs(10);

/// The value of a series; a counter that an alert is made of is there before it counts, since a rate needs two values.
#[track_caller]
fn figure(receiver: &Receiver, series: &str) -> u64 {
    let metrics = receiver.admin("/metrics").body;
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value
        .unwrap_or_else(|| panic!("{series} is not in\n{metrics}"))
        .parse()
        .unwrap()
}

#[test]
fn each_outcome_of_a_delivery_is_counted_once() {
    let receiver = Receiver::start();
    let events = |receipt: &str| {
        let series =
            "countersign_events_total{tenant=\"tenant-42\",producer=\"payments-provider\",receipt=";
        figure(&receiver, &format!("{series}\"{receipt}\"}}"))
    };
    let counted = || ["accepted", "duplicate", "conflict", "quarantined"].map(events);
    assert_eq!(counted(), [0; 4]);
    let mut producer = receiver.producer();
    let other = event("evt_1").replace("1999", "2000");
    for (body, status, expected) in [
        (&*event("evt_1"), 204, [1, 0, 0, 0]),
        (&event("evt_2"), 204, [2, 0, 0, 0]),
        (&event("evt_1"), 204, [2, 1, 0, 0]),
        (&other, 204, [2, 1, 1, 0]),
        ("[]", 400, [2, 1, 1, 1]),
        (
            r#"{"id":"evt_3","type":"payment.dreamt"}"#,
            204,
            [3, 1, 1, 1],
        ),
    ] {
        assert_eq!(producer.deliver(body).status, status, "{body}");
        assert_eq!(counted(), expected, "{body}");
    }
    for (series, expected) in [
        (
            "unmapped_events_total{tenant=\"tenant-42\",producer=\"payments-provider\",type=\"payment.dreamt\"}",
            1,
        ),
        ("responses_total{status=\"204\"}", 5),
        ("responses_total{status=\"400\"}", 1),
    ] {
        let series = format!("countersign_{series}");
        assert_eq!(figure(&receiver, &series), expected, "{series}");
    }
}

#[test]
fn a_value_that_cannot_be_read_is_counted_once_and_told_of_with_its_event() {
    let receiver = Receiver::start();
    let unread = || {
        ["status", "currency", "amount", "amount_refunded"].map(|field| {
            let series = format!("countersign_unread_values_total{{tenant=\"tenant-42\",producer=\"payments-provider\",field=\"{field}\"}}");
            figure(&receiver, &series)
        })
    };
    assert_eq!(unread(), [0; 4]);
    let mut producer = receiver.producer();
    for (id, written, instead, expected) in [
        ("evt_1", "1999", "1999", [0, 0, 0, 0]),
        ("evt_2", "1999", "19.99", [0, 0, 1, 0]),
        ("evt_3", "1999", "\"19.99\"", [0, 0, 2, 0]),
        ("evt_4", "1999", "-5", [0, 0, 3, 0]),
        // No amount is read with a currency that cannot be read.
        ("evt_5", "EUR", "EURO", [0, 1, 4, 1]),
    ] {
        let body = event(id).replace(written, instead);
        for _first_and_again in 0..2 {
            assert_eq!(producer.deliver(&body).status, 204, "{body}");
            assert_eq!(unread(), expected, "{body}");
        }
    }
    eventually(SECONDS_10, || {
        let log = receiver.log();
        let told = "event_id=\"evt_4\" field=\"amount\" reason=\"the amount: is negative\"";
        log.contains(told).then_some(())
    });
}

#[test]
fn what_is_turned_away_is_counted_once_with_whose_it_claims_to_be() {
    let receiver = Receiver::start();
    let refused = |gate: &str, reason: &str, whose: [&str; 2]| {
        let [tenant, producer] = whose;
        let series = format!(
            "countersign_refusals_total{{gate=\"{gate}\",reason=\"{reason}\",tenant=\"{tenant}\",producer=\"{producer}\"}}"
        );
        figure(&receiver, &series)
    };
    let of_nobody = || {
        [
            refused("handshake", "no-certificate", ["", ""]),
            refused("identity", "unknown-producer", ["", ""]),
        ]
    };
    assert_eq!(of_nobody(), [0, 0]);
    let nobody = receiver.authority.issue(&Leaf::of(&[("CN", "nobody")]));
    let stranger = receiver.producer_as(Some(&nobody)).deliver(&event("evt_1"));
    assert_eq!(stranger.status, 403, "{stranger:?}");
    assert_eq!(of_nobody(), [0, 1]);
    let mut forger = receiver.producer();
    forger.secret = b"another".to_vec();
    assert_eq!(forger.deliver(&event("evt_1")).status, 401);
    let whose = ["tenant-42", "payments-provider"];
    assert_eq!(refused("signature", "signature-mismatch", whose), 1);
    let handshake = receiver.producer_as(None).try_deliver(&event("evt_1"));
    assert!(handshake.is_err(), "{handshake:?}");
    eventually(SECONDS_10, || (of_nobody() == [1, 1]).then_some(()));
}

#[test]
fn a_connection_that_is_closed_at_a_limit_is_counted_by_the_limit() {
    let receiver = Receiver::with(&Changes {
        limits: "connections_per_ip = 2",
        ..Changes::default()
    });
    let closed = || {
        ["connections", "connections_per_ip", "handshakes"].map(|limit| {
            let series = format!("countersign_connections_closed_total{{limit=\"{limit}\"}}");
            figure(&receiver, &series)
        })
    };
    assert_eq!(closed(), [0; 3]);
    let _held = [(); 2].map(|()| receiver.producer().connect().unwrap());
    assert!(receiver.producer().connect().is_err());
    eventually(SECONDS_10, || (closed() == [0, 1, 0]).then_some(()));
}

//! `countersign events replay`: a mapping is mended, and the ledger follows it.

use serde_json::Value;

use crate::{Authority, Leaf, Producer, Receiver, postgres, producer::unix_now, receiver::Changes};

const SUBJECT: &[(&str, &str)] = &[("CN", "acme"), ("O", "Example")];

const PRODUCER: &str = r#"
[[tenants.producers]]
name = "acme"
subject = "CN=acme,O=Example"
profile = "acme"
secrets = ["file:certs/producer.secret"]

[profiles.acme]
extends = "timestamped"
[profiles.acme.event]
payment_id = "/data/payment"
status_by = "/type"
[profiles.acme.event.status]
"paid" = "succeeded"
"#;

fn body(id: &str, kind: &str, second: i64) -> String {
    format!(
        r#"{{"id":"{id}","type":"{kind}","created":{second},"data":{{"payment":"p1","amount":1999,"currency":"EUR"}}}}"#
    )
}

fn payments(receiver: &Receiver) -> Vec<Value> {
    receiver
        .countersign(&["payments", "list", "--json"])
        .json_lines()
}

fn replay(receiver: &Receiver, more: &[&str]) -> Vec<Value> {
    let command = ["events", "replay", "--since", "1h", "--json"];
    receiver
        .countersign(&[&command, more].concat())
        .json_lines()
}

/// A receiver on either engine, with the profile that is to be mended.
fn receiver_on(url: Option<&str>) -> Receiver {
    let store = url.map_or(String::new(), |url| format!("url = \"{url}\"\n"));
    Receiver::with(&Changes {
        more: PRODUCER,
        store: &store,
        ..Changes::default()
    })
}

/// The mapping, mended.
fn mend(receiver: &Receiver) {
    let file = receiver.directory().join("countersign.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    receiver.write(
        "countersign.toml",
        &format!("{text}\"given back\" = \"refunded\"\n"),
    );
}

#[test]
fn a_mapping_that_is_mended_is_applied_to_what_was_kept() {
    is_applied_to_what_was_kept(&receiver_on(None));
}

#[test]
fn a_mapping_that_is_mended_is_applied_to_what_postgres_kept() {
    if let Some(url) = postgres::fresh_database() {
        is_applied_to_what_was_kept(&receiver_on(Some(&url)));
    }
}

fn is_applied_to_what_was_kept(receiver: &Receiver) {
    let authority: &Authority = &receiver.authority;
    let mut producer: Producer = receiver.producer_as(Some(&authority.issue(&Leaf::of(SUBJECT))));
    for body in [
        body("evt_1", "paid", 1_790_000_000),
        body("evt_2", "given back", 1_790_000_100),
    ] {
        assert_eq!(producer.deliver(&body).status, 204);
    }
    assert_eq!(payments(receiver)[0]["status"], "succeeded");
    let same = replay(receiver, &[]);
    assert_eq!(same.len(), 1, "{same:?}");
    assert_eq!(same[0]["events_changed"], 0);

    for (arguments, told) in [
        (&["--tenant", "nope"][..], "there is no tenant \"nope\""),
        (&["--producer", "nope"], "there is no producer \"nope\""),
    ] {
        let command = ["events", "replay", "--since", "1h"];
        let output = receiver.countersign(&[&command, arguments].concat());
        assert_eq!(output.code, Some(1), "{output:?}");
        assert!(output.stderr.contains(told), "{output:?}");
    }

    let file = receiver.directory().join("countersign.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    mend(receiver);
    let told = replay(receiver, &["--dry-run"]);
    assert_eq!(told[0]["before"]["status"], "succeeded");
    assert_eq!(told[0]["after"]["status"], "refunded");
    assert_eq!(told[1]["events_changed"], 1);
    assert_eq!(payments(receiver)[0]["status"], "succeeded");

    assert_eq!(replay(receiver, &[]), told);
    let payment = &payments(receiver)[0];
    assert_eq!(
        (&payment["status"], &payment["events"]),
        (&"refunded".into(), &2.into())
    );
    let events = receiver
        .countersign(&["events", "list", "--json"])
        .json_lines();
    assert!(events.iter().all(|event| event["effect"] == "applied"));
    assert_eq!(replay(receiver, &[]).len(), 1);
    // The receiver went on all the while.
    let late = body("evt_3", "paid", 1_790_000_050);
    assert_eq!(producer.deliver(&late).status, 204);
    assert_eq!(payments(receiver)[0]["status"], "refunded");

    // A payment that no event speaks of any more is gone.
    receiver.write(
        "countersign.toml",
        &text.replace("/data/payment", "/data/nothing"),
    );
    let told = replay(receiver, &[]);
    assert_eq!(told[0]["after"], Value::Null, "{told:?}");
    assert!(payments(receiver).is_empty());
}

/// What the lists show of payments, but for when they changed: the replay of one order is the arrival of another.
fn states(receiver: &Receiver) -> Vec<Value> {
    let mut states = payments(receiver);
    for state in &mut states {
        state.as_object_mut().unwrap().remove("changed_at");
    }
    states.sort_by_key(ToString::to_string);
    states
}

fn of_payment(number: usize) -> String {
    let kind = if number.is_multiple_of(3) {
        "paid"
    } else {
        "given back"
    };
    let second = 1_790_000_000 + (number * 7919 % 997) as i64;
    body(&format!("evt_{number}"), kind, second).replace("\"p1\"", &format!("\"p{}\"", number % 5))
}

#[test]
fn deliveries_during_a_replay_on_postgres_are_all_in_the_ledger() {
    let (Some(url), Some(fresh)) = (postgres::fresh_database(), postgres::fresh_database()) else {
        return;
    };
    let receiver = receiver_on(Some(&url));
    let mut producer = receiver.producer_as(Some(&receiver.authority.issue(&Leaf::of(SUBJECT))));
    for number in 0..300 {
        assert_eq!(producer.deliver(&of_payment(number)).status, 204);
    }
    let receiver = &receiver;
    mend(receiver);
    std::thread::scope(|scope| {
        let delivering = scope.spawn(move || {
            for number in 300..500 {
                // New ones, and some of those that are being moved.
                assert_eq!(producer.deliver(&of_payment(number)).status, 204);
                assert_eq!(producer.deliver(&of_payment(number - 300)).status, 204);
            }
        });
        let mut replays = 0;
        while replays == 0 || !delivering.is_finished() {
            let told = replay(receiver, &[]);
            assert_eq!(told.last().unwrap()["payments_skipped"], 0, "{told:?}");
            replays += 1;
        }
    });
    // The receiver went on with the mapping that it has; what it read last is read again once more.
    let _last = replay(receiver, &[]);
    // Nothing is left to be made anew.
    let again = replay(receiver, &[]);
    assert_eq!(
        (again.len(), &again[0]["events_changed"]),
        (1, &0.into()),
        "{again:?}"
    );

    // A ledger that never knew the other mapping, of the same events in another order.
    let mended = PRODUCER.to_owned() + "\"given back\" = \"refunded\"\n";
    let alone = Receiver::with(&Changes {
        more: &mended,
        store: &format!("url = \"{fresh}\"\n"),
        ..Changes::default()
    });
    let mut producer = alone.producer_as(Some(&alone.authority.issue(&Leaf::of(SUBJECT))));
    for number in (0..500).rev() {
        assert_eq!(producer.deliver(&of_payment(number)).status, 204);
    }
    let states = states(receiver);
    assert_eq!(states.len(), 5);
    assert_eq!(states, self::states(&alone));
}

#[test]
fn a_payment_of_which_postgres_lacks_a_body_is_left_as_it_is() {
    let Some(url) = postgres::fresh_database() else {
        return;
    };
    let receiver = receiver_on(Some(&url));
    let mut producer = receiver.producer_as(Some(&receiver.authority.issue(&Leaf::of(SUBJECT))));
    for number in 0..30 {
        assert_eq!(producer.deliver(&of_payment(number)).status, 204);
    }
    let before = states(&receiver);
    postgres::execute(
        &url,
        "DELETE FROM countersign.bodies b USING countersign.events e WHERE e.key = b.key AND e.event_id = 'evt_7'",
    );
    // One that may have more events than it knows by their keys: they are found all the same.
    postgres::execute(
        &url,
        "UPDATE countersign.payments SET history = array_fill(history[1], ARRAY[1000]) WHERE payment_id = 'p1'",
    );
    postgres::execute(
        &url,
        "UPDATE countersign.payments SET status = NULL WHERE payment_id = 'p3'",
    );
    mend(&receiver);
    let told = replay(&receiver, &[]);
    let summary = told.last().unwrap();
    assert_eq!(summary["payments_skipped"], 1, "{told:?}");
    assert!(
        told.iter()
            .all(|line| line["before"] == Value::Null || line["payment_id"] != "p2")
    );
    assert!(
        told.iter()
            .any(|line| line["skipped"] == true && line["payment_id"] == "p2")
    );
    let of_p2 = |states: Vec<Value>| -> Vec<Value> {
        states
            .into_iter()
            .filter(|state| state["payment_id"] == "p2")
            .collect()
    };
    let after = states(&receiver);
    assert_eq!(of_p2(before), of_p2(after.clone()));
    // The others are whole again, and the damaged one has its status.
    for state in after {
        assert_eq!(state["events"], 6, "{state}");
        assert!(state["status"].is_string(), "{state}");
    }
}

const PAYMENT_MENDED: (&str, &str) = (
    "payment_id = \"/data/payment\"",
    "payment_id = \"/data/currency\"",
);
const STATUS_BY: &str = "status_by = \"/type\"\n";

/// A mapping that is mended comes to what a new store makes of the same deliveries.
#[track_caller]
fn check_mended(before: &str, after: &str, urls: Option<[String; 2]>) {
    let [url, fresh_url] = urls.map_or([None, None], |urls| urls.map(Some));
    let with = |line: &str, url: Option<String>| {
        let store = url.map_or(String::new(), |url| format!("url = \"{url}\"\n"));
        let more = if PRODUCER.contains(before) {
            PRODUCER.replace(before, line)
        } else {
            PRODUCER.replace(STATUS_BY, &format!("{STATUS_BY}{line}\n"))
        };
        Receiver::with(&Changes {
            more: &more,
            store: &store,
            ..Changes::default()
        })
    };
    let (mended, fresh) = (with(before, url), with(after, fresh_url));
    for receiver in [&mended, &fresh] {
        let mut producer =
            receiver.producer_as(Some(&receiver.authority.issue(&Leaf::of(SUBJECT))));
        for second in 0..3 {
            let body = body(&format!("evt_{second}"), "paid", 1_790_000_000 + second);
            assert_eq!(producer.deliver(&body).status, 204);
        }
        let conflict = body("evt_0", "given back", 1_790_100_000);
        assert_eq!(producer.deliver(&conflict).status, 204);
    }
    let file = mended.directory().join("countersign.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    mended.write("countersign.toml", &text.replace(before, after));
    let told = replay(&mended, &[]);
    assert_eq!(told.last().unwrap()["events_not_rebuilt"], 0, "{told:?}");
    assert_eq!(states(&mended), states(&fresh));
    let events = |receiver: &Receiver| -> Vec<String> {
        let listed = receiver.countersign(&["events", "list", "--json"]);
        let said = |event: &Value| {
            // A time of signing differs by what passed between the two deliveries.
            let occurred_at = event["occurred_at"].as_str().unwrap();
            let day = occurred_at.split('T').next();
            let told = [
                "event_id",
                "verdict",
                "effect",
                "type",
                "payment_id",
                "fetch_needed",
            ];
            let told = told.map(|name| event[name].to_string());
            format!("{} {day:?}", told.join(" "))
        };
        let mut events: Vec<_> = listed.json_lines().iter().map(said).collect();
        events.sort_unstable();
        events
    };
    assert_eq!(events(&mended), events(&fresh));
    let again = replay(&mended, &[]);
    assert_eq!(again.last().unwrap()["events_changed"], 0, "{again:?}");
}

#[test]
fn time_and_type_of_an_old_mapping_do_not_survive_it() {
    for (before, after) in [
        ("occurred_at = \"/created\"", "occurred_at = []"),
        ("occurred_at_unit = \"ms\"", "occurred_at_unit = \"s\""),
        ("type = \"/type\"", "type = \"/nothing\""),
        ("type = \"/type\"", "type = \"/data/currency\""),
        PAYMENT_MENDED,
    ] {
        check_mended(before, after, None);
    }
}

#[test]
fn what_an_old_mapping_made_of_a_conflict_does_not_survive_it_on_postgres() {
    for (before, after) in [("type = \"/type\"", "type = \"/nothing\""), PAYMENT_MENDED] {
        if let Some((one, other)) = postgres::fresh_database().zip(postgres::fresh_database()) {
            check_mended(before, after, Some([one, other]));
        }
    }
}

#[test]
fn what_cannot_be_rebuilt_is_counted_and_named() {
    let receiver = receiver_on(None);
    let mut producer = receiver.producer_as(Some(&receiver.authority.issue(&Leaf::of(SUBJECT))));
    let list = r#"{"id":"evt_9","type":"paid","data":{"payment":"p9","amount":1,"currency":"EUR"},"list":[{"id":"a"},{"id":"b"}]}"#;
    for body in [&*body("evt_1", "paid", 1_790_000_000), list] {
        assert_eq!(producer.deliver(body).status, 204);
    }
    let file = receiver.directory().join("countersign.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    for (mended, expected, payments) in [
        ("id = \"/type\"\n", &["other-id", "other-id"][..], 2),
        ("each = \"/list/*\"\n", &["several"], 2),
        (
            "format = \"form-xml\"\nfield = \"payload\"\n",
            &["unreadable", "unreadable"],
            0,
        ),
    ] {
        let changed = text.replace(STATUS_BY, &format!("{STATUS_BY}{mended}"));
        receiver.write("countersign.toml", &changed);
        let dry = replay(&receiver, &["--dry-run"]);
        let told = replay(&receiver, &[]);
        assert_eq!(told, dry);
        let named: Vec<_> = told
            .iter()
            .filter_map(|line| line["not_rebuilt"].as_str())
            .collect();
        assert_eq!(named, expected, "{told:?}");
        let summary = told.last().unwrap();
        assert_eq!(summary["events_not_rebuilt"], expected.len());
        assert_eq!(self::payments(&receiver).len(), payments, "{mended}");
    }
}

#[test]
fn a_retry_that_is_signed_later_overtakes_nothing_where_the_signed_time_is_the_attempts() {
    let untimed = PRODUCER.replace(
        "status_by = \"/type\"",
        "status_by = \"/type\"\noccurred_at = []\nsigned_time = \"sent\"",
    );
    let receiver = Receiver::with(&Changes {
        more: &format!("{untimed}\"begun\" = \"pending\"\n"),
        ..Changes::default()
    });
    let authority: &Authority = &receiver.authority;
    let producer: Producer = receiver.producer_as(Some(&authority.issue(&Leaf::of(SUBJECT))));
    let mut connection = producer.connect().unwrap();
    let now = unix_now();
    // The first attempt of "begun" was lost: it comes again, and later, than "paid".
    for (kind, signed_at) in [("paid", now - 20), ("begun", now)] {
        let request = producer.signed_at(signed_at, &body(kind, kind, 1_790_000_000));
        assert_eq!(connection.exchange(&request).unwrap().status, 204);
    }
    assert_eq!(payments(&receiver)[0]["status"], "succeeded");
    let events = receiver
        .countersign(&["events", "list", "--json"])
        .json_lines();
    assert!(events.iter().all(|event| event["occurred_at"].is_null()));
    // Read again from what was kept, they have no time either.
    assert_eq!(replay(&receiver, &[])[0]["events_changed"], 0);
}

//! `countersign prune`, and a receiver that prunes by itself: what has had its time goes, and the ledger stays.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::{Receiver, eventually, receiver::Changes};

const DAY: i64 = 86_400_000_000;

fn event(id: &str, payment: &str, status: &str) -> String {
    format!(
        r#"{{"id":"{id}","type":"t","created":1790000000,"data":{{"payment_id":"{payment}","amount":1999,"currency":"EUR","status":"{status}"}}}}"#
    )
}

/// Makes everything that is kept so many days older.
fn age(receiver: &Receiver, days: i64) {
    let file = receiver.directory().join("data/countersign.db");
    let connection = Connection::open(file).unwrap();
    connection
        .busy_timeout(std::time::Duration::from_secs(10))
        .unwrap();
    let older = "UPDATE events SET received_at = received_at - ?1 WHERE received_at >= 0";
    connection.execute(older, [days * DAY]).unwrap();
}

/// The receiver's configuration with times, in a file beside it: the receiver itself keeps all.
fn with_times(receiver: &Receiver, times: &str) -> &'static str {
    let file = receiver.directory().join("countersign.toml");
    let text = std::fs::read_to_string(file).unwrap();
    receiver.write(
        "prune.toml",
        &format!("{text}\n[store.retention]\n{times}\n"),
    );
    "prune.toml"
}

fn list(receiver: &Receiver, what: &str) -> Vec<Value> {
    receiver.countersign(&[what, "list", "--json"]).json_lines()
}

fn show(receiver: &Receiver, id: &str) -> Value {
    let shown = receiver.countersign(&["events", "show", id, "--json"]);
    shown.json_lines().remove(0)
}

#[test]
fn what_would_go_is_told_and_goes_beside_a_running_receiver() {
    let receiver = Receiver::start();
    let prune_its = |config: &str| {
        let command = ["prune", "--config", config, "--tenant", "tenant-42"];
        receiver.countersign(&command)
    };
    // Of a tenant that is configured there may be nothing yet.
    let empty = prune_its("countersign.toml");
    assert_eq!(empty.code, Some(0), "{empty:?}");
    assert!(empty.stderr.contains("nothing goes"), "{empty:?}");
    let mut producer = receiver.producer();
    let old = event("evt_old", "pay_1", "succeeded");
    assert_eq!(producer.deliver(&old).status, 204);
    age(&receiver, 40);
    assert_eq!(
        producer.deliver(&event("evt_2", "pay_2", "pending")).status,
        204
    );
    age(&receiver, 1);
    let config = with_times(
        &receiver,
        "bodies_days = 30\nevents_days = 60\ndedupe_days = 90",
    );
    let prune = |more: &[&str]| {
        let command = ["prune", "--config", config, "--json"];
        receiver.countersign(&[&command, more].concat())
    };

    let told = prune(&["--dry-run"]).json_lines();
    assert_eq!(told.len(), 2);
    assert_eq!(told[0]["tenant_id"], "tenant-42");
    assert_eq!(
        (&told[0]["bodies"], &told[0]["events"], &told[0]["keys"]),
        (&1.into(), &0.into(), &0.into())
    );
    assert_eq!(
        (&told[1]["dry_run"], &told[1]["held_back"]),
        (&json!(true), &json!(false))
    );
    assert!(told[1]["bytes"].as_u64().unwrap() >= old.len() as u64);
    assert!(told[1]["disk"]["store"].as_u64().unwrap() > 0);
    assert_eq!(show(&receiver, "evt_old")["body"], old.as_str());

    // Of one that is configured no more there may be something.
    let text = std::fs::read_to_string(receiver.directory().join("countersign.toml")).unwrap();
    receiver.write("another.toml", &text.replace("tenant-42", "tenant-43"));
    assert_eq!(prune_its("another.toml").code, Some(0));
    let table = prune_its(config);
    assert_eq!((table.code, table.stderr.as_str()), (Some(0), ""));
    let bytes = told[0]["bytes"].to_string();
    let lines: Vec<Vec<&str>> = table
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0], ["TENANT", "BODIES", "EVENTS", "KEYS", "BYTES"]);
    assert_eq!(lines[1], ["tenant-42", "1", "0", "0", &bytes]);
    let summary = format!(
        "1 bodies, 0 events and 0 keys went; {bytes} bytes of bodies and headers\n\
         sqlite:data/countersign.db: "
    );
    let (_, disk) = table.stdout.split_once(&summary).unwrap();
    let disk: Vec<&str> = disk
        .split(|letter: char| letter.is_ascii_digit())
        .filter(|words| !words.is_empty())
        .collect();
    let expected = [" bytes on disk, ", " of them free, and ", " in its log\n"];
    assert_eq!(disk, expected, "{table:?}");
    let shown = show(&receiver, "evt_old");
    assert_eq!(
        (&shown["body"], &shown["body_pruned"]),
        (&Value::Null, &true.into())
    );
    assert_eq!(prune(&[]).json_lines()[0]["bodies"], 0);

    // Recognised, and as before in the ledger; the receiver went on all the while.
    let payments = list(&receiver, "payments");
    assert_eq!(producer.deliver(&old).status, 204);
    assert_eq!(show(&receiver, "evt_old")["duplicates"], 1);
    age(&receiver, 30);
    assert_eq!(
        producer.deliver(&event("evt_3", "pay_3", "pending")).status,
        204
    );
    age(&receiver, 1);
    assert_eq!(prune(&[]).json_lines()[1]["events"], 1);
    let unknown = receiver.countersign(&["events", "show", "evt_old"]);
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert_eq!(list(&receiver, "events").len(), 2);
    assert_eq!(producer.deliver(&old).status, 204);
    assert_eq!(list(&receiver, "events").len(), 2);
    let kept = |payment: &&Value| payment["payment_id"] != "pay_3";
    let after = list(&receiver, "payments");
    assert_eq!(
        after.iter().filter(kept).collect::<Vec<_>>(),
        payments.iter().collect::<Vec<_>>()
    );

    let nobody = prune(&["--tenant", "nobody"]);
    assert_eq!((nobody.code, nobody.stdout.as_str()), (Some(1), ""));
    assert!(nobody.stderr.contains("there is no tenant \"nobody\""));
    let wrong = with_times(&receiver, "bodies_days = 31\nevents_days = 30");
    let unusable = receiver.countersign(&["prune", "--config", wrong]);
    assert_eq!(unusable.code, Some(2), "{unusable:?}");
    assert!(
        unusable.stderr.contains("store.retention.bodies_days: "),
        "{unusable:?}"
    );
}

#[test]
fn a_clock_that_is_days_ahead_of_the_store_is_doubted_and_can_be_vouched_for() {
    let receiver = Receiver::start();
    let mut producer = receiver.producer();
    assert_eq!(
        producer
            .deliver(&event("evt_1", "pay_1", "succeeded"))
            .status,
        204
    );
    age(&receiver, 3650);
    let config = with_times(&receiver, "bodies_days = 30");
    let doubted = receiver.countersign(&["prune", "--config", config]);
    assert_eq!(doubted.code, Some(0));
    assert!(doubted.stderr.contains("--trust-clock"), "{doubted:?}");
    assert!(show(&receiver, "evt_1")["body"].is_string());
    let trusted = receiver.countersign(&["prune", "--config", config, "--trust-clock"]);
    assert!(trusted.stdout.contains("1 bodies"), "{trusted:?}");
    assert!(show(&receiver, "evt_1")["body"].is_null());
}

#[test]
fn a_receiver_lets_go_by_itself_and_says_so_in_its_metrics() {
    let mut receiver = Receiver::with(&Changes {
        more: "[tenants.retention]\nbodies_days = 30\n",
        ..Changes::default()
    });
    let mut producer = receiver.producer();
    assert_eq!(
        producer
            .deliver(&event("evt_1", "pay_1", "succeeded"))
            .status,
        204
    );
    age(&receiver, 40);
    assert_eq!(
        producer
            .deliver(&event("evt_2", "pay_2", "succeeded"))
            .status,
        204
    );
    age(&receiver, 1);
    receiver.restart();
    eventually(std::time::Duration::from_secs(30), || {
        show(&receiver, "evt_1")["body"].is_null().then_some(())
    });
    assert!(show(&receiver, "evt_2")["body"].is_string());
    eventually(std::time::Duration::from_secs(30), || {
        let metrics = receiver.admin("/metrics").body;
        let told = |line: &str| metrics.lines().any(|found| found == line);
        (told("countersign_pruned_total{kind=\"bodies\"} 1")
            && metrics.contains("countersign_store_bytes{part=\"file\"} ")
            && metrics.contains("countersign_store_bytes{part=\"log\"} ")
            && metrics.contains("countersign_store_free_bytes "))
        .then_some(())
    });
}

/// Adds so many events with bodies that came when the oldest did.
fn multiply(receiver: &Receiver, events: i64) {
    let file = receiver.directory().join("data/countersign.db");
    let connection = Connection::open(file).unwrap();
    let columns = "SELECT group_concat(name) FROM pragma_table_info('events') WHERE name NOT IN ('event', 'key')";
    let columns: String = connection.query_row(columns, [], |row| row.get(0)).unwrap();
    let sql = format!(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {events})
         INSERT INTO events (key, {columns}) SELECT randomblob(16), {columns} FROM n, (SELECT * FROM events ORDER BY event LIMIT 1);
         INSERT INTO bodies (event, headers, body)
         SELECT event, '[]', x'7b7d' FROM events WHERE event NOT IN (SELECT event FROM bodies)"
    );
    connection
        .execute_batch(&format!("BEGIN; {sql}; COMMIT"))
        .unwrap();
}

#[test]
fn a_reload_that_withdraws_a_time_ends_the_pass_that_goes_by_it() {
    const TIMES: &str = "[tenants.retention]\nbodies_days = 3\n";
    let mut receiver = Receiver::with(&Changes {
        more: TIMES,
        ..Changes::default()
    });
    let deliver = |id: &str| {
        let delivered = receiver.producer().deliver(&event(id, id, "succeeded"));
        assert_eq!(delivered.status, 204);
    };
    deliver("evt_1");
    age(&receiver, 40);
    deliver("evt_2");
    age(&receiver, 1);
    receiver.kill();
    // Each step of a few hundred is followed by a pause.
    multiply(&receiver, 60_000);
    receiver.restart();
    let file = receiver.directory().join("data/countersign.db");
    let connection = Connection::open(file).unwrap();
    let bodies = || {
        let count = "SELECT count(*) FROM bodies";
        let count = connection.query_row(count, [], |row| row.get::<_, i64>(0));
        count.unwrap()
    };
    let patience = std::time::Duration::from_secs(60);
    eventually(patience, || (bodies() < 60_000).then_some(()));
    let path = receiver.directory().join("countersign.toml");
    let text = std::fs::read_to_string(path).unwrap();
    receiver.write("countersign.toml", &text.replace(TIMES, ""));
    assert_eq!(receiver.reload_now().status, 200);
    // What a pass let go is counted at its end.
    eventually(patience, || {
        let metrics = receiver.admin("/metrics").body;
        let told = |line: &str| {
            line.strip_prefix("countersign_pruned_total{kind=\"bodies\"} ")
                .is_some_and(|count| count != "0")
        };
        metrics.lines().any(told).then_some(())
    });
    assert!(bodies() > 1000, "{}", bodies());
}

#[test]
fn a_replay_leaves_a_payment_as_it_is_of_which_something_has_had_its_time() {
    let receiver = Receiver::start();
    of_one_payment_a_body_goes_of_another_an_event_and_of_a_third_nothing(&receiver);
    let before = list(&receiver, "payments");
    the_same_mapping_says_nothing_of_any_payment(&receiver);
    a_mended_mapping_changes_the_whole_payment_alone(&receiver);
    let after = list(&receiver, "payments");
    assert_eq!(all_but_the_whole(&after), all_but_the_whole(&before));
    no_event_moves_from_a_whole_payment_into_one_that_is_not(&receiver);
    assert_eq!(list(&receiver, "payments"), after);
}

fn of_one_payment_a_body_goes_of_another_an_event_and_of_a_third_nothing(receiver: &Receiver) {
    let mut producer = receiver.producer();
    let mut deliver = |id: &str, payment: &str, status: &str| {
        assert_eq!(producer.deliver(&event(id, payment, status)).status, 204);
    };
    deliver("evt_1", "pay_bodiless", "pending");
    age(receiver, 40);
    deliver("evt_2", "pay_bodiless", "succeeded");
    deliver("evt_3", "pay_whole", "succeeded");
    deliver("evt_4", "pay_forgotten", "pending");
    let file = receiver.directory().join("data/countersign.db");
    let older = "UPDATE events SET received_at = received_at - ?1 WHERE event_id = 'evt_4'";
    Connection::open(file)
        .unwrap()
        .execute(older, [100 * DAY])
        .unwrap();
    deliver("evt_5", "pay_forgotten", "succeeded");
    age(receiver, 1);
    let config = with_times(receiver, "bodies_days = 30\nevents_days = 60");
    let pruned = receiver
        .countersign(&["prune", "--config", config, "--json"])
        .json_lines();
    assert_eq!(
        (&pruned[1]["bodies"], &pruned[1]["events"]),
        (&2.into(), &1.into())
    );
}

fn the_same_mapping_says_nothing_of_any_payment(receiver: &Receiver) {
    let told = replayed(receiver, "countersign.toml");
    assert_eq!(told.len(), 1, "{told:?}");
    let summary = counted(&told, ["payments_changed", "payments_skipped"]);
    assert_eq!(summary, [0, 0], "{told:?}");
}

fn a_mended_mapping_changes_the_whole_payment_alone(receiver: &Receiver) {
    const MENDED: &str = r#"
[profiles.acme]
extends = "timestamped"
[profiles.acme.event]
status_by = "/data/status"
[profiles.acme.event.status]
"succeeded" = "refunded"
"pending" = "pending"
"#;
    let told = replayed_by(receiver, MENDED);
    let summary = counted(
        &told,
        ["payments_changed", "payments_skipped", "events_changed"],
    );
    assert_eq!(summary, [1, 2, 1], "{told:?}");
    assert_eq!(told[0]["payment_id"], "pay_whole");
    assert_eq!(told[0]["after"]["status"], "refunded");
    let skipped: Vec<_> = told
        .iter()
        .filter(|line| line["skipped"] == true)
        .map(|line| &line["payment_id"])
        .collect();
    assert_eq!(skipped, ["pay_bodiless", "pay_forgotten"]);
}

/// It stays, and with it the payment that it would leave.
fn no_event_moves_from_a_whole_payment_into_one_that_is_not(receiver: &Receiver) {
    const MOVED: &str = r#"
[profiles.acme]
extends = "timestamped"
[profiles.acme.event]
payment_id = "/data/currency"
"#;
    let told = replayed_by(receiver, MOVED);
    let summary = counted(
        &told,
        ["payments_changed", "payments_skipped", "events_changed"],
    );
    assert_eq!(summary, [0, 4, 0], "{told:?}");
}

fn all_but_the_whole(payments: &[Value]) -> Vec<&Value> {
    let others = |payment: &&Value| payment["payment_id"] != "pay_whole";
    payments.iter().filter(others).collect()
}

/// What a replay by this configuration tells: a line for each payment, and a summary.
fn replayed(receiver: &Receiver, config: &str) -> Vec<Value> {
    let command = [
        "events", "replay", "--config", config, "--since", "90d", "--json",
    ];
    receiver.countersign(&command).json_lines()
}

/// The same with this profile for the producer.
fn replayed_by(receiver: &Receiver, profile: &str) -> Vec<Value> {
    let file = receiver.directory().join("countersign.toml");
    let text = std::fs::read_to_string(file).unwrap();
    let text = text.replace("profile = \"timestamped\"", "profile = \"acme\"");
    receiver.write("other.toml", &format!("{text}{profile}"));
    replayed(receiver, "other.toml")
}

/// These numbers of the summary.
fn counted<const N: usize>(told: &[Value], names: [&str; N]) -> [u64; N] {
    let summary = told.last().unwrap();
    names.map(|name| summary[name].as_u64().unwrap())
}

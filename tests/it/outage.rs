//! The database goes away and comes back, under the real binary.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Receiver, event, eventually,
    postgres::{Ending, Postgres},
    receiver::Changes,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Writes `[store]` anew; it counts from the next start on.
fn store(receiver: &Receiver, lines: &str) {
    let file = receiver.directory().join("countersign.toml");
    let text = fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once("[store]").unwrap();
    let (_, after) = rest.split_once("[[tenants]]").unwrap();
    fs::write(
        &file,
        format!("{before}[store]\n{lines}\n\n[[tenants]]{after}"),
    )
    .unwrap();
}

/// A receiver before a database of its own, with a spool or without.
fn receiver(url: &str, spool: &str) -> Receiver {
    let mut receiver = Receiver::start();
    let lines = format!(
        "url = \"{url}\"\n{spool}\n[store.limits]\nbatch_deliveries = 8\n[store.postgres]\npatience = \"200ms\""
    );
    store(&receiver, &lines);
    receiver.restart();
    receiver
}

fn readiness(receiver: &Receiver) -> (u16, serde_json::Value) {
    let answer = receiver.admin("/readyz");
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

#[track_caller]
fn becomes(receiver: &Receiver, status: u16, store: &str) -> serde_json::Value {
    eventually(PATIENCE, || {
        let (found, readiness) = readiness(receiver);
        (found == status && readiness["store"].as_str()?.starts_with(store)).then_some(readiness)
    })
}

/// The value of a metric's one series, labels left out.
#[track_caller]
fn metric(receiver: &Receiver, name: &str) -> f64 {
    let metrics = receiver.admin("/metrics").body;
    let values = metrics.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let of_it = series == name || series.starts_with(&format!("{name}{{"));
        of_it.then(|| value.parse::<f64>().unwrap())
    });
    values.sum()
}

/// The metrics that are exported and of which nothing says what they mean.
fn undescribed(receiver: &Receiver) -> Vec<String> {
    let metrics = receiver.admin("/metrics").body;
    let described: Vec<_> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next())
        .collect();
    let series = metrics.lines().filter(|line| !line.starts_with('#'));
    let names = series.filter_map(|line| line.split(['{', ' ']).next());
    let is_described = |name: &str| {
        let parts = ["", "_bucket", "_sum", "_count"];
        let mut wholes = parts.iter().filter_map(|part| name.strip_suffix(part));
        name.is_empty() || wholes.any(|whole| described.contains(&whole))
    };
    let unknown = names.filter(|name| !is_described(name));
    unknown.map(str::to_owned).collect()
}

const SUMS: &str = "SELECT count(*), sum(duplicates), (SELECT sum(events) FROM countersign.ledger) FROM countersign.events";

#[test]
fn a_store_whose_file_is_gone_is_seen_before_a_delivery_meets_it() {
    let receiver = Receiver::start();
    becomes(&receiver, 200, "ok");
    let place = receiver.directory().join("data/countersign.db");
    let away = receiver.directory().join("data/away.db");
    fs::rename(&place, &away).unwrap();
    let told = becomes(&receiver, 503, "data/countersign.db");
    assert!(
        told["store"].as_str().unwrap().contains("removed"),
        "{told}"
    );
    eventually(PATIENCE, || {
        (metric(&receiver, "countersign_ready") == 0.0).then_some(())
    });
    fs::rename(&away, &place).unwrap();
    becomes(&receiver, 200, "ok");
}

#[test]
fn readiness_is_what_became_of_the_last_delivery() {
    let receiver = Receiver::start();
    becomes(&receiver, 200, "ok");
    let place = receiver.directory().join("data/countersign.db");
    let away = receiver.directory().join("data/away.db");
    let mut producer = receiver.producer();
    for number in 0..5 {
        fs::rename(&place, &away).unwrap();
        let event = event(&format!("evt_{number}"));
        assert_eq!(producer.deliver(&event).status, 503);
        assert_eq!(readiness(&receiver).0, 503);
        fs::rename(&away, &place).unwrap();
        // Nothing but a delivery that is kept tells that they are kept again.
        assert_eq!(readiness(&receiver).0, 503);
        assert_eq!(producer.deliver(&event).status, 204);
        assert_eq!(readiness(&receiver).0, 200);
    }
}

#[test]
fn without_a_spool_an_outage_is_a_503_within_the_budget_and_passes_without_a_restart() {
    let Some(mut server) = Postgres::start(&[]) else {
        return;
    };
    let receiver = receiver(&server.create_database("inbox"), "");
    becomes(&receiver, 200, "ok");
    let mut producer = receiver.producer();
    assert_eq!(producer.deliver(&event("evt_1")).status, 204);
    server.stop(Ending::Fast);
    let began = Instant::now();
    let answer = producer.deliver(&event("evt_2"));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    assert!(began.elapsed() < Duration::from_secs(30));
    becomes(&receiver, 503, "the store");
    server.start_again();
    becomes(&receiver, 200, "ok");
    assert_eq!(producer.deliver(&event("evt_2")).status, 204);
    assert_eq!(server.psql("inbox", SUMS).trim(), "2|0|2");
}

#[test]
fn a_delivery_that_is_kept_ends_what_another_ones_failure_said_of_the_receiver() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let receiver = receiver(&server.create_database("inbox"), "");
    becomes(&receiver, 200, "ok");
    server.psql(
        "inbox",
        "ALTER TABLE countersign.events ADD CONSTRAINT bad CHECK (event_id <> 'evt_bad')",
    );
    let mut producer = receiver.producer();
    // By itself it would pass after 5 s. On a machine that is busy with something else, one round may take as long.
    let recovered = (0..5).any(|round| {
        assert_eq!(producer.deliver(&event("evt_bad")).status, 503);
        let failed = Instant::now();
        becomes(&receiver, 503, "deliveries could not be kept");
        let good = event(&format!("evt_{round}"));
        assert_eq!(producer.deliver(&good).status, 204);
        becomes(&receiver, 200, "ok");
        failed.elapsed() < Duration::from_secs(4)
    });
    assert!(recovered);
}

#[test]
fn a_delivery_that_the_store_holds_up_beyond_its_requests_time_is_told_of() {
    let receiver = Receiver::with(&Changes {
        limits: "request_timeout = \"300ms\"",
        ..Changes::default()
    });
    becomes(&receiver, 200, "ok");
    let file = receiver.directory().join("data/countersign.db");
    let another = rusqlite::Connection::open(file).unwrap();
    another.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut producer = receiver.producer();
    assert_eq!(producer.deliver(&event("evt_1")).status, 503);
    becomes(&receiver, 503, "deliveries could not be kept");
    // Log lines come by a way of their own.
    eventually(Duration::from_secs(10), || {
        let said = "the store did not answer within";
        receiver.log().contains(said).then_some(())
    });
    let metrics = receiver.admin("/metrics").body;
    let counted = "countersign_failures_total{cause=\"request_timeout\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
}

/// A database that wants the password of `app`, which `name` belongs to.
fn locked_database(name: &str, password: &str) -> Option<(Postgres, String)> {
    let rules =
        "local all all trust\nhost all postgres all trust\nhost all app all scram-sha-256\n";
    let server = Postgres::start_with(&[], &[("pg_hba.conf", rules.as_bytes())])?;
    let role = format!("CREATE ROLE app LOGIN PASSWORD '{password}'");
    server.psql("postgres", &role);
    let url = server.create_database(name).replace("postgres@", "app@");
    let grant = format!("GRANT CREATE ON DATABASE {name} TO app");
    server.psql("postgres", &grant);
    Some((server, url))
}

#[test]
fn a_password_that_was_replaced_is_used_by_all_sessions_that_open_after_the_reload() {
    let Some((server, url)) = locked_database("inbox", "first") else {
        return;
    };
    let mut receiver = Receiver::start();
    receiver.write("certs/store.password", "mistyped\n");
    let password = "password = \"file:certs/store.password\"";
    store(
        &receiver,
        &format!(
            "url = \"{url}\"\n{password}\n[store.spool]\n[store.postgres]\npatience = \"200ms\""
        ),
    );
    receiver.restart();
    let mut producer = receiver.producer();
    assert_eq!(producer.deliver(&event("evt_1")).status, 204);
    becomes(&receiver, 200, "spooling");
    receiver.write("certs/store.password", "first\n");
    assert_eq!(receiver.reload_now().status, 200);
    // The writers, and what moves the spool.
    becomes(&receiver, 200, "ok");
    assert_eq!(producer.deliver(&event("evt_2")).status, 204);

    server.psql("postgres", "ALTER ROLE app PASSWORD 'second'");
    receiver.write("certs/store.password", "second\n");
    assert_eq!(receiver.reload_now().status, 200);
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'";
    server.psql("postgres", cut);
    becomes(&receiver, 200, "ok");
    assert_eq!(producer.deliver(&event("evt_3")).status, 204);
    eventually(PATIENCE, || {
        (server.psql("inbox", SUMS).trim() == "3|0|3").then_some(())
    });
    // What reads has sessions of its own.
    eventually(PATIENCE, || {
        let listed = receiver.admin("/api/events");
        (listed.status == 200 && listed.body.contains("evt_3")).then_some(())
    });
    let log = receiver.log();
    assert!(!log.contains("store.url: is other"), "{log}");
    assert!(!log.contains("second"), "{log}");
}

#[test]
fn with_a_spool_an_outage_is_a_204_and_everything_is_there_afterwards() {
    let Some(mut server) = Postgres::start(&[]) else {
        return;
    };
    let receiver = receiver(&server.create_database("inbox"), "[store.spool]");
    becomes(&receiver, 200, "ok");
    let mut producer = receiver.producer();
    assert_eq!(producer.deliver(&event("evt_0")).status, 204);
    server.stop(Ending::Fast);
    for number in 0..10 {
        assert_eq!(
            producer.deliver(&event(&format!("evt_{number}"))).status,
            204
        );
    }
    // What cannot be read is kept and refused as ever.
    assert_eq!(producer.deliver("no json").status, 400);
    let told = becomes(&receiver, 200, "spooling");
    assert_eq!(told["spool"]["state"], "spooling");
    assert_eq!(told["spool"]["waiting"], 11);
    assert!(told["spool"]["database_away_since"].is_string(), "{told}");
    eventually(PATIENCE, || {
        (metric(&receiver, "countersign_spool_waiting_events") == 11.0).then_some(())
    });
    assert_eq!(metric(&receiver, "countersign_spooling"), 1.0);
    assert_eq!(metric(&receiver, "countersign_ready"), 1.0);
    assert_eq!(metric(&receiver, "countersign_spooled_events_total"), 10.0);
    assert!(metric(&receiver, "countersign_spool_bytes") > 0.0);
    server.start_again();
    let told = eventually(PATIENCE, || {
        let (_, told) = readiness(&receiver);
        (told["store"] == "ok" && told["spool"]["state"] == "empty").then_some(told)
    });
    assert_eq!(told["spool"]["waiting"], 0);
    assert_eq!(server.psql("inbox", SUMS).trim(), "11|1|10");
    eventually(PATIENCE, || {
        (metric(&receiver, "countersign_spooling") == 0.0).then_some(())
    });
    assert_eq!(
        metric(&receiver, "countersign_spool_moved_events_total"),
        11.0
    );
    // One was accepted before; of the ten, one is a duplicate; and one was no JSON.
    assert_eq!(metric(&receiver, "countersign_events_total"), 12.0);
    assert_eq!(metric(&receiver, "countersign_queue_deliveries"), 0.0);
    assert_eq!(producer.deliver(&event("evt_after")).status, 204);
    assert!(metric(&receiver, "countersign_commit_seconds_count") > 0.0);
    assert!(metric(&receiver, "countersign_batch_events_bucket") > 0.0);
    assert_eq!(undescribed(&receiver), Vec::<String>::new());
    let log = receiver.log();
    assert_eq!(log.matches("kept in the spool").count(), 1, "{log}");
    assert_eq!(log.matches("the spool is empty").count(), 1, "{log}");
}

#[test]
fn a_receiver_that_is_killed_while_it_spools_and_while_it_moves_loses_nothing_and_doubles_nothing()
{
    let Some(mut server) = Postgres::start(&[]) else {
        return;
    };
    let mut receiver = receiver(&server.create_database("inbox"), "[store.spool]");
    becomes(&receiver, 200, "ok");
    server.stop(Ending::Fast);
    let (mut acknowledged, mut asked) = (Vec::new(), 0);
    for round in 0..3 {
        let told = AtomicUsize::new(0);
        let senders: Vec<_> = (0..3)
            .map(|sender| {
                let mut producer = receiver.producer();
                (0..400)
                    .map(move |number| format!("evt_{round}_{sender}_{number}"))
                    .map_while(move |id| {
                        let answer = producer.try_deliver(&event(&id)).ok()?;
                        assert_eq!(answer.status, 204, "{answer:?}");
                        Some(id)
                    })
            })
            .collect();
        acknowledged.extend(thread::scope(|scope| {
            let told = &told;
            let senders: Vec<_> = senders
                .into_iter()
                .map(|sender| {
                    scope.spawn(move || {
                        sender
                            .inspect(|_| {
                                told.fetch_add(1, Ordering::Relaxed);
                            })
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            eventually(PATIENCE, || {
                (told.load(Ordering::Relaxed) > 200).then_some(())
            });
            receiver.kill();
            senders
                .into_iter()
                .flat_map(|sender| sender.join().unwrap())
                .collect::<Vec<_>>()
        }));
        // Whatever was on its way when the process was killed may be kept or not.
        asked += told.into_inner() + 3;
        receiver.restart();
    }
    assert!(acknowledged.len() > 600);
    server.start_again();
    let count = "SELECT CASE WHEN to_regclass('countersign.events') IS NULL THEN 0
        ELSE (SELECT count(*) FROM countersign.events) END";
    let kept = |server: &Postgres| -> usize { server.psql("inbox", count).trim().parse().unwrap() };
    let mut killed_at = Vec::new();
    for _ in 0..4 {
        let before = kept(&server);
        eventually(PATIENCE, || {
            let found = kept(&server);
            (found > before || found >= acknowledged.len()).then_some(())
        });
        receiver.kill();
        killed_at.push(kept(&server));
        receiver.restart();
    }
    assert!(killed_at[0] < acknowledged.len(), "{killed_at:?}");
    eventually(PATIENCE, || {
        let (_, told) = readiness(&receiver);
        (told["store"] == "ok" && told["spool"]["state"] == "empty").then_some(())
    });
    let found = kept(&server);
    assert!(
        (acknowledged.len()..=asked).contains(&found),
        "{found} of {}",
        acknowledged.len()
    );
    let ids = server.psql("inbox", "SELECT event_id FROM countersign.events");
    let ids: std::collections::HashSet<&str> = ids.lines().collect();
    for id in &acknowledged {
        assert!(ids.contains(id.as_str()), "{id} is lost");
    }
    assert_eq!(
        server.psql("inbox", SUMS).trim(),
        format!("{found}|0|{found}")
    );
}

#[test]
fn a_spool_that_is_no_longer_named_is_told_of_until_it_is_empty() {
    let Some(mut server) = Postgres::start(&[]) else {
        return;
    };
    let url = server.create_database("inbox");
    server.stop(Ending::Fast);
    let mut receiver = receiver(&url, "[store.spool]");
    assert_eq!(receiver.producer().deliver(&event("evt_1")).status, 204);
    receiver.stop();
    server.start_again();
    store(&receiver, &format!("url = \"{url}\""));
    receiver.restart();
    let log = receiver.log();
    assert!(log.contains("data/spool.db: 1 events"), "{log}");
    let checked = receiver.countersign(&["check"]);
    assert!(checked.stdout.contains("data/spool.db"), "{checked:?}");
    store(&receiver, &format!("url = \"{url}\"\n[store.spool]"));
    receiver.restart();
    eventually(PATIENCE, || {
        (server.psql("inbox", SUMS).trim() == "1|0|1").then_some(())
    });
}

#[test]
fn a_spool_without_its_directory_is_found_by_check_and_at_the_start() {
    let receiver = Receiver::start();
    let url = "postgres://nobody@127.0.0.1:1/none";
    store(
        &receiver,
        &format!("url = \"{url}\"\n[store.spool]\npath = \"missing/spool.db\""),
    );
    let checked = receiver.countersign(&["check"]);
    assert_eq!(checked.code, Some(1));
    assert!(checked.stdout.contains("mkdir -p"), "{checked:?}");
    assert!(!Path::new("missing").exists());
    let started = receiver.countersign(&["serve"]);
    assert_eq!(started.code, Some(2), "{started:?}");
    assert!(started.stderr.contains("mkdir -p"), "{started:?}");
}

#[test]
fn an_export_tells_of_the_events_that_still_wait_in_the_spool() {
    let Some(mut server) = Postgres::start(&[]) else {
        return;
    };
    let mut receiver = receiver(&server.create_database("inbox"), "[store.spool]");
    becomes(&receiver, 200, "ok");
    let mut producer = receiver.producer();
    assert_eq!(producer.deliver(&event("evt_1")).status, 204);
    let before = receiver.countersign(&["export", "--out", "before.jsonl"]);
    assert_eq!((before.code, &*before.stderr), (Some(0), ""), "{before:?}");
    server.stop(Ending::Fast);
    assert_eq!(producer.deliver(&event("evt_2")).status, 204);
    receiver.kill();
    server.start_again();
    let behind = receiver.countersign(&["export", "--out", "behind.jsonl"]);
    assert_eq!(behind.code, Some(0), "{behind:?}");
    let told = "NOT IN THIS EXPORT";
    assert!(behind.stderr.contains(told), "{behind:?}");
    assert!(behind.stderr.contains(": 1 events"), "{behind:?}");
    receiver.restart();
    eventually(PATIENCE, || {
        let told = becomes(&receiver, 200, "ok");
        (told["spool"]["waiting"] == 0).then_some(())
    });
    let after = receiver.countersign(&["export", "--out", "after.jsonl"]);
    assert!(!after.stderr.contains(told), "{after:?}");
    receiver.stop();
    receiver.write("data/spool.db", &"no spool at all ".repeat(64));
    let unknown = receiver.countersign(&["export", "--out", "unknown.jsonl"]);
    assert_eq!(unknown.code, Some(0), "{unknown:?}");
    assert!(unknown.stderr.contains("cannot be read"), "{unknown:?}");
}

/// A file that another process holds answers nothing for as long as a delivery may wait.
#[test]
fn a_store_that_answers_nothing_is_not_ready_once_a_delivery_failed() {
    let receiver = Receiver::with(&Changes {
        limits: "request_timeout = \"1s\"\nbody_timeout = \"1s\"",
        store: "url = \"sqlite:data/countersign.db\"\n[store.limits]\nwait = \"10m\"",
        ..Changes::default()
    });
    becomes(&receiver, 200, "ok");
    let mut producer = receiver.producer();
    assert_eq!(producer.deliver(&event("evt_1")).status, 204);
    let file = receiver.directory().join("data/countersign.db");
    let holding = rusqlite::Connection::open(file).unwrap();
    holding.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(producer.deliver(&event("evt_2")).status, 503);
    becomes(&receiver, 503, "deliveries could not be kept");
    assert_eq!(metric(&receiver, "countersign_ready"), 0.0);
    holding.execute_batch("COMMIT").unwrap();
    becomes(&receiver, 200, "ok");
    assert_eq!(producer.deliver(&event("evt_2")).status, 204);
}

#[test]
fn a_store_that_hangs_is_not_ready_before_a_delivery_failed_and_until_one_is_kept() {
    let receiver = Receiver::with(&Changes {
        store: "url = \"sqlite:data/countersign.db\"\n[store.limits]\nwait = \"10m\"",
        ..Changes::default()
    });
    becomes(&receiver, 200, "ok");
    let mut producer = receiver.producer();
    let file = receiver.directory().join("data/countersign.db");
    let holding = rusqlite::Connection::open(file).unwrap();
    holding.execute_batch("BEGIN IMMEDIATE").unwrap();
    let said = || {
        let log = receiver.log();
        log.matches("the store takes deliveries").count()
    };
    thread::scope(|scope| {
        let delivered = scope.spawn(|| producer.deliver(&event("evt_1")).status);
        let told = becomes(&receiver, 503, "the store is unavailable");
        let told = told["store"].as_str().unwrap();
        assert!(told.contains("holds the lock"), "{told}");
        assert!(!delivered.is_finished());
        // Once, at the start.
        assert_eq!(said(), 1);
        holding.execute_batch("COMMIT").unwrap();
        assert_eq!(delivered.join().unwrap(), 204);
    });
    becomes(&receiver, 200, "ok");
    eventually(PATIENCE, || (said() == 2).then_some(()));
}

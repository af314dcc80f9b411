//! What pruning does to PostgreSQL alone: partitions that go whole, neighbours that keep theirs, and who waits for whom.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::address::Target;
use super::session::{Purpose, Session};
use super::steps::{Whole, drop_whole, needed, partitions};
use super::tests::server::Postgres;
use crate::inbox::{Event, Inbox, Limits, Receipt, Standing};
use crate::signature::Fetch;
use crate::store::fixtures::{accept, event, of_tenant, payment_event, with_body};
use crate::store::{Clock, Keep, Prune, Pruned, Pruner, Retention, Store, Tally, Url};

const PARTITIONS: &str =
    "SELECT count(*) FROM pg_inherits WHERE inhparent = 'countersign.bodies'::regclass";

/// A database, a receiver on it, and an event of today of each of these tenants: today has a partition.
async fn received_today(server: &Postgres, name: &str, tenants: &[&str]) -> (Url, Store) {
    let url: Url = server.create_database(name).parse().unwrap();
    let store = Store::open(&url, Limits::default()).await.unwrap();
    for tenant in tenants {
        let today = Event {
            received_at: Timestamp::now(),
            ..event("evt_1")
        };
        accept(&store, of_tenant(today, tenant, "p")).await;
    }
    (url, store)
}

fn bodies_for(days: u32, forever: &[&str]) -> Retention {
    let keep = Keep {
        bodies_days: Some(days),
        ..Keep::default()
    };
    let others = forever
        .iter()
        .map(|tenant| ((*tenant).into(), Keep::default()));
    Retention::new(keep, HashMap::from_iter(others))
}

fn in_days(days: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(24 * days)
}

async fn prune(url: &Url, retention: &Retention, tenant: Option<&str>) -> Pruned {
    let prune = Prune {
        tenant: tenant.map(str::to_owned),
        clock: Clock::Trusted,
    };
    let told = prune.rehearse(url, retention, in_days(40)).await.unwrap();
    let pruned = prune.run(url, retention, in_days(40)).await.unwrap();
    assert_eq!(pruned.tenants, told.tenants);
    pruned
}

#[tokio::test]
async fn a_day_whose_time_has_passed_for_everybody_goes_whole() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let (url, store) = received_today(&server, "inbox", &["a", "b"]).await;
    // The default partition's rows go by themselves, and it stays.
    accept(&store, event("evt_of_another_century")).await;
    let pruned = prune(&url, &bodies_for(30, &[]), None).await;
    let bodies: Vec<_> = pruned.tenants.values().map(|tally| tally.bodies).collect();
    assert_eq!(bodies, [1, 1, 1]);
    // Today and the seven days after it are gone; the default one is there, and what comes now finds its place.
    assert_eq!(server.psql("inbox", PARTITIONS).trim(), "1");
    assert_eq!(accept(&store, event("evt_2")).await, Receipt::Accepted);
    let found = store.views().events_by_id(Some("a"), "evt_1").await;
    assert!(found.unwrap()[0].gone.is_some());
}

#[tokio::test]
async fn a_day_whose_time_has_not_passed_stays_whole() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let (url, store) = received_today(&server, "inbox", &["a", "b"]).await;
    let before = server.psql("inbox", PARTITIONS);
    let command = Prune {
        tenant: None,
        clock: Clock::Trusted,
    };
    // Its end is the next midnight.
    for days in [0, 29, 30] {
        let pruned = command.run(&url, &bodies_for(30, &[]), in_days(days)).await;
        assert_eq!(pruned.unwrap().total(), Tally::default());
    }
    assert_eq!(server.psql("inbox", PARTITIONS), before);
    for tenant in ["a", "b"] {
        let kept = store.views().events_by_id(Some(tenant), "evt_1").await;
        assert!(kept.unwrap()[0].body.is_some());
    }
}

#[tokio::test]
async fn of_a_forgotten_event_there_is_nothing_but_what_recognises_it() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let (url, store) = received_today(&server, "inbox", &[]).await;
    let older = payment_event("evt_0", "pay_1", "pending", 1_780_000_000);
    let unread = Event {
        fetch: Fetch::Needed { reference: None },
        standing: Standing::Quarantined,
        ..payment_event("evt_2", "pay_1", "pending", 5)
    };
    let first = payment_event("evt_1", "pay_1", "succeeded", 1_790_000_000);
    let other = with_body(first.clone(), "another");
    for event in [first.clone(), older, unread, other, first] {
        accept(&store, event).await;
    }
    let keep = Keep {
        events_days: Some(30),
        ..Keep::default()
    };
    let pruned = prune(&url, &Retention::new(keep, HashMap::new()), None).await;
    assert_eq!(pruned.total().events, 4);
    let rest = "SELECT DISTINCT to_jsonb(e) - ARRAY['tenant_id', 'key', 'received_at', 'duplicates', 'body_sha256']
        FROM countersign.events e";
    let rest = server.psql("inbox", rest);
    let rest: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&rest).unwrap();
    for (column, value) in rest {
        let nothing = match &*column {
            "verdict" => 3.into(),
            "producer" | "event_id" => "".into(),
            "leaf_sha256" => "\\x".into(),
            "fetch_needed" => false.into(),
            _ => serde_json::Value::Null,
        };
        assert_eq!(value, nothing, "{column}");
    }
    let superseded = "SELECT count(*) FROM countersign.superseded";
    assert_eq!(server.psql("inbox", superseded).trim(), "0");
}

#[tokio::test]
async fn a_day_in_which_one_tenant_keeps_something_stays_and_the_others_rows_go() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let (url, store) = received_today(&server, "inbox", &["a", "keeper"]).await;
    let retention = bodies_for(30, &["keeper", "another"]);
    let pruned = prune(&url, &retention, None).await;
    assert_eq!(pruned.tenants["a"].bodies, 1);
    assert_eq!(pruned.tenants["keeper"], Tally::default());
    assert_eq!(server.psql("inbox", PARTITIONS).trim(), "2");
    let kept = store.views().events_by_id(Some("keeper"), "evt_1").await;
    assert!(kept.unwrap()[0].body.is_some());
    // Asked for one tenant, a command touches nobody else's.
    let (url, store) = received_today(&server, "other", &["a", "b"]).await;
    let pruned = prune(&url, &bodies_for(30, &[]), Some("a")).await;
    assert_eq!(pruned.total().bodies, 1);
    let kept = store.views().events_by_id(Some("b"), "evt_1").await;
    assert!(kept.unwrap()[0].body.is_some());
}

#[tokio::test]
async fn a_day_stays_in_which_a_tenant_has_something_that_nobody_knew_of_when_the_pass_began() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let (url, store) = received_today(&server, "inbox", &["a", "b", "newcomer"]).await;
    let Url::Postgres(address) = &url else {
        panic!("no PostgreSQL");
    };
    let target = Target::load(address).unwrap();
    let mut session = Session::open(&target, Purpose::Change).await.unwrap();
    let days = partitions(&session.client).await.unwrap();
    let today = &days[0];
    for (passed, keeps) in [
        (&["a", "b", "newcomer", "gone"][..], false),
        (&["a", "b"][..], true),
        (&["b", "newcomer"][..], true),
        (&[][..], true),
    ] {
        let needed = needed(&session.client, today, passed).await.unwrap();
        assert_eq!(needed, keeps, "{passed:?}");
    }
    // What has nothing in it, nobody needs.
    assert!(!needed(&session.client, &days[1], &[]).await.unwrap());
    let whole = drop_whole(&mut session, today, &["a", "b"]).await.unwrap();
    assert!(matches!(whole, Some(Whole::Needed)));
    let kept = store.views().events_by_id(Some("newcomer"), "evt_1").await;
    assert!(kept.unwrap()[0].body.is_some());
    let whole = drop_whole(&mut session, today, &["a", "b", "newcomer"]).await;
    assert!(matches!(whole.unwrap(), Some(Whole::Gone(_))));
}

#[tokio::test]
async fn a_reload_that_changes_whose_time_has_passed_is_noticed_though_as_many_have_it() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let (_url, store) = received_today(&server, "inbox", &["a", "b", "c"]).await;
    // The clock is believed, for something came since.
    let since = Event {
        received_at: in_days(50),
        ..event("evt_2")
    };
    accept(&store, since).await;
    let mut pruner = Pruner::default();
    for (passed, forever) in [("a", ["b", "c"]), ("b", ["a", "c"])] {
        let retention = bodies_for(30, &forever);
        let pruned = store.prune(&mut pruner, &retention, in_days(60)).await;
        let pruned = pruned.unwrap();
        assert_eq!(pruned.tenants[passed].bodies, 1, "{pruned:?}");
        assert_eq!(pruned.total().bodies, 1);
    }
    assert_eq!(server.psql("inbox", PARTITIONS).trim(), "2");
}

#[tokio::test]
async fn a_long_reader_keeps_a_day_for_a_while_and_deliveries_do_not_wait() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let (url, store) = received_today(&server, "inbox", &["a"]).await;
    let Url::Postgres(address) = &url else {
        panic!("no PostgreSQL");
    };
    let reader = Session::open(&Target::load(address).unwrap(), Purpose::Read)
        .await
        .unwrap();
    let reading = "BEGIN; SELECT count(*) FROM countersign.bodies";
    reader.client.batch_execute(reading).await.unwrap();
    let retention = bodies_for(30, &[]);
    let command = Prune {
        tenant: None,
        clock: Clock::Trusted,
    };
    let began = Instant::now();
    let pruning = command.run(&url, &retention, in_days(40));
    let delivering = async {
        let mut slowest = Duration::ZERO;
        for number in 0..50 {
            let began = Instant::now();
            accept(&store, event(&format!("evt_{number}"))).await;
            slowest = slowest.max(began.elapsed());
        }
        slowest
    };
    let (pruned, slowest) = tokio::join!(pruning, delivering);
    assert_eq!(pruned.unwrap().tenants["a"], Tally::default());
    assert!(slowest < Duration::from_secs(4), "{slowest:?}");
    assert!(began.elapsed() < Duration::from_secs(20));
    let there = "SELECT count(*) FROM countersign.bodies WHERE tenant_id = 'a'";
    assert_eq!(server.psql("inbox", there).trim(), "1");
    reader.client.batch_execute("COMMIT").await.unwrap();
    let pruned = command.run(&url, &retention, in_days(40)).await.unwrap();
    assert_eq!(pruned.tenants["a"].bodies, 1);
    assert_eq!(server.psql("inbox", PARTITIONS).trim(), "1");
}

#[tokio::test]
async fn a_lock_of_somebody_elses_is_no_failure_before_it_has_lasted() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let (url, store) = received_today(&server, "inbox", &["a"]).await;
    let since = Event {
        received_at: in_days(50),
        ..event("evt_2")
    };
    accept(&store, since).await;
    let keep = Keep {
        events_days: Some(20),
        ..Keep::default()
    };
    let retention = Retention::new(keep, HashMap::new());
    let Url::Postgres(address) = &url else {
        panic!("no PostgreSQL");
    };
    let target = Target::load(address).unwrap();
    let holder = Session::open(&target, Purpose::Look).await.unwrap();
    let hold = "BEGIN; LOCK TABLE countersign.superseded IN SHARE MODE";
    holder.client.batch_execute(hold).await.unwrap();
    let mut pruner = Pruner::default();
    for _ in 0..4 {
        let pruned = store.prune(&mut pruner, &retention, in_days(60)).await;
        let pruned = pruned.unwrap();
        assert!(pruned.left_for_later && !pruned.went_through);
        assert_eq!(pruned.total().events, 0);
    }
    let lasting = store.prune(&mut pruner, &retention, in_days(60)).await;
    assert!(lasting.is_err());
    holder.client.batch_execute("COMMIT").await.unwrap();
    let pruned = store.prune(&mut pruner, &retention, in_days(60)).await;
    let pruned = pruned.unwrap();
    assert!(pruned.went_through);
    assert_eq!(pruned.total().events, 1);
}

#[tokio::test]
async fn receivers_that_prune_at_once_let_everything_go_once() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let (url, store) = received_today(&server, "inbox", &["a"]).await;
    let events: Vec<_> = (0..1500)
        .map(|number| event(&format!("evt_{number}")))
        .collect();
    for delivery in events.chunks(250) {
        store.accept(delivery.to_vec()).await.unwrap();
    }
    let keep = Keep {
        bodies_days: Some(10),
        events_days: Some(20),
        dedupe_days: None,
    };
    let retention = Retention::new(keep, HashMap::new());
    let command = Prune {
        tenant: None,
        clock: Clock::Trusted,
    };
    let run = || command.run(&url, &retention, in_days(400));
    let (one, other, third) = tokio::join!(run(), run(), run());
    let mut total = one.unwrap().total();
    total.add(other.unwrap().total());
    total.add(third.unwrap().total());
    assert_eq!((total.bodies, total.events, total.keys), (1501, 1501, 0));
    let left = "SELECT count(*) FILTER (WHERE received_at >= 0), count(*) FROM countersign.events";
    assert_eq!(server.psql("inbox", left).trim(), "0|1501");
    let deadlocks = "SELECT sum(deadlocks) FROM pg_stat_database";
    assert_eq!(server.psql("inbox", deadlocks).trim(), "0");
}

//! The way to PostgreSQL: cut, stalled, narrow, and cut between a commit and its answer.

use std::time::Duration;

use serde_json::json;

use crate::{
    Changes, Load, Proxy, Scene, Way, eventually, postgres::fresh_database, producer::event,
    scene::on_postgres, verify,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A receiver whose way to the database is a test's. `more` is of `[store.postgres]`.
fn behind_a_proxy(test: &str, more: &str) -> Option<(Proxy, Scene)> {
    let (proxy, url) = Proxy::before(&fresh_database()?);
    let store = on_postgres(&url) + more;
    let scene = Scene::new(
        test,
        Changes {
            store: &store,
            ..Changes::default()
        },
    );
    Some((proxy, scene))
}

#[test]
fn connections_to_the_database_that_are_cut_under_load_lose_nothing() {
    let Some((proxy, mut scene)) = behind_a_proxy("cut_under_load", "") else {
        return;
    };
    let load = Load::begin(&scene);
    for _ in 0..8 {
        load.advance(scene.chance.up_to(30));
        proxy.cut();
    }
    load.advance(40);
    verify(&scene.receiver, &load.finish());
}

#[test]
fn answers_of_the_database_that_are_lost_under_load_double_nothing() {
    let Some((proxy, mut scene)) = behind_a_proxy("lost_under_load", "") else {
        return;
    };
    let load = Load::begin(&scene);
    for _ in 0..8 {
        load.advance(scene.chance.up_to(30));
        proxy.set(Way::Unanswered);
        eventually(PATIENCE, || (proxy.answers_held() > 0).then_some(()));
        proxy.cut();
        proxy.set(Way::Open);
    }
    load.advance(40);
    // Some of what nobody was told of was durable, and then came again.
    assert!(verify(&scene.receiver, &load.finish()) > 0);
}

#[test]
fn a_commit_whose_answer_is_lost_is_no_success_and_its_retry_is_a_duplicate() {
    // One session, which has written the producer's name by the first delivery: the second is one statement.
    let Some((proxy, scene)) = behind_a_proxy("a_commit_whose_answer_is_lost", "writers = 1\n")
    else {
        return;
    };
    let mut producer = scene.receiver.producer();
    assert_eq!(producer.deliver(&event("evt_1")).status, 204);
    let lost = event("evt_2");
    proxy.set(Way::Unanswered);
    let answer = producer.deliver(&lost);
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    proxy.cut();
    proxy.set(Way::Open);
    let show = |id: &str| {
        let shown = scene.receiver.countersign(&["events", "list", "--json"]);
        let mut events = shown.json_lines().into_iter();
        events.find(|event| event["event_id"] == id)
    };
    // It is durable, and nobody was told so.
    let kept = show("evt_2").expect("it was committed");
    assert_eq!(
        (&kept["verdict"], &kept["duplicates"]),
        (&json!("accepted"), &json!(0))
    );
    eventually(PATIENCE, || {
        (producer.deliver(&lost).status == 204).then_some(())
    });
    let kept = show("evt_2").unwrap();
    assert_eq!(
        (&kept["verdict"], &kept["duplicates"]),
        (&json!("accepted"), &json!(1))
    );
    let payments = scene.receiver.countersign(&["payments", "list", "--json"]);
    let payments = payments.json_lines();
    let paid = payments
        .iter()
        .find(|payment| payment["payment_id"] == "pay_evt_2");
    assert_eq!(paid.unwrap()["events"], 1);
}

#[test]
fn a_way_to_the_database_that_stalls_for_longer_than_a_statement_may_take_loses_nothing() {
    let Some((proxy, mut scene)) = behind_a_proxy("stalls_for_longer", "") else {
        return;
    };
    let load = Load::begin(&scene);
    for way in [Way::Stalled, Way::Unanswered] {
        load.advance(scene.chance.up_to(60));
        proxy.set(way);
        // Each is told once the statement has had its time, and again while it goes on.
        load.answered("503", 8);
        proxy.set(Way::Open);
    }
    load.advance(40);
    verify(&scene.receiver, &load.finish());
}

#[test]
fn a_way_to_the_database_that_is_narrow_slows_deliveries_and_loses_none() {
    let Some((proxy, mut scene)) = behind_a_proxy("is_narrow", "") else {
        return;
    };
    let load = Load::begin(&scene);
    load.advance(scene.chance.up_to(60));
    // 100 KiB a second: some batches get through in time.
    proxy.set(Way::Narrow(1024));
    load.advance(12);
    // 1 KiB a second: none does.
    proxy.set(Way::Narrow(10));
    load.answered("503", 4);
    proxy.set(Way::Open);
    load.advance(40);
    verify(&scene.receiver, &load.finish());
}

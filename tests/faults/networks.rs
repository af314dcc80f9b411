//! The way to PostgreSQL: cut, stalled, narrow, and cut between a commit and its answer.

use std::time::Duration;

use serde_json::{Value, json};

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

/// With a spool nobody comes again: what the database was asked to keep is moved there a second time, and must be found.
#[test]
fn answers_of_the_database_that_are_lost_beside_a_spool_count_nothing_twice() {
    let more = "[store.spool]\npath = \"spool.db\"\n";
    let Some((proxy, mut scene)) = behind_a_proxy("lost_beside_a_spool", more) else {
        return;
    };
    let load = Load::begin(&scene);
    for _ in 0..6 {
        load.advance(scene.chance.up_to(30));
        eventually(PATIENCE, || {
            let told = scene.receiver.admin("/readyz").body;
            (!told.contains("\"state\":\"spooling\"")).then_some(())
        });
        load.advance(10);
        proxy.set(Way::Unanswered);
        eventually(PATIENCE, || (proxy.answers_held() > 0).then_some(()));
        proxy.cut();
        proxy.set(Way::Open);
    }
    load.advance(40);
    assert_eq!(verify(&scene.receiver, &load.finish()), 0);
}

#[test]
fn a_commit_whose_answer_is_lost_is_no_success_and_its_retry_is_a_duplicate() {
    // One session, which has written the producer's name by the first delivery: the next is one statement.
    let Some((proxy, scene)) = behind_a_proxy("a_commit_whose_answer_is_lost", "writers = 1\n")
    else {
        return;
    };
    let mut producer = scene.receiver.producer();
    let kept = |id: &str| {
        let events = scene.receiver.countersign(&["events", "list", "--json"]);
        let mut events = events.json_lines().into_iter();
        let event = events.find(|event| event["event_id"] == id)?;
        Some((event["verdict"].clone(), event["duplicates"].clone()))
    };
    assert_eq!(producer.deliver(&event("evt_1")).status, 204);
    // The session may be about something else at that moment, and then it never comes to the delivery.
    for number in 2..10 {
        let id = format!("evt_{number}");
        proxy.set(Way::Unanswered);
        let answer = producer.deliver(&event(&id));
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        proxy.cut();
        proxy.set(Way::Open);
        let durable = kept(&id);
        eventually(PATIENCE, || {
            (producer.deliver(&event(&id)).status == 204).then_some(())
        });
        if let Some(durable) = durable {
            // It was durable, and nobody was told so.
            assert_eq!(durable, (json!("accepted"), json!(0)));
            assert_eq!(kept(&id), Some((json!("accepted"), json!(1))));
            let payments = scene.receiver.countersign(&["payments", "list", "--json"]);
            let payments = payments.json_lines();
            let of_it = |payment: &&Value| payment["last_event_id"] == id;
            assert_eq!(payments.iter().find(of_it).unwrap()["events"], 1);
            return;
        }
    }
    panic!("no answer was lost");
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

#[test]
fn a_receiver_whose_database_answers_nothing_ends_when_it_is_told_to() {
    let Some((proxy, mut scene)) = behind_a_proxy("told_to_stop_while_stalled", "") else {
        return;
    };
    let mut producer = scene.receiver.producer();
    assert_eq!(producer.deliver(&event("evt_1")).status, 204);
    proxy.set(Way::Stalled);
    assert_eq!(producer.deliver(&event("evt_2")).status, 503);
    scene.receiver.stop();
}

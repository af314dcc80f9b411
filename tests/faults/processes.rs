//! The receiver itself ends: killed at any moment, and told to stop.

use std::time::Duration;

use crate::{
    Chance, Changes, Load, Scene, Sent, Told, eventually, postgres::fresh_database,
    scene::on_postgres, verify,
};

fn killed(test: &str, store: &str, longer_by: usize) {
    let mut scene = Scene::new(
        test,
        Changes {
            store,
            ..Changes::default()
        },
    );
    let load = Load::of_bodies(&scene, longer_by);
    for _ in 0..4 {
        load.advance(scene.chance.up_to(80));
        scene.receiver.kill();
        scene.receiver.restart();
    }
    load.advance(40);
    verify(&scene.receiver, &load.finish());
}

#[test]
fn a_receiver_that_is_killed_at_any_moment_loses_nothing_on_sqlite() {
    // So long that the log is moved into the file meanwhile.
    killed("killed_at_any_moment_loses_nothing_on_sqlite", "", 30_000);
}

#[test]
fn a_receiver_that_is_killed_at_any_moment_loses_nothing_on_postgresql() {
    let Some(url) = fresh_database() else { return };
    killed(
        "killed_at_any_moment_loses_nothing_on_postgresql",
        &on_postgres(&url),
        0,
    );
}

/// Deliveries of which half has been sent when the stop comes are answered, whatever else is under way.
fn told_to_stop(test: &str, store: &str) {
    let mut scene = Scene::new(
        test,
        Changes {
            store,
            // On a busy machine it may be a while until the other halves are sent.
            limits: "body_timeout = \"60s\"\nrequest_timeout = \"90s\"",
            ..Changes::default()
        },
    );
    let load = Load::begin(&scene);
    let mut answered = Vec::new();
    for round in 0..2 {
        load.advance(scene.chance.up_to(60));
        let producer = scene.receiver.producer();
        let mut halves = Vec::new();
        for number in 0..6 {
            let told = Told::by_chance(format!("evt_half_{round}_{number}"), &mut scene.chance);
            let body = told.body("");
            let request = producer.signed(&body);
            let (head, tail) = request.split_at(request.len() - scene.chance.up_to(60));
            let mut connection = producer.connect().unwrap();
            connection.send(head).unwrap();
            halves.push((told, body, connection, tail.to_vec()));
        }
        // Whole exchanges on other connections: by then the halves have arrived as well.
        load.advance(8);
        scene.receiver.terminate();
        eventually(Duration::from_secs(10), || {
            producer.connect().is_err().then_some(())
        });
        for (told, body, mut connection, tail) in halves {
            connection.send(&tail).unwrap();
            let answer = connection.answer().unwrap();
            assert_eq!(answer.status, 204, "{answer:?}");
            assert!(answer.closes(), "{answer:?}");
            answered.push(Sent {
                told,
                body,
                attempts: 1,
                acknowledged: 1,
            });
        }
        assert!(scene.receiver.ended().success());
        scene.receiver.restart();
    }
    load.advance(40);
    answered.extend(load.finish());
    verify(&scene.receiver, &answered);
}

#[test]
fn a_receiver_that_is_told_to_stop_under_load_answers_what_is_in_flight_on_sqlite() {
    told_to_stop(
        "told_to_stop_under_load_answers_what_is_in_flight_on_sqlite",
        "",
    );
}

#[test]
fn a_receiver_that_is_told_to_stop_under_load_answers_what_is_in_flight_on_postgresql() {
    let Some(url) = fresh_database() else { return };
    told_to_stop(
        "told_to_stop_under_load_answers_what_is_in_flight_on_postgresql",
        &on_postgres(&url),
    );
}

#[test]
fn the_check_itself_finds_what_is_lost_doubled_miscounted_and_misread() {
    let scene = Scene::new("the_check_itself", Changes::default());
    let load = Load::begin(&scene);
    load.advance(60);
    let sent = load.finish();
    verify(&scene.receiver, &sent);
    let fails = |change: &dyn Fn(&mut Vec<Sent>)| {
        let mut changed = sent.clone();
        change(&mut changed);
        crate::verify::judge(&scene.receiver, &changed).unwrap_err()
    };
    let invented = |sent: &mut Vec<Sent>| {
        let told = Told::by_chance("evt_invented".to_owned(), &mut Chance(1));
        let body = told.body("");
        sent.push(Sent {
            told,
            body,
            attempts: 1,
            acknowledged: 1,
        });
    };
    assert!(fails(&invented).contains("acknowledged and lost"));
    let forgotten = |sent: &mut Vec<Sent>| {
        let id = sent[0].told.id.clone();
        sent.retain(|one| one.told.id != id);
    };
    assert!(fails(&forgotten).contains("never sent"));
    let again = |sent: &mut Vec<Sent>| {
        sent[0].attempts += 1;
        sent[0].acknowledged += 1;
    };
    assert!(fails(&again).contains("counted"));
    // Another payment of an event that was accepted, as one whose id came with a single body was: the ledger is not the model's.
    let elsewhere = |sent: &mut Vec<Sent>| {
        let bodies = |id: &str| sent.iter().filter(|one| one.told.id == id).count();
        let accepted = |one: &Sent| one.told.payment.is_some() && bodies(&one.told.id) == 1;
        let at = sent.iter().position(accepted).unwrap();
        sent[at].told.payment = Some("pay_other".to_owned());
    };
    assert!(fails(&elsewhere).contains("the ledger has"));
}

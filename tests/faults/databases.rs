//! PostgreSQL ends, and comes back; or another takes its place.

use crate::{
    Changes, Load, Scene,
    postgres::{Ending, Postgres},
    scene::on_postgres,
    verify,
};

#[test]
fn a_database_that_is_stopped_and_killed_under_load_loses_nothing() {
    let Some(mut server) = Postgres::start(&[]) else {
        return;
    };
    let store = on_postgres(&server.create_database("inbox"));
    let mut scene = Scene::new(
        "stopped_and_killed_under_load",
        Changes {
            store: &store,
            ..Changes::default()
        },
    );
    let load = Load::begin(&scene);
    for ending in [Ending::Immediate, Ending::Killed, Ending::Fast] {
        load.advance(scene.chance.up_to(80));
        server.stop(ending);
        server.start_again();
    }
    load.advance(40);
    verify(&scene.receiver, &load.finish());
}

#[test]
fn when_a_synchronous_standby_takes_over_nothing_is_lost() {
    let Some(mut primary) = Postgres::start(&[]) else {
        return;
    };
    primary.create_database("inbox");
    let standby = primary.synchronous_standby();
    let store = on_postgres(&format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/inbox?sslmode=disable&target_session_attrs=read-write",
        primary.port(),
        standby.port()
    ));
    let mut scene = Scene::new(
        "when_a_synchronous_standby_takes_over",
        Changes {
            store: &store,
            ..Changes::default()
        },
    );
    let load = Load::begin(&scene);
    load.advance(40 + scene.chance.up_to(80));
    primary.stop(scene.chance.one_of(&[Ending::Fast, Ending::Immediate]));
    // Nobody can write until somebody says which one is to be the primary.
    load.answered("503", 1);
    standby.promote();
    load.advance(60);
    verify(&scene.receiver, &load.finish());
    let kept = standby.psql("inbox", "SELECT count(*) > 0 FROM countersign.events");
    assert_eq!(kept.trim(), "t");
}

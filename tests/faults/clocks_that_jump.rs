//! The receiver's clock is set, forwards and back, while it works.

use std::time::Duration;

use crate::{
    Changes, Clock, Load, Scene, eventually, postgres::fresh_database, scene::on_postgres, verify,
};

const PATIENCE: Duration = Duration::from_secs(60);
const DAY: i64 = 86_400;
const STALE: &str = "401 timestamp-outside-tolerance";

fn jumps(test: &str, store: &str) {
    let Some(clock) = Clock::right() else { return };
    let mut scene = Scene::new(
        test,
        Changes {
            store,
            environment: clock.environment(),
            ..Changes::default()
        },
    );
    let load = Load::begin(&scene);
    // By days, beyond all partitions that were made ahead, and to before it was started.
    for ahead in [DAY, -3600, 20 * DAY, 0] {
        load.advance(scene.chance.up_to(30));
        let refused = load.answers(STALE);
        clock.jump(ahead);
        // Those whose clocks did not jump are told why; nothing of it is kept.
        if ahead != 0 {
            load.answered(STALE, 4);
        }
        // The others go on, also with what was told before the jump.
        load.set_clocks(ahead);
        load.advance(20);
        assert!(ahead == 0 || load.answers(STALE) > refused);
    }
    // Once all clocks are right, nobody is refused any more.
    eventually(PATIENCE, || {
        let refused = load.answers(STALE);
        load.advance(20);
        (load.answers(STALE) == refused).then_some(())
    });
    let sent = load.finish();
    scene.receiver.stop();
    assert!(!scene.receiver.log().contains("panicked"));
    verify(&scene.receiver, &sent);
}

#[test]
fn a_clock_that_jumps_loses_and_doubles_nothing_on_sqlite() {
    jumps("a_clock_that_jumps_loses_and_doubles_nothing_on_sqlite", "");
}

#[test]
fn a_clock_that_jumps_loses_and_doubles_nothing_on_postgresql() {
    let Some(url) = fresh_database() else { return };
    jumps(
        "a_clock_that_jumps_loses_and_doubles_nothing_on_postgresql",
        &on_postgres(&url),
    );
}

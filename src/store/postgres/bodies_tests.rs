//! Reading what came with events: it concerns the days of those alone.

use jiff::Timestamp;

use super::mute_tests::{address, target};
use super::session::{Purpose, Session};
use super::tests::server::Postgres;
use crate::inbox::Limits;
use crate::store::fixtures::{accept, event, received};
use crate::store::{Export, ImportMode, Store, import};

/// A moment of the day whose partition a fresh schema has.
fn today() -> i64 {
    Timestamp::now().as_second()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_asks_for_no_day_but_those_of_its_events() {
    let Some(server) = Postgres::start(&[]) else {
        return;
    };
    let url = address(&server, "inbox");
    let store = Store::open(&url, Limits::default()).await.unwrap();
    for number in 0..3 {
        accept(&store, received(event(&format!("evt_{number}")), today())).await;
    }
    let mut whole = Vec::new();
    let export = Export::default();
    let exported = export.run(&url, None, &mut whole, &mut |_, _| {}).await;
    exported.unwrap();
    // Whoever drops a day, or makes one anew, holds it like this.
    let other = Session::open(&target(&url), Purpose::Change).await.unwrap();
    let hold = "BEGIN; LOCK TABLE countersign.bodies_default IN ACCESS EXCLUSIVE MODE";
    other.client.batch_execute(hold).await.unwrap();
    let compared = import(&url, ImportMode::Compare, &mut &*whole, &mut |_, _| {}).await;
    let compared = compared.unwrap();
    assert_eq!((compared.events.there, compared.is_equal()), (3, true));
}

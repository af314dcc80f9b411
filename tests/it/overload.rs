//! More comes than can be written.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::{Answer, Receiver, event, eventually, receiver::Changes};

fn with_status(status: u16, mut deliver: impl FnMut() -> Answer) -> impl FnMut() -> Option<()> {
    move || (deliver().status == status).then_some(())
}

#[test]
fn what_finds_no_room_is_turned_away_half_a_second_later_and_taken_when_it_comes_again() {
    let receiver = Receiver::with(&Changes {
        store: "url = \"sqlite:data/countersign.db\"\n[store.limits]\nqueue_deliveries = 1",
        ..Changes::default()
    });
    let file = receiver.directory().join("data/countersign.db");
    let another = rusqlite::Connection::open(file).unwrap();
    another.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (answered, answers) = mpsc::sync_channel(6);
    // One is being written, one waits; the store may have been asked how it is, too.
    for number in 0..6 {
        let mut producer = receiver.producer();
        let answered = answered.clone();
        thread::spawn(move || {
            let begun = Instant::now();
            let answer = producer.deliver(&event(&format!("evt_{number}")));
            answered.send((number, answer, begun.elapsed())).unwrap();
        });
    }
    drop(answered);
    let mut refused: Vec<_> = answers.iter().take(4).collect();
    another.execute_batch("ROLLBACK").unwrap();
    let (kept, later): (Vec<_>, Vec<_>) = answers
        .iter()
        .partition(|(_, answer, _)| answer.status == 204);
    refused.extend(later);
    assert!(!kept.is_empty(), "{refused:?}");
    for (number, answer, took) in refused {
        let told = (answer.status, answer.problem());
        assert_eq!(told, (503, Some("queue-full".into())), "{answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        assert!(took >= Duration::from_millis(500), "{took:?}");
        let mut producer = receiver.producer();
        let again = || producer.deliver(&event(&format!("evt_{number}")));
        // The store may just be asked how it is.
        eventually(Duration::from_secs(10), with_status(204, again));
    }
    let metrics = receiver.admin("/metrics").body;
    let counted = "countersign_failures_total{cause=\"queue_full\"}";
    assert!(metrics.contains(counted), "{metrics}");
}

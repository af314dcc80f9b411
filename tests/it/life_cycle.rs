//! Start, stop, and what a service manager sees.

use std::time::Duration;

use crate::{Receiver, event, eventually, receiver::Changes};

#[test]
fn sigterm_answers_what_is_in_flight_and_exits_0() {
    let mut receiver = Receiver::start();
    let producer = receiver.producer();
    let mut busy = producer.connect().unwrap();
    let mut idle = producer.connect().unwrap();
    let request = producer.signed(&event("evt_1"));
    let (head, tail) = request.split_at(request.len() - 10);
    busy.send(head).unwrap();
    // A whole exchange on another connection: by then the head has been read as well.
    let other = producer.signed(&event("evt_2"));
    assert_eq!(
        producer.connect().unwrap().exchange(&other).unwrap().status,
        204
    );
    receiver.stop();
    eventually(Duration::from_secs(10), || (!idle.is_open()).then_some(()));
    busy.send(tail).unwrap();
    let answer = busy.answer().unwrap();
    assert!(matches!(answer.status, 204 | 503), "{answer:?}");
    assert!(receiver.ended().success());
    assert!(producer.connect().is_err());
}

#[test]
fn a_configuration_that_cannot_be_used_stops_the_start_with_code_2() {
    let receiver = Receiver::start();
    let file = receiver.directory().join("countersign.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    receiver.write("countersign.toml", &format!("{text}\nunknown_key = 1\n"));
    let output = receiver.countersign(&["serve"]);
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(output.stderr.contains("unknown_key"), "{output:?}");
}

#[test]
fn health_and_readiness_are_told_to_whoever_asks() {
    let receiver = Receiver::with(&Changes::default());
    assert_eq!(receiver.admin("/healthz").status, 200);
    eventually(Duration::from_secs(10), || {
        (receiver.admin("/readyz").status == 200).then_some(())
    });
    assert!(receiver.admin("/metrics").body.contains("countersign_"));
}

//! Trust that changes while it runs.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    Authority, Leaf, Receiver,
    authority::SUBJECT,
    event, eventually, peers,
    producer::{sign, unix_now},
    receiver::Changes,
};

const SECONDS_10: Duration = Duration::from_secs(10);
/// For what waits for several processes.
const SECONDS_30: Duration = Duration::from_secs(30);
const OLD_SECRET: &str = "a-secret-of-thirty-two-bytes-len";
const NEXT_SECRET: &str = "another-secret-of-thirty-two-byte";

#[test]
fn an_anchor_that_is_taken_out_ends_what_it_vouched_for() {
    let receiver = Receiver::start();
    let mut producer = receiver.producer();
    assert_eq!(producer.deliver(&event("evt_1")).status, 204);
    let mut idle = producer.connect().unwrap();
    // A request that has begun is answered by today's trust.
    let mut busy = producer.connect().unwrap();
    let request = producer.signed(&event("evt_2"));
    let (head, tail) = request.split_at(request.len() - 10);
    busy.send(head).unwrap();
    let other = Authority::new("The next CA");
    receiver.write("certs/ca.crt", &other.certificate);
    let answer = receiver.reload_now();
    assert_eq!(answer.status, 200, "{answer:?}");
    let reloaded = Instant::now();
    eventually(SECONDS_10, || (!idle.is_open()).then_some(()));
    assert!(reloaded.elapsed() < Duration::from_secs(2));
    let _ = busy.send(tail);
    if let Ok(answer) = busy.answer() {
        // Its head may have been checked before the reload, or after.
        assert!(matches!(answer.status, 204 | 403), "{answer:?}");
    }
    // TLS 1.3: the client is done before it is told that it was refused.
    assert!(producer.renewed().try_deliver(&event("evt_3")).is_err());
    receiver.refusal("unknown-issuer");
    let identity = other.issue(&Leaf::of(SUBJECT));
    let mut next = receiver.producer_as(Some(&identity));
    assert_eq!(next.deliver(&event("evt_4")).status, 204);
}

#[test]
fn every_idle_connection_that_lost_its_trust_is_closed_within_a_second_and_no_other() {
    let receiver = Receiver::start();
    let stays = Authority::new("The CA that stays");
    let both = format!("{}\n{}", receiver.authority.certificate, stays.certificate);
    receiver.write("certs/ca.crt", &both);
    assert_eq!(receiver.reload_now().status, 200);
    let identity = stays.issue(&Leaf::of(SUBJECT));
    let mut kept = receiver.producer_as(Some(&identity)).connect().unwrap();
    let mut idle: Vec<_> = (0..100)
        .map(|_| receiver.producer().connect().unwrap())
        .collect();
    receiver.write("certs/ca.crt", &stays.certificate);
    assert_eq!(receiver.reload_now().status, 200);
    let reloaded = Instant::now();
    for one in &mut idle {
        eventually(SECONDS_10, || (!one.is_open()).then_some(()));
    }
    assert!(reloaded.elapsed() < Duration::from_secs(1));
    assert!(kept.is_open());
}

#[test]
fn a_leaf_that_ends_on_an_open_connection_is_told_at_its_next_request_and_recorded() {
    let receiver = Receiver::start();
    let last = unix_now() + 3;
    let identity = receiver.authority.issue_until(&Leaf::of(SUBJECT), last);
    let producer = receiver.producer_as(Some(&identity));
    let mut kept = producer.connect().unwrap();
    let answer = kept.exchange(&producer.signed(&event("before"))).unwrap();
    assert_eq!(answer.status, 204, "{answer:?}");
    // Its head was let in, and its body comes when the leaf has ended.
    let mut busy = producer.connect().unwrap();
    let request = producer.signed(&event("over the end"));
    let (head, tail) = request.split_at(request.len() - 10);
    busy.send(head).unwrap();
    // The watch over what ended looks each second.
    eventually(SECONDS_10, || (unix_now() > last + 2).then_some(()));
    busy.send(tail).unwrap();
    for answer in [
        busy.answer().unwrap(),
        kept.exchange(&producer.signed(&event("after"))).unwrap(),
    ] {
        assert_eq!(answer.status, 403, "{answer:?}");
        let problem = answer.problem();
        assert_eq!(problem.as_deref(), Some("certificate-no-longer-valid"));
        assert!(answer.closes());
    }
    // The two may be written down one after the other.
    eventually(SECONDS_10, || {
        let refusal = receiver.refusal("certificate-no-longer-valid");
        (refusal["count"] == 2).then_some(())
    });
}

#[test]
fn a_broken_file_leaves_the_old_trust_serving() {
    let receiver = Receiver::start();
    let mut producer = receiver.producer();
    for name in [
        "certs/ca.crt",
        "certs/server.crt",
        "certs/server.key",
        "certs/producer.secret",
        "countersign.toml",
    ] {
        let good = std::fs::read_to_string(receiver.directory().join(name)).unwrap();
        // An empty secret is a fault as much as a text that is no certificate.
        receiver.write(
            name,
            if name.ends_with("secret") {
                ""
            } else {
                "broken"
            },
        );
        let answer = receiver.reload_now();
        assert_eq!(answer.status, 422, "{name}: {answer:?}");
        assert_eq!(producer.deliver(&event(name)).status, 204, "{name}");
        assert!(receiver.producer().connect().is_ok(), "{name}");
        receiver.write(name, &good);
        let answer = receiver.reload_now();
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
    }
}

#[test]
fn a_new_token_of_the_operator_counts_at_once_and_what_needs_a_restart_is_named() {
    let token = std::env::temp_dir();
    let token = tempfile::Builder::new().tempfile_in(token).unwrap();
    std::fs::write(token.path(), "the-first-token").unwrap();
    let receiver = Receiver::with(&Changes {
        environment: vec![(
            "COUNTERSIGN_ADMIN__TOKEN",
            format!("file:{}", token.path().display()).into(),
        )],
        ..Changes::default()
    });
    let reload = |token: &str| {
        let output = peers::curl(
            receiver.directory(),
            &[
                "--request",
                "POST",
                "--header",
                &format!("Authorization: Bearer {token}"),
                &format!("http://{}/api/reload", receiver.admin),
            ],
        );
        output.stdout
    };
    std::fs::write(token.path(), "the-second-token").unwrap();
    // The watch over the files may have been quicker.
    let _either = reload("the-first-token");
    let taken_up = eventually(SECONDS_10, || {
        let answer = reload("the-second-token");
        answer.ends_with("\n200").then_some(answer)
    });
    assert!(taken_up.contains("\"needs_restart\":[]"), "{taken_up}");
    assert!(reload("the-first-token").ends_with("\n401"));
    let file = receiver.directory().join("countersign.toml");
    let text = std::fs::read_to_string(file).unwrap();
    receiver.write(
        "countersign.toml",
        &text.replace("sqlite:data/countersign.db", "sqlite:data/other.db"),
    );
    let answer = reload("the-second-token");
    assert!(
        answer.contains("\"needs_restart\":[\"store.url\"]"),
        "{answer}"
    );
}

#[test]
fn everything_is_rotated_under_traffic_without_a_failed_delivery() {
    everything_is_rotated(&Receiver::start());
}

#[test]
fn everything_is_rotated_as_smoothly_where_sessions_are_resumed() {
    everything_is_rotated(&Receiver::with(&Changes {
        tls: "resumption = true\nmin_version = \"1.2\"",
        ..Changes::default()
    }));
}

/// One delivery by curl, over HTTP/2 on a connection of its own, with the identity and secret of this generation.
#[track_caller]
fn deliver_by_http2(receiver: &Receiver, generation: usize, id: &str) {
    let (name, secret) = [("producer", OLD_SECRET), ("next", NEXT_SECRET)][generation];
    let (body, now) = (event(id), unix_now());
    let signature = sign(secret.as_bytes(), now, &body);
    let output = peers::curl(
        receiver.directory(),
        &[
            "--http2",
            "--cacert",
            "certs/issuer.crt",
            "--cert",
            &format!("certs/{name}.crt"),
            "--key",
            &format!("certs/{name}.key"),
            "--header",
            &format!("X-Webhook-Timestamp: {now}"),
            "--header",
            &format!("X-Webhook-Signature: {signature}"),
            "--data-binary",
            &body,
            &receiver.url(),
        ],
    );
    assert!(output.stdout.ends_with("\n204"), "{id}: {output:?}");
}

fn everything_is_rotated(receiver: &Receiver) {
    let old = receiver.authority.certificate.clone();
    let next = Authority::new("The next CA");
    receiver.write("certs/issuer.crt", &old);
    let over = AtomicBool::new(false);
    let over_http2 = AtomicUsize::new(0);
    let delivered = AtomicUsize::new(0);
    let switched = AtomicUsize::new(0);
    let producer = Mutex::new((0, receiver.producer()));
    // Deliveries go on while each step is taken, and by what the step before it made possible.
    let rounds = || {
        let before = delivered.load(Ordering::Relaxed);
        let before_http2 = over_http2.load(Ordering::Relaxed);
        eventually(SECONDS_30, || {
            let goes_on = delivered.load(Ordering::Relaxed) > before + 20
                && over_http2.load(Ordering::Relaxed) > before_http2 + 1;
            goes_on.then_some(())
        });
    };
    let reload = || {
        let answer = receiver.reload_now();
        assert_eq!(answer.status, 200, "{answer:?}");
        rounds();
    };
    thread::scope(|scope| {
        let deliverers: Vec<_> = (0..3)
            .map(|number| {
                let (over, delivered, producer) = (&over, &delivered, &producer);
                let switched = &switched;
                scope.spawn(move || {
                    let mut mine = receiver.producer();
                    let mut version = 0;
                    let mut count = 0;
                    while !over.load(Ordering::Relaxed) {
                        let changed = {
                            let current = producer.lock().unwrap();
                            (current.0 != version).then(|| (current.0, current.1.renewed()))
                        };
                        if let Some((new, renewed)) = changed {
                            (version, mine) = (new, renewed);
                            switched.fetch_add(1, Ordering::Relaxed);
                        }
                        // Now and then on a new connection, which resumes a session where it may.
                        if count % 10 == 9 {
                            mine = mine.renewed();
                        }
                        let id = format!("evt_{number}_{count}");
                        let answer = mine.deliver(&event(&id));
                        assert_eq!(answer.status, 204, "{id}: {answer:?}");
                        delivered.fetch_add(1, Ordering::Relaxed);
                        count += 1;
                    }
                })
            })
            .collect();
        let by_http2 = scope.spawn(|| {
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                let generation = producer.lock().unwrap().0;
                deliver_by_http2(receiver, generation, &format!("evt_http2_{count}"));
                over_http2.fetch_add(1, Ordering::Relaxed);
                count += 1;
            }
        });
        let watched = scope.spawn(|| {
            rounds();
            // Our own certificate.
            let server = receiver.authority.issue_server();
            receiver.write("certs/server.crt", &server.certificate);
            receiver.write("certs/server.key", &server.key);
            reload();
            // The clients' CA: both for a while.
            receiver.write("certs/ca.crt", &format!("{old}\n{}", next.certificate));
            reload();
            // The secret: both for a while, then the producer signs with the new one, then the old one goes.
            receiver.write("certs/next.secret", NEXT_SECRET);
            let file = receiver.directory().join("countersign.toml");
            let text = std::fs::read_to_string(file).unwrap();
            let both = text.replace(
                r#"secrets = ["file:certs/producer.secret"]"#,
                r#"secrets = ["file:certs/producer.secret", "file:certs/next.secret"]"#,
            );
            receiver.write("countersign.toml", &both);
            reload();
            let identity = next.issue(&Leaf::of(SUBJECT));
            receiver.write("certs/next.crt", &identity.certificate);
            receiver.write("certs/next.key", &identity.key);
            {
                let mut current = producer.lock().unwrap();
                let mut renewed = receiver.producer_as(Some(&identity));
                renewed.secret = NEXT_SECRET.as_bytes().to_vec();
                *current = (1, renewed);
            }
            eventually(SECONDS_30, || {
                (switched.load(Ordering::Relaxed) == 3).then_some(())
            });
            rounds();
            receiver.write("certs/ca.crt", &next.certificate);
            let one = text.replace("certs/producer.secret", "certs/next.secret");
            receiver.write("countersign.toml", &one);
            reload();
            over.store(true, Ordering::Relaxed);
        });
        let failed = watched.join();
        over.store(true, Ordering::Relaxed);
        for deliverer in deliverers {
            deliverer.join().unwrap();
        }
        by_http2.join().unwrap();
        failed.unwrap();
    });
    // Neither the old leaf nor the old secret is of use any more.
    assert!(receiver.producer().try_deliver(&event("late")).is_err());
}

#[test]
fn a_configuration_that_is_emptied_cut_short_or_gone_takes_nobody_away() {
    // With a variable beside it, a start could do without the file.
    let receiver = Receiver::with(&Changes {
        environment: vec![("COUNTERSIGN_SERVER__CUTOFFS", "data/elsewhere.toml".into())],
        ..Changes::default()
    });
    let path = receiver.directory().join("countersign.toml");
    let whole = std::fs::read_to_string(&path).unwrap();
    let (cut, _) = whole.split_once("[[tenants]]").unwrap();
    let mut producer = receiver.producer();
    for (what, content, mend) in [
        ("gone", None, "put it back"),
        ("empty", Some(""), "restart the receiver"),
        ("cut short", Some(cut), "restart the receiver"),
    ] {
        match content {
            Some(content) => receiver.write("countersign.toml", content),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let answer = receiver.reload_now();
        assert_eq!(answer.status, 422, "{what}: {answer:?}");
        assert!(answer.body.contains(mend), "{what}: {answer:?}");
        let ready = receiver.admin("/readyz");
        assert!(ready.body.contains("reload_failing_since"), "{ready:?}");
        let answer = producer.deliver(&event(what));
        assert_eq!(answer.status, 204, "{what}: {answer:?}");
        receiver.write("countersign.toml", &whole);
        assert_eq!(receiver.reload_now().status, 200);
    }
}

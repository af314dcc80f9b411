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
    Authority, Identity, Leaf, Producer, Receiver,
    authority::SUBJECT,
    event, eventually, peers,
    producer::{sign, unix_now},
    receiver::Changes,
};

const SECONDS_10: Duration = Duration::from_secs(10);
/// For what waits for several processes.
const SECONDS_30: Duration = Duration::from_secs(30);
/// How many deliver at once, beside the one over HTTP/2.
const SENDERS: usize = 3;
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
fn a_producer_that_is_configured_no_more_is_let_go_at_the_reload_and_no_other() {
    let receiver = Receiver::with(&Changes {
        more: r#"
[[tenants.producers]]
name = "another-provider"
subject = "CN=another-provider"
secrets = ["file:certs/producer.secret"]
"#,
        ..Changes::default()
    });
    let other = receiver
        .authority
        .issue(&Leaf::of(&[("CN", "another-provider")]));
    let mut kept = receiver.producer_as(Some(&other)).connect().unwrap();
    let mut idle = receiver.producer().connect().unwrap();
    let settings = receiver.directory().join("countersign.toml");
    let text = std::fs::read_to_string(settings).unwrap();
    let without = text.replacen("CN=payments-provider,", "CN=its-next-name,", 1);
    receiver.write("countersign.toml", &without);
    assert_eq!(receiver.reload_now().status, 200);
    eventually(SECONDS_10, || (!idle.is_open()).then_some(()));
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

fn everything_is_rotated(receiver: &Receiver) {
    let next = Authority::new("The next CA");
    let leaf = next.issue(&Leaf::of(SUBJECT));
    receiver.write("certs/issuer.crt", &receiver.authority.certificate);
    let traffic = Traffic::new(receiver);
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            let traffic = &traffic;
            scope.spawn(move || traffic.deliver(sender));
        }
        scope.spawn(|| traffic.deliver_over_http2());
        let steps = scope.spawn(|| {
            traffic.goes_on();
            our_own_certificate_is_replaced(&traffic);
            the_next_ca_is_taken_in(&traffic, &next);
            the_next_secret_is_taken_in(&traffic);
            the_senders_go_over_to_what_is_next(&traffic, &leaf);
            the_old_ca_and_the_old_secret_are_taken_out(&traffic, &next);
        });
        let rotated = steps.join();
        traffic.over.store(true, Ordering::Relaxed);
        rotated.unwrap();
    });
    neither_the_old_leaf_nor_the_old_secret_is_of_use(receiver, &leaf);
}

fn our_own_certificate_is_replaced(traffic: &Traffic<'_>) {
    let server = traffic.receiver.authority.issue_server();
    traffic
        .receiver
        .write("certs/server.crt", &server.certificate);
    traffic.receiver.write("certs/server.key", &server.key);
    traffic.goes_on_after_a_reload();
}

fn the_next_ca_is_taken_in(traffic: &Traffic<'_>, next: &Authority) {
    let old = &traffic.receiver.authority.certificate;
    let both = format!("{old}\n{}", next.certificate);
    traffic.receiver.write("certs/ca.crt", &both);
    traffic.goes_on_after_a_reload();
}

fn the_next_secret_is_taken_in(traffic: &Traffic<'_>) {
    traffic.receiver.write("certs/next.secret", NEXT_SECRET);
    traffic.secrets_are(r#""file:certs/producer.secret", "file:certs/next.secret""#);
    traffic.goes_on_after_a_reload();
}

fn the_senders_go_over_to_what_is_next(traffic: &Traffic<'_>, leaf: &Identity) {
    traffic.receiver.write("certs/next.crt", &leaf.certificate);
    traffic.receiver.write("certs/next.key", &leaf.key);
    let mut renewed = traffic.receiver.producer_as(Some(leaf));
    renewed.secret = NEXT_SECRET.as_bytes().to_vec();
    *traffic.producer.lock().unwrap() = (1, renewed);
    eventually(SECONDS_30, || {
        (traffic.switched.load(Ordering::Relaxed) == SENDERS).then_some(())
    });
    traffic.goes_on();
}

fn the_old_ca_and_the_old_secret_are_taken_out(traffic: &Traffic<'_>, next: &Authority) {
    traffic.receiver.write("certs/ca.crt", &next.certificate);
    traffic.secrets_are(r#""file:certs/next.secret""#);
    traffic.goes_on_after_a_reload();
}

fn neither_the_old_leaf_nor_the_old_secret_is_of_use(receiver: &Receiver, next: &Identity) {
    let mut by_old_leaf = receiver.producer();
    by_old_leaf.secret = NEXT_SECRET.as_bytes().to_vec();
    assert!(by_old_leaf.try_deliver(&event("by the old leaf")).is_err());
    receiver.refusal("unknown-issuer");
    let mut by_old_secret = receiver.producer_as(Some(next));
    assert_eq!(by_old_secret.secret, OLD_SECRET.as_bytes());
    let answer = by_old_secret.deliver(&event("by the old secret"));
    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(answer.problem().as_deref(), Some("signature-mismatch"));
    by_old_secret.secret = NEXT_SECRET.as_bytes().to_vec();
    assert_eq!(by_old_secret.deliver(&event("by what is next")).status, 204);
}

/// Deliveries that go on while each step is taken, and by what the step before it made possible.
struct Traffic<'a> {
    receiver: &'a Receiver,
    /// By whom deliveries are made now; the number tells one from the one before.
    producer: Mutex<(usize, Producer)>,
    over: AtomicBool,
    delivered: AtomicUsize,
    over_http2: AtomicUsize,
    /// How many senders have gone over to the next producer.
    switched: AtomicUsize,
}

impl<'a> Traffic<'a> {
    fn new(receiver: &'a Receiver) -> Self {
        Self {
            receiver,
            producer: Mutex::new((0, receiver.producer())),
            over: AtomicBool::new(false),
            delivered: AtomicUsize::new(0),
            over_http2: AtomicUsize::new(0),
            switched: AtomicUsize::new(0),
        }
    }

    /// Delivers until it is over, and fails if a delivery does.
    fn deliver(&self, sender: usize) {
        let (mut version, mut mine) = (0, self.receiver.producer());
        let mut count = 0;
        while !self.over.load(Ordering::Relaxed) {
            let changed = {
                let current = self.producer.lock().unwrap();
                (current.0 != version).then(|| (current.0, current.1.renewed()))
            };
            if let Some(next) = changed {
                (version, mine) = next;
                self.switched.fetch_add(1, Ordering::Relaxed);
            }
            // Now and then on a new connection, which resumes a session where it may.
            if count % 10 == 9 {
                mine = mine.renewed();
            }
            let id = format!("evt_{sender}_{count}");
            let answer = mine.deliver(&event(&id));
            assert_eq!(answer.status, 204, "{id}: {answer:?}");
            self.delivered.fetch_add(1, Ordering::Relaxed);
            count += 1;
        }
    }

    /// The same by curl, each on a connection of its own.
    fn deliver_over_http2(&self) {
        let mut count = 0;
        while !self.over.load(Ordering::Relaxed) {
            let version = self.producer.lock().unwrap().0;
            deliver_by_http2(self.receiver, version, &format!("evt_http2_{count}"));
            self.over_http2.fetch_add(1, Ordering::Relaxed);
            count += 1;
        }
    }

    /// Waits for more deliveries of either kind.
    #[track_caller]
    fn goes_on(&self) {
        let before = self.delivered.load(Ordering::Relaxed);
        let before_http2 = self.over_http2.load(Ordering::Relaxed);
        eventually(SECONDS_30, || {
            let goes_on = self.delivered.load(Ordering::Relaxed) > before + 20
                && self.over_http2.load(Ordering::Relaxed) > before_http2 + 1;
            goes_on.then_some(())
        });
    }

    #[track_caller]
    fn goes_on_after_a_reload(&self) {
        let answer = self.receiver.reload_now();
        assert_eq!(answer.status, 200, "{answer:?}");
        self.goes_on();
    }

    /// Writes these secrets of the one producer into the configuration.
    #[track_caller]
    fn secrets_are(&self, list: &str) {
        let file = self.receiver.directory().join("countersign.toml");
        let text = std::fs::read_to_string(file).unwrap();
        let (before, rest) = text.split_once("secrets = [").unwrap();
        let (_, after) = rest.split_once(']').unwrap();
        let text = format!("{before}secrets = [{list}]{after}");
        self.receiver.write("countersign.toml", &text);
    }
}

/// One delivery by curl, over HTTP/2 on a connection of its own, with the identity and secret of this version.
#[track_caller]
fn deliver_by_http2(receiver: &Receiver, version: usize, id: &str) {
    let (name, secret) = [("producer", OLD_SECRET), ("next", NEXT_SECRET)][version];
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

//! `countersign bench`: each mode against a real receiver, and against servers that stall, vanish or say nothing.

use std::{
    io::{BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::Value;

use crate::{
    Identity, Receiver, eventually,
    peers::{self, Output},
    receiver::{Changes, binary},
};

const PATIENCE: Duration = Duration::from_secs(30);

fn bench(receiver: &Receiver, mode: &str, arguments: &[&str]) -> Output {
    let url = receiver.url();
    let here = ["bench", mode, "--json", "--url", &url];
    receiver.countersign(&[&here, arguments].concat())
}

#[track_caller]
fn report(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[track_caller]
fn number(report: &Value, field: &str) -> u64 {
    report[field]
        .as_u64()
        .unwrap_or_else(|| panic!("{field}: {report}"))
}

fn sum(counts: &Value) -> u64 {
    let counts = counts.as_object().unwrap().values();
    counts.map(|count| count.as_u64().unwrap()).sum()
}

/// Each that was sent came to one outcome, and the receiver holds what it accepted, and no more.
#[track_caller]
fn check_adds_up(receiver: &Receiver, report: &Value) {
    let outcomes = sum(&report["answers"])
        + sum(&report["errors"])
        + number(report, "completed")
        + number(report, "unanswered");
    assert_eq!(number(report, "sent"), outcomes, "{report}");
    let accepted = report["answers"]["204"].as_u64().unwrap_or(0);
    assert_eq!(number(report, "accepted"), accepted, "{report}");
    if let Some(events) = events(receiver) {
        let warm_up = report["warm_up"]["accepted"].as_u64().unwrap();
        assert_eq!(events.len() as u64, accepted + warm_up, "{report}");
        for event in events {
            let id = event["event_id"].as_str().unwrap();
            assert!(id.starts_with("bench_"), "{event}");
        }
    }
}

/// What the receiver holds; `None` if there is nothing.
fn events(receiver: &Receiver) -> Option<Vec<Value>> {
    let listed = receiver.countersign(&["events", "list", "--json", "--limit", "0"]);
    Some(listed.json_lines()).filter(|events| !events.is_empty())
}

#[test]
fn closed_sends_what_is_answered_and_all_of_it_is_kept() {
    let receiver = Receiver::start();
    let pid = receiver.pid().to_string();
    let output = bench(
        &receiver,
        "closed",
        &[
            "--connections",
            "4",
            "--seconds",
            "1",
            "--warm-up",
            "1",
            "--pid",
            &pid,
        ],
    );
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stderr.contains("are real"), "{output:?}");
    let report = report(&output);
    check_adds_up(&receiver, &report);
    assert!(number(&report, "accepted") > 0, "{report}");
    assert!(report["warm_up"]["accepted"].as_u64() > Some(0), "{report}");
    assert_eq!(report["body_bytes"], 1024);
    assert_eq!(report["connections"], 4);
    let latency = |field: &str| report["latency_ms"][field].as_f64().unwrap();
    assert!(latency("min") > 0.0 && latency("min") <= latency("p50"));
    assert!(latency("p50") <= latency("p99") && latency("p99") <= latency("max"));
    assert!(
        report["server"]["rss_peak_bytes"].as_u64() > Some(1 << 20),
        "{report}"
    );
    assert_eq!(report["server"]["pid"], receiver.pid(), "{report}");
}

#[test]
fn rate_sends_what_is_due_and_no_more() {
    let receiver = Receiver::start();
    let output = bench(
        &receiver,
        "rate",
        &["--rate", "100", "--seconds", "1", "--connections", "8"],
    );
    assert_eq!(output.code, Some(0), "{output:?}");
    let report = report(&output);
    check_adds_up(&receiver, &report);
    assert_eq!(report["due"], 100);
    assert_eq!(report["sent"], 100);
    assert_eq!(report["unsent"], 0);
    assert_eq!(report["warm_up"]["sent"], 100);
}

#[test]
fn other_profiles_and_sizes_are_accepted_too() {
    let receiver = Receiver::with(&Changes {
        more: "[[tenants.producers]]\nname = \"stripe\"\nsubject = \"CN=payments-provider,O=Example,OU=tenant-42\"\n\
               path = \"/webhooks/stripe\"\nprofile = \"stripe\"\nsecrets = [\"file:certs/producer.secret\"]\n\
               [[tenants.producers]]\nname = \"standard\"\nsubject = \"CN=payments-provider,O=Example,OU=tenant-42\"\n\
               path = \"/webhooks/standard\"\nprofile = \"standard-webhooks\"\nsecrets = [\"env:STANDARD\"]\n",
        environment: vec![(
            "STANDARD",
            "whsec_NWYzYzFiMGE5ZDhlN2Y2YTViNGMzZDJlMWYwYTliOGM=".into(),
        )],
        ..Changes::default()
    });
    receiver.write(
        "standard.secret",
        "whsec_NWYzYzFiMGE5ZDhlN2Y2YTViNGMzZDJlMWYwYTliOGM=",
    );
    for (profile, path, secret) in [
        ("stripe", "stripe", "file:certs/producer.secret"),
        ("standard-webhooks", "standard", "file:standard.secret"),
    ] {
        let url = format!(
            "https://localhost:{}/webhooks/{path}",
            receiver.address.port()
        );
        let output = receiver.countersign(&[
            "bench",
            "rate",
            "--json",
            "--url",
            &url,
            "--profile",
            profile,
            "--secret",
            secret,
            "--rate",
            "20",
            "--seconds",
            "1",
            "--warm-up",
            "0",
            "--body-bytes",
            "3000",
        ]);
        assert_eq!(output.code, Some(0), "{profile}: {output:?}");
        let report = report(&output);
        assert_eq!(report["accepted"], 20, "{profile}: {report}");
        assert_eq!(report["body_bytes"], 3000, "{profile}");
    }
}

#[test]
fn handshakes_are_counted_once_both_sides_are_done() {
    let receiver = Receiver::start();
    let output = bench(
        &receiver,
        "handshakes",
        &["--connections", "2", "--seconds", "1", "--warm-up", "0"],
    );
    assert_eq!(output.code, Some(0), "{output:?}");
    let report = report(&output);
    check_adds_up(&receiver, &report);
    assert!(number(&report, "completed") > 0, "{report}");
    assert!(events(&receiver).is_none());
    assert!(receiver.refusals().is_empty());
}

#[test]
fn a_handshake_that_the_receiver_refuses_is_an_error_and_not_a_handshake() {
    let receiver = Receiver::start();
    let stranger = crate::Authority::new("Another CA");
    let foreign = stranger.issue(&crate::Leaf::of(crate::authority::SUBJECT));
    receiver.write("foreign.crt", &foreign.certificate);
    receiver.write("foreign.key", &foreign.key);
    let output = bench(
        &receiver,
        "handshakes",
        &[
            "--connections",
            "1",
            "--seconds",
            "1",
            "--warm-up",
            "0",
            "--cert",
            "foreign.crt",
            "--key",
            "foreign.key",
        ],
    );
    assert_eq!(output.code, Some(1), "{output:?}");
    let report = report(&output);
    assert_eq!(report["completed"], 0, "{report}");
    assert!(
        report["errors"].to_string().contains("unknown CA"),
        "{report}"
    );
}

#[test]
fn idle_connections_are_held_and_weighed() {
    let receiver = Receiver::start();
    let pid = receiver.pid().to_string();
    let output = bench(
        &receiver,
        "idle",
        // Nothing is signed.
        &["--seconds", "1", "--pid", &pid, "--secret", "file:none"],
    );
    assert_eq!(output.code, Some(0), "{output:?}");
    let report = report(&output);
    assert_eq!(report["kept"], 200, "{report}");
    assert!(
        report["server"]["rss_bytes_per_connection"].as_u64() > Some(0),
        "{report}"
    );
    assert!(events(&receiver).is_none());
}

#[test]
fn a_receiver_that_closes_idle_connections_is_told_from_one_that_keeps_them() {
    let receiver = Receiver::with(&Changes {
        limits: "header_timeout = \"1s\"",
        ..Changes::default()
    });
    let output = bench(&receiver, "idle", &["--connections", "5", "--seconds", "4"]);
    assert_eq!(output.code, Some(1), "{output:?}");
    let report = report(&output);
    assert_eq!(report["kept"], 0, "{report}");
    assert_eq!(sum(&report["errors"]), 5, "{report}");
}

#[test]
fn under_overload_a_503_is_no_fault_and_what_was_accepted_is_kept() {
    let receiver = Receiver::with(&Changes {
        environment: vec![("COUNTERSIGN_STORE__LIMITS__QUEUE_DELIVERIES", "1".into())],
        ..Changes::default()
    });
    let arguments = ["--rate", "1000", "--seconds", "1", "--connections", "64"];
    let output = bench(&receiver, "overload", &arguments);
    assert_eq!(output.code, Some(0), "{output:?}");
    let overload = report(&output);
    check_adds_up(&receiver, &overload);
    assert!(overload["answers"]["503"].as_u64() > Some(0), "{overload}");
    assert!(number(&overload, "accepted") > 0, "{overload}");
    // Who is turned away is held back for half a second.
    let soonest = overload["refused_latency_ms"]["min"].as_f64();
    assert!(soonest >= Some(499.0), "{overload}");
    // The same answers are a fault where no overload was asked for.
    let output = bench(&receiver, "rate", &arguments);
    assert_eq!(output.code, Some(1), "{output:?}");
}

#[test]
fn overload_is_twice_what_was_sustained_just_before() {
    let receiver = Receiver::start();
    let arguments = ["--seconds", "1", "--warm-up", "0", "--connections", "8"];
    let output = bench(&receiver, "overload", &arguments);
    assert_eq!(output.code, Some(0), "{output:?}");
    let report = report(&output);
    let sustained = &report["sustained"];
    let offered = report["rate"].as_f64().unwrap();
    let per_second = sustained["accepted_per_second"].as_f64().unwrap();
    assert!((offered / per_second - 2.0).abs() < 0.01, "{report}");
    let kept = events(&receiver).unwrap().len() as u64;
    assert_eq!(
        kept,
        number(&report, "accepted") + number(sustained, "accepted")
    );
}

#[test]
fn a_limit_of_connections_is_told_and_the_rest_goes_on() {
    let receiver = Receiver::with(&Changes {
        limits: "connections_per_ip = 3",
        ..Changes::default()
    });
    let arguments = ["--connections", "8", "--seconds", "1", "--warm-up", "0"];
    let output = bench(&receiver, "closed", &arguments);
    assert_eq!(output.code, Some(1), "{output:?}");
    let report = report(&output);
    check_adds_up(&receiver, &report);
    assert_eq!(report["connections"], 3, "{report}");
    assert_eq!(report["connections_wanted"], 8, "{report}");
    assert_eq!(sum(&report["not_opened"]), 5, "{report}");
}

/// A server with the receiver's certificate that answers 204, and does at the n-th request what it is told to.
fn fake(receiver: &Receiver, at: usize, what: impl Fn() + Send + Sync + 'static) -> SocketAddr {
    let tls = server_config(&receiver.authority.issue_server());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (requests, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(())));
    let what = Arc::new(what);
    thread::spawn(move || {
        for tcp in listener.incoming() {
            let Ok(tcp) = tcp else { return };
            let (tls, requests, gate, what) = (
                Arc::clone(&tls),
                Arc::clone(&requests),
                Arc::clone(&gate),
                Arc::clone(&what),
            );
            thread::spawn(move || {
                answer_all(tcp, tls, || {
                    let number = requests.fetch_add(1, Ordering::SeqCst);
                    // Whoever comes meanwhile waits as well.
                    let _passing = gate.lock().unwrap();
                    if number == at {
                        what();
                    }
                })
            });
        }
    });
    address
}

fn server_config(identity: &Identity) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    Arc::new(config.unwrap())
}

fn answer_all(tcp: TcpStream, tls: Arc<ServerConfig>, before: impl Fn()) -> Option<()> {
    tcp.set_nodelay(true).ok()?;
    let connection = ServerConnection::new(tls).ok()?;
    let mut stream = BufReader::new(StreamOwned::new(connection, tcp));
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).ok()?.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1)?;
        let length = length.split("\r\n").next()?.parse().ok()?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        before();
        let stream = stream.get_mut();
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").ok()?;
        stream.flush().ok()?;
    }
}

#[test]
fn a_server_that_stalls_is_charged_for_all_that_was_due_meanwhile() {
    let receiver = Receiver::start();
    let stall = Duration::from_millis(300);
    let address = fake(&receiver, 60, move || thread::sleep(stall));
    let url = format!("https://localhost:{}/", address.port());
    let output = receiver.countersign(&[
        "bench",
        "rate",
        "--json",
        "--url",
        &url,
        "--rate",
        "200",
        "--seconds",
        "1",
        "--warm-up",
        "0",
        "--connections",
        "1",
    ]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let report = report(&output);
    assert_eq!(report["accepted"], 200, "{report}");
    let milliseconds = |row: &str, field: &str| report[row][field].as_f64().unwrap();
    assert!(milliseconds("latency_ms", "p99") >= 250.0, "{report}");
    // 60 of 200 were due while it stalled: a tenth of all waited for more than half of that time.
    assert!(milliseconds("latency_ms", "p90") >= 150.0, "{report}");
    assert!(number(&report, "late") >= 50, "{report}");
    // Whoever asks how long each took once it was sent sees one slow answer.
    assert!(milliseconds("service_ms", "p90") < 150.0, "{report}");
    assert!(milliseconds("service_ms", "max") >= 300.0, "{report}");
}

#[test]
fn what_could_never_be_sent_is_counted_and_fails() {
    let receiver = Receiver::start();
    let address = fake(&receiver, 10, || thread::sleep(PATIENCE));
    let url = format!("https://localhost:{}/", address.port());
    let output = receiver.countersign(&[
        "bench",
        "rate",
        "--json",
        "--url",
        &url,
        "--rate",
        "50",
        "--seconds",
        "1",
        "--warm-up",
        "0",
        "--connections",
        "1",
    ]);
    assert_eq!(output.code, Some(1), "{output:?}");
    let report = report(&output);
    assert!(number(&report, "unsent") > 0, "{report}");
    assert_eq!(
        number(&report, "sent") + number(&report, "unsent"),
        50,
        "{report}"
    );
    assert!(
        report["errors"].to_string().contains("no answer within"),
        "{report}"
    );
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let receiver = Receiver::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "https://localhost:{}/",
        listener.local_addr().unwrap().port()
    );
    let output = receiver.countersign(&["bench", "closed", "--url", &url, "--connections", "2"]);
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(
        output
            .stderr
            .contains("no connection could be opened: no connection within 10 s"),
        "{output:?}"
    );
}

#[test]
fn a_receiver_that_vanishes_is_told_and_the_measurement_ends() {
    let mut receiver = Receiver::start();
    let url = receiver.url();
    let child = binary(&[])
        .args([
            "bench",
            "closed",
            "--json",
            "--seconds",
            "3",
            "--warm-up",
            "0",
        ])
        .args(["--connections", "4", "--url", &url])
        .current_dir(receiver.directory())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually(PATIENCE, || events(&receiver));
    receiver.kill();
    let output = peers::finished(child);
    assert_eq!(output.code, Some(1), "{output:?}");
    let report = report(&output);
    assert!(sum(&report["errors"]) > 0, "{report}");
    let outcomes = sum(&report["answers"]) + sum(&report["errors"]);
    assert_eq!(number(&report, "sent"), outcomes, "{report}");
}

#[test]
fn a_wish_to_stop_ends_it_and_prints_what_there_is() {
    for signal in [Signal::INT, Signal::TERM] {
        check_ends_and_prints(signal);
    }
}

#[track_caller]
fn check_ends_and_prints(signal: Signal) {
    let receiver = Receiver::start();
    let url = receiver.url();
    let child = binary(&[])
        .args([
            "bench",
            "closed",
            "--json",
            "--seconds",
            "600",
            "--warm-up",
            "0",
        ])
        .args(["--connections", "4", "--url", &url])
        .current_dir(receiver.directory())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually(PATIENCE, || events(&receiver));
    kill_process(Pid::from_child(&child), signal).unwrap();
    let output = peers::finished(child);
    assert_eq!(output.code, Some(0), "{output:?}");
    let report = report(&output);
    assert_eq!(report["interrupted"], true);
    check_adds_up(&receiver, &report);
}

#[test]
fn what_makes_no_sense_is_usage() {
    let receiver = Receiver::start();
    for (arguments, code) in [
        (&["closed", "--rate", "5"][..], 2),
        (&["closed", "--connections", "0"], 2),
        (&["closed", "--connections", "10001"], 2),
        (
            &["closed", "--connections", "1000", "--body-bytes", "2000000"],
            2,
        ),
        (&["closed", "--seconds", "3601"], 2),
        (&["rate", "--rate", "0"], 2),
        (&["everything"], 2),
        (&[], 2),
        (&["closed", "--pid", "4294967295"], 1),
        (&["closed", "--profile", "nobody"], 1),
    ] {
        let url = receiver.url();
        let output = receiver.countersign(&[&["bench", "--url", &url], arguments].concat());
        assert_eq!(output.code, Some(code), "{arguments:?}: {output:?}");
    }
    assert!(events(&receiver).is_none());
}

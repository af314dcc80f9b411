//! Who is turned away at the handshake, what it is told, and what the operator reads of it.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use rcgen::ExtendedKeyUsagePurpose;

use crate::{
    Authority, Identity, Leaf, Receiver, authority::SUBJECT, event, peers, receiver::Changes,
};

/// Shakes hands as this identity, and says which refusal was recorded, and what openssl's peer was told.
#[track_caller]
fn check(receiver: &Receiver, identity: Option<&Identity>, reason: &str, alert: &str) {
    let address = receiver.address.to_string();
    let mut arguments = vec![
        "s_client",
        "-ign_eof",
        "-connect",
        &address,
        "-servername",
        "localhost",
        "-CAfile",
        "certs/ca.crt",
    ];
    if let Some(identity) = identity {
        receiver.write("certs/peer.crt", &identity.certificate);
        receiver.write("certs/peer.key", &identity.key);
        arguments.extend(["-cert", "certs/peer.crt", "-key", "certs/peer.key"]);
    }
    // A request in the same breath: the alert must reach a peer that has already written.
    let request = b"POST /webhooks/payments HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let output = peers::openssl(receiver.directory(), &arguments, request);
    assert!(output.stderr.contains(alert), "{output:?}");
    let refusal = receiver.refusal(reason);
    assert_eq!(refusal["gate"], "handshake");
    assert_eq!(refusal["address"], "127.0.0.1");
    assert_eq!(refusal["server_name"], "localhost");
    if identity.is_some() {
        assert!(!refusal["serial"].is_null(), "{refusal}");
    }
    let line = format!("reason=\"{reason}\"");
    assert!(receiver.log().contains(&line), "no log line has {line}");
    assert_eq!(receiver.producer().deliver(&event(reason)).status, 204);
}

#[test]
fn each_bad_certificate_has_its_own_reason_and_its_alert_arrives() {
    let receiver = Receiver::start();
    let good = Leaf::of(SUBJECT);
    let issue = |leaf: Leaf<'_>| receiver.authority.issue(&leaf);
    check(
        &receiver,
        None,
        "no-certificate",
        "alert certificate required",
    );
    let expired = issue(Leaf {
        not_before_days: -30,
        not_after_days: -1,
        ..Leaf::of(SUBJECT)
    });
    check(
        &receiver,
        Some(&expired),
        "expired",
        "alert certificate expired",
    );
    let early = issue(Leaf {
        not_before_days: 1,
        ..Leaf::of(SUBJECT)
    });
    check(&receiver, Some(&early), "not-yet-valid", "alert ");
    let usage = issue(Leaf {
        usage: ExtendedKeyUsagePurpose::ServerAuth,
        ..Leaf::of(SUBJECT)
    });
    check(
        &receiver,
        Some(&usage),
        "wrong-extended-key-usage",
        "alert ",
    );
    let foreign = Authority::new("Another CA").issue(&good);
    check(
        &receiver,
        Some(&foreign),
        "unknown-issuer",
        "alert unknown ca",
    );
}

#[test]
fn plain_http_on_the_tls_port_is_told_apart() {
    let receiver = Receiver::start();
    let mut tcp = TcpStream::connect(receiver.address).unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    // Read to the end without a reset: the alert, if any, and the close.
    let mut told = Vec::new();
    tcp.read_to_end(&mut told).unwrap();
    assert!(!String::from_utf8_lossy(&told).contains("HTTP/1.1 2"));
    receiver.refusal("not-tls");
}

#[test]
fn a_handshake_that_does_not_come_is_timed_out() {
    let receiver = Receiver::with(&Changes {
        limits: r#"handshake_timeout = "300ms""#,
        ..Changes::default()
    });
    let mut tcp = TcpStream::connect(receiver.address).unwrap();
    let mut told = Vec::new();
    tcp.read_to_end(&mut told).unwrap();
    receiver.refusal("timeout");
}

#[test]
fn a_peer_that_goes_away_is_recorded_as_closed() {
    let receiver = Receiver::start();
    let mut tcp = TcpStream::connect(receiver.address).unwrap();
    tcp.write_all(b"\x16\x03\x01").unwrap();
    drop(tcp);
    receiver.refusal("closed");
}

#[test]
fn tls_1_2_is_refused_unless_it_is_chosen() {
    let hello =
        |receiver: &Receiver| receiver.curl(&["--tls-max", "1.2", "--data", "{}", &receiver.url()]);
    let receiver = Receiver::start();
    let output = hello(&receiver);
    assert!(output.stderr.contains("protocol version"), "{output:?}");
    let refusal = receiver.refusal("protocol-version");
    assert_eq!(refusal["server_name"], "localhost");
    let receiver = Receiver::with(&Changes {
        tls: r#"min_version = "1.2""#,
        ..Changes::default()
    });
    assert!(hello(&receiver).stdout.ends_with("\n401"));
}

#[test]
fn whoever_has_nothing_in_common_with_us_is_recorded_with_the_name_it_asked_for() {
    let receiver = Receiver::start();
    let address = receiver.address.to_string();
    let hello = [
        "s_client",
        "-connect",
        &address,
        "-servername",
        "hooks.example.com",
        "-ciphersuites",
        "TLS_AES_128_CCM_SHA256",
    ];
    let output = peers::openssl(receiver.directory(), &hello, b"");
    assert!(
        output.stderr.contains("alert handshake failure"),
        "{output:?}"
    );
    let refusal = receiver.refusal("no-common-parameters");
    assert_eq!(refusal["server_name"], "hooks.example.com");
}

//! Sessions that are resumed by a real OpenSSL, and what ends them.

use std::time::Duration;

use crate::{Receiver, event, eventually, peers, receiver::Changes};

const SECONDS_10: Duration = Duration::from_secs(10);
const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

fn start(resumption: bool) -> Receiver {
    Receiver::with(&Changes {
        tls: &format!("min_version = \"1.2\"\nresumption = {resumption}"),
        ..Changes::default()
    })
}

/// Two deliveries on one connection that begins with the session in `session`, or leaves one there.
#[track_caller]
fn deliver_twice(
    receiver: &Receiver,
    version: &str,
    session: [&str; 2],
    id: &str,
) -> peers::Output {
    let producer = receiver.producer();
    let mut requests = producer.signed(&event(&format!("{id}_1")));
    // Who closes is told by the last request: s_client reads until then.
    let last = producer.signed(&event(&format!("{id}_2")));
    let last = String::from_utf8(last).unwrap();
    let last = last.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
    requests.extend(last.into_bytes());
    let address = receiver.address.to_string();
    let arguments = [
        "s_client",
        "-ign_eof",
        "-connect",
        &address,
        "-servername",
        "localhost",
        "-CAfile",
        "certs/ca.crt",
        "-cert",
        "certs/producer.crt",
        "-key",
        "certs/producer.key",
        version,
        session[0],
        session[1],
    ];
    peers::openssl(receiver.directory(), &arguments, &requests)
}

fn accepted(output: &peers::Output) -> usize {
    output.stdout.matches("HTTP/1.1 204").count()
}

#[test]
fn openssl_resumes_a_session_where_that_is_allowed_and_nowhere_else() {
    for (resumption, expected) in [(true, "Reused, TLS"), (false, "New, TLS")] {
        let receiver = start(resumption);
        for version in VERSIONS {
            let id = format!("evt{version}");
            let first = deliver_twice(&receiver, version, ["-sess_out", "session.pem"], &id);
            assert_eq!(accepted(&first), 2, "{first:?}");
            assert!(first.stdout.contains("New, TLS"), "{first:?}");
            // Of TLS 1.3 nothing is left that could be resumed.
            if !receiver.directory().join("session.pem").exists() {
                assert!(!resumption);
                continue;
            }
            let id = format!("{id}_again");
            let second = deliver_twice(&receiver, version, ["-sess_in", "session.pem"], &id);
            assert_eq!(accepted(&second), 2, "{second:?}");
            assert!(second.stdout.contains(expected), "{second:?}");
        }
    }
}

#[test]
fn a_session_of_a_peer_that_was_cut_off_is_not_resumed_and_the_alert_says_why() {
    for version in VERSIONS {
        let receiver = start(true);
        let first = deliver_twice(&receiver, version, ["-sess_out", "session.pem"], "evt");
        assert_eq!(accepted(&first), 2, "{first:?}");
        let done = receiver.countersign(&["cutoff", "--tenant", "tenant-42"]);
        assert_eq!(done.code, Some(0), "{done:?}");
        let told = eventually(SECONDS_10, || {
            let second = deliver_twice(&receiver, version, ["-sess_in", "session.pem"], "late");
            // In the very moment of the change a session may be resumed that is then given no answer.
            (!second.stdout.contains("Reused, TLS") && accepted(&second) == 0).then_some(second)
        });
        assert!(
            told.stderr.contains("alert certificate revoked"),
            "{told:?}"
        );
        receiver.refusal("revoked");
    }
}

//! What a handshake proved is asked again with each request.

use std::sync::Arc;
use std::time::Instant;

use countersign::tls::{
    MinVersion, PeerCertificates, Resumption, Trust, TrustParts, server_config,
};
use countersign::x509::RevocationList;
use jiff::{Timestamp, ToSpan};
use rcgen::date_time_ymd;

use crate::forge::Ca;
use crate::peers::{Shown, client, server, shake};
use crate::{leaves, parts, trust};

/// A leaf that ends in 2090, under a root that ends in 2099.
fn authority() -> Ca {
    Ca::root_with("Root", |p| p.not_after = date_time_ymd(2099, 1, 1))
}

/// A connection of a good leaf of `ca`, with `more` sent after it.
async fn peer(trust: &Arc<Trust>, ca: &Ca, more: &[&[u8]]) -> PeerCertificates {
    let (leaf, key) = ca.leaf_and_key(|p| p.not_after = date_time_ymd(2090, 1, 1));
    let config = server_config(&server(), trust, MinVersion::Tls13, Resumption::Off).unwrap();
    let mut chain = vec![&leaf[..]];
    chain.extend(more);
    let shown = Shown::new(&chain, &key);
    let client = client(Some(&shown), &[&rustls::version::TLS13]);
    shake(trust, config, client.into()).await.server.unwrap()
}

#[track_caller]
fn recheck(peer: &PeerCertificates, trust: &Trust, at: Timestamp) -> &'static str {
    match peer.recheck(trust, at) {
        Ok(()) => "holds",
        Err(no_longer) => no_longer.refusal.reason.as_str(),
    }
}

#[tokio::test]
async fn a_leaf_that_lapses_on_a_living_connection_is_refused_from_then_on() {
    let root = authority();
    let trust = Arc::new(trust(&[&root.der]));
    let peer = peer(&trust, &root, &[]).await;
    for (at, expected) in [
        ("2026-11-01T00:00:00Z", "holds"),
        ("2090-01-01T00:00:00.9Z", "holds"),
        ("2090-01-01T00:00:01Z", "expired"),
        ("2095-01-01T00:00:00Z", "expired"),
        // A clock that was set back.
        ("1960-01-01T00:00:00Z", "not-yet-valid"),
    ] {
        assert_eq!(
            recheck(&peer, &trust, at.parse().unwrap()),
            expected,
            "{at}"
        );
    }
}

#[tokio::test]
async fn a_new_trust_is_asked_and_its_answer_kept() {
    let (root, other) = (authority(), Ca::root("Other"));
    let first = Arc::new(trust(&[&root.der]));
    let peer = peer(&first, &root, &[]).await;
    let now = Timestamp::now();
    let wider = trust(&[&other.der, &root.der]);
    assert_eq!(recheck(&peer, &wider, now), "holds");
    assert_eq!(recheck(&peer, &wider, now), "holds");
    let narrower = trust(&[&other.der]);
    assert_eq!(recheck(&peer, &narrower, now), "unknown-issuer");
    assert_eq!(recheck(&peer, &narrower, now), "unknown-issuer");
    // A request that began before the reload is judged by what was valid then.
    assert_eq!(recheck(&peer, &wider, now), "holds");
    assert_eq!(recheck(&peer, &narrower, now), "unknown-issuer");
    assert_eq!(recheck(&peer, &trust(&[&root.der]), now), "holds");
}

#[tokio::test]
async fn a_new_list_and_a_cut_off_reach_living_connections() {
    let root = authority();
    let first = Arc::new(trust(&[&root.der]));
    let peer = peer(&first, &root, &[]).await;
    let now = Timestamp::now();
    let crl = |serials: &[u8]| {
        let der = root.crl_with(serials, |p| p.next_update = date_time_ymd(2080, 1, 1));
        Trust::build(TrustParts {
            crls: vec![RevocationList::decode(&der).unwrap()],
            ..parts(&[&root.der])
        })
        .unwrap()
    };
    let spared = crl(&[1, 2, 3]);
    assert_eq!(recheck(&peer, &spared, now), "holds");
    assert_eq!(
        peer.window().not_after,
        "2080-01-01T00:00:00Z".parse().unwrap()
    );
    let after = "2080-01-01T00:00:01Z".parse().unwrap();
    assert_eq!(recheck(&peer, &spared, after), "revocation-unknown");
    assert_eq!(recheck(&peer, &crl(&[7]), now), "revoked");
    let mut parts = parts(&[&root.der]);
    parts.cut_offs.keys.push(peer.leaf().spki());
    assert_eq!(
        recheck(&peer, &Trust::build(parts).unwrap(), now),
        "revoked"
    );
}

#[tokio::test]
async fn where_one_path_lapses_another_may_hold() {
    let (short, long) = (
        Ca::root_with("Short", |p| p.not_after = date_time_ymd(2050, 1, 1)),
        Ca::root_with("Long", |p| p.not_after = date_time_ymd(2095, 1, 1)),
    );
    let sub = short.sub_with("Sub", |p| p.not_after = date_time_ymd(2095, 1, 1));
    let again = sub.certified_by(&long);
    let both = Arc::new(
        Trust::build(TrustParts {
            intermediates: leaves(&[&again.der]),
            ..parts(&[&short.der, &long.der])
        })
        .unwrap(),
    );
    let peer = peer(&both, &sub, &[&sub.der]).await;
    for (at, expected) in [
        ("2049-01-01T00:00:00Z", "holds"),
        ("2051-01-01T00:00:00Z", "holds"),
        ("2091-01-01T00:00:00Z", "expired"),
    ] {
        assert_eq!(recheck(&peer, &both, at.parse().unwrap()), expected, "{at}");
    }
}

#[tokio::test]
async fn requests_and_reloads_at_once_never_mix_two_trusts() {
    let root = authority();
    let first = Arc::new(trust(&[&root.der]));
    let peer = peer(&first, &root, &[]).await;
    let now = Timestamp::now();
    let until = |year: i32| {
        let der = root.crl_with(&[], |p| p.next_update = date_time_ymd(year, 1, 1));
        Trust::build(TrustParts {
            crls: vec![RevocationList::decode(&der).unwrap()],
            ..parts(&[&root.der])
        })
        .unwrap()
    };
    let trusts: Vec<Trust> = (2040..2060).map(until).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (years, trust) in (2040..).zip(&trusts) {
                    assert_eq!(recheck(&peer, trust, now), "holds");
                    let after = format!("{years}-01-02T00:00:00Z").parse().unwrap();
                    assert_eq!(recheck(&peer, trust, after), "revocation-unknown");
                }
            });
        }
    });
}

/// It prints what an unchanged trust costs each request; `cargo test --release -- --nocapture` shows the number that counts.
#[tokio::test]
async fn an_unchanged_trust_costs_nanoseconds() {
    const ROUNDS: u32 = 200_000;
    let root = authority();
    let trust = Arc::new(trust(&[&root.der]));
    let peer = peer(&trust, &root, &[]).await;
    let now = Timestamp::now() + 1.hour();
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        assert!(std::hint::black_box(&peer).recheck(&trust, now).is_ok());
    }
    let each = begun.elapsed() / ROUNDS;
    eprintln!("recheck: {each:?}");
    assert!(each.as_micros() < 5, "{each:?}");
}

//! Handshakes in memory: what they prove, what they are refused with, and which alert arrives.

use std::io;
use std::sync::Arc;

use countersign::secret::Secret;
use countersign::tls::client::{Connector, hint};
use countersign::tls::{
    HandshakeRefusal, IdentityFault, MinVersion, Resumption, ServerIdentity, Trust, TrustParts,
    server_config,
};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::client::Resumption as ClientResumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{
    ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion, ServerConfig,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::TlsAcceptor;

use crate::forge::{Ca, openssl};
use crate::peers::{ADDRESS, Shown, client, serve, server, shake};
use crate::version_1::{certificate, guide};
use crate::{parts, trust};

/// What an acceptor does with bytes that a client sends before it closes.
async fn bytes(sent: &[u8]) -> HandshakeRefusal {
    let trust = Arc::new(trust(&[&Ca::root("Root").der]));
    let config = configure(&trust, MinVersion::Tls13, Resumption::Off);
    let (near, mut far) = duplex(64 * 1024);
    far.write_all(sent).await.unwrap();
    far.shutdown().await.unwrap();
    serve(&trust, config, near).await.unwrap_err()
}

fn configure(
    trust: &Arc<Trust>,
    min_version: MinVersion,
    resumption: Resumption,
) -> Arc<ServerConfig> {
    server_config(&server(), trust, min_version, resumption).unwrap()
}

/// A certificate's dates are those of the real clock here: rustls asks it.
fn today(p: &mut CertificateParams) {
    p.not_before = date_time_ymd(2020, 1, 1);
    p.not_after = date_time_ymd(2100, 1, 1);
}

fn root() -> Ca {
    Ca::root_with("Root", today)
}

const TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
const TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

#[tokio::test]
async fn a_good_handshake_proves_who_is_there() {
    let root = root();
    let (leaf, key) = root.leaf_and_key(today);
    let trust = Arc::new(trust(&[&root.der]));
    let config = configure(&trust, MinVersion::Tls13, Resumption::Off);
    let shown = Shown::new(&[&leaf], &key);
    let outcome = shake(&trust, config, client(Some(&shown), TLS13).into()).await;
    assert_eq!(outcome.reason(), "holds");
    assert_eq!(outcome.version, Some(ProtocolVersion::TLSv1_3));
    assert_eq!(outcome.group, Some(NamedGroup::X25519MLKEM768));
    assert_eq!(outcome.protocol.as_deref(), Some(&b"h2"[..]));
    let peer = outcome.server.unwrap();
    assert_eq!(peer.leaf().der(), leaf);
    assert_eq!(peer.anchor().der(), root.der);
    assert_eq!(peer.chain().len(), 1);
    assert_eq!(peer.server_name(), Some("localhost"));
    assert_eq!(peer.address(), ADDRESS.parse().unwrap());
}

#[tokio::test]
async fn version_1_leaves_of_every_kind_shake_hands() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for file in ["ca.key", "ca.crt"] {
        std::fs::copy(guide().join(file), at.join(file)).unwrap();
    }
    let kinds = [
        ("rsa2048", "rsa:2048"),
        ("rsa4096", "rsa:4096"),
        ("p256", "ec -pkeyopt ec_paramgen_curve:P-256"),
        ("p384", "ec -pkeyopt ec_paramgen_curve:P-384"),
        ("ed25519", "ed25519"),
    ];
    let trust = Arc::new(trust(&[&certificate(at, "ca.crt")]));
    for (name, kind) in kinds {
        openssl(
            at,
            &format!(
                "req -new -newkey {kind} -nodes -keyout {name}.key -subj /CN=payments-provider -out {name}.csr"
            ),
        );
        openssl(
            at,
            &format!(
                "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 90 -sha256 -out {name}.crt"
            ),
        );
        let shown = Shown::load(at, &format!("{name}.crt"), &format!("{name}.key"));
        for (min_version, versions) in [(MinVersion::Tls13, TLS13), (MinVersion::Tls12, TLS12)] {
            let config = configure(&trust, min_version, Resumption::Off);
            let outcome = shake(&trust, config, client(Some(&shown), versions).into()).await;
            assert_eq!(outcome.reason(), "holds", "{name} {min_version:?}");
            assert_eq!(outcome.server.unwrap().leaf().version(), 1);
        }
    }
}

#[tokio::test]
async fn who_does_not_hold_the_key_is_not_who_the_certificate_says() {
    let root = root();
    let (leaf, _) = root.leaf_and_key(today);
    let thief = KeyPair::generate().unwrap();
    let of_version_1 = Shown {
        chain: vec![certificate(guide(), "producer.crt")],
        key: PrivateKeyDer::from_pem_file(guide().join("ca.key")).unwrap(),
    };
    let of_version_3 = Shown::new(&[&leaf], &thief);
    let guide_ca = certificate(guide(), "ca.crt");
    let trust = Arc::new(trust(&[&root.der, &guide_ca]));
    for shown in [of_version_1, of_version_3] {
        for (min_version, versions) in [(MinVersion::Tls13, TLS13), (MinVersion::Tls12, TLS12)] {
            let config = configure(&trust, min_version, Resumption::Off);
            let outcome = shake(&trust, config, client(Some(&shown), versions).into()).await;
            assert_eq!(outcome.reason(), "bad-signature", "{min_version:?}");
            let refusal = outcome.server.unwrap_err();
            assert!(refusal.claimed.is_some());
            assert!(outcome.alert.unwrap().contains("DecryptError"));
        }
    }
}

#[tokio::test]
async fn each_refusal_tells_the_operator_much_and_the_peer_what_tls_tells() {
    let root = root();
    let stranger = Ca::root("Stranger");
    let lapsed = |p: &mut CertificateParams| p.not_after = date_time_ymd(2026, 6, 1);
    let early = |p: &mut CertificateParams| {
        p.not_before = date_time_ymd(2099, 1, 1);
        p.not_after = date_time_ymd(2100, 1, 1);
    };
    let for_servers = |p: &mut CertificateParams| {
        today(p);
        p.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    };
    let listed = |p: &mut CertificateParams| {
        today(p);
        p.serial_number = Some(rcgen::SerialNumber::from_slice(&[66]));
    };
    let crl = root.crl_with(&[66], |p| p.next_update = date_time_ymd(2099, 1, 1));
    let trust = Trust::build(TrustParts {
        crls: vec![countersign::x509::RevocationList::decode(&crl).unwrap()],
        ..parts(&[&root.der])
    });
    let trust = Arc::new(trust.unwrap());
    let cases = [
        ("expired", "CertificateExpired", root.leaf_and_key(lapsed)),
        (
            "not-yet-valid",
            "CertificateExpired",
            root.leaf_and_key(early),
        ),
        (
            "wrong-extended-key-usage",
            "UnsupportedCertificate",
            root.leaf_and_key(for_servers),
        ),
        ("revoked", "CertificateRevoked", root.leaf_and_key(listed)),
        ("unknown-issuer", "UnknownCA", stranger.leaf_and_key(today)),
    ];
    for (reason, alert, (leaf, key)) in &cases {
        let shown = Shown::new(&[leaf], key);
        for (min_version, versions) in [(MinVersion::Tls13, TLS13), (MinVersion::Tls12, TLS12)] {
            let config = configure(&trust, min_version, Resumption::Off);
            let outcome = shake(&trust, config, client(Some(&shown), versions).into()).await;
            assert_eq!(outcome.reason(), *reason);
            let told = outcome.alert.unwrap();
            assert!(told.contains(alert), "{reason}: {told}");
            let refusal = outcome.server.unwrap_err();
            let claimed = refusal.claimed.unwrap();
            assert!(claimed.subject.to_string().contains("CN=payments-provider"));
            assert_eq!(refusal.server_name.as_deref(), Some("localhost"));
            assert_eq!(refusal.address, ADDRESS.parse().unwrap());
        }
    }
    let (_, _, (leaf, key)) = &cases[0];
    let config = configure(&trust, MinVersion::Tls13, Resumption::Off);
    let client = client(Some(&Shown::new(&[leaf], key)), TLS13);
    let refusal = shake(&trust, config, client.into())
        .await
        .server
        .unwrap_err();
    assert!(refusal.detail.contains("2026-06-01"), "{}", refusal.detail);
}

#[tokio::test]
async fn without_a_certificate_nobody_comes_in() {
    let trust = Arc::new(trust(&[&root().der]));
    for (min_version, versions) in [(MinVersion::Tls13, TLS13), (MinVersion::Tls12, TLS12)] {
        let config = configure(&trust, min_version, Resumption::Off);
        let outcome = shake(&trust, config, client(None, versions).into()).await;
        assert_eq!(outcome.reason(), "no-certificate");
        assert!(outcome.alert.unwrap().contains("CertificateRequired"));
        assert!(outcome.server.unwrap_err().claimed.is_none());
    }
}

#[tokio::test]
async fn versions_and_protocols_must_be_common() {
    let root = root();
    let (leaf, key) = root.leaf_and_key(today);
    let shown = Shown::new(&[&leaf], &key);
    let trust = Arc::new(trust(&[&root.der]));
    let strict = configure(&trust, MinVersion::Tls13, Resumption::Off);
    let outcome = shake(
        &trust,
        Arc::clone(&strict),
        client(Some(&shown), TLS12).into(),
    )
    .await;
    assert_eq!(outcome.reason(), "protocol-version");
    assert!(outcome.alert.unwrap().contains("ProtocolVersion"));
    let lenient = configure(&trust, MinVersion::Tls12, Resumption::Off);
    let outcome = shake(&trust, lenient, client(Some(&shown), TLS12).into()).await;
    assert_eq!(outcome.version, Some(ProtocolVersion::TLSv1_2));
    let mut other = client(Some(&shown), TLS13);
    other.alpn_protocols = vec![b"imap".to_vec()];
    let outcome = shake(&trust, Arc::clone(&strict), other.into()).await;
    assert_eq!(outcome.reason(), "no-common-parameters");
    let mut none = client(Some(&shown), TLS13);
    none.alpn_protocols.clear();
    let outcome = shake(&trust, strict, none.into()).await;
    assert_eq!(outcome.reason(), "holds");
    assert_eq!(outcome.protocol, None);
}

#[tokio::test]
async fn what_is_no_handshake_has_its_own_reasons() {
    let http = bytes(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(http.reason.as_str(), "not-tls");
    assert!(http.claimed.is_none());
    assert_eq!(
        bytes(b"SSH-2.0-OpenSSH_9.6\r\n").await.reason.as_str(),
        "not-tls"
    );
    assert_eq!(bytes(b"").await.reason.as_str(), "closed");
    // A record that begins well, and breaks off or says nonsense.
    assert_eq!(
        bytes(b"\x16\x03\x01\x02\x00\x01\x00").await.reason.as_str(),
        "closed"
    );
    let nonsense = bytes(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\xff").await;
    assert_eq!(nonsense.reason.as_str(), "malformed");
}

#[tokio::test]
async fn a_client_that_does_not_trust_us_is_told_of_as_such() {
    let root = root();
    let (leaf, key) = root.leaf_and_key(today);
    let trust = Arc::new(trust(&[&root.der]));
    let config = configure(&trust, MinVersion::Tls13, Resumption::Off);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.der.clone().into()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(TLS13)
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(Shown::new(&[&leaf], &key).certified());
    let outcome = shake(&trust, config, client.into()).await;
    let refusal = outcome.server.unwrap_err();
    assert_eq!(refusal.reason.as_str(), "closed");
    assert!(
        refusal.detail.contains("does not accept our certificate"),
        "{}",
        refusal.detail
    );
}

#[tokio::test]
async fn sessions_are_resumed_where_that_is_allowed_and_proven_anew() {
    let root = root();
    let (leaf, key) = root.leaf_and_key(today);
    let shown = Shown::new(&[&leaf], &key);
    let wide = Arc::new(trust(&[&root.der]));
    let narrow = Arc::new(trust(&[&Ca::root("Other").der]));
    for (min_version, versions) in [(MinVersion::Tls13, TLS13), (MinVersion::Tls12, TLS12)] {
        let resuming = || {
            let mut client = client(Some(&shown), versions);
            client.resumption = ClientResumption::in_memory_sessions(8);
            Arc::new(client)
        };
        // Off: nothing is handed out.
        let (config, client) = (configure(&wide, min_version, Resumption::Off), resuming());
        for _ in 0..2 {
            let outcome = shake(&wide, Arc::clone(&config), Arc::clone(&client)).await;
            assert_eq!(outcome.kind, Some(HandshakeKind::Full));
        }
        let (config, client) = (
            configure(&wide, min_version, Resumption::Tickets),
            resuming(),
        );
        let first = shake(&wide, Arc::clone(&config), Arc::clone(&client)).await;
        assert_eq!(first.kind, Some(HandshakeKind::Full));
        let second = shake(&wide, Arc::clone(&config), Arc::clone(&client)).await;
        assert_eq!(second.kind, Some(HandshakeKind::Resumed), "{min_version:?}");
        let peer = second.server.unwrap();
        assert_eq!(peer.leaf().der(), leaf);
        assert_eq!(peer.anchor().der(), root.der);
        assert_eq!(peer.server_name(), Some("localhost"));
        // The ticket is good, the trust behind it is gone.
        let third = shake(&narrow, config, Arc::clone(&client)).await;
        assert_eq!(third.reason(), "unknown-issuer");
        assert!(third.server.unwrap_err().claimed.is_some());
        // A reload makes another configuration, which knows no ticket of before.
        let reloaded = configure(&wide, min_version, Resumption::Tickets);
        let fourth = shake(&wide, reloaded, client).await;
        assert_eq!(fourth.kind, Some(HandshakeKind::Full));
        assert_eq!(fourth.reason(), "holds");
    }
}

#[tokio::test]
async fn a_reload_in_the_middle_of_a_handshake_counts() {
    let root = root();
    let (leaf, key) = root.leaf_and_key(today);
    let old = Arc::new(trust(&[&root.der]));
    let new = trust(&[&Ca::root("Other").der]);
    let config = configure(&old, MinVersion::Tls13, Resumption::Off);
    let client = client(Some(&Shown::new(&[&leaf], &key)), TLS13);
    assert_eq!(
        shake(&new, config, client.into()).await.reason(),
        "unknown-issuer"
    );
}

#[tokio::test]
async fn our_own_certificate_may_be_of_version_1_and_our_key_of_every_kind() {
    let root = root();
    let (leaf, key) = root.leaf_and_key(today);
    let shown = Shown::new(&[&leaf], &key);
    let trust = Arc::new(trust(&[&root.der]));
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    openssl(
        at,
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -days 9 -subj /CN=ca -out ca.crt",
    );
    for (name, kind) in [
        ("rsa2048", "rsa:2048"),
        ("rsa4096", "rsa:4096"),
        ("p256", "ec -pkeyopt ec_paramgen_curve:P-256"),
        ("p384", "ec -pkeyopt ec_paramgen_curve:P-384"),
        ("ed25519", "ed25519"),
    ] {
        openssl(
            at,
            &format!(
                "req -new -newkey {kind} -nodes -keyout {name}.key -subj /CN=localhost -out {name}.csr"
            ),
        );
        openssl(
            at,
            &format!(
                "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 9 -out {name}.crt"
            ),
        );
        let mut keys = vec![format!("{name}.key")];
        if name != "ed25519" {
            // PKCS #1 or SEC 1.
            openssl(
                at,
                &format!("pkey -in {name}.key -traditional -out {name}.old"),
            );
            keys.push(format!("{name}.old"));
        }
        for key in keys {
            let read = |file: &str| std::fs::read(at.join(file)).unwrap();
            let key = Secret::new(read(&key));
            let identity = ServerIdentity::load(&read(&format!("{name}.crt")), &key).unwrap();
            assert_eq!(identity.leaf().version(), 1);
            let config = server_config(&identity, &trust, MinVersion::Tls13, Resumption::Off);
            let outcome = shake(&trust, config.unwrap(), client(Some(&shown), TLS13).into()).await;
            assert_eq!(outcome.reason(), "holds", "{name}");
        }
    }
}

#[test]
fn a_certificate_and_a_key_that_do_not_fit_are_no_identity() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for name in ["one", "other"] {
        openssl(
            at,
            &format!(
                "req -x509 -newkey rsa:2048 -nodes -keyout {name}.key -days 9 -subj /CN={name} -out {name}.crt"
            ),
        );
    }
    openssl(
        at,
        "pkey -in one.key -aes256 -passout pass:x -out locked.key",
    );
    let read = |file: &str| std::fs::read(at.join(file)).unwrap();
    let load = |certificate: &[u8], key: &[u8]| {
        ServerIdentity::load(certificate, &Secret::new(key.to_vec())).unwrap_err()
    };
    let mismatch = load(&read("one.crt"), &read("other.key"));
    assert!(
        matches!(mismatch, IdentityFault::Mismatch { .. }),
        "{mismatch}"
    );
    let chain = [read("other.crt"), read("one.crt")].concat();
    let order = load(&chain, &read("one.key"));
    assert!(
        matches!(&order, IdentityFault::Order { subject } if subject == "CN=one"),
        "{order}"
    );
    let locked = load(&read("one.crt"), &read("locked.key"));
    assert!(locked.to_string().contains("encrypted"), "{locked}");
    let swapped = load(&read("one.key"), &read("one.crt"));
    assert!(
        matches!(swapped, IdentityFault::Certificate { .. }),
        "{swapped}"
    );
    let no_key = load(&read("one.crt"), &read("one.crt"));
    assert!(matches!(no_key, IdentityFault::Key { .. }), "{no_key}");
    assert!(matches!(load(b"", b""), IdentityFault::Certificate { .. }));
}

#[tokio::test]
async fn our_own_client_connects_with_a_version_1_leaf_and_says_why_it_can_not() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    std::fs::write(
        at.join("san"),
        "subjectAltName=DNS:localhost,IP:127.0.0.1\n",
    )
    .unwrap();
    openssl(
        at,
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -days 9 -subj /CN=ca -out ca.crt",
    );
    openssl(
        at,
        "req -new -newkey rsa:2048 -nodes -keyout server.key -subj /CN=server -out server.csr",
    );
    openssl(
        at,
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 9 -extfile san -out server.crt",
    );
    let read = |file: &str| std::fs::read(at.join(file)).unwrap();
    let identity =
        ServerIdentity::load(&read("server.crt"), &Secret::new(read("server.key"))).unwrap();
    let trust = Arc::new(trust(&[&certificate(guide(), "ca.crt")]));
    let config = server_config(&identity, &trust, MinVersion::Tls13, Resumption::Off).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let accept = || async {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut stream = TlsAcceptor::from(Arc::clone(&config)).accept(tcp).await?;
        stream.write_u8(1).await?;
        Ok::<_, io::Error>(stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec))
    };
    let of_guide = |file: &str| std::fs::read(guide().join(file)).unwrap();
    let key = Secret::new(of_guide("producer.key"));
    let certificate = of_guide("producer.crt");
    let connector = Connector::new(&read("ca.crt"), Some((&certificate, &key))).unwrap();
    for host in ["127.0.0.1", "localhost"] {
        let connect = async {
            let mut stream = connector.connect(host, port).await.unwrap();
            stream.read_u8().await.unwrap()
        };
        let (accepted, byte) = tokio::join!(accept(), connect);
        assert_eq!(accepted.unwrap().as_deref(), Some(&b"http/1.1"[..]));
        assert_eq!(byte, 1);
    }
    // Another CA than the server's.
    let connector = Connector::new(&of_guide("ca.crt"), None).unwrap();
    let (_, refused) = tokio::join!(accept(), connector.connect("localhost", port));
    let refused = refused.unwrap_err();
    let told = format!(
        "{refused}: {}",
        std::error::Error::source(&refused).unwrap()
    );
    assert!(told.contains("UnknownIssuer"), "{told}");
    assert!(hint(&refused).unwrap().contains("--ca"), "{told}");
}

//! Statements about gates 0 and 1, over real sockets.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http::StatusCode;
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use countersign::tls::{HandshakeReason, LimitReached, Limits, Trust, TrustParts};

use crate::kit::*;

#[tokio::test]
async fn each_request_knows_whose_it_is_on_one_kept_alive_connection() {
    let server = Server::start(Limits::default());
    let mut stream = server.connect().await;
    for _ in 0..3 {
        let answer = get(&mut stream, "/").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(!answer.contains("connection: close"));
    }
    assert_eq!(server.acceptor.connections().count(), 1);
    let (mut sender, _connection) = h2(&server).await;
    let answer = sender.send_request(h2_request("/")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(server.acceptor.connections().count(), 2);
    drop(stream);
    server.count(1).await;
}

#[tokio::test]
async fn the_alert_reaches_a_stranger_that_has_already_written() {
    let server = Server::start(Limits::default());
    // In TLS 1.3 the client is done before the server has seen that there is no certificate.
    let mut stream = server.try_connect(&server.stranger).await.unwrap();
    let _ = stream.write_all(&[b'x'; 20_000]).await;
    let error = timeout(PATIENCE, stream.read_to_end(&mut Vec::new()))
        .await
        .unwrap()
        .unwrap_err();
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
    let refusal = server.log.refusal().await;
    assert_eq!(refusal.reason, HandshakeReason::NoCertificate);
    assert_eq!(server.acceptor.connections().count(), 0);
}

#[tokio::test]
async fn plain_http_silence_and_going_away_are_told_apart() {
    let server = Server::start(Limits {
        handshake_timeout: Duration::from_millis(200),
        ..Limits::default()
    });
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    read_to_close(&mut plain).await;
    assert_eq!(server.log.refusal().await.reason, HandshakeReason::NotTls);

    let mut gone = TcpStream::connect(server.address).await.unwrap();
    gone.write_all(b"\x16\x03\x01\x02").await.unwrap();
    drop(gone);
    assert_eq!(server.log.refusal().await.reason, HandshakeReason::Closed);

    let mut silent = TcpStream::connect(server.address).await.unwrap();
    read_to_close(&mut silent).await;
    assert_eq!(server.log.refusal().await.reason, HandshakeReason::Timeout);
}

#[tokio::test]
async fn a_flood_holds_no_more_connections_than_the_limit() {
    let server = Server::start(Limits {
        connections: 20,
        connections_per_ip: 10,
        ..Limits::default()
    });
    let mut producer = server.connect().await;
    get(&mut producer, "/").await;
    let mut strangers = Vec::new();
    for _ in 0..40 {
        strangers.push(TcpStream::connect(server.address).await.unwrap());
    }
    for stranger in &mut strangers[9..] {
        let mut byte = [0];
        let read = timeout(PATIENCE, stranger.read(&mut byte)).await.unwrap();
        assert!(matches!(read, Ok(0) | Err(_)));
        assert_eq!(server.log.limit().await, LimitReached::ConnectionsPerIp);
    }
    get(&mut producer, "/").await;
    drop(strangers);
    // Their places are free again.
    timeout(PATIENCE, async {
        while server.try_connect(&server.client).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn idle_connections_are_closed_in_both_versions_of_http() {
    let server = Server::start(quick(Duration::from_millis(150)));
    let mut stream = server.connect().await;
    get(&mut stream, "/").await;
    let (mut sender, connection) = h2(&server).await;
    sender.send_request(h2_request("/")).await.unwrap();
    let mut never_spoke = server.connect().await;
    assert_eq!(read_to_close(&mut stream).await, b"");
    assert_eq!(read_to_close(&mut never_spoke).await, b"");
    // A GOAWAY and a clean end: the client knows that nothing was lost.
    timeout(PATIENCE, connection)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    server.count(0).await;
}

#[tokio::test]
async fn a_request_in_flight_is_not_idle() {
    let server = Server::start(quick(Duration::from_millis(80)));
    let mut waiting = server.connect().await;
    waiting
        .write_all(request("/wait").as_bytes())
        .await
        .unwrap();
    // Another connection goes through a whole idle time meanwhile.
    let mut idle = server.connect().await;
    read_to_close(&mut idle).await;
    server.release.notify_one();
    read_answer(&mut waiting).await;
    read_to_close(&mut waiting).await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_or_trickles_cannot_hold_a_connection() {
    let server = Server::start(quick(Duration::from_millis(100)));
    // Never reads: the answers fill all buffers, then the server can write no more.
    let mut deaf = server.connect().await;
    let many = request("/").repeat(100);
    while timeout(Duration::from_millis(300), deaf.write_all(many.as_bytes()))
        .await
        .is_ok_and(|written| written.is_ok())
    {}
    let mut trickle = server.connect().await;
    let trickling = async { while trickle.write_all(b"x").await.is_ok() {} };
    timeout(PATIENCE, trickling).await.unwrap();
    server.count(0).await;
}

#[tokio::test]
async fn a_peer_that_has_ended_its_own_side_is_answered_and_bound_like_any_other() {
    let server = Server::start(quick(Duration::from_millis(100)));
    for end in End::ALL {
        let mut waiting = server.connect().await;
        waiting
            .write_all(request("/wait").as_bytes())
            .await
            .unwrap();
        end.of(&mut waiting).await;
        // Another connection goes through a whole idle time meanwhile, in which a request in flight is not idle.
        let mut idle = server.connect().await;
        read_to_close(&mut idle).await;
        server.release.notify_one();
        read_answer(&mut waiting).await;
        read_to_close(&mut waiting).await;
        server.count(0).await;

        // With nothing in flight there is nothing to wait for.
        let mut done = server.connect().await;
        get(&mut done, "/").await;
        end.of(&mut done).await;
        read_to_close(&mut done).await;

        // Never reads: the answers fill all buffers, then the server can write no more.
        let mut deaf = server.connect().await;
        let many = request("/").repeat(100);
        while timeout(Duration::from_millis(300), deaf.write_all(many.as_bytes()))
            .await
            .is_ok_and(|written| written.is_ok())
        {}
        end.of(&mut deaf).await;
        server.count(0).await;
    }
}

#[tokio::test]
async fn a_peer_that_has_ended_its_own_side_is_closed_after_its_answer_or_cut() {
    let server = Server::start(Limits::default());
    for end in End::ALL {
        let mut busy = server.connect().await;
        busy.write_all(request("/wait").as_bytes()).await.unwrap();
        end.of(&mut busy).await;
        // The request waits: another connection's exchange comes after it.
        let mut other = server.connect().await;
        get(&mut other, "/").await;
        let connections = server.acceptor.connections();
        assert_eq!(connections.close_where(|_| true), 2);
        server.count(1).await;
        server.release.notify_one();
        let answer = read_answer(&mut busy).await;
        assert!(answer.contains("connection: close"), "{answer}");
        read_to_close(&mut busy).await;
        server.count(0).await;

        let mut cut = server.connect().await;
        cut.write_all(request("/wait").as_bytes()).await.unwrap();
        end.of(&mut cut).await;
        get(&mut server.connect().await, "/").await;
        assert!(connections.abort_all() >= 1);
        let ended = timeout(PATIENCE, cut.read(&mut [0; 64])).await.unwrap();
        assert!(matches!(ended, Ok(0) | Err(_)));
        server.count(0).await;
    }
}

#[tokio::test]
async fn a_stop_answers_who_has_ended_its_own_side_and_waits_no_longer_for_it() {
    let mut server = Server::start(Limits::default());
    let mut busy = Vec::new();
    for end in End::ALL {
        let mut one = server.connect().await;
        one.write_all(request("/wait").as_bytes()).await.unwrap();
        end.of(&mut one).await;
        busy.push(one);
    }
    let mut stuck = server.connect().await;
    stuck.write_all(request("/wait").as_bytes()).await.unwrap();
    End::Both.of(&mut stuck).await;
    get(&mut server.connect().await, "/").await;
    server.stop.take().unwrap().send(()).unwrap();
    for one in &mut busy {
        server.release.notify_one();
        let answer = read_answer(one).await;
        assert!(answer.contains("connection: close"), "{answer}");
        read_to_close(one).await;
    }
    timeout(PATIENCE, &mut server.served)
        .await
        .unwrap()
        .unwrap();
    server.count(0).await;
}

#[tokio::test]
async fn connections_that_fail_are_closed_idle_at_once_and_busy_after_their_answer() {
    let server = Server::start(Limits::default());
    let mut idle = server.connect().await;
    get(&mut idle, "/").await;
    let mut busy = server.connect().await;
    busy.write_all(request("/wait").as_bytes()).await.unwrap();
    let (mut sender, connection) = h2(&server).await;
    let answering = tokio::spawn(sender.send_request(h2_request("/wait")));
    // Both requests wait: a third connection's exchange comes after them.
    get(&mut server.connect().await, "/").await;
    let connections = server.acceptor.connections();
    assert_eq!(connections.close_where(|_| false), 0);
    assert!(
        connections.close_where(|peer| peer.leaf().subject().to_string() == "CN=producer") >= 3
    );
    assert_eq!(read_to_close(&mut idle).await, b"");
    server.release.notify_waiters();
    server.release.notify_one();
    let answer = read_answer(&mut busy).await;
    assert!(answer.contains("connection: close"), "{answer}");
    read_to_close(&mut busy).await;
    server.release.notify_one();
    assert_eq!(answering.await.unwrap().unwrap().status(), StatusCode::OK);
    timeout(PATIENCE, connection)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    server.count(0).await;
}

#[tokio::test]
async fn who_goes_on_asking_over_http_2_after_the_goodbye_is_cut() {
    let server = Server::start(quick(Duration::from_millis(200)));
    let mut config = server.client.clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut deaf = server.try_connect(&config).await.unwrap();
    deaf.write_all(H2_BEGUN).await.unwrap();
    // It acknowledges nothing, so that the server never learns whether its GOAWAY was heard.
    let mut goes_on = async || -> std::io::Result<()> {
        for stream in (1_u32..).step_by(2) {
            deaf.write_all(&h2_get(stream)).await?;
            if deaf.read(&mut [0; 4096]).await? == 0 {
                break;
            }
            if stream == 1 {
                server.acceptor.connections().close_where(|_| true);
            }
        }
        Ok(())
    };
    let _ended = timeout(PATIENCE, goes_on()).await.unwrap();
    server.count(0).await;
}

#[tokio::test]
async fn a_review_closes_what_trust_was_withdrawn_from_and_leaves_what_has_only_ended() {
    let server = Server::start(Limits::default());
    let mut idle = server.connect().await;
    get(&mut idle, "/").await;
    let connections = server.acceptor.connections();
    let renewed = Trust::build(TrustParts {
        anchors: server.trust.anchors().to_vec(),
        ..TrustParts::default()
    });
    let long_after = "9000-01-01T00:00:00Z".parse().unwrap();
    for trust in [Arc::clone(&server.trust), Arc::new(renewed.unwrap())] {
        let told = connections.review(Arc::clone(&trust), long_after, |_| true);
        assert_eq!(told.await, 0);
        assert!(!connections.any_unknown(&trust));
    }
    get(&mut idle, "/").await;
    let (of_others, ..) = trust();
    let now = jiff::Timestamp::now();
    assert!(connections.any_unknown(&of_others.trust()));
    let told = connections.review(of_others.trust(), now, |_| true);
    assert_eq!(told.await, 1);
    assert_eq!(read_to_close(&mut idle).await, b"");
}

#[tokio::test]
async fn a_cut_connection_ends_whatever_is_in_flight() {
    let server = Server::start(Limits::default());
    let mut busy = server.connect().await;
    busy.write_all(request("/wait").as_bytes()).await.unwrap();
    server.count(1).await;
    assert_eq!(server.acceptor.connections().abort_all(), 1);
    let ended = timeout(PATIENCE, busy.read(&mut [0; 64])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)));
    server.count(0).await;
}

#[tokio::test]
async fn a_handler_may_make_its_answer_the_last_one() {
    let server = Server::start(Limits::default());
    let mut stream = server.connect().await;
    let answer = get(&mut stream, "/last").await;
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(read_to_close(&mut stream).await, b"");
    let (mut sender, connection) = h2(&server).await;
    let answer = sender.send_request(h2_request("/last")).await.unwrap();
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes(),
        "CN=producer"
    );
    timeout(PATIENCE, connection)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_stop_answers_what_has_begun_handshakes_among_it() {
    let mut server = Server::start(Limits::default());
    let mut idle = server.connect().await;
    get(&mut idle, "/").await;
    let mut kept = server.connect().await;
    get(&mut kept, "/").await;
    let (mut sender, connection) = h2(&server).await;
    sender.send_request(h2_request("/")).await.unwrap();
    let mut busy = server.connect().await;
    busy.write_all(request("/wait").as_bytes()).await.unwrap();
    get(&mut server.connect().await, "/").await;
    // In the backlog or accepted, but no byte of its handshake is sent yet.
    let tcp = TcpStream::connect(server.address).await.unwrap();
    server.stop.take().unwrap().send(()).unwrap();
    timeout(PATIENCE, connection)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    // A client that did not know has its request answered.
    let answer = get(&mut kept, "/").await;
    assert!(answer.contains("connection: close"), "{answer}");
    let mut late = server.shake_hands(tcp, &server.client).await.unwrap();
    let answer = get(&mut late, "/").await;
    assert!(answer.contains("connection: close"), "{answer}");
    read_to_close(&mut late).await;
    assert_eq!(read_to_close(&mut idle).await, b"");
    TcpStream::connect(server.address).await.unwrap_err();
    server.release.notify_one();
    assert!(read_answer(&mut busy).await.contains("connection: close"));
    drop((busy, late, kept));
    timeout(PATIENCE, &mut server.served)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_stop_cuts_what_does_not_end_in_time() {
    let mut server = Server::start(Limits::default());
    let mut busy = server.connect().await;
    busy.write_all(request("/wait").as_bytes()).await.unwrap();
    server.count(1).await;
    server.stop.take().unwrap().send(()).unwrap();
    timeout(PATIENCE, &mut server.served)
        .await
        .unwrap()
        .unwrap();
    server.count(0).await;
}

#[tokio::test]
async fn behind_a_proxy_the_peers_own_address_counts_and_is_recorded() {
    let limits = Limits {
        connections_per_ip: 1,
        ..Limits::default()
    };
    let server = Server::start_behind(limits, vec!["127.0.0.0/8".parse().unwrap()]);
    let through = async |header: &[u8]| {
        let mut tcp = TcpStream::connect(server.address).await.unwrap();
        tcp.write_all(header).await.unwrap();
        tcp
    };
    let first = through(b"PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n").await;
    let mut first = server.shake_hands(first, &server.client).await.unwrap();
    get(&mut first, "/").await;
    let peer: SocketAddr = "192.0.2.1:1".parse().unwrap();
    assert_eq!(
        server
            .acceptor
            .connections()
            .close_where(|peers| peers.address() == peer),
        1
    );
    read_to_close(&mut first).await;
    server.count(0).await;

    let other = through(b"PROXY TCP4 192.0.2.2 127.0.0.1 1 2\r\n").await;
    let mut other = server.shake_hands(other, &server.client).await.unwrap();
    get(&mut other, "/").await;
    let second = through(b"PROXY TCP4 192.0.2.2 127.0.0.1 3 4\r\n").await;
    server
        .shake_hands(second, &server.client)
        .await
        .unwrap_err();
    assert_eq!(server.log.limit().await, LimitReached::ConnectionsPerIp);

    let mut plain = through(b"PROXY TCP4 192.0.2.3 127.0.0.1 5 6\r\nGET /").await;
    read_to_close(&mut plain).await;
    let refusal = server.log.refusal().await;
    assert_eq!(refusal.reason, HandshakeReason::NotTls);
    assert_eq!(refusal.address, "192.0.2.3:5".parse().unwrap());

    server.try_connect(&server.client).await.unwrap_err();
    let refusal = server.log.refusal().await;
    assert_eq!(refusal.reason, HandshakeReason::Malformed);
    assert!(refusal.detail.contains("no PROXY header"), "{refusal:?}");

    // A health check says nothing, or for whom it does not come, and goes or is cut: no refusal. What follows it is one, and the only one.
    for check in [
        &b""[..],
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
        b"PROXY UNKNOWN\r\n",
    ] {
        drop(through(check).await);
        through(check).await.set_zero_linger().unwrap();
    }
    drop(through(b"PROXY TC").await);
    let refusal = server.log.refusal().await;
    assert_eq!(refusal.reason, HandshakeReason::Closed);
    assert!(refusal.detail.contains("PROXY"), "{refusal:?}");
    assert!(server.log.refusals.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_proxy_header_from_a_stranger_is_no_tls() {
    let server = Server::start_behind(Limits::default(), vec!["10.0.0.0/8".parse().unwrap()]);
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    tcp.write_all(b"PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n")
        .await
        .unwrap();
    read_to_close(&mut tcp).await;
    let refusal = server.log.refusal().await;
    assert_eq!(refusal.reason, HandshakeReason::NotTls);
    assert_eq!(refusal.address.ip(), Ipv4Addr::LOCALHOST);
    // Who is no proxy needs no header.
    get(&mut server.connect().await, "/").await;
}

#[tokio::test]
async fn bounds_may_change_while_connections_are_open() {
    let server = Server::start(Limits::default());
    let mut held = server.connect().await;
    get(&mut held, "/").await;
    server.acceptor.reconfigure(
        Limits {
            connections_per_ip: 1,
            ..Limits::default()
        },
        Vec::new(),
    );
    server.try_connect(&server.client).await.unwrap_err();
    assert_eq!(server.log.limit().await, LimitReached::ConnectionsPerIp);
    get(&mut held, "/").await;
}

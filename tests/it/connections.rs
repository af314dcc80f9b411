//! Gate 0: how many connections, for how long, and through which proxy.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

#[cfg(target_os = "linux")]
use socket2::{Domain, Socket, Type};

use crate::{Receiver, event, eventually, producer::Connection, receiver::Changes};

const SECONDS_10: Duration = Duration::from_secs(10);

/// Whether the other side has closed it by now.
fn is_closed(tcp: &TcpStream) -> bool {
    tcp.set_nonblocking(true).unwrap();
    match tcp.peek(&mut [0; 16]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

#[test]
fn a_connection_over_the_limit_of_its_address_is_closed_and_others_stay() {
    let receiver = Receiver::with(&Changes {
        limits: "connections_per_ip = 3",
        ..Changes::default()
    });
    let mut held: Vec<Connection> = (0..3)
        .map(|_| receiver.producer().connect().unwrap())
        .collect();
    for _ in 0..3 {
        assert!(receiver.producer().connect().is_err());
    }
    assert!(held.iter_mut().all(Connection::is_open));
    // The sender sees no more than a connection that is closed: the log alone can say why, and says it once.
    let told = || receiver.log().matches("closed at a limit").count();
    eventually(SECONDS_10, || (told() > 0).then_some(()));
    assert!(receiver.log().contains("server.limits.connections_per_ip"));
    assert_eq!(told(), 1);
    held.pop();
    eventually(SECONDS_10, || receiver.producer().connect().ok());
}

#[test]
fn bodies_for_which_there_is_no_room_are_told_to_come_again_and_counted() {
    let receiver = Receiver::with(&Changes {
        limits: "body_bytes = 67108864\nbody_timeout = \"60s\"",
        ..Changes::default()
    });
    let producer = receiver.producer();
    let part = vec![b' '; 1 << 20];
    // Of 256 MiB all but 8 are taken by bodies whose end does not come.
    let _held: Vec<Connection> = (0..4)
        .map(|_| {
            let mut held = producer.connect().unwrap();
            held.send(&producer.begun(67_108_864)).unwrap();
            (0..62).for_each(|_| held.send(&part).unwrap());
            held
        })
        .collect();
    let one_more = || {
        let mut one = producer.connect().ok()?;
        let mut request = producer.begun(16 << 20);
        request.resize(request.len() + (16 << 20), b' ');
        // The answer may come before all of it is sent.
        let _sent = one.send(&request);
        one.answer().ok()
    };
    let answer = eventually(Duration::from_secs(30), || {
        one_more().filter(|answer| answer.status == 503)
    });
    assert!(answer.body.contains("overloaded"), "{answer:?}");
    assert!(answer.closes(), "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    let counted = "countersign_failures_total{cause=\"overloaded\"}";
    let metrics = receiver.admin("/metrics").body;
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn heads_whose_bodies_do_not_come_take_of_the_same_room() {
    let receiver = Receiver::with(&Changes {
        limits: "body_timeout = \"60s\"",
        ..Changes::default()
    });
    let producer = receiver.producer();
    // 900 headers of a byte each are more than 100 kB in memory: of 2,500 such heads 256 MiB have no room for all.
    let _held: Vec<Connection> = (0..25)
        .map(|_| producer.begun_over_http_2(100, 900).unwrap())
        .collect();
    let turned_away = || {
        let metrics = receiver.admin("/metrics").body;
        let mut lines = metrics.lines();
        let counted = lines.find_map(|line| {
            line.strip_prefix("countersign_failures_total{cause=\"overloaded\"} ")
        })?;
        (counted != "0").then_some(())
    };
    eventually(Duration::from_secs(30), turned_away);
}

#[test]
fn the_operators_side_has_room_for_64_connections_and_none_for_silence() {
    let receiver = Receiver::start();
    let begun = Instant::now();
    let connect = || TcpStream::connect(receiver.admin).unwrap();
    let held: Vec<TcpStream> = (0..64 + 10).map(|_| connect()).collect();
    let closed = || held.iter().filter(|tcp| is_closed(tcp)).count();
    eventually(SECONDS_10, || (closed() >= 10).then_some(()));
    if begun.elapsed() < Duration::from_secs(5) {
        assert_eq!(closed(), 10);
    }
    // Whoever says nothing does not keep the others out.
    eventually(Duration::from_secs(30), || {
        (closed() == held.len()).then_some(())
    });
    assert_eq!(receiver.admin("/healthz").status, 200);
    let log = receiver.log();
    assert_eq!(log.matches("has no room for more").count(), 1, "{log}");
}

#[cfg(target_os = "linux")]
#[test]
fn who_does_not_read_the_operators_answers_does_not_keep_others_out() {
    let receiver = Receiver::start();
    let deaf = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(2048).unwrap();
        socket.connect(&receiver.admin.into()).unwrap();
        socket
            .set_write_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let requests = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
        // Until neither side reads.
        let mut stream = TcpStream::from(socket);
        while stream.write_all(requests.as_bytes()).is_ok() {}
        stream
    };
    let held: Vec<TcpStream> = (0..64).map(|_| deaf()).collect();
    let healthy = eventually(Duration::from_secs(60), || {
        let mut asking = TcpStream::connect(receiver.admin).ok()?;
        asking
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .ok()?;
        let mut answer = String::new();
        asking.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(answer)
    });
    assert!(!healthy.is_empty());
    drop(held);
}

#[test]
fn an_idle_connection_is_closed_and_one_in_use_is_not() {
    let receiver = Receiver::with(&Changes {
        limits: r#"header_timeout = "400ms""#,
        ..Changes::default()
    });
    let mut producer = receiver.producer();
    let mut idle = producer.connect().unwrap();
    let mut slow = producer.connect().unwrap();
    let mut used = producer.connect().unwrap();
    let started = Instant::now();
    let mut number = 0;
    eventually(SECONDS_10, || {
        let request = producer.signed(&event(&format!("evt_{number}")));
        assert_eq!(used.exchange(&request).unwrap().status, 204);
        // A head that never comes to its end is no request in flight.
        let _ = slow.send(b"X");
        number += 1;
        (!idle.is_open() && !slow.is_open()).then_some(())
    });
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert_eq!(producer.deliver(&event("evt_last")).status, 204);
}

#[test]
fn an_answer_that_comes_before_the_body_has_been_sent_is_not_lost() {
    let receiver = Receiver::start();
    let mut connection = receiver.producer().connect().unwrap();
    connection
        .send(
            b"POST /webhooks/payments HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16000000\r\n\r\n",
        )
        .unwrap();
    // The peer may close while we still write: its answer is there all the same.
    for _ in 0..160 {
        if connection.send(&[b' '; 100_000]).is_err() {
            break;
        }
    }
    assert_eq!(connection.answer().unwrap().status, 413);
}

#[test]
fn a_trusted_proxy_names_the_peer_and_must_do_so() {
    let receiver = Receiver::with(&Changes {
        server: r#"trusted_proxies = ["127.0.0.0/8"]"#,
        ..Changes::default()
    });
    let mut tcp = TcpStream::connect(receiver.address).unwrap();
    tcp.write_all(b"PROXY TCP4 192.0.2.77 127.0.0.1 50000 8443\r\nGET / HTTP/1.1\r\n\r\n")
        .unwrap();
    tcp.shutdown(Shutdown::Write).unwrap();
    tcp.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(receiver.refusal("not-tls")["address"], "192.0.2.77");

    let output = receiver.curl(&["--haproxy-protocol", "--data", "{}", &receiver.url()]);
    assert!(output.stdout.ends_with("\n401"), "{output:?}");

    assert!(receiver.producer().connect().is_err());
    receiver.refusal("malformed");
}

#[test]
fn a_flood_of_silent_strangers_does_not_keep_a_producer_out() {
    let receiver = Receiver::with(&Changes {
        limits: "connections_per_ip = 100",
        ..Changes::default()
    });
    let mut producer = receiver.producer();
    assert_eq!(producer.deliver(&event("evt_1")).status, 204);
    let strangers: Vec<TcpStream> = (0..200)
        .map(|_| TcpStream::connect(receiver.address).unwrap())
        .collect();
    // The address holds a hundred, the producer's one among them. Which of the others stay is the kernel's choice.
    eventually(SECONDS_10, || {
        let closed = strangers.iter().filter(|tcp| is_closed(tcp)).count();
        (closed >= 101).then_some(())
    });
    let closed = strangers.iter().filter(|tcp| is_closed(tcp)).count();
    assert_eq!(closed, 101);
    assert_eq!(producer.deliver(&event("evt_2")).status, 204);
}

//! Start, stop, and what a service manager sees.

use std::{
    ffi::OsString,
    net::{TcpListener, TcpStream},
    os::{fd::AsRawFd, unix::net::UnixDatagram},
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    process::{Pid, Signal, kill_process},
};

use crate::{
    Receiver, event, eventually, peers,
    producer::Connection,
    receiver::{Changes, binary},
};

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
    receiver.terminate();
    eventually(Duration::from_secs(10), || (!idle.is_open()).then_some(()));
    busy.send(tail).unwrap();
    let answer = busy.answer().unwrap();
    assert!(matches!(answer.status, 204 | 503), "{answer:?}");
    assert!(receiver.ended().success());
    assert!(producer.connect().is_err());
}

#[test]
fn signals_are_heard_before_the_store_is_open() {
    let receiver = Receiver::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let database = silent.local_addr().unwrap();
    let child = binary(&[])
        .arg("serve")
        .current_dir(receiver.directory())
        .env(
            "COUNTERSIGN_STORE__URL",
            format!("postgres://nobody@{database}/none?sslmode=disable"),
        )
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _asked = silent.accept().unwrap();
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2, Signal::TERM] {
        kill_process(Pid::from_child(&child), signal).unwrap();
    }
    let output = peers::finished(child);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stderr.contains("told to stop"), "{output:?}");
}

#[test]
fn a_signal_that_means_nothing_is_told_and_ends_nothing() {
    let receiver = Receiver::start();
    let pid = Pid::from_raw(receiver.pid().cast_signed()).unwrap();
    for (signal, name) in [(Signal::USR1, "SIGUSR1"), (Signal::USR2, "SIGUSR2")] {
        kill_process(pid, signal).unwrap();
        eventually(Duration::from_secs(10), || {
            let log = receiver.log();
            let mut lines = log.lines();
            lines.find(|line| line.contains(name) && line.contains("ignored"))?;
            Some(())
        });
    }
    assert_eq!(receiver.producer().deliver(&event("evt_1")).status, 204);
}

#[test]
fn a_second_interrupt_ends_the_grace_of_what_is_in_flight() {
    let mut receiver = Receiver::with(&Changes {
        limits: "body_timeout = \"60s\"\nrequest_timeout = \"60s\"",
        ..Changes::default()
    });
    let producer = receiver.producer();
    let mut busy = producer.connect().unwrap();
    let mut idle = producer.connect().unwrap();
    busy.send(&producer.begun(1000)).unwrap();
    let other = producer.signed(&event("evt_1"));
    assert_eq!(
        producer.connect().unwrap().exchange(&other).unwrap().status,
        204
    );
    receiver.interrupt();
    eventually(Duration::from_secs(10), || (!idle.is_open()).then_some(()));
    receiver.interrupt();
    assert!(receiver.ended().success());
    let log = receiver.log();
    assert!(log.contains("interrupted again"), "{log}");
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

#[test]
fn a_log_that_can_not_be_written_takes_nothing_away_but_its_lines() {
    let full = ["sh", "-c", "exec \"$0\" \"$@\" 2>/dev/full"];
    let mut receiver = Receiver::with(&Changes {
        run_by: full.map(OsString::from).to_vec(),
        ..Changes::default()
    });
    let mut producer = receiver.producer();
    let mut forger = receiver.producer();
    forger.secret = b"another-secret".to_vec();
    assert_eq!(forger.deliver(&event("evt_1")).status, 401);
    assert_eq!(producer.deliver(&event("evt_1")).status, 204);
    receiver.refusal("signature-mismatch");
    assert_eq!(receiver.reload_now().status, 200);
    receiver.reload();
    let metrics = |line: &str| receiver.admin("/metrics").body.contains(line).then_some(());
    eventually(Duration::from_secs(10), || {
        metrics("countersign_reloads_total{outcome=\"done\"} 2")
    });
    assert!(metrics("countersign_log_lines_lost_total 0").is_none());
    // Nor does a command mind that nobody hears it complain.
    let unknown = receiver.countersign(&["events", "show", "evt_unknown"]);
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    receiver.stop();
}

/// Standard error is a pipe that is full, and whose reader reads nothing.
const STUCK: &str = "d=$(mktemp -d) && mkfifo $d/p && { sleep 20 <$d/p & } && exec 2>$d/p && rm -r $d && \
                     head -c 65536 /dev/zero >&2 && exec \"$0\" \"$@\"";

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let mut receiver = Receiver::with(&Changes {
        run_by: ["sh", "-c", STUCK].map(OsString::from).to_vec(),
        ..Changes::default()
    });
    let mut producer = receiver.producer();
    for number in 0..20 {
        // Each refused handshake is logged.
        let mut stranger = receiver.producer_as(None);
        assert!(stranger.try_deliver(&event("evt_1")).is_err());
        let delivered = producer.deliver(&event(&format!("evt_{number}")));
        assert_eq!(delivered.status, 204);
    }
    assert_eq!(receiver.reload_now().status, 200);
    receiver.stop();
}

/// The hard limit as well: the receiver raises the other by itself.
const FEW_FILES: &str = "ulimit -n 200 && exec \"$0\" \"$@\"";

#[test]
fn too_few_files_are_told_at_the_start_and_not_again_and_again_when_they_are_all_open() {
    let receiver = Receiver::with(&Changes {
        run_by: ["sh", "-c", FEW_FILES].map(OsString::from).to_vec(),
        ..Changes::default()
    });
    let told = |line: &str| receiver.log().matches(line).count();
    eventually(Duration::from_secs(10), || {
        (told("fewer files may be open than server.limits.connections") == 1).then_some(())
    });
    for _ in 0..3 {
        let crowd = (0..250).map(|_| TcpStream::connect(receiver.address));
        let crowd: Vec<_> = crowd.collect::<Result<_, _>>().unwrap();
        eventually(Duration::from_secs(10), || {
            (told("connections cannot be accepted") > 0).then_some(())
        });
        drop(crowd);
        eventually(Duration::from_secs(10), || {
            let answer = receiver.producer().try_deliver(&event("evt_1"));
            answer
                .is_ok_and(|answer| answer.status == 204)
                .then_some(())
        });
    }
    assert!(
        told("connections cannot be accepted") < 3,
        "{}",
        receiver.log()
    );
    assert!(told("ulimit -n, or LimitNOFILE=") > 1, "{}", receiver.log());
}

/// The environment that hands this socket over.
fn handed_over(listener: &TcpListener) -> Vec<(&'static str, OsString)> {
    fcntl_setfd(listener, FdFlags::empty()).unwrap();
    vec![
        ("LISTEN_FDS", "1".into()),
        (
            "LISTEN_FDS_FIRST_FD",
            listener.as_raw_fd().to_string().into(),
        ),
    ]
}

#[test]
fn an_upgrade_with_a_handed_over_socket_loses_no_delivery() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let environment = handed_over(&listener);
    let mut receiver = Receiver::with(&Changes {
        environment: environment.clone(),
        ..Changes::default()
    });
    assert_eq!(receiver.address, listener.local_addr().unwrap());
    upgraded_under_traffic(&mut receiver, &environment);
}

#[test]
fn an_upgrade_on_shared_ports_loses_no_delivery() {
    let mut receiver = Receiver::with(&Changes {
        server: "reuse_port = true",
        ..Changes::default()
    });
    let (server, admin) = (receiver.address, receiver.admin);
    let environment = [
        ("COUNTERSIGN_SERVER__LISTEN", server.to_string().into()),
        ("COUNTERSIGN_ADMIN__LISTEN", admin.to_string().into()),
    ];
    upgraded_under_traffic(&mut receiver, &environment);
    assert_eq!((receiver.address, receiver.admin), (server, admin));
    assert_eq!(receiver.admin("/healthz").status, 200);
}

/// Starts the next process and ends this one, while deliveries go on over new connections and kept ones.
#[track_caller]
fn upgraded_under_traffic(receiver: &mut Receiver, environment: &[(&str, OsString)]) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let deliverers: Vec<_> = (0..4)
            .map(|number| {
                let producer = receiver.producer();
                let over = &over;
                scope.spawn(move || {
                    // A port that two share resets whoever came in the moment in which one left: nothing was sent.
                    let connect = || producer.connect().or_else(|_| producer.connect());
                    let mut kept = None;
                    let mut delivered = 0;
                    while !over.load(Ordering::Relaxed) {
                        let event = event(&format!("evt_{number}_{delivered}"));
                        let open = kept
                            .take()
                            .and_then(|mut kept: Connection| kept.is_open().then_some(kept));
                        let mut connection = open.map_or_else(connect, Ok).unwrap();
                        let answer = connection.exchange(&producer.signed(&event)).unwrap();
                        assert_eq!(answer.status, 204);
                        // Half of them on a connection each, half on one that is kept alive.
                        if number % 2 == 1 && !answer.closes() {
                            kept = Some(connection);
                        }
                        delivered += 1;
                    }
                    delivered
                })
            })
            .collect();
        assert!(receiver.upgrade(environment).success());
        over.store(true, Ordering::Relaxed);
        for deliverer in deliverers {
            assert!(deliverer.join().unwrap() > 0);
        }
    });
}

#[test]
fn the_service_manager_is_told_of_start_reload_and_stop() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let told = |what: &str| {
        let mut buffer = [0; 512];
        loop {
            let length = manager.recv(&mut buffer).unwrap();
            if String::from_utf8_lossy(&buffer[..length]).contains(what) {
                return;
            }
        }
    };
    let mut receiver = Receiver::with(&Changes {
        environment: vec![("NOTIFY_SOCKET", path.into())],
        ..Changes::default()
    });
    told("READY=1");
    receiver.reload();
    told("RELOADING=1");
    told("READY=1");
    receiver.terminate();
    told("STOPPING=1");
    assert!(receiver.ended().success());
}

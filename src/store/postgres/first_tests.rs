//! A first start: who makes a schema where there is none, and that nobody does where another host could not be asked.

use std::time::Duration;

use jiff::Timestamp;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::address::Access;
use super::gone_tests::{READ_ONLY, at_ports, both, schemas};
use super::mute_tests::{address, target};
use super::session::{Purpose, Session};
use super::session_failure::SessionFailure;
use super::tests::server::{Ending, Postgres};
use crate::inbox::{Inbox, Limits};
use crate::store::fixtures::event;
use crate::store::replay::asked::{Mappings, Replay, ReplayMode};
use crate::store::replay::outcome::ReplayFailure;
use crate::store::views::Filter;
use crate::store::{
    Clock, Export, ExportFailure, Keep, Prune, PruneFailure, ReadFailure, Retention, Store,
    StoreFault, Url, Views,
};

async fn replay(url: &Url, mode: ReplayMode) -> ReplayFailure {
    let replay = Replay {
        since: Timestamp::UNIX_EPOCH,
        tenant: None,
        producer: None,
        mode,
    };
    let done = replay.run(url, Mappings::default(), Box::new(|_, _| {}));
    done.await.unwrap_err()
}

#[tokio::test]
async fn a_command_that_changes_or_reads_what_is_kept_makes_no_store() {
    let (Some(mut away), Some(empty)) = (Postgres::start(&[]), Postgres::start(&[])) else {
        return;
    };
    let alone = address(&empty, "inbox");
    away.stop(Ending::Fast);
    let prune = Prune {
        tenant: None,
        clock: Clock::Trusted,
    };
    let keep = Keep {
        bodies_days: Some(30),
        ..Keep::default()
    };
    let retention = Retention::new(keep, std::collections::HashMap::new());
    let now = Timestamp::now();
    // Where a host could not be asked, nobody knows that there is none.
    for (url, all_asked) in [(&alone, true), (&both(&away, &empty), false)] {
        let is_told = |fault: &StoreFault| {
            if all_asked {
                matches!(fault, StoreFault::NoStore { .. })
            } else {
                matches!(fault, StoreFault::Unreachable { .. })
            }
        };
        let pruned = prune.run(url, &retention, now).await;
        let told = matches!(&pruned, Err(PruneFailure::Store(fault)) if is_told(fault));
        assert!(told, "{pruned:?}");
        let rehearsed = prune.rehearse(url, &retention, now).await;
        let told = matches!(&rehearsed, Err(PruneFailure::Store(fault)) if is_told(fault));
        assert!(told, "{rehearsed:?}");
        let listed = Views::open(url).unwrap().events(Filter::default()).await;
        let told = matches!(&listed, Err(ReadFailure::Store(fault)) if is_told(fault));
        assert!(told, "{listed:?}");
        let exported = Export::default()
            .run(url, None, &mut Vec::new(), &mut |_, _| {})
            .await;
        let told = matches!(&exported, Err(ExportFailure::Store(fault)) if is_told(fault));
        assert!(told, "{exported:?}");
        for mode in [ReplayMode::DryRun, ReplayMode::Commit] {
            let failure = replay(url, mode).await;
            let told = matches!(&failure, ReplayFailure::Store(fault) if is_told(fault));
            assert!(told, "{failure:?}");
        }
        assert_eq!(schemas(&empty), "0");
    }
}

#[tokio::test]
async fn no_ledger_begins_while_another_host_that_may_have_one_cannot_be_asked() {
    let (Some(mut away), Some(empty)) = (Postgres::start(&[]), Postgres::start(&[])) else {
        return;
    };
    empty.create_database("inbox");
    away.stop(Ending::Fast);
    let url = both(&away, &empty);
    let fault = Store::migrate(&url).await.unwrap_err();
    let said = fault.in_full();
    for port in [away.port(), empty.port()] {
        assert!(said.contains(&format!("127.0.0.1:{port}")), "{said}");
    }
    // Nor would one begin: so `check` says it too.
    let looked = Session::open(&target(&url), Purpose::Look).await;
    let told = matches!(looked, Err(SessionFailure::Unasked { .. }));
    assert!(told, "{looked:?}");
    let store = Store::open(&url, Limits::default()).await.unwrap();
    assert!(store.accept(vec![event("evt_1")]).await.is_err());
    assert_eq!(schemas(&empty), "0");
    // Once it can be asked, and has not even the database, one begins.
    away.start_again();
    let taken = async { while store.accept(vec![event("evt_1")]).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(60), taken)
        .await
        .unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_schema_that_another_session_makes_while_a_host_is_waited_for_is_there() {
    let Some(empty) = Postgres::start(&[]) else {
        return;
    };
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let alone = address(&empty, "inbox");
    let ports = [empty.port(), mute.local_addr().unwrap().port()];
    // Longer than the schema takes, also on a machine that has much else to do.
    let patient = Access {
        connect_timeout: Duration::from_secs(60),
        ..Access::default()
    };
    let target = target(&at_ports(&ports, "").with_access(patient));
    let opening = Session::open(&target, Purpose::Write);
    let meanwhile = async {
        // The empty host was looked at: it stands before this one.
        let held = mute.accept().await.unwrap();
        Store::migrate(&alone).await.unwrap();
        target.is_met();
        drop(held);
    };
    let (opened, ()) = tokio::join!(opening, meanwhile);
    opened.unwrap();
}

#[tokio::test]
async fn a_schema_that_another_session_makes_while_a_standby_is_slow_to_tell_of_it_is_there() {
    let (Some(primary), Some(standby)) = (Postgres::start(&[]), Postgres::start(&[])) else {
        return;
    };
    for server in [&primary, &standby] {
        Store::migrate(&address(server, "inbox")).await.unwrap();
    }
    standby.psql("postgres", READ_ONLY);
    for purpose in [Purpose::Write, Purpose::Change, Purpose::Look] {
        primary.psql("inbox", "ALTER SCHEMA countersign RENAME TO later");
        let slow = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = slow.local_addr().unwrap().port();
        let target = target(&at_ports(&[primary.port(), port], ""));
        let opening = async {
            let opened = Session::open(&target, purpose).await;
            opened.map(drop)
        };
        let meanwhile = async {
            // The primary was looked at: it stands before this one.
            let (mut held, _) = slow.accept().await.unwrap();
            primary.psql("inbox", "ALTER SCHEMA later RENAME TO countersign");
            let mut there = TcpStream::connect(("127.0.0.1", standby.port()))
                .await
                .unwrap();
            let _ended = copy_bidirectional(&mut held, &mut there).await;
        };
        let (opened, ()) = tokio::join!(opening, meanwhile);
        opened.unwrap();
    }
}

//! When a batch begins, how many may wait, and what is said of a writer that hangs.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;

use super::*;
use crate::inbox::{BatchFailure, Isolation, Outcome};

/// Takes ten milliseconds for each batch.
struct Steady;

impl Engine for Steady {
    type Row = ();

    fn prepare(_event: Event) {}

    fn bytes((): &()) -> usize {
        1
    }

    async fn commit(
        &mut self,
        batch: &[Vec<()>],
        _isolation: Isolation,
    ) -> Result<Vec<Outcome>, BatchFailure> {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok(batch.iter().map(|_| Ok(vec![Receipt::Accepted])).collect())
    }

    async fn tidy(&mut self) {}
}

/// When the deliveries are answered that come beside a batch of four, in milliseconds.
async fn answered(beside: usize, gather: u64) -> Vec<u128> {
    let limits = Limits {
        gather: Duration::from_millis(gather),
        ..Limits::default()
    };
    let (inbox, writers) = GroupCommit::new(vec![Steady, Steady], limits);
    let inbox = Arc::new(inbox);
    let begun = tokio::time::Instant::now();
    let send = || {
        let inbox = Arc::clone(&inbox);
        tokio::spawn(async move {
            inbox.accept_rows(vec![()]).await.unwrap();
            begun.elapsed().as_millis()
        })
    };
    let first: Vec<_> = (0..4).map(|_| send()).collect();
    tokio::task::yield_now().await;
    for writer in writers {
        tokio::spawn(writer.run());
    }
    tokio::task::yield_now().await;
    let beside: Vec<_> = (0..beside).map(|_| send()).collect();
    for sent in first {
        assert_eq!(sent.await.unwrap(), 10);
    }
    let mut times = Vec::new();
    for sent in beside {
        times.push(sent.await.unwrap());
    }
    times
}

/// A queue for a hundred, written four at a time.
fn in_fours() -> (Arc<GroupCommit<Steady>>, Writer<Steady>) {
    let limits = Limits {
        queue_deliveries: 100,
        batch_deliveries: 4,
        ..Limits::default()
    };
    let (inbox, mut writers) = GroupCommit::new(vec![Steady], limits);
    (Arc::new(inbox), writers.remove(0))
}

/// How many of `deliveries` that come at once wait, after so many full batches have gone before them.
async fn waiting(full_batches: usize, deliveries: usize) -> usize {
    let (inbox, writer) = in_fours();
    let send = || {
        let inbox = Arc::clone(&inbox);
        tokio::spawn(async move { inbox.accept_rows(vec![()]).await })
    };
    let first: Vec<_> = (0..4 * full_batches + 1).map(|_| send()).collect();
    tokio::task::yield_now().await;
    let writer = tokio::spawn(writer.run());
    tokio::time::sleep(Duration::from_millis(10 * full_batches as u64 - 5)).await;
    assert_eq!(inbox.queued_deliveries(), 1);
    let more: Vec<_> = (1..deliveries).map(|_| send()).collect();
    tokio::task::yield_now().await;
    let waiting = inbox.queued_deliveries();
    assert_eq!(inbox.has_room(), waiting == deliveries);
    inbox.close();
    writer.await.unwrap();
    for sent in first {
        sent.await.unwrap().unwrap();
    }
    let mut taken = 1;
    for sent in more {
        match sent.await.unwrap() {
            Ok(_) => taken += 1,
            Err(failure) => assert!(matches!(failure, InboxFailure::QueueFull)),
        }
    }
    assert_eq!(taken, waiting);
    waiting
}

/// Ten milliseconds for each batch, and a note of how many events each delivery of it had.
struct Noting(Arc<Mutex<Vec<Vec<usize>>>>);

impl Engine for Noting {
    type Row = ();

    fn prepare(_event: Event) {}

    fn bytes((): &()) -> usize {
        1
    }

    async fn commit(
        &mut self,
        batch: &[Vec<()>],
        isolation: Isolation,
    ) -> Result<Vec<Outcome>, BatchFailure> {
        let events = batch.iter().map(Vec::len).collect();
        self.0.lock().unwrap().push(events);
        Steady.commit(batch, isolation).await
    }

    async fn tidy(&mut self) {}
}

/// The batches that are made of deliveries of so many events each, which come at once, by so many writers.
async fn batches(events: &[usize], engines: usize) -> Vec<Vec<usize>> {
    let limits = Limits {
        queue_deliveries: events.len(),
        batch_deliveries: 4,
        batch_events: 10,
        ..Limits::default()
    };
    let noted = Arc::<Mutex<Vec<Vec<usize>>>>::default();
    let engines = (0..engines).map(|_| Noting(Arc::clone(&noted))).collect();
    let (inbox, writers) = GroupCommit::new(engines, limits);
    let inbox = Arc::new(inbox);
    let mut sent = Vec::new();
    for rows in events.iter().map(|events| vec![(); *events]) {
        let inbox = Arc::clone(&inbox);
        sent.push(tokio::spawn(async move { inbox.accept_rows(rows).await }));
        tokio::task::yield_now().await;
    }
    inbox.close();
    for writer in writers {
        tokio::spawn(writer.run());
    }
    for sent in sent {
        sent.await.unwrap().unwrap();
    }
    assert_eq!((inbox.queued_deliveries(), inbox.queued_bytes()), (0, 0));
    let noted = noted.lock().unwrap();
    noted.clone()
}

/// Hangs in each batch until it is told to go on.
struct Hanging(Arc<Notify>);

impl Engine for Hanging {
    type Row = ();

    fn prepare(_event: Event) {}

    fn bytes((): &()) -> usize {
        1
    }

    async fn commit(
        &mut self,
        batch: &[Vec<()>],
        _isolation: Isolation,
    ) -> Result<Vec<Outcome>, BatchFailure> {
        self.0.notified().await;
        Ok(batch.iter().map(|_| Ok(Vec::new())).collect())
    }

    async fn tidy(&mut self) {}
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_hangs_is_told_of_until_it_has_committed() {
    let go_on = Arc::new(Notify::new());
    let engines = vec![Hanging(Arc::clone(&go_on))];
    let (inbox, mut writers) = GroupCommit::new(engines, Limits::default());
    let inbox = Arc::new(inbox);
    tokio::spawn(writers.remove(0).run());
    let send = || {
        let inbox = Arc::clone(&inbox);
        tokio::spawn(async move { inbox.accept_rows(vec![()]).await })
    };
    go_on.notify_one();
    assert!(inbox.probe().await.unwrap());
    tokio::time::sleep(Duration::from_secs(60)).await;
    inbox.expect_progress().unwrap();
    let sent = send();
    tokio::time::sleep(HANGS_AFTER - Duration::from_millis(1)).await;
    inbox.expect_progress().unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    inbox.expect_progress().unwrap_err();
    // Nor is there an answer to whoever asks by writing, and the delivery's own bound ends nothing.
    inbox.probe().await.unwrap_err();
    sent.await.unwrap().unwrap_err();
    inbox.expect_progress().unwrap_err();
    go_on.notify_one();
    tokio::task::yield_now().await;
    inbox.expect_progress().unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_beside_another_that_commits_is_not() {
    let go_on = Arc::new(Notify::new());
    let engines = vec![Hanging(Arc::clone(&go_on)), Hanging(Arc::clone(&go_on))];
    let (inbox, writers) = GroupCommit::new(engines, Limits::default());
    let inbox = Arc::new(inbox);
    for writer in writers {
        tokio::spawn(writer.run());
    }
    let hanging = tokio::spawn({
        let inbox = Arc::clone(&inbox);
        async move { inbox.accept_rows(vec![()]).await }
    });
    tokio::task::yield_now().await;
    // Of the two that wait, the first goes on: from then on the other one hangs.
    let probing = inbox.probe();
    let going_on = async {
        tokio::time::sleep(HANGS_AFTER / 2).await;
        go_on.notify_one();
    };
    let (_probed, ()) = tokio::join!(probing, going_on);
    inbox.expect_progress().unwrap();
    tokio::time::sleep(HANGS_AFTER).await;
    inbox.expect_progress().unwrap_err();
    go_on.notify_one();
    hanging.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_burst_may_wait_but_a_queue_that_stands_is_kept_short() {
    assert_eq!(waiting(FULL_BATCHES_MAX - 1, 50).await, 50);
    assert_eq!(waiting(FULL_BATCHES_MAX, 50).await, 8);
}

#[tokio::test(start_paused = true)]
async fn once_a_queue_that_stood_is_written_a_burst_may_wait_again() {
    let (inbox, writer) = in_fours();
    let send = |deliveries: usize| -> Vec<_> {
        let sent = (0..deliveries).map(|_| {
            let inbox = Arc::clone(&inbox);
            tokio::spawn(async move { inbox.accept_rows(vec![()]).await })
        });
        sent.collect()
    };
    let stood = send(4 * FULL_BATCHES_MAX + 1);
    tokio::task::yield_now().await;
    tokio::spawn(writer.run());
    for sent in stood {
        sent.await.unwrap().unwrap();
    }
    for sent in send(50) {
        sent.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_bounded_in_events_and_what_is_beyond_stays_in_its_order() {
    assert_eq!(
        batches(&[3, 3, 3, 3, 3], 1).await,
        [vec![3, 3, 3], vec![3, 3]]
    );
    // More than the bound goes by itself.
    assert_eq!(
        batches(&[1, 25, 0, 1, 9, 1, 1, 1, 1], 1).await,
        [vec![1], vec![25], vec![0, 1, 9], vec![1, 1, 1, 1]]
    );
    // Whichever writer comes next begins with what another left.
    assert_eq!(
        batches(&[6, 6, 6, 1, 1, 9], 2).await,
        [vec![6], vec![6], vec![6, 1, 1], vec![9]]
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_batch_had_no_room_for_counts_as_waiting() {
    let limits = Limits {
        queue_deliveries: 2,
        batch_deliveries: 4,
        batch_events: 10,
        ..Limits::default()
    };
    let (inbox, mut writers) = GroupCommit::new(vec![Steady], limits);
    let inbox = Arc::new(inbox);
    let send = |events: usize| {
        let inbox = Arc::clone(&inbox);
        tokio::spawn(async move { inbox.accept_rows(vec![(); events]).await })
    };
    let sent = [send(9), send(9)];
    tokio::task::yield_now().await;
    assert!(!inbox.has_room());
    tokio::spawn(writers.remove(0).run());
    tokio::task::yield_now().await;
    assert_eq!((inbox.queued_deliveries(), inbox.has_room()), (1, true));
    let third = send(1);
    tokio::task::yield_now().await;
    assert_eq!((inbox.queued_deliveries(), inbox.has_room()), (2, false));
    let refused = inbox.accept_rows(vec![()]).await.unwrap_err();
    assert!(matches!(refused, InboxFailure::QueueFull), "{refused:?}");
    for sent in sent.into_iter().chain([third]) {
        sent.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_stands_is_kept_short_in_events_too() {
    let limits = Limits {
        batch_deliveries: 4,
        batch_events: 10,
        ..Limits::default()
    };
    let (inbox, mut writers) = GroupCommit::new(vec![Steady], limits);
    let inbox = Arc::new(inbox);
    let send = || {
        let inbox = Arc::clone(&inbox);
        tokio::spawn(async move { inbox.accept_rows(vec![(); 10]).await })
    };
    let first: Vec<_> = (0..=FULL_BATCHES_MAX).map(|_| send()).collect();
    tokio::task::yield_now().await;
    tokio::spawn(writers.remove(0).run());
    tokio::time::sleep(Duration::from_millis(10 * FULL_BATCHES_MAX as u64 - 5)).await;
    assert_eq!(inbox.queued_deliveries(), 1);
    let more: Vec<_> = (0..3).map(|_| send()).collect();
    tokio::task::yield_now().await;
    // Two batches' worth, of one delivery each.
    assert_eq!((inbox.queued_deliveries(), inbox.has_room()), (2, false));
    for sent in first {
        sent.await.unwrap().unwrap();
    }
    drop(more);
}

#[tokio::test(start_paused = true)]
async fn beside_a_batch_that_is_under_way_another_begins_once_as_many_wait() {
    assert_eq!(answered(4, 2).await, [10; 4]);
    assert_eq!(answered(9, 2).await, [10; 9]);
}

#[tokio::test(start_paused = true)]
async fn a_smaller_one_waits_for_more_but_not_for_long() {
    assert_eq!(answered(3, 2).await, [12; 3]);
}

#[tokio::test(start_paused = true)]
async fn nor_beyond_the_end_of_the_one_beside_it() {
    assert_eq!(answered(1, 60_000).await, [20]);
}

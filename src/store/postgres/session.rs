//! A session with PostgreSQL: opened on the first host that writes, with our schema up to date, and closed with its value.

use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{AsyncMessage, CancelToken, Client, Config, Connection};

use super::address::Target;
use super::rights;
use super::schema::{self, Found};
use super::session_failure::SessionFailure;
use crate::inbox::Cause;
use crate::store::StoreFault;
use crate::store::read_failure::WHO_HOLDS;
use crate::tls::{DatabaseStream, DatabaseTls};

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Purpose {
    /// To write: the schema is made or brought up to date first, and the days to come have partitions.
    Write,
    /// To change what is there: the schema is brought up to date first, and no more. Where there is none, nothing is made.
    Change,
    /// To read what is there: nothing is made and nothing is migrated.
    Read,
    /// To find out whether it could be written to.
    Look,
}

/// An open session. Dropping it cuts the connection.
#[derive(Debug)]
pub(in crate::store) struct Session {
    pub(in crate::store) client: Client,
    tls: DatabaseTls,
    /// A commit did not wait for its standbys.
    alone: Arc<AtomicBool>,
    connection: tokio::task::JoinHandle<()>,
}

/// The server stopped waiting for its standbys, because somebody told it to.
#[derive(Debug, thiserror::Error)]
#[error(
    "the database was told to wait no longer for its standbys: what it committed may be gone with it"
)]
pub(super) struct NotReplicated;

/// Carries a session's messages until it ends.
async fn attend<S, T>(mut connection: Connection<S, T>, alone: Arc<AtomicBool>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
        match message {
            // The words are in the server's language; where they come from is not. They come before the commit's own answer.
            Ok(AsyncMessage::Notice(notice)) if notice.routine() == Some("SyncRepWaitForLSN") => {
                alone.store(true, Ordering::Release);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a session with the database ended"
                );
                return;
            }
        }
    }
}

impl Session {
    pub(super) async fn greet(
        target: &Target,
        host: &Config,
        tls: &DatabaseTls,
    ) -> Result<(Self, Found), SessionFailure> {
        let limit = target.access.connect_timeout;
        let greeted = timeout(limit, async {
            let (client, connection) = host.connect(Tls(tls.clone())).await?;
            let alone = Arc::new(AtomicBool::new(false));
            let connection = tokio::spawn(attend(connection, Arc::clone(&alone)));
            let session = Self {
                client,
                tls: tls.clone(),
                alone,
                connection,
            };
            let found = schema::greet(&session.client, &target.place).await?;
            Ok::<_, SessionFailure>((session, found))
        });
        greeted
            .await
            .unwrap_or(Err(SessionFailure::TimedOut(limit)))
    }

    /// What is there now.
    pub(super) async fn look_again(&self, target: &Target) -> Result<Found, SessionFailure> {
        let limit = target.access.connect_timeout;
        timeout(limit, schema::greet(&self.client, &target.place))
            .await
            .unwrap_or(Err(SessionFailure::TimedOut(limit)))
    }

    /// Whether its role may do what a delivery needs.
    pub(in crate::store) async fn may_write(&self, target: &Target) -> Result<(), SessionFailure> {
        let limit = target.access.connect_timeout;
        timeout(limit, rights::to_write(&self.client, &target.place))
            .await
            .unwrap_or(Err(SessionFailure::TimedOut(limit)))
    }

    /// Makes sure that what was found serves the purpose.
    pub(super) async fn made_fit(
        mut self,
        target: &Target,
        found: &Found,
        purpose: Purpose,
    ) -> Result<Self, SessionFailure> {
        match purpose {
            Purpose::Change if found.schema == 0 && !found.read_only => {
                let path = target.place.as_str().into();
                return Err(SessionFailure::Fault(StoreFault::NoStore { path }));
            }
            Purpose::Read => schema::expect(found, &target.place).map_err(SessionFailure::Fault)?,
            Purpose::Write | Purpose::Change | Purpose::Look if found.read_only => {
                return Err(SessionFailure::ReadOnly);
            }
            Purpose::Look if schema::is_up_to_date(found) => self.may_write(target).await?,
            Purpose::Look => rights::to_make(&self.client, &target.place).await?,
            Purpose::Write | Purpose::Change => {
                if let Err(failure) = self.prepare(target, found, purpose).await {
                    if let SessionFailure::TimedOut(_) = failure {
                        self.abandon().await;
                    }
                    return Err(failure);
                }
                target.is_met();
            }
        }
        Ok(self)
    }

    async fn prepare(
        &mut self,
        target: &Target,
        found: &Found,
        purpose: Purpose,
    ) -> Result<(), SessionFailure> {
        let place = &target.place;
        if let Err(failure) = schema::bring_up_to_date(&mut self.client, found, place).await {
            return Err(rights::behind(&self.client, place, failure).await);
        }
        if purpose == Purpose::Write {
            // As long as for the greeting: what a session may take in all is what an uncertain delivery waits for.
            let limit = target.access.connect_timeout;
            schema::look_ahead(&self.client, limit, &target.place).await?;
        }
        Ok(())
    }

    /// Asks within `limit`; the session comes back with the answer. After an error it is closed, and where no answer comes the server is
    /// told to stop.
    pub(in crate::store) async fn ask<T>(
        self,
        limit: Duration,
        question: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<(Self, T), Cause> {
        match timeout(limit, question(&self.client)).await {
            Ok(Ok(answer)) => Ok((self, answer)),
            Ok(Err(error)) => Err(Arc::new(error)),
            Err(_elapsed) => {
                self.abandon().await;
                Err(Arc::new(TookTooLong(limit)))
            }
        }
    }

    /// To be asked after each commit: whether it is where its durability was to be, at the standbys as well.
    pub(super) fn replicated(&self) -> Result<(), NotReplicated> {
        if self.alone.swap(false, Ordering::AcqRel) {
            return Err(NotReplicated);
        }
        Ok(())
    }

    /// Whether its connection is known to be gone.
    pub(in crate::store) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// To be held until the server has answered.
    pub(in crate::store) fn asking(&self) -> Asking {
        Asking {
            unanswered: Some((self.client.cancel_token(), self.tls.clone())),
        }
    }

    /// Asks the server to stop what it does for this session, and leaves it. Its locks must not outlive our interest.
    pub(in crate::store) async fn abandon(self) {
        self.stop().await;
    }

    /// The same, for whoever cannot let it go: it is of no more use.
    pub(super) async fn stop(&self) {
        cancel(self.client.cancel_token(), self.tls.clone()).await;
    }
}

/// A question. Dropping it before the answer tells the server to stop.
pub(in crate::store) struct Asking {
    unanswered: Option<(CancelToken, DatabaseTls)>,
}

impl Asking {
    pub(in crate::store) fn answered(mut self) {
        self.unanswered = None;
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let (Some((token, tls)), Ok(runtime)) = (self.unanswered.take(), Handle::try_current()) {
            runtime.spawn(cancel(token, tls));
        }
    }
}

async fn cancel(token: CancelToken, tls: DatabaseTls) {
    let limit = Duration::from_secs(1);
    let cancelled = timeout(limit, token.cancel_query(Tls(tls))).await;
    if !matches!(cancelled, Ok(Ok(()))) {
        tracing::debug!("the database could not be told to stop a statement that took too long");
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Its task would try to take leave of a server that may not listen.
        self.connection.abort();
    }
}

/// A statement took longer than it may.
#[derive(Debug, thiserror::Error)]
#[error("the database took longer than {0:?} over a batch; {held}", held = WHO_HOLDS)]
pub(in crate::store) struct TookTooLong(pub(in crate::store) Duration);

/// What an error of a statement means for what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Meaning {
    /// Two transactions were in each other's way: the same again may succeed. Nothing of it is durable.
    Collision,
    /// The values are at fault: the same again fails again. Nothing of it is durable.
    Row,
    /// The server's bound for a statement, or its operator, ended it. Nothing of it is durable; the session is as good as before.
    Cancelled,
    /// The server is, or its state. Nothing of it is durable; another session may do better.
    Server,
    /// No answer, or only that of a pooler whose own connection broke: it may be durable or not.
    Unknown,
}

/// What an error of a statement that is its own transaction means.
pub(in crate::store) fn meaning(error: &tokio_postgres::Error) -> Meaning {
    // Only the server's own word proves that nothing was committed.
    let Some(said) = error.as_db_error() else {
        return Meaning::Unknown;
    };
    let code = said.code();
    if [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::LOCK_NOT_AVAILABLE,
    ]
    .contains(code)
    {
        return Meaning::Collision;
    }
    if *code == SqlState::QUERY_CANCELED {
        return Meaning::Cancelled;
    }
    if *code == SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN {
        return Meaning::Unknown;
    }
    if lacks_a_partition(error) {
        return Meaning::Server;
    }
    match code.code().get(..2) {
        // A connection exception is a pooler's word: it lost the server, perhaps after the commit.
        Some("08") => Meaning::Unknown,
        // Data exception, integrity constraint violation, program limit exceeded.
        Some("22" | "23" | "54") => Meaning::Row,
        _ => Meaning::Server,
    }
}

/// Whether somebody took the partition away that a row belongs to. It is no fault of the row's, and whoever opens a session makes it anew.
pub(super) fn lacks_a_partition(error: &tokio_postgres::Error) -> bool {
    let said = error.as_db_error();
    said.is_some_and(|said| said.routine() == Some("ExecFindPartition"))
}

/// Whether an error is the end of its session: the same may be asked of another one. What was on its way may be durable or not.
pub(super) fn ends_the_session(error: &tokio_postgres::Error) -> bool {
    match error.as_db_error() {
        Some(said) => {
            let ends = [Some(Severity::Fatal), Some(Severity::Panic)];
            ends.contains(&said.parsed_severity()) || meaning(error) == Meaning::Unknown
        }
        None => error.is_closed() || error.source().is_some_and(|cause| cause.is::<io::Error>()),
    }
}

/// TLS as the driver asks for it.
#[derive(Clone)]
struct Tls(DatabaseTls);

struct TlsTo {
    tls: DatabaseTls,
    host: String,
}

struct Stream<S>(DatabaseStream<S>);

type Handshake<S> = Pin<Box<dyn Future<Output = io::Result<Stream<S>>> + Send>>;

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Tls {
    type Stream = Stream<S>;
    type TlsConnect = TlsTo;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<TlsTo> {
        Ok(TlsTo {
            tls: self.0.clone(),
            host: host.to_owned(),
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for TlsTo {
    type Stream = Stream<S>;
    type Error = io::Error;
    type Future = Handshake<S>;

    fn connect(self, stream: S) -> Handshake<S> {
        Box::pin(async move { self.tls.connect(&self.host, stream).await.map(Stream) })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Stream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.0
            .server_end_point()
            .map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_flush(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::super::mute_tests::{address, target};
    use super::super::tests::server::Postgres;
    use super::*;

    #[tokio::test]
    async fn only_what_the_server_itself_says_of_a_statement_proves_that_nothing_of_it_is_durable()
    {
        let Some(server) = Postgres::start(&[]) else {
            return;
        };
        let url = address(&server, "inbox");
        let session = Session::open(&target(&url), Purpose::Write).await.unwrap();
        for (code, expected) in [
            // What a pooler says when its own connection broke, or no answer came in its time.
            ("08P01", Meaning::Unknown),
            ("08006", Meaning::Unknown),
            ("08007", Meaning::Unknown),
            ("40003", Meaning::Unknown),
            ("40001", Meaning::Collision),
            ("40P01", Meaning::Collision),
            ("55P03", Meaning::Collision),
            ("57014", Meaning::Cancelled),
            ("57P01", Meaning::Server),
            ("25006", Meaning::Server),
            ("53100", Meaning::Server),
            ("22003", Meaning::Row),
            ("54000", Meaning::Row),
        ] {
            let raise =
                format!("DO $$ BEGIN RAISE EXCEPTION 'so' USING ERRCODE = '{code}'; END $$");
            let error = session.client.batch_execute(&raise).await.unwrap_err();
            assert_eq!(meaning(&error), expected, "{code}");
        }
    }
}

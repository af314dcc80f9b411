//! What to do where a database gives no session: told by what it, or the system, said.

use std::error::Error as _;
use std::io;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::session_failure::SessionFailure;
use crate::text::chain;

/// Each state in which PostgreSQL turns a session away before it begins.
const STATES: [(&SqlState, &str); 8] = [
    // The same is said where there is no such role.
    (
        &SqlState::INVALID_PASSWORD,
        "the database has no such role, or another password for it: compare the user in store.url, and what store.password names, with the database's role",
    ),
    (
        &SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        "let the database's pg_hba.conf admit this user from this address (where it says hostssl, write sslmode=require or stricter in store.url, and where it wants a client's certificate, sslcert and sslkey), and let the role log in",
    ),
    (
        &SqlState::INVALID_CATALOG_NAME,
        "make it, with CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0, or name another in store.url",
    ),
    (
        &SqlState::INSUFFICIENT_PRIVILEGE,
        "let the database's owner say GRANT CONNECT ON DATABASE name TO role, for what store.url names",
    ),
    (
        &SqlState::TOO_MANY_CONNECTIONS,
        "all its sessions, or the role's, are taken: end some, raise max_connections or the role's CONNECTION LIMIT, or lower store.postgres.writers and store.postgres.readers",
    ),
    (
        &SqlState::QUERY_CANCELED,
        "see what holds its tables (pg_locks) and, where its configuration, the database or the role has a statement_timeout, raise that",
    ),
    (
        &SqlState::CANNOT_CONNECT_NOW,
        "wait: it is starting or stopping",
    ),
    (
        &SqlState::ADMIN_SHUTDOWN,
        "wait: it is stopping, or somebody ended the session",
    ),
];

const REFUSED: &str = "start the database, or correct host and port in store.url";
const UNASKED: &str = "start the host that could not be asked, or take it out of store.url if it never had what was kept";
const READ_ONLY: &str = "if it is the primary, take default_transaction_read_only from its configuration, the database or the role";
const SILENT: &str =
    "see that the database runs, and that this machine reaches host and port of store.url";

impl SessionFailure {
    /// What to do about it; nothing where it says so itself, or nobody can tell.
    pub(in crate::store) fn mend(&self) -> Option<&'static str> {
        match self {
            Self::Refused(error) => of_driver(error),
            Self::TimedOut(_) => Some(SILENT),
            Self::Unasked { .. } => Some(UNASKED),
            Self::ReadOnly => Some(READ_ONLY),
            Self::Gone { .. } | Self::Elsewhere { .. } | Self::Fault(_) => None,
        }
    }
}

fn of_driver(error: &Error) -> Option<&'static str> {
    if let Some(code) = error.code()
        && let Some((_, mend)) = STATES.iter().find(|(state, _)| *state == code)
    {
        return Some(mend);
    }
    if let Some(system) = error.source().and_then(|it| it.downcast_ref::<io::Error>())
        && let Some(mend) = of_system(system)
    {
        return Some(mend);
    }
    // The driver, and a pooler, have no better names for these than their words.
    let words = chain(error);
    [
        (
            "password missing",
            "write store.password = \"file:PATH\" or \"env:NAME\"",
        ),
        (
            "server does not support TLS",
            "turn TLS on at the database (ssl = on), or, where nobody else reaches the line, write sslmode=prefer in store.url",
        ),
        (
            "certificate not valid for name",
            "write the host in store.url as its certificate names it, or sslmode=verify-ca",
        ),
        (
            "performing TLS handshake",
            "let sslrootcert in store.url name the CA that issued the database's certificate; where the database wants one of ours, sslcert and sslkey",
        ),
        (
            "server_login_retry",
            "wait: PgBouncer asks a database that was away again after its server_login_retry (15 s; set it to 1)",
        ),
        (
            "does not allow writes",
            "let one of the hosts of store.url take writes (promote a standby); if one is the primary, take default_transaction_read_only from its configuration, the database or the role",
        ),
        (
            "failed to lookup address",
            "correct the host in store.url, or let this machine's resolver know it",
        ),
        (
            "communicating with the server",
            "see that it is a PostgreSQL that listens at host and port of store.url",
        ),
    ]
    .into_iter()
    .find_map(|(word, mend)| words.contains(word).then_some(mend))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the system's kinds are open"
)]
fn of_system(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some(REFUSED),
        io::ErrorKind::TimedOut
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable => Some(SILENT),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::super::tests::server::Postgres;
    use crate::store::{StoreFault, look};

    const RULES: &str = "local all all trust\nhost all app all scram-sha-256\nhost all postgres,reader,many,hasty all trust\n";

    async fn mended(url: &str) -> &'static str {
        let fault = look(&url.parse().unwrap()).await.unwrap_err();
        let StoreFault::Unreachable { mend, .. } = fault else {
            panic!("{fault}");
        };
        mend.unwrap_or_default()
    }

    /// Where every session is turned away as PgBouncer does while its database was away a moment ago: the port.
    fn pooler_without_a_database() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut session, _) = listener.accept().unwrap();
            let mut startup = [0; 512];
            assert!(session.read(&mut startup).unwrap() > 0);
            let fields = b"SFATAL\0VFATAL\0C08P01\0Mserver login has been failing, try again later (server_login_retry)\0\0";
            let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
            let refusal = [b"E", &length[..], fields].concat();
            session.write_all(&refusal).unwrap();
        });
        port
    }

    #[tokio::test]
    async fn what_a_pooler_says_of_its_database_is_told_with_what_to_do() {
        let port = pooler_without_a_database();
        let url = format!("postgres://app@127.0.0.1:{port}/x?sslmode=disable");
        let told = mended(&url).await;
        assert!(told.contains("set it to 1"), "{told}");
    }

    #[tokio::test]
    async fn what_to_do_is_told_by_what_the_database_or_the_system_said() {
        let rules = [("pg_hba.conf", RULES.as_bytes())];
        let Some(server) = Postgres::start_with(&[], &rules) else {
            return;
        };
        server.psql(
            "postgres",
            "CREATE ROLE app LOGIN PASSWORD 'open sesame'; REVOKE CONNECT ON DATABASE template1 FROM PUBLIC;
             CREATE ROLE reader SUPERUSER LOGIN; ALTER ROLE reader SET default_transaction_read_only = on;
             CREATE ROLE many LOGIN CONNECTION LIMIT 0;
             CREATE ROLE hasty SUPERUSER LOGIN; ALTER ROLE hasty SET statement_timeout = '100ms';
             CREATE SCHEMA countersign; CREATE VIEW countersign.migrations AS SELECT 1 AS number, 1 AS serves_from, pg_sleep(60)::text AS slept",
        );
        server.create_database("empty");
        let port = server.port();
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
        let free = nobody.local_addr().unwrap().port();
        drop(nobody);
        for (url, mend) in [
            (
                format!("postgres://app@127.0.0.1:{port}/x"),
                "write store.password = ",
            ),
            (
                format!("postgres://app:wrong@127.0.0.1:{port}/x"),
                "what store.password names",
            ),
            (
                format!("postgres://app:open%20sesame@127.0.0.1:{port}/x"),
                "CREATE DATABASE",
            ),
            (
                format!("postgres://app:open%20sesame@127.0.0.1:{port}/template1"),
                "GRANT CONNECT",
            ),
            (
                format!("postgres://stranger@127.0.0.1:{port}/x"),
                "pg_hba.conf",
            ),
            (
                format!("postgres://postgres@127.0.0.1:{port}/x?sslmode=require"),
                "ssl = on",
            ),
            (
                format!("postgres://reader@127.0.0.1:{port}/empty"),
                "default_transaction_read_only",
            ),
            (
                format!("postgres://reader@127.0.0.1:{port}/empty?target_session_attrs=read-write"),
                "promote a standby",
            ),
            (
                format!("postgres://many@127.0.0.1:{port}/postgres"),
                "CONNECTION LIMIT",
            ),
            (
                format!("postgres://hasty@127.0.0.1:{port}/postgres"),
                "statement_timeout",
            ),
            (
                format!("postgres://postgres@127.0.0.1:{free}/x"),
                "start the database",
            ),
            (
                "postgres://postgres@db.invalid/x".to_owned(),
                "correct the host",
            ),
        ] {
            let told = mended(&url).await;
            assert!(told.contains(mend), "{url}: {told}");
        }
    }
}

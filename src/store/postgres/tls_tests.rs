//! How a database proves who it is, and how a receiver does.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::tests::server::Postgres;
use crate::inbox::{Limits, Receipt};
use crate::secret::Secret;
use crate::store::fixtures::{accept, event};
use crate::store::{Access, Store, StoreFault, Url};

fn openssl(directory: &Path, arguments: &str) {
    let status = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "openssl {arguments}");
}

/// A CA, a certificate of the database `db.example`, one of the user `receiver`, and a CA of somebody else.
fn certificates() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    for ca in ["ca", "other"] {
        openssl(
            path,
            &format!("req -x509 {key} -keyout {ca}.key -out {ca}.crt -days 30 -subj /CN={ca}"),
        );
    }
    std::fs::write(path.join("ext"), "subjectAltName=DNS:db.example\n").unwrap();
    for (name, subject) in [("server", "db.example"), ("client", "receiver")] {
        openssl(
            path,
            &format!("req -new {key} -keyout {name}.key -out {name}.csr -subj /CN={subject}"),
        );
        openssl(
            path,
            &format!(
                "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile ext -out {name}.crt"
            ),
        );
    }
    directory
}

const RULES: &str = "local all all trust\nhostssl all receiver all cert\nhostssl all app all scram-sha-256\n\
                     hostnossl all app all reject\nhost all postgres all trust\n";

fn server(certificates: &Path) -> Option<Postgres> {
    let file = |name: &str| std::fs::read(certificates.join(name)).unwrap();
    let server = Postgres::start_with(
        &["ssl = on", "ssl_ca_file = 'ca.crt'"],
        &[
            ("server.crt", &file("server.crt")),
            ("server.key", &file("server.key")),
            ("ca.crt", &file("ca.crt")),
            ("pg_hba.conf", RULES.as_bytes()),
        ],
    )?;
    server.psql(
        "postgres",
        "CREATE ROLE app LOGIN PASSWORD 'open sesame'; CREATE ROLE receiver LOGIN",
    );
    server.create_database("inbox");
    server.psql(
        "postgres",
        "GRANT CREATE ON DATABASE inbox TO app, receiver",
    );
    Some(server)
}

struct Attempt<'a> {
    server: &'a Postgres,
    certificates: &'a Path,
    user: &'a str,
    password: Option<&'a str>,
}

impl Attempt<'_> {
    fn url(&self, host: &str, query: &str) -> Url {
        let text = format!(
            "postgres://{}@{host}:{}/inbox?{query}",
            self.user,
            self.server.port()
        );
        let access = Access {
            connect_timeout: Duration::from_secs(2),
            ..Access::default()
        };
        // The files of the address are beside the configuration.
        text.parse::<Url>()
            .unwrap()
            .relative_to(self.certificates)
            .with_access(access)
            .with_password(self.password.map(|password| Secret::new(password.into())))
    }

    async fn succeeds(&self, host: &str, query: &str) {
        Store::migrate(&self.url(host, query)).await.unwrap();
    }

    async fn fails(&self, host: &str, query: &str, because: &str, mended: &str) {
        let fault = Store::migrate(&self.url(host, query)).await.unwrap_err();
        let StoreFault::Unreachable { source, mend, .. } = fault else {
            panic!("{query}: {fault:?}")
        };
        let mut told = source.to_string();
        let mut next = source.source();
        while let Some(cause) = next {
            told = format!("{told}: {cause}");
            next = cause.source();
        }
        assert!(told.contains(because), "{query}: {told}");
        let mend = mend.unwrap_or_default();
        assert!(mend.contains(mended), "{query}: {told}; {mend}");
    }
}

#[tokio::test]
async fn what_sslmode_says_is_checked_of_the_database() {
    let certificates = certificates();
    let Some(server) = server(certificates.path()) else {
        return;
    };
    let app = Attempt {
        server: &server,
        certificates: certificates.path(),
        user: "app",
        password: Some("open sesame"),
    };
    let named = "db.example";
    let at = "hostaddr=127.0.0.1";
    app.succeeds("127.0.0.1", "sslmode=require").await;
    app.succeeds("127.0.0.1", "").await;
    app.succeeds("127.0.0.1", "sslmode=verify-ca&sslrootcert=ca.crt")
        .await;
    app.succeeds(
        named,
        &format!("{at}&sslmode=verify-full&sslrootcert=ca.crt&channel_binding=require"),
    )
    .await;
    // Its own certificate, as one that is self-signed is given.
    app.succeeds(
        named,
        &format!("{at}&sslmode=verify-full&sslrootcert=server.crt"),
    )
    .await;
    app.fails(
        "127.0.0.1",
        "sslmode=verify-full&sslrootcert=ca.crt",
        "not valid for name",
        "as its certificate names it",
    )
    .await;
    app.fails(
        "127.0.0.1",
        "sslmode=verify-full&sslrootcert=server.crt",
        "not valid for name",
        "as its certificate names it",
    )
    .await;
    app.fails(
        "127.0.0.1",
        "sslmode=verify-ca&sslrootcert=other.crt",
        "UnknownIssuer",
        "sslrootcert",
    )
    .await;
    app.fails(
        "127.0.0.1",
        "sslmode=require&sslrootcert=other.crt",
        "UnknownIssuer",
        "sslrootcert",
    )
    .await;
    app.fails(
        "127.0.0.1",
        "sslmode=disable",
        "pg_hba.conf rejects",
        "sslmode=require",
    )
    .await;
    let stranger = Attempt {
        password: Some("wrong"),
        ..app
    };
    stranger
        .fails(
            "127.0.0.1",
            "sslmode=require",
            "password authentication failed",
            "store.password",
        )
        .await;
}

#[tokio::test]
async fn a_client_certificate_is_presented_to_the_database() {
    let certificates = certificates();
    let Some(server) = server(certificates.path()) else {
        return;
    };
    let receiver = Attempt {
        server: &server,
        certificates: certificates.path(),
        user: "receiver",
        password: None,
    };
    receiver
        .fails(
            "127.0.0.1",
            "sslmode=verify-ca&sslrootcert=ca.crt",
            "client certificate",
            "sslcert",
        )
        .await;
    let url = receiver.url(
        "127.0.0.1",
        "sslmode=verify-ca&sslrootcert=ca.crt&sslcert=client.crt&sslkey=client.key",
    );
    let store = Store::open(&url, Limits::default()).await.unwrap();
    assert_eq!(accept(&store, event("evt_1")).await, Receipt::Accepted);
}

#[tokio::test]
async fn a_client_certificate_is_replaced_without_a_restart() {
    let certificates = certificates();
    let Some(server) = server(certificates.path()) else {
        return;
    };
    let at = |name: &str| certificates.path().join(name);
    let copy = |from: &str, to: &str| std::fs::copy(at(from), at(to)).unwrap();
    copy("server.crt", "own.crt");
    copy("server.key", "own.key");
    let receiver = Attempt {
        server: &server,
        certificates: certificates.path(),
        user: "receiver",
        password: None,
    };
    let url = receiver.url(
        "127.0.0.1",
        "sslmode=verify-ca&sslrootcert=ca.crt&sslcert=own.crt&sslkey=own.key",
    );
    let store = Store::open(&url, Limits::default()).await.unwrap();
    assert!(store.ready().await.is_err());
    copy("client.crt", "own.crt");
    copy("client.key", "own.key");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while let Err(fault) = store.ready().await {
        assert!(tokio::time::Instant::now() < deadline, "{fault}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(accept(&store, event("evt_1")).await, Receipt::Accepted);
}

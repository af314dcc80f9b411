//! Certificates, servers as processes of their own, and what they cost.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use countersign::ca::{Order, PrivateCa};
use countersign::config::{Config, ConfigFile, Environment};
use countersign::inbox::{Event, Inbox, InboxFailure, Receipt};
use countersign::x509::DistinguishedName;
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::kit::{Identity, Producer, producer::client_config};
use crate::{bare, postgres};

/// Tells a child of the benchmark which server it is to be.
pub const ROLE: &str = "SPEED_ROLE";
const POSTGRES: &str = "SPEED_POSTGRES";
const FOLDER: &str = "SPEED_FOLDER";
pub const SECRET: &[u8] = b"3f1c9a5e7b2d4f608192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// rustls, a fixed 204, nothing else.
    Bare,
    /// All gates, and an inbox that keeps nothing.
    NoStore,
    /// The real binary, on SQLite.
    Sqlite,
    /// The real binary, on PostgreSQL.
    Postgres,
    /// All gates, and one statement of PostgreSQL for each request, on as many sessions as it has use for.
    PerRequest,
    /// The same, on as many as a pool has that nobody set.
    SmallPool,
}

impl Candidate {
    pub const ALL: [Self; 6] = [
        Self::Bare,
        Self::NoStore,
        Self::Sqlite,
        Self::Postgres,
        Self::PerRequest,
        Self::SmallPool,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::NoStore => "signed, no store",
            Self::Sqlite => "durable, sqlite",
            Self::Postgres => "durable, postgres",
            Self::PerRequest => "postgres, per request",
            Self::SmallPool => "10 sessions, per request",
        }
    }

    /// Sessions of a receiver that asks PostgreSQL once for each request. sqlx's and node-postgres' pools have ten.
    fn sessions(self) -> Option<usize> {
        match self {
            Self::PerRequest => Some(32),
            Self::SmallPool => Some(10),
            Self::Bare | Self::NoStore | Self::Sqlite | Self::Postgres => None,
        }
    }

    /// Whether it is the receiver as users run it.
    pub fn is_durable(self) -> bool {
        matches!(self, Self::Sqlite | Self::Postgres)
    }
}

/// A CA, a server's leaf, a producer's leaf and a secret, in a folder of their own.
pub struct Credentials {
    folder: tempfile::TempDir,
}

impl Credentials {
    pub fn make() -> Result<Self, Box<dyn Error + Send + Sync>> {
        let folder = tempfile::tempdir()?;
        let now = Timestamp::now();
        let ca = PrivateCa::init(
            folder.path(),
            DistinguishedName::parse("CN=speed")?,
            10,
            now,
        )?;
        let order =
            |subject: &str, names: &[&str]| -> Result<Order, Box<dyn Error + Send + Sync>> {
                Ok(Order {
                    subject: Some(DistinguishedName::parse_as_encoded(subject)?),
                    days: 5,
                    request: None,
                    server_names: names
                        .iter()
                        .map(|name| name.parse())
                        .collect::<Result<_, _>>()?,
                })
            };
        ca.issue(&order("CN=localhost", &["localhost"])?, now)?
            .write(&folder.path().join("server"))?;
        ca.issue(
            &order("CN=payments-provider,O=Example,OU=tenant-42", &[])?,
            now,
        )?
        .write(&folder.path().join("producer"))?;
        std::fs::write(folder.path().join("producer.secret"), SECRET)?;
        Ok(Self { folder })
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A producer that knows the servers of this benchmark.
    pub fn producer(&self, port: u16) -> Producer {
        let read = |name: &str| std::fs::read_to_string(self.file(name)).unwrap();
        let identity = Identity {
            certificate: read("producer.crt"),
            key: read("producer.key"),
        };
        let tls = client_config(&read("ca.crt"), Some(&identity));
        let address = (Ipv4Addr::LOCALHOST, port).into();
        Producer::new(address, tls, "/webhooks/payments", SECRET)
    }
}

/// What a server keeps: it outlives the server, and is gone with this value.
pub struct Data {
    candidate: Candidate,
    folder: tempfile::TempDir,
    postgres: Option<String>,
}

impl Data {
    /// An empty store.
    pub fn fresh(candidate: Candidate) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let postgres = match candidate {
            Candidate::Postgres | Candidate::PerRequest | Candidate::SmallPool => {
                Some(postgres::fresh_database().ok_or("no PostgreSQL")?)
            }
            Candidate::Bare | Candidate::NoStore | Candidate::Sqlite => None,
        };
        let folder = tempfile::tempdir_in(
            std::env::var("SPEED_DATA").unwrap_or_else(|_unset| env!("CARGO_TARGET_TMPDIR").into()),
        )?;
        Ok(Self {
            candidate,
            folder,
            postgres,
        })
    }

    /// As `store.url` has it.
    pub fn url(&self) -> String {
        match &self.postgres {
            Some(url) => url.clone(),
            None => format!("sqlite:{}/speed.db", self.folder.path().display()),
        }
    }
}

/// A server in a process of its own; dropping it ends the process.
pub struct Server {
    child: Child,
    pub port: u16,
    /// What it alone keeps.
    own_data: Option<Data>,
}

impl Server {
    /// A server with an empty store.
    pub fn start(
        candidate: Candidate,
        credentials: &Credentials,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let data = Data::fresh(candidate)?;
        let mut server = Self::start_on(&data, credentials)?;
        server.own_data = Some(data);
        Ok(server)
    }

    /// A server on what another may have kept.
    pub fn start_on(
        data: &Data,
        credentials: &Credentials,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let folder = data.folder.path();
        let config = folder.join("countersign.toml");
        std::fs::write(&config, configuration(credentials.folder.path(), folder))?;
        let mut command = if data.candidate.is_durable() {
            let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
            command.arg("--config").arg(&config).arg("serve");
            command
        } else {
            let mut command = Command::new(std::env::current_exe()?);
            command.env(ROLE, data.candidate.name()).env(FOLDER, folder);
            command
        };
        if let Some(url) = &data.postgres {
            command
                .env(POSTGRES, url)
                .env("COUNTERSIGN_STORE__URL", url);
        }
        let mut child = command
            .env("COUNTERSIGN_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().ok_or("no standard output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let port = line
            .trim()
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok());
        let Some(port) = port else {
            let _gone = child.kill();
            let _reaped = child.wait();
            return Err(format!("{:?} said {line:?}", data.candidate).into());
        };
        Ok(Self {
            child,
            port,
            own_data: None,
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        drop(self.own_data.take());
    }
}

fn configuration(certs: &Path, data: &Path) -> String {
    let (certs, data) = (certs.display(), data.display());
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
paths = ["/webhooks/payments"]
[server.limits]
connections_per_ip = 10000
[admin]
listen = "127.0.0.1:0"
[tls]
certificate = "{certs}/server.crt"
private_key = "{certs}/server.key"
client_ca = ["{certs}/ca.crt"]
[store]
url = "sqlite:{data}/speed.db"
[[tenants]]
id = "tenant-42"
[[tenants.producers]]
name = "payments-provider"
subject = "CN=payments-provider,O=Example,OU=tenant-42"
profile = "timestamped"
secrets = ["file:{certs}/producer.secret"]
"#
    )
}

/// An inbox that forgets.
struct Nowhere;

impl Inbox for Nowhere {
    async fn accept(&self, delivery: Vec<Event>) -> Result<Vec<Receipt>, InboxFailure> {
        Ok(delivery.iter().map(|_event| Receipt::Accepted).collect())
    }
}

/// The child's side: serves until it is killed.
pub fn serve_as(role: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    let folder = PathBuf::from(std::env::var(FOLDER)?);
    let file = ConfigFile::Named(folder.join("countersign.toml"));
    let config = Config::load(&file, &Environment::empty(), Timestamp::now())
        .map_err(|faults| format!("{faults:?}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if role == Candidate::Bare.name() {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
            println!("{}", listener.local_addr()?);
            bare::serve(listener, bare_config(&folder)?).await?;
            return Ok(());
        }
        let candidate = Candidate::ALL.iter().find(|each| each.name() == role);
        if let Some(sessions) = candidate.and_then(|candidate| candidate.sessions()) {
            let url = std::env::var(POSTGRES)?;
            let inbox = postgres::PerRequest::open(&url, sessions).await?;
            countersign::server::serve_into(config, inbox, |address| println!("{address}")).await?;
            return Ok(());
        }
        countersign::server::serve_into(config, Nowhere, |address| println!("{address}")).await?;
        Ok(())
    })
}

/// The same TLS as the receiver's, without its checks of the client but webpki's own.
fn bare_config(folder: &Path) -> Result<Arc<rustls::ServerConfig>, Box<dyn Error + Send + Sync>> {
    let text = std::fs::read_to_string(folder.join("countersign.toml"))?;
    let certs = text
        .split("client_ca = [\"")
        .nth(1)
        .and_then(|rest| rest.split("/ca.crt").next())
        .ok_or("no client_ca")?;
    let certs = Path::new(certs);
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(certs.join("ca.crt"))? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        Arc::clone(&provider),
    )
    .build()?;
    let chain =
        CertificateDer::pem_file_iter(certs.join("server.crt"))?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(certs.join("server.key"))?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

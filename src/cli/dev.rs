//! `countersign dev`: the first run. Makes what is missing, overwrites nothing, serves, and prints what to paste.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;

use super::output::{self, Outcome, complain, say};
use super::{serve, unusable};
use crate::ca::{CaFault, Order, PrivateCa, ServerName, write_new_secret};
use crate::config::{Config, ConfigFile, Environment, TEMPLATE};
use crate::server::{Announced, Prelude};
use crate::x509::{DistinguishedName, NameFault};

/// Who the first producer is.
pub(super) const PRODUCER_SUBJECT: &str = "CN=payments-provider,O=Example,OU=tenant-42";
const CA_SUBJECT: &str = "CN=countersign private CA";
const SERVER_SUBJECT: &str = "CN=localhost";
const CA_DAYS: u32 = 3650;
const LEAF_DAYS: u32 = 365;

/// The first run: makes a private CA, certificates, a secret and a configuration where they are missing, then serves
#[derive(Debug, Args)]
pub(super) struct Dev {}

/// Why the first run could not make something.
#[derive(Debug, thiserror::Error)]
enum DevFailure {
    #[error("{}", told(.0))]
    Ca(CaFault),
    #[error("{} is missing beside {}; put it back, or move the other away to have both made anew", missing.display(), there.display())]
    Half { missing: PathBuf, there: PathBuf },
    #[error("{} is no directory, and the store is to lie in one of that name; move it away", path.display())]
    NoDirectory { path: PathBuf },
    #[error("a built-in name can not be read")]
    Name(#[from] NameFault),
    #[error("{} can not be written", path.display())]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl From<CaFault> for DevFailure {
    fn from(fault: CaFault) -> Self {
        Self::Ca(fault)
    }
}

fn told(fault: &CaFault) -> String {
    format!("{}; {}", output::chain(fault), fault.mend())
}

/// A certificate without its key, or a key without its certificate, is somebody's mistake that is not ours to mend.
fn must_be_whole(certs: &Path, names: &[&str]) -> Result<(), DevFailure> {
    for name in names {
        let (certificate, key) = (
            certs.join(format!("{name}.crt")),
            certs.join(format!("{name}.key")),
        );
        match (certificate.exists(), key.exists()) {
            (true, false) => {
                return Err(DevFailure::Half {
                    missing: key,
                    there: certificate,
                });
            }
            (false, true) => {
                return Err(DevFailure::Half {
                    missing: certificate,
                    there: key,
                });
            }
            (true, true) | (false, false) => {}
        }
    }
    Ok(())
}

impl Dev {
    pub(super) fn run(self, place: &ConfigFile, environment: &Environment) -> Outcome {
        output::log(environment);
        let prelude = match Prelude::begin() {
            Ok(prelude) => prelude,
            Err(error) => return output::failed(&error),
        };
        let home = match place.path().parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        match make(&home, place.path(), Timestamp::now()) {
            Ok(made) => made
                .iter()
                .for_each(|path| say(&format!("made {}", path.display()))),
            Err(failure) => {
                complain(&format!("countersign: {}", output::chain(&failure)));
                return Outcome::Failed;
            }
        }
        let place = ConfigFile::Named(place.path().to_owned());
        let config = match Config::load(&place, environment, Timestamp::now()) {
            Ok(config) => config,
            Err(faults) => return unusable(&faults),
        };
        let path = config
            .server
            .paths
            .first()
            .map_or_else(|| "/".to_owned(), ToString::to_string);
        let hint = Hint {
            home,
            file: place.path().to_owned(),
            path,
            variables: exports(environment),
        };
        serve::serve(prelude, config, &place, environment, |announced| {
            hint.print(announced)
        })
    }
}

/// Makes what is missing; gives what was made.
fn make(home: &Path, config: &Path, now: Timestamp) -> Result<Vec<PathBuf>, DevFailure> {
    let certs = home.join("certs");
    let file = |name: &str| certs.join(name);
    let mut made = Vec::new();
    let write_failed = |path: &Path| {
        let path = path.to_owned();
        move |source| DevFailure::Write { path, source }
    };

    must_be_whole(&certs, &["server", "producer"])?;
    let ca = if file("ca.crt").exists() || file("ca.key").exists() {
        // Somebody's own CA: its key is only needed if something is to be issued.
        None
    } else {
        made.extend([file("ca.crt"), file("ca.key")]);
        Some(PrivateCa::init(
            &certs,
            DistinguishedName::parse_as_encoded(CA_SUBJECT)?,
            CA_DAYS,
            now,
        )?)
    };
    let issue = |order: &Order, prefix: &str| -> Result<Vec<PathBuf>, DevFailure> {
        let issued = match &ca {
            Some(ca) => ca.issue(order, now)?,
            None => PrivateCa::open(&certs)?.issue(order, now)?,
        };
        let (certificate, key) = issued.write(&file(prefix))?;
        Ok(std::iter::once(certificate).chain(key).collect())
    };
    if !file("server.crt").exists() {
        let names = ["localhost", "127.0.0.1", "::1"];
        let server_names = names
            .iter()
            .map(|name| name.parse())
            .collect::<Result<Vec<ServerName>, CaFault>>()?;
        let subject = Some(DistinguishedName::parse_as_encoded(SERVER_SUBJECT)?);
        made.extend(issue(
            &Order {
                subject,
                days: LEAF_DAYS,
                request: None,
                server_names,
            },
            "server",
        )?);
    }
    if !file("producer.crt").exists() {
        let subject = Some(DistinguishedName::parse_as_encoded(PRODUCER_SUBJECT)?);
        made.extend(issue(
            &Order {
                subject,
                days: LEAF_DAYS,
                request: None,
                server_names: Vec::new(),
            },
            "producer",
        )?);
    }
    if !file("producer.secret").exists() {
        write_new_secret(&file("producer.secret"))?;
        made.push(file("producer.secret"));
    }
    if !config.exists() {
        let mut new = std::fs::File::create_new(config).map_err(write_failed(config))?;
        new.write_all(TEMPLATE.as_bytes())
            .map_err(write_failed(config))?;
        made.push(config.to_owned());
    }
    let data = home.join("data");
    if data.exists() && !data.is_dir() {
        return Err(DevFailure::NoDirectory { path: data });
    }
    if !data.exists() {
        std::fs::create_dir_all(&data).map_err(write_failed(&data))?;
        made.push(data);
    }
    Ok(made)
}

/// What another terminal needs of this one's environment, for the same configuration to count there.
fn exports(environment: &Environment) -> String {
    let mut lines = String::new();
    for (name, value) in environment.overriding() {
        lines.push_str(&match value {
            Some(value) => {
                let quoted = value.replace('\'', "'\\''");
                format!("  export {name}='{}'\n", output::printable(&quoted))
            }
            None => format!(
                "  export {name}=…                 # as it is set here; it may hold a secret\n"
            ),
        });
    }
    if lines.is_empty() {
        return lines;
    }
    format!("\n  # what overrides the configuration here\n{lines}")
}

/// What can be done now, from another terminal.
struct Hint {
    home: PathBuf,
    file: PathBuf,
    path: String,
    /// Lines to be pasted before all others.
    variables: String,
}

impl Hint {
    fn print(&self, announced: Announced) {
        let program = std::env::current_exe().ok();
        let here = std::env::current_dir().ok();
        let shown = |path: &Path| {
            let relative = here
                .as_deref()
                .and_then(|here| path.strip_prefix(here).ok());
            relative.unwrap_or(path).display().to_string()
        };
        let program = program
            .as_deref()
            .map_or_else(|| "countersign".to_owned(), shown);
        let config = if self.file == Path::new("countersign.toml") {
            String::new()
        } else {
            format!(" --config {}", self.file.display())
        };
        let variables = &self.variables;
        let certs = self.home.join("certs");
        let certs = certs
            .strip_prefix(".")
            .unwrap_or(&certs)
            .display()
            .to_string();
        let port = announced.server.port();
        let url = format!("https://{}:{port}{}", host(announced.server), self.path);
        // `send` knows the default address by itself.
        let to = if port == 8443 && self.path == "/webhooks/payments" {
            String::new()
        } else {
            format!(" --url {url}")
        };
        say(&format!(
            "
Try it from another terminal, in this folder:
{variables}
  # a signed payment event over mutual TLS
  {program} send{config}{to}

  # the same with openssl and curl
  time=$(date +%s)
  body='{{\"id\":\"evt_'$(openssl rand -hex 8)'\",\"type\":\"payment.succeeded\",\"created\":'$time',\"data\":{{\"payment_id\":\"pay_by_hand\",\"amount\":1999,\"currency\":\"EUR\",\"status\":\"succeeded\"}}}}'
  mac=$(printf '%s.%s' \"$time\" \"$body\" | openssl dgst -sha256 -hmac \"$(cat {certs}/producer.secret)\" -r | cut -d' ' -f1)
  curl -i --cacert {certs}/ca.crt --cert {certs}/producer.crt --key {certs}/producer.key -H \"X-Webhook-Timestamp: $time\" -H \"X-Webhook-Signature: sha256=$mac\" --data-binary \"$body\" {url}

  # without a certificate: refused at the handshake, and recorded
  curl -i --cacert {certs}/ca.crt --data-binary '{{}}' {url}

  # what became of it
  {program} payments list{config}
  {program} events list{config}
  {program} refusals list{config}

The operator's side: http://{}/metrics. Stop with Ctrl-C.
",
            announced.admin
        ));
    }
}

/// The name by which the first server certificate may be called.
fn host(address: SocketAddr) -> String {
    if address.ip().is_unspecified() || address.ip().is_loopback() {
        return "localhost".to_owned();
    }
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overrides_is_told_to_be_set_again_and_no_secret_is_printed() {
        let environment = Environment::from([
            ("COUNTERSIGN_SERVER__LISTEN", "127.0.0.1:9999"),
            ("COUNTERSIGN_STORE__URL", "postgres://app:hidden@db/inbox"),
            ("COUNTERSIGN_ADMIN__TOKEN", "hidden"),
            ("COUNTERSIGN_TENANTS__0__PRODUCERS__0__SECRETS__0", "hidden"),
            ("COUNTERSIGN_LOG", "debug"),
            ("PATH", "/bin"),
        ]);
        let told = exports(&environment);
        let listen = "export COUNTERSIGN_SERVER__LISTEN='127.0.0.1:9999'\n";
        assert!(told.contains(listen), "{told}");
        assert_eq!(told.matches("export ").count(), 4, "{told}");
        assert!(!told.contains("hidden"), "{told}");
        let file = [("COUNTERSIGN_STORE__URL", "sqlite:it's.db")];
        let told = exports(&Environment::from(file));
        assert!(told.contains("='sqlite:it'\\''s.db'"), "{told}");
        assert_eq!(exports(&Environment::empty()), "");
    }
}

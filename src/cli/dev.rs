//! `countersign dev`: the first run. Makes what is missing, overwrites nothing, serves, and prints what to paste.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;

use super::called::{self, word};
use super::output::{self, Outcome, complain, say};
use super::{serve, unusable};
use crate::ca::{CaFault, Order, PrivateCa, ServerName, write_new_secret};
use crate::config::{Config, ConfigFile, Environment, ListenAddress, TEMPLATE};
use crate::server::Announced;
use crate::x509::{DistinguishedName, NameFault};

/// Who the first producer is.
pub(super) const PRODUCER_SUBJECT: &str = "CN=payments-provider,O=Example,OU=tenant-42";
/// How it signs, and what `send` does if it is told nothing else.
const FIRST_PROFILE: &str = "timestamped";
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
    #[error("a built-in name cannot be read")]
    Name(#[from] NameFault),
    #[error("{} cannot be written", path.display())]
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
        let _log = output::log(environment);
        let ground = match serve::Ground::lay() {
            Ok(ground) => ground,
            Err(error) => return output::failed(&error),
        };
        let home = match place.path().parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        let listen = ListenAddress::of_server(place, environment).address;
        match make(&home, place.path(), listen.ip(), Timestamp::now()) {
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
        let hint = Hint {
            home,
            file: place.path().to_owned(),
            delivery: Delivery::of(&config),
            variables: exports(environment),
        };
        serve::serve(ground, config, &place, environment, |announced| {
            hint.print(announced)
        })
    }
}

/// Makes what is missing; gives what was made. The server's certificate is also for `listen`, if others can call it so.
fn make(
    home: &Path,
    config: &Path,
    listen: IpAddr,
    now: Timestamp,
) -> Result<Vec<PathBuf>, DevFailure> {
    let write_failed = |path: &Path| {
        let path = path.to_owned();
        move |source| DevFailure::Write { path, source }
    };
    let certs = home.join("certs");
    let mut made = make_certificates(&certs, listen, now)?;
    let secret = certs.join("producer.secret");
    if !secret.exists() {
        write_new_secret(&secret)?;
        made.push(secret);
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

/// Makes the CA, and the two leaves that it issues, as far as they are missing.
fn make_certificates(
    certs: &Path,
    listen: IpAddr,
    now: Timestamp,
) -> Result<Vec<PathBuf>, DevFailure> {
    let file = |name: &str| certs.join(name);
    let mut made = Vec::new();
    must_be_whole(certs, &["server", "producer"])?;
    let ca = if file("ca.crt").exists() || file("ca.key").exists() {
        // Somebody's own CA: its key is only needed if something is to be issued.
        None
    } else {
        made.extend([file("ca.crt"), file("ca.key")]);
        Some(PrivateCa::init(
            certs,
            DistinguishedName::parse_as_encoded(CA_SUBJECT)?,
            CA_DAYS,
            now,
        )?)
    };
    let mut issue = |prefix: &str, subject: &str, server_names: Vec<ServerName>| {
        let order = Order {
            subject: Some(DistinguishedName::parse_as_encoded(subject)?),
            days: LEAF_DAYS,
            request: None,
            server_names,
        };
        let issued = match &ca {
            Some(ca) => ca.issue(&order, now)?,
            None => PrivateCa::open(certs)?.issue(&order, now)?,
        };
        let (certificate, key) = issued.write(&file(prefix))?;
        made.push(certificate);
        made.extend(key);
        Ok::<_, DevFailure>(())
    };
    if !file("server.crt").exists() {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let names = names
            .into_iter()
            .chain((!is_local(listen)).then(|| listen.to_string()))
            .map(|name| name.parse())
            .collect::<Result<Vec<ServerName>, CaFault>>()?;
        issue("server", SERVER_SUBJECT, names)?;
    }
    if !file("producer.crt").exists() {
        issue("producer", PRODUCER_SUBJECT, Vec::new())?;
    }
    Ok(made)
}

/// What another terminal needs of this one's environment, for the same configuration to count there.
fn exports(environment: &Environment) -> String {
    let mut lines = String::new();
    for (name, value) in environment.overriding() {
        lines.push_str(&match value {
            Some(value) => {
                format!("  export {name}={}\n", word(value))
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

/// How the first producer delivers.
struct Delivery {
    path: String,
    profile: String,
}

impl Delivery {
    /// As the producer whose certificate was made is configured; if there is none any more, as it was.
    fn of(config: &Config) -> Self {
        let subject = DistinguishedName::parse_as_encoded(PRODUCER_SUBJECT).ok();
        let producers = config.snapshot.directory().producers();
        let producer = producers.iter().find(|producer| {
            subject
                .as_ref()
                .is_some_and(|subject| producer.subject.matches(subject))
        });
        let verifier = producer.and_then(|producer| config.snapshot.verifier(producer.id));
        let own = producer.and_then(|producer| producer.path.as_ref());
        let path = own.or_else(|| config.server.paths.first());
        Self {
            path: path.map_or_else(|| "/".to_owned(), ToString::to_string),
            profile: verifier
                .map_or(FIRST_PROFILE, |verifier| verifier.profile().name())
                .to_owned(),
        }
    }
}

/// What can be done now, from another terminal.
struct Hint {
    home: PathBuf,
    file: PathBuf,
    delivery: Delivery,
    /// Lines to be pasted before all others.
    variables: String,
}

impl Hint {
    fn print(&self, announced: Announced) {
        say(&self.text(&called::from_here(), announced));
    }

    fn text(&self, program: &str, announced: Announced) -> String {
        let config = if self.file == Path::new("countersign.toml") {
            String::new()
        } else {
            format!(" --config {}", word(&self.file.display().to_string()))
        };
        let variables = &self.variables;
        let Delivery { path, profile } = &self.delivery;
        let port = announced.server.port();
        let url = word(&format!("https://{}:{port}{path}", host(announced.server)));
        // `send` knows the defaults by itself.
        let to = if port == 8443 && path == "/webhooks/payments" {
            String::new()
        } else {
            format!(" --url {url}")
        };
        let (by, by_hand) = if profile == FIRST_PROFILE {
            (String::new(), self.by_hand(&url))
        } else {
            (format!(" --profile {}", word(profile)), String::new())
        };
        let ca = self.cert("ca.crt");
        format!(
            "
Try it from another terminal, in this folder:
{variables}
  # a signed payment event over mutual TLS
  {program} send{config}{to}{by}
{by_hand}
  # without a certificate: refused at the handshake, and recorded
  curl -i --cacert {ca} --data-binary '{{}}' {url}

  # what became of it
  {program} payments list{config}
  {program} events list{config}
  {program} refusals list{config}

The operator's side: http://{}/metrics. Stop with Ctrl-C.
",
            announced.admin
        )
    }

    /// The first profile's signature, made by other programs.
    fn by_hand(&self, url: &str) -> String {
        let (ca, certificate) = (self.cert("ca.crt"), self.cert("producer.crt"));
        let (key, secret) = (self.cert("producer.key"), self.cert("producer.secret"));
        format!(
            "
  # the same with openssl and curl
  time=$(date +%s)
  body='{{\"id\":\"evt_'$(openssl rand -hex 8)'\",\"type\":\"payment.succeeded\",\"created\":'$time',\"data\":{{\"payment_id\":\"pay_by_hand\",\"amount\":1999,\"currency\":\"EUR\",\"status\":\"succeeded\"}}}}'
  mac=$(printf '%s.%s' \"$time\" \"$body\" | openssl dgst -sha256 -hmac \"$(cat {secret})\" -r | cut -d' ' -f1)
  curl -i --cacert {ca} --cert {certificate} --key {key} -H \"X-Webhook-Timestamp: $time\" -H \"X-Webhook-Signature: sha256=$mac\" --data-binary \"$body\" {url}
"
        )
    }

    /// A file that was made, as a word.
    fn cert(&self, name: &str) -> String {
        let path = self.home.join("certs").join(name);
        let path = path.strip_prefix(".").unwrap_or(&path);
        word(&path.display().to_string())
    }
}

/// Whether only this machine, or nobody, calls a server by this address.
fn is_local(address: IpAddr) -> bool {
    address.is_unspecified() || address.is_loopback()
}

/// The name by which the first server certificate may be called.
fn host(address: SocketAddr) -> String {
    match address {
        address if is_local(address.ip()) => "localhost".to_owned(),
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
        let listen = "export COUNTERSIGN_SERVER__LISTEN=127.0.0.1:9999\n";
        assert!(told.contains(listen), "{told}");
        assert_eq!(told.matches("export ").count(), 4, "{told}");
        assert!(!told.contains("hidden"), "{told}");
        let file = [("COUNTERSIGN_STORE__URL", "sqlite:it's.db")];
        let told = exports(&Environment::from(file));
        assert!(told.contains("=\"sqlite:it's.db\""), "{told}");
        assert_eq!(exports(&Environment::empty()), "");
    }

    fn hint(file: &str, path: &str, profile: &str) -> String {
        let file = PathBuf::from(file);
        let hint = Hint {
            home: file.parent().unwrap().to_owned(),
            file,
            delivery: Delivery {
                path: path.to_owned(),
                profile: profile.to_owned(),
            },
            variables: String::new(),
        };
        let announced = Announced {
            server: "192.0.2.2:8443".parse().unwrap(),
            admin: "127.0.0.1:9443".parse().unwrap(),
        };
        hint.text("./countersign", announced)
    }

    #[test]
    fn what_is_printed_is_one_word_to_a_shell() {
        let told = hint("my dir/countersign.toml", "/hooks?a=1&b", "timestamped");
        for line in [
            "  ./countersign send --config 'my dir/countersign.toml' --url 'https://192.0.2.2:8443/hooks?a=1&b'\n",
            "$(cat 'my dir/certs/producer.secret')",
            "  curl -i --cacert 'my dir/certs/ca.crt' --cert 'my dir/certs/producer.crt' --key 'my dir/certs/producer.key' ",
            "  ./countersign refusals list --config 'my dir/countersign.toml'\n",
        ] {
            assert!(told.contains(line), "{line}\n{told}");
        }
    }

    #[test]
    fn another_profile_is_named_and_not_signed_by_hand() {
        let told = hint("countersign.toml", "/webhooks/payments", "stripe");
        assert!(
            told.contains("  ./countersign send --profile stripe\n"),
            "{told}"
        );
        assert!(!told.contains("openssl"), "{told}");
    }

    #[test]
    fn the_certificate_bears_the_address_that_is_printed() {
        for (listen, borne) in [
            ("0.0.0.0", false),
            ("127.0.0.1", false),
            ("192.0.2.2", true),
            ("2001:db8::2", true),
        ] {
            let home = tempfile::tempdir().unwrap();
            let config = home.path().join("countersign.toml");
            let address = listen.parse().unwrap();
            make(home.path(), &config, address, Timestamp::now()).unwrap();
            let pem = std::fs::read(home.path().join("certs/server.crt")).unwrap();
            let der = crate::x509::decode_certificates(&pem).unwrap().remove(0);
            let leaf = crate::x509::Certificate::decode(&der).unwrap();
            let names = leaf.subject_alt_names();
            assert_eq!(names.len(), 3 + usize::from(borne), "{listen}");
            let own = crate::x509::SubjectAltName::Ip(address);
            assert_eq!(
                names.contains(&own),
                borne || address.is_loopback(),
                "{listen}"
            );
        }
    }
}

//! `countersign certs`: the private CA, and what a certificate says.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::lists::with_views;
use super::output::{self, Outcome, Table, complain, json_line, say};
use super::unusable;
use crate::admin::CertificateView;
use crate::ca::{CaFault, Order, PrivateCa, ServerName};
use crate::config::{Config, ConfigFile, Environment, Fault};
use crate::server::{certificates, configured_certificates};
use crate::store::{LeafSeen, Millis, Views};
use crate::x509::{
    Certificate, CertificateReport, CertificateRole, DistinguishedName, SigningRequest, X509Fault,
    decode_certificates, decode_signing_request,
};

/// How long a leaf lives when nobody says.
const LEAF_DAYS: u32 = 90;
/// How long the CA lives.
const CA_DAYS: u32 = 3650;

/// Make, read and revoke certificates of a private CA
#[derive(Debug, Args)]
pub(super) struct Certs {
    #[command(subcommand)]
    command: CertsCommand,
}

#[derive(Debug, Subcommand)]
enum CertsCommand {
    /// Make a private CA: DIR/ca.crt, and DIR/ca.key with mode 0600; never overwrites
    Init {
        /// The directory that gets both files; it is made if it is missing
        #[arg(long, value_name = "DIR", default_value = "certs")]
        out: PathBuf,
        /// The CA's name
        #[arg(long, value_name = "DN", default_value = "CN=countersign private CA", value_parser = name)]
        subject: DistinguishedName,
        /// The CA's life in days, from now
        #[arg(long, value_name = "N", default_value_t = CA_DAYS, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Issue a leaf: PREFIX.crt, and PREFIX.key with mode 0600 unless --csr is given; never overwrites
    Issue {
        /// The directory of the CA
        #[arg(long, value_name = "DIR", default_value = "certs")]
        ca: PathBuf,
        /// The subject, as CN=payments-provider,O=Example,OU=tenant-42 (kept in this order); default: that of the request
        #[arg(long, value_name = "DN", required_unless_present = "csr", value_parser = name)]
        subject: Option<DistinguishedName>,
        /// Where to write: PREFIX.crt and PREFIX.key
        #[arg(long, value_name = "PREFIX")]
        out: PathBuf,
        /// The certificate's life in days, from now
        #[arg(long, value_name = "N", default_value_t = LEAF_DAYS, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
        /// A signing request: the sender keeps its key
        #[arg(long, value_name = "FILE")]
        csr: Option<PathBuf>,
        /// A server's leaf for these names or addresses, instead of a client's
        #[arg(long, value_name = "NAME", num_args = 1.., value_parser = server_name)]
        server: Vec<ServerName>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// What a certificate says, and which tenant it maps to here, or why to none
    Inspect {
        /// PEM or DER
        file: PathBuf,
        /// Print JSON Lines
        #[arg(long)]
        json: bool,
    },
    /// Every certificate that matters here: ours, the anchors, the CRLs, each client's; which secrets are in use; what is marked shadow = true
    List {
        /// Print JSON Lines
        #[arg(long)]
        json: bool,
    },
    /// Add a certificate to the CA's revocation list, DIR/ca.crl
    Revoke {
        /// The directory of the CA
        #[arg(long, value_name = "DIR", default_value = "certs")]
        ca: PathBuf,
        /// The certificate, PEM or DER; without one, the list is only renewed
        file: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Why a certificate command failed: what, and what to do.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{}; {}", output::chain(.0), .0.mend())]
    Ca(#[from] CaFault),
    #[error("{}: {what}; {mend}", path.display())]
    File {
        path: PathBuf,
        what: String,
        mend: &'static str,
    },
}

impl Certs {
    pub(super) fn run(self, place: &ConfigFile, environment: &Environment) -> Outcome {
        let now = Timestamp::now();
        let done = match self.command {
            CertsCommand::Init {
                out,
                subject,
                days,
                json,
            } => init(&out, subject, days, json, now),
            CertsCommand::Issue {
                ca,
                subject,
                out,
                days,
                csr,
                server,
                json,
            } => issue(
                &ca,
                &out,
                csr.as_deref(),
                json,
                |request| Order {
                    subject,
                    days,
                    request,
                    server_names: server,
                },
                now,
            ),
            CertsCommand::Inspect { file, json } => inspect(&file, json, place, environment, now),
            CertsCommand::List { json } => Ok(list(json, place, environment, now)),
            CertsCommand::Revoke { ca, file, json } => {
                revoke(&ca, file.as_deref(), json, place, environment, now)
            }
        };
        done.unwrap_or_else(|failed| {
            complain(&format!("countersign: {failed}"));
            Outcome::Failed
        })
    }
}

fn list(json: bool, place: &ConfigFile, environment: &Environment, now: Timestamp) -> Outcome {
    let config = match Config::load(place, environment, now) {
        Ok(config) => config,
        Err(faults) => return unusable(&faults),
    };
    let told = Cell::new(false);
    let outcome = with_views(place, environment, async |views| {
        let listed = certificates(&config.snapshot, views, now).await?;
        told.set(true);
        print_listed(&listed, json);
        Ok(Outcome::Done)
    });
    if !told.get() {
        complain(
            "countersign: here is what the configuration names; who came with which certificate, and when, is in the store",
        );
        print_listed(&configured_certificates(&config.snapshot), json);
    }
    outcome
}

fn print_listed(listed: &[CertificateView], json: bool) {
    if json {
        for certificate in listed {
            json_line(certificate);
        }
        return;
    }
    let mut table = Table::new([
        "ROLE",
        "WHOSE",
        "SERIAL",
        "PRODUCER",
        "ENDS",
        "LAST SEEN",
        "NOTE",
    ]);
    for certificate in listed {
        table.row(cells(certificate));
    }
    table.print();
}

/// A line for a person.
fn cells(listed: &CertificateView) -> [String; 7] {
    let or_none = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let time =
        |time: Option<Millis>| time.map_or_else(|| "-".to_owned(), |time| format!("{:.0}", time.0));
    let producer = listed.producer.as_ref().map(|name| {
        let tenant = listed.tenant_id.as_deref();
        format!("{name} of {}", tenant.unwrap_or("-"))
    });
    [
        listed.role.name(),
        or_none(listed.whose()),
        or_none(listed.serial.as_deref()),
        or_none(producer.as_deref()),
        time(listed.not_after),
        time(listed.last_seen),
        or_none(listed.note.as_deref()),
    ]
}

fn init(
    out: &Path,
    subject: DistinguishedName,
    days: u32,
    json: bool,
    now: Timestamp,
) -> Result<Outcome, Failed> {
    PrivateCa::init(out, subject, days, now)?;
    print_made(&out.join("ca.crt"), Some(&out.join("ca.key")), json);
    Ok(Outcome::Done)
}

/// Tells which files were made.
fn print_made(certificate: &Path, key: Option<&Path>, json: bool) {
    let certificate = certificate.display().to_string();
    let key = key.map(|key| key.display().to_string());
    if json {
        json_line(&json!({ "certificate": certificate, "key": key }));
    } else {
        say(&certificate);
        if let Some(key) = key {
            say(&key);
        }
    }
}

fn issue(
    ca: &Path,
    out: &Path,
    csr: Option<&Path>,
    json: bool,
    order: impl FnOnce(Option<SigningRequest>) -> Order,
    now: Timestamp,
) -> Result<Outcome, Failed> {
    let request = csr.map(read_request).transpose()?;
    let issued = PrivateCa::open(ca)?.issue(&order(request), now)?;
    let (certificate, key) = issued.write(out)?;
    print_made(&certificate, key.as_deref(), json);
    Ok(Outcome::Done)
}

fn read_request(path: &Path) -> Result<SigningRequest, Failed> {
    let form = "give a PKCS #10 request in PEM or DER";
    let unusable = |what: String, mend| Failed::File {
        path: path.to_owned(),
        what,
        mend,
    };
    let file = std::fs::read(path).map_err(|error| unusable(error.to_string(), form))?;
    let der = decode_signing_request(&file).map_err(|fault| unusable(fault.to_string(), form))?;
    SigningRequest::decode(&der).map_err(|fault| {
        let mend = if matches!(fault, X509Fault::UnusableKey { .. }) {
            "have one made for another key: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"
        } else if matches!(fault, X509Fault::UnsupportedSignature) {
            "have it signed anew, with SHA-256"
        } else {
            form
        };
        unusable(output::chain(&fault), mend)
    })
}

fn revoke(
    ca: &Path,
    file: Option<&Path>,
    json: bool,
    place: &ConfigFile,
    environment: &Environment,
    now: Timestamp,
) -> Result<Outcome, Failed> {
    let leaves = file.map(read).transpose()?.unwrap_or_default();
    // Of a chain only the leaf is meant.
    let leaves: Vec<Certificate> = leaves.into_iter().take(1).collect();
    let revocation = PrivateCa::revoke(ca, &leaves, now)?;
    let path = revocation.path.display().to_string();
    if json {
        json_line(&json!({
            "crl": path,
            "added": revocation.added,
            "next_update": format!("{:.3}", revocation.next_update),
        }));
    } else {
        say(&format!(
            "{path}: {} added; renew it before {:.0}",
            revocation.added, revocation.next_update
        ));
    }
    // A CA may be kept where no receiver is; where one is, it must read the list.
    if let Ok(config) = Config::load(place, environment, now) {
        let of_lists = |key: &str| key.starts_with("tls.crls");
        for warning in config.warnings.iter().filter(|one| of_lists(&one.key)) {
            complain(&format!("countersign: {warning}"));
        }
    }
    Ok(Outcome::Done)
}

fn inspect(
    file: &Path,
    json: bool,
    place: &ConfigFile,
    environment: &Environment,
    now: Timestamp,
) -> Result<Outcome, Failed> {
    let config = Config::load(place, environment, now);
    let seen = seen(place, environment);
    let leaves = read(file)?;
    for (place_in_file, leaf) in leaves.iter().enumerate() {
        let mut report = CertificateReport::of(leaf);
        if is_anchor(&config, leaf) {
            report.role = CertificateRole::TrustAnchor;
        }
        let sha256 = leaf.sha256().to_string();
        // An anchor was seen when a leaf came that chains to it.
        let its_own = seen.iter().filter(|seen| {
            seen.sha256 == sha256 || seen.anchor_sha256.as_deref() == Some(&*sha256)
        });
        report.last_seen = its_own.map(|seen| seen.last_seen.0).max();
        // What follows a leaf in its file is what its owner sends along.
        let sent = leaves.get(place_in_file..).unwrap_or_default();
        let mut maps_to = Vec::new();
        match (report.role, &config) {
            (CertificateRole::Client | CertificateRole::Server, Ok(config)) => {
                let refusal = refusal(config, sent, now);
                match refusal.filter(|_| report.role == CertificateRole::Server) {
                    Some(refusal) => maps_to.push(format!("nobody: {refusal}")),
                    None => {
                        let directory = config.snapshot.directory();
                        let mut claimed = directory.claimed(leaf.subject());
                        // Of several, which the path tells apart, none is its own.
                        if let (Some(producer), None) = (claimed.next(), claimed.next()) {
                            report.producer = Some(producer.name.to_string());
                            report.tenant_id = Some(producer.tenant.to_string());
                        }
                        maps_to = explain_mapping(config, leaf, sent, now);
                    }
                }
            }
            (CertificateRole::Client | CertificateRole::Server, Err(faults)) => {
                let first = faults.first().map(ToString::to_string).unwrap_or_default();
                maps_to.push(format!(
                    "nobody: the configuration cannot be used ({first})"
                ));
            }
            (CertificateRole::TrustAnchor | CertificateRole::Intermediate, _) => {}
        }
        let inspected = Inspected { report, maps_to };
        if json {
            json_line(&inspected);
        } else {
            print(&inspected);
        }
    }
    Ok(Outcome::Done)
}

/// Whether it is one of those that are configured: an intermediate may be, and a root of version 1 does not say that it is a CA's.
fn is_anchor(config: &Result<Config, Vec<Fault>>, certificate: &Certificate) -> bool {
    let Ok(config) = config else {
        return false;
    };
    let trust = config.snapshot.trust();
    let mut anchors = trust.anchors().iter().chain(trust.shadow_anchors());
    anchors.any(|anchor| anchor == certificate)
}

/// What a certificate says, and whom it stands for here.
#[derive(Serialize)]
struct Inspected {
    #[serde(flatten)]
    report: CertificateReport,
    /// Each producer, or why there is none, and what the handshake would say; empty where it is a CA's.
    maps_to: Vec<String>,
}

/// The certificates that the store knows; none where it cannot be read, for a certificate says the same without it.
fn seen(place: &ConfigFile, environment: &Environment) -> Vec<LeafSeen> {
    let Ok(store) = Config::load_store(place, environment) else {
        return Vec::new();
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match (runtime, Views::open(&store.url)) {
        (Ok(runtime), Ok(views)) => runtime.block_on(views.leaves_seen()).unwrap_or_default(),
        (Err(_), _) | (_, Err(_)) => Vec::new(),
    }
}

/// Which producers the leaf stands for, or what is in its way.
fn explain_mapping(
    config: &Config,
    leaf: &Certificate,
    sent: &[Certificate],
    now: Timestamp,
) -> Vec<String> {
    let snapshot = &config.snapshot;
    let producers: Vec<_> = snapshot.directory().claimed(leaf.subject()).collect();
    if producers.is_empty() {
        let known: Vec<String> = snapshot
            .directory()
            .producers()
            .iter()
            .map(|producer| producer.subject.to_string())
            .collect();
        return vec![format!(
            "nobody: no producer has this subject (configured: {})",
            known.join(" | ")
        )];
    }
    let mut lines = Vec::new();
    for producer in producers {
        let paths = match snapshot.paths_of(producer).as_slice() {
            [] => "no path".to_owned(),
            paths => paths.join(", "),
        };
        let mut line = format!(
            "tenant {}, producer {}, on {paths}",
            producer.tenant, producer.name
        );
        if !producer.pins.is_empty() && !producer.pins.contains(&leaf.spki()) {
            line.push_str("; refused: its key is none of the pinned");
        }
        lines.push(line);
    }
    lines.extend(refusal(config, sent, now));
    lines
}

/// Why the handshake would refuse who sends this, leaf first.
fn refusal(config: &Config, sent: &[Certificate], now: Timestamp) -> Option<String> {
    let chain: Vec<_> = sent.iter().map(|one| one.der().to_vec().into()).collect();
    let refusal = config.snapshot.trust().verify(&chain, now).err()?;
    Some(format!(
        "the handshake would refuse it: {}: {}",
        refusal.reason.as_str(),
        refusal.detail
    ))
}

fn print(inspected: &Inspected) {
    let Inspected { report, maps_to } = inspected;
    let line = |label: &str, value: &str| {
        if !value.is_empty() {
            say(&format!("{label:<12}{value}"));
        }
    };
    line("role", report.role.as_str());
    line("subject", &report.subject);
    line("issuer", &report.issuer);
    line("serial", &report.serial);
    line(
        "valid",
        &format!("{:.0} to {:.0}", report.not_before, report.not_after),
    );
    line("version", &report.version.to_string());
    line("key", &report.key);
    line("names", &report.subject_alt_names.join(", "));
    line(
        "key usage",
        &report
            .key_usage
            .as_ref()
            .map(|uses| uses.join(", "))
            .unwrap_or_default(),
    );
    line(
        "purposes",
        &report
            .extended_key_usage
            .as_ref()
            .map(|uses| uses.join(", "))
            .unwrap_or_default(),
    );
    line("sha256", &report.sha256);
    line("pin", &format!("sha256:{}", report.spki_sha256));
    line("maps to", &maps_to.join("\n            "));
}

fn read(path: &Path) -> Result<Vec<Certificate>, Failed> {
    let unusable = |what: String| Failed::File {
        path: path.to_owned(),
        what,
        mend: "give a certificate in PEM or DER",
    };
    let file = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let ders = decode_certificates(&file).map_err(|fault| unusable(output::chain(&fault)))?;
    if ders.is_empty() {
        return Err(unusable("there is no certificate in it".to_owned()));
    }
    ders.iter()
        .map(|der| Certificate::decode(der).map_err(|fault| unusable(output::chain(&fault))))
        .collect()
}

fn name(text: &str) -> Result<DistinguishedName, String> {
    DistinguishedName::parse_as_encoded(text).map_err(|fault| format!("{fault}; {}", fault.mend()))
}

fn server_name(text: &str) -> Result<ServerName, String> {
    text.parse()
        .map_err(|fault: CaFault| format!("{}; {}", output::chain(&fault), fault.mend()))
}

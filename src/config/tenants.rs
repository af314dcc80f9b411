//! What `[[tenants]]` means: producers, who they are, and what they must prove.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::identity::{Directory, Force, Producer, ProducerId, TenantId};
use crate::x509::{DistinguishedName, SpkiPin};

use super::context::Context;
use super::fault::Findings;
use super::file;
use super::key::KeyPath;
use super::secrets::{self, Labelled};
use super::{bounds, meaning};

/// The profile of a producer that names none.
pub(super) const DEFAULT_PROFILE: &str = "timestamped";
/// The longest time for which a delivery may be sent again.
pub(super) const TOLERANCE_MAX: Duration = Duration::from_secs(7 * 86_400);

/// What a producer's own section says about its signatures.
#[derive(Debug)]
pub(super) struct SignaturePlan {
    /// Where the producer stands in the file.
    pub(super) at: KeyPath,
    pub(super) profile: String,
    pub(super) secrets: Vec<PlannedSecret>,
    /// The files of secrets that every user of this machine can read, and the places of their references.
    pub(super) open_files: Vec<(usize, PathBuf)>,
    pub(super) tolerance: Option<Duration>,
    pub(super) account: Option<(String, String)>,
    pub(super) url: Option<String>,
    pub(super) values: BTreeMap<String, String>,
    pub(super) none: bool,
    pub(super) pinned: bool,
}

/// One secret of a producer.
#[derive(Debug)]
pub(super) struct PlannedSecret {
    pub(super) secret: Labelled,
    pub(super) force: Force,
    /// The place of its reference in `secrets`.
    pub(super) index: usize,
}

/// All producers, and what each must prove.
#[derive(Debug)]
pub(super) struct Tenants {
    pub(super) directory: Directory,
    pub(super) plans: Vec<SignaturePlan>,
}

pub(super) fn tenants(shape: &[file::Tenant], context: &mut Context<'_>) -> Tenants {
    let at = KeyPath::of(&["tenants"]);
    if shape.is_empty() && !context.findings.any_told_within(&at) {
        let what = "there are none: every delivery is refused";
        let mend = "add [[tenants]] with an id, and [[tenants.producers]] below it";
        context.findings.warn_missing(&at, what, mend);
    }
    let mut producers = Vec::new();
    let mut plans = Vec::new();
    let mut ids: HashMap<&str, usize> = HashMap::new();
    for (index, tenant) in shape.iter().enumerate() {
        let at = at.index(index);
        name(
            &tenant.id,
            &at.key("id"),
            "id = \"tenant-42\"",
            &mut context.findings,
        );
        match ids
            .get(tenant.id.as_str())
            .filter(|_| !tenant.id.is_empty())
        {
            Some(first) => context.findings.fault(
                &at.key("id"),
                format!("tenants[{first}] has this id already"),
                "write all producers of a tenant below one [[tenants]]",
            ),
            None => {
                ids.insert(&tenant.id, index);
            }
        }
        if tenant.producers.is_empty() {
            let what = "has no producers: nobody can deliver for it";
            let mend = "add [[tenants.producers]] below it";
            context.findings.warn_missing(&at, what, mend);
        }
        let id = TenantId::new(&tenant.id);
        let mut names: HashMap<&str, usize> = HashMap::new();
        for (index, shape) in tenant.producers.iter().enumerate() {
            let at = at.key("producers").index(index);
            let key = at.key("name");
            name(
                &shape.name,
                &key,
                "name = \"payments-provider\"",
                &mut context.findings,
            );
            match names
                .get(shape.name.as_str())
                .filter(|_| !shape.name.is_empty())
            {
                Some(first) => context.findings.fault(
                    &key,
                    format!("producers[{first}] of this tenant has this name already"),
                    "give each producer of a tenant a name of its own",
                ),
                None => {
                    names.insert(&shape.name, index);
                }
            }
            let place = ProducerId(plans.len());
            let (producer, plan) = self::producer(shape, &at, place, &id, context);
            producers.extend(producer);
            plans.push(plan);
        }
    }
    let directory = directory(producers, &plans, &mut context.findings);
    Tenants { directory, plans }
}

fn producer(
    shape: &file::Producer,
    at: &KeyPath,
    id: ProducerId,
    tenant: &TenantId,
    context: &mut Context<'_>,
) -> (Option<Producer>, SignaturePlan) {
    let subject = subject(
        shape.subject.as_deref(),
        &at.key("subject"),
        &mut context.findings,
    );
    let findings = &mut context.findings;
    let (mut pins, mut shadow_pins) = (Vec::new(), Vec::new());
    for (index, pin) in shape.pins.iter().enumerate() {
        match pin.text.parse::<SpkiPin>() {
            Ok(parsed) if pin.shadow => shadow_pins.push(parsed),
            Ok(parsed) => pins.push(parsed),
            Err(_no_pin) => findings.fault(
                &at.key("pins").index(index),
                "is no pin",
                "write sha256: and 64 hex digits, as countersign certs inspect FILE prints it",
            ),
        }
    }
    let path = shape.path.as_deref();
    let path = path.and_then(|path| meaning::path(path, &at.key("path"), findings));
    let account = account(shape.account.as_ref(), &at.key("account"), findings);
    let url = shape.url.clone();
    let url = url.filter(|url| is_url(url, &at.key("url"), findings));
    let tolerances = Duration::from_secs(1)..=TOLERANCE_MAX;
    let tolerance = shape
        .tolerance
        .and_then(|span| bounds::span(span, tolerances, &at.key("tolerance"), findings));
    let mut secrets = Vec::new();
    let mut open_files = Vec::new();
    for (index, reference) in shape.secrets.iter().enumerate() {
        let key = at.key("secrets").index(index);
        let loaded = secrets::load_any(&reference.text, &key, context);
        open_files.extend(loaded.open_file.map(|path| (index, path)));
        secrets.extend(loaded.secrets.into_iter().map(|secret| PlannedSecret {
            secret,
            force: force(reference.shadow),
            index,
        }));
    }
    warn_of_repeated(&secrets, &at.key("secrets"), &mut context.findings);
    let plan = SignaturePlan {
        at: at.clone(),
        profile: shape
            .profile
            .clone()
            .unwrap_or_else(|| DEFAULT_PROFILE.to_owned()),
        secrets,
        open_files,
        tolerance,
        account,
        url,
        values: shape.values.clone(),
        none: shape.signature.is_some(),
        pinned: !pins.is_empty(),
    };
    let producer = subject.map(|subject| Producer {
        id,
        tenant: tenant.clone(),
        name: shape.name.as_str().into(),
        subject,
        pins,
        shadow_pins,
        path,
        force: force(shape.shadow),
    });
    (producer, plan)
}

/// A producer without a path of its own gets what those with its subject leave of `server.paths`: that must be something, and should be
/// known.
pub(super) fn tell_of_taken_paths(tenants: &Tenants, common: &[Arc<str>], findings: &mut Findings) {
    for producer in tenants.directory.producers() {
        let left = tenants.directory.paths_of(producer, common);
        let at = tenants.plans.get(producer.id.0).map(|plan| &plan.at);
        let Some(at) = at.filter(|_| producer.path.is_none() && left.len() < common.len()) else {
            continue;
        };
        let rivals = tenants.directory.claimed(&producer.subject);
        let whose: Vec<_> = rivals
            .filter(|rival| {
                let takes = |path: &Arc<str>| rival.path.as_ref() == Some(path);
                rival.force == producer.force && common.iter().any(takes)
            })
            .filter_map(|rival| tenants.plans.get(rival.id.0))
            .map(|plan| plan.at.to_string())
            .collect();
        let whose = whose.join(" and ");
        if left.is_empty() {
            findings.fault(
                &at.key("subject"),
                format!("is the subject of {whose} as well, with all of server.paths for its own: nothing is left for this one"),
                "give this one a path of its own, or another subject",
            );
        } else {
            findings.warn(
                &at.key("subject"),
                format!(
                    "is the subject of {whose} as well, with a path of server.paths for its own: to this one only {} is left",
                    left.join(", ")
                ),
                "give this one a path of its own, if that was not meant",
            );
        }
    }
}

fn force(shadow: bool) -> Force {
    if shadow { Force::Shadow } else { Force::Live }
}

fn directory(
    producers: Vec<Producer>,
    plans: &[SignaturePlan],
    findings: &mut Findings,
) -> Directory {
    match Directory::build(producers) {
        Ok(directory) => directory,
        Err(faults) => {
            for fault in faults {
                let at = |id: ProducerId| plans.get(id.0).map(|plan| plan.at.clone());
                if let (Some(first), Some(second)) = (at(fault.first), at(fault.second)) {
                    findings.fault(
                        &second.key("subject"),
                        format!("{first} has the same subject, and the same path"),
                        "give one of them another subject, or each a path of its own",
                    );
                }
            }
            Directory::default()
        }
    }
}

/// A tenant's id or a producer's name: it stands in paths, metrics and log lines.
fn name(text: &str, key: &KeyPath, example: &str, findings: &mut Findings) {
    let fits = |c: char| c.is_alphanumeric() || "-_.:@+".contains(c);
    if text.is_empty() {
        absent(key, example, findings);
    } else if text.len() > 128 {
        findings.fault(key, "is longer than 128 bytes", "write a shorter one");
    } else if !text.chars().all(fits) {
        findings.fault(
            key,
            "holds a character that no name has here",
            format!("use letters, digits and - _ . : @ +, as {example}"),
        );
    }
}

/// A text that must be there is not, or there is nothing in it.
fn absent(key: &KeyPath, example: &str, findings: &mut Findings) {
    let what = match findings.tree().at(key) {
        Some(_) => "is empty",
        None => "is missing",
    };
    findings.missing(key, what, format!("write {example}"));
}

fn subject(
    text: Option<&str>,
    key: &KeyPath,
    findings: &mut Findings,
) -> Option<DistinguishedName> {
    let Some(text) = text else {
        findings.missing(
            key,
            "is missing",
            "write the subject of the producer's certificate, as countersign certs inspect FILE prints it",
        );
        return None;
    };
    match DistinguishedName::parse(text) {
        Ok(name) => Some(name),
        Err(fault) => {
            findings.fault(key, fault.to_string(), fault.mend());
            None
        }
    }
}

fn account(
    shape: Option<&file::Account>,
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<(String, String)> {
    let shape = shape?;
    let example = "account = { pointer = \"/data/account\", equals = \"acct_1\" }";
    let pointer = match &shape.pointer {
        Some(pointer) if is_pointer(pointer) => Some(pointer.clone()),
        Some(_) => {
            findings.fault(
                &at.key("pointer"),
                "is no JSON pointer",
                "begin with / and write ~1 for a / and ~0 for a ~ within a name, as /data/account",
            );
            None
        }
        None => {
            absent(&at.key("pointer"), example, findings);
            None
        }
    };
    let equals = match &shape.equals {
        Some(equals) if !equals.is_empty() => Some(equals.clone()),
        Some(_) | None => {
            absent(&at.key("equals"), example, findings);
            None
        }
    };
    Some((pointer?, equals?))
}

/// RFC 6901, section 3; the whole document names no account.
fn is_pointer(text: &str) -> bool {
    let mut escapes = text.split('~').skip(1);
    text.starts_with('/') && escapes.all(|after| after.starts_with(['0', '1']))
}

fn is_url(text: &str, key: &KeyPath, findings: &mut Findings) -> bool {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let host = host.and_then(|rest| rest.split(['/', '?', '#']).next());
    let good =
        host.is_some_and(|host| !host.is_empty()) && text.chars().all(|c| c.is_ascii_graphic());
    if !good {
        let what = "is no URL";
        let mend = "write the URL that is registered with the provider, as https://hooks.example.com/webhooks/payments";
        findings.fault(key, what, mend);
    }
    good
}

fn warn_of_repeated(secrets: &[PlannedSecret], key: &KeyPath, findings: &mut Findings) {
    let mut seen: HashMap<&[u8], &Arc<str>> = HashMap::new();
    for PlannedSecret { secret, .. } in secrets {
        if let Some(first) = seen.insert(secret.secret.expose(), &secret.label) {
            let what = format!("{} is the same secret as {first}", secret.label);
            findings.warn(key, what, "take one of them out");
        }
    }
}

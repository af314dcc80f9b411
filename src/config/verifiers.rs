//! What `[profiles]` means, and how each producer's deliveries are checked by them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;

use crate::payments::Currency;
use crate::signature::{
    AccountBinding, Coverage, OneOrMany, ProducerSecret, Profile, ProfileDescriptor, ProfileFault,
    Profiles, Settings, Verifier, builtin,
};

use super::fault::Findings;
use super::key::KeyPath;
use super::nearest::nearest;
use super::secrets;
use super::tenants::{PlannedSecret, SignaturePlan, TOLERANCE_MAX};
use super::tree::{Node, Value};

/// Compiles the user's own profiles beside the built-in ones. Where one of them is wrong, the built-in ones are left.
pub(super) fn profiles(
    descriptors: &BTreeMap<String, ProfileDescriptor>,
    findings: &mut Findings,
) -> Profiles {
    let at = KeyPath::of(&["profiles"]);
    for (name, _) in descriptors.iter().filter(|(name, _)| !is_name(name)) {
        findings.fault(
            &at.key(name),
            "a profile's name has letters, digits, - and _ alone",
            "give it another name",
        );
    }
    for (name, descriptor) in descriptors {
        warn_of_other_templates(&at.key(name), descriptor, findings);
        let digits = descriptor
            .event
            .iter()
            .flat_map(|event| &event.minor_digits);
        for code in digits.flat_map(|digits| digits.keys()) {
            if code.parse::<Currency>().is_err() {
                findings.fault(
                    &at.key(name).dotted(&format!("event.minor_digits.{code}")),
                    format!("{code:?} is no currency of ISO 4217"),
                    "write its code of three letters, as ISK = 2",
                );
            }
        }
    }
    for (name, descriptor) in descriptors {
        let Some(event) = &descriptor.event else {
            continue;
        };
        let of = |key: String, places: &Option<OneOrMany>| {
            let places = places.iter().flat_map(OneOrMany::iter);
            let constants = places.filter_map(|place| place.strip_prefix('='));
            constants
                .map(|code| (key.clone(), code.to_owned()))
                .collect::<Vec<_>>()
        };
        let rules = event.when.iter().flatten().enumerate();
        let of_rules = rules
            .flat_map(|(index, rule)| of(format!("event.when[{index}].currency"), &rule.currency));
        let own = of("event.currency".to_owned(), &event.currency);
        for (key, code) in own.into_iter().chain(of_rules) {
            if code.parse::<Currency>().is_err() {
                findings.fault(
                    &at.key(name).dotted(&key),
                    format!("{code:?} is no currency of ISO 4217"),
                    "write its code of three letters, as \"=EUR\"",
                );
            }
        }
    }
    match Profiles::compile(descriptors, builtin()) {
        Ok(profiles) => profiles,
        Err(faults) => {
            for (name, fault) in faults {
                if seems_to_extend(&at.key(&name), findings.tree()) {
                    continue;
                }
                let ProfileFault { key, what, mend } = fault;
                let base = descriptors
                    .get(&name)
                    .and_then(|own| own.extends.as_deref());
                let meant = base.filter(|_| key == "extends");
                let mend = match meant.and_then(|base| known_as(base, descriptors)) {
                    Some(nearest) => format!("did you mean {nearest:?}?"),
                    None => mend,
                };
                findings.fault(&at.key(&name).dotted(&key), what, mend);
            }
            builtin().clone()
        }
    }
}

/// Whether a profile has a key that probably means `extends`, and is told of: what it would extend gives it all another meaning.
fn seems_to_extend(profile: &KeyPath, tree: &Node) -> bool {
    let Some(Value::Table(entries)) = tree.at(profile).map(|profile| &profile.value) else {
        return false;
    };
    let meant = |key: &String| key != "extends" && nearest(key, ["extends"]).is_some();
    !entries.contains_key("extends") && entries.keys().any(meant)
}

/// The profile that was probably meant by a name that none has.
fn known_as<'a>(
    name: &str,
    descriptors: &'a BTreeMap<String, ProfileDescriptor>,
) -> Option<&'a str> {
    let built_in = builtin().iter().map(|profile| profile.name());
    let own = descriptors.keys().map(String::as_str);
    let all: Vec<&str> = built_in.chain(own).collect();
    (!all.contains(&name)).then(|| nearest(name, all)).flatten()
}

/// Warns of what other languages write before a value in braces: here it would be signed as well.
fn warn_of_other_templates(at: &KeyPath, descriptor: &ProfileDescriptor, findings: &mut Findings) {
    const MARKS: [&str; 3] = ["${", "#{", "%{"];
    let signature = descriptor.signature.as_ref();
    let contents = signature.and_then(|signature| signature.content.as_ref());
    let contents = contents.iter().flat_map(|contents| contents.iter());
    let marks = contents.flat_map(|content| MARKS.iter().filter(|mark| content.contains(**mark)));
    if let Some(mark) = marks.map(|mark| mark.trim_end_matches('{')).next() {
        let what = format!("\"{mark}\" before a value is signed as it stands");
        let mend =
            format!("write {{body}} and not {mark}{{body}}, unless the provider signs that too");
        findings.warn(&at.dotted("signature.content"), what, mend);
    }
}

/// Prepares each producer's check. The result has no place for a producer that has none.
pub(super) fn verifiers(
    plans: Vec<SignaturePlan>,
    descriptors: &BTreeMap<String, ProfileDescriptor>,
    profiles: &Profiles,
    findings: &mut Findings,
) -> Vec<Arc<Verifier>> {
    let mut verifiers = Vec::with_capacity(plans.len());
    for plan in plans {
        let key = plan.at.key("profile");
        // A profile of the user's own that is wrong has been told of, and hides a built-in one of its name.
        let own_is_wrong = descriptors.contains_key(&plan.profile)
            && findings.any_told_within(&KeyPath::of(&["profiles"]));
        match profiles.get(&plan.profile) {
            _ if own_is_wrong => {}
            Some(profile) => {
                let profile = Arc::clone(profile);
                verifiers.extend(verifier(plan, profile, findings).map(Arc::new));
            }
            // It has been told of, if only for a value of no shape.
            None if descriptors.contains_key(&plan.profile) => {}
            None => {
                let names = profiles.iter().map(|profile| profile.name());
                let mend = match nearest(&plan.profile, names) {
                    Some(nearest) => format!("did you mean {nearest:?}?"),
                    None => "countersign profiles list prints those that are built in; or add [profiles.NAME]".to_owned(),
                };
                findings.fault(
                    &key,
                    format!("there is no profile {:?}", plan.profile),
                    mend,
                );
            }
        }
    }
    verifiers
}

fn verifier(
    plan: SignaturePlan,
    profile: Arc<Profile>,
    findings: &mut Findings,
) -> Option<Verifier> {
    let at = &plan.at;
    check_for_no_signature(&plan, &profile, findings);
    if let Some(weakness) = profile.weakness() {
        let what = format!("profile {} is weak: {weakness}", profile.name());
        let mend = "bind the producer to pins as well, or ask the provider for something better";
        findings.warn(&at.key("profile"), what, mend);
    }
    if plan.tolerance.is_some() && !profile.has_a_timestamp() {
        let what = format!("the deliveries of profile {} state no time", profile.name());
        findings.warn(&at.key("tolerance"), what, "take it out: it does nothing");
    }
    for (index, path) in &plan.open_files {
        let mut held = plan.secrets.iter().filter(|held| held.index == *index);
        if held.any(|held| !profile.takes_for_public(&held.secret.secret)) {
            secrets::warn_of_readers(path, &at.key("secrets").index(*index), findings);
        }
    }
    let loaded = plan.secrets.iter().map(|planned| ProducerSecret {
        label: Arc::clone(&planned.secret.label),
        secret: planned.secret.secret.clone(),
        force: planned.force,
    });
    let settings = Settings {
        tolerance: plan
            .tolerance
            .and_then(|span| SignedDuration::try_from(span).ok()),
        account: plan
            .account
            .clone()
            .map(|(pointer, equals)| AccountBinding { pointer, equals }),
        url: plan.url.clone(),
        values: plan.values.clone(),
    };
    match Verifier::new(profile, loaded.collect(), settings) {
        Ok(verifier) => {
            warn_of_replays(&verifier, &plan, findings);
            Some(verifier)
        }
        Err(faults) => {
            for ProfileFault { key, what, mend } in faults {
                let key = key_of(&key, &plan);
                // Secrets that could not be loaded have been told of.
                if !findings.any_within(&key) {
                    findings.missing(&key, what, mend);
                }
            }
            None
        }
    }
}

/// A profile of one's own may accept what a producer's `tolerance` may not.
fn warn_of_replays(verifier: &Verifier, plan: &SignaturePlan, findings: &mut Findings) {
    let longest = SignedDuration::try_from(TOLERANCE_MAX).ok();
    let oldest = verifier.oldest().filter(|oldest| Some(*oldest) > longest);
    if let Some(oldest) = oldest {
        let name = verifier.profile().name();
        let what = format!(
            "profile {name} accepts deliveries that are {oldest:#} old: whoever holds one can send it again for so long"
        );
        let mend = "lower timestamp.past in the profile, or write tolerance = \"5m\" here";
        findings.warn(&plan.at.key("profile"), what, mend);
    }
}

/// Mutual TLS as the only proof must be meant, and bound to more than the provider's own certificate.
fn check_for_no_signature(plan: &SignaturePlan, profile: &Profile, findings: &mut Findings) {
    let key = plan.at.key("signature");
    let name = profile.name();
    match (profile.coverage(), plan.none) {
        (Coverage::Connection, false) => {
            let what = format!("profile {name} signs nothing: mutual TLS would be the only proof");
            findings.missing(&key, what, "write signature = \"none\" if that is meant");
        }
        (Coverage::Connection, true) => {
            if plan.account.is_none() && !plan.pinned {
                let what = "without a signature, any customer of the provider could deliver here";
                let mend = "bind it: account = { pointer = \"/...\", equals = \"...\" }, or pins = [\"sha256:...\"]";
                findings.missing(&key, what, mend);
            }
            let what =
                format!("the deliveries of {name} are not signed: mutual TLS is their only proof");
            findings.warn(
                &key,
                what,
                "keep the list of CAs short, and pin the provider's key",
            );
        }
        (Coverage::Body | Coverage::Fields | Coverage::Reference, true) => {
            let what = format!("profile {name} signs its deliveries, and they are checked");
            findings.fault(&key, what, "take signature = \"none\" out");
        }
        (Coverage::Body | Coverage::Fields | Coverage::Reference, false) => {}
    }
}

/// The key of a fault that the verifier told: its secrets are counted as they were loaded.
fn key_of(key: &str, plan: &SignaturePlan) -> KeyPath {
    let loaded = key
        .strip_prefix("secrets[")
        .and_then(|rest| rest.strip_suffix(']'));
    let loaded = loaded.and_then(|index| plan.secrets.get(index.parse::<usize>().ok()?));
    match loaded {
        Some(PlannedSecret { index, .. }) => plan.at.key("secrets").index(*index),
        None => plan.at.dotted(key),
    }
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.is_empty() && name.len() <= 64 && name.chars().all(fits)
}

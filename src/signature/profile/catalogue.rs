//! Profiles by name: the built-in ones, and a user's own, which may extend them.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::descriptor::ProfileDescriptor;
use super::meaning::{Profile, ProfileFault};

/// Profiles by name.
#[derive(Clone, Debug, Default)]
pub struct Profiles {
    by_name: BTreeMap<Box<str>, Arc<Profile>>,
}

impl Profiles {
    /// Compiles all of `descriptors`, each of which may extend another of them or one of `known`.
    /// The faults come with the name of their profile.
    pub fn compile(
        descriptors: &BTreeMap<String, ProfileDescriptor>,
        known: &Profiles,
    ) -> Result<Self, Vec<(String, ProfileFault)>> {
        let mut profiles = known.clone();
        let mut faults = Vec::new();
        for (name, descriptor) in descriptors {
            let whole = match extended(name, descriptor, descriptors, known) {
                Ok(whole) => whole,
                Err(fault) => {
                    faults.push((name.clone(), fault));
                    continue;
                }
            };
            match Profile::compile(name, &whole) {
                Ok(profile) => {
                    profiles
                        .by_name
                        .insert(name.as_str().into(), Arc::new(profile));
                }
                Err(own) => faults.extend(own.into_iter().map(|fault| (name.clone(), fault))),
            }
        }
        if faults.is_empty() {
            Ok(profiles)
        } else {
            Err(faults)
        }
    }

    /// The profile of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Profile>> {
        self.by_name.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.by_name.values()
    }
}

/// The built-in profiles, compiled on first use.
pub fn builtin() -> &'static Profiles {
    static BUILTIN: LazyLock<Profiles> = LazyLock::new(|| {
        // That the embedded file holds is a test; should it not, there are no built-in profiles.
        let descriptors = toml::from_str(include_str!("../profiles.toml")).unwrap_or_default();
        Profiles::compile(&descriptors, &Profiles::default()).unwrap_or_default()
    });
    &BUILTIN
}

/// A descriptor with all that it extends filled in. A chain may be as long as there are profiles, never a ring.
fn extended(
    name: &str,
    descriptor: &ProfileDescriptor,
    descriptors: &BTreeMap<String, ProfileDescriptor>,
    known: &Profiles,
) -> Result<ProfileDescriptor, ProfileFault> {
    let fault = |what: String, mend: &str| ProfileFault {
        key: "extends".to_owned(),
        what,
        mend: mend.to_owned(),
    };
    // From the profile itself to the last that it extends: joined from that end, each takes away what it means to.
    let mut chain = vec![descriptor];
    let mut passed = vec![name];
    while let Some(base) = chain.last().and_then(|last| last.extends.as_deref()) {
        // A profile that extends its own name builds on the known one that it hides.
        let own = descriptors
            .get_key_value(base)
            .filter(|(own, _)| passed.last() != Some(&own.as_str()));
        if let Some((own, descriptor)) = own {
            if passed.contains(&own.as_str()) {
                return Err(fault(
                    format!(
                        "\"{name}\" extends itself by way of \"{}\"",
                        passed.last().unwrap_or(&name)
                    ),
                    "break the ring",
                ));
            }
            passed.push(own);
            chain.push(descriptor);
        } else if let Some(known) = known.get(base) {
            // A compiled one holds all that it extends.
            chain.push(known.descriptor());
            break;
        } else if passed.last() == Some(&base) {
            return Err(fault(
                format!("\"{base}\" extends itself, and no built-in profile has that name"),
                "name another profile, or leave it out",
            ));
        } else {
            let mend = "`countersign profiles list` prints the built-in ones";
            return Err(fault(format!("there is no profile \"{base}\""), mend));
        }
    }
    let mut whole = ProfileDescriptor::default();
    for descriptor in chain.into_iter().rev() {
        whole = descriptor.clone().over(&whole);
        whole.extends = None;
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn the_built_in_profiles_hold() {
        let descriptors: BTreeMap<String, ProfileDescriptor> =
            toml::from_str(include_str!("../profiles.toml")).unwrap();
        match Profiles::compile(&descriptors, &Profiles::default()) {
            Ok(profiles) => assert!(profiles.get("timestamped").is_some()),
            Err(faults) => panic!("{faults:#?}"),
        }
        for (name, descriptor) in &descriptors {
            assert!(
                descriptor
                    .source
                    .as_ref()
                    .is_some_and(|source| !source.is_empty()),
                "{name} has no source"
            );
        }
    }

    #[test]
    fn a_profile_may_extend_another_and_never_itself() {
        let text = "[a]\nextends = \"timestamped\"\n[a.timestamp]\npast = \"1m\"\n[a.event.status]\nx = \"failed\"\n\
                    [timestamped]\nextends = \"timestamped\"\n[timestamped.answer]\naccepted = 200\n";
        let descriptors = toml::from_str(text).unwrap();
        let profiles = Profiles::compile(&descriptors, builtin()).unwrap();
        let a = profiles.get("a").unwrap();
        assert_eq!(
            a.timestamp.as_ref().unwrap().past,
            Some(SignedDuration::from_mins(1))
        );
        assert_eq!(
            a.timestamp.as_ref().unwrap().future,
            Some(SignedDuration::from_mins(5))
        );
        assert_eq!(a.descriptor().extends, None);
        assert_eq!(
            profiles.get("timestamped").unwrap().answer().accepted,
            StatusCode::OK
        );
        assert_eq!(a.answer().accepted, StatusCode::OK);

        let ring = toml::from_str("[a]\nextends = \"b\"\n[b]\nextends = \"a\"\n").unwrap();
        let faults = Profiles::compile(&ring, builtin()).unwrap_err();
        assert!(
            faults
                .iter()
                .any(|(_, fault)| fault.what == "\"a\" extends itself by way of \"b\""),
            "{faults:?}"
        );
        let itself = toml::from_str("[a]\nextends = \"a\"\n").unwrap();
        let faults = Profiles::compile(&itself, builtin()).unwrap_err();
        assert!(
            faults[0].1.what.starts_with("\"a\" extends itself"),
            "{faults:?}"
        );
        let unknown = toml::from_str("[a]\nextends = \"nobody\"\n").unwrap();
        assert!(Profiles::compile(&unknown, builtin()).is_err());
    }

    /// The statuses of the rules of `name`, in the order in which they are looked at.
    fn rules(text: &str, name: &str) -> Vec<String> {
        let profiles = Profiles::compile(&toml::from_str(text).unwrap(), builtin()).unwrap();
        let event = profiles.get(name).unwrap().descriptor().event.clone();
        let rules = event.and_then(|event| event.when).unwrap_or_default();
        rules
            .into_iter()
            .map(|rule| rule.status.unwrap_or_default())
            .collect()
    }

    #[test]
    fn own_rules_stand_before_those_of_the_profile_that_is_extended() {
        let rule = |profile: &str, more: &str| {
            format!("[[{profile}.event.when]]\nstatus = \"failed\"\n{more}\n")
        };
        let text = |rules: &str| {
            format!(
                "[base.signature]\nfrom = {{ header = \"s\" }}\ncontent = \"{{body}}\"\n[base.event]\ntype = \"/t\"\npayment_id = \"/p\"\n\
                 [[base.event.when]]\ntype = \"a\"\nstatus = \"captured\"\n[[base.event.when]]\ntype = \"b\"\nstatus = \"refunded\"\n\
                 [mid]\nextends = \"base\"\n[own]\nextends = \"mid\"\n{rules}"
            )
        };
        let own = rule("own", "type = \"c\"");
        for (rules_of_both, expected) in [
            (String::new(), &["captured", "refunded"][..]),
            (own.clone(), &["failed", "captured", "refunded"]),
            (
                format!("{own}{}", rule("mid", "type = \"d\"")),
                &["failed", "failed", "captured", "refunded"],
            ),
            ("[own.event]\nwhen = []\n".to_owned(), &[]),
            (format!("{own}[mid.event]\nwhen = []\n"), &["failed"]),
            (rule("own", "type = \"*\""), &["failed"]),
        ] {
            assert_eq!(
                rules(&text(&rules_of_both), "own"),
                expected,
                "{rules_of_both}"
            );
        }
    }

    #[test]
    fn a_rule_for_one_type_leaves_stripes_own_rules() {
        let text = "[mine]\nextends = \"stripe\"\n[[mine.event.when]]\ntype = \"invoice.paid\"\nstatus = \"succeeded\"\n";
        let (mine, stripe) = (rules(text, "mine"), rules("", "stripe"));
        assert_eq!((mine.len(), &mine[1..]), (stripe.len() + 1, &stripe[..]));
    }

    #[test]
    fn the_reason_for_a_weakness_goes_with_the_algorithm() {
        let weak = |own: &str| {
            let text = format!("[own]\nextends = \"intercom\"\n{own}");
            let profiles = Profiles::compile(&toml::from_str(&text).unwrap(), builtin()).unwrap();
            profiles.get("own").unwrap().weakness().map(str::to_owned)
        };
        assert!(weak("").is_some_and(|why| why.contains("HMAC-SHA1")));
        assert_eq!(weak("[own.signature]\nalgorithm = \"sha256\"\n"), None);
        let own = "weak = \"it must be\"\n[own.signature]\nalgorithm = \"sha1\"\n";
        assert_eq!(weak(own).as_deref(), Some("it must be"));
    }

    #[test]
    fn samples_of_another_form_are_not_inherited() {
        let samples = |own: &str| {
            let text = format!("[own]\nextends = \"increase\"\n[own.event]\n{own}");
            let profiles = Profiles::compile(&toml::from_str(&text).unwrap(), builtin()).unwrap();
            let samples = profiles.get("own").unwrap().descriptor().samples.clone();
            samples.unwrap_or_default().len()
        };
        assert!(samples("format = \"json\"\n") > 0);
        assert_eq!(samples("format = \"form\"\n"), 0);
        assert_eq!(
            samples("format = \"form\"\n[own.samples]\nx = \"id=$ID\"\n"),
            1
        );
    }
}

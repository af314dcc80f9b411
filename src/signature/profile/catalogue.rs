//! Profiles by name: the built-in ones, and a user's own, which may extend them.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, OnceLock};

use super::descriptor::ProfileDescriptor;
use super::faults::ProfileFault;
use super::meaning::Profile;

/// Profiles by name.
#[derive(Clone, Debug, Default)]
pub struct Profiles {
    own: BTreeMap<Box<str>, Arc<Profile>>,
    beside: Beside,
}

/// What there is beside a user's own profiles, which hide those of the same name.
#[derive(Clone, Copy, Debug, Default)]
enum Beside {
    #[default]
    Nothing,
    BuiltIn,
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
                    profiles.own.insert(name.as_str().into(), Arc::new(profile));
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
        self.own.get(name).or_else(|| match self.beside {
            Beside::Nothing => None,
            Beside::BuiltIn => BUILT_IN.get(name),
        })
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Profile>> {
        let mut all = match self.beside {
            Beside::Nothing => BTreeMap::new(),
            Beside::BuiltIn => BUILT_IN.all(),
        };
        all.extend(self.own.iter().map(|(name, own)| (&**name, own)));
        all.into_values()
    }
}

/// The built-in profiles, each compiled on first use.
pub fn builtin() -> &'static Profiles {
    static BUILTIN: Profiles = Profiles {
        own: BTreeMap::new(),
        beside: Beside::BuiltIn,
    };
    &BUILTIN
}

/// In the form of `[profiles]`; all tables of a profile stand together.
const TEXT: &str = include_str!("../profiles.toml");

/// Every built-in profile.
static BUILT_IN: LazyLock<BuiltIn> = LazyLock::new(|| BuiltIn::new(TEXT));

/// The built-in profiles by name, each read and compiled when it is first asked for: a receiver uses few of them, and all
/// together would be most of its heap.
#[derive(Debug)]
struct BuiltIn {
    by_name: BTreeMap<&'static str, Entry>,
}

impl BuiltIn {
    fn new(text: &'static str) -> Self {
        let sections = sections(text);
        let by_name = sections.map(|(name, text)| (name, Entry::new(text)));
        Self {
            by_name: by_name.collect(),
        }
    }

    /// The profile of this name.
    fn get(&self, name: &str) -> Option<&Arc<Profile>> {
        let (name, entry) = self.by_name.get_key_value(name)?;
        entry.profile(name)
    }

    /// All of them.
    fn all(&self) -> BTreeMap<&str, &Arc<Profile>> {
        let entries = self.by_name.iter();
        entries
            .filter_map(|(name, entry)| Some((*name, entry.profile(name)?)))
            .collect()
    }
}

/// A profile, as it stands in the text and as it was compiled.
#[derive(Debug)]
struct Entry {
    text: &'static str,
    /// That every one holds, and none extends itself, is a test; should one not, there is no such profile.
    compiled: OnceLock<Option<Arc<Profile>>>,
}

impl Entry {
    fn new(text: &'static str) -> Self {
        Self {
            text,
            compiled: OnceLock::new(),
        }
    }

    fn profile(&self, name: &str) -> Option<&Arc<Profile>> {
        let compiled = self.compiled.get_or_init(|| {
            let descriptor: BTreeMap<String, ProfileDescriptor> = toml::from_str(self.text).ok()?;
            let profiles = Profiles::compile(&descriptor, builtin()).ok()?;
            profiles.own.get(name).cloned()
        });
        compiled.as_ref()
    }
}

/// Each profile's name and its tables.
fn sections(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut starts = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if let Some(name) = profile_of(line)
            && starts.last().is_none_or(|(last, _)| *last != name)
        {
            starts.push((name, at));
        }
        at += line.len();
    }
    let ends: Vec<usize> = starts.iter().skip(1).map(|(_, start)| *start).collect();
    let ends = ends.into_iter().chain([text.len()]);
    let sections = starts.into_iter().zip(ends);
    sections.filter_map(|((name, start), end)| Some((name, text.get(start..end)?)))
}

/// The profile that the line begins a table of.
fn profile_of(line: &str) -> Option<&str> {
    let path = line.strip_prefix('[')?;
    let path = path.strip_prefix('[').unwrap_or(path);
    path.split(['.', ']']).next()
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
        let descriptors: BTreeMap<String, ProfileDescriptor> = toml::from_str(TEXT).unwrap();
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
    fn each_built_in_profile_is_what_the_whole_text_makes_of_it() {
        let descriptors = toml::from_str(TEXT).unwrap();
        let whole = Profiles::compile(&descriptors, &Profiles::default()).unwrap();
        let shown = |profiles: &Profiles| -> Vec<String> {
            let profiles = profiles.iter();
            profiles.map(|profile| format!("{profile:#?}")).collect()
        };
        assert_eq!(shown(builtin()), shown(&whole));
        assert_eq!(sections(TEXT).count(), descriptors.len());
    }

    #[test]
    fn a_built_in_profile_that_nobody_asked_for_is_not_compiled() {
        let built_in = BuiltIn::new(TEXT);
        assert!(built_in.get("timestamped").is_some());
        assert!(built_in.get("no-such-profile").is_none());
        let compiled = built_in.by_name.iter();
        let compiled = compiled.filter(|(_, entry)| entry.compiled.get().is_some());
        let compiled: Vec<_> = compiled.map(|(name, _)| *name).collect();
        assert_eq!(compiled, ["timestamped"]);
    }

    #[test]
    fn an_own_profile_hides_the_built_in_one_of_its_name_and_no_other() {
        let text = "[stripe]\nextends = \"stripe\"\n[stripe.answer]\naccepted = 204\n";
        let profiles = Profiles::compile(&toml::from_str(text).unwrap(), builtin()).unwrap();
        let names = |profiles: &Profiles| -> Vec<String> {
            let profiles = profiles.iter();
            profiles.map(|profile| profile.name().to_owned()).collect()
        };
        assert_eq!(names(&profiles), names(builtin()));
        let own = profiles.get("stripe").unwrap();
        assert_eq!(own.answer().accepted, StatusCode::NO_CONTENT);
        assert!(profiles.iter().any(|profile| Arc::ptr_eq(profile, own)));
        let lithic = profiles.get("lithic").unwrap();
        assert!(Arc::ptr_eq(lithic, builtin().get("lithic").unwrap()));
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

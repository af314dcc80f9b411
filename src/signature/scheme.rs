//! `[signature]` with meaning: where signatures stand, which key and algorithm each wants, what they cover.

use super::grammar::{Grammar, KeyPattern, Pick};
pub(super) use super::places::Place;
use super::profile::algorithm::{Algorithm, MacKind};
use super::profile::descriptor::{
    AlgorithmDescriptor, AlsoDescriptor, Encoding, KeyForm, OneOrMany, ProfileDescriptor,
    SignatureDescriptor,
};
use super::profile::faults::Faults;
use super::template::{Template, Value};
use crate::secret::Secret;

/// How many forms of the content a profile may try.
const CONTENTS_MAX: usize = 4;

/// A compiled signature scheme.
#[derive(Clone, Debug)]
pub(super) struct Scheme {
    pub(super) place: Place,
    /// Try every header of the place.
    pub(super) all: bool,
    pub(super) grammar: Grammar,
    pub(super) contents: Vec<Template>,
    pub(super) id: Option<Place>,
    /// Whether every content holds `{id}`.
    pub(super) signs_the_id: bool,
    /// Whether the body must be JSON for the signature to be found or checked.
    pub(super) reads_json: bool,
    /// Each element of the batch bears its own signature.
    pub(super) per_item: bool,
    /// The main scheme.
    pub(super) main: Variant,
    /// Others, each for the secrets that bear its prefix.
    pub(super) also: Vec<Variant>,
}

/// What differs between the schemes that one header may carry.
#[derive(Clone, Debug)]
pub(super) struct Variant {
    pub(super) pick: Pick,
    pub(super) mac: MacKind,
    pub(super) algorithm: AlgorithmRule,
    pub(super) encoding: Encoding,
    pub(super) key: KeyForm,
    pub(super) strip_prefix: Option<Box<str>>,
}

/// Which algorithm a signature has.
#[derive(Clone, Debug)]
pub(super) enum AlgorithmRule {
    Fixed(Algorithm),
    /// What the item names, if it is allowed.
    ByItem {
        item: Box<str>,
        allow: Box<[Algorithm]>,
    },
}

impl AlgorithmRule {
    pub(super) fn possible(&self) -> &[Algorithm] {
        match self {
            Self::Fixed(algorithm) => std::slice::from_ref(algorithm),
            Self::ByItem { allow, .. } => allow,
        }
    }
}

impl Scheme {
    pub(super) fn compile(
        descriptor: &SignatureDescriptor,
        profile: &ProfileDescriptor,
        faults: &mut Faults,
    ) -> Option<Self> {
        let place = match &descriptor.from {
            Some(from) => Place::compile(from, "signature.from", faults),
            None => {
                faults.add(
                    "signature.from",
                    "is missing",
                    "write from = { header = [\"x-signature\"] }",
                );
                None
            }
        };
        if let Some(Place::Item(_)) = place {
            faults.add(
                "signature.from",
                "an item is a part of the signature itself",
                "name a header, form, json or query",
            );
        }
        let grammar = grammar(descriptor, faults);
        let main = Variant::main(descriptor, grammar, faults);
        let also = descriptor.also.iter().flatten().enumerate();
        let also = also
            .filter_map(|(at, also)| Variant::also(also, at, descriptor, grammar, faults))
            .collect();
        let id = descriptor
            .id
            .as_ref()
            .and_then(|id| Place::compile(id, "signature.id", faults));
        let contents = contents(descriptor, faults);
        let place = place?;
        let per_item = descriptor.each.is_some();
        let mut values = contents.iter().flat_map(Template::values);
        let time = profile.timestamp.as_ref();
        let time = time.and_then(|rule| rule.from.as_ref());
        let reads_json = per_item
            || matches!(place, Place::Json(_))
            || matches!(id, Some(Place::Json(_)))
            || time.is_some_and(|from| from.json.is_some())
            || values.any(|value| matches!(value, Value::Json(_)));
        Some(Self {
            signs_the_id: contents
                .iter()
                .all(|content| content.values().contains(&&Value::Id)),
            reads_json,
            place,
            all: descriptor.all.unwrap_or(false),
            grammar,
            contents,
            id,
            per_item,
            main: main?,
            also,
        })
    }

    /// The main scheme, then those of `also`.
    pub(super) fn variants(&self) -> impl Iterator<Item = &Variant> {
        std::iter::once(&self.main).chain(&self.also)
    }

    /// All values of all its contents.
    pub(super) fn values(&self) -> impl Iterator<Item = &Value> {
        self.contents.iter().flat_map(Template::values)
    }

    pub(super) fn signs_the_timestamp(&self) -> bool {
        self.signs_if_present(&Value::Timestamp)
    }

    /// The variant for which this secret is, and its place among all: the one whose prefix it bears, or the main one.
    pub(super) fn of_secret(&self, secret: &Secret) -> (usize, &Variant) {
        let own = |variant: &Variant| {
            let prefix = variant.strip_prefix.as_deref();
            prefix.is_some_and(|prefix| secret.expose().starts_with(prefix.as_bytes()))
        };
        let also = self.also.iter().enumerate().find(|(_, also)| own(also));
        also.map_or((0, &self.main), |(at, also)| (at + 1, also))
    }

    /// Whether every content covers this value.
    pub(super) fn signs(&self, value: &Value) -> bool {
        self.contents.iter().all(|content| content.covers(value))
    }

    /// Whether some content holds this value in one case of its letters alone.
    pub(super) fn folds_case_of(&self, value: &Value) -> bool {
        let mut contents = self.contents.iter();
        contents.any(|content| content.folds_case_of(value))
    }

    /// Whether every content covers this value wherever it is there.
    pub(super) fn signs_if_present(&self, value: &Value) -> bool {
        let mut contents = self.contents.iter();
        contents.all(|content| content.covers_if_present(value))
    }

    /// The values that it covers whole. Of which it covers a part alone, that could be anything but for this part.
    pub(super) fn covered_values(&self) -> Vec<&Value> {
        let values = self.values();
        values
            .filter(|value| self.signs_if_present(value))
            .collect()
    }

    pub(super) fn needs_url(&self) -> bool {
        self.values().any(|value| *value == Value::Url)
    }

    pub(super) fn needed_values(&self) -> Vec<&str> {
        let picked = self
            .variants()
            .any(|variant| variant.pick.names_the_key_id());
        let picked = picked.then_some("key_id");
        self.values().filter_map(configured).chain(picked).collect()
    }

    /// Why the scheme is weak, if it is.
    pub(super) fn weakness(&self) -> Option<&'static str> {
        let mut algorithms = self
            .variants()
            .flat_map(|variant| variant.algorithm.possible());
        if self.main.mac == MacKind::Hash {
            Some("a digest over the secret is weaker than an HMAC")
        } else if algorithms.any(|algorithm| *algorithm == Algorithm::Sha1) {
            Some("SHA-1 is weak")
        } else {
            None
        }
    }
}

/// The configured name that a value needs.
pub(super) fn configured(value: &Value) -> Option<&str> {
    match value {
        Value::Config(name) => Some(name),
        Value::KeyId => Some("key_id"),
        Value::Body
        | Value::Timestamp
        | Value::Id
        | Value::Url
        | Value::Method
        | Value::PathAndQuery
        | Value::Secret
        | Value::Header(_)
        | Value::Query(_)
        | Value::Form(_)
        | Value::Json(_)
        | Value::Item(_) => None,
    }
}

impl Variant {
    /// Whether it is checked with a public key.
    pub(super) fn is_asymmetric(&self) -> bool {
        self.algorithm
            .possible()
            .iter()
            .any(|algorithm| algorithm.is_asymmetric())
    }

    fn main(
        descriptor: &SignatureDescriptor,
        grammar: Grammar,
        faults: &mut Faults,
    ) -> Option<Self> {
        let whole = OneOrMany::One("*".to_owned());
        let pick = pick(
            descriptor.pick.as_ref().unwrap_or(&whole),
            grammar,
            "signature.pick",
            faults,
        );
        let mac = descriptor.mac.unwrap_or(MacKind::Hmac);
        let algorithm = match &descriptor.algorithm {
            None => AlgorithmRule::Fixed(Algorithm::Sha256),
            Some(AlgorithmDescriptor::Fixed(algorithm)) => AlgorithmRule::Fixed(*algorithm),
            Some(AlgorithmDescriptor::ByItem(by)) => {
                if by.allow.is_empty() || by.allow.iter().any(|algorithm| algorithm.is_asymmetric())
                {
                    let mend = "list what the sender may choose among md5, sha1, sha256, sha384 and sha512";
                    faults.add("signature.algorithm", "allows no digest", mend);
                }
                AlgorithmRule::ByItem {
                    item: by.item.as_str().into(),
                    allow: by.allow.as_slice().into(),
                }
            }
        };
        let key = check_key(&algorithm, mac, descriptor.key, "signature", faults);
        let strip_prefix = descriptor.strip_prefix.as_deref().map(Into::into);
        let encoding = descriptor.encoding.unwrap_or(Encoding::Hex);
        Some(Self {
            pick: pick?,
            mac,
            algorithm,
            encoding,
            key,
            strip_prefix,
        })
    }

    fn also(
        also: &AlsoDescriptor,
        at: usize,
        main: &SignatureDescriptor,
        grammar: Grammar,
        faults: &mut Faults,
    ) -> Option<Self> {
        let path = format!("signature.also[{at}]");
        let pick = pick(&also.pick, grammar, &format!("{path}.pick"), faults);
        let algorithm = AlgorithmRule::Fixed(also.algorithm);
        if also.strip_prefix.is_empty() {
            let mend = "write the prefix by which its secrets are known, as \"whpk_\"";
            faults.add(&format!("{path}.strip_prefix"), "is empty", mend);
        }
        let key = check_key(&algorithm, MacKind::Hmac, also.key, &path, faults);
        let encoding = also.encoding.or(main.encoding).unwrap_or(Encoding::Hex);
        let strip_prefix = Some(also.strip_prefix.as_str().into());
        Some(Self {
            pick: pick?,
            mac: MacKind::Hmac,
            algorithm,
            encoding,
            key,
            strip_prefix,
        })
    }
}

fn grammar(descriptor: &SignatureDescriptor, faults: &mut Faults) -> Grammar {
    let split = separator(
        descriptor.split.as_deref(),
        ",;& ",
        "signature.split",
        faults,
    );
    let pair = separator(
        descriptor.pair.as_deref(),
        "=,|/: ",
        "signature.pair",
        faults,
    );
    if split.is_some() && split == pair {
        faults.add(
            "signature.pair",
            "is the same as signature.split",
            "items and their keys need different separators",
        );
    }
    Grammar {
        split,
        pair,
        bare: descriptor.bare.unwrap_or(false),
    }
}

fn separator(text: Option<&str>, possible: &str, key: &str, faults: &mut Faults) -> Option<char> {
    let text = text?;
    let mut letters = text.chars();
    let one = match (letters.next(), letters.next()) {
        (Some(one), None) if possible.contains(one) => Ok(one),
        (Some(_) | None, Some(_) | None) => Err(format!("\"{text}\" is no possible separator")),
    };
    faults.keep(
        key,
        one,
        &format!("write one of the characters \"{possible}\""),
    )
}

fn pick(descriptor: &OneOrMany, grammar: Grammar, key: &str, faults: &mut Faults) -> Option<Pick> {
    if let OneOrMany::One(one) = descriptor {
        if one == "*" {
            return Some(Pick::Whole);
        }
        if let Some(position) = one.strip_prefix('+') {
            let position = position.parse().map_err(|_error| "is no position");
            return faults
                .keep(
                    key,
                    position,
                    "write \"+1\" for every item from the second on",
                )
                .map(Pick::From);
        }
    }
    let Some(pair) = grammar.pair else {
        faults.add(
            key,
            "names keys, and items have none",
            "set signature.pair, or write pick = \"*\"",
        );
        return None;
    };
    let keys = descriptor
        .iter()
        .map(|text| KeyPattern::parse(text, pair))
        .collect::<Result<Vec<_>, _>>();
    let keys = keys.and_then(|keys| {
        if keys.is_empty() {
            Err("picks nothing")
        } else {
            Ok(keys)
        }
    });
    let keys = faults.keep(
        key,
        keys,
        "write the keys of the signatures, as pick = [\"v1\"]",
    )?;
    Some(Pick::Keys(keys.into()))
}

/// The form of the key, if algorithm, MAC and form fit together.
fn check_key(
    algorithm: &AlgorithmRule,
    mac: MacKind,
    form: Option<KeyForm>,
    path: &str,
    faults: &mut Faults,
) -> KeyForm {
    let asymmetric = algorithm
        .possible()
        .iter()
        .any(|algorithm| algorithm.is_asymmetric());
    if mac == MacKind::Hmac && algorithm.possible().contains(&Algorithm::Md5) {
        faults.add(
            &format!("{path}.algorithm"),
            "md5 is possible with mac = \"hash\" alone",
            "use sha256",
        );
    }
    if mac == MacKind::Hash && asymmetric {
        faults.add(
            &format!("{path}.mac"),
            "a public key signs no hash of a secret",
            "leave signature.mac out",
        );
    }
    let form = form.unwrap_or(if asymmetric {
        KeyForm::PublicKey
    } else {
        KeyForm::Utf8
    });
    if asymmetric != (form == KeyForm::PublicKey) {
        let mend = "key = \"public-key\" goes with the asymmetric algorithms, and with no other";
        faults.add(&format!("{path}.key"), "does not fit the algorithm", mend);
    }
    if mac == MacKind::Hash && form != KeyForm::Utf8 {
        faults.add(
            &format!("{path}.key"),
            "a hash takes the secret as it is shown",
            "leave signature.key out",
        );
    }
    form
}

fn contents(descriptor: &SignatureDescriptor, faults: &mut Faults) -> Vec<Template> {
    let Some(texts) = &descriptor.content else {
        faults.add(
            "signature.content",
            "is missing",
            "write what is signed, as content = \"{timestamp}.{body}\"",
        );
        return Vec::new();
    };
    let mut contents = Vec::new();
    for text in texts.iter() {
        match Template::parse(text) {
            Ok(template) if template.asks_for_a_mac() => {
                faults.add(
                    "signature.content",
                    "\"mac:\" is for challenges",
                    "leave it out",
                );
            }
            Ok(template) if template.values().is_empty() => {
                faults.add(
                    "signature.content",
                    "signs nothing of the delivery",
                    "write content = \"{body}\"",
                );
            }
            Ok(template) => contents.push(template),
            Err(fault) => faults.add("signature.content", fault.what, &fault.mend),
        }
    }
    if texts.iter().count() > CONTENTS_MAX {
        faults.add(
            "signature.content",
            "has too many forms",
            &format!("write at most {CONTENTS_MAX}"),
        );
    }
    contents
}

//! Templates: the texts that choose which bytes are signed. Parsed once, written out piece by piece, so that
//! the body is passed on and never copied.

use std::borrow::Cow;
use std::fmt;

use http::HeaderName;

use super::body::json::Pointer;
use super::filter::{Filter, Shape};
use crate::text::shortened;

/// A parsed template.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template {
    parts: Box<[Part]>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Literal(Box<str>),
    Value(Filtered),
    Group(Box<[Part]>),
}

/// A part of a template, whichever group it stands in.
pub(super) enum Piece<'t> {
    Literal,
    /// With its filters, in the order in which they are applied.
    Value(&'t Value, &'t [Filter]),
}

/// A piece of a template's [`Template::order`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mark<'t> {
    Text(&'t str),
    Value(&'t Value),
    Filter(&'t Filter),
    /// A group begins or ends.
    Group,
}

#[derive(Clone, Debug, PartialEq)]
struct Filtered {
    value: Value,
    /// In the order in which they are applied.
    filters: Box<[Filter]>,
}

/// What may stand between braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// The raw body (of the item, never: the item is JSON inside it).
    Body,
    /// The timestamp, as received.
    Timestamp,
    /// The delivery's id, as received.
    Id,
    /// The public URL that is registered with the provider.
    Url,
    /// The request's method.
    Method,
    /// The request's path and query.
    PathAndQuery,
    /// The displayed secret.
    Secret,
    /// The configured key id.
    KeyId,
    /// A header.
    Header(HeaderName),
    /// A parameter of the query string.
    Query(Box<str>),
    /// A field of the form body.
    Form(Box<str>),
    /// A scalar of the JSON body, or of the item.
    Json(Pointer),
    /// An item of the signature's list.
    Item(Box<str>),
    /// A value from the producer's configuration.
    Config(Box<str>),
}

/// What is wrong with a template, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TemplateFault {
    pub(super) what: String,
    pub(super) mend: String,
}

/// Where a template's values come from.
pub(super) trait Values {
    /// The bytes of a value that need not be looked for, nor read out of anything; `None` when it is absent, or of another kind.
    fn at_hand(&self, value: &Value) -> Option<&[u8]>;

    /// The bytes of a value; `None` when it is absent.
    fn value(&self, value: &Value) -> Result<Option<Cow<'_, [u8]>>, Unwritable>;

    /// The hexadecimal MAC of `bytes`, for a challenge.
    fn mac(&self, bytes: &[u8]) -> Option<String>;
}

/// Why a template could not be written for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unwritable {
    /// Something that the sender must send is not there.
    Absent(Value),
    /// Something is there twice, or in no readable form.
    Ambiguous(Value),
}

impl Template {
    /// Reads a template.
    pub(super) fn parse(text: &str) -> Result<Self, TemplateFault> {
        let mut parser = Parser { rest: text };
        let parts = parser.parts(false)?;
        Ok(Self { parts })
    }

    /// Writes the template's bytes into `sink`, piece by piece.
    pub(super) fn write(
        &self,
        values: &impl Values,
        sink: &mut impl FnMut(&[u8]),
    ) -> Result<(), Unwritable> {
        for part in &self.parts {
            // Most parts are at hand, and are spared the way of those that must be looked for.
            let ready = match part {
                Part::Literal(text) => Some(text.as_bytes()),
                Part::Value(own) if own.filters.is_empty() => values.at_hand(&own.value),
                Part::Value(_) | Part::Group(_) => None,
            };
            match ready {
                Some(bytes) => sink(bytes),
                None => write_part(part, values, sink)?,
            }
        }
        Ok(())
    }

    /// Its parts in order, as they stand where nothing vanishes.
    pub(super) fn pieces(&self) -> Vec<Piece<'_>> {
        fn spread<'t>(parts: &'t [Part], pieces: &mut Vec<Piece<'t>>) {
            for part in parts {
                match part {
                    Part::Literal(_) => pieces.push(Piece::Literal),
                    Part::Value(own) => pieces.push(Piece::Value(&own.value, &own.filters)),
                    Part::Group(inner) => spread(inner, pieces),
                }
            }
        }
        let mut pieces = Vec::new();
        spread(&self.parts, &mut pieces);
        pieces
    }

    /// What it is made of but for the case and the shapes of its values, and for a newline at its end: of two templates in which this is
    /// the same, one text is cut up in one way.
    pub(super) fn order(&self) -> Vec<Mark<'_>> {
        let of_bytes = |filter: &&Filter| match filter {
            Filter::Upper | Filter::Lower | Filter::Without(_) | Filter::Is(_) => false,
            Filter::Base64
            | Filter::Sha256Base64
            | Filter::Sha256Hex
            | Filter::Crc32
            | Filter::Quoted
            | Filter::Mac
            | Filter::After(_) => true,
        };
        fn spread<'t>(
            parts: &'t [Part],
            keep: &dyn Fn(&&'t Filter) -> bool,
            marks: &mut Vec<Mark<'t>>,
        ) {
            for part in parts {
                match part {
                    Part::Literal(text) => marks.push(Mark::Text(text)),
                    Part::Value(own) => {
                        marks.push(Mark::Value(&own.value));
                        marks.extend(own.filters.iter().filter(keep).map(Mark::Filter));
                    }
                    Part::Group(inner) => {
                        marks.push(Mark::Group);
                        spread(inner, keep, marks);
                        marks.push(Mark::Group);
                    }
                }
            }
        }
        let mut marks = Vec::new();
        spread(&self.parts, &of_bytes, &mut marks);
        if let Some(Mark::Text(last)) = marks.last_mut() {
            *last = last.trim_end_matches(['\r', '\n']);
        }
        if marks.last() == Some(&Mark::Text("")) {
            marks.pop();
        }
        marks
    }

    /// Whether it shows of each group whether it is there: by the text with which it begins, and nothing that may stand in its place does.
    /// A body of `json` begins with a bracket, or with a space.
    pub(super) fn tells_its_groups(&self, json: bool) -> bool {
        fn beginning(part: &Part) -> Option<&str> {
            match part {
                Part::Literal(text) => Some(text),
                Part::Value(_) => None,
                Part::Group(inner) => inner.first().and_then(beginning),
            }
        }
        let told = |at: usize, group: &Part| {
            let Some(own) = beginning(group) else {
                return false;
            };
            let mut behind = self.parts.iter().skip(at + 1);
            let is_the_body = |part: &Part| match part {
                Part::Value(own) => own.value == Value::Body && own.filters.is_empty(),
                Part::Literal(_) | Part::Group(_) => false,
            };
            let other = |part: &Part| match beginning(part) {
                Some(other) => !other.starts_with(own) && !own.starts_with(other),
                None => {
                    let bracket = own.trim_start().starts_with(['{', '[']);
                    json && is_the_body(part) && !bracket && !own.trim_start().is_empty()
                }
            };
            // Up to the first part that is always there.
            loop {
                match behind.next() {
                    Some(part) if !other(part) => return false,
                    Some(Part::Group(_)) => {}
                    Some(Part::Literal(_) | Part::Value(_)) | None => return true,
                }
            }
        };
        let mut groups = self.parts.iter().enumerate();
        groups.all(|(at, part)| !matches!(part, Part::Group(_)) || told(at, part))
    }

    /// Whether such a letter stands in it whatever the values are.
    pub(super) fn always_holds(&self, letter: impl Fn(char) -> bool) -> bool {
        let holds = |part: &Part| match part {
            Part::Literal(text) => text.contains(&letter),
            Part::Value(_) | Part::Group(_) => false,
        };
        self.parts.iter().any(holds)
    }

    /// Every value in it, those of groups too.
    pub(super) fn values(&self) -> Vec<&Value> {
        let mut found = Vec::new();
        collect(&self.parts, &mut |filtered| found.push(&filtered.value));
        found
    }

    /// Whether a signature over it covers this value, whatever else the request holds: not in a group that the
    /// sender can make vanish, and not as a checksum, which is easily kept while the bytes change.
    pub(super) fn covers(&self, value: &Value) -> bool {
        let covers = |part: &Part| match part {
            Part::Value(filtered) => filtered.covers(value),
            Part::Literal(_) | Part::Group(_) => false,
        };
        self.parts.iter().any(covers)
    }

    /// Whether a signature over it covers this value wherever it is there: also in a group that vanishes with this value
    /// alone.
    pub(super) fn covers_if_present(&self, value: &Value) -> bool {
        let alone = |parts: &[Part]| {
            let mut filtered = parts.iter().filter_map(|part| match part {
                Part::Value(filtered) => Some(filtered),
                Part::Literal(_) | Part::Group(_) => None,
            });
            let one = filtered.next().is_some_and(|own| own.covers(value));
            one && filtered.all(|own| own.value == *value)
        };
        let covers = |part: &Part| match part {
            Part::Group(inner) => alone(inner),
            Part::Literal(_) | Part::Value(_) => false,
        };
        self.covers(value) || self.parts.iter().any(covers)
    }

    /// Whether it holds this value in one case of its letters alone: of a document that is another one.
    pub(super) fn folds_case_of(&self, value: &Value) -> bool {
        let mut folds = false;
        collect(&self.parts, &mut |filtered| {
            folds |= filtered.value == *value && !filtered.keeps_case();
        });
        folds
    }

    /// Whether it asks for a MAC with the producer's key (challenges).
    pub(super) fn asks_for_a_mac(&self) -> bool {
        self.has(&Filter::Mac)
    }

    /// Whether it makes a JSON string of something (challenges).
    pub(super) fn quotes(&self) -> bool {
        self.has(&Filter::Quoted)
    }

    fn has(&self, filter: &Filter) -> bool {
        let mut has = false;
        collect(&self.parts, &mut |filtered| {
            has |= filtered.filters.contains(filter);
        });
        has
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => f.write_str("the body"),
            Self::Timestamp => f.write_str("the timestamp"),
            Self::Id => f.write_str("the delivery's id"),
            Self::Url => f.write_str("the public URL"),
            Self::Method => f.write_str("the method"),
            Self::PathAndQuery => f.write_str("path and query"),
            Self::Secret => f.write_str("the secret"),
            Self::KeyId => f.write_str("the key id"),
            Self::Header(name) => write!(f, "the header {name}"),
            Self::Query(name) => write!(f, "the query parameter {name}"),
            Self::Form(name) => write!(f, "the form field {name}"),
            Self::Json(pointer) => write!(f, "the field {pointer} of the body"),
            Self::Item(key) => write!(f, "the item {key} of the signature"),
            Self::Config(name) => write!(f, "the configured value {name}"),
        }
    }
}

impl Value {
    /// Providers leave out what is empty: such a value counts as the empty text instead of as an error.
    fn may_be_absent(&self) -> bool {
        match self {
            Self::Json(_) | Self::Form(_) | Self::Query(_) => true,
            Self::Body
            | Self::Timestamp
            | Self::Id
            | Self::Url
            | Self::Method
            | Self::PathAndQuery
            | Self::Secret
            | Self::KeyId
            | Self::Header(_)
            | Self::Item(_)
            | Self::Config(_) => false,
        }
    }
}

fn collect<'a>(parts: &'a [Part], each: &mut dyn FnMut(&'a Filtered)) {
    for part in parts {
        match part {
            Part::Literal(_) => {}
            Part::Value(filtered) => each(filtered),
            Part::Group(inner) => collect(inner, each),
        }
    }
}

/// Writes a part of any kind.
fn write_part(
    part: &Part,
    values: &dyn Values,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), Unwritable> {
    match part {
        Part::Literal(text) => sink(text.as_bytes()),
        Part::Value(filtered) => match values.value(&filtered.value)? {
            Some(bytes) => sink(&filtered.apply(bytes, values)?),
            None if filtered.may_be_absent() => {}
            None => return Err(Unwritable::Absent(filtered.value.clone())),
        },
        Part::Group(inner) => {
            if all_present(inner, values)? {
                let mut parts = inner.iter();
                parts.try_for_each(|part| write_part(part, values, sink))?;
            }
        }
    }
    Ok(())
}

fn all_present(parts: &[Part], values: &dyn Values) -> Result<bool, Unwritable> {
    for part in parts {
        if let Part::Value(filtered) = part
            && values
                .value(&filtered.value)?
                .is_none_or(|bytes| bytes.is_empty())
        {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Filtered {
    /// Whether it is this value, and no other would look the same.
    fn covers(&self, value: &Value) -> bool {
        let whole = self.filters.iter().all(Filter::tells_apart);
        self.value == *value && whole && (*value != Value::Body || self.keeps_case())
    }

    /// Whether a letter and the same in the other case look different behind its filters.
    fn keeps_case(&self) -> bool {
        let mut filters = self.filters.iter();
        filters
            .find_map(|filter| match filter {
                Filter::Upper | Filter::Lower => Some(false),
                // Its digits are the same in either case.
                Filter::Sha256Hex | Filter::Mac => Some(true),
                Filter::Base64
                | Filter::Sha256Base64
                | Filter::Crc32
                | Filter::Quoted
                | Filter::After(_)
                | Filter::Without(_)
                | Filter::Is(_) => None,
            })
            .unwrap_or(true)
    }

    /// What must have a shape must be there.
    fn may_be_absent(&self) -> bool {
        let shaped = |filter: &Filter| matches!(filter, Filter::Is(_));
        self.value.may_be_absent() && !self.filters.iter().any(shaped)
    }

    fn apply<'a>(
        &self,
        bytes: Cow<'a, [u8]>,
        values: &dyn Values,
    ) -> Result<Cow<'a, [u8]>, Unwritable> {
        let mut bytes = bytes;
        for filter in &self.filters {
            let filtered = filter.apply(bytes, &|bytes| values.mac(bytes));
            bytes = filtered.ok_or_else(|| Unwritable::Ambiguous(self.value.clone()))?;
        }
        Ok(bytes)
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn parts(&mut self, in_group: bool) -> Result<Box<[Part]>, TemplateFault> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        while let Some(first) = self.rest.chars().next() {
            let doubled = self.rest.chars().nth(1) == Some(first);
            if "{}[]".contains(first) && doubled {
                self.skip(2);
                literal.push(first);
                continue;
            }
            self.skip(first.len_utf8());
            match first {
                '{' => {
                    flush(&mut literal, &mut parts);
                    parts.push(Part::Value(self.filtered()?));
                }
                '[' if in_group => {
                    return Err(fault("a group inside a group", "close the outer one first"));
                }
                '[' => {
                    flush(&mut literal, &mut parts);
                    parts.push(Part::Group(self.parts(true)?));
                }
                ']' if in_group => {
                    flush(&mut literal, &mut parts);
                    return if parts.iter().any(|part| matches!(part, Part::Value(_))) {
                        Ok(parts.into())
                    } else {
                        Err(fault(
                            "a group without a value never vanishes",
                            "put a value in it, or double the brackets",
                        ))
                    };
                }
                '}' | ']' => {
                    let what = format!("a {first:?} that closes nothing");
                    return Err(fault(&what, "double it if it stands for itself"));
                }
                other => literal.push(other),
            }
        }
        if in_group {
            return Err(fault(
                "a group that is not closed",
                "add \"]\", or write \"[[\" for a bracket",
            ));
        }
        flush(&mut literal, &mut parts);
        Ok(parts.into())
    }

    fn filtered(&mut self) -> Result<Filtered, TemplateFault> {
        let Some((inner, rest)) = self.rest.split_once('}') else {
            return Err(fault(
                "a value that is not closed",
                "add \"}\", or write \"{{\" for a brace",
            ));
        };
        self.rest = rest;
        let (mut name, behind) = match inner.split_once('|') {
            Some((name, text)) => match Filter::behind(text) {
                Some(filter) => (name, Some(filter)),
                None => {
                    let mend = format!(
                        "write {{header:a|after:/}}, {{json:/a|without::}} or {{json:/a|is:SHAPE}}, where SHAPE is one of {}",
                        Shape::NAMES
                    );
                    return Err(fault(&format!("there is no filter \"|{text}\""), &mend));
                }
            },
            None => (inner, None),
        };
        let mut filters = Vec::new();
        while let Some((prefix, rest)) = name.split_once(':') {
            let Some(filter) = Filter::named(prefix) else {
                break;
            };
            filters.push(filter);
            name = rest;
        }
        filters.extend(behind);
        filters.reverse();
        Ok(Filtered {
            value: value(name)?,
            filters: filters.into(),
        })
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }
}

fn flush(literal: &mut String, parts: &mut Vec<Part>) {
    if !literal.is_empty() {
        parts.push(Part::Literal(std::mem::take(literal).into()));
    }
}

fn value(name: &str) -> Result<Value, TemplateFault> {
    let (kind, argument) = match name.split_once(':') {
        Some((kind, argument)) => (kind, Some(argument)),
        None => (name, None),
    };
    Ok(match (kind, argument) {
        ("body", None) => Value::Body,
        ("timestamp", None) => Value::Timestamp,
        ("id", None) => Value::Id,
        ("url", None) => Value::Url,
        ("method", None) => Value::Method,
        ("path_and_query", None) => Value::PathAndQuery,
        ("secret", None) => Value::Secret,
        ("key_id", None) => Value::KeyId,
        ("header", Some(name)) => Value::Header(header_name(name)?),
        ("query", Some(name)) if !name.is_empty() => Value::Query(name.into()),
        ("form", Some(name)) if !name.is_empty() => Value::Form(name.into()),
        ("item", Some(name)) if !name.is_empty() => Value::Item(name.into()),
        ("config", Some(name)) if !name.is_empty() => Value::Config(name.into()),
        ("json", Some(pointer)) => {
            let mend = "write a JSON pointer, as {json:/data/id}";
            Value::Json(
                Pointer::parse(pointer)
                    .map_err(|what| fault(&format!("{what}: \"{}\"", shortened(pointer)), mend))?,
            )
        }
        (_, Some(_) | None) => {
            let mend = "possible are body, timestamp, id, url, method, path_and_query, secret, key_id, header:NAME, \
                        query:NAME, form:NAME, json:/POINTER, item:KEY, config:NAME";
            return Err(fault(
                &format!("there is no value \"{}\"", shortened(name)),
                mend,
            ));
        }
    })
}

/// A header's name, in lower case.
pub(super) fn header_name(name: &str) -> Result<HeaderName, TemplateFault> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_fault| {
        fault(
            &format!("\"{name}\" is no header name"),
            "write letters, digits and \"-\"",
        )
    })
}

fn fault(what: &str, mend: &str) -> TemplateFault {
    TemplateFault {
        what: what.to_owned(),
        mend: mend.to_owned(),
    }
}

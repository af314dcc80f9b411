//! Places: the short texts of `[event]` that say where a fact stands, and whether the signature covers it.

use std::borrow::Cow;

use http::HeaderName;

pub(super) use super::around::Around;
use super::around::Readings;
use crate::signature::body;
use crate::signature::body::json::Pointer;
use crate::signature::body::select::{Selection, Slot, Values};
use crate::signature::profile::descriptor::{BodyFormat, Coverage, OneOrMany};
use crate::signature::template::{TemplateFault, Value, header_name};
use crate::text::shortened;

/// How long an id, a type or an amount may be, in bytes. What is longer, or holds control characters, counts as
/// absent: no store's index, and no terminal, has to bear it.
const TEXT_BYTES_MAX: usize = 512;

/// What a profile's signature covers, in terms of places.
#[derive(Clone, Debug)]
pub(super) struct Covered {
    /// As the profile says.
    pub(super) coverage: Coverage,
    /// With `Coverage::Fields`: what of the document its content names.
    fields: Vec<Pointer>,
    /// The fields of a form in its content.
    form: Vec<Pointer>,
    /// The headers in its content, that of `{id}` among them where it is the only one.
    headers: Vec<HeaderName>,
    /// Where `{id}` stands: in the first of these that is there.
    id: Vec<HeaderName>,
    /// Whether `{id}` is in its content.
    signs_the_id: bool,
    /// The parameters of the query string in its content.
    pub(super) query: Vec<Box<str>>,
    /// Whether its content holds the whole URL or path and query.
    pub(super) whole_query: bool,
    /// What of all that is in its content in one case of its letters alone.
    folded: Vec<Value>,
}

impl Covered {
    /// The form field in which the document stands, where that field is signed instead of the body around it.
    pub(super) fn field<'a>(&self, document: Option<&'a str>) -> Option<&'a str> {
        let signed = |name: &&str| self.form.contains(&Pointer::of_name(name));
        document.filter(signed)
    }

    /// From the values that the profile's signature covers whole, and those of which it covers the letters in one case alone; `id` is
    /// where `{id}` stands.
    pub(super) fn new(
        coverage: Coverage,
        values: &[&Value],
        folded: Vec<Value>,
        id: Vec<HeaderName>,
        read: Read,
    ) -> Self {
        let mut covered = Self {
            coverage,
            fields: Vec::new(),
            form: Vec::new(),
            headers: Vec::new(),
            id,
            signs_the_id: false,
            query: Vec::new(),
            whole_query: false,
            folded,
        };
        for value in values {
            match value {
                Value::Json(pointer) if read == Read::Json => covered.fields.push(pointer.clone()),
                Value::Form(name) => covered.form.push(Pointer::of_name(name)),
                Value::Header(name) => covered.headers.push(name.clone()),
                Value::Query(name) => covered.query.push(name.clone()),
                Value::Url | Value::PathAndQuery => covered.whole_query = true,
                Value::Id => {
                    covered.signs_the_id = true;
                    // Of several the first that is there is signed, and another may be there beside it.
                    if let [only] = &*covered.id {
                        covered.headers.push(only.clone());
                    }
                }
                Value::Body
                | Value::Json(_)
                | Value::Timestamp
                | Value::Method
                | Value::Secret
                | Value::KeyId
                | Value::Item(_)
                | Value::Config(_) => {}
            }
        }
        if read == Read::Form {
            covered.fields.clone_from(&covered.form);
        }
        covered
    }
}

/// Which values of a content name what a mapping's pointers name. A body can be read in more ways than one: what was signed
/// as a field of a form may be anything in JSON that holds the form in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::signature) enum Read {
    /// `{json:POINTER}`: the document is the body, or the item that bears the signature.
    Json,
    /// `{form:NAME}`: the fields of the body.
    Form,
    /// None: the document is unpacked from the body, or a part of what is signed.
    Unpacked,
}

impl Read {
    /// By the body's format, the field that holds the document, and whether the events are parts of what bears a signature.
    pub(in crate::signature) fn of(format: BodyFormat, field: Option<&str>, parts: bool) -> Self {
        match (format, field) {
            (BodyFormat::Json, _) if !parts => Self::Json,
            (BodyFormat::Form, None) => Self::Form,
            (
                BodyFormat::Json | BodyFormat::JsonOrForm | BodyFormat::Form | BodyFormat::FormXml,
                _,
            ) => Self::Unpacked,
        }
    }
}

/// One or more alternatives, tried from the left: the first that is present and not empty counts.
#[derive(Clone, Debug, Default)]
pub(super) struct EventPlace {
    alternatives: Box<[Box<[Part]>]>,
}

#[derive(Clone, Debug)]
enum Part {
    Literal(Box<str>),
    Pointer(Slot),
    Header(Box<[HeaderName]>),
    Query(Box<str>),
    Type,
    /// Another part, in one case of its letters.
    InCase(Case, Box<Self>),
    /// Of another part that is two numbers with this between them the first; anything else as it is.
    FirstNumber(Box<str>, Box<Self>),
}

/// `{upper:…}` and `{lower:…}`.
#[derive(Clone, Copy, Debug)]
enum Case {
    Upper,
    Lower,
}

impl Case {
    fn of(name: &str) -> Option<(Self, &str)> {
        let upper = name.strip_prefix("upper:").map(|rest| (Self::Upper, rest));
        upper.or_else(|| name.strip_prefix("lower:").map(|rest| (Self::Lower, rest)))
    }

    fn fold(self, text: &str) -> String {
        match self {
            Self::Upper => text.to_ascii_uppercase(),
            Self::Lower => text.to_ascii_lowercase(),
        }
    }
}

/// `{/id|first_number:_}`.
const FIRST_NUMBER: &str = "|first_number:";

/// The value that stands between braces, whatever is made of it.
pub(in crate::signature) fn unfiltered(name: &str) -> &str {
    let name = name.split_once(FIRST_NUMBER).map_or(name, |(name, _)| name);
    Case::of(name).map_or(name, |(_, rest)| rest)
}

fn first_number<'t>(text: &'t str, mark: &str) -> &'t str {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    match text.split_once(mark) {
        Some((first, second)) if is_number(first) && is_number(second) => first,
        Some(_) | None => text,
    }
}

/// Reads places, and remembers what of them the signature does not cover.
pub(super) struct PlaceReader<'s> {
    pub(super) selection: &'s mut Selection,
    pub(super) covered: &'s Covered,
    pub(super) readings: &'s mut Readings,
    /// Whether `{type}` may stand in a place, and if so whether the type is itself covered.
    pub(super) kind: Option<Certainty>,
}

/// Whether the signature covers a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Certainty {
    /// Every part of it.
    Covered,
    /// The letters of some part could be of the other case.
    InOneCase,
    /// Some part of the body is not.
    BodyUncovered,
    /// Some header, or parameter of the query string, is not.
    RequestUncovered,
}

impl EventPlace {
    /// The text there; `kind` is the event's type. Borrowed where one place holds all of it.
    pub(super) fn text<'v>(
        &'v self,
        values: &'v Values<'_>,
        around: Around<'v>,
        kind: Option<&'v str>,
    ) -> Option<Cow<'v, str>> {
        self.texts(values, around, kind).next()
    }

    /// The texts of all alternatives that are present, from the left.
    pub(super) fn texts<'v>(
        &'v self,
        values: &'v Values<'_>,
        around: Around<'v>,
        kind: Option<&'v str>,
    ) -> impl Iterator<Item = Cow<'v, str>> {
        self.alternatives
            .iter()
            .filter_map(move |parts| joined(parts, values, around, kind))
            .filter(|text| readable(text))
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.alternatives.is_empty()
    }
}

fn joined<'v>(
    parts: &'v [Part],
    values: &'v Values<'_>,
    around: Around<'v>,
    kind: Option<&'v str>,
) -> Option<Cow<'v, str>> {
    if let [part] = parts {
        return part.text(values, around, kind);
    }
    let mut text = String::new();
    for part in parts {
        let piece = part
            .text(values, around, kind)
            .filter(|piece| !piece.is_empty())?;
        text.push_str(&piece);
    }
    Some(Cow::Owned(text))
}

fn readable(text: &str) -> bool {
    !text.is_empty() && text.len() <= TEXT_BYTES_MAX && !text.contains(char::is_control)
}

impl Part {
    fn text<'v>(
        &'v self,
        values: &'v Values<'_>,
        around: Around<'v>,
        kind: Option<&'v str>,
    ) -> Option<Cow<'v, str>> {
        match self {
            Self::Literal(text) => Some(Cow::Borrowed(text)),
            Self::Pointer(slot) => values.text(*slot).map(Cow::Borrowed),
            Self::Header(names) => {
                let mut all = names
                    .iter()
                    .find(|name| around.headers.contains_key(*name))
                    .map(|name| around.headers.get_all(name).iter())?;
                let first = all.next()?;
                // Two values of one header: which of them was meant, nobody can say.
                all.next()
                    .is_none()
                    .then_some(first)?
                    .to_str()
                    .ok()
                    .map(Cow::Borrowed)
            }
            Self::Query(name) => match body::form::value(around.query.as_bytes(), name).ok()?? {
                Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
                Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
            },
            Self::Type => kind.map(Cow::Borrowed),
            Self::InCase(case, part) => {
                let text = part.text(values, around, kind)?;
                Some(Cow::Owned(case.fold(&text)))
            }
            Self::FirstNumber(mark, part) => Some(match part.text(values, around, kind)? {
                Cow::Borrowed(text) => Cow::Borrowed(first_number(text, mark)),
                Cow::Owned(text) => Cow::Owned(first_number(&text, mark).to_owned()),
            }),
        }
    }
}

impl PlaceReader<'_> {
    /// Reads a place's alternatives; all faults are told.
    pub(super) fn read(
        &mut self,
        texts: &OneOrMany,
    ) -> Result<(EventPlace, Certainty), Vec<TemplateFault>> {
        let mut alternatives = Vec::new();
        let mut certainty = Certainty::Covered;
        let mut faults = Vec::new();
        for text in texts.iter() {
            match self.alternative(text, &mut certainty) {
                Ok(parts) => alternatives.push(parts),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() {
            Ok((
                EventPlace {
                    alternatives: alternatives.into(),
                },
                certainty,
            ))
        } else {
            Err(faults)
        }
    }

    fn alternative(
        &mut self,
        text: &str,
        certainty: &mut Certainty,
    ) -> Result<Box<[Part]>, TemplateFault> {
        if let Some(constant) = text.strip_prefix('=') {
            return Ok([Part::Literal(constant.into())].into());
        }
        if text.starts_with('/') {
            return Ok([self.pointer(text, certainty)?].into());
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            literal.push_str(before);
            if let Some(behind) = brace
                .strip_prefix("{{")
                .or_else(|| brace.strip_prefix("}}"))
            {
                literal.extend(brace.chars().next());
                rest = behind;
                continue;
            }
            let Some((name, behind)) = brace
                .strip_prefix('{')
                .and_then(|inner| inner.split_once('}'))
            else {
                return Err(fault(
                    format!("\"{}\" has a brace without its partner", shortened(text)),
                    "write {/pointer}; a brace that stands for itself is doubled",
                ));
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal).into()));
            }
            parts.push(self.value(name, certainty)?);
            rest = behind;
        }
        literal.push_str(rest);
        if parts.is_empty() {
            return Err(fault(
                format!("\"{}\" names no place", shortened(text)),
                "write a JSON pointer as /data/id, a template as {/data/id}:{/type}, or =TEXT for a fixed text",
            ));
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        Ok(parts.into())
    }

    fn value(&mut self, name: &str, certainty: &mut Certainty) -> Result<Part, TemplateFault> {
        if let Some((inner, mark)) = name.split_once(FIRST_NUMBER) {
            if mark.is_empty() {
                return Err(fault(
                    format!("\"{}\" has no mark between two numbers", shortened(name)),
                    "write it behind the colon, as {/id|first_number:_}",
                ));
            }
            let part = self.value(inner, certainty)?;
            return Ok(Part::FirstNumber(mark.into(), Box::new(part)));
        }
        if let Some((case, inner)) = Case::of(name) {
            let mut its = Certainty::Covered;
            let part = self.value(inner, &mut its)?;
            if its != Certainty::InOneCase {
                certainty.weaken(its);
            }
            return Ok(Part::InCase(case, Box::new(part)));
        }
        if name.starts_with('/') {
            return self.pointer(name, certainty);
        }
        match (name.split_once(':'), self.kind) {
            (None, Some(kind)) if name == "type" => {
                certainty.weaken(kind);
                Ok(Part::Type)
            }
            (None, None) if name == "type" => Err(fault(
                "{type} stands outside status_by".to_owned(),
                "write the type's own place",
            )),
            (None, _) if name == "id" && !self.covered.id.is_empty() => {
                if !self.covered.signs_the_id {
                    certainty.weaken(Certainty::RequestUncovered);
                }
                self.fold(&[Value::Id], certainty);
                self.readings.headers.extend_from_slice(&self.covered.id);
                Ok(Part::Header(self.covered.id.clone().into()))
            }
            (None, _) if name == "id" => Err(fault(
                "{id} without an id in the signature".to_owned(),
                "set signature.id, or write the header as {header:NAME}",
            )),
            (Some(("header", name)), _) => {
                let name = header_name(name)?;
                if !self.covered.headers.contains(&name)
                    && self.covered.coverage != Coverage::Connection
                {
                    certainty.weaken(Certainty::RequestUncovered);
                }
                if self.covered.id.contains(&name) {
                    self.fold(&[Value::Id], certainty);
                }
                self.fold(&[Value::Header(name.clone())], certainty);
                self.readings.headers.push(name.clone());
                Ok(Part::Header([name].into()))
            }
            (Some(("query", name)), _) if !name.is_empty() => {
                let known = self.covered.whole_query
                    || self.covered.query.iter().any(|query| **query == *name);
                if !known && self.covered.coverage != Coverage::Connection {
                    certainty.weaken(Certainty::RequestUncovered);
                }
                let whole = [Value::PathAndQuery, Value::Url];
                if self.covered.query.iter().any(|query| **query == *name) {
                    self.fold(&[Value::Query(name.into())], certainty);
                } else {
                    self.fold(&whole, certainty);
                }
                self.readings.query.push(name.into());
                Ok(Part::Query(name.into()))
            }
            (Some(_) | None, _) => Err(fault(
                format!("there is no value \"{}\"", shortened(name)),
                "possible are {/pointer}, {id}, {header:NAME}, {query:NAME} and, in status_by, {type}",
            )),
        }
    }

    fn pointer(&mut self, text: &str, certainty: &mut Certainty) -> Result<Part, TemplateFault> {
        const TOKENS_MAX: usize = 32;
        let mend = "write a JSON pointer, as /data/id";
        let shown = shortened(text);
        let pointer =
            Pointer::parse(text).map_err(|what| fault(format!("{what}: \"{shown}\""), mend))?;
        if pointer.tokens().len() > TOKENS_MAX {
            return Err(fault(
                format!("\"{shown}\" has more than {TOKENS_MAX} parts"),
                mend,
            ));
        }
        if pointer.has_a_star() {
            return Err(fault(
                format!("\"{shown}\" has a \"*\", which is a list's elements in each alone"),
                "name one element, as /data/0/amount; or set event.each, and write what stands in an element",
            ));
        }
        let covered = match self.covered.coverage {
            Coverage::Body | Coverage::Connection => true,
            Coverage::Fields => self.covered.fields.contains(&pointer),
            Coverage::Reference => false,
        };
        if !covered {
            certainty.weaken(Certainty::BodyUncovered);
        }
        if self.covered.coverage == Coverage::Fields {
            let field = Value::Form(pointer.tokens().concat().into());
            self.fold(&[Value::Json(pointer.clone()), field], certainty);
        }
        Ok(Part::Pointer(self.selection.add(&pointer)))
    }

    /// Notes that one of these is signed in one case alone.
    fn fold(&self, values: &[Value], certainty: &mut Certainty) {
        if values
            .iter()
            .any(|value| self.covered.folded.contains(value))
        {
            certainty.weaken(Certainty::InOneCase);
        }
    }
}

impl Certainty {
    /// The worse of the two.
    fn weaken(&mut self, other: Self) {
        *self = other.max(*self);
    }
}

fn fault(what: String, mend: &str) -> TemplateFault {
    TemplateFault {
        what,
        mend: mend.to_owned(),
    }
}

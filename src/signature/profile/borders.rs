//! Where signed fields end. Of fields that are signed one after another the signature covers the text alone: what can be cut up
//! in another way is signed in that way too.

use super::descriptor::{BodyFormat, Coverage, ProfileDescriptor, TimeUnit};
use super::faults::Faults;
use super::impossible_event;
use crate::signature::filter::{Filter, Shape};
use crate::signature::mapping::place::unfiltered;
use crate::signature::scheme::Scheme;
use crate::signature::template::{Piece, Value};

/// How the end of a value is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By its length, or because no sender chooses it.
    Known,
    /// It holds digits and a point.
    Amount,
    /// It holds letters, and is looked up: one that is cut is another, and unknown.
    Word,
    /// It ends with some digits: known where none follows.
    Digits,
    /// Not at all.
    Open,
}

/// Adds a fault where two values of which one is read stand side by side, and may be cut apart in more ways than one.
pub(super) fn check(profile: &ProfileDescriptor, scheme: &Scheme, faults: &mut Faults) {
    let time = profile.timestamp.as_ref();
    let event = profile.event.as_ref();
    let known = Known {
        time: time.is_some_and(|rule| {
            let unit = rule.unit.unwrap_or(TimeUnit::S);
            rule.past.is_some()
                && rule.future.is_some()
                && matches!(unit, TimeUnit::S | TimeUnit::Ms)
        }),
        body: event.and_then(|event| event.format).unwrap_or_default() == BodyFormat::Json,
    };
    let places = event.map(impossible_event::places).unwrap_or_default();
    let places: Vec<&str> = places.into_iter().flat_map(|(_, texts)| texts).collect();
    // Without an id, an event is known by all signed fields.
    let by_fields = profile.signed == Some(Coverage::Fields)
        && event.is_none_or(|event| {
            event
                .id
                .as_ref()
                .is_none_or(|id| id.iter().next().is_none())
        });
    let is_field = |value: &Value| matches!(value, Value::Json(_) | Value::Form(_));
    let counts = |value: &Value| {
        scheme.signs_if_present(value) && (is_read(value, &places) || by_fields && is_field(value))
    };
    let blurred = scheme
        .contents
        .iter()
        .flat_map(|content| blurred(&content.pieces(), known));
    let mut blurred = blurred.filter(|(one, other)| counts(one) || counts(other));
    if let Some((one, other)) = blurred.next() {
        let what = format!(
            "nothing tells where {one} ends and {other} begins: one signature would serve for several deliveries"
        );
        let mend = "write how one is written, as {json:/currency|is:currency}, or put a separator between them that the provider signs";
        faults.add("signature.content", what, mend);
    }
}

/// Whether one of these places is, or lies in, this value.
fn is_read(value: &Value, places: &[&str]) -> bool {
    let named = match value {
        Value::Json(pointer) => pointer.to_string(),
        Value::Form(name) => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
        Value::Header(name) => format!("header:{name}"),
        Value::Query(name) => format!("query:{name}"),
        Value::Id => "id".to_owned(),
        // Without a place in it, an event is known by the body itself.
        Value::Body => return true,
        Value::Url | Value::PathAndQuery => {
            return places.iter().any(|place| place.contains("query:"));
        }
        Value::Timestamp
        | Value::Method
        | Value::Secret
        | Value::KeyId
        | Value::Item(_)
        | Value::Config(_) => return false,
    };
    let is_it = |inner: &str| inner == named || inner.starts_with(&format!("{named}/"));
    let inside = |place: &str| place.split(['{', '}']).map(unfiltered).any(is_it);
    places.iter().any(|place| inside(place))
}

/// The values whose border is not told.
fn blurred<'t>(pieces: &[Piece<'t>], known: Known) -> Vec<(&'t Value, &'t Value)> {
    let mut found = Vec::new();
    let mut before: Option<(&Value, End)> = None;
    let mut open: Option<&Value> = None;
    // Behind it only digits have come, which may move along.
    let mut sliding: Option<&Value> = None;
    for piece in pieces {
        let (value, filters) = match piece {
            Piece::Literal => {
                (before, open, sliding) = (None, None, None);
                continue;
            }
            Piece::Value(value, filters) => (*value, *filters),
        };
        let end = end(value, filters, known);
        // What is cut off a word begins another field's name in a form.
        let is_a_form = |value: &Value, its: End| *value == Value::Body && matches!(its, End::Open);
        let told = |other: End| match (other, end) {
            (End::Digits, _) => begins_with_no_digit(value, filters),
            (End::Known, _) | (_, End::Known) => true,
            (_, _)
                if is_a_form(value, end)
                    || before.is_some_and(|(one, its)| is_a_form(one, its)) =>
            {
                false
            }
            (End::Word, End::Word) => false,
            (End::Word, _) | (_, End::Word) => true,
            // It begins with the four digits of a year.
            (End::Amount | End::Open, End::Amount | End::Open | End::Digits) => false,
        };
        match (before, open) {
            (Some((other, its)), _) if !told(its) => found.push((other, value)),
            // Between two open ones all that lies between them may move.
            (_, Some(first)) if end == End::Open => found.push((first, value)),
            (_, _) => {
                let moves = matches!(end, End::Open | End::Amount);
                found.extend(sliding.filter(|_| moves).map(|first| (first, value)));
            }
        }
        sliding = match end {
            End::Open | End::Amount => Some(value),
            End::Known if is_digits(value, filters) => sliding,
            End::Known | End::Word | End::Digits => None,
        };
        let closes = end == End::Word || *value == Value::Secret;
        match end {
            End::Open => open = Some(value),
            End::Known | End::Amount | End::Word | End::Digits if closes => open = None,
            End::Known | End::Amount | End::Word | End::Digits => {}
        }
        before = Some((value, end));
    }
    found
}

/// Whether it begins with no digit, whatever it is.
fn begins_with_no_digit(value: &Value, filters: &[Filter]) -> bool {
    let shape = |filter: &Filter| {
        matches!(
            filter,
            Filter::Is(Shape::NoDigitFirst | Shape::Currency | Shape::Word)
        )
    };
    *value == Value::Method || filters.iter().any(shape)
}

/// Whether it is nothing but digits.
fn is_digits(value: &Value, filters: &[Filter]) -> bool {
    *value == Value::Timestamp || filters.contains(&Filter::Is(Shape::Unix))
}

/// Which values show their end by themselves.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// The time is held to its bounds: with a digit more or less it lies far beyond them.
    time: bool,
    /// The body is a JSON document: what is longer or shorter is none. A form goes on with whatever is put to it.
    body: bool,
}

fn end(value: &Value, filters: &[Filter], known: Known) -> End {
    let of_filter = |filter: &Filter| match filter {
        Filter::Sha256Base64 | Filter::Sha256Hex => Some(End::Known),
        Filter::Is(Shape::Currency | Shape::DateTime | Shape::Unix) => Some(End::Known),
        Filter::Is(Shape::DatetimeMsOrS) => Some(End::Digits),
        Filter::Is(Shape::Amount) | Filter::Crc32 => Some(End::Amount),
        Filter::Is(Shape::Word) => Some(End::Word),
        Filter::Is(Shape::NoDigitFirst)
        | Filter::Without(_)
        | Filter::Base64
        | Filter::Upper
        | Filter::Lower
        | Filter::Quoted
        | Filter::Mac
        | Filter::After(_) => None,
    };
    let told = filters.iter().rev().find_map(of_filter);
    told.unwrap_or(match value {
        Value::Method | Value::Secret | Value::KeyId | Value::Config(_) => End::Known,
        Value::Timestamp if known.time => End::Known,
        Value::Body if known.body => End::Known,
        // Whoever sends a request chooses its query string.
        Value::Url
        | Value::PathAndQuery
        | Value::Timestamp
        | Value::Body
        | Value::Id
        | Value::Header(_)
        | Value::Query(_)
        | Value::Form(_)
        | Value::Json(_)
        | Value::Item(_) => End::Open,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::template::Template;

    #[test]
    fn fields_side_by_side_need_something_that_tells_them_apart() {
        for (content, expected) in [
            ("{json:/id}", true),
            ("{json:/id}{json:/amount}", false),
            ("{json:/id}.{json:/amount}", true),
            ("{json:/id}{json:/amount|is:amount}", false),
            ("{json:/id|without:.}{json:/amount}", false),
            ("{json:/a|is:amount}{json:/b|is:amount}", false),
            ("{json:/a|is:word}{json:/b|is:word}", false),
            ("{json:/a|is:amount}{json:/b|is:currency}", true),
            ("{json:/a|is:amount}{json:/b|is:word}{json:/c}", true),
            ("{json:/a}{json:/b|is:currency}{json:/c}", false),
            ("{json:/a}{json:/b|is:currency}.{json:/c}", true),
            ("{json:/a}{json:/t|is:unix}{json:/b|is:amount}", false),
            (
                "{json:/a|is:amount}{json:/t|is:unix}{json:/b|is:amount}",
                false,
            ),
            (
                "{json:/a|is:amount}{json:/b|is:currency}{json:/c|is:amount}",
                true,
            ),
            (
                "{json:/a|is:amount}{json:/t|is:unix}{json:/b|is:currency}",
                true,
            ),
            ("{json:/a}{secret}{json:/b}", true),
            ("{timestamp}{json:/a}", false),
            ("{timestamp|is:unix}{json:/a}", true),
            ("{timestamp|is:datetime-ms-or-s}{json:/a}", false),
            ("{timestamp|is:datetime-ms-or-s}{json:/a|is:unix}", false),
            (
                "{timestamp|is:datetime-ms-or-s}{json:/a|is:no-digit-first}",
                true,
            ),
            (
                "{timestamp|is:datetime-ms-or-s}{json:/a|is:no-digit-first}{json:/b}",
                false,
            ),
            ("{timestamp|is:datetime-ms-or-s}.{json:/a}", true),
            ("{json:/a}{timestamp|is:datetime-ms-or-s}", false),
            ("{config:shop}{json:/a}", true),
            ("[{json:/a}]{json:/b}", false),
        ] {
            let template = Template::parse(content).unwrap();
            let found = blurred(&template.pieces(), UNKNOWN);
            assert_eq!(found.is_empty(), expected, "{content}");
        }
        let template = Template::parse("{timestamp}{json:/a}").unwrap();
        let dated = Known {
            time: true,
            ..UNKNOWN
        };
        assert!(blurred(&template.pieces(), dated).is_empty());
    }

    const UNKNOWN: Known = Known {
        time: false,
        body: false,
    };

    #[test]
    fn a_json_document_shows_its_own_end_and_a_form_does_not() {
        let json = Known {
            body: true,
            ..UNKNOWN
        };
        for (content, of_json) in [
            ("{header:x-nonce}{body}", true),
            ("{url}{body}", true),
            ("{body}{timestamp}", true),
            ("{id}{body}", true),
            ("{header:x-word|is:word}{body}", true),
            // Within the document there may be another one.
            ("{url}{body}{header:x-nonce}", false),
            ("{header:x-a}{header:x-b}.{body}", false),
        ] {
            let template = Template::parse(content).unwrap();
            let pieces = template.pieces();
            assert_eq!(blurred(&pieces, json).is_empty(), of_json, "{content}");
            assert!(!blurred(&pieces, UNKNOWN).is_empty(), "{content}");
        }
        for content in ["{body}{secret}", "{method}{body}", "{url}.{body}"] {
            let template = Template::parse(content).unwrap();
            assert!(blurred(&template.pieces(), UNKNOWN).is_empty(), "{content}");
        }
    }
}

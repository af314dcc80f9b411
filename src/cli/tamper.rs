//! A delivery changed after it was signed, as somebody on the way could.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use jiff::{SignedDuration, Timestamp};

use super::sender::Delivery;
use crate::signature::{Coverage, Encoding, PlaceDescriptor, Profile, SignatureDescriptor};

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Tamper {
    /// A digit of the body
    Body,
    /// A character of the signature
    Signature,
    /// The stated time, by an hour
    Timestamp,
}

/// How far a changed timestamp lies back: outside of every tolerance that is usual.
const BACK: SignedDuration = SignedDuration::from_hours(1);

/// A shorter run of letters is no signature.
const SIGNATURE_LETTERS_MIN: usize = 20;

/// Nothing of the delivery could be changed so.
#[derive(Debug, thiserror::Error)]
#[error("the profile \"{profile}\" {lacks}, so there is nothing to tamper with")]
pub(super) struct NothingToChange {
    profile: String,
    lacks: &'static str,
}

impl Tamper {
    /// The delivery, changed. `now` is when it was signed.
    pub(super) fn with(
        self,
        delivery: &Delivery,
        profile: &Profile,
        now: Timestamp,
    ) -> Result<Delivery, NothingToChange> {
        let nothing = |lacks| NothingToChange {
            profile: profile.name().to_owned(),
            lacks,
        };
        let mut changed = delivery.clone();
        let (done, lacks) = match self {
            Self::Body => (
                // Anybody may change what nothing signs, and the delivery is accepted.
                match profile.coverage() {
                    Coverage::Body | Coverage::Fields => {
                        changed.body = other_digit(&delivery.body).into();
                        true
                    }
                    Coverage::Reference | Coverage::Connection => false,
                },
                "does not sign the body",
            ),
            Self::Signature => {
                let signature = profile
                    .descriptor()
                    .signature
                    .as_ref()
                    .ok_or_else(|| nothing("signs nothing"))?;
                (
                    other_signature(signature, &mut changed),
                    "shows no signature in its place",
                )
            }
            Self::Timestamp => (other_time(profile, &mut changed, now), "states no time"),
        };
        if done {
            Ok(changed)
        } else {
            Err(nothing(lacks))
        }
    }
}

/// Another amount, if there is one: the last digit of the longest number stays one, so that the body stays what it is.
fn other_digit(body: &Bytes) -> Vec<u8> {
    let mut changed = body.to_vec();
    let amount = find(&changed, b"1999").or_else(|| find(&changed, b"19.99"));
    let digit = amount.or_else(|| changed.iter().rposition(u8::is_ascii_digit));
    match digit.and_then(|at| changed.get_mut(at)) {
        Some(digit) => *digit = if *digit == b'9' { b'8' } else { b'9' },
        None => changed.push(b' '),
    }
    changed
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

fn other_signature(signature: &SignatureDescriptor, changed: &mut Delivery) -> bool {
    let place = signature.from.clone().unwrap_or_default();
    let other_text = |text: &[u8]| other_value(text, signature.encoding);
    let PlaceDescriptor {
        header, form, json, ..
    } = place;
    for name in header.iter().flat_map(|names| names.iter()) {
        let text = changed
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok());
        if let Some(text) = text
            && let Some(other) = other_text(text.as_bytes())
        {
            return put(&mut changed.headers, name, &other);
        }
    }
    let key = match (&form, &json) {
        (Some(field), _) => format!("{field}="),
        (None, Some(pointer)) => {
            let name = pointer.rsplit('/').next().unwrap_or_default();
            format!("\"{name}\":\"")
        }
        (None, None) => return false,
    };
    let Some(at) = find(&changed.body, key.as_bytes()).map(|at| at + key.len()) else {
        return false;
    };
    let (before, after) = changed.body.split_at(at);
    let end = after
        .iter()
        .position(|byte| matches!(byte, b'"' | b'&'))
        .unwrap_or(after.len());
    let (text, rest) = after.split_at(end);
    let Some(other) = other_text(text) else {
        return false;
    };
    changed.body = [before, &other, rest].concat().into();
    true
}

/// Another value in the last run that is long enough to be a signature, written as the signature is: what is refused
/// must be the wrong value, not its form.
fn other_value(text: &[u8], encoding: Option<Encoding>) -> Option<Vec<u8>> {
    let run = last_run(text)?;
    let signature = text.get(run.clone())?;
    let other = if encoding == Some(Encoding::Base64OfHex) {
        let digits = STANDARD_NO_PAD.decode(signature).ok()?;
        STANDARD_NO_PAD.encode(other_letter(&digits)?).into_bytes()
    } else {
        other_letter(signature)?
    };
    let (before, after) = (text.get(..run.start)?, text.get(run.end..)?);
    Some([before, &other, after].concat())
}

/// Another letter where it stands for another value in every encoding: not in what may stand before it, nor at its end,
/// which base64 fills up.
fn other_letter(signature: &[u8]) -> Option<Vec<u8>> {
    let mut changed = signature.to_vec();
    let at = changed.len().checked_sub(SIGNATURE_LETTERS_MIN / 2)?;
    let letter = changed.get_mut(at)?;
    *letter = if *letter == b'b' { b'c' } else { b'b' };
    Some(changed)
}

/// The last run of letters that is long enough to be a signature.
fn last_run(text: &[u8]) -> Option<Range<usize>> {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
    let mut end = text.len();
    while end > 0 {
        let head = text.get(..end)?;
        let stop = head.iter().rposition(is_letter)? + 1;
        let run = text.get(..stop)?;
        let start = run
            .iter()
            .rposition(|byte| !is_letter(byte))
            .map_or(0, |at| at + 1);
        if stop - start >= SIGNATURE_LETTERS_MIN {
            return Some(start..stop);
        }
        end = start;
    }
    None
}

/// The stated time, wherever it is written down, as it was an hour ago.
fn other_time(profile: &Profile, changed: &mut Delivery, now: Timestamp) -> bool {
    let Some(rule) = &profile.descriptor().timestamp else {
        return false;
    };
    let unit = rule.unit.unwrap_or(crate::signature::TimeUnit::S);
    let then = now.checked_sub(BACK).unwrap_or(Timestamp::UNIX_EPOCH);
    let (stated, other) = (unit.written(now), unit.written(then));
    let mut done = false;
    let found: Vec<(String, String)> = changed
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .filter(|(_, text)| text.contains(&stated))
        .collect();
    for (name, text) in found {
        done |= put(
            &mut changed.headers,
            &name,
            text.replacen(&stated, &other, 1).as_bytes(),
        );
    }
    let in_body = rule
        .from
        .as_ref()
        .is_some_and(|place| place.json.is_some() || place.form.is_some());
    if in_body && let Some(at) = find(&changed.body, stated.as_bytes()) {
        let (before, after) = changed.body.split_at(at);
        let rest = after.get(stated.len()..).unwrap_or_default();
        changed.body = [before, other.as_bytes(), rest].concat().into();
        done = true;
    }
    done
}

fn put(headers: &mut HeaderMap, name: &str, value: &[u8]) -> bool {
    match (
        http::HeaderName::from_bytes(name.as_bytes()),
        HeaderValue::from_bytes(value),
    ) {
        (Ok(name), Ok(value)) => {
            headers.insert(name, value);
            true
        }
        (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::players::{Player, players};
    use crate::signature::{SignatureRefusal, builtin};

    #[test]
    fn a_digit_of_the_amount_becomes_another() {
        let body = Bytes::from_static(b"{\"t\":5,\"amount\":1999}");
        assert_eq!(other_digit(&body), b"{\"t\":5,\"amount\":9999}");
        assert_eq!(other_digit(&Bytes::from_static(b"{}")), b"{} ");
    }

    #[test]
    fn what_nothing_signs_is_left_alone_in_words_that_name_no_flag() {
        let delivery = Delivery {
            event_id: String::new(),
            path_and_query: String::new(),
            headers: HeaderMap::new(),
            body: Bytes::from_static(b"{\"valor\":\"19.99\"}"),
        };
        for (name, tamper, lacks) in [
            ("pix", Tamper::Body, "does not sign the body"),
            ("mercado-pago", Tamper::Body, "does not sign the body"),
            ("pix", Tamper::Signature, "signs nothing"),
            ("github", Tamper::Signature, "shows no signature"),
            ("github", Tamper::Timestamp, "states no time"),
        ] {
            let profile = builtin().get(name).unwrap();
            let nothing = tamper.with(&delivery, profile, Timestamp::UNIX_EPOCH);
            let told = nothing.unwrap_err().to_string();
            assert!(told.contains(lacks) && !told.contains("--"), "{told}");
        }
        let adyen = builtin().get("adyen-classic").unwrap();
        let changed = Tamper::Body.with(&delivery, adyen, Timestamp::UNIX_EPOCH);
        assert_ne!(changed.unwrap().body, delivery.body);
    }

    #[test]
    fn the_signature_stays_as_long_as_it_was() {
        let text = b"t=1790000000,v1=abcdefabcdefabcdefabcdef";
        let other = other_value(text, Some(Encoding::Hex)).unwrap();
        assert_eq!(other, b"t=1790000000,v1=abcdefabcdefabbdefabcdef");
        assert_eq!(other_value(b"t=1,v1=short", Some(Encoding::Hex)), None);
    }

    #[test]
    fn of_every_profile_it_is_the_value_of_the_signature_that_is_wrong_and_not_its_form() {
        for player in players().filter(Player::signs) {
            let name = player.profile.name();
            // Of several, since each has other letters at the place that is changed.
            for _ in 0..16 {
                let now = Timestamp::now();
                let delivery = player.fresh(now);
                assert_eq!(player.check(&delivery, now), Ok(()), "{name}");
                let changed = Tamper::Signature.with(&delivery, &player.profile, now);
                let refusal = player.check(&changed.unwrap(), now);
                assert_eq!(
                    refusal,
                    Err(SignatureRefusal::Mismatch { shadow: None }),
                    "{name}"
                );
            }
        }
    }
}

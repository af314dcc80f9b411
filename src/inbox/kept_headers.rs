//! Which of a delivery's headers are kept with its events.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serializer as _;

/// What a query string is kept as, among the headers: none can be called so.
pub(super) const PATH: &str = ":path";
/// Headers that are kept, at most.
const HEADERS_MAX: usize = 100;
/// Bytes of one header's value that are kept, at most.
const VALUE_BYTES_MAX: usize = 8192;
/// The same, of one from which the event was read and for which there is hardly room. Of a longer text a mapping reads nothing.
const READ_BYTES_MAX: usize = 1024;
/// Bytes of a query string that are kept, at most, where there is hardly room.
const QUERY_BYTES_MAX: usize = 4096;

/// Headers in the form in which a store holds them: a JSON array of `[name, value]`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptHeaders(Arc<str>);

impl KeptHeaders {
    /// These, in their order.
    pub fn of<'a>(pairs: impl Iterator<Item = (&'a str, Cow<'a, str>)>) -> Self {
        let mut text = Vec::with_capacity(1024);
        // Texts always serialize, and into UTF-8.
        let _always = serde_json::Serializer::new(&mut text).collect_seq(pairs);
        let text = String::from_utf8(text).unwrap_or_default();
        Self(text.into())
    }

    /// The headers that say something of the event. One that speaks of identity was believed by nobody and would mislead
    /// whoever reads it here; one that bears a credential has no business in a database. But those from which the event was
    /// read come first, whatever they are called, and what of the query string it was read from as the pseudo-header `:path`
    /// (RFC 9113 §8.3.1): a replay reads them again.
    ///
    /// What has more than `bytes_max` bytes so is cut down to what was read, and those of the others for which there is room.
    pub(super) fn read(
        headers: &HeaderMap,
        reads: impl Fn(&HeaderName) -> bool,
        path_and_query: Option<&str>,
        bytes_max: usize,
    ) -> Self {
        let read = headers.iter().filter(|(name, _)| reads(name));
        let others = headers
            .iter()
            .filter(|(name, _)| may_be_kept(name) && !reads(name));
        let named = read.chain(others).take(HEADERS_MAX);
        let named = named.map(|(name, value)| (name.as_str(), text(value, VALUE_BYTES_MAX)));
        let path = path_and_query.map(|path| (PATH, Cow::Borrowed(path)));
        let whole = Self::of(path.into_iter().chain(named));
        if whole.0.len() <= bytes_max {
            return whole;
        }
        Self::crowded(headers, reads, path_and_query, bytes_max)
    }

    /// A name is kept with all its values or not at all, since of two values nothing is read, and of the one that were left something would.
    fn crowded(
        headers: &HeaderMap,
        reads: impl Fn(&HeaderName) -> bool,
        path_and_query: Option<&str>,
        bytes_max: usize,
    ) -> Self {
        let of = |name: &'_ HeaderName, values_max, bytes_max| -> Vec<_> {
            let values = headers.get_all(name).iter().take(values_max);
            let values = values.map(|value| text(value, bytes_max));
            values.map(|text| (name.to_string(), text)).collect()
        };
        let was_read = |path: Option<&str>, values_max, bytes_max| {
            let path = path.map(|path| (PATH.to_owned(), Cow::Owned(path.to_owned())));
            let read = headers.keys().filter(|name| reads(name));
            let read = read.flat_map(|name| of(name, values_max, bytes_max));
            path.into_iter().chain(read).collect::<Vec<_>>()
        };
        let mut pairs = was_read(path_and_query, HEADERS_MAX, VALUE_BYTES_MAX);
        // One for a bracket: the other takes the place of the last comma.
        let bytes_max = bytes_max.saturating_sub(1);
        if bytes_of(&pairs) > bytes_max {
            // A third value says no more than the second.
            pairs = was_read(path_and_query.map(whole_parameters), 2, READ_BYTES_MAX);
        }
        let mut left = bytes_max.saturating_sub(bytes_of(&pairs));
        let others = headers
            .keys()
            .filter(|name| may_be_kept(name) && !reads(name));
        let others = others.map(|name| of(name, HEADERS_MAX, VALUE_BYTES_MAX));
        let mut others: Vec<_> = others.map(|pairs| (bytes_of(&pairs), pairs)).collect();
        // The short ones first: among them are those that bear a time, an id and a signature.
        others.sort_by_key(|(bytes, _)| *bytes);
        for (bytes, values) in others {
            if let Some(fewer) = left.checked_sub(bytes) {
                left = fewer;
                pairs.extend(values);
            }
        }
        pairs.truncate(HEADERS_MAX);
        Self::of(pairs.iter().map(|(name, text)| (&**name, text.clone())))
    }

    /// The JSON array.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Names and values.
    pub fn pairs(&self) -> Vec<(String, String)> {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

/// How many bytes these have in the array, each with its comma.
fn bytes_of(pairs: &[(String, Cow<'_, str>)]) -> usize {
    let written = pairs.iter().map(serde_json::to_string);
    written
        .map(|text| text.map_or(usize::MAX, |text| text.len().saturating_add(1)))
        .fold(0, usize::saturating_add)
}

/// As much of a value as is text, in so many bytes at most: each byte that is none stands as three.
fn text(value: &HeaderValue, bytes_max: usize) -> Cow<'_, str> {
    let value = value.as_bytes();
    let value = value.get(..bytes_max).unwrap_or(value);
    match String::from_utf8_lossy(value) {
        Cow::Borrowed(text) => Cow::Borrowed(text),
        Cow::Owned(mut text) => {
            text.truncate(whole_characters(&text, bytes_max));
            Cow::Owned(text)
        }
    }
}

/// The beginning of a path and query, up to the end of a parameter.
fn whole_parameters(path: &str) -> &str {
    if path.len() <= QUERY_BYTES_MAX {
        return path;
    }
    let begin = path.get(..whole_characters(path, QUERY_BYTES_MAX));
    let whole = begin.and_then(|begin| begin.rsplit_once('&'));
    whole.map_or("/", |(whole, _cut)| whole)
}

/// How many bytes of a text are whole characters of it, `bytes_max` at most.
fn whole_characters(text: &str, bytes_max: usize) -> usize {
    (0..=bytes_max.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0)
}

/// Whether a header is no proxy's word on a client's certificate or a user, and bears no credential. It is asked of each header of
/// each delivery: a word is only compared where its first letter stands.
fn may_be_kept(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    let begin = name.first().map_or(&[][..], |first| beginnings(*first));
    let within = name.iter().enumerate().any(|(at, first)| {
        let rest = name.get(at..).unwrap_or_default();
        words(*first).iter().any(|word| begins_with(rest, word))
    });
    !within && !begin.iter().any(|word| begins_with(name, word))
}

/// Names are lower-case here; many a proxy takes `_` for `-`.
fn begins_with(name: &[u8], word: &[u8]) -> bool {
    let alike =
        |(found, wanted): (&u8, &u8)| found == wanted || (*found == b'_' && *wanted == b'-');
    name.len() >= word.len() && name.iter().zip(word).all(alike)
}

/// How the names of headers begin in which proxies tell of a client's certificate, or of a user: those with this first letter.
fn beginnings(first: u8) -> &'static [&'static [u8]] {
    match first {
        b'c' => &[b"cf-cert-"],
        b'r' => &[b"remote-user"],
        b'x' => &[
            b"x-auth-request-",
            b"x-authenticated-",
            b"x-cert-",
            b"x-client-",
            b"x-forwarded-email",
            b"x-forwarded-groups",
            b"x-forwarded-preferred-username",
            b"x-forwarded-user",
            b"x-mtls-",
            b"x-peer-cert",
            b"x-remote-user",
            b"x-ssl",
            b"x-tls-",
            b"x-webauth-",
        ],
        _ => &[],
    }
}

/// Words with this first letter that stand anywhere in such names, and in those of headers that bear a credential.
fn words(first: u8) -> &'static [&'static [u8]] {
    match first {
        b'a' => &[b"api-key", b"apikey", b"authorization"],
        b'c' => &[
            b"client-cert",
            b"clientcert",
            b"client-verif",
            b"cookie",
            b"credential",
        ],
        b'm' => &[b"mtls-"],
        b'p' => &[b"password"],
        b's' => &[b"secret", b"ssl-client"],
        b't' => &[b"tls-client", b"token"],
        b'v' => &[b"verif-hash"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 1 << 20;

    #[test]
    fn headers_that_speak_of_identity_or_bear_credentials_are_not_kept() {
        let mut headers = HeaderMap::new();
        for name in [
            "content-type",
            "X-Client-Verify",
            "x-client-subject",
            "X-Forwarded-Client-Cert",
            "x-ssl-client-s-dn",
            "Client-Cert-Chain",
            "authorization",
            "cookie",
            "x-gitlab-token",
            "api_key",
            "x-webhook-signature",
        ] {
            headers.append(
                http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_static("v"),
            );
        }
        let kept = KeptHeaders::read(&headers, |_| false, None, ROOM);
        let kept = kept.pairs();
        let names: Vec<&str> = kept.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["content-type", "x-webhook-signature"]);
    }

    #[test]
    fn what_any_proxy_tells_of_a_client_is_not_kept_however_it_writes_it() {
        let mut headers = HeaderMap::new();
        for name in [
            "ssl-client-verify",
            "ssl_client_s_dn",
            "x_client_verify",
            "x-ssl-client-cn",
            "x-ssl_client_cert",
            "x-tls-client-subject",
            "tls-client-certificate",
            "tls_client_cn",
            "cf-client-cert-sha256",
            "cf-cert-verified",
            "x-mtls-subject",
            "x-cert-dn",
            "x-client-cert",
            "x-auth-request-user",
            "x-auth-request-email",
            "x-forwarded-client-cert",
            "x-forwarded-client_cert",
            "x-forwarded-tls-client-cert-info",
            "x-arr-clientcert",
            "x-amzn-mtls-clientcert-subject",
            "x-azure-clientcert",
            "client-cert",
            "remote_user",
        ] {
            headers.append(name, HeaderValue::from_static("v"));
        }
        for name in [
            "paypal-cert-url",
            "x-client-signature",
            "certificate-of-origin",
            "content-type",
        ] {
            headers.append(name, HeaderValue::from_static("v"));
        }
        let reads = |name: &http::HeaderName| name == "x-client-signature";
        let kept = KeptHeaders::read(&headers, reads, None, ROOM).pairs();
        let mut names: Vec<&str> = kept.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "certificate-of-origin",
                "content-type",
                "paypal-cert-url",
                "x-client-signature"
            ]
        );
    }

    #[test]
    fn what_an_event_was_read_from_is_kept_whatever_it_is_called() {
        let mut headers = HeaderMap::new();
        for at in 0..120 {
            let name = format!("x-{at}");
            headers.append(
                http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_static("v"),
            );
        }
        headers.append("x-token-id", HeaderValue::from_static("id"));
        let kept = KeptHeaders::read(&headers, |name| name == "x-token-id", Some("/?a=1"), ROOM);
        let kept = kept.pairs();
        assert_eq!(kept.len(), 101);
        assert_eq!(kept[0], (":path".into(), "/?a=1".into()));
        assert_eq!(kept[1], ("x-token-id".into(), "id".into()));
    }

    #[test]
    fn a_value_that_is_no_text_is_kept_as_far_as_it_is_one() {
        let mut headers = HeaderMap::new();
        headers.append("x-odd", HeaderValue::from_bytes(b"a\xffb").unwrap());
        headers.append(
            "x-long",
            HeaderValue::from_str(&"x".repeat(10_000)).unwrap(),
        );
        let kept = KeptHeaders::read(&headers, |_| false, None, ROOM);
        let kept = kept.pairs();
        assert!(
            kept.iter()
                .any(|(name, value)| (&**name, &**value) == ("x-odd", "a\u{fffd}b"))
        );
        assert!(
            kept.iter()
                .any(|(name, value)| name == "x-long" && value.len() == 8192)
        );
    }

    #[test]
    fn what_is_no_text_takes_no_more_than_what_is() {
        let mut headers = HeaderMap::new();
        let odd = HeaderValue::from_bytes(&[0xff; 10_000]).unwrap();
        headers.append("x-odd", odd);
        let kept = KeptHeaders::read(&headers, |_| false, None, ROOM).pairs();
        let value = &kept[0].1;
        assert!((8190..=8192).contains(&value.len()), "{}", value.len());
        assert!(value.chars().all(|character| character == '\u{fffd}'));
    }

    #[test]
    fn where_there_is_hardly_room_what_was_read_goes_before_the_rest() {
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: &str| {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        };
        put("user-agent", "a provider");
        for number in 0..4 {
            put("x-long", &number.to_string().repeat(300));
        }
        put("x-type", "paid");
        for _ in 0..3 {
            put("x-twice", &"t".repeat(3000));
        }
        let reads = |name: &HeaderName| ["x-type", "x-twice"].contains(&name.as_str());
        let path = format!("/?a=1&b={}&c=3", "b".repeat(5000));
        let names = |bytes_max| {
            let kept = KeptHeaders::read(&headers, reads, Some(&path), bytes_max);
            let mut names: Vec<_> = kept
                .pairs()
                .into_iter()
                .map(|(name, value)| (name, value.len()))
                .collect();
            names.sort();
            (kept.as_str().len(), names)
        };
        let (bytes, all) = names(ROOM);
        assert_eq!((all.len(), all[0].1), (10, path.len()));
        assert_eq!(names(bytes).1, all);
        let (_, most) = names(bytes - 1);
        // What was read is whole while it has room, and of the rest the shortest is first.
        let kept = |name: &str| most.iter().filter(|(known, _)| known == name).count();
        let counts = ["x-twice", "x-long", "user-agent"].map(kept);
        assert_eq!((most[0].1, counts), (path.len(), [3, 0, 1]));
        let least = [
            (":path", 5),
            ("x-twice", 1024),
            ("x-twice", 1024),
            ("x-type", 4),
        ];
        let least = least.map(|(name, bytes)| (name.to_owned(), bytes));
        assert_eq!(names(0).1, least);
        let (bytes, some) = names(2500);
        assert!(bytes <= 2500, "{bytes}");
        let with_the_short = [&[("user-agent".to_owned(), 10)][..], &least[1..]].concat();
        assert_eq!(some, [&least[..1], &with_the_short].concat());
    }
}

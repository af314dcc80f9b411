//! Which of a delivery's headers are kept with its events.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use serde::Serializer as _;

use super::Event;

/// Headers that are kept, at most.
const HEADERS_MAX: usize = 100;
/// Bytes of one header's value that are kept, at most.
const VALUE_BYTES_MAX: usize = 8192;

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
    pub(super) fn read(
        headers: &HeaderMap,
        reads: impl Fn(&HeaderName) -> bool,
        path_and_query: Option<&str>,
    ) -> Self {
        let read = headers.iter().filter(|(name, _)| reads(name));
        let others = headers.iter().filter(|(name, _)| {
            !speaks_of_identity(name.as_str()) && !bears_a_credential(name.as_str()) && !reads(name)
        });
        let named = read.chain(others).take(HEADERS_MAX).map(|(name, value)| {
            let value = value.as_bytes();
            let value = value.get(..VALUE_BYTES_MAX).unwrap_or(value);
            (name.as_str(), String::from_utf8_lossy(value))
        });
        let path = path_and_query.map(|path| (Event::PATH, Cow::Borrowed(path)));
        Self::of(path.into_iter().chain(named))
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

/// What proxies tell of a client's certificate, or of a user. Header names are lower-case here; many a proxy takes `_` for `-`.
fn speaks_of_identity(name: &str) -> bool {
    const BEGINNINGS: [&[u8]; 16] = [
        b"cf-cert-",
        b"remote-user",
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
    ];
    const WITHIN: [&[u8]; 6] = [
        b"client-cert",
        b"clientcert",
        b"client-verif",
        b"mtls-",
        b"ssl-client",
        b"tls-client",
    ];
    let name = name.as_bytes();
    let begins = |rest: &[u8], word: &[u8]| {
        let alike =
            |(found, wanted): (&u8, &u8)| found == wanted || (*found == b'_' && *wanted == b'-');
        rest.len() >= word.len() && rest.iter().zip(word).all(alike)
    };
    if BEGINNINGS.iter().any(|beginning| begins(name, beginning)) {
        return true;
    }
    // A word of ours begins with one of these; so most places need no comparison.
    name.iter().enumerate().any(|(at, first)| {
        let rest = name.get(at..).unwrap_or_default();
        matches!(first, b'c' | b'm' | b's' | b't') && WITHIN.iter().any(|word| begins(rest, word))
    })
}

fn bears_a_credential(name: &str) -> bool {
    let name = name.as_bytes();
    // One pass, and a word is only compared where its first letter stands: this is asked of each header of each delivery.
    name.iter().enumerate().any(|(at, first)| {
        let words: &[&[u8]] = match first {
            b'a' => &[b"api-key", b"apikey", b"authorization"],
            b'c' => &[b"cookie", b"credential"],
            b'p' => &[b"password"],
            b's' => &[b"secret"],
            b't' => &[b"token"],
            b'v' => &[b"verif-hash"],
            _ => return false,
        };
        let rest = name.get(at..).unwrap_or_default();
        words.iter().any(|word| rest.starts_with(word))
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::KeptHeaders;

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
            "x-webhook-signature",
        ] {
            headers.append(
                http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_static("v"),
            );
        }
        let kept = KeptHeaders::read(&headers, |_| false, None);
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
        let kept = KeptHeaders::read(&headers, reads, None).pairs();
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
        let kept = KeptHeaders::read(&headers, |name| name == "x-token-id", Some("/?a=1"));
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
        let kept = KeptHeaders::read(&headers, |_| false, None);
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
}

//! `[sent]`: how the provider writes what a verifier takes in more forms than one, or does not look at, so that `send`
//! makes what the provider's own library accepts. Nothing of it counts when a delivery is verified.

use http::HeaderName;

use super::algorithm::Algorithm;
use super::descriptor::ProfileDescriptor;
use super::faults::Faults;
use crate::signature::scheme::Scheme;
use crate::signature::template::{Template, Value};

/// `[sent]`, compiled.
#[derive(Debug, Default)]
pub(in crate::signature) struct Sent {
    signature: Option<Box<str>>,
    pub(in crate::signature) algorithm: Option<Algorithm>,
    pub(in crate::signature) headers: Box<[(HeaderName, Template)]>,
}

impl Sent {
    pub(super) fn compile(
        profile: &ProfileDescriptor,
        scheme: Option<&Scheme>,
        faults: &mut Faults,
    ) -> Self {
        let Some(descriptor) = &profile.sent else {
            return Self::default();
        };
        let signature = descriptor.signature.as_deref();
        if signature.is_some_and(|text| !text.contains("$SIGNATURE")) {
            let mend = "write $SIGNATURE where it belongs";
            faults.add("sent.signature", "has no place for the signature", mend);
        }
        if signature.is_some_and(|text| text.contains("$TIME")) && profile.timestamp.is_none() {
            let mend = "add [timestamp], or leave $TIME out";
            faults.add("sent.signature", "there is no time to write", mend);
        }
        let possible = scheme.map(|scheme| scheme.main.algorithm.possible());
        if let Some(algorithm) = &descriptor.algorithm
            && !possible.is_some_and(|possible| possible.contains(algorithm))
        {
            let mend = "name one that signature.algorithm allows";
            faults.add("sent.algorithm", "no signature may have it", mend);
        }
        let headers = descriptor.headers.iter().flatten();
        let headers = headers.filter_map(|(name, text)| header(name, text, faults));
        Self {
            headers: headers.collect(),
            signature: signature.map(Into::into),
            algorithm: descriptor.algorithm,
        }
    }

    /// The text of the signature's place, where the profile spells it out.
    pub(in crate::signature) fn written(
        &self,
        signature: &str,
        time: Option<&str>,
    ) -> Option<String> {
        let text = self.signature.as_deref()?;
        let text = text.replace("$TIME", time.unwrap_or_default());
        Some(text.replace("$SIGNATURE", signature))
    }
}

fn header(name: &str, text: &str, faults: &mut Faults) -> Option<(HeaderName, Template)> {
    let key = format!("sent.headers.{name}");
    let parsed = name.parse::<HeaderName>();
    let parsed = parsed.map_err(|_invalid| format!("\"{name}\" is no header name"));
    let name = faults.keep(&key, parsed, "write one, as \"x-event-id\"")?;
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(fault) => {
            faults.add(&key, fault.what, &fault.mend);
            return None;
        }
    };
    if template.values().contains(&&Value::Secret) || template.asks_for_a_mac() {
        let mend = "take it out: the signature stands where signature.from says";
        faults.add(&key, "would tell the secret, or what it makes", mend);
        return None;
    }
    Some((name, template))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, Method};
    use jiff::Timestamp;

    use crate::secret::Secret;
    use crate::signature::*;

    const SECRET: &str = "a-secret-of-thirty-two-bytes-len";

    /// The headers of a delivery, as `name: value`, with `HEX` and `BASE64` for the signature.
    fn sent(name: &str) -> Vec<String> {
        let profile = builtin().get(name).unwrap();
        let headers = HeaderMap::from_iter([("host".parse().unwrap(), "h".parse().unwrap())]);
        let to_sign = SignRequest {
            request: Request {
                method: &Method::POST,
                path_and_query: "/",
                headers: &headers,
            },
            id: "evt_1",
            now: Timestamp::from_second(1_790_000_000).unwrap(),
        };
        let secret = Secret::new(SECRET.into());
        let settings = Settings::default();
        let body = Bytes::from_static(b"{}");
        let signed = sign(profile, &secret, &settings, &to_sign, body).unwrap();
        let shown = signed.headers.iter().map(|(name, value)| {
            let value = value.to_str().unwrap();
            let letters = |letter: char| letter.is_ascii_alphanumeric() || "+/".contains(letter);
            let signature = value
                .split(|letter| !letters(letter))
                .find(|run| run.len() >= 43 && !name.as_str().contains("content"));
            let value = match signature {
                Some(run) if run.len() == 64 => value.replace(run, "HEX"),
                Some(run) => value.replace(&format!("{run}="), "BASE64"),
                None => value.to_owned(),
            };
            format!("{name}: {value}")
        });
        let mut shown: Vec<_> = shown.collect();
        shown.sort_unstable();
        shown
    }

    #[test]
    fn a_delivery_has_the_headers_that_the_provider_sends() {
        for (name, expected) in [
            (
                "box",
                &[
                    "box-delivery-timestamp: 2026-09-21T14:13:20.000Z",
                    "box-signature-algorithm: HmacSHA256",
                    "box-signature-primary: BASE64",
                    "box-signature-version: 1",
                ][..],
            ),
            ("workos", &["workos-signature: t=1790000000000, v1=HEX"]),
            (
                "payu-emea",
                &[
                    "openpayu-signature: sender=checkout;signature=HEX;algorithm=SHA-256;content=DOCUMENT",
                ],
            ),
            (
                "vipps",
                &[
                    "authorization: HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=BASE64",
                    "x-ms-content-sha256: RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=",
                    "x-ms-date: Mon, 21 Sep 2026 14:13:20 GMT",
                ],
            ),
            (
                "shopify",
                &[
                    "x-shopify-api-version: 2026-07",
                    "x-shopify-hmac-sha256: BASE64",
                    "x-shopify-shop-domain: example.myshopify.com",
                    "x-shopify-webhook-id: evt_1",
                ],
            ),
            ("stripe", &["stripe-signature: t=1790000000,v1=HEX"]),
        ] {
            assert_eq!(sent(name), expected, "{name}");
        }
    }

    #[test]
    fn each_impossible_key_is_a_fault() {
        for (sent, expected) in [
            ("signature = \"v1=\"", "sent.signature: has no place"),
            (
                "signature = \"t=$TIME,v1=$SIGNATURE\"",
                "sent.signature: there is no time",
            ),
            ("algorithm = \"sha512\"", "sent.algorithm: no signature"),
            (
                "headers = { \"a b\" = \"c\" }",
                "sent.headers.a b: \"a b\" is no header name",
            ),
            (
                "headers = { a = \"{bdoy}\" }",
                "sent.headers.a: there is no value \"bdoy\"",
            ),
            (
                "headers = { a = \"{secret}\" }",
                "sent.headers.a: would tell the secret",
            ),
            (
                "headers = { a = \"{mac:body}\" }",
                "sent.headers.a: would tell the secret",
            ),
        ] {
            let text = format!(
                "[signature]\nfrom = {{ header = \"x-sig\" }}\ncontent = \"{{body}}\"\n[sent]\n{sent}"
            );
            let descriptor = toml::from_str(&text).unwrap();
            let faults = Profile::compile("test", &descriptor).unwrap_err();
            let told: Vec<_> = faults.iter().map(ToString::to_string).collect();
            assert!(
                told.iter().any(|fault| fault.starts_with(expected)),
                "{told:#?}"
            );
        }
    }
}

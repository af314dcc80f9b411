//! What we sign as the provider does, we verify; and of each such delivery no byte may change.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair,
};
use bytes::Bytes;
use http::{HeaderMap, Method};
use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::identity::Force;
use crate::secret::Secret;

const NOW: i64 = 1_790_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn settings() -> Settings {
    let values =
        ["key_id", "access_key", "webhook_id"].map(|name| (name.to_owned(), "abc123".to_owned()));
    let url = Some("https://example.com/hooks".to_owned());
    Settings {
        url,
        values: BTreeMap::from(values),
        ..Settings::default()
    }
}

/// A secret as this profile's provider would show it.
fn shown(profile: &Profile) -> String {
    let plain = b"a secret of at least 24 bytes!!!";
    let Some(scheme) = &profile.scheme else {
        return String::new();
    };
    let text = match scheme.main.key {
        KeyForm::Utf8 | KeyForm::Sha1 => String::from_utf8(plain.to_vec()).unwrap(),
        KeyForm::Hex => hex::encode(plain),
        KeyForm::Base64 => Encoding::Base64.encode(plain),
        KeyForm::PublicKey => String::new(),
    };
    format!(
        "{}{text}",
        scheme.main.strip_prefix.as_deref().unwrap_or_default()
    )
}

fn body(profile: &Profile) -> Bytes {
    let event = json!({
        "id": "evt_1", "pspReference": "psp_1", "amount": {"value": 1000, "currency": "EUR"}, "eventCode": "AUTHORISATION",
        "success": "true", "additionalData": {}, "data": {"id": "123"}
    });
    let Some(batch) = profile.batch.as_ref().filter(|_| {
        profile
            .scheme
            .as_ref()
            .is_some_and(|scheme| scheme.per_item)
    }) else {
        // What is signed field by field must have those fields.
        let samples = profile.descriptor().samples.iter().flatten();
        let sample = samples
            .map(|(_, sample)| sample)
            .find(|_| profile.coverage() == Coverage::Fields);
        return sample
            .map_or_else(|| event.to_string(), |sample| filled(sample))
            .into();
    };
    let mut element = json!({});
    let inner = batch.element_text();
    let element = if inner.is_empty() {
        event
    } else {
        put::into(&mut element, &inner, event).unwrap();
        element
    };
    let mut whole = json!({});
    put::into(&mut whole, &batch.list_text(), json!([element])).unwrap();
    whole.to_string().into()
}

fn filled(sample: &str) -> String {
    sample
        .replace("$TYPE", "PENDING")
        .replace("$AMOUNT_MAJOR", "19.99")
        .replace("$CURRENCY", "EUR")
        .replace("$RFC3339", "2026-09-21T14:13:20Z")
        .replace("$DATE_TIME", "2026-09-21.14:13:20")
}

fn verifier(profile: &Arc<Profile>, shown: &str) -> Verifier {
    let secret = Secret::new(shown.as_bytes().to_vec());
    let secret = ProducerSecret {
        label: "file:secret".into(),
        secret,
        force: Force::Live,
    };
    Verifier::new(Arc::clone(profile), vec![secret], settings())
        .unwrap_or_else(|faults| panic!("{}: {faults:#?}", profile.name()))
}

struct Sent {
    headers: HeaderMap,
    path_and_query: String,
    body: Bytes,
}

fn signed(profile: &Arc<Profile>, shown: &str) -> Sent {
    let mut headers = HeaderMap::new();
    headers.insert("host", "example.com".parse().unwrap());
    headers.insert("user-agent", "Volt/1.0".parse().unwrap());
    let request = Request {
        method: &Method::POST,
        path_and_query: "/hooks",
        headers: &headers,
    };
    let to_sign = SignRequest {
        request,
        id: "msg_1",
        now: now(),
    };
    let secret = Secret::new(shown.as_bytes().to_vec());
    let Signed {
        headers: added,
        path_and_query,
        body,
        ..
    } = sign(profile, &secret, &settings(), &to_sign, body(profile))
        .unwrap_or_else(|fault| panic!("{}: {fault:?}", profile.name()));
    headers.extend(added);
    Sent {
        headers,
        path_and_query,
        body,
    }
}

fn outcome(verifier: &Verifier, sent: &Sent) -> Result<delivery::Proof, SignatureRefusal> {
    let Sent {
        headers,
        path_and_query,
        body,
    } = sent;
    verifier.prove(
        &Request {
            method: &Method::POST,
            path_and_query,
            headers,
        },
        body.clone(),
        now(),
    )
}

/// Signs and verifies; then changes each byte of what is covered, one by one.
fn check(profile: &Arc<Profile>, signs_with: &str, verifies_with: &str) {
    let name = profile.name();
    let verifier = verifier(profile, verifies_with);
    let sent = signed(profile, signs_with);
    let proof = outcome(&verifier, &sent)
        .unwrap_or_else(|refusal| panic!("{name}: {refusal:?} {:?}", sent.headers));
    assert!(
        proof
            .items
            .iter()
            .all(|item| matches!(item.verdict, ItemVerdict::Verified(_))),
        "{name}"
    );
    if profile.coverage() == Coverage::Body {
        // In a form the signature stands too: what it covers is the value of the document's field.
        let covered = match profile.mapping.format {
            BodyFormat::FormXml => {
                let position = |sign: u8| sent.body.iter().position(|byte| *byte == sign).unwrap();
                position(b'=') + 1..position(b'&')
            }
            BodyFormat::Json | BodyFormat::JsonOrForm | BodyFormat::Form => 0..sent.body.len(),
        };
        for at in covered {
            let mut bytes = sent.body.to_vec();
            bytes[at] ^= 1;
            let changed = Sent {
                body: bytes.into(),
                headers: sent.headers.clone(),
                path_and_query: sent.path_and_query.clone(),
            };
            assert!(
                outcome(&verifier, &changed).is_err(),
                "{name}: byte {at} of the body may change"
            );
        }
    }
    let Some(scheme) = &profile.scheme else {
        return;
    };
    let places::Place::Header(names) = &scheme.place else {
        return;
    };
    let Some(value) = names
        .iter()
        .find_map(|name| Some((name, sent.headers.get(name)?)))
    else {
        return;
    };
    let right = outcome(&verifier, &sent).unwrap().secret;
    // Worldpay's key id and the name of its hash stand before the signature, and any key id passes.
    let text = value.1.to_str().unwrap();
    let before = if scheme.grammar.pair == Some('/') {
        text.rfind('/').unwrap() + 1
    } else {
        0
    };
    // What a provider writes around it is not looked at.
    let sent_as = profile.descriptor().sent.clone().unwrap_or_default();
    let around = sent_as.signature.as_deref().unwrap_or("$SIGNATURE");
    let before = before + around.find('$').unwrap();
    let behind = around.rsplit("$SIGNATURE").next().unwrap().len();
    for at in before..text.len() - behind {
        let mut bytes = text.as_bytes().to_vec();
        let old = bytes[at];
        bytes[at] = if old == b'0' { b'1' } else { b'0' };
        if old.eq_ignore_ascii_case(&bytes[at]) {
            continue;
        }
        let mut headers = sent.headers.clone();
        headers.insert(
            value.0.clone(),
            http::HeaderValue::from_bytes(&bytes).unwrap(),
        );
        let changed = Sent {
            headers,
            body: sent.body.clone(),
            path_and_query: sent.path_and_query.clone(),
        };
        assert!(
            outcome(&verifier, &changed).is_err(),
            "{name}: byte {at} of the signature may change"
        );
    }
    assert!(right.is_some());
}

#[test]
fn every_built_in_profile_verifies_what_it_signs_and_nothing_else() {
    for profile in builtin().iter() {
        let shown = shown(profile);
        if profile.scheme.is_some() && !shown.is_empty() {
            check(profile, &shown, &shown);
        }
    }
}

fn own(name: &str, text: &str) -> Arc<Profile> {
    let profile = Profile::compile(name, &toml::from_str(text).unwrap());
    Arc::new(profile.unwrap_or_else(|faults| panic!("{name}: {faults:#?}")))
}

#[test]
fn every_grammar_of_the_facts_verifies_what_it_signs_and_nothing_else() {
    for (name, text) in [
        (
            "stripe",
            "[signature]\nfrom = { header = \"stripe-signature\" }\nsplit = \",\"\npair = \"=\"\npick = [\"v1\"]\ncontent = \"{timestamp}.{body}\"\n[timestamp]\nfrom = { item = \"t\" }\npast = \"5m\"",
        ),
        (
            "recurly",
            "[signature]\nfrom = { header = \"recurly-signature\" }\nsplit = \",\"\npick = \"+1\"\ncontent = \"{timestamp}.{body}\"\n[timestamp]\nfrom = { item = \"+0\" }\nunit = \"ms\"\npast = \"5m\"",
        ),
        (
            "worldpay",
            "[signature]\nfrom = { header = \"event-signature\" }\nsplit = \",\"\npair = \"/\"\npick = [\"{key_id}/SHA256\"]\nkey = \"hex\"\ncontent = \"{body}\"",
        ),
        (
            "iatapay",
            "[signature]\nfrom = { header = \"authorization\" }\npair = \" \"\npick = [\"IATAPAY-HMAC-SHA256\"]\nencoding = \"base64\"\ncontent = \"{body}\"",
        ),
        (
            "payu",
            "weak = \"a digest\"\n[signature]\nfrom = { header = \"openpayu-signature\" }\nsplit = \";\"\npair = \"=\"\npick = [\"signature\"]\nmac = \"hash\"\nalgorithm = { item = \"algorithm\", allow = [\"md5\", \"sha256\"] }\ncontent = \"{body}{secret}\"",
        ),
        (
            "nmi",
            "[signature]\nfrom = { header = \"webhook-signature\" }\nsplit = \",\"\npair = \"=\"\npick = [\"s\"]\ncontent = \"{item:t}.{body}\"",
        ),
        (
            "rapyd",
            "[signature]\nfrom = { header = \"signature\" }\nencoding = \"base64-of-hex\"\ncontent = \"{url}{header:salt}{header:timestamp}{config:access_key}{secret}{body}\"",
        ),
        (
            "hubspot",
            "[signature]\nfrom = { header = \"x-hubspot-signature-v3\" }\nencoding = \"base64\"\ncontent = \"{method}{url}{body}{timestamp}\"\n[timestamp]\nfrom = { header = \"x-ts\" }\nunit = \"ms\"\npast = \"5m\"",
        ),
        (
            "volt",
            "[signature]\nfrom = { header = \"x-volt-signed\" }\ncontent = \"{body}|{header:x-volt-timed}|{header:user-agent|after:/}\"",
        ),
        (
            "vipps",
            "[signature]\nfrom = { header = \"authorization\" }\nsplit = \"&\"\npair = \"=\"\npick = [\"Signature\"]\nencoding = \"base64\"\ncontent = \"{method}\\n{path_and_query}\\n{timestamp};{header:host};{sha256_base64:body}\"\n[timestamp]\nfrom = { header = \"x-ms-date\" }\nunit = \"http-date\"\npast = \"5m\"",
        ),
        (
            "mercado_pago",
            "signed = \"reference\"\n[signature]\nfrom = { header = \"x-signature\" }\nsplit = \",\"\npair = \"=\"\npick = [\"v1\"]\ncontent = \"[id:{query:data.id};][request-id:{header:x-request-id};]ts:{timestamp};\"\n[timestamp]\nfrom = { item = \"ts\" }",
        ),
        (
            "braintree",
            "weak = \"SHA-1\"\n[signature]\nfrom = { form = \"bt_signature\" }\nsplit = \"&\"\npair = \"|\"\npick = [\"{key_id}\"]\nalgorithm = \"sha1\"\nkey = \"sha1\"\ncontent = [\"{form:bt_payload}\", \"{form:bt_payload}\\n\"]\n[event]\nformat = \"form-xml\"\nfield = \"bt_payload\"",
        ),
        (
            "adyen",
            "signed = \"fields\"\n[signature]\nfrom = { json = \"/additionalData/hmacSignature\" }\nencoding = \"base64\"\nkey = \"hex\"\neach = \"/notificationItems/*/NotificationRequestItem\"\ncontent = \"{json:/pspReference}:{json:/originalReference}:{json:/amount/value}:{json:/amount/currency}:{json:/eventCode}:{json:/success}\"",
        ),
        (
            "noon",
            "signed = \"fields\"\n[signature]\nfrom = { json = \"/signature\" }\nalgorithm = \"sha512\"\nencoding = \"base64\"\ncontent = \"{json:/id},{json:/eventCode}\"",
        ),
        (
            "moneyhash",
            "[signature]\nfrom = { header = \"moneyhash-signature\" }\nsplit = \",\"\npair = \"=\"\npick = [\"v3\"]\ncontent = \"{base64:body}{timestamp}\"\n[timestamp]\nfrom = { item = \"t\" }",
        ),
        (
            "box",
            "[signature]\nfrom = { header = [\"box-signature-primary\", \"box-signature-secondary\"] }\nall = true\nencoding = \"base64\"\ncontent = \"{body}{timestamp}\"\n[timestamp]\nfrom = { header = \"box-delivery-timestamp\" }\nunit = \"rfc3339\"\npast = \"10m\"",
        ),
    ] {
        let profile = own(name, text);
        let shown = shown(&profile);
        check(&profile, &shown, &shown);
    }
}

fn asymmetric(algorithm: &str) -> Arc<Profile> {
    own(
        algorithm,
        &format!(
            "[signature]\nfrom = {{ header = \"x-signature\" }}\nencoding = \"base64\"\nalgorithm = \"{algorithm}\"\ncontent = \"{{body}}\""
        ),
    )
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = Encoding::Base64.encode(der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

#[test]
fn asymmetric_signatures_are_verified_with_the_pinned_public_key() {
    use aws_lc_rs::encoding::AsDer;
    let spki =
        |public: aws_lc_rs::encoding::PublicKeyX509Der<'_>| pem("PUBLIC KEY", public.as_ref());
    for (algorithm, curve) in [
        ("ecdsa-p256-sha256", &ECDSA_P256_SHA256_ASN1_SIGNING),
        ("ecdsa-p384-sha384", &ECDSA_P384_SHA384_ASN1_SIGNING),
    ] {
        let pair = EcdsaKeyPair::generate(curve).unwrap();
        let private = pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref());
        check(
            &asymmetric(algorithm),
            &private,
            &spki(pair.public_key().as_der().unwrap()),
        );
    }
    let pair = Ed25519KeyPair::generate().unwrap();
    let private = pem("PRIVATE KEY", pair.to_pkcs8().unwrap().as_ref());
    check(
        &asymmetric("ed25519"),
        &private,
        &spki(pair.public_key().as_der().unwrap()),
    );
    check(
        &asymmetric("ed25519"),
        &private,
        &Encoding::Base64.encode(pair.public_key().as_ref()),
    );
    let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let private = pem(
        "PRIVATE KEY",
        AsDer::<aws_lc_rs::encoding::Pkcs8V1Der>::as_der(&pair)
            .unwrap()
            .as_ref(),
    );
    let public = spki(pair.public_key().as_der().unwrap());
    check(&asymmetric("rsa-pkcs1-sha256"), &private, &public);
    check(&asymmetric("rsa-pss-sha256"), &private, &public);
}

#[test]
fn a_public_key_of_another_kind_is_no_key_and_signs_nothing() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let shown = Encoding::Base64.encode(pair.public_key().as_ref());
    let secret = ProducerSecret {
        label: "file:k".into(),
        secret: Secret::new(shown.into()),
        force: Force::Live,
    };
    for algorithm in ["rsa-pkcs1-sha256", "ecdsa-p256-sha256"] {
        let faults = Verifier::new(
            asymmetric(algorithm),
            vec![secret.clone()],
            Settings::default(),
        )
        .unwrap_err();
        assert_eq!(faults[0].key, "secrets[0]");
    }
}

#[test]
fn one_bad_item_never_hides_a_good_one_nor_lets_a_bad_one_pass() {
    let profile = own(
        "adyen",
        "signed = \"fields\"\n[signature]\nfrom = { json = \"/s\" }\nencoding = \"base64\"\neach = \"/l/*\"\ncontent = \"{json:/id}\"\n[event]\nid = \"/id\"",
    );
    let verifier = verifier(&profile, "a secret that is long enough");
    let headers = HeaderMap::new();
    let request = Request {
        method: &Method::POST,
        path_and_query: "/",
        headers: &headers,
    };
    let to_sign = SignRequest {
        request,
        id: "x",
        now: now(),
    };
    let secret = Secret::new(b"a secret that is long enough".to_vec());
    let all = json!({"l": [{"id": "a"}, {"id": "b"}, {"id": "c"}]})
        .to_string()
        .into();
    let sent = sign(&profile, &secret, &Settings::default(), &to_sign, all).unwrap();
    let text = String::from_utf8(sent.body.to_vec()).unwrap();
    let proof = verifier
        .prove(&request, text.replace("\"b\"", "\"x\"").into(), now())
        .unwrap();
    let verified = proof
        .items
        .iter()
        .map(|item| matches!(item.verdict, ItemVerdict::Verified(_)));
    assert_eq!(verified.collect::<Vec<_>>(), [true, false, true]);
    let twice = text.replace("\"id\":\"b\"", "\"id\":\"b\",\"id\":\"b\"");
    assert_eq!(
        verifier
            .prove(&request, twice.into(), now())
            .unwrap()
            .items
            .len(),
        3
    );
    let none = text
        .replace("\"a\"", "\"x\"")
        .replace("\"b\"", "\"x\"")
        .replace("\"c\"", "\"x\"");
    assert_eq!(
        verifier
            .prove(&request, none.into(), now())
            .unwrap_err()
            .name(),
        "signature-mismatch"
    );
    assert_eq!(
        verifier
            .prove(&request, "{\"l\":[]}".into(), now())
            .unwrap_err()
            .name(),
        "signature-missing"
    );
}

proptest::proptest! {
    #[test]
    fn no_delivery_makes_any_built_in_profile_panic_or_pass(
        which in 0..200_usize,
        text in "[a-z0-9=,;|/ +v.\u{e9}]{0,60}",
        body in "[\\[\\]{}\":,a-z0-9/&=%]{0,60}",
    ) {
        let profiles: Vec<_> = builtin().iter().collect();
        let profile = profiles[which % profiles.len()];
        let shown = shown(profile);
        if profile.scheme.is_none() || shown.is_empty() {
            return Ok(());
        }
        let mut headers = HeaderMap::new();
        let scheme = profile.scheme.as_ref().unwrap();
        let places = [Some(&scheme.place), scheme.id.as_ref(), profile.timestamp.as_ref().map(|rule| &rule.place)];
        for place in places.into_iter().flatten() {
            if let (places::Place::Header(names), Ok(value)) = (place, http::HeaderValue::from_str(&text)) {
                headers.insert(names[0].clone(), value);
            }
        }
        let path_and_query = format!("/?{body}");
        let request = Request { method: &Method::POST, path_and_query: &path_and_query, headers: &headers };
        let verifier = verifier(profile, &shown);
        proptest::prop_assert!(verifier.prove(&request, body.clone().into(), now()).is_err());
        let _ = verifier.answer_challenge(&Request { method: &Method::GET, ..request });
        let _ = explain(&verifier, &request, &body.into(), now());
    }
}

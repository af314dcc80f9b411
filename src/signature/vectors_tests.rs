//! What gate 3 lets through and what it refuses: published vectors, and every way in which a delivery goes wrong.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use proptest::prelude::*;

use super::delivery::Proof;
use super::*;
use crate::identity::Force;
use crate::secret::Secret;

fn secret(text: &str) -> ProducerSecret {
    ProducerSecret {
        label: format!("env:{text}").into(),
        secret: Secret::new(text.into()),
        force: Force::Live,
    }
}

fn verifier(profile: &str, secrets: &[&str]) -> Verifier {
    let profile = Arc::clone(builtin().get(profile).unwrap());
    Verifier::new(
        profile,
        secrets.iter().map(|text| secret(text)).collect(),
        Settings::default(),
    )
    .unwrap()
}

fn own(text: &str) -> Arc<Profile> {
    Arc::new(
        Profile::compile("own", &toml::from_str(text).unwrap())
            .unwrap_or_else(|faults| panic!("{faults:#?}")),
    )
}

fn prove(
    verifier: &Verifier,
    headers: &[(&str, &str)],
    body: &str,
    now: i64,
) -> Result<Proof, SignatureRefusal> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    let request = Request {
        method: &Method::POST,
        path_and_query: "/hooks?a=b",
        headers: &map,
    };
    verifier.prove(
        &request,
        Bytes::copy_from_slice(body.as_bytes()),
        Timestamp::from_second(now).unwrap(),
    )
}

fn refused(verifier: &Verifier, headers: &[(&str, &str)], body: &str, now: i64) -> &'static str {
    prove(verifier, headers, body, now)
        .map(|_| "verified")
        .unwrap_or_else(|refusal| refusal.name())
}

mod standard_webhooks {
    use super::*;

    // standard-webhooks/libraries: javascript/src/webhook.test.ts and go/webhook_asymmetric_test.go.
    const NOW: i64 = 1_614_265_330;
    const ID: (&str, &str) = ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek");
    const TIME: (&str, &str) = ("webhook-timestamp", "1614265330");
    const BODY: &str = r#"{"test": 2432232314}"#;
    const V1: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const V1A: &str = "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag==";
    const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OTHER: &str = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc=";

    fn with(signature: &str) -> [(&str, &str); 3] {
        [ID, TIME, ("webhook-signature", signature)]
    }

    #[test]
    fn the_published_vector_holds_with_and_without_the_prefix() {
        for secret in [SECRET, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            let proof = prove(
                &verifier("standard-webhooks", &[secret]),
                &with(V1),
                BODY,
                NOW,
            )
            .unwrap();
            assert_eq!(proof.id.as_deref(), Some(ID.1));
            assert_eq!(proof.signed_at, Timestamp::from_second(NOW).ok());
            let ItemVerdict::Verified(Ok(facts)) = &proof.items[0].verdict else {
                panic!("{:?}", proof.items)
            };
            assert_eq!(facts.event_id.as_deref(), Some(ID.1));
        }
    }

    #[test]
    fn the_published_asymmetric_vector_holds_by_the_public_key_alone() {
        // The seed of the Go test, as that library derives its public key from it.
        let seed = b"TESTSIGNINGKEYDONOTUSETHISFORANY";
        let pair = aws_lc_rs::signature::Ed25519KeyPair::from_seed_unchecked(seed).unwrap();
        let public = aws_lc_rs::signature::KeyPair::public_key(&pair);
        let shown = format!("whpk_{}", Encoding::Base64.encode(public.as_ref()));
        let both = verifier("standard-webhooks", &[&shown, SECRET]);
        assert_eq!(
            prove(&both, &with(V1A), BODY, NOW)
                .unwrap()
                .secret
                .unwrap()
                .as_ref(),
            format!("env:{shown}")
        );
        assert_eq!(
            prove(&both, &with(V1), BODY, NOW)
                .unwrap()
                .secret
                .unwrap()
                .as_ref(),
            format!("env:{SECRET}")
        );
        let symmetric = verifier("standard-webhooks", &[SECRET]);
        assert_eq!(
            refused(&symmetric, &with(V1A), BODY, NOW),
            "signature-mismatch"
        );
        assert_eq!(refused(&both, &with(V1A), "{}", NOW), "signature-mismatch");
    }

    #[test]
    fn one_right_signature_among_others_is_enough() {
        let check = verifier("standard-webhooks", &[SECRET]);
        let list =
            format!("{OTHER} v2,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v1,!! {V1} {OTHER}");
        assert_eq!(refused(&check, &with(&list), BODY, NOW), "verified");
        assert_eq!(
            refused(&check, &with(OTHER), BODY, NOW),
            "signature-mismatch"
        );
    }

    #[test]
    fn what_is_missing_or_cannot_be_read_is_told_apart() {
        let check = verifier("standard-webhooks", &[SECRET]);
        let sig = ("webhook-signature", V1);
        assert_eq!(
            refused(&check, &[TIME, sig], BODY, NOW),
            "signature-missing"
        );
        assert_eq!(refused(&check, &[ID, sig], BODY, NOW), "signature-missing");
        assert_eq!(refused(&check, &[ID, TIME], BODY, NOW), "signature-missing");
        assert_eq!(refused(&check, &with(""), BODY, NOW), "signature-missing");
        for unreadable in [
            "v1,",
            "v1,dawfeoifkpqwoekfpqoekf",
            &V1[..8],
            "v2,x",
            "nonsense",
            "v1 abc",
        ] {
            assert_eq!(
                refused(&check, &with(unreadable), BODY, NOW),
                "signature-malformed",
                "{unreadable}"
            );
        }
        let hello = ("webhook-timestamp", "hello");
        assert_eq!(
            refused(&check, &[ID, hello, sig], BODY, NOW),
            "signature-malformed"
        );
        assert_eq!(
            refused(&check, &[ID, ID, TIME, sig], BODY, NOW),
            "signature-malformed"
        );
    }

    #[test]
    fn five_minutes_either_way_are_tolerated() {
        let check = verifier("standard-webhooks", &[SECRET]);
        for (off, expected) in [
            (-301, "timestamp-outside-tolerance"),
            (-300, "verified"),
            (300, "verified"),
            (301, "timestamp-outside-tolerance"),
        ] {
            assert_eq!(
                refused(&check, &with(V1), BODY, NOW + off),
                expected,
                "{off}"
            );
        }
    }
}

mod timestamped {
    use super::*;

    const NOW: i64 = 1_790_000_000;
    const TIME: (&str, &str) = ("x-webhook-timestamp", "1790000000");
    const BODY: &str = r#"{"event":"payment.succeeded"}"#;

    pub(super) fn signature(secret: &str, content: &str) -> String {
        use hmac::{KeyInit, Mac};
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(content.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }

    fn right() -> String {
        signature("a secret of the sender", &format!("{}.{BODY}", TIME.1))
    }

    fn check(signatures: &[&str], expected: &str) {
        let mut headers = vec![TIME];
        headers.extend(signatures.iter().map(|text| ("x-webhook-signature", *text)));
        let verifier = verifier("timestamped", &["another secret", "a secret of the sender"]);
        assert_eq!(
            refused(&verifier, &headers, BODY, NOW),
            expected,
            "{signatures:?}"
        );
    }

    #[test]
    fn the_signature_is_hexadecimal_in_either_case_with_or_without_its_prefix() {
        let right = right();
        check(&[&right], "verified");
        check(&[&right.to_uppercase()], "verified");
        check(&[&format!("sha256={right}")], "verified");
        check(&[&format!("sha512={right}")], "signature-malformed");
        check(&[&right[2..]], "signature-malformed");
        check(&[&format!("{right}00")], "signature-malformed");
    }

    #[test]
    fn each_of_a_list_and_of_repeated_headers_is_tried() {
        let (right, wrong) = (right(), "00".repeat(32));
        check(&[&wrong, &right], "verified");
        check(&[&format!("{wrong}, sha256={right}")], "verified");
        check(&[&format!("not hex,,{right}")], "verified");
        check(&[&wrong, &wrong], "signature-mismatch");
        let flood = vec![wrong.as_str(); 40];
        check(&flood, "signature-malformed");
    }

    #[test]
    fn a_repeated_timestamp_is_malformed_even_if_both_are_the_same() {
        let verifier = verifier("timestamped", &["a secret of the sender"]);
        let headers = [TIME, TIME, ("x-webhook-signature", &*right())];
        assert_eq!(
            refused(&verifier, &headers, BODY, NOW),
            "signature-malformed"
        );
    }

    #[test]
    fn a_stale_delivery_is_stale_whether_or_not_it_is_well_signed() {
        let verifier = verifier("timestamped", &["a secret of the sender"]);
        for text in [right(), "00".repeat(32)] {
            let headers = [TIME, ("x-webhook-signature", text.as_str())];
            assert_eq!(
                refused(&verifier, &headers, BODY, NOW + 301),
                "timestamp-outside-tolerance"
            );
            assert_eq!(
                refused(&verifier, &headers, BODY, NOW - 301),
                "timestamp-outside-tolerance"
            );
        }
    }

    #[test]
    fn the_operators_tolerance_replaces_the_profiles_both_ways() {
        let profile = Arc::clone(builtin().get("timestamped").unwrap());
        let settings = Settings {
            tolerance: Some(jiff::SignedDuration::from_secs(10)),
            ..Settings::default()
        };
        let verifier =
            Verifier::new(profile, vec![secret("a secret of the sender")], settings).unwrap();
        let headers = [TIME, ("x-webhook-signature", &*right())];
        assert_eq!(refused(&verifier, &headers, BODY, NOW + 10), "verified");
        assert_eq!(
            refused(&verifier, &headers, BODY, NOW + 11),
            "timestamp-outside-tolerance"
        );
        assert_eq!(
            refused(&verifier, &headers, BODY, NOW - 11),
            "timestamp-outside-tolerance"
        );
    }

    #[test]
    fn a_secret_that_only_watches_decides_nothing_and_is_told() {
        let shadow = ProducerSecret {
            force: Force::Shadow,
            ..secret("a secret of the sender")
        };
        let profile = Arc::clone(builtin().get("timestamped").unwrap());
        let secrets = vec![secret("another secret"), shadow];
        let verifier = Verifier::new(profile, secrets, Settings::default()).unwrap();
        let headers = [TIME, ("x-webhook-signature", &*right())];
        let refusal = prove(&verifier, &headers, BODY, NOW).unwrap_err();
        assert_eq!(
            refusal,
            SignatureRefusal::Mismatch {
                shadow: Some("env:a secret of the sender".into())
            }
        );
    }

    #[test]
    fn a_body_that_is_no_object_is_verified_and_unreadable() {
        let verifier = verifier("timestamped", &["k"]);
        let text = signature("k", "1790000000.not json");
        let proof = prove(
            &verifier,
            &[TIME, ("x-webhook-signature", &text)],
            "not json",
            NOW,
        )
        .unwrap();
        assert!(matches!(
            proof.items[0].verdict,
            ItemVerdict::Verified(Err(_))
        ));
    }

    #[test]
    fn a_bound_account_must_be_named_by_the_body() {
        let profile = Arc::clone(builtin().get("timestamped").unwrap());
        let account = AccountBinding {
            pointer: "/data/account".into(),
            equals: "acct_1".into(),
        };
        let settings = Settings {
            account: Some(account),
            ..Settings::default()
        };
        let verifier = Verifier::new(profile, vec![secret("k")], settings).unwrap();
        for (body, expected) in [
            (r#"{"data":{"account":"acct_1"}}"#, "verified"),
            (r#"{"data":{"account":"acct_2"}}"#, "account-mismatch"),
            (r#"{"data":{}}"#, "account-mismatch"),
            (
                r#"{"data":{"account":"acct_2","account":"acct_1"}}"#,
                "account-mismatch",
            ),
            ("not json", "account-mismatch"),
        ] {
            let text = signature("k", &format!("1790000000.{body}"));
            assert_eq!(
                refused(
                    &verifier,
                    &[TIME, ("x-webhook-signature", &text)],
                    body,
                    NOW
                ),
                expected,
                "{body}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_other_body_time_or_signature_is_let_through(at in 0..200_usize, flip in 1..128_u8) {
            let right = right();
            let mut parts = [BODY.as_bytes().to_vec(), TIME.1.as_bytes().to_vec(), right.into_bytes()];
            let which = at % 3;
            let place = at % parts[which].len();
            parts[which][place] ^= flip;
            let [body, time, text] = parts;
            // Another case of a hexadecimal digit is the same digit.
            prop_assume!(!(which == 2 && text.eq_ignore_ascii_case(super::timestamped::right().as_bytes())));
            let (Ok(time), Ok(text)) = (HeaderValue::from_bytes(&time), HeaderValue::from_bytes(&text)) else {
                return Ok(());
            };
            let mut headers = HeaderMap::new();
            headers.insert("x-webhook-timestamp", time);
            headers.insert("x-webhook-signature", text);
            let request = Request { method: &Method::POST, path_and_query: "/", headers: &headers };
            let verifier = verifier("timestamped", &["a secret of the sender"]);
            let now = Timestamp::from_second(NOW).unwrap();
            prop_assert!(verifier.prove(&request, body.into(), now).is_err());
        }

        #[test]
        fn no_header_and_no_body_makes_it_panic(signature: Vec<u8>, time: Vec<u8>, body: Vec<u8>) {
            let mut headers = HeaderMap::new();
            for (name, bytes) in [("x-webhook-signature", signature), ("x-webhook-timestamp", time)] {
                if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                    headers.insert(name, value);
                }
            }
            let request = Request { method: &Method::POST, path_and_query: "?", headers: &headers };
            let now = Timestamp::from_second(NOW).unwrap();
            let verifier = verifier("timestamped", &["k"]);
            prop_assert!(verifier.prove(&request, body.into(), now).is_err());
        }
    }
}

fn bound(profile: &str, secret_text: &str, pointer: &str, equals: &str) -> Verifier {
    let settings = Settings {
        account: Some(AccountBinding {
            pointer: pointer.into(),
            equals: equals.into(),
        }),
        ..Settings::default()
    };
    let profile = Arc::clone(builtin().get(profile).unwrap());
    let secrets = profile.descriptor().signature.iter();
    let secrets = secrets.map(|_| secret(secret_text)).collect();
    Verifier::new(profile, secrets, settings).unwrap()
}

#[test]
fn a_challenge_needs_no_account_and_is_no_event() {
    let pix = bound("pix", "", "/chave", "my@key");
    let asked = prove(&pix, &[], r#"{"evento":"teste_webhook"}"#, 0).unwrap();
    assert_eq!(asked.challenge.unwrap().body, "200");
    assert!(asked.items.is_empty());
    for other in [
        r#"{"evento":"x"}"#,
        r#"{"pix":[{"chave":"other@key"}],"x":1}"#,
    ] {
        assert_eq!(refused(&pix, &[], other, 0), "account-mismatch", "{other}");
    }
    // Where it is signed, only then.
    let slack = bound("slack", "a secret of the app", "/team_id", "T1");
    let body = r#"{"type":"url_verification","challenge":"abc"}"#;
    let content = format!("v0:1790000000:{body}");
    let signature = format!(
        "v0={}",
        timestamped::signature("a secret of the app", &content)
    );
    let time = ("x-slack-request-timestamp", "1790000000");
    let headers = [time, ("x-slack-signature", signature.as_str())];
    let proof = prove(&slack, &headers, body, 1_790_000_000).unwrap();
    assert_eq!(proof.challenge.unwrap().body, "abc");
    let headers = [time, ("x-slack-signature", &*signature.replace('a', "b"))];
    assert_eq!(
        refused(&slack, &headers, body, 1_790_000_000),
        "signature-mismatch"
    );
}

#[test]
fn an_item_of_another_account_is_refused_alone() {
    const KEY: &str = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056";
    // adyen-ruby-api-library, hmac_validator_spec.rb.
    let good = r#"{"NotificationRequestItem":{"additionalData":{"hmacSignature":"coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="},"amount":{"value":1130,"currency":"EUR"},"pspReference":"7914073381342284","eventCode":"AUTHORISATION","merchantAccountCode":"TestMerchant","merchantReference":"TestPayment-1407325143704","success":"true"}}"#;
    let forged = good.replace("1130", "9999");
    let unsigned = good.replace("hmacSignature", "x");
    let told = |account: &str, items: &[&str]| {
        let verifier = bound("adyen-classic", KEY, "/merchantAccountCode", account);
        let body = format!(
            r#"{{"live":"false","notificationItems":[{}]}}"#,
            items.join(",")
        );
        prove(&verifier, &[], &body, 0).map(|proof| {
            let refusals = proof
                .items
                .iter()
                .map(|item| item.refusal().map(SignatureRefusal::name));
            refusals.collect::<Vec<_>>()
        })
    };
    let mismatch = Some("signature-mismatch");
    let missing = Some("signature-missing");
    assert_eq!(
        told("TestMerchant", &[&forged, good, &unsigned, good]),
        Ok(vec![mismatch, None, missing, None])
    );
    assert_eq!(
        told("Another", &[good]),
        Err(SignatureRefusal::AccountMismatch)
    );
    // The first item decides what a delivery is refused for in which none holds.
    assert_eq!(
        told("Another", &[&forged, good]).unwrap_err().name(),
        "signature-mismatch"
    );
}

#[test]
fn a_list_without_events_and_a_batch_are_items_of_their_body() {
    let profile = own(
        "[signature]\nfrom = { header = \"s\" }\ncontent = \"{body}\"\n[event]\neach = \"/*\"\nid = \"/id\"",
    );
    let verifier = Verifier::new(profile, vec![secret("k")], Settings::default()).unwrap();
    for (body, count) in [
        (r#"[{"id":"a"},{"id":"b"}]"#, 2),
        ("[]", 1),
        ("{}", 1),
        ("x", 1),
    ] {
        let key = key::Key::prepare(
            &Secret::new(b"k".to_vec()),
            KeyForm::Utf8,
            None,
            MacKind::Hmac,
            Algorithm::Sha256,
        );
        let key = key.unwrap();
        let mut run = key.start();
        run.update(body.as_bytes());
        let text = hex::encode(run.finish().bytes().unwrap());
        assert_eq!(
            prove(&verifier, &[("s", &text)], body, 0)
                .unwrap()
                .items
                .len(),
            count,
            "{body}"
        );
    }
}

#[test]
fn faults_of_a_producer_name_their_key() {
    let text = "[signature]\nfrom = { header = \"s\" }\nkey = \"hex\"\ncontent = \"{url}{config:a}{body}\"";
    let found = Verifier::new(own(text), vec![secret("xyz")], Settings::default()).unwrap_err();
    let keys: Vec<_> = found.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["secrets[0]", "url", "values.a"]);
    assert!(
        found
            .iter()
            .all(|fault| fault.what.contains("hexadecimal") || fault.what.contains("missing"))
    );
    let none = Verifier::new(
        own("signed = \"connection\""),
        vec![secret("k")],
        Settings::default(),
    );
    assert_eq!(none.unwrap_err()[0].key, "secrets");
}

/// Vectors that providers publish, by the grammar that each has.
mod published {
    use super::*;

    fn check(profile: &str, secret_text: &str, headers: &[(&str, &str)], body: &str, now: i64) {
        let verifier =
            Verifier::new(own(profile), vec![secret(secret_text)], Settings::default()).unwrap();
        assert_eq!(
            refused(&verifier, headers, body, now),
            "verified",
            "{profile}"
        );
    }

    #[test]
    fn adyens_item_holds_and_each_signed_field_of_it_counts() {
        // Adyen/adyen-node-api-library, src/__tests__/hmacValidator.spec.ts; the same in its Java, Go and .NET ones.
        let profile = "signed = \"fields\"\n[signature]\nfrom = { json = \"/additionalData/hmacSignature\" }\n\
            encoding = \"base64\"\nkey = \"hex\"\neach = \"/notificationItems/*/NotificationRequestItem\"\n\
            content = \"{json:/pspReference}:{json:/originalReference}:{json:/merchantAccountCode}:\
            {json:/merchantReference}:{json:/amount/value}:{json:/amount/currency}:{json:/eventCode}:{json:/success}\"";
        let key = "DFB1EB5485895CFA84146406857104ABB4CBCABDC8AAF103A624C8F6A3EAAB00";
        let body = r#"{"live":"false","notificationItems":[{"NotificationRequestItem":{"pspReference":"pspReference",
            "originalReference":"originalReference","merchantAccountCode":"merchantAccount",
            "merchantReference":"reference","amount":{"currency":"EUR","value":1000},"eventCode":"EVENT",
            "success":"true","additionalData":{"hmacSignature":"ipnxGCaUZ4l8TUW75a71/ghd2Fe5ffvX0pV4TLTntIc="}}}]}"#;
        check(profile, key, &[], body, 0);
        check(
            profile,
            key,
            &[],
            &body.replace("\"success\":\"true\"", "\"success\":true"),
            0,
        );
        let verifier = Verifier::new(own(profile), vec![secret(key)], Settings::default()).unwrap();
        for (from, to) in [
            ("1000", "1001"),
            ("\"EUR\"", "\"USD\""),
            ("\"EVENT\"", "\"X\""),
            ("\"true\"", "\"false\""),
        ] {
            assert_eq!(
                refused(&verifier, &[], &body.replace(from, to), 0),
                "signature-mismatch",
                "{from}"
            );
        }
    }
}

//! What one proof covers cannot be cut up into other values, nor wrapped into another body, and ends with the account that is bound.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, Method};
use jiff::Timestamp;
use sha2::Sha256;

use super::sign::{SignRequest, sign};
use super::{
    AccountBinding, Facts, ItemVerdict, ProducerSecret, Request, Settings, SignatureRefusal,
    Verifier, builtin,
};
use crate::identity::Force;
use crate::secret::Secret;

const SECRET: &str = "00112233445566778899aabbccddeeff";
/// In Unix seconds.
const NOW: i64 = 1_790_000_000;

/// A provider that signed one delivery.
struct Delivery {
    verifier: Verifier,
    headers: HeaderMap,
    path_and_query: String,
    body: String,
}

impl Delivery {
    #[track_caller]
    fn signed(profile: &str, path_and_query: &str, body: &str) -> Self {
        let profile = builtin().get(profile).unwrap();
        let settings = || Settings {
            values: BTreeMap::from([("key_id".to_owned(), "pub".to_owned())]),
            ..Settings::default()
        };
        let secret = Secret::new(SECRET.as_bytes().to_vec());
        let deciding = ProducerSecret {
            label: "file:secret".into(),
            secret: secret.clone(),
            force: Force::Live,
        };
        let verifier = Verifier::new(Arc::clone(profile), vec![deciding], settings()).unwrap();
        let headers = HeaderMap::new();
        let to_sign = SignRequest {
            request: Request {
                method: &Method::POST,
                path_and_query,
                headers: &headers,
            },
            id: "req-1",
            now: Timestamp::from_second(NOW).unwrap(),
        };
        let body = Bytes::from(body.to_owned());
        let signed = sign(profile, &secret, &settings(), &to_sign, body).unwrap();
        let delivery = Self {
            verifier,
            headers: signed.headers.into_iter().collect(),
            path_and_query: signed.path_and_query,
            body: String::from_utf8(signed.body.to_vec()).unwrap(),
        };
        delivery.verified();
        delivery
    }

    fn outcome(&self) -> Result<Vec<Facts>, SignatureRefusal> {
        let request = Request {
            method: &Method::POST,
            path_and_query: &self.path_and_query,
            headers: &self.headers,
        };
        let now = Timestamp::from_second(NOW).unwrap();
        let proof = self
            .verifier
            .prove(&request, Bytes::from(self.body.clone()), now)?;
        let facts = |verdict| match verdict {
            ItemVerdict::Verified(told) => Ok(told.unwrap()),
            ItemVerdict::Refused(refusal) => Err(refusal),
        };
        let items = proof.items.into_iter();
        items.map(|item| facts(item.verdict)).collect()
    }

    #[track_caller]
    fn verified(&self) -> Vec<Facts> {
        self.outcome()
            .unwrap_or_else(|refusal| panic!("{refusal:?} {}", self.body))
    }

    /// Puts other texts into the body; the signature stays.
    #[track_caller]
    fn with(mut self, changes: &[(&str, &str)]) -> Self {
        for (from, to) in changes {
            assert!(self.body.contains(from), "{from} {}", self.body);
            self.body = self.body.replacen(from, to, 1);
        }
        self
    }

    #[track_caller]
    fn is_refused(&self) {
        let refusal = self.outcome().unwrap_err();
        assert!(
            matches!(
                refusal,
                SignatureRefusal::Malformed { .. }
                    | SignatureRefusal::Missing { .. }
                    | SignatureRefusal::Mismatch { .. }
            ),
            "{refusal:?}"
        );
    }
}

#[test]
fn zens_fields_keep_their_borders() {
    let zen = || {
        let body = r#"{"merchantTransactionId":"pay","currency":"EUR","amount":"10.00","status":"ACCEPTED","hash":""}"#;
        Delivery::signed("zen", "/", body)
    };
    for changes in [
        &[("\"pay\"", "\"payEUR\""), ("\"EUR\"", "\"\"")][..],
        &[
            ("\"pay\"", "\"payE\""),
            ("\"EUR\"", "\"UR1\""),
            ("10.00", "0.00"),
        ],
        &[
            ("\"pay\"", "\"payEUR10.00\""),
            (r#""currency":"EUR","#, ""),
            (r#""amount":"10.00","#, ""),
        ],
        &[("10.00", "10.0"), ("ACCEPTED", "0ACCEPTED")],
        &[("\"10.00\"", "\"\""), ("ACCEPTED", "10.00ACCEPTED")],
    ] {
        zen().with(changes).is_refused();
    }
}

#[test]
fn nuveis_fields_keep_their_borders() {
    let nuvei = || {
        let body = "totalAmount=10.00&currency=USD&responseTimeStamp=2026-09-21.14:13:20&PPP_TransactionID=123&Status=APPROVED&productId=NA";
        Delivery::signed("nuvei", "/", body)
    };
    for changes in [
        &[(":20&", ":2&"), ("=123", "=0123")][..],
        &[(":20&", ":201&"), ("=123", "=23")],
        &[(":13:20&", ":13&"), ("=123", "=:20123")],
        &[("10.00", "10.0"), ("=USD", "=0USD")],
        &[("=123", "="), (":20&", ":20123&")],
        &[("10.00&currency=USD", "&currency=10.00USD")],
    ] {
        nuvei().with(changes).is_refused();
    }
}

#[test]
fn only_the_reference_of_the_merchant_may_hold_adyens_separator() {
    let adyen = |reference: &str| {
        let body = format!(
            r#"{{"notificationItems":[{{"NotificationRequestItem":{{"additionalData":{{}},"pspReference":"P","originalReference":"","merchantAccountCode":"Acct","merchantReference":"{reference}","amount":{{"value":1130,"currency":"EUR"}},"eventCode":"AUTHORISATION","success":"true"}}}}]}}"#
        );
        Delivery::signed("adyen-classic", "/", &body)
    };
    adyen("order:7").verified();
    let shifted = adyen("order:7").with(&[
        (r#""pspReference":"P""#, r#""pspReference":"P:""#),
        (r#""originalReference":"""#, r#""originalReference":"Acct""#),
        (
            r#":"Acct","merchantReference""#,
            r#":"order","merchantReference""#,
        ),
        ("order:7", "7"),
    ]);
    shifted.is_refused();
}

#[test]
fn noons_and_mercado_pagos_values_hold_no_separator() {
    let body = r#"{"orderId":"1","orderStatus":"CAPTURED","eventId":"2","eventType":"SALE","timeStamp":"3,4","signature":""}"#;
    let noon = Delivery::signed("noon", "/", body);
    noon.with(&[
        (r#""orderId":"1""#, r#""orderId":"1,CAPTURED""#),
        (r#""CAPTURED""#, r#""2""#),
        (r#""SALE""#, r#""3""#),
        (r#""eventId":"2""#, r#""eventId":"SALE""#),
        ("3,4", "4"),
    ])
    .is_refused();
    let mut notified = Delivery::signed("mercado-pago", "/?data.id=111", "{}");
    assert!(notified.headers.remove("x-request-id").is_some());
    notified.path_and_query = "/?data.id=111%3Brequest-id%3Areq-1".to_owned();
    notified.is_refused();
}

#[test]
fn bluesnap_signs_a_date_and_time() {
    let body = "transactionType=CHARGE&referenceNumber=1092751014";
    let mut delivery = Delivery::signed("bluesnap", "/", body);
    let signature = "c04dcd3a7cc5de7851d206e7aeae47381d1a61e08033b815f961dc8bec24d43a";
    for (name, value) in [
        ("bls-ipn-timestamp", "2026-09-21 14:13:20.558"),
        ("bls-signature", signature),
    ] {
        delivery.headers.insert(name, value.parse().unwrap());
    }
    assert_eq!(delivery.verified()[0].event_type.as_deref(), Some("CHARGE"));
}

/// What BlueSnap sends at this time.
fn bluesnap(time: &str, body: &str) -> Delivery {
    let mut delivery = Delivery::signed("bluesnap", "/", "transactionType=CHARGE");
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(time.as_bytes());
    mac.update(body.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    for (name, value) in [("bls-ipn-timestamp", time), ("bls-signature", &*signature)] {
        delivery.headers.insert(name, value.parse().unwrap());
    }
    delivery.body = body.to_owned();
    delivery
}

#[test]
fn bluesnaps_time_may_lack_the_zeros_at_its_end() {
    let body = "productId=1&transactionType=CHARGE&referenceNumber=1092751014";
    for time in [
        "2026-09-21 14:13:20.55",
        "2026-09-21 14:13:20.5",
        "2026-09-21 14:13:20.0",
        "2026-09-21 14:13:20.550",
        "1790000000",
    ] {
        let kind = bluesnap(time, body).verified()[0].event_type.clone();
        assert_eq!(kind.as_deref(), Some("CHARGE"), "{time}");
    }
    for time in [
        "2026-09-21 14:13:20",
        "2026-09-21 14:13:20.",
        "2026-09-21 14:13:20.5558",
    ] {
        bluesnap(time, body).is_refused();
    }
    // Of these digits nobody can say whose they are.
    bluesnap("2026-09-21 14:13:20.5", "55a=1&transactionType=CHARGE").is_refused();
}

#[test]
fn a_digit_of_bluesnaps_time_is_none_of_its_body() {
    let mut delivery = Delivery::signed("bluesnap", "/", "transactionType=CHARGE");
    let time = delivery.headers.remove("bls-ipn-timestamp").unwrap();
    let (cut, last) = time.to_str().unwrap().split_at(time.len() - 1);
    delivery
        .headers
        .insert("bls-ipn-timestamp", cut.parse().unwrap());
    delivery.body.insert_str(0, last);
    delivery.is_refused();
}

#[test]
fn one_signed_document_is_one_event_whatever_form_holds_it() {
    let xml = "<notification><kind>check</kind></notification>";
    let payload = super::Encoding::Base64.encode(xml.as_bytes());
    let braintree = || {
        let body = format!("bt_payload={}%0A", payload.replace('=', "%3D"));
        Delivery::signed("braintree", "/", &body)
    };
    let id = braintree().verified()[0].event_id.clone().unwrap();
    for (from, to) in [
        ("bt_payload=", "x=1&bt_payload="),
        ("%3D", "%3d"),
        ("%0A&bt_signature", "&bt_signature"),
    ] {
        let again = braintree().with(&[(from, to)]).verified();
        assert_eq!(again[0].event_id.as_ref(), Some(&id), "{from} {to}");
    }
}

#[test]
fn an_item_of_another_account_hides_none_of_the_bound_one() {
    let bound = Settings {
        account: Some(AccountBinding {
            pointer: "/chave".into(),
            equals: "own".into(),
        }),
        ..Settings::default()
    };
    let pix = Arc::clone(builtin().get("pix").unwrap());
    let verifier = Verifier::new(pix, Vec::new(), bound).unwrap();
    let outcome = |keys: &[&str]| {
        let item = |key: &&str| format!(r#"{{"endToEndId":"E","chave":"{key}"}}"#);
        let items: Vec<_> = keys.iter().map(item).collect();
        let body = format!(r#"{{"pix":[{}]}}"#, items.join(","));
        let headers = HeaderMap::new();
        let request = Request {
            method: &Method::POST,
            path_and_query: "/",
            headers: &headers,
        };
        let now = Timestamp::from_second(NOW).unwrap();
        let items = verifier.prove(&request, Bytes::from(body), now)?.items;
        let own = |item: &super::Item| item.refusal().is_none();
        Ok(items.iter().map(own).collect::<Vec<_>>())
    };
    assert_eq!(
        outcome(&["own", "other", "own"]),
        Ok(vec![true, false, true])
    );
    assert_eq!(outcome(&["other", "own"]), Ok(vec![false, true]));
    let mismatch = Err(SignatureRefusal::AccountMismatch);
    assert_eq!(outcome(&["other"]), mismatch);
    assert_eq!(outcome(&["other", "another"]), mismatch);
}

//! The providers' own published vectors: each by the profile, the secret and the headers as they stand there.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;

use super::published_more_tests::{ACCESS_KEY, MORE};
use super::*;
use crate::identity::Force;
use crate::secret::Secret;

/// One delivery that its provider, or its provider's library, says is well signed.
pub(super) struct Published {
    pub(super) profile: &'static str,
    /// Where it stands.
    pub(super) source: &'static str,
    pub(super) secrets: &'static [&'static str],
    pub(super) url: Option<&'static str>,
    pub(super) headers: &'static [(&'static str, &'static str)],
    pub(super) body: &'static str,
    pub(super) now: i64,
}

/// For schemes without a time.
pub(super) const ANY: i64 = 1_790_000_000;

const PUBLISHED: &[Published] = &[
    Published {
        profile: "svix",
        source: "docs.svix.com/receiving/verifying-payloads/how-manual",
        secrets: &["whsec_plJ3nmyCDGBKInavdOK15jsl"],
        url: None,
        headers: &[
            ("svix-id", "msg_loFOjxBNrRLzqYUf"),
            ("svix-timestamp", "1731705121"),
            (
                "svix-signature",
                "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
            ),
        ],
        body: r#"{"event_type":"ping","data":{"success":true}}"#,
        now: 1_731_705_121,
    },
    Published {
        profile: "stripe",
        source: "stripe-dotnet EventUtilityTest.cs",
        secrets: &["webhook_secret"],
        url: None,
        headers: &[(
            "stripe-signature",
            "t=1533204620,v1=2220f87ef101a04665f11cdf770523143f875572008577fa0f20882ddb9cc3c7,v0=63f3a72374a733066c4be69ed7f8e5ac85c22c9f0a6a612ab9a025a9e4ee7eef",
        )],
        body: "{\n  \"id\": \"evt_123\",\n  \"object\": \"event\",\n  \"account\": \"acct_123\",\n  \"api_version\": \"2017-05-25\",\n  \"created\": 1533204620,\n  \"data\": {\n    \"object\": {\n      \"id\": \"cus_123\",\n      \"object\": \"customer\",\n      \"created\": 123456789,\n      \"email\": \"test@stripe.com\",\n      \"livemode\": false,\n      \"metadata\": {}\n    }\n  },\n  \"livemode\": false,\n  \"pending_webhooks\": 1,\n  \"request\": {\n    \"id\": \"req_123\",\n    \"idempotency_key\": \"idempotency-key-123\"\n  },\n  \"type\": \"customer.created\"\n}\n",
        now: 1_533_204_720,
    },
    Published {
        profile: "adyen-classic",
        source: "adyen-ruby-api-library hmac_validator_spec.rb",
        secrets: &["44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"],
        url: None,
        headers: &[],
        body: r#"{"live":"false","notificationItems":[{"NotificationRequestItem":{"additionalData":{"hmacSignature":"coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="},"amount":{"value":1130,"currency":"EUR"},"pspReference":"7914073381342284","eventCode":"AUTHORISATION","eventDate":"2019-05-06T17:15:34.121+02:00","merchantAccountCode":"TestMerchant","merchantReference":"TestPayment-1407325143704","paymentMethod":"visa","success":"true"}}]}"#,
        now: ANY,
    },
    Published {
        profile: "square",
        source: "developer.squareup.com/docs/webhooks/step3validate",
        secrets: &["asdf1234"],
        url: Some("https://example.com/webhook"),
        headers: &[(
            "x-square-hmacsha256-signature",
            "2kRE5qRU2tR+tBGlDwMEw2avJ7QM4ikPYD/PJ3bd9Og=",
        )],
        body: r#"{"hello":"world"}"#,
        now: ANY,
    },
    Published {
        profile: "gocardless",
        source: "gocardless-pro-ruby webhook_spec.rb",
        secrets: &["ED7D658C-D8EB-4941-948B-3973214F2D49"],
        url: None,
        headers: &[(
            "webhook-signature",
            "2693754819d3e32d7e8fcb13c729631f316c6de8dc1cf634d6527f1c07276e7e",
        )],
        body: r#"{"events":[{"id":"EV00BD05S5VM2T","created_at":"2018-07-05T09:13:51.404Z","resource_type":"subscriptions","action":"created","links":{"subscription":"SB0003JJQ2MR06"},"details":{"origin":"api","cause":"subscription_created","description":"Subscription created via the API."},"metadata":{}},{"id":"EV00BD05TB8K63","created_at":"2018-07-05T09:13:56.893Z","resource_type":"mandates","action":"created","links":{"mandate":"MD000AMA19XGEC"},"details":{"origin":"api","cause":"mandate_created","description":"Mandate created via the API."},"metadata":{}}]}"#,
        now: ANY,
    },
    Published {
        profile: "paddle",
        source: "paddle-go-sdk webhook_verifier_test.go",
        secrets: &["pdl_ntfset_01hsdn8d43dt7mezr1ef2jtbaw_hKkRiCGyyRhbFwIUuqiTBgI7gnWoV0Gr"],
        url: None,
        headers: &[(
            "paddle-signature",
            "ts=1710929255;h1=6c05ef8fa83c44d751be6d259ec955ce5638e2c54095bf128e408e2fce1589c8",
        )],
        body: r#"{"data":{"id":"pri_01hsdn96k2hxjzsq5yerecdj9j","name":null,"status":"active","quantity":{"maximum":999999,"minimum":1},"tax_mode":"account_setting","product_id":"pro_01hsdn8qp7yydry3x1yeg6a9rv","unit_price":{"amount":"1000","currency_code":"USD"},"custom_data":null,"description":"testing","import_meta":null,"trial_period":null,"billing_cycle":{"interval":"month","frequency":1},"unit_price_overrides":[]},"event_id":"evt_01hsdn97563968dy0szkmgjwh3","event_type":"price.created","occurred_at":"2024-03-20T10:07:35.590857Z","notification_id":"ntf_01hsdn977e920kbgzt6r6c9rqc"}"#,
        now: 1_710_929_258,
    },
    Published {
        profile: "github",
        source: "docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries",
        secrets: &["It's a Secret to Everybody"],
        url: None,
        headers: &[(
            "x-hub-signature-256",
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        )],
        body: "Hello, World!",
        now: ANY,
    },
    Published {
        profile: "slack",
        source: "docs.slack.dev/authentication/verifying-requests-from-slack",
        secrets: &["8f742231b10e8888abcd99yyyzzz85a5"],
        url: None,
        headers: &[
            ("x-slack-request-timestamp", "1531420618"),
            (
                "x-slack-signature",
                "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
            ),
        ],
        body: "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
        now: 1_531_420_618,
    },
    Published {
        profile: "box",
        source: "box-node-sdk webhooks-test.js",
        secrets: &["SampleSecondaryKey"],
        url: None,
        headers: &[
            ("box-delivery-timestamp", "2020-01-01T00:00:00-07:00"),
            (
                "box-signature-primary",
                "6TfeAW3A1PASkgboxxA5yqHNKOwFyMWuEXny/FPD5hI=",
            ),
            (
                "box-signature-secondary",
                "v+1CD1Jdo3muIcbpv5lxxgPglOqMfsNHPV899xWYydo=",
            ),
        ],
        body: r#"{"type":"webhook_event","webhook":{"id":"1234567890"},"trigger":"FILE.UPLOADED","source":{"id":"1234567890","type":"file","name":"Test.txt"}}"#,
        now: 1_577_862_060,
    },
    Published {
        profile: "sanity",
        source: "sanity-io/webhook-toolkit signature.test.ts",
        secrets: &["try-me"],
        url: None,
        headers: &[(
            "sanity-webhook-signature",
            "t=1633518820676,v1=e7C9h2sfbFfc4V7TEz7PSOp4IoNzl0UdVsBV-1wgdeA",
        )],
        body: r#"{"title":"GROQ-Hooks are neat"}"#,
        now: ANY,
    },
    Published {
        profile: "worldline-direct",
        source: "connect-sdk-nodejs webhooks tests",
        secrets: &["hello+world"],
        url: None,
        headers: &[(
            "x-gcs-signature",
            "2S7doBj/GnJnacIjSJzr5fxGM5xmfQyFAwxv1I53ZEk=",
        )],
        body: r#"{
  "apiVersion": "v1",
  "id": "8ee793f6-4553-4749-85dc-f2ef095c5ab0",
  "created": "2017-02-02T11:24:14.040+0100",
  "merchantId": "20000",
  "type": "payment.paid",
  "payment": {
    "id": "00000200000143570012",
    "paymentOutput": {
      "amountOfMoney": {
        "amount": 1000,
        "currencyCode": "EUR"
      },
      "references": {
        "paymentReference": "200001681810"
      },
      "paymentMethod": "bankTransfer",
      "bankTransferPaymentMethodSpecificOutput": {
        "paymentProductId": 11
      }
    },
    "status": "PAID",
    "statusOutput": {
      "isCancellable": false,
      "statusCategory": "COMPLETED",
      "statusCode": 1000,
      "statusCodeChangeDateTime": "20170202112414",
      "isAuthorized": true
    }
  }
}"#,
        now: ANY,
    },
    Published {
        profile: "razorpay",
        source: "razorpay-python test_client_utility.py",
        secrets: &["key_secret"],
        url: None,
        headers: &[(
            "x-razorpay-signature",
            "d60e67fd884556c045e9be7dad57903e33efc7172c17c6e3ef77db42d2b366e9",
        )],
        body: r#"{
  "event": "payment.authorized",
  "entity": "event",
  "contains": [
    "payment"
  ],
  "payload": {
    "payment": {
      "entity": {
        "id": "pay_6koWN7bvxujzxM",
        "entity": "payment",
        "amount": 1000000,
        "currency": "INR",
        "status": "captured",
        "order_id": "order_100000000order",
        "international": false,
        "method": "card",
        "amount_refunded": 0,
        "refund_status": null,
        "captured": true,
        "description": "random description",
        "card_id": "card_6koWNAT6LASUqy",
        "bank": null,
        "wallet": null,
        "vpa": null,
        "email": "a@b.com",
        "contact": "+919999999999",
        "notes": {
          "merchant_order_id": "random order id"
        },
        "fee": 23000,
        "service_tax": 3000,
        "error_code": null,
        "error_description": null,
        "created_at": 1479978483
      }
    }
  },
  "created_at": 1400826760
}
"#,
        now: ANY,
    },
    Published {
        profile: "lithic",
        source: "lithic-python tests/api_resources/test_webhooks.py",
        secrets: &["whsec_zlFsbBZ8Xcodlpcu6NDTdSzZRLSdhkst"],
        url: None,
        headers: &[
            ("webhook-id", "msg_2Lh9KRb0pzN4LePd3XiA4v12Axj"),
            ("webhook-timestamp", "1676312382"),
            (
                "webhook-signature",
                "v1,Dwa0AHInLL3XFo2sxcHamOQDrJNi7F654S3L6skMAOI=",
            ),
        ],
        body: r#"{"card_token":"sit Lorem ipsum, accusantium repellendus possimus","created_at":"elit. placeat libero architecto molestias, sit","account_token":"elit.","issuer_decision":"magnam, libero esse Lorem ipsum magnam, magnam,","tokenization_attempt_id":"illum dolor repellendus libero esse accusantium","wallet_decisioning_info":{"device_score":"placeat architecto"},"digital_wallet_token_metadata":{"status":"reprehenderit dolor","token_requestor_id":"possimus","payment_account_info":{"account_holder_data":{"phone_number":"libero","email_address":"nobis molestias, veniam culpa! quas elit. quas libero esse architecto placeat"},"pan_unique_reference":"adipisicing odit magnam, odit"}}}"#,
        now: 1_676_312_382,
    },
    Published {
        profile: "adyen-platform",
        source: "adyen-python-api-library test/UtilTest.py",
        secrets: &["44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"],
        url: None,
        headers: &[(
            "hmacsignature",
            "NiqA5vsdV5etZMOaR27+GBSG4i6JeP6j1wkCM6t53vA=",
        )],
        body: r#"{
    "type": "merchant.created",
    "environment": "test",
    "createdAt": "01-01-2024",
    "data": {
        "capabilities": {
            "sendToTransferInstrument": {
                "requested": true,
                "requestedLevel": "notApplicable"
            }
        },
        "companyId": "YOUR_COMPANY_ID",
        "merchantId": "YOUR_MERCHANT_ACCOUNT",
        "status": "PreActive"
    }
}"#,
        now: ANY,
    },
    Published {
        profile: "recurly",
        source: "recurly-client-ruby spec/recurly/webhooks_spec.rb",
        secrets: &["354fab5bd35f5a0d50845ee7e30165244468b13c2c343f104e4e730a59326d9d"],
        url: None,
        headers: &[(
            "recurly-signature",
            "1663103925004,ad24699f3beaa24c9af2cc7ada3ce4c835da0090194241b9d3add83d27f14bc3",
        )],
        body: r#"{"id":"rjxwmwedwqug","object_type":"account","site_id":"qc326l1hl8k9","event_type":"created","event_time":"2022-09-13T21:18:40Z","account_code":"adfas23zzz14123"}"#,
        now: 1_663_103_925,
    },
    Published {
        profile: "hubspot-v3",
        source: "hubspot-api-python tests/spec/utils/test_signature.py",
        secrets: &["yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"],
        url: Some("https://www.example.com/webhook_uri"),
        headers: &[
            (
                "x-hubspot-signature-v3",
                "HPW73RUtKmcYoEDADG0s6MmGFWUzWJKAW07r8RDgcQw=",
            ),
            ("x-hubspot-request-timestamp", "15000000"),
        ],
        body: "{'example_field':'example_value'}",
        now: 15_000,
    },
    Published {
        profile: "modern-treasury",
        source: "modern-treasury-node tests/api-resources/webhooks.test.ts",
        secrets: &["foo"],
        url: None,
        headers: &[(
            "x-signature",
            "ec1c86d16075e6937fc26d55b7dc60bac9b1178a2f714312f7c5cb13a319b0ac",
        )],
        body: r#"{"foo":"bar","bar":"baz","a": true}"#,
        now: ANY,
    },
    Published {
        profile: "coinbase-commerce",
        source: "coinbase-commerce-node test/testWebhook.spec.js",
        secrets: &["30291a20-0bd1-4267-9b0f-e6e7b123c0bf"],
        url: None,
        headers: &[(
            "x-cc-webhook-signature",
            "8be7742c7d372f08a6a3224edadf18a22b65fa9e28f3f2de97376cdaa092590d",
        )],
        body: r#"{"id":1,"scheduled_for":"2017-01-31T20:50:02Z","attempt_number":1,"event":{"id":"24934862-d980-46cb-9402-43c81b0cdba6","type":"charge:created","api_version":"2018-03-22","created_at":"2017-01-31T20:49:02Z","data":{"code":"66BEOV2A","name":"The Sovereign Individual","description":"Mastering the Transition to the Information Age","hosted_url":"https://commerce.coinbase.com/charges/66BEOV2A","created_at":"2017-01-31T20:49:02Z","expires_at":"2017-01-31T21:04:02Z","timeline":[{"time":"2017-01-31T20:49:02Z","status":"NEW"}],"metadata":{},"pricing_type":"no_price","payments":[],"addresses":{"bitcoin":"0000000000000000000000000000000000","ethereum":"0x0000000000000000000000000000000000000000","litecoin":"3000000000000000000000000000000000","bitcoincash":"bitcoincash:000000000000000000000000000000000000000000"}}}}"#,
        now: ANY,
    },
    Published {
        profile: "revolut",
        source: "developer.revolut.com, \"Verify the payload signature\" (also in its Ruby client)",
        secrets: &["wsk_r59a4HfWVAKycbCaNO1RvgCJec02gRd8"],
        url: None,
        headers: &[
            ("revolut-request-timestamp", "1683650202360"),
            (
                "revolut-signature",
                "v1=bca326fb378d0da7f7c490ad584a8106bab9723d8d9cdd0d50b4c5b3be3837c0",
            ),
        ],
        body: r#"{"data":{"id":"645a7696-22f3-aa47-9c74-cbae0449cc46","new_state":"completed","old_state":"pending","request_id":"app_charges-9f5d5eb3-1e06-46c5-b1c0-3914763e0bcb"},"event":"TransactionStateChanged","timestamp":"2023-05-09T16:36:38.028960Z"}"#,
        now: 1_683_650_202,
    },
    Published {
        profile: "nuvei",
        source: "Nuvei's plugin for SAP Commerce, NuveiValidateChecksumAspectTest.java",
        secrets: &["THE_SECRET_KEY"],
        url: None,
        headers: &[("content-type", "application/x-www-form-urlencoded")],
        body: "merchant_id=MERCHANT_ID&merchant_site_id=SITE_ID&totalAmount=115&currency=USD&responseTimeStamp=2020-03-14.16%3A22%3A34&PPP_TransactionID=3453459&Status=APPROVED&productId=NA&advanceResponseChecksum=aaa9ad16c8ed9f172dff505e4eeb8929b9c77cfed3e38127d55d42e33a70c762",
        now: ANY,
    },
    Published {
        profile: "zen",
        source: "zen-com-php-sdk README.md",
        secrets: &["aeb8e7bf-0009-4f30-b521-1136fd336ae6"],
        url: None,
        headers: &[("content-type", "application/json")],
        body: "{\n   \"type\":\"TRT_PURCHASE\",\n   \"transactionId\":\"2d36ff20-017d-4c63-b626-407edb369cc2\",\n   \"merchantTransactionId\":\"feb78e88-47bc-428a-8ea4-806535aaf2de\",\n   \"amount\":\"100\",\n   \"currency\":\"PLN\",\n   \"status\":\"PENDING\",\n   \"hash\":\"28EE6604A8A40ACC8B8CE0B8DE9AAC87A4E24BBF0388A48ED164E512C8073C7E\",\n   \"signature\":\"D3739E5ADCC20E436DEE8F386C81B1C3ACCCE0558FAB65EC924564F998F983EE\"\n}",
        now: ANY,
    },
    Published {
        profile: "workos",
        source: "workos-python tests/test_webhooks.py",
        secrets: &["1lyKDzhJjuCkIscIWqkSe4YsQ"],
        url: None,
        headers: &[(
            "workos-signature",
            "t=1632409405772, v1=67612f0e74f008b436a13b00266f90ef5c13f9cbcf6262206f5f4a539ff61702",
        )],
        body: r#"{"id":"wh_01FG9JXJ9C9S052FX59JVG4EG1","data":{"id":"conn_01EHWNC0FCBHZ3BJ7EGKYXK0E6","name":"Foo Corp's Connection","state":"active","object":"connection","domains":[{"id":"conn_domain_01EHWNFTAFCF3CQAE5A9Q0P1YB","domain":"foo-corp.com","object":"connection_domain"}],"connection_type":"OktaSAML","organization_id":"org_01EHWNCE74X7JSDV0X3SZ3KJNY"},"event":"connection.activated"}"#,
        now: 1_632_409_405,
    },
    Published {
        profile: "square",
        source: "square-python-sdk tests/integration/test_webhooks_helper.py",
        secrets: &["Ibxx_5AKakO-3qeNVR61Dw"],
        url: Some("https://webhook.site/679a4f3a-dcfa-49ee-bac5-9d0edad886b9"),
        headers: &[(
            "x-square-hmacsha256-signature",
            "GF4YkrJgGBDZ9NIYbNXBnMzqb2HoL4RW/S6vkZ9/2N4=",
        )],
        body: r#"{"merchant_id":"MLEFBHHSJGVHD","type":"webhooks.test_notification","event_id":"ac3ac95b-f97d-458c-a6e6-18981597e05f","created_at":"2022-07-13T20:30:59.037339943Z","data":{"type":"webhooks","id":"bc368e64-01aa-407e-b46e-3231809b1129"}}"#,
        now: ANY,
    },
];

fn verifier(published: &Published) -> Verifier {
    let secret = |text: &&str| ProducerSecret {
        label: "file:secret".into(),
        secret: Secret::new((*text).into()),
        force: Force::Live,
    };
    let values = (published.profile == "rapyd")
        .then(|| ("access_key".to_owned(), ACCESS_KEY.to_owned()))
        .into_iter()
        .collect();
    let settings = Settings {
        url: published.url.map(str::to_owned),
        values,
        ..Settings::default()
    };
    let profile = Arc::clone(builtin().get(published.profile).unwrap());
    Verifier::new(
        profile,
        published.secrets.iter().map(secret).collect(),
        settings,
    )
    .unwrap()
}

/// The deliveries as their providers send them, each with the moment for which it is published.
fn deliveries() -> impl Iterator<Item = (&'static Published, Verifier, HeaderMap, Timestamp)> {
    PUBLISHED.iter().chain(MORE).map(|published| {
        let named = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        let headers = published.headers.iter().map(named).collect();
        let now = Timestamp::from_second(published.now).unwrap();
        (published, verifier(published), headers, now)
    })
}

fn request(headers: &HeaderMap) -> Request<'_> {
    Request {
        method: &Method::POST,
        path_and_query: "/webhook",
        headers,
    }
}

#[test]
fn each_published_vector_holds_and_no_other_body_does() {
    for (Published { source, body, .. }, verifier, headers, now) in deliveries() {
        let request = request(&headers);
        let proof = verifier.prove(&request, Bytes::from_static(body.as_bytes()), now);
        assert!(proof.is_ok(), "{source}: {proof:?}");
        let changed = body
            .replace('1', "2")
            .replace("bar", "baz")
            .replace('x', "y");
        let proof = verifier.prove(&request, Bytes::from(format!("{changed} ")), now);
        assert!(proof.is_err(), "{source}");
    }
}

#[test]
fn each_published_vector_is_explained_also_when_it_is_old() {
    for (Published { source, body, .. }, verifier, headers, now) in deliveries() {
        let request = request(&headers);
        let body = Bytes::from_static(body.as_bytes());
        let fresh = explain(&verifier, &request, &body, now);
        assert_eq!(fresh.outcome, Ok(()), "{source}");
        let years_later = Timestamp::from_second(ANY).unwrap();
        let old = explain(&verifier, &request, &body, years_later);
        for told in [fresh, old] {
            assert!(told.signature_is_right, "{source}: {told:?}");
            assert!(told.mistakes.is_empty(), "{source}: {told:?}");
            let all = format!("{told:?}");
            let secrets = verifier.secrets.iter().map(|secret| secret.shown.expose());
            for shown in secrets.filter_map(|shown| std::str::from_utf8(shown).ok()) {
                assert!(shown.len() < 8 || !all.contains(shown), "{source}: {all}");
            }
        }
    }
}

/// mercadopago/sdk-nodejs, src/utils/webhook/webhook.spec.ts: its cases 1, 2, 9, 10 and 11, and its constants.
#[test]
fn mercado_pagos_reference_is_signed_in_either_case_and_may_be_absent() {
    const ID: &str = "2066ca19-c6f1-498a-be75-1923005edd06";
    let verifier = verifier(&Published {
        profile: "mercado-pago",
        source: "sdk-nodejs webhook.spec.ts",
        secrets: &["your_secret_key_here"],
        url: None,
        headers: &[],
        body: "",
        now: ANY,
    });
    let check = |query: &str, id: Option<&str>, signature: &str| {
        let mut headers = HeaderMap::new();
        let text = format!("ts=1742505638683,v1={signature}");
        headers.insert("x-signature", HeaderValue::from_str(&text).unwrap());
        if let Some(id) = id {
            headers.insert("x-request-id", HeaderValue::from_str(id).unwrap());
        }
        let request = Request {
            path_and_query: query,
            ..request(&headers)
        };
        let now = Timestamp::from_millisecond(1_742_505_638_683).unwrap();
        let proof = verifier.prove(&request, Bytes::from_static(b"{}"), now);
        assert!(proof.is_ok(), "{query} {id:?}: {proof:?}");
    };
    check(
        "/?data.id=ord01jq4s4ky8hwq6na5pxb65b3d3",
        Some(ID),
        "633f91233312dd391ec75fa0bea539cfc2d6c4918873305b84a96cc1c58db71c",
    );
    check(
        "/?data.id=ORD01JQ4S4KY8HWQ6NA5PXB65B3D3",
        Some(ID),
        "633f91233312dd391ec75fa0bea539cfc2d6c4918873305b84a96cc1c58db71c",
    );
    check(
        "/",
        Some(ID),
        "8a7b0cc777a8217c3bab41a50c95dc92debbc6f8448f1c967dfe10ac1cb8b894",
    );
    check(
        "/?data.id=ord01jq4s4ky8hwq6na5pxb65b3d3",
        None,
        "a20c44820ab71562e89a7c9f64d5636efc8beba587b16c2f9bbbc3504892741a",
    );
    check(
        "/?data.id=",
        None,
        "3f075add3ddb923bebf0bc0648457b8244cf4420b98d5b445167d379bec0ca54",
    );
}

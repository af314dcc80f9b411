//! The providers' own published vectors: each by the profile, the secret and the headers as they stand there.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;

use super::*;
use crate::identity::Standing;
use crate::secret::Secret;

/// One delivery that its provider, or its provider's library, says is well signed.
struct Published {
    profile: &'static str,
    /// Where it stands.
    source: &'static str,
    secrets: &'static [&'static str],
    url: Option<&'static str>,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    now: i64,
}

/// For schemes without a time.
const ANY: i64 = 1_790_000_000;

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
];

fn verifier(published: &Published) -> Verifier {
    let secret = |text: &&str| ProducerSecret {
        label: "file:secret".into(),
        secret: Secret::new((*text).into()),
        standing: Standing::Live,
    };
    let settings = Settings {
        url: published.url.map(str::to_owned),
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

#[test]
fn each_published_vector_holds_and_no_other_body_does() {
    for published in PUBLISHED {
        let Published {
            source,
            headers,
            body,
            now,
            ..
        } = published;
        let headers = headers.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        let headers: HeaderMap = headers.collect();
        let request = Request {
            method: &Method::POST,
            path_and_query: "/webhook",
            headers: &headers,
        };
        let now = Timestamp::from_second(*now).unwrap();
        let verifier = verifier(published);
        let proof = verifier.prove(&request, Bytes::from_static(body.as_bytes()), now);
        assert!(proof.is_ok(), "{source}: {proof:?}");
        let other = format!("{} ", body.replace('1', "2"));
        let proof = verifier.prove(&request, Bytes::from(other), now);
        assert!(proof.is_err(), "{source}");
    }
}

//! More published vectors, told and tried as those of `published_tests`.

use super::published_tests::{ANY, Published};

/// What Rapyd signs beside the request, as its vector has it.
pub(super) const ACCESS_KEY: &str = "test_access_key";

pub(super) const MORE: &[Published] = &[
    Published {
        profile: "nmi",
        source: "kicbac-python openapi/webhooks/vectors.json",
        secrets: &["whsec_test_kicbac_8675309"],
        url: None,
        headers: &[(
            "webhook-signature",
            "t=ffeeddccbbaa0099,s=f57429085bed70df06070501c757bf85c231d95673e6b0c228830bbc6d1dd0a4",
        )],
        body: "{\n  \"event_id\": \"11111111-2222-3333-4444-555555555555\",\n  \"event_type\": \"transaction.sale.success\",\n  \"event_body\": {\n    \"merchant\": {\n      \"id\": \"1234\",\n      \"name\": \"M\u{fc}ller & S\u{f6}hne \u{2014} \u{65e5}\u{672c}\u{8a9e} <tags> & a=b\"\n    },\n    \"features\": {\n      \"is_test_mode\": true\n    },\n    \"transaction_id\": \"9999999999\",\n    \"order_description\": \"quotes \\\"and\\\" backslashes \\\\ and slashes /\"\n  }\n}",
        now: ANY,
    },
    Published {
        profile: "rapyd",
        source: "hyperswitch-prism connectors/rapyd/test.rs",
        secrets: &["test_secret_key"],
        url: Some("https://webhook.example.com/webhooks/rapyd"),
        headers: &[
            ("salt", "salt123456"),
            ("timestamp", "1711008868"),
            (
                "signature",
                "MzJlYTFjZmU1YTc2M2RlNjJmNDk1MGM4ZTJjMjE3MDQ5N2FkYTFmZGJjYmU0OTI1MWYxMjYwN2QyN2JiOTFjYQ==",
            ),
        ],
        body: r#"{"id":"wh_test","type":"PAYMENT_COMPLETED"}"#,
        now: 1_711_008_868,
    },
    Published {
        profile: "mollie",
        source: "a verifier's \"Mollie Webhook Verifier\" test, of the event in docs.mollie.com/reference/webhooks-new",
        secrets: &["mollie_secret"],
        url: None,
        headers: &[(
            "x-mollie-signature",
            "sha256=999cae541f09d311286b55ee4efd32a652ce735e76be8116624777e72e9963ce",
        )],
        body: r#"{"resource":"event","id":"event_GvJ8WHrp5isUdRub9CJyH","type":"payment-link.paid","entityId":"pl_qng5gbbv8NAZ5gpM5ZYgx","createdAt":"2024-12-16T15:57:04.0Z"}"#,
        now: ANY,
    },
    Published {
        profile: "wise",
        source: "transferwise/digital-signatures-examples verify-webhook-signature/verify-signature.js",
        secrets: &[
            "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAwpb91cEYuyJNQepZAVfP\nZIlPZfNUefH+n6w9SW3fykqKu938cR7WadQv87oF2VuT+fDt7kqeRziTmPSUhqPU\nys/V2Q1rlfJuXbE+Gga37t7zwd0egQ+KyOEHQOpcTwKmtZ81ieGHynAQzsn1We3j\nwt760MsCPJ7GMT141ByQM+yW1Bx+4SG3IGjXWyqOWrcXsxAvIXkpUD/jK/L958Cg\nnZEgz0BSEh0QxYLITnW1lLokSx/dTianWPFEhMC9BgijempgNXHNfcVirg1lPSyg\nz7KqoKUN0oHqWLr2U1A+7kqrl6O2nx3CKs1bj1hToT1+p4kcMoHXA7kA+VBLUpEs\nVwIDAQAB\n-----END PUBLIC KEY-----\n",
        ],
        url: None,
        headers: &[(
            "x-signature-sha256",
            "wKcKCYXAzxNgiu7xmoDm943NUni7Rz33QN8JkEA9dWSGebgndonabgSj18Y4C08OrwVmueGsED2s00M7DtJVcYKOS1i3G4TMVx+mgM3aL9djMBkQtiYNBFUd6wrPI7ZUNHv/TrlKSjTMc+6JFvUvJ7owY3z85e3I4jLRLJowMFvO8kvCJ60+1pY9wDwZvtZ//WS93LrwGjk9Dvwzpmu0w+P4J75tETT5qC3Uv0y5G2yO8SEoO3yNP/tg/BOli02niHb53vEOUWUb9bly6thnfMoXoiV/osoGxgF20R58RlvkAmezyyl1Sv542TfS2DpiwVnmjjjkCyXeSUcKookYLQ==",
        )],
        body: r#"{"data":{"resource":{"id":49983981,"profile_id":16055450,"account_id":14124090,"type":"transfer"},"current_state":"incoming_payment_waiting","previous_state":null,"occurred_at":"2021-08-23T10:12:50Z"},"subscription_id":"90aa8e14-4ef1-4a56-861c-f3c9cde097ea","event_type":"transfers#state-change","schema_version":"2.0.0","sent_at":"2021-08-23T10:12:50Z"}"#,
        now: ANY,
    },
    Published {
        profile: "payu-emea",
        source: "openpayu_php UtilTest.php testVerifySignature",
        secrets: &["SignatureKey"],
        url: None,
        headers: &[(
            "openpayu-signature",
            "sender=MerchantPosId;signature=52bb16149d1a5ccc8ac05f8e435c30d82efd5364;algorithm=SHA-1;content=DOCUMENT",
        )],
        body: "OpenPayUData",
        now: ANY,
    },
    Published {
        profile: "authorize-net",
        source: "stymiee/authnetjson AuthnetWebhookTest.php",
        secrets: &[
            "52CB4A002C634B84E397DC8A218E1A160BA7CAB7CBE4C05B35E9CBB05E14FE4A2385812E980CCF97D177F17863CE214D1BE6CE8E1E894487AACF3609C1A5FE17",
        ],
        url: None,
        headers: &[(
            "x-anet-signature",
            "sha512=A1E0CC0F8A7B6274E0951CAC5EB63579F70FC6B7B15384B146DCE02B98DEE3954A5A8E331661B51DE953E141E88994DFA7D267FFB8428BE0660511B6EFB94960",
        )],
        body: r#"{"notificationId":"182cbbff-cab2-4080-931d-80e5d818f23a","eventType":"net.authorize.payment.authcapture.created","eventDate":"2017-08-18T20:40:52.7722007Z","webhookId":"849eb87e-078a-4169-a34b-c0bded5019a8","payload":{"responseCode":0,"authCode":"Z3PV5H","avsResponse":"Y","authAmount":0.0,"entityName":"transaction","id":"40005915599"}}"#,
        now: ANY,
    },
    Published {
        profile: "adyen-classic",
        source: "adyen-java-api-library hmac-validation-webhook.json",
        secrets: &["74F490DD33F7327BAECC88B2947C011FC02D014A473AAA33A8EC93E4DC069174"],
        url: None,
        headers: &[],
        body: r#"{"live":"false","notificationItems":[{"NotificationRequestItem":{"additionalData":{"hmacSignature":"CZErGCNQaSsxbaQfZaJlakqo7KPP+mIa8a+wx3yNs9A="},"amount":{"currency":"EUR","value":1000},"eventCode":"AUTHORISATION","eventDate":"2023-01-10T13:42:29+01:00","merchantAccountCode":"AntoniStroinski","merchantReference":"\\:/\\/slashes are fun","paymentMethod":"visa","pspReference":"ZVWN7D3WSMK2WN82","reason":"052095:1111:03/2030","success":"true"}}]}"#,
        now: ANY,
    },
    Published {
        profile: "adyen-classic",
        source: "adyen-java-api-library HMACValidatorTest.java",
        secrets: &["9064450A8892A093D9E97EFCC9639DE31B74F3A7803135555A3C96F5A57915D6"],
        url: None,
        headers: &[],
        body: r#"{"live":"false","notificationItems":[{"NotificationRequestItem":{"additionalData":{"hmacSignature":"NuEkADFmlCC6VgX+wcoPAegIWxVPNBPCuKlM4Hzo5qc="},"amount":{"currency":"EUR","value":"0"},"eventCode":"REPORT_AVAILABLE","eventDate":"2019-11-20T14:35:36+01:00","merchantAccountCode":"Magento2Rik","merchantReference":"testMerchantRef1","pspReference":"test_REPORT_AVAILABLE","reason":"will contain the url to the report","success":"true"}}]}"#,
        now: ANY,
    },
    Published {
        profile: "adyen-classic",
        source: "adyen-node-api-library hmacValidator.spec.ts",
        secrets: &["DFB1EB5485895CFA84146406857104ABB4CBCABDC8AAF103A624C8F6A3EAAB00"],
        url: None,
        headers: &[],
        body: r#"{"live":"false","notificationItems":[{"NotificationRequestItem":{"additionalData":{"hmacSignature":"xhpHvYq2u2Np0rstbZ6QjLGu7JWhvf7Iwaa6EviJSX0="},"amount":{"currency":"EUR","value":1000},"eventCode":"CAPTURE","eventDate":"1970-01-01T00:00:00Z","merchantAccountCode":"merchantAccount","merchantReference":"reference","originalReference":"originalReference","paymentMethod":"VISA","pspReference":"pspReference","reason":"reason","success":"true"}}]}"#,
        now: ANY,
    },
    Published {
        profile: "checkbook",
        source: "docs.checkbook.io/docs/webhooks",
        secrets: &["335b5728e25b47e88995fce207bff380"],
        url: None,
        headers: &[(
            "signature",
            "nonce=1243549809,signature=4ee9758fc0bceb3ca1a2fe397fbd125364cfffdb04296fa118dab9778a4b3ce3",
        )],
        body: r#"{"status": "PAID", "id": "ed0af5fb335c47dd8eb53199ba50f5c4", "type": "CHECK"}"#,
        now: ANY,
    },
    Published {
        profile: "increase-classic",
        source: "increase-python tests/api_resources/test_webhooks.py",
        secrets: &["whsec_zlFsbBZ8Xcodlpcu6NDTdSzZRLSdhkst"],
        url: None,
        headers: &[(
            "increase-webhook-signature",
            "t=2022-01-31T23:59:59Z,v1=3f9c3dcc820ca3adfae8e196d05b09dfef63b91db5ce5ac1407090f2aa424a6f",
        )],
        body: r#"{"id":"event_123abc","created_at":"2020-01-31T23:59:59Z"}"#,
        now: 1_643_673_599,
    },
];

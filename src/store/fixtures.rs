//! What the store's tests are made of.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{Store, Url};
use crate::identity::TenantId;
use crate::inbox::{Event, IdempotencyKey, Inbox, KeptHeaders, Limits, Receipt, Standing};
use crate::signature::{AmountUnit, Fetch, PaymentFacts};
use crate::x509::{Certificate, decode_pem_certificates};

/// A day, in seconds.
pub(super) const DAY_SECONDS: i64 = 86_400;

/// Where a suite's store is, for as long as a test needs it.
pub(super) struct Place {
    pub(super) url: Url,
    _directory: Option<tempfile::TempDir>,
    /// Of PostgreSQL, the same with all that is not shown.
    database: Option<String>,
}

impl Place {
    pub(super) fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            url: Url::Sqlite(directory.path().join("inbox.db")),
            _directory: Some(directory),
            database: None,
        }
    }

    /// A fresh database; `None` where there is no PostgreSQL to test with.
    pub(super) fn postgres() -> Option<Self> {
        let url = super::postgres::tests::server::fresh_database()?;
        Some(Self {
            url: url.parse().unwrap(),
            _directory: None,
            database: Some(url),
        })
    }

    /// The same, through a PgBouncer that may give each transaction another session.
    pub(super) fn pooled() -> Option<Self> {
        let url = super::postgres::tests::server::fresh_pooled_database()?;
        Some(Self {
            url: url.parse().unwrap(),
            _directory: None,
            database: Some(url),
        })
    }

    pub(super) async fn open(&self) -> Store {
        Store::open(&self.url, Limits::default()).await.unwrap()
    }

    /// Runs what changes it past every receiver, in its engine's words.
    pub(super) fn change(&self, sqlite: &str, postgres: &str) {
        match &self.database {
            Some(url) => super::postgres::tests::server::execute(url, postgres),
            None => {
                let connection = rusqlite::Connection::open(self.file()).unwrap();
                connection.execute_batch(sqlite).unwrap();
            }
        }
    }

    pub(super) fn file(&self) -> std::path::PathBuf {
        match &self.url {
            Url::Sqlite(path) => path.clone(),
            Url::Postgres(_) => panic!("no file"),
        }
    }
}

/// A certificate of the name that the documents use; nothing here looks at its dates or its signature.
const LEAF: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBjDCCATOgAwIBAgIUMqN5SjxZRdx6acQey7bDlw0FKh8wCgYIKoZIzj0EAwIw\n\
HDEaMBgGA1UEAwwRcGF5bWVudHMtcHJvdmlkZXIwHhcNMjYxMTI0MDQ0MzM4WhcN\n\
MzYxMTIxMDQ0MzM4WjAcMRowGAYDVQQDDBFwYXltZW50cy1wcm92aWRlcjBZMBMG\n\
ByqGSM49AgEGCCqGSM49AwEHA0IABKDWGQGDwtj37yMzgLe7gI4AN3Bta4djzQml\n\
LNdmuQxkMl0xtTucJFWVfmsFSTPaEqpVz7x4dqE73NRYF/GbdL6jUzBRMB0GA1Ud\n\
DgQWBBTCyggeWnqSiTOXXllFqHQJopO7yjAfBgNVHSMEGDAWgBTCyggeWnqSiTOX\n\
XllFqHQJopO7yjAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0cAMEQCIGPO\n\
mq6IbD2UiTHB49bC7fqZBt2zr3oMw9HejPo0eI8GAiAykptw7Uod84boEXvrvIw0\n\
SZdlujGl5cwFNENEkgd3aA==\n\
-----END CERTIFICATE-----\n
";

pub(super) fn leaf() -> Certificate {
    static DECODED: OnceLock<Certificate> = OnceLock::new();
    DECODED
        .get_or_init(|| {
            Certificate::decode(&decode_pem_certificates(LEAF.as_bytes()).unwrap()[0]).unwrap()
        })
        .clone()
}

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Another certificate of that name: like it but for the end of its signature.
pub(super) fn another_leaf() -> Certificate {
    let mut der = decode_pem_certificates(LEAF.as_bytes()).unwrap().remove(0);
    *der.last_mut().unwrap() ^= 1;
    Certificate::decode(&der).unwrap()
}

/// A certificate like it, of this issuer and this subject: names as long as its own.
pub(super) fn leaf_named(issuer: &str, subject: &str) -> Certificate {
    let mut der = decode_pem_certificates(LEAF.as_bytes()).unwrap().remove(0);
    let own = b"payments-provider";
    for name in [issuer, subject] {
        assert_eq!(name.len(), own.len());
        let place = der.windows(own.len()).position(|bytes| bytes == own);
        let place = place.unwrap();
        der[place..place + own.len()].copy_from_slice(name.as_bytes());
    }
    Certificate::decode(&der).unwrap()
}

/// An event of tenant-42's payments-provider that speaks of no payment.
pub(super) fn event(id: &str) -> Event {
    let body = format!("{{\"id\":\"{id}\"}}");
    Event {
        key: IdempotencyKey {
            tenant: TenantId::new("tenant-42"),
            producer: Arc::from("payments-provider"),
            event_id: id.into(),
        },
        kind: Some("ping".into()),
        occurred_at: Some(at(1_790_000_000)),
        received_at: at(1_790_000_010),
        body_sha256: Sha256::digest(&body).into(),
        body: body.into(),
        secret: Some(Arc::from("file:certs/producer.secret")),
        leaf: leaf(),
        headers: KeptHeaders::of([("content-type", "application/json".into())].into_iter()),
        payment: None,
        fetch: Fetch::Unneeded,
        standing: Standing::Readable,
    }
}

/// An event that says of a payment that it has this status, at this second.
pub(super) fn payment_event(id: &str, payment_id: &str, status: &str, second: i64) -> Event {
    let facts = PaymentFacts {
        payment_id: payment_id.to_owned(),
        status: Some(status.to_owned()),
        amount: Some("1999".to_owned()),
        amount_refunded: None,
        currency: Some("EUR".to_owned()),
        unit: AmountUnit::Minor,
        minor_digits: None,
    };
    let plain = with_body(
        event(id),
        format!("{{\"id\":\"{id}\",\"status\":\"{status}\"}}"),
    );
    Event {
        kind: Some(format!("payment.{status}").into()),
        occurred_at: Some(at(second)),
        payment: Some(facts),
        ..plain
    }
}

pub(super) fn with_body(event: Event, body: impl Into<bytes::Bytes>) -> Event {
    let body = body.into();
    Event {
        body_sha256: Sha256::digest(&body).into(),
        body,
        ..event
    }
}

pub(super) fn of_tenant(event: Event, tenant: &str, producer: &str) -> Event {
    let key = IdempotencyKey {
        tenant: TenantId::new(tenant),
        producer: Arc::from(producer),
        event_id: event.key.event_id,
    };
    Event { key, ..event }
}

pub(super) fn received(event: Event, second: i64) -> Event {
    Event {
        received_at: at(second),
        ..event
    }
}

pub(super) async fn accept(store: &Store, event: Event) -> Receipt {
    store.accept(vec![event]).await.unwrap()[0]
}

/// A generator of numbers that a seed decides (SplitMix64).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

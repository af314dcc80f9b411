//! The shape of `countersign.toml`: its sections, its keys, and the values that count where a key is not written.
//!
//! What stands here is what was typed; what it means is in `meaning.rs` and its neighbours.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Unexpected, Visitor};

use super::listen;
use crate::signature::ProfileDescriptor;

/// The whole file.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    pub(super) server: Server,
    pub(super) admin: Admin,
    pub(super) tls: Tls,
    pub(super) store: Store,
    pub(super) tenants: Vec<Tenant>,
    pub(super) profiles: BTreeMap<String, ProfileDescriptor>,
}

/// `[server]`: the providers' side.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Server {
    pub(super) listen: String,
    pub(super) paths: Vec<String>,
    pub(super) trusted_proxies: Vec<String>,
    pub(super) reuse_port: bool,
    pub(super) cutoffs: String,
    pub(super) limits: Limits,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: listen::SERVER.to_string(),
            paths: vec!["/webhooks/payments".to_owned()],
            trusted_proxies: Vec::new(),
            reuse_port: false,
            cutoffs: "data/cutoffs.toml".to_owned(),
            limits: Limits::default(),
        }
    }
}

/// `[server.limits]`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) body_bytes: i64,
    pub(super) connections: i64,
    pub(super) connections_per_ip: i64,
    pub(super) handshake_timeout: Span,
    pub(super) header_timeout: Span,
    pub(super) body_timeout: Span,
    pub(super) request_timeout: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1 << 20,
            connections: 10_000,
            connections_per_ip: 256,
            handshake_timeout: Span::seconds(10),
            header_timeout: Span::seconds(10),
            body_timeout: Span::seconds(15),
            request_timeout: Span::seconds(30),
        }
    }
}

/// `[admin]`: the operator's side.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Admin {
    pub(super) listen: String,
    pub(super) token: Option<String>,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: listen::ADMIN.to_string(),
            token: None,
        }
    }
}

/// `[tls]`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) certificate: String,
    pub(super) private_key: String,
    #[serde(deserialize_with = "marked::<Authority, _>")]
    pub(super) client_ca: Vec<Marked>,
    pub(super) intermediates: Vec<String>,
    pub(super) crls: Vec<String>,
    pub(super) min_version: MinVersion,
    pub(super) accept_v1_leaf: bool,
    pub(super) crl_expired: CrlExpired,
    pub(super) crl_missing: CrlMissing,
    pub(super) resumption: bool,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificate: "certs/server.crt".to_owned(),
            private_key: "certs/server.key".to_owned(),
            client_ca: vec![Marked::live("certs/ca.crt")],
            intermediates: Vec::new(),
            crls: Vec::new(),
            min_version: MinVersion::Tls13,
            accept_v1_leaf: true,
            crl_expired: CrlExpired::Refuse,
            crl_missing: CrlMissing::Allow,
            resumption: false,
        }
    }
}

/// `tls.min_version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
pub(super) enum MinVersion {
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

/// `tls.crl_expired`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CrlExpired {
    Refuse,
    Warn,
}

/// `tls.crl_missing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CrlMissing {
    Allow,
    Refuse,
}

/// `[store]`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Store {
    pub(super) url: String,
    pub(super) password: Option<String>,
    pub(super) limits: StoreLimits,
    pub(super) postgres: StorePostgres,
    pub(super) retention: StoreRetention,
    pub(super) spool: Option<StoreSpool>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            url: "sqlite:data/countersign.db".to_owned(),
            password: None,
            limits: StoreLimits::default(),
            postgres: StorePostgres::default(),
            retention: StoreRetention::default(),
            spool: None,
        }
    }
}

/// `[store.retention]`: whole days, and 0 is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct StoreRetention {
    pub(super) bodies_days: i64,
    pub(super) events_days: i64,
    pub(super) dedupe_days: i64,
}

/// `[tenants.retention]`: a key that is not written is the store's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TenantRetention {
    pub(super) bodies_days: Option<i64>,
    pub(super) events_days: Option<i64>,
    pub(super) dedupe_days: Option<i64>,
}

/// `[store.limits]`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct StoreLimits {
    pub(super) queue_deliveries: i64,
    pub(super) queue_bytes: i64,
    pub(super) batch_deliveries: i64,
    pub(super) wait: Span,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            queue_deliveries: 4096,
            queue_bytes: 64 << 20,
            batch_deliveries: 256,
            wait: Span::seconds(10),
        }
    }
}

/// `[store.postgres]`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct StorePostgres {
    pub(super) writers: i64,
    pub(super) readers: i64,
    pub(super) connect_timeout: Span,
    pub(super) statement_timeout: Span,
    pub(super) patience: Span,
}

impl Default for StorePostgres {
    fn default() -> Self {
        Self {
            writers: 2,
            readers: 4,
            connect_timeout: Span::seconds(3),
            statement_timeout: Span::seconds(8),
            patience: Span::seconds(3),
        }
    }
}

/// `[store.spool]`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct StoreSpool {
    pub(super) path: String,
    pub(super) bytes: i64,
}

impl Default for StoreSpool {
    fn default() -> Self {
        Self {
            path: "data/spool.db".to_owned(),
            bytes: 1 << 30,
        }
    }
}

/// `[[tenants]]`.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tenant {
    pub(super) id: String,
    pub(super) retention: TenantRetention,
    pub(super) producers: Vec<Producer>,
}

/// `[[tenants.producers]]`.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Producer {
    pub(super) name: String,
    pub(super) subject: Option<String>,
    #[serde(deserialize_with = "marked::<Pin, _>")]
    pub(super) pins: Vec<Marked>,
    pub(super) profile: Option<String>,
    #[serde(deserialize_with = "marked::<Secret, _>")]
    pub(super) secrets: Vec<Marked>,
    pub(super) tolerance: Option<Span>,
    pub(super) path: Option<String>,
    pub(super) account: Option<Account>,
    pub(super) url: Option<String>,
    pub(super) values: BTreeMap<String, String>,
    pub(super) signature: Option<NoSignature>,
    pub(super) shadow: bool,
}

/// `account = { pointer = "/data/account", equals = "acct_1" }`.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Account {
    pub(super) pointer: Option<String>,
    pub(super) equals: Option<String>,
}

/// `signature = "none"`: the one thing that can be said there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum NoSignature {
    None,
}

/// A text, or a table that also marks it as only watching: `{ file = "certs/new-ca.crt", shadow = true }`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) text: String,
    pub(super) shadow: bool,
}

impl Marked {
    fn live(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            shadow: false,
        }
    }
}

/// What is marked, by the keys that its table has.
trait Markable {
    /// The key of the text, and `shadow`.
    const KEYS: &'static [&'static str];
    /// The key of the text.
    const KEY: &'static str;
}

struct Authority;
struct Pin;
struct Secret;

impl Markable for Authority {
    const KEYS: &'static [&'static str] = &["file", "shadow"];
    const KEY: &'static str = "file";
}

impl Markable for Pin {
    const KEYS: &'static [&'static str] = &["pin", "shadow"];
    const KEY: &'static str = "pin";
}

impl Markable for Secret {
    const KEYS: &'static [&'static str] = &["secret", "shadow"];
    const KEY: &'static str = "secret";
}

fn marked<'de, M: Markable, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Marked>, D::Error> {
    let read: Vec<Reading<M>> = Vec::deserialize(deserializer)?;
    Ok(read.into_iter().map(|Reading(marked, _)| marked).collect())
}

struct Reading<M>(Marked, PhantomData<M>);

impl<'de, M: Markable> Deserialize<'de> for Reading<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(MarkedVisitor(PhantomData))
    }
}

struct MarkedVisitor<M>(PhantomData<M>);

impl<'de, M: Markable> Visitor<'de> for MarkedVisitor<M> {
    type Value = Reading<M>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text in quotes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Reading<M>, E> {
        Ok(Reading(Marked::live(text), PhantomData))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Reading<M>, A::Error> {
        let (mut text, mut shadow) = (None, false);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "shadow" => shadow = map.next_value()?,
                key if key == M::KEY => text = Some(map.next_value()?),
                key => return Err(de::Error::unknown_field(key, M::KEYS)),
            }
        }
        let text = text.ok_or_else(|| de::Error::missing_field(M::KEY))?;
        Ok(Reading(Marked { text, shadow }, PhantomData))
    }
}

/// A span of time, written as `"10s"`, `"500ms"`, `"5m"`, `"1h30m"` or `"7d"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

impl Span {
    const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Parses the written form; every part is a whole number and its unit, the larger unit first.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let units = [
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1000),
            ("ms", 1),
        ];
        let mut rest = text;
        let mut milliseconds: u64 = 0;
        let mut smallest = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let (number, after) = rest.split_at_checked(digits)?;
            let letters = after
                .find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(after.len());
            let (unit, after) = after.split_at_checked(letters)?;
            let (_, size) = units.iter().find(|(name, _)| *name == unit)?;
            if *size >= smallest {
                return None;
            }
            smallest = *size;
            milliseconds = number
                .parse::<u64>()
                .ok()?
                .checked_mul(*size)?
                .checked_add(milliseconds)?;
            rest = after;
        }
        (smallest != u64::MAX).then(|| Self(Duration::from_millis(milliseconds)))
    }
}

/// The written form, in the largest unit that is exact.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        for (unit, size) in [
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1000),
        ] {
            if milliseconds >= size && milliseconds.is_multiple_of(size) {
                return write!(f, "{}{unit}", milliseconds / size);
            }
        }
        write!(f, "{milliseconds}ms")
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(SpanVisitor)
    }
}

struct SpanVisitor;

impl Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time with its unit, as \"500ms\", \"10s\", \"5m\" or \"1h\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
        match Span::parse(text) {
            Some(span) => Ok(span),
            // A value that was void is told of already.
            None if text.is_empty() => Ok(Span::default()),
            None => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_and_its_unit() {
        let parse = |text: &str| Span::parse(text).map(|span| span.0.as_millis());
        assert_eq!(parse("10s"), Some(10_000));
        assert_eq!(parse("500ms"), Some(500));
        assert_eq!(parse("1h30m"), Some(5_400_000));
        assert_eq!(parse("7d"), Some(604_800_000));
        for wrong in [
            "",
            "10",
            "s",
            "10 s",
            "-1s",
            "1.5s",
            "30m1h",
            "1s1s",
            "10sec",
            "99999999999999999999d",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(Span::seconds(300).to_string(), "5m");
        assert_eq!(Span(Duration::from_millis(1500)).to_string(), "1500ms");
    }
}

//! What `[server]`, `[admin]` and `[store]` mean, in the types of the rooms.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::secret::Secret;
use crate::store::{Access, NotAUrl, Url};
use crate::tls::{self, Network, ReusePort};

use super::bounds::{number, span};
use super::context::Context;
use super::fault::Findings;
use super::file::{self, Span};
use super::key::KeyPath;
use super::settings::{AdminSettings, ServerSettings, StoreSettings};
use super::{secrets, spool};

pub(super) fn server(shape: &file::Server, findings: &mut Findings) -> Option<ServerSettings> {
    let at = KeyPath::of(&["server"]);
    let example = "0.0.0.0:8443, or [::]:8443 for IPv6 too";
    let listen = address(&shape.listen, &at.key("listen"), example, findings);
    let paths = paths(&shape.paths, &at.key("paths"), findings);
    let trusted_proxies = trusted_proxies(&shape.trusted_proxies, &at, findings);
    let limits = &shape.limits;
    let at = at.key("limits");
    let timeouts = Duration::from_millis(10)..=Duration::from_secs(3600);
    let mut timeout =
        |key: &str, span: Span| self::span(span, timeouts.clone(), &at.key(key), findings);
    let handshake_timeout = timeout("handshake_timeout", limits.handshake_timeout);
    let header_timeout = timeout("header_timeout", limits.header_timeout);
    let body_timeout = timeout("body_timeout", limits.body_timeout);
    let request_timeout = timeout("request_timeout", limits.request_timeout);
    let mut number = |key: &str, value: i64, range: RangeInclusive<i64>| {
        self::number(value, range, &at.key(key), findings)
    };
    let body_bytes = number("body_bytes", limits.body_bytes, 1..=64 << 20);
    let connections = number("connections", limits.connections, 1..=1_000_000);
    let per_ip = number(
        "connections_per_ip",
        limits.connections_per_ip,
        1..=1_000_000,
    );
    if let (Some(body), Some(request)) = (body_timeout, request_timeout)
        && body > request
    {
        let what = "a body may take longer than its whole request";
        let mend = "make it shorter than request_timeout";
        findings.warn(&at.key("body_timeout"), what, mend);
    }
    Some(ServerSettings {
        listen: listen?,
        reuse_port: if shape.reuse_port {
            ReusePort::Yes
        } else {
            ReusePort::No
        },
        paths,
        trusted_proxies,
        connections: tls::Limits {
            connections: connections?,
            connections_per_ip: per_ip?,
            handshake_timeout: handshake_timeout?,
            header_timeout: header_timeout?,
        },
        body_bytes: body_bytes?,
        body_timeout: body_timeout?,
        request_timeout: request_timeout?,
    })
}

fn trusted_proxies(texts: &[String], at: &KeyPath, findings: &mut Findings) -> Vec<Network> {
    let mut networks = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let key = at.key("trusted_proxies").index(index);
        match text.parse::<Network>() {
            Ok(network) => {
                if network.is_everybody() {
                    let what = "every sender is trusted to say what its address is";
                    let mend = "write the load balancer's addresses alone";
                    findings.warn(&key, what, mend);
                }
                networks.push(network);
            }
            Err(fault) => findings.fault(&key, fault.to_string(), fault.mend()),
        }
    }
    networks
}

pub(super) fn admin(
    shape: &file::Admin,
    server: Option<&ServerSettings>,
    context: &mut Context<'_>,
) -> Option<AdminSettings> {
    let at = KeyPath::of(&["admin"]);
    let key = at.key("listen");
    let example = "127.0.0.1:9443, or [::1]:9443 for IPv6";
    let listen = address(&shape.listen, &key, example, &mut context.findings);
    let token_key = at.key("token");
    let loaded = match &shape.token {
        Some(reference) => secrets::load(reference, &token_key, context),
        None => Vec::new(),
    };
    let visible = |secret: &Secret| secret.expose().iter().all(u8::is_ascii_graphic);
    if !loaded.iter().all(|token| visible(&token.secret)) {
        let what = "the token holds what no header can carry";
        let mend = "use letters and digits alone, as openssl rand -hex 32 prints";
        context.findings.fault(&token_key, what, mend);
    }
    if let Some(listen) = listen {
        if !listen.ip().to_canonical().is_loopback() && shape.token.is_none() {
            context.findings.fault(
                &key,
                "the operator's side would be open to others than this machine",
                "write 127.0.0.1:9443, or set admin.token to a secret, as \"file:certs/admin.token\"",
            );
        }
        if let Some(server) = server
            && server.listen.port() == listen.port()
            && listen.port() != 0
            && (server.listen.ip() == listen.ip()
                || server.listen.ip().is_unspecified()
                || listen.ip().is_unspecified())
        {
            let what = "is where server.listen is";
            let usual = file::Admin::default().listen;
            let free = if usual.ends_with(&format!(":{}", listen.port())) {
                "127.0.0.1:9444"
            } else {
                usual.as_str()
            };
            let mend = format!("give the operator's side a port of its own, as {free}");
            context.findings.fault(&key, what, mend);
        }
    }
    Some(AdminSettings {
        listen: listen?,
        tokens: loaded.into_iter().map(|token| token.secret).collect(),
    })
}

pub(super) fn store(
    shape: &file::Store,
    server: Option<&ServerSettings>,
    context: &mut Context<'_>,
) -> Option<StoreSettings> {
    let at = KeyPath::of(&["store"]);
    let url = match shape.url.parse::<Url>() {
        Ok(url) => Some(url.relative_to(&context.base)),
        Err(fault) => {
            // The text is not told: a store's address may hold a password.
            let what = NotAUrl::to_string(&fault);
            context.findings.fault(&at.key("url"), what, fault.mend());
            None
        }
    };
    let password = password(shape, &at, context);
    let access = access(shape, &at, &mut context.findings);
    if url.as_ref().is_some_and(Url::holds_a_password) {
        let what = "holds a password, which backups and lists of processes may show";
        let mend = "take it out, and write store.password = \"file:PATH\" or \"env:NAME\"";
        context.findings.warn(&at.key("url"), what, mend);
    }
    let at = at.key("limits");
    let waits = Duration::from_millis(100)..=Duration::from_secs(600);
    let wait = span(
        shape.limits.wait,
        waits,
        &at.key("wait"),
        &mut context.findings,
    );
    let limits = store_limits(shape, wait, server, &at, &mut context.findings);
    let named = match &shape.spool {
        Some(named) => {
            let key = KeyPath::of(&["store", "spool"]);
            Some(spool::settings(
                named,
                url.as_ref(),
                wait?,
                server,
                &key,
                context,
            )?)
        }
        None => None,
    };
    let unnamed = context.resolve(&file::StoreSpool::default().path);
    Some(StoreSettings {
        url: url?.with_access(access?).with_password(password?),
        limits: limits?,
        unnamed_spool: named
            .as_ref()
            .is_none_or(|named| named.path != unnamed)
            .then_some(unnamed),
        spool: named,
    })
}

/// How much may wait for the store, and for how long.
fn store_limits(
    shape: &file::Store,
    wait: Option<Duration>,
    server: Option<&ServerSettings>,
    at: &KeyPath,
    findings: &mut Findings,
) -> Option<crate::inbox::Limits> {
    let limits = &shape.limits;
    let mut number = |key: &str, value: i64, range: RangeInclusive<i64>| {
        self::number(value, range, &at.key(key), findings)
    };
    let queue_deliveries = number("queue_deliveries", limits.queue_deliveries, 1..=1_000_000);
    let queue_bytes = number("queue_bytes", limits.queue_bytes, 1..=1 << 40);
    let batch_deliveries = number("batch_deliveries", limits.batch_deliveries, 1..=4096);
    if let (Some(queue), Some(server)) = (queue_bytes, server)
        && queue < server.body_bytes
    {
        let what = "a body as long as server.limits.body_bytes would never fit";
        let mend = format!("write {} or more", server.body_bytes);
        findings.fault(&at.key("queue_bytes"), what, mend);
    }
    if let (Some(wait), Some(server), None) = (wait, server, &shape.spool)
        && server.request_timeout < wait
    {
        let what = "a delivery may wait longer for the store than its whole request may take";
        let mend = format!(
            "write \"{}\" or less, or give server.limits.request_timeout more",
            Span(server.request_timeout)
        );
        findings.warn(&at.key("wait"), what, mend);
    }
    Some(crate::inbox::Limits {
        queue_deliveries: queue_deliveries?,
        queue_bytes: queue_bytes?,
        batch_deliveries: batch_deliveries?,
        wait: wait?,
        ..crate::inbox::Limits::default()
    })
}

/// The database's password, if one is named. `None` if it cannot be had.
fn password(
    shape: &file::Store,
    at: &KeyPath,
    context: &mut Context<'_>,
) -> Option<Option<Secret>> {
    let Some(reference) = &shape.password else {
        return Some(None);
    };
    // What cannot be loaded was told; of several lines the first counts.
    let loaded = secrets::load(reference, &at.key("password"), context);
    Some(Some(loaded.into_iter().next()?.secret))
}

/// How a PostgreSQL is used.
fn access(shape: &file::Store, at: &KeyPath, findings: &mut Findings) -> Option<Access> {
    let at = at.key("postgres");
    let shape = &shape.postgres;
    let writers = number(shape.writers, 1..=64, &at.key("writers"), findings);
    let readers = number(shape.readers, 1..=64, &at.key("readers"), findings);
    let timeouts = Duration::from_millis(10)..=Duration::from_secs(600);
    let mut timeout =
        |key: &str, span: Span| self::span(span, timeouts.clone(), &at.key(key), findings);
    let connect_timeout = timeout("connect_timeout", shape.connect_timeout);
    let statement_timeout = timeout("statement_timeout", shape.statement_timeout);
    let patience = timeout("patience", shape.patience);
    Some(Access {
        writers: writers?,
        readers: readers?,
        connect_timeout: connect_timeout?,
        statement_timeout: statement_timeout?,
        patience: patience?,
    })
}

/// A path of the providers' side, as it stands in a request's first line.
pub(super) fn path(text: &str, key: &KeyPath, findings: &mut Findings) -> Option<Arc<str>> {
    let wrong = if !text.starts_with('/') {
        Some(("does not begin with /", format!("write \"/{text}\"")))
    } else if let Some(at) = text.find(['?', '#']) {
        let path = text.get(..at).unwrap_or("/");
        Some((
            "a path has no query and no fragment",
            format!("write {path:?}"),
        ))
    } else if !text.chars().all(|c| c.is_ascii_graphic()) {
        Some((
            "holds a character that no request can have there",
            "write it percent-encoded, as requests have it".to_owned(),
        ))
    } else if text.len() > 1024 {
        Some((
            "is longer than 1024 bytes",
            "write a shorter path".to_owned(),
        ))
    } else {
        None
    };
    match wrong {
        Some((what, mend)) => {
            findings.fault(key, what, mend);
            None
        }
        None => {
            if text.contains('*') {
                // A request may have one there.
                let what = "a * is that very character: a path is compared whole, and stands for no others";
                findings.warn(key, what, "write each path that is delivered to in full");
            }
            Some(text.into())
        }
    }
}

fn paths(shape: &[String], at: &KeyPath, findings: &mut Findings) -> Vec<Arc<str>> {
    let mut paths: Vec<Arc<str>> = Vec::new();
    if shape.is_empty() {
        let what = "there are none: only producers with a path of their own can deliver";
        findings.warn(at, what, "write paths = [\"/webhooks/payments\"]");
    }
    for (index, text) in shape.iter().enumerate() {
        let key = at.index(index);
        let Some(path) = self::path(text, &key, findings) else {
            continue;
        };
        if paths.contains(&path) {
            findings.fault(&key, "this path is in the list already", "take it out");
        } else {
            paths.push(path);
        }
    }
    paths
}

fn address(
    text: &str,
    key: &KeyPath,
    example: &str,
    findings: &mut Findings,
) -> Option<SocketAddr> {
    match text.parse() {
        Ok(address) => Some(address),
        Err(_no_address) => {
            let what = format!("{text:?} is no IP address with a port");
            findings.fault(key, what, format!("write {example}"));
            None
        }
    }
}

//! Gates 1, again, and 2: what passes them is [`Admitted`].
//!
//! All that can be refused before a byte of the body is read is refused here. What a request says of itself in its headers
//! is not looked at.

use std::net::Ipv6Addr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Method, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};

use super::answer::Answer;
use super::receive::judge_for_shadow;
use super::receiver::{Current, Receiver};
use crate::identity::{Identified, IdentityRefusal};
use crate::tls::PeerCertificates;

/// How much of a refused body is read and forgotten, at most.
const READ_AWAY_BYTES: usize = 16 * 1024 * 1024;

/// A request whose sender is known, and when it came. Only [`identify`] makes one.
pub(super) struct Admitted {
    pub(super) identified: Identified,
    /// The configuration by which it was identified.
    pub(super) current: Arc<Current>,
    /// When its head was read: the time by which all of it is judged.
    pub(super) at: Timestamp,
}

/// Opens the gates to a request, and gives its body back; or says why not, after which the body is of no more use.
pub(super) async fn identify<I>(
    receiver: &Receiver<I>,
    head: &Parts,
    body: Incoming,
) -> Result<(Admitted, Incoming), Answer> {
    let at = Timestamp::now();
    let current = receiver.current();
    match judge(receiver, &current, head, at) {
        Ok(identified) => {
            let admitted = Admitted {
                identified,
                current,
                at,
            };
            Ok((admitted, body))
        }
        Err(answer) => {
            let peer = head.extensions.get::<PeerCertificates>();
            let directory = current.snapshot.directory();
            let watching = peer
                .and_then(|peer| directory.watching(peer.leaf(), head.uri.path()))
                .filter(|_| head.method == Method::POST);
            if let Some(producer) = watching {
                judge_for_shadow(receiver, &current, producer, head, body, at).await;
            } else {
                let deadline = Instant::now() + current.snapshot.limits().body_timeout;
                read_away(body, head.version, deadline);
            }
            Err(answer)
        }
    }
}

/// The same once more, after the body: what ended while it came, and what a reload withdrew meanwhile, counts.
pub(super) fn as_of_now<I>(
    receiver: &Receiver<I>,
    admitted: Admitted,
    head: &Parts,
) -> Result<Admitted, Answer> {
    let current = receiver.current();
    let now = Timestamp::now();
    let peer = still_trusted(receiver, &current, head, now)?;
    if Arc::ptr_eq(&current, &admitted.current) {
        return Ok(admitted);
    }
    Ok(Admitted {
        identified: identified(receiver, &current, &peer, head, now)?,
        current,
        at: admitted.at,
    })
}

fn judge<I>(
    receiver: &Receiver<I>,
    current: &Current,
    head: &Parts,
    now: Timestamp,
) -> Result<Identified, Answer> {
    let peer = still_trusted(receiver, current, head, now)?;
    well_framed(head)?;
    on_a_known_path(current, head)?;
    identified(receiver, current, &peer, head, now)
}

/// Gate 1, again: what the handshake proved holds under today's trust.
fn still_trusted<I>(
    receiver: &Receiver<I>,
    current: &Current,
    head: &Parts,
    now: Timestamp,
) -> Result<PeerCertificates, Answer> {
    // Our acceptor puts it there; a request without it did not come through a handshake, so it gets nothing.
    let peer = head
        .extensions
        .get::<PeerCertificates>()
        .ok_or_else(|| receiver.defect())?;
    match peer.recheck(current.snapshot.trust(), now) {
        Ok(()) => Ok(peer.clone()),
        Err(source) => {
            let refusal = IdentityRefusal::CertificateNoLongerValid { source };
            Err(receiver.refuse_identity(current, peer, &refusal, now))
        }
    }
}

/// Over HTTP/2 the host stands in `:authority`, and mostly there alone (RFC 9113 §8.3.1): who signs a host, signs that one.
pub(super) fn name_the_host(head: &mut Parts) {
    let authority = head.uri.authority().map(Authority::as_str);
    if head.version >= Version::HTTP_2
        && !head.headers.contains_key(HOST)
        && let Some(Ok(host)) = authority.map(HeaderValue::from_str)
    {
        head.headers.insert(HOST, host);
    }
}

/// What is demanded of a request and hyper lets pass: one host, and no transfer coding but `chunked` (RFC 9112 §6.1).
fn well_framed(head: &Parts) -> Result<(), Answer> {
    if !names_one_host(head) {
        return Err(Answer::no_single_host());
    }
    if head.version != Version::HTTP_11 {
        return Ok(());
    }
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let known = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    };
    if known {
        Ok(())
    } else {
        Err(Answer::unknown_transfer_coding())
    }
}

/// One `Host` that can be one (RFC 9112 §3.2), which is that of `:authority` (RFC 9113 §8.3.1).
fn names_one_host(head: &Parts) -> bool {
    let mut hosts = head.headers.get_all(HOST).iter();
    let (host, second) = (hosts.next().map(HeaderValue::as_bytes), hosts.next());
    let authority = head.uri.authority().map(|one| one.as_str().as_bytes());
    if second.is_some() || authority.is_some_and(|authority| !is_host(authority)) {
        return false;
    }
    let Some(host) = host else {
        return head.version < Version::HTTP_11;
    };
    if head.version >= Version::HTTP_2 {
        is_host(host) && authority.is_none_or(|one| host.eq_ignore_ascii_case(one))
    } else {
        // Empty is who has no name for us, as RFC 9112 lets it.
        host.is_empty() || is_host(host)
    }
}

/// A name or an address, and a port that there is, or an empty one (RFC 3986 §3.2.2, §3.2.3); without a user's name (RFC 9110 §4.2.4).
fn is_host(text: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(text) else {
        return false;
    };
    let (is_named, port) = match text.strip_prefix('[') {
        Some(literal) => {
            let Some((address, port)) = literal.split_once(']') else {
                return false;
            };
            (address.parse::<Ipv6Addr>().is_ok(), port)
        }
        None => {
            let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (is_registered_name(name), port)
        }
    };
    is_named && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// An IPv4 address is written like a name.
fn is_registered_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        let known = match byte {
            b'%' => {
                let digits = [bytes.next(), bytes.next()];
                digits
                    .iter()
                    .all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit()))
            }
            byte => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte),
        };
        if !known {
            return false;
        }
    }
    !name.is_empty()
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|digit| digit.is_ascii_digit())
        && (port.is_empty() || port.parse::<u16>().is_ok())
}

fn on_a_known_path(current: &Current, head: &Parts) -> Result<(), Answer> {
    if !current.snapshot.accepts_path(head.uri.path()) {
        return Err(Answer::not_found());
    }
    if head.method == Method::POST || head.method == Method::GET {
        Ok(())
    } else {
        Err(Answer::method_not_allowed())
    }
}

/// Gate 2: which producer of which tenant this is.
fn identified<I>(
    receiver: &Receiver<I>,
    current: &Current,
    peer: &PeerCertificates,
    head: &Parts,
    now: Timestamp,
) -> Result<Identified, Answer> {
    let path = head.uri.path();
    let identified = current.snapshot.directory().identify(peer, path);
    let (snapshot, opened) = (&current.snapshot, identified.is_ok());
    receiver.shadow.identity(snapshot, peer, path, opened, now);
    identified.map_err(|refusal| receiver.refuse_identity(current, peer, &refusal, now))
}

/// Reads what is left of a body that is refused, and forgets it, beside the answer. Over HTTP/2 a stream whose body nobody reads is
/// reset, and some clients then never look at the answer; over HTTP/1.1 the connection's end takes care of it. It is bounded by time
/// and bytes, and in number by the streams that a connection may have.
pub(super) fn read_away(body: Incoming, version: Version, deadline: Instant) {
    if version < Version::HTTP_2 || body.is_end_stream() {
        return;
    }
    tokio::spawn(async move {
        let mut body = body;
        let mut left = READ_AWAY_BYTES;
        while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The host that is read of such a request, or the name of its problem.
    fn read(version: Version, uri: &str, hosts: &[&str]) -> Result<Option<String>, &'static str> {
        let mut request = http::Request::builder().version(version).uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        name_the_host(&mut head);
        well_framed(&head).map_err(|answer| answer.name())?;
        let host = head.headers.get(HOST);
        Ok(host.map(|host| host.to_str().unwrap().to_owned()))
    }

    #[test]
    fn a_request_names_one_host_in_either_version() {
        let named = |host: &str| Ok(Some(host.to_owned()));
        let malformed = Err("host-malformed");
        let (old, new) = (Version::HTTP_11, Version::HTTP_2);
        let whole = "https://a.example:8443/hooks";
        for (version, uri, hosts, expected) in [
            (old, "/hooks", &["a.example"][..], named("a.example")),
            (old, "/hooks", &[], malformed.clone()),
            (
                old,
                "/hooks",
                &["a.example", "a.example"],
                malformed.clone(),
            ),
            (new, whole, &[], named("a.example:8443")),
            (new, whole, &["A.example:8443"], named("A.example:8443")),
            (new, whole, &["b.example"], malformed.clone()),
            (
                new,
                whole,
                &["a.example:8443", "a.example:8443"],
                malformed.clone(),
            ),
            (new, "/hooks", &["a.example"], named("a.example")),
            (new, "/hooks", &[], malformed.clone()),
            (new, "https://u@a.example/hooks", &[], malformed.clone()),
            (
                old,
                "https://u@a.example/hooks",
                &["a.example"],
                malformed.clone(),
            ),
            (old, whole, &["a.example:8443"], named("a.example:8443")),
            // An older client may name none, and no client a wrong one.
            (Version::HTTP_10, "/hooks", &[], Ok(None)),
            (Version::HTTP_10, "/hooks", &["a b"], malformed.clone()),
            (Version::HTTP_10, "/hooks", &["a", "a"], malformed.clone()),
            (old, "/hooks", &[""], named("")),
            (new, "/hooks", &[""], malformed.clone()),
        ] {
            assert_eq!(read(version, uri, hosts), expected, "{uri} {hosts:?}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_a_port_at_most() {
        for host in [
            "a",
            "a.example",
            "A.Example.",
            "under_score.example",
            "xn--bcher-kva.example",
            "a%20b",
            "a,b",
            "127.0.0.1",
            "127.0.0.1:8443",
            "[::1]",
            "[2001:DB8::1]:8443",
            "[::ffff:192.0.2.1]",
            "h:",
            "[::1]:",
            "h:0",
            "h:65535",
            "h:00443",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            ":",
            ":443",
            "a b",
            "a b/@",
            "a, b",
            " a",
            "evil.example/x?y",
            "a?y",
            "a#y",
            "a\\b",
            "\"<x>",
            "u@h",
            "u:p@h",
            "a:99999999",
            "a:65536",
            "a:+80",
            "a:8x",
            "a:80:80",
            "::1",
            "[::1",
            "[]",
            "[a]",
            "[127.0.0.1]",
            "[fe80::1%25eth0]",
            "[::1]x",
            "[::1]80",
            "[::1][::1]",
            "a]",
            "a%2",
            "a%zz",
            "%",
            "b\u{fc}cher.example",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
        assert!(!is_host(b"a\xff"));
        assert!(!is_host(b"a\0"));
    }
}

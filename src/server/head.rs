//! A request's head: what is demanded of it, and what of it a signature may cover.

use std::net::Ipv6Addr;

use http::header::{HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderValue, Version};

use super::answer::Answer;
use crate::signature;

/// What a header takes besides its name and its value.
const HEADER_PLACE: usize = 128;

/// Over HTTP/2 the host stands in `:authority`, and mostly there alone (RFC 9113 §8.3.1): who signs a host, signs that one. Before it,
/// that of a whole URL as the target goes before the one `Host` that must be there as well (RFC 9112 §3.2.2).
pub(super) fn name_the_host(head: &mut Parts) {
    let Some(authority) = head.uri.authority() else {
        return;
    };
    let hosts = head.headers.get_all(HOST).iter().count();
    let instead_of = usize::from(head.version < Version::HTTP_2);
    if hosts == instead_of
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        head.headers.insert(HOST, host);
    }
}

/// What is demanded of a request and hyper lets pass: one host, and no transfer coding but `chunked` (RFC 9112 §6.1).
pub(super) fn well_framed(head: &Parts) -> Result<(), Answer> {
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

/// What a head takes of the memory, about: a map keeps a place for each header, and over HTTP/2 a byte may stand for a whole one.
pub(super) fn bytes_of(head: &Parts) -> usize {
    let headers = head.headers.iter();
    let fields: usize = headers
        .map(|(name, value)| HEADER_PLACE + name.as_str().len() + value.len())
        .sum();
    let target = head.uri.path_and_query().map_or(0, |it| it.as_str().len());
    fields.saturating_add(target)
}

/// What a signature may cover besides the body.
pub(super) fn asked(head: &Parts) -> signature::Request<'_> {
    let path_and_query = head
        .uri
        .path_and_query()
        .map_or(head.uri.path(), |whole| whole.as_str());
    signature::Request {
        method: &head.method,
        path_and_query,
        headers: &head.headers,
    }
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
            (old, whole, &["b.example"], named("a.example:8443")),
            (old, whole, &["a b"], named("a.example:8443")),
            (old, whole, &[], malformed.clone()),
            (old, whole, &["a.example:8443", "b"], malformed.clone()),
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
    fn a_head_takes_room_for_each_header_however_short() {
        let size = |headers: usize| {
            let mut request = http::Request::builder().uri("/hooks");
            for _ in 0..headers {
                request = request.header("a", "");
            }
            let (head, ()) = request.body(()).unwrap().into_parts();
            bytes_of(&head)
        };
        assert_eq!([size(0), size(1), size(900)], [6, 135, 116_106]);
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

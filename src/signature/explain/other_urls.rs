//! The URLs that may have been signed instead of the one that is registered.

use http::HeaderMap;
use http::header::HOST;

use super::bodies::as_a_parameter;
use super::mistakes::UrlMistake;
use crate::signature::body::form;

/// The ports that a receiver behind a proxy is found on.
const USUAL_PORTS: [u16; 9] = [443, 80, 8443, 8080, 9443, 3000, 4443, 5000, 8000];

/// What the request tells of the URL that it was sent to.
#[derive(Clone, Copy)]
pub(super) struct Sent<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) path_and_query: &'a str,
}

/// The URLs that may have been signed instead: each with what was done otherwise, and without what was not.
pub(super) fn urls(url: &str, sent: Sent<'_>) -> Vec<(Vec<UrlMistake>, String)> {
    let mut urls = Urls {
        url,
        parts: Parts::of(url),
        all: Vec::new(),
    };
    urls.in_other_parts();
    if !urls.parts.scheme.is_empty() {
        urls.of_the_request(sent);
        urls.cut_short();
        urls.with_other_ports();
    }
    urls.written_otherwise();
    urls.all.sort_by_key(|(mistakes, _)| mistakes.len());
    urls.all
}

/// The same for what is signed of the request's own line.
pub(super) fn paths(path_and_query: &str) -> Vec<(Vec<UrlMistake>, String)> {
    let headers = &HeaderMap::new();
    let sent = Sent {
        headers,
        path_and_query,
    };
    urls(path_and_query, sent)
}

/// Whether one of the headers names the host of this URL as the one that was asked for.
pub(super) fn name_its_host(headers: &HeaderMap, url: &str) -> bool {
    let host = Parts::of(url).host();
    let named = |authority: &str| {
        let parts = Parts {
            authority,
            ..Parts::of("")
        };
        parts.host().eq_ignore_ascii_case(host)
    };
    texts(headers, HOST.as_str()).any(named) || forwarded_hosts(headers).any(named)
}

struct Urls<'a> {
    url: &'a str,
    parts: Parts<'a>,
    all: Vec<(Vec<UrlMistake>, String)>,
}

/// A URL, or a path and query: of that there is no scheme and no authority.
struct Parts<'a> {
    scheme: &'a str,
    authority: &'a str,
    path: &'a str,
    query: &'a str,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Self {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (scheme, rest) = base.split_once("://").unwrap_or(("", base));
        let at = if scheme.is_empty() {
            Some(0)
        } else {
            rest.find('/')
        };
        let (authority, path) = at
            .and_then(|at| rest.split_at_checked(at))
            .unwrap_or((rest, ""));
        Self {
            scheme,
            authority,
            path,
            query,
        }
    }

    fn other_scheme(&self) -> &'static str {
        if self.scheme == "https" {
            "http"
        } else {
            "https"
        }
    }

    /// The host, without its port.
    fn host(&self) -> &'a str {
        match self.authority.rsplit_once(':') {
            Some((host, port)) if is_port(port) => host,
            Some(_) | None => self.authority,
        }
    }

    fn schemes(&self) -> Vec<(Option<UrlMistake>, &'a str)> {
        let mut schemes = vec![(None, self.scheme)];
        if !self.scheme.is_empty() {
            schemes.push((Some(UrlMistake::Scheme), self.other_scheme()));
        }
        schemes
    }

    fn authorities(&self) -> Vec<(Option<UrlMistake>, String)> {
        let mut authorities = vec![(None, self.authority.to_owned())];
        if !self.scheme.is_empty() {
            let www = match self.authority.strip_prefix("www.") {
                Some(authority) => authority.to_owned(),
                None => format!("www.{}", self.authority),
            };
            authorities.push((Some(UrlMistake::Port), self.other_port()));
            authorities.push((Some(UrlMistake::Www), www));
        }
        authorities
    }

    /// Without its port, or with the one that needs not be written.
    fn other_port(&self) -> String {
        let host = self.host();
        if host.len() != self.authority.len() {
            host.to_owned()
        } else if self.scheme == "https" {
            format!("{host}:443")
        } else {
            format!("{host}:80")
        }
    }

    fn paths(&self) -> Vec<(Option<UrlMistake>, String)> {
        let slash = match self.path.strip_suffix('/') {
            Some(path) => path.to_owned(),
            None => format!("{}/", self.path),
        };
        vec![
            (None, self.path.to_owned()),
            (Some(UrlMistake::Slash), slash),
        ]
    }
}

impl Urls<'_> {
    fn add(&mut self, mistakes: impl IntoIterator<Item = UrlMistake>, other: String) {
        let is_known = self.all.iter().any(|(_, known)| *known == other);
        if other != self.url && !is_known {
            self.all.push((mistakes.into_iter().collect(), other));
        }
    }

    fn in_other_parts(&mut self) {
        let queries = [(None, self.parts.query), (Some(UrlMistake::Query), "")];
        for (of_scheme, scheme) in self.parts.schemes() {
            for (of_host, authority) in self.parts.authorities() {
                for (of_path, path) in self.parts.paths() {
                    for (of_query, query) in queries {
                        let all = [of_scheme, of_host, of_path, of_query];
                        let other = joined(scheme, &authority, &path, query);
                        self.add(all.into_iter().flatten(), other);
                    }
                }
            }
        }
    }

    fn of_the_request(&mut self, sent: Sent<'_>) {
        let Sent {
            headers,
            path_and_query,
        } = sent;
        let named: Vec<_> = texts(headers, HOST.as_str()).collect();
        let forwarded: Vec<_> = forwarded_hosts(headers).collect();
        let Parts {
            scheme,
            authority,
            path,
            query,
        } = self.parts;
        for host in &named {
            self.add(
                [UrlMistake::Request],
                joined(scheme, host, path_and_query, ""),
            );
            self.add([UrlMistake::Host], joined(scheme, host, path, query));
        }
        for host in &forwarded {
            self.add([UrlMistake::Forwarded], joined(scheme, host, path, query));
        }
        let own = joined(scheme, authority, path_and_query, "");
        self.add([UrlMistake::RequestPath], own);
        let other = self.parts.other_scheme();
        for host in &named {
            let url = joined(other, host, path_and_query, "");
            self.add([UrlMistake::Request, UrlMistake::Scheme], url);
            let url = joined(other, host, path, query);
            self.add([UrlMistake::Host, UrlMistake::Scheme], url);
        }
        for host in &forwarded {
            let url = joined(other, host, path, query);
            self.add([UrlMistake::Forwarded, UrlMistake::Scheme], url);
            let url = joined(scheme, host, path_and_query, "");
            self.add([UrlMistake::Forwarded, UrlMistake::RequestPath], url);
        }
        let url = joined(other, authority, path_and_query, "");
        self.add([UrlMistake::RequestPath, UrlMistake::Scheme], url);
    }

    fn cut_short(&mut self) {
        let Parts {
            scheme,
            authority,
            path,
            query,
        } = self.parts;
        self.add([UrlMistake::Path], joined("", "", path, query));
        self.add([UrlMistake::Origin], joined(scheme, authority, "", ""));
        self.add([UrlMistake::NoPath], joined(scheme, authority, "/", query));
        self.add([UrlMistake::NoPath], joined(scheme, authority, "", query));
        self.add([UrlMistake::NoScheme], joined("", authority, path, query));
    }

    fn with_other_ports(&mut self) {
        let Parts { path, query, .. } = self.parts;
        let host = self.parts.host();
        for (of_scheme, scheme) in self.parts.schemes() {
            for port in USUAL_PORTS {
                let other = joined(scheme, &format!("{host}:{port}"), path, query);
                let mistakes = [Some(UrlMistake::OtherPort(port)), of_scheme];
                self.add(mistakes.into_iter().flatten(), other);
            }
        }
    }

    fn written_otherwise(&mut self) {
        let Parts {
            scheme,
            authority,
            path,
            query,
        } = self.parts;
        if !scheme.is_empty() {
            let lower = authority.to_ascii_lowercase();
            self.add([UrlMistake::Case], joined(scheme, &lower, path, query));
            let doubled = format!("/{path}");
            self.add(
                [UrlMistake::TwoSlashes],
                joined(scheme, authority, &doubled, query),
            );
            self.add([UrlMistake::Encoded], as_a_parameter(self.url));
        }
        let kept = self.url.replace('+', "%2B");
        let decoded = form::decoded(kept.as_bytes());
        if let Ok(decoded) = std::str::from_utf8(&decoded) {
            self.add([UrlMistake::Decoded], decoded.to_owned());
        }
    }
}

fn texts<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter();
    values.filter_map(|value| value.to_str().ok())
}

/// The hosts that proxies say they were asked for; of a list each.
fn forwarded_hosts(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    const NAMES: [&str; 3] = ["x-forwarded-host", "x-original-host", "x-forwarded-server"];
    let plain = NAMES.into_iter().flat_map(|name| texts(headers, name));
    let plain = plain.flat_map(|text| text.split(',')).map(str::trim);
    let standard = texts(headers, "forwarded").flat_map(|text| text.split([',', ';']));
    let standard = standard.filter_map(|pair| {
        let (name, host) = pair.trim().split_once('=')?;
        let is_host = name.eq_ignore_ascii_case("host");
        is_host.then(|| host.trim().trim_matches('"'))
    });
    plain.chain(standard).filter(|host| !host.is_empty())
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
}

fn joined(scheme: &str, authority: &str, path: &str, query: &str) -> String {
    let after_scheme = if scheme.is_empty() { "" } else { "://" };
    let before_query = if query.is_empty() { "" } else { "?" };
    [scheme, after_scheme, authority, path, before_query, query].concat()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, text) in lines {
            let value = HeaderValue::from_str(text).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    #[test]
    fn each_other_url_is_named() {
        use UrlMistake::*;
        let headers = headers(&[
            ("host", "inner:8443"),
            ("x-forwarded-host", "asked.example, next.example"),
            (
                "forwarded",
                "for=10.0.0.1;host=\"told.example\";proto=https",
            ),
        ]);
        let sent = Sent {
            headers: &headers,
            path_and_query: "/own",
        };
        let check = |url, mistakes: &[UrlMistake], other: &str| {
            let all = urls(url, sent);
            let found = all.into_iter().find(|(_, url)| url == other);
            assert_eq!(
                found.map(|(mistakes, _)| mistakes).as_deref(),
                Some(mistakes),
                "{other}"
            );
        };
        let url = "https://example.com/in?a=1";
        check(url, &[Query], "https://example.com/in");
        check(url, &[Slash], "https://example.com/in/?a=1");
        check(url, &[Scheme], "http://example.com/in?a=1");
        check(url, &[Port], "https://example.com:443/in?a=1");
        check(url, &[Request], "https://inner:8443/own");
        check(url, &[Request, Scheme], "http://inner:8443/own");
        check(url, &[Host], "https://inner:8443/in?a=1");
        check(url, &[Forwarded, RequestPath], "https://asked.example/own");
        check(url, &[Forwarded], "https://next.example/in?a=1");
        check(url, &[Forwarded, Scheme], "http://told.example/in?a=1");
        check(url, &[RequestPath], "https://example.com/own");
        check(url, &[OtherPort(8443)], "https://example.com:8443/in?a=1");
        check(
            url,
            &[OtherPort(8080), Scheme],
            "http://example.com:8080/in?a=1",
        );
        check("https://h:9000/in", &[OtherPort(8443)], "https://h:8443/in");
        check(url, &[Path], "/in?a=1");
        check(url, &[NoPath], "https://example.com/?a=1");
        check(url, &[Origin], "https://example.com");
        check(url, &[NoScheme], "example.com/in?a=1");
        check(url, &[Scheme, Slash], "http://example.com/in/?a=1");
        check("https://h:8443/in", &[Port], "https://h/in");
        check("https://www.h/in", &[Www], "https://h/in");
        check("https://Example.com/in", &[Case], "https://example.com/in");
        check("https://h/in?a=x%20y+z", &[Decoded], "https://h/in?a=x y+z");
        check("https://h/in", &[Encoded], "https%3A%2F%2Fh%2Fin");
        check("https://h/in", &[TwoSlashes], "https://h//in");
        check("/in/", &[Slash], "/in");
        check("/in?a=1", &[Query], "/in");
        // What is as it should be is none of them.
        for (mistakes, other) in urls(url, sent) {
            assert!(other != url && !mistakes.is_empty(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_url_makes_it_panic(url in ".{0,30}|[htps:/?.%]{0,12}") {
            let headers = HeaderMap::new();
            let sent = Sent { headers: &headers, path_and_query: &url };
            let _ = urls(&url, sent);
            let _ = paths(&url);
        }
    }
}

//! The URLs that may have been signed instead of the one that is registered.

use super::mistakes::UrlMistake;

/// The URLs that may have been signed instead: each with what was done otherwise, and without what was not.
pub(super) fn urls(
    url: &str,
    host: Option<&str>,
    path_and_query: &str,
) -> Vec<(Vec<UrlMistake>, String)> {
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
    let mut urls: Vec<(Vec<UrlMistake>, String)> = Vec::new();
    let mut add = |mistakes: &[Option<UrlMistake>], other: String| {
        if other != url && !urls.iter().any(|(_, known)| *known == other) {
            urls.push((mistakes.iter().copied().flatten().collect(), other));
        }
    };
    let mut schemes = vec![(None, scheme)];
    let mut authorities = vec![(None, authority.to_owned())];
    if !scheme.is_empty() {
        let other = if scheme == "https" { "http" } else { "https" };
        schemes.push((Some(UrlMistake::Scheme), other));
        authorities.push((Some(UrlMistake::Port), other_port(scheme, authority)));
        let www = match authority.strip_prefix("www.") {
            Some(authority) => authority.to_owned(),
            None => format!("www.{authority}"),
        };
        authorities.push((Some(UrlMistake::Www), www));
    }
    let slash = match path.strip_suffix('/') {
        Some(path) => path.to_owned(),
        None => format!("{path}/"),
    };
    let paths = [(None, path.to_owned()), (Some(UrlMistake::Slash), slash)];
    let queries = [(None, query), (Some(UrlMistake::Query), "")];
    for (of_scheme, scheme) in schemes.iter().copied() {
        for (of_host, authority) in &authorities {
            for (of_path, path) in &paths {
                for (of_query, query) in queries {
                    let all = [of_scheme, *of_host, *of_path, of_query];
                    add(&all, joined(scheme, authority, path, query));
                }
            }
        }
        if let Some(host) = host {
            let other = joined(scheme, host, path_and_query, "");
            add(&[Some(UrlMistake::Request), of_scheme], other);
        }
    }
    if !scheme.is_empty() {
        add(&[Some(UrlMistake::Path)], joined("", "", path, query));
        add(
            &[Some(UrlMistake::Origin)],
            joined(scheme, authority, "", ""),
        );
        let without = joined("", authority, path, query);
        add(&[Some(UrlMistake::NoScheme)], without);
    }
    urls.sort_by_key(|(mistakes, _)| mistakes.len());
    urls
}

/// Without its port, or with the one that needs not be written.
fn other_port(scheme: &str, authority: &str) -> String {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match authority.rsplit_once(':') {
        Some((host, port)) if is_port(port) => host.to_owned(),
        Some(_) | None if scheme == "https" => format!("{authority}:443"),
        Some(_) | None => format!("{authority}:80"),
    }
}

fn joined(scheme: &str, authority: &str, path: &str, query: &str) -> String {
    let after_scheme = if scheme.is_empty() { "" } else { "://" };
    let before_query = if query.is_empty() { "" } else { "?" };
    [scheme, after_scheme, authority, path, before_query, query].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_other_url_is_named() {
        use UrlMistake::*;
        let check = |url, mistakes: &[UrlMistake], other: &str| {
            let all = urls(url, Some("inner:8443"), "/own");
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
        check(url, &[Path], "/in?a=1");
        check(url, &[Origin], "https://example.com");
        check(url, &[NoScheme], "example.com/in?a=1");
        check(url, &[Scheme, Slash], "http://example.com/in/?a=1");
        check("https://h:8443/in", &[Port], "https://h/in");
        check("https://www.h/in", &[Www], "https://h/in");
        check("/in/", &[Slash], "/in");
        check("/in?a=1", &[Query], "/in");
        // What is as it should be is none of them.
        for (mistakes, other) in urls(url, None, "") {
            assert!(other != url && !mistakes.is_empty(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_url_makes_it_panic(url in ".{0,30}|[htps:/?.]{0,12}") {
            let _ = urls(&url, Some(&url), &url);
        }
    }
}

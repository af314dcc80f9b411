//! Who may ask: the token, and no web page on another origin's behalf.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::problem::{self, Problem};
use crate::secret::Secret;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a request must show.
#[derive(Debug)]
pub struct Guard {
    listen: SocketAddr,
    tokens: Vec<Secret>,
}

impl Guard {
    /// A guard for the address that is listened on, and the tokens of which requests must bear one; none is demanded where
    /// there is none.
    pub fn new(listen: SocketAddr, tokens: Vec<Secret>) -> Self {
        Self { listen, tokens }
    }

    /// Whether `Host` is a name by which this address may be called. On loopback only loopback's own names are, so
    /// that a name which a page made to point here (DNS rebinding) gets nothing; elsewhere the token decides.
    fn knows_host(&self, headers: &HeaderMap) -> bool {
        // As the configuration judges it: an IPv4 address may be written as an IPv6 one.
        let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
        if !is_loopback(self.listen.ip()) {
            return true;
        }
        let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else {
            return false;
        };
        let name = without_port(host);
        let name = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'))
            .unwrap_or(name);
        name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback)
    }

    /// Whether the request bears a token, where one is demanded.
    pub(super) fn knows_token(&self, headers: &HeaderMap) -> bool {
        if self.tokens.is_empty() {
            return true;
        }
        let bearer = headers
            .get(AUTHORIZATION)
            .map(HeaderValue::as_bytes)
            .and_then(|value| {
                let (scheme, sent) = value.split_at_checked(7)?;
                scheme.eq_ignore_ascii_case(b"bearer ").then_some(sent)
            });
        // Digests have one length, so the comparison does not tell the token's.
        let digest = |bytes: &[u8]| Sha256::digest(bytes);
        // Every token is tried: the time taken must not tell which one is in use.
        bearer.is_some_and(|sent| {
            let sent = digest(sent);
            self.tokens.iter().fold(false, |known, token| {
                known | verify_slices_are_equal(&sent, &digest(token.expose())).is_ok()
            })
        })
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if !name.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            name
        }
        Some(_) | None => host,
    }
}

/// Turns away what a browser sends for the sake of a page from elsewhere.
pub(super) async fn refuse_other_origins(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let same_origin = match headers.get(ORIGIN) {
        None => true,
        Some(origin) => {
            let origin = origin.to_str().unwrap_or_default();
            let origin = origin
                .strip_prefix("http://")
                .or_else(|| origin.strip_prefix("https://"));
            let host = headers.get(HOST).and_then(|host| host.to_str().ok());
            origin.is_some() && origin == host
        }
    };
    let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    let same_site = matches!(site, None | Some(b"none" | b"same-origin"));
    if same_origin && same_site && guard.knows_host(headers) {
        return next.run(request).await;
    }
    refused(
        StatusCode::FORBIDDEN,
        "other-origin",
        "Not for other origins",
        "call the operator's side by its own address",
    )
}

/// Demands the token, where there is one.
pub(super) async fn demand_token(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    if guard.knows_token(request.headers()) {
        return next.run(request).await;
    }
    let detail = "send \"Authorization: Bearer TOKEN\" with the value of admin.token";
    let mut response = refused(
        StatusCode::UNAUTHORIZED,
        "token-required",
        "A token is required",
        detail,
    );
    response
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

fn refused(status: StatusCode, name: &'static str, title: &'static str, detail: &str) -> Response {
    answer(&Problem {
        status,
        name,
        title,
        detail: detail.to_owned(),
    })
}

/// A problem as a response.
pub(super) fn answer(problem: &Problem) -> Response {
    let media_type = [(axum::http::header::CONTENT_TYPE, problem::MEDIA_TYPE)];
    (problem.status, media_type, problem.to_json()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn on_loopback_only_its_own_names_are_answered() {
        only_its_own_names_are_answered("127.0.0.1:9443");
        only_its_own_names_are_answered("[::1]:9443");
        only_its_own_names_are_answered("[::ffff:127.0.0.1]:9443");
    }

    #[track_caller]
    fn only_its_own_names_are_answered(listen: &str) {
        let guard = Guard::new(listen.parse().unwrap(), Vec::new());
        for good in [
            "localhost",
            "LOCALHOST:9443",
            "127.0.0.1:9443",
            "127.0.0.1",
            "[::1]:9443",
            "[::1]",
            "[::ffff:127.0.0.1]:9443",
        ] {
            assert!(guard.knows_host(&headers(&[(HOST, good)])), "{good}");
        }
        for bad in [
            "attacker.example",
            "localhost.attacker.example",
            "127.0.0.1.attacker.example:9443",
            "",
            "10.0.0.1",
            "[::ffff:10.0.0.1]:9443",
        ] {
            assert!(!guard.knows_host(&headers(&[(HOST, bad)])), "{bad}");
        }
        assert!(!guard.knows_host(&HeaderMap::new()));
    }

    #[test]
    fn only_the_very_token_opens() {
        let tokens = vec![
            Secret::new(b"other".to_vec()),
            Secret::new(b"s3cret".to_vec()),
        ];
        let guard = Guard::new("0.0.0.0:9443".parse().unwrap(), tokens);
        assert!(guard.knows_token(&headers(&[(AUTHORIZATION, "Bearer s3cret")])));
        assert!(guard.knows_token(&headers(&[(AUTHORIZATION, "bearer s3cret")])));
        for bad in [
            "Bearer s3cre",
            "Bearer s3cretX",
            "Bearer ",
            "s3cret",
            "Basic s3cret",
        ] {
            assert!(
                !guard.knows_token(&headers(&[(AUTHORIZATION, bad)])),
                "{bad}"
            );
        }
        assert!(!guard.knows_token(&HeaderMap::new()));
    }
}

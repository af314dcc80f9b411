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

use crate::config::{AdminSettings, Live};
use crate::problem::{self, Problem};
use crate::secret::Secret;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a request must show.
#[derive(Debug)]
pub struct Guard {
    listen: SocketAddr,
    tokens: Live<Vec<Secret>>,
}

impl Guard {
    /// A guard for the address that is listened on, and the tokens of which requests must bear one; none is demanded where
    /// there is none.
    pub fn new(listen: SocketAddr, tokens: Vec<Secret>) -> Self {
        Self {
            listen,
            tokens: Live::new(tokens),
        }
    }

    /// Demands the tokens of `settings` from now on. What listens where others than this machine can ask keeps those that it has where
    /// there are none: only a restart moves it to loopback.
    pub fn renew(&self, settings: &AdminSettings) {
        let running = AdminSettings {
            listen: self.listen,
            tokens: settings.tokens.clone(),
        };
        if running.may_be_open() || !running.tokens.is_empty() {
            self.tokens.swap(Arc::new(running.tokens));
        }
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
        let tokens = self.tokens.load();
        if tokens.is_empty() {
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
            tokens.iter().fold(false, |known, token| {
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
    if same_origin && same_site && names_one_host(&request) && guard.knows_host(headers) {
        return next.run(request).await;
    }
    refused(
        StatusCode::FORBIDDEN,
        "other-origin",
        "Not for other origins",
        "call the operator's side by its own address",
    )
}

/// Whether all that names a host, each `Host` and an absolute target, names the same: of several, the one that is looked at may not be the
/// one that was meant.
fn names_one_host(request: &Request) -> bool {
    let hosts = request.headers().get_all(HOST).iter();
    let of_target = request.uri().authority();
    let of_target = of_target.map(|authority| authority.as_str().as_bytes());
    let mut all = hosts.map(HeaderValue::as_bytes).chain(of_target);
    let Some(first) = all.next() else {
        return true;
    };
    all.all(|other| other.eq_ignore_ascii_case(first))
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
    fn several_names_of_a_host_must_agree() {
        let request = |target: &str, hosts: &[&str]| {
            let mut request = Request::new(axum::body::Body::empty());
            *request.uri_mut() = target.parse().unwrap();
            for host in hosts {
                let host = HeaderValue::from_str(host).unwrap();
                request.headers_mut().append(HOST, host);
            }
            request
        };
        for (target, hosts, agree) in [
            ("/metrics", &["localhost:9443"][..], true),
            ("/metrics", &["localhost", "LOCALHOST"], true),
            ("/metrics", &["localhost", "attacker.example"], false),
            ("http://localhost:9443/metrics", &["localhost:9443"], true),
            ("http://attacker.example/metrics", &["localhost"], false),
        ] {
            let request = request(target, hosts);
            assert_eq!(names_one_host(&request), agree, "{target} {hosts:?}");
        }
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

    #[test]
    fn a_renewed_token_counts_at_once_and_what_is_open_to_others_is_never_left_without_one() {
        let listen = "0.0.0.0:9443".parse().unwrap();
        let token = |text: &str| Secret::new(text.as_bytes().to_vec());
        let guard = Guard::new(listen, vec![token("first")]);
        let knows = |text: &str| guard.knows_token(&headers(&[(AUTHORIZATION, text)]));
        guard.renew(&AdminSettings {
            listen,
            tokens: vec![token("second")],
        });
        assert!(knows("Bearer second"));
        assert!(!knows("Bearer first"));
        guard.renew(&AdminSettings {
            listen: "127.0.0.1:9443".parse().unwrap(),
            tokens: Vec::new(),
        });
        assert!(knows("Bearer second"));
        assert!(!guard.knows_token(&HeaderMap::new()));
        // On loopback nobody else can ask.
        let listen = "127.0.0.1:9443".parse().unwrap();
        let guard = Guard::new(listen, vec![token("first")]);
        let tokens = Vec::new();
        guard.renew(&AdminSettings { listen, tokens });
        assert!(guard.knows_token(&HeaderMap::new()));
    }
}

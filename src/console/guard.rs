//! Who may ask. A server on loopback is reachable from every web page that the user's browser shows, so being there is no
//! permission.
//!
//! - **Host**: only the server's own names. A page of another site whose name is made to resolve to 127.0.0.1 (DNS rebinding) still
//!   sends its own.
//! - **Origin**: none, or the server's own.
//! - **Token**: what the page reads or changes needs the token of the URL that the command printed. The page's files do not.

use std::net::SocketAddr;

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::credentials::webhook::Tokens;
use crate::webhook::{bears_one_of, single};

/// Nothing from elsewhere, nothing inline, and no string that becomes markup or code.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// The headers of every answer.
const HEADERS: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Decides about requests to one server.
#[derive(Debug)]
pub(super) struct Guard {
    hosts: [String; 3],
    tokens: Tokens,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its host or origin is another.
    Elsewhere,
    /// It has no token, or a wrong one.
    NoToken,
}

impl Guard {
    pub(super) fn new(address: SocketAddr, tokens: Tokens) -> Self {
        let port = address.port();
        let hosts = [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}")];
        Self { hosts, tokens }
    }

    /// Whether a request may have any answer.
    pub(super) fn check_place(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let is_ours = |host: &str| self.hosts.iter().any(|ours| ours.eq_ignore_ascii_case(host));
        let has_host = single(headers, HOST.as_str()).is_some_and(is_ours);
        let origin_is_ours = match single(headers, ORIGIN.as_str()) {
            Some(origin) => origin.strip_prefix("http://").is_some_and(is_ours),
            None => !headers.contains_key(ORIGIN),
        };
        if has_host && origin_is_ours { Ok(()) } else { Err(Refusal::Elsewhere) }
    }

    /// Whether a request may read or change something.
    pub(super) fn check_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if bears_one_of(&self.tokens, headers) { Ok(()) } else { Err(Refusal::NoToken) }
    }
}

/// Adds the headers of every answer. What a response already has stays.
pub(super) fn protect<T>(mut response: Response<T>) -> Response<T> {
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

impl Refusal {
    pub(super) fn response(self) -> Response<String> {
        let (status, text) = match self {
            Self::Elsewhere => {
                (StatusCode::FORBIDDEN, "this page answers to its own address only: open the URL that was printed\n")
            }
            Self::NoToken => (StatusCode::UNAUTHORIZED, "open the URL that was printed: it has the token\n"),
        };
        let mut response = Response::new(text.to_owned());
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123";

    fn guard() -> Guard {
        Guard::new(([127, 0, 0, 1], 4817).into(), Tokens::parse(&TOKEN.into()).unwrap())
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_the_servers_own_host_and_origin_are_answered() {
        for (pairs, is_answered) in [
            (&[("host", "127.0.0.1:4817")][..], true),
            (&[("host", "localhost:4817")], true),
            (&[("host", "LOCALHOST:4817"), ("origin", "http://localhost:4817")], true),
            (&[("host", "[::1]:4817"), ("origin", "http://127.0.0.1:4817")], true),
            (&[], false),
            (&[("host", "127.0.0.1")], false),
            (&[("host", "127.0.0.1:4818")], false),
            (&[("host", "rebound.example:4817")], false),
            (&[("host", "127.0.0.1:4817"), ("origin", "null")], false),
            (&[("host", "127.0.0.1:4817"), ("origin", "https://127.0.0.1:4817")], false),
            (&[("host", "127.0.0.1:4817"), ("origin", "http://evil.example")], false),
            (&[("host", "127.0.0.1:4817"), ("origin", "http://127.0.0.1:4817.evil.example")], false),
        ] {
            assert_eq!(guard().check_place(&headers(pairs)).is_ok(), is_answered, "{pairs:?}");
        }
        let mut twice = headers(&[("host", "127.0.0.1:4817")]);
        twice.append(HOST, "evil.example".parse().unwrap());
        assert_eq!(guard().check_place(&twice), Err(Refusal::Elsewhere));
    }

    #[test]
    fn the_token_is_needed_whole() {
        for (value, is_valid) in [
            (format!("Bearer {TOKEN}"), true),
            (TOKEN.to_owned(), false),
            (format!("Basic {TOKEN}"), false),
            (format!("Bearer {}", &TOKEN[1..]), false),
            ("Bearer ".to_owned(), false),
        ] {
            let headers = headers(&[("authorization", &value)]);
            assert_eq!(guard().check_token(&headers).is_ok(), is_valid, "{value}");
        }
        assert_eq!(guard().check_token(&HeaderMap::new()), Err(Refusal::NoToken));
    }
}

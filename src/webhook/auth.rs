//! Who may make a call: a request that is signed as in Standard Webhooks, or one with the bearer token.
//!
//! **Every credential sent must be valid**: a good token does not excuse a bad signature. A signature covers id, time and body,
//! not the path, so it is valid for triggers only, whose chat is in the body.
//!
//! Svix, the origin of Standard Webhooks, names the same three headers `svix-…`
//! (<https://docs.svix.com/receiving/verifying-payloads/how-manual>). Either name is read. If both are there, they must be
//! equal, so that only what was verified is read.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use standardwebhooks::{HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, WebhookError};
use tokio::time::Instant;

use super::Request;
use super::request::WEBHOOK_ID;
use crate::credentials::webhook::{Credentials, SigningSecrets, Tokens};
use crate::credentials::{Rotating, SecretStore};

/// The other headers of a signature, each by its standard name and by Svix's.
const SIGNED_AT: [&str; 2] = [HEADER_WEBHOOK_TIMESTAMP, "svix-timestamp"];
const SIGNATURE: [&str; 2] = [HEADER_WEBHOOK_SIGNATURE, "svix-signature"];

/// The most digits of a timestamp. A longer one is thirty thousand years away, and sums with it overflow.
const TIMESTAMP_MAX_DIGITS: usize = 12;

/// How requests are authenticated.
#[derive(Debug)]
pub enum Auth<S> {
    /// By IAM, before the function is called.
    Iam,
    /// By the function itself.
    Credentials(Rotating<Credentials, S>),
}

/// Why a request is not authenticated, and what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// A trigger without credentials.
    #[error("sign the request as in Standard Webhooks, or send `Authorization: Bearer` with the token")]
    NothingToPost,
    /// A query or a cancel without a token.
    #[error("send `Authorization: Bearer` with the token; a signature is valid for triggers only")]
    NoCredential,
    /// A signature, where the function has no secret to check it with.
    #[error(
        "this function has no signing secret (BRIDGE_WEBHOOK_SECRET); send `Authorization: Bearer` and no signature"
    )]
    NoSecret,
    /// A call that requires a token, where the function has none.
    #[error("this function has no bearer token (BRIDGE_WEBHOOK_TOKEN), which this call requires")]
    NoToken,
    /// A part of the signature is missing, repeated or unreadable.
    #[error(
        "send each of `webhook-id`, `webhook-timestamp` (seconds since 1970) and `webhook-signature` once, or each as \
         `svix-…`; a header sent under both names must have one value"
    )]
    Unreadable,
    /// A body that cannot be signed.
    #[error("the body is not UTF-8, and Standard Webhooks signs text; send UTF-8")]
    NotText,
    /// It was signed at another time.
    #[error("`webhook-timestamp` is more than five minutes off; sign the request again, or set your clock")]
    Stale,
    /// It was signed with another secret, or something else was signed.
    #[error(
        "no signature matches; sign `id.timestamp.body` with the secret, and send the body byte for byte as it was signed"
    )]
    WrongSignature,
    /// It is not `Bearer` with the token.
    #[error("`Authorization` is not `Bearer` with the token")]
    WrongToken,
}

impl Refusal {
    /// Whether the secret or token may just have been rotated.
    fn may_be_outdated(self) -> bool {
        matches!(self, Self::WrongSignature | Self::WrongToken)
    }
}

impl<S: SecretStore<Credentials>> Auth<S> {
    /// Whether a request is allowed by this rule, or why not.
    pub(super) async fn check(&self, request: &Request, until: Instant, rule: Rule) -> Result<(), Refusal> {
        let Self::Credentials(credentials) = self else { return Ok(()) };
        credentials.renew(until).await;
        let current = credentials.current();
        match rule(&current, request) {
            Err(refusal) if refusal.may_be_outdated() => match credentials.newer_than(&current, until).await {
                Some(newer) => rule(&newer, request),
                None => Err(refusal),
            },
            decision => decision,
        }
    }
}

/// How credentials decide about a request.
pub(super) type Rule = fn(&Credentials, &Request) -> Result<(), Refusal>;

/// Whether a request may send a trigger, or why not.
pub(super) fn may_post(credentials: &Credentials, request: &Request) -> Result<(), Refusal> {
    let is_signed = SIGNATURE.iter().any(|name| request.headers.contains_key(*name));
    let has_token = request.headers.contains_key(AUTHORIZATION);
    if !is_signed && !has_token {
        return Err(Refusal::NothingToPost);
    }
    // Both are checked before either is reported, so that the time it takes does not tell which one is wrong.
    let signature = if is_signed { verify_signature(credentials.signing(), request) } else { Ok(()) };
    let token = if has_token { verify_token(credentials.tokens(), &request.headers) } else { Ok(()) };
    signature.and(token)
}

/// Whether a request may read a status or cancel a run, or why not.
pub(super) fn has_token(credentials: &Credentials, request: &Request) -> Result<(), Refusal> {
    if credentials.tokens().is_some() && !request.headers.contains_key(AUTHORIZATION) {
        return Err(Refusal::NoCredential);
    }
    verify_token(credentials.tokens(), &request.headers)
}

fn verify_signature(secrets: Option<&SigningSecrets>, request: &Request) -> Result<(), Refusal> {
    let secrets = secrets.ok_or(Refusal::NoSecret)?;
    let headers = signature_headers(&request.headers).ok_or(Refusal::Unreadable)?;
    let timestamp = single(&headers, HEADER_WEBHOOK_TIMESTAMP).unwrap_or_default();
    let is_number = timestamp.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || timestamp.is_empty() || timestamp.len() > TIMESTAMP_MAX_DIGITS {
        return Err(Refusal::Unreadable);
    }
    if std::str::from_utf8(&request.body).is_err() {
        return Err(Refusal::NotText);
    }
    secrets.verify(&request.body, &headers).map_err(|error| match error {
        WebhookError::TimestampTooOldError | WebhookError::FutureTimestampError => Refusal::Stale,
        _ => Refusal::WrongSignature,
    })
}

fn verify_token(tokens: Option<&Tokens>, headers: &HeaderMap) -> Result<(), Refusal> {
    let tokens = tokens.ok_or(Refusal::NoToken)?;
    if bears_one_of(tokens, headers) { Ok(()) } else { Err(Refusal::WrongToken) }
}

/// Whether a request has one of these bearer tokens.
pub(crate) fn bears_one_of(tokens: &Tokens, headers: &HeaderMap) -> bool {
    let credentials = single(headers, AUTHORIZATION.as_str()).and_then(|value| value.split_once(' '));
    credentials.is_some_and(|(scheme, token)| {
        scheme.eq_ignore_ascii_case("Bearer") && tokens.contains(token.trim_matches(' '))
    })
}

/// The headers of a signature under their standard names, if each is there once and not empty.
fn signature_headers(headers: &HeaderMap) -> Option<HeaderMap> {
    [WEBHOOK_ID, SIGNED_AT, SIGNATURE]
        .into_iter()
        .map(|names| {
            let value = by_either_name(headers, names)?;
            value.to_str().ok().filter(|value| !value.is_empty())?;
            Some((HeaderName::from_static(names[0]), value.clone()))
        })
        .collect()
}

/// The value of a header that has two names, if there is one value.
fn by_either_name<'a>(headers: &'a HeaderMap, names: [&str; 2]) -> Option<&'a HeaderValue> {
    let [standard, svix] = names.map(|name| headers.get_all(name).iter().collect::<Vec<_>>());
    match (&standard[..], &svix[..]) {
        ([value], []) | ([], [value]) => Some(value),
        ([value], [same]) if value == same => Some(value),
        _ => None,
    }
}

/// The value of a header that is there once.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    value.to_str().ok()
}

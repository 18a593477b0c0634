//! Who may make a call: those who sign it with the secret, as Standard Webhooks has it, and those who have the token.
//!
//! **Whatever is presented must be right.** A request with a signature and a token is let in only if both are good: neither
//! rescues the other, and one that is not set up here is wrong. A signature covers id, time and body, not the path, so it is
//! good for a trigger only, whose chat is in the body.
//!
//! Svix, where Standard Webhooks comes from, names the same three headers `svix-…`
//! (<https://docs.svix.com/receiving/verifying-payloads/how-manual>). Either name is read; where both are there, they must
//! be equal, so that nothing is read that was not verified.

use std::fmt;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use standardwebhooks::{HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, WebhookError};
use subtle::{Choice, ConstantTimeEq};

use super::Request;
use super::request::WEBHOOK_ID;

/// The other headers of a signature, each by the name that Standard Webhooks gives it and the one that Svix gives it.
const SIGNED_AT: [&str; 2] = [HEADER_WEBHOOK_TIMESTAMP, "svix-timestamp"];
const SIGNATURE: [&str; 2] = [HEADER_WEBHOOK_SIGNATURE, "svix-signature"];

/// Before a signing secret, as Standard Webhooks writes it; it may be left out.
const SECRET_PREFIX: &str = "whsec_";
/// How many bytes a signing secret may have (Standard Webhooks: "between 24 bytes (192 bits) and 64 bytes (512 bits)").
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// The fewest characters of a token: fewer are guessed sooner or later.
const TOKEN_MIN: usize = 16;
/// The most digits of a timestamp: with more, it is none of the next thirty thousand years, and sums with it overflow.
const TIMESTAMP_MAX_DIGITS: usize = 12;

/// Why a request is not let in, and what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing was presented.
    #[error("sign the request as Standard Webhooks says, or send `Authorization: Bearer` with the token")]
    NothingToPost,
    /// Nothing was presented where only a token counts.
    #[error("send `Authorization: Bearer` with the token; a signature is for triggers only")]
    NothingToRead,
    /// A signature, but no secret to check it with.
    #[error(
        "this function has no signing secret (BRIDGE_WEBHOOK_SECRET); send `Authorization: Bearer` and no signature"
    )]
    NoSecret,
    /// A call for which only a token counts, and there is none.
    #[error("this function has no bearer token (BRIDGE_WEBHOOK_TOKEN), and reading a status takes one")]
    NoToken,
    /// A part of the signature is missing, is there twice, or cannot be read.
    #[error(
        "send each of `webhook-id`, `webhook-timestamp` (seconds since 1970) and `webhook-signature` once, or each as \
         `svix-…`; the same header by both names must have one value"
    )]
    Unreadable,
    /// There is no signature of such a body.
    #[error("the body is not UTF-8, and Standard Webhooks signs text; send UTF-8")]
    NotText,
    /// It was signed at another time.
    #[error("`webhook-timestamp` is more than five minutes off; sign the request anew, or set your clock right")]
    Stale,
    /// It was signed with another secret, or something else was signed.
    #[error(
        "no signature fits; sign `id.timestamp.body` with the secret, and send the body byte for byte as it was signed"
    )]
    WrongSignature,
    /// It is not `Bearer` with the token.
    #[error("`Authorization` is not `Bearer` with the token")]
    WrongToken,
}

impl Refusal {
    /// The secret or the token may just have been rotated.
    pub fn may_be_outdated(self) -> bool {
        matches!(self, Self::WrongSignature | Self::WrongToken)
    }
}

/// Why a text is no secret or token. Nothing shows the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// It is empty, or more than two.
    #[error("it is {0} values; give one, or two with one space between them while it is rotated")]
    Count(usize),
    /// It has something between or around its characters, as files and secrets often do.
    #[error("it has a character that is not printable ASCII, often a line break that came with a paste; remove it")]
    Characters,
    /// It is no signing secret.
    #[error("it is not `whsec_` and Base64; make one with: echo \"whsec_$(openssl rand -base64 32)\"")]
    NotBase64,
    /// It is too short to be safe, or longer than a secret can be.
    #[error(
        "it is {0} bytes once decoded, where Standard Webhooks has 24 to 64; make one with: echo \"whsec_$(openssl rand -base64 32)\""
    )]
    Length(usize),
    /// It is a token that can be guessed.
    #[error("it is {0} characters long, and must have {TOKEN_MIN} or more; make one with: openssl rand -hex 32")]
    TooShort(usize),
}

/// The signing secret is a token too: whoever may call would also be able to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("are the same, but who may call may not sign; give the token another value")]
pub struct SecretIsToken;

/// The SHA-256 of a secret text. Comparing two of them takes the same time whatever the texts, and hides their lengths.
type Digest32 = [u8; 32];

/// One secret, or an old and a new one while it is rotated.
#[derive(Clone)]
pub struct SigningSecrets(Vec<SigningSecret>);

#[derive(Clone)]
struct SigningSecret {
    webhook: Arc<standardwebhooks::Webhook>,
    /// Of its text, with and without its prefix.
    digests: [Digest32; 2],
}

/// One token, or an old and a new one while it is rotated.
#[derive(Clone)]
pub struct Tokens(Vec<Digest32>);

/// What there is to check a request with: a secret, a token, or both.
#[derive(Debug, Clone)]
pub struct Credentials {
    signing: Option<SigningSecrets>,
    tokens: Option<Tokens>,
}

impl SigningSecrets {
    /// Checks a secret that came from outside.
    ///
    /// # Errors
    /// Says what is wrong with it without showing it.
    pub fn parse(text: &SecretString) -> Result<Self, InvalidSecret> {
        one_or_two(text)?.into_iter().map(SigningSecret::parse).collect::<Result<_, _>>().map(Self)
    }

    /// Checks every secret against the whole request, so that the time it takes does not tell which one fits.
    fn verify(&self, request: &Request) -> Result<(), Refusal> {
        let headers = signature_headers(&request.headers).ok_or(Refusal::Unreadable)?;
        let timestamp = single(&headers, HEADER_WEBHOOK_TIMESTAMP).unwrap_or_default();
        let is_number = timestamp.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || timestamp.is_empty() || timestamp.len() > TIMESTAMP_MAX_DIGITS {
            return Err(Refusal::Unreadable);
        }
        if std::str::from_utf8(&request.body).is_err() {
            return Err(Refusal::NotText);
        }
        let results: Vec<_> = self.0.iter().map(|secret| secret.verify(&request.body, &headers)).collect();
        results.into_iter().reduce(Result::or).unwrap_or(Err(Refusal::WrongSignature))
    }
}

impl SigningSecret {
    fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let bare = text.strip_prefix(SECRET_PREFIX).unwrap_or(text);
        let webhook = standardwebhooks::Webhook::new(text).map_err(|_| InvalidSecret::NotBase64)?;
        // It is Base64 with its padding, so that its length tells how many bytes it stands for.
        let padding = bare.bytes().rev().take_while(|byte| *byte == b'=').count();
        let bytes = (bare.len() / 4 * 3).saturating_sub(padding);
        if !SECRET_BYTES.contains(&bytes) {
            return Err(InvalidSecret::Length(bytes));
        }
        let digests = [digest(bare), digest(&format!("{SECRET_PREFIX}{bare}"))];
        Ok(Self { webhook: Arc::new(webhook), digests })
    }

    fn verify(&self, body: &[u8], headers: &HeaderMap) -> Result<(), Refusal> {
        self.webhook.verify(body, headers).map_err(|error| match error {
            WebhookError::TimestampTooOldError | WebhookError::FutureTimestampError => Refusal::Stale,
            _ => Refusal::WrongSignature,
        })
    }
}

impl Tokens {
    /// Checks a token that came from outside.
    ///
    /// # Errors
    /// Says what is wrong with it without showing it.
    pub fn parse(text: &SecretString) -> Result<Self, InvalidSecret> {
        let tokens = one_or_two(text)?;
        match tokens.iter().find(|token| token.len() < TOKEN_MIN) {
            Some(token) => Err(InvalidSecret::TooShort(token.len())),
            None => Ok(Self(tokens.into_iter().map(digest).collect())),
        }
    }

    fn verify(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let value = single(headers, AUTHORIZATION.as_str()).ok_or(Refusal::WrongToken)?;
        let (scheme, token) = value.split_once(' ').ok_or(Refusal::WrongToken)?;
        if !scheme.eq_ignore_ascii_case("Bearer") {
            return Err(Refusal::WrongToken);
        }
        if self.has(&digest(token.trim_matches(' '))) { Ok(()) } else { Err(Refusal::WrongToken) }
    }

    /// Compares with every token, in the same time whichever one it is.
    fn has(&self, presented: &Digest32) -> bool {
        self.0.iter().fold(Choice::from(0), |found, token| found | token.ct_eq(presented)).into()
    }
}

impl Credentials {
    /// What requests are checked with.
    ///
    /// # Errors
    /// If a signing secret is a token too.
    pub fn new(signing: Option<SigningSecrets>, tokens: Option<Tokens>) -> Result<Self, SecretIsToken> {
        if let (Some(SigningSecrets(secrets)), Some(tokens)) = (&signing, &tokens)
            && secrets.iter().flat_map(|secret| &secret.digests).any(|digest| tokens.has(digest))
        {
            return Err(SecretIsToken);
        }
        Ok(Self { signing, tokens })
    }

    /// Whether a request may hand in a trigger.
    ///
    /// # Errors
    /// Says why not.
    pub fn may_post(&self, request: &Request) -> Result<(), Refusal> {
        let is_signed = SIGNATURE.iter().any(|name| request.headers.contains_key(*name));
        match (is_signed, request.headers.contains_key(AUTHORIZATION)) {
            (false, false) => Err(Refusal::NothingToPost),
            (false, true) => self.verify_token(&request.headers),
            (true, false) => self.verify_signature(request),
            (true, true) => {
                let (signature, token) = (self.verify_signature(request), self.verify_token(&request.headers));
                signature.and(token)
            }
        }
    }

    /// Whether a request may read a chat's status.
    ///
    /// # Errors
    /// Says why not.
    pub fn may_read(&self, request: &Request) -> Result<(), Refusal> {
        if self.tokens.is_some() && !request.headers.contains_key(AUTHORIZATION) {
            return Err(Refusal::NothingToRead);
        }
        self.verify_token(&request.headers)
    }

    fn verify_signature(&self, request: &Request) -> Result<(), Refusal> {
        self.signing.as_ref().ok_or(Refusal::NoSecret)?.verify(request)
    }

    fn verify_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        self.tokens.as_ref().ok_or(Refusal::NoToken)?.verify(headers)
    }
}

impl fmt::Debug for SigningSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecrets(..)")
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(..)")
    }
}

/// The headers of a signature by their standard names, if each is there once and not empty.
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

/// The one value of a header that has two names.
fn by_either_name<'a>(headers: &'a HeaderMap, names: [&str; 2]) -> Option<&'a HeaderValue> {
    let [standard, svix] = names.map(|name| headers.get_all(name).iter().collect::<Vec<_>>());
    match (&standard[..], &svix[..]) {
        ([value], []) | ([], [value]) => Some(value),
        ([value], [same]) if value == same => Some(value),
        _ => None,
    }
}

/// The one value of a header.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    value.to_str().ok()
}

/// The value, or the two that a single space separates.
fn one_or_two(text: &SecretString) -> Result<Vec<&str>, InvalidSecret> {
    let text = text.expose_secret();
    if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return Err(InvalidSecret::Characters);
    }
    let values: Vec<&str> = text.split(' ').collect();
    match values.len() {
        1 | 2 if values.iter().all(|value| !value.is_empty()) => Ok(values),
        _ => Err(InvalidSecret::Count(values.iter().filter(|value| !value.is_empty()).count())),
    }
}

fn digest(text: &str) -> Digest32 {
    Sha256::digest(text.as_bytes()).into()
}

//! The webhook's credentials: signing secrets as in [Standard Webhooks](https://www.standardwebhooks.com), and bearer tokens.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use standardwebhooks::{Webhook, WebhookError};
use subtle::{Choice, ConstantTimeEq};

/// The prefix of a signing secret in Standard Webhooks. It may be left out.
const SECRET_PREFIX: &str = "whsec_";
/// The length of a signing secret (Standard Webhooks: "between 24 bytes (192 bits) and 64 bytes (512 bits)").
const SECRET_BYTES: RangeInclusive<usize> = 24..=64;
/// The fewest characters of a token. Shorter ones can be guessed.
const TOKEN_MIN: usize = 16;

/// Why a text is not a secret or token. No variant shows the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// It is empty, or more than two values.
    #[error("it is {0} values; give one, or two with one space between them during a rotation")]
    Count(usize),
    /// It has other characters, as texts from files and pastes often do.
    #[error("it has a character that is not printable ASCII, often a line break from a paste; remove it")]
    Characters,
    /// It is not a signing secret.
    #[error("it is not `whsec_` and Base64; create one with: echo \"whsec_$(openssl rand -base64 32)\"")]
    NotBase64,
    /// It is too short to be safe, or too long to be a signing secret.
    #[error(
        "it is {0} bytes once decoded, where Standard Webhooks has 24 to 64; create one with: echo \"whsec_$(openssl rand -base64 32)\""
    )]
    Length(usize),
    /// It is a token that can be guessed.
    #[error("it is {0} characters long, and must have {TOKEN_MIN} or more; create one with: openssl rand -hex 32")]
    TooShort(usize),
}

/// The signing secret is also a token, so every caller could sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("are the same, so that every caller could sign; give the token another value")]
pub struct SecretIsToken;

/// The SHA-256 of a secret. Comparing two takes the same time for all secrets, and hides their lengths.
type Digest32 = [u8; 32];

/// One signing secret, or an old and a new one during a rotation.
#[derive(Clone, PartialEq)]
pub struct SigningSecrets(Vec<SigningSecret>);

#[derive(Clone)]
struct SigningSecret {
    webhook: Arc<Webhook>,
    /// Of its text, without and with its prefix.
    digests: [Digest32; 2],
}

/// One token, or an old and a new one during a rotation.
#[derive(Clone, PartialEq)]
pub struct Tokens(Vec<Digest32>);

/// What requests are checked with: a signing secret, a token, or both.
#[derive(Debug, Clone, PartialEq)]
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

    /// Checks a signature. Every secret is tried, so that the time it takes does not tell which one fits.
    ///
    /// # Errors
    /// If the signature is of another secret, another body or another time.
    pub fn verify(&self, body: &[u8], headers: &HeaderMap) -> Result<(), WebhookError> {
        let results: Vec<_> = self.0.iter().map(|secret| secret.webhook.verify(body, headers)).collect();
        results.into_iter().reduce(Result::or).unwrap_or(Err(WebhookError::InvalidSignature))
    }

    /// The `webhook-signature` of a request with this `webhook-id`, this `webhook-timestamp` (seconds since 1970) and this body.
    /// During a rotation, the new secret signs.
    ///
    /// # Errors
    /// Never: there is a secret, and a text can be signed.
    pub fn sign(&self, id: &str, timestamp: i64, body: &str) -> Result<String, WebhookError> {
        let secret = self.0.last().ok_or(WebhookError::InvalidSignature)?;
        secret.webhook.sign(id, timestamp, body.as_bytes())
    }
}

impl SigningSecret {
    fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let bare = text.strip_prefix(SECRET_PREFIX).unwrap_or(text);
        let webhook = Webhook::new(text).map_err(|_| InvalidSecret::NotBase64)?;
        // It is padded Base64, so its length tells the number of bytes.
        let padding = bare.bytes().rev().take_while(|byte| *byte == b'=').count();
        let bytes = (bare.len() / 4 * 3).saturating_sub(padding);
        if !SECRET_BYTES.contains(&bytes) {
            return Err(InvalidSecret::Length(bytes));
        }
        let digests = [digest(bare), digest(&format!("{SECRET_PREFIX}{bare}"))];
        Ok(Self { webhook: Arc::new(webhook), digests })
    }
}

impl PartialEq for SigningSecret {
    fn eq(&self, other: &Self) -> bool {
        self.digests == other.digests
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

    /// Whether this is one of the tokens.
    pub fn contains(&self, token: &str) -> bool {
        self.contains_digest(&digest(token))
    }

    /// Compares with every token, in the same time whichever one it is.
    fn contains_digest(&self, digest: &Digest32) -> bool {
        self.0.iter().fold(Choice::from(0), |found, token| found | token.ct_eq(digest)).into()
    }
}

impl Credentials {
    /// Credentials to check requests with.
    ///
    /// # Errors
    /// If a signing secret is also a token.
    pub fn new(signing: Option<SigningSecrets>, tokens: Option<Tokens>) -> Result<Self, SecretIsToken> {
        if let (Some(SigningSecrets(secrets)), Some(tokens)) = (&signing, &tokens)
            && secrets.iter().flat_map(|secret| &secret.digests).any(|digest| tokens.contains_digest(digest))
        {
            return Err(SecretIsToken);
        }
        Ok(Self { signing, tokens })
    }

    /// The signing secrets, if any.
    pub fn signing(&self) -> Option<&SigningSecrets> {
        self.signing.as_ref()
    }

    /// The tokens, if any.
    pub fn tokens(&self) -> Option<&Tokens> {
        self.tokens.as_ref()
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

/// The one value, or the two that a single space separates.
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const OLD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const TOKEN: &str = "token-of-the-test";

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[test]
    fn invalid_secrets_are_refused_and_not_shown() {
        let bytes = |count: usize| "QUFB".repeat(count / 3);
        for (text, why) in [
            ("", "0 values"),
            (" ", "0 values"),
            (" whsec_hush", "1 values"),
            ("whsec_hush  whsec_hush", "2 values"),
            ("whsec_a whsec_b whsec_c", "3 values"),
            ("whsec_hush\n", "printable ASCII"),
            ("whsec_hüsh", "printable ASCII"),
            ("whsec_hush!", "Base64"),
            ("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7o", "Base64"),
            ("whsec_", "0 bytes"),
            (&bytes(21), "21 bytes"),
            (&format!("whsec_{}", bytes(66)), "66 bytes"),
            (&format!("{SECRET} whsec_QUFB"), "3 bytes"),
        ] {
            let error = SigningSecrets::parse(&secret(text)).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("sh ") && !error.contains("C2FV"), "{text:?}: {error}");
        }
        for text in [SECRET, &SECRET[6..], &bytes(24), &bytes(63), &format!("{}QQ==", bytes(63))] {
            let secrets = SigningSecrets::parse(&secret(text)).unwrap();
            assert_eq!(format!("{secrets:?}"), "SigningSecrets(..)");
        }
        for text in ["", "a b c", "a\tb", "tökén", "fifteen-letters", &format!("{TOKEN} fifteen-letters")] {
            assert!(Tokens::parse(&secret(text)).is_err(), "{text:?}");
        }
        assert_eq!(format!("{:?}", Tokens::parse(&secret("hushhushhushhush")).unwrap()), "Tokens(..)");
    }

    #[test]
    fn a_signing_secret_must_not_be_a_token() {
        let signing = SigningSecrets::parse(&secret(&format!("{OLD_SECRET} {SECRET}"))).unwrap();
        for (token, same) in
            [(SECRET, true), (&SECRET[6..], true), (OLD_SECRET, true), ("another-token-of-the-test", false)]
        {
            let tokens = Tokens::parse(&secret(&format!("first-token-of-the-test {token}"))).unwrap();
            let credentials = Credentials::new(Some(signing.clone()), Some(tokens));
            assert_eq!(credentials.is_err_and(|error| error == SecretIsToken), same);
        }
    }
}

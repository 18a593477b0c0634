//! The API key, as it is sent.

use std::fmt;

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use crate::postpress::Mask;

/// A key that a header can carry. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(HeaderValue);

/// Why a text is not an API key. No variant shows the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidApiKey {
    /// It has no characters.
    #[error("the API key is empty; copy it from the postpress dashboard")]
    Empty,
    /// It has white space around it, as texts from files and pastes often do.
    #[error("the API key begins or ends with white space, often a line break from a paste; remove it")]
    WhiteSpace,
    /// It has spaces, control characters or non-ASCII characters.
    #[error("the API key has characters that no key has; copy it again from the postpress dashboard")]
    Characters,
}

/// The kind of a key, by its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// `pp_live_`.
    Live,
    /// `pp_test_`: the sandbox.
    Sandbox,
    /// Another prefix.
    Unknown,
}

impl ApiKey {
    /// Checks a key that came from outside.
    ///
    /// # Errors
    /// Says what is wrong with it without showing it.
    pub fn parse(key: &SecretString) -> Result<Self, InvalidApiKey> {
        let key = key.expose_secret();
        if key.is_empty() {
            return Err(InvalidApiKey::Empty);
        }
        if key.trim() != key {
            return Err(InvalidApiKey::WhiteSpace);
        }
        // A header could also carry spaces and non-ASCII bytes, but no key has them: something else was pasted as well.
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidApiKey::Characters);
        }
        let mut value = HeaderValue::from_str(key).map_err(|_| InvalidApiKey::Characters)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// Its kind.
    pub fn kind(&self) -> KeyKind {
        let begins = |prefix: &[u8]| self.0.as_bytes().starts_with(prefix);
        match (begins(b"pp_live_"), begins(b"pp_test_")) {
            (true, _) => KeyKind::Live,
            (_, true) => KeyKind::Sandbox,
            _ => KeyKind::Unknown,
        }
    }

    /// The header value, marked as sensitive, so that HTTP libraries do not print it.
    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// Hides the key in the provider's texts.
    pub(in crate::postpress) fn mask(&self) -> Mask<'_> {
        self.0.to_str().map_or(Mask::NONE, Mask::new)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_keys_are_refused_and_not_shown() {
        for (text, why) in [
            ("", InvalidApiKey::Empty),
            ("  ", InvalidApiKey::WhiteSpace),
            ("pp_live_hunter2\n", InvalidApiKey::WhiteSpace),
            ("pp_live\n_hunter2", InvalidApiKey::Characters),
            ("pp_live_hunter2\u{0}x", InvalidApiKey::Characters),
            ("pp_live_hünter2", InvalidApiKey::Characters),
        ] {
            let error = ApiKey::parse(&SecretString::from(text)).unwrap_err();
            assert_eq!(error, why, "{text:?}");
            assert!(!error.to_string().contains("nter2"));
        }
    }

    #[test]
    fn key_is_sent_unchanged_and_masked_in_debug() {
        let key = ApiKey::parse(&SecretString::from("pp_live_hunter2")).unwrap();
        assert_eq!(key.header().as_bytes(), b"pp_live_hunter2");
        assert!(key.header().is_sensitive());
        for (text, kind) in [
            ("pp_live_hunter2", KeyKind::Live),
            ("pp_test_hunter2", KeyKind::Sandbox),
            ("PP_LIVE_hunter2", KeyKind::Unknown),
            ("sk-pp_live_", KeyKind::Unknown),
        ] {
            assert_eq!(ApiKey::parse(&SecretString::from(text)).unwrap().kind(), kind, "{text}");
        }
        assert_eq!(format!("{key:?}"), "ApiKey(..)");
    }
}

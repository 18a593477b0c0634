//! The text of a stored secret: the bare value, or a field of a JSON object, which is what the AWS console stores.
//!
//! No error shows a value. A field's name is shown only if it looks like a name, since it may be a secret, typed by mistake.

use serde_json::Value;

use crate::json::{self, BYTE_ORDER_MARK};

/// The most fields that a message names, and the longest name.
const NAMES_MAX: usize = 8;
const NAME_MAX_BYTES: usize = 32;

/// What a text is instead of a bare secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotBare {
    /// A JSON object with these fields.
    #[error("it is JSON")]
    Object(Vec<String>),
    /// It begins like an object but is not JSON.
    #[error("it looks like a JSON object but is not valid JSON")]
    Broken,
    /// A JSON string or array.
    #[error("it is in quotes or brackets; store it without them")]
    Quoted,
}

impl NotBare {
    /// A message about a secret in Secrets Manager, with the remedy.
    pub fn stored(&self) -> String {
        match self {
            Self::Object(names) => format!("{self}; name its field: `ID#field`{}", fields(names)),
            Self::Broken => format!("{self}; store valid JSON and name its field, or the bare value"),
            Self::Quoted => self.to_string(),
        }
    }

    /// A message about a variable, where the variable `stored` could name a secret in Secrets Manager instead.
    pub fn plain(&self, stored: &str) -> String {
        match self {
            Self::Object(_) | Self::Broken => {
                format!("{self}; set it to the bare value, or set `{stored}` to `ID#field` of a secret")
            }
            Self::Quoted => self.to_string(),
        }
    }
}

/// Checks that a text is a bare secret and not JSON.
///
/// # Errors
/// Says what it is instead.
pub fn bare(text: &str) -> Result<(), NotBare> {
    let text = text.trim_start_matches(BYTE_ORDER_MARK).trim();
    let parsed: Option<Value> = serde_json::from_str(text).ok();
    match parsed {
        Some(Value::Object(object)) => Err(NotBare::Object(object.keys().cloned().collect())),
        Some(Value::String(_) | Value::Array(_)) => Err(NotBare::Quoted),
        None if text.starts_with('{') => Err(NotBare::Broken),
        _ => Ok(()),
    }
}

/// The text in a field of a JSON object.
///
/// # Errors
/// Says why there is none.
pub fn field(text: &str, name: &str) -> Result<String, String> {
    let text = text.trim_start_matches(BYTE_ORDER_MARK).trim();
    let Ok(parsed) = serde_json::from_str::<Value>(text) else {
        return Err(format!(
            "it is not JSON, so it has no field `{name}`; leave `#{name}` out, or store a JSON object"
        ));
    };
    let Value::Object(mut object) = parsed else {
        return Err(format!("it is not a JSON object, so it has no field `{name}`; store one"));
    };
    match object.remove(name) {
        Some(Value::String(value)) => Ok(value),
        Some(other) => {
            Err(format!("its field `{name}` is {}, not a string; store it in quotes", json::kind(&other.to_string())))
        }
        None => {
            let names: Vec<_> = object.keys().cloned().collect();
            Err(format!("it has no field `{name}`{}", fields(&names)))
        }
    }
}

/// Lists the fields whose names look like names.
fn fields(names: &[String]) -> String {
    let is_name = |name: &&String| {
        let is_of_letters = name.bytes().all(|byte| byte.is_ascii_alphabetic() || b"_-.".contains(&byte));
        !name.is_empty() && name.len() <= NAME_MAX_BYTES && is_of_letters
    };
    let shown: Vec<_> = names.iter().filter(is_name).take(NAMES_MAX).map(|name| format!("`{name}`")).collect();
    match (shown.len(), names.len() - shown.len()) {
        (0, 0) => " (it has none)".to_owned(),
        (0, _) => String::new(),
        (_, 0) => format!(" (it has {})", shown.join(", ")),
        (_, more) => format!(" (it has {} and {more} more)", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_not_a_bare_secret() {
        for text in
            ["pp_live_hush", "1234567890123456", "true", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "a b", "", "]"]
        {
            assert_eq!(bare(text), Ok(()), "{text}");
        }
        for (text, why) in [
            (r#"{"api_key": "hush"}"#, "it is JSON; name its field: `ID#field` (it has `api_key`)"),
            ("\u{feff} {\"b\": \"hush\", \"a\": 1}\n", "it is JSON; name its field: `ID#field` (it has `a`, `b`)"),
            ("{}", "it is JSON; name its field: `ID#field` (it has none)"),
            (r#"{"pp_live_4hush": "", "key": ""}"#, "it is JSON; name its field: `ID#field` (it has `key` and 1 more)"),
            (r#"{"4hushhushhush": "x"}"#, "it is JSON; name its field: `ID#field`"),
            (
                "{'api_key': 'hush'}",
                "it looks like a JSON object but is not valid JSON; store valid JSON and name its field, or the bare value",
            ),
            ("\"hush\"", "it is in quotes or brackets; store it without them"),
            ("[\"hush\"]", "it is in quotes or brackets; store it without them"),
        ] {
            let error = bare(text).unwrap_err();
            assert_eq!(error.stored(), why, "{text}");
            assert!(!error.plain("X_SECRET_ID").contains("hush"), "{error}");
        }
    }

    #[test]
    fn fields_are_found_or_the_error_says_why_not() {
        assert_eq!(field("\u{feff}{\"key\": \"pp_live_1\", \"port\": 5}", "key"), Ok("pp_live_1".to_owned()));
        for (text, name, why) in [
            ("pp_live_hush", "key", "it is not JSON, so it has no field `key`"),
            ("\"hush\"", "key", "it is not a JSON object"),
            (r#"{"key": "hush", "Token": "hush"}"#, "token", "it has no field `token` (it has `Token`, `key`)"),
            (r#"{"key": 4}"#, "key", "its field `key` is a number, not a string"),
            (r#"{"key": null}"#, "key", "its field `key` is null, not a string"),
            (r#"{"key": {"hush": 1}}"#, "key", "its field `key` is an object, not a string"),
        ] {
            let error = field(text, name).unwrap_err();
            assert!(error.starts_with(why) && !error.contains("hush"), "{text}: {error}");
        }
        let many: serde_json::Map<_, _> = (b'a'..=b'z').map(|c| (char::from(c).to_string(), Value::Null)).collect();
        let error = field(&Value::Object(many).to_string(), "key").unwrap_err();
        assert!(error.ends_with("`h` and 18 more)"), "{error}");
    }
}

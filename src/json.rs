//! JSON from outside, read one member at a time, so that an odd member does not affect the others.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The mark that some editors and Windows tools put in front of a text.
pub const BYTE_ORDER_MARK: char = '\u{feff}';

/// A JSON object with unparsed members, whose names may repeat.
#[derive(Debug, Default)]
pub struct RawObject<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> RawObject<'a> {
    /// Reads an object.
    ///
    /// # Errors
    /// If the text is not JSON, or not an object.
    pub fn parse(json: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// The object, if the value is one.
    pub fn of(value: &'a RawValue) -> Option<Self> {
        Self::parse(value.get()).ok()
    }

    /// All non-null values of this name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &'a RawValue> {
        let values = self.0.iter().filter(move |(other, value)| other == name && value.get() != "null");
        values.map(|(_, value)| *value)
    }

    /// The last value of this name, unless it is null.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        let (_, value) = self.0.iter().rfind(|(other, _)| other == name)?;
        (value.get() != "null").then_some(*value)
    }

    /// The value of this name, if it is a non-empty string.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(text)
    }

    /// The value of this name, if it is an object.
    pub fn object(&self, name: &str) -> Option<Self> {
        self.get(name).and_then(Self::of)
    }

    /// Whether this name has a value that is not null.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The members in order.
    pub fn members(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RawObject<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = RawObject<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(RawObject(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// The text of a JSON string, if the value is a non-empty one.
pub fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok().filter(|text: &String| !text.is_empty())
}

/// The value, if it is a whole number of at least 0. In JSON Schema, 60.0 and 6e1 are integers too.
pub fn whole_number(value: &RawValue) -> Option<u64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0; // up to here, `f64` has every whole number
    let exact = serde_json::from_str::<u64>(value.get()).ok();
    exact.or_else(|| {
        let number = serde_json::from_str::<f64>(value.get()).ok()?;
        let is_whole = number.fract() == 0.0 && (0.0..=EXACT_MAX).contains(&number);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number within the limits")]
        is_whole.then_some(number as u64)
    })
}

/// The kind of a JSON value, by its first byte.
pub fn kind(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Why a text is not JSON.
///
/// For half of a surrogate pair, `serde_json` has several messages, one of which only says that the escape ended.
pub fn reason(error: &serde_json::Error) -> String {
    let reason = error.to_string();
    if reason.contains("hex escape") {
        return "it has a lone surrogate, half of a pair like `\\ud83d\\ude00`, which is not a character; escape both halves"
            .to_owned();
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_one_by_one() {
        let object = RawObject::parse(
            r#"{"a": 1, "\u0062": "x", "odd": {"\ud800": 1e400}, "a": [2], "none": null, "none": "n", "none": null}"#,
        )
        .unwrap();
        assert_eq!(object.get("a").map(RawValue::get), Some("[2]"));
        assert_eq!(object.all("a").map(RawValue::get).collect::<Vec<_>>(), ["1", "[2]"]);
        assert_eq!(object.text("b").as_deref(), Some("x"));
        assert!(object.has("odd") && !object.has("none") && !object.has("c"));
        assert_eq!(object.all("none").map(RawValue::get).collect::<Vec<_>>(), ["\"n\""]);
        assert_eq!(object.members().count(), 7);
        for json in ["", "[]", "null", "{", "{} {}", "{\"a\": 01}"] {
            assert!(RawObject::parse(json).is_err(), "{json}");
        }
    }

    #[test]
    fn lone_surrogates_are_named() {
        for json in [r#""\ud800""#, r#""\ud800x""#, r#""\ud800\n""#, r#""\udc00""#, r#""\ud800\ud800""#] {
            let error = serde_json::from_str::<String>(json).unwrap_err();
            assert!(reason(&error).contains("lone surrogate"), "{json}: {}", reason(&error));
        }
        for json in [r#""\ud83d""#, r#""\uzzzz""#, "\"a\nb\"", "1e400", "\"a"] {
            let error = serde_json::from_str::<String>(json).unwrap_err();
            let is_surrogate = json.contains("ud83d");
            assert_eq!(reason(&error).contains("lone surrogate"), is_surrogate, "{json}: {}", reason(&error));
        }
    }
}

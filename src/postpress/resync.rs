//! The options of an account's sync: part of a trigger, kept by its run, and sent as the query of each of its calls.

use std::fmt;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::json::{self, RawObject};

/// The options; without one the provider's default holds. As JSON, an absent option has no member, and the members have one
/// order, so that equal options have equal bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Resync {
    /// Whether the sync may be partial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<bool>,
    /// How many chats make a chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u64>", range(min = 1, max = ChunkSize::MAX))]
    pub chunk_size: Option<ChunkSize>,
    /// The `LinkedIn` product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linkedin_product: Option<LinkedinProduct>,
    /// The end of the time to sync, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// The beginning of the time to sync, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

/// A number of chats, from 1 to [`ChunkSize::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct ChunkSize(u64);

/// A `LinkedIn` product, as the provider names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
#[value(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it all")]
pub enum LinkedinProduct {
    Classic,
    Recruiter,
    SalesNavigator,
}

/// The number is not a chunk size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the chunk size is not from 1 to {}", ChunkSize::MAX)]
pub struct InvalidChunkSize;

impl ChunkSize {
    /// The largest chunk.
    pub const MAX: u64 = 10_000;
}

impl TryFrom<u64> for ChunkSize {
    type Error = InvalidChunkSize;

    fn try_from(chats: u64) -> Result<Self, InvalidChunkSize> {
        if (1..=Self::MAX).contains(&chats) { Ok(Self(chats)) } else { Err(InvalidChunkSize) }
    }
}

impl From<ChunkSize> for u64 {
    fn from(ChunkSize(chats): ChunkSize) -> Self {
        chats
    }
}

impl fmt::Display for ChunkSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl LinkedinProduct {
    /// The product as the provider names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Recruiter => "recruiter",
            Self::SalesNavigator => "sales_navigator",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::value_variants().iter().copied().find(|product| product.as_str() == name)
    }
}

/// The members of a `resync`, which are also the parameters of the query.
const MEMBERS: [&str; 5] = ["partial", "chunk_size", "linkedin_product", "before", "after"];

impl Resync {
    /// The options without their names, in the order of the fields, `null` where one is absent: the shortest JSON that `Resync` can
    /// be read from. A new option comes last.
    pub(crate) fn values(&self) -> impl Serialize + use<> {
        (self.partial, self.chunk_size, self.linkedin_product, self.before, self.after)
    }

    /// Whether it has no option.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads the `resync` of a trigger.
    ///
    /// # Errors
    /// Lists everything that is wrong with it.
    pub fn parse(raw: &RawValue) -> Result<Self, Vec<String>> {
        let Some(object) = RawObject::of(raw) else { return Err(vec!["`resync` is not a JSON object".to_owned()]) };
        let mut faults: Vec<String> = Vec::new();
        for name in MEMBERS {
            if object.members().filter(|(other, _)| *other == name).count() > 1 {
                faults.push(format!("`resync` has a duplicate field `{name}`; keep one of them"));
            }
        }
        if object.members().any(|(name, _)| !MEMBERS.contains(&name)) {
            faults.push(format!("`resync` has an unknown field; it may have {}", MEMBERS.map(quoted).join(", ")));
        }
        let mut read = |name, expected: &str, is_valid: &mut dyn FnMut(&RawValue) -> bool| {
            if object.get(name).is_some_and(|value| !is_valid(value)) {
                faults.push(format!("`resync.{name}` is not {expected}"));
            }
        };
        let mut resync = Self::default();
        let (whole, up_to) = ("a whole number of at least 0", format!("a whole number from 1 to {}", ChunkSize::MAX));
        read("partial", "true or false", &mut |value| {
            resync.partial = serde_json::from_str(value.get()).ok();
            resync.partial.is_some()
        });
        read("chunk_size", &up_to, &mut |value| {
            resync.chunk_size = json::whole_number(value).and_then(|chats| chats.try_into().ok());
            resync.chunk_size.is_some()
        });
        read("linkedin_product", "`classic`, `recruiter` or `sales_navigator`", &mut |value| {
            resync.linkedin_product = json::text(value).and_then(|name| LinkedinProduct::parse(&name));
            resync.linkedin_product.is_some()
        });
        read("before", whole, &mut |value| {
            resync.before = json::whole_number(value);
            resync.before.is_some()
        });
        read("after", whole, &mut |value| {
            resync.after = json::whole_number(value);
            resync.after.is_some()
        });
        if faults.is_empty() { Ok(resync) } else { Err(faults) }
    }

    /// The query of a call: `a=1&b=2`; nothing in it needs an encoding. Empty without options.
    pub fn query(&self) -> String {
        let Self { partial, chunk_size, linkedin_product, before, after } = self;
        let values = [
            partial.map(|partial| partial.to_string()),
            chunk_size.map(|size| size.to_string()),
            linkedin_product.map(|product| product.as_str().to_owned()),
            before.map(|time| time.to_string()),
            after.map(|time| time.to_string()),
        ];
        let pairs = MEMBERS.iter().zip(values).filter_map(|(name, value)| Some(format!("{name}={}", value?)));
        pairs.collect::<Vec<_>>().join("&")
    }

    /// Reads the query of a call, as the provider would; other parameters are ignored. `None` if a value is invalid.
    pub fn from_query(query: &str) -> Option<Self> {
        let mut resync = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "partial" => resync.partial = Some(value.parse().ok()?),
                "chunk_size" => resync.chunk_size = Some(value.parse::<u64>().ok()?.try_into().ok()?),
                "linkedin_product" => resync.linkedin_product = Some(LinkedinProduct::parse(value)?),
                "before" => resync.before = Some(value.parse().ok()?),
                "after" => resync.after = Some(value.parse().ok()?),
                _ => {}
            }
        }
        Some(resync)
    }
}

fn quoted(name: &str) -> String {
    format!("`{name}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Resync, String> {
        Resync::parse(&RawValue::from_string(json.to_owned()).unwrap()).map_err(|faults| faults.join("; "))
    }

    #[test]
    fn options_are_read_in_any_order_and_written_in_one() {
        let full = r#"{"partial":true,"chunk_size":50,"linkedin_product":"sales_navigator","before":2,"after":1}"#;
        for (given, written, query) in [
            ("{}", "{}", ""),
            (r#"{"partial": null, "after": null}"#, "{}", ""),
            (r#"{"after": 0, "partial": false}"#, r#"{"partial":false,"after":0}"#, "partial=false&after=0"),
            (r#"{"chunk_size": 1e4}"#, r#"{"chunk_size":10000}"#, "chunk_size=10000"),
            (
                r#"{"after": 1, "before": 2.0, "linkedin_product": "sales_navigator", "chunk_size": 50, "partial": true}"#,
                full,
                "partial=true&chunk_size=50&linkedin_product=sales_navigator&before=2&after=1",
            ),
        ] {
            let resync = parse(given).unwrap();
            assert_eq!(serde_json::to_string(&resync).unwrap(), written);
            assert_eq!(serde_json::from_str::<Resync>(written).unwrap(), resync);
            assert_eq!((resync.query().as_str(), resync.is_empty()), (query, query.is_empty()));
            assert_eq!(Resync::from_query(&format!("port=13111&{query}")), Some(resync));
        }
    }

    #[test]
    fn invalid_options_are_refused_with_every_reason() {
        for (json, reason) in [
            ("[]", "`resync` is not a JSON object"),
            ("true", "`resync` is not a JSON object"),
            (r#"{"full": true}"#, "`resync` has an unknown field; it may have `partial`, `chunk_size`"),
            (r#"{"before": 1, "before": 1}"#, "`resync` has a duplicate field `before`"),
            (r#"{"partial": "true"}"#, "`resync.partial` is not true or false"),
            (r#"{"chunk_size": 0}"#, "`resync.chunk_size` is not a whole number from 1 to 10000"),
            (r#"{"chunk_size": 10001}"#, "`resync.chunk_size` is not"),
            (r#"{"chunk_size": "5"}"#, "`resync.chunk_size` is not"),
            (r#"{"linkedin_product": "premium"}"#, "`resync.linkedin_product` is not `classic`, `recruiter`"),
            (r#"{"before": -1}"#, "`resync.before` is not a whole number of at least 0"),
            (r#"{"after": 1.5}"#, "`resync.after` is not a whole number of at least 0"),
            (r#"{"before": -1, "after": "x"}"#, "`resync.after` is not"),
        ] {
            let refused = parse(json).unwrap_err();
            assert!(refused.contains(reason), "{json}: {refused}");
        }
        for query in ["chunk_size=0", "partial=yes", "linkedin_product=premium", "before=-1", "after="] {
            assert_eq!(Resync::from_query(query), None, "{query}");
        }
    }
}

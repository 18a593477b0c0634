//! Workspaces: each has a key and a base URL of its own.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The longest name of a workspace, in bytes.
const NAME_MAX_BYTES: usize = 64;

/// The name of a workspace: 1 to 64 letters, digits, `_` and `-` of ASCII.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Workspace(Cow<'static, str>);

/// A text is not the name of a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`workspace` is not a name of 1 to {NAME_MAX_BYTES} letters (A-Z, a-z), digits, `_` and `-`")]
pub struct InvalidWorkspace;

impl Workspace {
    /// The workspace of everything that names none. The variables `POSTPRESS_*` configure it.
    pub const DEFAULT: Self = Self(Cow::Borrowed("default"));

    /// Checks a name that came from outside.
    ///
    /// # Errors
    /// If it breaks the rules.
    pub fn parse(name: &str) -> Result<Self, InvalidWorkspace> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if name.is_empty() || name.len() > NAME_MAX_BYTES || !name.bytes().all(is_allowed) {
            return Err(InvalidWorkspace);
        }
        Ok(if name == Self::DEFAULT.as_str() { Self::DEFAULT } else { Self(name.to_owned().into()) })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is [`Workspace::DEFAULT`], which messages and events leave out.
    pub fn is_default(&self) -> bool {
        *self == Self::DEFAULT
    }

    /// The workspace, unless it is the default one.
    pub fn unless_default(&self) -> Option<&Self> {
        Some(self).filter(|workspace| !workspace.is_default())
    }
}

impl Default for Workspace {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for Workspace {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Workspace {
    fn schema_name() -> Cow<'static, str> {
        "Workspace".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": format!("^[A-Za-z0-9_-]{{1,{NAME_MAX_BYTES}}}$") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_letters_digits_underscores_and_hyphens() {
        for name in ["a", "default", "Team_7-eu", &"w".repeat(64)] {
            let workspace = Workspace::parse(name).unwrap();
            assert_eq!((workspace.as_str(), workspace.is_default()), (name, name == "default"));
        }
        for name in ["", " ", "a b", "a/b", "a.b", "é", "a\n", &"w".repeat(65)] {
            assert_eq!(Workspace::parse(name), Err(InvalidWorkspace), "{name:?}");
        }
    }
}

//! Identifiers, each with its own type, parsed once at the boundary.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The longest chat id, in bytes.
pub const CHAT_ID_MAX_BYTES: usize = 512;

/// The provider's id of a chat: not empty, at most [`CHAT_ID_MAX_BYTES`], no control characters, neither `.` nor `..`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ChatId(String);

/// Why a text is not a chat id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidChatId {
    /// It is empty.
    #[error("`chat_id` is empty; name the chat to sync")]
    Empty,
    /// It is longer than [`CHAT_ID_MAX_BYTES`].
    #[error("`chat_id` is {0} bytes long; at most {CHAT_ID_MAX_BYTES} are allowed")]
    TooLong(usize),
    /// It has a control character.
    #[error("`chat_id` has a control character; remove it")]
    ControlCharacter,
    /// It is `.` or `..`, which every URL parser resolves as navigation, even if percent-encoded.
    #[error("`chat_id` is a path navigation (`.` or `..`), which a URL cannot contain as a name")]
    Navigation,
}

/// The characters that are not encoded in a path segment: RFC 3986's unreserved ones.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl ChatId {
    /// Checks a chat id that came from outside.
    ///
    /// # Errors
    /// Says which rule it breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidChatId> {
        if text.is_empty() {
            return Err(InvalidChatId::Empty);
        }
        if text.len() > CHAT_ID_MAX_BYTES {
            return Err(InvalidChatId::TooLong(text.len()));
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidChatId::ControlCharacter);
        }
        if text == "." || text == ".." {
            return Err(InvalidChatId::Navigation);
        }
        Ok(Self(text.to_owned()))
    }

    /// The id as the provider writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as exactly one segment of a URL's path.
    pub fn path_segment(&self) -> String {
        utf8_percent_encode(&self.0, SEGMENT).to_string()
    }
}

impl fmt::Display for ChatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for ChatId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for ChatId {
    fn schema_name() -> Cow<'static, str> {
        "ChatId".into()
    }

    fn inline_schema() -> bool {
        true
    }

    /// The rules of [`ChatId::parse`], except that JSON Schema counts characters rather than bytes.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": CHAT_ID_MAX_BYTES,
            "not": { "anyOf": [{ "enum": [".", ".."] }, { "pattern": r"[\u0000-\u001f\u007f-\u009f]" }] },
        })
    }
}

/// What a run syncs: the run table's hash key, `{workspace}/chat/{chat id}`. There is one workspace, `default`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject(ChatId);

impl Subject {
    const PREFIX: &str = "default/chat/";

    /// The chat that is synced.
    pub fn chat_id(&self) -> &ChatId {
        &self.0
    }

    /// Reads what `Display` wrote; `None` if it is not a subject.
    pub fn parse(text: &str) -> Option<Self> {
        ChatId::parse(text.strip_prefix(Self::PREFIX)?).ok().map(Self)
    }
}

impl From<ChatId> for Subject {
    fn from(chat_id: ChatId) -> Self {
        Self(chat_id)
    }
}

impl From<&ChatId> for Subject {
    fn from(chat_id: &ChatId) -> Self {
        Self(chat_id.clone())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PREFIX, self.0)
    }
}

impl Serialize for Subject {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("`subject` is not `default/chat/` and a chat id"))
    }
}

/// SQS's id of a message: the same at every delivery, and a new one if the message is sent or moved again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(String);

impl MessageId {
    /// An id from SQS.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id as SQS writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of one run of a chat, from the trigger that starts it to its ending. Also the `event_id` of that ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(Uuid);

impl RunId {
    /// A run id from 128 random bits.
    pub fn from_random(bits: u128) -> Self {
        Self(uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid())
    }

    /// The id as a UUID.
    pub fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The fence: new at each claim, so that the holder of an older one can neither poll nor end the run.
///
/// It appears only in the queue and the table: `Debug` masks it, and it has no `Display`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClaimId(u128);

impl ClaimId {
    /// A claim id from 128 random bits.
    pub fn from_random(bits: u128) -> Self {
        Self(bits)
    }

    /// The id as 32 hexadecimal digits, as in the queue and the table.
    pub fn to_hex(self) -> String {
        format!("{:032x}", self.0)
    }

    /// Reads the output of [`ClaimId::to_hex`].
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits.then(|| u128::from_str_radix(text, 16).ok().map(Self))?
    }
}

impl fmt::Debug for ClaimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimId(..)")
    }
}

impl Serialize for ClaimId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for ClaimId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("`claim_id` is not 32 hexadecimal digits"))
    }
}

/// The identity of a request for a chat: the first 8 bytes of the SHA-256 of its idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TriggerKey([u8; 8]);

impl TriggerKey {
    /// The key for an idempotency key, or for the id that replaces it.
    pub fn of(text: &str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        Self(std::array::from_fn(|index| digest[index]))
    }

    /// The key as stored.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0
    }

    /// Reads the output of [`TriggerKey::to_bytes`].
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }
}

impl Serialize for TriggerKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{:016x}", u64::from_be_bytes(self.0)))
    }
}

impl<'de> Deserialize<'de> for TriggerKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match u64::from_str_radix(&text, 16) {
            Ok(bits) if text.len() == 16 => Ok(Self(bits.to_be_bytes())),
            _ => Err(serde::de::Error::custom("a trigger's key is not 16 hexadecimal digits")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_can_be_read_back_whatever_the_chat_id() {
        for id in ["c", "a/b", "default/chat/c", "„ü“"] {
            let subject = Subject::from(ChatId::parse(id).unwrap());
            assert_eq!(subject.to_string(), format!("default/chat/{id}"));
            assert_eq!(Subject::parse(&subject.to_string()), Some(subject));
        }
        for text in ["", "c", "default/chat/", "default/account/a", "other/chat/c", "default/chat/.."] {
            assert_eq!(Subject::parse(text), None, "{text}");
        }
    }

    #[test]
    fn invalid_chat_ids_are_refused_with_the_reason() {
        for (text, why) in [
            ("", InvalidChatId::Empty),
            (".", InvalidChatId::Navigation),
            ("..", InvalidChatId::Navigation),
            ("a\u{0}b", InvalidChatId::ControlCharacter),
            ("a\nb", InvalidChatId::ControlCharacter),
            ("a\u{85}b", InvalidChatId::ControlCharacter),
        ] {
            assert_eq!(ChatId::parse(text), Err(why), "{text:?}");
        }
        assert_eq!(ChatId::parse(&"é".repeat(257)), Err(InvalidChatId::TooLong(514)));
        assert!(ChatId::parse(&"é".repeat(256)).is_ok());
    }

    #[test]
    fn chat_ids_are_one_path_segment() {
        for (text, segment) in [
            ("chat_01HXYZ", "chat_01HXYZ"),
            ("a/b?c#d", "a%2Fb%3Fc%23d"),
            ("...", "..."),
            ("../x", "..%2Fx"),
            ("%2e%2e", "%252e%252e"),
            ("50% é+", "50%25%20%C3%A9%2B"),
        ] {
            assert_eq!(ChatId::parse(text).unwrap().path_segment(), segment);
        }
    }

    #[test]
    fn claim_ids_round_trip_and_are_masked() {
        let claim = ClaimId::from_random(7);
        let json = serde_json::to_string(&claim).unwrap();
        assert_eq!(json, "\"00000000000000000000000000000007\"");
        assert_eq!(serde_json::from_str::<ClaimId>(&json).unwrap(), claim);
        assert_eq!(format!("{claim:?}"), "ClaimId(..)");
        for bad in ["", "7", "+0000000000000000000000000000007", "zz000000000000000000000000000007"] {
            assert_eq!(ClaimId::from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn trigger_keys_are_truncated_sha_256() {
        let key = TriggerKey::of("abc");
        assert_eq!(serde_json::to_string(&key).unwrap(), "\"ba7816bf8f01cfea\"");
        assert_eq!(TriggerKey::from_bytes(key.to_bytes()), key);
    }
}

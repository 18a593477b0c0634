//! Identifiers, each with its own type, parsed once at the boundary.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

mod subject;
mod workspace;

pub use subject::{
    AccountId, ChatId, ID_MAX_BYTES, Id, IdFault, IdOf, InvalidId, Subject, SubjectFields, SubjectId, SubjectKind,
    percent_encoded, subject_fields,
};
pub use workspace::{InvalidWorkspace, Workspace};

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

/// SQS's message group, by which fair queues tell tenants apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageGroup(String);

impl MessageGroup {
    /// The most characters of a group.
    pub const MAX_LEN: usize = 128;

    /// A group as SQS allows it: 1 to 128 letters, digits and ASCII punctuation.
    pub fn parse(text: &str) -> Option<Self> {
        let is_sound = (1..=Self::MAX_LEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_sound.then(|| Self(text.to_owned()))
    }

    /// The group as SQS writes it.
    pub fn as_str(&self) -> &str {
        &self.0
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

//! Converts items to DynamoDB's attributes, as `layout` lists them, and back.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::layout::{self, Value};
use crate::ids::{MessageGroup, Subject, TriggerKey};
use crate::run::{DueRun, History, Item, Open, PollState, RecentKeys, StateAttributes};
use crate::service::ServiceError;
use crate::time::Millis;

pub(super) type Attributes = HashMap<String, AttributeValue>;

/// Text.
pub(super) fn string(text: impl fmt::Display) -> AttributeValue {
    AttributeValue::S(text.to_string())
}

/// A number.
pub(super) fn number(number: impl fmt::Display) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// JSON text.
pub(super) fn json(value: &impl Serialize) -> Result<AttributeValue, ServiceError> {
    let text = serde_json::to_string(value).map_err(|error| ServiceError::Permanent(error.to_string()))?;
    Ok(AttributeValue::S(text))
}

/// The item's attributes; absent fields have none.
pub(super) fn of_item(item: &Item) -> Result<Attributes, ServiceError> {
    let attributes = layout::attributes(item).map_err(|error| ServiceError::Permanent(error.to_string()))?;
    Ok(attributes.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
}

impl From<Value> for AttributeValue {
    fn from(value: Value) -> Self {
        match value {
            Value::Text(text) => Self::S(text),
            Value::Number(value) => number(value),
            Value::Binary(bytes) => Self::B(Blob::new(bytes)),
            Value::BinarySet(values) => Self::Bs(values.into_iter().map(Blob::new).collect()),
            Value::TextList(texts) => Self::L(texts.into_iter().map(Self::S).collect()),
            Value::True => Self::Bool(true),
        }
    }
}

/// The item of these attributes.
pub(super) fn to_item(attributes: &Attributes) -> Result<Item, ServiceError> {
    let read = Reader(attributes);
    let triggers = read.required("triggers", |value| value.as_l().ok())?;
    let keys = read.required("keys", |value| value.as_bs().ok())?;
    let state = StateAttributes {
        phase: read.parsed("phase")?,
        published: read.0.contains_key("published"),
        outcome: read.json("outcome")?,
        open: read.open()?,
        expires_at: read.number("expires_at"),
    };
    Ok(Item {
        subject: read.parsed("subject")?,
        resync: read.json("resync")?.unwrap_or_default(),
        run_id: read.parsed("run_id")?,
        claim_id: read.parsed("claim_id")?,
        holder: read.parsed("holder")?,
        lease_until_ms: Millis(read.required_number("lease_until_ms")?),
        state: state.try_into().map_err(|_| unreadable("phase"))?,
        triggers: triggers.iter().map(|value| from_json("triggers", value)).collect::<Result<_, _>>()?,
        keys: keys.iter().map(to_key).collect::<Result<_, _>>()?,
        seen: read.binary("seen", RecentKeys::from_bytes)?,
        learned: PollState {
            history: read.binary("history", History::from_bytes)?,
            ..read.json("learned")?.unwrap_or_default()
        },
        started_at_ms: Millis(read.required_number("started_at_ms")?),
        cancelled_at: read.number("cancelled_at").map(Millis),
        group: read.0.get("group").and_then(|group| MessageGroup::parse(group.as_s().ok()?)),
        polls: read.required_number("polls")?.try_into().map_err(|_| unreadable("polls"))?,
    })
}

/// A run from the index, which has only the keys.
pub(super) fn to_due_run(attributes: &Attributes) -> Result<DueRun, ServiceError> {
    let read = Reader(attributes);
    let sweep_at_ms = Millis(read.required_number("sweep_at_ms")?);
    Ok(DueRun { sweep_at_ms, subject: read.parsed("subject")? })
}

/// The subject of a key.
pub(super) fn to_subject(attributes: &Attributes) -> Result<Subject, ServiceError> {
    Reader(attributes).parsed("subject")
}

struct Reader<'a>(&'a Attributes);

impl<'a> Reader<'a> {
    fn required<T>(&self, name: &str, read: impl FnOnce(&'a AttributeValue) -> Option<T>) -> Result<T, ServiceError> {
        self.0.get(name).and_then(read).ok_or_else(|| unreadable(name))
    }

    fn parsed<T: DeserializeOwned>(&self, name: &str) -> Result<T, ServiceError> {
        self.required(name, |value| serde_json::from_value(value.as_s().ok()?.as_str().into()).ok())
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.as_n().ok()?.parse().ok()
    }

    fn required_number(&self, name: &str) -> Result<u64, ServiceError> {
        self.number(name).ok_or_else(|| unreadable(name))
    }

    fn open(&self) -> Result<Option<Open>, ServiceError> {
        let (Some(shard), Some(sweep_at_ms)) = (self.number("open"), self.number("sweep_at_ms")) else {
            return Ok(None);
        };
        Ok(Some(Open { shard: shard.try_into().map_err(|_| unreadable("open"))?, sweep_at_ms: Millis(sweep_at_ms) }))
    }

    fn binary<T: Default>(&self, name: &str, read: impl FnOnce(&[u8]) -> Option<T>) -> Result<T, ServiceError> {
        let Some(value) = self.0.get(name) else { return Ok(T::default()) };
        value.as_b().ok().and_then(|blob| read(blob.as_ref())).ok_or_else(|| unreadable(name))
    }

    fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ServiceError> {
        self.0.get(name).map(|value| from_json(name, value)).transpose()
    }
}

fn from_json<T: DeserializeOwned>(name: &str, value: &AttributeValue) -> Result<T, ServiceError> {
    let text = value.as_s().map_err(|_| unreadable(name))?;
    serde_json::from_str(text).map_err(|_| unreadable(name))
}

fn to_key(blob: &Blob) -> Result<TriggerKey, ServiceError> {
    blob.as_ref().try_into().map(TriggerKey::from_bytes).map_err(|_| unreadable("keys"))
}

/// The item was written by another program, or by a version of this one that stores items differently.
fn unreadable(name: &str) -> ServiceError {
    ServiceError::Permanent(format!(
        "the run table has an item whose `{name}` cannot be read; is BRIDGE_TABLE the right table?"
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::run::arbitrary;

    proptest! {
        #[test]
        fn every_item_round_trips_through_its_attributes(item in arbitrary::item()) {
            prop_assert_eq!(to_item(&of_item(&item).unwrap()).unwrap(), item);
        }
    }
}

//! Converts items to DynamoDB's attributes and back.
//!
//! Fields used in conditions have attributes of their own types. The rest (triggers, the poll state, the outcome) is JSON
//! text, so that a producer's metadata is returned byte for byte.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ids::{ClaimId, MessageId, RunId, Subject, TriggerKey};
use crate::run::{DueRun, Item, Open, Phase, RecentKeys, StateAttributes};
use crate::service::ServiceError;
use crate::time::Millis;

type Attributes = HashMap<String, AttributeValue>;

/// JSON text.
pub(super) fn json(value: &impl Serialize) -> Result<AttributeValue, ServiceError> {
    let text = serde_json::to_string(value).map_err(|error| ServiceError::Permanent(error.to_string()))?;
    Ok(AttributeValue::S(text))
}

/// The item's attributes; absent fields have none.
pub(super) fn of_item(item: &Item) -> Result<Attributes, ServiceError> {
    let string = |text: &str| AttributeValue::S(text.to_owned());
    let number = |number: u64| AttributeValue::N(number.to_string());
    let keys = item.keys.iter().map(|key| Blob::new(key.to_bytes())).collect();
    let triggers = item.triggers.iter().map(json).collect::<Result<_, _>>()?;
    let StateAttributes { phase, published, outcome, open, expires_at } = item.state.clone().into();
    let mut attributes = vec![
        ("subject", string(&item.subject.to_string())),
        ("run_id", string(&item.run_id.to_string())),
        ("claim_id", string(&item.claim_id.to_hex())),
        ("holder", string(item.holder.as_str())),
        ("lease_until_ms", number(item.lease_until_ms.0)),
        ("phase", string(name_of(phase))),
        ("triggers", AttributeValue::L(triggers)),
        ("keys", AttributeValue::Bs(keys)),
        ("learned", json(&item.learned)?),
        ("started_at_ms", number(item.started_at_ms.0)),
        ("polls", number(item.polls.into())),
    ];
    if published {
        attributes.push(("published", AttributeValue::Bool(true)));
    }
    if !item.seen.is_empty() {
        attributes.push(("seen", AttributeValue::B(Blob::new(item.seen.to_bytes()))));
    }
    if let Some(outcome) = &outcome {
        attributes.push(("outcome", json(outcome)?));
    }
    if let Some(open) = open {
        attributes.push(("open", number(open.shard.into())));
        attributes.push(("sweep_at_ms", number(open.sweep_at_ms.0)));
    }
    if let Some(expires_at) = expires_at {
        attributes.push(("expires_at", number(expires_at)));
    }
    Ok(attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The item of these attributes.
pub(super) fn to_item(attributes: &Attributes) -> Result<Item, ServiceError> {
    let read = Reader(attributes);
    let triggers = read.list("triggers").ok_or_else(|| unreadable("triggers"))?;
    let keys = read.blobs("keys").ok_or_else(|| unreadable("keys"))?;
    let state = StateAttributes {
        phase: read.parsed("phase", to_phase)?,
        published: read.0.contains_key("published"),
        outcome: read.json("outcome")?,
        open: read.open()?,
        expires_at: read.number("expires_at"),
    };
    Ok(Item {
        subject: read.subject()?,
        run_id: read.parsed("run_id", |text| serde_json::from_value::<RunId>(text.into()).ok())?,
        claim_id: read.parsed("claim_id", ClaimId::from_hex)?,
        holder: read.parsed("holder", |text| Some(MessageId::new(text)))?,
        lease_until_ms: Millis(read.required_number("lease_until_ms")?),
        state: state.try_into().map_err(|_| unreadable("phase"))?,
        triggers: triggers.iter().map(|value| from_json("triggers", value)).collect::<Result<_, _>>()?,
        keys: keys.iter().map(to_key).collect::<Result<_, _>>()?,
        seen: read.seen()?,
        learned: read.json("learned")?.unwrap_or_default(),
        started_at_ms: Millis(read.required_number("started_at_ms")?),
        polls: read.required_number("polls")?.try_into().map_err(|_| unreadable("polls"))?,
    })
}

/// A run from the index, which has only the keys.
pub(super) fn to_due_run(attributes: &Attributes) -> Result<DueRun, ServiceError> {
    let read = Reader(attributes);
    let sweep_at_ms = Millis(read.required_number("sweep_at_ms")?);
    Ok(DueRun { sweep_at_ms, subject: read.subject()? })
}

/// The chat of a key.
pub(super) fn to_subject(attributes: &Attributes) -> Result<Subject, ServiceError> {
    Reader(attributes).subject()
}

struct Reader<'a>(&'a Attributes);

impl Reader<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_s().ok().map(String::as_str)
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

    fn list(&self, name: &str) -> Option<&[AttributeValue]> {
        self.0.get(name)?.as_l().ok().map(Vec::as_slice)
    }

    fn blobs(&self, name: &str) -> Option<&[Blob]> {
        self.0.get(name)?.as_bs().ok().map(Vec::as_slice)
    }

    fn parsed<T>(&self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, ServiceError> {
        self.text(name).and_then(parse).ok_or_else(|| unreadable(name))
    }

    fn subject(&self) -> Result<Subject, ServiceError> {
        self.parsed("subject", Subject::parse)
    }

    fn seen(&self) -> Result<RecentKeys, ServiceError> {
        let Some(value) = self.0.get("seen") else { return Ok(RecentKeys::default()) };
        let bytes = value.as_b().ok().and_then(|blob| RecentKeys::from_bytes(blob.as_ref()));
        bytes.ok_or_else(|| unreadable("seen"))
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

fn name_of(phase: Phase) -> &'static str {
    match phase {
        Phase::Active => "active",
        Phase::Ended => "ended",
    }
}

fn to_phase(text: &str) -> Option<Phase> {
    [Phase::Active, Phase::Ended].into_iter().find(|phase| name_of(*phase) == text)
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

//! The layout of an item in DynamoDB: its attributes' names, types and sizes, without the SDK, so that every build can say
//! how large an item is.

use crate::run::{Item, Phase, StateAttributes};

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Number(u64),
    /// Bytes.
    Binary(Vec<u8>),
    /// A set of bytes.
    BinarySet(Vec<Vec<u8>>),
    /// A list of texts.
    TextList(Vec<String>),
    /// `true`; a flag that is not set has no attribute.
    True,
}

impl Value {
    /// Its size by [DynamoDB's rules][sizes] (November 2026), which do not mention sets: the sum of their values.
    ///
    /// [sizes]: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Number(number) => {
                let digits = number.to_string().trim_end_matches('0').len();
                digits.div_ceil(2) + 1
            }
            Self::Binary(bytes) => bytes.len(),
            Self::BinarySet(values) => values.iter().map(Vec::len).sum(),
            Self::TextList(texts) => 3 + texts.iter().map(|text| 1 + text.len()).sum::<usize>(),
            Self::True => 1,
        }
    }
}

/// The item's attributes; absent fields have none.
///
/// Fields used in conditions have attributes of their own types. The rest (triggers, the options, the poll state, the outcome) is
/// JSON text, so that a producer's metadata is returned byte for byte. Binary values count as many bytes as they have.
pub(super) fn attributes(item: &Item) -> serde_json::Result<Vec<(&'static str, Value)>> {
    let keys = item.keys.iter().map(|key| key.to_bytes().to_vec()).collect();
    let triggers = item.triggers.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    let (learned, history) = item.learned.split();
    let StateAttributes { phase, published, outcome, open, expires_at } = item.state.clone().into();
    let phase = match phase {
        Phase::Active => "active",
        Phase::Ended => "ended",
    };
    let required = [
        ("subject", Value::Text(item.subject.key())),
        ("run_id", Value::Text(item.run_id.to_string())),
        ("claim_id", Value::Text(item.claim_id.to_hex())),
        ("holder", Value::Text(item.holder.to_string())),
        ("lease_until_ms", Value::Number(item.lease_until_ms.0)),
        ("phase", Value::Text(phase.to_owned())),
        ("triggers", Value::TextList(triggers)),
        ("keys", Value::BinarySet(keys)),
        ("learned", Value::Text(serde_json::to_string(&learned)?)),
        ("started_at_ms", Value::Number(item.started_at_ms.0)),
        ("polls", Value::Number(item.polls.into())),
    ];
    let resync = (!item.resync.is_empty()).then(|| serde_json::to_string(&item.resync.values())).transpose()?;
    let optional = [
        ("resync", resync.map(Value::Text)),
        ("published", published.then_some(Value::True)),
        ("cancelled_at", item.cancelled_at.map(|cancelled_at| Value::Number(cancelled_at.0))),
        ("group", item.group.as_ref().map(|group| Value::Text(group.as_str().to_owned()))),
        ("history", (!history.is_empty()).then(|| Value::Binary(history.to_bytes()))),
        ("seen", (!item.seen.is_empty()).then(|| Value::Binary(item.seen.to_bytes()))),
        ("outcome", outcome.as_ref().map(serde_json::to_string).transpose()?.map(Value::Text)),
        ("open", open.map(|open| Value::Number(open.shard.into()))),
        ("sweep_at_ms", open.map(|open| Value::Number(open.sweep_at_ms.0))),
        ("expires_at", expires_at.map(Value::Number)),
    ];
    let optional = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
    Ok(required.into_iter().chain(optional).collect())
}

/// The item's size in the table, in bytes.
///
/// # Errors
/// If a part of it cannot be written as JSON, which would be a bug.
pub fn item_bytes(item: &Item) -> serde_json::Result<usize> {
    Ok(attributes(item)?.iter().map(|(name, value)| name.len() + value.bytes()).sum())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::{ClaimId, MessageId, RunId, Subject, TriggerKey};
    use crate::postpress::resync::{ChunkSize, LinkedinProduct};
    use crate::postpress::{Progress, Resync};
    use crate::run::{HISTORY_MAX, History, Open, PollAnswer, PollState, RecentKeys, RunState, Trigger, arbitrary};
    use crate::time::Millis;

    #[test]
    fn values_have_the_sizes_that_dynamodb_documents() {
        for (value, bytes) in [
            (Value::Text("é".to_owned()), 2),
            (Value::Number(0), 1),
            (Value::Number(7), 2),
            (Value::Number(1_795_514_400_123), 8), // 13 digits
            (Value::Number(1_795_514_400_000), 5), // 8 digits without the trailing zeros
            (Value::Binary(vec![0; 12]), 12),
            (Value::BinarySet(vec![vec![0; 8]; 3]), 24),
            (Value::TextList(Vec::new()), 3),
            (Value::TextList(vec!["ab".to_owned(), "c".to_owned()]), 3 + 1 + 2 + 1 + 1),
            (Value::True, 1),
        ] {
            assert_eq!(value.bytes(), bytes, "{value:?}");
        }
    }

    #[test]
    fn a_run_with_two_triggers_and_a_full_history_fits_a_write_unit() {
        let now = Millis(1_795_514_400_123);
        let resync = Resync {
            partial: Some(false),
            chunk_size: ChunkSize::MAX.try_into().ok(),
            linkedin_product: Some(LinkedinProduct::SalesNavigator),
            before: Some(now.0),
            after: Some(now.0),
        };
        let chat = Subject::chat("chat_01HXYZ4QK3WJ8FN3M6QH7TZ8G").unwrap();
        let account = Subject::account("acc_01HXYZ4QK3WJ8FN3M6QH7TZ8GR").unwrap();
        for (subject, resync, chunks) in [(chat, Resync::default(), 0), (account, resync, 12)] {
            let item = item(subject, resync, chunks, now);
            assert_eq!(item.learned.history.to_bytes().len(), 6 * HISTORY_MAX);
            let bytes = item_bytes(&item).unwrap();
            assert!(bytes < 1024, "{}: {bytes} bytes", item.subject.key());
        }
    }

    /// An active run with two triggers and a full history.
    fn item(subject: Subject, resync: Resync, chunks: u32, now: Millis) -> Item {
        let trigger = |joined| Trigger {
            message_id: MessageId::new("8476a536-e9f4-11e8-9739-2dfe598c3fcd"),
            correlation_id: Some("order-17-2026".to_owned()),
            idempotency_key: Some("crm-8841-a7".to_owned()),
            metadata: None,
            requested_at: now,
            joined,
        };
        let mut history = History::default();
        (1..65).for_each(|poll| history.push(poll, u64::from(poll) * 300, PollAnswer::Failed(503)));
        Item {
            resync,
            run_id: RunId::from_random(u128::MAX),
            claim_id: ClaimId::from_random(u128::MAX),
            holder: trigger(false).message_id,
            lease_until_ms: now,
            state: RunState::Active { open: Open::of_active(&subject, now) },
            subject,
            triggers: vec![trigger(false), trigger(true)],
            keys: [TriggerKey::of("one"), TriggerKey::of("two")].into(),
            seen: RecentKeys::default(),
            learned: PollState {
                status: Some(Progress::Running),
                next_poll_ms: Some(now),
                history,
                chunks,
                backoff_after: 2 * chunks,
                ..PollState::default()
            },
            started_at_ms: now,
            cancelled_at: None,
            group: None,
            polls: 65,
        }
    }

    proptest! {
        #[test]
        fn names_and_values_make_up_an_items_size(item in arbitrary::item()) {
            let names: usize = attributes(&item).unwrap().iter().map(|(name, _)| name.len()).sum();
            let bytes = item_bytes(&item).unwrap();
            prop_assert!(bytes > names + item.subject.key().len() + item.keys.len() * 8);
            let longer = Item { holder: MessageId::new(format!("{}seven b", item.holder)), ..item };
            prop_assert_eq!(item_bytes(&longer).unwrap(), bytes + 7);
        }
    }
}

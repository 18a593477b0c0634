//! Lambda's SQS events as records, and the batch response.
//!
//! The event is read one member at a time, so that an odd member that the bridge does not need affects neither its record nor
//! others. A record that SQS cannot have sent is not skipped: the invocation fails, because a response would tell Lambda that
//! the record was processed.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::ids::{MessageGroup, MessageId};
use crate::json::{self, RawObject};
use crate::message::Record;
use crate::time::Millis;
use crate::trace::TraceHeader;

mod received;

pub use received::{UnknownEvent, description};

/// A smaller number is not milliseconds since 1970: it would be before September 2001.
const EARLIEST_EPOCH_MS: u64 = 1_000_000_000_000;

/// The source of SQS records.
const SQS: &str = "aws:sqs";

/// The exit code of the program `name`, with its error on stderr.
pub fn exit_code(name: &str, result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The records of an SQS event, received at `now`.
///
/// Each keeps its own trace, with the `Lineage` of the invocation's header (`Lambda-Runtime-Trace-Id`). That header's trace is of
/// the invocation alone, which may process messages of ten runs.
///
/// # Errors
/// If the event is not from SQS, has no records, or has one that SQS cannot have sent.
pub fn records(event: &RawValue, invocation: Option<&str>, now: Millis) -> Result<Vec<Record>, UnknownEvent> {
    let records = RawObject::of(event).and_then(|event| event.get("Records").and_then(received::elements));
    let Some(records) = records.filter(|records| !records.is_empty()) else {
        return Err(UnknownEvent::new(description(event), remedy(event.get())));
    };
    let invocation = invocation.and_then(TraceHeader::parse);
    let count = records.len();
    let read = records.into_iter().enumerate().map(|(index, raw)| {
        let record = record(raw, now).map_err(|fault| {
            UnknownEvent::new(format_args!("record {} of {count} {fault}", index + 1), remedy(raw.get()))
        })?;
        Ok(match &invocation {
            Some(invocation) => Record { trace: Some(record.trace().through(invocation)), ..record },
            None => record,
        })
    });
    read.collect()
}

/// Reads one record.
///
/// Other members, such as `messageAttributes`, stay unread. A body that is not a string is kept as JSON text, and a missing one
/// is empty: the worker answers them as invalid triggers, so that they neither vanish nor are delivered for ever.
fn record(raw: &RawValue, now: Millis) -> Result<Record, String> {
    let Some(record) = RawObject::of(raw) else {
        return Err(format!("is {}, not an object", json::kind(raw.get())));
    };
    let is_foreign = match record.get("eventSource") {
        Some(source) => json::text(source).as_deref() != Some(SQS),
        None => record.has("EventSource"),
    };
    if is_foreign {
        return Err(format!("has {}, where `eventSource` \"{SQS}\" belongs", received::source(&record)));
    }
    let Some(message_id) = record.text("messageId") else {
        return Err(format!("has no `messageId` that is a string and not empty; it has {}", received::source(&record)));
    };
    let message_id = MessageId::new(message_id);
    let attributes = record.object("attributes");
    let attribute = |name: &str| attributes.as_ref().and_then(|attributes| attributes.get(name));
    let time = |name: &str| attribute(name).and_then(number).filter(|ms| *ms >= EARLIEST_EPOCH_MS).map(Millis);
    // The first receive is close to the sending, and as constant over all deliveries.
    let sent_at = time("SentTimestamp").or_else(|| time("ApproximateFirstReceiveTimestamp")).unwrap_or_else(|| {
        tracing::warn!(%message_id, "record without a readable `SentTimestamp`; using the current time");
        now
    });
    let receive_count = attribute("ApproximateReceiveCount").and_then(number);
    let body =
        record.get("body").map(|body| serde_json::from_str(body.get()).unwrap_or_else(|_| body.get().to_owned()));
    Ok(Record {
        message_id,
        receipt_handle: record.text("receiptHandle").unwrap_or_default(),
        body: body.unwrap_or_default(),
        sent_at,
        receive_count: receive_count.and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
        trace: attribute("AWSTraceHeader").and_then(json::text).and_then(|header| TraceHeader::parse(&header)),
        group: attribute("MessageGroupId").and_then(json::text).and_then(|group| MessageGroup::parse(&group)),
    })
}

/// A whole number, which SQS writes as a string.
fn number(value: &RawValue) -> Option<u64> {
    value.get().trim_matches('"').parse().ok()
}

/// The remedy for an unexpected event or record.
fn remedy(json: &str) -> &'static str {
    const QUEUE: &str = "send triggers to the queue, and map the queue to this function (an SQS event source mapping)";
    let Ok(object) = RawObject::parse(json) else { return QUEUE };
    let source = object.text("eventSource").or_else(|| object.text("EventSource"));
    let is_bare = |name: &str| source.is_none() && object.has(name);
    match source.as_deref() {
        Some("aws:sns") => "subscribe the queue to the topic, and map the queue to this function",
        Some("aws:s3") => {
            "a change in a bucket is not a trigger: send triggers to the queue, and map the queue to this function"
        }
        Some(SQS) => "Lambda adds `messageId` to every record from a queue; map the queue to this function",
        _ if is_bare("detail-type") => "make the queue the rule's target, and map the queue to this function",
        _ if is_bare("chat_id") || is_bare("postpress_bridge") => {
            "send it to the queue, and map the queue to this function"
        }
        _ if is_bare("httpMethod") || is_bare("requestContext") => {
            "the `webhook` function answers HTTP; this one processes the queue"
        }
        _ => QUEUE,
    }
}

/// `ReportBatchItemFailures`: Lambda deletes every other message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse {
    batch_item_failures: Vec<BatchItemFailure>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchItemFailure {
    item_identifier: MessageId,
}

impl BatchResponse {
    /// Returns these messages to the queue. A batch may contain two deliveries of one message, which Lambda cannot distinguish:
    /// if one is returned, both are.
    pub fn returning<'a>(messages: impl Iterator<Item = &'a MessageId>) -> Self {
        let mut batch_item_failures: Vec<BatchItemFailure> = Vec::new();
        for message_id in messages {
            if batch_item_failures.iter().all(|failure| failure.item_identifier != *message_id) {
                batch_item_failures.push(BatchItemFailure { item_identifier: message_id.clone() });
            }
        }
        Self { batch_item_failures }
    }
}

/// The remaining time of an invocation, from the deadline in its context.
///
/// Lambda sends milliseconds since 1970; `cargo lambda` sends a duration in milliseconds (`600000`).
pub fn time_left(deadline_ms: u64, now: SystemTime) -> Duration {
    let deadline = Duration::from_millis(deadline_ms);
    if deadline_ms < EARLIEST_EPOCH_MS {
        return deadline;
    }
    deadline.saturating_sub(now.duration_since(UNIX_EPOCH).unwrap_or_default())
}

#[cfg(test)]
mod tests;

//! What Lambda hands the worker, in the bridge's own terms, and back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};

use crate::ids::MessageId;
use crate::message::Record;
use crate::time::Millis;
use crate::trace::TraceHeader;

/// Below this, a deadline cannot be milliseconds since 1970: it was September 2001 then.
const EARLIEST_EPOCH_DEADLINE_MS: u64 = 1_000_000_000_000;

/// The records of an SQS event. One without a message id cannot be told from others, and SQS sends none.
///
/// Each keeps its own trace, but goes on with what the invocation's header (`Lambda-Runtime-Trace-Id`) has counted: that one
/// names a trace of the invocation alone, which may deal with messages of ten runs.
pub fn records(event: SqsEvent, invocation: Option<&str>) -> Vec<Record> {
    let invocation = invocation.and_then(TraceHeader::parse);
    let records = event.records.into_iter().filter_map(record);
    let Some(invocation) = invocation else { return records.collect() };
    records.map(|record| Record { trace: Some(record.trace().through(&invocation)), ..record }).collect()
}

fn record(message: SqsMessage) -> Option<Record> {
    let trace = message.attributes.get("AWSTraceHeader").and_then(|header| TraceHeader::parse(header));
    let number = |name: &str| message.attributes.get(name).and_then(|value| value.parse::<u64>().ok());
    let sent_at = number("SentTimestamp").unwrap_or_default();
    let receive_count = number("ApproximateReceiveCount").and_then(|count| u32::try_from(count).ok());
    Some(Record {
        message_id: MessageId::new(message.message_id?),
        receipt_handle: message.receipt_handle.unwrap_or_default(),
        body: message.body.unwrap_or_default(),
        sent_at: Millis(sent_at),
        receive_count: receive_count.unwrap_or(1),
        trace,
    })
}

/// `ReportBatchItemFailures`: Lambda deletes every message but these.
pub fn response<'a>(returned: impl Iterator<Item = &'a MessageId>) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = returned
        .map(|message_id| {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = message_id.to_string();
            failure
        })
        .collect();
    response
}

/// How long an invocation has, from the deadline in its context.
///
/// Lambda gives milliseconds since 1970; `cargo lambda` gives milliseconds from the receipt (`600000`).
pub fn time_left(deadline_ms: u64, now: SystemTime) -> Duration {
    let deadline = Duration::from_millis(deadline_ms);
    if deadline_ms < EARLIEST_EPOCH_DEADLINE_MS {
        return deadline;
    }
    deadline.saturating_sub(now.duration_since(UNIX_EPOCH).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_time_of_day_or_a_duration() {
        let now = UNIX_EPOCH + Duration::from_millis(1_795_514_400_000);
        assert_eq!(time_left(1_795_514_460_000, now), Duration::from_secs(60));
        assert_eq!(time_left(600_000, now), Duration::from_secs(600));
        assert_eq!(time_left(1_795_514_399_999, now), Duration::ZERO);
    }

    #[test]
    fn a_record_is_read_as_lambda_sends_it() {
        let event = include_str!("../events/trigger-batch.json");
        let records = records(serde_json::from_str(event).unwrap(), None);
        assert_eq!(records.len(), 3);
        assert!(records[0].body.contains("chat_id"));
        assert!(records[0].sent_at > Millis(0));
        assert_eq!(records[0].receive_count, 1);
        assert!(!records[0].receipt_handle.is_empty());
    }

    #[test]
    fn a_message_keeps_its_trace_and_takes_what_the_invocation_has_counted() {
        let message = |header: Option<&str>| {
            let mut message = serde_json::json!({"messageId": "m", "attributes": {"SentTimestamp": "1795514400137"}});
            if let Some(header) = header {
                message["attributes"]["AWSTraceHeader"] = header.into();
            }
            message
        };
        let root = "Root=1-5759e988-bd862e3fe1be46a994272793";
        let event = serde_json::json!({"Records": [message(Some(root)), message(None), message(Some("none"))]});
        let event: SqsEvent = serde_json::from_value(event).unwrap();
        let headers = |invocation| {
            records(event.clone(), invocation).iter().map(|record| record.trace().to_string()).collect::<Vec<_>>()
        };
        let new = TraceHeader::of_message(&MessageId::new("m"), Millis(1_795_514_400_137)).to_string();
        assert_eq!(headers(None), [root, &new, &new]);
        let invocation = "Root=1-11111111-222222222222222222222222;Parent=1111111111111111;Sampled=1;Lineage=1:a:5";
        let counted = |header: &str| format!("{header};Sampled=1;Lineage=1:a:5");
        assert_eq!(headers(Some(invocation)), [counted(root), counted(&new), counted(&new)]);
    }

    #[test]
    fn what_comes_back_is_told_by_its_id() {
        let returned = [MessageId::new("a"), MessageId::new("b")];
        let json = serde_json::to_string(&response(returned.iter())).unwrap();
        assert_eq!(json, r#"{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"b"}]}"#);
    }
}

//! The queue on SQS.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::BuildError;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
    MessageSystemAttributeName, MessageSystemAttributeNameForSends, MessageSystemAttributeValue,
    SendMessageBatchRequestEntry,
};
use futures_util::stream::{self, StreamExt};

use super::packing::{ENTRIES_MAX, pack};
use super::{Outgoing, Queue, Source, VisibilityChange};
use crate::aws::{Resource, entry_error, service_error};
use crate::ids::{MessageGroup, MessageId};
use crate::message::Record;
use crate::run::DELAY_MAX;
use crate::service::ServiceError;
use crate::time::{Clock, Millis};
use crate::trace::TraceHeader;

/// How long `ReceiveMessage` waits for a message at most.
const WAIT_SECONDS: i32 = 20;
/// Time limits of a receive, including its wait, and of a delete.
const RECEIVE_MAX: Duration = Duration::from_secs(30);
const DELETE_MAX: Duration = Duration::from_secs(5);
/// The most concurrent batch requests. Each takes memory, and a Lambda has as little as 128 MB.
const CONCURRENT: usize = 10;
/// The longest `DelaySeconds`.
const DELAY_MAX_SECONDS: u64 = DELAY_MAX.as_secs();
/// The longest visibility timeout: 12 hours.
const VISIBILITY_MAX_SECONDS: u64 = 43_200;

/// A standard queue on SQS.
#[derive(Debug, Clone)]
pub struct SqsQueue {
    client: Client,
    url: String,
    receiving: Receiving,
}

/// How messages are received.
#[derive(Debug, Clone, Copy)]
struct Receiving {
    /// How long they stay invisible; `None` for the queue's own setting.
    hold_seconds: Option<i32>,
    /// How long to wait for one.
    wait_seconds: i32,
}

type Results<T> = Vec<Result<T, ServiceError>>;

impl SqsQueue {
    /// The queue of this URL.
    pub fn new(client: Client, url: String) -> Self {
        let receiving = Receiving { hold_seconds: None, wait_seconds: WAIT_SECONDS };
        Self { client, url, receiving }
    }

    /// The same queue, for inspecting its messages: received messages stay invisible for `hold`, at most 12 hours, whatever
    /// the queue's setting, and a receive from an empty queue returns after `wait`, at most 20 seconds.
    #[must_use]
    pub fn held_for(self, hold: Duration, wait: Duration) -> Self {
        let hold_seconds = Some(whole_seconds(hold, VISIBILITY_MAX_SECONDS));
        let wait_seconds = whole_seconds(wait, WAIT_SECONDS.unsigned_abs().into());
        Self { receiving: Receiving { hold_seconds, wait_seconds }, ..self }
    }

    fn resource(&self) -> Resource<'_> {
        Resource::Queue(&self.url)
    }

    /// Deletes messages. Returns one result per message, in order.
    pub async fn delete_each(&self, records: &[Record]) -> Vec<Result<(), ServiceError>> {
        in_packs(records.chunks(ENTRIES_MAX), async |pack| self.delete_pack(pack).await).await
    }

    async fn delete_pack(&self, records: &[Record]) -> Result<Results<()>, ServiceError> {
        let entries = entries(records, |id, record| {
            DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(&record.receipt_handle).build()
        })?;
        let request = self.client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries));
        let output = within(DELETE_MAX, request.send())
            .await?
            .map_err(|error| service_error("DeleteMessageBatch", self.resource(), &error))?;
        let done = output.successful.iter().map(|entry| (&*entry.id, ()));
        Ok(results(records.len(), done, &output.failed))
    }

    async fn send_pack(&self, messages: &[Outgoing]) -> Result<Results<MessageId>, ServiceError> {
        let entries = entries(messages, |id, message| {
            SendMessageBatchRequestEntry::builder()
                .id(id)
                .message_body(&message.body)
                .delay_seconds(whole_seconds(message.delay, DELAY_MAX_SECONDS))
                .set_message_group_id(message.group.as_ref().map(|group| group.as_str().to_owned()))
                .set_message_system_attributes(message.trace.as_ref().map(trace_attribute).transpose()?)
                .build()
        })?;
        let request = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries));
        let failed = |error| service_error("SendMessageBatch", self.resource(), &error);
        let output = request.send().await.map_err(failed)?;
        let done = output.successful.iter().map(|entry| (&*entry.id, MessageId::new(&entry.message_id)));
        Ok(results(messages.len(), done, &output.failed))
    }

    async fn change_visibility_pack(&self, messages: &[VisibilityChange]) -> Result<Results<()>, ServiceError> {
        let entries = entries(messages, |id, message| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(id)
                .receipt_handle(&message.receipt_handle)
                .visibility_timeout(whole_seconds(message.invisible, VISIBILITY_MAX_SECONDS))
                .build()
        })?;
        let request = self.client.change_message_visibility_batch().queue_url(&self.url).set_entries(Some(entries));
        let failed = |error| service_error("ChangeMessageVisibilityBatch", self.resource(), &error);
        let output = request.send().await.map_err(failed)?;
        let done = output.successful.iter().map(|entry| (&*entry.id, ()));
        Ok(results(messages.len(), done, &output.failed))
    }
}

/// Sends each pack in a request, [`CONCURRENT`] at a time. The error of a request is that of each of its entries.
async fn in_packs<'a, I: 'a, T: Clone>(
    packs: impl Iterator<Item = &'a [I]>,
    request: impl AsyncFn(&[I]) -> Result<Results<T>, ServiceError>,
) -> Results<T> {
    let request = async |pack: &[I]| request(pack).await.unwrap_or_else(|error| vec![Err(error); pack.len()]);
    stream::iter(packs).map(request).buffered(CONCURRENT).collect::<Vec<_>>().await.concat()
}

/// The entries of a request; the id of each is its index.
fn entries<I, E>(pack: &[I], entry: impl Fn(String, &I) -> Result<E, BuildError>) -> Result<Vec<E>, ServiceError> {
    let entries = pack.iter().enumerate().map(|(index, item)| entry(index.to_string(), item));
    entries.collect::<Result<_, _>>().map_err(|error| ServiceError::Permanent(error.to_string()))
}

/// The message's own trace. It overrides the one in the request's HTTP header, which the SDK sets to the invocation's.
fn trace_attribute(
    trace: &TraceHeader,
) -> Result<HashMap<MessageSystemAttributeNameForSends, MessageSystemAttributeValue>, BuildError> {
    let value = MessageSystemAttributeValue::builder().data_type("String").string_value(trace.to_string()).build()?;
    Ok(HashMap::from([(MessageSystemAttributeNameForSends::AwsTraceHeader, value)]))
}

impl Queue for SqsQueue {
    async fn send(&self, messages: &[Outgoing]) -> Vec<Result<MessageId, ServiceError>> {
        let sizes: Vec<usize> = messages.iter().map(|message| message.body.len()).collect();
        let packs = pack(&sizes).into_iter().map(|range| &messages[range]);
        in_packs(packs, async |pack| self.send_pack(pack).await).await
    }

    async fn change_visibility(&self, messages: &[VisibilityChange]) -> Vec<Result<(), ServiceError>> {
        in_packs(messages.chunks(ENTRIES_MAX), async |pack| self.change_visibility_pack(pack).await).await
    }
}

impl Source for SqsQueue {
    async fn receive(&self, max: usize) -> Result<Vec<Record>, ServiceError> {
        let request = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(i32::try_from(max.clamp(1, ENTRIES_MAX)).unwrap_or(1))
            .wait_time_seconds(self.receiving.wait_seconds)
            .set_visibility_timeout(self.receiving.hold_seconds)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_system_attribute_names(MessageSystemAttributeName::AwsTraceHeader)
            .message_system_attribute_names(MessageSystemAttributeName::MessageGroupId);
        let output = within(RECEIVE_MAX, request.send())
            .await?
            .map_err(|error| service_error("ReceiveMessage", self.resource(), &error))?;
        Ok(output.messages.unwrap_or_default().into_iter().filter_map(record).collect())
    }

    async fn delete(&self, records: &[Record]) -> Result<(), ServiceError> {
        self.delete_each(records).await.into_iter().collect()
    }
}

/// Limits a request's time, since the SDK sets no limit.
async fn within<T>(limit: Duration, request: impl Future<Output = T>) -> Result<T, ServiceError> {
    tokio::time::timeout(limit, request).await.map_err(|_| ServiceError::Transient("SQS took too long".to_owned()))
}

/// A message as the event source mapping would deliver it; logs an error and returns `None` if SQS gave it no id.
fn record(message: Message) -> Option<Record> {
    let Some(message_id) = message.message_id else {
        tracing::error!("SQS delivered a message without an id; it is left on the queue");
        return None;
    };
    let attributes = message.attributes.unwrap_or_default();
    let number = |name| attributes.get(&name).and_then(|value: &String| value.parse::<u64>().ok());
    let count = number(MessageSystemAttributeName::ApproximateReceiveCount);
    let trace = attributes.get(&MessageSystemAttributeName::AwsTraceHeader);
    let group = attributes.get(&MessageSystemAttributeName::MessageGroupId);
    Some(Record {
        message_id: MessageId::new(message_id),
        receipt_handle: message.receipt_handle.unwrap_or_default(),
        body: message.body.unwrap_or_default(),
        sent_at: number(MessageSystemAttributeName::SentTimestamp).map_or_else(|| Clock::System.now(), Millis),
        receive_count: count.and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
        trace: trace.and_then(|header| TraceHeader::parse(header)),
        group: group.and_then(|group| MessageGroup::parse(group)),
    })
}

/// One result per entry, found by its id, which is its index.
fn results<'a, T>(
    entries: usize,
    done: impl Iterator<Item = (&'a str, T)>,
    failed: &[BatchResultErrorEntry],
) -> Results<T> {
    let mut done: HashMap<&str, T> = done.collect();
    (0..entries)
        .map(|index| {
            let id = index.to_string();
            match failed.iter().find(|entry| entry.id == id) {
                Some(BatchResultErrorEntry { code, message, sender_fault, .. }) => {
                    Err(entry_error(code, message.as_deref(), Some(*sender_fault)))
                }
                None => done
                    .remove(&*id)
                    .ok_or_else(|| ServiceError::Transient("SQS returned no result for the entry".to_owned())),
            }
        })
        .collect()
}

/// SQS takes whole seconds. Rounds up, so that nothing is due early.
fn whole_seconds(time: Duration, max: u64) -> i32 {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    i32::try_from(seconds.min(max)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up() {
        for (milliseconds, seconds) in [(0, 0), (1, 1), (1000, 1), (1001, 2), (899_999, 900), (2_000_000, 900)] {
            assert_eq!(whole_seconds(Duration::from_millis(milliseconds), DELAY_MAX_SECONDS), seconds);
        }
    }

    #[test]
    fn each_entry_has_its_own_result() {
        let failure = |id: &str, code: &str, ours| {
            BatchResultErrorEntry::builder().id(id).code(code).sender_fault(ours).build().unwrap()
        };
        let failed = [
            failure("1", "InternalError", false),
            failure("2", "InvalidMessageContents", true),
            failure("4", "RequestThrottled", true),
        ];
        let done = [("0", "sent as 0"), ("3", "sent as 3")];
        let results = results(6, done.into_iter(), &failed);
        let texts = results.iter().map(|result| match result {
            Ok(sent) => sent,
            Err(ServiceError::Transient(_)) => "perhaps",
            Err(ServiceError::Throttled(_)) => "throttled",
            Err(ServiceError::Permanent(_)) => "refused",
            Err(other) => panic!("{other:?}"),
        });
        assert_eq!(texts.collect::<Vec<_>>(), ["sent as 0", "perhaps", "refused", "sent as 3", "throttled", "perhaps"]);
    }
}

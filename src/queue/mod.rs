//! The queue: where messages wait, and from which they are delivered again until deleted.

use std::time::Duration;

use serde::Serialize;

use crate::ids::{MessageGroup, MessageId};
use crate::message::{Record, TriggerBody};
use crate::service::ServiceError;
use crate::trace::TraceHeader;

mod memory;
pub mod packing;
pub mod redrive_policy;
#[cfg(feature = "aws")]
mod sqs;

pub use memory::{Journal, MemoryQueue, Redelivery};
#[cfg(feature = "aws")]
pub use sqs::SqsQueue;

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Its text.
    pub body: String,
    /// How long it stays invisible.
    pub delay: Duration,
    /// The trace it belongs to.
    pub trace: Option<TraceHeader>,
    /// The tenant it belongs to, for fair queues.
    pub group: Option<MessageGroup>,
}

impl Outgoing {
    /// The message of a trigger. Without a group of its own, a workspace is one: tenants with keys of their own are told apart.
    pub fn of_trigger(trigger: &TriggerBody, group: Option<&MessageGroup>) -> Self {
        let workspace = || MessageGroup::parse(trigger.subject.workspace().unless_default()?.as_str());
        let group = group.cloned().or_else(workspace);
        Self { body: trigger.to_body(), delay: Duration::ZERO, trace: None, group }
    }
}

/// A new visibility timeout for a received message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisibilityChange {
    /// The receipt of its latest receive.
    pub receipt_handle: String,
    /// How long it stays invisible from now.
    pub invisible: Duration,
}

/// How many messages a queue has; SQS's numbers are approximate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Depth {
    /// Those that can be received now.
    pub visible: usize,
    /// Those that were sent with a delay.
    pub delayed: usize,
    /// Those that were received, and not deleted yet.
    pub in_flight: usize,
    /// Those in its dead-letter queue.
    pub dead_letters: usize,
}

/// Where the bridge sends its own messages.
pub trait Queue {
    /// Sends messages in as few requests as possible. Returns one result per message, in order: its new id.
    fn send(&self, messages: &[Outgoing]) -> impl Future<Output = Vec<Result<MessageId, ServiceError>>>;

    /// Sets when received messages become visible again. Returns one result per message, in order.
    fn change_visibility(&self, messages: &[VisibilityChange]) -> impl Future<Output = Vec<Result<(), ServiceError>>>;
}

/// Where messages are received from. In production, Lambda's event source mapping does this.
pub trait Source {
    /// Waits for messages and receives at most `max`. They stay invisible for the visibility timeout.
    fn receive(&self, max: usize) -> impl Future<Output = Result<Vec<Record>, ServiceError>>;

    /// Deletes handled messages.
    fn delete(&self, records: &[Record]) -> impl Future<Output = Result<(), ServiceError>>;
}

impl<Q: Queue> Queue for std::rc::Rc<Q> {
    async fn send(&self, messages: &[Outgoing]) -> Vec<Result<MessageId, ServiceError>> {
        (**self).send(messages).await
    }

    async fn change_visibility(&self, messages: &[VisibilityChange]) -> Vec<Result<(), ServiceError>> {
        (**self).change_visibility(messages).await
    }
}

impl<S: Source> Source for std::rc::Rc<S> {
    async fn receive(&self, max: usize) -> Result<Vec<Record>, ServiceError> {
        (**self).receive(max).await
    }

    async fn delete(&self, records: &[Record]) -> Result<(), ServiceError> {
        (**self).delete(records).await
    }
}

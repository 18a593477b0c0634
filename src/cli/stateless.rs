//! The obvious solution, for comparison: a handler without a table. It calls, and sends itself another message until an answer
//! ends the sync. The run protocol exists for everything that this gets wrong.

use std::time::Duration;

use tokio::time::Instant;

use crate::event_source_mapping::{Handler, InvocationResult};
use crate::ids::{MessageId, Subject};
use crate::message::{Message, Record};
use crate::postpress::{Answer, Failure, Provider, RetryClass, SyncCall};
use crate::queue::{Outgoing, Queue};
use crate::run::TriggerMessage;

/// A poller without state.
pub(super) struct Stateless<P, Q, K, E> {
    pub(super) provider: P,
    pub(super) queue: Q,
    pub(super) poll_every: Duration,
    /// Whether it is killed before it publishes an ending of this subject.
    pub(super) is_killed: K,
    /// Takes each ending that it publishes.
    pub(super) publish: E,
}

impl<P: Provider, Q: Queue, K: Fn(&Subject) -> bool, E: Fn(Subject)> Stateless<P, Q, K, E> {
    async fn handle_one(&self, record: &Record) -> InvocationResult {
        let Message::Trigger(trigger) = Message::parse(record, "") else {
            return InvocationResult::Completed(Vec::new());
        };
        let TriggerMessage { subject: chat, resync, .. } = trigger;
        match self.provider.sync(&SyncCall { subject: chat.clone(), resync }, Duration::from_secs(1)).await {
            Answer::InProgress(_)
            | Answer::Unusable(_)
            | Answer::Failed(Failure {
                retry_class: RetryClass::Retryable | RetryClass::Credentials | RetryClass::Connecting,
                ..
            }) => self.poll_again(record).await,
            Answer::Over(_) | Answer::Failed(_) => self.publish(chat),
        }
    }

    async fn poll_again(&self, record: &Record) -> InvocationResult {
        let again = Outgoing { body: record.body.clone(), delay: self.poll_every, trace: None, group: None };
        match self.queue.send(&[again]).await[..] {
            [Ok(_)] => InvocationResult::Completed(Vec::new()),
            _ => InvocationResult::Completed(vec![record.message_id.clone()]),
        }
    }

    fn publish(&self, chat: Subject) -> InvocationResult {
        if (self.is_killed)(&chat) {
            return InvocationResult::Killed;
        }
        (self.publish)(chat);
        InvocationResult::Completed(Vec::new())
    }
}

impl<P: Provider, Q: Queue, K: Fn(&Subject) -> bool, E: Fn(Subject)> Handler for Stateless<P, Q, K, E> {
    async fn handle(&self, batch: &[Record], _ends: Instant) -> InvocationResult {
        let mut returned: Vec<MessageId> = Vec::new();
        for record in batch {
            match self.handle_one(record).await {
                InvocationResult::Completed(ids) => returned.extend(ids),
                InvocationResult::Killed => return InvocationResult::Killed,
            }
        }
        InvocationResult::Completed(returned)
    }
}

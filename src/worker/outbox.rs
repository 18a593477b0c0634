//! The polls of a batch, and the triggers that wait: they are kept until its last provider call, then share their sends.

use std::cell::{Cell, RefCell};

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::message::OwnMessage;
use crate::run::Delay;
use crate::service::ServiceError;
use crate::time::Millis;
use crate::trace::TraceHeader;

/// The messages of a batch that are sent after its last call.
#[derive(Debug)]
pub(super) struct Outbox {
    calls: Cell<usize>,
    messages: Cell<usize>,
    queued: RefCell<Vec<Queued>>,
    changed: Notify,
}

/// A message that waits to be sent.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) message: OwnMessage,
    pub(super) delay: Delay,
    /// When it was due first, if it was deferred.
    pub(super) due_at: Option<Millis>,
    pub(super) trace: TraceHeader,
    /// When it began to wait.
    pub(super) since: Instant,
    /// Where the result of the send goes.
    pub(super) sent: oneshot::Sender<Result<(), ServiceError>>,
}

/// A provider call that may still be made. Dropped once it is answered, or will not be made.
#[derive(Debug)]
pub(super) struct PendingCall<'a>(&'a Outbox);

/// A message that is still being handled.
#[derive(Debug)]
pub(super) struct InProgress<'a>(&'a Outbox);

impl Outbox {
    /// The outbox of a batch of this many messages, each of which may call once.
    pub(super) fn new(messages: usize) -> Self {
        Self { calls: messages.into(), messages: messages.into(), queued: RefCell::default(), changed: Notify::new() }
    }

    /// The tokens of one message. To be taken once for each message of the batch.
    pub(super) fn message(&self) -> (InProgress<'_>, PendingCall<'_>) {
        (InProgress(self), PendingCall(self))
    }

    /// Sends a message together with the others. Consumes the call that it may still make, for which it would otherwise wait for
    /// ever.
    pub(super) async fn send(
        &self,
        call: Option<PendingCall<'_>>,
        message: OwnMessage,
        delay: Delay,
        due_at: Option<Millis>,
        trace: TraceHeader,
    ) -> Result<(), ServiceError> {
        let (sent, result) = oneshot::channel();
        self.queued.borrow_mut().push(Queued { message, delay, due_at, trace, since: Instant::now(), sent });
        self.changed.notify_waiters();
        drop(call);
        let no_result = |_| ServiceError::Permanent("the outbox gave no result, which is a bug".to_owned());
        result.await.map_err(no_result)?
    }

    /// The next messages to send together; `None` once every message is handled.
    pub(super) async fn next_batch(&self) -> Option<Vec<Queued>> {
        loop {
            let changed = self.changed.notified();
            if self.calls.get() == 0 && !self.queued.borrow().is_empty() {
                return Some(self.queued.take());
            }
            if self.messages.get() == 0 {
                return None;
            }
            changed.await;
        }
    }

    fn count_down(&self, counter: &Cell<usize>) {
        counter.set(counter.get().saturating_sub(1));
        self.changed.notify_waiters();
    }
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        self.0.count_down(&self.0.calls);
    }
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.count_down(&self.0.messages);
    }
}

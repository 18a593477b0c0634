//! Kills a handler at the worst moment that the protocol can recover from: the ending is recorded, its event not published.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::chats::{KILLED, chat_id};
use crate::bus::EventBus;
use crate::cli::chat_state::Results;
use crate::event::Event;
use crate::event_source_mapping::{Handler, InvocationResult};
use crate::message::Record;
use crate::service::ServiceError;
use crate::trace::TraceHeader;

/// Kills the handler of [`KILLED`] once, and shows it.
pub(super) struct Kill {
    pub(super) results: Rc<Results>,
    pub(super) is_done: Cell<bool>,
    pub(super) signal: Notify,
}

/// A bus whose first publish of [`KILLED`]'s ending kills the handler.
pub(super) struct KillingBus<B> {
    pub(super) bus: B,
    pub(super) kill: Rc<Kill>,
}

impl<B: EventBus> EventBus for KillingBus<B> {
    async fn publish(&self, events: &[Event], trace: Option<&TraceHeader>) -> Vec<Result<(), ServiceError>> {
        let is_affected = events.iter().flat_map(Event::resources).any(|chat| KILLED.is_named_in(&chat));
        if is_affected && !self.kill.is_done.replace(true) {
            self.kill.results.display.update(&chat_id(&KILLED), "SYNC_DONE, then its handler is killed");
            self.kill.signal.notify_one();
            pending::<()>().await;
        }
        self.bus.publish(events, trace).await
    }
}

/// A handler that can be killed while it handles [`KILLED`].
pub(super) struct KillableHandler<H> {
    pub(super) handler: H,
    pub(super) kill: Rc<Kill>,
}

impl<H: Handler> Handler for KillableHandler<H> {
    async fn handle(&self, batch: &[Record], ends: Instant) -> InvocationResult {
        if !batch.iter().any(|record| KILLED.is_named_in(&record.body)) {
            return self.handler.handle(batch, ends).await;
        }
        tokio::select! {
            biased;
            () = self.kill.signal.notified() => InvocationResult::Killed,
            handled = self.handler.handle(batch, ends) => handled,
        }
    }
}

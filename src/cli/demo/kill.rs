//! Kills a handler at the worst moment that the protocol can recover from: the ending is recorded, its event not published.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::chats::KILLED;
use crate::bus::EventBus;
use crate::event::Event;
use crate::event_source_mapping::{Handler, InvocationResult};
use crate::message::Record;
use crate::service::ServiceError;
use crate::trace::TraceHeader;

/// Kills the handler of [`KILLED`] once.
pub(super) struct Kill {
    on_kill: Box<dyn Fn()>,
    is_done: Cell<bool>,
    signal: Notify,
}

impl Kill {
    /// Calls `on_kill` when it kills.
    pub(super) fn new(on_kill: impl Fn() + 'static) -> Self {
        Self { on_kill: Box::new(on_kill), is_done: Cell::new(false), signal: Notify::new() }
    }

    /// Whether it has killed the handler.
    pub(super) fn is_done(&self) -> bool {
        self.is_done.get()
    }
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
            (self.kill.on_kill)();
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

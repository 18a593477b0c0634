//! A handler that is killed at the worst moment that the protocol can mend: the ending is recorded, its event not out.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::cast::KILLED;
use crate::bus::EventBus;
use crate::event::Event;
use crate::event_source_mapping::{Handler, InvocationResult};
use crate::message::Record;
use crate::service::ServiceError;
use crate::trace::TraceHeader;

/// A death that strikes once, the handler of [`KILLED`].
pub(super) struct Death {
    tell: Box<dyn Fn()>,
    came: Cell<bool>,
    strikes: Notify,
}

impl Death {
    /// A death that calls `tell` when it strikes.
    pub(super) fn new(tell: impl Fn() + 'static) -> Self {
        Self { tell: Box::new(tell), came: Cell::new(false), strikes: Notify::new() }
    }

    /// It has struck.
    pub(super) fn came(&self) -> bool {
        self.came.get()
    }
}

/// A bus at whose door death waits.
pub(super) struct FatalBus<B> {
    pub(super) bus: B,
    pub(super) death: Rc<Death>,
}

impl<B: EventBus> EventBus for FatalBus<B> {
    async fn publish(&self, events: &[Event], trace: Option<&TraceHeader>) -> Vec<Result<(), ServiceError>> {
        let concerned = events.iter().flat_map(Event::resources).any(|chat| KILLED.is_named_in(&chat));
        if concerned && !self.death.came.replace(true) {
            (self.death.tell)();
            self.death.strikes.notify_one();
            pending::<()>().await;
        }
        self.bus.publish(events, trace).await
    }
}

/// A handler that dies while it deals with [`KILLED`].
pub(super) struct Mortal<H> {
    pub(super) handler: H,
    pub(super) death: Rc<Death>,
}

impl<H: Handler> Handler for Mortal<H> {
    async fn handle(&self, batch: &[Record], ends: Instant) -> InvocationResult {
        if !batch.iter().any(|record| KILLED.is_named_in(&record.body)) {
            return self.handler.handle(batch, ends).await;
        }
        tokio::select! {
            biased;
            () = self.death.strikes.notified() => InvocationResult::Killed,
            handled = self.handler.handle(batch, ends) => handled,
        }
    }
}

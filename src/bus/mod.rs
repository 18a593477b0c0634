//! The event bus: where the endings of runs are published.

use crate::event::Event;
use crate::service::ServiceError;
use crate::trace::TraceHeader;

#[cfg(feature = "aws")]
mod eventbridge;
mod memory;

#[cfg(feature = "aws")]
pub use eventbridge::EventBridgeBus;
pub use memory::MemoryBus;

/// Where events are published.
pub trait EventBus {
    /// Publishes events of one trace in as few requests as possible. Returns one result per event, in order.
    fn publish(
        &self,
        events: &[Event],
        trace: Option<&TraceHeader>,
    ) -> impl Future<Output = Vec<Result<(), ServiceError>>>;
}

impl<B: EventBus> EventBus for std::rc::Rc<B> {
    async fn publish(&self, events: &[Event], trace: Option<&TraceHeader>) -> Vec<Result<(), ServiceError>> {
        (**self).publish(events, trace).await
    }
}

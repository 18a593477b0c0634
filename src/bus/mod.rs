//! The event bus: where endings go.

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
    /// Publishes events of one trace, sharing as few requests as they fit in. Each has a result of its own, in their order.
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

//! An event bus in memory.

use std::cell::RefCell;

use super::EventBus;
use crate::event::Event;
use crate::service::ServiceError;
use crate::trace::TraceHeader;

/// A subscriber of a [`MemoryBus`], called with each event. An event that it fails to take is not published.
pub(super) type Subscriber = Box<dyn Fn(&Event) -> Result<(), ServiceError>>;

/// Decides for each entry of a request whether it fails: PutEvents answers 200 even if entries fail.
pub(super) type EntryFault = Box<dyn Fn(&Event) -> Option<ServiceError>>;

/// A bus that keeps the published events and can pass them to one subscriber.
#[derive(Default)]
pub struct MemoryBus {
    events: RefCell<Vec<Event>>,
    subscriber: Option<Subscriber>,
    fault: Option<EntryFault>,
}

impl MemoryBus {
    /// A bus that passes each event on.
    pub fn with_subscriber(subscriber: Subscriber) -> Self {
        Self { subscriber: Some(subscriber), ..Self::default() }
    }

    /// The same bus, but entries fail where `fault` says so.
    #[must_use]
    pub fn with_faults(self, fault: EntryFault) -> Self {
        Self { fault: Some(fault), ..self }
    }

    /// The published events in order, repeats included.
    pub fn events(&self) -> Vec<Event> {
        self.events.borrow().clone()
    }
}

impl EventBus for MemoryBus {
    async fn publish(&self, events: &[Event], _trace: Option<&TraceHeader>) -> Vec<Result<(), ServiceError>> {
        let publish = |event: &Event| {
            if let Some(error) = self.fault.as_ref().and_then(|fault| fault(event)) {
                return Err(error);
            }
            if let Some(subscriber) = &self.subscriber {
                subscriber(event)?;
            }
            self.events.borrow_mut().push(event.clone());
            Ok(())
        };
        events.iter().map(publish).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{MessageId, Subject, TriggerKey};
    use crate::postpress::Resync;
    use crate::run::{Publication, Trigger, TriggerMessage};
    use crate::time::Millis;

    fn event(chat: &str) -> Event {
        Publication::TooManyTriggers(Box::new(TriggerMessage {
            subject: Subject::chat(chat).unwrap(),
            resync: Resync::default(),
            key: TriggerKey::of(chat),
            fresh_for: None,
            after_request: false,
            waits: 0,
            group: None,
            trigger: Trigger {
                message_id: MessageId::new(chat),
                correlation_id: None,
                idempotency_key: None,
                metadata: None,
                requested_at: Millis(0),
                joined: false,
            },
        }))
        .into()
    }

    #[tokio::test]
    async fn entries_fail_independently() {
        let fault = |event: &Event| {
            (event.resources() == ["b"]).then(|| ServiceError::Transient("ThrottlingException".to_owned()))
        };
        let bus = MemoryBus::default().with_faults(Box::new(fault));
        let results = bus.publish(&[event("a"), event("b"), event("c")], None).await;
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(bus.events(), [event("a"), event("c")]);
    }
}

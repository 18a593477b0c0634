//! An event bus in memory.

use std::cell::RefCell;

use super::EventBus;
use crate::event::Event;
use crate::service::ServiceError;

/// A subscriber of a [`MemoryBus`], called with each event as it is published.
pub(super) type Subscriber = Box<dyn Fn(&Event)>;

/// A bus that keeps what was published, and may hand it to one subscriber.
#[derive(Default)]
pub struct MemoryBus {
    events: RefCell<Vec<Event>>,
    subscriber: Option<Subscriber>,
}

impl MemoryBus {
    /// A bus that hands each event on.
    pub fn with_subscriber(subscriber: Subscriber) -> Self {
        Self { events: RefCell::default(), subscriber: Some(subscriber) }
    }

    /// What was published, in its order, repeats included.
    pub fn events(&self) -> Vec<Event> {
        self.events.borrow().clone()
    }
}

impl EventBus for MemoryBus {
    async fn publish(&self, events: &[Event]) -> Vec<Result<(), ServiceError>> {
        for event in events {
            self.events.borrow_mut().push(event.clone());
            if let Some(subscriber) = &self.subscriber {
                subscriber(event);
            }
        }
        vec![Ok(()); events.len()]
    }
}

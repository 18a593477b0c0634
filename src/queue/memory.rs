//! An in-memory SQS standard queue that behaves like the real one where the bridge depends on it: delays, the visibility
//! timeout, redelivery under the same message id with a growing receive count, the dead-letter queue, and fair delivery among
//! message groups.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::{Depth, Outgoing, Queue, Source, VisibilityChange};
use crate::ids::{MessageGroup, MessageId};
use crate::message::Record;
use crate::service::ServiceError;
use crate::time::{Clock, Millis};
use crate::trace::TraceHeader;

/// Decides whether a deleted message is delivered once more, and how much later: "on rare occasions […] you
/// might get that message copy again" (SQS, at-least-once delivery).
pub type Redelivery = Box<dyn Fn(&Record) -> Option<Duration>>;

/// Follows the messages of a queue, so that a later process can go on with them.
pub trait Journal {
    /// A message is on the queue and becomes visible then. It is new, or it was received or shown again.
    ///
    /// # Errors
    /// If a later process will not know of it. A new message is then not sent.
    fn save(&self, message: &Record, visible_at: Millis) -> Result<(), ServiceError>;

    /// A message became a dead letter.
    fn bury(&self, message: &Record);

    /// A message, or a dead letter, is gone.
    fn forget(&self, message_id: &MessageId);
}

/// A tenant with more messages in flight than these, and than this share of all, is noisy: messages of quiet tenants are
/// received before its own ([AWS][fair], November 2026). AWS also counts processing time, which this queue does not.
///
/// [fair]: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues-detailed.html
const NOISY_IN_FLIGHT: usize = 30;
const NOISY_SHARE: f64 = 0.1;

/// A queue that lives as long as the process.
pub struct MemoryQueue {
    name: String,
    clock: Clock,
    visibility_timeout: Duration,
    max_receive_count: u32,
    redelivery: Option<Redelivery>,
    journal: Option<Box<dyn Journal>>,
    messages: RefCell<Messages>,
    dead_letters: RefCell<Vec<Record>>,
    requests: Cell<u64>,
    ids: Cell<u64>,
    changed: Notify,
}

/// The messages of a queue. What one operation costs hardly depends on how many there are.
#[derive(Default)]
struct Messages {
    /// How many were sent.
    sent: u64,
    /// By number, in the order in which they were sent.
    all: BTreeMap<u64, Stored>,
    /// Their numbers, by when they are visible.
    by_time: BTreeSet<(Instant, u64)>,
    /// The same for each group, and for the messages without one.
    by_group: BTreeMap<Option<MessageGroup>, BTreeSet<(Instant, u64)>>,
    /// The messages that were received, by when they are visible again; those of a group are in flight until then.
    received: BTreeMap<MessageGroup, BTreeSet<(Instant, u64)>>,
    all_received: BTreeSet<(Instant, u64)>,
    /// The number of the message that a receipt holds.
    held: HashMap<String, u64>,
}

struct Stored {
    message_id: MessageId,
    body: String,
    sent_at: Millis,
    visible_at: Instant,
    receive_count: u32,
    receipt_handle: Option<String>,
    trace: Option<TraceHeader>,
    group: Option<MessageGroup>,
}

impl MemoryQueue {
    /// A queue with this visibility timeout; a message becomes a dead letter after `max_receive_count` receives.
    ///
    /// Message ids begin with `name`. If runs outlive the process, each process needs a name of its own: the protocol
    /// treats two messages with one id as the same message.
    pub fn new(name: &str, clock: Clock, visibility_timeout: Duration, max_receive_count: u32) -> Self {
        Self {
            name: name.to_owned(),
            clock,
            visibility_timeout,
            max_receive_count,
            redelivery: None,
            journal: None,
            messages: RefCell::default(),
            dead_letters: RefCell::default(),
            requests: Cell::default(),
            ids: Cell::default(),
            changed: Notify::new(),
        }
    }

    /// The same queue, but deleted messages are delivered once more where `redelivery` says so.
    #[must_use]
    pub fn with_redelivery(self, redelivery: Redelivery) -> Self {
        Self { redelivery: Some(redelivery), ..self }
    }

    /// The same queue, with a journal of each change.
    #[must_use]
    pub fn with_journal(self, journal: Box<dyn Journal>) -> Self {
        Self { journal: Some(journal), ..self }
    }

    /// Puts a message on the queue that an earlier process saved.
    pub fn restore(&self, record: &Record, visible_at: Millis) {
        let message = Stored {
            message_id: record.message_id.clone(),
            body: record.body.clone(),
            sent_at: record.sent_at,
            visible_at: Instant::now() + visible_at.since(self.clock.now()),
            receive_count: record.receive_count,
            receipt_handle: None,
            trace: record.trace.clone(),
            group: record.group.clone(),
        };
        self.messages.borrow_mut().add(message);
        self.changed.notify_waiters();
    }

    /// Adds a dead letter that an earlier process saved.
    pub fn restore_dead_letter(&self, record: Record) {
        self.dead_letters.borrow_mut().push(record);
    }

    /// Puts a message on the queue and returns its new id.
    pub fn put(&self, body: &str, delay: Duration) -> MessageId {
        self.put_outgoing(&Outgoing { body: body.to_owned(), delay, trace: None, group: None })
    }

    /// Like [`MemoryQueue::put`], for a message that may belong to a trace and a group.
    pub fn put_outgoing(&self, message: &Outgoing) -> MessageId {
        let stored = Stored::new(self.new_message_id(), self.clock.now(), message.clone());
        self.save_or_log(&stored);
        self.add(stored)
    }

    /// Like [`MemoryQueue::put_outgoing`], but a message that a later process would not know of is not sent.
    fn send_one(&self, message: &Outgoing) -> Result<MessageId, ServiceError> {
        let stored = Stored::new(self.new_message_id(), self.clock.now(), message.clone());
        self.save(&stored)?;
        Ok(self.add(stored))
    }

    /// Puts a message with the given id and time on the queue.
    pub fn put_as(&self, message_id: MessageId, body: &str, sent_at: Millis, delay: Duration) {
        let message = Outgoing { body: body.to_owned(), delay, trace: None, group: None };
        let stored = Stored::new(message_id, sent_at, message);
        self.save_or_log(&stored);
        self.add(stored);
    }

    fn add(&self, message: Stored) -> MessageId {
        let message_id = message.message_id.clone();
        self.messages.borrow_mut().add(message);
        self.changed.notify_waiters();
        message_id
    }

    fn save(&self, message: &Stored) -> Result<(), ServiceError> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let invisible = message.visible_at.saturating_duration_since(Instant::now());
        journal.save(&message.to_record(), self.clock.now() + invisible)
    }

    /// For a change that has happened: a later process has the message as it was, and receives it once more at most.
    fn save_or_log(&self, message: &Stored) {
        if let Err(error) = self.save(message) {
            tracing::error!(message_id = %message.message_id, %error, "a later process will not know of a change of the queue");
        }
    }

    fn forget(&self, message_id: &MessageId) {
        if let Some(journal) = &self.journal {
            journal.forget(message_id);
        }
    }

    /// Whether the queue has no messages, visible or not.
    pub fn is_empty(&self) -> bool {
        self.messages.borrow().all.is_empty()
    }

    /// Waits until the queue is empty. A received message counts until it is deleted.
    pub async fn drained(&self) {
        loop {
            let changed = self.changed.notified();
            if self.is_empty() {
                return;
            }
            changed.await;
        }
    }

    /// The ids of all messages in the queue, visible or not.
    pub fn waiting(&self) -> Vec<MessageId> {
        self.messages.borrow().all.values().map(|message| message.message_id.clone()).collect()
    }

    /// All messages in the queue, visible or not.
    pub fn messages(&self) -> Vec<Record> {
        self.messages.borrow().all.values().map(Stored::to_record).collect()
    }

    /// Messages that were received too often.
    pub fn dead_letters(&self) -> Vec<Record> {
        self.dead_letters.borrow().clone()
    }

    /// Deletes a dead letter.
    pub fn delete_dead_letter(&self, message_id: &MessageId) {
        self.dead_letters.borrow_mut().retain(|letter| letter.message_id != *message_id);
        self.forget(message_id);
    }

    /// How many messages there are now.
    pub fn depth(&self) -> Depth {
        let (now, messages) = (Instant::now(), self.messages.borrow());
        let mut depth = Depth { dead_letters: self.dead_letters.borrow().len(), ..Depth::default() };
        for message in messages.all.values() {
            match message {
                Stored { visible_at, .. } if *visible_at <= now => depth.visible += 1,
                Stored { receive_count: 0, .. } => depth.delayed += 1,
                Stored { .. } => depth.in_flight += 1,
            }
        }
        depth
    }

    /// The number of SendMessageBatch requests so far.
    pub fn send_requests(&self) -> u64 {
        self.requests.get()
    }

    /// Receives at most `max` of the messages that are visible now: those of quiet tenants first, and among them those that
    /// have been visible longest.
    pub fn receive_now(&self, max: usize) -> Vec<Record> {
        let now = Instant::now();
        let mut messages = self.messages.borrow_mut();
        let received = loop {
            let visible = messages.visible(now, max);
            let is_dead = |number: &u64| messages.all[number].receive_count >= self.max_receive_count;
            let dead: Vec<_> = visible.iter().copied().filter(is_dead).collect();
            if dead.is_empty() {
                break visible;
            }
            let dead = dead.into_iter().filter_map(|number| messages.remove(number));
            let dead: Vec<_> = dead.map(|message| message.to_record()).collect();
            self.journal.iter().for_each(|journal| dead.iter().for_each(|message| journal.bury(message)));
            self.dead_letters.borrow_mut().extend(dead);
            self.changed.notify_waiters();
        };
        let receive = |number| {
            let record =
                messages.receive(number, format!("receipt-{}", self.next_id()), now + self.visibility_timeout)?;
            self.save_or_log(&messages.all[&number]);
            Some(record)
        };
        received.into_iter().filter_map(receive).collect()
    }

    /// Makes a received message visible again after `timeout`, if this receipt is still its latest.
    pub fn set_visibility_timeout(&self, receipt_handle: &str, timeout: Duration) {
        let mut messages = self.messages.borrow_mut();
        if let Some(number) = messages.held.get(receipt_handle).copied()
            && let Some(message) = messages.show(number, Instant::now() + timeout)
        {
            self.save_or_log(message);
        }
        self.changed.notify_waiters();
    }

    fn delete_one(&self, record: &Record) {
        let again = self.redelivery.as_ref().and_then(|redelivery| redelivery(record));
        let mut messages = self.messages.borrow_mut();
        let Some(number) = messages.held.get(&record.receipt_handle).copied() else {
            return; // it was received again after its visibility timeout: as with SQS, it is not deleted
        };
        match again {
            Some(delay) => {
                if let Some(message) = messages.show(number, Instant::now() + delay) {
                    self.save_or_log(message);
                }
            }
            None => {
                messages.remove(number);
                self.forget(&record.message_id);
            }
        }
    }

    fn new_message_id(&self) -> MessageId {
        MessageId::new(format!("{}-{}", self.name, self.next_id()))
    }

    fn next_id(&self) -> u64 {
        self.ids.set(self.ids.get() + 1);
        self.ids.get()
    }

    /// Whether a message is visible now.
    pub fn has_visible(&self) -> bool {
        self.next_visible().is_some_and(|visible_at| visible_at <= Instant::now())
    }

    /// Waits until a message is visible.
    pub async fn visible(&self) {
        loop {
            let changed = self.changed.notified();
            match self.next_visible() {
                Some(visible_at) if visible_at <= Instant::now() => return,
                Some(visible_at) => {
                    tokio::select! {
                        () = changed => {}
                        () = sleep_until(visible_at) => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    fn next_visible(&self) -> Option<Instant> {
        self.messages.borrow().by_time.first().map(|(visible_at, _)| *visible_at)
    }
}

impl Messages {
    fn add(&mut self, message: Stored) {
        self.sent += 1;
        let place = (message.visible_at, self.sent);
        self.by_time.insert(place);
        self.by_group.entry(message.group.clone()).or_default().insert(place);
        self.all.insert(self.sent, message);
    }

    /// At most `max` of the messages that are visible: those of quiet tenants first, then those of the noisy tenant with the
    /// fewest in flight; of a tenant's, those first that have been visible longest.
    fn visible(&self, now: Instant, max: usize) -> Vec<u64> {
        let in_flight =
            |received: &BTreeSet<_>| received.range((Bound::Excluded((now, u64::MAX)), Bound::Unbounded)).count();
        let all = in_flight(&self.all_received) as f64;
        let noise = |group: Option<&MessageGroup>| {
            let own = group.and_then(|group| self.received.get(group)).map_or(0, in_flight);
            if own >= NOISY_IN_FLIGHT && own as f64 > NOISY_SHARE * all { own } else { 0 }
        };
        let mut visible = Vec::new();
        for (group, places) in &self.by_group {
            let noise = noise(group.as_ref());
            visible.extend(places.range(..=(now, u64::MAX)).take(max).map(|place| (noise, *place)));
        }
        visible.sort_unstable();
        visible.into_iter().take(max).map(|(_, (_, number))| number).collect()
    }

    /// Changes when a message is visible, and returns it. It is no longer in flight.
    fn show(&mut self, number: u64, visible_at: Instant) -> Option<&mut Stored> {
        let message = self.all.get_mut(&number)?;
        let (before, after) = ((message.visible_at, number), (visible_at, number));
        self.by_time.remove(&before);
        self.by_time.insert(after);
        if let Some(places) = self.by_group.get_mut(&message.group) {
            places.remove(&before);
            places.insert(after);
        }
        self.all_received.remove(&before);
        if let Some(received) = message.group.as_ref().and_then(|group| self.received.get_mut(group)) {
            received.remove(&before);
        }
        message.visible_at = visible_at;
        Some(message)
    }

    /// Hands a message out under a new receipt, until it is visible again.
    fn receive(&mut self, number: u64, receipt_handle: String, visible_at: Instant) -> Option<Record> {
        let message = self.show(number, visible_at)?;
        message.receive_count += 1;
        let before = message.receipt_handle.replace(receipt_handle.clone());
        let (record, group) = (message.to_record(), message.group.clone());
        self.all_received.insert((visible_at, number));
        group.map(|group| self.received.entry(group).or_default().insert((visible_at, number)));
        before.map(|before| self.held.remove(&before));
        self.held.insert(receipt_handle, number);
        Some(record)
    }

    fn remove(&mut self, number: u64) -> Option<Stored> {
        let visible_at = self.all.get(&number)?.visible_at;
        self.show(number, visible_at); // no longer in flight
        let message = self.all.remove(&number)?;
        self.by_time.remove(&(visible_at, number));
        if let Some(places) = self.by_group.get_mut(&message.group) {
            places.remove(&(visible_at, number));
        }
        message.receipt_handle.as_ref().map(|receipt| self.held.remove(receipt));
        Some(message)
    }
}

impl Stored {
    fn new(message_id: MessageId, sent_at: Millis, message: Outgoing) -> Self {
        let Outgoing { body, delay, trace, group } = message;
        let visible_at = Instant::now() + delay;
        Self { message_id, body, sent_at, visible_at, receive_count: 0, receipt_handle: None, trace, group }
    }

    fn to_record(&self) -> Record {
        Record {
            message_id: self.message_id.clone(),
            receipt_handle: self.receipt_handle.clone().unwrap_or_default(),
            body: self.body.clone(),
            sent_at: self.sent_at,
            receive_count: self.receive_count,
            trace: self.trace.clone(),
            group: self.group.clone(),
        }
    }
}

impl Queue for MemoryQueue {
    async fn send(&self, messages: &[Outgoing]) -> Vec<Result<MessageId, ServiceError>> {
        self.requests.set(self.requests.get() + 1);
        messages.iter().map(|message| self.send_one(message)).collect()
    }

    async fn change_visibility(&self, messages: &[VisibilityChange]) -> Vec<Result<(), ServiceError>> {
        for message in messages {
            self.set_visibility_timeout(&message.receipt_handle, message.invisible);
        }
        vec![Ok(()); messages.len()]
    }
}

impl Source for MemoryQueue {
    async fn receive(&self, max: usize) -> Result<Vec<Record>, ServiceError> {
        loop {
            self.visible().await;
            let received = self.receive_now(max);
            if !received.is_empty() {
                return Ok(received);
            }
        }
    }

    async fn delete(&self, records: &[Record]) -> Result<(), ServiceError> {
        for record in records {
            self.delete_one(record);
        }
        self.changed.notify_waiters();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn queue() -> MemoryQueue {
        MemoryQueue::new("test", Clock::starting_at(Millis(1_000)), 30 * SECOND, 2)
    }

    #[tokio::test(start_paused = true)]
    async fn messages_are_redelivered_until_deleted() {
        let queue = queue();
        let id = queue.put("hello", Duration::ZERO);
        let first = queue.receive(10).await.unwrap().remove(0);
        assert_eq!((first.message_id.clone(), first.receive_count), (id, 1));
        assert!(queue.receive_now(10).is_empty(), "it is invisible");
        let second = queue.receive(10).await.unwrap().remove(0);
        assert_eq!((second.message_id, second.receive_count), (first.message_id.clone(), 2));
        queue.delete(&[first]).await.unwrap();
        assert!(!queue.is_empty(), "an old receipt deletes nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_postpones_a_message() {
        let queue = queue();
        let began = Instant::now();
        queue.send(&[Outgoing { body: "later".into(), delay: 9 * SECOND, trace: None, group: None }]).await;
        assert!(queue.receive_now(10).is_empty());
        let received = queue.receive(10).await.unwrap();
        assert_eq!((received[0].body.as_str(), began.elapsed().as_secs()), ("later", 9));
        queue.delete(&received).await.unwrap();
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_received_too_often_becomes_a_dead_letter() {
        let queue = queue();
        queue.put("poison", Duration::ZERO);
        queue.receive(1).await.unwrap();
        queue.receive(1).await.unwrap();
        tokio::time::advance(31 * SECOND).await;
        assert!(queue.receive_now(1).is_empty());
        assert_eq!(queue.dead_letters()[0].body, "poison");
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_visibility_change_decides_the_next_delivery() {
        let queue = queue();
        queue.put("hello", Duration::ZERO);
        let received = queue.receive(1).await.unwrap();
        let began = Instant::now();
        queue.set_visibility_timeout(&received[0].receipt_handle, 5 * SECOND);
        queue.receive(1).await.unwrap();
        assert_eq!(began.elapsed(), 5 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn messages_of_quiet_tenants_are_received_before_those_of_noisy_ones() {
        let queue = queue();
        let put = |group: &str, body: &str| {
            let group = MessageGroup::parse(group);
            queue.put_outgoing(&Outgoing { body: body.to_owned(), delay: Duration::ZERO, trace: None, group });
        };
        let bodies = |max| queue.receive_now(max).into_iter().map(|record| record.body).collect::<Vec<_>>();
        (0..100).for_each(|_| put("big", "big"));
        assert_eq!(bodies(29).len(), 29);
        put("small", "small");
        assert_eq!(bodies(1), ["big"], "fewer than thirty in flight");
        (0..50).for_each(|_| put("other", "other"));
        queue.put("none", Duration::ZERO);
        assert_eq!(bodies(2), ["small", "other"]);
        bodies(49);
        assert_eq!(bodies(2), ["none", "big"]);
        (0..2).for_each(|_| put("other", "other"));
        assert_eq!(bodies(1), ["big"], "of two noisy tenants the one with fewer messages in flight");
        tokio::time::advance(31 * SECOND).await;
        assert_eq!(bodies(1), ["big"], "none is in flight any more, so the oldest comes first");
    }

    #[tokio::test(start_paused = true)]
    async fn a_deleted_message_may_be_delivered_once_more() {
        let once = |record: &Record| (record.receive_count == 1).then_some(SECOND);
        let queue = queue().with_redelivery(Box::new(once));
        queue.put("hello", Duration::ZERO);
        for receive_count in [1, 2] {
            let received = queue.receive(1).await.unwrap();
            assert_eq!(received[0].receive_count, receive_count);
            queue.delete(&received).await.unwrap();
        }
        assert!(queue.is_empty());
    }
}

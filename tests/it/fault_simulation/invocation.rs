//! One invocation of the Lambda as a process of its own, which reaches the outside through ports where it may die.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use postpress_bridge::bus::EventBus;
use postpress_bridge::event::Event;
use postpress_bridge::ids::{MessageId, Subject};
use postpress_bridge::postpress::{Answer, Body, Mask, Provider, SyncCall};
use postpress_bridge::queue::{Outgoing, Queue, VisibilityChange};
use postpress_bridge::run::{DueRun, Item, Write, WriteResult};
use postpress_bridge::service::ServiceError;
use postpress_bridge::store::RunStore;
use postpress_bridge::time::Millis;
use postpress_bridge::trace::TraceHeader;
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::history::{Effect, Fault, Operation, Point, Request, What};
use super::world::{Death, World};

pub(super) struct Invocation {
    number: u32,
    world: Rc<World>,
    calls: Rc<Cell<u64>>,
    dies: Option<Death>,
    points: Cell<u32>,
    is_dead: Cell<bool>,
    died: Notify,
}

impl Invocation {
    /// `calls` counts the provider's calls of all invocations.
    pub(super) fn new(number: u32, world: Rc<World>, calls: Rc<Cell<u64>>) -> Self {
        let dies = world.chance.death();
        Self { number, world, calls, dies, points: Cell::new(0), is_dead: Cell::new(false), died: Notify::new() }
    }

    pub(super) fn note(&self, what: What) -> usize {
        self.world.chance.log.note(self.number, what)
    }

    /// Returns when it has died.
    pub(super) async fn death(&self) {
        if let Some(Death::After(time)) = self.dies {
            sleep(time).await;
            self.die(Point::Anytime);
        }
        self.died.notified().await;
    }

    fn die(&self, at: Point) {
        if !self.is_dead.replace(true) {
            self.note(What::Died { at });
            self.died.notify_one();
        }
    }

    /// Where it may die. If it does, this and everything else never returns: a dead process does nothing.
    pub(super) async fn point(&self, at: Point) {
        let point = self.points.replace(self.points.get() + 1);
        if matches!(self.dies, Some(Death::AtPoint(last)) if last == point) {
            self.die(at);
        }
        self.alive().await;
    }

    async fn alive(&self) {
        if self.is_dead.get() {
            pending::<()>().await;
        }
    }

    /// Requests from a service what `effect` does to the world, with the request's fault.
    async fn ask<T: 'static>(
        &self,
        request: Request,
        effect: impl FnOnce(&World, &[usize]) -> (T, Effect) + 'static,
    ) -> Result<T, ServiceError> {
        let operation = request.operation();
        self.point(Point::Before(operation)).await;
        let fault = self.world.chance.fault(&request);
        let number = self.world.chance.log.next_number();
        self.note(What::Asked { number, request, fault: fault.clone() });
        sleep(Duration::from_millis(self.world.chance.below(40).into())).await;
        self.alive().await;
        let (world, invocation) = (Rc::clone(&self.world), self.number);
        let carry_out = move |failed: &[usize]| {
            let (result, effect) = effect(&world, failed);
            world.chance.log.note(invocation, What::Done { number, effect });
            result
        };
        let error = |fault: &Fault| Err(ServiceError::Transient(fault.name().to_owned()));
        let result = match &fault {
            None => Ok(carry_out(&[])),
            Some(Fault::Entries(failed)) => Ok(carry_out(failed)),
            Some(Fault::Refused) => Err(ServiceError::Permanent("refused".to_owned())),
            Some(fault @ (Fault::Throttled | Fault::Out)) => error(fault),
            Some(Fault::Hangs) => pending().await,
            Some(fault @ Fault::ReplyLost) => {
                carry_out(&[]);
                error(fault)
            }
            Some(Fault::Silent) => {
                carry_out(&[]);
                pending().await
            }
            Some(Fault::Slow(time)) => {
                sleep(*time).await;
                self.alive().await;
                Ok(carry_out(&[]))
            }
            Some(Fault::Late(after)) => {
                let after = *after;
                spawn_local(async move {
                    sleep(after).await;
                    carry_out(&[]);
                });
                pending().await
            }
        };
        self.point(Point::After(operation)).await;
        self.note(What::Heard { number, error: result.as_ref().err().map(ToString::to_string) });
        result
    }
}

impl RunStore for Invocation {
    async fn read(&self, subject: &Subject) -> Result<Option<Item>, ServiceError> {
        let chat = subject.clone();
        let read = move |world: &World, _: &[usize]| {
            let item = world.read(&chat);
            (item.clone(), Effect::Read(item.map(Box::new)))
        };
        self.ask(Request::Read(subject.clone()), read).await
    }

    async fn write(&self, write: &Write) -> Result<WriteResult, ServiceError> {
        let own = write.clone();
        let carry_out = move |world: &World, _: &[usize]| {
            let written = world.write(&own);
            (written.clone(), Effect::Written(written))
        };
        self.ask(Request::Write(write.clone()), carry_out).await
    }

    async fn due(&self, shard: u8, before: Millis, after: Option<&DueRun>) -> Result<Vec<DueRun>, ServiceError> {
        let after = after.cloned();
        let look = move |world: &World, _: &[usize]| {
            let due = world.due(shard, before, after.as_ref());
            (due.clone(), Effect::Due(due))
        };
        self.ask(Request::Due, look).await
    }
}

/// The results of a request of several entries, some of which fail; `carry_out` gives those of the others.
fn entries<T>(count: usize, failed: &[usize], carry_out: impl Fn(usize) -> T) -> Vec<Result<T, ServiceError>> {
    let throttled = || Err(ServiceError::Transient("the entry failed".to_owned()));
    (0..count).map(|index| if failed.contains(&index) { throttled() } else { Ok(carry_out(index)) }).collect()
}

impl Queue for Invocation {
    async fn send(&self, messages: &[Outgoing]) -> Vec<Result<MessageId, ServiceError>> {
        let own = messages.to_vec();
        let send = move |world: &World, failed: &[usize]| {
            let put = |index: usize| {
                let message: &Outgoing = &own[index];
                world.queue.put_outgoing(message)
            };
            let sent = entries(own.len(), failed, put);
            let ids = sent.iter().map(|sent| sent.clone().ok()).collect();
            (sent, Effect::Sent(ids))
        };
        let sent = self.ask(Request::Send(messages.to_vec()), send).await;
        sent.unwrap_or_else(|error| vec![Err(error); messages.len()])
    }

    async fn change_visibility(&self, messages: &[VisibilityChange]) -> Vec<Result<(), ServiceError>> {
        let own = messages.to_vec();
        let change_visibility = move |world: &World, _: &[usize]| {
            own.iter().for_each(|back| world.queue.set_visibility_timeout(&back.receipt_handle, back.invisible));
            (vec![Ok(()); own.len()], Effect::HandedBack)
        };
        let handed_back = self.ask(Request::VisibilityChange(messages.len()), change_visibility).await;
        handed_back.unwrap_or_else(|error| vec![Err(error); messages.len()])
    }
}

impl EventBus for Invocation {
    async fn publish(&self, events: &[Event], _trace: Option<&TraceHeader>) -> Vec<Result<(), ServiceError>> {
        let own = events.to_vec();
        let publish = move |world: &World, failed: &[usize]| {
            let published: Vec<bool> = (0..own.len()).map(|index| !failed.contains(&index)).collect();
            own.iter().zip(&published).filter(|(_, is_out)| **is_out).for_each(|(event, _)| world.publish(event));
            (entries(own.len(), failed, |_| ()), Effect::Published(published))
        };
        let published = self.ask(Request::Publish(events.to_vec()), publish).await;
        published.unwrap_or_else(|error| vec![Err(error); events.len()])
    }
}

impl Provider for Invocation {
    async fn sync(&self, call_for: &SyncCall, deadline: Duration) -> Answer {
        self.point(Point::Before(Operation::Call)).await;
        if self.world.chance.provider_is_out() {
            self.note(What::ProviderOut);
            sleep(Duration::from_millis(50)).await;
            return Answer::from_response(&call_for.subject, 503, None, &Body::whole(""), Mask::NONE);
        }
        // The simulator numbers its calls in the order of sending, which is the order of arrival here.
        let call = self.calls.get() + 1;
        self.calls.set(call);
        let run = self.world.item(&call_for.subject).map(|item| (item.run_id, item.claim_id, item.state.phase()));
        self.note(What::Called { call, chat: call_for.subject.clone(), run });
        let awaited = Awaited { invocation: self, call, is_answered: Cell::new(false) };
        let answer = self.world.provider.sync(call_for, deadline).await;
        awaited.is_answered.set(true);
        self.note(What::Answered { call, answer: answer.clone() });
        self.point(Point::After(Operation::Call)).await;
        answer
    }
}

/// A call in progress, which hangs up on drop.
struct Awaited<'a> {
    invocation: &'a Invocation,
    call: u64,
    is_answered: Cell<bool>,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if !self.is_answered.get() {
            self.invocation.note(What::HungUp { call: self.call });
        }
    }
}

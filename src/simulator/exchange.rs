//! One call on tokio's clock, from sent to answered or lost.

use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::chat_list::{ChatLists, ListCall};
use super::faults::{Fate, Faults, Mishap};
use super::log::{CallId, CallRecord, Stats};
use super::reply::{Reply, bare_reply};
use super::script::Script;
use super::world::{SavedSync, World};
use crate::ids::{Subject, SubjectId};
use crate::postpress::SyncCall;

/// The handle to a simulated provider; clones share one [`World`].
#[derive(Clone)]
pub struct Simulator {
    shared: Arc<Shared>,
}

struct Shared {
    world: Mutex<World>,
    faults: Faults,
    lists: ChatLists,
    began: Instant,
    /// How old the world was then.
    age: Duration,
    observer: Box<dyn Fn(&CallRecord) + Send + Sync>,
}

impl Simulator {
    /// A new world that starts now, with these faults.
    pub fn new(faults: Faults) -> Self {
        Self::observed(faults, |_| {})
    }

    /// Like [`Simulator::new`], and calls `observer` with each call when its caller has an answer or gives up.
    pub fn observed(faults: Faults, observer: impl Fn(&CallRecord) + Send + Sync + 'static) -> Self {
        Self::with_chats(faults, ChatLists::default(), observer)
    }

    /// Like [`Simulator::observed`], with these chats in each account.
    pub fn with_chats(
        faults: Faults,
        lists: ChatLists,
        observer: impl Fn(&CallRecord) + Send + Sync + 'static,
    ) -> Self {
        let world = World::limited(faults.calls_per_second, faults.calls_burst);
        Self::of_world(world, Duration::ZERO, faults, lists, observer)
    }

    /// A world that another process began, `age` ago, with what it saved of it.
    pub fn resumed(faults: Faults, age: Duration, saved: impl IntoIterator<Item = (Subject, SavedSync)>) -> Self {
        let mut world = World::limited(faults.calls_per_second, faults.calls_burst);
        for (subject, saved) in saved {
            world.restore(&subject, saved);
        }
        Self::of_world(world, age, faults, ChatLists::default(), |_| {})
    }

    fn of_world(
        world: World,
        age: Duration,
        faults: Faults,
        lists: ChatLists,
        observer: impl Fn(&CallRecord) + Send + Sync + 'static,
    ) -> Self {
        let (world, began) = (Mutex::new(world), Instant::now());
        Self { shared: Arc::new(Shared { world, faults, lists, began, age, observer: Box::new(observer) }) }
    }

    /// What is known about a subject, for a later process; `None` before its first call.
    pub fn save(&self, subject: &Subject) -> Option<SavedSync> {
        self.shared.with_world(|world, _| world.save(subject))
    }

    /// The counts so far.
    pub fn stats(&self) -> Stats {
        self.shared.with_world(World::stats)
    }

    /// The calls so far, in the order of sending; after many calls only the latest.
    pub fn log(&self) -> Vec<CallRecord> {
        self.shared.with_world(World::log)
    }

    /// Makes one call. Returns `None` if the connection is closed without an answer. A late call never returns; its caller has
    /// to drop it.
    pub(super) async fn call(&self, request: &SyncCall) -> Option<Reply> {
        let call = self.shared.with_world(|world, now| {
            let fate = self.shared.faults.fate(&request.subject, world.calls_of(&request.subject));
            Call { shared: &self.shared, id: world.send(request, now, fate), fate }
        });
        if call.fate.mishap == Mishap::Late {
            pending::<()>().await;
        }
        let way = call.fate.there.saturating_add(call.fate.back);
        if !way.is_zero() {
            sleep(way).await;
        }
        self.shared.with_world(|world, now| world.take_reply(call.id, now))
    }

    /// Lists a page of an account's chats, with the faults of any call. Returns `None` if the connection is closed without an
    /// answer.
    pub(super) async fn list(&self, call: &ListCall) -> Option<Reply> {
        let account = Subject::from(SubjectId::Account(call.account.clone()));
        let earlier = self.shared.with_world(|world, _| world.count_page(&account));
        let Fate { there, back, mishap } = self.shared.faults.fate(&account, earlier);
        sleep(there.saturating_add(back)).await;
        match mishap {
            Mishap::None => Some(match Script::of(&account).list_error(earlier) {
                Some(error) => error.reply(&account, earlier + 1),
                None => self.shared.lists.page(call),
            }),
            Mishap::Refused(status) => Some(bare_reply(status)),
            Mishap::RequestLost | Mishap::ReplyLost => None,
            Mishap::Late => pending().await,
        }
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator").field("faults", &self.shared.faults).finish_non_exhaustive()
    }
}

impl Shared {
    /// Accesses the world at the current time, which is read under the lock so that it never goes backwards.
    fn with_world<T>(&self, f: impl FnOnce(&mut World, Duration) -> T) -> T {
        let mut world: MutexGuard<'_, World> = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        f(&mut world, self.age + self.began.elapsed())
    }
}

/// A call that is awaited. Dropping it hangs up, whether it has its reply or its caller crashed or gave up.
struct Call<'a> {
    shared: &'a Shared,
    id: CallId,
    fate: Fate,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let record = self.shared.with_world(|world, now| world.hang_up(self.id, now));
        if let Some(record) = record {
            (self.shared.observer)(&record);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::super::reply::Said;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn observer_gets_each_call_once_even_a_late_one() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let faults = Faults { late_rate: 0.5, ..Faults::default() };
        let simulator = Simulator::observed(faults, move |record| sender.send(record.clone()).unwrap());
        let chat = Subject::chat("deleted").unwrap().into();
        let mut answered = Vec::new();
        for _ in 0..20 {
            let reply = timeout(Duration::from_secs(1), simulator.call(&chat)).await;
            answered.push(reply.is_ok());
        }
        let records: Vec<CallRecord> = receiver.try_iter().collect();
        assert_eq!(records.iter().map(|record| record.delivered).collect::<Vec<_>>(), answered);
        assert!(answered.contains(&true) && answered.contains(&false));
        let delivered = records.iter().filter(|record| record.delivered);
        assert!(delivered.map(|record| record.said).all(|said| matches!(said, Some(Said::Over(_)))));
    }
}

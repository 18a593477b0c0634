//! The chats and accounts of a simulated provider, and the calls in transit. Pure: time is an input.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::faults::{Fate, Mishap};
use super::log::{CallId, CallRecord, Counts, Log, Stats};
use super::reply::{Reply, Said};
use super::script::{Behaviour, ErrorAnswer, ErrorKind, Script};
use crate::ids::Subject;
use crate::postpress::{Finish, Resync, SyncCall};

/// The answer to a call beyond what the key allows.
const OVER_LIMIT: ErrorAnswer = ErrorAnswer { kind: ErrorKind::Status(429), retry_after: Some(Duration::from_secs(1)) };

/// A simulated provider.
///
/// A call is sent, lands, and its reply is taken. Landing changes its subject. Calls land in the order of their landing times, at
/// the first access to the world at or after that time, whether or not their callers still wait.
#[derive(Debug, Default)]
pub struct World {
    synced: HashMap<Subject, Synced>,
    total: Counts,
    sent: u64,
    /// The calls that have not landed yet, by when they land.
    in_transit: BTreeMap<(Duration, CallId), (SyncCall, Mishap)>,
    awaited: HashMap<CallId, Awaited>,
    log: Log,
    /// How often each account's chats were listed.
    listed: HashMap<Subject, u64>,
    limit: Option<TokenBucket>,
}

/// How many calls the key allows.
#[derive(Debug)]
struct TokenBucket {
    calls_per_second: f64,
    burst: f64,
    tokens: f64,
    /// When the tokens were counted last.
    at: Duration,
}

impl TokenBucket {
    fn take(&mut self, now: Duration) -> bool {
        let refilled = self.calls_per_second * now.saturating_sub(self.at).as_secs_f64();
        self.tokens = self.burst.min(self.tokens + refilled);
        self.at = now;
        let is_left = self.tokens >= 1.0;
        self.tokens -= f64::from(u8::from(is_left));
        is_left
    }
}

/// A call whose caller has not hung up.
#[derive(Debug)]
struct Awaited {
    subject: Subject,
    reply: Option<Reply>,
}

/// A chat or an account.
#[derive(Debug)]
struct Synced {
    script: Script,
    state: SyncState,
    /// The query that started the sync.
    resync: Resync,
    /// Number of calls answered.
    answered: u64,
    counts: Counts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum SyncState {
    /// No sync was started yet.
    Idle,
    /// A sync is running, or is over and not yet reported.
    Syncing {
        /// When its current chunk is done.
        ends_at: Duration,
        /// The chunks before that.
        chunks_before: u32,
    },
    /// A chunk was reported as done; the next call starts the next one.
    BetweenChunks {
        /// The chunks that are done.
        chunks: u32,
    },
    /// The sync was reported as over; the next call starts it again.
    Reported,
    /// The chat no longer exists.
    Gone,
}

/// What a world knows about a chat or an account, so that a later world can go on with it. Its times are those of the world's
/// clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedSync {
    state: SyncState,
    resync: Resync,
    answered: u64,
    counts: Counts,
}

impl World {
    /// What it knows about a subject; `None` before its first call.
    pub fn save(&self, subject: &Subject) -> Option<SavedSync> {
        let Synced { state, resync, answered, counts, .. } = self.synced.get(subject)?;
        Some(SavedSync { state: *state, resync: resync.clone(), answered: *answered, counts: *counts })
    }

    /// Goes on with what an earlier world saved. Calls that were in flight then are lost.
    pub fn restore(&mut self, subject: &Subject, saved: SavedSync) {
        let SavedSync { state, resync, answered, counts } = saved;
        let counts = Counts { in_flight: 0, ..counts };
        self.total.add(&counts);
        self.synced.insert(subject.clone(), Synced { state, resync, answered, counts, ..Synced::new(subject) });
    }

    /// The number of calls sent for this subject.
    pub fn calls_of(&self, subject: &Subject) -> u64 {
        self.synced.get(subject).map_or(0, |synced| synced.counts.calls)
    }

    /// Counts a call for a page of an account's chats, and returns how many there were before it.
    pub(super) fn count_page(&mut self, account: &Subject) -> u64 {
        let count = self.listed.entry(account.clone()).or_default();
        *count += 1;
        *count - 1
    }

    /// A world whose key allows this many calls a second, and `burst` at once after a pause.
    pub fn limited(calls_per_second: Option<f64>, burst: f64) -> Self {
        let bucket = |calls_per_second| TokenBucket { calls_per_second, burst, tokens: burst, at: Duration::ZERO };
        Self { limit: calls_per_second.map(bucket), ..Self::default() }
    }

    /// Sends a call. Its caller waits until [`World::hang_up`].
    pub fn send(&mut self, call: &SyncCall, now: Duration, fate: Fate) -> CallId {
        self.settle(now);
        self.sent += 1;
        let (id, subject) = (CallId(self.sent), &call.subject);
        self.log.push(CallRecord::sent(id, call, now));
        self.synced.entry(subject.clone()).or_insert_with(|| Synced::new(subject));
        self.count(subject, Counts::sent);
        self.awaited.insert(id, Awaited { subject: subject.clone(), reply: None });
        if fate.mishap != Mishap::RequestLost {
            self.in_transit.insert((now.saturating_add(fate.there), id), (call.clone(), fate.mishap));
        }
        id
    }

    /// The reply to a call that has landed, once; `None` if the call or its reply was lost.
    pub fn take_reply(&mut self, call: CallId, now: Duration) -> Option<Reply> {
        self.settle(now);
        let Awaited { subject, reply } = self.awaited.get_mut(&call)?;
        let (subject, reply) = (subject.clone(), reply.take()?);
        self.count(&subject, |counts| counts.delivered += 1);
        if let Some(record) = self.log.get_mut(call) {
            record.delivered = true;
        }
        Some(reply)
    }

    /// Stops waiting, with or without a reply, and returns the record of the call so far.
    pub fn hang_up(&mut self, call: CallId, now: Duration) -> Option<CallRecord> {
        self.settle(now);
        let Awaited { subject, .. } = self.awaited.remove(&call)?;
        self.count(&subject, |counts| counts.in_flight -= 1);
        self.log.get_mut(call).cloned()
    }

    /// The counts so far.
    pub fn stats(&mut self, now: Duration) -> Stats {
        self.settle(now);
        let subjects: BTreeMap<Subject, Counts> =
            self.synced.iter().map(|(subject, synced)| (subject.clone(), synced.counts)).collect();
        let max_in_flight_each = subjects.values().map(|counts| counts.max_in_flight).max().unwrap_or(0);
        Stats { total: self.total, max_in_flight_each, pages_listed: self.listed.values().sum(), subjects }
    }

    /// The calls so far, in the order of sending; after many calls only the latest.
    pub fn log(&mut self, now: Duration) -> Vec<CallRecord> {
        self.settle(now);
        self.log.to_vec()
    }

    /// Counts for this subject and in total.
    fn count(&mut self, subject: &Subject, count: impl Fn(&mut Counts)) {
        count(&mut self.total);
        if let Some(synced) = self.synced.get_mut(subject) {
            count(&mut synced.counts);
        }
    }

    /// Lands every call that is due.
    fn settle(&mut self, now: Duration) {
        while let Some(first) = self.in_transit.first_entry() {
            let (lands_at, id) = *first.key();
            if lands_at > now {
                return;
            }
            let (call, mishap) = first.remove();
            self.land(id, &call, mishap, lands_at);
        }
    }

    fn land(&mut self, id: CallId, call: &SyncCall, mishap: Mishap, now: Duration) {
        let subject = &call.subject;
        let synced = self.synced.entry(subject.clone()).or_insert_with(|| Synced::new(subject));
        let said = match mishap {
            Mishap::Refused(status) => Said::Error(ErrorAnswer::status(status)),
            _ if self.limit.as_mut().is_some_and(|limit| !limit.take(now)) => Said::Error(OVER_LIMIT),
            _ => synced.answer(&call.resync, now),
        };
        let has_other_query = !matches!(said, Said::Error(_)) && synced.resync != call.resync;
        self.count(subject, |counts| {
            counts.landed(said);
            counts.other_queries += u64::from(has_other_query);
            counts.over_limit += u64::from(said == Said::Error(OVER_LIMIT));
        });
        if let Some(record) = self.log.get_mut(id) {
            record.landed(now, said);
        }
        let reply_comes = matches!(mishap, Mishap::None | Mishap::Refused(_));
        if let Some(awaited) = self.awaited.get_mut(&id).filter(|_| reply_comes) {
            awaited.reply = Some(said.reply(subject, id.0));
        }
    }
}

impl Synced {
    fn new(subject: &Subject) -> Self {
        let (script, counts) = (Script::of(subject), Counts::default());
        Self { script, state: SyncState::Idle, resync: Resync::default(), answered: 0, counts }
    }

    fn answer(&mut self, resync: &Resync, now: Duration) -> Said {
        let answered = self.answered;
        self.answered += 1;
        if let Some(error) = self.script.opening_error(answered) {
            return Said::Error(error);
        }
        match self.script.behaviour {
            Behaviour::Error(error) => Said::Error(error),
            Behaviour::Gone => Said::Over(Finish::Deleted),
            Behaviour::Sync { chunks, lasts, finish } => {
                let said = self.sync(chunks, lasts, finish, now);
                if matches!(said, Said::Started { .. }) {
                    self.resync = resync.clone();
                }
                said
            }
        }
    }

    /// Starts a sync or reports its state: both are the same call.
    fn sync(&mut self, chunks: u32, lasts: Duration, finish: Finish, now: Duration) -> Said {
        let syncing = |chunks_before| SyncState::Syncing { ends_at: now.saturating_add(lasts), chunks_before };
        match self.state {
            SyncState::Idle | SyncState::Reported => {
                let restart = self.state == SyncState::Reported;
                self.state = syncing(0);
                Said::Started { restart }
            }
            SyncState::BetweenChunks { chunks } => {
                self.state = syncing(chunks);
                Said::NextChunk
            }
            SyncState::Syncing { ends_at, .. } if now < ends_at => Said::Running,
            SyncState::Syncing { chunks_before, .. } if chunks_before + 1 < chunks => {
                self.state = SyncState::BetweenChunks { chunks: chunks_before + 1 };
                Said::ChunkDone
            }
            SyncState::Syncing { .. } => {
                self.state = if finish == Finish::Deleted { SyncState::Gone } else { SyncState::Reported };
                Said::Over(finish)
            }
            SyncState::Gone => Said::Over(Finish::Deleted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(id: &str) -> Subject {
        Subject::chat(id).unwrap()
    }

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Makes a call without delay and returns the answer.
    fn call(world: &mut World, id: &str, now: u64) -> String {
        let call = world.send(&chat(id).into(), at(now), Fate::default());
        world.take_reply(call, at(now)).unwrap();
        world.hang_up(call, at(now)).unwrap().said.unwrap().to_string()
    }

    #[test]
    fn sync_starts_runs_is_reported_once_and_starts_again() {
        for (id, finish) in [("done-in-2s", "SYNC_DONE"), ("error-in-2s", "SYNC_ERROR")] {
            let mut world = World::default();
            for (now, said) in [
                (0, "SYNC_STARTED"),
                (0, "SYNC_RUNNING"),
                (1_999, "SYNC_RUNNING"),
                (2_000, finish),
                (2_000, "SYNC_STARTED (restart)"),
                (3_999, "SYNC_RUNNING"),
                (9_000, finish),
                (9_001, "SYNC_STARTED (restart)"),
            ] {
                assert_eq!(call(&mut world, id, now), said, "{id} at {now}");
            }
            let counts = world.stats(at(9_001)).subjects[&chat(id)];
            assert_eq!((counts.calls, counts.syncs_started), (8, 3));
            assert_eq!((counts.restarts, counts.terminal_answers), (2, 2));
        }
    }

    #[test]
    fn account_is_synced_chunk_by_chunk() {
        let mut world = World::default();
        let account = Subject::account("done-in-2-chunks-of-1s").unwrap();
        let mut call = |now, chunk_size: u64| {
            let resync = Resync { chunk_size: chunk_size.try_into().ok(), ..Resync::default() };
            let id = world.send(&SyncCall { subject: account.clone(), resync }, at(now), Fate::default());
            world.take_reply(id, at(now)).unwrap();
            world.hang_up(id, at(now)).unwrap().said.unwrap().to_string()
        };
        for (now, said) in [
            (0, "SYNC_STARTED"),
            (999, "SYNC_RUNNING"),
            (1_000, "CHUNK_DONE"),
            (9_000, "SYNC_STARTED (next chunk)"),
            (9_001, "SYNC_RUNNING"),
            (10_000, "SYNC_DONE"),
            (10_001, "SYNC_STARTED (restart)"),
        ] {
            assert_eq!(call(now, 5), said, "at {now}");
        }
        call(10_002, 6);
        let total = world.stats(at(10_002)).total;
        assert_eq!((total.syncs_started, total.restarts, total.chunks, total.other_queries), (2, 1, 1, 1));
    }

    #[test]
    fn a_restored_world_goes_on_where_the_saved_one_was() {
        let mut world = World::default();
        let id = "service_unavailable-for-1-calls-then-done-in-5s";
        for (now, said) in [(0, "503 errors/service_unavailable"), (1_000, "SYNC_STARTED"), (2_000, "SYNC_RUNNING")] {
            assert_eq!(call(&mut world, id, now), said);
        }
        let saved = serde_json::to_string(&world.save(&chat(id)).unwrap()).unwrap();
        let mut world = World::default();
        world.restore(&chat(id), serde_json::from_str(&saved).unwrap());
        for (now, said) in [(5_999, "SYNC_RUNNING"), (6_000, "SYNC_DONE"), (6_001, "SYNC_STARTED (restart)")] {
            assert_eq!(call(&mut world, id, now), said);
        }
        let stats = world.stats(at(6_001));
        assert_eq!((stats.total.calls, stats.total.syncs_started, stats.total.restarts), (6, 2, 1));
        assert_eq!(stats.subjects[&chat(id)].calls, 6);
    }

    #[test]
    fn deleted_chat_stays_deleted() {
        let mut world = World::default();
        for (now, said) in [(0, "SYNC_STARTED"), (5_000, "CHAT_DELETED"), (5_001, "CHAT_DELETED")] {
            assert_eq!(call(&mut world, "deleted-in-5s", now), said);
            assert_eq!(call(&mut world, "deleted", now), "CHAT_DELETED");
        }
        let total = world.stats(at(5_001)).total;
        assert_eq!((total.syncs_started, total.restarts, total.terminal_answers), (1, 0, 5));
    }

    #[test]
    fn errors_start_nothing() {
        let mut world = World::default();
        for _ in 0..3 {
            assert_eq!(call(&mut world, "resource_not_found", 0), "404 errors/resource_not_found");
        }
        let id = "service_unavailable-for-2-calls-then-done";
        for said in ["503 errors/service_unavailable", "503 errors/service_unavailable", "SYNC_STARTED"] {
            assert_eq!(call(&mut world, id, 0), said);
        }
        assert_eq!(world.stats(at(0)).total.syncs_started, 1);
    }

    #[test]
    fn lost_reply_has_its_effect_and_lost_request_has_none() {
        let mut world = World::default();
        let id = chat("done-in-0s");
        let lose = |world: &mut World, now, mishap| {
            let call = world.send(&id.clone().into(), at(now), Fate { mishap, ..Fate::default() });
            assert_eq!(world.take_reply(call, at(now)), None);
            world.hang_up(call, at(now)).unwrap()
        };
        assert_eq!(lose(&mut world, 0, Mishap::RequestLost).said, None);
        assert_eq!(call(&mut world, "done-in-0s", 1), "SYNC_STARTED");
        let lost = lose(&mut world, 2, Mishap::ReplyLost);
        assert_eq!((lost.said, lost.delivered), (Some(Said::Over(Finish::Done)), false));
        assert_eq!(call(&mut world, "done-in-0s", 3), "SYNC_STARTED (restart)");
        let total = world.stats(at(3)).total;
        assert_eq!((total.calls, total.landed, total.delivered), (4, 3, 2));
    }

    #[test]
    fn calls_beyond_the_limit_of_the_key_are_answered_with_a_429_and_have_no_effect() {
        let mut world = World::limited(Some(2.0), 3.0);
        let said: Vec<_> = [0, 0, 0, 0, 499, 500, 500, 10_000, 10_000, 10_000, 10_000]
            .map(|now| call(&mut world, "done-in-1h", now) != "429")
            .into();
        assert_eq!(said, [true, true, true, false, false, true, false, true, true, true, false]);
        let total = world.stats(at(10_000)).total;
        assert_eq!((total.syncs_started, total.over_limit), (1, 4));
    }

    #[test]
    fn refused_call_does_not_reach_the_chat() {
        let mut world = World::default();
        let refused = Fate { mishap: Mishap::Refused(502), ..Fate::default() };
        let call_id = world.send(&chat("done").into(), at(0), refused);
        assert_eq!(world.take_reply(call_id, at(0)).unwrap().http_status, 502);
        assert_eq!(call(&mut world, "done", 0), "SYNC_STARTED");
    }

    #[test]
    fn late_call_lands_at_its_time_without_its_caller() {
        let mut world = World::default();
        assert_eq!(call(&mut world, "done-in-1s", 0), "SYNC_STARTED");
        let late = world.send(
            &chat("done-in-1s").into(),
            at(10),
            Fate { there: at(5_000), back: at(0), mishap: Mishap::Late },
        );
        assert_eq!(world.hang_up(late, at(20)).unwrap().said, None);
        assert_eq!(call(&mut world, "done-in-1s", 1_000), "SYNC_DONE");
        // The world is next accessed much later. The late call restarted the sync at its own time, so it is over again.
        assert_eq!(call(&mut world, "done-in-1s", 7_000), "SYNC_DONE");
        let record = world.log(at(7_000))[1].clone();
        assert_eq!((record.landed_at_ms, record.delivered), (Some(5_010), false));
        assert_eq!(record.said, Some(Said::Started { restart: true }));
    }

    #[test]
    fn concurrent_calls_are_counted_per_chat_and_in_total() {
        let mut world = World::default();
        let slow = Fate { there: at(50), back: at(50), mishap: Mishap::None };
        let first = world.send(&chat("done~1").into(), at(0), slow);
        world.send(&chat("done~1").into(), at(10), slow);
        world.send(&chat("done~2").into(), at(20), slow);
        assert!(world.take_reply(first, at(100)).is_some());
        world.hang_up(first, at(100));
        world.send(&chat("done~1").into(), at(100), slow);
        let stats = world.stats(at(100));
        assert_eq!((stats.total.in_flight, stats.total.max_in_flight), (3, 3));
        assert_eq!(stats.max_in_flight_each, 2);
        assert_eq!(stats.subjects[&chat("done~2")].max_in_flight, 1);
    }
}

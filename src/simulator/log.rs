//! The log of a world: its calls, and their counts.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::reply::Said;
use crate::ids::{Subject, subject_fields};
use crate::postpress::{Resync, SyncCall};

/// Maximum number of calls in a log; a simulator that runs for days drops the oldest.
const CAPACITY: usize = 100_000;

/// The number of a call in its world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub(super) u64);

/// One call and its progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallRecord {
    /// Its number in the world, from 1, in the order of sending.
    pub number: u64,
    /// What it was for.
    #[serde(flatten, with = "subject_fields")]
    pub subject: Subject,
    /// Its query.
    #[serde(skip_serializing_if = "Resync::is_empty")]
    pub resync: Resync,
    /// When it was sent, since the world began.
    pub sent_at_ms: u64,
    /// When it reached the provider; absent while it is in transit, and forever if the request was lost.
    pub landed_at_ms: Option<u64>,
    /// The answer.
    pub said: Option<Said>,
    /// Whether the answer reached the caller.
    pub delivered: bool,
}

impl CallRecord {
    pub(super) fn sent(id: CallId, call: &SyncCall, now: Duration) -> Self {
        let SyncCall { subject, resync } = call.clone();
        let (number, sent_at_ms) = (id.0, milliseconds(now));
        Self { number, subject, resync, sent_at_ms, landed_at_ms: None, said: None, delivered: false }
    }

    pub(super) fn landed(&mut self, now: Duration, said: Said) {
        self.landed_at_ms = Some(milliseconds(now));
        self.said = Some(said);
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// One line for people: `12.345 s  done~1  SYNC_DONE, reply lost`.
impl fmt::Display for CallRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, rest) = (self.sent_at_ms / 1000, self.sent_at_ms % 1000);
        write!(f, "{seconds:>5}.{rest:03} s  {}  ", self.subject.label())?;
        match (self.said, self.delivered) {
            (Some(said), true) => write!(f, "{said}"),
            (Some(said), false) => write!(f, "{said}, reply lost"),
            (None, _) => f.write_str("no answer: the call has not arrived"),
        }
    }
}

/// The latest calls, in the order of sending.
#[derive(Debug, Default)]
pub(super) struct Log {
    records: VecDeque<CallRecord>,
}

impl Log {
    pub(super) fn push(&mut self, record: CallRecord) {
        if self.records.len() == CAPACITY {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }

    /// The record of a call, unless it was dropped.
    pub(super) fn get_mut(&mut self, call: CallId) -> Option<&mut CallRecord> {
        let first = self.records.front()?.number;
        let index = usize::try_from(call.0.checked_sub(first)?).ok()?;
        self.records.get_mut(index)
    }

    pub(super) fn to_vec(&self) -> Vec<CallRecord> {
        self.records.iter().cloned().collect()
    }
}

/// The counts of one subject or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Calls sent.
    pub calls: u64,
    /// Calls that reached the provider, even after their callers gave up.
    pub landed: u64,
    /// Replies that reached the caller.
    pub delivered: u64,
    /// Syncs started, restarts included.
    pub syncs_started: u64,
    /// Syncs started after the last one was reported as over.
    pub restarts: u64,
    /// `SYNC_DONE`, `SYNC_ERROR` and `CHAT_DELETED` answers, whether or not they arrived.
    pub terminal_answers: u64,
    /// `CHUNK_DONE` answers, whether or not they arrived.
    pub chunks: u64,
    /// Calls whose query was not that of the call that started the sync.
    pub other_queries: u64,
    /// Calls beyond what the key allows, answered with a 429.
    pub over_limit: u64,
    /// Calls in flight now.
    pub in_flight: u64,
    /// Maximum number of concurrent calls.
    pub max_in_flight: u64,
}

impl Counts {
    pub(super) fn sent(&mut self) {
        self.calls += 1;
        self.in_flight += 1;
        self.max_in_flight = self.max_in_flight.max(self.in_flight);
    }

    /// Adds those of a subject that is not called now.
    pub(super) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.landed += other.landed;
        self.delivered += other.delivered;
        self.syncs_started += other.syncs_started;
        self.restarts += other.restarts;
        self.terminal_answers += other.terminal_answers;
        self.chunks += other.chunks;
        self.other_queries += other.other_queries;
        self.over_limit += other.over_limit;
        self.max_in_flight = self.max_in_flight.max(other.max_in_flight);
    }

    pub(super) fn landed(&mut self, said: Said) {
        self.landed += 1;
        match said {
            Said::Started { restart } => {
                self.syncs_started += 1;
                self.restarts += u64::from(restart);
            }
            Said::Over(_) => self.terminal_answers += 1,
            Said::ChunkDone => self.chunks += 1,
            Said::Running | Said::NextChunk | Said::Error(_) => {}
        }
    }
}

/// The counts of a world.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Over all subjects.
    pub total: Counts,
    /// Maximum number of concurrent calls for the same subject.
    pub max_in_flight_each: u64,
    /// Calls for a page of an account's chats, which the other counts and the log do not have.
    pub pages_listed: u64,
    /// Each subject that was called.
    pub subjects: BTreeMap<Subject, Counts>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_log_drops_the_oldest_calls() {
        let chat = Subject::chat("done").unwrap().into();
        let mut log = Log::default();
        let last = u64::try_from(CAPACITY).unwrap() + 1;
        for number in 1..=last {
            log.push(CallRecord::sent(CallId(number), &chat, Duration::ZERO));
        }
        assert_eq!(log.to_vec().len(), CAPACITY);
        assert_eq!(log.get_mut(CallId(1)), None);
        assert_eq!(log.get_mut(CallId(2)).unwrap().number, 2);
        assert_eq!(log.get_mut(CallId(last)).unwrap().number, last);
        assert_eq!(log.get_mut(CallId(last + 1)), None);
    }

    #[test]
    fn record_is_displayed_in_one_line() {
        let mut record =
            CallRecord::sent(CallId(1), &Subject::chat("done~1").unwrap().into(), Duration::from_millis(12_345));
        assert_eq!(record.to_string(), "   12.345 s  done~1  no answer: the call has not arrived");
        record.landed(Duration::from_secs(13), Said::Running);
        assert_eq!(record.to_string(), "   12.345 s  done~1  SYNC_RUNNING, reply lost");
        record.delivered = true;
        assert_eq!(record.to_string(), "   12.345 s  done~1  SYNC_RUNNING");
    }
}

//! A run's history: the answer to each of its polls, and when it came, small enough to travel in every poll.

use serde::{Deserialize, Serialize};

use crate::postpress::{Answer, Progress, RetryClass};
use crate::time::Millis;

/// The most entries of a history.
pub const HISTORY_MAX: usize = 32;

/// The answers to a run's polls, oldest first, in at most [`HISTORY_MAX`] entries. The ending is not in it: that is in the
/// outcome.
///
/// A poll gets an entry of its own while there is room, so that every pause can be seen. Without room, the oldest two
/// neighbours with equal answers become one entry, and where no neighbours are equal, the oldest entries are counted as
/// [`PollAnswer::Earlier`]. Every poll stays counted, so polls that are missing had no recorded answer.
///
/// As stored, an entry has 48 bits: 22 of seconds since the run's first claim, 10 of the answer's code, 16 of the count, each
/// in network byte order and at its largest value if it does not fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<(u32, u16, u16)>", into = "Vec<(u32, u16, u16)>")]
pub struct History(Vec<HistoryEntry>);

/// One or several polls in a row with the same answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HistoryEntry {
    /// When the first of them was answered, in seconds since the run's first claim. For [`PollAnswer::Unrecorded`], when the
    /// next poll was answered; for [`PollAnswer::Earlier`], 0.
    pub seconds: u32,
    /// The answer.
    pub answer: PollAnswer,
    /// How many they are.
    pub count: u16,
}

/// The answer to a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PollAnswer {
    /// The first polls of a long history, whatever the answers.
    Earlier,
    /// Nothing that was recorded: the process died, or the poll that carried the answer was lost.
    Unrecorded,
    /// `SYNC_STARTED`.
    Started,
    /// `SYNC_RUNNING`.
    Running,
    /// `CHUNK_DONE`, of an account.
    ChunkDone,
    /// A 200 that cannot be used.
    Unusable,
    /// Nothing in time.
    TimedOut,
    /// The key was refused.
    Credentials,
    /// The account is not connected, and may be about to be.
    Connecting,
    /// An error with this HTTP status; 502 also if there was no connection.
    Failed(u16),
    /// An answer that this version does not know.
    Unknown(u16),
}

impl History {
    /// Bytes of one entry as stored.
    const ENTRY_BYTES: usize = 6;

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries, oldest first.
    pub fn entries(&self) -> &[HistoryEntry] {
        &self.0
    }

    /// How many of the run's first `polls` polls are missing here: those without a recorded answer, and the last one while
    /// its answer is not known yet. 0 if a count is too large to tell.
    pub fn missing(&self, polls: u32) -> u32 {
        if self.0.iter().any(|entry| entry.count == u16::MAX) {
            return 0;
        }
        polls.saturating_sub(self.0.iter().map(|entry| u32::from(entry.count)).sum())
    }

    /// Adds the answer to the run's poll of this number, and those before it that had none.
    pub(crate) fn push(&mut self, poll: u32, seconds: u64, answer: PollAnswer) {
        let unrecorded = u16::try_from(self.missing(poll.saturating_sub(1))).unwrap_or(u16::MAX);
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        // Clocks may differ between two processes.
        let seconds = self.0.last().map_or(seconds, |last| seconds.max(last.seconds));
        if unrecorded > 0 {
            self.add(HistoryEntry { seconds, answer: PollAnswer::Unrecorded, count: unrecorded });
        }
        self.add(HistoryEntry { seconds, answer, count: 1 });
    }

    fn add(&mut self, entry: HistoryEntry) {
        if self.0.len() >= HISTORY_MAX {
            self.make_room();
        }
        self.0.push(entry.within_limits());
    }

    fn make_room(&mut self) {
        let merged = self.0.windows(2).position(|pair| pair[0].answer == pair[1].answer).unwrap_or_else(|| {
            self.0[0] = HistoryEntry { seconds: 0, answer: PollAnswer::Earlier, ..self.0[0] };
            0
        });
        let removed = self.0.remove(merged + 1);
        self.0[merged].count = self.0[merged].count.saturating_add(removed.count);
    }

    /// The compact form that the table stores.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|entry| entry.to_bits().to_be_bytes().into_iter().skip(2)).collect()
    }

    /// Reads what [`History::to_bytes`] wrote; `None` if the bytes are not whole entries.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (entries, []) = bytes.as_chunks() else { return None };
        let entry = |&[a, b, c, d, e, f]: &[u8; Self::ENTRY_BYTES]| u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        Some(Self::of_latest(entries.iter().map(entry).map(HistoryEntry::from_bits).collect()))
    }

    fn of_latest(mut entries: Vec<HistoryEntry>) -> Self {
        entries.drain(..entries.len().saturating_sub(HISTORY_MAX));
        Self(entries)
    }
}

impl From<Vec<(u32, u16, u16)>> for History {
    fn from(entries: Vec<(u32, u16, u16)>) -> Self {
        let entry = |(seconds, code, count)| {
            HistoryEntry { seconds, answer: PollAnswer::from_code(code), count }.within_limits()
        };
        Self::of_latest(entries.into_iter().map(entry).collect())
    }
}

impl From<History> for Vec<(u32, u16, u16)> {
    fn from(history: History) -> Self {
        history.0.iter().map(|entry| (entry.seconds, entry.answer.code(), entry.count)).collect()
    }
}

impl HistoryEntry {
    const SECONDS_MAX: u32 = (1 << 22) - 1;

    /// When the first of the polls was answered, in a run whose first claim was made then.
    pub fn at(&self, started_at: Millis) -> Millis {
        started_at + std::time::Duration::from_secs(self.seconds.into())
    }

    fn within_limits(self) -> Self {
        Self { seconds: self.seconds.min(Self::SECONDS_MAX), ..self }
    }

    fn to_bits(self) -> u64 {
        u64::from(self.seconds) << 26 | u64::from(self.answer.code()) << 16 | u64::from(self.count)
    }

    #[expect(clippy::cast_possible_truncation, reason = "each field has as many bits as are masked")]
    fn from_bits(bits: u64) -> Self {
        let answer = PollAnswer::from_code((bits >> 16 & u64::from(PollAnswer::CODE_MAX)) as u16);
        Self { seconds: (bits >> 26) as u32, answer, count: (bits & 0xffff) as u16 }
    }
}

impl PollAnswer {
    const CODE_MAX: u16 = (1 << 10) - 1;
    /// Those whose code is their place here. New ones are added at the end.
    const OURS: [Self; 9] = [
        Self::Earlier,
        Self::Unrecorded,
        Self::Started,
        Self::Running,
        Self::ChunkDone,
        Self::Unusable,
        Self::TimedOut,
        Self::Credentials,
        Self::Connecting,
    ];

    /// What to remember of an answer; `None` for an ending, which the outcome has.
    pub(super) fn of(answer: &Answer) -> Option<Self> {
        Some(match answer {
            Answer::Over(_) => return None,
            Answer::InProgress(Progress::Started) => Self::Started,
            Answer::InProgress(Progress::Running) => Self::Running,
            Answer::InProgress(Progress::ChunkDone) => Self::ChunkDone,
            Answer::Unusable(_) => Self::Unusable,
            Answer::Failed(failure) => match failure.retry_class {
                RetryClass::Credentials => Self::Credentials,
                RetryClass::Connecting => Self::Connecting,
                _ if failure.may_land_late => Self::TimedOut,
                _ => Self::Failed(failure.status),
            },
        })
    }

    /// The number that stands for it. An HTTP status stands for itself.
    fn code(self) -> u16 {
        match self {
            Self::Failed(code) | Self::Unknown(code) => code.min(Self::CODE_MAX),
            ours => {
                (0..).zip(Self::OURS).find_map(|(code, answer)| (answer == ours).then_some(code)).unwrap_or_default()
            }
        }
    }

    fn from_code(code: u16) -> Self {
        match Self::OURS.get(usize::from(code)) {
            Some(answer) => *answer,
            None if code < 100 => Self::Unknown(code),
            None => Self::Failed(code.min(Self::CODE_MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    use PollAnswer::{ChunkDone, Earlier, Failed, Running, Started, Unrecorded};

    fn history(answers: impl IntoIterator<Item = PollAnswer>) -> History {
        let mut history = History::default();
        for (poll, answer) in (1..).zip(answers) {
            history.push(poll, u64::from(poll) * 10, answer);
        }
        history
    }

    fn entries(history: &History) -> Vec<(u32, PollAnswer, u16)> {
        history.entries().iter().map(|entry| (entry.seconds, entry.answer, entry.count)).collect()
    }

    #[test]
    fn each_poll_has_its_entry_while_there_is_room() {
        let history = history([Started, Running, Running, Failed(503), Running]);
        let expected = [(10, Started), (20, Running), (30, Running), (40, Failed(503)), (50, Running)];
        assert_eq!(entries(&history), expected.map(|(seconds, answer)| (seconds, answer, 1)));
    }

    #[test]
    fn without_room_the_oldest_equal_answers_are_merged() {
        let history = history([Started].into_iter().chain([Running; 40]).chain([Failed(429), Running]));
        let entries = entries(&history);
        assert_eq!(entries.len(), HISTORY_MAX);
        assert_eq!(entries[..3], [(10, Started, 1), (20, Running, 12), (140, Running, 1)]);
        assert_eq!(entries[30..], [(420, Failed(429), 1), (430, Running, 1)]);
    }

    #[test]
    fn without_equal_neighbours_the_oldest_entries_are_only_counted() {
        let history = history([Started, Running].into_iter().cycle().take(100));
        let entries = entries(&history);
        assert_eq!(entries.len(), HISTORY_MAX);
        assert_eq!(entries[..2], [(0, Earlier, 69), (700, Running, 1)]);
        assert_eq!(history.missing(101), 1);
    }

    #[test]
    fn polls_without_a_recorded_answer_leave_a_gap() {
        let mut history = history([Started, Running]);
        assert_eq!((history.missing(2), history.missing(3)), (0, 1));
        history.push(5, 90, Running);
        assert_eq!(entries(&history)[2..], [(90, Unrecorded, 2), (90, Running, 1)]);
        assert_eq!(history.missing(5), 0);
    }

    #[test]
    fn time_never_runs_backwards() {
        let mut history = history([Started]);
        history.push(2, 3, Running);
        assert_eq!(entries(&history)[1], (10, Running, 1));
    }

    #[test]
    fn answers_of_a_newer_version_are_kept() {
        let json = "[[5,2,1],[7,42,3],[9,503,1]]";
        let history: History = serde_json::from_str(json).unwrap();
        assert_eq!(entries(&history)[1], (7, PollAnswer::Unknown(42), 3));
        assert_eq!(serde_json::to_string(&history).unwrap(), json);
        assert_eq!(History::from_bytes(&history.to_bytes()), Some(history));
        assert_eq!(History::from_bytes(&[0; 7]), None);
    }

    #[test]
    fn values_out_of_range_are_limited() {
        let history: History = serde_json::from_str("[[4294967295,65535,65535]]").unwrap();
        assert_eq!(entries(&history), [((1 << 22) - 1, Failed(1023), u16::MAX)]);
        assert_eq!(history.missing(u32::MAX), 0, "the count is too large to tell");
    }

    #[test]
    fn an_entry_has_six_bytes() {
        let mut history = history([ChunkDone]);
        history.push(2, u64::MAX, Failed(999));
        assert_eq!(history.to_bytes(), [0, 0, 0x28, 4, 0, 1, 0xff, 0xff, 0xff, 0xe7, 0, 1]);
    }

    fn answers() -> impl Strategy<Value = Vec<(u32, u64, PollAnswer)>> {
        let answer = prop_oneof![4 => Just(Running), 1 => Just(Started), 1 => (400..600_u16).prop_map(Failed)];
        // How many polls before it had no answer, and how many seconds passed.
        proptest::collection::vec((prop_oneof![9 => Just(0_u32), 1 => 1..3_u32], 0..400_u64, answer), 0..300)
    }

    /// Equal neighbours as one, with their counts.
    fn stages(answers: impl IntoIterator<Item = (PollAnswer, u32)>) -> Vec<(PollAnswer, u32)> {
        let mut stages: Vec<(PollAnswer, u32)> = Vec::new();
        for (answer, count) in answers {
            match stages.last_mut() {
                Some(last) if last.0 == answer => last.1 += count,
                _ => stages.push((answer, count)),
            }
        }
        stages
    }

    proptest! {
        #[test]
        fn a_history_is_short_and_loses_neither_order_nor_count(answers in answers()) {
            let (mut history, mut poll, mut time, mut given) = (History::default(), 0, 0, Vec::new());
            for (unrecorded, seconds, answer) in answers {
                poll += unrecorded + 1;
                time += seconds;
                given.extend((unrecorded > 0).then_some((Unrecorded, unrecorded)));
                given.push((answer, 1));
                history.push(poll, time, answer);

                prop_assert!(history.entries().len() <= HISTORY_MAX);
                prop_assert!(history.entries().is_sorted_by_key(|entry| entry.seconds));
                prop_assert_eq!((history.missing(poll), history.missing(poll + 1)), (0, 1));
            }
            let kept = history.entries().iter().map(|entry| (entry.answer, u32::from(entry.count)));
            let kept = stages(kept.filter(|(answer, _)| *answer != Earlier));
            let given = stages(given);
            let latest = &given[given.len() - kept.len()..];
            prop_assert!(kept == latest || kept[1..] == latest[1..] && kept[0].1 < latest[0].1, "{kept:?} of {given:?}");
            prop_assert_eq!(History::from_bytes(&history.to_bytes()), Some(history.clone()));
            let json = serde_json::to_string(&history).unwrap();
            prop_assert_eq!(serde_json::from_str::<History>(&json).unwrap(), history);
        }

        #[test]
        fn any_history_that_can_be_read_round_trips(entries: Vec<(u32, u16, u16)>) {
            let history = History::from(entries);
            prop_assert!(history.entries().len() <= HISTORY_MAX);
            prop_assert_eq!(History::from_bytes(&history.to_bytes()), Some(history.clone()));
            prop_assert_eq!(History::from(Vec::from(history.clone())), history);
        }
    }
}

//! An invocation: its time limits, its metrics, and the results that its messages share.
//!
//! All times are by the monotonic clock, except the lease, which other processes read.

use std::cell::{RefCell, RefMut};
use std::time::Duration;

use tokio::time::Instant;

use super::once::Once;
use crate::metrics::Metrics;
use crate::run::WriteResult;
use crate::service::ServiceError;
use crate::settings::Config;
use crate::time::Millis;

/// Reserved at the end, to return the batch's result, and more for each record: a Lambda of 128 MB has a fourteenth of a
/// processor, on which a batch of 10,000 takes a second to report.
const TO_ANSWER: Duration = Duration::from_millis(200);
const TO_ANSWER_FOR_RECORD: Duration = Duration::from_micros(200);
/// Reserved before that, to forward an ending that could not be recorded.
const TO_FORWARD: Duration = Duration::from_secs(2);
/// The time that a claim needs at least: a write, and a repeat of it.
const TO_CLAIM: Duration = Duration::from_secs(1);

/// One invocation's time.
#[derive(Debug)]
pub struct Invocation {
    ends: Instant,
    ends_at: Millis,
    provider_timeout: Duration,
    margin: Duration,
    to_answer: Duration,
    metrics: RefCell<Metrics>,
    /// The events it published, by `event_id`.
    pub(super) published: Once<Result<(), ServiceError>>,
    /// The runs it marked as published.
    pub(super) marked: Once<Result<WriteResult, ServiceError>>,
}

impl Invocation {
    /// An invocation that ends at `ends`; `now` is the time of day.
    pub fn new(ends: Instant, now: Millis, config: &Config) -> Self {
        let ends_at = now + ends.saturating_duration_since(Instant::now());
        let (provider_timeout, margin) = (config.limits.provider_timeout, config.rules.lease_margin);
        Self {
            ends,
            ends_at,
            provider_timeout,
            margin,
            to_answer: TO_ANSWER,
            metrics: RefCell::default(),
            published: Once::default(),
            marked: Once::default(),
        }
    }

    /// The same invocation, with time to report on this many records.
    #[must_use]
    pub fn with_records(self, records: usize) -> Self {
        let records = u32::try_from(records).unwrap_or(u32::MAX);
        let to_answer = TO_ANSWER + TO_ANSWER_FOR_RECORD * records;
        // A call may end a margin before the invocation, and its ending is recorded after that.
        Self { to_answer: to_answer.min(TO_ANSWER.max(self.margin / 2)), ..self }
    }

    /// Its metrics so far, to be added to. Must not be held across an `await`, since its messages run concurrently.
    pub(super) fn metrics(&self) -> RefMut<'_, Metrics> {
        self.metrics.borrow_mut()
    }

    /// The time left.
    pub fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// The end of a claim's lease. By then this invocation has ended, by any clock within the margin.
    pub fn lease_until(&self) -> Millis {
        self.ends_at + self.margin
    }

    /// The last moment for a claim that leaves time for a whole call.
    pub fn claim_by(&self) -> Instant {
        self.ends.checked_sub(self.provider_timeout + self.margin).unwrap_or_else(Instant::now)
    }

    /// The last moment to wait for the turn to call: the claim that follows needs time too. A message whose turn comes later is sent
    /// again instead, which costs no receive.
    pub fn wait_by(&self) -> Instant {
        let claim_by = self.claim_by();
        let left = claim_by.saturating_duration_since(Instant::now());
        claim_by.checked_sub(TO_CLAIM.min(left / 2)).unwrap_or(claim_by)
    }

    /// The last moment for anything except calls.
    pub fn finish_by(&self) -> Instant {
        self.ends.checked_sub(self.to_answer).unwrap_or_else(Instant::now)
    }

    /// The last moment to record a known ending. Recording is retried for the whole invocation, except for the time to
    /// forward the ending in a poll: otherwise it would be lost, and another call would restart the sync to find out.
    pub fn record_by(&self) -> Instant {
        let finish_by = self.finish_by();
        let left = finish_by.saturating_duration_since(Instant::now());
        finish_by.checked_sub(TO_FORWARD.min(left / 2)).unwrap_or(finish_by)
    }

    /// Whether a whole call still fits in, so that a run may be claimed.
    pub fn has_time_to_call(&self) -> bool {
        self.left() >= self.provider_timeout + self.margin
    }

    /// The time limit of a call that starts now; `None` if less than half a timeout is left after a slow claim. A shorter
    /// call would most likely be aborted midway and still reach the provider, with its answer lost.
    pub fn call_deadline(&self) -> Option<Duration> {
        let left = self.left().saturating_sub(self.margin);
        (left >= self.provider_timeout / 2).then(|| left.min(self.provider_timeout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation(seconds: u64) -> Invocation {
        Invocation::new(Instant::now() + Duration::from_secs(seconds), Millis(1_000), &Config::default())
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_claimed_without_time_for_a_whole_call_and_the_margin() {
        let invocation = invocation(15);
        assert!(invocation.has_time_to_call());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!invocation.has_time_to_call());
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_to_call_leaves_time_for_the_claim() {
        let before_claim_by = |invocation: &Invocation| invocation.claim_by() - invocation.wait_by();
        assert_eq!(before_claim_by(&invocation(60)), TO_CLAIM);
        assert_eq!(before_claim_by(&invocation(16)), Duration::from_millis(500));
        assert_eq!(before_claim_by(&invocation(15)), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_a_margin_before_the_invocation() {
        let invocation = invocation(16);
        assert_eq!(invocation.call_deadline(), Some(Duration::from_secs(10)));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(invocation.call_deadline(), Some(Duration::from_secs(7)));
        tokio::time::advance(Duration::from_millis(2_001)).await;
        assert_eq!(invocation.call_deadline(), None, "the claim was written too late");
    }

    #[tokio::test(start_paused = true)]
    async fn recording_leaves_time_to_forward_the_ending() {
        let invocation = invocation(60);
        for (waited, record, hand_on) in [(0, 57_800, 2_000), (57, 1_400, 1_400)] {
            tokio::time::advance(Duration::from_secs(waited)).await;
            assert_eq!(invocation.record_by() - Instant::now(), Duration::from_millis(record));
            assert_eq!(invocation.finish_by() - invocation.record_by(), Duration::from_millis(hand_on));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_outlasts_the_invocation_by_the_margin() {
        assert_eq!(invocation(60).lease_until(), Millis(66_000));
    }
}

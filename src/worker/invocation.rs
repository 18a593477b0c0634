//! The time that an invocation has, what may still be begun in it, what it counts, and what its messages share.
//!
//! By the monotonic clock; only the lease, which other processes read, is a time of day.

use std::cell::{RefCell, RefMut};
use std::time::Duration;

use tokio::time::Instant;

use super::once::Once;
use crate::metrics::Metrics;
use crate::run::WriteResult;
use crate::service::ServiceError;
use crate::settings::Config;
use crate::time::Millis;

/// Kept free at the end, to give the answer of the batch.
const TO_ANSWER: Duration = Duration::from_millis(200);
/// Kept free before that, to send on an ending that the table would not take.
const TO_HAND_ON: Duration = Duration::from_secs(2);

/// One invocation's time.
#[derive(Debug)]
pub struct Invocation {
    ends: Instant,
    ends_at: Millis,
    provider_timeout: Duration,
    margin: Duration,
    metrics: RefCell<Metrics>,
    /// The events that it published, by `event_id`.
    pub(super) published: Once<Result<(), ServiceError>>,
    /// The runs that it marked as published.
    pub(super) marked: Once<Result<WriteResult, ServiceError>>,
}

impl Invocation {
    /// An invocation that ends then; `now` is the time of day.
    pub fn new(ends: Instant, now: Millis, config: &Config) -> Self {
        let ends_at = now + ends.saturating_duration_since(Instant::now());
        let (provider_timeout, margin) = (config.limits.provider_timeout, config.rules.lease_margin);
        Self {
            ends,
            ends_at,
            provider_timeout,
            margin,
            metrics: RefCell::default(),
            published: Once::default(),
            marked: Once::default(),
        }
    }

    /// What it has counted so far, to count more. Not to be held over an `await`: its messages go on side by side.
    pub(super) fn metrics(&self) -> RefMut<'_, Metrics> {
        self.metrics.borrow_mut()
    }

    /// What is left of it.
    pub fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// The end of a claim's lease: nothing of this invocation is alive by then, on any clock within the margin.
    pub fn lease_until(&self) -> Millis {
        self.ends_at + self.margin
    }

    /// The last moment to claim, so that a whole call still fits in.
    pub fn claim_by(&self) -> Instant {
        self.ends.checked_sub(self.provider_timeout + self.margin).unwrap_or_else(Instant::now)
    }

    /// The last moment for everything that is no call.
    pub fn finish_by(&self) -> Instant {
        self.ends.checked_sub(TO_ANSWER).unwrap_or_else(Instant::now)
    }

    /// The last moment to record an ending that is known now. It is tried for as long as the invocation lasts, but for what
    /// it takes to send it on in a poll: else it would be lost, and found out by another call that restarts the sync.
    pub fn record_by(&self) -> Instant {
        let finish_by = self.finish_by();
        let left = finish_by.saturating_duration_since(Instant::now());
        finish_by.checked_sub(TO_HAND_ON.min(left / 2)).unwrap_or(finish_by)
    }

    /// A whole call still fits in, so that a run may be claimed.
    pub fn has_time_to_call(&self) -> bool {
        self.left() >= self.provider_timeout + self.margin
    }

    /// How long a call may take that begins now; nothing if the claim came back so late that half a timeout is not left.
    /// A shorter call would most likely be given up on half-way, and land without anybody to hear the answer.
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
    async fn nothing_is_claimed_unless_a_whole_call_and_the_margin_fit_in() {
        let invocation = invocation(15);
        assert!(invocation.has_time_to_call());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!invocation.has_time_to_call());
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
    async fn an_ending_is_recorded_in_time_to_be_handed_on_instead() {
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

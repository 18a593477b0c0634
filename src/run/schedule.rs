//! When to poll again, and when to stop.

use std::time::Duration;

use super::{Item, PollState};
use crate::time::Millis;

/// SQS delays a message by at most 15 minutes (`DelaySeconds`, 0 to 900).
pub const DELAY_MAX: Duration = Duration::from_secs(900);
/// The shortest delay of a poll.
const DELAY_MIN: Duration = Duration::from_secs(1);
/// The longest `Retry-After` that is honored.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(900);
/// How long a message stays invisible the first time that it is delivered again.
const REDELIVERY_FIRST: Duration = Duration::from_secs(15);
/// The shortest delay after a call that timed out and may still reach the provider: long enough for it to arrive first.
const AFTER_TIMEOUT: Duration = Duration::from_secs(60);

/// The schedule of polls and the budgets of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Delay after the first call.
    pub poll_initial: Duration,
    /// Factor between one delay and the next; at least 1.
    pub poll_factor: f64,
    /// The longest delay.
    pub poll_max: Duration,
    /// How long consecutive retryable failures may last.
    pub retry: Duration,
    /// How long after the run's first claim a disconnected account may still be connecting; may be zero.
    pub connect_grace: Duration,
    /// How long a run may last, counted from its first claim.
    pub run_deadline: Duration,
    /// How many calls a run may make.
    pub max_polls: u32,
    /// How many times faster than in production the schedule runs: more than 1 only in the demo and the memory backend. It
    /// divides every delay and every budget, but no lease and no call deadline.
    pub speedup: u32,
}

/// A random share of the delay to add or subtract, so that chats that began together do not poll together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Jitter(i16);

impl Jitter {
    /// No jitter.
    pub const NONE: Self = Self(0);

    /// From −10 % to +10 %, for 16 random bits.
    pub fn from_random(bits: u16) -> Self {
        let per_mille = i32::from(bits) * 200 / i32::from(u16::MAX) - 100;
        Self(i16::try_from(per_mille).unwrap_or_default())
    }

    fn of(self, delay: Duration) -> Duration {
        delay.mul_f64(1.0 + f64::from(self.0) / 1000.0)
    }
}

/// The delay of a message of our own, from which the wait for the batch's shared send is subtracted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Delay {
    whole: Duration,
    at_least: Duration,
    at_most: Duration,
}

impl Delay {
    /// No delay, for a poll that carries an answer.
    pub const NONE: Self = Self { whole: Duration::ZERO, at_least: Duration::ZERO, at_most: Duration::ZERO };

    /// The delay that is left after a wait.
    pub fn after(self, waited: Duration) -> Duration {
        self.whole.saturating_sub(waited).clamp(self.at_least, self.at_most)
    }
}

/// What a failed call says about the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedCall {
    /// When the first of the consecutive failures occurred.
    pub failing_since: Millis,
    /// The provider's `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Whether the call timed out and may still reach the provider.
    pub may_land_late: bool,
}

impl Schedule {
    /// The delay of the next poll, after the call that `item` counts last, with the state learned from it; `failure` if that
    /// call failed.
    ///
    /// `Retry-After` lengthens the backoff, what is left of a budget cuts it, and the shortest delay holds in any case.
    pub fn delay(
        &self,
        item: &Item,
        learned: &PollState,
        failure: Option<FailedCall>,
        now: Millis,
        jitter: Jitter,
    ) -> Delay {
        let mut delay = jitter.of(self.backoff(item.polls.saturating_sub(learned.backoff_after)));
        let mut at_least = DELAY_MIN;
        if let Some(FailedCall { failing_since, retry_after, may_land_late }) = failure {
            delay = delay.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX));
            delay = delay.min(self.retry.saturating_sub(self.elapsed(failing_since, now)));
            if may_land_late {
                at_least = AFTER_TIMEOUT;
            }
        }
        delay = delay.min(self.run_deadline.saturating_sub(self.elapsed(item.started_at_ms, now)));
        Delay { whole: delay / self.speedup, at_least: at_least / self.speedup, at_most: DELAY_MAX / self.speedup }
    }

    /// The delay of a trigger that has waited this often for a run in flight: that of the poll after as many calls and one.
    pub fn wait(&self, waits: u32, jitter: Jitter) -> Delay {
        let whole = jitter.of(self.backoff(waits.saturating_add(1)));
        Delay { whole: whole / self.speedup, at_least: DELAY_MIN / self.speedup, at_most: DELAY_MAX / self.speedup }
    }

    /// The delay of a message whose turn to call the provider comes after this time: jitter lengthens it, and never shortens it.
    pub fn deferral(&self, wait: Duration, jitter: Jitter) -> Delay {
        Delay { whole: wait + jitter.of(wait).abs_diff(wait), at_least: DELAY_MIN / self.speedup, at_most: DELAY_MAX }
    }

    /// When the poll after call number `polls` is expected, if that call is made at `at` and the sync goes on.
    pub fn next_poll(&self, polls: u32, at: Millis) -> Millis {
        at + self.backoff(polls).clamp(DELAY_MIN, DELAY_MAX) / self.speedup
    }

    /// How long a message stays invisible before its next delivery: `min(900, 15 × 2^(n−1))` s after the n-th receive. An
    /// outage of an hour then does not use up the message's receives, and a short one costs little. Jitter lengthens the
    /// delay by up to 40 % and never shortens it, so that the hour holds in the worst case too.
    pub fn redelivery_backoff(&self, receive_count: u32, random: u16) -> Duration {
        let doublings = receive_count.saturating_sub(1).min(10);
        let delay = (REDELIVERY_FIRST * 2_u32.pow(doublings)).min(DELAY_MAX);
        let share = f64::from(random) / f64::from(u16::MAX) * 0.4;
        delay.mul_f64(1.0 + share) / self.speedup
    }

    /// Whether consecutive failures since `failing_since` have exhausted their budget.
    pub fn retries_exhausted(&self, failing_since: Millis, now: Millis) -> bool {
        self.elapsed(failing_since, now) >= self.retry
    }

    /// Whether the run began so recently that its account may still be connecting.
    pub fn may_be_connecting(&self, started_at: Millis, now: Millis) -> bool {
        self.elapsed(started_at, now) < self.connect_grace
    }

    /// Whether a run, or a trigger that waits for one, has exhausted its time.
    pub fn deadline_exceeded(&self, started_at: Millis, now: Millis) -> bool {
        self.elapsed(started_at, now) >= self.run_deadline
    }

    /// Whether the run has exhausted its calls.
    pub fn polls_exhausted(&self, polls: u32) -> bool {
        polls >= self.max_polls
    }

    /// `min(max, initial × factor^(n−1))` after call n.
    fn backoff(&self, polls: u32) -> Duration {
        let exponent = f64::from(polls.saturating_sub(1));
        let seconds = self.poll_initial.as_secs_f64() * self.poll_factor.powf(exponent);
        Duration::from_secs_f64(seconds.min(self.poll_max.as_secs_f64()))
    }

    fn elapsed(&self, since: Millis, now: Millis) -> Duration {
        now.since(since).saturating_mul(self.speedup)
    }
}

impl Default for Schedule {
    /// The defaults of the settings.
    fn default() -> Self {
        Self {
            poll_initial: Duration::from_secs(5),
            poll_factor: 1.5,
            poll_max: Duration::from_secs(300),
            retry: Duration::from_secs(3600),
            connect_grace: Duration::from_secs(120),
            run_deadline: Duration::from_secs(86_400),
            max_polls: 1000,
            speedup: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::run::message_handler::tests::item;

    const NOW: Millis = Millis(1_000_000_000);

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn after_call(polls: u32) -> Item {
        Item { polls, started_at_ms: NOW, ..item() }
    }

    fn failed(failing_since: Millis, retry_after: Option<Duration>, may_land_late: bool) -> Option<FailedCall> {
        Some(FailedCall { failing_since, retry_after, may_land_late })
    }

    fn delay(schedule: &Schedule, item: &Item) -> Duration {
        schedule.delay(item, &item.learned, None, NOW, Jitter::NONE).after(Duration::ZERO)
    }

    #[test]
    fn delays_grow_by_the_factor_up_to_the_maximum() {
        let schedule = Schedule::default();
        let delays: Vec<u128> = (1..=13).map(|n| delay(&schedule, &after_call(n)).as_millis()).collect();
        assert_eq!(delays[..4], [5000, 7500, 11_250, 16_875]);
        assert_eq!(delays[11..], [300_000, 300_000]);
        assert_eq!(delay(&schedule, &after_call(u32::MAX)), secs(300));
    }

    #[test]
    fn the_next_poll_is_expected_after_its_delay_without_jitter() {
        let schedule = Schedule { poll_max: secs(2000), ..Schedule::default() };
        for (polls, seconds) in [(1, 5.0), (2, 7.5), (12, 432.487), (1000, 900.0)] {
            assert_eq!(schedule.next_poll(polls, NOW), NOW + Duration::from_secs_f64(seconds), "after call {polls}");
        }
    }

    #[test]
    fn jitter_is_at_most_a_tenth() {
        assert_eq!(Jitter::from_random(0), Jitter(-100));
        assert_eq!(Jitter::from_random(u16::MAX), Jitter(100));
        let schedule = Schedule::default();
        let delay =
            |jitter| schedule.delay(&after_call(1), &PollState::default(), None, NOW, jitter).after(Duration::ZERO);
        assert_eq!(
            (delay(Jitter(-100)), delay(Jitter(100))),
            (Duration::from_millis(4500), Duration::from_millis(5500))
        );
    }

    #[test]
    fn retry_after_is_a_lower_bound_cut_at_900_seconds() {
        let schedule = Schedule::default();
        let with = |retry_after| {
            let item = after_call(5);
            schedule
                .delay(&item, &item.learned, failed(NOW, Some(retry_after), false), NOW, Jitter::NONE)
                .after(Duration::ZERO)
        };
        assert_eq!(with(secs(1)), Duration::from_secs_f64(25.3125));
        assert_eq!(with(secs(120)), secs(120));
        assert_eq!(with(secs(100_000)), secs(900));
    }

    #[test]
    fn the_last_delay_ends_with_the_budget() {
        let schedule = Schedule::default();
        let failing_since = NOW - secs(3600 - 40);
        let item = after_call(9);
        let delay =
            schedule.delay(&item, &item.learned, failed(failing_since, Some(secs(600)), false), NOW, Jitter::NONE);
        assert_eq!(delay.after(Duration::ZERO), secs(40));

        let near_deadline = Item { started_at_ms: NOW - secs(86_400 - 30), ..after_call(20) };
        assert_eq!(self::delay(&schedule, &near_deadline), secs(30));
    }

    #[test]
    fn a_call_that_may_land_late_delays_the_next_by_at_least_a_minute() {
        let schedule = Schedule::default();
        let item = Item { started_at_ms: NOW - secs(86_399), ..after_call(1) };
        let delay = schedule.delay(&item, &item.learned, failed(NOW - secs(3599), None, true), NOW, Jitter::NONE);
        assert_eq!(delay.after(Duration::ZERO), secs(60));
        assert_eq!(delay.after(secs(10)), secs(60));

        let long = Schedule::default().delay(
            &after_call(8),
            &PollState::default(),
            failed(NOW, None, true),
            NOW,
            Jitter::NONE,
        );
        assert_eq!(long.after(secs(10)).as_millis(), 75_429, "the part above a minute is shortened by the wait");
    }

    #[test]
    fn the_wait_for_the_shared_send_is_subtracted() {
        let delay = Schedule::default().delay(&after_call(1), &PollState::default(), None, NOW, Jitter::NONE);
        assert_eq!(delay.after(secs(3)), secs(2));
        assert_eq!(delay.after(secs(30)), secs(1));
        assert_eq!(Delay::NONE.after(secs(3)), Duration::ZERO);
    }

    #[test]
    fn each_redelivery_waits_longer() {
        let after = |count, chance| Schedule::default().redelivery_backoff(count, chance).as_secs_f64().round();
        let shortest: Vec<f64> = [1, 2, 3, 6, 7, 10, u32::MAX].map(|count| after(count, 0)).into();
        assert_eq!(shortest, [15.0, 30.0, 60.0, 480.0, 900.0, 900.0, 900.0]);
        assert_eq!((after(1, u16::MAX / 2), after(1, u16::MAX)), (18.0, 21.0));
    }

    #[test]
    fn speedup_shortens_delays_and_budgets_alike() {
        let schedule = Schedule { speedup: 100, ..Schedule::default() };
        assert_eq!(delay(&schedule, &after_call(1)), Duration::from_millis(50));
        assert_eq!(schedule.redelivery_backoff(1, 0), Duration::from_millis(150));
        assert!(!schedule.retries_exhausted(NOW, NOW + secs(35)));
        assert!(schedule.retries_exhausted(NOW, NOW + secs(36)));
        assert!(schedule.deadline_exceeded(NOW, NOW + secs(864)));
    }

    /// Any schedule that the settings allow.
    fn schedules() -> impl Strategy<Value = Schedule> {
        let budget = 0.1..315_360_000.0;
        ((0.1..900.0, 1.0..100.0, 0.1..900.0), budget.clone(), budget, 1..200_u32).prop_map(
            |((initial, poll_factor, max), retry, run_deadline, speedup)| Schedule {
                poll_initial: Duration::from_secs_f64(initial),
                poll_factor,
                poll_max: Duration::from_secs_f64(max),
                retry: Duration::from_secs_f64(retry),
                run_deadline: Duration::from_secs_f64(run_deadline),
                speedup,
                ..Schedule::default()
            },
        )
    }

    /// The same schedule with budgets that limit nothing.
    fn unbounded(schedule: &Schedule) -> Schedule {
        Schedule { retry: secs(315_360_000), run_deadline: secs(315_360_000), speedup: 1, ..schedule.clone() }
    }

    proptest! {
        #[test]
        fn delays_never_shrink(schedule in schedules(), polls in 1..2000_u32) {
            let schedule = unbounded(&schedule);
            let (one, next) = (delay(&schedule, &after_call(polls)), delay(&schedule, &after_call(polls + 1)));
            prop_assert!(one <= next, "{one:?}, then {next:?}");
            prop_assert!(next <= schedule.poll_max.max(secs(1)));
        }

        #[test]
        fn every_delay_respects_retry_after(
            schedule in schedules(), polls in 1..2000_u32, bits: u16, asked in 0..2000_u64, late: bool,
        ) {
            let (schedule, item) = (unbounded(&schedule), after_call(polls));
            let delay = schedule.delay(&item, &item.learned, failed(NOW, Some(secs(asked)), late), NOW, Jitter::from_random(bits));
            prop_assert!(delay.after(Duration::ZERO) >= secs(asked.min(900)));
        }

        #[test]
        fn the_next_poll_is_due_by_the_end_of_a_budget(
            schedule in schedules(), polls in 1..2000_u32, bits: u16, running in 0..400_000_000_u64,
            failing in 0..400_000_000_u64, asked in proptest::option::of(0..2000_u64),
        ) {
            let (running, failing) = (Duration::from_millis(running), Duration::from_millis(failing));
            let schedule = Schedule { speedup: 1, ..schedule };
            let item = Item { started_at_ms: NOW - running, ..after_call(polls) };
            let (jitter, asked) = (Jitter::from_random(bits), asked.map(secs));
            let delay = schedule.delay(&item, &item.learned, failed(NOW - failing, asked, false), NOW, jitter).after(Duration::ZERO);
            for left in [schedule.run_deadline.saturating_sub(running), schedule.retry.saturating_sub(failing)] {
                prop_assert!(delay <= left.max(secs(1)), "{delay:?} where {left:?} are left");
            }
        }

        #[test]
        fn time_in_the_outbox_counts_toward_the_delay(
            schedule in schedules(), polls in 1..2000_u32, late: bool, waits in (0..2000_u64, 0..2000_u64),
        ) {
            let delay = unbounded(&schedule).delay(&after_call(polls), &PollState::default(), failed(NOW, None, late), NOW, Jitter::NONE);
            let (short, long) = (waits.0.min(waits.1), waits.0.max(waits.1));
            prop_assert!(delay.after(secs(long)) <= delay.after(secs(short)));
            prop_assert!(delay.after(secs(short)) + secs(short) >= delay.after(Duration::ZERO));
            prop_assert!(!late || delay.after(secs(long)) >= secs(60));
        }

        #[test]
        fn every_delay_is_within_the_limits_of_sqs(
            polls in 1..=u32::MAX, bits: u16, failing in 0..10_000_000u64, running in 0..100_000_000u64,
            retry_after in proptest::option::of(0..u64::MAX), late: bool, waited in 0..2000u64,
        ) {
            let item = Item { started_at_ms: NOW - Duration::from_millis(running), ..after_call(polls) };
            let since = NOW - Duration::from_millis(failing);
            let retry_after = retry_after.map(Duration::from_secs);
            let delay = Schedule::default().delay(&item, &item.learned, failed(since, retry_after, late), NOW, Jitter::from_random(bits));
            let delay = delay.after(secs(waited));
            let least = if late { secs(60) } else { secs(1) };
            prop_assert!(delay >= least);
            prop_assert!(delay <= secs(900));
        }
    }
}

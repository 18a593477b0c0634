//! How many calls a second one process makes with one key.
//!
//! postpress limits each key by a token bucket, and the processes share no state: each keeps its share of the key's rate in a
//! bucket of its own. A 429 slows the whole process for that key, not only the run that received it.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Answer, Provider, SyncCall};
use crate::ids::Subject;

/// The longest that a message is sent away for: SQS's longest delay.
const BOOKED_MAX: Duration = Duration::from_mins(15);
/// RFC 6585.
const TOO_MANY_REQUESTS: u16 = 429;
/// How long no call begins after a 429 that does not say when to come back.
const HOLD: Duration = Duration::from_secs(5);
/// The longest that a 429 keeps the whole process from calling.
const HOLD_MAX: Duration = Duration::from_secs(60);
/// How long a halved pace takes to recover by the whole configured pace; from a half it takes half as long.
const RECOVERY: Duration = Duration::from_secs(120);
/// The lowest share of its pace that a process keeps, however many 429s it gets.
const SHARE_MIN: f64 = 1.0 / 16.0;

/// The calls a second that a key may be configured with.
pub const CALLS_PER_SECOND: RangeInclusive<f64> = 0.001..=100_000.0;

/// The share of a key's pace that one process keeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// From one call to the next.
    pub interval: Duration,
    /// How many calls may begin at once after a pause.
    pub burst: NonZeroU32,
}

impl Rate {
    /// The slowest pace of one process: a call in an hour.
    pub const SLOWEST: f64 = 1.0 / 3600.0;

    /// The share of one of `processes` that together make this many calls a second with one key, and begin `burst` at once (by
    /// default those of one second). A process calls at least once an hour.
    pub fn share(calls_per_second: f64, burst: Option<f64>, processes: NonZeroU32) -> Self {
        let own = (calls_per_second / f64::from(processes.get())).clamp(Self::SLOWEST, *CALLS_PER_SECOND.end());
        let burst = burst.unwrap_or(calls_per_second) / f64::from(processes.get());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast from a float saturates")]
        let burst = NonZeroU32::new(burst as u32).unwrap_or(NonZeroU32::MIN);
        Self { interval: Duration::from_secs_f64(1.0 / own), burst }
    }
}

/// How many calls a second a key makes at most, all processes together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PaceSettings {
    /// `BRIDGE_CALLS_PER_SECOND`; without it, only the provider's 429s slow the calls.
    pub calls_per_second: Option<f64>,
    /// `BRIDGE_CALLS_BURST`: how many calls may begin at once after a pause; without it, those of a second.
    pub burst: Option<f64>,
    /// `BRIDGE_MAX_CONCURRENCY`: how many processes there may be at once. Without it, each makes all of the calls.
    pub processes: Option<NonZeroU32>,
}

impl PaceSettings {
    /// The share of this process; `None` if nothing limits its calls.
    pub fn rate(&self) -> Option<Rate> {
        Some(Rate::share(self.calls_per_second?, self.burst, self.processes.unwrap_or(NonZeroU32::MIN)))
    }

    /// Whether the pace leaves each process less than a call an hour.
    pub fn is_too_slow(&self) -> bool {
        let processes = self.processes.map_or(1.0, |processes| f64::from(processes.get()));
        self.calls_per_second.is_some_and(|rate| rate / processes < Rate::SLOWEST)
    }

    /// The settings for a key that may have a rate of its own.
    #[must_use]
    pub fn with_own_rate(self, calls_per_second: Option<f64>) -> Self {
        match calls_per_second {
            Some(_) => Self { calls_per_second, burst: None, ..self },
            None => self,
        }
    }
}

/// The pace of one key in one process. Clones share it.
#[derive(Debug, Clone)]
pub struct Pace(Rc<Bucket>);

#[derive(Debug)]
struct Bucket {
    /// The tokens. Without one, only 429s slow the calls.
    limit: Option<Limit>,
    /// Held by the message whose turn is next. The others follow in the order in which they came.
    gate: Mutex<()>,
    /// How many messages wait at the gate or have passed it, and have no token yet.
    waiting: Cell<u32>,
    /// Tokens that were taken, and not used for a call.
    unused: Cell<u32>,
    slowed: Cell<Option<Slowed>>,
    /// When the last token was given.
    last: Cell<Option<Instant>>,
    /// When the last message that could not wait comes back.
    booked: Cell<Option<Instant>>,
}

#[derive(Debug)]
struct Limit {
    rate: Rate,
    tokens: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<std::time::Instant>>,
}

/// What a 429 does to the pace.
#[derive(Debug, Clone, Copy)]
struct Slowed {
    /// When the 429 came. A call that began earlier says nothing about the pace since.
    at: Instant,
    /// No call begins before.
    until: Instant,
    /// The share of the pace that is kept at first.
    share: f64,
}

/// Why a call may not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAdmitted {
    /// Its turn comes only after this time.
    Later(Duration),
    /// Its workspace is not configured.
    UnknownWorkspace,
}

/// The right to make one call. Given back unless it is spent.
#[derive(Debug, Default)]
#[must_use = "a token is given back when it is dropped"]
pub struct Token {
    bucket: Option<Rc<Bucket>>,
    /// How long it was waited for.
    pub waited: Duration,
}

/// tokio's clock, which tests can stop.
#[derive(Debug, Clone, Copy)]
struct TokioClock;

impl Clock for TokioClock {
    type Instant = std::time::Instant;

    fn now(&self) -> Self::Instant {
        Instant::now().into_std()
    }
}

impl Pace {
    /// A pace at this rate, with one token to begin with; `None` if only 429s limit it.
    pub fn new(rate: Option<Rate>) -> Self {
        let limit = rate.map(|rate| {
            // The fallback is never used: `Rate` has no interval of zero.
            let quota = Quota::with_period(rate.interval).unwrap_or(Quota::per_second(NonZeroU32::MIN));
            let tokens = RateLimiter::direct_with_clock(quota.allow_burst(rate.burst), TokioClock);
            if let Some(more) = NonZeroU32::new(rate.burst.get() - 1) {
                let _ = tokens.check_n(more); // a new process must not add a whole burst
            }
            Limit { rate, tokens }
        });
        Self(Rc::new(Bucket {
            limit,
            gate: Mutex::default(),
            waiting: Cell::default(),
            unused: Cell::default(),
            slowed: Cell::default(),
            last: Cell::default(),
            booked: Cell::default(),
        }))
    }

    /// Waits for a token, at most until then.
    ///
    /// # Errors
    /// How much later a token is to be expected, if that is too late. Such a message does not wait.
    pub async fn acquire(&self, until: Instant) -> Result<Token, Duration> {
        let began = Instant::now();
        let bucket = &self.0;
        let expected = bucket.expected();
        if expected > until {
            return Err(bucket.book(expected));
        }
        let waiting = Waiting::begin(bucket);
        let taken = match timeout_at(until, bucket.gate.lock()).await {
            Ok(_gate) => bucket.take(until).await,
            Err(_elapsed) => Err(until),
        };
        drop(waiting);
        match taken {
            Ok(()) => Ok(Token { bucket: Some(Rc::clone(bucket)), waited: began.elapsed() }),
            Err(expected) => Err(bucket.book(expected)),
        }
    }

    /// Slows down if this is a 429.
    pub fn react(&self, answer: &Answer, began: Instant) {
        if let Answer::Failed(failure) = answer
            && failure.status == TOO_MANY_REQUESTS
        {
            self.slow_down(began, failure.retry_after);
        }
    }

    /// Reacts to a 429, the answer to a call that began at `began`: no call begins for a while, and then at half the pace, which
    /// recovers.
    pub fn slow_down(&self, began: Instant, retry_after: Option<Duration>) {
        let now = Instant::now();
        let until = now + retry_after.unwrap_or(HOLD).min(HOLD_MAX);
        let slowed = match self.0.slowed.get() {
            Some(slowed) if began < slowed.at => Slowed { until: slowed.until.max(until), ..slowed },
            slowed => {
                let share = (slowed.map_or(1.0, |slowed| slowed.share(now)) / 2.0).max(SHARE_MIN);
                Slowed { at: now, until: slowed.map_or(until, |slowed| slowed.until.max(until)), share }
            }
        };
        self.0.slowed.set(Some(slowed));
    }
}

impl Bucket {
    /// Takes a token as soon as there is one. To be called by the message that is next.
    ///
    /// # Errors
    /// When there will be one, if that is after `until`.
    async fn take(&self, until: Instant) -> Result<(), Instant> {
        loop {
            let now = Instant::now();
            let ready = self.ready(now);
            let next = if ready > now {
                ready
            } else if self.unused.get() > 0 {
                self.unused.set(self.unused.get() - 1);
                break;
            } else {
                match self.limit.as_ref().map(|limit| limit.tokens.check()) {
                    Some(Err(not_yet)) => now + not_yet.wait_time_from(TokioClock.now()),
                    Some(Ok(())) | None => break,
                }
            };
            if next > until {
                return Err(next);
            }
            sleep_until(next).await; // a 429 may come meanwhile
        }
        self.last.set(Some(Instant::now()));
        Ok(())
    }

    /// Before then no token is given, because of a 429.
    fn ready(&self, now: Instant) -> Instant {
        let Some(slowed) = self.slowed.get() else { return now };
        let paced = match (self.last.get(), self.interval()) {
            (Some(last), Some(interval)) if slowed.share(now) < 1.0 => last + interval,
            _ => now,
        };
        slowed.until.max(paced)
    }

    /// From one token to the next.
    fn interval(&self) -> Option<Duration> {
        let limit = self.limit.as_ref()?;
        let share = self.slowed.get().map_or(1.0, |slowed| slowed.share(Instant::now()));
        Some(limit.rate.interval.div_f64(share))
    }

    /// When another message may expect its token.
    fn expected(&self) -> Instant {
        let now = Instant::now();
        let ready = self.ready(now).max(now);
        let (Some(limit), Some(interval)) = (&self.limit, self.interval()) else { return ready };
        // With a larger burst there may be a token already.
        let is_single = limit.rate.burst == NonZeroU32::MIN && self.unused.get() == 0;
        let next = self.last.get().filter(|_| is_single || self.waiting.get() > 0).map(|last| last + interval);
        ready.max(next.unwrap_or(ready)) + interval * self.waiting.get()
    }

    /// The time until a message that cannot wait comes back: such messages come back one at a time, at the pace. Those for which
    /// SQS's longest delay is too short come back together after that, and are booked again.
    fn book(&self, expected: Instant) -> Duration {
        let now = Instant::now();
        let after = self.booked.get().map(|booked| booked + self.interval().unwrap_or_default());
        let back = expected.max(self.expected()).max(after.unwrap_or(now)).min(now + BOOKED_MAX);
        self.booked.set(Some(back));
        back.saturating_duration_since(now)
    }
}

impl Slowed {
    /// The share of the pace that is kept now.
    fn share(&self, now: Instant) -> f64 {
        let recovered = now.saturating_duration_since(self.until).as_secs_f64() / RECOVERY.as_secs_f64();
        (self.share + recovered).min(1.0)
    }
}

impl Token {
    /// How many calls a second this process now makes with the key: its share of the pace, less after a 429. `None` if only 429s
    /// limit them.
    pub fn calls_per_second(&self) -> Option<f64> {
        Some(1.0 / self.bucket.as_ref()?.interval()?.as_secs_f64())
    }

    /// The call begins.
    pub fn spend(mut self) {
        self.bucket = None;
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let Some(bucket) = &self.bucket else { return };
        // At most a burst, as if it had never been taken.
        let burst = bucket.limit.as_ref().map_or(0, |limit| limit.rate.burst.get());
        bucket.unused.set((bucket.unused.get() + 1).min(burst));
    }
}

/// A message that waits for a token.
struct Waiting<'a>(&'a Bucket);

impl<'a> Waiting<'a> {
    fn begin(bucket: &'a Bucket) -> Self {
        bucket.waiting.set(bucket.waiting.get() + 1);
        Self(bucket)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get().saturating_sub(1));
    }
}

/// A provider whose calls keep to the pace of one key.
#[derive(Debug)]
pub struct Paced<P> {
    provider: P,
    pace: Pace,
}

impl<P> Paced<P> {
    /// The provider, at this pace.
    pub fn new(provider: P, pace: Pace) -> Self {
        Self { provider, pace }
    }
}

impl<P: Provider> Provider for Paced<P> {
    async fn sync(&self, call: &SyncCall, deadline: Duration) -> Answer {
        let began = Instant::now();
        let answer = self.provider.sync(call, deadline).await;
        self.pace.react(&answer, began);
        answer
    }

    async fn admit(&self, _: &Subject, until: Instant) -> Result<Token, NotAdmitted> {
        self.pace.acquire(until).await.map_err(NotAdmitted::Later)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::time::advance;

    use super::*;

    fn pace(calls_per_second: f64, burst: u32) -> Pace {
        let interval = Duration::from_secs_f64(1.0 / calls_per_second);
        Pace::new(Some(Rate { interval, burst: NonZeroU32::new(burst).unwrap() }))
    }

    fn secs(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// When each of so many calls begins that ask for a token at once.
    async fn begins(pace: &Pace, calls: usize) -> Vec<f64> {
        let now = Instant::now();
        let until = now + secs(3600.0);
        let call = async || {
            pace.acquire(until).await.unwrap().spend();
            (now.elapsed().as_secs_f64() * 10.0).round() / 10.0
        };
        join_all((0..calls).map(|_| call())).await
    }

    #[test]
    fn a_process_gets_its_share_and_at_least_a_burst_of_one() {
        let share = |rate, burst, processes| Rate::share(rate, burst, NonZeroU32::new(processes).unwrap());
        let rate = |interval, burst| Rate { interval: secs(interval), burst: NonZeroU32::new(burst).unwrap() };
        assert_eq!(share(20.0, Some(40.0), 10), rate(0.5, 4));
        assert_eq!(share(20.0, None, 10), rate(0.5, 2));
        assert_eq!(share(20.0, None, 100), rate(5.0, 1));
        assert_eq!(share(1.0, None, 3600), rate(3600.0, 1));
        assert_eq!(share(0.001, None, 1000), rate(3600.0, 1), "at least once an hour");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_begin_one_after_the_other_at_the_pace() {
        assert_eq!(begins(&pace(2.0, 4), 5).await, [0.0, 0.5, 1.0, 1.5, 2.0], "a new process has one token");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_saves_up_a_burst_and_no_more() {
        let pace = pace(2.0, 3);
        advance(secs(100.0)).await;
        assert_eq!(begins(&pace, 5).await, [0.0, 0.0, 0.0, 0.5, 1.0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_is_not_spent_is_used_by_the_next_call() {
        let pace = pace(0.5, 1);
        let until = Instant::now() + secs(60.0);
        drop(pace.acquire(until).await.unwrap());
        assert_eq!(begins(&pace, 2).await, [0.0, 2.0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_would_wait_too_long_does_not_wait_and_comes_back_at_the_pace() {
        let pace = pace(1.0, 1);
        let until = Instant::now() + secs(2.5);
        let asked = Instant::now();
        let turns = join_all((0..6).map(|_| pace.acquire(until))).await;
        let waits: Vec<_> =
            turns.into_iter().map(|turn| turn.map(Token::spend).map_err(|wait| wait.as_secs())).collect();
        assert_eq!(waits, [Ok(()), Ok(()), Ok(()), Err(3), Err(4), Err(5)]);
        assert_eq!(asked.elapsed(), secs(2.0), "the others do not wait");
    }

    #[tokio::test(start_paused = true)]
    async fn messages_come_back_at_the_pace_for_as_long_as_sqs_can_delay_them() {
        let pace = pace(1.0, 1);
        pace.acquire(Instant::now()).await.unwrap().spend();
        let back = async || pace.acquire(Instant::now()).await.unwrap_err().as_secs();
        for expected in (1..=900).chain([900; 1000]) {
            assert_eq!(back().await, expected);
        }
        advance(secs(900.0)).await;
        assert_eq!(begins(&pace, 2).await, [0.0, 1.0]);
        assert_eq!(back().await, 1, "the next ones follow those that came back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_is_far_off_is_not_waited_for_even_after_a_burst() {
        let pace = pace(0.01, 3);
        pace.acquire(Instant::now()).await.unwrap().spend();
        let asked = Instant::now();
        let later = pace.acquire(asked + secs(45.0)).await.unwrap_err();
        assert_eq!((later, asked.elapsed()), (secs(100.0), Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_that_are_given_back_never_exceed_a_burst() {
        let pace = pace(2.0, 3);
        let until = Instant::now() + secs(60.0);
        let tokens = join_all((0..20).map(|_| pace.acquire(until))).await;
        drop(tokens);
        assert_eq!(begins(&pace, 5).await, [0.0, 0.0, 0.0, 0.5, 1.0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_429_stops_the_calls_and_halves_the_pace_which_recovers() {
        let pace = pace(1.0, 1);
        assert_eq!(begins(&pace, 1).await, [0.0]);
        pace.slow_down(Instant::now(), Some(secs(10.0)));
        let begun = begins(&pace, 5).await;
        assert_eq!(begun[0], 10.0);
        assert!(begun.windows(2).all(|two| two[1] - two[0] > 1.5), "{begun:?}");
        advance(RECOVERY).await;
        let begun = begins(&pace, 3).await;
        assert_eq!(begun, [0.0, 1.0, 2.0]);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_were_on_their_way_together_halve_the_pace_once() {
        let pace = pace(1.0, 1);
        let began = Instant::now();
        advance(secs(1.0)).await;
        for _ in 0..20 {
            pace.slow_down(began, None);
        }
        assert_eq!(pace.0.interval(), Some(secs(2.0)));
        for _ in 0..20 {
            pace.slow_down(Instant::now(), None);
        }
        assert_eq!(pace.0.interval(), Some(secs(1.0 / SHARE_MIN)), "it never stops");
    }

    /// A stopped clock hides what depends on the time between two looks at it.
    #[tokio::test]
    async fn a_clock_that_runs_delays_no_call() {
        for pace in [Pace::new(None), pace(1000.0, 5)] {
            let calls = begins(&pace, 5);
            assert!(tokio::time::timeout(secs(5.0), calls).await.is_ok(), "a call waits for ever");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_only_a_429_makes_calls_wait() {
        let pace = Pace::new(None);
        assert_eq!(begins(&pace, 3).await, [0.0, 0.0, 0.0]);
        for (retry_after, waits) in [(None, 5.0), (Some(secs(2.5)), 5.0), (Some(secs(1e9)), 60.0)] {
            pace.slow_down(Instant::now(), retry_after);
            let late = pace.acquire(Instant::now() + secs(waits - 0.1)).await.unwrap_err();
            assert_eq!(late, secs(waits));
        }
        assert_eq!(begins(&pace, 2).await, [60.0, 60.0]);
    }
}

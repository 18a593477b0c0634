//! How long a backlog of chats takes at the pace of a key.

use std::time::Duration;

use serde::Serialize;

use crate::run::Schedule;
use crate::time::Millis;

/// A number of chats that are triggered at once, with syncs of one length.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Backlog {
    /// How many.
    pub chats: u32,
    /// The pace of their key, in calls a second.
    pub calls_per_second: f64,
    /// When the last of them is started, in seconds.
    pub started_seconds: f64,
    /// Calls for each sync: fewer than usual where polls wait for their turns.
    pub calls: u32,
    /// When the last ending is noticed, in seconds, if the provider's 429s do not slow the calls further.
    pub ended_seconds: f64,
    /// How many of their triggers are refused (`bridge/deadline_exceeded`), since their turn comes after
    /// `BRIDGE_RUN_DEADLINE_SECONDS`.
    pub refused: u32,
}

impl Backlog {
    /// Every chat is called in turn, so from one of its polls to the next it is as long as a call for each takes, or the delay
    /// of the poll if that is longer.
    pub fn of(chats: u32, calls_per_second: f64, length: Duration, schedule: &Schedule) -> Self {
        let turn = Duration::from_secs_f64(f64::from(chats) / calls_per_second);
        let (mut calls, mut at) = (1, Duration::ZERO);
        while at < length && calls < schedule.max_polls {
            at += schedule.next_poll(calls, Millis(0)).since(Millis(0)).max(turn);
            calls += 1;
        }
        let (started_seconds, spent) = (turn.as_secs_f64(), (turn * calls).max(turn + at));
        let refused = chats.saturating_sub(Self::largest(calls_per_second, schedule));
        Self { chats, calls_per_second, started_seconds, calls, ended_seconds: spent.as_secs_f64(), refused }
    }

    /// How many chats may be triggered at once so that the last one's turn comes before its trigger is refused.
    pub fn largest(calls_per_second: f64, schedule: &Schedule) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast from a float saturates")]
        let chats = (calls_per_second * schedule.run_deadline.as_secs_f64()) as u32;
        chats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backlog(chats: u32, calls_per_second: f64, minutes: u64) -> Backlog {
        Backlog::of(chats, calls_per_second, Duration::from_mins(minutes), &Schedule::default())
    }

    #[test]
    fn a_large_backlog_takes_as_long_as_its_calls() {
        // `virtual_time::pace` measures the first of them: 20,000 calls in 1,001 s.
        for (chats, rate, minutes, calls, seconds) in
            [(10_000, 20.0, 2, 2, 1_000.0), (10_000, 20.0, 30, 5, 2_500.0), (100_000, 100.0, 6, 2, 2_000.0)]
        {
            let Backlog { calls: made, started_seconds, ended_seconds, .. } = backlog(chats, rate, minutes);
            assert_eq!((made, ended_seconds), (calls, seconds), "{chats} {rate} {minutes}");
            assert!((started_seconds - f64::from(chats) / rate).abs() < 1e-6);
        }
    }

    #[test]
    fn triggers_whose_turn_comes_after_a_day_are_refused() {
        for (chats, rate, refused) in [(10_000, 20.0, 0), (8_640, 0.1, 0), (10_000, 0.1, 1_360), (u32::MAX, 1e5, 0)] {
            assert_eq!(backlog(chats, rate, 2).refused, refused, "{chats} {rate}");
        }
    }

    #[test]
    fn a_small_backlog_takes_as_long_as_its_last_sync_and_polls() {
        let small = backlog(10, 20.0, 6);
        assert_eq!(small.calls, 10, "as on a quiet queue");
        assert!((360.0..600.0).contains(&small.ended_seconds), "{small:?}");
    }
}

//! Faults in transit, generated from a seed.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sha2::{Digest, Sha256};

use super::span::Span;
use crate::ids::Subject;

/// The 5xx of a gateway in front of the provider, which have no envelope.
const GATEWAY_ERRORS: [u16; 4] = [500, 502, 503, 504];

/// The rates of faults, and the latency. By default there are no faults and no latency.
///
/// A call has at most one fault, so the rates should add up to at most 1. `simulate` shows the fields as its options.
#[derive(Debug, Clone, Copy, PartialEq, Args)]
pub struct Faults {
    /// How long an answer takes: a duration (`200ms`), or a range for random ones (`50ms..2s`)
    // Half of it is the request, half the reply.
    #[arg(long, default_value = "0ms", value_name = "TIME")]
    pub latency: Span,

    /// Share of the calls, from 0 to 1, whose connection closes before they have an effect
    #[arg(long, default_value_t = 0.0, value_parser = parse_rate, value_name = "RATE")]
    pub drop_request_rate: f64,

    /// Share of the calls that have their effect, but whose connection closes without a reply
    #[arg(long, default_value_t = 0.0, value_parser = parse_rate, value_name = "RATE")]
    pub drop_reply_rate: f64,

    /// Share of the calls that are answered with a 5xx and have no effect
    #[arg(long, default_value_t = 0.0, value_parser = parse_rate, value_name = "RATE")]
    pub error_rate: f64,

    /// Share of the calls that are never answered, and have their effect after `--late-after`
    #[arg(long, default_value_t = 0.0, value_parser = parse_rate, value_name = "RATE")]
    pub late_rate: f64,

    /// How long after it is sent a late call has its effect: a duration, or a range for random ones
    #[arg(long, default_value = "30s", value_name = "TIME")]
    pub late_after: Span,

    /// How many calls a second the key allows; further ones are answered with a 429 and have no effect
    #[arg(long, value_parser = parse_calls, value_name = "CALLS")]
    pub calls_per_second: Option<f64>,

    /// How many calls the key allows at once after a pause, with `--calls-per-second`
    #[arg(long, default_value_t = 1.0, value_parser = parse_calls, value_name = "CALLS")]
    pub calls_burst: f64,

    /// Seed of the faults; with the same seed, the n-th call of a chat has the same fault
    // Whatever other calls there are.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

fn parse_calls(text: &str) -> anyhow::Result<f64> {
    let calls: f64 = text.parse().context("not a number")?;
    anyhow::ensure!((0.001..=1e6).contains(&calls), "not a number from 0.001 to 1000000");
    Ok(calls)
}

pub(crate) fn parse_rate(text: &str) -> anyhow::Result<f64> {
    let rate: f64 = text.parse().context("not a number")?;
    anyhow::ensure!((0.0..=1.0).contains(&rate), "not a number from 0 to 1");
    Ok(rate)
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            seed: 0,
            latency: Span::default(),
            drop_request_rate: 0.0,
            drop_reply_rate: 0.0,
            error_rate: 0.0,
            late_rate: 0.0,
            late_after: Span::fixed(Duration::from_secs(30)),
            calls_per_second: None,
            calls_burst: 1.0,
        }
    }
}

/// What happens to one call. By default it arrives without delay or fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fate {
    /// How long the request takes.
    pub there: Duration,
    /// How long the reply takes.
    pub back: Duration,
    /// The fault.
    pub mishap: Mishap,
}

/// The fault of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mishap {
    /// No fault.
    #[default]
    None,
    /// The connection closes before the request is read.
    RequestLost,
    /// The connection closes after the call has had its effect.
    ReplyLost,
    /// A gateway answers with this status; the call does not reach the provider.
    Refused(u16),
    /// There is never an answer; the call arrives late.
    Late,
}

impl Faults {
    /// What share of all calls has a fault, if it is at most 1.
    pub fn sum_of_rates(&self) -> f64 {
        self.drop_request_rate + self.drop_reply_rate + self.error_rate + self.late_rate
    }

    /// The fate of the call for `chat` after `earlier` others for that chat.
    ///
    /// Each call has its own generator: calls of several chats race, and their order must not affect their fates.
    pub fn fate(&self, chat: &Subject, earlier: u64) -> Fate {
        let mut random = self.generator(chat, earlier);
        // Always generate all values, so that changing one rate leaves the others unchanged.
        let leg = self.latency.at(random.random()) / 2;
        let mishap = self.mishap(random.random(), random.random_range(0..GATEWAY_ERRORS.len()));
        let late = self.late_after.at(random.random());
        let there = if mishap == Mishap::Late { late } else { leg };
        Fate { there, back: leg, mishap }
    }

    fn generator(&self, chat: &Subject, earlier: u64) -> StdRng {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_be_bytes());
        hash.update(earlier.to_be_bytes());
        hash.update(chat.id());
        StdRng::from_seed(hash.finalize().into())
    }

    /// The mishap whose interval contains `point`, with the rates as adjacent intervals from 0.
    fn mishap(&self, point: f64, gateway_error: usize) -> Mishap {
        let mut end = 0.0;
        for (rate, mishap) in [
            (self.drop_request_rate, Mishap::RequestLost),
            (self.drop_reply_rate, Mishap::ReplyLost),
            (self.error_rate, Mishap::Refused(GATEWAY_ERRORS[gateway_error])),
            (self.late_rate, Mishap::Late),
        ] {
            end += rate;
            if point < end {
                return mishap;
            }
        }
        Mishap::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(faults: &Faults, id: &str) -> Vec<Fate> {
        let chat = Subject::chat(id).unwrap();
        (0..1_000).map(|earlier| faults.fate(&chat, earlier)).collect()
    }

    fn rough() -> Faults {
        Faults {
            latency: "10ms..90ms".parse().unwrap(),
            drop_request_rate: 0.1,
            drop_reply_rate: 0.2,
            error_rate: 0.3,
            late_rate: 0.1,
            ..Faults::default()
        }
    }

    #[test]
    fn default_has_no_faults() {
        assert!(fates(&Faults::default(), "done").iter().all(|fate| *fate == Fate::default()));
    }

    #[test]
    fn seed_reproduces_every_fate() {
        assert_eq!(fates(&rough(), "done"), fates(&rough(), "done"));
        assert_ne!(fates(&rough(), "done"), fates(&Faults { seed: 1, ..rough() }, "done"));
        assert_ne!(fates(&rough(), "done"), fates(&rough(), "done~2"));
    }

    #[test]
    fn rates_are_shares_of_all_calls() {
        let fates = fates(&rough(), "done");
        let share = |wanted: fn(&Mishap) -> bool| fates.iter().filter(|fate| wanted(&fate.mishap)).count();
        for (count, expected) in [
            (share(|mishap| *mishap == Mishap::RequestLost), 100),
            (share(|mishap| *mishap == Mishap::ReplyLost), 200),
            (share(|mishap| matches!(mishap, Mishap::Refused(500..=504))), 300),
            (share(|mishap| *mishap == Mishap::Late), 100),
            (share(|mishap| *mishap == Mishap::None), 300),
        ] {
            assert!(count.abs_diff(expected) < 60, "{count} instead of about {expected}");
        }
    }

    #[test]
    fn latency_is_split_between_request_and_reply() {
        for fate in fates(&rough(), "done") {
            let there = if fate.mishap == Mishap::Late { Duration::from_secs(30) } else { fate.back };
            assert_eq!(fate.there, there);
            assert!((5..=45).contains(&fate.back.as_millis()), "{fate:?}");
        }
    }
}

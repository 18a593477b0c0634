//! What goes wrong on the way, drawn from a seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sha2::{Digest, Sha256};

use super::span::Span;
use crate::ids::ChatId;

/// The 5xx of a gateway in front of the provider: they carry no envelope.
const GATEWAY_ERRORS: [u16; 4] = [500, 502, 503, 504];

/// How often what goes wrong. The default is that nothing does, and that nothing takes time.
///
/// The rates are shares of all calls, from 0 to 1. At most one of these things happens to a call, so they should add up
/// to no more than 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Faults {
    /// The same seed does the same to the n-th call of the same chat, whatever is going on beside it.
    pub seed: u64,
    /// How long an answer takes, half of it on the way there and half on the way back.
    pub latency: Span,
    /// Calls lost before they reach the provider: nothing changes there.
    pub drop_request_rate: f64,
    /// Calls that do their work and whose reply is lost.
    pub drop_reply_rate: f64,
    /// Calls answered with a 5xx that start nothing.
    pub error_rate: f64,
    /// Calls that get no answer until their caller gives up, and that reach the provider after [`Faults::late_after`].
    pub late_rate: f64,
    /// How long after its sending a late call arrives.
    pub late_after: Span,
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
        }
    }
}

/// What is going to happen to one call. The default is nothing, in no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fate {
    /// The time it takes to the provider.
    pub there: Duration,
    /// The time its reply takes.
    pub back: Duration,
    /// What goes wrong.
    pub mishap: Mishap,
}

/// The one thing that goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mishap {
    /// Nothing.
    #[default]
    None,
    /// The connection closes before the call is read.
    RequestLost,
    /// The connection closes after the call has done its work.
    ReplyLost,
    /// A gateway answers with this status in the provider's stead.
    Refused(u16),
    /// The caller hears nothing until it gives up; the call arrives all the same.
    Late,
}

impl Faults {
    /// What happens to the call of `chat` that comes after `earlier` others of that chat.
    ///
    /// A generator of its own for each call, and not one for all, since calls of several chats race each other: their
    /// order must not decide what happens to them.
    pub fn fate(&self, chat: &ChatId, earlier: u64) -> Fate {
        let mut random = self.generator(chat, earlier);
        // All are drawn, needed or not, so that one rate changed leaves the other draws as they were.
        let leg = self.latency.at(random.random()) / 2;
        let mishap = self.mishap(random.random(), random.random_range(0..GATEWAY_ERRORS.len()));
        let late = self.late_after.at(random.random());
        let there = if mishap == Mishap::Late { late } else { leg };
        Fate { there, back: leg, mishap }
    }

    fn generator(&self, chat: &ChatId, earlier: u64) -> StdRng {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_be_bytes());
        hash.update(earlier.to_be_bytes());
        hash.update(chat.as_str());
        StdRng::from_seed(hash.finalize().into())
    }

    /// The rates laid end to end from 0: the mishap on whose stretch `point` falls.
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
        let chat = ChatId::parse(id).unwrap();
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
    fn by_default_nothing_goes_wrong() {
        assert!(fates(&Faults::default(), "done").iter().all(|fate| *fate == Fate::default()));
    }

    #[test]
    fn a_seed_reproduces_every_fate() {
        assert_eq!(fates(&rough(), "done"), fates(&rough(), "done"));
        assert_ne!(fates(&rough(), "done"), fates(&Faults { seed: 1, ..rough() }, "done"));
        assert_ne!(fates(&rough(), "done"), fates(&rough(), "done~2"));
    }

    #[test]
    fn the_rates_are_shares_of_all_calls() {
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
    fn latency_is_split_between_the_two_ways() {
        for fate in fates(&rough(), "done") {
            let there = if fate.mishap == Mishap::Late { Duration::from_secs(30) } else { fate.back };
            assert_eq!(fate.there, there);
            assert!((5..=45).contains(&fate.back.as_millis()), "{fate:?}");
        }
    }
}

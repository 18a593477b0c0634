//! Deaths at random moments of an invocation, drawn from a seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// What the first invocations are taken to last.
const FIRST_GUESS: Duration = Duration::from_millis(300);

/// Chooses the invocations that are killed, and when.
///
/// The moments are spread over what an invocation lasts on this machine, now: else a slow one would be killed far more
/// often than a fast one.
pub(crate) struct Killer {
    random: StdRng,
    /// Of the invocations, those that are to be killed.
    share: f64,
    /// What an invocation lasts that is left alone: a moving average.
    usual: Duration,
}

impl Killer {
    pub(crate) fn new(seed: u64, share: f64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), share, usual: FIRST_GUESS }
    }

    /// How long the next invocation lives; nothing if it is left alone. One that ends sooner gets away.
    pub(super) fn choose(&mut self) -> Option<Duration> {
        let (chosen, moment): (bool, f64) = (self.random.random_bool(self.share), self.random.random());
        chosen.then(|| self.usual.mul_f64(moment))
    }

    pub(super) fn learn(&mut self, lasted: Duration) {
        self.usual = (self.usual * 9 + lasted) / 10;
    }
}

//! Kills at random moments of an invocation, from a seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The initial estimate of an invocation's duration.
const FIRST_GUESS: Duration = Duration::from_millis(300);

/// Chooses which invocations are killed, and when.
///
/// The moments are spread over the current duration of an invocation on this machine: otherwise a slow one would be killed
/// far more often than a fast one.
pub(crate) struct Killer {
    random: StdRng,
    /// The share of the invocations to kill.
    share: f64,
    /// The duration of an undisturbed invocation: a moving average.
    usual: Duration,
}

impl Killer {
    pub(crate) fn new(seed: u64, share: f64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), share, usual: FIRST_GUESS }
    }

    /// When to kill the next invocation; `None` to leave it alone. One that ends sooner survives.
    pub(super) fn choose(&mut self) -> Option<Duration> {
        let (chosen, moment): (bool, f64) = (self.random.random_bool(self.share), self.random.random());
        chosen.then(|| self.usual.mul_f64(moment))
    }

    pub(super) fn learn(&mut self, lasted: Duration) {
        self.usual = (self.usual * 9 + lasted) / 10;
    }
}

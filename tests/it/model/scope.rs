//! The worlds to search: which triggers are sent, how many handlers run at once, and the possible faults.

use std::fmt;

use super::faults::Faults;

/// One world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scope {
    /// The request of each trigger message. Messages of one request share an `idempotency_key`.
    pub(super) requests: &'static [u8],
    pub(super) handlers: usize,
    pub(super) faults: Faults,
}

pub(super) const ONE: &[u8] = &[1];
pub(super) const TWO: &[u8] = &[1, 2];
pub(super) const THREE: &[u8] = &[1, 2, 3];
/// Two messages of one request.
pub(super) const TWINS: &[u8] = &[1, 1];
/// Two messages of one request, and one of another.
pub(super) const TWINS_AND_ANOTHER: &[u8] = &[1, 1, 2];

const NONE: Faults = Faults::NONE;

pub(super) const SMALL: &[Scope] = &[
    scope(THREE, 2, NONE),
    scope(TWO, 2, Faults { duplicates: 1, ..NONE }),
    scope(TWO, 2, Faults { crashes: 1, ..NONE }),
    scope(TWO, 1, Faults { crashes: 1, duplicates: 1, ..NONE }),
    scope(ONE, 2, Faults { crashes: 1, duplicates: 1, ..NONE }),
    scope(ONE, 2, Faults { lost: 1, failed: 1, ..NONE }),
    scope(ONE, 2, Faults { failed: 1, late: 1, ..NONE }),
    scope(ONE, 1, Faults { crashes: 1, late: 1, early_sweeps: 1, ..NONE }),
    scope(ONE, 2, Faults { dead_letters: 1, duplicates: 1, ..NONE }),
    scope(ONE, 1, Faults { dead_letters: 1, crashes: 1, ahead: 2, ..NONE }),
    scope(ONE, 2, Faults { skews: 1, duplicates: 1, ..NONE }),
    scope(ONE, 2, Faults { skews: 1, early_sweeps: 1, ..NONE }),
    scope(TWINS_AND_ANOTHER, 2, NONE),
    scope(TWINS, 2, Faults { crashes: 1, ..NONE }),
    scope(TWINS, 2, Faults { duplicates: 1, ..NONE }),
];

pub(super) const LARGE: &[Scope] = &[
    scope(TWO, 2, Faults { duplicates: 2, ..NONE }),
    scope(THREE, 2, Faults { duplicates: 1, ..NONE }),
    scope(THREE, 2, Faults { crashes: 1, ..NONE }),
    scope(ONE, 2, Faults { skews: 1, duplicates: 1, lost: 1, failed: 1, ..NONE }),
    scope(TWO, 2, Faults { skews: 1, duplicates: 1, crashes: 1, ..NONE }),
    scope(TWO, 2, Faults { crashes: 1, lost: 1, dead_letters: 1, early_sweeps: 1, ..NONE }),
    scope(TWO, 2, Faults { crashes: 1, failed: 1, late: 1, ..NONE }),
    scope(TWO, 2, Faults { failed: 2, duplicates: 1, ..NONE }),
    scope(ONE, 2, Faults { skews: 1, crashes: 1, duplicates: 1, lost: 1, early_sweeps: 1, ..NONE }),
    scope(ONE, 2, Faults { dead_letters: 1, crashes: 1, duplicates: 1, failed: 1, late: 1, ..NONE }),
    scope(TWO, 2, Faults { dead_letters: 1, crashes: 1, early_sweeps: 1, ahead: 2, ..NONE }),
    scope(THREE, 2, Faults { crashes: 1, duplicates: 1, ..NONE }),
    scope(TWO, 2, Faults { crashes: 2, duplicates: 2, ..NONE }),
    scope(TWINS, 2, Faults { crashes: 1, duplicates: 1, lost: 1, ..NONE }),
    scope(TWINS_AND_ANOTHER, 2, Faults { crashes: 1, duplicates: 1, ..NONE }),
];

pub(super) const fn scope(requests: &'static [u8], handlers: usize, faults: Faults) -> Scope {
    Scope { requests, handlers, faults }
}

impl Scope {
    /// Whether several messages carry this request.
    pub(super) fn is_repeated(&self, request: u8) -> bool {
        self.requests.iter().filter(|other| **other == request).count() > 1
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, handlers, faults } = self;
        let plural = |count| if count == 1 { "" } else { "s" };
        write!(f, "{} trigger{}", requests.len(), plural(requests.len()))?;
        if requests.iter().any(|request| self.is_repeated(*request)) {
            f.write_str(" (two of one request)")?;
        }
        write!(f, ", {handlers} handler{}, {faults}", plural(*handlers))
    }
}

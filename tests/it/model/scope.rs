//! The worlds to search: which triggers are sent, how many handlers run at once, and the possible faults.

use std::fmt;

use super::faults::Faults;

/// One world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scope {
    /// The request of each trigger message. Messages of one request share an `idempotency_key`.
    pub(super) requests: &'static [u8],
    /// What is sent later, once each, while a run is active.
    pub(super) later: &'static [Later],
    pub(super) handlers: usize,
    pub(super) faults: Faults,
    /// Whether the turn of a message to call may come too late for its delivery, any number of times.
    pub(super) is_paced: bool,
}

/// A message that is sent while a run is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Later {
    /// A request to cancel the run.
    Cancel,
    /// A trigger for a sync that begins after it.
    AfterRequest,
    /// A trigger for a sync with other options. Only an account's sync has options.
    OtherOptions,
}

impl Later {
    pub(super) fn body(self) -> &'static str {
        match self {
            Self::Cancel => r#"{"action": "cancel", "chat_id": "c"}"#,
            Self::AfterRequest => r#"{"after_request": true, "chat_id": "c"}"#,
            Self::OtherOptions => r#"{"account_id": "c", "resync": {"partial": true}}"#,
        }
    }

    /// What happens, for the trace.
    pub(super) fn is_sent(self) -> &'static str {
        match self {
            Self::Cancel => "a cancel is sent",
            Self::AfterRequest => "a trigger is sent that may not join an earlier run",
            Self::OtherOptions => "a trigger is sent that may not join a run with other options",
        }
    }
}

/// A trigger that may have to wait.
pub(super) const WAITING: &[Later] = &[Later::AfterRequest];
/// A trigger for an account that may have to wait.
pub(super) const OTHER_OPTIONS: &[Later] = &[Later::OtherOptions];
/// A trigger that may have to wait, and a cancel.
pub(super) const WAITING_AND_CANCEL: &[Later] = &[Later::AfterRequest, Later::Cancel];
/// Two cancels.
pub(super) const TWO_CANCELS: &[Later] = &[Later::Cancel, Later::Cancel];
/// A cancel.
pub(super) const CANCEL: &[Later] = &[Later::Cancel];

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
    scope(TWO, 2, NONE).with(CANCEL),
    scope(TWO, 1, Faults { crashes: 1, ..NONE }).with(CANCEL),
    scope(ONE, 2, Faults { crashes: 1, ..NONE }).with(CANCEL),
    scope(ONE, 2, Faults { duplicates: 1, ..NONE }).with(CANCEL),
    scope(ONE, 1, Faults { failed: 1, crashes: 1, ..NONE }).with(CANCEL),
    scope(ONE, 1, Faults { dead_letters: 1, crashes: 1, ..NONE }).with(CANCEL),
    scope(ONE, 1, Faults { failed: 1, late: 1, ..NONE }).with(CANCEL),
    scope(ONE, 2, Faults { skews: 1, ..NONE }).with(CANCEL),
    scope(TWO, 2, NONE).with(WAITING),
    scope(ONE, 2, Faults { crashes: 1, ..NONE }).with(WAITING),
    scope(ONE, 2, Faults { duplicates: 1, ..NONE }).with(WAITING),
    scope(ONE, 1, Faults { failed: 1, lost: 1, ..NONE }).with(WAITING),
    scope(ONE, 1, Faults { dead_letters: 1, crashes: 1, ..NONE }).with(WAITING),
    scope(ONE, 2, NONE).with(WAITING_AND_CANCEL),
    scope(TWO, 2, NONE).with(OTHER_OPTIONS),
    scope(ONE, 2, Faults { crashes: 1, ..NONE }).with(OTHER_OPTIONS),
    scope(TWO, 2, NONE).paced(),
    scope(ONE, 2, Faults { crashes: 1, ..NONE }).paced(),
    scope(ONE, 2, Faults { duplicates: 1, ..NONE }).paced(),
    scope(ONE, 1, Faults { failed: 1, lost: 1, ..NONE }).paced(),
    scope(ONE, 1, NONE).with(WAITING_AND_CANCEL).paced(),
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
    scope(TWO, 2, Faults { crashes: 1, duplicates: 1, ..NONE }).with(CANCEL),
    scope(ONE, 2, Faults { crashes: 1, lost: 1, failed: 1, ..NONE }).with(CANCEL),
    scope(ONE, 2, Faults { failed: 1, late: 1, duplicates: 1, ..NONE }).with(CANCEL),
    scope(ONE, 2, Faults { dead_letters: 1, crashes: 1, early_sweeps: 1, ..NONE }).with(CANCEL),
    scope(TWO, 2, Faults { duplicates: 1, ..NONE }).with(TWO_CANCELS),
    scope(TWO, 2, Faults { crashes: 1, duplicates: 1, ..NONE }).with(WAITING),
    scope(ONE, 2, Faults { lost: 1, failed: 1, late: 1, ..NONE }).with(WAITING),
    scope(ONE, 2, Faults { dead_letters: 1, crashes: 1, early_sweeps: 1, ..NONE }).with(WAITING),
    scope(ONE, 2, Faults { crashes: 1, duplicates: 1, ..NONE }).with(WAITING_AND_CANCEL),
    scope(TWO, 2, Faults { crashes: 1, duplicates: 1, ..NONE }).with(OTHER_OPTIONS),
    scope(ONE, 2, Faults { crashes: 1, duplicates: 1, ..NONE }).paced(),
    scope(ONE, 2, Faults { lost: 1, failed: 1, late: 1, ..NONE }).paced(),
    scope(ONE, 2, Faults { dead_letters: 1, crashes: 1, ..NONE }).paced(),
    scope(ONE, 2, Faults { crashes: 1, ..NONE }).with(CANCEL).paced(),
    scope(ONE, 2, Faults { crashes: 1, ..NONE }).with(WAITING).paced(),
    scope(TWINS, 2, Faults { crashes: 1, duplicates: 1, lost: 1, ..NONE }),
    scope(TWINS_AND_ANOTHER, 2, Faults { crashes: 1, duplicates: 1, ..NONE }),
];

pub(super) const fn scope(requests: &'static [u8], handlers: usize, faults: Faults) -> Scope {
    Scope { requests, later: &[], handlers, faults, is_paced: false }
}

impl Scope {
    /// The same world, in which these messages are sent while a run is active.
    pub(super) const fn with(self, later: &'static [Later]) -> Self {
        Self { later, ..self }
    }

    /// The same world, in which messages wait for their turn to call.
    pub(super) const fn paced(self) -> Self {
        Self { is_paced: true, ..self }
    }

    /// The member of a body that names what is synced.
    pub(super) fn id_field(&self) -> &'static str {
        if self.later.contains(&Later::OtherOptions) { "account_id" } else { "chat_id" }
    }

    /// Whether several messages carry this request.
    pub(super) fn is_repeated(&self, request: u8) -> bool {
        self.requests.iter().filter(|other| **other == request).count() > 1
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, later, handlers, faults, is_paced } = self;
        let plural = |count| if count == 1 { "" } else { "s" };
        write!(f, "{} trigger{}", requests.len(), plural(requests.len()))?;
        if requests.iter().any(|request| self.is_repeated(*request)) {
            f.write_str(" (two of one request)")?;
        }
        later.iter().try_for_each(|later| write!(f, ", {later:?}"))?;
        write!(f, ", {handlers} handler{}, {faults}", plural(*handlers))?;
        if *is_paced { f.write_str(", paced") } else { Ok(()) }
    }
}

//! Each clause of the protocol, left out: what catches it, or why nothing can.
//!
//! Not here, since the model has no such thing, and where it is tried instead:
//!
//! | clause | tried in |
//! | --- | --- |
//! | what claims copy and count: `learned`, `polls`; budgets and delays, the 60 s after a timeout among them | `src/run/ending.rs`, `src/run/schedule.rs` |
//! | no item any more (refused 2), keys that are forgotten, the last 128 | `src/run/handling_tests.rs`, `src/run/item.rs` |
//! | 50 triggers; at most 5 decisions, which only end a fight that costs receives | `src/run/handling_tests.rs` |
//! | call deadline, permits, retries of AWS calls, every entry of a batch checked | `src/worker/`, `src/bus/`, `src/queue/` |
//! | the moves of `sweep_at_ms` and its order, 1,000 runs a sweep | `src/run/sweep.rs`, `src/worker/` |
//!
//! Said twice in the protocol, so that it cannot be left out alone: a refused join whose key is there (trigger 2 says the
//! same), that a run started over has ended and is published (it was so when it was read, and stays so), and a refused poll of
//! another run (nothing there is its own, so that it is superseded). An answer that would travel in a poll before its write
//! was tried costs a message; that `seen` moves at starts only saves the bytes until then.

use super::faults::Faults;
use super::mutant::Mutant::{self, *};

const NONE: Faults = Faults::NONE;
const DUPLICATE: Faults = Faults { duplicates: 1, ..NONE };
const CRASH: Faults = Faults { crashes: 1, ..NONE };
const FAILED: Faults = Faults { failed: 1, ..NONE };
const DEAD_LETTER: Faults = Faults { dead_letters: 1, ..NONE };
const DUPLICATE_AND_CRASH: Faults = Faults { duplicates: 1, crashes: 1, ..NONE };
const DEAD_LETTER_AND_CRASH: Faults = Faults { dead_letters: 1, crashes: 1, ..NONE };

/// A clause, what does without it, and the triggers, handlers and misfortunes that it takes to show.
pub(super) type Caught = (&'static str, Mutant, usize, usize, Faults);

pub(super) const CAUGHT: &[Caught] = &[
    ("a message must claim before the provider is called", SupersededPollCalls, 1, 2, DUPLICATE),
    ("a claim sets a new fence", ClaimKeepsTheFence, 1, 2, DUPLICATE),
    ("a claim sets the holder", ClaimKeepsTheHolder, 1, 1, CRASH),
    ("a claim sets the lease", ClaimKeepsTheLease, 1, 2, DUPLICATE),
    ("poll and trigger claim an active run only", ClaimIgnoresThePhase, 1, 1, DUPLICATE),
    ("poll: the item's fence is the message's", PollIgnoresTheFence, 1, 2, DUPLICATE),
    ("poll: with the fence, the lease does not matter", PollWaitsForTheLease, 1, 1, NONE),
    ("poll: or it holds the run and its lease is over", PollNeverClaimsAgain, 1, 1, CRASH),
    ("poll: its lease must be over", PollIgnoresTheLease, 1, 2, DUPLICATE),
    ("refused 3: ended and unpublished is published", PollLeavesAnEnding, 1, 1, CRASH),
    ("refused 3: whoever holds it", PollLeavesAnEndingOfOthers, 1, 1, DEAD_LETTER_AND_CRASH),
    ("refused 5: held by itself, it comes back", PollLeavesWhileHeld, 1, 2, DUPLICATE_AND_CRASH),
    ("refused 5: as of the refused write's time", PollJudgesByTheClock, 1, 2, DUPLICATE_AND_CRASH),
    ("refused 6: superseded is dropped", SupersededPollComesBack, 1, 2, DUPLICATE_AND_CRASH),
    ("trigger 1: its lease over, it claims again", TriggerNeverClaimsAgain, 1, 1, CRASH),
    ("trigger 1: its lease held, it comes back", TriggerLeavesWhileHeld, 1, 2, DUPLICATE_AND_CRASH),
    ("trigger 1: no claim while the lease is held", TriggerIgnoresTheLease, 1, 2, DUPLICATE),
    ("trigger 1: its ending unpublished, it publishes", TriggerLeavesItsEnding, 1, 1, Faults { crashes: 2, ..NONE }),
    ("trigger 2: a known key is a duplicate", TriggerForgetsItsKey, 1, 1, DUPLICATE),
    ("trigger 2: also that of an earlier run", TriggerForgetsEarlierRuns, 2, 1, DUPLICATE),
    ("trigger 3: joins under the run as read", JoinIgnoresTheRun, 3, 2, DUPLICATE),
    ("trigger 3: joins an active run only", JoinIgnoresThePhase, 2, 2, NONE),
    ("trigger 3: joins once", JoinIgnoresTheKey, 2, 2, DUPLICATE),
    ("trigger 3: a join leaves the fence alone", JoinTakesTheFence, 2, 2, NONE),
    ("trigger 3: acknowledged once joined", FailedJoinIsAcknowledged, 2, 1, FAILED),
    ("trigger 4: having published, it decides again", PublishesAndIsDone, 2, 2, NONE),
    ("trigger 4: an unpublished ending is published first", StartsOverAnUnpublishedEnding, 2, 1, CRASH),
    ("trigger 5: starts where there is nothing", StartIgnoresTheItem, 2, 2, NONE),
    ("trigger 5: or after the run as read", StartIgnoresTheRun, 3, 2, DUPLICATE),
    ("trigger 5: a start is a new run", StartKeepsTheRun, 2, 1, NONE),
    ("trigger 5: with this trigger", StartForgetsItsTrigger, 1, 1, NONE),
    ("trigger 5: and its key", StartForgetsItsKey, 1, 1, DUPLICATE),
    ("trigger 5: the old keys move into `seen`", StartForgetsEarlierKeys, 2, 1, DUPLICATE),
    ("trigger 5: and is indexed", StartIsNotIndexed, 1, 1, DEAD_LETTER),
    ("trigger writes: never go on because of the key alone", KeyAloneCalls, 1, 2, DUPLICATE),
    ("trigger writes: refused, it decides again", RefusedStartIsDropped, 2, 2, NONE),
    ("in progress: a poll with our claim is sent", PollNamesAnotherClaim, 1, 1, NONE),
    ("in progress: acknowledged once it is sent", FailedSendIsAcknowledged, 1, 1, FAILED),
    ("ending 1: written under our claim", EndIgnoresTheFence, 1, 2, Faults { crashes: 1, late: 1, ..NONE }),
    ("ending 1: failed, it travels on, and does not come back", FailedEndComesBack, 1, 1, FAILED),
    ("ending 1: in a poll that carries the answer", FailedEndPollsOn, 1, 1, FAILED),
    ("ending 1: which makes no call", AnswerIsForgotten, 1, 1, FAILED),
    ("ending 2: published from the item that the write returned", EndForgetsWhoJoined, 2, 2, NONE),
    ("ending 2: published after it is recorded", PublishesBeforeItRecords, 1, 1, NONE),
    ("ending 2: a failure brings the message back", FailedPublishIsAcknowledged, 1, 1, FAILED),
    ("ending 3: marked after it is published", MarksWhenItRecords, 1, 1, CRASH),
    ("ending 3: marked under the run", MarkIgnoresTheRun, 2, 2, CRASH),
    ("ending 3: `published` is set", MarkIsNotSet, 1, 1, NONE),
    ("ending 3: a failure brings the message back", FailedMarkIsAcknowledged, 1, 1, FAILED),
    ("sweep: overdue runs", SweepForgetsRuns, 1, 1, DEAD_LETTER),
    ("sweep: unpublished endings", SweepForgetsEndings, 1, 1, DEAD_LETTER_AND_CRASH),
    ("sweep: a run is indexed until its ending is marked", EndLeavesTheIndex, 1, 1, DEAD_LETTER_AND_CRASH),
    ("sweep: a poll with the item's claim", SweepNamesAnotherClaim, 1, 1, DEAD_LETTER),
    ("sweep: never while the lease is held", SweepIgnoresTheLease, 1, 2, Faults { early_sweeps: 1, ..NONE }),
];

/// A clause without which nothing goes wrong here, and why it is there all the same.
pub(super) type Harmless = (&'static str, Mutant, &'static str);

pub(super) const HARMLESS: &[Harmless] = &[
    ("poll: the run is the message's", PollIgnoresTheRun, "no fence and no holder outlives its run"),
    (
        "poll: or it holds the run itself",
        PollIgnoresTheHolder,
        "a late duplicate takes the place of the live poll, which dies",
    ),
    ("refused 1: its own write is known again", PollForgetsItsOwnWrite, "saves a wait for its own lease"),
    ("refused 4: ended and published is dropped", PollPublishesOnceMore, "saves a second event, the same to the byte"),
    (
        "trigger 1: ended, and it held the run",
        TriggerForgetsThatItHeld,
        "its key says the same, until the table forgets it",
    ),
    (
        "trigger 2: known, and the ending is unpublished",
        TwinLeavesAnEnding,
        "saves a wait for the message that recorded it",
    ),
    (
        "trigger writes: rule 1 under the claim as read",
        ReclaimIgnoresTheFence,
        "the same: its claim takes the place of the live poll",
    ),
    (
        "trigger writes: rule 1 while the lease is over",
        ReclaimIgnoresTheLease,
        "a lease begins with a fence, which is checked",
    ),
    ("trigger writes: its own write is known again", TriggerForgetsItsOwnWrite, "saves a wait for its own lease"),
    ("ending 1: only on an active run", EndIgnoresThePhase, "under one claim there is one ending to write"),
    (
        "ending 1: its own write is known again",
        OwnEndIsNotRecognised,
        "the ending is unpublished, and is published as such",
    ),
    (
        "ending 1: refused by another's, that is published",
        EndOfOthersIsLeft,
        "saves a wait for the message that recorded it",
    ),
    ("ending 3: only on an ended run", MarkIgnoresThePhase, "a run that is published has ended"),
    ("ending 3: out of the index", MarkStaysIndexed, "the sweep leaves it alone; it would only be read for ever"),
    ("ending 3: a refused mark is no failure", RefusedMarkComesBack, "saves a receive"),
];

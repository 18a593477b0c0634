//! Each clause of the protocol, omitted: what catches it, or why nothing can.
//!
//! Not here, since the model does not contain it, and where it is tested instead:
//!
//! | clause | tested in |
//! | --- | --- |
//! | what claims copy and count: `learned`, `polls`; budgets and delays, the 60 s after a timeout among them | `src/run/ending.rs`, `src/run/schedule.rs` |
//! | a missing item (refused 2), forgotten keys, the last 128 | `src/run/message_handler_tests.rs`, `src/run/item.rs` |
//! | 50 triggers; at most 5 decisions, which only end a fight that costs receives | `src/run/message_handler_tests.rs` |
//! | call deadline, permits, retries of AWS calls, every entry of a batch checked | `src/worker/`, `src/bus/`, `src/queue/` |
//! | the moves of `sweep_at_ms`, the allowance of a sweep, the order of many runs | `src/run/sweep.rs`, `src/worker/` |
//!
//! Stated twice in the protocol, so that it cannot be omitted alone: a refused join whose key is present (trigger 2 says the
//! same), that a run started over has ended and is published (it was so when read, and stays so), and a refused poll of
//! another run (nothing there is its own, so it is superseded). That `seen` moves at starts only saves the bytes until
//! then.

use super::faults::Faults;
use super::mutant::Mutant::{self, *};
use super::scope::{CANCEL, ONE, OTHER_OPTIONS, Scope, THREE, TWINS, TWINS_AND_ANOTHER, TWO, WAITING, scope};

const NONE: Faults = Faults::NONE;
const DUPLICATE: Faults = Faults { duplicates: 1, ..NONE };
const CRASH: Faults = Faults { crashes: 1, ..NONE };
const FAILED: Faults = Faults { failed: 1, ..NONE };
const FAILED_TWICE: Faults = Faults { failed: 2, ..NONE };
const FAILED_AND_CRASH: Faults = Faults { failed: 1, crashes: 1, ..NONE };
const LOST: Faults = Faults { lost: 1, ..NONE };
const LOST_AND_FAILED: Faults = Faults { lost: 1, failed: 1, ..NONE };
const DEAD_LETTER: Faults = Faults { dead_letters: 1, ..NONE };
const DUPLICATE_AND_CRASH: Faults = Faults { duplicates: 1, crashes: 1, ..NONE };
const DEAD_LETTER_AND_CRASH: Faults = Faults { dead_letters: 1, crashes: 1, ..NONE };

/// A clause, a mutant without it, and the triggers, handlers and faults that reveal it.
pub(super) type Caught = (&'static str, Mutant, &'static [u8], usize, Faults);

pub(super) const CAUGHT: &[Caught] = &[
    ("a message must claim before the provider is called", SupersededPollCalls, ONE, 2, DUPLICATE),
    ("a claim sets a new fence", ClaimKeepsTheFence, ONE, 2, DUPLICATE),
    ("a claim sets the holder", ClaimKeepsTheHolder, ONE, 1, CRASH),
    ("a claim sets the lease", ClaimKeepsTheLease, ONE, 2, DUPLICATE),
    ("poll and trigger claim an active run only", ClaimIgnoresThePhase, ONE, 1, DUPLICATE),
    ("poll: the item's fence is the message's", PollIgnoresTheFence, ONE, 2, DUPLICATE),
    ("poll: with the fence, the lease does not matter", PollWaitsForTheLease, ONE, 1, NONE),
    ("poll: or it holds the run and its lease is over", PollNeverClaimsAgain, ONE, 1, CRASH),
    ("poll: or it holds the run itself", PollIgnoresTheHolder, ONE, 1, LOST_AND_FAILED),
    ("poll: its lease must be over", PollIgnoresTheLease, ONE, 2, DUPLICATE),
    ("refused 3: ended and unpublished is published", PollLeavesAnEnding, ONE, 1, CRASH),
    ("refused 3: for any holder", PollLeavesAnEndingOfOthers, ONE, 1, DEAD_LETTER_AND_CRASH),
    ("refused 5: held by itself, it is retried", PollLeavesWhileHeld, ONE, 2, DUPLICATE_AND_CRASH),
    ("refused 5: as of the refused write's time", PollJudgesByTheClock, ONE, 2, DUPLICATE_AND_CRASH),
    ("refused 6: superseded is dropped", SupersededPollComesBack, ONE, 2, DUPLICATE_AND_CRASH),
    ("trigger 1: its lease over, it claims again", TriggerNeverClaimsAgain, ONE, 1, CRASH),
    ("trigger 1: its lease held, it is retried", TriggerLeavesWhileHeld, ONE, 2, DUPLICATE_AND_CRASH),
    ("trigger 1: no claim while the lease is held", TriggerIgnoresTheLease, ONE, 2, DUPLICATE),
    ("trigger 1: its ending unpublished, it publishes", TriggerLeavesItsEnding, ONE, 1, Faults { crashes: 2, ..NONE }),
    ("trigger: its key is its `idempotency_key`", KeyIsTheMessages, TWINS, 1, NONE),
    ("trigger 2: a known key is a duplicate", TriggerForgetsItsKey, ONE, 1, DUPLICATE),
    ("trigger 2: a known key is a duplicate", TriggerForgetsItsKey, TWINS, 1, NONE),
    ("trigger 2: even one of an earlier run", TriggerForgetsEarlierRuns, TWO, 1, DUPLICATE),
    ("trigger 3: joins under the run as read", JoinIgnoresTheRun, THREE, 2, DUPLICATE),
    ("trigger 3: joins an active run only", JoinIgnoresThePhase, TWO, 2, NONE),
    ("trigger 3: joins once", JoinIgnoresTheKey, TWO, 2, DUPLICATE),
    ("trigger 3: joins once", JoinIgnoresTheKey, TWINS_AND_ANOTHER, 2, NONE),
    ("trigger 3: a join leaves the fence alone", JoinTakesTheFence, TWO, 2, NONE),
    ("trigger 3: acknowledged once joined", FailedJoinIsAcknowledged, TWO, 1, FAILED),
    ("trigger 4: having published, it decides again", PublishesAndIsDone, TWO, 2, NONE),
    ("trigger 4: an unpublished ending is published first", StartsOverAnUnpublishedEnding, TWO, 1, CRASH),
    ("trigger 5: starts where there is nothing", StartIgnoresTheItem, TWO, 2, NONE),
    ("trigger 5: or after the run as read", StartIgnoresTheRun, THREE, 2, DUPLICATE),
    ("trigger 5: a start is a new run", StartKeepsTheRun, TWO, 1, NONE),
    ("trigger 5: with this trigger", StartForgetsItsTrigger, ONE, 1, NONE),
    ("trigger 5: and its key", StartForgetsItsKey, ONE, 1, DUPLICATE),
    ("trigger 5: and its key", StartForgetsItsKey, TWINS, 1, NONE),
    ("trigger 5: the old keys move into `seen`", StartForgetsEarlierKeys, TWO, 1, DUPLICATE),
    ("trigger 5: the old keys move into `seen`", StartForgetsEarlierKeys, TWINS_AND_ANOTHER, 1, NONE),
    ("trigger 5: and is indexed", StartIsNotIndexed, ONE, 1, DEAD_LETTER),
    ("trigger writes: rule 1 under a claim or a lease", ReclaimIgnoresBoth, ONE, 2, DUPLICATE),
    ("trigger writes: never continue because of the key alone", KeyAloneCalls, ONE, 2, DUPLICATE),
    ("trigger writes: never continue because of the key alone", KeyAloneCalls, TWINS, 2, NONE),
    ("trigger writes: refused, it decides again", RefusedStartIsDropped, TWO, 2, NONE),
    ("in progress: a poll with our claim is sent", PollNamesAnotherClaim, ONE, 1, NONE),
    ("in progress: acknowledged once it is sent", FailedSendIsAcknowledged, ONE, 1, FAILED),
    ("ending 1: written under our claim", EndIgnoresTheFence, ONE, 2, Faults { crashes: 1, late: 1, ..NONE }),
    ("ending 1: unrecorded, it is forwarded, not retried", FailedEndComesBack, ONE, 1, FAILED),
    ("ending 1: in a poll that carries the answer", FailedEndPollsOn, ONE, 1, FAILED),
    ("ending 1: which makes no call", AnswerIsForgotten, ONE, 1, FAILED),
    ("ending 1: nor when it is delivered again", AnswerIsForgottenOnceClaimed, ONE, 1, FAILED_AND_CRASH),
    ("ending 1: written before it is forwarded", AnswerIsSentUntried, ONE, 1, FAILED),
    ("ending 1: if that fails too, it is forwarded again", SecondFailedEndPollsOn, ONE, 1, FAILED_TWICE),
    ("ending 1: acknowledged once forwarded", HandedOnComesBack, ONE, 1, FAILED),
    ("ending 1: refused by its own write, it is published", RefusedEndIsDropped, ONE, 1, LOST),
    ("ending 2: published from the item that the write returned", EndForgetsWhoJoined, TWO, 2, NONE),
    ("ending 2: published after it is recorded", PublishesBeforeItRecords, ONE, 1, NONE),
    ("ending 2: a failure retries the message", FailedPublishIsAcknowledged, ONE, 1, FAILED),
    ("ending 3: marked after it is published", MarksWhenItRecords, ONE, 1, CRASH),
    ("ending 3: marked under the run", MarkIgnoresTheRun, TWO, 2, CRASH),
    ("ending 3: `published` is set", MarkIsNotSet, ONE, 1, NONE),
    ("ending 3: a failure retries the message", FailedMarkIsAcknowledged, ONE, 1, FAILED),
    ("sweep: overdue runs", SweepForgetsRuns, ONE, 1, DEAD_LETTER),
    ("sweep: unpublished endings", SweepForgetsEndings, ONE, 1, DEAD_LETTER_AND_CRASH),
    ("sweep: a run is indexed until its ending is marked", EndLeavesTheIndex, ONE, 1, DEAD_LETTER_AND_CRASH),
    ("sweep: a poll with the item's claim", SweepNamesAnotherClaim, ONE, 1, DEAD_LETTER),
    ("sweep: never while the lease is held", SweepIgnoresTheLease, ONE, 2, Faults { early_sweeps: 1, ..NONE }),
    ("sweep: the longest due first", SweepReadsShardByShard, ONE, 1, Faults { dead_letters: 1, ahead: 1, ..NONE }),
];

/// The same, for the clauses of waiting triggers, cancels and the pace: with the scope that reveals it.
pub(super) type CaughtIn = (&'static str, Mutant, Scope);

pub(super) const CAUGHT_LATER: &[CaughtIn] = &[
    ("trigger 3: joins only a run that it may", JoinsAnEarlierRun, scope(ONE, 2, NONE).with(WAITING)),
    ("trigger 3: joins only a run that it may", JoinsOtherOptions, scope(ONE, 2, NONE).with(OTHER_OPTIONS)),
    ("trigger 3: joins under the run as read", JoinIgnoresTheRun, scope(TWO, 2, NONE).with(OTHER_OPTIONS)),
    ("waiting: acknowledged once it is sent", FailedWaitIsAcknowledged, scope(ONE, 2, FAILED).with(WAITING)),
    ("waiting: under its first key", WaitsUnderAnotherKey, scope(ONE, 2, DUPLICATE).with(WAITING)),
    ("cancel: of a run that began before it", CancelIgnoresTheStart, scope(TWO, 1, NONE).with(CANCEL)),
    ("cancel: acknowledged once written", FailedCancelIsAcknowledged, scope(ONE, 1, FAILED).with(CANCEL)),
    ("cancel: no poll under a held lease", CancelPollsAtOnce, scope(ONE, 2, NONE).with(CANCEL)),
    ("claims of polls: not of a cancelled run", PollIgnoresTheCancel, scope(ONE, 1, NONE).with(CANCEL)),
    ("claims of triggers: not of a cancelled run", ReclaimIgnoresTheCancel, scope(ONE, 2, CRASH).with(CANCEL)),
    ("joins: not of a cancelled run", JoinIgnoresTheCancel, scope(TWO, 2, NONE).with(CANCEL)),
    ("refused by the cancel: it ends the run", CancelledPollIsDropped, scope(ONE, 1, NONE).with(CANCEL)),
    ("refused by the cancel: without a call", CancelledPollCalls, scope(ONE, 1, NONE).with(CANCEL)),
    ("refused by the cancel: only what could claim", AnyPollEndsACancelledRun, scope(ONE, 2, DUPLICATE).with(CANCEL)),
    (
        "refused by the cancel: under an expired lease",
        HolderEndsACancelledRunAtOnce,
        scope(ONE, 2, DUPLICATE).with(CANCEL),
    ),
    ("refused by the cancel: the answer in hand counts", CancelForgetsTheAnswer, scope(ONE, 1, FAILED).with(CANCEL)),
    ("pace: what holds the run is not replaced", PacedPollForgetsThatItHolds, scope(ONE, 1, CRASH).paced()),
    ("pace: what holds the run is not replaced", PacedTriggerForgetsThatItHolds, scope(ONE, 1, CRASH).paced()),
    ("pace: acknowledged once it is sent again", FailedDeferralIsAcknowledged, scope(ONE, 1, FAILED).paced()),
    ("a run begins without a cancel", StartKeepsTheCancel, scope(TWO, 1, NONE).with(CANCEL)),
];

/// A clause whose omission breaks nothing here, and what it is for. Then the scopes in which the search reaches a state
/// where the clause has an effect: those of every run, and those of `MODEL_SCOPE=large`, each with two triggers, a crash
/// and a duplicate.
pub(super) type Harmless = (&'static str, Mutant, &'static str, &'static [Scope], &'static [Scope]);

const ANSWERS_LOST: Scope = scope(ONE, 2, Faults { lost: 1, failed: 1, ..NONE });
const CRASHES: Scope = scope(TWO, 1, DUPLICATE_AND_CRASH);
const CLOCKS_APART: Scope = scope(ONE, 2, Faults { early_sweeps: 1, skews: 1, ..NONE });

const LARGE_ANSWERS_LOST: Scope = scope(TWO, 1, Faults { lost: 1, ..DUPLICATE_AND_CRASH });
const LARGE_CRASHES: Scope = scope(TWO, 2, DUPLICATE_AND_CRASH);
const LARGE_TWINS: Scope = scope(TWINS, 2, DUPLICATE_AND_CRASH);
const LARGE_CLOCKS_APART: Scope = scope(TWO, 2, Faults { skews: 1, ..DUPLICATE_AND_CRASH });

pub(super) const HARMLESS: &[Harmless] = &[
    (
        "refused 1: its own write is recognized",
        PollForgetsItsOwnWrite,
        "saves a wait for its own lease",
        &[ANSWERS_LOST],
        &[LARGE_ANSWERS_LOST],
    ),
    (
        "refused 4: ended and published is dropped",
        PollPublishesOnceMore,
        "saves a second event, with the same bytes",
        &[CRASHES],
        &[LARGE_CRASHES, LARGE_TWINS],
    ),
    (
        "trigger 2: known, and the ending is unpublished",
        TwinLeavesAnEnding,
        "saves a wait for the message that recorded it",
        &[CRASHES],
        &[LARGE_CRASHES, LARGE_TWINS],
    ),
    (
        "trigger writes: its own write is recognized",
        TriggerForgetsItsOwnWrite,
        "saves a wait for its own lease",
        &[ANSWERS_LOST],
        &[LARGE_ANSWERS_LOST],
    ),
    (
        "ending 1: only on an active run",
        EndIgnoresThePhase,
        "under one claim there is one ending to write",
        &[ANSWERS_LOST],
        &[LARGE_ANSWERS_LOST],
    ),
    (
        "ending 1: refused by another ending, that one is published",
        EndOfOthersIsLeft,
        "saves a wait for the message that recorded it; only reached if clocks differ too much",
        &[CLOCKS_APART],
        &[LARGE_CLOCKS_APART],
    ),
    (
        "cancel: a poll is sent where no lease is held",
        CancelSendsNothing,
        "saves a wait for the run's next message",
        &[scope(ONE, 1, CRASH).with(CANCEL)],
        &[scope(TWO, 2, CRASH).with(CANCEL)],
    ),
    ("ending 3: a refused mark is not an error", RefusedMarkComesBack, "saves a receive", &[CRASHES], &[LARGE_CRASHES]),
];

/// A clause that is implied by others, and by which. Omitting it changes no step in any scope, so a search without it shows
/// nothing.
pub(super) type Implied = (&'static str, Mutant, &'static str);

pub(super) const IMPLIED: &[Implied] = &[
    ("poll: the run is the message's", PollIgnoresTheRun, "a fence and a holder belong to one run only"),
    (
        "trigger 1: ended, and it held the run",
        TriggerForgetsThatItHeld,
        "its key says the same (trigger 2), until the table forgets it",
    ),
    (
        "trigger writes: rule 1 under the claim as read",
        ReclaimIgnoresTheFence,
        "a claim made since has a lease that is held as of the refused write's time",
    ),
    (
        "trigger writes: rule 1 while the lease is over",
        ReclaimIgnoresTheLease,
        "the lease was over when the claim was read, and only a claim sets another",
    ),
    (
        "ending 3: only on an ended run",
        MarkIgnoresThePhase,
        "what is published has ended, and a run never begins again",
    ),
];

/// The scopes in which an [`IMPLIED`] clause is checked to have no effect.
pub(super) const IMPLIED_IN: &[Scope] = &[CRASHES, CLOCKS_APART];
pub(super) const IMPLIED_IN_LARGE: &[Scope] = &[
    ANSWERS_LOST,
    LARGE_ANSWERS_LOST,
    LARGE_CRASHES,
    LARGE_TWINS,
    scope(THREE, 2, DUPLICATE),
    scope(TWO, 2, Faults { skews: 1, ..DUPLICATE }),
];

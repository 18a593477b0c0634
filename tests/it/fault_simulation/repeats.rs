//! Why an event was published again: each case is derived from the log.

use super::history::Fault;
use super::ledger::{Attempt, Ledger, Publication};

/// Why an event was published once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Repeat {
    /// Another message found the ending after it was recorded and before it was marked as published: not a fault, but a
    /// failing operation makes that interval longer.
    AtTheSameTime,
    /// The publisher did not learn of its success.
    ReplyLost,
    /// The publisher died before marking it.
    CrashBeforeMark,
    /// It could not be marked.
    MarkFailed,
    /// It answers an invalid trigger, or one that an earlier run answers, which was delivered or sent once more.
    DeliveredAgain,
}

impl Repeat {
    pub(super) const ALL: [Self; 5] =
        [Self::AtTheSameTime, Self::ReplyLost, Self::CrashBeforeMark, Self::MarkFailed, Self::DeliveredAgain];
}

/// Why `later` was requested after `earlier`, and both were published.
pub(super) fn explain(ledger: &Ledger, earlier: &Publication, later: &Publication) -> Result<Repeat, String> {
    let (first, second) = (&earlier.attempt, &later.attempt);
    let is_hidden = first.fault.as_ref().is_some_and(Fault::hides_success);
    let Some(run) = later.ended_run() else {
        return match first.invocation == second.invocation {
            true if is_hidden => Ok(Repeat::ReplyLost),
            true => Err("one delivery was answered twice".to_owned()),
            false => Ok(Repeat::DeliveredAgain),
        };
    };
    let out = first.done.unwrap_or_default();
    let views = ledger.unpublished.iter().filter(|(invocation, seen, place)| {
        *invocation == second.invocation && seen.as_uuid() == run && *place < second.asked
    });
    let viewed = views.map(|(_, _, place)| *place).max().ok_or("its publisher had not seen an unpublished ending")?;
    if is_hidden {
        return Ok(Repeat::ReplyLost);
    }
    if viewed < out {
        return Ok(Repeat::AtTheSameTime);
    }
    let marks = ledger
        .mark_attempts
        .iter()
        .filter(|(marked, mark)| marked.as_uuid() == run && mark.invocation == first.invocation && mark.asked > out);
    reason_unmarked(ledger, first, &marks.map(|(_, mark)| mark).collect::<Vec<_>>(), viewed)
}

/// Why `published`, which its invocation tried to mark with `marks`, was still unmarked at `looked`.
fn reason_unmarked(ledger: &Ledger, published: &Attempt, marks: &[&Attempt], looked: usize) -> Result<Repeat, String> {
    // Its condition fails if the other has marked it by then and the chat has another run.
    let is_noted_later = marks.iter().any(|mark| mark.done.is_some_and(|done| done > looked));
    let died = ledger.died.get(&published.invocation).is_some_and(|died| *died > published.asked);
    match marks.first() {
        Some(first) if first.taken && first.done.is_some_and(|done| done < looked) => {
            Err("it had been marked as published".to_owned())
        }
        _ if is_noted_later => Ok(Repeat::AtTheSameTime),
        // Without a fault of its own it may have been given up on, when the time of its invocation was over.
        Some(first) if first.fault.is_some() || first.done.is_none() => Ok(Repeat::MarkFailed),
        _ if died => Ok(Repeat::CrashBeforeMark),
        _ => Err("it was not marked as published, without a fault".to_owned()),
    }
}

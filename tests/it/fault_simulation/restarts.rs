//! Why a finished sync was restarted: each case is derived from the log.

use postpress_bridge::postpress::{Answer, Failure};
use postpress_bridge::run::{AckReason, Disposition, Ending};
use postpress_bridge::simulator::{CallRecord, Said};

use super::history::History;
use super::ledger::{Called, Ledger};

/// Why a sync restarted whose end had been answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Restart {
    /// The run had ended, and a later trigger requested another sync: not a fault.
    NewRun,
    /// Its call timed out, and landed after the end.
    LandedAfterTimeout,
    /// Its caller died, and the call landed after the end.
    LandedAfterCrash,
    /// The connection broke before the reply arrived.
    ReplyLost,
    /// The reply was slower than the call's deadline.
    ReplyTooLate,
    /// The caller died while it waited for the reply.
    CrashDuringCall,
    /// The caller died between the reply and the record.
    CrashBeforeRecord,
    /// The record was delayed, and another claim came first.
    RecordHeldUp,
}

impl Restart {
    pub(super) const ALL: [Self; 8] = [
        Self::NewRun,
        Self::LandedAfterTimeout,
        Self::LandedAfterCrash,
        Self::ReplyLost,
        Self::ReplyTooLate,
        Self::CrashDuringCall,
        Self::CrashBeforeRecord,
        Self::RecordHeldUp,
    ];
}

/// The restarts in the provider's log, and those without an explanation.
pub(super) fn restarts(history: &History, ledger: &Ledger) -> (Vec<Restart>, Vec<String>) {
    let mut landed: Vec<&CallRecord> = history.calls.iter().filter(|call| call.landed_at_ms.is_some()).collect();
    landed.sort_by_key(|call| (&call.subject, call.landed_at_ms, call.number));
    let (mut explained, mut unexplained) = (Vec::new(), Vec::new());
    let mut last_end: Option<&CallRecord> = None;
    for call in landed {
        match call.said {
            Some(Said::Over(_)) => last_end = Some(call),
            Some(Said::Started { restart: true }) => {
                let end = last_end
                    .filter(|end| end.subject == call.subject)
                    .expect("the simulator restarts only what it answered as finished");
                match explain(history, ledger, end, call) {
                    Ok(reason) => explained.push(reason),
                    Err(reason) => {
                        let (ended, number) = (end.number, call.number);
                        unexplained
                            .push(format!("call {number} restarts the sync whose end answered call {ended}: {reason}"));
                    }
                }
            }
            _ => {}
        }
    }
    (explained, unexplained)
}

/// `call` restarted the sync whose end answered `end`.
fn explain(history: &History, ledger: &Ledger, end: &CallRecord, call: &CallRecord) -> Result<Restart, String> {
    let of = |record: &CallRecord| ledger.calls.get(&record.number).ok_or("a call without a run".to_owned());
    let (ended, begun) = (of(end)?, of(call)?);
    let landed_at = u128::from(call.landed_at_ms.unwrap_or_default());
    let gone_at = history.entries[begun.over].at.as_millis();
    if !call.delivered && gone_at <= landed_at {
        return match &begun.answer {
            Some(answer) if timed_out(answer) => Ok(Restart::LandedAfterTimeout),
            None if ledger.died.contains_key(&begun.invocation) => Ok(Restart::LandedAfterCrash),
            _ => Err("it landed late, although its caller neither died nor reached the deadline".to_owned()),
        };
    }
    if ended.run != begun.run {
        return match ledger.recorded.get(&ended.run) {
            Some((recorded, _)) if *recorded < begun.begun => Ok(Restart::NewRun),
            _ => Err("it belongs to another run, but the first has no ending".to_owned()),
        };
    }
    if ledger.recorded.get(&ended.run).is_some_and(|(recorded, _)| *recorded < begun.begun) {
        return Err("the run's ending was recorded".to_owned());
    }
    if !end.delivered {
        return match &ended.answer {
            Some(answer) if timed_out(answer) => Ok(Restart::ReplyTooLate),
            Some(Answer::Failed(Failure { status: 502, .. })) => Ok(Restart::ReplyLost),
            None if ledger.died_between(ended.invocation, ended.begun, begun.begun) => Ok(Restart::CrashDuringCall),
            _ => Err("the answer did not arrive, although nothing was lost".to_owned()),
        };
    }
    heard_but_not_recorded(ledger, ended, begun)
}

fn timed_out(answer: &Answer) -> bool {
    matches!(answer, Answer::Failed(Failure { may_land_late: true, .. }))
}

/// The answer arrived; the run's next call came before it was recorded.
fn heard_but_not_recorded(ledger: &Ledger, ended: &Called, begun: &Called) -> Result<Restart, String> {
    let Some(Answer::Over(finish)) = &ended.answer else {
        return Err("the answer arrived, but with different content".to_owned());
    };
    let ending = Ending::Sync { status: *finish };
    let mut attempts = ledger.end_attempts.iter().filter(|end| {
        let in_between = (ended.over..begun.begun).contains(&end.attempt.asked);
        end.chat == ended.chat && end.outcome.ending == ending && in_between
    });
    let died = ledger.died_between(ended.invocation, ended.over, begun.begun);
    let Some(first) = attempts.next() else {
        return if died {
            Ok(Restart::CrashBeforeRecord)
        } else {
            Err("there was no attempt to record the answer".to_owned())
        };
    };
    if first.claim != ended.claim {
        return Err("another claim recorded first".to_owned());
    }
    let is_done = first.attempt.done.is_some_and(|done| done < begun.begun);
    match &first.attempt.fault {
        // There is no other claim while its lease is held, so the first attempt itself must have had a fault.
        _ if !is_done && died => Ok(Restart::CrashBeforeRecord),
        Some(_) if !is_done => another_claim_came_first(ledger, ended, begun, &ending),
        _ => Err("the first attempt to record the answer had no fault, and the run called again".to_owned()),
    }
}

/// The record failed for as long as its invocation lasted. Then the answer must have been forwarded, and if it was, the poll
/// that carried it must have met a fault.
fn another_claim_came_first(
    ledger: &Ledger,
    ended: &Called,
    begun: &Called,
    ending: &Ending,
) -> Result<Restart, String> {
    let forwards = ledger.forwards.iter().filter(|forward| {
        let in_between = (ended.over..begun.begun).contains(&forward.attempt.asked);
        forward.run == ended.run && forward.ending == *ending && in_between
    });
    let forwards: Vec<_> = forwards.collect();
    if forwards.is_empty() {
        return Err("the answer was neither recorded nor forwarded".to_owned());
    }
    for forward in forwards {
        let Some(message) = &forward.message else {
            if forward.attempt.fault.is_none() {
                return Err("the answer was not forwarded, without a fault".to_owned());
            }
            continue;
        };
        if ledger.claimed.get(&begun.claim).is_some_and(|(_, holder)| holder == message) {
            return Err(format!("{message} carried the answer, but called again"));
        }
        let deliveries = ledger.deliveries.get(message).map(Vec::as_slice).unwrap_or_default().iter();
        for delivery in deliveries.filter(|delivery| delivery.at < begun.begun) {
            let superseded = delivery.disposition == Some(Disposition::Ack(AckReason::Superseded));
            let (failed, died) = (&ledger.failed_in, &ledger.died);
            if !superseded && !failed.contains(&delivery.invocation) && !died.contains_key(&delivery.invocation) {
                return Err(format!("{message} carried the answer, but did not record it, without a fault"));
            }
        }
    }
    Ok(Restart::RecordHeldUp)
}

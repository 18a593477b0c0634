//! Why a finished sync was started again: each case from what the log says of it.

use postpress_bridge::postpress::{Answer, Failure};
use postpress_bridge::run::{AckReason, Disposition, Ending};
use postpress_bridge::simulator::{CallRecord, Said};

use super::history::History;
use super::ledger::{Called, Ledger};

/// Why a sync began again whose end had been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Restart {
    /// The run had ended, and a later trigger wants another sync: no fault at all.
    NewRun,
    /// Its call was given up on at its deadline, and landed after the end.
    LandedAfterTimeout,
    /// Its caller died, and the call landed after the end.
    LandedAfterCrash,
    /// The connection broke before the reply came back.
    ReplyLost,
    /// The reply was slower than the call's deadline.
    ReplyTooLate,
    /// The caller died while it waited for the reply.
    CrashDuringCall,
    /// The caller died between the reply and the record.
    CrashBeforeRecord,
    /// The record was held up, and another claim came first.
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

/// The restarts in the provider's log, and those that nothing explains.
pub(super) fn restarts(history: &History, ledger: &Ledger) -> (Vec<Restart>, Vec<String>) {
    let mut landed: Vec<&CallRecord> = history.calls.iter().filter(|call| call.landed_at_ms.is_some()).collect();
    landed.sort_by_key(|call| (&call.chat_id, call.landed_at_ms, call.number));
    let (mut explained, mut unexplained) = (Vec::new(), Vec::new());
    let mut told: Option<&CallRecord> = None;
    for call in landed {
        match call.said {
            Some(Said::Over(_)) => told = Some(call),
            Some(Said::Started { restart: true }) => {
                let end = told
                    .filter(|end| end.chat_id == call.chat_id)
                    .expect("the simulator restarts only what it told an end of");
                match explain(history, ledger, end, call) {
                    Ok(why) => explained.push(why),
                    Err(why) => {
                        let (told, number) = (end.number, call.number);
                        unexplained
                            .push(format!("call {number} restarts the sync whose end call {told} was told: {why}"));
                    }
                }
            }
            _ => {}
        }
    }
    (explained, unexplained)
}

/// `call` restarted the sync whose end `end` was told.
fn explain(history: &History, ledger: &Ledger, end: &CallRecord, call: &CallRecord) -> Result<Restart, String> {
    let of = |record: &CallRecord| ledger.calls.get(&record.number).ok_or("a call without a run".to_owned());
    let (told, begun) = (of(end)?, of(call)?);
    let landed_at = u128::from(call.landed_at_ms.unwrap_or_default());
    let gone_at = history.entries[begun.over].at.as_millis();
    if !call.delivered && gone_at <= landed_at {
        return match &begun.answer {
            Some(answer) if timed_out(answer) => Ok(Restart::LandedAfterTimeout),
            None if ledger.died.contains_key(&begun.invocation) => Ok(Restart::LandedAfterCrash),
            _ => Err("it landed late, though its caller neither died nor came to the deadline".to_owned()),
        };
    }
    if told.run != begun.run {
        return match ledger.recorded.get(&told.run) {
            Some((recorded, _)) if *recorded < begun.begun => Ok(Restart::NewRun),
            _ => Err("its run is another, but the first has no ending".to_owned()),
        };
    }
    if ledger.recorded.get(&told.run).is_some_and(|(recorded, _)| *recorded < begun.begun) {
        return Err("the run had its ending recorded".to_owned());
    }
    if !end.delivered {
        return match &told.answer {
            Some(answer) if timed_out(answer) => Ok(Restart::ReplyTooLate),
            Some(Answer::Failed(Failure { status: 502, .. })) => Ok(Restart::ReplyLost),
            None if ledger.died_between(told.invocation, told.begun, begun.begun) => Ok(Restart::CrashDuringCall),
            _ => Err("the answer did not arrive, though nothing was lost".to_owned()),
        };
    }
    heard_but_not_recorded(ledger, told, begun)
}

fn timed_out(answer: &Answer) -> bool {
    matches!(answer, Answer::Failed(Failure { may_land_late: true, .. }))
}

/// The answer arrived; the run's next call came before it was recorded.
fn heard_but_not_recorded(ledger: &Ledger, told: &Called, begun: &Called) -> Result<Restart, String> {
    let Some(Answer::Over(finish)) = &told.answer else {
        return Err("the answer arrived, but not as what it was".to_owned());
    };
    let ending = Ending::Sync { status: *finish };
    let mut attempts = ledger.end_attempts.iter().filter(|end| {
        let in_between = (told.over..begun.begun).contains(&end.attempt.asked);
        end.chat == told.chat && end.outcome.ending == ending && in_between
    });
    let died = ledger.died_between(told.invocation, told.over, begun.begun);
    let Some(first) = attempts.next() else {
        return if died { Ok(Restart::CrashBeforeRecord) } else { Err("nobody tried to record the answer".to_owned()) };
    };
    if first.claim != told.claim {
        return Err("somebody else recorded first".to_owned());
    }
    let is_done = first.attempt.done.is_some_and(|done| done < begun.begun);
    match &first.attempt.fault {
        // Nobody else can claim while its lease is held, so that the first attempt must have met a fault of its own.
        _ if !is_done && died => Ok(Restart::CrashBeforeRecord),
        Some(_) if !is_done => another_claim_came_first(ledger, told, begun, &ending),
        _ => Err("the first attempt to record the answer met no fault, and the run was called for again".to_owned()),
    }
}

/// The record failed for as long as its invocation lasted. Then the answer must have been sent on, and if it was, no fault
/// must be missing on the way of the poll that carried it.
fn another_claim_came_first(
    ledger: &Ledger,
    told: &Called,
    begun: &Called,
    ending: &Ending,
) -> Result<Restart, String> {
    let hand_ons = ledger.hand_ons.iter().filter(|hand_on| {
        let in_between = (told.over..begun.begun).contains(&hand_on.attempt.asked);
        hand_on.run == told.run && hand_on.ending == *ending && in_between
    });
    let hand_ons: Vec<_> = hand_ons.collect();
    if hand_ons.is_empty() {
        return Err("the answer was neither recorded nor sent on".to_owned());
    }
    for hand_on in hand_ons {
        let Some(message) = &hand_on.message else {
            if hand_on.attempt.fault.is_none() {
                return Err("the answer was not sent on, with no fault".to_owned());
            }
            continue;
        };
        if ledger.claimed.get(&begun.claim).is_some_and(|(_, holder)| holder == message) {
            return Err(format!("{message} carried the answer, and called for it again"));
        }
        let deliveries = ledger.deliveries.get(message).map(Vec::as_slice).unwrap_or_default().iter();
        for delivery in deliveries.filter(|delivery| delivery.at < begun.begun) {
            let superseded = delivery.dealt == Some(Disposition::Ack(AckReason::Superseded));
            let (troubled, died) = (&ledger.troubled, &ledger.died);
            if !superseded && !troubled.contains(&delivery.invocation) && !died.contains_key(&delivery.invocation) {
                return Err(format!("{message} carried the answer, and did not record it, with no fault"));
            }
        }
    }
    Ok(Restart::RecordHeldUp)
}

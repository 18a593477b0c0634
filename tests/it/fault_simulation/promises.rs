//! The promises, checked against a history. Every breach is a line of text.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use postpress_bridge::ids::{MessageId, RunId, Subject, TriggerKey};
use postpress_bridge::message::Record;
use postpress_bridge::postpress::{Answer, Finish, Progress, SyncCall};
use postpress_bridge::run::{AckReason, Disposition, EndedBy, Phase, RetryReason};

use serde_json::{Value, json};

use super::history::{History, What};
use super::ledger::{Called, Delivery, Ledger, Publication};
use super::plan::{Arrival, Kind};
use super::repeats::{self, Repeat};
use super::restarts::{Restart, restarts};

/// The verdict on a history.
#[derive(Default)]
pub(super) struct Judgement {
    pub(super) breaches: Vec<String>,
    pub(super) restarts: Vec<Restart>,
    pub(super) repeats: Vec<Repeat>,
    pub(super) accepted: usize,
    pub(super) runs: usize,
    pub(super) endings: usize,
    /// Events that answer a trigger with an earlier run.
    pub(super) fresh_answers: usize,
    /// Triggers that were dead-lettered before they were accepted.
    pub(super) dead_triggers: usize,
    /// Messages sent for triggers that wait.
    pub(super) waits: usize,
    /// Triggers answered with an error since they waited too long.
    pub(super) waited_too_long: usize,
    /// Runs that a cancel ended.
    pub(super) cancelled: usize,
}

pub(super) fn judge(history: &History) -> Judgement {
    let ledger = Ledger::of(history);
    let mut verdict = Judgement { accepted: ledger.accepted.len(), runs: ledger.started.len(), ..Judgement::default() };
    let (restarts, unexplained) = restarts(history, &ledger);
    verdict.restarts = restarts;
    verdict.breaches.extend(unexplained);
    let breaches = &mut verdict.breaches;
    no_run_is_stuck(history, breaches);
    no_bug_occurs(&ledger, breaches);
    every_invocation_ends_by_itself(history, &ledger, breaches);
    calls_are_made_under_a_claim(history, &ledger, breaches);
    one_call_of_a_chat_at_once(&ledger, breaches);
    verdict.dead_triggers = every_trigger_is_in_one_ending(history, &ledger, breaches);
    every_dead_letter_is_explained(history, &ledger, breaches);
    every_status_was_answered(&ledger, breaches);
    every_chunk_was_answered(&ledger, breaches);
    every_call_has_the_options_of_its_triggers(history, breaches);
    every_fresh_answer_was_asked_for(history, &ledger, breaches);
    every_trigger_is_accepted_by_a_run_that_it_may_join(history, &ledger, breaches);
    verdict.cancelled = a_cancelled_run_goes_no_further(&ledger, breaches);
    verdict.repeats = every_event_has_one_form(&ledger, breaches);
    verdict.endings = ledger.publications.values().filter(|events| events[0].ended_run().is_some()).count();
    let fresh_answers = ledger.publications.values().flatten().filter(|publication| publication.is_fresh_answer());
    verdict.fresh_answers = fresh_answers.filter(|publication| publication.attempt.taken).count();
    let dispositions = ledger.deliveries.values().flatten().filter_map(|delivery| delivery.disposition);
    verdict.waits = dispositions.filter(|disposition| *disposition == Disposition::Ack(AckReason::Waits)).count();
    verdict.waited_too_long = ledger.publications.values().filter(|events| is_waited_too_long(&events[0])).count();
    if history.plan.is_gentle() {
        breaches.extend(repetitions_without_loss(&verdict.restarts, &verdict.repeats));
    }
    verdict
}

/// Restarts and repeats that must not occur without a loss. Only concurrent publishers may publish an ending twice.
fn repetitions_without_loss(restarts: &[Restart], repeats: &[Repeat]) -> Vec<String> {
    let restarts = restarts.iter().filter(|restart| **restart != Restart::NewRun);
    let faultless = [Repeat::AtTheSameTime, Repeat::DeliveredAgain];
    let repeats = repeats.iter().filter(|repeat| !faultless.contains(repeat));
    let restarts =
        restarts.map(|reason| format!("nothing was lost in this world, but a sync was restarted: {reason:?}"));
    restarts
        .chain(repeats.map(|reason| format!("nothing was lost in this world, but an event was repeated: {reason:?}")))
        .collect()
}

fn no_run_is_stuck(history: &History, breaches: &mut Vec<String>) {
    for item in history.items.iter().filter(|item| !item.state.is_published()) {
        breaches.push(format!("{:?} is stuck: {:?}", item.subject, item.state));
    }
    if !history.is_dry {
        breaches.push("the world does not become idle".to_owned());
    }
}

/// No fault makes a message reach a state that the protocol rules out.
fn no_bug_occurs(ledger: &Ledger, breaches: &mut Vec<String>) {
    for (message, delivery) in ledger.deliveries.iter().flat_map(|(id, all)| all.iter().map(move |one| (id, one))) {
        if let Some(Disposition::Retry(RetryReason::Bug(found))) = delivery.disposition {
            breaches.push(format!("{message} hit a bug in invocation {}: {found}", delivery.invocation));
        }
    }
}

/// An invocation returns or dies where planned. Lambda never has to end it.
fn every_invocation_ends_by_itself(history: &History, ledger: &Ledger, breaches: &mut Vec<String>) {
    let begun = history.entries.iter().filter(|entry| matches!(entry.what, What::Invoked { .. }));
    for entry in begun {
        let number = entry.invocation;
        if !ledger.died.contains_key(&number) && !ledger.returned.contains_key(&number) {
            breaches.push(format!("invocation {number} did not end in time"));
        }
    }
}

/// Every call begins under a claim of its own invocation, which the table still has, on a run without an ending.
fn calls_are_made_under_a_claim(history: &History, ledger: &Ledger, breaches: &mut Vec<String>) {
    if ledger.calls.len() != history.calls.len() {
        breaches.push("a chat was called that has no item".to_owned());
    }
    for (number, call) in &ledger.calls {
        if call.phase == Phase::Ended {
            breaches.push(format!("call {number} was begun although the run's ending was recorded"));
        }
        if ledger.claimed.get(&call.claim).is_none_or(|(invocation, _)| *invocation != call.invocation) {
            breaches.push(format!("call {number} was begun under a claim of another invocation"));
        }
    }
}

fn one_call_of_a_chat_at_once(ledger: &Ledger, breaches: &mut Vec<String>) {
    let mut last = HashMap::new();
    for (number, call) in &ledger.calls {
        let before = last.insert(&call.chat, (number, call.over));
        if let Some((other, _)) = before.filter(|(_, over)| *over > call.begun) {
            breaches.push(format!("calls {other} and {number} of {:?} were awaited at once", call.chat));
        }
    }
}

/// No trigger vanishes, accepted or not; an accepted one is in exactly one ending, and so is its key. Returns how many were
/// dead-lettered before they were accepted.
fn every_trigger_is_in_one_ending(history: &History, ledger: &Ledger, breaches: &mut Vec<String>) -> usize {
    let mut endings: HashMap<&MessageId, BTreeSet<String>> = HashMap::new();
    for publication in ledger.publications.values().flatten().filter(|publication| publication.attempt.taken) {
        let detail = &publication.event.detail;
        if publication.ended_run().is_some() {
            for trigger in &detail.triggers {
                endings.entry(&trigger.message_id).or_default().insert(detail.event_id.to_string());
            }
        }
    }
    let mut runs_of_keys: BTreeMap<(&Subject, TriggerKey), Vec<RunId>> = BTreeMap::new();
    for (message, accepted) in &ledger.accepted {
        runs_of_keys.entry((&accepted.chat, accepted.key)).or_default().push(accepted.run);
        let found = endings.get(message).cloned().unwrap_or_default();
        if found != BTreeSet::from([accepted.run.to_string()]) {
            breaches.push(format!("{message} was accepted by run {} and is in the endings {found:?}", accepted.run));
        }
    }
    for ((chat, _), runs) in runs_of_keys.iter().filter(|(_, runs)| runs.len() > 1) {
        breaches.push(format!("a request for {chat:?} was accepted {} times", runs.len()));
    }
    let mut given_up = 0;
    for entry in &history.entries {
        let What::Put { message, kind, .. } = &entry.what else { continue };
        let dead = history.dead_letters.iter().any(|dead| dead.message_id == *message || waits_for(dead, message));
        match kind {
            Kind::Trigger { call: SyncCall { subject, .. }, key, .. } => {
                let key = TriggerKey::of(key.as_deref().unwrap_or(message.as_str()));
                let accepted = runs_of_keys.contains_key(&(subject, key));
                // Two messages of one request may share an answer.
                let is_answered = |published: &Publication| {
                    let (detail, trigger) = (&published.event.detail, &published.event.detail.triggers[0]);
                    let is_answer = published.is_fresh_answer() || is_waited_too_long(published);
                    let answers =
                        TriggerKey::of(trigger.idempotency_key.as_deref().unwrap_or(trigger.message_id.as_str()));
                    is_answer && published.attempt.taken && answers == key && detail.subject().as_ref() == Some(subject)
                };
                let answered = ledger.publications.values().flatten().any(is_answered);
                given_up += usize::from(dead && !accepted && !answered);
                if !dead && !accepted && !answered {
                    breaches.push(format!("{message}, a trigger for {subject:?}, has vanished"));
                }
            }
            Kind::Invalid => {
                let answers = ledger.publications.values().filter(|published| answers(published, message)).count();
                if answers > 1 || answers == 0 && !dead {
                    breaches.push(format!("{message}, which is not a trigger, was answered by {answers} events"));
                }
            }
            Kind::Cancel | Kind::Sweep => {}
        }
    }
    given_up
}

/// Whether this message of our own carries the trigger of that one, which waits.
fn waits_for(record: &Record, message: &MessageId) -> bool {
    let body: Option<Value> = serde_json::from_str(&record.body).ok();
    body.is_some_and(|body| body["postpress_bridge"] == "trigger" && body["message_id"] == json!(message))
}

fn is_waited_too_long(publication: &Publication) -> bool {
    let detail = &publication.event.detail;
    let is_deadline = detail.error.as_ref().is_some_and(|error| error.kind == "bridge/deadline_exceeded");
    is_deadline && detail.run_id.is_none()
}

/// A trigger is accepted only by a run with its options, and one for a sync that begins after it only by a run that did (W1).
fn every_trigger_is_accepted_by_a_run_that_it_may_join(history: &History, ledger: &Ledger, breaches: &mut Vec<String>) {
    for entry in &history.entries {
        let What::Put { message, kind: Kind::Trigger { call, after_request, .. }, .. } = &entry.what else { continue };
        for (_, accepted) in ledger.accepted.iter().filter(|(accepted, _)| accepted == message) {
            if accepted.resync != call.resync {
                breaches.push(format!("{message} was accepted by run {}, which has other options", accepted.run));
            }
            let began = ledger.started.get(&accepted.run).map(|place| history.entries[*place].at);
            if *after_request && began.is_none_or(|began| began < entry.at) {
                breaches.push(format!("{message} was accepted by run {}, which began before it", accepted.run));
            }
        }
    }
}

/// A cancelled run is not claimed again (C1), accepts no trigger (C5), and began before the cancel (C2); only such a run ends as
/// cancelled, and each ends. Returns how many ended so.
fn a_cancelled_run_goes_no_further(ledger: &Ledger, breaches: &mut Vec<String>) -> usize {
    for run in &ledger.cancelled_too_late {
        breaches.push(format!("run {run} was cancelled by a request that was sent before it began"));
    }
    let after = |run, place: usize| ledger.cancelled.get(run).is_some_and(|cancelled| *cancelled < place);
    for (run, _) in ledger.claims.iter().filter(|(run, place)| after(run, *place)) {
        breaches.push(format!("run {run} was claimed after it was cancelled"));
    }
    for (message, accepted) in ledger.accepted.iter().filter(|(_, accepted)| after(&accepted.run, accepted.at)) {
        breaches.push(format!("{message} was accepted by run {} after it was cancelled", accepted.run));
    }
    let recorded =
        ledger.end_attempts.iter().filter(|end| end.attempt.taken && end.outcome.ended_by == EndedBy::Cancelled);
    let mut cancelled = 0;
    for end in recorded {
        cancelled += 1;
        let run = ledger.recorded.iter().find(|(_, (place, _))| Some(*place) == end.attempt.done).map(|(run, _)| run);
        if !run.is_some_and(|run| ledger.cancelled.contains_key(run)) {
            breaches.push(format!("a run of {} ended as cancelled, and was not", end.chat.id()));
        }
    }
    cancelled
}

fn answers(published: &[Publication], message: &MessageId) -> bool {
    published.iter().any(|publication| {
        let detail = &publication.event.detail;
        let is_refusal = detail.error.as_ref().is_some_and(|error| error.kind == "bridge/invalid_trigger");
        publication.attempt.taken && is_refusal && detail.triggers[0].message_id == *message
    })
}

/// An ending with a sync's status has it from an answer to a call of its run.
fn every_status_was_answered(ledger: &Ledger, breaches: &mut Vec<String>) {
    for event in ledger.publications.values().map(|publications| &publications[0].event.detail) {
        let Some(status) = event.status else { continue };
        let answer = Some(Answer::Over(status));
        let mut calls = ledger.calls.values().filter(|call| Some(call.run.as_uuid()) == event.run_id);
        if !calls.any(|call| call.answer == answer) {
            breaches.push(format!("event {} says {status:?}, which no call of its run was answered", event.event_id));
        }
    }
}

/// An ending counts at most as many chunks as its run's calls were answered, and only of an account.
fn every_chunk_was_answered(ledger: &Ledger, breaches: &mut Vec<String>) {
    let is_chunk = |call: &&Called| call.answer == Some(Answer::InProgress(Progress::ChunkDone));
    for event in ledger.publications.values().map(|publications| &publications[0].event.detail) {
        if event.run_id.is_none() {
            continue;
        }
        let calls = ledger.calls.values().filter(|call| Some(call.run.as_uuid()) == event.run_id);
        let answered = calls.filter(is_chunk).count();
        if event.chunks.is_some() != event.account_id.is_some() || event.chunks.unwrap_or_default() as usize > answered
        {
            breaches.push(format!(
                "event {} says {:?} chunks, of which {answered} were answered",
                event.event_id, event.chunks
            ));
        }
    }
}

/// Every call has the query that the triggers for its subject ask for.
fn every_call_has_the_options_of_its_triggers(history: &History, breaches: &mut Vec<String>) {
    for call in &history.calls {
        let asked = |arrival: &Arrival| match &arrival.kind {
            Kind::Trigger { call: asked, .. } => asked.subject == call.subject && asked.resync == call.resync,
            Kind::Cancel | Kind::Invalid | Kind::Sweep => false,
        };
        if !history.plan.arrivals.iter().any(asked) {
            breaches.push(format!("call {} has the query {:?}, which no trigger asked for", call.number, call.resync));
        }
    }
}

/// A trigger is answered with an earlier run only if it allows that, and the run is its subject's, done, published and recent enough.
fn every_fresh_answer_was_asked_for(history: &History, ledger: &Ledger, breaches: &mut Vec<String>) {
    for answer in ledger.publications.values().flatten().filter(|publication| publication.is_fresh_answer()) {
        let detail = &answer.event.detail;
        let message = &detail.triggers[0].message_id;
        let asked = history.entries.iter().find_map(|entry| match &entry.what {
            What::Put { message: put, body, .. } if put == message => serde_json::from_str::<Value>(body).ok(),
            _ => None,
        });
        let Some(asked) = asked else {
            breaches.push(format!("{message} was answered, and never sent"));
            continue;
        };
        let allowed = asked["fresh_for_seconds"].as_u64().map(Duration::from_secs);
        let (finished, requested) = (detail.finished_at, detail.triggers[0].requested_at);
        let is_recent = allowed.zip(finished).is_some_and(|(allowed, finished)| finished + allowed >= requested);
        let ending = ledger.publications.values().flatten().find(|ending| {
            let is_before = ending.attempt.done.is_some_and(|done| done < answer.attempt.asked);
            ending.ended_run() == detail.run_id && ending.attempt.taken && is_before
        });
        let is_its_ending = ending.is_some_and(|ending| {
            let of = &ending.event.detail;
            (of.subject(), of.status, of.finished_at) == (detail.subject(), Some(Finish::Done), finished)
        });
        if !is_recent
            || !is_its_ending
            || [&asked["chat_id"], &asked["account_id"]] != [&json!(detail.chat_id), &json!(detail.account_id)]
        {
            breaches.push(format!("{message}, {asked}, was answered with {detail:?}"));
        }
    }
}

/// An event id has the same bytes each time, and each repetition is explained. Two messages with one key are one request, and
/// each may be answered with an earlier run.
fn every_event_has_one_form(ledger: &Ledger, breaches: &mut Vec<String>) -> Vec<Repeat> {
    let mut repeats = Vec::new();
    for (event_id, publications) in &ledger.publications {
        let forms: BTreeSet<_> = publications.iter().map(|publication| publication.event.detail_json()).collect();
        let messages = publications.iter().map(|publication| &publication.event.detail.triggers[0].message_id);
        let messages = messages.collect::<BTreeSet<_>>().len();
        if forms.len() > if publications[0].is_fresh_answer() { messages } else { 1 } {
            breaches.push(format!("event {event_id} was published in {} forms: {forms:?}", forms.len()));
        }
        let out: Vec<_> = publications.iter().filter(|publication| publication.attempt.taken).collect();
        for pair in out.windows(2) {
            match repeats::explain(ledger, pair[0], pair[1]) {
                Ok(reason) => repeats.push(reason),
                Err(reason) => breaches.push(format!("event {event_id} was published again: {reason}")),
            }
        }
    }
    repeats
}

/// Each dead letter was received as often as allowed, with a reason each time why it was not deleted.
fn every_dead_letter_is_explained(history: &History, ledger: &Ledger, breaches: &mut Vec<String>) {
    for dead in &history.dead_letters {
        let message = &dead.message_id;
        if dead.receive_count != history.plan.max_receives {
            breaches.push(format!("{message} was dead-lettered after {} receives", dead.receive_count));
        }
        let deliveries = ledger.deliveries.get(message).map(Vec::as_slice).unwrap_or_default();
        let of = |counts: &HashMap<MessageId, u32>| counts.get(message).copied().unwrap_or_default();
        if deliveries.len() + of(&ledger.receives_lost) as usize != dead.receive_count as usize {
            breaches.push(format!("{message} was delivered {} times and dead-lettered", deliveries.len()));
        }
        // Deletes that were lost, or that came after the message was visible again.
        let excused = of(&ledger.undeleted) + of(&ledger.seen_again) + of(&ledger.receives_lost);
        let acknowledged = deliveries.iter().filter(|delivery| is_acknowledged(delivery)).count();
        if acknowledged > excused as usize {
            breaches.push(format!("{message} was acknowledged {acknowledged} times and dead-lettered nevertheless"));
        }
        for delivery in deliveries {
            if let Some(reason) = unexplained(history, ledger, deliveries, delivery) {
                breaches.push(format!("{message} was redelivered after invocation {}, {reason}", delivery.invocation));
            }
        }
    }
}

fn is_acknowledged(delivery: &Delivery) -> bool {
    delivery.disposition.is_some_and(|disposition| !disposition.is_retry())
}

/// What is wrong with a message's redelivery; `None` if there was a reason for it.
fn unexplained(history: &History, ledger: &Ledger, all: &[Delivery], delivery: &Delivery) -> Option<&'static str> {
    let (invocation, plan) = (delivery.invocation, &history.plan);
    let claimed = |invocation: u32| ledger.claimed.values().any(|(claimed, _)| *claimed == invocation);
    let is_explained = match delivery.disposition {
        None => ledger.died.contains_key(&invocation),
        Some(Disposition::Retry(RetryReason::Failed)) => ledger.failed_in.contains(&invocation),
        Some(Disposition::Retry(RetryReason::NoTime)) => {
            let returned = ledger.returned.get(&invocation).map_or(Duration::ZERO, |place| history.entries[*place].at);
            let took = returned - history.entries[delivery.at].at;
            took + plan.config.limits.provider_timeout + plan.config.rules.lease_margin >= plan.mapping.invocation
        }
        Some(Disposition::Retry(RetryReason::LeaseHeld)) => {
            all.iter().any(|other| other.invocation != invocation && claimed(other.invocation))
        }
        Some(_) => true,
    };
    (!is_explained).then_some(match delivery.disposition {
        None => "which neither ended nor died",
        Some(Disposition::Retry(RetryReason::Failed)) => "in which nothing failed",
        Some(Disposition::Retry(RetryReason::NoTime)) => "in which there was time for a call",
        Some(_) => "since another delivery held the run, but none had claimed it",
    })
}

//! A history as text: one line per entry, with claims and runs numbered by first appearance.

use std::collections::HashMap;
use std::fmt::Write as _;

use postpress_bridge::ids::{ClaimId, MessageId, RunId};
use postpress_bridge::run::{ClaimCondition, Item, Write, WriteResult};

use super::history::{Effect, History, Request, What};

impl History {
    /// The whole history, and then the provider's own log.
    pub(super) fn trace(&self) -> String {
        let mut names = Names::default();
        let mut trace = String::new();
        for entry in &self.entries {
            let seconds = entry.at.as_secs_f64();
            let who = if entry.invocation == 0 { String::new() } else { format!("i{}", entry.invocation) };
            let _ = writeln!(trace, "{seconds:>9.3} s  {who:>4}  {}", names.what(&entry.what));
        }
        let _ = writeln!(trace, "\nthe provider's log, with each call's sending, landing and answer:");
        for call in &self.calls {
            let landed = call.landed_at_ms.map_or("never".to_owned(), |at| format!("{}.{:03} s", at / 1000, at % 1000));
            let _ = writeln!(trace, "{:>4}  landed {landed:>12}  {call}", call.number);
        }
        trace
    }
}

/// Short names for claims and runs.
#[derive(Default)]
struct Names {
    claims: HashMap<ClaimId, usize>,
    runs: HashMap<RunId, usize>,
}

impl Names {
    fn claim(&mut self, claim: ClaimId) -> String {
        let next = self.claims.len() + 1;
        format!("claim-{}", self.claims.entry(claim).or_insert(next))
    }

    fn run(&mut self, run: RunId) -> String {
        let next = self.runs.len() + 1;
        format!("run-{}", self.runs.entry(run).or_insert(next))
    }

    fn what(&mut self, what: &What) -> String {
        match what {
            What::Put { message, body, .. } => format!("{message} arrives: {body}"),
            What::Invoked { messages } => {
                let messages = messages.iter().map(|(id, count)| format!("{id} (receive {count})"));
                format!("begins with {}", messages.collect::<Vec<_>>().join(", "))
            }
            What::Returned { dispositions } => {
                let dispositions = dispositions.iter().map(|(id, disposition)| format!("{id} {disposition:?}"));
                format!("ends: {}", dispositions.collect::<Vec<_>>().join(", "))
            }
            What::Died { at } => format!("DIES {at:?}"),
            What::VisibleAgain { message, after } => format!("FAULT: {message} is visible again in {after:?}"),
            What::DeletedAgain { message, after } => {
                format!("FAULT: {message} is delivered again in {after:?} although deleted")
            }
            What::ReceiveLost { messages } => format!("FAULT: the receive of {messages:?} is lost"),
            What::DeleteLost { messages } => format!("FAULT: {messages:?} are not deleted"),
            What::Asked { number, request, fault: None } => format!("#{number} asks: {}", self.request(request)),
            What::Asked { number, request, fault: Some(fault) } => {
                format!("#{number} asks: {}; FAULT: {fault:?}", self.request(request))
            }
            What::Done { number, effect } => format!("#{number} is done: {}", self.effect(effect)),
            What::Heard { number, error: None } => format!("#{number} is answered"),
            What::Heard { number, error: Some(error) } => format!("#{number} fails: {error}"),
            What::Called { call, chat, run } => {
                let run = run.map(|(run, claim, phase)| format!("{} {} {phase:?}", self.run(run), self.claim(claim)));
                format!("call {call} of {chat:?} begins; the table has {}", run.unwrap_or("nothing".to_owned()))
            }
            What::ProviderOut => "a call is answered with 503: the provider is down".to_owned(),
            What::Answered { call, answer } => format!("call {call} is answered: {answer:?}"),
            What::HungUp { call } => format!("call {call} is no longer awaited"),
            What::Healed => "all faults end".to_owned(),
        }
    }

    fn request(&mut self, request: &Request) -> String {
        match request {
            Request::Read(chat) => format!("read {chat:?}"),
            Request::Write(write) => self.write(write),
            Request::Due => "due runs".to_owned(),
            Request::Send(messages) => {
                let messages =
                    messages.iter().map(|message| format!("after {:?}: {}", message.delay, self.body(&message.body)));
                format!("send {}", messages.collect::<Vec<_>>().join(", "))
            }
            Request::VisibilityChange(count) => format!("change the visibility of {count}"),
            Request::Publish(events) => {
                let events =
                    events.iter().map(|event| format!("{} {}", event.detail_type.as_str(), event.detail_json()));
                format!("publish {}", events.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// A poll, with its claim's short name.
    fn body(&mut self, body: &str) -> String {
        let poll: Option<serde_json::Value> = serde_json::from_str(body).ok();
        let hex = poll.and_then(|poll| poll["claim_id"].as_str().map(str::to_owned));
        match hex.as_deref().and_then(ClaimId::from_hex) {
            Some(claim) => body.replace(&claim.to_hex(), &self.claim(claim)),
            None => body.to_owned(),
        }
    }

    fn write(&mut self, write: &Write) -> String {
        match write {
            Write::Start { item, over } => {
                let over = over.map_or("nothing".to_owned(), |run| self.run(run));
                format!(
                    "start {} {} of {:?} over {over}",
                    self.run(item.run_id),
                    self.claim(item.claim_id),
                    item.subject
                )
            }
            Write::Claim { subject, condition, claim, .. } => {
                let new = self.claim(claim.claim_id);
                let (ClaimCondition::ByPoll { claim_id, .. } | ClaimCondition::ByTrigger { claim_id }) = condition;
                let (old, until) = (self.claim(*claim_id), claim.lease_until_ms);
                format!("claim {subject:?} as {new} by {} under {old} until {until}", claim.holder)
            }
            Write::Join { subject, run_id, trigger, .. } => {
                format!("join {} to {} of {subject:?}", trigger.message_id, self.run(*run_id))
            }
            Write::Cancel { subject, requested_at, .. } => {
                format!("cancel {}, requested at {requested_at}", subject.id())
            }
            Write::End { subject, claim_id, outcome, .. } => {
                format!("end {subject:?} under {}: {:?}", self.claim(*claim_id), outcome.ending)
            }
            Write::MarkPublished { subject, run_id, .. } => {
                format!("mark {} of {subject:?} published", self.run(*run_id))
            }
            Write::MoveSweep { subject, from, to } => format!("move {subject:?} in the index from {from} to {to}"),
        }
    }

    fn effect(&mut self, effect: &Effect) -> String {
        match effect {
            Effect::Read(None) | Effect::Written(WriteResult::ConditionFailed(None)) => "there is no item".to_owned(),
            Effect::Read(Some(item)) => self.item(item),
            Effect::Written(WriteResult::Applied(item)) => format!("taken, {}", self.item(item)),
            Effect::Written(WriteResult::ConditionFailed(Some(item))) => format!("REFUSED, {}", self.item(item)),
            Effect::Due(due) => format!("{} due", due.len()),
            Effect::Sent(ids) => {
                let ids = ids.iter().map(|id| id.as_ref().map_or("nothing", MessageId::as_str));
                format!("sent {}", ids.collect::<Vec<_>>().join(", "))
            }
            Effect::HandedBack => "visibility changed".to_owned(),
            Effect::Published(published) => format!("published {published:?}"),
        }
    }

    fn item(&mut self, item: &Item) -> String {
        let (run, claim) = (self.run(item.run_id), self.claim(item.claim_id));
        let published = if item.state.is_published() { " published" } else { "" };
        let phase = item.state.phase();
        let Item { holder, lease_until_ms, triggers, polls, .. } = item;
        format!(
            "{run} {claim} {phase:?}{published}, held by {holder} until {lease_until_ms}, {} triggers, {polls} polls",
            triggers.len()
        )
    }
}

//! The writes of one chat, with fences and runs by number.

use std::time::Duration;

use postpress_bridge::ids::{ClaimId, MessageId, RunId, Subject, TriggerKey};
use postpress_bridge::message::{Message, Record};
use postpress_bridge::postpress::{Envelope, Finish, Progress, Resync};
use postpress_bridge::run::{
    Claim, ClaimCondition, EndedBy, Ending, Item, Open, Outcome, PollState, RecentKeys, RunState, Trigger, Write,
};
use postpress_bridge::time::Millis;

pub(super) const NOW: Millis = Millis(1_795_514_400_000);
pub(super) const LEASE: Duration = Duration::from_secs(65);
pub(super) const LEASE_OVER: Millis = Millis(NOW.0 + 65_001);

pub(crate) fn chat(name: &str) -> Subject {
    Subject::chat(name).unwrap()
}

/// A trigger from a message with this id, with this metadata.
pub(super) fn trigger(message_id: &str, metadata: &str) -> Trigger {
    let record = Record {
        message_id: MessageId::new(message_id),
        receipt_handle: String::new(),
        body: format!(r#"{{"chat_id": "any", "correlation_id": "o-{message_id}", "metadata": {metadata}}}"#),
        sent_at: NOW,
        receive_count: 1,
        trace: None,
        group: None,
    };
    match Message::parse(&record, "postpress.bridge") {
        Message::Trigger(message) => message.trigger,
        other => panic!("{other:?}"),
    }
}

/// A run of `chat` that the message `starter` has just claimed with fence 1.
pub(crate) fn new_run(chat: &Subject, run: u128) -> Item {
    Item {
        subject: chat.clone(),
        resync: Resync { partial: Some(true), ..Resync::default() },
        run_id: RunId::from_random(run),
        claim_id: ClaimId::from_random(1),
        holder: MessageId::new("starter"),
        lease_until_ms: NOW + LEASE,
        state: RunState::Active { open: Open { shard: 3, sweep_at_ms: NOW + Duration::from_secs(1800) } },
        triggers: vec![trigger("starter", "{}")],
        keys: [TriggerKey::of("starter")].into(),
        seen: RecentKeys::default(),
        learned: PollState::default(),
        started_at_ms: NOW,
        cancelled_at: None,
        group: None,
        polls: 1,
    }
}

pub(super) fn learned() -> PollState {
    let envelope = Envelope {
        title: "provider error".into(),
        detail: Some("„Später“ \u{1f41f} \"quoted\" \\".into()),
        instance: None,
        kind: "errors/provider_error".into(),
        status: 500,
    };
    PollState {
        status: Some(Progress::Running),
        failures: 2,
        failing_since_ms: Some(NOW),
        envelope: Some(envelope.into()),
        invalid_responses: 1,
        credentials_retried: true,
        restarts: 1,
        next_poll_ms: Some(LEASE_OVER),
        history: vec![(0, 2, 1), (5, 503, 2), (80, 3, 1)].into(),
        chunks: 2,
        backoff_after: 3,
    }
}

pub(crate) fn done() -> Outcome {
    Outcome { ending: Ending::Sync { status: Finish::Done }, ended_by: EndedBy::Answer, finished_at: NOW }
}

/// The writes of one chat, with fences and runs by number.
pub(super) struct Writes(pub(super) Subject);

impl Writes {
    pub(super) fn start(&self, run: u128, over: Option<u128>) -> Write {
        Write::Start { item: Box::new(new_run(&self.0, run)), over: over.map(RunId::from_random) }
    }

    pub(super) fn claim(&self, condition: ClaimCondition, to: u128, holder: &str, now: Millis) -> Write {
        let (claim_id, holder) = (ClaimId::from_random(to), MessageId::new(holder));
        let claim = Claim { claim_id, holder, lease_until_ms: now + LEASE, learned: Some(learned()), calls: true };
        Write::Claim { subject: self.0.clone(), condition, claim, now }
    }

    pub(super) fn claim_by_poll(&self, run: u128, from: u128, to: u128, holder: &str, now: Millis) -> Write {
        let condition =
            ClaimCondition::ByPoll { run_id: RunId::from_random(run), claim_id: ClaimId::from_random(from) };
        self.claim(condition, to, holder, now)
    }

    pub(super) fn claim_by_trigger(&self, from: u128, now: Millis) -> Write {
        self.claim(ClaimCondition::ByTrigger { claim_id: ClaimId::from_random(from) }, 9, "starter", now)
    }

    /// The claim of a poll whose state has no history.
    pub(super) fn claim_without_history(&self, from: u128, to: u128) -> Write {
        match self.claim_by_poll(1, from, to, "p", NOW) {
            Write::Claim { subject, condition, claim, now } => {
                let learned = Some(PollState::default());
                Write::Claim { subject, condition, claim: Claim { learned, ..claim }, now }
            }
            other => other,
        }
    }

    /// The claim of a poll that carries its answer and no poll state.
    pub(super) fn claim_to_record(&self, from: u128, to: u128) -> Write {
        match self.claim_by_poll(1, from, to, "p", NOW) {
            Write::Claim { subject, condition, claim, now } => {
                let claim = Claim { learned: None, calls: false, ..claim };
                Write::Claim { subject, condition, claim, now }
            }
            other => other,
        }
    }

    pub(super) fn join(&self, run: u128, message_id: &str) -> Write {
        let mut trigger = trigger(message_id, "{}");
        trigger.joined = true;
        let (run_id, key) = (RunId::from_random(run), TriggerKey::of(message_id));
        Write::Join { subject: self.0.clone(), run_id, key, trigger }
    }

    /// A cancel sent at that time.
    pub(super) fn cancel(&self, requested_at: Millis) -> Write {
        Write::Cancel { subject: self.0.clone(), requested_at, now: requested_at + LEASE }
    }

    pub(super) fn end(&self, claim: u128) -> Write {
        let claim_id = ClaimId::from_random(claim);
        Write::End { subject: self.0.clone(), claim_id, outcome: done(), learned: learned() }
    }

    pub(super) fn mark(&self, run: u128) -> Write {
        let expires_at = (NOW + Duration::from_secs(2_592_000)).epoch_seconds();
        Write::MarkPublished { subject: self.0.clone(), run_id: RunId::from_random(run), expires_at }
    }

    pub(super) fn move_sweep(&self, from: Millis, to: Millis) -> Write {
        Write::MoveSweep { subject: self.0.clone(), from, to }
    }
}

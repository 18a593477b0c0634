//! Before the call: who may make it, and what the others do instead.

use crate::ids::{ClaimId, MessageId, RunId};
use crate::time::Millis;

use super::{Claim, ClaimCondition, Item, Open, Phase, Poll, RecentKeys, Rules, TRIGGERS_MAX, TriggerMessage, Write};

/// What this delivery would claim with: fresh ids, and the lease that its invocation can keep.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Claimant {
    pub(super) message_id: MessageId,
    pub(super) claim_id: ClaimId,
    pub(super) run_id: RunId,
    pub(super) lease_until_ms: Millis,
}

impl Claimant {
    fn claim(&self, poll: Option<&Poll>) -> Claim {
        Claim {
            claim_id: self.claim_id,
            holder: self.message_id.clone(),
            lease_until_ms: self.lease_until_ms,
            learned: poll.and_then(|poll| poll.learned.clone()),
            calls: poll.is_none_or(|poll| poll.answer.is_none()),
        }
    }
}

/// What to do for a trigger, decided from the item as read. The numbers are those of the protocol's rules.
#[derive(Debug)]
pub(super) enum ForTrigger<'a> {
    /// 1, 5: claim the run again, or start one.
    Claim(Write),
    /// 3: join the run in flight.
    Join(Write),
    /// 3: the run has as many triggers as it can answer for.
    TooMany,
    /// 1, 2: this request has its ending, which is not confirmed published; publish it, and be done.
    Publish(&'a Item),
    /// 4: an earlier run's ending is not confirmed published; publish it first, then decide again.
    PublishThenDecide(&'a Item),
    /// 1: this message claimed before and its lease is still held; come back when it is over.
    ComeBack {
        /// The end of the lease.
        held_until: Millis,
    },
    /// 1, 2: this request has been dealt with.
    Duplicate,
}

/// Decides for a trigger. Only `rules.run_ttl` and `rules.overdue` matter here.
pub(super) fn for_trigger<'a>(
    item: Option<&'a Item>,
    message: &TriggerMessage,
    claimant: &Claimant,
    now: Millis,
    rules: &Rules,
) -> ForTrigger<'a> {
    let Some(item) = item else {
        return ForTrigger::Claim(start(None, message, claimant, now, rules));
    };
    let own = item.holder == claimant.message_id;
    let known = item.is_duplicate(message.key, now, rules.run_ttl);
    match item.phase {
        Phase::Active if own && item.lease_expired(now) => ForTrigger::Claim(Write::Claim {
            chat_id: item.chat_id.clone(),
            claimable: ClaimCondition::ByTrigger { claim_id: item.claim_id },
            claim: claimant.claim(None),
            now,
        }),
        Phase::Active if own => ForTrigger::ComeBack { held_until: item.lease_until_ms },
        Phase::Active if known => ForTrigger::Duplicate,
        Phase::Active if item.triggers.len() >= TRIGGERS_MAX => ForTrigger::TooMany,
        Phase::Active => ForTrigger::Join(join(item, message)),
        Phase::Ended if own || known => {
            if item.published {
                ForTrigger::Duplicate
            } else {
                ForTrigger::Publish(item)
            }
        }
        Phase::Ended if !item.published => ForTrigger::PublishThenDecide(item),
        Phase::Ended => ForTrigger::Claim(start(Some(item), message, claimant, now, rules)),
    }
}

fn join(item: &Item, message: &TriggerMessage) -> Write {
    let mut trigger = message.trigger.clone();
    trigger.joined = true;
    Write::Join { chat_id: item.chat_id.clone(), run_id: item.run_id, key: message.key, trigger }
}

fn start(before: Option<&Item>, message: &TriggerMessage, claimant: &Claimant, now: Millis, rules: &Rules) -> Write {
    let seen = before.map_or_else(RecentKeys::default, |before| {
        let finished_at = before.outcome.as_ref().map_or(before.started_at_ms, |outcome| outcome.finished_at);
        before.seen.after(&before.keys, finished_at, now, rules.run_ttl)
    });
    let item = Item {
        chat_id: message.chat_id.clone(),
        run_id: claimant.run_id,
        claim_id: claimant.claim_id,
        holder: claimant.message_id.clone(),
        lease_until_ms: claimant.lease_until_ms,
        phase: Phase::Active,
        published: false,
        triggers: vec![message.trigger.clone()],
        keys: [message.key].into(),
        seen,
        learned: super::PollState::default(),
        started_at_ms: now,
        polls: 1,
        outcome: None,
        open: Some(Open::new(&message.chat_id, now + rules.overdue)),
        expires_at: None,
    };
    Write::Start { item: Box::new(item), over: before.map(|before| before.run_id) }
}

/// The claim that a poll asks for.
pub(super) fn for_poll(poll: &Poll, claimant: &Claimant, now: Millis) -> Write {
    Write::Claim {
        chat_id: poll.chat_id.clone(),
        claimable: ClaimCondition::ByPoll { run_id: poll.run_id, claim_id: poll.claim_id },
        claim: claimant.claim(Some(poll)),
        now,
    }
}

/// What a poll does whose claim was refused. The numbers are those of the protocol's list.
#[derive(Debug)]
pub(super) enum RefusedPoll {
    /// 1: the claim is there, by our own write whose reply was lost; go on under it.
    OwnWrite(Box<Item>),
    /// 3: the run has ended and its ending is not confirmed published; publish it, regardless of its holder.
    Publish(Box<Item>),
    /// 5: this message claimed before and its lease is still held; come back when it is over.
    ComeBack {
        /// The end of the lease.
        held_until: Millis,
    },
    /// 2, 4: the run is over and done with, or the chat has another one by now.
    Over,
    /// 6: somebody has claimed since this poll was sent.
    Superseded,
}

/// Decides for a poll whose claim `item` refused at `now`, the time in the refused write.
pub(super) fn for_refused_poll(item: Option<Box<Item>>, poll: &Poll, claimant: &Claimant, now: Millis) -> RefusedPoll {
    let Some(item) = item else { return RefusedPoll::Over };
    if item.claim_id == claimant.claim_id && item.phase == Phase::Active {
        return RefusedPoll::OwnWrite(item);
    }
    if item.run_id != poll.run_id || item.is_over() {
        return RefusedPoll::Over;
    }
    if item.is_unpublished() {
        return RefusedPoll::Publish(item);
    }
    if item.holder == claimant.message_id && !item.lease_expired(now) {
        return RefusedPoll::ComeBack { held_until: item.lease_until_ms };
    }
    RefusedPoll::Superseded
}

//! Any item that there can be, for tests that hold for all of them.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::ValueEnum;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::{
    ACTIVE_SHARDS, ENDED_SHARDS, EndedBy, Ending, History, Item, Metadata, Open, Origin, Outcome, Poll, PollState,
    RecentKeys, RunState, Trigger,
};
use crate::ids::{ClaimId, MessageGroup, MessageId, RunId, Subject, SubjectKind, TriggerKey, Workspace};
use crate::postpress::resync::LinkedinProduct;
use crate::postpress::{Envelope, Finish, Progress, Resync};
use crate::time::Millis;

/// What a text in JSON, in an attribute or in a file may trip over.
fn text() -> impl Strategy<Value = String> {
    let odd =
        select(vec!["\"", "\\", "\0", "\n", "\u{7f}", "\u{85}", "\u{2028}", "\u{fffe}", "\u{ffff}", "🐟", "é", " "]);
    let part = prop_oneof![odd.prop_map(str::to_owned), any::<String>()];
    vec(part, 1..4).prop_map(|parts| parts.concat()).prop_filter("not empty", |text| !text.is_empty())
}

fn label() -> impl Strategy<Value = String> {
    text()
        .prop_map(|text| text[..text.floor_char_boundary(256)].to_owned())
        .prop_filter("not empty", |text| !text.is_empty())
}

fn workspace() -> impl Strategy<Value = Workspace> {
    prop_oneof![Just("default".to_owned()), "[A-Za-z0-9_-]{1,64}"]
        .prop_filter_map("a name", |name| Workspace::parse(&name).ok())
}

pub(crate) fn subject() -> impl Strategy<Value = Subject> {
    (select(SubjectKind::ALL.to_vec()), text(), workspace()).prop_filter_map("an id", |(kind, text, workspace)| {
        let subject = Subject::new(kind, &text[..text.floor_char_boundary(512)]).ok()?;
        Some(subject.in_workspace(workspace))
    })
}

fn resync() -> impl Strategy<Value = Resync> {
    let product = option::of(select(LinkedinProduct::value_variants().to_vec()));
    let times = (option::of(any::<u64>()), option::of(any::<u64>()));
    (option::of(any::<bool>()), option::of(1..=10_000_u64), product, times).prop_map(
        |(partial, chunk_size, linkedin_product, (before, after))| {
            let chunk_size = chunk_size.and_then(|chats| chats.try_into().ok());
            Resync { partial, chunk_size, linkedin_product, before, after }
        },
    )
}

/// Up to the end of the year 9999, which is as far as a written time goes.
fn time() -> impl Strategy<Value = Millis> {
    (0..=253_402_207_200_000_u64).prop_map(Millis)
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let number = r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?";
    let space = r"[ \t\n\r]{0,3}";
    let value = prop_oneof![
        number.prop_map(String::from),
        text().prop_map(|text| serde_json::Value::from(text).to_string()),
        select(vec![r#""\u00e9\/\ud83d\udc1f""#, "null", "[ 1,{} ]", r#"{"a":1,"a":2}"#]).prop_map(str::to_owned),
    ];
    (space, text(), space, value).prop_map(|(before, name, between, value)| {
        let text = format!("{{{before}{}:{between}{value}{before}}}", serde_json::Value::from(name));
        serde_json::from_str(&text).unwrap()
    })
}

fn trigger() -> impl Strategy<Value = Trigger> {
    let texts = (label(), option::of(label()), option::of(label()));
    (texts, option::of(metadata()), time(), any::<bool>()).prop_map(|(texts, metadata, requested_at, joined)| {
        let (message_id, correlation_id, idempotency_key) = texts;
        let message_id = MessageId::new(message_id);
        Trigger { message_id, correlation_id, idempotency_key, metadata, requested_at, joined }
    })
}

pub(crate) fn envelope() -> impl Strategy<Value = Envelope> {
    (text(), option::of(text()), option::of(text()), text(), 400..600_u16).prop_map(
        |(title, detail, instance, kind, status)| Envelope { title, detail, instance, kind, status }.bounded(),
    )
}

pub(crate) fn learned() -> impl Strategy<Value = PollState> {
    let status = option::of(select(vec![Progress::Started, Progress::Running, Progress::ChunkDone]));
    let counts = (any::<u32>(), any::<u32>(), any::<[u32; 3]>());
    let failing = (option::of(time()), option::of(envelope().prop_map(Box::new)), any::<bool>());
    let next_poll_ms = option::of(time());
    let history = vec(any::<(u32, u16, u16)>(), 0..4).prop_map(History::from);
    (status, counts, failing, next_poll_ms, history).prop_map(|(status, counts, failing, next_poll_ms, history)| {
        let (failures, invalid_responses, [restarts, chunks, backoff_after]) = counts;
        let (failing_since_ms, envelope, credentials_retried) = failing;
        PollState {
            status,
            failures,
            failing_since_ms,
            envelope,
            invalid_responses,
            credentials_retried,
            restarts,
            chunks,
            backoff_after,
            next_poll_ms,
            history,
        }
    })
}

pub(crate) fn outcome() -> impl Strategy<Value = Outcome> {
    let sync = select(vec![Finish::Done, Finish::Error, Finish::Deleted]).prop_map(|status| Ending::Sync { status });
    let error = (envelope(), select(vec![Origin::Postpress, Origin::Bridge]))
        .prop_map(|(error, origin)| Ending::Error { error, origin });
    let ended_by =
        select(vec![EndedBy::Answer, EndedBy::Retries, EndedBy::Deadline, EndedBy::Polls, EndedBy::Cancelled]);
    (prop_oneof![sync, error], ended_by, time()).prop_map(|(ending, ended_by, finished_at)| Outcome {
        ending,
        ended_by,
        finished_at,
    })
}

pub(crate) fn poll() -> impl Strategy<Value = Poll> {
    (subject(), any::<u128>(), any::<u128>(), option::of(learned()), option::of(outcome())).prop_map(
        |(subject, run, claim, learned, answer)| {
            let (run_id, claim_id) = (RunId::from_random(run), ClaimId::from_random(claim));
            Poll { subject, run_id, claim_id, learned, answer, group: None }
        },
    )
}

fn keys() -> impl Strategy<Value = BTreeSet<TriggerKey>> {
    btree_set(any::<[u8; 8]>().prop_map(TriggerKey::from_bytes), 1..50)
}

fn seen() -> impl Strategy<Value = RecentKeys> {
    let now = Millis(1_795_514_400_000);
    vec(keys(), 0..4).prop_map(move |runs| {
        runs.iter().fold(RecentKeys::default(), |seen, keys| seen.after(keys, now, now, Duration::from_secs(60)))
    })
}

fn state() -> impl Strategy<Value = RunState> {
    let open = |shards| (shards, time()).prop_map(|(shard, sweep_at_ms)| Open { shard, sweep_at_ms });
    let states = (0..3, outcome(), open(ACTIVE_SHARDS), open(ENDED_SHARDS), 0..=253_402_207_200_u64);
    states.prop_map(|(state, outcome, active, ended, expires_at)| match state {
        0 => RunState::Active { open: active },
        1 => RunState::Ended { outcome, open: ended },
        _ => RunState::Published { outcome, expires_at },
    })
}

/// An item with any value in each of its fields.
pub(crate) fn item() -> impl Strategy<Value = Item> {
    let ids = ((subject(), resync()), any::<u128>(), any::<u128>(), label());
    let triggers = (vec(trigger(), 1..4), keys(), seen());
    let rest = (state(), any::<u32>(), learned(), time(), time(), option::of(time()));
    (ids, triggers, rest).prop_map(|(ids, (triggers, keys, seen), rest)| {
        let ((subject, resync), run, claim, holder) = ids;
        let resync = if subject.kind() == SubjectKind::Account { resync } else { Resync::default() };
        let (state, polls, learned, lease_until_ms, started_at_ms, cancelled_at) = rest;
        let (run_id, claim_id, holder) = (RunId::from_random(run), ClaimId::from_random(claim), MessageId::new(holder));
        Item {
            resync,
            subject,
            run_id,
            claim_id,
            holder,
            lease_until_ms,
            state,
            triggers,
            keys,
            seen,
            learned,
            started_at_ms,
            cancelled_at,
            group: MessageGroup::parse("tenant-1").filter(|_| polls % 2 == 1),
            polls,
        }
    })
}

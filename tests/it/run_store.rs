//! The contract of every run table: it executes the conditional writes that `run` describes, and decides nothing.
//!
//! [`Write::apply`] defines what each write means, and each table is tested against it. Another table is one more line in
//! [`contract!`].

use std::time::Duration;

use postpress_bridge::ids::{RunId, Subject, TriggerKey};
use postpress_bridge::run::{
    ACTIVE_SHARDS, DueRun, ENDED_SHARDS, EndedBy, Ending, Item, Open, Origin, Outcome, RecentKeys, RunState,
    TRIGGERS_MAX, Write, WriteResult,
};
use postpress_bridge::store::{DUE_PAGE, MemoryStore, RunStore, RunTable, SCAN_PAGE};
use postpress_bridge::time::Millis;

use crate::harness::emulator::{self, Emulated};
use crate::harness::proxy::{Of, Proxy};

mod state_file;
pub(crate) mod writes;

use state_file::StateFile;
use writes::{LEASE, LEASE_OVER, NOW, Writes, chat, learned, new_run, trigger};

/// The whole suite for each table. The second expression opens what must live as long as the table.
macro_rules! contract {
    ($($table:ident: $open:expr;)*) => {$(
        mod $table {
            use super::*;

            contract!(@cases $open;
                a_write_applies_if_its_condition_holds_and_otherwise_returns_the_item,
                a_read_sees_every_earlier_write,
                metadata_is_stored_byte_for_byte,
                an_item_is_stored_completely,
                due_runs_are_paged_once_each_soonest_first,
                the_index_holds_a_run_until_it_is_published,
            );
        }
    )*};
    (@cases $open:expr; $($case:ident,)*) => {$(
        #[tokio::test]
        async fn $case() {
            let (store, _guard) = $open;
            super::$case(&store).await;
        }
    )*};
}

contract! {
    memory: (MemoryStore::default(), ());
    sqlite: StateFile::open_new();
    dynamodb: Emulated::new_table().await;
}

async fn write(store: &impl RunStore, write: &Write) -> WriteResult {
    store.write(write).await.unwrap()
}

async fn read(store: &impl RunStore, chat_id: &Subject) -> Option<Item> {
    store.read(chat_id).await.unwrap()
}

async fn take(store: &impl RunStore, taken: &Write) -> Item {
    match write(store, taken).await {
        WriteResult::Applied(item) => *item,
        WriteResult::ConditionFailed(item) => panic!("{taken:?} failed its condition on {item:?}"),
    }
}

async fn a_write_applies_if_its_condition_holds_and_otherwise_returns_the_item(store: &impl RunStore) {
    const TAKEN: bool = true;
    const REFUSED: bool = false;
    let full = |w: &Writes| (1..TRIGGERS_MAX).map(|n| w.join(1, &format!("m-{n}"))).collect::<Vec<_>>();
    let nothing: fn(&Writes) -> Vec<Write> = |_| Vec::new();
    let active: fn(&Writes) -> Vec<Write> = |w| vec![w.start(1, None)];
    let polled: fn(&Writes) -> Vec<Write> = |w| vec![w.start(1, None), w.claim_by_poll(1, 1, 2, "p", NOW)];
    let ended: fn(&Writes) -> Vec<Write> = |w| vec![w.start(1, None), w.end(1)];
    let over: fn(&Writes) -> Vec<Write> = |w| vec![w.start(1, None), w.end(1), w.mark(1)];
    let cancelled: fn(&Writes) -> Vec<Write> = |w| vec![w.start(1, None), w.cancel(NOW)];
    let due = NOW + Duration::from_secs(1800);

    type Case<'a> = (&'a str, fn(&Writes) -> Vec<Write>, &'a dyn Fn(&Writes) -> Write, bool);
    let cases: &[Case<'_>] = &[
        ("start: no item", nothing, &|w| w.start(1, None), TAKEN),
        ("start: over an item that was not read", active, &|w| w.start(2, None), REFUSED),
        ("start: over a published run that was not read", over, &|w| w.start(2, None), REFUSED),
        ("start: over the published run that was read", over, &|w| w.start(2, Some(1)), TAKEN),
        ("start: another run in the meantime", over, &|w| w.start(3, Some(2)), REFUSED),
        ("start: over a run that is active", active, &|w| w.start(2, Some(1)), REFUSED),
        ("start: over a run that is not published", ended, &|w| w.start(2, Some(1)), REFUSED),
        ("start: over a run that is gone", nothing, &|w| w.start(2, Some(1)), REFUSED),
        ("claim: no item", nothing, &|w| w.claim_by_poll(1, 1, 2, "p", NOW), REFUSED),
        ("claim: by its poll, lease held", active, &|w| w.claim_by_poll(1, 1, 2, "p", NOW), TAKEN),
        ("claim: by its poll, lease over", active, &|w| w.claim_by_poll(1, 1, 2, "p", LEASE_OVER), TAKEN),
        ("claim: in place of a history", polled, &|w| w.claim_without_history(2, 3), TAKEN),
        ("claim: without a call", active, &|w| w.claim_to_record(1, 2), TAKEN),
        ("claim: by a stale poll", polled, &|w| w.claim_by_poll(1, 1, 3, "q", LEASE_OVER), REFUSED),
        ("claim: by the holder, lease held", polled, &|w| w.claim_by_poll(1, 1, 3, "p", NOW + LEASE), REFUSED),
        ("claim: by the holder, lease over", polled, &|w| w.claim_by_poll(1, 1, 3, "p", LEASE_OVER), TAKEN),
        ("claim: by a poll of another run", active, &|w| w.claim_by_poll(2, 1, 3, "starter", LEASE_OVER), REFUSED),
        ("claim: ended", ended, &|w| w.claim_by_poll(1, 1, 2, "p", LEASE_OVER), REFUSED),
        ("claim: over", over, &|w| w.claim_by_poll(1, 1, 2, "p", LEASE_OVER), REFUSED),
        ("claim: by the trigger, lease held", active, &|w| w.claim_by_trigger(1, NOW + LEASE), REFUSED),
        ("claim: by the trigger, lease over", active, &|w| w.claim_by_trigger(1, LEASE_OVER), TAKEN),
        ("claim: by the trigger, not as read", polled, &|w| w.claim_by_trigger(1, LEASE_OVER), REFUSED),
        ("claim: by the trigger, ended", ended, &|w| w.claim_by_trigger(1, LEASE_OVER), REFUSED),
        ("join: no item", nothing, &|w| w.join(1, "b"), REFUSED),
        ("join: active", active, &|w| w.join(1, "b"), TAKEN),
        ("join: claimed in the meantime", polled, &|w| w.join(1, "b"), TAKEN),
        ("join: its key is present", active, &|w| w.join(1, "starter"), REFUSED),
        ("join: another run", active, &|w| w.join(2, "b"), REFUSED),
        ("join: ended", ended, &|w| w.join(1, "b"), REFUSED),
        ("claim: by its poll, cancelled", cancelled, &|w| w.claim_by_poll(1, 1, 2, "p", LEASE_OVER), REFUSED),
        ("claim: without a call, cancelled", cancelled, &|w| w.claim_to_record(1, 2), REFUSED),
        ("claim: by the trigger, cancelled", cancelled, &|w| w.claim_by_trigger(1, LEASE_OVER), REFUSED),
        ("join: cancelled", cancelled, &|w| w.join(1, "b"), REFUSED),
        ("cancel: no item", nothing, &|w| w.cancel(NOW), REFUSED),
        ("cancel: began before it", active, &|w| w.cancel(NOW + LEASE), TAKEN),
        ("cancel: began when it was sent", active, &|w| w.cancel(NOW), TAKEN),
        ("cancel: began after it", active, &|w| w.cancel(Millis(NOW.0 - 1)), REFUSED),
        ("cancel: again keeps the first time", cancelled, &|w| w.cancel(NOW + LEASE), TAKEN),
        ("cancel: ended", ended, &|w| w.cancel(NOW), REFUSED),
        ("cancel: over", over, &|w| w.cancel(NOW), REFUSED),
        ("end: cancelled, under the claim", cancelled, &|w| w.end(1), TAKEN),
        (
            "start: over a cancelled, published run",
            |w| vec![w.start(1, None), w.cancel(NOW), w.end(1), w.mark(1)],
            &|w| w.start(2, Some(1)),
            TAKEN,
        ),
        ("end: no item", nothing, &|w| w.end(1), REFUSED),
        ("end: under its claim", active, &|w| w.end(1), TAKEN),
        ("end: under an older claim", polled, &|w| w.end(1), REFUSED),
        ("end: ended", ended, &|w| w.end(1), REFUSED),
        ("mark: no item", nothing, &|w| w.mark(1), REFUSED),
        ("mark: active", active, &|w| w.mark(1), REFUSED),
        ("mark: ended", ended, &|w| w.mark(1), TAKEN),
        ("mark: already published", over, &|w| w.mark(1), TAKEN),
        ("mark: another run", ended, &|w| w.mark(2), REFUSED),
        ("move: no item", nothing, &|w| w.move_sweep(due, due + LEASE), REFUSED),
        ("move: from its place", active, &|w| w.move_sweep(due, due + LEASE), TAKEN),
        ("move: unpublished", ended, &|w| w.move_sweep(due, due + LEASE), TAKEN),
        ("move: from another place", active, &|w| w.move_sweep(NOW, due + LEASE), REFUSED),
        ("move: no longer open", over, &|w| w.move_sweep(due, due + LEASE), REFUSED),
    ];
    for (what, history, tried, taken) in cases {
        let writes = Writes(chat(what));
        one_write(store, &history(&writes), &tried(&writes), *taken, what).await;
    }
    let writes = Writes(chat("a full run"));
    let mut history = vec![writes.start(1, None)];
    history.extend(full(&writes));
    one_write(store, &history, &writes.join(1, "one more"), REFUSED, "join: full").await;
}

/// Checks that after these writes this one is applied or not, as expected, and that the table and the result match
/// [`Write::apply`].
async fn one_write(store: &impl RunStore, history: &[Write], tried: &Write, taken: bool, what: &str) {
    let mut before = None;
    for earlier in history {
        before = Some(take(store, earlier).await);
    }
    let written = write(store, tried).await;
    assert_eq!(matches!(written, WriteResult::Applied(_)), taken, "{what}: {written:?}");
    assert_eq!(written, tried.apply(before.as_ref()), "{what}");
    let after = match written {
        WriteResult::Applied(item) => Some(*item),
        WriteResult::ConditionFailed(item) => item.map(|item| *item),
    };
    assert_eq!(read(store, tried.subject()).await, after, "{what}");
}

async fn a_read_sees_every_earlier_write(store: &impl RunStore) {
    let writes = Writes(chat("c"));
    assert_eq!(read(store, &writes.0).await, None);
    take(store, &writes.start(1, None)).await;
    for n in 1..30 {
        let written = take(store, &writes.claim_by_poll(1, n, n + 1, "p", NOW)).await;
        assert_eq!(read(store, &writes.0).await, Some(written));
    }
    assert_eq!(read(store, &writes.0).await.unwrap().polls, 30);
    assert_eq!(read(store, &chat("C")).await, None, "chats differ by case");
}

async fn metadata_is_stored_byte_for_byte(store: &impl RunStore) {
    let texts = [
        r#"{"b":0.1000, "a" : 12345678901234567890123,"a":-0.0}"#,
        "{ \"é\":\"\\u00e9\\/\",\n\t\"deep\": [1e5, 1E+5, {}] }",
        r#"{"fish":"🐟","nul":"\u0000"}"#,
    ];
    let writes = Writes(chat("c"));
    take(store, &writes.start(1, None)).await;
    for text in texts {
        let (run_id, key) = (RunId::from_random(1), TriggerKey::of(text));
        let trigger = trigger("joins", text);
        take(store, &Write::Join { subject: writes.0.clone(), run_id, key, trigger }).await;
    }
    take(store, &writes.end(1)).await;
    let item = read(store, &writes.0).await.unwrap();
    let kept: Vec<_> = item.triggers[1..].iter().map(|trigger| trigger.metadata.as_ref().unwrap().as_str()).collect();
    assert_eq!(kept, texts);
}

async fn an_item_is_stored_completely(store: &impl RunStore) {
    let keys = |run: u32| (0..50).map(|n| TriggerKey::of(&format!("{run}-{n}"))).collect();
    let day = Duration::from_secs(86_400);
    let seen = (0..3).fold(RecentKeys::default(), |seen, run| seen.after(&keys(run), NOW, NOW, day));
    let error = *learned().envelope.unwrap();
    let outcome = Outcome {
        ending: Ending::Error { error, origin: Origin::Postpress },
        ended_by: EndedBy::Retries,
        finished_at: Millis(NOW.0 + 123),
    };
    for name in ["chat_01HXYZ4QK3WJ8FN3M6QH7TZ8GR", "a/b?c#d e", "„ünï“\u{1f41f}'\"\\", &"x".repeat(512)] {
        let run = new_run(&chat(name), 1);
        let item = Item { seen: seen.clone(), learned: learned(), keys: keys(9), polls: 1000, ..run };
        take(store, &Write::Start { item: Box::new(item.clone()), over: None }).await;
        assert_eq!(read(store, &chat(name)).await, Some(item.clone()));

        let (subject, claim_id) = (item.subject.clone(), item.claim_id);
        take(store, &Write::End { subject, claim_id, outcome: outcome.clone(), learned: learned() }).await;
        let shard = Open::shard_of_ended(&item.subject);
        let open = Open { shard, ..item.state.open().unwrap() };
        let ended = Item { state: RunState::Ended { outcome: outcome.clone(), open }, ..item };
        assert_eq!(read(store, &chat(name)).await, Some(ended));
    }
}

/// All pages of a shard's runs that are due before `before`.
async fn due(store: &impl RunStore, shard: u8, before: Millis) -> Vec<DueRun> {
    let mut all: Vec<DueRun> = Vec::new();
    loop {
        let page = store.due(shard, before, all.last()).await.unwrap();
        assert!(page.len() <= DUE_PAGE);
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

async fn due_runs_are_paged_once_each_soonest_first(store: &impl RunStore) {
    // Most have equal times, so that a page ends between two of them.
    let (early, equal, late) = (Millis(NOW.0 - 1), NOW, Millis(NOW.0 + 1));
    let times = [(early, 3), (equal, 2 * DUE_PAGE + 7), (late, 2)];
    let mut expected = Vec::new();
    for (sweep_at_ms, count) in times {
        for n in 0..count {
            let chat_id = chat(&format!("{}-{n}", sweep_at_ms.0));
            for (shard, chat_id) in [(3, chat_id.clone()), (4, chat(&format!("other-shard-{}", chat_id.id())))] {
                let state = RunState::Active { open: Open { shard, sweep_at_ms } };
                let item = Box::new(Item { state, ..new_run(&chat_id, 1) });
                take(store, &Write::Start { item, over: None }).await;
            }
            expected.push(DueRun { sweep_at_ms, subject: chat_id });
        }
    }
    for (before, count) in [(early, 0), (equal, 3), (late, 3 + 2 * DUE_PAGE + 7), (Millis(late.0 + 1), expected.len())]
    {
        let mut found = due(store, 3, before).await;
        assert!(found.is_sorted_by_key(|due| due.sweep_at_ms));
        let mut expected = expected[..count].to_vec();
        // Tables may order equal times differently, but each run occurs once.
        for runs in [&mut found, &mut expected] {
            runs.sort_by(|one, other| (one.sweep_at_ms, &one.subject).cmp(&(other.sweep_at_ms, &other.subject)));
        }
        assert_eq!(found, expected);
    }
    assert_eq!(due(store, 5, Millis(late.0 + 1)).await, []);
}

async fn the_index_holds_a_run_until_it_is_published(store: &impl RunStore) {
    let writes = Writes(chat("c"));
    let (first, second) = (NOW + Duration::from_secs(1800), NOW + Duration::from_secs(3600));
    let long_after = second + Duration::from_secs(1);
    let subject = chat("c");
    let ended_shard = Open::shard_of_ended(&subject);
    let place = |shard, sweep_at_ms| Some((shard, DueRun { sweep_at_ms, subject: subject.clone() }));
    for (step, index) in [
        (writes.start(1, None), place(3, first)),
        (writes.claim_by_poll(1, 1, 2, "p", NOW), place(3, first)),
        (writes.move_sweep(first, second), place(3, second)),
        (writes.end(2), place(ended_shard, second)),
        (writes.mark(1), None),
        (writes.start(2, Some(1)), place(3, first)),
    ] {
        take(store, &step).await;
        let mut found = Vec::new();
        for shard in ACTIVE_SHARDS.chain(ENDED_SHARDS) {
            found.extend(due(store, shard, long_after).await.into_iter().map(|run| (shard, run)));
        }
        assert_eq!(found, Vec::from_iter(index), "{step:?}");
    }
}

/// Ended runs, and one that is active.
async fn fill(store: &impl RunStore, ended: usize) {
    for n in 0..ended {
        let writes = Writes(chat(&format!("ended-{n:03}")));
        take(store, &writes.start(1, None)).await;
        take(store, &writes.end(1)).await;
    }
    take(store, &Writes(chat("active")).start(1, None)).await;
}

async fn all_ended(table: &RunTable) -> (Vec<String>, usize, usize) {
    let (mut found, mut looked_at, mut pages) = (Vec::new(), 0, 0);
    let mut after = None;
    loop {
        let page = table.ended_page(after.as_ref()).await.unwrap();
        assert!(page.looked_at <= SCAN_PAGE);
        found.extend(page.runs.into_iter().map(|item| item.subject.id().to_owned()));
        (looked_at, pages, after) = (looked_at + page.looked_at, pages + 1, page.next);
        if after.is_none() {
            found.sort();
            return (found, looked_at, pages);
        }
    }
}

#[tokio::test]
async fn ended_runs_are_paged_once_each() {
    let ended = SCAN_PAGE + 1;
    let expected: Vec<String> = (0..ended).map(|n| format!("ended-{n:03}")).collect();
    let (sqlite, file) = StateFile::open_new();
    fill(&sqlite, ended).await;
    let (dynamodb, _aws) = Emulated::new_table().await;
    fill(&dynamodb, ended).await;
    for table in [RunTable::File(file.path()), RunTable::deployed(dynamodb)] {
        let (found, looked_at, pages) = all_ended(&table).await;
        assert_eq!((looked_at, pages), (ended + 1, 2), "{table:?}");
        assert_eq!(found, expected, "{table:?}");
    }
}

/// The protocol's rules miss what a read misses: a trigger would start a second run over one that has just begun, and an
/// operator would see a run that has ended.
#[tokio::test]
async fn every_read_of_a_run_is_consistent() {
    let (aws, proxy) = (Emulated::new().await, Proxy::start(emulator::endpoint()).await);
    let store = aws.store(&emulator::sdk(proxy.endpoint()));
    assert_eq!(read(&store, &chat("c")).await, None);
    let started = take(&store, &Writes(chat("c")).start(1, None)).await;
    assert_eq!(read(&store, &chat("c")).await, Some(started.clone()));
    assert_eq!(RunTable::deployed(store).read(&chat("c")).await.unwrap(), Some(started));
    let reads = proxy.seen(Of("GetItem", ""));
    let consistent: Vec<_> = reads.iter().map(|read| &read.body["ConsistentRead"]).collect();
    assert_eq!(consistent, [true; 3]);
}

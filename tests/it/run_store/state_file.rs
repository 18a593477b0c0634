//! The state file outlives its process and serves several at once.

use std::path::PathBuf;

use postpress_bridge::ids::{ClaimId, RunId};
use postpress_bridge::run::{Item, Open, Poll, PollAnswer, PollState, RunState, WriteResult};
use postpress_bridge::store::SqliteStore;
use postpress_bridge::time::Millis;
use tempfile::TempDir;

use super::writes::{LEASE, NOW, Writes, chat, learned};
use super::{due, read, take, write};

/// A state file in its own directory, which exists as long as this value.
pub(super) struct StateFile {
    folder: TempDir,
}

impl StateFile {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(super) fn open_new() -> (SqliteStore, Self) {
        let file = Self::new();
        (file.open(), file)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("runs.sqlite3")
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.path()).unwrap()
    }
}

#[tokio::test]
async fn a_state_file_keeps_everything_across_reopening() {
    let file = StateFile::new();
    let writes = Writes(chat("c"));
    let mut expected = take(&file.open(), &writes.start(1, None)).await;
    for step in [writes.join(1, "b"), writes.claim_by_poll(1, 1, 2, "p", NOW), writes.end(2)] {
        let store = file.open();
        assert_eq!(read(&store, &writes.0).await, Some(expected));
        expected = take(&store, &step).await;
    }
    assert_eq!(read(&file.open(), &writes.0).await, Some(expected));
    assert_eq!(due(&file.open(), Open::shard_of_ended(&writes.0), Millis(u64::MAX)).await.len(), 1);
}

#[tokio::test]
async fn a_state_file_forgets_only_expired_runs() {
    let (store, _file) = StateFile::open_new();
    for (name, history) in [("over", 3), ("unpublished", 2), ("active", 1)] {
        let writes = Writes(chat(name));
        for step in [writes.start(1, None), writes.end(1), writes.mark(1)].into_iter().take(history) {
            take(&store, &step).await;
        }
    }
    let over = read(&store, &chat("over")).await.unwrap();
    let RunState::Published { expires_at, .. } = over.state else { panic!("{:?}", over.state) };
    let expires_at = Millis(expires_at * 1000);
    for (now, left) in
        [(expires_at, ["over", "unpublished", "active"].as_slice()), (Millis(u64::MAX), &["unpublished", "active"])]
    {
        store.forget_expired(now).unwrap();
        for name in ["over", "unpublished", "active"] {
            assert_eq!(read(&store, &chat(name)).await.is_some(), left.contains(&name), "{name} at {now}");
        }
    }
}

#[tokio::test]
async fn a_poll_that_is_lost_releases_its_run_under_its_own_claim_only() {
    let writes = Writes(chat("c"));
    let sent = |claim: u128, learned: Option<PollState>| {
        let (run_id, claim_id) = (RunId::from_random(1), ClaimId::from_random(claim));
        Poll { subject: writes.0.clone(), run_id, claim_id, learned, answer: None, group: None }
    };
    let timed_out = PollState { history: vec![(0, 6, 1)].into(), ..learned() };
    assert_eq!(timed_out.history.entries()[0].answer, PollAnswer::TimedOut);
    let held = NOW + LEASE;
    let later = held + LEASE;
    for (what, poll, now, lease_until_ms, keeps) in [
        ("its own claim", sent(1, Some(learned())), NOW, NOW, Some(learned())),
        ("a lease that has expired", sent(1, Some(learned())), later, held, Some(learned())),
        ("a call that may still arrive", sent(1, Some(timed_out.clone())), NOW, held, Some(timed_out)),
        ("a later claim", sent(2, Some(learned())), NOW, held, None),
        ("a claim of another process, recovered", sent(1, None), NOW, held, None),
    ] {
        let (store, _file) = StateFile::open_new();
        let started = take(&store, &writes.start(1, None)).await;
        store.release(&poll, now).unwrap();
        let learned = keeps.unwrap_or_else(|| started.learned.clone());
        assert_eq!(read(&store, &writes.0).await, Some(Item { lease_until_ms, learned, ..started }), "{what}");
    }
    let (store, _file) = StateFile::open_new();
    take(&store, &writes.start(1, None)).await;
    let ended = take(&store, &writes.end(1)).await;
    store.release(&sent(1, Some(PollState::default())), NOW).unwrap();
    assert_eq!(read(&store, &writes.0).await, Some(ended), "an ending");
}

#[test]
fn several_processes_can_open_a_new_state_file_at_once() {
    for _ in 0..20 {
        let file = StateFile::new();
        std::thread::scope(|scope| {
            let opened: Vec<_> = (0..4).map(|_| scope.spawn(|| SqliteStore::open(&file.path()).map(drop))).collect();
            for opened in opened {
                opened.join().unwrap().unwrap();
            }
        });
    }
}

/// Runs a future that waits only for the file.
fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn a_process_reads_a_state_file_while_another_writes() {
    const WRITES: u128 = 200;
    let file = StateFile::new();
    let writes = Writes(chat("c"));
    let (writer, reader) = (file.open(), file.open());
    now(take(&writer, &writes.start(1, None)));
    std::thread::scope(|scope| {
        let writes = &writes;
        scope.spawn(move || {
            for n in 1..=WRITES {
                now(take(&writer, &writes.claim_by_poll(1, n, n + 1, "p", NOW)));
            }
        });
        let mut polls = 1;
        while u128::from(polls) <= WRITES {
            let item = now(read(&reader, &writes.0)).unwrap();
            assert!(item.polls >= polls, "a read went back from {polls} to {}", item.polls);
            assert_eq!(item.claim_id, ClaimId::from_random(item.polls.into()), "a read saw half of a write");
            polls = item.polls;
        }
    });
}

#[test]
fn two_processes_that_write_a_state_file_lose_nothing_and_only_one_starts() {
    let file = StateFile::new();
    let started: usize = std::thread::scope(|scope| {
        let writers = ["a", "b"].map(|name| {
            let store = file.open();
            scope.spawn(move || {
                let writes = Writes(chat("c"));
                let started = matches!(now(write(&store, &writes.start(1, None))), WriteResult::Applied(_));
                for n in 0..24 {
                    now(take(&store, &writes.join(1, &format!("{name}-{n}"))));
                }
                usize::from(started)
            })
        });
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    assert_eq!(started, 1);
    assert_eq!(now(read(&file.open(), &chat("c"))).unwrap().triggers.len(), 1 + 2 * 24);
}

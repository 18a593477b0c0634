//! What another `dev` needs to go on where this one was: the messages of its queues and what the simulated provider knows. They are
//! in the file of the run table, in tables of their own.
//!
//! A bridge on AWS needs none of this: SQS keeps its messages, and the provider its chats.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use crate::console::SyncCounts;
use crate::ids::{MessageGroup, MessageId, Subject};
use crate::message::Record;
use crate::queue::{Journal, MemoryQueue};
use crate::service::ServiceError;
use crate::simulator::SavedSync;
use crate::store::integer;
use crate::time::{Clock, Millis};
use crate::trace::TraceHeader;

/// How long to wait for the run table's own transactions.
const BUSY_MAX: Duration = Duration::from_secs(5);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS dev_facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS dev_messages (
        poller TEXT NOT NULL, message_id TEXT NOT NULL, body TEXT NOT NULL, sent_at INTEGER NOT NULL,
        receive_count INTEGER NOT NULL, message_group TEXT, trace TEXT, visible_at INTEGER,
        PRIMARY KEY (poller, message_id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS dev_syncs (
        poller TEXT NOT NULL, subject TEXT NOT NULL, saved TEXT NOT NULL, PRIMARY KEY (poller, subject)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS dev_endings (
        poller TEXT NOT NULL, subject TEXT NOT NULL, ending TEXT NOT NULL, PRIMARY KEY (poller, subject, ending)
    ) STRICT, WITHOUT ROWID;";

/// The bridge, or the poller without a table beside it: each has a queue and a provider of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Poller {
    Bridge,
    Stateless,
}

impl Poller {
    fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Stateless => "stateless",
        }
    }
}

/// The tables of `dev` in its file.
#[derive(Debug)]
pub(super) struct State {
    connection: Connection,
}

impl State {
    /// Opens the file, which may have a run table, and creates it if it does not exist.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let open = || {
            let connection = Connection::open(path)?;
            connection.busy_timeout(BUSY_MAX)?;
            // A killed process loses nothing that it wrote; a power failure may.
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            connection.execute_batch(SCHEMA)?;
            Ok::<_, rusqlite::Error>(Self { connection })
        };
        let opened =
            open().with_context(|| format!("cannot use {}; choose another file with --state-file", path.display()))?;
        keep_private(path)?;
        Ok(opened)
    }

    /// Checks that a file is one of `dev`, or none yet: another one is neither used nor deleted.
    pub(super) fn check_is_ours(path: &Path) -> anyhow::Result<()> {
        let is_empty = |path: &Path| std::fs::metadata(path).map_or(true, |file| file.len() == 0);
        if is_empty(path) {
            return Ok(());
        }
        let has_facts = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .and_then(|connection| connection.table_exists(None, "dev_facts"));
        anyhow::ensure!(
            has_facts.unwrap_or(false),
            "{} is not a file of `dev`; choose another one with --state-file",
            path.display()
        );
        Ok(())
    }

    /// A fact that the first process decided.
    pub(super) fn fact(&self, name: &str, decide: impl FnOnce() -> String) -> anyhow::Result<String> {
        let query = "SELECT value FROM dev_facts WHERE name = ?1";
        let known = self.connection.query_row(query, [name], |row| row.get(0)).optional()?;
        if let Some(known) = known {
            return Ok(known);
        }
        let decided = decide();
        self.connection.execute("INSERT INTO dev_facts VALUES (?1, ?2)", [name, &decided])?;
        Ok(decided)
    }

    /// Whether a process has left this fact.
    pub(super) fn has(&self, name: &str) -> anyhow::Result<bool> {
        let query = "SELECT count(*) FROM dev_facts WHERE name = ?1";
        Ok(self.connection.query_row(query, [name], |row| row.get::<_, u32>(0))? > 0)
    }

    /// Puts the messages of an earlier process on the queue; returns how many there are.
    pub(super) fn restore(&self, poller: Poller, queue: &MemoryQueue) -> anyhow::Result<usize> {
        let query = "SELECT message_id, body, sent_at, receive_count, message_group, trace, visible_at
                     FROM dev_messages WHERE poller = ?1 ORDER BY sent_at";
        let mut statement = self.connection.prepare(query)?;
        let rows = statement.query_map([poller.as_str()], |row| Ok((record(row)?, row.get::<_, Option<i64>>(6)?)))?;
        let messages: Vec<(Record, Option<i64>)> = rows.collect::<Result<_, _>>()?;
        let count = messages.len();
        for (record, visible_at) in messages {
            match visible_at {
                Some(visible_at) => queue.restore(&record, millis(visible_at)),
                None => queue.restore_dead_letter(record),
            }
        }
        Ok(count)
    }

    /// What the provider of a poller knew.
    pub(super) fn syncs(&self, poller: Poller) -> anyhow::Result<Vec<(Subject, SavedSync)>> {
        let mut statement = self.connection.prepare("SELECT subject, saved FROM dev_syncs WHERE poller = ?1")?;
        let rows =
            statement.query_map([poller.as_str()], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
        let mut syncs = Vec::new();
        for row in rows {
            let (subject, saved) = row?;
            let subject = Subject::from_key(&subject).context("the state file has an unreadable subject")?;
            syncs.push((subject, serde_json::from_str(&saved).context("the state file has an unreadable sync")?));
        }
        Ok(syncs)
    }

    /// Remembers what the provider knows about a subject.
    pub(super) fn save_sync(&self, poller: Poller, subject: &Subject, saved: &SavedSync) {
        let saved = serde_json::to_string(saved).expect("plain data");
        self.write(
            "INSERT OR REPLACE INTO dev_syncs VALUES (?1, ?2, ?3)",
            params![poller.as_str(), subject.key(), saved],
        );
    }

    /// Remembers a published ending. The same ending, published again, is remembered once.
    pub(super) fn save_ending(&self, poller: Poller, subject: &Subject, ending: &str) {
        self.write(
            "INSERT OR IGNORE INTO dev_endings VALUES (?1, ?2, ?3)",
            params![poller.as_str(), subject.key(), ending],
        );
    }

    /// How many endings of each subject were published.
    pub(super) fn endings(&self, poller: Poller) -> anyhow::Result<Vec<(Subject, SyncCounts)>> {
        let query = "SELECT subject, count(*) FROM dev_endings WHERE poller = ?1 GROUP BY subject";
        let mut statement = self.connection.prepare(query)?;
        let rows =
            statement.query_map([poller.as_str()], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?)))?;
        let counted = rows.map(|row| {
            let (subject, endings) = row?;
            let subject = Subject::from_key(&subject).context("the state file has an unreadable subject")?;
            Ok((subject, SyncCounts { endings: endings.into(), ..SyncCounts::default() }))
        });
        counted.collect()
    }

    fn write(&self, statement: &str, parameters: impl rusqlite::Params) {
        log_failure(self.connection.execute(statement, parameters));
    }
}

/// Saves the messages of one poller's queue.
pub(super) struct QueueJournal {
    pub(super) state: Rc<State>,
    pub(super) poller: Poller,
}

impl Journal for QueueJournal {
    fn save(&self, message: &Record, visible_at: Millis) -> Result<(), ServiceError> {
        let saved = self.put(message, Some(integer(visible_at)));
        let failed = |error| ServiceError::Transient(format!("the state file cannot be written: {error}"));
        saved.map(|_| ()).map_err(failed)
    }

    fn bury(&self, message: &Record) {
        log_failure(self.put(message, None));
    }

    fn forget(&self, message_id: &MessageId) {
        let statement = "DELETE FROM dev_messages WHERE poller = ?1 AND message_id = ?2";
        self.state.write(statement, params![self.poller.as_str(), message_id.as_str()]);
    }
}

/// What cannot be undone or refused, because it has happened.
fn log_failure<T>(written: rusqlite::Result<T>) {
    if let Err(error) = written {
        tracing::error!(%error, "the state file cannot be written; another `dev` will not know of this");
    }
}

impl QueueJournal {
    /// Dead letters are never visible.
    fn put(&self, message: &Record, visible_at: Option<i64>) -> rusqlite::Result<usize> {
        let Record { message_id, body, sent_at, receive_count, trace, group, .. } = message;
        let (group, trace) = (group.as_ref().map(MessageGroup::as_str), trace.as_ref().map(ToString::to_string));
        self.state.connection.execute(
            "INSERT OR REPLACE INTO dev_messages VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                self.poller.as_str(),
                message_id.as_str(),
                body,
                integer(*sent_at),
                receive_count,
                group,
                trace,
                visible_at
            ],
        )
    }
}

/// Hides the file, which has the token of the page, from other users.
#[cfg(unix)]
fn keep_private(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .with_context(|| format!("cannot hide {} from other users", path.display()))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "has the signature of the other")]
fn keep_private(_path: &Path) -> anyhow::Result<()> {
    Ok(())
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        message_id: MessageId::new(row.get::<_, String>(0)?),
        receipt_handle: String::new(),
        body: row.get(1)?,
        sent_at: millis(row.get(2)?),
        receive_count: row.get(3)?,
        group: row.get::<_, Option<String>>(4)?.as_deref().and_then(MessageGroup::parse),
        trace: row.get::<_, Option<String>>(5)?.as_deref().and_then(TraceHeader::parse),
    })
}

fn millis(integer: i64) -> Millis {
    Millis(u64::try_from(integer).unwrap_or_default())
}

/// How long ago the first process began the simulated world, from the fact that it left.
pub(super) fn age(state: &State) -> anyhow::Result<Duration> {
    let now = Clock::System.now();
    let began = state.fact("began_at_ms", || now.0.to_string())?;
    Ok(now.since(Millis(began.parse().context("the state file has an unreadable time")?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postpress::Provider;
    use crate::queue::{Outgoing, Queue, Source};
    use crate::simulator::{Faults, Simulator};

    const HELD: Duration = Duration::from_secs(30);

    fn state(directory: &tempfile::TempDir) -> Rc<State> {
        Rc::new(State::open(&directory.path().join("dev.sqlite3")).unwrap())
    }

    fn queue(state: &Rc<State>, poller: Poller) -> MemoryQueue {
        let journal = QueueJournal { state: Rc::clone(state), poller };
        let queue = MemoryQueue::new("test", Clock::System, HELD, 1).with_journal(Box::new(journal));
        state.restore(poller, &queue).unwrap();
        queue
    }

    #[tokio::test]
    async fn the_next_process_has_the_messages_and_dead_letters_of_this_one() {
        let directory = tempfile::tempdir().unwrap();
        let state = state(&directory);
        let first = queue(&state, Poller::Bridge);
        let group = MessageGroup::parse("tenant");
        first.send(&["deleted", "dead", "held"].map(|body| message(body, Duration::ZERO, group.clone()))).await;
        first.send(&[message("delayed", HELD, None)]).await;
        let received = first.receive(3).await.unwrap();
        first.delete(&received[..1]).await.unwrap();
        first.set_visibility_timeout(&received[1].receipt_handle, Duration::ZERO);
        assert!(first.receive_now(10).is_empty(), "it was received too often");
        assert_eq!(first.dead_letters().len(), 1);

        let second = queue(&state, Poller::Bridge);
        let mut bodies: Vec<_> = second.messages().into_iter().map(|record| (record.body, record.group)).collect();
        bodies.sort();
        assert_eq!(bodies, [("delayed".to_owned(), None), ("held".to_owned(), group)]);
        assert_eq!(second.messages().iter().map(|record| record.receive_count).max(), Some(1));
        assert!(!second.has_visible(), "one is held, and one delayed");
        let dead = second.dead_letters();
        assert_eq!(dead.iter().map(|record| record.body.as_str()).collect::<Vec<_>>(), ["dead"]);
        second.delete_dead_letter(&dead[0].message_id);

        assert!(queue(&state, Poller::Bridge).dead_letters().is_empty());
        assert!(queue(&state, Poller::Stateless).messages().is_empty());
    }

    fn message(body: &str, delay: Duration, group: Option<MessageGroup>) -> Outgoing {
        Outgoing { body: body.to_owned(), delay, trace: None, group }
    }

    #[tokio::test]
    async fn message_that_cannot_be_saved_is_not_sent() {
        let directory = tempfile::tempdir().unwrap();
        let state = state(&directory);
        let queue = queue(&state, Poller::Bridge);
        state.connection.execute_batch("DROP TABLE dev_messages").unwrap();
        let sent = queue.send(&[message("lost", Duration::ZERO, None)]).await;
        assert!(matches!(sent[..], [Err(ServiceError::Transient(_))]), "{sent:?}");
        assert!(queue.is_empty());
    }

    #[tokio::test]
    async fn the_next_process_knows_the_provider_and_the_endings() {
        let directory = tempfile::tempdir().unwrap();
        let state = state(&directory);
        let subject = Subject::chat("done-in-1h").unwrap();
        let simulator = Simulator::new(Faults::default());
        simulator.sync(&subject.clone().into(), HELD).await;
        state.save_sync(Poller::Bridge, &subject, &simulator.save(&subject).unwrap());
        for ending in ["one", "one", "two"] {
            state.save_ending(Poller::Stateless, &subject, ending);
        }
        let simulator = Simulator::resumed(Faults::default(), Duration::ZERO, state.syncs(Poller::Bridge).unwrap());
        simulator.sync(&subject.clone().into(), HELD).await;
        assert_eq!(simulator.stats().subjects[&subject].syncs_started, 1);
        assert!(state.syncs(Poller::Stateless).unwrap().is_empty());
        assert_eq!(
            state.endings(Poller::Stateless).unwrap(),
            [(subject, SyncCounts { endings: 2, ..SyncCounts::default() })]
        );
        assert!(!state.has("token").unwrap());
        assert_eq!(
            [state.fact("token", || "a".to_owned()), state.fact("token", || "b".to_owned())].map(Result::unwrap),
            ["a", "a"]
        );
        assert!(state.has("token").unwrap());
    }

    #[test]
    fn other_files_are_not_ours() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        assert!(State::check_is_ours(&path("none")).is_ok());
        std::fs::write(path("empty"), "").unwrap();
        assert!(State::check_is_ours(&path("empty")).is_ok());
        std::fs::write(path("text"), "my thesis").unwrap();
        drop(crate::store::SqliteStore::open(&path("sync")).unwrap());
        for other in ["text", "sync"] {
            let error = State::check_is_ours(&path(other)).unwrap_err().to_string();
            assert!(error.contains("is not a file of `dev`"), "{error}");
        }
        state(&directory);
        assert!(State::check_is_ours(&path("dev.sqlite3")).is_ok());
    }
}

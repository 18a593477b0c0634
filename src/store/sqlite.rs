//! The run table in one file, for the terminal: what `sync` has begun survives Ctrl-C and kill -9.
//!
//! Every operation is a transaction of its own on a local file, done in place: there is nobody else on this thread whom a
//! millisecond's wait would hurt.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{DUE_PAGE, DueRun, RunStore};
use crate::ids::ChatId;
use crate::run::{Item, Write, Written};
use crate::service::ServiceError;
use crate::time::Millis;

/// The form of the file; a newer one is refused rather than misread.
const FORMAT: i64 = 1;

/// How long to wait for another process that writes.
const BUSY_MAX: Duration = Duration::from_secs(2);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS runs (
        chat_id     TEXT PRIMARY KEY,
        item        TEXT NOT NULL,
        open        INTEGER,
        sweep_at_ms INTEGER,
        expires_at  INTEGER
    ) STRICT;
    CREATE INDEX IF NOT EXISTS open ON runs (open, sweep_at_ms, chat_id) WHERE open IS NOT NULL;
    CREATE TABLE IF NOT EXISTS commands (
        key   TEXT PRIMARY KEY,
        chats TEXT NOT NULL UNIQUE
    ) STRICT;
";

/// Why the state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// It cannot be opened or made.
    #[error("the state file {path} cannot be opened ({cause}); set BRIDGE_STATE_FILE to a file that can be written")]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        cause: String,
    },
    /// A newer version of this program wrote it.
    #[error(
        "the state file {path} was written by a newer postpress-bridge; use that one, or another BRIDGE_STATE_FILE"
    )]
    Newer {
        /// Which file.
        path: PathBuf,
    },
}

/// A run table in a SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    connection: std::cell::RefCell<Connection>,
}

/// One `sync` command: its chats, and the idempotency key that all its triggers carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The key.
    pub key: String,
    /// It was begun by an earlier process, which did not get to print every ending.
    pub resumed: bool,
}

impl SqliteStore {
    /// Opens the file, and makes it and its folder if they are not there.
    ///
    /// # Errors
    /// If the file cannot be used; the message says what to do.
    pub fn open(path: &Path) -> Result<Self, StateFileError> {
        let unusable = |cause: String| StateFileError::Unusable { path: path.to_owned(), cause };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| unusable(error.to_string()))?;
        }
        let connection = Connection::open(path).map_err(|error| unusable(error.to_string()))?;
        match prepare_patiently(&connection) {
            Ok(format) if format > FORMAT => Err(StateFileError::Newer { path: path.to_owned() }),
            Ok(_) => Ok(Self { connection: connection.into() }),
            Err(error) => Err(unusable(error.to_string())),
        }
    }

    /// The command with exactly these chats: the one that an earlier process left, or a new one with this key.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn command(&self, chats: &BTreeSet<ChatId>, new_key: &str) -> Result<Command, ServiceError> {
        let chats = list(chats);
        self.transaction(|transaction| {
            let find = "SELECT key FROM commands WHERE chats = ?1";
            let found: Option<String> = transaction.query_row(find, [&chats], |row| row.get(0)).optional()?;
            if let Some(key) = found {
                return Ok(Command { key, resumed: true });
            }
            transaction.execute("INSERT INTO commands (key, chats) VALUES (?1, ?2)", [new_key, &chats])?;
            Ok(Command { key: new_key.to_owned(), resumed: false })
        })
    }

    /// Forgets a command, once its last ending is printed.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish(&self, command: &Command) -> Result<(), ServiceError> {
        self.transaction(|transaction| {
            transaction.execute("DELETE FROM commands WHERE key = ?1", [&command.key]).map(|_| ())
        })
    }

    /// Forgets the runs that have expired by now, as DynamoDB's TTL does.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn forget_expired(&self, now: Millis) -> Result<(), ServiceError> {
        let now = i64::try_from(now.epoch_seconds()).unwrap_or(i64::MAX);
        self.transaction(|transaction| transaction.execute("DELETE FROM runs WHERE expires_at < ?1", [now]).map(|_| ()))
    }

    fn transaction<T>(&self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, ServiceError> {
        let mut connection = self.connection.borrow_mut();
        let result = connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        });
        result.map_err(|error| service_error(&error))
    }
}

impl RunStore for SqliteStore {
    async fn read(&self, chat_id: &ChatId) -> Result<Option<Item>, ServiceError> {
        self.transaction(|transaction| load(transaction, chat_id))
    }

    async fn write(&self, write: &Write) -> Result<Written, ServiceError> {
        self.transaction(|transaction| {
            let written = write.apply(load(transaction, write.chat_id())?.as_ref());
            if let Written::Taken(item) = &written {
                save(transaction, item)?;
            }
            Ok(written)
        })
    }

    async fn due(&self, shard: u8, before: Millis, after: Option<&DueRun>) -> Result<Vec<DueRun>, ServiceError> {
        let query = format!(
            "SELECT sweep_at_ms, chat_id FROM runs
             WHERE open = ?1 AND sweep_at_ms < ?2 AND (sweep_at_ms, chat_id) > (?3, ?4)
             ORDER BY sweep_at_ms, chat_id LIMIT {DUE_PAGE}"
        );
        let (after_ms, after_chat) = after.map_or((-1, ""), |due| (integer(due.sweep_at_ms), due.chat_id.as_str()));
        self.transaction(|transaction| {
            let mut statement = transaction.prepare(&query)?;
            let rows = statement.query_map(params![shard, integer(before), after_ms, after_chat], |row| {
                let sweep_at_ms = Millis(u64::try_from(row.get::<_, i64>(0)?).unwrap_or_default());
                let chat_id = ChatId::parse(&row.get::<_, String>(1)?).map_err(|error| unreadable(1, error))?;
                Ok(DueRun { sweep_at_ms, chat_id })
            })?;
            rows.collect()
        })
    }
}

/// Sets the file up while others may do the same: the switch to WAL wants it for itself, and SQLite does not wait for that
/// as it does for a write (<https://sqlite.org/c3ref/busy_handler.html>: a handler is not always called).
fn prepare_patiently(connection: &Connection) -> rusqlite::Result<i64> {
    let give_up = Instant::now() + BUSY_MAX;
    loop {
        match prepare(connection) {
            Err(error) if is_busy(&error) && Instant::now() < give_up => std::thread::sleep(Duration::from_millis(5)),
            prepared => return prepared,
        }
    }
}

/// Sets the file up and tells its format.
fn prepare(connection: &Connection) -> rusqlite::Result<i64> {
    connection.busy_timeout(BUSY_MAX)?;
    let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if format > FORMAT {
        return Ok(format);
    }
    // WAL: others can read while we write. FULL: what was written is still there after a power cut.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(SCHEMA)?;
    connection.pragma_update(None, "user_version", FORMAT)?;
    Ok(FORMAT)
}

fn load(transaction: &Transaction<'_>, chat_id: &ChatId) -> rusqlite::Result<Option<Item>> {
    let mut statement = transaction.prepare("SELECT item FROM runs WHERE chat_id = ?1")?;
    let json: Option<String> = statement.query_row([chat_id.as_str()], |row| row.get(0)).optional()?;
    json.map(|json| serde_json::from_str(&json).map_err(|error| unreadable(0, error))).transpose()
}

fn save(transaction: &Transaction<'_>, item: &Item) -> rusqlite::Result<()> {
    let json = serde_json::to_string(item).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let mut statement = transaction.prepare(
        "INSERT OR REPLACE INTO runs (chat_id, item, open, sweep_at_ms, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let shard = item.open.map(|open| open.shard);
    let sweep_at_ms = item.open.map(|open| integer(open.sweep_at_ms));
    let expires_at = item.expires_at.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX));
    statement.execute(params![item.chat_id.as_str(), json, shard, sweep_at_ms, expires_at]).map(|_| ())
}

/// The chats as one text, the same whatever order they were named in.
fn list(chats: &BTreeSet<ChatId>) -> String {
    serde_json::json!(chats).to_string()
}

fn integer(time: Millis) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

fn service_error(error: &rusqlite::Error) -> ServiceError {
    let text = format!("the state file: {error}");
    if is_busy(error) { ServiceError::Passing(text) } else { ServiceError::Refused(text) }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;
    use crate::run::arbitrary;

    fn chats(names: &[&str]) -> BTreeSet<ChatId> {
        names.iter().map(|name| ChatId::parse(name).unwrap()).collect()
    }

    #[test]
    fn the_same_list_of_chats_is_the_same_command_until_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/state.db");
        let store = SqliteStore::open(&path).unwrap();
        let first = store.command(&chats(&["a", "b"]), "k1").unwrap();
        assert_eq!(first, Command { key: "k1".into(), resumed: false });
        drop(store);

        let store = SqliteStore::open(&path).unwrap();
        let again = store.command(&chats(&["b", "a"]), "k2").unwrap();
        assert_eq!(again, Command { key: "k1".into(), resumed: true });
        assert!(!store.command(&chats(&["a"]), "k3").unwrap().resumed);
        store.finish(&again).unwrap();
        assert_eq!(store.command(&chats(&["a", "b"]), "k4").unwrap().key, "k4");
    }

    #[test]
    fn a_file_that_is_no_state_file_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "these are my notes, and not a database at all".repeat(50)).unwrap();
        let before = std::fs::read(&path).unwrap();
        let error = SqliteStore::open(&path).unwrap_err().to_string();
        assert!(error.contains("BRIDGE_STATE_FILE"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_newer_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        Connection::open(&path).unwrap().pragma_update(None, "user_version", FORMAT + 1).unwrap();
        assert!(matches!(SqliteStore::open(&path), Err(StateFileError::Newer { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))] // each is a file of its own
        #[test]
        fn every_item_survives_the_file(item in arbitrary::item()) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("state.db");
            let start = Write::Start { item: Box::new(item.clone()), over: None };
            SqliteStore::open(&path).unwrap().write(&start).now_or_never().unwrap().unwrap();
            let read = SqliteStore::open(&path).unwrap().read(&item.chat_id).now_or_never().unwrap().unwrap();
            prop_assert_eq!(read, Some(item));
        }
    }
}

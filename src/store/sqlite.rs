//! The run table in a file, for the terminal: the runs of `sync` survive Ctrl-C and `kill -9`.
//!
//! Every operation is its own transaction on a local file and runs synchronously: nothing else on this thread would mind
//! waiting a millisecond.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::TransactionBehavior::{Deferred, Immediate};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{DUE_PAGE, EndedPage, RunStore, SCAN_PAGE};
use crate::ids::Subject;
use crate::postpress::{ChatQuery, Resync};
use crate::run::{DueRun, Item, Poll, PollAnswer, StateAttributes, Write, WriteResult};
use crate::service::ServiceError;
use crate::time::Millis;

/// The file's format; a file with another one is rejected rather than misread.
const FORMAT: i64 = 2;
/// The format of a file that is not set up yet.
const UNSET: i64 = 0;

/// How long to wait for another process's write.
const BUSY_MAX: Duration = Duration::from_secs(2);

/// The characters of a path to escape in a `file:` URI.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS runs (
        subject     TEXT PRIMARY KEY,
        item        TEXT NOT NULL,
        open        INTEGER,
        sweep_at_ms INTEGER,
        expires_at  INTEGER
    ) STRICT;
    CREATE INDEX IF NOT EXISTS open ON runs (open, sweep_at_ms, subject) WHERE open IS NOT NULL;
    CREATE TABLE IF NOT EXISTS commands (
        key   TEXT PRIMARY KEY,
        chats TEXT NOT NULL UNIQUE
    ) STRICT;
    CREATE TABLE IF NOT EXISTS listed_chats (
        key   TEXT PRIMARY KEY,
        chats TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS finished_commands (
        name        TEXT PRIMARY KEY,
        finished_at INTEGER NOT NULL
    ) STRICT;
";

/// Why the state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// It cannot be opened or created.
    #[error("the state file {path} cannot be opened ({cause}); set BRIDGE_STATE_FILE to a file that can be written")]
    Unusable {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        cause: String,
    },
    /// Another version of this program wrote it.
    #[error(
        "the state file {path} was written by another version of postpress-bridge; use that one, or another \
         BRIDGE_STATE_FILE"
    )]
    OtherVersion {
        /// Its path.
        path: PathBuf,
    },
}

/// A run table in a SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    connection: std::cell::RefCell<Connection>,
}

/// What identifies a command: an interrupted one is resumed by another of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandName(String);

impl CommandName {
    /// `sync` of these subjects with these options: over the deployed bridge that has this queue, or on this machine. The same
    /// subjects elsewhere are another command.
    pub fn of_sync(queue_url: Option<&str>, subjects: &BTreeSet<Subject>, resync: &Resync) -> Self {
        Self(match queue_url {
            None => serde_json::json!([subjects, resync]).to_string(),
            Some(queue) => serde_json::json!({ "queue": queue, "subjects": subjects, "resync": resync }).to_string(),
        })
    }

    /// `sync` of each of these chats, whichever they are.
    pub fn of_sync_each(queue_url: Option<&str>, chats: &ChatQuery) -> Self {
        Self(serde_json::json!({ "queue": queue_url, "sync_each": chats }).to_string())
    }

    /// `trigger` of each of these chats, whichever they are.
    pub fn of_trigger_each(queue_url: &str, chats: &ChatQuery) -> Self {
        Self(serde_json::json!({ "queue": queue_url, "trigger_each": chats }).to_string())
    }
}

/// One command, and the idempotency key of all its triggers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The key.
    pub key: String,
    /// Whether an earlier process began it and did not print every ending.
    pub resumed: bool,
}

impl SqliteStore {
    /// Opens the file, and creates it and its directory if they do not exist.
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
            Ok(format) if format != FORMAT => Err(StateFileError::OtherVersion { path: path.to_owned() }),
            Ok(_) => Ok(Self { connection: connection.into() }),
            Err(error) => Err(unusable(error.to_string())),
        }
    }

    /// Opens the file read-only, even while another process writes; `None` if it does not exist or is empty.
    ///
    /// # Errors
    /// If the file cannot be used; the message says what to do.
    pub fn open_to_read(path: &Path) -> Result<Option<Self>, StateFileError> {
        if !path.exists() {
            return Ok(None);
        }
        let opened = connect_to_read(path).and_then(|connection| {
            let format = format(&connection)?;
            let is_set_up = connection.table_exists(None, "runs")?;
            Ok((format, is_set_up.then(|| Self { connection: connection.into() })))
        });
        match opened {
            Ok((FORMAT | UNSET, store)) => Ok(store),
            Ok(_) => Err(StateFileError::OtherVersion { path: path.to_owned() }),
            Err(error) => Err(StateFileError::Unusable { path: path.to_owned(), cause: error.to_string() }),
        }
    }

    /// Scans a page of the table for ended runs, continuing after the given subject.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn ended_page(&self, after: Option<&Subject>) -> Result<EndedPage, ServiceError> {
        let query = format!("SELECT item FROM runs WHERE subject > ?1 ORDER BY subject LIMIT {SCAN_PAGE}");
        let items: Vec<Item> = self.transaction(Deferred, |transaction| {
            let mut statement = transaction.prepare(&query)?;
            let rows = statement
                .query_map([after.map_or_else(String::new, Subject::key)], |row| to_item(&row.get::<_, String>(0)?))?;
            rows.collect()
        })?;
        let looked_at = items.len();
        let next = items.last().filter(|_| looked_at == SCAN_PAGE).map(|item| item.subject.clone());
        let runs = items.into_iter().filter(|item| !item.state.is_active()).collect();
        Ok(EndedPage { runs, looked_at, next })
    }

    /// The command of this name: the one that an earlier process left unfinished, or a new one with this key.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn command(&self, name: &CommandName, new_key: &str) -> Result<Command, ServiceError> {
        self.transaction(Immediate, |transaction| command(transaction, name, new_key))
    }

    /// The same for a command whose chats were listed: a new one keeps them, so that it is resumed with the same chats.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn command_for_listed(
        &self,
        name: &CommandName,
        new_key: &str,
        chats: &BTreeSet<Subject>,
    ) -> Result<Command, ServiceError> {
        self.transaction(Immediate, |transaction| {
            let command = command(transaction, name, new_key)?;
            if !command.resumed {
                let chats = serde_json::json!(chats).to_string();
                transaction.execute("INSERT INTO listed_chats (key, chats) VALUES (?1, ?2)", [new_key, &*chats])?;
            }
            Ok(command)
        })
    }

    /// The chats of the unfinished command of this name, if they were listed.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn listed_chats(&self, name: &CommandName) -> Result<Option<BTreeSet<Subject>>, ServiceError> {
        let query = "SELECT listed_chats.chats FROM listed_chats JOIN commands USING (key) WHERE commands.chats = ?1";
        self.transaction(Deferred, |transaction| {
            let json: Option<String> = transaction.query_row(query, [&name.0], |row| row.get(0)).optional()?;
            json.map(|json| serde_json::from_str(&json).map_err(|error| unreadable(0, error))).transpose()
        })
    }

    /// When the last command of this name was finished and remembered.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn finished_at(&self, name: &CommandName) -> Result<Option<Millis>, ServiceError> {
        let query = "SELECT finished_at FROM finished_commands WHERE name = ?1";
        self.transaction(Deferred, |transaction| {
            let time = transaction.query_row(query, [&name.0], |row| row.get::<_, i64>(0)).optional()?;
            Ok(time.map(|time| Millis(u64::try_from(time).unwrap_or_default())))
        })
    }

    /// Whether an earlier process left a command of this name unfinished.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn is_unfinished(&self, name: &CommandName) -> Result<bool, ServiceError> {
        self.transaction(Deferred, |transaction| Ok(key_of(transaction, name)?.is_some()))
    }

    /// Deletes a command whose last ending is printed.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish(&self, command: &Command) -> Result<(), ServiceError> {
        self.transaction(Immediate, |transaction| forget(transaction, command))
    }

    /// Deletes a command that is finished, and remembers when.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish_and_remember(&self, name: &CommandName, command: &Command, now: Millis) -> Result<(), ServiceError> {
        self.transaction(Immediate, |transaction| {
            forget(transaction, command)?;
            let statement = "INSERT OR REPLACE INTO finished_commands (name, finished_at) VALUES (?1, ?2)";
            transaction.execute(statement, params![&name.0, integer(now)]).map(|_| ())
        })
    }

    /// Releases the run that this poll would continue, because the poll is lost with the process that sent it: keeps what it has
    /// learned, and ends its claim's lease, so that another process can go on at once. Does nothing if there is a later claim, or
    /// the run is over.
    ///
    /// The call of the poll's claim is over, since the poll carries its answer. One that timed out may still reach the provider, so
    /// its lease stays.
    ///
    /// Only the terminal needs this: on AWS the poll outlives its sender, and claims the run whatever the lease.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn release(&self, poll: &Poll, now: Millis) -> Result<(), ServiceError> {
        let Some(learned) = &poll.learned else { return Ok(()) };
        self.transaction(Immediate, |transaction| {
            let item = load(transaction, &poll.subject)?;
            let Some(item) = item.filter(|item| item.state.is_active() && item.claim_id == poll.claim_id) else {
                return Ok(());
            };
            let timed_out = learned.history.entries().last().is_some_and(|last| last.answer == PollAnswer::TimedOut);
            let lease_until_ms = if timed_out { item.lease_until_ms } else { item.lease_until_ms.min(now) };
            save(transaction, &Item { lease_until_ms, learned: learned.clone(), ..item })
        })
    }

    /// Deletes the runs that have expired at `now`, as DynamoDB's TTL does.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn forget_expired(&self, now: Millis) -> Result<(), ServiceError> {
        let now = i64::try_from(now.epoch_seconds()).unwrap_or(i64::MAX);
        self.transaction(Immediate, |transaction| {
            transaction.execute("DELETE FROM runs WHERE expires_at < ?1", [now]).map(|_| ())
        })
    }

    /// Works in a transaction of its own. A deferred one may only read, and blocks no writer.
    fn transaction<T>(
        &self,
        behavior: TransactionBehavior,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, ServiceError> {
        let mut connection = self.connection.borrow_mut();
        let result = connection.transaction_with_behavior(behavior).and_then(|transaction| {
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        });
        result.map_err(|error| service_error(&error))
    }
}

impl RunStore for SqliteStore {
    async fn read(&self, subject: &Subject) -> Result<Option<Item>, ServiceError> {
        self.transaction(Deferred, |transaction| load(transaction, subject))
    }

    async fn write(&self, write: &Write) -> Result<WriteResult, ServiceError> {
        self.transaction(Immediate, |transaction| {
            let written = write.apply(load(transaction, write.subject())?.as_ref());
            if let WriteResult::Applied(item) = &written {
                save(transaction, item)?;
            }
            Ok(written)
        })
    }

    async fn due(&self, shard: u8, before: Millis, after: Option<&DueRun>) -> Result<Vec<DueRun>, ServiceError> {
        let query = format!(
            "SELECT sweep_at_ms, subject FROM runs
             WHERE open = ?1 AND sweep_at_ms < ?2 AND (sweep_at_ms, subject) > (?3, ?4)
             ORDER BY sweep_at_ms, subject LIMIT {DUE_PAGE}"
        );
        let (after_ms, after_subject) =
            after.map_or((-1, String::new()), |due| (integer(due.sweep_at_ms), due.subject.key()));
        self.transaction(Deferred, |transaction| {
            let mut statement = transaction.prepare(&query)?;
            let rows = statement.query_map(params![shard, integer(before), after_ms, after_subject], |row| {
                let sweep_at_ms = Millis(u64::try_from(row.get::<_, i64>(0)?).unwrap_or_default());
                let subject =
                    serde_json::from_value(row.get::<_, String>(1)?.into()).map_err(|error| unreadable(1, error))?;
                Ok(DueRun { sweep_at_ms, subject })
            })?;
            rows.collect()
        })
    }
}

/// A read-only connection. In WAL mode even a reader creates files beside the database and leaves them there, unless the
/// database is opened as immutable (<https://sqlite.org/wal.html#read_only_databases>), which is safe while there is no WAL.
fn connect_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    let immutable = if Path::new(&wal).exists() { "" } else { "?immutable=1" };
    let path = path.as_os_str().as_encoded_bytes();
    // A path after two slashes would be parsed as a host, so an absolute path gets an empty host.
    let host = if path.starts_with(b"/") { "//" } else { "" };
    let uri = format!("file:{host}{}{immutable}", percent_encode(path, PATH));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.busy_timeout(BUSY_MAX)?;
    Ok(connection)
}

/// Sets up the file while other processes may do the same: switching to WAL needs exclusive access, for which SQLite does
/// not wait as it does for a write (<https://sqlite.org/c3ref/busy_handler.html>: a handler is not always called).
fn prepare_patiently(connection: &Connection) -> rusqlite::Result<i64> {
    let give_up = Instant::now() + BUSY_MAX;
    loop {
        match prepare(connection) {
            Err(error) if is_busy(&error) && Instant::now() < give_up => std::thread::sleep(Duration::from_millis(5)),
            prepared => return prepared,
        }
    }
}

/// Sets up the file and returns its format.
fn prepare(connection: &Connection) -> rusqlite::Result<i64> {
    connection.busy_timeout(BUSY_MAX)?;
    let format = format(connection)?;
    if ![FORMAT, UNSET].contains(&format) {
        return Ok(format);
    }
    // WAL: others can read while we write. FULL: committed writes survive a power loss.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(SCHEMA)?;
    connection.pragma_update(None, "user_version", FORMAT)?;
    Ok(FORMAT)
}

fn format(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn command(transaction: &Transaction<'_>, name: &CommandName, new_key: &str) -> rusqlite::Result<Command> {
    if let Some(key) = key_of(transaction, name)? {
        return Ok(Command { key, resumed: true });
    }
    transaction.execute("INSERT INTO commands (key, chats) VALUES (?1, ?2)", [new_key, &name.0])?;
    Ok(Command { key: new_key.to_owned(), resumed: false })
}

fn forget(transaction: &Transaction<'_>, command: &Command) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM commands WHERE key = ?1", [&command.key])?;
    transaction.execute("DELETE FROM listed_chats WHERE key = ?1", [&command.key]).map(|_| ())
}

fn key_of(transaction: &Transaction<'_>, name: &CommandName) -> rusqlite::Result<Option<String>> {
    transaction.query_row("SELECT key FROM commands WHERE chats = ?1", [&name.0], |row| row.get(0)).optional()
}

fn load(transaction: &Transaction<'_>, subject: &Subject) -> rusqlite::Result<Option<Item>> {
    let mut statement = transaction.prepare("SELECT item FROM runs WHERE subject = ?1")?;
    let json: Option<String> = statement.query_row([subject.key()], |row| row.get(0)).optional()?;
    json.map(|json| to_item(&json)).transpose()
}

fn to_item(json: &str) -> rusqlite::Result<Item> {
    serde_json::from_str(json).map_err(|error| unreadable(0, error))
}

fn save(transaction: &Transaction<'_>, item: &Item) -> rusqlite::Result<()> {
    let json = serde_json::to_string(item).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let mut statement = transaction.prepare(
        "INSERT OR REPLACE INTO runs (subject, item, open, sweep_at_ms, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let StateAttributes { open, expires_at, .. } = item.state.clone().into();
    let shard = open.map(|open| open.shard);
    let sweep_at_ms = open.map(|open| integer(open.sweep_at_ms));
    let expires_at = expires_at.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX));
    statement.execute(params![item.subject.key(), json, shard, sweep_at_ms, expires_at]).map(|_| ())
}

/// A time as SQLite stores it.
pub(crate) fn integer(time: Millis) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

fn service_error(error: &rusqlite::Error) -> ServiceError {
    let text = format!("the state file: {error}");
    if is_busy(error) { ServiceError::Transient(text) } else { ServiceError::Permanent(text) }
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
    use crate::ids::AccountId;
    use crate::run::arbitrary;

    fn chats(names: &[&str]) -> BTreeSet<Subject> {
        names.iter().map(|name| Subject::chat(name).unwrap()).collect()
    }

    fn name(names: &[&str]) -> CommandName {
        CommandName::of_sync(None, &chats(names), &Resync::default())
    }

    #[test]
    fn the_same_list_of_chats_is_the_same_command_until_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/state.db");
        let store = SqliteStore::open(&path).unwrap();
        let first = store.command(&name(&["a", "b"]), "k1").unwrap();
        assert_eq!(first, Command { key: "k1".into(), resumed: false });
        let is_unfinished = |names: &[&str]| store.is_unfinished(&name(names)).unwrap();
        assert!(is_unfinished(&["b", "a"]) && !is_unfinished(&["a"]));
        drop(store);

        let store = SqliteStore::open(&path).unwrap();
        let again = store.command(&name(&["b", "a"]), "k2").unwrap();
        assert_eq!(again, Command { key: "k1".into(), resumed: true });
        assert!(!store.command(&name(&["a"]), "k3").unwrap().resumed);
        let partial = Resync { partial: Some(true), ..Resync::default() };
        let with_options = CommandName::of_sync(None, &chats(&["a"]), &partial);
        assert!(!store.command(&with_options, "k6").unwrap().resumed, "other options");
        let at = |queue_url| CommandName::of_sync(Some(queue_url), &chats(&["a", "b"]), &Resync::default());
        for (queue_url, key) in [("https://sqs/one", "k-one"), ("https://sqs/two", "k-two")] {
            assert!(!store.command(&at(queue_url), key).unwrap().resumed, "{queue_url}");
        }
        let elsewhere = store.command(&at("https://sqs/one"), "k5").unwrap();
        assert_eq!(elsewhere, Command { key: "k-one".into(), resumed: true });
        store.finish(&again).unwrap();
        assert_eq!(store.command(&name(&["a", "b"]), "k4").unwrap().key, "k4");
    }

    #[test]
    fn a_command_for_each_chat_keeps_its_list_until_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("state.db")).unwrap();
        let all = ChatQuery::all(AccountId::parse("a").unwrap());
        let name = CommandName::of_sync_each(None, &all);
        assert_eq!(store.listed_chats(&name).unwrap(), None);
        let first = store.command_for_listed(&name, "k1", &chats(&["x", "y"])).unwrap();
        let again = store.command_for_listed(&name, "k2", &chats(&["z"])).unwrap();
        assert_eq!((first.resumed, &again), (false, &Command { key: "k1".into(), resumed: true }));
        assert_eq!(store.listed_chats(&name).unwrap(), Some(chats(&["x", "y"])));
        let unread = ChatQuery { unread: true, ..all.clone() };
        for other in [
            CommandName::of_sync_each(None, &unread),
            CommandName::of_sync_each(Some("https://sqs/one"), &all),
            CommandName::of_trigger_each("https://sqs/one", &all),
        ] {
            assert!(!store.is_unfinished(&other).unwrap(), "{other:?}");
        }
        store.finish(&again).unwrap();
        assert_eq!(store.listed_chats(&name).unwrap(), None);
        assert!(!store.command_for_listed(&name, "k3", &chats(&["z"])).unwrap().resumed);
    }

    #[test]
    fn a_finished_command_is_remembered_with_its_last_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("state.db")).unwrap();
        let name = CommandName::of_trigger_each("https://sqs/one", &ChatQuery::all(AccountId::parse("a").unwrap()));
        for (key, time) in [("k1", Millis(1)), ("k2", Millis(2))] {
            let command = store.command(&name, key).unwrap();
            assert_eq!(command, Command { key: key.into(), resumed: false });
            store.finish_and_remember(&name, &command, time).unwrap();
            assert_eq!(store.finished_at(&name).unwrap(), Some(time));
        }
    }

    #[test]
    fn a_file_of_another_kind_is_rejected_and_left_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "these are my notes, and not a database at all".repeat(50)).unwrap();
        let before = std::fs::read(&path).unwrap();
        let error = SqliteStore::open(&path).unwrap_err().to_string();
        assert!(error.contains("BRIDGE_STATE_FILE"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_file_of_another_version_is_rejected() {
        for format in [FORMAT - 1, FORMAT + 1] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("state.db");
            Connection::open(&path).unwrap().pragma_update(None, "user_version", format).unwrap();
            assert!(matches!(SqliteStore::open(&path), Err(StateFileError::OtherVersion { .. })), "{format}");
            assert!(matches!(SqliteStore::open_to_read(&path), Err(StateFileError::OtherVersion { .. })), "{format}");
        }
    }

    /// The files of a folder, and what is in them.
    fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = paths.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect();
        files.sort();
        files
    }

    #[test]
    fn reading_leaves_the_folder_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("50% sure? #1.db");
        assert!(SqliteStore::open_to_read(&path).unwrap().is_none());
        assert_eq!(contents(folder.path()), []);

        std::fs::write(&path, "").unwrap();
        assert!(SqliteStore::open_to_read(&path).unwrap().is_none(), "the file is still empty");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);

        drop(SqliteStore::open(&path).unwrap());
        let before = contents(folder.path());
        assert_eq!(before.len(), 1);
        let store = SqliteStore::open_to_read(&path).unwrap().unwrap();
        assert_eq!(store.ended_page(None).unwrap().looked_at, 0);
        assert!(store.command(&name(&["a"]), "k").is_err(), "the connection is read-only");
        drop(store);
        #[cfg(unix)]
        {
            let twice = Path::new("/").join(format!("/{}", path.display()));
            assert!(SqliteStore::open_to_read(&twice).unwrap().is_some(), "{}", twice.display());
        }
        assert!(contents(folder.path()) == before, "the folder has changed");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))] // each case creates a file
        #[test]
        fn every_item_round_trips_through_the_file(item in arbitrary::item()) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("state.db");
            let start = Write::Start { item: Box::new(item.clone()), over: None };
            SqliteStore::open(&path).unwrap().write(&start).now_or_never().unwrap().unwrap();
            let read = SqliteStore::open(&path).unwrap().read(&item.subject).now_or_never().unwrap().unwrap();
            prop_assert_eq!(read, Some(item));
        }
    }
}

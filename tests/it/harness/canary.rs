//! The API keys of the whole suite, one for each workspace. Everything that the bridge prints, stores, sends or publishes in a test
//! is checked not to contain them.

use std::fs::{self, File};
use std::path::Path;
use std::process::Output;
use std::thread;

use tempfile::NamedTempFile;
use tokio::process::{Child, Command};

/// The API key of the default workspace, in every program and client that the tests start.
pub(crate) const CANARY: &str = "pp_live_hunter2";

/// Other workspaces, each with its key.
pub(crate) const WORKSPACES: [(&str, &str); 2] = [("acme", "pp_live_swordfish3"), ("globex", "pp_live_opensesame4")];

/// A secret with an entry for each of [`WORKSPACES`].
pub(crate) fn workspaces_secret() -> serde_json::Value {
    WORKSPACES.iter().map(|(name, key)| ((*name).to_owned(), serde_json::json!({ "api_key": key }))).collect()
}

/// # Panics
/// If the text contains a key. The message does not show it again.
pub(crate) fn assert_no_secret(place: &str, text: &str) {
    let mut keys = WORKSPACES.map(|(_, key)| key).into_iter().chain([CANARY]);
    if let Some(at) = keys.find_map(|key| text.find(key)) {
        let before = &text[text.floor_char_boundary(at.saturating_sub(300))..at];
        panic!("the API key is in {place}, after: {before}");
    }
}

/// The only way to read a program's output: checks that it contains no secret.
pub(crate) trait CheckedOutput {
    async fn checked_output(self) -> Output;
}

impl CheckedOutput for &mut Command {
    async fn checked_output(self) -> Output {
        checked(self.output().await.unwrap())
    }
}

impl CheckedOutput for Child {
    async fn checked_output(self) -> Output {
        checked(self.wait_with_output().await.unwrap())
    }
}

fn checked(output: Output) -> Output {
    assert_no_secret("stdout", &String::from_utf8_lossy(&output.stdout));
    assert_no_secret("stderr", &String::from_utf8_lossy(&output.stderr));
    output
}

/// A log that programs write to. On drop it is checked as a whole, even if no test read it.
pub(crate) struct CheckedLog(NamedTempFile);

impl CheckedLog {
    pub(crate) fn new() -> Self {
        Self(NamedTempFile::new().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Opens the log for a program. It appends, since others may write at the same time; unlike a pipe without a reader, it
    /// is never full, which would block the program.
    pub(crate) fn open(&self) -> File {
        File::options().append(true).open(self.path()).unwrap()
    }
}

impl Drop for CheckedLog {
    fn drop(&mut self) {
        if !thread::panicking() {
            assert_no_secret("a log", &String::from_utf8_lossy(&fs::read(self.path()).unwrap()));
        }
    }
}

#[test]
#[should_panic(expected = "the API key is in a log, after: key ")]
fn the_key_is_found_in_a_log_that_no_test_reads() {
    let log = CheckedLog::new();
    fs::write(log.path(), format!("key {CANARY}")).unwrap();
}

#[test]
fn the_key_of_every_workspace_is_found() {
    for (_, key) in WORKSPACES {
        let found = std::panic::catch_unwind(|| assert_no_secret("a log", &format!("key {key}")));
        found.expect_err("a workspace's key is not found");
    }
}

#[tokio::test]
#[should_panic(expected = "the API key is in stdout, after: key ")]
async fn the_key_is_found_in_a_programs_output() {
    Command::new("echo").arg(format!("key {CANARY}")).checked_output().await;
}

//! The OpenAPI description, checked against the running function by Schemathesis: requests that it allows and requests that it
//! does not, with and without the token.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::world::{TOKEN, open_front, remember};
use crate::harness::emulator::Emulated;
use crate::harness::tools;

const DESCRIPTION: &str = "events/schemas/webhook.openapi.json";

/// The schema counts characters where we count bytes, and cannot describe our own messages, so it allows some that we refuse.
const ACCEPTANCE: &str = "positive_data_acceptance";
/// With the token in every request, no request has a wrong one.
const AUTHENTICATION: &str = "ignored_auth";

/// Runs Schemathesis with this description against a new function, without these checks.
async fn run(description: &Path, header: Option<&str>, without: &[&str]) -> Output {
    let schemathesis = tools::schemathesis();
    let aws = Emulated::new().await;
    // The chat of the description's examples, so that one answer is a status.
    remember(&aws, "chat_01HXYZ4QK3WJ8FN3M6QH7TZ8GR").await;
    let front = open_front(&aws);
    let directory = TempDir::new().unwrap();
    let output = front
        .serve(async |url| {
            let mut command = Command::new(&schemathesis);
            tools::without_private_settings(command.as_std_mut())
                .arg("run")
                .arg(description)
                .args(["--url", &url, "--checks", "all", "--exclude-checks", &without.join(",")])
                .args(["--max-examples", "25", "--seed", "1", "--no-color", "--generation-database", "none"])
                .args(header.iter().flat_map(|header| ["--header", header]))
                .env("NO_PROXY", "127.0.0.1")
                .current_dir(directory.path());
            command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap()
        })
        .await;
    assert_eq!(front.processes_started(), 1, "{}", front.log());
    output
}

fn assert_finds_nothing(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("Tested: 13") && !said.contains("Unresolvable references"), "{said}");
}

fn description() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(DESCRIPTION)
}

#[tokio::test]
async fn the_function_matches_its_description() {
    let bearer = format!("Authorization: Bearer {TOKEN}");
    assert_finds_nothing(&run(&description(), Some(&bearer), &[ACCEPTANCE, AUTHENTICATION]).await);
    assert_finds_nothing(&run(&description(), None, &[ACCEPTANCE]).await);
}

#[tokio::test]
async fn a_wrong_description_is_detected() {
    let text = fs::read_to_string(description()).unwrap();
    let mut wrong: Value = serde_json::from_str(&text).unwrap();
    wrong["components"]["schemas"]["SyncStatus"]["required"] = json!(["version"]);
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("wrong.json");
    fs::write(&path, wrong.to_string()).unwrap();
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let output = run(&path, Some(&bearer), &[ACCEPTANCE, AUTHENTICATION]).await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("\"version\" is a required property"), "{said}");
}

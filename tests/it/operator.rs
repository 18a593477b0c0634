//! The operator's commands, on the file of the local `sync` and on a deployed bridge.

use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use postpress_bridge::ids::Subject;
use postpress_bridge::run::{Item, Open, RunState};
use postpress_bridge::time::Millis;

use crate::run_store::writes::{chat, new_run};

mod deployed;
mod each_chat;
mod in_a_file;

/// The output of a finished command.
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Said {
    fn json(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(parse).collect()
    }

    /// The values of a field, in the order of the lines.
    fn field(&self, name: &str) -> Vec<String> {
        self.json().iter().map(|line| line[name].as_str().unwrap().to_owned()).collect()
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let said = Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) };
        assert!(!format!("{}{}", said.stdout, said.stderr).contains('\u{1b}'), "no colours without a terminal");
        said
    }
}

/// Runs a command to its end.
async fn said(command: &mut Command) -> Said {
    timeout(Duration::from_mins(2), command.output()).await.expect("the command ends").unwrap().into()
}

/// An open run of this chat.
fn open_run(name: &str, started_at: Millis, lease_until: Millis) -> Item {
    let chat_id: Subject = chat(name);
    let state = RunState::Active { open: Open::of_active(&chat_id, started_at) };
    Item { started_at_ms: started_at, lease_until_ms: lease_until, state, ..new_run(&chat_id, 1) }
}

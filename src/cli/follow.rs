//! Follows a command's triggers in the run table of a deployed bridge until each has its ending.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use futures_util::stream::{self, StreamExt};
use tokio::time::{Instant, sleep};

use crate::ids::{Subject, TriggerKey};
use crate::settings::FollowSettings;
use crate::store::{CONCURRENT_READS, Driver, RunTable};
use crate::time::Clock;

use super::chat_state::{ChatResult, ChatState, Results};
use super::format::{brief, span};
use super::output::EventFormat;
use super::progress::ProgressDisplay;
use super::shutdown;

/// How often to read the table; a run changes every few seconds at most.
pub(super) const READ_EVERY: Duration = Duration::from_secs(2);

/// The chats that a command follows.
pub(super) struct Follow {
    table: RunTable,
    run_ttl: Duration,
    /// How long a trigger may take to reach the table.
    timeout: Duration,
    pub(super) results: Results,
}

/// One chat.
struct FollowedChat {
    key: TriggerKey,
    /// When the trigger was last seen in the table; initially the start.
    seen: Instant,
    /// The last text shown.
    shown: String,
}

impl Follow {
    /// With `json`, events are printed as JSON lines on a terminal too.
    pub(super) fn new(
        table: RunTable,
        settings: &FollowSettings,
        display: ProgressDisplay,
        json: bool,
        timeout: Duration,
    ) -> Self {
        let results = Results::new(display, EventFormat::new(json, &settings.event_source));
        Self { table, run_ttl: settings.run_ttl, timeout, results }
    }

    /// The state of a chat for a command whose trigger has this key.
    pub(super) async fn state(&self, chat: &Subject, key: TriggerKey) -> anyhow::Result<ChatState> {
        let item = self.table.read(chat).await.with_context(|| format!("cannot read the run of {}", chat.label()))?;
        Ok(ChatState::of(item, key, Clock::System.now(), self.run_ttl))
    }

    /// Follows the triggers with these keys until each of the command's `chats` has a result or the user interrupts.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub(super) async fn run(&self, keys: BTreeMap<Subject, TriggerKey>, chats: usize) -> anyhow::Result<Followed> {
        let interrupted = tokio::select! {
            followed = self.until_finished(keys) => followed.map(|()| false)?,
            () = shutdown::signal() => true,
        };
        self.results.sum_up(chats);
        Ok(Followed {
            interrupted,
            all_ended: self.results.all(chats, |result| result != ChatResult::GivenUp),
            all_succeeded: self.results.all(chats, ChatResult::is_success),
        })
    }

    async fn until_finished(&self, keys: BTreeMap<Subject, TriggerKey>) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut open: BTreeMap<Subject, FollowedChat> = keys
            .into_iter()
            .map(|(chat, key)| (chat, FollowedChat { key, seen: began, shown: String::new() }))
            .collect();
        while !open.is_empty() {
            let reads =
                open.iter().map(|(chat, followed)| async { (chat.clone(), self.state(chat, followed.key).await) });
            let states: Vec<_> = stream::iter(reads).buffer_unordered(CONCURRENT_READS).collect().await;
            for (chat, state) in states {
                let state = state?;
                self.results.show(&chat, &state)?;
                if let Some(followed) = open.get_mut(&chat) {
                    self.update(&chat, &state, followed);
                }
            }
            open.retain(|chat, _| !self.results.contains(chat));
            if !open.is_empty() {
                sleep(READ_EVERY).await;
            }
        }
        Ok(())
    }

    /// Shows a change of a chat without an ending, and gives up on it if its trigger does not reach the table.
    fn update(&self, chat: &Subject, state: &ChatState, followed: &mut FollowedChat) {
        let text = match state {
            ChatState::Ended(_) | ChatState::SyncedAgain => return,
            ChatState::Open { run, ours: true } => {
                followed.seen = Instant::now();
                self.results.display.set_calls(chat, run.polls);
                if let Some(at) = run.learned.next_poll_ms {
                    self.results.display.set_next(chat, at.since(Clock::System.now()));
                }
                brief(run, Driver::Bridge)
            }
            ChatState::Open { ours: false, .. } | ChatState::Fresh if followed.seen.elapsed() < self.timeout => {
                "its trigger is in the queue".to_owned()
            }
            ChatState::Open { .. } | ChatState::Fresh => return self.give_up(chat),
        };
        if followed.shown != text {
            self.results.display.update(chat, &text);
            followed.shown = text;
        }
    }

    fn give_up(&self, chat: &Subject) {
        let text = format!(
            "gave up: its trigger has not reached the run table for {}. Is the worker running, or does the trigger wait for \
             a run in flight to end? A run also rejects every trigger after its 50th, with a `bridge/too_many_triggers` event",
            span(self.timeout)
        );
        self.results.finish(chat, &text, ChatResult::GivenUp);
    }
}

/// How following the chats ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Followed {
    /// The user interrupted.
    pub(super) interrupted: bool,
    /// Every chat has its ending: there is nothing to resume.
    pub(super) all_ended: bool,
    /// Every chat ended in `SYNC_DONE`.
    pub(super) all_succeeded: bool,
}

//! Follows the triggers of a command in the run table of a deployed bridge, until each has its ending.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use futures_util::stream::{self, StreamExt};
use tokio::time::{Instant, sleep};

use crate::event::Event;
use crate::ids::{ChatId, TriggerKey};
use crate::settings::FollowSettings;
use crate::store::RunTable;
use crate::time::Clock;

use super::chat_state::{ChatState, Told, show, show_synced_again, total};
use super::format::{brief, span};
use super::progress::{Mark, ProgressDisplay};
use super::shutdown;

/// How often to look: polls come every few seconds at the most.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How many chats to read at once.
const READ_AT_ONCE: usize = 16;

/// What a command has asked for and follows.
pub(super) struct Follow {
    pub(super) table: RunTable,
    pub(super) settings: FollowSettings,
    pub(super) display: ProgressDisplay,
    /// How long a trigger may take to come to the table.
    pub(super) timeout: Duration,
    told: RefCell<BTreeMap<ChatId, Told>>,
}

/// A chat that is followed.
struct Followed {
    key: TriggerKey,
    /// When the trigger was last seen in the table; at first, when the following began.
    seen: Instant,
    /// What was last said of it.
    said: String,
}

impl Follow {
    pub(super) fn new(table: RunTable, settings: FollowSettings, display: ProgressDisplay, timeout: Duration) -> Self {
        Self { table, settings, display, timeout, told: RefCell::default() }
    }

    /// Where a chat stands for a command whose trigger has this key.
    pub(super) async fn standing(&self, chat: &ChatId, key: TriggerKey) -> anyhow::Result<ChatState> {
        let item = self.table.read(chat).await.with_context(|| format!("the run of {chat} cannot be read"))?;
        Ok(ChatState::of(item, key, Clock::System.now(), self.settings.run_ttl))
    }

    /// Tells the ending of a chat that has one.
    pub(super) fn tell(&self, chat: &ChatId, standing: &ChatState) -> anyhow::Result<()> {
        let told = match standing {
            ChatState::Ended(item) => match Event::of_run(item) {
                Some(event) => show(&event, chat, &self.display, &self.settings.event_source)?,
                None => return Ok(()),
            },
            ChatState::Forgotten => show_synced_again(chat, &self.display),
            ChatState::Fresh | ChatState::Open { .. } => return Ok(()),
        };
        self.told.borrow_mut().insert(chat.clone(), told);
        Ok(())
    }

    /// Follows the triggers with these keys, until each is told of or somebody interrupts; tells whether all of the
    /// command's `chats` ended well.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub(super) async fn run(&self, keys: BTreeMap<ChatId, TriggerKey>, chats: usize) -> anyhow::Result<Outcome> {
        let interrupted = tokio::select! {
            followed = self.until_told(keys) => followed.map(|()| false)?,
            () = shutdown::signal() => true,
        };
        let told = self.told.borrow();
        if chats > 1 {
            self.display.note(&total(&told, chats));
        }
        let all_ended = told.len() == chats && !told.values().any(|told| *told == Told::GivenUp);
        Ok(Outcome {
            interrupted,
            all_ended,
            all_good: told.len() == chats && told.values().all(|told| told.is_good()),
        })
    }

    async fn until_told(&self, keys: BTreeMap<ChatId, TriggerKey>) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut left: BTreeMap<ChatId, Followed> =
            keys.into_iter().map(|(chat, key)| (chat, Followed { key, seen: began, said: String::new() })).collect();
        while !left.is_empty() {
            let looks =
                left.iter().map(|(chat, followed)| async { (chat.clone(), self.standing(chat, followed.key).await) });
            let looks: Vec<_> = stream::iter(looks).buffer_unordered(READ_AT_ONCE).collect().await;
            for (chat, standing) in looks {
                let standing = standing?;
                self.tell(&chat, &standing)?;
                if let Some(followed) = left.get_mut(&chat) {
                    self.say(&chat, &standing, followed);
                }
            }
            left.retain(|chat, _| !self.told.borrow().contains_key(chat));
            if !left.is_empty() {
                sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// Says what is new of a chat that has no ending yet, and gives it up if its trigger does not come.
    fn say(&self, chat: &ChatId, standing: &ChatState, followed: &mut Followed) {
        let text = match standing {
            ChatState::Ended(_) | ChatState::Forgotten => return,
            ChatState::Open { run, ours: true } => {
                followed.seen = Instant::now();
                brief(run)
            }
            ChatState::Open { ours: false, .. } | ChatState::Fresh if followed.seen.elapsed() < self.timeout => {
                "its trigger waits in the queue".to_owned()
            }
            ChatState::Open { .. } | ChatState::Fresh => return self.give_up(chat),
        };
        if followed.said != text {
            self.display.update(chat, &text);
            followed.said = text;
        }
    }

    fn give_up(&self, chat: &ChatId) {
        let text = format!(
            "given up: its trigger has not come to the run table for {}. Does the worker run? Of a run's triggers beyond the \
             50th each is refused, with a `bridge/too_many_triggers` event",
            span(self.timeout)
        );
        self.display.finish(chat, &text, Mark::Failure);
        self.told.borrow_mut().insert(chat.clone(), Told::GivenUp);
    }
}

/// How the following ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Somebody did not want to wait.
    pub(super) interrupted: bool,
    /// Every chat has its ending: nothing is left to come back for.
    pub(super) all_ended: bool,
    /// Every chat ended in `SYNC_DONE`.
    pub(super) all_good: bool,
}

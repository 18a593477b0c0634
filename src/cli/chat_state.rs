//! The state of a chat for the command that requested its sync, and how its ending is shown.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::Notify;

use crate::event::{DetailType, Event};
use crate::ids::{Subject, TriggerKey};
use crate::run::Item;
use crate::service::ServiceError;
use crate::time::Millis;

use super::output::EventFormat;
use super::progress::{Mark, ProgressDisplay};

/// The state of a chat for a command whose triggers carry its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ChatState {
    /// Its run ended; only the ending remains to be printed.
    Ended(Box<Item>),
    /// Its run ended, and another command has synced it again since: the ending is no longer in the table.
    SyncedAgain,
    /// No run, or one of another command that is over: a trigger starts a run.
    Fresh,
    /// A run is open. If it is not `ours`, a trigger joins it.
    Open { run: Box<Item>, ours: bool },
}

impl ChatState {
    /// The state of a chat with this item for the command with this key.
    pub(super) fn of(item: Option<Item>, key: TriggerKey, now: Millis, run_ttl: Duration) -> Self {
        let Some(item) = item else { return Self::Fresh };
        let ours = item.keys.contains(&key);
        match (item.state.is_published(), ours) {
            (true, true) => Self::Ended(Box::new(item)),
            (true, false) if item.seen.contains(key, now, run_ttl) => Self::SyncedAgain,
            (true, false) => Self::Fresh,
            (false, _) if !ours && item.seen.contains(key, now, run_ttl) => Self::SyncedAgain,
            (false, ours) => Self::Open { run: Box::new(item), ours },
        }
    }
}

/// What a command reports about a chat at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ChatResult {
    /// Its ending.
    Ended(DetailType),
    /// The ending is no longer in the table.
    SyncedAgain,
    /// Its trigger never reached the table.
    GivenUp,
}

impl ChatResult {
    /// Whether the sync is done.
    pub(super) fn is_success(self) -> bool {
        self == Self::Ended(DetailType::SyncDone)
    }

    fn mark(self) -> Mark {
        if self.is_success() { Mark::Success } else { Mark::Failure }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Ended(detail_type) => detail_type.as_str(),
            Self::SyncedAgain => "ended and synced again since",
            Self::GivenUp => "given up on",
        }
    }
}

/// Shows how the chats of a command end, and keeps their results.
pub(super) struct Results {
    pub(super) display: ProgressDisplay,
    events: EventFormat,
    by_chat: RefCell<BTreeMap<Subject, ChatResult>>,
    changed: Notify,
}

impl Results {
    pub(super) fn new(display: ProgressDisplay, events: EventFormat) -> Self {
        Self { display, events, by_chat: RefCell::default(), changed: Notify::new() }
    }

    /// Prints an event that ends no chat of the command.
    pub(super) fn print(&self, event: &Event) -> Result<(), ServiceError> {
        self.display.data(&self.events.line(event))
    }

    /// Prints the event that ends a chat.
    pub(super) fn end(&self, chat: &Subject, event: &Event) -> Result<(), ServiceError> {
        // The line of its chat says the same.
        if !(matches!(self.events, EventFormat::Lines) && self.display.is_watched()) {
            self.print(event)?;
        }
        let result = ChatResult::Ended(event.detail_type);
        if let Some(polls) = event.detail.polls {
            self.display.set_calls(chat, polls);
        }
        self.display.end(chat, event.detail_type.as_str(), event.detail.error.as_ref(), result.mark());
        self.keep(chat, result);
        Ok(())
    }

    /// Shows the result of a chat that has one.
    pub(super) fn show(&self, chat: &Subject, state: &ChatState) -> Result<(), ServiceError> {
        match state {
            ChatState::Ended(item) => Event::of_run(item).map_or(Ok(()), |event| self.end(chat, &event)),
            ChatState::SyncedAgain => {
                let text = "ended, and another command has synced it again since";
                self.finish(chat, text, ChatResult::SyncedAgain);
                Ok(())
            }
            ChatState::Fresh | ChatState::Open { .. } => Ok(()),
        }
    }

    pub(super) fn finish(&self, chat: &Subject, text: &str, result: ChatResult) {
        self.display.finish(chat, text, result.mark());
        self.keep(chat, result);
    }

    fn keep(&self, chat: &Subject, result: ChatResult) {
        self.by_chat.borrow_mut().insert(chat.clone(), result);
        self.changed.notify_waiters();
    }

    pub(super) fn contains(&self, chat: &Subject) -> bool {
        self.by_chat.borrow().contains_key(chat)
    }

    /// Whether each of the command's `chats` has a result that passes `test`.
    pub(super) fn all(&self, chats: usize, test: impl Fn(ChatResult) -> bool) -> bool {
        let results = self.by_chat.borrow();
        results.len() == chats && results.values().all(|result| test(*result))
    }

    /// Completes when each of the command's `chats` has a result.
    pub(super) async fn complete(&self, chats: usize) {
        loop {
            let changed = self.changed.notified();
            if self.all(chats, |_| true) {
                return;
            }
            changed.await;
        }
    }

    /// Shows the results of a command for several `chats` in one line, below those of the chats.
    pub(super) fn sum_up(&self, chats: usize) {
        self.display.stop();
        if chats > 1 {
            self.display.note(&summary(&self.by_chat.borrow(), chats));
        }
    }
}

fn summary(results: &BTreeMap<Subject, ChatResult>, chats: usize) -> String {
    let mut counts: BTreeMap<ChatResult, usize> = BTreeMap::new();
    for result in results.values() {
        *counts.entry(*result).or_default() += 1;
    }
    let mut parts: Vec<String> = counts.iter().map(|(result, count)| format!("{count} {}", result.as_str())).collect();
    if results.len() < chats {
        parts.push(format!("{} not done yet", chats - results.len()));
    }
    format!("{chats} chats: {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::run_report::tests::{NOW, item};
    use crate::postpress::Finish;
    use crate::run::{EndedBy, Outcome, RecentKeys, RunState};

    const TTL: Duration = Duration::from_hours(24);

    #[test]
    fn state_depends_on_the_run_and_our_key() {
        let key = TriggerKey::of("ours");
        let ours = |item: Item| Item { keys: [key].into(), ..item };
        let seen = |item: Item| Item { seen: RecentKeys::default().after(&[key].into(), NOW, NOW, TTL), ..item };
        let outcome = Outcome { ending: Finish::Done.into(), ended_by: EndedBy::Answer, finished_at: NOW };
        let open_at = item().state.open().unwrap();
        let unpublished = || Item { state: RunState::Ended { outcome: outcome.clone(), open: open_at }, ..item() };
        let over = || Item { state: RunState::Published { outcome: outcome.clone(), expires_at: 1 }, ..item() };
        let open = |ours, run: Item| ChatState::Open { run: Box::new(run), ours };
        for (what, item, state) in [
            ("no run", None, ChatState::Fresh),
            ("another's run", Some(item()), open(false, item())),
            ("our run", Some(ours(item())), open(true, ours(item()))),
            ("our run, not published", Some(ours(unpublished())), open(true, ours(unpublished()))),
            ("our run, over", Some(ours(over())), ChatState::Ended(Box::new(ours(over())))),
            ("another's run, over", Some(over()), ChatState::Fresh),
            ("another's run after ours", Some(seen(item())), ChatState::SyncedAgain),
            ("another's run after ours, over", Some(seen(over())), ChatState::SyncedAgain),
        ] {
            assert_eq!(ChatState::of(item, key, NOW, TTL), state, "{what}");
        }
    }

    #[test]
    fn summary_counts_every_chat_once() {
        let chat = |name: &str| Subject::chat(name).unwrap();
        let done = ChatResult::Ended(DetailType::SyncDone);
        let results =
            [("a", done), ("b", ChatResult::GivenUp), ("c", done), ("d", ChatResult::Ended(DetailType::SyncError))];
        let results: BTreeMap<_, _> = results.into_iter().map(|(name, result)| (chat(name), result)).collect();
        assert_eq!(summary(&results, 5), "5 chats: 2 SYNC_DONE, 1 SYNC_ERROR, 1 given up on, 1 not done yet");
    }
}

//! Where a chat stands for the command that asked for it, and how its ending is told.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::{DetailType, Event};
use crate::ids::{ChatId, TriggerKey};
use crate::run::Item;
use crate::service::ServiceError;
use crate::time::Millis;

use super::progress::{Mark, ProgressDisplay};

/// Where a chat stands for a command whose triggers carry its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ChatState {
    /// Its ending was printed, or is to be printed from the table; nothing is left to do.
    Ended(Box<Item>),
    /// It ended, and another command has synced it again since; that ending is no longer in the table.
    Forgotten,
    /// Nothing is known of it, or only a run that is over: a trigger starts one.
    Fresh,
    /// A run goes on, or its ending is not known to be out. A trigger joins it, if it has none of ours.
    Open { run: Box<Item>, ours: bool },
}

impl ChatState {
    /// Decides where a chat with this item stands for the command with this key.
    pub(super) fn of(item: Option<Item>, key: TriggerKey, now: Millis, run_ttl: Duration) -> Self {
        let Some(item) = item else { return Self::Fresh };
        let ours = item.keys.contains(&key);
        match (item.state.is_published(), ours) {
            (true, true) => Self::Ended(Box::new(item)),
            (true, false) if item.seen.contains(key, now, run_ttl) => Self::Forgotten,
            (true, false) => Self::Fresh,
            (false, _) if !ours && item.seen.contains(key, now, run_ttl) => Self::Forgotten,
            (false, ours) => Self::Open { run: Box::new(item), ours },
        }
    }
}

/// What a command could tell of a chat at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    /// Its ending.
    Ended(DetailType),
    /// That its ending is no longer in the table.
    SyncedAgain,
    /// That its trigger never came to the table.
    GivenUp,
}

impl Told {
    /// All that one hopes for.
    pub(super) fn is_good(self) -> bool {
        self == Self::Ended(DetailType::SyncDone)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Ended(detail_type) => detail_type.as_str(),
            Self::SyncedAgain => "ended and synced again since",
            Self::GivenUp => "given up on",
        }
    }
}

/// What was told of all chats of a command, in a line.
pub(super) fn total(told: &BTreeMap<ChatId, Told>, chats: usize) -> String {
    let mut counts: BTreeMap<Told, usize> = BTreeMap::new();
    for told in told.values() {
        *counts.entry(*told).or_default() += 1;
    }
    let mut parts: Vec<String> = counts.iter().map(|(told, count)| format!("{count} {}", told.as_str())).collect();
    if told.len() < chats {
        parts.push(format!("{} not done yet", chats - told.len()));
    }
    format!("{chats} chats: {}", parts.join(", "))
}

/// Prints the event that ends a chat.
pub(super) fn show(
    event: &Event,
    chat: &ChatId,
    display: &ProgressDisplay,
    source: &str,
) -> Result<Told, ServiceError> {
    display.data(&event.to_line(source))?;
    let told = Told::Ended(event.detail_type);
    let kind = event.detail.error.as_ref().map_or("", |error| error.kind.as_str());
    let text = format!("event {} {kind}", event.detail_type.as_str());
    display.finish(chat, text.trim_end(), if told.is_good() { Mark::Success } else { Mark::Failure });
    Ok(told)
}

/// Says that a chat's ending is no longer there to be printed.
pub(super) fn show_synced_again(chat: &ChatId, display: &ProgressDisplay) -> Told {
    display.finish(chat, "ended, and was synced again by another command since", Mark::Failure);
    Told::SyncedAgain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::run_report::tests::{NOW, item};
    use crate::postpress::Finish;
    use crate::run::{EndedBy, Outcome, RecentKeys, RunState};

    const TTL: Duration = Duration::from_hours(24);

    #[test]
    fn a_chat_stands_where_its_run_and_our_key_are() {
        let key = TriggerKey::of("ours");
        let ours = |item: Item| Item { keys: [key].into(), ..item };
        let seen = |item: Item| Item { seen: RecentKeys::default().after(&[key].into(), NOW, NOW, TTL), ..item };
        let outcome = Outcome { ending: Finish::Done.into(), ended_by: EndedBy::Answer, finished_at: NOW };
        let open_at = item().state.open().unwrap();
        let unpublished = || Item { state: RunState::Ended { outcome: outcome.clone(), open: open_at }, ..item() };
        let over = || Item { state: RunState::Published { outcome: outcome.clone(), expires_at: 1 }, ..item() };
        let open = |ours, run: Item| ChatState::Open { run: Box::new(run), ours };
        for (what, item, standing) in [
            ("no run", None, ChatState::Fresh),
            ("another's run", Some(item()), open(false, item())),
            ("our run", Some(ours(item())), open(true, ours(item()))),
            ("our run, not published", Some(ours(unpublished())), open(true, ours(unpublished()))),
            ("our run, over", Some(ours(over())), ChatState::Ended(Box::new(ours(over())))),
            ("another's run, over", Some(over()), ChatState::Fresh),
            ("another's run after ours", Some(seen(item())), ChatState::Forgotten),
            ("another's run after ours, over", Some(seen(over())), ChatState::Forgotten),
        ] {
            assert_eq!(ChatState::of(item, key, NOW, TTL), standing, "{what}");
        }
    }

    #[test]
    fn the_total_counts_every_chat_once() {
        let chat = |name: &str| ChatId::parse(name).unwrap();
        let done = Told::Ended(DetailType::SyncDone);
        let told = [("a", done), ("b", Told::GivenUp), ("c", done), ("d", Told::Ended(DetailType::SyncError))];
        let told: BTreeMap<_, _> = told.into_iter().map(|(name, told)| (chat(name), told)).collect();
        assert_eq!(total(&told, 5), "5 chats: 2 SYNC_DONE, 1 SYNC_ERROR, 1 given up on, 1 not done yet");
    }
}

//! `postpress-bridge sync`: real chats, driven to their end from here.
//!
//! The same worker as on AWS, over a queue in memory and a run table in a file. What the queue held is lost with the
//! process, as a dead-lettered message would be; the file tells what is to go on, and a poll under the run's own claim
//! makes it go on, which is what the sweep does on AWS.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::bus::MemoryBus;
use crate::event::Event;
use crate::event_source_mapping::EventSourceMapping;
use crate::ids::{ChatId, TriggerKey};
use crate::postpress::Provider;
use crate::queue::MemoryQueue;
use crate::run::{DELAY_MAX, Item};
use crate::service::ServiceError;
use crate::settings::{FromEnv, TerminalSettings};
use crate::store::{Command, RunStore, SqliteStore};
use crate::telemetry::{self, LogFormat};
use crate::time::{Clock, Millis};
use crate::worker::{Worker, WorkerConfig};

use super::args::duration;
use super::aws::provider;
use super::chat_state::{ChatState, Told, show, show_synced_again, total};
use super::observed_provider::{ObservedProvider, words};
use super::progress::ProgressDisplay;
use super::shutdown::{self, second_signal};

mod deployed;

/// Sync real chats from here, and print one event for each.
///
/// The base URL comes from `POSTPRESS_BASE_URL`, the key from `POSTPRESS_API_KEY`, or, with AWS in the build, from the secret
/// that `POSTPRESS_API_KEY_SECRET_ID` names. Interrupted, the same command goes on where it was.
///
/// With `BRIDGE_TABLE` set, a deployed bridge does the work: triggers go to `BRIDGE_QUEUE_URL`, and the table is followed to
/// the endings. Interrupted, the same command follows the same request.
///
/// Exit code 0: every chat ended in `SYNC_DONE`; 1: one did not, or not yet; 2: it could not be tried.
#[derive(Debug, Clone, Args)]
pub struct Sync {
    /// The chats to sync
    #[arg(required = true, value_name = "CHAT_ID", value_parser = ChatId::parse)]
    chats: Vec<ChatId>,

    /// With `BRIDGE_TABLE`: give up on a chat whose trigger has not come to the run table for so long
    #[arg(long, default_value = "15m", value_parser = duration, value_name = "TIME")]
    timeout: Duration,
}

/// How often to look whether another process has taken a chat over.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is still to come, and what has come.
#[derive(Default)]
struct Progress {
    told: RefCell<BTreeMap<ChatId, Told>>,
    changed: Notify,
}

impl Sync {
    /// Drives the chats to their end, and tells whether all are `SYNC_DONE`.
    ///
    /// # Errors
    /// If the settings or the state file cannot be used.
    pub async fn run(self) -> anyhow::Result<bool> {
        if std::env::var_os("BRIDGE_TABLE").is_some_and(|table| !table.is_empty()) {
            return deployed::sync(self.chats.into_iter().collect(), self.timeout).await;
        }
        let settings = TerminalSettings::from_env()?;
        telemetry::init(&settings.log_filter, LogFormat::Compact)?;
        let provider = provider(&settings.provider).await?;
        let chats: BTreeSet<ChatId> = self.chats.into_iter().collect();
        let store = SqliteStore::open(&settings.state_file)?;
        store.forget_expired(Clock::System.now())?;
        let command = store.command(&chats, &uuid::Uuid::new_v4().to_string())?;
        let session = Session {
            display: Rc::new(ProgressDisplay::new(&chats)),
            progress: Rc::new(Progress::default()),
            store: Rc::new(store),
            chats,
            command,
            settings,
        };
        session.run(provider).await
    }
}

/// One process's share of a command.
struct Session {
    settings: TerminalSettings,
    chats: BTreeSet<ChatId>,
    command: Command,
    store: Rc<SqliteStore>,
    display: Rc<ProgressDisplay>,
    progress: Rc<Progress>,
}

impl Session {
    async fn run(&self, provider: impl Provider) -> anyhow::Result<bool> {
        if self.command.resumed {
            self.display.note("going on with an earlier command for these chats");
        }
        // One message an invocation, which is as long as a call and what goes around it may take.
        let limits = &self.settings.limits;
        let invocation = limits.invocation_of_one();
        let visibility_timeout = invocation + limits.lease_margin;
        let queue = Rc::new(MemoryQueue::new(&self.new_name(), Clock::System, visibility_timeout, u32::MAX));
        for chat in &self.chats {
            self.begin(chat, &queue).await.with_context(|| format!("could not begin with {chat}"))?;
        }

        let watched = Rc::clone(&self.display);
        let provider = ObservedProvider {
            provider,
            observe: move |chat: &ChatId, answer: &_| watched.update(chat, &words(answer)),
        };
        let config = WorkerConfig {
            rules: limits.rules(&self.settings.schedule),
            limits: limits.clone(),
            event_source: self.settings.event_source.clone(),
        };
        let worker =
            Worker::new(provider, Rc::clone(&self.store), Rc::clone(&queue), self.bus(), Clock::System, config);
        let mapping = EventSourceMapping { batch_size: 1, concurrency: limits.max_in_flight, invocation };
        let mut interrupted = false;
        let over_or_asked = async {
            tokio::select! {
                () = self.progress.complete(self.chats.len()) => {}
                () = shutdown::signal() => {
                    interrupted = true;
                    self.display.note("finishing the calls under way, so that no answer is lost; Ctrl-C again to stop at once");
                }
            }
        };
        tokio::select! {
            () = mapping.run(&*queue, &worker, over_or_asked) => {}
            () = second_signal() => {}
            trouble = self.watch_table(&queue) => return Err(trouble),
        }
        self.conclude(interrupted)
    }

    /// Puts on the queue what makes a chat go on from where it stands.
    async fn begin(&self, chat: &ChatId, queue: &MemoryQueue) -> anyhow::Result<()> {
        let now = Clock::System.now();
        let item = self.store.read(chat).await?;
        match self.stands(item, now) {
            ChatState::Ended(item) => self.show_from_table(chat, &item)?,
            ChatState::Forgotten => self.synced_again(chat),
            ChatState::Fresh => {
                queue.put(&self.trigger(chat), Duration::ZERO);
            }
            ChatState::Open { run, ours } => {
                if !ours {
                    queue.put(&self.trigger(chat), Duration::ZERO);
                }
                let wait = (run.lease_until_ms + Duration::from_millis(1)).since(now);
                if !wait.is_zero() {
                    let text =
                        format!("goes on in {} s, when an earlier process's hold on it is over", wait.as_secs() + 1);
                    self.display.update(chat, &text);
                }
                queue.put(&run.recovery_poll().to_body(), wait);
            }
        }
        Ok(())
    }

    /// Looks after the chats that another process on the same file may have taken over: prints their endings, and revives
    /// them if that process is gone. Comes back only with trouble.
    async fn watch_table(&self, queue: &MemoryQueue) -> anyhow::Error {
        loop {
            sleep(LOOK_EVERY).await;
            for chat in self.chats.iter().filter(|chat| !self.progress.has(chat)) {
                if let Err(error) = self.look_after(chat, queue).await {
                    return error.context(format!("could not look after {chat}"));
                }
            }
        }
    }

    async fn look_after(&self, chat: &ChatId, queue: &MemoryQueue) -> anyhow::Result<()> {
        let now = Clock::System.now();
        match self.stands(self.store.read(chat).await?, now) {
            ChatState::Ended(item) => self.show_from_table(chat, &item)?,
            ChatState::Forgotten => self.synced_again(chat),
            // Longer than any poll may honestly wait: whoever had it is gone. A poll too many would only die.
            ChatState::Open { run, .. } if now.since(run.lease_until_ms) > DELAY_MAX && queue.is_empty() => {
                queue.put(&run.recovery_poll().to_body(), Duration::ZERO);
            }
            ChatState::Open { .. } | ChatState::Fresh => {}
        }
        Ok(())
    }

    fn stands(&self, item: Option<Item>, now: Millis) -> ChatState {
        ChatState::of(item, TriggerKey::of(&self.command.key), now, self.settings.limits.run_ttl)
    }

    fn show_from_table(&self, chat: &ChatId, item: &Item) -> Result<(), ServiceError> {
        if let Some(event) = Event::of_run(item) {
            self.progress.told(chat, show(&event, chat, &self.display, &self.settings.event_source)?);
        }
        Ok(())
    }

    fn synced_again(&self, chat: &ChatId) {
        self.progress.told(chat, show_synced_again(chat, &self.display));
    }

    fn trigger(&self, chat: &ChatId) -> String {
        serde_json::json!({ "chat_id": chat, "idempotency_key": self.command.key }).to_string()
    }

    /// Message ids that no earlier process has used: the run table remembers them.
    fn new_name(&self) -> String {
        uuid::Uuid::new_v4().to_string()
    }

    /// Prints each event; one that answers our trigger ends its chat.
    fn bus(&self) -> MemoryBus {
        let (display, progress) = (Rc::clone(&self.display), Rc::clone(&self.progress));
        let (key, source) = (self.command.key.clone(), self.settings.event_source.clone());
        MemoryBus::with_subscriber(Box::new(move |event| {
            let ours = |trigger: &crate::run::Trigger| trigger.idempotency_key.as_ref() == Some(&key);
            match &event.detail.chat_id {
                Some(chat) if event.detail.triggers.iter().any(ours) => {
                    progress.told(chat, show(event, chat, &display, &source)?);
                    Ok(())
                }
                _ => display.data(&event.to_line(&source)),
            }
        }))
    }

    fn conclude(&self, interrupted: bool) -> anyhow::Result<bool> {
        let told = self.progress.told.borrow();
        let left = self.chats.len() - told.len();
        if self.chats.len() > 1 {
            self.display.note(&total(&told, self.chats.len()));
        }
        if left > 0 {
            if interrupted {
                self.display.note(&format!("not done yet: {left}; the same command goes on"));
            }
            return Ok(false);
        }
        self.store.finish(&self.command)?;
        Ok(told.values().all(|told| told.is_good()))
    }
}

impl Progress {
    fn has(&self, chat: &ChatId) -> bool {
        self.told.borrow().contains_key(chat)
    }

    fn told(&self, chat: &ChatId, told: Told) {
        self.told.borrow_mut().insert(chat.clone(), told);
        self.changed.notify_waiters();
    }

    async fn complete(&self, chats: usize) {
        loop {
            let changed = self.changed.notified();
            if self.told.borrow().len() == chats {
                return;
            }
            changed.await;
        }
    }
}

//! `postpress-bridge sync`: drives real chats to their endings on this machine.
//!
//! Runs the same worker as on AWS, over an in-memory queue and a run table in a file. When the process ends, the queue's messages
//! are lost, like dead letters on AWS. The file has the open runs, and a poll under a run's claim resumes it, as the sweep does
//! on AWS.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::bus::MemoryBus;
use crate::event_source_mapping::EventSourceMapping;
use crate::ids::{Subject, TriggerKey, subject_fields};
use crate::message::{Message, TriggerBody};
use crate::postpress::Provider;
use crate::postpress::Resync;
use crate::postpress::workspaces::Lookup;
use crate::queue::MemoryQueue;
use crate::run::{DELAY_MAX, Item, Poll, Write};
use crate::settings::{FromEnv, ListSettings, TerminalSettings};
use crate::store::{Command, CommandName, RunStore, SqliteStore, StateLock};
use crate::telemetry::{self, LogFormat};
use crate::time::{Clock, Millis};
use crate::worker::Worker;

use super::args::duration;
use super::aws::provider;
use super::chat_state::{ChatResult, ChatState, Results};
use super::consent;
use super::each_chat::{self, ChatLister};
use super::format::pause;
use super::observed_provider::{ObservedProvider, PollCountdown};
use super::output::EventFormat;
use super::progress::ProgressDisplay;
use super::shutdown::{self, second_signal};
use super::subjects::{Requested, Subjects};
use super::table;

mod deployed;

/// Sync real chats or an account, and print one event for each
///
/// The base URL comes from `POSTPRESS_BASE_URL`; the key comes from `POSTPRESS_API_KEY` or, in a build with AWS support, from the
/// secret that `POSTPRESS_API_KEY_SECRET_ID` names. After an interruption, the same command continues where it stopped. Once all
/// chats have ended, it asks before it syncs them again.
///
/// With `BRIDGE_TABLE` set, a deployed bridge does the work: this sends triggers to `BRIDGE_QUEUE_URL` and follows the table to the
/// endings. After an interruption, the same command follows the same request.
///
/// `--account ACCOUNT_ID --each-chat` lists the account's chats and then syncs each of them; after an interruption, the same command
/// continues with the same chats. For an account with very many chats, `trigger --each-chat` is the better choice: it sends triggers while
/// it lists, and follows nothing.
///
/// Exit code 0: every chat ended in `SYNC_DONE`; 1: a chat ended otherwise, or not yet; 2: the command failed.
#[derive(Debug, Clone, Args)]
pub struct Sync {
    /// Sync chats again whose last sync has ended; on a terminal, the command asks
    #[arg(long)]
    again: bool,

    /// Print the events as JSON lines on a terminal too
    #[arg(long)]
    json: bool,

    /// With `BRIDGE_TABLE`: how long to wait for a chat's trigger to reach the run table
    #[arg(long, default_value = "15m", value_parser = duration, value_name = "TIME")]
    timeout: Duration,

    // Last, because its headings apply to what follows them.
    #[command(flatten)]
    subjects: Subjects,
}

/// A chat that is only listed.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten, with = "subject_fields")]
    chat: &'a Subject,
}

/// How often to check whether another process has taken over a chat.
const CHECK_EVERY: Duration = Duration::from_secs(1);

impl Sync {
    /// Drives the chats to their endings; returns whether all are `SYNC_DONE`.
    ///
    /// # Errors
    /// If the settings are invalid, or the state file cannot be used.
    pub async fn run(self) -> anyhow::Result<bool> {
        if let Requested::EachChat { query, dry_run: true } = self.subjects.requested() {
            return each_chat::dry_run(query, |chat| table::print_json(&Line { chat })).await;
        }
        if std::env::var_os("BRIDGE_TABLE").is_some_and(|table| !table.is_empty()) {
            return deployed::sync(self).await;
        }
        let settings = TerminalSettings::from_env()?;
        telemetry::init(&settings.log_filter, LogFormat::Compact)?;
        let provider = provider(&settings.provider).await?;
        let workspace = self.subjects.workspace();
        if provider.lookup(workspace, Instant::now() + settings.config.limits.provider_timeout).await
            != Lookup::Configured
        {
            anyhow::bail!(
                "the workspace `{workspace}` is not in the secret of BRIDGE_WORKSPACES_SECRET_ID; nothing was started"
            );
        }
        let store = SqliteStore::open(&settings.state_file)?;
        store.forget_expired(Clock::System.now())?;
        let ended = async |chats: &BTreeSet<Subject>| ended(&store, chats).await;
        let Some(Task { chats, resync, command, is_whole }) = self.begin(&store, None, ended).await? else {
            return Ok(false);
        };
        let lock = StateLock::take(&settings.state_file);
        let _lock =
            lock.inspect_err(|error| tracing::warn!(%error, "`status` cannot tell that this process drives runs"));
        let events = EventFormat::new(self.json, &settings.config.event_source);
        let session = Session {
            results: Rc::new(Results::new(ProgressDisplay::new(&chats), events)),
            store: Rc::new(store),
            chats,
            resync,
            command,
            settings,
            cancelled: Rc::default(),
        };
        Ok(session.run(provider).await? && is_whole)
    }

    /// Begins the command, or resumes it; `None` if chats have ended and the user does not want them synced again. `ended` reads the
    /// last runs that have ended.
    async fn begin(
        &self,
        store: &SqliteStore,
        queue_url: Option<&str>,
        ended: impl AsyncFn(&BTreeSet<Subject>) -> anyhow::Result<Vec<Item>>,
    ) -> anyhow::Result<Option<Task>> {
        let new_key = uuid::Uuid::new_v4().to_string();
        let may_start = async |name: &CommandName, chats: &BTreeSet<Subject>| -> anyhow::Result<bool> {
            Ok(self.again || store.is_unfinished(name)? || consent::to_sync_again(&ended(chats).await?).await?)
        };
        match self.subjects.requested() {
            Requested::Subjects(subjects, resync) => {
                let chats = subjects.into_iter().collect();
                let name = CommandName::of_sync(queue_url, &chats, &resync);
                if !may_start(&name, &chats).await? {
                    return Ok(None);
                }
                let command = store.command(&name, &new_key)?;
                Ok(Some(Task { chats, resync, command, is_whole: true }))
            }
            Requested::EachChat { query, .. } => {
                let name = CommandName::of_sync_each(queue_url, &query);
                // The chats of a resumed command are those whose runs it began, whatever the list says by now.
                let (chats, is_whole) = match store.listed_chats(&name)? {
                    Some(chats) => (chats, true),
                    None => {
                        let mut list = ChatLister::new(&ListSettings::from_env()?, query).await?;
                        (list.all().await?, list.counts.unreadable == 0)
                    }
                };
                if !may_start(&name, &chats).await? {
                    return Ok(None);
                }
                let command = store.command_for_listed(&name, &new_key, &chats)?;
                Ok(Some(Task { chats, resync: Resync::default(), command, is_whole }))
            }
        }
    }
}

/// What a command syncs, and its key.
struct Task {
    chats: BTreeSet<Subject>,
    resync: Resync,
    command: Command,
    /// Whether no chat is left out: each that was listed has a usable id.
    is_whole: bool,
}

/// The last runs of these chats that have ended.
async fn ended(store: &SqliteStore, chats: &BTreeSet<Subject>) -> anyhow::Result<Vec<Item>> {
    let mut ended = Vec::new();
    for chat in chats {
        ended.extend(store.read(chat).await?.filter(|item| !item.state.is_active()));
    }
    Ok(ended)
}

/// One process's execution of a command.
struct Session {
    settings: TerminalSettings,
    chats: BTreeSet<Subject>,
    resync: Resync,
    command: Command,
    store: Rc<SqliteStore>,
    results: Rc<Results>,
    /// Chats whose run was cancelled and is not this command's. Their runs are ended, and no others begin.
    cancelled: Rc<RefCell<BTreeSet<Subject>>>,
}

impl Session {
    async fn run(&self, provider: impl Provider) -> anyhow::Result<bool> {
        if self.command.resumed {
            self.results.display.note("resuming an earlier command, which was interrupted");
        }
        // One message per invocation, which is as long as one call with its margins.
        let config = self.settings.config.clone();
        let invocation = config.invocation_of_one();
        let visibility_timeout = invocation + config.rules.lease_margin;
        // The run table remembers message ids, so their prefix must be new in each process.
        let prefix = uuid::Uuid::new_v4().to_string();
        let queue = Rc::new(MemoryQueue::new(&prefix, Clock::System, visibility_timeout, u32::MAX));
        for chat in &self.chats {
            self.begin(chat, &queue).await.with_context(|| format!("could not start with {}", chat.label()))?;
        }

        let provider = ObservedProvider { provider, results: Rc::clone(&self.results) };
        let countdown = PollCountdown { queue: Rc::clone(&queue), results: Rc::clone(&self.results) };
        let concurrency = config.limits.max_in_flight;
        let worker = Worker::new(provider, Rc::clone(&self.store), countdown, self.bus(), Clock::System, config);
        let mapping = EventSourceMapping { batch_size: 1, concurrency, invocation };
        let mut interrupted = false;
        let finished_or_interrupted = async {
            tokio::select! {
                () = self.results.complete(self.chats.len()) => {}
                () = shutdown::signal() => {
                    interrupted = true;
                    self.results.display.note("finishing the pending calls, so that no answer is lost; press Ctrl-C again to stop immediately");
                }
            }
        };
        tokio::select! {
            () = mapping.run(&*queue, &worker, finished_or_interrupted) => {}
            () = second_signal() => {}
            error = self.watch_table(&queue) => return Err(error),
        }
        self.release_runs(&queue).await?;
        self.conclude(interrupted)
    }

    /// Releases the runs whose next polls are lost with this process, so that the next one need not wait for their leases to expire.
    async fn release_runs(&self, queue: &MemoryQueue) -> anyhow::Result<()> {
        let now = Clock::System.now();
        for record in queue.messages() {
            match Message::parse(&record, &self.settings.config.event_source) {
                // It could not be recorded when it came; if it were lost too, the next process would restart the sync to find out.
                Message::Poll(Poll { subject, claim_id, learned: Some(learned), answer: Some(outcome), .. }) => {
                    self.store.write(&Write::End { subject, claim_id, outcome, learned }).await?;
                }
                Message::Poll(poll) => self.store.release(&poll, now)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Puts the messages on the queue that start or resume a chat.
    async fn begin(&self, chat: &Subject, queue: &MemoryQueue) -> anyhow::Result<()> {
        let now = Clock::System.now();
        let item = self.store.read(chat).await?;
        match self.state(item, now) {
            state @ (ChatState::Ended(_) | ChatState::SyncedAgain) => self.results.show(chat, &state)?,
            ChatState::Fresh => {
                queue.put(&self.trigger(chat), Duration::ZERO);
            }
            ChatState::Open { run, ours } => {
                if run.cancelled_at.is_some() && !ours {
                    self.cancelled.borrow_mut().insert(chat.clone());
                } else if !ours {
                    queue.put(&self.trigger(chat), Duration::ZERO);
                }
                self.results.display.set_calls(chat, run.polls);
                let wait = (run.lease_until_ms + Duration::from_millis(1)).since(now);
                if !wait.is_zero() {
                    let text = format!("waiting {} for the call of a killed process", pause(wait));
                    self.results.display.update(chat, &text);
                    self.results.display.set_next(chat, wait);
                }
                queue.put(&run.recovery_poll().to_body(), wait);
            }
        }
        Ok(())
    }

    /// Watches for chats that another process on the same file has taken over: prints their endings, and recovers them if that
    /// process is gone. Returns only errors.
    async fn watch_table(&self, queue: &MemoryQueue) -> anyhow::Error {
        loop {
            sleep(CHECK_EVERY).await;
            for chat in self.chats.iter().filter(|chat| !self.results.contains(chat)) {
                if let Err(error) = self.check(chat, queue).await {
                    return error.context(format!("could not check {}", chat.label()));
                }
            }
        }
    }

    async fn check(&self, chat: &Subject, queue: &MemoryQueue) -> anyhow::Result<()> {
        let now = Clock::System.now();
        let item = self.store.read(chat).await?;
        if let Some(item) = item.as_ref().filter(|item| item.state.is_published())
            && self.cancelled.borrow().contains(chat)
        {
            return Ok(self.results.show(chat, &ChatState::Ended(Box::new(item.clone())))?);
        }
        match self.state(item, now) {
            state @ (ChatState::Ended(_) | ChatState::SyncedAgain) => self.results.show(chat, &state)?,
            // Longer than any poll waits, so the process that had it is gone; or the run is cancelled, and no message holds it.
            // The fence stops a superfluous poll.
            ChatState::Open { run, .. }
                if now.since(run.lease_until_ms) > DELAY_MAX
                    || run.cancelled_at.is_some() && run.state.is_active() && run.lease_expired(now) =>
            {
                queue.put(&run.recovery_poll().to_body(), Duration::ZERO);
            }
            ChatState::Open { .. } | ChatState::Fresh => {}
        }
        Ok(())
    }

    fn state(&self, item: Option<Item>, now: Millis) -> ChatState {
        ChatState::of(item, TriggerKey::of(&self.command.key), now, self.settings.config.rules.run_ttl)
    }

    fn trigger(&self, chat: &Subject) -> String {
        let (resync, idempotency_key) = (self.resync.clone(), Some(self.command.key.clone()));
        TriggerBody { resync, idempotency_key, ..TriggerBody::new(chat.clone()) }.to_body()
    }

    /// Prints each event; an event with our trigger is its chat's result.
    fn bus(&self) -> MemoryBus {
        let (results, key, cancelled) =
            (Rc::clone(&self.results), self.command.key.clone(), Rc::clone(&self.cancelled));
        MemoryBus::with_subscriber(Box::new(move |event| {
            let ours = |trigger: &crate::run::Trigger| trigger.idempotency_key.as_ref() == Some(&key);
            match event.detail.subject() {
                Some(chat) if event.detail.triggers.iter().any(ours) || cancelled.borrow().contains(&chat) => {
                    results.end(&chat, event)
                }
                _ => results.print(event),
            }
        }))
    }

    fn conclude(&self, interrupted: bool) -> anyhow::Result<bool> {
        let chats = self.chats.len();
        self.results.sum_up(chats);
        let left = self.chats.iter().filter(|chat| !self.results.contains(chat)).count();
        if left > 0 {
            if interrupted {
                self.results.display.note(&format!("not done yet: {left}; run the same command to continue"));
            }
            return Ok(false);
        }
        self.store.finish(&self.command)?;
        Ok(self.results.all(chats, ChatResult::is_success))
    }
}

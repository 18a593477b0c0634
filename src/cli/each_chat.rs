//! The chats of an account, as `--each-chat` lists them: page by page, with progress on stderr.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use indicatif::ProgressBar;
use tokio::time::{Instant, sleep};

use crate::ids::{Subject, SubjectId};
use crate::postpress::client::Client;
use crate::postpress::{ChatPage, ChatQuery, Cursor, RetryClass};
use crate::run::DELAY_MAX;
use crate::settings::{FromEnv, ListSettings};
use crate::telemetry::{self, LogFormat};

use super::aws::provider;
use super::format::span;
use super::output::is_quiet;

/// How often a page is asked for at most. The list has no effect at postpress, so a failed call can be repeated.
const ATTEMPTS: u32 = 6;
/// The pause after the first failure; each one after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How often a line of progress is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// How many unusable items are described.
const DESCRIBED_MAX: usize = 20;

/// A list that is being read.
pub(super) struct ChatLister {
    client: Client,
    query: ChatQuery,
    timeout: Duration,
    position: Position,
    /// The cursors so far: one that comes again would lead in a circle.
    seen: HashSet<Cursor>,
    pub(super) counts: Counts,
    progress: Progress,
}

/// Where the list continues.
enum Position {
    Start,
    At(Cursor),
    End,
}

/// What the list has so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pages: usize,
    pub(super) chats: usize,
    /// Items that are not a chat with a usable id.
    pub(super) unreadable: usize,
}

impl ChatLister {
    /// Begins to list these chats. Makes no call yet.
    pub(super) async fn new(settings: &ListSettings, query: ChatQuery) -> anyhow::Result<Self> {
        Ok(Self {
            client: provider(&settings.provider).await?.client(&query.workspace).map_err(anyhow::Error::msg)?,
            progress: Progress::new(&query),
            query,
            timeout: settings.timeout,
            position: Position::Start,
            seen: HashSet::new(),
            counts: Counts::default(),
        })
    }

    /// The chats of the next page; `None` after the last one.
    ///
    /// # Errors
    /// If the page cannot be read, or the list leads in a circle.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Vec<Subject>>> {
        let cursor = match &self.position {
            Position::Start => None,
            Position::At(cursor) => Some(cursor),
            Position::End => return Ok(None),
        };
        let ChatPage { chats, unreadable, next } = self.page(cursor).await?;
        self.position = match next {
            Some(next) => {
                let account = self.query.subject().label();
                let is_new = self.seen.insert(next.clone());
                anyhow::ensure!(
                    is_new,
                    "the list of the chats of {account} leads in a circle: after {} postpress repeats the cursor of an earlier page; tell \
                     postpress",
                    self.counts
                );
                Position::At(next)
            }
            None => Position::End,
        };
        for reason in &unreadable {
            if self.counts.unreadable < DESCRIBED_MAX {
                self.progress.note(&format!("page {}: {reason}; it is left out", self.counts.pages + 1));
            }
            self.counts.unreadable += 1;
        }
        self.counts.pages += 1;
        self.counts.chats += chats.len();
        self.progress.show(self.counts, matches!(self.position, Position::End));
        let workspace = &self.query.workspace;
        let subject = |chat| Subject::from(SubjectId::Chat(chat)).in_workspace(workspace.clone());
        Ok(Some(chats.into_iter().map(subject).collect()))
    }

    /// The whole list.
    ///
    /// # Errors
    /// If a page cannot be read, or the list leads in a circle.
    pub(super) async fn all(&mut self) -> anyhow::Result<BTreeSet<Subject>> {
        let mut all = BTreeSet::new();
        while let Some(chats) = self.next().await? {
            all.extend(chats);
        }
        Ok(all)
    }

    /// Prints a message, or data by `print`, above the progress.
    pub(super) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.progress.bar.suspend(print)
    }

    async fn page(&self, cursor: Option<&Cursor>) -> anyhow::Result<ChatPage> {
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            let failure = match self.client.chats(&self.query, cursor, self.timeout).await {
                Ok(page) => return Ok(page),
                Err(failure) => failure,
            };
            if failure.retry_class != RetryClass::Retryable || attempt == ATTEMPTS {
                let account = self.query.subject().label();
                anyhow::bail!("cannot list the chats of {account}: {}", failure.detail);
            }
            let wait = pause.max(failure.retry_after.unwrap_or_default()).min(DELAY_MAX);
            self.progress.note(&format!("{}; trying again in {}", failure.detail, span(wait)));
            sleep(wait).await;
            pause *= 2;
            attempt += 1;
        }
    }
}

/// Lists the chats and prints each by `print`; returns whether all have a usable id.
pub(super) async fn dry_run(query: ChatQuery, print: impl Fn(&Subject) -> anyhow::Result<()>) -> anyhow::Result<bool> {
    let settings = ListSettings::from_env()?;
    telemetry::init(&settings.log_filter, LogFormat::Compact)?;
    let mut list = ChatLister::new(&settings, query).await?;
    while let Some(chats) = list.next().await? {
        list.suspend(|| chats.iter().try_for_each(&print))?;
    }
    anstream::eprintln!("nothing was started");
    Ok(list.counts.unreadable == 0)
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pages, chats, unreadable } = self;
        let plural = |count| if count == 1 { "" } else { "s" };
        write!(f, "{chats} chat{} on {pages} page{}", plural(*chats), plural(*pages))?;
        match unreadable {
            0 => Ok(()),
            _ => write!(f, ", and {unreadable} item{} without a usable id", plural(*unreadable)),
        }
    }
}

/// Progress on stderr: a live line on a terminal, now and then a line elsewhere.
struct Progress {
    bar: ProgressBar,
    account: String,
    /// When the last line was printed.
    printed: std::cell::Cell<Instant>,
}

impl Progress {
    fn new(query: &ChatQuery) -> Self {
        let account = query.subject().label();
        let bar = if is_quiet() { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        bar.set_message(format!("listing the chats of {account}"));
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, account, printed: Instant::now().into() }
    }

    fn show(&self, counts: Counts, is_end: bool) {
        if is_quiet() {
            return;
        }
        let text = format!("{}: {counts}", self.account);
        if is_end {
            self.bar.finish_and_clear();
            self.note(&text);
        } else if self.bar.is_hidden() {
            if self.printed.get().elapsed() >= LINE_EVERY {
                self.printed.set(Instant::now());
                self.note(&format!("{text} so far"));
            }
        } else {
            self.bar.set_message(format!("{text} so far"));
        }
    }

    fn note(&self, text: &str) {
        self.bar.suspend(|| anstream::eprintln!("{text}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_shown_in_words() {
        for (pages, chats, unreadable, text) in [
            (1, 0, 0, "0 chats on 1 page"),
            (2, 1, 0, "1 chat on 2 pages"),
            (400, 99_998, 2, "99998 chats on 400 pages, and 2 items without a usable id"),
        ] {
            assert_eq!(Counts { pages, chats, unreadable }.to_string(), text);
        }
    }
}

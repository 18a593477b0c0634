//! `postpress-bridge status`: shows a chat's run from the run table.

use clap::Args;
use tokio::time::sleep;

use crate::event::{DetailType, Event};
use crate::ids::Subject;
use crate::run::{Item, Next};
use crate::settings::{ReadSettings, Runs};
use crate::store::RunTable;
use crate::time::Clock;

use super::follow::READ_EVERY;
use super::format::brief;
use super::history::Glyphs;
use super::progress::{Mark, ProgressDisplay};
use super::run_report::{self, Page, RunReport};
use super::subjects::OneSubject;
use super::{run_table, table};

/// Show the state of the sync of a chat or an account, from the run table
///
/// The provider is not called, so this never starts a sync. The table is the deployed one in `BRIDGE_TABLE` if that is set, and the
/// file of the local `sync` (`BRIDGE_STATE_FILE`) otherwise.
///
/// Exit code 0: the run is active, or ended in `SYNC_DONE`; 1: it ended otherwise, it is overdue, or there is no run; 2: the table
/// could not be read; 130: Ctrl-C ended `--watch`.
#[derive(Debug, Clone, Args)]
pub struct Status {
    #[command(flatten)]
    subject: OneSubject,

    /// Follow the run until it is over, or wait for one if there is none; without a terminal, print a line for each change
    #[arg(long)]
    watch: bool,

    /// Print JSON: the webhook's answer with further fields; with `--watch`, a line for each change
    #[arg(long)]
    json: bool,
}

/// Reads and shows the chat.
struct Viewer {
    status: Status,
    subject: Subject,
    settings: ReadSettings,
    table: RunTable,
}

impl Status {
    /// Shows the run; returns whether it is healthy.
    ///
    /// # Errors
    /// If the settings are invalid, or the table cannot be read.
    pub async fn run(self) -> anyhow::Result<bool> {
        let (settings, table) = run_table::open("status").await?;
        let subject = self.subject.get()?;
        let viewer = Viewer { status: self, subject, settings, table };
        if viewer.status.watch { viewer.watch().await } else { viewer.once().await }
    }
}

impl Viewer {
    async fn once(&self) -> anyhow::Result<bool> {
        let Some(item) = self.read().await? else {
            anstream::eprintln!("{}: {}", self.subject.label(), self.no_run());
            return Ok(false);
        };
        self.print(&item)?;
        Ok(self.is_healthy(&item))
    }

    async fn watch(&self) -> anyhow::Result<bool> {
        let chat = &self.subject;
        let display = ProgressDisplay::new([chat]);
        let mut shown = String::new();
        loop {
            let item = self.read().await?;
            let driver = self.table.driver();
            let text = match &item {
                Some(item) if self.is_lost(item) => format!("{}, overdue", brief(item, driver)),
                Some(item) => brief(item, driver),
                None => self.no_run(),
            };
            let is_over = item.as_ref().is_some_and(|item| item.state.is_published());
            if text != shown {
                match &item {
                    Some(item) if is_over => display.finish(chat, &text, mark(item)),
                    _ => display.update(chat, &text),
                }
                if let Some(item) = item.as_ref().filter(|_| self.status.json) {
                    display.data(&serde_json::to_string(&self.report(item))?)?;
                }
                shown = text;
            }
            if let Some(item) = item.filter(|_| is_over) {
                if !self.status.json {
                    self.print(&item)?;
                }
                return Ok(self.is_healthy(&item));
            }
            sleep(READ_EVERY).await;
        }
    }

    /// The run, unless it has expired.
    async fn read(&self) -> anyhow::Result<Option<Item>> {
        let item = self.table.read(&self.subject).await?;
        Ok(item.filter(|item| !item.is_expired(Clock::System.now())))
    }

    fn no_run(&self) -> String {
        let place = match &self.settings.runs {
            Runs::File(path) => format!(" in {}; for a deployed bridge, set BRIDGE_TABLE", path.display()),
            Runs::Table(_) => " in BRIDGE_TABLE".to_owned(),
        };
        format!("no run{place}")
    }

    fn report(&self, item: &Item) -> RunReport {
        RunReport::of(item, Clock::System.now(), self.settings.overdue, self.table.driver())
    }

    fn print(&self, item: &Item) -> anyhow::Result<()> {
        if self.status.json {
            return table::print_json(&self.report(item));
        }
        let (now, driver) = (Clock::System.now(), self.table.driver());
        let page = Page { columns: table::columns(), glyphs: Glyphs::of_terminal() };
        table::print(&run_report::text(item, now, self.settings.overdue, driver, page))
    }

    fn is_lost(&self, item: &Item) -> bool {
        Next::of(item, Clock::System.now(), self.settings.overdue).is_lost()
    }

    fn is_healthy(&self, item: &Item) -> bool {
        let ended_badly = !item.state.is_active() && mark(item) == Mark::Failure;
        !ended_badly && !self.is_lost(item)
    }
}

fn mark(item: &Item) -> Mark {
    let is_done = Event::of_run(item).is_some_and(|event| event.detail_type == DetailType::SyncDone);
    if is_done { Mark::Success } else { Mark::Failure }
}

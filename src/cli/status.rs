//! `postpress-bridge status`: what the run table knows of a chat.

use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use crate::event::DetailType;
use crate::ids::ChatId;
use crate::run::{Item, Next};
use crate::settings::{FromEnv, ReadSettings, Runs};
use crate::store::RunTable;
use crate::telemetry::{self, LogFormat};
use crate::time::Clock;

use super::chat_state::Told;
use super::follow::LOOK_EVERY;
use super::format::brief;
use super::progress::{Mark, ProgressDisplay};
use super::run_report::{self, RunReport};
use super::run_table::run_table;
use super::table;

/// Show how far a chat's sync is, from the run table.
///
/// The provider is not asked, so looking starts nothing. The table is the deployed one in `BRIDGE_TABLE`, else the file in which
/// `sync` keeps its runs here.
///
/// Exit code 0: the run goes on, or ended in `SYNC_DONE`; 1: it ended otherwise, it is overdue, or no run is remembered; 2: the
/// table could not be read; 130: Ctrl-C ended `--watch`.
#[derive(Debug, Clone, Args)]
pub struct Status {
    /// The chat
    #[arg(value_name = "CHAT_ID", value_parser = ChatId::parse)]
    chat: ChatId,

    /// Look again every 2 s until the run is over, and wait for one if there is none; where stderr is no terminal, with a
    /// line for each change
    #[arg(long)]
    watch: bool,

    /// Print JSON: what the webhook answers, and more; with `--watch`, a line for each change
    #[arg(long)]
    json: bool,
}

/// A look at the chat.
struct Look<'a> {
    status: &'a Status,
    runs: &'a Runs,
    table: &'a RunTable,
    overdue: Duration,
}

impl Status {
    /// Shows the run, and tells whether it is well.
    ///
    /// # Errors
    /// If the settings cannot be used, or the table cannot be read.
    pub async fn run(self) -> anyhow::Result<bool> {
        let settings = ReadSettings::from_env()?;
        telemetry::init(&settings.log_filter, LogFormat::Compact)?;
        let table = run_table(&settings.runs, "status").await?;
        let look = Look { status: &self, runs: &settings.runs, table: &table, overdue: settings.overdue };
        if self.watch { look.watch().await } else { look.once().await }
    }
}

impl Look<'_> {
    async fn once(&self) -> anyhow::Result<bool> {
        let Some(item) = self.read().await? else {
            anstream::eprintln!("{}: {}", self.status.chat, self.nothing());
            return Ok(false);
        };
        self.print(&item)?;
        Ok(self.is_well(&item))
    }

    async fn watch(&self) -> anyhow::Result<bool> {
        let chat = &self.status.chat;
        let display = ProgressDisplay::new([chat]);
        let mut said = String::new();
        loop {
            let item = self.read().await?;
            let text = match &item {
                Some(item) if self.is_lost(item) => format!("{}, overdue", brief(item)),
                Some(item) => brief(item),
                None => self.nothing(),
            };
            let is_over = item.as_ref().is_some_and(|item| item.state.is_published());
            if text != said {
                match &item {
                    Some(item) if is_over => display.finish(chat, &text, mark(item)),
                    _ => display.update(chat, &text),
                }
                if let Some(item) = item.as_ref().filter(|_| self.status.json) {
                    display.data(&serde_json::to_string(&self.report(item))?)?;
                }
                said = text;
            }
            if let Some(item) = item.filter(|_| is_over) {
                if !self.status.json {
                    self.print(&item)?;
                }
                return Ok(self.is_well(&item));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// The chat's run, if it is remembered.
    async fn read(&self) -> anyhow::Result<Option<Item>> {
        let item = self.table.read(&self.status.chat).await?;
        Ok(item.filter(|item| !item.is_expired(Clock::System.now())))
    }

    fn nothing(&self) -> String {
        let place = match self.runs {
            Runs::File(path) => format!(" in {}; for a deployed bridge, set BRIDGE_TABLE", path.display()),
            Runs::Table(_) => " in BRIDGE_TABLE".to_owned(),
        };
        format!("no run of it is remembered{place}")
    }

    fn report(&self, item: &Item) -> RunReport {
        RunReport::of(item, Clock::System.now(), self.overdue)
    }

    fn print(&self, item: &Item) -> anyhow::Result<()> {
        if self.status.json {
            return table::print_json(&self.report(item));
        }
        let (now, is_swept) = (Clock::System.now(), self.table.is_swept());
        Ok(table::print(&run_report::text(item, now, self.overdue, is_swept, table::columns()))?)
    }

    fn is_lost(&self, item: &Item) -> bool {
        Next::of(item, Clock::System.now(), self.overdue).is_lost()
    }

    fn is_well(&self, item: &Item) -> bool {
        let ended_badly = !item.state.is_active() && mark(item) == Mark::Failure;
        !ended_badly && !self.is_lost(item)
    }
}

fn mark(item: &Item) -> Mark {
    let ending = crate::event::Event::of_run(item).map(|event| Told::Ended(event.detail_type));
    if ending == Some(Told::Ended(DetailType::SyncDone)) { Mark::Success } else { Mark::Failure }
}

//! `postpress-bridge runs`: the runs that are open, or those that have ended.

use std::time::Duration;

use clap::Args;
use comfy_table::{Attribute, Cell, Color, Table};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::ids::ChatId;
use crate::run::{Item, Next, OPEN_SHARDS};
use crate::settings::{FromEnv, ReadSettings};
use crate::store::{DUE_PAGE, DueRun, RunTable};
use crate::telemetry::{self, LogFormat};
use crate::time::{Clock, Millis};

use super::format::{distance, ending, status};
use super::run_report::RunReport;
use super::run_table::run_table;
use super::table;

/// How many chats to read at once.
const READ_AT_ONCE: usize = 16;
/// How many pages of the table `--ended` looks through at the most.
const PAGES_MAX: usize = 40;

/// List the runs that are open, or those that have ended.
///
/// Open are those that go on, and those whose ending is not known to be out. The provider is not asked. The table is the
/// deployed one in `BRIDGE_TABLE`, else the file in which `sync` keeps its runs here.
///
/// Exit code 0: all is well; 1: an open run that is listed is overdue, or its ending's publisher is gone; 2: the table could
/// not be read.
#[derive(Debug, Clone, Args)]
pub struct Runs {
    /// List runs that have ended instead. There is no index of them: the table is looked through page by page, which costs
    /// read units for every item that is looked at
    #[arg(long)]
    ended: bool,

    /// The most runs to list
    #[arg(long, default_value = "100", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,

    /// Print JSON lines, each as `status --json` prints it
    #[arg(long)]
    json: bool,
}

/// What is listed, and what is to be said of it.
struct Listing {
    runs: Vec<Item>,
    note: Option<String>,
}

impl Runs {
    /// Lists the runs, and tells whether all are well.
    ///
    /// # Errors
    /// If the settings cannot be used, or the table cannot be read.
    pub async fn run(self) -> anyhow::Result<bool> {
        let settings = ReadSettings::from_env()?;
        telemetry::init(&settings.log_filter, LogFormat::Compact)?;
        let table = run_table(&settings.runs, "runs").await?;
        let (limit, now) = (self.limit as usize, Clock::System.now());
        let Listing { runs, note } =
            if self.ended { ended(&table, limit, now).await? } else { open(&table, limit).await? };
        if self.json {
            for item in &runs {
                table::print_json(&RunReport::of(item, now, settings.overdue))?;
            }
        } else if !runs.is_empty() {
            let columns = table::columns();
            let listed = if self.ended {
                ended_table(&runs, now, columns)
            } else {
                open_table(&runs, now, settings.overdue, columns)
            };
            table::print(&table::text(&listed))?;
        }
        if let Some(note) = note {
            anstream::eprintln!("{note}");
        }
        Ok(self.ended || !runs.iter().any(|item| Next::of(item, now, settings.overdue).is_lost()))
    }
}

/// The open runs whose sweep comes first, at most `limit`; the oldest first.
async fn open(table: &RunTable, limit: usize) -> anyhow::Result<Listing> {
    let mut due = Vec::new();
    for shard in 0..OPEN_SHARDS {
        due.extend(due_of_shard(table, shard, limit).await?);
    }
    due.sort_by(|one, other| (one.sweep_at_ms, &one.chat_id).cmp(&(other.sweep_at_ms, &other.chat_id)));
    let is_cut = due.len() > limit;
    due.truncate(limit);
    let mut runs: Vec<Item> = read_all(table, due).await?;
    // The index is a moment behind the table.
    runs.retain(|item| item.state.open().is_some());
    runs.sort_by(|one, other| (one.started_at_ms, &one.chat_id).cmp(&(other.started_at_ms, &other.chat_id)));
    let note = match runs.len() {
        0 => Some("no run is open".to_owned()),
        listed if is_cut => {
            Some(format!("the first {listed} that a sweep would look at; there are more, see `--limit`"))
        }
        _ => None,
    };
    Ok(Listing { runs, note })
}

/// One more than `limit` of a shard's open runs, if there are so many.
async fn due_of_shard(table: &RunTable, shard: u8, limit: usize) -> anyhow::Result<Vec<DueRun>> {
    let mut due: Vec<DueRun> = Vec::new();
    while due.len() <= limit {
        let page = table.due(shard, Millis(u64::MAX), due.last()).await?;
        let is_last = page.len() < DUE_PAGE;
        due.extend(page);
        if is_last {
            break;
        }
    }
    Ok(due)
}

async fn read_all(table: &RunTable, due: Vec<DueRun>) -> anyhow::Result<Vec<Item>> {
    let reads = due.into_iter().map(|due| async move { table.read(&due.chat_id).await });
    let items: Vec<Option<Item>> = stream::iter(reads).buffered(READ_AT_ONCE).try_collect().await?;
    Ok(items.into_iter().flatten().collect())
}

/// Runs that have ended, as they are found, until there are `limit` or [`PAGES_MAX`] pages are looked through; of these the
/// latest first.
async fn ended(table: &RunTable, limit: usize, now: Millis) -> anyhow::Result<Listing> {
    let (mut runs, mut looked_at) = (Vec::new(), 0);
    let mut after: Option<ChatId> = None;
    let mut pages = 0;
    let is_all = loop {
        let page = table.ended_page(after.as_ref()).await?;
        pages += 1;
        looked_at += page.looked_at;
        // DynamoDB takes days to delete what has expired.
        runs.extend(page.runs.into_iter().filter(|item| !item.is_expired(now)));
        after = page.next;
        if after.is_none() {
            break runs.len() <= limit;
        }
        if runs.len() >= limit || pages == PAGES_MAX {
            break false;
        }
    };
    runs.truncate(limit);
    let finished_at = |item: &Item| item.state.outcome().map(|outcome| outcome.finished_at);
    runs.sort_by(|one, other| finished_at(other).cmp(&finished_at(one)).then(one.chat_id.cmp(&other.chat_id)));
    let cost = if table.is_swept() { ", each of which cost read units" } else { "" };
    let rest =
        if is_all { "that is the whole table" } else { "there is more of it, in no order of time; see `--limit`" };
    let note = format!("{} found; items looked at: {looked_at}{cost}; {rest}", runs.len());
    Ok(Listing { runs, note: Some(note) })
}

fn open_table(runs: &[Item], now: Millis, overdue: Duration, columns: Option<u16>) -> Table {
    let mut listed = table::table(&["chat", "status", "calls", "failures", "started", "next"], columns);
    for item in runs {
        let next = match Next::of(item, now, overdue) {
            Next::Poll { .. } => Cell::new("a poll"),
            Next::Publication => Cell::new("its event"),
            Next::Over => Cell::new("nothing"),
            Next::Recovery { lost_since, .. } => {
                let what = if item.state.is_active() { "overdue" } else { "event not out" };
                let text = format!("{what} since {}", distance(lost_since, now));
                Cell::new(text).fg(Color::Red).add_attribute(Attribute::Bold)
            }
        };
        listed.add_row([
            item.chat_id.as_str().into(),
            ending(item).or(status(item)).unwrap_or("none yet").into(),
            Cell::new(item.polls),
            Cell::new(item.learned.failures),
            distance(item.started_at_ms, now).into(),
            next,
        ]);
    }
    listed
}

fn ended_table(runs: &[Item], now: Millis, columns: Option<u16>) -> Table {
    let mut listed = table::table(&["chat", "ending", "calls", "restarts", "ended", "event"], columns);
    for item in runs {
        let finished_at = item.state.outcome().map(|outcome| outcome.finished_at);
        listed.add_row([
            item.chat_id.as_str().into(),
            ending(item).unwrap_or_default().into(),
            Cell::new(item.polls),
            Cell::new(item.learned.restarts),
            finished_at.map(|time| distance(time, now)).unwrap_or_default().into(),
            if item.state.is_published() {
                Cell::new("published")
            } else {
                Cell::new("not known to be out").fg(Color::Red)
            },
        ]);
    }
    listed
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::cli::run_report::tests::{NOW, item};

    #[test]
    fn a_list_fits_the_terminal_whatever_the_ids_are() {
        let named = |name: &str| Item { chat_id: ChatId::parse(name).unwrap(), ..item() };
        let runs = [named("c"), named(&"chat_01HXYZ4QK3WJ8FN3M6QH7TZ8GR".repeat(4)), named(&"会話".repeat(40))];
        for columns in [60, 80, 120] {
            for listed in [
                open_table(&runs, NOW, Duration::from_secs(1800), Some(columns)),
                ended_table(&runs, NOW, Some(columns)),
            ] {
                let text = table::text(&listed);
                let widest = text.lines().map(UnicodeWidthStr::width).max().unwrap();
                assert!(widest <= usize::from(columns), "{widest} columns of {columns}:\n{text}");
            }
        }
    }
}

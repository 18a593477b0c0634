//! `postpress-bridge runs`: lists open or ended runs.

use std::time::Duration;

use clap::Args;
use comfy_table::{Attribute, Cell, Color, Table};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::ids::{Subject, Workspace};
use crate::run::{ACTIVE_SHARDS, DueRun, ENDED_SHARDS, Item, Next};
use crate::store::{DUE_PAGE, Driver, RunTable};
use crate::time::{Clock, Millis};

use super::follow::CONCURRENT_READS;
use super::format::{distance, ending, span, status};
use super::run_report::RunReport;
use super::{run_table, table};

/// Maximum number of pages that `--ended` scans.
const PAGES_MAX: usize = 40;

/// List open runs, or runs that have ended
///
/// A run is open until its ending is confirmed published. The provider is not called. The table is the deployed one in
/// `BRIDGE_TABLE` if that is set, and the file of the local `sync` otherwise.
///
/// Exit code 0: no listed run is lost; 1: a listed run is overdue, or its ending was never published; 2: the table could not be
/// read.
#[derive(Debug, Clone, Args)]
pub struct Runs {
    /// List runs that have ended instead. There is no index of them: this scans the table page by page, and pays read units
    /// for every item scanned
    #[arg(long)]
    ended: bool,

    /// List only runs of this workspace; runs of all workspaces are looked at
    #[arg(long, value_name = "NAME", value_parser = Workspace::parse)]
    workspace: Option<Workspace>,

    /// Maximum number of runs to list
    #[arg(long, default_value = "100", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,

    /// Print JSON lines, in the format of `status --json`
    #[arg(long)]
    json: bool,
}

/// The listed runs, and a note about them.
struct Listing {
    runs: Vec<Item>,
    note: Option<String>,
}

impl Runs {
    /// Lists the runs; returns whether none is lost.
    ///
    /// # Errors
    /// If the settings are invalid, or the table cannot be read.
    pub async fn run(self) -> anyhow::Result<bool> {
        let (settings, table) = run_table::open("runs").await?;
        let (limit, now, driver) = (self.limit as usize, Clock::System.now(), table.driver());
        let workspace = self.workspace.as_ref();
        let Listing { runs, note } = if self.ended {
            ended(&table, limit, workspace, now).await?
        } else {
            open(&table, limit, workspace).await?
        };
        if self.json {
            for item in &runs {
                table::print_json(&RunReport::of(item, now, settings.overdue, driver))?;
            }
        } else if !runs.is_empty() {
            let columns = table::columns();
            let listed = if self.ended {
                ended_table(&runs, now, columns)
            } else {
                open_table(&runs, now, settings.overdue, driver, columns)
            };
            table::print(&table::text(&listed))?;
        }
        if let Some(note) = note {
            anstream::eprintln!("{note}");
        }
        Ok(self.ended || !runs.iter().any(|item| Next::of(item, now, settings.overdue).is_lost()))
    }
}

/// Whether a run is to be listed.
fn is_wanted(subject: &Subject, workspace: Option<&Workspace>) -> bool {
    workspace.is_none_or(|workspace| subject.workspace() == workspace)
}

/// At most `limit` open runs, those whose sweep is due first; sorted by age, oldest first.
async fn open(table: &RunTable, limit: usize, workspace: Option<&Workspace>) -> anyhow::Result<Listing> {
    let mut due = Vec::new();
    for shard in ACTIVE_SHARDS.chain(ENDED_SHARDS) {
        due.extend(due_of_shard(table, shard, limit, workspace).await?);
    }
    due.sort_by(|one, other| (one.sweep_at_ms, &one.subject).cmp(&(other.sweep_at_ms, &other.subject)));
    let is_cut = due.len() > limit;
    due.truncate(limit);
    let reads = due.into_iter().map(|due| async move { table.read(&due.subject).await });
    let items: Vec<Option<Item>> = stream::iter(reads).buffered(CONCURRENT_READS).try_collect().await?;
    // The index is eventually consistent.
    let mut runs: Vec<Item> = items.into_iter().flatten().filter(|item| item.state.open().is_some()).collect();
    runs.sort_by(|one, other| (one.started_at_ms, &one.subject).cmp(&(other.started_at_ms, &other.subject)));
    let note = match runs.len() {
        0 => Some("no open runs".to_owned()),
        listed if is_cut => Some(format!("only the {listed} runs that a sweep reads first; for more, see `--limit`")),
        _ => None,
    };
    Ok(Listing { runs, note })
}

/// A shard's open runs, at least `limit + 1` of them if there are that many.
async fn due_of_shard(
    table: &RunTable,
    shard: u8,
    limit: usize,
    workspace: Option<&Workspace>,
) -> anyhow::Result<Vec<DueRun>> {
    let mut due: Vec<DueRun> = Vec::new();
    let mut after: Option<DueRun> = None;
    while due.len() <= limit {
        let page = table.due(shard, Millis(u64::MAX), after.as_ref()).await?;
        let is_last = page.len() < DUE_PAGE;
        after = page.last().cloned();
        due.extend(page.into_iter().filter(|due| is_wanted(&due.subject, workspace)));
        if is_last {
            break;
        }
    }
    Ok(due)
}

/// Scans for ended runs until it has `limit` of them or has read [`PAGES_MAX`] pages; sorted by end, latest first.
async fn ended(table: &RunTable, limit: usize, workspace: Option<&Workspace>, now: Millis) -> anyhow::Result<Listing> {
    let (mut runs, mut scanned) = (Vec::new(), 0);
    let mut after: Option<Subject> = None;
    let mut is_complete = false;
    for _ in 0..PAGES_MAX {
        let page = table.ended_page(after.as_ref()).await?;
        scanned += page.looked_at;
        // DynamoDB deletes expired items only after days.
        runs.extend(page.runs.into_iter().filter(|item| !item.is_expired(now) && is_wanted(&item.subject, workspace)));
        after = page.next;
        is_complete = after.is_none() && runs.len() <= limit;
        if after.is_none() || runs.len() >= limit {
            break;
        }
    }
    runs.truncate(limit);
    let finished_at = |item: &Item| item.state.outcome().map(|outcome| outcome.finished_at);
    runs.sort_by(|one, other| finished_at(other).cmp(&finished_at(one)).then(one.subject.cmp(&other.subject)));
    let cost = if table.driver() == Driver::Bridge { ", each of which costs read units" } else { "" };
    let rest = if is_complete {
        "this is the whole table"
    } else {
        "the rest was not scanned, and items are in no order; see `--limit`"
    };
    let note = format!("{} found; items scanned: {scanned}{cost}; {rest}", runs.len());
    Ok(Listing { runs, note: Some(note) })
}

fn open_table(runs: &[Item], now: Millis, overdue: Duration, driver: Driver, columns: Option<u16>) -> Table {
    let mut listed = table::table(&["chat or account", "status", "calls", "failures", "started", "next"], columns);
    for item in runs {
        let next = match Next::of(item, now, overdue) {
            Next::Poll { .. } | Next::Publication if driver == Driver::Stopped => Cell::new("stopped"),
            Next::Poll { expected_at: Some(at), .. } if at > now => Cell::new(format!("poll {}", distance(at, now))),
            Next::Poll { expected_at: Some(_), .. } => Cell::new("poll due"),
            Next::Poll { expected_at: None, .. } => Cell::new("poll"),
            Next::Publication => Cell::new("event"),
            Next::Over => Cell::new("nothing"),
            Next::Recovery { lost_since, .. } => {
                let what = if item.state.is_active() { "overdue" } else { "event unpublished" };
                let text = format!("{what} for {}", span(now.since(lost_since)));
                Cell::new(text).fg(Color::Red).add_attribute(Attribute::Bold)
            }
        };
        listed.add_row([
            item.subject.label().into(),
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
    let mut listed = table::table(&["chat or account", "ending", "calls", "restarts", "ended", "event"], columns);
    for item in runs {
        let finished_at = item.state.outcome().map(|outcome| outcome.finished_at);
        listed.add_row([
            item.subject.label().into(),
            ending(item).unwrap_or_default().into(),
            Cell::new(item.polls),
            Cell::new(item.learned.restarts),
            finished_at.map(|time| distance(time, now)).unwrap_or_default().into(),
            if item.state.is_published() { Cell::new("published") } else { Cell::new("not confirmed").fg(Color::Red) },
        ]);
    }
    listed
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::cli::run_report::tests::{NOW, item};
    use crate::ids::Subject;

    #[test]
    fn list_fits_the_terminal_whatever_the_ids() {
        let named = |name: &str| Item { subject: Subject::chat(name).unwrap(), ..item() };
        let runs = [named("c"), named(&"chat_01HXYZ4QK3WJ8FN3M6QH7TZ8GR".repeat(4)), named(&"会話".repeat(40))];
        for columns in [60, 80, 120] {
            for listed in [
                open_table(&runs, NOW, Duration::from_secs(1800), Driver::Stopped, Some(columns)),
                ended_table(&runs, NOW, Some(columns)),
            ] {
                let text = table::text(&listed);
                let widest = text.lines().map(UnicodeWidthStr::width).max().unwrap();
                assert!(widest <= usize::from(columns), "{widest} columns of {columns}:\n{text}");
            }
        }
    }
}

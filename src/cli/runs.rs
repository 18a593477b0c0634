//! `postpress-bridge runs`: lists open or ended runs.

use std::time::Duration;

use clap::Args;
use comfy_table::{Attribute, Cell, Color, Table};

use crate::ids::Workspace;
use crate::run::{Item, Next};
use crate::store::{Driver, EndedRuns, OpenRuns, RunTable, Wanted};
use crate::time::{Clock, Millis};

use super::format::{distance, ending, span, status};
use super::run_report::RunReport;
use super::{run_table, table};

/// List open runs, or runs that have ended
///
/// A run is open until its ending is confirmed published. The provider is not called. The table is the deployed one in
/// `BRIDGE_TABLE` if that is set, and the file of the local `sync` (`BRIDGE_STATE_FILE`) otherwise.
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
        let (now, driver) = (Clock::System.now(), table.driver());
        let wanted = Wanted { workspace: self.workspace.as_ref(), limit: self.limit as usize };
        let Listing { runs, note } =
            if self.ended { ended(&table, wanted, now).await? } else { open(&table, wanted).await? };
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

async fn open(table: &RunTable, wanted: Wanted<'_>) -> anyhow::Result<Listing> {
    let OpenRuns { runs, is_cut } = table.open_runs(wanted).await?;
    let note = match runs.len() {
        0 => Some("no open runs".to_owned()),
        listed if is_cut => Some(format!("only the {listed} runs that a sweep reads first; for more, see `--limit`")),
        _ => None,
    };
    Ok(Listing { runs, note })
}

async fn ended(table: &RunTable, wanted: Wanted<'_>, now: Millis) -> anyhow::Result<Listing> {
    let EndedRuns { runs, looked_at, is_complete } = table.ended_runs(wanted, now).await?;
    let cost = if table.driver() == Driver::Bridge { ", each of which costs read units" } else { "" };
    let rest = if is_complete {
        "this is the whole table"
    } else {
        "the rest was not scanned, and items are in no order; see `--limit`"
    };
    let note = format!("{} found; items scanned: {looked_at}{cost}; {rest}", runs.len());
    Ok(Listing { runs, note: Some(note) })
}

fn open_table(runs: &[Item], now: Millis, overdue: Duration, driver: Driver, columns: Option<u16>) -> Table {
    let row = |item: &Item| {
        let next = match Next::of(item, now, overdue) {
            Next::Poll { .. } if item.cancelled_at.is_some() => Cell::new("cancelled"),
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
        let cells = vec![
            ending(item).or(status(item)).unwrap_or("none yet").into(),
            Cell::new(item.polls),
            Cell::new(item.learned.failures),
            distance(item.started_at_ms, now).into(),
            next,
        ];
        (item.subject.label(), cells)
    };
    let headings = ["chat or account", "status", "calls", "failures", "started", "next"];
    table::of_ids(&headings, &runs.iter().map(row).collect::<Vec<_>>(), columns, &[3, 4, 2])
}

fn ended_table(runs: &[Item], now: Millis, columns: Option<u16>) -> Table {
    let row = |item: &Item| {
        let finished_at = item.state.outcome().map(|outcome| outcome.finished_at);
        let cells = vec![
            ending(item).unwrap_or_default().into(),
            Cell::new(item.polls),
            Cell::new(item.learned.restarts),
            finished_at.map(|time| distance(time, now)).unwrap_or_default().into(),
            if item.state.is_published() { Cell::new("published") } else { Cell::new("not confirmed").fg(Color::Red) },
        ];
        (item.subject.label(), cells)
    };
    let headings = ["chat or account", "ending", "calls", "restarts", "ended", "event"];
    table::of_ids(&headings, &runs.iter().map(row).collect::<Vec<_>>(), columns, &[3, 2, 4])
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::cli::run_report::tests::{NOW, item};
    use crate::ids::Subject;

    #[test]
    fn list_has_a_line_for_each_run_whatever_the_ids_and_the_terminal() {
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
                assert_eq!(text.lines().count(), 1 + runs.len(), "{columns} columns:\n{text}");
            }
        }
    }
}

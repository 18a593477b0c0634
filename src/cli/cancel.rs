//! `postpress-bridge cancel`: ends runs in flight without another call.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use tokio::time::sleep;

use crate::event::Event;
use crate::ids::{MessageId, RunId, Subject, subject_fields};
use crate::message::TriggerBody;
use crate::run::{Write, WriteResult};
use crate::service::ServiceError;
use crate::settings::{FromEnv, Runs, SendSettings};
use crate::store::{Driver, RunStore, RunTable, SqliteStore};
use crate::time::Clock;

use super::aws::DeployedBridge;
use super::follow::READ_EVERY;
use super::output::EventFormat;
use super::subjects::ChatsOrAccount;
use super::{run_table, table};

/// End runs in flight without another call to postpress
///
/// A run ends at once if no message holds it, otherwise with its next poll, up to 15 minutes later, for all its triggers as
/// `bridge/cancelled`; an ending of its sync that is recorded first counts instead. A run that begins after the cancel is left alone, so a
/// cancel that is sent before a trigger's first call does nothing. A sync that postpress has begun goes on: its API documents no way
/// to stop one.
///
/// With `BRIDGE_TABLE` set, this sends cancels to the queue in `BRIDGE_QUEUE_URL`. Otherwise it cancels the terminal's own runs in
/// their file.
///
/// Exit code 0: every cancel was sent or written, and with `--wait` no cancelled run is in flight any more; 1: a cancel was not sent;
/// 2: the settings are invalid, or the table cannot be read or written.
#[derive(Debug, Clone, Args)]
pub struct Cancel {
    #[command(flatten)]
    subjects: ChatsOrAccount,

    /// Wait until the runs in flight have ended, and print their events. The terminal's own runs only end while a `sync` drives them
    #[arg(long, conflicts_with = "json")]
    wait: bool,

    /// Print JSON lines
    #[arg(long)]
    json: bool,
}

/// What happened to one cancel.
#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(flatten, with = "subject_fields")]
    subject: &'a Subject,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<MessageId>,
    /// For the terminal's own runs: whether a run was in flight.
    #[serde(skip_serializing_if = "Option::is_none")]
    cancelled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Cancel {
    /// Cancels; returns whether everything succeeded.
    ///
    /// # Errors
    /// If the settings are invalid, or the table cannot be read or written.
    pub async fn run(self) -> anyhow::Result<bool> {
        let (settings, table) = run_table::open("cancel").await?;
        let subjects = self.subjects.list();
        let is_stopped = table.driver() == Driver::Stopped;
        let mut in_flight = BTreeMap::new();
        if self.wait && !is_stopped {
            for subject in &subjects {
                let item = table.read(subject).await?.filter(|item| item.state.is_active());
                in_flight.extend(item.map(|item| (subject.clone(), item.run_id)));
            }
        }
        let lines = match &settings.runs {
            Runs::File(path) => cancel_in_file(path, &subjects).await?,
            Runs::Table(_) => cancel_over_queue(&subjects).await?,
        };
        for line in lines.iter().filter(|line| line.error.is_some()) {
            in_flight.remove(line.subject);
        }
        let all_sent = lines.iter().all(|line| line.error.is_none());
        self.print(&lines, table.driver())?;
        if self.wait {
            wait(&table, in_flight, &EventFormat::new(self.json, &settings.event_source)).await?;
        }
        Ok(all_sent)
    }

    fn print(&self, lines: &[Line<'_>], driver: Driver) -> anyhow::Result<()> {
        for line in lines {
            if self.json {
                table::print_json(line)?;
                continue;
            }
            let text = match line {
                Line { error: Some(error), .. } => format!("not sent: {error}"),
                Line { message_id: Some(message_id), .. } => format!("cancel sent, {message_id}"),
                Line { cancelled: Some(false), .. } => "no run in flight".to_owned(),
                _ if driver == Driver::Stopped => {
                    "cancelled; no process drives it: a `sync` of it ends the run, and starts none".to_owned()
                }
                _ => "cancelled; it ends with its next poll".to_owned(),
            };
            anstream::eprintln!("{}  {text}", line.subject.label());
        }
        Ok(())
    }
}

/// Cancels runs of the terminal's own `sync`.
async fn cancel_in_file<'a>(path: &Path, subjects: &'a [Subject]) -> anyhow::Result<Vec<Line<'a>>> {
    let store = SqliteStore::open(path)?;
    let now = Clock::System.now();
    let mut lines = Vec::new();
    for subject in subjects {
        let written = store.write(&Write::Cancel { subject: subject.clone(), requested_at: now, now }).await?;
        let cancelled = Some(matches!(written, WriteResult::Applied(_)));
        lines.push(Line { subject, message_id: None, cancelled, error: None });
    }
    Ok(lines)
}

/// Sends cancels to a deployed bridge.
async fn cancel_over_queue<'a>(subjects: &'a [Subject]) -> anyhow::Result<Vec<Line<'a>>> {
    let settings = SendSettings::from_env()?;
    let cancels: Vec<_> = subjects.iter().cloned().map(TriggerBody::cancel).collect();
    let sent = DeployedBridge::connect("cancel")
        .await?
        .send(&settings.queue_url, &cancels, None)
        .await
        .context("nothing was sent")?;
    let line = |(subject, sent): (&'a Subject, Result<MessageId, ServiceError>)| {
        let (message_id, error) = match sent {
            Ok(message_id) => (Some(message_id), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Line { subject, message_id, cancelled: None, error }
    };
    Ok(subjects.iter().zip(sent).map(line).collect())
}

/// Prints the event of each of these runs once it is out.
async fn wait(table: &RunTable, mut in_flight: BTreeMap<Subject, RunId>, events: &EventFormat) -> anyhow::Result<()> {
    loop {
        for (subject, run_id) in in_flight.clone() {
            let item = table.read(&subject).await?.filter(|item| item.run_id == run_id);
            if item.as_ref().is_some_and(|item| !item.state.is_published()) {
                continue;
            }
            match item.as_ref().and_then(Event::of_run) {
                Some(event) => table::print(&format!("{}\n", events.line(&event)))?,
                None => anstream::eprintln!("{}  ended, and another run has begun since", subject.label()),
            }
            in_flight.remove(&subject);
        }
        if in_flight.is_empty() {
            return Ok(());
        }
        sleep(READ_EVERY).await;
    }
}

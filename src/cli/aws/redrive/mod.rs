//! `postpress-bridge redrive`: sends dead letters again, or drops them.
//!
//! It receives the messages first, so that it asks consent for exactly what it holds, and deletes a dead letter only after
//! SQS has accepted its replacement. Killed at any moment it loses nothing: a message that was sent but not deleted is sent
//! again by the next redrive, and the trigger's key or the poll's fence makes the repeat harmless.
//!
//! The console's redrive (`StartMessageMoveTask`) gives messages new ids: a trigger without an idempotency key would become a
//! new request, and its finished sync would start again. If someone has moved a message that way and it became a dead letter
//! again, its first id is lost, and this command cannot recover it.

use std::collections::BTreeSet;
use std::future::pending;
use std::io::Write;
use std::pin::{Pin, pin};
use std::time::Duration;

use anyhow::Context;
use aws_sdk_sqs::Client;
use futures_util::FutureExt;
use tokio::time::Instant;

use crate::console::{LETTERS_MAX, Redriven};
use crate::ids::MessageId;
use crate::message::Record;
use crate::message::dead_letter::{self, Action, DeadLetter};
use crate::queue::packing::ENTRIES_MAX;
use crate::queue::{Outgoing, SqsQueue};
use crate::settings::{FromEnv, RedriveSettings};
use crate::telemetry::{self, LogFormat};

use super::options::Redrive;
use crate::cli::consent::{self, Consent};
use crate::cli::{shutdown, table};
use dead_letters::DeadLetters;
use report::{Done, Report};

pub(super) mod dead_letters;
mod report;

impl Redrive {
    /// Plans, asks and executes; returns whether the whole plan was carried out.
    ///
    /// # Errors
    /// If the settings are invalid, or a queue cannot be found or read.
    pub async fn run(self) -> anyhow::Result<bool> {
        let settings = RedriveSettings::from_env()?;
        telemetry::init(&settings.log_filter, LogFormat::Compact)?;
        let aws = crate::aws::connect(crate::aws::http_client()?).await?;
        let client = aws_sdk_sqs::Client::new(&aws);

        let dead_letters = DeadLetters::of(&client, &settings.queue_url, self.hold).await?;
        // One signal for the whole command, so that Ctrl-C counts at any moment from the first receive on.
        let mut stop = pin!(shutdown::signal().fuse());
        let held_until = Instant::now() + self.hold;
        let Some(records) = dead_letters.take(self.limit as usize, stop.as_mut()).await? else {
            say("nothing was done");
            return Ok(false);
        };
        let letters: Vec<_> =
            records.into_iter().map(|record| DeadLetter::of(record, &settings.event_source)).collect();
        let mut report = Report {
            queue: settings.queue_url.clone(),
            dead_letter_queue: dead_letters.url.clone(),
            waiting: dead_letters.waiting,
            held_by_others: dead_letters.held_by_others,
            received: letters.len(),
            plan: dead_letter::lines(&letters),
            done: None,
        };
        let shown = self.show_plan(&report);

        let executor = Executor { queue: SqsQueue::new(client, settings.queue_url), dead_letters, held_until };
        let is_read_only = letters.iter().all(|letter| letter.action() == Action::Leave) || self.dry_run;
        // A plan that could not be shown has no consent.
        let consent =
            if is_read_only || shown.is_err() { Consent::Refused } else { self.consent(&letters, stop.as_mut()).await };
        if consent == Consent::Given {
            report.done = Some(executor.act(&letters, stop).await);
        } else {
            executor.dead_letters.give_back(letters.iter().map(|letter| &letter.record)).await;
        }
        match shown {
            Err(error) if !is_read_only => {
                say(&format!("nothing was done: {error:#}"));
                return Ok(false);
            }
            shown => shown?,
        }
        match consent {
            Consent::Refused if !is_read_only => say("nothing was done"),
            Consent::NoTerminal => say("nothing was done: there is no terminal to ask on; add `--yes`"),
            Consent::Given | Consent::Refused => {}
        }
        let is_complete = report.done.as_ref().map_or(is_read_only, Done::is_complete);
        match self.show_result(&report) {
            Err(error) if !is_complete => say(&format!("the plan was not completed: {error:#}")),
            shown => shown?,
        }
        Ok(is_complete)
    }

    async fn consent(&self, letters: &[DeadLetter], stop: impl Future<Output = ()>) -> Consent {
        if self.yes {
            return Consent::Given;
        }
        let [send, drop] = [Action::Send, Action::Drop].map(|action| dead_letter::count(letters, action));
        consent::ask(&format!("Send {send} and drop {drop}?"), stop).await
    }

    /// On stdout, unless stdout is for JSON.
    fn show_plan(&self, report: &Report) -> anyhow::Result<()> {
        if self.json {
            return std::io::stderr().lock().write_all(report.plan().as_bytes()).context("cannot write to stderr");
        }
        table::print(&report.plan())
    }

    fn show_result(&self, report: &Report) -> anyhow::Result<()> {
        match &report.done {
            _ if self.json => table::print_json(report),
            Some(done) => table::print(&format!("\n{}", report.result(done))),
            None => Ok(()),
        }
    }
}

/// Prints to stderr, ignoring errors.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The most dead letters among which those of the page are looked for: SQS returns them in no order.
const SEARCHED_MAX: usize = 1000;
/// How long they are hidden from others meanwhile.
const PAGE_HOLD: Duration = Duration::from_secs(60);

/// The dead letters of a queue, which are returned to it at once.
pub(super) async fn look(client: &Client, queue_url: &str, event_source: &str) -> anyhow::Result<Vec<DeadLetter>> {
    let dead_letters = DeadLetters::of(client, queue_url, PAGE_HOLD).await?;
    let never = pin!(pending().fuse());
    let records = dead_letters.take(LETTERS_MAX, never).await?.unwrap_or_default();
    dead_letters.give_back(&records).await;
    Ok(records.into_iter().map(|record| DeadLetter::of(record, event_source)).collect())
}

/// Sends the dead letters of a queue that were `shown` again, or drops them. Others stay.
///
/// # Errors
/// If a queue cannot be found or read, or a message could not be sent or deleted; it stays a dead letter.
pub(super) async fn execute(
    client: Client,
    queue_url: &str,
    event_source: &str,
    shown: &BTreeSet<MessageId>,
) -> anyhow::Result<Redriven> {
    let dead_letters = DeadLetters::of(&client, queue_url, PAGE_HOLD).await?;
    let held_until = Instant::now() + PAGE_HOLD;
    let records = dead_letters.take(SEARCHED_MAX, pin!(pending().fuse())).await?.unwrap_or_default();
    let (records, others): (Vec<_>, Vec<_>) =
        records.into_iter().partition(|record| shown.contains(&record.message_id));
    dead_letters.give_back(&others).await;
    let letters: Vec<_> = records.into_iter().map(|record| DeadLetter::of(record, event_source)).collect();
    let executor = Executor { queue: SqsQueue::new(client, queue_url.to_owned()), dead_letters, held_until };
    let done = executor.act(&letters, pin!(pending())).await;
    if !done.is_complete() {
        let errors: Vec<&str> = done.errors.iter().map(String::as_str).collect();
        anyhow::bail!(
            "{} sent, {} dropped; not sent: {}, not deleted: {}: {}",
            done.sent,
            done.dropped,
            done.not_sent,
            done.not_deleted,
            errors.join("; ")
        );
    }
    Ok(Redriven { sent: done.sent, dropped: done.dropped, left: done.left, not_found: shown.len() - letters.len() })
}

/// Carries out the plan.
struct Executor {
    queue: SqsQueue,
    dead_letters: DeadLetters,
    /// From then on other consumers may receive the dead letters.
    held_until: Instant,
}

impl Executor {
    /// Works in small batches, so that few messages are sent twice if the process is killed. Ctrl-C finishes the current batch.
    async fn act(&self, letters: &[DeadLetter], mut stop: Pin<&mut impl Future<Output = ()>>) -> Done {
        let mut done = Done::default();
        let mut remaining = Vec::new();
        let mut stopped = None;
        for some in letters.chunks(ENTRIES_MAX) {
            if stopped.is_none() && Instant::now() >= self.held_until {
                stopped = Some("the hold expired; confirm sooner, or set a longer `--hold`");
            }
            if stopped.is_none() && stop.as_mut().now_or_never().is_some() {
                stopped = Some("interrupted");
            }
            match stopped {
                None => self.process(some, &mut done, &mut remaining).await,
                Some(why) => {
                    done.errors.insert(why.to_owned());
                    done.not_sent += dead_letter::count(some, Action::Send);
                    done.not_deleted += dead_letter::count(some, Action::Drop);
                    remaining.extend(some.iter().map(|letter| letter.record.clone()));
                }
            }
        }
        done.left = dead_letter::count(letters, Action::Leave);
        self.dead_letters.give_back(&remaining).await;
        done
    }

    async fn process(&self, letters: &[DeadLetter], done: &mut Done, remaining: &mut Vec<Record>) {
        let (to_send, others): (Vec<_>, Vec<_>) = letters.iter().partition(|letter| letter.action() == Action::Send);
        let message = |letter: &&DeadLetter| {
            let Record { trace, group, .. } = &letter.record;
            let (body, delay) = (letter.body.clone(), Duration::ZERO);
            Outgoing { body, delay, trace: trace.clone(), group: group.clone() }
        };
        let messages: Vec<_> = to_send.iter().map(message).collect();

        let mut settled = Vec::new();
        for (letter, sent) in to_send.iter().zip(dead_letters::send(&self.queue, &messages).await) {
            match sent {
                Ok(_) => {
                    done.sent += 1;
                    settled.push(letter.record.clone());
                }
                Err(error) => {
                    done.not_sent += 1;
                    done.errors.insert(error.to_string());
                    remaining.push(letter.record.clone());
                }
            }
        }
        let sent = settled.len();
        for letter in others {
            let place = if letter.action() == Action::Drop { &mut settled } else { &mut *remaining };
            place.push(letter.record.clone());
        }
        let deleted = self.dead_letters.queue.delete_each(&settled).await;
        for (index, (record, deleted)) in settled.into_iter().zip(deleted).enumerate() {
            match deleted {
                Ok(()) if index < sent => {}
                Ok(()) => done.dropped += 1,
                Err(error) => {
                    done.not_deleted += 1;
                    done.errors.insert(error.to_string());
                    remaining.push(record);
                }
            }
        }
    }
}

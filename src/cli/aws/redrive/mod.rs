//! `postpress-bridge redrive`: what to do about dead letters.
//!
//! A message that came too often without being dealt with is a dead letter. Its cause once mended, this sends again what
//! somebody waits for. First it receives, so that what it asks consent for is what it has in hand; a dead letter is deleted
//! only after SQS has taken what goes in its place. Killed at any moment it loses nothing: what was sent and not deleted
//! is sent once more by the next one, and a trigger's key, or a poll's fence, makes the second no more than a message.
//!
//! The keys are why this is not the console's redrive (`StartMessageMoveTask`), which gives messages new ids: a trigger
//! with no key of its own would be a new request, and its finished sync would start again. For the same reason a message
//! that somebody has moved from a dead-letter queue and that died again has lost its first id, and this cannot know it.

use std::io::Write;
use std::pin::{Pin, pin};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use futures_util::FutureExt;
use tokio::time::Instant;

use crate::message::Record;
use crate::queue::packing::ENTRIES_MAX;
use crate::queue::{Outgoing, SqsQueue};
use crate::settings::{FromEnv, RedriveSettings};
use crate::telemetry::{self, LogFormat};
use crate::time::parse_duration;

use crate::cli::shutdown;
use consent::Consent;
use dead_letters::DeadLetters;
use plan::{Action, DeadLetter};
use report::{Done, Report};

mod consent;
mod dead_letters;
mod plan;
mod report;

/// Less is over before the messages are received.
const HOLD_MIN: Duration = Duration::from_secs(10);
/// The longest that SQS holds a message back.
const HOLD_MAX: Duration = Duration::from_hours(12);

/// Send the triggers among the queue's dead letters again, and clear away what is no longer needed.
///
/// Shows first what it will do, and asks. Triggers are sent under their first keys, so that one that was accepted restarts
/// nothing; polls are dropped, since the sweep has replaced them, but for those that carry an ending. Mend what made them
/// dead letters before.
///
/// The dead-letter queue is that of the `RedrivePolicy` of the queue in `BRIDGE_QUEUE_URL`. While it works, nobody else sees the
/// dead letters that it looks at; what it leaves is visible again when it ends, also by Ctrl-C, or after `--hold` if it is killed.
///
/// Exit code 0: all done, nothing to do, or `--dry-run`; 1: nothing was done (no consent, stopped before, or the plan could
/// not be shown), or a message could not be sent or deleted, and stays a dead letter; 2: it could not be tried.
///
/// IAM: `sqs:GetQueueAttributes` on both queues; `sqs:SendMessage` on the queue; `sqs:GetQueueUrl`, `sqs:ReceiveMessage`,
/// `sqs:DeleteMessage` and `sqs:ChangeMessageVisibility` on the dead-letter queue.
#[derive(Debug, Clone, Args)]
pub struct Redrive {
    /// Don't ask
    #[arg(long)]
    yes: bool,

    /// Only show what would be done
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,

    /// How many dead letters to look at, at most
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "N")]
    limit: u32,

    /// How long to keep them from others (`30m`): the time that there is to say yes, too
    #[arg(long, default_value = "30m", value_parser = hold, value_name = "TIME")]
    hold: Duration,

    /// Print one JSON object at the end
    #[arg(long)]
    json: bool,
}

fn hold(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).ok_or_else(|| "not a time; write `30m` or `90s`".to_owned())?;
    let allowed = HOLD_MIN..=HOLD_MAX;
    allowed.contains(&time).then_some(time).ok_or_else(|| "not from 10s to 12h, the longest that SQS knows".to_owned())
}

impl Redrive {
    /// Does it, and tells whether all that was to be done is done.
    ///
    /// # Errors
    /// If the settings cannot be used, or a queue cannot be found or read.
    pub async fn run(self) -> anyhow::Result<bool> {
        let settings = RedriveSettings::from_env()?;
        telemetry::init(&settings.log_filter, LogFormat::Compact)?;
        let aws = crate::aws::connect(crate::aws::http_client()?).await?;
        let client = aws_sdk_sqs::Client::new(&aws);

        let dead_letters = DeadLetters::of(&client, &settings.queue_url, self.hold).await?;
        // One for the whole way: whoever has asked at any moment since the first message was held is heard.
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
            plan: plan::lines(&letters),
            done: None,
        };
        let shown = self.show_plan(&report);

        let executor = Executor { queue: SqsQueue::new(client, settings.queue_url), dead_letters, held_until };
        // Nobody agrees to a plan that could not be shown.
        let only_looks = letters.iter().all(|letter| letter.action() == Action::Leave) || self.dry_run;
        let consent = match only_looks || shown.is_err() {
            true => Consent::Refused,
            false => self.consent(&letters, stop.as_mut()).await,
        };
        if consent == Consent::Given {
            report.done = Some(executor.act(&letters, stop).await);
        } else {
            executor.dead_letters.give_back(letters.iter().map(|letter| &letter.record)).await;
        }
        match shown {
            Err(error) if !only_looks => {
                say(&format!("nothing was done: {error:#}"));
                return Ok(false);
            }
            shown => shown?,
        }
        match consent {
            Consent::Refused if !only_looks => say("nothing was done"),
            Consent::NobodyToAsk => say("nothing was done, since there is no terminal to ask on; add `--yes`"),
            Consent::Given | Consent::Refused => {}
        }
        let is_all = report.done.as_ref().map_or(only_looks, Done::is_all);
        match self.show_outcome(&report) {
            Err(error) if !is_all => say(&format!("not all was done that was to be: {error:#}")),
            shown => shown?,
        }
        Ok(is_all)
    }

    async fn consent(&self, letters: &[DeadLetter], stop: impl Future<Output = ()>) -> Consent {
        if self.yes {
            return Consent::Given;
        }
        let [send, drop] = [Action::Send, Action::Drop].map(|action| plan::count(letters, action));
        consent::ask(&format!("Send {send} and drop {drop}?"), stop).await
    }

    /// On stdout, unless that is for a program, which gets it at the end.
    fn show_plan(&self, report: &Report) -> anyhow::Result<()> {
        if self.json {
            return std::io::stderr().lock().write_all(report.plan().as_bytes()).context("cannot write to stderr");
        }
        print(&report.plan())
    }

    fn show_outcome(&self, report: &Report) -> anyhow::Result<()> {
        match &report.done {
            _ if self.json => print(&(serde_json::to_string(report)? + "\n")),
            Some(done) => print(&format!("\n{}", report.outcome(done))),
            None => Ok(()),
        }
    }
}

/// On stderr, if anybody listens there.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().lock().write_all(text.as_bytes()).context("cannot write to stdout")
}

/// Dead letters in hand, and where they go.
struct Executor {
    queue: SqsQueue,
    dead_letters: DeadLetters,
    /// From then on others may see them again.
    held_until: Instant,
}

impl Executor {
    /// A few at a time, so that whoever is killed here leaves few to be sent twice. Ctrl-C finishes those under way.
    async fn act(&self, letters: &[DeadLetter], mut stop: Pin<&mut impl Future<Output = ()>>) -> Done {
        let mut done = Done::default();
        let mut stay = Vec::new();
        let mut why_not = None;
        for some in letters.chunks(ENTRIES_MAX) {
            if why_not.is_none() && Instant::now() >= self.held_until {
                why_not = Some("the hold is over; say yes sooner, or give a longer `--hold`");
            }
            if why_not.is_none() && stop.as_mut().now_or_never().is_some() {
                why_not = Some("it was stopped");
            }
            match why_not {
                None => self.deal_with(some, &mut done, &mut stay).await,
                Some(why) => {
                    done.troubles.insert(why.to_owned());
                    done.not_sent += plan::count(some, Action::Send);
                    done.not_deleted += plan::count(some, Action::Drop);
                    stay.extend(some.iter().map(|letter| letter.record.clone()));
                }
            }
        }
        done.left = plan::count(letters, Action::Leave);
        self.dead_letters.give_back(stay.iter()).await;
        done
    }

    async fn deal_with(&self, letters: &[DeadLetter], done: &mut Done, stay: &mut Vec<Record>) {
        let (to_send, others): (Vec<_>, Vec<_>) = letters.iter().partition(|letter| letter.action() == Action::Send);
        let message = |letter: &&DeadLetter| {
            let trace = letter.record.trace.clone();
            Outgoing { body: letter.body.clone(), delay: Duration::ZERO, trace }
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
                    done.troubles.insert(error.to_string());
                    stay.push(letter.record.clone());
                }
            }
        }
        let sent = settled.len();
        for letter in others {
            let place = if letter.action() == Action::Drop { &mut settled } else { &mut *stay };
            place.push(letter.record.clone());
        }
        let deleted = self.dead_letters.delete(&settled).await;
        for (index, (record, deleted)) in settled.into_iter().zip(deleted).enumerate() {
            match deleted {
                Ok(()) if index < sent => {}
                Ok(()) => done.dropped += 1,
                Err(error) => {
                    done.not_deleted += 1;
                    done.troubles.insert(error.to_string());
                    stay.push(record);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_one_that_sqs_knows() {
        assert_eq!(hold("30m"), Ok(Duration::from_mins(30)));
        for wrong in ["0s", "9s", "13h", "long"] {
            assert!(hold(wrong).is_err(), "{wrong}");
        }
    }
}

//! The options of the commands that need AWS. A build without it has the same, so that `--help` explains them there too.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;

use crate::cli::args::duration;

/// A shorter hold would expire before the messages are received.
const HOLD_MIN: Duration = Duration::from_secs(10);
/// The longest visibility timeout that SQS allows.
const HOLD_MAX: Duration = Duration::from_hours(12);

#[cfg(not(feature = "aws"))]
const NEEDS_AWS: &str =
    "This build does not include AWS support, so the command only works in a build with `--features aws`.";

/// Consume the deployed queue in this process: receive batches, handle them, delete what succeeded
///
/// Settings come from the environment, as for the Lambda. Ctrl-C finishes the pending calls, so that no answer is lost. The queue's
/// visibility timeout should be longer than `--invocation`.
#[derive(Debug, Clone, Args)]
#[cfg_attr(not(feature = "aws"), command(after_help = NEEDS_AWS))]
pub struct Work {
    /// How many batches to handle concurrently
    #[arg(long, default_value = "4", value_name = "N")]
    pub(super) concurrency: NonZeroUsize,

    /// How long a batch may take, like a function's timeout (`60s`)
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "TIME")]
    pub(super) invocation: Duration,

    /// Stop when the queue has been idle for this long (`30s`); without it, only Ctrl-C stops
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub(super) until_idle: Option<Duration>,
}

/// Send dead-lettered triggers again, and delete dead letters that are no longer needed
///
/// Shows the plan first, and asks. Triggers are sent under their first keys, so that one that was already accepted restarts
/// nothing. Polls are dropped, since the sweep has replaced them, except those that carry an ending. Fix the cause of the dead
/// letters first.
///
/// The dead-letter queue is the one in the `RedrivePolicy` of the queue in `BRIDGE_QUEUE_URL`. While it runs, the dead letters that
/// it has received are hidden from other consumers. Those that it leaves become visible again when it ends or is interrupted with
/// Ctrl-C, or after `--hold` if it is killed.
///
/// Exit code 0: everything done, nothing to do, or `--dry-run`; 1: nothing was done (no consent, interrupted, or the plan could
/// not be shown), or a message could not be sent or deleted and stays a dead letter; 2: the command failed.
///
/// IAM: `sqs:GetQueueAttributes` on both queues; `sqs:SendMessage` on the queue; `sqs:GetQueueUrl`, `sqs:ReceiveMessage`,
/// `sqs:DeleteMessage` and `sqs:ChangeMessageVisibility` on the dead-letter queue.
#[derive(Debug, Clone, Args)]
#[cfg_attr(not(feature = "aws"), command(after_help = NEEDS_AWS))]
pub struct Redrive {
    /// Do not ask for confirmation
    #[arg(long)]
    pub(super) yes: bool,

    /// Only show the plan
    #[arg(long, conflicts_with = "yes")]
    pub(super) dry_run: bool,

    /// Process at most this many dead letters
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "N")]
    pub(super) limit: u32,

    /// How long to hide the dead letters from other consumers (`30m`); this is also how long you have to confirm
    #[arg(long, default_value = "30m", value_parser = hold, value_name = "TIME")]
    pub(super) hold: Duration,

    /// Print one JSON object at the end
    #[arg(long)]
    pub(super) json: bool,
}

/// Print the endings of a deployed bridge as they come
///
/// Receives the events that a rule sends to the queue in `BRIDGE_EVENTS_QUEUE_URL`, prints each once, and deletes its message, so
/// the queue has to be one for this purpose: that of `infra/subscribers/endings-to-queue.yaml` or of `infra/local.sh`. An ending
/// that is published again is not shown again.
///
/// Exit code 0: Ctrl-C, or `--count` endings; 2: the queue could not be read.
///
/// IAM: `sqs:ReceiveMessage` and `sqs:DeleteMessage` on that queue.
#[derive(Debug, Clone, Args)]
#[cfg_attr(not(feature = "aws"), command(after_help = NEEDS_AWS))]
pub struct Listen {
    /// Stop after this many endings
    #[arg(long, value_name = "N")]
    pub(super) count: Option<NonZeroUsize>,

    /// Print the events as JSON lines on a terminal too
    #[arg(long)]
    pub(super) json: bool,
}

fn hold(text: &str) -> Result<Duration, &'static str> {
    let time = duration(text)?;
    if (HOLD_MIN..=HOLD_MAX).contains(&time) { Ok(time) } else { Err("must be from 10s to 12h, SQS's maximum") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hold_must_be_one_that_sqs_allows() {
        assert_eq!(hold("30m"), Ok(Duration::from_mins(30)));
        for wrong in ["0s", "9s", "13h", "long"] {
            assert!(hold(wrong).is_err(), "{wrong}");
        }
    }
}

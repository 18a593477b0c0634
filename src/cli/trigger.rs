//! `postpress-bridge trigger`: sends triggers to a deployed bridge.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use crate::ids::{MessageId, Subject, TriggerKey, subject_fields};
use crate::service::ServiceError;
use crate::settings::{FollowSettings, FromEnv, SendSettings};
use crate::telemetry::{self, LogFormat};

use super::args::duration;
use super::aws::DeployedBridge;
use super::follow::Follow;
use super::progress::ProgressDisplay;
use super::subjects::{Requested, Subjects};
use super::trigger_options::TriggerOptions;
use super::{each_chat, table};

mod each;

/// Ask a deployed bridge to sync chats or an account
///
/// Sends one trigger for each to the queue in `BRIDGE_QUEUE_URL`, and prints its message id. With `--wait`, follows the run table
/// in `BRIDGE_TABLE` and prints one event for each, as `sync` does.
///
/// `--account ACCOUNT_ID --each-chat` lists the account's chats, with the provider's base URL and key as `sync` has them, and sends a
/// trigger for each while it lists. All of them carry one key, kept in `BRIDGE_STATE_FILE`: after an interruption, or if a trigger was
/// not sent, the same command continues, and what the bridge has already accepted starts nothing. Once every trigger is sent, the
/// command asks before it sends them again.
///
/// Exit code 0: all were sent, and with `--wait` all ended in `SYNC_DONE`; 1: a trigger was not sent, or a chat ended otherwise; 2:
/// nothing was sent because of the arguments, the settings or the deployment, or with `--wait` the table could not be read.
#[derive(Debug, Clone, Args)]
pub struct Trigger {
    /// With `--each-chat`: send triggers again that were all sent before; on a terminal, the command asks
    #[arg(long, requires = "each_chat", conflicts_with = "chats")]
    again: bool,

    /// Print JSON lines: for each trigger, or with `--wait` for each event, as without a terminal
    #[arg(long)]
    json: bool,

    /// Wait for the endings and print their events; the message ids go to stderr. With `--each-chat`, `sync` does that
    #[arg(long, conflicts_with_all = ["each_chat", "fresh_for"])]
    wait: bool,

    /// With `--wait`: how long to wait for a chat's trigger to reach the run table
    #[arg(long, default_value = "15m", value_parser = duration, value_name = "TIME")]
    timeout: Duration,

    #[command(flatten)]
    options: TriggerOptions,

    // Last, because its headings apply to what follows them.
    #[command(flatten)]
    subjects: Subjects,
}

/// The result of one trigger, for programs.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten, with = "subject_fields")]
    subject: &'a Subject,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a MessageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

type Sent<'a> = Vec<(&'a Subject, Result<MessageId, ServiceError>)>;

impl Trigger {
    /// Sends the triggers; returns whether everything succeeded.
    ///
    /// # Errors
    /// If a trigger or the settings are invalid; then nothing was sent. With `--wait`, also if the table cannot be read.
    pub async fn run(self) -> anyhow::Result<bool> {
        let (subjects, resync) = match self.subjects.requested() {
            Requested::Subjects(subjects, resync) => (subjects, resync),
            Requested::EachChat { query, dry_run: true } => {
                return each_chat::dry_run(query, |chat| self.print_line(chat, None, None)).await;
            }
            Requested::EachChat { query, dry_run: false } => return each::run(&self, query).await,
        };
        let triggers = self.options.triggers(subjects, &resync)?;
        DeployedBridge::ensure_supported("trigger")?;
        let (send, follow) = if self.wait {
            let (send, follow) = <(SendSettings, FollowSettings)>::from_env()?;
            (send, Some(follow))
        } else {
            (SendSettings::from_env()?, None)
        };
        telemetry::init(&send.log_filter, LogFormat::Compact)?;
        let bridge = DeployedBridge::connect("trigger").await?;
        if let (Some(settings), Some(first)) = (&follow, triggers.first()) {
            // Find out before anything is sent whether the table can be read.
            let read = bridge.table(&settings.table).read(&first.subject).await;
            read.context("nothing was sent, because the run table cannot be read")?;
        }
        let sent =
            bridge.send(&send.queue_url, &triggers, self.options.group.as_ref()).await.context("nothing was sent")?;
        let sent: Sent<'_> = triggers.iter().map(|trigger| &trigger.subject).zip(sent).collect();
        let all_sent = sent.iter().all(|(_, sent)| sent.is_ok());
        let Some(settings) = follow else {
            self.print(&sent)?;
            return Ok(all_sent);
        };

        let accepted = sent.iter().filter(|(_, sent)| sent.is_ok()).map(|(chat, _)| *chat);
        let display = ProgressDisplay::new(accepted);
        let follow = Follow::new(bridge.table(&settings.table), &settings, display, self.json, self.timeout);
        let mut keys = BTreeMap::new();
        for (chat, sent) in &sent {
            match sent {
                Ok(message_id) => {
                    follow.results.display.note(&format!("{}  {message_id}", chat.label()));
                    let key = self.options.idempotency_key.as_deref().unwrap_or(message_id.as_str());
                    keys.insert((*chat).clone(), TriggerKey::of(key));
                }
                Err(error) => follow.results.display.note(&not_sent(chat, error)),
            }
        }
        let chats = keys.len();
        let outcome = follow.run(keys, chats).await.context("the triggers were sent, but cannot be followed")?;
        if outcome.interrupted {
            follow.results.display.note("the bridge continues; run `status CHAT_ID` to see how far it is");
        }
        Ok(all_sent && outcome.all_succeeded)
    }

    fn print(&self, sent: &Sent<'_>) -> anyhow::Result<()> {
        let mut ids = table::table(&["chat or account", "message"], table::columns());
        for (subject, sent) in sent {
            if self.json {
                self.print_line(subject, sent.as_ref().ok(), sent.as_ref().err())?;
            } else if let Ok(message_id) = sent {
                ids.add_row([subject.id(), message_id.as_str()]);
            }
        }
        if !self.json && ids.row_count() > 0 {
            table::print(&table::text(&ids))?;
        }
        for (chat, sent) in sent {
            if let Err(error) = sent {
                anstream::eprintln!("{}", not_sent(chat, error));
            }
        }
        Ok(())
    }

    /// Prints a line about one subject: what is known of its id, its message and its error.
    fn print_line(
        &self,
        subject: &Subject,
        message_id: Option<&MessageId>,
        error: Option<&ServiceError>,
    ) -> anyhow::Result<()> {
        match (self.json, message_id) {
            (true, _) => table::print_json(&Line { subject, message_id, error: error.map(ToString::to_string) }),
            (false, Some(message_id)) => table::print(&format!("{}  {message_id}\n", subject.id())),
            (false, None) if error.is_none() => table::print(&format!("{}\n", subject.id())),
            (false, None) => Ok(()),
        }
    }
}

fn not_sent(chat: &Subject, error: &ServiceError) -> String {
    format!("{}  not sent: {error}", chat.label())
}

#[cfg(test)]
mod tests {
    use crate::message::TriggerBody;
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        trigger: Trigger,
    }

    fn triggers(arguments: &[&str]) -> Result<Vec<String>, String> {
        let program = Program::try_parse_from([&["trigger"], arguments].concat()).map_err(|error| error.to_string())?;
        let Requested::Subjects(subjects, resync) = program.trigger.subjects.requested() else { panic!() };
        let triggers = program.trigger.options.triggers(subjects, &resync).map_err(|error| format!("{error:#}"))?;
        Ok(triggers.iter().map(TriggerBody::to_body).collect())
    }

    #[test]
    fn each_chat_gets_one_trigger_with_the_arguments_byte_for_byte() {
        let metadata = r#"{"b": 0.1000, "a":12345678901234567890123}"#;
        let given = ["--correlation-id", "order-17", "--idempotency-key", "crm 1", "--metadata", metadata];
        let bodies = triggers(&[&["a", "b", "a"], &given[..]].concat()).unwrap();
        let rest = format!(r#""correlation_id":"order-17","idempotency_key":"crm 1","metadata":{metadata}}}"#);
        assert_eq!(bodies, ["a", "b"].map(|chat| format!(r#"{{"chat_id":"{chat}",{rest}"#)));
        assert_eq!(triggers(&["a"]).unwrap(), [r#"{"chat_id":"a"}"#]);
        assert_eq!(triggers(&["a", "--after-request"]).unwrap(), [r#"{"chat_id":"a","after_request":true}"#]);
        assert_eq!(
            triggers(&["--account", "a", "--partial", "--after", "7"]).unwrap(),
            [r#"{"account_id":"a","resync":{"partial":true,"after":7}}"#]
        );
        assert_eq!(triggers(&["a", "--fresh-for", "1h"]).unwrap(), [r#"{"chat_id":"a","fresh_for_seconds":3600}"#]);
    }

    #[test]
    fn invalid_triggers_are_rejected_before_sending() {
        let long = "x".repeat(257);
        for (arguments, reason) in [
            (&["c", ".."][..], "path navigation"),
            (&["c", ""], "empty"),
            (&[], "CHAT_ID"),
            (&["c", "--correlation-id", &long], "257 bytes"),
            (&["c", "--idempotency-key", ""], "`idempotency_key` is empty"),
            (&["c", "--metadata", "{team: sales}"], "--metadata is not JSON"),
            (&["c", "--metadata", "[1]"], "not a JSON object"),
            (&["c", "--metadata", r#"{}, "chat_id": "other""#], "--metadata is not JSON"),
            (&["c", "--metadata", r#"{"n": 1e400}"#], "`metadata` is refused"),
            (&["--account", "a", "--each-chat", "--wait"], "cannot be used with"),
            (&["c", "--again"], "cannot be used with"),
            (&["--account", "a", "--again"], "--each-chat"),
            (&["c", "--fresh-for", "1h", "--wait"], "cannot be used with"),
            (&["c", "--fresh-for", "1h", "--after-request"], "cannot be used with"),
            (&["c", "--fresh-for", "721h"], "`fresh_for_seconds` is not"),
        ] {
            let refused = triggers(arguments).unwrap_err();
            assert!(refused.contains(reason), "{arguments:?}: {refused}");
        }
    }
}

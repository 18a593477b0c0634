//! `postpress-bridge trigger`: sends triggers to a deployed bridge.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::ids::{MessageId, Subject, TriggerKey, subject_fields};
use crate::message::TriggerBody;
use crate::postpress::Resync;
use crate::service::ServiceError;
use crate::settings::{DEFAULT_EVENT_SOURCE, FollowSettings, FromEnv, SendSettings};
use crate::telemetry::{self, LogFormat};

use super::args::duration;
use super::aws::DeployedBridge;
use super::follow::Follow;
use super::progress::ProgressDisplay;
use super::subjects::Subjects;
use super::table;

/// Ask a deployed bridge to sync chats or an account
///
/// Sends one trigger for each to the queue in `BRIDGE_QUEUE_URL`, and prints its message id. With `--wait`, follows the run table
/// in `BRIDGE_TABLE` and prints one event for each, as `sync` does.
///
/// Exit code 0: all were sent, and with `--wait` all ended in `SYNC_DONE`; 1: a trigger was not sent, or a chat ended otherwise; 2:
/// nothing was sent because of the arguments, the settings or the deployment, or with `--wait` the table could not be read.
#[derive(Debug, Clone, Args)]
pub struct Trigger {
    #[command(flatten)]
    subjects: Subjects,

    /// Your id for the request, which the event repeats
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,

    /// Triggers for the same chat or account with the same key are one request; without a key, each is a separate request
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,

    /// Your JSON object, which the event repeats
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,

    /// Sync nothing if the last sync is done and finished at most this long ago; its event answers the request
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "wait")]
    fresh_for: Option<Duration>,

    /// Require a sync that begins after this request: the trigger waits for a run in flight that began earlier to end
    #[arg(long, conflicts_with = "fresh_for")]
    after_request: bool,

    /// Print JSON lines
    #[arg(long)]
    json: bool,

    /// Wait for the endings and print their events; the message ids go to stderr
    #[arg(long, conflicts_with = "json")]
    wait: bool,

    /// With `--wait`: how long to wait for a chat's trigger to reach the run table
    #[arg(long, default_value = "15m", value_parser = duration, value_name = "TIME")]
    timeout: Duration,
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
        let triggers = self.triggers()?;
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
        let sent = bridge.send(&send.queue_url, &triggers).await?;
        let sent: Sent<'_> = triggers.iter().map(|trigger| &trigger.subject).zip(sent).collect();
        let all_sent = sent.iter().all(|(_, sent)| sent.is_ok());
        let Some(settings) = follow else {
            self.print(&sent)?;
            return Ok(all_sent);
        };

        let accepted = sent.iter().filter(|(_, sent)| sent.is_ok()).map(|(chat, _)| *chat);
        let display = ProgressDisplay::new(accepted);
        let follow = Follow::new(bridge.table(&settings.table), settings, display, self.timeout);
        let mut keys = BTreeMap::new();
        for (chat, sent) in &sent {
            match sent {
                Ok(message_id) => {
                    follow.results.display.note(&format!("{}  {message_id}", chat.label()));
                    let key = self.idempotency_key.as_deref().unwrap_or(message_id.as_str());
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

    /// One trigger for each chat, valid by the worker's own rules.
    fn triggers(&self) -> anyhow::Result<Vec<TriggerBody>> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(flatten, with = "subject_fields")]
            subject: &'a Subject,
            #[serde(skip_serializing_if = "Resync::is_empty")]
            resync: Resync,
            correlation_id: &'a Option<String>,
            idempotency_key: &'a Option<String>,
            metadata: Option<&'a RawValue>,
            fresh_for_seconds: Option<u64>,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            after_request: bool,
        }
        let metadata: Option<Box<RawValue>> = self
            .metadata
            .as_deref()
            .map(serde_json::from_str)
            .transpose()
            .context("--metadata is not JSON; write an object in single quotes: '{\"team\": \"sales\"}'")?;
        let Self { correlation_id, idempotency_key, after_request, .. } = self;
        let after_request = *after_request;
        let read = |subject: &Subject| {
            let fresh_for_seconds = self.fresh_for.map(|fresh_for| fresh_for.as_secs());
            let metadata = metadata.as_deref();
            let resync = self.subjects.resync();
            let body =
                Body { subject, resync, correlation_id, idempotency_key, metadata, fresh_for_seconds, after_request };
            let json = serde_json::to_string(&body)?;
            TriggerBody::parse(&json, DEFAULT_EVENT_SOURCE).map_err(anyhow::Error::msg)
        };
        self.subjects.list().into_iter().map(read).collect()
    }

    fn print(&self, sent: &Sent<'_>) -> anyhow::Result<()> {
        let mut ids = table::table(&["chat or account", "message"], table::columns());
        for (subject, sent) in sent {
            let (message_id, error) = match sent {
                Ok(message_id) => (Some(message_id), None),
                Err(error) => (None, Some(error.to_string())),
            };
            if self.json {
                table::print_json(&Line { subject, message_id, error })?;
            } else if let Some(message_id) = message_id {
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
}

fn not_sent(chat: &Subject, error: &ServiceError) -> String {
    format!("{}  not sent: {error}", chat.label())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        trigger: Trigger,
    }

    fn triggers(arguments: &[&str]) -> Result<Vec<String>, String> {
        let program = Program::try_parse_from([&["trigger"], arguments].concat()).map_err(|error| error.to_string())?;
        let triggers = program.trigger.triggers().map_err(|error| format!("{error:#}"))?;
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
            (&["c", "--json", "--wait"], "cannot be used with"),
            (&["c", "--fresh-for", "1h", "--wait"], "cannot be used with"),
            (&["c", "--fresh-for", "1h", "--after-request"], "cannot be used with"),
            (&["c", "--fresh-for", "721h"], "`fresh_for_seconds` is not"),
        ] {
            let refused = triggers(arguments).unwrap_err();
            assert!(refused.contains(reason), "{arguments:?}: {refused}");
        }
    }
}

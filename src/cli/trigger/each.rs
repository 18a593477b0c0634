//! `trigger --each-chat`: sends a trigger for each chat of an account, page by page.

use anyhow::Context;

use super::{Trigger, not_sent};
use crate::cli::aws::DeployedBridge;
use crate::cli::each_chat::ChatLister;
use crate::cli::format::when;
use crate::cli::{consent, shutdown};
use crate::message::TriggerBody;
use crate::postpress::{ChatQuery, Resync};
use crate::settings::{FromEnv, ListSettings, SendSettings, StateFile};
use crate::store::{Command, CommandName, SqliteStore};
use crate::telemetry::{self, LogFormat};
use crate::time::Clock;

/// How many triggers were sent, and how many were not.
#[derive(Debug, Default)]
struct Counts {
    sent: usize,
    failed: usize,
}

/// Sends the triggers; returns whether every chat has one.
///
/// # Errors
/// If a trigger or the settings are invalid, the chats cannot be listed, or none of a page's triggers can be sent.
pub(super) async fn run(trigger: &Trigger, query: ChatQuery) -> anyhow::Result<bool> {
    let mut template = trigger.options.template(&query.subject(), &Resync::default())?;
    DeployedBridge::ensure_supported("trigger")?;
    // With a key of the user's, there is nothing to keep.
    let ((send, settings), state_file) = match trigger.options.idempotency_key {
        Some(_) => (<(SendSettings, ListSettings)>::from_env()?, None),
        None => {
            let (settings, StateFile(path)) = <((SendSettings, ListSettings), StateFile)>::from_env()?;
            (settings, Some(path))
        }
    };
    telemetry::init(&send.log_filter, LogFormat::Compact)?;
    let bridge = DeployedBridge::connect("trigger").await?;
    let mut list = ChatLister::new(&settings, query.clone()).await?;
    let kept = match state_file {
        Some(path) => {
            let store = SqliteStore::open(&path)?;
            let Some((name, command)) = begin(trigger, &store, &send.queue_url, &query).await? else {
                return Ok(false);
            };
            template.idempotency_key = Some(command.key.clone());
            Some((store, name, command))
        }
        None => None,
    };

    let mut counts = Counts::default();
    let interrupted = tokio::select! {
        sent = send_each(trigger, &template, &mut list, &bridge, &send.queue_url, &mut counts) => {
            sent.with_context(|| match counts.sent {
                0 => "nothing was sent".to_owned(),
                sent => format!("triggers sent: {sent}; run the same command to send the rest"),
            })?;
            false
        }
        () = shutdown::signal() => true,
    };
    let Counts { sent, failed } = counts;
    let is_complete = failed == 0 && !interrupted;
    let rest = if is_complete { "" } else { "; run the same command to send the rest" };
    let not_sent = if failed > 0 { format!(", not sent: {failed}") } else { String::new() };
    anstream::eprintln!("triggers sent: {sent}{not_sent}{rest}");
    if let Some((store, name, command)) = kept.filter(|_| is_complete) {
        store.finish_and_remember(&name, &command, Clock::System.now())?;
    }
    Ok(is_complete && list.counts.unreadable == 0)
}

/// Begins a command, or resumes it; `None` if it is over and the user does not want it again.
async fn begin(
    trigger: &Trigger,
    store: &SqliteStore,
    queue_url: &str,
    query: &ChatQuery,
) -> anyhow::Result<Option<(CommandName, Command)>> {
    let name = CommandName::of_trigger_each(queue_url, query);
    if !trigger.again
        && !store.is_unfinished(&name)?
        && let Some(time) = store.finished_at(&name)?
    {
        let account = query.subject().label();
        let found = format!("triggers for these chats of {account} were sent at {}", when(time, Clock::System.now()));
        if !consent::to_start_again(&found, "Trigger each of them again?").await? {
            return Ok(None);
        }
    }
    let command = store.command(&name, &uuid::Uuid::new_v4().to_string())?;
    if command.resumed {
        anstream::eprintln!(
            "resuming an earlier command, which was interrupted: what it has triggered is not triggered again"
        );
    }
    Ok(Some((name, command)))
}

/// Sends a trigger for each chat while it lists, and prints what was sent.
async fn send_each(
    trigger: &Trigger,
    template: &TriggerBody,
    list: &mut ChatLister,
    bridge: &DeployedBridge,
    queue_url: &str,
    counts: &mut Counts,
) -> anyhow::Result<()> {
    while let Some(chats) = list.next().await? {
        let body = |subject| TriggerBody { subject, ..template.clone() };
        let triggers: Vec<TriggerBody> = chats.into_iter().map(body).collect();
        let sent = bridge.send(queue_url, &triggers, trigger.options.group.as_ref()).await?;
        for (TriggerBody { subject, .. }, sent) in triggers.iter().zip(&sent) {
            match sent {
                Ok(_) => counts.sent += 1,
                Err(error) => {
                    counts.failed += 1;
                    list.suspend(|| anstream::eprintln!("{}", not_sent(subject, error)));
                }
            }
            list.suspend(|| trigger.print_line(subject, sent.as_ref().ok(), sent.as_ref().err()))?;
        }
    }
    Ok(())
}

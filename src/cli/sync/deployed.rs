//! `sync` by a deployed bridge: sends triggers and follows its run table.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{Sync, Task};
use crate::cli::aws::DeployedBridge;
use crate::cli::chat_state::ChatState;
use crate::cli::follow::Follow;
use crate::cli::progress::{Mark, ProgressDisplay};
use crate::cli::subjects::Requested;
use crate::ids::{Subject, TriggerKey};
use crate::message::TriggerBody;
use crate::postpress::Resync;
use crate::run::Item;
use crate::settings::{FollowSettings, FromEnv, ListSettings, SendSettings, StateFile};
use crate::store::{CONCURRENT_READS, Command, RunTable, SqliteStore};
use crate::telemetry::{self, LogFormat};
use crate::time::Clock;

type Deployed = ((SendSettings, FollowSettings), StateFile);

/// Sends triggers for the chats, or the account, and follows them to their endings; returns whether all are `SYNC_DONE`.
///
/// All triggers carry the command's key, so that a resumed command repeats the same request.
pub(super) async fn sync(sync: Sync) -> anyhow::Result<bool> {
    DeployedBridge::ensure_supported("sync")?;
    let ((send, settings), StateFile(state_file)) = match sync.subjects.requested() {
        Requested::Subjects(..) => Deployed::from_env()?,
        // Reports everything that is missing at once.
        Requested::EachChat { .. } => <(Deployed, ListSettings)>::from_env()?.0,
    };
    telemetry::init(&send.log_filter, LogFormat::Compact)?;
    let bridge = DeployedBridge::connect("sync").await?;
    let commands = SqliteStore::open(&state_file)?;
    let table = bridge.table(&settings.table);
    let ended = async |chats: &BTreeSet<Subject>| ended(&table, chats).await;
    let Some(Task { chats, resync, command, is_whole }) = sync.begin(&commands, Some(&send.queue_url), ended).await?
    else {
        return Ok(false);
    };
    let follow = Follow::new(table, &settings, ProgressDisplay::new(&chats), sync.json, sync.timeout);
    if command.resumed {
        follow.results.display.note("resuming an earlier command, which was interrupted");
    }

    let key = TriggerKey::of(&command.key);
    let (mut followed, mut triggers) = (BTreeMap::new(), Vec::new());
    for chat in &chats {
        match follow.state(chat, key).await? {
            ended @ (ChatState::Ended(_) | ChatState::SyncedAgain) => follow.results.show(chat, &ended)?,
            ChatState::Open { ours: true, .. } => drop(followed.insert(chat.clone(), key)),
            ChatState::Open { ours: false, .. } | ChatState::Fresh => triggers.push(trigger(chat, &resync, &command)),
        }
    }
    for (trigger, sent) in
        triggers.iter().zip(bridge.send(&send.queue_url, &triggers, None).await.context("nothing was sent")?)
    {
        match sent {
            Ok(_) => drop(followed.insert(trigger.subject.clone(), key)),
            Err(error) => follow.results.display.finish(&trigger.subject, &format!("not sent: {error}"), Mark::Failure),
        }
    }
    let outcome = follow.run(followed, chats.len()).await.context("run the same command to continue")?;
    if outcome.all_ended {
        commands.finish(&command)?;
    } else if outcome.interrupted {
        follow.results.display.note("the bridge continues; run the same command to follow it again");
    }
    Ok(outcome.all_succeeded && is_whole)
}

/// The last runs of these chats that have ended and are still remembered.
async fn ended(table: &RunTable, chats: &BTreeSet<Subject>) -> anyhow::Result<Vec<Item>> {
    let now = Clock::System.now();
    let items: Vec<Option<Item>> = stream::iter(chats)
        .map(async |chat| {
            let item = table.read(chat).await;
            item.with_context(|| format!("nothing was sent: cannot read the run of {}", chat.label()))
        })
        .buffered(CONCURRENT_READS)
        .try_collect()
        .await?;
    Ok(items.into_iter().flatten().filter(|item| !item.state.is_active() && !item.is_expired(now)).collect())
}

fn trigger(chat: &Subject, resync: &Resync, command: &Command) -> TriggerBody {
    let (resync, idempotency_key) = (resync.clone(), Some(command.key.clone()));
    TriggerBody { resync, idempotency_key, ..TriggerBody::new(chat.clone()) }
}

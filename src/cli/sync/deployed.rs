//! `sync` where a deployed bridge does the work: it is asked, and its run table followed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;

use crate::cli::aws::DeployedBridge;
use crate::cli::chat_state::ChatState;
use crate::cli::follow::Follow;
use crate::cli::progress::{Mark, ProgressDisplay};
use crate::ids::{ChatId, TriggerKey};
use crate::message::TriggerBody;
use crate::settings::{FollowSettings, FromEnv, SendSettings, StateFile};
use crate::store::{Command, SqliteStore};
use crate::telemetry::{self, LogFormat};

/// Asks for the chats and follows them to their endings; tells whether all are `SYNC_DONE`.
///
/// All triggers carry the command's one key, so that asking again, when a command goes on, is the same request.
pub(super) async fn sync(chats: BTreeSet<ChatId>, timeout: Duration) -> anyhow::Result<bool> {
    DeployedBridge::ensure_supported("sync")?;
    let ((ask, settings), StateFile(state_file)) = <((SendSettings, FollowSettings), StateFile)>::from_env()?;
    telemetry::init(&ask.log_filter, LogFormat::Compact)?;
    let bridge = DeployedBridge::connect("sync").await?;
    let commands = SqliteStore::open(&state_file)?;
    let command = commands.command_at(&ask.queue_url, &chats, &uuid::Uuid::new_v4().to_string())?;
    let follow = Follow::new(bridge.table(&settings.table), settings, ProgressDisplay::new(&chats), timeout);
    if command.resumed {
        follow.display.note("going on with an earlier command for these chats");
    }

    let key = TriggerKey::of(&command.key);
    let (mut followed, mut to_ask) = (BTreeMap::new(), Vec::new());
    for chat in &chats {
        match follow.standing(chat, key).await? {
            ended @ (ChatState::Ended(_) | ChatState::Forgotten) => follow.tell(chat, &ended)?,
            ChatState::Open { ours: true, .. } => drop(followed.insert(chat.clone(), key)),
            ChatState::Open { ours: false, .. } | ChatState::Fresh => to_ask.push(trigger(chat, &command)),
        }
    }
    for (trigger, sent) in to_ask.iter().zip(bridge.send(&ask.queue_url, &to_ask).await?) {
        match sent {
            Ok(_) => drop(followed.insert(trigger.chat_id.clone(), key)),
            Err(error) => follow.display.finish(&trigger.chat_id, &format!("not sent: {error}"), Mark::Failure),
        }
    }
    let outcome = follow.run(followed, chats.len()).await.context("the same command goes on")?;
    if outcome.all_ended {
        commands.finish(&command)?;
    } else if outcome.interrupted {
        follow.display.note("the bridge goes on with it; the same command follows it again");
    }
    Ok(outcome.all_good)
}

fn trigger(chat: &ChatId, command: &Command) -> TriggerBody {
    TriggerBody { idempotency_key: Some(command.key.clone()), ..TriggerBody::new(chat.clone()) }
}

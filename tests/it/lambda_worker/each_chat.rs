//! `--each-chat` at a terminal, and the deployed worker behind the queue.

use std::time::Duration;

use postpress_bridge::simulator::{ChatLists, Faults};
use tokio::process::Command;

use super::world::World;
use crate::harness::canary::{CANARY, CheckedOutput};
use crate::terminal::program;
use crate::work::on_aws;

/// The command for each chat of an account, with this home directory.
fn each_chat(world: &World, home: &tempfile::TempDir, command: &str) -> Command {
    let mut each_chat = program();
    on_aws(&mut each_chat, &world.aws)
        .args([command, "--account", "done-in-2s", "--each-chat"])
        .env("HOME", home.path())
        .env("POSTPRESS_BASE_URL", &world.base_url)
        .env("POSTPRESS_API_KEY", CANARY);
    each_chat
}

#[tokio::test]
async fn each_chat_of_an_account_is_synced_once_by_the_deployed_worker() {
    let chats = ChatLists::default().chats;
    let world = World::start(Faults::default(), Duration::from_secs(60)).await;
    let home = tempfile::tempdir().unwrap();
    let worker = world.worker(Duration::from_secs(30), &[("BRIDGE_POLL_INITIAL_SECONDS", "1")]);
    let commands = async {
        let synced = each_chat(&world, &home, "sync").checked_output().await;
        let progress = String::from_utf8_lossy(&synced.stderr).into_owned();
        assert!(synced.status.success(), "{progress}");
        assert!(progress.ends_with(&format!("{chats} chats: {chats} SYNC_DONE\n")), "{progress}");
        let repeated = each_chat(&world, &home, "sync").checked_output().await;
        assert_eq!(repeated.status.code(), Some(2), "it asks before it syncs them again");
    };
    world.work(&worker, &world.mapping(), commands).await;

    let mut published: Vec<_> =
        world.published().await.into_iter().map(|event| (event.resources.join(""), event.detail_type)).collect();
    published.sort();
    let expected = (1..=chats).map(|number| (format!("done-in-2s~{number}"), "SYNC_DONE".to_owned()));
    assert_eq!(published, expected.collect::<Vec<_>>());
    assert_eq!(world.simulator.stats().total.syncs_started, chats);
}

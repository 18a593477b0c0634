//! More healthy runs are due than a sweep looked at in earlier versions, all in the first shard; the lost runs are in all.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use postpress_bridge::ids::{ClaimId, MessageId, RunId, Subject, TriggerKey};
use postpress_bridge::message::SWEEP_BODY;
use postpress_bridge::postpress::Resync;
use postpress_bridge::run::{ACTIVE_SHARDS, Item, Open, PollState, RecentKeys, RunState, Trigger, Write};
use postpress_bridge::simulator::Faults;
use postpress_bridge::store::RunStore;
use postpress_bridge::time::{Clock, Millis};

use super::world::World;
use crate::harness::emulator::ONE_CROWD;

const HEALTHY: usize = 2000;
const HOUR: Duration = Duration::from_hours(1);

/// Chats in this shard whose next call finds their sync done.
fn chats_in(shard: u8) -> impl Iterator<Item = Subject> {
    let chats = (0..).map(|number| Subject::chat(&format!("done~{number}")).unwrap());
    chats.filter(move |chat| Open::of_active(chat, Millis(0)).shard == shard)
}

/// What starts a run that is due, and whose lease ends then.
fn run(chat: &Subject, number: u128, lease_until_ms: Millis, sweep_at_ms: Millis) -> Write {
    let subject = chat.clone();
    let message_id = MessageId::new(format!("m-{number}"));
    let item = Item {
        resync: Resync::default(),
        run_id: RunId::from_random(number),
        claim_id: ClaimId::from_random(number),
        holder: message_id.clone(),
        lease_until_ms,
        state: RunState::Active { open: Open::of_active(&subject, sweep_at_ms) },
        subject,
        keys: [TriggerKey::of(message_id.as_str())].into(),
        triggers: vec![Trigger {
            message_id,
            correlation_id: None,
            idempotency_key: None,
            metadata: None,
            requested_at: sweep_at_ms,
            joined: false,
        }],
        seen: RecentKeys::default(),
        learned: PollState::default(),
        started_at_ms: sweep_at_ms,
        cancelled_at: None,
        group: None,
        polls: 1,
    };
    Write::Start { item: Box::new(item), over: None }
}

#[tokio::test]
async fn two_sweeps_revive_the_lost_run_of_each_shard_beside_two_thousand_healthy_ones() {
    let _alone = ONE_CROWD.lock().await;
    let world = World::start(Faults::default(), Duration::from_mins(6)).await;
    let store = world.aws.store(&world.aws.sdk);
    let now = Clock::System.now();
    let ago = |time: Duration| Millis(now.0 - u64::try_from(time.as_millis()).unwrap());
    let healthy = chats_in(ACTIVE_SHARDS.start).skip(1).take(HEALTHY);
    let healthy = healthy.zip(0..).map(|(chat, number)| run(&chat, number, now + HOUR, ago(2 * HOUR)));
    let lost: Vec<Subject> = ACTIVE_SHARDS.map(|shard| chats_in(shard).next().unwrap()).collect();
    let of_lost = lost.iter().zip(10_000..).map(|(chat, number)| run(chat, number, ago(2 * HOUR), ago(HOUR)));
    let starts = healthy.chain(of_lost).map(|start| {
        let store = &store;
        async move { store.write(&start).await.unwrap() }
    });
    stream::iter(starts).buffer_unordered(16).for_each(async |_| ()).await;

    let worker = world.worker(Duration::from_mins(1), &[]);
    let mapping = world.mapping();
    let mut revived = Vec::new();
    for _sweep in 0..2 {
        let sweep = async { drop(world.aws.put(SWEEP_BODY).await) };
        world.work(&worker, &mapping, sweep).await;
        revived.extend(world.published().await.into_iter().map(|event| event.detail.subject().unwrap()));
    }
    revived.sort();
    assert_eq!(revived, lost.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
}

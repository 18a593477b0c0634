//! The triggers and their times, generated from a seed.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use postpress_bridge::ids::{Subject, Workspace, subject_fields};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use super::super::world::World;
use crate::harness::canary::WORKSPACES;

/// New chats per second. The emulator handles no more than about 250 writes and 100 messages in that time.
const CHATS_A_SECOND: usize = 6;

/// The chat of a trigger, a poll or an answer; `None` for a sweep.
pub(super) fn subject_of(body: &Value) -> Option<Subject> {
    subject_fields::deserialize(body).ok()
}

/// The triggers of a soak.
pub(super) struct Traffic {
    /// In order of arrival, second by second.
    seconds: Vec<Vec<Value>>,
}

impl Traffic {
    /// A sync of 4 to 12 s for each chat; half of the chats are in another workspace. Some are requested once more during the sync, and some again long after; some
    /// triggers are sent twice, with the same idempotency key.
    pub(super) fn new(chats: usize, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut seconds: Vec<Vec<Value>> = Vec::new();
        let mut requests = 0;
        for number in 0..chats {
            let second = number / CHATS_A_SECOND;
            let ending = if number % 5 == 0 { "error" } else { "done" };
            let chat = format!("{ending}-in-{}s~{number}", random.random_range(4..=12));
            let workspace = if number % 2 == 0 { Workspace::DEFAULT.as_str() } else { WORKSPACES[0].0 };
            let mut asked = vec![second];
            if number % 3 == 0 {
                asked.push(second + random.random_range(0..3));
            }
            if number % 20 == 0 {
                asked.push(second + 25);
            }
            for second in asked {
                let id = requests.to_string();
                let trigger = json!({
                    "chat_id": chat, "workspace": workspace, "correlation_id": id, "idempotency_key": id,
                });
                let again = (requests % 10 == 0).then(|| second + random.random_range(0..10));
                for second in [second].into_iter().chain(again) {
                    seconds.resize_with(seconds.len().max(second + 1), Vec::new);
                    seconds[second].push(trigger.clone());
                }
                requests += 1;
            }
        }
        Self { seconds }
    }

    /// Sends all triggers at their times.
    pub(super) async fn arrive(&self, world: &World) {
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for triggers in &self.seconds {
            seconds.tick().await;
            world.send(triggers).await;
        }
    }

    /// How many chats there are.
    pub(super) fn chats(&self) -> u32 {
        u32::try_from(self.requests_by_chat().len()).unwrap()
    }

    pub(super) fn triggers(&self) -> impl Iterator<Item = &Value> {
        self.seconds.iter().flatten()
    }

    /// The distinct requests, by correlation id.
    pub(super) fn requests(&self) -> HashSet<&str> {
        self.triggers().map(|trigger| trigger["correlation_id"].as_str().unwrap()).collect()
    }

    /// How many distinct requests each chat has: no more syncs than that are requested.
    pub(super) fn requests_by_chat(&self) -> HashMap<Subject, usize> {
        let mut requests: HashMap<Subject, HashSet<&str>> = HashMap::new();
        for trigger in self.triggers() {
            requests
                .entry(subject_of(trigger).unwrap())
                .or_default()
                .insert(trigger["correlation_id"].as_str().unwrap());
        }
        requests.into_iter().map(|(chat, requests)| (chat, requests.len())).collect()
    }
}

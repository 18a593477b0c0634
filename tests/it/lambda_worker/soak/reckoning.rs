//! Whether each promise was kept.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use aws_sdk_sqs::types::Message as SqsMessage;
use postpress_bridge::event::Detail;
use postpress_bridge::ids::{MessageId, Subject};
use postpress_bridge::message::{Message, Record};
use postpress_bridge::run::{DEFAULT_RUN_TTL, TriggerMessage};
use postpress_bridge::settings::DEFAULT_EVENT_SOURCE;
use postpress_bridge::simulator::Said;
use postpress_bridge::store::RunStore;
use postpress_bridge::time::{Clock, Millis};
use serde_json::Value;

use super::super::world::Published;
use super::play::{FUNCTION_TIMEOUT, Keyed, LEASE_MARGIN, PROVIDER_TIMEOUT, Soaked};
use super::restarts::{Evidence, Restarts};
use super::traffic::Traffic;
use crate::harness::lambda::{Became, Handed};

/// The results of the worker.
#[derive(Debug, Default)]
pub(super) struct Reckoning {
    triggers: usize,
    requests: usize,
    runs: usize,
    joined: usize,
    published_twice: usize,
    /// Requests among the dead letters that no run has accepted.
    given_up: usize,
    /// The number of dead letters of each kind.
    dead: [(&'static str, usize); 3],
    /// Those of them that were killed at every delivery.
    dead_by_kills_alone: usize,
    pub(super) restarts: Restarts,
    /// Each broken promise.
    pub(super) broken: Vec<String>,
}

impl Reckoning {
    pub(super) async fn of(soaked: &Soaked, traffic: &Traffic) -> Self {
        let mut reckoning =
            Self { triggers: traffic.triggers().count(), requests: traffic.requests().len(), ..Self::default() };
        let published: Vec<Published> =
            soaked.events.iter().map(|event| serde_json::from_value(event.clone()).unwrap()).collect();
        let endings = reckoning.endings(&published, soaked);
        reckoning.requests(&endings, soaked, traffic).await;
        reckoning.dead_letters(soaked);
        reckoning.calls(&endings, soaked);
        reckoning
    }

    /// The distinct endings. A run has one, with the same bytes each time it is published.
    fn endings<'a>(&mut self, published: &'a [Published], soaked: &Soaked) -> Vec<&'a Detail> {
        let mut endings: HashMap<_, (&Detail, String)> = HashMap::new();
        for (event, raw) in published.iter().zip(&soaked.events) {
            let bytes = format!("{} {}", raw["detail-type"], raw["detail"]);
            let (_, first) = endings.entry(event.detail.event_id).or_insert((&event.detail, bytes.clone()));
            if bytes != *first {
                self.broken.push(format!("{bytes} is published again but differs from {first}"));
            }
        }
        self.published_twice = published.len() - endings.len();
        let endings: Vec<&Detail> = endings.into_values().map(|(ending, _)| ending).collect();
        let runs: HashSet<_> = endings.iter().map(|ending| ending.run_id).collect();
        self.runs = runs.len();
        if runs.len() != endings.len() {
            self.broken.push(format!("{} runs have {} endings", runs.len(), endings.len()));
        }
        endings
    }

    /// Each request is in one ending, or is a dead letter and was never accepted.
    async fn requests(&mut self, endings: &[&Detail], soaked: &Soaked, traffic: &Traffic) {
        let mut reported: HashMap<&str, usize> = HashMap::new();
        for trigger in endings.iter().flat_map(|ending| &ending.triggers) {
            *reported.entry(trigger.correlation_id.as_deref().unwrap()).or_default() += 1;
            self.joined += usize::from(trigger.joined);
        }
        let dead: HashMap<String, TriggerMessage> =
            soaked.dead_letters.iter().filter_map(trigger).map(|trigger| (request(&trigger), trigger)).collect();
        for id in traffic.requests() {
            match (reported.get(id), dead.get(id)) {
                (Some(1), _) => {}
                (None, Some(trigger)) if !self.was_accepted(trigger, soaked).await => self.given_up += 1,
                (reported, dead) => {
                    self.broken.push(format!("request {id} is in {reported:?} endings; dead letter: {dead:?}"));
                }
            }
        }
    }

    /// No ending contains it, so a run that accepted it would have to be in the table.
    async fn was_accepted(&self, trigger: &TriggerMessage, soaked: &Soaked) -> bool {
        let store = soaked.world.aws.store(&soaked.world.aws.sdk);
        let item = store.read(&trigger.subject).await.unwrap();
        item.is_some_and(|item| item.is_duplicate(trigger.key, Clock::System.now(), DEFAULT_RUN_TTL))
    }

    /// Each dead letter was delivered as often as allowed, and was retried each time for a reason.
    fn dead_letters(&mut self, soaked: &Soaked) {
        self.dead = [("trigger", 0), ("poll", 0), ("sweep", 0)];
        for letter in &soaked.dead_letters {
            let body = letter.body().unwrap();
            let kind = usize::from(body.contains("\"poll\"")) + 2 * usize::from(body.contains("\"sweep\""));
            self.dead[kind].1 += 1;
            let is_its = |handed: &&Handed| Some(&*handed.message_id) == letter.message_id();
            let deliveries: Vec<&Handed> = soaked.handed.iter().filter(is_its).collect();
            let explained =
                (0..deliveries.len()).all(|place| must_be_redelivered(deliveries[place], &deliveries[..place]));
            if deliveries.len() != soaked.max_receive_count || !explained {
                self.broken.push(format!("dead-lettered without a reason: {deliveries:?}"));
            }
            self.dead_by_kills_alone += usize::from(deliveries.iter().all(|delivery| delivery.became == Became::Cut));
        }
    }

    /// Each call had to be made.
    fn calls(&mut self, endings: &[&Detail], soaked: &Soaked) {
        let calls = soaked.calls();
        let dead: Vec<&str> = soaked.dead_letters.iter().filter_map(SqsMessage::body).collect();
        self.restarts = Evidence { calls: &calls, endings, handed: &soaked.handed, dead: &dead }.restarts();
        self.broken.append(&mut self.restarts.unexplained);
        for Keyed { workspace, simulator, .. } in &soaked.keys {
            let at_once = simulator.stats().max_in_flight_each;
            if at_once > 1 {
                self.broken.push(format!("{at_once} calls at once for one chat of the workspace {workspace}"));
            }
        }
    }
}

/// It was killed; or the worker returned it, because an earlier delivery held the lease, or because a slow emulator left no
/// time for a call. Nothing else causes a redelivery here.
fn must_be_redelivered(delivery: &Handed, earlier: &[&Handed]) -> bool {
    let (began, ended) = (*delivery.time_ms.start(), *delivery.time_ms.end());
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap();
    let lease = milliseconds(FUNCTION_TIMEOUT + LEASE_MARGIN);
    match delivery.became {
        Became::Cut => true,
        Became::Returned => {
            let held = earlier.iter().any(|earlier| began <= earlier.time_ms.end() + lease);
            held || ended - began >= milliseconds(FUNCTION_TIMEOUT - PROVIDER_TIMEOUT - LEASE_MARGIN)
        }
        Became::DealtWith => false,
    }
}

/// The trigger in a dead letter, if it is one.
fn trigger(letter: &SqsMessage) -> Option<TriggerMessage> {
    let record = Record {
        message_id: MessageId::new(letter.message_id().unwrap()),
        receipt_handle: String::new(),
        body: letter.body().unwrap().to_owned(),
        sent_at: Millis(0),
        receive_count: 1,
        trace: None,
        group: None,
    };
    match Message::parse(&record, DEFAULT_EVENT_SOURCE) {
        Message::Trigger(trigger) => Some(trigger),
        _ => None,
    }
}

fn request(trigger: &TriggerMessage) -> String {
    trigger.trigger.correlation_id.clone().unwrap()
}

impl fmt::Display for Reckoning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { triggers, requests, runs, joined, published_twice, given_up, dead, restarts, broken, .. } = self;
        writeln!(f, "{triggers} triggers for {requests} requests: {runs} runs, {runs} endings, {joined} joined")?;
        writeln!(
            f,
            "{published_twice} endings published again; dead letters: {dead:?}, {given_up} requests never accepted"
        )?;
        writeln!(
            f,
            "restarts: {} since another trigger asked for it, {} since the answer was killed before it was recorded, {} since the poll with the answer was dead-lettered; {} broken promises",
            restarts.asked,
            restarts.answer_killed,
            restarts.answer_dead,
            broken.len()
        )
    }
}

/// The results of the worker without a table.
#[derive(Debug)]
pub(super) struct Stateless {
    /// Syncs beyond the requested ones.
    pub(super) restarts: usize,
    /// Requests with more than one ending.
    pub(super) ended_twice: usize,
    /// Requests with none whose message was dead-lettered, and which are therefore lost.
    lost: usize,
    /// Requests with none yet.
    not_over: usize,
}

impl Stateless {
    pub(super) fn of(soaked: &Soaked, traffic: &Traffic) -> Self {
        let mut reported: HashMap<&str, usize> = HashMap::new();
        for event in &soaked.events {
            let triggers: &Value = &event["detail"]["triggers"];
            *reported.entry(triggers[0]["correlation_id"].as_str().unwrap()).or_default() += 1;
        }
        let mut started: HashMap<Subject, usize> = HashMap::new();
        for call in soaked.calls().into_iter().filter(|call| matches!(call.said, Some(Said::Started { .. }))) {
            *started.entry(call.subject).or_default() += 1;
        }
        let beyond =
            |(chat, requests)| started.get(&chat).map_or(0, |started: &usize| started.saturating_sub(requests));
        let dead: HashSet<String> =
            soaked.dead_letters.iter().filter_map(trigger).map(|trigger| request(&trigger)).collect();
        let (lost, not_over): (Vec<&str>, Vec<&str>) =
            traffic.requests().into_iter().filter(|id| !reported.contains_key(id)).partition(|id| dead.contains(*id));
        Self {
            lost: lost.len(),
            not_over: not_over.len(),
            restarts: traffic.requests_by_chat().into_iter().map(beyond).sum(),
            ended_twice: reported.values().filter(|times| **times > 1).count(),
        }
    }
}

impl fmt::Display for Stateless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { restarts, ended_twice, lost, not_over } = self;
        writeln!(
            f,
            "{restarts} unrequested restarts of finished syncs; {ended_twice} requests with more than one ending, \
             {lost} lost with their message, {not_over} not over when time was up"
        )
    }
}

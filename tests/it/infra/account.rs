//! An account with the bridge and its three example subscribers.

use std::net::Ipv4Addr;
use std::time::Duration;

use postpress_bridge::simulator::{Faults, Server, Simulator};
use serde_json::Value;

use super::stack::{BRIDGE, Stack, default_of};
use crate::harness::canary::CANARY;
use crate::harness::emulator::{self, Emulated};
use crate::harness::lambda::{Function, Lambda, Mapping, sync_worker};

pub(super) struct Account {
    pub(super) bridge: Stack,
    /// Its queue, table and bus; the subscriber is `done-to-queue.yaml`'s.
    pub(super) aws: Emulated,
    /// The queue of `errors-to-queue.yaml`.
    pub(super) errors_url: String,
    /// A queue that plays the API destination of `http-webhook.yaml`.
    pub(super) destination_url: String,
    pub(super) http_webhook: Stack,
    pub(super) simulator: Simulator,
}

impl Account {
    /// Makes the stacks, and puts the key into its secret, as an operator does. The provider is simulated.
    pub(super) async fn deploy() -> Self {
        let simulator = Simulator::new(Faults::default());
        let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), simulator.clone()).await.unwrap();
        let bridge = Stack::create(BRIDGE, &[("PostpressBaseUrl", &server.base_url())]).await;
        tokio::spawn(server.run(std::future::pending()));

        let bus = bridge.output("EventBusName");
        let on_the_bus = [("EventBusName", bus), ("EventSource", bridge.output("EventSource"))];
        let done = Stack::create("subscribers/done-to-queue.yaml", &on_the_bus).await;
        let errors = Stack::create("subscribers/errors-to-queue.yaml", &on_the_bus).await;
        let destination = [("Url", "https://example.com/syncs"), ("KeySecretArn", bridge.output("ApiKeySecretArn"))];
        let http_webhook = Stack::create("subscribers/http-webhook.yaml", &[on_the_bus, destination].concat()).await;

        let sdk = emulator::sdk(&emulator::endpoint()).await;
        let secret = aws_sdk_secretsmanager::Client::new(&sdk).put_secret_value();
        secret.secret_id(bridge.output("ApiKeySecretArn")).secret_string(CANARY).send().await.unwrap();
        let aws = Emulated {
            sdk,
            queue_url: bridge.output("QueueUrl").to_owned(),
            dead_letter_url: bridge.output("DeadLettersUrl").to_owned(),
            table: bridge.output("TableName").to_owned(),
            bus: bus.to_owned(),
            subscriber_url: done.output("QueueUrl").to_owned(),
        };
        let errors_url = errors.output("QueueUrl").to_owned();
        let destination_url = http_webhook.output("DestinationUrl").to_owned();
        Self { bridge, aws, errors_url, destination_url, http_webhook, simulator }
    }

    /// The worker as the template sets it up, with AWS at this endpoint.
    pub(super) fn worker(&self, endpoint: &str) -> Lambda {
        sync_worker();
        let template = &self.bridge.template;
        let call_timeout = default_of(template, "CallTimeoutSeconds");
        let timeout = &template["Mappings"]["Timeouts"][call_timeout]["Function"];
        let settings = self.bridge.environments["SyncWorker"].clone().into_iter();
        let settings = settings.chain([("AWS_ENDPOINT_URL".to_owned(), endpoint.to_owned())]);
        Lambda::new(Function::sync_worker(settings, Duration::from_secs(timeout.as_u64().unwrap())))
    }

    /// The event source mapping as the template sets it up.
    pub(super) fn mapping(&self) -> Mapping {
        let template = &self.bridge.template;
        let number = |parameter| default_of(template, parameter).parse::<u32>().unwrap();
        Mapping {
            batch_size: usize::try_from(number("BatchSize")).unwrap(),
            batch_window: Duration::from_secs(number("BatchWindowSeconds").into()),
            ..Mapping::new(aws_sdk_sqs::Client::new(&self.aws.sdk), &self.aws.queue_url)
        }
    }

    /// What the schedule puts on the queue.
    pub(super) fn sweep(&self) -> &str {
        self.bridge.properties("Sweep")["Target"]["Input"].as_str().unwrap()
    }

    /// Takes what the subscriber of some errors has.
    pub(super) async fn take_errors(&self) -> Vec<Value> {
        self.take(&self.errors_url).await
    }

    /// Takes the bodies that were posted to the URL.
    pub(super) async fn take_posted(&self) -> Vec<Value> {
        self.take(&self.destination_url).await
    }

    async fn take(&self, url: &str) -> Vec<Value> {
        let bodies = self.aws.take_all(url).await;
        bodies.iter().map(|body| serde_json::from_str(body).unwrap()).collect()
    }
}

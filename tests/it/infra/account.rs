//! An account with the bridge and its three example subscribers.

use std::net::Ipv4Addr;
use std::time::Duration;

use postpress_bridge::simulator::{Faults, Server, Simulator};
use serde_json::Value;

use super::stack::{BRIDGE, Stack, default_of};
use crate::harness::canary::CANARY;
use crate::harness::emulator::{self, Emulated};
use crate::harness::lambda::{Front, Function, Kind, Lambda, Mapping, sync_worker};

pub(super) struct Account {
    pub(super) bridge: Stack,
    /// Its queue, table and bus; the subscriber is `endings-to-queue.yaml`'s.
    pub(super) aws: Emulated,
    /// The queue of `errors-to-queue.yaml`.
    pub(super) errors_url: String,
    /// A queue that stands for the API destination of `http-webhook.yaml`.
    pub(super) destination_url: String,
    pub(super) http_webhook: Stack,
    pub(super) simulator: Simulator,
}

impl Account {
    /// Creates the stacks and stores the key, as an operator does. The provider is simulated.
    pub(super) async fn deploy() -> Self {
        let simulator = Simulator::new(Faults::default());
        let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), simulator.clone()).await.unwrap();
        let bridge = Stack::create(BRIDGE, &[("PostpressBaseUrl", &server.base_url())]).await;
        tokio::spawn(server.run(std::future::pending()));

        let bus = bridge.output("EventBusName");
        let on_the_bus = [("EventBusName", bus), ("EventSource", bridge.output("EventSource"))];
        let done = Stack::create("subscribers/endings-to-queue.yaml", &on_the_bus).await;
        let errors = Stack::create("subscribers/errors-to-queue.yaml", &on_the_bus).await;
        let destination = [("Url", "https://example.com/syncs"), ("KeySecretArn", bridge.output("ApiKeySecretArn"))];
        let http_webhook = Stack::create("subscribers/http-webhook.yaml", &[on_the_bus, destination].concat()).await;

        let sdk = emulator::sdk(&emulator::endpoint());
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

    /// The worker as configured by the template, with AWS at this endpoint.
    pub(super) fn worker(&self, endpoint: &str) -> Lambda {
        sync_worker();
        let template = &self.bridge.template;
        let call_timeout = default_of(template, "CallTimeoutSeconds");
        let timeout = seconds(&template["Mappings"]["Timeouts"][call_timeout]["Function"]);
        Lambda::new(Function::sync_worker(self.settings("SyncWorker", endpoint), timeout))
    }

    /// The webhook behind its URL, in the same way.
    pub(super) fn webhook(&self, endpoint: &str) -> Front {
        let timeout = seconds(&self.bridge.properties("Webhook")["Timeout"]);
        Front::new(Function::webhook(self.settings("Webhook", endpoint), timeout), Kind::FunctionUrl)
    }

    /// The webhook's token, created by the stack.
    pub(super) async fn token(&self) -> String {
        let secret = aws_sdk_secretsmanager::Client::new(&self.aws.sdk).get_secret_value();
        let secret = secret.secret_id(self.bridge.output("WebhookTokenArn")).send().await.unwrap();
        secret.secret_string.unwrap()
    }

    fn settings(&self, function: &str, endpoint: &str) -> impl Iterator<Item = (String, String)> + use<> {
        let settings = self.bridge.environments[function].clone().into_iter();
        settings.chain([("AWS_ENDPOINT_URL".to_owned(), endpoint.to_owned())])
    }

    /// The event source mapping as configured by the template.
    pub(super) fn mapping(&self) -> Mapping {
        let template = &self.bridge.template;
        let number = |parameter| default_of(template, parameter).parse::<u32>().unwrap();
        Mapping {
            batch_size: usize::try_from(number("BatchSize")).unwrap(),
            batch_window: Duration::from_secs(number("BatchWindowSeconds").into()),
            ..Mapping::new(aws_sdk_sqs::Client::new(&self.aws.sdk), &self.aws.queue_url)
        }
    }

    /// The message that the schedule sends.
    pub(super) fn sweep(&self) -> &str {
        self.bridge.properties("Sweep")["Target"]["Input"].as_str().unwrap()
    }

    /// Takes the events of the error subscriber.
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

pub(super) fn seconds(value: &Value) -> Duration {
    Duration::from_secs(value.as_u64().unwrap_or_else(|| panic!("{value} is no number of seconds")))
}

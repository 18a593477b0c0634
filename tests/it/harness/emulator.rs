//! AWS on loopback: SQS, DynamoDB, EventBridge, Secrets Manager and CloudFormation, emulated by moto.
//!
//! One server for the whole test binary; each test has its own queue, table and bus in it.
//!
//! `TEST_EMULATOR=ministack` takes MiniStack instead, another implementation, so that no promise rests on what moto alone
//! accepts. The tests of the template need moto.

use std::env::VarError;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use aws_config::{Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType,
};
use aws_sdk_eventbridge::types::Target;
use aws_sdk_sqs::types::QueueAttributeName;
use postpress_bridge::aws;
use postpress_bridge::bus::EventBridgeBus;
use postpress_bridge::ids::MessageId;
use postpress_bridge::message::Record;
use postpress_bridge::postpress::client::{http_client, mozilla_roots};
use postpress_bridge::queue::{Source, SqsQueue};
use postpress_bridge::settings::DEFAULT_EVENT_SOURCE;
use postpress_bridge::store::DynamoStore;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::canary::assert_no_secret;
use super::tools;

pub(crate) const REGION: &str = "us-east-1";
/// The access key, and secret, that the emulator accepts.
pub(crate) const CREDENTIAL: &str = "test";
/// Longer than any test, for tests in which no message should be redelivered by timeout.
pub(crate) const LONG_VISIBILITY: Duration = Duration::from_mins(10);

/// The emulator's server.
struct Server {
    port: u16,
    /// Holds the server's stdin, which closes when this process ends.
    _process: Child,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| match std::env::var("TEST_EMULATOR").as_deref() {
    Err(VarError::NotPresent) | Ok("moto") => serve(&python(), include_str!("moto_server.py")),
    Ok("ministack") => {
        let python = tools::venv("ministack", &["ministack==1.5.33"]).join("python");
        serve(&python, include_str!("ministack_server.py"))
    }
    other => panic!("TEST_EMULATOR is moto or ministack, not {other:?}"),
});

/// Runs a server that prints its port.
fn serve(python: &Path, program: &str) -> Server {
    let mut command = Command::new(python);
    command.args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = command.spawn().expect("the emulator can be started");
    let mut port = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let port =
        port.trim().parse().expect("the emulator prints its port once it listens; otherwise stderr has the error");
    Server { port, _process: process }
}

/// The Python with moto, AWS's SDK, and the translator from SAM templates to CloudFormation.
pub(crate) fn python() -> PathBuf {
    // Its extra `server` installs the dependencies of unused services, which outnumber all the others.
    let moto = "moto[cloudformation,dynamodb,events]==5.2.5";
    let install = [moto, "flask==3.1.3", "flask-cors==6.0.5", "cfn-lint==1.58.0", "aws-sam-translator==1.115.0"];
    tools::venv("moto", &install).join("python")
}

/// For tests that sync hundreds of chats: they run one after another, since two at once overload the emulator.
pub(crate) static ONE_CROWD: Mutex<()> = Mutex::const_new(());

/// The emulator's URL.
pub(crate) fn endpoint() -> String {
    format!("http://127.0.0.1:{}", SERVER.port)
}

/// The configuration of clients for AWS at this endpoint, over the bridge's own HTTP stack.
pub(crate) fn sdk(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new(CREDENTIAL, CREDENTIAL, None, None, "tests");
    let config = SdkConfig::builder()
        .endpoint_url(endpoint)
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials));
    aws::configure(config, http_client(mozilla_roots()).unwrap())
}

/// A deployed bridge without its functions: queue, dead-letter queue, table, bus, and a subscriber of the bus.
pub(crate) struct Emulated {
    /// Connected directly to the emulator.
    pub(crate) sdk: SdkConfig,
    pub(crate) queue_url: String,
    pub(crate) dead_letter_url: String,
    pub(crate) table: String,
    pub(crate) bus: String,
    pub(crate) subscriber_url: String,
}

impl Emulated {
    pub(crate) async fn new() -> Self {
        Self::with(LONG_VISIBILITY, 5).await
    }

    pub(crate) async fn new_table() -> (DynamoStore, Self) {
        let aws = Self::new().await;
        (aws.store(&aws.sdk), aws)
    }

    /// A bridge whose queue has this visibility timeout, and dead-letters a message after `max_receive_count` receives.
    pub(crate) async fn with(visibility: Duration, max_receive_count: u32) -> Self {
        let sdk = sdk(&endpoint());
        let name = format!("bridge-{}", Uuid::new_v4());
        let sqs = aws_sdk_sqs::Client::new(&sdk);
        let dead_letter_url = create_queue(&sqs, &format!("{name}-dead"), &[]).await;
        let redrive =
            json!({"deadLetterTargetArn": arn(&sqs, &dead_letter_url).await, "maxReceiveCount": max_receive_count});
        let attributes = [
            (QueueAttributeName::VisibilityTimeout, visibility.as_secs().to_string()),
            (QueueAttributeName::RedrivePolicy, redrive.to_string()),
        ];
        let queue_url = create_queue(&sqs, &name, &attributes).await;
        let subscriber_url = create_queue(&sqs, &format!("{name}-subscriber"), &[]).await;
        create_table(&aws_sdk_dynamodb::Client::new(&sdk), &name).await;
        create_bus(&aws_sdk_eventbridge::Client::new(&sdk), &name, &arn(&sqs, &subscriber_url).await).await;
        Self { sdk, queue_url, dead_letter_url, table: name.clone(), bus: name, subscriber_url }
    }

    /// The run table, through clients of `sdk`.
    pub(crate) fn store(&self, sdk: &SdkConfig) -> DynamoStore {
        DynamoStore::new(aws_sdk_dynamodb::Client::new(sdk), self.table.clone())
    }

    /// The queue, through clients of `sdk`.
    pub(crate) fn queue(&self, sdk: &SdkConfig) -> SqsQueue {
        SqsQueue::new(aws_sdk_sqs::Client::new(sdk), self.queue_url.clone())
    }

    /// The bus, through clients of `sdk`.
    pub(crate) fn bus(&self, sdk: &SdkConfig) -> EventBridgeBus {
        EventBridgeBus::new(sdk.clone(), self.bus.clone(), DEFAULT_EVENT_SOURCE.to_owned())
    }

    /// Puts a message on the queue and returns its id.
    pub(crate) async fn put(&self, body: &str) -> MessageId {
        let sent = aws_sdk_sqs::Client::new(&self.sdk).send_message().queue_url(&self.queue_url).message_body(body);
        MessageId::new(sent.send().await.unwrap().message_id.unwrap())
    }

    /// Waits until `count` messages are received. They stay invisible for the visibility timeout.
    pub(crate) async fn receive(&self, count: usize) -> Vec<Record> {
        let queue = self.queue(&self.sdk);
        let mut records = Vec::new();
        while records.len() < count {
            let received = queue.receive(count - records.len()).await.unwrap();
            assert!(!received.is_empty(), "{} of {count} messages have come", records.len());
            records.extend(received);
        }
        records.iter().for_each(|record| assert_no_secret("a message", &record.body));
        records
    }

    /// Takes the events that the bus delivered to its subscriber. A rule delivers before PutEvents is answered.
    pub(crate) async fn take_events(&self) -> Vec<Value> {
        let bodies = self.take_all(&self.subscriber_url).await;
        bodies.iter().map(|body| serde_json::from_str(body).unwrap()).collect()
    }

    /// Takes the bodies of the dead letters.
    pub(crate) async fn take_dead_letters(&self) -> Vec<String> {
        self.take_all(&self.dead_letter_url).await
    }

    /// Takes the bodies of the messages that are visible on the queue now.
    pub(crate) async fn take_visible(&self) -> Vec<String> {
        self.take_all(&self.queue_url).await
    }

    /// Asserts at the end of a test that the table has no secret. Messages and events are checked where they are received.
    pub(crate) async fn assert_keeps_no_secret(&self) {
        let scan = aws_sdk_dynamodb::Client::new(&self.sdk).scan().table_name(&self.table).send().await.unwrap();
        assert!(scan.last_evaluated_key.is_none(), "the table has more than one page");
        assert_no_secret("the run table", &format!("{:?}", scan.items));
    }

    /// Whether the queue has no messages, visible or not.
    ///
    /// moto counts visible, delayed and received messages one after the other, so that a message whose delay expires meanwhile
    /// is in none of the counts. Only two empty answers in a row count.
    pub(crate) async fn queue_is_empty(&self) -> bool {
        use QueueAttributeName::{
            ApproximateNumberOfMessages, ApproximateNumberOfMessagesDelayed, ApproximateNumberOfMessagesNotVisible,
        };
        let names =
            [ApproximateNumberOfMessages, ApproximateNumberOfMessagesDelayed, ApproximateNumberOfMessagesNotVisible];
        let sqs = aws_sdk_sqs::Client::new(&self.sdk);
        for _ in 0..2 {
            let request = sqs.get_queue_attributes().queue_url(&self.queue_url);
            let counts =
                request.set_attribute_names(Some(names.clone().into())).send().await.unwrap().attributes.unwrap();
            if counts.values().any(|count| count != "0") {
                return false;
            }
        }
        true
    }

    /// Takes the bodies of the messages that are visible on this queue now.
    pub(crate) async fn take_all(&self, url: &str) -> Vec<String> {
        let sqs = aws_sdk_sqs::Client::new(&self.sdk);
        let mut bodies = Vec::new();
        loop {
            let received = sqs.receive_message().queue_url(url).max_number_of_messages(10).wait_time_seconds(0);
            let messages = received.send().await.unwrap().messages.unwrap_or_default();
            if messages.is_empty() {
                return bodies;
            }
            for message in messages {
                let receipt = message.receipt_handle.unwrap();
                sqs.delete_message().queue_url(url).receipt_handle(receipt).send().await.unwrap();
                let body = message.body.unwrap();
                assert_no_secret("a message", &body);
                bodies.push(body);
            }
        }
    }
}

async fn create_queue(sqs: &aws_sdk_sqs::Client, name: &str, attributes: &[(QueueAttributeName, String)]) -> String {
    let create = sqs.create_queue().queue_name(name).set_attributes(Some(attributes.iter().cloned().collect()));
    create.send().await.unwrap().queue_url.unwrap()
}

async fn arn(sqs: &aws_sdk_sqs::Client, url: &str) -> String {
    let attributes = sqs.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::QueueArn);
    attributes.send().await.unwrap().attributes.unwrap().remove(&QueueAttributeName::QueueArn).unwrap()
}

/// The run table of the protocol: keyed by chat, with a sparse index of open runs.
async fn create_table(dynamodb: &aws_sdk_dynamodb::Client, name: &str) {
    use ScalarAttributeType::{N, S};
    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    let attribute =
        |name: &str, kind| AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap();
    let open = GlobalSecondaryIndex::builder()
        .index_name("open")
        .key_schema(key("open", KeyType::Hash))
        .key_schema(key("sweep_at_ms", KeyType::Range))
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build());
    let create = dynamodb
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key("subject", KeyType::Hash))
        .set_attribute_definitions(Some(vec![
            attribute("subject", S),
            attribute("open", N),
            attribute("sweep_at_ms", N),
        ]))
        .global_secondary_indexes(open.build().unwrap());
    create.send().await.unwrap();
}

/// A bus with a rule that sends our events to this queue.
async fn create_bus(eventbridge: &aws_sdk_eventbridge::Client, name: &str, queue_arn: &str) {
    eventbridge.create_event_bus().name(name).send().await.unwrap();
    let pattern = json!({"source": [DEFAULT_EVENT_SOURCE]}).to_string();
    eventbridge.put_rule().name(name).event_bus_name(name).event_pattern(pattern).send().await.unwrap();
    let target = Target::builder().id("subscriber").arn(queue_arn).build().unwrap();
    let put = eventbridge.put_targets().rule(name).event_bus_name(name).targets(target).send().await.unwrap();
    assert_eq!(put.failed_entry_count, 0, "{put:?}");
}

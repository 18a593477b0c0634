//! The obvious first version: a Lambda without a table. It calls, and sends itself the trigger again until the sync is
//! over. The soak test compares the worker with it; the run protocol exists for everything it gets wrong.

use anyhow::{bail, ensure};
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use futures_util::future::join_all;
use lambda_runtime::{LambdaEvent, run, service_fn};

use postpress_bridge::aws;
use postpress_bridge::bootstrap::{self, AwsProvider};
use postpress_bridge::ids::MessageId;
use postpress_bridge::lambda::{self, BatchResponse, UnknownEvent};
use postpress_bridge::message::{Message, Record};
use postpress_bridge::postpress::{Answer, Failure, Provider, RetryClass};
use postpress_bridge::queue::{Outgoing, Queue, SqsQueue};
use postpress_bridge::settings::{Backend, FromEnv, WorkerSettings};
use postpress_bridge::time::Clock;
use serde_json::json;
use serde_json::value::RawValue;

struct Stateless {
    provider: AwsProvider,
    queue: SqsQueue,
    bus: aws_sdk_eventbridge::Client,
    settings: WorkerSettings,
}

/// What remains to do for a message.
enum Next {
    PollAgain,
    Nothing,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let worker = Stateless::connect(WorkerSettings::from_env()?).await?;
    run(service_fn(async |event: LambdaEvent<Box<RawValue>>| -> Result<BatchResponse, UnknownEvent> {
        let records = lambda::records(&event.payload, None, Clock::System.now())?;
        let results = join_all(records.iter().map(|record| worker.handle(record))).await;
        let (mut again, mut failed) = (Vec::new(), Vec::new());
        for (record, result) in records.iter().zip(results) {
            match result {
                Ok(Next::PollAgain) => again.push(record),
                Ok(Next::Nothing) => {}
                Err(_) => failed.push(&record.message_id),
            }
        }
        failed.extend(worker.poll_again(&again).await);
        Ok(BatchResponse::returning(failed.into_iter()))
    }))
    .await
    .map_err(anyhow::Error::from_boxed)
}

impl Stateless {
    async fn connect(settings: WorkerSettings) -> anyhow::Result<Self> {
        let Backend::Aws { queue_url, .. } = &settings.backend else { bail!("this worker needs a queue on AWS") };
        let aws = aws::connect(aws::http_client()?).await?;
        Ok(Self {
            provider: bootstrap::provider(&settings.provider).await?,
            queue: SqsQueue::new(aws_sdk_sqs::Client::new(&aws), queue_url.clone()),
            bus: aws_sdk_eventbridge::Client::new(&aws),
            settings,
        })
    }

    async fn handle(&self, record: &Record) -> anyhow::Result<Next> {
        let Message::Trigger(trigger) = Message::parse(record, "") else {
            bail!("not a trigger");
        };
        match self.provider.sync(&trigger.subject.clone().into(), self.settings.config.limits.provider_timeout).await {
            Answer::InProgress(_)
            | Answer::Unusable(_)
            | Answer::Failed(Failure { retry_class: RetryClass::Retryable | RetryClass::Credentials, .. }) => {
                Ok(Next::PollAgain)
            }
            Answer::Over(_) | Answer::Failed(_) => {
                self.publish(json!({"chat_id": trigger.subject.id(), "triggers": [trigger.trigger]})).await
            }
        }
    }

    /// Sends these again, later; returns those that could not be sent.
    async fn poll_again<'a>(&self, records: &[&'a Record]) -> Vec<&'a MessageId> {
        let delay = self.settings.config.rules.schedule.poll_max;
        let again: Vec<_> = records
            .iter()
            .map(|record| Outgoing { body: record.body.clone(), delay, trace: None, group: None })
            .collect();
        let sent = self.queue.send(&again).await;
        let unsent = records.iter().zip(sent).filter(|(_, sent)| sent.is_err());
        unsent.map(|(record, _)| &record.message_id).collect()
    }

    async fn publish(&self, detail: serde_json::Value) -> anyhow::Result<Next> {
        let entry = PutEventsRequestEntry::builder()
            .event_bus_name(&self.settings.event_bus)
            .source(&self.settings.config.event_source)
            .detail_type("OVER")
            .detail(detail.to_string());
        let put = self.bus.put_events().entries(entry.build()).send().await?;
        ensure!(put.failed_entry_count == 0, "{put:?}");
        Ok(Next::Nothing)
    }
}

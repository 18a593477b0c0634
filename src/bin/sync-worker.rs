//! The Lambda behind the queue: wiring only.

use std::time::SystemTime;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use postpress_bridge::postpress::client::Client;
use postpress_bridge::settings::{Backend, KeySource, WorkerSettings};
use postpress_bridge::telemetry::{self, LogFormat};
use postpress_bridge::{lambda, rehearsal};
use tokio::time::Instant;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let settings = WorkerSettings::from_env()?;
    telemetry::init(&settings.log_filter, LogFormat::Json)?;
    let KeySource::Plain(api_key) = settings.provider.key.clone() else {
        return Err("this build reads no secret from Secrets Manager; set POSTPRESS_API_KEY".into());
    };
    if settings.backend != Backend::Memory {
        return Err("this build has no AWS backend; set BRIDGE_BACKEND=memory".into());
    }
    let client = Client::new(settings.provider.base_url.clone(), api_key)?;
    run(service_fn(async |event: LambdaEvent<SqsEvent>| -> Result<SqsBatchResponse, Error> {
        let ends = Instant::now() + lambda::time_left(event.context.deadline, SystemTime::now());
        let records = lambda::records(event.payload);
        let returned = rehearsal::play(&records, ends, client.clone(), &settings).await;
        Ok(lambda::response(returned.iter()))
    }))
    .await
}

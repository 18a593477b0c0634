//! The Lambda in front of the queue.

use std::process::ExitCode;
use std::time::SystemTime;

use lambda_http::lambda_runtime::{LambdaEvent, run, service_fn};
use postpress_bridge::lambda::{self, UnknownEvent};
use postpress_bridge::settings::{FromEnv, WebhookSettings};
use postpress_bridge::telemetry::{self, LogFormat};
use postpress_bridge::{bootstrap, webhook::Answer};
use serde_json::value::RawValue;
use tokio::time::Instant;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lambda::exit_code("webhook", start().await)
}

async fn start() -> anyhow::Result<()> {
    let settings = WebhookSettings::from_env()?;
    telemetry::init(&settings.log_filter, LogFormat::Json)?;
    let webhook = bootstrap::webhook(&settings).await?;
    run(service_fn(async |event: LambdaEvent<Box<RawValue>>| -> Result<Answer, UnknownEvent> {
        let LambdaEvent { payload, context } = event;
        let ends = Instant::now() + lambda::time_left(context.deadline, SystemTime::now());
        webhook.invoke(&payload, &context.request_id, ends).await
    }))
    .await
    .map_err(anyhow::Error::from_boxed)
}

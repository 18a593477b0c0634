//! The Lambda in front of the queue: wiring only.

use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::SystemTime;

use futures_util::TryFutureExt;
use lambda_http::{RequestExt, run, service_fn};
use postpress_bridge::settings::WebhookSettings;
use postpress_bridge::telemetry::{self, LogFormat};
use postpress_bridge::{deployed, lambda};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::Instant;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match start().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("webhook: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn start() -> anyhow::Result<()> {
    let settings = WebhookSettings::from_env()?;
    telemetry::init(&settings.log_filter, LogFormat::Json)?;
    let webhook = Rc::new(deployed::connect_webhook(&settings).await?);
    let serve = run(service_fn(|event: lambda_http::Request| {
        let webhook = Rc::clone(&webhook);
        // A task of this thread: `run` wants what could go to another, which our ports' futures need not be able to.
        let answered = spawn_local(async move {
            let deadline_ms = event.lambda_context_ref().map_or(0, |context| context.deadline);
            let ends = Instant::now() + lambda::time_left(deadline_ms, SystemTime::now());
            webhook.answer(&event.into(), ends).await
        });
        answered.map_err(io::Error::from)
    }));
    LocalSet::new().run_until(serve).await.map_err(anyhow::Error::from_boxed)
}

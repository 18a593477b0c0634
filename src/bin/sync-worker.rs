//! The Lambda behind the queue.

use std::convert::Infallible;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::SystemTime;

use lambda_runtime::{Context, LambdaEvent, run, service_fn};
use postpress_bridge::aws;
use postpress_bridge::bootstrap::{self, WorkerParts};
use postpress_bridge::lambda::{self, BatchResponse, UnknownEvent};
use postpress_bridge::local_invoke;
use postpress_bridge::metrics::emf_lines;
use postpress_bridge::postpress::client::{http_client, mozilla_roots};
use postpress_bridge::postpress::workspaces::WorkspaceClients;
use postpress_bridge::settings::{Backend, FromEnv, ProviderSettings, SecretSource, WorkerSettings};
use postpress_bridge::telemetry::{self, LogFormat};
use postpress_bridge::time::Clock;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tracing::Instrument;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lambda::exit_code("sync-worker", start().await)
}

async fn start() -> anyhow::Result<()> {
    let settings = WorkerSettings::from_env()?;
    telemetry::init(&settings.log_filter, LogFormat::Json)?;
    match settings.backend {
        Backend::Aws { .. } => serve(&settings).await,
        Backend::Memory => invoke_locally(&settings).await,
    }
}

async fn serve(settings: &WorkerSettings) -> anyhow::Result<()> {
    let WorkerParts { worker, .. } = bootstrap::worker(settings, aws::connect_function).await?;
    run(service_fn(async |event: LambdaEvent<Box<RawValue>>| -> Result<BatchResponse, UnknownEvent> {
        let LambdaEvent { payload, context } = event;
        let ends = ends(&context);
        let span = telemetry::invocation(&context.request_id);
        let records = lambda::records(&payload, context.xray_trace_id.as_deref(), Clock::System.now())?;
        let report = worker.handle(&records, ends).instrument(span).await;
        let lines = emf_lines(&report.metrics, &settings.metrics_namespace, &context.request_id, SystemTime::now());
        // A failed write loses metrics, but no messages.
        drop(io::stdout().write_all(lines.as_bytes()));
        Ok(BatchResponse::returning(report.batch_item_failures()))
    }))
    .await
    .map_err(anyhow::Error::from_boxed)
}

async fn invoke_locally(settings: &WorkerSettings) -> anyhow::Result<()> {
    let ProviderSettings { base_url, key: SecretSource::Plain(api_key), workspaces: None, pace } =
        settings.provider.clone()
    else {
        anyhow::bail!(
            "BRIDGE_BACKEND=memory reads no secret; set POSTPRESS_API_KEY, and no BRIDGE_WORKSPACES_SECRET_ID"
        );
    };
    let http = http_client(mozilla_roots())?;
    let provider = Rc::new(WorkspaceClients::<Infallible>::new(http, base_url, (api_key, None), None).with_pace(pace));
    run(service_fn(async |event: LambdaEvent<Box<RawValue>>| -> Result<BatchResponse, UnknownEvent> {
        let records = lambda::records(&event.payload, None, Clock::System.now())?;
        let returned = local_invoke::invoke(&records, ends(&event.context), Rc::clone(&provider), settings).await;
        Ok(BatchResponse::returning(returned.iter()))
    }))
    .await
    .map_err(anyhow::Error::from_boxed)
}

fn ends(context: &Context) -> Instant {
    Instant::now() + lambda::time_left(context.deadline, SystemTime::now())
}

//! `postpress-bridge send`: posts triggers to the webhook, as another service would.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::Value;
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP};

use crate::ids::{Subject, subject_fields};
use crate::message::TriggerBody;
use crate::postpress::client::{http_client, mozilla_roots};
use crate::settings::{FromEnv, WebhookClientSettings};
use crate::telemetry::{self, LogFormat};
use crate::text::{bounded, one_line};
use crate::time::{Clock, Millis};
use crate::webhook::request::MESSAGE_GROUP;

use super::subjects::NamedSubjects;
use super::table;
use super::trigger_options::TriggerOptions;

/// The time limit of a request; Lambda's own is 30 seconds.
const REQUEST_MAX: Duration = Duration::from_secs(30);
/// The most that is shown of an answer that is not the webhook's.
const SHOWN_MAX_BYTES: usize = 400;

/// Post triggers to the webhook, as another service does
///
/// The webhook is the one at `BRIDGE_WEBHOOK_URL`: a deployed one, or that of `dev`. The bearer token comes from `BRIDGE_WEBHOOK_TOKEN`.
/// With `--sign`, the request is signed as in Standard Webhooks, with the secret in `BRIDGE_WEBHOOK_SECRET`. `--curl` prints the request
/// instead: a signature is valid for five minutes.
///
/// Exit code 0: every trigger was accepted; 1: one was not; 2: nothing was sent because of the arguments or the settings.
#[derive(Debug, Clone, Args)]
pub struct Send {
    /// Sign the request, instead of sending the bearer token
    #[arg(long)]
    sign: bool,

    /// Print a `curl` command for each request, and send nothing
    #[arg(long, conflicts_with = "json")]
    curl: bool,

    /// Print JSON lines: the webhook's answers
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    options: TriggerOptions,

    // Last, because its headings apply to what follows them.
    #[command(flatten)]
    subjects: NamedSubjects,
}

/// A request to the webhook.
struct Request {
    subject: Subject,
    headers: BTreeMap<&'static str, String>,
    body: String,
}

/// A trigger that was not accepted, for programs.
#[derive(Serialize)]
struct Refused<'a> {
    #[serde(flatten, with = "subject_fields")]
    subject: &'a Subject,
    error: &'a str,
}

impl Send {
    /// Posts the triggers; returns whether all were accepted.
    ///
    /// # Errors
    /// If a trigger or the settings are invalid; then nothing was sent.
    pub async fn run(self) -> anyhow::Result<bool> {
        let (subjects, resync) = self.subjects.requested();
        let triggers = self.options.triggers(subjects, &resync)?;
        let settings = WebhookClientSettings::from_env()?;
        telemetry::init(&settings.log_filter, LogFormat::Compact)?;
        let now = Clock::System.now();
        let requests: Vec<_> =
            triggers.iter().map(|trigger| self.request(trigger, &settings, now)).collect::<Result<_, _>>()?;
        if self.curl {
            for request in &requests {
                table::print(&request.curl(settings.url.as_str()))?;
            }
            return Ok(true);
        }
        let http = http_client(mozilla_roots())?;
        let mut all_accepted = true;
        for request in requests {
            let subject = request.subject.clone();
            match post(&http, &settings, request).await {
                Ok(answer) if self.json => table::print_json(&answer)?,
                Ok(answer) => {
                    let message_id = answer["message_id"].as_str().unwrap_or("accepted");
                    table::print(&format!("{}  {message_id}\n", subject.label()))?;
                }
                Err(error) => {
                    all_accepted = false;
                    let error = one_line(&format!("{error:#}"));
                    if self.json {
                        table::print_json(&Refused { subject: &subject, error: &error })?;
                    } else {
                        anstream::eprintln!("{}  not accepted: {error}", subject.label());
                    }
                }
            }
        }
        Ok(all_accepted)
    }

    fn request(&self, trigger: &TriggerBody, settings: &WebhookClientSettings, now: Millis) -> anyhow::Result<Request> {
        let body = trigger.to_body();
        let mut headers = BTreeMap::from([(CONTENT_TYPE.as_str(), "application/json".to_owned())]);
        headers.extend(self.options.group.as_ref().map(|group| (MESSAGE_GROUP, group.as_str().to_owned())));
        match (self.sign, &settings.signing, &settings.token) {
            (true, Some(secrets), _) => {
                // The webhook takes it for the idempotency key, if the trigger has none.
                let id = format!("msg_{}", uuid::Uuid::new_v4().simple());
                let seconds = now.epoch_seconds();
                let signature = secrets.sign(&id, seconds.try_into()?, &body)?;
                headers.insert(HEADER_WEBHOOK_ID, id);
                headers.insert(HEADER_WEBHOOK_TIMESTAMP, seconds.to_string());
                headers.insert(HEADER_WEBHOOK_SIGNATURE, signature);
            }
            (true, None, _) => bail!("--sign needs the signing secret: set BRIDGE_WEBHOOK_SECRET"),
            // A printed command takes it from the environment, and does not show it.
            (false, _, Some(_)) if self.curl => {
                headers.insert(AUTHORIZATION.as_str(), "Bearer $BRIDGE_WEBHOOK_TOKEN".to_owned());
            }
            (false, _, Some(token)) => {
                headers.insert(AUTHORIZATION.as_str(), format!("Bearer {}", token.expose_secret()));
            }
            (false, _, None) => bail!("set BRIDGE_WEBHOOK_TOKEN to the bearer token, or sign the request with --sign"),
        }
        Ok(Request { subject: trigger.subject.clone(), headers, body })
    }
}

impl Request {
    /// A command for a shell that sends it.
    fn curl(&self, url: &str) -> String {
        let mut command = "curl".to_owned();
        for (name, value) in &self.headers {
            // The shell replaces a variable only between double quotes; no other value has one, nor a quote.
            let quote = if value.contains('$') { '"' } else { '\'' };
            command += &format!(" -H {quote}{name}: {value}{quote}");
        }
        format!("{command} --data-raw '{}' '{url}'\n", self.body.replace('\'', r"'\''"))
    }
}

/// Posts a trigger; returns the webhook's answer if it accepted it.
async fn post(http: &reqwest::Client, settings: &WebhookClientSettings, request: Request) -> anyhow::Result<Value> {
    let mut post = http.post(settings.url.clone()).timeout(REQUEST_MAX).body(request.body);
    for (name, value) in &request.headers {
        post = post.header(*name, value);
    }
    let response = post.send().await.context("no answer, so it may have arrived nevertheless")?;
    let status = response.status();
    let text = response.text().await.context("its answer broke off, so it may have been accepted")?;
    let answer: Value = serde_json::from_str(&text).unwrap_or_default();
    if status == http::StatusCode::ACCEPTED {
        return Ok(answer);
    }
    match (answer["title"].as_str(), answer["detail"].as_str()) {
        (Some(title), Some(detail)) => bail!("{status}: {title}: {detail}"),
        _ => bail!("{status}: {}", bounded(text, SHOWN_MAX_BYTES).0),
    }
}

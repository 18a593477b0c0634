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
use crate::settings::{FromEnv, SecretRef, SecretSource, WebhookClientSettings};
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
/// instead: a signature is valid for five minutes, and the token is taken from the variable, of two tokens the second one.
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

/// A trigger as it is posted.
struct Post {
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
        // Each is made when it is sent, because a signature is soon too old; but a missing credential is found before the first is sent.
        let post = |trigger: &TriggerBody| self.post_of(trigger, &settings, Clock::System.now());
        triggers.first().map(post).transpose()?;
        if self.curl {
            for trigger in &triggers {
                table::print(&post(trigger)?.curl(settings.url.as_str()))?;
            }
            return Ok(true);
        }
        let http = http_client(mozilla_roots())?;
        let mut all_accepted = true;
        for trigger in &triggers {
            let subject = &trigger.subject;
            match send(&http, &settings, post(trigger)?).await {
                Ok(answer) if self.json => table::print_json(&answer)?,
                Ok(answer) => {
                    let message_id = answer["message_id"].as_str().unwrap_or("accepted");
                    table::print(&format!("{}  {message_id}\n", subject.label()))?;
                }
                Err(error) => {
                    all_accepted = false;
                    let error = one_line(&format!("{error:#}"));
                    if self.json {
                        table::print_json(&Refused { subject, error: &error })?;
                    } else {
                        anstream::eprintln!("{}  not accepted: {error}", subject.label());
                    }
                }
            }
        }
        Ok(all_accepted)
    }

    fn post_of(&self, trigger: &TriggerBody, settings: &WebhookClientSettings, now: Millis) -> anyhow::Result<Post> {
        let body = trigger.to_body();
        let mut headers = BTreeMap::from([(CONTENT_TYPE.as_str(), "application/json".to_owned())]);
        headers.extend(self.options.group.as_ref().map(|group| (MESSAGE_GROUP, group.as_str().to_owned())));
        if self.sign {
            let secrets =
                plain(settings.signing.as_ref(), "--sign needs the signing secret: set BRIDGE_WEBHOOK_SECRET")?;
            // The webhook takes it for the idempotency key, if the trigger has none.
            let id = format!("msg_{}", uuid::Uuid::new_v4().simple());
            let seconds = now.epoch_seconds();
            let signature = secrets.sign(&id, seconds.try_into()?, &body)?;
            headers.insert(HEADER_WEBHOOK_ID, id);
            headers.insert(HEADER_WEBHOOK_TIMESTAMP, seconds.to_string());
            headers.insert(HEADER_WEBHOOK_SIGNATURE, signature);
        } else {
            let missing = "set BRIDGE_WEBHOOK_TOKEN to the bearer token, or sign the request with --sign";
            let token = plain(settings.token.as_ref(), missing)?;
            headers.insert(AUTHORIZATION.as_str(), format!("Bearer {}", token.expose_secret()));
        }
        Ok(Post { headers, body })
    }
}

/// The credential itself: this command reads none from Secrets Manager.
fn plain<'a, T>(credential: Option<&'a SecretSource<T>>, missing: &'static str) -> anyhow::Result<&'a T> {
    match credential {
        Some(SecretSource::Plain(credential)) => Ok(credential),
        Some(SecretSource::Stored(SecretRef { variable, .. })) => {
            bail!("{missing}; `send` does not read {variable} from Secrets Manager")
        }
        None => bail!(missing),
    }
}

impl Post {
    /// A command for a shell that sends it.
    fn curl(&self, url: &str) -> String {
        let mut command = format!("curl {} \\\n", quoted(url));
        for (name, value) in &self.headers {
            let header = if *name == AUTHORIZATION.as_str() {
                // From the environment, so that it is not shown; of two tokens, as during a rotation, the newer one.
                format!("\"{name}: Bearer ${{BRIDGE_WEBHOOK_TOKEN##* }}\"")
            } else {
                quoted(&format!("{name}: {value}"))
            };
            command += &format!("    -H {header} \\\n");
        }
        format!("{command}    --data-raw {}\n", quoted(&self.body))
    }
}

/// The text as one word of a shell, whatever it is.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Posts a trigger; returns the webhook's answer if it accepted it.
async fn send(http: &reqwest::Client, settings: &WebhookClientSettings, post: Post) -> anyhow::Result<Value> {
    const UNKNOWN: &str =
        "it may have been accepted; with the same --idempotency-key, sending it again is the same request";
    let mut request = http.post(settings.url.clone()).timeout(REQUEST_MAX).body(post.body);
    for (name, value) in &post.headers {
        request = request.header(*name, value);
    }
    let response = request.send().await.map_err(|error| {
        let what = if error.is_connect() { "the webhook cannot be reached" } else { UNKNOWN };
        anyhow::Error::new(error).context(what)
    })?;
    let status = response.status();
    let text = response.text().await.context(UNKNOWN)?;
    let answer: Value = serde_json::from_str(&text).unwrap_or_default();
    if status == http::StatusCode::ACCEPTED {
        return Ok(answer);
    }
    match (answer["title"].as_str(), answer["detail"].as_str()) {
        (Some(title), Some(detail)) => bail!("{status}: {title}: {detail}"),
        _ => bail!("{status}: {}", bounded(text, SHOWN_MAX_BYTES).0),
    }
}

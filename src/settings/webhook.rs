//! The settings of the webhook: no provider and no bus, but a secret or a token.

use super::webhook_variables::{AUTH, SECRET, STORED_SECRET, STORED_TOKEN, TOKEN};
use super::{Backend, FromEnv, Reader, SecretSource};
use crate::credentials::webhook::{Credentials, SigningSecrets, Tokens};
use crate::telemetry::LogFilter;

const CREDENTIALS: [&str; 4] = [SECRET, STORED_SECRET, TOKEN, STORED_TOKEN];

/// The settings of the webhook.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// Who may call.
    pub access: Access,
    /// `BRIDGE_QUEUE_URL`: the queue that triggers go to.
    pub queue_url: String,
    /// `BRIDGE_TABLE`: the DynamoDB table of runs.
    pub table: String,
    /// `BRIDGE_EVENT_SOURCE`: the `source` of our own events, which are never triggers.
    pub event_source: String,
    /// `BRIDGE_LOG`: what is logged.
    pub log_filter: LogFilter,
}

/// Who may call the webhook.
#[derive(Debug, Clone)]
pub enum Access {
    /// `BRIDGE_WEBHOOK_AUTH=iam`: those that IAM authorizes.
    Iam,
    /// Those with one of these, of which at least one is set.
    Credentials {
        /// `BRIDGE_WEBHOOK_SECRET`, or `BRIDGE_WEBHOOK_SECRET_SECRET_ID`.
        signing: Option<SecretSource<SigningSecrets>>,
        /// `BRIDGE_WEBHOOK_TOKEN`, or `BRIDGE_WEBHOOK_TOKEN_SECRET_ID`.
        tokens: Option<SecretSource<Tokens>>,
    },
}

impl FromEnv for WebhookSettings {
    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        let access = access(reader);
        let backend = deployed_backend(reader);
        let event_source = reader.event_source();
        let log_filter = reader.log_filter(LogFilter::default());
        let (access, (queue_url, table)) = (access?, backend?);
        Some(Self { access, queue_url, table, event_source, log_filter })
    }
}

/// Finds the faults of the webhook's settings. If none is set, this bridge has no webhook.
pub(super) fn examine(reader: &mut Reader<'_>) -> Option<Access> {
    let is_set = reader.has(AUTH) || CREDENTIALS.iter().any(|variable| reader.has(variable));
    if is_set { access(reader) } else { None }
}

fn access(reader: &mut Reader<'_>) -> Option<Access> {
    match reader.text(AUTH).as_deref() {
        Some("iam") => {
            for variable in CREDENTIALS {
                if reader.has(variable) {
                    let why = "are both set, but `iam` requires neither secret nor token; keep one of them";
                    reader.conflict(AUTH, variable, why);
                }
            }
            Some(Access::Iam)
        }
        Some(text) if text.trim() == "iam" => {
            reader.unusable(AUTH, "has white space around `iam`, often a line break from a paste; remove it");
            None
        }
        Some(_) => {
            // Not shown: it may be the secret itself, set by mistake.
            reader.unusable(AUTH, "can only be `iam`; unset it if a secret or a token is set");
            None
        }
        None => credentials(reader),
    }
}

fn credentials(reader: &mut Reader<'_>) -> Option<Access> {
    if !CREDENTIALS.iter().any(|variable| reader.has(variable)) {
        let what = "the signing secret, or `BRIDGE_WEBHOOK_TOKEN` to a bearer token (each also as `…_SECRET_ID`, its \
                    name or ARN in Secrets Manager), or `BRIDGE_WEBHOOK_AUTH` to `iam`";
        reader.missing(SECRET, what);
        return None;
    }
    let signing = reader.secret(SECRET, STORED_SECRET, SigningSecrets::parse);
    let tokens = reader.secret(TOKEN, STORED_TOKEN, Tokens::parse);
    if let (Some(SecretSource::Plain(signing)), Some(SecretSource::Plain(tokens))) = (&signing, &tokens)
        && let Err(error) = Credentials::new(Some(signing.clone()), Some(tokens.clone()))
    {
        reader.conflict(SECRET, TOKEN, error.to_string());
    }
    Some(Access::Credentials { signing, tokens })
}

fn deployed_backend(reader: &mut Reader<'_>) -> Option<(String, String)> {
    match reader.backend()? {
        Backend::Aws { queue_url, table } => Some((queue_url, table)),
        Backend::Memory => {
            let allowed = "`aws` (the default), since no worker would process a queue in the webhook's memory";
            reader.invalid("BRIDGE_BACKEND", "memory".to_owned(), allowed);
            None
        }
    }
}

//! The options of a trigger, whichever way it is sent.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use super::args::duration;
use crate::ids::{MessageGroup, Subject, subject_fields};
use crate::message::TriggerBody;
use crate::postpress::Resync;
use crate::settings::DEFAULT_EVENT_SOURCE;

/// What a trigger says beside its subject.
#[derive(Debug, Clone, Args)]
pub(super) struct TriggerOptions {
    /// Your id for the request, which the event repeats
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,

    /// Triggers for the same chat or account with the same key are one request; without a key, each is a separate request
    #[arg(long, value_name = "KEY")]
    pub(super) idempotency_key: Option<String>,

    /// The tenant, by whom SQS's fair queues share the worker; without one, the workspace is the tenant
    #[arg(long, value_name = "GROUP", value_parser = group)]
    pub(super) group: Option<MessageGroup>,

    /// Your JSON object, which the event repeats
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,

    /// Sync nothing if the last sync is done and finished at most this long ago; its event answers the request
    #[arg(long, value_name = "TIME", value_parser = duration)]
    fresh_for: Option<Duration>,

    /// Require a sync that begins after this request: the trigger waits for a run in flight that began earlier to end
    #[arg(long, conflicts_with = "fresh_for")]
    after_request: bool,
}

impl TriggerOptions {
    /// One trigger for each subject.
    ///
    /// # Errors
    /// If the worker would refuse it.
    pub(super) fn triggers(&self, subjects: Vec<Subject>, resync: &Resync) -> anyhow::Result<Vec<TriggerBody>> {
        let Some(first) = subjects.first() else { return Ok(Vec::new()) };
        let template = self.template(first, resync)?;
        Ok(subjects.into_iter().map(|subject| TriggerBody { subject, ..template.clone() }).collect())
    }

    /// The trigger of one subject. Those of others differ in nothing else, and every subject is valid.
    ///
    /// # Errors
    /// If the worker would refuse it.
    pub(super) fn template(&self, subject: &Subject, resync: &Resync) -> anyhow::Result<TriggerBody> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(flatten, with = "subject_fields")]
            subject: &'a Subject,
            #[serde(skip_serializing_if = "Resync::is_empty")]
            resync: &'a Resync,
            correlation_id: &'a Option<String>,
            idempotency_key: &'a Option<String>,
            metadata: Option<Box<RawValue>>,
            fresh_for_seconds: Option<u64>,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            after_request: bool,
        }
        let Self { correlation_id, idempotency_key, after_request, .. } = self;
        let metadata = self.metadata.as_deref().map(serde_json::from_str).transpose();
        let body = Body {
            subject,
            resync,
            correlation_id,
            idempotency_key,
            metadata: metadata
                .context("--metadata is not JSON; write an object in single quotes: '{\"team\": \"sales\"}'")?,
            fresh_for_seconds: self.fresh_for.map(|fresh_for| fresh_for.as_secs()),
            after_request: *after_request,
        };
        TriggerBody::parse(&serde_json::to_string(&body)?, DEFAULT_EVENT_SOURCE).map_err(anyhow::Error::msg)
    }
}

fn group(text: &str) -> Result<MessageGroup, String> {
    let max = MessageGroup::MAX_LEN;
    MessageGroup::parse(text).ok_or_else(|| format!("not 1 to {max} letters, digits and ASCII punctuation"))
}

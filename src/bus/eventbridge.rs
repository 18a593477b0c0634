//! The event bus on EventBridge.
//!
//! EventBridge answers success for a bus that does not exist and drops the event, so this module cannot detect the most
//! likely misconfiguration; the deployment therefore passes the bus by reference.

use std::sync::OnceLock;

use aws_config::SdkConfig;
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::types::{PutEventsRequestEntry, PutEventsResultEntry};
use futures_util::future::join_all;

use super::EventBus;
use crate::aws::{Resource, entry_error, service_error};
use crate::event::Event;
use crate::queue::packing::pack;
use crate::service::ServiceError;
use crate::trace::TraceHeader;

const UNKNOWN: &str = "EventBridge returned no result for the entry";

/// A bus on EventBridge.
#[derive(Debug, Clone)]
pub struct EventBridgeBus {
    aws: SdkConfig,
    /// Created at the first event: most invocations publish none, and a client is a large part of a cold start.
    client: OnceLock<Client>,
    bus: String,
    source: String,
}

impl EventBridgeBus {
    /// Publishes to the bus of this name or ARN; events have this `source`.
    pub fn new(aws: SdkConfig, bus: String, source: String) -> Self {
        Self { aws, client: OnceLock::new(), bus, source }
    }

    fn client(&self) -> &Client {
        self.client.get_or_init(|| Client::new(&self.aws))
    }

    async fn put(&self, entries: Vec<PutEventsRequestEntry>) -> Vec<Result<(), ServiceError>> {
        let count = entries.len();
        match self.client().put_events().set_entries(Some(entries)).send().await {
            Ok(output) => {
                let mut results: Vec<_> = output.entries.unwrap_or_default().iter().map(entry_result).collect();
                let unknown = || Err(ServiceError::Transient(UNKNOWN.to_owned()));
                results.resize_with(count, unknown);
                results
            }
            Err(error) => vec![Err(service_error("PutEvents", Resource::Bus(&self.bus), &error)); count],
        }
    }

    fn entry(&self, event: &Event, trace: Option<&TraceHeader>) -> PutEventsRequestEntry {
        PutEventsRequestEntry::builder()
            .event_bus_name(&self.bus)
            .source(&self.source)
            .detail_type(event.detail_type.as_str())
            .set_resources(Some(event.resources()))
            .detail(event.detail_json())
            .set_trace_header(trace.map(ToString::to_string))
            .build()
    }
}

impl EventBus for EventBridgeBus {
    async fn publish(&self, events: &[Event], trace: Option<&TraceHeader>) -> Vec<Result<(), ServiceError>> {
        let entries: Vec<_> = events.iter().map(|event| self.entry(event, trace)).collect();
        let sizes: Vec<usize> = entries.iter().map(|entry| entry.detail.as_deref().map_or(0, str::len)).collect();
        let packs = pack(&sizes).into_iter().map(|range| self.put(entries[range].to_vec()));
        join_all(packs).await.concat()
    }
}

/// PutEvents answers 200 even if entries fail. An accepted entry has an `EventId`, a failed one an `ErrorCode`
/// (<https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsResultEntry.html>).
fn entry_result(entry: &PutEventsResultEntry) -> Result<(), ServiceError> {
    match (&entry.error_code, &entry.event_id) {
        (Some(code), _) => Err(entry_error(code, entry.error_message.as_deref(), None)),
        (None, Some(_)) => Ok(()),
        (None, None) => Err(ServiceError::Transient(UNKNOWN.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_is_checked() {
        let entry = |code: Option<&str>| {
            entry_result(&PutEventsResultEntry::builder().set_error_code(code.map(str::to_owned)).build())
        };
        assert_eq!(entry_result(&PutEventsResultEntry::builder().event_id("1").build()), Ok(()));
        assert!(matches!(entry(None), Err(ServiceError::Transient(_))), "neither accepted nor failed");
        assert!(matches!(entry(Some("ThrottlingException")), Err(ServiceError::Throttled(_))));
        for code in ["InternalFailure", "InternalException"] {
            assert!(matches!(entry(Some(code)), Err(ServiceError::Transient(_))), "{code}");
        }
        for code in ["MalformedDetail", "NotAuthorizedForSourceException", "InvalidArgument"] {
            assert!(matches!(entry(Some(code)), Err(ServiceError::Permanent(_))), "{code}");
        }
    }
}

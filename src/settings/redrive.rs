//! What `redrive` needs: the queue, and how to tell our own events.

use super::FromEnv;
use super::reader::Reader;
use crate::telemetry::LogFilter;

/// What `redrive` needs.
#[derive(Debug, Clone)]
pub struct RedriveSettings {
    /// `BRIDGE_QUEUE_URL`: the queue whose dead letters are meant.
    pub queue_url: String,
    /// `BRIDGE_EVENT_SOURCE`: the `source` of our own events, which are never triggers.
    pub event_source: String,
    /// `BRIDGE_LOG`: what is logged.
    pub log_filter: LogFilter,
}

impl FromEnv for RedriveSettings {
    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        let queue_url = reader.queue_url();
        let event_source = reader.event_source();
        let log_filter = reader.log_filter(LogFilter::warnings());
        Some(Self { queue_url: queue_url?, event_source, log_filter })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_queue_is_asked_for_and_all_faults_are_told() {
        let queue = |name: &str| (name == "BRIDGE_QUEUE_URL").then(|| "https://sqs.example/1/bridge".to_owned());
        assert_eq!(RedriveSettings::read(&queue).unwrap().event_source, "postpress.bridge");
        let wrong = |name: &str| (name == "BRIDGE_EVENT_SOURCE").then(|| "aws.mine".to_owned());
        let error = RedriveSettings::read(&wrong).unwrap_err().to_string();
        assert!(error.contains("BRIDGE_QUEUE_URL") && error.contains("BRIDGE_EVENT_SOURCE"), "{error}");
    }
}

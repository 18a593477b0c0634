//! What an AWS operation is about: its name in permissions, and the remedy if it does not exist.

use crate::service::Misconfiguration;

/// The resource of an operation, for the remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// The DynamoDB table of this name.
    Table(&'a str),
    /// The SQS queue of this URL.
    Queue(&'a str),
    /// The dead-letter queue with this name or URL, from the queue's `RedrivePolicy`.
    DeadLetterQueue(&'a str),
    /// The EventBridge bus of this name or ARN.
    Bus(&'a str),
    /// The secret named by this variable.
    Secret(&'a str),
}

impl Resource<'_> {
    /// The fault and remedy if it does not exist.
    pub fn missing(&self) -> Misconfiguration {
        let check = |variable: &str| format!("check {variable}, and that AWS_REGION is its region");
        let (found, remedy) = match self {
            Self::Table(name) => {
                (format!("there is no table `{name}`"), check("BRIDGE_TABLE") + "; or create the table")
            }
            Self::Queue(url) => (format!("there is no queue {url}"), check("BRIDGE_QUEUE_URL")),
            Self::DeadLetterQueue(name) => (
                format!("the queue's RedrivePolicy names `{name}`, which does not exist"),
                "create it, or name another one in the RedrivePolicy".to_owned(),
            ),
            Self::Bus(name) => (
                format!("there is no bus `{name}`: AWS accepts events for it and drops them, so that endings are lost"),
                check("BRIDGE_EVENT_BUS") + "; or create the bus",
            ),
            Self::Secret(variable) => {
                (format!("there is no secret with the name or ARN in {variable}"), check(variable))
            }
        };
        Misconfiguration::new(found, remedy)
    }

    /// The IAM action of an operation.
    pub fn action(&self, operation: &str) -> String {
        let service = match self {
            Self::Table(_) => "dynamodb",
            Self::Queue(_) | Self::DeadLetterQueue(_) => "sqs",
            Self::Bus(_) => "events",
            Self::Secret(_) => "secretsmanager",
        };
        // SQS's batch operations have no actions of their own.
        format!("{service}:{}", operation.strip_suffix("Batch").unwrap_or(operation))
    }

    /// A description of the resource in a permission.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Table(_) => "the table in BRIDGE_TABLE".to_owned(),
            Self::Queue(_) => "the queue in BRIDGE_QUEUE_URL".to_owned(),
            Self::DeadLetterQueue(_) => "the dead-letter queue".to_owned(),
            Self::Bus(_) => "the bus in BRIDGE_EVENT_BUS".to_owned(),
            Self::Secret(variable) => format!("the secret in {variable}, and kms:Decrypt for a customer-managed key"),
        }
    }
}

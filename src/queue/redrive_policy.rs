//! A queue's `RedrivePolicy`: where its dead letters go, and when.

use serde::Deserialize;
use serde_json::Value;

/// The parsed attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedrivePolicy {
    /// How often a message is received before it becomes a dead letter.
    pub max_receive_count: u64,
    /// The name of the dead-letter queue.
    pub dead_letter_queue: String,
    /// The account of the dead-letter queue.
    pub account: String,
}

impl RedrivePolicy {
    /// Parses the attribute; `None` if it is not in SQS's format.
    pub fn parse(json: &str) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Policy {
            dead_letter_target_arn: String,
            /// A number, which older tools wrote as a string.
            max_receive_count: Value,
        }
        let Policy { dead_letter_target_arn, max_receive_count } = serde_json::from_str(json).ok()?;
        let max_receive_count = match &max_receive_count {
            Value::String(text) => text.parse().ok()?,
            number => number.as_u64()?,
        };
        // `arn:aws:sqs:REGION:ACCOUNT:NAME`
        let mut parts = dead_letter_target_arn.split(':').skip(4);
        let (account, name) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        (!name.is_empty()).then_some(Self { max_receive_count, dead_letter_queue: name, account })
    }

    /// Whether the dead-letter queue is a FIFO queue.
    pub fn is_fifo(&self) -> bool {
        self.dead_letter_queue.ends_with(".fifo")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_names_the_queue_its_account_and_the_count() {
        for count in ["10", "\"10\""] {
            let json = format!(
                r#"{{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:123456789012:bridge-dead","maxReceiveCount":{count}}}"#
            );
            let policy = RedrivePolicy {
                max_receive_count: 10,
                dead_letter_queue: "bridge-dead".to_owned(),
                account: "123456789012".to_owned(),
            };
            assert_eq!(RedrivePolicy::parse(&json), Some(policy));
        }
    }

    #[test]
    fn an_invalid_policy_is_none() {
        for json in [
            "",
            "{}",
            r#"{"deadLetterTargetArn": "bridge-dead", "maxReceiveCount": 10}"#,
            r#"{"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:1:d", "maxReceiveCount": "often"}"#,
        ] {
            assert_eq!(RedrivePolicy::parse(json), None, "{json}");
        }
    }
}

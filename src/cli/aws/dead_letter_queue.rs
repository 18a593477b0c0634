//! The requests that find a queue's dead-letter queue. `doctor` and `redrive` send them with different patience.

use std::collections::HashMap;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::operation::get_queue_attributes::builders::GetQueueAttributesFluentBuilder;
use aws_sdk_sqs::operation::get_queue_url::builders::GetQueueUrlFluentBuilder;
use aws_sdk_sqs::types::QueueAttributeName;

use crate::queue::redrive_policy::RedrivePolicy;

pub(super) type Attributes = HashMap<QueueAttributeName, String>;

/// Requests every attribute of a queue, including its redrive policy.
pub(super) fn attributes(client: &Client, url: &str) -> GetQueueAttributesFluentBuilder {
    client.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All)
}

/// Requests the URL of the dead-letter queue that the policy names.
pub(super) fn url(client: &Client, policy: &RedrivePolicy) -> GetQueueUrlFluentBuilder {
    client.get_queue_url().queue_name(&policy.dead_letter_queue).queue_owner_aws_account_id(&policy.account)
}

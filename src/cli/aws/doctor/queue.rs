//! Checks the attributes of the queue and its dead-letter queue.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName as Attribute;

use super::aws_query::ask;
use crate::aws::Resource;
use crate::cli::aws::dead_letter_queue::{self, Attributes};
use crate::cli::finding::Finding;
use crate::queue::redrive_policy::RedrivePolicy;
use crate::settings::Config;

pub(super) const QUEUE: &str = "queue";
const DEAD_LETTERS: &str = "dead letters";

/// With fewer receives, a temporary error of AWS or the provider creates dead letters.
const RECEIVES_MIN: u64 = 10;

pub(super) async fn inspect(client: &Client, url: &str, config: &Config) -> Vec<Finding> {
    let queue = match attributes(client, QUEUE, Resource::Queue(url), url).await {
        Ok(attributes) => attributes,
        Err(finding) => return vec![finding],
    };
    let mut findings = judge(&queue, config);
    if let Some(policy) = queue.get(&Attribute::RedrivePolicy).and_then(|json| RedrivePolicy::parse(json)) {
        findings.extend(match dead_letters(client, &policy).await {
            Ok(dead) => judge_dead_letters(&queue, &dead, config.rules.run_ttl),
            Err(finding) => vec![finding],
        });
    }
    findings
}

async fn attributes(
    client: &Client,
    check: &'static str,
    queue: Resource<'_>,
    url: &str,
) -> Result<Attributes, Finding> {
    let request = dead_letter_queue::attributes(client, url).send();
    Ok(ask(check, "GetQueueAttributes", queue, request).await?.attributes.unwrap_or_default())
}

async fn dead_letters(client: &Client, policy: &RedrivePolicy) -> Result<Attributes, Finding> {
    let queue = Resource::DeadLetterQueue(&policy.dead_letter_queue);
    let request = dead_letter_queue::url(client, policy).send();
    let url = ask(DEAD_LETTERS, "GetQueueUrl", queue, request).await?.queue_url.unwrap_or_default();
    attributes(client, DEAD_LETTERS, queue, &url).await
}

fn number(attributes: &Attributes, name: &Attribute) -> Option<u64> {
    attributes.get(name)?.parse().ok()
}

fn seconds(attributes: &Attributes, name: &Attribute) -> Option<Duration> {
    number(attributes, name).map(Duration::from_secs)
}

/// Checks the queue's own attributes.
fn judge(queue: &Attributes, config: &Config) -> Vec<Finding> {
    if queue.get(&Attribute::FifoQueue).is_some_and(|is_fifo| is_fifo == "true") {
        let remedy = "use a standard queue: a FIFO queue cannot delay single messages, and every poll is delayed";
        return vec![Finding::fault(QUEUE, "it is a FIFO queue", remedy)];
    }
    let mut findings = vec![Finding::well(QUEUE, summary(queue))];
    findings.extend(of_visibility(queue, config));
    findings.extend(of_policy(queue));
    findings
}

fn summary(queue: &Attributes) -> String {
    let count = |name| number(queue, &name).unwrap_or_default();
    let encryption = match (
        queue.get(&Attribute::KmsMasterKeyId),
        queue.get(&Attribute::SqsManagedSseEnabled).map(String::as_str),
    ) {
        (Some(key), _) if !key.is_empty() => "encrypted with a KMS key",
        (_, Some("true")) => "encrypted by SQS",
        _ => "not encrypted at rest",
    };
    format!(
        "standard, {encryption}; messages: {} visible, {} delayed, {} in flight",
        count(Attribute::ApproximateNumberOfMessages),
        count(Attribute::ApproximateNumberOfMessagesDelayed),
        count(Attribute::ApproximateNumberOfMessagesNotVisible)
    )
}

/// The function's timeout is four calls and a margin, so that a batch that waits for its slowest call still ends. AWS recommends
/// six times that timeout, and requires at least the timeout itself.
fn of_visibility(queue: &Attributes, config: &Config) -> Option<Finding> {
    let visibility = seconds(queue, &Attribute::VisibilityTimeout)?;
    let function = 4 * config.limits.provider_timeout + config.rules.lease_margin;
    let recommended = (6 * function).as_secs_f64().ceil();
    let is_short = visibility < function.max(config.invocation_of_one());
    is_short.then(|| {
        let found = format!(
            "its visibility timeout is {} s: a message may be delivered again while it is processed",
            visibility.as_secs()
        );
        Finding::warning(QUEUE, found, format!("set it to {recommended} s, six times the function's timeout"))
    })
}

fn of_policy(queue: &Attributes) -> Option<Finding> {
    let remedy = format!("give it a RedrivePolicy with a dead-letter queue and maxReceiveCount {RECEIVES_MIN}");
    let Some(json) = queue.get(&Attribute::RedrivePolicy) else {
        let found = "it has no dead-letter queue: a message that fails is redelivered until it expires, and then lost";
        return Some(Finding::warning(QUEUE, found, remedy));
    };
    let Some(policy) = RedrivePolicy::parse(json) else {
        return Some(Finding::warning(QUEUE, "its RedrivePolicy is malformed", remedy));
    };
    (policy.max_receive_count < RECEIVES_MIN).then(|| {
        let found = format!(
            "a message becomes a dead letter after {} receives, which a temporary error can cause",
            policy.max_receive_count
        );
        Finding::warning(QUEUE, found, format!("set maxReceiveCount to {RECEIVES_MIN} or more"))
    })
}

/// Checks the dead-letter queue together with the queue.
fn judge_dead_letters(queue: &Attributes, dead: &Attributes, run_ttl: Duration) -> Vec<Finding> {
    let waiting = number(dead, &Attribute::ApproximateNumberOfMessages).unwrap_or_default();
    let held = number(dead, &Attribute::ApproximateNumberOfMessagesNotVisible).unwrap_or_default();
    let mut findings = vec![if waiting + held == 0 {
        Finding::well(DEAD_LETTERS, "there are none")
    } else {
        let found = format!("about {} are waiting", waiting + held);
        Finding::warning(DEAD_LETTERS, found, "fix the cause, then run `postpress-bridge redrive`")
    }];
    let retention = |attributes| seconds(attributes, &Attribute::MessageRetentionPeriod);
    if let (Some(queue), Some(dead)) = (retention(queue), retention(dead)) {
        if queue + dead >= run_ttl {
            let found = format!(
                "a message can be {} old when it is redriven, and an ended run is forgotten after {}: its sync would start \
                 again",
                days(queue + dead),
                days(run_ttl)
            );
            let remedy = "set BRIDGE_RUN_TTL_SECONDS above the sum of both queues' retention periods";
            findings.push(Finding::warning(DEAD_LETTERS, found, remedy));
        }
        // The retention of a dead letter counts from its original send.
        if dead <= queue {
            let found = format!(
                "they are kept for {} from when they were first sent, the queue's own messages for {}",
                days(dead),
                days(queue)
            );
            let remedy =
                "set the MessageRetentionPeriod of the dead-letter queue to 14 days, to have time to handle them";
            findings.push(Finding::warning(DEAD_LETTERS, found, remedy));
        }
    }
    findings
}

fn days(time: Duration) -> String {
    format!("{:.1} days", time.as_secs_f64() / 86_400.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::finding::CheckResult;

    fn attributes(pairs: &[(Attribute, &str)]) -> Attributes {
        pairs.iter().map(|(name, value)| (name.clone(), (*value).to_owned())).collect()
    }

    fn policy(max_receive_count: u32) -> String {
        format!(
            r#"{{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:123456789012:dead","maxReceiveCount":{max_receive_count}}}"#
        )
    }

    /// The findings that need attention.
    fn problems(findings: Vec<Finding>) -> Vec<(CheckResult, String)> {
        let problems = findings.into_iter().filter(|finding| finding.result != CheckResult::Well);
        problems.map(|finding| (finding.result, finding.found)).collect()
    }

    fn assert_problems(findings: Vec<Finding>, expected: &[(CheckResult, &str)]) {
        let problems = problems(findings);
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for ((result, found), (expected_result, text)) in problems.iter().zip(expected) {
            assert!(result == expected_result && found.contains(text), "{found} is not {text}");
        }
    }

    #[test]
    fn each_wrong_attribute_is_reported() {
        use CheckResult::{Fault, Warning};
        let (ten, nine) = (policy(10), policy(9));
        for (queue, expected) in [
            (&[(Attribute::VisibilityTimeout, "270"), (Attribute::RedrivePolicy, &ten[..])][..], &[][..]),
            (&[(Attribute::VisibilityTimeout, "45"), (Attribute::RedrivePolicy, &ten)], &[]),
            (
                &[(Attribute::VisibilityTimeout, "44"), (Attribute::RedrivePolicy, &ten)],
                &[(Warning, "visibility timeout is 44 s")],
            ),
            (
                &[(Attribute::VisibilityTimeout, "270"), (Attribute::RedrivePolicy, &nine)],
                &[(Warning, "after 9 receives")],
            ),
            (&[(Attribute::VisibilityTimeout, "270")], &[(Warning, "no dead-letter queue")]),
            (&[(Attribute::VisibilityTimeout, "270"), (Attribute::RedrivePolicy, "{}")], &[(Warning, "malformed")]),
            (&[(Attribute::VisibilityTimeout, "1")], &[(Warning, "visibility"), (Warning, "no dead-letter queue")]),
            (&[(Attribute::VisibilityTimeout, "1"), (Attribute::FifoQueue, "true")], &[(Fault, "FIFO")]),
        ] {
            assert_problems(judge(&attributes(queue), &Config::default()), expected);
        }
    }

    #[test]
    fn slower_provider_needs_a_longer_visibility_timeout() {
        let queue = attributes(&[(Attribute::VisibilityTimeout, "100"), (Attribute::RedrivePolicy, &policy(10))]);
        let mut config = Config::default();
        config.limits.provider_timeout = Duration::from_secs(30);
        let [_, finding] = &judge(&queue, &config)[..] else { panic!("one warning") };
        assert!(finding.remedy.as_deref().unwrap().contains("750 s"), "{finding:?}");
    }

    #[test]
    fn summary_has_the_messages_and_the_encryption() {
        for (attribute, encryption) in [
            ((Attribute::SqsManagedSseEnabled, "true"), "encrypted by SQS"),
            ((Attribute::SqsManagedSseEnabled, "false"), "not encrypted at rest"),
            ((Attribute::KmsMasterKeyId, "alias/mine"), "encrypted with a KMS key"),
        ] {
            let queue = attributes(&[attribute, (Attribute::ApproximateNumberOfMessages, "3")]);
            assert_eq!(summary(&queue), format!("standard, {encryption}; messages: 3 visible, 0 delayed, 0 in flight"));
        }
    }

    #[test]
    fn waiting_dead_letters_and_wrong_retention_are_reported() {
        use CheckResult::Warning;
        let (four, ten, fourteen) = ("345600", "864000", "1209600");
        let month = Duration::from_hours(30 * 24);
        for (queue, dead, waiting, run_ttl, expected) in [
            (four, fourteen, "0", month, &[][..]),
            (fourteen, fourteen, "0", month, &[(Warning, "kept for 14.0 days")]),
            (four, fourteen, "7", month, &[(Warning, "about 7 are waiting")]),
            (four, ten, "0", Duration::from_hours(14 * 24), &[(Warning, "forgotten after 14.0 days")]),
            (four, ten, "0", Duration::from_hours(14 * 24 + 1), &[]),
            (ten, four, "0", month, &[(Warning, "kept for 4.0 days")]),
        ] {
            let queue = attributes(&[(Attribute::MessageRetentionPeriod, queue)]);
            let dead = attributes(&[
                (Attribute::MessageRetentionPeriod, dead),
                (Attribute::ApproximateNumberOfMessages, waiting),
            ]);
            assert_problems(judge_dead_letters(&queue, &dead, run_ttl), expected);
        }
    }
}

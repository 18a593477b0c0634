//! One question to AWS: its answer, or why there is none.

use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tokio::time::timeout;

use crate::aws::{Fault, Resource, service_error};
use crate::cli::finding::Finding;
use crate::service::{Misconfiguration, ServiceError};

/// How long a question may take. The SDK sets no limit of its own.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Asks once. Without an answer it is a finding of `check`.
pub(super) async fn ask<T, E>(
    check: &'static str,
    operation: &'static str,
    about: Resource<'_>,
    request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> Result<T, Finding>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match timeout(ANSWER_MAX, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            let fault = error.code().and_then(Fault::of);
            Err(finding(check, operation, about, fault, service_error(operation, about, &error)))
        }
        Err(_) => Err(unanswered(check, &format!("{operation} has no answer after {ANSWER_MAX:?}"))),
    }
}

/// Why there is no answer, and what to do.
fn finding(
    check: &'static str,
    operation: &str,
    about: Resource<'_>,
    fault: Option<Fault>,
    error: ServiceError,
) -> Finding {
    match (fault, error) {
        (Some(Fault::Denied), _) => denied(check, &about.action(operation)),
        (Some(Fault::Missing), _) => misconfigured(check, about.missing()),
        (_, ServiceError::Misconfigured(fault)) => misconfigured(check, fault),
        (_, ServiceError::Unreachable(why)) => {
            // It says itself what to check.
            let (found, remedy) = why.split_once("; ").unwrap_or((&why, "check the network, then run `doctor` again"));
            Finding::fault(check, format!("it could not be asked for: {found}"), remedy.to_owned())
        }
        (_, error) => unanswered(check, &error.to_string()),
    }
}

pub(super) fn misconfigured(check: &'static str, Misconfiguration { found, remedy }: Misconfiguration) -> Finding {
    Finding::fault(check, found, remedy)
}

fn unanswered(check: &'static str, why: &str) -> Finding {
    Finding::fault(check, format!("it could not be asked for: {why}"), "run `doctor` again, once that is over")
}

/// What may not be looked at may still be as it should.
pub(super) fn denied(check: &'static str, action: &str) -> Finding {
    Finding::unknown(
        check,
        format!("it may not be looked at: IAM action {action} is missing"),
        "allow it to whoever runs `doctor`; this says nothing of what the function may do",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::finding::Verdict;

    #[test]
    fn a_missing_thing_is_a_fault_and_a_missing_permission_is_not() {
        let failed = |text: &str| ServiceError::Transient(text.to_owned());
        let renew = ServiceError::from(Misconfiguration::new("ExpiredTokenException", "log in"));
        for (fault, error, result, found) in [
            (Some(Fault::Missing), failed("gone"), Verdict::Fault, "there is no table `runs`"),
            (Some(Fault::Denied), failed("no"), Verdict::Unknown, "dynamodb:DescribeTable"),
            (Some(Fault::Credentials), renew, Verdict::Fault, "ExpiredTokenException"),
            (None, failed("ThrottlingException"), Verdict::Fault, "ThrottlingException"),
        ] {
            let finding = finding("table", "DescribeTable", Resource::Table("runs"), fault, error);
            assert_eq!(finding.result, result, "{finding:?}");
            assert!(finding.found.contains(found) && finding.remedy.is_some(), "{finding:?}");
        }
    }
}

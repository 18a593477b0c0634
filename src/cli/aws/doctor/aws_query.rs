//! One request to AWS: its response, or a finding that says why there is none.

use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tokio::time::timeout;

use crate::aws::{Fault, Resource, service_error};
use crate::cli::finding::Finding;
use crate::service::{Misconfiguration, ServiceError};

/// Time limit of one request; the SDK sets none.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Sends the request once. A failure becomes a finding of `check`.
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
        Err(_) => Err(unanswered(check, &format!("{operation} did not answer within {ANSWER_MAX:?}"))),
    }
}

/// The finding for a failed request.
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
            // The error itself says what to check.
            let (found, remedy) = why.split_once("; ").unwrap_or((&why, "check the network, then run `doctor` again"));
            Finding::fault(check, format!("cannot be inspected: {found}"), remedy.to_owned())
        }
        (_, error) => unanswered(check, &error.to_string()),
    }
}

pub(super) fn misconfigured(check: &'static str, Misconfiguration { found, remedy }: Misconfiguration) -> Finding {
    Finding::fault(check, found, remedy)
}

fn unanswered(check: &'static str, why: &str) -> Finding {
    Finding::fault(check, format!("cannot be inspected: {why}"), "run `doctor` again later")
}

/// Without permission to inspect it, nothing is known about it.
pub(super) fn denied(check: &'static str, action: &str) -> Finding {
    Finding::unknown(
        check,
        format!("not inspected: the IAM permission {action} is missing"),
        "grant it to the user who runs `doctor`; the function's permissions may differ",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::finding::CheckResult;

    #[test]
    fn missing_resource_is_a_fault_and_missing_permission_is_not() {
        let failed = |text: &str| ServiceError::Transient(text.to_owned());
        let renew = ServiceError::from(Misconfiguration::new("ExpiredTokenException", "log in"));
        for (fault, error, result, found) in [
            (Some(Fault::Missing), failed("gone"), CheckResult::Fault, "there is no table `runs`"),
            (Some(Fault::Denied), failed("no"), CheckResult::Unknown, "dynamodb:DescribeTable"),
            (Some(Fault::Credentials), renew, CheckResult::Fault, "ExpiredTokenException"),
            (None, failed("ThrottlingException"), CheckResult::Fault, "ThrottlingException"),
        ] {
            let finding = finding("table", "DescribeTable", Resource::Table("runs"), fault, error);
            assert_eq!(finding.result, result, "{finding:?}");
            assert!(finding.found.contains(found) && finding.remedy.is_some(), "{finding:?}");
        }
    }
}

//! One question to AWS: its answer, or why there is none.

use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tokio::time::timeout;

use crate::aws::service_error;
use crate::cli::doctor::finding::Finding;

/// How long a question may take. The SDK sets no limit of its own.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The thing is not there.
    Missing,
    /// Whoever asks may not.
    Denied,
    /// AWS does not know whoever asks.
    Credentials(String),
    /// Anything else.
    Failed(String),
}

/// Asks once.
pub(super) async fn ask<T, E>(
    action: &'static str,
    request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> Result<T, Trouble>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match timeout(ANSWER_MAX, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            let text = service_error(action, &error).to_string();
            Err(Trouble::of(error.code().unwrap_or_default(), text))
        }
        Err(_) => Err(Trouble::Failed(format!("{action} has no answer after {ANSWER_MAX:?}"))),
    }
}

impl Trouble {
    fn of(code: &str, text: String) -> Self {
        match code {
            "ResourceNotFoundException" | "QueueDoesNotExist" | "AWS.SimpleQueueService.NonExistentQueue" => {
                Self::Missing
            }
            "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "AuthorizationError" => Self::Denied,
            "ExpiredToken"
            | "ExpiredTokenException"
            | "InvalidClientTokenId"
            | "InvalidAccessKeyId"
            | "UnrecognizedClientException"
            | "SignatureDoesNotMatch"
            | "InvalidSignatureException" => Self::Credentials(text),
            _ => Self::Failed(text),
        }
    }

    /// What that means for `check`, whose thing would be missing as `missing` says, with what to do. `action` is what IAM
    /// calls the question.
    pub(super) fn finding(self, check: &'static str, action: &str, missing: (String, &str)) -> Finding {
        match self {
            Self::Missing => Finding::fault(check, missing.0, missing.1),
            Self::Denied => denied(check, action),
            Self::Credentials(text) => Finding::fault(check, text, "renew the credentials: log in to AWS again"),
            Self::Failed(text) => Finding::fault(
                check,
                format!("it could not be asked for: {text}"),
                "run `doctor` again, once that is over",
            ),
        }
    }
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
    use crate::cli::doctor::finding::Verdict;

    #[test]
    fn a_missing_thing_is_a_fault_and_a_missing_permission_is_not() {
        for (code, result) in [
            ("ResourceNotFoundException", Verdict::Fault),
            ("AWS.SimpleQueueService.NonExistentQueue", Verdict::Fault),
            ("AccessDenied", Verdict::Unknown),
            ("AccessDeniedException", Verdict::Unknown),
            ("ExpiredTokenException", Verdict::Fault),
            ("ThrottlingException", Verdict::Fault),
        ] {
            let finding = Trouble::of(code, format!("x: {code}")).finding(
                "table",
                "dynamodb:DescribeTable",
                ("gone".into(), "make it"),
            );
            assert_eq!(finding.result, result, "{code}");
            let names_it = match result {
                Verdict::Unknown => finding.found.contains("dynamodb:DescribeTable"),
                _ => finding.found == "gone" || finding.found.contains(code),
            };
            assert!(names_it && finding.remedy.is_some(), "{finding:?}");
        }
    }
}

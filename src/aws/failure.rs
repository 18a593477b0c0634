//! Classifies SDK errors: whether they are retryable, whether the operation may have succeeded, and what an operator can do.
//!
//! | class | errors |
//! | --- | --- |
//! | [`ServiceError::Misconfigured`] | no credentials, no endpoint, a missing resource or permission |
//! | [`ServiceError::Unreachable`] | no connection, or credentials that cannot be refreshed at the moment |
//! | [`ServiceError::Throttled`] | a throttle, by its code or a 429 |
//! | [`ServiceError::Permanent`] | every other 4xx, and requests that could not be built |
//! | [`ServiceError::Transient`] | the rest: timeouts, broken connections, unreadable responses, 5xx |

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::NeverConnected;
use super::account::no_credentials;
use super::resource::Resource;
use crate::service::{Misconfiguration, ServiceError};
use crate::text::{causes, root_cause};

/// Faults that an operator can fix, by AWS's error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The resource does not exist.
    Missing,
    /// The caller is not permitted.
    Denied,
    /// AWS does not accept the credentials.
    Credentials,
}

impl Fault {
    pub(crate) fn of(code: &str) -> Option<Self> {
        Some(match code {
            "ResourceNotFoundException"
            | "TableNotFoundException"
            | "QueueDoesNotExist"
            | "NonExistentQueue"
            | "AWS.SimpleQueueService.NonExistentQueue"
            | "InvalidAddress" => Self::Missing,
            "AccessDenied"
            | "AccessDeniedException"
            | "UnauthorizedOperation"
            | "AuthorizationError"
            | "NotAuthorized"
            | "KmsAccessDenied"
            | "KMS.AccessDeniedException" => Self::Denied,
            "ExpiredToken"
            | "ExpiredTokenException"
            | "InvalidToken"
            | "InvalidClientTokenId"
            | "InvalidAccessKeyId"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "UnrecognizedClientException"
            | "SignatureDoesNotMatch"
            | "InvalidSignatureException"
            | "RequestExpired" => Self::Credentials,
            _ => return None,
        })
    }
}

/// The remedy for credentials that AWS does not accept.
pub(crate) const RENEW: &str = "renew the credentials: log in to AWS again; also check this machine's clock";
const ENDPOINT: &str = "check AWS_REGION, AWS_ENDPOINT_URL, AWS_USE_DUALSTACK_ENDPOINT and AWS_USE_FIPS_ENDPOINT, or the same in your AWS profile";
const NETWORK: &str = "check AWS_REGION, AWS_ENDPOINT_URL and the network";
const NOT_AWS: &str = "this is not a response of AWS: check AWS_ENDPOINT_URL, and whether a proxy responds instead";
const ANOTHER_TABLE: &str = "check BRIDGE_TABLE: the table there has another key or no index `open`";

/// Error codes of throttles. The first nine are those that the SDK's retries know; the rest are from the services' API
/// references.
const THROTTLES: [&str; 13] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottledException",
    "RequestThrottled",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "SlowDown",
    // A conflict with another write: this one did not happen.
    "TransactionConflictException",
    "ReplicatedWriteConflictException",
    // SQS's, for a queue with a customer-managed key.
    "KMS.ThrottlingException",
    // The queue has as many messages in flight as SQS allows.
    "OverLimit",
];

/// Error codes of failures inside AWS, after which the operation may have succeeded.
const INTERNAL: [&str; 8] = [
    "RequestTimeout",
    "RequestTimeoutException",
    "InternalError",
    "InternalFailure",
    "InternalException",
    "InternalServerError",
    "InternalServiceError",
    "ServiceUnavailable",
];

/// Classifies an SDK error of an operation.
pub fn service_error<E>(operation: &str, about: Resource<'_>, error: &SdkError<E, HttpResponse>) -> ServiceError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let SdkError::DispatchFailure(failure) = error
        && let Some(error) = failure.as_connector_error()
    {
        return of_dispatch(operation, error);
    }
    let cause = root_cause(error);
    match (error, error.raw_response().map(|response| response.status().as_u16())) {
        (SdkError::ConstructionFailure(_), _) => ServiceError::Permanent(format!("{operation}: {cause}")),
        (SdkError::ServiceError(_), Some(status)) => {
            of_answer(operation, about, error.code().unwrap_or_default(), error.message(), status)
        }
        (_, Some(status)) => ServiceError::Transient(format!("{operation}: HTTP {status}: {cause}")),
        (_, None) => ServiceError::Transient(format!("{operation}: {cause}")),
    }
}

/// Classifies a failure before a response.
fn of_dispatch(operation: &str, error: &ConnectorError) -> ServiceError {
    let cause = root_cause(error);
    // Credentials that never existed will not appear; those from a provider may be available again in a moment.
    match causes(error).find_map(|cause| cause.downcast_ref()) {
        Some(error @ (CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_))) => {
            return no_credentials(error).into();
        }
        Some(_) => return ServiceError::Unreachable(format!("{operation}: the credentials are unavailable: {cause}")),
        None => {}
    }
    if causes(error).any(<dyn Error>::is::<NeverConnected>) {
        return ServiceError::Unreachable(format!("{operation}: no connection to AWS: {cause}; {NETWORK}"));
    }
    if error.is_user() {
        return ServiceError::Permanent(format!("{operation}: {cause}"));
    }
    // Not from our connector: the SDK failed before it had a request to send.
    if error.is_other() {
        // Its timeout for a credentials provider, which has no type.
        if cause.starts_with("identity resolver timed out") {
            return ServiceError::Unreachable(format!("{operation}: {cause}"));
        }
        return Misconfiguration::new(format!("{operation}: {cause}"), ENDPOINT).into();
    }
    ServiceError::Transient(format!("{operation}: {cause}"))
}

/// Classifies a response of AWS.
fn of_answer(operation: &str, about: Resource<'_>, code: &str, message: Option<&str>, status: u16) -> ServiceError {
    let text = match message {
        Some(message) if !code.is_empty() => format!("{operation}: {code}: {message}"),
        Some(message) => format!("{operation}: HTTP {status}: {message}"),
        None if !code.is_empty() => format!("{operation}: {code} (HTTP {status})"),
        None => format!("{operation}: HTTP {status} without an error code"),
    };
    if THROTTLES.contains(&code) || status == 429 {
        return ServiceError::Throttled(text);
    }
    // An unreadable success may still be one.
    if INTERNAL.contains(&code) || status >= 500 || status == 408 || (200..300).contains(&status) {
        return ServiceError::Transient(text);
    }
    let (found, remedy) = match Fault::of(code) {
        Some(Fault::Missing) => {
            let Misconfiguration { found, remedy } = about.missing();
            (format!("{operation}: {code}: {found}"), remedy)
        }
        Some(Fault::Denied) => (text, format!("allow the IAM action {} on {}", about.action(operation), about.place())),
        Some(Fault::Credentials) => (text, RENEW.to_owned()),
        None if code.is_empty() => (text, NOT_AWS.to_owned()),
        None if is_another_kind_of_table(about, code, message.unwrap_or_default()) => (text, ANOTHER_TABLE.to_owned()),
        None => return ServiceError::Permanent(text),
    };
    Misconfiguration::new(found, remedy).into()
}

fn is_another_kind_of_table(about: Resource<'_>, code: &str, message: &str) -> bool {
    let is_about_keys = ["key element", "specified index", "not valid: Missing the key"];
    matches!(about, Resource::Table(_))
        && code == "ValidationException"
        && is_about_keys.iter().any(|words| message.contains(words))
}

/// Classifies the failure of one entry of a batch. An entry that was throttled or is our fault did not happen. If the service does
/// not say whose fault it is, the code decides.
pub fn entry_error(code: &str, message: Option<&str>, is_ours: Option<bool>) -> ServiceError {
    let text = match message {
        Some(message) => format!("{code}: {message}"),
        None => code.to_owned(),
    };
    if THROTTLES.contains(&code) {
        ServiceError::Throttled(text)
    } else if is_ours.unwrap_or(true) && !INTERNAL.contains(&code) {
        ServiceError::Permanent(text)
    } else {
        ServiceError::Transient(text)
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::error::ErrorMetadata;

    use super::*;
    use crate::postpress::client::{http_client, mozilla_roots};

    type Failed = SdkError<ErrorMetadata, HttpResponse>;

    fn dispatch(error: ConnectorError) -> Failed {
        SdkError::dispatch_failure(error)
    }

    fn answer(status: u16, code: &str, message: &str) -> Failed {
        let mut metadata = ErrorMetadata::builder();
        if !code.is_empty() {
            metadata = metadata.code(code).message(message);
        }
        SdkError::service_error(metadata.build(), HttpResponse::new(status.try_into().unwrap(), SdkBody::empty()))
    }

    /// A word for the class.
    fn class(error: &ServiceError) -> &'static str {
        match error {
            ServiceError::Transient(_) => "transient",
            ServiceError::Throttled(_) => "throttled",
            ServiceError::Unreachable(_) => "unreachable",
            ServiceError::Permanent(_) => "permanent",
            ServiceError::Misconfigured(_) => "misconfigured",
        }
    }

    #[test]
    fn responses_are_classified() {
        for (status, code, message, expected) in [
            (400, "ThrottlingException", "slow", "throttled"),
            (503, "SlowDown", "slow", "throttled"),
            (429, "Unknown", "slow", "throttled"),
            (403, "RequestThrottled", "slow", "throttled"),
            (400, "TransactionConflictException", "", "throttled"),
            (500, "InternalFailure", "", "transient"),
            (400, "InternalServerError", "", "transient"),
            (503, "ServiceUnavailable", "", "transient"),
            (400, "RequestTimeout", "", "transient"),
            (408, "Unknown", "", "transient"),
            (502, "", "", "transient"),
            (200, "", "", "transient"),
            (307, "", "", "misconfigured"),
            (400, "AWS.SimpleQueueService.NonExistentQueue", "", "misconfigured"),
            (400, "QueueDoesNotExist", "", "misconfigured"),
            (400, "ResourceNotFoundException", "", "misconfigured"),
            (403, "AccessDeniedException", "", "misconfigured"),
            (400, "ExpiredTokenException", "", "misconfigured"),
            (403, "SignatureDoesNotMatch", "", "misconfigured"),
            (403, "", "", "misconfigured"),
            (404, "", "", "misconfigured"),
            (400, "ValidationException", "The provided key element does not match the schema", "misconfigured"),
            (400, "ValidationException", "The table does not have the specified index: open", "misconfigured"),
            (400, "ValidationException", "Item size has exceeded the maximum allowed size", "permanent"),
            (400, "InvalidMessageContents", "", "permanent"),
        ] {
            let error = service_error("GetItem", Resource::Table("runs"), &answer(status, code, message));
            assert_eq!(class(&error), expected, "{status} {code}: {error}");
            assert!(error.to_string().starts_with("GetItem: "), "{error}");
        }
    }

    #[test]
    fn failures_before_a_response_are_classified() {
        let not_loaded = || CredentialsError::not_loaded("none found");
        let wrong = || CredentialsError::invalid_configuration("two profiles that name each other");
        for (error, expected) in [
            (SdkError::construction_failure("no such header"), "permanent"),
            (dispatch(ConnectorError::user("no URI".into())), "permanent"),
            (dispatch(ConnectorError::other("failed to resolve endpoint: dual-stack".into(), None)), "misconfigured"),
            (dispatch(ConnectorError::other(not_loaded().into(), None)), "misconfigured"),
            (dispatch(ConnectorError::other(wrong().into(), None)), "misconfigured"),
            // The provider of a container's credentials is unreachable or failing.
            (
                dispatch(ConnectorError::other(
                    CredentialsError::provider_timed_out(std::time::Duration::from_secs(2)).into(),
                    None,
                )),
                "unreachable",
            ),
            (dispatch(ConnectorError::other(CredentialsError::provider_error("503").into(), None)), "unreachable"),
            (dispatch(ConnectorError::other(CredentialsError::unhandled("refused").into(), None)), "unreachable"),
            (dispatch(ConnectorError::other("identity resolver timed out after 6s".into(), None)), "unreachable"),
            (dispatch(ConnectorError::io("connection reset".into())), "transient"),
            (dispatch(ConnectorError::timeout("no answer".into())), "transient"),
            (SdkError::timeout_error("too long"), "transient"),
            (
                SdkError::response_error("no JSON", HttpResponse::new(200.try_into().unwrap(), SdkBody::empty())),
                "transient",
            ),
        ] {
            let text = format!("{error:?}");
            let error: ServiceError = service_error("SendMessageBatch", Resource::Queue("q"), &error);
            assert_eq!(class(&error), expected, "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn failed_and_broken_connections_are_distinguished() {
        let http = http_client(mozilla_roots()).unwrap();
        let refused = http.get("http://127.0.0.1:1/").send().await.unwrap_err();
        let error = service_error("Scan", Resource::Table("runs"), &dispatch(super::super::connector_error(refused)));
        assert_eq!(class(&error), "unreachable", "{error}");

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let closes = async { drop(listener.accept().await.unwrap()) };
        let (broken, ()) = tokio::join!(http.get(format!("http://{address}/")).send(), closes);
        let broken = broken.unwrap_err();
        let error = service_error("Scan", Resource::Table("runs"), &dispatch(super::super::connector_error(broken)));
        assert_eq!(class(&error), "transient", "{error}");
    }

    #[test]
    fn missing_permissions_are_named_as_in_iam() {
        for (about, operation, named) in [
            (Resource::Queue("q"), "SendMessageBatch", "sqs:SendMessage on the queue in BRIDGE_QUEUE_URL"),
            (Resource::Table("t"), "GetItem", "dynamodb:GetItem on the table in BRIDGE_TABLE"),
            (
                Resource::Secret("X_SECRET_ID"),
                "GetSecretValue",
                "secretsmanager:GetSecretValue on the secret in X_SECRET_ID",
            ),
        ] {
            let error = service_error(operation, about, &answer(400, "AccessDeniedException", "no\nway"));
            let text = error.to_string();
            assert!(text.contains(named) && text.contains("AccessDeniedException: no way;"), "{text}");
        }
    }

    #[test]
    fn failed_entries_are_classified() {
        for (code, is_ours, expected) in [
            ("InvalidMessageContents", Some(true), "permanent"),
            ("RequestThrottled", Some(true), "throttled"),
            ("ThrottlingException", Some(false), "throttled"),
            ("InternalError", Some(false), "transient"),
            ("InternalError", Some(true), "transient"),
            ("Unknown", Some(false), "transient"),
            ("NotAuthorizedForSourceException", None, "permanent"),
            ("InternalFailure", None, "transient"),
        ] {
            assert_eq!(class(&entry_error(code, None, is_ours)), expected, "{code} {is_ours:?}");
        }
    }
}

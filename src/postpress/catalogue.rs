//! The documented error types, as data: type, HTTP status, meaning, and what each means for a run.
//!
//! Types, statuses and meanings are quoted from the documentation (`tests/data/postpress-sync-endpoint.txt`, of May 2026); a
//! test keeps the two equal. The retry classes are ours.

use RetryClass::{Connecting, Credentials, Retryable, Terminal};

use super::Operation;

/// What a failure means for the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetryClass {
    /// It may pass: poll again, within the retry budget.
    Retryable,
    /// The key was refused, which is retried once per run: it may just have been rotated.
    Credentials,
    /// The account is not connected, which is retried for a while after the run's first call: it may still be connecting.
    Connecting,
    /// It ends the run at once.
    Terminal,
}

/// The provider's two error formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `{title, detail?, instance?, type, status}`: from the service itself.
    Service,
    /// `{"error": {code, message, request_id?}}`: from the gateway in front of it.
    Gateway,
}

/// One documented error type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorType {
    /// The envelope's `type`.
    pub kind: &'static str,
    /// The HTTP status that it is documented under. Under another one it is not this type.
    pub status: u16,
    /// The documentation's description.
    pub meaning: &'static str,
    /// What it means for the run.
    pub retry_class: RetryClass,
}

/// Every type that all operations have, in the documentation's order.
#[rustfmt::skip] // a table: one type a line
pub static ERROR_TYPES: &[ErrorType] = &[
    row(401, "errors/missing_credentials", Credentials, "Some credentials are necessary to perform the request."),
    row(401, "errors/multiple_sessions", Terminal, "LinkedIn limits multiple sessions on certain Recruiter accounts. Use the cookie connection method."),
    row(401, "errors/invalid_checkpoint_solution", Terminal, "The checkpoint resolution did not pass successfully. Retry."),
    row(401, "errors/invalid_proxy_credentials", Terminal, "The provided proxy credentials are invalid."),
    row(401, "errors/checkpoint_error", Terminal, "The checkpoint does not appear to be resolvable."),
    row(401, "errors/invalid_credentials", Credentials, "The provided credentials are invalid."),
    row(401, "errors/expired_credentials", Credentials, "Credentials have expired. Reconnect the account."),
    row(401, "errors/insufficient_privileges", Terminal, "This resource is out of your API-key scopes."),
    row(401, "errors/disconnected_account", Connecting, "The account is disconnected from the provider service."),
    row(401, "errors/disconnected_feature", Terminal, "The service you're trying to reach is disconnected."),
    row(401, "errors/invalid_credentials_but_valid_account_imap", Terminal, "IMAP/SMTP credentials are invalid but the account is otherwise valid."),
    row(401, "errors/expired_link", Terminal, "This link has expired. Generate a new one."),
    row(401, "errors/wrong_account", Terminal, "The provided credentials do not match the correct account."),
    row(403, "errors/account_restricted", Terminal, "The account has been restricted by the provider."),
    row(403, "errors/account_mismatch", Terminal, "This action cannot be done with your account."),
    row(403, "errors/insufficient_permissions", Terminal, "Valid authentication but insufficient permissions to perform the request."),
    row(403, "errors/session_mismatch", Terminal, "Token user id does not match client session id."),
    row(403, "errors/feature_not_subscribed", Terminal, "The requested feature has not been subscribed or authenticated properly."),
    row(403, "errors/subscription_required", Terminal, "A subscription is required to use this feature."),
    row(403, "errors/unknown_authentication_context", Terminal, "An additional step seems necessary to complete login."),
    row(403, "errors/action_required", Terminal, "An additional step is required."),
    row(403, "errors/resource_access_restricted", Terminal, "You don't have access to this resource."),
    row(404, "errors/resource_not_found", Terminal, "The requested resource was not found."),
    row(404, "errors/invalid_resource_identifier", Terminal, "The provided identifier is not a valid chat id."),
    row(422, "errors/invalid_account", Terminal, "The account is not designed for this feature."),
    row(422, "errors/invalid_recipient", Terminal, "The recipient is invalid for this provider."),
    row(422, "errors/no_connection_with_recipient", Terminal, "A connection with the recipient is required."),
    row(422, "errors/blocked_recipient", Terminal, "The recipient has blocked the sender."),
    row(422, "errors/user_unreachable", Terminal, "The recipient cannot be reached."),
    row(422, "errors/unprocessable_entity", Terminal, "The provider could not process the request."),
    row(422, "errors/payment_error", Terminal, "A payment is required to perform this action."),
    row(422, "errors/action_already_performed", Terminal, "The action was already performed."),
    row(422, "errors/invalid_message", Terminal, "The referenced message is invalid."),
    row(422, "errors/invalid_post", Terminal, "The referenced post is invalid."),
    row(422, "errors/not_allowed_inmail", Terminal, "InMail is not allowed for this recipient."),
    row(422, "errors/insufficient_credits", Terminal, "Not enough credits."),
    row(422, "errors/cannot_resend_yet", Terminal, "The action cannot be re-attempted yet."),
    row(422, "errors/cannot_resend_within_24hrs", Terminal, "The action cannot be re-attempted within 24 hours."),
    row(422, "errors/limit_exceeded", Retryable, "The provider's limit was exceeded."),
    row(422, "errors/already_invited_recently", Terminal, "The recipient was already invited recently."),
    row(422, "errors/already_connected", Terminal, "Already connected with this recipient."),
    row(422, "errors/cannot_invite_attendee", Terminal, "This attendee cannot be invited."),
    row(422, "errors/parent_mail_not_found", Terminal, "Parent email was not found."),
    row(422, "errors/parent_mail_invalid_provider_id", Terminal, "Parent email has an invalid provider id."),
    row(422, "errors/invalid_reply_subject", Terminal, "The reply subject is invalid."),
    row(422, "errors/invalid_headers", Terminal, "The message headers are invalid."),
    row(422, "errors/send_as_denied", Terminal, "The provider denied the send-as request."),
    row(422, "errors/invalid_folder", Terminal, "The target folder is invalid."),
    row(422, "errors/invalid_thread", Terminal, "The target thread is invalid."),
    row(422, "errors/unauthorized", Terminal, "The provider rejected the request as unauthorized."),
    row(422, "errors/sender_rejected", Terminal, "The sender was rejected by the provider."),
    row(422, "errors/recipient_rejected", Terminal, "The recipient was rejected by the provider."),
    row(422, "errors/ip_rejected_by_server", Terminal, "The sending IP was rejected by the upstream server."),
    row(422, "errors/provider_unreachable", Retryable, "The provider is currently unreachable."),
    row(422, "errors/account_configuration_error", Terminal, "The account is misconfigured."),
    row(422, "errors/cant_send_message", Terminal, "The message could not be sent."),
    row(422, "errors/realtime_client_not_initialized", Terminal, "The realtime client is not initialized."),
    row(422, "errors/comments_disabled", Terminal, "Comments are disabled on this resource."),
    row(422, "errors/insufficient_job_slot", Terminal, "No remaining job slot to perform this action."),
    row(500, "errors/unexpected_error", Retryable, "Something went wrong."),
    row(500, "errors/provider_error", Retryable, "The provider is experiencing operational problems. Retry later."),
    row(500, "errors/authentication_intent_error", Retryable, "The current authentication intent was killed after failure."),
    row(501, "errors/feature_not_implemented", Terminal, "Requested feature is planned but has not been implemented yet."),
    row(503, "errors/no_client_session", Retryable, "No client session is currently running."),
    row(503, "errors/no_channel", Retryable, "No channel to client session."),
    row(503, "errors/no_handler", Retryable, "Handler missing for that request."),
    row(503, "errors/network_down", Retryable, "Network is down on the server side. Retry shortly."),
    row(503, "errors/service_unavailable", Retryable, "Service temporarily unavailable. Retry later."),
    row(504, "errors/request_timeout", Retryable, "Request timed out. Retry, and contact support if it persists."),
];

/// The types of an invalid request, which an operation with options has besides. The names are documented ("Resynchronize
/// account messaging data"); the meanings are ours.
#[rustfmt::skip] // a table: one type a line
pub(super) static INVALID_REQUESTS: &[ErrorType] = &[
    row(400, "errors/invalid_parameters", Terminal, "A parameter of the request is invalid."),
    row(400, "errors/missing_parameters", Terminal, "A parameter of the request is missing."),
    row(400, "errors/malformed_request", Terminal, "The request cannot be read."),
    row(400, "errors/content_too_large", Terminal, "The content of the request is too large."),
    row(400, "errors/invalid_url", Terminal, "A URL in the request is invalid."),
    row(400, "errors/too_many_characters", Terminal, "A text in the request is too long."),
    row(400, "errors/unescaped_characters", Terminal, "The request has characters that must be escaped."),
    row(400, "errors/limit_too_high", Terminal, "A limit in the request is too high."),
];

const fn row(status: u16, kind: &'static str, retry_class: RetryClass, meaning: &'static str) -> ErrorType {
    ErrorType { kind, status, meaning, retry_class }
}

impl Operation {
    /// Its documented types.
    pub fn documented_errors(&self) -> impl Iterator<Item = &'static ErrorType> {
        ERROR_TYPES.iter().chain(self.error_types)
    }

    /// The documented type under this HTTP status.
    pub fn documented_error(&self, kind: &str, status: u16) -> Option<&'static ErrorType> {
        self.documented_errors().find(|listed| listed.kind == kind && listed.status == status)
    }
}

/// What an answer of this operation with `http_status` means for the run; `error` is its type and format, if it has an envelope.
///
/// The HTTP status decides, not the envelope's: a type that is not documented under it is unknown, and an unknown type follows
/// the HTTP status. A 401 from the gateway is about the key whatever its code, unless the type is documented as retryable for
/// another reason.
pub fn retry_class(operation: &Operation, http_status: u16, error: Option<(&str, Form)>) -> RetryClass {
    let listed =
        error.and_then(|(kind, _)| operation.documented_error(kind, http_status)).map(|listed| listed.retry_class);
    match (listed, error) {
        (None | Some(Terminal), Some((_, Form::Gateway))) if http_status == 401 => Credentials,
        (Some(retry_class), _) => retry_class,
        (None, _) => by_status(http_status),
    }
}

/// Without a documented type, 408 (timeout), 425 (too early), 429 (too many) and 5xx are retryable. 501 is not, because what
/// is not implemented will not be in an hour either. Statuses of 600 and above have no HTTP class; `LinkedIn` throttles with
/// 999, so they are retryable.
fn by_status(http_status: u16) -> RetryClass {
    match http_status {
        408 | 425 | 429 | 500 | 502.. => Retryable,
        _ => Terminal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SubjectKind;
    use crate::postpress::operation::OPERATIONS;

    fn retry_class(http_status: u16, error: Option<(&str, Form)>) -> RetryClass {
        super::retry_class(Operation::of(SubjectKind::Chat), http_status, error)
    }

    const DOCUMENTATION: &str = include_str!("../../tests/data/postpress-sync-endpoint.txt");

    /// `(type, status, meaning)` of every line like `• errors/x - Meaning.`, under headings like `401 Unauthorized13 types`.
    fn documented() -> Vec<(&'static str, u16, &'static str)> {
        let mut status = 0;
        let mut types = Vec::new();
        for line in DOCUMENTATION.lines() {
            if let Some(heading) = line.strip_suffix(" types") {
                status = heading[..3].parse().unwrap();
            } else if let Some(listed) = line.trim_start().strip_prefix("• ") {
                let (kind, meaning) = listed.split_once(" - ").unwrap();
                types.push((kind, status, meaning));
            }
        }
        types
    }

    #[test]
    fn catalogue_equals_the_documentation() {
        let listed: Vec<_> = ERROR_TYPES.iter().map(|listed| (listed.kind, listed.status, listed.meaning)).collect();
        assert_eq!(listed, documented());
    }

    #[test]
    fn documentation_counts_as_many_types_as_it_lists() {
        for line in DOCUMENTATION.lines() {
            let Some(heading) = line.strip_suffix(" types") else {
                continue;
            };
            let status: u16 = heading[..3].parse().unwrap();
            let promised: usize = heading[3..].trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
            let listed = ERROR_TYPES.iter().filter(|listed| listed.status == status).count();
            assert_eq!(listed, promised, "{line}");
        }
    }

    #[test]
    fn retryable_types_are_listed_one_by_one() {
        let kinds = |retry_class| -> Vec<_> {
            ERROR_TYPES.iter().filter(|listed| listed.retry_class == retry_class).map(|listed| listed.kind).collect()
        };
        assert_eq!(
            kinds(Retryable),
            [
                "errors/limit_exceeded",
                "errors/provider_unreachable",
                "errors/unexpected_error",
                "errors/provider_error",
                "errors/authentication_intent_error",
                "errors/no_client_session",
                "errors/no_channel",
                "errors/no_handler",
                "errors/network_down",
                "errors/service_unavailable",
                "errors/request_timeout",
            ]
        );
        assert_eq!(
            kinds(Credentials),
            ["errors/missing_credentials", "errors/invalid_credentials", "errors/expired_credentials"]
        );
        assert_eq!(kinds(Connecting), ["errors/disconnected_account"]);
    }

    #[test]
    fn invalid_requests_are_documented_where_there_are_options() {
        for operation in OPERATIONS {
            for listed in INVALID_REQUESTS {
                let found = operation.documented_error(listed.kind, listed.status);
                assert_eq!(found.is_some(), operation.has_options, "{} {}", operation.object, listed.kind);
                assert_eq!(super::retry_class(operation, listed.status, Some((listed.kind, Form::Service))), Terminal);
            }
        }
    }

    #[test]
    fn type_counts_only_under_its_documented_status() {
        for (status, kind, expected) in [
            (422, "errors/limit_exceeded", Retryable),
            (404, "errors/limit_exceeded", Terminal),
            (503, "errors/limit_exceeded", Retryable),
            (401, "errors/missing_credentials", Credentials),
            (403, "errors/missing_credentials", Terminal),
            (500, "errors/missing_credentials", Retryable),
            (401, "errors/insufficient_privileges", Terminal),
            (429, "errors/resource_not_found", Retryable),
            (501, "errors/service_unavailable", Terminal),
        ] {
            assert_eq!(retry_class(status, Some((kind, Form::Service))), expected, "{status} {kind}");
        }
    }

    #[test]
    fn http_status_decides_without_a_documented_type() {
        for status in 100..=999 {
            let may_pass = [408, 425, 429].contains(&status) || status >= 500 && status != 501;
            let expected = if may_pass { Retryable } else { Terminal };
            assert_eq!(retry_class(status, None), expected, "{status}");
            for kind in ["errors/of_tomorrow", "about:blank"] {
                assert_eq!(retry_class(status, Some((kind, Form::Service))), expected, "{status} {kind}");
                let of_gateway = if status == 401 { Credentials } else { expected };
                assert_eq!(retry_class(status, Some((kind, Form::Gateway))), of_gateway, "{status} {kind}");
            }
        }
    }
}

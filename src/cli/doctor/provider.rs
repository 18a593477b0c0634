//! Checks the base URL, the key and the clock with one call for a chat that cannot exist.

use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, DATE, LOCATION};

use crate::cli::finding::Finding;
use crate::ids::{Subject, SubjectKind};
use crate::postpress::client::{ApiKey, BaseUrl, Client, Head, KeyKind};
use crate::postpress::{Answer, Envelope, Failure, Finish, Operation, RetryClass};
use crate::settings::Config;
use crate::text::bounded;

/// The chat to call for. It must not exist, because the call that reads a status also starts a sync.
///
/// The provider assigns chat ids; the documentation's example is `chat_` and a ULID, which this is not. No URL parser, proxy or
/// gateway changes its characters, so it cannot turn into another id on the way. The documented answer is a 404,
/// `errors/resource_not_found` or `errors/invalid_resource_identifier`. That no real id contains a `~` is an assumption; if a sync
/// starts nevertheless, the finding says so prominently. The simulator also answers 404 for this id.
const NO_CHAT: &str = "resource_not_found~doctor";

const BASE_URL: &str = "base URL";
const KEY: &str = "API key";
pub(super) const CLOCK: &str = "clock";

/// postpress's answer for every chat and account at the host of another workspace.
const NO_CLIENT_SESSION: &str = "errors/no_client_session";

/// The response to one call.
struct Response {
    answer: Answer,
    /// Absent without a response.
    head: Option<Head>,
    sent: SystemTime,
    received: SystemTime,
}

/// Calls the base URL, and if it is not postpress's, the provider's other one.
///
/// Without a key, it calls with an invalid one, which still checks the base URL.
pub(super) async fn check(http: reqwest::Client, base: &BaseUrl, key: Option<ApiKey>, config: &Config) -> Vec<Finding> {
    let kind = key.as_ref().map(ApiKey::kind);
    let Some(key) = key.or_else(|| ApiKey::parse(&"none".to_owned().into()).ok()) else { return Vec::new() };
    let client = |base: &BaseUrl| Client::over(http.clone(), base.clone(), key.clone());
    let response = call(&client(base), config).await;
    // The clock of another server says nothing about ours.
    let clock = || of_clock(&response, config.rules.lease_margin);
    match identify(base, &response) {
        Server::Postpress(envelope, retry_class) => {
            let key = of_key(envelope, retry_class, kind);
            [of_host(base, envelope), key].into_iter().chain(clock()).collect()
        }
        Server::Other(finding) => vec![finding, not_tried("the call did not reach postpress", kind)],
        Server::WrongPath(found) => {
            let mut right = None;
            for other in base.alternatives() {
                let response = call(&client(&other), config).await;
                match identify(&other, &response) {
                    Server::Postpress(envelope, retry_class) => {
                        right = right.or(Some((other, of_key(envelope, retry_class, kind))));
                    }
                    Server::Other(finding) if may_have_started(&response) => return vec![finding],
                    Server::Other(_) | Server::WrongPath(_) => {}
                }
            }
            match right {
                Some((other, key)) => {
                    let remedy = format!("set POSTPRESS_BASE_URL to {other}, which is postpress's");
                    [Finding::fault(BASE_URL, found, remedy), key].into_iter().chain(clock()).collect()
                }
                None => {
                    let remedy = "set POSTPRESS_BASE_URL to https://api.postpress.ai/v1 or to \
                                  https://api.postpress.ai/api/v1; at this host neither path is postpress's";
                    vec![Finding::fault(BASE_URL, found, remedy), not_tried("postpress was not found", kind)]
                }
            }
        }
    }
}

async fn call(client: &Client, config: &Config) -> Response {
    let sent = SystemTime::now();
    let (answer, head) = match Subject::chat(NO_CHAT) {
        Ok(chat) => client.sync_with_head(&chat.into(), config.limits.provider_timeout).await,
        Err(error) => (Answer::Unusable(error.to_string()), None),
    };
    Response { answer, head, sent, received: SystemTime::now() }
}

/// What answers at a base URL.
#[derive(Debug, PartialEq, Eq)]
enum Server<'a> {
    /// postpress: it answered with its error envelope.
    Postpress(&'a Envelope, RetryClass),
    /// Not postpress's endpoint; another path on this host may be.
    WrongPath(String),
    /// Something that another path would not fix.
    Other(Finding),
}

fn identify<'a>(base: &BaseUrl, response: &'a Response) -> Server<'a> {
    let Some(head) = &response.head else { return Server::Other(unreachable(&response.answer)) };
    if let Answer::Failed(Failure { envelope: Some(envelope), retry_class, .. }) = &response.answer {
        return Server::Postpress(envelope, *retry_class);
    }
    let status = head.status;
    match status {
        _ if may_have_started(response) => Server::Other(Finding::fault(
            BASE_URL,
            format!(
                "A SYNC MAY HAVE BEEN STARTED: {base} answered {status} for the chat `{NO_CHAT}`: {:?}",
                response.answer
            ),
            "this contradicts postpress's documentation; find out what answers there before you use it, and tell \
             postpress if it is theirs",
        )),
        200..=299 if response.answer == Answer::Over(Finish::Deleted) => Server::Other(Finding::warning(
            BASE_URL,
            format!("{base} answers CHAT_DELETED for a chat that never existed; a 404 is documented"),
            "nothing was started; tell postpress, or find out what answers there",
        )),
        300..=399 => Server::Other(redirect(base, head)),
        404 | 405 | 410 => {
            Server::WrongPath(format!("{base} answers {status} without an error envelope, so it is not the base URL"))
        }
        _ if is_html(head) => Server::WrongPath(format!("{base} answers {status} with an HTML page")),
        408 | 425 | 429 | 500.. => Server::Other(Finding::warning(
            BASE_URL,
            format!(
                "{base} answers {status} without an error envelope: postpress or a gateway in front of it has a problem"
            ),
            "run `doctor` again later",
        )),
        _ => Server::Other(Finding::fault(
            BASE_URL,
            format!("{base} answers {status} without an error envelope, which postpress never does"),
            "check POSTPRESS_BASE_URL, and whether a proxy, a firewall or a gateway answers in its place",
        )),
    }
}

/// Whether it is a 2xx that reports a sync, running or over, of any chat. `CHAT_DELETED` is not a sync.
fn may_have_started(response: &Response) -> bool {
    let is_success = response.head.as_ref().is_some_and(|head| (200..=299).contains(&head.status) && !is_html(head));
    is_success
        && match &response.answer {
            Answer::Over(finish) => *finish != Finish::Deleted,
            Answer::Unusable(why) => why.contains("SYNC_"),
            // A failed 2xx has a status: an unknown one, or the end of another chat's sync.
            Answer::InProgress(_) | Answer::Failed(_) => true,
        }
}

fn unreachable(answer: &Answer) -> Finding {
    let detail = match answer {
        Answer::Failed(failure) => failure.detail.clone(),
        other => format!("{other:?}"),
    };
    // The detail ends with a short remedy for the log; here there is room for a longer one.
    let detail = detail.split("; check POSTPRESS_BASE_URL").next().unwrap_or_default();
    let remedy = if detail.contains("certificate") {
        "its certificate is not trusted: check POSTPRESS_BASE_URL, this machine's clock, and whether a proxy intercepts \
         TLS; only Mozilla's root certificates, which are compiled in, are trusted"
    } else {
        "check POSTPRESS_BASE_URL, DNS and the firewall; proxy settings of the environment are not used"
    };
    Finding::fault(BASE_URL, detail, remedy)
}

fn redirect(base: &BaseUrl, head: &Head) -> Finding {
    let location = header(head, LOCATION).unwrap_or_default();
    // The query may contain a token.
    let location = location.split(['?', '#']).next().unwrap_or_default();
    let target = bounded(location.replace(&format!("/chats/{NO_CHAT}/sync"), ""), 200).0;
    Finding::fault(
        BASE_URL,
        format!("{base} answers {}, a redirect to `{target}`", head.status),
        "redirects are not followed, because the API key would be sent along; if the target is postpress's, set \
         POSTPRESS_BASE_URL to it",
    )
}

/// What postpress's envelope says about the host.
fn of_host(base: &BaseUrl, envelope: &Envelope) -> Finding {
    let Envelope { status, kind, .. } = envelope;
    if kind != NO_CLIENT_SESSION {
        return Finding::well(BASE_URL, format!("{base} is postpress's"));
    }
    Finding::fault(
        BASE_URL,
        format!("{base} answers {status} {kind}, as postpress does at the wrong host for this workspace"),
        "set POSTPRESS_BASE_URL to the base URL that your postpress dashboard shows",
    )
}

fn not_tried(why: &str, kind: Option<KeyKind>) -> Finding {
    Finding::skipped(KEY, format!("{why}{}", key_kind(kind)))
}

/// The kind of the key, as the end of a sentence.
fn key_kind(kind: Option<KeyKind>) -> &'static str {
    match kind {
        None => "",
        Some(KeyKind::Live) => "; it is a live key (`pp_live_`)",
        Some(KeyKind::Sandbox) => "; it is a sandbox key (`pp_test_`)",
        Some(KeyKind::Unknown) => "; the kind of the key is unknown (neither `pp_live_` nor `pp_test_`)",
    }
}

/// What postpress's envelope says about the key.
fn of_key(envelope: &Envelope, retry_class: RetryClass, key: Option<KeyKind>) -> Finding {
    if key.is_none() {
        return Finding::skipped(KEY, "there is no key to try");
    }
    let finding = judge_key(envelope, retry_class);
    Finding { found: format!("{}{}", finding.found, key_kind(key)), ..finding }
}

fn judge_key(envelope: &Envelope, retry_class: RetryClass) -> Finding {
    let Envelope { status, kind, title, .. } = envelope;
    let is_documented = Operation::of(SubjectKind::Chat).documented_error(kind, *status).is_some();
    let rejected = || {
        let found = format!("postpress rejects the key: {status} {kind}, {title}");
        Finding::fault(KEY, found, "copy the key again from the postpress dashboard, or create a new one there")
    };
    match (status, retry_class) {
        // The catalogue does not have the gateway's errors.
        (401, _) if !is_documented => rejected(),
        (_, RetryClass::Credentials) => rejected(),
        (401 | 403, _) => Finding::fault(
            KEY,
            format!("postpress knows the key, but denies it access: {status} {kind}, {title}"),
            "grant the permission to the key or its account in the postpress dashboard",
        ),
        (_, RetryClass::Retryable) => Finding::unknown(
            KEY,
            format!("postpress did not check it, because of an error: {status} {kind}"),
            "run `doctor` again later",
        ),
        (_, RetryClass::Connecting | RetryClass::Terminal) => {
            Finding::well(KEY, format!("postpress accepts it: {status} {kind} for a chat that does not exist"))
        }
    }
}

/// Compares this clock with the provider's, by the `Date` header, which has whole seconds.
fn of_clock(response: &Response, margin: Duration) -> Option<Finding> {
    let theirs = httpdate::parse_http_date(header(response.head.as_ref()?, DATE)?).ok()?;
    let second = Duration::from_secs(1);
    let ahead = response.sent.duration_since(theirs + second).unwrap_or_default();
    let behind = theirs.duration_since(response.received).unwrap_or_default();
    let skew = ahead.max(behind);
    if skew <= margin {
        return Some(Finding::well(CLOCK, "it agrees with postpress's"));
    }
    let (seconds, direction) = (skew.as_secs_f64(), if ahead > behind { "ahead of" } else { "behind" });
    Some(Finding::warning(
        CLOCK,
        format!("this machine's clock is {seconds:.0} s {direction} postpress's"),
        format!(
            "synchronize it, for example by NTP: two workers whose clocks differ by more than {} s \
             (BRIDGE_LEASE_MARGIN_SECONDS) can restart a sync",
            margin.as_secs_f64()
        ),
    ))
}

fn is_html(head: &Head) -> bool {
    header(head, CONTENT_TYPE).is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html"))
}

fn header(head: &Head, name: http::HeaderName) -> Option<&str> {
    head.headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests;

//! What stands at the base URL, and what it says to the key: one call for a chat that cannot exist.

use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, DATE, LOCATION};

use crate::cli::finding::Finding;
use crate::ids::ChatId;
use crate::postpress::client::{ApiKey, BaseUrl, Client, Head, KeyKind};
use crate::postpress::{Answer, Envelope, Failure, Finish, RetryClass};
use crate::settings::Limits;
use crate::text::bounded;

/// The chat that is asked for, which must not exist, because the call that reads a status also starts a sync.
///
/// The provider gives its chats their ids itself; the documentation's example is `chat_` and a ULID. This is neither, and says
/// of itself that it is not there, so nobody has it. It consists of characters that no URL parser, proxy or gateway changes
/// or takes for a path, so it cannot become another one on the way. The documentation has the answer: 404,
/// `errors/resource_not_found` or `errors/invalid_resource_identifier`. That no id has a `~` is a guess, if a safe one: should
/// a sync begin all the same, it is told loudly. The simulator, where the id is what the chat does, answers 404 too.
const NO_CHAT: &str = "resource_not_found~doctor";

const BASE_URL: &str = "base URL";
const KEY: &str = "API key";
const CLOCK: &str = "clock";

/// What postpress says of every chat and account at the host of another workspace.
const NO_CLIENT_SESSION: &str = "errors/no_client_session";

/// What was heard of one call.
struct Heard {
    answer: Answer,
    /// Absent if nothing was heard.
    head: Option<Head>,
    sent: SystemTime,
    received: SystemTime,
}

/// Asks at the base URL, and where something else stands there, at the provider's other one.
///
/// Without a key it asks under one that is none, which tells of the base URL all the same.
pub(super) async fn look(http: reqwest::Client, base: &BaseUrl, key: Option<ApiKey>, limits: &Limits) -> Vec<Finding> {
    let kind = key.as_ref().map(ApiKey::kind);
    let Some(key) = key.or_else(|| ApiKey::parse(&"none".to_owned().into()).ok()) else { return Vec::new() };
    let client = |base: &BaseUrl| Client::over(http.clone(), base.clone(), key.clone());
    let heard = ask(&client(base), limits).await;
    // Another server's clock tells nothing of ours.
    let clock = || of_clock(&heard, limits.lease_margin);
    match standing(base, &heard) {
        Standing::Postpress(envelope, retry_class) => {
            let key = of_key(envelope, retry_class, kind);
            [of_host(base, envelope), key].into_iter().chain(clock()).collect()
        }
        Standing::Other(finding) => vec![finding, not_tried("postpress did not get to look at it", kind)],
        Standing::WrongPath(found) => {
            let mut right = None;
            for other in base.alternatives() {
                let heard = ask(&client(&other), limits).await;
                match standing(&other, &heard) {
                    Standing::Postpress(envelope, retry_class) => {
                        right = right.or(Some((other, of_key(envelope, retry_class, kind))));
                    }
                    Standing::Other(finding) if may_have_started(&heard) => return vec![finding],
                    Standing::Other(_) | Standing::WrongPath(_) => {}
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
                    vec![
                        Finding::fault(BASE_URL, found, remedy),
                        not_tried("postpress was not found, so it could not be tried", kind),
                    ]
                }
            }
        }
    }
}

async fn ask(client: &Client, limits: &Limits) -> Heard {
    let sent = SystemTime::now();
    let (answer, head) = match ChatId::parse(NO_CHAT) {
        Ok(chat) => client.sync_with_head(&chat, limits.provider_timeout).await,
        Err(error) => (Answer::Unusable(error.to_string()), None),
    };
    Heard { answer, head, sent, received: SystemTime::now() }
}

/// What stands at a base URL.
#[derive(Debug, PartialEq, Eq)]
enum Standing<'a> {
    /// postpress: it answered with its envelope.
    Postpress(&'a Envelope, RetryClass),
    /// Something answers, but not postpress's endpoint: another path may be right.
    WrongPath(String),
    /// Something else, which another path would not mend.
    Other(Finding),
}

fn standing<'a>(base: &BaseUrl, heard: &'a Heard) -> Standing<'a> {
    let Some(head) = &heard.head else { return Standing::Other(unreachable(&heard.answer)) };
    if let Answer::Failed(Failure { envelope: Some(envelope), retry_class, .. }) = &heard.answer {
        return Standing::Postpress(envelope, *retry_class);
    }
    let status = head.status;
    match status {
        _ if may_have_started(heard) => Standing::Other(Finding::fault(
            BASE_URL,
            format!(
                "A SYNC MAY HAVE BEEN STARTED: {base} answered {status} for the chat `{NO_CHAT}`: {:?}",
                heard.answer
            ),
            "this is not how postpress is documented; look at what stands there before you use it, and tell postpress \
             if it is theirs",
        )),
        200..=299 if heard.answer == Answer::Over(Finish::Deleted) => Standing::Other(Finding::warning(
            BASE_URL,
            format!("{base} says CHAT_DELETED of a chat that never was, where a 404 is documented"),
            "nothing was started; tell postpress, or look at what stands there",
        )),
        300..=399 => Standing::Other(redirect(base, head)),
        404 | 405 | 410 => {
            Standing::WrongPath(format!("{base} answers {status} without an error envelope, so it is not the base URL"))
        }
        _ if is_html(head) => Standing::WrongPath(format!("{base} answers {status} with an HTML page")),
        408 | 425 | 429 | 500.. => Standing::Other(Finding::warning(
            BASE_URL,
            format!(
                "{base} answers {status} without an error envelope: postpress, or what stands before it, is not well"
            ),
            "run `doctor` again later",
        )),
        _ => Standing::Other(Finding::fault(
            BASE_URL,
            format!("{base} answers {status} without an error envelope, which postpress does not do"),
            "check POSTPRESS_BASE_URL, and whether a proxy, a firewall or a gateway answers in its place",
        )),
    }
}

/// A 2xx that says that a sync is under way or was, of whatever chat. `CHAT_DELETED` is no sync.
fn may_have_started(heard: &Heard) -> bool {
    let is_success = heard.head.as_ref().is_some_and(|head| (200..=299).contains(&head.status) && !is_html(head));
    is_success
        && match &heard.answer {
            Answer::Over(finish) => *finish != Finish::Deleted,
            Answer::Unusable(why) => why.contains("SYNC_"),
            // A 2xx fails only where it has a status: an unknown one, or the end of another chat's sync.
            Answer::InProgress(_) | Answer::Failed(_) => true,
        }
}

fn unreachable(answer: &Answer) -> Finding {
    let detail = match answer {
        Answer::Failed(failure) => failure.detail.clone(),
        other => format!("{other:?}"),
    };
    // It has a remedy of its own, for the log; here there is room for a longer one.
    let detail = detail.split("; check POSTPRESS_BASE_URL").next().unwrap_or_default();
    let remedy = if detail.contains("certificate") {
        "its certificate is not trusted: check POSTPRESS_BASE_URL and this machine's clock, and whether something in \
         between breaks TLS open; only Mozilla's root certificates are trusted here, which are compiled in"
    } else {
        "check POSTPRESS_BASE_URL, the name service, and whether a firewall lets you through; proxies of the environment \
         are not used"
    };
    Finding::fault(BASE_URL, detail, remedy)
}

fn redirect(base: &BaseUrl, head: &Head) -> Finding {
    let location = header(head, LOCATION).unwrap_or_default();
    // Without its query, where somebody may have put a token.
    let location = location.split(['?', '#']).next().unwrap_or_default();
    let target = bounded(location.replace(&format!("/chats/{NO_CHAT}/sync"), ""), 200).0;
    Finding::fault(
        BASE_URL,
        format!("{base} answers {}, a redirect to `{target}`", head.status),
        "redirects are not followed, because the API key would go along; if that is postpress's address, set \
         POSTPRESS_BASE_URL to it",
    )
}

/// What postpress's envelope says of the host.
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
    Finding::skipped(KEY, format!("{why}{}", words_of(kind)))
}

/// The kind of a key, as the rest of a sentence.
fn words_of(kind: Option<KeyKind>) -> &'static str {
    match kind {
        None => "",
        Some(KeyKind::Live) => "; it is a live key (`pp_live_`)",
        Some(KeyKind::Sandbox) => "; it is a sandbox key (`pp_test_`)",
        Some(KeyKind::Unknown) => "; it is a key of an unknown kind (neither `pp_live_` nor `pp_test_`)",
    }
}

/// What postpress's envelope says of the key.
fn of_key(envelope: &Envelope, retry_class: RetryClass, key: Option<KeyKind>) -> Finding {
    if key.is_none() {
        return Finding::skipped(KEY, "there is none that could be tried");
    }
    let finding = judge_key(envelope, retry_class);
    Finding { found: format!("{}{}", finding.found, words_of(key)), ..finding }
}

fn judge_key(envelope: &Envelope, retry_class: RetryClass) -> Finding {
    let Envelope { status, kind, .. } = envelope;
    let is_documented = crate::postpress::catalogue::find(kind, *status).is_some();
    match (status, retry_class) {
        // What postpress's gateway says of a key is not in the catalogue.
        (401, _) if !is_documented => refused_key(envelope),
        (_, RetryClass::Credentials) => refused_key(envelope),
        (401 | 403, _) => Finding::fault(
            KEY,
            format!("postpress knows the key, and refuses it this: {status} {kind}, {}", envelope.title),
            "give the key, or the account that it belongs to, the right in the postpress dashboard",
        ),
        (_, RetryClass::Retryable) => Finding::unknown(
            KEY,
            format!("postpress did not say, since it is not well: {status} {kind}"),
            "run `doctor` again later",
        ),
        (_, RetryClass::Connecting | RetryClass::Terminal) => {
            Finding::well(KEY, format!("postpress takes it: {status} {kind} for a chat that does not exist"))
        }
    }
}

fn refused_key(envelope: &Envelope) -> Finding {
    let Envelope { status, kind, title, .. } = envelope;
    Finding::fault(
        KEY,
        format!("postpress refuses the key: {status} {kind}, {title}"),
        "copy the key again from the postpress dashboard, or make a new one there",
    )
}

/// The provider's clock against ours, by the `Date` header, which has whole seconds.
fn of_clock(heard: &Heard, margin: Duration) -> Option<Finding> {
    let theirs = httpdate::parse_http_date(header(heard.head.as_ref()?, DATE)?).ok()?;
    let second = Duration::from_secs(1);
    let ahead = heard.sent.duration_since(theirs + second).unwrap_or_default();
    let behind = theirs.duration_since(heard.received).unwrap_or_default();
    let skew = ahead.max(behind);
    if skew <= margin {
        return Some(Finding::well(CLOCK, "it agrees with postpress's"));
    }
    let (seconds, direction) = (skew.as_secs_f64(), if ahead > behind { "ahead of" } else { "behind" });
    Some(Finding::warning(
        CLOCK,
        format!("this machine's clock is {seconds:.0} s {direction} postpress's"),
        format!(
            "set it, for instance by NTP: clocks of two workers that are more than {} s apart \
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

//! Which call a path means.

use percent_encoding::percent_decode_str;

use super::Path;
use crate::ids::{Subject, SubjectKind};
use crate::postpress::Operation;
use crate::postpress::operation::OPERATIONS;

/// Where triggers are sent.
pub const SYNCS: &str = "/v1/syncs";
/// The health check.
pub const HEALTH: &str = "/healthz";
/// The end of the path of a status, after the id.
const SYNC: &str = "/sync";

/// A path that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `/v1/syncs`
    Syncs,
    /// `/v1/chats/{chat_id}/sync` or `/v1/accounts/{account_id}/sync`, with the id or what is wrong with it.
    Sync(SubjectKind, Result<Subject, String>),
    /// `/healthz`
    Health,
}

impl Route {
    /// The route of this path. A trailing slash makes it another path.
    pub fn of(path: &Path) -> Option<Self> {
        let (Path::Encoded(text) | Path::Decoded(text)) = path;
        match text.as_str() {
            SYNCS => Some(Self::Syncs),
            HEALTH => Some(Self::Health),
            text => OPERATIONS.into_iter().find_map(|operation| {
                let kind = operation.kind;
                let id = text.strip_prefix(&before_id(operation))?.strip_suffix(SYNC)?;
                let subject = match path {
                    Path::Encoded(_) if id.contains('/') => return None,
                    Path::Encoded(_) => decode(kind, id).and_then(|id| subject(kind, &id)),
                    Path::Decoded(_) => subject(kind, id),
                };
                Some(Self::Sync(kind, subject))
            }),
        }
    }

    /// The methods that it answers, for the header `Allow`.
    pub fn allow(&self) -> &'static str {
        match self {
            Self::Syncs => "OPTIONS, POST",
            Self::Sync(..) => "DELETE, GET, HEAD, OPTIONS",
            Self::Health => "GET, HEAD, OPTIONS",
        }
    }
}

/// The path of a status, for an encoded id or a placeholder. It is the provider's own.
pub fn sync_path(operation: &Operation, segment: &str) -> String {
    format!("{}{segment}{SYNC}", before_id(operation))
}

fn before_id(operation: &Operation) -> String {
    format!("/v1/{}/", operation.path)
}

fn subject(kind: SubjectKind, id: &str) -> Result<Subject, String> {
    Subject::new(kind, id).map_err(|error| error.to_string())
}

/// Decodes a path segment. Invalid encodings are refused, since they would decode to something the client did not mean.
fn decode(kind: SubjectKind, segment: &str) -> Result<String, String> {
    let field = kind.id_field();
    let digits_follow = |rest: &str| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
    if !segment.split('%').skip(1).all(digits_follow) {
        return Err(format!("`{field}` has a `%` without two hexadecimal digits; write `%` as `%25`"));
    }
    let text = percent_decode_str(segment).decode_utf8();
    text.map(Into::into).map_err(|_| format!("`{field}` is not UTF-8 once decoded; encode its UTF-8 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat_path(segment: &str) -> String {
        sync_path(Operation::of(SubjectKind::Chat), segment)
    }

    /// Describes the route of a path.
    fn describe(path: &Path) -> String {
        match Route::of(path) {
            Some(Route::Syncs) => "syncs".to_owned(),
            Some(Route::Health) => "health".to_owned(),
            Some(Route::Sync(_, Ok(subject))) => format!("{} {}", subject.kind(), subject.id()),
            Some(Route::Sync(_, Err(why))) => why,
            None => "none".to_owned(),
        }
    }

    #[test]
    fn paths_are_matched_exactly() {
        for (path, route) in [
            ("/v1/syncs", "syncs"),
            ("/healthz", "health"),
            ("/v1/chats/c/sync", "chat c"),
            ("/v1/accounts/a%2Fb/sync", "account a/b"),
            ("/v1/accounts/%/sync", "`account_id` has a `%` without two hexadecimal digits; write `%` as `%25`"),
            (
                "/v1/accounts/../sync",
                "`account_id` is a path navigation (`.` or `..`), which a URL cannot contain as a name",
            ),
            ("/v1/teams/t/sync", "none"),
            ("/v1/syncs/", "none"),
            ("/healthz/", "none"),
            ("/v1/chats/c/sync/", "none"),
            ("/V1/syncs", "none"),
            ("//v1/syncs", "none"),
            ("/v1/chats/c", "none"),
            ("/v1/chats/sync", "none"),
            ("/v1/chats/a/b/sync", "none"),
            ("/v1/chats/c/sync%2F", "none"),
            ("/v1%2Fsyncs", "none"),
            ("/", "none"),
            ("", "none"),
        ] {
            assert_eq!(describe(&Path::Encoded(path.to_owned())), route, "{path}");
        }
    }

    #[test]
    fn chat_ids_are_decoded_once() {
        for (segment, found) in [
            ("a%2Fb", "chat a/b"),
            ("a%2fb", "chat a/b"),
            ("%252e%252e", "chat %2e%2e"),
            ("50%25+x", "chat 50%+x"),
            ("%C3%A9", "chat é"),
            ("é", "chat é"),
            ("%F0%9F%92%AC", "chat 💬"),
            ("...", "chat ..."),
            ("", "`chat_id` is empty; name what to sync"),
            (".", "`chat_id` is a path navigation (`.` or `..`), which a URL cannot contain as a name"),
            ("%2e%2E", "`chat_id` is a path navigation (`.` or `..`), which a URL cannot contain as a name"),
            ("a%00", "`chat_id` has a control character; remove it"),
            ("a%0Ab", "`chat_id` has a control character; remove it"),
            ("%C2%85", "`chat_id` has a control character; remove it"),
            ("%", "`chat_id` has a `%` without two hexadecimal digits; write `%` as `%25`"),
            ("a%2", "`chat_id` has a `%` without two hexadecimal digits; write `%` as `%25`"),
            ("%zz", "`chat_id` has a `%` without two hexadecimal digits; write `%` as `%25`"),
            ("%é", "`chat_id` has a `%` without two hexadecimal digits; write `%` as `%25`"),
            ("%FF", "`chat_id` is not UTF-8 once decoded; encode its UTF-8 bytes"),
        ] {
            assert_eq!(describe(&Path::Encoded(chat_path(segment))), found, "{segment}");
        }
        let long = chat_path(&"%C3%A9".repeat(257));
        assert_eq!(describe(&Path::Encoded(long)), "`chat_id` is 514 bytes long; at most 512 are allowed");
    }

    #[test]
    fn decoded_paths_are_not_decoded_again() {
        for (id, found) in [("a/b", "chat a/b"), ("50%25", "chat 50%25"), ("%", "chat %"), ("é?", "chat é?")] {
            assert_eq!(describe(&Path::Decoded(chat_path(id))), found);
        }
        assert_eq!(describe(&Path::Decoded("/v1/chats/sync".to_owned())), "none");
    }
}

//! Which call a path means.

use percent_encoding::percent_decode_str;

use super::Path;
use crate::ids::Subject;

/// Where triggers are sent.
pub const SYNCS: &str = "/v1/syncs";
/// The health check.
pub const HEALTH: &str = "/healthz";
/// The path of a status, before and after the chat id.
const CHAT: (&str, &str) = ("/v1/chats/", "/sync");

/// A path that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `/v1/syncs`
    Syncs,
    /// `/v1/chats/{chat_id}/sync`, with the id or what is wrong with it.
    Chat(Result<Subject, String>),
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
            text => {
                let id = text.strip_prefix(CHAT.0)?.strip_suffix(CHAT.1)?;
                match path {
                    Path::Encoded(_) if id.contains('/') => None,
                    Path::Encoded(_) => Some(Self::Chat(decode(id).and_then(|id| chat(&id)))),
                    Path::Decoded(_) => Some(Self::Chat(chat(id))),
                }
            }
        }
    }

    /// The methods that it answers, for the header `Allow`.
    pub fn allow(&self) -> &'static str {
        match self {
            Self::Syncs => "OPTIONS, POST",
            Self::Chat(_) | Self::Health => "GET, HEAD, OPTIONS",
        }
    }
}

/// The path of a chat's status, for an encoded chat id or a placeholder.
pub fn chat_path(segment: &str) -> String {
    format!("{}{segment}{}", CHAT.0, CHAT.1)
}

fn chat(text: &str) -> Result<Subject, String> {
    Subject::chat(text).map_err(|error| error.to_string())
}

/// Decodes a path segment. Invalid encodings are refused, since they would decode to something the client did not mean.
fn decode(segment: &str) -> Result<String, String> {
    let digits_follow = |rest: &str| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
    if !segment.split('%').skip(1).all(digits_follow) {
        return Err("`chat_id` has a `%` without two hexadecimal digits; write `%` as `%25`".to_owned());
    }
    let text = percent_decode_str(segment).decode_utf8();
    text.map(Into::into).map_err(|_| "`chat_id` is not UTF-8 once decoded; encode its UTF-8 bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Describes the route of a path.
    fn describe(path: &Path) -> String {
        match Route::of(path) {
            Some(Route::Syncs) => "syncs".to_owned(),
            Some(Route::Health) => "health".to_owned(),
            Some(Route::Chat(Ok(subject))) => format!("{} {}", subject.kind(), subject.id()),
            Some(Route::Chat(Err(why))) => why,
            None => "none".to_owned(),
        }
    }

    #[test]
    fn paths_are_matched_exactly() {
        for (path, route) in [
            ("/v1/syncs", "syncs"),
            ("/healthz", "health"),
            ("/v1/chats/c/sync", "chat c"),
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

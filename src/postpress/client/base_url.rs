//! The provider's base URL, `POSTPRESS_BASE_URL`.

use std::fmt;

use url::{Host, Url};

use crate::postpress::SyncCall;

/// The URL that `/chats/{chat_id}/sync` or `/accounts/{account_id}/sync` is appended to: `https`, or `http` on this machine.
///
/// It may have a query, which is sent with every call: postpress accepts a workspace's port that way where custom ports are
/// blocked (`https://api.postpress.ai/v1?port=13111`).
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl {
    /// Everything before the query, without trailing slashes.
    path: String,
    query: Option<String>,
}

/// Why a text is not a base URL. No variant shows the text, which may contain a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBaseUrl {
    /// It is not a URL.
    #[error("the base URL is not a URL ({0}); set it to something like {DEFAULT_BASE_URL}")]
    Malformed(url::ParseError),
    /// It is neither `https` nor `http`.
    #[error("the base URL must begin with https://")]
    Scheme,
    /// It is `http` to another machine.
    #[error("the base URL is http:// to `{0}`, which would send the API key in the clear; use https://")]
    Cleartext(String),
    /// It has a user name or a password.
    #[error("the base URL has a user name or password before an `@`; remove it: the API key has its own setting")]
    UserInfo,
    /// It has a fragment.
    #[error("the base URL has a fragment after a `#`; remove it: a path is appended to the base URL")]
    Fragment,
}

/// The documentation's endpoint line; its curl example has `https://api.postpress.ai/api/v1`.
pub const DEFAULT_BASE_URL: &str = "https://api.postpress.ai/v1";

impl BaseUrl {
    /// Checks a base URL that came from outside, and drops trailing slashes.
    ///
    /// # Errors
    /// Says which rule it breaks and what to do about it.
    pub fn parse(text: &str) -> Result<Self, InvalidBaseUrl> {
        let url = Url::parse(text).map_err(InvalidBaseUrl::Malformed)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidBaseUrl::UserInfo);
        }
        match url.scheme() {
            "https" => {}
            "http" if is_on_this_machine(&url) => {}
            "http" => {
                let host = url.host().map_or_else(String::new, |host| host.to_string());
                return Err(InvalidBaseUrl::Cleartext(host));
            }
            _ => return Err(InvalidBaseUrl::Scheme),
        }
        if url.fragment().is_some() {
            return Err(InvalidBaseUrl::Fragment);
        }
        Ok(Self::from(url))
    }

    /// The documentation's two base URLs at this host, except for this one. Never another host, which would receive the API
    /// key.
    pub fn alternatives(&self) -> Vec<Self> {
        let Ok(url) = Url::parse(&self.path) else { return Vec::new() };
        let at_this_host = ["/v1", "/api/v1"].map(|path| {
            let mut url = url.clone();
            url.set_path(path);
            Self { query: self.query.clone(), ..Self::from(url) }
        });
        at_this_host.into_iter().filter(|other| other != self).collect()
    }

    /// The URL of a call.
    ///
    /// Appended as text: the `url` crate would resolve the path, and an id must not take part in that.
    pub fn sync_of(&self, call: &SyncCall) -> String {
        let path = format!("{}/{}/sync", call.operation().path, call.subject.path_segment());
        self.with(&path, &call.resync.query())
    }

    /// The URL of a path below it, with this query after its own.
    pub(in crate::postpress) fn with(&self, path: &str, query: &str) -> String {
        let queries = self.query.as_deref().into_iter().chain(Some(query).filter(|query| !query.is_empty()));
        let query = queries.collect::<Vec<_>>().join("&");
        let separator = if query.is_empty() { "" } else { "?" };
        format!("{}/{path}{separator}{query}", self.path)
    }
}

/// Whether a request to this URL does not leave this machine.
pub(crate) fn is_on_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl From<Url> for BaseUrl {
    fn from(mut url: Url) -> Self {
        let query = url.query().filter(|query| !query.is_empty()).map(str::to_owned);
        url.set_query(None);
        Self { path: url.as_str().trim_end_matches('/').to_owned(), query }
    }
}

/// For messages. A value in the query is shown only if it is a number, such as a port; any other could be a secret.
impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        for (index, pair) in self.query.iter().flat_map(|query| query.split('&')).enumerate() {
            let separator = if index == 0 { '?' } else { '&' };
            match pair.split_once('=') {
                Some((name, value)) if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                    write!(f, "{separator}{name}={value}")?;
                }
                Some((name, _)) => write!(f, "{separator}{name}=…")?,
                None => write!(f, "{separator}…")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;
    use crate::ids::Subject;
    use crate::postpress::Resync;

    #[test]
    fn alternatives_keep_the_host() {
        for (text, others) in [
            ("https://api.postpress.ai/v1", &["https://api.postpress.ai/api/v1"][..]),
            ("https://api.postpress.ai/api/v1", &["https://api.postpress.ai/v1"]),
            ("http://127.0.0.1:4807", &["http://127.0.0.1:4807/v1", "http://127.0.0.1:4807/api/v1"]),
            ("https://a.example/x/v1", &["https://a.example/v1", "https://a.example/api/v1"]),
            ("https://a.example/v1?port=13111", &["https://a.example/api/v1?port=13111"]),
        ] {
            let alternatives = BaseUrl::parse(text).unwrap().alternatives();
            let alternatives: Vec<String> = alternatives.iter().map(ToString::to_string).collect();
            assert_eq!(alternatives, others, "{text}");
        }
    }

    #[test]
    fn trailing_slashes_are_dropped() {
        for (text, kept) in [
            ("https://api.postpress.ai/v1", "https://api.postpress.ai/v1"),
            ("https://api.postpress.ai/api/v1/", "https://api.postpress.ai/api/v1"),
            ("https://api.postpress.ai//", "https://api.postpress.ai"),
            ("https://api.postpress.ai:8443", "https://api.postpress.ai:8443"),
            ("HTTPS://API.postpress.ai/V1", "https://api.postpress.ai/V1"),
            ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
            ("http://127.9.9.9", "http://127.9.9.9"),
            ("http://localhost:1/", "http://localhost:1"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(BaseUrl::parse(text).unwrap().to_string(), kept);
        }
        assert_eq!(BaseUrl::parse(DEFAULT_BASE_URL).unwrap().to_string(), DEFAULT_BASE_URL);
    }

    #[test]
    fn invalid_base_urls_are_refused_with_the_reason() {
        use InvalidBaseUrl::{Cleartext, Fragment, Malformed, Scheme, UserInfo};
        for (text, why) in [
            ("", Malformed(url::ParseError::RelativeUrlWithoutBase)),
            ("api.postpress.ai/v1", Malformed(url::ParseError::RelativeUrlWithoutBase)),
            ("https://", Malformed(url::ParseError::EmptyHost)),
            ("ftp://api.postpress.ai", Scheme),
            ("file:///etc/passwd", Scheme),
            ("http://api.postpress.ai/v1", Cleartext("api.postpress.ai".to_owned())),
            ("http://localhost.example.com", Cleartext("localhost.example.com".to_owned())),
            ("http://128.0.0.1", Cleartext("128.0.0.1".to_owned())),
            ("http://0.0.0.0", Cleartext("0.0.0.0".to_owned())),
            ("http://[::2]", Cleartext("[::2]".to_owned())),
            ("https://user@api.postpress.ai/v1", UserInfo),
            ("https://:hunter2@api.postpress.ai/v1", UserInfo),
            ("http://user:hunter2@api.postpress.ai/v1", UserInfo),
            ("https://api.postpress.ai/v1#hunter2", Fragment),
            ("https://api.postpress.ai/v1?port=1#hunter2", Fragment),
        ] {
            let error = BaseUrl::parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{text}");
            assert_eq!(error, why, "{text}");
        }
    }

    #[test]
    fn query_is_sent_with_every_call_and_shown_only_if_numeric() {
        let chat = Subject::chat("a?b/c").unwrap().into();
        for (text, sent, shown) in [
            ("https://a.example/v1?port=13111", "/v1/chats/a%3Fb%2Fc/sync?port=13111", "/v1?port=13111"),
            ("https://a.example/v1/?port=13111", "/v1/chats/a%3Fb%2Fc/sync?port=13111", "/v1?port=13111"),
            ("https://a.example?port=1&t=hunter2", "/chats/a%3Fb%2Fc/sync?port=1&t=hunter2", "?port=1&t=…"),
            ("https://a.example/v1?hunter2", "/v1/chats/a%3Fb%2Fc/sync?hunter2", "/v1?…"),
            ("https://a.example/v1?x=a%20b", "/v1/chats/a%3Fb%2Fc/sync?x=a%20b", "/v1?x=…"),
            ("https://a.example/v1?", "/v1/chats/a%3Fb%2Fc/sync", "/v1"),
        ] {
            let base = BaseUrl::parse(text).unwrap();
            assert_eq!(base.sync_of(&chat), format!("https://a.example{sent}"));
            assert_eq!(base.to_string(), format!("https://a.example{shown}"));
            assert!(!format!("{base:?}").contains("hunter2"), "{base:?}");
        }
    }

    #[test]
    fn options_follow_the_query_of_the_base_url() {
        let resync = Resync { partial: Some(true), after: Some(7), ..Resync::default() };
        let call = SyncCall { subject: Subject::account("a/1").unwrap(), resync };
        for (base, url) in [
            ("https://a.example/v1", "https://a.example/v1/accounts/a%2F1/sync?partial=true&after=7"),
            ("https://a.example/v1?port=1", "https://a.example/v1/accounts/a%2F1/sync?port=1&partial=true&after=7"),
        ] {
            assert_eq!(BaseUrl::parse(base).unwrap().sync_of(&call), url);
        }
    }

    proptest! {
        #[test]
        fn every_chat_id_is_one_path_segment(text in "[^\\p{Cc}]{1,100}|[./%2eE?#\\\\]{1,12}") {
            prop_assume!(Subject::chat(&text).is_ok());
            let base = BaseUrl::parse("https://api.postpress.ai/v1").unwrap();
            let url = Url::parse(&base.sync_of(&Subject::chat(&text).unwrap().into())).unwrap();
            let segments: Vec<_> = url.path_segments().unwrap().map(|part| percent_decode_str(part).decode_utf8().unwrap()).collect();
            prop_assert_eq!(segments, ["v1", "chats", &text, "sync"]);
            prop_assert_eq!((url.host_str(), url.query(), url.fragment()), (Some("api.postpress.ai"), None, None));
        }
    }
}

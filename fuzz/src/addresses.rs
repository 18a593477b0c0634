//! The base URL and the chat id, of which the address of a call is made.
//!
//! An input is a line with the base URL; what follows is the chat id.

use percent_encoding::percent_decode_str;
use postpress_bridge::ids::Subject;
use postpress_bridge::postpress::client::BaseUrl;
use url::{Host, Url};

/// # Panics
/// Where a call would go elsewhere than to the base URL, or would say something else than the chat.
pub fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (base, chat) = text.split_once('\n').unwrap_or((&text, ""));
    let base_url = BaseUrl::parse(base);
    if let Ok(base_url) = &base_url {
        check_base_url(base_url);
    }
    let Ok(chat) = Subject::chat(chat) else { return };
    check_chat_id(&chat);
    let Ok(base_url) = base_url else {
        return check_address(&BaseUrl::parse("https://api.postpress.ai/v1").expect("it is one"), None, &chat);
    };
    check_address(&base_url, Url::parse(base).ok().as_ref().and_then(Url::query), &chat);
}

fn check_base_url(base_url: &BaseUrl) {
    let text = base_url.to_string();
    // Values in a query are shown only if they are numbers.
    if !text.contains('…') {
        assert_eq!(BaseUrl::parse(&text).as_ref(), Ok(base_url), "{text} is not what it says");
    }
    let url = Url::parse(&text).expect("it was one before");
    assert_eq!((url.username(), url.password(), url.fragment()), ("", None, None), "{text}");
    let stays_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.octets()[0] == 127,
        Some(Host::Ipv6(address)) => address.segments() == [0, 0, 0, 0, 0, 0, 0, 1],
        None => panic!("{text} has no host"),
    };
    assert!(url.scheme() == "https" || url.scheme() == "http" && stays_here, "{text} would send the key in the clear");
}

fn check_chat_id(chat: &Subject) {
    let segment = chat.path_segment();
    assert!(segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)), "{segment}");
    assert_eq!(percent_decode_str(&segment).decode_utf8().as_deref(), Ok(chat.id()));
}

/// The address is the base's with three more segments, also for a parser that resolves what looks like navigation, and with
/// the base's query.
fn check_address(base_url: &BaseUrl, query: Option<&str>, chat: &Subject) {
    let base = Url::parse(&base_url.to_string()).expect("it was one before");
    let address = Url::parse(&base_url.sync_of(&chat.clone().into())).expect("it is one");
    assert_eq!(address.origin(), base.origin());
    let query = query.filter(|query| !query.is_empty());
    assert_eq!((address.query(), address.fragment()), (query, None), "{address}");
    let segment = chat.path_segment();
    let expected = format!("{}/chats/{segment}/sync", base.path().trim_end_matches('/'));
    assert_eq!(address.path(), expected);
}

//! The list of an account's chats: `GET /chats`, a page at a time.
//!
//! Unlike the call for a sync, this one has no effect, so that it may be repeated after a failure. A chat must not get lost on the
//! way from the list to its sync: what cannot be read is reported, and a list that contradicts itself is an error.
//!
//! postpress documents a page as `{"object": "ChatList", "items": […], "cursor"}`, and on its quickstart page as
//! `{"data": […], "next_cursor"}`. Both are read.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use super::body::{Body, Object};
use super::client::Client;
use super::envelope::LABEL_MAX_BYTES;
use super::{Failure, Mask, RetryClass};
use crate::ids::{AccountId, ChatId, Subject, SubjectId, Workspace, percent_encoded};
use crate::json;
use crate::text::bounded;
use crate::time::Millis;

/// The most chats of a page: the documented maximum.
const CHATS_MAX: usize = 250;
/// The most bytes of a page. An item has documented texts of a few hundred bytes, and may have others.
const PAGE_MAX_BYTES: usize = 8 * 1024 * 1024;
/// The longest cursor, which has to fit into a URL.
const CURSOR_MAX_BYTES: usize = 4 * 1024;
/// The `object` of a page that has one.
const OBJECT: &str = "ChatList";

/// Which chats of an account to list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChatQuery {
    /// The workspace that the account belongs to.
    #[serde(skip_serializing_if = "Workspace::is_default")]
    pub workspace: Workspace,
    /// The account.
    pub account: AccountId,
    /// Only chats with unread messages.
    pub unread: bool,
    /// Only what is older than this.
    pub before: Option<Millis>,
    /// Only what is newer than this.
    pub after: Option<Millis>,
}

/// Where a page begins, as the page before it says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cursor(String);

/// One page of the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChatPage {
    /// Its chats, in the provider's order.
    pub chats: Vec<ChatId>,
    /// What is wrong with each other item: bounded, and without secrets.
    pub unreadable: Vec<String>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Cursor>,
}

impl Client {
    /// Reads the page at `cursor`, or the first one, with one call.
    ///
    /// # Errors
    /// A failure whose class is [`RetryClass::Retryable`] may pass if the call is repeated. Any other has to be resolved first.
    pub async fn chats(
        &self,
        query: &ChatQuery,
        cursor: Option<&Cursor>,
        deadline: Duration,
    ) -> Result<ChatPage, Failure> {
        let url = self.base_url().with("chats", &query.to_text(cursor));
        let (head, body) = self.get(url, PAGE_MAX_BYTES, deadline).await?;
        let (status, retry_after, mask) = (head.status, head.retry_after(), self.api_key().mask());
        if !(200..=299).contains(&status) {
            return Err(Failure::from_response(&query.subject(), status, retry_after, &body, mask));
        }
        ChatPage::parse(query, &body, mask).map_err(|Unusable { retry_class, reason }| Failure {
            retry_class,
            envelope: None,
            status: 502,
            detail: format!("postpress answered {status}, but {reason}"),
            retry_after,
            may_land_late: false,
        })
    }
}

impl ChatQuery {
    /// All chats of an account.
    pub fn all(account: AccountId) -> Self {
        Self { workspace: Workspace::DEFAULT, account, unread: false, before: None, after: None }
    }

    /// The account.
    pub fn subject(&self) -> Subject {
        Subject::from(SubjectId::Account(self.account.clone())).in_workspace(self.workspace.clone())
    }

    fn to_text(&self, cursor: Option<&Cursor>) -> String {
        let time = |time: Option<Millis>| time.map(|time| percent_encoded(&time.to_string()));
        let pairs = [
            ("account_id", Some(percent_encoded(self.account.as_str()))),
            ("limit", Some(CHATS_MAX.to_string())),
            ("unread", self.unread.then(|| "true".to_owned())),
            ("before", time(self.before)),
            ("after", time(self.after)),
            ("cursor", cursor.map(|Cursor(text)| percent_encoded(text))),
        ];
        let pairs = pairs.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?)));
        pairs.collect::<Vec<_>>().join("&")
    }
}

/// Why a 2xx is not a page.
#[derive(Debug, PartialEq, Eq)]
struct Unusable {
    retry_class: RetryClass,
    reason: String,
}

impl ChatPage {
    fn parse(query: &ChatQuery, body: &Body, mask: Mask<'_>) -> Result<Self, Unusable> {
        // A page that is damaged on the way may arrive whole the next time.
        let damaged = |reason| Unusable { retry_class: RetryClass::Retryable, reason };
        if let Some(fault) = body.fault() {
            return Err(damaged(fault.to_string()));
        }
        let page = body.object().map_err(|no_object| damaged(no_object.to_string()))?;
        Self::of(query, &page, mask).map_err(|reason| Unusable { retry_class: RetryClass::Terminal, reason })
    }

    fn of(query: &ChatQuery, page: &Object<'_>, mask: Mask<'_>) -> Result<Self, String> {
        let show = |text: String| bounded(mask.hide_in(text), LABEL_MAX_BYTES).0;
        if page.has("object") && page.text("object").as_deref() != Some(OBJECT) {
            let found =
                page.text("object").map_or_else(|| "unreadable".to_owned(), |found| format!("{:?}", show(found)));
            return Err(format!("its `object` is {found}, not {OBJECT:?}"));
        }
        let items = match (page.array("items"), page.array("data")) {
            (Some(items), None) | (None, Some(items)) => items,
            (Some(_), Some(_)) => return Err("it has two lists, `items` and `data`".to_owned()),
            (None, None) => return Err("it has no list of chats, neither `items` nor `data`".to_owned()),
        };
        let mut chats = Self { next: next(page)?, ..Self::default() };
        for (place, item) in items.into_iter().enumerate() {
            match chat(query, item) {
                Item::Chat(chat) => chats.chats.push(chat),
                Item::Unreadable(reason) => chats.unreadable.push(show(format!("item {} {reason}", place + 1))),
                Item::OfAnother(account) => {
                    let account = account
                        .map_or_else(|| "an unreadable one".to_owned(), |account| format!("{:?}", show(account)));
                    return Err(format!("item {} is of another account, {account}", place + 1));
                }
            }
        }
        Ok(chats)
    }
}

/// Where the next page begins. Anything but a text, null or nothing is an error, because the rest of the list would be lost.
fn next(page: &Object<'_>) -> Result<Option<Cursor>, String> {
    let name = if page.names("next_cursor") { "next_cursor" } else { "cursor" };
    if !page.has(name) {
        return Ok(None);
    }
    match page.text(name) {
        Some(text) if text.is_empty() => Ok(None),
        Some(text) if text.len() <= CURSOR_MAX_BYTES => Ok(Some(Cursor(text))),
        Some(text) => Err(format!("its `{name}` has {} bytes; at most {CURSOR_MAX_BYTES} are read", text.len())),
        None => Err(format!("its `{name}` is not a text")),
    }
}

/// An item of a page.
enum Item {
    Chat(ChatId),
    /// What is wrong with it.
    Unreadable(String),
    OfAnother(Option<String>),
}

fn chat(query: &ChatQuery, item: &RawValue) -> Item {
    let Some(chat) = Object::of(item) else { return Item::Unreadable(format!("is {}", json::kind(item.get()))) };
    let account = chat.text("account_id");
    if chat.has("account_id") && account.as_deref() != Some(query.account.as_str()) {
        return Item::OfAnother(account);
    }
    match chat.text("id").map(|id| (ChatId::parse(&id), id)) {
        Some((Ok(chat), _)) => Item::Chat(chat),
        Some((Err(invalid), id)) => Item::Unreadable(format!("has an `id` that {}: {id:?}", invalid.fault)),
        None => Item::Unreadable("has no readable `id`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn query() -> ChatQuery {
        ChatQuery::all(AccountId::parse("a").unwrap())
    }

    fn parse(body: &str) -> Result<ChatPage, Unusable> {
        ChatPage::parse(&query(), &Body::whole(body), Mask::NONE)
    }

    fn page(ids: &[&str], next: Option<&str>) -> ChatPage {
        let chats = ids.iter().map(|id| ChatId::parse(id).unwrap()).collect();
        ChatPage { chats, unreadable: Vec::new(), next: next.map(|text| Cursor(text.to_owned())) }
    }

    #[test]
    fn both_forms_of_a_page_are_read() {
        for (body, expected) in [
            (
                r#"{"object": "ChatList", "items": [{"id": "x", "account_id": "a", "name": null}, {"id": "y/1"}], "cursor": "c=1"}"#,
                page(&["x", "y/1"], Some("c=1")),
            ),
            (r#"{"data": [{"id": "x"}], "next_cursor": "n"}"#, page(&["x"], Some("n"))),
            (r#"{"items": [{"id": "x", "account_id": null}], "cursor": null}"#, page(&["x"], None)),
            (r#"{"items": [], "cursor": ""}"#, page(&[], None)),
            (r#"{"items": []}"#, page(&[], None)),
            (r#"{"data": [], "cursor": "of this page", "next_cursor": null}"#, page(&[], None)),
            (r#"{"items": [], "data": null, "cursor": "c"}"#, page(&[], Some("c"))),
            ("\u{feff}<br />notice{\"items\": [{\"id\": \"x\"}], \"cursor\": null}\n", page(&["x"], None)),
        ] {
            assert_eq!(parse(body), Ok(expected), "{body}");
        }
    }

    #[test]
    fn what_is_no_page_is_an_error_and_may_pass_only_if_it_was_damaged() {
        use RetryClass::{Retryable, Terminal};
        let long = json!({"items": [], "cursor": "x".repeat(CURSOR_MAX_BYTES + 1)}).to_string();
        for (body, retry_class, reason) in [
            ("", Retryable, "the body is empty"),
            ("<html>", Retryable, "the body is not a JSON object"),
            (r#"{"items": [{"id": "x"#, Retryable, "cut short"),
            ("[]", Retryable, "the body is not a JSON object"),
            (r#"{"object": "MessageList", "items": []}"#, Terminal, r#"its `object` is "MessageList""#),
            (r#"{"object": "ChatList"}"#, Terminal, "neither `items` nor `data`"),
            (r#"{"items": {"id": "x"}}"#, Terminal, "neither `items` nor `data`"),
            (r#"{"items": [], "data": []}"#, Terminal, "two lists"),
            (r#"{"items": [], "items": []}"#, Terminal, "neither `items` nor `data`"),
            (r#"{"items": [], "cursor": 7}"#, Terminal, "its `cursor` is not a text"),
            (r#"{"items": [], "cursor": "a", "cursor": "b"}"#, Terminal, "its `cursor` is not a text"),
            (&long, Terminal, "its `cursor` has 4097 bytes"),
            (
                r#"{"items": [{"id": "x"}, {"id": "y", "account_id": "b"}]}"#,
                Terminal,
                r#"item 2 is of another account, "b""#,
            ),
            (
                r#"{"items": [{"id": "x", "account_id": 7}]}"#,
                Terminal,
                "item 1 is of another account, an unreadable one",
            ),
        ] {
            let unusable = parse(body).unwrap_err();
            assert!(unusable.retry_class == retry_class && unusable.reason.contains(reason), "{body}: {unusable:?}");
        }
        let cut = Body::arrived(br#"{"items": [], "cursor": null}"#.to_vec(), Some(super::super::BodyFault::Cut));
        assert_eq!(ChatPage::parse(&query(), &cut, Mask::NONE).unwrap_err().retry_class, Retryable);
    }

    #[test]
    fn items_without_a_usable_id_are_reported_and_bounded() {
        let long = "x".repeat(600);
        let items = json!([{"id": "good"}, {"name": "no id"}, {"id": 7}, {"id": ""}, {"id": ".."}, {"id": "a\nb"}, {"id": long}, 7, null]);
        let page = parse(&json!({ "items": items, "cursor": "c" }).to_string()).unwrap();
        assert_eq!((page.chats, page.next), (vec![ChatId::parse("good").unwrap()], Some(Cursor("c".to_owned()))));
        let reasons = [
            "item 2 has no readable `id`",
            "item 3 has no",
            "item 4 has an `id` that is empty",
            "item 5 has an `id` that is a path",
            "item 6 has an `id` that has a control character; remove it: \"a\\nb\"",
            "item 7 has an `id` that is 600 bytes long",
            "item 8 is a number",
            "item 9 is null",
        ];
        assert_eq!(page.unreadable.len(), reasons.len(), "{:?}", page.unreadable);
        for (found, reason) in page.unreadable.iter().zip(reasons) {
            assert!(found.starts_with(reason) && found.len() <= LABEL_MAX_BYTES, "{found}");
        }
    }

    #[test]
    fn key_is_hidden_in_what_is_reported() {
        let body = Body::whole(r#"{"items": [{"id": "pp_live_1\n"}]}"#);
        let page = ChatPage::parse(&query(), &body, Mask::new("pp_live_1")).unwrap();
        assert!(page.unreadable[0].contains("[secret]"), "{:?}", page.unreadable);
    }

    #[test]
    fn query_has_the_filters_and_the_cursor_encoded() {
        assert_eq!(query().to_text(None), "account_id=a&limit=250");
        let (before, after) = (Some(Millis(1_795_514_400_000)), Some(Millis(7)));
        let filtered = ChatQuery { unread: true, before, after, ..ChatQuery::all(AccountId::parse("a,&b").unwrap()) };
        assert_eq!(
            filtered.to_text(Some(&Cursor("c=/+".to_owned()))),
            "account_id=a%2C%26b&limit=250&unread=true&before=2026-11-24T10%3A00%3A00.000Z&\
             after=1970-01-01T00%3A00%3A00.007Z&cursor=c%3D%2F%2B"
        );
    }
}

//! The list of a simulated account's chats: pages of either form, with filters.

use clap::{Args, ValueEnum};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::reply::{Reply, json_reply};
use crate::ids::AccountId;
use crate::time::Millis;

/// When the first simulated chat had its last message; each one after it had it a day later.
const FIRST_MESSAGE: Millis = Millis(1_767_225_600_000); // 2026-01-01
const DAY_MS: u64 = 86_400_000;
/// The documented maximum and default of `limit`.
const LIMIT_MAX: u64 = 250;
const LIMIT_DEFAULT: u64 = 100;

/// The chats of each simulated account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct ChatLists {
    /// How many chats an account has: those of account `done-in-5s` are `done-in-5s~1`, `done-in-5s~2`, …
    #[arg(long, default_value_t = Self::default().chats, value_name = "N")]
    pub chats: u64,

    /// The form of a page of chats: postpress documents both
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub page_form: PageForm,
}

/// The form of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum PageForm {
    /// `{"object": "ChatList", "items": […], "cursor"}`
    #[default]
    Items,
    /// `{"data": […], "next_cursor"}`
    Data,
}

impl Default for ChatLists {
    fn default() -> Self {
        Self { chats: 3, page_form: PageForm::default() }
    }
}

/// A request for a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListCall {
    pub(super) account: AccountId,
    limit: u64,
    /// How many chats there are before the page.
    skipped: u64,
    unread: Option<bool>,
    before: Option<Millis>,
    after: Option<Millis>,
}

impl ListCall {
    /// Reads a query; an error is the name of the documented error. Other parameters are ignored.
    pub(super) fn from_query(query: &str) -> Result<Self, &'static str> {
        const INVALID: &str = "invalid_parameters";
        let mut account = None;
        let (mut limit, mut skipped, mut unread, mut before, mut after) = (LIMIT_DEFAULT, 0, None, None, None);
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let value = percent_decode_str(value).decode_utf8().map_err(|_| INVALID)?;
            let time = || Millis::parse_rfc3339(&value).map(Some).ok_or(INVALID);
            match name {
                "account_id" => account = Some(AccountId::parse(&value).map_err(|_| INVALID)?),
                "limit" => limit = value.parse().map_err(|_| INVALID)?,
                "cursor" => skipped = value.strip_prefix("after=").and_then(|n| n.parse().ok()).ok_or(INVALID)?,
                "unread" => unread = Some(value.parse().map_err(|_| INVALID)?),
                "before" => before = time()?,
                "after" => after = time()?,
                _ => {}
            }
        }
        match limit {
            0 => Err(INVALID),
            1..=LIMIT_MAX => {
                let account = account.ok_or("missing_parameters")?;
                Ok(Self { account, limit, skipped, unread, before, after })
            }
            _ => Err("limit_too_high"),
        }
    }

    fn selects(&self, chat: u64) -> bool {
        let last_message = last_message(chat);
        self.unread.is_none_or(|unread| unread == is_unread(chat))
            && self.before.is_none_or(|before| last_message < before)
            && self.after.is_none_or(|after| last_message > after)
    }
}

impl ChatLists {
    /// The page that the call asks for.
    pub(super) fn page(&self, call: &ListCall) -> Reply {
        let mut items = Vec::new();
        let mut cursor = None;
        for chat in call.skipped.saturating_add(1)..=self.chats {
            if call.selects(chat) {
                if items.len() as u64 == call.limit {
                    cursor = Some(format!("after={}", chat - 1));
                    break;
                }
                items.push(json!({
                    "object": "Chat",
                    "id": format!("{}~{chat}", call.account),
                    "account_id": call.account,
                    "name": format!("Chat {chat}"),
                    "unread_count": u8::from(is_unread(chat)),
                    "timestamp": last_message(chat).to_string(),
                }));
            }
        }
        match self.page_form {
            PageForm::Items => json_reply(&json!({ "object": "ChatList", "items": items, "cursor": cursor })),
            PageForm::Data => json_reply(&json!({ "data": items, "next_cursor": cursor })),
        }
    }
}

/// Every other chat has unread messages.
fn is_unread(chat: u64) -> bool {
    chat % 2 == 1
}

fn last_message(chat: u64) -> Millis {
    Millis(FIRST_MESSAGE.0.saturating_add(chat.saturating_sub(1).saturating_mul(DAY_MS)))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn page(lists: ChatLists, query: &str) -> Value {
        serde_json::from_str(&lists.page(&ListCall::from_query(query).unwrap()).body).unwrap()
    }

    fn ids(items: &Value) -> Vec<&str> {
        items.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
    }

    #[test]
    fn pages_follow_each_other_in_both_forms() {
        for (page_form, items, cursor) in
            [(PageForm::Items, "items", "cursor"), (PageForm::Data, "data", "next_cursor")]
        {
            let lists = ChatLists { chats: 5, page_form };
            let first = page(lists, "account_id=a%2F1&limit=2&port=1");
            assert_eq!((ids(&first[items]), &first[cursor]), (vec!["a/1~1", "a/1~2"], &json!("after=2")));
            let second = page(lists, "account_id=a%2F1&limit=2&cursor=after%3D2");
            assert_eq!((ids(&second[items]), &second[cursor]), (vec!["a/1~3", "a/1~4"], &json!("after=4")));
            let last = page(lists, "account_id=a%2F1&limit=2&cursor=after=4");
            assert_eq!((ids(&last[items]), &last[cursor]), (vec!["a/1~5"], &Value::Null));
        }
    }

    #[test]
    fn filters_select_chats() {
        let lists = ChatLists { chats: 5, ..ChatLists::default() };
        for (filter, expected) in [
            ("unread=true", &["a~1", "a~3", "a~5"][..]),
            ("unread=false&limit=1", &["a~2"]),
            ("after=2026-01-02T00:00:00.000Z", &["a~3", "a~4", "a~5"]),
            ("before=2026-01-02T00:00:00Z&unread=true", &["a~1"]),
            ("after=2026-01-04T00:00:00Z&before=2026-01-04T00:00:00Z", &[]),
        ] {
            assert_eq!(ids(&page(lists, &format!("account_id=a&{filter}"))["items"]), expected, "{filter}");
        }
    }

    #[test]
    fn invalid_queries_are_documented_errors() {
        for (query, error) in [
            ("", "missing_parameters"),
            ("account_id=", "invalid_parameters"),
            ("account_id=a&limit=0", "invalid_parameters"),
            ("account_id=a&limit=251", "limit_too_high"),
            ("account_id=a&cursor=x", "invalid_parameters"),
            ("account_id=a&after=yesterday", "invalid_parameters"),
            ("account_id=a&unread=1", "invalid_parameters"),
        ] {
            assert_eq!(ListCall::from_query(query), Err(error), "{query}");
        }
    }
}

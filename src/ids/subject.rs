//! What a run syncs: a chat or an account, by the provider's id.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::Workspace;

/// The longest id of a chat or an account, in bytes.
pub const ID_MAX_BYTES: usize = 512;

/// What kind of thing a run syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubjectKind {
    /// A chat.
    Chat,
    /// An account, with all its chats.
    Account,
}

impl SubjectKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Chat, Self::Account];

    /// The kind in a word, as in the run table's keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Account => "account",
        }
    }

    /// The name of a field with an id of this kind.
    pub fn id_field(self) -> &'static str {
        match self {
            Self::Chat => "chat_id",
            Self::Account => "account_id",
        }
    }
}

impl fmt::Display for SubjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A chat, as the kind of an [`Id`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Chat {}

/// An account, as the kind of an [`Id`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Account {}

/// The kind of an [`Id`], as a type.
pub trait IdOf {
    /// The same as a value.
    const KIND: SubjectKind;
}

impl IdOf for Chat {
    const KIND: SubjectKind = SubjectKind::Chat;
}

impl IdOf for Account {
    const KIND: SubjectKind = SubjectKind::Account;
}

/// An id from the provider: not empty, at most [`ID_MAX_BYTES`], no control characters, neither `.` nor `..`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id<K> {
    text: String,
    kind: PhantomData<K>,
}

/// The provider's id of a chat.
pub type ChatId = Id<Chat>;
/// The provider's id of an account.
pub type AccountId = Id<Account>;

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{}` {fault}", kind.id_field())]
pub struct InvalidId {
    /// The kind of the id.
    pub kind: SubjectKind,
    /// The rule that it breaks.
    pub fault: IdFault,
}

/// A rule for ids that a text breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdFault {
    /// It is empty.
    #[error("is empty; name what to sync")]
    Empty,
    /// It is longer than [`ID_MAX_BYTES`].
    #[error("is {0} bytes long; at most {ID_MAX_BYTES} are allowed")]
    TooLong(usize),
    /// It has a control character.
    #[error("has a control character; remove it")]
    ControlCharacter,
    /// It is `.` or `..`, which every URL parser resolves as navigation, even if percent-encoded.
    #[error("is a path navigation (`.` or `..`), which a URL cannot contain as a name")]
    Navigation,
}

/// The characters that are not encoded in a path segment: RFC 3986's unreserved ones.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as one segment of a URL's path, or as a value in its query.
pub fn percent_encoded(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

impl<K: IdOf> Id<K> {
    /// Checks an id that came from outside.
    ///
    /// # Errors
    /// Says which rule it breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let fault = if text.is_empty() {
            IdFault::Empty
        } else if text.len() > ID_MAX_BYTES {
            IdFault::TooLong(text.len())
        } else if text.chars().any(char::is_control) {
            IdFault::ControlCharacter
        } else if text == "." || text == ".." {
            IdFault::Navigation
        } else {
            return Ok(Self { text: text.to_owned(), kind: PhantomData });
        };
        Err(InvalidId { kind: K::KIND, fault })
    }

    /// The id as the provider writes it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl<K> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<K> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl<K> Serialize for Id<K> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de, K: IdOf> Deserialize<'de> for Id<K> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl<K> JsonSchema for Id<K> {
    fn schema_name() -> Cow<'static, str> {
        "Id".into()
    }

    fn inline_schema() -> bool {
        true
    }

    /// The rules of [`Id::parse`], except that JSON Schema counts characters rather than bytes.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": ID_MAX_BYTES,
            "not": { "anyOf": [{ "enum": [".", ".."] }, { "type": "string", "pattern": r"[\u0000-\u001f\u007f-\u009f]" }] },
        })
    }
}

/// The id of what a run syncs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubjectId {
    /// A chat's.
    Chat(ChatId),
    /// An account's.
    Account(AccountId),
}

/// What a run syncs, and the workspace that it is called in.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    workspace: Workspace,
    id: SubjectId,
}

impl From<SubjectId> for Subject {
    /// In the default workspace.
    fn from(id: SubjectId) -> Self {
        Self { workspace: Workspace::DEFAULT, id }
    }
}

impl Subject {
    /// Checks an id of this kind that came from outside. The subject is in the default workspace.
    ///
    /// # Errors
    /// Says which rule it breaks.
    pub fn new(kind: SubjectKind, id: &str) -> Result<Self, InvalidId> {
        let id = match kind {
            SubjectKind::Chat => SubjectId::Chat(Id::parse(id)?),
            SubjectKind::Account => SubjectId::Account(Id::parse(id)?),
        };
        Ok(id.into())
    }

    /// The chat of an id that came from outside, in the default workspace.
    ///
    /// # Errors
    /// Says which rule the id breaks.
    pub fn chat(id: &str) -> Result<Self, InvalidId> {
        Self::new(SubjectKind::Chat, id)
    }

    /// The account of an id that came from outside, in the default workspace.
    ///
    /// # Errors
    /// Says which rule the id breaks.
    pub fn account(id: &str) -> Result<Self, InvalidId> {
        Self::new(SubjectKind::Account, id)
    }

    /// The chat or account with this id in another workspace, which is another subject.
    #[must_use]
    pub fn in_workspace(self, workspace: Workspace) -> Self {
        Self { workspace, ..self }
    }

    /// The workspace that it is called in.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Its kind.
    pub fn kind(&self) -> SubjectKind {
        match &self.id {
            SubjectId::Chat(_) => SubjectKind::Chat,
            SubjectId::Account(_) => SubjectKind::Account,
        }
    }

    /// Its id, as the provider writes it.
    pub fn id(&self) -> &str {
        match &self.id {
            SubjectId::Chat(id) => id.as_str(),
            SubjectId::Account(id) => id.as_str(),
        }
    }

    /// Its id, if it is of this kind: for log lines, whose fields have fixed names.
    pub fn id_of(&self, kind: SubjectKind) -> Option<&str> {
        (self.kind() == kind).then(|| self.id())
    }

    /// Its workspace and its id.
    pub fn into_parts(self) -> (Workspace, SubjectId) {
        (self.workspace, self.id)
    }

    /// How people read it: the id of a chat, or `account` and the id of one, and the workspace unless it is the default one.
    pub fn label(&self) -> String {
        let label = match &self.id {
            SubjectId::Chat(id) => id.to_string(),
            SubjectId::Account(id) => format!("account {id}"),
        };
        match self.workspace.unless_default() {
            Some(workspace) => format!("{label} ({workspace})"),
            None => label,
        }
    }

    /// The id as exactly one segment of a URL's path.
    pub fn path_segment(&self) -> String {
        percent_encoded(self.id())
    }

    /// The run table's hash key: `{workspace}/{kind}/{id}`.
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.workspace, self.kind(), self.id())
    }

    /// Reads the output of [`Subject::key`]; `None` if it is something else.
    pub fn from_key(key: &str) -> Option<Self> {
        let (workspace, rest) = key.split_once('/')?;
        let (kind, id) = rest.split_once('/')?;
        let kind = SubjectKind::ALL.into_iter().find(|known| known.as_str() == kind)?;
        Some(Self::new(kind, id).ok()?.in_workspace(Workspace::parse(workspace).ok()?))
    }
}

/// As its key.
impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.key(), f)
    }
}

/// As its key.
impl Serialize for Subject {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.key())
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = String::deserialize(deserializer)?;
        Self::from_key(&key).ok_or_else(|| serde::de::Error::custom("`subject` is not the key of a chat or an account"))
    }
}

/// A subject as fields of an object: `chat_id` or `account_id`, and `workspace` unless it is the default one. For
/// `#[serde(flatten, with = "subject_fields")]`.
pub mod subject_fields {
    use serde::ser::SerializeMap;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{AccountId, ChatId, Subject, SubjectId, Workspace};

    /// Writes the fields.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(subject: &Subject, serializer: S) -> Result<S::Ok, S::Error> {
        let workspace = subject.workspace().unless_default();
        let mut object = serializer.serialize_map(Some(1 + usize::from(workspace.is_some())))?;
        object.serialize_entry(subject.kind().id_field(), subject.id())?;
        if let Some(workspace) = workspace {
            object.serialize_entry("workspace", workspace)?;
        }
        object.end()
    }

    /// Reads the fields that there are.
    ///
    /// # Errors
    /// If there is neither or both of the ids, or if the id or the workspace is invalid.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Subject, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            chat_id: Option<ChatId>,
            account_id: Option<AccountId>,
            workspace: Option<Workspace>,
        }
        let Fields { chat_id, account_id, workspace } = Fields::deserialize(deserializer)?;
        let id = match (chat_id, account_id) {
            (Some(id), None) => SubjectId::Chat(id),
            (None, Some(id)) => SubjectId::Account(id),
            _ => return Err(serde::de::Error::custom("there is not exactly one of `chat_id` and `account_id`")),
        };
        Ok(Subject::from(id).in_workspace(workspace.unwrap_or_default()))
    }
}

/// The schema of the fields that [`subject_fields`] reads. Those that are absent may be null.
pub struct SubjectFields;

impl JsonSchema for SubjectFields {
    fn schema_name() -> Cow<'static, str> {
        "SubjectFields".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        const RULES: &str = "at most 512 bytes, no control characters, neither `.` nor `..`";
        let mut properties = serde_json::Map::new();
        let mut add = |name: &str, mut schema: Schema, description: String| {
            schema.insert("type".to_owned(), vec!["string", "null"].into());
            schema.insert("description".to_owned(), description.into());
            properties.insert(name.to_owned(), schema.to_value());
        };
        for kind in SubjectKind::ALL {
            add(kind.id_field(), ChatId::json_schema(generator), format!("The {kind}: {RULES}."));
        }
        let description = "The workspace, whose key and base URL the calls have; `default` if absent.";
        add("workspace", Workspace::json_schema(generator), description.to_owned());
        let only = SubjectKind::ALL
            .map(SubjectKind::id_field)
            .map(|field| serde_json::json!({ "required": [field], "properties": { field: { "type": "string" } } }));
        json_schema!({ "type": "object", "properties": properties, "oneOf": only })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_can_be_read_back_from_its_key_whatever_the_id() {
        for kind in SubjectKind::ALL {
            for id in ["c", "a/b", "default/chat/c", "„ü“"] {
                let subject = Subject::new(kind, id).unwrap();
                assert_eq!(subject.key(), format!("default/{kind}/{id}"));
                assert_eq!(Subject::from_key(&subject.key()), Some(subject.clone()));
                let elsewhere = subject.clone().in_workspace(Workspace::parse("team-7").unwrap());
                assert_eq!(elsewhere.key(), format!("team-7/{kind}/{id}"));
                assert_eq!(Subject::from_key(&elsewhere.key()), Some(elsewhere.clone()));
                assert_ne!(subject, elsewhere);
            }
        }
        for text in
            ["", "c", "default/chat/", "default/team/t", "/chat/c", "a b/chat/c", "default/chat/..", "defaultchat/c"]
        {
            assert_eq!(Subject::from_key(text), None, "{text}");
        }
    }

    #[test]
    fn a_subject_is_written_as_the_field_of_its_kind_and_its_workspace_unless_default() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Object {
            #[serde(flatten, with = "subject_fields")]
            subject: Subject,
            n: u64,
        }
        let elsewhere = Subject::chat("c").unwrap().in_workspace(Workspace::parse("w").unwrap());
        for (subject, json) in [
            (elsewhere, r#"{"chat_id":"c","workspace":"w","n":1}"#),
            (Subject::chat("c").unwrap(), r#"{"chat_id":"c","n":1}"#),
            (Subject::account("a").unwrap(), r#"{"account_id":"a","n":1}"#),
        ] {
            let object = Object { subject, n: 1 };
            assert_eq!(serde_json::to_string(&object).unwrap(), json);
            assert_eq!(serde_json::from_str::<Object>(json).unwrap(), object);
        }
        for json in
            [r#"{"chat_id": "c", "workspace": null, "n": 1}"#, r#"{"workspace": "default", "chat_id": "c", "n": 1}"#]
        {
            let subject = Subject::chat("c").unwrap();
            assert_eq!(serde_json::from_str::<Object>(json).unwrap(), Object { subject, n: 1 }, "{json}");
        }
        for json in [
            r#"{"n": 1}"#,
            r#"{"chat_id": null, "n": 1}"#,
            r#"{"chat_id": "..", "n": 1}"#,
            r#"{"chat_id": 1, "n": 1}"#,
            r#"{"chat_id": "c", "account_id": "a", "n": 1}"#,
            r#"{"chat_id": "c", "chat_id": "d", "n": 1}"#,
            r#"{"chat_id": "c", "workspace": "", "n": 1}"#,
            r#"{"chat_id": "c", "workspace": 1, "n": 1}"#,
            r#"{"chat_id": "c", "workspace": "v", "workspace": "w", "n": 1}"#,
        ] {
            assert!(serde_json::from_str::<Object>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn invalid_ids_are_refused_with_the_reason() {
        for kind in SubjectKind::ALL {
            for (text, fault) in [
                ("", IdFault::Empty),
                (".", IdFault::Navigation),
                ("..", IdFault::Navigation),
                ("a\u{0}b", IdFault::ControlCharacter),
                ("a\nb", IdFault::ControlCharacter),
                ("a\u{85}b", IdFault::ControlCharacter),
                (&"é".repeat(257), IdFault::TooLong(514)),
            ] {
                assert_eq!(Subject::new(kind, text), Err(InvalidId { kind, fault }), "{text:?}");
            }
            assert!(Subject::new(kind, &"é".repeat(256)).is_ok());
        }
        let too_long = Subject::account(&"a".repeat(513)).unwrap_err();
        assert_eq!(too_long.to_string(), "`account_id` is 513 bytes long; at most 512 are allowed");
    }

    #[test]
    fn ids_are_one_path_segment() {
        for (text, segment) in [
            ("chat_01HXYZ", "chat_01HXYZ"),
            ("a/b?c#d", "a%2Fb%3Fc%23d"),
            ("...", "..."),
            ("../x", "..%2Fx"),
            ("%2e%2e", "%252e%252e"),
            ("50% é+", "50%25%20%C3%A9%2B"),
        ] {
            assert_eq!(Subject::chat(text).unwrap().path_segment(), segment);
        }
    }
}

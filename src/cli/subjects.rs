//! The arguments that say what to sync: chats, or an account and the options of its sync.

use std::collections::BTreeSet;

use anyhow::Context;
use clap::Args;

use crate::ids::{Subject, SubjectId, Workspace};
use crate::postpress::resync::{ChunkSize, LinkedinProduct};
use crate::postpress::{ChatQuery, Resync};
use crate::time::Millis;

/// Chats, or an account.
#[derive(Debug, Clone, Args)]
pub(super) struct ChatsOrAccount {
    /// The chats
    #[arg(value_name = "CHAT_ID", required_unless_present = "account", value_parser = Subject::chat)]
    chats: Vec<Subject>,

    /// An account, whose chats the provider syncs as a whole, instead of single chats
    #[arg(long, value_name = "ACCOUNT_ID", conflicts_with = "chats", value_parser = Subject::account, display_order = 0)]
    account: Option<Subject>,

    #[command(flatten)]
    workspace: InWorkspace,
}

/// The workspace of what a command names.
#[derive(Debug, Clone, Args)]
struct InWorkspace {
    /// The workspace; the provider is called with its key and at its base URL
    #[arg(long, value_name = "NAME", default_value = Workspace::DEFAULT.as_str(), hide_default_value = true, value_parser = Workspace::parse)]
    workspace: Workspace,
}

/// What a command is to sync: all of it is named.
#[derive(Debug, Clone, Args)]
pub(super) struct NamedSubjects {
    #[command(flatten)]
    named: ChatsOrAccount,

    #[command(flatten)]
    options: AccountOptions,
}

/// What a command is to sync, which may have to be listed.
#[derive(Debug, Clone, Args)]
pub(super) struct Subjects {
    #[command(flatten)]
    named: NamedSubjects,

    #[command(flatten)]
    each: EachChat,
}

/// What a command is to sync, as its arguments say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Requested {
    /// Chats, each once and in the order of the arguments, or an account, with the options of its sync.
    Subjects(Vec<Subject>, Resync),
    /// Each of these chats.
    EachChat {
        /// Which chats.
        query: ChatQuery,
        /// Whether only to list them.
        dry_run: bool,
    },
}

/// The options of an account's sync. Without one, the provider's default holds.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Account options")]
struct AccountOptions {
    /// Sync the account partially (`--partial=false`: explicitly not)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", requires = "account", conflicts_with = "chats")]
    partial: Option<bool>,

    /// How many chats the provider syncs in one chunk
    #[arg(long, value_name = "CHATS", value_parser = chunk_size, requires = "account", conflicts_with = "chats")]
    chunk_size: Option<ChunkSize>,

    /// The `LinkedIn` product
    #[arg(long, value_name = "PRODUCT", requires = "account", conflicts_with = "chats")]
    linkedin_product: Option<LinkedinProduct>,

    /// Sync only what is older than this time: `2026-11-24T10:00:00Z`, or milliseconds since 1970
    #[arg(long, value_name = "TIME", value_parser = time, requires = "account", conflicts_with = "chats")]
    before: Option<Millis>,

    /// Sync only what is newer than this time: `2026-11-24T10:00:00Z`, or milliseconds since 1970
    #[arg(long, value_name = "TIME", value_parser = time, requires = "account", conflicts_with = "chats")]
    after: Option<Millis>,
}

/// Each chat of the account by itself, instead of the account as a whole.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Each chat of an account")]
struct EachChat {
    /// List the account's chats, and sync each of them by itself. The list has no effect at postpress; `--before` and `--after` say
    /// which chats it has
    #[arg(long, requires = "account", conflicts_with_all = ["chats", "partial", "chunk_size", "linkedin_product"])]
    each_chat: bool,

    /// Only chats with unread messages
    #[arg(long, requires = "each_chat", conflicts_with = "chats")]
    unread: bool,

    /// Only print the chats, and start nothing
    #[arg(long, requires = "each_chat", conflicts_with = "chats")]
    dry_run: bool,
}

/// What a command is to show: one chat or one account.
#[derive(Debug, Clone, Args)]
pub(super) struct OneSubject {
    /// The chat
    #[arg(value_name = "CHAT_ID", required_unless_present = "account", value_parser = Subject::chat)]
    chat: Option<Subject>,

    /// The account, instead of a chat
    #[arg(long, value_name = "ACCOUNT_ID", conflicts_with = "chat", value_parser = Subject::account)]
    account: Option<Subject>,

    #[command(flatten)]
    workspace: InWorkspace,
}

impl InWorkspace {
    fn of(&self, subject: &Subject) -> Subject {
        subject.clone().in_workspace(self.workspace.clone())
    }
}

impl ChatsOrAccount {
    /// The subjects in the order of the arguments, each once.
    pub(super) fn list(&self) -> Vec<Subject> {
        let mut seen = BTreeSet::new();
        let named = self.chats.iter().chain(&self.account).filter(|subject| seen.insert(*subject));
        named.map(|subject| self.workspace.of(subject)).collect()
    }
}

impl NamedSubjects {
    /// What is to be synced, with the options of an account's sync.
    pub(super) fn requested(&self) -> (Vec<Subject>, Resync) {
        let AccountOptions { partial, chunk_size, linkedin_product, before, after } = self.options;
        let [before, after] = [before, after].map(|time| time.map(|Millis(time)| time));
        (self.named.list(), Resync { partial, chunk_size, linkedin_product, before, after })
    }
}

impl Subjects {
    /// Their workspace.
    pub(super) fn workspace(&self) -> &Workspace {
        &self.named.named.workspace.workspace
    }

    /// What is to be synced.
    pub(super) fn requested(&self) -> Requested {
        let NamedSubjects { named, options: AccountOptions { before, after, .. } } = &self.named;
        let EachChat { each_chat, unread, dry_run } = self.each;
        let account = named.account.clone().filter(|_| each_chat).map(Subject::into_parts);
        if let Some((_, SubjectId::Account(account))) = account {
            let workspace = self.workspace().clone();
            let query = ChatQuery { workspace, account, unread, before: *before, after: *after };
            return Requested::EachChat { query, dry_run };
        }
        let (subjects, resync) = self.named.requested();
        Requested::Subjects(subjects, resync)
    }
}

impl OneSubject {
    /// The subject.
    pub(super) fn get(&self) -> anyhow::Result<Subject> {
        let subject = self.chat.as_ref().or(self.account.as_ref());
        Ok(self.workspace.of(subject.context("name a chat or an account")?))
    }
}

fn chunk_size(text: &str) -> Result<ChunkSize, String> {
    let chats = text.parse::<u64>().ok().and_then(|chats| chats.try_into().ok());
    chats.ok_or_else(|| format!("not a number from 1 to {}", ChunkSize::MAX))
}

fn time(text: &str) -> Result<Millis, &'static str> {
    let milliseconds = text.parse().ok().map(Millis);
    milliseconds
        .or_else(|| Millis::parse_rfc3339(text))
        .ok_or("write `2026-11-24T10:00:00Z`, or milliseconds since 1970")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::ids::AccountId;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        subjects: Subjects,
    }

    fn parse(arguments: &[&str]) -> Result<Requested, String> {
        let program = Program::try_parse_from([&["program"], arguments].concat());
        program.map(|program| program.subjects.requested()).map_err(|error| error.to_string())
    }

    #[test]
    fn chats_or_one_account_with_its_options_can_be_named() {
        let chats = ["a", "b"].map(|chat| Subject::chat(chat).unwrap()).to_vec();
        assert_eq!(parse(&["a", "b", "a"]).unwrap(), Requested::Subjects(chats, Resync::default()));
        let elsewhere = Subject::chat("a").unwrap().in_workspace(Workspace::parse("team-7").unwrap());
        let requested = parse(&["a", "--workspace", "team-7"]).unwrap();
        assert_eq!(requested, Requested::Subjects(vec![elsewhere], Resync::default()));
        for (arguments, query) in [
            (&[][..], ""),
            (&["--partial"], "partial=true"),
            (&["--partial=false", "--chunk-size", "10000"], "partial=false&chunk_size=10000"),
            (&["--linkedin-product", "sales_navigator"], "linkedin_product=sales_navigator"),
            (&["--before", "2026-11-24T10:00:00Z", "--after", "7"], "before=1795514400000&after=7"),
        ] {
            let account = parse(&[&["--account", "a/1"], arguments].concat()).unwrap();
            let Requested::Subjects(subjects, resync) = account else { panic!("{account:?}") };
            assert_eq!((subjects, &*resync.query()), (vec![Subject::account("a/1").unwrap()], query));
        }
    }

    #[test]
    fn each_chat_of_an_account_can_be_asked_for_with_filters() {
        let all = ChatQuery::all(AccountId::parse("a").unwrap());
        let (before, after) = (Some(Millis(1_795_514_400_000)), Some(Millis(7)));
        for (arguments, query, dry_run) in [
            (&[][..], all.clone(), false),
            (&["--unread", "--dry-run"], ChatQuery { unread: true, ..all.clone() }, true),
            (&["--before", "2026-11-24T10:00:00Z", "--after", "7"], ChatQuery { before, after, ..all }, false),
        ] {
            let requested = parse(&[&["--account", "a", "--each-chat"], arguments].concat()).unwrap();
            assert_eq!(requested, Requested::EachChat { query, dry_run }, "{arguments:?}");
        }
    }

    #[test]
    fn invalid_combinations_and_values_are_refused() {
        for (arguments, reason) in [
            (&[][..], "CHAT_ID"),
            (&["c", "--account", "a"], "cannot be used with"),
            (&["c", "--workspace", "a b"], "1 to 64 letters"),
            (&["--chunk-size", "5"], "--account <ACCOUNT_ID>"),
            (&["c", "--partial"], "cannot be used with"),
            (&["--account", ".."], "path navigation"),
            (&["--account", "a", "--chunk-size", "0"], "not a number from 1 to 10000"),
            (&["--account", "a", "--linkedin-product", "premium"], "possible values"),
            (&["--account", "a", "--before", "yesterday"], "milliseconds since 1970"),
            (&["--each-chat"], "--account <ACCOUNT_ID>"),
            (&["c", "--each-chat"], "cannot be used with"),
            (&["c", "--unread"], "cannot be used with"),
            (&["c", "--dry-run"], "cannot be used with"),
            (&["--account", "a", "--unread"], "--each-chat"),
            (&["--account", "a", "--dry-run"], "--each-chat"),
            (&["--account", "a", "--each-chat", "--partial"], "cannot be used with"),
            (&["--account", "a", "--each-chat", "--chunk-size", "5"], "cannot be used with"),
            (&["--account", "a", "--each-chat", "--linkedin-product", "classic"], "cannot be used with"),
        ] {
            let refused = parse(arguments).unwrap_err();
            assert!(refused.contains(reason), "{arguments:?}: {refused}");
        }
    }
}

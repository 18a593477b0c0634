//! The secret with the workspaces: a JSON object from each one's name to its key and base URL.
//!
//! Everything wrong with one workspace leaves the others usable. No message shows a value, nor a name that is not a
//! workspace's, which may be a key in the wrong place.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::ids::Workspace;
use crate::json::{self, BYTE_ORDER_MARK, RawObject};
use crate::postpress::client::{ApiKey, BaseUrl, InvalidBaseUrl};
use crate::postpress::pace;

const API_KEY: &str = "api_key";
const BASE_URL: &str = "base_url";
const CALLS_PER_SECOND: &str = "calls_per_second";

/// What the secret says of a workspace.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkspaceEntry {
    /// The key.
    pub api_key: ApiKey,
    /// The base URL; `POSTPRESS_BASE_URL` if absent.
    pub base_url: Option<BaseUrl>,
    /// The most calls a second, of all processes together.
    pub calls_per_second: Option<f64>,
}

/// The workspaces of a secret; never [`Workspace::DEFAULT`].
#[derive(Debug, Default, PartialEq)]
pub struct Workspaces {
    /// Each with its entry, or what is wrong with it.
    entries: BTreeMap<Workspace, Result<WorkspaceEntry, String>>,
    /// What is wrong with entries that are no workspace's.
    others: Vec<String>,
}

impl Workspaces {
    /// Reads the text of a secret.
    ///
    /// # Errors
    /// If it is not a JSON object, with the remedy.
    pub fn parse(text: &str) -> Result<Self, String> {
        const REMEDY: &str = "store {\"name of a workspace\": {\"api_key\": \"…\"}}";
        let text = text.trim_start_matches(BYTE_ORDER_MARK);
        let object = RawObject::parse(text).map_err(|_| format!("it is not a JSON object; {REMEDY}"))?;
        let mut this = Self::default();
        for (name, value) in object.members() {
            match Workspace::parse(name) {
                Ok(workspace) if workspace.is_default() => this.others.push(
                    "it has an entry `default`, which is the workspace of POSTPRESS_API_KEY and POSTPRESS_BASE_URL; \
                     remove the entry"
                        .to_owned(),
                ),
                Ok(workspace) => {
                    let is_repeated = this.entries.contains_key(&workspace);
                    let entry = if is_repeated { Err("it is there twice".to_owned()) } else { entry(value) };
                    this.entries.insert(workspace, entry);
                }
                Err(_) => this.others.push(
                    "the name of an entry is not 1 to 64 letters (A-Z, a-z), digits, `_` and `-`; rename it".to_owned(),
                ),
            }
        }
        Ok(this)
    }

    /// The entry of a workspace, or what is wrong with it; `None` if the secret does not have it.
    pub fn get(&self, workspace: &Workspace) -> Option<Result<&WorkspaceEntry, &str>> {
        self.entries.get(workspace).map(|entry| entry.as_ref().map_err(String::as_str))
    }

    /// Every workspace with its entry, or what is wrong with it.
    pub fn iter(&self) -> impl Iterator<Item = (&Workspace, Result<&WorkspaceEntry, &str>)> {
        self.entries.iter().map(|(workspace, entry)| (workspace, entry.as_ref().map_err(String::as_str)))
    }

    /// What is wrong with entries that are no workspace's.
    pub fn other_faults(&self) -> &[String] {
        &self.others
    }

    /// Everything that is wrong.
    pub fn faults(&self) -> Vec<String> {
        let of_entries = self.iter().filter_map(|(workspace, entry)| {
            let fault = entry.err()?;
            Some(format!("workspace `{workspace}`: {fault}"))
        });
        of_entries.chain(self.others.iter().cloned()).collect()
    }
}

/// Reads the entry of a workspace.
///
/// # Errors
/// Names the field that is wrong.
fn entry(value: &RawValue) -> Result<WorkspaceEntry, String> {
    let object = RawObject::of(value)
        .ok_or_else(|| format!("its entry is {}, not an object with an `{API_KEY}`", json::kind(value.get())))?;
    for (name, _) in object.members() {
        let known = [API_KEY, BASE_URL, CALLS_PER_SECOND].into_iter().find(|known| *known == name);
        let Some(known) = known else {
            return Err(format!("it has a field other than `{API_KEY}`, `{BASE_URL}` and `{CALLS_PER_SECOND}`"));
        };
        if object.members().filter(|(name, _)| *name == known).count() > 1 {
            return Err(format!("it has `{known}` twice"));
        }
    }
    let api_key = text(API_KEY, object.get(API_KEY))?.ok_or_else(|| format!("`{API_KEY}` is missing"))?;
    let base_url = text(BASE_URL, object.get(BASE_URL))?.map(|text| base_url(&text)).transpose()?;
    Ok(WorkspaceEntry {
        api_key: ApiKey::parse(&api_key.into()).map_err(|error| format!("`{API_KEY}`: {error}"))?,
        base_url,
        calls_per_second: object.get(CALLS_PER_SECOND).map(calls_per_second).transpose()?,
    })
}

/// The text of a field.
fn text(name: &str, value: Option<&RawValue>) -> Result<Option<String>, String> {
    let Some(value) = value else { return Ok(None) };
    serde_json::from_str(value.get()).map(Some).map_err(|_| format!("`{name}` is not a string"))
}

fn base_url(text: &str) -> Result<BaseUrl, String> {
    BaseUrl::parse(text).map_err(|error| match error {
        InvalidBaseUrl::Cleartext(_) => {
            format!(
                "`{BASE_URL}` is http:// to another machine, which would send the API key in the clear; use https://"
            )
        }
        error => format!("`{BASE_URL}`: {error}"),
    })
}

fn calls_per_second(value: &RawValue) -> Result<f64, String> {
    let number = serde_json::from_str::<f64>(value.get()).ok();
    let range = pace::CALLS_PER_SECOND;
    let why = || format!("`{CALLS_PER_SECOND}` is not a number from {} to {}", range.start(), range.end());
    number.filter(|number| range.contains(number)).ok_or_else(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(name: &str) -> Workspace {
        Workspace::parse(name).unwrap()
    }

    #[test]
    fn workspaces_are_read_with_their_keys_urls_and_paces() {
        let text = r#"{
            "team-7": {"api_key": "pp_live_hush", "base_url": "https://eu.example/v1", "calls_per_second": 2.5},
            "B": {"api_key": "pp_live_hush2", "base_url": null, "calls_per_second": null}
        }"#;
        for text in [text.to_owned(), format!("\u{feff}{text}\n")] {
            let workspaces = Workspaces::parse(&text).unwrap();
            assert_eq!(workspaces.faults(), Vec::<String>::new());
            let entry = workspaces.get(&workspace("team-7")).unwrap().unwrap();
            assert_eq!(entry.base_url, BaseUrl::parse("https://eu.example/v1").ok());
            assert_eq!(entry.calls_per_second, Some(2.5));
            let other = workspaces.get(&workspace("B")).unwrap().unwrap();
            assert_eq!((&other.base_url, other.calls_per_second), (&None, None));
            assert_ne!(entry.api_key, other.api_key);
            assert_eq!(workspaces.get(&workspace("b")), None);
            assert!(!format!("{workspaces:?}").contains("hush"), "{workspaces:?}");
        }
        assert_eq!(Workspaces::parse("{}"), Ok(Workspaces::default()));
    }

    #[test]
    fn fault_names_the_workspace_and_the_field_and_leaves_the_others_usable() {
        for (member, fault) in [
            (r#""w": "hush""#, "workspace `w`: its entry is a string, not an object with an `api_key`"),
            (r#""w": {}"#, "workspace `w`: `api_key` is missing"),
            (r#""w": {"api_key": null}"#, "workspace `w`: `api_key` is missing"),
            (r#""w": {"api_key": ["hush"]}"#, "workspace `w`: `api_key` is not a string"),
            (r#""w": {"api_key": "hush\n"}"#, "workspace `w`: `api_key`: the API key begins or ends with white space"),
            (r#""w": {"api_key": "hush", "base_url": 7}"#, "workspace `w`: `base_url` is not a string"),
            (r#""w": {"api_key": "hush", "base_url": "hush"}"#, "workspace `w`: `base_url`: the base URL is not a URL"),
            (
                r#""w": {"api_key": "hush", "base_url": "http://hush.example"}"#,
                "workspace `w`: `base_url` is http:// to",
            ),
            (
                r#""w": {"api_key": "hush", "base_url": "https://hush:hush@x"}"#,
                "workspace `w`: `base_url`: the base URL has a",
            ),
            (
                r#""w": {"api_key": "hush", "calls_per_second": 0}"#,
                "workspace `w`: `calls_per_second` is not a number from 0.001 to 100000",
            ),
            (
                r#""w": {"api_key": "hush", "calls_per_second": -1}"#,
                "workspace `w`: `calls_per_second` is not a number",
            ),
            (
                r#""w": {"api_key": "hush", "calls_per_second": 1e400}"#,
                "workspace `w`: `calls_per_second` is not a number",
            ),
            (
                r#""w": {"api_key": "hush", "calls_per_second": "5"}"#,
                "workspace `w`: `calls_per_second` is not a number",
            ),
            (r#""w": {"api_key": "hush", "hush": 1}"#, "workspace `w`: it has a field other than `api_key`"),
            (r#""w": {"api_key": "hush", "api_key": "hush2"}"#, "workspace `w`: it has `api_key` twice"),
            (r#""w": {"api_key": "hush"}, "w": {"api_key": "hush2"}"#, "workspace `w`: it is there twice"),
            (
                r#""default": {"api_key": "hush"}"#,
                "it has an entry `default`, which is the workspace of POSTPRESS_API_KEY",
            ),
            (r#""hush hush": {"api_key": "hush"}"#, "the name of an entry is not 1 to 64 letters"),
        ] {
            for text in [
                format!(r#"{{"good": {{"api_key": "pp_live_hush"}}, {member}}}"#),
                format!(r#"{{{member}, "good": {{"api_key": "pp_live_hush"}}}}"#),
            ] {
                let workspaces = Workspaces::parse(&text).unwrap();
                let [found] = &workspaces.faults()[..] else { panic!("{text}: {:?}", workspaces.faults()) };
                assert!(found.starts_with(fault) && !found.contains("hush"), "{text}: {found}");
                assert!(matches!(workspaces.get(&workspace("good")), Some(Ok(_))), "{text}");
                assert!(workspaces.get(&workspace("w")).is_none_or(|entry| entry.is_err()), "{text}");
                assert_eq!(workspaces.get(&Workspace::DEFAULT), None);
                assert!(!format!("{workspaces:?}").contains("hush"), "{workspaces:?}");
            }
        }
    }

    #[test]
    fn what_is_not_a_json_object_is_refused_and_not_shown() {
        for text in ["", "hush", "\"hush\"", "[]", "7", "{\"w\": hush}", "{'w': {}}"] {
            let error = Workspaces::parse(text).unwrap_err();
            assert!(
                error.starts_with("it is not a JSON object; store {") && !error.contains("hush"),
                "{text}: {error}"
            );
        }
    }
}

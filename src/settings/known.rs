//! The variables that exist, to recognise a misspelt one.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::{
    FollowSettings, FromEnv, ListenSettings, ReadSettings, RedriveSettings, SendSettings, SettingsDiagnosis,
    TerminalSettings, WebhookClientSettings, WorkerSettings, webhook_variables,
};

/// A variable with one of these prefixes is meant for us.
const PREFIXES: [&str; 2] = ["BRIDGE_", "POSTPRESS_"];
/// How many letters may be added, omitted, changed or swapped in a misspelt name.
const TYPOS_MAX: usize = 2;
/// How similar two names must be for one to stand for the other.
const ALIKE: f64 = 0.85;

/// A variable that no program reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Its name.
    pub variable: String,
    /// The variable that was probably meant.
    pub nearest: Option<String>,
}

/// Every variable of ours that some program reads, found by reading the settings from an empty environment.
pub fn known_variables() -> BTreeSet<String> {
    let read = RefCell::new(BTreeSet::new());
    let env = |name: &str| {
        if PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            read.borrow_mut().insert(name.to_owned());
        }
        None
    };
    drop((WorkerSettings::read(&env), TerminalSettings::read(&env), SettingsDiagnosis::read(&env)));
    drop((ReadSettings::read(&env), <(SendSettings, FollowSettings)>::read(&env), RedriveSettings::read(&env)));
    drop((ListenSettings::read(&env), WebhookClientSettings::read(&env)));
    read.into_inner().into_iter().chain(webhook_variables::ALL.map(str::to_owned)).collect()
}

/// Those of these variables that are meant for us but read by no program: they have our prefix, or are a misspelt variable of
/// ours.
pub fn unknown_variables(variables: impl IntoIterator<Item = String>) -> Vec<Unknown> {
    let known = known_variables();
    let mut unknown: Vec<_> = variables.into_iter().filter_map(|variable| judge(&known, variable)).collect();
    unknown.sort_by(|one, other| one.variable.cmp(&other.variable));
    unknown
}

fn judge(known: &BTreeSet<String>, variable: String) -> Option<Unknown> {
    let name = variable.to_ascii_uppercase();
    if known.contains(&variable) {
        return None;
    }
    let typos = |known: &str| strsim::damerau_levenshtein(known, &name);
    // The common prefix does not help to tell which variable is meant.
    let alike = |known: &str| strsim::jaro_winkler(without_prefix(known), without_prefix(&name));
    let nearest = known
        .iter()
        .max_by(|one, other| typos(other).cmp(&typos(one)).then_with(|| alike(one).total_cmp(&alike(other))));
    let is_typo = nearest.is_some_and(|known| typos(known) <= TYPOS_MAX);
    let is_ours = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let is_part = |known: &str| without_prefix(known).contains(without_prefix(&name));
    let nearest = nearest.filter(|known| is_typo || alike(known) >= ALIKE || is_part(known));
    (is_ours || is_typo).then(|| Unknown { variable, nearest: nearest.cloned() })
}

fn without_prefix(name: &str) -> &str {
    PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "aws")]
    #[test]
    fn webhook_reads_only_known_variables() {
        let known = known_variables();
        let read = RefCell::new(Vec::new());
        let env = |name: &str| {
            read.borrow_mut().push(name.to_owned());
            None
        };
        drop(crate::settings::WebhookSettings::read(&env));
        let read = read.into_inner();
        assert!(read.iter().all(|name| known.contains(name)), "{read:?}");
        assert!(read.iter().any(|name| name == webhook_variables::AUTH));
    }

    #[test]
    fn a_misspelt_variable_is_reported_with_the_nearest_known_one() {
        for (variable, nearest) in [
            ("BRIDGE_TABEL", Some("BRIDGE_TABLE")),
            ("BRIDGE_QUEUE", Some("BRIDGE_QUEUE_URL")),
            ("BRIDGE_QUEUEURL", Some("BRIDGE_QUEUE_URL")),
            ("BRIDGE_WEBHOOK_TOKEN_SECRET", Some("BRIDGE_WEBHOOK_TOKEN_SECRET_ID")),
            ("bridge_table", Some("BRIDGE_TABLE")),
            ("BRIGDE_TABLE", Some("BRIDGE_TABLE")),
            ("POSTPRES_API_KEY", Some("POSTPRESS_API_KEY")),
            ("POSTPRESS_KEY", Some("POSTPRESS_API_KEY")),
            ("POSTPRESS_URL", Some("POSTPRESS_BASE_URL")),
            ("BRIDGE_XYZZY_OF_NOTHING", None),
            ("BRIDGE_CALLS_PER_MINUTE", Some("BRIDGE_CALLS_PER_SECOND")),
        ] {
            let unknown = unknown_variables([variable.to_owned()]);
            let nearest = nearest.map(str::to_owned);
            assert_eq!(unknown, [Unknown { variable: variable.to_owned(), nearest }]);
        }
        let others = ["PATH", "AWS_REGION", "BRIDGE_TABLE", "POSTPRESS_BASE_URL", "BRIDGET", "LOG"];
        assert_eq!(unknown_variables(others.map(str::to_owned)), []);
    }
}

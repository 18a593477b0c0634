//! The variables that there are, to tell a misspelt one from them.

/// Every variable of ours that some program reads.
const KNOWN: [&str; 28] = [
    "BRIDGE_BACKEND",
    "BRIDGE_CONNECT_GRACE_SECONDS",
    "BRIDGE_EVENT_BUS",
    "BRIDGE_EVENT_SOURCE",
    "BRIDGE_LEASE_MARGIN_SECONDS",
    "BRIDGE_LOG",
    "BRIDGE_MAX_IN_FLIGHT",
    "BRIDGE_MAX_POLLS",
    "BRIDGE_METRICS_NAMESPACE",
    "BRIDGE_OVERDUE_SECONDS",
    "BRIDGE_POLL_FACTOR",
    "BRIDGE_POLL_INITIAL_SECONDS",
    "BRIDGE_POLL_MAX_SECONDS",
    "BRIDGE_QUEUE_URL",
    "BRIDGE_RETRY_SECONDS",
    "BRIDGE_RUN_DEADLINE_SECONDS",
    "BRIDGE_RUN_TTL_SECONDS",
    "BRIDGE_STATE_FILE",
    "BRIDGE_TABLE",
    "BRIDGE_WEBHOOK_AUTH",
    "BRIDGE_WEBHOOK_SECRET",
    "BRIDGE_WEBHOOK_SECRET_SECRET_ID",
    "BRIDGE_WEBHOOK_TOKEN",
    "BRIDGE_WEBHOOK_TOKEN_SECRET_ID",
    "POSTPRESS_API_KEY",
    "POSTPRESS_API_KEY_SECRET_ID",
    "POSTPRESS_BASE_URL",
    "POSTPRESS_TIMEOUT_SECONDS",
];
/// What begins so is meant for us.
const PREFIXES: [&str; 2] = ["BRIDGE_", "POSTPRESS_"];
/// How many letters may be added, left out, changed or swapped before a name is another one.
const TYPOS_MAX: usize = 2;
/// How much alike two names must be for one to be meant by the other.
const ALIKE: f64 = 0.85;

/// A variable that no program reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Its name.
    pub variable: String,
    /// The variable that was probably meant.
    pub nearest: Option<&'static str>,
}

/// Those of these variables that are meant for us and that nothing reads: ours by their prefix, or one of ours except for a typing
/// mistake.
pub fn unknown_variables(variables: impl IntoIterator<Item = String>) -> Vec<Unknown> {
    let mut unknown: Vec<_> = variables.into_iter().filter_map(judge).collect();
    unknown.sort_by(|one, other| one.variable.cmp(&other.variable));
    unknown
}

fn judge(variable: String) -> Option<Unknown> {
    let name = variable.to_ascii_uppercase();
    if KNOWN.contains(&&*variable) {
        return None;
    }
    let typos = |known: &str| strsim::damerau_levenshtein(known, &name);
    // A prefix that all have says nothing about which is meant.
    let alike = |known: &str| strsim::jaro_winkler(without_prefix(known), without_prefix(&name));
    let nearest = KNOWN
        .iter()
        .copied()
        .max_by(|one, other| typos(other).cmp(&typos(one)).then_with(|| alike(one).total_cmp(&alike(other))));
    let is_typo = nearest.is_some_and(|known| typos(known) <= TYPOS_MAX);
    let is_ours = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let is_part = |known: &str| without_prefix(known).contains(without_prefix(&name));
    let nearest = nearest.filter(|known| is_typo || alike(known) >= ALIKE || is_part(known));
    (is_ours || is_typo).then_some(Unknown { variable, nearest })
}

fn without_prefix(name: &str) -> &str {
    PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::*;
    use crate::settings::{
        ReadSettings, RedriveSettings, SendSettings, SettingsDiagnosis, TerminalSettings, WorkerSettings,
    };

    #[test]
    fn the_known_variables_are_those_that_are_read() {
        let read = RefCell::new(BTreeSet::new());
        let env = |name: &str| {
            read.borrow_mut().insert(name.to_owned());
            None
        };
        drop((WorkerSettings::read(&env), TerminalSettings::read(&env), ReadSettings::read(&env)));
        drop((SendSettings::read_for_sync(&env), RedriveSettings::read(&env), SettingsDiagnosis::read(&env)));
        #[cfg(feature = "aws")]
        drop(crate::settings::WebhookSettings::read(&env));
        let read: BTreeSet<_> = read.into_inner();
        let ours = read.iter().filter(|name| PREFIXES.iter().any(|prefix| name.starts_with(prefix)));
        assert_eq!(ours.collect::<Vec<_>>(), KNOWN);
    }

    #[test]
    fn a_misspelt_variable_is_told_with_the_one_that_was_meant() {
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
            ("BRIDGE_CALLS_PER_SECOND", None),
        ] {
            let unknown = unknown_variables([variable.to_owned()]);
            assert_eq!(unknown, [Unknown { variable: variable.to_owned(), nearest }]);
        }
        let others = ["PATH", "AWS_REGION", "BRIDGE_TABLE", "POSTPRESS_BASE_URL", "BRIDGET", "LOG"];
        assert_eq!(unknown_variables(others.map(str::to_owned)), []);
    }
}

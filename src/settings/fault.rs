//! What is wrong with an environment, for the person who deploys it.

/// Everything that is wrong with the environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("fix these environment variables and start again:{}", list(faults))]
pub struct SettingsError {
    /// The faults; never empty.
    pub faults: Vec<Fault>,
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("\n- {fault}")).collect()
}

/// One fault of the environment. No variant shows a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A required variable is absent or empty.
    #[error("`{variable}` is missing; set it to {what}")]
    Missing {
        /// Its name.
        variable: &'static str,
        /// What belongs there.
        what: &'static str,
    },
    /// A value is not allowed.
    #[error("`{variable}` is {found:?}; allowed: {allowed}")]
    Invalid {
        /// Its name.
        variable: &'static str,
        /// The value, cut to a bound.
        found: String,
        /// Which values are allowed.
        allowed: String,
    },
    /// A value cannot be used. It is not shown, since it may contain a secret.
    #[error("`{variable}` {why}")]
    Unusable {
        /// Its name.
        variable: &'static str,
        /// What is wrong with it and what to do, as the rest of a sentence.
        why: String,
    },
    /// Two variables conflict.
    #[error("`{first}` and `{second}` {why}")]
    Conflict {
        /// The name of one.
        first: &'static str,
        /// The name of the other.
        second: &'static str,
        /// What is wrong and what to do, as the rest of a sentence.
        why: String,
    },
}

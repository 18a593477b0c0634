//! The environment as `doctor` reads it: every valid part, and every fault.

use std::path::PathBuf;

use super::reader::Reader;
use super::{Backend, Config, Fault, PaceSettings, Processes, SecretRef, SecretSource, process_env};
use crate::postpress::client::{ApiKey, BaseUrl};
use crate::telemetry::LogFilter;

/// Settings that may be invalid.
#[derive(Debug, Clone)]
pub struct SettingsDiagnosis {
    /// Every fault for which a worker or a local `sync` would not start; for a deployed bridge, also those of the webhook's
    /// credentials.
    pub faults: Vec<Fault>,
    /// The provider's base URL.
    pub base_url: Option<BaseUrl>,
    /// The source of the API key.
    pub key: Option<SecretSource<ApiKey>>,
    /// How many calls a second a key makes at most.
    pub pace: PaceSettings,
    /// The secret with the workspaces.
    pub workspaces: Option<SecretRef>,
    /// The worker's configuration; an invalid setting has its default.
    pub config: Config,
    /// The name or ARN of the bus.
    pub event_bus: String,
    /// The location of queue, bus and runs.
    pub deployment: Deployment,
    /// The webhook's access settings, if they are set and valid.
    #[cfg(feature = "aws")]
    pub webhook: Option<super::Access>,
    /// What is logged.
    pub log_filter: LogFilter,
}

/// The location of queue, bus and runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deployment {
    /// In AWS; a missing or invalid setting is `None`.
    Aws {
        /// `BRIDGE_QUEUE_URL`.
        queue_url: Option<String>,
        /// `BRIDGE_TABLE`.
        table: Option<String>,
    },
    /// On this machine: neither queue nor table is set.
    Terminal {
        /// `BRIDGE_STATE_FILE`.
        state_file: Option<PathBuf>,
    },
    /// `BRIDGE_BACKEND` is `memory`.
    Memory,
}

impl SettingsDiagnosis {
    /// Reads the process's environment.
    pub fn from_env() -> Self {
        Self::read(&process_env)
    }

    /// Reads `env`, which gives a variable's value by its name.
    pub fn read(env: &impl Fn(&str) -> Option<String>) -> Self {
        let mut reader = Reader::new(env);
        let (base_url, key, workspaces) = (reader.base_url(), reader.api_key(), reader.workspaces());
        let config = reader.config();
        let event_bus = reader.event_bus();
        let deployment = deployment(&mut reader);
        let pace = reader.pace(match deployment {
            Deployment::Aws { .. } | Deployment::Memory => Processes::Concurrent,
            Deployment::Terminal { .. } => Processes::One,
        });
        #[cfg(feature = "aws")]
        let webhook = match deployment {
            Deployment::Aws { .. } => super::webhook::examine(&mut reader),
            Deployment::Terminal { .. } | Deployment::Memory => None,
        };
        let log_filter = reader.log_filter(LogFilter::off());
        Self {
            faults: reader.faults,
            base_url,
            key,
            pace,
            workspaces,
            config,
            event_bus,
            deployment,
            #[cfg(feature = "aws")]
            webhook,
            log_filter,
        }
    }
}

fn deployment(reader: &mut Reader<'_>) -> Deployment {
    let is_deployed = ["BRIDGE_QUEUE_URL", "BRIDGE_TABLE"].iter().any(|variable| reader.has(variable));
    if is_deployed || reader.has("BRIDGE_BACKEND") {
        return match reader.backend() {
            Some(Backend::Aws { queue_url, table }) => {
                Deployment::Aws { queue_url: Some(queue_url), table: Some(table) }
            }
            Some(Backend::Memory) => Deployment::Memory,
            // The faults are recorded; read the valid parts again.
            None => {
                let mut again = Reader::new(reader.env);
                Deployment::Aws { queue_url: again.queue_url(), table: again.table() }
            }
        };
    }
    Deployment::Terminal { state_file: reader.state_file() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{FromEnv, TerminalSettings, WorkerSettings};

    type Variables = &'static [(&'static str, &'static str)];

    fn env(variables: Variables) -> impl Fn(&str) -> Option<String> {
        |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    const QUEUE: (&str, &str) = ("BRIDGE_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/123456789012/bridge");
    const TABLE: (&str, &str) = ("BRIDGE_TABLE", "runs");
    const KEY: (&str, &str) = ("POSTPRESS_API_KEY", "key");

    #[test]
    fn faults_are_those_of_the_worker() {
        let cases: [Variables; 8] = [
            &[QUEUE, TABLE, KEY],
            &[QUEUE, KEY],
            &[TABLE, KEY, ("BRIDGE_MAX_POLLS", "many"), ("POSTPRESS_BASE_URL", "http://postpress.example")],
            &[QUEUE, TABLE],
            &[("BRIDGE_QUEUE_URL", "bridge"), TABLE, KEY, ("BRIDGE_EVENT_SOURCE", "aws.x"), ("BRIDGE_LOG", "a=b=c")],
            &[QUEUE, TABLE, KEY, ("BRIDGE_BACKEND", "disk")],
            &[("BRIDGE_BACKEND", "aws"), KEY],
            &[("BRIDGE_BACKEND", "memory"), KEY, ("BRIDGE_POLL_MAX_SECONDS", "1")],
        ];
        for variables in cases {
            let faults = WorkerSettings::read(&env(variables)).err().map(|error| error.faults).unwrap_or_default();
            assert_eq!(SettingsDiagnosis::read(&env(variables)).faults, faults, "{variables:?}");
        }
    }

    #[cfg(feature = "aws")]
    #[test]
    fn faults_include_those_of_the_webhook() {
        let cases: [Variables; 4] = [
            &[("BRIDGE_WEBHOOK_AUTH", "iam")],
            &[("BRIDGE_WEBHOOK_AUTH", "none")],
            &[("BRIDGE_WEBHOOK_SECRET", "short")],
            &[("BRIDGE_WEBHOOK_TOKEN", "one-that-is-long-enough"), ("BRIDGE_WEBHOOK_TOKEN_SECRET_ID", "id")],
        ];
        for own in cases {
            let all = [&[QUEUE, TABLE, KEY], own].concat();
            let env = |name: &str| all.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            let faults = crate::settings::WebhookSettings::read(&env).err().map(|error| error.faults);
            assert_eq!(SettingsDiagnosis::read(&env).faults, faults.unwrap_or_default(), "{own:?}");
        }
    }

    #[test]
    fn without_queue_and_table_the_faults_are_those_of_the_terminal() {
        let cases: [Variables; 3] =
            [&[KEY, ("HOME", "/home/me")], &[KEY], &[("BRIDGE_LOG", "a=b=c"), ("BRIDGE_QUEUE_URL", "")]];
        for variables in cases {
            let faults = TerminalSettings::read(&env(variables)).err().map(|error| error.faults).unwrap_or_default();
            assert_eq!(SettingsDiagnosis::read(&env(variables)).faults, faults, "{variables:?}");
        }
    }

    #[test]
    fn valid_settings_are_kept_despite_faults() {
        let diagnosis = SettingsDiagnosis::read(&env(&[("BRIDGE_QUEUE_URL", "bridge"), TABLE, KEY]));
        assert_eq!(diagnosis.deployment, Deployment::Aws { queue_url: None, table: Some("runs".to_owned()) });
        assert!(diagnosis.base_url.is_some() && diagnosis.key.is_some());
        let memory = SettingsDiagnosis::read(&env(&[("BRIDGE_BACKEND", "memory"), KEY]));
        assert_eq!((memory.deployment, memory.faults), (Deployment::Memory, Vec::new()));
    }
}

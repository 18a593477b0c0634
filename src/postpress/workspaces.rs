//! Several workspaces: the provider's client for each, with its own key and base URL.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::client::{ApiKey, BaseUrl, Client};
use super::pace::{NotAdmitted, Pace, PaceSettings, Token};
use super::rotating::RotatingClient;
use super::{Answer, Failure, Provider, RetryClass, SyncCall};
use crate::credentials::{READ_EVERY, Rotating, SecretStore};
use crate::ids::{Subject, Workspace};

mod secret;
#[cfg(test)]
mod tests;

pub use secret::{WorkspaceEntry, Workspaces};

/// The most workspaces that are remembered as doubtful. Triggers may name any number of unknown ones.
const DOUBTS_MAX: usize = 1000;

/// A client for each workspace. That of the default one is configured by the environment, the others by one secret.
#[derive(Debug)]
pub struct WorkspaceClients<S> {
    http: reqwest::Client,
    base_url: BaseUrl,
    default: RotatingClient<S>,
    /// The other workspaces; `None` if no secret has any.
    secret: Option<Rotating<Rc<Workspaces>, S>>,
    doubts: RefCell<HashMap<Workspace, Doubt>>,
    pace: PaceSettings,
    /// The paces of the workspaces that were called, each with its own rate, if it has one.
    paces: RefCell<HashMap<Workspace, (Option<f64>, Pace)>>,
}

/// Why the secret should be read again for a workspace: its key is refused, or it has none.
#[derive(Debug)]
struct Doubt {
    key: Option<ApiKey>,
    since: Instant,
}

/// What a new read of the secret says of a doubtful workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    /// Its entry has changed.
    Changed,
    /// The secret has been read since the doubt arose, and has the same entry, or still none.
    Confirmed,
    /// The secret has not been read since, because it was read less than a minute ago or cannot be read.
    Unread,
}

/// Whether a workspace is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// It is, though its entry may be unusable: then its calls fail, and are retried until the entry is corrected or their
    /// retry budget is exhausted.
    Configured,
    /// It is not.
    Missing,
    /// The secret as last read does not have it, but may have it by now: ask again in a minute.
    Unread,
}

impl<S: SecretStore<ApiKey> + SecretStore<Rc<Workspaces>>> WorkspaceClients<S> {
    /// Clients over `http`. `key` and `workspaces` were just read, each from the store beside it; a key from the environment has
    /// no store.
    pub fn new(
        http: reqwest::Client,
        base_url: BaseUrl,
        key: (ApiKey, Option<S>),
        workspaces: Option<(Rc<Workspaces>, S)>,
    ) -> Self {
        let (api_key, store) = key;
        let default = RotatingClient::new(Client::over(http.clone(), base_url.clone(), api_key), store);
        let secret = workspaces.map(|(workspaces, store)| Rotating::new("workspaces", workspaces, Some(store)));
        Self {
            http,
            base_url,
            default,
            secret,
            doubts: RefCell::default(),
            pace: PaceSettings::default(),
            paces: RefCell::default(),
        }
    }

    /// Whether a workspace is configured. For one that is not, the secret is read again if that is due.
    pub async fn lookup(&self, workspace: &Workspace, until: Instant) -> Lookup {
        if workspace.is_default() {
            return Lookup::Configured;
        }
        let Some(secret) = &self.secret else { return Lookup::Missing };
        let seen = secret.current();
        if seen.get(workspace).is_some() {
            return Lookup::Configured;
        }
        match self.check(secret, workspace, &seen, until).await {
            Check::Changed => Lookup::Configured,
            Check::Confirmed => Lookup::Missing,
            Check::Unread => Lookup::Unread,
        }
    }

    /// The same clients, which call at this pace.
    #[must_use]
    pub fn with_pace(self, pace: PaceSettings) -> Self {
        Self { pace, ..self }
    }

    /// The client of a workspace, for calls that start nothing.
    ///
    /// # Errors
    /// If the workspace is not configured, or its entry is unusable.
    pub fn client(&self, workspace: &Workspace) -> Result<Client, String> {
        if workspace.is_default() {
            return Ok(self.default.client());
        }
        let seen = self.secret.as_ref().map(Rotating::current);
        match seen.as_ref().and_then(|seen| seen.get(workspace)) {
            Some(Ok(entry)) => Ok(self.client_of(entry.clone())),
            Some(Err(fault)) => Err(unusable(workspace, fault)),
            None => Err(missing(workspace)),
        }
    }

    fn client_of(&self, entry: WorkspaceEntry) -> Client {
        let base_url = entry.base_url.unwrap_or_else(|| self.base_url.clone());
        Client::over(self.http.clone(), base_url, entry.api_key)
    }

    /// The pace of a configured workspace. It starts over when the secret gives the workspace another rate.
    fn pace(&self, workspace: &Workspace) -> Pace {
        let seen = self.secret.as_ref().map(Rotating::current);
        let own = seen.and_then(|seen| seen.get(workspace)?.ok()?.calls_per_second);
        let mut paces = self.paces.borrow_mut();
        match paces.get(workspace) {
            Some((rate, pace)) if *rate == own => pace.clone(),
            _ => {
                if own.is_some() && self.pace.processes.is_none() {
                    tracing::error!(
                        %workspace,
                        "`calls_per_second` without BRIDGE_MAX_CONCURRENCY: every process makes all of these calls; set it"
                    );
                }
                let pace = Pace::new(self.pace.with_own_rate(own).rate());
                paces.insert(workspace.clone(), (own, pace.clone()));
                pace
            }
        }
    }

    /// Calls for another workspace than the default one.
    async fn sync_in(&self, workspace: &Workspace, call: &SyncCall, until: Instant) -> Answer {
        let Some(secret) = &self.secret else { return not_called(missing(workspace)) };
        let mut seen = secret.current();
        if !matches!(seen.get(workspace), Some(Ok(_))) {
            self.check(secret, workspace, &seen, until).await;
            seen = secret.current();
        }
        let entry = match seen.get(workspace) {
            Some(Ok(entry)) => entry.clone(),
            Some(Err(fault)) => return not_called(unusable(workspace, fault)),
            None => return not_called(missing(workspace)),
        };
        let mut answer = self.client_of(entry).sync(call, until.saturating_duration_since(Instant::now())).await;
        match &mut answer {
            Answer::Failed(failure @ Failure { retry_class: RetryClass::Credentials, .. }) => {
                if self.check(secret, workspace, &seen, until).await != Check::Confirmed {
                    failure.retry_class = RetryClass::Retryable;
                }
            }
            // What is refused later is a new doubt.
            Answer::InProgress(_) | Answer::Over(_) => drop(self.doubts.borrow_mut().remove(workspace)),
            Answer::Failed(_) | Answer::Unusable(_) => {}
        }
        answer
    }

    /// Reads the secret again if that is due, because of what it says of this workspace in `seen`.
    ///
    /// Reads that other workspaces cause delay the next one. So a refusal counts only if the secret has been read since the
    /// first refusal of this key: otherwise one workspace's wrong key would end the runs of another whose key is being
    /// rotated.
    async fn check(
        &self,
        secret: &Rotating<Rc<Workspaces>, S>,
        workspace: &Workspace,
        seen: &Rc<Workspaces>,
        until: Instant,
    ) -> Check {
        let since = self.doubted_since(workspace, seen);
        let now = secret.newer_than(seen, until).await;
        if now.is_some_and(|now| now.get(workspace) != seen.get(workspace)) {
            self.doubts.borrow_mut().remove(workspace);
            return Check::Changed;
        }
        let is_recent = secret.read_at().elapsed() < READ_EVERY;
        if is_recent && secret.read_at() >= since { Check::Confirmed } else { Check::Unread }
    }

    fn doubted_since(&self, workspace: &Workspace, seen: &Workspaces) -> Instant {
        let key = seen.get(workspace).and_then(Result::ok).map(|entry| entry.api_key.clone());
        let mut doubts = self.doubts.borrow_mut();
        match doubts.get(workspace) {
            Some(doubt) if doubt.key == key => doubt.since,
            _ => {
                if doubts.len() >= DOUBTS_MAX {
                    doubts.clear();
                }
                let since = Instant::now();
                doubts.insert(workspace.clone(), Doubt { key, since });
                since
            }
        }
    }
}

impl<S: SecretStore<ApiKey> + SecretStore<Rc<Workspaces>>> Provider for WorkspaceClients<S> {
    /// Without a key for the subject's workspace it makes no call, and returns a retryable failure.
    async fn sync(&self, call: &SyncCall, deadline: Duration) -> Answer {
        let workspace = call.subject.workspace();
        let began = Instant::now();
        let answer = if workspace.is_default() {
            self.default.sync(call, deadline).await
        } else {
            self.sync_in(workspace, call, began + deadline).await
        };
        self.pace(workspace).react(&answer, began);
        answer
    }

    async fn admit(&self, subject: &Subject, until: Instant) -> Result<Token, NotAdmitted> {
        let workspace = subject.workspace();
        match self.lookup(workspace, until).await {
            Lookup::Configured => self.pace(workspace).acquire(until).await.map_err(NotAdmitted::Later),
            Lookup::Missing => Err(NotAdmitted::UnknownWorkspace),
            Lookup::Unread => Err(NotAdmitted::Later(READ_EVERY)),
        }
    }
}

fn not_called(detail: String) -> Answer {
    Answer::Failed(Failure::lost(502, detail, false))
}

fn missing(workspace: &Workspace) -> String {
    format!("no call was made: the workspace `{workspace}` is missing from the secret in BRIDGE_WORKSPACES_SECRET_ID")
}

fn unusable(workspace: &Workspace, fault: &str) -> String {
    format!(
        "no call was made: the workspace `{workspace}` in the secret of BRIDGE_WORKSPACES_SECRET_ID cannot be used: {fault}"
    )
}

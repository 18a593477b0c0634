//! The credentials that are in force, and their rotation.
//!
//! They are read again from where they are kept in two cases: after a failed authentication, so that a new one counts at
//! once, and every few minutes while requests come, so that a revoked one stops counting.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Request;
use super::auth::{Credentials, Refusal};
use crate::service::ServiceError;

/// How often they are read again at most: otherwise every wrong guess would have them read.
const READ_EVERY: Duration = Duration::from_secs(60);
/// How long reading them may take after a failed authentication, which would fail anyway.
const READ_MAX: Duration = Duration::from_secs(3);
/// How old they may be. A revoked token ends this long after it was revoked, at the latest.
const AGE_MAX: Duration = Duration::from_secs(5 * 60);
/// How long a request may wait for credentials that are only too old.
const RENEW_MAX: Duration = Duration::from_secs(1);

/// Where the credentials are kept.
pub trait CredentialStore {
    /// Reads them as they are now.
    fn read(&self) -> impl Future<Output = Result<Credentials, ServiceError>>;
}

/// Who decides whether a request is let in.
#[derive(Debug)]
pub enum Auth<C> {
    /// IAM did, before the function was called.
    Iam,
    /// We do.
    Credentials(KeyRing<C>),
}

/// The credentials, and where they are kept if they can change.
#[derive(Debug)]
pub struct KeyRing<C> {
    current: RefCell<Credentials>,
    store: Option<C>,
    /// When they are too old.
    renew_at: Cell<Instant>,
    /// When a failed authentication last had them read again.
    refused_at: Cell<Option<Instant>>,
}

impl<C: CredentialStore> Auth<C> {
    /// Lets a request in to hand in a trigger, or says why not.
    pub(super) async fn may_post(&self, request: &Request, until: Instant) -> Result<(), Refusal> {
        match self {
            Self::Iam => Ok(()),
            Self::Credentials(ring) => ring.admit(request, Credentials::may_post, until).await,
        }
    }

    /// Lets a request in to read a status, or says why not.
    pub(super) async fn may_read(&self, request: &Request, until: Instant) -> Result<(), Refusal> {
        match self {
            Self::Iam => Ok(()),
            Self::Credentials(ring) => ring.admit(request, Credentials::may_read, until).await,
        }
    }
}

/// How credentials decide about a request.
type Check = fn(&Credentials, &Request) -> Result<(), Refusal>;

impl<C: CredentialStore> KeyRing<C> {
    /// Credentials that were read just now.
    pub fn new(credentials: Credentials, store: Option<C>) -> Self {
        let renew_at = Cell::new(Instant::now() + AGE_MAX);
        Self { current: RefCell::new(credentials), store, renew_at, refused_at: Cell::new(None) }
    }

    async fn admit(&self, request: &Request, check: Check, until: Instant) -> Result<(), Refusal> {
        self.renew(until).await;
        let decided = check(&self.current.borrow(), request);
        match decided {
            Err(refusal) if refusal.may_be_outdated() && self.read_after_refusal(until).await => {
                check(&self.current.borrow(), request)
            }
            decided => decided,
        }
    }

    /// Reads the credentials again if they are too old. If that fails, those that were read last remain valid.
    async fn renew(&self, until: Instant) {
        let now = Instant::now();
        let Some(store) = self.store.as_ref().filter(|_| now >= self.renew_at.get()) else { return };
        // Requests that come meanwhile do not wait for it, and a failure is not repeated with each of them.
        self.renew_at.set(now + READ_EVERY);
        if let Err(reason) = self.read(store, until.min(now + RENEW_MAX)).await {
            tracing::warn!(reason, "the credentials cannot be read again; those that were read last remain valid");
        }
    }

    /// Whether the credentials were read again after a failed authentication.
    async fn read_after_refusal(&self, until: Instant) -> bool {
        let now = Instant::now();
        let is_too_soon = self.refused_at.get().is_some_and(|at| at.elapsed() < READ_EVERY);
        let Some(store) = self.store.as_ref().filter(|_| !is_too_soon) else { return false };
        self.refused_at.set(Some(now));
        match self.read(store, until.min(now + READ_MAX)).await {
            Ok(()) => {
                tracing::info!("a request was not authenticated; the credentials were read again");
                true
            }
            Err(reason) => {
                tracing::error!(reason, "a request was not authenticated, and the credentials cannot be read again");
                false
            }
        }
    }

    async fn read(&self, store: &C, until: Instant) -> Result<(), String> {
        let read = timeout_at(until, store.read()).await.map_err(|_| "it took too long".to_owned())?;
        self.current.replace(read.map_err(|error| error.to_string())?);
        self.renew_at.set(Instant::now() + AGE_MAX);
        Ok(())
    }
}

//! The credentials that are in force, and their rotation: after a failed authentication they are read again from where they
//! are kept, and the request is looked at once more.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Request;
use super::auth::{Admitted, Credentials, Refusal};
use crate::service::ServiceError;

/// How often they are read again at most: whoever guesses would else have them read at every guess.
const READ_EVERY: Duration = Duration::from_secs(60);
/// How long reading them may take.
const READ_MAX: Duration = Duration::from_secs(3);

/// Where the credentials are kept.
pub trait CredentialStore {
    /// Reads them as they are now.
    fn read(&self) -> impl Future<Output = Result<Credentials, ServiceError>>;
}

/// Who decides whether a request is let in.
#[derive(Debug)]
pub enum Guard<C> {
    /// IAM did, before the function was called.
    Iam,
    /// We do.
    Ring(KeyRing<C>),
}

/// The credentials, and where they are kept if they can change.
#[derive(Debug)]
pub struct KeyRing<C> {
    current: RefCell<Credentials>,
    store: Option<C>,
    read_again_at: Cell<Option<Instant>>,
}

impl<C: CredentialStore> Guard<C> {
    /// Lets a request in to hand in a trigger, or says why not.
    pub(super) async fn may_post(&self, request: &Request, until: Instant) -> Result<Admitted, Refusal> {
        match self {
            Self::Iam => Ok(Admitted::Unsigned),
            Self::Ring(ring) => ring.admit(request, Credentials::may_post, until).await,
        }
    }

    /// Lets a request in to read a status, or says why not.
    pub(super) async fn may_read(&self, request: &Request, until: Instant) -> Result<Admitted, Refusal> {
        match self {
            Self::Iam => Ok(Admitted::Unsigned),
            Self::Ring(ring) => ring.admit(request, Credentials::may_read, until).await,
        }
    }
}

/// How credentials decide about a request.
type Check = fn(&Credentials, &Request) -> Result<Admitted, Refusal>;

impl<C: CredentialStore> KeyRing<C> {
    /// Credentials that were read just now.
    pub fn new(credentials: Credentials, store: Option<C>) -> Self {
        Self { current: RefCell::new(credentials), store, read_again_at: Cell::new(None) }
    }

    async fn admit(&self, request: &Request, check: Check, until: Instant) -> Result<Admitted, Refusal> {
        let decided = check(&self.current.borrow(), request);
        match decided {
            Err(refusal) if refusal.may_be_outdated() && self.read_again(until).await => {
                check(&self.current.borrow(), request)
            }
            decided => decided,
        }
    }

    /// Whether the credentials were read again.
    async fn read_again(&self, until: Instant) -> bool {
        let Some(store) = self.store.as_ref().filter(|_| self.takes_its_turn()) else { return false };
        match timeout_at(until.min(Instant::now() + READ_MAX), store.read()).await {
            Ok(Ok(credentials)) => {
                tracing::info!("a request was not authenticated; the credentials were read again");
                self.current.replace(credentials);
                true
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "a request was not authenticated, and the credentials cannot be read again");
                false
            }
            Err(_) => {
                tracing::error!("a request was not authenticated, and reading the credentials again took too long");
                false
            }
        }
    }

    /// Whether it is time to read again; then the next time is a while from now.
    fn takes_its_turn(&self) -> bool {
        let is_time = self.read_again_at.get().is_none_or(|at| at.elapsed() >= READ_EVERY);
        if is_time {
            self.read_again_at.set(Some(Instant::now()));
        }
        is_time
    }
}

//! A secret that may be rotated while the process runs.
//!
//! It is read again from its store in two cases: when it is refused, so that a new value is used at once, and, if the owner
//! asks for it, every few minutes, so that a revoked value stops working.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::service::{ServiceError, attempt_once};

/// The shortest time between two reads for one reason. Otherwise every call with a wrong secret would cause a read.
pub(crate) const READ_EVERY: Duration = Duration::from_secs(60);
/// How long a refused call may wait for a read. It has failed anyway.
const READ_MAX: Duration = Duration::from_secs(3);
/// The age at which a secret is renewed, and so how long a revoked one works at most.
const AGE_MAX: Duration = Duration::from_mins(5);
/// How long a call may wait for a renewal.
const RENEW_MAX: Duration = Duration::from_secs(1);

/// Where a secret is kept.
pub trait SecretStore<T> {
    /// Reads the secret as it is now.
    fn read(&self) -> impl Future<Output = Result<T, ServiceError>>;
}

/// The store of a program that has none.
impl<T> SecretStore<T> for Infallible {
    async fn read(&self) -> Result<T, ServiceError> {
        match *self {}
    }
}

/// A secret in use, and the store that it came from, if it can be rotated.
#[derive(Debug)]
pub struct Rotating<T, S> {
    /// What the secret is, for the log.
    name: &'static str,
    current: RefCell<T>,
    store: Option<S>,
    /// When a refusal last caused a read. Concurrent refusals wait for one read.
    refused_at: Mutex<Option<Instant>>,
    /// When the read of the secret in use began.
    read_at: Cell<Instant>,
    /// When to renew the secret.
    renew_at: Cell<Instant>,
}

impl<T: Clone + PartialEq, S: SecretStore<T>> Rotating<T, S> {
    /// A secret that was just read.
    pub fn new(name: &'static str, secret: T, store: Option<S>) -> Self {
        let now = Instant::now();
        let (read_at, renew_at) = (Cell::new(now), Cell::new(now + AGE_MAX));
        Self { name, current: RefCell::new(secret), store, refused_at: Mutex::default(), read_at, renew_at }
    }

    /// The secret in use.
    pub fn current(&self) -> T {
        self.current.borrow().clone()
    }

    /// When the read of the secret in use began.
    pub fn read_at(&self) -> Instant {
        self.read_at.get()
    }

    /// The secret in use if it differs from the `refused` one, after reading it again if that is due.
    pub async fn newer_than(&self, refused: &T, until: Instant) -> Option<T> {
        let store = self.store.as_ref()?;
        let until = until.min(Instant::now() + READ_MAX);
        if let Ok(mut refused_at) = timeout_at(until, self.refused_at.lock()).await {
            let is_due = refused_at.is_none_or(|at| at.elapsed() >= READ_EVERY);
            if is_due && *self.current.borrow() == *refused {
                *refused_at = Some(Instant::now());
                match self.read(store, until).await {
                    Ok(()) => tracing::info!(secret = self.name, "secret refused or incomplete; it was read again"),
                    Err(error) => {
                        let text = "secret refused or incomplete, and it cannot be read again";
                        tracing::error!(secret = self.name, %error, "{text}");
                    }
                }
            }
        }
        Some(self.current()).filter(|current| current != refused)
    }

    /// Reads the secret again if it is too old. If that fails, the old one stays in use.
    pub async fn renew(&self, until: Instant) {
        let now = Instant::now();
        let Some(store) = self.store.as_ref().filter(|_| now >= self.renew_at.get()) else { return };
        // Concurrent calls don't wait, and a failure is not repeated by each of them.
        self.renew_at.set(now + READ_EVERY);
        if let Err(error) = self.read(store, until.min(now + RENEW_MAX)).await {
            tracing::warn!(secret = self.name, %error, "secret cannot be read again; the old one stays in use");
        }
    }

    async fn read(&self, store: &S, until: Instant) -> Result<(), ServiceError> {
        let began = Instant::now();
        let secret = attempt_once(until, store.read()).await?;
        self.current.replace(secret);
        self.read_at.set(began);
        self.renew_at.set(Instant::now() + AGE_MAX);
        Ok(())
    }
}

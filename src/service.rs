//! Failures and retries of the table, the queue, the bus and Secrets Manager.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::text::one_line;

/// The time limit of one attempt. The SDKs set none.
const OPERATION_MAX: Duration = Duration::from_secs(3);
/// The wait before the second attempt; each further one is twice as long, up to [`BACKOFF_MAX`].
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// How long a terminal command tries to connect for the first time.
const REACH_MAX: Duration = Duration::from_millis(300);

/// Why an operation failed.
///
/// The variants differ in whether a retry may help, whether the operation may have succeeded anyway, and whether an operator
/// can fix it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// A timeout, a broken connection or an internal failure: retryable, and the operation may have succeeded.
    #[error("{0}")]
    Transient(String),
    /// A throttle: retryable, and the operation did not happen.
    #[error("{0}")]
    Throttled(String),
    /// No connection, or no credentials at the moment: retryable, and no request was sent.
    #[error("{0}")]
    Unreachable(String),
    /// A refusal: not retryable, and the operation did not happen.
    #[error("{0}")]
    Permanent(String),
    /// A refusal because of a fault of the deployment, which an operator can fix.
    #[error(transparent)]
    Misconfigured(#[from] Misconfiguration),
}

/// A fault of the deployment. Its text is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found}; {remedy}")]
pub struct Misconfiguration {
    /// What is wrong.
    pub found: String,
    /// What to do about it.
    pub remedy: String,
}

impl Misconfiguration {
    /// A fault, shortened to one line, and its remedy.
    pub fn new(found: impl AsRef<str>, remedy: impl Into<String>) -> Self {
        Self { found: one_line(found.as_ref()), remedy: remedy.into() }
    }
}

impl ServiceError {
    fn out_of_time() -> Self {
        Self::Transient("it took too long".to_owned())
    }

    /// Whether a retry may succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Transient(_) | Self::Throttled(_) | Self::Unreachable(_))
    }

    /// Whether the operation may have succeeded in spite of the error.
    pub fn may_have_succeeded(&self) -> bool {
        matches!(self, Self::Transient(_))
    }

    /// The error to report for two failed attempts, of which `self` is the earlier: the first informative one, since later ones
    /// are often its consequence. It is transient if either operation may have succeeded.
    fn and_then(self, later: Self) -> Self {
        let (first, other) = if self == Self::out_of_time() { (later, self) } else { (self, later) };
        if other.may_have_succeeded() { Self::Transient(first.to_string()) } else { first }
    }
}

/// Retries an operation until it succeeds, is refused, or `until` is reached. Each attempt has its own time limit.
///
/// # Errors
/// The refusal, or else the first failure.
pub async fn retry_until<T>(
    until: Instant,
    operation: impl AsyncFnMut() -> Result<T, ServiceError>,
) -> Result<T, ServiceError> {
    retry_while(until, ServiceError::is_retryable, operation).await
}

/// Like [`retry_until`], for the first operation of a terminal command: a person is waiting, and a wrong endpoint or region is
/// likelier than a brief network failure. Without a connection, it fails at once.
///
/// # Errors
/// The refusal, or else the first failure.
pub async fn attempt_to_reach<T>(
    until: Instant,
    operation: impl AsyncFnMut() -> Result<T, ServiceError>,
) -> Result<T, ServiceError> {
    let began = Instant::now();
    let another = |error: &ServiceError| match error {
        ServiceError::Unreachable(_) => began.elapsed() < REACH_MAX,
        error => error.is_retryable(),
    };
    retry_while(until, another, operation).await
}

/// Retries an operation until it succeeds, fails in a way that is not worth `another` attempt, or `until` is reached.
///
/// # Errors
/// The failure that ended the retries, or else the first one.
pub async fn retry_while<T>(
    until: Instant,
    mut another: impl FnMut(&ServiceError) -> bool,
    mut operation: impl AsyncFnMut() -> Result<T, ServiceError>,
) -> Result<T, ServiceError> {
    let mut backoff = BACKOFF_FIRST;
    let mut failed: Option<ServiceError> = None;
    loop {
        let error = match attempt_once(until, operation()).await {
            Err(error) if another(&error) => error,
            done_or_over => return done_or_over,
        };
        let error = match failed {
            Some(earlier) => earlier.and_then(error),
            None => error,
        };
        if Instant::now() + backoff >= until {
            return Err(error);
        }
        failed = Some(error);
        sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// Makes one attempt, for operations that a retry might do twice.
///
/// # Errors
/// The operation's, or a timeout.
pub async fn attempt_once<T>(
    until: Instant,
    operation: impl Future<Output = Result<T, ServiceError>>,
) -> Result<T, ServiceError> {
    let give_up = until.min(Instant::now() + OPERATION_MAX);
    timeout_at(give_up, operation).await.unwrap_or_else(|_| Err(ServiceError::out_of_time()))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn transient() -> ServiceError {
        ServiceError::Transient("throttled".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn retryable_errors_are_retried() {
        let asked = Cell::new(0);
        let until = Instant::now() + Duration::from_secs(60);
        let done = retry_until(until, async || {
            asked.set(asked.get() + 1);
            if asked.get() < 4 { Err(transient()) } else { Ok(()) }
        });
        assert_eq!((done.await, asked.get()), (Ok(()), 4));
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_not_retried() {
        let asked = Cell::new(0);
        let refused = Err::<(), _>(ServiceError::Permanent("no such table".to_owned()));
        let until = Instant::now() + Duration::from_secs(60);
        let done = retry_until(until, async || {
            asked.set(asked.get() + 1);
            refused.clone()
        });
        assert_eq!((done.await, asked.get()), (refused.clone(), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_informative_failure_is_reported() {
        use ServiceError::{Throttled, Transient, Unreachable};
        let throttled = || Throttled("slow down".to_owned());
        let unreachable = || Unreachable("no connection".to_owned());
        let broken = || Transient("broken".to_owned());
        for (failures, reported) in [
            (&[throttled(), unreachable()][..], throttled()),
            (&[throttled(), broken()], Transient("slow down".to_owned())),
            (&[broken(), throttled()], broken()),
            (&[throttled(), ServiceError::out_of_time()], Transient("slow down".to_owned())),
            (&[ServiceError::out_of_time(), unreachable()], Transient("no connection".to_owned())),
            (&[ServiceError::out_of_time(), ServiceError::out_of_time()], ServiceError::out_of_time()),
        ] {
            let mut failures_left = failures.iter().cloned();
            let last = failures.last().cloned();
            let failed = retry_until(Instant::now() + Duration::from_millis(120), async || {
                Err::<(), _>(failures_left.next().or_else(|| last.clone()).unwrap())
            });
            assert_eq!(failed.await, Err(reported), "{failures:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retries_end_when_not_worth_another_attempt() {
        let asked = Cell::new(0);
        let until = Instant::now() + Duration::from_secs(60);
        let done = retry_while(
            until,
            |error| !error.may_have_succeeded(),
            async || {
                asked.set(asked.get() + 1);
                if asked.get() < 3 {
                    Err(ServiceError::Throttled("slow".to_owned()))
                } else {
                    Err::<(), _>(transient())
                }
            },
        );
        assert_eq!((done.await, asked.get()), (Err(transient()), 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_terminal_waits_for_throttles_but_not_for_connections() {
        for (error, patient) in [
            (ServiceError::Unreachable("no connection".to_owned()), false),
            (ServiceError::Throttled("slow down".to_owned()), true),
        ] {
            let began = Instant::now();
            let failed = attempt_to_reach(began + Duration::from_secs(9), async || Err::<(), _>(error.clone())).await;
            assert_eq!(failed, Err(error.clone()));
            assert_eq!(began.elapsed() > Duration::from_secs(1), patient, "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retries_end_in_time() {
        let began = Instant::now();
        let until = began + Duration::from_secs(20);
        assert_eq!(retry_until(until, async || Err::<(), _>(transient())).await, Err(transient()));
        assert!(began.elapsed() <= Duration::from_secs(20));

        let began = Instant::now();
        let asked = Cell::new(0);
        let until = began + Duration::from_secs(10);
        let hung = retry_until(until, async || {
            asked.set(asked.get() + 1);
            std::future::pending::<Result<(), _>>().await
        });
        assert_eq!(hung.await, Err(ServiceError::out_of_time()));
        assert!(asked.get() > 1, "a hanging attempt times out and is retried");
        assert!(began.elapsed() <= Duration::from_secs(10));
    }
}

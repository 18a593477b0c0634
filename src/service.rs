//! What the table, the queue and the bus have in common: how they fail, and how often they are asked.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// How long one operation may take before it is given up on. The SDKs set no limit of their own.
const OPERATION_MAX: Duration = Duration::from_secs(3);
/// The wait before the second attempt; each further one is twice as long, up to [`BACKOFF_MAX`].
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Why the table, the queue or the bus did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// A throttle, a timeout, an internal failure: it may pass, and the operation may have been carried out.
    #[error("{0}")]
    Passing(String),
    /// It was refused: a fault of ours, or of the settings, which no second attempt mends.
    #[error("{0}")]
    Refused(String),
}

impl ServiceError {
    fn out_of_time() -> Self {
        Self::Passing("it took too long".to_owned())
    }
}

/// Asks until it works, is refused, or `until` has come. Each attempt has a time limit of its own.
///
/// # Errors
/// The last attempt's.
pub async fn attempt<T>(
    until: Instant,
    mut operation: impl AsyncFnMut() -> Result<T, ServiceError>,
) -> Result<T, ServiceError> {
    let mut backoff = BACKOFF_FIRST;
    loop {
        let error = match attempt_once(until, operation()).await {
            Err(error @ ServiceError::Passing(_)) => error,
            done_or_refused => return done_or_refused,
        };
        if Instant::now() + backoff >= until {
            return Err(error);
        }
        sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// Asks once, with the time limit of an attempt: for what a second attempt might do twice.
///
/// # Errors
/// The operation's, or that it took too long.
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

    fn passing() -> ServiceError {
        ServiceError::Passing("throttled".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_asked_again() {
        let asked = Cell::new(0);
        let until = Instant::now() + Duration::from_secs(60);
        let done = attempt(until, async || {
            asked.set(asked.get() + 1);
            if asked.get() < 4 { Err(passing()) } else { Ok(()) }
        });
        assert_eq!((done.await, asked.get()), (Ok(()), 4));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_is_not_asked_again() {
        let asked = Cell::new(0);
        let refused = Err::<(), _>(ServiceError::Refused("no such table".to_owned()));
        let until = Instant::now() + Duration::from_secs(60);
        let done = attempt(until, async || {
            asked.set(asked.get() + 1);
            refused.clone()
        });
        assert_eq!((done.await, asked.get()), (refused.clone(), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_in_time_whether_the_service_fails_or_hangs() {
        let began = Instant::now();
        let until = began + Duration::from_secs(20);
        assert_eq!(attempt(until, async || Err::<(), _>(passing())).await, Err(passing()));
        assert!(began.elapsed() <= Duration::from_secs(20));

        let began = Instant::now();
        let asked = Cell::new(0);
        let until = began + Duration::from_secs(10);
        let hung = attempt(until, async || {
            asked.set(asked.get() + 1);
            std::future::pending::<Result<(), _>>().await
        });
        assert_eq!(hung.await, Err(ServiceError::out_of_time()));
        assert!(asked.get() > 1, "a hanging attempt is given up on for another");
        assert!(began.elapsed() <= Duration::from_secs(10));
    }
}

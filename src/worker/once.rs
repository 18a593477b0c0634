//! Work that the messages of one invocation do only once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use tokio::sync::OnceCell;
use uuid::Uuid;

/// Results by id. The first caller computes one, and all others share it.
#[derive(Debug)]
pub(super) struct Once<T>(RefCell<HashMap<Uuid, Rc<OnceCell<T>>>>);

impl<T: Clone> Once<T> {
    /// The result for this id. The first caller does the work; the others wait for its result, even if it is an error.
    ///
    /// If the first caller panics or is dropped before it has a result, the next one does the work, so no caller waits
    /// forever.
    pub(super) async fn get(&self, id: Uuid, work: impl Future<Output = T>) -> T {
        let cell = Rc::clone(self.0.borrow_mut().entry(id).or_default());
        cell.get_or_init(|| work).await.clone()
    }
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::panic::AssertUnwindSafe;
    use std::time::Duration;

    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use tokio::time::{Instant, sleep, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn callers_share_one_result_per_id() {
        let (once, calls) = (Once::default(), Cell::new(0));
        let work = |id: u128| {
            let calls = &calls;
            once.get(Uuid::from_u128(id), async move {
                sleep(SECOND).await;
                calls.set(calls.get() + 1);
                Err::<(), _>(calls.get())
            })
        };
        assert_eq!(join_all([1, 1, 2, 1].map(work)).await, [Err(1), Err(1), Err(2), Err(1)]);
        assert_eq!((work(2).await, calls.get()), (Err(2), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_panics_or_is_dropped_leaves_the_work_to_the_next() {
        let (once, id, began) = (Once::default(), Uuid::from_u128(1), Instant::now());
        let slow = |result: Option<u32>| async move {
            sleep(2 * SECOND).await;
            result.expect("this caller panics")
        };
        let panics = AssertUnwindSafe(once.get(id, slow(None))).catch_unwind();
        let dropped = timeout(3 * SECOND, once.get(id, slow(Some(1))));
        let (panicked, dropped, waited, other) =
            tokio::join!(panics, dropped, once.get(id, slow(Some(2))), once.get(id, slow(Some(3))));
        assert!(panicked.is_err() && dropped.is_err());
        assert_eq!((waited, other, began.elapsed()), (2, 2, 5 * SECOND));
    }
}

//! How many calls of a batch are still to be answered: its polls wait for the last of them, and for nothing else.

use std::cell::Cell;

use tokio::sync::Notify;

/// The calls of a batch.
#[derive(Debug)]
pub(super) struct Calls {
    expected: Cell<usize>,
    answered: Notify,
}

/// One call that may still come; dropped once it is answered, or will not come.
#[derive(Debug)]
pub(super) struct ExpectedCall<'a>(&'a Calls);

impl Calls {
    /// A batch of so many messages, each of which may call once.
    pub(super) fn expected(messages: usize) -> Self {
        Self { expected: Cell::new(messages), answered: Notify::new() }
    }

    /// The call of one message.
    pub(super) fn one(&self) -> ExpectedCall<'_> {
        ExpectedCall(self)
    }

    /// Comes back once no call is expected any more.
    pub(super) async fn all_answered(&self) {
        loop {
            let answered = self.answered.notified();
            if self.expected.get() == 0 {
                return;
            }
            answered.await;
        }
    }
}

impl Drop for ExpectedCall<'_> {
    fn drop(&mut self) {
        self.0.expected.set(self.0.expected.get().saturating_sub(1));
        self.0.answered.notify_waiters();
    }
}

//! The provider: one call, which starts a sync or reads its status, and what its answers mean.
//!
//! ```text
//! client.rs       the call over HTTP              rotating.rs   a client whose key may be rotated
//! body.rs         the body, as much as arrived    answer.rs     what came back, classed
//! envelope.rs     postpress's two error shapes    catalogue.rs  the documented error types
//! retry_after.rs  how long to leave it alone      mask.rs       the key, hidden in answers
//! ```
//!
//! The call is **not idempotent at its end**: "Calling this endpoint after `SYNC_DONE` or `SYNC_ERROR` starts a fresh
//! sync." Nothing in this module calls twice.

use std::time::Duration;

use crate::ids::ChatId;

pub mod answer;
pub mod body;
pub mod catalogue;
pub mod client;
pub mod envelope;
pub mod mask;
pub mod retry_after;
pub mod rotating;

pub use answer::{Answer, Failure, Finish, Progress};
pub use body::{Body, BodyFault};
pub use catalogue::RetryClass;
pub use envelope::Envelope;
pub use mask::Mask;

/// Whoever answers `GET /chats/{chat_id}/sync`: postpress itself, or the simulator.
pub trait Provider {
    /// Starts a sync of `chat`, or reads the status of the one that runs; the provider makes no difference.
    ///
    /// Comes back within `deadline`, body included, with the one answer or with how the call failed; it never calls
    /// again by itself.
    fn sync(&self, chat: &ChatId, deadline: Duration) -> impl Future<Output = Answer>;
}

impl<P: Provider> Provider for std::rc::Rc<P> {
    async fn sync(&self, chat: &ChatId, deadline: Duration) -> Answer {
        (**self).sync(chat, deadline).await
    }
}

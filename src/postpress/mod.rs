//! The provider: one call, which starts a sync or reads its status, and the meaning of its answers.
//!
//! ```text
//! client.rs       the call over HTTP                 rotating.rs   a client whose key may be rotated
//! body.rs         the body, as much as arrived       answer.rs     the answer, classified
//! envelope.rs     postpress's two error formats      catalogue.rs  the documented error types
//! retry_after.rs  when the provider may be called    mask.rs       the key, hidden in answers
//! operation.rs    what can be called                 resync.rs     the options of an account's sync
//! ```
//!
//! The call is **not idempotent once a sync has ended**: "Calling this endpoint after `SYNC_DONE` or `SYNC_ERROR` starts a
//! fresh sync." Nothing in this module calls twice.

use std::time::Duration;

pub mod answer;
pub mod body;
pub mod catalogue;
pub mod client;
pub mod envelope;
pub mod mask;
pub mod operation;
pub mod resync;
pub mod retry_after;
pub mod rotating;

pub use answer::{Answer, Failure, Finish, Progress, Status};
pub use body::{Body, BodyFault};
pub use catalogue::RetryClass;
pub use envelope::Envelope;
pub use mask::Mask;
pub use operation::{Operation, SyncCall};
pub use resync::Resync;

/// The server of the [`operation`]s: postpress itself, or the simulator.
pub trait Provider {
    /// Starts the sync, or reads the status of the running one: the provider does not distinguish the two.
    ///
    /// Returns within `deadline`, body included, with the one answer or failure. It never repeats a call.
    fn sync(&self, call: &SyncCall, deadline: Duration) -> impl Future<Output = Answer>;
}

impl<P: Provider> Provider for std::rc::Rc<P> {
    async fn sync(&self, call: &SyncCall, deadline: Duration) -> Answer {
        (**self).sync(call, deadline).await
    }
}

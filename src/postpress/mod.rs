//! The provider: one call, which starts a sync or reads its status, and the meaning of its answers.
//!
//! ```text
//! client.rs       the call over HTTP                 rotating.rs   a client whose key may be rotated
//! body.rs         the body, as much as arrived       answer.rs     the answer, classified
//! envelope.rs     postpress's two error formats      catalogue.rs  the documented error types
//! retry_after.rs  when the provider may be called    mask.rs       the key, hidden in answers
//! operation.rs    what can be called                 resync.rs     the options of an account's sync
//! pace.rs         how many calls a second one key makes
//! chat_list.rs    the list of an account's chats
//! workspaces.rs   a client for each workspace
//! ```
//!
//! The call is **not idempotent once a sync has ended**: "Calling this endpoint after `SYNC_DONE` or `SYNC_ERROR` starts a
//! fresh sync." Nothing in this module calls twice. Listing chats is another call, which has no effect.

use std::future::ready;
use std::time::Duration;

use tokio::time::Instant;

use crate::ids::Subject;

pub mod answer;
pub mod body;
pub mod catalogue;
pub mod chat_list;
pub mod client;
pub mod envelope;
pub mod mask;
pub mod operation;
pub mod pace;
pub mod resync;
pub mod retry_after;
pub mod rotating;
pub mod workspaces;

pub use answer::{Answer, Failure, Finish, Progress, Status};
pub use body::{Body, BodyFault};
pub use catalogue::RetryClass;
pub use chat_list::{ChatPage, ChatQuery, Cursor};
pub use envelope::Envelope;
pub use mask::Mask;
pub use operation::{Operation, SyncCall};
pub use pace::{NotAdmitted, Token};
pub use resync::Resync;

/// The server of the [`operation`]s: postpress itself, or the simulator.
pub trait Provider {
    /// Starts the sync, or reads the status of the running one: the provider does not distinguish the two.
    ///
    /// Returns within `deadline`, body included, with the one answer or failure. It never repeats a call.
    fn sync(&self, call: &SyncCall, deadline: Duration) -> impl Future<Output = Answer>;

    /// Waits for a turn to call for this subject, at most until then. By default the next call may begin at once.
    ///
    /// # Errors
    /// If its turn comes later, or its workspace is not configured.
    fn admit(&self, _subject: &Subject, _until: Instant) -> impl Future<Output = Result<Token, NotAdmitted>> {
        ready(Ok(Token::default()))
    }
}

impl<P: Provider> Provider for std::rc::Rc<P> {
    async fn sync(&self, call: &SyncCall, deadline: Duration) -> Answer {
        (**self).sync(call, deadline).await
    }

    async fn admit(&self, subject: &Subject, until: Instant) -> Result<Token, NotAdmitted> {
        (**self).admit(subject, until).await
    }
}

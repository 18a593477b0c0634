//! A provider and a queue whose calls, answers and pauses the terminal shows as they come.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::chat_state::Results;
use crate::ids::{MessageId, Subject};
use crate::message::{Message, Record};
use crate::postpress::{Answer, Failure, NotAdmitted, Provider, SyncCall, Token};
use crate::queue::Journal;
use crate::service::ServiceError;
use crate::time::{Clock, Millis};

/// Shows each call, and its answer before it returns it.
pub(super) struct ObservedProvider<P> {
    pub(super) provider: P,
    pub(super) results: Rc<Results>,
}

impl<P: Provider> Provider for ObservedProvider<P> {
    async fn sync(&self, call: &SyncCall, deadline: Duration) -> Answer {
        self.results.display.call(&call.subject);
        let answer = self.provider.sync(call, deadline).await;
        self.results.display.answer(&call.subject, &describe(&answer));
        answer
    }

    async fn admit(&self, subject: &Subject, until: Instant) -> Result<Token, NotAdmitted> {
        self.provider.admit(subject, until).await
    }
}

/// Shows when each poll is delivered.
pub(super) struct ObservedQueue {
    pub(super) results: Rc<Results>,
}

impl Journal for ObservedQueue {
    fn save(&self, message: &Record, visible_at: Millis) -> Result<(), ServiceError> {
        if let Message::Poll(poll) = Message::parse(message, "") {
            self.results.display.set_next(&poll.subject, visible_at.since(Clock::System.now()));
        }
        Ok(())
    }

    fn bury(&self, _: &Record) {}

    fn forget(&self, _: &MessageId) {}
}

/// An answer in a few words.
fn describe(answer: &Answer) -> String {
    match answer {
        Answer::InProgress(progress) => progress.as_str().to_owned(),
        Answer::Over(finish) => finish.as_str().to_owned(),
        Answer::Unusable(reason) => format!("unusable answer: {reason}"),
        Answer::Failed(Failure { envelope: Some(envelope), .. }) => format!("{} {}", envelope.status, envelope.kind),
        Answer::Failed(Failure { detail, .. }) => detail.clone(),
    }
}

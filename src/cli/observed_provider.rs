//! A provider and a queue whose calls, answers and pauses the terminal shows as they come.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::chat_state::Results;
use crate::ids::{MessageId, Subject};
use crate::postpress::{Answer, Failure, NotAdmitted, Provider, SyncCall, Token};
use crate::queue::{Outgoing, Queue, VisibilityChange};
use crate::run::Poll;
use crate::service::ServiceError;

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

/// Shows when each poll that is sent makes its call.
pub(super) struct PollCountdown<Q> {
    pub(super) queue: Q,
    pub(super) results: Rc<Results>,
}

impl<Q: Queue> Queue for PollCountdown<Q> {
    async fn send(&self, messages: &[Outgoing]) -> Vec<Result<MessageId, ServiceError>> {
        let sent = self.queue.send(messages).await;
        for (message, sent) in messages.iter().zip(&sent) {
            // A poll that carries an answer makes no call.
            if sent.is_ok()
                && let Ok(Poll { subject, answer: None, .. }) = serde_json::from_str(&message.body)
            {
                self.results.display.set_next(&subject, message.delay);
            }
        }
        sent
    }

    async fn change_visibility(&self, messages: &[VisibilityChange]) -> Vec<Result<(), ServiceError>> {
        self.queue.change_visibility(messages).await
    }
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

//! A provider whose answers the terminal shows as they arrive.

use std::rc::Rc;
use std::time::Duration;

use super::chat_state::Results;
use tokio::time::Instant;

use crate::ids::Subject;
use crate::postpress::{Answer, Failure, NotAdmitted, Provider, SyncCall, Token};

/// Shows each answer before it returns it.
pub(super) struct ObservedProvider<P> {
    pub(super) provider: P,
    pub(super) results: Rc<Results>,
}

impl<P: Provider> Provider for ObservedProvider<P> {
    async fn sync(&self, call: &SyncCall, deadline: Duration) -> Answer {
        let answer = self.provider.sync(call, deadline).await;
        self.results.display.update(&call.subject, &describe(&answer));
        answer
    }

    async fn admit(&self, subject: &Subject, until: Instant) -> Result<Token, NotAdmitted> {
        self.provider.admit(subject, until).await
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

//! A provider whose answers the terminal shows as they arrive.

use std::time::Duration;

use crate::ids::ChatId;
use crate::postpress::{Answer, Failure, Provider};

/// Passes each answer to `observe` before it returns it.
pub(super) struct ObservedProvider<P, F> {
    pub(super) provider: P,
    pub(super) observe: F,
}

impl<P: Provider, F: Fn(&ChatId, &Answer)> Provider for ObservedProvider<P, F> {
    async fn sync(&self, chat: &ChatId, deadline: Duration) -> Answer {
        let answer = self.provider.sync(chat, deadline).await;
        (self.observe)(chat, &answer);
        answer
    }
}

/// An answer in a few words.
pub(super) fn describe(answer: &Answer) -> String {
    match answer {
        Answer::InProgress(progress) => progress.as_str().to_owned(),
        Answer::Over(finish) => finish.as_str().to_owned(),
        Answer::Unusable(reason) => format!("unusable answer: {reason}"),
        Answer::Failed(Failure { envelope: Some(envelope), .. }) => format!("{} {}", envelope.status, envelope.kind),
        Answer::Failed(Failure { detail, .. }) => detail.clone(),
    }
}

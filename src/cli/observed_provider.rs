//! A provider that is watched: the terminal shows each answer as it comes.

use std::time::Duration;

use crate::ids::ChatId;
use crate::postpress::{Answer, Failure, Provider};

/// Hands each answer to `observe` before it goes its way.
pub(super) struct ObservedProvider<P, W> {
    pub(super) provider: P,
    pub(super) observe: W,
}

impl<P: Provider, W: Fn(&ChatId, &Answer)> Provider for ObservedProvider<P, W> {
    async fn sync(&self, chat: &ChatId, deadline: Duration) -> Answer {
        let answer = self.provider.sync(chat, deadline).await;
        (self.observe)(chat, &answer);
        answer
    }
}

/// An answer in a few words.
pub(super) fn words(answer: &Answer) -> String {
    match answer {
        Answer::InProgress(progress) => progress.as_str().to_owned(),
        Answer::Over(finish) => finish.as_str().to_owned(),
        Answer::Unusable(reason) => format!("unusable answer: {reason}"),
        Answer::Failed(Failure { envelope: Some(envelope), .. }) => format!("{} {}", envelope.status, envelope.kind),
        Answer::Failed(Failure { detail, .. }) => detail.clone(),
    }
}

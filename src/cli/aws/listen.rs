//! `postpress-bridge listen`: prints the events that a rule sends to a queue.

use std::collections::HashSet;

use anyhow::Context;
use aws_sdk_sqs::Client;
use serde::Deserialize;
use uuid::Uuid;

use super::options::Listen;
use crate::aws::{connect, http_client};
use crate::cli::output::EventFormat;
use crate::cli::shutdown;
use crate::cli::table::print;
use crate::event::{Detail, DetailType, Event};
use crate::ids::MessageId;
use crate::message::Record;
use crate::queue::{Source, SqsQueue};
use crate::settings::{FromEnv, ListenSettings};
use crate::telemetry::{self, LogFormat};
use crate::text::one_line;

/// The most that one receive returns.
const RECEIVE_MAX: usize = 10;

/// An event as EventBridge delivers it. Its other fields are EventBridge's.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Delivered {
    detail_type: DetailType,
    source: String,
    detail: Detail,
}

/// What was shown, so that nothing is shown twice.
#[derive(Default)]
struct Shown {
    endings: HashSet<Uuid>,
    /// Messages that are no events; they stay on the queue and are received again.
    others: HashSet<MessageId>,
}

impl Listen {
    /// Prints events until Ctrl-C, or until there are enough.
    ///
    /// # Errors
    /// If the settings are invalid, or the queue cannot be read.
    pub async fn run(self) -> anyhow::Result<()> {
        let settings = ListenSettings::from_env()?;
        telemetry::init(&settings.log_filter, LogFormat::Compact)?;
        let sdk = connect(http_client()?).await?;
        let queue = SqsQueue::new(Client::new(&sdk), settings.queue_url);
        anstream::eprintln!("listening for endings; Ctrl-C stops");
        tokio::select! {
            result = self.listen(&queue, &settings.event_source) => result,
            () = shutdown::signal() => Ok(()),
        }
    }

    async fn listen(&self, queue: &SqsQueue, source: &str) -> anyhow::Result<()> {
        let format = EventFormat::new(self.json, source);
        let mut shown = Shown::default();
        loop {
            let records = queue.receive(RECEIVE_MAX).await.context("cannot receive from BRIDGE_EVENTS_QUEUE_URL")?;
            let mut printed = Vec::new();
            for record in records {
                if self.is_enough(&shown) {
                    break;
                }
                match shown.look(&record, source) {
                    Seen::Event(event) => print(&(format.line(&event) + "\n"))?,
                    Seen::Repeat => {}
                    Seen::Other(why) => {
                        why.iter().for_each(|why| anstream::eprintln!("{why}"));
                        continue;
                    }
                }
                printed.push(record);
            }
            if !printed.is_empty() {
                queue.delete(&printed).await.context("cannot delete from BRIDGE_EVENTS_QUEUE_URL")?;
            }
            if self.is_enough(&shown) {
                return Ok(());
            }
        }
    }

    fn is_enough(&self, shown: &Shown) -> bool {
        self.count.is_some_and(|count| shown.endings.len() >= count.get())
    }
}

/// What a message is.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// An ending that was not shown yet.
    Event(Box<Event>),
    /// One that was.
    Repeat,
    /// No event of the bridge, and the first time why not.
    Other(Option<String>),
}

impl Shown {
    fn look(&mut self, record: &Record, source: &str) -> Seen {
        let why = match serde_json::from_str::<Delivered>(&record.body) {
            Ok(Delivered { detail_type, source: of, detail }) if of == source => {
                let is_new = self.endings.insert(detail.event_id);
                return if is_new { Seen::Event(Box::new(Event { detail_type, detail })) } else { Seen::Repeat };
            }
            Ok(Delivered { source, .. }) => format!("its source is `{source}`"),
            Err(error) => error.to_string(),
        };
        let is_new = self.others.insert(record.message_id.clone());
        let text = format!("message {} stays on the queue: no event of the bridge: {why}", record.message_id);
        Seen::Other(is_new.then(|| one_line(&text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::run_report::tests::{NOW, item};
    use crate::postpress::Finish;
    use crate::run::{EndedBy, Item, Outcome, RunState};

    fn record(body: &str) -> Record {
        Record {
            message_id: MessageId::new("m"),
            body: body.to_owned(),
            sent_at: NOW,
            receive_count: 1,
            receipt_handle: String::new(),
            trace: None,
            group: None,
        }
    }

    #[test]
    fn only_events_of_the_bridge_are_shown_and_each_once() {
        let outcome = Outcome { ending: Finish::Done.into(), ended_by: EndedBy::Answer, finished_at: NOW };
        let ended = Item { state: RunState::Published { outcome, expires_at: 1 }, ..item() };
        let event = Event::of_run(&ended).unwrap();
        let line = event.to_line("postpress.bridge");

        let mut shown = Shown::default();
        let mut look = |body: &str| shown.look(&record(body), "postpress.bridge");
        assert_eq!(look(&line), Seen::Event(Box::new(event)));
        assert_eq!(look(&line), Seen::Repeat);
        let of_another = line.replace("postpress.bridge", "somebody.else");
        assert!(matches!(look(&of_another), Seen::Other(Some(why)) if why.contains("its source is `somebody.else`")));
        for other in ["", "{}", r#"{"chat_id":"c"}"#] {
            assert_eq!(look(other), Seen::Other(None), "the message is known");
        }
    }
}

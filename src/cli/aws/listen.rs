//! `postpress-bridge listen`: prints the events that a rule sends to a queue.

use std::collections::HashSet;
use std::pin::pin;
use std::time::Duration;

use aws_sdk_sqs::Client;
use serde::Deserialize;
use tokio::time::sleep;
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
/// How long to wait after a failed receive.
const PAUSE: Duration = Duration::from_secs(1);

/// An event as EventBridge delivers it. Its other fields are EventBridge's.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Delivered {
    detail_type: DetailType,
    source: String,
    detail: Detail,
}

/// What was seen, so that nothing is shown twice.
#[derive(Default)]
struct SeenMessages {
    endings: HashSet<Uuid>,
    /// Messages that are not events; they stay on the queue and are received again.
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
        let format = EventFormat::new(self.json, &settings.event_source);
        let mut seen = SeenMessages::default();
        let mut stop = pin!(shutdown::signal());
        while let Some(max) = self.still_wanted(&seen) {
            let received = tokio::select! {
                received = queue.receive(max) => received,
                () = &mut stop => break,
            };
            match received {
                Ok(records) => take(&queue, records, &mut seen, &settings.event_source, &format).await?,
                Err(error) if error.is_retryable() => {
                    anstream::eprintln!("{}; trying again", one_line(&error.to_string()));
                    sleep(PAUSE).await;
                }
                Err(error) => {
                    return Err(anyhow::Error::new(error).context("cannot receive from BRIDGE_EVENTS_QUEUE_URL"));
                }
            }
        }
        Ok(())
    }

    /// How many messages to receive next: not more than are shown, because the others would be hidden from the next `listen`.
    fn still_wanted(&self, seen: &SeenMessages) -> Option<usize> {
        let wanted = self.count.map_or(RECEIVE_MAX, |count| count.get().saturating_sub(seen.endings.len()));
        (wanted > 0).then_some(wanted.min(RECEIVE_MAX))
    }
}

/// Prints the events among these messages, and deletes those that were printed now or before.
async fn take(
    queue: &SqsQueue,
    records: Vec<Record>,
    seen: &mut SeenMessages,
    source: &str,
    format: &EventFormat,
) -> anyhow::Result<()> {
    let mut printed = Ok(());
    let mut done = Vec::new();
    for record in records {
        match seen.look(&record, source) {
            Seen::Event(event) => {
                printed = print(&(format.line(&event) + "\n"));
                if printed.is_err() {
                    break;
                }
            }
            Seen::Repeat => {}
            Seen::Other(why) => {
                why.iter().for_each(|why| anstream::eprintln!("{why}"));
                continue;
            }
        }
        done.push(record);
    }
    if !done.is_empty()
        && let Err(error) = queue.delete(&done).await
    {
        let error = one_line(&error.to_string());
        anstream::eprintln!("endings that were printed come again, because they cannot be deleted: {error}");
    }
    printed
}

/// What a message is.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// An ending that was not shown yet.
    Event(Box<Event>),
    /// One that was.
    Repeat,
    /// Not an event of this bridge, and the first time why not.
    Other(Option<String>),
}

impl SeenMessages {
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
        let text = format!(
            "message {} stays on the queue, because it is not an event of this bridge: {why}",
            record.message_id
        );
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

        let mut seen = SeenMessages::default();
        let mut look = |body: &str| seen.look(&record(body), "postpress.bridge");
        assert_eq!(look(&line), Seen::Event(Box::new(event)));
        assert_eq!(look(&line), Seen::Repeat);
        let of_another = line.replace("postpress.bridge", "another.source");
        assert!(matches!(look(&of_another), Seen::Other(Some(why)) if why.contains("its source is `another.source`")));
        for other in ["", "{}", r#"{"chat_id":"c"}"#] {
            assert_eq!(look(other), Seen::Other(None), "the message is known");
        }
    }
}

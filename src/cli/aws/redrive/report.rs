//! The report of a redrive: for people before and after it, and for programs at its end.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::message::dead_letter::Line;

/// The whole report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    pub(super) queue: String,
    pub(super) dead_letter_queue: String,
    /// Approximate number of messages that were waiting at the start.
    pub(super) waiting: u64,
    /// Approximate number of messages that other consumers held.
    pub(super) held_by_others: u64,
    /// Number of messages received.
    pub(super) received: usize,
    pub(super) plan: Vec<Line>,
    /// What was done; absent without consent and with `--dry-run`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) done: Option<Done>,
}

/// What was done with the dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Done {
    /// Sent to the queue again.
    pub(super) sent: usize,
    /// Deleted without a replacement.
    pub(super) dropped: usize,
    /// Left as dead letters, as planned.
    pub(super) left: usize,
    /// Not confirmed sent: still dead letters.
    pub(super) not_sent: usize,
    /// Not deleted: still dead letters, some of them sent again.
    pub(super) not_deleted: usize,
    /// Why messages were not sent or not deleted.
    #[serde(rename = "troubles")]
    pub(super) errors: BTreeSet<String>,
}

impl Done {
    pub(super) fn is_complete(&self) -> bool {
        self.not_sent == 0 && self.not_deleted == 0
    }
}

impl Report {
    /// What was received, and what will be done with it.
    pub(super) fn plan(&self) -> String {
        let mut text = format!("{}\n", self.dead_letter_queue);
        if self.received == 0 {
            text += "no dead letters\n";
        } else {
            text += &format!("{} of about {} dead letters received\n\n", self.received, self.about());
        }
        for Line { kind, count, .. } in &self.plan {
            let (name, why) = kind.words();
            text += &format!("  {count:>5}  {name:<22}  {why}\n");
        }
        if self.held_by_others > 0 {
            text += &format!(
                "\nabout {} more are held by another redrive, or by one that was killed; they reappear when its hold \
                 expires\n",
                self.held_by_others
            );
        }
        text
    }

    /// Approximate number of dead letters.
    fn about(&self) -> u64 {
        self.waiting.max(self.received as u64)
    }

    /// What was done, and what remains.
    pub(super) fn result(&self, done: &Done) -> String {
        let mut text = format!("sent {}, dropped {}, left {}\n", done.sent, done.dropped, done.left);
        if done.not_sent > 0 {
            text += &format!("{} could not be sent and are still dead letters; run it again\n", done.not_sent);
        }
        if done.not_deleted > 0 {
            text += &format!(
                "{} could not be deleted and are still dead letters; run it again; a trigger that is sent twice counts once\n",
                done.not_deleted
            );
        }
        for error in &done.errors {
            text += &format!("  {error}\n");
        }
        let rest = self.about() - self.received as u64;
        if rest > 0 {
            text += &format!("about {rest} more are waiting; run it again\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::dead_letter::MessageKind;

    fn report() -> Report {
        let kinds = [
            MessageKind::Trigger,
            MessageKind::PollWithAnswer,
            MessageKind::Invalid,
            MessageKind::Poll,
            MessageKind::Sweep,
            MessageKind::OwnEvent,
            MessageKind::Malformed,
            MessageKind::Newer,
        ];
        let line = |(count, kind): (usize, MessageKind)| Line { kind, count: count + 1, action: kind.action() };
        Report {
            queue: "https://sqs.eu-west-1.amazonaws.com/123456789012/bridge".to_owned(),
            dead_letter_queue: "https://sqs.eu-west-1.amazonaws.com/123456789012/bridge-dead".to_owned(),
            waiting: 40,
            held_by_others: 2,
            received: 36,
            plan: kinds.into_iter().enumerate().map(line).collect(),
            done: None,
        }
    }

    #[test]
    fn plan_names_the_action_for_each_kind() {
        insta::assert_snapshot!(report().plan(), @"
        https://sqs.eu-west-1.amazonaws.com/123456789012/bridge-dead
        36 of about 40 dead letters received

              1  triggers                sent again under their first keys: one that was accepted restarts nothing
              2  polls with an answer    sent again: the fence decides whether they still count
              3  invalid messages        sent again, so that each gets its event
              4  polls                   dropped: the sweep has replaced them
              5  sweeps                  dropped: the schedule sends new ones
              6  the bridge's own events  dropped: answering them would loop
              7  malformed messages      dropped: the worker would drop them too
              8  of a newer version      left: redrive them with a newer postpress-bridge

        about 2 more are held by another redrive, or by one that was killed; they reappear when its hold expires
        ");
    }

    #[test]
    fn plan_without_dead_letters_says_so() {
        let nothing = Report { waiting: 0, held_by_others: 0, received: 0, plan: Vec::new(), ..report() };
        insta::assert_snapshot!(nothing.plan(), @"
        https://sqs.eu-west-1.amazonaws.com/123456789012/bridge-dead
        no dead letters
        ");
    }

    #[test]
    fn result_says_what_remains() {
        let errors = BTreeSet::from(["InternalError: try later".to_owned()]);
        let done = Done { sent: 5, dropped: 22, left: 8, not_sent: 1, not_deleted: 2, errors };
        insta::assert_snapshot!(report().result(&done), @"
        sent 5, dropped 22, left 8
        1 could not be sent and are still dead letters; run it again
        2 could not be deleted and are still dead letters; run it again; a trigger that is sent twice counts once
          InternalError: try later
        about 4 more are waiting; run it again
        ");
        let all = Report { waiting: 30, ..report() };
        insta::assert_snapshot!(all.result(&Done { sent: 36, ..Done::default() }), @"sent 36, dropped 0, left 0");
    }

    #[test]
    fn json_has_the_same_content() {
        let report = Report { plan: report().plan[..2].to_vec(), done: Some(Done::default()), ..report() };
        insta::assert_snapshot!(serde_json::to_string_pretty(&report).unwrap(), @r#"
        {
          "queue": "https://sqs.eu-west-1.amazonaws.com/123456789012/bridge",
          "dead_letter_queue": "https://sqs.eu-west-1.amazonaws.com/123456789012/bridge-dead",
          "waiting": 40,
          "held_by_others": 2,
          "received": 36,
          "plan": [
            {
              "kind": "trigger",
              "count": 1,
              "fate": "send"
            },
            {
              "kind": "poll_with_answer",
              "count": 2,
              "fate": "send"
            }
          ],
          "done": {
            "sent": 0,
            "dropped": 0,
            "left": 0,
            "not_sent": 0,
            "not_deleted": 0,
            "troubles": []
          }
        }
        "#);
    }
}

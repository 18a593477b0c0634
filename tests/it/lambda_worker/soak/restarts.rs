//! Why a finished sync was restarted: judged call by call, chat by chat, from the provider's log.

use std::collections::BTreeMap;

use postpress_bridge::event::Detail;
use postpress_bridge::ids::Subject;
use postpress_bridge::simulator::{CallRecord, Said};
use postpress_bridge::time::Millis;
use serde_json::Value;

use super::traffic::subject_of;
use crate::harness::lambda::{Became, Handed};

/// A call whose process is killed may still be read by the provider's server a moment later.
const READ_LATE_MS: u64 = 100;

/// The restarts by cause.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Restarts {
    /// By a new run, for a trigger after the previous run's ending.
    pub(super) asked: usize,
    /// Within a run, after a terminal answer whose caller was killed before recording it.
    pub(super) answer_killed: usize,
    /// Within a run, after a terminal answer that could not be recorded in time and whose poll was dead-lettered.
    pub(super) answer_dead: usize,
    /// All others, which are errors.
    pub(super) unexplained: Vec<String>,
}

/// What is known of a soak, with times since 1970.
pub(super) struct Evidence<'a> {
    pub(super) calls: &'a [CallRecord],
    /// The distinct endings.
    pub(super) endings: &'a [&'a Detail],
    pub(super) handed: &'a [Handed],
    /// The bodies of the dead letters.
    pub(super) dead: &'a [&'a str],
}

impl Evidence<'_> {
    /// A chat's calls belong to its runs, one after another: calls up to an ending's `finished_at` belong to its run, and
    /// there are none after the last ending.
    pub(super) fn restarts(&self) -> Restarts {
        let mut calls: BTreeMap<&Subject, Vec<&CallRecord>> = BTreeMap::new();
        for call in self.calls {
            calls.entry(&call.subject).or_default().push(call);
        }
        let mut restarts = Restarts::default();
        for (chat, calls) in calls {
            let mut left = &calls[..];
            for (earlier_runs, ending) in self.endings_of(chat).into_iter().enumerate() {
                let until = ending.finished_at.unwrap().0;
                let (run, rest) = left.split_at(left.partition_point(|call| landed_ms(call) <= until));
                self.judge(run, earlier_runs, ending, &mut restarts);
                left = rest;
            }
            restarts.unexplained.extend(left.iter().map(|call| format!("after the last ending: {call}")));
        }
        restarts
    }

    /// A run's calls: each of its syncs from start to end. All ends except the last, which is the run's, went unrecorded. An
    /// answer that the key is over its limit has no effect.
    fn judge(&self, run: &[&CallRecord], earlier_runs: usize, ending: &Detail, restarts: &mut Restarts) {
        let mut last_end: Option<&CallRecord> = None;
        let heard = run.iter().filter(|call| !matches!(call.said, Some(Said::Error(_))));
        for (place, call) in heard.enumerate() {
            match (call.said, last_end.take()) {
                (Some(Said::Started { restart }), None) if place == 0 && restart == (earlier_runs > 0) => {
                    restarts.asked += usize::from(restart);
                }
                (Some(Said::Started { restart: true }), Some(end)) if self.caller_was_killed(end) => {
                    restarts.answer_killed += 1;
                }
                (Some(Said::Started { restart: true }), Some(end)) if self.poll_with_answer_is_dead(end, call) => {
                    restarts.answer_dead += 1;
                }
                (Some(Said::Over(_)), None) => last_end = Some(call),
                (Some(Said::Running), None) => {}
                (_, end) => restarts.unexplained.push(format!("{call}, after {end:?}")),
            }
        }
        let reported = last_end.filter(|end| end.delivered).and_then(|end| end.said);
        if !matches!((reported, ending.status), (Some(Said::Over(finish)), Some(status)) if finish == status) {
            restarts.unexplained.push(format!("no answer explains {ending:?}"));
        }
    }

    fn caller_was_killed(&self, call: &CallRecord) -> bool {
        self.handed.iter().any(|handed| {
            let during = *handed.time_ms.start()..=handed.time_ms.end() + READ_LATE_MS;
            handed.became == Became::Cut
                && during.contains(&call.sent_at_ms)
                && subject_of(&read(&handed.body)).as_ref() == Some(&call.subject)
        })
    }

    /// The answer was forwarded in a poll, since it could not be recorded, and that poll is a dead letter.
    fn poll_with_answer_is_dead(&self, end: &CallRecord, next: &CallRecord) -> bool {
        let between = landed_ms(end)..=next.sent_at_ms;
        self.dead.iter().any(|body| {
            let body = read(body);
            let finished_at = body["answer"]["finished_at"].as_str().and_then(Millis::parse_rfc3339);
            subject_of(&body).as_ref() == Some(&end.subject)
                && finished_at.is_some_and(|time| between.contains(&time.0))
        })
    }

    fn endings_of(&self, chat: &Subject) -> Vec<&Detail> {
        let of_chat = |ending: &&&Detail| ending.subject().as_ref() == Some(chat);
        let mut endings: Vec<&Detail> = self.endings.iter().filter(of_chat).copied().collect();
        endings.sort_by_key(|ending| ending.finished_at);
        endings
    }
}

fn landed_ms(call: &CallRecord) -> u64 {
    call.landed_at_ms.unwrap_or(call.sent_at_ms)
}

fn read(body: &str) -> Value {
    serde_json::from_str(body).unwrap()
}

#[test]
fn only_a_kill_between_answer_and_record_of_the_same_chat_explains_a_restart() {
    use postpress_bridge::postpress::{Finish, Resync};
    use serde_json::json;

    const BEGAN: u64 = 1_795_514_400_000;
    let started = |restart| Said::Started { restart };
    let over = Said::Over(Finish::Done);
    let ending = |seconds: u64| -> Detail {
        let finished_at = format!("2026-11-24T10:00:{seconds:02}.500Z");
        serde_json::from_value(json!({
            "schema_version": "1", "event_id": "6f9a53c4-6e0b-4b4a-9d0e-5a1d3c7f2b10", "chat_id": "done~1",
            "status": "SYNC_DONE", "finished_at": finished_at,
        }))
        .unwrap()
    };
    let cut = |chat: &str, second: u64, became| Handed {
        message_id: "m".to_owned(),
        body: json!({ "chat_id": chat }).to_string(),
        time_ms: BEGAN + second * 1000 - 200..=BEGAN + second * 1000 + 200,
        became,
    };
    let killed = cut("done~1", 1, Became::Cut);
    let lost = [started(false), over, started(true), over];
    // One call a second, from 0 s on.
    for (what, said, endings, handed, asked, answer_killed, unexplained) in [
        ("nothing", &lost[..2], &[1][..], None, 0, 0, 0),
        ("asked again", &lost, &[1, 3], None, 1, 0, 0),
        ("killed", &lost, &[3], Some(killed), 0, 1, 0),
        ("no process was killed", &lost, &[3], None, 0, 0, 1),
        ("another chat's process was killed", &lost, &[3], Some(cut("done~2", 1, Became::Cut)), 0, 0, 1),
        ("killed at another time", &lost, &[3], Some(cut("done~1", 2, Became::Cut)), 0, 0, 1),
        ("returned instead of killed", &lost, &[3], Some(cut("done~1", 1, Became::Returned)), 0, 0, 1),
        ("one call too many", &lost[..3], &[1], None, 0, 0, 1),
        ("an ending without an answer", &lost[..1], &[0], None, 0, 0, 1),
        ("a restart without an end", &[started(false), started(true), over], &[2], None, 0, 0, 1),
    ] {
        let record = |(number, said): (u64, &Said)| CallRecord {
            number,
            subject: Subject::chat("done~1").unwrap(),
            resync: Resync::default(),
            sent_at_ms: BEGAN + number * 1000,
            landed_at_ms: Some(BEGAN + number * 1000 + 50),
            said: Some(*said),
            delivered: true,
        };
        let calls: Vec<CallRecord> = (0..).zip(said).map(record).collect();
        let endings: Vec<Detail> = endings.iter().map(|second| ending(*second)).collect();
        let endings: Vec<&Detail> = endings.iter().collect();
        let handed: Vec<Handed> = handed.into_iter().collect();
        let evidence = Evidence { calls: &calls, endings: &endings, handed: &handed, dead: &[] };
        let restarts = evidence.restarts();
        let counts = (restarts.asked, restarts.answer_killed, restarts.unexplained.len());
        assert_eq!(counts, (asked, answer_killed, unexplained), "{what}: {restarts:?}");
    }
}
